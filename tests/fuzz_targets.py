"""The readers that are fuzzed: for each the file that it reads, how such files are drawn, and what is done with what it reads.

What a reader takes goes on to where its rows are cleaned and the tables check themselves: a result is no result before that.
"""

import io
import json
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import pandas as pd
import safetensors.torch
import yaml
from hypothesis import strategies as st
from openpyxl import Workbook
from PIL import Image
from scipy.io import savemat

from stages.check import check_all
from stages.clean import CleanSettings, clean_all, wanted_clips
from stages.datasets import Raw, adapter
from stages.files import MANIFEST, DataError, check_manifest, write_json, write_manifest
from stages.labels import read_labels, relabelled
from stages.megadetector import Detections, read_boxes
from stages.predictions import TABLE, check_predictions
from stages.samples import BOX_COLUMNS, read_samples
from stages.settings import read_params
from stages.sources import HAND_LABELS, scan
from stages.tables import read_table
from tests import fuzz_inputs as draw
from tests import mpii_helpers as mpii

PICTURES = ("a.png", "b.png", "c é.png", "d.png")


@dataclass(frozen=True)
class Target:
    """One reader. Both `read` and `clean` give a result or a DataError; that of `read` names the file."""

    name: str  # what is read, in words
    file: str  # what the drawn bytes are written to, below the folder
    inputs: "st.SearchStrategy[bytes]"
    read: Callable[[Path], Any]
    prepare: Callable[[Path], None] = lambda folder: None  # what lies beside it
    clean: Callable[[Any, Path], object] | None = None  # of what was read: the costly part
    with_others: bool = False  # a message may name the folder: its files disagree, and either may be wrong


def pictures(folder: Path) -> None:
    """Four pictures of 8 x 6 px, all of other bytes."""
    for number, name in enumerate(PICTURES):
        grain = np.random.default_rng(number).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(grain).save(folder / name)


def _cleaned(raw: Raw, folder: Path) -> object:
    """What is left of a source, in tables that hold their own rules; how many rows are bad does not matter here."""
    files = {path: (found.bytes, None) for path, found in scan(folder).items()}
    return clean_all(raw, folder, {**files}, CleanSettings(max_bad_share=1.0), workers=1)


def _source(name: str, file: str) -> Callable[[Path], Raw]:
    """Read by an adapter, which finds the file among the others."""

    def read(folder: Path) -> Raw:
        raw = adapter(name).read(folder, {*PICTURES, file}, ())
        ids = set(raw.pictures["sample_id"])
        _require(len(ids) == len(raw.pictures) and all(isinstance(key, str) and key for key in ids), "an id for each picture")
        _require(set(raw.annotations["sample_id"]) <= ids, "annotations of pictures that are there")
        _require(all(isinstance(label, str) and label for label in raw.annotations["label"]), "labels are texts")
        _require(
            all(abs(number) < 2**63 for number in raw.pictures["frame_num"].dropna()), "numbers of frames that a table holds"
        )
        return raw

    return read


def _require(holds: Any, what: str) -> None:
    if not holds:
        raise AssertionError(f"taken, but not so: {what}")


# COCO Camera Traps ---------------------------------------------------------------------------------------------------

CCT = {
    "info": {"version": "1.0"},
    "images": [
        {"id": "a", "file_name": "a.png", "width": 16, "height": 12, "location": 3, "seq_id": "s", "frame_num": 1,
         "date_captured": "2012-03-27 12:13:11"},
        {"id": 7, "file_name": "b.png", "width": 8, "height": 6, "location": "x", "datetime": "2013-01-01", "rights_holder": "r"},
        {"id": "c", "file_name": "images/c é.png"},
        {"id": "d", "file_name": "d.png", "seq_id": "s", "frame_num": 2, "seq_num_frames": 2},
    ],
    "annotations": [
        {"id": 1, "image_id": "a", "category_id": 1, "bbox": [2, 2, 8.5, 6]},
        {"id": 2, "image_id": "a", "category_id": 2, "bbox": [0, 0, 16, 12]},
        {"id": 3, "image_id": 7, "category_id": 1},
        {"id": 4, "image_id": "c", "category_id": 0},
        {"id": 5, "image_id": "d", "category_id": 2, "bbox": [1, 1, 3, 3]},
    ],
    "categories": [{"id": 0, "name": "empty"}, {"id": 1, "name": "deer"}, {"id": 2, "name": "fox"}],
}  # fmt: skip


