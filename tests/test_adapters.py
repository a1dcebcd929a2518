"""Source formats: COCO Camera Traps, a CSV table, folders. Faults 24, 28, 29 and 30 where the format is read."""

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.datasets import ANNOTATION_COLUMNS, PICTURE_COLUMNS, PICTURE_ENDINGS, REJECT_COLUMNS, Raw, adapter, label_of
from stages.files import DataError
from stages.samples import EMPTY

CCT20 = Path(__file__).parent.parent / "../shared/real/cct20"
WriteCct = Callable[..., Path]
Say = Callable[[str, object], None]


def read(root: Path, name: str = "caltech_camera_traps", *annotations: str) -> Raw:
    files = [path.relative_to(root).as_posix() for path in sorted(root.rglob("*")) if path.is_file()]
    raw = adapter(name).read(root, files, annotations)
    assert list(raw.pictures.columns) == PICTURE_COLUMNS
    assert list(raw.annotations.columns) == ANNOTATION_COLUMNS
    assert list(raw.rejects.columns) == REJECT_COLUMNS
    return raw


def reasons(raw: Raw) -> list[tuple[str, str, object, str]]:
    return [tuple(row) for row in raw.rejects[["kind", "row", "name", "reason"]].itertuples(index=False)]


def first_reject(raw: Raw) -> str:
    """As a row of rejects.csv, for the table of faults (tests/fault_table.py)."""
    return "rejects.csv: {}, {}: {}: {}".format(*raw.rejects.loc[0, ["row", "name", "reason", "detail"]])


def image(number: object, **more: Any) -> dict[str, Any]:
    return {"id": number, "file_name": f"{number}.jpg"} | more


def is_nothing(value: object) -> bool:
    return bool(pd.isna(value))


@pytest.mark.parametrize("name", ["animal_posture", "caltech_camera_traps", "cct20", "table", "folders"])
def test_every_adapter_offers_what_is_asked(name: str) -> None:
    module = adapter(name)
    assert module.CITATION
    assert module.LICENCE
    assert all(url.startswith("https://") for url in module.URLS)


def test_an_unknown_adapter_is_told_the_known_ones() -> None:
    with pytest.raises(
        DataError, match=r"no dataset adapter `mpiii`. There is: animal_kingdom, animal_posture, caltech_camera_traps, cct20"
    ):
        adapter("mpiii")


# COCO Camera Traps ---------------------------------------------------------------------------------------------------


def test_cct_reads_every_field(tmp_path: Path, write_cct: WriteCct) -> None:
    full = {"width": 1024, "height": 747.0, "location": 38, "seq_id": "s", "frame_num": 3, "seq_num_frames": 3}
    write_cct(
        tmp_path / "labels/list.json",
        [image("a", **full, date_captured="2012-03-27 12:13:11"), image(7, location="38", datetime="2013-01-01")],
        [{"id": 1, "image_id": "a", "category_id": 1, "bbox": [1, 2.5, 3, 4]}, {"image_id": 7, "category_id": 0}],
    )
    raw = read(tmp_path)
    a, seven = raw.pictures.to_dict("records")
    assert a == {
        "row": "labels/list.json images[0]", "sample_id": "a", "file_name": "a.jpg", "label": a["label"],
        "width_px": 1024.0, "height_px": 747.0, "location": "38", "species": a["species"], "seq_id": "s", "frame_num": 3,
        "captured_at": "2012-03-27 12:13:11", "given_split": "list",
    }  # fmt: skip
    assert (seven["sample_id"], seven["location"], seven["captured_at"]) == ("7", "38", "2013-01-01")
    assert all(is_nothing(seven[column]) for column in ("label", "width_px", "height_px", "seq_id", "frame_num"))
    box, empty = raw.annotations.to_dict("records")
    assert box == {"row": "labels/list.json annotations[0]", "sample_id": "a", "label": "deer", "x_px": 1.0, "y_px": 2.5,
                   "w_px": 3.0, "h_px": 4.0, "has_box": True}  # fmt: skip
    assert (empty["sample_id"], empty["label"], empty["has_box"]) == ("7", "empty", False)
    assert raw.rejects.empty
    assert raw.merged == 0


