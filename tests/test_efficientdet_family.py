"""The EfficientDet family: it finds coloured rectangles, its boxes are true to the pixel, and what does not fit is refused."""

import dataclasses
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from stages.files import DataError, check_manifest, sha256_file, write_json, write_manifest
from stages.inference import predict
from stages.loading import loader
from stages.networks import Job, efficientdet, family
from stages.networks.efficientdet import Answering, BoxedPictures, Detector, EfficientDetSettings
from stages.predictions import check_predictions
from stages.samples import BOX_COLUMNS
from tests.training_helpers import COLOURS, table

SLIM = {
    "backbone_name": "test_efficientnet", "backbone_args": {}, "fpn_channels": 16, "fpn_cell_repeats": 1,
    "box_class_repeats": 1, "max_level": 5, "redundant_bias": False, "anchor_scale": 2.0,
    "norm_kwargs": {"eps": 0.001, "momentum": 0.1},
}  # fmt: skip
EVERYTHING = {"flip": True, "zoom": 1.5, "rotate_deg": 20.0, "light": 0.3}
NO_BOXES = pd.DataFrame({name: [] for name in ("sample_id", "label", *BOX_COLUMNS)}).astype({"sample_id": str, "label": str})


def settings(**changes: Any) -> EfficientDetSettings:
    values: dict[str, Any] = {
        "options": SLIM, "image_px": 64, "epochs": 2, "batch_size": 4, "learning_rate": 0.004, "workers": 0,
    }  # fmt: skip
    return EfficientDetSettings.model_validate(values | changes)


def boxes_of(rows: list[tuple[str, str, tuple[float, ...]]]) -> pd.DataFrame:
    """A boxes table from (sample id, label, xyxy px)."""
    return pd.DataFrame(
        [dict(zip(NO_BOXES.columns, (name, label, *map(float, box)), strict=True)) for name, label, box in rows]
    )


def rectangles(root: Path, count: int, prefix: str, width: int = 80, height: int = 60) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`count` grey pictures by turns with a red rectangle, a blue one and none; the samples and the boxes."""
    rng = np.random.default_rng(len(prefix) * 100 + count)
    pictures, boxes = {}, []
    for i in range(count):
        rgb = rng.integers(90, 130, (height, width, 3), dtype=np.uint8)
        label = ("red", "blue", "empty")[i % 3]
        if label != "empty":
            x, y = rng.integers(2, width // 2), rng.integers(2, height // 2)
            w, h = rng.integers(width // 4, width // 2 - 2), rng.integers(height // 4, height // 2 - 2)
            rgb[y : y + h, x : x + w] = COLOURS[label]
            boxes.append((f"{prefix}{i:02}", label, (x, y, x + w, y + h)))
        pictures[f"{prefix}{i:02}"] = (label, rgb)
    return table(root, pictures), boxes_of(boxes) if boxes else NO_BOXES


def make_job(tmp_path: Path, train: int = 9, val: int = 6, name: str = "model", **changes: Any) -> Job:
    root = tmp_path / "pictures"
    (train_pictures, train_boxes), (val_pictures, val_boxes) = rectangles(root, train, "t"), rectangles(root, val, "v")
    out = tmp_path / "models" / name
    out.mkdir(parents=True, exist_ok=True)
    values: dict[str, Any] = {
        "train": train_pictures, "val": val_pictures, "boxes": pd.concat([train_boxes, val_boxes], ignore_index=True),
        "classes": ("blue", "red", "empty"), "root": root, "data": "embedded", "seed": 0, "work": tmp_path / "work" / name,
        "models": tmp_path / "models", "needs": tmp_path / "nothing", "out": out,
    }  # fmt: skip
    return Job(**(values | changes))


def trained(tmp_path: Path, chosen: EfficientDetSettings | None = None, **job: Any) -> tuple[Path, Job, Any]:
    """Train; (the model's folder with its manifest, the job, what train returned)."""
    the_job = make_job(tmp_path, **job)
    result = efficientdet.train(chosen or settings(), the_job)
    write_manifest(the_job.out)
    return the_job.out, the_job, result


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Job, Any]:
    """A tiny network trained for two epochs. Not to be changed: copy it first."""
    return trained(tmp_path_factory.mktemp("model"))


