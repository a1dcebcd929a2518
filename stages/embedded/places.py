"""Places: the view of a fixed camera, drawn once from a seed, each with its terrain, plants, stones and cast of colour.

The ground is a plane below a level camera, so a point `distance_m` away on it lies `focal_px * height_m / distance_m`
below the horizon. What stands on it writes its distance too, so that a figure behind a tree is hidden by it.
"""

from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from stages.embedded.coats import RGB, Image
from stages.embedded.drawing import noise_tile
from stages.files import seed_from

FAR_M = 200.0  # what is farther counts as sky


class Terrain(NamedTuple):
    ground: RGB
    ground_too: RGB  # the ground's second colour, in blotches
    plants: RGB
    backdrop: RGB  # hills or far forest
    sky: RGB
    trees: int  # how many of each there are about
    bushes: int
    stones: int
    tufts: int


TERRAINS: dict[str, Terrain] = {
    "meadow": Terrain(
        (0.38, 0.42, 0.2), (0.5, 0.47, 0.27), (0.36, 0.45, 0.18), (0.22, 0.3, 0.18), (0.72, 0.8, 0.88), 2, 4, 1, 330,
    ),
    "forest": Terrain(
        (0.33, 0.26, 0.18), (0.24, 0.22, 0.13), (0.2, 0.3, 0.12), (0.13, 0.18, 0.1), (0.5, 0.58, 0.5), 13, 7, 2, 60,
    ),
    "desert": Terrain(
        (0.7, 0.58, 0.43), (0.6, 0.48, 0.34), (0.44, 0.46, 0.3), (0.55, 0.45, 0.42), (0.66, 0.79, 0.93), 0, 11, 7, 50,
    ),
    "wash": Terrain(
        (0.62, 0.58, 0.5), (0.5, 0.46, 0.4), (0.42, 0.45, 0.26), (0.34, 0.36, 0.27), (0.8, 0.85, 0.9), 2, 7, 22, 40,
    ),
    "chaparral": Terrain(
        (0.5, 0.4, 0.27), (0.42, 0.36, 0.22), (0.33, 0.36, 0.2), (0.36, 0.38, 0.3), (0.78, 0.83, 0.9), 1, 20, 4, 120,
    ),
    "oaks": Terrain(
        (0.66, 0.56, 0.32), (0.56, 0.48, 0.28), (0.6, 0.53, 0.28), (0.42, 0.42, 0.26), (0.76, 0.82, 0.9), 5, 3, 2, 260,
    ),
    "pines": Terrain(
        (0.42, 0.33, 0.24), (0.5, 0.42, 0.3), (0.22, 0.29, 0.17), (0.16, 0.22, 0.17), (0.68, 0.75, 0.8), 9, 3, 8, 40,
    ),
}  # fmt: skip


class Place(NamedTuple):
    """A camera's view under flat light."""

    rgb: Image  # (h, w, 3), 0 to 1
    distance_m: Image  # (h, w) of what is seen there
    standing: Image  # (h, w), 1 where something stands on the ground and can hide a figure, 0 on the ground
    horizon_px: float
    focal_px: float
    height_m: float  # of the camera above the ground

    def ground_px(self, across_m: float, distance_m: float) -> tuple[float, float]:
        """Where a point on the ground is seen: x, y."""
        x = self.rgb.shape[1] / 2 + self.focal_px * across_m / distance_m
        return x, self.horizon_px + self.focal_px * self.height_m / distance_m


