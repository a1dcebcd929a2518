"""Birds: two legs, a beak, folded or beating wings, a fan of a tail. Lengths in body lengths (hip to breast)."""

from dataclasses import dataclass

import numpy as np

from stages.embedded.coats import Coat
from stages.embedded.skeleton import Array, Body, Limb, ahead, grounded, hanging


@dataclass(frozen=True)
class Bird:
    length_m: float
    coat: Coat
    leg: float = 0.6
    breast: float = 0.36  # radii
    rump: float = 0.22
    shin: float = 0.03
    upright: float = 28.0  # pitch of the trunk
    neck: float = 0.42
    neck_up: float = 68.0
    nape: float = 0.13
    skull: float = 0.18
    beak: float = 0.2
    tail: float = 0.75
    tail_up: float = -4.0
    wing: float = 1.5  # length of a spread wing


def _wave(phase: float) -> float:
    return float(np.sin(2 * np.pi * phase))


# posture -> what it does to the pose at a phase: pitch of trunk and neck (from standing), swing of the legs, their fold
# (0 straight, 1 sitting), beat of the wings (None: folded).
def _attitude(posture: str, phase: float) -> tuple[float, float, float, float, float | None]:
    wave, twice = _wave(phase), _wave(2 * phase)
    return {
        "standing": (0.0, 4 * wave, 0.0, 0.0, None),
        "walking": (-8 + 2 * twice, -6 + 14 * twice, 26.0, 0.0, None),
        "running": (-20 + 3 * twice, -18 + 8 * twice, 44.0, 0.1, None),
        "sitting": (-14.0, 6 * wave, 0.0, 0.85, None),
        "lying": (-24.0, -30 + 6 * wave, 0.0, 1.0, None),
        "eating": (-36.0, -118 + 14 * twice, 0.0, 0.1, None),
        "flying": (-22 + 4 * wave, -30.0, 0.0, 0.9, 55 * wave),
    }[posture]


POSTURES = ("standing", "walking", "running", "sitting", "lying", "eating", "flying")


def pose(bird: Bird, posture: str, phase: float) -> Body:
    """The bird's joints and limbs in metres, at a phase in turns (0 to 1, and periodic)."""
    trunk, neck, swing, fold, beat = _attitude(posture, phase)
    pitch = bird.upright + trunk
    at: dict[str, Array] = {"rump": np.zeros(3)}
    at["chest"] = ahead(at["rump"], 1.0, pitch)
    at["neck"] = at["chest"] + [0.1, 0, 0.15]
    at["skull"] = ahead(at["neck"], bird.neck, bird.neck_up + neck)
    down = -60.0 if posture == "eating" else -6.0
    at["muzzle"] = ahead(at["skull"], bird.skull, down)
    at["beak"] = ahead(at["muzzle"], bird.beak, down)
    at["belly"] = ahead(ahead(at["rump"], 0.62, pitch), 0.08, pitch - 90)
    limbs = [
        Limb("rump", "belly", bird.rump, bird.breast, "trunk"),
        Limb("belly", "chest", bird.breast, 0.75 * bird.breast, "trunk"),
        Limb("neck", "skull", 0.55 * bird.breast, bird.nape, "neck"),
        Limb("skull", "muzzle", bird.skull, 0.4 * bird.skull, "head"),
        Limb("muzzle", "beak", 0.36 * bird.skull, 0.02, "beak"),
    ]
    for number in (-1, 0, 1):
        name = f"tail_{number}"
        at[f"{name}_base"] = ahead(at["rump"], 0.1, 180 + pitch, 10 * number)
        at[f"{name}_end"] = ahead(at[f"{name}_base"], bird.tail, 180 - bird.tail_up + pitch, 9 * number)
        limbs.append(Limb(f"{name}_base", f"{name}_end", 0.09, 0.05, "tail"))
    for side, name in ((1, "left"), (-1, "right")):
        at[f"eye_{name}"] = at["skull"] + [0.4 * bird.skull, 0.82 * side * bird.skull, 0.3 * bird.skull]
        limbs.append(Limb(f"eye_{name}", f"eye_{name}", 0.2 * bird.skull, 0.2 * bird.skull, "eye"))
        limbs += _wing(bird, at, side, name, pitch, beat)
        limbs += _leg(bird, at, side, name, phase + (0.0 if side > 0 else 0.5), swing, fold)
    return grounded(at, limbs, bird.length_m, 0.0 if beat is None else 1.5 * bird.length_m)


