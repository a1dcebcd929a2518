"""Models of one data set against each other, on the same test pictures: what changes, and whether by more than chance.

    python -m stages.compare --params compare.posture --answers data/answers/posture --seed 20220422
        --out metrics/posture/comparison.csv --metrics metrics/posture/comparison.json

The CSV has a row for each model, reference and figure; the JSON the signed changes alone, for `dvc metrics diff`. Every model
is compared with always naming the commonest class, too.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, model_validator

from stages import scores
from stages.command import run
from stages.files import DataError, new_file, require_manifest, seed_from, write_json
from stages.samples import TEST
from stages.seeds import FIGURES, changes
from stages.settings import Record, read_params, section

RECALL = "recall"  # of one class, named in `label`
OVER_SEEDS = ["seeds", "change_mean", "change_sd"]
BETTER, WORSE, UNDECIDED = "better", "worse", "undecided"


class CompareSettings(Record):
    references: dict[str, tuple[str, ...]] = Field(min_length=1)  # by how a model's name begins
    document: tuple[str, ...] = ()  # the references that the document's own changes are against
    draws: int = Field(1000, gt=0)  # bootstrap resamples of whole sequences, of both models at once

    @model_validator(mode="after")
    def _listed(self) -> Self:
        listed = {name for names in self.references.values() for name in names}
        if strangers := sorted(set(self.document) - listed):
            raise ValueError(f"`document` names {strangers[0]}, which is none of the references")
        return self


def pairs(models: Iterable[str], references: dict[str, tuple[str, ...]]) -> list[tuple[str, str]]:
    """(model, reference) of each comparison: of a model's name the longest beginning that is listed decides.

    A reference is itself compared with those listed before it. Raises DataError for a reference that is no model, and for a
    beginning that no model's name has.
    """
    models = sorted(models)
    there = ", ".join(models) or "none"
    for beginning, listed in references.items():
        if not any(_begins(name, beginning) for name in models):
            raise DataError(f"compare: no model with test answers begins with {beginning}. There is: {there}")
        if strangers := [name for name in listed if name not in models]:
            raise DataError(f"compare: {strangers[0]} has no test answers. There is: {there}")
    found = []
    for model in models:
        own = max((beginning for beginning in references if _begins(model, beginning)), key=len, default="")
        listed = references.get(own, ())
        found += [(model, name) for name in (listed[: listed.index(model)] if model in listed else listed)]
    return found


def _begins(name: str, beginning: str) -> bool:
    return f"{name}-".startswith(f"{beginning}-")


def compare(model: pd.DataFrame, reference: pd.DataFrame, draws: int, seed: int) -> pd.DataFrame:
    """Both models' figures and how they differ, a row each of scores.FIGURES and of the recall of each class that occurs.

    Answers have sample_id, seq_id, actual, predicted. Columns: figure; label, the class of a recall; n pictures; before, the
    reference's; after, the model's; change, with the 95 % interval low to high of a paired bootstrap; verdict by that interval;
    and of shares of pictures won and lost, what one of the two alone has right, with p of McNemar's exact test.
    Raises DataError where the two were not scored on the same pictures with the same true classes.
    """
    both = model.merge(reference, on=["sample_id", "actual"], suffixes=("", "_reference"))
    if not len(model) == len(reference) == len(both):
        raise DataError(
            f"they were scored on other test pictures: {len(model)} and {len(reference)}, {len(both)} of them the same. "
            "Give both models one split, or remove what an earlier run left, and run `dvc repro`"
        )
    classes = sorted({*both["actual"], *both["predicted"], *both["predicted_reference"]})
    whole, drawn = scores.paired_counts(model, reference, classes, draws, seed)
    won = both["actual"].eq(both["predicted"]) & both["actual"].ne(both["predicted_reference"])
    lost = both["actual"].ne(both["predicted"]) & both["actual"].eq(both["predicted_reference"])
    rows = []
    for name, figure in scores.FIGURES.items():
        changes = figure(drawn[0]) - figure(drawn[1])
        rows.append(_row(name, "", len(both), float(figure(whole[1])), float(figure(whole[0])), changes))
    rows[0] |= _mcnemar(won, lost)  # of accuracy
    recalls, recalls_drawn = ([scores.precision_recall_f1(counts)[1] for counts in several] for several in (whole, drawn))
    for place, label in enumerate(classes):
        own = both["actual"] == label
        if own.any():
            occurs = drawn[0][:, place].sum(-1) > 0  # a rare class can fall out of a draw
            changes = (recalls_drawn[0] - recalls_drawn[1])[occurs, place]
            before, after = float(recalls[1][place]), float(recalls[0][place])
            rows.append(_row(RECALL, label, int(own.sum()), before, after, changes) | _mcnemar(won[own], lost[own]))
    return pd.DataFrame(rows).astype({"won": "Int64", "lost": "Int64"})


def _row(figure: str, label: str, n: int, before: float, after: float, changes: NDArray[np.float64]) -> dict[str, Any]:
    low, high = scores.interval(changes)
    about = {"figure": figure, "label": label, "n": n, "before": before, "after": after, "change": after - before}
    return about | {"low": low, "high": high, "verdict": verdict(low, high)}


def _mcnemar(won: pd.Series, lost: pd.Series) -> dict[str, Any]:
    counts = int(won.sum()), int(lost.sum())
    return {"won": counts[0], "lost": counts[1], "p": scores.mcnemar_exact(*counts)}


def verdict(low: float, high: float) -> str:
    """What an interval of a change says."""
    return BETTER if low > 0 else WORSE if high < 0 else UNDECIDED


def baseline(answers: pd.DataFrame) -> pd.DataFrame:
    """Answers that always name the commonest class of these very pictures: no other constant answer is right as often."""
    return answers.assign(predicted=answers["actual"].value_counts().sort_index().idxmax())


def over_seeds(found: pd.DataFrame, model: pd.DataFrame, reference: pd.DataFrame) -> pd.DataFrame:
    """`found`, of `compare`, with OVER_SEEDS: how each figure changes over trainings of other seeds, mean and deviation.

    `model` and `reference` are figures of each training (stages/seeds.py). Missing where there are not two of both.
    """
    figures = found["figure"]
    rows = [{} if name == RECALL else changes(model, reference, name, TEST) for name in figures]
    return found.join(pd.DataFrame(rows, index=found.index, columns=OVER_SEEDS))


def compare_all(
    answers: dict[str, pd.DataFrame], trainings: dict[str, pd.DataFrame], settings: CompareSettings, seed: int
) -> pd.DataFrame:
    """`compare` of each pair, with the columns model, reference, of_document, and of each model with its baseline.

    `answers` are of the test part, by model, `trainings` the figures of each training. Raises DataError for models that cannot
    be compared.
    """
    compared = pairs(answers, settings.references)
    tables = []
    for name in dict.fromkeys(model for pair in compared for model in pair):
        constant = baseline(answers[name])
        found = compare(answers[name], constant, settings.draws, seed_from(seed, name))
        found = found[found["figure"] != RECALL]  # which is 0, or 1 of that class
        tables.append(found.assign(model=name, reference=f"always {constant['predicted'].iloc[0]}", of_document=False))
    for name, reference in compared:
        try:
            found = compare(answers[name], answers[reference], settings.draws, seed_from(seed, name, reference))
        except DataError as error:
            raise DataError(f"{name} cannot be compared with {reference}: {error}") from None
        found = over_seeds(found, trainings[name], trainings[reference])
        tables.append(found.assign(model=name, reference=reference, of_document=reference in settings.document))
    table = pd.concat(tables, ignore_index=True).sort_values("model", kind="stable", ignore_index=True)
    first = ["model", "reference", "of_document"]
    table = table.astype({"seeds": "Int64"})
    return table[[*first, *table.columns.drop([*first, *OVER_SEEDS]), *OVER_SEEDS]]


def read_answers(folder: Path) -> tuple[dict[str, pd.DataFrame], dict[str, pd.DataFrame]]:
    """The test part's answers of each model in `folder` that has them, by name, and the figures of each of its trainings."""
    found, trainings = {}, {}
    for path in sorted(folder.glob("*/answers.parquet")):
        require_manifest(path.parent)
        table = pd.read_parquet(path)
        found[path.parent.name] = table[table["part"] == TEST].reset_index(drop=True)
        trainings[path.parent.name] = pd.read_csv(path.parent / FIGURES)
    return {name: table for name, table in found.items() if len(table)}, trainings


