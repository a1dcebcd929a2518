"""Boxes: exact numbers, and there and back again."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stages.geometry import area, clip, rescale, warp, xywh_from_xyxy, xyxy_from_xywh

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


def test_an_affine_map_takes_pixel_centres_and_a_box_has_edges() -> None:
    mirrored = [[-1, 0, 19], [0, 1, 0]]  # of 20 px: pixel 0 becomes pixel 19
    assert warp([0, 2, 5, 9], mirrored).tolist() == [15, 2, 20, 9]
    doubled = [[2, 0, 0.5], [0, 2, 0.5]]  # pixel 0, from edge 0 to 1, becomes pixels 0 and 1, whose middle is at 0.5
    assert warp([[0, 2, 5, 9], [1, 1, 2, 2]], doubled).tolist() == [[0, 4, 10, 18], [2, 2, 4, 4]]
    quarter_turn = [[0, -1, 19], [1, 0, 0]]
    assert warp([0, 2, 5, 9], quarter_turn).tolist() == [11, 0, 18, 5]
    assert warp(np.empty((0, 4)), mirrored).shape == (0, 4)


@given(boxes, st.floats(-180, 180), st.floats(-50, 50))
def test_a_turned_box_encloses_every_point_of_the_one_before(xyxy: np.ndarray, degrees: float, shift: float) -> None:
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    matrix = np.array([[cos, -sin, shift], [sin, cos, -shift]])
    x_min, y_min, x_max, y_max = warp(xyxy, matrix).T
    for share_x, share_y in ((0, 0), (0.3, 1), (1, 0.2), (0.5, 0.5)):
        x = xyxy[:, 0] + share_x * (xyxy[:, 2] - xyxy[:, 0]) - 0.5
        y = xyxy[:, 1] + share_y * (xyxy[:, 3] - xyxy[:, 1]) - 0.5
        moved_x, moved_y = cos * x - sin * y + shift + 0.5, sin * x + cos * y - shift + 0.5
        assert (x_min - 1e-6 <= moved_x).all() and (moved_x <= x_max + 1e-6).all()
        assert (y_min - 1e-6 <= moved_y).all() and (moved_y <= y_max + 1e-6).all()
