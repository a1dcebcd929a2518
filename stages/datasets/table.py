"""A plain CSV that anyone can make: a row for each picture, or for each box.

Columns: `path` (or `filepath`, `file_path`, `filename`, `file_name`, `file`) and `label`; and where known `location`,
`sequence`, `frame`, `captured_at`, `split`, and a box in pixels of the picture, `x_min`, `y_min`, `x_max`, `y_max`. A picture
with several boxes has several rows, which agree on where it is from; what one of them leaves blank another may give. An empty
picture has the label `empty` and no box. Other columns are left alone. Taken as spreadsheets write it: commas, semicolons or
tabs between, capitals and spaces in the header.
"""

import csv
import difflib
import io
import os
import posixpath
import re
from collections.abc import Collection, Iterator
from pathlib import Path

import pandas as pd

from stages.datasets import Raw, label_of, require_distinct, tables
from stages.files import DataError

CITATION = "the user's own data"
LICENCE = "the user's own data"
URLS: tuple[str, ...] = ()
_BOX = ["x_min", "y_min", "x_max", "y_max"]
_NEEDED = ["label", "path"]
_PATHS = ("filepath", "file_path", "filename", "file_name", "file")  # taken for `path` where there is none
_COLUMNS = [*_NEEDED, "location", "sequence", "frame", "captured_at", "split", *_BOX]
_AGREED = {"location": "location", "seq_id": "sequence", "given_split": "split"}  # of a picture, whatever the row


def read(root: Path, files: Collection[str], annotations: tuple[str, ...]) -> Raw:
    """Read CSV files below `root`: those named, or else the only CSV there is at the top."""
    names = list(annotations) or [name for name in sorted(files) if name.lower().endswith(".csv") and "/" not in name]
    if not annotations and len(names) != 1:
        raise DataError(f"{root}: expected one CSV at the top, found {names or 'none'}. Name it in `clean.annotations`")
    pictures: dict[str, dict[str, object]] = {}
    said_by: dict[tuple[str, str], str] = {}  # (path, key) -> the row that gave it
    boxes: list[dict[str, object]] = []
    rejects: list[dict[str, object]] = []
    tops = [posixpath.join(top, "") for top in (Path(os.path.abspath(root)).as_posix(), root.resolve().as_posix())]
    for name in names:
        for line, record in _records(root / name):
            row = f"{name} line {line}"
            path, label = _relative(record["path"], files, tops), label_of(record["label"])
            if not path or not label:
                detail = "`path` and `label` must both be given"
                rejects.append({"kind": "picture", "row": row, "name": path, "reason": "no_label", "detail": detail})
                continue
            frame = re.fullmatch(r"([0-9]{1,9})(\.0*)?", record["frame"])
            about: dict[str, object] = {
                "location": record["location"] or None,
                "seq_id": record["sequence"] or None,
                "frame_num": int(frame[1]) if frame else None,
                "captured_at": record["captured_at"] or None,
                "given_split": record["split"] or None,
            }
            known = pictures.setdefault(path, {"row": row, "sample_id": path, "file_name": path})
            if wrong := [key for key in _AGREED if about[key] and known.get(key) not in (None, about[key])]:
                detail = "; ".join(f"{_AGREED[key]} {about[key]}, {known[key]} in {said_by[path, key]}" for key in wrong)
                rejects.append({"kind": "picture", "row": row, "name": path, "reason": "contradiction", "detail": detail})
                continue
            for key, value in about.items():
                if known.get(key) is None and value is not None:
                    known[key], said_by[path, key] = value, row
            x_min, y_min, x_max, y_max = (pd.to_numeric(record[column], errors="coerce") for column in _BOX)
            boxes.append(
                {"row": row, "sample_id": path, "label": label, "has_box": any(record[column] for column in _BOX)}
                | {"x_px": x_min, "y_px": y_min, "w_px": x_max - x_min, "h_px": y_max - y_min}
            )
    require_distinct(root, ((str(box["label"]), str(box["row"])) for box in boxes))
    return tables(list(pictures.values()), boxes, rejects)


def _relative(written: str, files: Collection[str], tops: list[str]) -> str:
    """A path as people write it -> relative to the source's root, with `/`, where it leads there."""
    path = written.strip()
    if written in files or not path:
        return written if path else ""
    path = posixpath.normpath(path.replace("\\", "/"))
    return next((path.removeprefix(top) for top in tops if path.startswith(top)), path)


def _records(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """(line, the known columns) of each row; a column that is not there is blank."""
    text = _text(path)
    header = next((line for line in text.splitlines() if line.strip()), "")
    places: dict[str, int] | None = None
    line, width = 1, 0
    try:
        separator = max(",;\t", key=lambda mark: _fit(header, mark))
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
        for cells in rows:
            if places is None and any(cells):
                places, width = _places(path, cells), len(cells)
            elif places is not None and cells:
                if any(cell.strip() for cell in cells[width:]):
                    raise DataError(f"{path}: not a CSV table: line {line} has {len(cells)} values, the header {width}")
                given = {column: cells[place] for column, place in places.items() if place < len(cells)}
                # the path's own spaces may be part of a file's name
                yield line, {c: given.get(c, "") if c == "path" else given.get(c, "").strip() for c in _COLUMNS}
            line = rows.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}: not a CSV table: line {line}: {error}") from None
    if places is None:
        raise DataError(f"{path}: not a CSV table: nothing in it")


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: not a CSV table: {error}") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DataError(f'{path}: line {line} is not UTF-8. Save it as "CSV UTF-8" in the spreadsheet program') from None


def _names(header: list[str]) -> list[str]:
    names = [cell.strip().casefold() for cell in header]
    if "path" not in names and (other := next((name for name in _PATHS if name in names), None)):
        names[names.index(other)] = "path"
    return names


def _fit(header: str, separator: str) -> tuple[int, int]:
    names = _names(next(csv.reader([header], delimiter=separator, skipinitialspace=True), []))
    return sum(name in _COLUMNS for name in names), len(names)


def _places(path: Path, header: list[str]) -> dict[str, int]:
    """Where each known column stands. Raises DataError for one that is needed and not there, or there twice."""
    names = _names(header)
    if twice := sorted({name for name in names if name in _COLUMNS and names.count(name) > 1}):
        raise DataError(f"{path}: several columns are named {', '.join(twice)}. Keep one")
    if missing := [column for column in _NEEDED if column not in names]:
        written = {name: cell.strip() for name, cell in zip(names, header, strict=True) if name not in _COLUMNS}
        close = {column: difflib.get_close_matches(column, written, 1) for column in missing}
        hints = [f" Did you mean `{column}` by `{written[found[0]]}`?" for column, found in close.items() if found]
        there = ", ".join(cell.strip() for cell in header)
        raise DataError(f"{path}: no column {', '.join(missing)}. Found: {there}.{''.join(hints)}")
    return {name: place for place, name in enumerate(names) if name in _COLUMNS}
