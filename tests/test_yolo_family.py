"""YOLOv5 through Ultralytics: it learns from a Job, alters nothing, reaches for nothing, and answers in the pictures' own px."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
from PIL import Image

from stages.files import DataError, sha256_file, write_manifest
from stages.inference import predict
from stages.networks import Job, yolo
from stages.networks.yolo import training
from stages.networks.yolo.network import ARCHITECTURES, YoloSettings, build, describe, initialise
from stages.pictures import LostPicture
from stages.predictions import check_predictions
from stages.samples import BOX_COLUMNS, BOXES, EMPTY
from stages.settings import section
from tests import training_helpers as tiny
from tests.disk_helpers import fill, small_disk

ROOT = Path(__file__).parent.parent
NV5 = tiny.WEIGHTS / "yolov5nu.pt"
GREY = (90, 90, 90)


def settings(**changes: Any) -> YoloSettings:
    """A training of about a second: the smallest network that YOLOv5's plan allows, 64 px."""
    values: dict[str, Any] = {
        "architecture": "yolov5n", "scale": [0.33, 0.1], "image_px": 64, "epochs": 2, "batch_size": 8, "workers": 0,
        "ultralytics": {"optimizer": "AdamW", "lr0": 0.003, "warmup_epochs": 0.0, "mosaic": 0.5},
    }  # fmt: skip
    return section("m", YoloSettings, {"m": values | changes})


