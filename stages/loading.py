"""Pictures for a network: decoded once, resized, augmented by a seed of their own, batched.

What a picture becomes depends on (seed, epoch, picture) alone: the same with 0, 2 or 4 workers, and after a resume.
Letters: B pictures of a batch, P picture side in px.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

import cv2
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch.utils.data import BatchSampler, DataLoader, Dataset, Sampler

from stages.files import seed_from
from stages.pictures import RGB, at_least_for, cut, read_picture, resize
from stages.samples import BOX_COLUMNS
from stages.settings import Record


class LoadSettings(Record):
    image_px: int = Field(gt=0)  # pictures are squeezed to a square of this side, as the document has it
    flip: bool = False  # in training: mirror left and right, every other time
    zoom: float = Field(1.0, ge=1)  # in training: zoom in by 1 to this factor, about a random point
    rotate_deg: float = Field(0, ge=0)  # in training: turn by up to this, either way
    shear_deg: float = Field(0, ge=0, lt=90)  # in training: lean by up to this, either way
    shift: float = Field(0, ge=0, lt=1)  # in training: move by up to this share of the side, either way, on both axes
    light: float = Field(0, ge=0, lt=1)  # in training: change brightness and contrast by up to this share
    cache_gb: float = Field(2.0, ge=0)  # decoded pictures are kept in memory when they all fit in this
    workers: int | None = Field(None, ge=0)  # loader processes; null: by the machine


class Points(NamedTuple):
    """Named places in pictures, K in each of N."""

    places: NDArray[np.float64]  # (N, K, 3): x and y as shares of the picture's width and height, and 1; 0 0 0 where unknown
    mirrored: NDArray[np.int64]  # (K,) which of them each becomes in a mirrored picture


class Pictures(Dataset[tuple[Any, ...]]):
    """Item (epoch, i) -> (uint8 (P, P, 3) RGB, class index, i). A file that changed since `clean` is refused by its sha256.

    (epoch, i, n) is the same picture once more in that epoch, for the n-th time, and augmented anew.

    Where the table has box columns, an item is what lies in the row's box, not the whole picture. With `points`, of whole
    pictures, an item ends with float (K, 3): where they are in it now, as `Points` has them.
    """

    def __init__(
        self,
        pictures: pd.DataFrame,
        root: Path,
        classes: tuple[str, ...],
        settings: LoadSettings,
        seed: int,
        training: bool,
        points: Points | None = None,
    ) -> None:
        index = {label: number for number, label in enumerate(classes)}
        self.paths = pictures["path"].tolist()
        self.sha256 = pictures["sha256"].tolist()
        self.ids = pictures["sample_id"].tolist()
        # A class that the model does not know (only ever at prediction) has no index.
        self.targets = [index.get(label, -1) for label in pictures["label"]]
        self.boxes = pictures[BOX_COLUMNS].to_numpy(dtype=float) if BOX_COLUMNS[0] in pictures else None
        self.sizes = pictures[["width_px", "height_px"]].to_numpy(dtype=float)
        self.root, self.settings, self.seed, self.training = root, settings, seed, training
        self.points = points
        side_px = settings.image_px
        needed = len(self.paths) * side_px * side_px * 3
        keep = needed <= settings.cache_gb * 2**30
        self.cache = torch.empty((len(self.paths), side_px, side_px, 3), dtype=torch.uint8) if keep else None
        self.cached = torch.zeros(len(self.paths), dtype=torch.bool)
        if self.cache is not None and loader_workers(settings.workers):  # every worker process fills and reads the same copy
            self.cache.share_memory_()
            self.cached.share_memory_()

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, key: tuple[int, ...]) -> tuple[Any, ...]:
        epoch, i, *again = key
        rgb, matrix = self.picture(i), np.eye(2, 3)
        if self.training:
            rgb, matrix = augmented(rgb, self.settings, np.random.default_rng(seed_from(self.seed, epoch, self.ids[i], *again)))
        item = torch.from_numpy(rgb), self.targets[i], i
        if self.points is None:
            return item
        places = moved(self.points.places[i], matrix, rgb.shape[0], self.points.mirrored)
        return *item, torch.from_numpy(places.astype(np.float32))

    def picture(self, i: int) -> RGB:
        if self.cache is not None and self.cached[i]:
            return self.cache[i].numpy()
        path, side_px = self.root / self.paths[i], self.settings.image_px
        if self.boxes is None:
            rgb = read_picture(path, self.sha256[i], side_px)
        else:
            (width_px, height_px), box = self.sizes[i], self.boxes[i]
            rgb = read_picture(path, self.sha256[i], at_least_for(side_px, width_px, height_px, box))
            rgb = cut(rgb, width_px, box)
        rgb = resize(rgb, side_px, side_px)
        if self.cache is not None:
            self.cache[i] = torch.from_numpy(rgb)
            self.cached[i] = True
        return rgb


def augmented(rgb: RGB, settings: LoadSettings, rng: np.random.Generator) -> tuple[RGB, NDArray[np.float64]]:
    """(P, P, 3) -> (P, P, 3) by one affine warp (mirror, zoom, turn, lean, move) and a change of light, and the warp's matrix.

    The matrix (2, 3) takes a point (x, y, 1) of the picture, pixel centres at whole numbers, to where it is now.
    """
    side = rgb.shape[0]
    flip = settings.flip and rng.random() < 0.5
    zoom, angle = rng.uniform(1, settings.zoom), np.deg2rad(rng.uniform(-1, 1) * settings.rotate_deg)
    inside = rng.uniform(-1, 1, 2) * (zoom - 1) / 2 * side  # a zoom alone shows nothing beyond the edges
    gain, bias = rng.uniform(-1, 1, 2) * settings.light
    lean, moved = np.tan(np.deg2rad(rng.uniform(-1, 1) * settings.shear_deg)), rng.uniform(-1, 1, 2) * settings.shift * side
    matrix = np.eye(2, 3)
    if zoom != 1 or angle or lean or moved.any():
        cos, sin, centre = zoom * np.cos(angle), zoom * np.sin(angle), (side - 1) / 2
        matrix[:, :2] = [[cos, lean * cos - sin], [sin, lean * sin + cos]]
        matrix[:, 2] = centre - matrix[:, :2] @ [centre, centre] + inside + moved
        rgb = cv2.warpAffine(rgb, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    if flip:
        rgb = np.ascontiguousarray(rgb[:, ::-1])
        matrix[0] = [0, 0, side - 1] - matrix[0]
    if settings.light:
        rgb = cv2.LUT(rgb, np.clip(np.arange(256) * (1 + gain) + 128 * bias, 0, 255).astype(np.uint8))
    return rgb, matrix


def moved(
    places: NDArray[np.float64], matrix: NDArray[np.float64], side: int, mirrored: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(K, 3) -> (K, 3), as `Points` has them, in a picture of `side` px that was warped by `augmented`'s matrix.

    What is outside afterwards is unknown, and each point that a mirror makes another one is that one.
    """
    at = (places[:, :2] * side - 0.5) @ matrix[:, :2].T + matrix[:, 2]
    shares = (at + 0.5) / side
    inside = ((shares >= 0) & (shares <= 1)).all(axis=1, keepdims=True)
    found = np.where(inside & (places[:, 2:] > 0), np.column_stack([shares, places[:, 2]]), 0.0)
    return found[mirrored] if np.linalg.det(matrix[:, :2]) < 0 else found


