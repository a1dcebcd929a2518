"""raw -> samples and rejects. Faults 17 to 20, 22, 24 to 26, 28 to 32 through the stage, and: no row is ever lost."""

import csv
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from stages.clean import CleanSettings, clean, clean_all
from stages.datasets import PICTURE_ENDINGS, adapter
from stages.files import DataError, check_manifest, read_json, sha256_bytes
from stages.pictures import decode
from stages.samples import BOX_COLUMNS, Samples, read_samples
from tests.picture_helpers import png

ROOT = Path(__file__).parent.parent
CCT20 = ROOT / "../shared/real/cct20"
Make = Callable[..., bytes]
Cleaned = Callable[..., Any]
LENIENT = {"max_bad_share": 1.0}


@pytest.fixture
def source(tmp_path: Path, picture: Make, write_cct: Callable[..., Path]) -> Callable[..., Path]:
    """Write a source of good pictures noise_<n>.png, 100 x 80, each a deer, plus what is given: -> its folder."""

    def make(
        good: int = 3,
        images: list[dict[str, Any]] | None = None,
        annotations: list[dict[str, Any]] | None = None,
        files: dict[str, bytes] | None = None,
    ) -> Path:
        root = tmp_path / "source"
        names = [f"noise_{n}" for n in range(good)]
        contents = {f"{name}.png": picture(n, 100, 80) for n, name in enumerate(names)} | (files or {})
        for name, data in contents.items():
            path = root / "images" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        rows = [{"id": name, "file_name": f"{name}.png", "seq_id": name} for name in names]
        labels = [{"image_id": name, "category_id": 1} for name in names]
        write_cct(root / "list.json", rows + (images or []), labels + (annotations or []))
        return root

    return make


def results(folder: str = "clean") -> tuple[Samples, pd.DataFrame, dict[str, Any]]:
    rejects = pd.read_csv(Path(folder) / "rejects.csv", keep_default_na=False)
    return read_samples(Path(folder)), rejects, read_json(Path(folder) / "counts.json")


def row_of(samples: Samples, sample_id: str) -> Any:
    (row,) = samples.pictures[samples.pictures["sample_id"] == sample_id].itertuples()
    return row


def boxes_of(samples: Samples, sample_id: str) -> list[list[float]]:
    return samples.boxes.loc[samples.boxes["sample_id"] == sample_id, BOX_COLUMNS].to_numpy().tolist()


def because(rejects: pd.DataFrame) -> list[tuple[str, str, str]]:
    return sorted(rejects[["kind", "name", "reason"]].itertuples(index=False, name=None))


def extra(name: str = "x", category: int = 1, size: tuple[int, int] | None = None, *boxes: Any) -> dict[str, Any]:
    """One more picture x.png and its annotations, a box each, for `source`."""
    image: dict[str, Any] = {"id": name, "file_name": f"{name}.png"}
    if size:
        image |= {"width": size[0], "height": size[1]}
    labels = [{"image_id": name, "category_id": category, "bbox": box} for box in boxes]
    return {"images": [image], "annotations": labels or [{"image_id": name, "category_id": category}]}


# Whole ---------------------------------------------------------------------------------------------------------------


def test_a_good_source_is_kept_whole(source: Callable[..., Path], cleaned: Cleaned, picture: Make) -> None:
    root = source()
    done = cleaned(root)
    assert done.code == 0, done.err
    assert done.out.splitlines()[-1].startswith("3 pictures in, 3 kept, 0 rejected, 0 boxes")
    samples, rejects, counts = results()
    assert samples.pictures["sample_id"].tolist() == ["noise_0", "noise_1", "noise_2"]
    row = row_of(samples, "noise_1")
    data = picture(1, 100, 80)
    assert (row.path, row.label, row.seq_id, row.given_split) == ("images/noise_1.png", "deer", "noise_1", "list")
    assert (row.width_px, row.height_px, row.bytes, row.sha256) == (100, 80, len(data), sha256_bytes(data))
    assert (row.note, row.infrared, pd.isna(row.location), pd.isna(row.captured_at)) == ("", False, True, True)
    assert rejects.empty
    assert counts["pictures"] == {"in": 3, "kept": 3, "rejected": 0, "merged": 0}
    assert counts["annotations"] == {"in": 3, "boxes": 0, "labels_only": 3, "rejected": 0, "replaced": 0}
    assert samples.root == root
    assert samples.data == "your data"
    assert check_manifest(Path("clean")) == []


def test_the_same_source_gives_the_same_bytes(source: Callable[..., Path], cleaned: Cleaned) -> None:
    root = source(5, **extra("x", 2, (100, 80), [1, 2, 3, 4]))
    (root / "images/x.png").write_bytes((root / "images/noise_0.png").read_bytes())
    hashes = []
    for _ in range(2):
        assert cleaned(root, **LENIENT).code == 0
        hashes.append(Path("clean/manifest.json").read_text())
    assert hashes[0] == hashes[1]


def test_several_processes_find_what_one_finds(tmp_path: Path, picture: Make) -> None:
    root = tmp_path / "source"
    (root / "deer").mkdir(parents=True)
    for n in range(70):
        (root / "deer" / f"noise_{n}.png").write_bytes(picture(n) if n % 9 else b"no picture")
    files = {path.relative_to(root).as_posix(): (1, None) for path in root.rglob("*.png")}
    raw = adapter("folders").read(root, files, ())
    one, two = (clean(raw, root, files, CleanSettings(max_bad_share=1.0), workers) for workers in (1, 2))
    for a, b in zip(one[:3], two[:3], strict=True):
        pd.testing.assert_frame_equal(a, b)
    assert one[3] == two[3]
    assert one[3]["pictures"] == {"in": 70, "kept": 62, "rejected": 8, "merged": 0}


# Files ---------------------------------------------------------------------------------------------------------------

BAD_FILES = {"html": "not_an_image", "empty": "empty_file", "half": "damaged"}


