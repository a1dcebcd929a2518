"""A user's photos and videos: which there are, when they were taken, and a video's frames."""

import contextlib
import io
import os
import re
import stat
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from heapq import heapify, heappop, heappush
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from PIL import Image

from stages.datasets import PICTURE_ENDINGS as PICTURES
from stages.files import DataError
from stages.pictures import FORMATS, RGB, UnreadablePicture

VIDEOS = (
    *(".avi", ".mp4", ".m4v", ".mov", ".3gp", ".asf", ".wmv"),
    *(".mkv", ".webm", ".mpg", ".mpeg", ".mts", ".m2ts"),
)
HIDDEN, NO_ENDING = "hidden", "no ending"  # in `Found.left_aside`, beside endings
# What those endings stand for, by libav's names. No others: some of libav's formats are lists of further files to open.
_CONTAINERS = "avi,mov,mp4,asf,matroska,webm,mpeg,mpegts,mpegvideo"
_STARTS = re.compile(  # how such a file begins: one that does and cannot be opened is damaged
    rb"RIFF|\x30\x26\xb2\x75|\x1a\x45\xdf\xa3|\x00\x00\x01[\xb3\xba]|....(ftyp|moov|mdat|wide|free|skip)", re.DOTALL
)
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
        with _opened(path) as container:
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


# A video's frames --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Frame:
    number: int  # of all frames of the stream, from 0
    seconds: float  # from the first frame
    rgb: RGB  # uint8 (height, width, 3), the right way up
    frame_rate: float | None  # of the stream, frames a second, as its file says


def frames(path: Path, rate: float) -> Iterator[Frame]:
    """`rate` frames for each second of a video, one at a time: the first at or after each k / rate seconds, by its own time.

    Raises OSError where the file cannot be opened, or UnreadablePicture: empty_file, not_a_video, no_video_stream, no_frames
    or damaged. What comes before the damage is yielded first. A file cut between two frames cannot be told from a short one,
    unless its format says more.
    """
    with _opened(path) as container:
        stream = container.streams.best("video")
        if not (container.streams.video or container.streams.audio):
            raise UnreadablePicture("damaged", "neither video nor sound in it: cut off, perhaps")
        if not isinstance(stream, av.VideoStream) or stream.codec_context is None:
            raise UnreadablePicture("no_video_stream", "no video in it, or none that can be decoded")
        frame_rate = stream.average_rate
        shown_rate = float(frame_rate) if frame_rate else None
        per_second = Fraction(str(rate))  # exact, as the times are
        # Each frame of Motion JPEG and the like stands alone: those that are not due need not be decoded.
        alone = stream.codec_context.codec.intra_only
        number, due, start = 0, 0, Fraction(0)
        try:
            for packet in container.demux(stream):
                _require_whole(packet, number)
                if alone and packet.size and number and (_time_of(packet, number, frame_rate) - start) * per_second < due:
                    number += 1
                    continue
                for frame in packet.decode():
                    _require_whole(frame, number)
                    time = _time_of(frame, number, frame_rate)
                    start = start if number else time
                    if (time - start) * per_second >= due:
                        due = int((time - start) * per_second) + 1
                        rgb = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))
                        yield Frame(number, float(time - start), np.ascontiguousarray(rgb), shown_rate)
                    number += 1
        except av.FFmpegError as error:
            raise UnreadablePicture("damaged", f"after {number} frames: {error.strerror}") from None
        if number == 0:
            raise UnreadablePicture("no_frames", "a video without a frame")


def _require_whole(part: av.Packet | av.VideoFrame, number: int) -> None:
    if part.is_corrupt:
        raise UnreadablePicture("damaged", f"after {number} frames: the next is incomplete")


def _time_of(part: av.Packet | av.VideoFrame, number: int, frame_rate: Fraction | None) -> Fraction:
    """In seconds, from wherever the stream counts them."""
    if part.pts is not None and part.time_base is not None:
        return part.pts * part.time_base
    if not frame_rate:
        raise UnreadablePicture("damaged", "its frames have no times")
    return number / frame_rate


@contextlib.contextmanager
def _opened(path: Path) -> Iterator["av.container.InputContainer"]:
    with path.open("rb") as file:
        start = file.read(12)
    if not start:
        raise UnreadablePicture("empty_file", "the file has 0 bytes")
    try:  # `file:`, as libav takes what stands before a colon for a protocol
        container = av.open(f"file:{path}", options={"format_whitelist": _CONTAINERS}, metadata_errors="replace")
    except av.FFmpegError as error:  # some are OSErrors, though the file was opened a moment ago
        if _STARTS.match(start):
            raise UnreadablePicture("damaged", f"{error.strerror}: cut off, perhaps") from None
        raise UnreadablePicture("not_a_video", f"no video format: starts with {start!r}") from None
    with container:
        yield container
