"""Four-legged animals: species by their proportions, postures by the angles of their legs, spine, neck and head.

Lengths are in body lengths (hip to shoulder) unless named otherwise; angles in degrees. A leg has three bones, each
given by how far it swings forward of straight down: (thigh, shank, foot) behind, (upper arm, forearm, hand) in front.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from stages.embedded.coats import Coat
from stages.embedded.skeleton import Array, Body, Limb, ahead, grounded, hanging

Angles = tuple[float, float, float]


@dataclass(frozen=True)
class Quadruped:
    length_m: float  # hip to shoulder
    coat: Coat
    leg: float = 0.8  # height of hip and shoulder when it stands
    chest: float = 0.2  # radii of the trunk
    waist: float = 0.16
    rump: float = 0.17
    arch: float = 0.0  # how far the back bends up in its middle
    thigh: float = 0.11  # radii of the legs
    shin: float = 0.04
    foot: float = 0.035
    neck: float = 0.3
    neck_up: float = 35.0  # pitch of the neck when it stands
    nape: float = 0.1  # radius of the neck at the head
    skull: float = 0.1  # radius of the head
    snout: float = 0.18  # length
    muzzle: float = 0.04  # radius at its end
    ear: float = 0.13  # length
    ear_width: float = 0.045
    ear_tip: float = 0.012
    ear_out: float = 25.0  # how far the ears lean sideways
    ear_back: float = 10.0  # and backwards
    horn: float = 0.0  # length
    tail: float = 0.4
    tail_up: float = -50.0  # pitch of the tail, which points backwards
    brush: float = 0.05  # radius of the tail's middle
    tuft: float = 0.02  # and of its end
    mask: float = 0.0  # radius of a dark band over the eyes
    stance_behind: Angles = (28.0, -36.0, 6.0)
    stance_before: Angles = (-20.0, 6.0, 0.0)


class Stance(NamedTuple):
    """What a posture asks of the skeleton at one phase."""

    legs: tuple[Angles, ...]  # hind left, hind right, fore left, fore right
    spine: float = 0.0  # pitch; above 0 the chest is higher than the hips
    neck: float = 0.0  # pitch, from that of standing
    head: float = -22.0  # pitch of the snout
    look: float = 0.0  # yaw of the head, to the left
    tail: float = 0.0  # pitch, from that of standing
    splay: float = 3.0  # how far the legs stand apart
    lift: float = 0.0  # height of the leap


BONES_BEHIND = (0.37, 0.37, 0.26)  # shares of the leg
BONES_BEFORE = (0.40, 0.38, 0.22)


def _bones(leg: float, shares: Angles, stance: Angles) -> Array:
    """Bone lengths with which a leg in its stance is `leg` high: (3,)."""
    lengths = np.array(shares)
    return lengths * leg / (lengths @ np.cos(np.radians(stance)))


def _wave(phase: float) -> float:
    return float(np.sin(2 * np.pi * phase))


def _stride(stance: Angles, phase: float, swing: float, flex: float) -> Angles:
    """A leg in a gait: it swings by a sine and is flexed while it comes forward."""
    airborne = max(0.0, float(np.cos(2 * np.pi * phase)))
    first, second, third = stance
    forward = swing * _wave(phase)
    return first + forward, second + 0.6 * forward - flex * airborne, third + 0.5 * forward - 0.7 * flex * airborne


def _gait(animal: Quadruped, phase: float, offsets: tuple[float, ...], swing: float, flex: float) -> tuple[Angles, ...]:
    stances = (animal.stance_behind, animal.stance_behind, animal.stance_before, animal.stance_before)
    return tuple(_stride(stance, phase + offset, swing, flex) for stance, offset in zip(stances, offsets, strict=True))


def _standing(animal: Quadruped, phase: float) -> Stance:
    legs = _gait(animal, 0.0, (0.58, 0.08, 0.95, 0.45), swing=12, flex=0)  # never quite square
    return Stance(legs, neck=4 * _wave(phase), look=30 * _wave(phase), tail=4 * _wave(2 * phase))


def _walking(animal: Quadruped, phase: float) -> Stance:
    legs = _gait(animal, phase, (0.0, 0.5, 0.25, 0.75), swing=21, flex=42)
    return Stance(legs, neck=-10 + 3 * _wave(2 * phase), tail=5 * _wave(phase))


def _running(animal: Quadruped, phase: float) -> Stance:
    legs = _gait(animal, phase, (0.0, 0.1, 0.5, 0.6), swing=42, flex=70)
    lift = 0.14 * max(0.0, _wave(phase + 0.1))
    return Stance(legs, spine=9 * _wave(phase + 0.35), neck=-18 + 6 * _wave(phase), head=-18, tail=35, lift=lift)


def _sitting(animal: Quadruped, phase: float) -> Stance:
    reach = animal.leg - 0.9 * animal.rump
    rise = float(np.clip(reach, 0.2, np.sin(np.radians(58))))
    bend = float(np.degrees(np.arccos(np.clip((rise + 0.9 * animal.rump) / animal.leg, 0.1, 1.0))))
    behind, before = (82.0, -62.0, 84.0), (-4.0 - bend, 4.0 + bend, 2.0)
    return Stance(
        (behind, behind, before, before), spine=float(np.degrees(np.arcsin(rise))), neck=18 + 3 * _wave(phase),
        head=-15, look=30 * _wave(phase), tail=6 - animal.tail_up, splay=10,
    )  # fmt: skip


def _lying(animal: Quadruped, phase: float) -> Stance:
    behind, before = (78.0, -92.0, 86.0), (-62.0, 84.0, 88.0)
    return Stance(
        (behind, behind, before, before), spine=2, neck=4 + 6 * _wave(phase), head=-18, look=30 * _wave(phase),
        tail=6 - animal.tail_up, splay=14,
    )  # fmt: skip


def _eating(animal: Quadruped, phase: float) -> Stance:
    reach = animal.neck + animal.snout
    down = float(np.degrees(np.arcsin(np.clip(0.86 * animal.leg / reach, 0, 0.9))))
    nibble = _wave(2 * phase)
    behind, before = animal.stance_behind, animal.stance_before
    return Stance(
        (behind, behind, _stride(before, 0.15, 14, 0), _stride(before, 0.65, 10, 0)),
        spine=-5, neck=-down - animal.neck_up + 3 * nibble, head=-68 + 8 * nibble, look=10 * _wave(phase),
    )  # fmt: skip


POSTURES = {
    "standing": _standing,
    "walking": _walking,
    "running": _running,
    "sitting": _sitting,
    "lying": _lying,
    "eating": _eating,
}


def pose(animal: Quadruped, posture: str, phase: float) -> Body:
    """The animal's joints and limbs in metres, at a phase in turns (0 to 1, and periodic)."""
    stance = POSTURES[posture](animal, phase)
    at: dict[str, Array] = {}
    limbs: list[Limb] = []

    def limb(start: str, end: str, start_radius: float, end_radius: float, part: str) -> None:
        limbs.append(Limb(start, end, start_radius, end_radius, part))

    at["rump"] = np.zeros(3)
    at["chest"] = ahead(at["rump"], 1.0, stance.spine)
    at["loin"] = ahead((at["rump"] + at["chest"]) / 2, animal.arch, stance.spine + 90)
    limb("rump", "loin", animal.rump, animal.waist, "trunk")
    limb("loin", "chest", animal.waist, animal.chest, "trunk")

    _head(animal, stance, at, limbs)

    backwards = 180 - (animal.tail_up + stance.tail)
    at["tail_base"] = at["rump"] + [-0.8 * animal.rump, 0, 0.35 * animal.rump]
    at["tail_middle"] = ahead(at["tail_base"], animal.tail / 2, backwards)
    at["tail_end"] = ahead(at["tail_middle"], animal.tail / 2, backwards - 18)
    limb("tail_base", "tail_middle", 0.7 * animal.brush, animal.brush, "tail")
    limb("tail_middle", "tail_end", animal.brush, animal.tuft, "tail_end")

    behind = _bones(animal.leg, BONES_BEHIND, animal.stance_behind)
    before = _bones(animal.leg, BONES_BEFORE, animal.stance_before)
    for index, name in enumerate(("hind_left", "hind_right", "fore_left", "fore_right")):
        root, radius, bones = ("rump", animal.rump, behind) if index < 2 else ("chest", animal.chest, before)
        side = 1 if index % 2 == 0 else -1
        at[f"{name}_0"] = at[root] + [0, side * 0.5 * radius, 0]
        for bone in range(3):
            at[f"{name}_{bone + 1}"] = hanging(
                at[f"{name}_{bone}"], bones[bone], stance.legs[index][bone], side * stance.splay if bone == 0 else 0
            )
        at[f"{name}_toe"] = at[f"{name}_3"] + [1.6 * animal.foot, 0, 0]
        thigh = animal.thigh * (1.0 if root == "rump" else 0.85)
        limb(f"{name}_0", f"{name}_1", thigh, 0.55 * thigh + 0.45 * animal.shin, "thigh")
        limb(f"{name}_1", f"{name}_2", 0.5 * thigh + 0.5 * animal.shin, animal.shin, "leg")
        limb(f"{name}_2", f"{name}_3", animal.shin, animal.foot, "foot")
        limb(f"{name}_3", f"{name}_toe", animal.foot, 0.8 * animal.foot, "foot")
    return grounded(at, limbs, animal.length_m, stance.lift * animal.length_m)