def bad_file(kind: str, picture: Make) -> bytes:
    jpeg = picture(99, 100, 80, "JPEG")
    return {"html": b"<!DOCTYPE html><p>404", "empty": b"", "half": jpeg[: len(jpeg) // 2]}[kind]


@pytest.mark.parametrize("kind", BAD_FILES, ids=["fault_19", "fault_18", "fault_17"])
def test_fault_17_18_19_a_bad_file_is_rejected_with_its_reason(
    source: Callable[..., Path], cleaned: Cleaned, picture: Make, kind: str
) -> None:
    root = source(19, [{"id": kind, "file_name": "bad.jpg"}], [{"image_id": kind, "category_id": 1}],
                  {"bad.jpg": bad_file(kind, picture)})  # fmt: skip
    done = cleaned(root)  # one of 20 is the default's very limit
    assert done.code == 0, done.err
    assert f"'{BAD_FILES[kind]}': 1" in done.out
    samples, rejects, counts = results()
    assert len(samples.pictures) == 19
    assert because(rejects) == [("annotation", kind, "picture_rejected"), ("picture", "bad.jpg", BAD_FILES[kind])]
    assert counts["pictures"] == {"in": 20, "kept": 19, "rejected": 1, "merged": 0}
    assert sum(row["in"] for row in counts["by_class"]) == 20 and sum(row["kept"] for row in counts["by_class"]) == 19
    assert counts["rejected_because"]["picture"] == {BAD_FILES[kind]: 1}
    assert counts["bad_share"] == 0.05


def test_fault_19_above_the_set_share_the_stage_fails_and_keeps_the_old_output(
    source: Callable[..., Path], cleaned: Cleaned, picture: Make
) -> None:
    root = source(19, **extra(), files={"x.png": b"<html>"})
    assert cleaned(root).code == 0
    before = Path("clean/manifest.json").read_bytes()
    (root / "images/noise_0.png").write_bytes(b"")
    done = cleaned(root)
    assert done.code == 1
    assert done.err == (
        f"error: {root}: 10.0% of 20 picture rows are bad, more than `max_bad_share` 5.0% allows: 1 empty_file, 1 not_an_image; "
        "noise_0.png (list.json images[0]) for example: the file has 0 bytes. "
        "Mend the source, or raise `max_bad_share` in the data set's `clean` settings\n"
    )
    assert Path("clean/manifest.json").read_bytes() == before
    assert check_manifest(Path("clean")) == []
    assert sorted(path.name for path in Path().glob(".clean*")) == []


@pytest.mark.parametrize("place", [100, -40], ids=["early", "late"])
@pytest.mark.parametrize("kind", ["BMP", "PNG"])
def test_fault_20_a_bit_flipped_after_the_download_is_rejected_as_altered(
    source: Callable[..., Path],
    cleaned: Cleaned,
    stage: Callable[..., Any],
    picture: Make,
    kind: str,
    place: int,
    record_property: Callable[[str, object], None],
) -> None:
    root = source(3, **extra(), files={"x.png": picture(5, 60, 40, kind)})
    assert cleaned(root, **LENIENT).code == 0
    path = root / "images/x.png"
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[place] ^= 4
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    done = stage("clean", "--params", "clean", "--raw", "raw", "--out", "clean", "--workers", 1)
    assert done.code == 0, done.err
    _, rejects, _ = results()
    assert because(rejects) == [("annotation", "x", "picture_rejected"), ("picture", "x.png", "altered")]
    (detail,) = rejects.loc[rejects["kind"] == "picture", "detail"]
    assert sha256_bytes(bytes(data)) in detail
    record_property("says", f"rejects.csv: x.png: altered: {detail}")


def test_fault_21_a_picture_of_256_megapixels_is_rejected_and_the_others_stay(
    source: Callable[..., Path], cleaned: Cleaned
) -> None:
    """A PNG of 140 kB that says 16,000 x 16,000; that nothing is allocated for it tests/test_pictures.py holds."""
    root = source(19, **extra(), files={"x.png": png(16_000, 16_000, 1, 0, bytes(16_000 * 2_001))})
    done = cleaned(root)
    assert done.code == 0, done.err
    samples, rejects, counts = results()
    assert because(rejects) == [("annotation", "x", "picture_rejected"), ("picture", "x.png", "too_large")]
    assert len(samples.pictures) == 19 and counts["rejected_because"]["picture"] == {"too_large": 1}


def test_a_source_that_changed_since_the_download_is_refused(
    source: Callable[..., Path], cleaned: Cleaned, stage: Callable[..., Any]
) -> None:
    root = source()
    assert cleaned(root).code == 0
    (root / "images/noise_0.png").write_bytes(b"123")
    (root / "images/new.png").write_bytes(b"123")
    done = stage("clean", "--params", "clean", "--raw", "raw", "--out", "clean", "--workers", 1)
    assert done.code == 1
    assert done.err.startswith(f"error: {root} changed since it was read: {root}/images/new.png: new since")
    assert "(+1 more). Run `dvc repro` again" in done.err


def test_fault_24_a_file_without_a_row_and_a_row_without_a_file(
    source: Callable[..., Path], cleaned: Cleaned, picture: Make
) -> None:
    root = source(3, **extra("lost"), files={"stray.JPG": picture(7), "notes.txt": b"no picture"})
    assert cleaned(root, **LENIENT).code == 0
    _, rejects, counts = results()
    assert because(rejects) == [
        ("annotation", "lost", "picture_rejected"),
        ("file", "images/stray.JPG", "unlisted_file"),
        ("picture", "lost.png", "file_missing"),
    ]
    assert counts["unlisted_files"] == 1
    assert counts["bad_share"] == 0.25  # the stray file is no picture row


def test_fault_24_annotation_without_image_and_image_without_annotation(
    source: Callable[..., Path], cleaned: Cleaned, picture: Make
) -> None:
    root = source(3, [{"id": "x", "file_name": "x.png"}], [{"image_id": "ghost", "category_id": 1}], {"x.png": picture(7)})
    assert cleaned(root, **LENIENT).code == 0
    _, rejects, counts = results()
    assert because(rejects) == [("annotation", "ghost", "no_such_picture"), ("picture", "x.png", "no_annotation")]
    assert counts["annotations"] == {"in": 4, "boxes": 0, "labels_only": 3, "rejected": 1, "replaced": 0}


def test_a_file_name_is_found_as_it_stands_or_by_its_only_ending(
    source: Callable[..., Path], cleaned: Cleaned, picture: Make
) -> None:
    names = {"deep/a.png": "a.png", "one/b.png": "b.png", "two/b.png": "two\\b.png", "c.png": "images/c.png"}
    root = source(
        1,
        [{"id": f"id{n}", "file_name": name} for n, name in enumerate(names.values())],
        [{"image_id": f"id{n}", "category_id": 1} for n in range(4)],
        {path: picture(n + 50) for n, path in enumerate(names)},
    )
    assert cleaned(root, **LENIENT).code == 0
    samples, rejects, _ = results()
    found = dict(zip(samples.pictures["sample_id"], samples.pictures["path"], strict=True))
    assert found == {"id0": "images/deep/a.png", "id2": "images/two/b.png", "id3": "images/c.png",
                     "noise_0": "images/noise_0.png"}  # fmt: skip
    assert ("picture", "b.png", "file_missing") in because(rejects)  # two files end so


def test_fault_31_accents_spaces_and_newlines_in_names(source: Callable[..., Path], cleaned: Cleaned, picture: Make) -> None:
    names = ["été ñandú (1).png", "line\nbreak.png", 'comma, "quote".png', "日本.png", " lead.png"]
    composed = ["caf\u00e9.png", "cafe\u0301s.png"]  # on disk in the other form of Unicode, as macOS may write them
    root = source(
        1,
        [{"id": name, "file_name": name} for name in names + composed],
        [{"image_id": name, "category_id": 2} for name in names + composed],
        {name: picture(20 + n) for n, name in enumerate([*names, "cafe\u0301.png", "caf\u00e9s.png"])},
    )
    done = cleaned(root)
    assert done.code == 0, done.err
    samples, rejects, _ = results()
    assert sorted(samples.pictures["sample_id"]) == sorted([*names, *composed, "noise_0"])
    assert rejects.empty
    assert all((samples.root / path).is_file() for path in samples.pictures["path"])


def test_fault_31_a_rejected_name_with_a_newline_stays_one_row(source: Callable[..., Path], cleaned: Cleaned) -> None:
    assert cleaned(source(3, **extra("line\nbreak, é")), **LENIENT).code == 0
    with open("clean/rejects.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {"line\nbreak, é.png", "line\nbreak, é"} == {row["name"] for row in rows}


def test_half_a_character_in_the_json_is_one_bad_row_and_no_stop(
    source: Callable[..., Path], cleaned: Cleaned, picture: Make
) -> None:
    root = source(3, [{"id": "x", "file_name": "\ud800.png", "location": "\udc00"}], [{"image_id": "x", "category_id": 1}])
    done = cleaned(root, **LENIENT)
    assert done.code == 0, done.err
    _, rejects, _ = results()
    assert because(rejects) == [("annotation", "x", "picture_rejected"), ("picture", "?.png", "file_missing")]


# Boxes ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("box", "kept", "note"),
    [
        ([10, 20, 30, 5], [10, 20, 40, 25], ""),
        ([0, 0, 100, 80], [0, 0, 100, 80], ""),
        ([-0.5, 0, 100.5, 80.9], [0, 0, 100, 80], ""),  # a pixel of rounding is no fault
        ([-12, 20, 30, 5], [0, 20, 18, 25], "a box was cut at the edge"),
        ([90, 70, 30, 50], [90, 70, 100, 80], "a box was cut at the edge"),
        ([99, 79, 1, 1], [99, 79, 100, 80], ""),
    ],
)
def test_fault_25_a_box_is_clipped_by_rule(
    source: Callable[..., Path],
    cleaned: Cleaned,
    picture: Make,
    box: list[float],
    kept: list[float],
    note: str,
    record_property: Callable[[str, object], None],
) -> None:
    root = source(3, **extra("x", 2, (100, 80), box), files={"x.png": picture(7, 100, 80)})
    assert cleaned(root).code == 0
    samples, rejects, counts = results()
    assert boxes_of(samples, "x") == [kept]
    assert (row_of(samples, "x").label, row_of(samples, "x").note) == ("fox", note)
    assert rejects.empty
    assert counts["annotations"]["boxes"] == 1
    assert counts["noted"] == (note != "")
    if note:
        record_property("says", f"samples.parquet, `note`: {note}")


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ([10, 10, 0, 5], "box_without_area"),
        ([10, 10, 5, 0], "box_without_area"),
        ([40, 25, -30, -5], "box_without_area"),
        ([200, 10, 5, 5], "box_outside"),
        ([10, -50, 5, 20], "box_outside"),
        ([99.5, 79.5, 9, 9], "box_outside"),
        ([10, 10, 0.9, 0.9], "box_outside"),
        ([float("nan"), 1, 2, 3], "box_not_a_number"),
        ([1, 2, float("inf"), 3], "box_not_a_number"),
        ([None] * 4, "box_not_a_number"),
        ([1, 2, 3], "box_not_a_number"),
        ([1, 2, 10**400, 3], "box_not_a_number"),
    ],
)
def test_fault_25_a_refused_box_is_counted_and_its_class_kept(
    source: Callable[..., Path], cleaned: Cleaned, picture: Make, box: Any, reason: str
) -> None:
    root = source(3, **extra("x", 2, (100, 80), box), files={"x.png": picture(7, 100, 80)})
    done = cleaned(root)
    assert done.code == 0, done.err
    samples, rejects, counts = results()
    assert because(rejects) == [("annotation", "x", reason)]
    assert rejects["row"].tolist() == ["list.json annotations[3]"]
    assert boxes_of(samples, "x") == []
    assert (row_of(samples, "x").label, row_of(samples, "x").note) == ("fox", "its box was refused, its class kept")
    assert counts["annotations"] == {"in": 4, "boxes": 0, "labels_only": 3, "rejected": 1, "replaced": 0}
    assert counts["pictures"]["kept"] == 4


