"""Metrics of joints by hand, against Ultralytics' own, and under changes that must not matter."""

import os
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.box_scores import average_precision, of_pictures
from stages.files import DataError
from stages.people import ABSENT, HEAD_COLUMNS, JOINT_NAMES, OCCLUDED, PERSON, VISIBLE, check_people, points
from stages.pose_scores import (
    head_sizes,
    joint_errors,
    map50_bootstrap,
    match,
    mean_average_precision,
    mean_pose,
    oks,
    pckh,
    pckh_bootstrap,
    pckh_by_joint,
    posed,
    summary,
    without_head,
)
from stages.predictions import JOINTS, PREDICTIONS, box_rows
from stages.samples import BOX_COLUMNS, BOXES, true_people
from stages.scores import interval

BOX = (0.0, 0.0, 100.0, 200.0)  # OKS is exp(-squared distance in px * 32 / 10600) in it: 0.5 at 15.15 px
HEAD = (0.0, 0.0, 30.0, 40.0)  # a diagonal of 50, a head size of 30, so that 15 px are half of it


def person(name: str, number: int = 0, box: tuple[float, ...] = BOX, head: tuple[float, ...] | None = HEAD,
           visible: int | list[int] = VISIBLE, at: float = 0.0):  # fmt: skip
    """(its row of people, its box, its 16 joints), joint k at (10 + 5 k + at, 20 + 10 k) in its box."""
    row = {"sample_id": name, "person": number, **dict(zip(HEAD_COLUMNS, head or [np.nan] * 4, strict=True))}
    seen = np.broadcast_to(visible, 16)
    joints = [
        {"sample_id": name, "person": number, "joint": k, "x_px": (box[0] + 10 + 5 * k + at) * (seen[k] > 0),
         "y_px": (box[1] + 20.0 + 10 * k) * (seen[k] > 0), "visible": int(seen[k])}
        for k in range(16)
    ]  # fmt: skip
    return row, {"sample_id": name, "label": PERSON, **dict(zip(BOX_COLUMNS, box, strict=True))}, joints


def truth(*people) -> pd.DataFrame:
    rows, boxes, joints = zip(*people, strict=True)
    table = pd.DataFrame(rows).assign(scale=np.nan, centre_x_px=np.nan, centre_y_px=np.nan)
    return true_people(*check_people(table, pd.DataFrame(list(chain(*joints)))), BOXES.validate(pd.DataFrame(boxes)))


def guesses(true: pd.DataFrame, *rows: tuple[int, float, float], pictures: str | None = None) -> pd.DataFrame:
    """(row of `true`, score, px that every joint lies to the right of where it should) -> predictions."""
    found = true.iloc[[row for row, _, _ in rows]].assign(score=[score for _, score, _ in rows])
    moved = points(found)
    moved[..., 0] += np.array([shift for _, _, shift in rows]).reshape(-1, 1)
    moved[..., 2] = 0.9
    found["joints"] = list(moved.reshape(-1, 48))
    columns = found[["sample_id", "label", "score", *BOX_COLUMNS, "joints"]]
    names = pictures.split() if pictures else sorted(set(true["sample_id"]))
    return PREDICTIONS.validate(box_rows(columns, pd.Series(names), JOINTS))


# --- tables ------------------------------------------------------------------------------------------------------------


def test_true_people_have_their_own_boxes_and_joints_in_whatever_order_the_tables_are() -> None:
    other = (300.0, 0.0, 400.0, 200.0)
    rows, boxes, joints = zip(person("q"), person("p", 1, other), person("p", 0), strict=True)
    people = pd.DataFrame(rows).assign(scale=np.nan, centre_x_px=np.nan, centre_y_px=np.nan)
    mixed = pd.DataFrame(list(chain(*joints))).sample(frac=1, random_state=0)
    true = true_people(people, mixed, pd.DataFrame(boxes))
    assert true[["sample_id", "person"]].to_numpy().tolist() == [["p", 0], ["p", 1], ["q", 0]]
    assert true["x_min_px"].tolist() == [0, 300, 0]
    assert points(true)[:, 2].tolist() == [[20, 40, VISIBLE], [320, 40, VISIBLE], [20, 40, VISIBLE]]
    for fewer in (boxes[:2], boxes[1:]):
        with pytest.raises(DataError, match="[pq]: not one box for each person. Run `dvc repro`"):
            true_people(people, mixed, pd.DataFrame(fewer))
    assert [len(table) for table in of_pictures(guesses(true, (0, 1, 0)), true, ["p"])] == [1, 2]


