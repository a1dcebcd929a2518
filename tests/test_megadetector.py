"""A MegaDetector JSON: its boxes come back in pixels, its images find our pictures, and what is wrong with it is named."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.files import DataError
from stages.megadetector import read_boxes
from stages.samples import BOX_COLUMNS

CATEGORIES = {"1": "animal", "2": "person", "3": "vehicle"}
ENA24 = Path(__file__).parent.parent.parent / "shared/real/camera_trap_media/ena24/md_annotations.json"


def pictures(*paths: str, width_px: int = 200, height_px: int = 100) -> pd.DataFrame:
    """What `read_boxes` looks at of a samples table; the ids are s0, s1, ..."""
    ids = [f"s{i}" for i in range(len(paths))]
    return pd.DataFrame({"sample_id": ids, "path": paths, "width_px": width_px, "height_px": height_px})


def image(file: str, *bbox: float, category: str = "1", conf: float = 0.9, **more: Any) -> dict[str, Any]:
    """An image of the file, with one detection where a bbox is given."""
    return {"file": file, "detections": [{"category": category, "conf": conf, "bbox": list(bbox)}] if bbox else []} | more


def written(folder: Path, *images: Any, **more: Any) -> Path:
    path = folder / "md.json"
    path.write_text(
        json.dumps({"info": {"format_version": "1.4"}, "detection_categories": CATEGORIES, "images": images} | more)
    )
    return path


# --- boxes -------------------------------------------------------------------------------------------------------------


def test_boxes_come_in_pixels_with_the_name_of_their_category(tmp_path: Path) -> None:
    two = image("a.jpg", 0.1, 0.2, 0.5, 0.25)
    two["detections"].append({"category": "2", "conf": 0.25, "bbox": [0, 0, 1, 1], "classifications": [["0", 0.9]]})
    found = read_boxes(written(tmp_path, image("b.jpg"), two), pictures("a.jpg", "b.jpg"))
    assert list(found.columns) == ["sample_id", "label", "score", *BOX_COLUMNS]
    assert found.to_numpy().tolist() == [
        ["s0", "animal", 0.9, 20.0, 20.0, 120.0, 45.0],
        ["s0", "person", 0.25, 0.0, 0.0, 200.0, 100.0],
    ]


def test_a_file_without_boxes_gives_an_empty_table_of_the_same_columns(tmp_path: Path) -> None:
    found = read_boxes(written(tmp_path, image("a.jpg")), pictures("a.jpg"))
    assert found.empty
    assert list(found.columns) == ["sample_id", "label", "score", *BOX_COLUMNS]
    assert {str(kind) for kind in found[["score", *BOX_COLUMNS]].dtypes} == {"float64"}


def test_a_category_that_the_file_does_not_name_is_no_detection(tmp_path: Path) -> None:
    assert read_boxes(written(tmp_path, image("a.jpg", 0, 0, 1, 1, category="9")), pictures("a.jpg")).empty


def test_a_small_excess_is_cut_at_the_picture_s_edge(tmp_path: Path) -> None:
    found = read_boxes(written(tmp_path, image("a.jpg", -0.004, 0.5, 1.0081, 0.5001)), pictures("a.jpg"))
    assert found[BOX_COLUMNS].to_numpy().tolist() == [[0.0, 50.0, 200.0, 100.0]]


def test_a_box_without_area_is_left_out(tmp_path: Path) -> None:
    slivers = [image("a.jpg", *box) for box in ((0.998, 0.5, 0, 0.12), (1.0, 0.5, 0.002, 0.12))]
    assert [len(read_boxes(written(tmp_path, sliver), pictures("a.jpg"))) for sliver in slivers] == [0, 0]


sizes = st.integers(1, 6000)
shares = st.floats(0, 1, allow_subnormal=False)


@given(sizes, sizes, st.lists(st.tuples(shares, shares, shares, shares, shares), max_size=4))
def test_boxes_to_json_and_back(
    tmp_path_factory: pytest.TempPathFactory, width_px: int, height_px: int, drawn: list[tuple[float, ...]]
) -> None:
    """Boxes in px, written as the format has them, come back within a thousandth of a pixel, inside the picture."""
    sides = [width_px, height_px, width_px, height_px]
    # One narrower than the format's 4 digits has no area left, and is left out.
    drawn = [row for row in drawn if abs(row[0] - row[2]) > 0.0001 and abs(row[1] - row[3]) > 0.0001]
    boxes = [(min(a, c), min(b, d), max(a, c), max(b, d)) for a, b, c, d, _ in drawn]
    detections = [
        {"category": "1", "conf": conf, "bbox": [x0, y0, x1 - x0, y1 - y0]}
        for (x0, y0, x1, y1), (*_, conf) in zip(boxes, drawn, strict=True)
    ]
    path = written(tmp_path_factory.mktemp("md"), {"file": "a.jpg", "detections": detections})
    found = read_boxes(path, pictures("a.jpg", width_px=width_px, height_px=height_px))
    assert found["score"].tolist() == [conf for *_, conf in drawn]
    for row, box in zip(found[BOX_COLUMNS].to_numpy(), boxes, strict=True):
        assert row.tolist() == pytest.approx([share * side for share, side in zip(box, sides, strict=True)], abs=0.001)
        assert all(0 <= value <= side for value, side in zip(row, sides, strict=True))


def test_a_real_file_is_read() -> None:
    if not ENA24.is_file():
        pytest.skip(f"{ENA24} is not here")
    found = read_boxes(ENA24, pictures("2480.jpg", "49.jpg", width_px=1000, height_px=500))
    assert found["label"].tolist() == ["animal"] * 2
    assert found.iloc[0][["score", *BOX_COLUMNS]].tolist() == pytest.approx([0.926, 350, 175, 650, 325])


# --- which image is which picture --------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", [
    "cam 1/DCIM/a.jpg", "cam 1\\DCIM\\a.jpg", "D:\\traps\\cam 1\\DCIM\\a.jpg", "/home/me/cam 1/DCIM/a.jpg", "DCIM/a.jpg", "a.jpg",
    "elsewhere/a.jpg",
])  # fmt: skip
def test_an_image_is_found_by_its_path_its_ending_or_its_name(tmp_path: Path, file: str) -> None:
    found = read_boxes(written(tmp_path, image("b.jpg"), image(file, 0, 0, 1, 1)), pictures("b.jpg", "cam 1/DCIM/a.jpg"))
    assert found["sample_id"].tolist() == ["s1"]


def test_an_equal_path_goes_before_an_ending_and_an_ending_before_a_name(tmp_path: Path) -> None:
    files = ("x/1.jpg", "1.jpg", "y/z/1.jpg")
    path = written(tmp_path, *(image(file, 0, 0, 1, 1, conf=conf) for file, conf in zip(files, (0.1, 0.2, 0.3), strict=True)))
    assert read_boxes(path, pictures("x/1.jpg", "1.jpg"))["score"].tolist() == [0.1, 0.2]
    path = written(tmp_path, image("x/1.jpg", 0, 0, 1, 1, conf=0.1), image("y/z/1.jpg", 0, 0, 1, 1, conf=0.3))
    assert read_boxes(path, pictures("root/y/z/1.jpg", "x/1.jpg"))["score"].tolist() == [0.3, 0.1]


def test_an_ending_is_one_of_whole_folders_and_names(tmp_path: Path) -> None:
    """`1.jpg` is no ending of `11.jpg`, nor `m1/1.jpg` of `cam1/1.jpg`."""
    with pytest.raises(DataError, match=r"md\.json: 1 of 1 pictures are not in it, 1\.jpg for example: nothing is averaged"):
        read_boxes(written(tmp_path, image("11.jpg")), pictures("1.jpg"))
    with pytest.raises(DataError, match="1 of 1 pictures have a file name that several share, cam1/1.jpg for example"):
        read_boxes(written(tmp_path, image("m1/1.jpg"), image("m2/1.jpg")), pictures("cam1/1.jpg"))


@pytest.mark.parametrize(("files", "paths", "unclear"), [
    (("a/1.jpg", "b/1.jpg"), ("1.jpg",), 1),  # one picture, two images
    (("1.jpg",), ("a/1.jpg", "b/1.jpg"), 2),  # one image, two pictures
    (("a/1.jpg", "a/1.jpg"), ("a/1.jpg",), 1),  # the same image twice
    (("a/1.jpg",), ("a/1.jpg", "b/1.jpg"), 2),  # the second by its name alone, which the first one has too
])  # fmt: skip
def test_what_could_be_several_is_refused(tmp_path: Path, files: tuple[str, ...], paths: tuple[str, ...], unclear: int) -> None:
    with pytest.raises(DataError, match=rf"{unclear} of {len(paths)} pictures have a file name that several share"):
        read_boxes(written(tmp_path, *map(image, files)), pictures(*paths))


def test_two_samples_of_one_file_have_the_same_boxes(tmp_path: Path) -> None:
    found = read_boxes(written(tmp_path, image("a.jpg", 0, 0, 1, 1)), pictures("a.jpg", "a.jpg"))
    assert found["sample_id"].tolist() == ["s0", "s1"]


def test_pictures_that_the_file_lacks_are_counted_and_the_first_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"md\.json: 2 of 3 pictures are not in it, b\.jpg for example: .*Run MegaDetector on all"
    ):
        read_boxes(written(tmp_path, image("a.jpg"), image("z.jpg")), pictures("a.jpg", "b.jpg", "c.jpg"))


@pytest.mark.parametrize(("entry", "reason"), [
    ({"file": "b.jpg", "failure": "Failure image access", "detections": None}, "Failure image access"),
    ({"file": "b.jpg", "failure": "Failure inference", "detections": []}, "Failure inference"),
    ({"file": "b.jpg", "error": "truncated", "detections": []}, "truncated"),
    ({"file": "b.jpg"}, "no `detections`"),
])  # fmt: skip
def test_a_picture_that_failed_there_is_not_an_empty_one(tmp_path: Path, entry: dict[str, Any], reason: str) -> None:
    fine = image("a.jpg", failure=None)
    with pytest.raises(DataError) as raised:
        read_boxes(written(tmp_path, fine, entry), pictures("a.jpg", "b.jpg"))
    assert f"1 of 2 pictures were not predicted, b.jpg for example ({reason}): nothing is averaged over fewer" in str(
        raised.value
    )
    assert read_boxes(written(tmp_path, fine, entry), pictures("a.jpg")).empty  # of another picture it does not matter


# --- what breaks the format --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("images", "where"), [
    ([image("a.jpg"), image("b.jpg", 0, 0, 1.2, 1)], r"images\[1\]\.detections\[0\]\.bbox \(b\.jpg\): given \[0, 0, 1\.2, 1\]: expected"),
    ([image("a.jpg", -0.1, 0, 0.5, 0.5)], r"images\[0\]\.detections\[0\]\.bbox \(a\.jpg\): given .*: expected \[x_min, y_min, width"),
    ([image("a.jpg", 0.5, 0.5, -0.2, 0.1)], r"images\[0\]\.detections\[0\]\.bbox \(a\.jpg\)"),
    ([image("a.jpg", 350, 175, 300, 150)], r"images\[0\]\.detections\[0\]\.bbox \(a\.jpg\)"),  # px, as COCO has it
    ([image("a.jpg", 0, 0, 1)], r"images\[0\]\.detections\[0\]\.bbox \(a\.jpg\): given \[0, 0, 1\]: List should have at least 4"),
    ([image("a.jpg", 0, 0, 1, float("nan"))], r"images\[0\]\.detections\[0\]\.bbox\[3\] \(a\.jpg\): given nan: .*finite"),
    ([image("a.jpg", 0, 0, 1, 1, conf=1.5)], r"images\[0\]\.detections\[0\]\.conf \(a\.jpg\): given 1\.5: .*less than or equal to 1"),
    ([image("a.jpg", 0, 0, 1, 1, conf=-0.1)], r"images\[0\]\.detections\[0\]\.conf \(a\.jpg\): given -0\.1"),
    ([image("a.jpg") | {"detections": [{"conf": 1}]}], r"images\[0\]\.detections\[0\]\.category \(a\.jpg\): .*Field required"),
    ([image("a.jpg") | {"detections": 3}], r"images\[0\]\.detections \(a\.jpg\): given 3"),
    ([{"detections": []}], r"images\[0\]\.file: given .*Field required"),
    ([image("")], r"images\[0\]\.file: given "),
    (["a.jpg"], r"images\[0\]: given a\.jpg"),
    (None, r"images: given None"),
])  # fmt: skip
def test_a_fault_is_named_with_its_place_and_file(tmp_path: Path, images: Any, where: str) -> None:
    path = written(tmp_path)
    path.write_text(json.dumps({"detection_categories": CATEGORIES, "images": images}))
    with pytest.raises(DataError, match=rf"md\.json: {where}.* The format: https://lila\.science/megadetector-output-format"):
        read_boxes(path, pictures("a.jpg"))


@pytest.mark.parametrize(("text", "message"), [
    ("[]", r"md\.json: the top: given \[\]"),
    ('{"images": []}', r"md\.json: detection_categories: given .*Field required"),
    ('{"images": [], "detection_categories": {"1": 2}}', r"md\.json: detection_categories\.1: given 2"),
    ('{"images": [', r"md\.json: line 1, column 13: malformed JSON: .*Mend it there"),
    ("", r"md\.json: line 1, column 1: malformed JSON"),
])  # fmt: skip
def test_fault_30_a_file_that_is_something_else_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "md.json").write_text(text)
    with pytest.raises(DataError, match=message):
        read_boxes(tmp_path / "md.json", pictures("a.jpg"))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.json: no such file"):
        read_boxes(tmp_path / "none.json", pictures("a.jpg"))
