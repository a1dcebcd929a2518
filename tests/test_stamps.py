"""Joints to heatmaps and back, and whom a heatmap is of."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stages.stamps import heatmap, peaks, two_people

confidences = st.floats(0, 1, width=32)


def plainly(joints: NDArray[Any], height: int, width: int, sigma: float) -> NDArray[np.float64]:
    """(H, W) in 0 to 255: each Gaussian over the whole picture, as the definition has it."""
    across, down = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    out = np.zeros((height, width))
    for x, y, confidence in joints:
        out = np.maximum(out, 255 * confidence * np.exp(-((across - x) ** 2 + (down - y) ** 2) / (2 * sigma**2)))
    return out


@given(
    st.lists(st.tuples(st.floats(-60, 100), st.floats(-60, 90), confidences), max_size=8),
    st.integers(1, 40),
    st.integers(1, 50),
    st.floats(0.3, 12),
)
def test_stamps_are_the_definition_over_the_whole_picture(
    joints: list[tuple[float, float, float]], height: int, width: int, sigma: float
) -> None:
    found = heatmap(np.array(joints), height, width, sigma)
    assert found.dtype == np.uint8 and found.shape == (height, width, 1) and found.flags.c_contiguous
    assert np.abs(found[..., 0] - plainly(np.array(joints).reshape(-1, 3), height, width, sigma)).max() <= 0.501


def test_exact_numbers() -> None:
    """A joint in the middle of pixel (row 1, column 2); a neighbour is 1 px away: 255 exp(-1 / 2) = 154.67."""
    found = heatmap([[2.5, 1.5, 1]], 3, 5, 1)[..., 0]
    diagonal, two, knight = (round(255 * math.exp(-square / 2)) for square in (2, 4, 5))
    beside = [knight, diagonal, 155, diagonal, knight]
    assert found.tolist() == [beside, [two, 155, 255, 155, two], beside]
    assert heatmap([[2.5, 1.5, 0.5]], 3, 5, 1)[1, 2, 0] == 128, "127.5 is rounded up"
    assert heatmap([[2.0, 1.5, 1]], 3, 5, 1)[1, :, 0].tolist() == [83, 225, 225, 83, 11], "between two pixels"


def test_where_joints_overlap_the_larger_counts_and_is_not_summed() -> None:
    one, other = [[3.5, 3.5, 1]], [[5.5, 3.5, 0.7]]
    both = heatmap(one + other, 8, 10, 2)
    assert (both == np.maximum(heatmap(one, 8, 10, 2), heatmap(other, 8, 10, 2))).all()
    assert (heatmap(one + other + one, 8, 10, 2) == both).all() and both.max() == 255


@pytest.mark.parametrize(
    "joints",
    [np.zeros((0, 3)), np.zeros((0, 16, 3)), [[0, 0, 0]], [[3, 3, 0]], [[-40, 3, 1]], [[3, 1e9, 1]]],
    ids=["nobody", "no people", "absent", "of no confidence", "left of the picture", "far below"],
)
def test_fault_27_nobody_or_nothing_inside_is_an_empty_heatmap(joints: Any) -> None:
    assert heatmap(joints, 6, 8, 2).tolist() == np.zeros((6, 8, 1)).tolist()


def test_fault_26_a_joint_outside_stamps_what_lies_inside() -> None:
    found = heatmap([[-1, 3.5, 1]], 6, 8, 2)[..., 0]
    assert found[3].tolist() == [192, 117, 55, 20, 6, 1, 0, 0]


@pytest.mark.parametrize("bad", [[math.nan, 1, 1], [1, math.inf, 1], [1, 1, math.nan], [1, 1, -0.1], [1, 1, 1.1]])
def test_fault_26_what_is_no_joint_is_refused(bad: list[float], record_property: Callable[[str, object], None]) -> None:
    with pytest.raises(ValueError, match="finite x, y and a confidence from 0 to 1") as caught:
        heatmap([[1, 1, 1], bad], 6, 8, 2)
    record_property("says", str(caught.value))


@given(st.data(), st.sampled_from([(8.0, 480, 640), (2.0, 120, 160), (1.0, 40, 56)]))
def test_joints_come_back_from_their_heatmap_within_half_a_pixel(data: Any, size: tuple[float, int, int]) -> None:
    sigma, height, width = size
    places = st.tuples(st.floats(0, width), st.floats(0, height), st.floats(0.02, 1))
    joints = np.array(data.draw(st.lists(places, min_size=1, max_size=5)))
    gaps = np.hypot(*(joints[:, None, :2] - joints[None, :, :2]).transpose(2, 0, 1))[~np.eye(len(joints), dtype=bool)]
    assume((gaps > 7.2 * sigma).all())  # stamps do not touch
    found = peaks(heatmap(joints, height, width, sigma), sigma)
    assert len(found) == len(joints)
    for x, y, confidence in joints:
        nearest = found[np.hypot(found[:, 0] - x, found[:, 1] - y).argmin()]
        assert np.hypot(nearest[0] - x, nearest[1] - y) <= 0.5
        assert nearest[2] == pytest.approx(confidence, abs=0.01)


def test_no_peaks_in_an_empty_heatmap() -> None:
    assert peaks(heatmap([], 6, 8, 2), 2).shape == (0, 3)


# Whom ----------------------------------------------------------------------------------------------------------------

MIDDLE, LEFT, RIGHT, FAR = [40, 20, 60, 40], [10, 20, 30, 40], [70, 20, 90, 40], [90, 50, 100, 60]


@pytest.mark.parametrize(
    ("boxes", "chosen"),
    [
        ([], []),
        ([FAR], [0]),
        ([FAR, MIDDLE], [1, 0]),
        ([LEFT, MIDDLE, FAR], [1, 2]),
        ([LEFT, FAR, RIGHT], [0, 1]),  # none in the middle: left and right are as near, equally large, so the first
        ([RIGHT, LEFT], [0, 1]),
        ([[71, 21, 89, 39], LEFT], [1, 0]),  # as near: the larger
        ([MIDDLE, LEFT, [69, 19, 91, 41]], [0, 2]),  # as far from the nearest: the larger
        ([MIDDLE, LEFT, RIGHT], [0, 1]),  # as far, equally large: the first
        ([MIDDLE, MIDDLE, MIDDLE], [0, 1]),
        ([MIDDLE, [45, 25, 55, 35], LEFT], [0, 2]),  # one centre: the larger is the nearest
        ([[0, 0, 100, 60], [0, 0, 1, 1]], [0, 1]),  # the whole picture is nearest its centre
    ],
)
def test_whom_a_heatmap_is_of(boxes: list[list[float]], chosen: list[int]) -> None:
    assert two_people(np.array(boxes), 100, 60) == chosen


corners = st.integers(0, 60)


@given(st.lists(st.tuples(corners, corners, st.integers(1, 40), st.integers(1, 40)), max_size=7))
@example([(0, 0, 4, 4), (96, 56, 4, 4), (0, 56, 4, 4), (96, 0, 4, 4)])
def test_the_nearest_to_the_centre_and_the_farthest_from_that_one(places: list[tuple[int, int, int, int]]) -> None:
    boxes = np.array([[x, y, x + w, y + h] for x, y, w, h in places], dtype=float).reshape(-1, 4)
    chosen = two_people(boxes, 100, 60)
    assert len(chosen) == len(set(chosen)) == min(2, len(boxes))
    # In whole numbers, centres doubled.
    centres = [(2 * x + w, 2 * y + h) for x, y, w, h in places]

    def square(a: tuple[int, int], b: tuple[int, int]) -> int:
        return (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2

    def key(i: int, of: tuple[int, int], sign: int) -> tuple[int, int]:
        return sign * square(centres[i], of), -places[i][2] * places[i][3]

    if chosen:
        assert all(key(chosen[0], (100, 60), 1) <= key(i, (100, 60), 1) for i in range(len(boxes)))
    if len(chosen) == 2:
        others = [i for i in range(len(boxes)) if i != chosen[0]]
        assert all(key(chosen[1], centres[chosen[0]], -1) <= key(i, centres[chosen[0]], -1) for i in others)
