"""All that the page of a data set with locations shows of the best model: where it fails, in tables, charts and pictures."""

from pathlib import Path
from typing import Any

import pandas as pd

from stages.box_scores import BACKGROUND, MISSED
from stages.pages import charts
from stages.pages.gallery import RIGHT, Gallery
from stages.pages.page import confusion_rows
from stages.pages.study import Study, table_of
from stages.samples import EMPTY, SEEN, TEST, UNSEEN, VAL

WHERE = {UNSEEN: "at unseen locations", SEEN: "at seen locations", TEST: "in the test part", VAL: "in val"}
HARDEST, LOCATIONS = 3, 30  # classes named on the first screen; locations drawn, those with most pictures


def by_label(classes: pd.DataFrame, column: str) -> dict[str, Any]:
    """A column of <model>.classes.csv by class; of n whole numbers, and of figures those of classes that occur."""
    if classes.empty:
        return {}
    rows = classes if column == "n" else classes[classes["n"] > 0]
    return {
        label: int(value) if column == "n" else float(value) for label, value in zip(rows["label"], rows[column], strict=True)
    }


def curves_of(study: Study, model: str, part: str) -> pd.DataFrame:
    """Precision and recall of every class, and of all, in a part; of all alone where the classes' were not stored."""
    path = study.answers / model / "curves.parquet"  # in the manifest that `answers_of` checks
    if not path.is_file():
        return table_of(study.metrics, model, "pr", part)
    rows = pd.read_parquet(path)
    return rows[rows["part"] == part]


def confusion(study: Study, model: str, part: str) -> list[dict[str, Any]]:
    """Counts of pictures of a part, true against predicted: rows for the macro confusions."""
    rows, classes = table_of(study.metrics, model, "confusion", part), table_of(study.metrics, model, "classes", part)
    return confusion_rows(rows[rows["level"] == "picture"], list(classes["label"])) if len(rows) else []


def box_confusion(study: Study, model: str, part: str) -> list[dict[str, Any]]:
    """The same of boxes: a row for each class, the last for background, where nothing is; the last column is for missed."""
    rows, classes = table_of(study.metrics, model, "confusion", part), table_of(study.metrics, model, "classes", part)
    if rows.empty or not rows["level"].eq("box").any():
        return []
    labels = [label for label in classes["label"] if label != EMPTY]
    found = confusion_rows(rows[rows["level"] == "box"], [*labels, MISSED, BACKGROUND])
    return [row | {"cells": row["cells"][:-1]} for row in found if row["label"] != MISSED]


def failures(rows: list[dict[str, Any]]) -> dict[str, int]:
    """Of a confusion of pictures: `filled`, not empty (what is there may be a car), of them `missed` (called empty), `empty`
    ones, and of these `alarms`, called something else."""
    place = next((number for number, row in enumerate(rows) if row["label"] == EMPTY), None)
    if place is None:
        return {}
    filled = [row for row in rows if row["label"] != EMPTY]
    empty = rows[place]
    missed, alarms = sum(row["cells"][place]["n"] for row in filled), empty["n"] - empty["cells"][place]["n"]
    return {"filled": sum(row["n"] for row in filled), "missed": missed, "empty": empty["n"], "alarms": alarms}


def slices_drawn(slices: pd.DataFrame, part: str, title: str, out: Path) -> list[dict[str, str]]:
    """Accuracy of a part by light and box size, and by the locations with most pictures, as charts: file and what it shows."""
    if slices.empty:
        return []
    at = slices["slice"] == "location"
    tables = {
        "best-slices.svg": ("by light and size of the box", slices[~at]),
        "best-locations.svg": ("by location", slices[at].sort_values(["n", "value"], ascending=[False, True]).head(LOCATIONS)),
    }
    made = []
    for file, (what, rows) in tables.items():
        names = rows["value"] if what == "by location" else rows["slice"].str.replace("_", " ") + ": " + rows["value"]
        accuracy, n = dict(zip(names, rows["accuracy"], strict=True)), dict(zip(names, rows["n"].astype(int), strict=True))
        if charts.bars({part: accuracy}, n, "accuracy", title, out / file):
            made.append({"file": file, "text": f"Accuracy {WHERE[part]}, {what}"})
    return made


def drawn(
    study: Study, model: str, shown: list[str], own: str, classes: dict[str, pd.DataFrame], out: Path
) -> list[dict[str, str]]:
    """The model's charts, as far as there is anything to draw: file in `out`, and what it shows."""
    title, made = f"{model} ({study.label})", []
    f1 = {part: by_label(rows, "f1") for part, rows in classes.items()}
    if charts.bars(f1, by_label(classes[shown[-1]], "n"), "F1 of a class", title, out / "best-classes.svg"):
        made.append({"file": "best-classes.svg", "text": f"F1 of each class; n {WHERE[shown[-1]]}"})
    for part in shown:
        of_part = f"{model}, {part} ({study.label})"
        if charts.precision_recall(curves_of(study, model, part), of_part, out / f"best-pr-{part}.svg"):
            made.append({"file": f"best-pr-{part}.svg", "text": f"Precision against recall {WHERE[part]}, by class and of all"})
        reliability = table_of(study.metrics, model, "reliability", part)
        if charts.reliability(reliability, of_part, out / f"best-reliability-{part}.svg"):
            made.append({"file": f"best-reliability-{part}.svg", "text": f"How sure against how often right {WHERE[part]}"})
    made += slices_drawn(table_of(study.metrics, model, "slices", own), own, f"{model}, {own} ({study.label})", out)
    if charts.learning(table_of(study.metrics, model, "curve"), title, out / "best-learning.svg"):
        made.append({"file": "best-learning.svg", "text": "Learning: losses and figures of val by epoch"})
    return made


def of_best(study: Study, model: str, own: str, gallery: Gallery, out: Path) -> dict[str, Any]:
    """What the page shows of a model that is judged by the part `own`; charts and pictures are written into `out`.

    `shown` are the parts seen and unseen, or the one that there is. Raises DataError where the answers were altered.
    """
    study.answers_of(model)  # checks the folder that curves_of reads
    shown = [part for part in (SEEN, UNSEEN) if part in study.models[model]["parts"]] or [own]
    classes = {part: table_of(study.metrics, model, "classes", part) for part in shown}
    tables = {part: rows.set_index("label").to_dict("index") for part, rows in classes.items()}
    judged = classes[own] if own in classes else table_of(study.metrics, model, "classes", own)
    items = gallery.of_model(model)
    return {
        "shown": shown,
        "classes": {
            label: {part: of[label] for part, of in tables.items() if label in of} for of in tables.values() for label in of
        },
        "pictures": {part: confusion(study, model, part) for part in shown},
        "boxes": {part: rows for part in shown if (rows := box_confusion(study, model, part))},
        "failures": failures(confusion(study, model, own)),
        "hardest": judged[(judged["n"] > 0) & (judged["f1"] < 1)].sort_values(["f1", "label"]).head(HARDEST).to_dict("records"),
        "slices": table_of(study.metrics, model, "slices", own).to_dict("records"),
        "charts": drawn(study, model, shown, own, classes, out),
        "pictures_shown": items,
        "is_wrong": any(item["outcome"] != RIGHT for item in items),
    }
