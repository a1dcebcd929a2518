"""Photos of animals with what they do: the Kaggle set "Animals with Skeleton Key Points and Action Mark", and its like.

The set's layout is not public, so what is there decides; `read` prints how it was understood. In this order:
    tables    CSV, or JSON: a list of objects, {image: object}, or COCO keypoints (AP-10K, Animal-Pose). An image and an action,
              and where present a species, a box and keypoints. A photo with several animals has several rows.
    folders   one for each action: `.../lying/.../<picture>`; a folder of a known species names that
Columns go by many names (COLUMNS), actions by many words (WORDS). A photo whose rows name no action, or two, is a reject;
so is a row that has an animal again, its box and keypoints the same.
Keypoints are `[x, y, visibility]` of each, in one list or a list of lists, or `{name: [x, y, visibility]}`. Visibility is
COCO's: 2 seen, 1 hidden, 0 not there; without it all that are not at (0, 0) are seen. Names are those given, or those of
COCO's categories; else keypoints are called 1, 2, 3 by their order.
"""

import ast
import csv
import io
import json
import math
import os
import re
import shutil
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import pandas as pd

from stages.datasets import KEYPOINT_COLUMNS, PICTURE_ENDINGS, Raw, tables
from stages.files import DataError, read_json

CITATION = 'the Kaggle data set "Animals with Skeleton Key Points and Action Mark"'
LICENCE = "as its page on Kaggle says"
URLS: tuple[str, ...] = ()  # the document does not link it: `download.urls` names its page, and `fetch` brings it

# As in stages.people, said again: on this folder's imports `look` and `download` depend.
_ABSENT, _OCCLUDED, _VISIBLE = 0, 1, 2
WORDS = {
    "lying": "lying lie lies lay laying",
    "running": "running run runs",
    "sitting": "sitting sit sits seated",
    "walking_standing": "walking walk walks standing stand stands",
}
SPECIES = ("cat", "dog", "horse", "cow", "sheep", "goat")
# What each column may be called, capitals, spaces and marks aside; the first that is there is taken.
COLUMNS = {
    "image": "image filename imagename imagepath imagefile file filepath path img imgname picture photo".split(),
    "action": "action actionmark actionlabel actionname posture behaviour behavior activity label class".split(),
    "species": "species animal animalname animaltype category".split(),
    "box": "bbox box boundingbox".split(),
    "keypoints": "keypoints keypoint skeleton skeletonkeypoints joints".split(),
}
_SIDES = (  # columns of one side each, and whether they are corners
    ("xmin ymin xmax ymax".split(), True),
    ("x y width height".split(), False),
    ("x y w h".split(), False),
    ("x1 y1 x2 y2".split(), True),
    ("left top right bottom".split(), True),
)
_EXPECTED = (
    "Expected a CSV or JSON table with the columns `image` and `action` (lying, running, sitting, walking or standing), and "
    "where known `species`, `bbox` (x, y, width, height in px) and `keypoints`; or a folder for each action"
)
_BY_WORD = {word: action for action, words in WORDS.items() for word in words.split()}


class _Keypoint(NamedTuple):
    name: str
    x_px: float
    y_px: float
    visible: float  # as written


class _Row(NamedTuple):
    """An animal in a photo, as written."""

    where: str  # file and line
    image: str
    action: str
    species: str
    box: object  # numbers, or text that holds them; None where there is none
    is_corners: bool  # x_min, y_min, x_max, y_max; else x, y, width, height
    size: tuple[object, object]  # width and height of the photo, as listed
    keypoints: tuple[_Keypoint, ...] | str = ()  # or what is wrong with them
    why_nameless: str = "its image has no name"  # where `image` is blank


def actions_of(written: str) -> set[str]:
    """The classes that a text names: none for `other` or nothing, two for `sitting/lying`."""
    return {_BY_WORD[word] for word in re.findall(r"[a-z]+", written.casefold()) if word in _BY_WORD}


