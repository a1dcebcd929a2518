"""A clip's frames, at whatever times they come, as so many a second.

Frame n of a clip at `fps` shows what was on screen at n / fps seconds from the clip's start: the last source frame that began
by then, or up to three tenths of a frame later. So 25 a second become 30 by showing one in five twice, of 60 every other one
is left out, and a variable rate goes by its own times. The tenths are for times that are rounded, to ms in WebM, and for
29.97 a second: else such frames would be shown twice and left out by turns. Three, as with these no common rate comes to a tie.
The last source frame is on screen for as long as the others are on average.
"""

import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Protocol, TypeVar


class Timed(Protocol):
    @property
    def seconds(self) -> float | Fraction: ...  # from the clip's first frame


Source = TypeVar("Source", bound=Timed)
_LATE = 0.3  # of a frame at `fps`
_DIGITS = 6  # of a frame: what counts in floats and what counts in fractions come to the same


def due(seconds: float | Fraction, fps: float) -> int:
    """How many frames of the clip come before what begins `seconds` after its start: the number of the first that shows it."""
    return max(0, math.ceil(round(float(seconds) * fps - _LATE, _DIGITS)))


def on_screen(frames: Iterable[Source], fps: float) -> Iterator[tuple[Source, int]]:
    """Each source frame, and for how many of the clip's frames it is on screen: none, where the next comes too soon.

    A clip has one frame at least. Times that run backwards are passed over.
    """
    shown, count = 0, 0
    before: Source | None = None
    for frame in frames:
        if before is not None:
            times = max(0, due(frame.seconds, fps) - shown)
            yield before, times
            shown += times
        before = frame
        count += 1
    if before is not None:
        lasts = before.seconds / (count - 1) if count > 1 else 1 / fps
        yield before, max(0 if shown else 1, due(before.seconds + lasts, fps) - shown)
