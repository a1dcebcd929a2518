"""The adapter `mpii`: the authors' .mat, each of its fields in every form, and HRNet's JSON. Faults 26, 28, 30 as read."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from stages import people as tables
from stages.datasets import Raw, adapter
from stages.datasets import mpii as module
from stages.files import DataError
from stages.people import JOINTS, PEOPLE
from tests.mpii_helpers import NOTHING, cell, person, picture, points, structs, write_mat

REAL = Path(__file__).parent.parent / "../shared/real/mpii"
A = {0: (10, 20), 9: (30, 5)}


def read(root: Path, *annotations: str) -> Raw:
    files = [path.relative_to(root).as_posix() for path in sorted(root.rglob("*")) if path.is_file()]
    raw = adapter("mpii").read(root, files, annotations)
    assert raw.people is not None
    assert raw.joints is not None
    assert list(raw.people.columns) == ["row", *PEOPLE.columns]
    assert list(raw.joints.columns) == list(JOINTS.columns)
    assert len(raw.joints) == 16 * len(raw.people)
    return raw


def read_one(tmp_path: Path, pictures: list[dict[str, Any]], categories: list[Any] | None = None, **more: Any) -> Raw:
    write_mat(tmp_path / "m.mat", pictures, ["sports"] * len(pictures) if categories is None else categories, **more)
    return read(tmp_path)


def joints_of(raw: Raw, sample_id: str = "a.jpg", number: int = 0) -> dict[int, tuple[float, float, int]]:
    """The joints that are there, by their ids."""
    assert raw.joints is not None
    rows = raw.joints[(raw.joints["sample_id"] == sample_id) & (raw.joints["person"] == number)]
    assert rows["joint"].tolist() == list(range(16))
    return {row.joint: (row.x_px, row.y_px, row.visible) for row in rows.itertuples() if row.visible}


def refusals(raw: Raw) -> list[tuple[str, str, str]]:
    return [tuple(row) for row in raw.rejects[["kind", "row", "reason"]].itertuples(index=False)]


def labels(raw: Raw) -> dict[str, str]:
    return dict(zip(raw.annotations["sample_id"], raw.annotations["label"], strict=True))


def test_it_offers_what_is_asked_and_says_what_stages_people_says() -> None:
    assert "CVPR 2014" in module.CITATION
    assert "research" in module.LICENCE
    assert all(url.startswith("https://") for url in module.URLS)
    assert (module._ABSENT, module._OCCLUDED, module._VISIBLE) == (tables.ABSENT, tables.OCCLUDED, tables.VISIBLE)


# The .mat ------------------------------------------------------------------------------------------------------------


def test_every_field(tmp_path: Path) -> None:
    head = {"x1": 1, "y1": 2.5, "x2": 3, "y2": 4, "scale": 1.5, "objpos": structs([{"x": 7, "y": 8}])}
    raw = read_one(
        tmp_path,
        [
            picture("images/a.jpg", person(A, **head), person({3: (0.5, 1, 0)}), vidx=4, frame_sec=11),
            picture("b.jpg", person(A)),
        ],
        ["sports", "dancing"],
        img_train=np.array([[1, 0]]),
    )
    a, b = raw.pictures.to_dict("records")
    assert a | {"label": None, "width_px": None, "height_px": None, "location": None, "species": None, "captured_at": None} == {
        "row": "m.mat annolist(1)", "sample_id": "a.jpg", "file_name": "images/a.jpg", "label": None, "width_px": None,
        "height_px": None, "location": None, "species": None, "seq_id": "video_4", "frame_num": 11, "captured_at": None, "given_split": "train",
    }  # fmt: skip
    assert (b["given_split"], pd.isna(b["seq_id"]), pd.isna(b["frame_num"])) == ("test", True, True)
    assert labels(raw) == {"a.jpg": "sports", "b.jpg": "dancing"}
    assert raw.annotations["has_box"].tolist() == [False, False]
    assert raw.people is not None
    first = raw.people.iloc[0].to_dict()
    assert first == {
        "row": "m.mat annolist(1).annorect(1)", "sample_id": "a.jpg", "person": 0, "head_x_min_px": 1, "head_y_min_px": 2.5,
        "head_x_max_px": 3, "head_y_max_px": 4, "scale": 1.5, "centre_x_px": 7, "centre_y_px": 8,
    }  # fmt: skip
    assert raw.people[["sample_id", "person"]].to_numpy().tolist() == [["a.jpg", 0], ["a.jpg", 1], ["b.jpg", 0]]
    assert raw.people.iloc[1:, 3:].isna().all(axis=None)
    assert joints_of(raw) == {0: (10, 20, 2), 9: (30, 5, 2)}
    assert joints_of(raw, "a.jpg", 1) == {3: (0.5, 1, 1)}
    assert raw.rejects.empty


@pytest.mark.parametrize(
    ("given_value", "expected"),
    [(1, 2), (0, 1), ("1", 2), ("0", 1), (" 0 ", 1), (0.0, 1), (False, 1), (True, 2), (np.array([[0]]), 1), (cell(0), 1),
     (cell("0"), 1), (NOTHING, 2), ("", 2), (np.nan, 2), ("?", 2), (np.array([[0, 0]]), 2), (cell(NOTHING), 2)],
)  # fmt: skip
def test_is_visible_in_every_form(tmp_path: Path, given_value: Any, expected: int) -> None:
    assert joints_of(read_one(tmp_path, [picture("a.jpg", person({4: (1, 2, given_value)}))])) == {4: (1, 2, expected)}


def test_a_joint_without_is_visible_is_visible(tmp_path: Path) -> None:
    bare = {"annopoints": structs([{"point": structs([{"x": 1, "y": 2, "id": 4}])}])}
    assert joints_of(read_one(tmp_path, [picture("a.jpg", bare)])) == {4: (1, 2, 2)}


@pytest.mark.parametrize(
    ("given_value", "expected"),
    [(5, 5), (-5.25, -5.25), ("5", 5), (np.array([[5]]), 5), (cell(5), 5), (cell(cell("5")), 5), (np.uint8(200), 200),
     (1e9, 1e9), (NOTHING, None), ("", None), ("five", None), (np.nan, None), (np.array([[1, 2]]), None), (1j, None),
     (structs([{"x": 1}]), None)],
)  # fmt: skip
def test_fault_26_a_coordinate_in_every_form(tmp_path: Path, given_value: Any, expected: float | None) -> None:
    x, y, visible = joints_of(read_one(tmp_path, [picture("a.jpg", person({4: (given_value, 2)}))]))[4]
    assert (None if np.isnan(x) else x, y, visible) == (expected, 2, 2)


def test_a_joint_at_0_0_is_absent_and_one_without_y_is_there(tmp_path: Path) -> None:
    bare = {"annopoints": structs([{"point": structs([{"x": 1, "id": 4}])}])}
    raw = read_one(tmp_path, [picture("a.jpg", person({1: (0, 0), 2: (0, 1), 3: (0.0, 0.0, 0)}), bare)])
    assert joints_of(raw) == {2: (0, 1, 2)}
    assert joints_of(raw, "a.jpg", 1).keys() == {4}


@pytest.mark.parametrize(
    ("given_value", "expected"),
    [("sports", "sports"), (" home activities ", "home activities"), (cell("sports"), "sports"), (cell(cell("sports")), "sports"),
     (np.array(["sports", "x"], dtype=object), "sports"), ("é", "é"), (NOTHING, None), ("", None), ("  ", None), (5, None),
     (cell(), None), (cell(NOTHING), None), (structs([{"a": "sports"}]), None)],
)  # fmt: skip
def test_a_category_in_every_form(tmp_path: Path, given_value: Any, expected: str | None) -> None:
    raw = read_one(tmp_path, [picture("a.jpg", person(A)), picture("b.jpg", person(A))], [given_value, "dancing"])
    assert labels(raw) == ({"a.jpg": expected} if expected else {}) | {"b.jpg": "dancing"}


@pytest.mark.parametrize("act", [NOTHING, structs([{"act_id": 1}]), cell(), structs([{"cat_name": NOTHING}] * 2), 7])
def test_activities_that_are_missing_are_no_category(tmp_path: Path, act: Any) -> None:
    raw = read_one(tmp_path, [picture("a.jpg", person(A)), picture("b.jpg", person(A))], act=act)
    assert labels(raw) == {}
    assert len(raw.pictures) == 2


@pytest.mark.parametrize(
    "people",
    [[], [{"scale": 2}], [{"annopoints": NOTHING}], [{"annopoints": structs([{"point": NOTHING}])}],
     [{"annopoints": structs([{"other": 1}])}], [{"annopoints": structs([points({})])}], [{"annopoints": "none"}]],
)  # fmt: skip
def test_people_without_joints(tmp_path: Path, people: list[dict[str, Any]]) -> None:
    raw = read_one(tmp_path, [picture("a.jpg", *people), picture("b.jpg", person(A))])
    assert raw.people is not None
    assert raw.people["sample_id"].tolist() == ["a.jpg"] * len(people) + ["b.jpg"]
    assert joints_of(raw, "b.jpg") == {0: (10, 20, 2), 9: (30, 5, 2)}
    assert raw.rejects.empty
    if people:
        assert joints_of(raw) == {}


def test_fields_that_are_wholly_missing(tmp_path: Path) -> None:
    write_mat(tmp_path / "m.mat", [{"image": structs([{"name": "a.jpg"}])}, {"image": structs([{"name": "b.jpg"}])}], [])
    raw = read(tmp_path)
    assert raw.pictures["sample_id"].tolist() == ["a.jpg", "b.jpg"]
    assert raw.pictures[["given_split", "seq_id"]].isna().all(axis=None)
    assert raw.people is not None
    assert raw.joints is not None
    assert len(raw.people) == len(raw.joints) == len(raw.annotations) == 0
    assert raw.joints["visible"].dtype == raw.people["person"].dtype == np.int64


def test_one_picture_of_one_person_of_one_joint(tmp_path: Path) -> None:
    raw = read_one(tmp_path, [picture("a.jpg", person({0: (1, 2)}))], img_train=np.array([[1]]))
    assert (raw.pictures["given_split"].tolist(), joints_of(raw)) == (["train"], {0: (1, 2, 2)})


@pytest.mark.parametrize("number", [16, -1, 2.5, NOTHING, "neck", np.nan])
def test_an_unknown_joint_is_refused(tmp_path: Path, number: Any) -> None:
    bad = {"annopoints": structs([{"point": structs([{"x": 1, "y": 2, "id": number}, {"x": 3, "y": 4, "id": "15"}])}])}
    raw = read_one(tmp_path, [picture("a.jpg", bad)])
    assert refusals(raw) == [("joint", "m.mat annolist(1).annorect(1) point(1)", "unknown_joint")]
    assert joints_of(raw) == {15: (3, 4, 2)}


def test_a_joint_that_stands_twice_counts_once(tmp_path: Path) -> None:
    twice = {"annopoints": structs([{"point": structs([{"x": 1, "y": 2, "id": 3}, {"x": 9, "y": 9, "id": 3}])}])}
    raw = read_one(tmp_path, [picture("a.jpg", twice)])
    assert refusals(raw) == [("joint", "m.mat annolist(1).annorect(1) point(2)", "duplicate_joint")]
    assert joints_of(raw) == {3: (1, 2, 2)}


def test_fault_28_names_that_stand_twice_or_not_at_all(tmp_path: Path) -> None:
    names = ["a.jpg", "x/a.jpg", NOTHING, 5, "é b.jpg", "x\\c.jpg"]
    raw = read_one(tmp_path, [picture(name, person(A)) for name in names] + [{"annorect": NOTHING}])
    assert raw.pictures["sample_id"].tolist() == ["a.jpg", "é b.jpg", "c.jpg"]
    assert refusals(raw) == [
        ("picture", "m.mat annolist(2)", "duplicate_id"),
        *(("picture", f"m.mat annolist({number})", "no_file_name") for number in (3, 4, 7)),
    ]
    assert len(raw.annotations) == 3


def test_what_is_no_person_is_refused(tmp_path: Path) -> None:
    raw = read_one(tmp_path, [{"image": structs([{"name": "a.jpg"}]), "annorect": cell(3, structs([person(A)]))}])
    assert refusals(raw) == [("person", "m.mat annolist(1).annorect(1)", "unreadable")]
    assert joints_of(raw) == {0: (10, 20, 2), 9: (30, 5, 2)}


def test_categories_that_differ_by_case_alone_are_a_stop(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'Sports' \(first: m.mat act\(2\)\) / 'sports' \(first: m.mat act\(1\)\)"):
        read_one(tmp_path, [picture("a.jpg", person(A)), picture("b.jpg", person(A))], ["sports", "Sports"])


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"", "m.mat: not a MATLAB file that can be read: "), (b"<!DOCTYPE html>" * 99, "m.mat: not a MATLAB file that can be read: "),
     (b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\x89HDF\r\n\x1a\n" * 9, "Save it from MATLAB with -v7")],
    ids=["empty", "html", "hdf5"],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "m.mat").write_bytes(data)
    for names in ((), ("m.mat",)):
        with pytest.raises(DataError) as stop:
            read(tmp_path, *names)
        assert message in str(stop.value)
        assert str(stop.value).startswith(f"{tmp_path}/m.mat: ")


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.999])
def test_half_a_file_is_named(tmp_path: Path, share: float, compressed: bool) -> None:
    path = write_mat(tmp_path / "m.mat", [picture(f"{n}.jpg", person(A)) for n in range(40)], ["sports"] * 40)
    if compressed:
        from scipy.io import loadmat

        savemat(path, {"RELEASE": loadmat(path)["RELEASE"]}, do_compression=True)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(DataError, match=r"m\.mat: (not a MATLAB file that can be read|no pictures)"):
        read(tmp_path, "m.mat")


@pytest.mark.parametrize(
    ("more", "message"),
    [({"annolist": NOTHING}, "m.mat: no pictures: RELEASE.annolist is missing or empty"),
     ({"act": structs([{"cat_name": "x"}] * 2)}, "RELEASE.act has 2 entries, annolist 1")],
)  # fmt: skip
def test_a_release_without_sense_is_a_stop(tmp_path: Path, more: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_one(tmp_path, [picture("a.jpg", person(A))], **more)


def test_which_files_are_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="neither a .mat that holds RELEASE nor a JSON list of people"):
        read(tmp_path)
    savemat(tmp_path / "gt_valid.mat", {"jnt_missing": np.zeros((16, 3))})  # HRNet's; not the annotations
    (tmp_path / "planted.json").write_text('{"negative": 3}')
    with pytest.raises(DataError, match="neither a .mat that holds RELEASE nor a JSON list of people"):
        read(tmp_path)
    with pytest.raises(DataError, match=r"gt_valid.mat: no pictures: RELEASE.annolist is missing"):
        read(tmp_path, "gt_valid.mat")
    write_mat(tmp_path / "sub/b.mat", [picture("b.jpg", person(A))], ["sports"])
    (tmp_path / "train.json").write_text(json.dumps([listed("j.jpg", {0: (1, 2)})]))
    assert read(tmp_path).pictures["sample_id"].tolist() == ["b.jpg"]
    write_mat(tmp_path / "a.mat", [picture("a.jpg", person(A))], ["sports"])
    with pytest.raises(DataError, match=r"several .mat files hold RELEASE: a.mat, sub/b.mat. Name one in `clean.annotations`"):
        read(tmp_path)
    assert read(tmp_path, "a.mat").pictures["sample_id"].tolist() == ["a.jpg"]
    assert read(tmp_path, "train.json").pictures["sample_id"].tolist() == ["j.jpg"]
    with pytest.raises(DataError, match=r"no annotations c.mat. There is: a.mat, gt_valid.mat, planted.json, sub/b.mat"):
        read(tmp_path, "c.mat")


def test_what_macos_writes_beside_files_and_another_damaged_mat_stop_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "._a.mat").write_bytes(b"\x00\x05\x16\x07Mac OS X")
    with pytest.raises(DataError, match="neither a .mat that holds RELEASE nor a JSON list of people"):
        read(tmp_path)
    (tmp_path / "z.mat").touch()
    with pytest.raises(DataError, match=r"z.mat: not a MATLAB file .*, or name the annotations in `clean.annotations`"):
        read(tmp_path)
    write_mat(tmp_path / "a.mat", [picture("a.jpg", person(A))], ["sports"])
    assert read(tmp_path).pictures["sample_id"].tolist() == ["a.jpg"]
    said = capsys.readouterr().err
    assert "a.mat is read; left alone: " in said and "z.mat: not a MATLAB file" in said and "._a.mat" not in said


# JSON ----------------------------------------------------------------------------------------------------------------


def listed(
    image: Any, joints: dict[int, tuple[float, float]], seen: dict[int, int] | None = None, **more: Any
) -> dict[str, Any]:
    """A row of HRNet's JSON; a joint that is not named is at (-1, -1), not seen."""
    places = [list(joints.get(number, (-1, -1))) for number in range(16)]
    vis = [(seen or {}).get(number, int(number in joints)) for number in range(16)]
    return {"joints_vis": vis, "joints": places, "image": image, "scale": 2.5, "center": [10, 20]} | more


