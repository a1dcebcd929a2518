"""How a clip is shown to a network: which of its frames, and which squares of them. Pure functions.

Letters: T frames shown, V views (temporal views x crops), P side of a square in px.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.pictures import resize


@dataclass(frozen=True)
class Clip:
    """How a network is shown a clip."""

    frames: int  # T
    rate: int  # every so-manieth frame is shown
    fps: float  # of the frames that `rate` counts, frames a second
    crop_px: int  # P
    views: int = 1  # windows in time, where a whole clip is scored
    crops: int = 1  # squares of each frame: 1, in the middle, or 3, along the longer side

    @property
    def span(self) -> int:
        """How many frames one window reaches over."""
        return (self.frames - 1) * self.rate + 1

    def starts(self, n_frames: int) -> list[int]:
        """The first frame of each window, spread evenly over a clip of `n_frames`; one window is in its middle."""
        free = max(0, n_frames - self.span)
        if self.views == 1:
            return [free // 2]
        return [round(free * number / (self.views - 1)) for number in range(self.views)]

    def numbers(self, start: int, n_frames: int) -> list[int]:
        """The frames of a window, T of them; past the end the last one is repeated."""
        return [min(start + self.rate * place, n_frames - 1) for place in range(self.frames)]

    def show(self, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """uint8 (T, h, w, 3) -> (crops, T, P, P, 3): the shorter side at P, squares along the longer one."""
        height, width = frames.shape[1:3]
        scale = self.crop_px / min(height, width)
        size = max(self.crop_px, round(width * scale)), max(self.crop_px, round(height * scale))
        scaled = np.stack([resize(frame, *size) for frame in frames])
        free = max(size) - self.crop_px
        places = [free // 2] if self.crops == 1 else [0, free // 2, free]
        along = 2 if size[0] >= size[1] else 1
        return np.stack([np.take(scaled, range(place, place + self.crop_px), axis=along) for place in places])
