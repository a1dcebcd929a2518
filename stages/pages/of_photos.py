"""What the page of a data set without locations shows, by of_photos.html.

The models and how they compare on one test part, class by class; what manifold mixup makes of features; what one of the models
got right and wrong; pictures that nobody took; what was cleaned away, with its reasons. Pictures are chosen by seed.
"""

from collections import Counter
from dataclasses import replace
from itertools import groupby, product
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image

from stages.files import read_json, require_manifest
from stages.pages import documents
from stages.pages.charts import bars, plain, save
from stages.pages.claims import claims_of
from stages.pages.gallery import Gallery
from stages.pages.of_people import Album, of_reason
from stages.pages.page import (
    best_of,
    charts_of,
    choices,
    comparisons,
    confusion_rows,
    distributions_of,
    headline_of,
    in_turn,
    labels_of,
    majority,
    rejects_of,
    weakest,
)
from stages.pages.study import Study, table_of
from stages.predictions import FEATURES
from stages.samples import TEST, Samples

matplotlib.use("Agg")
import matplotlib.pyplot as plt

A_CLASS = 3  # pictures of a class
UNKNOWN, NO_CLASS, ALL = "unknown", "no class", "all"  # what stands for a missing species, a missing class, all of them
SYNTHETIC_PX = 1200  # width of a montage on the page
MIXUP, SYNTHETIC = "mixup", "synthetic"  # remedies, as they stand in a model's name
# Of each class its colour, Okabe and Ito's that are told apart with every colour vision, and its shape.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#F0E442")
MARKERS = ("o", "^", "s", "D", "v", "P", "X", "*")
PALE = 0.25  # how much of its colour the region of a class has, the rest is white


# Figures -------------------------------------------------------------------------------------------------------------


def adding(comparisons: list[dict[str, Any]], remedy: str) -> list[dict[str, Any]]:
    """The comparison of each model that has the remedy in its name with its counterpart that has not.

    That is the model of the same name without the remedy, else the document's reference; a model that was compared with neither
    is left out.
    """
    found = []
    for model, own in groupby(comparisons, key=lambda row: row["model"]):
        parts, rows = model.split("-"), list(own)
        if remedy in parts:
            namesake = "-".join(part for part in parts if part != remedy)
            found += ([row for row in rows if row["reference"] == namesake] or [row for row in rows if row["of_document"]])[:1]
    return found