@lru_cache(maxsize=64)
def place(number: int, width_px: int, height_px: int, seed: int) -> Place:
    """Draw place `number`. The same arguments give the same place, whatever was drawn before."""
    rng = np.random.default_rng(seed_from("place", seed, number))
    names = list(TERRAINS)
    terrain = TERRAINS[names[(number + seed) % len(names)]]
    fine = 2  # drawn twice as large, then reduced
    w, h = width_px * fine, height_px * fine
    horizon, focal = h * rng.uniform(0.24, 0.44), w * rng.uniform(0.95, 1.25)
    camera_m = rng.uniform(0.65, 1.25)
    cast = np.exp(rng.normal(0, 0.06, 3)).astype(np.float32)

    canvas = _Canvas(_backdrop(terrain, w, h, horizon, rng), np.full((h, w), FAR_M, np.float32), horizon, focal, camera_m)
    _ground(canvas, terrain, rng)
    things = [  # what to draw, how many about, how near and how far in metres
        (_tree, terrain.trees, 3.2, 30.0),
        (_bush, terrain.bushes, 2.6, 22.0),
        (_stone, terrain.stones, 2.0, 16.0),
        (_tuft, terrain.tufts, 1.3, 14.0),
    ]
    todo = [
        (float(np.exp(rng.uniform(np.log(near), np.log(far)))), draw)
        for draw, count, near, far in things
        for _ in range(rng.poisson(count) if count < 40 else count)
    ]
    for distance_m, draw in sorted(todo, key=lambda item: -item[0]):
        draw(canvas, terrain, distance_m, rng)
    rgb = cv2.resize(np.clip(canvas.rgb * cast, 0, 1), (width_px, height_px), interpolation=cv2.INTER_AREA)
    standing = cv2.resize(canvas.standing, (width_px, height_px), interpolation=cv2.INTER_AREA)
    distance = canvas.distance_m[::fine, ::fine].copy()
    return Place(rgb, distance, standing, horizon / fine, focal / fine, camera_m)


class _Canvas:
    def __init__(self, rgb: Image, distance_m: Image, horizon: float, focal: float, camera_m: float) -> None:
        self.rgb, self.distance_m, self.standing = rgb, distance_m, np.zeros_like(distance_m)
        self.horizon, self.focal, self.camera_m = horizon, focal, camera_m

    def foot(self, distance_m: float, rng: np.random.Generator) -> tuple[float, float, float]:
        """A random place on the ground at a distance: x, y in pixels, and pixels per metre."""
        scale = self.focal / distance_m
        return rng.uniform(-0.05, 1.05) * self.rgb.shape[1], self.horizon + scale * self.camera_m, scale

    def put(self, x: int, y: int, rgb: Image, mask: Image, distance_m: float) -> None:
        """Paint a picture where its mask is over a half, with its left upper corner at x, y."""
        h, w = self.distance_m.shape
        x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + mask.shape[1], w), min(y + mask.shape[0], h)
        if x0 >= x1 or y0 >= y1:
            return
        there, here = np.s_[y0:y1, x0:x1], np.s_[y0 - y : y1 - y, x0 - x : x1 - x]
        on = mask[here] > 0.5
        self.rgb[there][on] = rgb[here][on]
        self.distance_m[there][on] = distance_m
        self.standing[there][on] = 1


def _texture(h: int, w: int, rng: np.random.Generator, stretch: tuple[float, float] = (1, 1)) -> Image:
    """A random cut of smooth noise, stretched in y and x: (h, w)."""
    rows = (np.arange(h) / stretch[0] + rng.integers(256)).astype(int) & 255
    columns = (np.arange(w) / stretch[1] + rng.integers(256)).astype(int) & 255
    return noise_tile(3)[rows[:, None], columns[None, :]]


def _backdrop(terrain: Terrain, w: int, h: int, horizon: float, rng: np.random.Generator) -> Image:
    """Sky, hills and a far line of plants."""
    y = np.linspace(0, 1, h, dtype=np.float32)[:, None, None]
    sky = np.array(terrain.sky, np.float32)
    rgb = np.broadcast_to(sky * (0.86 + 0.2 * y), (h, w, 3)).copy()
    rgb += 0.1 * (_texture(h, w, rng, (2, 5)) - 0.5)[..., None]
    rows = np.arange(h)[:, None]
    steep = horizon * rng.uniform(0.1, 1.3)
    for layer, haze in ((0, 0.55), (1, 0.25), (2, 0.0)):
        ridge = cv2.GaussianBlur(_texture(1, w, rng, (1, 6 - 2 * layer)), (0, 0), 14 - 5 * layer)[0]
        top = horizon * (0.42 + 0.2 * layer + rng.uniform(-0.1, 0.1)) - (ridge - 0.5) * steep * rng.uniform(0.7, 1.2)
        leaves = _texture(h, w, rng, (1.2, 1.2)) * (0.25 + 0.1 * layer)
        under = rows > top[None, :] - leaves * (26 if layer else 8)
        colour = np.array(terrain.backdrop, np.float32) * (1 - haze) + sky * haze
        shade = (0.84 + 0.32 * _texture(h, w, rng, (1.5, 1.0)))[..., None]
        rgb = np.where(under[..., None], colour * shade, rgb)
    return rgb.astype(np.float32)


