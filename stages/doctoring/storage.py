"""DVC's cache, object by object, and the databases in which it remembers hashes.

DVC never hashes an object again whose mode is 0444: one that was altered all the same is served in silence, and not replaced
when its stage runs again. It has to go first.
"""

import contextlib
import json
import os
import random
import sqlite3
import stat
import time
from collections import defaultdict
from collections.abc import Iterator
from hashlib import file_digest, md5
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import psutil
from dvc.config import Config
from dvc.fs import localfs
from dvc.repo import Repo

from stages.doctoring import Finding, several, size
from stages.doctoring.lock import Output

SECONDS = 2.0  # of hashing, where not all is asked for
DVC = ".dvc"
AT_MOST = 8  # stages named one by one
PEOPLE = range(1000, 65534)  # their ids, as Linux gives them; below are services


class Object(NamedTuple):
    """A file of the cache that dvc.lock needs."""

    path: Path
    file: Path  # which it is a copy of, from the repository's root
    output: Output


def cache_folder(root: Path) -> Path:
    """Where objects lie. Raises dvc.exceptions.DvcException where .dvc/config is not as DVC wants it."""
    named = Config(str(root / DVC)).get("cache", {}).get("dir")
    return (root / DVC / named if named else root / DVC / "cache") / "files" / "md5"


def state_folder(root: Path) -> Path | None:
    """Where DVC keeps its databases of this repository, by DVC's own rule; None before its first command here."""
    if not (first := root / DVC / "tmp" / "btime").is_file():
        return None
    about = SimpleNamespace(  # DVC's rule without a Repo, which would write, and stop at the very databases that are looked at
        config=Config(str(root / DVC)), fs=localfs, root_dir=str(root.resolve()), _btime=os.path.getmtime(first)
    )
    return Path(vars(Repo)["site_cache_dir"].fget(about))


def place(folder: Path, md5: str) -> Path:
    return folder / md5[:2] / md5[2:]


def needed(folder: Path, outputs: list[Output]) -> Iterator[Object]:
    """Every object of the cache that the outputs need; of a folder whose own list is not there or damaged, that list alone."""
    for output in outputs:
        if not output.cached:
            continue
        yield Object(path := place(folder, output.md5), output.path, output)
        if output.md5.endswith(".dir"):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                for entry in json.loads(path.read_text(encoding="utf-8")):
                    yield Object(place(folder, entry["md5"]), output.path / entry["relpath"], output)


def _is_as_named(path: Path) -> bool:
    with path.open("rb") as file:
        found = file_digest(file, lambda: md5(usedforsecurity=False)).hexdigest()
    return found == path.parent.name + path.name.removesuffix(".dir")


def _missing(gone: list[Object]) -> list[Finding]:
    by_stage: dict[str, list[Object]] = defaultdict(list)
    for one in gone:
        by_stage[one.output.stage].append(one)
    found = []
    for stage, objects in list(by_stage.items())[:AT_MOST]:
        more = f" and {len(objects) - 1:,} more of this stage's" if len(objects) > 1 else ""
        says = f"{objects[0].path}: missing, the copy of {objects[0].file}{more}"
        found.append(Finding("cache", says, f"`dvc repro {stage}` rebuilds it"))
    if len(by_stage) > AT_MOST:
        rest = list(by_stage)[AT_MOST:]
        found.append(
            Finding("cache", f"objects of {len(rest)} more stages are missing: {several(rest)}", "`dvc repro` rebuilds them")
        )
    return found


def _altered(bad: list[Object]) -> list[Finding]:
    return [
        Finding(
            "cache",
            f"{one.path}: altered, its md5 is not its name; the copy of {one.file} (stage {one.output.stage})",
            f"`rm -rf {one.path} {one.output.path}`, then `dvc repro {one.output.stage}`: DVC would serve it as it is",
            stops=True,
        )
        for one in bad
    ]


def cache_findings(folder: Path, outputs: list[Output], everything: bool) -> list[Finding]:
    """Objects that are missing or altered: of all, or of as many as can be hashed in SECONDS, drawn by chance."""
    objects = list({one.path: one for one in needed(folder, outputs)}.values())
    there: list[Object] = []
    gone: list[Object] = []
    for one in objects:
        (there if one.path.is_file() else gone).append(one)
    if not there:
        return (
            [Finding("cache", f"{folder}: nothing of dvc.lock is in it: `make` or `dvc repro` builds it all")]
            if objects
            else []
        )
    random.shuffle(there)
    bad, hashed, read, end = [], 0, 0, time.monotonic() + SECONDS
    for one in there:
        if not everything and time.monotonic() > end:
            break
        hashed, read = hashed + 1, read + one.path.stat().st_size
        if not _is_as_named(one.path):
            bad.append(one)
    if gone or bad:
        return _altered(bad) + _missing(gone)
    rest = "" if hashed == len(there) else f" (drawn by chance of {len(there):,}; `--all` takes all of them)"
    return [
        Finding("cache", f"{folder}: all {len(there):,} objects of dvc.lock are there, {hashed:,} hashed, {size(read)}{rest}")
    ]


def state_findings(root: Path) -> list[Finding]:
    """Databases that SQLite cannot read: every DVC command then ends with `unexpected error`, and names no file."""
    folder = state_folder(root)
    if folder is None or not folder.is_dir():
        return [Finding("state", "no DVC command has run here yet")]
    bad = []
    for path in sorted(folder.rglob("*.db")):
        how = "ro" if path.with_name(f"{path.name}-wal").exists() else "ro&immutable=1"  # else SQLite would make that file
        try:
            with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode={how}", uri=True)) as base:
                (said,) = base.execute("pragma quick_check(1)").fetchone()
        except sqlite3.OperationalError as error:  # in use, or not ours to read
            said = "ok" if "locked" in str(error) else str(error)
        except sqlite3.DatabaseError as error:
            said = str(error)
        if said != "ok":
            bad.append(f"{path}: {said}")
    if bad:
        remedy = f"`rm -r {folder}`: it holds only what DVC remembers of hashes, and the next command makes it anew"
        return [Finding("state", f"DVC's database is damaged: {'; '.join(bad)}", remedy, stops=True)]
    if others := _others_who_write(folder):
        says = f"{folder}: DVC trusts these databases, and {several(others)} can put others in their place"
        return [Finding("state", says, "set DVC_SITE_CACHE_DIR to a folder of your own")]
    return [Finding("state", f"{folder}: DVC's databases are whole")]


def _others_who_write(folder: Path) -> list[str]:
    """Other people at work here, where they can write in the folder or put another there. DVC unpickles what it finds."""
    own, above = folder.stat(), folder.parent.stat()
    movable = above.st_mode & 0o002 and not above.st_mode & stat.S_ISVTX
    if os.name != "posix" or not (movable or own.st_mode & 0o002 or own.st_uid not in (0, os.getuid())):
        return []
    owners = {
        process.info["username"] for process in psutil.process_iter(["username", "uids"]) if _is_another(process.info["uids"])
    }
    return sorted(filter(None, owners))


def _is_another(uids: Any) -> bool:
    return uids is not None and uids.real in PEOPLE and uids.real != os.getuid()
