"""Frames as MP4 files of the same bytes each time, and how many and how large they are."""

import io
from collections.abc import Sequence
from fractions import Fraction
from typing import Self

import av
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from stages.embedded.action_drawing import Pixels
from stages.settings import Record

RATE = 30  # frames a second
INDEX_BYTES = 8192  # room kept for an index that stands first
TICKS = 600  # in which a video of variable rate counts a second
# Each frame by itself, at one quantiser: what a frame looks like then tells nothing of what came before.
OPTIONS = {"qp": "25", "g": "1", "bf": "0", "preset": "ultrafast"}


class Footage(Record):
    """How long clips are, and how large."""

    least_frames: int = Field(28, gt=1)  # a clip's frames lie between these
    most_frames: int = Field(34, gt=1)
    side_px: int = Field(72, ge=32, multiple_of=6)  # shorter side; the longer is a third longer

    @model_validator(mode="after")
    def _order(self) -> Self:
        if self.least_frames > self.most_frames:
            raise ValueError(f"least_frames is {self.least_frames}, more than most_frames, which is {self.most_frames}")
        return self

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.side_px * 4 // 3, self.side_px


def mp4(
    frames: Sequence[Pixels],
    rate: int = RATE,
    seconds: Sequence[float] | None = None,
    turned: int = 0,
    index_first: bool = False,
) -> bytes:
    """H.264 of frames (h, w, 3) of even sides, `rate` a second, or each at its own time of `seconds`.

    `turned`: they are stored so many quarters to the left, with the note that a viewer turns them back. The index of an
    MP4 stands at its end, or with `index_first` before the frames.
    """
    turned %= 4
    height, width = frames[0].shape[:2] if turned % 2 == 0 else frames[0].shape[1::-1]
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4", options={"moov_size": str(INDEX_BYTES)} if index_first else {}) as file:
        stream = file.add_stream("libx264", rate=rate, options=OPTIONS)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.thread_count = 1  # more would cut a frame elsewhere
        if seconds is not None:
            stream.codec_context.time_base = Fraction(1, TICKS)
        if turned:
            stream.set_display_rotation(-90 * turned)
        for number, rgb in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(np.rot90(rgb, turned)), "rgb24")
            picture.pts = number if seconds is None else round(seconds[number] * TICKS)
            picture.time_base = Fraction(1, rate if seconds is None else TICKS)
            file.mux(stream.encode(picture))
        file.mux(stream.encode())
    return buffer.getvalue()


def sound(seconds: float) -> bytes:
    """An MP4 with a tone and no picture."""
    samples_hz = 16_000
    tone: NDArray[np.float32] = np.sin(np.arange(int(seconds * samples_hz)) * 0.17, dtype=np.float32)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as file:
        stream = file.add_stream("aac", rate=samples_hz, layout="mono")
        stream.codec_context.thread_count = 1
        for start in range(0, len(tone), 1024):
            piece = av.AudioFrame.from_ndarray(tone[None, start : start + 1024], format="fltp", layout="mono")
            piece.sample_rate, piece.pts = samples_hz, start
            file.mux(stream.encode(piece))
        file.mux(stream.encode())
    return buffer.getvalue()
