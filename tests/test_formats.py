"""The written formats: their own validators pass them, our readers find the same in them, and memory stays flat."""

import csv
import json
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import frictionless
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.datasets.caltech_camera_traps import read
from stages.files import check_manifest
from stages.formats import as_text, camtrap_dp, coco_camera_traps, megadetector, probability, share_xywh, timelapse
from stages.megadetector import read_boxes
from stages.results import Box, Result, Run
from stages.samples import BOX_COLUMNS
from tests.megadetector_format import ValidateBatchResultsOptions, validate_batch_results

ZONE = timezone(timedelta(hours=2))
NOON = datetime(2020, 6, 1, 12)
FINISHED = datetime(2026, 5, 26, 19, 11, 27, tzinfo=UTC)

DETECTOR = Run(
    root=Path("/cards/june"), model="camera_trap-yolov5n-class", as_built="YOLOv5nu, 640 px", sha256="ab" * 32, data="your data",
    classes=("car", "deer", "fox", "person", "empty"), finds_boxes=True, threshold=0.25, finished_at=FINISHED,
)  # fmt: skip
CROPS = replace(DETECTOR, model="camera_trap-crop", classes=("deer", "fox"), boxes_from="/home/me/md_v5a.0.0.json")
WHOLE = replace(
    DETECTOR, model="camera_trap-resnext50", classes=("deer", "fox", "person", "empty"), finds_boxes=False, threshold=0
)

DEER = Box("deer", 0.9, (0.1, 0.2, 0.5, 0.6))
FOX = Box("fox", 0.2, (0.0, 0.0, 1.0, 1.0))
CAR = Box("car", 0.5, (0.25, 0.5, 0.75, 1.0))


def picture(path: str, **more: Any) -> Result:
    return Result(path, **{"width_px": 400, "height_px": 200, "captured_at": NOON} | more)


def seen(path: str, *boxes: Box, **more: Any) -> Result:
    """A picture in which a detector found something."""
    best = boxes[0]
    return picture(path, **{"label": best.label, "score": best.score, "confidence": 0.8, "boxes": boxes} | more)


def video(path: str, **more: Any) -> Result:
    return picture(
        path, **{"frame_rate": 25.0, "frames": (0, 25, 50), "label": "empty", "score": 0.7, "confidence": 0.6} | more
    )


def in_frames(box: Box, *frames: int) -> tuple[Box, ...]:
    return tuple(replace(box, frame=frame) for frame in frames)


FAILED = Result("bad/cut.jpg", failure="truncated after 12 bytes")
LOST_VIDEO = Result("bad/lost.AVI", failure="no frame could be read")
NOTHING = picture("a/empty.jpg", label="empty", score=0.95, confidence=0.97)
HERD = video("a/herd.mp4", label="deer", score=0.9, boxes=(*in_frames(DEER, 25, 50), *in_frames(FOX, 25)))
DETECTED = [
    seen("a/one.jpg", DEER, FOX), seen("two.jpg", CAR, review=True), NOTHING, HERD, video("still.asf"), FAILED, LOST_VIDEO,
]  # fmt: skip
CLASSIFIED = [
    picture("fox.jpg", label="fox", score=0.7, scores={"deer": 0.2, "fox": 0.7, "person": 0.005, "empty": 0.095}),
    picture("man.jpg", label="person", score=0.98, scores={"deer": 0.0, "fox": 0.0, "person": 0.98, "empty": 0.02}),
    picture("none.jpg", label="empty", score=0.6, scores={"deer": 0.4, "fox": 0.0, "person": 0.0, "empty": 0.6}),
    video("deer.mp4", label="deer", score=1.0, scores={"deer": 1.0, "fox": 0.0, "person": 0.0, "empty": 0.0}, frames=(3, 28)),
    FAILED,
]  # fmt: skip
CROPPED = [
    seen("a.jpg", Box("fox", 0.72, (0.1, 0.2, 0.5, 0.6), detector_label="animal", detector_score=0.9),
         Box("person", 0.4, (0.0, 0.0, 0.5, 1.0), detector_label="person", detector_score=0.4)),
]  # fmt: skip


