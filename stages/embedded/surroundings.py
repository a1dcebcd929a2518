"""Where people do things: a street, a field, a stage, a hall, a room, a garden, drawn anew for every picture.

Each is a `Place` as those of the camera traps are: a level camera above a plane, with things that stand on it and hide who
is behind them. They are drawn with little detail, since no two pictures share one.
"""

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

from stages.embedded.coats import RGB, Image
from stages.embedded.drawing import noise_tile
from stages.embedded.places import FAR_M, Place

Rng = np.random.Generator


class _View(NamedTuple):
    """The plane as the camera sees it, before anything has a colour."""

    distance_m: Image  # (h, w) along the ground; FAR_M at most
    across_m: Image  # (h, w) to the right of the picture's middle
    horizon_px: float
    focal_px: float
    height_m: float


class _Thing(NamedTuple):
    """What stands about: a block of a colour."""

    width_m: float
    height_m: float
    colours: tuple[RGB, ...]
    round: bool = False
    most: int = 2


def _noise(view: _View, per_m: float, rng: Rng) -> Image:
    """Smooth noise that lies on the ground, 0 to 1: (h, w)."""
    u, v = rng.uniform(0, 256, 2)
    rows, columns = (view.distance_m * per_m + u).astype(np.int32) & 255, (view.across_m * per_m + v).astype(np.int32) & 255
    return noise_tile(5)[rows, columns]


def _texture(shape: tuple[int, ...], stretch: tuple[float, float], rng: Rng) -> Image:
    """Smooth noise that faces the camera, stretched in y and x, 0 to 1: (h, w)."""
    rows, columns = ((np.arange(n) / by + rng.integers(256)).astype(int) & 255 for n, by in zip(shape, stretch, strict=True))
    return noise_tile(3)[rows[:, None], columns[None, :]]


def _colour(rgb: RGB, rng: Rng, spread: float = 0.12) -> Image:
    return (np.array(rgb) * np.exp(rng.normal(0, spread)) * np.exp(rng.normal(0, 0.4 * spread, 3))).astype(np.float32)


def _any_colour(rng: Rng, low: float, high: float) -> Image:
    return rng.uniform(low, high, 3).astype(np.float32)


def _mix(rgb: Image, share: Image, colour: Image) -> Image:
    return rgb + share[..., None] * (colour - rgb)


def _lines(values: Image, every: float, width: float) -> Image:
    """1 within `width` of each multiple of `every`, 0 elsewhere."""
    return (np.abs(np.mod(values + every / 2, every) - every / 2) < width / 2).astype(np.float32)


# Grounds and backgrounds: (h, w, 3) for the whole picture -------------------------------------------------------------


def _asphalt(view: _View, rng: Rng) -> Image:
    grain = 0.8 + 0.25 * _noise(view, 90, rng) + 0.2 * _noise(view, 14, rng)
    rgb = _colour((0.42, 0.42, 0.43), rng) * grain[..., None]
    dashes = _lines(view.distance_m, 3.0, 0.14) if rng.random() < 0.5 else _lines(view.across_m + rng.uniform(-2, 2), 4.0, 0.15)
    return _mix(rgb, 0.8 * dashes * (view.distance_m < 40), np.float32(0.85) * np.ones(3, np.float32))


def _mown(view: _View, rng: Rng) -> Image:
    """Grass in stripes, with white lines."""
    stripes = 0.5 + 0.5 * np.sign(np.sin(view.distance_m * rng.uniform(1.2, 2.0) + rng.uniform(0, 6)))
    grain = 0.85 + 0.2 * _noise(view, 80, rng) + 0.14 * stripes
    rgb = _colour((0.26, 0.5, 0.22), rng) * grain[..., None]
    white = np.maximum(
        _lines(view.distance_m + rng.uniform(0, 6), 6.0, 0.2), _lines(view.across_m + rng.uniform(0, 9), 9.0, 0.12)
    )
    return _mix(rgb, 0.85 * white * (view.distance_m < 30), np.full(3, 0.92, np.float32))


def _boards(view: _View, rng: Rng) -> Image:
    planks = _texture((1, 4096), (1, 1), rng)[0][(view.across_m * 5 + 2048).astype(np.int32).clip(0, 4095)]
    grain = 0.75 + 0.3 * planks + 0.12 * _noise(view, 40, rng) - 0.25 * _lines(view.across_m, 0.4, 0.03)
    return _colour((0.7, 0.5, 0.3), rng) * grain[..., None]


def _dark_boards(view: _View, rng: Rng) -> Image:
    light = np.exp(-((view.across_m - rng.uniform(-1, 1)) ** 2 + (view.distance_m - rng.uniform(3.5, 5.5)) ** 2) / 3)
    return _boards(view, rng) * (0.3 + 0.5 * light)[..., None] * _any_colour(rng, 0.75, 1.1)


