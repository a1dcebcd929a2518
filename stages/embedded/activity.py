"""The embedded activity dataset: drawn people in the format of MPII Human Pose, with faults planted.

An activity is told by posture and surroundings together: walking, running and bicycling share the street, sports has the
posture of running on a field, housework that of gardening in a room. So neither a picture's background nor its joints alone
are enough, but no pair of the two belongs to two activities. `RELEASE` has the layout of `mpii_human_pose_v1_u12_1.mat`
as SciPy reads it (http://human-pose.mpi-inf.mpg.de; Andriluka et al., CVPR 2014).
"""

import dataclasses
import io
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from pydantic import Field, model_validator
from scipy.io import savemat

from stages.embedded.coats import RGB, Coat
from stages.embedded.figures import FIGURES, pose, vary
from stages.embedded.people import MPII_JOINTS, Person
from stages.embedded.places import Place
from stages.embedded.scenes import Actor, Drawn, draw_light, render
from stages.embedded.skeleton import Array, Body, View, project
from stages.embedded.surroundings import INDOORS, surroundings
from stages.embedded.writing import drawn, drawn_into, encode
from stages.files import seed_from, write_json
from stages.settings import Record

ANNOTATIONS = "mpii_human_pose_v1_u12_1.mat"
SCALE_PX = 200  # a person's `scale` is the height in units of these
HEAD_SHARE = 0.6  # MPII takes this share of the head box's diagonal for the length of the head
HEAD = 0.125  # from upper neck to top, as a share of the height (people.py)
LEAST_VISIBLE = 0.45  # share of a figure that has to be seen, else the picture is drawn anew
MARGIN_PX = 3  # round every joint of a good picture
MOST_OVERLAP = 0.3  # of two people's boxes, as a share of the smaller one


class Activity(NamedTuple):
    """A category of MPII: its share of the pictures, and what is drawn."""

    share: float
    acts: tuple[tuple[str, int], ...]  # MPII's own names and ids of activities
    where: dict[str, float]  # surroundings -> share
    postures: dict[str, float]  # -> share


ACTIVITIES: dict[str, Activity] = {
    "walking": Activity(
        0.13, (("walking, general", 944), ("backpacking", 940)), {"street": 0.7, "garden": 0.3}, {"walking": 1}
    ),
    "running": Activity(0.12, (("running", 914), ("jogging", 913)), {"street": 1}, {"running": 1}),
    "bicycling": Activity(
        0.11, (("bicycling, general", 841), ("bicycling, racing and road", 780)), {"street": 0.8, "field": 0.2}, {"cycling": 1}
    ),
    "sports": Activity(0.14, (("soccer", 931), ("softball, general", 348)), {"field": 1}, {"running": 0.5, "jumping": 0.5}),
    "dancing": Activity(
        0.11, (("ballet, modern, or jazz", 853), ("ballroom", 683)), {"stage": 0.7, "hall": 0.3}, {"dancing": 1}
    ),
    "conditioning exercise": Activity(
        0.12, (("circuit training", 119), ("video exercise workouts, TV conditioning programs", 849)),
        {"hall": 0.75, "field": 0.25}, {"star_jump": 0.5, "squatting": 0.5},
    ),
    "inactivity quiet/light": Activity(
        0.08, (("reclining", 878), ("lying quietly, sleeping", 712)), {"room": 0.7, "garden": 0.3},
        {"lying": 0.5, "reclining": 0.5},
    ),
    "home activities": Activity(
        0.09, (("making bed, changing linens", 756), ("vacuuming, general, moderate effort", 161)), {"room": 1},
        {"bending": 0.6, "squatting": 0.4},
    ),
    "lawn and garden": Activity(
        0.1, (("gardening, general, moderate effort", 326), ("planting seedlings, shrub, stooping, moderate effort", 449)),
        {"garden": 1}, {"bending": 0.6, "squatting": 0.4},
    ),
}  # fmt: skip
PEOPLE_SHARES = (0.5, 0.27, 0.11, 0.06, 0.04, 0.02)  # of the pictures with 1, 2, ... people
TALLEST = (0.95, 0.9, 0.8, 0.7, 0.6, 0.5)  # of 1, 2, ... people: the height of one who stands, as a share of the picture's
PHASES = {"jumping": (0.62, 0.88), "star_jump": (0.2, 0.8)}  # of a turn, where the posture can be told from standing
FACING = frozenset({"dancing", "star_jump"})  # rather to or from the camera than across

