"""Temperatures against those that were laid on, and the calibration error against torchmetrics."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit, softmax
from torchmetrics.functional.classification import binary_calibration_error

from stages.calibration import (
    EPSILON,
    HIGHEST,
    LOWEST,
    calibrated,
    calibrated_binary,
    expected_calibration_error,
    platt,
    reliability,
    temperature,
)
from stages.files import DataError


def drawn(seed: int, n: int = 20_000, classes: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Logits (N, C) of a calibrated model, and classes drawn with just those probabilities."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (n, classes))
    return logits, np.array([rng.choice(classes, p=row) for row in softmax(logits, axis=1)])


@pytest.mark.parametrize("known", [0.3, 1.0, 2.5, 4.0])
def test_the_temperature_that_was_laid_on_is_found(known: float) -> None:
    logits, targets = drawn(1)
    assert temperature(softmax(logits * known, axis=1), targets) == pytest.approx(known, rel=0.03)


@pytest.mark.parametrize(("known", "bias"), [(0.5, 0.0), (3.0, 0.0), (2.0, 3.0), (1.0, -2.0)])
def test_the_scaling_of_a_score_is_found(known: float, bias: float) -> None:
    rng = np.random.default_rng(2)
    sure = rng.normal(0, 2, 40_000)
    right = rng.random(40_000) < expit(sure)
    found = platt(expit((sure - bias) * known), right)
    assert found == (pytest.approx(known, rel=0.03), pytest.approx(bias, abs=0.1))
    scores = expit(sure[:100] * known)
    assert calibrated_binary(scores, *found) == pytest.approx(expit(logit(scores) / found[0] + found[1]))


def test_low_scores_that_are_right_are_believed() -> None:
    """A temperature alone would leave all of them below 0.5."""
    scores, right = np.linspace(0.01, 0.2, 200), np.random.default_rng(0).random(200) < 0.9
    assert calibrated_binary(scores, *platt(scores, right)).mean() == pytest.approx(right.mean(), abs=0.01)


def test_overconfident_answers_are_mended() -> None:
    logits, targets = drawn(3)
    before = softmax(logits * 2.5, axis=1)
    after = calibrated(before, temperature(before, targets))
    right = before.argmax(1) == targets
    error = [expected_calibration_error(rows.max(1), right) for rows in (before, after)]
    assert error[0] > 0.1
    assert error[1] < 0.015
    assert after.sum(1) == pytest.approx(np.ones(len(after)))


def test_overconfident_scores_are_mended() -> None:
    rng = np.random.default_rng(4)
    sure = rng.normal(0, 1, 20_000)
    right = rng.random(20_000) < expit(sure)
    scores = expit(4 * sure)
    after = calibrated_binary(scores, *platt(scores, right))
    assert expected_calibration_error(scores, right) > 0.1
    assert expected_calibration_error(after, right) < 0.015


def test_calibrated_exact() -> None:
    thirds = np.array([[0.5, 0.25, 0.25]])
    assert calibrated(thirds, 0.5) == pytest.approx(np.array([[4, 1, 1]]) / 6)  # squares, made to sum to 1
    assert calibrated(thirds, 1) == pytest.approx(thirds)
    assert calibrated_binary(np.array([0.8, 0.5]), 2) == pytest.approx([2 / 3, 0.5])  # odds 4 -> 2


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.lists(st.floats(0.001, 1), min_size=3, max_size=3), min_size=1, max_size=20),
    by=st.floats(LOWEST, HIGHEST),
)
def test_which_answer_it_is_never_changes(rows: list[list[float]], by: float) -> None:
    probabilities = np.array(rows) / np.sum(rows, axis=1, keepdims=True)
    after = calibrated(probabilities, by)
    chosen = np.arange(len(rows)), probabilities.argmax(1)
    assert (after[chosen] == after.max(1)).all()
    assert after.sum(1) == pytest.approx(np.ones(len(rows)))


def test_rows_of_unknown_classes_are_left_out() -> None:
    logits, targets = drawn(5, 500)
    probabilities = softmax(logits, axis=1)
    strange = np.concatenate([probabilities, np.full((300, 5), 0.2)])
    assert temperature(strange, np.append(targets, np.full(300, -1))) == temperature(probabilities, targets)
    with pytest.raises(DataError, match="no validation item is of a class that the model knows"):
        temperature(probabilities, np.full(500, -1))
    with pytest.raises(DataError, match="no validation item"):
        temperature(np.empty((0, 5)), np.empty(0, dtype=int))
    with pytest.raises(DataError, match="no validation item"):
        platt(np.empty(0), np.empty(0, dtype=bool))


def test_where_no_temperature_is_better_it_is_1() -> None:
    assert temperature(np.ones((4, 1)), np.zeros(4, dtype=int)) == 1  # one class
    assert temperature(np.full((4, 2), 0.5), np.array([0, 1, 1, 1])) == 1  # no opinion


def test_all_right_and_all_wrong_stay_in_the_range() -> None:
    probabilities = softmax(np.random.default_rng(6).normal(0, 1, (50, 3)), axis=1)
    surer = temperature(probabilities, probabilities.argmax(1))
    assert LOWEST <= surer < 0.2
    assert temperature(probabilities, probabilities.argmin(1)) == pytest.approx(HIGHEST, rel=1e-3)


def test_scores_of_exactly_0_and_1() -> None:
    scores, right = np.array([0.0, 1.0, 1.0, 0.0]), np.array([False, True, False, True])
    found, bias = platt(scores, right)  # half of the certain answers are wrong: as unsure as the range allows
    assert found == pytest.approx(HIGHEST, rel=1e-3) and bias == pytest.approx(0, abs=0.01)
    after = calibrated_binary(scores, found)
    assert np.isfinite(after).all()
    assert after == pytest.approx(expit(np.array([-1, 1, 1, -1]) * -np.log(EPSILON) / found), abs=1e-9)


@pytest.mark.parametrize("all_right", [True, False])
def test_scores_that_are_all_right_or_all_wrong_stay_finite(all_right: bool) -> None:
    scores = np.linspace(0.1, 0.9, 20)
    after = calibrated_binary(scores, *platt(scores, np.full(20, all_right)))
    assert np.isfinite(after).all() and ((after > 0.9) == all_right).all()


# Calibration error ---------------------------------------------------------------------------------------------------


def test_reliability_exact() -> None:
    confidence = np.array([0.1, 0.2, 0.5, 0.6, 0.7, 1.0])
    right = np.array([False, True, True, True, False, True])
    table = reliability(confidence, right, 4)
    assert table["low"].tolist() == [0, 0.25, 0.5, 0.75]
    assert table["high"].tolist() == [0.25, 0.5, 0.75, 1]
    assert table["n"].tolist() == [2, 0, 3, 1]  # 0.5 is in the bin above it, 1 in the last
    assert table["confidence"].tolist() == pytest.approx([0.15, np.nan, 0.6, 1], nan_ok=True)
    assert table["accuracy"].tolist() == pytest.approx([0.5, np.nan, 2 / 3, 1], nan_ok=True)
    # (2 × 0.35 + 3 × 0.0667 + 1 × 0) / 6
    assert expected_calibration_error(confidence, right, 4) == pytest.approx(0.15)


def test_error_of_a_sure_model() -> None:
    assert expected_calibration_error(np.ones(8), np.ones(8, dtype=bool)) == 0
    assert expected_calibration_error(np.ones(8), np.arange(8) < 6) == pytest.approx(0.25)
    assert expected_calibration_error(np.zeros(8), np.ones(8, dtype=bool)) == 1
    with pytest.raises(DataError, match="calibration error of no items"):
        expected_calibration_error(np.empty(0), np.empty(0, dtype=bool))


@pytest.mark.parametrize("bins", [1, 10, 15])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_error_is_that_of_torchmetrics(seed: int, bins: int) -> None:
    rng = np.random.default_rng(seed)
    confidence = rng.random(700)
    right = rng.random(700) < confidence**2
    expected = binary_calibration_error(torch.tensor(confidence), torch.tensor(right), n_bins=bins)
    assert expected_calibration_error(confidence, right, bins) == pytest.approx(float(expected), abs=1e-9)
