"""Faults put into the posture dataset on purpose, at known counts, to test that cleaning finds just these.

`plant` draws further pictures and harms each in its own way; the good ones stay good. `planted_faults.json` lists, for each
fault, the names of the pictures that bear it. A right cleaning keeps `images` pictures and those of KEPT.
"""

import io
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from stages.embedded import writing
from stages.embedded.posture import (
    ACTIONS,
    SPECIES,
    VIEWS,
    Picture,
    Plan,
    PostureScenes,
    draw_picture,
    new_name,
    synthetic,
)
from stages.embedded.writing import encode

KEPT = {
    "near_duplicate": 6,  # a good picture again, smaller, brighter and packed tighter: to stay in one part with it
    "shouted_action": 3,  # LYING for lying
}
# The picture has to go, or is a file that no row names.
REJECTED = {
    "no_action": 5,  # blank, or a word for nothing of the four
    "ambiguous_action": 5,  # two actions in one cell, or in two rows
    "no_box": 3,
    "box_outside": 2,
    "truncated": 3,  # half a JPEG
    "zero_bytes": 2,
    "html": 2,  # an error page named .jpg
    "file_missing": 3,
    "file_not_listed": 3,
    "same_bytes_same_label": 3,  # one of two, the other being a good picture
    "same_bytes_other_label": 4,  # two files of the same bytes for each of half as many pictures
    "drawing": 4,  # what no rule can tell: for the committed list, stages/exclusions/posture-embedded.csv, which names them
}
PLANTED = KEPT | REJECTED
COPIED = {"near_duplicate": 0, "same_bytes_same_label": 143}  # the first good picture that is copied
NO_ACTION = ("", "other", "unknown", "drinking", "n/a")


def plant(pictures: list[Picture], images: Path, settings: PostureScenes, seed: int) -> dict[str, list[str]]:
    """Add pictures with faults to `pictures` (in place) and to the folder of images. Returns {fault: file names}."""

    def draw(fault: str, number: int, serial: int) -> Picture:
        action = "lying" if fault in ("same_bytes_other_label", "shouted_action") else list(ACTIONS)[number]
        return draw_picture(Plan(serial, action, SPECIES[number], seed), settings)

    def rename(picture: Picture, serial: int) -> Picture:
        return picture._replace(name=new_name(serial, seed))

    def relabel(picture: Picture) -> Picture:
        return picture._replace(action="sitting")

    return writing.plant(pictures, images, PLANTED, COPIED, draw, rename, relabel, _harm)


def _harm(fault: str, picture: Picture, number: int) -> list[Picture]:
    """The rows of the picture with its fault."""
    match fault:
        case "near_duplicate":
            return [_again(picture)]
        case "shouted_action":
            return [picture._replace(action=picture.action.upper())]
        case "no_action":
            return [picture._replace(action=NO_ACTION[number])]
        case "ambiguous_action":
            other = "sitting" if picture.action == "lying" else "lying"
            if number % 2:
                return [picture, picture._replace(action=other)]
            return [picture._replace(action=f"{picture.action}/{other}")]
        case "no_box":
            return [picture._replace(bbox=None)]
        case "box_outside":
            return [picture._replace(bbox=(1000.0, 10.0, 40.0, 40.0))]
        case "truncated":
            return [picture._replace(jpeg=picture.jpeg[: len(picture.jpeg) // 2])]
        case "zero_bytes":
            return [picture._replace(jpeg=b"")]
        case "html":
            return [picture._replace(jpeg=b"<!DOCTYPE html>\n<html><body><h1>404 Not Found</h1></body></html>\n")]
        case "drawing":
            action = "walking_standing" if picture.action in ("walking", "standing") else picture.action
            rgb = synthetic(action, picture.species, list(VIEWS)[number], number, 128)
            return [picture._replace(name=f"drawing_{number + 1}.jpg", jpeg=encode(rgb, 90))]
    return [picture]


def _again(picture: Picture) -> Picture:
    """The same photo as another site would show it: nine tenths of the size, a little brighter."""
    rgb = np.array(Image.open(io.BytesIO(picture.jpeg)))
    small = cv2.resize(rgb, None, fx=0.9, fy=0.9, interpolation=cv2.INTER_AREA)
    jpeg = encode(np.clip(1.04 * small, 0, 255).astype(np.uint8), 85)
    x_scale, y_scale = small.shape[1] / rgb.shape[1], small.shape[0] / rgb.shape[0]
    scales = (x_scale, y_scale, x_scale, y_scale)
    box = tuple(round(side * scale, 1) for side, scale in zip(picture.bbox or (), scales, strict=True))
    places = {name: (round(x * x_scale, 1), round(y * y_scale, 1), seen) for name, (x, y, seen) in picture.keypoints.items()}
    return picture._replace(jpeg=jpeg, bbox=box, keypoints=places)