# --- OKS ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shift_px", "expected"), [(0, 1), (10, np.exp(-100 * 32 / 10600)), (1000, 0)])
def test_oks_by_hand(shift_px: float, expected: float) -> None:
    """exp(-d² / (2 s² k²)) with s² = 0.53 of the box's area, 10,600 px², and k = 2 / 16: 2 s² k² = 331.25 px²."""
    true = truth(person("p"))
    there = points(true) + np.array([shift_px, 0, 0])
    assert oks(there, points(true), true[BOX_COLUMNS].to_numpy()) == pytest.approx([expected], abs=1e-12)
    assert expected == pytest.approx(np.exp(-(shift_px**2) / 331.25), abs=1e-12)


def test_oks_is_the_mean_over_annotated_joints_occluded_ones_included() -> None:
    true = truth(person("p", visible=[VISIBLE, OCCLUDED] + [ABSENT] * 14))
    there = points(true)
    there[0, 1] += [1e6, 0, 0]  # the occluded one is nowhere
    there[0, 2:] = 777  # an absent one has no say
    assert oks(there, points(true), true[BOX_COLUMNS].to_numpy()).tolist() == [0.5]


@pytest.mark.parametrize(("rows", "map50", "map50_95"), [
    ([(0, 0.9, 0), (1, 0.8, 0)], 1, 1),
    ([(0, 0.9, 0)], 51 / 101, 51 / 101),  # one of two found: recalls 0 to 0.5 of 101
    ([(0, 0.9, 8), (1, 0.8, 8)], 1, 0.7),  # OKS exp(-64 / 331.25) = 0.824 passes 0.5 to 0.8
    ([(0, 0.9, 16), (1, 0.8, 16)], 0, 0),  # 0.462
    ([(0, 0.9, 50), (0, 0.8, 0), (1, 0.7, 0)], (51 * 2 / 3 + 50 * 2 / 3) / 101, None),  # the surest is wrong
    ([(0, 0.9, 0), (0, 0.8, 0)], 51 / 101, None),  # nobody is found twice
])  # fmt: skip
def test_map_by_hand(rows: list[tuple[int, float, float]], map50: float, map50_95: float | None) -> None:
    true = truth(person("p"), person("q"))
    found = guesses(true, *rows, pictures="p q r")
    result = mean_average_precision(found, true)
    assert result["map50"] == pytest.approx(map50)
    assert map50_95 is None or result["map50_95"] == pytest.approx(map50_95)
    hit = match(found, true)["hit"].to_numpy()
    assert average_precision(hit, np.ones(len(hit), int), 2) == pytest.approx(map50)


def test_map_of_nobody_found_and_of_nobody_there() -> None:
    true = truth(person("p"))
    assert mean_average_precision(guesses(true), true) == {"map50": 0, "map50_95": 0}
    with pytest.raises(DataError, match="without one true person"):
        mean_average_precision(guesses(true, (0, 1, 0)), true[:0])