def signed_changes(table: pd.DataFrame) -> dict[str, Any]:
    """{model: {reference: {accuracy, balanced_accuracy}}}, of references that are models."""
    found: dict[str, Any] = {}
    rows = table[table["figure"].isin(["accuracy", "balanced_accuracy"]) & table["reference"].isin(table["model"])]
    for row in rows.itertuples():
        found.setdefault(row.model, {}).setdefault(row.reference, {})[row.figure] = round(row.change, 4)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="models of one data set against each other, on the same test pictures")
    parser.add_argument("--params", required=True, help="path of the settings in params.yaml")
    parser.add_argument("--answers", type=Path, required=True, help="folder with the answers of each model")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True, help="CSV to write")
    parser.add_argument("--metrics", type=Path, required=True, help="JSON to write")
    args = parser.parse_args()
    settings = section(args.params, CompareSettings, read_params())
    table = compare_all(*read_answers(args.answers), settings, args.seed)
    with new_file(args.out) as temporary:
        table.to_csv(temporary, index=False, float_format="%.4f", lineterminator="\n")
    write_json(args.metrics, signed_changes(table))
    for row in table[(table["figure"] == "accuracy") & table["reference"].isin(table["model"])].itertuples():
        interval = f"({row.low:+.3f} to {row.high:+.3f})"
        print(f"{row.model} against {row.reference}: accuracy {row.change:+.3f} {interval}, {row.verdict}")


if __name__ == "__main__":
    run(main)
