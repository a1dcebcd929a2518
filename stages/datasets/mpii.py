"""MPII Human Pose: the authors' `.mat`, or people in the JSON form that HRNet and MMPose made of it.

http://human-pose.mpi-inf.mpg.de. In the `.mat` any field may be missing, empty, a number, text, or any of these in an array or
a cell. The JSON names no activity: by the document's third rule `clean` drops every picture of it, unless hand labels give the
categories (`download.labels`).

Coordinates stay as they are written. HRNet and MMPose subtract 1, taking them for MATLAB's, whose first pixel has its centre at
1. Here that pixel reaches from 0 to 1 and has its centre at 0.5, so as written they would be half a pixel too large, and less 1
half a pixel too small; and the document's rules compare what is written with 0 and with the picture's width and height.
"""

import math
import sys
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.io import loadmat, whosmat
from scipy.io.matlab import mat_struct

from stages.datasets import Raw, label_of, require_distinct, tables
from stages.files import DataError, read_json
from stages.mat_files import require_sound

CITATION = "Andriluka et al.: 2D Human Pose Estimation: New Benchmark and State of the Art Analysis. CVPR 2014"
LICENCE = "free for research, not for commercial use: the pictures are not the authors' (human-pose.mpi-inf.mpg.de)"
_MPI = "https://datasets.d2.mpi-inf.mpg.de/andriluka14cvpr"
URLS: tuple[str, ...] = (f"{_MPI}/mpii_human_pose_v1_u12_2.zip", f"{_MPI}/mpii_human_pose_v1.tar.gz")

_ABSENT, _OCCLUDED, _VISIBLE = 0, 1, 2  # as in stages.people, said again: on this folder's imports `look` and `download` depend
_NUMBERS = ["head_x_min_px", "head_y_min_px", "head_x_max_px", "head_y_max_px", "scale", "centre_x_px", "centre_y_px"]
_JOINTS = 16
_MAT = "Read the authors' .mat instead"
_NOWHERE = (math.nan, math.nan)


@dataclass
class _Found:
    """What is read so far: rows of the tables, and (16, 3) of x, y and visibility for each person."""

    pictures: dict[str, dict[str, object]] = field(default_factory=dict)
    annotations: list[dict[str, object]] = field(default_factory=list)
    people: list[dict[str, object]] = field(default_factory=list)
    joints: list[NDArray[np.float64]] = field(default_factory=list)
    rejects: list[dict[str, object]] = field(default_factory=list)
    of_picture: Counter[str] = field(default_factory=Counter)  # how many people so far
    listed: set[tuple[object, ...]] = field(default_factory=set)  # people of JSON lists, by all that is said of them

    def add_person(self, row: str, sample_id: str, joints: NDArray[np.float64], numbers: list[float]) -> None:
        finite = (number if math.isfinite(number) else math.nan for number in numbers)
        place = self.of_picture[sample_id]
        self.people.append({"row": row, "sample_id": sample_id, "person": place} | dict(zip(_NUMBERS, finite, strict=True)))
        self.joints.append(joints)
        self.of_picture[sample_id] += 1

    def reject(self, kind: str, row: str, name: object, reason: str, detail: str) -> None:
        self.rejects.append({"kind": kind, "row": row, "name": name, "reason": reason, "detail": detail})


def read(root: Path, files: Collection[str], annotations: tuple[str, ...]) -> Raw:
    """Read the annotations below `root`: those named, else the one `.mat` that holds RELEASE, else all JSON lists of people.

    A picture's id is its file's name without folders; its `seq_id` is the video that it was taken from, where that is known. A
    picture that the `.mat` names again, and a person that a JSON list repeats (HRNet's trainval.json holds train.json), are
    rejects. Raises DataError for a file that cannot be read.
    """
    found = _Found()
    for name in annotations or _lists(root, files):
        if name not in files:
            there = sorted(name for name in files if name.lower().endswith((".mat", ".json")))
            raise DataError(f"{root}: no annotations {name}. There is: {', '.join(there) or 'neither .mat nor JSON'}")
        if name.lower().endswith(".mat"):
            _read_mat(root, name, found)
        else:
            _read_json(root, name, found)
    require_distinct(root, ((str(row["label"]), str(row["row"])) for row in found.annotations))
    people = pd.DataFrame(found.people, columns=["row", "sample_id", "person", *_NUMBERS])
    people = people.astype({"row": str, "sample_id": str, "person": "int64"} | dict.fromkeys(_NUMBERS, "float64"))
    joints = np.array(found.joints, dtype=float).reshape(-1, 3)
    rows = people.loc[people.index.repeat(_JOINTS), ["sample_id", "person"]].reset_index(drop=True)
    rows = rows.assign(joint=np.tile(np.arange(_JOINTS), len(people)), x_px=joints[:, 0], y_px=joints[:, 1])
    raw = tables(list(found.pictures.values()), found.annotations, found.rejects)
    return replace(raw, people=people, joints=rows.assign(visible=joints[:, 2].astype("int64")))


