"""The stage `bboxes`: a box for each person from the joints, each case of the specification."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.bboxes import BoxesSettings, boxed
from stages.files import DataError, check_manifest, read_json
from stages.people import HEAD_TOP, JOINTS, L_ANKLE, PEOPLE, PERSON, R_ANKLE, VISIBLE
from stages.samples import BOX_COLUMNS, SAMPLES, Samples, read_samples
from tests.mpii_helpers import person, picture, write_mat

WIDTH, HEIGHT = 640, 480
Places = dict[int, tuple[float, float]]
WHOLE: Places = {HEAD_TOP: (50, 100), R_ANKLE: (40, 300), L_ANKLE: (60, 290), 6: (70, 200)}


def samples_of(pictures: dict[str, list[Places]]) -> Samples:
    """Pictures of 640 x 480 px, each with its people, each with the joints that are there."""
    rows = pd.DataFrame(
        [
            {"sample_id": name, "path": f"images/{name}", "label": "sports", "location": None, "seq_id": name, "frame_num": None,
             "captured_at": None, "given_split": None, "width_px": WIDTH, "height_px": HEIGHT, "infrared": False, "bytes": 9,
             "species": None, "sha256": f"{number:064d}", "phash": f"{number:016d}", "note": ""}
            for number, name in enumerate(pictures)
        ]
    ).astype({"captured_at": "datetime64[us]", "frame_num": "Int64", "location": str, "species": str, "given_split": str})  # fmt: skip
    people = pd.DataFrame(
        [(name, number) for name, bodies in pictures.items() for number in range(len(bodies))], columns=["sample_id", "person"]
    )
    joints = pd.DataFrame(
        [
            (name, number, joint, *body.get(joint, (0, 0)), VISIBLE if joint in body else 0)
            for name, bodies in pictures.items()
            for number, body in enumerate(bodies)
            for joint in range(16)
        ],
        columns=list(JOINTS.columns),
    )
    people = people.reindex(columns=list(PEOPLE.columns))
    return Samples(SAMPLES.validate(rows), pd.DataFrame(), Path("root"), "embedded", people, joints)


def box_of(joints: Places, **settings: float) -> list[float]:
    boxes = boxed(samples_of({"a.jpg": [joints]}), BoxesSettings.model_validate(settings)).boxes
    assert boxes["label"].tolist() == [PERSON]
    return boxes[BOX_COLUMNS].to_numpy().tolist()[0]


@pytest.mark.parametrize(
    ("joints", "expected"),
    [
        (WHOLE, [40, 100, 70, 300]),
        ({**WHOLE, 10: (WIDTH, 200)}, [40, 100, WIDTH, 300]),  # x = width is a place
        ({**WHOLE, 10: (0, 200)}, [0, 100, 70, 300]),
        ({HEAD_TOP: (50, 100), R_ANKLE: (40, 300)}, [40, 100, 50, 300]),  # one ankle absent: no padding
        ({HEAD_TOP: (50, 100), L_ANKLE: (40, 300)}, [40, 100, 50, 300]),
        ({HEAD_TOP: (50, 100), 1: (40, 300)}, [40, 100, 50, 330]),  # both absent
        ({8: (50, 100), L_ANKLE: (40, 300)}, [40, 80, 50, 300]),  # no head-top
        ({8: (50, 100), 1: (40, 300)}, [40, 80, 50, 330]),
        ({8: (50, 10), 1: (40, 410)}, [40, 0, 50, 470]),  # cut at the top
        ({8: (50, 60), 1: (40, 460)}, [40, 20, 50, HEIGHT]),  # at the bottom
    ],
)
def test_the_box_of_each_case(joints: Places, expected: list[float]) -> None:
    assert box_of(joints) == expected


def test_paddings_are_settings() -> None:
    assert box_of({8: (50, 100), 1: (40, 300)}, head_padding=0.0, feet_padding=0.5) == [40, 100, 50, 400]


def test_rows_follow_pictures_and_people_and_are_counted() -> None:
    samples = samples_of(
        {
            "b.jpg": [WHOLE, {6: (5, 5)}, {8: (50, 10), 1: (40, 410)}],  # the second spans nothing
            "c.jpg": [{6: (5, 5)}, {2: (5, 5), 3: (9, 5)}, {2: (5, 5), 1: (5, 9)}],  # nobody is left
            "a.jpg": [{8: (50, 100), L_ANKLE: (40, 300)}],
        }
    )
    shuffled = samples.joints.sample(frac=1, random_state=0)
    samples = Samples(samples.pictures, samples.boxes, samples.root, samples.data, samples.people[::-1], shuffled)
    found = boxed(samples, BoxesSettings())
    assert found.boxes["sample_id"].tolist() == ["a.jpg", "b.jpg", "b.jpg"]
    assert found.boxes[BOX_COLUMNS].to_numpy().tolist() == [[40, 80, 50, 300], [40, 100, 70, 300], [40, 0, 50, 470]]
    assert found.people[["sample_id", "person"]].to_numpy().tolist() == [["a.jpg", 0], ["b.jpg", 0], ["b.jpg", 2]]
    assert found.joints["joint"].tolist() == [*range(16)] * 3
    assert found.pictures["sample_id"].tolist() == ["b.jpg", "a.jpg"]
    assert found.counts == {
        "pictures": {"in": 3, "kept": 2, "rejected": 1},
        "people": {"in": 7, "kept": 3, "rejected": 4},
        "padded_at_head": 2,
        "padded_at_feet": 1,
        "clipped": 1,
    }
    assert found.rejects[["kind", "row", "name", "reason"]].to_numpy().tolist() == [
        ["person", "b.jpg person 1", "b.jpg", "box_without_area"],
        *(["person", f"c.jpg person {number}", "c.jpg", "box_without_area"] for number in range(3)),
        ["picture", "c.jpg", "images/c.jpg", "nobody_left"],
    ]


def test_nobody_at_all_is_a_stop() -> None:
    with pytest.raises(DataError, match="nobody is left of 1 people: no box has a width and a height"):
        boxed(samples_of({"a.jpg": [{6: (5, 5)}]}), BoxesSettings())
    with pytest.raises(DataError, match="no people in the samples: boxes come from joints"):
        boxed(samples_of({"a.jpg": []}), BoxesSettings())


bodies = st.dictionaries(
    st.integers(0, 15), st.tuples(st.floats(1e-3, WIDTH), st.floats(1e-3, HEIGHT)), min_size=1, max_size=16
)


@given(st.lists(bodies, min_size=1, max_size=4), st.floats(0, 1), st.floats(0, 1))
def test_every_box_lies_in_the_picture_and_holds_its_joints(people: list[Places], head: float, feet: float) -> None:
    try:
        found = boxed(samples_of({"a.jpg": people}), BoxesSettings(head_padding=head, feet_padding=feet))
    except DataError:
        return
    assert len(found.boxes) + len(found.rejects) == len(people)
    for place, (x_min, y_min, x_max, y_max) in enumerate(found.boxes[BOX_COLUMNS].to_numpy()):
        joints = np.array(list(people[int(found.people["person"][place])].values()))
        assert 0 <= x_min < x_max <= WIDTH
        assert 0 <= y_min < y_max <= HEIGHT
        assert (joints >= [x_min, y_min]).all()
        assert (joints <= [x_max, y_max]).all()


# The stage -----------------------------------------------------------------------------------------------------------


def test_the_stage_writes_a_folder_of_the_same_shape(
    tmp_path: Path, cleaned: Callable[..., Any], stage: Callable[..., Any], picture_bytes: Callable[..., bytes]
) -> None:
    root = tmp_path / "source"
    body = {8: (20, 10), 1: (30, 50)}
    write_mat(
        root / "m.mat",
        [picture("a.png", person(body), person({9: (-1, 5)})), picture("b.png", person(WHOLE)), picture("d.png")],
        ["sports", "dancing", "sports"],
    )
    for number, name in enumerate(("a.png", "b.png", "d.png")):
        (root / name).write_bytes(picture_bytes(number, 100, 301 if name == "b.png" else 60))
    done = cleaned(root, "mpii")
    assert done.code == 0, done.err
    params = {"bboxes": {"activity": {"embedded": {"head_padding": 0.25}}}}
    command = ("--params", "bboxes.activity.embedded", "--clean", "clean", "--out", "boxes")
    done = stage("bboxes", *command, params=params)
    assert done.code == 0, done.err
    assert done.out == "2 people in, 2 boxes: 1 padded at the head, 1 at the feet, 0 cut at an edge\n"
    before, after = read_samples(Path("clean")), read_samples(Path("boxes"))
    assert after.boxes.to_numpy().tolist() == [["a.png", PERSON, 20, 0, 30, 56], ["b.png", PERSON, 40, 100, 70, 300]]
    assert len(before.boxes) == 0
    pd.testing.assert_frame_equal(after.pictures, before.pictures)
    pd.testing.assert_frame_equal(after.people, before.people)
    pd.testing.assert_frame_equal(after.joints, before.joints)
    assert (after.root, after.data) == (before.root, before.data)
    assert {path.name for path in Path("boxes").iterdir()} == {path.name for path in Path("clean").iterdir()}
    assert check_manifest(Path("boxes")) == []
    assert Path("boxes/rejects.csv").read_bytes() == Path("clean/rejects.csv").read_bytes()
    counts = read_json(Path("boxes/counts.json"))
    assert counts.pop("boxed")["people"] == {"in": 2, "kept": 2, "rejected": 0}
    assert json.dumps(counts) == json.dumps(read_json(Path("clean/counts.json")))

    first = Path("boxes/manifest.json").read_bytes()
    assert stage("bboxes", *command).code == 0
    assert Path("boxes/manifest.json").read_bytes() == first
    done = stage("bboxes", *command, params={"bboxes": {"activity": {"embedded": {"head_padding": -0.1}}}})
    assert done.code == 1
    assert "head_padding: given -0.1" in done.err
    with Path("clean/people.parquet").open("ab") as file:
        file.write(b"x")
    done = stage("bboxes", *command, params=params)
    assert done.code == 1 and "clean/people.parquet: " in done.err and "Get it anew" in done.err
    assert Path("boxes/manifest.json").read_bytes() == first


@pytest.fixture(scope="session")
def picture_bytes(picture: Callable[..., bytes]) -> Callable[..., bytes]:
    """conftest's `picture`, whose name mpii_helpers has too."""
    return picture
