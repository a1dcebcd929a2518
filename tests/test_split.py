"""Splits: parts that keep sequences and locations apart and never move. Faults 33 to 36 and 38."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from stages.files import MANIFEST, DataError, check_manifest, read_json, write_json, write_manifest
from stages.samples import BOXES, PARTS_CSV, SAMPLES
from stages.settings import section
from stages.split import Shares, SplitSettings, Unseen, allocate, check, cut, hold_out, joined, leaks, near_pairs, report
from tests.disk_helpers import fill, small_disk

SHARES = {"location": {"train": 0.46, "val": 0.44, "test": 0.10}, "class": {"train": 0.65, "val": 0.25}}
BOTH = {"unseen": {"locations": 0.3, "max_per_class": 100}, "seen": 0.1} | SHARES
LABELS = ["deer", "fox", "rabbit", "empty"]


def chosen(**values: Any) -> SplitSettings:
    return section("split", SplitSettings, {"split": values})


def table(rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    """(location, sequence, label, given list) of each picture -> a samples table; hashes are far apart."""
    far = np.random.default_rng(0).integers(0, 2**63, len(rows), dtype=np.uint64)
    pictures = pd.DataFrame(rows, columns=["location", "seq_id", "label", "given_split"])
    count = len(pictures)
    pictures = pictures.assign(
        sample_id=[f"p{n:04}" for n in range(count)],
        path=[f"p{n}.png" for n in range(count)],
        species=pd.Series([None] * count, dtype="str"),
        frame_num=pd.array([pd.NA] * count, dtype="Int64"),
        captured_at=pd.Series([pd.NaT] * count, dtype="datetime64[us]"),
        width_px=8, height_px=6, infrared=False, bytes=9, note="",
        sha256=[f"{n:064x}" for n in range(count)],
        phash=[f"{int(value):016x}" for value in far],
    )[list(SAMPLES.columns)]  # fmt: skip
    return SAMPLES.validate(pictures.astype({"location": "str", "given_split": "str"}))


def many(seed: int, locations: int, sequences: int, labels: list[str] = LABELS) -> pd.DataFrame:
    """Random sequences of 1 to 5 pictures, each at one location; classes are long-tailed, some frames empty."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(sequences):
        location = str(rng.integers(locations) if number >= locations else number)
        label = labels[min(rng.geometric(0.5) - 1, len(labels) - 1)]
        for _ in range(rng.integers(1, 6)):
            rows.append((location, f"s{number}", "empty" if rng.random() < 0.1 else label, None))
    return table(rows)


tables = st.builds(many, st.integers(0, 10**6), st.integers(2, 12), st.integers(12, 60))
whole_settings = st.fixed_dictionaries(
    {
        "unseen": st.one_of(
            st.none(),
            st.fixed_dictionaries(
                {"locations": st.sampled_from([0.3, 0.5, 1]), "max_per_class": st.sampled_from([None, 1, 5, 100])}
            ),
        ),
        "seen": st.sampled_from([0, 0.1, 0.3]),
        "location": st.sampled_from([SHARES["location"], {"train": 0.5, "val": 0.5}]),
        "class": st.just(SHARES["class"]),
    }
)


def cut_or_skip(pictures: pd.DataFrame, wanted: SplitSettings, seed: int) -> dict[str, pd.Series]:
    try:
        return cut(pictures, wanted, seed)
    except DataError as error:
        assert "leaves none on one side" in str(error)  # the only fault that these tables can have
        assume(False)
        raise


# Properties ----------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(pictures=tables, values=whole_settings, seed=st.integers(0, 99))
def test_fault_33_no_sequence_and_no_location_is_ever_in_two_parts(
    pictures: pd.DataFrame, values: dict[str, Any], seed: int
) -> None:
    versions = cut_or_skip(pictures, chosen(**values), seed)
    assert set(versions) == {"location", "class"}
    for version, parts in versions.items():
        assert parts.notna().all()
        assert sorted(parts.index) == sorted(pictures.index)  # each picture has one part
        allowed = {"train", "val", "seen", "unseen", "unused"} | ({"test"} if version == "location" else set())
        assert set(parts) <= allowed
        part = parts.reindex(pictures.index)
        used = pictures.assign(part=part)[part != "unused"]
        assert used.groupby("seq_id")["part"].nunique().max() == 1
        homes = used.groupby("location")["part"].agg(set)
        assert all(home == {"unseen"} for home in homes if "unseen" in home)
        if version == "location":  # `seen` is at train's locations alone
            assert all(len(home - {"seen"}) == 1 for home in homes)
            assert all("train" in home for home in homes if "seen" in home)
        trained = set(used.loc[used["part"] == "train", "label"])
        rest = used[used["part"].isin(["train", "val", "test", "seen"])]
        assert set(used.loc[used["part"] == "unseen", "label"]) <= set(rest["label"]) | trained


@settings(max_examples=40, deadline=None)
@given(pictures=tables, values=whole_settings, seed=st.integers(0, 99))
def test_test_sets_are_the_same_in_every_version(pictures: pd.DataFrame, values: dict[str, Any], seed: int) -> None:
    versions = cut_or_skip(pictures, chosen(**values), seed)
    by_class, by_location = versions["class"].sort_index(), versions["location"].sort_index()
    assert (by_class == "unseen").equals(by_location == "unseen")
    seen = by_location == "seen"
    assert (by_class[seen] == "seen").all()
    assert (by_location[by_class == "seen"].isin(["seen", "unused"])).all()
    alone = cut(pictures, chosen(**(values | {"location": None})), seed)["class"].sort_index()
    assert alone.equals(by_class)  # a version does not depend on which others are asked for
    other = cut(pictures, chosen(**(values | {"class": {"train": 0.9, "val": 0.1}})), seed)
    assert other["location"].sort_index().equals(by_location)


