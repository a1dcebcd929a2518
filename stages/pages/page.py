"""How a page is written, and what several pages count alike."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from stages.files import seed_from
from stages.pages.study import Study
from stages.samples import TEST


def labels_of(study: Study) -> list[str]:
    """The classes of its samples, in order."""
    return sorted(study.samples.pictures["label"].unique())


def rejects_of(clean: Path) -> pd.DataFrame:
    """rejects.csv, all of it text."""
    return pd.read_csv(clean / "rejects.csv", keep_default_na=False, dtype=str)


def write_page(out: Path, template: str, **shown: Any) -> None:
    """Write the page `out` by a template of this folder. Everything is escaped, and what a template misses is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined
    )
    out.write_text(environment.get_template(template).render(**shown), encoding="utf-8")


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