def _cct(*documents: Any) -> "st.SearchStrategy[bytes]":
    sound = [json.dumps(document).encode() for document in documents]
    return draw.mostly(draw.json_files(*documents), draw.spoilt_bytes(sound[0], sound))


def _relabelled(labels: Raw, folder: Path) -> object:
    """Hand labels put in the place of those of a sound list."""
    sound = adapter("caltech_camera_traps").read(folder, {"list.json"}, ("list.json",))
    return _cleaned(relabelled(sound, labels, PICTURES), folder)


def _sound_list(folder: Path) -> None:
    pictures(folder)
    write_json(folder / "list.json", CCT)


# MegaDetector --------------------------------------------------------------------------------------------------------

MEGADETECTOR = {
    "info": {"format_version": "1.5", "detector": "md_v5a"},
    "detection_categories": {"1": "animal", "2": "person", "3": "vehicle"},
    "classification_categories": {"0": "deer"},
    "images": [
        {"file": "a.png", "detections": [{"category": "1", "conf": 0.9, "bbox": [0.1, 0.2, 0.3, 0.4], "classifications": [["0", 0.5]]}]},
        {"file": "b.png", "detections": [{"category": "2", "conf": 0.001, "bbox": [0, 0, 1, 1]}, {"category": "9", "conf": 1, "bbox": [0, 0, 0, 0]}]},
        {"file": "C:\\x\\c é.png", "detections": [], "max_detection_conf": 0.0},
        {"file": "sub/d.png", "detections": [{"category": "1", "conf": 0.5, "bbox": [-0.004, 0.5, 0.5, 0.504]}]},
    ],
}  # fmt: skip
_LISTED = pd.DataFrame({"sample_id": PICTURES, "path": PICTURES, "width_px": 8, "height_px": 6})


def _megadetector(folder: Path) -> object:
    path = folder / "boxes.json"
    try:
        boxes = read_boxes(path, _LISTED)
    finally:  # what `predict` makes of it: refused or not by itself
        found = Detections(path, [*PICTURES, "sub/d.png"])
        for picture in PICTURES:
            try:
                of = found.of(picture)
            except DataError:
                continue
            _require(np.isfinite(of).all() and (of[:, :5] >= 0).all() and (of[:, :5] <= 1).all(), "boxes inside 0 to 1")
    places = boxes[BOX_COLUMNS].to_numpy()
    _require(np.isfinite(places).all() and (places >= 0).all() and (places <= (8, 6, 8, 6)).all(), "boxes inside the picture")
    _require(boxes["score"].between(0, 1).all() and set(boxes["sample_id"]) <= set(PICTURES), "scores inside 0 to 1")
    return boxes


# Tables of one's own -------------------------------------------------------------------------------------------------

OWN = [
    ["path", "label", "location", "sequence", "frame", "captured_at", "split", "x_min", "y_min", "x_max", "y_max", "note"],
    ["a.png", "deer", "3", "s", "1", "2012-03-27 12:13:11", "train", "1", "1", "5", "4", ""],
    ["a.png", "fox", "3", "", "", "", "", "0", "0", "8", "6", "x"],
    ["b.png", "deer", "x", "", "", "2013:01:01 00:00:00", "test", "", "", "", "", ""],
    ["images\\c é.png", "empty", "", "", "", "", "", "", "", "", "", ""],
    ["d.png", "fox", "3", "s", "2.0", "", "train", "1.5", "1e0", "3", "3", ""],
]
SHORT = [["filename", "label"], ["a.png", "deer"], ["b.png", "fox"], ["d.png", "empty"]]


def _tables(*tables: list[list[Any]]) -> "st.SearchStrategy[bytes]":
    sound = ["\n".join(",".join(map(str, row)) for row in table).encode() for table in tables]
    return draw.mostly(draw.csv_files(*tables), draw.spoilt_bytes(sound[0], sound))


# Animals and what they do --------------------------------------------------------------------------------------------

