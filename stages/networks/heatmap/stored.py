"""Pictures with their heatmaps, as the heatmaps stage stored them: uint8 (H, W, 4), red, green, blue and heatmap."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.utils.data import Dataset

from stages.files import DataError, seed_from
from stages.networks.heatmap.network import HeatmapClassifierSettings

INDEX = "index.parquet"


class Stored:
    """What the heatmaps stage stored in `folder`, for a network of these `inputs`. A worker process opens its own files."""

    def __init__(self, folder: Path, inputs: str) -> None:
        if not (folder / INDEX).is_file():
            raise DataError(f"{folder / INDEX}: no such file. `dvc repro` makes it")
        index = pd.read_parquet(folder / INDEX, columns=["sample_id", "shard", "row"])
        self._places = {name: (shard, row) for name, shard, row in index.itertuples(index=False)}
        self._opened: dict[str, Any] = {}
        self.folder, self.truth = folder, inputs == "rgb_truth"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": {}}

    def __call__(self, sample_id: str) -> NDArray[np.uint8]:
        """uint8 (H, W, 4), a copy. Raises DataError for a sample that is not there, and for a shard that cannot be read."""
        picture = self._read(sample_id, "rgb_heatmap")
        if self.truth:
            picture[..., 3:] = self._read(sample_id, "truth")
        return picture

    def heatmap_std(self, sample_ids: list[str]) -> float:
        """Standard deviation of all pixels of these samples' heatmaps, whose values are 0..1; 1 where all are empty."""
        heatmaps = (self(name)[..., 3] / 255 for name in sample_ids)
        mean, square = np.mean([(values.mean(), np.square(values).mean()) for values in heatmaps], axis=0)
        return float(np.sqrt(max(0.0, square - mean**2))) or 1.0

    def require(self, sample_ids: pd.Series) -> None:
        """Raise DataError where one is not stored."""
        missing = sample_ids[~sample_ids.isin(self._places)]
        if len(missing):
            raise DataError(
                f"{self.folder}: {len(missing)} of {len(sample_ids)} pictures have no heatmap there, {missing.iloc[0]} for "
                f"example: run `dvc repro heatmaps@{self.folder.name}`"
            )

    def _read(self, sample_id: str, name: str) -> NDArray[np.uint8]:
        """One tensor of one sample, (H, W, channels)."""
        if sample_id not in self._places:
            raise DataError(f"{self.folder}: no sample {sample_id} among the {len(self._places)} stored: run `dvc repro`")
        shard, row = self._places[sample_id]
        if shard not in self._opened:
            path = self.folder / "shards" / shard
            try:
                self._opened[shard] = safe_open(path, "np")
            except (OSError, SafetensorError) as error:
                raise DataError(
                    f"{path}: cannot be read: {error}. Run the stage that made it again: it makes this shard alone anew"
                ) from None
        return self._opened[shard].get_slice(name)[row]


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
        picture = cv2.flip(picture, 1)  # type: ignore[assignment]  # uint8 still
    if light:
        gain, bias = rng.uniform(-1, 1, 2) * light
        table = np.clip(np.arange(256) * (1 + gain) + 128 * bias, 0, 255).astype(np.uint8)
        tables = np.stack([table, table, table, np.arange(256, dtype=np.uint8)], axis=1)  # the heatmap stays as it is
        picture = cv2.LUT(picture, tables[None])  # type: ignore[assignment]
    return picture
