"""What the page of a data set of clips shows, by of_clips.html.

The models and how they compare on one test part; the claims about them and what became of each; pairs of actions that one
frame cannot tell apart; what is named for the clips of each action; clips that one model alone has right, as strips of film.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd

from stages.files import read_json, sha256_bytes
from stages.film import film_strip
from stages.pages.charts import plain, save
from stages.pages.gallery import Gallery
from stages.pages.of_photos import comparisons
from stages.pages.page import confusion_rows, in_turn, labels_of, of_test
from stages.pages.study import EMBEDDED, Study
from stages.pictures import jpeg
from stages.samples import TEST
from stages.scores import ALL_PAIRS, BETTER
from stages.shards import INDEX, MADE
from stages.stored_clips import StoredClips

matplotlib.use("Agg")
import matplotlib.pyplot as plt

FRAMES, FILM_PX = 8, 96  # of a strip: frames, evenly over the clip, and their height
A_CLASS, ALONE, PAIRS, NAMED = 2, 3, 6, 3  # clips of a class; that one of two has right alone; pairs of models; classes named
STILL = "still"  # in the name of a model that is shown one frame of each clip
CLAIMS = "claims"

# mAP of the document's models, on Animal Kingdom: 10 and 100 clips a class to train on.
DOCUMENT = {
    "action-scratch-10": 0.272,
    "action-scratch-100": 0.323,
    "action-kinetics-10": 0.456,
    "action-kinetics-100": 0.537,
    "action-imagenet-10": 0.189,
    "action-imagenet-100": 0.330,
}
# By (does it hold, is it decided).
VERDICTS = {
    (True, True): "it holds, and the interval leaves 0 out",
    (True, False): "it holds by the figure alone: the interval has 0 in it, so chance may have made the difference",
    (False, False): "it does not hold, but nor does the contrary: the interval has 0 in it",
    (False, True): "it does not hold: it is the other way round, and the interval leaves 0 out",
}


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


def claims_of(metrics: Path) -> list[dict[str, Any]]:
    """The claims that stages/compare.py checked, with `verdict` in words and what the document has, if it is of its models."""
    path = metrics / "comparison.json"
    found = read_json(path).get(CLAIMS, {}) if path.is_file() else {}
    return [
        claim
        | {"name": name, "verdict": VERDICTS[claim["holds"], claim["decided"]]}
        | {"document": [DOCUMENT.get(claim[which]) for which in ("better", "than")]}
        for name, claim in found.items()
    ]


def named(confusion: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """{true class: the classes named most often for its clips: label, n}. `confusion` has actual, predicted and n."""
    found = {}
    for label, own in confusion.groupby("actual"):
        most = own.sort_values(["n", "predicted"], ascending=[False, True]).head(NAMED)
        found[str(label)] = [{"label": row.predicted, "n": int(row.n)} for row in most.itertuples()]
    return found


def judged(models: Iterable[str], dataset: str, metrics: Path) -> dict[str, Any]:
    """What the page says of each model class by class: `by_class`, `confusions_of` each start's largest size, `named`."""
    said: dict[str, Any] = {"by_class": {}, "confusions_of": {}, "named": {}}
    largest: dict[str, str] = {}
    for model in models:
        said["by_class"][model] = of_test(metrics, model, "classes").set_index("label").to_dict("index")
        confusion = of_test(metrics, model, "confusion")
        said["named"][model] = named(confusion)
        largest[start_and_size(model, dataset)[0]] = model
        said["confusions_of"][model] = confusion_rows(confusion, list(said["by_class"][model]))
    said["confusions_of"] = {model: said["confusions_of"][model] for model in largest.values()}
    return said


def chart(models: dict[str, dict[str, Any]], label: str, out: Path) -> None:
    """mAP of every model with its interval, as an SVG."""
    figure, axes = plt.subplots(figsize=(8, 0.9 + 0.4 * len(models)))
    places, tests = range(len(models)), [found["parts"][TEST] for found in models.values()]
    middle = np.array([found["map"] for found in tests])
    error = np.abs(np.array([[found["map_low"], found["map_high"]] for found in tests]).T - middle)
    axes.errorbar(middle, places, xerr=error, fmt="o", color="#2a6f97", capsize=3)
    axes.set(xlim=(0, 1), xlabel="mAP in the test part, 95 % interval", title=plain(label), yticks=places)
    axes.set_yticklabels([plain(name) for name in models])
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    save(figure, out)


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


def shown(study: Study, out: Path, gallery: Gallery) -> dict[str, Any]:
    """What of_clips.html shows; charts and pictures are written into the folder `out`. `study.clean` is that of the clips
    stage."""
    dataset, metrics, models = study.dataset, study.metrics, study.models
    compared, claims = comparisons(metrics), claims_of(metrics)
    tested = {name: models[name] for name in in_order(models, dataset) if TEST in models[name]["parts"]}
    by_chance = {name: row["pairs"].get(ALL_PAIRS, {}).get("verdict") for name, row in compared["chances"].items()}
    said = {name: table[table["part"] == TEST] for name in tested for table in [study.answers_of(name)]}
    films = Films(StoredClips(study.clean), out / "pictures")
    stored = pd.read_parquet(study.clean / INDEX, columns=["sample_id"])["sample_id"]
    if tested:
        chart(tested, study.label, out / "map.svg")
    return {
        **compared,
        "models": tested,
        "claims": claims,
        "document": DOCUMENT if DOCUMENT.keys() & models.keys() else {},
        "made": read_json(study.clean / MADE),
        "all_pairs": ALL_PAIRS,
        "starts": {name: start_and_size(name, dataset) for name in tested},
        "weights": {name: re.sub(r",? sha256 \w{64}", "", found["started_from"]) for name, found in tested.items()},
        "still": [name for name in tested if STILL in name.split("-")],
        **judged(tested, dataset, metrics),
        "alone": alone(films, said, pairs_of_interest(claims, compared["comparisons"], tested)),
        "classes": of_each_class(films, study.samples.pictures, stored),
        "told_by": [name for name in tested if by_chance.get(name) == BETTER],
        "videos": summary(study.samples.videos),
        "labels": labels_of(study),
        "embedded": study.label == EMBEDDED,
    }


def summary(videos: pd.DataFrame) -> dict[str, str]:
    """How long the clips are and how many frames they have, as they came: least, median, most."""
    forms = {"seconds": "{:.2f}", "frames": "{:.0f}", "frame_rate": "{:.4g}"}
    return {
        name: " / ".join(form.format(value) for value in videos[name].quantile([0, 0.5, 1])) for name, form in forms.items()
    }
