"""Frames of any times as so many a second."""

from dataclasses import dataclass
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.conform import due, on_screen


@dataclass(frozen=True)
class At:
    seconds: float | Fraction


def shown(times: list[float] | list[Fraction], fps: float = 30) -> list[int]:
    """The number of the source frame that each frame of the clip shows."""
    found = list(on_screen(map(At, times), fps))
    assert [frame.seconds for frame, _ in found] == times
    return [number for number, (_, count) in enumerate(found) for _ in range(count)]


def at_rate(rate: Fraction | int, count: int) -> list[Fraction]:
    return [Fraction(number) / rate for number in range(count)]


@pytest.mark.parametrize(
    ("rate", "count", "expected"),
    [
        (30, 6, [0, 1, 2, 3, 4, 5]),
        (25, 10, [0, 1, 1, 2, 3, 4, 5, 6, 6, 7, 8, 9]),  # one in five twice
        (60, 8, [0, 2, 4, 6]),
        (50, 10, [0, 2, 3, 5, 7, 8]),
        (90, 9, [0, 3, 6]),
        (15, 3, [0, 0, 1, 1, 2, 2]),
        (120, 8, [1, 5]),
        (Fraction(24000, 1001), 4, [0, 1, 1, 2, 3]),
        (Fraction(30000, 1001), 60, list(range(60))),
        (Fraction(60000, 1001), 60, list(range(0, 60, 2))),
    ],
)
def test_rates(rate: Fraction | int, count: int, expected: list[int]) -> None:
    assert shown(at_rate(rate, count)) == expected
    assert shown([float(time) for time in at_rate(rate, count)]) == expected


@pytest.mark.parametrize("rate", [24, 25, 30, 48, 50, 60, 90, 120, Fraction(30000, 1001)])
def test_times_rounded_to_milliseconds_change_nothing(rate: Fraction | int) -> None:
    exact = at_rate(rate, 120)
    assert shown([Fraction(round(time * 1000), 1000) for time in exact]) == shown(exact)


def test_a_variable_rate_goes_by_its_own_times() -> None:
    assert shown([0.0, 0.1, 0.11, 0.12, 0.3]) == [0, 0, 0, 2, 3, 3, 3, 3, 3, 4, 4]  # the last is shown for 0.075 s


def test_another_rate_of_the_clip() -> None:
    assert shown(at_rate(30, 6), fps=10) == [0, 3]
    assert shown(at_rate(30, 3), fps=60) == [0, 0, 1, 1, 2, 2]


def test_there_is_one_frame_at_least() -> None:
    assert shown([0.0]) == [0]
    assert shown([0.0, 0.001]) == [1]
    assert shown([]) == []


def test_times_that_run_backwards_are_passed_over() -> None:
    assert shown([0.0, 0.1, 0.05, 0.2]) == [0, 0, 0, 2, 2, 2, 3, 3]


@given(
    st.lists(st.fractions(Fraction(1, 200), Fraction(1, 2), max_denominator=1000), min_size=1, max_size=40),
    st.sampled_from([10, 24, 25, 30, 60]),
)
def test_each_frame_is_the_last_that_began_by_then_or_three_tenths_of_a_frame_later(steps: list[Fraction], fps: int) -> None:
    times = [sum(steps[:n], Fraction(0)) for n in range(len(steps) + 1)]
    found = shown(times, fps)
    end = times[-1] + times[-1] / len(steps)
    assert len(found) == max(1, due(end, fps))
    assert abs(len(found) - end * fps) <= 1
    for n, number in enumerate(found):
        latest = (n + Fraction(3, 10)) / fps
        if len(found) > 1:
            assert number == max(k for k, time in enumerate(times) if time <= latest + Fraction(1, 10**6))
