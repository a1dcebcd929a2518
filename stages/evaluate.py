"""One model's predictions -> answers and metrics, for every part of its split but train.

`python -m stages.evaluate --help` lists the options, dvc.yaml holds the commands. It writes <model>.json, a dozen headline
figures, and beside it tables: <model>.parts.csv with all that was measured of each part, .classes.csv, .confusion.csv,
.slices.csv, .reliability.csv, .pr.csv with precision against recall, and .seeds.csv with the figures of each training where
there are several of other seeds. The answers come with curves.parquet, that of every class, and card.json, what the model is.
Of clips the half of test that is scored by itself too is a further part, `test5`, and the answers come with scores.parquet, the
scores of every class.
"""

import argparse
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from pydantic import Field, model_validator

from stages import calibration, geometry, precision_recall, scores
from stages.answers import Answers, answer, choose, task_of, wide
from stages.box_figures import choose_box_threshold, measure_boxes
from stages.clip_figures import measure_clips, say_absent, with_test5
from stages.command import run
from stages.files import new_file, new_folder, read_json, require_manifest, seed_from, write_json
from stages.predictions import BOX, CLASS, JOINTS, TABLE
from stages.samples import (
    BOX_COLUMNS,
    EMPTY,
    SCORED,
    SEEN,
    TEST,
    TEST5,
    TRAIN,
    UNSEEN,
    VAL,
    Samples,
    of_part,
    read_samples,
    read_version,
)
from stages.scores import SCORES, require_finite
from stages.seeds import FURTHER, SEEDS_CSV, spread
from stages.seeds import figures as of_trainings
from stages.settings import Record, section
from stages.tables import read_table

# The headline of each part; parts.csv has them all, for every part.
HEADLINES = {
    VAL: ("f1_macro", "map50"),
    TEST: ("f1_macro",),
    SEEN: ("f1_macro", "map50"),
    UNSEEN: ("n", "f1_macro", "f1_macro_low", "f1_macro_high", "majority", "map50"),
}

# Where nothing is kept apart by location, one test part says it all. Weighted recall is the accuracy.
PLAIN_HEADLINES = {
    VAL: ("f1_macro",),
    TEST: (
        *("n", "accuracy", "accuracy_low", "accuracy_high", "balanced_accuracy", "precision_macro", "precision_weighted"),
        *("f1_macro", "f1_macro_low", "f1_macro_high", "majority"),
    ),
}
POSE_HEADLINES = {
    VAL: ("map50", "pckh"),
    TEST: (*("n", "people", "map50", "map50_low", "map50_high", "map50_95", "pckh", "pckh_low", "pckh_high", "mean_pose"),),
}
# Of clips: accuracy is what their literature calls Top-1.
CLIP_HEADLINES = {
    VAL: ("map",),
    TEST: ("n", "map", "map_low", "map_high", "accuracy", "accuracy_low", "accuracy_high", "majority"),
    TEST5: ("n", "map", "accuracy"),
}

# Decimals. Pages show three: of four, 0.7515152 would become 0.7515 and then 0.751. What pages only draw keeps four.
DIGITS, DRAWN_DIGITS = 6, 4
SHOWN = ("parts", "classes", "slices", "seeds")  # tables that pages show

# What a model's card says, of models/<model>/model.json: a page has it without the model.
CARD = (
    *("family", "architecture", "as_built", "classes", "image_px", "height_px", "width_px", "init", "started_from"),
    *("trained_on", "settings", "loss", "behind", "left_out", "inputs", "options"),
)


class EvaluateSettings(Record):
    draws: int = Field(1000, gt=0)  # bootstrap resamples behind every interval of F1, and of the mAP of clips
    map_draws: int = Field(200, gt=0)  # and behind those of the mAP of boxes and joints, which cost more
    small_box: float = Field(0.02, gt=0, lt=1)  # share of the picture's area below which its largest box is small
    large_box: float = Field(0.10, gt=0, lt=1)  # and above which it is large

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.small_box >= self.large_box:
            raise ValueError(f"small_box {self.small_box} should be below large_box {self.large_box}")
        return self


