"""Pictures of some animals alone, to train on: three ways to take away what is round them. Pure functions.

Each takes a picture, uint8 RGB (h, w, 3), all its boxes (N, 4) as xyxy in px, and which of them are `wanted`, bool (N,), at
least one. Each returns the new picture and the boxes (N, 4) as they lie in it, in the same order; a box whose animal is not
to be seen any more comes back without area. What lies in a wanted box is kept whole, what else reaches into it too.
"""

import numpy as np
from numpy.typing import NDArray

from stages import geometry
from stages.geometry import Boxes
from stages.pictures import RGB, resize

# Without hue, so that a night picture stays one; of the brightness that ImageNet's pictures have on average, so that it is
# near 0 to a network that standardises by them, neither day nor night; and YOLO pads pictures with it.
GREY = 114

Wanted = NDArray[np.bool_]


def mask(rgb: RGB, boxes_xyxy_px: Boxes, wanted: Wanted) -> tuple[RGB, Boxes]:
    """The picture with GREY outside the wanted boxes. Boxes that lie wholly in a wanted one stay too."""
    return paste(rgb, boxes_xyxy_px, wanted, np.full_like(rgb, GREY))


def crop(rgb: RGB, boxes_xyxy_px: Boxes, wanted: Wanted, margin: float) -> tuple[RGB, Boxes]:
    """The picture cut to the hull of the wanted boxes and `margin` of its width and height on each side.

    Of the other boxes, what lies in the cut stays.
    """
    height, width = rgb.shape[:2]
    low, high = boxes_xyxy_px[wanted, :2].min(axis=0), boxes_xyxy_px[wanted, 2:].max(axis=0)
    round_it = margin * (high - low)
    grown = geometry.clip(np.concatenate([low - round_it, high + round_it]), width, height)
    left, top, right, bottom = pixels(grown)
    moved = geometry.clip(boxes_xyxy_px - [left, top, left, top], right - left, bottom - top)
    return rgb[top:bottom, left:right], moved


def paste(rgb: RGB, boxes_xyxy_px: Boxes, wanted: Wanted, background: RGB) -> tuple[RGB, Boxes]:
    """The wanted boxes at the same relative place of `background` (H, W, 3), the picture being resized to its size.

    Boxes that lie wholly in a wanted one come along.
    """
    height, width = background.shape[:2]
    scaled = geometry.rescale(boxes_xyxy_px, width / rgb.shape[1], height / rgb.shape[0])
    scaled = geometry.clip(scaled, width, height)  # of rounding
    pasted = background.copy()
    resized = resize(rgb, width, height)
    for left, top, right, bottom in map(pixels, scaled[wanted]):
        pasted[top:bottom, left:right] = resized[top:bottom, left:right]
    return pasted, np.where(_inside(scaled, scaled[wanted])[:, None], scaled, 0.0)


def pixels(box_xyxy_px: Boxes) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of all pixels that a box touches, right and bottom exclusive."""
    left, top = np.floor(box_xyxy_px[:2]).astype(int).tolist()
    right, bottom = np.ceil(box_xyxy_px[2:]).astype(int).tolist()
    return left, top, right, bottom


def _inside(boxes: Boxes, others: Boxes) -> Wanted:
    """Which boxes (N, 4) lie wholly in at least one of `others` (M, 4); one lies in itself. Shape (N,)."""
    overhang = (others[None] - boxes[:, None]) * [1, 1, -1, -1]
    return np.any(np.all(overhang <= 0, axis=2), axis=1)
