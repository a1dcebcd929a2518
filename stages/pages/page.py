"""How a page is written, and what several pages count alike."""

import base64
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from stages.files import DataError, seed_from
from stages.pages import charts
from stages.pages.claims import comparison_of, not_checked
from stages.pages.study import Study, table_of
from stages.samples import TEST, VAL
from stages.scores import PAIR, RECALL

TOLD = "truth-heatmap"  # after the data set's name: a model that is told the true joints, and competes with none
BEST = "best (by validation)"
WEAKEST = 3  # classes that the first screen names as the hardest


def labels_of(study: Study) -> list[str]:
    """The classes of its samples, in order."""
    return sorted(study.samples.pictures["label"].unique())


def rejects_of(clean: Path) -> pd.DataFrame:
    """rejects.csv, all of it text."""
    return pd.read_csv(clean / "rejects.csv", keep_default_na=False, dtype=str)


def environment(*more: jinja2.BaseLoader) -> jinja2.Environment:
    """What pages are made with: templates of this folder, and of `more` loaders."""
    loader = jinja2.ChoiceLoader([*more, jinja2.FileSystemLoader(Path(__file__).parent)])
    made = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    made.globals["not_checked"] = not_checked  # claims.html shows it, on whatever page
    made.filters["source_hash"] = _source_hash
    return made


_environment = cache(environment)  # one for all pages, as it compiles each template once


