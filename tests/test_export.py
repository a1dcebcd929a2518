"""ONNX files: who has the file alone finds what `predict` finds, and a file that answers otherwise is never written."""

import contextlib
import io
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torchvision.ops import batched_nms

from stages import trained
from stages.export import Difference, difference, export, main, read_pictures, smooth_noise
from stages.files import DataError, read_json, sha256_file, write_json, write_manifest
from stages.inference import predict
from stages.networks import Job, image
from stages.pictures import cut, decode
from stages.regions import squares
from stages.samples import BOX_COLUMNS
from tests import test_crop_family as crop_family
from tests import test_efficientdet_family as efficientdet_family
from tests import test_yolo_family as yolo_family
from tests import training_helpers as tiny

ROOT = Path(__file__).parent.parent
DETECTORS = ["yolo", "efficientdet"]


@dataclass(frozen=True)
class Project:
    folder: Path
    jobs: dict[str, Job]
    said: str  # by the command, for all its models
    noise: list[object]  # what it said to developers

    def onnx(self, key: str) -> Path:
        return self.folder / "exported" / f"{key}.onnx"

    def model(self, key: str) -> Path:
        return self.folder / "models" / key


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A tiny model of each family, trained for a moment and exported by one command. Not to be changed."""
    folder = tmp_path_factory.mktemp("project")
    image_job = tiny.job(folder / "image", out=folder / "models/image")
    crop_job = crop_family.patch_job(folder / "crop", out=folder / "models/crop")
    yolo_job = yolo_family.job(folder / "yolo", out=folder / "models/yolo")
    for job in (image_job, crop_job):
        job.out.mkdir(parents=True)
    image.train(tiny.settings(), image_job)
    write_manifest(image_job.out)
    crop_family.trained(crop_job, crop_family.settings(epochs=1))
    yolo_family.trained(yolo_job, yolo_family.settings(epochs=1, scale=[0.1, 0.1]))
    (folder / "models/efficientdet").mkdir()
    _, efficientdet_job, _ = efficientdet_family.trained(folder / "efficientdet", out=folder / "models/efficientdet")
    answers = folder / "data/answers/zoo/image"
    answers.mkdir(parents=True)
    write_json(answers / "chosen.json", {"temperature": 1.25})
    write_manifest(answers)
    jobs = {"image": image_job, "crop": crop_job, "yolo": yolo_job, "efficientdet": efficientdet_job}
    said, noise = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(record=True, action="always") as caught:
        patch.chdir(folder)
        patch.setattr("sys.argv", ["export", *jobs])
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(noise):
            main()
    return Project(folder, jobs, said.getvalue(), [*caught, *noise.getvalue().splitlines()])


# --- one who has the file and nothing else -----------------------------------------------------------------------------


class User:
    """Knows what the file's metadata say, OpenCV and ONNX Runtime."""

    def __init__(self, path: Path) -> None:
        self.session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        self.notes = self.session.get_modelmeta().custom_metadata_map
        self.classes = json.loads(self.notes["classes"])
        self.side_px = int(self.notes["side_px"])

    def run(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        names = list(json.loads(self.notes["outputs"]))
        return dict(zip(names, self.session.run(names, {"pictures": batch}), strict=True))

    def squeezed(self, rgb: np.ndarray) -> np.ndarray:
        assert "squeezed" in self.notes["input"]
        grows = rgb.shape[0] <= self.side_px and rgb.shape[1] <= self.side_px
        return cv2.resize(rgb, (self.side_px, self.side_px), interpolation=cv2.INTER_LINEAR if grows else cv2.INTER_AREA)

    def letterboxed(self, rgb: np.ndarray) -> tuple[np.ndarray, int]:
        """80 x 60 px fit in 64 px as 64 x 48, with 8 rows of grey above and below. (picture, rows above)"""
        assert "letterboxed" in self.notes["input"] and self.side_px == 64 and rgb.shape == (60, 80, 3)
        small = cv2.resize(rgb, (64, 48), interpolation=cv2.INTER_AREA)
        return cv2.copyMakeBorder(small, 8, 8, 0, 0, cv2.BORDER_CONSTANT, value=(114, 114, 114)), 8

    def finds(self, scores: np.ndarray, xyxy: np.ndarray) -> list[tuple[str, float, list[float]]]:
        """Scores (A, C) and boxes (A, 4) -> (class, score, xyxy in px of the input), duplicates suppressed."""
        place, label = np.nonzero(scores >= float(self.notes["score_floor"]))
        given = (torch.from_numpy(values) for values in (xyxy[place], scores[place, label], label))
        kept = batched_nms(*given, float(self.notes["nms_iou"]))[: int(self.notes["max_boxes"])].numpy()
        return [(self.classes[label[i]], scores[place[i], label[i]], xyxy[place[i]].tolist()) for i in kept]


def pictures_of(job: Job) -> list[np.ndarray]:
    return [decode((job.root / path).read_bytes())[0] for path in job.val["path"]]


def test_whole_pictures_get_the_probabilities_that_predict_gives(project: Project) -> None:
    user, job = User(project.onnx("image")), project.jobs["image"]
    found = user.run(np.stack([user.squeezed(rgb) for rgb in pictures_of(job)]))["probabilities"]
    table = predict(trained.load(project.model("image")), job.val, job.root)
    expected = table.pivot(index="sample_id", columns="label", values="score").loc[job.val["sample_id"], user.classes]
    assert found == pytest.approx(expected.to_numpy(), abs=1e-3)
    assert (found.argmax(axis=1) == expected.to_numpy().argmax(axis=1)).all()


def test_what_lies_in_a_box_gets_the_class_that_predict_gives(project: Project) -> None:
    user, job = User(project.onnx("crop")), project.jobs["crop"]
    boxes = job.boxes[job.boxes["sample_id"].isin(job.val["sample_id"])].reset_index(drop=True)
    certain = crop_family.found_by_a_detector(boxes, [1.0] * len(boxes), job.val["sample_id"])
    table = predict(trained.load(project.model("crop")), job.val, job.root, boxes=certain)
    rgb = dict(zip(job.val["sample_id"], pictures_of(job), strict=True))
    for row, box in zip(
        table.itertuples(), squares(table[BOX_COLUMNS], 0.1, *np.full((2, len(table)), [[80], [60]])), strict=True
    ):
        found = user.run(user.squeezed(cut(rgb[row.sample_id], 80, box))[None])["probabilities"][0]
        assert (user.classes[found.argmax()], found.max()) == (row.label, pytest.approx(row.score, abs=1e-3))


def yolo_boxes(user: User, rgb: np.ndarray) -> list[tuple[str, float, list[float]]]:
    shown, above_px = user.letterboxed(rgb)
    places = user.run(shown[None])["boxes"][0].T
    centre, size = places[:, :2], places[:, 2:4]
    found = user.finds(places[:, 4:], np.hstack([centre - size / 2, centre + size / 2]))
    return [(label, score, [(x - above_px * (i % 2)) * 80 / 64 for i, x in enumerate(box)]) for label, score, box in found]


def efficientdet_boxes(user: User, rgb: np.ndarray) -> list[tuple[str, float, list[float]]]:
    outputs = user.run(user.squeezed(rgb)[None])
    found = user.finds(outputs["scores"][0], outputs["boxes"][0])
    return [(label, score, (np.array(box) * [80 / 64, 60 / 64, 80 / 64, 60 / 64]).tolist()) for label, score, box in found]


@pytest.mark.parametrize(("key", "find"), [("yolo", yolo_boxes), ("efficientdet", efficientdet_boxes)])
def test_boxes_are_those_that_predict_finds(project: Project, key: str, find: Callable[..., Any]) -> None:
    user, job = User(project.onnx(key)), project.jobs[key]
    table = predict(trained.load(project.model(key)), job.val, job.root)
    for sample_id, rgb in zip(job.val["sample_id"], pictures_of(job), strict=True):
        found = find(user, rgb)
        xyxy = np.clip([box for _, _, box in found], 0, [80, 60, 80, 60])
        scores = np.array([score for _, score, _ in found])
        for row in table[table["sample_id"] == sample_id].head(5).itertuples():
            box = np.array([getattr(row, name) for name in BOX_COLUMNS])
            alike = (np.abs(xyxy - box).max(axis=1) < 0.5) & (np.abs(scores - row.score) < 1e-3)
            assert row.label in {found[i][0] for i in np.flatnonzero(alike)}


@pytest.mark.parametrize("key", ["image", "crop", *DETECTORS])
def test_pictures_of_a_batch_get_what_each_gets_alone(project: Project, key: str) -> None:
    user = User(project.onnx(key))
    three = np.stack([tiny.noise(user.side_px, seed) for seed in range(3)])
    together = user.run(three)
    assert {len(output) for output in together.values()} == {3}
    for i in range(3):
        for name, output in user.run(three[i : i + 1]).items():
            assert output[0] == pytest.approx(together[name][i], abs=1e-3)


@pytest.mark.parametrize("sides", [(32, 64), (96, 32), (32, 32), (128, 160)])
def test_yolo_takes_any_whole_strides(project: Project, sides: tuple[int, int]) -> None:
    batch = np.random.default_rng(0).integers(0, 256, (2, *sides, 3), dtype=np.uint8)
    network = trained.load(project.model("yolo"))
    with torch.inference_mode():
        expected = network.module(torch.from_numpy(batch)).numpy()
    assert User(project.onnx("yolo")).run(batch)["boxes"] == pytest.approx(expected, abs=5e-3)


def test_files_tell_how_to_use_them(project: Project) -> None:
    notes = {key: User(project.onnx(key)).notes for key in project.jobs}
    for key, told in notes.items():
        card = read_json(project.model(key) / "model.json")
        assert told["key"] == key
        assert told["as_built"] == card["as_built"]
        assert told["trained_on"] == "embedded"
        assert told["weights_sha256"] == sha256_file(project.model(key) / "weights.safetensors")
        assert json.loads(told["classes"]) == ["blue", "red"]
    assert [notes[key]["task"] for key in notes] == [
        "classification of a picture", "classification of what lies in a box", "detection", "detection",
    ]  # fmt: skip
    assert notes["image"]["temperature"] == "1.25" and "temperature" not in notes["crop"]
    assert notes["crop"]["boxes_from"] == "nothing" and "0.1 of its longer side" in notes["crop"]["region"]
    assert "multiples of 32 px" in notes["yolo"]["input"]
    assert [notes["efficientdet"][name] for name in ("score_floor", "nms_iou", "max_boxes")] == ["0.001", "0.5", "100"]


def test_files_hold_no_path_of_this_machine(project: Project) -> None:
    for key in project.jobs:
        data = project.onnx(key).read_bytes()
        for path in (str(ROOT), str(project.folder), "site-packages"):
            assert path.encode() not in data


# --- the command -------------------------------------------------------------------------------------------------------


def test_the_command_says_what_it_measured_and_no_more(project: Project) -> None:
    assert project.noise == []
    first, header, *rows, last = project.said.splitlines()
    assert first.endswith("CPU, threads: 1")
    assert header.split() == "model MB score apart px apart PyTorch ms ONNX ms ratio".split()
    assert [row.split()[0] for row in rows] == list(project.jobs)
    for row in rows:
        megabytes, score, box_px, torch_ms, onnx_ms, ratio = map(float, row.split()[1:])
        assert megabytes > 0 and score < 1e-3 and box_px < 0.5
        least = (onnx_ms - 0.005) / (torch_ms + 0.005)  # the times are printed to hundredths, and so is their ratio
        most = (onnx_ms + 0.005) / (torch_ms - 0.005)
        assert least - 0.006 <= ratio <= most + 0.006
    assert last == "written to exported: each gives PyTorch's classes and boxes on all of 12 pictures of noise"


def test_a_wrong_name_lists_those_there_are(
    project: Project, stage: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.folder)
    done = stage("export", "image", "imago", "--out", "elsewhere")
    assert done.code == 1
    assert "no trained model `imago`" in done.err and all(key in done.err for key in project.jobs)
    assert not (project.folder / "elsewhere").exists()


def test_photos_of_a_folder_are_what_is_checked_on(tmp_path: Path, picture: Callable[..., bytes]) -> None:
    (tmp_path / "card" / "é").mkdir(parents=True)
    (tmp_path / "card" / "é" / "a.jpg").write_bytes(picture(1, 40, 30, "JPEG"))
    (tmp_path / "card" / "b.png").write_bytes(picture(2, 20, 30))
    (tmp_path / "card" / "c.jpg").write_bytes(b"no picture")
    (tmp_path / "card" / "notes.txt").write_text("a note")
    assert sorted(rgb.shape for rgb in read_pictures(tmp_path / "card")) == [(30, 20, 3), (30, 40, 3)]
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "c.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError, match="bad: no picture there that can be read"):
        read_pictures(tmp_path / "bad")


# --- files that answer otherwise ---------------------------------------------------------------------------------------


class Drifting(nn.Module):
    """A network that is exported as another than it runs."""

    def __init__(self, network: nn.Module, drift: Callable[[Any], Any]) -> None:
        super().__init__()
        self.network, self.drift = network, drift

    def forward(self, pictures: Tensor) -> Any:
        outputs = self.network(pictures)
        return self.drift(outputs) if torch.compiler.is_exporting() else outputs


@pytest.mark.parametrize(("drift", "message"), [
    (lambda p: p + 0.002, r"m\.onnx: not written: .* differ by up to 0\.002 in a score .* agree on 12 of 12 pictures"),
    (lambda p: p[: int(p.sum())] if p.sum() > 1 else p, "PyTorch cannot export test_resnet"),  # no one graph does this
])  # fmt: skip
def test_a_file_that_answers_otherwise_is_not_written(project: Project, tmp_path: Path, drift: Any, message: str) -> None:
    (tmp_path / "m.onnx").write_bytes(b"an earlier one")
    network = trained.load(project.model("image"))
    with pytest.raises(DataError, match=message):
        export(replace(network, module=Drifting(network.module, drift)), tmp_path / "m.onnx", {}, smooth_noise())
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"an earlier one"]


