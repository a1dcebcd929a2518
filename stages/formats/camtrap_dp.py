"""Camtrap DP 1.0.2, the standard for exchange of camera trap data (https://camtrap-dp.tdwg.org): media and observations.

A full package also has deployments.csv, with the coordinates of each camera, and metadata of the project, which only the user
has: `datapackage.json` says what is to be added. Until then it is no valid package; the two tables are valid.

    media         a row for each file. The deployment is the file's folder (`.` for the root), so deployments.csv needs a row
                  for each folder. `filePath` starts at the run's root: put the tables there, or the media beside them. Nobody
                  is given access: `filePublic` is false.
    observations  of `media`: a row for each box that is sure enough, or one for the file's answer. In a video, a row for each
                  class: its surest box, the frame in the tags, and as count the most in one frame. A failed file is
                  `unclassified`. Of `event`: a row for each sequence, with the answer for all of it.
    left_out.csv  each file that the standard has no place for, with the reason: no time of capture, mostly

The standard wants scientific names, and a model's classes may be anything; they are tags, `label:<class>`, and people alone get
a `scientificName`. Files that a person should look at keep the machine's answer, with the tag `review:true`. What
people or animals do is `behavior`, and no species.
"""

import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

from stages.files import new_folder, read_json, sha256_bytes, write_json
from stages.formats import as_text, csv_table, media_type, probability, share_xywh
from stages.results import ANIMAL, PERSON, VEHICLE, Box, Result, Run
from stages.samples import EMPTY

_TABLES = ("media", "observations")
_STANDARD = "https://raw.githubusercontent.com/tdwg/camtrap-dp/1.0.2"
_TYPES = {ANIMAL: "animal", PERSON: "human", VEHICLE: "vehicle", EMPTY: "blank"}
_MISSING = ("NA", "NaN", "nan")  # what the schemas take for blank
_PATH = re.compile(r"(?=[^./~])((?!\.{2})[^\r\n])*")  # the schema's own pattern, and no other line break either
_NO_TEXT = re.compile(r"[\ud800-\udfff]")  # what Python puts for bytes that are not UTF-8


def schema(table: str) -> dict[str, Any]:
    """The table schema of `media` or `observations`."""
    return read_json(Path(__file__).with_name(f"{table}-table-schema.json"))


def write(folder: Path, results: Iterable[Result], run: Run, zone: tzinfo) -> None:
    """Write media.csv, observations.csv, left_out.csv and datapackage.json; `zone` is that of the cameras' clocks.

    Results of one sequence must come one after the other; single ones may stand between them.
    """
    media_columns, observation_columns = ([field["name"] for field in schema(name)["fields"]] for name in _TABLES)
    by = {
        "classificationMethod": "machine",
        "classifiedBy": f"{run.model} (weights sha256 {run.sha256[:12]})",
        "classificationTimestamp": run.finished_at.isoformat(timespec="seconds"),
    }
    with new_folder(folder) as temporary:
        with (
            csv_table(temporary / "media.csv", media_columns) as media,
            csv_table(temporary / "observations.csv", observation_columns) as observations,
            csv_table(temporary / "left_out.csv", ["path", "reason"]) as left_out,
        ):
            for event in _events(results):
                reasons = [_no_place(result) for result in event]
                placed = [result for result, reason in zip(event, reasons, strict=True) if reason is None]
                media.writerows(_media(result, zone) for result in placed)
                observations.writerows(_observations(placed, run.threshold, by, zone))
                left_out.writerows(
                    {"path": as_text(result.path), "reason": reason}
                    for result, reason in zip(event, reasons, strict=True)
                    if reason is not None
                )
        write_json(temporary / "datapackage.json", _package(run))


def _events(results: Iterable[Result]) -> Iterator[list[Result]]:
    """The results of each sequence together, and each of the others alone."""
    sequence: list[Result] = []
    for result in results:
        if result.sequence is None:
            yield [result]
        else:
            if sequence and sequence[0].sequence != result.sequence:
                yield sequence
                sequence = []
            sequence.append(result)
    if sequence:
        yield sequence


def _no_place(result: Result) -> str | None:
    """Why the standard has no place for a file, or None."""
    if result.captured_at is None:
        return "no time of capture" if result.failure is None else result.failure
    if not _PATH.fullmatch(result.path):
        return "its path begins with . or ~, or has .. or a line break in it"
    if _NO_TEXT.search(result.path):
        return "its path is not UTF-8 text"
    return None


def _media(result: Result, zone: tzinfo) -> dict[str, str]:
    return {
        "mediaID": _media_id(result),
        "deploymentID": _deployment_id(result),
        "timestamp": _time(result, zone).isoformat(timespec="seconds"),
        "filePath": result.path,
        "filePublic": "false",
        "fileName": posixpath.basename(result.path),
        "fileMediatype": media_type(result),
        "mediaComments": result.failure or "",
    }


