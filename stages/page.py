"""What the pages of data sets share besides page.html: what all of them read, an order of chance, how charts are written."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jinja2
import matplotlib
import pandas as pd

from stages.files import read_json, seed_from
from stages.samples import TEST, Samples

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def about(samples: Samples, clean: Path, splits: Path) -> dict[str, Any]:
    """What every page says of its data: label, clean (the folder, for people to look into), counts, source, splits, labels."""
    files = {"counts": clean / "counts.json", "source": clean / "source.json", "splits": splits / "report.json"}
    label = "embedded data" if samples.data == "embedded" else "your data"
    known = {"label": label, "clean": clean.as_posix(), "labels": sorted(samples.pictures["label"].unique())}
    return known | {name: read_json(path) for name, path in files.items()}


def rejects_of(clean: Path) -> pd.DataFrame:
    """rejects.csv, all of it text."""
    return pd.read_csv(clean / "rejects.csv", keep_default_na=False, dtype=str)


def write_page(out: Path, template: str, **shown: Any) -> None:
    """Write index.html into `out`. Everything is escaped, and what a template misses is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined
    )
    (out / "index.html").write_text(environment.get_template(template).render(**shown), encoding="utf-8")


def in_turn(names: Iterable[str], seed: int = 0) -> list[str]:
    """Names in an order of chance that is the same in every run."""
    return sorted(set(names), key=lambda name: seed_from(seed, name))


def confusion_rows(table: pd.DataFrame, labels: list[str]) -> list[dict[str, Any]]:
    """Counts of actual against predicted, in the order of `labels`: label, n, and for each class its count and share of n."""
    counts = table.pivot_table(index="actual", columns="predicted", values="n", aggfunc="sum", fill_value=0)
    counts = counts.reindex(index=labels, columns=labels, fill_value=0)
    return [
        {"label": label, "n": int(row.sum()), "cells": [{"n": int(n), "share": float(n / max(1, row.sum()))} for n in row]}
        for label, row in zip(labels, counts.to_numpy(), strict=True)
    ]


def of_test(metrics: Path, model: str, table: str) -> pd.DataFrame:
    """The rows of the test part in <model>.<table>.csv."""
    rows = pd.read_csv(metrics / f"{model}.{table}.csv", keep_default_na=False, na_values={"pckh": [""], "ap": [""]})
    return rows[rows["part"] == TEST].reset_index(drop=True)


def save(figure: Any, out: Path) -> None:
    """Write a chart as an SVG, the same in every run, and close it."""
    figure.savefig(out, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)


def plain(text: str) -> str:
    """A name as matplotlib is to write it: `$` would begin a formula."""
    return text.replace("$", r"\$")