def md(folder: Path, results: list[Result], run: Run) -> dict[str, Any]:
    megadetector.write(folder / "md.json", iter(results), run)
    options = ValidateBatchResultsOptions()
    options.raise_errors = True
    checked = validate_batch_results(str(folder / "md.json"), options)["validation_results"]
    assert checked["warnings"] == []
    return json.loads((folder / "md.json").read_text(encoding="ascii"))


# --- numbers -----------------------------------------------------------------------------------------------------------


@given(st.floats(0, 1), st.integers(1, 9999))
def test_nothing_passes_a_threshold_when_it_is_written_that_it_did_not_pass(value: float, threshold: int) -> None:
    assert 0 < probability(value) <= 1
    assert (probability(value) >= threshold / 10_000) == (value >= threshold / 10_000 or threshold == 1)


def test_probabilities_on_the_grid_stay_as_they_are() -> None:
    assert [probability(n / 10_000) for n in range(1, 10_001)] == [n / 10_000 for n in range(1, 10_001)]


shares = st.floats(0, 1)


@given(shares, shares, shares, shares)
def test_a_box_stays_inside_the_picture_and_keeps_an_area(a: float, b: float, c: float, d: float) -> None:
    xyxy = (min(a, b), min(c, d), max(a, b), max(c, d))
    x, y, width, height = share_xywh(xyxy)
    assert min(x, y) >= 0 and min(width, height) >= 0.0001 and max(x + width, y + height) <= 1
    assert (x, y, x + width, y + height) == pytest.approx(xyxy, abs=0.000151)


# --- MegaDetector ------------------------------------------------------------------------------------------------------


def test_a_detector_s_classes_are_classifications_of_animal_person_and_vehicle(tmp_path: Path) -> None:
    written = md(tmp_path, DETECTED, DETECTOR)
    assert written["detection_categories"] == {"1": "animal", "2": "person", "3": "vehicle"}
    assert written["classification_categories"] == {"0": "car", "1": "deer", "2": "fox"}
    assert written["info"] == {
        "format_version": "1.6", "detector": "camera_trap-yolov5n-class", "detection_completion_time": "2026-05-26 19:11:27",
        "detector_metadata": {"typical_detection_threshold": 0.25},
        "model": {"network": "YOLOv5nu, 640 px", "weights_sha256": "ab" * 32, "trained_on": "your data"},
        "classifier": "camera_trap-yolov5n-class", "classification_completion_time": "2026-05-26 19:11:27",
        "classifier_metadata": {"typical_classification_threshold": 0.25},
    }  # fmt: skip
    one, two = written["images"][:2]
    assert one == {
        "file": "a/one.jpg",
        "datetime": "2020:06:01 12:00:00",
        "detections": [
            {"category": "1", "conf": 0.9, "bbox": [0.1, 0.2, 0.4, 0.4], "classifications": [["1", 0.9]]},
            {"category": "1", "conf": 0.2, "bbox": [0.0, 0.0, 1.0, 1.0], "classifications": [["2", 0.2]]},
        ],
    }
    assert two["detections"][0]["category"] == "3"


def test_empty_failed_and_moving_files(tmp_path: Path) -> None:
    nothing, herd, still, failed, lost = md(tmp_path, DETECTED, DETECTOR)["images"][2:]
    assert nothing["detections"] == [] and "failure" not in nothing
    assert (herd["frame_rate"], herd["frames_processed"]) == (25.0, [0, 25, 50])
    assert [found["frame_number"] for found in herd["detections"]] == [25, 50, 25]
    assert still["detections"] == [] and still["frames_processed"] == [0, 25, 50]
    assert failed == {"file": "bad/cut.jpg", "failure": "truncated after 12 bytes", "detections": None}
    assert lost["frame_rate"] == -1 and lost["frames_processed"] == [] and lost["detections"] is None


def test_a_classifier_of_boxes_keeps_the_detector_s_score_apart(tmp_path: Path) -> None:
    written = md(tmp_path, CROPPED, CROPS)
    assert (written["info"]["detector"], written["info"]["classifier"]) == ("md_v5a.0.0.json", "camera_trap-crop")
    fox, person = written["images"][0]["detections"]
    assert (fox["category"], fox["conf"], fox["classifications"]) == ("1", 0.9, [["1", 0.8]])
    assert (person["category"], person["conf"]) == ("2", 0.4) and "classifications" not in person


