"""Precision against recall: exact points, scikit-learn's curve with ties, what is pooled, and what is left out."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, precision_recall_curve

from stages.precision_recall import ALL, COLUMNS, MOST_POINTS, curve, curves, of_boxes, of_classes, thinned
from stages.predictions import box_rows
from stages.samples import BOX_COLUMNS, EMPTY

# A curve -------------------------------------------------------------------------------------------------------------


def test_a_point_for_each_score_and_ties_are_one() -> None:
    points = curve(np.array([True, False, True, True, False]), np.array([0.9, 0.5, 0.5, 0.2, 0.9]), 4)
    assert points["score"].tolist() == [0.9, 0.5, 0.2]
    assert points["precision"].tolist() == [1 / 2, 2 / 4, 3 / 5]
    assert points["recall"].tolist() == [1 / 4, 2 / 4, 3 / 4], "one true box is in no row"


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0])), min_size=1, max_size=60))
def test_it_is_scikit_learn_s(rows: list[tuple[bool, float]]) -> None:
    positive, scores = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    points = curve(positive, scores, int(positive.sum()))
    if not positive.any():
        assert points.empty
        return
    precision, recall, thresholds = precision_recall_curve(positive, scores)
    assert points["score"].tolist() == thresholds[::-1].tolist()
    assert points["precision"].to_numpy() == pytest.approx(precision[:-1][::-1])
    assert points["recall"].to_numpy() == pytest.approx(recall[:-1][::-1])


def test_nothing_found_or_nothing_to_find_has_no_point() -> None:
    nothing = np.array([], dtype=bool), np.array([])
    assert curve(*nothing, 3).empty and curve(*nothing, 0).empty
    assert curve(np.array([False]), np.array([0.5]), 0).empty
    assert list(curve(*nothing, 3).columns) == ["score", "precision", "recall"]


# Thinned -------------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=400))
def test_thinned_keeps_the_ends_and_takes_only_what_is_there(rows: list[tuple[bool, float]]) -> None:
    positive, scores = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    points = curve(positive, scores, max(1, int(positive.sum())))
    few = thinned(points)
    assert len(few) <= MOST_POINTS and few.index.is_monotonic_increasing and few.index.is_unique
    assert few.equals(points.loc[few.index])
    assert (few.index[0], few.index[-1]) == (points.index[0], points.index[-1])


def test_thinned_is_even_in_recall() -> None:
    rng = np.random.default_rng(0)
    positive = rng.random(20_000) < 0.3
    scores = rng.random(20_000) * 0.5 + positive * 0.2
    points = curve(positive, scores, int(positive.sum()))
    few = thinned(points)
    assert len(points) == 20_000 and MOST_POINTS - 1 <= len(few) <= MOST_POINTS
    assert few["recall"].diff().dropna().max() < 1.5 / (MOST_POINTS - 2)
    rises = (few["precision"] * few["recall"].diff().fillna(few["recall"].iloc[0])).sum()
    assert rises == pytest.approx(average_precision_score(positive, scores), abs=0.01)


# Of classes ----------------------------------------------------------------------------------------------------------


PICTURES = pd.DataFrame(
    [("v1", "val", "deer"), ("v2", "val", "fox"), ("t1", "test", "deer"), ("t2", "test", "wolf"), ("x1", "train", "fox")],
    columns=["sample_id", "part", "actual"],
)
WIDE = pd.DataFrame({"deer": [0.9, 0.6, 0.5, 0.7, 0.1], "fox": [0.1, 0.4, 0.5, 0.3, 0.9]}, index=["v1", "v2", "t1", "t2", "x1"])


def rows(table: pd.DataFrame, part: str, label: str) -> list[list[float]]:
    """Score, precision, recall."""
    return table.loc[(table["part"] == part) & (table["label"] == label), COLUMNS[2:]].round(4).to_numpy().tolist()


def test_each_class_against_the_rest_and_all_pooled() -> None:
    pooled, every = curves(of_classes(PICTURES, WIDE))
    assert list(pooled.columns) == list(every.columns) == COLUMNS
    assert rows(every, "val", "deer") == [[0.9, 1, 1], [0.6, 0.5, 1]]
    assert rows(every, "val", "fox") == [[0.4, 1, 1], [0.1, 0.5, 1]]
    assert rows(pooled, "val", ALL) == [[0.9, 1, 0.5], [0.6, 0.5, 0.5], [0.4, 0.6667, 1], [0.1, 0.5, 1]]
    assert set(pooled["label"]) == {ALL} and set(pooled["part"]) == set(every["part"]) == {"val", "test"}
    assert rows(every, "val", ALL) == rows(pooled, "val", ALL)


def test_a_class_without_an_item_has_no_row_and_one_that_is_not_known_scores_0() -> None:
    _, every = curves(of_classes(PICTURES, WIDE))
    assert rows(every, "test", "fox") == []
    assert rows(every, "test", "wolf") == [[0, 0.5, 1]]


def test_a_class_of_the_name_all_does_not_get_among_the_pooled() -> None:
    named = PICTURES.assign(actual=PICTURES["actual"].replace("deer", ALL))
    pooled, every = curves(of_classes(named, WIDE.rename(columns={"deer": ALL})))
    assert pooled.equals(curves(of_classes(PICTURES, WIDE))[0]) and len(every) > len(pooled)


# Of boxes ------------------------------------------------------------------------------------------------------------


def at(*rows: tuple[str, str, float, float]) -> pd.DataFrame:
    """(sample_id, label, score, left) of boxes of 10 x 10 px."""
    flat = [(name, label, score, float(left), 0.0, left + 10.0, 10.0) for name, label, score, left in rows]
    return pd.DataFrame(flat, columns=["sample_id", "label", "score", *BOX_COLUMNS])


SEEN = pd.DataFrame(
    [("a", "deer"), ("b", "fox"), ("c", EMPTY), ("d", "deer")], columns=["sample_id", "actual"]
).assign(part="seen")  # fmt: skip
TRUE = at(("a", "deer", 1, 0), ("a", "deer", 1, 40), ("b", "fox", 1, 0)).drop(columns="score")
FOUND = box_rows(
    at(
        ("a", "deer", 0.9, 0),  # right
        ("b", "deer", 0.8, 0),  # another class
        ("c", "fox", 0.8, 0),  # in an empty picture
        ("b", "fox", 0.7, 2),  # right: an IoU of 0.67
        ("d", "deer", 0.95, 0),  # an animal without a box: nobody knows
    ),
    SEEN["sample_id"],
)


def test_boxes_by_matches_at_half_and_without_pictures_of_animals_without_a_box() -> None:
    pooled, every = curves(of_boxes(FOUND, TRUE, SEEN))
    assert rows(pooled, "seen", ALL) == [[0.9, 1, 0.3333], [0.8, 0.3333, 0.3333], [0.7, 0.5, 0.6667]]
    assert rows(every, "seen", "deer") == [[0.9, 1, 0.5], [0.8, 0.5, 0.5]]
    assert rows(every, "seen", "fox") == [[0.8, 0, 0], [0.7, 0.5, 1]]
    assert set(every["label"]) == {ALL, "deer", "fox"}


def test_a_part_without_a_true_box_and_a_model_that_finds_nothing_have_no_row() -> None:
    elsewhere = SEEN.assign(part=["seen", "unseen", "unseen", "seen"])
    pooled, _ = curves(of_boxes(FOUND, TRUE[TRUE["sample_id"] == "a"], elsewhere))
    assert set(pooled["part"]) == {"seen"}
    for table in curves(of_boxes(box_rows(at(), SEEN["sample_id"]), TRUE, SEEN)):
        assert table.empty and list(table.columns) == COLUMNS
    assert curves(of_boxes(FOUND, TRUE[:0], SEEN))[0].empty
