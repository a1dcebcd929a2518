"""The page of a data set without locations: its figures beside the document's, comparisons, galleries, and hostile names."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from stages import split
from stages.files import check_manifest, new_folder, write_json
from stages.plain_report import by_species, synthetic
from stages.predictions import TABLE, class_rows
from stages.samples import SCORED, check_tables, of_part, read_samples, read_version
from tests import training_helpers as tiny
from tests.test_report import COST, SCRIPT, Page

STANDING, VIT = "walking_standing", "posture-vit"
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
    with new_folder(tmp_path / "clean") as folder:
        pictures.to_parquet(folder / "samples.parquet")
        boxes.to_parquet(folder / "boxes.parquet")
        pd.DataFrame(REJECTS, columns=["kind", "row", "name", "reason", "detail"]).to_csv(folder / "rejects.csv", index=False)
        write_json(folder / "source.json", {"root": str(raw), "data": "your data", "citation": "Ours", "licence": "<u>CC0</u>"})
        write_json(folder / "counts.json", COUNTS)
    with new_folder(tmp_path / "splits") as folder:
        (folder / "all").mkdir()
        pd.DataFrame({"sample_id": IDS, "part": PARTS}).to_csv(folder / "all/parts.csv", index=False)
        found = split.report(pictures, pd.Series(PARTS), 3) | {"warnings": [f"train has no {SCRIPT}"]}
        write_json(folder / "report.json", {"all": found})
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
        with new_folder(project / "predictions" / name) as folder:
            class_rows(pd.DataFrame(scores).T).to_parquet(folder / TABLE, index=False)
        with new_folder(project / "models" / name) as folder:
            card = {"classes": [SCRIPT, STANDING], "trained_on": {"data": "your data"}, "as_built": "tiny <s>"}
            write_json(folder / "model.json", card)
        done = stage("evaluate", "--model", name, "--draws", 20, "--trained", f"models/{name}", "--predictions",
                     f"predictions/{name}", "--clean", "clean", "--split", "splits/all", "--seed", 0, "--answers",
                     f"answers/{name}", "--metrics", "metrics")  # fmt: skip
        assert done.code == 0, done.err
        write_json(project / "metrics" / f"{name}.cost.json", COST)

    return go


@pytest.fixture
def compared(stage: Callable[..., Any]) -> Callable[..., None]:
    def go(**settings: Any) -> None:
        done = stage("compare", "--params", "compare.d", "--answers", "answers", "--seed", 0, "--out", "metrics/comparison.csv",
                     "--metrics", "metrics/comparison.json", params={"compare": {"d": settings | {"draws": 40}}})  # fmt: skip
        assert done.code == 0, done.err

    return go


@pytest.fixture
def report(stage: Callable[..., Any]) -> Callable[[], Page]:
    def go() -> Page:
        done = stage("report", "--dataset", "wood <em>", "--clean", "clean", "--splits", "splits", "--metrics", "metrics",
                     "--answers", "answers", "--out", "page")  # fmt: skip
        assert done.code == 0, done.err
        assert check_manifest(Path("page")) == []
        return Page(Path("page/index.html"))

    return go


def test_models_stand_beside_the_documents_figures(evaluated: Callable[..., None], report: Callable[[], Page]) -> None:
    evaluated(f"{VIT}-transfer", right=IDS)
    evaluated("posture-own <s>", right=[])
    page = report()
    own, transfer = page.named("model")[0]
    assert own[0] == "posture-own <s> tiny <s>" and own[-1] == "–"
    assert [cell.split()[0] for cell in own[1:6]] == ["8", "0.750", "0.500", "0.429", "0.750"]
    assert transfer[1:7] == ["8", *["1.000 1.000 to 1.000"] * 3, "0.750", "1.000"]
    assert transfer[-1] == "0.9264"
    assert "do not compare with each other" in page.text and "measured on the data given" in page.text


def test_figures_of_the_document_are_shown_beside_its_own_models_alone(
    evaluated: Callable[..., None], report: Callable[[], Page]
) -> None:
    evaluated("own", right=IDS)
    page = report()
    assert "the document" not in page.text
    assert page.named("model")[0][0][-1] == "8"
    assert "What changes what" not in page.text and "Pictures that nobody took" not in page.text


def test_comparisons_have_verdicts_and_recalls_before_and_after(
    evaluated: Callable[..., None], compared: Callable[..., None], report: Callable[[], Page]
) -> None:
    evaluated(f"{VIT}-scratch", right=[])
    evaluated(f"{VIT}-transfer", right=IDS)
    evaluated(f"{VIT}-mixup", right=[*IDS[:20], "p21", "p22"])
    compared(references={VIT: [f"{VIT}-scratch", f"{VIT}-transfer"]}, document=[f"{VIT}-transfer"])
    page = report()
    figures, changes, recalls, how, costs = page.named("model")
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


def test_confusion_and_what_was_right_and_wrong(evaluated: Callable[..., None], report: Callable[[], Page]) -> None:
    evaluated("own", right=IDS[:20])
    page = report()
    assert page.table("true") == [[SCRIPT, "2", "1", "1"], [STANDING, "6", "", "6"]]
    assert "What own got wrong in the test part" in page.text
    assert page.text.count(f"{SCRIPT}, called {STANDING} (0.60)") == page.text.count(", called ") == 1
    assert f"{SCRIPT} (1.00)" in page.text and f"{STANDING} (1.00)" in page.text


def test_a_page_without_any_model_shows_the_data(report: Callable[[], Page], project: Path) -> None:
    page = report()
    assert "No model has been evaluated yet" in page.text
    assert "26 pictures in, 24 kept, 2 rejected. Source: Ours." in " ".join(page.text.split())
    counts, _ = page.named("class"), page.table("part")
    assert counts == [[[SCRIPT, "0", "6", "0", "6"], [STANDING, "6", "6", "6", "18"], ["all", "6", "12", "6", "24"]]]
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
    assert not page.tags & {"script", "i", "b", "u", "s", "em"}
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
    made(project / "data/synthetic/wood <em>")
    page = report()
    assert "Made by renderer: <b>m</b>. They are in train alone." in page.text
    assert page.named("class")[0] == [[SCRIPT, "2", "5", "1", "4", "6"], [STANDING, "6", "0", "0", "0", "6"]]
    assert "pictures/montage.jpg" in page.links and "pictures/refused.jpg" not in page.links
    with Image.open("page/pictures/montage.jpg") as picture:
        assert picture.width == 1200


def test_nothing_synthetic_is_told_of_where_nothing_was_made(tmp_path: Path) -> None:
    assert synthetic(tmp_path / "none") is None
    assert synthetic(made(tmp_path / "idle", generator=None)) is None
