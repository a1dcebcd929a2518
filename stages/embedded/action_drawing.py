"""Bodies and backdrops drawn fast and small, for clips: 1 ms a frame where `drawing.py` takes 10.

A limb is two discs and what lies between them, with a lit side; far ones come first; several samples a pixel make soft edges.
Pictures are RGB (h, w, 3), 0 to 255; y grows downwards.
"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from stages.embedded.coats import RGB, Coat
from stages.embedded.drawing import noise_tile
from stages.embedded.skeleton import Array, Body, View
from stages.embedded.surroundings import surroundings

Pixels = NDArray[np.uint8]
Picture = NDArray[np.float32]

FINE = 3  # samples for each pixel, in x and in y
BITS = 4  # of a sample's fraction, as OpenCV counts it
LIT, SHADE = 0.62, 0.72  # share of a limb's radius that is lit, and of its colour that the rest has
MARKS = 6  # on a limb that bears a pattern
MARGIN_PX = 10  # of a backdrop above and below the frame, for a camera that shakes
SKY, WATER, DEPTHS = "sky", "water", "depths"  # beside those of surroundings.py
OUTDOORS = ("field", "garden", "street")
BLUR_PX, FADED = 25, 0.5  # of a backdrop, as behind the long lenses that animals are filmed with; the share of contrast lost
WATERLINE = 0.42  # height of the shore of `water`, as a share of the frame's


class Coated(NamedTuple):
    """What a coat looks like on one individual."""

    coat: Coat
    marks: Array  # (MARKS, 2): along a limb from 0 to 1, across it from -1 to 1


def coated(coat: Coat, rng: np.random.Generator) -> Coated:
    return Coated(coat, np.column_stack([np.sort(rng.uniform(0.05, 0.95, MARKS)), rng.uniform(-0.7, 0.7, MARKS)]))


def draw_body(
    body: Body,
    middle_m: float,
    coat: Coated,
    view: View,
    px_per_m: float,
    ground_px: tuple[float, float],
    size: tuple[int, int],
) -> tuple[Picture, Picture]:
    """A body on nothing: the ground below its middle, `middle_m` ahead of its origin, lies at `ground_px` (x, y).

    `size` is (w, h). Returns colours times alpha (h, w, 3) and alpha (h, w, 1), 0 to 1.
    """
    width, height = size
    canvas = np.zeros((height * FINE, width * FINE, 4), np.uint8)
    origin = np.array([middle_m, 0, 0])
    starts = _seen(np.array([body.joints_m[limb.start] for limb in body.limbs]) - origin, view)
    ends = _seen(np.array([body.joints_m[limb.end] for limb in body.limbs]) - origin, view)
    unit = px_per_m * FINE
    corner = np.array(ground_px) * FINE
    a, b = starts[:, :2] * (unit, -unit) + corner, ends[:, :2] * (unit, -unit) + corner
    radii = np.array([(limb.start_radius_m, limb.end_radius_m) for limb in body.limbs]) * unit
    radii = np.maximum(radii, 0.5 * FINE)  # thinner ones would come and go
    along = b - a
    length = np.hypot(along[:, 0], along[:, 1])
    across = np.stack([-along[:, 1], along[:, 0]], 1) / np.maximum(length, 1e-6)[:, None]
    lift = radii[..., None] * (-0.15, -0.3)  # towards the light
    whole = _outlines(a, b, radii, across)
    lit = _outlines(a + lift[:, 0], b + lift[:, 1], LIT * radii, across)
    for index in np.argsort(starts[:, 2] + ends[:, 2], kind="stable"):
        part = body.limbs[index].part
        colour = coat.coat.colour(part)
        _limb(canvas, whole, index, colour, SHADE)
        _limb(canvas, lit, index, colour, 1.0)
        if coat.coat.pattern != "plain" and part in coat.coat.marked and length[index] > 3 * FINE:
            _mark(canvas, coat, a[index], along[index], across[index], radii[index])
    small = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
    return small[..., :3], small[..., 3:] / np.float32(255)


class _Outlines(NamedTuple):
    """Limbs in fixed-point samples."""

    polygons: NDArray[np.int32]  # (n, 4, 2)
    centres: list[list[list[int]]]  # (n, 2, 2)
    radii: list[list[int]]  # (n, 2)


def _outlines(a: Array, b: Array, radii: Array, across: Array) -> _Outlines:
    ra, rb = across * radii[:, :1], across * radii[:, 1:]
    fixed = 1 << BITS
    polygons = np.rint(np.stack([a + ra, b + rb, b - rb, a - ra], 1) * fixed).astype(np.int32)
    centres = np.rint(np.stack([a, b], 1) * fixed).astype(int).tolist()
    return _Outlines(polygons, centres, np.rint(radii * fixed).astype(int).tolist())


def _limb(canvas: Pixels, outlines: _Outlines, index: int, colour: RGB, share: float) -> None:
    ink = (255 * share * colour[0], 255 * share * colour[1], 255 * share * colour[2], 255.0)
    (start, end), (at_start, at_end) = outlines.centres[index], outlines.radii[index]
    cv2.circle(canvas, start, at_start, ink, -1, cv2.LINE_8, BITS)
    if start != end:
        cv2.circle(canvas, end, at_end, ink, -1, cv2.LINE_8, BITS)
        cv2.fillConvexPoly(canvas, outlines.polygons[index], ink, cv2.LINE_8, BITS)


def _mark(canvas: Pixels, coat: Coated, a: Array, along: Array, across: Array, radii: Array) -> None:
    """Bands round a limb, or blotches on it."""
    r, g, b = coat.coat.marking
    ink = (255 * r, 255 * g, 255 * b, 255.0)
    for far, aside in coat.marks:
        at, radius = a + far * along, float(radii[0] + far * (radii[1] - radii[0]))
        if coat.coat.pattern == "stripes":
            ends = [np.rint(at + side * 0.8 * radius * across).astype(int).tolist() for side in (-1, 1)]
            cv2.line(canvas, ends[0], ends[1], ink, max(round(0.22 * radius), 1))
        else:
            cv2.circle(
                canvas, np.rint(at + aside * radius * across).astype(int).tolist(), max(round(0.28 * radius), 1), ink, -1
            )


def _seen(points_m: Array, view: View) -> Array:
    """(n, 3) in body axes -> in camera axes, as `skeleton.project` does for joints by name."""
    heading, elevation = np.radians(view.heading_deg), np.radians(view.elevation_deg)
    turn = np.array([[np.cos(heading), -np.sin(heading), 0], [np.sin(heading), np.cos(heading), 0], [0, 0, 1]])
    look = np.array([[1, 0, 0], [0, np.sin(elevation), np.cos(elevation)], [0, -np.cos(elevation), np.sin(elevation)]])
    return points_m @ (look @ turn).T


# Backdrops -----------------------------------------------------------------------------------------------------------


def backdrop(name: str, width_px: int, height_px: int, rng: np.random.Generator) -> Picture:
    """What lies behind, out of focus: (height_px + 2 MARGIN_PX, 4 width_px, 3).

    Sharp places, as `drawing.py` has them behind postures, drown the figures for a network that has half a minute to learn: it
    told nine actions of 270 clips at 0.25 before them, and at 0.38 before blurred ones, with a camera that does not pan.

    It goes on round its sides: three frames wide, and its first frame again. So a window slides along it without a seam, to
    anywhere below 3 width_px.
    """
    half, tall = 3 * width_px // 2, height_px + 2 * MARGIN_PX
    if name == SKY:  # the upper half of a picture twice as high
        rgb = surroundings(str(rng.choice(OUTDOORS)), half, 2 * tall, rng).rgb[:tall]
    elif name == WATER:
        rgb = _shore(half, tall, rng)
    elif name == DEPTHS:
        rgb = _depths(half, tall, rng)
    else:
        rgb = surroundings(name, half, tall, rng).rgb
    rgb = 255 * rgb * np.exp(rng.normal(0, 0.12) + rng.normal(0, 0.04, 3)).astype(np.float32)
    rgb = cv2.blur(rgb, (BLUR_PX, BLUR_PX))
    rgb += FADED * (rgb.mean((0, 1)) - rgb)
    round_about = np.concatenate([rgb, rgb[:, ::-1]], axis=1)
    return np.concatenate([round_about, round_about[:, :width_px]], axis=1).clip(0, 255).astype(np.float32)


def _texture(width: int, height: int, stretch: tuple[int, int], rng: np.random.Generator) -> Picture:
    """Smooth noise, 0 to 1, stretched in y and x: (h, w, 1)."""
    rows, columns = ((np.arange(n) // by + rng.integers(256)) & 255 for n, by in zip((height, width), stretch, strict=True))
    return noise_tile(3)[rows[:, None], columns[None, :], None]


def _shore(width: int, height: int, rng: np.random.Generator) -> Picture:
    """A pond before whatever stands on its shore."""
    rgb = surroundings(str(rng.choice(OUTDOORS)), width, height, rng).rgb.copy()
    top = round(MARGIN_PX + WATERLINE * (height - 2 * MARGIN_PX))
    water = rng.uniform((0.1, 0.22, 0.26), (0.3, 0.42, 0.52)).astype(np.float32)
    rgb[top:] = water * (0.7 + 0.6 * _texture(width, height - top, (1, 5), rng))
    return rgb


def _depths(width: int, height: int, rng: np.random.Generator) -> Picture:
    """Under water: light from above, weeds, a floor."""
    water = rng.uniform((0.08, 0.3, 0.4), (0.25, 0.5, 0.65)).astype(np.float32)
    light = np.linspace(1.25, 0.7, height, dtype=np.float32)[:, None, None]
    rgb = np.ascontiguousarray(water * light * (0.85 + 0.3 * _texture(width, height, (4, 2), rng)))
    floor = int(height * rng.uniform(0.8, 0.95))
    rgb[floor:] = np.array((0.55, 0.5, 0.36), np.float32) * (0.6 + 0.5 * _texture(width, height - floor, (1, 1), rng))
    for x in rng.integers(0, width, 9):
        tall, lean = rng.uniform(0.15, 0.5) * height, rng.uniform(-8, 8)
        curve = [(x + lean * t**2, floor + 6 - tall * t) for t in np.linspace(0, 1, 6)]
        cv2.polylines(rgb, [np.rint(curve).astype(np.int32)], False, (0.1, float(rng.uniform(0.25, 0.45)), 0.15), 2)
    return rgb
