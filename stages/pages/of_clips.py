"""What the page of a data set of clips shows, by of_clips.html.

The models and how they compare on one test part; the claims about them and what became of each; pairs of actions that one
frame cannot tell apart; what is named for the clips of each action; clips that one model alone has right, as strips of film.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stages.files import read_json, sha256_bytes
from stages.film import film_strip
from stages.pages import documents
from stages.pages.charts import bars, intervals
from stages.pages.claims import claims_of
from stages.pages.gallery import Gallery
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
    weakest,
)
from stages.pages.study import EMBEDDED, Study, table_of
from stages.pictures import jpeg
from stages.samples import TEST, TRAIN, VAL
from stages.scores import ALL_PAIRS, BETTER, MAP
from stages.shards import INDEX, MADE
from stages.stored_clips import StoredClips

FRAMES, FILM_PX = 8, 96  # of a strip: frames, evenly over the clip, and their height
A_CLASS, ALONE, PAIRS, NAMED = 2, 3, 6, 3  # clips of a class; that one of two has right alone; pairs of models; classes named
STILL = "still"  # in the name of a model that is shown one frame of each clip


# Figures -------------------------------------------------------------------------------------------------------------


def start_and_size(model: str, dataset: str) -> tuple[str, int | None]:
    """What a model starts from and how many clips of a class it learns from, as its name says: <dataset>-<start>-<size>."""
    name = model.removeprefix(f"{dataset}-")
    found = re.fullmatch(r"(.+)-(\d+)", name)
    return (found[1], int(found[2])) if found else (name, None)


def in_order(models: Iterable[str], dataset: str) -> list[str]:
    """Models by what they start from, each from its smallest size to its largest."""

    def place(model: str) -> tuple[str, int, str]:
        start, size = start_and_size(model, dataset)
        return start, size or 0, model

    return sorted(models, key=place)


def named(confusion: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """{true class: the classes named most often for its clips: label, n, share}. `confusion` has actual, predicted and n."""
    found = {}
    for label, own in confusion.groupby("actual"):
        most = own.sort_values(["n", "predicted"], ascending=[False, True]).head(NAMED)
        n = int(own["n"].sum())
        found[str(label)] = [{"label": row.predicted, "n": int(row.n), "share": row.n / max(1, n)} for row in most.itertuples()]
    return found


def judged(models: Iterable[str], dataset: str, metrics: Path) -> dict[str, Any]:
    """What the page says of each model class by class: `by_class`, `confusions_of` each start's largest size, `named`."""
    said: dict[str, Any] = {"by_class": {}, "confusions_of": {}, "named": {}}
    largest: dict[str, str] = {}
    for model in models:
        said["by_class"][model] = table_of(metrics, model, "classes", TEST).set_index("label").to_dict("index")
        confusion = table_of(metrics, model, "confusion", TEST)
        said["named"][model] = named(confusion)
        largest[start_and_size(model, dataset)[0]] = model
        said["confusions_of"][model] = confusion_rows(confusion, list(said["by_class"][model]))
    said["confusions_of"] = {model: said["confusions_of"][model] for model in largest.values()}
    return said


def by_size(models: dict[str, dict[str, Any]], dataset: str) -> dict[str, Any]:
    """The document's Table 1: `sizes`, its columns, and `rows`, one for each thing that models start from, the document's
    first: start, and cells of model, `ours`, figures of the test part or nothing, and `theirs`, mAP or None.

    Models whose names tell no size are left out.
    """
    placed = {start_and_size(name, dataset): name for name in models}
    sizes = sorted({size for _, size in placed if size is not None})
    rows = []
    for start in dict.fromkeys(start for start, size in placed if size is not None):
        names = [placed.get((start, size)) for size in sizes]
        cells = [
            {"model": name, "ours": models[name]["parts"][TEST] if name else {}, "theirs": documents.ACTION_MAP.get(name or "")}
            for name in names
        ]
        known = any(cell["theirs"] is not None for cell in cells)
        rows.append({"start": documents.ACTION_STARTS.get(start, start) if known else start, "cells": cells})
    order = [*documents.ACTION_STARTS.values()]
    place = {row["start"]: order.index(row["start"]) if row["start"] in order else len(order) for row in rows}
    return {"sizes": sizes, "rows": sorted(rows, key=lambda row: place[row["start"]])}


def chart(models: dict[str, dict[str, Any]], label: str, out: Path) -> None:
    """mAP of every model with its interval, as an SVG."""
    tests = {name: found["parts"][TEST] for name, found in models.items()}
    rows = {name: (found[MAP], found["map_low"], found["map_high"]) for name, found in tests.items()}
    intervals({"mAP": rows}, "mAP in the test part, 95 % interval", label, out)


