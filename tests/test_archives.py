"""Faults 9 to 16: hostile, broken and interrupted archives. Nothing of them may appear, inside or outside."""

import gzip
import io
import os
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import tempfile
import tracemalloc
import zipfile
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from stages.archives import unpack
from stages.files import FULL, DataError

ROOT = Path(__file__).parents[1]
GOOD = {"images/a.jpg": b"a" * 3000, "images/deep/b c é.jpg": os.urandom(3000), "list.json": b"{}"}
ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz")


def info(name: str, size: int = 0, **fields: object) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size = size
    for key, value in fields.items():
        setattr(member, key, value)
    return member


def make_tar(path: Path, *members: tarfile.TarInfo | tuple[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz" if path.name.endswith(("gz", "tgz")) else "w") as tar:
        for member in members:
            if isinstance(member, tuple):
                tar.addfile(info(member[0], len(member[1])), io.BytesIO(member[1]))
            else:
                tar.addfile(member, io.BytesIO(bytes(member.size)))
    return path


def make_zip(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in members:
            packed.writestr(name, data)
    return path


def make(path: Path, *members: tuple[str, bytes]) -> Path:
    return make_zip(path, *members) if path.suffix == ".zip" else make_tar(path, *members)


def refused(archive: Path, match: str, **limits: float) -> str:
    """Unpacking fails with the archive's name and the cause, and leaves the folder as it was."""
    before = {path: path.read_bytes() for path in archive.parent.rglob("*") if path.is_file()}
    with pytest.raises(DataError, match=match) as caught:
        unpack(archive, archive.parent / "out", **limits)  # type: ignore[arg-type]
    assert archive.name in str(caught.value)
    assert {path: path.read_bytes() for path in archive.parent.rglob("*") if path.is_file()} == before
    assert sorted(path.name for path in archive.parent.iterdir()) == sorted({path.name for path in before})
    return str(caught.value)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_good_archive_comes_out_whole(tmp_path: Path, ending: str) -> None:
    archive = make(tmp_path / f"good{ending}", *GOOD.items())
    assert unpack(archive, tmp_path / "out") == sorted(GOOD)
    assert {name: (tmp_path / "out" / name).read_bytes() for name in GOOD} == GOOD
    assert sorted(path.name for path in tmp_path.iterdir()) == [archive.name, "out"]


def test_folders_dots_and_links_to_files_of_the_archive_are_welcome(tmp_path: Path) -> None:
    folder = info("./d", type=tarfile.DIRTYPE, mode=0o2755)  # setgid folders are usual on shared disks
    soft = info("./d/soft.txt", type=tarfile.SYMTYPE, linkname="a.txt")
    hard = info("hard.txt", type=tarfile.LNKTYPE, linkname="./d/a.txt")
    archive = make_tar(tmp_path / "a.tar.gz", info(".", type=tarfile.DIRTYPE), folder, ("./d/a.txt", b"hello"), soft, hard)
    assert unpack(archive, tmp_path / "out") == ["d/a.txt", "d/soft.txt", "hard.txt"]
    assert (tmp_path / "out/d/soft.txt").read_bytes() == (tmp_path / "out/hard.txt").read_bytes() == b"hello"


def test_an_archive_of_nothing_is_refused(tmp_path: Path) -> None:
    refused(make_tar(tmp_path / "a.tar.gz"), "holds no file")
    (tmp_path / "a.tar.gz").unlink()
    refused(make_zip(tmp_path / "a.zip", ("folder/", b"")), "holds no file")


def test_an_existing_folder_is_not_overwritten(tmp_path: Path) -> None:
    archive = make(tmp_path / "a.zip", ("a", b"new"))
    (tmp_path / "out").mkdir()
    with pytest.raises(DataError, match=r"out: is there already"):
        unpack(archive, tmp_path / "out")


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "..", "a\\..\\..\\evil", "a/.."])
def test_fault_09_parent_folder(tmp_path: Path, ending: str, name: str) -> None:
    refused(make(tmp_path / f"bad{ending}", ("good", b"1"), (name, b"2")), r"leads outside by `\.\.`")


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("name", ["/etc/evil", "C:\\evil", "c:evil", "\\\\server\\evil", "//evil"])
def test_fault_10_absolute_path(tmp_path: Path, ending: str, name: str) -> None:
    refused(make(tmp_path / f"bad{ending}", ("good", b"1"), (name, b"2")), "is an absolute path")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
@pytest.mark.parametrize("target", ["/etc/passwd", "../../etc/passwd", "..", ".", "nowhere", "d"])
def test_fault_11_link_outside(tmp_path: Path, kind: bytes, target: str) -> None:
    link = info("d/link", type=kind, linkname=target)
    refused(make_tar(tmp_path / "bad.tar", ("good", b"1"), link, ("d/good", b"2")), "is a link to .* no file of the archive")


def test_fault_11_file_written_through_a_link(tmp_path: Path) -> None:
    link = info("d", type=tarfile.SYMTYPE, linkname="good")
    refused(make_tar(tmp_path / "bad.tar", ("good", b"1"), link, ("d/evil", b"2")), "'d/evil' lies below 'd'")


@pytest.mark.parametrize("target", ["good/", "good/.", "nowhere/../good", "good/../good"])
def test_fault_11_a_link_that_leads_to_no_file_though_its_name_does(tmp_path: Path, target: str) -> None:
    link = info("link", type=tarfile.SYMTYPE, linkname=target)
    refused(make_tar(tmp_path / "bad.tar", ("good", b"1"), link), "'link' is a link that leads to no file")


def test_fault_11_link_in_a_zip(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    refused(make_zip(tmp_path / "bad.zip", ("good", b"1"), (link, b"/etc/passwd")), "'link' is a link")


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_fault_12_device(tmp_path: Path, kind: bytes) -> None:
    refused(make_tar(tmp_path / "bad.tar", ("good", b"1"), info("dev", type=kind)), "'dev' is a device")


@pytest.mark.parametrize("mode", [0o4755, 0o2755])
def test_fault_12_setuid(tmp_path: Path, mode: int) -> None:
    refused(make_tar(tmp_path / "bad.tar", ("good", b"1"), info("tool", mode=mode)), "'tool' asks for setuid")
    tool = zipfile.ZipInfo("tool")
    tool.external_attr = (stat.S_IFREG | mode) << 16
    (tmp_path / "bad.tar").unlink()
    refused(make_zip(tmp_path / "bad.zip", (tool, b"")), "'tool' asks for setuid")


@pytest.mark.parametrize("ending", [".zip", ".tar.gz"])
def test_fault_13_bomb_by_ratio(tmp_path: Path, ending: str) -> None:
    refused(make(tmp_path / f"bomb{ending}", ("zeros", bytes(10**7))), r"10,000,000 bytes or more")


@pytest.mark.parametrize("ending", ENDINGS)
def test_fault_13_bomb_by_size(tmp_path: Path, ending: str) -> None:
    files = [(f"{i}", os.urandom(1000)) for i in range(10)]
    assert "5,000 are allowed" in refused(make(tmp_path / f"big{ending}", *files), "6,000 bytes or more", limit_bytes=5000)


def test_fault_13_size_in_the_header_only(tmp_path: Path) -> None:
    """A tar that announces a terabyte is refused at once, not read to its end."""
    (tmp_path / "big.tar").write_bytes(info("huge", 2**40).tobuf() + bytes(1024))
    refused(tmp_path / "big.tar", "1,099,511,627,776 bytes or more")


HEADERS = {"pax": tarfile.XHDTYPE, "pax of all": tarfile.XGLTYPE, "long name": tarfile.GNUTYPE_LONGNAME,
           "long link": tarfile.GNUTYPE_LONGLINK}  # fmt: skip


@pytest.mark.parametrize("kind", HEADERS)
def test_fault_13_a_header_that_fills_the_memory(tmp_path: Path, kind: str) -> None:
    """tarfile reads such a header whole: 100 MB of zeros, packed into 100 kB, in no more than 20 MB of memory."""
    with gzip.open(tmp_path / "bomb.tar.gz", "wb") as file:
        file.write(info("long", 10**8, type=HEADERS[kind]).tobuf())
        for _ in range(100):
            file.write(bytes(10**6))
    tracemalloc.start()
    try:
        refused(tmp_path / "bomb.tar.gz", "a header in it has 100,000,000 bytes, 1,048,576 are allowed")
        assert tracemalloc.get_traced_memory()[1] < 20 * 10**6
    finally:
        tracemalloc.stop()


def test_fault_13_more_files_than_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.archives.LIMIT_FILES", 1000)
    path = make_tar(tmp_path / "many.tar.gz", *(info(f"{n}") for n in range(1001)))
    refused(path, "it holds more than 1,000 files")
    path.unlink()
    assert len(unpack(make_tar(tmp_path / "less.tar.gz", *(info(f"{n}") for n in range(1000))), tmp_path / "out")) == 1000


def test_fault_13_zeros_without_end_behind_the_files(tmp_path: Path) -> None:
    path = tmp_path / "bomb.tar.gz"
    with gzip.open(path, "wb") as file:
        file.write(info("a").tobuf())
        for _ in range(30):
            file.write(bytes(10**6))
    refused(path, r"[\d,]+ bytes or more follow its end")


@pytest.mark.parametrize("kind", ["GNU", "pax"])
def test_fault_13_a_sparse_file(tmp_path: Path, kind: str) -> None:
    """Its map of holes is read into memory, however long, before anything is known of its size."""
    if kind == "GNU":
        member = info("holes", type=tarfile.GNUTYPE_SPARSE)
    else:
        member = info("holes", 512, pax_headers={"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "holes"})
    with tarfile.open(tmp_path / "bad.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(member, io.BytesIO(b"1000000000\n".ljust(512, b"1")))
    refused(tmp_path / "bad.tar", "a sparse file")


def test_fault_13_a_zip_that_asks_for_memory(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bad.zip", "w", zipfile.ZIP_LZMA) as packed:
        packed.writestr("a", b"1")
    assert "source: path:" in refused(tmp_path / "bad.zip", r"'a' is packed by a method that is not read \(14\)")


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.8, 0.99])
def test_fault_14_truncated(tmp_path: Path, ending: str, share: float) -> None:
    path = make(tmp_path / f"half{ending}", *((f"{i}.jpg", os.urandom(5000)) for i in range(8)))
    data = path.read_bytes()
    end = len(data) if ending != ".tar" else 8 * (512 + 5120) + 512  # what follows pads the last block
    path.write_bytes(data[: int(share * end)])
    assert "download it again" in refused(path, "truncated or damaged")


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_fault_14_truncated_between_two_members(tmp_path: Path, cut: int) -> None:
    """tarfile takes the missing end for the end of the archive: three of eight files, and no error."""
    path = make_tar(tmp_path / "half.tar", *((f"{i}", bytes(512)) for i in range(8)))
    path.write_bytes(path.read_bytes()[: cut * 1024])
    refused(path, "truncated or damaged")


def test_fault_14_damaged_header_amid_a_tar(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "bad.tar", *((f"{i}", bytes(512)) for i in range(8)))
    data = bytearray(path.read_bytes())
    data[3 * 1024] ^= 1
    path.write_bytes(data)
    refused(path, r"truncated or damaged \(bad checksum\)")


@pytest.mark.parametrize("ending", [".zip", ".tar.gz"])
def test_fault_14_flipped_bit(tmp_path: Path, ending: str) -> None:
    path = make(tmp_path / f"bad{ending}", ("a", os.urandom(5000)))
    data = bytearray(path.read_bytes())
    data[2500] ^= 1
    path.write_bytes(data)
    refused(path, "truncated or damaged")


@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html><html>sorry</html>", bytes(100), b"\xff\xd8\xff" + bytes(2000)])
def test_what_is_no_archive_is_called_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    refused(tmp_path / "a.zip", r"a\.zip: not an archive .*begins with")


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("names", [("a/X.jpg", "a/x.jpg"), ("A/1", "a/2"), ("é", "e\u0301"), ("ab", "AB/c")])
def test_fault_15_names_that_collide_by_case(tmp_path: Path, ending: str, names: tuple[str, str]) -> None:
    message = refused(make(tmp_path / f"bad{ending}", *((name, b"") for name in names)), "one name on a disk")
    assert all(repr(name.split("/")[0]).strip("'") in message for name in names)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("ending", ENDINGS)
def test_fault_15_one_name_twice(tmp_path: Path, ending: str) -> None:
    refused(make(tmp_path / f"bad{ending}", ("a/b", b"1"), ("a/b", b"2")), "'a/b' is in it twice")


def test_encrypted_zip(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "secret.zip", ("a", b"1"))
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    path.write_bytes(data)
    assert "source: path:" in refused(path, "'a' is encrypted")


def test_fault_08_no_room_is_found_before_anything_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**6, 10**6 - 100, 100))
    refused(make(tmp_path / "a.zip", *GOOD.items()), "needs 6,002 bytes, .* has 100 free")


@pytest.mark.parametrize("number", FULL, ids=os.strerror)
def test_fault_08_disk_full_while_extracting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    archive = make(tmp_path / "a.tar", *GOOD.items())
    monkeypatch.setattr(tarfile.TarFile, "makefile", full)
    refused(archive, "disk full, 6,002 bytes are needed")


def test_fault_16_killed_while_extracting(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    archive = make_tar(tmp_path / "a.tar.gz", *((f"{i}.bin", os.urandom(1000)) for i in range(50)))
    program = (
        "import os, signal, sys, tarfile\n"
        "from pathlib import Path\n"
        "from stages.archives import unpack\n"
        "extract = tarfile.TarFile.extract\n"
        "def dies(self, member, *args, **options):\n"
        "    if member.name == '25.bin':\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    extract(self, member, *args, **options)\n"
        "tarfile.TarFile.extract = dies\n"
        "unpack(Path(sys.argv[1]), Path(sys.argv[2]))\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(archive), str(tmp_path / "out")], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    assert [path.name for path in tmp_path.glob(".out.partial-*")]  # it was amid the work
    assert len(unpack(archive, tmp_path / "out")) == 50
    assert len(list((tmp_path / "out").iterdir())) == 50
    assert not list(tmp_path.glob(".out.partial-*"))
    record_property("says", "continues: all 50 files are there; what the killed run left is removed")


@pytest.mark.parametrize("ending", ENDINGS)
def test_fault_31_accents_spaces_and_newlines_in_names(
    tmp_path: Path, ending: str, record_property: Callable[[str, object], None]
) -> None:
    files = {name: name.encode() for name in ("été ñandú (1).png", "line\nbreak/日本.png", " lead.png", 'comma, "quote".png')}
    assert unpack(make(tmp_path / f"odd{ending}", *files.items()), tmp_path / "out") == sorted(files)
    assert {name: (tmp_path / "out" / name).read_bytes() for name in files} == files
    record_property("says", "continues")


PARTS = st.sampled_from(["a", "A", "b", "..", ".", "", "C:", "é", "e\u0301", "new\nline", " ", "\\", "~", "con", "x" * 300])
NAMES = st.lists(PARTS, min_size=1, max_size=4).map("/".join) | st.text(max_size=8)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@pytest.mark.filterwarnings("ignore:Duplicate name")
@given(names=st.lists(NAMES, max_size=4), ending=st.sampled_from([".zip", ".tar"]), link=st.none() | NAMES)
@example(names=["A/a/a"], ending=".tar", link="A/a/a/")
def test_any_names_are_extracted_inside_or_refused(names: list[str], ending: str, link: str | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "in")
        root.mkdir()
        members: list[tarfile.TarInfo | tuple[str, bytes]] = [(name, name.encode(errors="replace")) for name in names]
        if link is not None and ending == ".tar":
            members.insert(len(members) // 2, info("b", type=tarfile.SYMTYPE, linkname=link))
        try:
            archive = make(root / f"a{ending}", *members)  # type: ignore[arg-type]
        except (UnicodeError, ValueError, IndexError):
            return  # not even the packer takes such a name
        try:
            found = unpack(archive, root / "out")
        except DataError:
            found = []
            assert not (root / "out").exists()
        assert {path.relative_to(root / "out").as_posix() for path in (root / "out").rglob("*") if path.is_file()} == {*found}
        assert os.listdir(folder) == ["in"]
        assert {*os.listdir(root)} <= {archive.name, "out"}
        assert not [path for path in root.rglob("*") if path.is_symlink() and root / "out" not in path.resolve().parents]


@settings(max_examples=150, deadline=None)
@given(ending=st.sampled_from(ENDINGS), where=st.floats(0, 0.999), value=st.integers(1, 255), cut=st.booleans())
def test_any_damage_is_a_clear_message_or_harmless(ending: str, where: float, value: int, cut: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = make(Path(folder, f"a{ending}"), *GOOD.items())
        data = bytearray(path.read_bytes())
        place = int(where * len(data))
        if cut:
            del data[place:]
        else:
            data[place] ^= value
        path.write_bytes(data)
        try:
            unpack(path, Path(folder, "out"))
        except DataError:
            assert os.listdir(folder) == [path.name]
