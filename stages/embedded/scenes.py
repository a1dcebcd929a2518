"""Compose one picture: a place in some light, figures on its ground with shadows, what hides them, blur and noise."""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from stages.embedded.coats import Image
from stages.embedded.drawing import BRIGHTEST_COAT, DRAWN, Box, Patch, box_of, draw, noise_tile
from stages.embedded.figures import Figure, pose
from stages.embedded.places import Place
from stages.embedded.skeleton import Array, View

FLASH_M = 4.5  # the distance for which the infrared flash is set
LEAST_VISIBLE_PX = 25.0  # a figure with less than this area in the picture, or
LEAST_VISIBLE_SHARE = 0.2  # less than this share of its area, is not there: nobody could name it


class Light(NamedTuple):
    """The light and the weather of one sequence."""

    night: bool  # infrared flash, no colour
    sun: tuple[float, float, float]  # direction to it, in camera axes: x right, y up, z towards the viewer
    gain: tuple[float, float, float]  # exposure of each channel
    shadow: float  # darkness of shadows, 0 under clouds
    dapple: float  # darkness of the shadows of leaves and clouds on the ground
    haze: float  # share of far things that fog hides
    blur_px: float  # sigma of the lens
    noise: float  # sigma of the sensor's noise, of 1
    shift_px: tuple[int, int]  # how far the camera has sagged
    drift: int  # where the noise that makes dapples is cut


class Actor(NamedTuple):
    """A figure in a scene."""

    figure: Figure
    posture: str
    phase: float  # in turns
    heading_deg: float  # 0 faces right, 90 away from the camera
    across_m: float  # to the right of the picture's middle
    distance_m: float
    smear_px: int = 0  # how far it moves sideways while the shutter is open
    pattern_seed: int = 0


class Drawn(NamedTuple):
    box_px: Box | None  # of what can be seen; None when too little can
    visible: float  # share of its area that is in the picture and not hidden
    joints_px: dict[str, Array]  # name -> (2,) x, y in the picture, hidden or not
    hidden: frozenset[str]  # joints that cannot be seen: behind something, behind the figure itself or outside


def draw_light(rng: np.random.Generator, night: bool) -> Light:
    """A random light: hour, weather, and the small ways in which a camera differs from one day to the next."""
    azimuth, clear = rng.uniform(0, 2 * np.pi), rng.random() < 0.6
    height = rng.uniform(0.5, 1.4)
    exposure = float(np.exp(rng.normal(0, 0.14)))
    warmth = rng.normal(0.03, 0.05)
    return Light(
        night,
        (float(np.cos(azimuth)), height, float(np.sin(azimuth))),
        (exposure * (1 + warmth), exposure, exposure * (1 - warmth)),
        shadow=rng.uniform(0.3, 0.5) if clear else 0.06,
        dapple=rng.uniform(0.0, 0.45) if clear else 0.0,
        haze=0.0 if rng.random() < 0.8 else rng.uniform(0.2, 0.7),
        blur_px=rng.uniform(0.3, 0.65) if rng.random() < 0.9 else rng.uniform(0.8, 1.3),
        noise=rng.uniform(0.015, 0.035) if night else rng.uniform(0.006, 0.018),
        shift_px=(int(rng.integers(-3, 4)), int(rng.integers(-2, 3))),
        drift=int(rng.integers(256)),
    )