def _carpet(view: _View, rng: Rng) -> Image:
    rgb = _any_colour(rng, 0.3, 0.65) * (0.8 + 0.35 * _noise(view, 70, rng))[..., None]
    rug = (np.abs(view.across_m - rng.uniform(-1, 1)) < 1.3) & (np.abs(view.distance_m - rng.uniform(3.5, 5)) < 1.1)
    return _mix(rgb, 0.7 * rug, _any_colour(rng, 0.2, 0.8))


def _soil(view: _View, rng: Rng) -> Image:
    """Beds of dark soil in grass."""
    beds = np.clip((_noise(view, 12, rng) - 0.48) * 8 + 0.5, 0, 1)
    rgb = _mix(
        np.ones((*view.distance_m.shape, 1), np.float32) * _colour((0.36, 0.43, 0.18), rng),
        beds,
        _colour((0.34, 0.25, 0.17), rng),
    )
    return rgb * (0.65 + 0.45 * _noise(view, 70, rng) + 0.3 * _noise(view, 160, rng))[..., None]


def _sky(view: _View, rng: Rng) -> Image:
    shape = view.distance_m.shape
    y = np.linspace(0.9, 1.1, shape[0], dtype=np.float32)[:, None, None]
    return _colour((0.7, 0.79, 0.88), rng, 0.06) * y + 0.12 * (_texture(shape, (2, 6), rng) - 0.5)[..., None]


