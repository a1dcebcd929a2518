"""A posed body: named joints in metres and the limbs between them, and how it is seen from a camera.

Body axes: x forward, y to the body's left, z up; z = 0 is the ground. Camera axes: x right, y up, z towards the viewer.
Angles are in degrees.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Limb(NamedTuple):
    """A tapered limb: every sphere between two joints, its radius going from one to the other."""

    start: str
    end: str
    start_radius_m: float
    end_radius_m: float
    part: str  # which colour of the coat


class Body(NamedTuple):
    joints_m: dict[str, Array]  # name -> (3,)
    limbs: list[Limb]


class View(NamedTuple):
    """Heading 0: the body faces right; 90: away from the camera; 180: left; 270: into the camera."""

    heading_deg: float = 0.0
    elevation_deg: float = 8.0  # how far the camera looks down


def ahead(start: Array, length: float, pitch_deg: float, yaw_deg: float = 0.0) -> Array:
    """The point `length` from `start`, `pitch_deg` above the horizontal and turned `yaw_deg` to the left."""
    pitch, yaw = np.radians(pitch_deg), np.radians(yaw_deg)
    return start + length * np.array([np.cos(pitch) * np.cos(yaw), np.cos(pitch) * np.sin(yaw), np.sin(pitch)])


def hanging(start: Array, length: float, forward_deg: float, left_deg: float = 0.0) -> Array:
    """The point `length` below `start`, swung `forward_deg` to the front and `left_deg` to the left."""
    forward, left = np.radians(forward_deg), np.radians(left_deg)
    direction = [np.sin(forward), np.cos(forward) * np.sin(left), -np.cos(forward) * np.cos(left)]
    return start + length * np.array(direction)


def grounded(joints: dict[str, Array], limbs: list[Limb], scale_m: float = 1.0, lift_m: float = 0.0) -> Body:
    """The body scaled to metres and put down: its lowest surface, tail apart, is `lift_m` above the ground."""
    limbs = [limb._replace(start_radius_m=limb.start_radius_m * scale_m, end_radius_m=limb.end_radius_m * scale_m)
             for limb in limbs]  # fmt: skip
    lowest_m = min(
        min(joints[limb.start][2] * scale_m - limb.start_radius_m, joints[limb.end][2] * scale_m - limb.end_radius_m)
        for limb in limbs
        if not limb.part.startswith("tail")
    )
    down = np.array([0.0, 0.0, lowest_m - lift_m])
    return Body({name: joint * scale_m - down for name, joint in joints.items()}, limbs)


def project(body: Body, view: View) -> dict[str, Array]:
    """Joints as the camera sees them (parallel projection): name -> (3,) metres in camera axes."""
    heading, elevation = np.radians(view.heading_deg), np.radians(view.elevation_deg)
    turn = np.array([[np.cos(heading), -np.sin(heading), 0], [np.sin(heading), np.cos(heading), 0], [0, 0, 1]])
    # After the turn: x right, y away from the camera, z up.
    look = np.array([[1, 0, 0], [0, np.sin(elevation), np.cos(elevation)], [0, -np.cos(elevation), np.sin(elevation)]])
    return {name: look @ (turn @ joint) for name, joint in body.joints_m.items()}
