"""A real filesystem of a set size, to be filled up."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def small_disk(place: Path, size_kib: int = 1024) -> Iterator[Path]:
    """A tmpfs at the new folder `place`; gone, with all that is in it, at the end. Skips the test where mounting is not allowed."""
    place.mkdir()
    if shutil.which("mount") is None:
        pytest.skip("no `mount` here: no small filesystem to fill up")
    command = ["mount", "-t", "tmpfs", "-o", f"size={size_kib}k", "tmpfs", str(place)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"a small filesystem may not be mounted here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(disk: Path, leave_bytes: int = 0) -> Path:
    """A file that takes what is free on `disk` but for `leave_bytes`; delete it to make room again."""
    path = disk / "filler"
    free = shutil.disk_usage(disk).free - leave_bytes
    path.write_bytes(bytes(max(0, free)))
    return path
