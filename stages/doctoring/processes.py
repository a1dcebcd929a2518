"""Stages that run in this folder, and what dead processes left: locks, temporaries."""

import itertools
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from stages.doctoring import Finding, several, size
from stages.files import is_alive

WRITTEN = ("data", "models", "reports", "metrics", "predictions", "exported", ".work")  # folders that stages write below
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


def is_dvc(pid: int) -> bool:
    """Whether DVC runs under this id: of a dead one's id that another program has now, it does not."""
    try:
        return any(Path(word).name in ("dvc", "dvc.exe") for word in psutil.Process(pid).cmdline()[:3])
    except psutil.Error:
        return False


def _running(root: Path) -> tuple[list[str], list[str]]:
    """Stages of a DVC that runs in `root`, and those that no DVC waits for."""
    of_dvc: list[str] = []
    alone: list[str] = []
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
        (of_dvc if any(is_dvc(other.pid) for other in above) else alone).append(f"{stage} (process {process.pid})")
    return of_dvc, alone


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
    holder = root / ".dvc" / "tmp" / "lock"  # there is always a file: it is held only while its process lives
    number = holder.read_text(encoding="utf-8", errors="replace").strip() if holder.is_file() else ""
    if number.isdigit() and is_dvc(int(number)):
        found.append(Finding("locks", f"DVC is at work here, process {number}: a second one is refused until it ends"))
    index = root / ".git" / "index.lock"
    if index.is_file() and not any(_about(process)[0][:1] == ["git"] for process in psutil.process_iter()):
        found.append(
            Finding(
                "locks",
                f"{index}: left by a git that was killed. `dvc exp run` and git stop at it",
                f"`rm {index}`",
                stops=True,
            )
        )
    return found


def findings(root: Path) -> list[Finding]:
    of_dvc, alone = _running(root)
    found = _locks(root)
    if alone:
        says = f"runs without DVC: {several(alone)}. Yours, started by hand, or what is left of a killed run"
        numbers = " ".join(re.findall(r"process (\d+)", " ".join(alone)))
        found.append(Finding("processes", says, f"let it end, or `kill {numbers}`, before the next `dvc repro`"))
    if of_dvc:
        found.append(Finding("processes", f"a run is going on: {several(of_dvc)}"))
    if left := [path.relative_to(root) for path in _leftovers(root)]:
        total = size(sum(_bytes(root / path) for path in left))
        says = f"left by killed runs, {total}: {several([*map(str, left)])}"
        found.append(Finding("temporaries", says, f"`rm -r {' '.join(map(str, left[:20]))}`; nothing reads them"))
    return found or [Finding("processes", "none left over, no lock and no temporary of a killed run")]