def crowd(seed: int, pictures: int = 40, wrong_px: float = 14) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Pictures of one to three people side by side, some not found, some found twice, with errors of all sizes."""
    rng = np.random.default_rng(seed)
    people = []
    for i in range(pictures):
        for number in range(rng.integers(1, 4)):
            seen = rng.choice([ABSENT, OCCLUDED, VISIBLE], 16, p=[0.2, 0.2, 0.6])
            seen[3] = VISIBLE
            w, h = rng.uniform(60, 120), rng.uniform(120, 260)
            box = (200.0 * number, 5.0, 200.0 * number + w, 5 + h)
            head = None if rng.random() < 0.1 else (0.0, 0.0, *rng.uniform(20, 40, 2))
            people.append(person(f"p{i:03}", number, box, head, seen.tolist()))
    true = truth(*people)
    rows = [row for row in range(len(true)) for _ in range(rng.choice([0, 1, 2], p=[0.1, 0.8, 0.1]))]
    found = guesses(true, *[(row, float(rng.uniform(0.05, 1)), float(rng.normal(0, wrong_px))) for row in rows])
    return found, true


def test_map_is_that_of_ultralytics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its validator matches by its own OKS and averages by its own rule; each of the two in full."""
    monkeypatch.setitem(os.environ, "YOLO_CONFIG_DIR", str(tmp_path / "settings"))
    monkeypatch.setitem(os.environ, "YOLO_OFFLINE", "true")
    from ultralytics.models.yolo.pose import PoseValidator

    found, true = crowd(1, 150, wrong_px=6)
    validator = PoseValidator(save_dir=tmp_path / "run", args={"plots": False})
    validator.sigma, validator.metrics.names = np.ones(16) / 16, {0: PERSON}
    for name in sorted(set(true["sample_id"])):
        guess, there = (table[(table["sample_id"] == name) & (table["label"] == PERSON)] for table in (found, true))
        both = [
            {
                "bboxes": torch.tensor(rows[BOX_COLUMNS].to_numpy()), "cls": torch.zeros(len(rows)),
                "keypoints": torch.tensor(points(rows)),
            }
            for rows in (guess, there)
        ]  # fmt: skip
        validator.metrics.update_stats(
            {
                **validator._process_batch(*both), "conf": guess["score"].to_numpy(), "pred_cls": np.zeros(len(guess)),
                "target_cls": np.zeros(len(there)), "target_img": np.zeros(1), "im_name": name,
            }
        )  # fmt: skip
    validator.metrics.process(save_dir=tmp_path / "run")
    own = mean_average_precision(found, true)
    assert 0.3 < own["map50_95"] < own["map50"] < 0.95
    assert own["map50"] == pytest.approx(validator.metrics.pose.map50, abs=0.01)
    assert own["map50_95"] == pytest.approx(validator.metrics.pose.map, abs=0.01)


@pytest.mark.parametrize("seed", range(3))
def test_matches_and_the_evaluator_say_the_same(seed: int) -> None:
    found, true = crowd(seed)
    hit = match(found, true)["hit"].to_numpy()
    whole = average_precision(hit, np.ones(len(hit), int), len(true))
    assert whole == pytest.approx(mean_average_precision(found, true)["map50"], abs=1e-9)


# --- PCKh --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("head", "expected"), [(HEAD, 30), ((5.0, 5.0, 5.0, 5.0), 0), (None, np.nan)])
def test_head_size(head: tuple[float, ...] | None, expected: float) -> None:
    true = truth(person("p", head=head))
    assert head_sizes(true).tolist() == pytest.approx([expected], nan_ok=True)
    assert without_head(true) == (head is not HEAD)
    assert joint_errors(guesses(true, (0, 1, 0)), true).empty == (head is not HEAD)


@pytest.mark.parametrize(("shift_px", "expected"), [(0, 1), (15, 1), (15.001, 0), (-15, 1), (1000, 0)])
def test_half_a_head_size_is_still_right(shift_px: float, expected: float) -> None:
    true = truth(person("p"))
    errors = joint_errors(guesses(true, (0, 0.4, shift_px)), true)
    assert (len(errors), pckh(errors)) == (16, expected)
    assert errors["error"].to_numpy() == pytest.approx(abs(shift_px) / 30)


