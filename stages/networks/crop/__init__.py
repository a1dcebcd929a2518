"""The crop family: detect, then classify. A classifier of what lies in boxes, behind a detector that finds them.

It learns from the true boxes of train, and answers for the boxes of one of our detectors or of a MegaDetector JSON.
"""

from dataclasses import replace
from pathlib import Path

import pandas as pd
from pydantic import Field, field_validator

from stages import classifier
from stages.classifier import ClassifierSettings
from stages.files import DataError
from stages.inference import Network
from stages.megadetector import read_boxes
from stages.networks import Job, Trained
from stages.regions import Regions, squares
from stages.samples import BOX_COLUMNS, EMPTY

NEEDS, MEGADETECTOR = "needs", "megadetector"


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
    if listed := _listed(settings):
        read_boxes(listed, job.val)  # a file that does not fit is told before anything is trained
    train_cut, val_cut = (crops(pictures, job.boxes, settings.margin)[0] for pictures in (job.train, job.val))
    outputs = tuple(sorted(train_cut["label"].unique()))
    val_cut = val_cut[val_cut["label"].isin(outputs)].reset_index(drop=True)  # what train never shows cannot be validated
    if train_cut.empty or val_cut.empty:
        raise DataError(
            f"{len(train_cut)} boxes to train on and {len(val_cut)} of their classes to validate: both must be above 0. "
            "This family learns from boxes: give the data set some, or choose the image family"
        )
    left_out = {part: _without_a_box(pictures, job.boxes) for part, pictures in (("train", job.train), ("val", job.val))}
    behind = settings.boxes if settings.boxes != NEEDS else job.needs.name
    trained = classifier.train(
        "crop",
        settings,
        replace(job, train=train_cut, val=val_cut, classes=outputs),
        classes=[*outputs, EMPTY],
        behind=behind,
        left_out={"animal_without_a_box": left_out},
    )
    # What was measured is of one crop, without the detector that it stands behind.
    return replace(trained, cost=trained.cost | {"behind": behind})


def _without_a_box(pictures: pd.DataFrame, boxes: pd.DataFrame) -> int:
    return int(((pictures["label"] != EMPTY) & ~pictures["sample_id"].isin(boxes["sample_id"])).sum())


def load(folder: Path) -> Network:
    """A trained classifier of boxes in use. Raises DataError where its files are altered or do not fit each other."""
    network = classifier.load(folder)
    settings = SETTINGS.model_validate(network.card["settings"])
    return replace(network, regions=Regions(settings.margin, settings.score_floor, _listed(settings)))


def _listed(settings: CropSettings) -> Path | None:
    kind, _, path = settings.boxes.partition(":")
    return Path(path) if kind == MEGADETECTOR else None
