"""Shards: whole or not at all, gone on with after a kill, a broken one alone made anew."""

import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from stages.files import MANIFEST, DataError, check_manifest
from stages.shards import Tensors, Unfinished
from tests.disk_helpers import fill, small_disk

COUNT = 3  # shards of two samples, the last of one
MADE = ["00000.safetensors", "00001.safetensors", "00002.safetensors"]


def tensors(number: int) -> Tensors:
    rng, n = np.random.default_rng(number), 1 if number == COUNT - 1 else 2
    return {name: rng.integers(0, 256, (n, 4, 5, c)).astype(np.uint8) for name, c in (("rgb", 3), ("heatmap", 1), ("truth", 1))}


def rows(number: int) -> list[dict[str, Any]]:
    return [{"sample_id": f"{number}é{i}", "people": [1, 0][:i]} for i in range(len(tensors(number)["rgb"]))]


def make(work: Path, out: Path, but: tuple[int, ...] = ()) -> Unfinished:
    """Add what is missing, but not some, and finish when all is there."""
    unfinished = Unfinished(work, out, COUNT)
    for number in unfinished.missing():
        if number not in but:
            unfinished.add(number, tensors(number), rows(number))
    if not but:
        unfinished.finish({"sigma_px": 1.5})
    return unfinished


@pytest.fixture
def out(tmp_path: Path) -> Path:
    make(tmp_path / "work", tmp_path / "out")
    return tmp_path / "out"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_written(out: Path) -> None:
    assert check_manifest(out) == []
    assert sorted(contents(out)) == ["index.parquet", "made.json", MANIFEST, *(f"shards/{name}" for name in MADE)]
    for number, name in enumerate(MADE):
        stored = load_file(out / "shards" / name)
        assert {key: values.tolist() for key, values in stored.items()} == {
            key: values.tolist() for key, values in tensors(number).items()
        }
    assert json.loads((out / "made.json").read_text()) == {"sigma_px": 1.5}
    index = pd.read_parquet(out / "index.parquet")
    assert index["sample_id"].tolist() == ["0é0", "0é1", "1é0", "1é1", "2é0"]
    assert index["shard"].tolist() == [MADE[0], MADE[0], MADE[1], MADE[1], MADE[2]]
    assert index["row"].tolist() == [0, 1, 0, 1, 0]
    assert [list(people) for people in index["people"]] == [[], [1], [], [1], []]
    assert not list((out.parent / "work").glob("*.safetensors")), "kept once"


@pytest.mark.parametrize("how", ["truncated", "altered"])
@pytest.mark.parametrize("where", ["out", "work"])
def test_fault_46_a_broken_shard_is_named_and_alone_made_anew(tmp_path: Path, how: str, where: str) -> None:
    work, out = tmp_path / "work", tmp_path / "out"
    make(tmp_path / "other work", tmp_path / "other")
    make(work, out, but=() if where == "out" else (2,))
    path = (out / "shards" if where == "out" else work) / MADE[1]
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data if how == "altered" else data[:-1])
    again = Unfinished(work, out, COUNT)
    assert again.missing() == ([1] if where == "out" else [1, 2])
    (problem,) = again.problems
    assert problem.startswith(f"{path}: damaged: sha256 ")
    make(work, out)
    assert contents(out) == contents(tmp_path / "other")
    assert Unfinished(work, out, COUNT).missing() == []


def test_one_that_was_deleted_is_made_anew(out: Path) -> None:
    (out / "shards" / MADE[0]).unlink()
    assert Unfinished(out.parent / "work", out, COUNT).missing() == [0]


def test_with_nothing_to_do_the_folder_is_the_same(out: Path) -> None:
    before = contents(out)
    assert make(out.parent / "work", out).problems == []
    assert contents(out) == before


def test_other_inputs_take_nothing_over(out: Path, tmp_path: Path) -> None:
    """Another `work` belongs to other inputs; when these come back, what the others made is not called damaged."""
    other = Unfinished(tmp_path / "other work", out, COUNT)
    assert other.missing() == [0, 1, 2]
    for number in range(COUNT):
        other.add(number, {name: values // 2 for name, values in tensors(number).items()}, rows(number))
    other.finish({"sigma_px": 2.5})
    back = Unfinished(tmp_path / "work", out, COUNT)
    assert back.missing() == [0, 1, 2] and back.problems == []


def test_a_kill_costs_one_shard_and_leaves_no_output(tmp_path: Path) -> None:
    code = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from stages import shards
from test_shards import make, tensors, rows
unfinished = shards.Unfinished(Path({str(tmp_path / "work")!r}), Path({str(tmp_path / "out")!r}), 3)
unfinished.add(0, tensors(0), rows(0))
shards.write_json = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
unfinished.add(1, tensors(1), rows(1))
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert not (tmp_path / "out").exists()
    again = Unfinished(tmp_path / "work", tmp_path / "out", COUNT)
    assert again.missing() == [1, 2] and again.problems == []
    make(tmp_path / "work", tmp_path / "out")
    make(tmp_path / "whole work", tmp_path / "whole")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_fault_47_a_full_disk_is_told_and_no_final_name_appears(tmp_path: Path) -> None:
    unfinished = Unfinished(tmp_path / "work", tmp_path / "out", COUNT)
    unfinished.add(0, tensors(0), rows(0))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(DataError, match=r"00001\.safetensors: not written \(\d+ bytes\): .*finished shards are kept in"):
            unfinished.add(1, tensors(1), rows(1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["00000.json", MADE[0], "work"]
    assert make(tmp_path / "work", tmp_path / "out").problems == []


@pytest.mark.parametrize("full", ["work", "out", "both"])
def test_fault_47_a_small_disk_fills_up_while_shards_are_written(tmp_path: Path, full: str) -> None:
    """A megabyte of disk, of which the first shard leaves too little for the second; or the folder that all of them go to."""
    with small_disk(tmp_path / "disk") as disk:
        places = {"work": tmp_path / "work", "out": tmp_path / "made/out"} | (
            {"work": disk / "work", "out": disk / "made/out"}
            if full == "both"
            else {full: disk / ("made/out" if full == "out" else full)}
        )
        work, out = places["work"], places["out"]
        big = {"rgb": np.random.default_rng(0).integers(0, 256, (2, 500, 400, 1)).astype(np.uint8)}
        unfinished = Unfinished(work, out, COUNT)
        unfinished.add(0, big, rows(0))
        filler = fill(disk, leave_bytes=200_000)
        with pytest.raises(
            DataError, match=r"not written \([\d,]+ bytes\): No space left on device\. Make room and run"
        ) as raised:
            for number in (1, 2):
                unfinished.add(number, big, rows(0))
            unfinished.finish({})
        assert str(out if full == "out" else work / MADE[1]) in str(raised.value)
        assert not out.exists(), "no final name"
        assert not list(out.parent.glob(".*")), "and nothing half written"
        assert sorted(path.name for path in work.iterdir() if path.suffix == ".safetensors") == (
            MADE if full == "out" else MADE[:1]
        )
        filler.unlink()
        again = Unfinished(work, out, 2)
        assert (again.missing(), again.problems) == ([] if full == "out" else [1], [])
        if again.missing():
            again.add(1, {"rgb": big["rgb"][:1]}, rows(0)[:1])
        again.finish({})
        assert check_manifest(out) == []


def test_the_record_that_resumes_is_plain(out: Path) -> None:
    record = json.loads((out.parent / "work" / "00002.json").read_text())
    assert (
        record["rows"] == rows(2)
        and record["sha256"] == json.loads((out / MANIFEST).read_text())[f"shards/{MADE[2]}"]["sha256"]
    )