def test_a_model_of_whole_pictures_has_one_detection_unless_empty(tmp_path: Path) -> None:
    written = md(tmp_path, CLASSIFIED, WHOLE)
    fox, man, none, deer, _ = (image["detections"] for image in written["images"])
    whole = [0.0, 0.0, 1.0, 1.0]
    assert fox == [{"category": "1", "conf": 0.905, "bbox": whole, "classifications": [["1", 0.7], ["0", 0.2]]}]
    assert man == [{"category": "2", "conf": 0.98, "bbox": whole}]
    assert none == []
    assert deer == [{"category": "1", "conf": 1.0, "bbox": whole, "frame_number": 3, "classifications": [["0", 1.0]]}]
    assert written["info"]["detector_metadata"]["typical_detection_threshold"] == 0.05


def test_a_model_that_knows_no_empty_is_sure_that_something_is_there(tmp_path: Path) -> None:
    run = replace(WHOLE, classes=("deer", "fox"))
    sure = picture("a.jpg", label="fox", score=0.6, scores={"deer": 0.4, "fox": 0.6})
    assert md(tmp_path, [sure], run)["images"][0]["detections"][0]["conf"] == 1.0


def test_a_detector_of_animals_alone_needs_no_classifications(tmp_path: Path) -> None:
    written = md(tmp_path, [seen("a.jpg", Box("animal", 0.5, (0, 0, 1, 1)))], replace(DETECTOR, classes=("animal", "empty")))
    assert "classification_categories" not in written and "classifier" not in written["info"]


def test_a_run_of_no_files_is_a_valid_file(tmp_path: Path) -> None:
    assert md(tmp_path, [], DETECTOR)["images"] == []


ENDINGS = ("mp4", "avi", "mpeg", "mpg", "mov", "mkv", "flv", "MP4", "asf", "wmv")


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_video_that_failed_is_valid_whatever_its_ending(tmp_path: Path, ending: str) -> None:
    assert md(tmp_path, [Result(f"lost.{ending}", failure="no frame")], DETECTOR)["images"][0]["frame_rate"] == -1


boxes = st.builds(
    lambda label, score, a, b, c, d: Box(label, score, (min(a, b), min(c, d), max(a, b), max(c, d))),
    st.sampled_from(["deer", "person", "car"]), shares, shares, shares, shares, shares,
)  # fmt: skip


@settings(max_examples=30)
@given(st.lists(boxes, max_size=4))
def test_megadetector_s_boxes_come_back(tmp_path_factory: pytest.TempPathFactory, drawn: list[Box]) -> None:
    folder = tmp_path_factory.mktemp("md")
    md(folder, [picture("a/b.jpg", boxes=tuple(drawn))], DETECTOR)
    table = pd.DataFrame({"sample_id": ["s"], "path": ["a/b.jpg"], "width_px": 400, "height_px": 200})
    found = read_boxes(folder / "md.json", table)
    assert found["label"].tolist() == [box.kind for box in drawn]
    assert found["score"].tolist() == pytest.approx([box.score for box in drawn], abs=0.0001)
    for row, box in zip(found[BOX_COLUMNS].to_numpy(), drawn, strict=True):
        assert row == pytest.approx([s * side for s, side in zip(box.xyxy, (400, 200, 400, 200), strict=True)], abs=0.061)


# --- COCO Camera Traps -------------------------------------------------------------------------------------------------


def coco(folder: Path, results: list[Result], run: Run) -> dict[str, Any]:
    coco_camera_traps.write(folder / "coco.json", iter(results), run)
    return json.loads((folder / "coco.json").read_text(encoding="ascii"))


