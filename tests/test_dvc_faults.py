"""Faults of storage in a real DVC repository: an altered or a lost cache object, two runs at once, a stage that fails half way,
a broken lock file or state database. Where DVC itself says too little, `python -m stages.doctor` has to.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import yaml

from stages.files import check_manifest, sha256_file
from tests import training_helpers as tiny
from tests.pipeline_helpers import wait_for

ROOT = Path(__file__).parent.parent
DVC = (sys.executable, "-m", "dvc")

# A stage made of the pipeline's own parts. `hold`, a file: it waits half way until that is gone. `fail`: it fails there.
MAKE = """
import sys, time
from pathlib import Path
from stages.command import run
from stages.files import DataError, new_folder, require_manifest

def main():
    name, *sources = sys.argv[1:]
    for source in sources:
        require_manifest(Path(source))
    with new_folder(Path(name)) as out:
        (out / "first.txt").write_text(f"first of {name}: " + Path("text.txt").read_text())
        Path(f"started-{name}").touch()
        while Path("hold").exists():
            time.sleep(0.02)
        if Path("fail").exists():
            raise DataError(f"{name}: failed half way")
        (out / "second.txt").write_text(f"second of {name}")

run(main)
"""
STAGES = {
    "one": {"cmd": "python make.py one", "deps": ["text.txt"], "outs": [{"one": {"persist": True}}]},
    "two": {"cmd": "python make.py two one", "deps": ["one"], "outs": [{"two": {"persist": True}}]},
    "other": {"cmd": "python make.py other", "deps": ["text.txt"], "outs": [{"other": {"persist": True}}]},
}


def surroundings() -> dict[str, str]:
    """`python` and `stages` are this project's, wherever the command runs."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def call(folder: Path, *words: str, ok: bool | None = True) -> str:
    """What a command prints. It has to end well, or badly; None: either way."""
    done = subprocess.run(words, cwd=folder, env=surroundings(), capture_output=True, text=True, check=False)
    assert ok is None or (done.returncode == 0) == ok, done.stdout + done.stderr
    return done.stdout + done.stderr


def start(folder: Path, *words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        words,
        cwd=folder,
        env=surroundings(),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def end(process: "subprocess.Popen[str]") -> None:
    """With all that it started, if it still runs."""
    if process.poll() is None:
        for own in [*psutil.Process(process.pid).children(recursive=True), process]:
            own.kill()
        process.communicate()


def ran(printed: str) -> list[str]:
    return [line.split("'")[1] for line in printed.splitlines() if line.startswith("Running stage ")]


def make_repository(folder: Path, stages: dict[str, object]) -> Path:
    folder.mkdir(exist_ok=True)
    for words in (["git", "init", "-q"], [*DVC, "init", "-q"]):
        call(folder, *words)
    shutil.copy(ROOT / ".dvc/config", folder / ".dvc/config")
    shutil.copy(ROOT / ".dvcignore", folder / ".dvcignore")
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}, sort_keys=False))
    return folder


@pytest.fixture(scope="module", autouse=True)
def _own_site_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path_factory.mktemp("site")))
        yield


@pytest.fixture(scope="module")
def run_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run_once")
    (folder / "make.py").write_text(MAKE)
    (folder / "text.txt").write_text("as it was")
    make_repository(folder, STAGES)
    assert ran(call(folder, *DVC, "repro")) == ["one", "two", "other"]
    for path in folder.glob("started-*"):
        path.unlink()
    return folder


@pytest.fixture
def repository(run_once: Path, tmp_path: Path) -> Path:
    """Three stages, `two` behind `one`, that were run once."""
    return shutil.copytree(run_once, tmp_path / "repository")


def objects(folder: Path, text: str) -> Path:
    """The one file of DVC's cache whose bytes are these."""
    (found,) = (path for path in (folder / ".dvc/cache").rglob("*") if path.is_file() and path.read_text() == text)
    return found