def _houses(view: _View, rng: Rng) -> Image:
    rgb, w = _sky(view, rng), view.distance_m.shape[1]
    x = -int(rng.integers(0, w // 6))
    while x < w:
        wide, top = int(rng.uniform(0.18, 0.4) * w), int(view.horizon_px * rng.uniform(0.05, 0.6))
        wall = rgb[top:, max(x, 0) : x + wide]
        wall[:] = _any_colour(rng, 0.35, 0.75)
        step = max(int(view.horizon_px / 4), 6)
        for row in range(2, wall.shape[0] - step, step):
            for column in range(3, wall.shape[1] - step // 2, step):
                wall[row : row + step // 2, column : column + step // 2] = (0.25, 0.3, 0.36)
        x += wide
    return rgb


def _trees(view: _View, rng: Rng) -> Image:
    shape = view.distance_m.shape
    top = view.horizon_px * rng.uniform(0.35, 0.75) - 24 * (_texture((1, shape[1]), (1, 3), rng) - 0.5)
    share = np.arange(shape[0])[:, None] > top + 14 * (_texture(shape, (1, 1), rng) - 0.5)
    leaves = _colour((0.2, 0.3, 0.15), rng) * (0.6 + 0.8 * _texture(shape, (1, 1), rng))[..., None]
    return np.where(share[..., None], leaves, _sky(view, rng))


def _fence(view: _View, rng: Rng) -> Image:
    rgb, (h, w) = _trees(view, rng), view.distance_m.shape
    top, wide = int(view.horizon_px * rng.uniform(0.45, 0.7)), int(rng.integers(5, 9))
    boards = (np.arange(w) % wide > 0) * np.ones((h - top, 1))
    rgb[top:] = _mix(rgb[top:], boards.astype(np.float32), _colour((0.5, 0.38, 0.27), rng, 0.25))
    return rgb


def _curtain(view: _View, rng: Rng) -> Image:
    h, w = view.distance_m.shape
    folds = 0.7 + 0.3 * np.sin(np.arange(w) * rng.uniform(0.25, 0.5) + 4 * _texture((1, w), (1, 2), rng)[0])
    glow = 0.25 + 0.55 * np.exp(-(((np.arange(w) / w - rng.uniform(0.3, 0.7)) / 0.35) ** 2))
    colour = np.array([0.75, 0.12, 0.2] if rng.random() < 0.6 else [0.3, 0.15, 0.6])
    return (colour * (folds * glow)[None, :, None] * np.ones((h, 1, 1))).astype(np.float32)


def _hall_wall(view: _View, rng: Rng) -> Image:
    """Pale, with windows in a row above, a band of colour, and wall bars here and there."""
    h, w = view.distance_m.shape
    rgb = np.ones((h, w, 1), np.float32) * _colour((0.78, 0.77, 0.72), rng, 0.08)
    band = int(view.horizon_px * rng.uniform(0.7, 0.9))
    rgb[band:] = _any_colour(rng, 0.3, 0.75)
    step = int(rng.integers(16, 34))
    for x in range(int(rng.integers(step)), w, step):
        rgb[int(0.12 * band) : int(0.5 * band), x : x + step - 5] = (0.86, 0.93, 0.98)
    bars = int(rng.integers(w))
    rgb[int(0.3 * band) :: 5, bars : bars + int(0.25 * w)] = (0.55, 0.38, 0.22)
    return rgb


def _room_wall(view: _View, rng: Rng) -> Image:
    """Paper in stripes, pictures or a window."""
    h, w = view.distance_m.shape
    rgb = np.ones((h, w, 1), np.float32) * _any_colour(rng, 0.5, 0.9)
    every = int(rng.integers(7, 18))
    rgb[:, np.arange(w) % every < every // 2] *= np.float32(rng.uniform(0.85, 0.95))
    for _ in range(int(rng.integers(1, 4))):
        x, y = int(rng.uniform(0, 0.9) * w), int(rng.uniform(0.0, 0.5) * view.horizon_px)
        wide, tall = int(rng.uniform(0.08, 0.22) * w), int(rng.uniform(0.12, 0.25) * h)
        rgb[y : y + tall, x : x + wide] = _any_colour(rng, 0.1, 0.4)
        rgb[y + 2 : y + tall - 2, x + 2 : x + wide - 2] = _any_colour(rng, 0.3, 1.0)
    return rgb


class _Kind(NamedTuple):
    ground: Callable[[_View, Rng], Image]
    behind: Callable[[_View, Rng], Image]
    wall_m: tuple[float, float] | None  # how far the wall is that ends the ground, indoors
    thing: _Thing


_WOOD: RGB = (0.45, 0.3, 0.18)
KINDS: dict[str, _Kind] = {
    "street": _Kind(_asphalt, _houses, None, _Thing(0.14, 0.9, ((0.6, 0.15, 0.12), (0.75, 0.75, 0.72)))),
    "field": _Kind(_mown, _trees, None, _Thing(0.25, 0.35, ((0.9, 0.45, 0.1), (0.95, 0.85, 0.2)))),
    "stage": _Kind(_dark_boards, _curtain, (7.0, 10.0), _Thing(0.45, 0.7, ((0.06, 0.06, 0.07),))),
    "hall": _Kind(_boards, _hall_wall, (8.0, 12.0), _Thing(1.0, 0.35, (_WOOD, (0.15, 0.3, 0.6)))),
    "room": _Kind(_carpet, _room_wall, (6.0, 8.0), _Thing(0.5, 0.45, (_WOOD, (0.65, 0.55, 0.45), (0.3, 0.35, 0.3)))),
    "garden": _Kind(_soil, _fence, None, _Thing(0.55, 0.45, ((0.25, 0.38, 0.14), (0.3, 0.45, 0.2)), True, 5)),
}  # fmt: skip
INDOORS = frozenset(name for name, kind in KINDS.items() if kind.wall_m)


def surroundings(name: str, width_px: int, height_px: int, rng: np.random.Generator) -> Place:
    """A place of a kind of KINDS, seen at the height of a person's chest or head."""
    kind = KINDS[name]
    horizon = height_px * rng.uniform(0.34, 0.46)
    focal = float(np.sqrt(width_px * height_px)) * rng.uniform(1.15, 1.4)
    camera_m = rng.uniform(1.05, 1.5)
    below = np.maximum(np.arange(height_px, dtype=np.float32)[:, None] + np.float32(0.5 - horizon), 0.01)
    distance = np.minimum(np.float32(focal * camera_m) / below, FAR_M) * np.ones((1, width_px), np.float32)
    across = (np.arange(width_px, dtype=np.float32)[None, :] + np.float32(0.5 - width_px / 2)) * distance / np.float32(focal)
    view = _View(distance, across, horizon, focal, camera_m)
    end_m = float(rng.uniform(*kind.wall_m)) if kind.wall_m else 60.0
    is_ground = distance < end_m
    rgb = np.where(is_ground[..., None], kind.ground(view, rng), kind.behind(view, rng)).astype(np.float32)
    seen_m = np.where(is_ground, distance, end_m if kind.wall_m else FAR_M).astype(np.float32)
    standing = np.zeros_like(seen_m)
    things_m = np.sort(rng.uniform(2.6, min(end_m, 9.0), rng.integers(kind.thing.most + 1)))[::-1]  # the farthest first
    for distance_m in things_m:
        _stand(rgb, seen_m, standing, kind.thing, float(distance_m), view, rng)
    return Place(np.clip(rgb, 0, 1), seen_m, standing, horizon, focal, camera_m)


def _stand(
    rgb: Image, seen_m: Image, standing: Image, thing: _Thing, distance_m: float, view: _View, rng: np.random.Generator
) -> None:
    """Draw a thing into all three at a random place of that distance."""
    scale = view.focal_px / distance_m
    half, tall = scale * thing.width_m * rng.uniform(0.35, 0.65), scale * thing.height_m * rng.uniform(0.75, 1.25)
    x, foot = rng.uniform(0, rgb.shape[1]), view.horizon_px + scale * view.height_m
    mask = np.zeros(seen_m.shape, np.uint8)
    middle, axes = (round(x), round(foot - tall / 2)), (max(round(half), 1), max(round(tall / 2), 1))
    if thing.round:
        cv2.ellipse(mask, middle, axes, 0, 0, 360, 1, -1)
    else:
        cv2.rectangle(mask, (middle[0] - axes[0], round(foot - tall)), (middle[0] + axes[0], round(foot)), 1, -1)
    on = mask > 0
    light = 0.75 + 0.4 * _texture(seen_m.shape, (1.0, 1.0), rng)
    rgb[on] = (_colour(thing.colours[rng.integers(len(thing.colours))], rng, 0.2) * light[..., None])[on]
    seen_m[on], standing[on] = distance_m, 1
