"""Predictions -> metrics, tables and slices, with exact numbers on hand-made tables. Faults 59 and 60."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages import box_scores, evaluate, pose_scores, precision_recall, scores
from stages.answers import Answers
from stages.box_figures import choose_box_threshold, measure_boxes
from stages.evaluate import EvaluateSettings, all_classes, headline, measure, reliability, rounded, slices, with_slices
from stages.files import DataError, check_manifest, new_folder, read_json, write_json, write_manifest
from stages.people import ABSENT, HEAD_COLUMNS, HEAD_TOP, JOINT_NAMES, PEOPLE, VISIBLE
from stages.people import JOINTS as JOINTS_TABLE
from stages.pose_figures import NO_ROWS, score_poses
from stages.predictions import CLASS, JOINTS, TABLE, box_rows, class_rows
from stages.samples import BOX_COLUMNS, BOXES, EMPTY, SAMPLES, SCORED, Samples
from stages.scores import require_finite
from stages.seeds import FURTHER

ROOT = Path(__file__).parent.parent
CLASSES = ["deer", "fox", EMPTY]


# Measures ------------------------------------------------------------------------------------------------------------


def table_of(rows: str) -> pd.DataFrame:
    """Lines of: part, times, actual, predicted, light, box_size, location."""
    expanded = []
    for line in rows.strip().splitlines():
        part, times, *rest = line.split()
        expanded += [(part, *(None if word == "-" else word for word in rest))] * int(times)
    columns = ["part", "actual", "predicted", "light", "box_size", "location"]
    table = pd.DataFrame(expanded, columns=columns)
    table = table.assign(sample_id=[f"p{n}" for n in range(len(table))], seq_id=[f"s{n // 2}" for n in range(len(table))])
    return table.assign(score=0.9, calibrated=0.7)


ANSWERED = table_of("""
    val    3 deer deer day   small  a
    val    1 fox  deer day   small  a
    seen   6 deer deer day   large  a
    seen   2 deer fox  night large  b
    seen   1 fox  fox  night small  b
    seen   1 fox  empty day  -      b
    unseen 2 deer deer day   medium c
    unseen 1 fox  deer day   medium c
    unseen 1 wolf deer night medium -
