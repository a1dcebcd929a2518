"""What a classifier of pictures is trained to lower, and how classes of few pictures are made to count as much as others.

Letters: B pictures of a batch, C classes, N pictures of train.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stages.classifier import SIGMOID


def loss(logits: Tensor, targets: Tensor, kind: str, weights: Tensor | None = None) -> Tensor:
    """Mean over the batch of cross-entropy, or for SIGMOID of the classes' mean binary cross-entropy; a scalar.

    logits (B, C); targets (B,) the number of each class, or (B, C) each class's share of a mixed label. With `weights` (C,) a
    picture counts as much as its classes weigh.
    """
    if kind != SIGMOID and weights is None:
        return nn.functional.cross_entropy(logits, targets)
    labels = shares(targets, logits.shape[1])
    if kind == SIGMOID:
        each = nn.functional.binary_cross_entropy_with_logits(logits.float(), labels, reduction="none").mean(1)
    else:
        each = nn.functional.cross_entropy(logits, labels, reduction="none")
    return (each if weights is None else each * (labels @ weights)).mean()


def shares(targets: Tensor, classes: int) -> Tensor:
    """(B,) class numbers -> (B, C) with a 1 for each; what is (B, C) already stays."""
    return targets if targets.ndim == 2 else nn.functional.one_hot(targets, classes).float()


def class_weights(counts: NDArray[np.int64]) -> Tensor:
    """(C,) pictures of each class, none 0 -> (C,) weights, N / (C n): N / C in sum in each class, 1 on average."""
    return torch.tensor(counts.sum() / (len(counts) * counts), dtype=torch.float32)


def even_chances(targets: NDArray[np.int64]) -> NDArray[np.float64]:
    """(N,) class numbers -> (N,) the chance of each picture to be drawn: every class as often, its pictures alike."""
    counts = np.bincount(targets)
    return 1 / (np.count_nonzero(counts) * counts[targets])