@settings(max_examples=40, deadline=None)
@given(pictures=tables, values=whole_settings, seed=st.integers(0, 99), shuffle=st.integers(0, 10**6))
def test_fault_38_the_order_of_rows_does_not_matter(
    pictures: pd.DataFrame, values: dict[str, Any], seed: int, shuffle: int
) -> None:
    expected = cut_or_skip(pictures, chosen(**values), seed)
    mixed = pictures.sample(frac=1, random_state=shuffle).reset_index(drop=True)
    found = cut(mixed, chosen(**values), seed)
    for version, parts in expected.items():
        a = dict(zip(pictures["sample_id"], parts.reindex(pictures.index), strict=True))
        b = dict(zip(mixed["sample_id"], found[version].reindex(mixed.index), strict=True))
        assert a == b


def test_another_seed_gives_another_split() -> None:
    pictures = many(1, 10, 80)
    a, b = (cut(pictures, chosen(**BOTH), seed)["class"].sort_index() for seed in (1, 2))
    assert (a != b).mean() > 0.1


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_shares_are_about_those_asked_for(seed: int) -> None:
    pictures = many(seed, 14, 400, ["deer", "fox"])
    versions = cut(pictures, chosen(**BOTH), seed)
    part = versions["class"].sort_index()
    pool = part != "unused"
    here = pool & (part != "unseen")
    assert (part[here] == "seen").mean() == pytest.approx(0.1, abs=0.02)
    rest = part[here & (part != "seen")]
    assert (rest == "train").mean() == pytest.approx(0.65 / 0.9, abs=0.02)
    for label in ("deer", "fox"):  # each class alike
        one = rest[pictures["label"] == label]
        assert (one == "train").mean() == pytest.approx(0.65 / 0.9, abs=0.06)
    spread = versions["location"].sort_index()
    divided = spread[spread.isin(["train", "val", "test"])]
    largest = pictures.groupby("location").size().max() / len(divided)
    for name, share in SHARES["location"].items():
        assert (divided == name).mean() == pytest.approx(share, abs=largest)


groups = st.dictionaries(st.text("abcdefgh", min_size=1, max_size=4), st.integers(1, 30), min_size=1, max_size=40)


@settings(max_examples=100, deadline=None)
@given(groups=groups, seed=st.integers(0, 99), largest_first=st.booleans(), val=st.floats(0.05, 0.9))
def test_allocate(groups: dict[str, int], seed: int, largest_first: bool, val: float) -> None:
    shares = {"train": 1 - val, "val": val}
    given = allocate(groups, shares, seed, largest_first)
    assert set(given) == set(groups)
    assert set(given.values()) <= set(shares)
    total = sum(groups.values())
    held = sum(size for group, size in groups.items() if given[group] == "val")
    assert abs(held - val * total) <= max(groups.values())  # no part is off by more than one group
    assert given == allocate(dict(reversed(groups.items())), shares, seed, largest_first)


def test_allocate_gives_each_turn_to_the_part_that_lacks_most() -> None:
    sizes = {"a": 10, "b": 6, "c": 3, "d": 1}
    # 10: train lacks 5; 6 of 16: val lacks 8; 3 of 19: val lacks 3.5; 1 of 20: train and val are level.
    found = allocate(sizes, {"train": 0.5, "val": 0.5}, 0, largest_first=True)
    assert found == {"a": "train", "b": "val", "c": "val", "d": "val"}
    assert len({tuple(sorted(allocate(dict.fromkeys("abcdef", 1), {"train": 0.5, "val": 0.5}, seed).items()))
                for seed in range(20)}) > 5  # fmt: skip