""")


# The sequences' own answers: two of seen, one right; one of unseen, wrong.
SEQUENCES = pd.DataFrame(
    [
        ("val", "deer", "deer", "s0"),
        ("seen", "deer", "deer", "s2"),
        ("seen", "fox", "deer", "s6"),
        ("unseen", "wolf", "deer", "s8"),
    ],
    columns=["part", "actual", "predicted", "seq_id"],
)


def measured(table: pd.DataFrame = ANSWERED, seed: int = 0) -> pd.DataFrame:
    """`measure`, a row for each part, its index."""
    answers = Answers(table, SEQUENCES[SEQUENCES["part"].isin(table["part"])], CLASS)
    return measure(answers, CLASSES, "deer", 200, seed).set_index("part")


def test_measure_exact_numbers() -> None:
    found = measured()
    assert found.index.tolist() == ["val", "seen", "unseen"]
    assert found["n"].tolist() == [4, 10, 4]
    # A class that train lacks counts, as missed.
    assert found["f1_macro"].tolist() == pytest.approx([(6 / 7 + 0) / 2, (6 / 7 + 0.4) / 2, (4 / 6) / 3])
    assert found["accuracy"].tolist() == pytest.approx([0.75, 0.7, 0.5])
    assert found["majority"].tolist() == pytest.approx([0.75, 0.8, 0.5])
    assert found["sequences"].tolist() == [1, 2, 1]
    assert found["sequence_f1_macro"].tolist() == pytest.approx([1, (2 / 3 + 0) / 2, 0])
    assert found["ece"].tolist() == pytest.approx([0.9 - 0.75, 0.9 - 0.7, 0.9 - 0.5])
    assert found["ece_calibrated"].tolist() == pytest.approx([0.05, 0, 0.2])
    for name in ("f1_macro", "sequence_f1_macro"):
        assert (found[f"{name}_low"] <= found[name]).all() and (found[name] <= found[f"{name}_high"]).all()


def test_measure_draws_by_its_seed_and_not_by_what_else_is_there() -> None:
    one = measured(seed=1)
    pd.testing.assert_frame_equal(one, measured(seed=1))
    pd.testing.assert_frame_equal(measured(ANSWERED[ANSWERED["part"] == "seen"], 1), one.loc[["seen"]])
    assert any(not measured(seed=seed).equals(one) for seed in range(2, 6))


def test_train_and_unused_are_not_measured() -> None:
    table = ANSWERED.assign(part=ANSWERED["part"].replace({"val": "train", "unseen": "unused"}))
    assert measured(table).index.tolist() == ["seen"]
    assert set(slices(table, CLASSES)["part"]) == {"seen"}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_fault_60_a_figure_that_is_none_is_named(value: float) -> None:
    parts = pd.DataFrame({"part": ["val", "seen"], "n": [1, 2], "f1_macro": [0.5, 0.5], "accuracy": [0.5, value]})
    require_finite(parts.drop(columns="accuracy"))
    with pytest.raises(
        DataError,
        match=r"^seen\.accuracy is not a finite number: nothing is written\. Train that model anew, or run `dvc repro` for it$",
    ):
        require_finite(parts)


def test_reliability_is_told_for_each_part_before_and_after() -> None:
    found = reliability(ANSWERED)
    assert list(found.columns) == ["part", "scores", "low", "high", "n", "confidence", "accuracy"]
    rows = {(row.part, row.scores): row for row in found.itertuples()}
    assert len(rows) == len(found) == 6, "bins without a picture are left out"
    seen = rows["seen", "score"]
    assert (seen.low, seen.high) == (pytest.approx(13 / 15), pytest.approx(14 / 15))
    assert (seen.n, seen.confidence, seen.accuracy) == (10, pytest.approx(0.9), pytest.approx(0.7))
    assert rows["unseen", "calibrated"].confidence == pytest.approx(0.7)


# Headline ------------------------------------------------------------------------------------------------------------


def figures(*parts: str, **changes: Any) -> pd.DataFrame:
    """A row for each part, every figure of a detector."""
    names = ["f1_macro", "f1_macro_low", "f1_macro_high", "accuracy", "majority", "sequence_f1_macro", "ece", "map50", "box_f1"]
    rows = [{"part": part, "n": 10 + place} | dict.fromkeys(names, place / 10) for place, part in enumerate(parts, 1)]
    return pd.DataFrame(rows).assign(**changes)


def test_the_headline_of_a_detector_is_a_dozen_numbers() -> None:
    assert headline(figures("val", "test", "seen", "unseen")) == {
        "val": {"f1_macro": 0.1, "map50": 0.1},
        "test": {"f1_macro": 0.2},
        "seen": {"f1_macro": 0.3, "map50": 0.3},
        "unseen": {"n": 14, "f1_macro": 0.4, "f1_macro_low": 0.4, "f1_macro_high": 0.4, "majority": 0.4, "map50": 0.4},
        "gap": pytest.approx(-0.1),
    }
    assert sum(len(part) for part in evaluate.HEADLINES.values()) + 1 == 12


def test_the_headline_of_a_classifier_and_of_parts_without_boxes_has_no_map() -> None:
    classifier = headline(figures("val", "seen").drop(columns=["map50", "box_f1"]))
    assert classifier == {"val": {"f1_macro": 0.1}, "seen": {"f1_macro": 0.2}}, "and no gap without unseen"
    some = headline(figures("val", "unseen", map50=[0.5, float("nan")]))
    assert some["val"] == {"f1_macro": 0.1, "map50": 0.5}
    assert "map50" not in some["unseen"]
    assert isinstance(some["unseen"]["n"], int), "counts stay whole in JSON"


@pytest.mark.parametrize("headlines", [evaluate.HEADLINES, evaluate.PLAIN_HEADLINES, evaluate.POSE_HEADLINES])
def test_a_model_has_at_most_a_dozen_numbers(headlines: dict[str, tuple[str, ...]]) -> None:
    """A dozen times models is what `dvc metrics show` prints."""
    gap = 1 if {"seen", "unseen"} <= set(headlines) else 0
    assert sum(len(names) for names in headlines.values()) + gap == 12
    assert set(headlines) <= set(SCORED)
    assert all(len(set(names)) == len(names) for names in headlines.values())


def test_where_nothing_is_apart_by_location_the_test_part_says_it_all() -> None:
    rows = figures("val", "test").drop(columns=["map50", "box_f1"])
    extra = ["accuracy_low", "accuracy_high", "balanced_accuracy", "precision_macro", "precision_weighted", "recall_weighted"]
    rows = rows.assign(**{name: [0.5, 0.25] for name in extra})
    assert headline(rows) == {
        "val": {"f1_macro": 0.1},
        "test": {
            "n": 12, "accuracy": 0.2, "accuracy_low": 0.25, "accuracy_high": 0.25, "balanced_accuracy": 0.25,
            "precision_macro": 0.25, "precision_weighted": 0.25, "f1_macro": 0.2, "f1_macro_low": 0.2, "f1_macro_high": 0.2,
            "majority": 0.2,
        },
    }  # fmt: skip
    assert headline(figures("val", "seen").drop(columns=["map50"]))["seen"] == {"f1_macro": 0.2}, "one of the two is enough"


def test_every_figure_of_a_headline_is_measured() -> None:
    """A name that no table has would be left out in silence."""
    of_answers = {*measured(), "map50"}
    for headlines in (evaluate.HEADLINES, evaluate.PLAIN_HEADLINES):
        assert {name for names in headlines.values() for name in names} <= of_answers


# Boxes ---------------------------------------------------------------------------------------------------------------


PICTURES = pd.DataFrame(
    [("v1", "val", "deer"), ("v2", "val", "fox"), ("v3", "val", EMPTY), ("v4", "val", "deer"), ("t1", "test", "deer"),
     ("s1", "seen", "deer"), ("s2", "seen", EMPTY), ("u1", "unseen", "fox"), ("u2", "unseen", EMPTY)],
    columns=["sample_id", "part", "actual"],
).assign(seq_id=lambda table: table["sample_id"])  # fmt: skip


def at(*rows: tuple[Any, ...]) -> pd.DataFrame:
    """(sample_id, label, [score,] left, height) of boxes 10 px wide: equal `left` and heights of 10 and 6.2 have an IoU of 0.62."""
    flat = [(*row[:-2], float(row[-2]), 0.0, row[-2] + 10.0, float(row[-1])) for row in rows]
    columns = ["sample_id", "label", *(["score"] if rows and len(rows[0]) == 5 else []), *BOX_COLUMNS]
    return pd.DataFrame(flat, columns=columns)


TRUE = at(("v1", "deer", 0, 10), ("v2", "fox", 0, 10), ("s1", "deer", 0, 10), ("s1", "deer", 20, 10))
FOUND = box_rows(
    at(
        ("v1", "deer", 0.9, 0, 10),  # right
        ("v2", "fox", 0.8, 0, 10),  # right
        ("v2", "fox", 0.3, 40, 10),  # over nothing
        ("v3", "deer", 0.6, 0, 10),  # over nothing, in an empty picture
        ("v4", "fox", 0.95, 0, 10),  # in a picture of an animal without a box: nobody knows
        ("s1", "deer", 0.85, 0, 10),  # right
        ("s1", "deer", 0.7, 20, 6.2),  # right at an IoU of up to 0.6
        ("s2", "deer", 0.9, 0, 10),  # over nothing
        ("u1", "fox", 0.99, 0, 10),
    ),
    PICTURES["sample_id"],
)


def boxes_of(found: pd.DataFrame = FOUND, true: pd.DataFrame = TRUE, pictures: pd.DataFrame = PICTURES, **other: Any) -> Any:
    """(by part, by part and class, confusion, the threshold), as `evaluate` puts them together."""
    threshold = choose_box_threshold(found, true, pictures)
    given = {"draws": 50, "seed": 0} | other
    return *measure_boxes(found, true, pictures, ["deer", "fox"], threshold, **given), threshold


def test_boxes_exact_numbers() -> None:
    parts, by_class, confusion, threshold = boxes_of()
    assert threshold == 0.8  # both of val's boxes found and nothing else
    rows = parts.set_index("part")
    assert rows.index.tolist() == ["val", "seen"], "parts without a true box have no row"
    assert rows["boxes"].tolist() == [2, 2]
    # Seen: surest first wrong, right, right: precision 1/2 and 2/3 at the hits, so 2/3 everywhere. From an IoU of 0.65 up the
    # second hit is none: precision 1/2 up to a recall of 1/2, which is 51 of 101 points.
    assert rows["map50"].tolist() == pytest.approx([1, 2 / 3])
    assert rows["map50_95"].tolist() == pytest.approx([1, (3 * 2 / 3 + 7 * 0.5 * 51 / 101) / 10])
    assert rows["box_precision"].tolist() == pytest.approx([1, 0.5])
    assert rows["box_recall"].tolist() == pytest.approx([1, 0.5])
    assert rows["box_f1"].tolist() == pytest.approx([1, 0.5])
    assert rows.loc["val", ["map50_low", "map50_high"]].tolist() == [1, 1]
    # Draws of two of its two sequences: s1 and s2 as they are, or s1 twice, or s2 twice, which says nothing.
    assert rows.loc["seen", ["map50_low", "map50_high"]].tolist() == pytest.approx([2 / 3, 1])
    assert by_class[["part", "label", "boxes"]].to_numpy().tolist() == [
        ["val", "deer", 1], ["val", "fox", 1], ["seen", "deer", 2], ["seen", "fox", 0]
    ]  # fmt: skip
    assert by_class["ap50"].tolist() == pytest.approx([1, 1, 2 / 3, float("nan")], nan_ok=True)
    assert confusion[["part", "level", "actual", "predicted", "n"]].to_numpy().tolist() == [
        ["val", "box", "deer", "deer", 1], ["val", "box", "fox", "fox", 1],
        ["seen", "box", "deer", "deer", 1], ["seen", "box", "deer", "missed", 1], ["seen", "box", "background", "deer", 1],
    ]  # fmt: skip


def test_boxes_in_pictures_of_an_animal_without_a_box_take_no_part() -> None:
    expected = boxes_of()
    for found in (FOUND[FOUND["sample_id"] != "v4"], pd.concat([FOUND, FOUND[FOUND["sample_id"] == "v4"]])):
        for one, other in zip(boxes_of(found), expected, strict=True):
            assert one.equals(other) if isinstance(one, pd.DataFrame) else one == other
    empty = PICTURES.assign(actual=PICTURES["actual"].where(PICTURES["sample_id"] != "v4", EMPTY))
    assert boxes_of(pictures=empty)[0]["map50"][0] < 1, "in an empty picture it counts as false"


def test_boxes_the_threshold_is_val_s_alone() -> None:
    away = FOUND["sample_id"].str.startswith(("s", "u"))
    for found in (FOUND.assign(score=FOUND["score"].mask(away, 0.01)), FOUND.assign(score=FOUND["score"].mask(away, 0.999))):
        assert boxes_of(found)[3] == 0.8
    fewer = TRUE[TRUE["sample_id"].str.startswith("v")]
    parts, *_, threshold = boxes_of(true=fewer)
    assert (parts["part"].tolist(), threshold) == (["val"], 0.8)


def test_boxes_without_any_usable_picture_in_val_are_refused() -> None:
    with pytest.raises(DataError, match="no picture of val has a box or is empty: the threshold for boxes is chosen there"):
        boxes_of(pictures=PICTURES[~PICTURES["sample_id"].isin(["v1", "v2", "v3"])])


def test_boxes_draw_by_their_seed() -> None:
    one = boxes_of(draws=2, seed=0)[0]
    assert boxes_of(draws=2, seed=0)[0].equals(one)
    assert any(not boxes_of(draws=2, seed=seed)[0].equals(one) for seed in range(1, 6))


# Slices --------------------------------------------------------------------------------------------------------------


def test_all_classes_are_the_trained_then_the_strange() -> None:
    table = pd.DataFrame({"actual": ["wolf", "fox", "bear"]})
    assert all_classes(table, ["fox", "deer"]) == ["fox", "deer", "bear", "wolf"]


def test_slices_exact_numbers() -> None:
    found = slices(ANSWERED, CLASSES)
    assert list(found.columns) == ["part", "slice", "value", "n", "f1_macro", "accuracy"]
    rows = {(row.part, row.slice, row.value): row for row in found.itertuples()}
    assert set(rows) == {
        ("val", "light", "day"), ("val", "box_size", "small"), ("val", "location", "a"),
        ("seen", "light", "day"), ("seen", "light", "night"), ("seen", "box_size", "large"), ("seen", "box_size", "small"),
        ("seen", "location", "a"), ("seen", "location", "b"),
        ("unseen", "light", "day"), ("unseen", "light", "night"), ("unseen", "box_size", "medium"),
        ("unseen", "location", "c"),
    }  # fmt: skip
    night = rows["seen", "light", "night"]  # 2 deer taken for foxes, 1 fox right
    assert (night.n, night.f1_macro, night.accuracy) == (3, pytest.approx((0 + 0.5) / 2), pytest.approx(1 / 3))
    day = rows["seen", "light", "day"]
    assert (day.n, day.f1_macro, day.accuracy) == (7, pytest.approx(0.5), pytest.approx(6 / 7))
    large = rows["seen", "box_size", "large"]
    assert (large.n, large.f1_macro, large.accuracy) == (8, pytest.approx(12 / 14), pytest.approx(0.75))
    assert rows["unseen", "light", "night"].f1_macro == 0


def test_slices_by_light_and_size_of_the_largest_box() -> None:
    table = pd.DataFrame({"sample_id": list("abcdef"), "infrared": [True] + [False] * 5, "width_px": 100, "height_px": 50})
    sides = {"a": [10], "b": [10.1], "c": [22.36, 5], "d": [22.4, 1], "e": [50]}  # of 5000 px²: 2 % is 10², 10 % 22.36²
    rows = [(name, "deer", 0.0, 0.0, side, side) for name, several in sides.items() for side in several]
    boxes = pd.DataFrame(rows, columns=list(BOXES.columns)).astype({"x_max_px": float, "y_max_px": float})
    found = with_slices(table, Samples(table, boxes, Path(), "your data"), EvaluateSettings())
    assert found["light"].tolist() == ["night"] + ["day"] * 5
    assert found["box_size"].tolist()[:5] == ["small", "medium", "medium", "large", "large"]
    assert pd.isna(found["box_size"].iloc[5])
    none = with_slices(table, Samples(table, boxes[:0], Path(), "your data"), EvaluateSettings())
    assert none["box_size"].isna().all()


def test_rounded_goes_all_the_way_down() -> None:
    value = {"a": 0.12345678, "b": {"c": 1 / 3, "n": 7}, "d": "text"}
    assert rounded(value) == {"a": 0.123457, "b": {"c": 0.333333, "n": 7}, "d": "text"}


def test_what_pages_show_by_three_digits_is_written_by_six(tmp_path: Path) -> None:
    tables = dict.fromkeys(("parts", "seeds", "classes", "slices", "pr"), pd.DataFrame({"accuracy": [124 / 165]}))
    evaluate.write_tables(tables, tmp_path, "m")
    written = {name: (tmp_path / f"m.{name}.csv").read_text().split()[1] for name in tables}
    assert written == dict.fromkeys(("parts", "seeds", "classes", "slices"), "0.751515") | {"pr": "0.7515"}
    assert all(f"{float(written[name]):.3f}" == f"{124 / 165:.3f}" == "0.752" for name in written if name != "pr")


# The command line ----------------------------------------------------------------------------------------------------


DRAWS = ("--draws", 50, "--map_draws", 20)
Answering = Callable[[Any], dict[str, float]]


def samples_table(labels: dict[str, str]) -> pd.DataFrame:
    """{sample_id: label} -> a samples table of pictures of 100 x 50 px, each a sequence of its own."""
    ids = list(labels)
    table = pd.DataFrame(
        {
            "sample_id": ids, "path": ids, "label": list(labels.values()), "location": "1", "seq_id": ids,
            "frame_num": pd.array([pd.NA] * len(ids), "Int64"),
            "captured_at": pd.Series([pd.NaT] * len(ids), dtype="datetime64[us]"), "given_split": None,
            "species": None, "width_px": 100, "height_px": 50, "infrared": False, "bytes": 9,
            "sha256": [f"{n:064x}" for n in range(len(ids))], "phash": [f"{n:016x}" for n in range(len(ids))], "note": "",
        }
    )  # fmt: skip
    return SAMPLES.validate(table.astype({"given_split": "str", "species": "str"}))


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Any, ...]]:
    """Folders as the stages before leave them: (classes, labels, parts, boxes, predictions, tables of people)
    -> the words to call the stage."""

    monkeypatch.chdir(tmp_path)  # the words are relative paths: nothing is written where the tests are run

    def write(
        classes: list[str],
        labels: dict[str, str],
        parts: dict[str, str],
        boxes: pd.DataFrame,
        found: pd.DataFrame,
        **people: pd.DataFrame,
    ) -> tuple[Any, ...]:
        with new_folder(tmp_path / "clean") as folder:
            for name, table in people.items():
                table.to_parquet(folder / f"{name}.parquet", index=False)
            samples_table(labels).to_parquet(folder / "samples.parquet", index=False)
            boxes.astype({"sample_id": "str", "label": "str"}).to_parquet(folder / "boxes.parquet", index=False)
            write_json(folder / "source.json", {"root": "raw", "data": "your data"})
        with new_folder(tmp_path / "splits") as folder:
            (folder / "class").mkdir()
            pd.DataFrame(list(parts.items()), columns=["sample_id", "part"]).to_csv(folder / "class/parts.csv", index=False)
        with new_folder(tmp_path / "model") as folder:
            card = {
                "classes": classes,
                "trained_on": {"data": "your data", "train": TRAIN_CLIPS},
                "as_built": "tiny at 8 px, scratch",
                "started_from": "scratch",
                "fps": 30,
            }
            write_json(folder / "model.json", card)
        with new_folder(tmp_path / "predictions") as folder:
            found.to_parquet(folder / TABLE, index=False)
        return ("evaluate", "--model", "m", *DRAWS, "--trained", "model", "--predictions", "predictions",
                "--clean", "clean", "--split", "splits/class", "--seed", 0, "--answers", "answers",
                "--metrics", "metrics")  # fmt: skip

    return write


@pytest.fixture
def predicted(folders: Any) -> Callable[[Answering], tuple[Any, ...]]:
    """Eight pictures and, for those to be scored, the probabilities `answer(picture)`: -> the words to call."""

    def make(answer: Answering) -> tuple[Any, ...]:
        labels = dict(zip(["a", "b", "NA", "d", "e", "f", "v", "w"], ["deer", "fox"] * 4, strict=True))
        parts = dict(zip(labels, ["train", "train", "seen", "seen", "unseen", "unseen", "val", "val"], strict=True))

        rows = [row for row in samples_table(labels).itertuples() if parts[row.sample_id] in SCORED]
        found = class_rows(pd.DataFrame({row.sample_id: scored for row in rows if (scored := answer(row))}).T)
        none = pd.DataFrame(columns=list(BOXES.columns)).astype(dict.fromkeys(BOX_COLUMNS, float))
        return folders(["deer", "fox"], labels, parts, none, found)

    return make


def right(row: Any) -> dict[str, float]:
    return {"deer": 0.9, "fox": 0.1} if row.label == "deer" else {"deer": 0.2, "fox": 0.8}


def all_files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def results() -> dict[str, bytes]:
    return all_files(Path("metrics")) | all_files(Path("answers"))


def test_the_stage_writes_metrics_tables_and_answers(stage: Callable[..., Any], predicted: Any) -> None:
    done = stage(*predicted(lambda row: right(row) if row.sample_id != "f" else {"deer": 1.0, "fox": 0.0}))
    assert done.code == 0, done.err
    metrics = read_json(Path("metrics/m.json"))
    assert set(metrics) == {"val", "seen", "unseen", "gap", "data", "architecture"}
    assert metrics["seen"] == {"f1_macro": 1}
    assert metrics["unseen"]["n"] == 2
    assert metrics["unseen"]["f1_macro"] == 0.333333
    assert metrics["gap"] == 0.666667
    assert (metrics["data"], metrics["architecture"]) == ("your data", "tiny at 8 px, scratch")
    names = "classes.csv confusion.csv json parts.csv pr.csv reliability.csv seeds.csv slices.csv".split()
    assert sorted(path.name for path in Path("metrics").iterdir()) == [f"m.{name}" for name in names]
    parts = pd.read_csv("metrics/m.parts.csv").set_index("part")
    assert parts.index.tolist() == ["val", "seen", "unseen"]
    assert parts["n"].tolist() == [2, 2, 2]  # the picture that is called NA is one of seen's
    assert parts["accuracy"].tolist() == [1, 1, 0.5]
    assert parts["sequence_f1_macro"].tolist() == [1, 1, 0.333333]
    assert "map50" not in parts
    confusion = pd.read_csv("metrics/m.confusion.csv").query("part != 'val'").to_numpy().tolist()
    assert confusion == [["picture", "seen", "deer", "deer", 1], ["picture", "seen", "fox", "fox", 1],
                         ["picture", "unseen", "deer", "deer", 1], ["picture", "unseen", "fox", "deer", 1]]  # fmt: skip
    classes = pd.read_csv("metrics/m.classes.csv")
    assert classes.query("part == 'unseen' and label == 'deer'")[["n", "predicted", "precision", "recall", "f1", "in_train"]
                         ].to_numpy().tolist() == [[1, 2, 0.5, 1, 0.666667, True]]  # fmt: skip
    assert check_manifest(Path("answers")) == []
    assert sorted(path.name for path in Path("answers").iterdir()) == [
        "answers.parquet", "card.json", "chosen.json", "curves.parquet", "manifest.json", "seeds.csv", "sequences.parquet"
    ]  # fmt: skip
    answers = pd.read_parquet("answers/answers.parquet")
    assert answers[["sample_id", "part", "actual", "predicted", "score"]].to_numpy().tolist() == [
        ["NA", "seen", "deer", "deer", 0.9], ["d", "seen", "fox", "fox", 0.8], ["e", "unseen", "deer", "deer", 0.9],
        ["f", "unseen", "fox", "deer", 1.0], ["v", "val", "deer", "deer", 0.9], ["w", "val", "fox", "fox", 0.8],
    ]  # fmt: skip
    sequences = pd.read_parquet("answers/sequences.parquet")
    assert sorted(sequences["sample_id"]) == ["seen:NA", "seen:d", "unseen:e", "unseen:f", "val:v", "val:w"]
    assert set(read_json(Path("answers/chosen.json"))) == {"temperature"}
    assert "m unseen: macro F1 0.333, n 2" in done.out


def test_the_stage_writes_curves_and_what_the_model_is(stage: Callable[..., Any], predicted: Any) -> None:
    assert stage(*predicted(lambda row: right(row) if row.sample_id != "f" else {"deer": 1.0, "fox": 0.0})).code == 0
    pooled = pd.read_csv("metrics/m.pr.csv")
    assert list(pooled.columns) == precision_recall.COLUMNS and set(pooled["label"]) == {precision_recall.ALL}
    unseen = pooled[pooled["part"] == "unseen"].drop(columns=["part", "label"]).to_numpy().tolist()
    assert unseen == [[1, 0, 0], [0.9, 0.5, 0.5], [0.1, 0.3333, 0.5], [0, 0.5, 1]]
    every = pd.read_parquet("answers/curves.parquet")
    fox = every.query("part == 'seen' and label == 'fox'").drop(columns=["part", "label"]).to_numpy().tolist()
    assert fox == [[0.8, 1, 1], [0.1, 0.5, 1]]
    assert read_json(Path("answers/card.json")) == {
        "as_built": "tiny at 8 px, scratch", "classes": ["deer", "fox"], "started_from": "scratch",
        "trained_on": {"data": "your data", "train": TRAIN_CLIPS},
    }, "keys that no page shows are left out"  # fmt: skip


def further_seeds(*tables: pd.DataFrame) -> None:
    """Write what trainings of other seeds predict beside the predictions."""
    folder = Path("predictions")
    found = pd.concat([table.assign(seed=number) for number, table in enumerate(tables, 2)], ignore_index=True)
    found.to_parquet(folder / FURTHER, index=False)
    (folder / "manifest.json").unlink()
    write_manifest(folder)


def test_figures_of_further_seeds_are_spread_and_tabled(stage: Callable[..., Any], predicted: Any) -> None:
    words = predicted(right)
    assert stage(*words).code == 0
    once = read_json(Path("metrics/m.json"))
    one_seed = pd.read_csv("metrics/m.seeds.csv")
    assert one_seed.to_dict("list") == {
        "part": ["seen", "unseen", "val"], "seed": [1] * 3, **dict.fromkeys(("accuracy", "balanced_accuracy", "f1_macro"), [1.0] * 3)
    }  # fmt: skip
    table = pd.read_parquet(Path("predictions") / TABLE)
    of_f = table["sample_id"] == "f"
    swapped = table.assign(score=table["score"].where(~of_f, 1 - table["score"]))
    further_seeds(swapped, table)
    done = stage(*words)
    assert done.code == 0, done.err
    metrics = read_json(Path("metrics/m.json"))
    assert metrics["unseen"] == once["unseen"] | {
        "seeds": 3, "accuracy_mean": 0.833333, "accuracy_sd": 0.288675,
        "balanced_accuracy_mean": 0.833333, "balanced_accuracy_sd": 0.288675, "f1_macro_mean": 0.777778, "f1_macro_sd": 0.3849,
    }  # fmt: skip
    assert metrics["seen"] | {"seeds": 3} == metrics["seen"] and metrics["seen"]["accuracy_sd"] == 0
    seeds = pd.read_csv("metrics/m.seeds.csv").query("part == 'unseen'")
    assert seeds[["seed", "accuracy", "f1_macro"]].to_numpy().tolist() == [[1, 1, 1], [2, 0.5, 0.333333], [3, 1, 1]]


def test_the_stage_is_the_same_twice(stage: Callable[..., Any], predicted: Any) -> None:
    words = predicted(right)
    assert stage(*words).code == 0
    first = results()
    assert stage(*words).code == 0
    assert results() == first


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda row: right(row) if row.sample_id != "d" else {}, "1 of 6 pictures have no prediction (['d'])"),
        (lambda row: {"deer": float("nan"), "fox": 0.5}, "the predictions break the table's rules"),
    ],
    ids=["fault_59", "fault_60"],
)
def test_fault_59_60_nothing_old_is_replaced(
    stage: Callable[..., Any], predicted: Any, answer: Answering, message: str
) -> None:
    assert stage(*predicted(right)).code == 0
    before = results()
    done = stage(*predicted(answer))
    assert done.code == 1
    assert message in done.err
    assert results() == before


@pytest.mark.parametrize("name", ["accuracy", "f1_macro"])
def test_fault_60_nan_among_the_metrics_replaces_nothing(
    stage: Callable[..., Any], predicted: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    words = predicted(right)
    assert stage(*words).code == 0
    before = results()
    wrong = predicted(lambda row: {"deer": 0.4, "fox": 0.6})
    whole = scores.FIGURES[name]
    nan_of_one_table = lambda counts: whole(counts) if counts.ndim > 2 else np.float64("nan")  # noqa: E731
    monkeypatch.setitem(scores.FIGURES, name, nan_of_one_table)
    done = stage(*wrong)
    assert done.code == 1
    assert f"error: val.{name} is not a finite number: nothing is written" in done.err
    assert results() == before


@pytest.mark.parametrize(
    "name", ["model/model.json", "predictions/predictions.parquet", "clean/source.json", "splits/class/parts.csv"]
)
def test_fault_39_inputs_that_are_not_as_their_stage_left_them_are_refused(
    stage: Callable[..., Any], predicted: Any, name: str
) -> None:
    words = predicted(right)
    path = Path(name)
    path.write_bytes(path.read_bytes() + b" ")
    done = stage(*words)
    assert done.code == 1
    assert f"{path}: " in done.err
    path.unlink()
    done = stage(*words)
    assert done.code == 1
    assert f"{path}: missing" in done.err
    assert not Path("metrics").exists() and not Path("answers").exists()


def test_predictions_that_somebody_has_signed_again_are_read_with_care(stage: Callable[..., Any], predicted: Any) -> None:
    words = predicted(right)
    path = Path("predictions/predictions.parquet")
    path.write_bytes(path.read_bytes()[:-50])
    write_manifest(path.parent)
    done = stage(*words)
    assert done.code == 1 and f"error: {path}: no table that can be read: " in done.err and "dvc repro" in done.err
    assert not Path("metrics").exists() and not Path("answers").exists()


def test_scoring_needs_no_network(predicted: Any, tmp_path: Path) -> None:
    """Else changed training code would score anew, and the stage would take seconds to start."""
    words = predicted(right)
    script = "import sys; from stages import evaluate; evaluate.main(); sys.exit('torch' in sys.modules)"
    call = [sys.executable, "-c", script, *map(str, words[1:])]
    subprocess.run(call, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True)


def test_a_split_of_other_pictures_is_refused(stage: Callable[..., Any], predicted: Any) -> None:
    words = predicted(right)
    with Path("splits/class/parts.csv").open("a") as file:
        file.write("gone,seen\n")
    write_manifest(Path("splits"))
    done = stage(*words)
    assert done.code == 1
    assert "splits/class: 1 pictures are not in the samples table, gone for example: run `dvc repro`" in done.err


def test_metrics_are_json_that_others_read(stage: Callable[..., Any], predicted: Any) -> None:
    assert stage(*predicted(right)).code == 0
    text = Path("metrics/m.json").read_text()
    assert text.endswith("}\n")
    assert json.loads(text, parse_constant=lambda name: pytest.fail(name))


# A detector's --------------------------------------------------------------------------------------------------------


@pytest.fixture
def detector(folders: Any) -> Callable[..., tuple[Any, ...]]:
    """The pictures, true boxes and predictions of above: -> the words to call."""

    def make(true: pd.DataFrame = TRUE) -> tuple[Any, ...]:
        labels = {"x1": "deer", "x2": "fox"} | dict(zip(PICTURES["sample_id"], PICTURES["actual"], strict=True))
        parts = {"x1": "train", "x2": "train"} | dict(zip(PICTURES["sample_id"], PICTURES["part"], strict=True))
        return folders(CLASSES, labels, parts, true, FOUND)

    return make


def test_the_stage_measures_a_detector_s_boxes_and_its_pictures(stage: Callable[..., Any], detector: Any) -> None:
    done = stage(*detector())
    assert done.code == 0, done.err
    metrics = read_json(Path("metrics/m.json"))
    assert metrics["val"]["map50"] == 1
    assert metrics["seen"]["map50"] == 0.666667
    assert "map50" not in metrics["unseen"], "there is no box"
    parts = pd.read_csv("metrics/m.parts.csv").set_index("part")
    assert parts.index.tolist() == ["val", "test", "seen", "unseen"]
    assert parts["boxes"].tolist() == pytest.approx([2, float("nan"), 2, float("nan")], nan_ok=True)
    assert parts.loc["seen", ["map50", "map50_95", "box_f1"]].tolist() == [0.666667, 0.376733, 0.5]
    chosen = read_json(Path("answers/chosen.json"))
    assert set(chosen) == {"image_threshold", "box_threshold", "temperature", "bias"}
    assert (chosen["image_threshold"], chosen["box_threshold"]) == (0.8, 0.8)
    answers = pd.read_parquet("answers/answers.parquet").set_index("sample_id")
    assert answers["predicted"].to_dict() == {
        "v1": "deer", "v2": "fox", "v3": EMPTY, "v4": "fox", "t1": EMPTY, "s1": "deer", "s2": "deer", "u1": "fox", "u2": EMPTY
    }  # fmt: skip
    confusion = pd.read_csv("metrics/m.confusion.csv")
    assert confusion.groupby("level")["n"].sum().to_dict() == {"box": 5, "picture": 9}
    assert confusion.query("level == 'box' and part == 'seen'")[["actual", "predicted", "n"]].to_numpy().tolist() == [
        ["deer", "deer", 1], ["deer", "missed", 1], ["background", "deer", 1]
    ]  # fmt: skip
    classes = pd.read_csv("metrics/m.classes.csv").set_index(["part", "label"])
    assert classes.loc[("seen", "deer"), ["n", "boxes", "ap50"]].tolist() == [1, 2, 0.666667]
    assert pd.isna(classes.loc[("unseen", "fox"), "ap50"])
    assert "m seen: macro F1" in done.out and ", mAP50 0.667, n 2" in done.out
    sizes = pd.read_csv("metrics/m.slices.csv").query("slice == 'box_size'")
    assert sizes[["part", "value", "n"]].to_numpy().tolist() == [["val", "small", 2], ["seen", "small", 1]]  # 100 of 5000 px²


def test_a_detector_where_nothing_has_a_box_is_measured_by_its_pictures(stage: Callable[..., Any], detector: Any) -> None:
    done = stage(*detector(true=TRUE[:0]))
    assert done.code == 0, done.err
    assert "map50" not in pd.read_csv("metrics/m.parts.csv")
    assert set(read_json(Path("answers/chosen.json"))) == {"image_threshold", "temperature", "bias"}
    assert set(pd.read_csv("metrics/m.confusion.csv")["level"]) == {"picture"}


def test_fault_60_nan_among_the_box_metrics_writes_nothing(
    stage: Callable[..., Any], detector: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(box_scores, "map50_bootstrap", lambda *_: np.array([float("nan")]))
    done = stage(*detector())
    assert done.code == 1
    assert (
        done.err
        == "error: val.map50_low is not a finite number: nothing is written. Train that model anew, or run `dvc repro` for it\n"
    )
    assert not Path("metrics").exists() and not Path("answers").exists()


# Joints --------------------------------------------------------------------------------------------------------------


SHARES = np.stack([np.linspace(0, 1, 16), np.linspace(0, 1, 16) ** 2], axis=1)  # where the joints lie in a box of 40 px
LEFT = {"a": [0], "v": [0], "t1": [20], "t2": [0, 50]}  # of the boxes of each picture's people, px
OF_PEOPLE = {"a": "train", "v": "val", "t1": "test", "t2": "test"}


def joints_at(left: float, moved: dict[int, float] | None = None) -> np.ndarray:
    """(16, 2) px in a box of 40 px with its corner at (left, 0), some of them moved down."""
    places = SHARES * 40 + [left, 0]
    for joint, by_px in (moved or {}).items():
        places[joint, 1] += by_px
    return places


def true_tables() -> dict[str, pd.DataFrame]:
    """people, joints and boxes. Joint 9 of everybody is not annotated; train's person holds four others 8 px lower."""
    people, joints, boxes = [], [], []
    for name, several in LEFT.items():
        for person, left in enumerate(several):
            people.append((name, person, left, 0.0, left + 6.0, 8.0, 1.0, 20.0, 20.0))  # a head of 0.6 * 10 px: 3 px are near
            places = joints_at(left, dict.fromkeys((0, 1, 2, 3), 8.0) if name == "a" else None)
            joints += [
                (name, person, joint, *((0.0, 0.0, ABSENT) if joint == HEAD_TOP else (*place, VISIBLE)))
                for joint, place in enumerate(places)
            ]
            boxes.append((name, "person", left, 0.0, left + 40.0, 40.0))
    people_table = pd.DataFrame(people, columns=list(PEOPLE.columns)).astype({"sample_id": "str"})
    joints_table = pd.DataFrame(joints, columns=list(JOINTS_TABLE.columns)).astype({"sample_id": "str"})
    people_table[HEAD_COLUMNS] = people_table[HEAD_COLUMNS].astype(float)
    return {
        "people": people_table,
        "joints": joints_table,
        "boxes": pd.DataFrame(boxes, columns=list(BOXES.columns)).astype(dict.fromkeys(BOX_COLUMNS, float)),
    }


