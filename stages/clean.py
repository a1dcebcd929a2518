"""raw -> samples table + rejects table.

    python -m stages.clean --params datasets.camera_trap.embedded.clean --raw data/raw/camera_trap --out data/clean/camera_trap

Every picture is decoded once, in parallel, to find half files and to hash it. Rows in = kept + rejected (+ merged pictures,
+ annotations replaced by hand labels), asserted and written to `counts.json`. A bad row is never a stop; too many of them are.
Where the source is one of people, their joints are repaired by the document's rules (stages/joints.py), each counted; keypoints
of animals that lie in no place of their picture are refused. Where samples are clips, each is decoded to its end
(stages/clean_videos.py), those alone whose class is wanted.
"""

import argparse
import os
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
from pydantic import Field, model_validator
from tqdm.contrib.concurrent import process_map

from stages import geometry
from stages.clean_videos import InspectedVideo, clip_files, count_videos, look_at, videos_of
from stages.command import run
from stages.datasets import PICTURE_ENDINGS, REJECT_COLUMNS, Raw, adapter
from stages.files import DataError, new_folder, sha256_bytes, write_json
from stages.joints import REPAIRS, JointSettings, has_place, repaired
from stages.labels import read_labels, relabelled
from stages.people import JOINT_NAMES, JOINTS, PEOPLE, check_people, no_people
from stages.pictures import MAX_PIXELS, Inspected, UnreadablePicture, inspect
from stages.samples import (
    BOX_COLUMNS,
    EMPTY,
    KEYPOINTS,
    SAMPLES,
    VIDEOS,
    check_keypoints,
    check_tables,
    check_videos,
    no_keypoints,
    no_rows,
)
from stages.settings import Record, read_params, section
from stages.sources import finder, open_source, unchanged


class CleanSettings(Record):
    annotations: tuple[str, ...] = ()  # the source's lists to read, in order; none: every list there is
    drop_labels: tuple[str, ...] = ()  # classes to leave out, `car` for one
    keep_labels: tuple[str, ...] = ()  # the only classes to keep; none: all
    max_bad_share: float = Field(0.05, ge=0, le=1)  # of picture rows refused for a fault; above it the stage fails
    scale_tolerance: float = Field(0.02, gt=0)  # by how much width and height may disagree on actual / listed size
    max_pixels: int = Field(MAX_PIXELS, gt=0)  # larger pictures are refused before they are decoded
    require_box: bool = False  # refuse a picture without a usable box, where the source has boxes
    exclude: str | None = None  # a committed CSV of what to leave out: `picture` (its name or sha256), `reason`
    joints: JointSettings = JointSettings()  # where the source is one of people

    @model_validator(mode="after")
    def _kept_or_dropped(self) -> Self:
        if both := sorted(set(self.drop_labels) & set(self.keep_labels)):
            raise ValueError(f"{', '.join(both)} is both in keep_labels and in drop_labels: take it out of one")
        return self


class Cleaned(NamedTuple):
    """What `clean` makes of a source; `people` and `joints` are empty where it is not one of people, `keypoints` and `videos`
    where it has none.
    """

    samples: pd.DataFrame
    boxes: pd.DataFrame
    rejects: pd.DataFrame
    counts: dict[str, Any]
    people: pd.DataFrame
    joints: pd.DataFrame
    keypoints: pd.DataFrame
    videos: pd.DataFrame


# Reasons that are the user's choice or concern no picture row; they do not count towards `max_bad_share`.
_NO_FAULT = {"dropped_label", "unlisted_file", "excluded", "several_actions", "several_animals", "several_animals_in_text"}
_NO_CATEGORY, _NO_ANNOTATION = "no_category", "no_annotation"  # of people: MPII's own test pictures have neither, by design
_NO_CATEGORY_DETAIL = "the source names no category for it"
_DATE = (
    r"^\s*(?P<year>\d{4})[-:/](?P<month>\d\d?)[-:/](?P<day>\d\d?)"
    r"(?:[T ]+(?P<clock>\d\d:\d\d(?::\d\d(?:\.\d+)?)?)\s*(?:Z|UTC|[+-]\d\d:?\d\d)?)?\s*$"
)


