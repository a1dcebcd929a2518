"""Peers on the photos and folds of real_transfer.py: scikit-learn on frozen features, and timm's own training script.

    PYTHONPATH=. python benchmarks/peers_transfer.py SHARED WORK      the same two folders: what real_transfer.py kept is used

timm's script, train.py, is not in its package: this is its loop made of timm's own parts, with the script's defaults (version
1.0: SGD with momentum 0.9, weight decay 0.00002, a cosine, label smoothing 0.1, random crops from 8 % of the picture, colour
jitter 0.4, the epoch of the highest validation accuracy). Of its settings are changed: epochs and batch as ours; the cosine
goes by steps and warms up for one epoch, for 5 would be most of the training. `mild` has random crops and jitter off, `adamw`
also optimizer, learning rate and weight decay as ours, `small head` starts its head as PyTorch does. SGD's learning rate is
lr_base x batch / 256, in each fold the better on validation of the default, 0.1, and of a tenth of it, its author's advice for
fine-tuning (huggingface/pytorch-image-models issue 25).
"""

import copy
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import timm
import torch
from numpy.typing import NDArray
from PIL import Image
from real_transfer import (
    ARCHITECTURE,
    IMAGE_PX,
    PLAIN,
    SEED,
    TRANSFER,
    WEIGHTS,
    answered,
    changes,
    kept,
    ours,
    rarest,
    standing,
)
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from timm.data import create_transform
from timm.loss import LabelSmoothingCrossEntropy
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from torch.utils.data import DataLoader, Dataset

from stages.samples import TEST, TRAIN, VAL, Samples

HALF = (0.5, 0.5, 0.5)  # mean and standard deviation that these weights were trained with
C_GRID = tuple(10.0**power for power in range(-5, 2))
SGD = [{"opt": "sgd", "momentum": 0.9, "weight_decay": 0.00002, "lr": base * PLAIN["batch_size"] / 256} for base in (0.1, 0.01)]
ADAMW = [{"opt": "adamw", "weight_decay": 0.05, "lr": PLAIN["learning_rate"]}]
MILD: dict[str, Any] = {"scale": (1.0, 1.0), "ratio": (1.0, 1.0), "color_jitter": None}
PAIRS = [
    ("transfer, frozen", "logistic regression"),
    ("transfer, frozen", "logistic regression, val too"),
    (TRANSFER, "logistic regression"),
    (TRANSFER, "timm train.py"),
    (TRANSFER, "timm train.py, mild"),
    (TRANSFER, "timm train.py, mild, adamw"),
    (TRANSFER, "timm train.py, mild, adamw, small head"),
]


class Photos(Dataset[tuple[torch.Tensor, int]]):
    def __init__(self, pictures: pd.DataFrame, root: Path, classes: list[str], transform: Any) -> None:
        self.rgb = [Image.open(root / path).convert("RGB") for path in pictures["path"]]
        self.targets, self.transform = [classes.index(label) for label in pictures["label"]], transform

    def __len__(self) -> int:
        return len(self.rgb)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.rgb[i]), self.targets[i]


def view(training: dict[str, Any] | None = None) -> Any:
    """timm's transform: of evaluation, or of training with changes of the script's defaults.

    Pictures are square: crop_pct 1 shows all of them in evaluation.
    """
    shown: dict[str, Any] = {"is_training": False, "interpolation": "bilinear", "crop_pct": 1.0}
    if training is not None:
        shown = {"is_training": True, "interpolation": "random", "color_jitter": 0.4, **training}
    return create_transform((3, IMAGE_PX, IMAGE_PX), mean=HALF, std=HALF, **shown)


def pretrained(shared: Path, classes: int) -> Any:
    """timm's network with ImageNet's weights, its head for so many classes as timm starts it; none: features (B, 1280)."""
    overlay = {"file": str(shared / "weights" / WEIGHTS)}
    return timm.create_model(ARCHITECTURE, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=classes)


def small_headed(shared: Path, classes: int) -> Any:
    """The same with a head that PyTorch's own small weights start; timm draws EfficientNet's 13 times as large."""
    network = pretrained(shared, classes)
    network.reset_classifier(classes)
    return network


@torch.inference_mode()
def put_out(network: Any, photos: Photos) -> NDArray[np.float32]:
    network.eval()
    return torch.cat([network(pictures) for pictures, _ in DataLoader(photos, batch_size=32)]).numpy()