SKINS: tuple[RGB, ...] = ((0.85, 0.65, 0.53), (0.78, 0.56, 0.43), (0.6, 0.42, 0.3), (0.4, 0.27, 0.19))
HAIRS: tuple[RGB, ...] = ((0.1, 0.08, 0.07), (0.3, 0.18, 0.1), (0.62, 0.48, 0.28), (0.5, 0.5, 0.5))


class ActivityScenes(Record):
    """What to draw."""

    images: int = Field(600, gt=0)  # good pictures; the planted faults come on top
    least_people: int = Field(1, ge=1, le=6)  # in a picture, where there is room
    most_people: int = Field(6, ge=1, le=6)
    least_px: int = 160  # a picture's longer side lies between these
    most_px: int = 240
    jpeg_quality: int = 90  # 0 to 100

    @model_validator(mode="after")
    def _least_first(self) -> Self:
        if self.least_people > self.most_people:
            raise ValueError(f"least_people {self.least_people} is above most_people {self.most_people}")
        return self


SETTINGS = ActivityScenes  # by this name `stages.download` finds it


class Plan(NamedTuple):
    """The plan of one picture; everything else follows from its seed."""

    number: int
    category: str
    people: int  # fewer where there is no room
    seed: int


class Picture(NamedTuple):
    """One picture: what `RELEASE` says of it, as plain values, and its bytes."""

    name: str
    size_px: tuple[int, int]  # width, height
    annorect: list[dict[str, Any]] | None  # a mapping for each person; None: an empty array
    act: dict[str, Any]
    img_train: int
    jpeg: bytes


def new_name(number: int, seed: int) -> str:
    """A file name in the style of the real data; other numbers below 10^9 give other names."""
    return f"{(7_654_321 * number + seed_from('names', seed)) % 10**9:09d}.jpg"


def plan(settings: ActivityScenes, seed: int) -> list[Plan]:
    """Which activity each picture shows, in random order, and how many people."""
    rng = np.random.default_rng(seed_from("activity plan", seed))
    upto = np.floor(np.cumsum([activity.share for activity in ACTIVITIES.values()]) * settings.images + 0.5).astype(int)
    categories = np.repeat(list(ACTIVITIES), np.diff(upto, prepend=0))
    shares = np.array(PEOPLE_SHARES[settings.least_people - 1 : settings.most_people])
    people = rng.choice(len(shares), len(categories), p=shares / shares.sum()) + settings.least_people
    order = rng.permutation(len(categories))
    return [Plan(number, str(categories[at]), int(people[at]), seed) for number, at in enumerate(order)]


def draw_picture(plan: Plan, settings: ActivityScenes) -> Picture:
    """Draw one picture. It depends on the plan and the settings alone.

    All 16 joints of everyone lie in it; `is_visible` is 0 for those that someone else, something or the own body hides.
    """
    rng = np.random.default_rng(seed_from("activity", *plan))
    activity = ACTIVITIES[plan.category]
    longer = int(rng.integers(settings.least_px, settings.most_px + 1))
    shorter = round(longer * float(rng.choice([9 / 16, 2 / 3, 3 / 4])))
    width, height = (longer, shorter) if rng.random() < 0.85 else (shorter, longer)
    for _ in range(30):
        where = _choice(activity.where, rng)
        there = surroundings(where, width, height, rng)
        light = draw_light(rng, night=False)._replace(shift_px=(0, 0), haze=0.0)
        if where in INDOORS:
            light = light._replace(shadow=0.15, dapple=0.0)
        actors = _actors(there, activity, plan.people, rng)
        pixels, drawn = render(there, light, actors, rng)
        if drawn and all(seen.box_px and seen.visible >= LEAST_VISIBLE for seen in drawn):
            break
    else:
        raise AssertionError(f"no picture of {plan} came out")
    act_name, act_id = activity.acts[rng.integers(len(activity.acts))]
    people = [_annotated(actor, seen, there) for actor, seen in zip(actors, drawn, strict=True)]
    act = {"cat_name": plan.category, "act_name": act_name, "act_id": act_id}
    return Picture(new_name(plan.number, plan.seed), (width, height), people, act, 1, encode(pixels, settings.jpeg_quality))


