"""People in motion, in a folder for each class: what the embedded profile pretrains video networks on, in place of Kinetics.

Drawn as the clips of animals are (action.py), with other figures, actions and seeds. Here too PAIRS name actions that no single
frame tells apart: they have one SCENE and differ in rates alone (action_motion.py).
    walking, running                              the same strides, slow or fast
    standing_still, looking_around, waving        any turn of the body, any height of an arm: both held, or one of them goes on
"""

import dataclasses
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import Field

from stages.embedded.action_animals import HEAD, leaping, turned
from stages.embedded.action_drawing import SKY, WATER, Pixels
from stages.embedded.action_motion import Clip, Turns, anywhere, filmed, frames, moving_on, paced
from stages.embedded.action_video import RATE, Footage, mp4
from stages.embedded.coats import RGB
from stages.embedded.figures import FIGURES, pose, vary
from stages.embedded.people import Person
from stages.embedded.skeleton import Body, Limb
from stages.embedded.writing import drawn
from stages.files import seed_from

PLACES = ("street", "field", "garden", "hall", "room", "stage")
ARM = ("elbow_right", "wrist_right", "hand_right")
OTHER_ARM = ("elbow_left", "wrist_left", "hand_left")
UPPER = ("thorax", "neck", "waist", "flank", "shoulder", "elbow", "wrist", "hand", *HEAD)  # above the hips


class Scene(NamedTuple):
    """What is done where, and how it is filmed: all that one frame shows."""

    does: str  # of `body`
    where: tuple[str, ...]
    tall: tuple[float, float]  # a person's height, as a share of the frame's
    heading_deg: float  # to the right, or to the left, give or take this
    stride: tuple[float, float] = (0, 0)  # heights moved on in a turn of the gait


GOING = Scene("gait", PLACES, (0.6, 0.8), 30, (0.5, 0.8))
STANDING = Scene("stand", PLACES, (0.65, 0.85), 60)
SCENES: dict[str, Scene] = {
    "walking": GOING,
    "running": GOING,
    "standing_still": STANDING,
    "looking_around": STANDING,
    "waving": STANDING,
    "jumping": Scene("jump", (*PLACES, SKY), (0.45, 0.6), 45, (0, 0.5)),
    "bending_down": Scene("bend", PLACES, (0.6, 0.8), 45),
    "swimming": Scene("swim", (WATER,), (0.7, 1.0), 25, (0.2, 0.4)),
    "jumping_jacks": Scene("jack", PLACES, (0.55, 0.75), 60),
}
RATES: dict[str, dict[str, tuple[float, float]]] = {  # turns a second; cycles that are not named stand still
    "walking": {"gait": (0.7, 1.2)},
    "running": {"gait": (2.2, 3.2)},
    "standing_still": {},
    "looking_around": {"look": (0.8, 1.4)},
    "waving": {"voice": (2.2, 3.6)},
    "jumping": {"gait": (0.9, 1.5)},
    "bending_down": {"gait": (0.7, 1.3)},
    "swimming": {"gait": (0.8, 1.6)},
    "jumping_jacks": {"gait": (1.6, 2.8)},
}
CLASSES = tuple(SCENES)
PAIRS: tuple[tuple[str, str], ...] = (
    ("walking", "running"),
    ("standing_still", "looking_around"),
    ("standing_still", "waving"),
    ("looking_around", "waving"),
)


class MovementScenes(Footage):
    """What to draw."""

    clips: int = Field(360, gt=0)  # in all; of each class as many as of any other, or one more


SETTINGS = MovementScenes  # by this name `stages.download` finds it


class Plan(NamedTuple):
    """The plan of one clip; everything else follows from its seed."""

    number: int
    label: str  # of CLASSES
    seed: int


def plan(settings: MovementScenes, seed: int) -> list[Plan]:
    """Classes in turn."""
    return [Plan(number, CLASSES[number % len(CLASSES)], seed) for number in range(settings.clips)]


def clip(label: str, size: tuple[int, int], seed: int) -> Clip:
    """A clip of frames of `size` (width, height). Of two classes of one scene all but the rates is the same for one seed."""
    rng = np.random.default_rng(seed_from("movement clip", seed))
    scene, (width, height) = SCENES[label], size
    person = anybody(rng)
    px_per_m = rng.uniform(*scene.tall) * height / person.length_m
    ground_px = height * float(rng.uniform(0.55, 0.75) if scene.does == "swim" else rng.uniform(0.88, 0.98))
    stage, others = filmed(
        (person.coat, 0.0),
        str(rng.choice(scene.where)),
        float(rng.uniform(-scene.heading_deg, scene.heading_deg)),
        px_per_m,
        (ground_px, ground_px if scene.does == "swim" else None),
        0.0 if scene.does == "swim" else 0.16 * person.length_m * px_per_m,
        size,
        rng,
    )
    start = anywhere(rng)
    posture = str(rng.choice(("walking", "running")))
    follows, stride_px = bool(rng.random() < 0.5), rng.uniform(*scene.stride) * person.length_m * px_per_m
    # Paces are drawn from seeds of their own, so that all else is as it would be for another class.
    rates = paced(others, RATES[label], np.random.default_rng(seed_from("movement pace", label, seed)))
    return Clip(partial(body, scene.does, person, posture), stage, start, moving_on(start, rates, stride_px, follows, width))


