"""One trained model -> predictions table and metrics, for every part of its split but train.

`python -m stages.evaluate --help` lists the options, dvc.yaml holds the commands. It writes
<model>.json, the headline, and beside it <model>.classes.csv, .confusion.csv and .slices.csv for `dvc plots`.
"""

import argparse
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from pydantic import Field, model_validator

from stages import geometry, scores
from stages.command import run
from stages.files import DataError, new_file, new_folder, read_json, require_manifest, seed_from, write_json
from stages.networks import family
from stages.predictions import check_predictions
from stages.samples import BOX_COLUMNS, SEEN, TEST, TRAIN, UNSEEN, VAL, Samples, read_samples, read_split
from stages.settings import Record, read_params, section

PARTS = (VAL, TEST, SEEN, UNSEEN)


class EvaluateSettings(Record):
    draws: int = Field(1000, gt=0)  # bootstrap resamples behind every interval
    batch_size: int = Field(64, gt=0)
    small_box: float = Field(0.02, gt=0, lt=1)  # share of the picture's area below which its largest box is small
    large_box: float = Field(0.10, gt=0, lt=1)  # and above which it is large

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.small_box >= self.large_box:
            raise ValueError(f"small_box {self.small_box} should be below large_box {self.large_box}")
        return self


def answers(predictions: pd.DataFrame, pictures: pd.DataFrame) -> pd.DataFrame:
    """A row for each picture: sample_id, actual, predicted, score, seq_id. Raises DataError if a prediction is missing."""
    check_predictions(predictions, pictures["sample_id"])
    best = predictions.sort_values(["score", "label"], ascending=[False, True]).drop_duplicates("sample_id")
    best = best.rename(columns={"label": "predicted"})[["sample_id", "predicted", "score"]]
    table = pictures.rename(columns={"label": "actual"}).merge(best, on="sample_id", validate="one_to_one")
    if len(table) != len(pictures):
        raise DataError(f"{len(pictures)} pictures, {len(table)} answers")
    return table


def measure(table: pd.DataFrame, trained: list[str], majority: str, settings: EvaluateSettings, seed: int) -> dict[str, Any]:
    """Headlines for each part in `table` (its column `part`), and the gap between seen and unseen."""
    metrics: dict[str, Any] = {}
    for part in PARTS:
        rows = table[table["part"] == part]
        if len(rows):
            classes = all_classes(rows, trained)
            metrics[part] = scores.headline(rows, classes, majority, settings.draws, seed_from(seed, part))
    if SEEN in metrics and UNSEEN in metrics:
        metrics["gap"] = metrics[SEEN]["f1_macro"] - metrics[UNSEEN]["f1_macro"]
    return metrics


def all_classes(table: pd.DataFrame, trained: list[str]) -> list[str]:
    """The trained classes, then those that only this table holds."""
    return trained + sorted(set(table["actual"]) - set(trained))


def slices(table: pd.DataFrame, trained: list[str]) -> pd.DataFrame:
    """Macro F1 and accuracy by day or night, size of the largest box, and location, for each part."""
    rows = []
    for part in PARTS:
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


def rounded(value: Any) -> Any:
    """Floats to 4 decimals, all the way down: more would be noise in git and in `dvc metrics diff`."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return round(value, 4) if isinstance(value, float) else value


def main() -> None:
    parser = argparse.ArgumentParser(description="predict with one trained model, and score it")
    parser.add_argument("--model", required=True, help="the model's key in params.yaml")
    parser.add_argument("--family", required=True, help="a file of stages/networks")
    parser.add_argument("--params", required=True, help="path of the settings in params.yaml")
    parser.add_argument("--trained", type=Path, required=True, help="the train stage's output")
    parser.add_argument("--clean", type=Path, required=True, help="the clean stage's output")
    parser.add_argument("--split", type=Path, required=True, help="the list of parts, a CSV")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--predictions", type=Path, required=True, help="folder to write")
    parser.add_argument("--metrics", type=Path, required=True, help="folder for <model>.json and its tables")
    args = parser.parse_args()
    settings = section(args.params, EvaluateSettings, read_params())
    for folder in (args.trained, args.clean, args.split.parent):
        require_manifest(folder)
    samples = read_samples(args.clean)
    parts = read_split(args.split)
    table = samples.pictures.merge(parts, on="sample_id", validate="one_to_one").sort_values("sample_id")
    if len(table) != len(parts):
        raise DataError(f"{args.split}: {len(parts) - len(table)} pictures are not in {args.clean}: run `dvc repro`")
    majority = table.loc[table["part"] == TRAIN, "label"].value_counts().sort_index().idxmax()
    pictures = table[table["part"].isin(PARTS)]
    predictions = family(args.family).predict(args.trained, pictures, samples.root, settings.batch_size)
    card = read_json(args.trained / "model.json")

    table = with_slices(answers(predictions, pictures), samples, settings)
    metrics = measure(table, card["classes"], majority, settings, args.seed)
    metrics |= {"data": card["trained_on"]["data"], "architecture": card["as_built"]}
    classes = all_classes(table, card["classes"])
    by_class = pd.concat([scores.per_class(rows, classes).assign(part=part) for part, rows in table.groupby("part")])
    by_class = by_class.assign(in_train=by_class["label"].isin(card["classes"]))
    tables = {
        "classes": by_class[["part", *by_class.columns.drop("part")]],
        "confusion": table.groupby(["part", "actual", "predicted"]).size().rename("n").reset_index(),
        "slices": slices(table, card["classes"]),
    }
    write_json(args.metrics / f"{args.model}.json", rounded(metrics))  # first: it refuses what is no finite number
    with new_folder(args.predictions) as out:
        predictions.to_parquet(out / "predictions.parquet", index=False)
        table[["sample_id", "part", "actual", "predicted", "score"]].to_parquet(out / "answers.parquet", index=False)
    for name, rows in tables.items():
        with new_file(args.metrics / f"{args.model}.{name}.csv") as temporary:
            rows.to_csv(temporary, index=False, float_format="%.4f", lineterminator="\n")
    for part in PARTS:
        if part in metrics:
            print(f"{args.model} {part}: macro F1 {metrics[part]['f1_macro']:.3f}, n {metrics[part]['n']}")


if __name__ == "__main__":
    run(main)
