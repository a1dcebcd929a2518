"""A run's results in the formats of other tools: a file for each, found by its name, that offers

    write(target, results, run)

It goes through `results` once and holds no more of them than one sequence: a run may have 100,000 files. The target appears
whole or not at all. A file name whose bytes are no UTF-8 text is written with escapes, `\\udc..` for each such byte.
"""

import contextlib
import csv
import json
import math
import posixpath
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from stages.results import Result

_DIGITS = 10_000  # shares and probabilities are written with four digits
# What Python and the machine's own files say of endings differs from machine to machine.
_MEDIA_TYPES = {
    **dict.fromkeys((".jpg", ".jpeg"), "image/jpeg"),
    ".png": "image/png",
    ".webp": "image/webp",
    **dict.fromkeys((".tif", ".tiff"), "image/tiff"),
    ".bmp": "image/bmp",
    ".gif": "image/gif",
    ".avi": "video/x-msvideo",
    **dict.fromkeys((".mp4", ".m4v"), "video/mp4"),
    ".mov": "video/quicktime",
    ".mkv": "video/matroska",
    ".asf": "video/x-ms-asf",
    ".wmv": "video/x-ms-wmv",
    **dict.fromkeys((".mpg", ".mpeg"), "video/mpeg"),
    **dict.fromkeys((".mts", ".m2ts"), "video/mp2t"),
    ".3gp": "video/3gpp",
    ".flv": "video/x-flv",
    ".webm": "video/webm",
}


def media_type(result: Result) -> str:
    """By the file's ending, as a file that could not be read says nothing else: image/..., or video/..."""
    unknown = "image/x-unknown" if result.frame_rate is None else "video/x-unknown"
    return _MEDIA_TYPES.get(posixpath.splitext(result.path)[1].lower(), unknown)


def probability(value: float) -> float:
    """With four digits, rounded down, so that nothing passes a threshold that it did not pass here; above 0 and up to 1."""
    whole = math.floor(round(value * _DIGITS, 6))  # 0.57 * 10,000 is 5699.999999999999
    return min(max(whole, 1), _DIGITS) / _DIGITS


def share_xywh(xyxy: tuple[float, float, float, float]) -> list[float]:
    """Shares of the picture's sides, (x_min, y_min, x_max, y_max) -> [x_min, y_min, width, height] with four digits.

    The box stays inside 0 to 1, and has a width and a height of 0.0001 at least.
    """
    x, width = _span(xyxy[0], xyxy[2])
    y, height = _span(xyxy[1], xyxy[3])
    return [x, y, width, height]


def _span(low: float, high: float) -> tuple[float, float]:
    start = min(round(low * _DIGITS), _DIGITS - 1)
    return start / _DIGITS, (max(round(high * _DIGITS), start + 1) - start) / _DIGITS


def json_items(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """What stands between the brackets of a JSON list, a line for each row."""
    for number, row in enumerate(rows):
        yield (",\n" if number else "\n") + json.dumps(row, allow_nan=False)


@contextlib.contextmanager
def csv_table(path: Path, columns: list[str], encoding: str = "utf-8") -> Iterator["csv.DictWriter[str]"]:
    """A new CSV file (RFC 4180) with its header; what a row leaves out is blank."""
    with path.open("w", encoding=encoding, errors="backslashreplace", newline="") as file:
        table = csv.DictWriter(file, columns, restval="")
        table.writeheader()
        yield table


_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # owasp.org/www-community/attacks/CSV_Injection


def as_text(value: str) -> str:
    """The value with an apostrophe before it where a spreadsheet would take it for a formula: a file's name may be hostile."""
    return f"'{value}" if value.startswith(_FORMULA) else value
