"""A split and one model's answers -> two harder versions of it: `upsampled` and `isolated`.

    python -m stages.harden --params harder.camera_trap.embedded --clean data/clean/camera_trap
        --split data/splits/camera_trap/class --judged data/answers/camera_trap/camera_trap-resnext50-class
        --seed 20220422 --out data/harder/camera_trap

Both give train more of the classes that the judging model knows least:
    upsampled/  their train pictures again, `<id>+copy1`: the source's own files
    isolated/   their animals without what is round them, `<id>+mask` (`+crop`, `+paste`): new files in `pictures/`
Only train grows; val, test, seen and unseen are the very lines of the split's own list. The judge is asked by its answers on
val alone, so that no test set has a say. The choice depends on ids, labels and the seed, never on the order of rows.
"""

import argparse
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import Field
from tqdm.contrib.concurrent import process_map

from stages import geometry, isolation, scores
from stages.command import run
from stages.files import DataError, new_folder, require_manifest, seed_from, sha256_bytes, write_json
from stages.geometry import Boxes
from stages.isolation import Wanted
from stages.pictures import Inspected, inspect, jpeg, read_picture
from stages.samples import (
    BOX_COLUMNS,
    EMPTY,
    PARTS_CSV,
    PICTURES,
    TRAIN,
    VAL,
    of_part,
    read_base,
    write_version,
)
from stages.settings import Record, read_params, section


class HardenSettings(Record):
    weakest: int = Field(3, gt=0)  # classes: those with the lowest F1 on val
    copies: int = Field(1, gt=0)  # of each of their train pictures, in `upsampled`; 1: doubled
    isolate: Literal["mask", "crop", "paste"] = "mask"  # grey outside the boxes, the boxes cut out, or on an empty frame
    crop_margin: float = Field(0.25, ge=0)  # kept on each side by `crop`, as a share of what the boxes span


@dataclass(frozen=True)
class Isolation:
    """One picture to make."""

    sample_id: str  # of the original
    source: tuple[str, str]  # its path and sha256
    boxes_xyxy_px: Boxes  # all its boxes (N, 4)
    wanted: Wanted  # those of the weakest classes (N,)
    background: tuple[str, str] | None  # path and sha256, for `paste`
    note: str

    @property
    def file_name(self) -> str:
        return f"{sha256_bytes(self.sample_id.encode())[:32]}.jpg"  # an id may hold what no file name can


# Which classes -------------------------------------------------------------------------------------------------------


def val_answers(path: Path, val: pd.DataFrame) -> pd.DataFrame:
    """A model's answers on val: sample_id, actual, predicted. No other part's rows are read.

    Raises DataError unless they are about the pictures of `val` (sample_id, label), each once.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file. --judged takes the folder of predictions that `evaluate` writes for one model")
    rows = pd.read_parquet(path, columns=["sample_id", "part", "actual", "predicted"], filters=[("part", "==", VAL)])
    assert (rows["part"] == VAL).all()
    expected = dict(zip(val["sample_id"], val["label"], strict=True))
    given = dict(zip(rows["sample_id"], rows["actual"], strict=True))
    if len(given) != len(rows) or given != expected:
        differ = sorted(set(given.items()) ^ set(expected.items()))
        shown = f", {differ[0][0]} ({differ[0][1]}) for example" if differ else ": a picture is answered twice"
        raise DataError(
            f"{path}: {len(rows)} answers on val do not belong to the {len(expected)} val pictures of this split{shown}. "
            "Train and evaluate the judging model on this very split: `dvc repro`"
        )
    return rows


def judged(answers: pd.DataFrame, train_labels: pd.Series) -> pd.DataFrame:
    """Classes of train, the weakest first: label, f1, n_val, n_train. `empty` is no animal and left out.

    So is a class without a val picture: it has no F1. Ties go to the class with fewer train pictures, then by name.
    """
    n_train = train_labels[train_labels != EMPTY].value_counts()
    table = scores.per_class(answers, sorted({*answers["actual"], *answers["predicted"]})).rename(columns={"n": "n_val"})
    table = table[(table["n_val"] > 0) & table["label"].isin(n_train.index)]
    table = table.assign(n_train=table["label"].map(n_train).astype(int))[["label", "f1", "n_val", "n_train"]]
    return table.sort_values(["f1", "n_train", "label"], ignore_index=True)


def weakest(table: pd.DataFrame, count: int) -> pd.DataFrame:
    """The first `count` rows of `judged`. Raises DataError where there are fewer."""
    if len(table) < count:
        raise DataError(
            f"`weakest` is {count}, but only {len(table)} classes are in train and in val ({', '.join(table['label'])}). "
            "Lower `weakest` in the data set's `harder` settings, or give val more classes"
        )
    return table.head(count)


# What is added -------------------------------------------------------------------------------------------------------


def upsampled(pictures: pd.DataFrame, boxes: pd.DataFrame, copies: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`copies` of every row and its boxes under new ids: the same files."""
    endings = [f"+copy{number + 1}" for number in range(copies)]

    def copied(table: pd.DataFrame) -> pd.DataFrame:
        return pd.concat([table.assign(sample_id=table["sample_id"] + ending) for ending in endings], ignore_index=True)

    return copied(pictures), copied(boxes)


