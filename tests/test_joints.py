"""The document's rules on joints as pure functions, each case of the specification. Fault 26."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.joints import NEGATIVE, NOT_A_NUMBER, OUT_OF_BOUNDS, has_place, padded_boxes, repaired
from stages.people import ABSENT, HEAD_TOP, L_ANKLE, OCCLUDED, R_ANKLE, VISIBLE

WIDTH, HEIGHT = 640, 480
NAN, INF = float("nan"), float("inf")


def table(*rows: tuple[float, float, int]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["x_px", "y_px", "visible"]).astype({"x_px": float, "y_px": float})


def repair_one(x: float, y: float, visible: int = VISIBLE, strict_edge: bool = False) -> tuple[tuple[float, float, int], str]:
    joints, rule = repaired(table((x, y, visible)), np.array([[WIDTH, HEIGHT]], dtype=float), strict_edge)
    (row,) = joints.itertuples(index=False, name=None)
    return row, rule.iloc[0]


@pytest.mark.parametrize(
    ("x", "y", "rule"),
    [
        (-1, 5, NEGATIVE),
        (5, -1, NEGATIVE),
        (-0.001, 5, NEGATIVE),
        (-1, -1, NEGATIVE),
        (-1, HEIGHT + 1, NEGATIVE),  # rule 1 comes first
        (-1, 0, NEGATIVE),
        (WIDTH + 1, 5, OUT_OF_BOUNDS),
        (5, HEIGHT + 1, OUT_OF_BOUNDS),
        (WIDTH + 0.001, HEIGHT, OUT_OF_BOUNDS),
        (HEIGHT, WIDTH, OUT_OF_BOUNDS),
        (1e300, 5, OUT_OF_BOUNDS),
        (NAN, 5, NOT_A_NUMBER),
        (5, NAN, NOT_A_NUMBER),
        (NAN, -1, NOT_A_NUMBER),
        (0, NAN, NOT_A_NUMBER),
        (INF, 5, NOT_A_NUMBER),
        (5, -INF, NOT_A_NUMBER),
    ],
)
@pytest.mark.parametrize("visible", [OCCLUDED, VISIBLE])
@pytest.mark.parametrize("strict_edge", [False, True])
def test_fault_26_a_joint_outside_becomes_0_0_without_visibility(
    x: float, y: float, rule: str, visible: int, strict_edge: bool
) -> None:
    assert repair_one(x, y, visible, strict_edge) == ((0, 0, ABSENT), rule)


@pytest.mark.parametrize(("x", "y"), [(0, 5), (5, 0), (0.001, 0), (5, 5), (WIDTH - 0.001, HEIGHT - 0.001)])
@pytest.mark.parametrize("visible", [OCCLUDED, VISIBLE])
@pytest.mark.parametrize("strict_edge", [False, True])
def test_a_joint_inside_stays_as_it_is(x: float, y: float, visible: int, strict_edge: bool) -> None:
    assert repair_one(x, y, visible, strict_edge) == ((x, y, visible), "")


@pytest.mark.parametrize(("x", "y"), [(WIDTH, 5), (5, HEIGHT), (WIDTH, HEIGHT), (0, HEIGHT)])
def test_a_joint_at_the_very_edge_stays_unless_the_edge_is_strict(x: float, y: float) -> None:
    assert repair_one(x, y) == ((x, y, VISIBLE), "")
    assert repair_one(x, y, strict_edge=True) == ((0, 0, ABSENT), OUT_OF_BOUNDS)


@pytest.mark.parametrize(("x", "y", "visible"), [(0, 0, VISIBLE), (0, 0, OCCLUDED), (0, 0, ABSENT), (-4, 9999, ABSENT)])
def test_an_absent_joint_needs_no_rule(x: float, y: float, visible: int) -> None:
    assert repair_one(x, y, visible) == ((0, 0, ABSENT), "")


def test_each_row_has_its_own_picture() -> None:
    joints, rule = repaired(table((50, 50, 2), (50, 50, 2), (50, 50, 2)), np.array([[40.0, 60], [60, 60], [60, 40]]), False)
    assert rule.tolist() == [OUT_OF_BOUNDS, "", OUT_OF_BOUNDS]
    assert joints["visible"].tolist() == [0, 2, 0]


def test_no_joints_at_all() -> None:
    joints, rule = repaired(table(), np.zeros((0, 2)), False)
    assert len(joints) == len(rule) == 0
    assert padded_boxes(np.zeros((0, 16, 2)), np.zeros((0, 16), dtype=bool), 0.1, 0.15)[0].shape == (0, 4)


numbers = st.one_of(st.floats(-50, 700), st.sampled_from([0.0, WIDTH, HEIGHT, NAN, INF, -INF, -0.0]))


@given(st.lists(st.tuples(numbers, numbers, st.sampled_from([ABSENT, OCCLUDED, VISIBLE])), max_size=20), st.booleans())
def test_what_is_left_lies_inside_and_did_not_move(rows: list[tuple[float, float, int]], strict_edge: bool) -> None:
    before = table(*rows)
    sizes = np.full((len(rows), 2), [WIDTH, HEIGHT], dtype=float)
    after, rule = repaired(before, sizes, strict_edge)
    left = after["visible"] != ABSENT
    pd.testing.assert_frame_equal(after[left], before[left], check_dtype=False)
    assert (after.loc[~left, ["x_px", "y_px"]] == 0).all(axis=None)
    assert after["x_px"].between(0, WIDTH).all()
    assert after["y_px"].between(0, HEIGHT).all()
    assert has_place(after).equals(left)
    assert has_place(before).sum() == left.sum() + (rule != "").sum()  # none is lost uncounted
    again, none = repaired(after, sizes, strict_edge)
    pd.testing.assert_frame_equal(again, after)
    assert (none == "").all()


# Boxes ---------------------------------------------------------------------------------------------------------------


def box(joints: dict[int, tuple[float, float]], head: float = 0.10, feet: float = 0.15) -> tuple[list[float], bool, bool]:
    places, present = np.zeros((1, 16, 2)), np.zeros((1, 16), dtype=bool)
    for number, place in joints.items():
        places[0, number], present[0, number] = place, True
    boxes, padded_head, padded_feet = padded_boxes(places, present, head, feet)
    return boxes[0].tolist(), bool(padded_head[0]), bool(padded_feet[0])


WHOLE = {HEAD_TOP: (50, 100), R_ANKLE: (40, 300), L_ANKLE: (60, 290), 6: (70, 200)}


@pytest.mark.parametrize(
    ("missing", "expected", "head", "feet"),
    [
        ([], [40, 100, 70, 300], False, False),
        ([L_ANKLE], [40, 100, 70, 300], False, False),  # one ankle: nothing is added
        ([R_ANKLE], [50, 100, 70, 290], False, False),
        ([R_ANKLE, L_ANKLE], [50, 100, 70, 200 + 0.15 * 100], False, True),
        ([HEAD_TOP], [40, 200 - 0.10 * 100, 70, 300], True, False),
        ([HEAD_TOP, L_ANKLE], [40, 200 - 0.10 * 100, 70, 300], True, False),
    ],
)
def test_padding_where_the_ends_of_a_body_are_absent(missing: list[int], expected: list[float], head: bool, feet: bool) -> None:
    joints = {number: place for number, place in WHOLE.items() if number not in missing}
    assert box(joints) == (expected, head, feet)


def test_both_paddings_are_shares_of_the_box_around_the_joints() -> None:
    joints = {2: (10, 100), 3: (30, 200)}
    assert box(joints) == ([10, 90, 30, 215], True, True)
    assert box(joints, head=0.5, feet=0) == ([10, 50, 30, 200], True, True)
    assert box(joints, head=0, feet=1) == ([10, 100, 30, 300], True, True)


def test_one_joint_alone_spans_nothing() -> None:
    assert box({6: (5, 7)}) == ([5, 7, 5, 7], True, True)


@given(st.dictionaries(st.integers(0, 15), st.tuples(st.floats(0, WIDTH), st.floats(0, HEIGHT)), min_size=1),
       st.floats(0, 1), st.floats(0, 1))  # fmt: skip
def test_every_joint_lies_in_the_box(joints: dict[int, tuple[float, float]], head: float, feet: float) -> None:
    (x_min, y_min, x_max, y_max), padded_head, padded_feet = box(joints, head, feet)
    places = np.array(list(joints.values()))
    assert (x_min, x_max) == (places[:, 0].min(), places[:, 0].max())
    low, high = places[:, 1].min(), places[:, 1].max()
    assert y_min == low - (head * (high - low) if padded_head else 0)
    assert y_max == high + (feet * (high - low) if padded_feet else 0)
    assert padded_head == (HEAD_TOP not in joints)
    assert padded_feet == (R_ANKLE not in joints and L_ANKLE not in joints)
