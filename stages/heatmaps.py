"""Pictures and the joints of the people in them -> pictures of one size, and two heatmaps of each.

    python -m stages.heatmaps --params heatmaps.activity.embedded --clean data/boxes/activity
        --split data/splits/activity/activity --pose models/activity-pose --work .work/heatmaps --out data/heatmaps/activity

`out` holds shards (stages/shards.py) of all pictures of train, val and test, in the order of their ids, with the tensors
    rgb      uint8 (n, H, W, 3)   the picture, squeezed to H x W as the document has it
    heatmap  uint8 (n, H, W, 1)   of the joints that the pose model finds on two people (stages/stamps.py)
    truth    uint8 (n, H, W, 1)   of the true joints of two true people, for comparison
and in index.parquet of each picture
    sample_id, part, label, shard, row
    people              which of the people found the heatmap is of, the surest being 0: none, one or two
    truth               which true ones, by their number in people.parquet
    boxes_px, joints_px of those found: 4 numbers each, and x, y, confidence of 16 joints each, in px of the picture
    scale_x, scale_y    px of the picture -> px of the tensors
Killed, the same command goes on behind the last shard; where one of `out` is damaged, it names it and makes that one anew.
"""

import argparse
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from tqdm import tqdm

from stages import inference, stamps
from stages.archives import require_space
from stages.command import run
from stages.files import MANIFEST, DataError, describe_files, require_manifest, sha256_file
from stages.geometry import Boxes
from stages.inference import Item, Network, read_ahead
from stages.networks import family, read_card
from stages.people import ABSENT, JOINT_NAMES
from stages.pictures import RGB, read_picture, resize
from stages.predictions import JOINTS
from stages.samples import BOX_COLUMNS, TEST, TRAIN, VAL, Samples, of_part, read_samples, read_version
from stages.settings import Record, read_params, section
from stages.shards import Tensors, Unfinished
from stages.train import code_in_use, key_of, versions

BATCH_SIZE = 32
CHANNELS = {"rgb": 3, "heatmap": 1, "truth": 1}  # of each tensor of a sample


class HeatmapSettings(Record):
    height_px: int = Field(gt=0)  # of the tensors
    width_px: int = Field(gt=0)
    sigma_px: float = Field(gt=0)  # of a joint's Gaussian, in px of the tensors
    per_shard: int = Field(64, ge=64)  # samples in a file
    score_floor: float = Field(0.25, ge=0, le=1)  # people found who are less sure are not looked at
    joint_floor: float = Field(0.0, ge=0, le=1)  # joints found that are less sure are absent


@dataclass(frozen=True)
class Truth:
    """The true people of one picture."""

    people: NDArray[np.int64]  # (N,) their numbers
    boxes_xyxy_px: Boxes  # (N, 4)
    joints: NDArray[np.float64]  # (N, 16, 3): x, y, and 1 where the joint has a place, seen or occluded, else 0


NOBODY = Truth(np.zeros(0, dtype=np.int64), np.zeros((0, 4)), np.zeros((0, len(JOINT_NAMES), 3)))


@dataclass(frozen=True)
class Shown:
    """One picture on its way."""

    row: Any  # of the samples table, with its part
    rgb: RGB  # as it is stored


def true_people(samples: Samples) -> dict[str, Truth]:
    """The people of each picture that has any, by sample_id. Raises DataError unless each of them has one box."""
    people = samples.people.sort_values(["sample_id", "person"])
    boxes = samples.boxes.sort_values("sample_id", kind="stable")  # of a picture in the order of its people
    if people["sample_id"].tolist() != boxes["sample_id"].tolist():
        differ = people["sample_id"].value_counts().sub(boxes["sample_id"].value_counts(), fill_value=0)
        raise DataError(
            f"{len(people)} people but {len(boxes)} boxes, at {differ.abs().idxmax()} for example: "
            "--clean takes the output of the stage `bboxes`, where each person has one box"
        )
    joints = samples.joints.sort_values(["sample_id", "person", "joint"])
    xyc = np.column_stack([joints[["x_px", "y_px"]], joints["visible"] != ABSENT]).reshape(-1, len(JOINT_NAMES), 3)
    xyxy, numbers = boxes[BOX_COLUMNS].to_numpy(dtype=np.float64), people["person"].to_numpy()
    names, starts = np.unique(people["sample_id"].to_numpy(dtype=str), return_index=True)
    parts = (np.split(values, starts[1:]) for values in (numbers, xyxy, xyc))
    return {str(name): Truth(*part) for name, *part in zip(names, *parts, strict=False)}