def test_people_whom_nobody_found_are_wrong_and_absent_joints_do_not_count() -> None:
    seen = person("p", visible=[VISIBLE] * 3 + [ABSENT] * 12 + [OCCLUDED])
    true = truth(seen, person("q"))
    errors = joint_errors(guesses(true, (0, 0.4, 0)), true)
    assert len(errors) == 20 and pckh(errors) == 4 / 20
    by_joint = pckh_by_joint(errors).set_index("joint")
    assert list(by_joint.index) == list(JOINT_NAMES)
    assert by_joint.loc[["r_ankle", "pelvis", "l_wrist"]].to_numpy().tolist() == [[2, 0.5], [1, 0], [2, 0.5]]
    none = pckh_by_joint(errors[errors["joint"] == 0])
    assert none["n"].tolist() == [2] + [0] * 15 and none["pckh"].isna().sum() == 15


def test_the_surest_of_those_in_a_persons_box_is_the_one_compared() -> None:
    true = truth(person("p"))
    assert pckh(joint_errors(guesses(true, (0, 0.9, 100), (0, 0.8, 0)), true)) == 0
    assert pckh(joint_errors(guesses(true, (0, 0.7, 100), (0, 0.8, 0)), true)) == 1


def test_a_box_elsewhere_is_nobody_however_good_its_joints() -> None:
    true = truth(person("p"))
    found = guesses(true, (0, 0.9, 0)).assign(x_min_px=60.0)  # 40 of 100 px wide: an IoU of 0.4
    assert pckh(joint_errors(found, true)) == 0
    assert pckh(joint_errors(found.assign(x_min_px=50.0), true)) == 1


# --- the mean pose -----------------------------------------------------------------------------------------------------


def test_mean_pose_by_hand() -> None:
    low, high = person("p"), person("q", at=20, visible=[VISIBLE] * 15 + [ABSENT])
    pose = mean_pose(truth(low, high))
    assert pose[0].tolist() == [0.2, 0.1]  # 10 and 30 of 100 px, 20 of 200
    assert pose[15].tolist() == pytest.approx([0.85, 0.85])  # the first's alone
    assert mean_pose(truth(person("p", visible=[VISIBLE] + [ABSENT] * 15)))[1].tolist() == [0.5, 0.5]


def test_the_mean_pose_in_boxes() -> None:
    true = truth(person("p"), person("q", box=(100.0, 100.0, 300.0, 500.0)))
    placed = points(posed(true, mean_pose(truth(person("p")))))
    assert placed[0, :, :2] == pytest.approx(points(true)[0, :, :2])
    assert placed[1, 0].tolist() == [120, 140, 1]  # twice as large
    found = posed(guesses(true, (0, 0.5, 100), pictures="p q"), mean_pose(truth(person("p"))))
    assert found["label"].tolist() == [PERSON, "empty"] and found["joints"].isna().tolist() == [False, True]
    assert pckh(joint_errors(found, true)) == 0.5  # right in p, and q is not found


# --- intervals ---------------------------------------------------------------------------------------------------------


def test_intervals_cover_the_value_and_tell_of_sequences() -> None:
    found, true = crowd(3, 60)
    seq_ids = pd.Series(sorted(set(true["sample_id"])), index=sorted(set(true["sample_id"])))
    errors = joint_errors(found, true)
    drawn = pckh_bootstrap(errors, seq_ids, 500, 0)
    low, high = interval(drawn)
    assert low < pckh(errors) < high and drawn.mean() == pytest.approx(pckh(errors), abs=0.02)
    low50, high50 = interval(map50_bootstrap(match(found, true), true, seq_ids, 200, 0))
    assert low50 < mean_average_precision(found, true)["map50"] < high50
    few = interval(pckh_bootstrap(errors, seq_ids.str[:3], 500, 0))  # sequences of ten pictures
    assert few != (low, high)
    one = pckh_bootstrap(errors, seq_ids.str[:1], 5, 0)  # a single sequence is always the same
    assert one.tolist() == pytest.approx([pckh(errors)] * 5)
    with pytest.raises(KeyError):
        pckh_bootstrap(errors, seq_ids[1:], 5, 0)


