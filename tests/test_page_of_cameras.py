"""The page of a data set: every figure that was measured, read offline, whatever the users call their animals and files."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.files import read_json, write_json, write_manifest
from stages.pages import andi
from stages.pages.of_cameras import best_of, choices, judged_part, majority_f1
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
def report(stage: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[[], Page]:
    """Write the page and read it; the pages of models and data have tests of their own."""
    monkeypatch.setattr("stages.pages.cards.write", lambda *_: None)
    return lambda: report_helpers.report(stage, "wood <em>")


# The page ------------------------------------------------------------------------------------------------------------


def test_a_page_of_a_class_model_has_no_table_of_boxes(evaluated: Callable[..., None], report: Callable[[], Page]) -> None:
    evaluated("plain", sure=0.2)  # never right: every class but the right one is likelier
    page = report()
    assert page.named("detector") == []
    assert "Boxes at" not in page.text
    row = next(table[0] for table in page.named("model") if table and table[0][0] == "plain tiny <s>")
    assert row[1:3] == ["0.000 0.000 to 0.000", "4"]
    assert "What plain gets wrong at unseen locations" in page.text


def test_a_page_of_a_detector_has_its_boxes(evaluated: Callable[..., None], report: Callable[[], Page]) -> None:
    evaluated("plain")
    evaluated("finder", detector=True, sure=0.8)
    page = report()
    (row,) = page.table("detector")
    assert row[0] == "finder"
    figures = [cell.split()[0] for cell in row[1:]]
    assert figures == ["1.000", "1.000", "1.000", "3", "1.000", "0.800", "1.000", "1.000", "1.000"]
    header = next(table[0] for table in page.tables if "boxes" in table[0] and table[0][0] == "class")
    assert header.count("AP50") == 2  # finder is first of equals, so it is the model that is shown


def test_the_headline_is_of_the_model_that_val_finds_best_and_beside_always_naming_the_commonest(
    evaluated: Callable[..., None], report: Callable[[], Page]
) -> None:
    evaluated("good")
    evaluated("bad", sure=0.2)
    text = " ".join(report().text.split())
    assert "macro F1 at unseen locations of good: 1.000 (95 % interval 1.000 to 1.000), n 4." in text
    # deer are 2 of 4: 2/3 of one of three classes
    assert "commonest class: 0.222, which is worse, by the model's own interval alone, as the two were not compared" in text
    assert "Its interval has no width" in text and "Nothing is wrong at unseen locations" in text
    assert "It names 100 % of the pictures at unseen locations rightly; always the commonest class, 50 %." in text
    assert "Of 3 pictures that are not empty it calls 0 empty (missed); of 1 empty ones it calls 0 something else" in text
    summary = read_json(Path("page/summary.json"))["headline"]
    assert (summary["best"], summary["n"], summary["part"]) == ("good", 4, "unseen")
    assert [(row["model"], row["value"], row["document"]) for row in summary["models"]] == [
        ("bad", 0.0, None),
        ("good", 1.0, None),
    ]


def test_the_choice_names_one_model_for_each_question(evaluated: Callable[..., None], report: Callable[[], Page]) -> None:
    evaluated("good", cost=COST | {"ms_an_image": 9.0, "train_seconds": 99.0, "megabytes": 9.0})
    evaluated("quick", sure=0.2, cost=COST | {"train_seconds": 50.0, "megabytes": 5.0})
    evaluated("small", detector=True, sure=0.2, cost=COST | {"ms_an_image": 1.0, "train_seconds": 70.0, "megabytes": 0.1})
    evaluated("unmeasured", cost=None)
    rows = report().table("question")
    assert [(row[0].split(":")[0], row[1]) for row in rows] == [
        ("best on val pictures", "good"),
        ("highest at unseen locations (for reference", "good"),
        ("quickest to answer", "small"),
        ("quickest classifier", "quick"),
        ("quickest to train", "quick"),
        ("most portable", "small"),
    ]
    assert rows[0][4:] == ["9.0", "99.0", "9.0", "12,345", "YOLOv5 M (F1, mAP, size)"]
    assert rows[3][-1] == "AlexNet" and rows[5][-1] == "YOLOv5 N"


def test_the_documents_tables_stand_beside_what_is_ours_and_are_left_out_where_nothing_is(
    evaluated: Callable[..., None], report: Callable[[], Page]
) -> None:
    evaluated("wood <em>-yolov5m-class", detector=True)
    evaluated("wood <em>-zebranet-class", sure=0.2)
    page = report()
    rows = [table for table in page.named("model") if table[0][0].startswith("AlexNet")]
    (data_2,) = rows
    of_class = {row[0].split(" wood")[0]: row for row in data_2}
    assert of_class["AlexNet"][1:] == ["–", "0.85", "–", "–", "–", "–", "–", "3:48"]
    medium = of_class["YOLO v5 (M)"]
    assert (medium[1].split()[0], medium[2:4], medium[5], medium[7:]) == ("1.000", ["0.91", "4"], "0.935", ["4.5", "8:07"])
    assert of_class["zebranet"][2] == "–"  # a network that they have not
    tested = [row for table in page.named("model") for row in table if row[0].startswith("YOLO v5 (M)") and row[2] == "0.76"]
    assert [(row[5], row[7:]) for row in tested] == [("0.68", ["1.25", "0.01"])]
    text = " ".join(page.text.split())
    for title in ("Data 1.0, split by location", "Data 3.0, the weakest classes upsampled", "Data 608, pictures of 608 px"):
        assert f"{title}: no model of it was run here." in text
    (networks,) = [table for table in page.named("model") if table[0][0].startswith("VGG19")]
    assert networks[0][1:] == ["yes", "no", "–", "143.7", "–", "19", "–"]
    assert next(row for row in networks if row[0].startswith("YOLO v5 (M)"))[3:] == ["0.01", "21.2", "7", "191", "0.5"]
    assert "The document has 0.76 for it, on its own photos." in text


def test_classes_confusions_slices_and_charts_are_of_the_best_model(
    evaluated: Callable[..., None], report: Callable[[], Page]
) -> None:
    evaluated("finder", detector=True)
    evaluated("worse", sure=0.2)
    page = report()
    classes = {row[0]: row[1:] for row in page.table("class")}
    assert classes["deer"][:4] == ["1.000", "2", "1.000", "1.000"]
    assert classes[NEVER][:3] == ["–", "0", "–"]  # absent is not 0
    confusions = page.named("true")
    assert len(confusions) == 4  # pictures and boxes, seen and unseen
    assert [row[0] for row in confusions[2]][-1] == "background"
    assert next(table[0] for table in page.tables if "missed" in table[0])[-1] == "missed"
    slices = {(row[0], row[1]): row[2:] for row in page.table("slice")}
    assert slices[("location", '"><img src=x4>')][:1] == ["2"]
    drawn = {link for link in page.links if link.endswith(".svg")}
    assert {"gap.svg", "best-classes.svg", "best-pr-unseen.svg", "best-reliability-seen.svg", "best-slices.svg", "best-locations.svg",
            "classes-0.svg", "locations-0.svg"} <= drawn  # fmt: skip
    assert all((Path("page") / link).is_file() for link in drawn)


def test_mistakes_come_first_and_can_be_filtered(evaluated: Callable[..., None], report: Callable[[], Page]) -> None:
    evaluated("plain", sure=0.2)
    text = " ".join(report().text.split())
    assert (
        0
        < text.index(f"{SCRIPT}, called")
        < text.index("All models Macro" if "All models Macro" in text else "Macro F1 of pictures")
    )
    assert "At most" in text and "4 of 4 shown" in text


def test_hostile_names_are_text_and_nothing_but_text(evaluated: Callable[..., None], report: Callable[[], Page]) -> None:
    evaluated("<i>m&amp;", sure=0.2)
    page = report()
    assert not page.tags & {"i", "b>", "u", "s", "em"}
    assert Path("page/index.html").read_text().count("<script") == 1  # the page's own
    for text in ("wood <em>", "<i>m&amp;", "tiny <s>", SCRIPT, NEVER, '"><img src=x4>', "<u>CC0</u>"):
        assert text in page.text, text
    pictures = [link for link in page.links if link and link.startswith("pictures/")]
    assert pictures and all((Path("page") / link).is_file() for link in pictures)
    assert all(path.suffix == ".jpg" and path.stem.isalnum() for path in Path("page/pictures").iterdir())
    svg = Path("page/gap.svg").read_text()
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
    assert (
        "elsewhere (its figures belong to another run or other data); gone (its figures belong to another run: it has no"
        in text
    )
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


def test_without_unseen_locations_the_page_is_of_what_there_is(
    evaluated: Callable[..., None], report: Callable[[], Page], project: Path
) -> None:
    shutil.rmtree("splits")
    pictures = read_samples(project / "clean").pictures
    write_split(project / "splits", "class", pictures, ["train" if part == "unseen" else part for part in PARTS])
    evaluated("plain")
    page = report()
    text = " ".join(page.text.split())
    assert "macro F1 at seen locations of plain: 1.000" in text
    assert "nothing is told of new cameras" in text
    assert "Test at unseen locations: no model of version class was tested here." in text
    assert {"best-classes.svg", "gap.svg"} <= set(page.links)


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


def test_the_verdict_on_always_naming_the_commonest_is_that_of_the_paired_comparison(
    stage: Callable[..., Any], evaluated: Callable[..., None], report: Callable[[], Page]
) -> None:
    evaluated("good")
    evaluated("same", sure=0.9)
    report_helpers.compare(stage, references={"good": ["same"]}, parts=["seen", "unseen"])
    rows = pd.read_csv("metrics/comparison.csv", keep_default_na=False)
    constant = rows["reference"].str.startswith("always") & (rows["part"] == "unseen") & (rows["figure"] == "f1_macro")
    assert constant.any()
    for verdict, words in (("undecided", "so it is not shown to be better than that."), ("worse", "so the model is worse.")):
        # The model's own interval, 1 to 1, lies above the constant's 0.222: it has no say where there is a comparison.
        rows.loc[constant, ["change", "low", "high", "verdict"]] = [0.1, -0.05, 0.25, verdict]
        rows.to_csv("metrics/comparison.csv", index=False)
        text = " ".join(report().text.split())
        assert f"on the same items: +0.100 (-0.050 to +0.250, paired bootstrap), {words}" in text
        assert "which is worse" not in text and "own interval alone" not in text
    best = read_json(Path("page/summary.json"))["headline"]["models"][0]
    assert (best["model"], best["n"], best["against"]["verdict"]) == ("good", 4, "worse")


def test_versions_are_told_apart_by_the_models_that_the_page_has(
    evaluated: Callable[..., None], report: Callable[[], Page], project: Path
) -> None:
    shutil.copytree("splits/class", "splits/location")
    found = read_json(Path("splits/report.json"))
    write_json(Path("splits/report.json"), found | {"location": found["class"]})
    write_manifest(Path("splits"))
    for name in ("one-class", "two-class"):
        evaluated(name)
    assert "differ in their val pictures" not in report().text
    for path in Path("metrics").glob("two-class.*"):
        shutil.copy(path, str(path).replace("two-class", "two-location"))
    shutil.copytree("answers/two-class", "answers/two-location")
    assert "differ in their val pictures" in report().text


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ("classes.csv", None), ("parts.csv", None), ("parts.csv", ""), ("classes.csv", "a,b\n1\n2,3,4\n"), ("slices.csv", ""),
        ("confusion.csv", "part,actual\nseen,deer\n"), ("parts.csv", "part,n,f1_macro\n"), ("json", "{"), ("json", "[]"),
        ("parts.csv", "part,n,f1_macro\nseen,4,much\n"), ("reliability.csv", "\xff"), ("cost.json", "{"),
    ],
)  # fmt: skip
def test_a_damaged_model_is_left_out_with_the_reason_and_the_others_are_shown(
    evaluated: Callable[..., None], report: Callable[[], Page], table: str, text: str | None
) -> None:
    evaluated("hurt")
    shutil.copytree("answers/hurt", "answers/whole")
    for path in Path("metrics").glob("hurt.*"):
        shutil.copy(path, str(path).replace("hurt", "whole"))
    path = Path(f"metrics/hurt.{table}")
    path.unlink() if text is None else path.write_bytes(text.encode("latin-1"))
    page = report()
    said = [found for found in read_json(Path("page/summary.json"))["left_out"] if found.startswith("hurt (")]
    assert len(said) == 1 and f"hurt.{table}" in said[0] and said[0] in " ".join(page.text.split())
    assert [row["model"] for row in read_json(Path("page/summary.json"))["headline"]["models"]] == ["whole"]


# Its parts -----------------------------------------------------------------------------------------------------------


def model(val: float, unseen: float, ms: float, seconds: float, megabytes: float) -> dict[str, Any]:
    return {
        "parts": {"val": {"f1_macro": val}, "unseen": {"f1_macro": unseen, "n": 4}},
        "cost": {"ms_an_image": ms, "train_seconds": seconds, "megabytes": megabytes},
        "chosen": {},
    }


def chosen(*rows: Any) -> list[str]:
    return [row["model"] for row in choices(*rows)]


def test_choices_name_the_best_by_val_and_the_first_of_equals() -> None:
    models = {"b": model(0.7, 0.1, 3, 9, 2), "a": model(0.7, 0.2, 4, 8, 2), "c": model(0.6, 0.9, 3, 9, 1)}
    assert chosen(models) == ["a", "c", "b", "b", "a", "c"]  # best, highest, quickest, classifier, train, smallest
    assert choices(models)[0]["value"] == 0.2


def test_choices_know_whose_val_lies_elsewhere() -> None:
    models = {
        "x-class": model(0.9, 0.1, 3, 9, 2),
        "x-location": model(0.2, 0.4, 4, 8, 2),
        "y-location": model(0.1, 0.8, 4, 8, 2),
    }
    assert chosen(models, frozenset({"location"}))[:2] == ["x-location", "x-class"]  # a val of train's cameras flatters memory
    models["z-location"] = model(0.95, 0.1, 4, 8, 2)
    assert chosen(models, frozenset({"location"}))[:2] == ["z-location", "x-class"], "that row is of train's own cameras"
    del models["z-location"]
    assert best_of(models, frozenset({"location"})) == "x-location" and best_of(models) == "x-class"


def test_choices_are_among_models_that_are_judged_and_a_model_behind_another_is_not_the_quickest() -> None:
    whole = model(0.1, 0.1, 9, 9, 9)
    unmeasured, unscored = (
        model(0.9, 0.9, 1, 1, 1) | {"cost": {}},
        model(0.9, 0.9, 1, 1, 1) | {"parts": {"val": {"f1_macro": 1}}},
    )
    behind = model(0.2, 0.1, 1, 1, 1)
    behind["cost"]["behind"] = "finder"
    found = chosen({"whole": whole, "unscored": unscored, "unmeasured": unmeasured, "behind": behind})
    assert found == ["unmeasured", "unmeasured", "whole", "whole", "whole", "whole"]
    assert choices({}) == [] and best_of({}) is None


def test_without_unseen_locations_the_page_speaks_of_what_there_is() -> None:
    assert judged_part({"a": {"parts": {"val": {}, "seen": {}}}}) == "seen"
    assert judged_part({"a": {"parts": {"val": {}, "seen": {}, "test": {}}}}) == "test"
    assert judged_part({}) is None


def test_always_naming_the_commonest_class_has_a_macro_f1() -> None:
    assert majority_f1({"deer": 2, "fox": 1, "empty": 1, "never": 0}) == pytest.approx(2 / 3 / 3)
    assert majority_f1({"deer": 5}) == 1
    assert majority_f1({}) is majority_f1({"deer": 0}) is None


def test_the_documents_figures_are_the_papers() -> None:
    unseen, val = andi.figures("d", "unseen"), andi.figures("d", "val")
    assert unseen == {
        ("d-resnext50-class", "f1_macro"): 0.35,
        ("d-yolov5m-class", "f1_macro"): 0.76,
        ("d-yolov5m-class", "map50"): 0.68,
    }
    assert (val["d-yolov5x-location", "f1_macro"], val["d-yolov5m-upsampled", "map50"]) == (0.61, 0.93)
    assert andi.figures("d", "train") == {}


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
    why = "(its figures belong to another run or other data)"
    assert read_models(Path("metrics"), Path("answers"), "embedded") == ({}, [f"finder {why}", f"plain {why}"])
