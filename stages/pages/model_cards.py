"""What a model's card says, by model.html (after Mitchell et al. 2019, Model Cards for Model Reporting): all was measured.

Nothing about results is typed in here: limits follow from figures by the rules of `limits`.
"""

import json
import shlex
from collections.abc import Container
from pathlib import Path
from typing import Any

import pandas as pd

from stages.files import seed_from
from stages.pages import charts
from stages.pages.gallery import JUDGED, RIGHT, Gallery
from stages.pages.page import confusion_rows
from stages.pages.study import Study, table_of
from stages.samples import SEEN, UNSEEN

FEW = 30  # samples below which a figure is called uncertain
NO_WIDTH = (
    "The interval of its first figure has no width: the bootstrap draws from what was measured, so at 0 or 1, or of one "
    "sequence alone, it cannot say how uncertain the figure is."
)
NONE_PASSES = 1.0  # a box threshold above this is one that no score reaches

# What the columns of a <model>.parts.csv are, in the order in which a card has them.
COUNTS = {
    "n": "samples",
    "sequences": "sequences",
    "boxes": "true boxes",
    "people": "people",
    "people_without_head": "people without a head box",
    "joints": "joints",
}
FIGURES = {
    "map": "mAP of the classes",
    "f1_macro": "macro F1",
    "accuracy": "accuracy (Top-1)",
    "majority": "accuracy of always naming the commonest class",
    "balanced_accuracy": "balanced accuracy",
    "precision_macro": "precision, mean of the classes",
    "precision_weighted": "precision, weighted by n",
    "recall_macro": "recall, mean of the classes",
    "recall_weighted": "recall, weighted by n",
    "sequence_f1_macro": "macro F1 of whole sequences",
    "map50": "mAP of boxes at IoU 0.5",
    "map50_95": "mAP of boxes at IoU 0.5 to 0.95",
    "box_precision": "precision of boxes at the threshold",
    "box_recall": "recall of boxes at the threshold",
    "box_f1": "F1 of boxes at the threshold",
    "pckh": "PCKh of joints",
    "mean_pose": "PCKh of the mean pose, laid into each box found",
    "gain": "PCKh above that of the mean pose",
    "mean_pose_in_true_boxes": "PCKh of the mean pose, laid into the true boxes",
    "ece": "expected calibration error as said",
    "ece_calibrated": "expected calibration error, calibrated",
}
OF_JOINTS = {"map50": "mAP of people and joints at OKS 0.5", "map50_95": "mAP of people and joints at OKS 0.5 to 0.95"}
FIRST = ("map", "f1_macro", "pckh", "map50")  # the first of these that a model has is its headline
CLASS_FIGURES = {
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "ap": "average precision",
    "boxes": "true boxes",
    "ap50": "AP of boxes at IoU 0.5",
    "ap50_95": "AP at IoU 0.5 to 0.95",
    "pckh": "PCKh",
}
SLICES = {"light": "light", "box_size": "size of the largest box", "location": "location"}
CHOSEN = {
    "box_threshold": "score at which a box counts",
    "image_threshold": "score at which a picture is not called empty",
    "temperature": "temperature of the calibration",
    "bias": "bias of the calibration",
}