def scenes(root: Path, count: int, prefix: str, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Grey pictures of 80 x 60 px with a red or a blue rectangle each, every fifth with none; and their boxes."""
    rng = np.random.default_rng(seed)
    pictures, boxes = {}, []
    for i in range(count):
        rgb = np.clip(rng.normal(GREY, 8, (60, 80, 3)), 0, 255).astype(np.uint8)
        label = EMPTY if i % 5 == 4 else ("blue", "red")[i % 2]
        if label != EMPTY:
            w, h = rng.integers(16, 32, 2)
            x, y = rng.integers(0, 80 - w), rng.integers(0, 60 - h)
            rgb[y : y + h, x : x + w] = tiny.COLOURS[label]
            boxes.append((f"{prefix}{i:02}", label, x, y, x + w, y + h))
        pictures[f"{prefix}{i:02}"] = (label, rgb)
    return tiny.table(root, pictures), boxed(*boxes)


def boxed(*rows: tuple[Any, ...]) -> pd.DataFrame:
    table = pd.DataFrame(list(rows), columns=["sample_id", "label", *BOX_COLUMNS])
    return BOXES.validate(table.astype({"sample_id": "str", "label": "str", **dict.fromkeys(BOX_COLUMNS, float)}))


def job(tmp_path: Path, train: int = 16, val: int = 8, **changes: Any) -> Job:
    root = tmp_path / "scenes"
    (a, in_a), (b, in_b) = scenes(root, train, "t", 1), scenes(root, val, "v", 2)
    boxes = pd.concat([in_a, in_b], ignore_index=True)
    own: dict[str, Any] = {"train": a, "val": b, "boxes": boxes, "root": root, "classes": ("blue", "red", EMPTY)}
    return replace(tiny.job(tmp_path), **(own | changes))


trained = partial(tiny.trained_by, yolo)


# --- the networks ------------------------------------------------------------------------------------------------------


def test_sizes_are_those_of_yolov5() -> None:
    counts = []
    for architecture in ARCHITECTURES:
        network = build(describe(settings(architecture=architecture, scale=None)), ["a", "b"])
        counts.append(sum(parameter.numel() for parameter in network.parameters()))
    assert counts == sorted(counts)
    assert 2.4e6 < counts[0] < 2.7e6 and 96e6 < counts[-1] < 98e6  # Ultralytics names 2.6 and 97.2 M, with 80 classes


@pytest.mark.parametrize(("changes", "message"), [
    ({"architecture": "yolov8n"}, "allowed: yolov5n, yolov5s"),
    ({"image_px": 100}, "a multiple of 32: 96 or 128"),
    ({"init": "imagenet"}, "allowed: scratch, coco, pretrained, file:<path>"),
    ({"init": "file:"}, "allowed: scratch, coco, pretrained, file:<path>"),
    ({"ultralytics": {"lr": 0.1}}, "`lr` is no training argument of Ultralytics that may be set here. Did you mean lrf"),
    ({"ultralytics": {"epochs": 3}}, "`epochs` is no training argument"),
    ({"ultralytics": {"mosaic": 3.0}}, "mosaic"),
])  # fmt: skip
def test_settings_that_cannot_be_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message.replace("(", r"\(")):
        settings(**changes)


@pytest.mark.skipif(not NV5.is_file(), reason="no shared weights here")
def test_published_weights_fill_the_network_but_its_classes(tmp_path: Path) -> None:
    network = build(describe(settings(scale=None)), ["raccoon", "cat"])
    said = initialise(network, settings(scale=None, init=f"file:{NV5}"), tmp_path)
    fitting, total = map(int, said.rsplit(": ", 1)[1].removesuffix(" tensors").split(" of "))
    assert total == len(network.state_dict()) and total - 8 <= fitting < total
    assert sha256_file(NV5) in said


@pytest.mark.skipif(not NV5.is_file(), reason="no shared weights here")
def test_a_model_that_started_from_published_weights_is_saved_and_loaded(tmp_path: Path) -> None:
    """Their class head is wider than one for two classes: the model keeps it, and is rebuilt with it."""
    given_job = job(tmp_path)
    folder = trained(given_job, settings(scale=None, init=f"file:{NV5}", epochs=1))
    assert json.loads((folder / "model.json").read_text())["head_width"] == 80
    check_predictions(predict(yolo.load(folder), given_job.val, given_job.root), given_job.val["sample_id"])


@pytest.mark.skipif(not NV5.is_file(), reason="no shared weights here")
def test_fault_56_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    network = build(describe(settings()), ["a", "b"])
    with pytest.raises(
        DataError, match=r"not of this architecture: only \d+ of \d+ tensors fit yolov5n at scale \(0.33, 0.1\)"
    ):
        initialise(network, settings(init=f"file:{NV5}"), tmp_path)


def test_fault_53_a_hostile_checkpoint_is_refused_without_effect(tmp_path: Path) -> None:
    mark = tmp_path / "ran"

    class Touch:
        def __reduce__(self) -> Any:
            return Path.touch, (mark,)

    for name, payload in (("plain.pt", Touch()), ("model.pt", {"model": Touch(), "ema": None})):
        path = tmp_path / name
        torch.save(payload, path)
        with pytest.raises(DataError, match=f"{name}: refused: damaged, or more than a network of Ultralytics"):
            initialise(build(describe(settings()), ["a"]), settings(init=f"file:{path}"), tmp_path)
        assert not mark.exists()


def test_a_start_that_is_not_there_is_named(tmp_path: Path) -> None:
    network = build(describe(settings()), ["a"])
    with pytest.raises(DataError, match=r"none\.pt: no such file"):
        initialise(network, settings(init="file:none.pt"), tmp_path)
    with pytest.raises(DataError, match="holds no pretrained network. Name one in the model's `needs`"):
        initialise(network, settings(init="pretrained"), tmp_path)


# --- training ----------------------------------------------------------------------------------------------------------


def test_a_training_leaves_all_that_prediction_needs(tmp_path: Path) -> None:
    given_job = job(tmp_path)
    result = yolo.train(settings(), given_job)
    write_manifest(given_job.out)
    card = json.loads((given_job.out / "model.json").read_text())
    assert card["classes"] == ["blue", "red", EMPTY]
    assert card["as_built"] == "yolov5nu, slimmed to 0.6 M parameters, at 64 px, scratch"
    assert card["trained_on"] == {
        "data": "embedded", "train": 16, "val": 8, "boxes": 13, "val_boxes": 7, "left_out": {"train": 0, "val": 0},
        "classes_without_box": [], "seed": 0,
    }  # fmt: skip
    assert list(result.curve["epoch"]) == [0, 1] and result.curve["val_loss"].gt(0).all()
    assert result.cost["epochs"] == 2 and result.cost["parameters"] > 0 and result.cost["ms_an_image"] > 0
    assert sum(t.numel() for t in safetensors.torch.load_file(given_job.out / "weights.safetensors").values()) > 1e5
    found = predict(yolo.load(given_job.out), given_job.val, given_job.root, 4)
    check_predictions(found, given_job.val["sample_id"])


@pytest.mark.slow
def test_it_learns_to_find_rectangles(tmp_path: Path) -> None:
    given_job = job(tmp_path, train=48, val=10)
    made = settings(epochs=50, patience=50, scale=[0.33, 0.25])
    found = predict(yolo.load(trained(given_job, made)), given_job.val, given_job.root)
    best = found.drop_duplicates("sample_id").merge(given_job.boxes, on="sample_id", suffixes=("", "_true"))
    assert (best["label"] == best["label_true"]).mean() >= 0.75
    apart = np.abs(best[BOX_COLUMNS].to_numpy() - best[[f"{name}_true" for name in BOX_COLUMNS]].to_numpy()).mean(axis=1)
    assert np.median(apart) < 4


def test_fault_51_equal_seeds_give_equal_weights_and_others_others(tmp_path: Path) -> None:
    sums = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        given_job = job(tmp_path, seed=seed, out=tmp_path / name, work=tmp_path / f"work-{name}")
        sums.append(sha256_file(trained(given_job, settings()) / "weights.safetensors"))
    assert sums[0] == sums[1] != sums[2]


class Killed(Exception):
    pass


@pytest.mark.parametrize("after", [0, 1])
def test_fault_50_killed_and_taken_up_again_is_unbroken(tmp_path: Path, after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    made = settings(epochs=4, patience=4, ultralytics=dict(settings().ultralytics) | {"close_mosaic": 2, "warmup_epochs": 1.5})
    unbroken = trained(job(tmp_path, out=tmp_path / "whole", work=tmp_path / "work-whole"), made)
    broken = job(tmp_path, out=tmp_path / "broken", work=tmp_path / "work-broken")
    broken.out.mkdir()
    start = training.Trainer._on_train_epoch_start

    def stop(self: Any) -> None:
        if self.epoch == after + 1:
            raise Killed
        start(self)

    with monkeypatch.context() as patch:
        patch.setattr(training.Trainer, "_on_train_epoch_start", stop)
        with pytest.raises(Killed):
            yolo.train(made, broken)
    result = yolo.train(made, broken)
    assert sha256_file(broken.out / "weights.safetensors") == sha256_file(unbroken / "weights.safetensors")
    assert list(result.curve["epoch"]) == [0, 1, 2, 3]


def test_a_training_killed_at_its_very_end_is_not_trained_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given_job = job(tmp_path)
    first = yolo.train(settings(), given_job)
    monkeypatch.setattr(training.Trainer, "train", lambda self: pytest.fail("trained again"))
    assert yolo.train(settings(), given_job).curve.equals(first.curve)


def test_fault_49_a_damaged_state_starts_from_the_first_epoch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given_job = job(tmp_path)
    trained(given_job, settings())
    for path in given_job.work.rglob(training.LAST):
        path.write_bytes(path.read_bytes()[:1000])
    yolo.train(settings(), given_job)
    assert "is damaged" in capsys.readouterr().out


def test_early_stopping_and_the_best_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fitness = iter([0.2, 0.4, 0.3, 0.4, 0.1, 0.9])
    validate = training.Trainer.validate

    def scripted(self: Any) -> Any:
        metrics, _ = validate(self)
        found = next(fitness)
        self.best_fitness = max(found, -1 if self.epoch == 0 else self.best_fitness)
        return metrics, found

    monkeypatch.setattr(training.Trainer, "validate", scripted)
    result = yolo.train(settings(epochs=6, patience=3), job(tmp_path))
    assert (result.cost["epochs"], result.cost["best_epoch"]) == (5, 1)


def test_fault_48_a_loss_that_is_not_finite_is_named_and_nothing_is_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_job = job(tmp_path)
    step = training.Trainer.optimizer_step

    def poisoned(self: Any) -> None:
        step(self)
        if self.epoch == 1:
            self.loss = torch.tensor(float("nan"))

    monkeypatch.setattr(training.Trainer, "optimizer_step", poisoned)
    with pytest.raises(
        DataError, match=r"the training loss is nan at epoch 1, after step \d+, learning rate .*lower ultralytics.lr0"
    ):
        yolo.train(settings(epochs=3), given_job)
    assert not list(given_job.out.iterdir())


def test_classes_without_a_box_and_pictures_without_one_are_left_out_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    full = job(tmp_path)
    gone = full.boxes[~((full.boxes["label"] == "red") & full.boxes["sample_id"].str.startswith("t"))]
    card = json.loads((trained(replace(full, boxes=gone), settings(epochs=1)) / "model.json").read_text())
    assert card["classes"] == ["blue", EMPTY]
    assert card["trained_on"]["classes_without_box"] == ["red"]
    red = int((full.train["label"] == "red").sum())
    assert card["trained_on"]["train"] == 16 - red and card["trained_on"]["left_out"]["train"] == red
    assert "which a detector cannot learn: red" in capsys.readouterr().out


def test_no_box_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="0 boxes in train and 0 of their classes in val: a detector learns from boxes"):
        yolo.train(settings(), job(tmp_path, boxes=tiny.no_boxes()))


def test_boxes_of_no_size_at_the_size_of_training_stop_nothing(tmp_path: Path) -> None:
    """In a picture 5,000 px wide a box of 10 px is an eighth of a pixel at 64 px."""
    given_job = job(tmp_path, train=8)
    wide = tiny.table(given_job.root, {"t99": ("red", np.full((50, 5000, 3), 90, np.uint8))})
    boxes = pd.concat([given_job.boxes, boxed(("t99", "red", 100, 20, 110, 30))], ignore_index=True)
    folder = trained(
        replace(given_job, train=pd.concat([given_job.train, wide], ignore_index=True), boxes=boxes), settings(epochs=1)
    )
    assert json.loads((folder / "model.json").read_text())["trained_on"]["train"] == 9


def as_jpeg_with_more_behind_it(given: Job, sample_id: str) -> Job:
    """One picture of train becomes a JPEG that every decoder reads, with two zeros behind its end, as cameras write them."""
    train = given.train.copy()
    (row,) = train.index[train["sample_id"] == sample_id]
    memory = io.BytesIO()
    Image.open(given.root / train.at[row, "path"]).convert("RGB").save(memory, "JPEG", quality=95)
    path = given.root / f"{sample_id}.jpg"
    path.write_bytes(memory.getvalue() + b"\0\0")
    (given.root / train.at[row, "path"]).unlink()
    train.loc[row, ["path", "sha256", "bytes"]] = [path.name, sha256_file(path), path.stat().st_size]
    return replace(given, train=train)


def test_fault_45_what_ultralytics_would_rewrite_stays_as_it_is(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Its own reader saves a JPEG anew that does not end as it expects, in its place among the data."""
    given_job = as_jpeg_with_more_behind_it(job(tmp_path), "t03")
    cache = tmp_path / "cache"
    cache.mkdir()
    for path in given_job.root.iterdir():
        os.link(path, cache / path.name)
        path.chmod(0o444)

    def state() -> dict[str, tuple[str, int, int, int]]:
        found = [*given_job.root.rglob("*"), *cache.rglob("*")]
        return {
            str(path): (sha256_file(path), path.stat().st_mtime_ns, path.stat().st_ino, path.stat().st_mode) for path in found
        }

    before = state()
    yolo.train(settings(), given_job)
    assert state() == before

    from ultralytics.data.utils import verify_image

    copy = tmp_path / "copy.jpg"
    copy.write_bytes((given_job.root / "t03.jpg").read_bytes())
    verify_image(((str(copy), 0), ""))
    assert sha256_file(copy) != before[str(given_job.root / "t03.jpg")][0], "theirs does rewrite such a file"
    record_property("says", "(nothing to say: training gets pictures in memory, and every file is as it was)")


def test_fault_57_out_of_memory_suggests_a_batch_size_and_leaves_no_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ultralytics itself would halve the batch in silence, and train another model on another machine."""
    given_job, asked = job(tmp_path), []

    def hungry(self: Any) -> None:
        asked.append(self.batch_size)
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")

    monkeypatch.setattr(training.Trainer, "preprocess_batch", lambda self, _: hungry(self))
    with pytest.raises(DataError, match=r"out of GPU memory at batch_size 8: try batch_size=4 \(CUDA out of memory"):
        yolo.train(settings(), given_job)
    assert asked == [8] and not list(given_job.out.iterdir())


def test_fault_43_a_full_disk_stops_training_and_the_state_before_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unbroken = trained(job(tmp_path, out=tmp_path / "whole", work=tmp_path / "work-whole"), settings(epochs=3))
    with small_disk(tmp_path / "disk", size_kib=60_000) as disk:
        broken = job(tmp_path, out=tmp_path / "broken", work=disk / "work")
        broken.out.mkdir()
        save = training.Trainer.save_model

        def then_fill(self: Any) -> bool:
            if self.epoch == 1:
                fill(disk, leave_bytes=500_000)
            return save(self)

        with monkeypatch.context() as patch:
            patch.setattr(training.Trainer, "save_model", then_fill)
            with pytest.raises(DataError, match="disk full while writing .*it goes on behind the last epoch"):
                yolo.train(settings(epochs=3), broken)
        assert not list(broken.out.iterdir()) and not list(disk.rglob("*.partial"))
        (disk / "filler").unlink()
        yolo.train(settings(epochs=3), broken)
    assert sha256_file(broken.out / "weights.safetensors") == sha256_file(unbroken / "weights.safetensors")


def test_fault_39_a_picture_that_changed_since_clean_is_refused(tmp_path: Path) -> None:
    given_job = job(tmp_path)
    (given_job.root / "t03.png").write_bytes((given_job.root / "t04.png").read_bytes())
    with pytest.raises(LostPicture, match=r"t03\.png: altered since it was cleaned"):
        yolo.train(settings(), given_job)


def test_what_an_item_becomes_depends_on_seed_epoch_and_item_alone(tmp_path: Path) -> None:
    given_job = job(tmp_path)
    made = settings(ultralytics={"mosaic": 1.0, "close_mosaic": 1}, epochs=2)
    network = build(describe(made), ["blue", "red"])
    given_job.work.mkdir(parents=True)
    trainer = training.Trainer(made, given_job, network, ["blue", "red"], given_job.work)
    trainer.stride, trainer.model = 32, network
    data = trainer.build_dataset("train", batch=4)
    first, again, other = (data[key]["img"] for key in ((0, 3), (0, 3), (1, 3)))
    assert torch.equal(first, again) and not torch.equal(first, other)
    sizes = [len(data[epoch, 3]["cls"]) for epoch in (0, 1)]
    assert sizes[0] > 1 >= sizes[1]  # four pictures in a mosaic, and none in the last epoch


def test_a_pretraining_is_a_start(tmp_path: Path) -> None:
    animal = job(tmp_path, out=tmp_path / "models/animal")
    animal = replace(animal, boxes=animal.boxes.assign(label="animal"))
    start = trained(animal, settings(epochs=1))
    made = settings(init="pretrained", scale=[0.67, 0.1], epochs=1)  # deeper: what the start lacks begins from scratch
    card = json.loads((trained(job(tmp_path, needs=start), made) / "model.json").read_text())
    fitting, total = map(int, card["started_from"].rsplit(": ", 1)[1].removesuffix(" tensors").split(" of "))
    assert total / 2 < fitting < total


# --- prediction --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "height"), [(200, 100), (100, 200), (64, 64), (5000, 40), (37, 23)])
def test_boxes_come_back_in_px_of_the_picture(tmp_path: Path, width: int, height: int) -> None:
    """A white rectangle is found by its brightness in the padded batch: what comes back is where it was drawn."""
    rgb = np.full((height, width, 3), 20, np.uint8)
    x, y, right, bottom = width // 4, height // 4, width // 2, max(height // 4 + 1, 3 * height // 4)
    rgb[y:bottom, x:right] = 255
    pictures = tiny.table(tmp_path / "p", {"a": ("blue", rgb)})
    folder = trained(job(tmp_path), settings(epochs=1))

    class Bright(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.nothing = torch.nn.Parameter(torch.zeros(1))  # says which device it is on

        def forward(self, batch: torch.Tensor) -> list[np.ndarray]:
            rows, columns = np.where(batch[0, ..., 0].numpy() > 137)
            return [np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1, 0.9, 0]])]

    network = replace(yolo.load(folder), module=Bright(), finish=lambda boxes, _floor: boxes)
    found = predict(network, pictures, tmp_path / "p")
    px = max(1.0, max(width, height) / 64)  # of the picture, in one of the batch
    assert np.abs(found[BOX_COLUMNS].to_numpy()[0] - [x, y, right, bottom]).max() <= px
    assert found["label"].tolist() == ["blue"]


def test_pictures_of_all_shapes_in_one_call_and_none_is_missing(tmp_path: Path) -> None:
    shapes = [(40, 60), (60, 40), (40, 60), (10, 300), (1000, 5000)]
    pictures = tiny.table(
        tmp_path / "p", {f"s{i}": ("blue", np.full((h, w, 3), 99, np.uint8)) for i, (h, w) in enumerate(shapes)}
    )
    folder = trained(job(tmp_path), settings(epochs=1))
    found = predict(yolo.load(folder), pictures, tmp_path / "p", 2)
    check_predictions(found, pictures["sample_id"])
    assert found["sample_id"].drop_duplicates().tolist() == pictures["sample_id"].tolist()
    some = found.dropna().merge(pictures, on="sample_id")
    assert (some["x_max_px"] <= some["width_px"]).all() and (some["y_max_px"] <= some["height_px"]).all()
    assert predict(yolo.load(folder), pictures[:0], tmp_path / "p").empty


def test_fault_55_altered_weights_are_refused(tmp_path: Path) -> None:
    given_job = job(tmp_path)
    folder = trained(given_job, settings(epochs=1))
    path = folder / "weights.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(DataError, match=r"weights\.safetensors: altered"):
        predict(yolo.load(folder), given_job.val, given_job.root)


# --- what it keeps from ------------------------------------------------------------------------------------------------

OFFLINE = """
import socket, sys
def no(*_, **__): raise AssertionError("the network was reached for")
socket.getaddrinfo = socket.create_connection = socket.socket.connect = no
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests import test_yolo_family as t
folder = t.trained(t.job(Path("here")), t.settings(epochs=1))
given = t.job(Path("here"))
t.predict(t.yolo.load(folder), given.val, given.root)
"""


def test_neither_the_network_nor_the_home_is_touched(tmp_path: Path) -> None:
    home, here = tmp_path / "home", tmp_path / "run"
    home.mkdir()
    here.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("YOLO", "XDG"))}
    environment = kept | {"HOME": str(home), "PYTHONPATH": str(ROOT), "ULTRALYTICS_API_KEY": "a" * 40, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE, str(ROOT)], cwd=here, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert [path for path in home.rglob("*") if "ltralytics" in str(path)] == []
    assert (here / ".work/ultralytics").is_dir()
    assert list(here.rglob("dvc.yaml")) == [] and list(here.rglob("dvclive")) == []


def test_pictures_are_opened_as_before() -> None:
    """Ultralytics replaces PIL's `open` with one that installs a package where a file is no picture."""
    from PIL import Image

    assert Image.open.__module__ == "PIL.Image"