@pytest.fixture
def copied(model: tuple[Path, Job, Any], tmp_path: Path) -> tuple[Path, Job]:
    """A copy of the model's folder to damage, and its job."""
    return shutil.copytree(model[0], tmp_path / "copy"), model[1]


def card_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "model.json").read_text())


# --- what is left behind -----------------------------------------------------------------------------------------------


def test_a_model_says_all_that_is_needed_to_use_it(model: tuple[Path, Job, Any]) -> None:
    folder, _, result = model
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "model.json", "weights.safetensors"]
    assert check_manifest(folder) == []
    card = card_of(folder)
    assert (card["family"], card["classes"], card["without_boxes"]) == ("efficientdet", ["blue", "red", "empty"], [])
    assert card["as_built"].startswith("tf_efficientdet_d0, slimmed to 0.1 M parameters")
    assert card["as_built"].endswith(" at 64 px, scratch")
    assert card["trained_on"] == {
        "data": "embedded", "train": 9, "val": 6, "boxes": 6, "seed": 0,
        "left_out": {"train_pictures_without_box": 0, "val_pictures_without_box": 0,
                     "val_boxes_of_other_classes": 0, "train_boxes_below_1_px": 0, "val_boxes_below_1_px": 0},
    }  # fmt: skip
    assert EfficientDetSettings.model_validate(card["settings"]) == settings()
    assert set(result.cost) == {"parameters", "layers", "megabytes", "train_seconds", "epochs", "best_epoch", "ms_an_image",
                                "device"}  # fmt: skip
    module = efficientdet.load(folder).module
    assert not module.training
    assert result.cost["parameters"] == sum(p.numel() for p in module.parameters())
    assert 0 < result.cost["ms_an_image"] < 1000
    assert result.cost["epochs"] == len(result.curve) == 2
    assert {"val_loss", "val_class_loss", "val_box_loss", "train_loss"} <= set(result.curve)


def test_the_family_is_found_by_its_name() -> None:
    assert family("efficientdet").SETTINGS is EfficientDetSettings


# --- it learns ---------------------------------------------------------------------------------------------------------


def test_every_gradient_is_finite_and_reaches_every_part() -> None:
    torch.manual_seed(0)
    module = Detector(efficientdet.build("tf_efficientdet_d0", SLIM, 2, 64), settings(), [])
    targets = torch.tensor([[[10.0, 5, 40, 30, 1], [-1, -1, -1, -1, -1]], [[0, 0, 60, 50, 2], [5, 5, 20, 20, 1]]])
    loss, class_loss, box_loss = module.losses(torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8), targets)
    assert loss.item() == pytest.approx(class_loss.item() + 50 * box_loss.item())
    loss.backward()
    for name, parameter in module.network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    assert module.network.class_net.predict.conv_pw.bias.grad.abs().min() > 0


def test_a_batch_without_any_box_trains_on_background() -> None:
    torch.manual_seed(0)
    module = Detector(efficientdet.build("tf_efficientdet_d0", SLIM, 2, 64), settings(), [])
    pictures = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    for targets in (torch.full((2, 3, 5), -1.0), torch.empty(2, 0, 5)):
        loss, class_loss, box_loss = module.losses(pictures, targets)
        assert loss.item() == pytest.approx(class_loss.item())
        assert box_loss.item() == 0
        loss.backward()


