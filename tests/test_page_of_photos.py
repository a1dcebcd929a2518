"""The page of a data set without locations: its figures beside the document's, comparisons, galleries, and hostile names."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageColor

from stages.files import new_folder, read_json, write_json
from stages.pages.charts import save
from stages.pages.of_photos import COLOURS, adding, by_species, of_both, plane, slides, synthetic
from stages.predictions import FEATURES, TABLE, class_rows
from stages.samples import SCORED, check_tables, of_part, read_samples, read_version
from tests import report_helpers
from tests import training_helpers as tiny
from tests.report_helpers import SCRIPT, Page, evaluate, write_data, write_split

DATASET, STANDING, VIT = "wood <em>", "walking_standing", "posture-vit"
MODELS, CHANGES = "One test part for all", "Each model less its reference"  # captions
IDS = [f"p{n:02}" for n in range(23)] + ["<i>&q"]
LABELS = [SCRIPT, STANDING, STANDING, STANDING] * 6
PARTS = ["train"] * 8 + ["val"] * 8 + ["test"] * 8
REJECTS = [
    ("picture", "actions.csv line 2", "gone <s>.png", "no_action", "(blank): none of <b>them</b>"),
    ("picture", "actions.csv line 3", "missing.png", "file_missing", "no file of this name"),
    ("annotation", "actions.csv line 3", "missing.png", "picture_rejected", "its picture was rejected"),
]
COUNTS = {
    "pictures": {"in": 26, "kept": 24, "rejected": 2, "merged": 0},
    "rejected_because": {"picture": {"no_action": 1, "file_missing": 1}, "annotation": {"picture_rejected": 1}, "file": {}},
}


@pytest.fixture
def project(stage: Callable[..., Any], tmp_path: Path) -> Path:
    """Clean data with hostile names and no location, a split, and nothing evaluated yet; the test runs there."""
    raw = tmp_path / "raw"
    shown = zip(IDS, LABELS, strict=True)
    pictures = tiny.table(raw, {name: (label, np.full((30, 40, 3), 90 + n, np.uint8)) for n, (name, label) in enumerate(shown)})
    pictures["species"] = ["cat", "<u>goat</u>", None, "cat"] * 6
    pictures, boxes = check_tables(pictures, tiny.no_boxes())
    (raw / "gone <s>.png").write_bytes(tiny.png(tiny.noise(20, 1)))
    write_data(tmp_path / "clean", raw, {"samples": pictures, "boxes": boxes}, COUNTS, REJECTS)
    write_split(tmp_path / "splits", "all", pictures, PARTS)
    for name in ("metrics", "answers"):
        (tmp_path / name).mkdir()
    return tmp_path


@pytest.fixture
def evaluated(stage: Callable[..., Any], project: Path) -> Callable[..., None]:
    """Evaluate a model that is right about `right` and takes all others for standing: (its name, ids)."""

    def go(name: str, right: list[str]) -> None:
        rows = of_part(*read_version(project / "splits/all", read_samples(project / "clean")), *SCORED)
        other = {SCRIPT: 0.4, STANDING: 0.6}
        scores = {
            r.sample_id: {c: float(c == r.label) for c in other} if r.sample_id in right else other for r in rows.itertuples()
        }
        found = class_rows(pd.DataFrame(scores).T)
        evaluate(stage, name, found, [SCRIPT, STANDING], project / "splits/all", predictions=Path("predictions"))

    return go


@pytest.fixture
def compared(stage: Callable[..., Any]) -> Callable[..., None]:
    return partial(report_helpers.compare, stage)


@pytest.fixture
def report(stage: Callable[..., Any]) -> Callable[[], Page]:
    return lambda: report_helpers.report(stage, DATASET)


def test_models_stand_beside_the_documents_figures(evaluated: Callable[..., None], report: Callable[[], Page]) -> None:
    evaluated(f"{VIT}-transfer", right=IDS)
    evaluated("posture-own <s>", right=[])
    page = report()
    own, transfer = page.under(MODELS)
    assert own[0] == f"posture-own <s> tiny <s> answers {STANDING} for every picture" and own[-1] == "–"
    assert transfer[0] == "posture-vit-transfer tiny <s>"
    assert "1 of 2 models name one class for every picture" in page.text
    assert [cell.split()[0] for cell in own[1:6]] == ["8", "0.750", "0.500", "0.429", "0.750"]
    assert transfer[1:7] == ["8", *["1.000 1.000 to 1.000"] * 3, "0.750", "1.000"]
    assert transfer[-1] == "0.9264"
    assert "do not compare with each other" in page.text and "measured on the data given" in page.text


def test_a_model_that_has_all_right_is_said_to_fail_nowhere(evaluated: Callable[..., None], report: Callable[[], Page]) -> None:
    evaluated("own", right=IDS)
    page = report()
    text = " ".join(page.text.split())
    assert "It fails on no class: each has a recall of 1" in text and "It fails most on" not in text
    assert "Its interval has no width" in text
    assert "What own gets right" in page.headings
    assert any("it got none wrong" in heading for heading in page.headings) and "what it got wrong" not in text


@pytest.mark.parametrize(
    ("verdict", "words"), [("better", "so the model is better."), ("undecided", "so it is not shown to be")]
)
def test_the_verdict_is_that_of_the_paired_comparison_on_the_first_screen_the_card_and_the_table(
    evaluated: Callable[..., None], compared: Callable[..., None], report: Callable[[], Page], verdict: str, words: str
) -> None:
    evaluated("own", right=["p08", "p16"])  # its own interval has the constant's accuracy in it
    evaluated("other", right=[])
    compared(references={"own": ["other"]})
    rows = pd.read_csv("metrics/comparison.csv", keep_default_na=False)
    constant = rows["reference"].str.startswith("always") & rows["figure"].eq("accuracy") & rows["model"].eq("own")
    rows.loc[constant, "verdict"] = verdict
    rows.to_csv("metrics/comparison.csv", index=False)
    page, card = report(), Page(Path("page/models/own.html"))
    assert words in " ".join(page.text.split())
    assert ("not shown to be right more often" in " ".join(card.text.split())) == (verdict == "undecided")
    assert next(row for row in page.under(MODELS) if row[0].startswith("own"))[5].endswith(f"the model: {verdict}")


def test_figures_of_the_document_are_shown_beside_its_own_models_alone(
    evaluated: Callable[..., None], report: Callable[[], Page]
) -> None:
    evaluated("own", right=IDS)
    page = report()
    assert "the document" not in page.text and "for every picture" not in page.text
    assert page.under(MODELS)[0][-1] == "8"
    assert "What changes what" not in page.text and "Pictures that nobody took" not in page.text


def test_comparisons_have_verdicts_and_recalls_before_and_after(
    evaluated: Callable[..., None], compared: Callable[..., None], report: Callable[[], Page]
) -> None:
    evaluated(f"{VIT}-scratch", right=[])
    evaluated(f"{VIT}-transfer", right=IDS)
    evaluated(f"{VIT}-mixup", right=[*IDS[:20], "p21", "p22"])
    compared(references={VIT: [f"{VIT}-scratch", f"{VIT}-transfer"]}, document=[f"{VIT}-transfer"])
    page = report()
    figures, changes, costs = page.under(MODELS), page.under(CHANGES), page.under("Measured;")
    recalls, how = page.under("Recall of each class"), page.under("How recall changes")
    assert [row[5].split(": ")[1] for row in figures] == ["undecided"] * 2 + ["undecided"]
    assert [row[:2] for row in changes] == [
        [f"{VIT}-mixup", f"{VIT}-scratch"],
        [f"{VIT}-mixup", f"{VIT}-transfer the document's reference"],
        [f"{VIT}-transfer", f"{VIT}-scratch"],
    ]
    assert [row[2].split(":")[0] for row in changes] == ["+0.125 undecided", "-0.125 undecided", "+0.250 undecided"]
    assert [row[5:] for row in changes] == [["1", "0", "1.0000"], ["0", "1", "1.0000"], ["2", "0", "0.5000"]]
    assert {row[0]: row[1:] for row in recalls}[f"{VIT}-scratch"] == ["0.000", "1.000"]
    assert [row[:2] for row in how] == [[f"{VIT}-mixup", f"{VIT}-transfer"]]  # the document's references alone
    assert how[0][2].startswith("1.000 → 0.500 -0.500 undecided: ")
    assert len(costs) == 3
    assert "Of 3 comparisons that change nothing" in page.text
    assert "trained with one seed" in page.text and "another seed changes it too" in page.text and "±" not in page.text


def test_confusion_and_what_was_right_and_wrong(evaluated: Callable[..., None], report: Callable[[], Page]) -> None:
    evaluated("own", right=IDS[:20])
    page = report()
    assert page.table("true") == [[SCRIPT, "2", "1", "1"], [STANDING, "6", "", "6"]]
    assert "What own gets right and wrong" in page.headings
    assert page.text.count(f"{SCRIPT}, called {STANDING} (") == page.text.count(", called ") == 1
    assert f"{SCRIPT} (1.00 sure)" in page.text and f"{STANDING} (1.00 sure)" in page.text
    assert (
        any(alt.startswith("Recall of each class") for alt in page.alts) and "Reliability of own in the test part" in page.alts
    )


def test_a_page_without_any_model_shows_the_data(report: Callable[[], Page], project: Path) -> None:
    page = report()
    assert "No model has been evaluated yet" in page.text
    assert "26 pictures in, 24 kept, 2 rejected. Source: Ours." in " ".join(page.text.split())
    assert page.named("class") == [
        [[SCRIPT, "0", "6", "0", "6"], [STANDING, "6", "6", "6", "18"], ["all", "6", "12", "6", "24"]]
    ]
    assert page.table("reason") == [
        ["no action", "picture", "1"],
        ["file missing", "picture", "1"],
        ["picture rejected", "annotation", "1"],
    ]
    assert "gone <s>.png: (blank): none of <b>them</b>" in page.text
    assert page.text.count("None of them can be read.") == 1  # the missing file
    assert page.table("part") == [["test", "8", "2", "6"], ["train", "8", "2", "6"], ["val", "8", "2", "6"]]
    assert f"train has no {SCRIPT}" in page.text


def test_hostile_names_are_text_and_links_are_files(
    evaluated: Callable[..., None], compared: Callable[..., None], report: Callable[[], Page]
) -> None:
    evaluated("<i>a", right=IDS)
    evaluated("<i>a-b", right=[])
    compared(references={"<i>a": ["<i>a"]})
    page = report()
    assert not page.tags & {"i", "u", "s", "em"} and "alert(1)</script>" not in Path("page/index.html").read_text()
    for text in ("wood <em>", "<i>a-b", "tiny <s>", SCRIPT, "<u>goat</u>", "<u>CC0</u>"):
        assert text in page.text, text
    assert page.links and all((Path("page") / link).is_file() for link in page.links)


def test_counts_of_what_came_in_stand_beside_what_was_kept() -> None:
    pictures = pd.DataFrame({"label": ["lying", "lying", "sitting"], "species": ["cat", None, "cat"]})
    counts = {"by_class": [{"label": "lying", "species": "cat", "in": 3}, {"label": "", "species": "", "in": 2}]}
    found = by_species(pictures, counts)
    assert found["species"] == ["cat", "unknown", "all"]
    cells = {row["label"]: [(cell["kept"], cell["in"]) for cell in row["cells"]] for row in found["rows"]}
    assert cells == {
        "lying": [(1, 3), (1, 0), (2, 3)],
        "no class": [(0, 0), (0, 2), (0, 2)],
        "sitting": [(1, 0), (0, 0), (1, 0)],
        "all": [(2, 3), (1, 2), (3, 5)],
    }
    assert by_species(pictures, {})["rows"][-1]["cells"] == [{"in": None, "kept": n} for n in (2, 1, 3)]


# Beside the document -------------------------------------------------------------------------------------------------


def test_the_closing_table_and_the_slides_have_ours_beside_the_documents(
    evaluated: Callable[..., None], compared: Callable[..., None], report: Callable[[], Page]
) -> None:
    for name, right in (("scratch", []), ("transfer", IDS), ("mixup", IDS[:20])):
        evaluated(f"{VIT}-{name}", right=right)
    compared(references={VIT: [f"{VIT}-scratch", f"{VIT}-transfer"]}, document=[f"{VIT}-transfer"])
    page = report()
    vit, resnet = page.under("The document's closing table")
    assert vit[0::2][:3] == ["ViT", "0.7011", "0.9264"] and resnet[0::2] == ["ResNet50", "0.7011", "0.8620", "0.8909", "0.8727"]
    assert vit[1] == "– n –" and vit[3].startswith("1.000 1.000 to 1.000 n 8") and vit[7] == "– n –"
    rows = {row[1]: row[2:] for row in page.under("Manifold mixup: here")}
    assert rows["accuracy"][0] == "8" and rows["accuracy"][2].startswith("-0.125 undecided")
    assert rows["accuracy"][3:] == [f"{VIT}-transfer", "0.9449", "+0.0185"]
    assert rows[f"recall: {STANDING}"][4:] == ["0.9700", "+0.0000"] and rows[f"recall: {SCRIPT}"][4:] == ["–", "–"]
    scratch = page.under("Baseline: trained from scratch")
    assert scratch[0][4:] == ["–", "–", "0.6942", "–"] and len(scratch) == 3
    choice = page.under("Which model to take")
    assert [row[0] for row in choice] == ["best (by validation)", "quickest to answer", "quickest to train", "smallest"]
    assert choice[0][1] == f"{VIT}-mixup" and choice[3][1] == f"{VIT}-transfer and 2 more, just as good in this"


def test_nothing_stands_beside_models_that_are_not_the_documents() -> None:
    assert slides({"own": {}}, {"own": {}}, []) == {}


def test_both_remedies_stand_against_one_of_them() -> None:
    pairs = [("d-mixup-synthetic", name) for name in ("d-mixup", "d-scratch", "d-synthetic")] + [("d-mixup", "d-synthetic")]
    rows = [{"model": model, "reference": reference} for model, reference in pairs]
    assert [row["reference"] for row in of_both(rows)] == ["d-mixup", "d-synthetic"]


# Seeds ---------------------------------------------------------------------------------------------------------------


def test_several_trainings_have_their_mean_and_standard_deviation(
    evaluated: Callable[..., None], compared: Callable[..., None], report: Callable[[], Page]
) -> None:
    evaluated(f"{VIT}-scratch", right=[])
    evaluated(f"{VIT}-transfer", right=IDS)
    compared(references={VIT: [f"{VIT}-scratch"]})
    for name in ("scratch", "transfer"):
        found = read_json(path := Path(f"metrics/{VIT}-{name}.json"))
        figures = {"accuracy": 0.7, "balanced_accuracy": 0.6, "f1_macro": 0.5}
        spread = {f"{figure}_mean": mean for figure, mean in figures.items()} | {f"{figure}_sd": 0.02 for figure in figures}
        write_json(path, found | {"test": found["test"] | {"seeds": 3} | spread})
    table = pd.read_csv("metrics/comparison.csv", dtype=str, keep_default_na=False)
    of_models = table["reference"].eq(f"{VIT}-scratch") & table["figure"].ne("recall")
    table.loc[of_models, ["seeds", "change_mean", "change_sd"]] = ["3", "0.2", "0.05"]
    table.to_csv("metrics/comparison.csv", index=False)
    page = report()
    figures, changes = page.under(MODELS), page.under(CHANGES)
    over_seeds = [[cell.partition(" 3 seeds: ")[2] for cell in row[2:5]] for row in figures]
    assert over_seeds == [["0.700 ± 0.020", "0.600 ± 0.020", "0.500 ± 0.020"]] * 2
    assert [cell.partition(" 3 seeds: ")[2] for cell in changes[0][2:5]] == ["+0.200 ± 0.050"] * 3
    assert "one seed" not in page.text and "another seed" not in page.text
    assert page.text.count("seeds: ") == 9 + 1  # of recalls none; of accuracy beside the document too


# A remedy against its counterpart -------------------------------------------------------------------------------------


def test_a_remedy_stands_against_the_namesake_without_it_else_against_the_documents_reference() -> None:
    def pair(model: str, reference: str, of_document: bool = False) -> dict[str, Any]:
        return {"model": model, "reference": reference, "of_document": of_document}

    rows = [
        pair("d-mixup", "d-scratch"), pair("d-mixup", "d-transfer", of_document=True),
        pair("d-mixup-synthetic", "d-scratch"), pair("d-mixup-synthetic", "d-transfer", of_document=True),
        pair("d-mixup-synthetic", "d-mixup"), pair("d-mixup-synthetic", "d-synthetic"),
        pair("d-synthetic", "d-transfer", of_document=True),
        pair("e-mixup", "e-scratch"), pair("remixup", "d-transfer", of_document=True),
    ]  # fmt: skip
    assert [tuple(row.values())[:2] for row in adding(rows, "mixup")] == [
        ("d-mixup", "d-transfer"),
        ("d-mixup-synthetic", "d-synthetic"),
    ]
    assert [tuple(row.values())[:2] for row in adding(rows, "synthetic")] == [
        ("d-mixup-synthetic", "d-mixup"),
        ("d-synthetic", "d-transfer"),
    ]
    assert adding([], "mixup") == []


def test_rare_classes_have_their_recall_before_and_after_the_made_pictures(
    evaluated: Callable[..., None], compared: Callable[..., None], report: Callable[[], Page], project: Path
) -> None:
    made(project / "shows")
    evaluated(f"{VIT}-transfer", right=IDS[:20])
    evaluated(f"{VIT}-synthetic", right=IDS)
    compared(references={VIT: [f"{VIT}-transfer"]}, document=[f"{VIT}-transfer"])
    page = report()
    (row,) = page.under("What they did to rare classes")
    assert row[:5] == [SCRIPT, f"{VIT}-synthetic less {VIT}-transfer", "2", "0.500", "1.000"]
    assert row[5].startswith("+0.500 undecided: +0.000 to +1.000")
    assert row[6:] == ["1", "0", "1.0000", "2", "4"]
    assert "Of 1 changes, better: 0; worse: 0" in page.text


# Features in two dimensions -------------------------------------------------------------------------------------------


def featured(model: str, **changes: Any) -> None:
    """Add features to a model's predictions: a plane of which the lower half is given to one class, the upper to the other."""
    folder = Path("predictions") / model
    points = [
        {"sample_id": name, "part": part, "x": n / 10, "y": -n / 10}
        for n, (name, part) in enumerate(zip(IDS, PARTS, strict=True))
    ]
    found = {
        "axes": "principal components of train's <u>features</u>", "explained": [0.5, 0.25], "classes": [SCRIPT, STANDING],
        "counts": {"train": 8, "val": 8, "test": 9}, "extent": [0.0, 2.25, -2.4, 0.0], "regions": [[0] * 4] * 2 + [[1] * 4] * 2, "points": points,
    }  # fmt: skip
    with new_folder(folder) as out:
        shutil.copy(folder / TABLE, out)
        write_json(out / FEATURES, found | changes)