def anybody(rng: np.random.Generator) -> Person:
    """A person of any build in any clothes."""
    person = vary(FIGURES["person"], rng, 0.05)
    assert isinstance(person, Person)
    clothes = {part: _any_colour(rng) for part in ("shirt", "trousers", "shoe")}
    return dataclasses.replace(person, coat=dataclasses.replace(person.coat, parts={**person.coat.parts, **clothes}))


def _any_colour(rng: np.random.Generator) -> RGB:
    r, g, b = rng.uniform(0.08, 0.92, 3)
    return float(r), float(g), float(b)


def body(does: str, person: Person, posture: str, turns: Turns) -> Body:
    """How a person looks in the middle of what is done (Scene.does)."""
    wave = float(np.sin(2 * np.pi * turns.gait))
    match does:
        case "gait":
            return _with_nose(pose(person, posture, turns.gait), person)
        case "jump":
            standing = pose(person, "standing", 0.0)
            arms = 70 - 70 * float(np.cos(2 * np.pi * turns.gait - 1))
            return leaping(_arms(standing, arms, arms), turns.gait, 0.35 * person.length_m, 0.0)
        case "bend":
            return turned(_with_nose(pose(person, "standing", 0.0), person), UPPER, "pelvis", 0, 45 * wave - 45)
        case "swim":
            return _crawl(person, turns.gait)
        case "jack":
            return _with_nose(pose(person, "star_jump", turns.gait), person)
    standing = _with_nose(pose(person, "standing", 0.0), person)
    standing = _arms(standing, 105 + 55 * float(np.sin(2 * np.pi * turns.voice)), 0)
    sideways = float(np.sin(2 * np.pi * turns.look))
    return turned(turned(standing, UPPER, "pelvis", 40 * sideways, 0), HEAD, "neck", 45 * sideways, 0)


def _with_nose(body: Body, person: Person) -> Body:
    """So that it is seen where a person looks."""
    nose = body.joints_m["skull"] + np.array([0.05, 0, 0]) * person.length_m
    return Body({**body.joints_m, "face": nose}, [*body.limbs, Limb("face", "face", 0.03, 0.03, "skin")])


def _arms(body: Body, right_deg: float, left_deg: float) -> Body:
    """The arms swung forwards and up."""
    return turned(turned(body, ARM, "shoulder_right", 0, right_deg), OTHER_ARM, "shoulder_left", 0, left_deg)


def _crawl(person: Person, phase: float) -> Body:
    """Face down along the water's surface, which is where z is 0; the arms go round in turn."""
    upright = _arms(pose(person, "walking", phase), 360 * phase, 360 * phase + 180)
    prone = turned(upright, tuple(upright.joints_m), "pelvis", 0, -80)
    return prone._replace(joints_m={name: joint - prone.joints_m["pelvis"] for name, joint in prone.joints_m.items()})


def draw(plan: Plan, settings: MovementScenes) -> list[Pixels]:
    """A clip's frames, RGB (h, w, 3) each; they depend on the plan and the settings alone."""
    seed = seed_from("movement", plan.seed, plan.number)
    rng = np.random.default_rng(seed)
    count = int(rng.integers(settings.least_frames, settings.most_frames + 1))
    times = [number / RATE for number in range(count)]
    return frames(clip(plan.label, settings.size, seed), times, settings.size, rng)


def _draw_and_write(job: tuple[Plan, MovementScenes, Path]) -> None:
    plan, settings, out = job
    (out / plan.label / f"{plan.number:06d}.mp4").write_bytes(mp4(draw(plan, settings)))


def write(out: Path, settings: MovementScenes, seed: int, workers: int | None = None) -> None:
    """Write `out/<class>/<number>.mp4`.

    Every byte depends on the settings and the seed alone, not on `workers` (processes; as many as there are cores if
    None). About 30 ms a clip and core.
    """
    jobs = [(each, settings, out) for each in plan(settings, seed)]
    for label in {each.label for each, _, _ in jobs}:
        (out / label).mkdir(parents=True, exist_ok=True)
    drawn(_draw_and_write, jobs, workers)
