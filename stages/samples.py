"""The samples table: what every stage after `clean` knows of a dataset, whatever format its authors used.

`data/clean/<dataset>/` holds
    samples.parquet   a row for each picture kept
    boxes.parquet     a row for each box kept
    rejects.csv       a row for each source row refused, with its reason
    source.json       where the pictures lie (`root`), the adapter, the licence
    counts.json       rows in, kept, rejected and why
and where the source has keypoints of animals, keypoints.parquet, a row for each; where it is of people, people.parquet and
joints.parquet (stages/people.py). Where its samples are clips, not pictures, videos.parquet has a row for each; what is said of
their looks (size, phash, infrared) is of the frame in the middle.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pandera.pandas as pa

from stages.files import DataError, read_json, require_manifest
from stages.people import HEAD_COLUMNS, JOINT_NAMES, KEY, OCCLUDED, VISIBLE, check_people, no_people
from stages.tables import read_table, read_texts, validated

EMPTY = "empty"  # the label of a picture with nothing in it
TRAIN, VAL, TEST, SEEN, UNSEEN, UNUSED = "train", "val", "test", "seen", "unseen", "unused"  # parts of a split
SCORED = (VAL, TEST, SEEN, UNSEEN)
TEST5 = "test5"  # a half of test that is scored by itself too: in the column `also` of a version's list

SAMPLES = pa.DataFrameSchema(
    {
        "sample_id": pa.Column(str, unique=True),
        "path": pa.Column(str),  # relative to the source's root, with /
        "label": pa.Column(str),  # the class of the largest box, or the picture's own; EMPTY for none
        "location": pa.Column(str, nullable=True),  # the camera's site
        "species": pa.Column(str, nullable=True),  # where it is not the label, but known beside it
        "seq_id": pa.Column(str),  # the burst; the sample's own id where the source has none
        "frame_num": pa.Column("Int64", nullable=True),  # place in the burst, from the source
        "captured_at": pa.Column("datetime64[us]", nullable=True),  # the camera's clock, no zone
        "given_split": pa.Column(str, nullable=True),  # the source's own list: JSON file stem, or the CSV's column
        "width_px": pa.Column(int, pa.Check.gt(0)),  # of the picture the right way up
        "height_px": pa.Column(int, pa.Check.gt(0)),
        "infrared": pa.Column(bool),  # a picture without colour: taken by night
        "bytes": pa.Column(int, pa.Check.gt(0)),
        "sha256": pa.Column(str, pa.Check.str_length(64, 64)),
        "phash": pa.Column(str, pa.Check.str_length(16, 16)),  # 64-bit perceptual hash, hexadecimal
        "note": pa.Column(str),  # what was decided for this row, in words; empty mostly
    },
    strict=True,
)

BOXES = pa.DataFrameSchema(
    {
        "sample_id": pa.Column(str),
        "label": pa.Column(str),
        "x_min_px": pa.Column(float, pa.Check.ge(0)),  # in the picture the right way up, at its own size
        "y_min_px": pa.Column(float, pa.Check.ge(0)),
        "x_max_px": pa.Column(float),
        "y_max_px": pa.Column(float),
    },
    checks=[
        pa.Check(lambda boxes: boxes["x_max_px"] > boxes["x_min_px"], error="a box has no width"),
        pa.Check(lambda boxes: boxes["y_max_px"] > boxes["y_min_px"], error="a box has no height"),
    ],
    strict=True,
)

KEYPOINTS = pa.DataFrameSchema(
    {
        "sample_id": pa.Column(str),
        "animal": pa.Column(int, pa.Check.ge(0)),  # its place among those of its picture, in the source
        "keypoint": pa.Column(str),  # as the source names it; a number where it names none
        "x_px": pa.Column(float, pa.Check.ge(0)),  # in the picture the right way up, at its own size
        "y_px": pa.Column(float, pa.Check.ge(0)),
        "visible": pa.Column(int, pa.Check.isin([OCCLUDED, VISIBLE])),  # one that is not there has no row
    },
    unique=["sample_id", "animal", "keypoint"],
    strict=True,
)

VIDEOS = pa.DataFrameSchema(
    {
        "sample_id": pa.Column(str, unique=True),
        "frames": pa.Column(int, pa.Check.gt(1)),  # that can be decoded
        "seconds": pa.Column(float, pa.Check.gt(0)),  # from the first frame to the end of the last
        "frame_rate": pa.Column(float, pa.Check.gt(0)),  # on average, frames a second
        "variable_rate": pa.Column(bool),  # its frames do not follow each other at one distance in time
        "rotation_deg": pa.Column(int, pa.Check.isin([0, 90, 180, 270])),  # by which its file says that it is to be turned
    },
    strict=True,
)

PARTS_CSV, PICTURES = "parts.csv", "pictures"  # of a version of a split
BOX_COLUMNS = ["x_min_px", "y_min_px", "x_max_px", "y_max_px"]


@dataclass(frozen=True)
class Samples:
    """A cleaned dataset. `pictures` and `boxes` follow SAMPLES and BOXES; `root` is where `path` starts."""

    pictures: pd.DataFrame
    boxes: pd.DataFrame
    root: Path
    data: str  # "embedded" or "your data": what figures made from it are labelled
    people: pd.DataFrame = field(default_factory=lambda: no_people()[0])
    joints: pd.DataFrame = field(default_factory=lambda: no_people()[1])
    keypoints: pd.DataFrame = field(default_factory=lambda: no_keypoints())
    videos: pd.DataFrame = field(default_factory=lambda: no_rows(VIDEOS))  # without a row where samples are pictures


def no_rows(schema: pa.DataFrameSchema) -> pd.DataFrame:
    """A table of this form without a row."""
    return pd.DataFrame({name: pd.Series(dtype=str(column.dtype)) for name, column in schema.columns.items()})


def no_keypoints() -> pd.DataFrame:
    """The table without a row: what a data set without keypoints has."""
    return no_rows(KEYPOINTS)


def check_keypoints(keypoints: pd.DataFrame) -> pd.DataFrame:
    """The table with its columns checked and typed. Raises DataError that names the column, row and value."""
    return validated(KEYPOINTS, keypoints, "the table of keypoints breaks its own rules")


def check_videos(videos: pd.DataFrame) -> pd.DataFrame:
    """The table with its columns checked and typed. Raises DataError that names the column, row and value."""
    return validated(VIDEOS, videos, "the table of videos breaks its own rules")


def check_tables(pictures: pd.DataFrame, boxes: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both tables with their columns checked and typed. Raises DataError that names the column, row and value."""
    broken = "the samples table breaks its own rules"
    pictures, boxes = validated(SAMPLES, pictures, broken), validated(BOXES, boxes, broken)
    if strangers := sorted(set(boxes["sample_id"]) - set(pictures["sample_id"])):
        raise DataError(f"boxes of pictures that are not in the samples table: {strangers[:5]}")
    return pictures, boxes


