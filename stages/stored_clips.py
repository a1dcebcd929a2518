"""Clips as the clips stage stored them: any frames of any clip, in any order, without decoding a video.

    stored = StoredClips(Path("data/clips/action"))
    stored("AAOYRUDX", [10, 12, 14, 16])    uint8 (4, h, w, 3)

T frames of h x w px. Frame n of a clip is what was on screen at n / `fps` seconds from its start.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from stages.files import DataError, read_json
from stages.pictures import RGB
from stages.shards import INDEX, MADE, SHARDS


@dataclass(frozen=True)
class _Place:
    shard: str
    offsets: NDArray[np.int64]  # stored frame k is the bytes offsets[k] to offsets[k + 1] of the shard's tensor
    shown: NDArray[np.int64]  # frame n of the clip is stored frame shown[n]
    size: tuple[int, int]  # width, height in px of the stored frames


class StoredClips:
    """What the clips stage stored in `folder`. A worker process opens its own files."""

    def __init__(self, folder: Path) -> None:
        for name in (INDEX, MADE):
            if not (folder / name).is_file():
                raise DataError(f"{folder / name}: no such file. `dvc repro` makes it")
        columns = ["sample_id", "shard", "offsets", "shown", "width_px", "height_px"]
        index = pd.read_parquet(folder / INDEX, columns=columns)
        self._places = {
            name: _Place(shard, np.asarray(offsets), np.asarray(shown), (width, height))
            for name, shard, offsets, shown, width, height in index.itertuples(index=False)
        }
        self._opened: dict[str, Any] = {}
        self.folder, self.fps = folder, float(read_json(folder / MADE)["settings"]["fps"])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": {}}

    def frames(self, sample_id: str) -> int:
        """How many frames the clip has, at `fps`. Raises DataError for a clip that is not there, as all of these do."""
        return len(self._place(sample_id).shown)

    def size(self, sample_id: str) -> tuple[int, int]:
        """Width and height in px of its stored frames."""
        return self._place(sample_id).size

    def __call__(self, sample_id: str, numbers: Sequence[int]) -> NDArray[np.uint8]:
        """These frames of a clip, uint8 (T, h, w, 3) RGB; one may be asked for several times, and is decoded once.

        Raises IndexError for a number that is not one of `frames`, and DataError for a shard that cannot be read.
        """
        place = self._place(sample_id)
        if numbers and not 0 <= min(numbers) <= max(numbers) < len(place.shown):
            raise IndexError(f"{sample_id} has the frames 0 to {len(place.shown) - 1}, not all of {list(numbers)}")
        width_px, height_px = place.size
        clip = np.empty((len(numbers), height_px, width_px, 3), dtype=np.uint8)
        decoded: dict[int, RGB] = {}
        for n, number in enumerate(numbers):
            stored = int(place.shown[number])
            if stored not in decoded:
                decoded[stored] = self._decoded(place, stored)
            clip[n] = decoded[stored]
        return clip

    def require(self, sample_ids: pd.Series) -> None:
        """Raise DataError where one is not stored."""
        missing = sample_ids[~sample_ids.isin(self._places)]
        if len(missing):
            raise DataError(
                f"{self.folder}: {len(missing)} of {len(sample_ids)} clips are not stored there, {missing.iloc[0]} for "
                f"example: run `dvc repro`"
            )

    def _place(self, sample_id: str) -> _Place:
        if sample_id not in self._places:
            raise DataError(f"{self.folder}: no clip {sample_id} among the {len(self._places)} stored: run `dvc repro`")
        return self._places[sample_id]

    def _decoded(self, place: _Place, stored: int) -> RGB:
        """One stored frame. OpenCV decodes to the very pixels of PIL, in three quarters of its time (benchmarks/clips.py)."""
        path = self.folder / SHARDS / place.shard
        try:
            if place.shard not in self._opened:
                self._opened[place.shard] = safe_open(path, "np")
            data = self._opened[place.shard].get_slice("jpeg")[place.offsets[stored] : place.offsets[stored + 1]]
        except (OSError, SafetensorError) as error:
            raise _broken(path, str(error)) from None
        rgb = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)
        if rgb is None or rgb.shape[1::-1] != place.size:
            raise _broken(path, f"stored frame {stored} is no JPEG of {place.size[0]} x {place.size[1]} px")
        return rgb


def _broken(path: Path, why: str) -> DataError:
    return DataError(f"{path}: cannot be read: {why}. Run the stage that made it again: it makes this shard alone anew")
