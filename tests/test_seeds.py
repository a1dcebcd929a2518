"""Several trainings of one model that differ in their seed: their figures, how they lie apart, and how two models differ."""

import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from stages.seeds import Seeds, changes, figures, numbered, spread


@given(st.integers(0, 2**63), st.integers(1, 20))
def test_the_first_seed_is_the_given_one_and_no_two_are_alike(seed: int, count: int) -> None:
    found = numbered(seed, count)
    assert found[0] == (1, seed)
    assert [number for number, _ in found] == list(range(1, count + 1))
    assert len({own for _, own in found}) == count
    assert found == numbered(seed, count + 1)[:-1], "another training more leaves the others as they are"


@pytest.mark.parametrize("count", [0, -1, 100, 1.5, "3", True])
def test_a_count_that_is_none_is_refused(count: object) -> None:
    with pytest.raises(ValidationError):
        Seeds.model_validate(count, strict=True)


def shares(predictions: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"part": ["val", "test"], "accuracy": [predictions["score"].min(), predictions["score"].max()]})


def test_each_training_has_a_row_for_each_part() -> None:
    first = shares(pd.DataFrame({"score": [0.5, 0.75]}))
    further = pd.DataFrame({"score": [0.25, 1.0, 0.5, 0.5], "seed": [2, 2, 3, 3]})
    assert figures(first, None, shares).to_numpy().tolist() == [["val", 1, 0.5], ["test", 1, 0.75]]
    assert figures(first, further, shares).to_dict("list") == {
        "part": ["val", "test"] * 3, "seed": [1, 1, 2, 2, 3, 3], "accuracy": [0.5, 0.75, 0.25, 1.0, 0.5, 0.5]
    }  # fmt: skip


def trainings(*accuracies: float, first: int = 1) -> pd.DataFrame:
    return pd.DataFrame({"part": "test", "seed": range(first, first + len(accuracies)), "accuracy": accuracies})


def test_the_spread_of_three_is_by_hand() -> None:
    assert spread(trainings(0.5, 0.6, 0.7)) == pytest.approx({"seeds": 3, "accuracy_mean": 0.6, "accuracy_sd": 0.1})
    assert spread(trainings(0.5)) == {}


def test_a_figure_that_a_part_has_not_has_no_spread_and_one_that_fails_is_not_finite() -> None:
    own = trainings(0.5, 0.6)
    assert spread(own.assign(pckh=float("nan"))) == spread(own)
    found = spread(own.assign(pckh=[0.5, float("nan")]))
    assert math.isnan(found["pckh_mean"]) and math.isnan(found["pckh_sd"]), "write_json refuses them"


def test_changes_are_of_the_same_numbers() -> None:
    found = changes(trainings(0.5, 0.6, 0.9), trainings(0.4, 0.6, 0.6, 0.1), "accuracy", "test")
    assert found == pytest.approx({"seeds": 3, "change_mean": 0.4 / 3, "change_sd": 0.1527525}, rel=1e-6)
    assert changes(trainings(0.5), trainings(0.4, 0.6), "accuracy", "test") == {}
    assert changes(trainings(0.5, 0.5), trainings(0.4, 0.6, first=2), "accuracy", "test") == {}, "one number is in both"
    assert changes(trainings(0.5, 0.5), trainings(0.4, 0.6), "accuracy", "val") == {}
