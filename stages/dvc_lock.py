"""A copy of `dvc.lock`, since DVC does not write it whole or not at all: `python -m stages.dvc_lock` puts it back.

After each stage DVC empties the file and writes it anew, for as long as seconds; killed in that time it forgets which stages
have run, or cannot read the file at all. So every stage that DVC starts copies it first. A cut-off file is known by what the
copy holds beside it; any other is left alone, and so is one that git has, or that a DVC at work may just be writing. At most
the stage that was just ending runs once more.
"""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import psutil
import yaml

from stages.alone import KEPT
from stages.files import is_alive, new_file

LOCKS = (Path("dvc.lock"), Path("look/dvc.lock"))
_TMP = Path(".dvc/tmp")  # where DVC keeps its own locks


def keep(locks: tuple[Path, ...] = LOCKS) -> None:
    """Copy each lock, unless it is cut off: the copy that can mend it stays."""
    for lock in locks:
        if not lock.is_file() or is_cut_off(lock):
            continue
        with new_file(copy_of(lock)) as temporary:
            temporary.write_bytes(lock.read_bytes())


def mend(locks: tuple[Path, ...] = LOCKS) -> list[Path]:
    """Put the copy of each lock that is cut off back, unless DVC is at work. Returns those that were."""
    mended: list[Path] = []
    if at_work():
        return mended
    for lock in locks:
        if lock.is_file() and copy_of(lock).is_file() and is_cut_off(lock):
            with new_file(lock) as temporary:
                temporary.write_bytes(copy_of(lock).read_bytes())
            mended.append(lock)
    return mended


def at_work() -> list[int]:
    """Processes that use this folder's DVC: those that its locks name and that are alive, and each `dvc` that runs here."""
    found = {pid for pid in _readers_and_writers() if is_alive(pid)}
    if (pid := _holder()) is not None and is_dvc(pid):
        found.add(pid)
    here = Path.cwd().resolve()
    for process in psutil.process_iter():
        if is_dvc(process.pid) and _project_of(process) == here:
            found.add(process.pid)
    return sorted(found - {os.getpid()})


def is_dvc(pid: int) -> bool:
    """Whether DVC runs under this id: of a dead one's id that another program has now, it does not."""
    try:
        words = psutil.Process(pid).cmdline()[:5]
    except psutil.Error:
        return False
    # `dvc daemon` sends its statistics, for itself
    return any(Path(word).name in ("dvc", "dvc.exe") for word in words[:3]) and "daemon" not in words


def is_cut_off(lock: Path) -> bool:
    """Whether a killed dvc left a part of what was to follow the copy: its first stages, all but one as they were."""
    text = lock.read_text(encoding="utf-8", errors="replace")
    if not text.endswith("\n"):
        return not _git_has(lock)
    if not copy_of(lock).is_file():
        return False
    now, before = (_stages(part) for part in (text, copy_of(lock).read_text(encoding="utf-8", errors="replace")))
    others = [name for name, entry in now.items() if entry != before.get(name)]
    if list(now) != list(before)[: len(now)] or len(others) > 2:  # what just ended, and the last, cut
        return False
    gone = list(before)[len(now) :]
    graph = _graph(lock.with_name("dvc.yaml"))
    last_is_short = not gone and bool(others) and _is_part(now, before, graph)
    short = last_is_short or (bool(gone) and all(name.partition("@")[0] in graph for name in gone))
    return short and not _git_has(lock)


def copy_of(lock: Path) -> Path:
    """Where the copy of a lock is kept."""
    return KEPT / "-".join(lock.parts)


def _is_part(now: dict[str, str], before: dict[str, str], graph: dict[str, Any]) -> bool:
    """Whether the last entry is the beginning of the copy's, and lacks some of an output that the graph has."""
    name, entry = list(now.items())[-1]
    rest = before[name].removeprefix(entry)
    if rest in ("", before[name]):
        return entry == "" != before[name]
    body = graph.get(name.partition("@")[0])
    if body is None:
        return False
    wanted = sum(len(body.get(kind) or []) for kind in ("outs", "metrics", "plots"))
    there = entry.partition("    outs:\n")[2].count("\n    - ") + ("    outs:\n    - " in entry)
    return there < wanted or not rest.startswith("    - ")  # else its last outputs were taken out of the graph


def _graph(path: Path) -> dict[str, Any]:
    """{stage: its own mapping, that of a `foreach` once}; nothing of a file that DVC would not read."""
    try:
        stages = yaml.safe_load(path.read_text(encoding="utf-8"))["stages"]
        return {name: stage.get("do", stage) for name, stage in stages.items()}
    except (OSError, ValueError, yaml.YAMLError, AttributeError, KeyError, TypeError):
        return {}


def _git_has(lock: Path) -> bool:
    """Whether git has a file of these bytes: committed, stashed, or of an experiment. No kill left what came from there.

    Nothing is cut off shorter than to an empty file, which git has for other reasons.
    """
    if not lock.stat().st_size:
        return False
    environ = os.environ | {"GIT_NO_LAZY_FETCH": "1", "GIT_TERMINAL_PROMPT": "0"}  # ask no server
    try:
        named = subprocess.run(
            ("git", "hash-object", "--", str(lock)), capture_output=True, text=True, check=True, timeout=20, env=environ
        )
        words = ("git", "cat-file", "-e", named.stdout.strip())
        return subprocess.run(words, capture_output=True, check=False, timeout=20, env=environ).returncode == 0
    except (OSError, subprocess.SubprocessError):
        return False  # no git, or none that works


def _readers_and_writers() -> list[int]:
    """Processes that DVC's rwlock names."""
    try:
        document = json.loads((_TMP / "rwlock").read_text(encoding="utf-8"))
        readers = [entry for entries in document.get("read", {}).values() for entry in entries]
        return [int(entry["pid"]) for entry in [*document.get("write", {}).values(), *readers]]
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        return []  # there is none, or it is damaged, which `stages.doctor` says


def _holder() -> int | None:
    """Who took DVC's lock of this folder last: the file stays behind."""
    try:
        return int((_TMP / "lock").read_text(encoding="utf-8", errors="replace"))
    except (OSError, ValueError):
        return None


def _project_of(process: psutil.Process) -> Path | None:
    """The DVC project in whose folder, or below it, a process runs."""
    try:
        folder = Path(process.cwd()).resolve()
    except (psutil.Error, OSError):
        return None
    return next((above for above in (folder, *folder.parents) if (above / ".dvc").is_dir()), None)


def _stages(text: str) -> dict[str, str]:
    """{stage: its entry} of a lock's text, which need not be whole."""
    parts = re.split(r"^  (\S.*):\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def main() -> None:
    for lock in mend():
        print(f"{lock} was cut off by a kill of dvc, and is again as it was before the stage that was just ending")


if __name__ == "__main__":
    main()