def decoded_at_least(width_px: int, height_px: int, settings: HeatmapSettings) -> int:
    """The side in px below which a picture must not be decoded, so that no side has to grow that would not else."""
    return math.ceil(min(width_px, height_px) * max(settings.width_px / width_px, settings.height_px / height_px))


def shown(row: Any, root: Path, network: Network, settings: HeatmapSettings) -> Item:
    """A picture as it is stored and as the pose model sees it, decoded once. Raises LostPicture where it changed."""
    size = row.width_px, row.height_px
    view = network.view(*size)
    rgb = read_picture(root / row.path, row.sha256, max(view.at_least_px, decoded_at_least(*size, settings)))
    return Item(Shown(row, resize(rgb, settings.width_px, settings.height_px)), view.show(rgb), view, *size)


def chosen_heatmap(
    boxes_xyxy_px: Boxes, joints: NDArray[np.float64], width_px: int, height_px: int, settings: HeatmapSettings
) -> tuple[stamps.Heatmap, list[int]]:
    """The heatmap of two of N people and which they are, from their boxes (N, 4) and joints (N, 16, 3) in px of the picture."""
    chosen = stamps.two_people(boxes_xyxy_px, width_px, height_px)
    to_tensor = [settings.width_px / width_px, settings.height_px / height_px, 1]
    stamped = joints[chosen].reshape(-1, 3) * to_tensor
    return stamps.heatmap(stamped, settings.height_px, settings.width_px, settings.sigma_px), chosen


def sample(
    item: Item, found: NDArray[Any], truth: Truth, settings: HeatmapSettings
) -> tuple[tuple[RGB, stamps.Heatmap, stamps.Heatmap], dict[str, Any]]:
    """One picture, the people found on it (N, 6 + 48) and the true ones -> its three tensors, and what the index says of it.

    Raises DataError where what was found is not finite.
    """
    if not np.isfinite(found).all():
        raise DataError(f"{item.of.row.sample_id}: the pose model finds joints that are not finite numbers: train it anew")
    row, size = item.of.row, (item.width_px, item.height_px)
    joints = found[:, 6:].reshape(len(found), len(JOINT_NAMES), 3).astype(np.float64)
    joints[..., 2][joints[..., 2] < settings.joint_floor] = 0
    predicted, people = chosen_heatmap(found[:, :4], joints, *size, settings)
    true, true_chosen = chosen_heatmap(truth.boxes_xyxy_px, truth.joints, *size, settings)
    known = {
        "sample_id": row.sample_id,
        "part": row.part,
        "label": row.label,
        "people": people,
        "truth": truth.people[true_chosen].tolist(),
        "boxes_px": found[people, :4].ravel().round(2).tolist(),
        "joints_px": joints[people].ravel().round(3).tolist(),
        "scale_x": settings.width_px / item.width_px,
        "scale_y": settings.height_px / item.height_px,
    }
    return (item.of.rgb, predicted, true), known


