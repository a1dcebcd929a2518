"""The balanced cut and the list made of it: so many of each class exactly, nested, steady. Faults 33 and 38."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.balanced import Balanced, balanced
from stages.files import DataError
from stages.samples import TEST, TEST5, TRAIN, UNUSED, VAL, Samples, of_part, read_samples, read_version
from stages.settings import section
from stages.split import SplitSettings, cut
from tests.conftest import Finished

ASKED = Balanced(val=2, test=3, test5=1, versions={"many": 5, "few": 2})


def clips(counts: dict[str, int], per_animal: int = 1, given: tuple[str, ...] = ("train",)) -> pd.DataFrame:
    """So many clips of each class, `per_animal` of them in a row of one animal; given lists in turn."""
    rows = [(label, number) for label, count in counts.items() for number in range(count)]
    return pd.DataFrame(
        {
            "sample_id": [f"{label}{number:03}" for label, number in rows],
            "label": [label for label, _ in rows],
            "seq_id": [f"s{place // per_animal}" for place in range(len(rows))],
            "given_split": [given[number % len(given)] for _, number in rows],
        }
    )


def counted(table: pd.DataFrame, parts: pd.Series) -> dict[str, set[int]]:
    """{part: how many of a class there are in it}; a set of one where all classes have as many."""
    found = table.groupby([parts, "label"]).size().unstack(fill_value=0)
    return {str(part): set(row) for part, row in found.iterrows() if part != UNUSED}


tables = st.builds(
    lambda counts, per_animal: clips(dict(zip("abc", counts, strict=True)), per_animal),
    st.tuples(*[st.integers(10, 40)] * 3),
    st.integers(1, 3),
)


@settings(max_examples=40)
@given(tables, st.integers(0, 9))
def test_exactly_as_many_nested_and_no_animal_in_two_parts(table: pd.DataFrame, seed: int) -> None:
    try:
        versions, also = balanced(table, ASKED, "seq_id", seed)
    except DataError as error:
        assert table["label"].value_counts().min() < 10 + 9 * (table["seq_id"].value_counts().max() > 1) * 3, error
        return
    assert counted(table, versions["many"]) == {TRAIN: {5}, VAL: {2}, TEST: {3}}
    assert counted(table, versions["few"]) == {TRAIN: {2}, VAL: {2}, TEST: {3}}
    many, few = versions["many"], versions["few"]
    assert set(few.index[few == TRAIN]) < set(many.index[many == TRAIN])
    for part in (VAL, TEST):
        assert ((many == part) == (few == part)).all()
    assert set(many[also == TEST5]) == {TEST}
    assert counted(table, also) == {"": set(counted(table, also)[""]), TEST5: {1}}
    used = table.assign(part=many)[many != UNUSED]
    assert used.groupby("seq_id")["part"].nunique().max() == 1


@settings(max_examples=40)
@given(tables, st.integers(0, 9), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(table: pd.DataFrame, seed: int, random: Any) -> None:
    order = list(range(len(table)))
    random.shuffle(order)
    try:
        expected, halves = balanced(table, ASKED, "seq_id", seed)
    except DataError:
        return
    found, also = balanced(table.iloc[order], ASKED, "seq_id", seed)
    assert {name: parts.sort_index().tolist() for name, parts in found.items()} == {n: p.tolist() for n, p in expected.items()}
    assert also.sort_index().tolist() == halves.tolist()


@settings(max_examples=40)
@given(st.integers(0, 29), st.integers(0, 9))
def test_one_clip_less_moves_little(gone: int, seed: int) -> None:
    table = clips({"a": 30, "b": 30})
    before = balanced(table, ASKED, "seq_id", seed)[0]["many"]
    after = balanced(table.drop(index=gone), ASKED, "seq_id", seed)[0]["many"]
    left = before.drop(index=gone)
    assert (after != left).sum() <= 3  # the next of test was in val perhaps, that of val in train, and train takes another
    assert ((after != left)[table.drop(index=gone)["label"] == "b"]).sum() == 0
    if before[gone] == UNUSED:
        assert after.equals(left)


def test_another_seed_chooses_others() -> None:
    table = clips({"a": 30, "b": 30})
    assert not balanced(table, ASKED, "seq_id", 0)[0]["many"].equals(balanced(table, ASKED, "seq_id", 1)[0]["many"])


def test_the_given_lists_are_kept_to() -> None:
    table = clips({"a": 30, "b": 30}, given=("train", "train", "test"))
    asked = ASKED.model_copy(update={"train_list": "train", "test_list": "test"})
    parts = balanced(table, asked, "seq_id", 0)[0]["many"]
    assert pd.crosstab(parts, table["given_split"]).to_dict() == {
        "test": {TEST: 6, TRAIN: 0, UNUSED: 14, VAL: 0}, "train": {TEST: 0, TRAIN: 10, UNUSED: 26, VAL: 4}
    }  # fmt: skip
    with pytest.raises(DataError, match="no sample is in the list val, which test comes from. In the data: test, train"):
        balanced(table, asked.model_copy(update={"test_list": "val"}), "seq_id", 0)


def test_what_it_says_of_a_class_with_too_few() -> None:
    table = clips({"Running": 30, "Jumping": 9})
    with pytest.raises(DataError) as why:
        balanced(table, ASKED, "seq_id", 0)
    assert str(why.value) == (
        "split.balanced: Jumping has 4 samples for train, and 5 of each class are wanted, 5 of its 9 being taken by another part "
        "or in a sequence with one. Ask for fewer in the data set's `split.balanced`, leave classes out by `clean.keep_labels`, "
        "or bring more"
    )


def test_all_classes_with_too_few_are_named() -> None:
    with pytest.raises(DataError, match=r"Chirping has 4 samples for train.*\. Too few too: Jumping 3\. Ask for fewer"):
        balanced(clips({"Running": 30, "Chirping": 9, "Jumping": 8}), ASKED, "seq_id", 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test5": 4}, "test5 is of the 3 in test, and 4 are more"),
        ({"versions": {"class": 3}}, "versions.class: a version that is cut in another way has this name"),
        ({"versions": {"many": 0}}, "greater than 0"),
        ({"versions": {"a.b": 1}}, "pattern"),
        ({"versions": {}}, "at least 1 item"),
        ({"val": 0}, "greater than 0"),
        ({"tests": 3}, "unknown key. Did you mean `test5`|unknown key. Did you mean `test`"),
    ],
)
def test_settings_that_contradict(change: dict[str, Any], message: str) -> None:
    given = ASKED.model_dump() | change
    with pytest.raises(DataError, match=message):
        section("split", SplitSettings, {"split": {"balanced": given}})


def test_versions_by_name() -> None:
    whole = {"test": 0.2, "val": 0.2, "versions": {"many": {}}}
    with pytest.raises(DataError, match="`stratified` and `balanced` have a version of the same name"):
        section("split", SplitSettings, {"split": {"balanced": ASKED.model_dump(), "stratified": whole}})
    asked = section("split", SplitSettings, {"split": {"balanced": ASKED.model_dump()}})
    assert asked.made() == ["many", "few"]
    assert list(cut(clips({"a": 10}), asked, 0)) == ["many", "few"]


def test_the_stage_writes_also(stage: Callable[..., Finished], cleaned: Callable[..., Finished], tmp_path: Path,
                               picture: Callable[..., bytes]) -> None:  # fmt: skip
    for number in range(24):
        folder = tmp_path / "photos" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.png").write_bytes(picture(number))
    assert cleaned(tmp_path / "photos", "folders").code == 0
    words = ("--params", "split", "--clean", "clean", "--seed", 3, "--out", "splits")
    done = stage("split", *words, params={"split": {"balanced": ASKED.model_dump()}})
    assert done.code == 0, done.err
    few = pd.read_csv("splits/few/parts.csv", dtype=str, keep_default_na=False)
    assert few[["part", "also"]].value_counts().to_dict() == {
        (UNUSED, ""): 10, (TRAIN, ""): 4, (VAL, ""): 4, (TEST, ""): 4, (TEST, TEST5): 2
    }  # fmt: skip
    assert '"also": {\n      "test5": 2' in Path("splits/report.json").read_text()
    samples, parts = read_version(Path("splits/few"), read_samples(Path("clean")))
    assert isinstance(samples, Samples)
    assert of_part(samples, parts, TEST)["also"].value_counts().to_dict() == {"": 4, TEST5: 2}
