"""The index of all data sets: what ran, what did not, what was altered, whatever they are called."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.repo import Repo

from stages.files import new_folder, write_json
from stages.pages import headline, index
from tests.report_helpers import SCRIPT, Page

STRANGE = f"{SCRIPT}$x$ \"q' & {'long' * 12}"


def study(name: str = "wood", models: int = 3, **more: Any) -> dict[str, Any]:
    """A summary as the report stage leaves it: model m0 is the best by validation, the last the highest."""
    rows = [
        {
            "model": f"{name}-m{n}",
            "n": 37 + n,
            "value": 0.1 + 0.05 * n,
            "low": 0.05 * n,
            "high": 0.2 + 0.05 * n,
            "document": None,
        }
        for n in range(models)
    ]
    found = {"figure": "macro F1 at unseen locations", "part": "unseen", "n": 37, "baseline": 0.125, "models": rows}
    return {
        "dataset": name, "label": "embedded data", "citation": "Ours", "licence": "CC0", "samples": 1234, "of": "pictures",
        "evaluated": [row["model"] for row in rows], "missing": [], "left_out": [], "claims": [], "choices": [],
        "headline": found | {"best": f"{name}-m0"} if models else None,
    } | more  # fmt: skip


def claim(verdict: str) -> dict[str, Any]:
    return {"better": "a", "than": SCRIPT, "figure": "f1_macro", "part": "test", "change": 0.1, "low": -0.1, "high": 0.2,
            "verdict": verdict, "words": "w"}  # fmt: skip


def write_study(found: dict[str, Any]) -> Path:
    with new_folder(Path("reports") / found["dataset"]) as folder:
        write_json(folder / "summary.json", found)
        (folder / "index.html").write_text("the page")
    return Path("reports") / found["dataset"]


@pytest.fixture
def indexed(stage: Callable[..., Any]) -> Callable[..., Page]:
    """The index of data sets by these names, as the command line writes it."""

    def go(*names: str) -> Page:
        done = stage("report", "--index", params={"datasets": {name: {} for name in names}, "models": {}})
        assert done.code == 0, done.err
        return Page(Path("reports/index.html"))

    return go


def text_of(page: Page) -> str:
    return " ".join(page.text.split())


def test_a_study_shows_the_model_that_validation_finds_best(indexed: Callable[..., Page], stage: Callable[..., Any]) -> None:
    write_study(study(claims=[claim("holds"), claim("undecided"), claim("holds")]))
    page = indexed("wood")
    said = text_of(page)
    assert "0.100 macro F1 at unseen locations, n 37" in said
    assert "95 % interval 0.000 to 0.200 ; always the commonest class: 0.125" in said.replace(" ;", " ;").replace(
        "0.200;", "0.200 ;"
    )
    assert "2 hold, 0 do not, 1 undecided" in said
    assert "3 of 3 models evaluated, on 1,234 pictures" in said
    assert "embedded data" in said
    assert {"wood/index.html", "wood/data.html", "wood/models/wood-m0.html", "headline.png", "headline.pdf"} <= {*page.links}
    rows = page.table("model")
    assert [row[0].split()[0] for row in rows] == ["wood-m0", "wood-m1", "wood-m2"]
    assert "best by validation" in rows[0][0] and "best" not in rows[2][0]
    assert rows[1][2:] == ["embedded data", "macro F1 at unseen locations", "0.150", "0.050 to 0.250", "38", "–"]
    assert "Claims checked: 2 hold" in said and "their intervals lean" in said


def test_figures_without_an_interval_are_shown_without_one(indexed: Callable[..., Page]) -> None:
    found = study()
    for row in found["headline"]["models"]:
        row |= {"low": None, "high": None}
    write_study(found)
    page = indexed("wood")
    assert "0.100 macro F1 at unseen locations, n 37 95 % interval –" in text_of(page)
    assert [row[5] for row in page.table("model")] == ["–"] * 3
    assert Path("reports/headline.png").is_file()


def test_a_study_that_was_not_run_shows_as_such_with_what_runs_it(indexed: Callable[..., Page]) -> None:
    write_study(study())
    page = indexed("wood", "sea")
    assert "Not run, or failed." in text_of(page)
    assert "dvc repro report@sea" in text_of(page)
    assert "sea/index.html" not in page.links


def test_an_index_of_nothing_says_so_of_each(indexed: Callable[..., Page]) -> None:
    page = indexed("wood", "sea")
    assert text_of(page).count("Not run, or failed.") == 2
    assert page.tables == []
    assert Path("reports/headline.png").is_file()


def test_a_study_with_missing_models_names_them(indexed: Callable[..., Page]) -> None:
    write_study(study(missing=["wood-x", "wood-y"], left_out=["wood-old (it has no answers)"]))
    said = text_of(indexed("wood"))
    assert "3 of 5 models evaluated" in said
    assert "as they were not run or failed: wood-x, wood-y. dvc repro evaluate@wood-x runs the first" in said
    assert "Left out: wood-old (it has no answers)." in said


def test_a_study_without_any_figure_has_no_headline(indexed: Callable[..., Page]) -> None:
    write_study(study(models=0, missing=["wood-x"]))
    page = indexed("wood")
    assert "No headline" in text_of(page)
    assert page.tables == []


@pytest.mark.parametrize("fault", ["changed", "cut", "stray"])
def test_altered_pages_are_told_and_none_of_their_figures_shown(indexed: Callable[..., Page], fault: str) -> None:
    folder = write_study(study())
    if fault == "changed":
        text = (folder / "summary.json").read_text()
        (folder / "summary.json").write_text(text.replace('"n": 37', '"n": 99'))
    elif fault == "cut":
        (folder / "summary.json").write_text("{")
    else:
        (folder / "stray.html").write_text("x")
    page = indexed("wood")
    said = text_of(page)
    assert "Altered." in said and "not as the report stage left them" in said
    assert "dvc repro report@wood" in said
    assert page.tables == [] and "n 99" not in said


def test_stages_that_did_not_run_since_are_named(
    indexed: Callable[..., Page], stage: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_study(study())
    behind = [f"train@wood-m{n}" for n in range(5)]
    monkeypatch.setattr(index, "behind_of", lambda datasets: {"wood": behind, "sea": ["download@sea"]})
    said = text_of(indexed("wood", "sea"))
    assert (
        "Not up to date. Older than params.yaml, the data or the code: train@wood-m0, train@wood-m1, train@wood-m2 and 2 more"
        in said
    )
    assert "0.100 macro F1" in said
    assert "or failed: download@sea" in said


def test_what_did_not_run_since_is_asked_of_dvc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert index.behind_of(["wood"]) == {}, "no pipeline"
    Repo.init(no_scm=True).close()
    Path("params.yaml").write_text("a: 1\n")
    stages = {
        "check": {"cmd": "echo 1 > checked", "deps": ["params.yaml"], "outs": ["checked"]},
        "train": {"cmd": "echo 1 > model", "deps": ["checked"], "outs": ["model"]},
        "report": {"foreach": ["wood", "sea"], "do": {"cmd": "echo 1 > ${item}", "deps": ["model"], "outs": ["${item}"]}},
    }
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    assert index.behind_of(["wood", "other"]) == {"wood": ["train", "report@wood"]}
    with Repo() as repo:
        repo.reproduce(targets=["report@wood"])
    assert index.behind_of(["wood", "sea"]) == {"wood": [], "sea": ["report@sea"]}
    monkeypatch.setenv("DVC_STAGE", "index")
    assert index.behind_of(["wood", "sea"]) == {}, "inside a run of DVC's it is settled"


def test_names_are_text_and_nothing_else(indexed: Callable[..., Page]) -> None:
    name = STRANGE.replace("/", "-")  # what a folder can be called
    rows = study(name)
    rows["label"] = rows["citation"] = rows["headline"]["figure"] = STRANGE
    rows["headline"]["models"][1]["model"] = STRANGE
    rows["missing"], rows["claims"] = [STRANGE], [claim("holds")]
    rows["choices"] = [{"question": STRANGE, "model": STRANGE}]
    write_study(rows)
    page = indexed(name)
    html = Path("reports/index.html").read_text()
    scripts = re.findall(r"<script", html)
    assert len(scripts) == 1, "the page's own alone"
    assert SCRIPT in page.text


def test_a_slide_has_at_most_so_many_models_the_best_and_the_documents_first() -> None:
    found = study(models=12)["headline"]
    found["models"][1]["document"] = 0.9
    chosen = [row["model"] for row in headline.main_models(found)]
    assert len(chosen) == headline.MOST
    assert chosen[:2] == ["wood-m0", "wood-m1"], "best by validation, and the document's; in the order of the page"
    assert chosen[2:] == [f"wood-m{n}" for n in range(6, 12)], "then by value"


def test_the_same_summaries_give_the_same_bytes(indexed: Callable[..., Page]) -> None:
    write_study(study())
    found = []
    for _ in range(2):
        indexed("wood", "sea")
        found.append({name: (Path("reports") / name).read_bytes() for name in ("index.html", "headline.png", "headline.pdf")})
    assert found[0] == found[1]
    assert found[0]["headline.png"][16:24] == (1920).to_bytes(4, "big") + (1080).to_bytes(4, "big")
    assert found[0]["headline.pdf"].count(b"/Type /Page ") == 1


@pytest.mark.parametrize("studies", [1, 2, 3, 5, 7])
def test_a_slide_has_as_many_panels_as_there_are_studies(tmp_path: Path, studies: int) -> None:
    headline.write([study(f"s{n}") for n in range(studies - 1)] + [{"dataset": "none", "headline": None}], tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"headline.png", "headline.pdf"}


def test_summaries_are_json_that_any_reader_takes(indexed: Callable[..., Page]) -> None:
    folder = write_study(study())
    assert json.loads((folder / "summary.json").read_text())["dataset"] == "wood"
