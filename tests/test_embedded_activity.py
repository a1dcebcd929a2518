"""The drawn people, their surroundings, the activity dataset in MPII's own form, and the faults planted in it."""

import io
import math
from collections import Counter
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError
from scipy.io import loadmat, savemat

from stages.clean import CleanSettings, clean_all
from stages.datasets import mpii
from stages.embedded import activity, activity_faults
from stages.embedded.activity import ACTIVITIES, ANNOTATIONS, ActivityScenes, draw_picture, matlab, plan
from stages.embedded.activity_faults import JOINTS, KEPT, PEOPLE, PLANTED, REJECTED
from stages.embedded.figures import FIGURES, pose
from stages.embedded.people import CRANK, POSTURES
from stages.embedded.surroundings import KINDS, surroundings
from stages.files import describe_files, read_json
from stages.people import BONES, HEAD_TOP, L_ANKLE, R_ANKLE
from tests.embedded_helpers import drawn_once, files_of

SMALL = ActivityScenes(images=20, least_px=96, most_px=112)

written = drawn_once(activity, SMALL)


@pytest.fixture(scope="module")
def release(written: Path) -> Any:
    return loadmat(written / ANNOTATIONS, struct_as_record=False, squeeze_me=True)["RELEASE"]


@pytest.fixture(scope="module")
def planted(written: Path) -> dict[str, list[str]]:
    return read_json(written / "planted_faults.json")


# Postures


def joints_of(posture: str, phase: float) -> dict[str, np.ndarray]:
    return pose(FIGURES["person"], posture, phase).joints_m


def test_each_posture_is_what_its_name_says() -> None:
    stands, lies, reclines, bends = (joints_of(name, 0.25) for name in ("standing", "lying", "reclining", "bending"))
    assert max(at[2] for at in lies.values()) < 0.6 < 1.6 < stands["head_top"][2]
    assert lies["ankle_right"][0] - lies["head_top"][0] > 1.4
    assert reclines["pelvis"][2] < 0.2 < 0.5 < reclines["head_top"][2] < 0.9
    assert bends["head_top"][0] - bends["pelvis"][0] > 0.6
    assert abs(bends["neck"][2] - bends["pelvis"][2]) < 0.2
    squats = joints_of("squatting", 0.25)
    assert abs(squats["pelvis"][2] - squats["knee_left"][2]) < 0.12
    apart, together = joints_of("star_jump", 0.5), joints_of("star_jump", 0.0)
    for side, sign in (("left", 1), ("right", -1)):
        assert apart[f"wrist_{side}"][2] > apart["head_top"][2]
        assert sign * apart[f"ankle_{side}"][1] > 3 * sign * together[f"ankle_{side}"][1] > 0
    right, left = joints_of("dancing", 0.25), joints_of("dancing", 0.75)
    assert right["knee_right"][2] - right["knee_left"][2] > 0.15 < left["knee_left"][2] - left["knee_right"][2]
    assert right["wrist_left"][2] > right["head_top"][2] > 1.4 > right["wrist_right"][2]


def test_a_jump_leaves_the_ground_for_half_of_its_turn() -> None:
    lowest = [
        min(joints_of("jumping", phase)[f"toe_{side}"][2] for side in ("left", "right")) for phase in np.linspace(0, 1, 9)
    ]
    assert max(lowest[:5]) < 0.1 < 0.3 < lowest[6]
    assert joints_of("jumping", 0.75)["wrist_right"][2] > joints_of("jumping", 0.75)["head_top"][2]


@given(st.floats(0, 1))
@settings(max_examples=25, deadline=None)
def test_a_cyclists_feet_follow_the_pedals_and_hands_reach_the_handlebar(phase: float) -> None:
    at, height = joints_of("cycling", phase), FIGURES["person"].length_m
    turned = {side: (at[f"ankle_{side}"] - at["crank"])[[0, 2]] / height for side in ("right", "left")}
    for side in turned:
        assert np.hypot(*turned[side]) == pytest.approx(CRANK, abs=1e-9)
        assert np.linalg.norm((at[f"wrist_{side}"] - at["handlebar"])[[0, 2]]) < 0.1 * height
    np.testing.assert_allclose(turned["right"], -turned["left"], atol=1e-9)


@pytest.mark.parametrize(
    ("posture", "phase", "ankle", "wrist"),
    [
        ("walking", 0.1, (0.0754, -0.1091, 0.1431), (0.2561, 0.2446, 0.8443)),
        ("running", 0.35, (0.4461, -0.1077, 0.1126), (0.5053, 0.2159, 1.1311)),
        ("sitting", 0.8, (0.3897, -0.0948, 0.0853), (0.3456, 0.2377, 0.5736)),
    ],
)
def test_the_older_postures_are_as_they_were_before_the_new_ones(
    posture: str, phase: float, ankle: tuple[float, ...], wrist: tuple[float, ...]
) -> None:
    at = joints_of(posture, phase)
    np.testing.assert_allclose(at["ankle_right"], ankle, atol=6e-5)
    np.testing.assert_allclose(at["wrist_left"], wrist, atol=6e-5)
    assert "crank" not in at  # only who rides has a bicycle


