"""Boxes: exact numbers, and there and back again."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stages.geometry import area, clip, rescale, xywh_from_xyxy, xyxy_from_xywh

boxes = arrays(np.float64, (5, 4), elements=st.floats(-500, 500).map(lambda value: round(value * 8) / 8))
sides = st.integers(1, 400)


def test_exact_numbers() -> None:
    assert xyxy_from_xywh([10, 20, 30, 5]).tolist() == [10, 20, 40, 25]
    assert xywh_from_xyxy([10, 20, 40, 25]).tolist() == [10, 20, 30, 5]
    assert rescale([[10, 20, 40, 25]], [0.5], [2.0]).tolist() == [[5, 40, 20, 50]]
    assert clip([[-3, 2, 50, 9]], [20], [6]).tolist() == [[0, 2, 20, 6]]
    assert area([[0, 0, 4, 3], [4, 3, 0, 0], [0, 0, 4, 0], [5, 0, 4, 3]]).tolist() == [12, 0, 0, 0]


def test_a_box_outside_comes_back_without_area() -> None:
    outside = np.array([[30, 0, 40, 5], [-9, 0, 0, 5], [0, 6, 5, 9], [0, -9, 5, -2]])
    assert area(clip(outside, 20, 6)).tolist() == [0, 0, 0, 0]


def test_each_box_has_a_scale_and_a_picture_of_its_own() -> None:
    two = np.array([[0, 0, 10, 10], [0, 0, 10, 10]])
    assert rescale(two, [1, 2], [3, 4]).tolist() == [[0, 0, 10, 30], [0, 0, 20, 40]]
    assert clip(two, [8, 99], [99, 7]).tolist() == [[0, 0, 8, 10], [0, 0, 10, 7]]


@given(boxes)
def test_there_and_back(xywh: np.ndarray) -> None:
    assert np.array_equal(xywh_from_xyxy(xyxy_from_xywh(xywh)), xywh)
    assert np.array_equal(rescale(rescale(xywh, 4, 0.5), 0.25, 2), xywh)


@given(boxes, sides, sides)
def test_clipping_stays_inside_and_is_final(xyxy: np.ndarray, width: int, height: int) -> None:
    cut = clip(xyxy, width, height)
    assert cut.min() >= 0
    assert (cut <= [width, height, width, height]).all()
    assert np.array_equal(clip(cut, width, height), cut)
    assert (area(cut) <= area(xyxy)).all()
    inside = ((xyxy >= 0) & (xyxy <= [width, height, width, height])).all(axis=1)
    assert np.array_equal(cut[inside], xyxy[inside])