def test_it_finds_the_rectangles_that_it_was_shown(tmp_path: Path) -> None:
    """Overfitting on purpose: 8 pictures, found again with the right colour and an IoU above 0.5, nothing in empty ones."""
    chosen = settings(epochs=4, batch_size=8, learning_rate=0.01, weight_decay=0.0, score_floor=0.3)
    job = make_job(tmp_path, train=8)
    shown, boxes = (
        pd.concat([rows.assign(sample_id=rows["sample_id"] + f"-{time}") for time in range(16)], ignore_index=True)
        for rows in (job.train, job.boxes[job.boxes["sample_id"].isin(job.train["sample_id"])])
    )
    again = dataclasses.replace(job, train=shown, val=job.train, boxes=pd.concat([job.boxes, boxes], ignore_index=True))
    efficientdet.train(chosen, again)
    write_manifest(job.out)
    found = predict(efficientdet.load(job.out), job.train, job.root).groupby("sample_id").first()
    true = job.boxes.set_index("sample_id")
    for sample_id, label in job.train.set_index("sample_id")["label"].items():
        assert found.loc[sample_id, "label"] == label
        if label != "empty":
            assert iou(found.loc[sample_id, BOX_COLUMNS], true.loc[sample_id, BOX_COLUMNS]) > 0.5


def iou(one: Any, other: Any) -> float:
    from torchvision.ops import box_iou

    return float(box_iou(*(torch.tensor([list(map(float, box))]) for box in (one, other))))


def test_fault_51_same_seed_same_file_another_seed_another(tmp_path: Path) -> None:
    chosen = settings(**EVERYTHING)
    hashes = [
        sha256_file(trained(tmp_path / str(number), chosen, seed=seed)[0] / "weights.safetensors")
        for number, seed in enumerate((5, 5, 6))
    ]
    assert hashes[0] == hashes[1]
    assert hashes[0] != hashes[2]


