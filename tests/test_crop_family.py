"""Detect, then classify: what is cut out is what lies in the box, and a model of it answers for a detector's boxes."""

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from stages import classifier
from stages.files import DataError, sha256_bytes, sha256_file, write_manifest
from stages.inference import predict
from stages.loading import LoadSettings, Pictures
from stages.networks import Job, crop, family
from stages.networks.crop import CropSettings, crops
from stages.pictures import cut, decode
from stages.predictions import box_rows, check_predictions, class_rows
from stages.regions import Regions, squares
from stages.samples import BOX_COLUMNS, BOXES
from stages.settings import section
from tests import training_helpers as tiny

GREY, RED = (90, 90, 90), (250, 0, 0)
WIDTH_PX, HEIGHT_PX = 80, 60


def box_table(*rows: tuple[Any, ...]) -> pd.DataFrame:
    """(sample_id, label, x_min, y_min, x_max, y_max) -> true boxes."""
    table = pd.DataFrame(list(rows), columns=["sample_id", "label", *BOX_COLUMNS])
    return BOXES.validate(table.astype({"sample_id": "str", "label": "str", **dict.fromkeys(BOX_COLUMNS, float)}))


def found_by_a_detector(boxes: pd.DataFrame, scores: list[float], sample_ids: pd.Series) -> pd.DataFrame:
    return box_rows(boxes.assign(label="animal", score=scores), sample_ids)


# --- the square --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("box", "margin", "square"), [
    ((20, 20, 40, 30), 0.0, (20, 15, 40, 35)),  # the shorter side grows
    ((20, 20, 40, 30), 0.25, (15, 10, 45, 40)),  # a quarter of the longer side on each side
    ((0, 20, 4, 40), 0.0, (0, 20, 20, 40)),  # at the left edge it is moved inwards
    ((70, 50, 80, 60), 0.5, (60, 40, 80, 60)),  # and in the last corner
    ((0, 0, 80, 60), 0.5, (0, 0, 80, 60)),  # no more than the picture
    ((0, 10, 70, 20), 0.0, (0, 0, 70, 60)),  # as wide as it should be, as high as it can be
    ((30, 30, 30, 30), 0.5, (30, 30, 30, 30)),
])  # fmt: skip
def test_a_crop_is_a_square_about_the_box(box: tuple[float, ...], margin: float, square: tuple[float, ...]) -> None:
    assert squares([box], margin, [WIDTH_PX], [HEIGHT_PX]).tolist() == [list(square)]


sides = st.integers(1, 6000)
shares = st.floats(0, 1)


@given(sides, sides, shares, shares, shares, shares, st.floats(0, 3))
def test_a_crop_lies_in_the_picture_holds_the_box_and_is_square_where_it_can_be(
    width: int, height: int, a: float, b: float, c: float, d: float, margin: float
) -> None:
    box = np.array([min(a, c) * width, min(b, d) * height, max(a, c) * width, max(b, d) * height])
    square = squares([box], margin, [width], [height])[0]
    within = 1e-9 * max(width, height)
    assert (square[:2] >= 0).all()
    assert (square[2:] <= np.array([width, height]) + within).all()
    assert (square[:2] <= box[:2] + within).all()
    assert (square[2:] >= box[2:] - within).all()
    wanted = max(box[2:] - box[:2]) * (1 + 2 * margin)
    assert square[2:] - square[:2] == pytest.approx(np.minimum(wanted, [width, height]), abs=within)


# --- what is cut out ---------------------------------------------------------------------------------------------------


def one_picture(root: Path, data: bytes, name: str, width_px: int, height_px: int) -> pd.DataFrame:
    """A samples table of one file with these bytes."""
    table = tiny.table(root, {"p": ("red", tiny.noise(4, 0))})
    (root / name).write_bytes(data)
    return table.assign(path=name, sha256=sha256_bytes(data), width_px=width_px, height_px=height_px)


def picture_bytes(rgb: np.ndarray, kind: str, **save: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, kind, **save)
    return buffer.getvalue()


def cut_out(pictures: pd.DataFrame, root: Path, boxes: pd.DataFrame, image_px: int, margin: float = 0.0) -> list[np.ndarray]:
    cut, _ = crops(pictures, boxes, margin)
    data = Pictures(cut, root, (), LoadSettings.model_validate({"image_px": image_px, "workers": 0}), 0, training=False)
    return [data[0, i][0].numpy() for i in range(len(data))]