def _ground(canvas: _Canvas, terrain: Terrain, rng: np.random.Generator) -> None:
    """The plane, with two colours in blotches and perhaps a path across it or away from the camera."""
    h, w = canvas.distance_m.shape
    first = int(canvas.horizon) + 1
    below = np.arange(first, h, dtype=np.float32)[:, None] - np.float32(canvas.horizon)
    away_m = np.minimum(canvas.focal * canvas.camera_m / below, FAR_M - 1) * np.ones((1, w), np.float32)
    across_m = (np.arange(w, dtype=np.float32)[None, :] - w / 2) * away_m / canvas.focal
    tile = noise_tile(5)

    def noise(per_m: float) -> Image:
        u, v = rng.uniform(0, 256, 2)
        at = np.mod(across_m * per_m + u, 255).astype(np.float32), np.mod(away_m * per_m + v, 255).astype(np.float32)
        return cv2.remap(tile, at[0], at[1], cv2.INTER_LINEAR)

    near = np.clip(6 / away_m, 0.15, 1)
    blotches = np.clip((noise(22) - 0.5) * 3 + 0.5, 0, 1)[..., None]
    grain = 1 + ((noise(160) - 0.5) * 0.55 * near + (noise(55) - 0.5) * 0.45)[..., None]
    rgb = np.array(terrain.ground, np.float32) * (1 - blotches) + np.array(terrain.ground_too, np.float32) * blotches
    if rng.random() < 0.65:
        heading, start_m = rng.uniform(-1.3, 1.3), rng.uniform(-1.5, 1.5)
        aside = (across_m - start_m) * np.cos(heading) - (away_m - 5) * np.sin(heading) + 0.5 * (noise(10) - 0.5)
        path = np.clip((rng.uniform(0.35, 0.8) - np.abs(aside)) / 0.2 + 0.5, 0, 1)[..., None]
        rgb += 0.75 * path * (np.array(terrain.ground, np.float32) * 0.4 + np.array([0.36, 0.31, 0.25], np.float32) - rgb)
    haze = np.clip(away_m / 70, 0, 0.6)[..., None]
    rgb = rgb * grain * (1 - haze) + np.array(terrain.backdrop, np.float32) * haze
    canvas.rgb[first:] = rgb
    canvas.distance_m[first:] = away_m


def _tree(canvas: _Canvas, terrain: Terrain, distance_m: float, rng: np.random.Generator) -> None:
    x, y, scale = canvas.foot(distance_m, rng)
    half = max(int(scale * rng.uniform(0.09, 0.26)), 2)
    tall = int(min(y, scale * 12)) + 1
    lean, taper = rng.normal(0, 0.06), rng.uniform(0.25, 0.55)
    wide = half * 2 + int(abs(lean) * tall) * 2 + 4
    rows = np.linspace(1, 0, tall, dtype=np.float32)[:, None]  # 0 at the foot
    columns = np.arange(wide, dtype=np.float32)[None, :] - wide / 2 - lean * tall * rows
    radius = half * (1 - taper * rows * min(1, tall / (scale * 6))) * (1 + 0.5 * np.exp(-rows * tall / (0.25 * scale)))
    radius = radius * (0.9 + 0.2 * _texture(tall, 1, rng, (2, 1)))
    roundness = np.clip(1 - (columns / radius) ** 2, 0, 1)
    bark = 0.55 + 0.9 * _texture(tall, wide, rng, (3.5, 0.8))
    colour = np.array([0.3, 0.25, 0.2], np.float32) * rng.uniform(0.7, 1.4)
    light = (0.45 + 0.6 * np.sqrt(roundness) - 0.2 * columns / radius) * bark
    canvas.put(int(x - wide / 2), int(y) - tall + 1, colour * light[..., None], (roundness > 0).astype(np.float32), distance_m)
    crown_y = y - scale * rng.uniform(2.6, 4.5)
    for _ in range(3):
        _leaves(
            canvas,
            terrain,
            distance_m,
            x + rng.normal(0, 0.9) * scale,
            crown_y,
            scale * rng.uniform(0.9, 1.6),
            0.75,
            rng,
        )


