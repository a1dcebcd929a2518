"""What the embedded profile's stand-in for ImageNet is trained on: photos of other objects and people, a folder for each class.

Classes are told apart by shape: every colour is drawn anew for every picture. None of the posture dataset's six species is
among them, and no class is a posture of an animal.
"""

import dataclasses
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import Field

from stages.embedded.coats import PATTERNS, RGB, Coat
from stages.embedded.figures import FIGURES, Figure, postures, vary
from stages.embedded.portraits import Sitter, portrait, size_px
from stages.embedded.surroundings import KINDS as SURROUNDINGS
from stages.embedded.things import KINDS, Thing
from stages.embedded.writing import drawn, encode
from stages.files import seed_from
from stages.settings import Record

ANIMALS = ("bird", "turkey", "deer", "rabbit", "raccoon", "skunk", "coyote")
PEOPLE = {"walker": "walking", "sitter": "sitting", "sleeper": "lying", "dancer": "dancing", "cyclist": "cycling"}
CLASSES = (*KINDS, *ANIMALS, *PEOPLE)


class ObjectScenes(Record):
    """What to draw."""

    images: int = Field(1550, gt=0)
    least_px: int = 96  # a picture's longer side lies between these
    most_px: int = 128
    jpeg_quality: int = 90  # 0 to 100


SETTINGS = ObjectScenes  # by this name `stages.pretrain` finds it


class Plan(NamedTuple):
    """The plan of one picture; everything else follows from its seed."""

    number: int
    label: str  # of CLASSES
    seed: int


def plan(settings: ObjectScenes, seed: int) -> list[Plan]:
    """Classes in turn, so that each has as many pictures as any other, or one more."""
    return [Plan(number, CLASSES[number % len(CLASSES)], seed) for number in range(settings.images)]


def draw_picture(plan: Plan, settings: ObjectScenes) -> bytes:
    """A photo as JPEG. It depends on the plan and the settings alone."""
    rng = np.random.default_rng(seed_from("objects", *plan))
    figure, posture, height_m, length_m = _figure(plan.label, rng)
    width, height = size_px(settings.least_px, settings.most_px, rng)
    heading_deg = float(rng.uniform(-60, 60) + rng.choice([0, 180]))
    sitter = Sitter(figure, posture, float(rng.random()), heading_deg, height_m, length_m)
    pixels, _ = portrait(sitter, tuple(SURROUNDINGS), width, height, rng)
    return encode(pixels, settings.jpeg_quality)


def _figure(label: str, rng: np.random.Generator) -> tuple[Figure, str, float, float]:
    """A figure of a class, its posture, and about how high and long it is in metres."""
    if label in KINDS:
        slim, tall, wide = np.exp(rng.normal(0, 0.12, 3)).tolist()
        return Thing(1.0, _any_coat(rng), label, slim, tall, wide), "", 0.7, 1.1
    if label in PEOPLE:
        person = vary(FIGURES["person"], rng, 0.05)
        clothes = {part: _any_colour(rng) for part in ("shirt", "trousers", "shoe", "bicycle")}
        person = dataclasses.replace(person, coat=dataclasses.replace(person.coat, parts={**person.coat.parts, **clothes}))
        return person, PEOPLE[label], 0.8 * person.length_m, 0.9 * person.length_m
    animal = vary(FIGURES[label], rng, 0.08)
    return animal, str(rng.choice(postures(animal))), 1.2 * animal.length_m, 1.9 * animal.length_m


def _any_colour(rng: np.random.Generator) -> RGB:
    r, g, b = rng.uniform(0.08, 0.92, 3)
    return float(r), float(g), float(b)


def _any_coat(rng: np.random.Generator) -> Coat:
    return Coat(_any_colour(rng), {"leg": _any_colour(rng)}, str(rng.choice(list(PATTERNS))), _any_colour(rng), ("trunk",))


def _draw_and_write(job: tuple[Plan, ObjectScenes, Path]) -> None:
    plan, settings, out = job
    (out / plan.label / f"{plan.number:06d}.jpg").write_bytes(draw_picture(plan, settings))


def write(out: Path, settings: ObjectScenes, seed: int, workers: int | None = None) -> None:
    """Write `out/<class>/<number>.jpg`.

    Every byte depends on the settings and the seed alone, not on `workers` (processes; as many as there are cores if
    None). About 10 ms a picture and core.
    """
    jobs = [(picture, settings, out) for picture in plan(settings, seed)]
    for label in {picture.label for picture, _, _ in jobs}:
        (out / label).mkdir(parents=True, exist_ok=True)
    drawn(_draw_and_write, jobs, workers)
