"""Metrics against scikit-learn, and the bootstrap against resampling by hand."""

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn import metrics

from stages import scores
from stages.scores import (
    BETTER,
    UNDECIDED,
    WORSE,
    accuracy,
    average_precision,
    average_precisions,
    balanced_accuracy,
    bootstrap,
    confusion,
    f1_macro,
    headline,
    interval,
    map_bootstrap,
    map_figures,
    mean_average_precision,
    per_class,
    precision_recall_f1,
    verdict,
)

CLASSES = ["deer", "fox", "rabbit", "wolf", "empty"]


def answers(pairs: list[tuple[str, str]]) -> pd.DataFrame:
    return pd.DataFrame(pairs, columns=["actual", "predicted"]).astype("str")


tables = st.lists(st.tuples(st.sampled_from(CLASSES[:4]), st.sampled_from(CLASSES)), min_size=1, max_size=60).map(answers)


@settings(max_examples=80, deadline=None)
@given(table=tables)
def test_scores_are_those_of_scikit_learn(table: pd.DataFrame) -> None:
    actual, predicted = table["actual"].tolist(), table["predicted"].tolist()
    counts = confusion(table["actual"], table["predicted"], CLASSES)
    assert np.array_equal(counts, metrics.confusion_matrix(actual, predicted, labels=CLASSES))
    assert accuracy(counts) == pytest.approx(metrics.accuracy_score(actual, predicted))
    present = [label for label in CLASSES if label in actual]
    expected = metrics.f1_score(actual, predicted, labels=present, average="macro", zero_division=0)
    assert f1_macro(counts) == pytest.approx(expected)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of classes that are only ever predicted
        expected = metrics.balanced_accuracy_score(actual, predicted)
    assert balanced_accuracy(counts) == pytest.approx(expected)
    found = precision_recall_f1(counts)
    expected_parts = metrics.precision_recall_fscore_support(actual, predicted, labels=CLASSES, zero_division=0)
    for ours, theirs in zip(found, expected_parts, strict=False):
        assert ours == pytest.approx(theirs)
    rows = per_class(table, CLASSES)
    assert rows["label"].tolist() == CLASSES
    assert rows["n"].tolist() == expected_parts[3].tolist()
    assert rows["predicted"].sum() == len(table)
    assert rows["f1"].to_numpy() == pytest.approx(expected_parts[2])
    assert rows["recall"].to_numpy() == pytest.approx(expected_parts[1])
    assert rows["precision"].to_numpy() == pytest.approx(expected_parts[0])


def test_exact_numbers() -> None:
    table = answers([("deer", "deer")] * 6 + [("deer", "fox")] * 2 + [("fox", "fox")] * 1 + [("fox", "empty")] * 1)
    counts = confusion(table["actual"], table["predicted"], ["deer", "fox", "empty"])
    assert counts.tolist() == [[6, 2, 0], [0, 1, 1], [0, 0, 0]]
    precision, recall, f1 = precision_recall_f1(counts)
    assert precision == pytest.approx([1, 1 / 3, 0])
    assert recall == pytest.approx([0.75, 0.5, 0])
    assert f1 == pytest.approx([6 / 7, 0.4, 0])
    assert f1_macro(counts) == pytest.approx((6 / 7 + 0.4) / 2)  # `empty` has no true item: no say
    assert accuracy(counts) == pytest.approx(0.7)
    assert balanced_accuracy(counts) == pytest.approx((0.75 + 0.5) / 2)


def test_many_confusions_at_once_are_each_as_if_alone() -> None:
    counts = np.random.default_rng(0).integers(0, 5, (7, 4, 4)).astype(float)
    assert f1_macro(counts) == pytest.approx([float(f1_macro(one)) for one in counts])
    assert accuracy(counts) == pytest.approx([float(accuracy(one)) for one in counts])
    assert balanced_accuracy(counts) == pytest.approx([float(balanced_accuracy(one)) for one in counts])
    assert precision_recall_f1(counts)[2].shape == (7, 4)


