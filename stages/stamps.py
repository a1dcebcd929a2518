"""Joints -> heatmap and heatmap -> peaks, and which two people a heatmap is of. Pure functions.

Places are in px along x and y from the picture's upper left corner, so that the centre of the first pixel is at (0.5, 0.5): as
boxes have it, and what makes scaling a picture one multiplication. Letters: N people, J joints, H and W a heatmap's sides.
"""

import math

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from stages.geometry import Boxes

Heatmap = NDArray[np.uint8]  # (H, W, 1); 255 is a joint of confidence 1
# Farther away than this many sigmas a Gaussian of height 255 is below 0.5 and rounds to 0: a stamp of this radius is the whole.
_REACH = math.sqrt(2 * math.log(2 * 255))


def heatmap(joints: ArrayLike, height_px: int, width_px: int, sigma_px: float) -> Heatmap:
    """Joints (J, 3), x, y and confidence of each -> (H, W, 1): the largest of their Gaussians, each as high as its confidence.

    A joint of confidence 0 leaves nothing, one outside only what of it lies inside. Each Gaussian is computed only where it is
    not 0: the same, to a rounding, as over the whole picture, and much quicker (`benchmarks/heatmaps.py`). Raises ValueError
    for a joint that is no finite place with a confidence from 0 to 1.
    """
    xyc = np.asarray(joints, dtype=np.float64).reshape(-1, 3)
    if not (np.isfinite(xyc).all() and (xyc[:, 2] >= 0).all() and (xyc[:, 2] <= 1).all()):
        raise ValueError(f"joints are wanted as finite x, y and a confidence from 0 to 1, got {xyc.tolist()}")
    reach = _REACH * sigma_px
    side = 2 * math.ceil(reach) + 1  # of a stamp; also the margin round the picture, so that no stamp has to be cut
    padded = np.zeros((height_px + 2 * side, width_px + 2 * side), dtype=np.uint8)
    near = (xyc[:, :2] > -reach).all(axis=1) & (xyc[:, :2] < [width_px + reach, height_px + reach]).all(axis=1)
    xyc = xyc[near & (xyc[:, 2] > 0)]
    starts = np.floor(xyc[:, :2] - reach)  # (J, 2), the stamps' upper left pixels
    distances_px = starts[..., None] + np.arange(side) + 0.5 - xyc[:, :2, None]  # (J, 2, side) of pixels' centres
    across, down = np.exp(-np.square(distances_px) / (2 * sigma_px**2)).astype(np.float32).swapaxes(0, 1)
    stamps = (down * (255 * xyc[:, 2:]).astype(np.float32))[:, :, None] * across[:, None, :]
    stamps += 0.5
    for stamp, (left, top) in zip(stamps.astype(np.uint8), starts.astype(int) + side, strict=True):
        place = padded[top : top + side, left : left + side]
        np.maximum(place, stamp, out=place)
    return np.ascontiguousarray(padded[side:-side, side:-side, None])


def peaks(heatmap: Heatmap, sigma_px: float) -> NDArray[np.float64]:
    """(H, W, 1) -> (number of peaks, 3): x, y and confidence of each joint that stands apart, in no promised order.

    A peak is the highest of all within two sigmas. Its place between pixels is that of the Gaussian that fits best: with sigma
    known its logarithm is a plane plus a known bowl, so least squares have one answer, at the picture's edge too. Of joints
    nearer to each other than four sigmas some may be found as one, or a little aside.
    """
    values = heatmap[..., 0]
    radius = math.ceil(2 * sigma_px)
    highest = cv2.dilate(values, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)))
    count, of_peak = cv2.connectedComponents(((values == highest) & (values > 0)).astype(np.uint8))
    middles = [np.argwhere(of_peak == number).mean(axis=0).tolist() for number in range(1, count)]
    found = [_fitted(values, row, column, sigma_px) for row, column in middles]
    return np.array(found, dtype=np.float64).reshape(-1, 3)


def _fitted(values: NDArray[np.uint8], row: float, column: float, sigma_px: float) -> tuple[float, float, float]:
    """x, y and confidence of the Gaussian round a pixel."""
    reach = max(1, math.ceil(sigma_px))
    top, left = max(0, round(row) - reach), max(0, round(column) - reach)
    patch = values[top : round(row) + reach + 1, left : round(column) + reach + 1].astype(np.float64)
    rows, columns = np.nonzero(patch)
    height = patch[rows, columns]
    x, y = columns + left - column, rows + top - row  # from the pixel: small numbers fit best
    bowl = (x**2 + y**2) / (2 * sigma_px**2)
    # Rounding to whole numbers moves the logarithm by up to 0.5 / height: a height is worth as much as it is high.
    plane = np.stack([np.ones_like(x), x, y], axis=1) * height[:, None]
    (level, slope_x, slope_y), *_ = np.linalg.lstsq(plane, (np.log(height) + bowl) * height, rcond=None)
    dx, dy = slope_x * sigma_px**2, slope_y * sigma_px**2
    confidence = math.exp(level + (dx**2 + dy**2) / (2 * sigma_px**2)) / 255
    return column + 0.5 + dx, row + 0.5 + dy, min(1.0, confidence)


def two_people(boxes_xyxy_px: Boxes, width_px: int, height_px: int) -> list[int]:
    """Which of N boxes (N, 4) a heatmap is of: the one nearest the picture's centre, and the one farthest from that one.

    By the centres of boxes; of equals the larger, and then the first. One box: that one; none: none.
    """
    boxes = np.asarray(boxes_xyxy_px, dtype=np.float64).reshape(-1, 4)
    if not len(boxes):
        return []
    centres, sizes = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    larger_first = -sizes.prod(axis=1)

    def first(order_by: NDArray[np.float64], of: list[int]) -> int:
        return min(of, key=lambda i: (order_by[i], larger_first[i], i))

    everybody = list(range(len(boxes)))
    nearest = first(np.square(centres - [width_px / 2, height_px / 2]).sum(axis=1), everybody)
    others = [i for i in everybody if i != nearest]
    return [nearest, first(-np.square(centres - centres[nearest]).sum(axis=1), others)] if others else [nearest]
