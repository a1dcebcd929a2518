"""Keypoints as something more to learn from: what goes into the head also has to tell where each of them is in the picture.

A second head, one linear layer, learns to say so beside the first. It belongs to the training, not to the model.
Letters: B pictures of a batch, C what goes into the head, K keypoints by name, N pictures of train.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor, nn

from stages.files import DataError
from stages.loading import Points
from stages.networks.image import finetuning
from stages.networks.image.module import Learner
from stages.people import VISIBLE

_SIDE = re.compile(r"(?i:left|right)|(?<![A-Za-z])[LRlr](?![a-z])|(?<=[a-z])[LR](?![a-z])")  # left_eye, L_Eye, REye, eyeR
_OTHER = {"left": "right", "right": "left", "l": "r", "r": "l"}


def of_pictures(pictures: pd.DataFrame, keypoints: pd.DataFrame, mirrors: bool) -> Points:
    """Where the keypoints of each of `pictures` that can be seen are, as shares of its sides; of several animals in one, of
    that whose keypoints span the largest area.

    Raises DataError where there are none, or where pictures are to be mirrored and keypoints have numbers for names.
    """
    own = keypoints[keypoints["sample_id"].isin(pictures["sample_id"])]
    names = sorted(own["keypoint"].unique())
    seen = _of_largest(own[own["visible"] == VISIBLE])
    if seen.empty:
        raise DataError(
            f"keypoint_weight: none of the {len(pictures)} pictures of train has a keypoint that can be seen. Set "
            "keypoint_weight to null in this model's settings, and it learns without; or give the source keypoints"
        )
    if mirrors and any(name.isdigit() for name in names):
        raise DataError(
            "keypoint_weight: the source's keypoints have no names, so which of them a mirrored picture exchanges is not "
            "known. Name them, as {name: [x, y, visibility]} or in COCO's categories; or set flip to false, or "
            "keypoint_weight to null, in this model's settings"
        )
    row = pd.Series(range(len(pictures)), index=pictures["sample_id"])[seen["sample_id"]].to_numpy()
    sides_px = pictures[["width_px", "height_px"]].to_numpy(dtype=float)
    places = np.zeros((len(pictures), len(names), 3))
    shares = seen[["x_px", "y_px"]].to_numpy(dtype=float) / sides_px[row]
    places[row, np.searchsorted(names, seen["keypoint"])] = np.column_stack([shares, np.ones(len(seen))])
    return Points(places, mirrored(names))


def _of_largest(seen: pd.DataFrame) -> pd.DataFrame:
    by_animal = seen.groupby(["sample_id", "animal"])[["x_px", "y_px"]]
    area = (by_animal.max() - by_animal.min()).prod(axis=1).rename("area").reset_index()
    largest = area.sort_values("area", ascending=False, kind="stable").drop_duplicates("sample_id")
    return seen.merge(largest[["sample_id", "animal"]], on=["sample_id", "animal"])


def mirrored(names: Sequence[str]) -> NDArray[np.int64]:
    """(K,) for each name the number of that which a mirror makes of it: left of right, by these words or L and R."""
    number = {name: place for place, name in enumerate(names)}
    return np.array([number.get(_SIDE.sub(_exchanged, name), place) for place, name in enumerate(names)])


def _exchanged(match: re.Match[str]) -> str:
    side = match[0]
    other = _OTHER[side.lower()]
    return other.upper() if side.isupper() else other.capitalize() if side[0].isupper() else other


def distance(told: Tensor, places: Tensor) -> Tensor:
    """Mean smooth L1 of x and y over the points that are known, both from -1 to 1 across the picture; 0 where none is.

    told (B, 2K), places (B, K, 3) as `Points` has them; a scalar.
    """
    known = places[..., 2:]
    each = nn.functional.smooth_l1_loss(told.float().view(*places.shape[:2], 2), 2 * places[..., :2] - 1, reduction="none")
    return (each * known).sum() / (2 * known.sum()).clamp(min=1)


@contextmanager
def overheard(head: nn.Module) -> Iterator[list[Tensor]]:
    """What goes into `head` while this lasts."""
    features: list[Tensor] = []
    hook = head.register_forward_pre_hook(lambda _module, inputs: features.append(inputs[0]))
    try:
        yield features
    finally:
        hook.remove()


class Pointing(Learner):
    """A Learner with a second head, whose loss counts `keypoint_weight`. Its batches have places of `keypoints` points."""

    def __init__(self, *given: Any, keypoints: int, **named: Any) -> None:
        super().__init__(*given, **named)
        head: Any = finetuning.head(self.network)
        self.pointing = nn.Linear(head.in_features, 2 * keypoints)

    def training_loss(self, pictures: Tensor, targets: Tensor, *more: Tensor) -> Tensor:
        (places,) = more
        with overheard(finetuning.head(self.network)) as heard:
            loss = super().training_loss(pictures, targets)
        (features,) = heard
        return loss + (self.settings.keypoint_weight or 0) * distance(self.pointing(features), places)

    def configure_optimizers(self) -> Any:
        return finetuning.configured(self.trainer, self.network, self.settings, beside=self.pointing)
