"""What pages show of stages/compare.py's files: claims, what was not checked, and nothing that an earlier run left."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from stages.compare import COLUMNS
from stages.files import write_json
from stages.pages.claims import claims_of, not_checked
from stages.pages.page import _environment, comparisons

CLAIM = {"better": "a", "than": "b", "figure": "accuracy", "part": "test", "ours": False, "change": 0.1, "low": 0.05,
         "high": 0.2, "holds": True, "decided": True, "test": "t", "n": 9, "won": 6, "lost": 1, "p": 0.125}  # fmt: skip
OTHER = CLAIM | {"than": "gone", "part": "val"}


def study(data: str = "your data", models: str = "ab") -> Any:
    return SimpleNamespace(
        metrics=Path(), samples=SimpleNamespace(data=data), models={name: {} for name in models}, label=data, dataset="d"
    )


def leave(claims: dict[str, Any], **more: Any) -> None:
    """comparison.json and comparison.csv of two models, of one that the page has not, and of the baseline of each."""
    write_json(Path("comparison.json"), {"data": "your data", "claims": claims} | more)
    row = dict.fromkeys(COLUMNS, None) | {"part": "test", "of_document": False, "n": 9, "verdict": "better", "label": ""}
    row |= dict.fromkeys(("before", "after", "change", "low", "high"), 0.5)
    rows = []
    for model, reference in (
        ("a", "b"),
        ("a", "gone"),
        ("gone", "b"),
        ("gone", "always x"),
        ("a", "always x"),
        ("a", "chance"),
    ):
        about = row | {"model": model, "reference": reference}
        rows += [about | {"figure": "pair", "label": "x / y"}] if reference == "chance" else [about | {"figure": "accuracy"}]
        rows += [about | {"figure": "recall", "label": "x"}] if reference in ("b", "gone") else []
    pd.DataFrame(rows).to_csv("comparison.csv", index=False)


def shown(of: Any) -> str:
    """The claims' part of a page, its white space made single blanks."""
    template = _environment().from_string('{% from "claims.html" import claims %}{{ claims(study, rows) }}')
    return " ".join(template.render(study=of, rows=claims_of(of, {})).split())


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("data", ["embedded", None])
def test_a_comparison_of_other_data_is_not_shown(data: str | None) -> None:
    leave({"known": CLAIM}, not_checked={"x": "a has none"})
    assert [row["name"] for row in claims_of(study(), {})] == ["known"]
    assert comparisons(study())["comparisons"] and comparisons(study())["baselines"] and not_checked(study())
    leave({"known": CLAIM}, not_checked={"x": "a has none"}, data=data)
    assert claims_of(study(), {}) == [] and not_checked(study()) == {}
    assert comparisons(study()) == {"comparisons": [], "baselines": {}, "chances": {}}


def test_models_that_the_page_has_not_stand_in_no_row() -> None:
    leave({"known": CLAIM, "old": OTHER}, not_checked={"x": "a has no test answers"})
    assert [row["name"] for row in claims_of(study(), {})] == ["known"]
    assert not_checked(study()) == {"x": "a has no test answers", "old": "gone: no figures on this page"}
    found = comparisons(study())
    assert [(row["model"], row["reference"]) for row in found["comparisons"]] == [("a", "b")]
    assert [*found["baselines"]] == [*found["chances"]] == ["a"]
    assert comparisons(study(models="b")) == {"comparisons": [], "baselines": {}, "chances": {}}


def test_damaged_comparisons_are_left_out_and_named(capsys: pytest.CaptureFixture[str]) -> None:
    leave({"known": CLAIM})
    whole = Path("comparison.csv").read_text()
    for damaged, why in (
        ("", "cannot be read"),
        (whole.replace("change", "chance"), "cannot be read"),
        (whole.replace("0.5", "half"), "cannot be read"),
        (whole.rpartition("better")[0], "has a row that is cut short"),
    ):
        Path("comparison.csv").write_text(damaged)
        assert comparisons(study()) == {"comparisons": [], "baselines": {}, "chances": {}}
        assert why in (said := capsys.readouterr().out) and "comparison.csv" in said and "`dvc repro`" in said
    Path("comparison.csv").write_text(whole)
    for damaged in ("{", "[]"):
        Path("comparison.json").write_text(damaged)
        assert claims_of(study(), {}) == [] and not_checked(study()) == {} and not comparisons(study())["comparisons"]


def test_the_page_says_what_is_ours_what_val_flatters_and_what_was_not_checked() -> None:
    leave({"known": CLAIM})
    page = shown(study())
    assert "6 to 1<br><small>p 0.1250</small>" in page
    assert "ours" not in page and "On val" not in page and "Not checked" not in page
    leave({"known": CLAIM | {"ours": True, "part": "val"}}, not_checked={"a_<b>": "c has none", "d": "e has none"})
    page = shown(study())
    assert "by accuracy; ours, not the document's" in page and "On val every training chose the epoch" in page
    assert "<p>Not checked: a &lt;b&gt; (c has none); d (e has none).</p>" in page
    leave({"known": OTHER})
    assert shown(study()) == "<p>Not checked: known (gone: no figures on this page).</p>", "and no empty table"
    leave({"known": {key: value for key, value in CLAIM.items() if key not in ("won", "lost", "p")}})
    assert "McNemar" not in shown(study())
