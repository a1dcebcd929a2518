"""Source -> data/raw/<dataset>, in the authors' own format: embedded scenes, an address, or a folder of the user's own.

`look` runs every time and is quick: a fingerprint of each source as it is now. `fetch` depends on its own, so that a changed
folder is read again. A folder is read in place: never altered, never copied; the output then is a list of its files.
"""

import argparse
import contextlib
import csv
import hashlib
import importlib
import os
import shutil
from collections.abc import Mapping
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from stages.archives import ENDINGS, disk_error, require_space, unpack
from stages.command import run
from stages.files import MANIFEST, DataError, new_folder, read_json, sha256_bytes, sha256_file, write_json
from stages.settings import Record, read_params, section
from stages.sources import HAND_LABELS, LISTING, SOURCE, Stat, differences, open_source, scan
from stages.transfer import Url, file_name, retrieve

PROBLEM = "problem"  # in the place of a fingerprint: why the source cannot be used


class DownloadSettings(Record):
    adapter: str  # which file of stages/datasets reads the format
    source: str  # embedded | url | path:<folder>
    urls: tuple[Url, ...] = ()  # with `url`: instead of the adapter's own addresses
    embedded: dict[str, Any] = Field({})  # with `embedded`: what the renderer takes; its own record checks it
    labels: str | None = None  # a COCO Camera Traps JSON of hand labels, which replace the source's own (stages/labels.py)

    @field_validator("adapter")
    @classmethod
    def _known(cls, name: str) -> str:
        known = sorted(path.stem for path in Path(__file__).with_name("datasets").glob("[!_]*.py"))
        if name not in known:
            raise ValueError(f"no such adapter in stages/datasets. There is: {', '.join(known)}")
        return name

    @field_validator("source")
    @classmethod
    def _allowed(cls, source: str) -> str:
        if source not in ("embedded", "url") and not (source.startswith("path:") and source[5:].strip()):
            raise ValueError("expected `embedded`, `url` or `path:<folder>`, for instance `path:/data/cct`")
        return source


def _root(settings: DownloadSettings, out: Path) -> Path:
    root, output = Path(settings.source.removeprefix("path:")).expanduser(), out.resolve()
    if output.is_relative_to(root.resolve()) or root.resolve().is_relative_to(output):
        raise DataError(f"{root}: lies in {out} or holds it, and {out} is written anew. Keep the data elsewhere")
    return root


def _hand_labels(settings: DownloadSettings, out: Path) -> Path:
    path = Path(settings.labels or "").expanduser()
    if not path.is_file():
        raise DataError(f"{path}: no such file. Set `download.labels` to the JSON that holds the hand labels, or to null")
    if path.resolve().is_relative_to(out.resolve()):
        raise DataError(f"{path}: lies in {out}, which is written anew. Keep the hand labels elsewhere")
    if settings.source.startswith("path:") and path.resolve().is_relative_to(_root(settings, out).resolve()):
        raise DataError(f"{path}: lies in the source, whose own list it would be taken for. Keep the hand labels elsewhere")
    return path