def test_mixups_features_stand_beside_those_without(
    evaluated: Callable[..., None], compared: Callable[..., None], report: Callable[[], Page]
) -> None:
    for name in ("transfer", "mixup"):
        evaluated(f"{VIT}-{name}", right=IDS)
        featured(f"{VIT}-{name}")
    compared(references={VIT: [f"{VIT}-transfer"]}, document=[f"{VIT}-transfer"])
    page = report()
    assert list(dict.fromkeys(link for link in page.links if link.startswith("features"))) == [
        "features-0.svg",
        "features-1.svg",
    ]
    text = " ".join(page.text.split())
    assert f"{VIT}-mixup, with mixup, and {VIT}-transfer, without" in text
    about = (
        "7 of 9 pictures of the test part; principal components of train's <u>features</u>, which hold 75 % of their variance."
    )
    assert f"{VIT}-mixup: {about}" in text and f"{VIT}-transfer: {about}" in text
    svg = Path("page/features-0.svg").read_text()
    for said in (f"{VIT}-mixup (your data)", "n 2", f"{STANDING}, n 5", "first component, 50% of the variance", "second, 25%"):
        assert said in svg, said
    assert "<script>" not in svg
    first = {path: path.read_bytes() for path in Path("page").rglob("*") if path.is_file()}
    report()
    assert {path: path.read_bytes() for path in Path("page").rglob("*") if path.is_file()} == first