def _choice(shares: dict[str, float], rng: np.random.Generator) -> str:
    return str(rng.choice(list(shares), p=list(shares.values())))


def _dressed(rng: np.random.Generator) -> Person:
    """Anybody, in any clothes."""
    person = vary(FIGURES["person"], rng, 0.05)
    assert isinstance(person, Person)

    def any_colour(low: float, high: float) -> RGB:
        r, g, b = rng.uniform(low, high, 3)
        return float(r), float(g), float(b)

    parts = {
        "skin": SKINS[rng.integers(len(SKINS))], "hair": HAIRS[rng.integers(len(HAIRS))], "shirt": any_colour(0.1, 0.95),
        "trousers": any_colour(0.08, 0.7), "shoe": any_colour(0.05, 0.9), "tyre": (0.07, 0.07, 0.08),
        "bicycle": any_colour(0.1, 0.9),
    }  # fmt: skip
    return dataclasses.replace(person, coat=Coat((0.5, 0.5, 0.5), parts))


def _actors(there: Place, activity: Activity, people: int, rng: np.random.Generator) -> list[Actor]:
    """People who do it, each wholly in the picture and hardly overlapping; fewer than asked for where there is no room."""
    height, width = there.distance_m.shape
    found: list[Actor] = []
    taken: list[Array] = []
    for _ in range(people):
        figure, posture = _dressed(rng), _choice(activity.postures, rng)
        phase = float(rng.uniform(*PHASES.get(posture, (0.0, 1.0))))
        heading = float(rng.choice([270, 90], p=[0.75, 0.25]) if posture in FACING else rng.choice([0, 180]))
        heading += float(rng.normal(0, 26))
        share = TALLEST[people - 1] * rng.uniform(0.75, 1.0)
        body = pose(figure, posture, phase)
        for attempt in range(40):
            distance_m = there.focal_px * figure.length_m / (share * 0.985**attempt * height)
            across_m = (rng.uniform(0.08, 0.92) - 0.5) * width * distance_m / there.focal_px
            actor = Actor(figure, posture, phase, heading, float(across_m), float(distance_m), 0, int(rng.integers(10_000)))
            box = _reach_px(body, actor, there)
            inside = (box[:2] >= MARGIN_PX).all() and (box[2:] <= np.array([width, height]) - MARGIN_PX).all()
            if inside and all(_overlap(box, other) <= MOST_OVERLAP for other in taken):
                found.append(actor)
                taken.append(box)
                break
    return found


def _reach_px(body: Body, actor: Actor, there: Place) -> Array:
    """The box round every joint of an actor, before it is drawn: (4,) x and y of two corners."""
    view = View(actor.heading_deg, float(np.degrees(np.arctan2(there.height_m, actor.distance_m))))
    seen = np.array(list(project(body, view).values()))
    scale = there.focal_px / actor.distance_m
    at = np.array(there.ground_px(actor.across_m, actor.distance_m)) + seen[:, :2] * np.array([scale, -scale])
    return np.concatenate([at.min(axis=0), at.max(axis=0)])


def _overlap(a: Array, b: Array) -> float:
    """How much of the smaller of two boxes of corners lies in the other."""
    common = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0)
    return float(np.prod(common) / min(np.prod(a[2:] - a[:2]), np.prod(b[2:] - b[:2])))