@pytest.mark.parametrize(
    ("listed", "box", "kept"),
    [
        ((200, 160), [20, 40, 60, 10], [10, 20, 40, 25]),  # the JSON at twice the file's scale, as in CCT-20
        ((50, 40), [5, 10, 15, 2.5], [10, 20, 40, 25]),
        ((200, 159), [20, 39.75, 60, 10], [10, 20, 40, 20 + 800 / 159]),  # rounding of a side is no other shape
        (None, [10, 20, 30, 5], [10, 20, 40, 25]),
    ],
)
def test_boxes_are_carried_to_the_files_scale(
    source: Callable[..., Path], cleaned: Cleaned, picture: Make, listed: Any, box: list[float], kept: list[float]
) -> None:
    root = source(3, **extra("x", 2, listed, box), files={"x.png": picture(7, 100, 80)})
    assert cleaned(root).code == 0
    (found,) = boxes_of(results()[0], "x")
    assert found == pytest.approx(kept, abs=1e-9)


@pytest.mark.parametrize(
    "listed",
    [(80, 100), (200, 80), (0, 0), (0, 80), (-100, -80), (-100, 80), (float("inf"), 160), (10**400, 160)],
)
def test_another_shape_than_listed_is_refused(
    source: Callable[..., Path], cleaned: Cleaned, picture: Make, listed: Any
) -> None:
    root = source(3, **extra("x", 2, listed, [10, 20, 30, 5]), files={"x.png": picture(7, 100, 80)})
    done = cleaned(root, **LENIENT)
    assert done.code == 0, done.err
    samples, rejects, _ = results()
    assert because(rejects) == [("annotation", "x", "picture_rejected"), ("picture", "x.png", "other_shape")]
    assert len(samples.pictures) == 3


