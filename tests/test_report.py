"""The report stage itself: which page a data set gets, what its summary says, and that it writes whole or not at all."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from stages.files import check_manifest, read_json
from stages.pages import of_cameras, of_clips, of_people, of_photos
from stages.pages.study import Study, table_of
from stages.predictions import class_rows
from stages.report import kind_of
from stages.samples import SCORED, check_tables, of_part, read_samples, read_version
from tests import training_helpers as tiny
from tests.report_helpers import SCRIPT, evaluate, run_report, write_data, write_split

LABELS = ["deer", SCRIPT] * 9
PARTS = ["train"] * 6 + ["val"] * 4 + ["seen"] * 4 + ["unseen"] * 4


@pytest.mark.parametrize(
    ("people", "videos", "locations", "expected"),
    [
        (1, 0, ["a"], of_people),
        (0, 1, [None], of_clips),
        (0, 0, [None], of_photos),
        (0, 0, [None, "a"], of_cameras),
    ],
)
def test_a_data_set_gets_the_page_of_its_kind(people: int, videos: int, locations: list[str], expected: ModuleType) -> None:
    pictures = pd.DataFrame({"location": locations})
    study = SimpleNamespace(samples=SimpleNamespace(people=[0] * people, videos=[0] * videos, pictures=pictures))
    assert kind_of(cast(Study, study)) is expected


@pytest.fixture
def project(stage: Callable[..., Any], tmp_path: Path) -> Path:
    """Clean data of two classes at several locations, its split, and one model."""
    names = [f"p{n:02}" for n in range(len(LABELS))]
    looks = {
        name: (label, np.full((30, 40, 3), 90 + n, np.uint8)) for n, (name, label) in enumerate(zip(names, LABELS, strict=True))
    }
    pictures = tiny.table(tmp_path / "raw", looks).assign(location=[f"l{n // 4}" for n in range(len(LABELS))])
    pictures, boxes = check_tables(pictures, tiny.no_boxes())
    counts = {
        "pictures": {"in": 18, "kept": 18, "rejected": 0},
        "annotations": {"boxes": 0},
        "rejected_because": {"picture": {}},
    }
    write_data(tmp_path / "clean", tmp_path / "raw", {"samples": pictures, "boxes": boxes}, counts)
    write_split(tmp_path / "splits", "class", pictures, PARTS)
    rows = of_part(*read_version(tmp_path / "splits/class", read_samples(tmp_path / "clean")), *SCORED)
    scores = {row.sample_id: {label: 0.7 if label == row.label else 0.3 for label in set(LABELS)} for row in rows.itertuples()}
    evaluate(stage, "plain", class_rows(pd.DataFrame(scores).T), sorted(set(LABELS)), tmp_path / "splits/class")
    return tmp_path


MODELS = {"plain": {"dataset": "d"}, f"{SCRIPT}not-run": {"dataset": "d"}, "other": {"dataset": "e"}}


def test_the_summary_has_the_figures_of_the_metrics_and_names_what_is_missing(stage: Callable[..., Any], project: Path) -> None:
    done = run_report(stage, "d", models=MODELS)
    assert done.code == 0, done.err
    found, metrics = read_json(Path("page/summary.json")), read_json(Path("metrics/plain.json"))
    assert (found["dataset"], found["label"], found["samples"], found["of"]) == ("d", "your data", 18, "pictures")
    assert (found["evaluated"], found["missing"], found["left_out"]) == (["plain"], [f"{SCRIPT}not-run"], [])
    assert (found["citation"], found["licence"], found["claims"]) == ("Ours", "<u>CC0</u>", [])
    headline = found["headline"]
    (row,) = headline["models"]
    assert (headline["best"], headline["n"], row["model"]) == ("plain", metrics["unseen"]["n"], "plain")
    unseen = metrics["unseen"]
    assert (row["value"], row["low"], row["high"]) == (unseen["f1_macro"], unseen["f1_macro_low"], unseen["f1_macro_high"])
    assert check_manifest(Path("page")) == []
    assert {"index.html", "data.html", "models/plain.html"} <= {*read_json(Path("page/manifest.json"))}


def test_the_same_input_gives_the_same_bytes(stage: Callable[..., Any], project: Path) -> None:
    manifests = []
    for _ in range(2):
        assert run_report(stage, "d", models=MODELS).code == 0
        manifests.append(read_json(Path("page/manifest.json")))
    assert manifests[0] == manifests[1]


def test_the_pages_are_written_whole_or_not_at_all(
    stage: Callable[..., Any], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_report(stage, "d", models=MODELS).code == 0
    before = read_json(Path("page/manifest.json"))

    def fails(*_: object) -> None:
        raise RuntimeError("the disk is full")

    monkeypatch.setattr("stages.pages.cards.write", fails)
    with pytest.raises(RuntimeError, match="the disk is full"):
        run_report(stage, "d", models=MODELS)
    assert read_json(Path("page/manifest.json")) == before
    assert check_manifest(Path("page")) == []
    assert sorted(path.name for path in project.iterdir() if "partial" in path.name) == []


def test_what_a_data_set_lacks_on_the_command_line_is_named(stage: Callable[..., Any]) -> None:
    done = stage("report", "--dataset", "d", "--clean", "clean", params={"models": {}})
    assert done.code == 1
    assert "--splits, --metrics, --answers, --predictions, --shows" in done.err


def test_a_class_may_be_called_as_a_number_or_na_and_missing_tables_have_no_row(tmp_path: Path) -> None:
    (tmp_path / "m.classes.csv").write_text(
        "part,label,n,predicted,recall,in_train\ntest,1,2,3,0.5,False\ntest,NA,1,0,,True\nval,1,1,1,1,True\n"
    )
    rows = table_of(tmp_path, "m", "classes", "test")
    assert rows["label"].tolist() == ["1", "NA"] and rows["predicted"].tolist() == [3, 0]
    assert rows["recall"].isna().tolist() == [False, True] and rows["in_train"].tolist() == [False, True]
    assert len(table_of(tmp_path, "m", "classes")) == 3
    assert table_of(tmp_path, "m", "confusion", "test").empty