def test_coco_comes_back_through_our_own_reader(tmp_path: Path) -> None:
    burst = [seen(f"burst/{i}.jpg", DEER, sequence="burst/0.jpg", sequence_label="deer") for i in range(2)]
    coco(tmp_path, [*DETECTED, *burst], DETECTOR)
    raw = read(tmp_path, {"coco.json"}, ("coco.json",))
    assert raw.rejects.empty
    pictures = raw.pictures.set_index("sample_id")
    assert pictures.index.tolist() == [
        "a/one.jpg", "two.jpg", "a/empty.jpg", "a/herd.mp4#0", "a/herd.mp4#25", "a/herd.mp4#50",
        "still.asf#0", "still.asf#25", "still.asf#50", "bad/cut.jpg", "bad/lost.AVI", "burst/0.jpg", "burst/1.jpg",
    ]  # fmt: skip
    assert pictures.loc["a/one.jpg", ["width_px", "height_px", "captured_at"]].tolist() == [400, 200, "2020-06-01 12:00:00"]
    assert pictures.loc["a/herd.mp4#25", ["file_name", "seq_id", "frame_num"]].tolist() == ["a/herd.mp4", "a/herd.mp4", 25]
    assert pictures["seq_id"].dropna().value_counts().to_dict() == {"a/herd.mp4": 3, "still.asf": 3, "burst/0.jpg": 2}

    found = raw.annotations.set_index("sample_id")
    assert set(pictures.index) - set(found.index) == {"bad/cut.jpg", "bad/lost.AVI"}  # not known, and not empty
    px = ["x_px", "y_px", "w_px", "h_px"]
    assert found.loc["a/one.jpg", ["label", *px]].tolist() == ["deer", 40, 40, 160, 80]  # the fox is below the threshold
    assert found.loc["two.jpg", ["label", *px]].tolist() == ["car", 100, 100, 200, 100]
    assert found.loc[["a/herd.mp4#0", "a/herd.mp4#25", "a/herd.mp4#50"], "label"].tolist() == ["empty", "deer", "deer"]
    assert not found.loc["a/empty.jpg", "has_box"] and found.loc["a/empty.jpg", "label"] == "empty"


def test_coco_says_how_sure_and_what_is_corrupt(tmp_path: Path) -> None:
    written = coco(tmp_path, [*DETECTED, video("b.mp4", label="deer", score=0.5)], DETECTOR)
    notes = {row["image_id"]: row for row in written["annotations"]}
    names = {row["id"]: row["name"] for row in written["categories"]}
    assert names[0] == "empty" and len(set(names.values())) == len(names) == 5
    assert [row["id"] for row in written["annotations"]] == [str(n) for n in range(1, len(written["annotations"]) + 1)]
    assert notes["a/one.jpg"]["score"] == 0.9 and notes["a/empty.jpg"]["score"] == 0.95
    assert "score" not in notes["a/herd.mp4#0"] and "sequence_level_annotation" not in notes["a/herd.mp4#0"]
    of_video = notes["b.mp4#25"]
    assert (names[of_video["category_id"]], of_video["score"], of_video["sequence_level_annotation"]) == ("deer", 0.5, True)
    failed = next(image for image in written["images"] if image["id"] == "bad/cut.jpg")
    assert failed["corrupt"] is True and failed["failure"] == "truncated after 12 bytes"


def test_a_word_of_the_detector_that_is_no_class_of_the_model_is_a_category(tmp_path: Path) -> None:
    written = coco(tmp_path, CROPPED, CROPS)
    assert written["categories"] == [{"id": n, "name": name} for n, name in enumerate(["empty", "deer", "fox", "person"])]
    assert [row["category_id"] for row in written["annotations"]] == [2, 3]


def test_coco_without_files_is_a_list_of_that_format(tmp_path: Path) -> None:
    coco(tmp_path, [], DETECTOR)
    assert read(tmp_path, {"coco.json"}, ("coco.json",)).pictures.empty


# --- Camtrap DP --------------------------------------------------------------------------------------------------------

