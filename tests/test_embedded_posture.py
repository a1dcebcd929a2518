"""The drawn posture dataset and its faults, cleaned and split; the synthetic style; the objects to pretrain on."""

import csv
import hashlib
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stages.clean import Cleaned, CleanSettings, clean_all
from stages.datasets import adapter, animal_posture
from stages.embedded import objects, posture
from stages.embedded.objects import CLASSES, ObjectScenes
from stages.embedded.posture import ACTIONS, KEYPOINTS, SPECIES, VIEWS, PostureScenes, plan, synthetic
from stages.embedded.posture_faults import KEPT, PLANTED, REJECTED
from stages.embedded.quadrupeds import POSTURES
from stages.embedded.things import KINDS, Thing, pose
from stages.files import read_json
from stages.split import SplitSettings, cut, leaks
from tests.embedded_helpers import drawn_once, files_of

SMALL = PostureScenes(images=60, least_px=80, most_px=96)
EXCLUSIONS = Path(__file__).parent.parent / "stages/exclusions/posture-embedded.csv"

written = drawn_once(posture, SMALL)


@pytest.fixture(scope="module")
def planted(written: Path) -> dict[str, list[str]]:
    return read_json(written / "planted_faults.json")


@pytest.fixture(scope="module")
def cleaned(written: Path) -> Cleaned:
    files: dict[str, tuple[int, str | None]] = dict.fromkeys(files_of(written), (1, None))
    raw = adapter("animal_posture").read(written, files, ())
    settings = CleanSettings.model_validate({"exclude": str(EXCLUSIONS), "require_box": True, "max_bad_share": 1.0})
    return clean_all(raw, written, files, settings, 1)


# The table -----------------------------------------------------------------------------------------------------------


def test_the_documents_classes_are_drawn_in_its_numbers() -> None:
    plans = plan(PostureScenes(), seed=3)
    assert Counter(picture.action for picture in plans) == ACTIONS
    by_class = Counter(next(iter(animal_posture.actions_of(picture.action))) for picture in plans)
    assert by_class == {"lying": 88, "running": 70, "sitting": 67, "walking_standing": 592}
    for action, count in ACTIONS.items():
        of_species = Counter(picture.species for picture in plans if picture.action == action)
        assert set(of_species) == set(SPECIES) == set(animal_posture.SPECIES)
        assert all(abs(n - count / 6) < 1 for n in of_species.values())
    assert len({posture.new_name(picture.number, 3) for picture in plans}) == 817


def test_the_table_says_what_is_in_the_pictures(written: Path, planted: dict[str, list[str]]) -> None:
    rows = list(csv.DictReader((written / "actions.csv").open(encoding="utf-8")))
    harmed = {name for names in planted.values() for name in names}
    good = [row for row in rows if Path(row["image"]).name not in harmed]
    assert len(good) == 60
    for row in good:
        width, height = Image.open(written / row["image"]).size
        assert 80 <= max(width, height) <= 96
        x, y, w, h = json.loads(row["bbox"])
        assert 0 <= x < x + w <= width and 0 <= y < y + h <= height
        assert max(w / width, h / height) > 0.3, "a portrait"
        points = json.loads(row["keypoints"])
        assert set(points) <= set(KEYPOINTS) and len(points) >= 15
        there = np.array(list(points.values()))
        assert set(there[:, 2]) <= {1, 2}
        inside = (there[:, :2] >= [x - 3, y - 3]) & (there[:, :2] <= [x + w + 3, y + h + 3])
        assert inside.mean() > 0.9  # a joint behind a thing may lie outside what can be seen


def test_every_byte_follows_from_settings_and_seed(written: Path, tmp_path: Path) -> None:
    few = PostureScenes(images=3, least_px=80, most_px=96)
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        posture.write(tmp_path / name, few, seed, workers=1)
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
    assert set(files_of(tmp_path / "a").values()) & set(files_of(tmp_path / "c").values()) <= {
        hashlib.sha256(b).hexdigest() for b in (b"", b"<!DOCTYPE html>\n<html><body><h1>404 Not Found</h1></body></html>\n")
    } | {files_of(tmp_path / "a")[f"images/drawing_{n}.jpg"] for n in (1, 2, 3, 4)}


# Faults --------------------------------------------------------------------------------------------------------------


def test_cleaning_finds_just_the_faults_that_were_planted(cleaned: Cleaned, planted: dict[str, list[str]]) -> None:
    assert {fault: len(names) for fault, names in planted.items()} == PLANTED
    assert cleaned.counts["pictures"]["kept"] == 60 + sum(KEPT.values())
    assert cleaned.counts["rejected_because"]["picture"] == {
        "no_action": REJECTED["no_action"],
        "ambiguous_action": REJECTED["ambiguous_action"],
        "no_animal": REJECTED["no_box"] + REJECTED["box_outside"],
        "damaged": REJECTED["truncated"],
        "empty_file": REJECTED["zero_bytes"],
        "not_an_image": REJECTED["html"],
        "file_missing": REJECTED["file_missing"],
        "duplicate_content": REJECTED["same_bytes_same_label"],
        "conflicting_duplicate": REJECTED["same_bytes_other_label"],
        "excluded": REJECTED["drawing"],
    }
    assert cleaned.counts["unlisted_files"] == REJECTED["file_not_listed"]
    named = (
        cleaned.rejects.assign(name=cleaned.rejects["name"].str.removeprefix("images/")).groupby("reason")["name"].apply(set)
    )
    for fault, reason in {
        "no_action": "no_action", "ambiguous_action": "ambiguous_action", "truncated": "damaged", "zero_bytes": "empty_file",
        "html": "not_an_image", "file_missing": "file_missing", "file_not_listed": "unlisted_file", "drawing": "excluded",
        "same_bytes_other_label": "conflicting_duplicate",
    }.items():  # fmt: skip
        assert named[reason] == set(planted[fault]), fault
    kept = set(cleaned.samples["sample_id"].str.removeprefix("images/"))
    assert set(planted["near_duplicate"]) | set(planted["shouted_action"]) <= kept
    assert set(cleaned.samples["species"]) == set(SPECIES)
    drawing = cleaned.rejects.loc[cleaned.rejects["reason"] == "excluded", "detail"]
    assert set(drawing) == {"a drawing, not a photo"}


