"""Several trainings of one model that differ in their seed alone: how much its figures change from one to the next.

Number 1 is the model. Of the further ones the predictions are kept, not the weights.
"""

from collections.abc import Callable
from typing import Annotated

import pandas as pd
from pydantic import Field, RootModel

from stages.files import seed_from

FURTHER = "further.parquet"  # beside the predictions table: `seed`, from 2 on, and the table's own columns
SEEDS_CSV = "seeds.csv"  # beside the answers: a row for each training and part, with its figures


class Seeds(RootModel[Annotated[int, Field(gt=0, le=99)]]):
    """How often each model of a data set is trained."""


def numbered(seed: int, count: int) -> list[tuple[int, int]]:
    """(number, seed) of each training; the first one's seed is `seed` itself."""
    return [(number, seed if number == 1 else seed_from(seed, "training", number)) for number in range(1, count + 1)]


def figures(first: pd.DataFrame, further: pd.DataFrame | None, of_one: Callable[[pd.DataFrame], pd.DataFrame]) -> pd.DataFrame:
    """The figures of each training, a row for each part, with the training's number as `seed`.

    `first` are those of number 1; `of_one` makes them of the predictions of each `further` one.
    """
    tables = [first.assign(seed=1)]
    if further is not None:
        tables += [of_one(rows.drop(columns="seed")).assign(seed=number) for number, rows in further.groupby("seed")]
    table = pd.concat(tables, ignore_index=True)
    return table[["part", "seed", *table.columns.drop(["part", "seed"])]]


def spread(own: pd.DataFrame) -> dict[str, float]:
    """Mean and standard deviation (n - 1) of each figure over `own`, the trainings of one part; nothing of one alone.

    A figure that this part has in no training (of joints: where no head has a box) is left out; one that is missing in some
    is not finite, and refused as it is written.
    """
    had = own.drop(columns=["part", "seed"]).dropna(axis="columns", how="all")
    of_each: dict[str, float] = {}
    for name, values in had.items():
        of_each |= {f"{name}_mean": float(values.mean(skipna=False)), f"{name}_sd": float(values.std(skipna=False))}
    return {"seeds": len(own), **of_each} if len(own) > 1 else {}


def changes(model: pd.DataFrame, reference: pd.DataFrame, figure: str, part: str) -> dict[str, float]:
    """How a figure of one part changes from the reference's training to the model's of the same number: seeds, mean, sd.

    Both are `figures`. Nothing where fewer than two numbers are in both.
    """
    both = model[model["part"] == part].merge(reference[reference["part"] == part], on="seed", suffixes=("", "_reference"))
    change = both[figure] - both[f"{figure}_reference"]
    return {"seeds": len(both), "change_mean": float(change.mean()), "change_sd": float(change.std())} if len(both) > 1 else {}
