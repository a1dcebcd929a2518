"""The animals of the action data set, and what their bodies do at a phase: turn the head, call, leap, fly, swim.

A pose is a pure function of figure and phases (in turns). What figures.py knows is taken from there, and bent on.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np

from stages.embedded.birds import Bird
from stages.embedded.coats import RGB, Coat
from stages.embedded.figures import FIGURES, Figure, pose
from stages.embedded.skeleton import Array, Body, Limb, grounded

HEAD = ("skull", "muzzle", "nose", "eye_", "mask_", "ear_", "horn_", "beak", "crown", "head_top", "face", "jaw")


@dataclass(frozen=True)
class Fish:
    length_m: float  # of the trunk
    coat: Coat
    deep: float = 0.2  # radius of the trunk, in lengths
    tail: float = 0.3  # length of its fin


Animal = Figure | Fish


def _bird(like: str, base: RGB, head: RGB, wing: RGB, belly: RGB, **shape: float) -> Animal:
    coat = FIGURES[like].coat
    parts = {**coat.parts, "head": head, "neck": head, "wing": wing, "tail": wing, "belly": belly, "thigh": base}
    return dataclasses.replace(FIGURES[like], coat=Coat(base, parts), **shape)  # type: ignore[arg-type]


def _like(name: str, coat: Coat, **shape: float) -> Animal:
    return dataclasses.replace(FIGURES[name], coat=coat, **shape)  # type: ignore[arg-type]


# By the names that the sheets of Animal Kingdom give them; one has an apostrophe, as many of theirs have.
ANIMALS: dict[str, Animal] = {
    "Deer": FIGURES["deer"],
    "Coyote": FIGURES["coyote"],
    "Fox": FIGURES["fox"],
    "Cat": FIGURES["cat"],
    "Dog": FIGURES["dog"],
    "Horse": FIGURES["horse"],
    "Goat": FIGURES["goat"],
    "Rabbit": FIGURES["rabbit"],
    "Squirrel": _like("fox", Coat((0.48, 0.28, 0.14), {"muzzle": (0.8, 0.7, 0.6)}), leg=0.5, waist=0.22, rump=0.25, tail_up=40),
    "Mongoose": _like("cat", Coat((0.52, 0.45, 0.34), {}, "grizzled", (0.3, 0.25, 0.18)), leg=0.5, ear=0.05, snout=0.16),
    "Sparrow": _bird("bird", (0.5, 0.38, 0.27), (0.35, 0.25, 0.18), (0.36, 0.24, 0.15), (0.8, 0.75, 0.68)),
    "Crow": _bird("bird", (0.15, 0.15, 0.17), (0.3, 0.3, 0.33), (0.1, 0.1, 0.13), (0.2, 0.2, 0.22), neck=0.35, beak=0.3),
    "Savi'S Warbler Bird": _bird("bird", (0.5, 0.47, 0.2), (0.42, 0.42, 0.2), (0.36, 0.36, 0.16), (0.85, 0.8, 0.5), tail=0.9),
    "Duck": _bird("bird", (0.6, 0.56, 0.5), (0.1, 0.36, 0.24), (0.4, 0.4, 0.3), (0.8, 0.8, 0.7), leg=0.4, neck=0.6, tail=0.35),
    "Chicken": FIGURES["turkey"],
    "Fish": Fish(0.3, Coat((0.6, 0.62, 0.66), {"fin": (0.4, 0.42, 0.46), "belly": (0.85, 0.85, 0.85)})),
    "Clownfish": Fish(0.2, Coat((0.93, 0.45, 0.1), {"fin": (0.95, 0.6, 0.2)}, "stripes", (0.96, 0.95, 0.92), ("trunk",)), 0.26),
}  # fmt: skip


# Bending a body --------------------------------------------------------------------------------------------------------


def turned(body: Body, starts: tuple[str, ...], pivot: str, yaw_deg: float, pitch_deg: float) -> Body:
    """The body with all joints whose names start so turned about one: to its left, then upwards."""
    yaw, pitch = np.radians(yaw_deg), np.radians(pitch_deg)
    upwards = np.array([[np.cos(pitch), 0, -np.sin(pitch)], [0, 1, 0], [np.sin(pitch), 0, np.cos(pitch)]])
    leftwards = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
    turn, centre = leftwards @ upwards, body.joints_m[pivot]
    joints = {
        name: centre + turn @ (joint - centre) if name.startswith(starts) else joint for name, joint in body.joints_m.items()
    }
    return body._replace(joints_m=joints)


def leaping(body: Body, phase: float, height_m: float, length_m: float) -> Body:
    """Two fifths of the turn in a crouch, the rest in the air: nose up while it rises, down while it falls."""
    if phase < 0.4:
        deep = 1 - 0.3 * float(np.sin(np.pi * phase / 0.4))
        return body._replace(joints_m={name: joint * (1, 1, deep) for name, joint in body.joints_m.items()})
    flown = (phase - 0.4) / 0.6
    pitch = np.radians(24 * (1 - 2 * flown))
    centre = np.array([length_m / 2, 0, 0.6 * length_m])
    turn = np.array([[np.cos(pitch), 0, -np.sin(pitch)], [0, 1, 0], [np.sin(pitch), 0, np.cos(pitch)]])
    up = np.array([0, 0, height_m * 4 * flown * (1 - flown)])
    return body._replace(joints_m={name: centre + turn @ (joint - centre) + up for name, joint in body.joints_m.items()})


# What animals do -------------------------------------------------------------------------------------------------------


def perched(animal: Animal, posture: str, look: float, voice: float) -> Body:
    """At rest: the head turns from side to side with `look`; with `voice` the mouth opens, and head and tail go up."""
    assert not isinstance(animal, Fish)
    body = pose(animal, posture, 0.0)
    wide = 0.5 - 0.5 * float(np.cos(2 * np.pi * voice))
    body = _with_jaw(body, 48 * wide, animal.length_m)
    body = turned(body, HEAD, "neck", 68 * float(np.sin(2 * np.pi * look)), 14 * float(np.cos(2 * np.pi * look)) + 20 * wide)
    tail = "tail_base" if "tail_base" in body.joints_m else "rump"
    return turned(body, ("tail_middle", "tail_end", "tail_-1", "tail_0", "tail_1"), tail, 0, -26 * wide)


def _with_jaw(body: Body, open_deg: float, length_m: float) -> Body:
    """A lower jaw that hangs so far from the upper one; a beak's upper half goes up a little."""
    end = "beak" if "beak" in body.joints_m else "muzzle"
    joints = {**body.joints_m, "jaw": body.joints_m[end] - [0, 0, 0.03 * length_m]}
    jawed = Body(joints, [*body.limbs, Limb("skull", "jaw", 0.05 * length_m, 0.03 * length_m, end)])
    return turned(turned(jawed, ("jaw",), "skull", 0, -open_deg), ("beak",), "skull", 0, 0.3 * open_deg)