def test_fault_50_stopped_and_taken_up_again_is_unbroken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All that a killed training leaves lies in `work`: it is stopped within its third epoch and started anew."""
    options = SLIM | {"backbone_args": {"drop_path_rate": 0.5}}
    chosen = settings(epochs=4, **EVERYTHING, options=options)
    unbroken, _, one = trained(tmp_path / "unbroken", chosen)
    original = Detector.training_step

    def killed(self: Detector, batch: Any, number: int) -> Any:
        if self.current_epoch == 2 and number == 1:
            raise KeyboardInterrupt
        return original(self, batch, number)

    with monkeypatch.context() as patch:
        patch.setattr(Detector, "training_step", killed)
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path / "broken", chosen)
    capsys.readouterr()
    again, _, two = trained(tmp_path / "broken", chosen)
    assert "going on from" in capsys.readouterr().out
    assert sha256_file(again / "weights.safetensors") == sha256_file(unbroken / "weights.safetensors")
    assert two.curve.equals(one.curve)


def test_fault_48_a_nan_loss_names_the_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Detector.losses
    monkeypatch.setattr(Detector, "losses", lambda self, *batch: tuple(x * float("nan") for x in original(self, *batch)))
    with pytest.raises(DataError, match=r"the training loss is nan at epoch 0, step 0, batch 0 \(pictures \['t0"):
        trained(tmp_path)


# --- targets -----------------------------------------------------------------------------------------------------------


def boxed(tmp_path: Path, size: tuple[int, int], boxes: list[Any], training: bool = False, **changes: Any) -> BoxedPictures:
    """One grey picture `a` of (width, height) px with red boxes, and a second, `b`, with none."""
    grey = np.full((size[1], size[0], 3), 90, dtype=np.uint8)
    pictures = table(tmp_path, {"a": ("red", grey), "b": ("empty", grey)})
    rows = boxes_of([("a", "red", box) for box in boxes]) if boxes else NO_BOXES
    return BoxedPictures(pictures, rows, tmp_path, ["blue", "red"], settings(**changes), 0, training)


def test_boxes_are_squeezed_with_their_picture_and_filled_up(tmp_path: Path) -> None:
    data = boxed(tmp_path, (128, 32), [(10, 4, 20, 16), (0, 0, 128, 32)])
    rgb, targets, item = data[0, 0]
    assert (tuple(rgb.shape), rgb.dtype, item) == ((64, 64, 3), torch.uint8, 0)
    assert targets.tolist() == [[8, 5, 32, 10, 2], [0, 0, 64, 64, 2]], "y before x, as effdet has it, and blue is 1"
    assert data[0, 1][1].tolist() == [[-1] * 5] * 2
    assert [part.shape for part in next(iter(loader(data, 2)))] == [(2, 64, 64, 3), (2, 2, 5), (2,)]


def test_a_box_below_a_pixel_is_counted_and_no_target(tmp_path: Path) -> None:
    data = boxed(tmp_path, (640, 64), [(0, 0, 9.9, 64), (0, 0, 10, 64), (0, 3, 640, 3.9)])
    assert data.too_small == 2
    assert data[0, 0][1].tolist() == [[0, 0, 64, 1, 2]]
    assert len(data[0, 1][1]) == 1


def test_pictures_without_any_box_have_no_targets(tmp_path: Path) -> None:
    data = boxed(tmp_path, (64, 64), [], training=True, **EVERYTHING)
    assert data.too_small == 0
    assert data[0, 0][1].shape == (0, 5)


def test_boxes_are_mirrored_with_their_picture(tmp_path: Path) -> None:
    data = boxed(tmp_path, (64, 64), [(10, 4, 20, 16)], training=True, flip=True)
    seen = {tuple(data[epoch, 0][1][0].tolist()) for epoch in range(20)}
    assert seen == {(4, 10, 16, 20, 2), (4, 44, 16, 54, 2)}


def test_a_box_of_which_little_is_left_is_no_target() -> None:
    boxes = np.array([[-30.0, 0, 10, 10], [-29.9, 0, 10.1, 10], [60, 0, 80, 10], [-9, -9, -1, -1], [5, 5, 5.5, 50]])
    cut, kept = efficientdet.visible(boxes, 64)
    assert cut[0].tolist() == [0, 0, 10, 10]
    assert kept.tolist() == [True, True, False, False, False]


@pytest.fixture(scope="module")
def bright(tmp_path_factory: pytest.TempPathFactory) -> BoxedPictures:
    """A black picture of 64 px with a white rectangle, far enough from the edges to show no mirror image of itself there."""
    rgb = np.zeros((64, 64, 3), dtype=np.uint8)
    rgb[20:40, 24:36] = 255
    root = tmp_path_factory.mktemp("bright")
    pictures = table(root, {"a": ("red", rgb)})
    changes = EVERYTHING | {"light": 0.0, "zoom": 1.3}
    return BoxedPictures(pictures, boxes_of([("a", "red", (24, 20, 36, 40))]), root, ["red"], settings(**changes), 0, True)


@given(st.integers(0, 10**9))
@hypothesis_settings(deadline=None, max_examples=60)
def test_the_box_still_encloses_its_animal_after_augmentation(bright: BoxedPictures, epoch: int) -> None:
    rgb, targets, _ = bright[epoch, 0]
    y_min, x_min, y_max, x_max, _label = targets[0].tolist()
    rows, columns = np.nonzero(rgb.numpy()[..., 0] > 127)
    half = 0.5  # bilinear weights: the rim of the bright area is known to half a pixel
    assert y_min - half <= rows.min() and rows.max() + 1 <= y_max + half
    assert x_min - half <= columns.min() and columns.max() + 1 <= x_max + half
    assert (y_max - y_min) - (rows.max() + 1 - rows.min()) < 3, "and not by much"
    assert (x_max - x_min) - (columns.max() + 1 - columns.min()) < 3


# --- which pictures are learned from -----------------------------------------------------------------------------------


def test_what_has_no_box_is_left_out_counted_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = make_job(tmp_path, train=12, val=9)  # by turns red, blue, empty
    boxes = job.boxes.assign(label=job.boxes["label"].mask(job.boxes["sample_id"].eq("v04"), "green"))  # unknown in train
    boxes = boxes[
        ~boxes["sample_id"].isin(["t00", "v00"]) & ~(boxes["sample_id"].str.startswith("t") & boxes["label"].eq("blue"))
    ]
    tiny_box = boxes_of([("t03", "red", (0, 0, 0.5, 30))])
    job = dataclasses.replace(job, boxes=pd.concat([boxes, tiny_box], ignore_index=True))
    efficientdet.train(settings(epochs=1), job)
    assert "no box in train for blue: the detector will not know them" in capsys.readouterr().out
    card = card_of(job.out)
    assert card["classes"] == ["red", "empty"]
    assert card["without_boxes"] == ["blue"]
    about = card["trained_on"]
    assert (about["train"], about["val"], about["boxes"]) == (3 + 4, 2 + 3, 3)
    assert about["left_out"] == {"train_pictures_without_box": 1 + 4, "val_pictures_without_box": 1 + 3,
                                 "val_boxes_of_other_classes": 3, "train_boxes_below_1_px": 1, "val_boxes_below_1_px": 0}  # fmt: skip


@pytest.mark.parametrize("part", ["train", "val"])
def test_no_box_at_all_says_what_to_do(tmp_path: Path, part: str) -> None:
    job = make_job(tmp_path)
    job = dataclasses.replace(job, boxes=job.boxes[~job.boxes["sample_id"].str.startswith(part[0])])
    with pytest.raises(DataError, match=rf"none of the \d pictures in {part} has a box to learn from.*family image"):
        efficientdet.train(settings(), job)


def test_one_picture_is_not_enough(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="one picture with a box"):
        trained(tmp_path, train=1)


# --- prediction --------------------------------------------------------------------------------------------------------


def test_predictions_follow_the_pictures_and_stay_inside_them(model: tuple[Path, Job, Any]) -> None:
    folder, job, _ = model
    pictures = pd.concat([job.val, job.train], ignore_index=True).iloc[::-1].assign(label="never seen")
    found = check_predictions(predict(efficientdet.load(folder), pictures, job.root, 4), pictures["sample_id"])
    assert found["sample_id"].drop_duplicates().tolist() == pictures["sample_id"].tolist()
    boxes = found[found["label"] != "empty"]
    assert len(boxes) > 0
    assert set(boxes["label"]) <= {"blue", "red"}
    assert (boxes["score"] >= 0.001).all()
    assert boxes.groupby("sample_id").size().max() <= 100
    assert (boxes[["x_min_px", "y_min_px"]] >= 0).all(axis=None)
    assert (boxes[["x_max_px", "y_max_px"]] <= [80, 60]).all(axis=None)
    assert (boxes["x_max_px"] > boxes["x_min_px"]).all() and (boxes["y_max_px"] > boxes["y_min_px"]).all()
    alone = predict(efficientdet.load(folder), pictures, job.root, 1)
    assert (alone[BOX_COLUMNS] - found[BOX_COLUMNS]).abs().max(axis=None) < 0.01


def test_no_pictures_no_predictions(model: tuple[Path, Job, Any]) -> None:
    folder, job, _ = model
    found = check_predictions(predict(efficientdet.load(folder), job.val.iloc[:0], job.root), job.val["sample_id"].iloc[:0])
    assert len(found) == 0


def test_boxes_come_back_at_the_size_of_each_picture(model: tuple[Path, Job, Any], tmp_path: Path) -> None:
    folder, _, _ = model
    pictures = table(tmp_path, {
        "flat": ("red", np.zeros((32, 128, 3), np.uint8)),
        "tall": ("red", np.zeros((320, 16, 3), np.uint8)),
    })  # fmt: skip
    box = np.array([[16.0, 16, 32, 48, 0.5, 1]])
    network = dataclasses.replace(efficientdet.load(folder), finish=lambda outputs, _floor: [box] * len(outputs[0]))
    found = predict(network, pictures, tmp_path).set_index("sample_id")
    assert found.loc["flat", BOX_COLUMNS].tolist() == [32, 8, 64, 24]
    assert found.loc["tall", BOX_COLUMNS].tolist() == [4, 80, 8, 240]
    assert found["label"].tolist() == ["red", "red"]


def test_a_picture_5000_px_wide_trains_and_predicts(tmp_path: Path) -> None:
    job = make_job(tmp_path, train=4, val=4)
    wide = np.full((40, 5000, 3), 90, dtype=np.uint8)
    wide[10:30, 1000:3000] = COLOURS["red"]
    pictures = table(job.root, {"wide": ("red", wide)})
    boxes = boxes_of([("wide", "red", (1000, 10, 3000, 30))])
    job = dataclasses.replace(
        job,
        train=pd.concat([job.train, pictures], ignore_index=True),
        boxes=pd.concat([job.boxes, boxes], ignore_index=True),
    )
    efficientdet.train(settings(epochs=1), job)
    write_manifest(job.out)
    assert card_of(job.out)["trained_on"]["left_out"]["train_boxes_below_1_px"] == 0
    found = predict(efficientdet.load(job.out), pictures, job.root)
    assert found["x_max_px"].max() > 80
    assert found["x_max_px"].max() <= 5000
    assert found["y_max_px"].max() <= 40


def found_by(network: Any, pictures: torch.Tensor, **changes: Any) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Boxes (N, 4), scores (N,) and labels (N,) of each picture."""
    with torch.inference_mode():
        outputs = Answering(network, 64).eval()(pictures)
        rows = map(torch.from_numpy, efficientdet.finish(outputs, 0.0, settings(**changes)))
    return [(boxes[:, :4].float(), boxes[:, 4].float(), boxes[:, 5].long()) for boxes in rows]


