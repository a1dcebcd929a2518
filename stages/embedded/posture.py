"""The embedded posture dataset: drawn photos of single animals with what they do, as a table that `animal_posture` reads.

Six species in the document's four classes with its own counts; walking and standing, written apart as people write them, are
one class. Where an animal is drawn depends on its species alone, so that nothing but its posture tells what it does.
`synthetic` draws other individuals in another style, for what the document has a text-to-image model do.
"""

import csv
import dataclasses
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from stages.embedded import coats
from stages.embedded.figures import FIGURES, pose, vary
from stages.embedded.portraits import Sitter, portrait, size_px
from stages.embedded.quadrupeds import Quadruped
from stages.embedded.scenes import Drawn
from stages.embedded.skeleton import View
from stages.embedded.sketch import sketch
from stages.embedded.writing import drawn, drawn_into, encode
from stages.files import seed_from, write_json
from stages.settings import Record

TABLE = "actions.csv"
COLUMNS = ("image", "action", "species", "bbox", "keypoints")
# How often each action is written, of the document's 817 pictures; the last two are one class.
ACTIONS = {"lying": 88, "running": 70, "sitting": 67, "walking": 356, "standing": 236}
CLASSES = {"walking_standing": ("walking", "standing")}  # the others stand for themselves
POSTURES = {"standing": (("standing", 0.7), ("eating", 0.3))}  # what is drawn; the others stand for themselves
WHERE: dict[str, tuple[str, ...]] = {
    "cat": ("room", "garden", "street"), "dog": ("room", "garden", "street", "field"), "horse": ("field", "garden", "hall"),
    "cow": ("field", "garden", "hall"), "sheep": ("field", "garden"), "goat": ("field", "garden", "street"),
}  # fmt: skip
SPECIES = tuple(WHERE)
VIEWS: dict[str, tuple[float, ...]] = {  # headings in degrees
    "side": (0, 180), "three-quarter": (315, 225), "front": (270,), "rear": (65, 115),
}  # fmt: skip
VIEW_SHARES = {"side": 0.58, "three-quarter": 0.26, "front": 0.1, "rear": 0.06}
# AP-10K's keypoints -> the skeleton's joints. A paw is the end of a leg.
KEYPOINTS = {
    "left_eye": "eye_left", "right_eye": "eye_right", "nose": "nose", "neck": "neck", "root_of_tail": "tail_base",
    "left_shoulder": "fore_left_0", "left_elbow": "fore_left_1", "left_front_paw": "fore_left_3",
    "right_shoulder": "fore_right_0", "right_elbow": "fore_right_1", "right_front_paw": "fore_right_3",
    "left_hip": "hind_left_0", "left_knee": "hind_left_1", "left_back_paw": "hind_left_3",
    "right_hip": "hind_right_0", "right_knee": "hind_right_1", "right_back_paw": "hind_right_3",
}  # fmt: skip


class PostureScenes(Record):
    """What to draw."""

    images: int = Field(817, gt=0)  # good pictures; the planted faults come on top
    least_px: int = 112  # a picture's longer side lies between these
    most_px: int = 144
    jpeg_quality: int = 90  # 0 to 100


SETTINGS = PostureScenes  # by this name `stages.download` finds it


class Plan(NamedTuple):
    """The plan of one picture; everything else follows from its seed."""

    number: int
    action: str  # of ACTIONS
    species: str
    seed: int


class Picture(NamedTuple):
    """One picture: its row of the table and its bytes."""

    name: str
    action: str
    species: str
    bbox: tuple[float, ...] | None  # x, y, width, height in px
    keypoints: dict[str, tuple[float, float, int]]  # of KEYPOINTS, those in the picture: x, y in px, and 2 seen or 1 hidden
    jpeg: bytes


def new_name(number: int, seed: int) -> str:
    """A file name that tells nothing; other numbers below 10^9 give other names."""
    return f"animal_{(7_654_321 * number + seed_from('posture names', seed)) % 10**9:09d}.jpg"


