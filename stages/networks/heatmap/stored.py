"""Pictures with their heatmaps, as the heatmaps stage stored them: uint8 (H, W, 4), red, green, blue and heatmap."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from stages.files import DataError, seed_from
from stages.networks.heatmap.network import SHOWN, HeatmapClassifierSettings
from stages.shards import INDEX, Shards


class Stored:
    """What a network of these `inputs` is shown of each sample of `folder`."""

    def __init__(self, folder: Path, inputs: str) -> None:
        self.folder, self.shards = folder, Shards(folder)
        self.names, shown = SHOWN[inputs]
        self.hidden = np.flatnonzero(np.array(shown) == 0)

    def __call__(self, sample_id: str) -> NDArray[np.uint8]:
        """uint8 (H, W, 4), a copy; 0 in channels that are not shown."""
        picture = self.shards.read([sample_id], self.names)[0]
        picture[..., self.hidden] = 0
        return picture

    def heatmap_std(self, sample_ids: list[str]) -> float:
        """Standard deviation of all pixels of these samples' heatmaps, whose values are 0..1; 1 where all are empty."""
        heatmaps = (self.shards.read([name], self.names[1:]) / 255 for name in sample_ids)
        mean, square = np.mean([(values.mean(), np.square(values).mean()) for values in heatmaps], axis=0)
        return float(np.sqrt(max(0.0, square - mean**2))) or 1.0

    def require(self, sample_ids: pd.Series) -> None:
        """Raise DataError where one is not stored."""
        there = pd.read_parquet(self.folder / INDEX, columns=["sample_id"])["sample_id"]
        missing = sample_ids[~sample_ids.isin(there)]
        if len(missing):
            raise DataError(
                f"{self.folder}: {len(missing)} of {len(sample_ids)} pictures have no heatmap there, {missing.iloc[0]} for "
                f"example: run `dvc repro heatmaps@{self.folder.name}`"
            )


class Pictures(Dataset[tuple[Tensor, int, int]]):
    """Item (epoch, i) -> (uint8 (H, W, 4), class index, i). Raises DataError for pictures that are not stored."""

    def __init__(
        self,
        pictures: pd.DataFrame,
        stored: Stored,
        classes: tuple[str, ...],
        settings: HeatmapClassifierSettings,
        seed: int,
        training: bool,
    ) -> None:
        stored.require(pictures["sample_id"])
        self.ids = pictures["sample_id"].tolist()
        self.targets = [classes.index(label) for label in pictures["label"]]
        self.stored, self.settings, self.seed, self.training = stored, settings, seed, training

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int, int]:
        epoch, i = key
        picture = self.stored(self.ids[i])
        if self.training:
            rng = np.random.default_rng(seed_from(self.seed, epoch, self.ids[i]))
            picture = augmented(picture, self.settings.flip, self.settings.light, rng)
        return torch.from_numpy(picture), self.targets[i], i


def augmented(picture: NDArray[np.uint8], flip: bool, light: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """(H, W, 4) -> (H, W, 4). A heatmap, which does not tell left joints from right ones, is mirrored as a picture is."""
    if flip and rng.random() < 0.5:
        picture = picture[:, ::-1]
    if light:
        gain, bias = rng.uniform(-1, 1, 2) * light
        table = np.clip(np.arange(256) * (1 + gain) + 128 * bias, 0, 255).astype(np.uint8)
        picture = np.dstack([cv2.LUT(picture[..., :3], table), picture[..., 3]])
    return np.ascontiguousarray(picture)