def write_json(path: Path, rows: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows))


def test_json_in_the_form_of_hrnet(tmp_path: Path) -> None:
    rows = [listed("a.jpg", {0: (804, 711), 9: (-3, 5), 2: (0, 0)}), listed("b.jpg", {1: (5, 6), 2: (7, 8)}, {2: 0}),
            listed("a.jpg", {3: (1, 2)}, center=[-1, -1])]  # fmt: skip
    write_json(tmp_path / "annot/train.json", rows)
    raw = read(tmp_path)
    assert raw.pictures[["row", "sample_id", "given_split"]].to_numpy().tolist() == [
        ["annot/train.json [0]", "a.jpg", "train"], ["annot/train.json [1]", "b.jpg", "train"],
    ]  # fmt: skip
    assert raw.annotations.empty  # no category, ever
    assert raw.people is not None
    assert raw.people[["row", "sample_id", "person"]].to_numpy().tolist() == [
        ["annot/train.json [0]", "a.jpg", 0], ["annot/train.json [1]", "b.jpg", 0], ["annot/train.json [2]", "a.jpg", 1],
    ]  # fmt: skip
    assert raw.people[["scale", "centre_x_px", "centre_y_px"]].iloc[0].tolist() == [2.5, 10, 20]
    assert raw.people[["centre_x_px", "centre_y_px"]].iloc[2].isna().all()
    assert joints_of(raw) == {0: (804, 711, 2), 9: (-3, 5, 2)}
    assert joints_of(raw, "b.jpg") == {1: (5, 6, 2), 2: (7, 8, 1)}  # a place that is not seen is occluded
    assert raw.rejects.empty


