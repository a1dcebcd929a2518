"""Every table and figure that the four documents and `spec.md` list is on the pages of a finished run, and every headline on them
equals the one in its metrics file. `check_list` and `check_numbers` can be run on any folder of reports."""

import re
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest

from stages.files import read_json
from stages.pages.cards import MODELS, page_of
from stages.pages.model_cards import words_of
from stages.pages.study import OF_NO_MODEL
from tests.report_helpers import Page


class Asked(NamedTuple):
    """Something that a document or spec.md asks for, and by what it is found on the page."""

    study: str
    asked: str
    found_as: str  # caption | heading | image | text
    words: str  # that stand in it


CHECKLIST = [
    Asked(*row)
    for row in (
        # posture: spec.md 1 ----------------------------------------------------------------------------------------------
        ("posture", "1: accuracy, n, interval, majority baseline", "text", "Always naming the commonest class"),
        ("posture", "1: best, quickest, smallest", "caption", "Which model to take"),
        ("posture", "1: every initialisation and trainable part a row; macro F1, balanced accuracy", "caption", "One test part for all"),
        ("posture", "slide Baseline Results: from scratch, with recalls", "caption", "Baseline: trained from scratch"),
        ("posture", "slide Baseline results: pretrained, signed changes", "caption", "Transfer learning"),
        ("posture", "slide Results after Manifold Mixup", "caption", "Manifold mixup: here"),
        ("posture", "slide Results after adding synthetic data", "caption", "Synthetic data: here"),
        ("posture", "slide Results Comparison", "caption", "The document's closing table"),
        ("posture", "slide Results Comparison: no gain of both at once", "text", "finds no gain in mixup and synthetic pictures"),
        ("posture", "1: claims, and the test used", "caption", "Claims checked"),
        ("posture", "1: signed change against scratch and transfer", "caption", "Each model less its reference"),
        ("posture", "1: per-class recall", "caption", "Recall of each class"),
        ("posture", "1: how recall changes", "caption", "How recall changes"),
        ("posture", "figure: per-class bars with n", "image", "Recall of each class in the test part by"),
        ("posture", "figure: confusion", "caption", "Confusion of"),
        ("posture", "figure: right and wrong", "heading", "Pictures of the test part: what it got wrong"),
        ("posture", "figure: precision-recall", "image", "Precision against recall"),
        ("posture", "figure: reliability", "image", "Reliability of"),
        ("posture", "figure: learning curves", "image", "Learning curves of"),
        ("posture", "slide Manifold Mixup: features a to f", "image", "Features of"),
        ("posture", "slide Synthetic Data: gallery", "image", "Synthetic gallery: some of the pictures that were added"),
        ("posture", "slide Before & After: class counts", "caption", "Train before and after"),
        ("posture", "slide Dataset: 967, 819, 88 / 70 / 67 / 592", "caption", "How many pictures: here, and in the document"),
        ("posture", "slide Dataset: classes and species", "caption", "Pictures by class and species"),
        ("posture", "1: every removal with its reason", "caption", "Why"),
        ("posture", "1: the removed, as pictures", "heading", "ambiguous action"),
        ("posture", "1: one frozen split", "caption", "pictures by part and class"),
        ("posture", "figure: class distribution per part", "image", "share of each class in each part"),
        ("posture", "5: parameters, MB, training time, ms", "caption", "Measured; training on"),
        # activity: spec.md 2 ---------------------------------------------------------------------------------------------
        ("activity", "2: accuracy, n, interval, majority baseline", "text", "Always naming the commonest class"),
        ("activity", "2: best, quickest, smallest", "caption", "Which model to take"),
        ("activity", "2: accuracy, precision and recall, weighted and macro, of every ablation", "caption", "Test part, with 95 % intervals"),
        ("activity", "Results, stage 2: weighted 63.24 / 61.24, micro 61.24", "caption", "the document's stage 2 on MPII"),
        ("activity", "2: per class", "caption", "Each activity in the test part"),
        ("activity", "2: confusion", "caption", "Confusion of"),
        ("activity", "figure: per-class bars with n", "image", "Recall of each activity"),
        ("activity", "figure: right and wrong", "heading", "Pictures of the test part: what it got wrong"),
        ("activity", "2: ablations, paired", "caption", "Each model less another"),
        ("activity", "5: claims, and the test used", "caption", "Claims checked"),
        ("activity", "Results, stage 1: mAP50, mAP50-95; PCKh@0.5", "caption", "People and joints found"),
        ("activity", "Results, stage 1: pose loss", "image", "Pose loss of"),
        ("activity", "2: PCKh of each joint", "caption", "PCKh@0.5 of each joint"),
        ("activity", "two people of each heatmap", "heading", "Whom the heatmaps are of"),
        ("activity", "Exploring the dataset: 24,987 and 17,408", "caption", "How many pictures: here, and in the document"),
        ("activity", "2: each rule with its count", "caption", "The document's rules, in its order"),
        ("activity", "bad cases: negative", "heading", "negative: x or y is below 0"),
        ("activity", "bad cases: out of bounds", "heading", "out of bounds"),
        ("activity", "bad cases: head-top missing", "heading", "head-top missing"),
        ("activity", "bad cases: both ankles missing", "heading", "both ankles missing"),
        ("activity", "bad cases: no category", "heading", "no category"),
        ("activity", "bad cases: no annotation", "heading", "no annotation"),
        ("activity", "joint averages, both lists beside ours", "caption", "mean a picture; and the document's"),
        ("activity", "2: the largest difference", "text", "Largest difference"),
        ("activity", "figure: joint distributions", "image", "how often each joint is annotated"),
        ("activity", "gallery of categories", "heading", "Categories"),
        ("activity", "figure: class distribution per part", "image", "share of each class in each part"),
        ("activity", "figure: precision-recall", "image", "Precision against recall"),
        ("activity", "figure: reliability", "image", "Reliability of"),
        ("activity", "figure: learning curves", "image", "Learning curves of"),
        ("activity", "5: parameters, MB, training time, ms", "caption", "Measured; training on"),
        # action: spec.md 3 -----------------------------------------------------------------------------------------------
        ("action", "3: mAP, n, interval, baseline", "text", "Always naming the commonest class"),
        ("action", "3: best, quickest, smallest", "caption", "Which model to take"),
        ("action", "Table 1: three starts x two sizes", "caption", "by what a model starts from"),
        ("action", "Table 2: videos that one has right and the other wrong", "heading", "Table 2: right and wrong"),
        ("action", "Table 2: with thumbnails", "image", "frames in their order"),
        ("action", "Figure 2 a: confusion, from scratch", "caption", "Confusion of action-scratch-100"),
        ("action", "Figure 2 c: confusion, ImageNet", "caption", "Confusion of action-imagenet-100"),
        ("action", "Figure 2 d: confusion, Kinetics", "caption", "Confusion of action-kinetics-100"),
        ("action", "Figure 2 b: top predictions of one true class", "heading", "Top predictions for clips of"),
        ("action", "Figure 2 b: of every class", "caption", "Top predictions: what the test clips"),
        ("action", "3: claims, and the test used", "caption", "Claims checked"),
        ("action", "3: Top-1, test5", "caption", "and test5, its nested half"),
        ("action", "3: mAP of each model", "image", "mAP of each model in the test part"),
        ("action", "3: AP of each class", "caption", "Average precision of each class"),
        ("action", "figure: per-class bars with n", "image", "Average precision of each class in the test part by"),
        ("action", "motion pairs", "caption", "Which of two actions?"),
        ("action", "3: paired comparisons", "caption", "Each model less its reference"),
        ("action", "3: clips of a class", "caption", "Clips of a class in each part"),
        ("action", "3: clips conformed", "caption", "as they are stored"),
        ("action", "figure: right and wrong", "heading", "Clips of the test part: what it got wrong"),
        ("action", "figure: class distribution per part", "image", "share of each class in each part"),
        ("action", "figure: precision-recall", "image", "Precision against recall"),
        ("action", "figure: reliability", "image", "Reliability of"),
        ("action", "figure: learning curves", "image", "Learning curves of"),
        ("action", "5: parameters, MB, training time, ms", "caption", "Measured; training on"),
        # camera_trap: spec.md 4 ------------------------------------------------------------------------------------------
        ("camera_trap", "4: macro F1, n, interval, majority baseline", "text", "Always naming the commonest class"),
        ("camera_trap", "Conclusions: best, quickest, most portable", "caption", "Which model to take"),
        ("camera_trap", "slide Chosen Models", "caption", "Models: parameters, layers and file"),
        ("camera_trap", "slide Results - Data 1.0", "text", "Data 1.0"),
        ("camera_trap", "slide Results - Data 2.0", "text", "Data 2.0"),
        ("camera_trap", "slide Results - Data 3.0", "text", "Data 3.0"),
        ("camera_trap", "slide Results - Data 4.0", "text", "Data 4.0"),
        ("camera_trap", "slide Results - 608", "text", "Data 608"),
        ("camera_trap", "slide Test Set: Seen Locations", "text", "Test at seen locations"),
        ("camera_trap", "slide Test Set: unseen Locations", "text", "Test at unseen locations"),
        ("camera_trap", "4: claims, and the test used", "caption", "Claims checked"),
        ("camera_trap", "4: paired comparisons", "caption", "Each model less its reference"),
        ("camera_trap", "4: the gap", "image", "Macro F1 of each model, with 95 % intervals: seen, unseen"),
        ("camera_trap", "4: per-class results", "caption", "F1, precision and recall of each class"),
        ("camera_trap", "slides unseen, YOLOv5m and ResNeXt50: per class", "image", "F1 of each class"),
        ("camera_trap", "4: confusion, seen, with missed and background", "caption", "at seen locations: column empty, what is not empty"),
        ("camera_trap", "4: confusion, unseen, with missed and background", "caption", "at unseen locations: column empty, what is not empty"),
        ("camera_trap", "4: slices day/night, box size, location", "caption", "Slices"),
        ("camera_trap", "figure: worst mistakes", "heading", "gets wrong"),
        ("camera_trap", "4: every version scored on val, test, seen, unseen", "caption", "Macro F1 of pictures"),
        ("camera_trap", "4: mAP at IoU 0.5, box F1", "caption", "Boxes: mAP at IoU 0.5"),
        ("camera_trap", "6: sequences; calibration before and after", "caption", "Whole sequences"),
        ("camera_trap", "figure: precision-recall", "image", "Precision against recall"),
        ("camera_trap", "figure: reliability", "image", "How sure against how often right"),
        ("camera_trap", "figure: learning curves", "image", "Learning:"),
        ("camera_trap", "4: parameters, layers, MB, training time, ms", "caption", "Cost, measured"),
        ("camera_trap", "4: reasons of removals", "caption", "Why rows were rejected"),
        ("camera_trap", "4: the cut by part and class", "caption", "pictures by part and class"),
        ("camera_trap", "figure: class distribution per part", "image", "share of each class in each part"),
        ("camera_trap", "figure: location distribution per part", "image", "share of each location in each part"),
    )
]  # fmt: skip


