"""Boxes of people from their joints: data/clean/<dataset> -> data/boxes/<dataset>, a folder of the same shape with boxes.

    python -m stages.bboxes --params bboxes.activity.embedded --clean data/clean/activity --out data/boxes/activity

A box goes from the least to the greatest x and y of the joints that are there, and further where those that end a body are not:
upwards without a head-top, downwards without both ankles. It is then cut at the picture's edge.
"""

import argparse
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from pydantic import Field

from stages import geometry
from stages.command import run
from stages.files import DataError, new_folder, read_json, require_manifest, write_json
from stages.joints import has_place, padded_boxes
from stages.people import PERSON
from stages.samples import BOX_COLUMNS, Samples, check_tables, read_samples
from stages.settings import Record, read_params, section

_KEY = ["sample_id", "person"]


class BoxesSettings(Record):
    head_padding: float = Field(0.10, ge=0)  # of the height of the box around the joints, where there is no head-top
    feet_padding: float = Field(0.15, ge=0)  # the same, where there is neither ankle


class Boxed(NamedTuple):
    """What `boxed` makes: tables in the order of (sample_id, person), and rows for rejects.csv."""

    pictures: pd.DataFrame
    boxes: pd.DataFrame  # a row for each of `people`
    people: pd.DataFrame
    joints: pd.DataFrame
    rejects: pd.DataFrame
    counts: dict[str, Any]


def boxed(samples: Samples, settings: BoxesSettings) -> Boxed:
    """A box for each person. Who has none, without width or height, is refused, and then a picture with nobody left.

    Raises DataError where the samples are not of people, or nobody is left.
    """
    if samples.people.empty:
        raise DataError("no people in the samples: boxes come from joints. Does the data set's adapter read any?")
    people = samples.people.sort_values(_KEY, ignore_index=True)
    joints = samples.joints.sort_values([*_KEY, "joint"], ignore_index=True)
    places = joints[["x_px", "y_px"]].to_numpy(dtype=float).reshape(-1, 16, 2)
    present = has_place(joints).to_numpy().reshape(-1, 16)
    whole, head, feet = padded_boxes(places, present, settings.head_padding, settings.feet_padding)
    size = samples.pictures.set_index("sample_id").loc[people["sample_id"], ["width_px", "height_px"]].to_numpy(dtype=float)
    xyxy = geometry.clip(whole, size[:, 0], size[:, 1])
    good = (xyxy[:, 2:] > xyxy[:, :2]).all(axis=1)

    pictures = samples.pictures[samples.pictures["sample_id"].isin(people["sample_id"][good])]
    nobody = samples.pictures.drop(index=pictures.index)
    boxes = pd.DataFrame({"sample_id": people["sample_id"], "label": PERSON}).join(pd.DataFrame(xyxy, columns=BOX_COLUMNS))
    pictures, boxes = check_tables(pictures.reset_index(drop=True), boxes[good].reset_index(drop=True))
    if boxes.empty:
        raise DataError(f"nobody is left of {len(people)} people: no box has a width and a height. Are the joints in px?")
    refused = people[~good]
    rejects = pd.DataFrame(
        {
            "kind": ["person"] * len(refused) + ["picture"] * len(nobody),
            "row": [*(refused["sample_id"] + " person " + refused["person"].astype(str)), *nobody["sample_id"]],
            "name": [*refused["sample_id"], *nobody["path"]],
            "reason": ["box_without_area"] * len(refused) + ["nobody_left"] * len(nobody),
            "detail": ["its joints span no width or no height"] * len(refused) + ["nobody in it has a box"] * len(nobody),
        }
    )
    counts = {
        "pictures": {"in": len(samples.pictures), "kept": len(pictures), "rejected": len(nobody)},
        "people": {"in": len(people), "kept": len(boxes), "rejected": len(refused)},
        "padded_at_head": int((head & good).sum()),
        "padded_at_feet": int((feet & good).sum()),
        "clipped": int(((xyxy != whole).any(axis=1) & good).sum()),
    }
    joints = joints[good.repeat(16)].reset_index(drop=True)
    return Boxed(pictures, boxes, people[good].reset_index(drop=True), joints, rejects, counts)


def main() -> None:
    parser = argparse.ArgumentParser(description="joints -> the same tables with a box for each person")
    parser.add_argument("--params", required=True, help="path of the settings in params.yaml")
    parser.add_argument("--clean", type=Path, required=True, help="the clean stage's output")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    args = parser.parse_args()
    settings = section(args.params, BoxesSettings, read_params())
    require_manifest(args.clean)
    pictures, boxes, people, joints, rejects, counts = boxed(read_samples(args.clean), settings)
    earlier = pd.read_csv(args.clean / "rejects.csv", keep_default_na=False, dtype=str)
    with new_folder(args.out) as out:
        for name, table in {"samples": pictures, "boxes": boxes, "people": people, "joints": joints}.items():
            table.to_parquet(out / f"{name}.parquet", index=False)
        pd.concat([earlier, rejects]).to_csv(out / "rejects.csv", index=False)
        write_json(out / "counts.json", read_json(args.clean / "counts.json") | {"boxed": counts})
        shutil.copyfile(args.clean / "source.json", out / "source.json")
    print(
        f"{counts['people']['in']} people in, {counts['people']['kept']} boxes: {counts['padded_at_head']} padded at the head, "
        f"{counts['padded_at_feet']} at the feet, {counts['clipped']} cut at an edge"
    )


if __name__ == "__main__":
    run(main)