def _head(animal: Quadruped, stance: Stance, at: dict[str, Array], limbs: list[Limb]) -> None:
    pitch, yaw = stance.head, stance.look
    at["neck"] = at["chest"] + [0.25 * animal.chest, 0, 0.3 * animal.chest]
    at["skull"] = ahead(at["neck"], animal.neck, animal.neck_up + stance.neck, 0.5 * yaw)
    at["muzzle"] = ahead(at["skull"], animal.snout, pitch, yaw)
    at["nose"] = ahead(at["muzzle"], 0.75 * animal.muzzle, pitch + 25, yaw)
    limbs += [
        Limb("neck", "skull", 0.75 * animal.chest, animal.nape, "neck"),
        Limb("skull", "muzzle", animal.skull, animal.muzzle, "head"),
        Limb("muzzle", "muzzle", 1.04 * animal.muzzle, 1.04 * animal.muzzle, "muzzle"),
        Limb("nose", "nose", 0.4 * animal.muzzle, 0.4 * animal.muzzle, "nose"),
    ]
    for side, name in ((1, "left"), (-1, "right")):
        out = np.array([-np.sin(np.radians(yaw)), np.cos(np.radians(yaw)), 0]) * side
        up = ahead(np.zeros(3), 1.0, pitch + 90, yaw)
        eye = ahead(at["skull"], 0.55 * animal.skull, pitch, yaw)
        at[f"eye_{name}"] = eye + 0.62 * animal.skull * out + 0.42 * animal.skull * up
        limbs.append(Limb(f"eye_{name}", f"eye_{name}", 0.17 * animal.skull, 0.17 * animal.skull, "eye"))
        if animal.mask:
            at[f"mask_{name}"] = at[f"eye_{name}"] - 0.6 * animal.mask * out
            limbs.append(Limb(f"mask_{name}", f"mask_{name}", animal.mask, animal.mask, "mask"))
        at[f"ear_{name}"] = at["skull"] + 0.6 * animal.skull * out + 0.6 * animal.skull * up
        lean = np.radians(animal.ear_out)
        erect = ahead(np.zeros(3), 1.0, pitch + 90 + animal.ear_back, yaw)
        at[f"ear_tip_{name}"] = at[f"ear_{name}"] + animal.ear * (np.sin(lean) * out + np.cos(lean) * erect)
        limbs.append(Limb(f"ear_{name}", f"ear_tip_{name}", animal.ear_width, animal.ear_tip, "ear"))
        if animal.horn:
            base = at["skull"] + 0.35 * animal.skull * out + 0.8 * animal.skull * up
            at[f"horn_{name}"] = base
            at[f"horn_middle_{name}"] = base + animal.horn * (0.25 * out + 0.5 * up)
            at[f"horn_end_{name}"] = ahead(at[f"horn_middle_{name}"], 0.6 * animal.horn, pitch + 150, yaw)
            limbs.append(Limb(f"horn_{name}", f"horn_middle_{name}", 0.04, 0.03, "horn"))
            limbs.append(Limb(f"horn_middle_{name}", f"horn_end_{name}", 0.03, 0.01, "horn"))


