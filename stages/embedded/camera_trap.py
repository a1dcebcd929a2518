"""The embedded camera-trap dataset: drawn pictures in the format of Caltech Camera Traps, with faults planted.

Each species lives at some places and hardly at others, so a classifier is tempted to learn the background, but each
lives at four or more, so held-out places show known species. Frequencies have a long tail. Fox, coyote and bobcat are
alike, above all by night. A sequence is one visit of an animal to a camera, in 1 to 5 frames; the animal may leave.
"""

import uuid
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from stages.embedded.figures import FIGURES, vary
from stages.embedded.places import Place, place
from stages.embedded.scenes import Actor, Drawn, Light, draw_light, render
from stages.embedded.writing import drawn, encode
from stages.files import seed_from, write_json
from stages.settings import Record

EMPTY = "empty"
# Shares of the sequences.
FREQUENCIES: dict[str, float] = {
    EMPTY: 0.2, "deer": 0.2, "rabbit": 0.16, "coyote": 0.13, "bird": 0.1, "raccoon": 0.08, "bobcat": 0.06,
    "fox": 0.04, "skunk": 0.03,
}  # fmt: skip
CATEGORIES = {name: number for number, name in enumerate(FREQUENCIES)}
# Shares of a species' visits that are by night.
NIGHT = {
    EMPTY: 0.2, "deer": 0.2, "rabbit": 0.3, "coyote": 0.35, "bird": 0.0, "raccoon": 0.8, "bobcat": 0.4, "fox": 0.5,
    "skunk": 0.8,
}  # fmt: skip
LEAST_PLACES = 4  # every species lives at this many places or more
JSON_SCALE = 2  # as in the Caltech download, the JSON speaks of pictures twice as large as the files
SPEED_LENGTHS_PER_TURN = {"walking": 1.5, "running": 3.2}  # body lengths covered in one turn of a gait
POSTURES = {"walking": 0.48, "standing": 0.2, "eating": 0.17, "running": 0.08, "sitting": 0.05, "lying": 0.02}


class CameraTrapScenes(Record):
    """What to draw."""

    images: int = Field(1500, gt=0)  # good pictures; the planted faults come on top
    locations: int = 14  # cameras
    width_px: int = 256
    height_px: int = 192
    pairs: float = 0.05  # share of the sequences with two animals; a third of them of two species
    jpeg_quality: int = 88  # 0 to 100


SETTINGS = CameraTrapScenes  # by this name `stages.download` finds it


class Sequence(NamedTuple):
    """The plan of one sequence; everything else follows from its seed."""

    number: int
    location: int
    species: tuple[str, ...]
    frames: int
    seed: int


class Frame(NamedTuple):
    """One picture: its row for the JSON, its annotations' rows and its bytes."""

    image: dict[str, Any]
    annotations: list[dict[str, Any]]
    jpeg: bytes


def new_id(*parts: object) -> str:
    """An id in the style of the real data, made from values."""
    return str(uuid.UUID(int=seed_from(*parts) << 64 | seed_from("low", *parts), version=4))


def plan(settings: CameraTrapScenes, seed: int) -> list[Sequence]:
    """Which species comes to which place, in how many frames; exactly `images` frames in all."""
    rng = np.random.default_rng(seed_from("plan", seed))
    lengths: list[int] = []
    while sum(lengths) < settings.images:
        lengths.append(int(rng.choice([1, 2, 3, 4, 5], p=[0.24, 0.12, 0.4, 0.1, 0.14])))
    lengths[-1] -= sum(lengths) - settings.images
    visitors = _visitors(len(lengths), settings.locations, rng)
    names = list(FREQUENCIES)[1:]
    sequences = []
    for number, (frames, (location, name)) in enumerate(zip(lengths, visitors, strict=True)):
        species: tuple[str, ...] = () if name == EMPTY else (name,)
        if species and rng.random() < settings.pairs:
            species += (str(rng.choice(names)),) if rng.random() < 1 / 3 else species
        sequences.append(Sequence(number, location, species, frames, seed))
    return sequences


def _visitors(count: int, locations: int, rng: np.random.Generator) -> list[tuple[int, str]]:
    """(location, species) of each sequence, in random order: long-tailed, and uneven over the places."""
    activity = rng.dirichlet(np.full(locations, 4.0))
    visitors: list[tuple[int, str]] = []
    for name, frequency in FREQUENCIES.items():
        if name == EMPTY:
            continue
        many = min(locations, max(LEAST_PLACES, round(locations * rng.uniform(0.35, 0.7))))
        homes = rng.choice(locations, many, replace=False)
        shares = rng.dirichlet(np.full(many, 0.9)) * activity[homes]
        more = max(round(count * frequency) - many, 0)  # beyond one visit to each home
        visits = (*homes, *rng.choice(homes, more, p=shares / shares.sum()))
        visitors += [(int(location), name) for location in visits]
    empty = max(count - len(visitors), 0)
    visitors += [(int(location), EMPTY) for location in rng.choice(locations, empty, p=activity)]
    return [visitors[index] for index in rng.permutation(len(visitors))[:count]]


def draw_sequence(sequence: Sequence, settings: CameraTrapScenes) -> list[Frame]:
    """All frames of a sequence. Pure: the same arguments give the same bytes."""
    rng = np.random.default_rng(seed_from("sequence", sequence.seed, sequence.number))
    there = place(sequence.location, settings.width_px, settings.height_px, sequence.seed)
    night = bool(rng.random() < NIGHT[sequence.species[0] if sequence.species else EMPTY])
    light = draw_light(rng, night)
    seconds = float(rng.uniform(0.4, 1.5))  # between frames
    visits = [_visit(name, there, light, rng) for name in sequence.species]
    hour = int(rng.choice([20, 21, 22, 23, 0, 1, 2, 3, 4]) if night else rng.integers(7, 19))
    start = datetime(2013, 1, 1) + timedelta(days=int(rng.integers(365)), hours=hour, seconds=int(rng.integers(3600)))
    frames = []
    for number in range(sequence.frames):
        actors = [_moved(visit, number * seconds) for visit in visits]
        pixels, drawn = render(there, light, actors, rng)
        when = start + timedelta(seconds=round(number * seconds))
        frames.append(_frame(sequence, number, when, pixels, drawn, settings))
    return frames


