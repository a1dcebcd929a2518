"""Animal Kingdom's action recognition: clips of animals, and what they do. Ng et al. 2022; github.com/sutdcv/Animal-Kingdom

What is read, the first that is there:
    AR_metadata.xlsx  its sheet AR, a row for each clip: video_id, type (train, test), labels, list_animal_action or list_animal
    text tables       those columns, or the authors' train.csv and val.csv in the manner of Charades, a row for each frame:
                      `original_vido_id video_id frame_id path labels`, perhaps with `type`; without it the file's name tells:
                      train, and val or test for the test list. Spaces, semicolons, commas or tabs between, quotes or not
Labels are numbers of actions with commas between. The workbook's sheet Action names them, and df_action.xlsx those that it
lacks, or all where there is no workbook. They disagree on 49, 50 and 81 to 84: of 636 labels that are one of these, 492 have
the name of the sheet Action beside an animal of the same row, none has that of df_action.xlsx.
A clip is a video named by its id, `<id>.mp4` for one, or a folder of frames named so, anywhere below the root.

Kept are clips of one action and one kind of animal. A kind is what the list names, capitals and spaces aside: `Lion Young` is
another than `Lion`. The authors' rows are 30,100: 16,476 of several actions, 318 of one action and several kinds, 13,306 left.
Where a name has an apostrophe the list holds a text, which is a list again: `['[("Russell\\'S Viper", \\'Moving\\')]']`. Taking
such a text for one kind gives 13,312, the document's number; the 6 between name several kinds, and have a reason of their own.
"""

import ast
import csv
import re
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from zipfile import ZipFile

from stages.datasets import Raw, clips, label_of, tables
from stages.files import DataError

CITATION = "Ng et al. 2022, Animal Kingdom: A Large and Diverse Dataset for Animal Behavior Understanding (CVPR)"
LICENCE = "given on request, for research alone: https://github.com/sutdcv/Animal-Kingdom"
URLS: tuple[str, ...] = ()  # ask by the form that the authors' page links, then set `source: path:<folder>`
METADATA, ACTIONS = "AR_metadata.xlsx", "df_action.xlsx"
SHEET = "AR"
_TYPES = {"train": "train", "test": "test"}
_LISTS = {"train": "train", "val": "test", "test": "test"}  # by a text table's name: the authors call their test list val
_IDS = ("original_vido_id", "original_video_id", "video_id")  # the first that is there: beside the others the last is a number
_ANIMALS = ("list_animal_action", "list_animal")
_KNOWN = {*_IDS, *_ANIMALS, "type", "labels"}
_NUMBER = r"\d{1,9}"
_NUMBERS = re.compile(rf"{_NUMBER}(\s*,\s*{_NUMBER})*", re.ASCII)
_DEEP = 4  # lists within texts within lists
# Of a workbook: a hostile one of a few kB may say that it has any number. The authors' has 18 million bytes, 30,101 rows.
_MOST_BYTES, _MOST_ROWS, _MOST_COLUMNS = 256 * 2**20, 2**20, 64


class _Row(NamedTuple):
    """A clip, as written."""

    where: str  # file and row
    video_id: str
    given: str  # column `type`, or what the file's name says; blank where neither does
    labels: tuple[str, ...]  # of a table of frames perhaps several
    animals: str | None  # None where the table has no such column
    why: str = ""  # what is wrong with the row itself


def read(root: Path, files: Collection[str], annotations: tuple[str, ...]) -> Raw:
    """Read the tables below `root`: those named, else the workbook, else every text table with the columns. Prints what it is.

    Raises DataError, with what is expected, where there is nothing of it.
    """
    names = list(annotations) or _listed(root, files)
    books = [name for name in names if name.lower().endswith(".xlsx")]
    actions = _actions(root, files, books)
    rows = [row for name in names for row in (_of_book(root, name) if name in books else _of_text(root, name))]
    print(
        f"{', '.join(names)}: {len(rows)} clips, {len(actions)} named actions"
        + ("" if actions else f": no {ACTIONS}, which names")
    )
    if all(row.animals is None for row in rows):
        print(f"  no column {' or '.join(_ANIMALS)}: clips of several kinds of animals cannot be told, and are kept")
    return _raw(rows, actions, _paths(files))