DEPLOYMENTS = {  # the fields that the standard requires
    "fields": [
        {"name": "deploymentID", "type": "string", "constraints": {"required": True, "unique": True}},
        {"name": "latitude", "type": "number", "constraints": {"required": True, "minimum": -90, "maximum": 90}},
        {"name": "longitude", "type": "number", "constraints": {"required": True, "minimum": -180, "maximum": 180}},
        {"name": "deploymentStart", "type": "datetime", "format": "%Y-%m-%dT%H:%M:%S%z", "constraints": {"required": True}},
        {"name": "deploymentEnd", "type": "datetime", "format": "%Y-%m-%dT%H:%M:%S%z", "constraints": {"required": True}},
    ],
    "primaryKey": "deploymentID",
}
TIMED_FAILURE = replace(FAILED, captured_at=NOON)
BURST = [
    seen("b/1.jpg", DEER, sequence="b#1", sequence_label="deer", sequence_confidence=0.99),
    picture("b/2.jpg", label="empty", score=0.6, confidence=0.5, captured_at=NOON + timedelta(seconds=40),
            sequence="b#1", sequence_label="deer", sequence_confidence=0.99),
]  # fmt: skip


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def camtrap(
    folder: Path, results: list[Result], run: Run = DETECTOR, zone: Any = ZONE
) -> tuple[list[dict[str, str]], list[dict[str, str]], list[dict[str, str]]]:
    """(media, observations, left out) of a package that a user has completed with deployments.csv; all of it valid."""
    camtrap_dp.write(folder / "dp", iter(results), run, zone)
    assert check_manifest(folder / "dp") == []
    media, observations, left_out = (rows(folder / f"dp/{name}.csv") for name in ("media", "observations", "left_out"))
    package = json.loads((folder / "dp/datapackage.json").read_text())
    for resource in package["resources"]:
        assert resource["schema"].endswith(f"camtrap-dp/1.0.2/{resource['name']}-table-schema.json")
        resource["schema"] = camtrap_dp.schema(resource["name"])  # the same, without the network
    deployed = [
        {"deploymentID": name, "latitude": 51.5, "longitude": 4.8, "deploymentStart": "2020-05-30T04:57:37+02:00",
         "deploymentEnd": "2020-07-01T11:41:41+02:00"} for name in sorted({row["deploymentID"] for row in media})
    ]  # fmt: skip
    pd.DataFrame(deployed, columns=[field["name"] for field in DEPLOYMENTS["fields"]]).to_csv(
        folder / "dp/deployments.csv", index=False
    )
    package["resources"].append({"name": "deployments", "path": "deployments.csv", "schema": DEPLOYMENTS})
    del package["profile"]  # of the metadata, which is the user's to write, and on the network
    (folder / "dp/datapackage.json").write_text(json.dumps(package))
    report = frictionless.validate(str(folder / "dp/datapackage.json"))
    assert report.valid, report.flatten(["name", "rowNumber", "fieldName", "note"])
    return media, observations, left_out


def test_camtrap_tables_are_valid_and_say_what_was_seen(tmp_path: Path) -> None:
    media, observations, left_out = camtrap(tmp_path, [*DETECTED, TIMED_FAILURE, *BURST])
    assert [row["filePath"] for row in media] == [
        "a/one.jpg", "two.jpg", "a/empty.jpg", "a/herd.mp4", "still.asf", "bad/cut.jpg", "b/1.jpg", "b/2.jpg",
    ]  # fmt: skip
    assert [row["deploymentID"] for row in media] == ["a", ".", "a", "a", ".", "bad", "b", "b"]
    assert {row["timestamp"] for row in media[:6]} == {"2020-06-01T12:00:00+02:00"}
    assert [row["fileMediatype"] for row in media[2:5]] == ["image/jpeg", "video/mp4", "video/x-ms-asf"]
    assert media[5]["mediaComments"] == "truncated after 12 bytes"
    assert left_out == [
        {"path": "bad/cut.jpg", "reason": "truncated after 12 bytes"}, {"path": "bad/lost.AVI", "reason": "no frame could be read"},
    ]  # fmt: skip

    ids = {row["mediaID"]: row["filePath"] for row in media}
    told = [
        [
            ids.get(row["mediaID"], "-"),
            *(row[name] for name in ("observationType", "count", "classificationProbability", "observationTags")),
        ]
        for row in observations
    ]
    assert told == [
        ["a/one.jpg", "animal", "1", "0.9", "label:deer"],
        ["two.jpg", "vehicle", "1", "0.5", "label:car | review:true"],
        ["a/empty.jpg", "blank", "", "0.97", "label:empty"],
        ["a/herd.mp4", "animal", "1", "0.9", "label:deer | frame:25"],
        ["still.asf", "blank", "", "0.6", "label:empty"],
        ["bad/cut.jpg", "unclassified", "", "", ""],
        ["b/1.jpg", "animal", "1", "0.9", "label:deer"],
        ["b/2.jpg", "blank", "", "0.5", "label:empty"],
        ["-", "animal", "", "0.99", "label:deer"],
    ]
    assert [observations[0][f"bbox{name}"] for name in ("X", "Y", "Width", "Height")] == ["0.1", "0.2", "0.4", "0.4"]
    assert observations[0]["classifiedBy"] == "camera_trap-yolov5n-class (weights sha256 abababababab)"
    assert observations[5]["classificationMethod"] == ""


