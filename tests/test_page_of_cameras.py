"""The page of a data set: every figure that was measured, read offline, whatever the users call their animals and files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.files import write_json
from stages.pages.of_cameras import choices, mistakes
from stages.pages.study import read_models
from stages.predictions import box_rows, class_rows
from stages.samples import BOX_COLUMNS, EMPTY, SCORED, check_tables, of_part, read_samples, read_version
from tests import report_helpers
from tests import training_helpers as tiny
from tests.report_helpers import COST, SCRIPT, Page, evaluate, write_data, write_split

NEVER = "wolf & <b>cub</b>"  # a class that only train has
PARTS = ["train"] * 6 + ["val"] * 4 + ["seen"] * 4 + ["unseen"] * 4
LABELS = [NEVER, "deer"] + ["deer", SCRIPT, EMPTY, "deer"] * 4
IDS = [f"p{n:02}" for n in range(len(LABELS) - 1)] + ["<i>&q"]


@pytest.fixture
def project(stage: Callable[..., Any], tmp_path: Path) -> Path:
    """Clean data with hostile names, a split, and nothing evaluated yet; the test runs there."""
    pictures = tiny.table(
        tmp_path / "raw",
        {
            name: (label, np.full((30, 40, 3), 90 + n, np.uint8))
            for n, (name, label) in enumerate(zip(IDS, LABELS, strict=True))
        },
    )
    pictures["location"] = [f'"><img src=x{n // 4}>' for n in range(len(pictures))]
    boxes = pictures.loc[pictures["label"] != EMPTY, ["sample_id", "label"]].assign(
        x_min_px=4.0, y_min_px=5.0, x_max_px=20.0, y_max_px=25.0
    )
    pictures, boxes = check_tables(pictures, boxes.reset_index(drop=True))
    counts = {
        "pictures": {"in": 21, "kept": 18, "rejected": 3},
        "annotations": {"boxes": len(boxes)},
        "rejected_because": {"picture": {"empty_file": 3}},
    }
    write_data(tmp_path / "clean", tmp_path / "raw", {"samples": pictures, "boxes": boxes}, counts)
    write_split(tmp_path / "splits", "class", pictures, PARTS)
    return tmp_path


@pytest.fixture
def evaluated(stage: Callable[..., Any], project: Path) -> Callable[..., None]:
    """Evaluate a model: (its name, whether it finds boxes, sure of the right class, what it cost)."""

    def go(name: str, detector: bool = False, sure: float = 0.9, cost: dict[str, Any] | None = COST) -> None:
        known = ["deer", SCRIPT, NEVER, EMPTY]
        rows = of_part(*read_version(project / "splits/class", read_samples(project / "clean")), *SCORED)
        if detector:
            animals = rows.loc[rows["label"] != EMPTY, ["sample_id", "label"]]
            places = dict(zip(BOX_COLUMNS, [4.0, 5.0, 20.0, 25.0], strict=True))
            found = box_rows(animals.assign(score=sure, **places), rows["sample_id"])
        else:
            rest = (1 - sure) / (len(known) - 1)
            scores = {row.sample_id: {c: sure if c == row.label else rest for c in known} for row in rows.itertuples()}
            found = class_rows(pd.DataFrame(scores).T)
        evaluate(stage, name, found, known, project / "splits/class", cost=cost)

    return go


@pytest.fixture
def report(stage: Callable[..., Any]) -> Callable[[], Page]:
    return lambda: report_helpers.report(stage, "wood <em>")


# The page ------------------------------------------------------------------------------------------------------------


def test_a_page_of_a_class_model_has_no_table_of_boxes(evaluated: Callable[..., None], report: Callable[[], Page]) -> None:
    evaluated("plain", sure=0.2)  # never right: every class but the right one is likelier
    page = report()
    assert "mAP" not in page.text
    assert page.named("detector") == []
    (row,), _, _ = page.named("model")
    assert row[:3] == ["plain tiny <s>", "0.000 0.000 to 0.000", "4"]
    assert "What plain got wrong at unseen locations" in page.text
    assert page.text.count(f"{SCRIPT}, called") == 1


def test_a_page_of_a_detector_has_its_boxes(evaluated: Callable[..., None], report: Callable[[], Page]) -> None:
    evaluated("plain")
    evaluated("finder", detector=True, sure=0.8)
    (row,) = report().table("detector")
    assert row[0] == "finder"
    figures = [cell.split()[0] for cell in row[1:]]
    assert figures == ["1.000", "1.000", "1.000", "3", "1.000", "0.800", "1.000", "1.000", "1.000"]


def test_models_are_in_every_table_and_the_choice_names_one_for_each_question(
    evaluated: Callable[..., None], report: Callable[[], Page]
) -> None:
    evaluated("good", cost=COST | {"ms_an_image": 9.0, "train_seconds": 99.0, "megabytes": 9.0})
    evaluated("quick", sure=0.2, cost=COST | {"train_seconds": 50.0, "megabytes": 5.0})
    evaluated("small", detector=True, sure=0.2, cost=COST | {"ms_an_image": 5.0, "train_seconds": 70.0, "megabytes": 0.1})
    evaluated("unmeasured", cost=None)
    page = report()
    named = [[row[0].split()[0] for row in table] for table in page.named("model")]
    assert named == [["good", "quick", "small", "unmeasured"]] * 2 + [["good", "quick", "small"]]  # figures, sequences, cost
    assert [row[:2] for row in page.table("question")] == [
        ["best at unseen locations (macro F1)", "good"],
        ["quickest to answer (ms a picture)", "quick"],
        ["quickest to train (s)", "quick"],
        ["smallest (MB)", "small"],
    ]
    assert page.table("question")[0][3:] == ["9.0", "99.0", "9.0", "12,345"]


def test_hostile_names_are_text_and_nothing_but_text(evaluated: Callable[..., None], report: Callable[[], Page]) -> None:
    evaluated("<i>m&amp;", sure=0.2)
    page = report()
    assert not page.tags & {"script", "i", "b", "u", "s", "em"}
    for text in ("wood <em>", "<i>m&amp;", "tiny <s>", SCRIPT, NEVER, '"><img src=x4>', "<u>CC0</u>"):
        assert text in page.text, text
    pictures = [link for link in page.links if link != "chart.svg"]
    assert pictures and all(link.startswith("pictures/") and (Path("page") / link).is_file() for link in pictures)
    assert all(path.suffix == ".jpg" and path.stem.isalnum() for path in Path("page/pictures").iterdir())
    svg = Path("page/chart.svg").read_text()
    assert "<i>" not in svg and "&lt;i&gt;m&amp;amp;" in svg


def test_the_page_says_what_is_absent_what_is_left_out_and_what_was_rejected(
    evaluated: Callable[..., None], report: Callable[[], Page]
) -> None:
    evaluated("plain")
    for name, found in {"elsewhere": {"data": "embedded"}, "gone": {"data": "your data"}}.items():
        write_json(Path("metrics") / f"{name}.json", found)
    page = report()
    text = " ".join(page.text.split())
    assert all(f"Absent from {part}: {NEVER} (plain)." in text for part in ("val", "seen", "unseen"))
    assert "Left out, since their figures belong to another run or other data: elsewhere, gone." in text
    assert "21 pictures in, 18 kept, 3 rejected; 14 boxes. Source: Ours." in text
    assert page.table("reason") == [["empty file", "picture", "3"]]
    assert [row[:2] for row in page.table("part")] == [["seen", "4"], ["train", "6"], ["unseen", "4"], ["val", "4"]]
    assert "measured on the data given" in text and "drew itself" not in text


def test_a_page_without_any_model_renders(project: Path, report: Callable[[], Page]) -> None:
    for name in ("metrics", "answers"):
        (project / name).mkdir()
    page = report()
    assert "No model has been evaluated yet" in page.text
    assert page.table("part")


def test_the_page_is_the_same_twice(evaluated: Callable[..., None], report: Callable[[], Page]) -> None:
    evaluated("finder", detector=True)
    report()
    first = {path: path.read_bytes() for path in Path("page").rglob("*") if path.is_file()}
    report()
    assert {path: path.read_bytes() for path in Path("page").rglob("*") if path.is_file()} == first


@pytest.mark.parametrize("name", ["clean/counts.json", "splits/report.json", "answers/plain/answers.parquet"])
def test_altered_inputs_are_refused(stage: Callable[..., Any], evaluated: Callable[..., None], name: str) -> None:
    evaluated("plain")
    Path(name).write_bytes(Path(name).read_bytes() + b" ")
    done = report_helpers.run_report(stage, "wood")
    assert done.code == 1
    assert f"{name}: " in done.err
    assert not Path("page").exists()


# Its parts -----------------------------------------------------------------------------------------------------------


def model(f1: float, ms: float, seconds: float, megabytes: float) -> dict[str, Any]:
    return {
        "parts": {"unseen": {"f1_macro": f1}},
        "cost": {"ms_an_image": ms, "train_seconds": seconds, "megabytes": megabytes},
    }


def test_choices_name_the_best_of_each_and_the_first_of_equals() -> None:
    models = {"b": model(0.7, 3.0, 9.0, 2.0), "a": model(0.7, 4.0, 8.0, 2.0), "c": model(0.6, 3.0, 9.0, 1.0)}
    assert [row["model"] for row in choices(models)] == ["a", "b", "a", "c"]
    assert choices(models)[0] == {"question": "best at unseen locations (macro F1)", "model": "a", **models["a"]}


def test_choices_are_among_models_with_all_figures() -> None:
    whole = model(0.1, 9.0, 9.0, 9.0)
    models = {"whole": whole, "unscored": model(0.9, 1, 1, 1) | {"parts": {}}, "unmeasured": model(0.9, 1, 1, 1) | {"cost": {}}}
    assert [row["model"] for row in choices(models)] == ["whole"] * 4
    assert choices({"unscored": models["unscored"]}) == choices({}) == []


def test_metrics_are_read_with_their_parts_and_what_val_chose(evaluated: Callable[..., None]) -> None:
    evaluated("plain")
    evaluated("finder", detector=True, cost=None)
    models, left_out = read_models(Path("metrics"), Path("answers"), "your data")
    assert (list(models), left_out) == (["finder", "plain"], [])
    assert list(models["plain"]["parts"]) == ["val", "seen", "unseen"]
    assert models["plain"]["parts"]["seen"]["n"] == 4
    assert models["plain"]["absent"] == dict.fromkeys(["val", "seen", "unseen"], NEVER)
    assert (models["plain"]["cost"], models["finder"]["cost"]) == (COST, {})
    assert "map50" not in models["plain"]["parts"]["seen"] and models["finder"]["parts"]["seen"]["map50"] == 1
    assert set(models["finder"]["chosen"]) == {"image_threshold", "box_threshold", "temperature", "bias"}
    assert read_models(Path("metrics"), Path("answers"), "embedded") == ({}, ["finder", "plain"])


def test_mistakes_are_the_surest_first(project: Path) -> None:
    (project / "shown").mkdir()
    answers = pd.DataFrame(
        [("p01", "deer", "fox", 0.4), ("p02", "deer", "deer", 0.99), (IDS[-1], "deer", "fox", 0.7)],
        columns=["sample_id", "actual", "predicted", "score"],
    )
    found = mistakes(read_samples(project / "clean"), answers, project / "shown")
    assert [item["text"] for item in found] == ["deer, called fox (0.70)", "deer, called fox (0.40)"]
    assert {item["file"] for item in found} == {path.name for path in (project / "shown").iterdir()}
