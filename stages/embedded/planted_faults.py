"""Faults put into the camera-trap dataset on purpose, at known counts, to test that cleaning finds just these.

`plant` draws further pictures and harms each in its own way; the good ones stay good. `planted_faults.json` lists, for
each fault, the image ids that bear it; where the JSON has no such id, the id that the annotation names
(`annotation_without_image`) or the file name (`file_not_listed`).

A right cleaning keeps `images` + the first rows of `duplicate_id` + the sum of KEPT pictures, and those of BAD_BOXES if
it takes a picture's label without its box.
"""

import io
import json
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from stages.embedded.camera_trap import (
    CATEGORIES,
    EMPTY,
    CameraTrapScenes,
    Frame,
    Sequence,
    draw_sequence,
    new_id,
)

# Cleaning has to refuse these pictures (or files and annotations, which have no picture). For `duplicate_id` it is the
# second row of that id; for `same_bytes_same_label` one of two, the other being a good picture; in
# `same_bytes_other_label` both are bad.
REJECTED = {
    "truncated": 6,  # half a JPEG
    "zero_bytes": 4,
    "html": 3,  # an error page named .jpg
    "annotation_without_image": 5,
    "file_missing": 7,
    "file_not_listed": 5,
    "image_without_annotation": 6,
    "duplicate_id": 3,
    "same_bytes_same_label": 5,
    "same_bytes_other_label": 4,  # two files of the same bytes for each of half as many pictures
    "unknown_category": 4,
}
# It has to refuse the box of these, which is their only one.
BAD_BOXES = {
    "box_negative": 4,  # negative width and height
    "box_outside": 4,  # no part of the box is in the picture
    "box_null": 3,  # coordinates are null
}
# And it has to keep these.
KEPT = {
    "box_partly_outside": 5,  # to be clipped
    "exif_orientation_6": 5,  # the file is on its side; boxes, width and height are those of the upright picture
    "greyscale": 4,  # one channel
    "cmyk": 3,
    "odd_name": 4,  # spaces and accents
}
PLANTED = REJECTED | BAD_BOXES | KEPT
UNKNOWN_CATEGORY = 99


def plant(data: dict[str, Any], images: Path, settings: CameraTrapScenes, seed: int) -> dict[str, list[str]]:
    """Add the faults to `data` (in place) and to the folder of images. Returns {fault: ids or file names}."""
    names = [name for name in CATEGORIES if name != EMPTY]
    good = [image["id"] for image in data["images"]]
    rows = {image["id"]: image for image in data["images"]}
    labels: dict[str, list[dict[str, Any]]] = {}
    for annotation in data["annotations"]:
        labels.setdefault(annotation["image_id"], []).append(annotation)
    planted: dict[str, list[str]] = {}
    for fault, count in PLANTED.items():
        planted[fault] = []
        for number in range(count):
            serial = 1_000_000 + 1000 * list(PLANTED).index(fault) + number
            if fault == "same_bytes_same_label":
                original = good[(number * 7919 + 13) % len(good)]
                content = (images / rows[original]["file_name"]).read_bytes()
                frame = _relabelled(Frame(rows[original], labels[original], content), seed, serial)
            elif fault == "same_bytes_other_label" and number % 2:
                frame = _relabelled(frame, seed, serial)
                for annotation in frame.annotations:
                    annotation["category_id"] = annotation["category_id"] % len(names) + 1
            else:
                frame = _with_animal(names[(number + len(fault)) % len(names)], serial, settings, seed)
            planted[fault].append(_harm(fault, frame, data, images, number))
    return planted


def _with_animal(name: str, number: int, settings: CameraTrapScenes, seed: int) -> Frame:
    """A picture with one box that leaves room on every side, so that harming it is one change."""
    for attempt in range(50):
        location = (number + attempt) % settings.locations
        frame = draw_sequence(Sequence(number + 10_000_000 * attempt, location, (name,), 1, seed), settings)[0]
        box = frame.annotations[0].get("bbox")
        if box and box[0] > 0 and box[1] > 0 and box[0] + box[2] < frame.image["width"] and box[3] > 20:
            return frame
    raise AssertionError(f"no picture of a {name} came out whole")


