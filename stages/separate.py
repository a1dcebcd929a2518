"""Copies of a run's files with people and vehicles apart from the rest, so that the rest can be shared.

Where in doubt a file counts as one of a person: an animal's picture set apart costs a look, a person's picture once shared
cannot be taken back. Originals are only ever read.
"""

import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from stages.files import DataError, is_running, new_file
from stages.results import FAILED, KINDS, PERSON, VEHICLE, Box, Result, Run, kind_of
from stages.summary import printable

REVIEW = "review"
FOLDERS = (*KINDS, REVIEW)
SHARE_OF_THRESHOLD = 0.5  # a box of a person or vehicle counts from this share of the run's threshold
PROBABILITY = 0.2  # a model of whole pictures: what its classes of people (or of vehicles) have together, from which they count
_SAME_TIME_S = 2  # memory cards (FAT) keep the time of a file in steps of two seconds


@dataclass
class Separated:
    files: Counter[str] = field(default_factory=Counter)  # in each folder, also those that an earlier run had copied
    lost: list[str] = field(default_factory=list)  # path and reason of each file that was not copied, or that lies there twice


def separate(results: Callable[[], Iterable[Result]], run: Run, folder: Path) -> Separated:
    """Copy every file to `folder/<person, vehicle, animal, empty, review or failed>/<its path>`, times of the file kept.

    `review` gets animals and empty files that a person should look at, as they may show anything, and videos that could not be
    read to their end or may show a person for a moment. A file that is there already, by size and time, is not copied again;
    where it now belongs to another folder, its copy in the old one is removed. Another file of that name is never overwritten.
    A file that cannot be copied is one of the lost, never a stop.

    `results` is called twice: the bytes are summed before the first is copied. Raises DataError: see `check`; or the disk is
    too small.
    """
    check(run, folder)
    if not _tells(run, VEHICLE):
        print(f"{run.model} knows no vehicles: they are not set apart", file=sys.stderr)
    needed = sum(_missing_bytes(run.root / result.path, folder / place(result, run) / result.path) for result in results())
    free = shutil.disk_usage(next(path for path in (folder, *folder.absolute().parents) if path.exists())).free
    if needed > free:
        raise DataError(
            f"{folder}: the copies need {needed:,} bytes, its disk has {free:,} free: name a folder on another disk"
        )
    _clear_leftovers(folder)
    separated = Separated()
    with tqdm(total=needed, desc="copying", unit="B", unit_scale=True, disable=None, leave=False) as bar:
        for result in results():
            where, source = place(result, run), run.root / result.path
            try:
                for other in FOLDERS:  # first: a picture of a person must not stay among the animals, whatever comes next
                    if other != where and (folder / other / result.path).exists():
                        _remove(folder / other / result.path, source)
                bar.update(_copy(source, folder / where / result.path))
                separated.files[where] += 1
            except (OSError, DataError) as error:
                separated.lost.append(f"{printable(result.path)}: {printable(str(error))}")
    return separated


def check(run: Run, folder: Path) -> None:
    """Raises DataError: the model cannot tell people apart, or `folder` and the run's files lie one in the other."""
    if not _tells(run, PERSON):
        raise DataError(
            f"{run.model} cannot tell people apart: none of its classes are people ({', '.join(run.classes)}). "
            "Use a crop model with the boxes of MegaDetector: --boxes FILE.json"
        )
    require_apart(folder, run)


def require_apart(folder: Path, run: Run) -> None:
    """Raises DataError where the folder and those of the files lie one in the other: copies would be taken for new files."""
    for searched in run.searched or (run.root,):
        if _holds(searched, folder) or _holds(folder, searched):
            raise DataError(f"{folder}: no folder for copies of the files in {searched}: name one that lies outside, by itself")


def place(result: Result, run: Run) -> str:
    """One of FOLDERS: where a file belongs."""
    if result.failure is not None:
        return FAILED
    for kind in (PERSON, VEHICLE):
        if _may_show(kind, result, run.threshold):
            return kind
    unsure = result.review or result.note or _may_show_a_moment(result)
    return REVIEW if unsure else result.kind(run.threshold)


def _may_show(kind: str, result: Result, threshold: float) -> bool:
    return (
        kind in {result.kind_of(label) for label in (result.label, result.sequence_label) if label is not None}
        or any(box.kind == kind and _sureness(box, kind) >= SHARE_OF_THRESHOLD * threshold for box in result.boxes)
        or _probability(kind, result) >= PROBABILITY
    )


def _may_show_a_moment(result: Result) -> bool:
    """Whether the mean over a video's frames leaves room for one frame with a person or vehicle."""
    return any(_probability(kind, result) * len(result.frames) >= PROBABILITY for kind in (PERSON, VEHICLE))


def _probability(kind: str, result: Result) -> float:
    return sum(score for label, score in result.scores.items() if result.kind_of(label) == kind)


def _sureness(box: Box, kind: str) -> float:
    """A classifier of animals is unsure of every person: then it is the detector that counts."""
    return box.detector_score if box.detector_label == kind and box.detector_score is not None else box.score


def _tells(run: Run, kind: str) -> bool:
    return any(kind_of(label) == kind for label in run.classes)


def _holds(outer: Path, inner: Path) -> bool:
    inner = inner.resolve()
    return any(path.exists() and outer.exists() and path.samefile(outer) for path in (inner, *inner.parents))


def _clear_leftovers(folder: Path) -> None:
    """What a killed run had half copied: it is hidden, and would be shared with the rest."""
    for name in FOLDERS:
        for leftover in (folder / name).rglob(".*.partial-*"):
            if not is_running(leftover.name.rpartition("-")[2]):
                leftover.unlink()


def _missing_bytes(source: Path, target: Path) -> int:
    try:
        return 0 if target.exists() else source.stat().st_size
    except OSError:
        return 0  # `separate` says so when it comes to copy it


def _copy(source: Path, target: Path) -> int:
    """Returns the bytes written. Raises OSError, and DataError where another file has the target's name."""
    if target.exists():
        _require_same(target, source)
        return 0
    with new_file(target) as temporary:
        shutil.copy2(source, temporary)
    return target.stat().st_size


def _remove(copy: Path, source: Path) -> None:
    _require_same(copy, source)
    copy.unlink()


def _require_same(copy: Path, source: Path) -> None:
    ours, theirs = copy.stat(), source.stat()
    if ours.st_size != theirs.st_size or abs(ours.st_mtime - theirs.st_mtime) > _SAME_TIME_S:
        raise DataError(f"{copy} is another file, or an older version: remove it, or name another folder")
