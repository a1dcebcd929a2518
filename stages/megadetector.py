"""Boxes from a MegaDetector results file, for pictures of ours.

The format: https://lila.science/megadetector-output-format, as MegaDetector, AddaxAI, Timelapse and SpeciesNet exchange it.
"""

from collections import Counter, defaultdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from stages import geometry
from stages.files import DataError, read_json
from stages.geometry import Boxes
from stages.samples import BOX_COLUMNS

ANIMAL = "animal"  # what MegaDetector calls it; the others are person and vehicle
_ROUNDING = 0.01  # a box may reach this share of a side out of the picture, and is cut there


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False)  # what else the file holds is not looked at


class _Detection(_Part):
    category: str
    conf: Annotated[float, Field(ge=0, le=1)]
    bbox: Annotated[list[float], Field(min_length=4, max_length=4)]  # x_min, y_min, width, height, as shares of the picture's

    @field_validator("bbox")
    @classmethod
    def _inside(cls, bbox: list[float]) -> list[float]:
        x, y, width, height = bbox
        if min(width, height) < 0 or min(x, y) < -_ROUNDING or max(x + width, y + height) > 1 + _ROUNDING:
            raise ValueError("expected [x_min, y_min, width, height], shares of the picture's sides inside 0 to 1")
        return bbox


class _Image(_Part):
    file: Annotated[str, Field(min_length=1)]
    detections: list[_Detection] | None = None
    failure: str | None = None
    error: str | None = None  # what some tools write for `failure`

    def predicted(self) -> bool:
        return self.detections is not None and self.failure is None and self.error is None


class _Results(_Part):
    images: list[_Image]
    detection_categories: dict[str, str]


def read_boxes(path: Path, pictures: pd.DataFrame) -> pd.DataFrame:
    """The boxes that a MegaDetector JSON holds for `pictures` (samples): sample_id, label (its category), score, BOX_COLUMNS.

    Coordinates are px of the picture the right way up (MegaDetector turns pictures by their EXIF, as we do). An image of
    the file is a picture's when their paths are equal, else when one path ends with the other, else when nothing but the
    file name is. Raises DataError for what breaks the format, and when a picture is not in the file, failed there or could
    be several of its images.
    """
    results = _parse(path)
    files = [image.file.replace("\\", "/") for image in results.images]
    place = _matched(path, pictures["path"].drop_duplicates().tolist(), files)
    failed = [name for name, i in place.items() if not results.images[i].predicted()]
    if failed:
        image = results.images[place[failed[0]]]
        reason = image.failure or image.error or "no `detections`"
        raise DataError(
            f"{path}: {len(failed)} of {len(place)} pictures were not predicted, {failed[0]} for example ({reason}): "
            "nothing is averaged over fewer. Run MegaDetector on them again"
        )
    rows = [
        (picture.sample_id, results.detection_categories[found.category], found.conf, *_pixels(found.bbox, picture))
        for picture in pictures.itertuples()
        for found in results.images[place[picture.path]].detections or ()
        if found.category in results.detection_categories  # the format has any other read as no detection
    ]
    table = pd.DataFrame(rows, columns=["sample_id", "label", "score", *BOX_COLUMNS]).astype(
        {"sample_id": "str", "label": "str", "score": float, **dict.fromkeys(BOX_COLUMNS, float)}
    )
    # The format rounds to 4 digits: a sliver at the edge may have no width left.
    return table[geometry.area(table[BOX_COLUMNS].to_numpy()) > 0].reset_index(drop=True)


