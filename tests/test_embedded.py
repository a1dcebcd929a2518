"""The renderer and the camera-trap dataset that it draws."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from stages.embedded import camera_trap, planted_faults
from stages.embedded.camera_trap import (
    CATEGORIES,
    EMPTY,
    FREQUENCIES,
    JSON_SCALE,
    CameraTrapScenes,
    draw_sequence,
    plan,
)
from stages.embedded.coats import PATTERNS
from stages.embedded.drawing import DRAWN, box_of, draw
from stages.embedded.figures import FIGURES, pose, postures, vary
from stages.embedded.people import MPII_JOINTS
from stages.embedded.places import TERRAINS, place
from stages.embedded.planted_faults import BAD_BOXES, KEPT, PLANTED, REJECTED
from stages.embedded.scenes import Actor, draw_light, render
from stages.embedded.skeleton import View, project
from tests.embedded_helpers import drawn_once, files_of

SMALL = CameraTrapScenes(images=24, locations=5, width_px=96, height_px=72)
ANIMAL_POSTURES = {"standing", "walking", "running", "sitting", "lying", "eating"}

written = drawn_once(camera_trap, SMALL)


@pytest.fixture(scope="module")
def data(written: Path) -> dict[str, Any]:
    return json.loads((written / "annotations.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)


# Figures


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_takes_every_posture_of_its_kind(name: str) -> None:
    figure = FIGURES[name]
    assert {"standing", "walking", "running", "sitting"} <= set(postures(figure))
    assert name == "person" or set(postures(figure)) >= ANIMAL_POSTURES
    assert figure.coat.pattern in PATTERNS
    for posture in postures(figure):
        body = pose(figure, posture, 0.3)
        assert {limb.start for limb in body.limbs} | {limb.end for limb in body.limbs} <= set(body.joints_m)
        lowest_m = min(
            min(body.joints_m[limb.start][2] - limb.start_radius_m, body.joints_m[limb.end][2] - limb.end_radius_m)
            for limb in body.limbs
            if not limb.part.startswith("tail")
        )
        assert lowest_m >= -1e-9
        assert lowest_m < 1e-9 or posture in ("running", "flying")


@given(st.sampled_from(sorted(FIGURES)), st.data(), st.floats(-10, 10), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_a_pose_is_finite_periodic_and_keeps_its_bones(name: str, drawn: st.DataObject, phase: float, other: float) -> None:
    figure = FIGURES[name]
    posture = drawn.draw(st.sampled_from(postures(figure)))
    body, again, later = (pose(figure, posture, at) for at in (phase, phase + 1, other))
    for joint, at_m in body.joints_m.items():
        assert np.isfinite(at_m).all()
        np.testing.assert_allclose(at_m, again.joints_m[joint], atol=1e-6)

    def lengths(body: Any) -> list[float]:
        return [float(np.linalg.norm(body.joints_m[limb.end] - body.joints_m[limb.start])) for limb in body.limbs]

    # Between a person's waist and hips there is flesh, not bone.
    np.testing.assert_allclose(lengths(body), lengths(later), atol=1e-6 if name != "person" else 0.01)


def test_a_person_has_the_joints_of_mpii_first_and_left_is_left() -> None:
    body = pose(FIGURES["person"], "standing", 0.0)
    assert tuple(body.joints_m)[:16] == MPII_JOINTS
    assert len(MPII_JOINTS) == 16
    for pair in ("ankle", "knee", "hip", "wrist", "elbow", "shoulder"):
        assert body.joints_m[f"{pair}_left"][1] > 0 > body.joints_m[f"{pair}_right"][1]
    towards_us = project(body, View(270, 0))
    assert towards_us["shoulder_left"][0] > 0  # who faces the camera has the left shoulder on the picture's right
    assert 1.6 < body.joints_m["head_top"][2] < 1.8


def test_a_walk_moves_the_legs_and_a_heading_turns_the_figure() -> None:
    walk = [pose(FIGURES["deer"], "walking", phase).joints_m["fore_left_3"][0] for phase in np.linspace(0, 1, 8)]
    assert np.ptp(walk) > 0.3
    nose = {turn: project(pose(FIGURES["deer"], "standing", 0), View(turn, 0))["muzzle"] for turn in (0, 90, 180, 270)}
    assert nose[0][0] > 1 > -1 > nose[180][0]
    assert nose[270][2] > 1 > -1 > nose[90][2]


def test_individuals_differ_but_not_from_themselves() -> None:
    one, same, other = (vary(FIGURES["fox"], np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one == same != other
    assert 0.6 < one.length_m / FIGURES["fox"].length_m < 1.6


# Drawing


@pytest.mark.parametrize("name", FIGURES)
def test_the_box_is_exactly_round_the_drawn_pixels(name: str) -> None:
    figure = FIGURES[name]
    patch = draw(pose(figure, "walking", 0.2), figure.coat, View(20, 10), 60 / figure.length_m)
    assert patch.rgb.shape == (*patch.alpha.shape, 3)
    assert 0 <= patch.rgb.min() <= patch.rgb.max() <= 1
    x, y, w, h = box_of(patch.alpha) or pytest.fail("nothing drawn")
    inside = patch.alpha[y : y + h, x : x + w]
    assert (inside >= DRAWN).sum() == (patch.alpha >= DRAWN).sum()
    for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]):
        assert edge.max() >= DRAWN
    border = (patch.alpha[0], patch.alpha[-1], patch.alpha[:, 0], patch.alpha[:, -1])
    assert max(float(line.max()) for line in border) < DRAWN  # the patch cuts nothing off


def test_nothing_drawn_has_no_box() -> None:
    assert box_of(np.zeros((4, 5), np.float32)) is None
    assert box_of(np.eye(3, 5, k=1, dtype=np.float32)) == (1, 0, 3, 3)


def test_joints_lie_in_the_drawn_figure() -> None:
    figure = FIGURES["person"]
    patch = draw(pose(figure, "standing", 0.0), figure.coat, View(270, 5), 100)
    for name in MPII_JOINTS[:9]:
        x, y = patch.joints_px[name] - (patch.left_px, patch.top_px)
        assert patch.alpha[int(y), int(x)] > DRAWN, name
    beside = draw(pose(figure, "standing", 0.0), figure.coat, View(0, 5), 100)
    assert "hip_left" in beside.hidden  # or behind the right one, as it faces right
    assert "shoulder_right" not in beside.hidden


# Scenes


@pytest.mark.parametrize("number", range(len(TERRAINS)))
def test_every_terrain_is_drawn(number: int) -> None:
    there = place(number, 96, 72, 0)
    assert there.rgb.shape == (72, 96, 3)
    assert np.isfinite(there.rgb).all()
    assert there.distance_m[-1].max() < there.distance_m[40].max()
    assert np.abs(there.rgb - place(number + 1, 96, 72, 0).rgb).mean() > 0.03  # places look different


@pytest.mark.parametrize("night", [False, True])
def test_the_box_of_a_scene_covers_what_differs_from_the_empty_scene(night: bool) -> None:
    there = place(2, 128, 96, 0)._replace(standing=np.zeros((96, 128), np.float32))
    light = draw_light(np.random.default_rng(0), night)._replace(shadow=0.0, noise=0.0, blur_px=0.01)
    actor = Actor(FIGURES["fox"], "walking", 0.1, 10.0, 0.1, 3.5)
    with_it, (drawn,) = render(there, light, [actor], np.random.default_rng(0))
    without, _ = render(there, light, [], np.random.default_rng(0))
    assert drawn.box_px is not None
    assert drawn.visible == pytest.approx(1)
    x, y, w, h = drawn.box_px
    changed = np.abs(with_it.astype(int) - without).max(axis=2)
    assert (changed[y : y + h, x : x + w] > 8).mean() > 0.25
    changed[max(y - 1, 0) : y + h + 12, max(x - 2, 0) : x + w + 2] = 0  # below it lies its shadow
    assert changed.max() < 60
    if night:
        assert (with_it == with_it[..., :1]).all()  # infrared has no colour


def test_what_stands_before_a_figure_hides_it() -> None:
    there = place(0, 96, 72, 0)
    wall = there._replace(standing=np.ones((72, 96), np.float32), distance_m=np.full((72, 96), 4.5, np.float32))
    light = draw_light(np.random.default_rng(0), False)
    behind, before = (Actor(FIGURES["fox"], "standing", 0.0, 0.0, 0.0, distance) for distance in (5.0, 4.0))
    _, (hidden, seen) = render(wall, light, [behind, before], np.random.default_rng(0))
    assert hidden.box_px is None
    assert hidden.visible == 0
    assert seen.box_px is not None
    assert set(hidden.joints_px) == hidden.hidden


# The dataset


def test_the_same_seed_gives_the_same_bytes_whatever_the_workers(written: Path, tmp_path: Path) -> None:
    camera_trap.write(tmp_path / "two", SMALL, seed=1, workers=2)
    assert files_of(written) == files_of(tmp_path / "two")


def test_a_frame_depends_on_its_plan_alone_and_another_seed_gives_others() -> None:
    sequences = plan(SMALL, 1)
    alone, others = draw_sequence(sequences[-1], SMALL), draw_sequence(sequences[0], SMALL)
    assert draw_sequence(sequences[-1], SMALL) == alone != others
    assert {frame.jpeg for frame in draw_sequence(plan(SMALL, 2)[-1], SMALL)}.isdisjoint(frame.jpeg for frame in alone)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_plan_has_the_asked_images_all_species_and_uneven_places(seed: int) -> None:
    sequences = plan(CameraTrapScenes(), seed)
    assert sum(sequence.frames for sequence in sequences) == 1500
    assert {sequence.frames for sequence in sequences} == {1, 2, 3, 4, 5}
    assert {sequence.location for sequence in sequences} == set(range(14))
    first = [(sequence.species or (EMPTY,))[0] for sequence in sequences]
    for name in FREQUENCIES:
        homes = [sequence.location for sequence, species in zip(sequences, first, strict=True) if species == name]
        assert len(set(homes)) >= camera_trap.LEAST_PLACES, name
        if name != EMPTY:
            assert max(homes.count(home) for home in homes) > 2 * len(homes) / 14, name  # prefers some place
    counts = [first.count(name) for name in FREQUENCIES if name != EMPTY]
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] >= 10
    pairs = [sequence.species for sequence in sequences if len(sequence.species) == 2]
    assert 0.01 < len(pairs) / len(sequences) < 0.1
    assert any(a != b for a, b in pairs)


def test_the_json_is_coco_camera_traps_at_twice_the_size(written: Path, data: dict[str, Any]) -> None:
    assert [(row["id"], row["name"]) for row in data["categories"]][:2] == [(0, EMPTY), (1, "deer")]
    assert len(data["categories"]) == 9
    odd = {name for names in json.loads((written / "planted_faults.json").read_text()).values() for name in names}
    good = [row for row in data["images"] if row["id"] not in odd]
    by_image: dict[str, list[dict[str, Any]]] = {}
    for annotation in data["annotations"]:
        by_image.setdefault(annotation["image_id"], []).append(annotation)
    assert sum(1 for row in good if row["frame_num"] > 1) > 0
    for row in good:
        assert set(row) == {
            "id", "file_name", "width", "height", "seq_id", "seq_num_frames", "frame_num", "location", "date_captured",
        }  # fmt: skip
        with Image.open(written / "images" / row["file_name"]) as picture:
            assert (row["width"], row["height"]) == (JSON_SCALE * picture.width, JSON_SCALE * picture.height)
        assert 1 <= row["frame_num"] <= row["seq_num_frames"] <= 5
        for annotation in by_image[row["id"]]:
            if annotation["category_id"] == CATEGORIES[EMPTY]:
                assert "bbox" not in annotation
                assert len(by_image[row["id"]]) == 1
            else:
                x, y, w, h = annotation["bbox"]
                assert 0 <= x < x + w <= row["width"]
                assert 0 <= y < y + h <= row["height"]
    assert len({annotation["id"] for annotation in data["annotations"]}) == len(data["annotations"])


# Planted faults


def test_faults_are_planted_at_the_constant_counts(written: Path, data: dict[str, Any]) -> None:
    planted = planted_faults.read_planted(written)
    assert {fault: len(names) for fault, names in planted.items()} == PLANTED
    assert len({name for names in planted.values() for name in names}) == sum(PLANTED.values())
    unlisted = REJECTED["annotation_without_image"] + REJECTED["file_not_listed"]
    rows = SMALL.images + sum(PLANTED.values()) - unlisted + REJECTED["duplicate_id"]
    assert len(data["images"]) == rows
    assert len(REJECTED) + len(BAD_BOXES) + len(KEPT) == len(PLANTED)


def test_each_fault_is_what_it_says(written: Path, data: dict[str, Any]) -> None:
    planted = planted_faults.read_planted(written)
    images = written / "images"
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in data["images"]:
        rows.setdefault(row["id"], []).append(row)
    labels: dict[str, list[dict[str, Any]]] = {}
    for annotation in data["annotations"]:
        labels.setdefault(annotation["image_id"], []).append(annotation)

    def content(image_id: str) -> bytes:
        return (images / rows[image_id][0]["file_name"]).read_bytes()

    def box(image_id: str) -> list[Any]:
        (annotation,) = labels[image_id]
        return annotation["bbox"]

    def opened(image_id: str) -> Image.Image:
        return Image.open(io.BytesIO(content(image_id)))

    for name in planted["truncated"]:
        with pytest.raises(OSError, match="truncated"):
            opened(name).load()
    assert {content(name) for name in planted["zero_bytes"]} == {b""}
    assert all(content(name).startswith(b"<!DOCTYPE html>") for name in planted["html"])
    assert all(name in labels and name not in rows for name in planted["annotation_without_image"])
    assert not any((images / rows[name][0]["file_name"]).exists() for name in planted["file_missing"])
    listed = {row["file_name"] for row in data["images"]}
    assert {path.name for path in images.iterdir()} - listed == set(planted["file_not_listed"])
    assert not any(name in labels for name in planted["image_without_annotation"])
    assert all(min(box(name)[2:]) < 0 for name in planted["box_negative"])
    assert all(box(name)[0] > rows[name][0]["width"] for name in planted["box_outside"])
    assert all(box(name) == [None] * 4 for name in planted["box_null"])
    assert all(box(name)[0] < 0 < box(name)[0] + box(name)[2] for name in planted["box_partly_outside"])
    assert {name for name, same in rows.items() if len(same) > 1} == set(planted["duplicate_id"])
    known = {category["id"] for category in data["categories"]}
    strange = {row["image_id"] for row in data["annotations"] if row["category_id"] not in known}
    assert strange == set(planted["unknown_category"])
    assert all(opened(name).mode == "L" for name in planted["greyscale"])
    assert all(opened(name).mode == "CMYK" for name in planted["cmyk"])
    for name in planted["exif_orientation_6"]:
        assert opened(name).getexif()[0x0112] == 6
        assert opened(name).size == (rows[name][0]["height"] / JSON_SCALE, rows[name][0]["width"] / JSON_SCALE)
    assert all(" " in rows[name][0]["file_name"] and "é" in rows[name][0]["file_name"] for name in planted["odd_name"])

    by_bytes: dict[bytes, list[str]] = {}
    for name in rows:
        if (images / rows[name][0]["file_name"]).exists() and name not in planted["zero_bytes"] + planted["html"]:
            by_bytes.setdefault(content(name), []).append(name)
    same = [names for names in by_bytes.values() if len(names) > 1]

    def label(name: str) -> list[int]:
        return [annotation["category_id"] for annotation in labels[name]]

    alike = [names for names in same if all(label(name) == label(names[0]) for name in names)]
    assert {name for names in alike for name in names[1:]} == set(planted["same_bytes_same_label"])
    assert {n for names in same if names not in alike for n in names} == set(planted["same_bytes_other_label"])


def test_a_viewer_sees_the_turned_picture_upright(written: Path, data: dict[str, Any]) -> None:
    name = planted_faults.read_planted(written)["exif_orientation_6"][0]
    row = next(row for row in data["images"] if row["id"] == name)
    with Image.open(written / "images" / row["file_name"]) as picture:
        upright = ImageOps.exif_transpose(picture)
    assert upright is not None
    assert upright.size == (row["width"] / JSON_SCALE, row["height"] / JSON_SCALE)
    stored = planted_faults._on_its_side(
        planted_faults._jpeg(Image.fromarray(np.pad(np.full((4, 6, 3), 200, np.uint8), ((0, 40), (0, 60), (0, 0)))))
    )
    turned = ImageOps.exif_transpose(Image.open(io.BytesIO(stored)))
    assert turned is not None
    pixels = np.asarray(turned)
    assert pixels[1, 1].min() > 120 > 60 > pixels[-2:, -2:].max()  # the bright corner is the upper left again