def test_detections_are_effdet_s_own(tmp_path: Path) -> None:
    """At its fixed settings (IoU 0.5, 100 boxes, per class) the library finds the same boxes as we do."""
    import effdet

    torch.manual_seed(1)
    network = efficientdet.build("tf_efficientdet_d0", SLIM, 3, 64)
    torch.nn.init.normal_(network.class_net.predict.conv_pw.weight, std=0.5)
    torch.nn.init.normal_(network.box_net.predict.conv_pw.weight, std=0.3)
    network.eval()
    pictures = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    with torch.inference_mode():
        ours = found_by(network, pictures, score_floor=1e-6)
        effdet.config.set_config_writeable(network.config)
        network.config.max_detection_points = 900
        bench = effdet.DetBenchPredict(network).eval()
        about = {"img_scale": torch.ones(2), "img_size": torch.full((2, 2), 64.0)}
        theirs = bench(Answering(network, 64).normalise(pictures), about)
    for (boxes, scores, labels), expected in zip(ours, theirs, strict=True):
        count = min(30, len(boxes))
        assert count == 30
        assert torch.allclose(boxes[:count], expected[:count, :4], atol=1e-4)
        assert torch.allclose(scores[:count], expected[:count, 4], atol=1e-6)
        assert (labels[:count] + 1).tolist() == expected[:count, 5].tolist()