@pytest.mark.parametrize("location", ["", None])
def test_cct_no_text_is_no_location_and_no_sequence(tmp_path: Path, write_cct: WriteCct, location: object) -> None:
    write_cct(tmp_path / "list.json", [image("a", location=location, seq_id=location)], [])
    (row,) = read(tmp_path).pictures.to_dict("records")
    assert is_nothing(row["location"])
    assert is_nothing(row["seq_id"])


@pytest.mark.parametrize(
    "field",
    [
        {"width": 10**400},
        {"height": "747"},
        {"frame_num": 10**30},
        {"frame_num": 1.5},
        {"frame_num": True},
        {"location": [1]},
        {"seq_id": {"a": 1}},
        {"date_captured": 20130101},
    ],
)
def test_cct_odd_values_are_no_stop(tmp_path: Path, write_cct: WriteCct, field: dict[str, Any]) -> None:
    write_cct(tmp_path / "list.json", [image("a", **field)], [])
    raw = read(tmp_path)
    assert len(raw.pictures) == 1
    if set(field) & {"width", "height", "frame_num"}:
        (key,) = field
        assert is_nothing(raw.pictures[key if key == "frame_num" else f"{key}_px"][0])


def test_fault_24_annotation_without_image_is_listed(tmp_path: Path, write_cct: WriteCct, record_property: Say) -> None:
    write_cct(
        tmp_path / "list.json",
        [image("a")],
        [{"image_id": "ghost", "category_id": 1}, {"category_id": 1}, {"image_id": "a", "category_id": 1}],
    )
    raw = read(tmp_path)
    assert raw.annotations["sample_id"].tolist() == ["a"]
    assert reasons(raw)[0] == ("annotation", "list.json annotations[0]", "ghost", "no_such_picture")
    assert [row[3] for row in reasons(raw)] == ["no_such_picture"] * 2
    record_property("says", first_reject(raw))


def test_fault_28_duplicate_ids(tmp_path: Path, write_cct: WriteCct, record_property: Say) -> None:
    again = image("a") | {"file_name": "other.jpg"}
    write_cct(tmp_path / "list.json", [image("a", location=1), again, image("a", location=2), image("b")], [])
    raw = read(tmp_path)
    assert raw.pictures["sample_id"].tolist() == ["a", "b"]
    assert raw.pictures["location"][0] == "1"  # the first row stays
    assert reasons(raw) == [
        ("picture", "list.json images[1]", "other.jpg", "duplicate_id"),
        ("picture", "list.json images[2]", "a.jpg", "duplicate_id"),
    ]
    assert raw.rejects["detail"][0] == "id a is also list.json images[0], a.jpg"
    record_property("says", first_reject(raw))


