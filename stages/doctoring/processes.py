"""Stages that run in this folder, and what dead processes left: locks, temporaries."""

import itertools
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from stages.doctoring import Finding, several, size
from stages.dvc_lock import at_work, is_dvc
from stages.files import is_alive

WRITTEN = ("data", "models", "reports", "metrics", "predictions", "exported", ".work")  # folders that stages write below
OLD_S = 60  # of a lock of git's: git holds it for moments
_TEMPORARY = re.compile(r"\..+\.partial-(?:old-)?(\d+)")  # files.new_file and new_folder, archives.unpack


def _about(process: psutil.Process) -> tuple[list[str], Path | None]:
    """Its command and the folder it runs in; nothing of one that is gone or another user's."""
    try:
        return process.cmdline(), Path(process.cwd())
    except (psutil.Error, OSError):
        return [], None


def _stage_of(words: list[str]) -> str | None:
    """`stages.<name>` of `python -m stages.<name> ...`."""
    for option, name in itertools.pairwise(words):
        if option == "-m" and name.startswith("stages.") and name != "stages.doctor":
            return name
    return None


def _commands(root: Path) -> set[str]:
    """Stages that DVC runs, `stages.<name>`; what else is below stages/ is the user's."""
    texts = [
        path.read_text(encoding="utf-8", errors="replace")
        for path in (root / "dvc.yaml", *root.glob("[!.]*/dvc.yaml"))
        if path.is_file()
    ]
    return {name for text in texts for name in re.findall(r"-m (stages\.\w+)", text)}


def _is_left_over(process: psutil.Process) -> bool:
    """Whether a DVC that is dead has started it: who starts a stage by hand names no stage to it."""
    try:
        return "DVC_STAGE" in process.environ()
    except (psutil.Error, OSError):
        return False


def _running(root: Path) -> tuple[list[str], list[str], list[str]]:
    """Stages of a DVC that runs in `root`, those that were started by hand, and those that a dead DVC left."""
    of_dvc: list[str] = []
    by_hand: list[str] = []
    left: list[str] = []
    commands = _commands(root)
    for process in psutil.process_iter():
        words, folder = _about(process)
        if (stage := _stage_of(words)) is None or folder is None or folder.resolve() != root.resolve():
            continue
        try:
            above = process.parents()
        except psutil.Error:
            continue
        if above and _stage_of(_about(above[0])[0]) is not None:
            continue  # a worker of a stage's
        if any(is_dvc(other.pid) for other in above):
            kind = of_dvc
        else:
            kind = left if stage in commands and _is_left_over(process) else by_hand
        kind.append(f"{stage} (process {process.pid})")
    return of_dvc, by_hand, left


def _leftovers(root: Path) -> Iterator[Path]:
    for name in WRITTEN:
        for folder, folders, files in os.walk(root / name):
            for entry in [*folders, *files]:
                if (match := _TEMPORARY.fullmatch(entry)) and not is_alive(int(match.group(1))):
                    yield Path(folder, entry)
            folders[:] = [entry for entry in folders if not _TEMPORARY.fullmatch(entry)]


def _bytes(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if not file.is_dir())


def _entries(document: Any) -> Iterator[tuple[str, int, str]]:
    """(path, process, command) of each entry of DVC's rwlock. Raises for another shape."""
    for path, entry in document.get("write", {}).items():
        yield path, int(entry["pid"]), str(entry["cmd"])
    for path, entries in document.get("read", {}).items():
        for entry in entries:
            yield path, int(entry["pid"]), str(entry["cmd"])


def _locks(root: Path) -> list[Finding]:
    found = []
    path = root / ".dvc" / "tmp" / "rwlock"
    try:
        entries = list(_entries(json.loads(path.read_text(encoding="utf-8")))) if path.is_file() else []
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        remedy = f"`rm {path}`, when no `dvc` runs here: it only says who reads and writes what at this moment"
        return [Finding("locks", f"{path}: damaged: {error}. No DVC command works with it", remedy, stops=True)]
    dead = sorted({pid for _, pid, _ in entries if not is_alive(pid)})
    others = sorted({pid for _, pid, _ in entries if is_alive(pid) and not is_dvc(pid)})
    if others:
        says = f"{path}: held by process {several([*map(str, others)])}, which is no DVC: a killed one's number, given out anew"
        found.append(Finding("locks", says, f"`rm {path}`, when no `dvc` runs here", stops=True))
    if dead:
        says = f"{path}: names process {several([*map(str, dead)])}, which was killed: the next DVC command takes it out"
        found.append(Finding("locks", says))
    if working := [pid for pid in at_work() if is_dvc(pid)]:
        names = several([*map(str, working)])
        found.append(Finding("locks", f"DVC is at work here, process {names}: a second one is refused until it ends"))
    return found + _git_lock(root, bool(working))


def _git_lock(root: Path, working: bool) -> list[Finding]:
    """A lock of git's, which a git at work holds for moments: of the command line, of DVC, or of an editor."""
    index = root / ".git" / "index.lock"
    try:
        age_s = time.time() - index.stat().st_mtime
    except OSError:
        return []
    if age_s > OLD_S and not working and not any(_is_git(process, root) for process in psutil.process_iter()):
        says = f"{index}: left by a git that was killed. `dvc exp run` and git stop at it"
        return [Finding("locks", says, f"`rm {index}`", stops=True)]
    says = f"{index}: git is at work here, or was killed"
    return [Finding("locks", says, "let it end; if the file is still there a minute after the last git and `dvc`, look again")]


def _is_git(process: psutil.Process, root: Path) -> bool:
    words, folder = _about(process)
    named = bool(words) and Path(words[0]).stem.lower() == "git"  # git, /usr/bin/git, git.exe
    return named and folder is not None and folder.resolve().is_relative_to(root.resolve())


def findings(root: Path) -> list[Finding]:
    of_dvc, by_hand, orphans = _running(root)
    found = _locks(root)
    if orphans:
        numbers = " ".join(re.findall(r"process (\d+)", " ".join(orphans)))
        says = f"left of a run whose dvc was killed: {several(orphans)}"
        found.append(Finding("processes", says, f"let it end, or `kill {numbers}`, before the next `dvc repro`"))
    if by_hand:
        found.append(Finding("processes", f"started by hand: {several(by_hand)}. What it writes, a run waits for"))
    if of_dvc:
        found.append(Finding("processes", f"a run is going on: {several(of_dvc)}"))
    if left := [path.relative_to(root) for path in _leftovers(root)]:
        total = size(sum(_bytes(root / path) for path in left))
        says = f"left by killed runs, {total}: {several([*map(str, left)])}"
        found.append(Finding("temporaries", says, f"`rm -r {' '.join(map(str, left[:20]))}`; nothing reads them"))
    return found or [Finding("processes", "none left over, no lock and no temporary of a killed run")]