def _listed(root: Path, files: Collection[str]) -> list[str]:
    books = [name for name in sorted(files) if PurePosixPath(name).name.casefold() == METADATA.casefold()]
    if len(books) > 1:
        raise DataError(f"{root}: several tables, {', '.join(books)}. Name one in `clean.annotations`")
    texts = [name for name in sorted(files) if name.lower().endswith((".csv", ".txt")) and _is_table(root / name)]
    if not (books or texts):
        raise DataError(
            f"{root}: neither {METADATA} nor a text table with the columns video_id and labels among {len(files)} files. "
            "The authors give both with the clips: ask by the form at https://github.com/sutdcv/Animal-Kingdom"
        )
    return books or texts


# The tables ----------------------------------------------------------------------------------------------------------


def _sheet(path: Path, sheet: str | None) -> Iterator[tuple[object, ...]] | None:
    """The rows of a sheet, header first; None where there is no such sheet. `sheet` None: the first."""
    import openpyxl  # `download` imports this file, and opens no workbook

    try:
        with ZipFile(path) as parts:
            if (unpacked := sum(part.file_size for part in parts.infolist())) > _MOST_BYTES:
                raise ValueError(f"unpacked it would have {unpacked:,} bytes, more than {_MOST_BYTES:,}")
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        if sheet is not None and sheet not in book.sheetnames:
            return None
        page = book[book.sheetnames[0] if sheet is None else sheet]
        page.reset_dimensions()  # what a file says of its own size may be wrong
        rows = [_trimmed(row) for row in page.iter_rows(max_row=_MOST_ROWS + 1, max_col=_MOST_COLUMNS, values_only=True)]
        if len(rows) > _MOST_ROWS:
            raise ValueError(f"more than {_MOST_ROWS:,} rows")
        return iter(rows)
    except Exception as error:  # zip, XML and openpyxl raise KeyError, IndexError, zlib.error, ParseError, AttributeError, ...
        why = str(error) or type(error).__name__
        raise DataError(f"{path}: no workbook that can be read: {why}. Fetch it again, or save it anew as .xlsx") from None


def _trimmed(cells: tuple[object, ...]) -> tuple[object, ...]:
    """Without the blank cells at the end."""
    return cells[: next((place for place in range(len(cells), 0, -1) if cells[place - 1] is not None), 0)]


def _text(cell: object) -> str:
    """What a cell says: a number that lost its text form in a spreadsheet program comes without `.0`."""
    if cell is None:
        return ""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell).strip()


def _columns(path: Path, header: list[str]) -> dict[str, int]:
    """Where each known column stands, `id` and `animals` among them. Raises DataError for one that is needed and not there."""
    names = [name.strip().casefold() for name in header]
    places = {name: names.index(name) for name in _KNOWN if name in names}
    for key, choices in (("id", _IDS), ("animals", _ANIMALS)):
        if (found := next((name for name in choices if name in places), None)) is not None:
            places[key] = places[found]
    if missing := [name for name in ("id", "labels") if name not in places]:
        wanted = " and ".join("video_id" if name == "id" else name for name in missing)
        raise DataError(f"{path}: no column {wanted}. Found: {', '.join(header) or 'nothing'}")
    return places


def _of_book(root: Path, name: str) -> Iterator[_Row]:
    if (rows := _sheet(root / name, SHEET)) is None:
        raise DataError(f"{root / name}: no sheet {SHEET}. It is where the authors list the clips")
    places = _columns(root / name, [_text(cell) for cell in next(rows, ())])
    if "type" not in places:
        raise DataError(f"{root / name}: no column type: it says which clips are for train, which for test")
    for number, cells in enumerate(rows, 2):
        texts = [_text(cell) for cell in cells]
        if any(texts):
            yield _row(f"{name} row {number}", texts, places)


def _row(where: str, texts: list[str], places: dict[str, int], given: str = "") -> _Row:
    def at(column: str) -> str:
        return texts[places[column]] if column in places and places[column] < len(texts) else ""

    labels = at("labels").strip(' "')
    return _Row(where, at("id"), at("type") or given, (labels,), at("animals") if "animals" in places else None)