def read(root: Path, files: Collection[str], annotations: tuple[str, ...]) -> Raw:
    """Read the tables below `root`: those named, else every CSV or JSON with an image and an action; else the folders.

    Prints what was understood. Raises DataError, with the columns that are expected, where nothing of it is there.
    """
    if strangers := sorted(set(annotations) - set(files)):
        raise DataError(f"{root}: no annotations {strangers[0]}. There is: {', '.join(_listed(files)) or 'no CSV or JSON'}")
    lacking: list[str] = []
    rows: list[_Row] = []
    for name in annotations or _listed(files):
        found, said, missing = _read_table(root, name)
        if missing:
            lacking.append(f"{name} has no {' and no '.join(missing)} ({said})")
        else:
            print(f"{name}: {said}")
            rows += found
    by_folder = not (annotations or rows) and any(actions_of(_folder_action(name)) for name in files)
    if not (rows or by_folder) or (annotations and lacking):
        raise DataError(f"{root}: {'; '.join(lacking) or f'no actions in {len(files)} files'}. {_EXPECTED}")
    for text in lacking:
        print(f"left alone: {text}")
    if by_folder:
        print(f"{root}: a folder for each action")
        rows = [_of_folder(name) for name in sorted(files) if PurePosixPath(name).suffix.lower() in PICTURE_ENDINGS]
    _say_actions(root, rows)
    _say_keypoints(rows)
    return _raw(rows)


def _listed(files: Collection[str]) -> list[str]:
    return [name for name in sorted(files) if name.lower().endswith((".csv", ".json"))]


def _say_actions(root: Path, rows: list[_Row]) -> None:
    """Print which written actions stand for which class. Raises DataError where none of them is one."""
    written: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        found = actions_of(row.action)
        written[" or ".join(sorted(found)) or "no action"][row.action.strip() or "(blank)"] += 1
    for action, texts in sorted(written.items()):
        print(f"  {action} <- {', '.join(f'{text} {count}' for text, count in texts.most_common(12))}")
    if not set(written) & set(WORDS):
        shown = ", ".join(text for texts in written.values() for text, _ in texts.most_common(6))
        first = f". The first of them: {rows[0].where}" if rows else ""
        raise DataError(f"{root}: none of {len(rows)} rows names an action: {shown}. {_EXPECTED}{first}")


def _say_keypoints(rows: list[_Row]) -> None:
    found = Counter(keypoint.name for row in rows if not isinstance(row.keypoints, str) for keypoint in row.keypoints)
    if found:
        print(f"  {found.total()} keypoints: {', '.join(found)}")


# What is written -> Raw ------------------------------------------------------------------------------------------------


def _raw(rows: list[_Row]) -> Raw:
    by_image: dict[str, list[_Row]] = defaultdict(list)
    pictures: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    keypoints: list[tuple[object, ...]] = []
    rejects: list[dict[str, object]] = []
    for row in rows:
        image = row.image.strip().replace("\\", "/").removeprefix("./")
        if image:
            by_image[image].append(row)
        else:
            rejects.append(_reject(row.where, "", "no_file_name", row.why_nameless))
    for image, group in by_image.items():
        texts = ", ".join(dict.fromkeys(row.action.strip() or "(blank)" for row in group))
        actions = sorted({action for row in group for action in actions_of(row.action)})
        if len(actions) != 1:
            reason, said = ("ambiguous_action", " and ") if actions else ("no_action", "")
            detail = f"{texts}: {said.join(actions) or 'none of ' + ', '.join(WORDS)}"
            rejects.append(_reject(group[0].where, image, reason, detail))
            continue
        species = {row.species.strip().casefold() for row in group if row.species.strip()}
        width, height = (_number(value) for value in group[0].size)
        about: dict[str, object] = {"row": group[0].where, "sample_id": image, "file_name": image}
        one_species = species.pop() if len(species) == 1 else None
        pictures.append(about | {"width_px": width, "height_px": height, "species": one_species})
        animals: dict[object, _Row] = {}
        for row in group:
            first = animals.setdefault(_identity(row), row)
            if first is not row:
                detail = f"the same box and keypoints as {first.where}"
                rejects.append(_reject(row.where, image, "listed_twice", detail, "annotation"))
        for animal, row in enumerate(animals.values()):
            x, y, w, h = _xywh(row)
            annotations.append(
                {"row": row.where, "sample_id": image, "label": actions[0], "has_box": row.box is not None}
                | {"x_px": x, "y_px": y, "w_px": w, "h_px": h}
            )
            if isinstance(row.keypoints, str):
                rejects.append(_reject(row.where, image, "not_keypoints", row.keypoints, "keypoint"))
                continue
            for keypoint in row.keypoints:
                if keypoint.visible in (_OCCLUDED, _VISIBLE):
                    keypoints.append((row.where, image, animal, *keypoint))
                else:
                    detail = f"visibility {keypoint.visible:g}: should be 2, 1 or 0"
                    where = f"{row.where} {keypoint.name}"
                    rejects.append(_reject(where, image, "unknown_visibility", detail, "keypoint"))
    raw = tables(pictures, annotations, rejects)
    if not keypoints and "keypoint" not in set(raw.rejects["kind"]):
        return raw
    return replace(raw, keypoints=pd.DataFrame(keypoints, columns=KEYPOINT_COLUMNS))


