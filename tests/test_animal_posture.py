"""The adapter `animal_posture`: tables by whatever column names, folders, keypoint files, and what it refuses."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from stages.clean import CleanSettings, clean
from stages.datasets import Raw, adapter
from stages.datasets import animal_posture as module
from stages.datasets.animal_posture import WORDS, actions_of
from stages.files import DataError
from stages.samples import BOX_COLUMNS

REAL = Path(__file__).parent.parent / "../shared/real/keypoints"
PAGE = "https://www.kaggle.com/datasets/somebody/animals"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="../shared/real/keypoints is not here")


def read(root: Path, *annotations: str) -> Raw:
    files = [path.relative_to(root).as_posix() for path in sorted(root.rglob("*")) if path.is_file()]
    return adapter("animal_posture").read(root, files, annotations)


def write(root: Path, **files: Any) -> Path:
    """Text as it is, anything else as JSON; `actions_csv` is the file actions.csv."""
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (root / ".".join(name.rsplit("_", 1))).write_text(text, encoding="utf-8")
    return root


def labels(raw: Raw) -> dict[str, str]:
    return dict(zip(raw.annotations["sample_id"], raw.annotations["label"], strict=True))


def species(raw: Raw) -> dict[str, str | None]:
    return {row.sample_id: None if pd.isna(row.species) else row.species for row in raw.pictures.itertuples()}


def boxes(raw: Raw) -> list[list[float]]:
    return raw.annotations.loc[raw.annotations["has_box"], ["x_px", "y_px", "w_px", "h_px"]].to_numpy(float).tolist()


def keypoints(raw: Raw) -> list[tuple[Any, ...]]:
    assert raw.keypoints is not None
    return list(raw.keypoints.drop(columns="row").itertuples(index=False, name=None))


def refusals(raw: Raw) -> list[tuple[str, ...]]:
    return [tuple(row) for row in raw.rejects[["name", "reason", "detail"]].itertuples(index=False)]


# Actions -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "classes"),
    [
        ("walk", {"walking_standing"}), ("Walking/Standing", {"walking_standing"}), (" STANDING ", {"walking_standing"}),
        ("lying down", {"lying"}), ("runs", {"running"}), ("dog_sitting", {"sitting"}), ("sitting / lying", {"sitting", "lying"}),
        ("", set()), ("other", set()), ("drinking", set()), ("3", set()), ("outstanding", set()),
    ],
)  # fmt: skip
def test_an_action_is_told_by_its_words(written: str, classes: set[str]) -> None:
    assert actions_of(written) == classes


@given(
    st.sampled_from([(action, word) for action, words in WORDS.items() for word in words.split()]),
    st.text("0123 _-/.,", max_size=6),
)
def test_marks_and_capitals_about_a_word_do_not_matter(pair: tuple[str, str], marks: str) -> None:
    action, word = pair
    assert actions_of(f"{marks}{word.upper()}{marks}") == actions_of(word) == {action}


# Tables --------------------------------------------------------------------------------------------------------------


def test_a_csv_is_read_and_the_mapping_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(
        tmp_path,
        actions_csv="File Name;Action Mark;Animal;x_min;y_min;x_max;y_max;Key Points\n"
        "a.jpg;Walking;Cat;1;2;11;22;[1, 2, 2]\n"
        "b.jpg;standing;dog;;;;;\n"
        "c.jpg;Lying;;0;0;5;5;\n",
    )
    raw = read(tmp_path)
    assert labels(raw) == {"a.jpg": "walking_standing", "b.jpg": "walking_standing", "c.jpg": "lying"}
    assert species(raw) == {"a.jpg": "cat", "b.jpg": "dog", "c.jpg": None}
    assert boxes(raw) == [[1, 2, 10, 20], [0, 0, 5, 5]]
    assert raw.annotations["has_box"].tolist() == [True, False, True]
    assert raw.pictures["row"].tolist() == ["actions.csv line 2", "actions.csv line 3", "actions.csv line 4"]
    assert raw.rejects.empty
    assert capsys.readouterr().out.splitlines() == [
        "actions.csv: image <- File Name, action <- Action Mark, species <- Animal, keypoints <- Key Points, "
        "box <- x_min, y_min, x_max, y_max",
        "  lying <- Lying 1",
        "  walking_standing <- Walking 1, standing 1",
        "  1 keypoints: 1",
    ]
    assert keypoints(raw) == [("a.jpg", 0, "1", 1, 2, 2)]


@pytest.mark.parametrize(
    "header, box",
    [("bbox", '"[1, 2.5, 10, 20]"'), ("box", '"1 2.5 10 20"'), ("bbox", '"(1, 2.5, 10.0, 2e1)"'), ("x,y,width,height", "1,2.5,10,20"), ("x,y,w,h", "1,2.5,10,20"),
     ("xmin,ymin,xmax,ymax", "1,2.5,11,22.5"), ("x_min,y_min,x_max,y_max", "1,2.5,11,22.5"), ("x1,y1,x2,y2", "1,2.5,11,22.5"),
     ("X 1,Y 1,X 2,Y 2", "1,2.5,11,22.5"), ("left,top,right,bottom", "1,2.5,11,22.5")],
)  # fmt: skip
def test_a_box_is_x_y_width_and_height_unless_its_corners_are_named(tmp_path: Path, header: str, box: str) -> None:
    assert boxes(read(write(tmp_path, t_csv=f"image,label,{header}\na.jpg,run,{box}\n"))) == [[1, 2.5, 10, 20]]


def test_columns_that_are_not_used_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """x1, y1, x2, y2 that go on with x3 are keypoints, or a polygon."""
    write(tmp_path, t_csv="image,action,note,x1,y1,x2,y2\na.jpg,run,old,1,2,11,22\n")
    assert boxes(read(tmp_path)) == [[1, 2, 10, 20]]
    said = "t.csv: image <- image, action <- action, box <- x1, y1, x2, y2; not used: note"
    assert capsys.readouterr().out.splitlines() == [said, "  running <- run 1"]
    write(tmp_path, t_csv="image,action,x1,y1,x2,y2,x3,y3\na.jpg,run,1,2,11,22,5,6\n")
    assert boxes(read(tmp_path)) == []
    said = "t.csv: image <- image, action <- action; not used: x1, y1, x2, y2, x3, y3"
    assert capsys.readouterr().out.splitlines() == [said, "  running <- run 1"]


def test_a_box_at_the_corner_is_a_box(tmp_path: Path) -> None:
    rows = [{"image": "a.jpg", "action": "run", "x": 0, "y": 0, "w": 5, "h": 6}]
    assert boxes(read(write(tmp_path, t_json=rows))) == [[0, 0, 5, 6]]


def test_a_box_that_is_no_box_is_left_to_cleaning(tmp_path: Path) -> None:
    raw = read(write(tmp_path, t_csv='image,action,bbox\na.jpg,run,unknown\nb.jpg,run,"[1, 2]"\nc.jpg,run,\n'))
    assert raw.annotations["has_box"].tolist() == [True, True, False]
    assert raw.annotations[["x_px", "y_px", "w_px", "h_px"]].isna().all(axis=None)


def test_a_photo_with_several_animals_has_one_action_or_goes(tmp_path: Path) -> None:
    raw = read(
        write(
            tmp_path,
            t_csv="image,action,species,bbox\n"
            'a.jpg,run,dog,"[0, 0, 4, 4]"\na.jpg,running,dog,"[5, 5, 4, 4]"\na.jpg,,cat,"[6, 6, 2, 2]"\n'
            "b.jpg,run,dog,\nb.jpg,sit,dog,\n"
            "c.jpg,sitting/lying,cat,\n"
            "d.jpg,,cow,\nd.jpg,other,cow,\n"
            ",run,cow,\n",
        )
    )
    assert raw.annotations[["sample_id", "label"]].to_numpy().tolist() == [["a.jpg", "running"]] * 3
    assert species(raw) == {"a.jpg": None}, "dogs and a cat"
    none_of = "none of lying, running, sitting, walking_standing"
    assert refusals(raw) == [
        ("", "no_file_name", "its image has no name"),
        ("b.jpg", "ambiguous_action", "run, sit: running and sitting"),
        ("c.jpg", "ambiguous_action", "sitting/lying: lying and sitting"),
        ("d.jpg", "no_action", f"(blank), other: {none_of}"),
    ]
    assert set(raw.rejects["kind"]) == {"picture"}


TWICE: list[dict[str, Any]] = [
    {"image": "a.jpg", "action": "run", "bbox": [0, 0, 4, 4]},
    {"image": "a.jpg", "action": "run", "bbox": [5, 5, 4, 4]},
    {"image": "a.jpg", "action": "run", "bbox": [0, 0, 4, 4]},
    {"image": "b.jpg", "action": "run", "keypoints": {"nose": [1, 2, 2]}},
    {"image": "b.jpg", "action": "run", "keypoints": {"nose": [1, 2, 2]}},
    {"image": "b.jpg", "action": "run", "keypoints": {"nose": [3, 4, 2]}},
    {"image": "c.jpg", "action": "run"},
    {"image": "c.jpg", "action": "run"},
]


@pytest.mark.parametrize("form", ["csv", "json"])
def test_an_animal_that_is_listed_twice_counts_once(tmp_path: Path, form: str) -> None:
    """Same box and keypoints; without either nobody knows that it is the same animal."""
    if form == "json":
        write(tmp_path, t_json=TWICE)
    else:
        rows = [row | {"keypoints": json.dumps(row["keypoints"])} if "keypoints" in row else row for row in TWICE]
        pd.DataFrame(rows).to_csv(tmp_path / "t.csv", index=False)
    where = [f"t.json [{n}]" if form == "json" else f"t.csv line {n + 2}" for n in range(len(TWICE))]
    raw = read(tmp_path)
    assert boxes(raw) == [[0, 0, 4, 4], [5, 5, 4, 4]]
    assert raw.annotations["row"].tolist() == [where[n] for n in (0, 1, 3, 5, 6, 7)]
    assert keypoints(raw) == [("b.jpg", 0, "nose", 1, 2, 2), ("b.jpg", 1, "nose", 3, 4, 2)]
    assert raw.rejects.to_numpy().tolist() == [
        ["annotation", where[again], image, "listed_twice", f"the same box and keypoints as {where[first]}"]
        for image, first, again in (("a.jpg", 0, 2), ("b.jpg", 3, 4))
    ]
    assert (len(raw.pictures), raw.merged) == (3, 0)


def test_cleaning_counts_an_animal_that_is_listed_twice(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 20, 20, 3), dtype=np.uint8)
    for name, rgb in zip("abc", pixels, strict=True):
        Image.fromarray(rgb).save(tmp_path / f"{name}.jpg")
    raw = read(write(tmp_path, t_json=TWICE))
    files: dict[str, tuple[int, str | None]] = {f"{n}.jpg": ((tmp_path / f"{n}.jpg").stat().st_size, None) for n in "abc"}
    _, found, _, counts = clean(raw, tmp_path, files, CleanSettings.model_validate({}), workers=1)
    assert found[["sample_id", *BOX_COLUMNS]].to_numpy().tolist() == [["a.jpg", 0, 0, 4, 4], ["a.jpg", 5, 5, 9, 9]]
    assert counts["pictures"] == {"in": 3, "kept": 3, "rejected": 0, "merged": 0}
    assert counts["annotations"] == {"in": 8, "boxes": 2, "labels_only": 4, "rejected": 2, "replaced": 0}
    assert counts["rejected_because"]["annotation"] == {"listed_twice": 2}


@pytest.mark.parametrize(
    "document",
    [
        [{"img": "a.jpg", "Action": "Sit", "Category": "goat", "bbox": [1, 2, 3, 4]}],
        {"a.jpg": {"posture": "seated", "species": "Goat", "bbox": [1, 2, 3, 4]}},
    ],
)
def test_json_is_a_list_of_objects_or_an_object_for_each_image(tmp_path: Path, document: Any) -> None:
    raw = read(write(tmp_path, t_json=document))
    assert (labels(raw), species(raw), boxes(raw)) == ({"a.jpg": "sitting"}, {"a.jpg": "goat"}, [[1, 2, 3, 4]])


COCO = {
    "images": [{"id": 1, "file_name": "a.jpg", "width": 100, "height": 50}, {"id": 2, "file_name": "b.jpg", "action": "lying"},
               {"id": 3, "file_name": "c.jpg"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 5, "bbox": [1, 2, 3, 4], "attributes": {"action": "running"}},
        {"id": 2, "image_id": 2, "category_id": 6, "bbox": [0, 0, 9, 9], "keypoints": [1, 1, 2]},
    ],
    "categories": [{"id": 5, "name": "cow"}, {"id": 6, "name": "sheep"}],
}  # fmt: skip


def test_coco_keypoints_with_actions(tmp_path: Path) -> None:
    raw = read(write(tmp_path, t_json=COCO))
    assert labels(raw) == {"a.jpg": "running", "b.jpg": "lying"}
    assert species(raw) == {"a.jpg": "cow", "b.jpg": "sheep"}
    assert boxes(raw) == [[1, 2, 3, 4], [0, 0, 9, 9]]
    assert raw.pictures[["width_px", "height_px"]].to_numpy(float)[0].tolist() == [100, 50]
    assert [row[:2] for row in refusals(raw)] == [("c.jpg", "no_action")]


def test_an_annotation_of_an_image_that_coco_does_not_list_says_so(tmp_path: Path) -> None:
    images = [*COCO["images"][:2], {"id": 4}]
    strangers = [{"image_id": image_id, "category_id": 5, "action": "run"} for image_id in (12345, "12345", 4)]
    raw = read(write(tmp_path, t_json={**COCO, "images": images, "annotations": [*COCO["annotations"], *strangers]}))
    assert labels(raw) == {"a.jpg": "running", "b.jpg": "lying"}
    assert raw.rejects.to_numpy().tolist() == [
        ["picture", "t.json annotations[2]", "", "no_file_name", "image_id 12345 is not in `images`"],
        ["picture", "t.json annotations[3]", "", "no_file_name", "image_id '12345' is not in `images`"],
        ["picture", "t.json annotations[4]", "", "no_file_name", "its image has no name"],
    ]


def test_coco_categories_that_are_all_actions_are_actions(tmp_path: Path) -> None:
    categories = [{"id": 5, "name": "Sitting"}, {"id": 6, "name": "Lying"}]
    images = [{"id": image["id"], "file_name": image["file_name"]} for image in COCO["images"][:2]]
    plain = [{"image_id": a["image_id"], "category_id": a["category_id"]} for a in COCO["annotations"]]
    raw = read(write(tmp_path, t_json={"images": images, "annotations": plain, "categories": categories}))
    assert labels(raw) == {"a.jpg": "sitting", "b.jpg": "lying"}
    assert species(raw) == {"a.jpg": None, "b.jpg": None}


def test_tables_without_actions_are_left_alone_beside_one_with_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, t_csv="image,action\na.jpg,run\n", other_json=[{"image": "a.jpg", "bbox": [1, 2, 3, 4]}])
    assert labels(read(tmp_path)) == {"a.jpg": "running"}
    assert "left alone: other.json has no `action` (image <- image, box <- bbox)" in capsys.readouterr().out
    with pytest.raises(DataError, match=r"other.json has no `action` .*Expected a CSV or JSON table with the columns `image`"):
        read(tmp_path, "other.json")
    with pytest.raises(DataError, match=r"no annotations a.csv. There is: other.json, t.csv"):
        read(tmp_path, "a.csv")


# Keypoints -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "written",
    [
        [10, 20, 2, 30, 40, 1, 0, 0, 0], [[10, 20, 2], [30, 40, 1], [0, 0, 0]], [[10, 20, 2], [30, 40, 1], None],
        "[10, 20, 2, 30, 40, 1, 0, 0, 0]", "[(10, 20, 2), (30, 40, 1), (0, 0, 0)]", "10 20 2 30 40 1 0 0 0",
        {"1": [10, 20, 2], "2": [30, 40, 1], "3": None}, '{"1": [10, 20, 2], "2": [30, 40, 1], "3": null}',
        "{'1': (10, 20, 2), '2': ('30', 40.0, 1)}",
    ],
)  # fmt: skip
def test_keypoints_are_read_however_they_are_written(tmp_path: Path, written: Any) -> None:
    raw = read(write(tmp_path, t_json=[{"image": "a.jpg", "action": "sit", "keypoints": written}]))
    assert keypoints(raw) == [("a.jpg", 0, "1", 10, 20, 2), ("a.jpg", 0, "2", 30, 40, 1)]
    assert raw.rejects.empty


def test_places_without_visibility_are_seen_but_for_the_very_corner(tmp_path: Path) -> None:
    raw = read(write(tmp_path, t_json=[{"image": "a.jpg", "action": "sit", "joints": {"nose": [3, 0], "neck": [0, 0]}}]))
    assert keypoints(raw) == [("a.jpg", 0, "nose", 3, 0, 2)]


def test_a_file_that_knows_but_there_and_not_there_means_seen(tmp_path: Path) -> None:
    rows = [{"image": f"{n}.jpg", "action": "sit", "keypoints": {"nose": [3, 4, n], "neck": [5, 6, 1]}} for n in (0, 1)]
    seen = [("0.jpg", 0, "neck", 5, 6, 2), ("1.jpg", 0, "nose", 3, 4, 2), ("1.jpg", 0, "neck", 5, 6, 2)]
    assert keypoints(read(write(tmp_path, t_json=rows))) == seen
    graded = [{"image": "g.jpg", "action": "sit", "keypoints": {"nose": [3, 4, 1], "neck": [5, 6, 2]}}]
    raw = read(write(tmp_path, t_json=rows, u_json=graded))
    assert keypoints(raw) == [*seen, ("g.jpg", 0, "nose", 3, 4, 1), ("g.jpg", 0, "neck", 5, 6, 2)], "each file by itself"


@pytest.mark.parametrize(
    ("written", "reason", "detail"),
    [
        ([1, 2, 2, 3], "not_keypoints", "4 numbers in a row: x, y and visibility of each would be three times as many"),
        ([[1, 2, 2, 3]], "not_keypoints", "1: 4 values, not x, y and visibility"),
        (5, "not_keypoints", "5: not a list"),
        ({"nose": [1, 2, 3]}, "unknown_visibility", "visibility 3: should be 2, 1 or 0"),
        ({"nose": [1, 2, 0.7]}, "unknown_visibility", "visibility 0.7: should be 2, 1 or 0"),
        ({"nose": [1, 2, "seen"]}, "unknown_visibility", "visibility nan: should be 2, 1 or 0"),
    ],
)
def test_keypoints_that_are_none_are_refused_and_the_picture_stays(
    tmp_path: Path, written: Any, reason: str, detail: str
) -> None:
    raw = read(write(tmp_path, t_json=[{"image": "a.jpg", "action": "sit", "keypoints": written}]))
    assert labels(raw) == {"a.jpg": "sitting"}
    assert keypoints(raw) == []
    ((name, why, said),) = refusals(raw)
    assert (name, why) == ("a.jpg", reason) and said.startswith(detail)
    assert raw.rejects["kind"].tolist() == ["keypoint"]


def test_coco_keypoints_have_their_category_s_names_and_an_animal_s_number(tmp_path: Path) -> None:
    category = {"id": 5, "name": "cow", "keypoints": ["L_Eye", "TailBase"]}
    rows = [
        {"image_id": 1, "category_id": 5, "action": "run", "keypoints": places}
        for places in ([1, 2, 2, 3, 4, 1], [5, 6, 2, 0, 0, 0], [7, 8, 2])
    ]
    document = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": rows, "categories": [category]}
    raw = read(write(tmp_path, t_json=document))
    assert keypoints(raw) == [("a.jpg", 0, "L_Eye", 1, 2, 2), ("a.jpg", 0, "TailBase", 3, 4, 1), ("a.jpg", 1, "L_Eye", 5, 6, 2)]
    assert refusals(raw) == [("a.jpg", "not_keypoints", "1 keypoints, 2 names")]


def test_a_source_without_keypoints_has_none(tmp_path: Path) -> None:
    assert read(write(tmp_path, t_csv="image,action,keypoints\na.jpg,run,\n")).keypoints is None


# Folders -------------------------------------------------------------------------------------------------------------


def test_a_folder_for_each_action(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in (
        "Dogs/Lying/1.jpg",
        "sitting/cat/2.png",
        "set/walking_standing/3.jpg",
        "set/other/4.jpg",
        "set/lying/readme.txt",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    raw = read(tmp_path)
    assert labels(raw) == {
        "Dogs/Lying/1.jpg": "lying", "sitting/cat/2.png": "sitting", "set/walking_standing/3.jpg": "walking_standing"
    }  # fmt: skip
    assert species(raw) == {"Dogs/Lying/1.jpg": "dog", "sitting/cat/2.png": "cat", "set/walking_standing/3.jpg": None}
    assert [row[:2] for row in refusals(raw)] == [("set/other/4.jpg", "no_action")]
    assert not raw.annotations["has_box"].any()
    assert capsys.readouterr().out.startswith(f"{tmp_path}: a folder for each action\n")


def test_a_folder_that_names_no_action_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_tree(tmp_path, "lying/1.jpg", "set/andere/2.jpg")
    (tmp_path / "3.jpg").touch()
    raw = read(tmp_path)
    assert labels(raw) == {"lying/1.jpg": "lying"}
    none_of = "none of lying, running, sitting, walking_standing"
    assert refusals(raw) == [
        ("3.jpg", "no_action", f"(blank): {none_of}"),
        ("set/andere/2.jpg", "no_action", f"andere: {none_of}"),
    ]
    said = [f"{tmp_path}: a folder for each action", "  lying <- lying 1", "  no action <- (blank) 1, andere 1"]
    assert capsys.readouterr().out.splitlines() == said


def test_folders_of_which_none_names_an_action_are_no_actions(tmp_path: Path) -> None:
    write_tree(tmp_path, "andere/1.jpg")
    with pytest.raises(DataError, match=r"no actions in 1 files\. Expected"):
        read(tmp_path)


# Refusals ------------------------------------------------------------------------------------------------------------


def test_what_holds_no_actions_is_refused_with_what_is_expected(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    with pytest.raises(DataError, match=r"no actions in 1 files. Expected a CSV or JSON table with the columns `image` and"):
        read(tmp_path)
    write(tmp_path, t_csv="picture,colour\na.jpg,red\n")
    with pytest.raises(DataError, match=r"t.csv has no `action` \(image <- picture; not used: colour\)\. Expected"):
        read(tmp_path)


def test_a_table_of_unknown_actions_is_refused_with_them(tmp_path: Path) -> None:
    write(tmp_path, t_csv="image,class\na.jpg,cat\nb.jpg,dog\nc.jpg,cat\n")
    with pytest.raises(DataError, match=r"none of 3 rows names an action: cat, dog\. Expected"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t_csv", "image,action\na.jpg,run,5\n", r"t.csv: not a CSV table: line 2 has more values than the header"),
        ("t_csv", 'image,action\na.jpg,"run\n', r"t.csv: not a CSV table in UTF-8"),
        (
            "t_json",
            {"images": [1], "annotations": []},
            r"t.json: every entry of `images` and `annotations` should be an object",
        ),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, name: str, content: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read(write(tmp_path, **{name: content}))


@needs_real
@pytest.mark.parametrize("name", ["ap10k", "animalpose"])
def test_real_keypoint_files_have_no_action_and_read_once_they_have(name: str, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=rf"test_{name}.json has no `action` \(image <- file_name, species <- category, box <- b"
    ):
        read(REAL / name)
    document = json.loads((REAL / name / f"test_{name}.json").read_text())
    document["annotations"] = [{**annotation, "action": "standing"} for annotation in document["annotations"]]
    raw = read(write(tmp_path, t_json=document))
    assert set(labels(raw).values()) == {"walking_standing"}
    assert len(raw.pictures) == len(document["images"]) == 2
    first, names = document["annotations"][0]["keypoints"], document["categories"][0]["keypoints"]
    there = [name for name, seen in zip(names, first[2::3], strict=True) if seen]
    image = next(image for image in document["images"] if image["id"] == document["annotations"][0]["image_id"])
    assert [row[2] for row in keypoints(raw) if row[0] == image["file_name"]] == there
    assert boxes(raw) == [annotation["bbox"] for annotation in document["annotations"]]


@needs_real
def test_animal_poses_own_file_has_corners_for_boxes(tmp_path: Path) -> None:
    document = json.loads((REAL / "animal_pose_part1_keypoints.json").read_text())
    document["annotations"] = [{**annotation, "action": "sit"} for annotation in document["annotations"]]
    raw = read(write(tmp_path, t_json=document))
    assert (len(raw.pictures), len(raw.annotations)) == (4608, 6117)
    assert set(raw.pictures["species"].dropna()) == {"dog", "cat", "sheep", "horse", "cow"}
    assert raw.keypoints is not None
    assert len(raw.keypoints) == 71294 and set(raw.keypoints["visible"]) == {2}
    assert tuple(raw.keypoints.iloc[0])[1:] == ("2007_000063.jpg", 0, "left_eye", 193, 216, 2)
    x_min, y_min, x_max, y_max = document["annotations"][0]["bbox"]
    assert boxes(raw)[0] == [x_min, y_min, x_max - x_min, y_max - y_min]


# Kaggle --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def no_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path / "none"))
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def test_kaggle_asks_for_the_page_and_then_for_a_token(tmp_path: Path, no_token: None) -> None:
    by_hand = r"or download the zip with a browser, unpack it and set `source: path:<folder>`"
    for addresses in ((), ("https://example.org/a.zip",), (PAGE, PAGE)):
        with pytest.raises(DataError, match=rf"the document does not link it\. Look it up .*{by_hand}"):
            module.fetch(addresses, tmp_path)
    with pytest.raises(DataError, match=rf"Kaggle hands somebody/animals out .* no token: .*kaggle\.json.*{by_hand}"):
        module.fetch([PAGE], tmp_path)


def test_what_kaggle_gives_is_copied_and_what_it_says_is_passed_on(
    tmp_path: Path, no_token: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAGGLE_USERNAME", "me")
    monkeypatch.setenv("KAGGLE_KEY", "secret")
    cache = write_tree(tmp_path / "cache", "set/lying/1.jpg")
    asked: list[str] = []

    def give(handle: str) -> str:
        asked.append(handle)
        return str(cache)

    client = SimpleNamespace(dataset_download=give)
    monkeypatch.setitem(sys.modules, "kagglehub", client)
    (tmp_path / "out").mkdir()
    module.fetch([f"{PAGE}/"], tmp_path / "out")
    assert asked == ["somebody/animals"]
    assert (tmp_path / "out/set/lying/1.jpg").is_file()

    def refuse(handle: str) -> str:
        raise RuntimeError("403")

    client.dataset_download = refuse
    with pytest.raises(DataError, match=r"somebody/animals: not had from Kaggle: 403\. Check"):
        module.fetch([PAGE], tmp_path / "out")


def write_tree(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True)
        (root / name).touch()
    return root
