"""`python -m stages.doctor`: what is wrong is found, and what it says to do about it mends it.

The DVC here is real: a graph of two tiny stages in a repository of its own.
"""

import contextlib
import importlib.metadata
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from hashlib import md5
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import yaml

from stages import doctor
from stages.doctoring import (
    Finding,
    environment,
    history,
    lock,
    machine,
    processes,
    room,
    several,
    size,
    sources,
    storage,
    wishes,
)
from stages.settings import read_params
from tests.pipeline_helpers import call

ROOT = Path(__file__).parent.parent
GRAPH = """
stages:
  draw:
    foreach: {red: 1, blue: 2}
    do:
      cmd: mkdir -p out/${key} && echo ${key} > out/${key}/one.txt && echo ${item} > out/${key}/two.txt
      outs:
        - out/${key}: {persist: true}
  count:
    cmd: cat out/red/one.txt out/blue/one.txt > count.txt && echo '{"n":2}' > metrics/count.json
    deps: [out/red, out/blue]
    outs: [count.txt]
    metrics:
      - metrics/count.json: {cache: false}
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where this module's DVC keeps its databases."""
    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_SITE_CACHE_DIR", str(folder))
        yield folder


@pytest.fixture(scope="module")
def _finished(tmp_path_factory: pytest.TempPathFactory, site: Path) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    (folder / "dvc.yaml").write_text(GRAPH)
    (folder / "metrics").mkdir()
    for words in ("git init -q", "dvc init -q", "dvc repro -q", "git add -A", "git commit -qm run"):
        call(folder, *words.split())
    return folder