def _observations(event: list[Result], threshold: float, by: dict[str, str], zone: tzinfo) -> Iterator[dict[str, Any]]:
    """Of the files of one event, and of the event itself where it is a sequence; `by` says what classified them."""
    if not event:
        return
    first = event[0]
    times = [_time(result, zone) for result in event]
    start, end = min(times).isoformat(timespec="seconds"), max(times).isoformat(timespec="seconds")
    in_time = {"eventStart": start, "eventEnd": end} | ({} if first.sequence is None else {"eventID": first.sequence})
    for result in event:
        of_file = in_time | {"observationLevel": "media", "mediaID": _media_id(result), "deploymentID": _deployment_id(result)}
        if result.failure is not None:
            yield of_file | {"observationID": f"{_media_id(result)}:0", "observationType": "unclassified"}
            continue
        for number, seen in enumerate(_seen(result, threshold)):
            yield of_file | by | seen | {"observationID": f"{_media_id(result)}:{number}"}
    if first.sequence is not None:
        label = first.sequence_label or EMPTY
        of_event = {"observationID": f"event:{first.sequence}", "deploymentID": _deployment_id(first)}
        answer = _named(first.kind_of(label), first.sequence_confidence, *_class_tag(first, label))
        yield in_time | by | answer | _behaviour(first, label) | of_event | {"observationLevel": "event"}


def _seen(result: Result, threshold: float) -> Iterator[dict[str, Any]]:
    """What distinguishes the observations of one file."""
    review = ["review:true"] if result.review else []
    found, label = _found(result, threshold), result.label or EMPTY
    if not found:
        tags = [*_class_tag(result, label), *review]
        yield _named(result.kind_of(label), result.confidence, *tags) | _behaviour(result, label)
    for box, individuals in found:
        frame = [] if box.frame is None else [f"frame:{box.frame}"]
        tags = [*_class_tag(result, box.label), *frame, *review]
        bbox = zip(("bboxX", "bboxY", "bboxWidth", "bboxHeight"), share_xywh(box.xyxy), strict=True)
        seen = _named(box.kind, box.score, *tags) | _behaviour(result, label)
        yield seen | dict(bbox) | {"count": individuals}


def _behaviour(result: Result, label: str) -> dict[str, str]:
    return {"behavior": label.replace("|", "/")} if result.actor else {}  # `|` parts the standard's values


def _found(result: Result, threshold: float) -> list[tuple[Box, int]]:
    """Boxes, and how many individuals each stands for: one; in a video, the surest of a class for the most in one frame."""
    boxes = result.shown(threshold)
    if result.frame_rate is None:
        return [(box, 1) for box in boxes]
    surest: dict[str, Box] = {}
    most: Counter[str] = Counter()
    for (label, _), number in Counter((box.label, box.frame) for box in boxes).items():
        most[label] = max(most[label], number)
    for box in boxes:
        surest.setdefault(box.label, box)
    return [(box, most[label]) for label, box in surest.items()]


def _class_tag(result: Result, label: str) -> list[str]:
    """None for what an animal does: users look for names of species there."""
    return [] if result.actor == ANIMAL else [f"label:{label.replace('|', '/')}"]  # `|` parts the standard's tags


def _named(kind: str, sure: float, *tags: str) -> dict[str, Any]:
    return {
        "observationType": _TYPES[kind],
        "scientificName": "Homo sapiens" if kind == PERSON else "",
        "classificationProbability": probability(sure),
        "observationTags": " | ".join(tags),
    }


def _time(result: Result, zone: tzinfo) -> datetime:
    assert result.captured_at is not None  # else it has no place
    return result.captured_at.replace(tzinfo=zone)


def _media_id(result: Result) -> str:
    """The same in every run from the same root."""
    return sha256_bytes(result.path.encode())[:16]


def _deployment_id(result: Result) -> str:
    folder = posixpath.dirname(result.path) or "."
    return f"./{folder}" if folder in _MISSING else folder


def _package(run: Run) -> dict[str, Any]:
    return {
        "name": "ethogram-predictions",
        "created": run.finished_at.isoformat(timespec="seconds"),
        "profile": f"{_STANDARD}/camtrap-dp-profile.json",
        "description": (
            f"Predictions of {run.model} ({run.as_built}), trained on {run.data}, for the folder {run.root.name}. To make this "
            "a full Camtrap DP, add deployments.csv (deploymentID, latitude, longitude, deploymentStart and deploymentEnd at "
            "least; a row for each deploymentID of media.csv) and its resource, and the properties contributors, project, "
            "spatial, temporal and taxonomic: https://camtrap-dp.tdwg.org/metadata. left_out.csv lists the files that are not "
            "in the tables. Common names are tags (`label:`): give observations a scientificName where you know it."
        ),
        "resources": [
            {
                "name": name,
                "path": f"{name}.csv",
                "profile": "tabular-data-resource",
                "format": "csv",
                "mediatype": "text/csv",
                "encoding": "utf-8",
                "schema": f"{_STANDARD}/{name}-table-schema.json",
            }
            for name in _TABLES
        ],
    }