def going(animal: Animal, posture: str, phase: float) -> Body:
    assert not isinstance(animal, Fish)
    return pose(animal, posture, phase)


def eating(animal: Animal, phase: float) -> Body:
    """The head goes down to the ground and up again, not all the way."""
    assert not isinstance(animal, Fish)
    body = pose(animal, "eating", phase)
    return turned(body, HEAD, "neck", 0, 12 - 12 * float(np.cos(2 * np.pi * phase)))


def jumping(animal: Animal, phase: float) -> Body:
    assert not isinstance(animal, Fish)
    in_the_air = phase >= 0.4
    body = pose(animal, "running" if in_the_air else "standing", 0.42)
    return leaping(body, phase, 1.1 * animal.length_m, animal.length_m)


def flying(animal: Animal, phase: float) -> Body:
    assert not isinstance(animal, Fish)
    body = pose(animal, "flying", phase)
    bob = np.array([0, 0, 0.18 * animal.length_m * float(np.cos(2 * np.pi * phase))])
    return body._replace(joints_m={name: joint + bob for name, joint in body.joints_m.items()})


def swimming(animal: Animal, phase: float) -> Body:
    """A fish in the water; a bird that sits on it and rocks; any other with its legs at a trot below the surface."""
    if isinstance(animal, Fish):
        return _fish(animal, phase)
    if not isinstance(animal, Bird):
        return pose(animal, "walking", phase)
    body = pose(animal, "sitting", phase)
    return turned(body, tuple(body.joints_m), "belly", 0, 7 * float(np.sin(2 * np.pi * phase)))


def _fish(fish: Fish, phase: float) -> Body:
    """A wave runs from the head to the tail, and grows."""

    def at(along: float, up: float = 0.0) -> Array:
        sway = 0.3 * (0.15 + max(along, 0.0)) ** 1.5 * np.sin(2 * np.pi * (phase - 0.8 * along))
        return np.array([-along, sway, up])

    deep, tail = fish.deep, fish.tail
    eye, out = at(-0.38, 0.25 * deep), np.array([0, 0.45 * deep, 0])
    joints = {
        "nose": at(-0.5),
        "chest": at(-0.2),
        "waist": at(0.15),
        "rump": at(0.5),
        "tail_up": at(0.5 + tail, 0.75 * deep),
        "tail_down": at(0.5 + tail, -0.75 * deep),
        "tail_middle": at(0.5 + 0.6 * tail),
        "back": at(-0.1, deep),
        "back_end": at(0.25, 1.5 * deep),
        "keel": at(0.1, -0.9 * deep),
        "keel_end": at(0.3, -1.4 * deep),
        "eye_left": eye + out,
        "eye_right": eye - out,
    }
    radii = (
        ("back", "back_end", 0.3, 0.1, "fin"),
        ("keel", "keel_end", 0.25, 0.08, "fin"),
        ("nose", "chest", 0.3, 0.95, "trunk"),
        ("chest", "waist", 0.95, 0.8, "trunk"),
        ("waist", "rump", 0.8, 0.25, "trunk"),
        ("rump", "tail_up", 0.2, 0.3, "fin"),
        ("rump", "tail_down", 0.2, 0.3, "fin"),
        ("rump", "tail_middle", 0.25, 0.3, "fin"),
        ("eye_left", "eye_left", 0.16, 0.16, "eye"),
        ("eye_right", "eye_right", 0.16, 0.16, "eye"),
    )
    limbs = [Limb(start, end, first * deep, last * deep, part) for start, end, first, last, part in radii]
    return grounded(joints, limbs, fish.length_m)
