"""Which files show one event: by the time between them, or by a list that says so.

The tables of files that come in have the columns `path` (with /, each once), and for `by_gap` `captured_at` (datetime64, or
missing) and `is_video`. A sequence's id is the path of its first file, or what the list calls it.
"""

import posixpath
from pathlib import Path

import numpy as np
import pandas as pd

from stages.datasets.caltech_camera_traps import read
from stages.files import DataError
from stages.sources import finder

_PATH = ("path", "file", "filepath", "file_path", "filename", "file_name")
_SEQUENCE = ("sequence", "sequence_id", "seq_id")


def by_gap(files: pd.DataFrame, gap_s: float) -> pd.Series:
    """The sequence of each file: pictures of one folder, each at most `gap_s` seconds after the one before.

    A picture without a time, and every video, is a sequence of its own. -> ids, on the index of `files`.
    """
    table = pd.DataFrame({
        "path": files["path"].to_numpy(),
        "folder": pd.factorize(np.array([posixpath.dirname(path) for path in files["path"]], dtype=object))[0],
        "time": files["captured_at"].to_numpy(dtype="datetime64[us]"),
        "alone": (files["is_video"] | files["captured_at"].isna()).to_numpy(dtype=bool),
    }).sort_values(["folder", "alone", "time", "path"])  # fmt: skip
    before = table[["folder", "time"]].shift()
    joined = (
        ~table["alone"] & (table["folder"] == before["folder"]) & ((table["time"] - before["time"]).dt.total_seconds() <= gap_s)
    )
    first = table["path"].where(~joined).ffill()
    return pd.Series(first.sort_index().to_numpy(), index=files.index, name="sequence", dtype="str")


def from_file(path: Path, files: pd.DataFrame) -> tuple[pd.Series, list[str]]:
    """The sequence of each file as a list says: a CSV with the columns `path` and `sequence`, or COCO Camera Traps JSON.

    Names in the list match as stages/sources.py `finder` has it. A file that the list does not name, or gives no sequence,
    is one of its own. -> (ids, on the index of `files`; the names in the list that match no file, or several). Raises
    DataError for a list that cannot be read, that gives one file two sequences, or that matches no file.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file. Give a CSV with the columns `path` and `sequence`, or COCO Camera Traps JSON")
    listed = _from_json(path) if path.suffix.lower() == ".json" else _from_csv(path)
    find = finder(dict.fromkeys(files["path"]))
    listed["found"] = [find(name) for name in listed["path"]]
    named = listed[listed["found"].notna()].drop_duplicates(["found", "sequence"])
    if named.empty:
        names = ", ".join(listed["path"].head(3)) or "nothing"
        raise DataError(f"{path}: no sequence for any of the files. It names {names}; the files are {_some(files['path'])}")
    if len(twice := named[named["found"].duplicated(keep=False)]):
        one = twice[twice["found"] == twice["found"].iloc[0]]
        raise DataError(f"{path}: {one['found'].iloc[0]} is in the sequences {_some(one['sequence'])}. Keep one")
    ids = files["path"].map(named.set_index("found")["sequence"]).fillna(files["path"])
    return ids.rename("sequence").astype("str"), listed.loc[listed["found"].isna(), "path"].tolist()


def _some(values: pd.Series) -> str:
    return ", ".join(values.head(3)) + (", ..." if len(values) > 3 else "")


def _from_json(path: Path) -> pd.DataFrame:
    pictures = read(path.parent, [path.name], (path.name,)).pictures
    return pictures.dropna(subset="seq_id").rename(columns={"file_name": "path", "seq_id": "sequence"})[["path", "sequence"]]


def _from_csv(path: Path) -> pd.DataFrame:
    try:
        with path.open(encoding="utf-8-sig") as file:
            header = file.readline()
        separator = max(",;\t", key=header.count)
        table = pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f'{path}: not UTF-8 ({error.reason}). Save it as "CSV UTF-8" in the spreadsheet program') from None
    except (OSError, ValueError) as error:  # pandas' errors of parsing are ValueErrors
        raise DataError(f"{path}: not a CSV table: {error}") from None
    if not isinstance(table.index, pd.RangeIndex):  # pandas takes the first column for an index then
        raise DataError(f"{path}: not a CSV table: line 2 has more values than the header")
    places = {}
    for column, names in (("path", _PATH), ("sequence", _SEQUENCE)):
        known = [name for name in table.columns if name.strip().casefold() in names]
        if len(known) != 1:
            raise DataError(
                f"{path}: needs one column `{column}` (or {', '.join(names[1:])}), found {', '.join(known) or 'none'} "
                f"among {', '.join(map(str, table.columns))}"
            )
        places[known[0]] = column
    table = table.rename(columns=places)[["path", "sequence"]]
    table["sequence"] = table["sequence"].str.strip()
    return table[table["sequence"] != ""]