def test_fault_28_a_category_id_with_two_names(tmp_path: Path) -> None:
    categories = [{"id": 1, "name": "deer"}, {"id": 1, "name": "deer"}, {"id": 1, "name": "fox"}]
    document = {"images": [image("a")], "annotations": [], "categories": categories}
    (tmp_path / "list.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match=r"list\.json: categories\[2\]: id 1 is both deer and fox\. Give each class an id"):
        read(tmp_path)


@pytest.mark.parametrize("category", [99, None, [1], {"id": 1}, "1", 3, 4])
def test_fault_29_unknown_class(tmp_path: Path, category: object, record_property: Say) -> None:
    categories = [{"id": 1, "name": "deer"}, {"id": 3}, {"id": 4, "name": ""}, {"id": [1], "name": "fox"}, {}]
    annotations = [{"image_id": "a", "category_id": category}, {"image_id": "a", "category_id": 1}]
    document = {"images": [image("a")], "annotations": annotations, "categories": categories}
    (tmp_path / "list.json").write_text(json.dumps(document))
    raw = read(tmp_path)
    assert raw.annotations["label"].tolist() == ["deer"]
    assert reasons(raw) == [("annotation", "list.json annotations[0]", "a", "unknown_class")]
    assert raw.rejects["detail"][0] == f"category_id {category!r} is not among the categories"
    record_property("says", first_reject(raw))


@pytest.mark.parametrize("written", ["empty", "Empty", " EMPTY "])
def test_cct_empty_is_one_class_however_it_is_written(tmp_path: Path, write_cct: WriteCct, written: str) -> None:
    write_cct(tmp_path / "a.json", [image(1)], [{"image_id": 1, "category_id": 0}], {0: written})
    assert read(tmp_path).annotations["label"].tolist() == ["empty"]


@pytest.mark.parametrize(
    "row", [{}, {"id": "a"}, {"file_name": "a.jpg"}, {"id": "a", "file_name": ""}, {"id": "a", "file_name": 3}]
)
def test_cct_a_picture_without_id_or_name_is_rejected(tmp_path: Path, write_cct: WriteCct, row: dict[str, Any]) -> None:
    write_cct(tmp_path / "list.json", [image("z"), row], [])
    raw = read(tmp_path)
    assert raw.pictures["sample_id"].tolist() == ["z"]
    ((kind, where, _, reason),) = reasons(raw)
    assert (kind, where, reason) == ("picture", "list.json images[1]", "no_id_or_file_name")


@pytest.mark.parametrize("box", [[1, 2, 3], "1 2 3 4", [None] * 4, [1, 2, 3, "4"], [1, 2, 3, True], {}, [1, 2, 3, 4, 5]])
def test_cct_a_box_of_another_kind_is_kept_as_no_number(tmp_path: Path, write_cct: WriteCct, box: object) -> None:
    write_cct(tmp_path / "list.json", [image("a")], [{"image_id": "a", "category_id": 1, "bbox": box}])
    (row,) = read(tmp_path).annotations.to_dict("records")
    assert row["has_box"] is True
    assert not np.isfinite([row["x_px"], row["y_px"], row["w_px"], row["h_px"]]).all()


def test_cct_lists_are_joined_and_the_first_gives_the_split(tmp_path: Path, write_cct: WriteCct) -> None:
    box = {"category_id": 1, "bbox": [1, 2, 3, 4]}
    write_cct(tmp_path / "boxes.json", [image("a", location=1), image("b")], [{"image_id": "a"} | box])
    write_cct(
        tmp_path / "images.json",
        [image("b"), image("c"), image("a", location=2)],
        [{"image_id": "a", "category_id": 5}, {"image_id": "c", "category_id": 0}],
        {5: "fox", 0: "empty"},
    )
    raw = read(tmp_path)
    assert raw.pictures[["sample_id", "given_split"]].to_numpy().tolist() == [
        ["a", "boxes"],
        ["b", "boxes"],
        ["c", "images"],
    ]
    assert raw.pictures["location"][0] == "1"
    assert raw.annotations[["sample_id", "label"]].to_numpy().tolist() == [["a", "deer"], ["a", "fox"], ["c", "empty"]]
    assert raw.merged == 2
    assert raw.rejects.empty

    turned = read(tmp_path, "caltech_camera_traps", "images.json", "boxes.json")  # the order that is asked for
    assert turned.pictures["given_split"].tolist() == ["images"] * 3
    one = read(tmp_path, "caltech_camera_traps", "images.json")
    assert len(one.pictures) == 3
    assert one.merged == 0


def test_cct_one_id_for_two_files_in_two_lists_is_no_merger(tmp_path: Path, write_cct: WriteCct) -> None:
    write_cct(tmp_path / "a.json", [image(1)], [])
    write_cct(tmp_path / "b.json", [image(1) | {"file_name": "other.jpg"}], [])
    raw = read(tmp_path)
    assert raw.merged == 0
    assert reasons(raw) == [("picture", "b.json images[0]", "other.jpg", "duplicate_id")]


def test_cct_other_json_is_passed_over_unless_it_is_named(tmp_path: Path, write_cct: WriteCct) -> None:
    write_cct(tmp_path / "list.json", [image("a")], [])
    (tmp_path / "faults.json").write_text('{"images": []}')
    assert len(read(tmp_path).pictures) == 1
    with pytest.raises(DataError, match=r"faults\.json: not a COCO Camera Traps list: it lacks"):
        read(tmp_path, "caltech_camera_traps", "faults.json")
    with pytest.raises(DataError, match=r"no annotation list lost\.json. JSON files there: \['faults.json', 'list.json'\]"):
        read(tmp_path, "caltech_camera_traps", "list.json", "lost.json")
    (tmp_path / "list.json").unlink()
    with pytest.raises(DataError, match="no COCO Camera Traps list"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("images", "message"),
    [({}, "`images` should be a list, found dict. Mend"), ([3], r"images\[0\] should be an object, found int\. Mend")],
)
def test_cct_another_shape_is_named(tmp_path: Path, images: object, message: str) -> None:
    (tmp_path / "list.json").write_text(json.dumps({"images": images, "annotations": [], "categories": []}))
    with pytest.raises(DataError, match=rf"list\.json: {message}"):
        read(tmp_path)


def test_fault_30_malformed_list_names_its_line(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text('{\n"images": [\n{"id": 1 "file_name": 2}]}')
    with pytest.raises(DataError, match=r"list\.json: line 3, column 10: malformed JSON"):
        read(tmp_path)


@pytest.mark.skipif(not CCT20.is_dir(), reason="../shared/real/cct20 is not here")
def test_real_cct20_counts() -> None:
    raw = read(CCT20, "cct20")
    assert (len(raw.pictures), len(raw.annotations), len(raw.rejects), raw.merged) == (1057, 1119, 0, 0)
    assert raw.pictures.groupby("given_split").size().to_dict() == {"cis_annotations": 503, "trans_annotations": 554}
    places = raw.pictures.groupby("given_split")["location"].unique()
    assert [len(found) for found in places] == [10, 7]
    assert not set(places["cis_annotations"]) & set(places["trans_annotations"])
    assert raw.annotations["has_box"].all()
    assert raw.annotations["label"].nunique() <= 14


# A CSV table ---------------------------------------------------------------------------------------------------------


def table(root: Path, text: str, name: str = "labels.csv") -> Raw:
    (root / name).write_text(text, encoding="utf-8")
    return read(root, "table")


def test_table_of_paths_and_labels_is_enough(tmp_path: Path) -> None:
    raw = table(tmp_path, "path,label\nimages/a.jpg,deer\nimages/b.jpg,empty\n")
    assert raw.pictures["sample_id"].tolist() == ["images/a.jpg", "images/b.jpg"]
    assert raw.pictures["row"].tolist() == ["labels.csv line 2", "labels.csv line 3"]
    assert raw.annotations["label"].tolist() == ["deer", "empty"]
    assert not raw.annotations["has_box"].any()
    optional = ["label", "width_px", "location", "seq_id", "frame_num", "captured_at", "given_split"]
    assert raw.pictures[optional].isna().all(axis=None)


def test_table_reads_every_column(tmp_path: Path) -> None:
    raw = table(
        tmp_path,
        "extra,path,label,location,sequence,frame,captured_at,split,x_min,y_min,x_max,y_max\n"
        "?,a.jpg,deer,5,s1,2,2013-01-01 10:00:00,train,1,2,11,22.5\n"
        "?,a.jpg,fox,5,s1,2,2013-01-01 10:00:00,train,0,0,3,4\n"
        '?,"b, c.jpg",empty,,,,,,,,,\n',
    )
    a, b = raw.pictures.drop(columns=["label", "width_px", "height_px", "species"]).to_dict("records")
    assert a == {"row": "labels.csv line 2", "sample_id": "a.jpg", "file_name": "a.jpg", "location": "5", "seq_id": "s1",
                 "frame_num": 2, "captured_at": "2013-01-01 10:00:00", "given_split": "train"}  # fmt: skip
    assert b["sample_id"] == "b, c.jpg"
    assert all(is_nothing(b[key]) for key in ("location", "seq_id", "frame_num", "captured_at", "given_split"))
    boxes = raw.annotations
    assert boxes["sample_id"].tolist() == ["a.jpg", "a.jpg", "b, c.jpg"]
    assert boxes["has_box"].tolist() == [True, True, False]
    assert boxes[["x_px", "y_px", "w_px", "h_px"]].to_numpy()[:2].tolist() == [[1, 2, 10, 20.5], [0, 0, 3, 4]]


@pytest.mark.parametrize("frame", ["²", "x", "-1", "1.5", "9" * 30])
def test_table_a_frame_that_is_no_number_is_missing(tmp_path: Path, frame: str) -> None:
    raw = table(tmp_path, f"path,label,frame\na.jpg,deer,{frame}\n")
    assert is_nothing(raw.pictures["frame_num"][0])


def test_table_a_box_that_is_no_number_is_kept_as_none(tmp_path: Path) -> None:
    raw = table(tmp_path, "path,label,x_min,y_min,x_max,y_max\na.jpg,deer,1,2,x,4\nb.jpg,deer,1,2,,4\n")
    assert raw.annotations["has_box"].tolist() == [True, True]
    assert raw.annotations["w_px"].isna().all()


def test_table_a_row_without_path_or_label_is_rejected(tmp_path: Path) -> None:
    raw = table(tmp_path, "path,label\na.jpg,\n,deer\nNA,nan\n")
    assert raw.pictures["sample_id"].tolist() == ["NA"]  # a name like any other
    assert reasons(raw) == [
        ("picture", "labels.csv line 2", "a.jpg", "no_label"),
        ("picture", "labels.csv line 3", "", "no_label"),
    ]


@pytest.mark.parametrize(
    ("header", "path"),
    [("filepath,label", "a.jpg"), ("label;File", "a.jpg"), ("file,path,label", "b.jpg"), ("File_Name,label", "a.jpg")],
)
def test_table_takes_the_names_that_other_tools_give_the_path(tmp_path: Path, header: str, path: str) -> None:
    mark = ";" if ";" in header else ","
    cells = {"label": "deer", "path": "b.jpg"}
    row = mark.join(cells.get(name.lower(), "a.jpg") for name in header.split(mark))
    (tmp_path / "t.csv").write_text(f"{header}\n{row}\n")
    assert adapter("table").read(tmp_path, {"t.csv", "a.jpg", "b.jpg"}, ()).pictures["file_name"].tolist() == [path]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,species\na,b\n", "no column label. Found: file, species."),
        ("File;Species\na;b\n", "no column label. Found: File, Species."),
        ("path,kind\na,b\n", "no column label. Found: path, kind."),
        ("path,Lable \na,b\n", "no column label. Found: path, Lable. Did you mean `label` by `Lable`?"),
        (
            "paths,labels\na,b\n",
            "no column label, path. Found: paths, labels. Did you mean `label` by `labels`? Did you mean `path` by `paths`?",
        ),
        ("path,Path,label\na,b,c\n", "several columns are named path. Keep one"),
        ("", "not a CSV table: nothing in it"),
        ("\n\n", "not a CSV table: nothing in it"),
        ("path,label\na,b,c\n", "not a CSV table: line 2 has 3 values, the header 2"),
        ("path,label\na,b\n\nc,d,e\n", "not a CSV table: line 4 has 3 values, the header 2"),
        ('path,label\na,b\nc,"d\ne,f\n', "not a CSV table: line 3: unexpected end of data"),
        ("x" * 200_000, "not a CSV table: line 1: field larger than field limit (131072)"),
    ],
    ids=[
        "names",
        "semicolons",
        "one",
        "misspelt",
        "plurals",
        "twice",
        "empty",
        "blank",
        "longer_rows",
        "longer_row",
        "open_quote",
        "huge",
    ],
)
def test_table_without_its_columns_is_told_what_was_found(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        table(tmp_path, text)
    assert str(caught.value) == f"{tmp_path / 'labels.csv'}: {message}"


def test_table_from_a_spreadsheet_with_a_byte_order_mark(tmp_path: Path) -> None:
    assert table(tmp_path, "\ufeffpath,label\r\na é.jpg,cerf élaphe\r\n").annotations["label"].tolist() == ["cerf élaphe"]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_table_as_spreadsheets_write_it(tmp_path: Path, separator: str) -> None:
    rows = [
        ["Path", " label", "LOCATION ", "Sequence", "Split", " X_MIN", "y_min", "x_max", "y_max", "a;note", ""],
        ["a.jpg ", " deer", " 5 ", "s 1 ", " train", " 1", "2 ", "11", "22.5", "x", "", "", ""],
        ["b.jpg", "fox"],
    ]
    raw = table(tmp_path, "\r\n".join(separator.join(f'"{cell}"' if ";" in cell else cell for cell in row) for row in rows))
    a, b = raw.pictures.to_dict("records")
    assert [a[key] for key in ("sample_id", "file_name", "location", "seq_id", "given_split")] == [
        "a.jpg", "a.jpg", "5", "s 1", "train"
    ]  # fmt: skip
    assert b["sample_id"] == "b.jpg"
    assert all(is_nothing(b[key]) for key in ("location", "seq_id", "frame_num", "captured_at", "given_split"))
    assert raw.annotations["label"].tolist() == ["deer", "fox"]
    assert raw.annotations["has_box"].tolist() == [True, False]
    assert raw.annotations[["x_px", "y_px", "w_px", "h_px"]].to_numpy()[0].tolist() == [1, 2, 10, 20.5]
    assert raw.rejects.empty


def test_table_a_comma_in_a_name_is_no_separator(tmp_path: Path) -> None:
    raw = table(tmp_path, 'path;label;seen by: x, y, z\na, b.jpg;deer;\n"c;d.jpg"; "fox";\n')
    assert raw.pictures["sample_id"].tolist() == ["a, b.jpg", "c;d.jpg"]
    assert raw.annotations["label"].tolist() == ["deer", "fox"]


def test_table_rows_are_named_by_their_own_line(tmp_path: Path) -> None:
    raw = table(tmp_path, '\npath,label,note\n\na.jpg,deer,"two\nlines"\n\nb.jpg,fox,\n')
    assert raw.pictures["row"].tolist() == ["labels.csv line 4", "labels.csv line 7"]


@pytest.mark.parametrize("label", ["empty", "Empty", " EMPTY "])
def test_empty_is_one_class_however_it_is_written(tmp_path: Path, label: str) -> None:
    assert label_of(label) == EMPTY
    assert table(tmp_path, f"path,label\na.jpg,{label}\nb.jpg,empty\n").annotations["label"].tolist() == [EMPTY] * 2


def test_table_a_path_is_relative_to_the_source_however_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / " lead.jpg").touch()
    text = (
        f"path,label\n./photos/a.jpg,deer\n{tmp_path}/photos/b.jpg,deer\nphotos\\c.jpg,deer\n./photos//a.jpg ,deer\n"
        f'" lead.jpg",deer\n/elsewhere/d.jpg,deer\n{tmp_path}x/e.jpg,deer\n'
    )
    found = table(tmp_path, text).pictures["sample_id"].tolist()
    inside = ["photos/a.jpg", "photos/b.jpg", "photos/c.jpg", " lead.jpg"]
    assert found == [*inside, "/elsewhere/d.jpg", f"{tmp_path}x/e.jpg"]
    (tmp_path / "real/labels.csv").write_text(f"path,label\n{tmp_path}/real/a.jpg,deer\n{tmp_path}/link/b.jpg,deer\n")
    monkeypatch.chdir(tmp_path)
    for root in (tmp_path / "link", Path("link")):
        assert read(root, "table").pictures["sample_id"].tolist() == ["a.jpg", "b.jpg"]


