"""What a network of clips says of a user's videos: an entry for each file, as stages/entries.py has them, for the journal.

A video is looked at in windows, some begun in each second, its frames by their own times, as in training (stages/conform.py).
Every window lies within the video; where that is shorter than one, its last frame is repeated and a note says so. No window
begins on the frame on which the one before began. Of a video no more is in memory than the windows that are open, their frames
as the network is shown them: an hour takes no more than a minute.

An entry differs from that of other videos in
    frames     the number of the frame that is on screen where each window begins
    windows    [start_s, end_s] of each, from the video's first frame
    scores     a list for each window; they need not sum to 1
A picture, which shows no action, is an entry with `failure`; a GIF of several frames is a video.

Letters: T frames of a window, P side of a square in px.
"""

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from stages import media
from stages.clip_views import Clip
from stages.conform import on_screen
from stages.entries import SCORE_DIGITS, Looker, reason
from stages.inference import Found, Item, read_ahead, run
from stages.media import File
from stages.pictures import RGB, UnreadablePicture, decode
from stages.video_files import decoded, opened, require_whole_gif, upright

PHOTO = "a photo: this model tells what happens in videos"
_TIME_DIGITS = 3  # of seconds


@dataclass(frozen=True)
class Window:
    frame: int  # the number of the video's frame that is on screen where it begins
    start_s: float  # from the video's first frame
    end_s: float
    width_px: int  # of the video, the right way up
    height_px: int
    frame_rate: float  # of the video as its file says, frames a second; 0 where it does not
    short: bool  # the video ended first
    still: bool  # one frame of the video was on screen all the time


@dataclass(frozen=True)
class _Seen:
    file: File
    window: Window | None = None
    problem: str | None = None  # why there is no window, or no further one


def entries(looker: Looker, root: Path, files: Iterable[File]) -> Iterator[dict[str, Any]]:
    """An entry for each file, in their order. A file that cannot be read is an entry with `failure`, never a stop."""
    network = looker.network
    assert network.clip is not None
    size = min(looker.batch_size, network.batch_size or looker.batch_size)
    read = partial(_items, root=root, clip=network.clip, rate=looker.frame_rate)
    items = chain.from_iterable(read_ahead(read, files, size))
    found = ((item.of, scores) for item, scores in run(network, items, size))  # the pixels are let go
    for _, group in groupby(found, lambda pair: pair[0].file.path):
        yield _entry(list(group), root, network.clip)


def _items(file: File, root: Path, clip: Clip, rate: float) -> Iterator[Item]:
    """The windows of a file, decoded as they are asked for; last an item without any where something is wrong with it."""
    try:
        if not file.is_video and not _moves(root / file.path):
            yield Item(_Seen(file, problem=PHOTO))
            return
        for window, shown in windows(root / file.path, clip, rate):
            yield Item(_Seen(file, window), shown)
    except (OSError, UnreadablePicture) as error:
        yield Item(_Seen(file, problem=reason(error)))


def _moves(path: Path) -> bool:
    """Whether a picture is a GIF of several frames. Raises OSError or UnreadablePicture where it is no picture at all."""
    if not is_gif(path):
        decode(path.read_bytes(), 1)
        return False
    with opened(path, gif=is_gif(path)) as container:
        return any(number > 0 for number, *_ in decoded(container))


def is_gif(path: str | Path) -> bool:
    return Path(path).suffix.lower() == ".gif"


def _entry(found: list[tuple[_Seen, Found | None]], root: Path, clip: Clip) -> dict[str, Any]:
    file, problem = found[-1][0].file, found[-1][0].problem
    about: dict[str, Any] = {"path": file.path, "bytes": file.bytes, "mtime_ns": file.mtime_ns}
    of = [seen.window for seen, _ in found if seen.window is not None]
    if not of:
        return about | {"failure": problem or "nothing in it could be read"}
    taken = media.video_captured_at(root / file.path)
    about |= {"width_px": of[0].width_px, "height_px": of[0].height_px, "captured_at": taken.isoformat() if taken else None}
    if problem:
        about["note"] = f"{problem}; looked at up to {of[-1].end_s:.1f} s"
    elif of[0].short:
        seconds = clip.span / clip.fps
        about["note"] = f"shorter than the {seconds:.2g} s that the model looks at: its last frame was shown repeatedly"
    elif all(window.still for window in of):
        about["note"] = "its frames follow each other so slowly that the model was shown stills"
    return about | {
        "frame_rate": of[0].frame_rate,
        "frames": [window.frame for window in of],
        "windows": [[window.start_s, window.end_s] for window in of],
        "scores": [[round(float(score), SCORE_DIGITS) for score in scores] for _, scores in found if scores is not None],
    }


