"""What the page of a data set of people shows, by of_people.html.

What was cleaned and by which rule, with pictures of each; how often each joint is annotated; how well joints are found (stage
1) and activities told from them (stage 2); which two people heatmaps are of. Pictures are chosen by seed and kept small.
"""

import math
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from safetensors import safe_open

from stages.files import require_manifest, seed_from, sha256_file
from stages.joints import NEGATIVE, NOT_A_NUMBER, OUT_OF_BOUNDS, has_place
from stages.pages import documents
from stages.pages.charts import bars, plain, save
from stages.pages.claims import claims_of
from stages.pages.gallery import Gallery
from stages.pages.page import (
    TOLD,
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
from stages.people import ABSENT, BONES, HEAD_TOP, JOINT_NAMES, L_ANKLE, R_ANKLE, points
from stages.pictures import RGB, UnreadablePicture, decode, read_picture, resize
from stages.predictions import TABLE
from stages.samples import BOX_COLUMNS, EMPTY, TEST, TRAIN, VAL, Samples, of_part, read_version, true_people
from stages.shards import INDEX, SHARDS
from stages.sources import finder, scan

matplotlib.use("Agg")
import matplotlib.pyplot as plt

LONGER_PX = 320  # of a picture on the page
A_RULE, A_CLASS, A_NUMBER = 4, 2, 4  # pictures of a rule, a class, a number of people found
LEAST_SCORE = 0.25  # people and joints found that are less sure are not drawn, unless a heatmap is of them
COLOURS = ("#E69F00", "#56B4E9", "#CC79A7", "#F0E442", "#009E73")  # Okabe and Ito's: told apart with every colour vision
OTHERS = "#DDDDDD"
GLOW, GLOW_RGB = 0.8, np.array([255, 255, 0])  # how far a heatmap hides the picture where it is strongest, and its colour
POSE = "pose"  # the model of joints, after the data set's name

# The document's rules in its order, and what follows from them: name in counts.json, what it concerns, what it says.
RULES = (
    (NEGATIVE, "joint", "x or y is below 0, the joint becomes absent"),
    (OUT_OF_BOUNDS, "joint", "x or y is beyond the picture, the joint becomes absent"),
    (NOT_A_NUMBER, "joint", "ours: x or y is no number, the joint becomes absent"),
    ("no_category", "picture", "the picture is dropped"),
    ("no_annotation", "picture", "the picture is dropped"),
    ("no_joint_left", "person", "the person is dropped"),
    ("nobody_left", "picture", "the picture is dropped"),
)


# Pictures ------------------------------------------------------------------------------------------------------------


class Person(NamedTuple):
    """Somebody to draw. Places are in px of the picture."""

    xyxy_px: NDArray[np.float64]  # (4,)
    joints: NDArray[np.float64]  # (16, 3): x, y, and above 0 where the joint is drawn
    colour: str
    name: str = ""  # written at the box


def people_of(rows: pd.DataFrame) -> list[Person]:
    """Rows with BOX_COLUMNS and `joints`, of true or of found people, each with another colour."""
    boxes = rows[BOX_COLUMNS].to_numpy(dtype=float)
    colours = (COLOURS[number % len(COLOURS)] for number in range(len(rows)))
    return [Person(*person) for person in zip(boxes, points(rows), colours, strict=True)]


def region(people: list[Person], width_px: int, height_px: int) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of the people and a quarter of their size around them, within the picture."""
    boxes = np.array([person.xyxy_px for person in people])
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    margin = (high - low).max() / 4
    (left, top), (right, bottom) = np.floor(low - margin).astype(int), np.ceil(high + margin).astype(int)
    return max(0, left), max(0, top), min(width_px, right), min(height_px, bottom)


def drawn(rgb: RGB, people: list[Person], numbered: bool = False) -> Image.Image:
    """A picture with its people, small: boxes, bones and joints.

    Numbered it is cut to the people, joints have their ids, and a white box shows the joints' extent: the padding lies between.
    """
    left, top, right, bottom = 0, 0, rgb.shape[1], rgb.shape[0]
    if numbered and people:
        left, top, right, bottom = region(people, right, bottom)
    scale = LONGER_PX / max(right - left, bottom - top)
    width_px, height_px = (max(1, round(side * scale)) for side in (right - left, bottom - top))
    image = Image.fromarray(resize(rgb[top:bottom, left:right], width_px, height_px))
    pen = ImageDraw.Draw(image)

    def on_page(places_px: NDArray[np.float64]) -> NDArray[np.float64]:
        return ((places_px.reshape(-1, 2) - [left, top]) * scale).clip(0, [width_px - 1, height_px - 1])

    for person in people:
        there = person.joints[:, 2] > 0
        if numbered and there.any():
            found = person.joints[there, :2]
            pen.rectangle(on_page(np.concatenate([found.min(axis=0), found.max(axis=0)])).ravel().tolist(), outline="white")
        box = on_page(person.xyxy_px)
        pen.rectangle(box.ravel().tolist(), outline=person.colour, width=2)
        joints = on_page(person.joints[:, :2])
        for one, other in BONES:
            if there[one] and there[other]:
                pen.line([*joints[one], *joints[other]], fill=person.colour, width=2)
        for number in np.flatnonzero(there):
            pen.circle(joints[number].tolist(), 2, fill=person.colour, outline="black")
    for person in people:  # on top of what is drawn of others
        words = [(on_page(person.xyxy_px)[0] + np.array([4, 0]), person.name, 20)]
        if numbered:
            joints = on_page(person.joints[:, :2]) + np.array([2, -12])
            words += [(joints[number], str(number), 11) for number in np.flatnonzero(person.joints[:, 2] > 0)]
        for place, text, size_px in words:
            x, y = place.clip(0)
            pen.text((x, y), text, "white", ImageFont.load_default(size_px), stroke_width=1, stroke_fill="black")
    return image


def tinted(rgb: RGB, heatmap: NDArray[np.uint8]) -> RGB:
    """A picture (h, w, 3) with a heatmap (H, W) of it glowing in it, at the picture's size."""
    height_px, width_px = rgb.shape[:2]
    glow = np.asarray(Image.fromarray(heatmap).resize((width_px, height_px)))[..., None] / 255
    return (rgb * (1 - GLOW * glow) + GLOW_RGB * (GLOW * glow)).round().astype(np.uint8)


class Album:
    """The pictures of a page: finds them in the source, also those that were refused, and writes what is drawn on them."""

    def __init__(self, samples: Samples, out: Path) -> None:
        self.samples, self.out = samples, out
        self.rows = {row.sample_id: row for row in samples.pictures.itertuples()}
        self.everybody = true_people(samples.people, samples.joints, samples.boxes)
        self.true = {str(name): rows for name, rows in self.everybody.groupby("sample_id")}

    @cached_property
    def _files(self) -> Any:
        return finder(scan(self.samples.root))

    def rgb(self, name: str) -> RGB | None:
        """A kept picture by its id, or a refused one by its file's name; None where that is no picture."""
        if name in self.rows:
            row = self.rows[name]
            return read_picture(self.samples.root / row.path, row.sha256)
        path = self._files(name)
        try:
            return None if path is None else decode((self.samples.root / path).read_bytes())[0]
        except (OSError, UnreadablePicture):
            return None

    def add(self, rgb: RGB, people: list[Person], text: str, numbered: bool = False) -> dict[str, str]:
        """Draw a picture; its file, named by its bytes since ids may hold anything, and the text below it."""
        temporary = self.out / "drawn.jpg"
        drawn(rgb, people, numbered).save(temporary, quality=85)
        file = self.out / f"{sha256_file(temporary)[:20]}.jpg"
        temporary.replace(file)
        return {"file": file.name, "text": text}

    def kept(self, sample_id: str, text: str) -> dict[str, str]:
        """A kept picture with its true people."""
        rgb = self.rgb(sample_id)
        assert rgb is not None
        return self.add(rgb, people_of(self.true[sample_id]), text)


def of_reason(album: Album, rejects: pd.DataFrame) -> list[dict[str, str]]:
    """A few pictures that the rejects (rows of rejects.csv, of one reason) are about: the first that can be read.

    Those that were kept come first, with the joints that they still have.
    """

    def found() -> Iterator[dict[str, str]]:
        names = in_turn(rejects["name"])
        for name in sorted(names, key=lambda name: name not in album.true):
            rgb = album.rgb(name)
            if rgb is not None:
                first, *more = rejects[rejects["name"] == name].itertuples()
                what = f"{first.row.rpartition(' ')[2]} " if first.kind == "joint" else ""
                text = f"{name}: {what}{first.detail}" + (f", and {len(more)} more" if more else "")
                people = people_of(album.true[name]) if name in album.true else []
                yield album.add(rgb, people, text, numbered=True)

    return list(islice(found(), A_RULE))


def of_missing(album: Album, joints: tuple[int, ...]) -> tuple[int, list[dict[str, str]]]:
    """How many people have none of these joints, and a few of them with their padded boxes."""
    without = album.everybody[(points(album.everybody)[:, list(joints), 2] == ABSENT).all(axis=1)]
    turn = [seed_from(0, *key) for key in zip(without["sample_id"], without["person"], strict=True)]
    shown = []
    for row in without.assign(turn=turn).sort_values("turn").head(A_RULE).itertuples():
        rgb = album.rgb(row.sample_id)
        assert rgb is not None
        shown.append(album.add(rgb, people_of(without.loc[[row.Index]]), f"{row.sample_id}, person {row.person}", True))
    return len(without), shown


def galleries(album: Album, rejects: pd.DataFrame) -> list[dict[str, Any]]:
    """A gallery for each rule, each padding of a box, and each other reason that pictures can show: title, n, of (what is
    counted), pictures."""
    groups = dict(iter(rejects.groupby(["kind", "reason"])))
    made = []
    for reason, kind, what in RULES:
        rows = groups.pop((kind, reason), rejects.head(0))
        made.append((f"{reason.replace('_', ' ')}: {what}", kind, len(rows), of_reason(album, rows)))
    made.insert(2, ("head-top missing: the box is padded upwards", "person", *of_missing(album, (HEAD_TOP,))))
    made.insert(3, ("both ankles missing: the box is padded downwards", "person", *of_missing(album, (R_ANKLE, L_ANKLE))))
    for (kind, reason), rows in groups.items():
        if kind in ("joint", "person", "picture") and reason != "picture_rejected" and (shown := of_reason(album, rows)):
            made.append((reason.replace("_", " "), kind, len(rows), shown))
    return [dict(zip(("title", "of", "n", "pictures"), gallery, strict=True)) for gallery in made]


def categories(album: Album) -> list[dict[str, str]]:
    """A few pictures of each category with their people."""
    labels = {name: row.label for name, row in album.rows.items()}
    by_label = pd.Series(labels).loc[in_turn(labels)].groupby(labels).head(A_CLASS)
    return [album.kept(str(name), f"{label}: {name}") for name, label in by_label.sort_values(kind="stable").items()]


def chosen_people(album: Album, heatmaps: Path, predictions: Path) -> list[dict[str, str]]:
    """Pictures of the test part with everybody found, their heatmap as it is stored, and which two people it is of; nothing
    where a folder is missing.

    A few for each number of people found. Who was chosen, and the joints that were stamped, stand in the heatmaps' index.
    """
    if not ((heatmaps / INDEX).is_file() and predictions.is_dir()):
        return []
    require_manifest(predictions)
    index = pd.read_parquet(heatmaps / INDEX).set_index("sample_id")
    found = pd.read_parquet(predictions / TABLE)
    both = index[(index["part"] == TEST) & index.index.isin(found["sample_id"])]
    found = found[(found["label"] != EMPTY) & (found["score"] >= LEAST_SCORE)]
    everybody = {str(name): rows for name, rows in found.groupby("sample_id")}
    numbers = pd.Series({name: len(everybody.get(name, ())) for name in in_turn(both.index)}, dtype=int)
    shown = []
    for name, number in numbers.groupby(numbers.clip(upper=3)).head(A_NUMBER).sort_values(kind="stable").items():
        rows, known = everybody.get(str(name), found.head(0)), both.loc[name]
        others = [person._replace(colour=OTHERS) for person in people_of(rows)]
        boxes, joints = np.reshape(known["boxes_px"], (-1, 4)), np.reshape(known["joints_px"], (-1, len(JOINT_NAMES), 3))
        two = [Person(*person) for person in zip(boxes, joints, COLOURS, ("1", "2"), strict=False)]
        people = [person._replace(joints=person.joints * (person.joints[:, 2:] >= LEAST_SCORE)) for person in others + two]
        rgb = album.rgb(str(name))
        assert rgb is not None
        with safe_open(heatmaps / SHARDS / known["shard"], "np") as shard:
            heatmap = shard.get_slice("rgb_heatmap")[int(known["row"])][..., 3]
        shown.append(album.add(tinted(rgb, heatmap), people, f"{known['label']}, {number} found: {name}"))
    return shown


# Figures -------------------------------------------------------------------------------------------------------------


def joint_means(samples: Samples, parts: pd.DataFrame) -> pd.DataFrame:
    """How often each joint is annotated in a picture, on average: a row for each of the 16: joint, train, test, difference.

    `parts` are of one version of the split: sample_id, part. NaN for a part without pictures.
    """
    there = samples.joints[has_place(samples.joints)]
    table = pd.DataFrame({"joint": JOINT_NAMES})
    for part in (TRAIN, TEST):
        pictures = of_part(samples, parts, part)["sample_id"]
        n = there.loc[there["sample_id"].isin(pictures), "joint"].value_counts().reindex(range(len(JOINT_NAMES)), fill_value=0)
        table[part] = n / len(pictures) if len(pictures) else math.nan
    return table.assign(difference=table[TEST] - table[TRAIN])


def activities(study: Study, models: dict[str, dict[str, Any]], gallery: Gallery, out: Path) -> dict[str, Any]:
    """What the page says of stage 2, beside each model's own figures."""
    metrics = study.metrics
    best = best_of(models, study.dataset)
    by_class = {
        name: table_of(metrics, name, "classes", TEST).set_index("label").to_dict("index")
        for name, found in models.items()
        if TEST in found["parts"]
    }
    more: dict[str, Any] = {"confusion": [], "items": [], "curves": [], "hardest": []}
    if best:
        confusion = table_of(metrics, best, "confusion", TEST)
        more["confusion"] = confusion_rows(confusion[confusion["level"] == "picture"], list(by_class[best]))
        more |= {"items": gallery.of_model(best), "curves": charts_of(study, best, out), "hardest": weakest(metrics, best)}
        occur = {label: row for label, row in by_class[best].items() if row["n"]}
        recalls, n = (
            {best: {label: row["recall"] for label, row in occur.items()}},
            {label: row["n"] for label, row in occur.items()},
        )
        bars(recalls, n, "recall in the test part", f"{best} ({study.label})", out / "recalls.svg")
    return more | {"perfect": f"{study.dataset}-{TOLD}", "best": best, "tells": models, "by_class": by_class}


def beside_document(models: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Figures of stage 2 of the model that repeats the document's: figure, name (in our figures), `theirs`, a share or None.

    Micro averages are the accuracy. Nothing where there is no such model.
    """
    if TEST not in models.get(documents.ACTIVITY_MODEL, {}).get("parts", {}):
        return []
    names = {
        "accuracy": "accuracy", "precision, micro": "accuracy", "recall, micro": "accuracy",
        "precision, weighted": "precision_weighted", "recall, weighted": "recall_weighted",
        "precision, macro": "precision_macro", "recall, macro": "recall_macro",
    }  # fmt: skip
    theirs = documents.ACTIVITY_FIGURES
    return [
        {"figure": figure, "name": name, "theirs": theirs[name] / 100 if name in theirs else None}
        for figure, name in names.items()
    ]


def counts_beside(study: Study) -> list[dict[str, Any]]:
    """Pictures that came in, that the rules left, and of the parts, here and in the document: what, ours, theirs."""
    if study.dataset != "activity":
        return []  # other data are not the document's at all
    kept = {"in": "pictures, valid and invalid", "kept": "pictures that the rules left"}
    rows = [
        {"what": what, "ours": study.counts["pictures"][key], "theirs": documents.ACTIVITY_PICTURES[key]}
        for key, what in kept.items()
    ]
    for version, parts in documents.ACTIVITY_PARTS.items():
        for part, theirs in parts.items():
            ours = study.splits.get(version, {}).get("pictures", {}).get(part)
            rows.append({"what": f"{version}: {part}{' (its val)' if part == TEST else ''}", "ours": ours, "theirs": theirs})
    return rows


def poses(models: dict[str, dict[str, Any]], metrics: Path, label: str, out: Path) -> dict[str, Any]:
    """What the page says of stage 1; the charts of the losses are written into `out`."""
    by_joint: dict[str, Any] = {}
    curves: dict[str, str] = {}
    for name in models:
        joints = table_of(metrics, name, "classes", TEST).set_index("label").reindex(columns=["n", "pckh"])
        by_joint[name] = {joint: row.dropna().to_dict() for joint, row in joints.iterrows()}
        path = metrics / f"{name}.curve.csv"
        curve = pd.read_csv(path) if path.is_file() else pd.DataFrame()
        if {"epoch", f"{TRAIN}_pose_loss", f"{VAL}_pose_loss"} <= set(curve):
            curves[name] = f"pose-{len(curves)}.svg"
            chart_pose_loss(curve, plain(f"{name} ({label})"), out / curves[name])
    return {"poses": models, "by_joint": by_joint, "curves_of_pose": curves}


def distributions(samples: Samples, splits: Path, versions: Iterable[str], label: str, out: Path) -> dict[str, dict[str, Any]]:
    """`joint_means` of each version of the split that has a train and a test part; the charts are written into `out`."""
    made: dict[str, dict[str, Any]] = {}
    for version in versions:
        table = joint_means(*read_version(splits / version, samples))
        if table.notna().all(axis=None):
            chart, largest = f"joints-{len(made)}.svg", table.loc[table["difference"].abs().idxmax()]
            chart_joints(table, plain(f"{version} ({label})"), out / chart)
            made[version] = {"rows": table.to_dict("records"), "largest": largest.to_dict(), "chart": chart, "theirs": []}
    return made


def joints_of_document() -> dict[str, Any]:
    """The document's means of each joint: `theirs`, rows of train, test (its val) and difference, and `their_largest`."""
    table = pd.DataFrame(documents.ACTIVITY_JOINTS).assign(joint=JOINT_NAMES)
    table["difference"] = table[TEST] - table[TRAIN]
    largest = table.loc[table["difference"].abs().idxmax()]
    return {"theirs": table.to_dict("records"), "their_largest": largest.to_dict()}


# Charts --------------------------------------------------------------------------------------------------------------


def chart_joints(means: pd.DataFrame, title: str, out: Path) -> None:
    figure, axes = plt.subplots(figsize=(8, 3))
    for offset, part, colour in ((-0.2, TRAIN, "#2a6f97"), (0.2, TEST, "#d1603d")):
        axes.bar(means.index + offset, means[part], 0.4, color=colour, label=part)
    axes.set(title=title, ylabel="annotated, mean a picture", xticks=means.index)
    axes.set_xticklabels([f"{n} {name}" for n, name in means["joint"].items()], rotation=45, ha="right")
    axes.set_ylim(0, 1.25 * means[[TRAIN, TEST]].to_numpy().max())  # room for the legend
    axes.legend(frameon=False, loc="upper right", ncols=2)
    save(figure, out)


def chart_pose_loss(curve: pd.DataFrame, title: str, out: Path) -> None:
    figure, axes = plt.subplots(figsize=(8, 3))
    for part, colour in ((TRAIN, "#2a6f97"), (VAL, "#d1603d")):
        axes.plot(curve["epoch"], curve[f"{part}_pose_loss"], color=colour, label=part, marker=".")
    axes.set(title=title, xlabel="epoch", ylabel="pose loss")
    axes.set_ylim(bottom=0, top=1.1 * curve[[f"{TRAIN}_pose_loss", f"{VAL}_pose_loss"]].to_numpy().max())
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    save(figure, out)


# The page ------------------------------------------------------------------------------------------------------------


def by_stage(models: dict[str, dict[str, Any]]) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """The models that tell activities, and those that find joints."""
    tells = {name: found for name, found in models.items() if any("f1_macro" in part for part in found["parts"].values())}
    return tells, {name: found for name, found in models.items() if name not in tells}


def headline(study: Study) -> dict[str, Any] | None:
    """The accuracy of stage 2 in the test part, for the index."""
    tells, _ = by_stage(study.models)
    theirs = {documents.ACTIVITY_MODEL: documents.ACTIVITY_FIGURES["accuracy"] / 100}
    best = best_of(tells, study.dataset)
    constants = comparisons(study)["baselines"]
    return headline_of(tells, "accuracy", "accuracy of stage 2 in the test part", best, majority(tells), theirs, constants)


def shown(study: Study, out: Path, gallery: Gallery) -> dict[str, Any]:
    """What of_people.html shows; charts and pictures are written into the folder `out`."""
    rejects, (tells, finds) = rejects_of(study.clean), by_stage(study.models)
    album = Album(study.samples, out / "pictures")
    said = activities(study, tells, gallery, out)
    means = distributions(study.samples, study.lists, study.splits, study.label, out)
    if study.dataset == "activity" and documents.ACTIVITY_VERSION in means:
        means[documents.ACTIVITY_VERSION] |= joints_of_document()
    return {
        "head": headline(study),
        "choices": choices({name: tells[name] for name in tells if name != said["perfect"]}, said["best"], "accuracy", None),
        "claims": claims_of(study, {}),
        **said,
        **comparisons(study),
        **poses(finds, study.metrics, study.label, out),
        "beside": counts_beside(study),
        "figures_beside": beside_document(tells),
        "repeats": documents.ACTIVITY_MODEL,
        "cap": gallery.cap,
        "chosen": chosen_people(album, study.shows, study.predictions / f"{study.dataset}-{POSE}"),
        "least_score": LEAST_SCORE,
        "rules": RULES,
        "rejected": rejects.groupby(["kind", "reason"]).size().items(),
        "galleries": galleries(album, rejects),
        "means": means,
        "joints": JOINT_NAMES,
        "labels": labels_of(study),
        "distributions": distributions_of(study, out),
        "categories": categories(album),
    }
