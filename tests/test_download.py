"""Faults 1 to 8 and 16 against a real server on this machine, and the three kinds of source."""

import contextlib
import csv
import hashlib
import http.server
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import types
import zipfile
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import filelock
import pytest

from stages import download, transfer
from stages.download import DownloadSettings, fetch, look, look_all
from stages.files import DataError, check_manifest, read_json
from stages.settings import Record, section
from stages.sources import open_source, scan, unchanged
from stages.transfer import Url
from tests.disk_helpers import fill, small_disk

Say = Callable[[str, object], None]
ROOT = Path(__file__).parents[1]
WHERE = "datasets.camera_trap.paper.download"
PAGE = b"<!DOCTYPE html><html><body>Please log in</body></html>"


def packed(**files: bytes) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        for name, data in files.items():
            archive.writestr(name.replace("__", "/"), data)
    return memory.getvalue()


DATA = os.urandom(300_000)
ARCHIVE = packed(images__a=DATA, images__b=b"b")


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Range")))  # type: ignore[attr-defined]
        self.server.answer(self)  # type: ignore[attr-defined]

    def send(self, body: bytes, status: int = 200, length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def send_range(self, body: bytes, cut: int | None = None, etag: str = '"1"') -> None:
        """A server that resumes; the connection is cut when `cut` bytes of the file have gone."""
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked[1]) if asked and self.headers.get("If-Range", etag) == etag else 0
        fields = {"Content_Range": f"bytes {start}-{len(body) - 1}/{len(body)}"} if start else {}
        self.send(body[start:cut], 206 if start else 200, len(body) - start, ETag=etag, **fields)

    def log_message(self, *_: object) -> None:
        pass


class Site(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str | None]] = []
        self.answer: Callable[[Handler], None] = lambda handler: handler.send(ARCHIVE)

    def url(self, name: str = "a.zip") -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}"


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(transfer, "WAIT_S", 0.01)
    with Site() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def get(tmp_path: Path, *urls: str, **fields: Any) -> Path:
    """Fetch addresses into tmp_path / raw / set; downloads are kept in tmp_path / cache / set."""
    records = tuple(Url(url=url, **fields) for url in urls)
    settings = DownloadSettings(adapter="folders", source="url", urls=records)
    out = tmp_path / "raw" / "set"
    fetch(settings, WHERE, "set", look(settings, out), out, tmp_path / "cache", seed=1)
    return out


def kept(tmp_path: Path) -> list[str]:
    """Names in the cache, locks left out, without the hash of the address that they begin with."""
    return sorted(path.name[9:] for path in (tmp_path / "cache" / "set").iterdir() if path.suffix != ".lock")


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def fails(tmp_path: Path, match: str, *urls: str, **fields: Any) -> str:
    with pytest.raises(DataError, match=match) as caught:
        get(tmp_path, *urls, **fields)
    assert os.listdir(tmp_path / "raw") == []  # nothing under the final name, nothing temporary
    return str(caught.value)


# Addresses -----------------------------------------------------------------------------------------------------------


def test_an_archive_is_fetched_verified_and_described(tmp_path: Path, site: Site) -> None:
    out = get(tmp_path, site.url(), sha256=sha256(ARCHIVE), bytes=len(ARCHIVE))
    assert names(out) == ["images/a", "images/b", "manifest.json", "source.json"]
    assert (out / "images/a").read_bytes() == DATA
    assert check_manifest(out) == []
    assert read_json(out / "source.json") == {
        "adapter": "folders",
        "source": "url",
        "root": ".",
        "data": "your data",
        "urls": [{"url": site.url(), "sha256": sha256(ARCHIVE), "bytes": len(ARCHIVE)}],
        "files": 2,
        "bytes": 300_001,
    }
    source = open_source(out)
    assert (source.root, source.adapter, source.data) == (out, "folders", "your data")
    assert source.files == {"images/a": (300_000, sha256(DATA)), "images/b": (1, sha256(b"b"))}
    assert unchanged(source) == []
    (out / "images/b").write_bytes(b"longer")
    (out / "images/a").unlink()
    (out / "c").touch()
    assert [text.split(": ")[1].split()[0] for text in unchanged(source)] == ["new", "gone", "altered"]


def test_several_addresses_share_a_folder(tmp_path: Path, site: Site) -> None:
    bodies = {
        "/1/a.zip": packed(images__1=b"1"),
        "/2/a.zip": packed(images__2=b"2"),
        "/list.json": b"[1]",
        "/l%C3%A9.json?x=1": b"{}",
    }
    site.answer = lambda handler: handler.send(bodies[handler.path])
    out = get(tmp_path, *(site.url(path[1:]) for path in bodies))
    assert names(out) == ["images/1", "images/2", "list.json", "lé.json", "manifest.json", "source.json"]
    assert [url["bytes"] for url in read_json(out / "source.json")["urls"]] == [len(body) for body in bodies.values()]


def test_two_archives_with_one_file_are_refused(tmp_path: Path, site: Site) -> None:
    bodies = {"/1.zip": packed(images__a=b"1"), "/2.zip": packed(IMAGES__A=b"2"), "/source.json": b"{}"}
    site.answer = lambda handler: handler.send(bodies[handler.path])
    fails(tmp_path, "2.zip: 'IMAGES/A' is also in", site.url("1.zip"), site.url("2.zip"))
    fails(tmp_path, "'source.json' .* a name that is kept", site.url("source.json"))


