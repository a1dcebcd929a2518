"""What a run of `stages.predict` has done so far: a line of JSON for each file, added as it is done.

A killed run leaves at most a torn last line, which the next run cuts off; the lines before it are not done again.
"""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Self

from filelock import FileLock, Timeout

from stages.files import DataError

_SYNC_S = 2.0  # how much work a power cut may cost; a kill costs none


class Journal:
    """Lines of one run. The first says what the run is of: `about`; another run is not gone on from."""

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        self._path, self._about = path, about
        self._lock = FileLock(f"{path}.lock", timeout=0)
        self._file: IO[bytes]
        self._synced_at = 0.0

    def __enter__(self) -> Self:
        """Raises DataError where another process writes it, where it is of another run, or where it is damaged."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except Timeout:
            raise DataError(f"{self._path.parent}: another run is writing here. Wait for it, or give another --out") from None
        except OSError as error:
            raise DataError(f"{self._path.parent}: cannot be written: {error.strerror}. Give another --out") from None
        try:
            self._open()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._sync()
        self._file.close()
        self._lock.release()

    def _open(self) -> None:
        self._file = self._path.open("a+b")
        size = self._file.seek(0, os.SEEK_END)
        self._file.truncate(self._whole_lines(size))
        self._file.seek(0)
        first = self._file.readline()
        if not first:
            self.append(self._about)
            self._sync()
        elif (before := _parsed(first, self._path, 1)) != self._about:
            wrong = next(key for key in {**self._about, **before} if self._about.get(key) != before.get(key))
            self._file.close()
            raise DataError(
                f"{self._path.parent} holds what another run found ({wrong}: {before.get(wrong)}, now "
                f"{self._about.get(wrong)}). Give another --out, or remove that folder"
            )

    def _whole_lines(self, size: int) -> int:
        """Where the last line that was written whole ends."""
        end = size
        while end:
            start = max(0, end - 2**16)
            self._file.seek(start)
            place = self._file.read(end - start).rfind(b"\n")
            if place >= 0:
                return start + place + 1
            end = start
        return 0

    def append(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line, ensure_ascii=True, separators=(",", ":"), allow_nan=False).encode() + b"\n")
        self._file.flush()
        if time.monotonic() - self._synced_at > _SYNC_S:
            self._sync()

    def _sync(self) -> None:
        os.fsync(self._file.fileno())
        self._synced_at = time.monotonic()

    def lines(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """(offset in bytes, line) of every line but the first. Raises DataError for one that is damaged, by its number."""
        with self._path.open("rb") as file:
            offset = len(file.readline())
            for number, text in enumerate(file, 2):
                yield offset, _parsed(text, self._path, number)
                offset += len(text)

    def at(self, offsets: list[int]) -> Iterator[dict[str, Any]]:
        """The lines at these offsets, in this order."""
        with self._path.open("rb") as file:
            for offset in offsets:
                file.seek(offset)
                yield json.loads(file.readline())


def _parsed(text: bytes, path: Path, number: int) -> dict[str, Any]:
    try:
        line = json.loads(text)
        if isinstance(line, dict):
            return line
    except ValueError:
        pass
    raise DataError(f"{path}: line {number} is damaged. Remove this file to begin anew, or that line to do its file again")
