"""How a scene changes in time, so that no single frame tells how fast.

All that moves in a scene is a handful of cycles (`Turns`): the gait, the head, the voice, the place, the view. Each starts
anywhere in its turn, all alike likely, and goes on at a steady rate. So at any time it is again anywhere in its turn, all alike
likely, whatever its rate: of scenes that differ in nothing but rates every frame by itself has one and the same distribution.
Each frame is packed by itself and at a fixed quality (action_video.py), so that the codec tells nothing of motion either.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from stages.embedded.action_drawing import MARGIN_PX, Coated, Picture, Pixels, backdrop, coated, draw_body
from stages.embedded.coats import Coat
from stages.embedded.skeleton import Body, View

LEFTMOST, RIGHTMOST = 0.28, 0.72  # where the figure stands, as a share of the frame's width
NOISE_PX = 16  # the sensor's noise is cut anew for each frame, from a tile that is so much larger
BELOW = 0.22  # share of what is under the water's surface that is seen


class Turns(NamedTuple):
    """Where each cycle is, in turns from 0 to 1; as rates, in turns a second."""

    gait: float = 0.0
    look: float = 0.0  # of the head
    voice: float = 0.0
    place: float = 0.0  # to the right in the first half of a turn, back to the left in the second
    scroll: float = 0.0  # of the backdrop behind a camera that follows
    aside: float = 0.0  # the camera's own movements: sideways
    up: float = 0.0
    ripple: float = 0.0  # of water


class Stage(NamedTuple):
    """What stays the same through a clip."""

    backdrop: Picture  # of action_drawing.backdrop
    coat: Coated
    middle_m: float  # of the figure, ahead of its origin
    noise: Picture  # (h + NOISE_PX, w + NOISE_PX, 3)
    heading_deg: float  # of a figure that faces right
    elevation_deg: float
    px_per_m: float
    ground_px: float  # y of the ground
    aside_px: float  # how far the camera goes to both sides
    up_px: float
    water_px: float | None  # y of the water's surface at the figure
    shadow_px: float  # half the width of the figure's shadow; 0 for none


class Clip(NamedTuple):
    """A clip before it is drawn."""

    pose: Callable[[Turns], Body]
    stage: Stage
    start: Turns
    rates: Turns


def at(start: Turns, rates: Turns, seconds: float) -> Turns:
    return Turns(*((turn + rate * seconds) % 1.0 for turn, rate in zip(start, rates, strict=True)))


def faces_left(turns: Turns) -> bool:
    return turns.place >= 0.5


def anywhere(rng: np.random.Generator) -> Turns:
    """Where the cycles of a clip start."""
    return Turns(*rng.random(len(Turns._fields)).tolist())


def moving_on(start: Turns, rates: Turns, stride_px: float, follows: bool, width_px: int) -> Turns:
    """The rates with those of the way: of the backdrop where the camera follows, else of the figure, there and back.

    `stride_px` is the way of one turn of the gait.
    """
    px_per_s = stride_px * rates.gait
    if follows:
        return rates._replace(scroll=(-px_per_s if faces_left(start) else px_per_s) / (3 * width_px))
    return rates._replace(place=px_per_s / (2 * (RIGHTMOST - LEFTMOST) * width_px))


def frames(clip: Clip, seconds: Sequence[float], size: tuple[int, int], rng: np.random.Generator) -> list[Pixels]:
    """A clip's frames at these times, RGB (h, w, 3) each; `size` is (w, h)."""
    all_turns = [at(clip.start, clip.rates, second) for second in seconds]
    return [frame(clip.pose(turns), clip.stage, turns, size, rng) for turns in all_turns]


