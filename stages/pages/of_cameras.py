"""What the page of a data set with locations shows, by of_cameras.html: how well it goes where no model was trained, and which
model to take."""

from pathlib import Path
from typing import Any

import pandas as pd

from stages.pages import andi, charts
from stages.pages.best_camera import WHERE, by_label, of_best
from stages.pages.claims import claims_of
from stages.pages.gallery import JUDGED, Gallery
from stages.pages.page import against, comparisons, distributions_of, labels_of
from stages.pages.study import Study, table_of
from stages.samples import SEEN, UNSEEN, VAL

# Which model to take ---------------------------------------------------------------------------------------------------


def judged_part(models: dict[str, dict[str, Any]]) -> str | None:
    """The part that models are judged by: the first of unseen, test, seen and val that any has figures of."""
    return next((part for part in JUDGED if any(part in found["parts"] for found in models.values())), None)


def elsewhere_of(study: Study) -> frozenset[str]:
    """The versions of the split whose val has other locations than train."""
    return frozenset(version for version, split in study.splits.items() if not split["leaks"]["locations"].get(VAL, [VAL]))


def away_of(models: dict[str, dict[str, Any]], elsewhere: frozenset[str]) -> dict[str, dict[str, Any]]:
    """The models of those versions."""
    return {name: found for name, found in models.items() if name.rpartition("-")[2] in elsewhere}


def best_of(models: dict[str, dict[str, Any]], elsewhere: frozenset[str] = frozenset()) -> str | None:
    """The model of highest macro F1 on its val, the first of equals; of those that have the judged part.

    Where unseen locations judge, those whose val has other locations than train (versions `elsewhere`) go first: a val at
    train's own cameras chooses what remembers backgrounds.
    """
    part = judged_part(models)
    able = {name: found for name, found in models.items() if {VAL, part} <= set(found["parts"])}
    return first_of((part == UNSEEN and away_of(able, elsewhere)) or able, VAL)


def majority_f1(counts: dict[str, int]) -> float | None:
    """Macro F1 of always naming the commonest class, over the classes that occur. `counts` are pictures by class."""
    counts = {label: n for label, n in counts.items() if n}
    share = max(counts.values(), default=0) / max(1, sum(counts.values()))
    return 2 * share / (1 + share) / len(counts) if counts else None


def first_of(models: dict[str, dict[str, Any]], part: str) -> str | None:
    """The model of highest macro F1 in a part, the first of equals."""
    judged = {name: found["parts"][part]["f1_macro"] for name, found in models.items() if part in found["parts"]}
    return max(sorted(judged), key=lambda name: judged[name], default=None)


def choices(models: dict[str, dict[str, Any]], elsewhere: frozenset[str] = frozenset()) -> list[dict[str, Any]]:
    """Which model is best by validation, quickest, smallest: a row for each question, the first of equals.

    Of each: question, model, part, n, value, low, high (macro F1 there), what it costs (None where that was not measured), and
    the document's choice. `elsewhere` are versions whose val has other locations than train.
    """
    part, best = judged_part(models), best_of(models, elsewhere)
    if part is None:
        return []
    entrants = {name: found for name, found in models.items() if part in found["parts"]}
    # A model that stands behind another was measured without it: it can be the best, not the quickest or smallest.
    alone = {name: found["cost"] for name, found in entrants.items() if found["cost"] and "behind" not in found["cost"]}
    classifiers = {name: cost for name, cost in alone.items() if "box_threshold" not in models[name]["chosen"]}
    at_home = {name: found for name, found in entrants.items() if name not in away_of(entrants, elsewhere)}
    away = part == UNSEEN and any(VAL in found["parts"] for found in away_of(entrants, elsewhere).values())

    def least(of: dict[str, dict[str, Any]], cost: str) -> str | None:
        return min(of, key=lambda name: (of[name][cost], name), default=None)

    questions: list[tuple[str, str | None, str | None]] = [
        ("best on val pictures from other cameras than train's" if away else "best on val pictures", best, andi.BEST),
        ("best on val pictures from train's own cameras", first_of(at_home, VAL) if away else None, None),
        ("quickest to answer", least(alone, "ms_an_image"), None),
        ("quickest classifier", least(classifiers, "ms_an_image"), andi.QUICKEST_CLASSIFIER),
        ("quickest to train", least(alone, "train_seconds"), None),
        ("most portable: smallest file", least(alone, "megabytes"), andi.MOST_PORTABLE),
    ]
    if part != VAL:
        highest = f"highest {WHERE[part]} (for reference: chosen by the test itself)"
        questions.insert(2, (highest, first_of(entrants, part), None))
    rows = []
    for question, name, document in questions:
        if name:
            found, cost = models[name]["parts"][part], models[name]["cost"]
            row = {"question": question, "model": name, "part": part, "n": int(found["n"]), "value": found["f1_macro"]}
            row |= {side: found.get(f"f1_macro_{side}") for side in ("low", "high")}
            row |= {key: cost.get(key) for key in ("ms_an_image", "train_seconds", "megabytes", "parameters")}
            rows.append(row | {"document": document})
    return rows