def of_rare_classes(comparisons: list[dict[str, Any]], made: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Recall with and without the pictures that nobody took, of each class that has some, in each model that trained on them.

    A row of a recall each, with its class's pictures in train: photos, added.
    """
    photos, added = (made["train_before"], made["added"]) if made else ({}, {})
    pairs = adding(comparisons, SYNTHETIC)
    return [
        pair["recalls"][label] | {"photos": photos[label], "added": n}
        for label, n in added.items()
        for pair in pairs
        if n and label in pair["recalls"]
    ]


def by_species(pictures: pd.DataFrame, counts: dict[str, Any]) -> dict[str, Any]:
    """Pictures by class and species: `species`, the columns, and `rows` of label and cells, {in, kept}; both end with all.

    `in` is None where the clean stage did not count what came in by class.
    """
    kept = Counter(zip(pictures["label"], pictures["species"].fillna(UNKNOWN), strict=True))
    before = Counter({(row["label"] or NO_CLASS, row["species"] or UNKNOWN): row["in"] for row in counts.get("by_class", [])})
    labels, species = (sorted({key[place] for key in [*kept, *before]}) for place in (0, 1))

    def cell(labels: list[str], species: list[str]) -> dict[str, int | None]:
        both = list(product(labels, species))
        return {"in": sum(before[key] for key in both) if before else None, "kept": sum(kept[key] for key in both)}

    wanted = [*([label] for label in labels), labels]
    columns = [*([name] for name in species), species]
    names = [*labels, ALL]
    rows = [{"label": name, "cells": [cell(of, column) for column in columns]} for name, of in zip(names, wanted, strict=True)]
    return {"species": [*species, ALL], "rows": rows}


def synthetic(folder: Path) -> dict[str, Any] | None:
    """What stages/synthesize.py counted for this data set, with `labels` and `refused_by_class`; None where it made nothing."""
    if not folder.is_dir():
        return None
    require_manifest(folder)
    counts = read_json(folder / "counts.json")
    if counts["generator"] is None:
        return None
    labels = sorted(counts["train_after"])
    refused = {label: {reason: of.get(label, 0) for reason, of in counts["refused"].items()} for label in labels}
    return counts | {"labels": labels, "refused_by_class": refused}


# Pictures ------------------------------------------------------------------------------------------------------------


def some(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """A few rows, of pictures, for each value of a column, by seed."""
    rows = rows.set_axis(rows["sample_id"].tolist())
    return rows.loc[in_turn(rows.index)].groupby(column).head(A_CLASS).sort_values(column, kind="stable")


def kept(album: Album, sample_id: str, text: str) -> dict[str, str]:
    """A kept picture, small, with a text below it."""
    rgb = album.rgb(sample_id)
    assert rgb is not None
    return album.add(rgb, [], text)


def removed(album: Album, rejects: pd.DataFrame) -> list[dict[str, Any]]:
    """A gallery for each reason for which pictures were refused: title, n, pictures."""
    own = rejects[rejects["kind"] == "picture"].groupby("reason")
    return [{"title": reason.replace("_", " "), "n": len(rows), "pictures": of_reason(album, rows)} for reason, rows in own]


def classes(album: Album, pictures: pd.DataFrame) -> list[dict[str, str]]:
    """A few kept pictures of each class."""
    named = pictures.assign(
        text=pictures["label"].where(pictures["species"].isna(), pictures["label"] + ", " + pictures["species"])
    )
    return [kept(album, row.sample_id, row.text) for row in some(named, "label").itertuples()]


def montages(folder: Path, out: Path) -> list[str]:
    """Copy the montages of pictures that nobody took into `out`, small; their files."""
    found = [name for name in ("montage.jpg", "refused.jpg") if (folder / name).is_file()]
    for name in found:
        with Image.open(folder / name) as picture:
            picture.thumbnail((SYNTHETIC_PX, SYNTHETIC_PX * 10))
            picture.save(out / name, quality=85)
    return found


# Features in two dimensions ------------------------------------------------------------------------------------------


def features(
    comparisons: list[dict[str, Any]], samples: Samples, predictions: Path, label: str, out: Path
) -> list[list[dict[str, Any]]]:
    """Pairs of a model with manifold mixup and its counterpart without; nothing of models that have no features.

    Of each: model, the file of its chart in `out`, n of all test pictures, axes, and the share of the variance each explains.
    """
    labels = samples.pictures.set_index("sample_id")["label"]
    charts: dict[str, dict[str, Any]] = {}

    def drawn(model: str) -> dict[str, Any]:
        if model not in charts:
            require_manifest(predictions / model)
            found, file = read_json(predictions / model / FEATURES), f"features-{len(charts)}.svg"
            points, (x_min, x_max, y_min, y_max) = pd.DataFrame(found["points"]), found["extent"]
            points = points[points["part"].eq(TEST) & points["x"].between(x_min, x_max) & points["y"].between(y_min, y_max)]
            points = points.assign(label=labels.loc[points["sample_id"]].to_numpy())
            points = points[points["label"].isin(found["classes"])]  # the model may not know a class of the test part
            save(plane(found, points, f"{model} ({label})"), out / file)
            about = {"n": len(points), "all": found["counts"][TEST], "axes": found["axes"], "explained": found["explained"]}
            charts[model] = {"model": model, "chart": file} | about
        return charts[model]

    pairs = [(row["model"], row["reference"]) for row in adding(comparisons, MIXUP)]
    return [[drawn(name) for name in pair] for pair in pairs if all((predictions / name / FEATURES).is_file() for name in pair)]


def plane(found: dict[str, Any], points: pd.DataFrame, title: str) -> Figure:
    """Points (label, x, y), all within the extent, by their true class, on the regions that the model's head gives to each."""
    figure, axes = plt.subplots(figsize=(5.5, 5.5))
    classes, regions = found["classes"], np.array(found["regions"])
    colours = [COLOURS[number % len(COLOURS)] for number in range(len(classes))]
    pale = 1 - PALE * (1 - np.array([to_rgb(colour) for colour in colours]))
    axes.imshow(pale[regions], extent=found["extent"], origin="lower", aspect="auto", interpolation="nearest")
    legend = {}
    for number, (name, colour) in enumerate(zip(classes, colours, strict=True)):
        own, marker = points[points["label"] == name], MARKERS[number % len(MARKERS)]
        order = 3 - len(own) / max(1, len(points))  # the rare on top
        (shapes,) = axes.plot(
            own["x"], own["y"], marker, color=colour, markeredgecolor="#222", markeredgewidth=0.6, zorder=order
        )
        legend[plain(f"{name}, n {len(own)}")] = (Patch(color=to_hex(pale[number])), shapes)
    shares = [f"{share:.0%}" for share in found["explained"]]
    axes.set(xlim=found["extent"][:2], ylim=found["extent"][2:], title=plain(title))
    axes.set(xlabel=f"first component, {shares[0]} of the variance", ylabel=f"second, {shares[1]}")
    axes.legend(list(legend.values()), list(legend), loc="upper center", bbox_to_anchor=(0.5, -0.12), frameon=False, ncols=2)
    return figure


def only_answer(by_class: dict[str, dict[str, Any]]) -> str | None:
    """The class that a model names for every picture, if there is one. By class: how often it is `predicted`."""
    named = [label for label, row in by_class.items() if row["predicted"]]
    return named[0] if len(named) == 1 else None


# Beside the document -------------------------------------------------------------------------------------------------


def theirs_of(models: dict[str, Any]) -> dict[str, float]:
    """The document's accuracy, as a share, of those models that repeat one of its own."""
    return {name: value / 100 for name, value in documents.POSTURE_ACCURACY.items() if name in models}


def results_comparison(models: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The document's closing table, ours and theirs: a row for each network with a cell for each column.

    Of a cell: column, model, `ours`, figures of the test part or nothing, `theirs`, a share. No rows where none of its
    models is ours too.
    """
    rows: list[dict[str, Any]] = []
    for place, network in enumerate(documents.POSTURE_NETWORKS):
        cells = []
        for column, names in documents.POSTURE_COMPARISON.items():
            ours = models.get(names[place], {}).get("parts", {}).get(TEST, {})
            theirs = documents.POSTURE_ACCURACY[names[place]] / 100
            cells.append({"column": column, "model": names[place], "ours": ours, "theirs": theirs})
        rows.append({"network": network, "cells": cells})
    return rows if any(cell["ours"] for row in rows for cell in row["cells"]) else []


def change_of(compared: list[dict[str, Any]], model: str, run: str) -> dict[str, Any] | None:
    """The comparison that a slide of the document shows: of mixup and made pictures with its reference, else with scratch."""
    own = [row for row in compared if row["model"] == model]
    if run in (MIXUP, SYNTHETIC):
        return next((row for row in own if row["of_document"]), None)
    return next((row for row in own if row["reference"].endswith("-scratch")), None)


def slides(
    models: dict[str, dict[str, Any]], by_class: dict[str, dict[str, Any]], compared: list[dict[str, Any]]
) -> dict[str, list[dict[str, Any]]]:
    """The document's slides of results, those of which we have a model: a row for a model's accuracy and each class's recall.

    Of each row: model, figure, n, value, low and high (of accuracy), `change`, a row of the comparison with `reference`, both
    None where there is none; `theirs` and `their_change`, shares, None where a slide has none.
    """
    found = {}
    for title, runs in documents.POSTURE_SLIDES.items():
        rows = []
        for prefix, run in product(documents.POSTURE_NETWORKS.values(), runs):
            model = f"{prefix}-{run}"
            if model not in by_class:
                continue
            test, pair = models[model]["parts"][TEST], change_of(compared, model, run)
            recalls = dict(zip(documents.POSTURE_CLASSES, documents.POSTURE_RECALL.get(model, ()), strict=False))
            changes = dict(zip(("", *documents.POSTURE_CLASSES), documents.POSTURE_CHANGES.get(model, ()), strict=False))
            same: dict[str, Any] = {"model": model, "reference": pair["reference"] if pair else None, "low": None, "high": None}
            figures = {"": test["accuracy"]} | {label: row["recall"] for label, row in by_class[model].items() if row["n"]}
            for label, value in figures.items():
                row = same | {"label": label, "figure": f"recall: {label}" if label else "accuracy", "value": value}
                row["n"] = by_class[model][label]["n"] if label else test["n"]
                if not label:
                    row |= {"low": test.get("accuracy_low"), "high": test.get("accuracy_high")}
                changed = (pair["recalls"].get(label) if label else pair["figures"].get("accuracy")) if pair else None
                theirs = recalls.get(label) if label else documents.POSTURE_ACCURACY.get(model)
                row |= {"change": changed, "theirs": None if theirs is None else theirs / 100}
                row["their_change"] = changes[label] / 100 if label in changes else None
                rows.append(row)
        if rows:
            found[title] = rows
    return found


def of_both(compared: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The comparisons of models with both remedies with those that have one of them."""

    def remedies(model: str) -> int:
        return len(set(model.split("-")) & {MIXUP, SYNTHETIC})

    return [row for row in compared if remedies(row["model"]) == 2 and remedies(row["reference"]) == 1]


def counts_beside(study: Study) -> list[dict[str, Any]]:
    """Pictures that came in, that were kept, and of each class: what, ours, theirs (None where the document has none)."""
    ours = study.samples.pictures["label"].value_counts()
    own = study.dataset == "posture"  # other data are not the document's at all
    rows: list[dict[str, Any]] = [
        {"what": what, "ours": study.counts["pictures"][key], "theirs": documents.POSTURE_PICTURES[key] if own else None}
        for what, key in (("pictures that came in", "in"), ("pictures kept", "kept"))
    ]
    theirs = documents.POSTURE_COUNTS if own else {}
    labels = sorted({*ours.index, *theirs})
    return rows + [{"what": label, "ours": int(ours.get(label, 0)), "theirs": theirs.get(label)} for label in labels]


# The page ------------------------------------------------------------------------------------------------------------


def judged(study: Study, gallery: Gallery, out: Path) -> dict[str, Any]:
    """What the page says of the test part, class by class, and of the model that validation finds best."""
    models, metrics = study.models, study.metrics
    tested = [name for name, found in models.items() if TEST in found["parts"]]
    by_class = {name: table_of(metrics, name, "classes", TEST).set_index("label").to_dict("index") for name in tested}
    best = best_of(models, study.dataset)
    several = {name: found[TEST] for name, found in models.items() if "seeds" in found.get(TEST, {})}
    constant = {name: label for name, rows in by_class.items() if (label := only_answer(rows))}
    said: dict[str, Any] = {
        "by_class": by_class,
        "constant": constant,
        "several": several,
        "best": best,
        "confusion": [],
        "items": [],
        "curves": [],
        "hardest": [],
    }
    if best:
        confusion = table_of(metrics, best, "confusion", TEST)
        said["confusion"] = confusion_rows(confusion[confusion["level"] == "picture"], list(by_class[best]))
        said |= {"items": gallery.of_model(best), "curves": charts_of(study, best, out), "hardest": weakest(metrics, best)}
        occur = {label: row for label, row in by_class[best].items() if row["n"]}
        recalls, n = (
            {best: {label: row["recall"] for label, row in occur.items()}},
            {label: row["n"] for label, row in occur.items()},
        )
        bars(recalls, n, "recall in the test part", f"{best} ({study.label})", out / "recalls.svg")
    return said


def headline(study: Study) -> dict[str, Any] | None:
    """The accuracy in the test part, for the index."""
    models = study.models
    best = best_of(models, study.dataset)
    constants = comparisons(study)["baselines"]
    return headline_of(models, "accuracy", "accuracy in the test part", best, majority(models), theirs_of(models), constants)


def shown(study: Study, out: Path, gallery: Gallery) -> dict[str, Any]:
    """What of_photos.html shows; charts and pictures are written into the folder `out`."""
    models, compared, made = study.models, comparisons(study), synthetic(study.shows)
    theirs = theirs_of(models)
    said = judged(study, gallery, out)
    album = Album(replace(study.samples, boxes=study.samples.boxes.head(0)), out / "pictures")
    chosen = documents.POSTURE_BEST if documents.POSTURE_BEST in models else None
    return {
        "head": headline(study),
        "choices": choices(models, said["best"], "accuracy", chosen),
        "claims": claims_of(study, {(name, "accuracy"): value for name, value in theirs.items()}),
        "document": theirs,
        "results": results_comparison(models),
        "slides": slides(models, said["by_class"], compared["comparisons"]),
        "both": of_both(compared["comparisons"]),
        "labels": labels_of(study),
        **said,
        **compared,
        "rare": of_rare_classes(compared["comparisons"], made),
        "mixed": features(compared["comparisons"], study.samples, study.predictions, study.label, out),
        "synthetic": made,
        "montages": montages(study.shows, out / "pictures"),
        "by_species": by_species(study.samples.pictures, study.counts),
        "beside": counts_beside(study),
        "distributions": distributions_of(study, out),
        "cap": gallery.cap,
        "removed": removed(album, rejects_of(study.clean)),
        "classes": classes(album, study.samples.pictures),
    }