def timm_trained(network: Any, train: Photos, val: Photos, optimizer_settings: dict[str, Any]) -> tuple[Any, float]:
    """The network at the epoch of the highest accuracy in validation, and that accuracy."""
    epochs, loader = PLAIN["epochs"], DataLoader(train, batch_size=PLAIN["batch_size"], shuffle=True, drop_last=True)
    criterion = LabelSmoothingCrossEntropy(0.1)
    optimizer = create_optimizer_v2(network, **optimizer_settings)
    schedule, _ = create_scheduler_v2(
        optimizer, sched="cosine", num_epochs=epochs, warmup_epochs=1, warmup_lr=0.00001, min_lr=0.0, step_on_epochs=False,
        updates_per_epoch=len(loader),
    )  # fmt: skip
    best, best_accuracy, step = {}, -1.0, 0
    for _ in range(epochs):
        network.train()
        for pictures, targets in loader:
            schedule.step_update(step)
            step += 1
            optimizer.zero_grad()
            criterion(network(pictures), targets).backward()
            optimizer.step()
        accuracy = float((put_out(network, val).argmax(1) == np.array(val.targets)).mean())
        if accuracy > best_accuracy:
            best, best_accuracy = copy.deepcopy(network.state_dict()), accuracy
    network.load_state_dict(best)
    return network, best_accuracy


def timm_answers(
    shared: Path,
    samples: Samples,
    parts: list[pd.DataFrame],
    training: dict[str, Any],
    optimizers: list[dict[str, Any]],
    build: Callable[[Path, int], Any] = pretrained,
) -> pd.DataFrame:
    """`training` changes the transform; of `optimizers` each fold takes the one that is right most often in its validation."""
    classes = sorted(samples.pictures["label"].unique())
    tables = []
    for fold, of_fold in enumerate(parts):
        part = of_fold["part"].to_numpy()
        transforms = {TRAIN: view(training), VAL: view(), TEST: view()}
        photos = {name: Photos(samples.pictures[part == name], samples.root, classes, of) for name, of in transforms.items()}
        tried = []
        for chosen in optimizers:
            torch.manual_seed(SEED + fold)
            tried.append(timm_trained(build(shared, len(classes)), photos[TRAIN], photos[VAL], chosen))
        network, _ = max(tried, key=lambda found: found[1])
        said = np.array(classes)[put_out(network, photos[TEST]).argmax(1)]
        tables.append(answered(samples.pictures[part == TEST], said, fold))
    return pd.concat(tables, ignore_index=True)


def linear_answers(shared: Path, samples: Samples, parts: list[pd.DataFrame], learned: tuple[str, ...]) -> pd.DataFrame:
    """Logistic regression on the frozen network's features of the parts `learned`.

    C by the accuracy in each fold's validation when learned from train alone, the least of equals.
    """
    photos = Photos(samples.pictures, samples.root, sorted(samples.pictures["label"].unique()), view())
    features, labels = put_out(pretrained(shared, 0), photos), samples.pictures["label"].to_numpy()

    def fitted(of: NDArray[np.bool_], c: float) -> Any:
        return make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=5000)).fit(features[of], labels[of])

    tables = []
    for fold, of_fold in enumerate(parts):
        train, val, test = (of_fold["part"].eq(name).to_numpy() for name in (TRAIN, VAL, TEST))
        chosen = max(C_GRID, key=lambda c: (fitted(train, c).score(features[val], labels[val]), -c))
        said = fitted(of_fold["part"].isin(learned).to_numpy(), chosen).predict(features[test])
        tables.append(answered(samples.pictures[test], said, fold))
    return pd.concat(tables, ignore_index=True)


def main() -> None:
    shared, work = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    samples, parts, answers = ours(shared, work)
    ways = {
        "logistic regression": partial(linear_answers, learned=(TRAIN,)),
        "logistic regression, val too": partial(linear_answers, learned=(TRAIN, VAL)),
        "timm train.py": partial(timm_answers, training={}, optimizers=SGD),
        "timm train.py, mild": partial(timm_answers, training=MILD, optimizers=SGD),
        "timm train.py, mild, adamw": partial(timm_answers, training=MILD, optimizers=ADAMW),
        "timm train.py, mild, adamw, small head": partial(timm_answers, training=MILD, optimizers=ADAMW, build=small_headed),
    }
    peers = {name: kept(work, name, partial(way, shared, samples, parts)) for name, way in ways.items()}
    mine = {name: answers[name] for name in dict.fromkeys(name for name, _ in PAIRS)}
    print(standing(mine | peers, rarest(samples.pictures)), "", changes(answers | peers, PAIRS), sep="\n")


if __name__ == "__main__":
    main()