def test_other_shape_has_a_tolerance(source: Callable[..., Path], cleaned: Cleaned, picture: Make) -> None:
    root = source(3, **extra("x", 2, (102, 80), [10, 20, 30, 5]), files={"x.png": picture(7, 100, 80)})
    assert cleaned(root).code == 0
    assert len(results()[0].pictures) == 4
    assert cleaned(root, scale_tolerance=0.01, **LENIENT).code == 0
    assert because(results()[1])[1] == ("picture", "x.png", "other_shape")


def test_fault_22_a_picture_on_its_side_agrees_with_its_box(
    source: Callable[..., Path], cleaned: Cleaned, picture: Make
) -> None:
    """Upright 100 x 80 with a red square; the file is stored on its side. The kept box frames the red of the decoded one."""
    upright = np.full((80, 100, 3), 90, np.uint8)
    upright[20:25, 10:40] = (255, 0, 0)
    exif = Image.Exif()
    exif[0x0112] = 6
    memory = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(np.rot90(upright))).save(memory, "PNG", exif=exif)
    root = source(3, **extra("x", 2, (200, 160), [20, 40, 60, 10]), files={"x.png": memory.getvalue()})
    assert cleaned(root).code == 0
    samples, _, _ = results()
    row, (box,) = row_of(samples, "x"), boxes_of(samples, "x")
    rgb, size = decode((samples.root / row.path).read_bytes())
    assert (row.width_px, row.height_px) == size == (100, 80)
    x_min, y_min, x_max, y_max = map(int, box)
    red = (rgb == (255, 0, 0)).all(axis=-1)
    assert red[y_min:y_max, x_min:x_max].all()
    assert red.sum() == (x_max - x_min) * (y_max - y_min) == 150


# Labels --------------------------------------------------------------------------------------------------------------


def two(*annotations: tuple[int, Any]) -> dict[str, Any]:
    labels = [{"image_id": "x", "category_id": category} | ({"bbox": box} if box else {}) for category, box in annotations]
    return {"images": [{"id": "x", "file_name": "x.png"}], "annotations": labels}


@pytest.mark.parametrize(
    ("annotations", "label", "note", "boxes"),
    [
        (two((1, [0, 0, 9, 9]), (2, [20, 20, 10, 10])), "fox", "classes deer, fox: the largest box decides", 2),
        (two((2, [0, 0, 9, 9]), (1, [20, 20, 10, 10])), "deer", "classes deer, fox: the largest box decides", 2),
        (two((2, [0, 0, 9, 9]), (1, [20, 20, 9, 9])), "deer", "classes deer, fox: the largest box decides", 2),
        (two((1, [90, 70, 99, 99]), (2, [0, 0, 11, 10])), "fox",
         "classes deer, fox: the largest box decides; a box was cut at the edge", 2),  # as it is in the picture
        (two((1, None), (2, [0, 0, 9, 9])), "fox", "classes deer, fox: the largest box decides", 1),
        (two((1, [0, 0, 9, 9]), (1, [20, 20, 10, 10])), "deer", "", 2),
        (two((0, None), (2, None)), "fox", "classes empty, fox: the first that is named decides", 0),
        (two((2, None), (1, None)), "fox", "classes deer, fox: the first that is named decides", 0),
        (two((0, None)), "empty", "", 0),
        (two((0, [0, 0, 9, 9])), "empty", "", 0),  # a box of nothing is no box
        (two((2, [0, 0, -1, 9]), (1, [0, 0, 9, 9])), "deer", "classes deer, fox: the largest box decides", 1),
    ],
)  # fmt: skip
def test_the_class_of_a_picture(
    source: Callable[..., Path], cleaned: Cleaned, picture: Make, annotations: Any, label: str, note: str, boxes: int
) -> None:
    assert cleaned(source(1, **annotations, files={"x.png": picture(7, 100, 80)})).code == 0
    samples, _, _ = results()
    assert (row_of(samples, "x").label, row_of(samples, "x").note) == (label, note)
    assert len(boxes_of(samples, "x")) == boxes


def test_dropped_labels_are_no_fault(source: Callable[..., Path], cleaned: Cleaned, picture: Make) -> None:
    root = source(2, **extra("x", 2, None, [1, 1, 9, 9]), files={"x.png": picture(7, 100, 80)})
    assert cleaned(root, drop_labels=["fox"]).code == 0
    samples, rejects, counts = results()
    assert set(samples.pictures["label"]) == {"deer"}
    assert because(rejects) == [("annotation", "x", "picture_rejected"), ("picture", "x.png", "dropped_label")]
    assert counts["bad_share"] == 0
    assert samples.boxes.empty


def test_fault_28_a_second_row_of_an_id_is_rejected(source: Callable[..., Path], cleaned: Cleaned, picture: Make) -> None:
    root = source(3, [{"id": "noise_0", "file_name": "x.png"}], files={"x.png": picture(7)})
    assert cleaned(root, **LENIENT).code == 0
    samples, rejects, counts = results()
    assert because(rejects) == [("picture", "x.png", "duplicate_id")]
    assert row_of(samples, "noise_0").path == "images/noise_0.png"
    assert counts["pictures"] == {"in": 4, "kept": 3, "rejected": 1, "merged": 0}


def test_fault_29_an_unknown_class_is_rejected_and_named(source: Callable[..., Path], cleaned: Cleaned, picture: Make) -> None:
    assert cleaned(source(3, **extra("x", 99), files={"x.png": picture(7)}), **LENIENT).code == 0
    _, rejects, _ = results()
    assert because(rejects) == [("annotation", "x", "unknown_class"), ("picture", "x.png", "no_annotation")]