def test_a_chart_of_features_has_each_test_picture_by_its_class_and_the_regions_the_right_way_up(tmp_path: Path) -> None:
    found = {"classes": ["a", "b"], "explained": [0.5, 0.25], "extent": [0, 4, -2, 2], "regions": [[0] * 9] * 3 + [[1] * 9]}
    points = pd.DataFrame({"label": ["a", "b", "b"], "x": [1, 2, 3], "y": [-1, 0, 1]})
    save(plane(found, points, "t"), tmp_path / "c.svg")
    svg = (tmp_path / "c.svg").read_text()
    drawn = {colour: svg.count(f'style="fill: {colour.lower()}; stroke: #222222') for colour in COLOURS[:3]}
    assert drawn == {COLOURS[0]: 1 + 1, COLOURS[1]: 2 + 1, COLOURS[2]: 0}  # and one in the legend
    plane(found, points, "t").savefig(tmp_path / "c.png", bbox_inches="tight")
    with Image.open(tmp_path / "c.png") as image:
        middle = np.asarray(image.convert("RGB"))[:, image.width // 3].astype(int)  # a column of pixels, from above

    def rows(colour: str) -> np.ndarray:
        pale = 255 - (255 - np.array(ImageColor.getrgb(colour))) / 4
        return np.flatnonzero((np.abs(middle - pale) < 2).all(axis=1))

    lower, upper = (rows(colour) for colour in COLOURS[:2])
    assert upper.max() < lower.min() and len(upper) == pytest.approx(len(lower) / 3, rel=0.05)


def test_a_model_without_features_has_no_figure(
    evaluated: Callable[..., None], compared: Callable[..., None], report: Callable[[], Page]
) -> None:
    for name in ("transfer", "mixup"):
        evaluated(f"{VIT}-{name}", right=IDS)
    featured(f"{VIT}-mixup")
    compared(references={VIT: [f"{VIT}-transfer"]}, document=[f"{VIT}-transfer"])
    assert "What manifold mixup makes of the features" not in report().headings and not list(Path("page").glob("features*"))


# Pictures that nobody took -------------------------------------------------------------------------------------------


def made(folder: Path, **changes: Any) -> Path:
    with new_folder(folder) as out:
        counts = {
            "generator": {"generator": "renderer", "model": "<b>m</b>", "revision": ""},
            "agree": None,
            "made": {SCRIPT: 5},
            "refused": {"blank": {SCRIPT: 1}},
            "added": {SCRIPT: 4},
            "train_before": {SCRIPT: 2, STANDING: 6},
            "train_after": {SCRIPT: 6, STANDING: 6},
        }
        write_json(out / "counts.json", counts | changes)
        Image.new("RGB", (1400, 100)).save(out / "montage.jpg")
    return folder


def test_synthetic_pictures_have_their_montage_and_counts(project: Path, report: Callable[[], Page]) -> None:
    made(project / "shows")
    page = report()
    assert "Made by renderer: <b>m</b>. They are in train alone." in page.text
    assert page.under("Train before and after") == [[SCRIPT, "2", "5", "1", "4", "6"], [STANDING, "6", "0", "0", "0", "6"]]
    assert "pictures/montage.jpg" in page.links and "pictures/refused.jpg" not in page.links
    with Image.open("page/pictures/montage.jpg") as picture:
        assert picture.width == 1200


def test_nothing_synthetic_is_told_of_where_nothing_was_made(tmp_path: Path) -> None:
    assert synthetic(tmp_path / "none") is None
    assert synthetic(made(tmp_path / "idle", generator=None)) is None
