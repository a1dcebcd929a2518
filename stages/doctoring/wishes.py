"""params.yaml as `stages.check` checks it, in every profile, and what its trainings ask of memory."""

import contextlib
import io
import tempfile
from dataclasses import dataclass
from typing import Any

from stages.doctoring import Finding
from stages.files import DataError


@dataclass(frozen=True)
class Demand:
    """What one training holds at once."""

    model: str
    batch_bytes: int  # of a batch of pictures or clips as float32
    cache_bytes: int  # decoded pictures that may be kept
    workers: int | None  # loader processes; None: by the machine


def _demand(model: str, settings: Any) -> Demand | None:
    """None for a family that is shown nothing of its own size: stored heatmaps, or boxes."""
    side = getattr(settings, "image_px", None) or getattr(settings, "crop_px", None)
    if side is None:
        return None
    values = settings.batch_size * side * side * 3 * getattr(settings, "frames", 1)
    return Demand(model, 4 * values, int(getattr(settings, "cache_gb", 0) * 2**30), getattr(settings, "workers", None))


def examine(params: dict[str, Any]) -> tuple[list[Finding], list[Demand]]:
    """What is wrong with the settings, in the profile at hand first, and the demands of its models.

    Imports every model family, and with them PyTorch: seconds.
    """
    with tempfile.TemporaryDirectory() as elsewhere, contextlib.chdir(elsewhere):  # Ultralytics makes a folder for itself
        return _examine(params)


def _examine(params: dict[str, Any]) -> tuple[list[Finding], list[Demand]]:
    from stages.check import PROFILES, check_all
    from stages.networks import family
    from stages.settings import section

    chosen, sections = params.get("profile"), 0
    notes: list[Finding] = []
    for profile in dict.fromkeys((chosen, *PROFILES)):
        try:
            with contextlib.redirect_stdout(io.StringIO()) as said:
                sections = check_all(params | {"profile": profile})
        except DataError as error:  # most are of the whole file, whichever profile is chosen
            remedy = "correct it there: `python -m stages.check` says whether all is well"
            return [Finding("settings", str(error), remedy, stops=True)], []
        for note in said.getvalue().splitlines():
            where = "" if profile == chosen else f"in the profile {profile}: "
            remedy = "give that version in `split`, or name the models to run: `dvc repro evaluate@<model>`"
            notes.append(Finding("settings", where + note.removeprefix("note: "), remedy))
    models = ((name, entry["family"]) for name, entry in params["models"].items())
    demands = [
        demand
        for name, kind in models
        if (demand := _demand(name, section(f"models.{name}.{chosen}", family(kind).SETTINGS, params)))
    ]
    return notes or [Finding("settings", f"params.yaml: {sections} sections in {len(PROFILES)} profiles")], demands