@pytest.mark.parametrize("corner", [(0, 0), (7, 3), (33, 41), (57, 37), (1, 37)])
def test_a_crop_is_exactly_what_lies_in_the_box(tmp_path: Path, corner: tuple[int, int]) -> None:
    """Unscaled, every pixel of the box and no other."""
    x, y, side = *corner, 23 if corner != (33, 41) else 19
    rgb = tiny.noise(100, 5)[:HEIGHT_PX, :WIDTH_PX]
    pictures = tiny.table(tmp_path, {"p": ("red", rgb)})
    found = cut_out(pictures, tmp_path, box_table(("p", "red", x, y, x + side, y + side)), side)
    assert np.array_equal(found[0], rgb[y : y + side, x : x + side])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_crop_is_of_the_picture_the_right_way_up(tmp_path: Path, orientation: int) -> None:
    """A red square in the picture as it is seen, whichever way the camera lay; its file is stored turned."""
    upright = np.full((HEIGHT_PX, WIDTH_PX, 3), GREY, np.uint8)
    upright[8:24, 48:64] = RED
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the turn that the viewer's turn takes back, as PIL numbers them
    image = Image.fromarray(upright)
    stored = image if orientation == 1 else image.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    pictures = one_picture(tmp_path, picture_bytes(np.asarray(stored), "PNG", exif=exif), "p.png", WIDTH_PX, HEIGHT_PX)
    found = cut_out(pictures, tmp_path, box_table(("p", "red", 48, 8, 64, 24)), 16)
    assert (found[0] == RED).all()


@pytest.mark.parametrize(("box", "inside"), [
    ((4000, 1600, 4800, 2400), 0.97),  # decoded at an eighth
    ((4160, 1760, 4224, 1824), 1.0),  # at its own size
    ((4100.3, 1700.7, 4100.6, 1701.0), 1.0),  # 0.3 px
])  # fmt: skip
def test_a_crop_of_a_picture_of_5000_px(tmp_path: Path, box: tuple[float, ...], inside: float) -> None:
    """A red square of 800 px at (4000, 1600) of a JPEG that is decoded no larger than the crop needs."""
    rgb = np.full((3000, 5000, 3), GREY, np.uint8)
    rgb[1600:2400, 4000:4800] = RED
    pictures = one_picture(tmp_path, picture_bytes(rgb, "JPEG", quality=95), "p.jpg", 5000, 3000)
    found = cut_out(pictures, tmp_path, box_table(("p", "red", *box)), 64)[0].astype(int)
    red = np.abs(found - RED).max(axis=2) < 12
    assert red.mean() >= inside


def test_a_box_of_no_size_is_still_a_pixel(tmp_path: Path) -> None:
    rgb = tiny.noise(40, 3)
    pictures = tiny.table(tmp_path, {"p": ("red", rgb)})
    boxes = box_table(("p", "red", 10.2, 20.1, 10.5, 20.4), ("p", "red", 39.9, 39.8, 40, 40))
    first, last = cut_out(pictures, tmp_path, boxes, 8)
    assert (first == rgb[20, 10]).all()
    assert (last == rgb[39, 39]).all()


def test_crops_are_the_pictures_rows_with_a_name_and_a_label_of_each_box(tmp_path: Path) -> None:
    pictures = tiny.table(
        tmp_path, {"b": ("red", tiny.noise(40, 0)), "a": ("red", tiny.noise(40, 1)), "c": ("empty", tiny.noise(40, 2))}
    )
    boxes = box_table(
        ("a", "blue", 0, 0, 4, 8), ("b", "red", 0, 0, 10, 10), ("a", "red", 10, 10, 20, 20), ("x", "red", 0, 0, 1, 1)
    )
    cut, found = crops(pictures, boxes, 0.0)
    assert cut[["sample_id", "label", "path"]].to_numpy().tolist() == [
        ["b#0", "red", "b.png"],
        ["a#0", "blue", "a.png"],
        ["a#1", "red", "a.png"],
    ]
    assert cut[BOX_COLUMNS].to_numpy().tolist() == [[0, 0, 10, 10], [0, 0, 8, 8], [10, 10, 20, 20]]
    assert found["sample_id"].tolist() == ["b", "a", "a"]
    assert found[BOX_COLUMNS].to_numpy().tolist() == [[0, 0, 10, 10], [0, 0, 4, 8], [10, 10, 20, 20]]


