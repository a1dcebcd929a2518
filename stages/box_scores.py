"""Metrics of found boxes against true ones: one evaluator for every detector.

`found` is a predictions table of task `box` (stages/predictions.py), `true` a BOXES table (stages/samples.py). Every function
scores all the rows that it is given: `of_pictures` comes first. At most MAX_BOXES of a picture count, its surest.
Letters: B found boxes, K true boxes, G sequences, R bootstrap draws.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages import geometry
from stages.files import DataError
from stages.samples import BOX_COLUMNS, EMPTY
from stages.scores import confusion_by_group, f1_macro

MAX_BOXES = 100  # COCO's
IOUS = np.linspace(0.5, 0.95, 10)  # COCO's thresholds, and its points of recall
RECALLS = np.linspace(0, 1, 101)
NONE_PASSES = 2.0  # a threshold that no score reaches
CANDIDATES = 200  # image thresholds tried
MISSED, BACKGROUND = "missed", "background"  # a true box that nothing covers, a found box over nothing

Floats = NDArray[np.float64]


def of_pictures(found: pd.DataFrame, true: pd.DataFrame, sample_ids: Iterable[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both tables, the rows of these pictures alone.

    Empty pictures belong in. Pictures that hold an animal but have no box do not: a box found there would count as false.
    """
    ids = set(sample_ids)
    return found[found["sample_id"].isin(ids)], true[true["sample_id"].isin(ids)]


def mean_average_precision(found: pd.DataFrame, true: pd.DataFrame, classes: list[str]) -> dict[str, Any]:
    """COCO's mAP: `map50`, `map50_95`, means over the classes with a true box, and `classes`, a table.

    The table has a row for each class: label, n (true boxes), ap50, ap50_95 (NaN without a true box).
    Raises DataError where no picture has a true box, ValueError for a class that is not in `classes`.
    """
    _check_labels(found, true, classes)
    if true.empty:
        raise DataError("mAP of pictures without one true box: leave this part of the split out, or give it boxes")
    from faster_coco_eval import COCOeval_faster  # a third of a second, of no use where nothing has boxes

    boxes = surest(found)
    pictures = sorted({*boxes["sample_id"], *true["sample_id"]})
    n = true["label"].value_counts().reindex(classes, fill_value=0)
    counted = n.index[n > 0].tolist()
    evaluator = COCOeval_faster(
        _coco(true.assign(score=1.0), pictures, counted), _coco(boxes, pictures, counted), iouType="bbox"
    )
    params = evaluator.params
    params.iouThrs, params.recThrs, params.maxDets = IOUS, RECALLS, [MAX_BOXES]
    params.areaRng = params.areaRng[:1]  # all sizes, so no box needs an area
    evaluator.evaluate()
    evaluator.accumulate()
    precision = evaluator.eval["precision"][..., 0, 0]  # IoU, recall, class
    ap = pd.DataFrame({"ap50": precision[0].mean(0), "ap50_95": precision.mean((0, 1))}, index=counted)
    table = ap.reindex(classes).rename_axis("label").reset_index()
    table.insert(1, "n", n.to_numpy())
    return {"map50": float(ap["ap50"].mean()), "map50_95": float(ap["ap50_95"].mean()), "classes": table}


def _coco(boxes: pd.DataFrame, pictures: list[str], classes: list[str]) -> Any:
    """The boxes of these classes as a COCO data set; pictures and classes are numbered in their order."""
    from faster_coco_eval import COCO

    boxes = boxes[boxes["label"].isin(classes)]
    columns = {
        "id": np.arange(len(boxes)) + 1,  # 0 stands for "no match"
        "image_id": pd.Categorical(boxes["sample_id"], pictures).codes,
        "category_id": pd.Categorical(boxes["label"], classes).codes,
        "bbox": geometry.xywh_from_xyxy(boxes[BOX_COLUMNS]).tolist(),
        "score": boxes["score"].to_numpy(),
    }
    return COCO(
        {
            "images": [{"id": number} for number in range(len(pictures))],
            "categories": [{"id": number} for number in range(len(classes))],
            "annotations": pd.DataFrame(columns).to_dict("records"),
        }
    )


def surest(found: pd.DataFrame) -> pd.DataFrame:
    """The boxes that count, surest first; equal scores in the order of sample_id, then of the rows."""
    boxes = found[found["label"] != EMPTY].sort_values(["score", "sample_id"], ascending=[False, True], kind="stable")
    return boxes[boxes.groupby("sample_id").cumcount() < MAX_BOXES].reset_index(drop=True)


