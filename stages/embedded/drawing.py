"""Draw a posed body: tapered limbs with depth, light and coat, antialiased, as a patch with its exact box.

Axes of arrays: h rows, w columns of pixels; y grows downwards here, as in images.
"""

from functools import cache
from typing import NamedTuple

import cv2
import numpy as np

from stages.embedded.coats import PATTERNS, Coat, Image
from stages.embedded.skeleton import Array, Body, View, project

Box = tuple[int, int, int, int]  # x, y, width, height in pixels

DRAWN = 0.5  # a pixel belongs to a figure when at least this share of it is covered
BRIGHTEST_COAT = 0.95  # only shining eyes are brighter
_UNDERSIDES = ("trunk", "neck", "tail", "head", "thigh")


class Patch(NamedTuple):
    """A figure drawn on nothing. Its top left pixel lies at `left_px`, `top_px` from the ground point."""

    rgb: Image  # (h, w, 3), 0 to 1, not multiplied by alpha
    alpha: Image  # (h, w), share of the pixel that is covered
    left_px: int
    top_px: int
    joints_px: dict[str, Array]  # name -> (2,) x, y from the ground point
    hidden: frozenset[str]  # joints behind another part of the figure


def box_of(alpha: Image) -> Box | None:
    """The smallest box round all pixels that are covered enough; None if there is none."""
    drawn = alpha >= DRAWN
    columns, rows = np.flatnonzero(drawn.any(axis=0)), np.flatnonzero(drawn.any(axis=1))
    if not len(columns):
        return None
    x, y = int(columns[0]), int(rows[0])
    return x, y, int(columns[-1]) - x + 1, int(rows[-1]) - y + 1


