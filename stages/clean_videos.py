"""What `clean` does where samples are clips: a look at each to its end, and the table of videos.

A clip that is damaged part-way is refused whole, with how many frames came before: what its label names may lie in what is
lost, and a file cut off in a download comes whole when it is fetched again.
"""

import contextlib
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any

import av
import pandas as pd

from stages.datasets import clips
from stages.files import sha256_bytes, sha256_file
from stages.pictures import MAX_PIXELS, RGB, Inspected, UnreadablePicture, colourless_and_hash, decode
from stages.samples import VIDEOS
from stages.video_files import FOLDER_RATE, decoded, frame_files, natural, opened, require_whole_gif, upright

_RATE = 30  # frames a second, at which clips are shown: other rates are counted
_UNEVEN = 0.25  # of the average distance: frames farther from it than this are at a variable rate. GIFs round to 0.01 s


@dataclass(frozen=True)
class InspectedVideo(Inspected):
    """What one look at a clip tells: sizes and hash are of its middle frame, bytes and sha256 of the file or the folder."""

    frames: int
    seconds: float  # from the first frame to the end of the last, which is shown as long as the average one
    frame_rate: float  # on average, frames a second
    variable_rate: bool
    rotation_deg: int  # anticlockwise, by which its frames are turned to be upright


def inspect_video(path: Path, max_pixels: int = MAX_PIXELS) -> InspectedVideo:
    """Decode a video, a GIF or a folder of frames to its end, once; only its middle frame becomes RGB.

    Raises OSError, or UnreadablePicture: empty_file, not_a_video, no_video_stream, no_frames, one_frame, too_large or damaged.
    """
    if path.is_dir():
        found = _folder(path, max_pixels)
        paths = frame_files(path)
        size, sha256 = sum(p.stat().st_size for p in paths), folder_sha256((p.name, sha256_file(p)) for p in paths)
    else:
        found = _file(path, max_pixels)
        size, sha256 = path.stat().st_size, sha256_file(path)
    times, rotation_deg, rgb = found
    if len(times) == 1:
        raise UnreadablePicture("one_frame", "one frame alone shows no movement")
    seconds, frame_rate, variable_rate = timing(times)
    infrared, phash = colourless_and_hash(rgb)
    height, width = rgb.shape[:2]
    of_all = (len(times), seconds, frame_rate, variable_rate, rotation_deg)
    return InspectedVideo(width, height, infrared, size, sha256, phash, *of_all)


def _folder(path: Path, max_pixels: int) -> tuple[list[Fraction], int, RGB]:
    middle: RGB | None = None
    paths = frame_files(path)
    sizes = set()
    for number, file in enumerate(paths):
        try:
            rgb = decode(file.read_bytes(), max_pixels=max_pixels)[0]
        except UnreadablePicture as error:
            raise UnreadablePicture("damaged", f"after {number} frames: {file.name}: {error.reason}: {error}") from None
        sizes.add(rgb.shape)
        _require_one_size(sizes, number)
        middle = rgb if number == len(paths) // 2 else middle
    if middle is None:
        raise UnreadablePicture("no_frames", "a folder without a picture")
    return [Fraction(number, FOLDER_RATE) for number in range(len(paths))], 0, middle


def _file(path: Path, max_pixels: int) -> tuple[list[Fraction], int, RGB]:
    wanted = _packets(path) // 2
    require_whole_gif(path)
    times: list[Fraction] = []
    sizes: set[tuple[int, ...]] = set()
    middle = rotation_deg = None
    with opened(path, gif=True) as container:
        for stream in container.streams.video:  # before anything is allocated
            if stream.codec_context is not None and stream.width * stream.height > max_pixels:
                raise UnreadablePicture("too_large", f"{stream.width} x {stream.height} px, more than {max_pixels} in all")
        for number, seconds, frame, _ in decoded(container):
            sizes.add((frame.width, frame.height))
            _require_one_size(sizes, number)
            if number <= wanted:
                middle = frame
            if rotation_deg is None:
                rotation_deg = round(frame.rotation / 90) * 90 % 360
            times.append(seconds)
    assert middle is not None  # decoded says `no_frames`
    assert rotation_deg is not None
    return times, rotation_deg, upright(middle)


