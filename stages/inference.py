"""A trained model in use: what its family loads, and the one loop that shows it pictures, frames or what lies in boxes.

Threads read and resize a few pictures ahead of the network; results come in the order of what was asked, and no more is in
memory than a few batches, however many there are. Letters: B of a batch, h and w its sides, C classes, N boxes of a picture.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from stages import geometry
from stages.clip_views import Clip
from stages.files import DataError
from stages.geometry import Boxes
from stages.pictures import RGB, at_least_for, cut, read_picture
from stages.predictions import BOX, CLASS, JOINTS, box_rows, check_predictions, class_rows
from stages.regions import Regions, listed_animals
from stages.samples import BOX_COLUMNS, EMPTY
from stages.views import View

BATCH_SIZE = 64
_AHEAD = 4  # batches' worth of items that may wait for others of their shape
# Probabilities (C,); or boxes (N, 6): xyxy, score, class number; or people (N, 6 + 48): also x, y, confidence of each joint.
Found = NDArray[Any]
Job = TypeVar("Job")
Read = TypeVar("Read")


@dataclass(frozen=True)
class Network:
    """A trained model in use, as a family's `load` gives it."""

    card: dict[str, Any]  # its model.json
    task: str  # of its outputs: CLASS, BOX or JOINTS
    classes: tuple[str, ...]  # of its outputs
    module: nn.Module  # uint8 (B, h, w, 3) RGB, or (B, views, frames, h, w, 3) -> what `finish` takes; in evaluation mode
    finish: Callable[
        [Any, float], list[Found]
    ]  # (that, floor) -> for each of B: probabilities, or boxes in px, the surest first
    view: Callable[[int, int], View]  # how a picture of a width and height in px is shown to it
    regions: Regions | None = None  # where it classifies what lies in a detector's boxes, not whole pictures
    # Where it is shown what another stage made and stored, by its folder: sample_id -> uint8 (h, w, channels), or of a clip
    # (views, frames, h, w, 3).
    stored: Callable[[Path], Callable[[str], NDArray[np.uint8]]] | None = None
    clip: Clip | None = None  # where it is shown clips, not pictures: how
    batch_size: int | None = None  # how many of what it is shown to hold at a time; None: as many as the caller says
    half: bool = False  # on a GPU in bfloat16
    floor: float = 0.0  # boxes less sure are not wanted; none that is surer depends on them
    # Where a figure shows what goes into its last layer: (pictures with their `part`, their root, seed) -> that figure's data,
    # or None where this network has no such figure.
    plane: Callable[[pd.DataFrame, Path, int], dict[str, Any] | None] | None = None

    def __call__(self, batch: NDArray[np.uint8]) -> list[Found]:
        device = next(self.module.parameters()).device
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=self.half and device.type == "cuda"):
            return self.finish(self.module(torch.from_numpy(batch).to(device)), self.floor)


def device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


@dataclass(frozen=True)
class Item:
    """One thing to show to a network."""

    of: Any  # what it is, as the caller names it
    rgb: RGB | None = None  # as `view` shows it; None: there is nothing to show, and the result is None
    view: View | None = None
    width_px: int = 0  # of the picture at its own size, the right way up
    height_px: int = 0


def run(network: Network, items: Iterable[Item], batch_size: int = BATCH_SIZE) -> Iterator[tuple[Item, Found | None]]:
    """Each item and what was found of it, in their order; boxes in px of the picture at its own size, none without area.

    Batches hold items of one shape. An item waits for others of its shape until `_AHEAD` batches' worth are waiting.
    """
    waiting: deque[Item] = deque()  # in order; found or not
    found: dict[int, Found | None] = {}  # by id() of the item, while it waits
    shapes: dict[tuple[int, ...], list[Item]] = {}
    unseen = 0

    def see(shape: tuple[int, ...]) -> int:
        batch = shapes.pop(shape)
        results = network(np.stack([item.rgb for item in batch if item.rgb is not None]))
        for item, result in zip(batch, results, strict=True):
            found[id(item)] = result if network.task == CLASS else _at_full_size(result, item)
        return len(batch)

    def ready() -> Iterator[tuple[Item, Found | None]]:
        while waiting and id(waiting[0]) in found:
            item = waiting.popleft()
            yield item, found.pop(id(item))

    for item in items:
        waiting.append(item)
        if item.rgb is None:
            found[id(item)] = None
        else:
            same = shapes.setdefault(item.rgb.shape, [])
            same.append(item)
            unseen += 1
            if len(same) == batch_size:
                unseen -= see(item.rgb.shape)
            elif unseen > _AHEAD * batch_size:
                unseen -= see(next(i.rgb.shape for i in waiting if i.rgb is not None and id(i) not in found))
        yield from ready()
    for shape in list(shapes):
        see(shape)
    yield from ready()


def _at_full_size(boxes: Found, item: Item) -> Found:
    assert item.view is not None
    xyxy = item.view.back(boxes[:, :4], item.width_px, item.height_px)
    rest = boxes[:, 4:].copy()
    for axis, (margin, scale) in enumerate(item.view.to_full_size(item.width_px, item.height_px)):  # joints lie after 2 numbers
        rest[:, 2 + axis :: 3] = (rest[:, 2 + axis :: 3] - margin) * scale
    return np.column_stack([xyxy, rest])[geometry.area(xyxy) > 0]


def threads() -> int:
    return min(16, os.cpu_count() or 1)