def _bush(canvas: _Canvas, terrain: Terrain, distance_m: float, rng: np.random.Generator) -> None:
    x, y, scale = canvas.foot(distance_m, rng)
    size = scale * rng.uniform(0.18, 0.55)
    for _ in range(3):
        _leaves(canvas, terrain, distance_m, x + rng.normal(0, 0.5) * size, y - 0.55 * size, 0.75 * size, 0.8, rng)


def _leaves(
    canvas: _Canvas,
    terrain: Terrain,
    distance_m: float,
    x: float,
    y: float,
    size: float,
    flat: float,
    rng: np.random.Generator,
) -> None:
    """A ball of leaves round x, y."""
    half = max(int(size), 3)
    dy, dx = np.mgrid[-half : half + 1, -half : half + 1].astype(np.float32) / half
    grain = float(np.clip(size / 22, 0.5, 2.2))
    texture = _texture(2 * half + 1, 2 * half + 1, rng, (grain, grain))
    mask = (1.1 - np.sqrt(dx**2 + (dy / flat) ** 2)) * 1.6 + (texture - 0.5) * 1.5
    colour = np.array(terrain.plants, np.float32) * rng.uniform(0.7, 1.15) * np.exp(rng.normal(0, 0.06, 3))
    light = 0.7 - 0.35 * dy - 0.12 * dx + 0.9 * (_texture(2 * half + 1, 2 * half + 1, rng, (grain, grain)) - 0.5)
    canvas.put(int(x) - half, int(y) - half, (colour * light[..., None]).astype(np.float32), mask, distance_m)


def _stone(canvas: _Canvas, terrain: Terrain, distance_m: float, rng: np.random.Generator) -> None:
    x, y, scale = canvas.foot(distance_m, rng)
    half = max(int(scale * rng.uniform(0.05, 0.3)), 2)
    dy, dx = np.mgrid[-half : half // 3 + 1, -half : half + 1].astype(np.float32) / half
    texture = _texture(dy.shape[0], dy.shape[1], rng)
    mask = (1 - (dx**2 + (dy / rng.uniform(0.5, 0.85)) ** 2)) * 1.5 + 0.5 + (texture - 0.5) * 0.5
    colour = (np.array([0.5, 0.47, 0.43]) * 0.6 + np.array(terrain.ground) * 0.4) * rng.uniform(0.75, 1.2)
    light = 0.72 - 0.5 * dy - 0.2 * dx + 0.5 * (texture - 0.5)
    canvas.put(int(x) - half, int(y) - half, (colour * light[..., None]).astype(np.float32), mask, distance_m)


def _tuft(canvas: _Canvas, terrain: Terrain, distance_m: float, rng: np.random.Generator) -> None:
    x, y, scale = canvas.foot(distance_m, rng)
    tall = scale * rng.uniform(0.08, 0.26)
    blades = int(rng.integers(5, 12))
    ends = np.stack([x + rng.normal(0, 0.45, blades) * tall, y - tall * rng.uniform(0.5, 1.1, blades)], -1)
    feet = np.stack([x + rng.normal(0, 0.22, blades) * tall, np.full(blades, y)], -1)
    thick = max(int(0.011 * scale), 1)
    for end, foot in zip(ends.astype(int), feet.astype(int), strict=True):
        colour = np.array(terrain.plants) * rng.uniform(0.6, 1.35)
        shown = tuple(float(c) for c in colour)
        cv2.line(canvas.rgb, tuple(map(int, foot)), tuple(map(int, end)), shown, thick, cv2.LINE_AA)
        if distance_m < 8:
            cv2.line(canvas.distance_m, tuple(map(int, foot)), tuple(map(int, end)), distance_m, thick)
            cv2.line(canvas.standing, tuple(map(int, foot)), tuple(map(int, end)), 1.0, thick)