@cache
def read(page: Path) -> Page:
    return Page(page)


def is_there(page: Page, row: Asked) -> bool:
    if row.found_as == "text":
        return row.words in " ".join(page.text.split())
    return any(
        row.words in text for text in {"caption": page.captions, "heading": page.headings, "image": page.alts}[row.found_as]
    )


def check_list(reports: Path) -> list[Asked]:
    """What of the checklist is missing from the pages in `reports`, a folder of studies."""
    return [row for row in CHECKLIST if not is_there(read(reports / row.study / "index.html"), row)]


def words_in(text: str) -> set[str]:
    """The words of a text, without the punctuation round them."""
    return {word.strip(",;()").rstrip(".") for word in text.split()}


def cell(page: Page, caption: str, row: str, column: str) -> set[str]:
    """The words of a cell of the table with these words in its caption; none where it has no such row or column."""
    (table,) = (table for table, own in zip(page.tables, page.captions, strict=True) if caption in own)
    header, *rows = [[" ".join(text.split()) for text in line] for line in table]
    return {word for line in rows if line[0] == row and column in header for word in words_in(line[header.index(column)])}


def shown(value: float) -> set[str]:
    """How a page may write a figure."""
    return {str(value), f"{value:,}"} if isinstance(value, int) else {f"{value:.3f}", f"{value:+.3f}"}