def headline(study: Study) -> dict[str, Any] | None:
    """What the index and the slide say: figure, part, n, baseline, best, and models (n, value, low, high, the document's, and
    `against` always naming the commonest class)."""
    models, part, best = study.models, judged_part(study.models), best_of(study.models, elsewhere_of(study))
    if part is None:
        return None
    shown = {name: found["parts"][part] for name, found in models.items() if part in found["parts"]}
    first, theirs = best or next(iter(shown)), andi.figures(study.dataset, part)
    constants = comparisons(study, part)["baselines"]
    return {
        "figure": f"macro F1 {WHERE[part]}",
        "part": part,
        "n": int(shown[first]["n"]),
        "baseline": majority_f1(by_label(table_of(study.metrics, first, "classes", part), "n")),
        "best": best,
        "models": [
            {"model": name, "n": int(row["n"]), "value": row["f1_macro"]}
            | {"low": row.get("f1_macro_low"), "high": row.get("f1_macro_high")}
            | {"document": theirs.get((name, "f1_macro")), "against": against(constants, name, "f1_macro")}
            for name, row in shown.items()
        ],
    }


# Figures of all models, and of the data --------------------------------------------------------------------------------


def gap_chart(study: Study, out: Path) -> list[str]:
    """Macro F1 of every model at seen and at unseen locations, or in what part there is, with intervals; which were drawn."""
    models, own = study.models, judged_part(study.models)
    parts = [part for part in (SEEN, UNSEEN) if any(part in found["parts"] for found in models.values())] or [own or VAL]
    nan, series = float("nan"), {}
    for part in parts:
        rows = {model: found["parts"][part] for model, found in models.items() if part in found["parts"]}
        series[WHERE[part]] = {
            model: (row["f1_macro"], row.get("f1_macro_low", nan), row.get("f1_macro_high", nan)) for model, row in rows.items()
        }
    title = f"Macro F1 {' and '.join(series)} ({study.label})"
    return parts if charts.intervals(series, "macro F1, 95 % interval", title, out / "gap.svg") else []


def locations_of(study: Study, out: Path) -> list[dict[str, str]]:
    """The share of each location in each part of each version of the split, as charts."""
    made: list[dict[str, str]] = []
    at = study.samples.pictures[["sample_id", "location"]]
    for version in study.splits:
        lists = pd.read_csv(study.lists / version / "parts.csv", dtype=str, keep_default_na=False)
        both = lists.merge(at, on="sample_id")
        counts = pd.crosstab(both["part"], both["location"].fillna("unknown"))
        file = f"locations-{len(made)}.svg"
        if charts.distribution(counts, f"{version}, locations ({study.label})", out / file):
            made.append({"file": file, "text": f"{version}: share of each location in each part"})
    return made


def absent_of(models: dict[str, dict[str, Any]]) -> dict[tuple[str, str], list[str]]:
    """Which models miss the same classes in the same part: {(part, classes): models}."""
    absent: dict[tuple[str, str], list[str]] = {}
    for name, found in models.items():
        for part, labels in found["absent"].items():
            absent.setdefault((part, labels), []).append(name)
    return absent


def versions_of(models: dict[str, dict[str, Any]]) -> set[str]:
    """The versions of the split that models belong to."""
    return {name.rpartition("-")[2] for name in models}


def claimed(study: Study) -> list[dict[str, Any]]:
    """The claims, each with the document's figures of the very part that it was checked in."""
    theirs = {part: claims_of(study, andi.figures(study.dataset, part)) for part in (UNSEEN, SEEN, VAL)}
    return [theirs.get(row["part"], rows)[place] for rows in [claims_of(study, {})] for place, row in enumerate(rows)]


def shown(study: Study, out: Path, gallery: Gallery) -> dict[str, Any]:
    """What of_cameras.html shows; charts and pictures are written into the folder `out`."""
    models, part, elsewhere = study.models, judged_part(study.models), elsewhere_of(study)
    best = best_of(models, elsewhere)
    compared = {part: comparisons(study, part)["comparisons"] for part in (SEEN, UNSEEN)}
    return {
        "head": headline(study),
        "where": WHERE,
        "best": best,
        "own": of_best(study, best, part, gallery, out) if best and part else {},
        "choices": choices(models, elsewhere),
        "versions_differ": len(versions_of(models) & set(study.splits)) > 1,
        "away": bool(best) and best in away_of(models, elsewhere),
        "networks": andi.networks(models, study.dataset),
        "versions": andi.version_tables(models, study.dataset),
        "tests": andi.test_tables(models, study.dataset),
        "claims": claimed(study),
        "comparisons": {part: rows for part, rows in compared.items() if rows},
        "gap": gap_chart(study, out),
        "absent": absent_of(models),
        "cap": gallery.cap,
        "labels": labels_of(study),
        "distributions": [*distributions_of(study, out), *locations_of(study, out)],
    }
