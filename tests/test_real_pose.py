"""The mapping of COCO's 17 joints to MPII's 16 in `benchmarks/real_pose.py`, by hand."""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from real_pose import COCO, from_coco

from stages.people import FLIPPED, JOINT_NAMES


def person(places: dict[str, tuple[float, float]], sure: dict[str, float] | None = None) -> np.ndarray:
    """A row of a network of COCO's joints: box, score, class; x, y, confidence of each joint, (0, 0) where not given."""
    joints = [(*places.get(name, (0.0, 0.0)), (sure or {}).get(name, 0.9)) for name in COCO]
    return np.array([[0, 0, 100, 200, 0.8, 0, *np.ravel(joints)]])


def mapped(row: np.ndarray) -> dict[str, tuple[float, ...]]:
    found = from_coco(row)
    assert found[:, :6].tolist() == row[:, :6].tolist()
    return dict(zip(JOINT_NAMES, map(tuple, found[0, 6:].reshape(16, 3).round(6).tolist()), strict=True))


def test_joints_that_both_know_stay_where_they_are() -> None:
    both = [name for name in JOINT_NAMES if name in COCO]
    assert len(both) == 12
    found = mapped(person({name: (float(n), 2.0 * n) for n, name in enumerate(both)}))
    assert {name: found[name] for name in both} == {name: (n, 2.0 * n, 0.9) for n, name in enumerate(both)}


def test_the_middle_of_the_body_and_the_head_are_made_of_what_lies_about_them() -> None:
    places = {
        "l_hip": (60, 100),
        "r_hip": (40, 100),
        "l_shoulder": (70, 40),
        "r_shoulder": (30, 40),
        "l_ear": (55, 20),
        "r_ear": (45, 20),
    }
    found = mapped(person(places, {"r_ear": 0.3, "l_hip": 0.5}))
    assert found["pelvis"] == (50, 100, 0.5)
    assert found["thorax"] == (50, 40, 0.9)
    assert found["upper_neck"] == (50, 30, 0.3)  # half way from between the shoulders to between the ears
    assert found["head_top"] == (50, 10, 0.3)  # as far above the ears as the neck lies below


def test_a_mirrored_person_is_mapped_to_the_mirrored_joints() -> None:
    rng = np.random.default_rng(0)
    places = {name: tuple(rng.uniform(0, 100, 2)) for name in COCO}
    other = {"l": "r", "r": "l"}
    swapped = {(f"{other[name[0]]}{name[1:]}" if name[1] == "_" else name): (100 - x, y) for name, (x, y) in places.items()}
    there, back = mapped(person(places)), mapped(person(swapped))
    for joint, name in enumerate(JOINT_NAMES):
        x, y, _ = back[JOINT_NAMES[FLIPPED[joint]]]
        assert np.allclose((100 - x, y), there[name][:2])
