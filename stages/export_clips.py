"""What is particular about the ONNX file of a network of clips: it takes single windows, and says how they are made.

Letters: B windows of a batch, T frames of each, P their side in px.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from stages.clip_views import Clip
from stages.pictures import RGB

INPUT = "windows"
_STEP = 1 / 20  # of the shorter side, by which a picture moves from frame to frame


class OneView(nn.Module):
    """uint8 (B, T, P, P, 3) -> what a network of clips makes of one view of each."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, windows: Tensor) -> Any:
        return self.module(windows[:, None])


def moving(rgb: RGB, clip: Clip) -> NDArray[np.uint8]:
    """A window in which a picture moves to the right, (T, P, P, 3)."""
    step_px = max(1, round(min(rgb.shape[:2]) * _STEP))
    return clip.show(np.stack([np.roll(rgb, step_px * number, axis=1) for number in range(clip.frames)]))[0]


def about(clip: Clip, resized: str) -> dict[str, str]:
    """The metadata: how a window is made of a video. `resized`: how a picture is."""
    which = f"every {clip.rate}. of" if clip.rate > 1 else "all"
    frames = f"{which} {clip.span} frames that follow each other, first and last among them"
    if clip.still:
        frames = f"the frame in the middle of {clip.span}, {clip.frames} times"
    return {
        "task": "classification of what is done in a window of a video",
        "input": f"uint8 (batch, {clip.frames} frames, height, width, 3) RGB, 0 to 255, not normalised: {frames}, of a video "
        f"brought to {clip.fps:g} frames a second by repeating or leaving out; of each the same square, as long as its "
        f"shorter side, resized to {clip.crop_px} x {clip.crop_px} px, {resized}",
        "squares": "the middle of the longer side" if clip.crops == 1 else "three: both ends of the longer side, its middle",
        "together": "what is said of a video is the mean of the scores of its windows and squares",
        **{name: str(getattr(clip, name)) for name in ("frames", "rate", "fps", "crops")},
    }
