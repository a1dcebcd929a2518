"""ONNX files of models of people: who has the file alone finds the joints and activities that `predict` finds."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from stages import trained
from stages.export import batches, difference, main, smooth_noise
from stages.files import read_json
from stages.inference import predict
from stages.networks import Job
from stages.networks.heatmap.stored import Stored
from stages.people import JOINT_NAMES
from tests import test_heatmap_family as heatmap_family
from tests import test_yolo_pose as yolo_pose
from tests.test_export import User, pictures_of


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Job]:
    """`models/pose` and `models/act`, trained for a moment and exported by one command. Not to be changed."""
    folder = tmp_path_factory.mktemp("project")
    jobs = {"pose": yolo_pose.job(folder / "pose"), "act": heatmap_family.job(folder / "act")}
    yolo_pose.trained(jobs["pose"], yolo_pose.settings(epochs=1))
    heatmap_family.trained(jobs["act"], heatmap_family.settings(epochs=1))
    (folder / "models").mkdir()
    for key, job in jobs.items():
        os.rename(job.out, folder / "models" / key)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("sys.argv", ["export", *jobs])
        main()
    return jobs


@pytest.fixture
def folder(jobs: dict[str, Job], monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = jobs["pose"].root.parent.parent
    monkeypatch.chdir(folder)
    return folder


def opened(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def test_people_and_joints_are_those_that_predict_finds(jobs: dict[str, Job], folder: Path) -> None:
    user, job = User(folder / "exported/pose.onnx"), jobs["pose"]
    table = predict(trained.load(folder / "models/pose"), job.val, job.root)
    for sample_id, rgb in zip(job.val["sample_id"], pictures_of(job), strict=True):
        shown, above_px = user.letterboxed(rgb)
        places = user.run(shown[None])["people"][0].T  # (A, 4 + 1 + 48)
        centre, size = places[:, :2], places[:, 2:4]
        kept = user.finds(places[:, 4:5], np.hstack([centre - size / 2, centre + size / 2]))
        scores = np.array([score for _, score, _ in kept])
        place = [int(np.flatnonzero(places[:, 4] == score)[0]) for score in scores]
        joints = places[place, 5:].reshape(-1, 16, 3)
        joints = (joints - [0, above_px, 0]) * [80 / 64, 80 / 64, 1]
        for row in table[table["sample_id"] == sample_id].head(5).itertuples():
            alike = np.abs(scores - row.score) < 1e-3
            apart = np.abs(joints[alike] - np.reshape(row.joints, (16, 3))).max(axis=1)
            assert (apart < [0.5, 0.5, 1e-3]).all(axis=1).any()


def test_activities_have_the_probabilities_that_predict_gives(jobs: dict[str, Job], folder: Path) -> None:
    job = jobs["act"]
    session = opened(folder / "exported/act.onnx")
    stored = Stored(job.needs, "rgb_heatmap")
    [found] = session.run(["probabilities"], {"pictures": np.stack([stored(name) for name in job.val["sample_id"]])})
    table = predict(trained.load(folder / "models/act"), job.val, job.root, stored=job.needs)
    expected = table.pivot(index="sample_id", columns="label", values="score").loc[job.val["sample_id"], ["blue", "red"]]
    assert found == pytest.approx(expected.to_numpy(), abs=1e-3)


def test_files_tell_how_to_use_them(jobs: dict[str, Job], folder: Path) -> None:
    notes = {key: opened(folder / f"exported/{key}.onnx").get_modelmeta().custom_metadata_map for key in jobs}
    assert notes["pose"]["task"] == "detection of people and their joints"
    assert json.loads(notes["pose"]["joints"]) == list(JOINT_NAMES) and json.loads(notes["pose"]["classes"]) == ["person"]
    assert "4 + 1 + 3 * joints" in json.loads(notes["pose"]["outputs"])["people"]
    act = notes["act"]
    assert act["input"].startswith("uint8 (batch, height, width, 4) RGB and heatmap")
    assert "resized to 48 x 32 px, whatever the picture's shape" in act["input"] and "side_px" not in act
    assert json.loads(act["heatmaps"]) == read_json(folder / "models/act/model.json")["heatmaps"]


@pytest.mark.parametrize(("number", "by", "score", "px", "same"), [
    (0, 1.0, 0, 1.0, False), (4, 0.01, 0.01, 0, False), (5, 1.0, 0, 1.0, False), (7, 0.01, 0.01, 0, False),
    (52, 0.01, 0.01, 0, False), (51, 0.25, 0, 0.25, True),
])  # fmt: skip
def test_joints_that_differ_are_noticed(
    jobs: dict[str, Job], folder: Path, number: int, by: float, score: float, px: float, same: bool
) -> None:
    """Of one person: a side of its box, its score, x of the first joint, its confidence; the last joint's; its y a little."""
    network = trained.load(folder / "models/pose")
    person = np.full((1, 53, 1), 0.5, dtype=np.float32)
    person[0, :4, 0] = [32, 32, 20, 40]
    theirs = person.copy()
    theirs[0, number] += by
    found = difference(network, [person], [theirs])
    assert (found.score, found.box_px) == (pytest.approx(score, abs=1e-6), pytest.approx(px))
    assert (found.pictures, found.same_answer) == (1, int(same))


def test_what_is_compared_has_something_in_all_four_channels(jobs: dict[str, Job], folder: Path) -> None:
    network: Any = trained.load(folder / "models/act")
    shown = batches(network, smooth_noise())
    assert [batch.shape for batch in shown] == [(1, 32, 48, 4), (11, 32, 48, 4)]
    assert torch.from_numpy(shown[0]).float().std(dim=(0, 1, 2)).min() > 10
