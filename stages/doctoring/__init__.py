"""What `stages.doctor` looks at, a file for each side of a project; each gives findings and alters nothing.

examination.py  all of what follows but the environment
machine.py      cores, memory, GPU
environment.py  Python, packages, programs
wishes.py       params.yaml in every profile, and what its trainings ask of memory
sources.py      each data set's source
lock.py         dvc.lock: which stage made what
storage.py      DVC's cache and its state databases
processes.py    stages that run, locks and temporaries that the dead left
room.py         disk and memory
history.py      git, and results altered by hand
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that is so. Without a remedy all is well with it."""

    topic: str
    says: str  # which file, what is wrong with it
    remedy: str = ""
    stops: bool = False  # a run would stop at it, or take wrong data for right


def size(count: float) -> str:
    """Bytes for people: 372 MB, 1.5 GB."""
    power = next((power for power in range(4) if count < 1000 ** (power + 1)), 4)
    number, unit = count / 1000**power, ("bytes", "kB", "MB", "GB", "TB")[power]
    return f"{number:,.1f} {unit}" if power and number < 10 else f"{number:,.0f} {unit}"


def several(names: list[str], at_most: int = 3) -> str:
    """The first few of them, and how many more."""
    more = f" and {len(names) - at_most:,} more" if len(names) > at_most else ""
    return ", ".join(names[:at_most]) + more