def frame(body: Body, stage: Stage, turns: Turns, size: tuple[int, int], rng: np.random.Generator) -> Pixels:
    """One picture, RGB (h, w, 3), of `size` (w, h). But for its noise it follows from the arguments alone."""
    width, height = size
    aside = round(stage.aside_px * float(np.sin(2 * np.pi * turns.aside)))
    up = round(stage.up_px * float(np.sin(2 * np.pi * turns.up)))
    left = round(turns.scroll * 3 * width + aside) % (3 * width)
    picture = stage.backdrop[MARGIN_PX + up : MARGIN_PX + up + height, left : left + width].copy()
    along = 1 - abs(2 * turns.place - 1)  # there and back
    x, y = width * (LEFTMOST + (RIGHTMOST - LEFTMOST) * along) - aside, stage.ground_px - up
    if stage.shadow_px:
        _shade(picture, x, y, stage.shadow_px)
    heading_deg = 180 - stage.heading_deg if faces_left(turns) else stage.heading_deg
    view = View(heading_deg, stage.elevation_deg)
    colour, alpha = draw_body(body, stage.middle_m, stage.coat, view, stage.px_per_m, (x, y), size)
    if stage.water_px is not None:
        surface = min(max(round(stage.water_px - up), 0), height)
        colour[surface:] *= BELOW
        alpha[surface:] *= BELOW
        rows = np.arange(height - surface, dtype=np.float32)[:, None, None]
        picture[surface:] *= 1 + 0.12 * np.sin(0.9 * rows + 2 * np.pi * turns.ripple)
    picture += colour - alpha * picture
    v, u = rng.integers(0, NOISE_PX, 2)
    picture += stage.noise[v : v + height, u : u + width]
    return np.clip(picture + 0.5, 0, 255).astype(np.uint8)


def _shade(picture: Picture, x: float, y: float, half_px: float) -> None:
    mask: NDArray[np.float32] = np.zeros(picture.shape[:2], np.float32)
    cv2.ellipse(mask, (round(x), round(y)), (max(round(half_px), 2), max(round(0.22 * half_px), 1)), 0, 0, 360, 0.4, -1)
    picture *= 1 - cv2.blur(mask, (5, 3))[..., None]


def filmed(
    figure: tuple[Coat, float],
    where: str,
    heading_deg: float,
    px_per_m: float,
    heights_px: tuple[float, float | None],
    shadow_px: float,
    size: tuple[int, int],
    rng: np.random.Generator,
) -> tuple[Stage, Turns]:
    """A stage with a backdrop, a camera and a sensor of its own, and the rates of the camera and the water.

    `figure` is its coat and its middle (m ahead of its origin); `heights_px` is y of the ground, and of the water's surface.
    """
    width, height = size
    aside_px, up_px, rates = _camera(rng)
    stage = Stage(
        backdrop=backdrop(where, width, height, rng),
        coat=coated(figure[0], rng),
        middle_m=figure[1],
        noise=rng.uniform(1, 3.5) * rng.standard_normal((height + NOISE_PX, width + NOISE_PX, 3), np.float32),
        heading_deg=heading_deg,
        elevation_deg=float(rng.uniform(4, 14)),
        px_per_m=px_per_m,
        ground_px=heights_px[0],
        aside_px=aside_px,
        up_px=up_px,
        water_px=heights_px[1],
        shadow_px=shadow_px,
    )
    return stage, rates._replace(ripple=float(rng.uniform(0.5, 1.5)))


def _camera(rng: np.random.Generator) -> tuple[float, float, Turns]:
    """On a stand, or in a hand: how far it goes sideways and up (px), and its rates."""
    if rng.random() < 0.7:
        return 0.0, 0.0, Turns()
    return rng.uniform(0.5, 1.5), rng.uniform(0.3, 1.0), Turns(aside=rng.uniform(0.5, 2.0), up=rng.uniform(0.5, 2.0))


def paced(rates: Turns, cycles: Mapping[str, tuple[float, float]], rng: np.random.Generator) -> Turns:
    """The rates with those of an action: each named cycle at some rate between two."""
    return rates._replace(**{cycle: float(rng.uniform(*between)) for cycle, between in cycles.items()})