def found_person(name: str, score: float, left: float, moved: dict[int, float] | None = None) -> tuple[Any, ...]:
    flat = np.column_stack([joints_at(left, moved), np.ones(16)]).reshape(-1)
    return name, "person", score, left, 0.0, left + 40.0, 40.0, flat


PEOPLE_FOUND = box_rows(
    pd.DataFrame(
        [
            found_person("v", 0.9, 0),
            found_person("t1", 0.8, 20, {5: 2.9, 7: 4.0}),  # the second is too far
            found_person("t2", 0.6, 0),  # and who stands at 50 is not found
        ],
        columns=["sample_id", "label", "score", *BOX_COLUMNS, "joints"],
    ),
    pd.Series(["v", "t1", "t2"]),
    JOINTS,
)


def samples_of_people(**tables: pd.DataFrame) -> Samples:
    given = true_tables() | tables
    pictures = samples_table(dict.fromkeys(OF_PEOPLE, "walking"))
    return Samples(pictures, given["boxes"], Path(), "your data", given["people"], given["joints"])


def posed(samples: Samples, found: pd.DataFrame = PEOPLE_FOUND, seed: int = 0) -> dict[str, pd.DataFrame]:
    part = samples.pictures["sample_id"].map(OF_PEOPLE)
    pictures = samples.pictures.assign(part=part)
    scored, train = pictures[part != "train"], pictures[part == "train"]
    return score_poses(found, scored, train, samples, 200, seed)