def test_fault_01_wrong_sha256_is_refused_and_the_old_file_kept(tmp_path: Path, site: Site) -> None:
    out = get(tmp_path, site.url(), sha256=sha256(ARCHIVE))
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    site.answer = lambda handler: handler.send(packed(other=b"new"))
    wanted = "0" * 64
    with pytest.raises(DataError, match=r"a\.zip: refused, it is not the file that was expected") as caught:
        get(tmp_path, site.url(), sha256=wanted)
    assert wanted in str(caught.value) and sha256(packed(other=b"new")) in str(caught.value)
    assert "correct `urls`" in str(caught.value)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert kept(tmp_path) == ["a.zip", "a.zip.sha256"]
    assert next((tmp_path / "cache/set").glob("*.zip")).read_bytes() == ARCHIVE


FAULTY = {  # what the server says: case, body, what is told
    "fault_01": (packed(other=b"new"), "expected 0000"),
    "fault_04": (PAGE, "not an archive"),
    "fault_09": (packed(**{"..__evil": b"x"}), "leads outside by `..`"),
    "fault_14": (ARCHIVE[:-30], "truncated or damaged"),
}


@pytest.mark.parametrize("case", FAULTY)
def test_fault_01_04_09_14_the_command_line_ends_with_a_message_and_the_old_folder_stays(
    tmp_path: Path, site: Site, fetched: Callable[..., Any], case: str
) -> None:
    assert fetched(site.url("old.zip")).code == 0
    before = {path: path.read_bytes() for path in (tmp_path / "raw").rglob("*") if path.is_file()}
    body, told = FAULTY[case]
    site.answer = lambda handler: handler.send(body)
    done = fetched(site.url("new.zip"), **({"sha256": "0" * 64} if case == "fault_01" else {}))
    assert done.code == 1
    assert re.match(r"error: \S*new\.zip: ", done.err.splitlines()[-1]) and told in done.err, done.err
    assert "Traceback" not in done.err
    assert {path: path.read_bytes() for path in (tmp_path / "raw").rglob("*") if path.is_file()} == before
    assert os.listdir(tmp_path / "raw") == ["set"] and not list(tmp_path.rglob("evil"))


def test_fault_02_cut_connection_is_resumed(
    tmp_path: Path, site: Site, capsys: pytest.CaptureFixture[str], record_property: Say
) -> None:
    site.answer = lambda handler: handler.send_range(ARCHIVE, cut=len(site.asked) * 131072)
    get(tmp_path, site.url(), sha256=sha256(ARCHIVE))
    assert [asked for _, asked in site.asked] == [None, "bytes=131072-", "bytes=262144-"]
    said = capsys.readouterr().err
    assert "again in 0.01 s (try 2 of 5)" in said
    record_property("says", said.splitlines()[0])
    assert kept(tmp_path) == ["a.zip", "a.zip.sha256"]


def test_fault_02_a_killed_download_is_resumed_by_the_next_run(tmp_path: Path, site: Site, record_property: Say) -> None:
    def stall(handler: Handler) -> None:
        handler.send(ARCHIVE[:131072], length=len(ARCHIVE), ETag='"1"')
        time.sleep(30)

    site.answer = stall
    program = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "from pathlib import Path\n"
        "from test_download import get\n"
        "get(Path(sys.argv[1]), sys.argv[2])\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path), site.url()], cwd=ROOT)
    part: list[Path] = []
    while not part or part[0].stat().st_size < 131072:
        part = list((tmp_path / "cache").glob("set/*.part"))
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "raw/set").exists()
    site.answer = lambda handler: handler.send_range(ARCHIVE)
    assert names(get(tmp_path, site.url())) == ["images/a", "images/b", "manifest.json", "source.json"]
    assert site.asked[-1][1] == "bytes=131072-"
    record_property("says", f"continues: the next run asks for {site.asked[-1][1]}")
    assert not list((tmp_path / "raw").glob(".*"))


def test_fault_02_a_cut_at_every_try_ends(tmp_path: Path, site: Site) -> None:
    site.answer = lambda handler: handler.send(ARCHIVE[:131072], length=len(ARCHIVE))
    message = fails(
        tmp_path, r"a\.zip: Connection broken: IncompleteRead\(131072 bytes read, \d+ more expected\), at try 5\.", site.url()
    )
    assert "run again" in message
    assert [asked for _, asked in site.asked] == [None] * 5  # without an ETag or a date nothing is resumed


def test_fault_02_another_version_on_the_server_is_never_joined(tmp_path: Path, site: Site, record_property: Say) -> None:
    other = packed(images__a=os.urandom(300_000))

    def answer(handler: Handler) -> None:
        first = len(site.asked) == 1
        handler.send_range(ARCHIVE, 131072, '"1"') if first else handler.send_range(other, None, '"2"')

    site.answer = answer
    get(tmp_path, site.url())
    assert next((tmp_path / "cache/set").glob("*.zip")).read_bytes() == other
    record_property("says", "continues: begun anew, the whole file as it is now")


def test_fault_03_busy_server_is_asked_again_with_growing_waits(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], record_property: Say
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(transfer.time, "sleep", waits.append)
    site.answer = lambda handler: handler.send(*((ARCHIVE,) if len(site.asked) > 2 else (b"busy", 503)))
    get(tmp_path, site.url())
    assert waits == [0.01, 0.02]
    record_property("says", capsys.readouterr().err.splitlines()[1])