def test_the_largest_location_goes_first() -> None:
    """Else a seed that leaves it for the end gives its part 80 of 100 pictures."""
    pictures = table(
        [("big", f"b{n}", "deer", None) for n in range(60)] + [(str(n // 4), f"s{n}", "fox", None) for n in range(40)]
    )
    for seed in range(8):
        parts = cut(pictures, chosen(seen=0, location={"train": 0.5, "val": 0.5}), seed)["location"]
        assert parts.value_counts().to_dict() == {"train": 60, "val": 40}


@pytest.mark.parametrize(("frames", "other"), [("deer deer fox", "fox fox fox"), ("empty empty deer", "empty empty empty")])
def test_a_sequence_counts_as_its_commonest_class_but_empty(frames: str, other: str) -> None:
    rows = [("a", f"{kind}{n}", label, None) for kind, line in (("x", frames), ("y", other)) for n in range(4)
            for label in line.split()]  # fmt: skip
    pictures = table(rows)
    for seed in range(8):
        parts = cut(pictures, chosen(seen=0, **{"class": {"train": 0.5, "val": 0.5}}), seed)["class"]
        for kind in "xy":  # each class is halved: 2 of 4 sequences, 6 of 12 pictures
            mine = parts.reindex(pictures.index)[pictures["seq_id"].str.startswith(kind)]
            assert (mine == "train").sum() == 6


# Unseen, pool, official ----------------------------------------------------------------------------------------------


def plain(count: int = 6, each: int = 6) -> pd.DataFrame:
    """`each` sequences of two deer and two of foxes at each of `count` locations 0, 1, ..."""
    return table(
        [
            (str(place), f"{place}-{number}-{label}", label, "boxed" if place < 4 else "whole")
            for place in range(count)
            for number in range(each)
            for label in ("deer", "fox")
            for _ in range(2)
        ]
    )


def places(pictures: pd.DataFrame, parts: pd.Series, *names: str) -> set[str]:
    return set(pictures.loc[parts.reindex(pictures.index).isin(names), "location"])


def test_unseen_locations_by_name() -> None:
    pictures = plain()
    parts = cut(pictures, chosen(**(BOTH | {"unseen": {"locations": ["1", "4"], "max_per_class": None}})), 0)["class"]
    assert places(pictures, parts, "unseen") == {"1", "4"}
    assert places(pictures, parts, "train", "val", "seen") == {"0", "2", "3", "5"}
    assert (parts == "unseen").sum() == 2 * 24


@pytest.mark.parametrize(("wanted", "count"), [(0.3, 2), (0.5, 3), (1, 1), (5, 5)])
def test_unseen_locations_by_share_or_number(wanted: float, count: int) -> None:
    pictures = plain()
    parts = cut(pictures, chosen(**(BOTH | {"unseen": {"locations": wanted}}) | {"location": None}), 0)["class"]
    assert len(places(pictures, parts, "unseen")) == count


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (["1", "camera 7"], r"no pictures from \['camera 7'\]. There is: 0, 1, 2, 3, 4, 5"),
        (6, "6 of 6 locations leaves none on one side"),
        (0.01, "0.01 of 6 locations leaves none on one side"),
        (0, "0 of 6 locations"),
        (-1, "-1 of 6 locations"),
    ],
)
def test_unseen_locations_that_cannot_be(wanted: Any, message: str) -> None:
    with pytest.raises(DataError, match=rf"split\.unseen\.locations: {message}"):
        cut(plain(), chosen(**(BOTH | {"unseen": {"locations": wanted}})), 0)


@settings(max_examples=30, deadline=None)
@given(pictures=tables, limit=st.sampled_from([1, 3, 10]))
def test_unseen_is_capped_by_whole_sequences(pictures: pd.DataFrame, limit: int) -> None:
    wanted = BOTH | {"unseen": {"locations": 0.5, "max_per_class": None}, "location": None}
    every = cut_or_skip(pictures, chosen(**wanted), 0)["class"].sort_index() == "unseen"
    wanted["unseen"] = {"locations": 0.5, "max_per_class": limit}
    some = cut(pictures, chosen(**wanted), 0)["class"].sort_index() == "unseen"
    assert not (some & ~every).any()
    for _, rows in pictures[every].groupby("label"):
        kept = rows[some[rows.index]]
        assert len(kept) >= min(limit, len(rows))
        assert len(kept) < limit + rows.groupby("seq_id").size().max()
        assert not set(kept["seq_id"]) & set(rows.drop(kept.index)["seq_id"])


def test_a_class_that_is_only_at_unseen_places_is_left_out() -> None:
    pictures = plain()
    pictures.loc[pictures["location"] == "4", "label"] = "wolf"
    parts = cut(pictures, chosen(**(BOTH | {"unseen": {"locations": ["4", "5"]}})), 0)["class"].reindex(pictures.index)
    assert set(parts[pictures["label"] == "wolf"]) == {"unused"}
    assert set(pictures.loc[parts == "unseen", "label"]) == {"deer", "fox"}


def test_pool_is_what_may_be_trained_on() -> None:
    pictures = plain()
    wanted = BOTH | {"unseen": {"locations": 3}, "pool": ["boxed"]}
    for version, parts in cut(pictures, chosen(**wanted), 0).items():
        away = places(pictures, parts, "unseen")
        assert away > {"4", "5"}, version  # those outside the pool first
        assert len(away) == 3
        assert set(pictures.loc[parts.reindex(pictures.index) != "unseen", "given_split"]) == {"boxed"}
    rest = cut(pictures, chosen(**(wanted | {"unseen": {"locations": 1}})), 0)["class"].reindex(pictures.index)
    outside = pictures["given_split"] == "whole"
    assert set(rest[outside]) == {"unseen", "unused"}  # never trained on
    with pytest.raises(DataError, match=r"split\.pool: no picture comes from boxes. There is: boxed, whole"):
        cut(pictures, chosen(**(wanted | {"pool": ["boxes"]})), 0)


def test_hold_out_prefers_what_the_pool_lacks() -> None:
    pictures = plain()
    for seed in range(5):
        away = hold_out(pictures, pictures["given_split"] == "boxed", Unseen(locations=2), seed)
        assert sorted(away) == ["4", "5"]


def test_group_by_sample_is_the_literal_way() -> None:
    pictures = plain(2, 12)
    values = BOTH | {"unseen": None, "location": None, "group_by": "sample_id"}
    wanted = chosen(**values)
    parts = cut(pictures, wanted, 0)["class"].reindex(pictures.index)
    assert pictures.assign(part=parts).groupby("seq_id")["part"].nunique().max() > 1
    (warning,) = check("class", report(pictures, parts, 0), wanted)
    assert "sequences are in two parts" in warning


def no_location(pictures: pd.DataFrame, which: pd.Series) -> pd.DataFrame:
    return SAMPLES.validate(pictures.assign(location=pictures["location"].where(~which, None)).astype({"location": "str"}))


@pytest.mark.parametrize("missing", ["unseen", "location"])
def test_without_any_location_the_error_is_clear(missing: str) -> None:
    pictures = plain()
    pictures = no_location(pictures, pictures["sample_id"] != "")
    values = {"seen": 0.1, "class": SHARES["class"], missing: BOTH[missing]}
    with pytest.raises(DataError) as caught:
        cut(pictures, chosen(**values), 0)
    assert str(caught.value) == (
        "none of 144 pictures has a location: parts cannot be kept apart by location. "
        "Give locations, or set split.unseen and split.location to null"
    )
    parts = cut(pictures, chosen(**(values | {missing: None})), 0)["class"]
    assert set(parts) == {"train", "val", "seen"}


@pytest.mark.parametrize(("unseen", "left_out"), [(BOTH["unseen"], {"class", "location"}), (None, {"location"})])
def test_pictures_without_a_location_are_unused_where_locations_count(unseen: Any, left_out: set[str]) -> None:
    pictures = plain()
    lost = pictures["seq_id"].isin(["0-0-deer", "3-2-fox", "5-1-deer"])
    pictures, wanted = no_location(pictures, lost), chosen(**(BOTH | {"unseen": unseen}))
    versions = cut(pictures, wanted, 0)
    assert set(versions) == {"class", "location"}
    for version, parts in versions.items():
        part = parts.reindex(pictures.index)
        assert part.notna().all()
        found = report(pictures, part, 3)
        said = [text for text in check(version, found, wanted) if "no location" in text]
        if version in left_out:
            assert set(part[lost]) == {"unused"}
            assert found["unused_without_location"] == {"pictures": 6, "example": "p0000"}
            assert said == [f"split `{version}`: 6 pictures have no location and are unused, p0000 for example"]
        else:
            assert "unused" not in set(part)
            assert found["unused_without_location"] == {"pictures": 0, "example": None}
            assert said == []
    if unseen:  # the others are cut as if those had never been there
        for version, parts in cut(pictures[~lost], wanted, 0).items():
            assert parts.equals(versions[version][parts.index])


def test_official_lists_need_no_location() -> None:
    pictures = listed()
    pictures = no_location(pictures, pictures["given_split"].isin(["train", "other"]))
    wanted = chosen(official={"train": ["train"], "val": ["cis_val"]})
    parts = cut(pictures, wanted, 0)["official"].reindex(pictures.index)
    assert set(parts[pictures["given_split"] == "train"]) == {"train"}
    found = report(pictures, parts, 3)
    assert found["unused_without_location"]["pictures"] == 30
    assert check("official", found, wanted) == []


@pytest.mark.parametrize("ids", [[3, 4], ["3", "4"], ["3", 4]])
def test_unseen_locations_may_be_numbers(ids: list[Any]) -> None:
    wanted = chosen(**(BOTH | {"unseen": {"locations": ids}}))
    assert wanted.unseen == Unseen(locations=("3", "4"))
    pictures = plain()
    assert places(pictures, cut(pictures, wanted, 0)["class"], "unseen") == {"3", "4"}


@pytest.mark.parametrize("wanted", ["0.3", "all", True, None, [0.3], [True], [["3"]], {"a": 1}])
def test_unseen_locations_of_another_kind_are_told_what_may_stand(wanted: Any) -> None:
    with pytest.raises(DataError) as caught:
        chosen(**(BOTH | {"unseen": {"locations": wanted}}))
    text = "expected a share (0.3), a number (5) or the ids of locations ([3, 4])"
    assert str(caught.value).startswith(f"params.yaml: split.unseen.locations: given {wanted!r}: {text}")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("version", ["location", "class"])
def test_shares_of_more_than_the_whole_are_refused(version: str) -> None:
    given = {"train": 0.7, "val": 0.25, "test": 0.1}
    with pytest.raises(DataError) as caught:
        chosen(**{version: given})
    text = "train, val and test are shares and sum to 1.05, more than 1"
    assert str(caught.value) == f"params.yaml: split.{version}: given {given}: {text}"
    whole = chosen(**{version: {"train": 0.7, "val": 0.2, "test": 0.1}})  # 1 but for rounding
    assert (whole.location or whole.class_) is not None


def test_shares_of_less_than_the_whole_are_scaled() -> None:
    assert Shares(train=0.65, val=0.25).normalised() == pytest.approx({"train": 0.65 / 0.9, "val": 0.25 / 0.9})


def lists(pictures: pd.DataFrame, **values: Any) -> pd.Series:
    return cut(pictures, chosen(official=values), 0)["official"].reindex(pictures.index)


def listed() -> pd.DataFrame:
    names = ["train", "cis_val", "cis_test", "trans_test", "other", None]
    return table([(str(n), f"{n}-{s}", label, name) for n, name in enumerate(names) for s in range(10)
                  for label in ("deer", "deer", "fox")])  # fmt: skip


def test_official_takes_the_given_lists() -> None:
    pictures = listed()
    parts = lists(pictures, train=["train"], val=["cis_val"], seen=["cis_test"], unseen=["trans_test"])
    expected = {"train": "train", "cis_val": "val", "cis_test": "seen", "trans_test": "unseen", "other": "unused"}
    assert (parts == pictures["given_split"].map(expected).fillna("unused")).all()


def test_official_cuts_its_own_validation_from_train() -> None:
    pictures = listed()
    parts = lists(pictures, train=["train", "other"], val=0.2, unseen=["trans_test"])
    mine = pictures["given_split"].isin(["train", "other"])
    assert set(parts[mine]) == {"train", "val"}
    assert (parts[mine] == "val").mean() == pytest.approx(0.2, abs=0.05)
    assert pictures.assign(part=parts)[mine].groupby("seq_id")["part"].nunique().max() == 1
    assert set(parts[~mine]) == {"unseen", "unused"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"train": ["trian"], "val": ["cis_val"]},
         "no pictures from trian. Given lists in the data: cis_test, cis_val, other, train, trans_test"),
        ({"train": ["train"], "val": ["train"]}, "a list is named in two parts"),
        ({"train": ["train"], "val": 0.1, "seen": ["other"], "unseen": ["other"]}, "a list is named in two parts"),
    ],
)  # fmt: skip
def test_official_lists_that_cannot_be(values: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=rf"split\.official: {message}"):
        lists(listed(), **values)
    with pytest.raises(DataError, match="Given lists in the data: none"):
        lists(many(0, 2, 12), train=["a"], val=0.5)


