"""Real photos: what transfer, augmentation, manifold mixup and balanced classes are worth where a species has few photos.

    PYTHONPATH=. python benchmarks/real_transfer.py SHARED WORK      SHARED holds real/cct20 and weights/; WORK is any folder

The stand-in for the posture study's photos, which cannot be had here: of CCT-20 the species with under 100 photos and at
least 10 groups, each animal cut out by its true box. A group is what one camera took in one day, and look-alikes with it.
Three folds keep groups whole: every photo is tested once, by a network that was trained and validated on the two other folds.
The answers of all folds are pooled; intervals come from resampling groups.
Prints Markdown. Answers are kept in WORK: a second call does what is missing.
"""

import shutil
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image
from real_cct20 import prepare

from stages import compare, scores
from stages.files import new_file, new_folder
from stages.inference import predict
from stages.networks import image
from stages.networks.image.settings import ImageSettings
from stages.pictures import cut, inspect, read_picture, resize
from stages.regions import squares
from stages.samples import BOX_COLUMNS, TEST, TRAIN, VAL, Samples, read_samples
from stages.split import by_class, joined
from stages.train import make_job

MOST_PHOTOS, LEAST_GROUPS = 100, 10  # of a species
FOLDS, VAL_SHARE, SEED, DRAWS = 3, 0.15, 20220422, 2000
MARGIN, STORED_PX, IMAGE_PX = 0.1, 128, 96  # half of the animals are under 92 px long
ARCHITECTURE, WEIGHTS = "tf_efficientnet_lite0", "tf_efficientnet_lite0.safetensors"
# Learning rates: of 0.0003, 0.001, 0.003 (the head alone also 0.01) those of the lowest validation loss in the first two folds.
PLAIN: dict[str, Any] = {
    "architecture": ARCHITECTURE, "image_px": IMAGE_PX, "epochs": 8, "patience": 8, "batch_size": 16,
    "learning_rate": 0.001, "flip": True, "workers": 0,
}  # fmt: skip
AUGMENTED = {"rotate_deg": 15, "shift": 0.1, "shear_deg": 10, "zoom": 1.2}  # the document's
FROZEN = {"train": "frozen"}
FIGURES = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "f1_macro": "macro F1"}
TRANSFER = "transfer, all"
MODELS: dict[str, tuple[str, dict[str, Any]]] = {  # its reference and how it differs from PLAIN
    "scratch": ("", {"init": "scratch"}),
    TRANSFER: ("scratch", {}),
    "transfer, frozen": (TRANSFER, FROZEN),
    "transfer, lp_ft": (TRANSFER, {"train": "lp_ft", "probe_epochs": 3, "probe_learning_rate": 0.001}),
    "transfer, all, augmented": (TRANSFER, AUGMENTED),
    "transfer, all, mixup": (TRANSFER, {"mixup_alpha": 2.0}),
    "transfer, frozen, mixup": ("transfer, frozen", {**FROZEN, "mixup_alpha": 2.0}),
    "transfer, all, balanced sampling": (TRANSFER, {"balance": "sampling"}),
    "transfer, all, balanced loss": (TRANSFER, {"balance": "loss"}),
}


def grouped(pictures: pd.DataFrame) -> pd.Series:
    """What must stay in one fold: a camera's day, joined with those that hold the same sequence or look-alikes."""
    day = pictures["location"] + " " + pictures["captured_at"].dt.strftime("%Y-%m-%d")
    whole = day.groupby(pictures["seq_id"]).transform("min")  # a sequence over midnight
    return joined(pictures.assign(day=whole), "day", bits=3)


def few(pictures: pd.DataFrame) -> pd.DataFrame:
    """The photos of the species that have under MOST_PHOTOS, and at least LEAST_GROUPS groups (seq_id)."""
    of = pictures.groupby("label")
    photos, groups = of["label"].transform("size"), of["seq_id"].transform("nunique")
    return pictures[(photos < MOST_PHOTOS) & (groups >= LEAST_GROUPS) & (pictures["label"] != "car")]


