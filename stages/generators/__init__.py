"""What makes pictures to order for `stages.synthesize`: one file for each generator, which offers

    SETTINGS                                 its record of settings
    open_generator(settings) -> Generator    ready to be asked; raises DataError where what it needs is missing

Generators are imported only when asked for: torch and diffusers take seconds.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from stages.files import DataError
from stages.pictures import RGB
from stages.settings import Record

NOT_FINITE, SAFETY_CHECKER = "not_finite", "safety_checker"  # why a generator gives no picture


@dataclass(frozen=True)
class Wanted:
    """One picture to make."""

    sample_id: str
    label: str
    species: str
    view: str
    prompt: str
    seed: int  # its own: 63 bits


@dataclass(frozen=True)
class Made:
    """One picture as it was made, uint8 (h, w, 3), or in a word why there is none."""

    rgb: RGB | None
    refused: str = ""


class Generator(Protocol):
    about: dict[str, str]  # what decides its pictures beside what is wanted; `generator`, `model` and `revision` among it
    batch_size: int  # how many it is asked for at once, except for the last

    def require(self, wanted: Iterable[Wanted]) -> None:
        """Raises DataError for what it cannot make, before hours are spent on the rest."""
        ...

    def make(self, batch: Sequence[Wanted]) -> list[Made]:
        """A picture for each that is wanted. Each depends on its own seed and prompt; on the others at most by rounding."""
        ...


class Module(Protocol):
    SETTINGS: type[Record]
    open_generator: Callable[[Any], Generator]


def find(name: str) -> Module:
    """The generator in `stages/generators/<name>.py`."""
    known = [module.name for module in pkgutil.iter_modules(__path__)]
    if name not in known:
        raise DataError(f"no generator `{name}`. There is: {', '.join(known)}")
    return cast(Module, importlib.import_module(f"stages.generators.{name}"))
