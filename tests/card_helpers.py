"""A small data set of camera traps with hostile names, and models of it, for tests of galleries and cards."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stages.pages.study import Study, read_study
from stages.predictions import box_rows, class_rows
from stages.samples import BOX_COLUMNS, EMPTY, SCORED, check_tables, of_part, read_samples, read_version
from tests import training_helpers as tiny
from tests.report_helpers import COST, SCRIPT, evaluate, write_data, write_split

PLACE = '"><img src=x>'
PARTS = ["train"] * 6 + ["val"] * 4 + ["seen"] * 4 + ["unseen"] * 8
LABELS = ["deer", "fox", SCRIPT, "deer", EMPTY, "fox"] + ["deer", SCRIPT, EMPTY, "fox"] * 4
IDS = [f"p{n:02}" for n in range(len(LABELS) - 1)] + ["<i>&q"]
KNOWN = ["deer", "fox", SCRIPT, EMPTY]
SIZE_PX = (60, 80)  # height, width


def write_project(out: Path, size_px: tuple[int, int] = SIZE_PX) -> None:
    """Clean data and a split in `out`: every animal has one box, from a quarter to three quarters of its picture."""
    height, width = size_px
    named = enumerate(zip(IDS, LABELS, strict=True))
    grey = {name: (label, np.full((height, width, 3), (60 + 5 * n) % 256, np.uint8)) for n, (name, label) in named}
    pictures = tiny.table(out / "raw", grey)
    pictures["location"] = [f"{PLACE}{n // 6}" for n in range(len(pictures))]
    boxes = pictures.loc[pictures["label"] != EMPTY, ["sample_id", "label"]].assign(**box(width, height))
    pictures, boxes = check_tables(pictures, boxes.reset_index(drop=True))
    counts = {
        "pictures": {"in": len(LABELS) + 3, "kept": len(LABELS), "rejected": 3},
        "annotations": {"boxes": len(boxes)},
        "rejected_because": {"picture": {"duplicate_content": 2, "empty_file": 1}},
    }
    write_data(out / "clean", out / "raw", {"samples": pictures, "boxes": boxes}, counts)
    write_split(out / "splits", "class", pictures, PARTS)


def box(width: float, height: float, left: float = 0.25) -> dict[str, float]:
    return dict(zip(BOX_COLUMNS, [left * width, 0.25 * height, 0.75 * width, 0.75 * height], strict=True))


def scored() -> pd.DataFrame:
    """The pictures that are scored, with their part; of the project in the working folder."""
    return of_part(*read_version(Path("splits/class"), read_samples(Path("clean"))), *SCORED)


def classifier(stage: Callable[..., Any], name: str, said: dict[str, tuple[str, float]]) -> None:
    """Evaluate a model that is right with 0.7 everywhere but where `said` has its answer: class, score."""
    scores = {}
    for row in scored().itertuples():
        answer, sure = said.get(row.sample_id, (row.label, 0.7))
        scores[row.sample_id] = {label: sure if label == answer else (1 - sure) / (len(KNOWN) - 1) for label in KNOWN}
    evaluate(stage, name, class_rows(pd.DataFrame(scores).T), KNOWN, Path("splits/class"), cost=COST)


def detector(stage: Callable[..., Any], name: str, found: pd.DataFrame) -> None:
    """Evaluate a model that found these boxes: sample_id, label, score, BOX_COLUMNS."""
    evaluate(stage, name, box_rows(found, scored()["sample_id"]), KNOWN, Path("splits/class"), cost=COST)


def study() -> Study:
    """The study of the project in the working folder."""
    for name in ("metrics", "answers", "predictions"):
        Path(name).mkdir(exist_ok=True)
    folders = (Path(name) for name in ("clean", "splits", "metrics", "answers", "predictions", "shows"))
    return read_study("wood <em>", [], *folders)