def _reject(row: str, name: str, reason: str, detail: str, kind: str = "picture") -> dict[str, object]:
    return {"kind": kind, "row": row, "name": name, "reason": reason, "detail": detail}


def _identity(row: _Row) -> object:
    """What an animal has in common with no other of its photo; without a box or keypoints, where it is listed."""
    box = _xywh(row)
    if None in box and (not row.keypoints or isinstance(row.keypoints, str)):
        return row.where
    return row.action.strip().casefold(), row.species.strip().casefold(), box, row.keypoints


def _xywh(row: _Row) -> tuple[float | None, ...]:
    """The box as x, y, width, height; None for each where it is not four numbers, which `clean` refuses."""
    numbers = _numbers(row.box)
    if len(numbers) != 4:
        return (None,) * 4
    x, y, a, b = numbers
    return (x, y, a - x, b - y) if row.is_corners else (x, y, a, b)


def _numbers(value: object) -> list[float]:
    """Numbers in a list however deep, or in a text such as `[1, 2.5, 3, 4]`."""
    if isinstance(value, str):
        return [float(text) for text in re.findall(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?", value, re.IGNORECASE)]
    if isinstance(value, list):
        return [number for item in value for number in _numbers(item)]
    return [] if (number := _number(value)) is None else [number]


def _number(value: object) -> float | None:
    try:
        return float(value) if isinstance(value, (int, float, str)) and value != "" else None
    except (ValueError, OverflowError):
        return None


# Keypoints -----------------------------------------------------------------------------------------------------------


def _keypoints(value: object, names: Sequence[str]) -> tuple[_Keypoint, ...] | str:
    """Those that are there, or what is wrong with them. `names` are theirs where `value` gives none."""
    if isinstance(value, str):
        value = _literal(value)
    if isinstance(value, Mapping):
        names, value = [str(name) for name in value], list(value.values())
    if not isinstance(value, (list, tuple)):
        return () if value is None else f"{value!r}: not a list"
    triples = value
    if not any(isinstance(item, (list, tuple, type(None))) for item in value):
        if len(value) % 3:
            return f"{len(value)} numbers in a row: x, y and visibility of each would be three times as many as keypoints"
        triples = [value[at : at + 3] for at in range(0, len(value), 3)]
    if not triples:
        return ()
    if names and len(names) != len(triples):
        return f"{len(triples)} keypoints, {len(names)} names"
    found = []
    for name, triple in zip(names or [str(place + 1) for place in range(len(triples))], triples, strict=True):
        if not isinstance(triple, (list, tuple, type(None))):
            return f"{name}: {triple!r}, not x, y and visibility"
        numbers = [_number(item) for item in triple or ()]
        if len(numbers) not in (0, 2, 3):
            return f"{name}: {len(numbers)} values, not x, y and visibility"
        if not numbers:
            continue
        x, y = (math.nan if number is None else number for number in numbers[:2])
        visible = numbers[2] if len(numbers) == 3 else float(_VISIBLE if (x, y) != (0, 0) else _ABSENT)
        if visible != _ABSENT:
            found.append(_Keypoint(name, x, y, math.nan if visible is None else visible))
    return tuple(found)


def _literal(text: str) -> object:
    """What a cell holds: JSON, or a list or mapping as Python writes it, or numbers with anything between."""
    if not text.strip():
        return None
    for parse in (json.loads, ast.literal_eval):
        with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
            return parse(text)
    return _numbers(text)


def _graded(rows: list[_Row]) -> list[_Row]:
    """A file that knows but there (1) and not there (0), as Animal-Pose's own: what is there is seen."""
    read = {place: row.keypoints for place, row in enumerate(rows) if not isinstance(row.keypoints, str)}
    if {keypoint.visible for keypoints in read.values() for keypoint in keypoints} != {_OCCLUDED}:
        return rows
    seen = {place: tuple(keypoint._replace(visible=_VISIBLE) for keypoint in keypoints) for place, keypoints in read.items()}
    return [row._replace(keypoints=seen.get(place, row.keypoints)) for place, row in enumerate(rows)]


# Folders -------------------------------------------------------------------------------------------------------------


def _folder_action(name: str) -> str:
    """The folder that is nearest to a picture and names an action; where none does, the nearest; "" where there is none."""
    path = PurePosixPath(name)
    if path.suffix.lower() not in PICTURE_ENDINGS:
        return ""
    return next((part for part in reversed(path.parts[:-1]) if actions_of(part)), path.parent.name)


def _of_folder(name: str) -> _Row:
    words = {word for part in PurePosixPath(name).parts[:-1] for word in re.findall(r"[a-z]+", part.casefold())}
    species = [animal for animal in SPECIES if words & {animal, f"{animal}s"}]
    return _Row(name, name, _folder_action(name), species[0] if len(species) == 1 else "", None, False, (None, None))


# Tables --------------------------------------------------------------------------------------------------------------


def _read_table(root: Path, name: str) -> tuple[list[_Row], str, list[str]]:
    """The rows of one file; what was taken for what, in words; and which needed columns are not there."""
    if name.lower().endswith(".csv"):
        records = list(_csv(root / name))
    else:
        document = read_json(root / name)
        records = list(_coco(root / name, document) if _is_coco(document) else _objects(document))
    keys = list(dict.fromkeys(key for _, record in records for key in record))
    columns = _columns(keys)
    sides, is_corners = _sides(keys) if "box" not in columns else ([], columns["box"] == _CORNERS)
    parts = [f"{column} <- {key}" for column, key in columns.items()] + ([f"box <- {', '.join(sides)}"] if sides else [])
    said = ", ".join(parts)
    unused = [key for key in keys if key not in {*columns.values(), *sides, *_SIZE, _NAMES, _NAMELESS}]
    said += f"; not used: {', '.join(unused)}" if said and unused else ""
    if missing := [f"`{column}`" for column in ("image", "action") if column not in columns]:
        return [], said or f"columns: {', '.join(keys) or 'none'}", missing
    rows = []
    for where, record in records:
        box = (
            ["" if record.get(side) is None else record[side] for side in sides]
            if sides
            else record.get(columns.get("box", ""))
        )
        image, action, species = (record.get(columns.get(column, "")) for column in ("image", "action", "species"))
        rows.append(
            _Row(
                f"{name} {where}",
                *(str(image or ""), str(action or ""), str(species or "")),
                None if box in (None, "", [], [""] * 4) else box,
                is_corners,
                (record.get(_SIZE[0]), record.get(_SIZE[1])),
                _keypoints(record.get(columns.get("keypoints", "")), record.get(_NAMES, ())),
                *([record[_NAMELESS]] if _NAMELESS in record else []),
            )
        )
    return _graded(rows), said, []


_CORNERS = "bbox of corners"  # Animal-Pose's own files have x_min, y_min, x_max, y_max
_SIZE = ("image width", "image height")  # as COCO lists it; no CSV column is called so
_NAMES = "names of keypoints"  # of COCO's category
_NAMELESS = "why the image has no name"  # where COCO's is not listed


def _plain(key: str) -> str:
    return re.sub(r"[^a-z0-9]", "", key.casefold())


def _find(keys: Collection[str], names: Collection[str]) -> str | None:
    by_plain = {_plain(key): key for key in reversed(list(keys))}
    return next((by_plain[name] for name in names if name in by_plain), None)


def _columns(keys: Collection[str]) -> dict[str, str]:
    """{what is wanted: the column that has it}; a column serves once."""
    found: dict[str, str] = {}
    for column, names in COLUMNS.items():
        if column == "box" and _CORNERS in keys:
            found[column] = _CORNERS
        elif key := _find([key for key in keys if key not in found.values()], names):
            found[column] = key
    return found


def _sides(keys: Collection[str]) -> tuple[list[str], bool]:
    """The four columns that give a box, and whether they are its corners; none where they are not all there."""
    for names, is_corners in _SIDES:
        if "x1" in names and _find(keys, ["x3"]):  # keypoints, or a polygon
            continue
        found = [key for name in names if (key := _find(keys, [name]))]
        if len(found) == len(names):
            return found, is_corners
    return [], False


def _csv(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(line, {column: text}) of each row; commas, semicolons or tabs between."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
        header = next((line for line in text.splitlines() if line.strip()), "")
        separator = max(",;\t", key=header.count)
        rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
        for record in rows:
            if record.get(None):
                raise DataError(f"{path}: not a CSV table: line {rows.line_num} has more values than the header")
            yield f"line {rows.line_num}", {key.strip(): value for key, value in record.items() if key}
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a CSV table in UTF-8: {error}. Save it as CSV UTF-8") from None


def _objects(document: object) -> Iterator[tuple[str, dict[str, Any]]]:
    """A list of objects, or {image: object}."""
    if isinstance(document, list):
        yield from ((f"[{place}]", dict(entry)) for place, entry in enumerate(document) if isinstance(entry, dict))
    elif isinstance(document, dict) and document and all(isinstance(entry, dict) for entry in document.values()):
        yield from ((f"[{key!r}]", {"image": key, **entry}) for key, entry in document.items())


def _is_coco(document: object) -> bool:
    return isinstance(document, dict) and {"images", "annotations"} <= set(document)


def _coco(path: Path, document: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """A record for each annotation: its own fields, those of its image, its category; and one for an image without any.

    Animal-Pose has {id: file name} for images, and corners for boxes. Categories that are all actions are taken for these.
    """
    listed = document["images"]
    own_form = isinstance(listed, dict)
    if own_form:
        listed = [{"id": key, "file_name": name} for key, name in listed.items()]
    known = document.get("categories") or []
    for key, entries in (("images", listed), ("annotations", document["annotations"]), ("categories", known)):
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise DataError(
                f"{path}: every entry of `images` and `annotations` should be an object, and `{key}` a list, as COCO has them"
            )
    images = {str(entry.get("id")): entry for entry in listed}
    categories = {str(category.get("id")): str(category.get("name") or "") for category in known}
    points = {str(category.get("id")): _names(category.get("keypoints")) for category in known}
    category = "action" if categories and all(map(actions_of, categories.values())) else "category"
    seen = set()
    for place, annotation in enumerate(document["annotations"]):
        key = str(annotation.get("image_id"))
        seen.add(key)
        record = _of_image(images.get(key, {})) | _action(images.get(key, {}))
        record |= {category: categories.get(str(annotation.get("category_id")))} if categories else {}
        record |= {_CORNERS if own_form else "bbox": annotation.get("bbox"), "keypoints": annotation.get("keypoints")}
        record |= {_NAMES: points.get(str(annotation.get("category_id")), ())}
        if key not in images:
            record[_NAMELESS] = f"image_id {annotation.get('image_id')!r} is not in `images`"
        yield f"annotations[{place}]", record | _action(annotation)
    for place, (key, entry) in enumerate(images.items()):
        if key not in seen:
            yield f"images[{place}]", _of_image(entry) | _action(entry)


def _names(listed: object) -> list[str]:
    """A category's names of keypoints; none where it has no list of them."""
    return [str(name) for name in listed] if isinstance(listed, list) else []


def _of_image(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {"file_name": entry.get("file_name"), _SIZE[0]: entry.get("width"), _SIZE[1]: entry.get("height")}


def _action(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The action among an entry's own fields or in its `attributes`, by whatever name."""
    attributes = entry.get("attributes")
    fields = {**entry, **(attributes if isinstance(attributes, dict) else {})}
    key = _find(fields, COLUMNS["action"])
    return {"action": fields[key]} if key else {}


# Kaggle --------------------------------------------------------------------------------------------------------------


def fetch(addresses: Collection[str], target: Path) -> None:
    """Bring the files of one Kaggle page, `https://www.kaggle.com/datasets/<owner>/<name>`, into the folder `target`.

    kagglehub keeps its own copy in its cache (KAGGLEHUB_CACHE), and resumes there. Raises DataError, with what to do, where
    the address or the token is missing, or Kaggle refuses.
    """
    by_hand = "or download the zip with a browser, unpack it and set `source: path:<folder>`"
    pattern = r"https://www\.kaggle\.com/datasets/([\w-]+/[\w-]+)/?"
    found = [match[1] for address in addresses if (match := re.fullmatch(pattern, address))]
    if len(found) != 1:
        raise DataError(
            f"{CITATION}: the document does not link it. Look it up on kaggle.com and set "
            f"`urls: [{{url: https://www.kaggle.com/datasets/<owner>/<name>}}]` in `download`, {by_hand}"
        )
    if not _has_token():
        raise DataError(
            f"Kaggle hands {found[0]} out to users alone, and there is no token: make one at kaggle.com/settings, put it in "
            f"~/.kaggle/kaggle.json, in KAGGLE_USERNAME and KAGGLE_KEY, or in KAGGLE_API_TOKEN, {by_hand}"
        )
    import kagglehub  # only here: it takes a moment

    try:
        cached = kagglehub.dataset_download(found[0])
    except Exception as error:  # kagglehub lets through what requests, json and its own client raise
        raise DataError(f"{found[0]}: not had from Kaggle: {error}. Check both, address and token, {by_hand}") from None
    shutil.copytree(cached, target, dirs_exist_ok=True)


def _has_token() -> bool:
    folder = Path(os.environ.get("KAGGLE_CONFIG_DIR", Path.home() / ".kaggle"))
    pair = os.environ.get("KAGGLE_USERNAME") and os.environ.get("KAGGLE_KEY")
    return bool(pair or os.environ.get("KAGGLE_API_TOKEN")) or (folder / "kaggle.json").is_file()