def _separator(header: str) -> str:
    """The one that finds most of the known columns; a space where none finds any."""

    def fit(mark: str) -> int:
        return sum(name.strip(' "').casefold() in _KNOWN for name in header.split(mark))

    return max(" ;,\t", key=fit)


def _is_table(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            header = file.readline(4096)
    except OSError:
        return False
    names = {name.strip(' "\r\n').casefold() for name in header.split(_separator(header))}
    return "labels" in names and not names.isdisjoint(_IDS)


def _of_text(root: Path, name: str) -> Iterator[_Row]:
    """The clips of a text table; of a table of frames one row each, with all that its frames say."""
    path = root / name
    given = _LISTS.get(PurePosixPath(name).stem.casefold(), "")
    found: dict[str, _Row] = {}
    line = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            start = file.readline()
            file.seek(0)
            rows = csv.reader(file, delimiter=_separator(start))
            header = next(rows, [])
            places = _columns(path, header)
            of_frames = "frame_id" in [cell.strip().casefold() for cell in header]
            told = [places[name] for name in ("id", "labels", "type") if name in places]
            said: set[tuple[str, ...]] = set()
            for cells in rows:
                line = rows.line_num
                if not any(cells):
                    continue
                if of_frames and len(cells) == len(header):  # 4.4 million rows, most of which say what the row before says
                    if (now := tuple(cells[place] for place in told)) in said:
                        continue
                    said.add(now)
                row = _row(f"{name} line {line}", [cell.strip() for cell in cells], places, given)
                if len(cells) != len(header):
                    yield row._replace(why=f"{len(cells)} values, and {len(header)} columns")
                elif not of_frames or not row.video_id:
                    yield row
                elif (first := found.setdefault(row.video_id, row)) is not row:
                    _join(found, first, row)
    except UnicodeDecodeError as error:
        raise DataError(f'{path}: not UTF-8 after line {line}: {error.reason}. Save it as "CSV UTF-8"') from None
    except (OSError, csv.Error) as error:
        raise DataError(f"{path}: no text table: after line {line}: {error}") from None
    yield from found.values()


def _join(found: dict[str, _Row], first: _Row, frame: _Row) -> None:
    if frame.given != first.given and not first.why:
        found[first.video_id] = first._replace(why=f"frames of {first.given} and of {frame.given}")
    elif frame.labels[0] not in first.labels:
        found[first.video_id] = first._replace(labels=(*first.labels, frame.labels[0]))


def _actions(root: Path, files: Collection[str], books: list[str]) -> dict[int, str]:
    """{number: name} of the actions."""
    named: dict[int, str] = {}
    others = [name for name in sorted(files) if PurePosixPath(name).name.casefold() == ACTIONS]
    if not books:  # beside a text table that was asked for by name
        books = [name for name in sorted(files) if PurePosixPath(name).name.casefold() == METADATA.casefold()]
    for name, sheet, number, action in [
        *((book, "Action", "label", "action") for book in books),
        *((other, None, "index", "action") for other in others),
    ]:
        if (rows := _sheet(root / name, sheet)) is None:
            continue
        header = [_text(cell).casefold() for cell in next(rows, ())]
        if number not in header or action not in header:
            raise DataError(f"{root / name}: no columns {number} and {action} to name actions. Found: {', '.join(header)}")
        for cells in rows:
            at = {name: _text(cell) for name, cell in zip(header, cells, strict=False)}  # a row may end before its header does
            key, text = at.get(number, ""), at.get(action, "")
            if re.fullmatch(_NUMBER, key, re.ASCII) and text:
                named.setdefault(int(key), label_of(text))
    return named


# Rows -> what is kept ------------------------------------------------------------------------------------------------


def numbers_of(labels: tuple[str, ...]) -> set[int] | None:
    """The numbers of actions in one text or several, `2,40` for one; None where a text is something else."""
    if not all(_NUMBERS.fullmatch(text) for text in labels):
        return None
    return {int(number) for text in labels for number in text.split(",")}


def animals_of(listed: str) -> tuple[list[str], int] | None:
    """(kinds of animals in a list as the authors write it, by their first mention; how many there seem to be); None: no list.

    What seems to be: a text within the list, which holds a list again, counts as one.
    """
    kinds: dict[str, str] = {}
    seem: set[str] = set()
    if not _gather(listed, kinds, seem, 0) or not kinds:
        return None
    return list(kinds.values()), len(seem)


def _gather(listed: str, kinds: dict[str, str], seem: set[str], depth: int) -> bool:
    try:
        entries = ast.literal_eval(listed.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return False
    if not isinstance(entries, list) or depth > _DEEP:
        return False
    for entry in entries:
        if isinstance(entry, str) and entry.strip().startswith("["):
            if not _gather(entry, kinds, set(), depth + 1):
                return False
            seem.add("[")
            continue
        name = entry[0] if isinstance(entry, (tuple, list)) and len(entry) == 2 else entry
        if not isinstance(name, str) or not name.strip():
            return False
        written = " ".join(name.split())
        kinds.setdefault(written.casefold(), written)
        seem.add(written.casefold())
    return True


def _paths(files: Collection[str]) -> dict[str, list[str]]:
    """{name of a clip in small letters: its paths}: of videos without their ending, of folders of frames as they are called."""
    found: dict[str, list[str]] = {}
    for path, own in clips(files).items():
        name = PurePosixPath(path)
        found.setdefault((name.stem if own == [path] else name.name).casefold(), []).append(path)
    return found


def _raw(rows: list[_Row], actions: dict[int, str], paths: dict[str, list[str]]) -> Raw:
    pictures: list[dict[str, object]] = []
    labels: list[dict[str, object]] = []
    rejects: list[dict[str, object]] = []
    said: dict[str, set[tuple[object, ...]]] = {}
    for row in rows:
        said.setdefault(row.video_id, set()).add(row[2:])
    seen: dict[str, str] = {}
    for row in rows:
        own = paths.get(row.video_id.casefold(), [])
        file_name = own[0] if len(own) == 1 else f"{row.video_id}.mp4" if row.video_id else ""
        found = _refused(row, actions, len(said[row.video_id]) > 1, seen.get(row.video_id))
        seen.setdefault(row.video_id, row.where)
        if isinstance(found, str):
            reason, _, detail = found.partition(": ")
            rejects.append({"kind": "picture", "row": row.where, "name": file_name, "reason": reason, "detail": detail})
            continue
        label, animal = found
        about: dict[str, object] = {"row": row.where, "sample_id": row.video_id, "file_name": file_name, "species": animal}
        pictures.append(about | {"seq_id": row.video_id, "given_split": _TYPES.get(row.given.casefold())})
        labels.append({"row": row.where, "sample_id": row.video_id, "label": label, "has_box": False})
    return tables(pictures, labels, rejects, videos=True)


def _refused(row: _Row, actions: dict[int, str], several: bool, before: str | None) -> str | tuple[str, str | None]:
    """Why a row is not kept, `reason: detail`; else its class and its animal, None where the table names none."""
    if row.why:
        return f"unreadable_row: {row.why}"
    if not row.video_id:
        return "no_id: it names no video"
    if several:
        return "contradiction: other rows of this id say something else"
    if before is not None:
        return f"duplicate_id: named already, {before}"
    if row.given and row.given.casefold() not in _TYPES:
        return f"unknown_type: {row.given!r} is neither train nor test"
    if not any(row.labels):
        return "no_label: it names no action"
    numbers = numbers_of(row.labels)
    if numbers is None:
        return f"unreadable_label: {' / '.join(row.labels)!r}: numbers of actions with commas between are wanted"
    if actions and (strangers := sorted(numbers - set(actions))):
        return f"unknown_label: no action has the number {strangers[0]} ({ACTIONS} beside the table names them all)"
    if len(numbers) > 1:
        return f"several_actions: {', '.join(actions.get(number, str(number)) for number in sorted(numbers))}"
    animals = None if row.animals is None else animals_of(row.animals)
    if row.animals is not None and animals is None:
        return f"unreadable_list: {row.animals[:80]!r}: no list of animals" if row.animals else "no_animal: its list is blank"
    kinds, seem = animals or ([], 0)
    if len(kinds) > 1:
        return f"several_animals{'' if seem > 1 else '_in_text'}: {', '.join(kinds)}"
    (number,) = numbers
    return actions.get(number, str(number)), kinds[0] if kinds else None
