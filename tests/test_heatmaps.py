"""The heatmaps stage by its command line: what it stores, whom it looks at, and what it does after a fault."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stages.files import MANIFEST, check_manifest, new_folder, sha256_bytes, write_json
from stages.heatmaps import HeatmapSettings, decoded_at_least, stacked
from stages.inference import Network
from stages.networks.heatmap.stored import Stored
from stages.pictures import decode, resize
from stages.predictions import BOX, JOINTS
from stages.samples import SAMPLES
from stages.stamps import heatmap
from stages.views import View
from tests.disk_helpers import fill, small_disk

H, W = 12, 16  # of the tensors; pictures are 32 x 36 px
SETTINGS = {"height_px": H, "width_px": W, "sigma_px": 1.5, "score_floor": 0.3, "joint_floor": 0.2}
COUNT = 70  # two shards
SHARD_FILES = ["00000.safetensors", "00001.safetensors"]
PEOPLE = [
    [[2.0, 2, 8, 10], 0.9],
    [[12.0, 14, 22, 24], 0.8],
    [[0.0, 0, 1, 1], 0.7],
    [[31.0, 35, 32, 36], 0.2],
]  # the last is too unsure


def places(number: int, person: int) -> np.ndarray:
    """x, y of 16 joints in px of a picture."""
    return np.random.default_rng([number, person]).uniform(0, [32, 36], (16, 2)).round(1)


def confidence(person: int) -> np.ndarray:
    return np.linspace(0.1, 0.9 if person else 0.5, 16)


class Finder(torch.nn.Module):
    """Finds in a picture of one colour (number, people, ...) that many PEOPLE with the joints of `places`."""

    def __init__(self) -> None:
        super().__init__()
        self.nothing = torch.nn.Parameter(torch.zeros(1))
        self.seen: list[int] = []

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        self.seen += batch[:, 0, 0, 0].tolist()
        return batch[:, 0, 0]


def found_by(colours: torch.Tensor, floor: float) -> list[np.ndarray]:
    return [
        np.array(
            [
                [*box, score, 0, *np.column_stack([places(number, i), confidence(i)]).ravel()]
                for i, (box, score) in enumerate(PEOPLE[:people])
                if score >= floor
            ]
        ).reshape(-1, 54)
        for number, people, _ in colours.tolist()
    ]


@pytest.fixture
def finder(monkeypatch: pytest.MonkeyPatch) -> Finder:
    module = Finder()
    network = Network({}, JOINTS, ("person",), module, found_by, lambda _w, _h: View(32, 36))
    monkeypatch.setattr("stages.networks.family", lambda name: {"stub": SimpleNamespace(load=lambda _: network)}[name])
    return module


def person_rows(
    number: int, name: str, person: int, box: list[float]
) -> tuple[dict[str, Any], list[dict[str, Any]], dict[str, Any]]:
    """What people.parquet, joints.parquet and boxes.parquet say of a true person: joint 3 absent, joint 4 occluded."""
    nan = dict.fromkeys(["head_x_min_px", "head_y_min_px", "head_x_max_px", "head_y_max_px"], np.nan)
    nan |= dict.fromkeys(["scale", "centre_x_px", "centre_y_px"], np.nan)
    key = {"sample_id": name, "person": person}
    joints = [
        {**key, "joint": j, "x_px": float(x), "y_px": float(y), "visible": {4: 1}.get(j, 2)}
        for j, (x, y) in enumerate(places(number, person + 10))
    ]
    joints[3].update(x_px=0.0, y_px=0.0, visible=0)
    sides = dict(zip(["x_min_px", "y_min_px", "x_max_px", "y_max_px"], map(float, box), strict=True))
    return {**key, **nan}, joints, {"sample_id": name, "label": "person", **sides}


@pytest.fixture
def data(tmp_path: Path, picture: Callable[..., bytes]) -> Path:
    """pictures/, boxes/, splits/ and pose/: picture i has i % 4 + 1 people to be found (none where i is 5), and two true ones,
    1 and 4, with the third of each ten without."""
    (tmp_path / "pictures").mkdir()
    samples, people, joints, boxes = [], [], [], []
    for i in range(COUNT):
        name = f"s{i:03}"
        rgb = np.full((36, 32, 3), [i, 0 if i == 5 else i % 4 + 1, 7], dtype=np.uint8)
        bytes_ = _png(rgb)
        (tmp_path / "pictures" / f"{name}.png").write_bytes(bytes_)
        samples.append({
            "sample_id": name, "path": f"{name}.png", "label": ["run", "sit"][i % 2], "location": None, "seq_id": name,
            "species": None, "frame_num": pd.NA, "captured_at": pd.NaT, "given_split": None, "width_px": 32, "height_px": 36, "infrared": False,
            "bytes": len(bytes_), "sha256": sha256_bytes(bytes_), "phash": "0" * 16, "note": "",
        })  # fmt: skip
        for person, box in ((1, [0.0, 0, 4, 4]), (4, [14.0, 16, 20, 20])):
            if i % 10 != 3:
                row, own, box_row = person_rows(i, name, person, box)
                people.append(row)
                joints.extend(own)
                boxes.append(box_row)
    with new_folder(tmp_path / "boxes") as out:
        table = pd.DataFrame(samples[::-1]).astype(
            {
                "frame_num": "Int64",
                "captured_at": "datetime64[us]",
                "location": "object",
                "species": "object",
                "given_split": "object",
            }
        )
        table[list(SAMPLES.columns)].to_parquet(out / "samples.parquet")
        pd.DataFrame(people).to_parquet(out / "people.parquet")
        pd.DataFrame(joints).to_parquet(out / "joints.parquet")
        pd.DataFrame(boxes).to_parquet(out / "boxes.parquet")
        write_json(out / "source.json", {"root": str(tmp_path / "pictures"), "data": "embedded"})
    with new_folder(tmp_path / "splits") as out:
        (out / "activity").mkdir()
        parts = ["unused" if i == 0 else ["train", "val", "test"][i % 3] for i in range(COUNT)]
        pd.DataFrame({"sample_id": [f"s{i:03}" for i in range(COUNT)], "part": parts}).to_csv(
            out / "activity" / "parts.csv", index=False
        )
    with new_folder(tmp_path / "pose") as out:
        write_json(out / "model.json", {"family": "stub"})
        (out / "weights.safetensors").write_bytes(b"weights")
    return tmp_path


def _png(rgb: np.ndarray) -> bytes:
    import cv2

    return cv2.imencode(".png", rgb[..., ::-1])[1].tobytes()


@pytest.fixture
def heatmaps(stage: Callable[..., Any], data: Path) -> Callable[..., Any]:
    def go(out: str = "out", work: str = "work", **changes: Any) -> Any:
        words = ("--clean", "boxes", "--split", "splits/activity", "--pose", "pose", "--work", work, "--out", out)
        return stage("heatmaps", "--params", "heatmaps", *words, params={"heatmaps": {**SETTINGS, **changes}})

    return go


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_stored(heatmaps: Callable[..., Any], finder: Finder, data: Path) -> None:
    done = heatmaps()
    assert done.code == 0, done.err
    # Found: 1 on 17 pictures, 2, 3 or too unsure a fourth on the others; picture 5 has nobody; picture 0 is in no part.
    assert done.out == (
        "69 pictures in 2 shards, 0 of them made before; people found: two or more on 51 pictures, one on 17, nobody on 1\n"
    )
    assert check_manifest(data / "out") == []
    index = pd.read_parquet(data / "out" / "index.parquet")
    assert index["sample_id"].tolist() == [f"s{i:03}" for i in range(1, COUNT)], "in the order of ids, none that is unused"
    assert index["shard"].tolist() == [SHARD_FILES[0]] * 64 + [SHARD_FILES[1]] * 5
    assert index["row"].tolist() == [*range(64), *range(5)]
    assert index["part"].tolist() == [["train", "val", "test"][i % 3] for i in range(1, COUNT)]
    assert index["label"].tolist() == [["run", "sit"][i % 2] for i in range(1, COUNT)]
    assert set(index["scale_x"]) == {W / 32} and set(index["scale_y"]) == {H / 36}
    # 1, the one in the middle, is farther from 2 than from 0; with one person only 0; the fourth is under the floor.
    expected = {0: [0], 1: [1, 0], 2: [1, 2], 3: [1, 2]}
    by_number = dict(zip(range(1, COUNT), index.to_dict("records"), strict=True))
    for i, row in by_number.items():
        chosen = [] if i == 5 else expected[i % 4]
        assert list(row["people"]) == chosen
        assert list(row["truth"]) == ([] if i % 10 == 3 else [4, 1])
        assert list(row["boxes_px"]) == [side for person in chosen for side in PEOPLE[person][0]]
        assert len(row["joints_px"]) == 48 * len(chosen)

    tensors = [Stored(data / "out", inputs) for inputs in ("rgb_heatmap", "rgb_truth")]
    for i, name in zip(range(1, COUNT), index["sample_id"], strict=True):
        found, with_truth = (stored(name) for stored in tensors)
        assert found.shape == (H, W, 4)
        rgb, _ = decode((data / "pictures" / f"s{i:03}.png").read_bytes())
        assert (found[..., :3] == resize(rgb, W, H)).all() and (with_truth[..., :3] == found[..., :3]).all()
        chosen = [] if i == 5 else expected[i % 4]
        joints = [
            [x * W / 32, y * H / 36, c if c >= 0.2 else 0]
            for person in chosen
            for (x, y), c in zip(places(i, person), confidence(person), strict=True)
        ]
        assert (found[..., 3:] == heatmap(joints, H, W, 1.5)).all()
        true = [
            [x * W / 32, y * H / 36, 1]
            for person in ([] if i % 10 == 3 else [1, 4])
            for j, (x, y) in enumerate(places(i, person + 10))
            if j != 3
        ]
        assert (with_truth[..., 3:] == heatmap(true, H, W, 1.5)).all()
    assert sorted(finder.seen) == list(range(1, COUNT)), "each picture is looked at once"
    assert json.loads((data / "out" / "made.json").read_text()) == {
        "pose": "pose",
        "pose_sha256": sha256_bytes(b"weights"),
        "settings": {**SETTINGS, "per_shard": 64},
    }


def test_a_picture_becomes_the_stored_one_by_the_same_function(
    heatmaps: Callable[..., Any], finder: Finder, data: Path
) -> None:
    """Whether the picture is resized before, as the stage does, or only there, as prediction does."""
    assert heatmaps().code == 0
    settings, stored = HeatmapSettings.model_validate(SETTINGS), Stored(data / "out", "rgb_heatmap")
    for number in (1, 3, 5):
        rgb, _ = decode((data / "pictures" / f"s{number:03}.png").read_bytes())
        (found,) = found_by(torch.from_numpy(rgb[:1, 0].copy()), settings.score_floor)
        made = stacked(rgb, found[:, :4], found[:, 6:].reshape(-1, 16, 3), 32, 36, settings)
        assert made.dtype == np.uint8 and np.array_equal(made, stored(f"s{number:03}"))


def test_a_picture_that_changed_stops_it_and_the_rerun_goes_on(
    heatmaps: Callable[..., Any], finder: Finder, data: Path
) -> None:
    assert heatmaps(out="whole", work="other").code == 0
    path = data / "pictures" / "s068.png"
    bytes_ = path.read_bytes()
    path.write_bytes(bytes_[:-1])
    done = heatmaps()
    assert done.code == 1 and "s068.png: altered since it was cleaned" in done.err
    assert not (data / "out").exists()
    path.write_bytes(bytes_)
    finder.seen.clear()
    done = heatmaps()
    assert done.code == 0 and "69 pictures in 2 shards, 1 of them made before" in done.out
    assert sorted(finder.seen) == [65, 66, 67, 68, 69], "the first shard is not made again"
    assert contents(data / "out") == contents(data / "whole")


def test_fault_46_a_broken_shard_is_named_and_alone_rebuilt(heatmaps: Callable[..., Any], finder: Finder, data: Path) -> None:
    heatmaps()
    before = contents(data / "out")
    path = data / "out" / "shards" / SHARD_FILES[1]
    path.write_bytes(path.read_bytes()[:-10])
    finder.seen.clear()
    done = heatmaps()
    assert done.code == 0 and "out/shards/00001.safetensors: damaged: sha256 " in done.err
    assert sorted(finder.seen) == [65, 66, 67, 68, 69]
    assert contents(data / "out") == before


def test_other_settings_make_all_anew(heatmaps: Callable[..., Any], finder: Finder, data: Path) -> None:
    heatmaps()
    before = contents(data / "out")
    finder.seen.clear()
    done = heatmaps(sigma_px=2.0)
    assert "0 of them made before" in done.out and done.err == "" and len(finder.seen) == 69
    after = contents(data / "out")
    assert after["index.parquet"] == before["index.parquet"]
    assert after[f"shards/{SHARD_FILES[0]}"] != before[f"shards/{SHARD_FILES[0]}"]


def test_fault_47_too_little_room_is_told_before_anything_is_made(
    heatmaps: Callable[..., Any], finder: Finder, data: Path
) -> None:
    with small_disk(data / "disk", size_kib=64) as disk:
        fill(disk, leave_bytes=40_000)
        done = heatmaps(work="disk/work")
        assert done.code == 1 and f"needs {69 * H * W * 5:,} bytes" in done.err and "Make room there" in done.err
        assert not finder.seen and not (data / "out").exists()
    assert heatmaps().code == 0


def test_a_model_without_joints_is_refused(heatmaps: Callable[..., Any], data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network({}, BOX, ("person",), Finder(), found_by, lambda _w, _h: View(32, 36))
    monkeypatch.setattr("stages.networks.family", lambda _: SimpleNamespace(load=lambda _: network))
    done = heatmaps()
    assert done.code == 1 and "pose finds no joints (its task is `box`): --pose takes a pose model" in done.err


def test_fault_26_joints_that_are_no_numbers_are_refused(
    heatmaps: Callable[..., Any], finder: Finder, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "confidence", lambda person: np.where(np.arange(16) == 3, np.nan, 0.5))
    done = heatmaps()
    assert done.code == 1 and "s001: the pose model finds joints that are not finite numbers" in done.err
    assert not (data / "out").exists()


def test_people_without_boxes_are_refused(heatmaps: Callable[..., Any], finder: Finder, data: Path) -> None:
    boxes = pd.read_parquet(data / "boxes" / "boxes.parquet")
    boxes[boxes["sample_id"] != "s007"].to_parquet(data / "boxes" / "boxes.parquet")
    _sign(data / "boxes")
    done = heatmaps()
    assert done.code == 1 and "s007: not one box for each person" in done.err


def test_fault_32_nothing_to_do_is_refused(heatmaps: Callable[..., Any], finder: Finder, data: Path) -> None:
    path = data / "splits" / "activity" / "parts.csv"
    pd.read_csv(path).assign(part="unused").to_csv(path, index=False)
    _sign(data / "splits")
    done = heatmaps()
    assert done.code == 1 and "no picture is in train, val or test" in done.err


def test_fault_39_altered_inputs_are_refused(heatmaps: Callable[..., Any], finder: Finder, data: Path) -> None:
    path = data / "boxes" / "joints.parquet"
    path.write_bytes(path.read_bytes() + b"x")
    done = heatmaps()
    assert done.code == 1 and "joints.parquet" in done.err and "Get it anew" in done.err


def _sign(folder: Path) -> None:
    """A new manifest, as the stage before would leave it."""
    shutil.move(folder, folder.with_name("moved"))
    with new_folder(folder) as out:
        shutil.copytree(folder.with_name("moved"), out, dirs_exist_ok=True)
        (out / MANIFEST).unlink()


@pytest.mark.parametrize(
    "wrong", [{"per_shard": 63}, {"sigma_px": 0.0}, {"height_px": 0}, {"joint_floor": 1.1}, {"sigma": 1.0}]
)
def test_settings_that_make_no_sense_are_refused(heatmaps: Callable[..., Any], finder: Finder, wrong: dict[str, Any]) -> None:
    done = heatmaps(**wrong)
    assert done.code == 1 and f"heatmaps.{next(iter(wrong))}" in done.err


@given(st.integers(100, 5000), st.integers(100, 5000), st.integers(10, 700), st.integers(10, 700))
def test_a_picture_is_decoded_small_only_where_no_side_suffers(width: int, height: int, wide: int, high: int) -> None:
    settings = HeatmapSettings(width_px=wide, height_px=high, sigma_px=1)
    least = decoded_at_least(View(1, 1), width, height, settings)
    for scale in (2, 4, 8):  # what a JPEG decoder can divide by
        if min(width, height) // least >= scale:
            assert width / scale >= wide and height / scale >= high
        elif min(width, height) / least < scale - 1:
            assert width / scale < wide or height / scale < high


def test_the_record_of_a_shard_is_json(heatmaps: Callable[..., Any], finder: Finder, data: Path) -> None:
    heatmaps()
    (record,) = data.glob("work/out/*/00001.json")
    assert [row["sample_id"] for row in json.loads(record.read_text())["rows"]] == [f"s{i:03}" for i in range(65, 70)]
