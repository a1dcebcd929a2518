"""How a picture is shown to a network, and the way back for boxes. Pictures are uint8 (h, w, 3) RGB."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike

from stages import geometry
from stages.geometry import Boxes
from stages.pictures import RGB, resize

GREY = 114  # of the padding, as Ultralytics has it


@dataclass(frozen=True)
class View:
    """A picture resized to `width` x `height` px and then padded on each side, px."""

    width: int
    height: int
    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0

    @property
    def at_least_px(self) -> int:
        """The side below which a picture must not be decoded."""
        return min(self.width, self.height)

    def show(self, rgb: RGB) -> RGB:
        """The picture as the network is shown it."""
        rgb = resize(rgb, self.width, self.height)
        if not any((self.left, self.top, self.right, self.bottom)):
            return rgb
        return cv2.copyMakeBorder(rgb, self.top, self.bottom, self.left, self.right, cv2.BORDER_CONSTANT, value=(GREY,) * 3)

    def to_full_size(self, width_px: int, height_px: int) -> tuple[tuple[float, float], tuple[float, float]]:
        """(margin, scale) along x and along y: (what the network saw - margin) * scale is in px of the picture."""
        return (self.left, width_px / self.width), (self.top, height_px / self.height)

    def back(self, boxes_xyxy: ArrayLike, width_px: int, height_px: int) -> Boxes:
        """Boxes (N, 4) in px of what the network was shown -> px of the picture, of the size given, and cut to it."""
        inside = np.asarray(boxes_xyxy, dtype=np.float64) - [self.left, self.top, self.left, self.top]
        scaled = geometry.rescale(inside, width_px / self.width, height_px / self.height)
        return geometry.clip(scaled, width_px, height_px)


def squeezed(side_px: int) -> View:
    """Both sides to `side_px`, whatever the picture's shape."""
    return View(side_px, side_px)


def fitted(width_px: int, height_px: int, side_px: int) -> tuple[int, int]:
    """(width, height) with the longer side at `side_px`, as Ultralytics rounds it."""
    ratio = side_px / max(width_px, height_px)
    return min(math.ceil(width_px * ratio), side_px), min(math.ceil(height_px * ratio), side_px)


def letterboxed(width_px: int, height_px: int, side_px: int, stride_px: int) -> View:
    """The longer side to `side_px`, and padding up to whole strides, shared by both sides."""
    width, height = fitted(width_px, height_px, side_px)
    across, down = -width % stride_px, -height % stride_px
    return View(width, height, across // 2, down // 2, across - across // 2, down - down // 2)