def test_poses_exact_numbers() -> None:
    tables = posed(samples_of_people())
    assert set(tables) == {"parts", "classes"}
    rows = tables["parts"].set_index("part")
    assert rows.index.tolist() == ["val", "test"]
    assert rows[["n", "people", "people_without_head", "joints"]].to_numpy().tolist() == [[1, 1, 0, 15], [2, 3, 0, 45]]
    # Of test 2 of 3 people are found: precision 1 up to a recall of 2/3, which is 67 of 101 points.
    assert rows["map50"].tolist() == pytest.approx([1, 67 / 101])
    assert rows["map50_95"].tolist() == pytest.approx([1, 67 / 101])
    assert rows["pckh"].tolist() == pytest.approx([1, (14 + 15) / 45])
    # Train's mean pose is 8 px off in 4 joints of 15, and it too finds nobody at 50.
    assert rows["mean_pose"].tolist() == pytest.approx([11 / 15, 22 / 45])
    assert rows["mean_pose_in_true_boxes"].tolist() == pytest.approx([11 / 15, 11 / 15])
    assert rows["gain"].tolist() == pytest.approx([4 / 15, 7 / 45])
    # Draws of two of test's two sequences: as they are, t1 twice or t2 twice.
    assert rows.loc["test", ["pckh_low", "pckh_high"]].tolist() == pytest.approx([15 / 30, 14 / 15])
    assert rows.loc["test", ["map50_low", "map50_high"]].tolist() == pytest.approx([51 / 101, 1])
    assert rows.loc["val", ["pckh_low", "pckh_high", "map50_low", "map50_high"]].tolist() == [1, 1, 1, 1]

    joints = tables["classes"]
    assert list(joints.columns) == ["part", "label", "n", "pckh", "f1"]
    assert joints["label"].tolist() == [*JOINT_NAMES] * 2
    test = joints[joints["part"] == "test"].set_index("label")
    assert test["n"].tolist() == [0 if joint == HEAD_TOP else 3 for joint in range(16)]
    expected = [float("nan") if joint == HEAD_TOP else 1 / 3 if joint == 7 else 2 / 3 for joint in range(16)]
    assert test["pckh"].tolist() == pytest.approx(expected, nan_ok=True)
    assert joints["f1"].isna().all(), "joints have none"