# --- train on true boxes, predict on a detector's ----------------------------------------------------------------------


def patches(root: Path, count: int, prefix: str, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`count` grey pictures of 80 x 60 px, each with a red and a blue patch of 12 px at places of chance: (pictures, boxes).

    The picture's own label tells nothing: only who looks into the boxes can tell the two.
    """
    rng = np.random.default_rng(seed)
    pictures, rows = {}, []
    for i in range(count):
        rgb = rng.integers(60, 120, (HEIGHT_PX, WIDTH_PX, 3)).astype(np.uint8)
        for half, label in enumerate(rng.permutation(sorted(tiny.COLOURS))):
            x, y = 40 * half + rng.integers(0, 28), rng.integers(0, 48)
            rgb[y : y + 12, x : x + 12] = tiny.coloured(label, 12, i)
            rows.append((f"{prefix}{i:02}", label, x, y, x + 12, y + 12))
        pictures[f"{prefix}{i:02}"] = ("red", rgb)
    return tiny.table(root, pictures), box_table(*rows)


def settings(**changes: Any) -> CropSettings:
    values = {"architecture": "test_resnet", "image_px": 32, "epochs": 4, "batch_size": 8, "learning_rate": 0.003, "workers": 0}
    return CropSettings.model_validate(values | changes)


def patch_job(folder: Path, **changes: Any) -> Job:
    root = folder / "patches"
    train, train_boxes = patches(root, 16, "t", 1)
    val, val_boxes = patches(root, 6, "v", 2)
    boxes = pd.concat([train_boxes, val_boxes], ignore_index=True)
    job = tiny.job(folder, boxes=boxes, needs=folder / "nothing", **changes)
    return replace(job, train=train, val=val, classes=("red",), root=root)


def trained(job: Job, chosen: CropSettings | None = None) -> Path:
    crop.train(chosen or settings(), job)
    write_manifest(job.out)
    return job.out


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Job]:
    """A classifier of red and blue patches. Not to be changed."""
    job = patch_job(tmp_path_factory.mktemp("model"))
    return trained(job), job


def test_a_model_of_true_boxes_tells_a_detector_s_boxes_apart(model: tuple[Path, Job]) -> None:
    folder, job = model
    true = job.boxes[job.boxes["sample_id"].isin(job.val["sample_id"])]
    boxes = found_by_a_detector(true, [0.9] * len(true), job.val["sample_id"])
    predictions = check_predictions(predict(crop.load(folder), job.val, job.root, 5, boxes), job.val["sample_id"])
    both = predictions.merge(true, on=["sample_id", *BOX_COLUMNS], suffixes=("", "_true"), validate="one_to_one")
    assert len(both) == len(predictions) == 12
    assert (both["label"] == both["label_true"]).all()
    assert set(predictions["task"]) == {"box"}


def test_the_score_is_the_detector_s_times_the_classifier_s(model: tuple[Path, Job]) -> None:
    folder, job = model
    one = job.val.iloc[:1]
    true = job.boxes[job.boxes["sample_id"] == one["sample_id"].iloc[0]]
    network = classifier.load(folder)
    whole = decode((job.root / one["path"].iloc[0]).read_bytes())[0]
    view = network.view(0, 0)
    shown = [view.show(cut(whole, whole.shape[1], square)) for square in crops(one, true, 0.1)[0][BOX_COLUMNS].to_numpy()]
    probable = pd.DataFrame(network(np.stack(shown)), columns=network.classes)
    assert probable.sum(axis=1).to_numpy() == pytest.approx([1, 1])
    predictions = predict(crop.load(folder), one, job.root, 5, found_by_a_detector(true, [0.5, 0.25], one["sample_id"]))
    expected = {
        label: share * probable.loc[i, label] for i, (label, share) in enumerate(zip(true["label"], [0.5, 0.25], strict=True))
    }
    assert predictions.set_index("label")["score"].to_dict() == pytest.approx(expected)


def test_boxes_below_the_floor_are_not_looked_at_and_a_picture_without_any_is_empty(model: tuple[Path, Job]) -> None:
    folder, job = model
    three = job.val.iloc[[2, 0, 1]]
    true = job.boxes[job.boxes["sample_id"].isin(three["sample_id"].iloc[:2])].sort_values("sample_id")
    boxes = found_by_a_detector(true, [0.05, 0.0499, 0.01, 0.02], three["sample_id"])
    predictions = check_predictions(predict(crop.load(folder), three, job.root, 5, boxes), three["sample_id"])
    assert predictions["sample_id"].tolist() == three["sample_id"].tolist()
    assert predictions["label"].isin(["blue", "red"]).tolist() == [False, True, False]
    assert predictions.loc[[0, 2], ["label", "score"]].to_numpy().tolist() == [["empty", 0.0]] * 2


def test_no_boxes_at_all_and_no_pictures_at_all(model: tuple[Path, Job]) -> None:
    folder, job = model
    nothing = box_rows(box_table().assign(score=[]), job.val["sample_id"])
    predictions = check_predictions(predict(crop.load(folder), job.val, job.root, 5, nothing), job.val["sample_id"])
    assert predictions["label"].tolist() == ["empty"] * 6
    assert predict(crop.load(folder), job.val.iloc[:0], job.root, 5, nothing).empty


def test_fault_59_a_detector_that_was_not_given_every_picture_is_refused(model: tuple[Path, Job]) -> None:
    folder, job = model
    boxes = box_rows(box_table().assign(score=[]), job.val["sample_id"].iloc[1:])
    with pytest.raises(DataError, match=r"1 of 6 pictures have no prediction \(\['v00'\]\)"):
        predict(crop.load(folder), job.val, job.root, 5, boxes)
    more = box_rows(box_table().assign(score=[]), pd.concat([job.val["sample_id"], job.train["sample_id"]]))
    assert len(predict(crop.load(folder), job.val, job.root, 5, more)) == 6, "boxes of other pictures do not matter"


def test_without_a_detector_it_says_what_to_give(model: tuple[Path, Job]) -> None:
    folder, job = model
    with pytest.raises(DataError, match=r"classifies the boxes of a detector, and none were given: name one in the entry"):
        predict(crop.load(folder), job.val, job.root, 5, None)


def test_fault_55_an_altered_card_is_refused_by_its_sha256(model: tuple[Path, Job], tmp_path: Path) -> None:
    folder, job = model
    copy = shutil.copytree(folder, tmp_path / "copy")
    card = copy / "model.json"
    card.write_text(card.read_text().replace('"margin": 0.1', '"margin": "a"'))
    with pytest.raises(DataError, match=r"model\.json: altered: sha256"):
        predict(crop.load(copy), job.val, job.root, 5, None)


def test_predictions_of_a_classifier_are_no_boxes(model: tuple[Path, Job]) -> None:
    folder, job = model
    classes = class_rows(pd.DataFrame({"red": 1.0}, index=job.val["sample_id"].tolist()))
    with pytest.raises(DataError, match=r"the boxes given are of no detector"):
        predict(crop.load(folder), job.val, job.root, 5, classes)


def test_the_boxes_of_a_megadetector_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Animals are classified, people and vehicles left out and counted; a picture without an animal is empty."""
    path = tmp_path / "md.json"
    job = patch_job(tmp_path)
    images = [{"file": f"C:\\traps\\{name}.png", "detections": []} for name in job.val["sample_id"]]
    true = job.boxes[job.boxes["sample_id"] == "v03"].reset_index(drop=True)
    for box in true.itertuples():
        bbox = [box.x_min_px / WIDTH_PX, box.y_min_px / HEIGHT_PX, 12 / WIDTH_PX, 12 / HEIGHT_PX]
        images[3]["detections"].append({"category": "1", "conf": 0.8, "bbox": bbox})
    images[4]["detections"] = [{"category": "2", "conf": 0.9, "bbox": [0, 0, 1, 1]}]
    categories = {"1": "animal", "2": "person", "3": "vehicle"}
    choice = settings(boxes=f"megadetector:{path}", epochs=2)
    with pytest.raises(DataError, match=r"md\.json: no such file"):
        trained(job, choice)  # before anything is trained
    path.write_text(json.dumps({"images": images, "detection_categories": categories}))
    folder = trained(job, choice)
    predictions = check_predictions(predict(crop.load(folder), job.val, job.root), job.val["sample_id"])
    assert capsys.readouterr().out == f"{path}: 2 boxes of animals for 6 pictures; other boxes, left out: 1 person\n"
    found = predictions[predictions["label"] != "empty"]
    assert found["sample_id"].tolist() == ["v03", "v03"]
    assert len(predictions) == 7
    both = found.sort_values("x_min_px")[BOX_COLUMNS].to_numpy()
    assert both == pytest.approx(true.sort_values("x_min_px")[BOX_COLUMNS].to_numpy(), abs=1e-9)
    path.unlink()
    with pytest.raises(DataError, match=r"md\.json: no such file"):
        predict(crop.load(folder), job.val, job.root)


def test_fault_51_same_seed_same_file_another_seed_another(tmp_path: Path) -> None:
    augmented = settings(flip=True, zoom=1.2, light=0.2, rotate_deg=5, epochs=1)
    hashes = [
        sha256_file(trained(patch_job(tmp_path / str(number), seed=seed), augmented) / "weights.safetensors")
        for number, seed in enumerate((5, 5, 6))
    ]
    assert hashes[0] == hashes[1]
    assert hashes[0] != hashes[2]


# --- what is left behind, and what does not fit ------------------------------------------------------------------------


def test_the_card_says_what_it_can_answer_and_what_was_left_out(tmp_path: Path) -> None:
    job = patch_job(tmp_path)
    unboxed = job.boxes[~job.boxes["sample_id"].isin(["t00", "t01", "t02", "v05"])]
    train = job.train.assign(label=["empty", *["red"] * 15])  # t00 has no animal, so that no box is missing
    folder = trained(replace(job, train=train, boxes=unboxed), settings(epochs=1))
    card = json.loads((folder / "model.json").read_text())
    assert card["family"] == "crop"
    assert card["outputs"] == ["blue", "red"]
    assert card["classes"] == ["blue", "red", "empty"]
    assert card["left_out"] == {"animal_without_a_box": {"train": 2, "val": 1}}
    assert card["trained_on"] == {"data": "embedded", "train": 26, "val": 10, "seed": 0}
    assert CropSettings.model_validate(card["settings"]) == settings(epochs=1)


def test_a_class_that_train_never_shows_is_not_validated(tmp_path: Path) -> None:
    job = patch_job(tmp_path)
    boxes = job.boxes.assign(label=[*job.boxes["label"][:-1], "green"])
    card = json.loads((trained(replace(job, boxes=boxes), settings(epochs=1)) / "model.json").read_text())
    assert card["outputs"] == ["blue", "red"]
    assert card["trained_on"]["val"] == 11


@pytest.mark.parametrize(("keep", "message"), [
    (lambda boxes: boxes["sample_id"] == "none", "0 boxes to train on and 0 of their classes to validate: .* choose the image family"),
    (lambda boxes: boxes["sample_id"] < "v", "32 boxes to train on and 0 of their classes to validate"),
    (lambda boxes: boxes["label"] == "red", "train holds only the class red: there is nothing to tell apart"),
])  # fmt: skip
def test_too_few_boxes_are_refused_before_training(tmp_path: Path, keep: Any, message: str) -> None:
    job = patch_job(tmp_path)
    with pytest.raises(DataError, match=message):
        crop.train(settings(), replace(job, boxes=job.boxes[keep(job.boxes)]))
    assert list(job.out.iterdir()) == []


@pytest.mark.parametrize(("key", "value", "message"), [
    ("boxes", "megadetector:", "allowed: needs, megadetector:<path of its JSON>"),
    ("boxes", "needs:x", "allowed: needs, megadetector:<path of its JSON>"),
    ("boxes", "md.json", "allowed: needs, megadetector:<path of its JSON>"),
    ("margin", -0.1, "greater than or equal to 0"),
    ("score_floor", 1.1, "less than or equal to 1"),
    ("init", "pretrain", "allowed: scratch, imagenet, imagenet:<revision>, pretrained, file:<path>, model:<name>"),
])  # fmt: skip
def test_bad_settings_are_refused_with_what_is_allowed(key: str, value: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        section("models.m", CropSettings, {"models": {"m": settings().model_dump() | {key: value}}})
    assert family("crop").SETTINGS is CropSettings


def test_one_place_is_classified_once_whatever_the_detector_calls_it() -> None:
    boxes, scores = [(0, 0, 10, 10), (0, 0, 10, 11), (20, 20, 30, 30), (50, 50, 60, 60)], [0.5, 0.7, 0.1, 0.04]
    regions = Regions(0.1, 0.05)
    assert regions.kept(boxes, scores).tolist() == [1, 2]
    assert regions.kept([], []).tolist() == []
