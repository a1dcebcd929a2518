"""Precision against recall at every score: of each class, and of all classes pooled.

A curve is a table of score, precision and recall: a row for each distinct score, the highest first. It says how good the
answers scored so high or higher are. Letters: N items or found boxes, C classes.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages import box_scores
from stages.box_figures import with_known_boxes
from stages.samples import SCORED

COLUMNS = ["part", "label", "score", "precision", "recall"]
ALL = "all"  # the label of all classes pooled
MOST_POINTS = 101


def curve(positive: NDArray[np.bool_], scores: NDArray[np.float64], n_true: int) -> pd.DataFrame:
    """Points of a curve: score, precision, recall. Equal scores are one point; no point where nothing is scored or true.

    positive (N,), scores (N,). `n_true` says how many there were to find, at least as many as are positive: a true box that
    nothing covers is in no row. scikit-learn's `precision_recall_curve`, without its last point, which no score has.
    """
    if n_true == 0:
        positive, scores = positive[:0], scores[:0]
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], positive[order].cumsum()
    last = np.flatnonzero(np.diff(ranked, append=np.nan) != 0)  # of each run of equal scores; NaN is unlike the last of all
    return pd.DataFrame({"score": ranked[last], "precision": hits[last] / (last + 1), "recall": hits[last] / max(n_true, 1)})


def thinned(points: pd.DataFrame) -> pd.DataFrame:
    """At most MOST_POINTS of a curve's points, evenly in recall, the first and the last among them.

    Of points with one recall it is the first that is taken, with the highest precision.
    """
    if len(points) <= MOST_POINTS:
        return points
    recall = points["recall"].to_numpy()
    wanted = np.searchsorted(recall, np.linspace(recall[0], recall[-1], MOST_POINTS - 1))
    return points.iloc[np.unique(np.append(wanted, len(points) - 1))]


# Part, label (None for all classes pooled), positive, scores, n_true.
Found = tuple[str, str | None, NDArray[np.bool_], NDArray[np.float64], int]


def curves(found: Iterable[Found]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The thinned `curve` of each: (of all classes pooled, of everything), with COLUMNS; no row where there is no point."""
    nothing = pd.DataFrame({name: pd.Series(dtype=str if name in ("part", "label") else float) for name in COLUMNS})
    pooled, every = [nothing], [nothing]
    for part, label, positive, scores, n_true in found:
        if len(points := thinned(curve(positive, scores, n_true))):
            every.append(points.assign(part=part, label=ALL if label is None else label))
            pooled += every[-1:] if label is None else []
    first, second = (pd.concat(tables, ignore_index=True)[COLUMNS] for tables in (pooled, every))
    return first, second


def of_classes(pictures: pd.DataFrame, wide: pd.DataFrame) -> Iterator[Found]:
    """All classes pooled, and each class that occurs, of each part of `pictures` with sample_id, part and actual.

    `wide` holds scores by sample_id, a column for each class. A class without scores, which a model does not know, scores 0
    everywhere, as it does in mAP.
    """
    for part in SCORED:
        own = pictures[pictures["part"] == part]
        if own.empty:
            continue
        labels = [*wide.columns, *sorted(set(own["actual"]) - set(wide.columns))]
        scores = wide.reindex(columns=labels, fill_value=0.0).loc[own["sample_id"]].to_numpy(dtype=float)
        positive = own["actual"].to_numpy(dtype=object)[:, None] == np.array(labels, dtype=object)
        yield part, None, positive.ravel(), scores.ravel(), len(own)
        for place, label in enumerate(labels):
            yield part, label, positive[:, place], scores[:, place], int(positive[:, place].sum())


def of_boxes(found: pd.DataFrame, true: pd.DataFrame, pictures: pd.DataFrame) -> Iterator[Found]:
    """The same of found boxes at an IoU of 0.5, of each part with a true box and each class with one.

    Pictures of an animal without a box take no part, as in mAP.
    """
    usable = with_known_boxes(pictures, true)
    for part in SCORED:
        own, truth = box_scores.of_pictures(found, true, usable.loc[usable["part"] == part, "sample_id"])
        matches = box_scores.match(own, truth)
        hit, scores = matches["hit"].to_numpy(dtype=bool), matches["score"].to_numpy(dtype=float)
        yield part, None, hit, scores, len(truth)
        for label, n_true in truth["label"].value_counts().sort_index().items():
            of_class = (matches["label"] == label).to_numpy()
            yield part, str(label), hit[of_class], scores[of_class], int(n_true)