def _annotated(actor: Actor, seen: Drawn, there: Place) -> dict[str, Any]:
    """A person as MPII has it. The head box is the square whose HEAD_SHARE of the diagonal is the length of the head."""
    height_px = there.focal_px / actor.distance_m * actor.figure.length_m
    at = np.array([seen.joints_px[name] for name in MPII_JOINTS])
    middle = (at[MPII_JOINTS.index("neck")] + at[MPII_JOINTS.index("head_top")]) / 2
    half = HEAD * height_px / HEAD_SHARE / 8**0.5
    points = [
        {
            "x": round(float(x), 2),
            "y": round(float(y), 2),
            "id": np.uint8(joint),
            "is_visible": np.uint8(name not in seen.hidden),
        }
        for joint, (name, (x, y)) in enumerate(zip(MPII_JOINTS, at, strict=True))
    ]
    x, y = (np.uint16(value) for value in (at.min(axis=0) + at.max(axis=0)) / 2)  # MATLAB stores whole numbers like this
    x1, y1, x2, y2 = (round(float(value), 2) for value in (*(middle - half), *(middle + half)))
    box = {"x1": x1, "y1": y1, "x2": x2, "y2": y2}
    return box | {"annopoints": {"point": points}, "scale": round(height_px / SCALE_PX, 6), "objpos": {"x": x, "y": y}}


# The .mat file -------------------------------------------------------------------------------------------------------


def matlab(value: Any) -> Any:
    """A plain value as `savemat` has to get it.

    A mapping becomes a struct, a list of mappings a row of structs with the fields of all, and None or what a row lacks an
    empty array.
    """
    match value:
        case None | []:
            return np.zeros((0, 0))
        case dict():
            return _structs([value], (1, 1))
        case [dict(), *_]:
            return _structs(value, (1, len(value)))
        case _:
            return value


def _structs(rows: list[dict[str, Any]], shape: tuple[int, int]) -> np.ndarray:
    fields = list(dict.fromkeys(field for row in rows for field in row))
    structs = np.empty(len(rows), dtype=[(field, object) for field in fields])
    for number, row in enumerate(rows):
        structs[number] = tuple(matlab(row.get(field)) for field in fields)
    return structs.reshape(shape)


def release(pictures: list[Picture]) -> bytes:
    """The bytes of the `.mat` file."""
    alone = np.empty((len(pictures), 1), object)  # which people stand alone
    for row, picture in enumerate(pictures):
        alone[row, 0] = np.ones((1, 1)) if picture.annorect and len(picture.annorect) == 1 else np.zeros((0, 0))
    annolist = [
        {"image": {"name": picture.name}, "annorect": picture.annorect, "frame_sec": None, "vidx": None} for picture in pictures
    ]
    fields = ("annolist", "img_train", "version", "single_person", "act", "video_list")
    whole = np.empty((1, 1), dtype=[(field, object) for field in fields])
    whole[0, 0] = (
        matlab(annolist),
        np.array([[picture.img_train for picture in pictures]], np.uint8),
        "12",
        alone,
        _structs([picture.act for picture in pictures], (len(pictures), 1)),
        np.zeros((0, 0)),
    )
    buffer = io.BytesIO()
    savemat(buffer, {"RELEASE": whole}, do_compression=True)
    header = b"MATLAB 5.0 MAT-file, drawn by stages.embedded.activity"  # instead of one that bears the time
    return header.ljust(116) + buffer.getvalue()[116:]


def write(out: Path, settings: ActivityScenes, seed: int, workers: int | None = None) -> None:
    """Write `out/mpii_human_pose_v1_u12_1.mat`, `out/images/*.jpg` and `out/planted_faults.json`.

    Every byte depends on the settings and the seed alone, not on `workers` (processes; as many as there are cores if
    None). About 15 ms a picture and core.
    """
    from stages.embedded.activity_faults import plant  # it draws its own pictures with this module

    images = out / "images"
    images.mkdir(parents=True, exist_ok=True)
    pictures = drawn(drawn_into, [(draw_picture, picture, settings, images) for picture in plan(settings, seed)], workers)
    faults = plant(pictures, images, settings, seed)
    (out / ANNOTATIONS).write_bytes(release(pictures))
    write_json(out / "planted_faults.json", faults)