def _fingerprint(files: dict[str, Stat]) -> str:
    lines = (f"{path}\0{found.bytes}\0{found.mtime_ns}\n" for path, found in files.items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def look(settings: DownloadSettings, raw: Path) -> dict[str, Any]:
    """The fingerprint of a source; says what changed in a folder that was read before, to `raw`, data/raw/<dataset>.

    Raises DataError for a folder, or a file of hand labels, that cannot be used.
    """
    labels = {}
    if settings.labels is not None:
        read_json(path := _hand_labels(settings, raw))  # before a long download, and by the user's own name for it
        labels = {"labels": sha256_file(path)}
    about: dict[str, Any] = {"adapter": settings.adapter, "source": settings.source}
    if not settings.source.startswith("path:"):
        used = settings.urls if settings.source == "url" else settings.embedded
        plain = [url.model_dump() for url in used] if isinstance(used, tuple) else used
        return about | {"settings": plain} | labels
    root = _root(settings, raw)
    files = scan(root)
    with contextlib.suppress(DataError):  # no earlier run, or not as it left it: `fetch` writes it anew
        before = open_source(raw)
        new, gone, altered = map(len, differences(before, files))
        if before.root == root and (new or gone or altered):
            print(f"{root}: {new} files new, {gone} gone, {altered} altered since {raw} was written")
    total = sum(found.bytes for found in files.values())
    return about | {"root": str(root.resolve()), "files": len(files), "bytes": total, "sha256": _fingerprint(files)} | labels


def look_all(params: dict[str, Any], profile: str, out: Path) -> None:
    """Write <dataset>.json for each data set of params.yaml into the folder `out`, data/raw/look.

    A source that cannot be used is a problem of its data set alone: `fetch` stops at it.
    """
    with new_folder(out) as folder:
        for dataset in params["datasets"]:
            settings = section(f"datasets.{dataset}.{profile}.download", DownloadSettings, params)
            try:
                found = look(settings, out.with_name(dataset))
            except DataError as error:
                found = {PROBLEM: str(error)}
            write_json(folder / f"{dataset}.json", found)


# Fetching it ---------------------------------------------------------------------------------------------------------


def fetch(
    settings: DownloadSettings, where: str, dataset: str, looked: Mapping[str, Any], out: Path, cache: Path, seed: int
) -> None:
    """Write the folder `out`: the data set, or the list of its files, a copy of the hand labels, and `source.json` about it.

    `where` is the settings' path in params.yaml, for messages; `looked` is what `look` found; `cache / dataset` keeps archives
    between runs.
    """
    if PROBLEM in looked:
        raise DataError(looked[PROBLEM])
    urls: list[dict[str, Any]] = []
    root = "."
    with new_folder(out) as folder:
        if settings.source == "embedded":
            _embed(settings, where, dataset, folder, seed)
        elif settings.source == "url":
            urls = _fetch_url(settings, cache / dataset, folder)
        else:
            root = settings.source.removeprefix("path:")
            listed = _list(_root(settings, out), folder / LISTING, looked.get("sha256"))
        files = scan(folder) if root == "." else listed
        about: dict[str, Any] = {"adapter": settings.adapter, "source": settings.source, "root": root}
        if settings.labels is not None:
            sha256 = _copy_labels(_hand_labels(settings, out), folder / HAND_LABELS, looked.get("labels"))
            about["labels"] = {"path": settings.labels, "sha256": sha256}
        data = "embedded" if settings.source == "embedded" else "your data"
        sizes = {"files": len(files), "bytes": sum(found.bytes for found in files.values())}
        write_json(folder / SOURCE, about | {"data": data, "urls": urls} | sizes)


def _embed(settings: DownloadSettings, where: str, dataset: str, folder: Path, seed: int) -> None:
    try:
        module = importlib.import_module(f"stages.embedded.{dataset}")
    except ModuleNotFoundError as error:
        if error.name != f"stages.embedded.{dataset}":
            raise
        known = sorted(path.stem for path in Path(__file__).with_name("embedded").glob("[!_]*.py"))
        raise DataError(f"no embedded data set `{dataset}`. There is: {', '.join(known)}") from None
    nested: Any = settings.embedded
    for key in reversed([*where.split("."), "embedded"]):
        nested = {key: nested}
    module.write(folder, section(f"{where}.embedded", module.SETTINGS, nested), seed)


def _list(root: Path, listing: Path, looked: str | None) -> dict[str, Stat]:
    """Write `listing`: path, bytes, mtime_ns, sha256 of each file below `root`."""
    from tqdm import tqdm

    def digest(path: str) -> str | OSError:
        try:
            return sha256_file(root / path)
        except OSError as error:
            return error

    files = scan(root)
    with ThreadPool(min(16, os.cpu_count() or 1)) as pool:
        hashed = pool.imap(digest, files, chunksize=16)
        digests = list(tqdm(hashed, f"reading {root}", len(files), unit="", disable=None, leave=False))
    if unread := [error for error in digests if isinstance(error, OSError)]:
        shown = "; ".join(f"{error.filename}: {error.strerror}" for error in unread[:5])
        raise DataError(f"{root}: {len(unread)} of {len(files)} files cannot be read: {shown}. Allow it, or remove them")
    if scan(root) != files or looked not in (None, _fingerprint(files)):
        raise DataError(f"{root}: changed while it was read. Run `dvc repro` again when nothing writes to it")
    with listing.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")  # names may hold line breaks
        writer.writerow(("path", "bytes", "mtime_ns", "sha256"))
        writer.writerows((path, *files[path], sha256) for path, sha256 in zip(files, digests, strict=True))
    return files


def _copy_labels(path: Path, copy: Path, looked: str | None) -> str:
    shutil.copyfile(path, copy)
    if (sha256 := sha256_file(copy)) != looked:
        raise DataError(f"{path}: changed since it was looked at. Run `dvc repro` again when nothing writes to it")
    return sha256


def _fetch_url(settings: DownloadSettings, cache: Path, folder: Path) -> list[dict[str, Any]]:
    """Download by the adapter's own `fetch`, where plain addresses do not serve it, else from its addresses."""
    from stages.datasets import adapter

    if (own := getattr(adapter(settings.adapter), "fetch", None)) is None:
        return _fetch_all(_addresses(settings), cache, folder)
    own([url.url for url in settings.urls], folder)
    return [{"url": url.url} for url in settings.urls]


def _addresses(settings: DownloadSettings) -> tuple[Url, ...]:
    from stages.datasets import adapter  # not above: it imports pandas, and `look` is quick

    if urls := settings.urls or tuple(Url(url=url) for url in adapter(settings.adapter).URLS):
        return urls
    raise DataError(
        f"{settings.adapter}: no public address is known. Get the data from its authors (CITATION in "
        f"stages/datasets/{settings.adapter}.py) and set `source: path:<folder>`, or give `urls`"
    )


def _fetch_all(urls: tuple[Url, ...], cache: Path, folder: Path) -> list[dict[str, Any]]:
    """Download each address into `cache`, unpack or place it in `folder`; return what `source.json` says of them."""
    cache.mkdir(parents=True, exist_ok=True)
    about, taken = [], {SOURCE, MANIFEST, HAND_LABELS}
    for number, url in enumerate(urls):
        name = file_name(url.url)
        kept = cache / f"{sha256_bytes(url.url.encode())[:8]}-{name}"  # two addresses may end in one name
        sha256 = retrieve(url, kept)
        about.append({"url": url.url, "sha256": sha256, "bytes": kept.stat().st_size})
        part = folder / f".{number}"  # below `folder`, so that what a kill leaves is removed with it
        if name.lower().endswith(ENDINGS):
            unpack(kept, part)
        else:
            part.mkdir()
            require_space(folder, kept.stat().st_size, f"copying {kept}")
            try:
                shutil.copyfile(kept, part / name)
            except OSError as error:
                raise disk_error(error, f"copying {kept}", folder, kept.stat().st_size) from None
        for path in scan(part):
            if path.casefold() in taken:
                raise DataError(f"{url.url}: {path!r} is also in an earlier archive, or is a name that is kept")
            taken.add(path.casefold())
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            os.replace(part / path, folder / path)
        shutil.rmtree(part)
    return about


def main() -> None:
    parser = argparse.ArgumentParser(description="source -> data/raw/<dataset>, in the authors' own format")
    commands = parser.add_subparsers(dest="command", required=True)
    looks = commands.add_parser("look", help="a fingerprint of each data set's source as it is now")
    looks.add_argument("--profile", required=True, help="whose settings of each data set are used")
    looks.add_argument("--out", type=Path, required=True, help="folder to write, beside those of the data sets")
    fetches = commands.add_parser("fetch", help="the data, or the list of a folder's files")
    fetches.add_argument("--params", required=True, help="path of the settings in params.yaml")
    fetches.add_argument("--look", type=Path, required=True, help="what `look` wrote of it")
    fetches.add_argument("--dataset", required=True, help="name; of the renderer too, for `source: embedded`")
    fetches.add_argument("--cache", type=Path, default=Path(".work/downloads"), help="keeps downloads between runs")
    fetches.add_argument("--seed", type=int, required=True, help="of the embedded data")
    fetches.add_argument("--out", type=Path, required=True, help="folder to write")
    args = parser.parse_args()
    params = read_params()
    if args.command == "look":
        look_all(params, args.profile, args.out)
    else:
        settings = section(args.params, DownloadSettings, params)
        fetch(settings, args.params, args.dataset, read_json(args.look), args.out, args.cache, args.seed)


if __name__ == "__main__":
    run(main)