def render(place: Place, light: Light, actors: list[Actor], rng: np.random.Generator) -> tuple[NDArray[np.uint8], list[Drawn]]:
    """The picture (h, w, 3) in RGB, and what can be seen of each actor, in their order."""
    place = _shifted(place, light.shift_px)
    image = _lit(place, light)
    covers: dict[int, Image] = {}  # actor -> (h, w) share of each pixel that shows it
    areas: dict[int, float] = {}
    joints: dict[int, dict[str, Array]] = {}
    hidden: dict[int, frozenset[str]] = {}
    for index in sorted(range(len(actors)), key=lambda i: -actors[i].distance_m):
        actor = actors[index]
        x, y = place.ground_px(actor.across_m, actor.distance_m)
        patch = _patch(place, light, actor)
        colour, alpha = _pasted(patch, round(x), round(y), image.shape)
        areas[index] = float(patch.alpha.sum())
        joints[index] = {name: joint + np.array([round(x), round(y)]) for name, joint in patch.joints_px.items()}
        hidden[index] = patch.hidden
        shown = 1 - place.standing * (place.distance_m < actor.distance_m)
        _cast_shadow(image, alpha, shown, round(y), light, place.height_m / actor.distance_m)
        alpha *= shown
        image += alpha[..., None] * (colour - image)
        for cover in covers.values():
            cover *= 1 - alpha
        covers[index] = alpha
    drawn = []
    for index in range(len(actors)):
        area = float(covers[index].sum())
        visible = area / areas[index]
        is_seen = area >= LEAST_VISIBLE_PX and visible >= LEAST_VISIBLE_SHARE
        unseen = hidden[index] | {name for name, at in joints[index].items() if not _is_in(covers[index], at)}
        drawn.append(Drawn(box_of(covers[index]) if is_seen else None, visible, joints[index], unseen))
    return _exposed(image, light, rng), drawn


def _is_in(cover: Image, at: Array) -> bool:
    """Whether a figure is seen round a point: the joint's own pixel or one beside it."""
    x, y = int(np.floor(at[0])), int(np.floor(at[1]))
    near = cover[max(y - 1, 0) : max(y + 2, 0), max(x - 1, 0) : max(x + 2, 0)]
    return bool(near.size and near.max() >= DRAWN)


def _shifted(place: Place, shift_px: tuple[int, int]) -> Place:
    dx, dy = shift_px
    margin = max(abs(dx), abs(dy), 1)
    h, w = place.distance_m.shape

    def moved(picture: Image) -> Image:
        wide = cv2.copyMakeBorder(picture, margin, margin, margin, margin, cv2.BORDER_REPLICATE)
        return wide[margin - dy : margin - dy + h, margin - dx : margin - dx + w]

    rgb, distance_m, standing = moved(place.rgb), moved(place.distance_m), moved(place.standing)
    return place._replace(rgb=rgb, distance_m=distance_m, standing=standing, horizon_px=place.horizon_px + dy)


def _flash(distance_m: Image | float) -> Image:
    """How bright the infrared flash makes a thing at a distance; 1 at `FLASH_M`."""
    return np.clip((FLASH_M / np.maximum(distance_m, 1.2)) ** 1.15, 0.0, 1.35)


def _infrared(rgb: Image) -> Image:
    """Reflectance in the near infrared, where plants and fur are pale: (..., 1) for (..., 3)."""
    return 0.16 + 0.62 * (0.45 * rgb[..., :1] + 0.35 * rgb[..., 1:2] + 0.2 * rgb[..., 2:])


def _lit(place: Place, light: Light) -> Image:
    """The empty place in a light: (h, w, 3), a copy."""
    if light.night:
        return np.repeat(_infrared(place.rgb) * (0.92 * _flash(place.distance_m))[..., None], 3, axis=2)
    h, w = place.distance_m.shape
    image = place.rgb * np.array(light.gain, np.float32)
    if light.dapple:
        rows, columns = (np.arange(h) * 2 + light.drift) & 255, (np.arange(w) + 3 * light.drift) & 255
        shade = np.clip((noise_tile(7)[rows[:, None], columns[None, :]] - 0.5) * 6 + 0.5, 0, 1)
        image *= (1 - light.dapple * shade * (place.distance_m < 60))[..., None]
    if light.haze:
        fog = (light.haze * np.clip(place.distance_m / 40, 0, 1))[..., None]
        image += fog * (np.float32(0.78) - image)
    return image