def test_poses_of_a_part_without_pictures_are_left_out() -> None:
    samples = samples_of_people()
    pictures = samples.pictures.assign(part=samples.pictures["sample_id"].map(OF_PEOPLE))
    val, train = pictures[pictures["part"] == "val"], pictures[pictures["part"] == "train"]
    found = PEOPLE_FOUND[PEOPLE_FOUND["sample_id"] == "v"]
    tables = score_poses(found, val, train, samples, 20, 0)
    assert tables["parts"]["part"].tolist() == ["val"]
    assert set(headline(tables["parts"])) == {"val"}


@pytest.mark.parametrize("headless", [["v"], ["t1", "t2"], ["v", "t1", "t2"]], ids=["val", "test", "everybody"])
def test_poses_of_a_part_where_no_head_has_a_box_have_map_alone(headless: list[str]) -> None:
    people = true_tables()["people"]
    people.loc[people["sample_id"].isin(headless), HEAD_COLUMNS] = float("nan")
    tables, whole = posed(samples_of_people(people=people)), posed(samples_of_people())
    told, full = (headline(found["parts"]) for found in (tables, whole))
    for part, names in (("val", {"v"}), ("test", {"t1", "t2"})):
        if names <= set(headless):
            kept = ("n", "people", "map50", "map50_low", "map50_high", "map50_95")
            assert told[part] == {name: value for name, value in full[part].items() if name in kept}
            own = tables["classes"][tables["classes"]["part"] == part]
            assert own["n"].sum() == 0 and own["pckh"].isna().all()
        else:
            assert told[part] == full[part]
    rows = tables["parts"].set_index("part")
    assert rows["people_without_head"].to_dict() == {"val": int("v" in headless), "test": 3 * ("t1" in headless)}