def test_table_a_relative_source_knows_its_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "labels.csv").write_text(f"path,label\n{tmp_path}/a.jpg,deer\n")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert read(Path(".."), "table").pictures["sample_id"].tolist() == ["a.jpg"]


@pytest.mark.parametrize("frame", ["3", "3.0", " 3 ", "3.", "003"])
def test_table_a_frame_may_have_a_point(tmp_path: Path, frame: str) -> None:
    assert table(tmp_path, f"path,label,frame\na.jpg,deer,{frame}\n").pictures["frame_num"].tolist() == [3]


@pytest.mark.parametrize(("encoding", "line"), [("latin-1", 3), ("utf-16", 1)])
def test_table_in_another_encoding_is_told_the_way_out(tmp_path: Path, encoding: str, line: int) -> None:
    (tmp_path / "labels.csv").write_bytes("path,label\na.jpg,deer\nb.jpg,cerf élaphe\n".encode(encoding))
    with pytest.raises(DataError) as caught:
        read(tmp_path, "table")
    text = f'line {line} is not UTF-8. Save it as "CSV UTF-8" in the spreadsheet program'
    assert str(caught.value) == f"{tmp_path / 'labels.csv'}: {text}"


def test_table_rows_of_one_picture_may_not_contradict_each_other(tmp_path: Path) -> None:
    raw = table(
        tmp_path,
        "path,label,location,sequence,split,frame,captured_at\n"
        "a.jpg,deer,,s,,,\n"
        "./a.jpg,fox,5,s,train,2,2013-01-01\n"  # what is blank is filled in
        "a.jpg,fox,6,t,train,,\n"
        "a.jpg,fox,5,,test,,\n"
        "a.jpg,fox,5,,,3,\n"
        "b.jpg,fox,6,t,test,,\n",
    )
    assert raw.pictures[["sample_id", "location", "seq_id", "given_split"]].to_numpy().tolist() == [
        ["a.jpg", "5", "s", "train"],
        ["b.jpg", "6", "t", "test"],
    ]
    assert raw.pictures.loc[0, ["row", "frame_num", "captured_at"]].tolist() == ["labels.csv line 2", 2, "2013-01-01"]
    assert raw.annotations["row"].str[-1].tolist() == ["2", "3", "6", "7"]
    assert reasons(raw) == [("picture", f"labels.csv line {line}", "a.jpg", "contradiction") for line in (4, 5)]
    assert raw.rejects["detail"].tolist() == [
        "location 6, 5 in labels.csv line 3; sequence t, s in labels.csv line 2",
        "split test, train in labels.csv line 3",
    ]