def test_fault_30_malformed_json_stops_the_stage_with_its_line(source: Callable[..., Path], cleaned: Cleaned) -> None:
    root = source()
    (root / "list.json").write_text('{\n"images": [\n,]}')
    done = cleaned(root)
    assert done.code == 1
    assert (
        done.err
        == f"error: {root}/list.json: line 3, column 1: malformed JSON: Expecting value. Mend it there, or get the file anew\n"
    )
    assert not Path("clean").exists()


@pytest.mark.parametrize(
    ("make", "drop", "message"),
    [
        ({"good": 0, **extra(), "files": {"x.png": b""}}, [], "no picture is left of 1 (1 empty_file)"),
        ({"good": 0, **extra()}, [], "no picture is left of 1 (1 file_missing)"),
        ({"good": 0, "files": {"x.png": b""}}, [], "no picture is left of 0 (none rejected)"),
        ({"good": 2}, ["deer"], "no picture is left of 2 (2 dropped_label)"),
    ],
)
def test_fault_32_everything_filtered_out_fails(
    source: Callable[..., Path], cleaned: Cleaned, make: dict[str, Any], drop: list[str], message: str
) -> None:
    root = source(**make)
    done = cleaned(root, drop_labels=drop, **LENIENT)
    assert done.code == 1
    assert done.err == (
        f"error: {root}: {message}. Nothing can be trained on this source: mend it, or loosen the data set's `clean` settings\n"
    )
    assert not Path("clean").exists()


def test_the_same_bytes_twice(source: Callable[..., Path], cleaned: Cleaned, picture: Make) -> None:
    same, other = picture(40, 100, 80), picture(41, 100, 80)
    names = {"b": same, "a": same, "c": same, "y": other, "z": other}
    root = source(
        1,
        [{"id": name, "file_name": f"{name}.png"} for name in names],
        [{"image_id": name, "category_id": 2 if name == "z" else 1, "bbox": [1, 1, 9, 9]} for name in names],
        {f"{name}.png": data for name, data in names.items()},
    )
    assert cleaned(root, **LENIENT).code == 0
    samples, rejects, counts = results()
    assert samples.pictures["sample_id"].tolist() == ["a", "noise_0"]  # the first id, not the first row
    assert [row for row in because(rejects) if row[0] == "picture"] == [
        ("picture", "b.png", "duplicate_content"),
        ("picture", "c.png", "duplicate_content"),
        ("picture", "y.png", "conflicting_duplicate"),
        ("picture", "z.png", "conflicting_duplicate"),
    ]
    assert counts["annotations"] == {"in": 6, "boxes": 1, "labels_only": 1, "rejected": 4, "replaced": 0}


def test_a_picture_named_again_by_a_later_list_is_merged(
    source: Callable[..., Path], cleaned: Cleaned, picture: Make, write_cct: Callable[..., Path]
) -> None:
    root = source(2)
    row = {"id": "noise_0", "file_name": "noise_0.png"}
    write_cct(root / "more.json", [row], [{"image_id": "noise_0", "category_id": 2, "bbox": [1, 2, 3, 4]}])
    assert cleaned(root).code == 0
    samples, _, counts = results()
    assert counts["pictures"] == {"in": 3, "kept": 2, "rejected": 0, "merged": 1}
    assert row_of(samples, "noise_0").label == "fox"
    assert boxes_of(samples, "noise_0") == [[1, 2, 4, 6]]


@pytest.mark.parametrize(
    ("given_date", "expected"),
    [
        ("2012-03-27 12:13:11", "2012-03-27 12:13:11"),
        ("2012:03:27 12:13:11", "2012-03-27 12:13:11"),  # EXIF's own way
        ("2012/3/7", "2012-03-07"),
        ("2012-03-27T12:13:11.25Z", "2012-03-27 12:13:11.250"),
        ("2012-03-27 12:13:11+02:00", "2012-03-27 12:13:11"),  # the camera's clock, no zone
        ("2012-03-27 12:13", "2012-03-27 12:13:00"),
        ("now", None),
        ("0000-00-00 00:00:00", None),
        ("27/03/2012", None),  # day or month first: nobody knows
        ("2012-03-27 1:00 PM", None),
        ("yesterday", None),
        ("", None),
        (20120327, None),
    ],
)
def test_dates_are_the_cameras_clock(
    source: Callable[..., Path], cleaned: Cleaned, given_date: object, expected: str | None
) -> None:
    root = source(2)
    document = json.loads((root / "list.json").read_text())
    document["images"][0]["date_captured"] = given_date
    document["images"][1]["date_captured"] = "2013-01-01T00:00:00+05:00"  # other zones beside it are no stop
    (root / "list.json").write_text(json.dumps(document))
    done = cleaned(root)
    assert done.code == 0, done.err
    samples, _, _ = results()
    found = row_of(samples, "noise_0").captured_at
    assert pd.isna(found) if expected is None else found == pd.Timestamp(expected)
    assert row_of(samples, "noise_1").captured_at == pd.Timestamp("2013-01-01")


def test_a_table_goes_through(tmp_path: Path, cleaned: Cleaned, picture: Make) -> None:
    root = tmp_path / "source"
    root.mkdir()
    for n in range(3):
        (root / f"noise {n}.png").write_bytes(picture(n, 100, 80))
    (root / "labels.csv").write_text(
        "path,label,location,sequence,frame,captured_at,split,x_min,y_min,x_max,y_max\n"
        "noise 0.png,deer,5,s,1,2013-01-01 10:00:00,train,10,20,40,25\n"
        "noise 0.png,fox,5,s,1,2013-01-01 10:00:00,train,10,20,20,25\n"
        "noise 1.png,fox,5,s,2,2013-01-01 10:00:01,test,40,20,10,25\n"
        "noise 2.png,empty,6,,,,,,,,\n"
    )
    assert cleaned(root, "table").code == 0
    samples, rejects, counts = results()
    first, last = row_of(samples, "noise 0.png"), row_of(samples, "noise 2.png")
    assert (first.label, first.location, first.seq_id, first.frame_num, first.given_split) == (
        "deer",
        "5",
        "s",
        1,
        "train",
    )
    assert boxes_of(samples, "noise 0.png") == [[10, 20, 20, 25], [10, 20, 40, 25]]
    assert (last.label, last.seq_id, pd.isna(last.frame_num)) == ("empty", "noise 2.png", True)
    assert because(rejects) == [("annotation", "noise 1.png", "box_without_area")]
    assert counts["annotations"] == {"in": 4, "boxes": 2, "labels_only": 1, "rejected": 1, "replaced": 0}