def check_model(index: Page, card: Page, model: str, found: dict[str, Any]) -> tuple[int, list[str]]:
    """How many figures of a model's headlines, `found`, were looked for, and those that the pages show otherwise or not.

    Each must stand in its own cell of the model's card, or, of several trainings, in the model's rows on the study's page; and of
    these rows one at least must have one of the figures that the study judges by.
    """
    parts = {part: own for part, own in found.items() if isinstance(own, dict)}
    columns = [name for own in parts.values() for name in own]
    lines = [line for table in index.tables for line in table[1:] if words_in(line[0]) and line[0].split()[0] == model]
    on_index = {word for line in lines for text in line[1:] for word in words_in(text)}
    wrong, judged = [], []
    for part, own in parts.items():
        for name, value in own.items():
            words = words_of(re.sub("_(low|high|mean|sd)$", "", name), columns)
            there = on_index if name.endswith(("_mean", "_sd")) or name == "seeds" else cell(card, "All figures", words, part)
            if not shown(value) & there:
                wrong.append(f"{model}: {part} {name} {value}, and there is {sorted(there)}")
        judged += [shown(own[name]) for name in ("map", "f1_macro", "accuracy", "pckh") if name in own]
    if "gap" in found and not shown(found["gap"]) & words_in(card.text):
        wrong.append(f"{model}: gap {found['gap']}")
    if not any(figure & on_index for figure in judged):
        wrong.append(f"{model}: none of its figures on the page of its study")
    return sum(map(len, parts.values())), wrong