def folds(pictures: pd.DataFrame) -> list[pd.DataFrame]:
    """Of each fold the parts: sample_id, part (train, val or test). Groups (seq_id) are whole, classes divided alike.

    Every picture is in test once.
    """
    shares = {str(number): 1 / FOLDS for number in range(FOLDS)}
    tested = by_class(pictures, "seq_id", shares, SEED)
    found = []
    for number in shares:
        rest = pictures[tested != number]
        inner = by_class(rest, "seq_id", {TRAIN: 1 - VAL_SHARE, VAL: VAL_SHARE}, SEED)
        found.append(pd.DataFrame({"sample_id": pictures["sample_id"], "part": inner.reindex(pictures.index).fillna(TEST)}))
    return found


def cut_out(samples: Samples, folder: Path) -> Samples:
    """Each picture's largest box, as a square picture of its own in `folder`."""
    boxes = samples.boxes.assign(
        area=(samples.boxes["x_max_px"] - samples.boxes["x_min_px"]) * (samples.boxes["y_max_px"] - samples.boxes["y_min_px"])
    )
    largest = boxes.sort_values("area", kind="stable").drop_duplicates("sample_id", keep="last").set_index("sample_id")
    rows = []
    with new_folder(folder) as out:
        for row in samples.pictures.itertuples():
            square = squares(largest.loc[[row.sample_id], BOX_COLUMNS], MARGIN, [row.width_px], [row.height_px])[0]
            rgb = cut(read_picture(samples.root / row.path, row.sha256), row.width_px, square)
            path = out / f"{row.sample_id}.png"
            Image.fromarray(resize(rgb, STORED_PX, STORED_PX)).save(path)
            seen = inspect(path.read_bytes())
            rows.append({"path": path.name, "width_px": STORED_PX, "height_px": STORED_PX, "sha256": seen.sha256})
    pictures = samples.pictures.assign(**pd.DataFrame(rows, index=samples.pictures.index))
    return Samples(pictures, samples.boxes[:0], folder, samples.data)


def animals(shared: Path, work: Path) -> Samples:
    """The photos of this benchmark, made once; `seq_id` is the group."""
    if not (work / "splits").is_dir():
        prepare(shared, work, {})
    samples = read_samples(work / "clean")
    chosen = few(samples.pictures.assign(seq_id=grouped(samples.pictures))).reset_index(drop=True)
    return cut_out(Samples(chosen, samples.boxes, samples.root, samples.data), work / "animals")


def settings(shared: Path, different: dict[str, Any]) -> ImageSettings:
    return ImageSettings(**{**PLAIN, "init": f"file:{shared}/weights/{WEIGHTS}", **different})


def answers_of(samples: Samples, parts: list[pd.DataFrame], chosen: ImageSettings, work: Path) -> pd.DataFrame:
    """Trained and tested in each fold; the answers of all: sample_id, seq_id, actual, predicted, fold."""
    tables = []
    for fold, of_fold in enumerate(parts):
        shutil.rmtree(work, ignore_errors=True)
        places = {"seed": SEED + fold, "work": work / "state", "models": work, "needs": work}
        with new_folder(work / "model") as out:
            image.train(chosen, make_job(samples, of_fold, out=out, **places))
        tested = samples.pictures[(of_fold["part"] == TEST).to_numpy()]
        found = predict(image.load(work / "model"), tested, samples.root)
        said = (
            found.sort_values("score", kind="stable").drop_duplicates("sample_id", keep="last").set_index("sample_id")["label"]
        )
        tables.append(answered(tested, tested["sample_id"].map(said), fold))
    shutil.rmtree(work)
    return pd.concat(tables, ignore_index=True)


def answered(tested: pd.DataFrame, predicted: Any, fold: int) -> pd.DataFrame:
    table = tested[["sample_id", "seq_id"]].assign(actual=tested["label"], predicted=predicted, fold=fold)
    return table.reset_index(drop=True)


