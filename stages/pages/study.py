"""All that the stages left of one data set, as its pages read it."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from stages.files import DataError, read_json, require_manifest
from stages.samples import Samples, read_samples

OF_NO_MODEL = ("clean.json", "comparison.json")  # beside the models' own figures: what the stages clean and compare wrote
CARD = "card.json"  # in a model's folder of answers
# The tables of a model that pages read, with the columns in which each row must have a value.
NEEDED = {"parts": ("part", "n"), "classes": ("part", "label", "n")}
OPTIONAL = {
    "confusion": ("level", "part", "actual", "predicted", "n"),
    "slices": ("part", "slice", "value", "n", "f1_macro", "accuracy"),
    "reliability": ("part", "scores", "low", "high", "n", "confidence", "accuracy"),
    "pr": ("part", "label", "precision", "recall"),
    "seeds": ("part", "seed"),
    "curve": ("epoch",),
}
WORDS = {
    "part",
    "label",
    "level",
    "actual",
    "predicted",
    "slice",
    "value",
    "scores",
    "in_train",
}  # others are numbers
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
    left_out: list[str]  # "model (why)": its figures are of other data, as an earlier run's, or a file is missing or damaged
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


def require_table(path: Path, whole: Iterable[str], numbers: Iterable[str] = ()) -> None:
    """Raise DataError where a model's table cannot be read, or has no value in a column of `whole`, or text for a number.

    `numbers` are columns that are of numbers in this table, though of words in others.
    """
    try:
        table = pd.read_csv(path, keep_default_na=False, dtype=str)
    except FileNotFoundError:
        raise DataError(f"{path.name} is missing") from None
    except (OSError, ValueError) as error:  # empty, not UTF-8, or rows of different lengths
        raise DataError(f"{path.name} cannot be read: {' '.join(str(error).split())}") from None
    for column in whole:
        if column not in table:
            raise DataError(f"{path.name} has no column {column}")
        if table[column].isna().any() or (column not in WORDS and table[column].eq("").any()):
            raise DataError(f"{path.name} has a row without {column}")
    for column in table.columns.difference(sorted(WORDS - set(numbers))):
        if pd.to_numeric(table[column].replace("", "0"), errors="coerce").isna().any():
            raise DataError(f"{path.name} has text in {column}, where numbers should be")


def table_of(metrics: Path, model: str, table: str, part: str | None = None) -> pd.DataFrame:
    """<model>.<table>.csv, of one part where it is named; no row where it is not there. A class may be called NA, or 1."""
    path = metrics / f"{model}.{table}.csv"
    if not path.is_file():
        return pd.DataFrame(columns=list((NEEDED | OPTIONAL)[table]))
    words = WORDS - {"in_train"} - ({"predicted"} if table == "classes" else set())  # there a number of answers
    empty = {name: [""] for name in pd.read_csv(path, nrows=0).columns if name not in words}
    rows = pd.read_csv(path, keep_default_na=False, na_values=empty, dtype=dict.fromkeys(words, str))
    return rows if part is None else rows[rows["part"] == part].reset_index(drop=True)


def read_model(metrics: Path, answers: Path, name: str, data: str) -> dict[str, Any]:
    """A model's headline and what `read_models` adds. Raises DataError where it cannot be shown beside `data`."""
    found, cost, card = read_json(metrics / f"{name}.json"), metrics / f"{name}.cost.json", answers / name / CARD
    if not isinstance(found, dict) or "data" not in found:
        raise DataError(f"{name}.json is not as `evaluate` writes it")
    if found["data"] != data:
        raise DataError("its figures belong to another run or other data")
    if not (answers / name).is_dir():
        raise DataError("its figures belong to another run: it has no answers")
    for table, whole in (NEEDED | OPTIONAL).items():
        path = metrics / f"{name}.{table}.csv"
        if table in NEEDED or path.is_file():
            require_table(path, whole, ["predicted"] if table == "classes" else [])
    by_class = table_of(metrics, name, "classes")
    absent = by_class[by_class["n"] == 0].groupby("part")["label"].agg(", ".join).to_dict()
    rows = pd.read_csv(metrics / f"{name}.parts.csv").to_dict("records")
    parts = {row["part"]: {key: value for key, value in row.items() if pd.notna(value)} for row in rows}
    if not parts:
        raise DataError(f"{name}.parts.csv has no row")
    more = {"cost": read_json(cost) if cost.exists() else {}, "parts": parts, "absent": absent}
    more |= {"chosen": read_json(answers / name / "chosen.json"), "card": read_json(card) if card.exists() else {}}
    return found | more


def read_models(metrics: Path, answers: Path, data: str) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """{model: its headline, with more inside} by name, and the models left out, each with why: "model (why)".

    More: `parts` (figures of each part), `cost`, `chosen`, `absent`, and `card`, what the model's own file says of how it was
    made ({} where `evaluate` left none).

    Left out is what belongs to other data than the page is about, or has no answers, as figures of an earlier run, and what is
    damaged: that is one model's, and no reason to show none of the others.
    """
    models, left_out = {}, []
    for path in sorted(metrics.glob("*.json")):
        if path.name.endswith(".cost.json") or path.name in OF_NO_MODEL:
            continue
        try:
            models[path.stem] = read_model(metrics, answers, path.stem, data)
        except DataError as error:
            left_out.append(f"{path.stem} ({error})")
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
