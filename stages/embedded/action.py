"""The embedded action dataset: drawn clips of animals with what they do, in the form of Animal Kingdom.

`AR_metadata.xlsx` has the authors' columns and ways of writing them (https://github.com/sutdcv/Animal-Kingdom; Ng et al., CVPR
2022), down to the names with an apostrophe, whose lists are texts within a list; `video/` has the clips, 30 frames a second.

PAIRS name actions that no single frame tells apart. All that moves in a clip is a few cycles, each of which starts anywhere in
its turn and goes on at a steady rate (action_motion.py). Two actions of a pair have one SCENE: the same animals in the same
numbers, places, poses, cameras and paths. They differ in the rates alone, and a cycle that starts anywhere is anywhere at any
later time, whatever its rate. So each frame of either has the same distribution: what differs is their order and speed.
    Walking, Running                    the same strides over the same way, slow or fast
    Keeping still, Attending, Chirping  any turn of the head, any opening of the mouth: both held, or one of them goes on
Camera, backdrop, light and noise are drawn alike for every action.
"""

import dataclasses
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import Field

from stages.embedded import action_animals as animals
from stages.embedded import coats
from stages.embedded.action_animals import ANIMALS, Animal, Fish
from stages.embedded.action_drawing import DEPTHS, OUTDOORS, SKY, WATER, Pixels
from stages.embedded.action_metadata import METADATA, Row, new_id, row, write_metadata
from stages.embedded.action_motion import Clip, Turns, anywhere, filmed, frames, moving_on, paced
from stages.embedded.action_video import RATE, TICKS, Footage, mp4
from stages.embedded.birds import Bird
from stages.embedded.figures import vary
from stages.embedded.skeleton import Body
from stages.embedded.writing import drawn
from stages.files import seed_from, write_json

VIDEOS = "video"
WALKERS = ("Deer", "Coyote", "Fox", "Cat", "Dog", "Horse", "Goat", "Rabbit", "Chicken", "Crow")
CALLERS = ("Sparrow", "Crow", "Savi'S Warbler Bird", "Chicken", "Squirrel", "Mongoose")
EATERS = ("Deer", "Rabbit", "Horse", "Goat", "Squirrel", "Sparrow", "Chicken", "Crow")
JUMPERS = ("Deer", "Fox", "Cat", "Dog", "Goat", "Rabbit", "Squirrel", "Sparrow")
SWIMMERS = ("Fish", "Clownfish", "Duck", "Dog", "Deer")
FLIERS = ("Sparrow", "Crow", "Savi'S Warbler Bird", "Duck")


class Scene(NamedTuple):
    """Who does it where, and how it is filmed: all that one frame shows."""

    does: str  # how it moves, of `body`
    species: tuple[str, ...]  # of ANIMALS, in turn
    where: tuple[str, ...]
    trunk: tuple[float, float]  # length of the trunk, as a share of the frame's width
    heading_deg: float  # it heads to the right, or to the left, give or take this
    stride: tuple[float, float]  # trunk lengths that it moves on in a turn of its gait


GOING = Scene("gait", WALKERS, OUTDOORS, (0.2, 0.3), 28, (1.0, 1.4))
PERCHED = Scene("perch", CALLERS, (*OUTDOORS, SKY), (0.26, 0.36), 45, (0, 0))
SCENES: dict[str, Scene] = {
    "Keeping still": PERCHED,
    "Walking": GOING,
    "Eating": Scene("eat", EATERS, OUTDOORS, (0.24, 0.34), 45, (0, 0)),
    "Chirping": PERCHED,
    "Swimming": Scene("swim", SWIMMERS, (WATER,), (0.22, 0.34), 30, (0.5, 0.9)),
    "Attending": PERCHED,
    "Flying": Scene("fly", FLIERS, (SKY, *OUTDOORS), (0.15, 0.24), 40, (0.2, 0.7)),
    "Running": GOING,
    "Jumping": Scene("jump", JUMPERS, OUTDOORS, (0.17, 0.25), 35, (0, 1.2)),
}
# Turns a second of each cycle; those that are not named stand still.
RATES: dict[str, dict[str, tuple[float, float]]] = {
    "Keeping still": {},
    "Walking": {"gait": (0.7, 1.2)},
    "Eating": {"gait": (0.8, 1.6)},
    "Chirping": {"voice": (2.6, 4.0)},
    "Swimming": {"gait": (0.9, 1.8)},
    "Attending": {"look": (0.8, 1.4)},
    "Flying": {"gait": (2.2, 3.6)},
    "Running": {"gait": (2.2, 3.2)},
    "Jumping": {"gait": (0.9, 1.5)},
}
ACTIONS = tuple(SCENES)
PAIRS: tuple[tuple[str, str], ...] = (
    ("Walking", "Running"),
    ("Keeping still", "Attending"),
    ("Keeping still", "Chirping"),
    ("Attending", "Chirping"),
)
FORMS = {  # good clips that have to be conformed: so many of each
    "variable_rate": 2,
    "rotated": 2,  # stored on their sides, with a display matrix
    "25_fps": 2,
    "spaced_row": 2,  # spaces round what the row says
}


