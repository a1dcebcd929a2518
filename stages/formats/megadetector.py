"""MegaDetector's results file, format 1.6, as Timelapse and AddaxAI read it: https://lila.science/megadetector-output-format

How our models are said in it:

    categories    `1` animal, `2` person, `3` vehicle, whatever the model's own classes. The format would allow those as
                  categories too, but asks for the name `animal`, on which its readers depend; so a class is a classification
                  of an animal, a person or a vehicle. It is left out where it says no more than the category does.
    a detector    `conf` and its one classification are both the box's score: it has no other number for its class.
    a classifier  `conf` is the detector's score, the classification's is the classifier's own. Their product is ours.
    whole picture one detection, the whole picture, of the answer's category: `conf` is 1 - P(empty), or 1 where the model does
                  not know `empty`, and the classifications are its probabilities, those under 0.01 left out. None where the
                  answer is `empty`. MegaDetector's tools put SpeciesNet's pictures without a box much so. In a video it is
                  given the first frame that was looked at.
    activities    of what people do, the probabilities are classifications of each person found; where nobody was found, of the
                  whole picture, a person. What animals do is put as the classes of whole pictures are, of an animal. Joints and
                  windows of time have no place in the format.

All boxes are written, also those below the run's threshold, which is the `typical_detection_threshold`. Sequences and
calibrated confidences have no place in the format.
"""

import json
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import Any

from stages.files import new_file
from stages.formats import json_items, media_type, probability, share_xywh
from stages.results import ANIMAL, PERSON, VEHICLE, Box, Result, Run
from stages.samples import EMPTY

_CATEGORIES = {ANIMAL: "1", PERSON: "2", VEHICLE: "3"}
_LEAST = 0.01  # classifications of whole pictures below it are left out
_ANY = 0.05  # the threshold of a model without one: Timelapse would have 0 let empty pictures in
_NO_FRAME_RATE = -1.0  # of a video that could not be read, as MegaDetector has it
_WHOLE = (0.0, 0.0, 1.0, 1.0)


def write(target: Path, results: Iterable[Result], run: Run) -> None:
    """Write one JSON file. A failed file has `failure` and no detections; `datetime` is the camera's, as EXIF writes it."""
    named = [label for label in run.classes if label not in (EMPTY, *_CATEGORIES)]
    numbers = {label: str(number) for number, label in enumerate(named)}
    head: dict[str, Any] = {
        "info": _info(run, classifies=bool(numbers)),
        "detection_categories": {number: name for name, number in _CATEGORIES.items()},
    }
    if numbers:
        head["classification_categories"] = {number: label for label, number in numbers.items()}
    with new_file(target) as temporary, temporary.open("w", encoding="ascii", newline="\n") as file:
        file.write(json.dumps(head, indent=1).removesuffix("\n}") + ',\n "images": [')
        file.writelines(json_items(_image(result, run, numbers) for result in results))
        file.write("\n ]\n}\n")


def _info(run: Run, classifies: bool) -> dict[str, Any]:
    finished_at = f"{run.finished_at:%Y-%m-%d %H:%M:%S}"
    info: dict[str, Any] = {
        "format_version": "1.6",
        "detector": PurePath(run.boxes_from or run.model).name,
        "detection_completion_time": finished_at,
        "detector_metadata": {"typical_detection_threshold": probability(run.threshold) if run.threshold else _ANY},
        "model": {"network": run.as_built, "weights_sha256": run.sha256, "trained_on": run.data},
    }
    if classifies:
        info |= {"classifier": run.model, "classification_completion_time": finished_at}
        if run.finds_boxes and run.boxes_from is None:
            info["classifier_metadata"] = {"typical_classification_threshold": run.threshold}
    return info


def _image(result: Result, run: Run, numbers: dict[str, str]) -> dict[str, Any]:
    image: dict[str, Any] = {"file": result.path}
    if result.captured_at is not None:
        image["datetime"] = f"{result.captured_at:%Y:%m:%d %H:%M:%S}"
    if result.frame_rate is not None or media_type(result).startswith("video/"):
        image |= {"frame_rate": result.frame_rate or _NO_FRAME_RATE, "frames_processed": list(result.frames)}
    if result.failure is not None:
        return image | {"failure": result.failure, "detections": None}
    return image | {"detections": _detections(result, run, numbers)}


def _detections(result: Result, run: Run, numbers: dict[str, str]) -> list[dict[str, Any]]:
    if not run.finds_boxes or (result.scores and not result.boxes):
        return _of_whole(result, numbers)
    return [_of_box(box, numbers) | _classes(result, numbers) for box in result.boxes]


def _of_box(box: Box, numbers: dict[str, str]) -> dict[str, Any]:
    detection = _detection(box.kind, box.score if box.detector_score is None else box.detector_score, box.xyxy, box.frame)
    if box.label in numbers:
        share = box.score / box.detector_score if box.detector_score else box.score
        detection["classifications"] = [[numbers[box.label], probability(share)]]
    return detection


def _of_whole(result: Result, numbers: dict[str, str]) -> list[dict[str, Any]]:
    kind = result.kind_of(result.label or EMPTY)
    if kind == EMPTY:
        return []
    frame = result.frames[0] if result.frames else None
    return [_detection(kind, 1 - result.scores.get(EMPTY, 0.0), _WHOLE, frame) | _classes(result, numbers)]


def _classes(result: Result, numbers: dict[str, str]) -> dict[str, Any]:
    """The `classifications` of a model of whole pictures, if it has any."""
    surest = sorted(result.scores.items(), key=lambda item: -item[1])
    sure = [[numbers[label], probability(score)] for label, score in surest if label in numbers and score >= _LEAST]
    return {"classifications": sure} if sure else {}


def _detection(kind: str, conf: float, xyxy: tuple[float, float, float, float], frame: int | None) -> dict[str, Any]:
    detection: dict[str, Any] = {"category": _CATEGORIES[kind], "conf": probability(conf), "bbox": share_xywh(xyxy)}
    if frame is not None:
        detection["frame_number"] = frame
    return detection