def measure(answers: Answers, trained: list[str], majority: str, draws: int, seed: int) -> pd.DataFrame:
    """A row for each part: n, macro F1 of pictures and of sequences with intervals, accuracy, the baseline, calibration."""
    rows = []
    for part in (*SCORED, TEST5):
        pictures, sequences = (t[t["part"] == part] for t in (answers.pictures, answers.sequences))
        if pictures.empty:
            continue
        own = seed_from(seed, part)
        of_sequences = scores.headline(sequences, all_classes(sequences, trained), majority, draws, own)
        right = (pictures["actual"] == pictures["predicted"]).to_numpy()
        rows.append(
            {"part": part}
            | scores.headline(pictures, all_classes(pictures, trained), majority, draws, own)
            | {"sequences": of_sequences["n"]}
            | {f"sequence_{name}": of_sequences[name] for name in ("f1_macro", "f1_macro_low", "f1_macro_high")}
            | {"ece": calibration.expected_calibration_error(pictures["score"].to_numpy(), right)}
            | {"ece_calibrated": calibration.expected_calibration_error(pictures["calibrated"].to_numpy(), right)}
        )
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class Scored:
    answers: Answers  # its pictures with `light` and `box_size`
    parts: pd.DataFrame  # all that was measured of each part
    tables: dict[str, pd.DataFrame]  # parts, classes, confusion, slices, reliability
    of_classes: pd.DataFrame | None = None  # of clips: sample_id, part, actual, and the score of each class


def score(
    predictions: pd.DataFrame,
    pictures: pd.DataFrame,
    samples: Samples,
    chosen: dict[str, float],
    trained: list[str],
    majority: str,
    settings: EvaluateSettings,
    seed: int,
) -> Scored:
    """All figures of one model's predictions for `pictures`, rows of `samples.pictures` with `part`.

    `chosen` holds what `choose` and, for boxes, `choose_box_threshold` chose; `trained` the classes that the model knows;
    `majority` the class that the baseline always names. Raises DataError for a figure that is not finite.
    """
    answers = answer(predictions, pictures, chosen)
    measured = with_test5(answers, predictions, pictures, chosen)
    parts = measure(measured, trained, majority, settings.draws, seed)
    require_finite(parts)
    table = with_slices(answers.pictures, samples, settings)
    classes = all_classes(table, trained)
    named = measured.pictures
    by_class = pd.concat([scores.per_class(rows, classes).assign(part=part) for part, rows in named.groupby("part")])
    confusion = named.groupby(["part", "actual", "predicted"]).size().rename("n").reset_index().assign(level="picture")
    true = samples.boxes[samples.boxes["sample_id"].isin(pictures["sample_id"])]
    if "box_threshold" in chosen and len(true):
        known = sorted({*classes, *true["label"]} - {EMPTY})
        of_boxes, boxes_by_class, box_confusion = measure_boxes(
            predictions, true, table, known, chosen["box_threshold"], settings.map_draws, seed
        )
        require_finite(of_boxes)
        parts = parts.merge(of_boxes, on="part", how="left")
        by_class = by_class.merge(boxes_by_class, on=["part", "label"], how="left")
        confusion = pd.concat([confusion, box_confusion], ignore_index=True)
    of_classes = None
    if len(samples.videos):
        by_clip = wide(predictions)
        of_clips, ap = measure_clips(measured.pictures, by_clip, settings.draws, seed)
        require_finite(of_clips)
        parts, by_class = parts.merge(of_clips, on="part"), by_class.merge(ap, on=["part", "label"], how="left")
        of_classes = table[["sample_id", "part", "actual"]].join(by_clip, on="sample_id")
    by_class = by_class.assign(in_train=by_class["label"].isin(trained))
    tables = {
        "parts": parts,
        "classes": by_class[["part", *by_class.columns.drop("part")]],
        "confusion": confusion[["level", "part", "actual", "predicted", "n"]],
        "slices": slices(table, trained),
        "reliability": reliability(answers.pictures),
    }
    return Scored(replace(answers, pictures=table), parts, tables, of_classes)


