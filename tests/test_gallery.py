"""The gallery: what a model got wrong and right, each picture written once, small, with its boxes and what became of them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from stages.clips import ClipsSettings, store
from stages.files import DataError, sha256_bytes, write_json
from stages.pages import gallery as module
from stages.pages.gallery import Gallery
from stages.samples import EMPTY, check_tables, read_samples
from tests import card_helpers as small
from tests import training_helpers as tiny
from tests.report_helpers import SCRIPT, write_data, write_split

UNSEEN = small.IDS[14:]  # deer, <script>, empty, fox, deer, <script>, empty, fox


@pytest.fixture
def project(stage: Callable[..., Any], tmp_path: Path) -> Path:
    small.write_project(tmp_path)
    return tmp_path


def gallery(out: str = "page") -> Gallery:
    Path(out).mkdir(exist_ok=True)
    return Gallery(small.study(), Path(out))


def answer(**more: Any) -> pd.DataFrame:
    return pd.DataFrame(
        [{"sample_id": UNSEEN[0], "actual": "deer", "predicted": "fox", "calibrated": 0.8, "part": "unseen"} | more]
    )


# What is shown of a model --------------------------------------------------------------------------------------------


def test_the_surest_mistakes_of_the_unseen_part_come_first_then_misses_false_alarms_and_right_ones(
    stage: Callable[..., Any], project: Path
) -> None:
    deer, script, empty, fox, deer_2, script_2, empty_2, fox_2 = UNSEEN
    said = {fox: ("deer", 0.75), deer: ("fox", 0.9), script: (EMPTY, 0.8), script_2: (EMPTY, 0.85), empty: ("fox", 0.6)}
    small.classifier(stage, "m", said | {small.IDS[6]: ("fox", 0.99)})  # of val, so not shown
    items = gallery().of_model("m")
    assert [item["outcome"] for item in items] == ["wrong"] * 2 + ["missed"] * 2 + ["false alarm"] + ["right"] * 3
    assert [item["id"] for item in items[:5]] == [deer, fox, script_2, script, empty]
    assert {item["id"] for item in items[5:]} == {deer_2, empty_2, fox_2}
    first = items[0]
    calibrated = small.study().answers_of("m").set_index("sample_id")["calibrated"]
    assert abs(calibrated[deer] - 0.9) > 0.01, "else it is not seen which of the two is said"
    assert first["text"] == f"deer, called fox ({calibrated[deer]:.2f} sure)" and first["sure"] == calibrated[deer]
    assert (first["label"], first["predicted"], first["part"]) == ("deer", "fox", "unseen")
    assert first["location"] == f"{small.PLACE}2"
    assert items[-1]["text"] == f"{items[-1]['label']} ({calibrated[items[-1]['id']]:.2f} sure)"


def answered(monkeypatch: pytest.MonkeyPatch, *rows: tuple[str, str, str, float]) -> list[tuple[str, float]]:
    """Label and confidence of the mistakes shown, 3 at most: of answers of (sequence, actual, predicted, calibrated)."""
    columns = ["seq_id", "actual", "predicted", "calibrated"]
    answers = pd.DataFrame(rows, columns=columns).assign(sample_id=(UNSEEN * 2)[: len(rows)], part="unseen", score=0.5)
    given = gallery()
    model = SimpleNamespace(answers=Path("answers"), models={"m": {"chosen": {}}}, answers_of=lambda _: answers)
    monkeypatch.setattr(module, "A_MODEL", {"wrong": 3, "missed": 3, "false alarm": 3, "right": 0})
    monkeypatch.setattr(given, "items", lambda chosen, *_: chosen.to_dict("records"))
    monkeypatch.setattr(given, "study", model)
    monkeypatch.setattr(given, "boxes_of", lambda *_: None)
    Path("answers/m").mkdir(parents=True, exist_ok=True)
    Path("answers/m/answers.parquet").touch()
    return [(item["actual"], item["calibrated"]) for item in given.of_model("m")]


def test_the_class_found_worst_is_among_the_mistakes(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    foxes = [(f"s{n}", "fox", "deer", 0.9 - n / 100) for n in range(4)]
    right = [("s10", "fox", "fox", 0.9), ("s11", "deer", "deer", 0.9)]
    deer, script = ("s20", "deer", "fox", 0.3), ("s21", SCRIPT, "fox", 0.2)
    assert answered(monkeypatch, *foxes, *right, deer, script) == [("fox", 0.9), ("deer", 0.3), (SCRIPT, 0.2)]


def test_no_sequence_has_two_mistakes_of_a_kind(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    foxes = [("s0", "fox", "deer", 0.9), ("s0", "fox", "deer", 0.8), ("s1", "fox", "deer", 0.7)]
    missed = [("s2", "deer", EMPTY, 0.9), ("s2", "deer", EMPTY, 0.8)]
    alarms = [("s3", EMPTY, "deer", 0.9), ("s3", EMPTY, "fox", 0.8), ("s4", EMPTY, "fox", 0.1)]
    shown = answered(monkeypatch, *foxes, *missed, *alarms)
    assert shown == [("fox", 0.9), ("fox", 0.7), ("deer", 0.9), (EMPTY, 0.9), (EMPTY, 0.1)]


def test_the_cap_holds_and_is_stated(stage: Callable[..., Any], project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "A_MODEL", {"wrong": 1, "missed": 2, "false alarm": 0, "right": 1})
    small.classifier(stage, "m", {UNSEEN[0]: ("fox", 0.8), UNSEEN[3]: ("deer", 0.9), UNSEEN[2]: ("deer", 0.9)})
    shown = gallery()
    assert [item["outcome"] for item in shown.of_model("m")] == ["wrong", "right"]
    assert shown.cap.startswith("At most 4 pictures of a model: 1 wrong, 2 missed, 0 false alarms, 1 right")
    assert (
        "480 px" in shown.cap
        and "first the surest of each class" in shown.cap
        and "data/answers/wood <em>/<model>/answers.parquet" in shown.cap
    )


def test_a_model_without_answers_has_no_pictures(project: Path) -> None:
    write_json(Path("answers/joints/chosen.json"), {})
    assert gallery().of_model("joints") == []


def test_an_activity_may_be_called_empty(stage: Callable[..., Any], project: Path) -> None:
    shown = gallery()
    shown.has_empty = False  # as of people and clips
    assert shown.outcomes(answer(predicted=EMPTY)).tolist() == ["wrong"]
    shown.has_empty = True
    assert shown.outcomes(answer(predicted=EMPTY)).tolist() == ["missed"]
    assert shown.outcomes(answer(actual=EMPTY)).tolist() == ["false alarm"]


# Files ---------------------------------------------------------------------------------------------------------------


def test_a_picture_is_written_once_and_named_by_its_bytes(project: Path) -> None:
    shown = gallery()
    (one,), (again,) = shown.items(answer()), shown.items(answer(predicted=SCRIPT))
    assert one["file"] == again["file"]
    (path,) = Path("page/pictures").iterdir()
    assert path.name == one["file"] == f"{sha256_bytes(path.read_bytes())[:20]}.jpg"
    assert (one["width"], one["height"]) == Image.open(path).size == (80, 60)  # not larger than it is


def test_a_large_picture_is_made_smaller_and_its_boxes_are_shares(stage: Callable[..., Any], tmp_path: Path) -> None:
    small.write_project(tmp_path, (900, 1200))
    (item,) = gallery().items(answer())
    assert (item["width"], item["height"]) == Image.open(tmp_path / "page/pictures" / item["file"]).size == (480, 360)
    (box,) = item["boxes"]
    assert box == {"left": 0.25, "top": 0.25, "width": 0.5, "height": 0.5, "text": "deer", "kind": "true"}


def test_hostile_ids_name_no_file(project: Path) -> None:
    (item,) = gallery().items(answer(sample_id="<i>&q", actual="fox", predicted=SCRIPT))
    assert item["id"] == "<i>&q" and item["text"] == f"fox, called {SCRIPT} (0.80 sure)"
    assert all(path.stem.isalnum() and path.suffix == ".jpg" for path in Path("page/pictures").iterdir())


@pytest.mark.parametrize("change", ["altered", "gone", "damaged"])
def test_a_picture_that_is_not_what_it_was_is_named_with_a_remedy(project: Path, change: str) -> None:
    shown = gallery()
    path = shown.study.samples.root / shown._row(UNSEEN[0]).path
    if change == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes() + b" " if change == "altered" else b"")
    with pytest.raises(DataError) as error:
        shown.items(answer())
    assert path.name in str(error.value) and "dvc repro" in str(error.value)


def test_an_answer_of_an_unknown_picture_is_refused(project: Path) -> None:
    with pytest.raises(DataError, match="no sample nobody"):
        gallery().items(answer(sample_id="nobody"))


def test_samples_are_shown_with_their_true_boxes(project: Path) -> None:
    deer, empty = gallery().of_samples([UNSEEN[0], UNSEEN[2]])
    assert (deer["text"], deer["outcome"], len(deer["boxes"]), empty["boxes"]) == ("deer", "", 1, [])


def test_a_clip_is_two_rows_of_its_frames_and_only_stored_ones_can_be_shown(stage: Callable[..., Any], tmp_path: Path) -> None:
    names = ["<i>1", "c2", "c3"]
    pictures = tiny.table(tmp_path / "raw", {name: (EMPTY, np.zeros((30, 40, 3), np.uint8)) for name in names})
    for n, path in enumerate(pictures["path"]):
        frames = [Image.new("RGB", (40, 30), (50 * n, 20 * k, 90)) for k in range(10)]
        frames[0].save(tmp_path / "raw" / path, "GIF", save_all=True, append_images=frames[1:], duration=30)
    hashes = [sha256_bytes((tmp_path / "raw" / path).read_bytes()) for path in pictures["path"]]
    pictures, boxes = check_tables(pictures.assign(sha256=hashes), tiny.no_boxes())
    facts = {"frames": 10, "seconds": 0.3, "frame_rate": 100 / 3, "variable_rate": False, "rotation_deg": 0}
    tables = {"samples": pictures, "boxes": boxes, "videos": pictures[["sample_id"]].assign(**facts)}
    write_data(tmp_path / "found", tmp_path / "raw", tables, {"pictures": {"in": 3, "kept": 3, "rejected": 0}})
    write_split(tmp_path / "splits", "many", pictures, ["train", "val", "test"])
    beside = [path for path in (tmp_path / "found").iterdir() if path.name != "manifest.json"]
    settings = ClipsSettings.model_validate({})
    store(read_samples(tmp_path / "found"), names[:2], settings, tmp_path / "work", tmp_path / "clean", beside, 1)
    shown = gallery()
    assert shown.shows == set(names[:2]) and "clips of a model: 16 wrong, 6 right" in shown.cap
    (item,) = shown.items(answer(sample_id="<i>1", actual="running", predicted=EMPTY))
    assert item["outcome"] == "wrong" and item["boxes"] == []
    frame_px, gaps_px = 96 * 40 // 30, 3 * 2
    assert item["width"] == 4 * frame_px + gaps_px and item["height"] > 2 * 96
    with pytest.raises(DataError, match="c3"):
        shown.of_samples(["c3"])


# Boxes ---------------------------------------------------------------------------------------------------------------


def found(*rows: tuple[str, float, float]) -> pd.DataFrame:
    """Boxes of the first unseen picture, a deer: label, score, left side as a share."""
    height, width = small.SIZE_PX
    return pd.DataFrame(
        [
            {"sample_id": UNSEEN[0], "label": label, "score": score} | small.box(width, height, left)
            for label, score, left in rows
        ]
    )


def texts(boxes: pd.DataFrame, threshold: float = 0.0, **more: Any) -> list[tuple[str, str]]:
    (item,) = gallery().items(answer(**more), boxes, threshold)
    return [(box["kind"], box["text"]) for box in item["boxes"]]


def test_a_found_box_is_a_hit_where_it_covers_a_true_one_of_its_class(project: Path) -> None:
    assert texts(found(("deer", 0.9, 0.25))) == [("true", "deer"), ("found", "deer 0.90")]
    assert texts(found(("fox", 0.9, 0.25))) == [("true", "deer, missed"), ("found", "fox 0.90, false")]
    assert texts(found(("deer", 0.9, 0.7))) == [("true", "deer, missed"), ("found", "deer 0.90, false")]


def test_the_surer_of_two_boxes_on_one_animal_is_the_hit(project: Path) -> None:
    two = found(("deer", 0.4, 0.25), ("deer", 0.9, 0.3))
    assert texts(two) == [("true", "deer"), ("found", "deer 0.90"), ("found", "deer 0.40, false")]


def test_boxes_below_the_threshold_are_not_shown_but_the_surest_where_none_passes(project: Path) -> None:
    two = found(("deer", 0.4, 0.25), ("deer", 0.9, 0.3))
    assert texts(two, 0.5) == [("true", "deer"), ("found", "deer 0.90")]
    assert texts(two, 0.95) == [("true", "deer, missed"), ("found", "deer 0.90, below the box threshold")]
    assert texts(two.head(0), 0.5) == [("true", "deer, missed")]


def test_at_most_eight_found_boxes_are_drawn_the_surest(project: Path) -> None:
    many = texts(found(*[("fox", n / 100, 0.25) for n in range(10, 30)]))
    assert [text for kind, text in many if kind == "found"] == [f"fox 0.{n}, false" for n in range(29, 21, -1)]


def test_a_picture_without_true_boxes_does_not_say_that_a_box_is_false(project: Path) -> None:
    given = small.study()
    bare = Gallery(replace(given, samples=replace(given.samples, boxes=given.samples.boxes.head(0))), Path())
    (item,) = bare.items(answer(), found(("fox", 0.9, 0.25)))
    assert [box["text"] for box in item["boxes"]] == ["fox 0.90"]


def test_a_box_that_reaches_beyond_its_picture_is_cut(project: Path) -> None:
    boxes = found(("deer", 0.9, -0.5)).assign(x_max_px=500.0)
    (item,) = gallery().items(answer(), boxes)
    assert (item["boxes"][1]["left"], item["boxes"][1]["width"]) == (0.0, 1.0)


def test_a_detectors_boxes_are_read_from_its_predictions(stage: Callable[..., Any], project: Path) -> None:
    animals = small.scored().query("label != 'empty'")[["sample_id", "label"]]
    height, width = small.SIZE_PX
    small.detector(stage, "finder", animals.assign(score=0.8, **small.box(width, height)))
    shown = gallery()
    items = {item["id"]: item for item in shown.of_model("finder")}
    assert set(items) <= set(UNSEEN) and {item["outcome"] for item in items.values()} == {"right"}
    deer = [item for item in items.values() if item["label"] == "deer"]
    assert deer and all([box["text"] for box in item["boxes"]] == ["deer", "deer 0.80"] for item in deer)
    empty = [item for item in items.values() if item["label"] == EMPTY]  # found empty, rightly: no box to show
    assert all(item["boxes"] == [] for item in empty)


def test_the_same_items_in_every_run(stage: Callable[..., Any], project: Path) -> None:
    small.classifier(stage, "m", {UNSEEN[0]: ("fox", 0.8)})
    assert gallery("one").of_model("m") == gallery("two").of_model("m")
    files = [{path.name: path.read_bytes() for path in Path(out, "pictures").iterdir()} for out in ("one", "two")]
    assert files[0] == files[1]
