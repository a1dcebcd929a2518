"""One file for each source format. An adapter offers

    CITATION, LICENCE   to be shown beside every figure made from the data
    URLS                where the authors keep it, for `source: url`; empty where it cannot be fetched
    read(root, files, annotations) -> Raw
    fetch(addresses, folder)   only where `source: url` needs more than to fetch each address: to bring the files into a folder

and is found by its file's name. Only `download` and `clean` import adapters.
"""

import importlib
import pkgutil
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol, cast

import pandas as pd

from stages.files import DataError


@dataclass(frozen=True)
class Raw:
    """A source as its authors wrote it, in tables; nothing decoded, nothing dropped in silence.

    pictures     row (where in the source), sample_id, file_name, label (of the whole picture, or missing), width_px and
                 height_px (as the source says, or missing), location, species, seq_id, frame_num, captured_at, given_split
    annotations  row, sample_id, label, x_px, y_px, w_px, h_px (at the source's own scale), has_box
    rejects      kind (picture | annotation | file | person | joint | keypoint), row, name, reason, detail
    merged       picture rows that name a picture again, in a later list of the same source or in the hand labels
    by_hand      sample_ids of the pictures whose annotations are hand labels (stages/labels.py)
    replaced     the source's annotations that those took the place of
    unlabelled   pictures that the hand labels name without an annotation: not labelled yet, the source's stay
    people       row, and the columns of stages.people.PEOPLE; None where the source is not one of people
    joints       the columns of stages.people.JOINTS, 16 rows for each person, in px of the picture at its own size: any number,
                 or NaN for a joint that is there without one; visible 0 and (0, 0) for one that is not there
    keypoints    row, and the columns of stages.samples.KEYPOINTS, at the source's own scale, any number or NaN; a row for each
                 keypoint that is there. None where the source has none
    videos       the samples are clips: what file_name names is one of `clips`
    """

    pictures: pd.DataFrame
    annotations: pd.DataFrame
    rejects: pd.DataFrame
    merged: int = 0
    by_hand: frozenset[str] = frozenset()
    replaced: int = 0
    unlabelled: int = 0
    people: pd.DataFrame | None = None
    joints: pd.DataFrame | None = None
    keypoints: pd.DataFrame | None = None
    videos: bool = False


PICTURE_COLUMNS = (
    "row sample_id file_name label width_px height_px location species seq_id frame_num captured_at given_split".split()
)
ANNOTATION_COLUMNS = "row sample_id label x_px y_px w_px h_px has_box".split()
KEYPOINT_COLUMNS = "row sample_id animal keypoint x_px y_px visible".split()
REJECT_COLUMNS = "kind row name reason detail".split()
PICTURE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif")  # in small letters
FRAME_ENDINGS = tuple(ending for ending in PICTURE_ENDINGS if ending != ".gif")  # of a clip's frames: a GIF is a clip itself
VIDEO_ENDINGS = (".avi", ".mp4", ".m4v", ".mov", ".3gp", ".asf", ".wmv", ".mkv", ".webm", ".mpg", ".mpeg", ".mts", ".m2ts")
_EMPTY = "empty"  # stages.samples.EMPTY, said again: what this folder imports, `look` and `download` depend on


class Adapter(Protocol):
    CITATION: str
    LICENCE: str
    URLS: tuple[str, ...]

    def read(self, root: Path, files: Collection[str], annotations: tuple[str, ...]) -> Raw: ...


def adapter(name: str) -> Adapter:
    """The adapter in `stages/datasets/<name>.py`."""
    known = [module.name for module in pkgutil.iter_modules(__path__)]
    if name not in known:
        raise DataError(f"no dataset adapter `{name}`. There is: {', '.join(known)}")
    return cast(Adapter, importlib.import_module(f"stages.datasets.{name}"))


def clips(files: Collection[str]) -> dict[str, list[str]]:
    """{path of a clip: its files}, of relative paths: every video, every GIF, and every folder that pictures lie in."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in map(PurePosixPath, sorted(files)):
        ending = path.suffix.lower()
        if path.name.startswith("."):
            continue
        if ending in VIDEO_ENDINGS or ending == ".gif":
            found[str(path)].append(str(path))
        elif ending in FRAME_ENDINGS and len(path.parts) > 1:
            found[str(path.parent)].append(str(path))
    return dict(found)


def label_of(written: str) -> str:
    """A class as it is called from here on: no spaces around it, and `empty` however it is written."""
    label = written.strip()
    return _EMPTY if label.casefold() == _EMPTY else label


def require_distinct(where: Path | str, labels: Iterable[tuple[str, str]]) -> None:
    """Raise DataError where labels, (label, row) each, differ by case or spaces alone: nobody means two classes."""
    first: dict[str, str] = {}
    for label, row in labels:
        first.setdefault(label, row)
    alike: dict[str, list[str]] = defaultdict(list)
    for label in sorted(first):
        alike["".join(label.split()).casefold()].append(label)
    if groups := [names for names in alike.values() if len(names) > 1]:
        shown = "; ".join(" / ".join(f"{name!r} (first: {first[name]})" for name in names) for names in groups)
        raise DataError(
            f"{where}: labels that differ by case or spaces alone would be classes of their own: {shown}. Make them one"
        )


def tables(
    pictures: list[dict[str, object]],
    annotations: list[dict[str, object]],
    rejects: list[dict[str, object]],
    merged: int = 0,
    videos: bool = False,
) -> Raw:
    """A Raw from rows; every column is there even when no row is."""
    return Raw(
        pd.DataFrame(pictures, columns=PICTURE_COLUMNS),
        pd.DataFrame(annotations, columns=ANNOTATION_COLUMNS),
        pd.DataFrame(rejects, columns=REJECT_COLUMNS),
        merged,
        videos=videos,
    )