def _lists(root: Path, files: Collection[str]) -> list[str]:
    mats, unreadable = [], []
    for name in sorted(files):
        if name.lower().endswith(".mat") and not PurePosixPath(name).name.startswith("._"):  # which macOS writes beside files
            try:
                mats += [name] if "RELEASE" in _variables(root / name) else []
            except DataError as error:
                unreadable.append(error)
    if len(mats) > 1:
        raise DataError(f"{root}: several .mat files hold RELEASE: {', '.join(mats)}. Name one in `clean.annotations`")
    if unreadable and not mats:
        raise DataError(f"{unreadable[0]}, or name the annotations in `clean.annotations`")
    if unreadable:
        print(f"{mats[0]} is read; left alone: {'; '.join(map(str, unreadable))}", file=sys.stderr)
    found = mats or [name for name in sorted(files) if name.lower().endswith(".json") and _is_list(read_json(root / name))]
    if not found:
        there = [name for name in sorted(files) if name.lower().endswith((".mat", ".json"))]
        raise DataError(
            f"{root}: no MPII annotations: neither a .mat that holds RELEASE nor a JSON list of people among its .mat and JSON "
            f"files: {', '.join(there[:5]) or 'none'}. Put one there"
        )
    return found


# The authors' .mat ---------------------------------------------------------------------------------------------------


def _variables(path: Path) -> list[str]:
    try:
        return [name for name, _, _ in whosmat(path)]
    except Exception as error:  # scipy raises ValueError, TypeError, zlib.error, OSError, NotImplementedError, ...
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> DataError:
    remedy = "Fetch it again"
    if isinstance(error, NotImplementedError):  # an HDF5 file
        remedy = "Save it from MATLAB with -v7"
    return DataError(f"{path}: not a MATLAB file that can be read: {str(error) or type(error).__name__}. {remedy}")


def _read_mat(root: Path, name: str, found: _Found) -> None:
    try:
        require_sound((root / name).read_bytes())  # scipy takes what a file says for granted
        variables = loadmat(root / name, struct_as_record=False, squeeze_me=True, variable_names=["RELEASE"])
    except Exception as error:
        raise _unreadable(root / name, error) from None
    release = variables.get("RELEASE")
    entries, acts, trains = (_items(_get(release, key)) for key in ("annolist", "act", "img_train"))
    if not entries:
        raise DataError(f"{root / name}: no pictures: RELEASE.annolist is missing or empty. Is it the authors' own file?")
    if len(acts) > len(entries):
        raise DataError(f"{root / name}: RELEASE.act has {len(acts)} entries, annolist {len(entries)}. Is it the authors' own?")
    for index, entry in enumerate(entries):
        row = f"{name} annolist({index + 1})"
        file_name = _text(_get(_get(entry, "image"), "name"))
        sample_id = _id(file_name)
        if not sample_id:
            found.reject("picture", row, file_name or None, "no_file_name", "its image has no name")
            continue
        if sample_id in found.pictures:
            found.reject("picture", row, file_name, "duplicate_id", f"named already, {found.pictures[sample_id]['row']}")
            continue
        video, second = _number(_get(entry, "vidx")), _number(_get(entry, "frame_sec"))
        train = _number(trains[index]) if index < len(trains) else math.nan
        found.pictures[sample_id] = {
            "row": row,
            "sample_id": sample_id,
            "file_name": file_name,
            "seq_id": f"video_{video:g}" if math.isfinite(video) else None,
            "frame_num": int(second) if math.isfinite(video) and second.is_integer() and abs(second) < 2**53 else None,
            "given_split": {1.0: "train", 0.0: "test"}.get(train),
        }
        category = label_of(_text(_get(acts[index], "cat_name"))) if index < len(acts) else ""
        if category:
            about = {"row": f"{name} act({index + 1})", "sample_id": sample_id, "label": category, "has_box": False}
            found.annotations.append(about)
        for place, person in enumerate(_leaves(_get(entry, "annorect")), 1):
            _read_person(f"{row}.annorect({place})", sample_id, person, found)


def _read_person(row: str, sample_id: str, person: object, found: _Found) -> None:
    if not isinstance(person, mat_struct):
        found.reject("person", row, sample_id, "unreadable", f"{person!r} instead of fields")
        return
    joints, seen = np.zeros((_JOINTS, 3)), set()
    for place, point in enumerate(_leaves(_get(_get(person, "annopoints"), "point")), 1):
        joint = _number(_get(point, "id"))
        if joint not in range(_JOINTS):
            found.reject("joint", f"{row} point({place})", sample_id, "unknown_joint", f"id {joint:g}, not 0 to 15")
        elif joint in seen:
            found.reject("joint", f"{row} point({place})", sample_id, "duplicate_joint", f"id {joint:g} is there already")
        else:
            seen.add(joint)
            # Without a word on it a joint counts as visible: nobody said that it is hidden. Head joints often have none.
            visible = _OCCLUDED if _number(_get(point, "is_visible")) == 0 else _VISIBLE
            joints[int(joint)] = _joint(_number(_get(point, "x")), _number(_get(point, "y")), visible)
    centre = _get(person, "objpos")
    values = (*(_get(person, key) for key in ("x1", "y1", "x2", "y2", "scale")), _get(centre, "x"), _get(centre, "y"))
    found.add_person(row, sample_id, joints, [_number(value) for value in values])