def _patch(place: Place, light: Light, actor: Actor) -> Patch:
    """The actor as the light and the shutter leave it."""
    body = pose(actor.figure, actor.posture, actor.phase)
    elevation_deg = float(np.degrees(np.arctan2(place.height_m, actor.distance_m)))
    view = View(actor.heading_deg, elevation_deg)
    px_per_m = place.focal_px / actor.distance_m
    sun = (0.1, 0.3, 1.0) if light.night else light.sun
    patch = draw(body, actor.figure.coat, view, px_per_m, sun, actor.pattern_seed, 14.0 if light.night else 0.0)
    if light.night:
        shine = patch.rgb.min(axis=2, keepdims=True) > BRIGHTEST_COAT + 0.02
        grey = np.where(shine, 1.0, _infrared(patch.rgb) * _flash(actor.distance_m) * 1.15)
        patch = patch._replace(rgb=np.repeat(grey.astype(np.float32), 3, axis=2))
    else:
        fog = light.haze * min(actor.distance_m / 40, 1)
        patch = patch._replace(rgb=patch.rgb * np.array(light.gain, np.float32) * (1 - fog) + np.float32(0.78 * fog))
    return _smeared(patch, actor.smear_px) if actor.smear_px > 1 else patch


def _smeared(patch: Patch, smear_px: int) -> Patch:
    wide = cv2.copyMakeBorder(
        np.dstack([patch.rgb * patch.alpha[..., None], patch.alpha]), 0, 0, smear_px, smear_px, cv2.BORDER_CONSTANT
    )
    wide = cv2.blur(wide, (smear_px, 1))
    alpha = np.ascontiguousarray(wide[..., 3])
    return patch._replace(rgb=wide[..., :3] / np.maximum(alpha, 1e-6)[..., None], alpha=alpha, left_px=patch.left_px - smear_px)


def _pasted(patch: Patch, x: int, y: int, shape: tuple[int, ...]) -> tuple[Image, Image]:
    """The patch on an empty canvas of the picture's size: colours (h, w, 3) and alpha (h, w)."""
    h, w = shape[:2]
    colour, alpha = np.zeros((h, w, 3), np.float32), np.zeros((h, w), np.float32)
    left, top = x + patch.left_px, y + patch.top_px
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + patch.alpha.shape[1], w), min(top + patch.alpha.shape[0], h)
    if x0 < x1 and y0 < y1:
        here = np.s_[y0 - top : y1 - top, x0 - left : x1 - left]
        colour[y0:y1, x0:x1], alpha[y0:y1, x0:x1] = patch.rgb[here], patch.alpha[here]
    return colour, alpha


def _cast_shadow(image: Image, alpha: Image, shown: Image, ground_y: int, light: Light, tilt: float) -> None:
    """Darken the ground by the figure's outline, laid down away from the sun, and where it touches the ground."""
    sun_x, sun_y, sun_z = light.sun
    along, aside = -sun_z / sun_y * tilt, -sun_x / sun_y
    along = float(np.copysign(max(abs(along), 0.06), along))
    shadows = [(0.0, 0.07, 0.35)] if light.night else [(aside, along, light.shadow), (0.0, 0.07, 0.25)]
    h, w = alpha.shape
    for sideways, down, dark in shadows:
        lay = np.array([[1, -sideways, sideways * ground_y], [0, -down, ground_y * (1 + down)]], np.float32)
        shadow = cv2.GaussianBlur(cv2.warpAffine(alpha, lay, (w, h)), (0, 0), 1.2)
        image *= (1 - dark * shadow * shown)[..., None]


def _exposed(image: Image, light: Light, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Lens and sensor: vignette, blur, noise and rounding: (h, w, 3) in 0 to 255."""
    h, w = image.shape[:2]
    y, x = np.linspace(-1, 1, h, dtype=np.float32)[:, None], np.linspace(-1, 1, w, dtype=np.float32)[None, :]
    image = image * (1 - (0.3 if light.night else 0.08) * (x**2 + y**2))[..., None]
    image = cv2.GaussianBlur(image, (0, 0), light.blur_px)
    noise = rng.standard_normal((h, w, 1) if light.night else (h, w, 3), np.float32)
    return (np.clip(image + light.noise * noise, 0, 1) * 255 + 0.5).astype(np.uint8)