def _source_hash(script: str) -> str:
    """A script as a Content-Security-Policy names it: the browser runs the one of this very text."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def write_page(out: Path, template: str, **shown: Any) -> None:
    """Write the page `out` by a template of this folder. Everything is escaped, and what a template misses is an error."""
    out.write_text(_environment().get_template(template).render(**shown), encoding="utf-8")


def in_turn(names: Iterable[str], seed: int = 0) -> list[str]:
    """Names in an order of chance that is the same in every run."""
    return sorted(set(names), key=lambda name: seed_from(seed, name))


def confusion_rows(table: pd.DataFrame, labels: list[str]) -> list[dict[str, Any]]:
    """Counts of actual against predicted, in the order of `labels`: label, n, and for each class its count and share of n."""
    counts = table.pivot_table(index="actual", columns="predicted", values="n", aggfunc="sum", fill_value=0)
    counts = counts.reindex(index=labels, columns=labels, fill_value=0)
    return [
        {"label": label, "n": int(row.sum()), "cells": [{"n": int(n), "share": float(n / max(1, row.sum()))} for n in row]}
        for label, row in zip(labels, counts.to_numpy(), strict=True)
    ]


# The first screen ----------------------------------------------------------------------------------------------------


def best_of(models: dict[str, dict[str, Any]], dataset: str, figure: str = "f1_macro") -> str | None:
    """The model that validation finds best by a figure; one that is told the true joints does not compete."""
    judged = {
        name: found["parts"][VAL][figure]
        for name, found in models.items()
        if {VAL, TEST} <= set(found["parts"]) and figure in found["parts"][VAL] and name != f"{dataset}-{TOLD}"
    }
    return max(sorted(judged), key=lambda name: judged[name], default=None)


def headline_of(
    models: dict[str, dict[str, Any]],
    figure: str,
    words: str,
    best: str | None,
    baseline: float | None,
    theirs: dict[str, float],
    constants: dict[str, Any],
) -> dict[str, Any] | None:
    """What the index and the slide say of a data set: figure (in words), part, n, baseline, best and, in the order of the page,
    models with n, value, low, high, the document's and `against`; None where no model has the figure in the test part.

    `constants` are the `baselines` of `comparisons`."""
    tests = {name: found["parts"][TEST] for name, found in models.items() if figure in found["parts"].get(TEST, {})}
    if not tests:
        return None
    ours = [
        {"model": name, "n": int(row["n"]), "value": row[figure]}
        | {"low": row.get(f"{figure}_low"), "high": row.get(f"{figure}_high")}
        | {"document": theirs.get(name), "against": against(constants, name, figure)}
        for name, row in tests.items()
    ]
    first = tests[best] if best in tests else next(iter(tests.values()))
    return {"figure": words, "part": TEST, "n": int(first["n"]), "baseline": baseline, "best": best, "models": ours}


def against(constants: dict[str, Any], model: str, figure: str) -> dict[str, Any] | None:
    """A model less always naming the commonest class, on the same items: change, low, high, verdict and reference; None where
    stages/compare.py did not compare them by this figure. `constants` are the `baselines` of `comparisons`."""
    pair = constants.get(model, {"figures": {}})
    row = pair["figures"].get(figure)
    return {key: row[key] for key in ("change", "low", "high", "verdict")} | {"reference": pair["reference"]} if row else None


def choices(models: dict[str, dict[str, Any]], best: str | None, figure: str, document: str | None) -> list[dict[str, Any]]:
    """Which model is best (by validation), quickest and smallest: question, model, n, value, low and high of `figure` in the
    test part, what it costs, how many others cost as little (`alike`: of those the one with the highest figure is named), and
    the model that the document finds best, `document`."""
    # A model that stands behind another was measured without it: it can be the best, not the quickest or smallest.
    measured = {name: found for name, found in models.items() if TEST in found["parts"] and found["cost"]}
    alone = {name: found["cost"] for name, found in measured.items() if "behind" not in found["cost"]}
    chosen = {BEST: best} if best else {}
    alike = {}
    for question, cost in (
        ("quickest to answer", "ms_an_image"),
        ("quickest to train", "train_seconds"),
        ("smallest", "megabytes"),
    ):
        if alone:
            least = min(found[cost] for found in alone.values())
            equal = {
                name: models[name]["parts"][TEST].get(figure, 0.0) for name, found in alone.items() if found[cost] == least
            }
            chosen[question] = max(sorted(equal), key=lambda name: equal[name])
            alike[question] = len(equal) - 1
    rows = []
    for question, model in chosen.items():
        test, cost_of = models[model]["parts"].get(TEST, {}), models[model]["cost"]
        numbers = {
            key: test.get(name) for key, name in (("value", figure), ("low", f"{figure}_low"), ("high", f"{figure}_high"))
        }
        costs = {key: cost_of.get(key) for key in ("ms_an_image", "train_seconds", "megabytes", "parameters")}
        more = {"alike": alike.get(question, 0), "document": document if question == BEST else None}
        rows.append({"question": question, "model": model, "n": test.get("n")} | numbers | costs | more)
    return rows


def weakest(metrics: Path, model: str, figure: str = "recall") -> list[dict[str, Any]]:
    """The classes that a model is worst at in the test part, none with a figure of 1: label, n, value, and what else it calls
    them most often (`called`, with `times`, 0 where it is never wrong)."""
    rows = table_of(metrics, model, "classes", TEST)
    rows = rows[(rows["n"] > 0) & (rows[figure] < 1)].sort_values([figure, "label"], kind="stable").head(WEAKEST)
    confusion = table_of(metrics, model, "confusion", TEST)
    if "level" in confusion:
        confusion = confusion[confusion["level"] == "picture"]
    found = []
    for row in rows.to_dict("records"):
        wrong = confusion[
            (confusion["actual"] == row["label"]) & (confusion["predicted"] != row["label"]) & (confusion["n"] > 0)
        ]
        most = wrong.sort_values(["n", "predicted"], ascending=[False, True]).head(1).to_dict("records")
        called = {"called": most[0]["predicted"], "times": int(most[0]["n"])} if most else {"called": "", "times": 0}
        found.append({"label": row["label"], "n": int(row["n"]), "value": row[figure]} | called)
    return found


def majority(models: dict[str, dict[str, Any]]) -> float | None:
    """How often always naming the commonest class is right in the test part; None where no model says."""
    return next(
        (found["parts"][TEST]["majority"] for found in models.values() if "majority" in found["parts"].get(TEST, {})), None
    )


# Comparisons ---------------------------------------------------------------------------------------------------------


def comparisons(study: Study, part: str = TEST) -> dict[str, Any]:
    """What stages/compare.py wrote of a part, nothing where it did not: `comparisons`, and by model `baselines`, with a
    constant answer, and `chances`, with choices by chance.

    Of each: model, reference, of_document, `figures` by name, `recalls` by class, and `pairs`, choices, by pair of classes.
    Missing values are left out, and so is what is of other data than the page's, or of a model that it has not: an earlier
    run's.
    """
    found: dict[str, Any] = {"comparisons": [], "baselines": {}, "chances": {}}
    path = study.metrics / "comparison.csv"
    if not path.is_file() or not comparison_of(study):
        return found
    try:
        rows = _compared(path)
    except DataError as error:
        print(f"{error}: shown without comparisons; `dvc repro` writes it anew")
        return found
    rows = rows[rows["part"] == part]
    for (model, reference, of_document), own in rows.groupby(["model", "reference", "of_document"], sort=False):
        records = [{name: value for name, value in row.items() if pd.notna(value)} for row in own.to_dict("records")]
        pair = {
            "model": model,
            "reference": reference,
            "of_document": bool(of_document),
            "figures": {row["figure"]: row for row in records if not row["label"]},
            "recalls": {row["label"]: row for row in records if row["figure"] == RECALL},
            "pairs": {row["label"]: row for row in records if row["figure"] == PAIR},
        }
        if model not in study.models or (pair["recalls"] and reference not in study.models):
            continue
        if pair["recalls"]:
            found["comparisons"].append(pair)
        else:
            found["baselines" if pair["figures"] else "chances"][model] = pair
    return found


def _compared(path: Path) -> pd.DataFrame:
    """comparison.csv. Raises DataError where it is not as stages/compare.py writes it."""
    words, numbers = (
        ["part", "model", "reference", "figure", "label", "verdict"],
        ["n", "before", "after", "change", "low", "high"],
    )
    some = ("won", "lost", "p", "seeds", "change_mean", "change_sd")  # not of every row
    try:
        rows = pd.read_csv(
            path, keep_default_na=False, na_values={name: [""] for name in some}, dtype=dict.fromkeys(words, str)
        )
        rows = rows.astype(dict.fromkeys([*numbers, *some], float)).astype({"n": int, "of_document": bool})
        whole = not rows[numbers].isna().any(axis=None) and not rows["verdict"].isin(["", None]).any()  # the last of these
    except (OSError, ValueError, KeyError) as error:  # empty, cut short, or without a column
        raise DataError(f"{path.name} cannot be read: {error}") from None
    if not whole:
        raise DataError(f"{path.name} has a row that is cut short")
    return rows


# Charts --------------------------------------------------------------------------------------------------------------


def charts_of(study: Study, model: str, out: Path) -> list[dict[str, str]]:
    """Learning, precision-recall and reliability curves of a model in the test part, as far as they were measured: file in
    `out` and what it shows."""

    curve = table_of(study.metrics, model, "curve")
    pr, reliability = (table_of(study.metrics, model, table, TEST) for table in ("pr", "reliability"))
    wanted = (
        ("best-learning.svg", curve, charts.learning, f"Learning curves of {model}: by epoch"),
        ("best-pr.svg", pr, charts.precision_recall, f"Precision against recall of {model} in the test part"),
        ("best-reliability.svg", reliability, charts.reliability, f"Reliability of {model} in the test part"),
    )  # fmt: skip
    return [
        {"file": file, "text": words}
        for file, rows, draw, words in wanted
        if len(rows) and draw(rows, f"{model} ({study.label})", out / file)
    ]


def distributions_of(study: Study, out: Path) -> list[dict[str, str]]:
    """The shares of the classes in each part of each version of the split, as charts: file in `out` and what it shows."""
    made: list[dict[str, str]] = []
    for version, split in study.splits.items():
        counts = pd.DataFrame.from_dict(split["classes"], orient="index").fillna(0).astype(int)
        counts = counts.reindex(columns=sorted(counts.columns))
        file = f"classes-{len(made)}.svg"
        if charts.distribution(counts, f"{version} ({study.label})", out / file):
            made.append({"file": file, "text": f"{version}: share of each class in each part"})
    return made