def _items(value: object) -> list[Any]:
    """The elements of a struct or cell array, in order; one that `squeeze_me` unwrapped is alone."""
    return [] if value is None else list(np.ravel(value)) if isinstance(value, np.ndarray) else [value]


def _leaves(value: object) -> Iterator[Any]:
    """What lies in arrays and cells, however deep."""
    if isinstance(value, np.ndarray):
        for item in value.ravel():
            yield from _leaves(item)
    elif value is not None:
        yield value


def _get(value: object, name: str) -> Any:
    """A field of a struct, or of the first in an array; None where there is none."""
    if not isinstance(value, mat_struct):
        value = next((leaf for leaf in _leaves(value) if isinstance(leaf, mat_struct)), None)
    return getattr(value, name, None)


def _number(value: object) -> float:
    """A number, also as text or alone in an array; NaN for anything else."""
    if isinstance(value, np.ndarray):
        leaves = list(_leaves(value))
        value = leaves[0] if len(leaves) == 1 else None
    if isinstance(value, (int, float, str, np.integer, np.floating, np.bool_)):
        try:
            return float(value)
        except (ValueError, OverflowError):
            return math.nan
    return math.nan


def _text(value: object) -> str:
    """The first text in a value; "" where there is none."""
    return next((leaf.strip() for leaf in _leaves(value) if isinstance(leaf, str)), "")


# HRNet's and MMPose's JSON -------------------------------------------------------------------------------------------


def _is_list(document: object) -> bool:
    first = document[0] if isinstance(document, list) and document else None
    return isinstance(first, dict) and {"image", "center"} <= set(first)


def _read_json(root: Path, name: str, found: _Found) -> None:
    document = read_json(root / name)
    if not isinstance(document, list):
        raise DataError(f"{root / name}: not a list of people as HRNet has them. {_MAT}")
    for index, entry in enumerate(document):
        row = f"{name} [{index}]"
        if not isinstance(entry, dict):
            raise DataError(f"{root / name}: [{index}] should be an object, found {type(entry).__name__}. {_MAT}")
        file_name = entry.get("image")
        sample_id = _id(file_name) if isinstance(file_name, str) else ""
        listed = entry.get("joints") or [None] * _JOINTS  # test.json has none
        seen = entry.get("joints_vis") or [1] * _JOINTS
        if not sample_id:
            found.reject("person", row, None, "no_file_name", f"image {file_name!r}")
        elif not all(isinstance(given, list) and len(given) == _JOINTS for given in (listed, seen)):
            found.reject("person", row, sample_id, "not_16_joints", "joints and joints_vis should be lists of 16")
        else:
            joints = np.array([_listed_joint(*pair) for pair in zip(listed, seen, strict=True)], dtype=float)
            centre = _pair(entry.get("center"))
            numbers = [*[math.nan] * 4, _number(entry.get("scale")), *(_NOWHERE if centre == (-1, -1) else centre)]
            if (same := (sample_id, joints.tobytes(), *map(str, numbers))) in found.listed:
                found.reject("person", row, sample_id, "duplicate_person", "listed already with the same numbers")
                continue
            found.listed.add(same)
            about = {"row": row, "sample_id": sample_id, "file_name": file_name, "given_split": Path(name).stem}
            found.pictures.setdefault(sample_id, about)
            found.add_person(row, sample_id, joints, numbers)


def _listed_joint(place: object, seen: object) -> tuple[float, float, int]:
    """A joint as listed. Not seen and at (-1, -1) or (0, 0) is the form's way to say absent; not seen elsewhere is occluded."""
    x, y = _pair(place)
    hidden = _number(seen) == 0
    if place is None or (hidden and (x, y) in ((-1, -1), (0, 0))):
        return 0.0, 0.0, _ABSENT
    return _joint(x, y, _OCCLUDED if hidden else _VISIBLE)


def _pair(value: object) -> tuple[float, float]:
    return (_number(value[0]), _number(value[1])) if isinstance(value, list) and len(value) == 2 else _NOWHERE


def _joint(x: float, y: float, visible: int) -> tuple[float, float, int]:
    return (x, y, visible) if (x, y) != (0, 0) else (0.0, 0.0, _ABSENT)


def _id(file_name: str) -> str:
    return PurePosixPath(file_name.replace("\\", "/")).name
