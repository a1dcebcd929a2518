"""Reading stored clips: any frames in any order, and clear words where something is not there."""

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from stages import stored_clips
from stages.clips import ClipsSettings, store
from stages.files import DataError
from stages.samples import read_samples
from stages.stored_clips import StoredClips
from tests.clip_helpers import every, number_of, write_clean, write_video

SETTINGS = ClipsSettings(fps=30, short_side_px=32, jpeg_quality=90, per_shard=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """a, b and c, of 30 a second, 15 a second and upright; a and b in one shard."""
    folder = tmp_path_factory.mktemp("stored")
    (folder / "clips").mkdir()
    write_video(folder / "clips" / "a.mp4", every(30, 8))
    write_video(folder / "clips" / "b.mp4", every(15, 4))
    write_video(folder / "clips" / "c.mp4", every(30, 5), 32, 64)
    write_clean(folder / "clips", folder / "clean")
    store(read_samples(folder / "clean"), ["a", "b", "c"], SETTINGS, folder / "work", folder / "out")
    return folder / "out"


def numbers(frames: np.ndarray) -> list[int]:
    return [number_of(frame) for frame in frames]


def test_any_frames_in_any_order(folder: Path) -> None:
    stored = StoredClips(folder)
    assert (stored.fps, stored.frames("a"), stored.frames("b"), stored.frames("c")) == (30.0, 8, 8, 5)
    assert stored.size("a") == (64, 32) and stored.size("c") == (32, 64)
    clip = stored("a", [7, 0, 3, 3])
    assert (clip.shape, clip.dtype) == ((4, 32, 64, 3), np.uint8)
    assert numbers(clip) == [7, 0, 3, 3]
    assert numbers(stored("b", range(8))) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert stored("c", [4]).shape == (1, 64, 32, 3)
    assert stored("a", []).shape == (0, 32, 64, 3)


def test_what_it_gives_may_be_changed(folder: Path) -> None:
    stored = StoredClips(folder)
    first = stored("a", [2, 2])
    first[0] = 0
    assert numbers(first[1:]) == [2]
    assert numbers(stored("a", [2, 2])) == [2, 2]


def test_a_frame_is_decoded_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []
    real = stored_clips.cv2.imdecode
    monkeypatch.setattr(stored_clips.cv2, "imdecode", lambda data, flags: decoded.append(1) or real(data, flags))
    StoredClips(folder)("b", [0, 1, 2, 3, 3, 0])
    assert len(decoded) == 2, "frames 0 and 1 are one stored frame, 2 and 3 the next"


@pytest.mark.parametrize("asked", [[8], [-1], [0, 99]])
def test_a_frame_that_is_not_there(folder: Path, asked: list[int]) -> None:
    with pytest.raises(IndexError, match="a has the frames 0 to 7"):
        StoredClips(folder)("a", asked)


def test_a_clip_that_is_not_there(folder: Path) -> None:
    stored = StoredClips(folder)
    for ask in (stored.frames, stored.size, lambda name: stored(name, [0])):
        with pytest.raises(DataError, match="no clip nobody among the 3 stored: run `dvc repro`"):
            ask("nobody")
    stored.require(pd.Series(["a", "c"]))
    with pytest.raises(DataError, match="2 of 3 clips are not stored there, x for example"):
        stored.require(pd.Series(["a", "x", "y"]))


@pytest.mark.parametrize("name", ["index.parquet", "made.json"])
def test_a_folder_without_clips(folder: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "made.json").write_bytes((folder / "made.json").read_bytes())
    (tmp_path / "index.parquet").write_bytes((folder / "index.parquet").read_bytes())
    (tmp_path / name).unlink()
    with pytest.raises(DataError, match=f"{name}: no such file. `dvc repro` makes it"):
        StoredClips(tmp_path)


def test_fault_46_a_shard_that_cannot_be_read_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    for name in ("index.parquet", "made.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    path = tmp_path / "shards" / "00000.safetensors"
    whole = (folder / "shards" / path.name).read_bytes()
    for spoiled in (None, b"", whole[: len(whole) // 2], whole[:-2000] + bytes(2000)):
        if spoiled is not None:
            path.write_bytes(spoiled)
        with pytest.raises(DataError, match=r"00000\.safetensors: cannot be read: .* it makes this shard alone anew"):
            StoredClips(tmp_path)("b", range(8))


class Data(torch.utils.data.Dataset[torch.Tensor]):
    def __init__(self, stored: StoredClips) -> None:
        self.stored = stored

    def __len__(self) -> int:
        return 8

    def __getitem__(self, number: int) -> torch.Tensor:
        return torch.from_numpy(self.stored("a", [number]))


def test_worker_processes_open_their_own_files(folder: Path) -> None:
    stored = StoredClips(folder)
    stored("a", [0])
    again = pickle.loads(pickle.dumps(stored))
    assert stored._opened and not again._opened and numbers(again("a", [1])) == [1]
    loader = torch.utils.data.DataLoader(Data(stored), batch_size=None, num_workers=2)
    assert [numbers(frames.numpy()) for frames in loader] == [[n] for n in range(8)]
