"""One file from an address: https alone, resumed after a cut or a kill, checked before it gets its name."""

import codecs
import functools
import ipaddress
import os
import re
import sys
import time
from io import FileIO
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import filelock
from pydantic import Field, field_validator

from stages.archives import ENDINGS, disk_error, require_archive, require_space
from stages.files import DataError, sha256_file, write_text
from stages.settings import Record

TRIES = 5  # in a row without a new byte
WAIT_S = 1.0  # before the second try; doubled each time: 15 s in all
TIMEOUT_S = (10, 60)  # to connect, between two bytes
CHUNK_BYTES = 2**16


def _unsafe(url: str) -> str:
    """Why an address is not followed; empty when it is."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.username or parts.password:
        return "it holds a name or a password, which would be written into the results"
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    allowed = bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and loopback))
    return "" if allowed else "only https is followed (http on this machine itself)"


class Url(Record):
    url: str
    # None: not known, recorded at the first download
    sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    bytes: int | None = Field(default=None, ge=0)

    @field_validator("url")
    @classmethod
    def _safe(cls, url: str) -> str:
        if reason := _unsafe(url):
            raise ValueError(reason)
        return url


def file_name(url: str) -> str:
    name = PurePosixPath(unquote(urlsplit(url).path)).name
    return re.sub(r"[^\w.+ -]", "_", name).lstrip(".") or "download"


def retrieve(url: Url, kept: Path) -> str:
    """Bring `url` to `kept`, through pooch, unless it is there already and sound; return its sha256.

    Where the user knows no sha256, the first download's is written beside `kept` and holds while `kept` lies there.
    """
    import pooch

    pooch.get_logger().setLevel("WARNING")
    note = kept.with_name(f"{kept.name}.sha256")
    known = url.sha256 or (_noted(note) if kept.exists() else None)
    try:
        pooch.retrieve(url.url, known, kept.name, kept.parent, downloader=functools.partial(_transfer, url, kept))
    except ValueError as error:  # pooch's word for another hash; what lay at `kept` still does
        remedy = "correct `urls`" if url.sha256 else f"remove {kept} if the authors published a new version"
        raise DataError(f"{url.url}: refused, it is not the file that was expected: {error} Try again, or {remedy}") from None
    sha256 = known or sha256_file(kept)
    write_text(note, sha256 + "\n")
    return sha256


def _noted(note: Path) -> str | None:
    """The sha256 in a note; None where there is none, or half of one."""
    text = note.read_bytes().strip() if note.exists() else b""
    return text.decode() if re.fullmatch(rb"[0-9a-f]{64}", text) else None


def _transfer(wanted: Url, kept: Path, url: str, output_file: str, _pooch: object) -> None:
    """pooch's downloader: by way of `<kept>.part`, resumed after a cut or a kill."""
    part = kept.with_name(f"{kept.name}.part")
    try:
        with filelock.FileLock(f"{part}.lock", timeout=0):
            _locked_transfer(wanted, kept, part, Path(output_file))
    except filelock.Timeout:
        raise DataError(f"{part}: another process is downloading it. Wait until it ends") from None


def _locked_transfer(wanted: Url, kept: Path, part: Path, out: Path) -> None:
    try:
        with part.open("ab", buffering=0) as file:
            _persist(wanted, kept, file, part)
        _require_content(part, wanted)
        os.replace(part, out)
    finally:
        if part.exists() and not part.stat().st_size:
            part.unlink()
        if not part.exists():
            _version(part).unlink(missing_ok=True)


def _persist(wanted: Url, kept: Path, file: FileIO, part: Path) -> None:
    """Try until all of it has come, with growing waits; give up after TRIES in a row without a new byte."""
    import requests

    tries, longest = 0, _size(file)
    with _session(wanted.url) as session:
        while True:
            try:
                return _attempt(session, wanted, file, part)
            except requests.RequestException as error:
                tries, longest = (1, _size(file)) if _size(file) > longest else (tries + 1, longest)
                code = error.response.status_code if error.response is not None else 503
                cause = _cause(error)
                if tries == TRIES or code not in (408, 429, 500, 502, 503, 504):
                    raise DataError(
                        f"{wanted.url}: {cause}, at try {tries}. Check the address and the network, then run again: it "
                        f"goes on where it stopped. Or put the file at {kept}"
                    ) from None
                wait_s = WAIT_S * 2 ** (tries - 1)
                print(f"{wanted.url}: {cause}; again in {wait_s:g} s (try {tries + 1} of {TRIES})", file=sys.stderr)
                time.sleep(wait_s)


