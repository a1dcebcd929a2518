"""Frames of a clip side by side, as a strip of film: what a report and a copy of a video show."""

import math
import unicodedata
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from stages.pictures import RGB, resize

GAP_PX = 2  # black, between two frames
_LETTERS_PX, _READABLE_PX = 16, 10  # of a caption, where there is room for it; at least
_PAD_PX = 3


def film_strip(frames: NDArray[np.uint8], height_px: int, captions: Sequence[str] = (), title: str = "") -> RGB:
    """T frames (T, h, w, 3), each `height_px` high, side by side -> uint8 (height, width, 3) RGB.

    `captions` are none, or one for each frame, written under it in black on white; `title` stands over the whole. What is too
    long for its place is written smaller, then cut. Raises ValueError where the captions are not one for each frame.
    """
    if captions and len(captions) != len(frames):
        raise ValueError(f"{len(captions)} captions for {len(frames)} frames")
    width_px = max(1, round(frames.shape[2] * height_px / frames.shape[1]))
    whole_px = len(frames) * (width_px + GAP_PX) - GAP_PX
    above, below = _line_px() if title else 0, _line_px() if captions else 0
    strip = np.zeros((above + height_px + below, whole_px, 3), dtype=np.uint8)
    strip[:above], strip[above + height_px :] = 255, 255
    lefts = range(0, whole_px, width_px + GAP_PX)
    for left, frame in zip(lefts, frames, strict=True):
        strip[above : above + height_px, left : left + width_px] = resize(frame, width_px, height_px)
    image = Image.fromarray(strip)
    pen = ImageDraw.Draw(image)
    for left, caption in zip(lefts, captions, strict=False):
        _write(pen, caption, left, above + height_px, width_px)
    if title:
        _write(pen, title, 0, 0, whole_px)
    return np.asarray(image)


def _write(pen: ImageDraw.ImageDraw, text: str, left: int, top: int, width_px: int) -> None:
    """In black, as large as fits into a line of this width."""
    text, room = unicodedata.normalize("NFC", text), width_px - 2 * _PAD_PX
    sizes = (_font(px) for px in range(_LETTERS_PX, _READABLE_PX, -1))
    font = next((font for font in sizes if font.getlength(text) <= room), _font(_READABLE_PX))
    if font.getlength(text) > room:
        while text and font.getlength(text + "…") > room:
            text = text[:-1]
        text += "…"
    pen.text((left + _PAD_PX, top + _line_px() // 2), text, fill="black", font=font, anchor="lm")


def _line_px() -> int:
    return math.ceil(sum(_font(_LETTERS_PX).getmetrics())) + _PAD_PX


@cache
def _font(size_px: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib brings along: PIL's own font has no accents."""
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf"), size_px)
