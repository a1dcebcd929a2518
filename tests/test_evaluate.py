"""Predictions -> answers, metrics and slices, with exact numbers on hand-made tables. Faults 59 and 60."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages import evaluate
from stages.evaluate import EvaluateSettings, all_classes, answers, measure, rounded, slices, with_slices
from stages.files import DataError, check_manifest, new_folder, read_json, write_json
from stages.predictions import check_predictions
from stages.samples import BOXES, SAMPLES, Samples

SETTINGS = EvaluateSettings(draws=200)


def predicted(rows: dict[str, dict[str, float]]) -> pd.DataFrame:
    """{sample_id: {label: score}} -> a predictions table."""
    flat = [(name, "class", label, score) for name, scores in rows.items() for label, score in scores.items()]
    return pd.DataFrame(flat, columns=["sample_id", "task", "label", "score"])


def pictures(**labels: str) -> pd.DataFrame:
    return pd.DataFrame({"sample_id": list(labels), "label": list(labels.values())})


# Answers -------------------------------------------------------------------------------------------------------------


def test_the_highest_score_is_the_answer_and_ties_go_by_name() -> None:
    table = answers(predicted({"b": {"fox": 0.3, "deer": 0.7}, "a": {"wolf": 0.5, "fox": 0.5}}), pictures(a="fox", b="deer"))
    assert table[["sample_id", "actual", "predicted", "score"]].to_numpy().tolist() == [
        ["a", "fox", "fox", 0.5],
        ["b", "deer", "deer", 0.7],
    ]


def test_fault_59_a_missing_prediction_fails() -> None:
    given = predicted({"a": {"deer": 1.0}})
    with pytest.raises(DataError, match=r"1 of 2 pictures have no prediction \(\['b'\]\), 0 .* averaged over fewer"):
        answers(given, pictures(a="deer", b="fox"))


def test_fault_59_a_prediction_of_no_picture_fails() -> None:
    given = predicted({"a": {"deer": 1.0}, "z": {"deer": 1.0}})
    with pytest.raises(DataError, match=r"0 of 1 pictures .*, 1 predictions no picture \(\['z'\]\)"):
        answers(given, pictures(a="deer"))


@pytest.mark.parametrize("score", [float("nan"), float("inf"), -0.1, 1.1])
def test_fault_60_a_score_that_is_none_fails(score: float) -> None:
    with pytest.raises(DataError, match=r"(?s)the predictions break the table's rules:.*score"):
        check_predictions(predicted({"a": {"deer": 0.5, "fox": score}}), pd.Series(["a"]))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda table: table.assign(task="box"), "task"),
        (lambda table: table.drop(columns="score"), "score"),
        (lambda table: table.assign(more=1), "more"),
        (lambda table: pd.concat([table, table]), "sample_id"),
        (lambda table: table.assign(sample_id=[None, "a"]), "sample_id"),
    ],
)
def test_another_shape_of_predictions_fails(change: Callable[[pd.DataFrame], pd.DataFrame], word: str) -> None:
    with pytest.raises(DataError, match=rf"(?s)the predictions break the table's rules:.*{word}"):
        check_predictions(change(predicted({"a": {"deer": 0.5, "fox": 0.5}})), pd.Series(["a"]))


# Measures ------------------------------------------------------------------------------------------------------------


def table_of(rows: str) -> pd.DataFrame:
    """Lines of: part, times, actual, predicted, light, box_size, location."""
    expanded = []
    for line in rows.strip().splitlines():
        part, times, *rest = line.split()
        expanded += [(part, *(None if word == "-" else word for word in rest))] * int(times)
    columns = ["part", "actual", "predicted", "light", "box_size", "location"]
    table = pd.DataFrame(expanded, columns=columns)
    return table.assign(sample_id=[f"p{n}" for n in range(len(table))], seq_id=[f"s{n // 2}" for n in range(len(table))])


TABLE = table_of("""
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


def test_measure_exact_numbers() -> None:
    found = measure(TABLE, ["deer", "fox", "empty"], "deer", SETTINGS, 0)
    assert list(found) == ["val", "seen", "unseen", "gap"]
    assert found["val"]["n"] == 4
    assert found["val"]["f1_macro"] == pytest.approx((6 / 7 + 0) / 2)
    assert found["seen"]["n"] == 10
    assert found["seen"]["f1_macro"] == pytest.approx((6 / 7 + 0.4) / 2)
    assert found["seen"]["accuracy"] == pytest.approx(0.7)
    assert found["seen"]["majority"] == pytest.approx(0.8)
    assert found["unseen"]["n"] == 4
    assert found["unseen"]["f1_macro"] == pytest.approx((4 / 6) / 3)  # a class that train lacks counts, as missed
    assert found["unseen"]["majority"] == pytest.approx(0.5)
    assert found["gap"] == pytest.approx((6 / 7 + 0.4) / 2 - (4 / 6) / 3)
    assert found["seen"]["f1_macro_low"] <= found["seen"]["f1_macro"] <= found["seen"]["f1_macro_high"]


