"""All that the stages left of one data set, as its pages read it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from stages.files import read_json, require_manifest
from stages.samples import Samples, read_samples

OF_NO_MODEL = ("clean.json", "comparison.json")  # beside the models' own figures: what the stages clean and compare wrote
CARD = "card.json"  # in a model's folder of answers
EMBEDDED = "embedded data"  # the label of figures that were measured on what the program drew itself


@dataclass(frozen=True)
class Study:
    """One data set and its models. The folders are those that the stages wrote."""

    dataset: str
    samples: Samples
    label: str  # on everything measured: embedded data | your data
    source: dict[str, Any]  # source.json, counts.json and the split's report.json
    counts: dict[str, Any]
    splits: dict[str, Any]
    models: dict[str, dict[str, Any]]  # by name: the headline JSON, and more (see `read_models`)
    left_out: list[str]  # models whose figures belong to other data, or have no answers: an earlier run's
    missing: list[str]  # models of params.yaml that have no figures: not run, or failed
    clean: Path
    lists: Path  # the split stage's folder, a version in each folder of it
    metrics: Path
    answers: Path
    predictions: Path
    shows: Path  # what the page shows beside: heatmaps, or pictures that nobody took; else of no meaning

    def answers_of(self, model: str) -> pd.DataFrame:
        """sample_id, part, seq_id, actual, predicted, score, calibrated. Raises DataError where the file was altered."""
        require_manifest(self.answers / model)
        return pd.read_parquet(self.answers / model / "answers.parquet")


def read_models(metrics: Path, answers: Path, data: str) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """{model: its headline, with more inside} by name, and the models left out.

    More: `parts` (figures of each part), `cost`, `chosen`, `absent`, and `card`, what the model's own file says of how it was
    made ({} where `evaluate` left none).

    Left out is what belongs to other data than the page is about, or has no answers: figures of an earlier run.
    """
    models, left_out = {}, []
    for path in sorted(metrics.glob("*.json")):
        if path.name.endswith(".cost.json") or path.name in OF_NO_MODEL:
            continue
        found, cost = read_json(path), metrics / f"{path.stem}.cost.json"
        if found["data"] != data or not (answers / path.stem).is_dir():
            left_out.append(path.stem)
            continue
        by_class = pd.read_csv(metrics / f"{path.stem}.classes.csv", keep_default_na=False)
        absent = by_class[by_class["n"] == 0].groupby("part")["label"].agg(", ".join).to_dict()
        rows = pd.read_csv(metrics / f"{path.stem}.parts.csv").to_dict("records")
        parts = {row["part"]: {name: value for name, value in row.items() if pd.notna(value)} for row in rows}
        chosen, card = read_json(answers / path.stem / "chosen.json"), answers / path.stem / CARD
        more = {"cost": read_json(cost) if cost.exists() else {}, "parts": parts, "absent": absent, "chosen": chosen}
        more["card"] = read_json(card) if card.exists() else {}
        models[path.stem] = found | more
    return models, left_out


def read_study(
    dataset: str, known: list[str], clean: Path, splits: Path, metrics: Path, answers: Path, predictions: Path, shows: Path
) -> Study:
    """Everything of one data set. `known` are the names of its models in params.yaml.

    Raises DataError where what a stage left was altered since.
    """
    for folder in (clean, splits):
        require_manifest(folder)
    samples = read_samples(clean)
    models, left_out = read_models(metrics, answers, samples.data)
    return Study(
        dataset=dataset,
        samples=samples,
        label=EMBEDDED if samples.data == "embedded" else "your data",
        source=read_json(clean / "source.json"),
        counts=read_json(clean / "counts.json"),
        splits=read_json(splits / "report.json"),
        models=models,
        left_out=left_out,
        missing=[name for name in known if name not in models],
        clean=clean,
        lists=splits,
        metrics=metrics,
        answers=answers,
        predictions=predictions,
        shows=shows,
    )
