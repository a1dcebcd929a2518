"""Faults put into the activity dataset on purpose, at known counts, to test that cleaning finds just these.

`plant` draws further pictures and harms each in its own way; the good ones stay good. `planted_faults.json` lists, for each
fault, the names of the pictures that bear it. In a picture with two people it is the second who bears the fault.

A right cleaning keeps `images` pictures and those of KEPT, JOINTS and PEOPLE.
"""

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np

from stages.embedded import writing
from stages.embedded.activity import ACTIVITIES, ActivityScenes, Picture, Plan, draw_picture, new_name
from stages.embedded.people import MPII_JOINTS

R_ANKLE, L_ANKLE, HEAD_TOP, WRIST = map(MPII_JOINTS.index, ("ankle_right", "ankle_left", "head_top", "wrist_left"))

# Oddities of the real file that harm nothing. In each, 16 joints of one person are at their places.
KEPT = {
    "visible_as_text": 5,  # "1" for 1
    "visible_empty": 5,  # an empty array, for some joints
    "visible_absent": 5,  # no such field
    "whole_numbers": 3,  # coordinates stored as small integers
    "no_scale": 3,
    "no_objpos": 3,
    "no_head_box": 3,
    "joint_on_edge": 6,  # x is the width, or y the height
}
# Joints of one person that cleaning has to set to (0, 0), or finds so or not at all.
JOINTS = {
    "joint_negative": 6,  # x or y
    "joint_outside": 6,  # x beyond the width, or y beyond the height
    "joint_negative_and_outside": 3,  # x negative, y beyond the height: the first rule takes it
    "joint_nan": 4,
    "head_top_zero": 5,  # at (0, 0) already
    "head_top_missing": 4,
    "head_top_negative": 3,
    "both_ankles_missing": 5,
    "both_ankles_negative": 2,
    "one_ankle_missing": 5,
}
# One of two people has to go.
PEOPLE = {
    "person_negative": 3,  # every joint
    "person_without_points": 4,  # `annopoints.point` is empty
    "person_without_annopoints": 4,  # `annopoints` is empty
}
# The picture has to go, or is a file that no row names.
REJECTED = {
    "no_category": 5,
    "no_annotation": 5,  # `annorect` is empty
    "no_annopoints": 3,  # no one has the field `annopoints`, as in MPII's own test set
    "nobody_left": 3,  # every joint of the only person is negative
    "truncated": 3,  # half a JPEG
    "zero_bytes": 2,
    "html": 2,  # an error page named .jpg
    "file_missing": 3,
    "file_not_listed": 3,
    "same_bytes_same_label": 3,  # one of two, the other being a good picture
    "same_bytes_other_label": 4,  # two files of the same bytes for each of half as many pictures
}
PLANTED = KEPT | JOINTS | PEOPLE | REJECTED
TWO_PEOPLE = frozenset(PEOPLE)
COPIED = {"same_bytes_same_label": 13}  # the first good picture that is copied

# What follows for the document's first two rules: how many joints each sets to (0, 0), those of `nobody_left` included.
NEGATIVE_JOINTS = (
    JOINTS["joint_negative"] + JOINTS["joint_negative_and_outside"] + JOINTS["head_top_negative"]
    + 2 * JOINTS["both_ankles_negative"] + 16 * (PEOPLE["person_negative"] + REJECTED["nobody_left"])
)  # fmt: skip
OUTSIDE_JOINTS = JOINTS["joint_outside"]
# And of the people who are kept, how many get a box with more room above or below.
WITHOUT_HEAD_TOP = JOINTS["head_top_zero"] + JOINTS["head_top_missing"] + JOINTS["head_top_negative"]
WITHOUT_ANKLES = JOINTS["both_ankles_missing"] + JOINTS["both_ankles_negative"]


def plant(pictures: list[Picture], images: Path, settings: ActivityScenes, seed: int) -> dict[str, list[str]]:
    """Add pictures with faults to `pictures` (in place) and to the folder of images. Returns {fault: file names}."""

    def draw(fault: str, _number: int, serial: int) -> Picture:
        return _drawn(serial, 1 + (fault in TWO_PEOPLE), settings, seed)

    def rename(picture: Picture, serial: int) -> Picture:
        return picture._replace(name=new_name(serial, seed))

    def relabel(picture: Picture) -> Picture:
        return picture._replace(act=_other(picture.act))

    return writing.plant(pictures, images, PLANTED, COPIED, draw, rename, relabel, lambda *given: [_harm(*given)])