SPECIES: dict[str, Quadruped] = {
    "deer": Quadruped(
        0.95, Coat((0.50, 0.37, 0.24), {"belly": (0.72, 0.64, 0.52), "tail": (0.9, 0.88, 0.84), "tail_end": (0.9,
        0.88, 0.84),
                                       "muzzle": (0.3, 0.24, 0.2), "foot": (0.36, 0.27, 0.18)}),
        leg=1.0, chest=0.235, waist=0.205, rump=0.215, thigh=0.14, shin=0.036, foot=0.027, neck=0.56, neck_up=52,
        nape=0.09, skull=0.1, snout=0.25, muzzle=0.05, ear=0.23, ear_width=0.05, ear_tip=0.025, ear_out=58,
        tail=0.2, tail_up=-60, brush=0.05, tuft=0.03,
    ),
    "coyote": Quadruped(
        0.62, Coat((0.52, 0.45, 0.36), {"belly": (0.74, 0.68, 0.58), "leg": (0.58, 0.44, 0.3), "foot": (0.62, 0.5,
        0.36),
                                       "ear": (0.5, 0.36, 0.24), "tail_end": (0.2, 0.17, 0.15)}, "grizzled", (0.24,
                                       0.21, 0.19)),
        leg=0.84, chest=0.195, waist=0.145, rump=0.16, neck=0.32, neck_up=32, nape=0.115, skull=0.115, snout=0.24,
        muzzle=0.042, ear=0.16, ear_width=0.05, ear_out=22, tail=0.62, tail_up=-62, brush=0.075, tuft=0.03,
    ),
    "fox": Quadruped(
        0.42, Coat((0.62, 0.36, 0.18), {"belly": (0.86, 0.8, 0.72), "leg": (0.2, 0.13, 0.1), "foot": (0.1, 0.08,
        0.08),
                                       "ear": (0.16, 0.1, 0.08), "muzzle": (0.85, 0.78, 0.7), "tail_end": (0.9, 0.87,
                                       0.82)}),
        leg=0.7, chest=0.175, waist=0.14, rump=0.155, thigh=0.1, neck=0.27, neck_up=32, nape=0.115, skull=0.12,
        snout=0.21,
        muzzle=0.034, ear=0.19, ear_width=0.06, ear_out=22, tail=0.95, tail_up=-32, brush=0.125, tuft=0.05,
    ),
    "bobcat": Quadruped(
        0.5, Coat((0.6, 0.47, 0.33), {"belly": (0.82, 0.76, 0.66), "ear": (0.18, 0.14, 0.12), "muzzle": (0.86, 0.8,
        0.74)},
                 "spots", (0.26, 0.19, 0.13), ("trunk", "neck", "thigh", "leg")),
        leg=0.8, chest=0.185, waist=0.165, rump=0.185, thigh=0.14, shin=0.05, foot=0.05, neck=0.22, neck_up=34,
        nape=0.12,
        skull=0.13, snout=0.11, muzzle=0.062, ear=0.15, ear_width=0.05, ear_tip=0.008, ear_out=25, tail=0.2,
        tail_up=-25,
        brush=0.045, tuft=0.035,
    ),
    "raccoon": Quadruped(
        0.37, Coat((0.43, 0.4, 0.36), {"belly": (0.55, 0.51, 0.46), "foot": (0.16, 0.14, 0.13), "mask": (0.05, 0.05,
        0.05),
                                      "muzzle": (0.85, 0.83, 0.8), "head": (0.58, 0.55, 0.5)}, "stripes", (0.1, 0.09,
                                      0.09),
                  ("tail", "tail_end")),
        leg=0.56, chest=0.22, waist=0.25, rump=0.25, arch=0.07, thigh=0.13, shin=0.055, foot=0.045, neck=0.26,
        neck_up=2,
        nape=0.14, skull=0.14, snout=0.2, muzzle=0.045, ear=0.1, ear_width=0.05, ear_tip=0.035, ear_out=35, tail=0.78,
        tail_up=-28, brush=0.095, tuft=0.06, mask=0.06,
    ),
    "skunk": Quadruped(
        0.27, Coat((0.07, 0.065, 0.07), {"tail_end": (0.75, 0.75, 0.73), "muzzle": (0.1, 0.09, 0.09)}, "dorsal",
        (0.92, 0.92, 0.9),
                  ("trunk", "neck", "tail", "head")),
        leg=0.4, chest=0.165, waist=0.2, rump=0.22, arch=0.09, thigh=0.11, shin=0.05, foot=0.04, neck=0.22,
        neck_up=-8,
        nape=0.11, skull=0.1, snout=0.15, muzzle=0.03, ear=0.04, ear_width=0.03, ear_tip=0.025, tail=0.9, tail_up=38,
        brush=0.17, tuft=0.12,
    ),
    "rabbit": Quadruped(
        0.23, Coat((0.52, 0.44, 0.34), {"belly": (0.78, 0.74, 0.68), "tail": (0.93, 0.92, 0.9), "tail_end": (0.93,
        0.92, 0.9),
                                       "ear": (0.56, 0.45, 0.36)}, "grizzled", (0.36, 0.29, 0.22)),
        leg=0.5, chest=0.2, waist=0.27, rump=0.3, arch=0.1, thigh=0.19, shin=0.06, foot=0.05, neck=0.22, neck_up=42,
        nape=0.14, skull=0.145, snout=0.15, muzzle=0.075, ear=0.46, ear_width=0.055, ear_tip=0.035, ear_out=12,
        ear_back=32, tail=0.12,
        tail_up=25, brush=0.1, tuft=0.09, stance_behind=(62, -58, 84), stance_before=(-16, 10, 12),
    ),
    "cat": Quadruped(
        0.34, Coat((0.55, 0.45, 0.34), {"muzzle": (0.8, 0.75, 0.7)}, "stripes", (0.22, 0.17, 0.13), ("trunk",
        "thigh", "tail", "tail_end")),
        leg=0.68, chest=0.155, waist=0.14, rump=0.15, neck=0.2, neck_up=38, skull=0.115, snout=0.1, muzzle=0.05,
        ear=0.11,
        ear_width=0.05, ear_tip=0.01, tail=0.85, tail_up=10, brush=0.04, tuft=0.03,
    ),
    "dog": Quadruped(
        0.58, Coat((0.45, 0.3, 0.17), {"muzzle": (0.12, 0.1, 0.09), "ear": (0.2, 0.14, 0.1)}, "saddle", (0.1, 0.09,
        0.08)),
        leg=0.82, chest=0.215, waist=0.16, rump=0.175, neck=0.32, neck_up=48, nape=0.11, skull=0.115, snout=0.22,
        muzzle=0.055,
        ear=0.16, ear_width=0.05, ear_tip=0.03, ear_out=110, tail=0.55, tail_up=30, brush=0.045, tuft=0.02,
    ),
    "horse": Quadruped(
        1.25, Coat((0.38, 0.2, 0.1), {"tail": (0.07, 0.05, 0.04), "tail_end": (0.07, 0.05, 0.04), "foot": (0.12,
        0.08, 0.06)}),
        leg=1.0, chest=0.26, waist=0.235, rump=0.26, thigh=0.16, shin=0.05, foot=0.045, neck=0.62, neck_up=48,
        nape=0.12,
        skull=0.125, snout=0.36, muzzle=0.07, ear=0.12, ear_width=0.035, tail=0.75, tail_up=-72, brush=0.07,
        tuft=0.06,
    ),
    "cow": Quadruped(
        1.3, Coat((0.87, 0.85, 0.82), {"muzzle": (0.75, 0.58, 0.52), "horn": (0.7, 0.65, 0.55)}, "patches", (0.08,
        0.07, 0.07),
                  ("trunk", "neck", "head", "thigh", "ear")),
        leg=0.78, chest=0.28, waist=0.3, rump=0.27, thigh=0.15, shin=0.06, foot=0.055, neck=0.4, neck_up=18,
        nape=0.16,
        skull=0.14, snout=0.32, muzzle=0.085, ear=0.17, ear_width=0.05, ear_tip=0.03, ear_out=95, horn=0.12,
        tail=0.75,
        tail_up=-80, brush=0.025, tuft=0.035,
    ),
    "sheep": Quadruped(
        0.72, Coat((0.84, 0.81, 0.74), {"head": (0.14, 0.12, 0.11), "muzzle": (0.14, 0.12, 0.11), "ear": (0.14, 0.12,
        0.11),
                                       "leg": (0.16, 0.14, 0.12), "foot": (0.12, 0.1, 0.09)}),
        leg=0.68, chest=0.31, waist=0.33, rump=0.32, thigh=0.15, shin=0.04, foot=0.035, neck=0.34, neck_up=38,
        nape=0.16,
        skull=0.11, snout=0.22, muzzle=0.055, ear=0.15, ear_width=0.035, ear_out=95, tail=0.25, tail_up=-75,
        brush=0.06, tuft=0.05,
    ),
    "goat": Quadruped(
        0.68, Coat((0.72, 0.66, 0.58), {"horn": (0.25, 0.2, 0.16)}, "patches", (0.32, 0.2, 0.12)),
        leg=0.82, chest=0.22, waist=0.23, rump=0.2, neck=0.4, neck_up=50, nape=0.09, skull=0.1, snout=0.24,
        muzzle=0.05,
        ear=0.18, ear_width=0.035, ear_tip=0.03, ear_out=110, horn=0.3, tail=0.18, tail_up=40, brush=0.04, tuft=0.03,
    ),
}  # fmt: skip
