"""A user's photos and videos: which there are, when they were taken, and a video's frames."""

import io
import os
import re
import stat
import warnings
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from heapq import heapify, heappop, heappush
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from stages.datasets import PICTURE_ENDINGS as PICTURES
from stages.datasets import VIDEO_ENDINGS as VIDEOS
from stages.files import DataError
from stages.pictures import FORMATS, UnreadablePicture
from stages.video_files import Frame, frames, opened

__all__ = ["HIDDEN", "NO_ENDING", "PICTURES", "VIDEOS", "File", "Found", "Frame", "captured_at", "find", "frames"]
__all__ += ["video_captured_at"]

HIDDEN, NO_ENDING = "hidden", "no ending"  # in `Found.left_aside`, beside endings
_EXIF, _DATE_TIME = 0x8769, 0x0132
_TIMES = ((0x9003, 0x9291), (0x9004, 0x9292), (_DATE_TIME, 0x9290))  # original, digitized, changed; each with its fraction
_TIME = re.compile(r"(\d{4})[:/-]([ \d]\d)[:/-]([ \d]\d)[ T]([ \d]\d):([ \d]\d):([ \d]\d)(?:\.(\d+))?")

# Which there are ---------------------------------------------------------------------------------------------------------


class File(NamedTuple):
    path: str  # from `Found.root`, with /
    bytes: int
    mtime_ns: int

    @property
    def is_video(self) -> bool:
        return _ending(self.path) in VIDEOS


@dataclass(frozen=True)
class Found:
    root: Path  # the folder given; of several, the one that holds them all; of a file, its folder
    files: list[File]  # by path
    left_aside: Counter[str]  # what is neither picture nor video, by ending, HIDDEN or NO_ENDING
    unreadable: list[tuple[str, str]]  # files and folders that cannot be looked at: (path from `root`, reason)
    repeated: list[str]  # folders behind links that are seen elsewhere or hold `root`, loops among them; not followed


def find(paths: list[Path]) -> Found:
    """Every picture and video below the folders given, and the files given, each once.

    Links are followed; a folder that two lead to is seen once. Hidden files and folders (`._IMG.jpg`, `.Trashes`) are left
    aside. Raises DataError for a path that is not there, and where there is no picture or video at all.
    """
    given = {Path(os.path.abspath(path)) for path in paths}
    for path in sorted(given):
        if not os.path.exists(path):
            raise DataError(
                f"{path}: no such file or folder, or not yours to look at. Give the folder that holds your photos and videos"
            )
    folders = {path for path in given if path.is_dir()}
    root = Path(os.path.commonpath([path if path in folders else path.parent for path in given]))
    if not _is_utf8(str(root)):
        raise DataError(f"{_shown(str(root))}: its name is not UTF-8. Rename the folder")
    found = Found(root, [], Counter(), [], [])
    apart = [path for path in given if folders.isdisjoint(path.parents)]  # the others lie in folders that are given too
    for path in apart:
        if path not in folders:
            _take(found, path, path.relative_to(root).as_posix())
    _walk(found, [path for path in apart if path in folders])
    if not found.files:
        raise DataError(_nothing(found))
    found.files.sort()
    found.unreadable.sort()
    found.repeated.sort()
    return found