def _drawn(number: int, people: int, settings: ActivityScenes, seed: int) -> Picture:
    """A picture of just so many people."""
    category = list(ACTIVITIES)[number % len(ACTIVITIES)]
    for attempt in range(50):
        picture = draw_picture(Plan(number + 10_000_000 * attempt, category, people, seed), settings)
        if picture.annorect and len(picture.annorect) == people:
            return picture
    raise AssertionError(f"no picture of {people} people came out")


def _other(act: dict[str, Any]) -> dict[str, Any]:
    names = list(ACTIVITIES)
    category = names[(names.index(act["cat_name"]) + 1) % len(names)]
    act_name, act_id = ACTIVITIES[category].acts[0]
    return {"cat_name": category, "act_name": act_name, "act_id": act_id}


def _harm(fault: str, picture: Picture, number: int) -> Picture:
    width, height = picture.size_px
    people = copy.deepcopy(picture.annorect) or []
    person = people[-1]
    points = person["annopoints"]["point"]

    def without(*joints: int) -> list[dict[str, Any]]:
        return [point for point in points if point["id"] not in joints]

    match fault:
        case "visible_as_text":
            for point in points:
                point["is_visible"] = str(point["is_visible"])
        case "visible_empty":
            for point in points[number % 3 :: 3]:
                point["is_visible"] = None
        case "visible_absent":
            for point in points:
                del point["is_visible"]
        case "whole_numbers":
            for point in points:
                point["x"], point["y"] = np.uint8(round(point["x"])), np.uint8(round(point["y"]))
        case "no_scale":
            del person["scale"]
        case "no_objpos":
            del person["objpos"]
        case "no_head_box":
            for field in ("x1", "y1", "x2", "y2"):
                del person[field]
        case "joint_on_edge":
            points[WRIST] |= {"y": float(height)} if number % 2 else {"x": float(width)}
        case "joint_negative":
            points[WRIST] |= {"y": -0.5} if number % 2 else {"x": -4.0}
        case "joint_outside":
            points[WRIST] |= {"y": height + 7.0} if number % 2 else {"x": width + 0.5}
        case "joint_negative_and_outside":
            points[WRIST] |= {"x": -1.0, "y": height + 3.0}
        case "joint_nan":
            points[WRIST] |= {"x": math.nan}
        case "head_top_zero":
            points[HEAD_TOP] |= {"x": 0.0, "y": 0.0, "is_visible": np.uint8(0)}
        case "head_top_missing":
            person["annopoints"]["point"] = without(HEAD_TOP)
        case "head_top_negative":
            points[HEAD_TOP] |= {"y": -2.0}
        case "both_ankles_missing":
            person["annopoints"]["point"] = without(R_ANKLE, L_ANKLE)
        case "both_ankles_negative":
            for joint in (R_ANKLE, L_ANKLE):
                points[joint] |= {"x": -3.0}
        case "one_ankle_missing":
            person["annopoints"]["point"] = without(L_ANKLE if number % 2 else R_ANKLE)
        case "person_negative" | "nobody_left":
            for point in points:
                point["x"] = -point["x"]
        case "person_without_points":
            person["annopoints"]["point"] = None
        case "person_without_annopoints":
            person["annopoints"] = None
        case "no_category":
            return picture._replace(act={"cat_name": None, "act_name": None, "act_id": -1})
        case "no_annotation":
            return picture._replace(annorect=None, img_train=0)
        case "no_annopoints":
            del person["annopoints"]
            return picture._replace(annorect=people, img_train=0)
        case "truncated":
            return picture._replace(jpeg=picture.jpeg[: len(picture.jpeg) // 2])
        case "zero_bytes":
            return picture._replace(jpeg=b"")
        case "html":
            return picture._replace(jpeg=b"<!DOCTYPE html>\n<html><body><h1>404 Not Found</h1></body></html>\n")
    return picture._replace(annorect=people)