def write_tables(tables: dict[str, pd.DataFrame], folder: Path, name: str) -> None:
    """<name>.<table>.csv in `folder` for each."""
    for table, rows in tables.items():
        form = f"%.{DIGITS if table in SHOWN else DRAWN_DIGITS}f"
        with new_file(folder / f"{name}.{table}.csv") as temporary:
            rows.to_csv(temporary, index=False, float_format=form, lineterminator="\n")


def write_more(answers: Path, card: dict[str, Any], every: pd.DataFrame) -> None:
    """Beside the answers: what the model is, and precision against recall of every class."""
    write_json(answers / "card.json", card)
    every.to_parquet(answers / "curves.parquet", index=False)


def say(name: str, parts: pd.DataFrame) -> None:
    for row in parts.to_dict("records"):
        more = [f", {what} {row[key]:.3f}" for key, what in (("map50", "mAP50"), ("map", "mAP")) if pd.notna(row.get(key))]
        print(f"{name} {row['part']}: macro F1 {row['f1_macro']:.3f}{''.join(more)}, n {row['n']}")


def headline(parts: pd.DataFrame) -> dict[str, Any]:
    """The dozen figures that `dvc metrics` shows, by part, and the gap between seen and unseen."""
    by_part = parts.set_index("part")
    by_location = bool({SEEN, UNSEEN} & set(by_part.index))
    headlines = HEADLINES if by_location else PLAIN_HEADLINES
    headlines = POSE_HEADLINES if "people" in parts else CLIP_HEADLINES if "map" in parts else headlines
    found: dict[str, Any] = {
        part: {name: by_part.at[part, name].item() for name in names if name in parts and pd.notna(by_part.at[part, name])}
        for part, names in headlines.items()
        if part in by_part.index
    }
    if SEEN in found and UNSEEN in found:
        found["gap"] = found[SEEN]["f1_macro"] - found[UNSEEN]["f1_macro"]
    return found


def with_spread(found: dict[str, Any], seeds: pd.DataFrame) -> dict[str, Any]:
    """`headline`, and in its parts how far the figures of several trainings lie apart; `seeds` has a row for each and part."""
    own = {part: spread(rows) for part, rows in seeds.groupby("part")}
    return {name: value | own[name] if name in own else value for name, value in found.items()}


def reliability(pictures: pd.DataFrame) -> pd.DataFrame:
    """How sure against how often right, for each part, before and after calibration: for reliability diagrams."""
    tables = [
        calibration.reliability(rows[column].to_numpy(), (rows["actual"] == rows["predicted"]).to_numpy()).assign(
            part=part, scores=column
        )
        for part, rows in pictures.groupby("part")
        for column in ("score", "calibrated")
    ]
    table = pd.concat(tables, ignore_index=True)
    return table.loc[table["n"] > 0, ["part", "scores", *table.columns.drop(["part", "scores"])]]


def all_classes(table: pd.DataFrame, trained: list[str]) -> list[str]:
    """The trained classes, then those that only this table holds."""
    return trained + sorted(set(table["actual"]) - set(trained))


def slices(table: pd.DataFrame, trained: list[str]) -> pd.DataFrame:
    """Macro F1 and accuracy by day or night, size of the largest box, and location, for each part."""
    rows = []
    for part in SCORED:
        for column in ("light", "box_size", "location"):
            for value, group in table[table["part"] == part].groupby(column):
                counts = scores.confusion(group["actual"], group["predicted"], all_classes(group, trained))
                rows.append(
                    {
                        "part": part,
                        "slice": column,
                        "value": value,
                        "n": len(group),
                        "f1_macro": float(scores.f1_macro(counts)),
                        "accuracy": float(scores.accuracy(counts)),
                    }
                )
    return pd.DataFrame(rows, columns=["part", "slice", "value", "n", "f1_macro", "accuracy"])