def _walk(found: Found, folders: list[Path]) -> None:
    # (links passed, path to show, real path), the fewest links first: what has a name of its own below the root keeps it, and
    # a real path is seen once. No recursion: folders may be nested deeper than Python's stack.
    waiting = [(0, _below(path.relative_to(found.root).as_posix()), os.path.realpath(path)) for path in folders]
    heapify(waiting)
    top = Path(os.path.realpath(found.root))
    above, seen = {str(top), *map(str, top.parents)}, set[str]()
    while waiting:
        links, prefix, folder = heappop(waiting)
        if not _is_utf8(prefix):
            found.unreadable.append((_shown(prefix.rstrip("/")), "its name is not UTF-8"))
            continue
        if folder in seen or (links and folder in above):
            found.repeated.append(prefix.rstrip("/"))
            continue
        seen.add(folder)
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    path = prefix + entry.name
                    if entry.name.startswith(".") or not _is_folder(entry):
                        _take(found, entry, path)
                    elif entry.is_symlink():
                        heappush(waiting, (links + 1, path + "/", os.path.realpath(entry.path)))
                    else:
                        heappush(waiting, (links, path + "/", entry.path))
        except OSError as error:
            found.unreadable.append((prefix.rstrip("/") or ".", error.strerror or str(error)))


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _take(found: Found, entry: "os.DirEntry[str] | Path", path: str) -> None:
    ending = HIDDEN if entry.name.startswith(".") else _ending(entry.name)
    if ending not in PICTURES and ending not in VIDEOS:
        found.left_aside[_shown(ending) or NO_ENDING] += 1
        return
    try:
        about = entry.stat()
    except OSError as error:
        found.unreadable.append((_shown(path), error.strerror or str(error)))
        return
    if not _is_utf8(path):
        found.unreadable.append((_shown(path), "its name is not UTF-8"))
    elif not stat.S_ISREG(about.st_mode):  # a pipe would be waited for without end
        found.unreadable.append((path, "neither a file nor a folder"))
    else:
        found.files.append(File(path, about.st_size, about.st_mtime_ns))


def _ending(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _below(folder: str) -> str:
    return "" if folder == "." else folder + "/"


def _is_utf8(name: str) -> bool:
    return name.isascii() or name.encode(errors="ignore").decode() == name


def _shown(name: str) -> str:
    """A name with `\\x..` for each byte that is not UTF-8: text that can be printed and written."""
    return os.fsencode(name).decode(errors="backslashreplace")


def _nothing(found: Found) -> str:
    other = ", ".join(f"{count} {ending}" for ending, count in found.left_aside.most_common(5))
    lost = "; ".join(f"{path}: {reason}" for path, reason in found.unreadable[:5])
    return (
        f"{found.root}: no picture or video there. Give the folder that holds your photos and videos "
        f"({' '.join((*PICTURES, *VIDEOS))})."
        + (f" Left aside: {other}." if other else "")
        + (f" Could not be looked at: {lost}." if lost else "")
    )


# When they were taken ----------------------------------------------------------------------------------------------------


def captured_at(data: bytes) -> datetime | None:
    """When a picture was taken by its EXIF data and the camera's clock, without a zone; None where it does not tell."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data), formats=FORMATS) as image:
            main = Image.Image.getexif(image)  # the PNG reader's own decodes the picture first
            tags = {**main.get_ifd(_EXIF), _DATE_TIME: main.get(_DATE_TIME)}
    except Exception:  # damaged files raise OSError, SyntaxError, ValueError, struct.error, ...
        return None
    times = (_time(tags.get(tag), tags.get(fraction)) for tag, fraction in _TIMES)
    return next((time for time in times if time), None)


def video_captured_at(path: Path) -> datetime | None:
    """When a video was taken, by the `creation_time` of its file; None where it does not tell.

    MP4 means UTC by its standard, but cameras without a zone write their own clock: the time is given as written, no zone.
    """
    try:
        with opened(path) as container:
            return _time(container.metadata.get("creation_time"))
    except (OSError, UnreadablePicture):
        return None


def _time(written: object, fraction: object = None) -> datetime | None:
    found = _TIME.match(str(written))
    if not found:
        return None
    *whole, part = found.groups()
    digits = re.match(r"\d*", part or str(fraction))
    try:
        second = datetime.strptime(" ".join(whole), "%Y %m %d %H %M %S")
        return second.replace(microsecond=int(f"{digits[0] if digits else '':0<6.6}"))
    except ValueError:  # 0000:00:00 00:00:00 and other nonsense
        return None
