"""Whole-or-nothing outputs, manifests and JSON. Faults 20, 30, 43 and 60."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.files import (
    MANIFEST,
    DataError,
    check_manifest,
    new_file,
    new_folder,
    read_json,
    require_manifest,
    seed_from,
    sha256_bytes,
    write_json,
)
from tests.disk_helpers import small_disk


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_seed_is_the_same_in_every_process() -> None:
    assert seed_from("order", 7) == 581510566256712129
    code = "from stages.files import seed_from; print(seed_from('order', 7))"
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert int(done.stdout) == 581510566256712129


@given(st.lists(st.one_of(st.integers(), st.text()), min_size=1, max_size=3))
def test_seed_is_63_bits_and_tells_parts_apart(parts: list[object]) -> None:
    assert 0 <= seed_from(*parts) < 2**63
    assert seed_from(*parts) != seed_from(*parts, "")
    assert seed_from("ab", "c") != seed_from("a", "bc")


def test_fault_43_failing_half_way_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "numbers.csv"
    with new_file(target) as temporary:
        temporary.write_text("old")
    with pytest.raises(RuntimeError, match="disk"), new_file(target) as temporary:
        temporary.write_text("half of the n")
        raise RuntimeError("disk")
    assert target.read_text() == "old"
    assert names_in(tmp_path) == ["numbers.csv"]


def test_fault_43_failing_half_way_leaves_no_new_file(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), new_file(tmp_path / "deep" / "numbers.csv") as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert names_in(tmp_path / "deep") == []


def test_fault_43_failing_half_way_leaves_the_old_folder(tmp_path: Path) -> None:
    target = tmp_path / "clean"
    with new_folder(target) as folder:
        (folder / "old.csv").write_text("old")
    with pytest.raises(KeyboardInterrupt), new_folder(target) as folder:
        assert names_in(folder) == []
        (folder / "new.csv").write_text("new")
        raise KeyboardInterrupt
    assert names_in(tmp_path) == ["clean"]
    assert names_in(target) == [MANIFEST, "old.csv"]
    assert check_manifest(target) == []


def test_fault_43_failing_half_way_leaves_no_new_folder(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), new_folder(tmp_path / "clean") as folder:
        (folder / "new.csv").write_text("new")
        raise RuntimeError
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("kind", ["new_file", "new_folder"])
def test_fault_43_47_a_disk_that_fills_up_half_way_leaves_the_old_output(tmp_path: Path, kind: str) -> None:
    with small_disk(tmp_path / "disk") as disk:
        target = disk / "out"
        write = {"new_file": new_file, "new_folder": new_folder}[kind]

        def output(size: int) -> None:
            with write(target) as path:
                (path if kind == "new_file" else path / "a").write_bytes(bytes(size))

        output(100)
        with pytest.raises(OSError, match="No space left on device"):
            output(2_000_000)
        assert names_in(disk) == ["out"], "what was half written is gone, and its room is free again"
        assert (target if kind == "new_file" else target / "a").read_bytes() == bytes(100)
        assert kind == "new_file" or check_manifest(target) == []
        output(900_000)
        assert (target if kind == "new_file" else target / "a").stat().st_size == 900_000


@pytest.mark.parametrize("kind", ["new_file", "new_folder"])
def test_fault_43_killed_half_way_leaves_the_old_output(tmp_path: Path, kind: str) -> None:
    write = {"new_file": "path.write_text(text)", "new_folder": "(path / 'a').write_text(text)"}[kind]
    code = f"""
import os, signal, sys
from pathlib import Path
from stages.files import {kind}
for text in ("old", "new"):
    with {kind}(Path({str(tmp_path / "out")!r})) as path:
        {write}
        if text == "new": os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    target = tmp_path / "out"
    assert (target if kind == "new_file" else target / "a").read_text() == "old"
    with {"new_file": new_file, "new_folder": new_folder}[kind](target) as path:  # the rerun
        (path if kind == "new_file" else path / "a").write_text("whole")
    assert (target if kind == "new_file" else target / "a").read_text() == "whole"
    if kind == "new_folder":  # and sweeps up after the killed one
        assert names_in(tmp_path) == ["out"]


def test_a_new_folder_holds_nothing_of_the_old(tmp_path: Path) -> None:
    for name in ("old.csv", "new.csv"):
        with new_folder(tmp_path / "clean") as folder:
            (folder / name).write_text(name)
    assert names_in(tmp_path / "clean") == [MANIFEST, "new.csv"]


def test_manifest_names_every_file_with_size_and_sha256(tmp_path: Path) -> None:
    with new_folder(tmp_path / "out") as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "é b\n.txt").write_bytes(b"abc")
    listed = json.loads((tmp_path / "out" / MANIFEST).read_text())
    assert listed == {"deep/é b\n.txt": {"bytes": 3, "sha256": sha256_bytes(b"abc")}}
    assert sha256_bytes(b"abc").startswith("ba7816bf8f01cfea")


