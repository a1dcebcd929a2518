"""What is said of models of clips beyond how often they are right: mAP, choices between two actions that one frame cannot tell
apart, and claims of one model being better than another.

Scores of classes are a table by sample_id, a column for each class, as stages/evaluate.py leaves them in scores.parquet.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages import scores
from stages.files import DataError
from stages.scores import ALL_PAIRS, MAP, PAIR, UNDECIDED, change_row
from stages.settings import Record

Z = 1.959964  # of a 95 % interval
ACCURACY = "accuracy"


class Claim(Record):
    """What is expected of two models."""

    better: str  # a model
    than: str  # another
    figure: str = MAP  # of the table of comparisons
    part: str = ""  # of the split; empty: the last of those that are compared
    ours: bool = False  # not the document's


def map_row(answers: pd.DataFrame, model: pd.DataFrame, reference: pd.DataFrame, draws: int, seed: int) -> dict[str, Any]:
    """How mAP changes from the reference's scores to the model's, paired: both are drawn the same sequences.

    `answers` have sample_id, seq_id and actual of every clip. Raises DataError where one of the two did not score a clip.
    """
    both = [_of(table, answers["sample_id"]) for table in (reference, model)]
    before, after = (scores.mean_average_precision(answers["actual"], wide) for wide in both)
    drawn = [scores.map_bootstrap(answers["actual"], wide, answers["seq_id"], draws, seed) for wide in both]
    return change_row(MAP, "", len(answers), before, after, scores.interval(drawn[1] - drawn[0]))


def _of(of_classes: pd.DataFrame, sample_ids: pd.Series) -> pd.DataFrame:
    if missing := sorted(set(sample_ids) - set(of_classes.index)):
        raise DataError(f"{len(missing)} clips have no scores, {missing[0]} for example: run `dvc repro`")
    return of_classes.loc[sample_ids]


def choices(answers: pd.DataFrame, of_classes: pd.DataFrame, pairs: tuple[tuple[str, str], ...]) -> pd.DataFrame:
    """Forced choices: a row for each pair and clip of one of its two classes: label, seq_id, right.

    `right` is 1 where the true class is scored above the other, 0.5 where as high. A pair with a class that has no clip, or
    that the model does not score, has no row: a choice that always has one answer says nothing.
    """
    tables = []
    for pair in pairs:
        own = answers[answers["actual"].isin(pair)]
        if own["actual"].nunique() == len(pair) and {*pair} <= {*of_classes}:
            wide = _of(of_classes, own["sample_id"])
            difference = (wide[pair[0]] - wide[pair[1]]).to_numpy() * np.where(own["actual"] == pair[0], 1, -1)
            right = (np.sign(difference) + 1) / 2
            tables.append(pd.DataFrame({"label": " / ".join(pair), "seq_id": own["seq_id"].to_numpy(), "right": right}))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["label", "seq_id", "right"])


def wilson(share: float, n: int) -> tuple[float, float]:
    """95 % interval of a share of n (E. B. Wilson, JASA 22, 1927): of few that are all right, too, it is not empty."""
    middle, half = share + Z**2 / (2 * n), Z * np.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return float((middle - half) / (1 + Z**2 / n)), float((middle + half) / (1 + Z**2 / n))


def pair_rows(chosen: pd.DataFrame) -> list[dict[str, Any]]:
    """`choices` of one model against chance, 0.5: a row for each pair and one for all of them.

    Their intervals are Wilson's, of as many trials as there are sequences.
    """
    rows = []
    for label, own in [*chosen.groupby("label", sort=False), (ALL_PAIRS, chosen)]:
        if len(own):
            share = float(own["right"].mean())
            low, high = wilson(share, own["seq_id"].nunique())
            rows.append(change_row(PAIR, label, len(own), 0.5, share, (low - 0.5, high - 0.5)))
    return rows


def paired_pair_rows(model: pd.DataFrame, reference: pd.DataFrame, draws: int, seed: int) -> list[dict[str, Any]]:
    """How `choices` of the same clips change from the reference to the model: rows as `pair_rows`, intervals by bootstrap."""
    both = model.assign(before=reference["right"])
    rows = []
    for label, own in [*both.groupby("label", sort=False), (ALL_PAIRS, both)]:
        if len(own):
            change = _drawn_means(own["right"] - own["before"], own["seq_id"], draws, seed)
            before, after = float(own["before"].mean()), float(own["right"].mean())
            rows.append(change_row(PAIR, label, len(own), before, after, scores.interval(change)))
    return rows


def _drawn_means(values: pd.Series, seq_ids: pd.Series, draws: int, seed: int) -> NDArray[np.float64]:
    """The mean of each resample of whole sequences, (R,)."""
    numbers, sequences = pd.factorize(seq_ids, sort=True)
    groups = len(sequences)
    times = np.random.default_rng(seed).multinomial(groups, np.full(groups, 1 / groups), size=draws)
    sums, n = np.bincount(numbers, values, groups), np.bincount(numbers, minlength=groups)
    return (times @ sums) / (times @ n)


def check(claims: dict[str, Claim], compared: Callable[[Claim], pd.DataFrame], test: str) -> dict[str, dict[str, Any]]:
    """What became of each claim, by its name: change, low, high, `holds` by the change alone, `decided` by its interval, the
    `test` that this is by, in words, and n, the items that both models answered; won, lost and p of their accuracy where rows
    have them, whatever figure the claim is by.

    `compared` gives the rows of a claim's two models: figure, label, n, change, low, high, and of accuracy won, lost and p. A
    change of 0 does not hold. Raises DataError for a figure that they have not.
    """
    found = {}
    for name, claim in claims.items():
        rows = compared(claim)
        rows = rows[rows["label"] == ""].set_index("figure")
        if claim.figure not in rows.index:
            raise DataError(f"the claim {name} is of {claim.figure}, which is not compared. There is: {', '.join(rows.index)}")
        row = rows.loc[claim.figure]
        numbers = {key: round(float(row[key]), 6) for key in ("change", "low", "high")}
        decided = bool(scores.verdict(row["low"], row["high"]) != UNDECIDED)
        found[name] = {**claim.model_dump(), **numbers, "holds": bool(row["change"] > 0), "decided": decided}
        found[name] |= {"test": test, "n": int(row["n"])}
        if ACCURACY in rows.index and {"won", "lost", "p"} <= {*rows}:
            alone = rows.loc[ACCURACY]
            found[name] |= {"won": int(alone["won"]), "lost": int(alone["lost"]), "p": round(float(alone["p"]), 6)}
    return found