def _visit(name: str, there: Place, light: Light, rng: np.random.Generator) -> Actor:
    """An animal at a place where it can be seen at first."""
    figure = vary(FIGURES[name], rng)
    posture = str(rng.choice(list(POSTURES), p=list(POSTURES.values())))
    heading = float(rng.choice([0, 180]) + rng.normal(0, 32)) if rng.random() < 0.8 else float(rng.uniform(0, 360))
    width = there.rgb.shape[1]
    actor = Actor(figure, posture, float(rng.random()), heading, 0.0, 4.0, 0, int(rng.integers(10_000)))
    for _ in range(12):
        span_px = np.exp(rng.uniform(np.log(0.1 * width), np.log(0.55 * width)))  # of the trunk and what belongs to it
        distance = float(np.clip(1.6 * figure.length_m * there.focal_px / span_px, 1.3, 11.0))
        x = rng.uniform(0.12, 0.88) * width
        actor = actor._replace(distance_m=distance, across_m=float((x - width / 2) * distance / there.focal_px))
        trunk_px, feet_px = figure.length_m * there.focal_px / distance, there.ground_px(actor.across_m, distance)[1]
        y = min(max(int(feet_px - 0.4 * trunk_px), 0), there.rgb.shape[0] - 1)
        if feet_px < there.rgb.shape[0] + 0.2 * trunk_px and there.distance_m[y, int(x)] > distance:
            break
    gait = SPEED_LENGTHS_PER_TURN.get(posture, 0.0)
    smear_px = gait * figure.length_m * there.focal_px / actor.distance_m * (0.035 if light.night else 0.014)
    return actor._replace(smear_px=int(smear_px))


def _moved(actor: Actor, seconds: float) -> Actor:
    """The actor some seconds later: its gait has gone on, and it has gone with it."""
    turns = seconds * (0.9 if actor.posture in SPEED_LENGTHS_PER_TURN else 0.25)
    travel_m = turns * SPEED_LENGTHS_PER_TURN.get(actor.posture, 0.0) * actor.figure.length_m
    heading = np.radians(actor.heading_deg)
    return actor._replace(
        phase=actor.phase + turns,
        across_m=actor.across_m + travel_m * float(np.cos(heading)),
        distance_m=max(actor.distance_m + travel_m * float(np.sin(heading)), 1.1),
    )


def _frame(
    sequence: Sequence,
    number: int,
    when: datetime,
    pixels: NDArray[np.uint8],
    drawn: list[Drawn],
    settings: CameraTrapScenes,
) -> Frame:
    image_id = new_id("image", sequence.seed, sequence.number, number)
    image = {
        "id": image_id,
        "file_name": f"{image_id}.jpg",
        "width": JSON_SCALE * settings.width_px,
        "height": JSON_SCALE * settings.height_px,
        "seq_id": new_id("sequence", sequence.seed, sequence.number),
        "seq_num_frames": sequence.frames,
        "frame_num": number + 1,
        "location": str(sequence.location),
        "date_captured": when.strftime("%Y-%m-%d %H:%M:%S"),
    }
    seen = [(name, figure.box_px) for name, figure in zip(sequence.species, drawn, strict=True) if figure.box_px]
    annotations: list[dict[str, Any]] = [
        {"id": new_id("annotation", image_id, index), "image_id": image_id, "category_id": CATEGORIES[name],
         "bbox": [float(JSON_SCALE * value) for value in box]}
        for index, (name, box) in enumerate(seen)
    ]  # fmt: skip
    if not seen:
        annotations = [{"id": new_id("annotation", image_id), "image_id": image_id, "category_id": CATEGORIES[EMPTY]}]
    return Frame(image, annotations, encode(pixels, settings.jpeg_quality))


def _draw_and_write(job: tuple[Sequence, CameraTrapScenes, Path]) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    sequence, settings, images = job
    frames = draw_sequence(sequence, settings)
    for frame in frames:
        (images / frame.image["file_name"]).write_bytes(frame.jpeg)
    return [(frame.image, frame.annotations) for frame in frames]


def write(out: Path, settings: CameraTrapScenes, seed: int, workers: int | None = None) -> None:
    """Write `out/annotations.json`, `out/images/*.jpg` and `out/planted_faults.json`.

    Every byte depends on the settings and the seed alone, not on `workers` (processes; as many as there are cores if
    None). About 15 ms a picture and core.
    """
    from stages.embedded.planted_faults import plant  # it draws its own pictures with this module

    images = out / "images"
    images.mkdir(parents=True, exist_ok=True)
    jobs = [(sequence, settings, images) for sequence in plan(settings, seed)]
    rows = [row for frames in drawn(_draw_and_write, jobs, workers) for row in frames]
    data = {
        "info": {"version": "1", "description": "Drawn by stages.embedded.camera_trap", "contributor": f"seed {seed}"},
        "images": [image for image, _ in rows],
        "annotations": [annotation for _, annotations in rows for annotation in annotations],
        "categories": [{"id": number, "name": name} for name, number in CATEGORIES.items()],
    }
    faults = plant(data, images, settings, seed)
    write_json(out / "annotations.json", data)
    write_json(out / "planted_faults.json", faults)