def backgrounds(pictures: pd.DataFrame, train: pd.DataFrame, seed: int) -> pd.Series:
    """For each picture an empty train frame of another camera and the same light, by seed: its sample_id, missing if none is.

    `train` is in the order of its ids. Where the camera is unknown, no frame is known to be another's. Raises DataError where
    no picture finds one.
    """
    empty = train[(train["label"] == EMPTY) & train["location"].notna()]

    def choose(picture: Any) -> str | None:
        fit = empty[(empty["location"] != picture.location) & (empty["infrared"] == picture.infrared)]
        if fit.empty or pd.isna(picture.location):
            return None
        return str(fit["sample_id"].iloc[seed_from(seed, "background", picture.sample_id) % len(fit)])

    chosen = pd.Series([choose(picture) for picture in pictures.itertuples()], pictures.index, dtype="str")
    if len(pictures) and chosen.isna().all():
        raise DataError(
            f"isolate: paste: none of {len(pictures)} pictures finds an empty train frame of another camera by the same light "
            f"(train has {len(empty)} empty frames with a location). Choose `mask` or `crop` in the `harder` settings"
        )
    return chosen


def plan(
    pictures: pd.DataFrame, boxes: pd.DataFrame, train: pd.DataFrame, kind: str, seed: int
) -> tuple[list[Isolation], dict[str, int]]:
    """What to isolate and how many pictures are skipped, by reason.

    `pictures` and `boxes` are those of the weakest classes in train, `train` is all of it.
    """
    weak, total = set(pictures["label"]), len(pictures)
    by_picture = dict(list(boxes.groupby("sample_id")))
    has_box = pictures["sample_id"].isin(boxes.loc[boxes["label"].isin(weak), "sample_id"])
    skipped = {"no_box": int((~has_box).sum())}
    pictures = pictures[has_box].assign(background=None)
    if kind == "paste":
        pictures["background"] = backgrounds(pictures, train, seed)
        skipped["no_background"] = int(pictures["background"].isna().sum())
        pictures = pictures[pictures["background"].notna()]
    if total != len(pictures) + sum(skipped.values()):
        raise AssertionError(f"rows lost: {total} in, {len(pictures)} kept, {skipped} skipped")
    files = {row.sample_id: (row.path, row.sha256) for row in train.itertuples()}
    jobs = [
        Isolation(
            row.sample_id,
            files[row.sample_id],
            by_picture[row.sample_id][BOX_COLUMNS].to_numpy(dtype=float),
            by_picture[row.sample_id]["label"].isin(weak).to_numpy(dtype=bool),
            files.get(row.background),
            f"{kind} of {row.sample_id}" + (f" onto {row.background}" if kind == "paste" else ""),
        )
        for row in pictures.itertuples()
    ]
    return jobs, skipped


