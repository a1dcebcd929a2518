"""A video's frames, the right way up, with their times: of a video file, and where a clip may be one, a GIF or a folder."""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from stages.datasets import FRAME_ENDINGS
from stages.pictures import RGB, UnreadablePicture, decode

FOLDER_RATE = 30  # frames a second of a folder of frames, which tells none: the rate that clips are brought to
# What the endings of videos stand for, by libav's names. No others: some of libav's formats are lists of further files to open.
_CONTAINERS = "avi,mov,mp4,asf,matroska,webm,mpeg,mpegts,mpegvideo"
_STARTS = re.compile(  # how such a file begins: one that does and cannot be opened is damaged
    rb"RIFF|\x30\x26\xb2\x75|\x1a\x45\xdf\xa3|\x00\x00\x01[\xb3\xba]|....(ftyp|moov|mdat|wide|free|skip)", re.DOTALL
)


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
    with opened(path) as container:
        for number, seconds, frame, frame_rate in decoded(container, rate):
            yield Frame(number, float(seconds), upright(frame), frame_rate)


def every_frame(path: Path) -> Iterator[Frame]:
    """All frames of a clip, which is a video, a GIF or a folder of frames, one at a time and of one size.

    A folder's frames are its pictures by name, numbers in names as numbers (2 before 10), FOLDER_RATE a second. A GIF is laid
    on white, as other pictures are; one that is cut off gives no frame. Raises as `frames` does; a frame of another size than
    the first is damage too.
    """
    size: tuple[int, int] | None = None
    for frame in _of_folder(path) if path.is_dir() else _of_file(path):
        height, width = frame.rgb.shape[:2]
        size = size or (width, height)
        if (width, height) != size:
            detail = f"after {frame.number} frames: the next is {width} x {height} px, the first {size[0]} x {size[1]}"
            raise UnreadablePicture("damaged", detail)
        yield frame


def _of_file(path: Path) -> Iterator[Frame]:
    with opened(path, gif=True) as container:
        require_whole_gif(path)
        for number, seconds, frame, frame_rate in decoded(container):
            yield Frame(number, float(seconds), upright(frame), frame_rate)


def _of_folder(folder: Path) -> Iterator[Frame]:
    paths = frame_files(folder)
    for number, path in enumerate(paths):
        try:
            rgb = decode(path.read_bytes())[0]
        except UnreadablePicture as error:
            raise UnreadablePicture("damaged", f"after {number} frames: {path.name}: {error.reason}: {error}") from None
        yield Frame(number, number / FOLDER_RATE, rgb, float(FOLDER_RATE))
    if not paths:
        raise UnreadablePicture("no_frames", "a folder without a picture")


def frame_files(folder: Path) -> list[Path]:
    """The pictures of a folder of frames in their order; hidden ones, GIFs and other files are left alone."""
    those = (path for path in folder.iterdir() if path.suffix.lower() in FRAME_ENDINGS and not path.name.startswith("."))
    return sorted(those, key=lambda path: natural(path.name))


def natural(name: str) -> tuple[list[str | int], str]:
    """What to sort names by so that `frame10` follows `frame9`, whatever the zeros before; the name itself decides a tie."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)], name


def upright(frame: av.VideoFrame) -> RGB:
    """A decoded frame -> uint8 (height, width, 3), turned as its file says; what is transparent becomes white."""
    turns = round(frame.rotation / 90)
    if frame.format.name == "bgra":  # of a GIF
        rgba = frame.to_ndarray(format="rgba").astype(np.uint16)
        alpha = rgba[..., 3:]
        rgb: RGB = ((rgba[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    else:
        rgb = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(rgb, turns))


def decoded(
    container: "av.container.InputContainer", rate: float | None = None
) -> Iterator[tuple[int, Fraction, av.VideoFrame, float | None]]:
    """(number, seconds from the first, frame as decoded, the file's frame rate) of the frames that `rate` asks for; None: all.

    Raises UnreadablePicture, as `frames` does.
    """
    stream = container.streams.best("video")
    if not (container.streams.video or container.streams.audio):
        raise UnreadablePicture("damaged", "neither video nor sound in it: cut off, perhaps")
    if not isinstance(stream, av.VideoStream) or stream.codec_context is None:
        raise UnreadablePicture("no_video_stream", "no video in it, or none that can be decoded")
    frame_rate = stream.average_rate
    shown_rate = float(frame_rate) if frame_rate else None
    per_second = None if rate is None else Fraction(str(rate))  # exact, as the times are
    # Each frame of Motion JPEG and the like stands alone: those that are not due need not be decoded.
    alone = stream.codec_context.codec.intra_only
    number, due, start = 0, 0, Fraction(0)
    try:
        for packet in container.demux(stream):
            _require_whole(packet, number)
            if per_second is not None and alone and packet.size and number:
                early = (_time_of(packet, number, frame_rate) - start) * per_second < due
                if early:
                    number += 1
                    continue
            for frame in packet.decode():
                _require_whole(frame, number)
                time = _time_of(frame, number, frame_rate)
                start = start if number else time
                if per_second is None:
                    yield number, time - start, frame, shown_rate
                elif (time - start) * per_second >= due:
                    due = int((time - start) * per_second) + 1
                    yield number, time - start, frame, shown_rate
                number += 1
    except av.FFmpegError as error:
        raise UnreadablePicture("damaged", f"after {number} frames: {error.strerror}") from None
    if number == 0:
        raise UnreadablePicture("no_frames", "a video without a frame")


def require_whole_gif(path: Path) -> None:
    """Raise UnreadablePicture where a GIF ends before its last block: libav gives what there is, half a frame too."""
    data = path.read_bytes()
    if data.startswith(b"GIF8") and (number := _broken_after(data)) is not None:
        raise UnreadablePicture("damaged", f"after {number} frames: a GIF without its end, cut off perhaps")


def _broken_after(data: bytes) -> int | None:
    """How many frames of a GIF are whole where its blocks do not lead to its trailer; None where they do.

    https://www.w3.org/Graphics/GIF/spec-gif89a.txt
    """

    def after_colours(place: int, flags: int) -> int:
        return place + (3 * (2 << (flags & 7)) if flags & 0x80 else 0)

    number = 0
    try:
        place = after_colours(13, data[10])
        while (kind := data[place]) != 0x3B:
            if kind == 0x21:  # an extension
                place += 2
            elif kind == 0x2C:  # a frame: its place, its colours, the size of its codes
                place = after_colours(place + 10, data[place + 9]) + 1
            else:
                return number
            while size := data[place]:
                place += 1 + size
            place += 1
            number += kind == 0x2C
    except IndexError:
        return number
    return None


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
def opened(path: Path, gif: bool = False) -> Iterator["av.container.InputContainer"]:
    """A video file, or with `gif` a GIF, for libav. Raises OSError or UnreadablePicture: empty_file, not_a_video, damaged."""
    with path.open("rb") as file:
        start = file.read(12)
    if not start:
        raise UnreadablePicture("empty_file", "the file has 0 bytes")
    containers = f"{_CONTAINERS},gif" if gif else _CONTAINERS
    try:  # `file:`, as libav takes what stands before a colon for a protocol
        container = av.open(f"file:{path}", options={"format_whitelist": containers}, metadata_errors="replace")
    except av.FFmpegError as error:  # some are OSErrors, though the file was opened a moment ago
        if _STARTS.match(start) or (gif and start.startswith(b"GIF8")):
            raise UnreadablePicture("damaged", f"{error.strerror}: cut off, perhaps") from None
        raise UnreadablePicture("not_a_video", f"no video format: starts with {start!r}") from None
    with container:
        yield container