def read_version(folder: Path, samples: Samples) -> tuple[Samples, pd.DataFrame]:
    """One version of a split, `data/splits/<dataset>/<version>/`, with the pictures that it adds to train.

    Returns (samples, parts): the samples with the added ones, and a row for each: sample_id, part. The folder holds
        parts.csv                       sample_id, part; every added picture is in train. Perhaps also, TEST5 or nothing
        samples.parquet, boxes.parquet  the added pictures, where there are any
        pictures/                       their files, where they are no copies of the source's
    Raises DataError where the lists and the samples disagree, and where what is added would teach what is scored.
    """
    parts = read_texts(folder / PARTS_CSV, ["sample_id", "part"])
    given = len(samples.pictures)
    if (folder / "samples.parquet").is_file():
        own = (folder / PICTURES).is_dir()
        added, boxes = check_tables(read_table(folder / "samples.parquet"), read_table(folder / "boxes.parquet"))
        if taken := sorted(set(added["sample_id"]) & set(samples.pictures["sample_id"])):
            raise DataError(f"{folder}: an added picture has the id of another, {taken[0]}: run `dvc repro`")
        if own:  # an absolute path stands by itself, whatever root it is joined to
            added = added.assign(path=[(folder.resolve() / path).as_posix() for path in added["path"]])
        samples = replace(
            samples,
            pictures=pd.concat([samples.pictures, added], ignore_index=True),
            boxes=pd.concat([samples.boxes, boxes], ignore_index=True),
        )
    if twice := parts.loc[parts.duplicated("sample_id"), "sample_id"].tolist():
        raise DataError(f"{folder}: {PARTS_CSV} names a picture twice, {twice[0]}: run `dvc repro`")
    strangers = sorted(set(parts["sample_id"]) - set(samples.pictures["sample_id"]))
    if strangers:
        raise DataError(
            f"{folder}: {len(strangers)} pictures are not in the samples table, {strangers[0]} for example: run `dvc repro`"
        )
    _require_for_train(folder, samples.pictures, given, parts)
    return samples, parts