def read_ahead(read: Callable[[Job], Read], jobs: Iterable[Job], ahead: int = BATCH_SIZE) -> Iterator[Read]:
    """`read(job)` for each job, in their order, by threads that are up to `ahead` jobs in front."""
    with ThreadPoolExecutor(threads()) as pool:
        waiting: deque[Future[Read]] = deque()
        try:
            for job in jobs:
                waiting.append(pool.submit(read, job))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def shown_regions(
    of: list[Any], decode_at: Callable[[int], RGB], squares_xyxy_px: Boxes, width_px: int, height_px: int, view: View
) -> list[Item]:
    """What lies in each square (N, 4) of one picture, decoded once by `decode_at(shorter side in px at least)`."""
    if not of:
        return []
    sides = [at_least_for(view.at_least_px, width_px, height_px, square) for square in squares_xyxy_px]
    rgb = decode_at(max(sides))
    return [
        Item(name, view.show(cut(rgb, width_px, square)), view, width_px, height_px)
        for name, square in zip(of, squares_xyxy_px, strict=True)
    ]


def shown(
    network: Network, pictures: pd.DataFrame, root: Path, batch_size: int = BATCH_SIZE, stored: Path | None = None
) -> Iterator[Item]:
    """The pictures of a samples table, in its order, as `network` is shown them whole. For the rest see `predict`."""
    if network.stored is not None and stored is None:
        raise DataError("this model reads what another stage stored, heatmaps or clips, and no such folder was given")
    read_stored = network.stored(stored) if network.stored is not None and stored is not None else None

    def read(row: Any) -> Item:
        if read_stored is not None:
            return Item(row.sample_id, read_stored(row.sample_id))
        view = network.view(row.width_px, row.height_px)
        rgb = view.show(read_picture(root / row.path, row.sha256, view.at_least_px))
        return Item(row.sample_id, rgb, view, row.width_px, row.height_px)

    return read_ahead(read, pictures.itertuples(), batch_size)


def predict(
    network: Network,
    pictures: pd.DataFrame,
    root: Path,
    batch_size: int = BATCH_SIZE,
    boxes: pd.DataFrame | None = None,
    stored: Path | None = None,
) -> pd.DataFrame:
    """A predictions table for a samples table, in its order. Raises LostPicture for one that changed since `clean`.

    `boxes` are a detector's predictions for the same pictures, which a network of regions wants: a class for each box that is
    sure enough, its score the detector's times the classifier's. `stored` is the folder that a network of stored ones wants.
    """
    if network.regions is not None:
        return _classified_boxes(network, pictures, root, batch_size, boxes)
    batch_size = network.batch_size or batch_size
    results = run(network, shown(network, pictures, root, batch_size, stored), batch_size)
    if network.task == CLASS:
        scores = np.array([found for _, found in results], dtype=np.float64).reshape(-1, len(network.classes))
        return class_rows(pd.DataFrame(scores, index=pictures["sample_id"].to_numpy(), columns=list(network.classes)))
    parts = [
        pd.DataFrame(found[:, :4], columns=BOX_COLUMNS).assign(
            sample_id=item.of,
            label=[network.classes[int(number)] for number in found[:, 5]],
            score=found[:, 4],
            **({"joints": list(found[:, 6:])} if network.task == JOINTS else {}),
        )
        for item, found in results
        if found is not None and len(found)
    ]
    none = pd.DataFrame(columns=["sample_id", "label", "score", *BOX_COLUMNS])
    return box_rows(pd.concat(parts, ignore_index=True) if parts else none, pictures["sample_id"], network.task)


def _classified_boxes(
    network: Network, pictures: pd.DataFrame, root: Path, batch_size: int, boxes: pd.DataFrame | None
) -> pd.DataFrame:
    regions = network.regions
    assert regions is not None
    if regions.listed is not None:
        boxes = box_rows(listed_animals(regions.listed, pictures), pictures["sample_id"])
    if boxes is None:
        raise DataError("this model classifies the boxes of a detector, and none were given: name one in the entry's `needs`")
    detected = check_predictions(boxes[boxes["sample_id"].isin(pictures["sample_id"])], pictures["sample_id"])
    if (detected["task"] != BOX).any():
        raise DataError("the boxes given are of no detector: let the entry's `needs` name a model that finds boxes")
    of_picture = dict(iter(detected[detected["label"] != EMPTY].groupby("sample_id")))
    jobs, looked_at = [], []
    for row in pictures.itertuples():
        if row.sample_id in of_picture:
            found = of_picture[row.sample_id]
            found = found.iloc[regions.kept(found[BOX_COLUMNS], found["score"])]
            jobs.append((row, found[BOX_COLUMNS].to_numpy()))
            looked_at.append(found)

    def read(job: tuple[Any, Boxes]) -> list[Item]:
        row, xyxy = job
        size = row.width_px, row.height_px
        squares = regions.squares(xyxy, *(np.full(len(xyxy), side) for side in size))
        names = [row.sample_id] * len(xyxy)
        return shown_regions(
            names, lambda px: read_picture(root / row.path, row.sha256, px), squares, *size, network.view(*size)
        )

    items: Iterable[Item] = chain.from_iterable(read_ahead(read, jobs, batch_size))
    scores = np.array([found for _, found in run(network, items, batch_size)]).reshape(-1, len(network.classes))
    columns = ["sample_id", "label", "score", *BOX_COLUMNS]
    table = pd.concat(looked_at, ignore_index=True)[columns] if looked_at else pd.DataFrame(columns=columns)
    named = [network.classes[number] for number in scores.argmax(axis=1)]
    table = table.assign(label=named, score=table["score"].astype(float) * scores.max(axis=1, initial=0))
    return box_rows(table, pictures["sample_id"])
