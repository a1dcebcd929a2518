"""A downloaded data set, for its readers: which files it has and where they lie."""

import csv
import os
import stat
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from unicodedata import normalize

from stages.files import MANIFEST, DataError, read_json, require_manifest

SOURCE, LISTING = "source.json", "files.csv"
HAND_LABELS = "hand_labels.json"  # a copy of what `download.labels` names; none of the source's own files


class Stat(NamedTuple):
    bytes: int
    mtime_ns: int


@dataclass(frozen=True)
class Source:
    """A downloaded data set, for its readers: `root / path` for each of `files`, {relative path: (bytes, sha256)}."""

    root: Path
    adapter: str
    data: str  # "embedded" or "your data"
    files: dict[str, tuple[int, str | None]]
    mtimes_ns: dict[str, int]  # of a folder read in place; empty otherwise
    labels: Path | None = None  # hand labels that replace the source's


def open_source(folder: Path) -> Source:
    """The data set that `fetch` left in `folder`."""
    about = read_json(folder / SOURCE)
    if not isinstance(about, dict) or not all(isinstance(about.get(key), str) for key in ("source", "adapter", "data")):
        raise _not_ours(folder / SOURCE, "it lacks source, adapter or data")
    labels = folder / HAND_LABELS if "labels" in about else None
    if about["source"].startswith("path:"):
        require_manifest(folder)
        if not isinstance(about.get("root"), str):
            raise _not_ours(folder / SOURCE, "it lacks root")
        files, mtimes_ns = _listing(folder / LISTING)
        return Source(Path(about["root"]).expanduser(), about["adapter"], about["data"], files, mtimes_ns, labels)
    try:
        listed = {path: (entry["bytes"], entry["sha256"]) for path, entry in read_json(folder / MANIFEST).items()}
    except (AttributeError, TypeError, KeyError) as error:
        raise _not_ours(folder / MANIFEST, f"{type(error).__name__}: {error}") from None
    files = {path: found for path, found in listed.items() if path not in (SOURCE, HAND_LABELS)}
    return Source(folder, about["adapter"], about["data"], files, {}, labels)


def _listing(path: Path) -> tuple[dict[str, tuple[int, str | None]], dict[str, int]]:
    """The files of a folder that is read in place, and their times."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        files: dict[str, tuple[int, str | None]] = {row["path"]: (int(row["bytes"]), row["sha256"]) for row in rows}
        return files, {row["path"]: int(row["mtime_ns"]) for row in rows}
    except (OSError, csv.Error, ValueError, KeyError, TypeError) as error:
        raise _not_ours(path, f"{type(error).__name__}: {error}") from None


def _not_ours(path: Path, why: str) -> DataError:
    return DataError(f"{path}: not as `download` leaves it ({why}). Remove its folder, and run `dvc repro`")


def unchanged(source: Source) -> list[str]:
    """How the files differ from what `fetch` saw, by size and time alone, a sentence each; empty when they do not."""
    now = scan(source.root)
    if not source.mtimes_ns:
        now = {path: found for path, found in now.items() if path not in (SOURCE, MANIFEST, HAND_LABELS)}
    new, gone, altered = differences(source, now)
    what = (new, "new"), (gone, "gone"), (altered, "altered")
    return [f"{source.root / path}: {word} since it was downloaded" for paths, word in what for path in paths]


def differences(source: Source, now: dict[str, Stat]) -> tuple[list[str], list[str], list[str]]:
    """The paths that are new, gone and altered since `fetch`."""
    both = now.keys() & source.files.keys()
    altered = (p for p in both if now[p] != (source.files[p][0], source.mtimes_ns.get(p, now[p].mtime_ns)))
    return sorted(now.keys() - both), sorted(source.files.keys() - both), sorted(altered)


def finder(files: Collection[str]) -> Callable[[str], str | None]:
    """A function from a file's name to its path: as it stands, or the only path that ends with it (`images/<name>`).

    Of a name that begins elsewhere (`C:\\photos\\images\\a.jpg`, `/home/x/images/a.jpg`) the longest ending counts that a path
    has. It returns None where there is no such file, or several. Accents count as the same in both forms of Unicode, which
    macOS and some archives write, and capitals as small letters where no path has the name's own.
    """
    by_name: dict[str, list[str]] = defaultdict(list)
    for path in files:
        by_name[_folded(PurePosixPath(path).name)].append(path)

    def find(name: str) -> str | None:
        name = name.replace("\\", "/")
        if name in files:
            return name
        for alike in (_composed, _folded):
            for ending in _endings(name):
                own = by_name[_folded(PurePosixPath(ending).name)]
                if found := [path for path in own if alike("/" + path).endswith(alike(ending))]:
                    return found[0] if len(found) == 1 else None
        return None

    return find


def _composed(name: str) -> str:
    return normalize("NFC", name)


def _folded(name: str) -> str:
    return _composed(_composed(name).casefold())


def _endings(name: str) -> list[str]:
    """What a path may end with, the longest first: the whole name, or of one that begins elsewhere each of its ends."""
    first, *rest = name.split("/")
    begins_elsewhere = not first or first.endswith(":")
    return ["/" + "/".join(rest[start:]) for start in range(len(rest))] if begins_elsewhere else [f"/{name}"]


def scan(root: Path) -> dict[str, Stat]:
    """{relative path: size and time} of every file below `root`, sorted. Links are followed, loops are a DataError."""
    if not root.is_dir():
        kind = "is a file, not a folder" if root.exists() else "no such folder"
        raise DataError(f"{root}: {kind}. Set `source: path:<folder>` to the folder that holds the data")
    try:
        found = dict(sorted(_walk(root, "", ())))
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be read: {error.strerror}. Mend or remove it") from None
    if not found:
        raise DataError(f"{root}: an empty folder. Set `source: path:<folder>` to the folder that holds the data")
    return found


def _walk(folder: Path, prefix: str, above: tuple[tuple[int, int], ...]) -> Iterator[tuple[str, Stat]]:
    here = folder.stat()
    if (here.st_dev, here.st_ino) in above:
        raise DataError(f"{folder}: a link to a folder that it lies in, without end. Remove the link")
    with os.scandir(folder) as entries:
        for entry in entries:
            name, found = prefix + entry.name, entry.stat()
            if entry.name.encode(errors="ignore").decode() != entry.name:
                raise DataError(f"{folder}: the name {entry.name!r} is not UTF-8. Rename the file")
            if stat.S_ISDIR(found.st_mode):
                yield from _walk(Path(entry.path), name + "/", (*above, (here.st_dev, here.st_ino)))
            elif stat.S_ISREG(found.st_mode):
                yield name, Stat(found.st_size, found.st_mtime_ns)
            else:
                raise DataError(f"{entry.path}: neither a file nor a folder. Remove it")