def test_table_labels_that_differ_by_case_or_spaces_alone_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        table(tmp_path, "path,label\na,opossum\nb,OPOSSUM\nc,grey fox\nd,Grey  fox\ne,greyfox\nf,deer\ng,opossum\n")
    assert str(caught.value) == (
        f"{tmp_path}: labels that differ by case or spaces alone would be classes of their own: "
        "'Grey  fox' (first: labels.csv line 5) / 'grey fox' (first: labels.csv line 4) / 'greyfox' (first: labels.csv line 6)"
        "; 'OPOSSUM' (first: labels.csv line 3) / 'opossum' (first: labels.csv line 2). Make them one"
    )
    assert len(table(tmp_path, "path,label\na,deer \nb, deer\nc,empty\nd,EMPTY\n").pictures) == 4


def test_table_in_capitals_is_found(tmp_path: Path) -> None:
    (tmp_path / "LABELS.CSV").write_text("path,label\na.jpg,deer\n")
    assert read(tmp_path, "table").pictures["row"].tolist() == ["LABELS.CSV line 2"]


def test_table_which_csv_must_be_clear(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/inner.csv").write_text("path,label\nz.jpg,deer\n")
    with pytest.raises(DataError, match=r"expected one CSV at the top, found none. Name it in `clean\.annotations`"):
        read(tmp_path, "table")
    assert len(read(tmp_path, "table", "deep/inner.csv").pictures) == 1
    with pytest.raises(DataError, match=r"lost\.csv: not a CSV table: .*No such file"):
        read(tmp_path, "table", "lost.csv")
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("path,label\nx.jpg,deer\n")
    with pytest.raises(DataError, match=r"found \['a.csv', 'b.csv'\]"):
        read(tmp_path, "table")


# Folders -------------------------------------------------------------------------------------------------------------


def test_folders_the_first_folder_is_the_class(tmp_path: Path) -> None:
    for name in ("deer/a.jpg", "deer/2020/b.JPG", "empty/c.png", "loose.jpg", "deer/notes.txt", "fox é/d.webp"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    raw = read(tmp_path, "folders")
    assert raw.annotations[["sample_id", "label"]].to_numpy().tolist() == [
        ["deer/2020/b.JPG", "deer"], ["deer/a.jpg", "deer"], ["empty/c.png", "empty"], ["fox é/d.webp", "fox é"]
    ]  # fmt: skip
    assert raw.pictures["file_name"].tolist() == raw.annotations["sample_id"].tolist()
    assert not raw.annotations["has_box"].any()
    assert reasons(raw) == [("picture", "loose.jpg", "loose.jpg", "no_label")]


def test_folders_need_a_class_folder_and_no_lists(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    with pytest.raises(DataError, match=r"no `<class>/<picture>` in it. Found 1 files"):
        read(tmp_path, "folders")
    with pytest.raises(DataError, match="has no annotation lists"):
        read(tmp_path, "folders", "list.json")


def test_folders_take_every_picture_ending(tmp_path: Path) -> None:
    (tmp_path / "deer").mkdir()
    for ending in PICTURE_ENDINGS:
        (tmp_path / f"deer/a{ending.upper()}").touch()
    assert ".gif" in PICTURE_ENDINGS
    assert len(read(tmp_path, "folders").pictures) == len(PICTURE_ENDINGS) == 8


def test_folders_that_differ_by_case_or_spaces_alone_are_refused(tmp_path: Path) -> None:
    for name in ("Empty", "empty", "deer "):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jpg").touch()
    assert read(tmp_path, "folders").annotations["label"].tolist() == ["empty", "deer", "empty"]
    (tmp_path / "Deer").mkdir()
    (tmp_path / "Deer/b.jpg").touch()
    with pytest.raises(DataError) as caught:
        read(tmp_path, "folders")
    assert str(caught.value) == (
        f"{tmp_path}: labels that differ by case or spaces alone would be classes of their own: "
        "'Deer' (first: Deer/b.jpg) / 'deer' (first: deer /a.jpg). Make them one"
    )


def test_adapters_are_found_by_file_name() -> None:
    assert adapter("table") is importlib.import_module("stages.datasets.table")