def chart_answers(called: dict[str, dict[str, list[dict[str, Any]]]], label: str, title: str, out: Path) -> None:
    """What each model calls the clips of one true class most often, as shares of the named answers' clips."""
    values = {
        model: {answer["label"]: answer["share"] for answer in of_label.get(label, [])} for model, of_label in called.items()
    }
    bars(values, None, f"share of the test clips of {label}", title, out)


def clips_a_class(study: Study, of_document: bool) -> list[dict[str, Any]]:
    """How many clips of a class the parts have, least and most, here and in the document: what, least, most, theirs or None."""
    rows = []
    for version, split in study.splits.items():
        for part in (TRAIN, VAL, TEST):
            counts = list(split["classes"].get(part, {}).values())
            theirs = documents.ACTION_CLIPS[part] if of_document else None
            if part == TRAIN and version == documents.ACTION_FEW:
                theirs = documents.ACTION_FEW_CLIPS if theirs else None
            if counts:
                rows.append({"what": f"{version}: {part}", "least": min(counts), "most": max(counts), "theirs": theirs})
    return rows


# Films ---------------------------------------------------------------------------------------------------------------


class Films:
    """The strips of film of a page, each written once."""

    def __init__(self, stored: StoredClips, out: Path) -> None:
        self.stored, self.out = stored, out
        self.files: dict[str, str] = {}

    def add(self, sample_id: str, text: str) -> dict[str, str]:
        """A clip as a strip; its file, named by its bytes since ids may hold anything, and the text below it."""
        if sample_id not in self.files:
            numbers = np.linspace(0, self.stored.frames(sample_id) - 1, FRAMES).round().astype(int).tolist()
            times = [f"{number / self.stored.fps:.2f} s" for number in numbers]
            data = jpeg(film_strip(self.stored(sample_id, numbers), FILM_PX, times), 85, "4:2:0")
            self.files[sample_id] = f"{sha256_bytes(data)[:20]}.jpg"
            (self.out / self.files[sample_id]).write_bytes(data)
        return {"file": self.files[sample_id], "text": text}


def of_each_class(films: Films, pictures: pd.DataFrame, stored: pd.Series) -> list[dict[str, str]]:
    """A few stored clips of each class, by seed."""
    rows = pictures.set_axis(pictures["sample_id"].tolist())
    some = rows.loc[in_turn(stored)].groupby("label").head(A_CLASS).sort_values("label", kind="stable")
    of_whom = some["label"].where(some["species"].isna(), some["label"] + ", " + some["species"])
    return [films.add(name, f"{text}: {name}") for name, text in of_whom.items()]


