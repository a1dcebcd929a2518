"""Samples as tensors: many in one safetensors file, to be read by memory map in any order.

    index.parquet              a row for each sample: sample_id, shard (a file), row in it, and what else is known
    shards/00000.safetensors   uint8 (n, H, W, channels) under each name, n samples; or uint8 (bytes,), files end to end
    made.json                  what they were made with

`stages/networks/heatmap/stored.py` and `stages/stored_clips.py` read them. A file for each sample would cost DVC up to ten
times as long, and float32 takes four times the bytes.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.files import MANIFEST, DataError, new_file, new_folder, read_json, sha256_file, write_json

INDEX, SHARDS, MADE = "index.parquet", "shards", "made.json"
Tensors = dict[str, NDArray[np.uint8]]  # of each name (n, H, W, channels), or (bytes,), of which the index says whose is what


def file_name(number: int) -> str:
    return f"{number:05}.safetensors"


class Unfinished:
    """Shards on their way to `out`. Finished ones wait in `work`, so that a killed run goes on behind them.

    `work` belongs to the very inputs that the shards are made from. What it says of each shard, its sha256 and its rows of the
    index, stays there when all is done: a shard of `out` that is not as it was made is found by it and alone made anew.
    """

    def __init__(self, work: Path, out: Path, count: int) -> None:
        self.work, self.out, self.count = work, out, count
        self.problems: list[str] = []  # what is wrong with a finished shard, a sentence each
        self._whole = {number: path for number in range(count) if (path := self._kept(number)) is not None}

    def missing(self) -> list[int]:
        """The numbers of the shards that are still to be added."""
        return [number for number in range(self.count) if number not in self._whole]

    def add(self, number: int, tensors: Tensors, rows: list[dict[str, Any]]) -> None:
        """Keep one shard and what the index says of its samples, as JSON has it. Raises DataError where the disk refuses."""
        assert all(tensor.dtype == np.uint8 and (tensor.ndim == 1 or len(tensor) == len(rows)) for tensor in tensors.values())
        path, digest = self.work / file_name(number), hashlib.sha256()
        try:
            with new_file(path) as temporary, temporary.open("wb") as file:
                for piece in _safetensors(tensors):
                    file.write(piece)
                    digest.update(piece)
            write_json(self._record(number), {"sha256": digest.hexdigest(), "rows": rows})
        except OSError as error:
            raise self._not_written(path, sum(tensor.nbytes for tensor in tensors.values()), error) from None
        self._whole[number] = path

    def index(self) -> pd.DataFrame:
        """A row for each sample. All shards must be there."""
        assert not self.missing()
        rows = [
            {"shard": file_name(number), "row": row, **known}
            for number in range(self.count)
            for row, known in enumerate(read_json(self._record(number))["rows"])
        ]
        return pd.DataFrame(rows)

    def finish(self, made: dict[str, Any], beside: Sequence[Path] = ()) -> pd.DataFrame:
        """Write `out`, whole or not at all, with `made` as its made.json, and return its index. All shards must be there.

        Copies of the files `beside` come along. Raises DataError where the disk refuses.
        """
        index = self.index()
        try:
            with new_folder(self.out) as folder:
                (folder / SHARDS).mkdir()
                for path in beside:
                    shutil.copyfile(path, folder / path.name)
                for number, path in self._whole.items():
                    _link(path, folder / SHARDS / file_name(number))
                index.to_parquet(folder / INDEX, index=False)
                write_json(folder / MADE, made)
        except OSError as error:  # a copy, where `out` lies on another disk than `work`
            raise self._not_written(self.out, sum(path.stat().st_size for path in self._whole.values()), error) from None
        for path in self.work.glob("*.safetensors"):
            path.unlink()
        return index

    def _not_written(self, path: Path, size: int, error: OSError) -> DataError:
        return DataError(
            f"{path}: not written ({size:,} bytes): {error.strerror or error}. Make room and run the same command again: "
            f"finished shards are kept in {self.work}"
        )

    def _record(self, number: int) -> Path:
        return self.work / f"{number:05}.json"

    def _kept(self, number: int) -> Path | None:
        """Where the finished shard lies, if it is as it was made."""
        if not self._record(number).is_file():
            return None
        made = read_json(self._record(number))["sha256"]
        listed = read_json(self.out / MANIFEST) if (self.out / MANIFEST).is_file() else {}
        place = f"{SHARDS}/{file_name(number)}"
        for path, is_ours in (
            (self.work / file_name(number), True),
            (self.out / place, listed.get(place, {}).get("sha256") == made),  # else other inputs made it
        ):
            if is_ours and path.is_file():
                if (found := sha256_file(path)) == made:
                    return path
                self.problems.append(f"{path}: damaged: sha256 {found}, {made} when it was written")
        return None


def _safetensors(tensors: Tensors) -> Iterator[bytes | memoryview]:
    """A safetensors file piece by piece. The library's writers copy it whole first, or write what only its owner may read."""
    header, end = {}, 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.nbytes
        header[name] = {"dtype": "U8", "shape": tensor.shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    yield from (np.ascontiguousarray(tensor).data for tensor in tensors.values())


def _link(source: Path, target: Path) -> None:
    """The same bytes under another name, without a copy where the file system can."""
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)
