"""What the drawn data sets share: how their pictures are drawn by several processes, written, and some of them harmed."""

import multiprocessing
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

FIRST_SERIAL, OF_EACH_FAULT = 1_000_000, 1000  # harmed pictures are numbered from here, those of each fault in a row
STEP = 7919  # a prime: from one good picture that is copied to the next


Given = TypeVar("Given")
Row = TypeVar("Row")
Plan = TypeVar("Plan")
Settings = TypeVar("Settings")


class Picture(Protocol):
    """One picture with what its data set says of it."""

    @property
    def name(self) -> str: ...

    @property
    def jpeg(self) -> bytes: ...


P = TypeVar("P", bound=Picture)


def encode(rgb: NDArray[np.uint8], quality: int) -> bytes:
    """The bytes of a JPEG."""
    return cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def drawn(draw: Callable[[Given], Row], jobs: Sequence[Given], workers: int | None) -> list[Row]:
    """`draw` of each job, in their order, by as many processes as `workers` says, or as there are cores if None."""
    workers = workers or os.cpu_count() or 1
    if workers == 1:
        return [draw(job) for job in jobs]
    with multiprocessing.get_context("spawn").Pool(workers, cv2.setNumThreads, (1,)) as pool:
        return list(pool.imap(draw, jobs, chunksize=8))


def drawn_into(job: tuple[Callable[[Plan, Settings], P], Plan, Settings, Path]) -> P:
    """Draw one picture by (how, what, settings, folder), and leave its file in the folder."""
    draw, plan, settings, images = job
    picture = draw(plan, settings)
    (images / picture.name).write_bytes(picture.jpeg)
    return picture


def plant(
    pictures: list[P],
    images: Path,
    counts: Mapping[str, int],
    copied: Mapping[str, int],
    draw: Callable[[str, int, int], P],
    rename: Callable[[P, int], P],
    relabel: Callable[[P], P],
    harm: Callable[[str, P, int], list[P]],
) -> dict[str, list[str]]:
    """Add pictures with faults to `pictures` (in place) and to the folder of images. Returns {fault: file names}.

    Of each fault as many as `counts` says: a copy of a good picture, the first of which `copied` numbers for its fault;
    for every other one of `same_bytes_other_label` the picture before it, relabelled; else one drawn for it, by (fault, its
    number among those of the fault, serial number). A copy is renamed by its serial number. `harm`, by (fault, picture, its
    number), returns the rows of the picture with its fault: none are written of `file_not_listed`, no file of `file_missing`.
    """
    good = list(pictures)
    planted: dict[str, list[str]] = {}
    for kind, (fault, count) in enumerate(counts.items()):
        planted[fault] = []
        for number in range(count):
            serial = FIRST_SERIAL + OF_EACH_FAULT * kind + number
            if fault in copied:
                picture = rename(good[(copied[fault] + STEP * number) % len(good)], serial)
            elif fault == "same_bytes_other_label" and number % 2:
                picture = relabel(rename(picture, serial))
            else:
                picture = draw(fault, number, serial)
            rows = harm(fault, picture, number)
            if fault != "file_missing":
                (images / rows[0].name).write_bytes(rows[0].jpeg)
            if fault != "file_not_listed":
                pictures += rows
            planted[fault].append(rows[0].name)
    return planted
