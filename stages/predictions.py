"""The predictions table: all that `evaluate` and `report` know of a model.

A row says one thing of one picture, by its `task`:
    class  a row for each picture and each class; `score` is its probability. Those of a picture sum to 1, those of a clip
           need not: a video network judges each class by itself (sigmoids)
    box    a row for each box found, `label` its class, `score` how sure; a picture in which none was found has one row
           with the label `empty`, score 0 and no coordinates, so that no picture is ever missing
    joints as `box`, of people, and `joints` holds 48 numbers: x_px, y_px and confidence of each of the 16 (stages/people.py)
Coordinates are in px of the picture the right way up, at its own size.
"""

import numpy as np
import pandas as pd
import pandera.pandas as pa

from stages.files import DataError
from stages.samples import BOX_COLUMNS, EMPTY
from stages.tables import validated

CLASS, BOX, JOINTS = "class", "box", "joints"
TABLE = "predictions.parquet"  # in data/predictions/<dataset>/<model>/
_ANEW = "Run `dvc repro` for that model, or train it anew"
FEATURES = "features.json"  # beside it, of the image family: what goes into the head, in two dimensions

PREDICTIONS = pa.DataFrameSchema(
    {
        "sample_id": pa.Column(str),
        "task": pa.Column(str, pa.Check.isin([CLASS, BOX, JOINTS])),
        "label": pa.Column(str),
        "score": pa.Column(float, pa.Check.between(0, 1.000001)),
        **{name: pa.Column(float, nullable=True) for name in BOX_COLUMNS},
        "joints": pa.Column(object, nullable=True),
    },
    checks=[
        pa.Check(
            lambda rows: ~rows.duplicated(["sample_id", "label"]) | (rows["task"] != CLASS), error="a class is scored twice"
        ),
        pa.Check(
            lambda rows: rows[BOX_COLUMNS].notna().sum(axis=1) == 4 * (rows["task"].ne(CLASS) & rows["label"].ne(EMPTY)),
            error="a box without coordinates, or coordinates without a box",
        ),
        pa.Check(
            lambda rows: rows["joints"].notna() == ((rows["task"] == JOINTS) & (rows["label"] != EMPTY)),
            error="a person without joints, or joints without a person",
        ),
        pa.Check(
            lambda rows: all(np.shape(joints) == (48,) and np.isfinite(joints).all() for joints in rows["joints"].dropna()),
            error="joints that are not 48 finite numbers",
        ),
        pa.Check(
            lambda rows: ~((rows["x_max_px"] <= rows["x_min_px"]) | (rows["y_max_px"] <= rows["y_min_px"])),
            error="a box without area",
        ),
    ],
    strict=True,
)


def class_rows(scores: pd.DataFrame) -> pd.DataFrame:
    """Predictions of task `class` from a table of scores: a row for each sample_id (the index), a column a class."""
    long = scores.rename_axis("sample_id").rename_axis("label", axis=1).stack().rename("score").reset_index()
    return long.assign(task=CLASS, joints=None, **dict.fromkeys(BOX_COLUMNS, float("nan")))[list(PREDICTIONS.columns)]


def box_rows(found: pd.DataFrame, sample_ids: pd.Series, task: str = BOX) -> pd.DataFrame:
    """Predictions from boxes: sample_id, label, score, BOX_COLUMNS, and joints where there are; a row `empty` where none was
    found.

    In the order of `sample_ids`, the surest box of a picture first.
    """
    with_boxes = set(found["sample_id"])
    none = pd.DataFrame({"sample_id": [name for name in sample_ids if name not in with_boxes]}, dtype=str)
    none = none.assign(label=EMPTY, score=0.0, **dict.fromkeys(BOX_COLUMNS, float("nan")))
    rows = pd.concat([table for table in (found, none) if len(table)], ignore_index=True) if len(sample_ids) else none
    place = {name: number for number, name in enumerate(sample_ids)}
    if "joints" not in rows:
        rows["joints"] = None
    rows = rows.assign(task=task, place=rows["sample_id"].map(place)).sort_values(
        ["place", "score"], ascending=[True, False], kind="stable", ignore_index=True
    )
    rows["joints"] = rows["joints"].astype(object).where(rows["joints"].notna(), None)
    return rows[list(PREDICTIONS.columns)].astype({"score": float, **dict.fromkeys(BOX_COLUMNS, float)})


def check_predictions(predictions: pd.DataFrame, sample_ids: pd.Series) -> pd.DataFrame:
    """The table, checked: right columns, finite scores, every picture predicted and no other. Raises DataError."""
    predictions = validated(
        PREDICTIONS, predictions.reset_index(drop=True), f"the predictions break the table's rules. {_ANEW}"
    )
    missing = sorted(set(sample_ids) - set(predictions["sample_id"]))
    strange = sorted(set(predictions["sample_id"]) - set(sample_ids))
    if missing or strange:
        raise DataError(
            f"{len(missing)} of {len(sample_ids)} pictures have no prediction ({missing[:3]}), {len(strange)} "
            f"predictions no picture ({strange[:3]}): nothing is averaged over fewer. {_ANEW}"
        )
    return predictions