def test_json_lists_that_repeat_each_other(tmp_path: Path) -> None:
    train, valid = [listed("a.jpg", {0: (1, 2)})], [listed("a.jpg", {0: (5, 6)}), listed("b.jpg", {0: (1, 2)})]
    write_json(tmp_path / "train.json", train)
    write_json(tmp_path / "trainval.json", train + valid)
    write_json(tmp_path / "valid.json", valid)
    write_json(tmp_path / "test.json", [{"image": "t.jpg", "center": [3, 4], "scale": 1}])
    raw = read(tmp_path)
    assert raw.people is not None
    assert raw.people[["sample_id", "person"]].to_numpy().tolist() == [["t.jpg", 0], ["a.jpg", 0], ["a.jpg", 1], ["b.jpg", 0]]
    assert joints_of(raw, "t.jpg") == {}
    assert dict(zip(raw.pictures["sample_id"], raw.pictures["given_split"], strict=True)) == {
        "t.jpg": "test", "a.jpg": "train", "b.jpg": "trainval",
    }  # fmt: skip
    assert refusals(raw) == [
        ("person", "trainval.json [0]", "duplicate_person"),
        ("person", "valid.json [0]", "duplicate_person"),
        ("person", "valid.json [1]", "duplicate_person"),
    ]


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"image": None}, "no_file_name"), ({"image": ""}, "no_file_name"), ({"joints": [[1, 2]]}, "not_16_joints"),
     ({"joints": "x"}, "not_16_joints"), ({"joints_vis": [1]}, "not_16_joints"), ({"joints_vis": 1}, "not_16_joints")],
)  # fmt: skip
def test_a_json_row_that_cannot_be_read_is_refused(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    write_json(tmp_path / "l.json", [listed("b.jpg", {1: (5, 6)}), listed("a.jpg", {0: (1, 2)}) | change])
    raw = read(tmp_path)
    assert refusals(raw) == [("person", "l.json [1]", reason)]
    assert raw.pictures["sample_id"].tolist() == ["b.jpg"]


@pytest.mark.parametrize("place", [None, [], [1], [None, 2], ["x", 2], {"x": 1}, [1, 2, 3], 5])
def test_fault_26_a_json_joint_that_is_no_pair_of_numbers(tmp_path: Path, place: Any) -> None:
    row = listed("a.jpg", {0: (1, 2), 1: (3, 4)})
    row["joints"][1] = place
    write_json(tmp_path / "l.json", [row])
    found = joints_of(read(tmp_path))
    assert found.pop(0) == (1, 2, 2)
    if place is None:
        assert found == {}  # nothing there
    else:
        assert np.isnan(found[1][:2]).any()


def test_fault_30_json_that_is_none_or_no_list(tmp_path: Path) -> None:
    (tmp_path / "l.json").write_text("[\n{]")
    with pytest.raises(DataError, match=r"l.json: line 2, column 2: malformed JSON"):
        read(tmp_path)
    write_json(tmp_path / "l.json", {"image": 1})
    with pytest.raises(DataError, match="not a list of people as HRNet has them"):
        read(tmp_path, "l.json")
    write_json(tmp_path / "l.json", [listed("a.jpg", {0: (1, 2)}), 3])
    with pytest.raises(DataError, match=r"\[1\] should be an object, found int\. Read the authors' \.mat instead"):
        read(tmp_path)


# Nothing is a stop ---------------------------------------------------------------------------------------------------

odd = st.sampled_from([1, 0, -3.5, "1", "x", "", True, NOTHING, np.nan, np.inf, np.array([[1, 2]]), cell("a", 1), cell(),
                       structs([{"x": 1}]), np.array([["a", "b"]]), 1j])  # fmt: skip
place = st.fixed_dictionaries({}, optional={"x": odd, "y": odd, "id": st.one_of(st.integers(0, 15), odd), "is_visible": odd})
body = st.fixed_dictionaries(
    {},
    optional={
        "annopoints": st.one_of(odd, st.lists(place, max_size=4).map(lambda rows: structs([{"point": structs(rows)}]))),
        **dict.fromkeys(("x1", "y1", "x2", "y2", "scale", "objpos"), odd),
    },
)
entry = st.fixed_dictionaries(
    {},
    optional={
        "image": st.one_of(odd, st.sampled_from(["a.jpg", "b.jpg", "c.jpg"]).map(lambda name: structs([{"name": name}]))),
        "annorect": st.one_of(odd, st.lists(body, max_size=3).map(structs)),
        "vidx": odd,
        "frame_sec": odd,
    },
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(entries=st.lists(entry, min_size=1, max_size=4), categories=st.lists(odd, max_size=3), trains=odd)
def test_whatever_the_fields_hold_each_picture_is_read_or_refused(
    tmp_path: Path, entries: list[Any], categories: list[Any], trains: Any
) -> None:
    write_mat(tmp_path / "m.mat", entries, categories[: len(entries)], img_train=trains)
    raw = read(tmp_path)
    assert len(raw.pictures) + (raw.rejects["kind"] == "picture").sum() == len(entries)
    assert raw.pictures["sample_id"].is_unique
    assert raw.people is not None
    assert raw.joints is not None
    assert not raw.people.duplicated(["sample_id", "person"]).any()
    assert set(raw.people["sample_id"]) <= set(raw.pictures["sample_id"])
    assert set(raw.annotations["sample_id"]) <= set(raw.pictures["sample_id"])
    assert not np.isinf(raw.people.iloc[:, 3:].to_numpy()).any()
    absent = raw.joints[raw.joints["visible"] == 0]
    assert (absent[["x_px", "y_px"]] == 0).all(axis=None)


# Real ----------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not REAL.is_dir(), reason="../shared/real/mpii is not here")
def test_the_real_file() -> None:
    started = time.perf_counter()
    raw = read(REAL)
    assert time.perf_counter() - started < 20
    assert len(raw.pictures) == 17503
    assert len(raw.annotations) == 17503 - 41
    assert raw.annotations["label"].nunique() == 20
    assert raw.annotations["label"].value_counts().head(2).to_dict() == {"sports": 3472, "occupation": 2370}
    assert raw.people is not None
    assert raw.people["sample_id"].tolist() == [
        "004645041.jpg",
        "005808361.jpg",
        "051423444.jpg",
        "052475643.jpg",
        "060754485.jpg",
    ]
    assert joints_of(raw, "004645041.jpg")[1] == (804, 659, 2)
    assert [len(joints_of(raw, sample_id)) for sample_id in raw.people["sample_id"]] == [14, 16, 14, 16, 16]
    assert raw.people["scale"].tolist() == [3.248877, 4.718488, 3.139233, 1.761835, 3.374796]
    assert raw.rejects.empty