@pytest.fixture
def repo(_finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a repository in which a run has finished; tests work in it, as the command does. Its databases are made anew."""
    folder = tmp_path / "repo"
    shutil.copytree(_finished, folder)
    monkeypatch.chdir(folder)
    return folder


def outputs() -> list[lock.Output]:
    return [out for graph in lock.graphs() for out in lock.outputs(graph)]


def cache(everything: bool = True) -> list[Finding]:
    return storage.cache_findings(storage.cache_folder(Path()), outputs(), everything)


def kept(text: str) -> Path:
    """The object of the cache that holds `text`."""
    name = md5(text.encode(), usedforsecurity=False).hexdigest()
    return Path(".dvc/cache/files/md5", name[:2], name[2:])


def alter(path: Path) -> None:
    """Other bytes, of the same size and as read-only as before."""
    path.chmod(0o644)
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
    path.chmod(0o444)


def follow(finding: Finding) -> None:
    """Do what a remedy says: its commands, in their order."""
    for command in re.findall(r"`([^`]+)`", finding.remedy):
        call(Path(), "sh", "-c", command)


# DVC's cache ---------------------------------------------------------------------------------------------------------


def test_a_finished_run_has_all_its_objects(repo: Path) -> None:
    (found,) = cache()
    assert (
        "all 7 objects of dvc.lock are there, 7 hashed" in found.says and not found.remedy
    )  # two lists, four files, count.txt
    assert {out.path.as_posix(): out.cached for out in outputs()}["metrics/count.json"] is False


def test_a_missing_object_names_the_stage_that_rebuilds_it(repo: Path) -> None:
    kept("blue\n").unlink()
    (found,) = cache()
    assert found.says == f"{kept('blue' + chr(10))}: missing, the copy of out/blue/one.txt" and not found.stops
    assert "dvc repro draw@blue" in found.remedy
    printed = call(repo, *re.findall(r"`([^`]+)`", found.remedy)[0].split())
    assert re.findall(r"Running stage '([^']+)'", printed) == ["draw@blue"]
    assert "all 7 objects" in cache()[0].says


def test_objects_of_many_stages_are_counted_behind_the_first_few(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "AT_MOST", 1)
    for text in ("blue\n", "red\n", "1\n"):
        kept(text).unlink()
    first, rest = cache()
    assert "out/red" in first.says and "1 more of this stage's" in first.says
    assert "1 more stages" in rest.says and "draw@blue" in rest.says


def test_an_altered_object_is_found_and_the_remedy_mends_it(repo: Path) -> None:
    alter(kept("red\n"))
    (found,) = cache()
    assert (
        f"{kept('red' + chr(10))}: altered" in found.says and "out/red/one.txt (stage draw@red)" in found.says and found.stops
    )
    assert "Data and pipelines are up to date" in call(repo, "dvc", "repro")  # DVC sees nothing
    shutil.rmtree("out/red")
    assert call(repo, "dvc", "checkout", "--force") and Path("out/red/one.txt").read_text() == "sed\n"  # and serves it
    follow(found)
    assert "all 7 objects" in cache()[0].says and Path("out/red/one.txt").read_text() == "red\n"


def test_an_altered_list_of_a_folder_is_found(repo: Path) -> None:
    (of,) = [out for out in outputs() if out.path == Path("out/red")]
    alter(storage.place(storage.cache_folder(Path()), of.md5))
    assert any("altered" in found.says and "copy of out/red (stage draw@red)" in found.says for found in cache())


def test_a_part_of_the_cache_is_hashed_in_the_time_that_is_given(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "SECONDS", -1.0)
    (found,) = cache(everything=False)
    assert "all 7 objects of dvc.lock are there, 0 hashed" in found.says and "`--all`" in found.says
    assert "7 hashed" in cache(everything=True)[0].says


def test_a_fresh_clone_has_nothing_yet(repo: Path) -> None:
    shutil.rmtree(".dvc/cache")
    (found,) = cache()
    assert "nothing of dvc.lock is in it" in found.says and not found.remedy


# Its lock and databases ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "says"),
    [
        (lambda text: text.replace("stages:\n", "<<<<<<< HEAD\nstages:\n"), r"line 3: not YAML: .* marks of a merge"),
        (lambda text: text.replace("  count:\n", "  count: [\n"), r"line \d+: not YAML"),
        (lambda text: text.replace("count.txt\n", "c\xf6unt.txt\n", 1).encode("latin-1"), "not UTF-8 text"),
        (lambda text: text.replace("schema: '2.0'\n", ""), "not a lock of DVC's: required key not provided"),
        (lambda text: "", "cut off"),
        (lambda text: text[: len(text) // 2], "cut off"),
    ],
)  # fmt: skip
def test_a_damaged_lock_is_named_with_the_line_and_the_way_back(repo: Path, how: Any, says: str) -> None:
    damaged = how(Path("dvc.lock").read_text())
    Path("dvc.lock").write_bytes(damaged if isinstance(damaged, bytes) else damaged.encode())
    with pytest.raises(lock.Damaged) as caught:
        outputs()
    (found,) = caught.value.args
    assert re.match(f"dvc.lock: {says}", found.says) and found.stops
    follow(Finding("", "", found.remedy.partition(";")[0]))
    assert "all 7 objects" in cache()[0].says


def test_a_lock_that_was_cut_off_is_put_back_from_the_copy(repo: Path) -> None:
    whole = Path("dvc.lock").read_bytes()
    Path(".dvc/tmp/stages").mkdir(parents=True)
    Path(".dvc/tmp/stages/dvc.lock").write_bytes(whole)
    Path("dvc.lock").write_bytes(b"")
    with pytest.raises(lock.Damaged) as caught:
        outputs()
    assert caught.value.args[0].remedy.startswith("`python -m stages.dvc_lock`")
    call(ROOT, "sh", "-c", f"cd '{repo}' && '{sys.executable}' -m stages.dvc_lock")
    assert Path("dvc.lock").read_bytes() == whole


def test_a_lock_that_lacks_its_last_line_end_alone_is_no_stop(repo: Path) -> None:
    lock_file = Path("dvc.lock")
    assert lock.remarks(Path("dvc.yaml")) == []
    lock_file.write_text(lock_file.read_text().rstrip("\n"))  # an editor's doing
    (found,) = lock.remarks(Path("dvc.yaml"))
    assert "dvc.lock: its last line has no end" in found.says and found.remedy and not found.stops
    assert "all 7 objects" in cache()[0].says


def test_a_damaged_graph_is_named(repo: Path) -> None:
    Path("dvc.yaml").write_text("stages: [\n")
    with pytest.raises(lock.Damaged) as caught:
        outputs()
    assert re.match(r"dvc.yaml: line \d+: not YAML", caught.value.args[0].says)


def test_the_projects_own_lock_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    found = outputs()
    assert {out.profile for out in found} <= {"embedded", None}
    assert {out.path.parts[0] for out in found if not out.cached} == {"metrics"}
    assert not [out for out in found if out.cached and out.path.parts[0] == "metrics"]
    assert any(out.path == Path("data/raw/look") and out.stage == "look/dvc.yaml:look" for out in found)


def test_a_damaged_state_database_is_named_and_the_remedy_mends_it(repo: Path, site: Path) -> None:
    assert "no DVC command has run" in storage.state_findings(Path())[0].says  # in this copy
    call(repo, "dvc", "status", "-q")
    assert "are whole" in storage.state_findings(Path())[0].says
    folder = storage.state_folder(Path())
    assert folder is not None and folder.is_relative_to(site) and list(folder.rglob("cache.db"))
    database = folder / "hashes" / "local" / "cache.db"
    database.write_bytes(b"not a database" * 100)
    assert "unexpected error" in call(repo, "dvc", "status", ok=False)
    (found,) = storage.state_findings(Path())
    assert f"{database}: file is not a database" in found.says and found.stops
    follow(found)
    assert "up to date" in call(repo, "dvc", "status")
    assert "are whole" in storage.state_findings(Path())[0].says


def test_a_state_folder_that_others_can_replace_is_told_of(repo: Path, site: Path) -> None:
    if os.name != "posix" or os.getuid() != 0:
        pytest.skip("to run a process as another user takes root")
    call(repo, "dvc", "status", "-q")
    assert stat.S_IMODE((site / "repo").stat().st_mode) & 0o002  # DVC's own doing
    with subprocess.Popen(["sleep", "60"], user=54321) as other:
        try:
            (found,) = storage.state_findings(Path())
            assert "54321 can put others in their place" in found.says and "DVC_SITE_CACHE_DIR" in found.remedy
            (site / "repo").chmod(0o755)
            assert "are whole" in storage.state_findings(Path())[0].says
        finally:
            (site / "repo").chmod(0o777)
            other.kill()


# Processes, locks, temporaries ---------------------------------------------------------------------------------------


def dead() -> int:
    """The id of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def rwlock(pid: int) -> None:
    Path(".dvc/tmp/rwlock").write_text(json.dumps({"write": {"/x/out": {"pid": pid, "cmd": "dvc repro"}}, "read": {}}))


def found_of(topic: str) -> list[Finding]:
    return [finding for finding in processes.findings(Path()) if finding.topic == topic]


def test_locks_of_the_dead_and_of_others(repo: Path) -> None:
    assert not found_of("locks")
    rwlock(pid := dead())
    (found,) = found_of("locks")
    assert f"names process {pid}, which was killed" in found.says and not found.remedy  # DVC mends it itself:
    call(repo, "dvc", "repro", "-q")
    rwlock(os.getpid())  # alive, and no DVC
    (found,) = found_of("locks")
    assert f"held by process {os.getpid()}, which is no DVC" in found.says and found.stops
    follow(Finding("", "", found.remedy.partition(",")[0]))
    assert not found_of("locks")


def test_a_damaged_lock_of_dvc_is_named(repo: Path) -> None:
    for text in ("{", '{"write": []}', '{"write": {"/x": {"cmd": "dvc"}}}'):
        Path(".dvc/tmp/rwlock").write_text(text)
        (found,) = found_of("locks")
        assert found.says.startswith(".dvc/tmp/rwlock: damaged") and found.stops, text


def wait_for_name(pid: int, name: str) -> None:
    for _ in range(600):
        if Path(*psutil.Process(pid).cmdline()[:1]).name == name:
            return
        time.sleep(0.05)
    raise AssertionError(f"process {pid} is not {name}")


def test_a_lock_of_git_that_nobody_holds(repo: Path) -> None:
    index = Path(".git/index.lock")
    index.touch()
    (found,) = found_of("locks")
    assert "git is at work here, or was killed" in found.says and found.remedy and not found.stops  # of an editor, perhaps
    os.utime(index, (time.time() - 90,) * 2)
    sleep = shutil.which("sleep")
    with subprocess.Popen(["/usr/bin/git", "60"], executable=sleep, cwd=repo / "out") as living:
        try:
            wait_for_name(living.pid, "git")
            assert not found_of("locks")[0].stops
        finally:
            living.kill()
    (found,) = found_of("locks")
    assert ".git/index.lock" in found.says and found.stops
    follow(found)
    call(repo, "git", "commit", "-q", "--allow-empty", "-m", "goes on")


def test_temporaries_of_dead_processes_are_named_and_those_of_living_ones_left_alone(repo: Path) -> None:
    for pid in (gone := dead(), os.getpid()):
        folder = Path(f"data/raw/.wood.partial-{pid}")
        folder.mkdir(parents=True)
        (folder / "half").write_bytes(bytes(5000))
    Path(f"data/.list.json.partial-{gone}").write_bytes(bytes(200))
    (found,) = found_of("temporaries")
    assert "5.2 kB" in found.says and str(os.getpid()) not in found.says
    follow(found)
    assert not found_of("temporaries") and Path(f"data/raw/.wood.partial-{os.getpid()}/half").is_file()


@contextlib.contextmanager
def started(repo: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A stage that sleeps, in a package of its own, once it runs."""
    package = repo / "stages"
    package.mkdir(exist_ok=True)
    (package / "__init__.py").touch()
    (package / "slow.py").write_text("import pathlib, time\npathlib.Path('runs').touch()\ntime.sleep(60)\n")
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    process = subprocess.Popen([sys.executable, *words], cwd=repo, env=environ)
    try:
        for _ in range(600):
            if (repo / "runs").exists():
                break
            time.sleep(0.05)
        yield process
    finally:
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
        process.kill()
        process.wait()


def test_what_a_killed_dvc_left_running_is_named_with_its_process(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = Path("dvc.yaml")
    monkeypatch.setenv("DVC_STAGE", "slow")  # as DVC tells a stage of its
    with started(repo, "-m", "stages.slow") as process:
        (found,) = found_of("processes")
        assert f"by hand: stages.slow (process {process.pid})" in found.says and not found.remedy, "no command of the graph"
        graph.write_text(graph.read_text().replace("cmd: cat", "cmd: python -m stages.slow && cat"))
        (found,) = found_of("processes")
        assert f"stages.slow (process {process.pid})" in found.says and f"kill {process.pid}" in found.remedy
        os.chdir("out")
        assert "none left over" in found_of("processes")[0].says  # it is another folder's


def test_a_stage_that_was_started_by_hand_is_no_orphan(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("dvc.yaml").write_text(Path("dvc.yaml").read_text().replace("cmd: cat", "cmd: python -m stages.slow && cat"))
    monkeypatch.delenv("DVC_STAGE", raising=False)
    with started(repo, "-m", "stages.slow") as process:
        (found,) = found_of("processes")
        assert f"started by hand: stages.slow (process {process.pid})" in found.says and not found.remedy


def test_a_stage_of_a_running_dvc_is_a_run_that_goes_on(repo: Path) -> None:
    (repo / "dvc").write_text(f"import subprocess\nsubprocess.run([{sys.executable!r}, '-m', 'stages.slow'])\n")
    with started(repo, "dvc") as process:
        (found,) = found_of("processes")
        assert "a run is going on: stages.slow" in found.says and not found.remedy
        assert f"DVC is at work here, process {process.pid}" in found_of("locks")[0].says
        whole = Path("dvc.lock").read_text()
        Path("dvc.lock").write_text(whole[: len(whole) // 2])  # which it may be writing at this moment
        with pytest.raises(lock.Damaged) as caught:
            outputs()
        (writing,) = caught.value.args
        assert f"DVC is at work (process {process.pid}) and may be writing it" in writing.says and not writing.stops
    assert not found_of("locks")


# Machine and environment ---------------------------------------------------------------------------------------------


def graphics_card(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver that says there is one, with 3 of 8 GiB free."""
    folder.mkdir()
    program = folder / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'Model, of 2025, 8192, 3072'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def gpu() -> Finding:
    return next(found for found in machine.findings() if found.topic == "GPU")


def test_pytorch_for_cpus_beside_a_gpu_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graphics_card(tmp_path / "bin", monkeypatch)
    assert machine.gpus() == [machine.Gpu("Model, of 2025", 8 << 30, 3 << 30)]
    monkeypatch.setattr(machine, "torch_version", lambda: ("2.9.0+cpu", None))
    assert "built for CPUs alone" in gpu().says and gpu().remedy
    monkeypatch.setattr(machine, "torch_version", lambda: ("2.9.0", "12.8"))
    monkeypatch.setattr(machine, "_sees_gpu", lambda: True)
    assert "3.2 GB of 8.6 GB free; PyTorch 2.9.0 sees it" in gpu().says and not gpu().remedy


@pytest.mark.slow
def test_a_gpu_that_pytorch_does_not_see_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graphics_card(tmp_path / "bin", monkeypatch)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(machine, "torch_version", lambda: ("2.9.0", "12.8"))
    assert "does not see it" in gpu().says and "nvidia-smi" in gpu().remedy


def test_a_driver_that_fails_is_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graphics_card(tmp_path / "bin", monkeypatch)
    (tmp_path / "bin" / "nvidia-smi").write_text("#!/bin/sh\necho 'has failed, could, not'\nexit 9\n")
    assert machine.gpus() == []


def test_the_version_of_pytorch_is_read_without_importing_it() -> None:
    found = machine.torch_version()
    assert found is not None and found[0].partition("+")[0] == importlib.metadata.version("torch").partition("+")[0]


def test_a_containers_limit_counts_as_memory(tmp_path: Path) -> None:
    assert machine.memory_bytes(tmp_path) > 10**8  # no such files: the machine's own
    for name, value in {"memory.max": "50000000", "memory.current": "20000000"}.items():
        (tmp_path / name).write_text(f"{value}\n")
    assert machine.memory_bytes(tmp_path) == 30_000_000
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.memory_bytes(tmp_path) > 10**8


def test_every_pinned_package_of_this_machine_is_compared() -> None:
    text = (ROOT / "requirements.txt").read_text()
    lines = re.findall(r"^[A-Za-z0-9][^\s#]*==.*", text, re.MULTILINE)
    everywhere = [line for line in lines if ";" not in line]
    found = environment.pinned(text)
    assert len(everywhere) <= len(found) <= len(lines) and len(everywhere) > 100
    assert all(len(requirement.specifier) == 1 for requirement in found)


def test_packages_that_are_missing_or_of_another_version_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ours = importlib.metadata.version("numpy")
    Path("requirements.txt").write_text(
        f"numpy=={ours} \\\n    --hash=sha256:00\n    # via x\nPandas==0.1\nno-such.package==1 ; python_version > '3'\n"
        "no-such-windows==1 ; sys_platform == 'other'\n"
    )
    missing, other = [found for found in environment.findings() if found.topic == "packages"]
    assert missing.stops and missing.says == "1 of 3 pinned packages are not installed: no-such.package"
    assert not other.stops and re.search(r"1 of 3 packages have another version .*: Pandas [\d.]+ \(pinned==0.1\)", other.says)
    Path("requirements.txt").write_text("numpy==1\n<<<<<<< HEAD\n")
    assert any("line 2" in found.says for found in environment.findings())


def test_commands_of_another_environment_are_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert not [found for found in environment.findings() if found.topic == "environment" and found.stops]
    (tmp_path / "dvc").write_text("#!/bin/sh\n")
    (tmp_path / "dvc").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    (found,) = [found for found in environment.findings() if found.topic == "environment"]
    assert f"`dvc` is {tmp_path / 'dvc'}, of another environment" in found.says and found.stops


def test_a_shim_of_the_same_python_is_this_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As pyenv and asdf have them: scripts in a folder of their own, which start the chosen Python."""

    def shims(python: str) -> list[str]:
        for name, line in {"python": f'exec "{python}" "$@"', "dvc": f'exec "{python}" -m dvc "$@"'}.items():
            (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
            (tmp_path / name).chmod(0o755)
        return [found.says for found in environment.findings() if found.topic == "environment" and found.stops]

    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert shims(sys.executable) == []
    monkeypatch.setattr(sys, "prefix", str(tmp_path))  # it is of another one than asks
    assert len(shims(sys.executable)) == 2
    assert "does not answer" in shims("/no/such/python")[0]


# Settings, data, room, results ---------------------------------------------------------------------------------------


def params_of(**download: Any) -> dict[str, Any]:
    return {"profile": "smoke", "datasets": {"wood": {"smoke": {"download": download}}}}


def test_settings_are_checked_in_every_profile() -> None:
    params = read_params(ROOT / "params.yaml")
    of = params["models"]["camera_trap-alexnet-location"]["embedded"]
    del params["datasets"]["camera_trap"]["paper"]["split"]["class"]
    notes, demands = wishes.examine(params)
    assert notes and all("in the profile paper: " in note.says and "cannot run" in note.says for note in notes)
    (alexnet,) = [demand for demand in demands if demand.model == "camera_trap-alexnet-location"]
    assert alexnet.batch_bytes == 4 * 3 * of["batch_size"] * of["image_px"] ** 2
    params["models"]["camera_trap-alexnet-location"]["paper"]["epochs"] = "ten"
    (found,), demands = wishes.examine(params)
    assert found.stops and "models.camera_trap-alexnet-location.paper.epochs" in found.says and not demands


def test_a_source_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    gone = sources.findings(params_of(adapter="folders", source=f"path:{tmp_path}/photos"))
    assert f"wood: {tmp_path}/photos: no such folder" in gone[0].says and gone[0].stops
    (tmp_path / "photos" / "fox").mkdir(parents=True)
    (tmp_path / "photos" / "fox" / "1.jpg").write_bytes(bytes(3000))
    (there,) = sources.findings(params_of(adapter="folders", source=f"path:{tmp_path}/photos"))
    assert "1 files, 3.0 kB, read in place" in there.says and not there.remedy
    (asked,) = sources.findings(params_of(adapter="animal_kingdom", source="url"))
    assert "no public address" in asked.says and asked.stops and "licence" in asked.remedy
    (account,) = sources.findings(params_of(adapter="animal_posture", source="url"))
    assert "account" in account.says and account.stops
    (fetched,) = sources.findings(params_of(adapter="cct20", source="url"))
    assert "https://" in fetched.says and "Licence" in fetched.says and not fetched.remedy
    (drawn,) = sources.findings(params_of(adapter="folders", source="embedded"))
    assert "drawn" in drawn.says


def disk(free: int) -> Any:
    return lambda _: SimpleNamespace(total=10**12, used=10**12 - free, free=free)


def test_room_on_disk_is_reckoned_by_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = [lock.Output(f"s@{n}", Path(f"out/{n}"), "0" * 32, 4 * 10**9, True, "smoke") for n in range(3)]
    params = params_of(adapter="folders", source="embedded")

    def looked(free: int, absent: list[lock.Output], **download: Any) -> Finding:
        monkeypatch.setattr(room.shutil, "disk_usage", disk(free))
        return room.disk_findings(Path(), params_of(**download) if download else params, made, absent)[0]

    assert "still to come: nothing" in looked(5 * 10**9, []).says
    assert looked(19 * 10**9, made[:2]).stops and "21 GB in all" in looked(19 * 10**9, made[:2]).remedy  # 2 x 8 + 4, and 1
    tight = looked(int(20.5 * 10**9), made[:2])
    assert tight.remedy and not tight.stops
    assert not looked(22 * 10**9, made[:2]).remedy
    fetched = looked(10**11, [], adapter="caltech_camera_traps", source="url")
    assert fetched.stops and "321 GB for downloads" in fetched.says
    urls = [{"url": "https://example.org/a.zip", "bytes": 10**9}]
    assert "3.0 GB for downloads" in looked(10**11, [], adapter="folders", source="url", urls=urls).says
    assert "unknown for wood" in looked(10**11, [], adapter="cct20", source="url").says
    params["profile"] = "paper"
    assert "dvc.lock is of smoke" in looked(10**11, made).says


def test_a_folder_of_another_users_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o777)
    (tmp_path / "models").mkdir(mode=0o555)
    us = os.geteuid()
    if us == 0:
        os.seteuid(65534)  # root may write everywhere
    try:
        (found,) = room.writing_findings(Path())
    finally:
        os.seteuid(us)
    assert found.stops and found.says == "not yours to write: models"
    (tmp_path / "models").chmod(0o777)
    assert not room.writing_findings(Path())


def test_room_in_memory_is_reckoned_by_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demands = [wishes.Demand("small", 10**6, 0, 0), wishes.Demand("large", 10**8, 2 * 10**9, 2)]
    monkeypatch.setattr(room.shutil, "disk_usage", disk(10**10))
    (well,) = room.memory_findings(demands, 40 * 10**9, [], tmp_path)
    assert "100 MB" in well.says and not well.remedy
    (heavy,) = room.memory_findings(demands, 5 * 10**9, [], tmp_path)
    assert heavy.says.startswith("large takes some 16 GB of memory, roughly, and 5.0 GB are free")
    (heavy,) = room.memory_findings(demands, 40 * 10**9, [machine.Gpu("x", 8 << 30, 8 << 30)], tmp_path)
    assert "of GPU memory" in heavy.says
    heavy, cached = room.memory_findings(demands, 10**9, [], tmp_path)
    assert "`cache_gb`" in cached.says
    monkeypatch.setattr(room.shutil, "disk_usage", disk(64 << 20))  # a container's /dev/shm
    (shared,) = room.memory_findings(demands, 40 * 10**9, [], tmp_path)
    assert "400 MB" in shared.says and "--shm-size" in shared.remedy


def test_a_figure_altered_by_hand_is_named_and_the_remedy_mends_it(repo: Path) -> None:
    assert "as committed" in history.findings(Path(), outputs())[0].says
    Path("metrics/count.json").write_text('{"n":3}\n')
    altered, uncommitted = history.findings(Path(), outputs())
    assert altered.says.startswith("metrics/count.json: not as the stage count left it")
    assert "not committed: metrics/count.json" in uncommitted.says
    follow(altered)
    assert "as committed" in history.findings(Path(), outputs())[0].says


def test_the_way_back_names_what_differs_and_keeps_other_edits(repo: Path) -> None:
    Path("README").write_text("first")
    call(repo, "git", "add", "README")
    call(repo, "git", "commit", "-qm", "more")
    before = Path("dvc.yaml").read_text()
    for path in (Path("README"), Path("dvc.yaml"), Path("metrics/new.json")):
        path.write_text("edited")
    (found,) = [found for found in history.findings(Path(), []) if found.topic == "git"]
    keeps, goes_back = re.findall(r"`([^`]+)`", found.remedy)
    assert keeps == "git add metrics dvc.yaml && git commit"
    call(repo, "sh", "-c", goes_back)
    assert Path("dvc.yaml").read_text() == before and Path("README").read_text() == "edited"
    (found,) = [found for found in history.findings(Path(), []) if found.topic == "git"]
    call(repo, "sh", "-c", re.findall(r"`([^`]+)`", found.remedy)[0] + " -qm new")
    assert "as committed" in history.findings(Path(), outputs())[0].says
    Path("params.yaml").touch()  # git does not know it: no way back to it
    assert "git checkout" not in history.findings(Path(), [])[0].remedy


def test_a_folder_without_git_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    (found,) = history.findings(Path(), [])
    assert found.stops and str(tmp_path) in found.says


# The command ---------------------------------------------------------------------------------------------------------


def test_what_stops_a_run_comes_first_and_decides_the_exit_code(
    repo: Path, stage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repo)  # `stage` has its own folder
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    shutil.copy(ROOT / "requirements.txt", repo)
    kept("blue\n").unlink()
    done = stage("doctor", "--all")
    assert done.code == 1
    first, warnings, well = (done.out.index(title) for title in ("Would stop a run", "To know of", "\nWell\n"))
    assert first < done.out.index("params.yaml: no such file") < warnings
    assert warnings < done.out.index("dvc repro draw@blue") < well
    assert done.out.rstrip().splitlines()[-1].startswith("1 to mend before a run")
    Path("params.yaml").write_text("profile: smoke\nseed: [\n")
    done = stage("doctor")
    assert done.code == 1 and "line 3" in done.out
    assert done.out.index("not committed: params.yaml") < done.out.index("dvc repro draw@blue")  # what decides comes first
    Path("dvc.lock").write_text("")
    assert "dvc.lock: cut off" in stage("doctor").out


def test_all_holds_outputs_against_their_manifests(repo: Path, stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repo)
    (repo / "data" / "wood").mkdir(parents=True)
    (repo / "data" / "wood" / "a").write_text("other")
    (repo / "data" / "wood" / "manifest.json").write_text(json.dumps({"a": {"bytes": 5, "sha256": "0" * 64}}))
    done = stage("doctor", "--all")
    assert done.code == 1 and "data/wood/a: altered" in done.out
    assert "data/wood/a" not in stage("doctor").out


BLOCKED = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {name!r}:
            raise ModuleNotFoundError("No module named " + repr(name), name=name)

sys.meta_path.insert(0, Blocked())
"""


def ask(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [sys.executable, *options, "-m", "stages.doctor"], cwd=ROOT, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "PATH": path},
    )  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        "dvc",
        "packaging",
        "psutil",
        "torch",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("filelock", "pandas", "pydantic", "timm", "yaml")),
    ],
)
def test_a_package_that_is_missing_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(BLOCKED.format(name=name))
    done = ask(tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stdout + done.stderr, done.stderr[-3000:]
    wrong = done.stdout[done.stdout.index("Would stop a run") :].partition("\n\n")[0]
    assert re.search(rf"packages .*{name}", wrong) and "make setup" in wrong


def test_a_python_without_any_package_is_told_of(tmp_path: Path) -> None:
    done = ask(tmp_path, "-S")  # as the system's own
    assert done.returncode == 1 and not done.stderr
    assert re.search(r"packages .* has not the packages of requirements.txt", done.stdout) and "make setup" in done.stdout


def test_outside_of_a_project_it_says_where_to_run(stage: Any, tmp_path: Path) -> None:
    done = stage("doctor")
    assert done.code == 1 and f"{tmp_path}: no .dvc folder here. Run it from the repository's root" in done.err


def test_lines_are_as_wide_as_a_terminal_and_aligned() -> None:
    found = [Finding("cache", "word " * 60, "remedy " * 30, stops=True), Finding("machine", "well")]
    lines = doctor.report(found, 80).splitlines()
    assert max(map(len, lines)) <= 80
    assert {line.index("word") for line in lines if "word" in line} == {18}
    assert next(line[18:20] for line in lines if "remedy" in line) == "->"
    assert "\x1b" not in "".join(lines)


def test_sizes_and_lists_read_well() -> None:
    assert [size(n) for n in (0, 999, 1000, 372_763_809, 1.5e9, 3e15)] == [
        "0 bytes",
        "999 bytes",
        "1.0 kB",
        "373 MB",
        "1.5 GB",
        "3,000 TB",
    ]
    assert several(["a", "b"]) == "a, b" and several(["a"] * 5) == "a, a, a and 2 more"


@pytest.mark.slow
def test_a_finished_run_is_well_and_nothing_is_altered_by_looking(clone: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in clone.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    printed = call(clone, sys.executable, "-m", "stages.doctor", "--all")
    assert "nothing would stop a run" in printed and "in 3 profiles" in printed
    assert re.search(r"all ([\d,]+) objects of dvc.lock are there, \1 hashed", printed)
    after = {path: path.stat().st_mtime_ns for path in clone.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert after == before
    params = clone / "params.yaml"
    text = params.read_text()
    try:
        params.write_text(yaml.safe_dump(yaml.safe_load(text) | {"seed": "one"}))
        assert "params.yaml: seed" in call(clone, sys.executable, "-m", "stages.doctor", ok=False)
    finally:
        params.write_text(text)