def test_a_row_that_contradicts_another_is_counted(tmp_path: Path, cleaned: Cleaned, picture: Make) -> None:
    root = tmp_path / "source"
    root.mkdir()
    for n in range(2):
        (root / f"{n}.png").write_bytes(picture(n, 100, 80))
    rows = f"Path;Label;Location\n./0.png;deer;5\n{root}/0.png;fox;6\n1.png;EMPTY;6\n"
    (root / "LABELS.CSV").write_text(rows)
    done = cleaned(root, "table", **LENIENT)
    assert done.code == 0, done.err
    samples, rejects, counts = results()
    assert samples.pictures[["path", "label", "location"]].to_numpy().tolist() == [
        ["0.png", "deer", "5"],
        ["1.png", "empty", "6"],
    ]
    assert because(rejects) == [("picture", "0.png", "contradiction")]
    assert rejects["row"].tolist() == ["LABELS.CSV line 3"]
    assert rejects["detail"].tolist() == ["location 6, 5 in LABELS.CSV line 2"]
    assert counts["pictures"] == {"in": 3, "kept": 2, "rejected": 1, "merged": 0}
    assert counts["annotations"] == {"in": 2, "boxes": 0, "labels_only": 2, "rejected": 0, "replaced": 0}


@pytest.mark.parametrize("ending", PICTURE_ENDINGS)
def test_every_picture_ending_is_told_when_no_row_names_it(
    source: Callable[..., Path], cleaned: Cleaned, picture: Make, ending: str
) -> None:
    assert cleaned(source(2, files={f"stray{ending}": picture(7)})).code == 0
    assert because(results()[1]) == [("file", f"images/stray{ending}", "unlisted_file")]


