"""Coats: a colour for each part of a body, and a pattern of markings over it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

RGB = tuple[float, float, float]  # 0 to 1
Image = NDArray[Any]  # of float32, 0 to 1: (h, w) or (h, w, 3)

# `marking(along, up, noise)` -> (h, w) share of the marking colour. `along` and `up` are places on the skin in body
# lengths and from -1 (below) to 1 (above); `noise(frequency)` samples smooth noise there, 0 to 1.
Marking = Callable[[Image, Image, Callable[[float], Image]], Image]


def _soft(values: Image, edge: float, width: float) -> Image:
    return np.clip((values - edge) / width + 0.5, 0.0, 1.0)


PATTERNS: dict[str, Marking] = {
    "plain": lambda along, up, noise: np.zeros_like(along),
    "grizzled": lambda along, up, noise: 0.75 * _soft(noise(24.0), 0.45, 0.6) * _soft(up, 0.1, 0.9),
    "spots": lambda along, up, noise: 0.85 * _soft(noise(17.0), 0.64, 0.12),
    "stripes": lambda along, up, noise: _soft(np.sin(along * 34.0 + 3.0 * noise(1.5)), 0.45, 0.5),
    "patches": lambda along, up, noise: _soft(noise(1.7), 0.48, 0.05),
    "saddle": lambda along, up, noise: _soft(up + 0.5 * noise(3.0), 0.65, 0.4),
    "dorsal": lambda along, up, noise: _soft(up + 0.2 * noise(6.0), 0.72, 0.2),
}


@dataclass(frozen=True)
class Coat:
    base: RGB
    parts: Mapping[str, RGB] = field(default_factory=dict)  # limb parts that differ; `belly` is every underside
    pattern: str = "plain"
    marking: RGB = (0.1, 0.1, 0.1)
    marked: tuple[str, ...] = ("trunk", "neck", "tail")  # the parts that bear the pattern

    def colour(self, part: str) -> RGB:
        return self.parts.get(part, _EVERYWHERE.get(part, self.base))


_EVERYWHERE: dict[str, RGB] = {"eye": (0.04, 0.03, 0.03), "nose": (0.08, 0.06, 0.06)}


def vary(coat: Coat, rng: np.random.Generator, spread: float = 0.1) -> Coat:
    """An individual's coat: lighter or darker, warmer or colder by about `spread`."""
    gain = np.exp(rng.normal(0, spread)) * np.exp(rng.normal(0, 0.5 * spread, 3))

    def tinted(colour: RGB) -> RGB:
        r, g, b = np.clip(np.array(colour) * gain, 0.01, 0.97)
        return float(r), float(g), float(b)

    parts = {part: tinted(colour) for part, colour in coat.parts.items()}
    return Coat(tinted(coat.base), parts, coat.pattern, tinted(coat.marking), coat.marked)