POSTURE = [
    ["image", "action", "species", "xmin", "ymin", "xmax", "ymax", "keypoints"],
    ["a.png", "lying", "cat", "1", "1", "5", "4", "[1, 1, 2, 3, 3, 1]"],
    ["a.png", "lying down", "dog", "0", "0", "8", "6", "{'nose': [1, 2, 2], 'tail': [0, 0, 0]}"],
    ["b.png", "running", "horse", "", "", "", "", "[[1, 2], [3, 4]]"],
    ["c é.png", "Walking/Standing", "", "", "", "", "", ""],
    ["d.png", "other", "cow", "1", "1", "2", "2", "1 1 2 2 2 2"],
]
POSTURE_ROWS = [
    {"image": "a.png", "action": "sitting", "species": "cat", "bbox": [1, 1, 4, 3], "keypoints": [1, 1, 2, 3, 3, 1]},
    {"image": "b.png", "action": "runs", "bbox": "[1, 1, 4, 3]", "keypoints": {"nose": [1, 2, 2], "tail": [3, 3]}},
    {"image": "c é.png", "action": "stand", "keypoints": [[1, 2, 1], None, [0, 0, 0]]},
    {"image": "d.png", "action": "lying"},
]
POSTURE_COCO = {
    "images": [
        {"id": 1, "file_name": "a.png", "width": 8, "height": 6, "attributes": {"action": "lying"}},
        {"id": 2, "file_name": "b.png", "width": 16, "height": 12},
        {"id": 3, "file_name": "d.png", "action": "walking"},
    ],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 4, 3], "keypoints": [1, 1, 2, 3, 3, 1]},
        {"id": 2, "image_id": 2, "category_id": 1, "bbox": [1, 1, 4, 3], "attributes": {"posture": "running"}},
        {"id": 3, "image_id": 2, "category_id": 2, "bbox": [2, 2, 4, 3], "action": "running"},
    ],
    "categories": [{"id": 1, "name": "cat", "keypoints": ["nose", "tail"]}, {"id": 2, "name": "dog"}],
}
ANIMAL_POSE = {
    "images": {"1": "a.png", "2": "b.png"},
    "annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 4], "keypoints": [[1, 1, 1], [3, 3, 0]], "label": "sit"},
                    {"image_id": 2, "category_id": 1, "bbox": [1, 1, 5, 4], "keypoints": [[1, 1, 1], [3, 3, 1]], "label": "run"}],
    "categories": [{"id": 1, "name": "cat", "keypoints": ["nose", "tail"]}],
}  # fmt: skip


# Animal Kingdom ------------------------------------------------------------------------------------------------------

KINGDOM = {
    "AR": [
        ["S/N", "video_id", "type", "labels", "list_animal_action"],
        [1, "AAACXZTV", "train", "2", "[('Wolf', 'Moving')]"],
        [2, "AAAUILHH", "test", "40", "[(\"Russell'S Viper\", 'Eating')]"],
        [3, "AABCQPYC", "train", "2,40", "[('Wolf', 'Moving'), ('Lion', 'Eating')]"],
        [4, "AACWYSGN", "train", 2.0, "['[(\"Russell\\'S Viper\", \\'Moving\\')]']"],
        [5, "AADAICLX", "test", "40", "[('Lion', 'Eating')]"],
    ],
    "Action": [["Label", "Category", "Action"], [2, "x", "Attending"], [40, "x", "Eating"]],
}
FRAMES = [
    ["original_vido_id", "video_id", "frame_id", "path", "labels"],
    ["AAACXZTV", "0", "0", "AAACXZTV/000001.jpg", "2"],
    ["AAACXZTV", "0", "1", "AAACXZTV/000002.jpg", "2"],
    ["AAAUILHH", "1", "0", "AAAUILHH/000001.jpg", "2,40"],
    ["AABCQPYC", "2", "0", "AABCQPYC/000001.jpg", "40"],
]