def test_poses_of_test_do_not_change_the_mean_pose() -> None:
    tables = true_tables()
    moved = tables["joints"].assign(y_px=tables["joints"]["y_px"].where(tables["joints"]["sample_id"] != "t1", 0.0))
    one, other = (posed(samples_of_people(joints=joints))["parts"].set_index("part") for joints in (tables["joints"], moved))
    assert one.loc["val"].equals(other.loc["val"])


def test_fault_59_60_a_person_lost_and_a_picture_without_people_are_refused() -> None:
    with pytest.raises(DataError, match=r"1 of 3 pictures have no prediction \(\['t1'\]\)"):
        posed(samples_of_people(), PEOPLE_FOUND[PEOPLE_FOUND["sample_id"] != "t1"])
    with pytest.raises(DataError, match="v: not one box for each person. Run `dvc repro`"):
        boxes = true_tables()["boxes"]
        posed(samples_of_people(boxes=boxes[boxes["sample_id"] != "v"]))
    tables = {name: table[table["sample_id"] != "v"] for name, table in true_tables().items()}
    with pytest.raises(DataError, match="mAP of pictures without one true person"):
        posed(samples_of_people(**tables))


def test_figures_of_poses_of_further_seeds_are_spread(stage: Callable[..., Any], pose_model: Any) -> None:
    assert stage(*pose_model).code == 0
    further_seeds(pd.read_parquet(Path("predictions") / TABLE))
    assert stage(*pose_model).code == 0
    found = read_json(Path("metrics/m.json"))["test"]
    spread = {"seeds": 2, "map50_mean": 0.663366, "map50_sd": 0, "pckh_mean": 0.644444, "pckh_sd": 0}
    assert found | spread == found


