"""One folder for each model family, found by its name. A family offers

    SETTINGS                                     its record of settings
    train(settings, job) -> Trained              trains and leaves weights and model.json in `job.out`
    load(folder) -> Network                      the trained model in use, for `stages.inference`

Families are imported only when asked for: torch takes seconds.
"""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

import pandas as pd

from stages.files import DataError, read_json, require_manifest
from stages.people import no_people
from stages.samples import no_keypoints
from stages.settings import Record

_ANEW = "Train the model anew, or get it anew from where it came"


@dataclass(frozen=True)
class Job:
    """What a family is given to train from. `train` and `val` are samples tables; paths in them start at `root`."""

    train: pd.DataFrame
    val: pd.DataFrame
    boxes: pd.DataFrame  # of both, as `samples.BOXES` has them
    classes: tuple[str, ...]  # of the pictures in train, `empty` last
    root: Path
    data: str  # "embedded" or "your data"
    seed: int
    work: Path  # resume state of this very job; kept over a kill, removed when training ends
    models: Path  # where other trained models lie, for `init: model:<name>`
    needs: Path  # what the entry's `needs` names: a pretraining's folder, a detector's predictions, or nothing of use
    out: Path  # an empty folder to fill
    people: pd.DataFrame = field(default_factory=lambda: no_people()[0])  # of both, where the data set is of people
    joints: pd.DataFrame = field(default_factory=lambda: no_people()[1])
    keypoints: pd.DataFrame = field(default_factory=no_keypoints)  # of both, where the source has them
    tables: Path = Path()  # where the samples' tables lie, and with them the stored frames of clips


@dataclass(frozen=True)
class Trained:
    cost: dict[str, Any]  # measured: parameters, layers, megabytes, train_seconds, ms_an_image, ...
    curve: pd.DataFrame  # a row for each epoch


class Family(Protocol):
    SETTINGS: type[Record]
    train: Callable[[Any, Job], Trained]
    load: Callable[[Path], Any]  # a stages.inference.Network; to say so here would import torch


def read_card(folder: Path) -> dict[str, Any]:
    """A trained model's model.json. Altered or truncated files of its folder are refused by their sha256."""
    require_manifest(folder)
    card = read_json(folder / "model.json")
    if not isinstance(card, dict) or not isinstance(card.get("family"), str):
        raise DataError(f"{folder / 'model.json'}: names no family of models. {_ANEW}")
    return card


def load(folder: Path) -> Any:
    """A trained model in use, a stages.inference.Network. DataError where its files are altered, or are no such model's."""
    card = read_card(folder)
    try:
        return family(card["family"]).load(folder)
    except DataError as error:
        raise DataError(str(error) if str(folder) in str(error) else f"{folder / 'model.json'}: {error}") from None
    except Exception as error:  # whatever is missing or of another kind in a card from elsewhere
        if _of_the_machine(error):
            raise
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise DataError(f"{folder / 'model.json'}: not as a training leaves it ({what}). {_ANEW}") from error


def _of_the_machine(error: Exception) -> bool:
    """Whether memory, a disk or a library is lacking, which is no fault of a model's."""
    if isinstance(error, OSError):  # those without a number are libraries' own, of what a file holds or names
        return error.errno is not None and not isinstance(error, (FileNotFoundError, NotADirectoryError, IsADirectoryError))
    of_gpu = type(error).__name__ == "OutOfMemoryError"  # PyTorch's, which is not imported here, and a RuntimeError
    return of_gpu or isinstance(error, (MemoryError, ImportError))


def families() -> list[str]:
    """The names of all there are."""
    return [module.name for module in pkgutil.iter_modules(__path__)]


def family(name: str) -> Family:
    """The family in `stages/networks/<name>`."""
    if name not in families():
        raise DataError(f"no model family `{name}`. There is: {', '.join(families())}")
    return cast(Family, importlib.import_module(f"stages.networks.{name}"))