def test_the_settings_of_suppression_mean_what_they_say() -> None:
    torch.manual_seed(1)
    network = efficientdet.build("tf_efficientdet_d0", SLIM, 3, 64)
    torch.nn.init.normal_(network.class_net.predict.conv_pw.weight, std=0.5)
    pictures = torch.randint(0, 256, (1, 64, 64, 3), dtype=torch.uint8)

    def found(**changes: Any) -> tuple[torch.Tensor, ...]:
        return found_by(network, pictures, **changes)[0]

    _, scores, _ = found()
    assert scores.tolist() == sorted(scores.tolist(), reverse=True)
    assert len(found(max_boxes=7)[1]) == 7
    floor = float(scores[20])
    assert found(score_floor=floor)[1].min() >= floor
    assert len(found(score_floor=0.99999)[1]) == 0
    boxes, _, labels = found(nms_iou=0.2, max_boxes=1000)
    for label in range(3):
        same = boxes[labels == label]
        assert all(iou(same[i], same[j]) <= 0.2 for i in range(len(same)) for j in range(i))


# --- starting weights --------------------------------------------------------------------------------------------------


def test_a_pretraining_gives_all_but_the_class_head(model: tuple[Path, Job, Any], tmp_path: Path) -> None:
    before = efficientdet.build("tf_efficientdet_d0", SLIM, 3, 64)
    own = {name: tensor.clone() for name, tensor in before.state_dict().items()}
    said = efficientdet.initialise(before, settings(init="pretrained"), model[0])
    sha256 = sha256_file(model[0] / "weights.safetensors")
    assert said == f"pretrained model, sha256 {sha256}: {len(own) - 3} of {len(own)} tensors; the class head starts anew"
    weights = safetensors.torch.load_file(model[0] / "weights.safetensors")
    for name, tensor in before.state_dict().items():
        assert torch.equal(tensor, own[name] if name.startswith("class_net.predict.") else weights[name]), name