def _parts(book: Workbook) -> dict[str, bytes]:
    memory = io.BytesIO()
    book.save(memory)
    with zipfile.ZipFile(memory) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _zipped(parts: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", method) as archive:
        for name, data in parts.items():
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return memory.getvalue()


def _template() -> dict[str, bytes]:
    """The parts of a sound workbook, its texts in a list of their own, as spreadsheet programs have them."""
    book = Workbook()
    book.remove(book.worksheets[0])
    for name, rows in KINGDOM.items():
        page = book.create_sheet(name)
        for row in rows:
            page.append(row)
    parts, texts = _parts(book), []

    def share(found: re.Match[bytes]) -> bytes:
        texts.append(found[1])
        return b't="s"><v>%d</v>' % (len(texts) - 1)

    for name in ("xl/worksheets/sheet1.xml", "xl/worksheets/sheet2.xml"):
        parts[name] = re.sub(rb't="inlineStr"><is>(.*?)</is>', share, parts[name])
    parts["xl/sharedStrings.xml"] = b'<sst xmlns="%s">%s</sst>' % (
        _MAIN.encode(),
        b"".join(b"<si>%s</si>" % text for text in texts),
    )
    kind = b'<Override PartName="/xl/sharedStrings.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"/>'
    parts["[Content_Types].xml"] = parts["[Content_Types].xml"].replace(b"</Types>", kind + b"</Types>")
    return parts


_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_TEMPLATE = _template()


def _cell(value: Any, kind: str) -> str:
    """A cell of a sheet; what XML cannot hold is put in as it is."""
    text = escape(str(value).encode("utf-8", "replace").decode())
    if kind == "inlineStr":
        return f'<c t="inlineStr"><is><t>{text}</t></is></c>'
    return f'<c t="{kind}"><v>{text}</v></c>'


@st.composite
def _workbooks(pick: Any) -> bytes:
    """A workbook: its rows spoilt, or the XML of a part, or its bytes."""
    parts = dict(_TEMPLATE)
    how = pick(st.sampled_from(["rows", "rows", "rows", "xml", "bytes"]))
    if how == "rows":
        plan = pick(draw.spoilt(KINGDOM))
        for number, rows in enumerate(plan.values() if isinstance(plan, dict) else [], 1):
            lines = []
            for row in rows if isinstance(rows, list) else [rows]:
                cells = [
                    ""
                    if cell is None
                    else _cell(cell, pick(st.sampled_from(_CELLS)) if pick(st.integers(0, 30)) == 0 else _kind(cell))
                    for cell in (row if isinstance(row, list) else [row])
                ]
                lines.append(f"<row>{''.join(cells)}</row>")
            sheet = f'<worksheet xmlns="{_MAIN}"><sheetData>{"".join(lines)}</sheetData></worksheet>'
            parts[f"xl/worksheets/sheet{number}.xml"] = sheet.encode()
    elif how == "xml":
        name = pick(st.sampled_from(sorted(parts)))
        if pick(st.integers(0, 5)) == 0:
            del parts[name]
        else:
            parts[name] = pick(draw.spoilt_bytes(parts[name], list(_TEMPLATE.values())))
    data = _zipped(
        parts, pick(st.sampled_from([zipfile.ZIP_DEFLATED, zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED, zipfile.ZIP_BZIP2]))
    )
    return pick(draw.spoilt_bytes(data)) if how == "bytes" else data


_CELLS = ["inlineStr", "n", "b", "e", "d", "s", "str", "x"]


def _kind(value: Any) -> str:
    return "n" if isinstance(value, (int, float)) and not isinstance(value, bool) else "inlineStr"


def _wanted(name: str) -> Callable[[Path], object]:
    """Of clips: what `subset` asks before anybody has the videos."""

    def read(folder: Path) -> object:
        raw = adapter("animal_kingdom").read(folder, {name, "AAACXZTV.mp4"}, (name,))
        rows = wanted_clips(raw, CleanSettings(), [])
        _require(raw.pictures["sample_id"].is_unique, "a row for each clip")
        _require(set(raw.annotations["sample_id"]) == set(raw.pictures["sample_id"]), "a label for each clip")
        _require(all(isinstance(label, str) and label for label in rows["label"]), "labels are texts")
        return rows

    return read


# MPII ----------------------------------------------------------------------------------------------------------------


def _joints() -> dict[str, Any]:
    return {"point": [{"x": 1 + number / 4, "y": 2.5, "id": number, "is_visible": number % 2} for number in (0, 5, 6, 9, 15)]}


def _head() -> dict[str, Any]:
    return {"x1": 1, "y1": 1, "x2": 3, "y2": 3, "scale": 2.5, "objpos": {"x": 4, "y": 3}, "annopoints": _joints()}


RELEASE = {
    "annolist": [
        {"image": {"name": "a.png"}, "annorect": [_head(), _head()], "vidx": 3, "frame_sec": 12},
        {"image": {"name": "b.png"}, "annorect": [{"annopoints": None, "objpos": None}, _head()], "vidx": None, "frame_sec": None},
        {"image": {"name": "c é.png"}, "annorect": None, "vidx": None, "frame_sec": None},
        {"image": {"name": "d.png"}, "annorect": [_head()], "vidx": 3, "frame_sec": 13},
    ],
    "img_train": [1, 1, 0, 1],
    "version": "12",
    "act": [{"cat_name": "sports", "act_name": "x", "act_id": 1}, {"cat_name": "running", "act_name": None, "act_id": 2},
            {"cat_name": None, "act_name": None, "act_id": -1}, {"cat_name": "sports", "act_name": "y", "act_id": 3}],
    "single_person": [[1, 2], [2], None, [1]],
}  # fmt: skip


def _matlab(value: Any) -> Any:
    """A value as `savemat` takes it: structs, cells, texts, numbers of 64 bits."""
    if isinstance(value, dict):
        keys = {str(key).encode("ascii", "replace").decode()[:30] or "x": item for key, item in value.items()}
        return mpii.structs([{key: _matlab(item) for key, item in keys.items()}])
    if isinstance(value, list):
        if value and all(isinstance(item, dict) and item for item in value):
            return mpii.structs(
                [
                    {str(key).encode("ascii", "replace").decode()[:30] or "x": _matlab(v) for key, v in item.items()}
                    for item in value
                ]
            )
        return mpii.cell(*map(_matlab, value)) if value else mpii.NOTHING
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode().replace("\x00", "?")
    if isinstance(value, int) and abs(value) >= 2**63:
        return float("inf")
    return mpii.NOTHING if value is None else value


@st.composite
def _mats(pick: Any) -> bytes:
    """RELEASE spoilt or sound, packed or not; its bytes spoilt or sound."""
    plan = pick(draw.spoilt(RELEASE))
    memory = io.BytesIO()
    variables = {pick(st.sampled_from(["RELEASE"] * 20 + ["release", "x"])): _matlab(plan)}
    savemat(memory, variables, do_compression=pick(st.booleans()), oned_as="row")
    data = memory.getvalue()
    return pick(draw.spoilt_bytes(data)) if pick(st.integers(0, 3)) == 0 else data


PEOPLE = [
    {"image": "a.png", "center": [4, 3], "scale": 2.5, "joints": [[n / 4, 2.5] for n in range(1, 17)], "joints_vis": [1] * 16},
    {
        "image": "a.png",
        "center": [-1, -1],
        "scale": -1,
        "joints": [[-1, -1]] * 8 + [[3, 3]] * 8,
        "joints_vis": [0] * 8 + [1] * 8,
    },
    {"image": "b.png", "center": [4.5, 3], "scale": 1, "joints": [[1, 1]] * 16, "joints_vis": [0, 1] * 8},
    {"image": "d.png", "center": [4, 3], "scale": 1},
]


def _people(people: Raw, folder: Path) -> object:
    """HRNet's list names no category; by the document's third rule `clean` drops what has none, so hand labels give some."""
    return _cleaned(relabelled(people, read_labels(folder / "list.json"), PICTURES), folder)


# What the pipeline itself wrote --------------------------------------------------------------------------------------

_DAY = pd.Timestamp("2012-03-27 12:13:11")
SAMPLE_ROWS: dict[str, list[Any]] = {
    "sample_id": ["a", "b", "c"], "path": ["a.png", "b.png", "c é.png"], "label": ["deer", "empty", "fox"],
    "location": ["3", None, "x"], "species": [None, None, "Vulpes"], "seq_id": ["s", "s", "c"], "frame_num": [1, 2, None],
    "captured_at": ["2012-03-27", None, None], "given_split": ["train", None, None], "width_px": [8, 8, 8],
    "height_px": [6, 6, 6], "infrared": [False, True, False], "bytes": [100, 101, 102], "sha256": ["0" * 64] * 3,
    "phash": ["f" * 16] * 3, "note": ["", "", "cut"],
}  # fmt: skip
FOUND = {
    "sample_id": ["a", "a", "b", "c"], "task": ["box"] * 4, "label": ["deer", "fox", "empty", "fox"], "score": [0.9, 0.2, 0.0, 1.0],
    "x_min_px": [1.0, 0.0, None, 2.0], "y_min_px": [1.0, 0.5, None, 2.0], "x_max_px": [4.0, 8.0, None, 3.5],
    "y_max_px": [5.0, 6.0, None, 3.0], "joints": [None] * 4,
}  # fmt: skip
JOINTS_FOUND = FOUND | {"task": ["joints"] * 4, "joints": [[0.5] * 48, [0.25] * 48, None, [1.0] * 48]}
CLASSES_FOUND = {
    "sample_id": ["a", "a", "b", "b", "c", "c"], "task": ["class"] * 6, "label": ["deer", "fox"] * 3,
    "score": [0.5, 0.5, 0.0, 1.0, 0.25, 0.75], **{name: [None] * 6 for name in [*BOX_COLUMNS, "joints"]},
}  # fmt: skip
_TYPES = {
    "frame_num": "Int64", "captured_at": "datetime64[us]", "location": "str", "species": "str", "given_split": "str", "score": "float64",
    **dict.fromkeys(BOX_COLUMNS, "float64"),
}  # fmt: skip


def _parquet(plan: Any) -> bytes:
    """A table of columns as it is written; a column that is no longer of its type is of the type it has become, or text."""
    columns: dict[str, Any] = {}
    for name, values in plan.items() if isinstance(plan, dict) else []:
        values = values if isinstance(values, list) else [values] * 3
        for kind in (_TYPES.get(name), None, "str"):
            try:
                column = pd.Series(values, dtype=kind)
                pd.DataFrame({"x": column}).to_parquet(io.BytesIO())
            except Exception:  # pandas and pyarrow have many for what is of no one type
                column = pd.Series([ascii(value) for value in values])
            else:
                break
        columns[name.encode("utf-8", "replace").decode()] = column
    memory = io.BytesIO()
    pd.DataFrame(columns).to_parquet(memory, index=False)
    return memory.getvalue()


def _parquets(*plans: dict[str, list[Any]]) -> "st.SearchStrategy[bytes]":
    sound = [_parquet(plan) for plan in plans]
    return draw.mostly(st.one_of(*[draw.spoilt(plan).map(_parquet) for plan in plans]), draw.spoilt_bytes(sound[0], sound))


def _no_boxes(folder: Path) -> None:
    """What lies beside samples.parquet."""
    columns = {"sample_id": "str", "label": "str"} | dict.fromkeys(BOX_COLUMNS, "float64")
    pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in columns.items()}).to_parquet(folder / "boxes.parquet")
    write_json(folder / "source.json", {"root": folder.as_posix(), "data": "your data"})