def test_fault_03_not_found_is_not_asked_again(tmp_path: Path, site: Site) -> None:
    site.answer = lambda handler: handler.send(b"", 404)
    fails(tmp_path, "a.zip: 404 Client Error", site.url())
    assert len(site.asked) == 1


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz", "a.tgz", "a.tar"])
def test_fault_04_web_page_with_status_200(tmp_path: Path, site: Site, name: str) -> None:
    site.answer = lambda handler: handler.send(PAGE)
    message = fails(tmp_path, f"{name}.*not an archive", site.url(name))
    assert "DOCTYPE" in message and "login" in message and "path:<folder>" in message
    assert not any(entry.endswith(name) or entry.endswith(".part") for entry in kept(tmp_path))


@pytest.mark.parametrize("before", [b"\n <html>", b"\xef\xbb\xbf"], ids=["", "byte order mark"])
def test_fault_04_web_page_in_place_of_a_list(tmp_path: Path, site: Site, before: bytes) -> None:
    site.answer = lambda handler: handler.send(before + PAGE)
    fails(tmp_path, "list.json: a web page, not the file", site.url("list.json"))


def test_fault_04_nothing_in_place_of_a_list(tmp_path: Path, site: Site) -> None:
    site.answer = lambda handler: handler.send(b"")
    fails(tmp_path, "list.json: an empty file came. Open the address in a browser", site.url("list.json"))
    assert kept(tmp_path) == []


@pytest.mark.parametrize("length", ["", "abc", "-5", "1e9", "9" * 5000])
def test_fault_02_a_length_that_is_no_number_is_as_none(tmp_path: Path, site: Site, length: str) -> None:
    site.answer = lambda handler: handler.send(ARCHIVE, length=length)  # type: ignore[arg-type]
    assert (get(tmp_path, site.url()) / "images/a").read_bytes() == DATA


@pytest.mark.parametrize("left", [b"", b"0123", b"\xff\xfe"], ids=["empty", "half", "no text"])
def test_fault_02_killed_while_the_hash_was_noted(tmp_path: Path, site: Site, left: bytes) -> None:
    get(tmp_path, site.url())
    (note,) = (tmp_path / "cache/set").glob("*.zip.sha256")
    note.write_bytes(left)
    assert (get(tmp_path, site.url()) / "images/a").read_bytes() == DATA
    assert note.read_text() == sha256(ARCHIVE) + "\n" and len(site.asked) == 1


def test_fault_05_server_that_ignores_ranges_is_never_concatenated(tmp_path: Path, site: Site, record_property: Say) -> None:
    def answer(handler: Handler) -> None:
        cut = 131072 if len(site.asked) == 1 else None
        handler.send(ARCHIVE[:cut], length=len(ARCHIVE), ETag='"1"')

    site.answer = answer
    get(tmp_path, site.url())
    assert [asked for _, asked in site.asked] == [None, "bytes=131072-"]
    assert next((tmp_path / "cache/set").glob("*.zip")).read_bytes() == ARCHIVE
    record_property("says", "continues: the part is thrown away, what comes is the whole file")


@pytest.mark.parametrize("answer", ["bytes 0-9/10", "", "bytes 131073-9/10"])
def test_fault_05_server_that_sends_another_range(
    tmp_path: Path, site: Site, answer: str, capsys: pytest.CaptureFixture[str], record_property: Say
) -> None:
    def reply(handler: Handler) -> None:
        if handler.headers.get("Range"):
            handler.send(ARCHIVE, 206, Content_Range=answer)
        else:
            handler.send(ARCHIVE[: 131072 if len(site.asked) == 1 else None], length=len(ARCHIVE), ETag='"1"')

    site.answer = reply
    get(tmp_path, site.url())
    assert next((tmp_path / "cache/set").glob("*.zip")).read_bytes() == ARCHIVE
    record_property("says", capsys.readouterr().err.splitlines()[1])


@pytest.mark.parametrize("known", [True, False])
def test_fault_06_no_network_and_the_file_is_there(tmp_path: Path, site: Site, known: bool, record_property: Say) -> None:
    fields = {"sha256": sha256(ARCHIVE)} if known else {}
    get(tmp_path, site.url(), **fields)
    shutil.rmtree(tmp_path / "raw")
    site.answer = lambda handler: handler.connection.close()
    assert (get(tmp_path, site.url(), **fields) / "images/a").read_bytes() == DATA
    assert len(site.asked) == 1  # not even tried
    record_property("says", "continues: its sha256 is that of the download, nobody is asked")


@pytest.mark.parametrize("known", [True, False])
def test_fault_06_an_altered_file_is_not_taken_for_the_download(
    tmp_path: Path, site: Site, known: bool, record_property: Say
) -> None:
    fields = {"sha256": sha256(ARCHIVE)} if known else {}
    get(tmp_path, site.url(), **fields)
    shutil.rmtree(tmp_path / "raw")
    (file,) = (tmp_path / "cache/set").glob("*.zip")
    file.write_bytes(packed(images__a=b"altered"))
    assert (get(tmp_path, site.url(), **fields) / "images/a").read_bytes() == DATA
    assert len(site.asked) == 2
    record_property("says", "continues: its sha256 is another, so it is downloaded again")