def check_numbers(reports: Path, metrics: Path) -> tuple[int, list[str]]:
    """`check_model` of every model in `metrics`, a folder for each study."""
    looked_for, wrong = 0, []
    for path in sorted(metrics.glob("*/*.json")):
        study = path.parent.name
        if path.name.endswith(".cost.json") or path.name in OF_NO_MODEL:
            continue
        card = reports / study / MODELS / page_of(path.stem)
        if not card.is_file():
            wrong.append(f"{path.stem}: no card")
            continue
        n, more = check_model(read(reports / study / "index.html"), read(card), path.stem, read_json(path))
        looked_for, wrong = looked_for + n, wrong + more
    return looked_for, wrong


def check_accuracies(reports: Path, answers: Path) -> tuple[int, list[str]]:
    """How many accuracies of models' cards were held against the answers themselves, in `answers`, a folder for each study, and
    those that are not what these give to three digits: metrics files are rounded, answers are not."""
    looked_for, wrong = 0, []
    for path in sorted(answers.glob("*/*/answers.parquet")):
        study, model = path.parts[-3:-1]
        page = reports / study / MODELS / page_of(model)
        if not page.is_file():
            continue  # of an earlier run
        table = pd.read_parquet(path)
        for part, accuracy in (table["actual"] == table["predicted"]).groupby(table["part"]).mean().items():
            looked_for += 1
            there = cell(read(page), "All figures", words_of("accuracy", []), str(part))
            if f"{accuracy:.3f}" not in there:
                wrong.append(f"{model}: {part} accuracy {accuracy}, and there is {sorted(there)}")
    return looked_for, wrong


def check_summaries(reports: Path, metrics: Path) -> tuple[int, list[str]]:
    """How many figures the studies' summaries, of which the index is made, have of models, and those that are not the metrics'."""
    looked_for, wrong = 0, []
    for path in sorted(reports.glob("*/summary.json")):
        head = read_json(path).get("headline")
        for row in head["models"] if head else []:
            looked_for += 1
            own = read_json(metrics / path.parent.name / f"{row['model']}.json").get(head["part"], {})
            if row["value"] not in own.values():
                wrong.append(f"{row['model']}: {row['value']}")
    return looked_for, wrong