def test_near_duplicates_stay_in_one_part(cleaned: Cleaned) -> None:
    given = {"near_duplicates": "together", "stratified": {"test": 0.2, "val": 0.15, "versions": {"all": {}}}}
    settings = SplitSettings.model_validate(given)
    pictures = cleaned.samples
    together, found = 0, 0
    for seed in range(8):
        parts = cut(pictures, settings, seed)["all"].reindex(pictures.index)
        together += sum(leaks(pictures, parts, settings.near_bits)["look_alikes"].values())
        apart = cut(pictures, settings.model_copy(update={"near_duplicates": "report"}), seed)["all"].reindex(pictures.index)
        found += sum(leaks(pictures, apart, settings.near_bits)["look_alikes"].values())
    assert together == 0 < found


# The synthetic style -------------------------------------------------------------------------------------------------


def rgb_of(action: str = "lying", species: str = "dog", view: str = "side", seed: int = 0, side_px: int = 64) -> np.ndarray:
    return synthetic(action, species, view, seed, side_px)


def test_a_synthetic_picture_follows_from_its_arguments() -> None:
    one = rgb_of()
    assert (one.shape, one.dtype) == ((64, 64, 3), np.uint8)
    assert (one == rgb_of()).all()
    for other in ({"action": "sitting"}, {"species": "cat"}, {"view": "front"}, {"seed": 1}):
        assert (one != rgb_of(**other)).any(), other
    assert rgb_of(side_px=96).shape == (96, 96, 3)


@pytest.mark.parametrize("action", animal_posture.WORDS)
@pytest.mark.parametrize("view", VIEWS)
def test_synthetic_pictures_are_flat_and_outlined_and_photos_are_not(action: str, view: str) -> None:
    def flat(rgb: np.ndarray) -> float:
        """Share of the pixels that are as their right neighbour."""
        return float((rgb[:, 1:] == rgb[:, :-1]).all(axis=2).mean())

    for species in SPECIES:
        rgb = rgb_of(action, species, view, side_px=96)
        assert flat(rgb) > 0.6
        assert 0.01 < (rgb.max(axis=2) < 40).mean() < 0.6, "ink"


def test_a_photo_is_not_flat(written: Path, planted: dict[str, list[str]]) -> None:
    name = planted["shouted_action"][0]
    rgb = np.array(Image.open(io.BytesIO((written / "images" / name).read_bytes())))
    assert (rgb[:, 1:] == rgb[:, :-1]).all(axis=2).mean() < 0.2


@pytest.mark.parametrize("wrong", [{"action": "flying"}, {"species": "emu"}, {"view": "above"}])
def test_what_cannot_be_drawn_is_an_error(wrong: dict[str, Any]) -> None:
    with pytest.raises(KeyError):
        rgb_of(**wrong)


# Objects -------------------------------------------------------------------------------------------------------------


def test_objects_are_a_folder_for_each_class_and_none_of_the_six(tmp_path: Path) -> None:
    assert len(CLASSES) == len(set(CLASSES)) >= 12
    assert not set(CLASSES) & (set(SPECIES) | set(POSTURES))
    objects.write(tmp_path / "a", ObjectScenes(images=len(CLASSES) + 1, least_px=48, most_px=64), seed=4, workers=1)
    objects.write(tmp_path / "b", ObjectScenes(images=len(CLASSES) + 1, least_px=48, most_px=64), seed=4, workers=1)
    files = files_of(tmp_path / "a")
    assert files == files_of(tmp_path / "b")
    raw = adapter("folders").read(tmp_path / "a", files, ())
    assert Counter(raw.annotations["label"]) == {label: 1 + (label == CLASSES[0]) for label in CLASSES}
    assert len(set(files.values())) == len(CLASSES) + 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_thing_stands_on_the_ground(kind: str) -> None:
    from stages.embedded.coats import Coat

    body = pose(Thing(2.0, Coat((0.5, 0.5, 0.5)), kind))
    ends = [(body.joints_m[name], radius) for limb in body.limbs for name, radius in zip(limb[:2], limb[2:4], strict=True)]
    assert min(at[2] - radius for at, radius in ends) == pytest.approx(0, abs=1e-9)
    size_m = np.max([at + radius for at, radius in ends], axis=0) - np.min([at - radius for at, radius in ends], axis=0)
    assert 1.2 < size_m.max() < 3.2, "about as long as it says"
