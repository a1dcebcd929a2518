"""Which photos `benchmarks/real_transfer.py` takes, and that its folds test each once and tear no group apart."""

import sys
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from real_transfer import FOLDS, LEAST_GROUPS, MOST_PHOTOS, few, folds, grouped


def photos(rows: list[tuple[str, str]]) -> pd.DataFrame:
    """A row for each (species, group)."""
    labels, groups = zip(*rows, strict=True)
    return pd.DataFrame({"sample_id": [f"p{n:03}" for n in range(len(rows))], "label": labels, "seq_id": groups})


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["bird", "cat", "dog"]), st.integers(0, 30).map(str)), min_size=1, max_size=80))
def test_every_photo_is_tested_once_and_no_group_lies_in_two_parts_of_a_fold(rows: list[tuple[str, str]]) -> None:
    pictures = photos(rows)
    found = folds(pictures)
    assert len(found) == FOLDS
    for of_fold in found:
        assert of_fold["sample_id"].tolist() == pictures["sample_id"].tolist()
        assert of_fold["part"].groupby(pictures["seq_id"]).nunique().max() == 1
    assert sum((of_fold["part"] == "test").astype(int) for of_fold in found).tolist() == [1] * len(pictures)


def test_folds_share_a_class_alike() -> None:
    pictures = photos([("cat", f"c{n}") for n in range(60)] + [("bird", f"b{n}") for n in range(12)])
    for of_fold in folds(pictures):
        counts = of_fold.groupby([pictures["label"], "part"]).size()
        assert counts.to_dict() == {
            ("cat", "test"): 20, ("cat", "train"): 34, ("cat", "val"): 6,
            ("bird", "test"): 4, ("bird", "train"): 7, ("bird", "val"): 1,
        }  # fmt: skip


@pytest.mark.parametrize(
    ("photos_each", "groups", "taken"),
    [
        (MOST_PHOTOS - 1, LEAST_GROUPS, True),
        (MOST_PHOTOS, LEAST_GROUPS, False),
        (MOST_PHOTOS - 1, LEAST_GROUPS - 1, False),
    ],
)
def test_a_species_has_few_photos_of_enough_groups(photos_each: int, groups: int, taken: bool) -> None:
    pictures = photos([("cat", str(n % groups)) for n in range(photos_each)])
    assert len(few(pictures)) == (photos_each if taken else 0)


def test_a_car_is_no_species() -> None:
    assert few(photos([("car", str(n)) for n in range(50)])).empty


def test_a_group_is_a_cameras_day_with_its_sequences_and_look_alikes() -> None:
    rows = [  # location, seq_id, captured at, pHash
        ("a", "1", "2012-03-27 08:00", "00000000000000ff"),
        ("a", "2", "2012-03-27 20:00", "0f0f0f0f0f0f0f0f"),  # the same day
        ("a", "3", "2012-03-28 23:59", "ff00ff00ff00ff00"),
        ("a", "3", "2012-03-29 00:01", "3333333333333333"),  # the same sequence, after midnight
        ("a", "4", "2012-03-29 12:00", "5555555555555555"),
        ("b", "5", "2012-03-27 08:00", "aaaa0000aaaa0000"),  # another camera
        ("b", "6", "2012-05-01 08:00", "aaaa0000aaaa0007"),  # 3 bits from that
    ]
    pictures = pd.DataFrame(rows, columns=["location", "seq_id", "captured_at", "phash"])
    groups = grouped(pictures.assign(captured_at=pd.to_datetime(pictures["captured_at"])))
    assert pd.factorize(groups)[0].tolist() == [0, 0, 1, 1, 2, 3, 3]