def test_measure_draws_by_its_seed_and_not_by_what_else_is_there() -> None:
    one = measure(TABLE, ["deer", "fox", "empty"], "deer", SETTINGS, 1)
    assert one == measure(TABLE, ["deer", "fox", "empty"], "deer", SETTINGS, 1)
    assert measure(TABLE[TABLE["part"] == "seen"], ["deer", "fox", "empty"], "deer", SETTINGS, 1) == {"seen": one["seen"]}
    assert any(measure(TABLE, ["deer", "fox", "empty"], "deer", SETTINGS, seed) != one for seed in range(2, 6))


def test_train_and_unused_are_not_measured() -> None:
    table = TABLE.assign(part=TABLE["part"].replace({"val": "train", "unseen": "unused"}))
    assert list(measure(table, ["deer", "fox", "empty"], "deer", SETTINGS, 0)) == ["seen"]
    assert set(slices(table, ["deer", "fox", "empty"])["part"]) == {"seen"}


def test_all_classes_are_the_trained_then_the_strange() -> None:
    table = pd.DataFrame({"actual": ["wolf", "fox", "bear"]})
    assert all_classes(table, ["fox", "deer"]) == ["fox", "deer", "bear", "wolf"]


def test_slices_exact_numbers() -> None:
    found = slices(TABLE, ["deer", "fox", "empty"])
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
    value = {"a": 0.123456, "b": {"c": 1 / 3, "n": 7}, "d": "text"}
    assert rounded(value) == {"a": 0.1235, "b": {"c": 0.3333, "n": 7}, "d": "text"}


# The command line ----------------------------------------------------------------------------------------------------


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Any, ...]]:
    """Folders as the stages before leave them, and a family that answers `answer(picture)`: -> the words to call."""

    def make(answer: Callable[[Any], dict[str, float]], ids: tuple[str, ...] = ("a", "b", "NA", "d", "e", "f")) -> Any:
        count = len(ids)
        table = pd.DataFrame(
            {
                "sample_id": ids, "path": ids, "label": ["deer", "fox"] * (count // 2), "location": "1",
                "seq_id": ids, "frame_num": pd.array([pd.NA] * count, "Int64"),
                "captured_at": pd.Series([pd.NaT] * count, dtype="datetime64[us]"), "given_split": None,
                "width_px": 8, "height_px": 6, "infrared": False, "bytes": 9,
                "sha256": [f"{n:064x}" for n in range(count)], "phash": [f"{n:016x}" for n in range(count)], "note": "",
            }
        )  # fmt: skip
        table = SAMPLES.validate(table.astype({"given_split": "str"}))
        with new_folder(tmp_path / "clean") as folder:
            table.to_parquet(folder / "samples.parquet", index=False)
            names = {name: pd.Series([], dtype="str" if name in ("sample_id", "label") else float) for name in BOXES.columns}
            pd.DataFrame(names).to_parquet(folder / "boxes.parquet", index=False)
            write_json(folder / "source.json", {"root": "raw", "data": "your data"})
        with new_folder(tmp_path / "splits") as folder:
            parts = ["train", "train", "seen", "seen", "unseen", "unseen"][:count]
            pd.DataFrame({"sample_id": ids, "part": parts}).to_csv(folder / "class.csv", index=False)
        with new_folder(tmp_path / "model") as folder:
            card = {
                "classes": ["deer", "fox"],
                "trained_on": {"data": "your data"},
                "as_built": "tiny at 8 px, scratch",
            }
            write_json(folder / "model.json", card)

        def predict(_folder: Path, rows: pd.DataFrame, _root: Path, _batch: int) -> pd.DataFrame:
            return predicted({row.sample_id: found for row in rows.itertuples() if (found := answer(row))})

        monkeypatch.setattr(evaluate, "family", lambda name: SimpleNamespace(predict=predict))
        return ("evaluate", "--model", "m", "--family", "image", "--params", "evaluate", "--trained", "model", "--clean",
                "clean", "--split", "splits/class.csv", "--seed", 0, "--predictions", "predictions", "--metrics", "metrics")  # fmt: skip

    return make


PARAMS = {"evaluate": {"draws": 50}}


def right(row: Any) -> dict[str, float]:
    return {"deer": 0.9, "fox": 0.1} if row.label == "deer" else {"deer": 0.2, "fox": 0.8}


def all_files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_stage_writes_metrics_tables_and_predictions(stage: Callable[..., Any], trained: Any) -> None:
    done = stage(*trained(lambda row: right(row) if row.sample_id != "f" else {"deer": 1.0, "fox": 0.0}), params=PARAMS)
    assert done.code == 0, done.err
    metrics = read_json(Path("metrics/m.json"))
    assert metrics["seen"]["f1_macro"] == 1
    assert metrics["seen"]["n"] == 2  # the picture that is called NA is one of them
    assert metrics["unseen"]["f1_macro"] == 0.3333
    assert metrics["gap"] == 0.6667
    assert (metrics["data"], metrics["architecture"]) == ("your data", "tiny at 8 px, scratch")
    assert sorted(path.name for path in Path("metrics").iterdir()) == [
        "m.classes.csv", "m.confusion.csv", "m.json", "m.slices.csv"
    ]  # fmt: skip
    confusion = pd.read_csv("metrics/m.confusion.csv").to_numpy().tolist()
    assert confusion == [["seen", "deer", "deer", 1], ["seen", "fox", "fox", 1],
                         ["unseen", "deer", "deer", 1], ["unseen", "fox", "deer", 1]]  # fmt: skip
    classes = pd.read_csv("metrics/m.classes.csv")
    assert classes.query("part == 'unseen' and label == 'deer'")[["n", "predicted", "precision", "recall", "f1", "in_train"]
                         ].to_numpy().tolist() == [[1, 2, 0.5, 1, 0.6667, True]]  # fmt: skip
    assert check_manifest(Path("predictions")) == []
    assert len(pd.read_parquet("predictions/predictions.parquet")) == 8
    assert "m unseen: macro F1 0.333, n 2" in done.out


def test_the_stage_is_the_same_twice(stage: Callable[..., Any], trained: Any) -> None:
    words = trained(right)
    assert stage(*words, params=PARAMS).code == 0
    first = all_files(Path("metrics")) | all_files(Path("predictions"))
    assert stage(*words, params=PARAMS).code == 0
    assert all_files(Path("metrics")) | all_files(Path("predictions")) == first


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda row: right(row) if row.sample_id != "d" else {}, "1 of 4 pictures have no prediction (['d'])"),
        (lambda row: {"deer": float("nan"), "fox": 0.5}, "the predictions break the table's rules"),
    ],
    ids=["fault_59", "fault_60"],
)
def test_fault_59_60_nothing_old_is_replaced(
    stage: Callable[..., Any], trained: Any, answer: Callable[[Any], Any], message: str
) -> None:
    assert stage(*trained(right), params=PARAMS).code == 0
    before = all_files(Path("metrics")) | all_files(Path("predictions"))
    done = stage(*trained(answer), params=PARAMS)
    assert done.code == 1
    assert message in done.err
    assert all_files(Path("metrics")) | all_files(Path("predictions")) == before