def isolated(
    pictures: pd.DataFrame, boxes: pd.DataFrame, jobs: list[Isolation], made: list[tuple[Inspected, Boxes]], kind: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows and boxes of isolated copies, from those of the originals and what `make_all` found."""
    chosen = pictures.set_index("sample_id").loc[[job.sample_id for job in jobs]].reset_index()
    facts = pd.DataFrame([vars(found) for found, _ in made], columns=list(Inspected.__dataclass_fields__))
    # Not `infrared`: grey makes a picture look like one taken by night. It was taken when the original was.
    new = chosen.assign(
        sample_id=[f"{job.sample_id}+{kind}" for job in jobs],
        path=[f"{PICTURES}/{job.file_name}" for job in jobs],
        **facts.drop(columns="infrared"),
        note=["; ".join(filter(None, [note, job.note])) for note, job in zip(chosen["note"], jobs, strict=True)],
    )
    by_picture = dict(list(boxes.groupby("sample_id")))
    kept = []
    for job, (_, moved) in zip(jobs, made, strict=True):
        seen = job.wanted | (geometry.area(moved) >= 1)  # as `clean` has it: less than 1 px² is no box
        rows = by_picture[job.sample_id].assign(sample_id=f"{job.sample_id}+{kind}")
        kept.append(rows.assign(**dict(zip(BOX_COLUMNS, moved.T, strict=True)))[seen])
    new = new[pictures.columns].astype(pictures.dtypes)  # the types of a table without rows too
    return new, pd.concat([boxes.head(0), *kept], ignore_index=True)


# Their files ---------------------------------------------------------------------------------------------------------


def make_one(job: Isolation, root: Path, settings: HardenSettings, folder: Path) -> tuple[Inspected, Boxes]:
    """Write one isolated picture below `folder`; what it is, and where its boxes (N, 4) lie now."""
    path, sha256 = job.source
    given = read_picture(root / path, sha256), job.boxes_xyxy_px, job.wanted
    if job.background:
        path, sha256 = job.background
        rgb, boxes = isolation.paste(*given, read_picture(root / path, sha256))
    elif settings.isolate == "crop":
        rgb, boxes = isolation.crop(*given, settings.crop_margin)
    else:
        rgb, boxes = isolation.mask(*given)
    data = jpeg(rgb)  # PNG takes 3 times the bytes (`paste`, CCT-20)
    (folder / job.file_name).write_bytes(data)
    return inspect(data), boxes


def make_all(
    jobs: list[Isolation], root: Path, settings: HardenSettings, folder: Path, workers: int
) -> list[tuple[Inspected, Boxes]]:
    """`make_one` for each job, in their order; makes `folder`. Raises DataError for a source picture that changed."""
    folder.mkdir(parents=True)
    make = partial(make_one, root=root, settings=settings, folder=folder)
    if workers == 1 or len(jobs) < 64:
        return [make(job) for job in jobs]
    return process_map(make, jobs, max_workers=workers, chunksize=4, desc="isolated", unit="", disable=None, leave=False)


def main() -> None:
    parser = argparse.ArgumentParser(description="a split and a model's answers on val -> more train pictures of weak classes")
    parser.add_argument("--params", required=True, help="path of the settings in params.yaml")
    parser.add_argument("--clean", type=Path, required=True, help="the clean stage's output")
    parser.add_argument("--split", type=Path, required=True, help="the version to start from, a folder")
    parser.add_argument("--judged", type=Path, required=True, help="a model's answers, by which classes are judged")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder to write, a folder in it for each version")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes that make pictures")
    args = parser.parse_args()
    settings = section(args.params, HardenSettings, read_params())
    require_manifest(args.judged)
    samples, parts = read_base(args.split, args.clean)
    train, val = of_part(samples, parts, TRAIN), of_part(samples, parts, VAL)
    ranking = judged(val_answers(args.judged / "answers.parquet", val), train["label"])
    weak = weakest(ranking, settings.weakest)
    not_judged = sorted({*train["label"]} - {EMPTY, *ranking["label"]})  # in train, not in val

    pictures = train[train["label"].isin(weak["label"])].drop(columns="part").reset_index(drop=True)
    boxes = samples.boxes[samples.boxes["sample_id"].isin(pictures["sample_id"])]
    boxes = boxes.sort_values(["sample_id", *BOX_COLUMNS, "label"], ignore_index=True)
    jobs, skipped = plan(pictures, boxes, train, settings.isolate, args.seed)
    with new_folder(args.out) as out:
        made = make_all(jobs, samples.root, settings, out / "isolated" / PICTURES, args.workers)
        added = {
            "upsampled": upsampled(pictures, boxes, settings.copies),
            "isolated": isolated(pictures, boxes, jobs, made, settings.isolate),
        }
        base_parts, taken = (args.split / PARTS_CSV).read_bytes(), samples.pictures["sample_id"]
        counts = {name: write_version(out / name, base_parts, *tables, taken) for name, tables in added.items()}
        report = {
            "judge": args.judged.name,
            "weakest": weak.round({"f1": 4}).to_dict("records"),
            "not_judged": not_judged,
            "pictures": len(pictures),
            "upsampled": counts["upsampled"],
            "isolated": {"kind": settings.isolate, **counts["isolated"], "skipped": skipped},
        }
        write_json(out / "report.json", report)
    shown = ", ".join(f"{row.label} {row.f1:.3f} (n {row.n_val})" for row in weak.itertuples())
    left_out = f"; not in val, so not judged: {', '.join(not_judged)}" if not_judged else ""
    print(f"weakest on val by F1 of {args.judged.name}: {shown}{left_out}")
    print(
        f"{len(pictures)} train pictures of these: upsampled adds {counts['upsampled']['added']}, "
        f"isolated {counts['isolated']['added']} ({settings.isolate}; skipped: {skipped})"
    )


if __name__ == "__main__":
    run(main)