def with_slices(table: pd.DataFrame, samples: Samples, settings: EvaluateSettings) -> pd.DataFrame:
    """Adds `light` (day | night) and `box_size` (small | medium | large; missing without a box)."""
    areas = samples.boxes[["sample_id"]].assign(area=geometry.area(samples.boxes[BOX_COLUMNS].to_numpy(dtype=float)))
    largest = table["sample_id"].map(areas.groupby("sample_id")["area"].max()) / (table["width_px"] * table["height_px"])
    size = pd.cut(largest, [0, settings.small_box, settings.large_box, np.inf], labels=["small", "medium", "large"])
    return table.assign(light=np.where(table["infrared"], "night", "day"), box_size=size.astype("str").where(largest.notna()))


def of_training(predictions: pd.DataFrame, pictures: pd.DataFrame, clips: bool) -> pd.DataFrame:
    """The figures that trainings are compared by, of each part, of one training: thresholds are its own, from its own val.

    Of clips mAP is among them. Raises DataError for a figure that is not finite.
    """
    answers = answer(predictions, pictures, choose(predictions, pictures)).pictures
    rows = []
    for part, own in answers.groupby("part"):
        counts = scores.confusion(own["actual"], own["predicted"], sorted({*own["actual"], *own["predicted"]}))
        row = {"part": part} | {name: float(figure(counts)) for name, figure in scores.FIGURES.items()}
        if clips:
            row["map"] = scores.mean_average_precision(own["actual"], wide(predictions).loc[own["sample_id"]])
        rows.append(row)
    table = pd.DataFrame(rows)
    require_finite(table)
    return table


def compared(parts: pd.DataFrame, figures: Iterable[str]) -> pd.DataFrame:
    """Of what was measured of the model the figures that its trainings are compared by, as `of_training` orders them."""
    names = ["part", *(name for name in figures if name in parts)]
    return parts.loc[parts["part"].isin(SCORED), names].sort_values("part", ignore_index=True)


