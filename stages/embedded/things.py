"""Things by their shapes: furniture, plants, tools, small creatures, figures of geometry. All of the same limbs as animals.

Lengths are in the thing's own length, its largest measure about 1; it stands on z = 0 and faces x.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np

from stages.embedded.coats import Coat
from stages.embedded.skeleton import Array, Body, Limb, grounded

Bars = list[tuple[tuple[float, float, float], tuple[float, float, float], float, float]]  # start, end, and their radii


@dataclass(frozen=True)
class Thing:
    length_m: float
    coat: Coat
    kind: str  # of KINDS
    slim: float = 1.0  # factor of every radius
    tall: float = 1.0  # factor of every height
    wide: float = 1.0  # factor across


def _legs(height: float, x: float, y: float, radius: float = 0.03) -> Bars:
    return [((sx * x, sy * y, height), (sx * x, sy * y, 0.0), radius, radius) for sx in (-1, 1) for sy in (-1, 1)]


def _slab(height: float, x: float, y: float, radius: float = 0.035) -> Bars:
    """A board of bars side by side."""
    rows = np.linspace(-y, y, max(2, round(y / radius) + 1))
    return [((-x, float(row), height), (x, float(row), height), radius, radius) for row in rows]


def _spokes(centre: tuple[float, float, float], reach: float, count: int, thick: float, thin: float, first: float = 90) -> Bars:
    """Bars from a centre, in the plane across y."""
    cx, cy, cz = centre
    turns = np.radians(first + 360 * np.arange(count) / count)
    return [((cx, cy, cz), (cx + reach * float(np.cos(t)), cy, cz + reach * float(np.sin(t))), thick, thin) for t in turns]


def _polygon(corners: int, radius: float, first: float = 90) -> Bars:
    """A ring of bars, standing on its rim."""
    turns = np.radians(first + 360 * np.arange(corners + 1) / corners)
    at = [(0.45 * float(np.cos(t)), 0.0, 0.5 + 0.45 * float(np.sin(t))) for t in turns]
    return [(a, b, radius, radius) for a, b in pairwise(at)]


def _cube() -> Bars:
    corners = [(x, y, z) for x in (-0.35, 0.35) for y in (-0.35, 0.35) for z in (0.05, 0.75)]
    return [(a, b, 0.05, 0.05) for a, b in combinations(corners, 2) if sum(p != q for p, q in zip(a, b, strict=True)) == 1]


def _snake() -> Bars:
    at = [(0.1 * n - 0.5, 0.16 * float(np.sin(1.1 * n)), 0.05 + (0.03 * max(0, n - 7) ** 2)) for n in range(11)]
    return [(a, b, 0.02 + 0.005 * n, 0.02 + 0.005 * n) for n, (a, b) in enumerate(pairwise(at))]


def _beetle() -> Bars:
    legs: Bars = []
    for side in (-1, 1):
        for x in (-0.25, 0.0, 0.25):
            knee, foot = (1.3 * x, 0.35 * side, 0.3), (1.7 * x, 0.5 * side, 0.0)
            legs += [((x, 0.1 * side, 0.2), knee, 0.03, 0.025), (knee, foot, 0.025, 0.015)]
        legs.append(((0.4, 0.05 * side, 0.2), (0.65, 0.2 * side, 0.35), 0.015, 0.01))
    return [((-0.25, 0, 0.22), (0.15, 0, 0.22), 0.2, 0.17), ((0.3, 0, 0.2), (0.38, 0, 0.19), 0.12, 0.1), *legs]


def _cactus() -> Bars:
    arms: Bars = []
    for side, low in ((1, 0.4), (-1, 0.55)):
        elbow = (0.28 * side, 0.0, low)
        arms += [((0, 0, low), elbow, 0.07, 0.07), (elbow, (0.28 * side, 0.0, low + 0.28), 0.07, 0.06)]
    return [((0, 0, 0.1), (0, 0, 0.9), 0.11, 0.1), *arms]


KINDS: dict[str, Callable[[], Bars]] = {
    "chair": lambda: [*_legs(0.45, 0.2, 0.2), *_slab(0.47, 0.2, 0.2),
                      *(((-0.2, y, 0.47), (-0.27, y, 1.0), 0.03, 0.03) for y in (-0.2, -0.07, 0.07, 0.2)),
                      ((-0.27, -0.2, 1.0), (-0.27, 0.2, 1.0), 0.03, 0.03)],
    "table": lambda: [*_legs(0.55, 0.45, 0.25, 0.04), *_slab(0.58, 0.5, 0.3)],
    "ladder": lambda: [*(((0, y, 0), (-0.25, y, 1.0), 0.03, 0.03) for y in (-0.17, 0.17)),
                       *(((-0.25 * z, -0.17, z), (-0.25 * z, 0.17, z), 0.022, 0.022) for z in np.arange(0.1, 1.0, 0.16))],
    "lamp": lambda: [((-0.12, 0, 0), (0.12, 0, 0), 0.04, 0.04), ((0, 0, 0), (0, 0, 0.7), 0.02, 0.02),
                     ((0, 0, 0.7), (0, 0, 0.92), 0.22, 0.08)],
    "snowman": lambda: [*(((0, 0, z), (0, 0, z), r, r) for z, r in ((0.22, 0.24), (0.58, 0.18), (0.86, 0.13))),
                        *(((0.05, 0.12 * s, 0.6), (0.1, 0.5 * s, 0.75), 0.02, 0.012) for s in (-1, 1))],
    "mushroom": lambda: [((0, 0, 0), (0, 0, 0.55), 0.13, 0.09), ((0, 0, 0.6), (0, 0, 0.8), 0.42, 0.12)],
    "cactus": _cactus,
    "tree": lambda: [((0, 0, 0), (0, 0, 0.45), 0.07, 0.05),
                     *(((x, y, z), (x, y, z), r, r) for x, y, z, r in ((0, 0, 0.75, 0.24), (0.2, 0.1, 0.6, 0.17),
                       (-0.2, -0.1, 0.62, 0.18), (0.02, -0.15, 0.9, 0.15)))],
    "fir": lambda: [((0, 0, 0), (0, 0, 0.2), 0.06, 0.06), *(((0, 0, z), (0, 0, z + 0.26), r, 0.03)
                    for z, r in ((0.3, 0.32), (0.52, 0.24), (0.72, 0.16)))],
    "barbell": lambda: [((-0.45, 0, 0.2), (0.45, 0, 0.2), 0.035, 0.035),
                        *(((x, 0, 0.2), (x, 0, 0.2), 0.2, 0.2) for x in (-0.42, 0.42))],
    "arch": lambda: [*(((x, 0, 0), (x, 0, 0.7), 0.09, 0.08) for x in (-0.4, 0.4)),
                     ((-0.45, 0, 0.78), (0.45, 0, 0.78), 0.09, 0.09)],
    "windmill": lambda: [((0, 0, 0), (0, 0, 0.6), 0.14, 0.08), *_spokes((0, -0.14, 0.62), 0.4, 4, 0.025, 0.05, 35)],
    "star": lambda: _spokes((0, 0, 0.5), 0.45, 5, 0.13, 0.02),
    "cross": lambda: _spokes((0, 0, 0.5), 0.42, 4, 0.1, 0.1),
    "ring": lambda: _polygon(16, 0.07),
    "triangle": lambda: _polygon(3, 0.06),
    "cube": _cube,
    "snake": _snake,
    "beetle": _beetle,
}  # fmt: skip


def pose(thing: Thing) -> Body:
    """Its joints and limbs in metres. Parts alternate between two colours, `trunk` and `leg`, thick ones being the first."""
    at: dict[str, Array] = {}
    limbs = []
    stretch = np.array([1.0, thing.wide, thing.tall])
    for number, (start, end, start_radius, end_radius) in enumerate(KINDS[thing.kind]()):
        names = f"{number}_start", f"{number}_end"
        at |= {name: np.array(point, dtype=float) * stretch for name, point in zip(names, (start, end), strict=True)}
        part = "trunk" if max(start_radius, end_radius) > 0.06 else "leg"
        limbs.append(Limb(*names, thing.slim * start_radius, thing.slim * end_radius, part))
    return grounded(at, limbs, thing.length_m)