# Surroundings


@pytest.mark.parametrize("name", KINDS)
def test_surroundings_are_drawn_anew_each_time_and_hide_only_with_what_stands(name: str) -> None:
    one, same, other = (surroundings(name, 96, 72, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert one.rgb.shape == (72, 96, 3)
    assert one.distance_m.shape == one.standing.shape == (72, 96)
    np.testing.assert_array_equal(one.rgb, same.rgb)
    assert np.abs(one.rgb - other.rgb).mean() > 0.02
    assert 0 <= one.rgb.min() < one.rgb.max() <= 1
    assert one.ground_px(0.0, 4.0)[1] > one.horizon_px
    ground = one.standing[-1] == 0
    assert np.allclose(one.distance_m[-1][ground], one.focal_px * one.height_m / (71.5 - one.horizon_px), rtol=1e-4)


# The plan


def test_surroundings_or_posture_may_be_shared_but_never_both() -> None:
    pairs = [(pair, name) for name, kind in ACTIVITIES.items() for pair in product(kind.where, kind.postures)]
    assert len({pair for pair, _ in pairs}) == len(pairs)
    where = Counter(place for kind in ACTIVITIES.values() for place in kind.where)
    postures = Counter(posture for kind in ACTIVITIES.values() for posture in kind.postures)
    assert sum(n > 1 for n in where.values()) >= 4
    assert {name for name, n in postures.items() if n > 1} == {"running", "bending", "squatting"}
    assert set(where) == set(KINDS)
    assert set(postures) <= set(POSTURES)
    assert len(ACTIVITIES) >= 8
    assert math.isclose(sum(kind.share for kind in ACTIVITIES.values()), 1)
    assert all(math.isclose(sum(shares.values()), 1) for kind in ACTIVITIES.values() for shares in (kind.where, kind.postures))


@given(st.integers(1, 400), st.lists(st.integers(1, 6), min_size=2, max_size=2).map(sorted), st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_a_plan_has_the_asked_pictures_in_the_shares_of_their_activities(images: int, people: list[int], seed: int) -> None:
    least, most = people
    pictures = plan(ActivityScenes(images=images, least_people=least, most_people=most), seed)
    assert [picture.number for picture in pictures] == list(range(images))
    assert {picture.people for picture in pictures} <= set(range(least, most + 1))
    counts = Counter(picture.category for picture in pictures)
    assert all(abs(counts[name] - kind.share * images) <= 1 for name, kind in ACTIVITIES.items())
    names = {activity.new_name(number, seed) for number in (*range(images), *range(1_000_000, 1_000_050))}
    assert len(names) == images + 50


def test_no_number_of_people_is_refused() -> None:
    with pytest.raises(ValidationError, match="least_people 4 is above most_people 3"):
        ActivityScenes(least_people=4, most_people=3)


# Pictures


def test_a_picture_depends_on_its_plan_alone_and_its_joints_lie_in_it() -> None:
    pictures = [draw_picture(each, SMALL) for each in plan(SMALL, 3)]
    assert draw_picture(plan(SMALL, 3)[4], SMALL) == pictures[4]
    assert len({picture.name for picture in pictures}) == SMALL.images
    for picture in pictures:
        width, height = picture.size_px
        assert Image.open(io.BytesIO(picture.jpeg)).size == (width, height)
        assert SMALL.least_px <= max(width, height) <= SMALL.most_px
        assert 1 <= len(picture.annorect or []) <= 6
        for person in picture.annorect or []:
            points = person["annopoints"]["point"]
            assert [point["id"] for point in points] == list(range(16))
            at = np.array([(point["x"], point["y"]) for point in points])
            assert (at > 2).all() and (at < np.array([width, height]) - 2).all()
            # The head box's MPII measure is the length of the head, and no bone is longer than it can be seen.
            head_px = activity.HEAD_SHARE * math.hypot(person["x2"] - person["x1"], person["y2"] - person["y1"])
            assert head_px == pytest.approx(activity.HEAD * person["scale"] * activity.SCALE_PX, abs=0.05)
            assert np.hypot(*(at[8] - at[9])) <= head_px + 0.05
            bones = [np.hypot(*(at[a] - at[b])) for a, b in BONES]
            assert max(bones) < 0.35 * person["scale"] * activity.SCALE_PX
    visible = [
        point["is_visible"]
        for picture in pictures
        for person in picture.annorect or []
        for point in person["annopoints"]["point"]
    ]
    assert 0.6 < np.mean(visible) < 0.95


def test_the_same_seed_gives_the_same_bytes_whatever_the_workers(written: Path, tmp_path: Path) -> None:
    activity.write(tmp_path, SMALL, seed=1, workers=2)
    assert files_of(written) == files_of(tmp_path)
    assert b"Created on" not in (written / ANNOTATIONS).read_bytes()[:128]  # nor does it depend on the time


# The .mat


def test_the_mat_has_the_layout_of_the_real_one(written: Path, release: Any) -> None:
    assert release._fieldnames == ["annolist", "img_train", "version", "single_person", "act", "video_list"]
    rows = SMALL.images + sum(PLANTED.values()) - REJECTED["file_not_listed"]
    for name in ("annolist", "img_train", "single_person", "act"):
        assert getattr(release, name).shape == (rows,)
    assert release.video_list.shape == (0,)
    raw = loadmat(written / ANNOTATIONS)["RELEASE"][0, 0]
    assert raw["annolist"].shape == raw["img_train"].shape == (1, rows)
    assert raw["act"].shape == raw["single_person"].shape == (rows, 1)
    entry, act = release.annolist[0], release.act[0]
    assert entry._fieldnames == ["image", "annorect", "frame_sec", "vidx"]
    assert act._fieldnames == ["cat_name", "act_name", "act_id"]
    assert (act.act_name, act.act_id) in ACTIVITIES[act.cat_name].acts
    person = np.ravel(entry.annorect)[0]
    assert person._fieldnames == ["x1", "y1", "x2", "y2", "annopoints", "scale", "objpos"]
    assert person.annopoints.point[0]._fieldnames == ["x", "y", "id", "is_visible"]
    assert person.objpos._fieldnames == ["x", "y"]
    alone = [value == 1 if isinstance(value, float) else False for value in release.single_person]
    assert alone == [not isinstance(row.annorect, np.ndarray) for row in release.annolist]


fields = st.sampled_from(["x", "y", "id", "is_visible", "name"])
plain = st.one_of(st.none(), st.floats(allow_nan=False, width=32), st.text("abc 1", min_size=1, max_size=5))
structs = st.dictionaries(fields, plain, min_size=1)


@given(st.lists(structs, min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_plain_values_come_back_from_matlab_with_the_fields_of_all(rows: list[dict[str, Any]]) -> None:
    buffer = io.BytesIO()
    savemat(buffer, {"value": matlab({"point": rows})})
    found = loadmat(io.BytesIO(buffer.getvalue()), struct_as_record=False, squeeze_me=True)["value"].point
    names = list(dict.fromkeys(name for row in rows for name in row))
    for row, struct in zip(rows, np.ravel(found), strict=True):
        assert struct._fieldnames == names
        for name in names:
            value = getattr(struct, name)
            assert (value.size == 0) if row.get(name) is None else (value == row[name])


# Planted faults


def test_faults_are_planted_at_the_constant_counts(planted: dict[str, list[str]]) -> None:
    assert {fault: len(names) for fault, names in planted.items()} == PLANTED
    assert len({name for names in planted.values() for name in names}) == sum(PLANTED.values())
    assert len(KEPT) + len(JOINTS) + len(PEOPLE) + len(REJECTED) == len(PLANTED)


def test_each_fault_is_what_it_says(written: Path, release: Any, planted: dict[str, list[str]]) -> None:
    rows = {entry.image.name: index for index, entry in enumerate(release.annolist)}

    def people(name: str) -> list[Any]:
        return list(np.ravel(release.annolist[rows[name]].annorect))

    def points(name: str) -> dict[int, Any]:
        (person,) = people(name)
        return {point.id: point for point in person.annopoints.point}

    def outside(name: str) -> list[tuple[bool, bool]]:
        """(negative, beyond) of each joint that is one of them."""
        width, height = Image.open(written / "images" / name).size
        found = [(point.x < 0 or point.y < 0, point.x > width or point.y > height) for point in points(name).values()]
        return [faults for faults in found if any(faults)]

    assert all(isinstance(p.is_visible, str) for name in planted["visible_as_text"] for p in points(name).values())
    for name in planted["visible_empty"]:
        empty = [np.size(point.is_visible) == 0 for point in points(name).values()]
        assert 5 <= sum(empty) <= 6
    assert all(p._fieldnames == ["x", "y", "id"] for name in planted["visible_absent"] for p in points(name).values())
    assert all(
        isinstance(p.x, int) and isinstance(p.y, int) for name in planted["whole_numbers"] for p in points(name).values()
    )
    for fault, absent in (("no_scale", {"scale"}), ("no_objpos", {"objpos"}), ("no_head_box", {"x1", "y1", "x2", "y2"})):
        for name in planted[fault]:
            (person,) = people(name)
            assert {"x1", "y1", "x2", "y2", "annopoints", "scale", "objpos"} - set(person._fieldnames) == absent
    for name in planted["joint_on_edge"]:
        width, height = Image.open(written / "images" / name).size
        assert sum((p.x == width) + (p.y == height) for p in points(name).values()) == 1
        assert outside(name) == []
    assert all(outside(name) == [(True, False)] for name in planted["joint_negative"] + planted["head_top_negative"])
    assert all(outside(name) == [(False, True)] for name in planted["joint_outside"])
    assert all(outside(name) == [(True, True)] for name in planted["joint_negative_and_outside"])
    assert all(outside(name) == [(True, False)] * 2 for name in planted["both_ankles_negative"])
    assert all(sum(math.isnan(p.x) for p in points(name).values()) == 1 for name in planted["joint_nan"])
    assert all((points(name)[HEAD_TOP].x, points(name)[HEAD_TOP].y) == (0, 0) for name in planted["head_top_zero"])
    for fault, gone in (("head_top_missing", [{HEAD_TOP}]), ("both_ankles_missing", [{R_ANKLE, L_ANKLE}]),
                        ("one_ankle_missing", [{R_ANKLE}, {L_ANKLE}])):  # fmt: skip
        assert all(set(range(16)) - set(points(name)) in gone for name in planted[fault])
    for name in planted["person_negative"]:
        good, bad = people(name)
        assert min(point.x for point in good.annopoints.point) > 0 > max(point.x for point in bad.annopoints.point)
    assert all(np.size(people(name)[1].annopoints.point) == 0 for name in planted["person_without_points"])
    assert all(np.size(people(name)[1].annopoints) == 0 for name in planted["person_without_annopoints"])
    assert all(len(people(name)[0].annopoints.point) == 16 for fault in PEOPLE for name in planted[fault])

    assert all(outside(name) == [(True, False)] * 16 for name in planted["nobody_left"])
    nameless = {name for name, row in rows.items() if np.size(release.act[row].cat_name) == 0}
    assert nameless == set(planted["no_category"])
    assert {name for name in rows if not people(name)} == set(planted["no_annotation"])
    bare = {name for name in rows if any("annopoints" not in person._fieldnames for person in people(name))}
    assert bare == set(planted["no_annopoints"])
    files = {path.name: path.read_bytes() for path in (written / "images").iterdir()}
    for name in planted["truncated"]:
        with pytest.raises(OSError, match="truncated"):
            Image.open(io.BytesIO(files[name])).load()
    assert {files[name] for name in planted["zero_bytes"]} == {b""}
    assert all(files[name].startswith(b"<!DOCTYPE html>") for name in planted["html"])
    assert set(rows) - set(files) == set(planted["file_missing"])
    assert set(files) - set(rows) == set(planted["file_not_listed"])
    for fault, others in (("same_bytes_same_label", 0), ("same_bytes_other_label", 1)):
        for name in planted[fault]:
            (twin,) = (other for other in files if files[other] == files[name] and other != name)
            assert (release.act[rows[name]].cat_name != release.act[rows[twin]].cat_name) == others
            assert (twin in planted[fault]) == others
    good = set(rows) - set().union(*planted.values())
    assert len({files[name] for name in good}) == len(good) == SMALL.images


def test_cleaning_finds_every_planted_fault_and_no_other(written: Path) -> None:
    files = {path: (about["bytes"], about["sha256"]) for path, about in describe_files(written).items()}
    cleaned = clean_all(mpii.read(written, files, ()), written, files, CleanSettings(max_bad_share=0.9), workers=1)
    assert cleaned.counts["rules"] == {
        "negative": activity_faults.NEGATIVE_JOINTS,
        "out_of_bounds": activity_faults.OUTSIDE_JOINTS,
        "not_a_number": JOINTS["joint_nan"],
        "no_category": REJECTED["no_category"],
        "no_annotation": REJECTED["no_annotation"] + REJECTED["no_annopoints"],
        "no_joint_left": sum(PEOPLE.values()),
        "nobody_left": REJECTED["nobody_left"],
    }
    assert cleaned.counts["pictures"]["kept"] == SMALL.images + sum((KEPT | JOINTS | PEOPLE).values())
    assert cleaned.counts["unlisted_files"] == REJECTED["file_not_listed"]
    wide = cleaned.joints.pivot(index=["sample_id", "person"], columns="joint", values="visible")
    assert (wide[HEAD_TOP] == 0).sum() == activity_faults.WITHOUT_HEAD_TOP
    assert ((wide[R_ANKLE] == 0) & (wide[L_ANKLE] == 0)).sum() == activity_faults.WITHOUT_ANKLES
    assert ((wide[R_ANKLE] == 0) ^ (wide[L_ANKLE] == 0)).sum() == JOINTS["one_ankle_missing"]
