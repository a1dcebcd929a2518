"""People with the 16 joints of MPII, in its order. Lengths are shares of the height; angles in degrees.

A limb's angle says how far it swings forward of straight down; `out` is how far it stands off to its side.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from stages.embedded.coats import Coat
from stages.embedded.skeleton import Array, Body, Limb, ahead, grounded, hanging

MPII_JOINTS = (
    "ankle_right", "knee_right", "hip_right", "hip_left", "knee_left", "ankle_left", "pelvis", "thorax", "neck",
        "head_top",
    "wrist_right", "elbow_right", "shoulder_right", "shoulder_left", "elbow_left", "wrist_left",
)  # fmt: skip


@dataclass(frozen=True)
class Person:
    length_m: float  # height
    coat: Coat
    torso: float = 0.29
    thigh: float = 0.245
    shank: float = 0.245
    upper_arm: float = 0.172
    forearm: float = 0.157
    shoulder: float = 0.108  # half the width
    hip: float = 0.052
    girth: float = 1.0  # factor of every radius


class Stance(NamedTuple):
    """Angles at one phase; pairs are (right, left)."""

    thigh: tuple[float, float] = (0.0, 0.0)
    shank: tuple[float, float] = (0.0, 0.0)
    arm: tuple[float, float] = (0.0, 0.0)
    forearm: tuple[float, float] = (8.0, 8.0)
    arm_out: tuple[float, float] = (9.0, 9.0)
    leg_out: tuple[float, float] = (3.0, 3.0)
    lean: float = 0.0  # of the torso, forwards
    nod: float = 0.0  # of the head, forwards
    lift: float = 0.0


def _wave(phase: float) -> float:
    return float(np.sin(2 * np.pi * phase))


def _gait(phase: float, swing: float, flex: float, arms: float, elbow: float, lean: float, lift: float = 0.0) -> Stance:
    right, left = _wave(phase), -_wave(phase)
    rises = max(0.0, float(np.cos(2 * np.pi * phase))), max(0.0, -float(np.cos(2 * np.pi * phase)))
    thigh = (swing * right + 0.3 * flex * rises[0], swing * left + 0.3 * flex * rises[1])
    shank = (thigh[0] - flex * rises[0] - 4, thigh[1] - flex * rises[1] - 4)
    arm = (arms * left, arms * right)
    return Stance(thigh, shank, arm, (arm[0] + elbow, arm[1] + elbow), lean=lean, lift=lift)


POSTURES = {
    "standing": lambda phase: Stance(arm=(2 * _wave(phase), -2 * _wave(phase)), nod=5 * _wave(phase)),
    "walking": lambda phase: _gait(phase, swing=26, flex=48, arms=26, elbow=18, lean=4),
    "running": lambda phase: _gait(phase, 42, 95, 42, 85, 14, 0.05 * abs(_wave(phase))),
    "sitting": lambda phase: Stance((84, 84), (-4, -4), (18, 18), (62, 62), leg_out=(7, 7), lean=4 + 2 * _wave(phase)),
}


def pose(person: Person, posture: str, phase: float) -> Body:
    """The person's joints in metres, the first 16 those of MPII in its order, at a phase in turns (periodic)."""
    stance = POSTURES[posture](phase)
    at: dict[str, Array] = {"pelvis": np.zeros(3)}
    spine = 90 - stance.lean
    at["thorax"] = ahead(at["pelvis"], 0.86 * person.torso, spine)
    at["neck"] = ahead(at["thorax"], 0.14 * person.torso + 0.035, spine)
    at["head_top"] = ahead(at["neck"], 0.125, spine - stance.nod)
    at["skull"] = ahead(at["neck"], 0.066, spine - stance.nod)
    at["waist"] = ahead(at["pelvis"], 0.35 * person.torso, spine)
    limbs: list[Limb] = []

    def limb(start: str, end: str, start_radius: float, end_radius: float, part: str) -> None:
        limbs.append(Limb(start, end, person.girth * start_radius, person.girth * end_radius, part))

    for index, (name, side) in enumerate((("right", -1), ("left", 1))):
        across = np.array([0.0, side, 0.0])
        at[f"hip_{name}"] = at["pelvis"] + person.hip * across
        at[f"knee_{name}"] = hanging(at[f"hip_{name}"], person.thigh, stance.thigh[index], side * stance.leg_out[index])
        at[f"ankle_{name}"] = hanging(at[f"knee_{name}"], person.shank, stance.shank[index])
        at[f"toe_{name}"] = ahead(at[f"ankle_{name}"], 0.087, stance.shank[index] - 18)
        at[f"shoulder_{name}"] = at["thorax"] + person.shoulder * across
        arm, forearm, out = stance.arm[index], stance.forearm[index], side * stance.arm_out[index]
        at[f"elbow_{name}"] = hanging(at[f"shoulder_{name}"], person.upper_arm, arm, out)
        at[f"wrist_{name}"] = hanging(at[f"elbow_{name}"], person.forearm, forearm, 0.4 * out)
        at[f"hand_{name}"] = hanging(at[f"wrist_{name}"], 0.045, forearm, 0.4 * out)
        limb(f"hip_{name}", f"knee_{name}", 0.055, 0.034, "trousers")
        limb(f"knee_{name}", f"ankle_{name}", 0.036, 0.023, "trousers")
        limb(f"ankle_{name}", f"toe_{name}", 0.025, 0.017, "shoe")
        limb(f"shoulder_{name}", f"elbow_{name}", 0.034, 0.026, "shirt")
        limb(f"elbow_{name}", f"wrist_{name}", 0.025, 0.018, "skin")
        limb(f"wrist_{name}", f"hand_{name}", 0.02, 0.016, "skin")
        at[f"flank_{name}"] = at["waist"] + 0.4 * person.hip * across
        limb(f"shoulder_{name}", f"flank_{name}", 0.045, 0.058, "shirt")
        limb(f"flank_{name}", f"hip_{name}", 0.058, 0.062, "shirt")
    limb("thorax", "waist", 0.07, 0.065, "shirt")
    limb("thorax", "neck", 0.032, 0.03, "skin")
    limb("skull", "skull", 0.052, 0.052, "skin")
    at["crown"] = at["skull"] + ahead(np.zeros(3), 0.016, spine + 50 - stance.nod)
    limb("crown", "crown", 0.052, 0.052, "hair")
    ordered = {name: at[name] for name in MPII_JOINTS} | at
    return grounded(ordered, limbs, person.length_m, stance.lift * person.length_m)


PEOPLE: dict[str, Person] = {
    "person": Person(
        1.72,
        Coat((0.2, 0.3, 0.5), {"skin": (0.78, 0.56, 0.43), "hair": (0.16, 0.1, 0.07), "shirt": (0.62, 0.2, 0.18),
                              "trousers": (0.2, 0.24, 0.36), "shoe": (0.12, 0.11, 0.11)}),
    ),
}  # fmt: skip