def of_model(study: Study, gallery: Gallery, name: str, constants: dict[str, Any], out: Path) -> dict[str, Any]:
    """What model.html shows of one model; its charts are written into the folder `out`, named by hash.

    `constants` has by part the `baselines` of stages.pages.page.comparisons.
    """
    found = study.models[name]
    part = next((part for part in JUDGED if part in found["parts"]), None)
    slices = table_of(study.metrics, name, "slices", part or "")
    own = table_of(study.metrics, name, "classes", part or "")
    seeds, items = table_of(study.metrics, name, "seeds", part or ""), gallery.of_model(name)
    return {
        "name": name,
        "found": found,
        "card": found["card"],
        "part": part,
        "where": where(part),
        "first": headline(found, part),
        "samples": samples_of(study),
        "command": f"python -m stages.predict {shlex.quote(name)} FOLDER",
        "uses": uses(study, found),
        "limits": limits(study, found, part, own, slices, constants.get(part or "", {}).get(name)),
        "licences": licences(study, found),
        "parts": list(found["parts"]),
        "figures": figures(found),
        "chosen": [(CHOSEN.get(key, key), value) for key, value in found["chosen"].items() if isinstance(value, float | int)],
        "class_columns": [(key, word) for key, word in CLASS_FIGURES.items() if key in own and own[key].notna().any()],
        "classes": known(own),
        "slices": known(slices.assign(slice=slices["slice"].map(lambda key: SLICES.get(key, key))) if len(slices) else slices),
        "seeds": known(seeds) if len(seeds) > 1 else [],
        "confusions": confusions(study, name, part, own),
        "charts": drawn(study, name, part, out),
        "settings": [(key, json.dumps(value, ensure_ascii=False)) for key, value in found["card"].get("settings", {}).items()],
        "trained_on": facts(found["card"].get("trained_on", {})),
        "left_out": facts(found["card"].get("left_out") or {}),
        "items": items,
        "is_wrong": any(item["outcome"] != RIGHT for item in items),
        "cap": gallery.cap,
    }


# What was measured ---------------------------------------------------------------------------------------------------


