"""The samples table and the versions of a split: what a version adds to train is found wherever its files lie."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from stages.files import DataError, write_json
from stages.people import ABSENT, FLIPPED, HEAD_COLUMNS, JOINT_NAMES, JOINTS, OCCLUDED, VISIBLE, check_people
from stages.pictures import read_picture
from stages.samples import (
    BOX_COLUMNS,
    BOXES,
    KEYPOINTS,
    SAMPLES,
    TRAIN,
    UNSEEN,
    VAL,
    Samples,
    check_tables,
    no_keypoints,
    of_part,
    read_samples,
    read_version,
)
from tests import training_helpers as tiny


def boxed(*rows: tuple[str, str, float]) -> pd.DataFrame:
    """(sample_id, label, side in px) of each box -> a BOXES table of squares at the corner."""
    flat = [(name, label, 0.0, 0.0, side, side) for name, label, side in rows]
    return pd.DataFrame(flat, columns=list(BOXES.columns)) if rows else tiny.no_boxes()


@pytest.fixture
def source(tmp_path: Path) -> Samples:
    """Four pictures of 12 px, one of them called NA; two have a box."""
    labels = {"a": "deer", "NA": "fox", "c": "deer", "d": "fox"}
    pictures = tiny.table(tmp_path / "raw", {name: (label, tiny.noise(12, ord(name[0]))) for name, label in labels.items()})
    return Samples(*check_tables(pictures, boxed(("a", "deer", 5.0), ("NA", "fox", 6.0))), tmp_path / "raw", "your data")


def version(folder: Path, parts: dict[str, str], added: pd.DataFrame | None = None, boxes: pd.DataFrame | None = None) -> Path:
    """A version of a split, with the pictures that it adds."""
    folder.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(list(parts.items()), columns=["sample_id", "part"]).to_csv(folder / "parts.csv", index=False)
    if added is not None:
        added.to_parquet(folder / "samples.parquet")
        (tiny.no_boxes() if boxes is None else boxes).to_parquet(folder / "boxes.parquet")
    return folder


PARTS = {"a": TRAIN, "NA": TRAIN, "c": VAL, "d": UNSEEN}


# Versions ------------------------------------------------------------------------------------------------------------


def test_a_version_that_adds_nothing_is_its_list(source: Samples, tmp_path: Path) -> None:
    samples, parts = read_version(version(tmp_path / "class", PARTS), source)
    assert dict(parts.itertuples(index=False)) == PARTS, "a picture called NA is no missing value"
    pd.testing.assert_frame_equal(samples.pictures, source.pictures)
    pd.testing.assert_frame_equal(samples.boxes, source.boxes)


def test_copies_are_the_files_of_the_source(source: Samples, tmp_path: Path) -> None:
    copies = source.pictures[:2].assign(sample_id=["a+copy1", "NA+copy1"])
    folder = version(
        tmp_path / "upsampled", PARTS | {"a+copy1": TRAIN, "NA+copy1": TRAIN}, copies, boxed(("a+copy1", "deer", 5.0))
    )
    samples, parts = read_version(folder, source)
    train = of_part(samples, parts, TRAIN)
    assert train[["sample_id", "path", "part"]].to_numpy().tolist() == [
        ["NA", "NA.png", TRAIN], ["NA+copy1", "NA.png", TRAIN], ["a", "a.png", TRAIN], ["a+copy1", "a.png", TRAIN]
    ]  # fmt: skip
    assert samples.root == source.root
    assert samples.boxes["sample_id"].tolist() == ["a", "NA", "a+copy1"]
    check_tables(samples.pictures, samples.boxes)  # the whole keeps its rules


def test_added_pictures_with_files_of_their_own_are_read_from_there(
    source: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "isolated"
    rgb = tiny.noise(12, 7)
    added = tiny.table(folder / "pictures", {"a+mask": ("deer", rgb)})
    version(folder, PARTS | {"a+mask": TRAIN}, added.assign(path="pictures/" + added["path"]), boxed(("a+mask", "deer", 5.0)))
    monkeypatch.chdir(tmp_path)  # a stage is given the folder by a relative path
    samples, parts = read_version(Path("isolated"), source)
    rows = of_part(samples, parts, TRAIN).set_index("sample_id")
    assert rows.loc["a+mask", "path"] == (folder / "pictures/a+mask.png").as_posix()
    assert rows.loc["a", "path"] == "a.png"
    for name, expected in (("a+mask", rgb), ("a", tiny.noise(12, ord("a")))):
        found = read_picture(samples.root / rows.loc[name, "path"], rows.loc[name, "sha256"], 12)
        assert (found == expected).all()
    assert source.pictures["sample_id"].tolist() == ["a", "NA", "c", "d"], "what was given is left as it is"


@pytest.mark.parametrize("added", [False, True])
def test_strangers_are_counted_and_one_is_named(source: Samples, tmp_path: Path, added: bool) -> None:
    copies = source.pictures[:1].assign(sample_id="a+copy1") if added else None
    folder = version(tmp_path / "class", PARTS | {"a+copy1": TRAIN, "a+copy2": TRAIN}, copies)
    counted = (
        "1 pictures are not in the samples table, a+copy2" if added else "2 pictures are not in the samples table, a+copy1"
    )
    with pytest.raises(DataError) as caught:
        read_version(folder, source)
    assert str(caught.value) == f"{folder}: {counted} for example: run `dvc repro`"


def test_an_added_picture_with_the_id_of_another_is_refused(source: Samples, tmp_path: Path) -> None:
    added = source.pictures[:2].assign(sample_id=["a+copy1", "c"])
    folder = version(tmp_path / "upsampled", PARTS | {"a+copy1": TRAIN}, added)
    with pytest.raises(DataError) as caught:
        read_version(folder, source)
    assert str(caught.value) == f"{folder}: an added picture has the id of another, c: run `dvc repro`"


@pytest.mark.parametrize("part", [TRAIN, UNSEEN])
def test_a_list_that_names_a_picture_twice_is_refused(source: Samples, tmp_path: Path, part: str) -> None:
    """In one part it would weigh double, in two it would be scored by what trained on it."""
    folder = version(tmp_path / "class", PARTS)
    with (folder / "parts.csv").open("a") as file:
        file.write(f"NA,{part}\n")
    with pytest.raises(DataError) as caught:
        read_version(folder, source)
    assert str(caught.value) == f"{folder}: parts.csv names a picture twice, NA: run `dvc repro`"


@pytest.mark.parametrize("part", [VAL, UNSEEN])
def test_fault_37_an_added_picture_is_in_train_alone(source: Samples, tmp_path: Path, part: str) -> None:
    folder = version(tmp_path / "added", PARTS | {"a+copy1": part}, source.pictures[:1].assign(sample_id="a+copy1"))
    with pytest.raises(DataError) as caught:
        read_version(folder, source)
    assert str(caught.value) == f"{folder}: the added picture a+copy1 is not in train: run `dvc repro`"


@pytest.mark.parametrize(("original", "part"), [("c", VAL), ("d", UNSEEN)])
def test_fault_37_a_copy_of_what_is_scored_is_not_trained_on(source: Samples, tmp_path: Path, original: str, part: str) -> None:
    """A copy of what is in train, or in no part, is another matter: `upsampled` is made of such."""
    copies = source.pictures[source.pictures["sample_id"].isin(["a", original])]
    names = [f"{name}+copy1" for name in copies["sample_id"]]
    listed = PARTS | dict.fromkeys(names, TRAIN)
    folder = version(tmp_path / "added", listed, copies.assign(sample_id=names))
    with pytest.raises(DataError) as caught:
        read_version(folder, source)
    assert str(caught.value) == (
        f"{folder}: the added picture {original}+copy1 is made of {original}, which is in {part}: "
        "what is scored would be trained on. Take it out"
    )
    renamed = copies.assign(sample_id=["a+copy1", "new"])
    folder = version(tmp_path / "renamed", PARTS | {"a+copy1": TRAIN, "new": TRAIN}, renamed)
    with pytest.raises(DataError, match=f"the added picture new has the same bytes as {original}, which is in {part}: what is"):
        read_version(folder, source)
    folder = tmp_path / "added"
    _, parts = read_version(version(folder, listed | {original: "unused"}), source)
    assert len(parts) == 6


@pytest.mark.parametrize(("original", "part"), [("c", VAL), ("d", UNSEEN)])
def test_fault_37_a_picture_made_of_a_scored_one_is_not_trained_on(
    source: Samples, tmp_path: Path, original: str, part: str
) -> None:
    """Masked or pasted it has bytes of its own: by its id it is known."""
    folder = tmp_path / "isolated"
    made = {"a+mask": ("deer", tiny.noise(12, 7)), f"{original}+mask": ("deer", tiny.noise(12, 8))}
    added = tiny.table(folder / "pictures", made)
    version(folder, PARTS | dict.fromkeys(made, TRAIN), added.assign(path="pictures/" + added["path"]))
    with pytest.raises(
        DataError, match=rf"the added picture {original}\+mask is made of {original}, which is in {part}: what is"
    ):
        read_version(folder, source)


def test_added_tables_that_break_the_rules_are_refused(source: Samples, tmp_path: Path) -> None:
    copies = source.pictures[:1].assign(sample_id="a+copy1")
    folder = version(tmp_path / "b", PARTS | {"a+copy1": TRAIN}, copies, boxed(("a", "deer", 5.0)))
    with pytest.raises(DataError, match=r"boxes of pictures that are not in the samples table: \['a'\]"):
        read_version(folder, source)
    version(folder, PARTS | {"a+copy1": TRAIN}, copies.drop(columns="sha256"))
    with pytest.raises(DataError, match=r"(?s)breaks its own rules:.*sha256"):
        read_version(folder, source)


def test_parts_come_in_the_order_of_ids_whatever_the_order_of_rows(source: Samples) -> None:
    parts = pd.DataFrame([("d", VAL), ("c", TRAIN), ("a", UNSEEN), ("NA", TRAIN)], columns=["sample_id", "part"])
    mixed = replace(source, pictures=source.pictures[::-1])
    for samples, rows in ((source, parts), (mixed, parts), (source, parts[::-1])):
        found = of_part(samples, rows, TRAIN, VAL)
        assert found[["sample_id", "part"]].to_numpy().tolist() == [["NA", TRAIN], ["c", TRAIN], ["d", VAL]]
        assert found.index.tolist() == [0, 1, 2]
        assert list(found.columns) == [*SAMPLES.columns, "part"]
    assert of_part(source, parts, "seen").empty


# The tables ----------------------------------------------------------------------------------------------------------


def written(folder: Path, samples: Samples) -> Path:
    """A folder as the clean stage leaves it, with the tables of people where there are any."""
    folder.mkdir()
    tables = {"samples": samples.pictures, "boxes": samples.boxes}
    tables |= {} if samples.people.empty else {"people": samples.people, "joints": samples.joints}
    tables |= {} if samples.keypoints.empty else {"keypoints": samples.keypoints}
    for name, table in tables.items():
        table.to_parquet(folder / f"{name}.parquet")
    write_json(folder / "source.json", {"root": str(samples.root), "data": samples.data, "adapter": "x"})
    return folder


def test_samples_are_read_as_they_were_written(source: Samples, tmp_path: Path) -> None:
    found = read_samples(written(tmp_path / "clean", source))
    pd.testing.assert_frame_equal(found.pictures, source.pictures)
    pd.testing.assert_frame_equal(found.boxes, source.boxes)
    assert (found.root, found.data) == (source.root, source.data)
    assert found.people.empty and found.joints.empty
    check_people(found.people, found.joints)  # no rows, but all columns


@pytest.mark.parametrize(
    ("column", "value", "word"),
    [("sha256", "0" * 63, "sha256"), ("width_px", 0, "width_px"), ("label", None, "label"), ("more", 1, "more")],
)
def test_a_samples_table_that_breaks_its_rules_is_refused(source: Samples, column: str, value: object, word: str) -> None:
    with pytest.raises(DataError, match=rf"(?s)the samples table breaks its own rules:.*{word}"):
        check_tables(source.pictures.assign(**{column: value}), source.boxes)


@pytest.mark.parametrize(("side", "word"), [("x_max_px", "no width"), ("y_max_px", "no height")])
def test_a_box_without_area_is_refused(source: Samples, side: str, word: str) -> None:
    with pytest.raises(DataError, match=rf"a box has {word}"):
        check_tables(source.pictures, source.boxes.assign(**{side: 0.0}))
    assert set(BOX_COLUMNS) < set(source.boxes.columns)


# People --------------------------------------------------------------------------------------------------------------


def with_people(source: Samples, *who: tuple[str, int]) -> Samples:
    """The samples with people, (sample_id, number), all of whose joints but the first are visible, at (joint, number) px."""
    people = pd.DataFrame(who, columns=["sample_id", "person"]).assign(**dict.fromkeys(HEAD_COLUMNS, float("nan")))
    people = people.assign(scale=1.5, centre_x_px=6.0, centre_y_px=float("nan"))
    rows = [
        (name, person, joint, float(joint), float(person) if joint else 0.0, VISIBLE if joint else ABSENT)
        for name, person in who
        for joint in range(len(JOINT_NAMES))
    ]
    joints = pd.DataFrame(rows, columns=list(JOINTS.columns))
    return replace(source, people=people.astype({"sample_id": "str"}), joints=joints.astype({"sample_id": "str"}))


@pytest.fixture
def crowd(source: Samples) -> Samples:
    """One person in picture a, two in the one called NA, the second of whom is number 3 of its source."""
    return with_people(source, ("a", 0), ("NA", 0), ("NA", 3))


def test_people_and_their_joints_are_read_as_they_were_written(crowd: Samples, tmp_path: Path) -> None:
    found = read_samples(written(tmp_path / "clean", crowd))
    pd.testing.assert_frame_equal(found.people, crowd.people)
    pd.testing.assert_frame_equal(found.joints, crowd.joints)
    assert found.people[["sample_id", "person"]].to_numpy().tolist() == [["a", 0], ["NA", 0], ["NA", 3]]
    pd.testing.assert_frame_equal(found.pictures, crowd.pictures)


def test_a_version_and_what_it_adds_leave_people_as_they_are(crowd: Samples, tmp_path: Path) -> None:
    copies = crowd.pictures[:1].assign(sample_id="a+copy1")
    for added in (None, copies):
        parts = PARTS | ({} if added is None else {"a+copy1": TRAIN})
        samples, _ = read_version(version(tmp_path / "class", parts, added), crowd)
        assert len(samples.pictures) == len(parts)
        pd.testing.assert_frame_equal(samples.people, crowd.people)
        pd.testing.assert_frame_equal(samples.joints, crowd.joints)


def test_people_of_a_picture_that_is_not_there_are_refused(source: Samples, tmp_path: Path) -> None:
    folder = written(tmp_path / "clean", with_people(source, ("a", 0), ("gone", 0)))
    with pytest.raises(DataError) as caught:
        read_samples(folder)
    assert str(caught.value) == f"{folder}: people of pictures that are not in the samples table: ['gone']"


Change = Callable[[pd.DataFrame, pd.DataFrame], tuple[pd.DataFrame, pd.DataFrame]]


def put(joints: pd.DataFrame, row: int, **values: object) -> pd.DataFrame:
    joints = joints.copy()
    joints.loc[row, list(values)] = list(values.values())
    return joints


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda people, joints: (people, joints[:-1]), "a person without 16 joints"),
        (lambda people, joints: (people, put(joints, 5, joint=16)), "joint"),
        (lambda people, joints: (people, put(joints, 5, joint=4)), "joint"),  # twice, and 5 never
        (lambda people, joints: (people, put(joints, 5, visible=3)), "visible"),
        (lambda people, joints: (people, put(joints, 5, visible=ABSENT)), "an absent joint with a place"),
        (lambda people, joints: (people, put(joints, 5, x_px=float("nan"))), "x_px"),
        (lambda people, joints: (people, joints.drop(columns="visible")), "visible"),
        (lambda people, joints: (people, joints.assign(more=1)), "more"),
        (lambda people, joints: (people.drop(columns="scale"), joints), "scale"),
        (lambda people, joints: (people.assign(person=-1), joints), "person"),
        (lambda people, joints: (people.assign(person=0), joints), "sample_id"),  # NA's number 0 twice
    ],
)
def test_tables_of_people_that_break_their_rules_are_refused(crowd: Samples, change: Change, word: str) -> None:
    with pytest.raises(DataError, match=rf"(?s)the tables of people break their own rules:.*{word}"):
        check_people(*change(crowd.people, crowd.joints))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda people, joints: (people, joints[:32]), "3 people, but joints of 2"),
        (lambda people, joints: (people[:2], joints), "2 people, but joints of 3"),
        (lambda people, joints: (people[:0], joints[:16]), "0 people, but joints of 1"),
        (lambda people, joints: (people.assign(sample_id=["a", "NA", "c"]), joints), "3 people, but joints of 3"),
    ],
)
def test_people_and_joints_of_others_are_refused(crowd: Samples, change: Change, message: str) -> None:
    with pytest.raises(DataError, match=message):
        check_people(*change(crowd.people, crowd.joints))


def test_a_mirrored_joint_mirrored_again_is_itself() -> None:
    assert sorted(FLIPPED) == list(range(16))
    assert [FLIPPED[joint] for joint in FLIPPED] == list(range(16))
    sides = {"r": "l", "l": "r"}
    for joint, name in enumerate(JOINT_NAMES):
        side, _, rest = name.partition("_")
        assert JOINT_NAMES[FLIPPED[joint]] == (f"{sides[side]}_{rest}" if side in sides else name)


# Keypoints -----------------------------------------------------------------------------------------------------------


def with_keypoints(source: Samples, *rows: tuple[str, int, str, float, float, int]) -> Samples:
    return replace(source, keypoints=pd.DataFrame(rows, columns=list(KEYPOINTS.columns)).astype(no_keypoints().dtypes))


def test_keypoints_are_read_as_they_were_written_and_an_old_folder_has_none(source: Samples, tmp_path: Path) -> None:
    whole = with_keypoints(source, ("NA", 0, "nose", 3.0, 4.5, VISIBLE), ("NA", 1, "nose", 0.0, 12.0, OCCLUDED))
    pd.testing.assert_frame_equal(read_samples(written(tmp_path / "clean", whole)).keypoints, whole.keypoints)
    without = read_samples(written(tmp_path / "old", source)).keypoints
    assert without.empty and list(without.columns) == list(KEYPOINTS.columns)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sample_id": "gone"}, r"keypoints of pictures that are not in the samples table: \['gone'\]"),
        ({"visible": ABSENT}, "(?s)the table of keypoints breaks its own rules:.*visible"),
        ({"x_px": -0.5}, "(?s)breaks its own rules:.*x_px"),
        ({"y_px": float("nan")}, "(?s)breaks its own rules:.*y_px"),
        ({"animal": -1}, "(?s)breaks its own rules:.*animal"),
        ({"keypoint": "neck"}, "(?s)breaks its own rules:.*keypoint"),  # twice
    ],
)
def test_keypoints_that_break_their_rules_are_refused(
    source: Samples, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    whole = with_keypoints(source, ("NA", 0, "neck", 3.0, 4.5, VISIBLE), ("NA", 0, "nose", 3.0, 4.5, VISIBLE))
    broken = replace(whole, keypoints=put(whole.keypoints, 1, **change))
    with pytest.raises(DataError, match=message):
        read_samples(written(tmp_path / "clean", broken))