def alone(films: Films, answers: dict[str, pd.DataFrame], pairs: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
    """For pairs of models the test clips that one of them alone has right: of each pair `n` clips and, twice, model, other, n
    and a few strips. Those that the right one is surest of come first."""
    found = []
    for pair in pairs:
        both = answers[pair[0]].merge(answers[pair[1]], on=["sample_id", "actual"], suffixes=("_0", "_1"))
        right = [both["actual"] == both[f"predicted_{place}"] for place in (0, 1)]
        sides = []
        for place, other in ((0, 1), (1, 0)):
            own = both[right[place] & ~right[other]].sort_values([f"score_{place}", "sample_id"], ascending=[False, True])
            wrong = own["actual"] + ", called " + own[f"predicted_{other}"] + ": " + own["sample_id"]
            strips = [films.add(*clip) for clip in zip(own["sample_id"].head(ALONE), wrong.head(ALONE), strict=True)]
            sides.append({"model": pair[place], "other": pair[other], "n": len(own), "films": strips})
        found.append({"n": len(both), "sides": sides})
    return found


def pairs_of_interest(
    claims: list[dict[str, Any]], compared: list[dict[str, Any]], tested: Iterable[str]
) -> list[tuple[str, str]]:
    """The pairs of models that claims are of, then those with one that is shown one frame, then the others that were compared:
    each once, whichever way round."""
    pairs = [(row["model"], row["reference"]) for row in compared]
    pairs.sort(key=lambda pair: not any(STILL in model.split("-") for model in pair))
    pairs = [(claim["better"], claim["than"]) for claim in claims] + pairs
    once: dict[frozenset[str], tuple[str, str]] = {}
    for pair in pairs:
        if set(pair) <= set(tested):
            once.setdefault(frozenset(pair), pair)
    return list(once.values())[:PAIRS]


# The page ------------------------------------------------------------------------------------------------------------


def by_constant(metrics: Path, model: str) -> float:
    """mAP in the test part of scores that are alike for every clip, as always naming the commonest class is: the mean share."""
    n = table_of(metrics, model, "classes", TEST)["n"]
    return float((n[n > 0] / n.sum()).mean())


def tested_of(study: Study) -> dict[str, dict[str, Any]]:
    """The models with figures of the test part, in the order of the page."""
    models = study.models
    return {name: models[name] for name in in_order(models, study.dataset) if MAP in models[name]["parts"].get(TEST, {})}


def headline(study: Study) -> dict[str, Any] | None:
    """The mAP in the test part, for the index."""
    models = tested_of(study)
    best = best_of(models, study.dataset, MAP)
    constant = by_constant(study.metrics, next(iter(models))) if models else None
    constants = comparisons(study)["baselines"]
    return headline_of(models, MAP, "mAP in the test part", best, constant, documents.ACTION_MAP, constants)


def judged_best(study: Study, best: str | None, gallery: Gallery, out: Path) -> dict[str, Any]:
    """What the page shows of the model that validation finds best."""
    if best is None:
        return {"best": None, "items": [], "curves": [], "hardest": []}
    rows = table_of(study.metrics, best, "classes", TEST)
    rows = rows[rows["n"] > 0].set_index("label")
    title = f"{best} ({study.label})"
    bars({best: rows["ap"].to_dict()}, rows["n"].to_dict(), "average precision in the test part", title, out / "ap.svg")
    return {
        "best": best,
        "items": gallery.of_model(best),
        "curves": charts_of(study, best, out),
        "hardest": weakest(study.metrics, best, "ap"),
    }


def shown(study: Study, out: Path, gallery: Gallery) -> dict[str, Any]:
    """What of_clips.html shows; charts and pictures are written into the folder `out`. `study.clean` is that of the clips
    stage."""
    dataset, metrics, tested = study.dataset, study.metrics, tested_of(study)
    theirs = {name: value for name, value in documents.ACTION_MAP.items() if name in tested}
    compared, claims = comparisons(study), claims_of(study, {(name, MAP): value for name, value in theirs.items()})
    by_chance = {name: row["pairs"].get(ALL_PAIRS, {}).get("verdict") for name, row in compared["chances"].items()}
    said = {name: table[table["part"] == TEST] for name in tested for table in [study.answers_of(name)]}
    films = Films(StoredClips(study.clean), out / "pictures")
    stored = pd.read_parquet(study.clean / INDEX, columns=["sample_id"])["sample_id"]
    best = judged_best(study, best_of(tested, dataset, MAP), gallery, out)
    by_model = judged(tested, dataset, metrics)
    looked_at = None
    if tested:
        chart(tested, study.label, out / "map.svg")
        occur = sorted({label for found in by_model["named"].values() for label in found})
        hardest = [row["label"] for row in best["hardest"]] or occur
        looked_at = documents.ACTION_CLASS if documents.ACTION_CLASS in occur else hardest[0]
        largest = {name: by_model["named"][name] for name in by_model["confusions_of"]}
        chart_answers(largest, looked_at, f"{looked_at} ({study.label})", out / "answers.svg")
    return {
        **compared,
        "models": tested,
        "head": headline(study),
        "choices": choices(tested, best["best"], MAP, documents.ACTION_BEST if documents.ACTION_BEST in tested else None),
        "claims": claims,
        "document": theirs,
        "by_size": by_size(tested, dataset),
        "made": read_json(study.clean / MADE),
        "all_pairs": ALL_PAIRS,
        "starts": {name: start_and_size(name, dataset) for name in tested},
        "weights": {name: re.sub(r",? sha256 \w{64}", "", found["started_from"]) for name, found in tested.items()},
        "still": [name for name in tested if STILL in name.split("-")],
        **best,
        **by_model,
        "looked_at": looked_at,
        "cap": gallery.cap,
        "alone": alone(films, said, pairs_of_interest(claims, compared["comparisons"], tested)),
        "classes": of_each_class(films, study.samples.pictures, stored),
        "told_by": [name for name in tested if by_chance.get(name) == BETTER],
        "videos": summary(study.samples.videos),
        "a_class": clips_a_class(study, bool(theirs)),
        "distributions": distributions_of(study, out),
        "labels": labels_of(study),
        "embedded": study.label == EMBEDDED,
    }


def summary(videos: pd.DataFrame) -> dict[str, str]:
    """How long the clips are and how many frames they have, as they came: least, median, most."""
    forms = {"seconds": "{:.2f}", "frames": "{:.0f}", "frame_rate": "{:.4g}"}
    return {
        name: " / ".join(form.format(value) for value in videos[name].quantile([0, 0.5, 1])) for name, form in forms.items()
    }