class ActionScenes(Footage):
    """What to draw."""

    train: int = Field(34, gt=0)  # good clips a class on the official train list; the planted faults come on top
    test: int = Field(4, gt=0)  # and on its test list


SETTINGS = ActionScenes  # by this name `stages.download` finds it


class Plan(NamedTuple):
    """The plan of one clip; everything else follows from its seed."""

    number: int
    action: str  # of ACTIONS
    species: str  # of ANIMALS
    given: str  # the official list: "train" or "test"
    form: str  # of FORMS or action_faults.REJECTED; "" for a plain clip
    seed: int


def plan(settings: ActionScenes, seed: int) -> list[Plan]:
    """The good clips, in random order: actions alike in number, species in turn within each."""
    each = settings.train + settings.test
    clips = [(name, kind) for name in ACTIONS for kind in range(each)]
    forms = [form for form, count in FORMS.items() for _ in range(count)]
    formed = {place * len(clips) // len(forms): form for place, form in enumerate(forms)}
    plans = []
    for number, index in enumerate(np.random.default_rng(seed_from("action plan", seed)).permutation(len(clips))):
        name, kind = clips[index]
        species = SCENES[name].species
        given = "train" if kind < settings.train else "test"
        plans.append(Plan(number, name, species[kind % len(species)], given, formed.get(number, ""), seed))
    return plans


# One clip ------------------------------------------------------------------------------------------------------------


def clip(action: str, species: str, size: tuple[int, int], seed: int) -> Clip:
    """A clip of frames of `size` (width, height). Of two actions of one scene all but the rates is the same for one seed."""
    rng = np.random.default_rng(seed_from("action clip", species, seed))
    scene, (width, height) = SCENES[action], size
    animal = individual(species, rng)
    where = DEPTHS if isinstance(animal, Fish) else str(rng.choice(scene.where))
    px_per_m = rng.uniform(*scene.trunk) * width / animal.length_m
    posture = str(rng.choice(("walking", "running") if scene.does == "gait" else ("standing", "sitting")))
    stage, others = filmed(
        (animal.coat, 0.0 if isinstance(animal, Fish) else 0.5 * animal.length_m),
        where,
        float(rng.uniform(-scene.heading_deg, scene.heading_deg)),
        px_per_m,
        _heights(scene, animal, px_per_m, height, rng),
        0.0 if scene.does in ("fly", "swim") else 0.7 * animal.length_m * px_per_m,
        size,
        rng,
    )
    start = anywhere(rng)
    follows, stride_px = bool(rng.random() < 0.5), rng.uniform(*scene.stride) * animal.length_m * px_per_m
    # Paces are drawn from seeds of their own, so that all else is as it would be for another action.
    rates = paced(others, RATES[action], np.random.default_rng(seed_from("action pace", action, seed)))
    return Clip(partial(body, scene.does, animal, posture), stage, start, moving_on(start, rates, stride_px, follows, width))


def _heights(
    scene: Scene, animal: Animal, px_per_m: float, height: int, rng: np.random.Generator
) -> tuple[float, float | None]:
    """Where the animal's ground point is, and the water's surface: y in px."""
    length_px, share = animal.length_m * px_per_m, float(rng.random())
    match scene.does:
        case "fly":
            return height * (0.75 + 0.35 * share), None
        case "swim" if isinstance(animal, Fish):
            return height * (0.45 + 0.35 * share), None
        case "swim":
            surface = height * (0.55 + 0.22 * share)
            deep = 0.25 if isinstance(animal, Bird) else 0.95 * getattr(animal, "leg", 0.8)
            return surface + deep * length_px, surface
    return height * (0.78 + 0.16 * share), None


def individual(species: str, rng: np.random.Generator) -> Animal:
    """Any animal of a species: its build differs a little from another's, its coat a lot."""
    animal = ANIMALS[species]
    if not isinstance(animal, Fish):
        animal = vary(animal, rng, 0.06)
    return dataclasses.replace(animal, coat=coats.vary(animal.coat, rng, 0.2))


def body(does: str, animal: Animal, posture: str, turns: Turns) -> Body:
    """How an animal looks in the middle of what it does (Scene.does)."""
    match does:
        case "perch":
            return animals.perched(animal, posture, turns.look, turns.voice)
        case "eat":
            return animals.eating(animal, turns.gait)
        case "jump":
            return animals.jumping(animal, turns.gait)
        case "fly":
            return animals.flying(animal, turns.gait)
        case "swim":
            return animals.swimming(animal, turns.gait)
    return animals.going(animal, posture, turns.gait)


class Drawn(NamedTuple):
    frames: list[Pixels]  # RGB (h, w, 3)
    seconds: list[float]  # when each was taken


def draw(plan: Plan, settings: ActionScenes) -> Drawn:
    """A clip's frames; they depend on the plan and the settings alone."""
    seed = seed_from("action", plan.seed, plan.number)
    rng = np.random.default_rng(seed)
    count = int(rng.integers(settings.least_frames, settings.most_frames + 1))
    if plan.form == "variable_rate":  # 12 to 60 frames a second
        seconds = [float(tick) / TICKS for tick in np.cumsum([0, *rng.choice([10, 20, 20, 50], count - 1)])]
    else:
        seconds = [number / _rate(plan) for number in range(count)]
    return Drawn(frames(clip(plan.action, plan.species, settings.size, seed), seconds, settings.size, rng), seconds)


def _rate(plan: Plan) -> int:
    return 25 if plan.form == "25_fps" else RATE


def video(plan: Plan, settings: ActionScenes, index_first: bool = False) -> bytes:
    """The MP4 of a clip, in its form of FORMS; with `index_first` one that can be played before all of it is there."""
    shown = draw(plan, settings)
    times = shown.seconds if plan.form == "variable_rate" else None
    return mp4(shown.frames, _rate(plan), times, 1 + 2 * (plan.number % 2) if plan.form == "rotated" else 0, index_first)


# Writing -------------------------------------------------------------------------------------------------------------


def rows_of(plan: Plan) -> list[Row]:
    """What the metadata says of a good clip."""
    plain = row(new_id(plan.number, plan.seed), plan.given, [(plan.species, plan.action)])
    if plan.form == "spaced_row":
        return [Row(f"{plain.video_id} ", f" {plain.given}", f" {plain.labels} ", f" {plain.listed} ")]
    return [plain]


def _draw_and_write(job: tuple[Plan, ActionScenes, Path]) -> list[Row]:
    from stages.embedded.action_faults import harmed  # it draws its own clips with this module

    plan, settings, folder = job
    content, rows = harmed(plan, settings)
    if content is not None:
        (folder / f"{new_id(plan.number, plan.seed)}.mp4").write_bytes(content)
    return rows


def write(out: Path, settings: ActionScenes, seed: int, workers: int | None = None) -> None:
    """Write `out/AR_metadata.xlsx`, `out/video/*.mp4` and `out/planted_faults.json`.

    Every byte depends on the settings and the seed alone, not on `workers` (processes; as many as there are cores if
    None). About 35 ms a clip and core.
    """
    from stages.embedded.action_faults import faulty, planted

    folder = out / VIDEOS
    folder.mkdir(parents=True, exist_ok=True)
    plans = plan(settings, seed)
    plans += faulty(seed)
    rows = drawn(_draw_and_write, [(each, settings, folder) for each in plans], workers)
    write_metadata([row for of_clip in rows for row in of_clip], out / METADATA)
    write_json(out / "planted_faults.json", planted(plans))