def processes() -> tuple[int, int]:
    """(number of this process, how many train together). Known once Lightning has joined them; until then (0, 1)."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def own_size(size: int) -> int:
    """How many of `size` items fall to each process: the same number to all, or they would wait for each other forever."""
    return -(-size // processes()[1])


def own(order: np.ndarray) -> np.ndarray:
    """Every n-th item of the order, n processes. What is short of a multiple of n is filled from the order's start:
    up to n - 1 items come twice in an epoch, in training and in validation, none is left out."""
    process, together = processes()
    return np.resize(order, own_size(len(order)) * together)[process::together]


class Shuffled(Sampler[tuple[int, ...]]):
    """(epoch, i) for each item of this process, in an order that the seed and the epoch decide. Lightning calls `set_epoch`.

    With `chances`, each item's to be drawn, an epoch is as many items drawn with replacement; the n-th time that one comes
    again it is (epoch, i, n).
    """

    def __init__(self, size: int, seed: int, chances: NDArray[np.float64] | None = None) -> None:
        self.size, self.seed, self.epoch, self.chances = size, seed, 0, chances

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return own_size(self.size)

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        rng = np.random.default_rng(seed_from(self.seed, "order", self.epoch))
        if self.chances is None:
            return ((self.epoch, int(i)) for i in own(rng.permutation(self.size)))
        order = rng.choice(self.size, self.size, p=self.chances)
        again = pd.Series(order).groupby(order).cumcount().to_numpy()
        return ((self.epoch, int(order[k]), *([int(again[k])] if again[k] else [])) for k in own(np.arange(self.size)))


class InOrder(Sampler[tuple[int, int]]):
    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return own_size(self.size)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return ((0, int(i)) for i in own(np.arange(self.size)))


class Batches(BatchSampler):
    """Batches of a sampler's items. In training a last batch of one is left out: batch norm cannot train on one picture."""

    def __init__(self, sampler: Shuffled | InOrder, batch_size: int) -> None:
        super().__init__(cast(Any, sampler), batch_size, drop_last=False)

    def _settle(self) -> None:  # not in __init__: how many items there are is known once the processes have joined
        sampler: Any = self.sampler
        self.drop_last = isinstance(sampler, Shuffled) and len(sampler) % self.batch_size == 1

    def __len__(self) -> int:
        self._settle()
        return super().__len__()

    def __iter__(self) -> Iterator[list[int]]:
        self._settle()
        return super().__iter__()


def loader(
    pictures: Pictures, batch_size: int, shuffle_seed: int | None = None, chances: NDArray[np.float64] | None = None
) -> DataLoader[Any]:
    """Batches of (uint8 (B, P, P, 3), class index (B,), item (B,)); shuffled when a seed is given, else in order.

    Where several processes train, each gets its own share of the pictures, in batches of `batch_size`.
    """
    sampler = InOrder(len(pictures)) if shuffle_seed is None else Shuffled(len(pictures), shuffle_seed, chances)
    workers = loader_workers(pictures.settings.workers)
    return DataLoader(
        pictures,
        batch_sampler=Batches(sampler, batch_size),
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
    )


def loader_workers(asked_for: int | None) -> int:
    """Loader processes: as set; else none beside a CPU that trains with all its cores, and one a core up to 16 beside a GPU."""
    if asked_for is not None:
        return asked_for
    return min(16, os.cpu_count() or 1) if torch.cuda.is_available() else 0