def test_a_class_that_is_not_counted_is_refused() -> None:
    table = answers([("deer", "wolf")])
    with pytest.raises(ValueError, match="a class is not among those to count"):
        confusion(table["actual"], table["predicted"], ["deer", "fox"])
    with pytest.raises(ValueError, match="a class is not among those to count"):
        confusion(table["predicted"], table["actual"], ["deer", "fox"])


def test_interval_is_the_central_share() -> None:
    values = np.arange(1001) / 1000
    assert interval(values) == pytest.approx((0.025, 0.975))
    assert interval(values[::-1], 0.5) == pytest.approx((0.25, 0.75))


# Bootstrap -----------------------------------------------------------------------------------------------------------


def sequences(seed: int, count: int) -> pd.DataFrame:
    """Sequences of 1 to 6 pictures of one class each; a sequence is mostly right or mostly wrong as a whole."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        actual = CLASSES[rng.choice(4, p=[0.5, 0.3, 0.15, 0.05])]
        right = rng.random() < 0.7
        for _ in range(rng.integers(1, 7)):
            predicted = actual if rng.random() < (0.95 if right else 0.1) else str(rng.choice(CLASSES))
            rows.append((actual, predicted, f"s{number}"))
    return pd.DataFrame(rows, columns=["actual", "predicted", "seq_id"])


def by_group(table: pd.DataFrame) -> np.ndarray:
    return np.stack([confusion(rows["actual"], rows["predicted"], CLASSES) for _, rows in table.groupby("seq_id")])


def by_hand(table: pd.DataFrame, draws: int, unit: str) -> np.ndarray:
    """Macro F1 of resamples of whole units, drawn one by one."""
    rng = np.random.default_rng(99)
    counts = [confusion(rows["actual"], rows["predicted"], CLASSES) for _, rows in table.groupby(unit)]
    picks = rng.integers(0, len(counts), (draws, len(counts)))
    return np.array([f1_macro(sum(counts[i] for i in row)) for row in picks])


@pytest.mark.parametrize("seed", [1, 2])
def test_bootstrap_is_resampling_whole_sequences_by_hand(seed: int) -> None:
    table = sequences(seed, 60)
    expected = by_hand(table, 1500, "seq_id")
    found = f1_macro(bootstrap(by_group(table), 4000, seed))
    spread = expected.std()
    assert found.mean() == pytest.approx(expected.mean(), abs=5 * spread / np.sqrt(1500))
    assert found.std() == pytest.approx(spread, rel=0.1)
    for quantile in (0.05, 0.95):
        assert np.quantile(found, quantile) == pytest.approx(np.quantile(expected, quantile), abs=0.25 * spread)
    one_by_one = by_hand(table.assign(picture=range(len(table))), 500, "picture")
    assert one_by_one.std() < 0.8 * spread  # what drawing pictures would wrongly claim


def test_bootstrap_draws_as_many_groups_as_there_are() -> None:
    groups = np.zeros((9, 2, 2))
    groups[:, 0, 0] = 1
    drawn = bootstrap(groups, 50, 0)
    assert drawn.shape == (50, 2, 2)
    assert (drawn[:, 0, 0] == 9).all()
    assert drawn.sum() == 450
    one_each = np.zeros((9, 3, 3))
    one_each[np.arange(9), np.arange(9) // 3, np.arange(9) % 3] = 1
    counts = bootstrap(one_each, 20_000, 0)
    assert (counts.sum((1, 2)) == 9).all()
    assert counts.mean(0) == pytest.approx(np.ones((3, 3)), abs=0.04)
    assert counts.var(0) == pytest.approx(np.full((3, 3), 8 / 9), abs=0.05)


def test_bootstrap_depends_on_its_seed_alone() -> None:
    groups = by_group(sequences(3, 30))
    assert np.array_equal(bootstrap(groups, 200, 5), bootstrap(groups, 200, 5))
    assert not np.array_equal(bootstrap(groups, 200, 5), bootstrap(groups, 200, 6))
    assert np.array_equal(bootstrap(groups, 50, 5), bootstrap(groups, 200, 5)[:50])


def test_bootstrap_in_blocks_equals_one_block(monkeypatch: pytest.MonkeyPatch) -> None:
    groups, clips = by_group(sequences(3, 30)), scored_clips(30, 3)
    whole = bootstrap(groups, 200, 5), map_bootstrap(*clips, 200, 5)
    most = []
    monkeypatch.setattr(scores, "MOST", 7 * 30)  # draws go by sevens, the last ones are four
    for found, expected in zip((bootstrap(groups, 200, 5), map_bootstrap(*clips, 200, 5)), whole, strict=True):
        assert np.array_equal(found, expected)
        most.append(len(found))
    assert most == [200, 200]
    assert [len(times) for times in scores._resamples(30, 200, 5, 30)] == [7] * 28 + [4]
    monkeypatch.setattr(scores, "MOST", 1)
    assert [len(times) for times in scores._resamples(30, 3, 5, 30)] == [1] * 3


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(20, 120))
def test_headline(seed: int, count: int) -> None:
    table = sequences(seed, count)
    found = headline(table, CLASSES, "deer", 300, seed)
    assert found["n"] == len(table)
    present = sorted(set(table["actual"]))
    assert found["f1_macro"] == pytest.approx(
        metrics.f1_score(table["actual"], table["predicted"], labels=present, average="macro", zero_division=0)
    )
    assert found["accuracy"] == pytest.approx((table["actual"] == table["predicted"]).mean())
    for name, of_sklearn in (("precision", metrics.precision_score), ("recall", metrics.recall_score)):
        for average in ("macro", "weighted"):
            expected = of_sklearn(table["actual"], table["predicted"], labels=present, average=average, zero_division=0)
            assert found[f"{name}_{average}"] == pytest.approx(expected)
    assert found["accuracy_low"] < found["accuracy"] < found["accuracy_high"]
    assert found["balanced_accuracy"] == found["recall_macro"]
    assert 0 <= found["balanced_accuracy_low"] < found["balanced_accuracy_high"] <= 1
    assert found["majority"] == pytest.approx((table["actual"] == "deer").mean())
    assert 0 <= found["f1_macro_low"] < found["f1_macro_high"] <= 1
    # A rare class can fall out of a draw, which lifts its mean: allow a little.
    assert found["f1_macro_low"] - 0.05 <= found["f1_macro"] <= found["f1_macro_high"] + 0.05
    assert headline(table.sample(frac=1, random_state=1), CLASSES, "deer", 300, seed) == pytest.approx(found)


def test_headline_contains_its_point_for_sane_data() -> None:
    table = sequences(7, 200)
    found = headline(table, CLASSES, "deer", 1000, 0)
    assert found["f1_macro_low"] < found["f1_macro"] < found["f1_macro_high"]
    assert 0.02 < found["f1_macro_high"] - found["f1_macro_low"] < 0.4


def test_headline_of_a_perfect_model_has_no_width() -> None:
    table = sequences(7, 50).assign(predicted=lambda rows: rows["actual"])
    found = headline(table, CLASSES, "wolf", 200, 0)
    assert (found["f1_macro"], found["f1_macro_low"], found["f1_macro_high"], found["accuracy"]) == (1, 1, 1, 1)


def test_a_paired_difference_is_of_the_same_pictures_and_sequences() -> None:
    a = pd.DataFrame(
        {"sample_id": list("abcdef"), "seq_id": list("112233"), "actual": list("xyxyxy"), "predicted": list("xyxyxy")}
    )
    b = a.assign(predicted=list("xyxyyx"))
    difference, low, high = scores.paired_difference(a, b, 500, 0)
    assert difference == pytest.approx(1 - 2 / 3)
    assert low == 0 and high == 1  # from no draw of the wrong sequence to draws of it alone
    assert scores.paired_difference(a, a.sample(frac=1, random_state=1), 100, 0) == (0, 0, 0)
    with pytest.raises(ValueError, match="not of the same pictures"):
        scores.paired_difference(a, b[:5], 10, 0)


def test_paired_counts_keep_the_classes_and_draw_the_same_sequences() -> None:
    a = pd.DataFrame({"sample_id": list("abcd"), "seq_id": list("1122"), "actual": list("xyxx"), "predicted": list("xyxy")})
    b = a.assign(predicted=list("xxxy")).sample(frac=1, random_state=3)
    whole, drawn = scores.paired_counts(a, b, ["x", "y", "z"], 50, 0)
    assert [counts.tolist() for counts in whole] == [[[2, 1, 0], [0, 1, 0], [0, 0, 0]], [[2, 1, 0], [1, 0, 0], [0, 0, 0]]]
    assert drawn[0].shape == drawn[1].shape == (50, 3, 3)
    assert np.array_equal(drawn[0].sum(-1), drawn[1].sum(-1))  # of each draw, as many true items of each class
    with pytest.raises(ValueError, match="not among those to count"):
        scores.paired_counts(a, b, ["x"], 10, 0)


@given(only_a=st.integers(0, 400), only_b=st.integers(0, 400))
def test_mcnemars_exact_test_is_a_binomial_one(only_a: int, only_b: int) -> None:
    expected = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert scores.mcnemar_exact(only_a, only_b) == pytest.approx(expected, abs=1e-12)
    assert 0 <= scores.mcnemar_exact(only_a, only_b) == scores.mcnemar_exact(only_b, only_a) <= 1


def test_mcnemars_exact_test_by_hand() -> None:
    assert scores.mcnemar_exact(0, 5) == pytest.approx(2 / 2**5)
    assert scores.mcnemar_exact(1, 5) == pytest.approx(2 * (1 + 6) / 2**6)
    assert scores.mcnemar_exact(3, 3) == scores.mcnemar_exact(0, 0) == 1


# Average precision ---------------------------------------------------------------------------------------------------


def scored_clips(n: int, seed: int, coarse: bool = True) -> tuple[pd.Series, pd.DataFrame, pd.Series]:
    """(actual, scores of each class, seq_ids) of n clips, two of each sequence; scores with many ties."""
    rng = np.random.default_rng(seed)
    actual = pd.Series(rng.choice(CLASSES[:4], n))
    values = rng.random((n, 4)) + 0.4 * (actual.to_numpy()[:, None] == np.array(CLASSES[:4]))
    wide = pd.DataFrame(values.round(1) if coarse else values, columns=CLASSES[:4])
    return actual, wide, pd.Series([f"s{row // 2}" for row in range(n)])


ties = st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0])), min_size=1, max_size=40)
smooth = st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=40)


@settings(max_examples=150, deadline=None)
@given(items=ties | smooth)
def test_average_precision_is_that_of_scikit_learn(items: list[tuple[bool, float]]) -> None:
    positive, values = (np.array(column) for column in zip(*items, strict=True))
    found = average_precision(positive, values)
    if positive.any():
        assert found == pytest.approx(metrics.average_precision_score(positive, values), abs=1e-12)
    else:
        assert np.isnan(found), "scikit-learn would say 0: no model could be better"


def test_average_precision_by_hand() -> None:
    right = np.array([True, False, True, False])
    assert average_precision(right, np.array([0.9, 0.8, 0.7, 0.6])) == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert average_precision(right, np.array([0.9, 0.7, 0.7, 0.6])) == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert average_precision(right, np.array([0.8, 0.8, 0.7, 0.6])) == pytest.approx((1 / 2 + 2 / 3) / 2), "ties are together"
    assert average_precision(right, np.full(4, 0.5)) == 0.5, "the share of positives"
    assert np.isnan(average_precision(np.array([], dtype=bool), np.array([])))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 40))
def test_map_is_the_mean_over_classes_with_an_item(seed: int, n: int) -> None:
    actual, wide, _ = scored_clips(n, seed)
    found = average_precisions(actual, wide)
    present = sorted(set(actual))
    assert found.index.tolist() == CLASSES[:4]
    assert found[found.notna()].index.tolist() == present, "a class without an item is left out, and can be named"
    expected = [metrics.average_precision_score(actual == label, wide[label]) for label in present]
    assert found[present].tolist() == pytest.approx(expected)
    assert mean_average_precision(actual, wide) == pytest.approx(np.mean(expected))


def test_a_class_that_the_model_does_not_know_counts_as_found_by_nothing() -> None:
    actual = pd.Series(["deer", "deer", "fox", "lynx"])
    wide = pd.DataFrame({"deer": [0.9, 0.8, 0.1, 0.2], "fox": [0.1, 0.1, 0.9, 0.1]})
    assert average_precisions(actual, wide).to_dict() == {"deer": 1.0, "fox": 1.0, "lynx": 0.25}
    assert mean_average_precision(actual, wide) == 0.75


def map_by_hand(actual: pd.Series, wide: pd.DataFrame, seq_ids: pd.Series, counts: np.ndarray) -> float:
    """mAP by scikit-learn with every clip as often as its sequence was drawn."""
    numbers, _ = pd.factorize(seq_ids, sort=True)
    rows = np.repeat(np.arange(len(actual)), counts[numbers])
    actual, wide = actual.iloc[rows], wide.iloc[rows]
    return float(np.mean([metrics.average_precision_score(actual == label, wide[label]) for label in sorted(set(actual))]))


@pytest.mark.parametrize("coarse", [True, False], ids=["ties", "no ties"])
def test_map_of_a_draw_is_that_of_the_clips_drawn(coarse: bool) -> None:
    clips = scored_clips(14, 3, coarse)
    drawn = map_bootstrap(*clips, 60, 8)
    (times,) = scores._resamples(7, 60, 8, 14)
    assert drawn == pytest.approx([map_by_hand(*clips, counts) for counts in times])
    assert len(set(drawn.round(6))) > 20


def test_map_draws_whole_sequences_by_seed_and_pairs_two_models() -> None:
    actual, wide, seq_ids = scored_clips(60, 1)
    assert np.array_equal(map_bootstrap(actual, wide, seq_ids, 50, 4), map_bootstrap(actual, wide, seq_ids, 50, 4))
    assert not np.array_equal(map_bootstrap(actual, wide, seq_ids, 50, 4), map_bootstrap(actual, wide, seq_ids, 50, 5))
    better = wide + 0.0001 * np.random.default_rng(0).random(wide.shape)
    change = map_bootstrap(actual, better, seq_ids, 400, 4) - map_bootstrap(actual, wide, seq_ids, 400, 4)
    assert change.std() < 0.3 * map_bootstrap(actual, wide, seq_ids, 400, 4).std(), "what is hard for both cancels out"
    everything = map_bootstrap(actual, wide, pd.Series(["one"] * 60), 20, 4)
    assert everything == pytest.approx([mean_average_precision(actual, wide)] * 20), "one sequence is always drawn whole"


def test_map_with_its_interval() -> None:
    actual, wide, seq_ids = scored_clips(60, 1)
    found = map_figures(actual, wide, seq_ids, 500, 4)
    assert list(found) == ["map", "map_low", "map_high"]
    assert found["map"] == mean_average_precision(actual, wide)
    assert (found["map_low"], found["map_high"]) == interval(map_bootstrap(actual, wide, seq_ids, 500, 4))
    assert found["map_low"] < found["map"] < found["map_high"]


# Changes -------------------------------------------------------------------------------------------------------------


def test_verdicts_are_by_the_interval() -> None:
    assert [verdict(*ends) for ends in ((0.01, 0.2), (-0.2, -0.01), (-0.1, 0.1), (0, 0.2), (-0.2, 0))] == [
        BETTER,
        WORSE,
        *[UNDECIDED] * 3,
    ]