def test_training_from_a_pretraining_says_so(model: tuple[Path, Job, Any], tmp_path: Path) -> None:
    folder, _, _ = trained(tmp_path, settings(init="pretrained", epochs=1), needs=model[0])
    assert "tensors; the class head starts anew" in card_of(folder)["started_from"]
    assert card_of(folder)["init"] == "pretrained"


def test_a_pretraining_that_does_not_fit_is_refused(copied: tuple[Path, Job], tmp_path: Path) -> None:
    folder, _ = copied
    chosen = settings(init="pretrained")
    wider = efficientdet.build("tf_efficientdet_d0", SLIM | {"fpn_channels": 24}, 2, 64)
    with pytest.raises(DataError, match=r"not of this architecture: `box_net\.\S+` should be \(24\S* .*tensors do not fit"):
        efficientdet.initialise(wider, chosen, folder)
    deeper = efficientdet.build("tf_efficientdet_d0", SLIM | {"fpn_cell_repeats": 2}, 2, 64)
    with pytest.raises(DataError, match=r"`fpn\.cell\.1\.\S+` should be .*, found nothing"):
        efficientdet.initialise(deeper, chosen, folder)
    same = efficientdet.build("tf_efficientdet_d0", SLIM, 2, 64)
    with pytest.raises(DataError, match=r"no trained model there\. Name one in the entry's `needs`"):
        efficientdet.initialise(same, chosen, tmp_path / "nothing")
    write_json(folder / "model.json", card_of(folder) | {"family": "image"})
    with pytest.raises(DataError, match=r"model\.json: .* when it was written"):
        efficientdet.initialise(same, chosen, folder)
    write_manifest(folder)
    with pytest.raises(DataError, match="holds a model of family image, not efficientdet"):
        efficientdet.initialise(same, chosen, folder)


def test_a_file_of_plain_tensors_is_taken_and_a_pickle_is_not(model: tuple[Path, Job, Any], tmp_path: Path) -> None:
    network = efficientdet.build("tf_efficientdet_d0", SLIM, 3, 64)
    path = tmp_path / "mine.pth"
    torch.save(safetensors.torch.load_file(model[0] / "weights.safetensors"), path)
    assert efficientdet.initialise(network, settings(init=f"file:{path}"), tmp_path).startswith("file mine.pth, sha256 ")

    trace = tmp_path / "attacked"

    class Hostile:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(trace),)

    torch.save({"class_net.predict.conv_pw.bias": Hostile()}, path)
    with pytest.raises(DataError, match=r"mine\.pth: refused"):
        efficientdet.initialise(network, settings(init=f"file:{path}"), tmp_path)
    assert not trace.exists()
    with pytest.raises(DataError, match=r"none\.pth: no such file"):
        efficientdet.initialise(network, settings(init=f"file:{tmp_path}/none.pth"), tmp_path)


def test_the_published_weights_come_by_the_network_or_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: Any, **__: Any) -> Any:
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", offline)
    network = efficientdet.build("tf_efficientdet_d0", SLIM, 2, 64)
    with pytest.raises(
        DataError, match=r"could not be fetched \(OSError: no route to host\).*download https://\S+d0_34\S+\.pth"
    ):
        efficientdet.initialise(network, settings(init="coco"), tmp_path)
    with pytest.raises(DataError, match="effdet publishes no weights of `efficientdet_d2`"):
        efficientdet.initialise(network, settings(init="coco", variant="efficientdet_d2"), tmp_path)

    published = efficientdet.build("tf_efficientdet_d0", {}, 90, 64)
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *_, **__: published.state_dict())
    with pytest.raises(DataError, match="effdet's COCO weights: not of this architecture"):
        efficientdet.initialise(network, settings(init="coco"), tmp_path)
    whole = efficientdet.build("tf_efficientdet_d0", {}, 2, 64)
    assert "COCO weights: " in efficientdet.initialise(whole, settings(init="coco", options={}), tmp_path)
    assert torch.equal(whole.fpn.cell[0].fnode[0].combine.edge_weights, published.fpn.cell[0].fnode[0].combine.edge_weights)