def test_pckh_bootstrap_by_hand() -> None:
    """Two pictures, one right in all and one wrong in all its joints, of 16 and 4: the shares of all draws are 0, 16/20 and 1."""
    true = truth(person("p"), person("q", visible=[VISIBLE] * 4 + [ABSENT] * 12))
    errors = joint_errors(guesses(true, (0, 0.5, 0)), true)
    drawn = pckh_bootstrap(errors, pd.Series({"p": "p", "q": "q", "r": "r"}), 400, 0)
    values = sorted(set(np.round(drawn[~np.isnan(drawn)], 6)))
    # r, empty, may be drawn instead of either, or alone, which says nothing
    assert set(values) == {0, 0.666667, 0.8, 0.888889, 1} and np.isnan(drawn).mean() == pytest.approx(1 / 27, abs=0.03)


def test_summary_of_a_part() -> None:
    found, true = crowd(5, 50, wrong_px=6)
    seq_ids = pd.Series(sorted(set(true["sample_id"])), index=sorted(set(true["sample_id"])))
    figures, by_joint = summary(found, true, np.full((16, 2), 0.5), seq_ids, 200, 0)
    assert (figures["n"], figures["people"]) == (50, len(true))
    assert figures["pckh"] == pckh(joint_errors(found, true)) > figures["mean_pose"]
    assert figures["gain"] == figures["pckh"] - figures["mean_pose"]
    for name in ("map50", "pckh", "gain"):
        assert figures[f"{name}_low"] < figures[name] < figures[f"{name}_high"]
    assert by_joint["n"].sum() == figures["joints"]
    headless, _ = summary(found, true.assign(**dict.fromkeys(HEAD_COLUMNS, np.nan)), np.full((16, 2), 0.5), seq_ids, 20, 0)
    assert "pckh" not in headless and headless["map50"] == figures["map50"]
    assert headless["people_without_head"] == len(true)


# --- invariances -------------------------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), factor=st.floats(0.2, 5), shift=st.floats(0, 300))
def test_a_picture_at_another_size_or_place_scores_the_same(seed: int, factor: float, shift: float) -> None:
    found, true = crowd(seed, 8)

    def moved(table: pd.DataFrame) -> pd.DataFrame:
        joints = points(table) * [factor, factor, 1] + [shift, shift, 0]
        heads = [name for name in HEAD_COLUMNS if name in table]
        return table.assign(
            joints=list(joints.reshape(-1, 48)),
            **{name: table[name] * factor + shift for name in [*BOX_COLUMNS, *heads]},
        )

    found = found[found["label"] == PERSON]
    a, b = joint_errors(found, true), joint_errors(moved(found), moved(true))
    assert a["error"].to_numpy() == pytest.approx(b["error"].to_numpy(), rel=1e-6, abs=1e-6)
    kept = match(found, true)["hit"], match(moved(found), moved(true))["hit"]
    assert kept[0].equals(kept[1])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_order_of_rows_and_people_found_over_nobody_do_not_matter_to_pckh(seed: int) -> None:
    found, true = crowd(seed, 8)
    nobody = guesses(
        true.assign(**{name: true[name] + 5000 for name in BOX_COLUMNS}), *[(row, 0.99, 0) for row in range(len(true))]
    )
    more = pd.concat([found, nobody]).sample(frac=1, random_state=seed % 1000)
    assert pckh(joint_errors(more, true)) == pckh(joint_errors(found, true))
    assert 0 <= pckh(joint_errors(found, true)) <= 1


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), at=st.floats(0, 2))
def test_a_wider_tolerance_never_lowers_pckh(seed: int, at: float) -> None:
    errors = joint_errors(*crowd(seed, 8))
    assert pckh(errors, at) <= pckh(errors, at + 0.1)