@pytest.mark.parametrize(("theirs", "same", "small"), [
    ([[0.7, 0.3], [0.4995, 0.5005]], 2, True),
    ([[0.702, 0.298], [0.4995, 0.5005]], 2, False),
    ([[0.7, 0.3], [0.5001, 0.4999]], 1, False),  # close, but another class
    ([[0.7, 0.3], [np.nan, np.nan]], 1, False),
])  # fmt: skip
def test_classes_are_the_same_and_probabilities_within_a_thousandth(
    project: Project, theirs: Any, same: int, small: bool
) -> None:
    ours = np.array([[0.7, 0.3], [0.4995, 0.5005]], dtype=np.float32)
    found = difference(trained.load(project.model("image")), [ours], [np.array(theirs, dtype=np.float32)])
    assert (found.pictures, found.same_answer) == (2, same)
    assert (Difference() + found).small is (found + Difference()).small is small


@pytest.mark.parametrize(("change", "score", "box_px", "same"), [
    (lambda boxes, scores: None, 0.0, 0.0, True),
    (lambda boxes, scores: boxes.__iadd__(0.25), 0.0, 0.25, True),
    (lambda boxes, scores: boxes.__iadd__(1.0), 0.0, 1.0, False),
    (lambda boxes, scores: scores.__isub__(0.01), 0.01, 0.0, False),
    (lambda boxes, scores: scores.__setitem__(slice(None), scores[..., ::-1].copy()), 0.8, 0.0, False),  # other labels
    (lambda boxes, scores: scores.__setitem__((0, 1), 0.0), 0.9, 0.0, False),  # one is missing
    (lambda boxes, scores: scores.__setitem__((0, 2, 0), 0.0009), 0.0004, 0.0, True),  # at the floor, not as sure
])  # fmt: skip
def test_boxes_are_the_same_within_half_a_pixel(project: Project, change: Any, score: float, box_px: float, same: bool) -> None:
    boxes = np.array([[[2, 2, 20, 20], [30, 30, 50, 60], [2, 40, 20, 60]]], dtype=np.float32)
    scores = np.array([[[0.5, 0.0], [0.1, 0.9], [0.0013, 0.0]]], dtype=np.float32)
    theirs = [scores.copy(), boxes.copy()]
    change(theirs[1], theirs[0])
    found = difference(trained.load(project.model("efficientdet")), [scores, boxes], theirs)
    assert (found.score, found.box_px) == (pytest.approx(score, abs=1e-6), box_px)
    assert (found.pictures, found.same_answer) == (1, int(same))


def test_the_noise_is_the_same_every_time() -> None:
    assert [rgb.shape for rgb in smooth_noise()] == [(480, 640, 3), (640, 480, 3)] * 6
    assert all(np.array_equal(*pair) for pair in zip(smooth_noise(), smooth_noise(), strict=True))
    assert pd.Series([rgb.mean() for rgb in smooth_noise()]).nunique() == 12
