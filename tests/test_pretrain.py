"""The short training of our own that other models start from: on other pictures than any model is scored on, of one class."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from stages import pose_scores, pretrain
from stages.embedded.objects import CLASSES
from stages.files import DataError, check_manifest, read_json, seed_from
from stages.networks import Job, Trained
from stages.people import ABSENT, PERSON
from stages.pictures import read_picture
from stages.pretrain import renderer
from stages.samples import BOX_COLUMNS, true_people
from stages.settings import Record

DRAW = {"images": 20, "locations": 4}
PEOPLE = {"images": 12, "least_px": 64, "most_px": 96}
YOLO = {
    "architecture": "yolov5n", "scale": [0.33, 0.125], "image_px": 64, "epochs": 1, "batch_size": 16, "workers": 0,
    "ultralytics": {"optimizer": "AdamW", "lr0": 0.002, "mosaic": 0.0},
}  # fmt: skip


def params(**entry: Any) -> dict[str, Any]:
    return {"pretrained": {"start": {"smoke": {"draw": DRAW, "train": {"epochs": 3}} | entry}}}


def words(family: str = "fake", seed: int = 0, draws: str = "camera_trap") -> tuple[Any, ...]:
    return ("pretrain", "--name", "start", "--family", family, "--draws", draws, "--params", "pretrained.start.smoke",
            "--seed", seed, "--out", "models/start")  # fmt: skip


class FakeSettings(Record):
    epochs: int


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """A family that trains nothing: the jobs that it is given."""
    jobs: list[Job] = []

    def train(settings: FakeSettings, job: Job) -> Trained:
        jobs.append(job)
        for row in job.train.head(3).itertuples():
            read_picture(job.root / row.path, row.sha256, 1)
        (job.out / "weights").write_text("w")
        return Trained({"epochs": settings.epochs, "train_seconds": 0.1}, pd.DataFrame())

    monkeypatch.setattr(pretrain, "family", lambda name: SimpleNamespace(SETTINGS=FakeSettings, train=train))
    return jobs


@pytest.mark.parametrize("entry", [{"draw": None, "train": None}, {"draw": None}, {"train": None}], ids=str)
def test_a_profile_that_pretrains_nothing_has_a_folder_that_says_so(
    stage: Callable[..., Any], fake: list[Job], entry: dict[str, Any]
) -> None:
    done = stage(*words(), params=params(**entry))
    assert done.code == 0, done.err
    assert done.out == "start: nothing is pretrained in this profile\n"
    assert read_json(Path("models/start/pretrain.json")) == {"pretrained": False}
    assert sorted(path.name for path in Path("models/start").iterdir()) == ["manifest.json", "pretrain.json"]
    assert check_manifest(Path("models/start")) == []
    assert fake == [] and not Path(".work").exists()


def test_all_pictures_are_animal_or_empty_and_cut_by_sequence(stage: Callable[..., Any], fake: list[Job]) -> None:
    done = stage(*words(), params=params())
    assert done.code == 0, done.err
    (job,) = fake
    assert job.classes == ("animal", "empty")
    assert {*job.train["label"], *job.val["label"]} == {"animal", "empty"}
    assert "animal" in set(job.val["label"])
    assert set(job.boxes["label"]) == {"animal"}
    assert set(job.boxes["sample_id"]) <= {*job.train["sample_id"], *job.val["sample_id"]}
    assert not set(job.train["seq_id"]) & set(job.val["seq_id"])
    together = len(job.train) + len(job.val)
    assert together >= 20
    assert len(job.val) / together == pytest.approx(0.15, abs=0.08)
    assert job.train.index.tolist() == list(range(len(job.train)))
    assert job.seed == seed_from(0, "pretrain") and job.data == "embedded"
    assert read_json(Path("models/start/pretrain.json")) == {"pretrained": True, "pictures": together, "epochs": 3}
    assert Path("models/start/weights").is_file()
    assert check_manifest(Path("models/start")) == []
    assert [path for path in Path(".work").rglob("*") if path.is_file()] == [], "the drawn pictures go with the state"
    assert done.out == f"start: {len(job.train)} pictures, 3 epochs, 0.1 s\n"


def test_all_people_are_of_one_class_and_come_with_their_joints(stage: Callable[..., Any], fake: list[Job]) -> None:
    done = stage(*words(draws="activity"), params=params(draw=PEOPLE))
    assert done.code == 0, done.err
    (job,) = fake
    assert job.classes == (PERSON,)
    assert {*job.train["label"], *job.val["label"], *job.boxes["label"]} == {PERSON}
    ids = {*job.train["sample_id"], *job.val["sample_id"]}
    assert set(job.boxes["sample_id"]) == set(job.people["sample_id"]) == ids, "nobody left, no picture left"
    assert len(job.boxes) == len(job.people) and len(job.joints) == 16 * len(job.people)
    about = true_people(job.people, job.joints, job.boxes)  # a box for each, in the same order
    points, boxes = pose_scores.points(about), about[BOX_COLUMNS].to_numpy()[:, None]
    there = points[..., 2] != ABSENT
    assert there.any(axis=1).all()
    inside = (points[..., :2] >= boxes[..., :2] - 1e-9) & (points[..., :2] <= boxes[..., 2:] + 1e-9)
    assert inside.all(axis=-1)[there].all()
    assert job.data == "embedded" and not set(job.train["seq_id"]) & set(job.val["seq_id"])
    assert read_json(Path("models/start/pretrain.json")) == {"pretrained": True, "pictures": len(ids), "epochs": 3}


def test_objects_keep_their_classes(stage: Callable[..., Any], fake: list[Job]) -> None:
    done = stage(*words(draws="objects"), params=params(draw={"images": 124}, val=0.25))
    assert done.code == 0, done.err
    (job,) = fake
    assert set(CLASSES) == set(job.classes) == set(job.val["label"])
    assert job.data == "embedded" and job.boxes.empty and job.people.empty
    assert read_json(Path("models/start/pretrain.json"))["pictures"] == len(job.train) + len(job.val) == 124


@pytest.mark.parametrize(
    ("draws", "draw", "message"),
    [
        ("camera_trap", {"images": 20, "cameras": 4}, "pretrained.start.smoke.draw.cameras: unknown key."),
        ("activity", DRAW, "pretrained.start.smoke.draw.locations: unknown key."),
        ("camera_trap", {"images": 2.5}, "pretrained.start.smoke.draw.images: given 2.5"),
    ],
)
def test_settings_that_the_renderer_does_not_have_are_refused_before_anything_is_drawn(
    stage: Callable[..., Any], fake: list[Job], draws: str, draw: dict[str, Any], message: str
) -> None:
    done = stage(*words(draws=draws), params=params(draw=draw))
    assert done.code == 1
    assert done.err.startswith(f"error: params.yaml: {message}")
    assert fake == [] and not Path("models").exists() and not Path(".work").exists()


def test_a_data_set_that_cannot_be_drawn_is_named(stage: Callable[..., Any], fake: list[Job]) -> None:
    done = stage(*words(draws="birds"), params=params())
    assert (done.code, fake) == (2, [])
    assert "invalid choice: 'birds' (choose from" in done.err


def test_a_broken_off_training_keeps_its_pictures_and_state_and_an_earlier_result(
    stage: Callable[..., Any], fake: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stage(*words(), params=params()).code == 0
    before = Path("models/start/pretrain.json").read_bytes()
    whole = pretrain.family("fake").train  # the fixture's

    def broken(settings: FakeSettings, job: Job) -> Trained:
        job.work.mkdir(parents=True)
        (job.work / "last.ckpt").write_text("state")
        raise DataError("broken off")

    with monkeypatch.context() as patch:
        patch.setattr(pretrain, "family", lambda name: SimpleNamespace(SETTINGS=FakeSettings, train=broken))
        done = stage(*words(), params=params(train={"epochs": 4}))
    assert (done.code, done.err) == (1, "error: broken off\n")
    assert Path("models/start/pretrain.json").read_bytes() == before
    (drawn,) = Path(".work").rglob("annotations.json")
    written = drawn.stat().st_mtime_ns

    def again(settings: FakeSettings, job: Job) -> Trained:
        assert (job.work / "last.ckpt").read_text() == "state"
        assert drawn.stat().st_mtime_ns == written, "nothing is drawn twice"
        return whole(settings, job)

    monkeypatch.setattr(pretrain, "family", lambda name: SimpleNamespace(SETTINGS=FakeSettings, train=again))
    assert stage(*words(), params=params(train={"epochs": 4})).code == 0
    assert read_json(Path("models/start/pretrain.json"))["epochs"] == 4
    assert not drawn.exists()


def test_pictures_that_a_broken_off_training_of_another_data_set_left_are_not_taken(
    stage: Callable[..., Any], fake: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(settings: FakeSettings, job: Job) -> Trained:
        raise DataError("broken off")

    draw = {"images": 6}
    with monkeypatch.context() as patch:
        patch.setattr(pretrain, "family", lambda name: SimpleNamespace(SETTINGS=FakeSettings, train=broken))
        assert stage(*words(), params=params(draw=draw)).err == "error: broken off\n"
    done = stage(*words(draws="activity"), params=params(draw=draw))
    assert done.code == 0, done.err
    assert fake[0].classes == (PERSON,)


@pytest.mark.parametrize(("draws", "draw"), [("camera_trap", {"images": 8, "locations": 3}), ("activity", PEOPLE)])
def test_pictures_are_drawn_by_the_seed_alone(tmp_path: Path, draws: str, draw: dict[str, int]) -> None:
    settings = renderer(draws).SETTINGS(**draw)
    tables = [pretrain.drawn(draws, settings, seed, tmp_path / str(n)).pictures for n, seed in enumerate((1, 1, 2))]
    pd.testing.assert_frame_equal(tables[0], tables[1])
    assert not set(tables[0]["sha256"]) & set(tables[2]["sha256"])


def test_the_pictures_are_others_than_a_data_set_draws_from_the_same_seed(
    stage: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a detector would have seen what it is scored on."""
    camera_trap = renderer("camera_trap")
    camera_trap.write(Path("own").absolute(), camera_trap.SETTINGS(**DRAW), 0)
    own = {path.read_bytes() for path in Path("own/images").iterdir()}
    seen: list[bytes] = []

    def train(settings: FakeSettings, job: Job) -> Trained:
        seen.extend((job.root / path).read_bytes() for path in [*job.train["path"], *job.val["path"]])
        return Trained({"epochs": 1, "train_seconds": 0.1}, pd.DataFrame())

    monkeypatch.setattr(pretrain, "family", lambda name: SimpleNamespace(SETTINGS=FakeSettings, train=train))
    assert stage(*words(seed=0), params=params()).code == 0
    assert len(seen) >= 20
    assert not set(seen) & own


def test_yolo_is_pretrained_and_leaves_a_start(stage: Callable[..., Any]) -> None:
    done = stage(*words("yolo"), params=params(draw={"images": 60, "locations": 12}, train=YOLO))
    assert done.code == 0, done.err
    start = Path("models/start")
    assert check_manifest(start) == []
    assert read_json(start / "model.json")["classes"] == ["animal", "empty"]
    about = read_json(start / "pretrain.json")
    assert about["pretrained"] and about["pictures"] >= 60 and about["epochs"] == 1
    assert list(start.glob("*.safetensors"))
    assert [path for path in Path(".work/start").rglob("*") if path.is_file()] == []
    assert sorted(path.name for path in Path(".").iterdir()) == [".work", "models", "params.yaml"], "nothing is left elsewhere"