def match(found: pd.DataFrame, true: pd.DataFrame, iou: float = 0.5) -> pd.DataFrame:
    """A row for each found box, surest first: sample_id, label, score, hit (bool).

    COCO's rule: each box takes the free true box of its class with the highest IoU, at or above `iou`; a second box on the
    same object is a false positive. Surer boxes choose first, so a threshold may be laid on the matches afterwards.
    """
    boxes = surest(found)
    return boxes[["sample_id", "label", "score"]].assign(hit=take(boxes, true, ["sample_id", "label"], iou) >= 0)


def take(boxes: pd.DataFrame, true: pd.DataFrame, same: list[str], iou: float) -> NDArray[np.int64]:
    """The row of `true` that each box takes, -1 for none: (B,). Boxes choose in order, among those alike in columns `same`."""
    pairs = boxes[same].assign(box=np.arange(len(boxes))).merge(true[same].assign(object=np.arange(len(true))), on=same)
    pairs["iou"] = _iou(
        boxes[BOX_COLUMNS].to_numpy(dtype=float)[pairs["box"]], true[BOX_COLUMNS].to_numpy(dtype=float)[pairs["object"]]
    )
    # Of true boxes equally covered COCO takes the last.
    pairs = pairs[pairs["iou"] >= iou].sort_values(["box", "iou", "object"], ascending=[True, False, False])
    taken, free = [-1] * len(boxes), [True] * len(true)
    for box, item in zip(pairs["box"].tolist(), pairs["object"].tolist(), strict=True):
        if taken[box] < 0 and free[item]:
            taken[box], free[item] = item, False
    return np.array(taken, dtype=np.int64)


def _iou(boxes_xyxy: Floats, others_xyxy: Floats) -> Floats:
    """Intersection over union of pairs: (N, 4), (N, 4) -> (N,)."""
    corners = np.maximum(boxes_xyxy, others_xyxy)[:, :2], np.minimum(boxes_xyxy, others_xyxy)[:, 2:]
    both = geometry.area(np.concatenate(corners, axis=1))
    return both / (geometry.area(boxes_xyxy) + geometry.area(others_xyxy) - both)


def precision_recall_f1(matches: pd.DataFrame, n_true: int, threshold: float) -> dict[str, float]:
    """Over all boxes of all classes with `score` >= `threshold`; 0 where nothing is found or nothing is true."""
    hits = matches.loc[matches["score"] >= threshold, "hit"]
    return {
        "precision": float(hits.sum() / max(len(hits), 1)),
        "recall": float(hits.sum() / max(n_true, 1)),
        "f1": float(2 * hits.sum() / max(len(hits) + n_true, 1)),
    }


def best_threshold(matches: pd.DataFrame, n_true: int) -> float:
    """The score threshold with the highest F1 over boxes, the higher of equals; NONE_PASSES where no box hits.

    For validation only: chosen on the pictures that it is reported on, it flatters.
    """
    counts = matches.groupby("score", sort=True)["hit"].agg(["sum", "size"])[::-1].cumsum()
    f1 = 2 * counts["sum"] / (counts["size"] + n_true)
    return float(f1.idxmax()) if matches["hit"].any() else NONE_PASSES


def top_boxes(found: pd.DataFrame) -> pd.DataFrame:
    """A row for each picture, in the order of sample_id: its surest box, or its row `empty`. Of equals the first label's."""
    best = found.sort_values(["sample_id", "score", "label"], ascending=[True, False, True])
    return best.drop_duplicates("sample_id", ignore_index=True)


