"""YOLOv8-pose through Ultralytics: people and their 16 joints from a Job, by the trainer that detectors have."""

import json
import socket
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
from ultralytics.nn.tasks import torch_safe_load

from stages.files import DataError, sha256_file, write_manifest
from stages.inference import predict
from stages.networks import Job, yolo
from stages.networks.yolo import training
from stages.networks.yolo.network import POSE_ARCHITECTURES, build, describe, initialise
from stages.people import ABSENT, FLIPPED, OCCLUDED, PERSON, VISIBLE, check_people, no_people, points
from stages.predictions import JOINTS, check_predictions
from stages.samples import BOX_COLUMNS, EMPTY, check_tables, true_people
from tests import test_yolo_family
from tests import training_helpers as tiny

NV8 = tiny.WEIGHTS / "yolov8n.pt"
# Where each joint of a drawn person lies in its box, as shares of width and height.
POSE = np.array([
    [0.2, 1.0], [0.25, 0.75], [0.35, 0.5], [0.65, 0.5], [0.75, 0.75], [0.8, 1.0], [0.5, 0.5], [0.5, 0.3],
    [0.5, 0.2], [0.5, 0.0], [0.0, 0.5], [0.1, 0.35], [0.3, 0.25], [0.7, 0.25], [0.9, 0.35], [1.0, 0.5],
])  # fmt: skip
DOCUMENT = {"freeze": 21, "cos_lr": True, "close_mosaic": 20, "dropout": 0.1, "hsv_h": 0.02, "hsv_s": 0.7, "hsv_v": 0.5}


settings = partial(test_yolo_family.settings, architecture="yolov8n-pose")
trained = test_yolo_family.trained


