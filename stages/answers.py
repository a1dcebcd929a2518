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

    `sequences` is the same for whole sequences, its seq_id their name.
    """

    pictures: pd.DataFrame
    sequences: pd.DataFrame
    task: str


def choose(predictions: pd.DataFrame, pictures: pd.DataFrame) -> dict[str, float]:
    """What turns predictions into answers, chosen on the part val of `pictures`, a samples table with `part`.

    Raises DataError where no picture is in val, or one of val has no prediction.
    """
    val = pictures[pictures["part"] == VAL]
    if val.empty:
        raise DataError(
            "no picture is in val: thresholds and temperature are chosen there. Give val a larger share of the split"
        )
    predictions = check_predictions(predictions[predictions["sample_id"].isin(val["sample_id"])], val["sample_id"])
    actual = val.set_index("sample_id")["label"]
    if task_of(predictions) == CLASS:
        scores = wide(predictions).loc[actual.index]
        targets = actual.map({label: place for place, label in enumerate(scores.columns)}).fillna(-1).to_numpy(dtype=np.int64)
        return {"temperature": calibration.temperature(scores.to_numpy(dtype=float), targets)}
    threshold = box_scores.best_image_threshold(predictions, actual)
    rows = box_scores.image_answers(predictions, threshold)
    right = (rows["predicted"] == rows["sample_id"].map(actual)).to_numpy()
    temperature, bias = calibration.platt(rows["score"].to_numpy(dtype=float), right)
    return {"image_threshold": threshold, "temperature": temperature, "bias": bias}


def answer(predictions: pd.DataFrame, pictures: pd.DataFrame, chosen: dict[str, float]) -> Answers:
    """Answers for `pictures`, a samples table with `part`, by what `choose` chose. DataError where a prediction is missing."""
    check_predictions(predictions, pictures["sample_id"])
    task = task_of(predictions)
    table = pictures.rename(columns={"label": "actual"})
    sequences = _sequences(table)
    found = named(predictions, pd.Series(_sequence_ids(table).to_numpy(), table["sample_id"]), chosen)
    joined = [
        rows.merge(part, on="sample_id", validate="one_to_one") for rows, part in zip((table, sequences), found, strict=True)
    ]
    for rows, part in zip((table, sequences), joined, strict=True):
        if len(rows) != len(part):
            raise DataError(f"{len(rows)} to answer, {len(part)} answers")
    return Answers(joined[0], joined[1], task)


def task_of(predictions: pd.DataFrame) -> str:
    """The one task of a predictions table, else DataError."""
    tasks = sorted(predictions["task"].unique())
    if len(tasks) != 1:
        raise DataError(f"predictions of one task are wanted, found {', '.join(tasks) or 'none'}")
    return tasks[0]


def named(predictions: pd.DataFrame, sequence: pd.Series, chosen: dict[str, float]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Answers of pictures and of whole sequences: sample_id (a sequence's: its id), predicted, score, calibrated.

    `sequence` holds the id of each picture's sequence, by sample_id. A sequence is answered by the mean of its frames'
    probabilities, or by the surest box of all of them.
    """
    if task_of(predictions) == CLASS:
        of_classes = wide(predictions).loc[sequence.index]
        scores = of_classes.to_numpy(dtype=float)
        sure = pd.DataFrame(calibration.calibrated(scores, chosen["temperature"]), of_classes.index, of_classes.columns)
        merged = sure.groupby(sequence.to_numpy()).mean()
        # A picture's own score is the network's; that of a sequence is calibrated before it is averaged.
        return _best(scores, sure), _best(merged.to_numpy(), merged)
    merged = predictions.assign(sample_id=predictions["sample_id"].map(sequence))
    pictures, sequences = (box_scores.image_answers(rows, chosen["image_threshold"]) for rows in (predictions, merged))
    pictures, sequences = (
        part.assign(
            calibrated=calibration.calibrated_binary(part["score"].to_numpy(dtype=float), chosen["temperature"], chosen["bias"])
        )
        for part in (pictures, sequences)
    )
    return pictures, sequences


def wide(predictions: pd.DataFrame) -> pd.DataFrame:
    """Scores by sample_id, a column for each class, of predictions of the task `class`."""
    return predictions.pivot(index="sample_id", columns="label", values="score")


def _best(scores: Any, sure: pd.DataFrame) -> pd.DataFrame:
    best = {"predicted": sure.columns.to_numpy()[scores.argmax(axis=1)], "score": scores.max(axis=1)}
    return pd.DataFrame({"sample_id": sure.index, **best, "calibrated": sure.max(axis=1).to_numpy()})


def _sequences(table: pd.DataFrame) -> pd.DataFrame:
    """A row for each sequence of a part, `part:seq_id` its sample_id; its class is its commonest one but `empty`."""
    named = table.assign(sample_id=_sequence_ids(table), is_empty=table["actual"] == EMPTY)
    counts = named.groupby(["sample_id", "part", "seq_id", "is_empty", "actual"]).size().rename("n").reset_index()
    counts = counts.sort_values(["sample_id", "is_empty", "n", "actual"], ascending=[True, True, False, True])
    return counts.drop_duplicates("sample_id", ignore_index=True)[["sample_id", "part", "seq_id", "actual"]]


def _sequence_ids(table: pd.DataFrame) -> pd.Series:
    return table["part"] + ":" + table["seq_id"]  # a list that came with the data may have a sequence in two parts
