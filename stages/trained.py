"""A trained model by its name, as users give it."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path

from stages import networks
from stages.files import MANIFEST, DataError, read_json, require_manifest
from stages.heatmaps import HeatmapSettings
from stages.inference import Network
from stages.predictions import BOX, CLASS, JOINTS

MODELS = Path("models")


def find(name: str) -> Path:
    """The folder of a model: a key of `models/`, or a path. Raises DataError, with the keys that there are."""
    for folder in (MODELS / name, Path(name)):
        if (folder / "model.json").is_file():
            return folder
    known = sorted(path.parent.name for path in MODELS.glob("*/model.json"))
    there_is = (
        "There is:\n  " + "\n  ".join(known) if known else "None is trained yet, or this is not the project: run `dvc repro`"
    )
    raise DataError(f"no trained model `{name}`. {there_is}")


def chosen(folder: Path) -> dict[str, float]:
    """What its evaluation chose on validation: thresholds and calibration. Empty where it has not been evaluated beside it."""
    for path in sorted(folder.resolve().parent.parent.glob(f"data/answers/*/{folder.resolve().name}/chosen.json")):
        require_manifest(path.parent)
        return read_json(path)
    return {}


def load(folder: Path) -> Network:
    return networks.load(folder)


@dataclass(frozen=True)
class Model:
    """What answers: a network, and for one that looks into boxes, or at heatmaps of joints, what finds those."""

    key: str
    folder: Path
    network: Network
    detector: Network | None = None
    boxes_from: str | None = None  # the detector's key, or the MegaDetector file
    heatmaps: HeatmapSettings | None = None  # by which the joints become what a classifier of heatmaps is shown
    detector_sha256: str | None = None

    @property
    def sha256(self) -> str:
        return _weights(self.folder)

    @property
    def finds_boxes(self) -> bool:
        return self.network.task != CLASS or self.network.regions is not None

    @property
    def is_validated(self) -> bool:
        """Whether what validation chose was chosen behind this very detector."""
        if self.heatmaps is not None and self.detector is not None:
            return self.detector_sha256 == self.network.card["heatmaps"]["pose_sha256"]
        return self.boxes_from in (None, self.network.card.get("behind"))


def _weights(folder: Path) -> str:
    return read_json(folder / MANIFEST)["weights.safetensors"]["sha256"]


def open_model(name: str, detector: str | None, boxes: Path | None) -> Model:
    """The model and what it needs. Raises DataError for one that does not exist, or options that do not fit it."""
    folder = find(name)
    network = load(folder)
    model = Model(folder.resolve().name, folder, network)
    if network.clip is not None:
        if boxes or detector:
            raise DataError(
                f"{model.key} tells what is done in videos, whoever is in them: --boxes and --detector are not for it"
            )
        return model
    if network.stored is not None:
        return _with_heatmaps(model, detector, boxes)
    if network.regions is None:
        if boxes or detector:
            raise DataError(
                f"{model.key} looks at whole pictures and finds what it finds itself: --boxes is for models that classify "
                "boxes (family crop), --detector for those and models of heatmaps"
            )
        return model
    if boxes is not None:
        return replace(model, boxes_from=boxes.name)
    behind = detector or network.card.get("behind", "")
    if not detector and (not behind or network.regions.listed is not None):
        raise DataError(f"{model.key} classifies boxes: name what finds them, --detector MODEL or --boxes MEGADETECTOR.json")
    place = find(behind) if detector else folder.parent / behind
    if not (place / "model.json").is_file():
        raise DataError(f"{model.key} classifies the boxes of {behind}, which is not at {place}: name another with --detector")
    finder = load(place)
    if finder.task != BOX:
        raise DataError(f"--detector {behind}: it finds no boxes. Name a model of family yolo or efficientdet")
    return replace(model, detector=finder, boxes_from=place.resolve().name, detector_sha256=_weights(place))


def _with_heatmaps(model: Model, detector: str | None, boxes: Path | None) -> Model:
    """A classifier of heatmaps, behind the pose model that they were made by in training or another one."""
    card = model.network.card
    if card["inputs"] == "rgb_truth":
        raise DataError(
            f"{model.key} wants heatmaps of true joints, which photos do not bring: take one that was trained on found joints, "
            "activity-rgb-heatmap for example"
        )
    if "heatmaps" not in card:
        raise DataError(
            f"{model.key} was trained by an earlier version, which kept no heatmap settings: `dvc repro` trains it anew"
        )
    made = card["heatmaps"]
    model = replace(model, heatmaps=HeatmapSettings.model_validate(made["settings"]))
    if card["inputs"] == "rgb":
        if boxes or detector:
            raise DataError(
                f"{model.key} looks at whole pictures alone, whoever is in them: --boxes and --detector are not for it"
            )
        return model
    if boxes:
        raise DataError(f"{model.key} wants people's joints, which a MegaDetector file does not hold: leave out --boxes")
    place = find(detector) if detector else model.folder.parent / made["pose"]
    if not (place / "model.json").is_file():
        raise DataError(
            f"{model.key} wants the joints that {made['pose']} finds, which is not at {place}: name another with --detector"
        )
    if not detector and _weights(place) != made["pose_sha256"]:
        raise DataError(
            f"{model.key} was trained behind another {made['pose']} than that at {place}: `dvc repro` trains it anew, or take "
            f"it all the same with --detector {place}"
        )
    finder = load(place)
    if finder.task != JOINTS:
        raise DataError(f"--detector {detector}: it finds no joints. Name a pose model, {made['pose']} for example")
    return replace(model, detector=finder, boxes_from=place.resolve().name, detector_sha256=_weights(place))


MEGADETECTOR_THRESHOLD = 0.2  # MegaDetector's own, for its boxes
# Of people with joints, for whom validation chooses none: Ultralytics' own, and what heatmaps are made from by default.
PEOPLE_THRESHOLD = 0.25


def chosen_for(model: Model, threshold: float | None) -> dict[str, float]:
    """Thresholds and calibration: those that validation chose, or the user's. DataError where a threshold is missing.

    What was chosen behind one detector says nothing of the boxes of another.
    """
    values = chosen(model.folder)
    if model.network.task == JOINTS:
        values = {"temperature": 1.0, "bias": 0.0, "image_threshold": PEOPLE_THRESHOLD, "box_threshold": PEOPLE_THRESHOLD}
        least = PEOPLE_THRESHOLD if threshold is None else threshold
        print(
            f"{model.key}: how sure it is, is not calibrated, and people count from {least:g} on "
            "(--threshold): validation chooses neither for people's joints",
            file=sys.stderr,
        )
    elif model.heatmaps is not None and not model.is_validated:
        values = {"temperature": 1.0}
        print(f"{model.key} was never validated behind {model.boxes_from}: how sure it is, is not calibrated", file=sys.stderr)
    elif not model.is_validated:
        values = {"temperature": 1.0, "bias": 0.0, "image_threshold": MEGADETECTOR_THRESHOLD}
        least = MEGADETECTOR_THRESHOLD if threshold is None else threshold
        print(
            f"{model.key} was never validated behind {model.boxes_from}: how sure it is, is not calibrated, and boxes count "
            f"from {least:g} on (--threshold)",
            file=sys.stderr,
        )
    if not values:
        print(f"{model.key} has no evaluation beside it (data/answers): how sure it is, is not calibrated", file=sys.stderr)
        values = {"temperature": 1.0, "bias": 0.0}
    if threshold is not None:
        if not model.finds_boxes:
            raise DataError(f"--threshold is for models that find boxes; {model.key} gives whole pictures or videos a class")
        values = values | {"image_threshold": threshold, "box_threshold": threshold}
    if model.finds_boxes and "image_threshold" not in values:
        raise DataError(f"{model.key}: no threshold was chosen for it (data/answers): give one with --threshold, 0.3 perhaps")
    return values
