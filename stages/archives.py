"""Archives from elsewhere (.zip, .tar, .tar.gz, .tgz): every member is judged before the first one is written."""

import glob
import gzip
import lzma
import os
import re
import shutil
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from tqdm import tqdm

from stages.files import FULL, DataError, is_running

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz")
LIMIT_BYTES = 2 * 2**40
LIMIT_RATIO = 200.0  # unpacked / packed. JSON of repeated keys reaches about 30, a bomb of one DEFLATE layer 1032
LIMIT_FILES = 2_000_000  # a tar packs empty files into a few bytes each, and each takes some 800 in memory
LIMIT_HEADER_BYTES = 2**20  # of a long name or the like in a tar: it is read whole into memory, where 1 MB unpacks to 1 GB
_HEADERS = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)  # LZMA takes as much memory as the archive says
_BROKEN = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError, ValueError)


class _Member(NamedTuple):
    name: str  # as the archive spells it
    size: int  # bytes, unpacked
    kind: int  # stat.S_IFREG, S_IFDIR, S_IFLNK (soft or hard); any other is refused
    mode: int
    target: str  # of a link, from the archive's top
    item: Any  # tarfile.TarInfo or zipfile.ZipInfo


class _Refused(Exception):
    pass


class _StrictTarInfo(tarfile.TarInfo):
    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_StrictTarInfo":
        try:
            found = super().frombuf(buf, encoding, errors)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:  # tarfile takes this for the end and loses the rest without a word
            raise tarfile.ReadError(str(error)) from None
        if found.type in _HEADERS and found.size > LIMIT_HEADER_BYTES:
            raise _Refused(f"a header in it has {found.size:,} bytes, {LIMIT_HEADER_BYTES:,} are allowed")
        if found.type == tarfile.GNUTYPE_SPARSE:  # its map of holes is read into memory, however long
            raise _Refused(f"{found.name!r} is a sparse file")
        return found

    def _proc_gnusparse_10(self, *_: object) -> None:  # the same in the pax format
        raise _Refused("it holds a sparse file")


def unpack(archive: Path, into: Path, limit_bytes: int = LIMIT_BYTES, limit_ratio: float = LIMIT_RATIO) -> list[str]:
    """Unpack into the new folder `into`, which appears whole or not at all; return its files' relative paths, sorted.

    DataError, with nothing extracted, for names that lead outside or collide, links to anything but a file of the same
    archive, devices, setuid, sparse files, encryption, damage, and more than `limit_bytes`, `limit_ratio` times the archive's
    size or LIMIT_FILES.
    """
    if into.exists():
        raise DataError(f"{into}: is there already; {archive.name} is not unpacked over it. Remove it")
    for leftover in into.parent.glob(f".{glob.escape(into.name)}.partial-*"):  # of a run that was killed
        if not is_running(leftover.name.rsplit("-", 1)[1]):
            shutil.rmtree(leftover, ignore_errors=True)
    temporary, doing, needed = into.with_name(f".{into.name}.partial-{os.getpid()}"), f"unpacking {archive.name}", 0
    try:
        temporary.mkdir(parents=True)
        with _open(archive) as opened:
            limit = min(limit_bytes, limit_ratio * archive.stat().st_size)
            members = _judged(_members(opened, limit), limit)
            needed = sum(member.size for member in members)
            require_space(into.parent, needed, doing)
            for member in tqdm(members, doing, unit="", disable=None, leave=False):
                if isinstance(opened, tarfile.TarFile):
                    opened.extract(member.item, temporary, filter="data")
                else:
                    opened.extract(member.item, temporary)
        for member in members:
            if member.kind == stat.S_IFLNK and not (temporary / member.name).is_file():  # `a.jpg/`, `nowhere/../a.jpg`
                raise _Refused(f"{member.name!r} is a link that leads to no file")
        os.replace(temporary, into)
    except (_Refused, tarfile.FilterError) as error:
        raise DataError(f"{archive}: refused, nothing is extracted: {error}. Get a sound copy from its authors") from None
    except NotImplementedError as error:
        raise DataError(f"{archive}: {error}. Unpack it by hand and set `source: path:<folder>`") from None
    except (*_BROKEN, RuntimeError) as error:
        raise DataError(f"{archive}: truncated or damaged ({error}). Remove it and download it again") from None
    except OSError as error:
        raise disk_error(error, doing, into.parent, needed) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return sorted(os.path.normpath(member.name) for member in members if member.kind != stat.S_IFDIR)


def require_archive(path: Path) -> str:
    """`zip`, `tar` or `gz`, by what the file holds and not by its name; a file that is none of them is a DataError."""
    with path.open("rb") as file:
        head = file.read(tarfile.BLOCKSIZE)
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return "zip"
    if head[:2] == b"\x1f\x8b":
        return "gz"
    try:
        _StrictTarInfo.frombuf(head, "utf-8", "surrogateescape")
    except tarfile.TarError:
        raise DataError(f"{path}: not an archive ({', '.join(ENDINGS)}): it begins with {head[:60]!r}") from None
    return "tar"