def _cause(error: Exception) -> str:
    """What went wrong, once: requests wraps what urllib3 wraps, and prints both."""
    inner = error.args[0] if error.args else error
    inner = getattr(inner, "reason", inner)
    texts = [str(arg) for arg in inner.args] if isinstance(inner, Exception) else [str(error)]
    return " ".join(text for n, text in enumerate(texts) if not any(text in other for other in texts[:n]))


def _attempt(session: Any, wanted: Url, file: FileIO, part: Path) -> None:
    """One request; what comes is appended to `file`. requests.RequestException when less comes than announced."""
    import requests
    from tqdm import tqdm

    version = _version(part).read_text() if _version(part).exists() else ""
    if not version:
        file.truncate(0)  # nothing would tell whether the server still has the same file
    start = _size(file)
    headers = {"Range": f"bytes={start}-", "If-Range": version} if start else {}
    with session.get(wanted.url, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
        resumed = response.headers.get("Content-Range", "")
        if response.status_code == 416 and start and resumed == f"bytes */{start}":
            return  # killed when the last byte had come
        if response.status_code in (206, 416) and not (start and resumed.startswith(f"bytes {start}-")):
            file.truncate(0)
            raise requests.ConnectionError("the server does not resume it, it begins anew")
        response.raise_for_status()
        if response.status_code != 206:
            file.truncate(0)  # the server ignores ranges or has another version: what comes is the whole file
            start = 0
        announced = re.fullmatch(r"\d{1,18}", response.headers.get("Content-Length", ""), re.ASCII)
        length = int(announced[0]) if announced and "Content-Encoding" not in response.headers else None
        needed = length if length is not None else max(0, (wanted.bytes or 0) - start)
        require_space(part.parent, needed, f"downloading {wanted.url}")
        print(f"{wanted.url}: {f'{needed:,}' if needed else 'an unknown number of'} bytes to {part.parent}")
        etag = response.headers.get("ETag", "W/")  # a weak one does not promise the same bytes
        _version(part).write_text(response.headers.get("Last-Modified", "") if etag.startswith("W/") else etag)
        try:
            with tqdm(initial=start, total=start + needed or None, unit="B", unit_scale=True, disable=None) as bar:
                for chunk in response.iter_content(CHUNK_BYTES):
                    bar.update(len(chunk))
                    while chunk:
                        chunk = chunk[file.write(chunk) :]  # a raw file may take less than all, on a disk that fills up
        except requests.RequestException:
            raise  # is an OSError too
        except OSError as error:
            part.unlink()
            raise disk_error(error, f"downloading {wanted.url}", part.parent, needed) from None
        if length is not None and _size(file) != start + length:
            raise requests.ConnectionError(f"cut after {_size(file):,} of {start + length:,} bytes")


def _version(part: Path) -> Path:
    return part.with_name(f"{part.name}.version")  # holds the ETag or date of what `part` is a part of


def _size(file: FileIO) -> int:
    return os.fstat(file.fileno()).st_size


def _session(asked: str) -> Any:
    import requests

    class Guarded(requests.Session):
        def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
            if reason := _unsafe(request.url or ""):  # each redirect comes by here too
                raise DataError(f"{asked}: redirect to {request.url} refused: {reason}. Get the address from the authors' page")
            return super().send(request, **kwargs)

    session = Guarded()
    session.headers["Accept-Encoding"] = "identity"  # sizes and ranges then count the file's own bytes
    return session


def _require_content(part: Path, wanted: Url) -> None:
    """Refuse, and remove, what is no archive though its name says so, a web page, empty, or of another size than declared."""
    try:
        if file_name(wanted.url).lower().endswith(ENDINGS):
            require_archive(part)
        with part.open("rb") as file:
            if file.read(512).removeprefix(codecs.BOM_UTF8).lstrip().lower().startswith((b"<!doctype html", b"<html")):
                raise DataError("a web page, not the file")
        if not (size := part.stat().st_size):
            raise DataError("an empty file came")
        if wanted.bytes not in (None, size):
            raise DataError(f"{size:,} bytes came, `urls` declares {wanted.bytes:,}")
    except DataError as error:
        part.unlink()
        raise DataError(
            f"{wanted.url}: {error}. Open the address in a browser: it may have moved, or want a login. "
            f"Correct `urls`, or download by hand and set `source: path:<folder>`"
        ) from None