@pytest.fixture
def pose_model(folders: Any) -> tuple[Any, ...]:
    return folders(["person"], dict.fromkeys(OF_PEOPLE, "walking"), OF_PEOPLE, found=PEOPLE_FOUND, **true_tables())


def test_the_stage_measures_poses_and_writes_what_the_graph_expects(stage: Callable[..., Any], pose_model: Any) -> None:
    done = stage(*pose_model)
    assert done.code == 0, done.err
    metrics = read_json(Path("metrics/m.json"))
    assert metrics == {
        "val": {"map50": 1.0, "pckh": 1.0},
        "test": {
            "n": 2, "people": 3, "map50": 0.663366, "map50_low": 0.50495, "map50_high": 1.0, "map50_95": 0.663366,
            "pckh": 0.644444, "pckh_low": 0.5, "pckh_high": 0.933333, "mean_pose": 0.488889,
        },
        "data": "your data", "architecture": "tiny at 8 px, scratch",
    }  # fmt: skip
    names = "classes.csv confusion.csv json parts.csv pr.csv reliability.csv seeds.csv slices.csv".split()
    assert sorted(path.name for path in Path("metrics").iterdir()) == [f"m.{name}" for name in names]
    for name, columns in NO_ROWS.items():
        table = pd.read_csv(f"metrics/m.{name}.csv")
        assert table.empty and list(table.columns) == columns
    assert len(pd.read_csv("metrics/m.classes.csv")) == 2 * 16
    assert check_manifest(Path("answers")) == []
    assert read_json(Path("answers/chosen.json")) == {}
    assert sorted(path.name for path in Path("answers").iterdir()) == [
        "card.json", "chosen.json", "curves.parquet", "manifest.json"
    ]  # fmt: skip
    assert pd.read_parquet("answers/curves.parquet").empty
    assert done.out == "m val: OKS mAP50 1.000, PCKh 1.000, n 1\nm test: OKS mAP50 0.663, PCKh 0.644, n 2\n"
    first = results()
    assert stage(*pose_model).code == 0
    assert results() == first


def test_the_stage_says_why_there_is_no_pckh(stage: Callable[..., Any], folders: Any) -> None:
    tables = true_tables()
    tables["people"].loc[tables["people"]["sample_id"] != "v", HEAD_COLUMNS] = float("nan")
    done = stage(*folders(["person"], dict.fromkeys(OF_PEOPLE, "walking"), OF_PEOPLE, found=PEOPLE_FOUND, **tables))
    assert done.out == "m val: OKS mAP50 1.000, PCKh 1.000, n 1\nm test: OKS mAP50 0.663, no PCKh, as no head has a box, n 2\n"
    metrics = read_json(Path("metrics/m.json"))
    assert metrics["val"] == {"map50": 1.0, "pckh": 1.0}
    assert set(metrics["test"]) == {"n", "people", "map50", "map50_low", "map50_high", "map50_95"}


def test_tables_without_rows_have_the_columns_of_those_with_rows(stage: Callable[..., Any], predicted: Any) -> None:
    """What reads them for one model reads them for another."""
    assert stage(*predicted(right)).code == 0
    for name, columns in NO_ROWS.items():
        assert list(pd.read_csv(f"metrics/m.{name}.csv").columns) == columns


def test_fault_60_nan_among_the_figures_of_poses_writes_nothing(
    stage: Callable[..., Any], pose_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pose_scores, "pckh", lambda *_: float("nan"))
    done = stage(*pose_model)
    assert (done.code, done.err) == (
        1,
        "error: val.pckh is not a finite number: nothing is written. Train that model anew, or run `dvc repro` for it\n",
    )
    assert not Path("metrics").exists() and not Path("answers").exists()


# Clips ---------------------------------------------------------------------------------------------------------------


TRAIN_CLIPS = 27