@pytest.mark.slow
def test_every_table_and_figure_of_the_documents_is_there(clone: Path) -> None:
    assert check_list(clone / "reports") == []
    assert {row.study for row in CHECKLIST} == {path.parent.name for path in (clone / "reports").glob("*/index.html")}


def test_what_a_page_lacks_is_told(tmp_path: Path) -> None:
    for study in {row.study for row in CHECKLIST}:
        (tmp_path / study).mkdir()
        (tmp_path / study / "index.html").write_text("<h2>Categories</h2><p>Train before and after", encoding="utf-8")
    missing = check_list(tmp_path)
    assert len(missing) == len(CHECKLIST) - 1 and "gallery of categories" not in {row.asked for row in missing}


def test_a_figure_that_a_page_shows_otherwise_is_told(tmp_path: Path) -> None:
    index, card = tmp_path / "index.html", tmp_path / "card.html"
    index.write_text("<table><caption>All</caption><tr><th>model<tr><th>m<td>0.500</table>", encoding="utf-8")
    figures = "<tr><th>figure<th>val<th>test<tr><th>samples<td>7<td>9<tr><th>macro F1<td>0.500<td>0.250 0.100 to 0.400"
    card.write_text(f"<table><caption>All figures</caption>{figures}</table><p>Less: +0.250.", encoding="utf-8")
    found = {"val": {"f1_macro": 0.5}, "test": {"n": 9, "f1_macro": 0.25, "f1_macro_low": 0.1}, "gap": 0.25, "data": "embedded"}
    assert check_model(Page(index), Page(card), "m", found) == (4, [])
    _, wrong = check_model(Page(index), Page(card), "m", found | {"test": {"n": 7, "f1_macro": 0.5}, "gap": 0.7})
    assert [text.split(",")[0] for text in wrong] == ["m: test n 7", "m: test f1_macro 0.5", "m: gap 0.7"]
    _, wrong = check_model(Page(index), Page(card), "other", found)
    assert wrong == ["other: none of its figures on the page of its study"]


def test_an_accuracy_that_was_rounded_twice_is_told(tmp_path: Path) -> None:
    answers = pd.DataFrame({"part": ["test"] * 165, "actual": "deer", "predicted": ["deer"] * 124 + ["fox"] * 41})
    (tmp_path / "answers/wood/m").mkdir(parents=True)
    answers.to_parquet(tmp_path / "answers/wood/m/answers.parquet")
    for shown, wrong in (("0.752 0.685 to 0.812", 0), ("0.751 0.685 to 0.812", 1)):
        card = tmp_path / shown[:5] / "wood" / MODELS / page_of("m")
        card.parent.mkdir(parents=True)
        figures = f"<tr><th>figure<th>test<tr><th>{words_of('accuracy', [])}<td>{shown}"
        card.write_text(f"<table><caption>All figures</caption>{figures}</table>", encoding="utf-8")
        found = check_accuracies(tmp_path / shown[:5], tmp_path / "answers")
        assert (found[0], len(found[1])) == (1, wrong)


@pytest.mark.slow
def test_every_headline_is_the_one_in_its_metrics_file(clone: Path) -> None:
    looked_for, wrong = check_numbers(clone / "reports", clone / "metrics")
    assert wrong == [] and looked_for > 300
    looked_for, wrong = check_summaries(clone / "reports", clone / "metrics")
    assert wrong == [] and looked_for > 40
    looked_for, wrong = check_accuracies(clone / "reports", clone / "data/answers")
    assert wrong == [] and looked_for > 100


@pytest.mark.slow
def test_the_index_has_the_best_figure_of_every_study(clone: Path) -> None:
    text = " ".join(read(clone / "reports/index.html").text.split())
    for path in (clone / "reports").glob("*/summary.json"):
        head = read_json(path)["headline"]
        best = next(row for row in head["models"] if row["model"] == head["best"])
        assert best["model"] in text and re.search(rf"\b{best['value']:.3f}\b", text), path
