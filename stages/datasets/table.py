"""A plain CSV that anyone can make: a row for each picture, or for each box.

Columns: `path` and `label`; and where known `location`, `sequence`, `frame`, `captured_at`, `split`, and a box in pixels of
the picture, `x_min`, `y_min`, `x_max`, `y_max`. A picture with several boxes has several rows; an empty one the label
`empty` and no box. Other columns are left alone.
"""

import re
import warnings
from collections.abc import Collection
from pathlib import Path

import pandas as pd

from stages.datasets import Raw, tables
from stages.files import DataError

CITATION = "the user's own data"
LICENCE = "the user's own data"
URLS: tuple[str, ...] = ()
_BOX = ["x_min", "y_min", "x_max", "y_max"]


def read(root: Path, files: Collection[str], annotations: tuple[str, ...]) -> Raw:
    """Read CSV files below `root`: those named, or else the only CSV there is at the top."""
    names = list(annotations) or [name for name in sorted(files) if name.endswith(".csv") and "/" not in name]
    if not annotations and len(names) != 1:
        raise DataError(f"{root}: expected one CSV at the top, found {names or 'none'}. Name it in `clean.annotations`")
    pictures: dict[str, dict[str, object]] = {}
    boxes: list[dict[str, object]] = []
    rejects: list[dict[str, object]] = []
    for name in names:
        for index, record in enumerate(_table(root / name).to_dict("records")):
            row = f"{name} line {index + 2}"
            path, label = record["path"], record["label"]
            if not path or not label:
                detail = "`path` and `label` must both be given"
                rejects.append({"kind": "picture", "row": row, "name": path, "reason": "no_label", "detail": detail})
                continue
            pictures.setdefault(
                path,
                {
                    "row": row,
                    "sample_id": path,
                    "file_name": path,
                    "location": record.get("location") or None,
                    "seq_id": record.get("sequence") or None,
                    "frame_num": int(frame) if re.fullmatch("[0-9]{1,9}", frame := record.get("frame", "")) else None,
                    "captured_at": record.get("captured_at") or None,
                    "given_split": record.get("split") or None,
                },
            )
            x_min, y_min, x_max, y_max = (pd.to_numeric(record.get(column), errors="coerce") for column in _BOX)
            boxes.append(
                {"row": row, "sample_id": path, "label": label, "has_box": any(record.get(c) for c in _BOX)}
                | {"x_px": x_min, "y_px": y_min, "w_px": x_max - x_min, "h_px": y_max - y_min}
            )
    return tables(list(pictures.values()), boxes, rejects)


def _table(path: Path) -> pd.DataFrame:
    try:
        with warnings.catch_warnings(action="error", category=pd.errors.ParserWarning):  # rows longer than the header
            table = pd.read_csv(path, dtype=str, keep_default_na=False, index_col=False)
    except (OSError, ValueError, pd.errors.ParserWarning) as error:
        raise DataError(f"{path}: not a CSV table: {error}") from None
    if missing := {"path", "label"} - set(table.columns):
        raise DataError(f"{path}: no column {', '.join(sorted(missing))}. Found: {', '.join(table.columns)}")
    return table
