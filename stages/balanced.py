"""A balanced cut: so many samples of each class in each part, exactly; a version that trains on fewer is nested in the others.

Who is chosen depends on ids, labels, given lists and the seed alone. Each part ranks the ids by a hash of its own, and takes of
each class the first ones: one sample more or less in the source moves a place here and there, and no order of rows matters.
"""

from collections.abc import Mapping
from typing import Annotated, Self

import pandas as pd
from pydantic import Field, model_validator

from stages.files import DataError, seed_from
from stages.samples import TEST, TEST5, TRAIN, UNUSED, VAL
from stages.settings import Record


class Balanced(Record):
    """Numbers are of samples of each class."""

    train_list: str | None = None  # the source's own list that train and validation come from; null: any
    test_list: str | None = None  # and that of test; null: any
    val: int = Field(gt=0)
    test: int = Field(gt=0)
    test5: int = Field(0, ge=0)  # those of test that are scored by themselves too; 0: none
    versions: dict[Annotated[str, Field(pattern=r"^[\w-]+$")], Annotated[int, Field(gt=0)]] = Field(min_length=1)
    # train samples of each version; each version is a folder of this name

    @model_validator(mode="after")
    def _nested(self) -> Self:
        if self.test5 > self.test:
            raise ValueError(f"test5 is of the {self.test} in test, and {self.test5} are more")
        if taken := sorted({"location", "class", "official"} & set(self.versions)):
            raise ValueError(f"versions.{taken[0]}: a version that is cut in another way has this name: take another")
        return self


def balanced(pictures: pd.DataFrame, asked: Balanced, group_by: str, seed: int) -> tuple[dict[str, pd.Series], pd.Series]:
    """({version: part of each sample}, TEST5 or "" for each), aligned with `pictures`.

    Of their columns sample_id, label, given_split and `group_by` are used; what shares the last is never in two parts.
    Raises DataError for a class that has too few.
    """
    most = max(asked.versions.values())
    parts = {TEST: (asked.test, asked.test_list), VAL: (asked.val, asked.train_list), TRAIN: (most, asked.train_list)}
    place: dict[str, pd.Series] = {}  # of a sample among those of its class in a part, from 0
    free = pd.Series(True, pictures.index)
    for part, (count, listed) in parts.items():  # test first: what is trained on has no say in it
        there = _of_list(pictures, listed, part)
        rank = _ranked(pictures[there & free], group_by, seed_from(seed, part))
        chosen = rank[rank < count]
        _require_enough(pictures, there, chosen, count, part)
        place[part] = chosen
        free &= ~pictures[group_by].isin(pictures.loc[chosen.index, group_by])
    versions = {}
    for name, count in asked.versions.items():
        given = pd.Series(UNUSED, pictures.index)
        for part, rank in place.items():
            given[rank.index[rank < count] if part == TRAIN else rank.index] = part
        versions[name] = given
    also = pd.Series("", pictures.index)
    also[place[TEST].index[place[TEST] < asked.test5]] = TEST5
    return versions, also


def _of_list(pictures: pd.DataFrame, listed: str | None, part: str) -> pd.Series:
    if listed is None:
        return pd.Series(True, pictures.index)
    there = pictures["given_split"] == listed
    if not there.any():
        known = ", ".join(sorted(pictures["given_split"].dropna().unique())) or "none"
        raise DataError(f"split.balanced: no sample is in the list {listed}, which {part} comes from. In the data: {known}")
    return there


def _ranked(pictures: pd.DataFrame, group_by: str, seed: int) -> pd.Series:
    """The place of each sample among those of its class: groups by seed, and within a group samples by seed."""
    turn = {name: seed_from(seed, name) for name in {*pictures[group_by], *pictures["sample_id"]}}
    pairs = zip(pictures[group_by], pictures["sample_id"], strict=True)
    keys = [(turn[group], turn[own], own) for group, own in pairs]
    return pictures.iloc[sorted(range(len(keys)), key=keys.__getitem__)].groupby("label").cumcount()


def _require_enough(pictures: pd.DataFrame, there: pd.Series, chosen: pd.Series, count: int, part: str) -> None:
    listed = pictures.loc[there, "label"].value_counts()
    found: Mapping[str, int] = pictures.loc[chosen.index, "label"].value_counts().to_dict()
    short = [label for label in sorted(pictures["label"].unique()) if found.get(label, 0) < count]
    if not short:
        return
    n, total = found.get(short[0], 0), int(listed.get(short[0], 0))
    before = f", {total - n} of its {total} being taken by another part or in a sequence with one" if total > n else ""
    others = ", ".join(f"{label} {found.get(label, 0)}" for label in short[1:])
    raise DataError(
        f"split.balanced: {short[0]} has {n} samples for {part}, and {count} of each class are wanted{before}. "
        f"{f'Too few too: {others}. ' if others else ''}"
        "Ask for fewer in the data set's `split.balanced`, leave classes out by `clean.keep_labels`, or bring more"
    )
