"""The second drawing style: cartoons in flat colours with outlines, without texture, light or lens.

It is what the synthetic pictures of the embedded profile are drawn in: as far from the photos of `scenes.py` as pictures of a
text-to-image model are from real photos, and never to be taken for them.
"""

from itertools import groupby

import cv2
import numpy as np
from numpy.typing import NDArray

from stages.embedded.coats import RGB, Coat
from stages.embedded.portraits import extent_m
from stages.embedded.skeleton import Array, Body, Limb, View, project

FINE = 4  # samples for each pixel, in x and in y
OUTLINE = 0.018  # of the picture's side
FAR_SHADE = 0.72  # of the colour, for legs on the far side
INK: RGB = (0.08, 0.07, 0.09)
SKIES: tuple[RGB, ...] = ((0.66, 0.85, 0.97), (0.98, 0.89, 0.7), (0.85, 0.83, 0.97), (0.95, 0.95, 0.92))
GROUNDS: tuple[RGB, ...] = ((0.55, 0.78, 0.4), (0.9, 0.8, 0.55), (0.7, 0.72, 0.75), (0.74, 0.56, 0.42))


def sketch(body: Body, coat: Coat, view: View, side_px: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A square cartoon of a body that fills most of it: RGB (side_px, side_px, 3)."""
    side = side_px * FINE
    canvas = _background(side, rng)
    seen = project(body, view)
    box_m = extent_m(body, view)
    low, high = box_m[:2], box_m[2:]
    scale = rng.uniform(0.66, 0.84) * side / float(max(high - low))
    middle = (low + high) / 2 + rng.uniform(-0.06, 0.06, 2) * side / scale
    corner = np.array([middle[0] - side / scale / 2, middle[1] + side / scale / 2, 0])
    at = {name: (point - corner) * [scale, -scale, scale] for name, point in seen.items()}
    groups = [list(limbs) for _, limbs in groupby(body.limbs, key=_member)]
    depth = {id(group): np.mean([at[limb.end][2] + limb.end_radius_m * scale for limb in group]) for group in groups}
    trunk = next(depth[id(group)] for group in groups if group[0].part == "trunk")
    for group in sorted(groups, key=lambda group: depth[id(group)]):
        shade = FAR_SHADE if depth[id(group)] < trunk and group[0].part == "thigh" else 1.0
        for limb in group:
            _capsule(canvas, at, limb, scale, OUTLINE * side, INK)
        for limb in group:
            colour = [shade * value for value in coat.colour(limb.part)]
            _capsule(canvas, at, limb, scale, 0.0, (colour[0], colour[1], colour[2]))
    small = cv2.resize(canvas, (side_px, side_px), interpolation=cv2.INTER_AREA)
    return (np.clip(small, 0, 1) * 255 + 0.5).astype(np.uint8)


def _member(limb: Limb) -> str:
    """What is outlined as one: a leg, an ear, the trunk with all that is of its part."""
    name = "_".join(limb.start.split("_")[:2])
    return name if limb.part in ("thigh", "leg", "foot", "ear", "horn", "eye") else limb.part


def _background(side: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Two flat colours, and perhaps a hill and a sun."""
    canvas = np.empty((side, side, 3), np.float32)
    canvas[:] = SKIES[rng.integers(len(SKIES))]
    horizon = int(rng.uniform(0.45, 0.75) * side)
    ground = np.array(GROUNDS[rng.integers(len(GROUNDS))])
    if rng.random() < 0.5:
        hill = tuple((0.82 * ground).tolist())
        cv2.circle(canvas, (int(rng.uniform(0, 1) * side), horizon + side // 5), side // 2, hill, -1)
    if rng.random() < 0.4:
        cv2.circle(canvas, (int(rng.uniform(0.1, 0.9) * side), side // 7), side // 12, (0.99, 0.87, 0.35), -1)
    canvas[horizon:] = ground
    return canvas


def _capsule(canvas: NDArray[np.float32], at: dict[str, Array], limb: Limb, scale: float, wider: float, colour: RGB) -> None:
    """A limb in one colour: a disc at each end and what lies between them."""
    a, b = at[limb.start][:2], at[limb.end][:2]
    ra, rb = limb.start_radius_m * scale + wider, limb.end_radius_m * scale + wider
    along = b - a
    length = float(np.hypot(*along))
    if length > 1e-6:
        across = np.array([-along[1], along[0]]) / length
        outline = np.array([a + ra * across, b + rb * across, b - rb * across, a - ra * across])
        cv2.fillConvexPoly(canvas, np.rint(outline).astype(np.int32), colour)
    for centre, radius in ((a, ra), (b, rb)):
        cv2.circle(canvas, (round(centre[0]), round(centre[1])), max(round(radius), 1), colour, -1)
