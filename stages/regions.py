"""Which of a detector's boxes a classifier looks at, and the square about each that it is shown."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from stages.geometry import Boxes
from stages.megadetector import ANIMAL, read_boxes

SAME_PLACE = 0.7  # intersection over union


@dataclass(frozen=True)
class Regions:
    margin: float  # added on each side of a box, as a share of its longer side
    score_floor: float  # boxes of which the detector is less sure are not looked at
    listed: Path | None = None  # the MegaDetector JSON that holds the boxes; None: a detector of ours finds them

    def kept(self, boxes_xyxy: ArrayLike, scores: ArrayLike) -> NDArray[np.int64]:
        """Which boxes (N, 4) of a picture, with scores (N,), are looked at: the numbers of their rows, in order.

        Of those that overlap by more than SAME_PLACE the surest: a detector may name one place by several classes.
        """
        import torch
        from torchvision.ops import nms

        xyxy, sure = np.asarray(boxes_xyxy, dtype=float).reshape(-1, 4), np.asarray(scores, dtype=float)
        enough = np.flatnonzero(sure >= self.score_floor)
        alone = nms(torch.from_numpy(xyxy[enough]), torch.from_numpy(sure[enough]), SAME_PLACE).numpy()
        return np.sort(enough[alone])

    def squares(self, boxes_xyxy: ArrayLike, width_px: ArrayLike, height_px: ArrayLike) -> Boxes:
        return squares(boxes_xyxy, self.margin, width_px, height_px)


def squares(boxes_xyxy: ArrayLike, margin: float, width_px: ArrayLike, height_px: ArrayLike) -> Boxes:
    """A square about each box, `margin` times its longer side wider on each side. (N, 4), (N,), (N,) -> (N, 4), in px.

    At the picture's edge the square is moved inwards; where the picture is too small for it, it is cut to the picture.
    """
    boxes = np.asarray(boxes_xyxy, dtype=np.float64).reshape(-1, 4)
    low, high = boxes[:, :2], boxes[:, 2:]
    limit = np.stack([width_px, height_px], axis=-1)
    side = np.minimum((high - low).max(axis=1, keepdims=True) * (1 + 2 * margin), limit)
    start = np.clip((low + high - side) / 2, 0, limit - side)
    return np.hstack([start, start + side])


def listed_animals(path: Path, pictures: pd.DataFrame) -> pd.DataFrame:
    """The animals of a MegaDetector JSON, as `read_boxes` gives them; how many people and vehicles are left out is said."""
    found = read_boxes(path, pictures)
    others = found.loc[found["label"] != ANIMAL, "label"].value_counts().sort_index()
    left_out = ", ".join(f"{count} {label}" for label, count in others.items()) or "none"
    animals = found[found["label"] == ANIMAL]
    print(f"{path}: {len(animals)} boxes of animals for {len(pictures)} pictures; other boxes, left out: {left_out}")
    return animals
