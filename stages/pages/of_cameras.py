"""What the page of a data set with locations shows, by of_cameras.html: seen against unseen locations, and what to take."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
import pandas as pd
from PIL import Image

from stages import scores
from stages.files import seed_from
from stages.pages.charts import save
from stages.pages.gallery import Gallery
from stages.pages.page import labels_of
from stages.pages.study import Study
from stages.pictures import decode, resize
from stages.samples import BOX_COLUMNS, SEEN, UNSEEN, VAL, Samples

matplotlib.use("Agg")
import matplotlib.pyplot as plt

THUMBNAIL_PX = 240
DRAWS = 1000  # bootstrap resamples of a comparison
PER_CLASS, MISTAKES = 2, 12  # pictures shown for each class; mistakes shown of the best model


def choices(models: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Which model is best at unseen locations, quickest to answer, quickest to train, smallest: a row for each question."""
    # A model that stands behind another was measured without it: it can be the best, not the quickest or smallest.
    measured = {name: found for name, found in models.items() if UNSEEN in found["parts"] and found["cost"]}
    alone = {name: found for name, found in measured.items() if "behind" not in found["cost"]}
    questions: list[tuple[str, Callable[[dict[str, Any]], float]]] = [
        ("best at unseen locations (macro F1)", lambda found: -found["parts"][UNSEEN]["f1_macro"]),
        ("quickest to answer (ms a picture)", lambda found: found["cost"]["ms_an_image"]),
        ("quickest to train (s)", lambda found: found["cost"]["train_seconds"]),
        ("smallest (MB)", lambda found: found["cost"]["megabytes"]),
    ]
    best = {}
    for question, value in questions:
        entrants = measured if question == questions[0][0] else alone
        if entrants:
            best[question] = min(entrants, key=lambda name: (value(entrants[name]), name))
    return [{"question": question, "model": name, **measured[name]} for question, name in best.items()]


def against_classifiers(models: dict[str, dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """Each model of boxes against the classifier of its version that validation finds best, on the same unseen pictures.

    Paired: whole sequences are drawn for both at once. A row for each: model, reference, difference of macro F1, low, high.
    """
    unseen = {}
    for name, found in models.items():
        if UNSEEN in found["parts"]:
            answers = pd.read_parquet(folder / name / "answers.parquet")
            unseen[name] = answers[answers["part"] == UNSEEN]
    classifiers = {name for name in unseen if "box_threshold" not in models[name]["chosen"]}
    rows = []
    for name in sorted(set(unseen) - classifiers):
        version = name.rpartition("-")[2].replace("608", "class")
        rivals = sorted(rival for rival in classifiers if rival.endswith(f"-{version}"))
        if rivals:
            best = max(rivals, key=lambda rival: models[rival]["parts"][VAL]["f1_macro"])
            difference, low, high = scores.paired_difference(unseen[name], unseen[best], DRAWS, seed_from(name, best))
            rows.append({"model": name, "reference": best, "difference": difference, "low": low, "high": high})
    return rows


def thumbnail(samples: Samples, sample_id: str, out: Path) -> str:
    """Write a picture with its true boxes, small; returns the file's name. Named by its hash: ids may hold anything."""
    row = samples.pictures.set_index("sample_id").loc[sample_id]
    rgb, (width, _) = decode((samples.root / row["path"]).read_bytes(), THUMBNAIL_PX)
    rgb = resize(rgb, THUMBNAIL_PX, max(1, round(rgb.shape[0] * THUMBNAIL_PX / rgb.shape[1])))
    boxes = samples.boxes.loc[samples.boxes["sample_id"] == sample_id, BOX_COLUMNS].to_numpy() * (THUMBNAIL_PX / width)
    for x_min, y_min, x_max, y_max in boxes.round().astype(int).tolist():
        cv2.rectangle(rgb, (x_min, y_min), (x_max, y_max), (255, 200, 0), 1)
    name = f"{row['sha256'][:20]}.jpg"
    Image.fromarray(rgb).save(out / name, quality=85)
    return name


def some_of_each_class(samples: Samples, seed: int, out: Path) -> list[dict[str, str]]:
    """A few pictures of each class, chosen by seed, their boxes drawn."""
    pictures = samples.pictures.assign(turn=[seed_from(seed, sample_id) for sample_id in samples.pictures["sample_id"]])
    chosen = pictures.sort_values(["label", "turn"]).groupby("label").head(PER_CLASS)
    return [
        {"file": thumbnail(samples, row.sample_id, out), "text": f"{row.label}, location {row.location}"}
        for row in chosen.itertuples()
    ]


def mistakes(samples: Samples, answers: pd.DataFrame, out: Path) -> list[dict[str, str]]:
    """The pictures that a model got wrong with most confidence."""
    wrong = answers[answers["actual"] != answers["predicted"]].sort_values("score", ascending=False).head(MISTAKES)
    return [
        {"file": thumbnail(samples, row.sample_id, out), "text": f"{row.actual}, called {row.predicted} ({row.score:.2f})"}
        for row in wrong.itertuples()
    ]


def chart(models: dict[str, dict[str, Any]], out: Path) -> None:
    """Macro F1 of every model on seen and unseen locations, with intervals, as an SVG."""
    shown = [name for name, found in models.items() if SEEN in found["parts"] or UNSEEN in found["parts"]]
    figure, axes = plt.subplots(figsize=(8, 0.7 + 0.4 * len(shown)))
    for offset, part, colour in ((-0.15, SEEN, "#2a6f97"), (0.15, UNSEEN, "#d1603d")):
        rows = [(place, models[name]["parts"][part]) for place, name in enumerate(shown) if part in models[name]["parts"]]
        middle = np.array([found["f1_macro"] for _, found in rows])
        error = np.abs(np.array([[f["f1_macro_low"], f["f1_macro_high"]] for _, f in rows]).T - middle) if rows else None
        axes.errorbar(middle, [place + offset for place, _ in rows], xerr=error, fmt="o", color=colour, label=part, capsize=3)
    axes.set(xlim=(0, 1), xlabel="macro F1, 95 % interval", yticks=range(len(shown)), yticklabels=shown)
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    axes.legend(loc="lower right", frameon=False)
    save(figure, out)


def shown(study: Study, out: Path, gallery: Gallery) -> dict[str, Any]:
    """What of_cameras.html shows; charts and pictures are written into the folder `out`."""
    models = study.models
    judged = {name: found["parts"][UNSEEN]["f1_macro"] for name, found in models.items() if UNSEEN in found["parts"]}
    best = max(judged, key=lambda name: judged[name], default=None)
    absent: dict[tuple[str, str], list[str]] = {}  # which models miss the same classes in the same part
    for name, found in models.items():
        for part, labels in found["absent"].items():
            absent.setdefault((part, labels), []).append(name)
    chart(models, out / "chart.svg")
    wrong = []
    if best:
        answers = study.answers_of(best)
        wrong = mistakes(study.samples, answers[answers["part"] == UNSEEN], out / "pictures")
    return {
        "choices": choices(models),
        "rivals": against_classifiers(models, study.answers),
        "best": best,
        "mistakes": wrong,
        "absent": absent,
        "gallery": some_of_each_class(study.samples, 0, out / "pictures"),
        "labels": labels_of(study),
    }
