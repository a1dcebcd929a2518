"""Every figure by name, and its pose as a pure function of posture and phase."""

import dataclasses

import numpy as np

from stages.embedded import birds, coats, people, quadrupeds, things
from stages.embedded.birds import Bird
from stages.embedded.people import Person
from stages.embedded.quadrupeds import Quadruped
from stages.embedded.skeleton import Body
from stages.embedded.things import Thing

Figure = Quadruped | Bird | Person | Thing

FIGURES: dict[str, Figure] = {**quadrupeds.SPECIES, **birds.SPECIES, **people.PEOPLE}


def postures(figure: Figure) -> tuple[str, ...]:
    """The names of the postures that a figure can take."""
    match figure:
        case Quadruped():
            return tuple(quadrupeds.POSTURES)
        case Bird():
            return birds.POSTURES
        case Person():
            return tuple(people.POSTURES)
        case Thing():
            return ()


def pose(figure: Figure, posture: str, phase: float) -> Body:
    """The joints (metres) and limbs of a figure in a posture or gait. `phase` is in turns; whole ones do not matter."""
    match figure:
        case Quadruped():
            return quadrupeds.pose(figure, posture, phase % 1.0)
        case Bird():
            return birds.pose(figure, posture, phase % 1.0)
        case Person():
            return people.pose(figure, posture, phase % 1.0)
        case Thing():
            return things.pose(figure)


def vary(figure: Figure, rng: np.random.Generator, spread: float = 0.07) -> Figure:
    """An individual: its lengths, radii and colours differ from the kind's by about `spread`, angles by 3 degrees."""
    changes: dict[str, object] = {"coat": coats.vary(figure.coat, rng, 1.5 * spread)}
    for field in dataclasses.fields(figure):
        value = getattr(figure, field.name)
        if isinstance(value, float | int):
            is_angle = field.name.endswith(("_up", "_out", "_back", "upright"))
            changes[field.name] = value + rng.normal(0, 3) if is_angle else value * float(np.exp(rng.normal(0, spread)))
    return dataclasses.replace(figure, **changes)  # type: ignore[arg-type]
