"""What stages/evaluate.py measures of a detector's boxes, part by part."""

import pandas as pd

from stages import box_scores, scores
from stages.files import DataError, seed_from
from stages.samples import EMPTY, SCORED, VAL


def with_known_boxes(pictures: pd.DataFrame, true: pd.DataFrame) -> pd.DataFrame:
    """The pictures in which boxes are measured: not those of an animal without a box, where each box found would be false."""
    return pictures[(pictures["actual"] == EMPTY) | pictures["sample_id"].isin(true["sample_id"])]


def choose_box_threshold(found: pd.DataFrame, true: pd.DataFrame, pictures: pd.DataFrame) -> float:
    """The threshold for boxes that val chooses. `pictures` have `actual` and `part`; raises DataError where none of val's
    takes part."""
    val = with_known_boxes(pictures[pictures["part"] == VAL], true)
    if val.empty:
        raise DataError("no picture of val has a box or is empty: the threshold for boxes is chosen there")
    own, truth = box_scores.of_pictures(found, true, val["sample_id"])
    return box_scores.best_threshold(box_scores.match(own, truth), len(truth))


def measure_boxes(
    found: pd.DataFrame,
    true: pd.DataFrame,
    pictures: pd.DataFrame,
    classes: list[str],
    threshold: float,
    draws: int,
    seed: int,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Figures of a detector: (by part, by part and class, confusion of boxes by part).

    Pictures of an animal without a box take no part. Parts without any box have no row. `true` holds at least one box.
    """
    usable = with_known_boxes(pictures, true)
    rows, by_class, confusions = [], [], []
    for part in SCORED:
        own, truth = box_scores.of_pictures(found, true, usable.loc[usable["part"] == part, "sample_id"])
        if truth.empty:
            continue
        matches = box_scores.match(own, truth)
        average = box_scores.mean_average_precision(own, truth, classes)
        sequence = usable[usable["part"] == part].set_index("sample_id")["seq_id"]
        low, high = scores.interval(box_scores.map50_bootstrap(matches, truth, sequence, draws, seed_from(seed, part)))
        at = box_scores.precision_recall_f1(matches, len(truth), threshold)
        rows.append(
            {"part": part, "boxes": len(truth), "map50": average["map50"], "map50_low": low, "map50_high": high}
            | {"map50_95": average["map50_95"]}
            | {f"box_{name}": value for name, value in at.items()}
        )
        by_class.append(average["classes"].rename(columns={"n": "boxes"}).assign(part=part))
        confusions.append(box_scores.box_confusion(own, truth, classes, threshold).assign(part=part, level="box"))
    return pd.DataFrame(rows), *(pd.concat(several, ignore_index=True) for several in (by_class, confusions))