@settings(max_examples=25)
@given(place=st.integers(0, 8 * 300 - 1))
def test_fault_20_flipped_bit_is_named(tmp_path_factory: pytest.TempPathFactory, place: int) -> None:
    folder = tmp_path_factory.mktemp("flipped") / "out"
    with new_folder(folder) as new:
        (new / "good.bin").write_bytes(bytes(300))
        (new / "bad.bin").write_bytes(bytes(300))
    data = bytearray(300)
    data[place // 8] ^= 1 << place % 8
    (folder / "bad.bin").write_bytes(data)
    (problem,) = check_manifest(folder)
    assert problem.startswith(f"{folder / 'bad.bin'}: altered: sha256 {sha256_bytes(data)}, {sha256_bytes(bytes(300))}")
    with pytest.raises(DataError, match=r"bad\.bin[\s\S]*Get it anew from where it came$"):
        require_manifest(folder)


@pytest.mark.parametrize("own", ["data/clean/few", "models/fox", "reports"])
def test_what_a_stage_makes_is_made_again_and_what_came_from_elsewhere_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for folder in (Path(own), tmp_path / "here" / own):
        with pytest.raises(DataError, match=r"Remove them and .*, then run `dvc repro`$"):
            require_manifest(folder)
    for folder in (Path("given"), Path("..") / own, tmp_path / own, Path("given/../../models/fox"), Path()):
        with pytest.raises(DataError, match=r"json\nGet it anew from where it came$"):
            require_manifest(folder)


def test_manifest_check_tells_missing_shorter_and_strange_files(tmp_path: Path) -> None:
    with new_folder(tmp_path / "out") as folder:
        for name in "abc":
            (folder / name).write_text("123")
    out = tmp_path / "out"
    (out / "a").unlink()
    (out / "b").write_text("12")
    (out / "d").write_text("")
    assert check_manifest(out) == [
        f"{out / 'a'}: missing",
        f"{out / 'b'}: 2 bytes, 3 when it was written",
        f"{out / 'd'}: not in the manifest",
    ]
    (out / MANIFEST).unlink()
    assert check_manifest(out) == [f"{out}: no {MANIFEST}"]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), np.float64("nan")])
def test_fault_60_no_nan_replaces_old_metrics(tmp_path: Path, bad: float) -> None:
    path = tmp_path / "model.json"
    write_json(path, {"f1_macro": 0.5})
    with pytest.raises(DataError, match=r"model\.json: not written, seen\.rows\.1\.f1_macro is not a finite number"):
        write_json(path, {"seen": {"rows": [{"f1_macro": 0.1}, {"f1_macro": bad}]}})
    assert path.read_text() == '{\n  "f1_macro": 0.5\n}\n'
    assert names_in(tmp_path) == ["model.json"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{\n  "images": [\n    {"id": 1,}\n  ]\n}', "line 3, column 14: malformed JSON"),
        ('{"images": [', "line 1, column 13: malformed JSON"),
        ("", "line 1, column 1: malformed JSON"),
        ("<html>", "line 1, column 1: malformed JSON"),
        ('{"id": ' + "9" * 5000 + "}", "malformed JSON"),
        ("[" * 100_000, "malformed JSON"),
    ],
    ids=["comma", "cut", "empty", "html", "digits", "nested"],
)
def test_fault_30_malformed_json_names_the_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "list.json"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        read_json(path)
    assert str(caught.value).startswith(f"{path}: {message}")


def test_fault_30_what_is_no_text_at_all_is_named(tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    path.write_bytes(b'{"a": "\xff"}')
    with pytest.raises(DataError, match=r"list\.json: not JSON: not UTF-8 text \(invalid start byte at byte 7\)"):
        read_json(path)
    with pytest.raises(DataError, match=r"none\.json: no such file"):
        read_json(tmp_path / "none.json")


def test_half_a_character_becomes_a_question_mark(tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    path.write_text('{"a": ["x\\uD800.jpg", "\\ud83e\\udd8c", NaN], "\\udc00": "\\\\ud"}')
    found = read_json(path)
    assert found["a"][:2] == ["x?.jpg", "\N{DEER}"]
    assert math.isnan(found["a"][2])
    assert found["?"] == "\\ud"


def test_a_manifest_of_another_tool_further_down_is_a_file_like_any_other(tmp_path: Path) -> None:
    with new_folder(tmp_path / "out") as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / MANIFEST).write_text("theirs")
    assert check_manifest(tmp_path / "out") == []
    (tmp_path / "out" / "deep" / MANIFEST).write_text("THEIRS")
    assert len(check_manifest(tmp_path / "out")) == 1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@settings(max_examples=50)
@given(value=json_values)
def test_json_comes_back_as_it_went(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    path = tmp_path_factory.mktemp("json") / "x.json"
    write_json(path, value)
    assert read_json(path) == value