def test_the_command_line_as_a_process(source: Callable[..., Path], cleaned: Cleaned, tmp_path: Path) -> None:
    root = source()
    assert cleaned(root).code == 0
    before = Path("clean/manifest.json").read_text()
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"clean": {"max_bad": 0.1}}))
    command = [sys.executable, "-m", "stages.clean", "--params", "clean", "--raw", "raw", "--out", "clean"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: params.yaml: clean.max_bad: unknown key. Did you mean `max_bad_share`?")
    assert Path("clean/manifest.json").read_text() == before


# Nothing is lost -----------------------------------------------------------------------------------------------------

IDS = ["a", "b", "c", "d", "", 1, 2, None, "é\n", [1]]
odd_numbers = st.sampled_from([None, 0, -3, 4, 8, 16, 1e308, -1e308, float("nan"), float("inf"), "8", True, 10**400])
texts = st.sampled_from([None, "", "x", 5, 1.5, True, ["x"], "é\n"])
boxes = st.one_of(
    st.none(),
    st.lists(st.one_of(st.integers(-4, 12), odd_numbers), min_size=3, max_size=5),
    st.lists(st.integers(0, 9), min_size=4, max_size=4),
    st.just("box"),
)


def maybe(fields: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


images = maybe(
    {
        "id": st.sampled_from(IDS),
        "file_name": st.sampled_from(["a.png", "b.png", "c.png", "img/e.png", "bad.png", "void.png", "lost.png", "é.png",
                                      "", 3, None, "../a.png", "img\\e.png"]),
        "width": st.one_of(st.sampled_from([8, 16]), odd_numbers),
        "height": st.one_of(st.sampled_from([6, 12]), odd_numbers),
        "location": texts,
        "seq_id": texts,
        "frame_num": st.one_of(st.integers(0, 9), odd_numbers, st.just(10**30), st.just(1.5)),
        "date_captured": st.sampled_from(["2012-03-27 12:13:11", "2012-03-27T12:00:00Z", "now", "?", 7, None,
                                          "9999-99-99", "2012-03-27 12:00:00+02:00"]),
    }
)  # fmt: skip
whole_images = st.fixed_dictionaries({"id": st.sampled_from("abcd"), "file_name": st.sampled_from(["a.png", "b.png", "c.png"])})
annotations = maybe(
    {
        "image_id": st.sampled_from(IDS),
        "category_id": st.sampled_from([0, 1, 2, 3, "1", None, [1], True]),
        "bbox": boxes,
    }
)
whole_annotations = st.fixed_dictionaries(
    {"image_id": st.sampled_from("abcd"), "category_id": st.sampled_from([0, 1, 2])}, optional={"bbox": boxes}
)
documents = st.fixed_dictionaries(
    {
        "images": st.lists(st.one_of(whole_images, images), max_size=8),
        "annotations": st.lists(st.one_of(whole_annotations, annotations), max_size=10),
        "categories": st.just([{"id": 0, "name": "empty"}, {"id": 1, "name": "deer"}, {"id": 2, "name": "fox"}, {"id": 3}]),
    }
)


@pytest.fixture(scope="module")
def small_source(tmp_path_factory: pytest.TempPathFactory, picture: Make) -> Path:
    root = tmp_path_factory.mktemp("small")
    (root / "img").mkdir()
    same = picture(1)
    contents = {"a.png": same, "b.png": picture(2), "c.png": same, "img/e.png": picture(3), "bad.png": b"<html>",
                "void.png": b"", "é.png": picture("grey"), "stray.png": picture(4)}  # fmt: skip
    for name, data in contents.items():
        (root / name).write_bytes(data)
    return root


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(lists=st.lists(documents, min_size=1, max_size=2), drop=st.sampled_from([(), ("fox",)]))
def test_no_row_is_ever_lost(small_source: Path, lists: list[Any], drop: tuple[str, ...]) -> None:
    names = [f"list{n}.json" for n in range(len(lists))]
    for name, document in zip(names, lists, strict=True):
        (small_source / name).write_text(json.dumps(document))
    files = {p.relative_to(small_source).as_posix(): (1, None) for p in small_source.rglob("*.png")}
    raw = adapter("caltech_camera_traps").read(small_source, {*files, *names}, tuple(names))
    try:
        samples, boxes_, rejects, counts = clean(
            raw, small_source, files, CleanSettings(max_bad_share=1.0, drop_labels=drop), 1
        )
    except DataError as error:
        assert str(error).startswith(f"{small_source}: no picture is left of ")
        return
    rejected = rejects["kind"].value_counts()
    rows = {key: sum(len(document[key]) for document in lists) for key in ("images", "annotations")}
    assert counts["pictures"]["in"] == rows["images"]
    assert rows["images"] == len(samples) + rejected.get("picture", 0) + raw.merged
    assert counts["annotations"]["in"] == rows["annotations"]
    kept = counts["annotations"]["boxes"] + counts["annotations"]["labels_only"]
    assert rows["annotations"] == kept + rejected.get("annotation", 0)
    assert counts["annotations"]["boxes"] == len(boxes_)
    refused = rejects[rejects["kind"] != "file"]
    assert not refused.duplicated(["kind", "row"]).any()  # each row is refused once
    assert rejects[["kind", "row", "reason", "detail"]].notna().all(axis=None)

    assert samples["sample_id"].is_unique
    assert samples["sha256"].is_unique
    assert set(boxes_["sample_id"]) <= set(samples["sample_id"])
    sizes = samples.set_index("sample_id").loc[boxes_["sample_id"], ["width_px", "height_px"]].to_numpy()
    assert (boxes_[["x_max_px", "y_max_px"]].to_numpy() <= sizes).all()
    assert not set(samples["label"]) & set(drop)
    unlisted = set(rejects.loc[rejects["kind"] == "file", "name"])
    assert "stray.png" in unlisted
    assert not unlisted & set(samples["path"])


# Real ----------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not CCT20.is_dir(), reason="../shared/real/cct20 is not here")
def test_real_cct20_is_kept_whole_and_boxes_lie_inside() -> None:
    files = {path.relative_to(CCT20).as_posix(): (1, None) for path in CCT20.rglob("*") if path.is_file()}
    raw = adapter("cct20").read(CCT20, files, ())
    samples, boxes_, rejects, counts = clean(raw, CCT20, files, CleanSettings(), 2)
    assert counts["pictures"] == {"in": 1057, "kept": 1057, "rejected": 0, "merged": 0}
    assert counts["annotations"] == {"in": 1119, "boxes": 1119, "labels_only": 0, "rejected": 0, "replaced": 0}
    assert rejects.empty
    assert set(samples["width_px"]) == {512}
    both = samples.merge(raw.pictures, on="sample_id", suffixes=("", "_listed"))
    assert set(both["width_px_listed"] / both["width_px"]) == {2.0}
    assert (both["height_px_listed"] / both["height_px"]).between(1.98, 2.02).all()
    # The boxes lie where the JSON has them, by the shares of the picture that they take.
    placed = boxes_.merge(samples[["sample_id", "width_px", "height_px"]], on="sample_id")
    assert (placed["x_max_px"] <= placed["width_px"]).all()
    assert (placed["y_max_px"] <= placed["height_px"]).all()
    listed = raw.annotations.merge(both[["sample_id", "width_px_listed"]], on="sample_id")
    assert np.median(placed["x_max_px"] - placed["x_min_px"]) / 512 == pytest.approx(
        float(np.median(listed["w_px"] / listed["width_px_listed"])), abs=0.005
    )
    assert (samples.groupby("location")["given_split"].nunique() == 1).all()
    assert samples["captured_at"].notna().all()


# The exclusion list and pictures without an animal -------------------------------------------------------------------


def listed(*rows: str, header: str = "picture,reason") -> dict[str, str]:
    Path("out.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return {"exclude": "out.csv"}


def test_the_list_excludes_by_name_and_by_content_with_its_own_words(
    source: Callable[..., Path], cleaned: Cleaned, picture: Make
) -> None:
    root = source(4, **extra("x"), files={"x.png": b""})
    content = sha256_bytes(picture(1, 100, 80))
    given = listed("noise_0.png,a toy", f'{content},"two animals, one cut"', "images/x.png,no matter: the file is empty")
    assert cleaned(root, **given).code == 1  # 1 of 5 is empty: what is left out is no fault, that is
    assert cleaned(root, **given, max_bad_share=0.2).code == 0
    samples, rejects, counts = results()
    assert samples.pictures["sample_id"].tolist() == ["noise_2", "noise_3"]
    rows = rejects.loc[rejects["kind"] == "picture", ["name", "reason", "detail"]].to_numpy().tolist()
    assert sorted(rows) == [
        ["noise_0.png", "excluded", "a toy"],
        ["noise_1.png", "excluded", "two animals, one cut"],
        ["x.png", "empty_file", "the file has 0 bytes"],
    ]
    assert counts["bad_share"] == 0.2


@pytest.mark.parametrize(
    ("rows", "header", "said"),
    [
        (["noise_9.png,gone"], "picture,reason", r"out\.csv: noise_9\.png \(\+0 more\) names no file of the source, or"),
        (["0" * 64 + ",gone"], "picture,reason", r"out\.csv: 0{64} \(\+0 more\) names no file"),
        (["noise_0.png,"], "picture,reason", r"out\.csv: line 2: a picture and the reason for leaving it out must both be given"),
        (["noise_0.png,a", "noise_0.png,b"], "picture,reason", r"out\.csv: noise_0\.png is listed twice"),
        (["noise_0.png"], "picture", r"out\.csv: wants the columns picture, reason; found picture"),
    ],
)  # fmt: skip
def test_a_list_that_cannot_be_meant_is_refused(
    source: Callable[..., Path], cleaned: Cleaned, rows: list[str], header: str, said: str
) -> None:
    done = cleaned(source(), **listed(*rows, header=header))
    assert done.code == 1
    assert re.search(said, done.err), done.err


def test_a_list_that_is_not_there_is_refused_and_an_empty_one_excludes_nothing(
    source: Callable[..., Path], cleaned: Cleaned
) -> None:
    root = source()
    done = cleaned(root, exclude="nowhere.csv")
    assert done.code == 1
    assert "nowhere.csv: no exclusion list" in done.err
    assert cleaned(root, **listed()).code == 0
    assert results()[2]["pictures"]["kept"] == 3


def test_a_picture_without_a_usable_box_goes_where_boxes_are_required_and_exist(
    source: Callable[..., Path], cleaned: Cleaned, picture: Make
) -> None:
    root = source(1, **extra("x", 1, (100, 80), [1, 2, 30, 40], [500, 2, 3, 4]), files={"x.png": picture(9, 100, 80)})
    assert cleaned(root, require_box=True, **LENIENT).code == 0
    samples, rejects, _ = results()
    assert samples.pictures["sample_id"].tolist() == ["x"]
    assert ("picture", "noise_0.png", "no_animal") in because(rejects)
    assert cleaned(root).code == 0
    assert len(results()[0].pictures) == 2


def test_a_source_without_boxes_has_none_to_require(source: Callable[..., Path], cleaned: Cleaned) -> None:
    assert cleaned(source(), require_box=True).code == 0
    assert len(results()[0].pictures) == 3


# Keypoints of animals ------------------------------------------------------------------------------------------------


def with_keypoints(root: Path, picture: Make, *keypoints: dict[str, Any], listed: tuple[int, int] | None = None) -> Path:
    """A COCO file of pictures of 100 x 80 px, an animal with these keypoints in each; `listed`, the size that it gives them."""
    size = dict(zip(("width", "height"), listed or (100, 80), strict=True))
    document: dict[str, Any] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": 1, "name": "cat", "keypoints": ["nose", "L_Eye"]}],
    }
    root.mkdir()
    for number, places in enumerate(keypoints):
        (root / f"{number}.png").write_bytes(picture(number, 100, 80))
        document["images"].append({"id": number, "file_name": f"{number}.png", **size})
        row = {"image_id": number, "category_id": 1, "action": "sit", "keypoints": list(places.values()) or None}
        document["annotations"].append(row)
    (root / "list.json").write_text(json.dumps(document))
    return root


def keypoints_of(samples: Samples) -> list[tuple[Any, ...]]:
    return list(samples.keypoints.itertuples(index=False, name=None))


def test_fault_26_keypoints_are_kept_where_they_lie_in_the_picture(tmp_path: Path, cleaned: Cleaned, picture: Make) -> None:
    root = with_keypoints(
        tmp_path / "source", picture, {"nose": [100, 80, 2], "L_Eye": [0, 0, 1]}, {"nose": [-0.5, 4, 2], "L_Eye": [4, 80.5, 1]},
        {"nose": [0, 0, 0], "L_Eye": [None, 3, 2]}, {},
    )  # fmt: skip
    (root / "late.png").write_bytes(picture(0, 100, 80))
    done = cleaned(root, "animal_posture")
    assert done.code == 0, done.err
    samples, rejects, counts = results()
    assert len(samples.pictures) == 4
    assert keypoints_of(samples) == [("0.png", 0, "L_Eye", 0, 0, 1), ("0.png", 0, "nose", 100, 80, 2)], "the very edge stays"
    assert [row for row in because(rejects) if row[0] == "keypoint"] == [
        ("keypoint", "1.png", "keypoint_outside"), ("keypoint", "1.png", "keypoint_outside"),
        ("keypoint", "2.png", "keypoint_not_a_number"),
    ]  # fmt: skip
    assert rejects["row"].tolist()[:3] == [
        "list.json annotations[2] L_Eye",
        "list.json annotations[1] nose",
        "list.json annotations[1] L_Eye",
    ]
    assert counts["keypoints"] == {"in": 5, "kept": 2, "rejected": 3, "of_rejected_pictures": 0}
    assert "5 keypoints in, 2 kept" in done.out


def test_keypoints_follow_the_scale_of_their_picture_and_go_with_it(tmp_path: Path, cleaned: Cleaned, picture: Make) -> None:
    place = {"nose": [150, 20, 2], "L_Eye": [0, 0, 0]}
    root = with_keypoints(tmp_path / "source", picture, place, place, listed=(200, 160))
    (root / "1.png").write_bytes(b"<html>")
    assert cleaned(root, "animal_posture", **LENIENT).code == 0
    samples, _, counts = results()
    assert keypoints_of(samples) == [("0.png", 0, "nose", 75, 10, 2)]
    assert counts["keypoints"] == {"in": 2, "kept": 1, "rejected": 0, "of_rejected_pictures": 1}


def test_fault_22_keypoints_are_held_against_the_picture_the_right_way_up(
    tmp_path: Path, cleaned: Cleaned, picture: Make
) -> None:
    root = with_keypoints(tmp_path / "source", picture, {"nose": [90, 5, 2], "L_Eye": [5, 90, 2]}, listed=(80, 100))
    turned = Image.Exif()
    turned[0x0112] = 6
    (root / "0.png").write_bytes(picture(3, 100, 80, "JPEG", exif=turned))  # 80 x 100 to the eye
    assert cleaned(root, "animal_posture").code == 0
    assert keypoints_of(results()[0]) == [("0.png", 0, "L_Eye", 5, 90, 2)]


def test_a_source_without_keypoints_has_no_table_of_them(tmp_path: Path, cleaned: Cleaned, picture: Make) -> None:
    assert cleaned(with_keypoints(tmp_path / "source", picture, {}), "animal_posture").code == 0
    assert not Path("clean/keypoints.parquet").exists()
    assert results()[0].keypoints.empty
    assert "keypoints" not in results()[2]


numbers = st.one_of(st.none(), st.integers(-20, 120), st.just(float("nan")))
bodies = st.lists(st.tuples(numbers, numbers, st.sampled_from([0, 1, 2, 3])), min_size=2, max_size=2)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(bodies, min_size=1, max_size=3))
def test_no_keypoint_is_lost(
    tmp_path_factory: pytest.TempPathFactory, picture: Make, animals: list[list[tuple[Any, ...]]]
) -> None:
    given_keypoints = [dict(zip(("nose", "L_Eye"), map(list, body), strict=True)) for body in animals]
    root = with_keypoints(tmp_path_factory.mktemp("any") / "source", picture, *given_keypoints)
    files: dict[str, tuple[int, str | None]] = {path.name: (1, None) for path in root.iterdir()}
    found = clean_all(adapter("animal_posture").read(root, files, ()), root, files, CleanSettings(), 1)
    there = sum(point[2] != 0 for body in animals for point in body)
    rejected = int((found.rejects["kind"] == "keypoint").sum())
    assert there == len(found.keypoints) + rejected
    if there:
        assert found.counts["keypoints"] == {
            "in": there,
            "kept": there - rejected,
            "rejected": rejected,
            "of_rejected_pictures": 0,
        }
    assert (found.keypoints[["x_px", "y_px"]] <= [100, 80]).all(axis=None)