def finding(said: str, about: str) -> str:
    """What the doctor says of one thing, and what to do about it, in one line."""
    lines = said.splitlines()
    (place,) = (number for number, line in enumerate(lines) if about in line)
    return " ".join(line.strip().lstrip("0123456789. ") for line in lines[place : place + 2])


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): sha256_file(path) for path in sorted(folder.rglob("*")) if path.is_file()}


# --- 39: an altered cache object ---------------------------------------------------------------------------------------


def alter_read_only(path: Path) -> None:
    """Flip a bit of a file that stays read-only, of the same size and time, as a failing disk would."""
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    path.chmod(0o444)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_fault_39_an_altered_cache_object_is_found_by_verify_and_training_refuses(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """DVC serves it in silence: it trusts a cache file that nobody may write to."""
    tiny.clean_and_split(tmp_path)
    (tmp_path / "clean").rename(tmp_path / "given")
    (tmp_path / "params.yaml").write_text(
        yaml.safe_dump(
            {
                "seeds": 1,
                "split": {"seen": 0, "stratified": {"test": 0.2, "val": 0.2, "versions": {"all": {}}}},
                "m": {"architecture": "test_resnet", "image_px": 32, "batch_size": 8, "learning_rate": 0.003},
            }
        )
    )
    outs = "--work .work --out models/m --predictions predictions --cost cost.json --curve curve.csv --provenance p.json"
    of_model = "--model m --family image --params m --seed 0 --seeds seeds --needs params.yaml"
    make_repository(
        tmp_path,
        {
            "clean": {"cmd": "cp -r given clean", "deps": ["given"], "outs": ["clean"]},
            "split": {
                "cmd": "python -m stages.split --params split --clean clean --seed 0 --out lists",
                "deps": ["clean"], "outs": ["lists"],
            },
            "train": {
                "cmd": f"python -m stages.train {of_model} --clean clean --split lists/all {outs}",
                "deps": ["clean", "lists"], "outs": ["models/m"],
            },
        },
    )  # fmt: skip
    call(tmp_path, *DVC, "repro", "split")
    right = sha256_file(tmp_path / "clean/samples.parquet")
    (found,) = (path for path in (tmp_path / ".dvc/cache").rglob("*") if path.is_file() and sha256_file(path) == right)
    assert found.stat().st_mode & 0o777 == 0o444
    alter_read_only(found)
    shutil.rmtree(tmp_path / "clean")
    call(tmp_path, *DVC, "checkout", "clean")
    assert sha256_file(tmp_path / "clean/samples.parquet") != right
    assert "up to date" in call(tmp_path, *DVC, "status", "split"), "DVC notices nothing"

    said = call(tmp_path, sys.executable, "-m", "stages.verify", "clean", "lists", ok=False)
    assert "clean/samples.parquet: altered: sha256 " in said and "2 folders checked, 1 differences" in said
    refused = call(tmp_path, *DVC, "repro", "train", ok=False)
    message = next(line for line in refused.splitlines() if line.startswith("error: "))
    assert message == "error: clean is not as its stage left it:"
    assert "clean/samples.parquet: altered: sha256 " in refused and "Get it anew" in refused
    assert not (tmp_path / "models").exists() or not list((tmp_path / "models").iterdir())
    record_property("says", refused[refused.index(message) : refused.index("ERROR: failed to reproduce")].strip())

    found.unlink()
    shutil.rmtree(tmp_path / "clean")
    assert ran(call(tmp_path, *DVC, "repro", "split")) == ["clean"], "what it makes is as before: the lists stand"
    assert sha256_file(tmp_path / "clean/samples.parquet") == right
    assert " 0 differences" in call(tmp_path, sys.executable, "-m", "stages.verify", "clean", "lists")


# --- 40: a deleted cache object ----------------------------------------------------------------------------------------


def test_fault_40_a_deleted_cache_object_is_named_with_the_stage_that_rebuilds_it(
    repository: Path, record_property: Callable[[str, object], None]
) -> None:
    before, lock = contents(repository / "one"), (repository / "dvc.lock").read_text()
    lost = objects(repository, "second of one")
    lost.unlink()
    shutil.rmtree(repository / "one")
    assert "Checkout failed for following targets:\none" in call(repository, *DVC, "checkout", ok=False)
    said = call(repository, sys.executable, "-m", "stages.doctor", ok=None)  # to rebuild it costs time, and stops no run
    found = finding(said, str(lost.relative_to(repository)))
    assert "one/second.txt" in found and "`dvc repro one`" in found
    record_property("says", found)
    assert ran(call(repository, *DVC, "repro")) == ["one"], "it alone: what it makes is as before"
    assert contents(repository / "one") == before and (repository / "dvc.lock").read_text() == lock
    assert lost.is_file()
    assert "up to date" in call(repository, *DVC, "status")


@pytest.mark.slow
def test_fault_40_with_the_output_still_there_the_run_puts_the_object_back(
    repository: Path, record_property: Callable[[str, object], None]
) -> None:
    lost = objects(repository, "first of two: as it was")
    lost.unlink()
    printed = call(repository, *DVC, "repro")
    assert ran(printed) == ["two"] and lost.is_file()
    assert check_manifest(repository / "two") == []
    record_property("says", "dvc repro runs that stage again, and no other")


# --- 42: two runs at once ----------------------------------------------------------------------------------------------


def test_fault_42_the_second_of_two_runs_at_once_fails_cleanly(
    repository: Path, record_property: Callable[[str, object], None]
) -> None:
    (repository / "text.txt").write_text("changed")
    (repository / "hold").touch()
    first = start(repository, *DVC, "repro", "two")
    try:
        wait_for((repository / "started-one").exists)
        second = call(repository, *DVC, "repro", "two", ok=False)
        assert "is busy, it is being blocked by" in second and f"(PID {first.pid})" in second
        said = second[second.index("failed to reproduce") :].replace(str(first.pid), "N")
        record_property("says", re.sub(r"\S*__main__\.py", "dvc", said).strip())
        (repository / "hold").unlink()
        printed = first.communicate(timeout=60)[0]
    finally:
        end(first)
    assert first.returncode == 0 and ran(printed) == ["one", "two"], printed
    assert (repository / "one/first.txt").read_text() == "first of one: changed"
    assert check_manifest(repository / "one") == check_manifest(repository / "two") == []
    assert list(yaml.safe_load((repository / "dvc.lock").read_text())["stages"]) == ["one", "two", "other"]
    assert ran(call(repository, *DVC, "repro")) == ["other"], "nothing is left locked"


@pytest.mark.slow
def test_fault_42_two_runs_of_different_stages_both_end_in_one_valid_lock(
    repository: Path, record_property: Callable[[str, object], None]
) -> None:
    (repository / "text.txt").write_text("changed")
    (repository / "hold").touch()
    both = []
    try:
        for name, begins in (("two", "started-one"), ("other", "started-other")):
            both.append(start(repository, *DVC, "repro", name))
            wait_for((repository / begins).exists)
        (repository / "hold").unlink()  # both go on, and write dvc.lock, at the same moment
        printed = [process.communicate(timeout=60)[0] for process in both]
    finally:
        for process in both:
            end(process)
    assert [process.returncode for process in both] == [0, 0], printed
    assert set(yaml.safe_load((repository / "dvc.lock").read_text())["stages"]) == set(STAGES)
    assert ran(call(repository, *DVC, "repro")) == []
    record_property("says", "(both end well: they write no output of each other)")


# --- 43: a stage fails half way ----------------------------------------------------------------------------------------


def test_fault_43_nothing_downstream_accepts_what_a_failed_stage_left(repository: Path) -> None:
    before, lock = {name: contents(repository / name) for name in ("one", "two")}, (repository / "dvc.lock").read_text()
    (repository / "text.txt").write_text("changed")
    (repository / "fail").touch()
    said = call(repository, *DVC, "repro", "two", ok=False)
    assert "error: one: failed half way" in said and "failed to reproduce 'one'" in said and "Traceback" not in said
    assert ran(said) == ["one"], "what follows is not run"
    assert {name: contents(repository / name) for name in ("one", "two")} == before, "the earlier results stay"
    assert (repository / "dvc.lock").read_text() == lock
    assert not list(repository.glob(".*partial*"))
    (repository / "fail").unlink()
    assert ran(call(repository, *DVC, "repro", "two")) == ["one", "two"]


# --- 44: a broken dvc.lock, a broken state database --------------------------------------------------------------------


BROKEN = {
    "merge": lambda data: data.replace(b"stages:\n", b"stages:\n<<<<<<< HEAD\n  one: {}\n=======\n>>>>>>> theirs\n"),
    "no text": lambda data: b"\x00\xff\x01" * 50,
    "empty": lambda data: b"",
    "another shape": lambda data: b"stages: {one: 5}\nschema: '2.0'\n",
}


@pytest.mark.parametrize("how", ["merge", *(pytest.param(how, marks=pytest.mark.slow) for how in list(BROKEN)[1:])])
def test_fault_44_a_corrupt_lock_file_is_named_and_rebuilt(
    repository: Path, how: str, record_property: Callable[[str, object], None]
) -> None:
    path = repository / "dvc.lock"
    whole = path.read_bytes()
    path.write_bytes(BROKEN[how](whole))
    said = call(repository, *DVC, "repro", ok=False)
    assert "dvc.lock" in said and ("is invalid" in said or "validation failed" in said or "is not valid utf-8" in said)
    assert ran(said) == [], "nothing is run on it"
    advice = call(repository, sys.executable, "-m", "stages.doctor", ok=False)
    found = finding(advice, "dvc.lock: ")
    assert "git checkout" in found and "delete it: then `dvc repro` runs every stage again, or `dvc commit` takes" in found
    record_property("says", found)
    path.unlink()  # as it says
    call(repository, *DVC, "commit", "--force")
    assert yaml.safe_load(path.read_bytes()) == yaml.safe_load(whole)
    assert ran(call(repository, *DVC, "repro")) == []


@pytest.mark.slow
def test_fault_44_of_a_lock_file_that_is_cut_off_only_what_is_lost_is_run_again(
    repository: Path, record_property: Callable[[str, object], None]
) -> None:
    path = repository / "dvc.lock"
    whole = path.read_text()
    path.write_text(whole[: whole.index("  two:")])
    assert ran(call(repository, *DVC, "repro")) == ["two", "other"]
    assert yaml.safe_load(path.read_text()) == yaml.safe_load(whole)
    record_property("says", "dvc repro runs the stages again that the rest no longer names")


@pytest.mark.slow
@pytest.mark.parametrize("how", ["overwritten", "cut off"])
def test_fault_44_a_corrupt_state_database_is_named_and_rebuilt(
    repository: Path, tmp_path: Path, how: str, record_property: Callable[[str, object], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    call(repository, *DVC, "status")
    databases = sorted((tmp_path / "site").rglob("cache.db"))
    assert databases
    before = contents(repository / "one") | contents(repository / "two")
    for path in databases:
        data = path.read_bytes()
        for other in path.parent.glob("cache.db-*"):
            other.unlink()
        path.write_bytes(b"\x00\xff\x01" * 5000 if how == "overwritten" else data[: len(data) // 2])
    said = call(repository, *DVC, "repro", ok=False)
    assert "file is not a database" in said or "database disk image is malformed" in said
    advice = call(repository, sys.executable, "-m", "stages.doctor", ok=False)
    found = finding(advice, "DVC's database is damaged: ")
    (folder,) = (tmp_path / "site/repo").iterdir()
    assert all(str(path) in found for path in databases) and f"`rm -r {folder}`" in found
    record_property("says", found.replace(folder.name, "..."))
    shutil.rmtree(folder)  # as it says
    assert ran(call(repository, *DVC, "repro")) == [], "nothing is lost by it"
    assert contents(repository / "one") | contents(repository / "two") == before