# Stratified ----------------------------------------------------------------------------------------------------------


def stratified(test: float = 0.4, val: float = 0.2, **versions: dict[str, Any]) -> SplitSettings:
    return chosen(seen=0, stratified={"test": test, "val": val, "versions": versions})


def people(seed: int, count: int, classes: int) -> pd.DataFrame:
    """Pictures without a location, some of them frames of one video; classes are long-tailed."""
    rng = np.random.default_rng(seed)
    labels = [f"class {min(int(rng.geometric(0.4)), classes)}" for _ in range(count)]
    return table([(None, f"s{n}", label, None) for n, label in enumerate(labels) for _ in range(rng.choice([1, 1, 1, 2, 4]))])


def divided(pictures: pd.DataFrame, wanted: SplitSettings, seed: int) -> pd.DataFrame:
    """A column of parts for each version, a row for each picture."""
    return pd.DataFrame({version: parts.reindex(pictures.index) for version, parts in cut(pictures, wanted, seed).items()})


def largest(pictures: pd.DataFrame) -> int:
    return int(pictures.groupby("seq_id").size().max())


many_people = st.builds(people, st.integers(0, 10**6), st.integers(10, 120), st.integers(1, 6))
limits = st.none() | st.integers(1, 60)


@settings(max_examples=60, deadline=None)
@given(pictures=many_people, test=st.floats(0.1, 0.8), val=st.floats(0.05, 0.5), seed=st.integers(0, 99))
def test_stratified_shares_are_those_asked_for_in_each_class(
    pictures: pd.DataFrame, test: float, val: float, seed: int
) -> None:
    parts = divided(pictures, stratified(test, val, all={}), seed)["all"]
    assert set(parts) <= {"train", "val", "test"}
    for _, rows in pictures.groupby("label"):
        n, off = parts[rows.index].value_counts().reindex(["train", "val", "test"], fill_value=0), largest(rows)
        assert abs(n["test"] - test * len(rows)) <= off  # to the size of one sequence
        assert abs(n["val"] - val * (n["train"] + n["val"])) <= off


