"""The predictions table: one shape for classes and boxes, and no picture ever missing. Faults 59 and 60."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.files import DataError
from stages.predictions import BOX, CLASS, JOINTS, PREDICTIONS, box_rows, check_predictions, class_rows
from stages.samples import BOX_COLUMNS, EMPTY

NAN = float("nan")


def found(*rows: tuple[Any, ...]) -> pd.DataFrame:
    """(sample_id, label, score, side in px) of each box, a square at (1, 2)."""
    flat = [(name, label, score, 1, 2, 1 + side, 2 + side) for name, label, score, side in rows]
    return pd.DataFrame(flat, columns=["sample_id", "label", "score", *BOX_COLUMNS])


def short(rows: pd.DataFrame) -> list[list[Any]]:
    return rows[["sample_id", "label", "score"]].to_numpy().tolist()


# Classes -------------------------------------------------------------------------------------------------------------


def test_class_rows_have_a_row_for_each_picture_and_class_in_their_order() -> None:
    scores = pd.DataFrame({"fox": [0.25, 1.0], "deer": [0.75, 0.0]}, index=["b", "a"])
    rows = class_rows(scores)
    assert list(rows.columns) == list(PREDICTIONS.columns)
    assert short(rows) == [["b", "fox", 0.25], ["b", "deer", 0.75], ["a", "fox", 1.0], ["a", "deer", 0.0]]
    assert (rows["task"] == CLASS).all()
    assert rows[BOX_COLUMNS].isna().all(axis=None)
    pd.testing.assert_frame_equal(check_predictions(rows, pd.Series(["a", "b"])), rows)


def test_class_rows_keep_a_picture_and_a_class_called_NA() -> None:
    rows = class_rows(pd.DataFrame({"NA": [1.0]}, index=["NA"]))
    assert short(check_predictions(rows, pd.Series(["NA"]))) == [["NA", "NA", 1.0]]


def test_class_rows_keep_a_score_that_is_none_for_the_check_to_refuse() -> None:
    rows = class_rows(pd.DataFrame({"fox": [0.5, NAN], "deer": [0.5, 1.0]}, index=["a", "b"]))
    with pytest.raises(
        DataError,
        match=r"(?s)the predictions break the table's rules\. Run `dvc repro` for that model, or train it anew:.*score",
    ):
        check_predictions(rows, pd.Series(["a", "b"]))


# Boxes ---------------------------------------------------------------------------------------------------------------


def test_box_rows_follow_the_pictures_and_the_surest_box_comes_first() -> None:
    boxes = found(("a", "fox", 0.2, 5), ("c", "deer", 0.4, 6), ("a", "deer", 0.9, 7), ("a", "fox", 0.9, 8))
    rows = box_rows(boxes, pd.Series(["c", "b", "a"]))
    assert list(rows.columns) == list(PREDICTIONS.columns)
    assert short(rows) == [
        ["c", "deer", 0.4], ["b", EMPTY, 0.0], ["a", "deer", 0.9], ["a", "fox", 0.9], ["a", "fox", 0.2],
    ]  # fmt: skip
    assert rows["x_max_px"].tolist() == pytest.approx([7, NAN, 8, 9, 6], nan_ok=True)
    assert (rows["task"] == BOX).all()
    check_predictions(rows, pd.Series(["a", "b", "c"]))


@pytest.mark.parametrize("ids", [["b", "a"], []])
def test_where_nothing_was_found_every_picture_is_empty(ids: list[str]) -> None:
    rows = box_rows(found(), pd.Series(ids, dtype="str"))
    assert short(rows) == [[name, EMPTY, 0.0] for name in ids]
    assert rows[BOX_COLUMNS].isna().all(axis=None)
    assert rows.dtypes[["score", *BOX_COLUMNS]].eq(float).all()
    check_predictions(rows, pd.Series(ids, dtype="str"))


def test_where_every_picture_has_a_box_none_is_empty() -> None:
    rows = box_rows(found(("b", "fox", 1.0, 5), ("a", "fox", 0.5, 5)), pd.Series(["a", "b"]))
    assert short(rows) == [["a", "fox", 0.5], ["b", "fox", 1.0]]
    assert rows["x_min_px"].dtype == float, "coordinates given as whole numbers too"


@given(
    ids=st.lists(st.text("abN1 é/", min_size=1, max_size=3), unique=True, max_size=8),
    places=st.lists(
        st.tuples(st.integers(0, 7), st.sampled_from(["deer", "fox"]), st.sampled_from([0, 0.25, 0.5, 1])), max_size=20
    ),
)
def test_box_rows_keep_every_box_and_every_picture(ids: list[str], places: list[tuple[int, str, float]]) -> None:
    boxes = found(*((ids[place % len(ids)], label, score, 5) for place, label, score in places if ids))
    rows = check_predictions(box_rows(boxes, pd.Series(ids, dtype="str")), pd.Series(ids, dtype="str"))
    assert list(dict.fromkeys(rows["sample_id"])) == ids
    real = rows[rows["label"] != EMPTY]
    assert sorted(short(real)) == sorted(short(boxes))
    assert len(rows) - len(real) == len(set(ids) - set(boxes["sample_id"]))
    assert (rows.groupby("sample_id")["score"].diff().dropna() <= 0).all()


# Joints --------------------------------------------------------------------------------------------------------------


def people(*rows: tuple[str, float, float]) -> pd.DataFrame:
    """(sample_id, score, the first of 48 numbers) of each person, a box of 5 px at (1, 2)."""
    boxes = found(*((name, "person", score, 5) for name, score, _ in rows))
    return boxes.assign(joints=[np.arange(48) + first for *_, first in rows])


def first_of(rows: pd.DataFrame) -> list[Any]:
    return [None if joints is None else joints[0] for joints in rows["joints"]]


def test_people_are_boxes_that_keep_their_joints() -> None:
    rows = box_rows(people(("a", 0.2, 1.0), ("c", 0.4, 2.0), ("a", 0.9, 3.0)), pd.Series(["c", "b", "a"]), JOINTS)
    assert list(rows.columns) == list(PREDICTIONS.columns)
    assert short(rows) == [["c", "person", 0.4], ["b", EMPTY, 0.0], ["a", "person", 0.9], ["a", "person", 0.2]]
    assert first_of(rows) == [2.0, None, 3.0, 1.0]
    assert (rows["task"] == JOINTS).all()
    checked = check_predictions(rows, pd.Series(["a", "b", "c"]))
    assert checked["joints"].iloc[0].tolist() == list(range(2, 50))


def test_classes_and_boxes_have_no_joints_and_nobody_has_none() -> None:
    for rows in (both(), box_rows(found(), pd.Series(["a", "b"]), JOINTS), box_rows(people(), pd.Series(["a", "b"]), JOINTS)):
        assert rows["joints"].tolist() == [None] * len(rows)


@pytest.mark.parametrize("ids", [["a", "b"], ["a"]])
def test_joints_are_read_from_a_file_as_they_were_written(tmp_path: Path, ids: list[str]) -> None:
    rows = box_rows(people(("a", 0.25, 0.5), ("a", 0.5, -7.25)), pd.Series(ids), JOINTS)
    rows.to_parquet(tmp_path / "p.parquet", index=False)
    again = check_predictions(pd.read_parquet(tmp_path / "p.parquet"), pd.Series(ids))
    pd.testing.assert_frame_equal(again.drop(columns="joints"), rows.drop(columns="joints"), check_dtype=False)
    assert first_of(again) == first_of(rows)
    both().to_parquet(tmp_path / "c.parquet", index=False)
    check_predictions(pd.read_parquet(tmp_path / "c.parquet"), IDS)


@pytest.mark.parametrize(
    ("joints", "word"),
    [
        (None, "a person without joints, or joints without a person"),
        (np.zeros(47), "joints that are not 48 finite numbers"),
        (np.zeros((16, 3)), "joints that are not 48 finite numbers"),
        (np.append(np.zeros(47), NAN), "joints that are not 48 finite numbers"),
        (np.append(np.zeros(47), np.inf), "joints that are not 48 finite numbers"),
    ],
    ids=["none", "47", "16x3", "nan", "inf"],
)
def test_a_person_has_48_numbers(joints: Any, word: str) -> None:
    rows = box_rows(people(("a", 0.5, 0.0)), pd.Series(["a"]), JOINTS)
    rows.at[0, "joints"] = joints
    with pytest.raises(DataError, match=word):
        check_predictions(rows, pd.Series(["a"]))


@pytest.mark.parametrize("row", [0, 2, 3])
def test_joints_of_a_class_of_a_box_and_of_nobody_fail(row: int) -> None:
    table = both()
    table.at[row, "joints"] = np.zeros(48)
    with pytest.raises(DataError, match="a person without joints, or joints without a person"):
        check_predictions(table, IDS)


# The check -----------------------------------------------------------------------------------------------------------


def both() -> pd.DataFrame:
    """One picture with a class for sure, another with a box and one with none: each kind of row."""
    classes = class_rows(pd.DataFrame({"deer": [0.5], "fox": [0.5]}, index=["a"]))
    return pd.concat([classes, box_rows(found(("b", "fox", 0.5, 5)), pd.Series(["b", "c"]))], ignore_index=True)


IDS = pd.Series(["a", "b", "c"])


def test_the_check_lets_pass_what_is_right_and_numbers_its_rows() -> None:
    table = both()
    table.index = [7] * len(table)
    pd.testing.assert_frame_equal(check_predictions(table, IDS), both())


@pytest.mark.parametrize("score", [NAN, float("inf"), -0.1, 1.1])
@pytest.mark.parametrize("row", [0, 2])
def test_fault_60_a_score_that_is_none_fails(score: float, row: int) -> None:
    table = both()
    table.loc[row, "score"] = score
    with pytest.raises(
        DataError,
        match=r"(?s)the predictions break the table's rules\. Run `dvc repro` for that model, or train it anew:.*score",
    ):
        check_predictions(table, IDS)


def test_a_probability_may_pass_one_by_what_float32_rounds() -> None:
    table = both()
    table.loc[0, "score"] = float(np.float32(1.0000005))
    check_predictions(table, IDS)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda table: table.assign(task="clas"), "task"),
        (lambda table: table.drop(columns="score"), "score"),
        (lambda table: table.drop(columns="y_max_px"), "y_max_px"),
        (lambda table: table.drop(columns="joints"), "joints"),
        (lambda table: table.assign(more=1), "more"),
        (lambda table: table.assign(sample_id=[None, *table["sample_id"][1:]]), "sample_id"),
        (lambda table: table.assign(label=[None, *table["label"][1:]]), "label"),
    ],
)
def test_another_shape_of_predictions_fails(change: Callable[[pd.DataFrame], pd.DataFrame], word: str) -> None:
    with pytest.raises(
        DataError,
        match=rf"(?s)the predictions break the table's rules\. Run `dvc repro` for that model, or train it anew:.*{word}",
    ):
        check_predictions(change(both()), IDS)


def test_a_class_scored_twice_fails_and_a_box_of_the_same_class_twice_does_not() -> None:
    table = both()
    with pytest.raises(DataError, match="a class is scored twice"):
        check_predictions(pd.concat([table, table[:1]]), IDS)
    check_predictions(pd.concat([table, table[table["label"] == "fox"][1:]]), IDS)


@pytest.mark.parametrize(
    ("row", "columns", "value"),
    [*((2, [name], NAN) for name in BOX_COLUMNS), (2, BOX_COLUMNS, NAN), (3, BOX_COLUMNS, 1.0), (0, BOX_COLUMNS, 1.0)],
)
def test_a_box_without_coordinates_and_coordinates_without_a_box_fail(row: int, columns: list[str], value: float) -> None:
    table = both()
    assert table.loc[[2, 3, 0], "label"].tolist() == ["fox", EMPTY, "deer"]
    table.loc[row, columns] = value
    with pytest.raises(DataError, match="a box without coordinates, or coordinates without a box"):
        check_predictions(table, IDS)


def test_fault_59_a_missing_prediction_and_one_of_no_picture_fail() -> None:
    with pytest.raises(
        DataError,
        match=r"1 of 4 pictures have no prediction \(\['d'\]\), 0 .* averaged over fewer\. Run `dvc repro` for that model",
    ):
        check_predictions(both(), pd.Series([*IDS, "d"]))
    with pytest.raises(DataError, match=r"0 of 2 pictures .*, 1 predictions no picture \(\['c'\]\)"):
        check_predictions(both(), IDS[:2])
    with pytest.raises(DataError, match=r"3 of 3 pictures have no prediction \(\['a', 'b', 'c'\]\)"):
        check_predictions(both()[:0], IDS)
