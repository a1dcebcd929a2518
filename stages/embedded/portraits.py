"""A photo of one figure, as people take them: near, wholly in the picture, in surroundings of its own."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.embedded.figures import Figure, pose
from stages.embedded.places import Place
from stages.embedded.scenes import Actor, Drawn, draw_light, render
from stages.embedded.skeleton import Array, Body, View, project
from stages.embedded.surroundings import INDOORS, surroundings

MARGIN_PX = 3  # round the figure
LEAST_VISIBLE = 0.7  # share of the figure that has to be seen, else the picture is drawn anew


class Sitter(NamedTuple):
    """Who is portrayed, how, and for what size the photographer stands ready: that of the kind, whatever the posture."""

    figure: Figure
    posture: str
    phase: float  # in turns
    heading_deg: float  # 0 faces right, 90 away from the camera
    height_m: float
    length_m: float


def size_px(least_px: int, most_px: int, rng: np.random.Generator) -> tuple[int, int]:
    """Width and height of a photo whose longer side lies between these, mostly the width."""
    longer = int(rng.integers(least_px, most_px + 1))
    shorter = round(longer * float(rng.choice([2 / 3, 3 / 4, 0.9])))
    return (longer, shorter) if rng.random() < 0.8 else (shorter, longer)


def portrait(
    sitter: Sitter, where: tuple[str, ...], width_px: int, height_px: int, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], Drawn]:
    """The photo, RGB (height_px, width_px, 3), in one of the surroundings `where`, and what can be seen of the sitter."""
    for _ in range(40):
        name = where[rng.integers(len(where))]
        there = _from_below(surroundings(name, width_px, height_px, rng), sitter, rng)
        light = draw_light(rng, night=False)._replace(shift_px=(0, 0), haze=0.0)
        if name in INDOORS:
            light = light._replace(shadow=0.15, dapple=0.0)
        actor = _placed(sitter, there, rng)
        if actor is None:
            continue
        pixels, [seen] = render(there, light, [actor], rng)
        if seen.box_px and seen.visible >= LEAST_VISIBLE:
            return pixels, seen
    raise AssertionError(f"no portrait of {sitter} came out")


def _from_below(there: Place, sitter: Sitter, rng: np.random.Generator) -> Place:
    """The same view through a camera at about the sitter's height: every length of the place times one factor."""
    factor = sitter.height_m * rng.uniform(0.85, 1.35) / there.height_m
    return there._replace(distance_m=there.distance_m * np.float32(factor), height_m=there.height_m * factor)


def extent_m(body: Body, view: View) -> Array:
    """The smallest box round a body as it is seen: (4,) left, low, right and high from the ground point in metres."""
    seen = project(body, view)
    ends = [(seen[name][:2], radius) for limb in body.limbs for name, radius in zip(limb[:2], limb[2:4], strict=True)]
    low, high = np.min([at - radius for at, radius in ends], axis=0), np.max([at + radius for at, radius in ends], axis=0)
    return np.concatenate([low, high])


def _placed(sitter: Sitter, there: Place, rng: np.random.Generator) -> Actor | None:
    """The sitter, nearly as large as fits into the picture and wholly in it; None where it would stand in a wall."""
    height_px, width_px = there.distance_m.shape
    body = pose(sitter.figure, sitter.posture, sitter.phase)
    nearest_m = sitter.length_m * there.focal_px / (rng.uniform(0.65, 1.0) * width_px)
    aside, pattern_seed = rng.random(), int(rng.integers(10_000))
    for distance_m in np.arange(nearest_m, 0.95 * there.distance_m.max(), 0.04 * nearest_m):
        elevation_deg = float(np.degrees(np.arctan2(there.height_m, distance_m)))
        scale, feet_px = there.focal_px / distance_m, there.ground_px(0.0, distance_m)[1]
        left, low, right, high = scale * extent_m(body, View(sitter.heading_deg, elevation_deg))
        room_px = width_px - (right - left) - 2 * MARGIN_PX
        if room_px > 0 and feet_px - low < height_px - MARGIN_PX and feet_px - high > MARGIN_PX:
            across_m = float((MARGIN_PX - left + aside * room_px - width_px / 2) / scale)
            return Actor(*sitter[:4], across_m, float(distance_m), 0, pattern_seed)
    return None