def curves(predictions: pd.DataFrame, pictures: pd.DataFrame, true: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`precision_recall.curves` of a model's predictions, of joints none.

    `pictures` have `actual` and `part`, and `true` are their boxes.
    """
    task = task_of(predictions)
    if task == CLASS:
        return precision_recall.curves(precision_recall.of_classes(pictures, wide(predictions)))
    return precision_recall.curves(precision_recall.of_boxes(predictions, true, pictures) if task == BOX else [])


def rounded(value: Any) -> Any:
    """Floats to DIGITS decimals, all the way down: more would be noise in git and in `dvc metrics diff`."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return round(value, DIGITS) if isinstance(value, float) else value


def main() -> None:
    parser = argparse.ArgumentParser(description="score one model's predictions")
    parser.add_argument("--model", required=True, help="the model's key in params.yaml")
    for name, field in EvaluateSettings.model_fields.items():  # as dvc.yaml writes out `evaluate` of params.yaml
        parser.add_argument(f"--{name}", type=type(field.default), default=field.default)
    parser.add_argument("--trained", type=Path, required=True, help="the model that the train stage left")
    parser.add_argument("--clean", type=Path, required=True, help="the clean stage's output")
    parser.add_argument("--split", type=Path, required=True, help="a version of the split, a folder")
    parser.add_argument("--predictions", type=Path, required=True, help="what the train stage predicted, a folder")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--answers", type=Path, required=True, help="folder to write")
    parser.add_argument("--metrics", type=Path, required=True, help="folder for <model>.json and its tables")
    args = parser.parse_args()
    settings = section(
        "evaluate", EvaluateSettings, {"evaluate": {name: getattr(args, name) for name in EvaluateSettings.model_fields}}
    )
    for folder in (args.trained, args.predictions, args.clean, args.split.parent):
        require_manifest(folder)
    samples, lists = read_version(args.split, read_samples(args.clean))
    majority = of_part(samples, lists, TRAIN)["label"].value_counts().sort_index().idxmax()
    pictures = of_part(samples, lists, *SCORED)
    predictions = read_table(args.predictions / TABLE)
    further = read_table(args.predictions / FURTHER) if (args.predictions / FURTHER).is_file() else None
    card = read_json(args.trained / "model.json")
    described = {"data": card["trained_on"]["data"], "architecture": card["as_built"]}
    about = {name: card[name] for name in CARD if name in card}
    named = pictures.rename(columns={"label": "actual"})
    true = samples.boxes[samples.boxes["sample_id"].isin(pictures["sample_id"])]
    if task_of(predictions) == JOINTS:
        from stages.pose_figures import NO_ROWS, say_poses, score_poses  # a third of a second, and few models need it

        def posed(own: pd.DataFrame) -> dict[str, pd.DataFrame]:
            return score_poses(own, pictures, of_part(samples, lists, TRAIN), samples, settings.map_draws, args.seed)

        tables = posed(predictions)
        names = ("map50", "pckh")
        first = compared(tables["parts"], names)
        seeds = of_trainings(first, further, lambda own: compared(posed(own)["parts"], names))
        # First: it refuses what is no finite number.
        write_json(args.metrics / f"{args.model}.json", rounded(with_spread(headline(tables["parts"]), seeds) | described))
        with new_folder(args.answers) as out:
            write_json(out / "chosen.json", {})  # nothing is answered by joints alone
            write_more(out, about, curves(predictions, named, true)[1])
        nothing = {name: pd.DataFrame(columns=columns) for name, columns in NO_ROWS.items()}
        write_tables(tables | nothing | {"seeds": seeds}, args.metrics, args.model)
        say_poses(args.model, tables["parts"])
        return
    chosen = choose(predictions, pictures)
    if task_of(predictions) == BOX and len(true):
        chosen["box_threshold"] = choose_box_threshold(predictions, true, named)
    scored = score(predictions, pictures, samples, chosen, card["classes"], majority, settings, args.seed)
    pooled, every = curves(predictions, named, true)
    clips = scored.of_classes is not None
    if clips:  # a key's 10 or 100 is the document's size: how many there were is measured
        described |= {"train_clips": card["trained_on"]["train"], "started_from": card["started_from"]}
    first = compared(scored.parts, [*scores.FIGURES, "map"])
    seeds = of_trainings(first, further, lambda own: of_training(own, pictures, clips))
    # First: it refuses what is no finite number.
    write_json(args.metrics / f"{args.model}.json", rounded(with_spread(headline(scored.parts), seeds) | described))
    with new_folder(args.answers) as out:
        columns = ["sample_id", "part", "seq_id", "actual", "predicted", "score", "calibrated"]
        scored.answers.pictures[columns].to_parquet(out / "answers.parquet", index=False)
        scored.answers.sequences[columns].to_parquet(out / "sequences.parquet", index=False)
        if scored.of_classes is not None:
            scored.of_classes.to_parquet(out / SCORES, index=False)
        seeds.to_csv(out / SEEDS_CSV, index=False, lineterminator="\n")
        write_json(out / "chosen.json", chosen)  # on validation: thresholds and temperature, for use elsewhere
        write_more(out, about, every)
    write_tables(scored.tables | {"seeds": seeds, "pr": pooled}, args.metrics, args.model)
    say(args.model, scored.parts)
    if clips:
        say_absent(args.model, scored.tables["classes"])


if __name__ == "__main__":
    run(main)
