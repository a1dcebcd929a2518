"""The faults that the renderer plants, at known counts, and what `clean` makes of each: neither may miss one or invent one."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from stages.clean import CleanSettings, clean
from stages.datasets import caltech_camera_traps
from stages.embedded.camera_trap import CameraTrapScenes, write
from stages.embedded.planted_faults import BAD_BOXES, KEPT, REJECTED
from stages.files import describe_files, read_json

IMAGES = 150
REASONS = {  # of pictures
    "truncated": "damaged",
    "zero_bytes": "empty_file",
    "html": "not_an_image",
    "file_missing": "file_missing",
    "duplicate_id": "duplicate_id",
    "same_bytes_same_label": "duplicate_content",
    "same_bytes_other_label": "conflicting_duplicate",
}


@pytest.fixture(scope="module")
def cleaned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame, pd.DataFrame, dict]:
    root = tmp_path_factory.mktemp("raw")
    write(root, CameraTrapScenes(images=IMAGES, width_px=160, height_px=120), seed=7)
    files = {path: (about["bytes"], about["sha256"]) for path, about in describe_files(root).items()}
    raw = caltech_camera_traps.read(root, files, ("annotations.json",))
    pictures, boxes, _, counts = clean(raw, root, files, CleanSettings(max_bad_share=0.5), workers=1)
    return root, pictures, boxes, counts


def test_fault_17_18_19_24_25_28_29_every_planted_fault_is_found_and_no_other(
    cleaned: tuple[Path, pd.DataFrame, pd.DataFrame, dict], record_property: Callable[[str, object], None]
) -> None:
    _, pictures, _, counts = cleaned
    because = counts["rejected_because"]
    expected = {reason: REJECTED[fault] for fault, reason in REASONS.items()}
    # A picture whose only annotation is of an unknown class has none that can be used.
    expected["no_annotation"] = REJECTED["image_without_annotation"] + REJECTED["unknown_category"]
    assert because["picture"] == expected
    annotations = {reason: n for reason, n in because["annotation"].items() if reason != "picture_rejected"}
    assert annotations == {
        "no_such_picture": REJECTED["annotation_without_image"],
        "unknown_class": REJECTED["unknown_category"],
        "box_without_area": BAD_BOXES["box_negative"],
        "box_outside": BAD_BOXES["box_outside"],
        "box_not_a_number": BAD_BOXES["box_null"],
    }
    assert counts["unlisted_files"] == REJECTED["file_not_listed"]
    first_rows = REJECTED["duplicate_id"]  # the first picture of a duplicate id is good and kept
    record_property("says", f"counts.json: {because['picture']}; {because['annotation']}")
    assert len(pictures) == IMAGES + sum(KEPT.values()) + sum(BAD_BOXES.values()) + first_rows


def test_fault_22_25_what_has_to_be_kept_is_kept_the_right_way_up(
    cleaned: tuple[Path, pd.DataFrame, pd.DataFrame, dict],
) -> None:
    root, pictures, boxes, _ = cleaned
    planted = read_json(root / "planted_faults.json")
    rows = pictures.set_index("sample_id")
    for fault in (*KEPT, *BAD_BOXES):
        assert set(planted[fault]) <= set(rows.index), fault
    turned = rows.loc[planted["exif_orientation_6"]]
    assert (turned["width_px"] == 160).all() and (turned["height_px"] == 120).all()
    assert rows.loc[planted["box_partly_outside"], "note"].str.contains("cut at the edge").all()
    for fault in BAD_BOXES:
        assert rows.loc[planted[fault], "note"].str.contains("its box was refused, its class kept").all()
        assert not set(planted[fault]) & set(boxes["sample_id"])