def _predictions(folder: Path) -> object:
    return check_predictions(read_table(folder / TABLE), pd.Series(["a", "b", "c"]))


CARD: dict[str, Any] = {
    "family": "image", "architecture": "torchvision/alexnet", "options": {"width": 0.0625}, "as_built": "AlexNet", "outputs": ["deer", "empty"],
    "classes": ["deer", "empty"], "image_px": 64, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "loss": "softmax",
    "trained_on": {"data": "embedded", "train": 3, "val": 2}, "settings": {"epochs": 1},
}  # fmt: skip


def _weights(folder: Path) -> None:
    """Those of the network that CARD describes."""
    from stages import backbones  # torch takes seconds

    network = backbones.build(CARD["architecture"], CARD["options"], len(CARD["outputs"]))
    (folder / "weights.safetensors").write_bytes(safetensors.torch.save(network.state_dict()))


def _model(folder: Path) -> Any:
    """A model from elsewhere: its manifest fits."""
    from stages import trained

    write_manifest(folder)
    network = trained.load(folder)
    shown = network.view(8, 6).show(np.zeros((6, 8, 3), np.uint8))
    _require(shown.shape[2] == 3 and shown.shape[0] == shown.shape[1] == network.card["image_px"], "how a picture is shown")
    _require(all(isinstance(label, str) for label in network.classes), "classes are texts")
    return network


