"""How a clip is shown: which frames, which squares."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.clip_views import Clip, squares


def clip(**changes: object) -> Clip:
    values: dict[str, object] = {"frames": 8, "rate": 2, "fps": 30.0, "crop_px": 32, "views": 1, "crops": 1}
    return Clip(**(values | changes))  # type: ignore[arg-type]


def test_the_document_s_view_spans_15_frames_and_the_checkpoint_s_63() -> None:
    assert clip().span == 15
    assert clip(frames=32).span == 63
    assert clip(rate=1).span == 8


@pytest.mark.parametrize(("views", "n_frames", "starts"), [
    (1, 45, [15]), (1, 15, [0]), (1, 3, [0]), (2, 45, [0, 30]), (3, 45, [0, 15, 30]), (4, 45, [0, 10, 20, 30]),
    (3, 16, [0, 0, 1]), (3, 2, [0, 0, 0])])  # fmt: skip
def test_views_are_spread_from_the_beginning_to_the_end(views: int, n_frames: int, starts: list[int]) -> None:
    assert clip(views=views).starts(n_frames) == starts


def test_every_second_frame_is_shown_and_past_the_end_the_last_one_repeats() -> None:
    assert clip().numbers(3, 100) == [3, 5, 7, 9, 11, 13, 15, 17]
    assert clip().numbers(0, 6) == [0, 2, 4, 5, 5, 5, 5, 5]
    assert clip().numbers(0, 1) == [0] * 8


def test_still_is_the_view_s_middle_frame_alone() -> None:
    assert clip(still=True).numbers(3, 100) == [11] * 8
    assert clip(still=True).numbers(0, 6) == [5] * 8


@given(st.integers(1, 40), st.integers(1, 5), st.integers(1, 12), st.integers(1, 300), st.booleans())
def test_every_view_shows_frames_that_there_are(frames: int, rate: int, views: int, n_frames: int, still: bool) -> None:
    shown = clip(frames=frames, rate=rate, views=views, still=still)
    starts = shown.starts(n_frames)
    assert len(starts) == views and starts == sorted(starts)
    for start in starts:
        numbers = shown.numbers(start, n_frames)
        assert len(numbers) == frames and numbers == sorted(numbers)
        assert numbers[0] >= 0 and numbers[-1] <= n_frames - 1
    if views > 1 and not still:
        assert shown.numbers(starts[0], n_frames)[0] == 0
        if n_frames >= shown.span:
            assert shown.numbers(starts[-1], n_frames)[-1] == n_frames - 1


def ramp(width: int, height: int, frames: int = 2) -> np.ndarray:
    """Red is the column, green the row, blue the frame."""
    out = np.empty((frames, height, width, 3), np.uint8)
    out[..., 0], out[..., 1] = np.arange(width), np.arange(height)[:, None]
    out[..., 2] = np.arange(frames)[:, None, None]
    return out


def test_three_squares_of_a_wide_frame_are_left_middle_and_right() -> None:
    shown = clip(crop_px=40, crops=3).show(ramp(100, 40))
    assert shown.shape == (3, 2, 40, 40, 3) and shown.dtype == np.uint8
    assert shown[:, 0, 0, 0, 0].tolist() == [0, 30, 60]
    assert shown[:, 0, 0, -1, 0].tolist() == [39, 69, 99]
    assert shown[:, 0, -1, 0, 1].tolist() == [39, 39, 39]
    assert shown[:, :, 0, 0, 2].tolist() == [[0, 1]] * 3
    one = clip(crop_px=40).show(ramp(100, 40))
    assert one.shape == (1, 2, 40, 40, 3)
    assert np.array_equal(one[0], shown[1])


def test_three_squares_of_a_tall_frame_are_top_middle_and_bottom() -> None:
    shown = clip(crop_px=40, crops=3).show(ramp(40, 100))
    assert shown[:, 0, 0, 0, 1].tolist() == [0, 30, 60]
    assert shown[:, 0, 0, :, 0].tolist() == [list(range(40))] * 3


def test_the_shorter_side_becomes_the_square_s_side_whatever_it_was() -> None:
    for short, to_px in ((80, 40), (20, 40), (33, 40)):
        frame = ramp(2 * short, short, 1)
        shown = clip(crop_px=to_px, crops=3).show(frame)
        how = cv2.INTER_AREA if short > to_px else cv2.INTER_LINEAR
        assert np.array_equal(shown[2, 0], cv2.resize(frame[0][:, short:], (to_px, to_px), interpolation=how))


def test_a_square_is_cut_where_it_was_said() -> None:
    cut = squares(ramp(90, 50), left=7, top=5, side=20, to_px=20)
    assert cut[1, 0, 0].tolist() == [7, 5, 1] and cut[1, -1, -1].tolist() == [26, 24, 1]
    assert cut.flags["C_CONTIGUOUS"] and not np.shares_memory(cut, ramp(90, 50))
