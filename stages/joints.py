"""The document's rules for people's joints, as pure functions on tables (stages/people.py says what is in them).

In its order: (1) x < 0 or y < 0, and (2) x > width or y > height: the joint becomes (0, 0), which stands for absent; (3) a
picture without a category and (4) one without an annotation are dropped, as is a person with no joint left, and then a picture
with nobody left. `clean` drops people and pictures; joints are repaired, and boxes put around them, here.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.people import ABSENT, HEAD_TOP, L_ANKLE, R_ANKLE
from stages.settings import Record

NEGATIVE, OUT_OF_BOUNDS, NOT_A_NUMBER = "negative", "out_of_bounds", "not_a_number"
REPAIRS = (NEGATIVE, OUT_OF_BOUNDS, NOT_A_NUMBER)
_PLACE = ["x_px", "y_px"]


class JointSettings(Record):
    strict_edge: bool = False  # whether a joint at the very edge, x = width or y = height, is out of bounds too


def has_place(joints: pd.DataFrame) -> pd.Series:
    """Which joints are there, a NaN included. (0, 0) stands for absent, whatever its visibility says."""
    return (joints["visible"] != ABSENT) & ~((joints["x_px"] == 0) & (joints["y_px"] == 0))


def repaired(joints: pd.DataFrame, sizes_px: NDArray[np.float64], strict_edge: bool) -> tuple[pd.DataFrame, pd.Series]:
    """Rules 1 and 2 -> (joints, one of REPAIRS or "" for each row). Joints without a place come back as (0, 0), ABSENT.

    `sizes_px` (n, 2) is the width and height of each row's picture. What is no finite number is no place, under its own name.
    """
    places = joints[_PLACE].to_numpy(dtype=float)
    beyond = places >= sizes_px if strict_edge else places > sizes_px
    faults = [~np.isfinite(places).all(axis=1), (places < 0).any(axis=1), beyond.any(axis=1)]
    fault = np.select(faults, [NOT_A_NUMBER, NEGATIVE, OUT_OF_BOUNDS], "")
    there = has_place(joints).to_numpy()
    rule = pd.Series(np.where(there, fault, ""), joints.index, dtype=str)
    good = there & (fault == "")
    visible = np.where(good, joints["visible"], ABSENT).astype("int64")
    places = np.where(good[:, None], places, 0.0)
    return joints.assign(x_px=places[:, 0], y_px=places[:, 1], visible=visible), rule


def padded_boxes(
    places_px: NDArray[np.float64], present: NDArray[np.bool_], head_padding: float, feet_padding: float
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
    """The box around each person's joints: places (n, 16, 2), present (n, 16) -> (xyxy (n, 4), padded at head, at feet (n,)).

    Without a head-top the box grows upwards by `head_padding` of its height, and without both ankles, not one, downwards by
    `feet_padding` of it. Boxes may reach over the picture's edge. Each person has a joint at least.
    """
    low = np.where(present[..., None], places_px, np.inf).min(axis=1)
    high = np.where(present[..., None], places_px, -np.inf).max(axis=1)
    height = high[:, 1] - low[:, 1]
    head, feet = ~present[:, HEAD_TOP], ~(present[:, R_ANKLE] | present[:, L_ANKLE])
    low[:, 1] -= np.where(head, head_padding * height, 0)
    high[:, 1] += np.where(feet, feet_padding * height, 0)
    return np.concatenate([low, high], axis=1), head, feet
