"""Caltech Camera Traps, in the COCO Camera Traps format; any other set in that format reads too.

https://lila.science/datasets/caltech-camera-traps. The JSON's width, height and boxes may be at another scale than the
image files are (CCT-20: JSON 1024 px wide, files smaller): `clean` rescales.
"""

import math
from collections.abc import Collection
from pathlib import Path
from typing import Any

from stages.datasets import Raw, label_of, tables
from stages.files import DataError, read_json

CITATION = "Beery, Van Horn, Perona: Recognition in Terra Incognita. ECCV 2018"
LICENCE = "CDLA-Permissive-1.0"
_LILA = "https://storage.googleapis.com/public-datasets-lila/caltechcameratraps"
URLS: tuple[str, ...] = (
    f"{_LILA}/labels/caltech_camera_traps.json.zip",
    f"{_LILA}/labels/caltech_bboxes_20200316.json",
    f"{_LILA}/cct_images.tar.gz",
)
_CHOOSE = "Name the right one in `clean.annotations` (for hand labels in `download.labels`)"
_MEND = "Mend the list, or get it anew"


def read(root: Path, files: Collection[str], annotations: tuple[str, ...]) -> Raw:
    """Read COCO Camera Traps lists below `root`.

    `annotations` names the lists by file name, in order; with none given, every JSON file that is such a list is read. A
    picture named again by a later list is the same picture: its boxes are joined, and the first list is its `given_split`.
    """
    pictures: dict[str, dict[str, object]] = {}
    boxes: list[dict[str, object]] = []
    rejects: list[dict[str, object]] = []
    merged = 0
    for name, document in _lists(root, files, annotations):
        stem = Path(name).stem
        categories = _categories(document, root / name)
        for index, image in enumerate(_rows(document, "images", root / name)):
            row = f"{name} images[{index}]"
            sample_id, file_name = image.get("id"), image.get("file_name")
            if sample_id in (None, "") or not isinstance(file_name, str) or not file_name:
                rejects.append(_reject("picture", row, file_name, "no_id_or_file_name", f"id {sample_id!r}"))
                continue
            known = pictures.get(str(sample_id))
            if known is not None:
                if known["given_split"] != stem and known["file_name"] == file_name:
                    merged += 1
                else:
                    detail = f"id {sample_id} is also {known['row']}, {known['file_name']}"
                    rejects.append(_reject("picture", row, file_name, "duplicate_id", detail))
                continue
            pictures[str(sample_id)] = {
                "row": row,
                "sample_id": str(sample_id),
                "file_name": file_name,
                "width_px": _number(image.get("width")),
                "height_px": _number(image.get("height")),
                "location": _text(image.get("location")) or None,
                "seq_id": _text(image.get("seq_id")) or None,
                "frame_num": int(frame) if (frame := _number(image.get("frame_num"))).is_integer() else None,
                "captured_at": _text(image.get("date_captured", image.get("datetime"))),
                "given_split": stem,
            }
        for index, annotation in enumerate(_rows(document, "annotations", root / name)):
            row = f"{name} annotations[{index}]"
            sample_id, category = _text(annotation.get("image_id")), annotation.get("category_id")
            named = categories.get(category) if isinstance(category, (int, str)) else None
            label = label_of(named) if isinstance(named, str) else ""
            if sample_id not in pictures:
                rejects.append(_reject("annotation", row, sample_id, "no_such_picture", "its image_id is not listed"))
            elif not label:
                detail = f"category_id {category!r} is not among the categories"
                rejects.append(_reject("annotation", row, sample_id, "unknown_class", detail))
            else:
                box = annotation.get("bbox")
                four = box if isinstance(box, list) and len(box) == 4 else [None] * 4
                x, y, width, height = map(_number, four)
                boxes.append(
                    {"row": row, "sample_id": sample_id, "label": label, "has_box": box is not None}
                    | {"x_px": x, "y_px": y, "w_px": width, "h_px": height}
                )
    return tables(list(pictures.values()), boxes, rejects, merged)


def _categories(document: dict[str, Any], path: Path) -> dict[int | str, object]:
    categories: dict[int | str, object] = {}
    for index, category in enumerate(_rows(document, "categories", path)):
        number, label = category.get("id"), category.get("name")
        if isinstance(number, (int, str)) and categories.setdefault(number, label) != label:
            both = f"id {number!r} is both {categories[number]} and {label}"
            raise DataError(f"{path}: categories[{index}]: {both}. Give each class an id of its own")
    return categories


def _lists(root: Path, files: Collection[str], annotations: tuple[str, ...]) -> list[tuple[str, dict[str, Any]]]:
    if annotations:
        names = list(annotations)
        if missing := [name for name in names if name not in files]:
            there = sorted(name for name in files if name.endswith(".json"))
            raise DataError(f"{root}: no annotation list {', '.join(missing)}. JSON files there: {there or 'none'}. {_CHOOSE}")
        return [(name, _document(root / name)) for name in names]
    candidates = sorted(name for name in files if name.endswith(".json"))
    found = [(name, document) for name in candidates if (document := _document(root / name, required=False))]
    if not found:
        shown = ", ".join(candidates[:5]) or "none"
        raise DataError(
            f"{root}: no COCO Camera Traps list (a JSON file with images, annotations and categories) among the JSON files: "
            f"{shown}. Put one there"
        )
    return found


def _document(path: Path, required: bool = True) -> dict[str, Any]:
    document = read_json(path)
    if isinstance(document, dict) and {"images", "annotations", "categories"} <= set(document):
        return document
    if required:
        raise DataError(f"{path}: not a COCO Camera Traps list: it lacks images, annotations or categories. {_CHOOSE}")
    return {}


def _rows(document: dict[str, Any], key: str, path: Path) -> list[dict[str, Any]]:
    rows = document[key]
    if not isinstance(rows, list):
        raise DataError(f"{path}: `{key}` should be a list, found {type(rows).__name__}. {_MEND}")
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            raise DataError(f"{path}: {key}[{index}] should be an object, found {type(row).__name__}. {_MEND}")
    return rows


def _reject(kind: str, row: str, name: object, reason: str, detail: str) -> dict[str, object]:
    return {"kind": kind, "row": row, "name": name, "reason": reason, "detail": detail}


def _number(value: object) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return math.nan
    return float(value) if abs(value) < 2**53 else math.nan  # beyond it no size or place in a picture; float() may overflow


def _text(value: object) -> str | None:
    return None if value is None else str(value)
