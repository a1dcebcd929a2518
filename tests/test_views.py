"""What a network is shown of a picture, and the way back for boxes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.views import View, fitted, letterboxed, squeezed

SIDES = st.integers(1, 6000)


@given(SIDES, SIDES, st.sampled_from([64, 96, 320, 608]))
def test_a_letterboxed_picture_keeps_its_shape_and_fills_whole_strides(width: int, height: int, side: int) -> None:
    view = letterboxed(width, height, side, 32)
    assert (view.width, view.height) == fitted(width, height, side)
    assert max(view.width, view.height) == side and min(view.width, view.height) >= 1
    for own, before, after in ((view.width, view.left, view.right), (view.height, view.top, view.bottom)):
        assert (own + before + after) % 32 == 0 and 0 <= before <= after <= before + 1 < 32


@given(SIDES, SIDES, st.sampled_from([64, 320]), st.booleans(), st.lists(st.floats(0, 1), min_size=4, max_size=4))
def test_boxes_there_and_back(width: int, height: int, side: int, padded: bool, shares: list[float]) -> None:
    view = letterboxed(width, height, side, 32) if padded else squeezed(side)
    x, y = sorted(shares[:2]), sorted(shares[2:])
    box = np.array([x[0] * width, y[0] * height, x[1] * width, y[1] * height])
    scale = np.array([view.width / width, view.height / height] * 2)
    shown = box * scale + [view.left, view.top, view.left, view.top]
    assert view.back([shown], width, height)[0] == pytest.approx(box, abs=1e-6 * max(width, height))


def test_what_lies_in_the_padding_is_cut_off() -> None:
    view = letterboxed(100, 50, 64, 32)
    assert view == View(64, 32)
    view = letterboxed(100, 70, 64, 32)  # 64 x 45, padded to 64
    assert (view.top, view.bottom) == (9, 10)
    assert view.back([[0, 0, 64, 64]], 100, 70).tolist() == [[0, 0, 100, 70]]


def test_a_picture_as_it_is_shown() -> None:
    rgb = np.full((35, 50, 3), 200, np.uint8)
    shown = letterboxed(50, 35, 64, 32).show(rgb)
    assert shown.shape == (64, 64, 3)
    assert (shown[:9] == 114).all() and (shown[9:54] == 200).all() and (shown[54:] == 114).all()
    assert squeezed(32).show(rgb).shape == (32, 32, 3)