def test_fault_06_no_network_and_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "WAIT_S", 0.01)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    message = fails(tmp_path, r"http://127\.0\.0\.1:9/a\.zip: .*refused", "http://127.0.0.1:9/a.zip")
    assert "Check the address and the network" in message and "put the file at" in message


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "http://example.invalid/a.zip", "ftp://127.0.0.1/a.zip", "//example.invalid/a.zip"]
)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_fault_07_redirect_to_plain_http_or_a_file(tmp_path: Path, site: Site, target: str, status: int) -> None:
    site.answer = lambda handler: handler.send(b"", status, Location=target)
    fails(tmp_path, r"/a\.zip: redirect to .* refused: only https", site.url())
    assert len(site.asked) == 1
    assert kept(tmp_path) == []


def test_fault_07_redirect_on_the_same_site_is_followed(tmp_path: Path, site: Site) -> None:
    def answer(handler: Handler) -> None:
        handler.send(ARCHIVE) if handler.path == "/b.zip" else handler.send(b"", 302, Location="/b.zip")

    site.answer = answer
    get(tmp_path, site.url())


@pytest.mark.parametrize(
    "url",
    ["http://example.org/a.zip", "file:///a.zip", "ftp://a/b", "a.zip", "http://127.0.0.1.example.org/", "https:///a"],
)
def test_fault_07_plain_addresses_are_refused_in_the_settings(url: str) -> None:
    params = {"d": {"adapter": "folders", "source": "url", "urls": [{"url": url}]}}
    with pytest.raises(DataError, match=r"d\.urls\.0\.url: given .*only https is followed"):
        section("d", DownloadSettings, params)


def test_an_address_with_a_password_is_refused() -> None:
    with pytest.raises(ValueError, match="a password, which would be written"):
        Url(url="https://me:secret@example.org/a.zip")


def test_fault_08_no_room_is_found_before_the_download(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**6, 10**6 - 100, 100))
    message = fails(tmp_path, f"needs {len(ARCHIVE):,} bytes", site.url())
    assert "has 100 free. Make room there" in message
    assert kept(tmp_path) == []


def test_fault_08_disk_full_while_downloading(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.FileIO):
        def write(self, data: Any, /) -> int:
            if self.tell() + len(data) > 200_000:
                raise OSError(28, "No space left on device")
            return super().write(data)

    opened = Path.open
    monkeypatch.setattr(Path, "open", lambda path, *a, **k: Full(path, "a") if "ab" in a else opened(path, *a, **k))
    fails(tmp_path, f"a.zip: disk full, {len(ARCHIVE):,} bytes are needed at .*Make room", site.url())
    assert kept(tmp_path) == []


def test_fault_08_disk_full_while_unpacking(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "extract", full)
    fails(tmp_path, "unpacking .*a.zip: disk full, 300,001 bytes", site.url())


# A real disk of 1 MiB that fills up: tests/disk_helpers.py.


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk") as place:
        yield place


@pytest.fixture
def fetched(stage: Callable[..., Any]) -> Callable[..., Any]:
    """The stage's command line: (address, folder that holds raw/set, folder that keeps downloads, more of `urls`) -> Finished."""

    def go(url: str, raw: str = ".", cache: str = "cache", **fields: Any) -> Any:
        download = {"adapter": "folders", "source": "url", "urls": [{"url": url} | fields]}
        params = {"datasets": {"set": {"smoke": {"download": download}}}}
        done = stage("download", "look", "--profile", "smoke", "--out", "look", params=params)
        assert done.code == 0, done.err
        return stage("download", "fetch", "--params", "datasets.set.smoke.download", "--look", "look/set.json", "--dataset", "set",
                     "--seed", 0, "--cache", cache, "--out", f"{raw}/raw/set")  # fmt: skip

    return go


def without_length(handler: Handler, body: bytes) -> None:
    """Answer as servers that make their files as they send them: nobody knows when it ends."""
    handler.send_response(200)
    handler.end_headers()
    with contextlib.suppress(ConnectionError):  # nobody listens any more
        handler.wfile.write(body)


def used(disk: Path) -> tuple[int, list[str]]:
    return shutil.disk_usage(disk).used, [name for name in names(disk) if not name.endswith(".lock")]


@pytest.mark.parametrize("known", [True, False], ids=["size told", "size not told"])
def test_fault_08_a_download_larger_than_the_disk(
    tmp_path: Path, site: Site, disk: Path, fetched: Callable[..., Any], known: bool
) -> None:
    body = packed(big=os.urandom(2**21))
    site.answer = lambda handler: handler.send(body) if known else without_length(handler, body)
    before = used(disk)
    done = fetched(site.url(), cache="disk/cache")
    needs = f"needs {len(body):,} bytes, {disk}" if known else "disk full, how much is needed is not known beforehand at"
    assert done.code == 1 and done.err.splitlines()[-1].startswith(f"error: downloading {site.url()}"), done.err
    assert needs in done.err and "Make room there" in done.err
    assert used(disk) == before
    assert not (tmp_path / "raw/set").exists()