@settings(max_examples=60, deadline=None)
@given(pictures=many_people, train=limits, test=limits, seed=st.integers(0, 99))
def test_stratified_caps_are_kept_and_classes_keep_their_shares(
    pictures: pd.DataFrame, train: int | None, test: int | None, seed: int
) -> None:
    wanted = stratified(all={}, some={"train": train, "test": test})
    parts = divided(pictures, wanted, seed)
    test_part, learned = parts["all"] == "test", parts["all"] != "test"
    for cap, whole, some in (
        (train, learned, parts["some"].isin(["train", "val"])),
        (test, test_part, parts["some"] == "test"),
    ):
        assert not (some & ~whole).any(), "a subset of the very part that all versions have"
        if cap is None or cap >= whole.sum():
            assert some.equals(whole)
            continue
        share = cap / whole.sum()
        for _, rows in pictures[whole].groupby("label"):
            assert abs(some[rows.index].sum() - share * len(rows)) <= largest(rows)
    assert set(parts["some"]) <= {"train", "val", "test", "unused"}


@settings(max_examples=60, deadline=None)
@given(pictures=many_people, first=limits, second=limits, seed=st.integers(0, 99))
def test_stratified_versions_are_apart_where_asked_and_test_is_one(
    pictures: pd.DataFrame, first: int | None, second: int | None, seed: int
) -> None:
    """A picture that the first learned from teaches nothing to the second; nor does another frame of its video."""
    wanted = stratified(a={"train": first}, b={"train": second, "apart_from": "a"}, c={"train": second})
    parts = divided(pictures, wanted, seed)
    learned = {version: set(pictures.loc[parts[version].isin(["train", "val"]), "seq_id"]) for version in parts}
    assert not learned["a"] & learned["b"]
    tested = {version: set(pictures.loc[parts[version] == "test", "seq_id"]) for version in parts}
    assert tested["a"] == tested["b"] == tested["c"]
    assert not tested["a"] & (learned["a"] | learned["b"] | learned["c"])
    if first is None:
        assert learned["b"] == set()
    if second is None:
        assert learned["a"] | learned["b"] == learned["c"], "all that is free is taken"
    for version in parts:
        used = pictures[parts[version] != "unused"]
        assert used.assign(part=parts[version]).groupby("seq_id")["part"].nunique().max() <= 1


@settings(max_examples=40, deadline=None)
@given(pictures=many_people, seed=st.integers(0, 99), shuffle=st.integers(0, 10**6))
def test_fault_38_the_order_of_rows_does_not_matter_to_stratified_versions(
    pictures: pd.DataFrame, seed: int, shuffle: int
) -> None:
    wanted = stratified(a={"train": 20, "test": 10}, b={"apart_from": "a", "test": 7})
    mixed = pictures.sample(frac=1, random_state=shuffle).reset_index(drop=True)
    found = [divided(rows, wanted, seed).set_index(rows["sample_id"]).sort_index() for rows in (pictures, mixed)]
    pd.testing.assert_frame_equal(*found)


def test_stratified_versions_do_not_depend_on_later_ones_nor_on_other_cuts() -> None:
    pictures = plain()
    two = stratified(a={"train": 40}, b={"train": 30, "apart_from": "a"})
    parts = divided(pictures, two, 0)
    assert divided(pictures, stratified(a={"train": 40}), 0)["a"].equals(parts["a"])
    values = {"a": {"train": 40}, "b": {"train": 30, "apart_from": "a"}}
    both = cut(pictures, chosen(**BOTH, stratified={"test": 0.4, "val": 0.2, "versions": values}), 0)
    assert set(both) == {"a", "b", "class", "location"}
    assert all(both[version].reindex(pictures.index).equals(parts[version]) for version in parts)
    alone = cut(pictures, chosen(**BOTH), 0)
    assert all(both[version].equals(alone[version]) for version in alone)


