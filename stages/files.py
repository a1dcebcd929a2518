"""Whole-or-nothing outputs, their sha256 manifests, and seeds.

Every output of a stage is written under a temporary name beside its target and moved into place when it is complete, so
that a killed stage never leaves a half-written file under a final name. A folder gets a `manifest.json` that names every
file in it with its size and sha256: DVC trusts its cache by file mode and does not see altered bytes; `stages.verify` does.
"""

import contextlib
import errno
import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

MANIFEST = "manifest.json"
FULL = (errno.ENOSPC, errno.EDQUOT)  # what a full disk says, or a quota that is used up
_MEND = "Mend it there, or get the file anew"
_OWN = ("data", "models", "reports")  # folders that stages fill, in the project's folder, where stages run


class DataError(Exception):
    """A fault of the data, the settings or the machine that the user can mend. Its text is the whole message."""


def sha256_bytes(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seed_from(*parts: object) -> int:
    """A 63-bit seed from values, the same on every machine and in every process (unlike `hash`)."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _beside(path: Path) -> Path:
    # The leading dot keeps the temporary name out of git (.gitignore: `.*.partial-*`) and out of DVC (.dvcignore).
    return path.with_name(f".{path.name}.partial-{os.getpid()}")


@contextlib.contextmanager
def _full_disk_named(path: Path) -> Iterator[None]:
    """An error of a full disk names what was to be written: a failed write does not know, or knows the temporary name."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            error.filename = str(path)
        raise


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path; when the block succeeds, what was written there replaces `path` in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path)
    try:
        with _full_disk_named(path):
            yield temporary
            _sync(temporary)
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder; when the block succeeds it gets its manifest and replaces `path`.

    The old folder stays until the new one is complete. A folder cannot be swapped in one step, so a kill in the instant
    between the two renames leaves no folder at `path`, never a mixed one; the next run puts the old one back first.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, old = _beside(path), path.with_name(f".{path.name}.partial-old-{os.getpid()}")
    for leftover in path.parent.glob(f".{path.name}.partial-*"):
        if not is_running(leftover.name.rsplit("-", 1)[1]):
            if leftover.name.startswith(f".{path.name}.partial-old-") and not path.exists():
                os.replace(leftover, path)  # killed between the two renames: the earlier result is back
            shutil.rmtree(leftover, ignore_errors=True)
    temporary.mkdir()
    try:
        with _full_disk_named(path):
            yield temporary
            write_manifest(temporary)
        if path.exists():
            os.replace(path, old)
        os.replace(temporary, path)
    finally:
        if old.exists() and not path.exists():
            os.replace(old, path)  # interrupted between the two renames
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def is_running(pid: str) -> bool:
    """Whether another process has this id and is alive; a leftover of this very id is an earlier process's."""
    return pid.isascii() and pid.isdigit() and int(pid) != os.getpid() and is_alive(int(pid))


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that was killed and that nobody has taken note of, a zombie, does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:  # another user's
        return True


def printable(text: str) -> str:
    """The text on one line: what would move a terminal's cursor, or is no character at all, as an escape."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def write_text(path: Path, text: str) -> None:
    with new_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write JSON, keys in the order given. NaN and infinities are refused before `path` is touched."""
    try:
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise DataError(f"{path}: not written, {_not_finite(value)} is not a finite number ({error})") from error
    write_text(path, text + "\n")


def _not_finite(value: Any, path: str = "") -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return path or "the value"
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return next((found for key, item in items if (found := _not_finite(item, f"{path}.{key}".lstrip(".")))), "")


def read_json(path: Path) -> Any:
    """Read JSON; a malformed file is a DataError that names the file, the line and the column."""
    try:
        text = path.read_text(encoding="utf-8-sig")  # Windows programs write a byte order mark
        value = json.loads(text)
        if "\\ud" in text.lower():  # half a character (a lone surrogate), which no table can hold, becomes `?`
            value = json.loads(json.dumps(value, ensure_ascii=False).encode(errors="replace").decode())
        return value
    except FileNotFoundError:
        raise DataError(f"{path}: no such file. `dvc repro` rebuilds it if a stage makes it") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not JSON: not UTF-8 text ({error.reason} at byte {error.start}). {_MEND}") from None
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: line {error.lineno}, column {error.colno}: malformed JSON: {error.msg}. {_MEND}") from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, lists nested without end
        raise DataError(f"{path}: malformed JSON: {error}. {_MEND}") from None


def describe_files(root: Path) -> dict[str, dict[str, Any]]:
    """{relative path: {bytes, sha256}} of every file below `root`, sorted; the manifest itself left out."""
    paths = sorted(path for path in root.rglob("*") if path.is_file() and path != root / MANIFEST)
    return {path.relative_to(root).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256_file(path)} for path in paths}


def write_manifest(folder: Path) -> None:
    write_json(folder / MANIFEST, describe_files(folder))


def check_manifest(folder: Path) -> list[str]:
    """What is wrong with a folder against its manifest, a sentence each; empty when all is well."""
    if not (folder / MANIFEST).is_file():
        return [f"{folder}: no {MANIFEST}"]
    listed = read_json(folder / MANIFEST)
    if not _is_manifest(listed):
        return [f"{folder / MANIFEST}: is no manifest, which holds {{file: {{bytes, sha256}}}}"]
    problems = []
    for name, expected in listed.items():
        path = folder / name
        if not os.path.isfile(path):  # False also for what can be no file's name
            problems.append(f"{path}: missing")
        elif path.stat().st_size != expected["bytes"]:
            problems.append(f"{path}: {path.stat().st_size} bytes, {expected['bytes']} when it was written")
        elif (found := sha256_file(path)) != expected["sha256"]:
            problems.append(f"{path}: altered: sha256 {found}, {expected['sha256']} when it was written")
    present = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and p != folder / MANIFEST}
    return problems + [f"{folder / name}: not in the manifest" for name in sorted(present - set(listed))]


def _is_manifest(value: Any) -> bool:
    entries = value.values() if isinstance(value, dict) else [None]
    return all(isinstance(entry, dict) and entry.keys() >= {"bytes", "sha256"} for entry in entries)


def require_manifest(folder: Path) -> None:
    """Refuse a folder that is not as its stage left it."""
    if problems := check_manifest(folder):
        shown = "\n  ".join(problems[:5])
        remedy = "Get it anew from where it came"  # which no stage here can make again
        if Path(os.path.relpath(folder)).parts[:1] in [(name,) for name in _OWN]:
            remedy = (
                "DVC's cache may hold the altered bytes: `python -m stages.doctor --all` names those files. "
                f"Remove them and {folder}, then run `dvc repro`"
            )
        raise DataError(f"{folder} is not as its stage left it:\n  {shown}\n{remedy}")