@st.composite
def _cards(pick: Any) -> bytes:
    """A card spoilt or sound. A `width` above 1 is left out: such a network may ask for all memory (docs/security.md)."""
    data = pick(_cct(CARD))
    width = re.search(rb'"width": *(-?(?:Infinity|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?))', data)
    return data.replace(width[0], b'"width": 0.125') if width and float(width[1]) > 1 else data


def _params() -> dict[str, Any]:
    """One data set of the shipped file, and three models of it."""
    shipped = read_params(Path(__file__).parent.parent / "params.yaml")
    own = ("camera_trap-alexnet-location",)
    params: dict[str, Any] = {name: shipped[name] for name in ("profile", "seed", "evaluate")}
    params["datasets"] = {"camera_trap": shipped["datasets"]["camera_trap"]}
    return params | {
        "models": {name: shipped["models"][name] for name in own},
        "compare": {"camera_trap": {"references": {own[0]: [own[0]]}}},
    }


def _manifest(folder: Path) -> object:
    problems = check_manifest(folder)
    _require(all(isinstance(problem, str) and folder.as_posix() in problem for problem in problems), "what is wrong is said")
    return problems


def _listed(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub/a.txt").write_text("abc")
    (folder / "b.bin").write_bytes(bytes(9))


SOUND_MANIFEST = {
    "b.bin": {"bytes": 9, "sha256": "3e7077fd2f66d689e0cee6a7cf5b37bf2dca7c979af356d0a31cbc5c85605c7d"},
    "sub/a.txt": {"bytes": 3, "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
}


@st.composite
def _yaml_files(pick: Any) -> bytes:
    text = yaml.safe_dump(pick(draw.spoilt(_PARAMS)), sort_keys=False, allow_unicode=pick(st.booleans()))
    for _ in range(pick(st.sampled_from([0, 0, 0, 0, 1, 2]))):
        start = pick(st.integers(0, len(text)))
        text = text[:start] + pick(st.sampled_from(_YAML)) + text[start:]
    return pick(draw.encoded(text))


_PARAMS = _params()
_YAML = [
    *(
        "\n",
        "\n  ",
        ": ",
        "- ",
        "\t",
        "#",
        "'",
        '"',
        "|",
        ">",
        "%",
        "@",
        "`",
        "!",
        "&a ",
        "*a",
        "<<: ",
        "? ",
        "[",
        "{",
        "}",
        "---\n",
        "...",
    ),
    *(
        "2020-13-45",
        "!!python/object/apply:os.system [id]",
        "!!binary x",
        "!!timestamp x",
        "!!int x",
        "!!float x",
        "!!set {a}",
        "1:99",
        ".nan",
    ),
    *("[" * 2000, "{a: " * 500, "x: &b [*b]\n", "y: &c [1]\nz: [*c, *c]\n", "0x", "1_0", "~", "=", "\x85", "\u2028", "\x00"),
]


# All of them ---------------------------------------------------------------------------------------------------------

TARGETS = (
    Target("COCO Camera Traps JSON", "list.json", _cct(CCT), _source("caltech_camera_traps", "list.json"), pictures, _cleaned),
    Target("Hand labels, COCO Camera Traps JSON", HAND_LABELS, _cct(CCT), lambda folder: read_labels(folder / HAND_LABELS), _sound_list, _relabelled),
    Target("MegaDetector JSON", "boxes.json", _cct(MEGADETECTOR), _megadetector),
    Target("MPII `.mat`", "mpii.mat", _mats(), _source("mpii", "mpii.mat"), pictures, _cleaned),
    Target("MPII as JSON by HRNet", "train.json", _cct(PEOPLE), _source("mpii", "train.json"), _sound_list, _people),
    Target("Animal Kingdom's workbook, xlsx", "AR_metadata.xlsx", _workbooks(), _wanted("AR_metadata.xlsx")),
    Target("Animal Kingdom's text tables", "train.csv", _tables(FRAMES, KINGDOM["AR"]), _wanted("train.csv")),
    Target("Animal posture, CSV", "posture.csv", _tables(POSTURE), _source("animal_posture", "posture.csv"), pictures, _cleaned),
    Target("Animal posture, JSON with keypoints", "posture.json", _cct(POSTURE_ROWS, POSTURE_COCO, ANIMAL_POSE),
           _source("animal_posture", "posture.json"), pictures, _cleaned),
    Target("A table of one's own, CSV", "own.csv", _tables(OWN, SHORT), _source("table", "own.csv"), pictures, _cleaned),
    Target("params.yaml, by `check`", "params.yaml", _yaml_files(), lambda folder: check_all(read_params(folder / "params.yaml"))),
    Target("Samples table, parquet", "samples.parquet", _parquets(SAMPLE_ROWS), read_samples, _no_boxes),
    Target("Predictions table, parquet", TABLE, _parquets(FOUND, JOINTS_FOUND, CLASSES_FOUND), _predictions),
    Target("model.json", "model.json", _cards(), _model, _weights, with_others=True),
    Target("manifest.json", MANIFEST, _cct(SOUND_MANIFEST), _manifest, _listed),
)  # fmt: skip