# --- networks ----------------------------------------------------------------------------------------------------------


def test_d0_is_the_published_size_and_takes_the_document_s_320_px() -> None:
    network = efficientdet.build("tf_efficientdet_d0", {}, 90, 320)
    assert sum(p.numel() for p in network.parameters()) == 3_880_067
    assert network.config.image_size == [320, 320]


@pytest.mark.parametrize("image_px", [64, 96, 101, 200])
@pytest.mark.parametrize("levels", [5, 7])
def test_sizes_that_are_no_multiples_of_128_have_an_anchor_for_every_output(image_px: int, levels: int) -> None:
    network = efficientdet.build("tf_efficientdet_d0", SLIM | {"max_level": levels}, 2, image_px)
    module = Detector(network, settings(image_px=image_px), []).eval()
    with torch.inference_mode():
        classes, _ = module(torch.zeros(1, image_px, image_px, 3, dtype=torch.uint8))
    assert sum(level.shape[2] * level.shape[3] * 9 for level in classes) == len(module.anchors.boxes)


def test_options_that_effdet_cannot_build_are_named() -> None:
    with pytest.raises(DataError, match=r"effdet has no `fpn_chanels`\. Did you mean `fpn_channels`\? There is: act_type, "):
        efficientdet.build("tf_efficientdet_d0", {"fpn_chanels": 8}, 2, 64)
    with pytest.raises(DataError, match="effdet has no `image_size`"):
        efficientdet.build("tf_efficientdet_d0", {"image_size": [64, 64]}, 2, 64)
    with pytest.raises(DataError, match="`tf_efficientdet_d0` cannot be built with options .*no_such_net"):
        efficientdet.build("tf_efficientdet_d0", {"backbone_name": "no_such_net"}, 2, 64)
    with pytest.raises(DataError, match="`tf_efficientdet_d0` cannot be built with options .*'max_level': 3"):
        efficientdet.build("tf_efficientdet_d0", SLIM | {"max_level": 3}, 2, 64)
    other_strides = SLIM | {"backbone_indices": [1, 2, 3]}
    with pytest.raises(DataError, match="cannot be built with options .*'backbone_indices'.* at 64 px: "):
        efficientdet.build("tf_efficientdet_d0", other_strides, 2, 64)


@pytest.mark.parametrize(("change", "message"), [
    ({"variant": "tf_efficientdet_do"}, "no such variant in effdet. Did you mean tf_efficientdet_d"),
    ({"variant": "yolo"}, "no such variant in effdet."),
    ({"init": "imagenet"}, "allowed: scratch, coco, file:<path>, pretrained"),
    ({"init": "file:"}, "allowed: scratch"),
    ({"nms_iou": 0.0}, "greater than 0"),
    ({"score_floor": 1.0}, "less than 1"),
])  # fmt: skip
def test_settings_that_cannot_be_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        settings(**change)


# --- model files that are not what they were ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["weights.safetensors", "model.json"])
def test_fault_55_a_flipped_bit_is_a_sha256_mismatch(copied: tuple[Path, Job], name: str) -> None:
    folder, job = copied
    data = bytearray((folder / name).read_bytes())
    data[-3] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(DataError, match=rf"{name}: altered: sha256"):
        predict(efficientdet.load(folder), job.val, job.root)


def test_fault_56_weights_of_another_shape_are_named(copied: tuple[Path, Job]) -> None:
    folder, job = copied
    write_json(folder / "model.json", card_of(folder) | {"classes": ["blue", "green", "red", "empty"]})
    write_manifest(folder)
    with pytest.raises(
        DataError, match=r"`class_net\.predict\.conv_pw\.bias` is \(18,\) in the file, \(27,\) in tf_efficientdet_d0"
    ):
        predict(efficientdet.load(folder), job.val, job.root)
