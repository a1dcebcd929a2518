"""What git knows of the figures, and files that are not as their stage left them."""

import subprocess
from hashlib import file_digest, md5
from pathlib import Path

from stages.doctoring import Finding, several
from stages.doctoring.lock import Output

FIGURES = ("metrics", "dvc.lock", "look/dvc.lock", "params.yaml", "dvc.yaml")


def _git(root: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(("git", "--no-optional-locks", *words), cwd=root, capture_output=True, text=True, check=False)
    except OSError:
        return None  # no git, which environment.py says
    return done.stdout if done.returncode == 0 else None


def _by_hand(root: Path, outputs: list[Output]) -> list[Finding]:
    """Outputs that are one file, metrics above all, with other bytes than dvc.lock has. Folders have manifests: `verify`."""
    found = []
    for output in outputs:
        path = root / output.path
        if output.md5.endswith(".dir") or not path.is_file():
            continue
        with path.open("rb") as file:
            if file_digest(file, lambda: md5(usedforsecurity=False)).hexdigest() == output.md5:
                continue
        says = f"{output.path}: not as the stage {output.stage} left it: its md5 is not dvc.lock's"
        found.append(Finding("results", says, f"`rm {output.path}`, then `dvc repro {output.stage}` makes it anew"))
    return found


def findings(root: Path, outputs: list[Output]) -> list[Finding]:
    if _git(root, "rev-parse", "--git-dir") is None:
        return [
            Finding(
                "git",
                f"{root.resolve()} is no git repository, and DVC wants one",
                "`git clone` the project anew, or `git init`",
                stops=True,
            )
        ]
    found = _by_hand(root, outputs)
    if changed := {name: said for name in FIGURES if (said := _git(root, "status", "--porcelain", "--", name))}:
        lines = [line[3:] for said in changed.values() for line in said.splitlines()]
        says = f"not committed: {several(lines)}. `dvc metrics diff` compares with the last commit"
        remedy = f"`git add {' '.join(changed)} && git commit` keeps them"
        committed = (_git(root, "ls-tree", "--name-only", "HEAD", "--", *changed) or "").splitlines()
        if back := [name for name in changed if name in committed]:
            remedy += f"; `git checkout HEAD -- {' '.join(back)} && dvc checkout` goes back"
        found.append(Finding("git", says, remedy))
    return found or [Finding("git", "figures, parameters and dvc.lock are as committed, and as their stages left them")]
