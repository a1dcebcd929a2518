"""What the fuzzers feed to readers: sound documents that are then spoilt, as values, as text or as bytes, drawn by hypothesis.

A document is what JSON holds: dicts, lists, texts, numbers, None. Some of each kind are left sound, so that what a reader takes
is tried as well as what it refuses.
"""

import copy
import csv
import io
import json
import math
import re
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

DEEP: list[Any] = [0]
for _ in range(60):
    DEEP = [DEEP]
NUMBERS: list[Any] = [
    *(
        0,
        1,
        -1,
        2,
        3,
        7,
        15,
        16,
        0.5,
        -0.0,
        1.5,
        255,
        1023,
        4096,
        2**31,
        2**53 - 1,
        2**53,
        2**63 - 1,
        2**63,
        2**64,
        -(2**63),
        -(2**70),
    ),
    *(10**30, 10**400, 1e15, 1e19, 1e300, -1e300, 5e-324, 1e-9, math.nan, math.inf, -math.inf, True, False),
]
TEXTS: list[Any] = [
    *(
        "",
        " ",
        "0",
        "1",
        "-1",
        "1.0",
        "1e5",
        "1e999",
        "nan",
        "inf",
        "None",
        "True",
        "null",
        "NA",
        "empty",
        " Empty ",
        "deer",
        "Deer",
    ),
    *(
        "\x00",
        "a\x00b",
        "\n",
        "\r\n",
        "\t",
        '"',
        "'",
        ",",
        ";",
        "\\",
        "[",
        "]",
        "{}",
        "[[[[",
        "[1, 2",
        "('a',)",
        "{'a': 1}",
        "a.png",
    ),
    *("../../etc/passwd", "/etc/passwd", "C:\\x\\a.png", "a" * 300, "9" * 5000, "-" * 2000, "(" * 300, "[" * 300, "1," * 3000),
    *(
        "é",
        "e\u0301",
        "\u202egnp.a",
        "\ufeff",
        "\ufffd",
        "\U0001f98c",
        "\ud800",
        "\udfff\ud800",
        "²",
        "٣",
        "1_000",
        "0x10",
        "<b>",
        "=1+1",
    ),
    *("2020-13-45 99:99:99", "0000-00-00", "9999-12-31 23:59:59", "2020-01-01T00:00:00+99:99", "-0001-01-01"),
]
JUNK: list[Any] = [
    None,
    [],
    {},
    [[]],
    [None],
    [None] * 4,
    {"": None},
    {"a": {"b": [1]}},
    [1, 2, 3],
    [1, 2, 3, 4],
    ["1", "2", "3", "4"],
    DEEP,
]
VALUES = st.one_of(
    st.sampled_from(NUMBERS), st.sampled_from(TEXTS), st.sampled_from(JUNK), st.text(max_size=6), st.floats(), st.integers()
)
VALUES = VALUES.map(copy.deepcopy)  # one is changed further
BYTES = [
    b"\x00",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b'"',
    b"'",
    b"\n",
    b"\r",
    b",",
    b";",
    b"\t",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
]
BYTES += [
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"\\ud800",
    b"\\u0000",
    b"<",
    b">",
    b"&",
    b"9" * 5000,
    b"[" * 3000,
    b'{"a":' * 3000,
    b"\x7f\xff\xff\xff",
    b"\x80" * 8,
]


# Values ---------------------------------------------------------------------------------------------------------------