def require_space(folder: Path, needed_bytes: int, doing: str) -> None:
    """Refuse to start what the disk that holds `folder` has no room for."""
    if needed_bytes > (free := shutil.disk_usage(folder).free):
        raise DataError(f"{doing} needs {needed_bytes:,} bytes, {folder.resolve()} has {free:,} free. Make room there")


def disk_error(error: OSError, doing: str, folder: Path, needed_bytes: int | None) -> DataError:
    """What to tell the user when a write failed; `needed_bytes` is None or 0 where nobody knows."""
    if error.errno not in FULL:
        return DataError(f"{doing}: {error.filename or folder}: {error.strerror or error}")
    needs = f"{needed_bytes:,} bytes are needed" if needed_bytes else "how much is needed is not known beforehand"
    return DataError(f"{doing}: disk full, {needs} at {folder.resolve()}. Make room there; temporary files are removed")


def _open(archive: Path) -> tarfile.TarFile | zipfile.ZipFile:
    if (found := require_archive(archive)) == "zip":
        return zipfile.ZipFile(archive)
    return tarfile.open(archive, "r:gz" if found == "gz" else "r:", tarinfo=_StrictTarInfo)


def _members(opened: tarfile.TarFile | zipfile.ZipFile, limit_bytes: float) -> Iterator[_Member]:
    if isinstance(opened, zipfile.ZipFile):
        for item in opened.infolist():
            mode = item.external_attr >> 16
            kind = stat.S_IFDIR if item.is_dir() else stat.S_IFMT(mode) or stat.S_IFREG
            if item.flag_bits & 1:
                raise NotImplementedError(f"{item.filename!r} is encrypted, and there is no password")
            if item.compress_type not in _METHODS:
                raise NotImplementedError(f"{item.filename!r} is packed by a method that is not read ({item.compress_type})")
            yield _Member(item.filename, item.file_size, kind, mode, "", item)
        return
    for info in opened:
        link = stat.S_IFLNK if info.issym() or info.islnk() else 0
        kind = stat.S_IFREG if info.isreg() else stat.S_IFDIR if info.isdir() else link
        start = os.path.dirname(info.name) if info.issym() else ""
        target = os.path.normpath(os.path.join(start, info.linkname)) if link else ""
        yield _Member(info.name, info.size, kind, info.mode, target, info)
    after = 0
    while opened.fileobj and (block := opened.fileobj.read(2**20)):  # to the very end, where gzip keeps its checksum
        if (after := after + len(block)) > max(limit_bytes, tarfile.RECORDSIZE):
            raise _Refused(f"{after:,} bytes or more follow its end, {limit_bytes:,.0f} are allowed")


def _judged(members: Iterator[_Member], limit_bytes: float) -> list[_Member]:
    by_path: dict[str, _Member] = {}
    spelled: dict[str, str] = {}
    total = 0
    for member in members:
        path, total = os.path.normpath(member.name), total + member.size
        if fault := _fault(member):
            raise _Refused(f"{member.name!r} {fault}")
        if len(by_path) == LIMIT_FILES:
            raise _Refused(f"it holds more than {LIMIT_FILES:,} files")
        if total > limit_bytes:
            raise _Refused(f"{total:,} bytes or more would come out, {limit_bytes:,.0f} are allowed")
        if (first := by_path.setdefault(path, member)) is not member and {first.kind, member.kind} != {stat.S_IFDIR}:
            raise _Refused(f"{member.name!r} is in it twice")
        for part in (*PurePosixPath(path).parents, path):
            key = unicodedata.normalize("NFC", str(part)).casefold()
            if (other := spelled.setdefault(key, str(part))) != str(part):
                raise _Refused(f"{other!r} and {str(part)!r} are one name on a disk that does not tell case apart")
    for path, member in by_path.items():
        target = by_path.get(member.target)
        if member.kind == stat.S_IFLNK and (target is None or target.kind != stat.S_IFREG):
            raise _Refused(f"{member.name!r} is a link to {member.target!r}, which is no file of the archive")
        above = (by_path[str(part)] for part in PurePosixPath(path).parents if str(part) in by_path)
        if wrong := next((part for part in above if part.kind != stat.S_IFDIR), None):
            raise _Refused(f"{member.name!r} lies below {wrong.name!r}, which is no folder")
    if not any(member.kind == stat.S_IFREG for member in by_path.values()):
        raise _Refused("it holds no file")
    return list(by_path.values())


def _fault(member: _Member) -> str:
    name = member.name.replace("\\", "/")  # a separator here or there
    if name.startswith("/") or re.match("[A-Za-z]:", name):
        return "is an absolute path"
    if ".." in name.split("/"):
        return "leads outside by `..`"
    if not name or "\0" in name or name.encode(errors="ignore").decode() != name:
        return "is not a UTF-8 name"
    if member.kind not in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
        return "is a device, a pipe or the like"
    return "asks for setuid or setgid" if member.kind == stat.S_IFREG and member.mode & 0o6000 else ""