def test_fault_60_nan_among_the_metrics_replaces_nothing(
    stage: Callable[..., Any], trained: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = trained(right)
    assert stage(*words, params=PARAMS).code == 0
    before = all_files(Path("metrics")) | all_files(Path("predictions"))
    wrong = trained(lambda row: {"deer": 0.4, "fox": 0.6})
    monkeypatch.setattr(evaluate.scores, "accuracy", lambda counts: np.float64("nan"))
    done = stage(*wrong, params=PARAMS)
    assert done.code == 1
    assert "m.json: not written, seen.accuracy is not a finite number" in done.err
    assert all_files(Path("metrics")) | all_files(Path("predictions")) == before


@pytest.mark.parametrize("folder", ["model/model.json", "clean/source.json", "splits/class.csv"])
def test_altered_inputs_are_refused(stage: Callable[..., Any], trained: Any, folder: str) -> None:
    words = trained(right)
    path = Path(folder)
    path.write_text(path.read_text() + " ")
    done = stage(*words, params=PARAMS)
    assert done.code == 1
    assert f"{path}: " in done.err
    assert not Path("metrics").exists()


def test_a_split_of_other_pictures_is_refused(stage: Callable[..., Any], trained: Any) -> None:
    words = trained(right)
    with new_folder(Path("splits")) as folder:
        rows = [["a", "train"], ["NA", "seen"], ["gone", "seen"]]
        pd.DataFrame(rows, columns=["sample_id", "part"]).to_csv(folder / "class.csv", index=False)
    done = stage(*words, params=PARAMS)
    assert done.code == 1
    assert "splits/class.csv: 1 pictures are not in clean: run `dvc repro`" in done.err


def test_metrics_are_json_that_others_read(stage: Callable[..., Any], trained: Any) -> None:
    assert stage(*trained(right), params=PARAMS).code == 0
    text = Path("metrics/m.json").read_text()
    assert text.endswith("}\n")
    assert json.loads(text, parse_constant=lambda name: pytest.fail(name))