def places(document: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value in a document, its own, (), first."""
    items = document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    return [above] + [place for key, value in items for place in places(value, (*above, key))]


def at(document: Any, place: tuple[Any, ...]) -> Any:
    for key in place:
        document = document[key]
    return document


@st.composite
def spoilt(draw: Any, document: Any) -> Any:
    """A copy of `document` after some faults or none: a value swapped for another, left out, doubled, wrapped, renamed, changed."""
    document = copy.deepcopy(document)
    for _ in range(draw(st.sampled_from([2, 1, 3, 4, 0, 1, 2, 6]))):
        there = places(document)
        place = there[draw(st.integers(0, len(there) - 1))]
        if not place:
            if draw(st.integers(0, 9)) == 0:  # the top itself: seldom, since nothing is left to read
                return draw(VALUES)
            continue
        holder, key = at(document, place[:-1]), place[-1]
        fault = draw(st.sampled_from(["junk", "junk", "gone", "double", "other", "wrapped", "renamed", "changed", "changed"]))
        if fault == "gone":
            del holder[key]
        elif fault == "double" and isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[key]))
        elif fault == "other":
            holder[key] = copy.deepcopy(at(document, there[draw(st.integers(0, len(there) - 1))]))
        elif fault == "wrapped":
            holder[key] = draw(st.sampled_from([[holder[key]], [[holder[key]]], {"a": holder[key]}, str(holder[key])]))
        elif fault == "renamed" and isinstance(holder, dict):
            holder[draw(st.sampled_from([f"{key} ", str(key).upper(), f"{key}s", "", "\ud800", "id"]))] = holder.pop(key)
        elif fault == "changed" and isinstance(holder[key], str):
            holder[key] = draw(
                st.sampled_from(
                    [
                        holder[key].upper(),
                        f" {holder[key]}",
                        f"{holder[key]}\x00",
                        f"x/{holder[key]}",
                        holder[key][:-1],
                        holder[key] * 9,
                    ]
                )
            )
        elif fault == "changed" and isinstance(holder[key], (int, float)) and abs(holder[key]) < 2**1000:
            holder[key] = draw(
                st.sampled_from([-holder[key], holder[key] + 1, holder[key] * 1000, holder[key] / 7, str(holder[key])])
            )
        else:
            holder[key] = draw(VALUES)
    return document


# Text and bytes -------------------------------------------------------------------------------------------------------

_ENCODINGS = [*["utf-8"] * 60, "utf-8-sig", "utf-16", "utf-16-le", "latin-1", "utf-7", "cp037"]


@st.composite
def spoilt_bytes(draw: Any, data: bytes, others: Sequence[bytes] = (), least: int = 1) -> bytes:
    """`data` after some faults: bits turned, bytes put in or left out, pieces moved or taken from `others`, cut off."""
    for _ in range(draw(st.integers(least, 5))):
        size = len(data)
        start = draw(st.integers(0, size))
        length = draw(st.sampled_from([1, 1, 2, 4, 16, 64, 1024]))
        fault = draw(st.sampled_from(["bit", "bit", "set", "in", "out", "copied", "spliced", "cut"]))
        if fault == "bit" and start < size:
            data = data[:start] + bytes([data[start] ^ 1 << draw(st.integers(0, 7))]) + data[start + 1 :]
        elif fault == "set" and start < size:
            data = data[:start] + bytes([draw(st.integers(0, 255))]) * min(length, size - start) + data[start + length :]
        elif fault == "in":
            data = data[:start] + draw(st.one_of(st.sampled_from(BYTES), st.binary(max_size=8))) + data[start:]
        elif fault == "out":
            data = data[:start] + data[start + length :]
        elif fault == "copied":
            data = data[:start] + data[draw(st.integers(0, size)) :][:length] + data[start:]
        elif fault == "spliced" and others:
            other = draw(st.sampled_from(others))
            data = data[:start] + other[draw(st.integers(0, len(other))) :]
        elif fault == "cut" and draw(st.booleans()):  # a short file is tried soon enough
            data = data[:start]
    return data


@st.composite
def encoded(draw: Any, text: str) -> bytes:
    """The text's bytes: UTF-8 mostly, half characters as they come, sometimes another encoding or faults of bytes."""
    encoding = draw(st.sampled_from(_ENCODINGS))
    try:
        data = text.encode(encoding, "surrogatepass" if encoding.startswith("utf-") and encoding != "utf-7" else "replace")
    except UnicodeError:
        data = text.encode("utf-8", "surrogatepass")
    return draw(spoilt_bytes(data)) if draw(st.integers(0, 14)) == 0 else data


@st.composite
def json_files(draw: Any, *documents: Any) -> bytes:
    """A JSON file of one of `documents`, spoilt or sound; keys may be there twice, numbers may be any that JSON writes."""
    document = draw(spoilt(draw(st.sampled_from(documents))))
    text = json.dumps(document, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, None, 1])))
    if draw(st.integers(0, 9)) == 0 and (keys := re.findall(r'"\w+": ', text)):  # a key twice
        key, twice = draw(st.sampled_from(keys)), draw(st.sampled_from(keys))
        text = text.replace(key, f"{twice}{json.dumps(draw(VALUES))}, {key}", 1)
    if draw(st.integers(0, 19)) == 0:  # nested deeper than Python's stack
        text = text.replace("null", "[" * 5000 + "]" * 5000, 1).replace('""', "[" * 200_000, 1)
    return draw(encoded(text))


@st.composite
def csv_files(draw: Any, *tables: list[list[Any]]) -> bytes:
    """A text table of one of `tables`, lists of rows with the header first; any separator, quotes, line ends and encoding."""
    rows = draw(spoilt(draw(st.sampled_from(tables))))
    rows = [row if isinstance(row, list) else [row] for row in rows] if isinstance(rows, list) else [[rows]]
    rows = [[cell.encode("utf-8", "replace").decode() if isinstance(cell, str) else cell for cell in row] for row in rows]
    file = io.StringIO(newline="")
    csv.writer(
        file,
        delimiter=draw(st.sampled_from([",", ",", ",", ";", "\t", " "])),
        quoting=draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])),
        lineterminator=draw(st.sampled_from(["\n", "\n", "\r\n", "\r", "\n\n"])),
    ).writerows(rows)
    text = file.getvalue()
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 3]))):
        start = draw(st.integers(0, len(text)))
        text = (
            text[:start]
            + draw(st.sampled_from(['"', '""', "'", "\n", "\r", ",", ";", "\t", "\x00", "\ufeff", "x" * 140_000, "," * 500]))
            + text[start:]
        )
    return draw(encoded(text))


@st.composite
def mostly(draw: Any, often: "st.SearchStrategy[bytes]", seldom: "st.SearchStrategy[bytes]") -> bytes:
    """Four of five from `often`: a file whose text is broken says nothing of how its values are taken."""
    return draw(seldom if draw(st.integers(0, 4)) == 0 else often)