@cache
def noise_tile(seed: int, size: int = 256, octaves: int = 4) -> Image:
    """Smooth noise that tiles, 0 to 1 with mean 0.5: (size, size)."""
    rng = np.random.default_rng(seed)
    total = np.zeros((size, size), np.float32)
    for octave in range(octaves):
        cells = 16 * 2**octave
        grid = np.pad(rng.random((cells, cells), np.float32), 2, mode="wrap")
        scale = size // cells
        fine = cv2.resize(grid, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        total += fine[2 * scale : 2 * scale + size, 2 * scale : 2 * scale + size] * 0.55**octave
    flat = (total - total.mean()) / (4 * total.std()) + 0.5
    return np.clip(flat, 0, 1).astype(np.float32)


def draw(
    body: Body,
    coat: Coat,
    view: View,
    px_per_m: float,
    light: tuple[float, float, float] = (-0.4, 0.7, 0.6),
    pattern_seed: int = 0,
    eye_shine: float = 0.0,
) -> Patch:
    """Draw a body as a view sees it.

    `light` points to the sun in camera axes (x right, y up, z towards the viewer); `pattern_seed` places the markings;
    an `eye_shine` above 1 lets eyes outshine everything, as in a flash.
    """
    seen = project(body, view)
    reach_m = [
        (seen[name][:2] - radius, seen[name][:2] + radius)
        for limb in body.limbs
        for name, radius in ((limb.start, limb.start_radius_m), (limb.end, limb.end_radius_m))
    ]
    low, high = np.min([r[0] for r in reach_m], axis=0), np.max([r[1] for r in reach_m], axis=0)
    size_px = float(max(high - low)) * px_per_m
    fine = int(np.clip(np.ceil(150 / max(size_px, 1.0)), 2, 4))  # small figures need more samples a pixel
    left, top = int(np.floor(low[0] * px_per_m)) - 1, int(np.floor(-high[1] * px_per_m)) - 1
    width, height = int(np.ceil(high[0] * px_per_m)) + 1 - left, int(np.ceil(-low[1] * px_per_m)) + 1 - top

    scale = px_per_m * fine
    shift = np.array([-left * fine, -top * fine, 0])
    at = {name: p * np.array([scale, -scale, scale]) + shift for name, p in seen.items()}
    surface = _Surface(height * fine, width * fine)
    parts = list(dict.fromkeys(limb.part for limb in body.limbs))
    root = at[body.limbs[0].start]
    for limb in body.limbs:
        a, b = at[limb.start], at[limb.end]
        past = float(np.linalg.norm(a - root))  # so that markings run on from one limb of the trunk to the next
        surface.add(a, b, limb.start_radius_m * scale, limb.end_radius_m * scale, parts.index(limb.part), past)
    length_px = scale * float(np.linalg.norm(body.joints_m["chest"] - body.joints_m["rump"])) if "rump" in at else scale
    rgb = _shade(surface, parts, coat, view, np.array(light, np.float32), length_px, pattern_seed)
    if eye_shine and "eye" in parts:
        rgb[surface.part == parts.index("eye")] = eye_shine
    covered = (surface.near > -np.inf).astype(np.float32)
    alpha = cv2.resize(covered, (width, height), interpolation=cv2.INTER_AREA)
    colour = cv2.resize(rgb * covered[..., None], (width, height), interpolation=cv2.INTER_AREA)
    colour = colour / np.maximum(alpha, 1e-6)[..., None]
    joints_px = {name: np.array([p[0], -p[1]]) * px_per_m for name, p in seen.items()}
    hidden = surface.hidden(at, _radii_px(body, scale))
    return Patch(np.clip(colour, 0, 1), alpha, left, top, joints_px, hidden)


def _radii_px(body: Body, scale: float) -> dict[str, float]:
    """{joint: the largest radius of a limb there}; joints that bear no limb left out."""
    radii: dict[str, float] = {}
    for limb in body.limbs:
        for name, radius_m in ((limb.start, limb.start_radius_m), (limb.end, limb.end_radius_m)):
            radii[name] = max(radii.get(name, 0.0), radius_m * scale)
    return radii


class _Surface:
    """What is nearest the camera at every sample: its depth, normal, limb and place along the limb."""

    def __init__(self, height: int, width: int) -> None:
        shape = (height, width)
        self.near = np.full(shape, -np.inf, np.float32)
        self.normal = np.zeros((3, *shape), np.float32)  # x right, y down, z towards the viewer
        self.along = np.zeros(shape, np.float32)
        self.part = np.zeros(shape, np.uint8)

    def add(self, a: Array, b: Array, ra: float, rb: float, part: int, past: float) -> None:
        axis = b[:2] - a[:2]
        length = float(np.hypot(*axis))
        if length <= abs(ra - rb) + 1e-6:  # one end hides in the other's outline: two spheres
            if length > 0 or ra != rb or not np.array_equal(a, b):
                self.add(b, b, rb, rb, part, past)
                self.add(a, a, ra, ra, part, past)
                return
            axis, length = np.array([1e-6, 0.0]), 1e-6
        height, width = self.near.shape
        x0, x1 = max(int(min(a[0] - ra, b[0] - rb)), 0), min(int(max(a[0] + ra, b[0] + rb)) + 2, width)
        y0, y1 = max(int(min(a[1] - ra, b[1] - rb)), 0), min(int(max(a[1] + ra, b[1] + rb)) + 2, height)
        if x0 >= x1 or y0 >= y1:
            return
        window = np.s_[y0:y1, x0:x1]
        dx = (np.arange(x0, x1, dtype=np.float32) + np.float32(0.5 - a[0]))[None, :]
        dy = (np.arange(y0, y1, dtype=np.float32) + np.float32(0.5 - a[1]))[:, None]
        ux, uy = np.float32(axis[0] / length), np.float32(axis[1] / length)
        lengthwise, across = dx * ux + dy * uy, dy * ux - dx * uy
        # A cone's surface is not above the centre of the sphere that makes it, but a little towards the thin end.
        taper = (ra - rb) / length
        foot = lengthwise - np.abs(across) * np.float32(taper / np.sqrt(max(1 - taper**2, 1e-6)))
        t = np.clip(foot / np.float32(length), 0, 1)
        radius = np.float32(ra) + t * np.float32(rb - ra)
        over = lengthwise - t * np.float32(length)
        bulge2 = radius**2 - over**2 - across**2
        bulge = np.sqrt(np.maximum(bulge2, 0))
        near = np.float32(a[2]) + t * np.float32(b[2] - a[2]) + bulge
        closer = (bulge2 > 0) & (near > self.near[window] + 0.01 * max(ra, rb))  # by more than rounding, at shared joints
        np.copyto(self.near[window], near, where=closer)
        inverse = 1 / np.maximum(radius, 1e-6)
        np.copyto(self.normal[0][window], (over * ux - across * uy) * inverse, where=closer)
        np.copyto(self.normal[1][window], (over * uy + across * ux) * inverse, where=closer)
        np.copyto(self.normal[2][window], bulge * inverse, where=closer)
        along = t * np.float32(np.linalg.norm(b - a)) + np.float32(past)
        np.copyto(self.along[window], along, where=closer)
        np.copyto(self.part[window], part, where=closer)

    def hidden(self, at: dict[str, Array], radii_px: dict[str, float]) -> frozenset[str]:
        """The joints whose own limb is not what the camera sees there."""
        height, width = self.near.shape
        found = set()
        for name, (x, y, near) in at.items():
            column, row = min(max(int(x), 0), width - 1), min(max(int(y), 0), height - 1)
            if self.near[row, column] > near + 1.7 * radii_px.get(name, max(radii_px.values())):
                found.add(name)
        return frozenset(found)


def _shade(
    surface: _Surface, parts: list[str], coat: Coat, view: View, light: Image, length_px: float, pattern_seed: int
) -> Image:
    """Colours of every sample: coat, markings, underside, fur and light: (h, w, 3)."""
    tilt = np.radians(view.elevation_deg)
    spread_px = max(0.035 * length_px, 0.5)  # soft flesh: no seams where limbs meet
    nx, ny, nz = cv2.GaussianBlur(surface.normal.transpose(1, 2, 0), (0, 0), spread_px).transpose(2, 0, 1)
    up = -ny * np.float32(np.cos(tilt)) + nz * np.float32(np.sin(tilt))
    along = surface.along / np.float32(length_px)
    tile = noise_tile(11)

    def noise(frequency: float) -> Image:
        column = along * np.float32(16 * frequency) + pattern_seed % 251
        row = (2 * up + nx) * np.float32(2 * frequency) + pattern_seed % 241
        return tile[row.astype(np.int32) & 255, column.astype(np.int32) & 255]

    colours = np.array([coat.colour(part) for part in parts], np.float32)
    rgb = colours[surface.part]
    if "belly" in coat.parts:
        below = np.isin(parts, _UNDERSIDES)[surface.part] * np.clip((-up - 0.05) / 0.4, 0, 1)
        rgb += below[..., None] * (np.array(coat.parts["belly"], np.float32) - rgb)
    if coat.pattern != "plain":
        marked = np.isin(parts, coat.marked)[surface.part] * PATTERNS[coat.pattern](along, up, noise)
        rgb += marked[..., None].astype(np.float32) * (np.array(coat.marking, np.float32) - rgb)
    light = light / np.linalg.norm(light)
    lit = nx * light[0] - ny * light[1] + nz * light[2]
    brightness = (0.62 + 0.42 * lit + 0.1 * up) * (0.86 + 0.28 * noise(5.0))
    return np.clip(rgb * np.maximum(brightness, 0.15)[..., None], 0, BRIGHTEST_COAT)
