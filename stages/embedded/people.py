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
    forearm_out: float = 0.4  # share of `arm_out`
    shank_out: float = 0.0  # share of `leg_out`


def _wave(phase: float) -> float:
    return float(np.sin(2 * np.pi * phase))


def _gait(phase: float, swing: float, flex: float, arms: float, elbow: float, lean: float, lift: float = 0.0) -> Stance:
    right, left = _wave(phase), -_wave(phase)
    rises = max(0.0, float(np.cos(2 * np.pi * phase))), max(0.0, -float(np.cos(2 * np.pi * phase)))
    thigh = (swing * right + 0.3 * flex * rises[0], swing * left + 0.3 * flex * rises[1])
    shank = (thigh[0] - flex * rises[0] - 4, thigh[1] - flex * rises[1] - 4)
    arm = (arms * left, arms * right)
    return Stance(thigh, shank, arm, (arm[0] + elbow, arm[1] + elbow), lean=lean, lift=lift)


def _jumping(phase: float) -> Stance:
    """Half of the turn gathers strength in a crouch, the other is in the air with one arm high."""
    crouch, rise = max(0.0, _wave(phase)), max(0.0, -_wave(phase))
    arm = (165 * rise - 40 * crouch, 115 * rise - 40 * crouch)
    return Stance(
        thigh=(55 * crouch + 45 * rise, 55 * crouch - 18 * rise),
        shank=(-45 * crouch - 45 * rise, -45 * crouch - 40 * rise),
        arm=arm,
        forearm=(arm[0] + 15, arm[1] + 25),
        lean=28 * crouch + 6 * rise,
        lift=0.26 * rise,
    )


def _star_jump(phase: float) -> Stance:
    """Arms and legs go apart and together again, straight."""
    apart = 0.5 - 0.5 * float(np.cos(2 * np.pi * phase))
    arms, legs = 20 + 135 * apart, 4 + 24 * apart
    return Stance(forearm=(4, 4), arm_out=(arms, arms), leg_out=(legs, legs), forearm_out=1.0, shank_out=1.0)


def _squatting(phase: float) -> Stance:
    deep = 0.75 + 0.25 * _wave(phase)
    thigh, shank, lean = 104 * deep, -30 * deep, 38 * deep
    return Stance((thigh, thigh), (shank, shank), (58, 58), (84, 84), leg_out=(14, 14), lean=lean, nod=-0.7 * lean)


def _bending(phase: float) -> Stance:
    """Stooping over something on the ground that the hands work at."""
    reach = 14 * _wave(phase)
    return Stance((-8, 10), (-14, -8), (16 + reach, 16 - reach), (30 + reach, 30 - reach), lean=82 + 0.4 * reach, nod=-18)


def _lying(phase: float) -> Stance:
    """On the back, one knee up or down."""
    knee = 0.5 + 0.5 * _wave(phase)
    return Stance((90, 90 + 46 * knee), (90, 90 - 50 * knee), (90, 90), (96, 102), lean=-88, nod=8)


def _reclining(phase: float) -> Stance:
    """Sitting on the ground, leaning back on both arms."""
    knee = 0.5 + 0.5 * _wave(phase)
    return Stance((92, 92 + 42 * knee), (84, 84 - 58 * knee), (-58, -58), (-28, -28), lean=-28, nod=14)


def _dancing(phase: float) -> Stance:
    """One knee and the arm of the other side go up in turn."""
    right, left = max(0.0, _wave(phase)), max(0.0, -_wave(phase))
    return Stance(
        thigh=(62 * right, 62 * left),
        shank=(-48 * right - 4, -48 * left - 4),
        forearm=(12, 12),
        arm_out=(70 - 62 * _wave(phase), 70 + 62 * _wave(phase)),
        leg_out=(13, 13),
        forearm_out=1.25,
        shank_out=0.5,
    )


CRANK_AT, CRANK = (0.1, -0.37), 0.085  # of a bicycle: its axis forward of and above the pelvis, and its length


