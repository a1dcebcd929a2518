"""Stored clips for training: a window, jittered by a seed of its own. Letters: T frames, P side of the squares in px."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from stages.clip_views import Clip, Frames, squares
from stages.files import seed_from
from stages.networks.slowfast.settings import SlowFastSettings
from stages.stored_clips import StoredClips

# Of colours in 0..1, the numbers of PySlowFast (slowfast/config/defaults.py, TRAIN_PCA_EIGVAL and _EIGVEC, after Krizhevsky et
# al. 2012): a row of the vectors for red, green, blue, a column for each component.
EIGENVALUES = np.array([0.225, 0.224, 0.229])
EIGENVECTORS = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])


class Clips(Dataset[tuple[Tensor, int, int]]):
    """Item (epoch, i) -> (uint8 (T, P, P, 3), class index, i). Validation sees the centre of the clip's middle.

    Raises DataError for clips that are not stored.
    """

    def __init__(
        self,
        rows: pd.DataFrame,
        stored: StoredClips,
        classes: tuple[str, ...],
        settings: SlowFastSettings,
        seed: int,
        training: bool,
    ) -> None:
        stored.require(rows["sample_id"])
        self.ids = rows["sample_id"].tolist()
        self.targets = [classes.index(label) for label in rows["label"]]
        self.stored, self.settings, self.seed, self.training = stored, settings, seed, training
        self.clip = clip_of(settings, stored.fps, views=1, crops=1)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int, int]:
        epoch, i = key
        name = self.ids[i]
        n_frames = self.stored.frames(name)
        if self.training:
            rng = np.random.default_rng(seed_from(self.seed, epoch, name))
            start = int(rng.integers(0, max(0, n_frames - self.clip.span) + 1))
            frames = augmented(self.stored(name, self.clip.numbers(start, n_frames)), self.settings, rng)
        else:
            frames = self.clip.show(self.stored(name, self.clip.numbers(self.clip.starts(n_frames)[0], n_frames)))[0]
        return torch.from_numpy(frames), self.targets[i], i

    def shorter(self) -> int:
        """How many clips are shorter than a view: their last frame repeats."""
        return sum(self.stored.frames(name) < self.clip.span for name in self.ids)


def clip_of(settings: SlowFastSettings, fps: float, views: int, crops: int) -> Clip:
    return Clip(settings.frames, settings.rate, fps, settings.crop_px, views, crops, settings.still)


def augmented(frames: Frames, settings: SlowFastSettings, rng: np.random.Generator) -> Frames:
    """(T, h, w, 3) -> (T, P, P, 3): the short side drawn, a square anywhere, mirror and light, all the same in every frame."""
    height, width = frames.shape[1:3]
    lowest, highest = settings.scale_px
    scale = rng.integers(lowest, highest + 1) / min(height, width)
    side = min(round(settings.crop_px / scale), height, width)
    left, top = int(rng.integers(0, width - side + 1)), int(rng.integers(0, height - side + 1))
    square = squares(frames, left, top, side, settings.crop_px)
    mirrored = settings.flip and rng.random() < 0.5
    if settings.lighting:
        square = lit(square, EIGENVECTORS @ (rng.normal(0, settings.lighting, 3) * EIGENVALUES))
    return np.ascontiguousarray(square[:, :, ::-1]) if mirrored else square


def lit(frames: Frames, rgb: NDArray[np.float64]) -> Frames:
    """Frames with `rgb`, shares of full brightness, added to red, green and blue, to the nearest of 256 steps."""
    shifted = np.arange(256)[:, None] + 255 * rgb
    tables = np.clip(np.rint(shifted), 0, 255).astype(np.uint8)
    out = np.empty_like(frames, order="C")
    cv2.LUT(frames.reshape(-1, 1, 3), tables[:, None], dst=out.reshape(-1, 1, 3))
    return out


def shown(stored: StoredClips, clip: Clip) -> Callable[[str], NDArray[np.uint8]]:
    """sample_id -> uint8 (V, T, P, P, 3), its views in order, of each its crops. A frame of several views is decoded once."""

    def views(sample_id: str) -> NDArray[np.uint8]:
        n_frames = stored.frames(sample_id)
        wanted = np.array([clip.numbers(start, n_frames) for start in clip.starts(n_frames)])
        numbers, places = np.unique(wanted, return_inverse=True)
        frames = clip.show(stored(sample_id, numbers.tolist()))
        return frames[:, places.reshape(wanted.shape)].swapaxes(0, 1).reshape(-1, clip.frames, *frames.shape[2:])

    return views


def store_of(clip: Clip) -> Callable[[Path], Callable[[str], NDArray[np.uint8]]]:
    """The clips stage's folder -> what it stored, as a network in use is shown it."""
    return lambda folder: shown(StoredClips(folder), clip)