def plan(settings: PostureScenes, seed: int) -> list[Plan]:
    """What each picture shows, in random order: actions by their shares, species alike in each."""
    rng = np.random.default_rng(seed_from("posture plan", seed))
    upto = np.floor(np.cumsum(list(ACTIONS.values())) * settings.images / sum(ACTIONS.values()) + 0.5).astype(int)
    actions = np.repeat(list(ACTIONS), np.diff(upto, prepend=0))
    order = rng.permutation(len(actions))
    return [Plan(number, str(actions[at]), SPECIES[at % len(SPECIES)], seed) for number, at in enumerate(order)]


def draw_picture(plan: Plan, settings: PostureScenes) -> Picture:
    """Draw one photo. It depends on the plan and the settings alone."""
    rng = np.random.default_rng(seed_from("posture", *plan))
    width, height = size_px(settings.least_px, settings.most_px, rng)
    animal = individual(plan.species, rng)
    postures, shares = zip(*POSTURES.get(plan.action, ((plan.action, 1.0),)), strict=True)
    view = str(rng.choice(list(VIEW_SHARES), p=list(VIEW_SHARES.values())))
    sitter = Sitter(
        animal,
        str(rng.choice(postures, p=shares)),
        float(rng.random()),
        float(rng.choice(VIEWS[view]) + rng.normal(0, 14)),
        animal.length_m * (animal.leg + animal.neck),
        1.9 * animal.length_m,
    )
    pixels, seen = portrait(sitter, WHERE[plan.species], width, height, rng)
    assert seen.box_px is not None
    x, y, w, h = map(float, seen.box_px)
    name, jpeg = new_name(plan.number, plan.seed), encode(pixels, settings.jpeg_quality)
    return Picture(name, plan.action, plan.species, (x, y, w, h), _keypoints(seen, width, height), jpeg)


def individual(species: str, rng: np.random.Generator) -> Quadruped:
    """Any animal of a species: its build differs a little from another's, its coat a lot."""
    animal = vary(FIGURES[species], rng, 0.08)
    assert isinstance(animal, Quadruped)
    return dataclasses.replace(animal, coat=coats.vary(animal.coat, rng, 0.18))


def _keypoints(seen: Drawn, width: int, height: int) -> dict[str, tuple[float, float, int]]:
    found = {}
    for name, joint in KEYPOINTS.items():
        x, y = (round(float(value), 1) for value in seen.joints_px[joint])
        if 0 <= x <= width and 0 <= y <= height:
            found[name] = (x, y, 1 if joint in seen.hidden else 2)
    return found


def synthetic(action: str, species: str, view: str, seed: int, side_px: int) -> NDArray[np.uint8]:
    """A cartoon (stages/embedded/sketch.py) of an animal of the class `action`, seen from `view`: RGB (side_px, side_px, 3).

    It depends on the arguments alone. Raises KeyError for what is not in VIEWS or SPECIES, and for an unknown action.
    """
    rng = np.random.default_rng(seed_from("posture sketch", action, species, view, seed))
    posture = str(rng.choice(CLASSES.get(action, (action,))))
    animal = individual(species, rng)
    heading = float(rng.choice(VIEWS[view]) + rng.normal(0, 10))
    return sketch(pose(animal, posture, float(rng.random())), animal.coat, View(heading, rng.uniform(2, 14)), side_px, rng)


# Writing -------------------------------------------------------------------------------------------------------------


def table(pictures: list[Picture], path: Path) -> None:
    """Write the rows of `pictures` as CSV; what is None or empty is left blank."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for name, action, species, bbox, keypoints, _ in pictures:
            texts = [json.dumps(values) if values else "" for values in (bbox, keypoints)]
            writer.writerow((f"images/{name}", action, species, *texts))


def write(out: Path, settings: PostureScenes, seed: int, workers: int | None = None) -> None:
    """Write `out/actions.csv`, `out/images/*.jpg` and `out/planted_faults.json`.

    Every byte depends on the settings and the seed alone, not on `workers` (processes; as many as there are cores if
    None). About 15 ms a picture and core.
    """
    from stages.embedded.posture_faults import plant  # it draws its own pictures with this module

    images = out / "images"
    images.mkdir(parents=True, exist_ok=True)
    pictures = drawn(drawn_into, [(draw_picture, picture, settings, images) for picture in plan(settings, seed)], workers)
    faults = plant(pictures, images, settings, seed)
    table(pictures, out / TABLE)
    write_json(out / "planted_faults.json", faults)