def test_another_seed_gives_another_stratified_cut() -> None:
    pictures = people(0, 100, 3)
    wanted = stratified(a={"train": 30, "test": 20}, b={"train": 30, "test": 20})
    one, same, other = (divided(pictures, wanted, seed) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(one, same)
    assert ((one == "test") != (other == "test")).to_numpy().mean() > 0.1
    assert not one["a"].equals(one["b"]), "each version draws by its own name"


def test_stratified_by_hand() -> None:
    """10 runners and 5 who sit: 40 % are tested, of which a half is asked for; of the other 9 6, a quarter to validate on."""
    pictures = table([(None, f"s{n}", "run" if n < 10 else "sit", None) for n in range(15)])
    wanted = stratified(0.4, 0.25, a={"train": 6, "test": 3}, b={"apart_from": "a"})
    for seed in range(5):
        parts = divided(pictures, wanted, seed)
        found = {
            (version, label): rows.value_counts().to_dict()
            for version in parts
            for label, rows in parts[version].groupby(pictures["label"])
        }
        assert found == {
            ("a", "run"): {"train": 3, "val": 1, "test": 2, "unused": 4},
            ("a", "sit"): {"train": 2, "test": 1, "unused": 2},
            ("b", "run"): {"train": 2, "test": 4, "unused": 4},
            ("b", "sit"): {"train": 1, "test": 2, "unused": 2},
        }


@pytest.mark.parametrize(
    ("versions", "message"),
    [
        ({"b": {"apart_from": "a"}, "a": {}}, "versions.b.apart_from: no earlier version `a`: []"),
        ({"a": {}, "b": {"apart_from": "b"}}, "versions.b.apart_from: no earlier version `b`: ['a']"),
        ({"a": {}, "class": {}}, "versions.class: a version that is cut in another way has this name: take another"),
        ({"official": {}}, "versions.official: a version that is cut in another way has this name: take another"),
    ],
)
def test_stratified_versions_that_cannot_be(versions: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        stratified(**versions)
    assert str(caught.value).startswith("params.yaml: split.stratified: given {")
    assert str(caught.value).endswith(message)


@pytest.mark.parametrize("name", ["a/b", "..", "", "a b"])
def test_a_stratified_version_is_a_folder(name: str) -> None:
    with pytest.raises(DataError, match=r"split\.stratified\.versions\..*should match pattern"):
        stratified(**{name: {}})


def test_a_version_that_another_leaves_nothing_to_learn_from_fails() -> None:
    pictures = people(0, 60, 3)
    wanted = stratified(a={}, b={"apart_from": "a"})
    parts = divided(pictures, wanted, 0)
    assert set(parts["b"]) == {"test", "unused"}
    assert check("a", report(pictures, parts["a"], 3), wanted) == []
    with pytest.raises(DataError, match=r"split `b`: no picture is in train\. Counts: \{'test': "):
        check("b", report(pictures, parts["b"], 3), wanted)


def test_the_versions_that_are_asked_for_are_told_in_their_order() -> None:
    assert stratified(pose={}, activity={"apart_from": "pose"}).made() == ["pose", "activity"]
    assert chosen(**SHARES, stratified={"test": 0.4, "val": 0.2, "versions": {"z": {}}}).made() == ["location", "class", "z"]
    assert chosen(official={"train": ["a"], "val": 0.1}).made() == ["official"]


# Leaks ---------------------------------------------------------------------------------------------------------------


def four(**columns: list[Any]) -> tuple[pd.DataFrame, pd.Series]:
    """Two pictures of train, one of val, one of unseen; each has a sequence and a location of its own unless told."""
    pictures = table([(str(n), f"s{n}", "deer", None) for n in range(4)]).assign(**columns)
    return pictures, pd.Series(["train", "train", "val", "unseen"])


def checked(version: str = "class", given: dict[str, Any] | None = None, **columns: list[Any]) -> list[str]:
    pictures, parts = four(**columns)
    wanted = chosen(**({"class": SHARES["class"]} | (given or {})))
    few = "split `class`: fewer than 3 pictures in train of deer"
    return [w for w in check(version, report(pictures, parts, wanted.near_bits), wanted) if w != few.replace("class", version)]


HASHES = ["00ff00ff00ff00ff", "0123456789abcdef", "fedcba9876543210", "aaaa5555aaaa5555"]


def test_a_clean_split_has_no_warning() -> None:
    assert checked(phash=HASHES) == []


def test_fault_33_a_sequence_on_both_sides_fails() -> None:
    pair = r"1 sequences are in two parts, p0001 \(train\) and p0002 \(val\) for example"
    with pytest.raises(DataError, match=rf"split `class`: {pair}\. Give the pictures of a sequence one location, or set split"):
        checked(phash=HASHES, seq_id=["s0", "s1", "s1", "s3"])
    with pytest.raises(
        DataError, match=r"p0002 \(val\) and p0003 \(unseen\) for example|p0003 \(unseen\) and p0002 \(val\) for example"
    ):
        checked(phash=HASHES, seq_id=["s0", "s1", "s2", "s2"])  # what is chosen on val would be known in the test
    (warning,) = checked("official", phash=HASHES, seq_id=["s0", "s1", "s1", "s3"])
    assert warning == f"split `official`: {pair}".replace("\\", "")


def test_fault_33_a_location_on_both_sides_fails() -> None:
    with pytest.raises(DataError, match=r"split `class`: locations of train are in another part too: {'unseen': \['1'\]}"):
        checked(phash=HASHES, location=["0", "1", "2", "1"])
    assert checked(phash=HASHES, location=["0", "1", "1", "3"]) == []  # `class` shares locations with val
    with pytest.raises(DataError, match=r"split `location`: locations of train .*{'val': \['1'\]}"):
        checked("location", phash=HASHES, location=["0", "1", "1", "3"])
    assert checked("official", phash=HASHES, location=["0", "1", "1", "1"]) == [
        "split `official`: locations of train are in another part too: {'unseen': ['1']}"
    ]


def test_fault_34_the_same_bytes_on_both_sides_fail() -> None:
    same = ["a" * 64, "b" * 64, "c" * 64, "b" * 64]
    for version in ("class", "official"):
        with pytest.raises(
            DataError, match=r"the same bytes are in two parts: p0001 \(train\) and p0003 \(unseen\)\. Take one"
        ):
            checked(version, phash=HASHES, sha256=same)
        with pytest.raises(DataError, match=r"the same bytes are in two parts: p0003 \(unseen\) and p0002 \(val\)\. Take one"):
            checked(version, phash=HASHES, sha256=["a" * 64, "b" * 64, "c" * 64, "c" * 64])


@pytest.mark.parametrize("apart", [0, 1, 3])
def test_fault_35_look_alikes_are_reported_with_the_pair_or_fail(apart: int) -> None:
    twin = f"{int(HASHES[1], 16) ^ (2**apart - 1):016x}"
    hashes = [*HASHES[:3], twin]
    text = (
        "split `class`: 1 pictures outside train look like one in train {'unseen': 1, 'val': 0}; "
        "p0003 (unseen) like p0001 for example"
    )
    assert checked(phash=hashes) == [text]
    with pytest.raises(DataError) as caught:
        checked(phash=hashes, given={"near_duplicates": "fail"})
    assert str(caught.value) == f"{text}. Set split.near_duplicates to report to go on"
    assert checked(phash=hashes, given={"near_bits": 2}) == ([] if apart == 3 else [text])


def test_look_alikes_are_joined_with_their_groups_and_through_others() -> None:
    near = [f"{int(HASHES[0], 16) ^ mask:016x}" for mask in (0, 0b11, 0b1111)]  # the first and the last are 4 bits apart
    pictures = pd.DataFrame({"seq_id": ["e", "d", "c", "c", "b", "a"], "phash": [*near, HASHES[1], HASHES[1], HASHES[2]]})
    assert joined(pictures, "seq_id", 3).tolist() == ["b", "b", "b", "b", "b", "a"]
    assert joined(pictures, "seq_id", 1).tolist() == ["e", "d", "b", "b", "b", "a"]
    assert joined(pictures.iloc[::-1], "seq_id", 3).tolist() == ["a", "b", "b", "b", "b", "b"]


@given(st.integers(0, 10**6), st.integers(0, 4))
@settings(max_examples=20)
def test_together_leaves_no_look_alike_in_two_parts(seed: int, bits: int) -> None:
    rng = np.random.default_rng(seed)
    pictures = people(seed, 60, 3)
    near = rng.integers(0, len(pictures), len(pictures) // 2)
    flips = [1 << int(n) for n in rng.integers(0, 64, len(near))]
    hashes = pictures["phash"].tolist()
    for at, flip in zip(near, flips, strict=True):
        hashes[at] = f"{int(hashes[0 if at % 3 else 1], 16) ^ flip:016x}"
    pictures = pictures.assign(phash=hashes)
    wanted = stratified(a={}).model_copy(update={"near_duplicates": "together", "near_bits": bits})
    parts = cut(pictures, wanted, seed)["a"].reindex(pictures.index)
    found = leaks(pictures, parts, bits)
    assert sum(found["look_alikes"].values()) == 0
    assert found["sequences"] == []
    assert (parts != "unused").all()


def test_where_look_alikes_cannot_be_kept_together_the_split_fails() -> None:
    hashes = [*HASHES[:3], HASHES[1]]
    with pytest.raises(
        DataError, match=r"1 pictures outside train look like one in train .*Set split\.near_duplicates to report"
    ):
        checked("official", phash=hashes, given={"near_duplicates": "together"})


def test_fault_35_every_look_alike_is_counted_by_part() -> None:
    pictures = table([(str(n), f"s{n}", "deer", None) for n in range(60)])
    pictures["phash"] = [HASHES[0]] * 30 + [f"{int(HASHES[0], 16) ^ 1:016x}"] * 20 + [HASHES[1]] * 10
    found = leaks(pictures, pd.Series(["train"] * 30 + ["seen"] * 25 + ["unused"] * 5), 3)
    assert found["look_alikes"] == {"seen": 20}
    assert len(found["examples"]) == 20
    assert found["examples"][0] == ["p0030", "seen", "p0000"]


def test_fault_36_a_class_absent_from_train_is_declared() -> None:
    found = report(*four(label=["deer", "fox", "wolf", "fox"], phash=HASHES), 3)
    assert found["missing_from_train"] == ["wolf"]
    assert found["classes"] == {
        "train": {"deer": 1, "fox": 1, "wolf": 0},
        "unseen": {"deer": 0, "fox": 1, "wolf": 0},
        "val": {"deer": 0, "fox": 0, "wolf": 1},
    }
    assert found["pictures"] == {"train": 2, "unseen": 1, "val": 1}
    assert found["locations"] == {"train": 2, "unseen": 1, "val": 1}
    warnings = check("class", found, chosen(**{"class": SHARES["class"]}))
    assert warnings == [
        "split `class`: train has no wolf",
        "split `class`: fewer than 3 pictures in train of deer, fox",
    ]


@pytest.mark.parametrize("lost", ["train", "val"])
def test_nothing_to_train_or_validate_on_fails(lost: str) -> None:
    pictures, parts = four(phash=HASHES)
    with pytest.raises(DataError, match=rf"split `class`: no picture is in {lost}. Counts: "):
        check("class", report(pictures, parts.replace(lost, "seen"), 3), chosen(**{"class": SHARES["class"]}))


# Near pairs ----------------------------------------------------------------------------------------------------------


def brute(names: list[str], bits: int) -> list[tuple[str, str]]:
    ordered = sorted(set(names))
    return [(a, b) for i, a in enumerate(ordered) for b in ordered[i + 1 :]
            if (int(a, 16) ^ int(b, 16)).bit_count() <= bits]  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    bits=st.integers(0, 7),
    flips=st.lists(st.lists(st.integers(0, 63), max_size=8, unique=True), max_size=25),
    narrow=st.booleans(),
)
def test_near_pairs_against_brute_force(seed: int, bits: int, flips: list[list[int]], narrow: bool) -> None:
    rng = np.random.default_rng(seed)
    values = [int(value) for value in rng.integers(0, 2**64, 40, dtype=np.uint64)]
    if narrow:  # many share whole bands
        values = [value & 0xFF000000000000FF for value in values]
    for number, places in enumerate(flips):  # planted neighbours
        values.append(values[number % 40] ^ sum(1 << place for place in places))
    names = [f"{value:016x}" for value in values]
    assert near_pairs(names, bits) == (brute(names, bits) if bits else [])


@pytest.mark.parametrize("bits", range(1, 8))
def test_near_pairs_finds_flips_wherever_they_are(bits: int) -> None:
    for start in range(64):
        other = sum(1 << (start + step * 9) % 64 for step in range(bits))
        one_more = other | 1 << (start + 5) % 64
        assert near_pairs([f"{0:016x}", f"{other:016x}"], bits) == [(f"{0:016x}", f"{other:016x}")]
        assert near_pairs([f"{0:016x}", f"{one_more:016x}"], bits) == []


# The command line ----------------------------------------------------------------------------------------------------


@pytest.fixture
def clean_folder(tmp_path: Path) -> Callable[[pd.DataFrame], Path]:
    def write(pictures: pd.DataFrame) -> Path:
        folder = tmp_path / "clean"
        folder.mkdir(exist_ok=True)
        pictures.to_parquet(folder / "samples.parquet", index=False)
        boxes = pd.DataFrame({name: pd.Series([], dtype="str" if name in ("sample_id", "label") else float)
                              for name in BOXES.columns})  # fmt: skip
        boxes.to_parquet(folder / "boxes.parquet", index=False)
        write_json(folder / "source.json", {"root": "raw", "data": "your data"})
        write_manifest(folder)
        return folder

    return write


def test_the_stage_writes_a_list_for_each_version(
    stage: Callable[..., Any], clean_folder: Callable[..., Path], tmp_path: Path
) -> None:
    pictures = many(3, 10, 120)
    folder = clean_folder(pictures)
    words = ("split", "--params", "split", "--clean", folder, "--seed", 3, "--out", tmp_path / "splits")
    done = stage(*words, params={"split": BOTH})
    assert done.code == 0, done.err
    out = tmp_path / "splits"
    assert sorted(path.name for path in out.iterdir()) == ["class", "location", "manifest.json", "report.json"]
    assert check_manifest(out) == []
    about = read_json(out / "report.json")
    for version, parts in cut(pictures, chosen(**BOTH), 3).items():
        assert [path.name for path in (out / version).iterdir()] == [PARTS_CSV]
        written = pd.read_csv(out / version / PARTS_CSV, dtype=str)
        assert written["sample_id"].tolist() == pictures["sample_id"].tolist()
        assert written["part"].tolist() == parts.reindex(pictures.index).tolist()
        assert about[version]["pictures"] == written["part"].value_counts().sort_index().to_dict()
        assert f"{version}: {about[version]['pictures']}" in done.out
    before = (out / "manifest.json").read_bytes()

    clean_folder(pictures[::-1])  # fault 38, through the stage
    assert stage(*words).code == 0
    assert (out / "manifest.json").read_bytes() == before

    pictures.loc[1:, "sha256"] = pictures.loc[0, "sha256"]  # fault 43: the old lists stay
    clean_folder(pictures)
    failed = stage(*words)
    assert failed.code == 1
    assert "the same bytes are in two parts: " in failed.err
    assert (out / "manifest.json").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clean", "params.yaml", "splits"]


def test_fault_43_a_full_disk_is_one_message_and_the_old_lists_stay(
    stage: Callable[..., Any], clean_folder: Callable[..., Path], tmp_path: Path
) -> None:
    folder = clean_folder(many(3, 10, 400))
    with small_disk(tmp_path / "disk") as disk:
        words = ("split", "--params", "split", "--clean", folder, "--seed", 3, "--out", disk / "splits")
        assert stage(*words, params={"split": BOTH}).code == 0
        before = (disk / "splits/manifest.json").read_bytes()
        filler = fill(disk, leave_bytes=10_000)
        failed = stage(*words)
        assert failed.code == 1 and failed.err.startswith("error: disk full while writing ")
        assert "Make room" in failed.err and "Traceback" not in failed.err
        assert (disk / "splits/manifest.json").read_bytes() == before and check_manifest(disk / "splits") == []
        assert sorted(path.name for path in disk.iterdir()) == ["filler", "splits"]
        filler.unlink()
        assert stage(*words).code == 0


@pytest.mark.parametrize("fault", ["altered", "unfinished"])
def test_fault_39_43_tables_that_are_not_as_clean_left_them_are_refused(
    stage: Callable[..., Any], clean_folder: Callable[..., Path], tmp_path: Path, fault: str
) -> None:
    folder = clean_folder(many(3, 10, 40))
    words = ("split", "--params", "split", "--clean", folder, "--seed", 3, "--out", tmp_path / "splits")
    if fault == "altered":
        path = folder / "samples.parquet"
        path.write_bytes(path.read_bytes() + b"x")
    else:
        (folder / MANIFEST).unlink()  # a stage writes it last
    done = stage(*words, params={"split": BOTH})
    assert done.code == 1
    assert ("samples.parquet: " if fault == "altered" else f"no {MANIFEST}") in done.err and "Get it anew" in done.err
    assert not (tmp_path / "splits").exists()


def test_the_stage_names_a_bad_samples_table(
    stage: Callable[..., Any], clean_folder: Callable[..., Path], tmp_path: Path
) -> None:
    pictures = many(3, 10, 40)
    pictures.loc[4, "sample_id"] = pictures.loc[5, "sample_id"]
    words = ("split", "--params", "split", "--clean", clean_folder(pictures), "--seed", 3, "--out", tmp_path / "splits")
    done = stage(*words, params={"split": BOTH})
    assert done.code == 1
    assert done.err.startswith(f"error: {words[4]}: the samples table breaks its own rules:")
    assert "p0005" in done.err
    assert not (tmp_path / "splits").exists()


def test_a_pool_that_is_all_held_out_is_no_crash() -> None:
    pictures = plain()
    everywhere = [str(n) for n in range(6)]
    for values in (
        {"unseen": {"locations": ["0", "1", "2", "3"]}, "pool": ["boxed"]},
        {"unseen": {"locations": everywhere}},
    ):
        wanted = chosen(**(BOTH | values))
        for version, parts in cut(pictures, wanted, 0).items():
            with pytest.raises(DataError, match=rf"split `{version}`: no picture is in train"):
                check(version, report(pictures, parts.reindex(pictures.index), 3), wanted)