def image_answers(found: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """A row for each picture: sample_id, predicted, score.

    The class of its surest box where that scores `threshold` or more; else `empty`, as sure as that box is unsure.
    """
    top = top_boxes(found)
    animal = (top["label"] != EMPTY) & (top["score"] >= threshold)
    return pd.DataFrame(
        {
            "sample_id": top["sample_id"],
            "predicted": top["label"].where(animal, EMPTY),
            "score": top["score"].where(animal, 1 - top["score"]),
        }
    )


def best_image_threshold(found: pd.DataFrame, actual: pd.Series) -> float:
    """The threshold whose `image_answers` have the highest macro F1, the higher of equals; NONE_PASSES is tried too.

    `actual` is the class of each picture in `found`, by sample_id. At most CANDIDATES of the surest boxes' scores are tried,
    at even ranks. For validation only, as `best_threshold`.
    """
    top = top_boxes(found)
    labels = actual.loc[top["sample_id"]].reset_index(drop=True)
    classes = sorted({*labels, *top["label"], EMPTY})
    scores = np.sort(top.loc[top["label"] != EMPTY, "score"])
    ranks = np.linspace(0, len(scores) - 1, min(CANDIDATES, len(scores))).astype(int)
    thresholds = np.array([NONE_PASSES, *np.unique(scores[ranks])[::-1]])
    passes = np.searchsorted(-thresholds, -top["score"].to_numpy())  # the first threshold that each box passes
    counts = confusion_by_group(labels, top["label"], classes, passes).cumsum(0)
    counts[:, :, classes.index(EMPTY)] += counts[-1].sum(-1) - counts.sum(-1)  # those that do not pass
    return float(thresholds[f1_macro(counts)[: len(thresholds)].argmax()])


def average_precision(hit: NDArray[np.bool_], weight: NDArray[np.int64], n_true: int) -> float:
    """COCO's 101-point AP of the boxes of one class, surest first; NaN without a true box.

    `weight` (B,) says how many times each box counts, as if its picture were there so often; `n_true` is weighted likewise.
    """
    if n_true == 0:
        return float("nan")
    found, true = weight.cumsum()[hit], weight[hit].cumsum()  # precision is highest at a hit
    precision = np.maximum.accumulate((true / np.maximum(found, 1))[::-1])[::-1]
    return float(np.append(precision, 0)[np.searchsorted(true / n_true, RECALLS)].mean())


def map50_bootstrap(matches: pd.DataFrame, true: pd.DataFrame, seq_ids: pd.Series, draws: int, seed: int) -> Floats:
    """mAP of resamples of whole sequences, (R,), for `scores.interval`: the mean over the classes with a true box in the draw.

    `matches` come from `match` at IoU 0.5. `seq_ids` is the sequence of each picture that takes part, by sample_id; KeyError
    where one is missing. Draws without any true box say nothing and are left out.
    """
    numbers, sequences = pd.factorize(seq_ids, sort=True)
    group = pd.Series(numbers, index=seq_ids.index)
    drawn = np.random.default_rng(seed).multinomial(len(sequences), np.full(len(sequences), 1 / len(sequences)), size=draws)
    by_class = np.empty((true["label"].nunique(), draws))
    for row, (label, boxes) in enumerate(true.groupby("label")):
        own = matches[matches["label"] == label]
        hit, own_group = own["hit"].to_numpy(), group.loc[own["sample_id"]].to_numpy()
        n_true = drawn[:, group.loc[boxes["sample_id"]]].sum(1)
        by_class[row] = [average_precision(hit, times[own_group], n) for times, n in zip(drawn, n_true, strict=True)]
    return np.nanmean(by_class[:, ~np.isnan(by_class).all(0)], axis=0)


def box_confusion(
    found: pd.DataFrame, true: pd.DataFrame, classes: list[str], threshold: float, iou: float = 0.5
) -> pd.DataFrame:
    """Counts above zero of true against found class: actual, predicted, n, in the order of `classes`.

    Boxes with `score` >= `threshold` take true boxes as in `match`, but of any class: a fox found as coyote is one confusion,
    fox to coyote. A true box that none takes is predicted MISSED, a found box that takes none is actually BACKGROUND.
    """
    _check_labels(found, true, classes)
    boxes = surest(found[found["score"] >= threshold])
    taken = take(boxes, true, ["sample_id"], iou)
    labels, hit = true["label"].to_numpy(dtype=object), taken >= 0
    missed = np.delete(labels, taken[hit])
    pairs = pd.DataFrame(
        {
            "actual": [*labels[taken[hit]], *[BACKGROUND] * int((~hit).sum()), *missed],
            "predicted": [*boxes.loc[hit, "label"], *boxes.loc[~hit, "label"], *[MISSED] * len(missed)],
        }
    )
    pairs["actual"] = pd.Categorical(pairs["actual"], [*classes, BACKGROUND])
    pairs["predicted"] = pd.Categorical(pairs["predicted"], [*classes, MISSED])
    counts = pairs.groupby(["actual", "predicted"], observed=True).size().rename("n").reset_index()
    return counts.astype({"actual": "str", "predicted": "str"})


def _check_labels(found: pd.DataFrame, true: pd.DataFrame, classes: list[str]) -> None:
    if strange := sorted({*found["label"], *true["label"]} - {*classes, EMPTY}):
        raise ValueError(f"classes that are not among those to count: {strange}")