def _relabelled(frame: Frame, seed: int, number: int) -> Frame:
    """The same bytes and labels as another image: new ids."""
    image_id = new_id("copy", seed, number)
    sequence_id = new_id("copied sequence", seed, number)
    changes = {
        "id": image_id,
        "file_name": f"{image_id}.jpg",
        "seq_id": sequence_id,
        "seq_num_frames": 1,
        "frame_num": 1,
    }
    image = frame.image | changes
    annotations = [
        annotation | {"id": new_id("copied annotation", seed, number, index), "image_id": image_id}
        for index, annotation in enumerate(frame.annotations)
    ]
    return Frame(image, annotations, frame.jpeg)


def _harm(fault: str, frame: Frame, data: dict[str, Any], images: Path, number: int) -> str:
    """Write the frame with its fault, and return what stands for it in the list."""
    image, annotations, content = dict(frame.image), [dict(row) for row in frame.annotations], frame.jpeg
    width, height = image["width"], image["height"]
    named = image["id"]
    match fault:
        case "truncated":
            content = content[: len(content) // 2]
        case "zero_bytes":
            content = b""
        case "html":
            content = b"<!DOCTYPE html>\n<html><body><h1>404 Not Found</h1></body></html>\n"
        case "image_without_annotation":
            annotations = []
        case "box_negative":
            x, y, w, h = annotations[0]["bbox"]
            annotations[0]["bbox"] = [x + w, y + h, -w, -h]
        case "box_outside":
            annotations[0]["bbox"][:2] = [width + 10.0, height + 10.0]
        case "box_null":
            annotations[0]["bbox"] = [None, None, None, None]
        case "box_partly_outside":
            x, y, w, h = annotations[0]["bbox"]
            annotations[0]["bbox"] = [-12.0, y, x + w + 12.0, h]
        case "unknown_category":
            annotations[0]["category_id"] = UNKNOWN_CATEGORY + number
        case "exif_orientation_6":
            content = _on_its_side(content)
        case "greyscale":
            content = _as_mode(content, "L")
        case "cmyk":
            content = _as_mode(content, "CMYK")
        case "odd_name":
            accents = unicodedata.normalize("NFC", "caméra été ñandú")
            image["file_name"] = f"{accents} {number} ({image['id'][:8]}).jpg"
        case "file_not_listed":
            named = image["file_name"]
    if fault != "file_missing" and fault != "annotation_without_image":
        (images / image["file_name"]).write_bytes(content)
    if fault not in ("file_not_listed", "annotation_without_image"):
        data["images"].append(image)
    if fault != "file_not_listed":
        data["annotations"] += annotations
    if fault == "duplicate_id":
        again = f"{new_id('again', named)}.jpg"
        data["images"].append(image | {"file_name": again})
        mirrored = np.asarray(Image.open(io.BytesIO(content)))[:, ::-1]
        (images / again).write_bytes(_jpeg(Image.fromarray(mirrored)))
    return str(named)


def _jpeg(picture: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=90, **options)
    return buffer.getvalue()


def _as_mode(content: bytes, mode: str) -> bytes:
    return _jpeg(Image.open(io.BytesIO(content)).convert(mode))


def _on_its_side(content: bytes) -> bytes:
    """Pixels turned a quarter to the left, with the EXIF note that a viewer turns them back to the right."""
    picture = Image.open(io.BytesIO(content)).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    return _jpeg(picture, exif=exif)


def read_planted(out: Path) -> dict[str, list[str]]:
    """What was planted in a dataset."""
    return json.loads((out / "planted_faults.json").read_text(encoding="utf-8"))
