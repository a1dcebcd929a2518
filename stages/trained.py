"""A trained model by its name, as users give it."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path

from stages.files import MANIFEST, DataError, read_json, require_manifest
from stages.inference import Network
from stages.networks import family, read_card
from stages.predictions import BOX, JOINTS

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
    return family(read_card(folder)["family"]).load(folder)


@dataclass(frozen=True)
class Model:
    """What answers: a network, and for one that looks into boxes what finds them."""

    key: str
    folder: Path
    network: Network
    detector: Network | None = None
    boxes_from: str | None = None  # the detector's key, or the MegaDetector file
    detector_sha256: str | None = None

    @property
    def sha256(self) -> str:
        return _weights(self.folder)


def _weights(folder: Path) -> str:
    return read_json(folder / MANIFEST)["weights.safetensors"]["sha256"]


def refuse_people(key: str, network: Network, where: str) -> None:
    """Raises DataError for a model of people's joints or of their heatmaps, which is not to be had there yet."""
    if network.task == JOINTS or network.stored is not None:
        raise DataError(f"{key} finds people's joints, or reads their heatmaps: not to be had {where} yet")


def open_model(name: str, detector: str | None, boxes: Path | None) -> Model:
    """The model and what it needs. Raises DataError for one that does not exist, or options that do not fit it."""
    folder = find(name)
    network = load(folder)
    model = Model(folder.resolve().name, folder, network)
    refuse_people(model.key, network, "on a folder of photos")
    if network.regions is None:
        if boxes or detector:
            raise DataError(
                f"{model.key} looks at whole pictures and finds what it finds itself: --boxes and --detector are for models "
                "that classify boxes (family crop)"
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


MEGADETECTOR_THRESHOLD = 0.2  # MegaDetector's own, for its boxes


def chosen_for(model: Model, threshold: float | None) -> dict[str, float]:
    """Thresholds and calibration: those that validation chose, or the user's. DataError where a threshold is missing.

    What was chosen behind one detector says nothing of the boxes of another.
    """
    values = chosen(model.folder)
    if model.boxes_from not in (None, model.network.card.get("behind")):
        values = {"temperature": 1.0, "bias": 0.0, "image_threshold": MEGADETECTOR_THRESHOLD}
        print(
            f"{model.key} was never validated behind {model.boxes_from}: how sure it is, is not calibrated, and boxes count "
            f"from {threshold or MEGADETECTOR_THRESHOLD:g} on (--threshold)",
            file=sys.stderr,
        )
    if not values:
        print(f"{model.key} has no evaluation beside it (data/answers): how sure it is, is not calibrated", file=sys.stderr)
        values = {"temperature": 1.0, "bias": 0.0}
    finds_boxes = model.network.task == BOX or model.network.regions is not None
    if threshold is not None:
        if not finds_boxes:
            raise DataError(f"--threshold is for models that find boxes; {model.key} gives whole pictures a class")
        values = values | {"image_threshold": threshold, "box_threshold": threshold}
    if finds_boxes and "image_threshold" not in values:
        raise DataError(f"{model.key}: no threshold was chosen for it (data/answers): give one with --threshold, 0.3 perhaps")
    return values