def test_fault_08_a_disk_that_fills_up_amid_a_download(
    tmp_path: Path, site: Site, disk: Path, fetched: Callable[..., Any]
) -> None:
    body = packed(half_a_disk=os.urandom(2**19))

    def answer(handler: Handler) -> None:
        handler.send(body[: 2**18], length=len(body))
        while not list(disk.rglob("*.part")) or next(disk.rglob("*.part")).stat().st_size < 2**18:
            time.sleep(0.01)
        fill(disk)  # by somebody else
        with contextlib.suppress(ConnectionError):
            handler.wfile.write(body[2**18 :])

    site.answer = answer
    done = fetched(site.url(), cache="disk/cache")
    assert done.code == 1
    told = f"error: downloading {site.url()}: disk full, {len(body):,} bytes are needed at {disk}/cache/set. Make room there"
    assert done.err.splitlines()[-1].startswith(told), done.err
    assert used(disk)[1] == ["filler"]
    (disk / "filler").unlink()
    site.answer = lambda handler: handler.send(body)
    assert fetched(site.url(), cache="disk/cache").code == 0
    assert check_manifest(tmp_path / "raw/set") == []


def test_fault_08_a_disk_that_fills_up_while_unpacking(site: Site, disk: Path, fetched: Callable[..., Any]) -> None:
    assert fetched(site.url("old.zip"), raw="disk").code == 0
    before = used(disk)
    small = {f"n{n}": b"0123456789" for n in range(300)}  # 3,000 bytes that take a page of the disk each
    site.answer = lambda handler: handler.send(packed(**small))
    done = fetched(site.url("new.zip"), raw="disk")
    assert done.code == 1
    assert re.match(r"error: unpacking \w+-new\.zip: disk full, 3,000 bytes are needed at ", done.err.splitlines()[-1]), (
        done.err
    )
    assert used(disk) == before
    assert check_manifest(disk / "raw/set") == []


@pytest.mark.parametrize("pages", [0, 1], ids=["its description", "its manifest"])
def test_fault_08_no_room_for_the_last_file_of_a_folder(
    site: Site, disk: Path, fetched: Callable[..., Any], pages: int
) -> None:
    assert fetched(site.url("old.zip"), raw="disk").code == 0
    site.answer = lambda handler: handler.send(packed(a=bytes(range(256)) * 800))
    fill(disk, leave_bytes=204_800 + pages * 4096)
    before = used(disk)
    done = fetched(site.url("new.zip"), raw="disk")
    assert done.code == 1
    assert re.match(r"error: disk full while writing disk/raw/set\. Make room and run the same", done.err.splitlines()[-1]), (
        done.err
    )
    assert "Traceback" not in done.err
    assert used(disk) == before
    assert check_manifest(disk / "raw/set") == []


def test_fault_09_a_hostile_archive_leaves_the_old_folder(tmp_path: Path, site: Site) -> None:
    out = get(tmp_path, site.url())
    site.answer = lambda handler: handler.send(packed(**{"..__evil": b"x"}))
    with pytest.raises(DataError, match=r"leads outside"):
        get(tmp_path, site.url("b.zip"))
    assert check_manifest(out) == [] and names(out)[0] == "images/a"
    assert names(tmp_path / "raw")[-1] == "set/source.json"