def _wing(bird: Bird, at: dict[str, Array], side: int, name: str, pitch: float, beat: float | None) -> list[Limb]:
    at[f"shoulder_{name}"] = ahead(at["rump"], 0.85, pitch) + np.array([0, 0.72 * side * bird.breast, 0.08])
    if beat is None:
        at[f"wing_{name}"] = ahead(at[f"shoulder_{name}"], 1.15, 180 + pitch - 6, 7 * side)
        return [Limb(f"shoulder_{name}", f"wing_{name}", 0.2, 0.06, "wing")]
    limbs = []
    for feather in range(8):  # from the leading edge to the trailing one
        start, end = f"wing_{name}_{feather}_base", f"wing_{name}_{feather}"
        at[start] = at[f"shoulder_{name}"] - [0.11 * feather, 0, 0]
        at[end] = hanging(at[start], bird.wing * (1 - 0.07 * feather), -5.0 * feather, side * (90 + beat))
        limbs.append(Limb(start, end, 0.1, 0.06, "wing"))
    return limbs


def _leg(bird: Bird, at: dict[str, Array], side: int, name: str, phase: float, swing: float, fold: float) -> list[Limb]:
    airborne = max(0.0, float(np.cos(2 * np.pi * phase))) * swing / 26
    forward = swing * _wave(phase)
    thigh, shank = 35 + forward + 45 * fold, -24 + forward - 42 * airborne - 60 * fold
    at[f"hip_{name}"] = at["rump"] + [0.3, 0.14 * side, 0.0]
    at[f"knee_{name}"] = hanging(at[f"hip_{name}"], 0.45 * bird.leg + 0.12, thigh, 3 * side)
    at[f"foot_{name}"] = hanging(at[f"knee_{name}"], 0.75 * bird.leg, shank)
    at[f"toe_{name}"] = at[f"foot_{name}"] + [0.18, 0, 0]
    return [
        Limb(f"hip_{name}", f"knee_{name}", 0.15, 0.05, "thigh"),
        Limb(f"knee_{name}", f"foot_{name}", bird.shin, bird.shin, "foot"),
        Limb(f"foot_{name}", f"toe_{name}", bird.shin, 0.7 * bird.shin, "foot"),
    ]


SPECIES: dict[str, Bird] = {
    "bird": Bird(
        0.19,
        Coat(
            (0.30, 0.36, 0.46),
            {"belly": (0.66, 0.6, 0.54), "wing": (0.2, 0.25, 0.36), "tail": (0.16, 0.2, 0.3), "beak": (0.16, 0.14,
            0.12),
             "foot": (0.25, 0.2, 0.17), "head": (0.22, 0.28, 0.4), "thigh": (0.4, 0.4, 0.42)},
        ),
    ),
    "turkey": Bird(
        0.42,
        Coat(
            (0.2, 0.15, 0.11),
            {"wing": (0.3, 0.25, 0.2), "tail": (0.36, 0.26, 0.17), "neck": (0.5, 0.3, 0.28), "head": (0.55, 0.36,
            0.36),
             "beak": (0.7, 0.6, 0.45), "foot": (0.5, 0.33, 0.28)},
        ),
        leg=0.75, upright=14, neck=0.75, neck_up=72, nape=0.07, skull=0.1, beak=0.1, tail=0.7,
    ),
}  # fmt: skip
