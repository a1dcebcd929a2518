"""Every reader is fed some spoilt files (`make fuzz` feeds 10,000 to each), and what the fuzzer itself takes for a fault."""

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import strategies as st

from stages.files import DataError
from tests import fuzz_run
from tests.fuzz_run import fuzz
from tests.fuzz_targets import TARGETS, Target

PAGE = Path(__file__).parent.parent / "docs/fuzzing.md"
INPUTS = 50


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.file)
def test_a_spoilt_file_is_refused_by_its_name_or_taken_whole(target: Target) -> None:
    found = fuzz(target, INPUTS, clean_every=4)
    assert not found.faults, "\n".join(f"{where}: {data[:2000]!r}" for where, data in found.faults.items())
    assert found.inputs == INPUTS
    assert found.taken + found.refused.total() == INPUTS
    assert found.taken > 0
    assert found.refused.total() > INPUTS / 10
    assert len(found.different) > INPUTS / 2


def takes_all(_folder: Path) -> object:
    return None


def crashes(folder: Path) -> object:
    return {}[(folder / "x").read_bytes()]


def names_nothing(_folder: Path) -> object:
    raise DataError("something is wrong")


def waits(_folder: Path) -> object:
    try:
        time.sleep(5)
    except Exception as error:  # as readers of other libraries' formats have it
        raise DataError("x: no such thing") from error
    return None


def grows(_folder: Path) -> object:
    return len(b"a" * (80 * 2**20))


@pytest.mark.parametrize(
    ("read", "clean", "fault"),
    [
        (takes_all, None, ""),
        (crashes, None, "KeyError at test_fuzz.crashes"),
        (names_nothing, None, "does not name x: something is wrong"),
        (waits, None, "more than 0.2 s"),
        (grows, None, "MB more"),
        (takes_all, lambda _result, folder: crashes(folder), "KeyError"),
    ],
)
def test_what_is_a_fault(
    read: Callable[[Path], object], clean: Callable[..., object] | None, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fuzz_run, "SECONDS", 0.2 if read is waits else 20)
    monkeypatch.setattr(fuzz_run, "MEMORY", 50 * 2**20)
    if read is grows and not fuzz_run._peak_bytes(anew=True):
        pytest.skip("this machine does not say how much memory a process holds")
    found = fuzz(Target("x", "x", st.binary(min_size=3, max_size=3), read, clean=clean), 2, clean_every=1)
    assert bool(found.faults) == bool(fault)
    assert all(fault in where for where in found.faults)


def test_a_message_of_cleaning_need_not_name_the_file() -> None:
    def clean(_result: object, _folder: Path) -> object:
        raise DataError("no picture is left")

    found = fuzz(Target("x", "x", st.binary(min_size=3, max_size=3), takes_all, clean=clean), 4, clean_every=1)
    assert not found.faults
    assert (found.taken, found.refused.total()) == (0, 4)


def test_the_page_has_ten_thousand_inputs_of_every_reader_and_no_fault() -> None:
    rows = re.findall(
        r"^\| ([^|]+) \| ([\d,]+) \| [\d,]+ \| ([\d,]+) \| [\d,]* \| ([\d,]+) \| (\d+) \|$", PAGE.read_text("utf-8"), re.M
    )
    assert [row[0] for row in rows] == [target.name for target in TARGETS]
    for name, *numbers in rows:
        inputs, taken, refused, faults = (int(number.replace(",", "")) for number in numbers)
        assert inputs == taken + refused >= 10_000, name
        assert faults == 0, name