def test_fault_16_killed_while_extracting(tmp_path: Path, site: Site, record_property: Say) -> None:
    program = (
        "import os, signal, sys, zipfile; sys.path.insert(0, 'tests')\n"
        "from pathlib import Path\n"
        "from test_download import get\n"
        "extract = zipfile.ZipFile.extract\n"
        "def dies(self, member, path):\n"
        "    if member.filename == 'images/b':\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    extract(self, member, path)\n"
        "zipfile.ZipFile.extract = dies\n"
        "get(Path(sys.argv[1]), sys.argv[2])\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(tmp_path), site.url()], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "raw/set").exists() and list((tmp_path / "raw").glob(".set.partial-*"))
    assert names(get(tmp_path, site.url())) == ["images/a", "images/b", "manifest.json", "source.json"]
    assert len(site.asked) == 1  # the archive itself was kept
    record_property("says", "continues: unpacked anew from the archive that was kept; what the killed run left is removed")
    assert not list((tmp_path / "raw").glob(".*"))


def test_two_downloads_of_one_file_do_not_mix(tmp_path: Path, site: Site) -> None:
    part = tmp_path / "cache/set" / f"{sha256(site.url().encode())[:8]}-a.zip.part"
    part.parent.mkdir(parents=True)
    part.touch()
    with filelock.FileLock(f"{part}.lock"):
        fails(tmp_path, "another process is downloading it", site.url())
    assert part.exists()


def test_another_size_than_declared(tmp_path: Path, site: Site) -> None:
    fails(tmp_path, rf"a.zip: {len(ARCHIVE):,} bytes came, `urls` declares 5", site.url(), bytes=5)


def test_an_adapter_that_brings_its_files_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = "https://www.kaggle.com/datasets/somebody/animals"
    given = {"adapter": "animal_posture", "source": "url", "urls": [{"url": page}]}
    settings = section("download", DownloadSettings, {"download": given})

    def bring(addresses: list[str], folder: Path) -> None:
        assert addresses == [page]
        (folder / "lying").mkdir()
        (folder / "lying/a.jpg").write_bytes(b"a")

    monkeypatch.setattr("stages.datasets.animal_posture.fetch", bring)
    out = tmp_path / "raw/posture"
    fetch(settings, WHERE, "posture", look(settings, out), out, tmp_path / "cache", seed=1)
    assert (out / "lying/a.jpg").read_bytes() == b"a"
    assert read_json(out / "source.json")["urls"] == [{"url": page}]


def test_an_adapter_without_an_address(tmp_path: Path) -> None:
    fails(tmp_path, "folders: no public address is known. .*CITATION")


# A folder of the user's own ------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "my data é"
    for name in ["a.jpg", "deep/er/b c.jpg", 'new\nline\r,"é".jpg', "empty"]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("" if name == "empty" else name)
    return root


def from_folder(root: Path | str, tmp_path: Path) -> Path:
    settings = DownloadSettings(adapter="folders", source=f"path:{root}")
    out = tmp_path / "raw/set"
    fetch(settings, WHERE, "set", look(settings, out), out, tmp_path / "cache", seed=1)
    return out


def test_a_folder_is_read_in_place(tmp_path: Path, folder: Path) -> None:
    before = scan(folder)
    out = from_folder(folder, tmp_path)
    assert scan(folder) == before
    assert names(out) == ["files.csv", "manifest.json", "source.json"]
    about = read_json(out / "source.json")
    assert about["root"] == str(folder) and about["data"] == "your data" and about["urls"] == []
    assert (about["files"], about["bytes"]) == (4, sum(found.bytes for found in before.values()))
    with (out / "files.csv").open(newline="", encoding="utf-8") as file:
        assert next(csv.reader(file)) == ["path", "bytes", "mtime_ns", "sha256"]
    source = open_source(out)
    assert source.root == folder
    assert source.files == {name: (b.bytes, sha256((folder / name).read_bytes())) for name, b in before.items()}
    assert 'new\nline\r,"é".jpg' in source.files
    assert unchanged(source) == []


def test_the_same_folder_gives_the_same_bytes(tmp_path: Path, folder: Path) -> None:
    def read() -> list[bytes]:
        out = from_folder(folder, tmp_path)
        return [path.read_bytes() for path in sorted(out.iterdir())]

    assert read() == read()


def test_a_folder_may_be_named_from_the_home_or_from_here(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for spelled in (f"~/{folder.name}", folder.name, f"./{folder.name}/"):
        out = from_folder(spelled, tmp_path)
        assert read_json(out / "source.json")["root"] == spelled
        assert unchanged(open_source(out)) == []


def test_look_says_what_changed(tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = from_folder(folder, tmp_path)
    settings = DownloadSettings(adapter="folders", source=f"path:{folder}")
    before = look(settings, out)
    assert look(settings, out) == before and capsys.readouterr().out == ""
    (folder / "a.jpg").write_text("other")
    os.utime(folder / "empty", ns=(1, 1))
    (folder / "deep/er/b c.jpg").unlink()
    for name in "123":
        (folder / f"new{name}").touch()
    assert look(settings, out) != before
    assert f"{folder}: 3 files new, 1 gone, 2 altered since {out} was written" in capsys.readouterr().out
    assert len(unchanged(open_source(out))) == 6
    assert f"{folder / 'a.jpg'}: altered since it was downloaded" in unchanged(open_source(out))


def test_an_altered_listing_is_refused(tmp_path: Path, folder: Path) -> None:
    out = from_folder(folder, tmp_path)
    (out / "files.csv").write_text("")
    with pytest.raises(DataError, match=r"files\.csv: 0 bytes"):
        open_source(out)
    assert len(open_source(from_folder(folder, tmp_path)).files) == 4


def test_look_is_quick(tmp_path: Path, folder: Path) -> None:
    program = "import sys, stages.download; print(sorted({'pandas', 'torch', 'requests', 'pooch'} & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
    for number in range(2000):
        (folder / str(number)).touch()
    start = time.perf_counter()
    look(DownloadSettings(adapter="folders", source=f"path:{folder}"), tmp_path / "raw/set")
    assert time.perf_counter() - start < 0.5


@pytest.mark.parametrize("kind", ["missing", "empty", "file"])
def test_what_is_no_folder_with_data(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "x"
    if kind == "empty":
        (root / "only folders").mkdir(parents=True)
    elif kind == "file":
        root.touch()
    with pytest.raises(DataError, match=r"/x: (no such folder|an empty folder|is a file).*path:<folder>"):
        from_folder(root, tmp_path)
    assert not (tmp_path / "raw").exists()


def test_a_folder_changed_after_the_look(tmp_path: Path, folder: Path) -> None:
    settings = DownloadSettings(adapter="folders", source=f"path:{folder}")
    looked = look(settings, tmp_path / "raw/set")
    (folder / "new").touch()
    with pytest.raises(DataError, match=r"changed while it was read. Run `dvc repro` again"):
        fetch(settings, WHERE, "set", looked, tmp_path / "raw/set", tmp_path, 1)
    assert os.listdir(tmp_path / "raw") == []


def test_links_are_followed_and_loops_named(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/c.jpg").touch()
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    assert "linked/c.jpg" in open_source(from_folder(folder, tmp_path)).files
    (folder / "deep/loop").symlink_to(folder)
    with pytest.raises(DataError, match=r"deep/loop: a link to a folder that it lies in"):
        scan(folder)


def test_dangling_links_and_pipes_are_named(folder: Path) -> None:
    (folder / "dangling").symlink_to("nowhere")
    with pytest.raises(DataError, match=r"dangling: cannot be read: No such file"):
        scan(folder)
    (folder / "dangling").unlink()
    os.mkfifo(folder / "pipe")
    with pytest.raises(DataError, match=r"pipe: neither a file nor a folder"):
        scan(folder)


def test_unreadable_files_are_named(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(path: Path) -> str:  # a test that runs as root could read what chmod forbids
        if path.name == "a.jpg":
            raise PermissionError(13, "Permission denied", str(path))
        return "0" * 64

    monkeypatch.setattr(download, "sha256_file", forbidden)
    with pytest.raises(DataError, match=r"1 of 4 files cannot be read: .*a\.jpg: Permission denied"):
        from_folder(folder, tmp_path)
    assert os.listdir(tmp_path / "raw") == []


def test_names_that_are_not_utf8_are_named(folder: Path) -> None:
    try:
        Path(os.fsdecode(os.fsencode(folder) + b"/\xff.jpg")).touch()
    except OSError:
        pytest.skip("this disk takes UTF-8 names only")
    with pytest.raises(DataError, match=r"is not UTF-8. Rename"):
        scan(folder)


@pytest.mark.parametrize("where", ["raw/set", "raw/set/in", "raw", "."])
def test_a_folder_that_the_stage_would_write_over_is_refused(tmp_path: Path, where: str) -> None:
    (tmp_path / where).mkdir(parents=True, exist_ok=True)
    (tmp_path / where / "mine.jpg").touch()
    with pytest.raises(DataError, match=r"is written anew. Keep the data elsewhere"):
        from_folder(tmp_path / where, tmp_path)
    assert (tmp_path / where / "mine.jpg").exists()


# Hand labels ---------------------------------------------------------------------------------------------------------

LABELS = '{"images": [], "annotations": [], "categories": []}'


def with_labels(tmp_path: Path, labels: Path | str, source: str) -> Path:
    settings = DownloadSettings(adapter="folders", source=source, labels=str(labels))
    out = tmp_path / "raw/set"
    fetch(settings, WHERE, "fake", look(settings, out), out, tmp_path / "cache", seed=1)
    return out


@pytest.mark.parametrize("kind", ["path", "embedded"])
def test_hand_labels_are_copied_and_are_none_of_the_sources_files(
    tmp_path: Path, folder: Path, renderer: None, kind: str
) -> None:
    (tmp_path / "mine.json").write_text(LABELS)
    out = with_labels(tmp_path, tmp_path / "mine.json", f"path:{folder}" if kind == "path" else kind)
    assert (out / "hand_labels.json").read_text() == LABELS
    about = read_json(out / "source.json")
    assert about["labels"] == {"path": str(tmp_path / "mine.json"), "sha256": sha256(LABELS.encode())}
    source = open_source(out)
    assert source.labels == out / "hand_labels.json"
    assert len(source.files) == about["files"] == (4 if kind == "path" else 3)
    assert "hand_labels.json" not in source.files
    assert unchanged(source) == [] and check_manifest(out) == []
    assert open_source(from_folder(folder, tmp_path)).labels is None


@pytest.mark.parametrize("kind", ["path", "embedded", "url"])
def test_look_notices_other_hand_labels(tmp_path: Path, folder: Path, kind: str) -> None:
    labels = tmp_path / "mine.json"
    source = f"path:{folder}" if kind == "path" else kind
    seen = set()
    for text in (LABELS, LABELS, LABELS + "\n"):
        labels.write_text(text)
        found = look(DownloadSettings(adapter="folders", source=source, labels=str(labels)), tmp_path / "raw/set")
        seen.add(json.dumps(found))
    assert len(seen) == 2


def test_hand_labels_changed_after_the_look(tmp_path: Path, folder: Path) -> None:
    labels = tmp_path / "mine.json"
    labels.write_text(LABELS)
    settings = DownloadSettings(adapter="folders", source=f"path:{folder}", labels=str(labels))
    looked = look(settings, tmp_path / "raw/set")
    labels.write_text(LABELS + "\n")
    with pytest.raises(DataError, match=r"mine.json: changed since it was looked at. Run `dvc repro` again"):
        fetch(settings, WHERE, "set", looked, tmp_path / "raw/set", tmp_path, 1)
    assert os.listdir(tmp_path / "raw") == []


@pytest.mark.parametrize(
    ("place", "match"),
    [
        ("mine.json", r"mine.json: line 2, column 1: malformed JSON"),
        ("none.json", r"none.json: no such file. Set `download.labels` to"),
        ("raw/set/mine.json", r"lies in .*raw/set, which is written anew. Keep the hand labels elsewhere"),
        ("my data é/mine.json", r"lies in the source, whose own list it would be taken for"),
    ],
)
def test_hand_labels_that_cannot_be_used(tmp_path: Path, folder: Path, place: str, match: str) -> None:
    for name in ("mine.json", "raw/set/mine.json", "my data é/mine.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{\n")
    with pytest.raises(DataError, match=match):
        with_labels(tmp_path, tmp_path / place, f"path:{folder}")
    assert not (tmp_path / "raw/set/manifest.json").exists()


def test_hand_labels_reserve_their_name(tmp_path: Path, site: Site) -> None:
    fails(tmp_path, "'hand_labels.json' .* a name that is kept", site.url("hand_labels.json"))


# Embedded ------------------------------------------------------------------------------------------------------------


class Scenes(Record):
    pictures: int = 3


@pytest.fixture
def renderer(monkeypatch: pytest.MonkeyPatch) -> None:
    def write(out: Path, settings: Scenes, seed: int) -> None:
        (out / "images").mkdir()
        for number in range(settings.pictures):
            (out / "images" / f"{number}.txt").write_text(str(seed + number))

    fake = types.ModuleType("stages.embedded.fake")
    fake.SETTINGS, fake.write = Scenes, write  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "stages.embedded.fake", fake)


def embed(tmp_path: Path, dataset: str = "fake", seed: int = 7, **embedded: Any) -> Path:
    settings = DownloadSettings(adapter="folders", source="embedded", embedded=embedded)
    out = tmp_path / "raw/set"
    fetch(settings, WHERE, dataset, look(settings, out), out, tmp_path / "cache", seed)
    return out


def test_embedded_scenes_are_drawn(tmp_path: Path, renderer: None) -> None:
    out = embed(tmp_path, pictures=2)
    assert names(out) == ["images/0.txt", "images/1.txt", "manifest.json", "source.json"]
    assert read_json(out / "source.json") == {
        "adapter": "folders",
        "source": "embedded",
        "root": ".",
        "data": "embedded",
        "urls": [],
        "files": 2,
        "bytes": 2,
    }
    assert open_source(out).files["images/1.txt"] == (1, sha256(b"8"))
    settings = DownloadSettings(adapter="folders", source="embedded", embedded={"pictures": 2})
    assert look(settings, out) == {"adapter": "folders", "source": "embedded", "settings": {"pictures": 2}}
    assert len(names(embed(tmp_path))) == 5


def test_embedded_faults(tmp_path: Path, renderer: None) -> None:
    with pytest.raises(DataError, match=rf"{WHERE}.embedded.picture: unknown key. Did you mean `pictures`"):
        embed(tmp_path, picture=2)
    with pytest.raises(DataError, match=r"no embedded data set `other`. There is:"):
        embed(tmp_path, dataset="other")


# Settings and the command line ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"source": "urls"}, "source: given 'urls': expected `embedded`, `url` or `path:<folder>`"),
        ({"source": "path:"}, "source: given 'path:': expected"),
        ({"adapter": "nope"}, r"adapter: given 'nope': no such adapter.* There is: .*folders"),
        ({"adapter": "../evil"}, "no such adapter"),
        ({"urls": [{"url": "https://a.org/b", "sha256": "12"}]}, r"urls\.0\.sha256: given '12'"),
        ({"sources": 1}, "sources: unknown key. Did you mean `source`"),
    ],
)
def test_wrong_settings_are_explained(fields: dict[str, Any], match: str) -> None:
    with pytest.raises(DataError, match=match):
        section("d", DownloadSettings, {"d": {"adapter": "folders", "source": "embedded"} | fields})


def command(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-m", "stages.download", *arguments]
    return subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)


def sources(tmp_path: Path, **roots: Path) -> dict[str, bytes]:
    """Look at folders, by the name of their data set, and return what was written of each."""
    of = {name: {"smoke": {"download": {"adapter": "folders", "source": f"path:{root}"}}} for name, root in roots.items()}
    look_all({"datasets": of}, "smoke", tmp_path / "raw/look")
    return {name: (tmp_path / f"raw/look/{name}.json").read_bytes() for name in roots}


def test_a_changed_source_changes_what_is_written_of_it_alone(tmp_path: Path, folder: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    before = sources(tmp_path, one=folder, two=other)
    assert sources(tmp_path, one=folder, two=other) == before
    (other / "new").touch()
    after = sources(tmp_path, one=folder, two=other)
    assert after["one"] == before["one"] and after["two"] != before["two"]


def test_a_source_that_cannot_be_used_stops_its_own_data_set_alone(tmp_path: Path, folder: Path) -> None:
    before = sources(tmp_path, one=folder, two=folder)
    found = sources(tmp_path, one=folder, two=tmp_path / "gone")
    assert found["one"] == before["one"]
    looked = json.loads(found["two"])
    settings = DownloadSettings(adapter="folders", source=f"path:{tmp_path / 'gone'}")
    with pytest.raises(DataError, match="/gone: no such folder"):
        fetch(settings, WHERE, "two", looked, tmp_path / "raw/two", tmp_path, 1)
    assert check_manifest(tmp_path / "raw/look") == [] and not (tmp_path / "raw/two").exists()


def test_the_command_line(tmp_path: Path, folder: Path) -> None:
    params = {"datasets": {"set": {"smoke": {"download": {"adapter": "folders", "source": f"path:{folder.name}"}}}}}
    (tmp_path / "params.yaml").write_text(json.dumps(params))
    fetching = ("fetch", "--params", "datasets.set.smoke.download", "--dataset", "set", "--look", "raw/look/set.json",
                "--out", "raw/set", "--seed", "1")  # fmt: skip
    assert command(tmp_path, "look", "--profile", "smoke", "--out", "raw/look").returncode == 0
    assert command(tmp_path, *fetching).returncode == 0
    assert len(open_source(tmp_path / "raw/set").files) == 4
    shutil.rmtree(folder)
    failed = command(tmp_path, *fetching)
    assert failed.returncode == 1
    assert failed.stderr.startswith(f"error: {folder.name}: no such folder") and "Traceback" not in failed.stderr