def make_shards(
    network: Network, parts: dict[int, list[Any]], root: Path, truths: dict[str, Truth], settings: HeatmapSettings
) -> Iterator[tuple[int, Tensors, list[dict[str, Any]]]]:
    """(number, tensors, rows of the index) of each shard, from the rows of its pictures. The next one overwrites the tensors.

    Pictures are read ahead of the network, but those of one shard are shown to it by themselves: made anew, a shard is the same
    to the byte, whatever was made before it.
    """
    size = max(map(len, parts.values()), default=0), settings.height_px, settings.width_px
    tensors = {name: np.empty((*size, channels), dtype=np.uint8) for name, channels in CHANNELS.items()}
    items = read_ahead(lambda row: shown(row, root, network, settings), chain.from_iterable(parts.values()), BATCH_SIZE)
    for number, part in parts.items():
        rows = []
        for place, (item, found) in enumerate(inference.run(network, islice(items, len(part)), BATCH_SIZE)):
            assert found is not None
            made, known = sample(item, found, truths.get(item.of.row.sample_id, NOBODY), settings)
            for tensor, values in zip(tensors.values(), made, strict=True):
                tensor[place] = values
            rows.append(known)
        yield number, {name: tensor[: len(part)] for name, tensor in tensors.items()}, rows


def main() -> None:
    parser = argparse.ArgumentParser(description="pictures and a pose model -> tensors with heatmaps of two people")
    parser.add_argument("--params", required=True, help="path of the settings in params.yaml")
    parser.add_argument("--clean", type=Path, required=True, help="the bboxes stage's output")
    parser.add_argument("--split", type=Path, required=True, help="a version of the split, a folder")
    parser.add_argument("--pose", type=Path, required=True, help="a trained pose model, a folder")
    parser.add_argument("--work", type=Path, required=True, help="where finished shards are kept until all are")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    args = parser.parse_args()
    settings = section(args.params, HeatmapSettings, read_params())
    require_manifest(args.clean)
    require_manifest(args.split.parent)
    samples, listed = read_version(args.split, read_samples(args.clean))
    pictures = of_part(samples, listed, TRAIN, VAL, TEST)
    if pictures.empty:
        raise DataError(f"{args.split}: no picture is in train, val or test: there is nothing to make heatmaps of")
    truths = true_people(samples)
    network = family(read_card(args.pose)["family"]).load(args.pose)
    if network.task != JOINTS:
        raise DataError(f"{args.pose} finds no joints (its task is `{network.task}`): --pose takes a pose model")
    network = replace(network, floor=settings.score_floor)
    cv2.setNumThreads(0)  # pictures are resized by as many threads as there are cores already

    inputs = [(folder / MANIFEST).read_text() for folder in (args.clean, args.pose)] + [str(describe_files(args.split))]
    code = [sha256_file(Path(__file__)), *code_in_use()]  # this very file is imported under another name
    key = key_of(settings.model_dump_json(), *inputs, versions(), code)
    rows = list(pictures.itertuples())
    parts = dict(enumerate(rows[start : start + settings.per_shard] for start in range(0, len(rows), settings.per_shard)))
    unfinished = Unfinished(args.work / args.out.name / key, args.out, len(parts))
    for problem in unfinished.problems:
        print(f"{problem}. It is made anew", file=sys.stderr)
    left = {number: parts[number] for number in unfinished.missing()}
    pictures_left = sum(map(len, left.values()))
    args.work.mkdir(parents=True, exist_ok=True)
    needed_bytes = pictures_left * sum(CHANNELS.values()) * settings.height_px * settings.width_px
    require_space(args.work, needed_bytes, f"{args.out}: {pictures_left} pictures")
    bar = tqdm(total=len(rows), initial=len(rows) - pictures_left, desc="heatmaps", unit="", disable=None, leave=False)
    with bar:
        for number, tensors, known in make_shards(network, left, samples.root, truths, settings):
            unfinished.add(number, tensors, known)
            bar.update(len(known))
    index = unfinished.finish()
    found = index["people"].map(len).value_counts()
    print(
        f"{len(index)} pictures in {len(parts)} shards, {len(parts) - len(left)} of them made before; "
        f"people found: two or more on {found.get(2, 0)} pictures, one on {found.get(1, 0)}, nobody on {found.get(0, 0)}"
    )


if __name__ == "__main__":
    run(main)
