"""The samples table and the versions of a split: what a version adds to train is found wherever its files lie."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from stages.files import DataError, write_json
from stages.pictures import read_picture
from stages.samples import (
    BOX_COLUMNS,
    BOXES,
    SAMPLES,
    TRAIN,
    UNSEEN,
    VAL,
    Samples,
    check_tables,
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
    rgb = tiny.noise(12, 99)
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


def test_samples_are_read_as_they_were_written(source: Samples, tmp_path: Path) -> None:
    folder = tmp_path / "clean"
    folder.mkdir()
    source.pictures.to_parquet(folder / "samples.parquet")
    source.boxes.to_parquet(folder / "boxes.parquet")
    write_json(folder / "source.json", {"root": str(source.root), "data": source.data, "adapter": "x"})
    found = read_samples(folder)
    pd.testing.assert_frame_equal(found.pictures, source.pictures)
    pd.testing.assert_frame_equal(found.boxes, source.boxes)
    assert (found.root, found.data) == (source.root, source.data)


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