def scenes(root: Path, count: int, prefix: str, seed: int) -> tuple[pd.DataFrame, ...]:
    """Grey pictures of 80 x 60 px with one or two people, every fifth with none; their boxes, people and joints.

    A person is a blue rectangle with a red half on its right side. Its right ankle is absent, its left one occluded.
    """
    rng = np.random.default_rng(seed)
    pictures, boxes, people, joints = {}, [], [], []
    for i in range(count):
        rgb = np.clip(rng.normal(90, 8, (60, 80, 3)), 0, 255).astype(np.uint8)
        name = f"{prefix}{i:02}"
        for person in range(0 if i % 5 == 4 else 1 + i % 2):
            w, h = rng.integers(16, 30), rng.integers(30, 50)
            x, y = 40 * person + rng.integers(0, 40 - w), rng.integers(0, 60 - h)
            rgb[y : y + h, x : x + w] = tiny.COLOURS["blue"]
            rgb[y : y + h, x : x + w // 2] = tiny.COLOURS["red"]
            boxes.append((name, PERSON, x, y, x + w, y + h))
            people.append((name, person))
            for joint, (across, down) in enumerate(POSE):
                visible = {0: ABSENT, 5: OCCLUDED}.get(joint, VISIBLE)
                place = (x + across * w, y + down * h) if visible else (0.0, 0.0)
                joints.append((name, person, joint, *place, visible))
        pictures[name] = (EMPTY if i % 5 == 4 else "walking", rgb)
    return tiny.table(root, pictures), *tables(boxes, people, joints)


def tables(boxes: list[Any], people: list[Any], joints: list[Any]) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    kinds = {"sample_id": "str", "label": "str", **dict.fromkeys(BOX_COLUMNS, float)}
    boxed = pd.DataFrame(boxes, columns=list(kinds)).astype(kinds)
    rows = pd.DataFrame(people, columns=["sample_id", "person"])
    rows = rows.assign(**{name: np.nan for name in no_people()[0].columns if name not in rows})
    points = pd.DataFrame(joints, columns=["sample_id", "person", "joint", "x_px", "y_px", "visible"])
    return boxed, *check_people(rows.astype({"sample_id": "str"}), points.astype({"sample_id": "str"}))


def job(tmp_path: Path, train: int = 16, val: int = 8, **changes: Any) -> Job:
    root = tmp_path / "scenes"
    (a, *of_a), (b, *of_b) = scenes(root, train, "t", 1), scenes(root, val, "v", 2)
    boxes, people, joints = (pd.concat(pair, ignore_index=True) for pair in zip(of_a, of_b, strict=True))
    check_tables(pd.concat([a, b], ignore_index=True), boxes)
    own: dict[str, Any] = {"train": a, "val": b, "boxes": boxes, "people": people, "joints": joints, "root": root,
                           "classes": ("walking", EMPTY)}  # fmt: skip
    return replace(tiny.job(tmp_path), **(own | changes))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(folder / "weights.safetensors")


# --- the networks ------------------------------------------------------------------------------------------------------


def test_sizes_are_those_of_yolov8_pose() -> None:
    """Ultralytics names 3.3 M parameters for n and 11.6 M for s, with 17 joints."""
    plans = [describe(settings(architecture=name, scale=None)) for name in POSE_ARCHITECTURES]
    assert [plan["kpt_shape"] for plan in plans] == [[16, 3]] * 5
    sizes = [sum(p.numel() for p in build(plan, [PERSON]).parameters()) / 1e6 for plan in plans[:2]]
    assert sizes == pytest.approx([3.3, 11.6], abs=0.1)


def test_an_architecture_that_is_not_there_is_refused() -> None:
    with pytest.raises(DataError, match="allowed: yolov5n.*yolov8x-pose"):
        settings(architecture="yolo11n-pose")


@pytest.mark.skipif(not NV8.is_file(), reason="no shared weights here")
def test_a_detectors_weights_fill_all_but_the_layers_of_the_joints(tmp_path: Path) -> None:
    given = settings(scale=None, init=f"file:{NV8}")
    network = build(describe(given), [PERSON])
    said = initialise(network, given, tmp_path)
    state, fitting = network.state_dict(), int(said.rsplit(": ", 1)[1].partition(" ")[0])
    of_joints = [name for name in state if name.startswith("model.22.cv4.")]
    last = 6  # weights and biases of the classes' last layers; their row for people is carried over
    assert fitting == len(state) - len(of_joints) - last
    source = torch_safe_load(NV8, safe_only=True)[0]["model"].float().state_dict()
    shared = [name for name in state if not name.startswith("model.22.") and "num_batches" not in name]
    assert len(shared) > 200 and all(torch.equal(state[name], source[name]) for name in shared)


# --- what it learns from -----------------------------------------------------------------------------------------------


def data_set(tmp_path: Path, given_job: Job, mode: str = "train", **arguments: Any) -> training.Boxed:
    plain = dict.fromkeys(("mosaic", "translate", "scale", "fliplr", "hsv_h", "hsv_s", "hsv_v"), 0.0)
    made = settings(ultralytics=plain | arguments)
    network = build(describe(made), [PERSON])
    given_job.work.mkdir(parents=True, exist_ok=True)
    trainer = training.Trainer(made, given_job, network, [PERSON], given_job.work)
    trainer.stride, trainer.model = 32, network
    return trainer.build_dataset(mode, mode, batch=4)


def test_each_box_has_its_own_joints(tmp_path: Path) -> None:
    given_job = job(tmp_path, val=5)
    data = data_set(tmp_path, given_job, "val")
    sizes = np.array([80, 60, 1])
    for name, labels in zip(data.im_files, data.labels, strict=True):
        boxes = given_job.boxes.loc[given_job.boxes["sample_id"] == name, BOX_COLUMNS].to_numpy()
        assert labels["keypoints"].shape == (len(boxes), 16, 3)
        for (x, y, right, bottom), joints in zip(boxes, labels["keypoints"] * sizes, strict=True):
            true = [x, y] + POSE * [right - x, bottom - y]
            assert joints[0].tolist() == [0, 0, ABSENT] and joints[5, 2] == OCCLUDED
            assert joints[1:, :2] == pytest.approx(true[1:], abs=1e-4)


def test_a_mirrored_person_has_left_and_right_exchanged(tmp_path: Path) -> None:
    given_job = job(tmp_path)
    as_is, mirrored = (data_set(tmp_path, given_job, fliplr=share)[0, 1] for share in (0.0, 1.0))
    assert len(as_is["keypoints"]) == 2
    there = as_is["keypoints"][:, list(FLIPPED)]
    present = there[..., 2] > 0
    assert torch.equal(mirrored["keypoints"][..., 2], there[..., 2])
    assert torch.allclose(mirrored["keypoints"][..., 0][present], 1 - there[..., 0][present], atol=1e-4)
    assert torch.allclose(mirrored["keypoints"][..., 1][present], there[..., 1][present], atol=1e-4)
    assert torch.allclose(mirrored["bboxes"][:, 0], 1 - as_is["bboxes"][:, 0], atol=1e-4)


def test_what_an_item_becomes_depends_on_seed_epoch_and_item_alone(tmp_path: Path) -> None:
    data = data_set(tmp_path, job(tmp_path), mosaic=1.0, scale=0.5, close_mosaic=0)
    first, again, other = (data[key] for key in ((0, 3), (0, 3), (1, 3)))
    assert torch.equal(first["img"], again["img"]) and torch.equal(first["keypoints"], again["keypoints"])
    assert not torch.equal(first["img"], other["img"])
    assert len(first["keypoints"]) == len(first["bboxes"]) > 0


def test_people_without_boxes_and_boxes_without_people_are_named(tmp_path: Path) -> None:
    given_job = job(tmp_path)
    with pytest.raises(DataError, match="t01: not one box for each person"):
        yolo.train(settings(), replace(given_job, boxes=given_job.boxes.drop(index=1)))
    with pytest.raises(DataError, match="yolov8n-pose learns from people's joints, and the data set has none: take a detector"):
        yolo.train(settings(), replace(given_job, people=no_people()[0], joints=no_people()[1]))
    with pytest.raises(DataError, match="0 boxes in train"):
        yolo.train(settings(), replace(given_job, boxes=given_job.boxes.assign(label="blue")))


# --- training ----------------------------------------------------------------------------------------------------------


def test_a_training_leaves_all_that_prediction_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no(*_: Any, **__: Any) -> None:
        raise AssertionError("the network was reached for")

    monkeypatch.setattr(socket, "getaddrinfo", no)
    monkeypatch.setattr(socket.socket, "connect", no)
    given_job = job(tmp_path)
    before = {path.name: sha256_file(path) for path in given_job.root.iterdir()}
    result = yolo.train(settings(), given_job)
    write_manifest(given_job.out)
    card = json.loads((given_job.out / "model.json").read_text())
    assert card["classes"] == [PERSON, EMPTY]
    assert card["as_built"] == "yolov8n-pose, slimmed to 0.9 M parameters, at 64 px, scratch"
    assert card["trained_on"] == {
        "data": "embedded", "train": 16, "val": 8, "boxes": 20, "val_boxes": 11, "left_out": {"train": 0, "val": 0},
        "classes_without_box": [], "seed": 0,
    }  # fmt: skip
    assert list(result.curve["epoch"]) == [0, 1]
    assert result.curve[["train_pose_loss", "val_pose_loss"]].gt(0).all(axis=None)
    assert result.curve["train_pose_loss"].lt(result.curve["train_loss"]).all()
    assert result.cost["parameters"] > 0 and result.cost["ms_an_image"] > 0

    network = replace(yolo.load(given_job.out), floor=0.0)
    assert (network.task, network.classes) == (JOINTS, (PERSON,))
    found = network(np.stack([np.full((64, 96, 3), 90, np.uint8)] * 2))
    assert len(found) == 2 and all(rows.shape[1] == 6 + 48 for rows in found)
    predictions = predict(network, given_job.val, given_job.root, 4)
    check_predictions(predictions, given_job.val["sample_id"])
    assert set(predictions["task"]) == {JOINTS}
    assert {path.name: sha256_file(path) for path in given_job.root.iterdir()} == before  # fault 45


def test_killed_and_taken_up_again_is_unbroken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = settings(epochs=3, ultralytics=dict(settings().ultralytics) | {"close_mosaic": 1, "warmup_epochs": 1.5, "freeze": 3})
    whole = trained(job(tmp_path, out=tmp_path / "whole", work=tmp_path / "work-whole"), made)
    broken = job(tmp_path, out=tmp_path / "broken", work=tmp_path / "work-broken")
    start = training.Trainer._on_train_epoch_start

    def stop(self: Any) -> None:
        if self.epoch == 1:
            raise KeyboardInterrupt
        start(self)

    with monkeypatch.context() as patch:
        patch.setattr(training.Trainer, "_on_train_epoch_start", stop)
        with pytest.raises(KeyboardInterrupt):
            trained(broken, made)
    assert sha256_file(trained(broken, made) / "weights.safetensors") == sha256_file(whole / "weights.safetensors")


def test_the_documents_settings_freeze_modules_0_to_20(tmp_path: Path) -> None:
    start = trained(job(tmp_path, out=tmp_path / "start", work=tmp_path / "work-start"), settings(epochs=1))
    made = settings(epochs=1, init="pretrained", ultralytics=settings().ultralytics | DOCUMENT)
    before, after = weights(start), weights(trained(job(tmp_path, needs=start), made))
    moved = {name for name in before if not torch.allclose(before[name].float(), after[name].float(), atol=1e-5)}
    modules = {int(name.split(".")[1]) for name in moved}
    assert modules == {21, 22}
    assert any(".cv4." in name for name in moved)  # the layers of the joints


def test_the_cosine_schedule_is_the_one_that_is_asked_for(tmp_path: Path) -> None:
    """Ultralytics' cosine of 4 epochs, from lr0 to lr0 * lrf, as it stands after each."""
    made = settings(epochs=4, ultralytics=settings().ultralytics | {"cos_lr": True, "lrf": 0.1})
    rates = yolo.train(made, job(tmp_path, train=8, val=4)).curve["learning_rate"]
    steps = (1 - np.cos(np.pi * np.arange(4) / 4)) / 2
    assert rates.tolist() == pytest.approx(0.003 * (1 + steps * (0.1 - 1)), rel=1e-3)


@pytest.mark.slow
def test_it_learns_where_joints_are(tmp_path: Path) -> None:
    given_job = job(tmp_path, train=60, val=10)
    made = settings(epochs=60, patience=60, scale=[0.33, 0.25], ultralytics=settings().ultralytics | {"fliplr": 0.0})
    found = predict(yolo.load(trained(given_job, made)), given_job.val, given_job.root)
    there = {
        name: np.stack(rows["joints"]).reshape(-1, 16, 3) for name, rows in found[found["score"] > 0.5].groupby("sample_id")
    }
    of_val = [
        table[table["sample_id"].isin(given_job.val["sample_id"])]
        for table in (given_job.people, given_job.joints, given_job.boxes)
    ]
    true = {name: points(people) for name, people in true_people(*of_val).groupby("sample_id")}
    near = [
        np.linalg.norm(there[name][:, None, :, :2] - joints[..., :2], axis=-1)[..., 1:].mean(-1).min(0)
        for name, joints in true.items()
    ]
    assert np.median(np.concatenate(near)) < 2  # px, mean over the joints but the absent one


# --- prediction --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "height"), [(200, 100), (64, 64), (37, 23)])
def test_joints_come_back_in_px_of_the_picture(tmp_path: Path, width: int, height: int) -> None:
    """A white rectangle is found by its brightness in the padded batch; its joints are its corners by turns."""
    rgb = np.full((height, width, 3), 20, np.uint8)
    x, y, right, bottom = width // 4, height // 4, width // 2, max(height // 4 + 1, 3 * height // 4)
    rgb[y:bottom, x:right] = 255
    pictures = tiny.table(tmp_path / "p", {"a": ("walking", rgb)})
    network = build(describe(settings()), [PERSON])
    folder = tmp_path / "untrained"
    folder.mkdir()
    (folder / "weights.safetensors").write_bytes(safetensors.torch.save(network.state_dict()))
    card = {"family": "yolo", "settings": settings().model_dump(), "plan": describe(settings()), "classes": [PERSON, EMPTY], "head_width": 25,
            "as_built": "", "image_px": 64}  # fmt: skip
    (folder / "model.json").write_text(json.dumps(card | {"head_width": yolo.network.width_of_head(network)}))
    write_manifest(folder)

    class Bright(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.nothing = torch.nn.Parameter(torch.zeros(1))  # says which device it is on

        def forward(self, batch: torch.Tensor) -> list[np.ndarray]:
            rows, columns = np.where(batch[0, ..., 0].numpy() > 137)
            box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            return [np.array([[*box, 0.9, 0, *[*box[:2], 0.8, *box[2:], 0.7] * 8]])]

    seen = replace(yolo.load(folder), module=Bright(), finish=lambda rows, _floor: rows)
    found = predict(seen, pictures, tmp_path / "p")
    px = max(1.0, max(width, height) / 64)  # of the picture, in one of the batch
    joints = np.array(found["joints"][0]).reshape(16, 3)
    assert np.abs(joints[:, :2] - [[x, y], [right, bottom]] * 8).max() <= px
    assert joints[:, 2].tolist() == [0.8, 0.7] * 8
    assert joints[:2, :2].ravel() == pytest.approx(found[BOX_COLUMNS].to_numpy()[0])