def known(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as a template has them: what is missing has no key."""
    return [{str(key): value for key, value in row.items() if pd.notna(value)} for row in rows.to_dict("records")]


def samples_of(study: Study) -> str:
    return "clips" if len(study.samples.videos) else "pictures"


def where(part: str | None) -> str:
    """A part of a split in words."""
    words = {UNSEEN: "at locations that it never saw", SEEN: "at locations that it was trained at"}
    return words.get(part or "", f"in the {part} part")


def headline(found: dict[str, Any], part: str | None) -> dict[str, Any] | None:
    """The figure that a card begins with: words, value, low, high, n; None where none was measured."""
    row = found["parts"].get(part, {})
    key = next((key for key in FIRST if key in row), None)
    if key is None:
        return None
    return {
        "words": FIGURES[key],
        "value": row[key],
        "low": row.get(f"{key}_low"),
        "high": row.get(f"{key}_high"),
        "n": row["n"],
    }


def words_of(key: str, row: Container[str]) -> str:
    """What a column of a <model>.parts.csv is, where `row` holds the model's columns: of joints mAP rests on OKS."""
    return (COUNTS | FIGURES | (OF_JOINTS if finds_joints(row) else {})).get(key, key.replace("_", " "))


def finds_joints(row: Container[str]) -> bool:
    return "people" in row


def figures(found: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for each figure: words, whether it is a count, and by part value and, where they are, low and high."""
    columns = list(dict.fromkeys(key for row in found["parts"].values() for key in row))
    names = [key for key in columns if not key.endswith(("_low", "_high")) and key != "part"]
    names.sort(key=lambda key: [*COUNTS, *FIGURES].index(key) if key in {**COUNTS, **FIGURES} else len(COUNTS) + len(FIGURES))
    rows = []
    for key in names:
        by_part = {
            part: {"value": row[key], "low": row.get(f"{key}_low"), "high": row.get(f"{key}_high")}
            for part, row in found["parts"].items()
            if key in row
        }
        rows.append({"words": words_of(key, columns), "count": key in COUNTS, "parts": by_part})
    return rows


def confusions(study: Study, name: str, part: str | None, classes: pd.DataFrame) -> list[dict[str, Any]]:
    """Tables of true against said, of pictures and of boxes: title, what a row is of, rows as the macro has them."""
    table = table_of(study.metrics, name, "confusion", part or "")
    if table.empty:
        return []
    made = []
    for level, own in table.groupby("level", sort=False):
        labels = [label for label in classes["label"] if label in {*own["actual"], *own["predicted"]}]
        labels += sorted({*own["actual"], *own["predicted"]} - set(labels))
        title = "boxes, missed ones and those over nothing (background) too" if level == "box" else f"whole {samples_of(study)}"
        made.append({"title": title, "what": "box" if level == "box" else "class", "rows": confusion_rows(own, labels)})
    return sorted(made, key=lambda one: bool(one["what"] == "box"))


def drawn(study: Study, name: str, part: str | None, out: Path) -> list[dict[str, str]]:
    """Learning, precision-recall and reliability curves, as far as they were measured: file in `out` and what it shows."""
    title, stem, made = f"{name} ({study.label})", f"{seed_from('card', name):016x}", []
    curve = table_of(study.metrics, name, "curve")
    pr, reliability = (table_of(study.metrics, name, table, part or "") for table in ("pr", "reliability"))
    curves = [
        ("learning", curve, charts.learning, "learning curves: loss on train and val by epoch"),
        ("pr", pr, charts.precision_recall, f"precision against recall, {part}"),
        ("reliability", reliability, charts.reliability, f"reliability, how sure against how often right, {part}"),
    ]
    for kind, rows, draw, words in curves:
        if len(rows):
            draw(rows, title, out / f"{stem}-{kind}.svg")
            if (out / f"{stem}-{kind}.svg").is_file():
                made.append({"file": f"{stem}-{kind}.svg", "text": f"{name}: {words}"})
    return made


def facts(found: dict[str, Any]) -> list[tuple[str, str]]:
    """What a card holds, flat: name and value, both text."""
    rows: list[tuple[str, str]] = []
    for key, value in found.items():
        words = str(key).replace("_", " ")
        if isinstance(value, dict):
            rows += [(f"{words}, {inner}", text) for inner, text in facts(value)]
        elif isinstance(value, list):
            rows.append((words, ", ".join(str(one) for one in value) or "none"))
        else:
            rows.append((words, str(value)))
    return rows


# What follows from it ------------------------------------------------------------------------------------------------


def uses(study: Study, found: dict[str, Any]) -> list[str]:
    """What a model is for, in plain words."""
    kind = "videos" if len(study.samples.videos) else "photos"
    if finds_joints(next(iter(found["parts"].values()), {})):
        what = "Finding people in photos, and the joints of each."
    else:
        labels = found["card"].get("classes") or sorted(study.samples.pictures["label"].unique())
        what = f"Telling {len(labels)} classes apart in {kind}: {', '.join(labels)}. It cannot name anything else."
    where_from = " of fixed cameras" if study.samples.pictures["location"].notna().any() else ""
    if "box_threshold" in found["chosen"]:
        what += " It also says where in a photo each animal is."
    return [
        what,
        f"Sorting {kind}{where_from} before a person looks. Answers have scores: below one of your choice a person decides.",
        "Not for decisions about single animals or people that nobody checks.",
    ]


def limits(
    study: Study,
    found: dict[str, Any],
    part: str | None,
    classes: pd.DataFrame,
    slices: pd.DataFrame,
    constant: dict[str, Any] | None,
) -> list[str]:
    """What not to expect of a model, each a sentence that follows from the figures by a rule."""
    said, what, own = [], samples_of(study), found["parts"].get(part, {})
    if study.samples.data == "embedded":
        said.append(f"It was trained and measured on {what} that this program drew: do not use it on real ones.")
    by_location = study.samples.pictures["location"].notna().any()
    said += against_constant(own, constant, "f1_macro" if by_location else "accuracy")
    first = headline(found, part)
    if first and first["low"] is not None and first["low"] == first["high"]:
        said.append(NO_WIDTH)
    if part == UNSEEN and "gap" in found:
        said.append(of_gap(found))
    elif study.samples.pictures["location"].notna().any() and UNSEEN not in found["parts"]:
        said.append("It was not measured at locations that it never saw: expect it to be worse at new cameras.")
    for name, row in found["parts"].items():
        if row["n"] < FEW:
            said.append(f"The {name} part has only {int(row['n'])} {what}, fewer than {FEW}: its figures are uncertain.")
    said += of_classes(classes, part, what)
    for key, text in (("light", "by {}"), ("location", "from one location, {}")):
        values = slices.loc[slices["slice"] == key, "value"].tolist() if len(slices) else []
        if len(values) == 1 and study.samples.pictures["location"].notna().any():
            said.append(f"All {what} of the {part} part are {text.format(values[0])}: of others nothing is known.")
    if found["chosen"].get("box_threshold", 0) > NONE_PASSES:
        said.append("On validation no threshold gave a right box: its boxes are of no use.")
    if behind := found["card"].get("behind", found["cost"].get("behind")):
        said.append(f"It stands behind {behind}: what that one does not find, it cannot name.")
    if str(found["card"].get("inputs", "")).startswith("truth"):
        said.append(
            "It is told the true joints. It shows what a perfect finder of joints would give, and is of no use for new photos."
        )
    return said


def against_constant(own: dict[str, Any], constant: dict[str, Any] | None, figure: str) -> list[str]:
    """What says that it is not shown to be better than always naming the commonest class, or than the mean pose.

    By the paired comparison with it of the headline's `figure` (accuracy | f1_macro) and of the accuracy, `constant`, a
    baseline of stages.pages.page.comparisons; by its own interval of accuracy, and saying so, only where there is none.
    """
    if own.get("gain_low", 1.0) <= 0:
        return [f"Its joints are not shown to be better than the mean pose laid into each box: PCKh {own['gain']:+.3f}."]
    if constant:
        rows = [(key, constant["figures"][key]) for key in dict.fromkeys((figure, "accuracy")) if key in constant["figures"]]
        return [_not_better(key, row, constant["reference"]) for key, row in rows if row["verdict"] != "better"]
    if not {"accuracy", "accuracy_low", "majority"} <= own.keys() or own["accuracy_low"] > own["majority"]:
        return []
    return [
        f"It is not shown to be right more often than always naming the commonest class: accuracy {own['accuracy']:.3f} "
        f"({own['accuracy_low']:.3f} to {own['accuracy_high']:.3f}) against {own['majority']:.3f}, by its own interval alone, "
        "as the two were not compared item by item."
    ]


def _not_better(figure: str, row: dict[str, Any], reference: str) -> str:
    """That a figure is worse than a constant answer's, or not shown to be better. `row` is of the paired comparison."""
    worse, constant = row["verdict"] == "worse", f"always naming the commonest class ({reference})"
    if figure == "accuracy":
        said = f"{'It is right less often' if worse else 'It is not shown to be right more often'} than {constant}"
    else:
        said = f"Its {FIGURES[figure]} is {'lower' if worse else 'not shown to be higher'} than that of {constant}"
    return f"{said}: {row['change']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f}), by paired bootstrap on the same items."


def of_gap(found: dict[str, Any]) -> str:
    """How macro F1 at unseen locations differs from that at seen ones, and whether their intervals overlap."""
    gap, seen, unseen = found["gap"], found["parts"].get(SEEN, {}), found["parts"][UNSEEN]
    amount = f"{abs(gap):.3f} {'lower' if gap > 0 else 'higher'} than" if gap else "the same as"
    text = f"At locations that it never saw, its macro F1 is {amount} at those that it was trained at"
    if {"f1_macro_low", "f1_macro_high"} <= seen.keys() & unseen.keys():
        apart = seen["f1_macro_low"] > unseen["f1_macro_high"] or unseen["f1_macro_low"] > seen["f1_macro_high"]
        text += ", and the intervals do not overlap" if apart else "; their intervals overlap, so this may be chance"
    return f"{text}."


def of_classes(classes: pd.DataFrame, part: str | None, what: str) -> list[str]:
    """Sentences about classes that were not trained on, are rare, absent or never named."""
    if classes.empty or "predicted" not in classes:
        return []
    groups = [(classes["n"] == 0, f"Not measured, as the {part} part has none: {{}}.")]
    if "in_train" in classes:
        groups.append((classes["in_train"].eq(False), "Never among what it was trained on, so it cannot name them: {}."))
    groups += [
        ((classes["n"] > 0) & (classes["predicted"] == 0), f"In the {part} part it never answers: {{}}."),
        (classes["n"].between(1, FEW - 1), f"Fewer than {FEW} {what} of a class in the {part} part, so uncertain: {{}}."),
    ]
    return [text.format(", ".join(classes.loc[rows, "label"])) for rows, text in groups if rows.any()]


def licences(study: Study, found: dict[str, Any]) -> list[str]:
    """What may be done with a model, as far as its parts say."""
    said = [f"The data: {study.source.get('licence') or 'no licence given'}. What was trained on them may fall under it."]
    if found["card"].get("family") == "yolo":
        said.append(
            "The network is one of Ultralytics, whose code and weights are AGPL-3.0: a program or service with it is, too."
        )
    return said
