"""A strip of film: frames in their order, what is written where, and nothing beyond its place."""

import numpy as np
import pytest

from stages.film import GAP_PX, film_strip

COLOURS = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]
FRAMES = np.stack([np.full((20, 30, 3), colour, dtype=np.uint8) for colour in COLOURS])


def dark(part: np.ndarray) -> int:
    """How many pixels of letters there are."""
    return int((part.max(axis=2) < 128).sum())


def test_frames_side_by_side() -> None:
    strip = film_strip(FRAMES, 40)
    assert strip.shape == (40, 3 * 60 + 2 * GAP_PX, 3) and strip.dtype == np.uint8
    for number, colour in enumerate(COLOURS):
        left = number * (60 + GAP_PX)
        assert (strip[:, left : left + 60] == colour).all()
        assert (strip[:, left + 60 : left + 60 + GAP_PX] == 0).all()


def test_captions_stand_under_their_frames_and_the_title_above() -> None:
    plain, captioned = film_strip(FRAMES, 40), film_strip(FRAMES, 40, ["", "0.3 s", ""])
    titled = film_strip(FRAMES, 40, title="walking")
    line = captioned.shape[0] - 40
    assert titled.shape[0] - 40 == line >= 16
    assert (captioned[:40] == plain).all() and (titled[line:] == plain).all()
    under = [captioned[40:, left : left + 60] for left in range(0, 180, 60 + GAP_PX)]
    assert [dark(part) > 0 for part in under] == [False, True, False]
    assert dark(titled[:line]) > 20
    both = film_strip(FRAMES, 40, ["", "0.3 s", ""], "walking")
    assert (both[:line] == titled[:line]).all() and (both[line:] == captioned).all()


@pytest.mark.parametrize("text", ["a caption far too long for one frame of this strip", "x" * 300, "wäßrig " * 9])
def test_what_is_too_long_is_cut_and_stays_in_its_place(text: str) -> None:
    strip = film_strip(FRAMES, 40, [text, "", ""])
    assert dark(strip[40:, :60]) > 20
    assert dark(strip[40:, 60 + GAP_PX :]) == 0
    assert dark(strip[40:, 58:60]) == 0, "cut before the edge"


def test_a_caption_that_fits_is_written_larger_than_one_that_hardly_does() -> None:
    letters = [film_strip(FRAMES, 80, [text, "", ""])[80:, :120] for text in ("iii", "iii" + " " * 25 + "i")]
    tall = [int((part.max(axis=2) < 128).any(axis=1).sum()) for part in letters]
    assert tall[0] > tall[1]


def test_a_caption_for_each_frame_or_none() -> None:
    with pytest.raises(ValueError, match="2 captions for 3 frames"):
        film_strip(FRAMES, 40, ["a", "b"])


def test_the_frames_given_are_left_as_they_are() -> None:
    frames = FRAMES.copy()
    film_strip(frames, 20, ["a", "b", "c"], "title")
    assert (frames == FRAMES).all()
