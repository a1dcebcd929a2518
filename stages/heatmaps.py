"""Pictures and the joints of the people in them -> pictures of one size, and two heatmaps of each.

    python -m stages.heatmaps --params heatmaps.activity.embedded --clean data/boxes/activity
        --split data/splits/activity/activity --pose models/activity-pose --work .work/heatmaps --out data/heatmaps/activity

`out` holds shards (stages/shards.py) of all pictures of train, val and test, in the order of their ids, with the tensors
    rgb_heatmap  uint8 (n, H, W, 4)  the picture, squeezed to H x W as the document has it, and the heatmap of the joints that
                                     the pose model finds on two people (stages/stamps.py)
    truth        uint8 (n, H, W, 1)  the heatmap of the true joints of two true people, for comparison
in index.parquet of each picture
    sample_id, part, label, shard, row
    people              which of the people found the heatmap is of, the surest being 0: none, one or two
    truth               which true ones, by their number in people.parquet
    boxes_px, joints_px of those found: 4 numbers each, and x, y, confidence of 16 joints each, in px of the picture
    scale_x, scale_y    px of the picture -> px of the tensors
and in made.json what a picture needs to become such a tensor again: `pose`, `pose_sha256` of its weights, `settings`.
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
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field
from tqdm import tqdm

from stages import inference, networks, stamps
from stages.archives import require_space
from stages.command import run
from stages.files import MANIFEST, DataError, describe_files, require_manifest, sha256_file
from stages.fingerprint import code_in_use, key_of, versions
from stages.geometry import Boxes
from stages.inference import Item, Network, read_ahead
from stages.people import ABSENT, found_joints, points
from stages.pictures import RGB, read_picture, resize
from stages.predictions import JOINTS
from stages.samples import BOX_COLUMNS, TEST, TRAIN, VAL, of_part, read_samples, read_version, true_people
from stages.settings import Record, read_params, section
from stages.shards import Tensors, Unfinished
from stages.views import View

BATCH_SIZE = 32
CHANNELS = {"rgb_heatmap": 4, "truth": 1}  # of each tensor of a sample


class HeatmapSettings(Record):
    height_px: int = Field(gt=0)  # of the tensors
    width_px: int = Field(gt=0)
    sigma_px: float = Field(gt=0)  # of a joint's Gaussian, in px of the tensors
    per_shard: int = Field(64, ge=64)  # samples in a file
    score_floor: float = Field(0.25, ge=0, le=1)  # people found who are less sure are not looked at
    joint_floor: float = Field(0.0, ge=0, le=1)  # joints found that are less sure are absent


@dataclass(frozen=True)
class Shown:
    """One picture on its way."""

    row: Any  # of the samples table, with its part
    rgb: RGB  # as it is stored


def decoded_at_least(view: View, width_px: int, height_px: int, settings: HeatmapSettings) -> int:
    """The side in px below which a picture must not be decoded, to be seen by the pose model and by a classifier behind it.

    No side has to grow then that would not else.
    """
    share = max(settings.width_px / width_px, settings.height_px / height_px)
    return max(view.at_least_px, math.ceil(min(width_px, height_px) * share))


def shown(row: Any, root: Path, network: Network, settings: HeatmapSettings) -> Item:
    """A picture as it is stored and as the pose model sees it, decoded once. Raises LostPicture where it changed."""
    size = row.width_px, row.height_px
    view = network.view(*size)
    rgb = read_picture(root / row.path, row.sha256, decoded_at_least(view, *size, settings))
    return Item(Shown(row, resize(rgb, settings.width_px, settings.height_px)), view.show(rgb), view, *size)


def chosen_heatmap(
    boxes_xyxy_px: Boxes, joints: NDArray[np.float64], width_px: int, height_px: int, settings: HeatmapSettings
) -> tuple[stamps.Heatmap, list[int]]:
    """The heatmap of two of N people and which they are, from their boxes (N, 4) and joints (N, 16, 3) in px of the picture."""
    chosen = stamps.two_people(boxes_xyxy_px, width_px, height_px)
    to_tensor = [settings.width_px / width_px, settings.height_px / height_px, 1]
    stamped = joints[chosen].reshape(-1, 3) * to_tensor
    stamped = stamped[stamped[:, 2] >= settings.joint_floor]
    return stamps.heatmap(stamped, settings.height_px, settings.width_px, settings.sigma_px), chosen


def stacked(
    rgb: RGB, boxes_xyxy_px: Boxes, joints: NDArray[np.float64], width_px: int, height_px: int, settings: HeatmapSettings
) -> NDArray[np.uint8]:
    """One picture and the N people found on it -> uint8 (H, W, 4): red, green, blue and heatmap, as a classifier is shown them.

    `rgb` (h, w, 3) is of any size, decoded at `decoded_at_least` in the stage; boxes (N, 4) and joints (N, 16, 3) are in px of
    the picture at its own size, `width_px` x `height_px`. People below `score_floor` are the caller's to leave out.
    """
    found, _ = chosen_heatmap(boxes_xyxy_px, joints, width_px, height_px, settings)
    return cv2.merge((resize(rgb, settings.width_px, settings.height_px), found))  # type: ignore[return-value]  # uint8


def sample(
    item: Item, found: NDArray[Any], truth: pd.DataFrame, settings: HeatmapSettings
) -> tuple[tuple[NDArray[np.uint8], stamps.Heatmap], dict[str, Any]]:
    """One picture, the people found on it (N, 6 + 48) and the true ones -> its two tensors, and what the index says of it.

    Raises DataError where what was found is not finite.
    """
    row, size = item.of.row, (item.width_px, item.height_px)
    boxes, joints = found[:, :4], found_joints(found, row.sample_id)
    picture, people = stacked(item.of.rgb, boxes, joints, *size, settings), stamps.two_people(boxes, *size)
    true_joints = points(truth)
    true_joints[..., 2] = true_joints[..., 2] != ABSENT  # seen or occluded, a joint has a place
    true, true_chosen = chosen_heatmap(truth[BOX_COLUMNS].to_numpy(dtype=np.float64), true_joints, *size, settings)
    known = {
        "sample_id": row.sample_id,
        "part": row.part,
        "label": row.label,
        "people": people,
        "truth": truth["person"].iloc[true_chosen].tolist(),
        "boxes_px": boxes[people].ravel().round(2).tolist(),
        "joints_px": joints[people].ravel().round(3).tolist(),
        "scale_x": settings.width_px / item.width_px,
        "scale_y": settings.height_px / item.height_px,
    }
    return (picture, true), known


def make_shards(
    network: Network, parts: dict[int, list[Any]], root: Path, people: pd.DataFrame, settings: HeatmapSettings
) -> Iterator[tuple[int, Tensors, list[dict[str, Any]]]]:
    """(number, tensors, rows of the index) of each shard, from the rows of its pictures and `samples.true_people`.

    The next one overwrites the tensors. Pictures are read ahead of the network, but those of one shard are shown to it by
    themselves: made anew, a shard is the same to the byte, whatever was made before it.
    """
    true, nobody = dict(iter(people.groupby("sample_id"))), people.iloc[:0]
    size = max(map(len, parts.values()), default=0), settings.height_px, settings.width_px
    tensors = {name: np.empty((*size, channels), dtype=np.uint8) for name, channels in CHANNELS.items()}
    items = read_ahead(lambda row: shown(row, root, network, settings), chain.from_iterable(parts.values()), BATCH_SIZE)
    for number, part in parts.items():
        rows = []
        for place, (item, found) in enumerate(inference.run(network, islice(items, len(part)), BATCH_SIZE)):
            assert found is not None
            made, known = sample(item, found, true.get(item.of.row.sample_id, nobody), settings)
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
    people = true_people(samples.people, samples.joints, samples.boxes)
    network = networks.load(args.pose)
    if network.task != JOINTS:
        raise DataError(f"{args.pose} finds no joints (its task is `{network.task}`): --pose takes a pose model")
    network = replace(network, floor=settings.score_floor)
    cv2.setNumThreads(0)  # pictures are resized by as many threads as there are cores already

    inputs = [(folder / MANIFEST).read_text() for folder in (args.clean, args.pose)] + [str(describe_files(args.split))]
    key = key_of(settings.model_dump_json(), *inputs, versions(), code_in_use())
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
        for number, tensors, known in make_shards(network, left, samples.root, people, settings):
            unfinished.add(number, tensors, known)
            bar.update(len(known))
    pose = {"pose": args.pose.name, "pose_sha256": sha256_file(args.pose / "weights.safetensors")}
    index = unfinished.finish(pose | {"settings": settings.model_dump()})
    found = index["people"].map(len).value_counts()
    print(
        f"{len(index)} pictures in {len(parts)} shards, {len(parts) - len(left)} of them made before; "
        f"people found: two or more on {found.get(2, 0)} pictures, one on {found.get(1, 0)}, nobody on {found.get(0, 0)}"
    )


if __name__ == "__main__":
    run(main)
