"""Which of the pictures that a generator made are fit to train on: reasons to refuse one, as pure functions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from stages.files import DataError
from stages.generators import Wanted
from stages.pictures import RGB, Inspected

BLANK, LIKE_A_PHOTO, LIKE_ANOTHER, OTHER_CLASS = "blank", "like_a_photo", "like_another", "taken_for_another_class"
_BLANK_STD = 3.0  # of 255: a picture whose values spread less about each channel's mean is of one colour


@dataclass(frozen=True)
class Verdict:
    """What became of one picture."""

    wanted: Wanted
    found: Inspected | None  # None where the generator gave no picture
    refused: str = ""  # in a word; empty: it is added
    detail: str = ""
    taken_for: str = ""  # the class that the classifier of `--agree` gives it, and how probable it finds that
    probability: float | None = None


def is_blank(rgb: RGB) -> bool:
    return bool(rgb.reshape(-1, 3).std(axis=0).max() < _BLANK_STD)


def agreed(verdicts: Sequence[Verdict], answers: dict[str, tuple[str, float]]) -> list[Verdict]:
    """Refuse what a classifier takes for another class than was wanted. `answers`: {sample_id: (class, its probability)}."""
    heard = []
    for one in verdicts:
        if not one.refused:
            label, probability = answers[one.wanted.sample_id]
            other = OTHER_CLASS if label != one.wanted.label else ""
            one = replace(one, refused=other, detail=label if other else "", taken_for=label, probability=probability)
        heard.append(one)
    return heard


def without_look_alikes(verdicts: Sequence[Verdict], photos: pd.DataFrame, bits: int) -> list[Verdict]:
    """Refuse what looks like one of `photos`, a samples table, or like a picture before it that is added.

    64-bit perceptual hashes that differ in at most `bits` bits are of look-alikes.
    """
    names = photos["sample_id"].tolist()
    hashes = np.array([int(text, 16) for text in photos["phash"]], dtype=np.uint64)
    kept = []
    for one in verdicts:
        if one.found and not one.refused:
            own = np.uint64(int(one.found.phash, 16))
            near = np.flatnonzero(np.bitwise_count(hashes ^ own) <= bits)
            if len(near):
                reason = LIKE_A_PHOTO if near[0] < len(photos) else LIKE_ANOTHER
                one = replace(one, refused=reason, detail=names[near[0]])
            else:
                names.append(one.wanted.sample_id)
                hashes = np.append(hashes, own)
        kept.append(one)
    return kept


def answers_of(folder: Path, pictures: pd.DataFrame, root: Path, labels: Iterable[str]) -> dict[str, tuple[str, float]]:
    """What a trained classifier takes each picture for: {sample_id: (class, its probability)}.

    Raises DataError for a model that does not classify whole pictures, or knows not all of `labels`.
    """
    from stages import networks
    from stages.inference import predict  # torch takes seconds, and few ask for this
    from stages.predictions import CLASS

    network = networks.load(folder)
    if network.task != CLASS or network.regions is not None or network.stored is not None:
        raise DataError(f"--agree {folder}: it does not classify whole pictures: name a model of family `image`")
    if unknown := sorted(set(labels) - set(network.classes)):
        raise DataError(f"--agree {folder} knows no class {', '.join(unknown)}. It knows: {', '.join(network.classes)}")
    rows = predict(network, pictures, root).sort_values("score", ascending=False).drop_duplicates("sample_id")
    return {row.sample_id: (row.label, float(row.score)) for row in rows.itertuples()}
