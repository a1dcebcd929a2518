"""Boxes as arrays: pure functions. A box is (x_min, y_min, x_max, y_max) in pixels; the last axis of every array is 4."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Boxes = NDArray[np.float64]


def xyxy_from_xywh(boxes_xywh: ArrayLike) -> Boxes:
    """(x, y, width, height) -> (x_min, y_min, x_max, y_max). Shape (..., 4) in and out."""
    x, y, width, height = np.moveaxis(np.asarray(boxes_xywh, dtype=np.float64), -1, 0)
    return np.stack([x, y, x + width, y + height], axis=-1)


def xywh_from_xyxy(boxes_xyxy: ArrayLike) -> Boxes:
    """(x_min, y_min, x_max, y_max) -> (x, y, width, height). Shape (..., 4) in and out."""
    x_min, y_min, x_max, y_max = np.moveaxis(np.asarray(boxes_xyxy, dtype=np.float64), -1, 0)
    return np.stack([x_min, y_min, x_max - x_min, y_max - y_min], axis=-1)


def rescale(boxes_xyxy: ArrayLike, scale_x: ArrayLike, scale_y: ArrayLike) -> Boxes:
    """Boxes of one picture size carried to another; each scale is new size / old size. Shape (..., 4) in and out."""
    return np.asarray(boxes_xyxy, dtype=np.float64) * np.stack([scale_x, scale_y, scale_x, scale_y], axis=-1)


def clip(boxes_xyxy: ArrayLike, width_px: ArrayLike, height_px: ArrayLike) -> Boxes:
    """Boxes cut to the picture. One that lies outside comes back without area. Shape (..., 4) in and out."""
    limit = np.stack([width_px, height_px, width_px, height_px], axis=-1)
    return np.clip(np.asarray(boxes_xyxy, dtype=np.float64), 0, limit)


def area(boxes_xyxy: ArrayLike) -> NDArray[np.float64]:
    """Areas in px²; 0 where a box has no or negative extent. Shape (..., 4) -> (...)."""
    x_min, y_min, x_max, y_max = np.moveaxis(np.asarray(boxes_xyxy, dtype=np.float64), -1, 0)
    return np.maximum(x_max - x_min, 0) * np.maximum(y_max - y_min, 0)


def warp(boxes_xyxy: ArrayLike, matrix: ArrayLike) -> Boxes:
    """The boxes that enclose what an affine map makes of each. Shape (..., 4) in and out.

    `matrix` (2, 3) takes points (x, y, 1) that have pixel centres at whole numbers, as OpenCV does; a box has edges there.
    """
    linear, shift = np.split(np.asarray(matrix, dtype=np.float64), [2], axis=1)
    corners = np.asarray(boxes_xyxy, dtype=np.float64)[..., [[0, 1], [2, 1], [2, 3], [0, 3]]] - 0.5
    moved = corners @ linear.T + shift[:, 0] + 0.5
    return np.concatenate([moved.min(axis=-2), moved.max(axis=-2)], axis=-1)