def test_a_sequence_is_an_event_from_its_first_to_its_last_file(tmp_path: Path) -> None:
    first, second = BURST
    _, observations, _ = camtrap(tmp_path, [first, seen("c.jpg", CAR), second])  # a single file between them
    of_event = [row for row in observations if row["eventID"] == "b#1"]
    assert [row["observationLevel"] for row in of_event] == ["media", "media", "event"]
    assert {(row["eventStart"], row["eventEnd"]) for row in of_event} == {
        ("2020-06-01T12:00:00+02:00", "2020-06-01T12:00:40+02:00")
    }
    assert of_event[2]["mediaID"] == ""


def test_a_herd_in_a_video_is_counted_in_the_frame_with_most(tmp_path: Path) -> None:
    surer = replace(DEER, score=0.95)
    herd = replace(HERD, boxes=(*in_frames(surer, 50), *in_frames(DEER, 25, 25, 50), *in_frames(CAR, 0)))
    _, observations, _ = camtrap(tmp_path, [herd])
    assert [(row["count"], row["observationTags"]) for row in observations] == [
        ("2", "label:deer | frame:50"), ("1", "label:car | frame:0"),
    ]  # fmt: skip


def test_only_people_have_a_scientific_name(tmp_path: Path) -> None:
    _, observations, _ = camtrap(tmp_path, CROPPED, CROPS)
    assert [(row["observationType"], row["scientificName"]) for row in observations] == [
        ("animal", ""),
        ("human", "Homo sapiens"),
    ]


def test_times_have_the_zone_s_own_offset_of_their_day(tmp_path: Path) -> None:
    winter = picture("w.jpg", captured_at=datetime(2020, 1, 1, 3, 4, 5))
    media, _, _ = camtrap(tmp_path, [NOTHING, winter], zone=ZoneInfo("Europe/Brussels"))
    assert [row["timestamp"] for row in media] == ["2020-06-01T12:00:00+02:00", "2020-01-01T03:04:05+01:00"]


@pytest.mark.parametrize("path", ["NA/a.jpg", "nan/a.jpg", 'o"dd, na;me/é 🦌.jpg', "=1+1/@a.jpg", "a\tb/c'd.jpg"])
def test_odd_names_stay_valid(tmp_path: Path, path: str) -> None:
    media, _, left_out = camtrap(tmp_path, [picture(path, label="empty"), NOTHING])
    assert media[0]["filePath"] == path and left_out == []


@pytest.mark.parametrize("path", [".hidden/a.jpg", "~a.jpg", "a..jpg", "a\nb.jpg", "a\rb.jpg", "a\udcff.jpg"])
def test_names_that_the_standard_refuses_are_left_out_with_the_reason(tmp_path: Path, path: str) -> None:
    media, _, left_out = camtrap(tmp_path, [picture(path, label="empty"), NOTHING])
    assert [row["filePath"] for row in media] == ["a/empty.jpg"]
    assert len(left_out) == 1 and left_out[0]["reason"].startswith("its path ")


def test_a_file_without_a_time_is_left_out(tmp_path: Path) -> None:
    assert camtrap(tmp_path, [picture("a.jpg", captured_at=None), NOTHING])[2] == [
        {"path": "a.jpg", "reason": "no time of capture"}
    ]


# --- Timelapse ---------------------------------------------------------------------------------------------------------


