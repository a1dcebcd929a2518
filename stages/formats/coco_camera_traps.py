"""COCO Camera Traps, as LILA's data sets, labelling tools and `stages.datasets.caltech_camera_traps` read it.

https://github.com/agentmorris/MegaDetector/blob/main/megadetector/data_management/README.md

    a picture     one image; an annotation for each box that is sure enough, else one without bbox, its class or `empty`
    a video       an image for each frame that was looked at: `<path>#<number>`, all of them of the sequence `<path>`. A frame
                  without a box in a video with some is `empty`, without a score; in a video without any, each frame has the
                  video's answer, marked `sequence_level_annotation`
    a failed file an image that is `corrupt`, with its `failure` and without annotation: it is not empty, but not known

`score` is how sure the model is. A bbox is [x, y, width, height] in px of the picture the right way up. People may have COCO's
`keypoints`: x, y and 2 for each joint in the order that the category names, three zeros where it is less sure than JOINT_FLOOR.
What they do is an annotation without bbox, beside those of the people.
"""

import json
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain, count
from pathlib import Path
from typing import IO, Any

from stages.files import new_file
from stages.formats import json_items, probability
from stages.people import BONES, JOINT_NAMES
from stages.results import JOINT_FLOOR, PERSON, Box, Result, Run
from stages.samples import EMPTY


def write(target: Path, results: Iterable[Result], run: Run) -> None:
    """Write one JSON file. Its images are written first; annotations wait in a file beside it, as both lists grow together."""
    known = dict.fromkeys([EMPTY, *run.classes])
    numbers = defaultdict(count(len(known)).__next__, zip(known, count(), strict=False))  # a detector's own words are added
    info = {
        "version": "1.0",
        "description": f"Predictions of {run.model} ({run.as_built}), trained on {run.data}, weights sha256 {run.sha256}",
        "date_created": run.finished_at.isoformat(timespec="seconds"),
    }
    with (
        new_file(target) as temporary,
        tempfile.TemporaryFile("w+", encoding="ascii", dir=target.parent) as aside,
        temporary.open("w", encoding="ascii", newline="\n") as file,
    ):
        file.write(f'{{\n "info": {json.dumps(info)},\n "images": [')
        file.writelines(json_items(_images(results, run.threshold, numbers, aside)))
        file.write('\n ],\n "annotations": [')
        aside.seek(0)
        shutil.copyfileobj(aside, file)
        file.write('\n ],\n "categories": [')
        pose = {"keypoints": list(JOINT_NAMES), "skeleton": [[one + 1, other + 1] for one, other in BONES]}  # counted from 1
        file.writelines(
            json_items(
                {"id": number, "name": label} | (pose if run.finds_joints and label == PERSON else {})
                for label, number in numbers.items()
            )
        )
        file.write("\n ]\n}\n")


def _images(results: Iterable[Result], threshold: float, numbers: dict[str, int], aside: IO[str]) -> Iterator[dict[str, Any]]:
    """The images; what goes between the brackets of their annotations is written to `aside`."""
    written = 0
    for result in results:
        for image, annotations in _of(result, threshold):
            yield image
            for annotation in annotations:
                label = annotation.pop("label")
                written += 1  # the format's ids of annotations are text
                row = {"id": str(written), "image_id": image["id"], "category_id": numbers[label], **annotation}
                aside.write((",\n" if written > 1 else "\n") + json.dumps(row, allow_nan=False))


def _of(result: Result, threshold: float) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Each image of a file with its annotations, which have a `label` for their category."""
    image: dict[str, Any] = {"id": result.path, "file_name": result.path}
    if result.captured_at is not None:
        image["datetime"] = result.captured_at.isoformat(" ", "seconds")
    if result.failure is not None:
        yield image | {"corrupt": True, "failure": result.failure}, []
        return
    image |= {"width": result.width_px, "height": result.height_px}
    boxes = result.shown(threshold)
    answer = {"label": result.label or EMPTY, "score": probability(result.score)}
    if result.frame_rate is None:
        if result.sequence is not None:
            image["seq_id"] = result.sequence
        found = [_of_box(box, result) for box in boxes]
        yield image, [answer, *found] if result.scores else found or [answer]
        return
    for frame in result.frames:
        found = [_of_box(box, result) for box in boxes if box.frame == frame]
        of_frame = {"label": EMPTY} if boxes and not result.scores else answer | {"sequence_level_annotation": True}
        found = [of_frame, *found] if result.scores else found or [of_frame]
        yield image | {"id": f"{result.path}#{frame}", "seq_id": result.path, "frame_num": frame}, found


def _of_box(box: Box, result: Result) -> dict[str, Any]:
    sides = (result.width_px, result.height_px) * 2
    x_min, y_min, x_max, y_max = (round(share * side, 2) for share, side in zip(box.xyxy, sides, strict=True))
    bbox = [x_min, y_min, round(x_max - x_min, 2), round(y_max - y_min, 2)]
    annotation: dict[str, Any] = {"label": box.label, "bbox": bbox, "score": probability(box.score)}
    if box.joints:
        width_px, height_px = result.width_px, result.height_px
        points = [[round(x * width_px, 2), round(y * height_px, 2), 2] if sure >= JOINT_FLOOR else [0, 0, 0]
                  for x, y, sure in box.joints]  # fmt: skip
        annotation |= {"keypoints": list(chain(*points)), "num_keypoints": sum(point[2] > 0 for point in points)}
    return annotation