class Detections:
    """The boxes that a MegaDetector JSON holds for a user's files, matched as `read_boxes` does, one file at a time."""

    def __init__(self, path: Path, files: list[str]) -> None:
        """Raises DataError for what breaks the format, and where it holds none of `files`."""
        results = _parse(path)
        self._path, self._images = path, results.images
        self._categories = {category: number for number, category in enumerate(results.detection_categories)}
        self.labels = tuple(results.detection_categories.values())
        self._places = _places(files, [image.file.replace("\\", "/") for image in results.images])
        if not self._places:
            known = ", ".join(image.file for image in results.images[:3]) or "none"
            raise DataError(
                f"{path}: it holds none of the files given. Its files: {known}, ...; yours: {', '.join(files[:3])}, ..."
            )

    def of(self, file: str) -> Boxes:
        """(N, 6): xyxy as shares of the sides, score, number of the category. Raises DataError where there is no answer."""
        places = self._places.get(file, [])
        if len(places) != 1:
            raise DataError(f"{self._path.name} holds {'several that may be it' if places else 'no such file'}")
        image = self._images[places[0]]
        if not image.predicted():
            raise DataError(f"{self._path.name}: not predicted there: {image.failure or image.error or 'no `detections`'}")
        rows = [
            (*geometry.clip(geometry.xyxy_from_xywh(found.bbox), 1, 1), found.conf, self._categories[found.category])
            for found in image.detections or ()
            if found.category in self._categories  # the format has any other read as no detection
        ]
        boxes = np.array(rows, dtype=np.float64).reshape(-1, 6)
        return boxes[geometry.area(boxes[:, :4]) > 0]


def _parse(path: Path) -> _Results:
    document = read_json(path)
    try:
        return _Results.model_validate(document)
    except ValidationError as error:
        detail = error.errors()[0]
        where = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in detail["loc"]).lstrip(".") or "the top"
        file = _file_at(document, detail["loc"])
        message = detail["msg"].removeprefix("Value error, ")
        raise DataError(
            f"{path}: {where}{f' ({file})' if file else ''}: given {str(detail['input'])[:80]}: {message}. "
            "The format: https://lila.science/megadetector-output-format"
        ) from None


def _file_at(document: Any, location: tuple[Any, ...]) -> str:
    """The name of the picture that a fault at `location` belongs to; empty where there is none."""
    image = document["images"][location[1]] if location[:1] == ("images",) and len(location) > 1 else None
    return str(image.get("file", "")) if isinstance(image, dict) else ""


def _places(pictures: list[str], files: list[str]) -> dict[str, list[int]]:
    """{picture's path: the indices of the files that it may be}: those of its path; else those where one path ends with the
    other; else those of its name. More than one where that is not clear, also where another picture may be the same file."""
    same, by_name = defaultdict(list), defaultdict(list)
    for i, file in enumerate(files):
        same[file].append(i)
        by_name[file.rpartition("/")[2]].append(i)
    matches: dict[str, list[int]] = {}
    for picture in pictures:
        named = by_name[picture.rpartition("/")[2]]
        ending = [i for i in named if f"/{picture}".endswith(f"/{files[i]}") or f"/{files[i]}".endswith(f"/{picture}")]
        matches[picture] = same[picture] or ending or named
    taken = Counter(i for found in matches.values() for i in found)
    shared = {picture for picture, found in matches.items() if found and taken[found[0]] > 1}
    return {picture: found * 2 if picture in shared else found for picture, found in matches.items() if found}


def _matched(path: Path, pictures: list[str], files: list[str]) -> dict[str, int]:
    """{picture's path: index of its file}, each index once. Raises DataError for a picture with no file, or with several."""
    matches = _places(pictures, files)
    if missing := [picture for picture in pictures if picture not in matches]:
        raise DataError(
            f"{path}: {len(missing)} of {len(pictures)} pictures are not in it, {missing[0]} for example: nothing is averaged "
            "over fewer. Run MegaDetector on all of them"
        )
    if unclear := [picture for picture, found in matches.items() if len(found) > 1]:
        raise DataError(
            f"{path}: {len(unclear)} of {len(pictures)} pictures have a file name that several share, {unclear[0]} for "
            "example: give the paths in it as they are in the samples table"
        )
    return {picture: found[0] for picture, found in matches.items()}


def _pixels(bbox: list[float], picture: Any) -> list[float]:
    share = geometry.clip(geometry.xyxy_from_xywh(bbox), 1, 1)
    return geometry.rescale(share, np.float64(picture.width_px), np.float64(picture.height_px)).tolist()