def table(folder: Path, results: list[Result], run: Run) -> list[dict[str, str]]:
    timelapse.write(folder / "t.csv", iter(results), run)
    assert (folder / "t.csv").read_bytes().startswith(b"\xef\xbb\xbfFile,RelativePath,DateTime,")
    with (folder / "t.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_a_row_for_each_file(tmp_path: Path) -> None:
    rows = table(tmp_path, [seen("x/y/one.jpg", DEER, CAR, FOX, review=True), HERD, FAILED, BURST[1]], DETECTOR)
    assert rows[0] == {
        "File": "one.jpg", "RelativePath": "x\\y", "DateTime": "2020-06-01 12:00:00", "Label": "deer", "Score": "0.9",
        "Confidence": "0.8", "Kind": "vehicle", "Count": "2", "Review": "true", "Sequence": "", "SequenceLabel": "",
        "SequenceConfidence": "", "Failure": "", "Note": "", "Frames": "",
    }  # fmt: skip
    assert (rows[1]["Count"], rows[1]["Frames"], rows[1]["Review"]) == ("1", "3", "false")
    assert {name for name, value in rows[2].items() if value} == {"File", "RelativePath", "Kind", "Review", "Failure"}
    assert (rows[2]["Kind"], rows[2]["Failure"]) == ("failed", "truncated after 12 bytes")
    assert [rows[3][name] for name in ("Count", "Label", "Sequence", "SequenceLabel", "SequenceConfidence")] == [
        "0", "empty", "b#1", "deer", "0.99",
    ]  # fmt: skip


def test_a_model_without_boxes_counts_nothing(tmp_path: Path) -> None:
    rows = table(tmp_path, CLASSIFIED, WHOLE)
    assert [row["Count"] for row in rows] == [""] * 5
    assert [row["Kind"] for row in rows] == ["animal", "person", "empty", "animal", "failed"]


names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1)


@settings(max_examples=50)
@given(st.lists(st.tuples(names, names), max_size=5))
def test_names_come_back_whatever_they_hold(tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[str, str]]) -> None:
    results = [picture(f"{folder}/{name}", label="empty") for folder, name in drawn]
    rows = table(tmp_path_factory.mktemp("t"), results, DETECTOR)
    assert [(row["RelativePath"], row["File"]) for row in rows] == [(as_text(folder), as_text(name)) for folder, name in drawn]


def test_a_spreadsheet_runs_nothing_that_a_file_s_name_says(tmp_path: Path) -> None:
    bad = [picture(f"=cmd|'calc'!A0/{sign}1.jpg", label="empty", failure="=1+1") for sign in "=+-@\t\r\n＝＋－＠"]
    rows = table(tmp_path, bad, DETECTOR)
    assert all(row[name].startswith("'") for row in rows for name in ("File", "RelativePath", "Failure"))


def test_bytes_that_are_no_text_are_escaped(tmp_path: Path) -> None:
    result = picture("a\udcff.jpg", label="empty")
    assert table(tmp_path, [result], DETECTOR)[0]["File"] == "a\\udcff.jpg"
    assert md(tmp_path, [result], DETECTOR)["images"][0]["file"] == "a\udcff.jpg"
    assert coco(tmp_path, [result], DETECTOR)["images"][0]["file_name"] == "a\udcff.jpg"


# --- all of them -------------------------------------------------------------------------------------------------------

Writer = Callable[[Path, Iterator[Result]], None]
WRITERS: dict[str, Writer] = {
    "megadetector": lambda target, results: megadetector.write(target, results, DETECTOR),
    "coco_camera_traps": lambda target, results: coco_camera_traps.write(target, results, DETECTOR),
    "camtrap_dp": lambda target, results: camtrap_dp.write(target, results, DETECTOR, ZONE),
    "timelapse": lambda target, results: timelapse.write(target, results, DETECTOR),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_memory_stays_flat(tmp_path: Path, write: Writer) -> None:
    peaks = []
    for files in (2_000, 20_000):
        results = (replace(DETECTED[i % 5], path=f"{i // 100}/{i}.jpg", frame_rate=None) for i in range(files))
        tracemalloc.start()
        write(tmp_path / str(files), results)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 100_000


def broken() -> Iterator[Result]:
    yield from DETECTED
    raise RuntimeError("disk")


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_failing_half_way_leaves_the_old_one_and_nothing_else(tmp_path: Path, write: Writer) -> None:
    target = tmp_path / "target"
    write(target, iter(DETECTED))
    files = [target] if target.is_file() else sorted(target.iterdir())
    before = [path.read_bytes() for path in files]
    with pytest.raises(RuntimeError, match="disk"):
        write(target, broken())
    assert [path.read_bytes() for path in files] == before
    assert [path.name for path in tmp_path.iterdir()] == ["target"]