def clean(
    raw: Raw, root: Path, files: dict[str, tuple[int, str | None]], settings: CleanSettings, workers: int
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """The first four tables of `clean_all`: all there is where the source is not one of people."""
    return clean_all(raw, root, files, settings, workers)[:4]


def clean_all(raw: Raw, root: Path, files: dict[str, tuple[int, str | None]], settings: CleanSettings, workers: int) -> Cleaned:
    """Tables of a source -> its samples and what belongs to them. Raises DataError when nothing is left or too much is bad."""
    pictures = raw.pictures.copy()
    rejects = [raw.rejects]
    if raw.videos:
        files = clip_files(files)
        pictures = wanted_clips(raw, settings, rejects)
    else:
        _require_labels(raw, settings.keep_labels)
    if raw.people is not None:  # before a file is opened: rules 1 and 2 find nothing in them
        pictures = _without_joints(pictures, raw, rejects)
    pictures["path"], missing = _find_files(pictures["file_name"], files)
    pictures = _reject(pictures, missing, "picture", "file_missing", "no file of this name in the source, or several", rejects)

    jobs = [(path, files[path][1]) for path in pictures["path"]]
    if raw.videos:
        see = partial(look_at, root=root, max_pixels=settings.max_pixels)
        pictures = _inspect_all(pictures, jobs, see, InspectedVideo, workers, rejects, _noun(raw))
    else:
        look = partial(_inspect_one, root=root, max_pixels=settings.max_pixels)
        pictures = _inspect_all(pictures, jobs, look, Inspected, workers, rejects, _noun(raw))
    if settings.exclude is not None:
        pictures = _excluded(pictures, files, Path(settings.exclude), rejects)
    pictures, scales = _scales(pictures, settings.scale_tolerance, rejects)
    annotations = _of_kept(raw.annotations, pictures, rejects)
    boxes = _boxes(annotations, pictures, scales, rejects)
    refused = annotations.index[_has_place(annotations)].difference(boxes.index)

    pictures = _label(pictures, annotations, boxes)
    people, joints = no_people()
    if raw.people is not None:
        joints = _repaired(raw, pictures, settings.joints, rejects)
        pictures = _peopled(pictures, joints, rejects)
    pictures = _reject(pictures, pictures["label"].isna(), "picture", _NO_ANNOTATION, "no usable annotation", rejects)
    if settings.require_box and _has_place(raw.annotations).any():
        boxless = ~pictures["sample_id"].isin(boxes["sample_id"])
        pictures = _reject(pictures, boxless, "picture", "no_animal", "no usable box, where others have one", rejects)
    pictures = _wanted(pictures, settings, rejects)
    pictures = _one_of_each(pictures, raw.by_hand, rejects)
    annotations = _of_kept(annotations.drop(index=refused), pictures, rejects)
    boxes = boxes[boxes.index.isin(annotations.index)]
    if raw.people is not None:
        people, joints = _people_left(raw.people, joints, pictures, rejects)
    keypoints = no_keypoints() if raw.keypoints is None else _keypoints_left(raw.keypoints, pictures, scales, rejects)

    unlisted = sorted(_unlisted(raw, files))
    unlisted_rows = pd.DataFrame({"row": unlisted, "file_name": unlisted})
    _add(unlisted_rows, "file", "unlisted_file", "no annotation list names it", rejects)
    rejected = pd.concat([table for table in rejects if len(table)] or rejects[:1], ignore_index=True)[REJECT_COLUMNS]
    counts = _count(raw, pictures, annotations, boxes, rejected)
    if raw.people is not None:
        counts |= _count_people(raw, people, joints, rejected)
    if raw.keypoints is not None:
        counts |= _count_keypoints(raw, pictures, keypoints, rejected)
    videos = videos_of(pictures) if raw.videos else no_rows(VIDEOS)
    if raw.videos:
        counts |= count_videos(videos)
    _judge(counts, rejected, root, settings.max_bad_share, _noun(raw))
    samples = _typed(pictures)[list(SAMPLES.columns)].sort_values("sample_id", ignore_index=True)
    boxes = boxes[["sample_id", "label", *BOX_COLUMNS]].sort_values(["sample_id", *BOX_COLUMNS], ignore_index=True)
    boxes = boxes.astype({"sample_id": str, "label": str})  # which a source without annotations leaves open
    tables = check_tables(samples, boxes)
    people, joints = check_people(people, joints)
    return Cleaned(*tables, rejected, counts, people, joints, check_keypoints(keypoints), check_videos(videos))


def _require_labels(raw: Raw, wanted: tuple[str, ...]) -> None:
    there = sorted(set(raw.annotations["label"].dropna()))
    if strangers := [label for label in wanted if label not in there]:
        raise DataError(
            f"clean.keep_labels: the source has no class {', '.join(strangers)}. There is: {', '.join(there) or 'none'}"
        )


def wanted_clips(raw: Raw, settings: CleanSettings, rejects: list[pd.DataFrame]) -> pd.DataFrame:
    """The clips of the classes that are asked for, each with its label; adds the others to `rejects`.

    Before a file is opened: no box and no frame has a say in a clip's class, and decoding takes its time.
    """
    _require_labels(raw, settings.keep_labels)
    named = raw.annotations.drop_duplicates("sample_id").set_index("sample_id")["label"]
    return _wanted(raw.pictures.assign(label=raw.pictures["sample_id"].map(named)), settings, rejects)


def _wanted(pictures: pd.DataFrame, settings: CleanSettings, rejects: list[pd.DataFrame]) -> pd.DataFrame:
    dropped = pictures["label"].isin(settings.drop_labels)
    pictures = _reject(pictures, dropped, "picture", "dropped_label", "in `drop_labels`", rejects)
    if not settings.keep_labels:
        return pictures
    others = pictures["label"].notna() & ~pictures["label"].isin(settings.keep_labels)
    return _reject(pictures, others, "picture", "dropped_label", "not in `keep_labels`", rejects)


def _find_files(names: pd.Series, files: dict[str, tuple[int, str | None]]) -> tuple[pd.Series, pd.Series]:
    """The path of each file name, and which are missing."""
    found = names.map(finder(files))
    return found, found.isna()


def _inspect_one(job: tuple[str, str | None], root: Path, max_pixels: int) -> Inspected | tuple[str, str]:
    path, sha256 = job
    found: Inspected | tuple[str, str]
    try:
        data = (root / path).read_bytes()
    except OSError as error:
        return "unreadable_file", str(error)
    try:
        found = inspect(data, max_pixels)
        now = found.sha256
    except UnreadablePicture as error:
        found, now = (error.reason, str(error)), sha256_bytes(data)
    if sha256 is not None and now != sha256:
        return "altered", f"sha256 {now}, {sha256} when it was downloaded"
    return found


def _inspect_all(
    pictures: pd.DataFrame,
    jobs: list[tuple[str, str | None]],
    look: Callable[[tuple[str, str | None]], Inspected | tuple[str, str]],
    facts_of: type[Inspected],
    workers: int,
    rejects: list[pd.DataFrame],
    noun: str,
) -> pd.DataFrame:
    """The pictures or clips that can be read, with what `look` found of each, the fields of `facts_of`. (path, sha256) each."""
    if workers > 1 and len(jobs) > 64:
        chunk = max(1, min(64, len(jobs) // (4 * workers)))
        found = process_map(
            look, jobs, max_workers=workers, chunksize=chunk, desc=f"{noun}s", unit="", disable=None, leave=False
        )
    else:
        found = [look(job) for job in jobs]
    bad = pd.Series([not isinstance(item, Inspected) for item in found], index=pictures.index, dtype=bool)
    for reason in sorted({item[0] for item in found if isinstance(item, tuple)}):
        those = [isinstance(item, tuple) and item[0] == reason for item in found]
        details = [item[1] for item in found if isinstance(item, tuple) and item[0] == reason]
        _add(pictures[those], "picture", reason, details, rejects)
    good = pictures[~bad].rename(columns={"width_px": "listed_width_px", "height_px": "listed_height_px"})
    facts = pd.DataFrame(
        [vars(item) for item in found if isinstance(item, Inspected)],
        index=good.index,
        columns=list(facts_of.__dataclass_fields__),
    )
    return pd.concat([good, facts], axis=1)


def read_exclusions(path: Path) -> dict[str, str]:
    """{name or sha256 of a picture: why it is left out}, from a CSV with the columns `picture` and `reason`.

    Raises DataError for a list that is missing, has other columns, or leaves a reason out.
    """
    try:
        rows = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:  # pandas' own errors are ValueErrors
        raise DataError(f"{path}: no exclusion list: {error}. Mend it, or set `exclude` to null") from None
    if list(rows.columns) != ["picture", "reason"]:
        raise DataError(f"{path}: wants the columns picture, reason; found {', '.join(rows.columns)}")
    for line, (picture, reason) in enumerate(zip(rows["picture"], rows["reason"], strict=True), 2):
        if not (picture.strip() and reason.strip()):
            raise DataError(f"{path}: line {line}: a picture and the reason for leaving it out must both be given")
    if twice := rows.loc[rows.duplicated("picture"), "picture"].tolist():
        raise DataError(f"{path}: {twice[0]} is listed twice. Keep one line")
    return dict(zip(rows["picture"].str.strip(), rows["reason"].str.strip(), strict=True))


def _excluded(
    pictures: pd.DataFrame, files: dict[str, tuple[int, str | None]], path: Path, rejects: list[pd.DataFrame]
) -> pd.DataFrame:
    """What the list names goes, with the list's own words.

    Raises DataError for a line about no file of the source: mistyped, or of another version of the data, it would leave in
    what somebody decided to leave out.
    """
    listed, find = read_exclusions(path), finder(files)
    contents = {sha256 for _, sha256 in files.values()} | set(pictures["sha256"])
    if strangers := [name for name in listed if find(name) is None and name not in contents]:
        raise DataError(
            f"{path}: {strangers[0]} (+{len(strangers) - 1} more) names no file of the source, or several. "
            "Correct the line, or remove it"
        )
    by_path = {find(name): reason for name, reason in listed.items()}
    reasons = pictures["path"].map(by_path).fillna(pictures["sha256"].map(listed))
    those = reasons.notna()
    _add(pictures[those], "picture", "excluded", reasons[those].tolist(), rejects)
    return pictures[~those]


def _scales(pictures: pd.DataFrame, tolerance: float, rejects: list[pd.DataFrame]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Actual / listed size for each picture (1 where the source lists none); those whose two scales disagree are refused."""
    scales = pd.DataFrame(
        {
            "x": (pictures["width_px"].astype(float) / pictures["listed_width_px"].astype(float)).fillna(1.0),
            "y": (pictures["height_px"].astype(float) / pictures["listed_height_px"].astype(float)).fillna(1.0),
        }
    )
    usable = np.isfinite(scales).all(axis=1) & (scales > 0).all(axis=1)  # a listed size may be 0, negative or infinite
    disagree = ~(usable & ((scales["x"] / scales["y"] - 1).abs() <= tolerance))
    detail = "the file's shape is not the one that the source lists: boxes cannot be carried over"
    pictures = _reject(pictures, disagree, "picture", "other_shape", detail, rejects)
    return pictures, scales.loc[pictures.index].set_index(pictures["sample_id"])


def _has_place(annotations: pd.DataFrame) -> pd.Series:
    return annotations["has_box"].astype(bool) & (annotations["label"] != EMPTY)


def _boxes(
    annotations: pd.DataFrame, pictures: pd.DataFrame, scales: pd.DataFrame, rejects: list[pd.DataFrame]
) -> pd.DataFrame:
    """Boxes at the pictures' own scale, clipped; those that are no number, without area or outside are refused.

    A refused box takes nothing from its picture's label: the class was seen, its place is unknown.
    """
    boxes = annotations[_has_place(annotations)].copy()
    xywh = boxes[["x_px", "y_px", "w_px", "h_px"]].to_numpy(dtype=float)
    finite = np.isfinite(xywh).all(axis=1)
    boxes = _reject(boxes, pd.Series(~finite, boxes.index), "annotation", "box_not_a_number", "no finite box", rejects)
    xywh = xywh[finite]
    empty = (xywh[:, 2] <= 0) | (xywh[:, 3] <= 0)
    boxes = _reject(
        boxes, pd.Series(empty, boxes.index), "annotation", "box_without_area", "its width or height is not above 0", rejects
    )
    scale = scales.loc[boxes["sample_id"]]
    size = pictures.set_index("sample_id").loc[boxes["sample_id"], ["width_px", "height_px"]].to_numpy(dtype=float)
    xyxy = geometry.rescale(geometry.xyxy_from_xywh(xywh[~empty]), scale["x"], scale["y"])
    clipped = geometry.clip(xyxy, size[:, 0], size[:, 1])
    boxes[BOX_COLUMNS] = clipped
    boxes["cut"] = np.abs(clipped - xyxy).max(axis=1, initial=0) > 1  # a pixel of rounding is no fault
    outside = pd.Series(geometry.area(clipped) < 1, boxes.index)
    return _reject(boxes, outside, "annotation", "box_outside", "less than 1 px² of it lies in the picture", rejects)


def _label(pictures: pd.DataFrame, annotations: pd.DataFrame, boxes: pd.DataFrame) -> pd.DataFrame:
    """A picture's class: that of its largest box, else the first class named for it; what was decided goes into `note`."""
    named = annotations.assign(is_empty=annotations["label"] == EMPTY).sort_values("is_empty", kind="stable")
    label = named.drop_duplicates("sample_id").set_index("sample_id")["label"]
    largest = boxes.assign(area=geometry.area(boxes[BOX_COLUMNS].to_numpy(dtype=float)))
    largest = largest.sort_values(["area", "label"], ascending=[False, True]).drop_duplicates("sample_id")
    label = label.where(~label.index.isin(largest["sample_id"]), largest.set_index("sample_id")["label"])

    classes = annotations.groupby("sample_id")["label"].agg(lambda labels: sorted(set(labels)))
    notes: dict[str, list[str]] = defaultdict(list)
    boxed = set(boxes["sample_id"])
    for sample_id, several in classes[classes.map(len) > 1].items():
        what = "the largest box" if sample_id in boxed else "the first that is named"
        notes[str(sample_id)].append(f"classes {', '.join(several)}: {what} decides")
    for sample_id in boxes.loc[boxes["cut"], "sample_id"].unique():
        notes[sample_id].append("a box was cut at the edge")
    for sample_id in set(annotations.loc[_has_place(annotations), "sample_id"]) - boxed:
        notes[sample_id].append("its box was refused, its class kept")
    ids = pictures["sample_id"]
    return pictures.assign(label=ids.map(label), note=ids.map(lambda sample_id: "; ".join(notes[sample_id])))


def _one_of_each(pictures: pd.DataFrame, by_hand: frozenset[str], rejects: list[pd.DataFrame]) -> pd.DataFrame:
    """The same bytes twice: the first id stays; with two classes none can be believed and all go.

    Where some of them are labelled by hand, those alone are heard.
    """
    pictures = pictures.assign(by_hand=pictures["sample_id"].isin(by_hand))
    pictures = pictures.sort_values(["by_hand", "sample_id"], ascending=[False, True])
    heard = pictures["by_hand"] == pictures.groupby("sha256")["by_hand"].transform("any")
    conflict = pictures["label"].where(heard).groupby(pictures["sha256"]).transform("nunique") > 1
    detail = "the same bytes stand under another id with another class"
    pictures = _reject(pictures, conflict, "picture", "conflicting_duplicate", detail, rejects)
    detail = "the same bytes stand under another id"
    return _reject(pictures, pictures.duplicated("sha256"), "picture", "duplicate_content", detail, rejects)


def _unlisted(raw: Raw, files: dict[str, tuple[int, str | None]]) -> set[str]:
    on_disk = set(files) if raw.videos else {path for path in files if PurePosixPath(path).suffix.lower() in PICTURE_ENDINGS}
    named = raw.pictures["file_name"].map(str).tolist() + raw.rejects["name"].map(str).tolist()
    listed = _find_files(pd.Series(named, dtype=str), files)[0].dropna()
    return on_disk - set(listed)


def _add(rows: pd.DataFrame, kind: str, reason: str, detail: str | list[str], rejects: list[pd.DataFrame]) -> None:
    name = rows["file_name" if "file_name" in rows else "sample_id"]
    rejects.append(pd.DataFrame({"kind": kind, "row": rows["row"], "name": name, "reason": reason, "detail": detail}))


def _reject(
    rows: pd.DataFrame, bad: pd.Series, kind: str, reason: str, detail: str, rejects: list[pd.DataFrame]
) -> pd.DataFrame:
    bad = bad.astype(bool)
    if bad.any():
        _add(rows[bad], kind, reason, detail, rejects)
    return rows[~bad]


def _of_kept(annotations: pd.DataFrame, pictures: pd.DataFrame, rejects: list[pd.DataFrame]) -> pd.DataFrame:
    gone = ~annotations["sample_id"].isin(pictures["sample_id"])
    return _reject(annotations, gone, "annotation", "picture_rejected", "its picture was rejected", rejects)


def _typed(pictures: pd.DataFrame) -> pd.DataFrame:
    return pictures.assign(
        location=pictures["location"].astype("str").where(pictures["location"].notna(), None),
        species=pictures["species"].astype("str").where(pictures["species"].notna(), None),
        seq_id=pictures["seq_id"].where(pictures["seq_id"].notna(), pictures["sample_id"]).astype(str),
        frame_num=pictures["frame_num"].astype("Int64"),
        captured_at=_clock(pictures["captured_at"]),
        given_split=pictures["given_split"].astype("str").where(pictures["given_split"].notna(), None),
        infrared=pictures["infrared"].astype(bool),
        **{column: pictures[column].astype("int64") for column in ("width_px", "height_px", "bytes")},
    )


def _clock(dates: pd.Series) -> pd.Series:
    """Dates by the camera's clock: year first, `-`, `/` or EXIF's `:` between; a zone is left out; NaT for what is no date."""
    found = dates.astype("str").str.extract(_DATE)
    clock = found["clock"].where(found["clock"].notna(), "00:00:00")
    text = found["year"] + "-" + found["month"].str.zfill(2) + "-" + found["day"].str.zfill(2) + " " + clock
    return pd.to_datetime(text, errors="coerce", format="ISO8601").astype("datetime64[us]")


def _count(
    raw: Raw, pictures: pd.DataFrame, annotations: pd.DataFrame, boxes: pd.DataFrame, rejects: pd.DataFrame
) -> dict[str, Any]:
    """Rows in = kept + rejected (+ merged or replaced), for pictures and annotations; a difference is this program's fault."""
    reasons = rejects.groupby(["kind", "reason"]).size()
    more = (*(() if raw.people is None else ("person", "joint")), *(() if raw.keypoints is None else ("keypoint",)))
    by_kind = {
        kind: {str(reason): int(n) for (_, reason), n in reasons[reasons.index.get_level_values("kind") == kind].items()}
        for kind in ("picture", "annotation", "file", *more)
    }
    early = raw.rejects["kind"].value_counts()
    pictures_in = len(raw.pictures) + raw.merged + int(early.get("picture", 0))
    annotations_in = len(raw.annotations) + raw.replaced + int(early.get("annotation", 0))
    rejected_pictures, rejected_annotations = sum(by_kind["picture"].values()), sum(by_kind["annotation"].values())
    if pictures_in != len(pictures) + rejected_pictures + raw.merged:
        raise AssertionError(f"rows lost: {pictures_in} in, {len(pictures)} kept, {rejected_pictures} rejected")
    if annotations_in != len(annotations) + rejected_annotations + raw.replaced:
        raise AssertionError(f"rows lost: {annotations_in} in, {len(annotations)} kept, {rejected_annotations} rejected")
    no_fault = _NO_FAULT | (set() if raw.people is None else {_NO_CATEGORY, _NO_ANNOTATION})
    bad = sum(n for reason, n in by_kind["picture"].items() if reason not in no_fault)
    return {
        "pictures": {"in": pictures_in, "kept": len(pictures), "rejected": rejected_pictures, "merged": raw.merged},
        "annotations": {
            "in": annotations_in,
            "boxes": len(boxes),
            "labels_only": len(annotations) - len(boxes),
            "rejected": rejected_annotations,
            "replaced": raw.replaced,
        },
        "hand_labels": {"pictures": len(raw.by_hand), "not_labelled_yet": raw.unlabelled},
        "unlisted_files": sum(by_kind["file"].values()),
        "bad_share": round(bad / max(1, pictures_in - raw.merged), 6),
        "noted": int((pictures["note"] != "").sum()),
        "by_class": _by_class(raw, pictures),
        "rejected_because": by_kind,
    }


def _by_class(raw: Raw, pictures: pd.DataFrame) -> list[dict[str, Any]]:
    """Pictures by class and species, "" where there is none: `in`, by the first class that the source names, and kept."""
    named = raw.annotations.drop_duplicates("sample_id").set_index("sample_id")["label"]
    unread = raw.rejects.loc[raw.rejects["kind"] == "picture", ["row"]]
    before = pd.concat([raw.pictures.assign(label=raw.pictures["sample_id"].map(named)), unread])
    key = ["label", "species"]
    counts = {name: table[key].astype("str").fillna("").value_counts() for name, table in (("in", before), ("kept", pictures))}
    return pd.DataFrame(counts).fillna(0).astype(int).sort_index().reset_index().to_dict("records")


def _noun(raw: Raw) -> str:
    """What messages call a sample of it; the tables say `picture` of both."""
    return "clip" if raw.videos else "picture"


def _judge(counts: dict[str, Any], rejects: pd.DataFrame, root: Path, max_bad_share: float, noun: str) -> None:
    because = ", ".join(f"{n} {reason}" for reason, n in counts["rejected_because"]["picture"].items()) or "none rejected"
    total, kept = counts["pictures"]["in"], counts["pictures"]["kept"]
    if not kept:
        hint = ": mend it, or loosen the data set's `clean` settings"
        if _NO_CATEGORY in counts["rejected_because"]["picture"]:
            hint = (
                ". HRNet's and MMPose's JSON names no categories: read the authors' .mat, or give them in `download.labels`, a "
                "COCO Camera Traps file with an annotation for each picture (README, People and what they do)"
            )
        raise DataError(f"{root}: no {noun} is left of {total} ({because}). Nothing can be trained on this source{hint}")
    if counts["bad_share"] > max_bad_share:
        bad = rejects[(rejects["kind"] == "picture") & ~rejects["reason"].isin(_NO_FAULT)].iloc[0]
        raise DataError(
            f"{root}: {counts['bad_share']:.1%} of {total} {noun} rows are bad, more than `max_bad_share` {max_bad_share:.1%} "
            f"allows: {because}; {bad['name']} ({bad['row']}) for example: {bad['detail']}. Mend the source, or raise "
            "`max_bad_share` in the data set's `clean` settings"
        )


# People --------------------------------------------------------------------------------------------------------------


def _without_joints(pictures: pd.DataFrame, raw: Raw, rejects: list[pd.DataFrame]) -> pd.DataFrame:
    """Rules 3 and 4, for pictures in which the source places no joint."""
    assert raw.joints is not None
    placed = pictures["sample_id"].isin(raw.joints.loc[has_place(raw.joints), "sample_id"])
    named = pictures["sample_id"].isin(raw.annotations["sample_id"])
    pictures = _reject(pictures, ~placed & ~named, "picture", _NO_CATEGORY, _NO_CATEGORY_DETAIL, rejects)
    return _reject(pictures, ~placed[pictures.index], "picture", _NO_ANNOTATION, "the source places no joint in it", rejects)


def _repaired(raw: Raw, pictures: pd.DataFrame, settings: JointSettings, rejects: list[pd.DataFrame]) -> pd.DataFrame:
    """Rules 1 and 2: the joints in `pictures`, each repair listed."""
    assert raw.people is not None
    assert raw.joints is not None
    sizes = pictures[["sample_id", "width_px", "height_px"]]
    found = raw.joints.merge(sizes, on="sample_id").merge(
        raw.people[["sample_id", "person", "row"]], on=["sample_id", "person"]
    )
    joints, rule = repaired(found, found[["width_px", "height_px"]].to_numpy(dtype=float), settings.strict_edge)
    for name in REPAIRS:
        those = found[rule == name]
        details = [
            f"at ({x:g}, {y:g}) in a picture of {width} x {height} px"
            for x, y, width, height in those[["x_px", "y_px", "width_px", "height_px"]].itertuples(index=False)
        ]
        names = those["row"] + " " + those["joint"].map(dict(enumerate(JOINT_NAMES)))
        _add(those.assign(row=names), "joint", name, details, rejects)
    return joints[list(JOINTS.columns)]


def _peopled(pictures: pd.DataFrame, joints: pd.DataFrame, rejects: list[pd.DataFrame]) -> pd.DataFrame:
    """Rule 3, and what the repairs left nobody in."""
    pictures = _reject(pictures, pictures["label"].isna(), "picture", _NO_CATEGORY, _NO_CATEGORY_DETAIL, rejects)
    nobody = ~pictures["sample_id"].isin(joints.loc[has_place(joints), "sample_id"])
    return _reject(pictures, nobody, "picture", "nobody_left", "none of its joints lies in it", rejects)


def _people_left(
    people: pd.DataFrame, joints: pd.DataFrame, pictures: pd.DataFrame, rejects: list[pd.DataFrame]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The people of the pictures that are kept, and their joints; who has no joint left is refused."""
    gone = ~people["sample_id"].isin(pictures["sample_id"])
    people = _reject(people, gone, "person", "picture_rejected", "its picture was rejected", rejects)
    key = ["sample_id", "person"]
    there = pd.MultiIndex.from_frame(joints.loc[has_place(joints), key])
    without = pd.Series(~pd.MultiIndex.from_frame(people[key]).isin(there), people.index)
    people = _reject(people, without, "person", "no_joint_left", "none of its joints lies in the picture", rejects)
    joints = joints[pd.MultiIndex.from_frame(joints[key]).isin(pd.MultiIndex.from_frame(people[key]))]
    people = people[list(PEOPLE.columns)].sort_values(key, ignore_index=True)
    return people, joints.sort_values([*key, "joint"], ignore_index=True)


def _count_people(raw: Raw, people: pd.DataFrame, joints: pd.DataFrame, rejects: pd.DataFrame) -> dict[str, Any]:
    """People and joints in = kept + rejected, and how often each rule was used; a difference is this program's fault."""
    assert raw.people is not None
    assert raw.joints is not None
    of_kind = {kind: rejects.loc[rejects["kind"] == kind, "reason"].value_counts() for kind in ("picture", "person", "joint")}
    early = raw.rejects["kind"].value_counts()
    people_in, placed = len(raw.people) + int(early.get("person", 0)), int(has_place(raw.joints).sum())
    refused = int(of_kind["person"].sum())
    if people_in != len(people) + refused:
        raise AssertionError(f"rows lost: {people_in} people in, {len(people)} kept, {refused} rejected")
    joints_in, kept, listed = placed + int(early.get("joint", 0)), int(has_place(joints).sum()), int(of_kind["joint"].sum())
    rules = [("joint", name) for name in REPAIRS]
    rules += [("picture", _NO_CATEGORY), ("picture", _NO_ANNOTATION), ("person", "no_joint_left"), ("picture", "nobody_left")]
    return {
        "people": {"in": people_in, "kept": len(people), "rejected": refused},
        "joints": {"in": joints_in, "kept": kept, "rejected": listed, "of_rejected_pictures": joints_in - kept - listed},
        "rules": {name: int(of_kind[kind].get(name, 0)) for kind, name in rules},
    }


# Keypoints of animals ------------------------------------------------------------------------------------------------


def _keypoints_left(
    keypoints: pd.DataFrame, pictures: pd.DataFrame, scales: pd.DataFrame, rejects: list[pd.DataFrame]
) -> pd.DataFrame:
    """Those of the pictures that are kept, at the pictures' own scale; the very edge of a picture is in it."""
    sizes = pictures[["sample_id", "width_px", "height_px"]]
    found = keypoints.merge(sizes, on="sample_id").merge(scales.reset_index(), on="sample_id")
    found = found.assign(
        row=found["row"] + " " + found["keypoint"],
        x_px=found["x_px"].astype(float) * found["x"],
        y_px=found["y_px"].astype(float) * found["y"],
    )
    finite = np.isfinite(found[["x_px", "y_px"]]).all(axis=1)
    found = _reject(found, ~finite, "keypoint", "keypoint_not_a_number", "x and y should be finite numbers", rejects)
    inside = found["x_px"].between(0, found["width_px"]) & found["y_px"].between(0, found["height_px"])
    found = _reject(found, ~inside, "keypoint", "keypoint_outside", "it does not lie in the picture", rejects)
    found = found.sort_values(["sample_id", "animal", "keypoint"], ignore_index=True)
    return found[list(KEYPOINTS.columns)].astype({"sample_id": str, "keypoint": str, "animal": int, "visible": int})


def _count_keypoints(raw: Raw, pictures: pd.DataFrame, keypoints: pd.DataFrame, rejects: pd.DataFrame) -> dict[str, Any]:
    """Keypoints in = kept + rejected + those of rejected pictures; a difference is this program's fault."""
    assert raw.keypoints is not None
    total = len(raw.keypoints) + int((raw.rejects["kind"] == "keypoint").sum())
    refused = int((rejects["kind"] == "keypoint").sum())
    gone = int((~raw.keypoints["sample_id"].isin(pictures["sample_id"])).sum())
    if total != len(keypoints) + refused + gone:
        raise AssertionError(f"rows lost: {total} keypoints in, {len(keypoints)} kept, {refused} rejected, {gone} gone")
    return {"keypoints": {"in": total, "kept": len(keypoints), "rejected": refused, "of_rejected_pictures": gone}}


# The command line ---------------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description="raw data -> samples table and rejects table")
    parser.add_argument("--params", required=True, help="path of the settings in params.yaml")
    parser.add_argument("--raw", type=Path, required=True, help="the download stage's output")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--metrics", type=Path, help="JSON to write the counts to that `dvc metrics` shows")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes that decode")
    args = parser.parse_args()
    settings = section(args.params, CleanSettings, read_params())
    source = open_source(args.raw)
    if problems := unchanged(source):
        raise DataError(
            f"{source.root} changed since it was read: {problems[0]} (+{len(problems) - 1} more). "
            f"Run `dvc repro` again: it notices"
        )
    format_, drawn = adapter(source.adapter), source.data == "embedded"
    raw = format_.read(source.root, source.files, settings.annotations)
    if source.labels:
        raw = relabelled(raw, read_labels(source.labels), source.files)
    pictures, boxes, rejects, counts, people, joints, keypoints, videos = clean_all(
        raw, source.root, source.files, settings, args.workers
    )
    with new_folder(args.out) as out:
        pictures.to_parquet(out / "samples.parquet", index=False)
        boxes.to_parquet(out / "boxes.parquet", index=False)
        if raw.people is not None:
            people.to_parquet(out / "people.parquet", index=False)
            joints.to_parquet(out / "joints.parquet", index=False)
        if raw.keypoints is not None:
            keypoints.to_parquet(out / "keypoints.parquet", index=False)
        if raw.videos:
            videos.to_parquet(out / "videos.parquet", index=False)
        rejects.to_csv(out / "rejects.csv", index=False)
        write_json(out / "counts.json", counts)
        write_json(
            out / "source.json",
            {
                "adapter": source.adapter,
                "root": source.root.as_posix(),
                "data": source.data,
                "citation": "drawn by this program" if drawn else format_.CITATION,
                "licence": "this program's own" if drawn else format_.LICENCE,
            },
        )
    if args.metrics:
        shown = ("pictures", "annotations", "people", "joints", "rules", "keypoints", "videos", "bad_share", "rejected_because")
        write_json(args.metrics, {name: counts[name] for name in shown if name in counts})
    pictures_, because = counts["pictures"], counts["rejected_because"]
    print(
        f"{pictures_['in']} {_noun(raw)}s in, {pictures_['kept']} kept, {pictures_['rejected']} rejected, "
        f"{len(boxes)} boxes; reasons: {because['picture'] | because['annotation']}"
    )
    if raw.people is not None:
        print(f"{counts['people']['in']} people in, {counts['people']['kept']} kept; rules: {counts['rules']}")
    if raw.keypoints is not None:
        print(f"{counts['keypoints']['in']} keypoints in, {counts['keypoints']['kept']} kept")
    if raw.videos:
        print(f"videos: {counts['videos']}")
    if source.labels:
        print(
            f"hand labels: {len(raw.by_hand)} {_noun(raw)}s relabelled, {raw.replaced} of the source's annotations replaced; "
            f"{raw.unlabelled} {_noun(raw)}s not labelled yet, so the source's annotations stay"
        )


if __name__ == "__main__":
    run(main)