def _packets(path: Path) -> int:
    """About how many frames a video has, without decoding: what its file says of that may be wrong, or missing."""
    count = 0
    with opened(path, gif=True) as container, contextlib.suppress(av.FFmpegError):  # decoding meets what is wrong again
        if (stream := container.streams.best("video")) is not None:
            for packet in container.demux(stream):
                count += packet.size > 0
    return count


def _require_one_size(sizes: set[tuple[int, ...]], number: int) -> None:
    if len(sizes) > 1:
        raise UnreadablePicture("damaged", f"after {number} frames: the next is of another size")


def timing(times: list[Fraction]) -> tuple[float, float, bool]:
    """(seconds that all frames last, frames a second on average, whether that varies), from the times of frames in seconds."""
    span = times[-1] - times[0]
    if span <= 0:
        raise UnreadablePicture("damaged", f"after {len(times)} frames: all are at one time")
    rate = (len(times) - 1) / span
    varies = any(abs((after - before) * rate - 1) > _UNEVEN for before, after in pairwise(times))
    return float(span + 1 / rate), float(rate), varies


def folder_sha256(contents: Iterable[tuple[str, str]]) -> str:
    """The sha256 of a folder of frames, from (name, sha256) of each."""
    lines = (f"{name}\0{sha256}\n" for name, sha256 in sorted(contents, key=lambda item: natural(item[0])))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def clip_files(files: Mapping[str, tuple[int, str | None]]) -> dict[str, tuple[int, str | None]]:
    """{path of a clip: (bytes, sha256 where it is known)}, of a source's files: as `inspect_video` finds them."""
    found: dict[str, tuple[int, str | None]] = {}
    for path, own in clips(files).items():
        if own == [path]:
            found[path] = files[path]
            continue
        hashes = [(PurePosixPath(name).name, files[name][1]) for name in own]
        known = [(name, sha256) for name, sha256 in hashes if sha256 is not None]
        found[path] = sum(files[name][0] for name in own), folder_sha256(known) if len(known) == len(hashes) else None
    return found


def look_at(job: tuple[str, str | None], root: Path, max_pixels: int) -> InspectedVideo | tuple[str, str]:
    """What there is to know of a clip, (path, sha256 as it was downloaded); or (reason why it is refused, detail)."""
    path, sha256 = job
    try:
        found: InspectedVideo | tuple[str, str] = inspect_video(root / path, max_pixels)
    except OSError as error:
        return "unreadable_file", str(error)
    except UnreadablePicture as error:
        found = error.reason, str(error)
    if sha256 is not None and (now := _sha256_now(root / path, found)) != sha256:
        return "altered", f"sha256 {now}, {sha256} when it was downloaded"
    return found


def _sha256_now(path: Path, found: InspectedVideo | tuple[str, str]) -> str:
    if isinstance(found, InspectedVideo):
        return found.sha256
    if path.is_dir():
        return folder_sha256((file.name, sha256_bytes(file.read_bytes())) for file in frame_files(path))
    return sha256_file(path)


def videos_of(pictures: pd.DataFrame) -> pd.DataFrame:
    """The table of videos, from what was found of those that are kept."""
    return pictures[list(VIDEOS.columns)].sort_values("sample_id", ignore_index=True)


def count_videos(videos: pd.DataFrame) -> dict[str, Any]:
    """How many there are, and how many are at a variable rate, at another than 30 frames a second, turned, or short."""
    other = (videos["frame_rate"] - _RATE).abs() > 0.01 * _RATE
    return {
        "videos": {
            "kept": len(videos),
            "frames": int(videos["frames"].sum()),
            "seconds": round(float(videos["seconds"].sum()), 3),
            "variable_rate": int(videos["variable_rate"].sum()),
            "other_rate_than_30": int(other.sum()),
            "rotated": int((videos["rotation_deg"] != 0).sum()),
        }
    }