def _require_for_train(folder: Path, pictures: pd.DataFrame, given: int, parts: pd.DataFrame) -> None:
    """Raise DataError unless all behind the first `given` pictures are in train, and none is a scored one or made of one."""
    pictures = pictures.assign(part=pictures["sample_id"].map(parts.set_index("sample_id")["part"]))
    added, scored = pictures[given:], pictures[pictures["part"].isin(SCORED)]
    for row in added[added["part"] != TRAIN].itertuples():
        raise DataError(f"{folder}: the added picture {row.sample_id} is not in train: run `dvc repro`")
    made_of = added.assign(
        source=added["sample_id"].str.replace(r"\+[^+]*$", "", regex=True)
    )  # `<id>+copy1`, `<id>+mask`: stages/harden.py
    for row in made_of.merge(scored, left_on="source", right_on="sample_id", suffixes=("", "_scored")).itertuples():
        raise DataError(
            f"{folder}: the added picture {row.sample_id} is made of {row.source}, which is in {row.part_scored}: what is "
            "scored would be trained on. Take it out"
        )
    for row in added.merge(scored, on="sha256", suffixes=("", "_scored")).itertuples():
        raise DataError(
            f"{folder}: the added picture {row.sample_id} has the same bytes as {row.sample_id_scored}, which is in "
            f"{row.part_scored}: what is scored would be trained on. Take it out"
        )


def read_base(folder: Path, clean: Path) -> tuple[Samples, pd.DataFrame]:
    """What `read_version` returns of the version that another one is made from, with the samples of `clean`.

    Raises DataError where that version adds pictures itself, or where a stage's output is not as the stage left it.
    """
    for output in (clean, folder.parent):
        require_manifest(output)
    if (folder / "samples.parquet").is_file():
        raise DataError(f"{folder} adds pictures of its own to train: start from a version that does not, one of `split`'s")
    return read_version(folder, read_samples(clean))


def write_version(
    folder: Path, base_parts: bytes, pictures: pd.DataFrame, boxes: pd.DataFrame, taken: pd.Series
) -> dict[str, Any]:
    """Write what `read_version` reads: the base's own list, then the added pictures as train, and their tables. Returns counts.

    Raises DataError where an added id is already `taken` by another picture.
    """
    if clash := sorted(set(pictures["sample_id"]) & set(taken)):
        raise DataError(f"{folder.name}: the id {clash[0]} is wanted for an added picture: rename the one that has it")
    pictures, boxes = check_tables(pictures, boxes)
    folder.mkdir(exist_ok=True)
    rows = pd.DataFrame({"sample_id": pictures["sample_id"], "part": TRAIN})
    lines = rows.to_csv(index=False, header=False, lineterminator="\n")
    (folder / PARTS_CSV).write_bytes(base_parts + lines.encode())
    pictures.to_parquet(folder / "samples.parquet", index=False)
    boxes.to_parquet(folder / "boxes.parquet", index=False)
    by_class = pictures["label"].value_counts().sort_index()
    return {"added": len(pictures), "boxes": len(boxes), "classes": {str(name): int(n) for name, n in by_class.items()}}