def _cycling(phase: float) -> Stance:
    """Low over the handlebar of a bicycle, each ankle where its pedal is (for a person of the usual proportions)."""
    thighs, shanks = [], []
    for turn in (phase, phase + 0.5):
        forward, down = CRANK_AT[0] + CRANK * _wave(turn), -CRANK_AT[1] + CRANK * _wave(turn + 0.25)
        towards = np.degrees(np.arctan2(forward, down))
        bent = np.degrees(np.arccos(np.hypot(forward, down) / (2 * Person.thigh)))  # thigh and shank are of one length
        thighs.append(float(towards + bent))
        shanks.append(float(towards - bent))
    return Stance((thighs[0], thighs[1]), (shanks[0], shanks[1]), (40, 40), (62, 62), leg_out=(0, 0), lean=50, nod=-28)


POSTURES = {
    "standing": lambda phase: Stance(arm=(2 * _wave(phase), -2 * _wave(phase)), nod=5 * _wave(phase)),
    "walking": lambda phase: _gait(phase, swing=26, flex=48, arms=26, elbow=18, lean=4),
    "running": lambda phase: _gait(phase, 42, 95, 42, 85, 14, 0.05 * abs(_wave(phase))),
    "sitting": lambda phase: Stance((84, 84), (-4, -4), (18, 18), (62, 62), leg_out=(7, 7), lean=4 + 2 * _wave(phase)),
    "jumping": _jumping,
    "star_jump": _star_jump,
    "squatting": _squatting,
    "bending": _bending,
    "lying": _lying,
    "reclining": _reclining,
    "dancing": _dancing,
    "cycling": _cycling,
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
        spread = side * stance.leg_out[index]
        at[f"knee_{name}"] = hanging(at[f"hip_{name}"], person.thigh, stance.thigh[index], spread)
        at[f"ankle_{name}"] = hanging(at[f"knee_{name}"], person.shank, stance.shank[index], stance.shank_out * spread)
        at[f"toe_{name}"] = ahead(at[f"ankle_{name}"], 0.087, stance.shank[index] - 18)
        at[f"shoulder_{name}"] = at["thorax"] + person.shoulder * across
        arm, forearm, out = stance.arm[index], stance.forearm[index], side * stance.arm_out[index]
        at[f"elbow_{name}"] = hanging(at[f"shoulder_{name}"], person.upper_arm, arm, out)
        at[f"wrist_{name}"] = hanging(at[f"elbow_{name}"], person.forearm, forearm, stance.forearm_out * out)
        at[f"hand_{name}"] = hanging(at[f"wrist_{name}"], 0.045, forearm, stance.forearm_out * out)
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
    if posture == "cycling":
        _add_bicycle(at, limbs)
    ordered = {name: at[name] for name in MPII_JOINTS} | at
    return grounded(ordered, limbs, person.length_m, stance.lift * person.length_m)


def _add_bicycle(at: dict[str, Array], limbs: list[Limb]) -> None:
    """Put a bicycle below a cyclist: joints, and limbs of the part `bicycle`, in shares of the cyclist's height."""
    radius, spokes = 0.185, 14
    crank = np.array([CRANK_AT[0], 0.0, CRANK_AT[1]])
    at["crank"], at["saddle"], at["handlebar"] = crank, np.array([-0.03, 0.0, -0.09]), np.array([0.43, 0.0, -0.02])
    bars = [("crank", "saddle"), ("crank", "handlebar"), ("saddle", "handlebar")]
    for wheel, forward in (("rear", -0.26), ("front", 0.36)):
        at[wheel] = crank + np.array([forward, 0.0, 0.03])
        rim = [f"{wheel}_{number}" for number in range(spokes)]
        for number, name in enumerate(rim):
            at[name] = ahead(at[wheel], radius, 360 * number / spokes)
            limbs.append(Limb(name, rim[number - 1], 0.012, 0.012, "tyre"))
    bars += [("rear", "crank"), ("rear", "saddle"), ("front", "handlebar")]
    limbs.extend(Limb(start, end, 0.011, 0.011, "bicycle") for start, end in bars)


PEOPLE: dict[str, Person] = {
    "person": Person(
        1.72,
        Coat((0.2, 0.3, 0.5), {"skin": (0.78, 0.56, 0.43), "hair": (0.16, 0.1, 0.07), "shirt": (0.62, 0.2, 0.18),
                              "trousers": (0.2, 0.24, 0.36), "shoe": (0.12, 0.11, 0.11)}),
    ),
}  # fmt: skip
