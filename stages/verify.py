"""The users' command: every stage's sha256 manifest against what is on disk.

    python -m stages.verify [FOLDER ...]

DVC trusts a cached file's mode and never hashes it again, so that altered bytes are served in silence; this finds them. A
data set that is read in place is checked too, byte by byte. Exit code 1 when anything differs.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from tqdm import tqdm

from stages.command import run
from stages.files import MANIFEST, DataError, check_manifest, sha256_file
from stages.sources import LISTING, open_source, unchanged

OUTPUTS = (Path("data"), Path("models"), Path("reports"))


def check_source(folder: Path) -> list[str]:
    """What differs between a data set that is read in place and the listing of it in `folder`."""
    source = open_source(folder)
    problems = unchanged(source)
    for name, (_, expected) in tqdm(source.files.items(), desc=str(source.root), unit="", disable=None, leave=False):
        path = source.root / name
        if path.is_file() and (found := sha256_file(path)) != expected:
            problems.append(f"{path}: altered: sha256 {found}, {expected} when it was listed")
    return problems


def manifests(folders: Iterable[Path]) -> list[Path]:
    """Every manifest below `folders`, sorted."""
    return sorted(path for folder in folders for path in folder.rglob(MANIFEST))


def differences(found: Sequence[Path]) -> list[str]:
    """What is not as those manifests have it, a sentence each."""
    problems = []
    for path in tqdm(found, desc="folders", unit="", disable=None, leave=False):
        problems += check_manifest(path.parent)
        if (path.parent / LISTING).is_file():
            problems += check_source(path.parent)
    return problems


def main() -> None:
    parser = argparse.ArgumentParser(description="check every output against the sha256 manifest that its stage left")
    parser.add_argument("folders", nargs="*", type=Path, default=OUTPUTS, help="where to look (data, models, reports)")
    args = parser.parse_args()
    found = manifests(args.folders)
    if not found:
        raise DataError(f"no {MANIFEST} below {', '.join(map(str, args.folders))}: nothing has run yet. Run `dvc repro`")
    problems = differences(found)
    print(*problems, sep="\n", end="\n" if problems else "")
    print(f"{len(found)} folders checked, {len(problems)} differences")
    if problems:
        print(
            "To mend one: `python -m stages.doctor --all` names the altered objects of DVC's cache; remove those and the "
            "folder, then run `dvc repro`",
            file=sys.stderr,
        )
        sys.exit(1)


if __name__ == "__main__":
    run(main)
