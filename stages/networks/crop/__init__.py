"""The crop family: detect, then classify. A classifier of what lies in boxes, behind a detector that finds them.

It learns from the true boxes of train, and answers for the boxes of one of our detectors or of a MegaDetector JSON.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, field_validator

from stages import classifier
from stages.classifier import ClassifierSettings
from stages.files import DataError
from stages.megadetector import ANIMAL, read_boxes
from stages.networks import Job, Trained, read_card
from stages.predictions import BOX, box_rows, check_predictions
from stages.samples import BOX_COLUMNS, EMPTY

NEEDS, MEGADETECTOR = "needs", "megadetector"
SAME_PLACE = 0.7  # intersection over union


class CropSettings(ClassifierSettings):
    margin: float = Field(0.1, ge=0)  # added on each side of a box, as a share of its longer side
    boxes: str = NEEDS  # to classify: those of the detector that the entry needs, or megadetector:<path of its JSON>
    score_floor: float = Field(0.05, ge=0, le=1)  # boxes of which the detector is less sure are not looked at

    @field_validator("boxes")
    @classmethod
    def _known_boxes(cls, boxes: str) -> str:
        kind, _, path = boxes.partition(":")
        if boxes == NEEDS or (kind == MEGADETECTOR and path):
            return boxes
        raise ValueError(f"allowed: {NEEDS}, {MEGADETECTOR}:<path of its JSON>")


SETTINGS = CropSettings


def squares(boxes_xyxy: ArrayLike, margin: float, width_px: ArrayLike, height_px: ArrayLike) -> NDArray[np.float64]:
    """A square about each box, `margin` times its longer side wider on each side. (N, 4), (N,), (N,) -> (N, 4), in px.

    At the picture's edge the square is moved inwards; where the picture is too small for it, it is cut to the picture.
    """
    boxes = np.asarray(boxes_xyxy, dtype=np.float64).reshape(-1, 4)
    low, high = boxes[:, :2], boxes[:, 2:]
    limit = np.stack([width_px, height_px], axis=-1)
    side = np.minimum((high - low).max(axis=1, keepdims=True) * (1 + 2 * margin), limit)
    start = np.clip((low + high - side) / 2, 0, limit - side)
    return np.hstack([start, start + side])


def crops(pictures: pd.DataFrame, boxes: pd.DataFrame, margin: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(what to cut out, the boxes themselves): a row for each box in both, in the order of `pictures`.

    A crop is its picture's row with the box's label, the sample_id `<picture's>#<number>` and the square in BOX_COLUMNS.
    """
    found = pictures.drop(columns="label").merge(boxes, on="sample_id", validate="one_to_many")
    numbers = found.groupby("sample_id").cumcount().astype(str)
    square = squares(found[BOX_COLUMNS], margin, found["width_px"], found["height_px"])
    cut = found.assign(sample_id=found["sample_id"] + "#" + numbers, **dict(zip(BOX_COLUMNS, square.T, strict=True)))
    return cut, found


def train(settings: CropSettings, job: Job) -> Trained:
    """Train on the true boxes of `job`. The card's classes are the boxes' labels, and `empty` for a picture without a box."""
    train_cut, val_cut = (crops(pictures, job.boxes, settings.margin)[0] for pictures in (job.train, job.val))
    outputs = tuple(sorted(train_cut["label"].unique()))
    val_cut = val_cut[val_cut["label"].isin(outputs)].reset_index(drop=True)  # what train never shows cannot be validated
    if train_cut.empty or val_cut.empty:
        raise DataError(
            f"{len(train_cut)} boxes to train on and {len(val_cut)} of their classes to validate: both must be above 0. "
            "This family learns from boxes: give the data set some, or choose the image family"
        )
    left_out = {part: _without_a_box(pictures, job.boxes) for part, pictures in (("train", job.train), ("val", job.val))}
    trained = classifier.train(
        "crop",
        settings,
        replace(job, train=train_cut, val=val_cut, classes=outputs),
        classes=[*outputs, EMPTY],
        left_out={"animal_without_a_box": left_out},
    )
    # What was measured is of one crop, without the detector that it stands behind.
    return replace(trained, cost=trained.cost | {"behind": settings.boxes if settings.boxes != NEEDS else job.needs.name})


def _without_a_box(pictures: pd.DataFrame, boxes: pd.DataFrame) -> int:
    return int(((pictures["label"] != EMPTY) & ~pictures["sample_id"].isin(boxes["sample_id"])).sum())


def predict(
    folder: Path, pictures: pd.DataFrame, root: Path, batch_size: int = 64, boxes: pd.DataFrame | None = None
) -> pd.DataFrame:
    """A class for every box that is sure enough: a predictions table of task `box`; score = detector's x classifier's.

    `boxes` are a detector's predictions for the same pictures, and not looked at where the settings name a MegaDetector
    JSON. Raises DataError where there are none, or for a picture that the detector was not given.
    """
    settings = SETTINGS.model_validate(read_card(folder)["settings"])
    kind, _, path = settings.boxes.partition(":")
    if kind == MEGADETECTOR:
        detected = _animals(Path(path), pictures)
    elif boxes is None:
        raise DataError(
            f"{folder}: this model classifies the boxes of a detector, and none were given: name a detector by the "
            f"entry's `needs`, or set boxes to {MEGADETECTOR}:<path of its JSON> and train again"
        )
    else:
        detected = _of_detector(boxes, pictures)
    detected = _one_of_each_place(detected[detected["score"] >= settings.score_floor])
    cut, found = crops(pictures, detected[["sample_id", "label", "score", *BOX_COLUMNS]], settings.margin)
    scores = classifier.probabilities(folder, cut, root, batch_size)
    best = scores.to_numpy().argmax(axis=1)
    found = found.assign(label=scores.columns[best], score=found["score"] * scores.to_numpy().max(axis=1))
    return box_rows(found[["sample_id", "label", "score", *BOX_COLUMNS]], pictures["sample_id"])


def _one_of_each_place(boxes: pd.DataFrame) -> pd.DataFrame:
    """The surest of boxes that overlap by more than SAME_PLACE: a detector may name one place by several classes."""
    from torchvision.ops import batched_nms

    xyxy, scores = (torch.tensor(boxes[names].to_numpy(dtype=float)) for names in (BOX_COLUMNS, "score"))
    kept = batched_nms(xyxy, scores, torch.from_numpy(pd.factorize(boxes["sample_id"])[0]), SAME_PLACE)
    return boxes.iloc[sorted(kept.tolist())]


def _of_detector(boxes: pd.DataFrame, pictures: pd.DataFrame) -> pd.DataFrame:
    """The boxes that a detector's predictions hold for `pictures`."""
    predictions = check_predictions(boxes[boxes["sample_id"].isin(pictures["sample_id"])], pictures["sample_id"])
    if (predictions["task"] != BOX).any():
        raise DataError("the boxes given are of no detector: let the entry's `needs` name a model that finds boxes")
    return predictions[predictions["label"] != EMPTY]


def _animals(path: Path, pictures: pd.DataFrame) -> pd.DataFrame:
    """The animals of a MegaDetector JSON; how many boxes of people and vehicles are left out is said."""
    found = read_boxes(path, pictures)
    others = found.loc[found["label"] != ANIMAL, "label"].value_counts().sort_index()
    left_out = ", ".join(f"{count} {label}" for label, count in others.items()) or "none"
    animals = found[found["label"] == ANIMAL]
    print(f"{path}: {len(animals)} boxes of animals for {len(pictures)} pictures; other boxes, left out: {left_out}")
    return animals
