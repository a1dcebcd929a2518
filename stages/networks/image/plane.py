"""What goes into a classifier's head, in two dimensions, and what the head answers all over that plane.

Letters: N pictures, D features of each, which are what goes into the head; B pictures of a batch.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stages.backbones import NoHead, head_name
from stages.files import seed_from
from stages.inference import Network, run, shown
from stages.samples import TRAIN

Floats = NDArray[np.float64]
MOST = 500  # pictures of each part, chosen by seed: more would hide each other
CELLS = 80  # of the grid, along each axis
INSIDE = (0.005, 0.995)  # quantiles of the points along each axis: what lies beyond is not shown
MARGIN = 0.05  # of that range, added at both ends


def plane(network: Network, pictures: pd.DataFrame, root: Path, seed: int) -> dict[str, Any] | None:
    """The data of the figure. `pictures` is a samples table with a column `part`, train's among them.

    The axes are the first two principal components of train's features, which know no labels; the pictures of all parts are
    projected on them. `regions` are exact: a point of the plane, put back among the features, is shown to the head itself. They
    are numbers of `classes` for the middle of each cell of `extent`, rows from y_min. `counts` are the pictures of each part,
    of which at most MOST are points. None, and that is said, where the last linear layer does not decide alone.
    """
    turns = [seed_from(seed, sample_id) for sample_id in pictures["sample_id"]]
    chosen = pictures.assign(turn=turns).sort_values("turn").groupby("part").head(MOST).sort_index()
    try:
        head, values = before_head(network, chosen, root)
    except NoHead as error:
        print(f"no figure of features: {error}")
        return None
    mean, axes, explained = principal_axes(values[(chosen["part"] == TRAIN).to_numpy()])
    points = (values - mean) @ axes.T
    extent = _around(points)
    answers = by_head(head, mean + _middles(extent) @ axes)
    return {
        "axes": "principal components of train's features",
        "explained": [_short(share) for share in explained],
        "classes": list(network.classes),
        "extent": extent,
        "regions": answers.reshape(CELLS, CELLS).tolist(),
        "counts": {str(part): int(count) for part, count in pictures["part"].value_counts(sort=False).items()},
        "points": [
            {"sample_id": sample_id, "part": part, "x": _short(x), "y": _short(y)}
            for sample_id, part, (x, y) in zip(chosen["sample_id"], chosen["part"], points, strict=True)
        ],
    }


def before_head(network: Network, pictures: pd.DataFrame, root: Path) -> tuple[nn.Module, Floats]:
    """The head of a classifier in use, and what goes into it (N, D). Raises NoHead where it does not decide alone."""
    module = _BeforeHead(network.module)
    looking = replace(network, module=module, finish=lambda values, _floor: list(values.cpu().numpy()))
    found = run(looking, shown(looking, pictures, root))
    return module.head, np.array([features for _, features in found], dtype=np.float64)


def principal_axes(values: Floats) -> tuple[Floats, Floats, Floats]:
    """(N, D), both at least 2 -> mean (D,), the directions (2, D) of most variance, and each one's share of all of it (2,).

    The largest entry of a direction is positive: else its sign would be chance. Where nothing varies all shares are 0.
    """
    mean = values.mean(axis=0)
    _, spread, directions = np.linalg.svd(values - mean, full_matrices=False)
    axes, variances = directions[:2], np.square(spread)
    largest = axes[[0, 1], np.abs(axes).argmax(axis=1)]
    return mean, axes * np.sign(largest)[:, None], variances[:2] / (variances.sum() or 1)


def by_head(head: nn.Module, features: Floats) -> NDArray[np.int64]:
    """(N, D) -> (N,) the number of the class that the head answers."""
    weight: Any = head.weight
    with torch.inference_mode():
        return head(torch.from_numpy(features).to(weight)).argmax(1).cpu().numpy()


def _around(points: Floats) -> list[float]:
    """(N, 2) -> x_min, x_max, y_min, y_max about INSIDE of them, with a margin; never without area."""
    low, high = np.quantile(points, INSIDE, axis=0)
    margin = np.where(high > low, MARGIN * (high - low), 1.0)
    return [_short(side) for side in np.column_stack([low - margin, high + margin]).ravel()]


def _middles(extent: list[float]) -> Floats:
    """(CELLS * CELLS, 2): the middle of each cell, row by row from y_min, each row from x_min."""
    steps = (np.arange(CELLS) + 0.5) / CELLS
    x_min, x_max, y_min, y_max = extent
    x, y = np.meshgrid(x_min + steps * (x_max - x_min), y_min + steps * (y_max - y_min))
    return np.column_stack([x.ravel(), y.ravel()])


def _short(value: float) -> float:
    return float(f"{value:.6g}")


class _BeforeHead(nn.Module):
    """uint8 (B, h, w, channels) -> float (B, D): what goes into the head of `answering`, a classifier in use."""

    def __init__(self, answering: Any) -> None:
        super().__init__()
        self.network, self.normalise = answering.network, answering.normalise
        self.head = self.network.get_submodule(head_name(self.network))

    def forward(self, pictures: Tensor) -> Tensor:
        passed: list[tuple[Tensor, Tensor]] = []
        hook = self.head.register_forward_hook(lambda _head, inputs, output: passed.append((inputs[0], output)))
        try:
            logits = self.network(self.normalise(pictures))
        finally:
            hook.remove()
        if len(passed) != 1 or not torch.equal(passed[0][1], logits):
            raise NoHead(f"{type(self.network).__name__}'s answers are not those of its last linear layer alone")
        return passed[0][0].float()
