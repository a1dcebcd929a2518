"""Metrics as named pure functions: over confusion counts, and over the scores of classes.

Letters: N items, C classes, G groups (sequences), R bootstrap draws. A confusion array is (..., C, C): row = true class, column
= predicted class.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import bdtr

from stages.files import DataError

Counts = NDArray[np.float64]

BETTER, WORSE, UNDECIDED = "better", "worse", "undecided"
# What models are compared by beyond FIGURES: the recall of one class, mAP, choices between the two classes of a pair.
RECALL, MAP, PAIR = "recall", "map", "pair"
ALL_PAIRS, CHANCE = "all pairs", "chance"  # the label of all pairs together, and what choices are compared with
SCORES = "scores.parquet"  # beside the answers for clips: the score of every class
MOST = 20_000_000  # numbers in one array of a bootstrap


def confusion(actual: pd.Series, predicted: pd.Series, classes: list[str]) -> Counts:
    """Counts (C, C) of true against predicted class. Raises ValueError for a class that is not in `classes`."""
    return confusion_by_group(actual, predicted, classes, np.zeros(len(actual), dtype=int)).sum(0)


def confusion_by_group(actual: pd.Series, predicted: pd.Series, classes: list[str], groups: NDArray[np.int64]) -> Counts:
    """Counts (G, C, C): `confusion` of each group, from a group number (0 to G - 1) for each row."""
    index = {label: number for number, label in enumerate(classes)}
    rows, columns = actual.map(index), predicted.map(index)
    if rows.isna().any() or columns.isna().any():
        raise ValueError("a class is not among those to count")
    counts = np.zeros((groups.max(initial=0) + 1, len(classes), len(classes)))
    np.add.at(counts, (groups, rows.to_numpy(dtype=int), columns.to_numpy(dtype=int)), 1)
    return counts


def precision_recall_f1(counts: Counts) -> tuple[Counts, Counts, Counts]:
    """(..., C, C) -> three arrays (..., C); 0 where a class is never predicted or never true."""
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    predicted, actual = counts.sum(-2), counts.sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        parts = hits / predicted, hits / actual, 2 * hits / (predicted + actual)
    precision, recall, f1 = (np.nan_to_num(part) for part in parts)
    return precision, recall, f1


def f1_macro(counts: Counts) -> NDArray[np.float64]:
    """Mean F1 over the classes that occur: (..., C, C) -> (...). Classes without a true item have no say."""
    occurs = counts.sum(-1) > 0
    _, _, f1 = precision_recall_f1(counts)
    return (f1 * occurs).sum(-1) / np.maximum(occurs.sum(-1), 1)


def averaged(counts: Counts) -> dict[str, float]:
    """Precision and recall of (C, C) counts, over the classes that occur: `macro` each class alike, `weighted` by its true
    items. The micro averages of both are the accuracy, since every item has one class and one answer.
    """
    precision, recall, _ = precision_recall_f1(counts)
    true = counts.sum(-1)
    return {
        f"{name}_{kind}": float(np.average(values, weights=weights))
        for name, values in (("precision", precision), ("recall", recall))
        for kind, weights in (("macro", true > 0), ("weighted", true))
    }


def accuracy(counts: Counts) -> NDArray[np.float64]:
    """Share of right answers: (..., C, C) -> (...)."""
    return np.trace(counts, axis1=-2, axis2=-1) / counts.sum((-2, -1))


def balanced_accuracy(counts: Counts) -> NDArray[np.float64]:
    """Mean recall of the classes that occur, each alike: (..., C, C) -> (...)."""
    _, recall, _ = precision_recall_f1(counts)
    return recall.sum(-1) / np.maximum((counts.sum(-1) > 0).sum(-1), 1)


FIGURES: dict[str, Callable[[Counts], NDArray[np.float64]]] = {
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "f1_macro": f1_macro,
}  # what two models, or two trainings of one, are compared by


def bootstrap(counts_by_group: Counts, draws: int, seed: int) -> Counts:
    """Confusion counts (R, C, C) of `draws` resamples of whole groups, from the groups' own counts (G, C, C).

    Pictures of one sequence are alike, so sequences are drawn, not pictures: drawing pictures makes intervals too narrow.
    """
    groups = len(counts_by_group)
    flat = counts_by_group.reshape(groups, -1)
    drawn = [times @ flat for times in _resamples(groups, draws, seed, groups)]
    return np.concatenate(drawn).reshape(draws, *counts_by_group.shape[1:])


def _resamples(groups: int, draws: int, seed: int, wide: int) -> Iterator[NDArray[np.int64]]:
    """How often each group is in each draw, the same for an equal seed: (r, G) at a time, so that (r, wide) fits in memory."""
    rng = np.random.default_rng(seed)
    size = max(1, MOST // max(1, wide))
    for start in range(0, draws, size):
        yield rng.multinomial(groups, np.full(groups, 1 / groups), size=min(size, draws - start))


def interval(values: NDArray[np.float64], level: float = 0.95) -> tuple[float, float]:
    """The central `level` of values: two-sided percentile interval."""
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def headline(table: pd.DataFrame, classes: list[str], majority: str, draws: int, seed: int) -> dict[str, Any]:
    """The headline of one subset: n; macro F1, accuracy and balanced accuracy with their 95 % intervals; precision and recall;
    the baseline.

    `table` has `actual`, `predicted` and `seq_id`. `majority` is train's commonest class; always to say it has that accuracy.
    """
    groups, _ = pd.factorize(table["seq_id"], sort=True)
    by_group = confusion_by_group(table["actual"], table["predicted"], classes, groups)
    counts = by_group.sum(0)
    drawn = bootstrap(by_group, draws, seed)
    figures: dict[str, float] = {}
    for name, figure in FIGURES.items():
        low, high = interval(figure(drawn))
        figures |= {name: float(figure(counts)), f"{name}_low": low, f"{name}_high": high}
    return {
        "n": len(table),
        **figures,
        **averaged(counts),
        "majority": float((table["actual"] == majority).mean()),
    }


def paired_counts(
    a: pd.DataFrame, b: pd.DataFrame, classes: list[str], draws: int, seed: int
) -> tuple[tuple[Counts, Counts], tuple[Counts, Counts]]:
    """Confusion counts of `a` and `b`, answers for the same pictures: (C, C) of all, (R, C, C) of resamples of whole sequences.

    Both are resampled alike, so that what is hard for both cancels out of a difference. The tables have sample_id, seq_id,
    actual and predicted. Raises ValueError where they are not of the same pictures, or a class is not in `classes`.
    """
    both = a.merge(b[["sample_id", "predicted"]], on="sample_id", suffixes=("", "_b"), validate="one_to_one")
    if not len(a) == len(b) == len(both):
        raise ValueError("the answers are not of the same pictures")
    groups, _ = pd.factorize(both["seq_id"], sort=True)
    first, second = (confusion_by_group(both["actual"], both[name], classes, groups) for name in ("predicted", "predicted_b"))
    # The same seed draws the same sequences.
    return (first.sum(0), second.sum(0)), (bootstrap(first, draws, seed), bootstrap(second, draws, seed))


def paired_difference(a: pd.DataFrame, b: pd.DataFrame, draws: int, seed: int) -> tuple[float, float, float]:
    """Macro F1 of `a` less that of `b` on the same pictures, and its 95 % interval by drawing whole sequences for both at once.

    Both are answers: sample_id, seq_id, actual, predicted. Raises ValueError where they are not of the same pictures.
    """
    classes = sorted({*a["actual"], *a["predicted"], *b["predicted"]})
    whole, drawn = paired_counts(a, b, classes, draws, seed)
    return float(f1_macro(whole[0]) - f1_macro(whole[1])), *interval(f1_macro(drawn[0]) - f1_macro(drawn[1]))


def mcnemar_exact(only_a: int, only_b: int) -> float:
    """Two-sided p of McNemar's exact test: of the items that one of two models alone has right, do both have as many?

    `only_a` and `only_b` count them; without any, p is 1.
    Q. McNemar, Psychometrika 12, 1947; exact by the binomial distribution of only_a in only_a + only_b.
    """
    return min(1.0, 2 * float(bdtr(min(only_a, only_b), only_a + only_b, 0.5)))


def per_class(table: pd.DataFrame, classes: list[str]) -> pd.DataFrame:
    """A row for each class: n true, n predicted, precision, recall, F1. `table` has `actual` and `predicted`."""
    counts = confusion(table["actual"], table["predicted"], classes)
    precision, recall, f1 = precision_recall_f1(counts)
    return pd.DataFrame(
        {
            "label": classes,
            "n": counts.sum(1).astype(int),
            "predicted": counts.sum(0).astype(int),
            "precision": precision,
            "recall": recall,
            "f1": f1,
        }
    )


# Scores of classes ---------------------------------------------------------------------------------------------------


def average_precision(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    """AP = sum over thresholds of precision times the rise of recall, equal scores as one threshold; NaN without a positive.

    positive (N,), scores (N,). scikit-learn's `average_precision_score`, which says 0 where we say NaN.
    """
    return float(_average_precisions(positive, scores, np.ones((1, len(scores)), dtype=np.int32))[0])


def _average_precisions(
    positive: NDArray[np.bool_], scores: NDArray[np.float64], times: NDArray[np.int32]
) -> NDArray[np.float64]:
    """`average_precision` as if each item were there so many `times` (R, N), which are whole numbers: (R,)."""
    order = np.argsort(-scores, kind="stable")
    at = np.flatnonzero(positive[order])  # places of the positives: only there does recall rise
    if not len(at):
        return np.full(len(times), np.nan)
    lasts = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)  # of each run of equal scores
    ends = lasts[np.searchsorted(lasts, at)]
    times = times[:, order]
    hits, found = times[:, at], times.cumsum(1, dtype=np.int32)[:, ends]
    true = hits.cumsum(1)[:, np.searchsorted(at, ends, side="right") - 1]
    with np.errstate(invalid="ignore"):
        return (hits * (true / np.maximum(found, 1))).sum(1) / hits.sum(1)


def average_precisions(actual: pd.Series, wide: pd.DataFrame) -> pd.Series:
    """AP of each class: the columns of `wide` (N, C), scores of the items `actual` (N,), then classes that it does not score.

    NaN for a class without an item. A class without scores, which a model does not know, scores 0 everywhere.
    """
    return pd.Series({label: average_precision(positive, scores) for label, positive, scores in _by_class(actual, wide)})


def _by_class(actual: pd.Series, wide: pd.DataFrame) -> Iterator[tuple[str, NDArray[np.bool_], NDArray[np.float64]]]:
    labels, nothing = actual.to_numpy(dtype=object), np.zeros(len(actual))
    for label in [*wide.columns, *sorted(set(labels) - set(wide.columns))]:
        yield label, labels == label, wide[label].to_numpy(dtype=float) if label in wide else nothing


def mean_average_precision(actual: pd.Series, wide: pd.DataFrame) -> float:
    """mAP: the unweighted mean of `average_precisions` over the classes that occur."""
    return float(average_precisions(actual, wide).mean())


def map_bootstrap(actual: pd.Series, wide: pd.DataFrame, seq_ids: pd.Series, draws: int, seed: int) -> NDArray[np.float64]:
    """mAP of resamples of whole sequences, (R,): over the classes that occur in the draw. All three are in one order.

    An equal seed draws the same sequences, so differences of two models' draws are paired. With few items of a class draws lean
    upwards: one that is drawn twice stands twice in the list, and above others of its class as well as below them.
    """
    numbers, sequences = pd.factorize(seq_ids, sort=True)
    occurring = [(positive, own) for _, positive, own in _by_class(actual, wide) if positive.any()]
    drawn = []
    for counts in _resamples(len(sequences), draws, seed, len(actual)):
        times = counts.astype(np.int32)[:, numbers]
        drawn.append(np.array([_average_precisions(positive, own, times) for positive, own in occurring]))
    return np.nanmean(np.concatenate(drawn, axis=1), axis=0)


def map_figures(actual: pd.Series, wide: pd.DataFrame, seq_ids: pd.Series, draws: int, seed: int) -> dict[str, float]:
    """map, map_low and map_high: mAP with its 95 % interval."""
    low, high = interval(map_bootstrap(actual, wide, seq_ids, draws, seed))
    return {"map": mean_average_precision(actual, wide), "map_low": low, "map_high": high}


# Figures as they are written -----------------------------------------------------------------------------------------


def require_finite(figures: pd.DataFrame) -> None:
    """Raises DataError for the first figure of a part that is no finite number. `figures` have a column `part`."""
    table = figures.set_index("part")
    if (bad := ~np.isfinite(table)).any(axis=None):
        part, name = bad.stack().idxmax()
        raise DataError(
            f"{part}.{name} is not a finite number: nothing is written. Train that model anew, or run `dvc repro` for it"
        )


def verdict(low: float, high: float) -> str:
    """What an interval of a change says."""
    return BETTER if low > 0 else WORSE if high < 0 else UNDECIDED


def change_row(figure: str, label: str, n: int, before: float, after: float, ends: tuple[float, float]) -> dict[str, Any]:
    """A row of a comparison: how a figure of `n` items changes, with the ends of the change's 95 % interval and its verdict."""
    about = {"figure": figure, "label": label, "n": n, "before": before, "after": after, "change": after - before}
    return about | {"low": ends[0], "high": ends[1], "verdict": verdict(*ends)}