# A video's windows -----------------------------------------------------------------------------------------------------


def windows(path: Path, clip: Clip, rate: float) -> Iterator[tuple[Window, NDArray[np.uint8]]]:
    """The windows of a video or GIF, `rate` begun in each second, and each as `clip` shows it: (crops, T, P, P, 3).

    Each comes as soon as it is whole. Raises OSError or UnreadablePicture as stages/video_files.py does: of a GIF that is
    cut off before any, as its last frame may be half a one.
    """
    fps, per_second = Fraction(str(clip.fps)), Fraction(str(rate))
    unfinished: deque[_Begun] = deque()  # all of one span: the first to begin is the first to be whole
    n, whole = 0, 0  # frames of the clip that have been on screen; windows that were whole
    last: _Screen | None = None  # what was on screen for the frame before n
    with opened(path, gif=is_gif(path)) as container:
        if is_gif(path):
            require_whole_gif(path)
        for screen, times in on_screen((_Screen(*one) for one in decoded(container)), clip.fps):
            start = int(math.ceil(n * per_second / fps) * fps / per_second)  # of the next window
            if start < n + times:
                unfinished.append(_Begun(start, screen.number, screen.size, screen.frame_rate))
            n, last = n + times, screen if times else last
            for window in unfinished:
                window.take(screen, clip, n)
            while unfinished and unfinished[0].start + clip.span <= n:
                yield unfinished.popleft().done(clip, clip.span)
                whole += 1
    if not whole:
        assert last is not None  # a clip has one frame at least
        window = unfinished[0]
        window.shown += [last.shown(clip)] * (clip.frames - len(window.shown))
        yield window.done(clip, n - window.start)


@dataclass
class _Screen:
    """A frame of a video, as `decoded` gives it."""

    number: int
    seconds: Fraction  # from the first frame
    frame: av.VideoFrame
    frame_rate: float | None
    _shown: NDArray[np.uint8] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in px, the right way up."""
        sides = self.frame.width, self.frame.height
        return sides[::-1] if round(self.frame.rotation / 90) % 2 else sides

    def shown(self, clip: Clip) -> NDArray[np.uint8]:
        """(crops, 1, P, P, 3), worked out once, and not for frames that are in no window."""
        if self._shown is None:
            self._shown = clip.show(upright(self.frame)[None])
        return self._shown


@dataclass
class _Begun:
    start: int  # frames of the clip from its beginning
    number: int  # of the video's frame that is on screen there
    size: tuple[int, int]
    frame_rate: float | None
    shown: list[NDArray[np.uint8]] = field(default_factory=list)  # (crops, 1, P, P, 3) of each of the T frames so far
    sources: set[int] = field(default_factory=set)  # the numbers of the video's frames that those are

    def take(self, screen: _Screen, clip: Clip, end: int) -> None:
        """Those of its frames that lie before frame `end` of the clip and are not yet there: they show this screen."""
        numbers = clip.numbers(self.start, self.start + clip.span)
        while len(self.shown) < clip.frames and numbers[len(self.shown)] < end:
            self.shown.append(screen.shown(clip))
            self.sources.add(screen.number)

    def done(self, clip: Clip, span: int) -> tuple[Window, NDArray[np.uint8]]:
        """`span`: frames of the clip from its start to its end."""
        start_s, end_s = (round(n / clip.fps, _TIME_DIGITS) for n in (self.start, self.start + span))
        still = len(self.sources) == 1 and not clip.still
        window = Window(self.number, start_s, end_s, *self.size, self.frame_rate or 0.0, span < clip.span, still)
        return window, np.concatenate(self.shown, axis=1)


def pictures(path: Path, numbers: Iterable[int]) -> Iterator[RGB]:
    """The frames of a video or GIF with these numbers, which rise, as RGB (h, w, 3). Raises as `windows` does."""
    wanted = deque(numbers)
    with opened(path, gif=is_gif(path)) as container:
        for number, _, frame, _ in decoded(container):
            if not wanted:
                return
            if number == wanted[0]:
                wanted.popleft()
                yield upright(frame)
    if wanted:
        raise UnreadablePicture("no_frames", f"frame {wanted[0]} is not there any more")
