"""The metadata file of Animal Kingdom's action recognition, as its authors write it: `AR_metadata.xlsx`."""

import io
import zipfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from openpyxl import Workbook
from openpyxl.writer.excel import ExcelWriter

from stages.files import seed_from

METADATA = "AR_metadata.xlsx"
COLUMNS = ("S/N", "video_id", "type", "labels", "list_animal_action")
ACTION_COLUMNS = ("Label", "Category", "Action", "Description")
LABELS: dict[str, tuple[int, str]] = {  # the authors' number of an action, and its category
    "Attending": (2, "Sensing"),
    "Chirping": (15, "Communication"),
    "Eating": (40, "Feeding"),
    "Flying": (52, "Movement"),
    "Jumping": (67, "Movement"),
    "Keeping still": (68, "General"),
    "Moving": (78, "Movement"),
    "Running": (100, "Movement"),
    "Sensing": (102, "Sensing"),
    "Swimming": (123, "Movement"),
    "Walking": (133, "Movement"),
}
LETTERS = 26
WRITTEN = datetime(2022, 6, 1)  # what the file says of its own age: the same each time


class Row(NamedTuple):
    """One row of the sheet AR, but for its number."""

    video_id: str
    given: str  # column `type`: "train" or "test"
    labels: str
    listed: str  # column `list_animal_action`


def new_id(number: int, seed: int) -> str:
    """Eight capital letters that tell nothing; other numbers below 26^8 give other ids."""
    rest = (123_456_789_013 * number + seed_from("action ids", seed)) % LETTERS**8  # no common factor
    letters = []
    for _ in range(8):
        rest, letter = divmod(rest, LETTERS)
        letters.append(chr(ord("A") + letter))
    return "".join(letters)


def row(video_id: str, given: str, seen: Sequence[tuple[str, str]]) -> Row:
    """The row of a clip with these (animal, action). An animal with an apostrophe has a text in the list, as theirs do."""
    actions = dict.fromkeys(action for _, action in seen)
    pairs = repr(list(seen))
    listed = repr([pairs]) if any("'" in animal for animal, _ in seen) else pairs
    return Row(video_id, given, ",".join(str(LABELS[action][0]) for action in actions), listed)


def write_metadata(rows: Sequence[Row], path: Path) -> None:
    """Write the sheets AR, by video id, and Action. The same rows give the same bytes."""
    book = Workbook()
    book.remove(book.worksheets[0])
    sheet = book.create_sheet("AR")
    sheet.append(COLUMNS)
    for number, values in enumerate(sorted(rows), 1):
        sheet.append([number, *(value or None for value in values)])
    actions = book.create_sheet("Action")
    actions.append(ACTION_COLUMNS)
    for action, (label, category) in LABELS.items():
        actions.append([label, category, action, None])
    book.properties.creator, book.properties.created, book.properties.modified = "Ethogram", WRITTEN, WRITTEN
    buffer = io.BytesIO()
    ExcelWriter(book, zipfile.ZipFile(buffer, "w")).save()  # Workbook.save would write the time
    with zipfile.ZipFile(buffer) as dated, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in dated.namelist():
            archive.writestr(zipfile.ZipInfo(name, WRITTEN.timetuple()[:6]), dated.read(name), zipfile.ZIP_DEFLATED)