def kept(work: Path, name: str, make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """The answers of `name` below `work`; made, with the processor seconds that it took, where there are none."""
    path = work / "transfer" / f"{name.replace(', ', '-').replace(' ', '-')}.csv"
    if not path.exists():
        start = time.process_time()
        table = make()
        with new_file(path) as temporary:
            table.assign(seconds=time.process_time() - start).to_csv(temporary, index=False)
    table = pd.read_csv(path, dtype={"sample_id": str, "seq_id": str})
    print(f"{name}: {(table['actual'] == table['predicted']).mean():.3f}", file=sys.stderr, flush=True)
    return table


def standing(answers: dict[str, pd.DataFrame], rare: list[str]) -> str:
    """A Markdown table: each model's figures with 95 % intervals over groups, and the recall of rare species."""
    lines = [f"| model | {' | '.join(FIGURES.values())} | recall: {', '.join(rare)} | core seconds |", "|---" * 6 + "|"]
    for name, table in answers.items():
        classes = sorted(table["actual"].unique())
        head = scores.headline(table, classes, classes[0], DRAWS, SEED)
        figures = [f"{head[key]:.3f} [{head[f'{key}_low']:.3f}, {head[f'{key}_high']:.3f}]" for key in FIGURES]
        recall = scores.per_class(table, classes).set_index("label")["recall"]
        recalls = ", ".join(f"{recall[label]:.2f}" for label in rare)
        lines.append(f"| {name} | {' | '.join(figures)} | {recalls} | {table['seconds'].iloc[0]:.0f} |")
    return "\n".join(lines)


def changes(answers: dict[str, pd.DataFrame], pairs: list[tuple[str, str]]) -> str:
    """A Markdown table: of each (model, reference) what changes on the same photos, paired."""
    lines = [
        "| model | against | accuracy | balanced accuracy | macro F1 | right alone: it, reference; McNemar p |",
        "|---" * 6 + "|",
    ]
    for name, reference in pairs:
        found = compare.compare(answers[name], answers[reference], DRAWS, SEED).set_index("figure")
        figures = [f"{row.change:+.3f} [{row.low:+.3f}, {row.high:+.3f}]" for row in found.loc[list(FIGURES)].itertuples()]
        won, lost, p = found.loc["accuracy", ["won", "lost", "p"]]
        lines.append(f"| {name} | {reference} | {' | '.join(figures)} | {won:.0f}, {lost:.0f}; {p:.2g} |")
    return "\n".join(lines)


def described(pictures: pd.DataFrame) -> str:
    counts = pictures.groupby("label").agg(n=("label", "size"), groups=("seq_id", "nunique")).sort_values("n")
    species = ", ".join(f"{row.Index} {row.n} ({row.groups})" for row in counts.itertuples())
    return f"{len(pictures)} photos, {pictures['seq_id'].nunique()} groups. Photos (groups) of each species: {species}"


def rarest(pictures: pd.DataFrame) -> list[str]:
    return pictures["label"].value_counts().index[::-1][:3].tolist()


def ours(shared: Path, work: Path) -> tuple[Samples, list[pd.DataFrame], dict[str, pd.DataFrame]]:
    """The photos, their folds and our models' answers."""
    samples = animals(shared, work)
    parts = folds(samples.pictures)
    answers = {
        name: kept(work, name, partial(answers_of, samples, parts, settings(shared, different), work / "now"))
        for name, (_, different) in MODELS.items()
    }
    return samples, parts, answers


def main() -> None:
    samples, _, answers = ours(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())
    constant = {"always the commonest": compare.baseline(answers["scratch"]).assign(seconds=0.0)}
    print(described(samples.pictures), "", standing(constant | answers, rarest(samples.pictures)), "", sep="\n")
    print(changes(answers, [(name, reference) for name, (reference, _) in MODELS.items() if reference]))


if __name__ == "__main__":
    main()
