"""The journal: what was written whole is kept whatever ends a run, what was not is cut off, and runs do not mix."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.files import DataError
from stages.journal import Journal

ABOUT = {"model": "m", "fps": 1.0}
LINES = [
    {"path": "a\nb.jpg", "bytes": 1},
    {"path": "é\u2028.jpg", "boxes": [[0, "fox", 0.5]]},
    {"path": "c", "failure": "empty"},
]


def write(path: Path, *lines: dict[str, Any], about: dict[str, Any] = ABOUT) -> Path:
    with Journal(path, about) as journal:
        for line in lines:
            journal.append(line)
    return path


def read(path: Path, about: dict[str, Any] = ABOUT) -> list[dict[str, Any]]:
    with Journal(path, about) as journal:
        return [line for _, line in journal.lines()]


def test_lines_come_back_in_order_and_from_their_places(tmp_path: Path) -> None:
    with Journal(write(tmp_path / "new/folder/j.jsonl", *LINES), ABOUT) as journal:
        places = [place for place, _ in journal.lines()]
        assert [line for _, line in journal.lines()] == LINES
        assert list(journal.at(places[::-1])) == LINES[::-1]
        journal.append({"path": "d"})
        assert [line["path"] for _, line in journal.lines()][-1] == "d", "also what was added a moment ago"
    assert read(tmp_path / "new/folder/j.jsonl") == [*LINES, {"path": "d"}]


def test_each_line_is_one_line_of_plain_ascii(tmp_path: Path) -> None:
    text = write(tmp_path / "j.jsonl", *LINES).read_bytes()
    assert text.isascii() and text.count(b"\n") == 4 and text.endswith(b"\n")


@given(st.integers(0, 200), st.binary(max_size=40).filter(lambda tail: b"\n" not in tail))
def test_whatever_tears_the_end_only_whole_lines_are_kept(kept: int, rest: bytes) -> None:
    """Cut anywhere, with any rest of a line behind the cut: the lines before stay, and the next ones fit on."""
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder, "j.jsonl"), *LINES)
        whole = path.read_bytes()
        kept = min(kept, len(whole))
        path.write_bytes(whole[:kept] + rest)
        left = max(whole[:kept].count(b"\n") - 1, 0)
        assert read(path) == LINES[:left]
        write(path, {"path": "next"})
        assert read(path) == [*LINES[:left], {"path": "next"}]


def test_a_torn_line_of_megabytes_is_cut(tmp_path: Path) -> None:
    path = write(tmp_path / "j.jsonl", *LINES)
    with path.open("ab") as file:
        file.write(b'{"boxes":' + b" " * 300_000)
    assert read(path) == LINES


def test_what_was_added_outlives_a_kill(tmp_path: Path) -> None:
    """Not only what was written in the last seconds: each line, as it is added."""
    code = f"""
import os, pathlib, signal
from stages.journal import Journal
with Journal(pathlib.Path({str(tmp_path / "j.jsonl")!r}), {ABOUT!r}) as journal:
    for line in {LINES!r}:
        journal.append(line)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent.parent, timeout=60, check=False)
    assert done.returncode == -9
    assert read(tmp_path / "j.jsonl") == LINES, "and the lock went with the process"


@pytest.mark.parametrize("damage", [b"{", b"\x00\x00", b"[1, 2]", b'{"path":"a', b"", b'{"path": 1} {'])
def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path, damage: bytes) -> None:
    path = write(tmp_path / "j.jsonl", *LINES)
    lines = path.read_bytes().splitlines()
    lines[2] = damage
    path.write_bytes(b"\n".join(lines) + b"\n")
    with pytest.raises(DataError, match=r"j\.jsonl: line 3 is damaged.* that line to do its file again"):
        read(path)
    path.write_bytes(b"\n".join(lines[:2] + lines[3:]) + b"\n")
    assert read(path) == [LINES[0], LINES[2]], "as the message says"


def test_a_damaged_first_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "j.jsonl").write_bytes(b"no journal\n")
    with pytest.raises(DataError, match=r"line 1 is damaged"):
        read(tmp_path / "j.jsonl")


@pytest.mark.parametrize(("about", "message"), [
    (ABOUT | {"fps": 2.0}, r"fps: 1\.0, now 2\.0"),
    ({"model": "n", "fps": 1.0}, "model: m, now n"),
    (ABOUT | {"boxes": "ab"}, "boxes: None, now ab"),
    ({"model": "m"}, r"fps: 1\.0, now None"),
])  # fmt: skip
def test_another_run_is_refused_with_what_differs_and_nothing_is_lost(tmp_path: Path, about: Any, message: str) -> None:
    path = write(tmp_path / "j.jsonl", *LINES)
    before = path.read_bytes()
    with pytest.raises(DataError, match=rf"holds what another run found \({message}\)\. Give another --out"):
        write(path, {"path": "x"}, about=about)
    assert path.read_bytes() == before
    assert read(path) == LINES, "its lock was given back"


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    with Journal(path, ABOUT) as first:
        first.append(LINES[0])
        with pytest.raises(DataError, match="another run is writing here. Wait for it, or give another --out"):
            write(path, LINES[1])
        first.append(LINES[2])
    assert read(path) == [LINES[0], LINES[2]]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"file: cannot be written: File exists. Give another --out"):
        read(tmp_path / "file/j.jsonl")


def test_a_kill_between_the_lock_and_the_first_line_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "j.jsonl").touch()
    (tmp_path / "j.jsonl.lock").touch()
    assert read(write(tmp_path / "j.jsonl", *LINES)) == LINES


def test_a_number_that_json_has_no_word_for_is_not_written(tmp_path: Path) -> None:
    path = write(tmp_path / "j.jsonl", LINES[0])
    with Journal(path, ABOUT) as journal, pytest.raises(ValueError, match="not JSON compliant"):
        journal.append({"path": "b", "scores": [float("nan")]})
    assert read(path) == [LINES[0]]


def test_it_is_jsonl_that_other_programs_read(tmp_path: Path) -> None:
    text = write(tmp_path / "j.jsonl", *LINES).read_text(encoding="ascii")
    assert [json.loads(line) for line in text.splitlines()] == [ABOUT, *LINES]
    assert os.listdir(tmp_path) in (["j.jsonl", "j.jsonl.lock"], ["j.jsonl.lock", "j.jsonl"])
