"""What a trained model made of a user's file: all that the formats, the drawn copies and the summary know of a prediction."""

from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime
from pathlib import Path

from stages.heatmaps import HeatmapSettings
from stages.samples import EMPTY

ANIMAL, PERSON, VEHICLE, FAILED = "animal", "person", "vehicle", "failed"
KINDS = (ANIMAL, PERSON, VEHICLE, EMPTY, FAILED)
JOINT_FLOOR = 0.5  # joints less sure are rather not there: neither drawn nor in coco.json
# What data sets call them; compared without case, `_` and `-` as spaces.
_PEOPLE = {
    *("person", "persons", "people", "human", "humans", "homo sapiens", "homo species", "man", "men", "woman", "women"),
    *("child", "children", "kid", "kids", "hiker", "hikers", "hunter", "hunters", "cyclist", "cyclists", "pedestrian"),
    *("pedestrians", "ranger", "rangers", "researcher", "staff", "setup", "set up", "setup pickup"),
}
_VEHICLES = {
    *(
        "vehicle",
        "vehicles",
        "car",
        "cars",
        "truck",
        "trucks",
        "van",
        "vans",
        "bus",
        "buses",
        "lorry",
        "tractor",
        "atv",
        "quad",
    ),
    *("motorcycle", "motorcycles", "motorbike", "motorbikes", "bicycle", "bicycles", "bike", "bikes", "boat", "boats", "train"),
}


@dataclass(frozen=True)
class Box:
    label: str  # its class
    score: float  # how sure the model is, 0 to 1
    xyxy: tuple[float, float, float, float]  # as shares of the picture's sides, the right way up: 0 to 1
    frame: int | None = None  # of a video: the number of its frame, from 0
    detector_label: str | None = None  # where a classifier named a detector's box: what the detector said,
    detector_score: float | None = None  # and how sure it was; `score` is this times the classifier's
    joints: tuple[tuple[float, float, float], ...] = ()  # of a person, by stages/people.py: x, y as shares, how sure
    stamped: bool = False  # its joints are in the heatmap by which the activity was told

    @property
    def kind(self) -> str:
        return kind_of(self.detector_label if self.detector_label in (PERSON, VEHICLE) else self.label)


@dataclass(frozen=True)
class Moment:
    """A window of a video, and what is done in it."""

    start_s: float  # from the video's first frame
    end_s: float
    label: str
    score: float  # how sure the model is
    confidence: float  # the same after calibration
    review: bool  # a person should look at it


@dataclass(frozen=True)
class Result:
    """One file. Where `failure` says why it could not be read, all that a model would have said is blank."""

    path: str  # from the run's root, with /
    _: KW_ONLY
    failure: str | None = None
    note: str = ""  # what else is to be said: a video that is damaged from some second on
    width_px: int = 0  # the right way up
    height_px: int = 0
    captured_at: datetime | None = None  # by the camera's clock, no zone
    frame_rate: float | None = None  # of a video, frames a second; None for a picture
    frames: tuple[int, ...] = ()  # of a video: the numbers of those that were looked at, or on which windows begin
    moments: tuple[Moment, ...] = ()  # of a video that was looked at in windows: each of them, in time
    label: str | None = None  # the answer: a class, or EMPTY
    score: float = 0.0  # how sure the model is
    confidence: float = 0.0  # the same after calibration: how often such an answer is right
    review: bool = False  # a person should look at it
    sequence: str | None = None  # of several files that show one event, where that was asked for
    sequence_label: str | None = None  # the answer for all of them together
    sequence_confidence: float = 0.0
    boxes: tuple[Box, ...] = ()  # the surest first; also those below the run's threshold
    scores: dict[str, float] = field(default_factory=dict)  # of a model of whole pictures or videos: each class's score
    actor: str | None = None  # PERSON or ANIMAL where the answer is what such a one does; None: it is what the file shows

    def shown(self, threshold: float) -> tuple[Box, ...]:
        """The boxes that are sure enough."""
        return tuple(box for box in self.boxes if box.score >= threshold)

    def kind(self, threshold: float) -> str:
        """animal, person, vehicle, empty or failed. People come first, then vehicles, whatever else the file shows."""
        if self.failure is not None:
            return FAILED
        there = {box.kind for box in self.shown(threshold)} | {self.kind_of(self.label or EMPTY)}
        return next(kind for kind in (PERSON, VEHICLE, ANIMAL, EMPTY) if kind in there)

    def kind_of(self, label: str) -> str:
        """What an answer is a kind of: an activity of a person, whether or not one was found; an action of an animal."""
        return self.actor or kind_of(label)


@dataclass(frozen=True)
class Run:
    """What one run of `stages.predict` was, for the formats that say so."""

    root: Path  # where paths of results start
    model: str  # its key
    as_built: str  # the network in a line
    sha256: str  # of its weights
    data: str  # what it was trained on: "embedded" or "your data"
    classes: tuple[str, ...]  # that a file may be given, also by a detector before the model; EMPTY where it may
    finds_boxes: bool
    threshold: float  # boxes less sure are not shown as found; 0 for a model without boxes
    finished_at: datetime  # with its zone
    searched: tuple[Path, ...] = ()  # the folders that were given, where they are others than `root`
    boxes_from: str | None = None  # the MegaDetector file, or our detector, whose boxes were classified
    finds_joints: bool = False  # its boxes of people have joints
    heatmaps: HeatmapSettings | None = None  # of a model that tells what people do by a heatmap of their joints
    in_windows: bool = False  # videos were looked at in windows of time, for what is done in them


def kind_of(label: str) -> str:
    """animal, person, vehicle or empty: what a class is a kind of."""
    name = label.casefold().replace("_", " ").replace("-", " ").strip()
    return EMPTY if label == EMPTY else PERSON if name in _PEOPLE else VEHICLE if name in _VEHICLES else ANIMAL
