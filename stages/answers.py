"""Predictions -> one answer for each picture and each sequence. What has to be chosen is chosen on validation alone.

For probabilities of classes that is a temperature; for boxes a threshold for pictures, one for boxes, and Platt's two numbers.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from stages import box_scores, calibration
from stages.files import DataError
from stages.predictions import CLASS, check_predictions
from stages.samples import EMPTY, VAL


@dataclass(frozen=True)
class Answers:
    """`pictures`: the pictures with actual, predicted, score and calibrated (how sure, before and after the temperature).

    `sequences` is the same for whole sequences, its seq_id their name. `chosen` says what validation chose.
    """

    pictures: pd.DataFrame
    sequences: pd.DataFrame
    chosen: dict[str, float]
    task: str


def answer(predictions: pd.DataFrame, pictures: pd.DataFrame) -> Answers:
    """Answers for `pictures`, a samples table with `part`. Raises DataError if a prediction is missing or none is for val."""
    check_predictions(predictions, pictures["sample_id"])
    tasks = sorted(predictions["task"].unique())
    if len(tasks) != 1:
        raise DataError(f"predictions of one task are wanted, found {', '.join(tasks) or 'none'}")
    if not (pictures["part"] == VAL).any():
        raise DataError("no picture is in val: thresholds and temperature are chosen there")
    table = pictures.rename(columns={"label": "actual"})
    sequences = _sequences(table)
    found, chosen = (_from_classes if tasks[0] == CLASS else _from_boxes)(predictions, table, sequences)
    joined = [
        rows.merge(part, on="sample_id", validate="one_to_one") for rows, part in zip((table, sequences), found, strict=True)
    ]
    for rows, part in zip((table, sequences), joined, strict=True):
        if len(rows) != len(part):
            raise DataError(f"{len(rows)} to answer, {len(part)} answers")
    return Answers(joined[0], joined[1], chosen, tasks[0])


def _sequences(table: pd.DataFrame) -> pd.DataFrame:
    """A row for each sequence of a part, `part:seq_id` its sample_id; its class is its commonest one but `empty`."""
    named = table.assign(sample_id=_sequence_ids(table), is_empty=table["actual"] == EMPTY)
    counts = named.groupby(["sample_id", "part", "seq_id", "is_empty", "actual"]).size().rename("n").reset_index()
    counts = counts.sort_values(["sample_id", "is_empty", "n", "actual"], ascending=[True, True, False, True])
    return counts.drop_duplicates("sample_id", ignore_index=True)[["sample_id", "part", "seq_id", "actual"]]


def _sequence_ids(table: pd.DataFrame) -> pd.Series:
    return table["part"] + ":" + table["seq_id"]  # a list that came with the data may have a sequence in two parts


def _from_classes(
    predictions: pd.DataFrame, table: pd.DataFrame, sequences: pd.DataFrame
) -> tuple[list[pd.DataFrame], dict[str, float]]:
    wide = predictions.pivot(index="sample_id", columns="label", values="score").loc[table["sample_id"]]
    number = {label: place for place, label in enumerate(wide.columns)}
    targets = table["actual"].map(number).fillna(-1).to_numpy(dtype=np.int64)
    val = (table["part"] == VAL).to_numpy()
    scores = wide.to_numpy(dtype=float)
    temperature = calibration.temperature(scores[val], targets[val])
    sure = pd.DataFrame(calibration.calibrated(scores, temperature), columns=wide.columns)
    merged = sure.groupby(_sequence_ids(table).to_numpy()).mean()  # the mean of a sequence's frames
    answers = [
        pd.DataFrame({"sample_id": wide.index, **_best(scores, wide.columns), "calibrated": sure.max(axis=1)}),
        pd.DataFrame({"sample_id": merged.index, **_best(merged.to_numpy(), wide.columns), "calibrated": merged.max(axis=1)}),
    ]
    return [part.reset_index(drop=True) for part in answers], {"temperature": temperature}


def _best(scores: Any, labels: pd.Index) -> dict[str, Any]:
    return {"predicted": labels.to_numpy()[scores.argmax(axis=1)], "score": scores.max(axis=1)}


def _from_boxes(
    predictions: pd.DataFrame, table: pd.DataFrame, sequences: pd.DataFrame
) -> tuple[list[pd.DataFrame], dict[str, float]]:
    actual = table.set_index("sample_id")["actual"]
    val = set(table.loc[table["part"] == VAL, "sample_id"])
    threshold = box_scores.best_image_threshold(predictions[predictions["sample_id"].isin(val)], actual)
    name = dict(zip(table["sample_id"], _sequence_ids(table), strict=True))
    merged = predictions.assign(sample_id=predictions["sample_id"].map(name))  # the surest box of a sequence's frames
    answers = [box_scores.image_answers(rows, threshold) for rows in (predictions, merged)]
    rows = answers[0]
    right = (rows["predicted"] == rows["sample_id"].map(actual)).to_numpy()
    chosen_on = rows["sample_id"].isin(val).to_numpy()
    temperature, bias = calibration.platt(rows["score"].to_numpy(dtype=float)[chosen_on], right[chosen_on])
    answers = [
        part.assign(calibrated=calibration.calibrated_binary(part["score"].to_numpy(dtype=float), temperature, bias))
        for part in answers
    ]
    return answers, {"image_threshold": threshold, "temperature": temperature, "bias": bias}