OF_CLIPS = {
    **dict.fromkeys(("x1", "x2", "x3"), ("train", "")), "v1": ("val", ""), "v2": ("val", ""),
    "t1": ("test", "test5"), "t2": ("test", "test5"), "t3": ("test", ""), "t4": ("test", ""), "t5": ("test", ""),
}  # fmt: skip
ACTIONS = dict(zip(OF_CLIPS, ["run", "run", "walk", "run", "walk", "run", "walk", "run", "walk", "walk"], strict=True))
# Scores of running and walking: sigmoids, which need not sum to 1. t3 is wrong, and of t4 and t5 running is as high as of t3.
SCORED_CLIPS = pd.DataFrame(
    {
        "v1": [0.9, 0.2],
        "v2": [0.1, 0.6],
        "t1": [0.8, 0.1],
        "t2": [0.1, 0.7],
        "t3": [0.2, 0.3],
        "t4": [0.2, 0.8],
        "t5": [0.2, 0.9],
    },
    index=["run", "walk"],
).T
TEST_AP = {"run": (1 / 1 + 2 / 4) / 2, "walk": 1.0}  # of running t1 is first, then three are alike


@pytest.fixture
def clip_model(folders: Any) -> Callable[..., tuple[Any, ...]]:
    """Clips with a nested half of test: -> the words to call."""

    def make(found: pd.DataFrame = SCORED_CLIPS, also: bool = True, **labels: str) -> tuple[Any, ...]:
        facts = {"frames": 30, "seconds": 1.0, "frame_rate": 30.0, "variable_rate": False, "rotation_deg": 0}
        videos = pd.DataFrame({"sample_id": list(OF_CLIPS), **facts})
        none = pd.DataFrame(columns=list(BOXES.columns)).astype(dict.fromkeys(BOX_COLUMNS, float))
        parts = {name: part for name, (part, _) in OF_CLIPS.items()}
        words = folders(["run", "walk"], ACTIONS | labels, parts, none, class_rows(found), videos=videos)
        if also:
            rows = [(name, *listed) for name, listed in OF_CLIPS.items()]
            pd.DataFrame(rows, columns=["sample_id", "part", "also"]).to_csv("splits/class/parts.csv", index=False)
            write_manifest(Path("splits"))
        return words

    return make


def test_clips_have_map_and_the_nested_half_of_test_is_a_part_of_its_own(stage: Callable[..., Any], clip_model: Any) -> None:
    done = stage(*clip_model())
    assert done.code == 0, done.err
    metrics = read_json(Path("metrics/m.json"))
    assert list(metrics) == ["val", "test", "test5", "data", "architecture", "train_clips", "started_from"]
    assert metrics["train_clips"] == TRAIN_CLIPS
    assert list(metrics["val"]) == ["map"] and list(metrics["test5"]) == ["n", "map", "accuracy"]
    intervals = [f"{name}{end}" for name in ("map", "accuracy") for end in ("", "_low", "_high")]
    assert list(metrics["test"]) == ["n", *intervals, "majority"]
    assert [metrics[part]["n"] for part in ("test", "test5")] == [5, 2]
    assert [metrics[part]["map"] for part in ("val", "test", "test5")] == [1, (TEST_AP["run"] + 1) / 2, 1]
    assert metrics["test"]["accuracy"] == 0.8 and metrics["test"]["majority"] == 0.4  # train's commonest is running
    assert metrics["test"]["map_low"] < metrics["test"]["map"] <= metrics["test"]["map_high"] == 1
    parts = pd.read_csv("metrics/m.parts.csv")
    assert parts["part"].tolist() == ["val", "test", "test5"] and parts["sequences"].tolist() == [2, 5, 2]
    ap = pd.read_csv("metrics/m.classes.csv").set_index(["part", "label"])["ap"]
    assert {label: ap["test", label] for label in TEST_AP} == TEST_AP and (ap["test5"] == 1).all()
    confusion = pd.read_csv("metrics/m.confusion.csv").groupby("part")["n"].sum()
    assert confusion.to_dict() == {"test": 5, "test5": 2, "val": 2}
    assert set(pd.read_csv("metrics/m.reliability.csv")["part"]) == {"val", "test"}
    assert pd.read_parquet("answers/answers.parquet")["sample_id"].tolist() == sorted(SCORED_CLIPS.index), "each clip once"
    of_classes = pd.read_parquet("answers/scores.parquet").set_index("sample_id")
    assert list(of_classes.columns) == ["part", "actual", "run", "walk"]
    assert of_classes.loc[SCORED_CLIPS.index, ["run", "walk"]].equals(SCORED_CLIPS.rename_axis("sample_id"))
    assert of_classes.loc[["v1", "t1", "t2"], ["part", "actual"]].to_numpy().tolist() == [
        ["val", "run"],
        ["test", "run"],
        ["test", "walk"],
    ]
    seeds = pd.read_csv("metrics/m.seeds.csv")
    assert seeds["part"].tolist() == ["test", "val"] and seeds["map"].tolist() == [0.875, 1.0]
    assert "m test: macro F1 0.762, mAP 0.875, n 5" in done.out and "left out" not in done.out


def test_the_nested_half_disturbs_nothing(stage: Callable[..., Any], clip_model: Any) -> None:
    assert stage(*clip_model()).code == 0
    both, first = read_json(Path("metrics/m.json")), results()
    assert stage(*clip_model(also=False)).code == 0
    alone = read_json(Path("metrics/m.json"))
    assert both.pop("test5")["n"] == 2 and both == alone
    for name in ("chosen.json", "answers.parquet", "sequences.parquet", "scores.parquet"):
        assert first[name] == results()[name]


def test_a_class_without_a_clip_is_left_out_of_map_and_named(stage: Callable[..., Any], clip_model: Any) -> None:
    done = stage(*clip_model(t2="run"))
    assert done.code == 0, done.err
    assert "m test5: left out of mAP, without a clip: walk" in done.out
    ap = pd.read_csv("metrics/m.classes.csv").set_index(["part", "label"])["ap"]
    assert np.isnan(ap["test5", "walk"]) and read_json(Path("metrics/m.json"))["test5"]["map"] == ap["test5", "run"] == 1


def test_map_of_clips_of_further_seeds_is_spread(stage: Callable[..., Any], clip_model: Any) -> None:
    words = clip_model()
    further_seeds(class_rows(SCORED_CLIPS.assign(run=SCORED_CLIPS["run"].where(SCORED_CLIPS.index != "t3", 0.7))))
    assert stage(*words).code == 0
    test = read_json(Path("metrics/m.json"))["test"]
    assert test | {"seeds": 2, "map_mean": (0.875 + 1) / 2, "map_sd": 0.088388} == test


def test_the_model_s_own_figures_are_measured_once(
    stage: Callable[..., Any], clip_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = clip_model()
    with monkeypatch.context() as patch:
        patch.setattr(evaluate, "of_training", lambda *_: pytest.fail("there is no other training"))
        assert stage(*words).code == 0
    further_seeds(class_rows(SCORED_CLIPS))
    whole = scores.mean_average_precision
    nan = iter([False] * 3 + [True] * 9)  # of val, test and test5 of the model; then those of the further training
    monkeypatch.setattr(scores, "mean_average_precision", lambda *given: float("nan") if next(nan) else whole(*given))
    before = results()
    done = stage(*words)
    assert (done.code, done.err) == (
        1,
        "error: test.map is not a finite number: nothing is written. Train that model anew, or run `dvc repro` for it\n",
    )
    assert results() == before