def of_part(samples: Samples, parts: pd.DataFrame, *names: str) -> pd.DataFrame:
    """The pictures of one part or more, with a column `part`, in the order of their ids."""
    chosen = parts[parts["part"].isin(names)]
    return samples.pictures.merge(chosen, on="sample_id", validate="one_to_one").sort_values("sample_id", ignore_index=True)


def located(pictures: pd.DataFrame, boxes: pd.DataFrame, classes: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The pictures that say where everything in them is, and their boxes of `classes`: those with a box, and empty ones.

    A picture of an animal without a box would teach a detector that the animal is background.
    """
    boxes = boxes[boxes["sample_id"].isin(pictures["sample_id"]) & boxes["label"].isin(classes)]
    known = pictures["label"].eq(EMPTY) | pictures["sample_id"].isin(boxes["sample_id"])
    return pictures[known].reset_index(drop=True), boxes.reset_index(drop=True)


def true_people(people: pd.DataFrame, joints: pd.DataFrame, boxes: pd.DataFrame) -> pd.DataFrame:
    """A row for each person: sample_id, person, label, BOX_COLUMNS, HEAD_COLUMNS, joints (x_px, y_px, visible of each).

    The tables are those of `data/boxes/<dataset>/`: a picture's boxes are those of its people, in the same order.
    Raises DataError where a picture has other people than boxes.
    """
    place = [table.groupby("sample_id").cumcount() for table in (people, boxes)]
    table = people.assign(place=place[0]).merge(boxes.assign(place=place[1]), on=["sample_id", "place"], how="outer")
    if len(wrong := table[table[["person", "label"]].isna().any(axis=1)]):
        raise DataError(f"{wrong['sample_id'].iloc[0]}: not one box for each person. Run `dvc repro`")
    points = joints.sort_values([*KEY, "joint"])[["x_px", "y_px", "visible"]].to_numpy(dtype=float)
    table = table.astype({"person": int}).sort_values(KEY, ignore_index=True)
    table["joints"] = list(points.reshape(len(table), 3 * len(JOINT_NAMES)))
    return table[[*KEY, "label", *BOX_COLUMNS, *HEAD_COLUMNS, "joints"]]


def read_samples(folder: Path) -> Samples:
    """Read `data/clean/<dataset>`, or `data/boxes/<dataset>`, which is of the same shape.

    Raises DataError, which names the folder, for tables that are damaged, break their rules or disagree.
    """
    try:
        return _read_samples(folder)
    except DataError as error:
        raise DataError(str(error) if str(folder) in str(error) else f"{folder}: {error}") from None


def _read_samples(folder: Path) -> Samples:
    source = read_json(folder / "source.json")
    if not isinstance(source, dict) or not all(isinstance(source.get(key), str) for key in ("root", "data")):
        raise DataError(f"{folder / 'source.json'}: not as `clean` leaves it: it lacks root or data. Run `dvc repro`")
    pictures, boxes = check_tables(read_table(folder / "samples.parquet"), read_table(folder / "boxes.parquet"))
    people, joints = no_people()
    if (folder / "people.parquet").is_file():
        people, joints = check_people(read_table(folder / "people.parquet"), read_table(folder / "joints.parquet"))
    keypoints = no_keypoints()
    if (folder / "keypoints.parquet").is_file():
        keypoints = check_keypoints(read_table(folder / "keypoints.parquet"))
    for name, table in (("people", people), ("keypoints", keypoints)):
        if strangers := sorted(set(table["sample_id"]) - set(pictures["sample_id"])):
            raise DataError(f"{name} of pictures that are not in the samples table: {strangers[:5]}")
    videos = no_rows(VIDEOS)
    if (folder / "videos.parquet").is_file():
        videos = check_videos(read_table(folder / "videos.parquet"))
        if other := sorted(set(pictures["sample_id"]) ^ set(videos["sample_id"])):
            raise DataError(f"{folder}: not one row of videos for each sample, {other[0]} for example: run `dvc repro`")
    return Samples(pictures, boxes, Path(source["root"]), source["data"], people, joints, keypoints, videos)
