"""How a clip is shown to a network of videos: which of its frames, and which squares of them.

Letters: T frames of a view, P side of its squares in px, h and w the sides of a stored frame.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8]  # (T, h, w, 3) RGB


@dataclass(frozen=True)
class Clip:
    frames: int  # of a view, T
    rate: int  # every so-many-th frame
    fps: float  # frames a second that are counted in
    crop_px: int  # side of the squares, P
    views: int  # spread over the time of a whole clip
    crops: int  # squares of a frame: 1, the centre, or 3, also both ends of the longer side
    still: bool = False  # the view's middle frame alone, T times

    @property
    def span(self) -> int:
        """Frames at `fps` from a view's first to its last."""
        return (self.frames - 1) * self.rate + 1

    def starts(self, n_frames: int) -> list[int]:
        """First frame of each view of a clip of `n_frames`, evenly from its beginning to its end; one view is in the middle."""
        last = max(0, n_frames - self.span)
        if self.views == 1:
            return [last // 2]
        return [round(last * number / (self.views - 1)) for number in range(self.views)]

    def numbers(self, start: int, n_frames: int) -> list[int]:
        """The T frames of a view. Past the end of the clip the last frame repeats."""
        shown = [min(start + self.rate * number, n_frames - 1) for number in range(self.frames)]
        return [shown[self.frames // 2]] * self.frames if self.still else shown

    def show(self, frames: Frames) -> Frames:
        """uint8 (T, h, w, 3) -> (crops, T, P, P, 3): the shorter side becomes P, the squares lie along the longer one."""
        height, width = frames.shape[1:3]
        side = min(height, width)
        if self.crops == 1:
            offsets = [(max(height, width) - side) // 2]
        else:
            offsets = [0, (max(height, width) - side) // 2, max(height, width) - side]
        corners = [(offset, 0) if width >= height else (0, offset) for offset in offsets]
        return np.stack([squares(frames, left, top, side, self.crop_px) for left, top in corners])


def squares(frames: Frames, left: int, top: int, side: int, to_px: int) -> Frames:
    """The same square of every frame, `side` px, resized: (T, h, w, 3) -> (T, to_px, to_px, 3).

    What is cut first is resized alone: of a wide frame a third of the work of the other order.
    """
    cut = frames[:, top : top + side, left : left + side]
    if side == to_px:
        return np.ascontiguousarray(cut)
    out = np.empty((len(frames), to_px, to_px, 3), dtype=np.uint8)
    how = cv2.INTER_AREA if side > to_px else cv2.INTER_LINEAR
    for number, frame in enumerate(cut):
        cv2.resize(frame, (to_px, to_px), dst=out[number], interpolation=how)
    return out
