"""The cards: of each model and of the data, everything in them counted or measured, whatever the users call their things."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from stages.files import read_json, write_json, write_manifest
from stages.pages import cards
from stages.pages.data_cards import leaks, of_people, row_counts
from stages.pages.gallery import Gallery
from stages.pages.model_cards import against_constant, facts, of_classes, of_gap
from stages.people import ABSENT, OCCLUDED, VISIBLE
from stages.samples import EMPTY
from tests import card_helpers as small
from tests.report_helpers import SCRIPT, Page

HOSTILE = "<i>m&amp; 'x'"
CARD = {
    "family": "yolo",
    "classes": small.KNOWN,
    "image_px": 96,
    "started_from": "scratch",
    "behind": "finder",
    "trained_on": {"data": "your data", "train": 6, "left_out": {"train": 2}},
    "settings": {"epochs": 4, "note": SCRIPT, "nested": {"lr": 0.01}},
}


@pytest.fixture
def project(stage: Callable[..., Any], tmp_path: Path) -> Path:
    small.write_project(tmp_path)
    return tmp_path


def write(out: str = "page") -> None:
    Path(out).mkdir()
    study = small.study()
    cards.write(study, Path(out), Gallery(study, Path(out)))


def of_model(name: str = "m") -> Page:
    return Page(Path("page/models") / cards.page_of(name))


def words(page: Page) -> str:
    return " ".join(page.text.split())


# Models --------------------------------------------------------------------------------------------------------------


def test_the_figures_of_a_card_are_those_of_the_metrics_files(stage: Callable[..., Any], project: Path) -> None:
    small.classifier(stage, "m", {small.IDS[14]: ("fox", 0.9), small.IDS[8]: ("deer", 0.9)})
    write()
    page = of_model()
    parts = pd.read_csv("metrics/m.parts.csv").set_index("part")
    header, rows = list(parts.index), {row[0]: row[1:] for row in page.table("figure")}
    for words_, key in (("macro F1", "f1_macro"), ("accuracy (Top-1)", "accuracy")):
        cells = [" ".join(f"{parts.loc[part, key + end]:.3f}" for end in ("", "_low", "_high")) for part in header]
        assert [cell.replace(" to ", " ") for cell in rows[words_]] == cells
    assert rows["samples"] == [str(n) for n in parts["n"]]
    assert rows["expected calibration error as said"] == [f"{value:.3f}" for value in parts["ece"]]
    classes = pd.read_csv("metrics/m.classes.csv").query("part == 'unseen'")
    expected = [
        [row.label, str(row.n), str(row.predicted), *(f"{value:.3f}" for value in (row.precision, row.recall, row.f1))]
        for row in classes.itertuples()
    ]
    assert page.table("class") == expected
    f1 = read_json(Path("metrics/m.json"))["unseen"]["f1_macro"]
    assert f"macro F1 {f1:.3f} (95 % interval" in words(page)
    assert f"Macro F1 at seen locations less that at unseen ones: {read_json(Path('metrics/m.json'))['gap']:+.3f}" in words(
        page
    )


def test_a_card_says_how_a_model_was_made_and_what_uses_it(stage: Callable[..., Any], project: Path) -> None:
    small.classifier(stage, "m", {})
    write_json(Path("answers/m/card.json"), CARD)
    rewrite_manifest("answers/m")
    write()
    page, text = of_model(), words(of_model())
    assert "python -m stages.predict m FOLDER" in text
    assert "Ultralytics, whose code and weights are AGPL-3.0" in text and "The data: <u>CC0</u>" in text
    assert "It stands behind finder" in text
    assert ["left out, train", "2"] in page.named("what")[1] and ["train", "6"] in page.named("what")[1]
    assert ["epochs", "4"] in page.table("setting") and ["nested", '{"lr": 0.01}'] in page.table("setting")
    assert {"data set", "network", "input", "parameters"} <= {row[0] for row in page.tables[0]}


def rewrite_manifest(folder: str) -> None:
    write_manifest(Path(folder))


def test_a_card_without_what_evaluate_left_out_is_still_a_card(stage: Callable[..., Any], project: Path) -> None:
    small.classifier(stage, "m", {})
    for path in Path("answers/m").glob("card.json"):
        path.unlink()
    rewrite_manifest("answers/m")
    for table in ("slices", "seeds", "confusion", "reliability", "curve", "pr"):
        Path(f"metrics/m.{table}.csv").unlink(missing_ok=True)
    Path("metrics/m.cost.json").unlink()
    write()
    text = words(of_model())
    assert "How it was made is not known here" in text and "AGPL" not in text
    assert "macro F1 1.000" in text and "Confusion" not in text and of_model().named("factor") == []


def test_a_part_that_was_not_measured_is_left_out(stage: Callable[..., Any], project: Path) -> None:
    small.classifier(stage, "m", {})
    for table in ("parts", "classes", "slices", "confusion"):
        rows = pd.read_csv(f"metrics/m.{table}.csv", keep_default_na=False)
        rows[~rows["part"].isin(["unseen", "seen"])].to_csv(f"metrics/m.{table}.csv", index=False)
    write()
    text = words(of_model())
    assert "in the val part" in text and "It was not measured at locations that it never saw" in text
    assert len(of_model().table("figure")[0]) == 2


def test_hostile_names_are_text_and_link_to_their_page(stage: Callable[..., Any], project: Path) -> None:
    small.classifier(stage, HOSTILE, {small.IDS[15]: ("fox", 0.9)})
    write_json(Path("answers") / HOSTILE / "card.json", CARD)
    rewrite_manifest(f"answers/{HOSTILE}")
    write()
    page = of_model(HOSTILE)
    assert not page.tags & {"i", "em", "u", "b"}
    for text in (HOSTILE, "wood <em>", SCRIPT, f"{SCRIPT}, called fox (", f"{small.PLACE}2"):
        assert text in page.text, text
    assert "python -m stages.predict '<i>m&amp; '\"'\"'x'\"'\"'' FOLDER" in page.text
    data = Page(Path("page/data.html"))
    assert not data.tags & {"i", "em", "u", "b"} and SCRIPT in data.text and f"{small.PLACE}0" in data.text
    for folder, own in (("page/models", page), ("page", data)):
        pictures = [link for link in own.links if link.endswith((".jpg", ".svg"))]
        assert pictures and all((Path(folder) / link).is_file() for link in pictures)


def test_cards_are_the_same_twice(stage: Callable[..., Any], project: Path) -> None:
    small.classifier(stage, "m", {})
    write("one")
    write("two")
    files = [{path.relative_to(out): path.read_bytes() for path in Path(out).rglob("*.*")} for out in ("one", "two")]
    assert files[0] == files[1] and len(files[0]) > 4


def test_what_chance_explains_is_no_merit() -> None:
    row = {"accuracy": 0.4, "accuracy_low": 0.3, "accuracy_high": 0.5, "majority": 0.35}
    (said,) = against_constant(row, None, "accuracy")
    assert "not shown to be right more often" in said and "0.400 (0.300 to 0.500) against 0.350, by its own interval" in said
    assert "mean pose" in against_constant({"gain": 0.01, "gain_low": -0.02}, None, "accuracy")[0]
    assert against_constant(row | {"accuracy_low": 0.36}, None, "accuracy") == []
    assert against_constant({"accuracy": 0.1}, None, "accuracy") == []


def test_the_paired_comparison_decides_whether_it_is_better_than_a_constant_answer() -> None:
    def paired(**verdicts: str) -> dict[str, Any]:
        change = {"change": 0.1, "low": -0.05, "high": 0.25}
        return {"reference": "always fox", "figures": {name: change | {"verdict": said} for name, said in verdicts.items()}}

    row = {"accuracy": 0.4, "accuracy_low": 0.3, "accuracy_high": 0.5, "majority": 0.35}
    assert against_constant(row, paired(accuracy="better"), "accuracy") == []
    assert against_constant(row, paired(accuracy="better", f1_macro="undecided"), "accuracy") == []
    (said,) = against_constant(row | {"accuracy_low": 0.36}, paired(accuracy="undecided"), "accuracy")
    assert said.startswith("It is not shown to be right more often than always naming the commonest class (always fox): +0.100")
    said = against_constant(row, paired(accuracy="worse", f1_macro="undecided"), "f1_macro")
    assert [text.split(" than ")[0] for text in said] == ["Its macro F1 is not shown to be higher", "It is right less often"]


def test_a_card_of_a_model_that_has_all_right_says_so_and_that_its_interval_has_no_width(
    stage: Callable[..., Any], project: Path
) -> None:
    small.classifier(stage, "m", {})
    write()
    text = words(of_model())
    assert "it got none wrong" in text and "What it got wrong" not in text
    assert "has no width" in text
    small.classifier(stage, "m", {small.IDS[14]: ("fox", 0.9)})
    write("page2")
    text = words(Page(Path("page2/models/m.html")))
    assert "What it got wrong" in text and "it got none wrong" not in text and "has no width" not in text


def test_the_gap_is_called_chance_where_the_intervals_overlap() -> None:
    def of(seen: float, unseen: float) -> str:
        parts = {
            name: {"f1_macro_low": value - 0.1, "f1_macro_high": value + 0.1}
            for name, value in {"seen": seen, "unseen": unseen}.items()
        }
        return of_gap({"gap": seen - unseen, "parts": parts})

    assert "0.300 lower than" in of(0.8, 0.5) and "do not overlap" in of(0.8, 0.5)
    assert "0.100 higher than" in of(0.5, 0.6) and "may be chance" in of(0.5, 0.6)
    assert "is the same as" in of(0.5, 0.5)


def test_classes_that_are_rare_absent_untrained_or_never_answered_are_named() -> None:
    rows = pd.DataFrame(
        {
            "label": ["common", "rare", "absent", "new"],
            "n": [90, 29, 0, 40],
            "predicted": [90, 0, 3, 0],
            "in_train": [True, True, True, False],
        }
    )
    assert of_classes(rows, "test", "pictures") == [
        "Not measured, as the test part has none: absent.",
        "Never among what it was trained on, so it cannot name them: new.",
        "In the test part it never answers: rare, new.",
        "Fewer than 30 pictures of a class in the test part, so uncertain: rare.",
    ]


def test_facts_are_flat_text() -> None:
    assert facts({"train": 3, "left_out": {"train": 2}, "none_of": [], "of": ["a", 1]}) == [
        ("train", "3"),
        ("left out, train", "2"),
        ("none of", "none"),
        ("of", "a, 1"),
    ]


# Data ----------------------------------------------------------------------------------------------------------------


def test_a_data_card_counts_what_the_tables_hold(stage: Callable[..., Any], project: Path) -> None:
    write()
    page, text = Page(Path("page/data.html")), words(Page(Path("page/data.html")))
    assert "22 pictures of 4 classes from 4 locations, with 17 boxes" in text
    assert {row[0]: row[1] for row in page.table("class")} == {"deer": "6", "fox": "6", SCRIPT: "5", EMPTY: "5"}
    assert page.table("location")[0][1:3] == ["6", "27.3 %"]
    assert page.table("boxes") == [["0", "5"], ["1", "17"]]
    assert page.table("of") == [["pictures", "25", "22", "3"]]
    assert ["duplicate content", "picture", "2"] in page.table("reason") and "2 were refused as copies" in text
    assert "Source: Ours. Licence: <u>CC0</u>." in text and f"train has no {SCRIPT}" in text
    assert "half of them cover less than 25.0 % of their picture" in text and "80 px wide, 60 px high" in text
    assert "Fewer than 30 pictures of:" in text and "Location" in text
    assert sum(link.startswith("pictures/") for link in page.links) >= 4 * 3
    assert not (Path("page/models")).is_dir() or list(Path("page/models").iterdir()) == []


def test_people_are_counted_with_their_joints() -> None:
    people = pd.DataFrame({"sample_id": ["a", "a", "b"]})
    joints = pd.DataFrame({"visible": [VISIBLE] * 5 + [OCCLUDED] * 2 + [ABSENT] * 3})
    study: Any = SimpleNamespace(samples=SimpleNamespace(people=people, joints=joints))
    assert of_people(study) == {"people": 3, "most": 2, "visible": 5, "occluded": 2, "absent": 3}


def test_a_source_without_a_licence_says_so(stage: Callable[..., Any], project: Path) -> None:
    source = read_json(Path("clean/source.json"))
    del source["licence"]
    write_json(Path("clean/source.json"), source)
    rewrite_manifest("clean")
    small.classifier(stage, "m", {})
    write()
    assert "Licence: not given" in words(Page(Path("page/data.html")))
    assert "no licence given" in words(of_model())


def test_counts_and_leaks_are_read_whatever_was_counted() -> None:
    counts = {
        "pictures": {"in": 5, "rejected": 2},
        "noted": 3,
        "people": {"in": 4, "kept": 4, "rejected": 0},
        "videos": {"kept": 1},
    }
    assert [list(row.values()) for row in row_counts(json.loads(json.dumps(counts)))] == [
        ["pictures", 5, 3, 2],
        ["people", 4, 4, 0],
    ]

    splits = {
        "class": {
            "pictures": {"train": 9, "val": 4},
            "leaks": {"look_alikes": {"val": 2}, "locations": {"val": ["a", "b"]}},
        },
        "own": {"pictures": {"train": 9}},
    }
    assert leaks(splits) == [{"version": "class", "part": "val", "n": 4, "look_alikes": 2, "locations": 2}]
