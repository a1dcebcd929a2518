"""kill -9 of dvc: its stage ends with it, nobody else writes beside a stage, and what DVC itself leaves half written is put back.

In a small DVC repository whose stages are made of the pipeline's own parts; the shipped graph is killed in the slow test below and
by `python -m benchmarks.kills`.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import yaml

from benchmarks import kills
from stages import alone, dvc_lock
from stages.files import DataError, check_manifest, is_alive, new_folder
from tests.pipeline_helpers import restore, wait_for

ROOT = Path(__file__).parent.parent
KEY = "camera_trap-alexnet-location"
pytestmark = pytest.mark.skipif(not hasattr(os, "killpg"), reason="process groups are POSIX")

Start = Callable[..., "subprocess.Popen[str]"]
Says = Callable[[str, object], None]

# Writes out/ with two workers, and all the while what it did in `work`, which every run of it shares, as trainings do.
STAGE = """
import argparse, multiprocessing, os, time
from pathlib import Path
from stages.command import run
from stages.files import new_folder

def say(text):
    with open("work", "a") as file:
        file.write(f"{os.getpid()} {text}\\n")

def step(number):
    for _ in range(int(os.environ.get("LONG", 1))):
        say(f"step {number}")
        time.sleep(0.05)

def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path)
    parser.add_argument("--steps", type=int)
    args = parser.parse_args()
    say("main begins")
    with new_folder(args.out) as out, multiprocessing.get_context(os.environ.get("START", "fork")).Pool(2) as pool:
        pool.map(step, range(args.steps), chunksize=1)
        (out / "by").write_text(str(os.getpid()))

if __name__ == "__main__":
    time.sleep(float(os.environ.get("IMPORTS_S", 0)))
    run(main)
"""

# Stands for dvc where its start would take seconds: one of its name that starts a stage as DVC does, in a shell that knows the
# stage's name and the project.
LIKE_DVC = """
import os, subprocess, sys
subprocess.run([*sys.argv[1:]], env=os.environ | {"DVC_STAGE": "slow", "DVC_ROOT": os.getcwd()})
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A DVC project with a stage `slow` of some two seconds."""
    (tmp_path / "stage.py").write_text(STAGE)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/dvc").write_text(LIKE_DVC)
    (tmp_path / ".dvc").mkdir()
    return tmp_path


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """Start a command in `folder`, a group of its own: (*words, **environment) -> process. All are ended behind the test."""
    started: list[subprocess.Popen[str]] = []

    def go(*words: str, **more: str) -> "subprocess.Popen[str]":
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | more
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        started.append(subprocess.Popen(words, cwd=folder, env=environment, start_new_session=True, **streams))  # type: ignore[call-overload]
        return started[-1]

    yield go
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def said(folder: Path) -> list[tuple[int, str]]:
    """(process, what it did) of every line of `work`."""
    lines = (folder / "work").read_text().splitlines() if (folder / "work").exists() else []
    return [(int(line.split(" ", 1)[0]), line.split(" ", 1)[1]) for line in lines]


def stage(steps: int = 40) -> list[str]:
    return ["python", "stage.py", "--out", "out", "--steps", str(steps)]


def steps(folder: Path) -> int:
    return sum(text.startswith("step") for _, text in said(folder))


# --- a killed dvc ------------------------------------------------------------------------------------------------------


def test_fault_41_dvc_is_killed_and_started_again_at_once(folder: Path, start: Start, record_property: Says) -> None:
    shutil.rmtree(folder / ".dvc")
    for words in (["git", "init", "-q"], ["dvc", "init", "-q"]):
        assert start(*words).wait() == 0
    stages = {"slow": {"cmd": " ".join(stage()), "outs": [{"out": {"persist": True}}]}}
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    dvc = start("dvc", "repro")
    wait_for(lambda: steps(folder) > 4)
    left = psutil.Process(dvc.pid).children(recursive=True)
    assert len(left) >= 3, "the stage and its two workers"
    dvc.kill()  # it alone
    dvc.wait()
    again = start("dvc", "repro")
    printed, _ = again.communicate(timeout=120)
    assert again.returncode == 0, printed
    assert not [process for process in left if process.is_running() and is_alive(process.pid)]
    second = [number for number, (_, text) in enumerate(said(folder)) if text == "main begins"][1]
    assert not {process for process, _ in said(folder)[second:]} & {process.pid for process in left}, "nobody of the first run"
    assert len(said(folder)[second:]) == 41, "all of the second run"
    assert check_manifest(folder / "out") == []
    assert int((folder / "out/by").read_text()) == said(folder)[second][0]
    assert not list(folder.glob(".out.partial-*"))
    (told,) = [line for line in dvc.communicate()[0].splitlines() if line.startswith("stopped: dvc, which started this stage")]
    record_property("says", told)


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize(
    "shell",
    [
        [],
        ["sh", "-c", '"$@"; true', "sh"],
        ["python", "-c", "import os, sys; os.setsid(); os.execvp(sys.argv[1], sys.argv[1:])"],
    ],
    ids=["its own child", "a shell between", "in a session of its own"],
)
def test_fault_41_a_stage_and_its_workers_end_with_dvc(
    folder: Path, start: Start, shell: list[str], method: str, record_property: Says
) -> None:
    dvc = start("python", "bin/dvc", *shell, *stage(2), START=method, LONG="400")  # its workers hear nothing of it meanwhile
    wait_for(lambda: steps(folder) > 4)
    left = psutil.Process(dvc.pid).children(recursive=True)
    dvc.kill()
    wait_for(lambda: not [process for process in left if process.is_running() and is_alive(process.pid)], 10)
    assert not (folder / "out").exists()
    assert steps(folder) < 400
    record_property("says", dvc.communicate()[0].splitlines()[0])  # behind it, what the tidier tidied


def test_fault_41_dvc_dies_before_its_stage_has_begun(folder: Path, start: Start, record_property: Says) -> None:
    """A stage imports for seconds before it can look whether dvc is there."""
    dvc = start("python", "bin/dvc", *stage(), IMPORTS_S="1")
    wait_for(lambda: psutil.Process(dvc.pid).children())
    (left,) = psutil.Process(dvc.pid).children()
    wait_for(lambda: "stage.py" in left.cmdline())
    dvc.kill()
    printed, _ = dvc.communicate(timeout=60)  # the stage holds the same pipe
    assert "error: the dvc that started this stage has ended, so nothing was begun. Run `dvc repro` again" in printed
    record_property("says", printed.strip())
    assert not (folder / "work").exists() and not (folder / "out").exists()


def test_a_stage_that_leaves_dvc_for_a_session_of_its_own_runs(folder: Path, start: Start) -> None:
    """As a cluster's daemon starts it: another parent, DVC's variables, and no dvc above it that anybody could name."""
    leave = "import os, sys\nif os.fork(): os._exit(0)\nos.setsid(); os.execvp(sys.argv[1], sys.argv[1:])"
    dvc = start("python", "bin/dvc", "python", "-c", leave, *stage(3))
    printed, _ = dvc.communicate(timeout=60)  # the stage holds the same pipe
    assert printed == "note: this stage goes on should dvc be killed: no dvc is found among the processes above it\n"
    assert check_manifest(folder / "out") == [] and steps(folder) == 3


@pytest.mark.parametrize("more", [{}, {"DVC_ROOT": "."}], ids=["alone", "with the project's"])
def test_a_users_own_variables_tie_a_stage_to_nothing(folder: Path, start: Start, more: dict[str, str]) -> None:
    shell = start("sh", "-c", '"$@"; true', "sh", *stage(30), DVC_STAGE="mine", **more)
    wait_for(lambda: steps(folder) > 4)
    shell.kill()
    printed, _ = shell.communicate(timeout=60)
    assert printed.count("\n") == len(more) and all(line.startswith("note: ") for line in printed.splitlines())
    assert check_manifest(folder / "out") == [] and steps(folder) == 30


def test_a_stage_started_by_hand_outlives_what_started_it(folder: Path, start: Start) -> None:
    shell = start("sh", "-c", '"$@"; true', "sh", *stage(30))
    wait_for(lambda: steps(folder) > 4)
    shell.kill()
    shell.communicate(timeout=60)  # until the stage has ended
    assert check_manifest(folder / "out") == []
    assert steps(folder) == 30


# --- one writer --------------------------------------------------------------------------------------------------------


def test_fault_41_a_second_run_waits_for_the_first(folder: Path, start: Start, record_property: Says) -> None:
    """As where it was started by hand, or is an orphan that was not known as one."""
    first = start(*stage(30))
    wait_for(lambda: steps(folder) > 4)
    second = start(*stage(1))
    printed, _ = second.communicate(timeout=60)
    assert f"out is being written by process {first.pid} (python stage.py --out out" in printed and "waiting 30 s" in printed
    record_property("says", printed.strip())
    assert first.wait() == second.returncode == 0
    begun = [number for number, (_, text) in enumerate(said(folder)) if text == "main begins"]
    assert begun == [0, 31], "the second began when the first had ended"
    assert int((folder / "out/by").read_text()) == second.pid


def test_fault_41_a_second_run_does_not_wait_for_ever(folder: Path, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    first = start(*stage(400))
    wait_for(lambda: steps(folder) > 4)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(alone, "_PATIENCE_S", 0.3)
    expected = (
        rf"out is being written by process {first.pid} \(python stage.py .*\)\. Wait until that has ended, or end it, then"
    )
    for words in (["--out", "out"], [f"--out={folder}/out"], ["--answers", "./out"]):
        with pytest.raises(DataError, match=expected), alone.only_writer(words):
            pytest.fail("two write the same output")
    for words in (["--out", "other"], [], ["--out"]):
        with alone.only_writer(words):
            pass
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    with alone.only_writer(["--out", "out"]):
        assert json.loads((folder / ".dvc/tmp/stages/out.lock").read_text()) == os.getpid(), (
            "it is free, whatever the killed one left"
        )


def test_a_stages_own_processes_write_under_its_lock(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lightning starts the same command once more for each further GPU."""
    monkeypatch.chdir(folder)
    with alone.only_writer(["--out", "out"]):
        path = os.pathsep.join([str(ROOT), *sys.path])
        words = [sys.executable, *stage(1)[1:]]
        done = subprocess.run(words, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stderr == ""


def test_a_folder_that_cannot_hold_a_lock_is_told_of(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    (folder / ".dvc/tmp").write_text("no folder")
    with alone.only_writer(["--out", "out"]):
        pass
    assert capsys.readouterr().err == "note: out is written without a lock: .dvc/tmp/stages: Not a directory\n"


def test_killed_between_the_two_renames_the_earlier_result_comes_back(tmp_path: Path) -> None:
    program = """
import os, signal, sys
from pathlib import Path
from stages import files
replace = os.replace
def kill(source, target):
    replace(source, target)
    if ".partial-old-" in str(target):
        os.kill(os.getpid(), signal.SIGKILL)
files.os.replace = kill
with files.new_folder(Path(sys.argv[1])) as out:
    (out / "text").write_text("new")
"""
    out = tmp_path / "out"
    with new_folder(out) as folder:
        (folder / "text").write_text("old")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", program, out], env=environment, check=False).returncode == -signal.SIGKILL
    assert not out.exists()
    with pytest.raises(DataError), new_folder(out):
        raise DataError("the next run fails")
    assert (out / "text").read_text() == "old" and check_manifest(out) == []
    assert os.listdir(tmp_path) == ["out"]


# --- what DVC leaves half written --------------------------------------------------------------------------------------

LOCK = "schema: '2.0'\nstages:\n" + "".join(
    f"  train@{name}:\n    cmd: python -m stages.train --model {name}\n    outs:\n    - path: models/{name}\n      md5: {number:032x}\n"
    for number, name in enumerate("abcdefgh")
)


@pytest.fixture
def locked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `dvc.lock` of eight stages of which a copy is kept, as one of the stages begins."""
    monkeypatch.chdir(folder)
    train = {"cmd": "python -m stages.train --model ${key}", "outs": ["models/${key}"]}
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": {"train": {"foreach": dict.fromkeys("abcdefgh", 1), "do": train}}}))
    Path("dvc.lock").write_text(LOCK)
    dvc_lock.keep()
    return Path("dvc.lock")


def test_a_lock_cut_off_anywhere_is_put_back(locked: Path) -> None:
    """After stage c, whose entry alone is another: wherever the writing was cut off within the stages that the copy holds."""
    after = LOCK.replace(f"{2:032x}", f"{99:032x}")
    for end in range(len(after)):
        locked.write_text(after[:end])
        assert dvc_lock.is_cut_off(locked), repr(after[:end][-30:])
    assert dvc_lock.mend() == [locked] and locked.read_text() == LOCK
    locked.write_text(after)
    assert dvc_lock.mend() == [] and locked.read_text() == after


@pytest.mark.parametrize(
    "text",
    [
        LOCK,
        LOCK + "  train@new:\n    cmd: x\n",
        LOCK.replace("models", "other"),
        "<<<<<<< HEAD\n" + LOCK,
        LOCK[: LOCK.index("  train@e")].replace("models", "other"),
        LOCK.replace(LOCK[LOCK.index("  train@b") : LOCK.index("  train@c")], ""),
    ],
    ids=["as it was", "a stage more", "another commit's", "a merge", "another commit's with fewer", "a stage removed"],
)
def test_a_lock_that_no_kill_cut_off_is_left_alone(locked: Path, text: str) -> None:
    locked.write_text(text)
    assert dvc_lock.mend() == [] and locked.read_text() == text


def test_a_lock_whose_last_output_was_taken_out_of_the_graph_is_left_alone(locked: Path) -> None:
    """Its last entry is the beginning of the copy's."""
    Path("dvc.lock").write_text(LOCK + "    - path: metrics/h\n      md5: 1\n")
    dvc_lock.keep()
    locked.write_text(LOCK)
    assert dvc_lock.mend() == []
    graph = yaml.safe_load(Path("dvc.yaml").read_text())
    graph["stages"]["train"]["do"]["metrics"] = ["metrics/${key}"]
    Path("dvc.yaml").write_text(yaml.safe_dump(graph))
    assert dvc_lock.mend() == [locked]


def test_a_lock_whose_last_stage_was_removed_is_left_alone(locked: Path) -> None:
    """As `dvc remove` does: the stage is no longer in the graph."""
    dvc_lock.copy_of(locked).write_text(LOCK + "  report:\n    cmd: x\n")
    assert dvc_lock.mend() == [] and locked.read_text() == LOCK
    Path("dvc.yaml").write_text(Path("dvc.yaml").read_text() + "  report: {cmd: x}\n")
    assert dvc_lock.mend() == [locked]


@pytest.mark.parametrize("how", ["checkout", "stash", "experiment"])
def test_a_lock_that_came_from_git_is_left_alone(locked: Path, how: str) -> None:
    """An earlier one may well be the beginning of what is copied."""

    def git(*words: str) -> None:
        subprocess.run(("git", "-c", "user.name=t", "-c", "user.email=t@t", *words), check=True, capture_output=True)

    earlier = LOCK[: LOCK.index("  train@e")]
    locked.write_text(earlier)
    assert dvc_lock.is_cut_off(locked), "as long as git does not have it"
    git("init", "-q")
    git("add", "dvc.lock")
    git("commit", "-qm", "earlier")
    locked.write_text(LOCK)
    if how == "stash":
        git("stash")
    else:
        git("commit", "-qam", "later")
        git("checkout", "HEAD~", *(["--", "dvc.lock"] if how == "experiment" else []))
    assert locked.read_text() == earlier
    assert dvc_lock.mend() == [] and locked.read_text() == earlier
    locked.write_text(LOCK[: LOCK.index("  train@d")])
    assert dvc_lock.mend() == [locked], "one that git does not have"
    (locked.parent / "empty").touch()
    git("add", "empty")
    locked.write_text("")
    assert dvc_lock.mend() == [locked], "an empty file is no lock, though git has one"


def test_a_lock_that_dvc_is_just_writing_is_left_alone(locked: Path, folder: Path, start: Start) -> None:
    """`make` started beside a run."""
    cut = LOCK[: LOCK.index("  train@e")]
    locked.write_text(cut)
    (folder / "dvc").write_text("import time\ntime.sleep(60)\n")
    (folder / "look").mkdir()
    dvc = subprocess.Popen([sys.executable, folder / "dvc"], cwd=folder / "look")
    other = subprocess.Popen([sys.executable, "-c", "import time\ntime.sleep(60)"])
    try:
        wait_for(lambda: dvc_lock.at_work() == [dvc.pid])
        mending = start("python", "-m", "stages.dvc_lock")
        assert not mending.communicate()[0] and mending.returncode == 0
        assert dvc_lock.mend() == [] and locked.read_text() == cut
        dvc.kill()
        dvc.wait()
        (folder / ".dvc/tmp/lock").write_text(f" {dvc.pid}\n")  # the file stays behind
        rwlock = folder / ".dvc/tmp/rwlock"
        rwlock.write_text(json.dumps({"read": {"/x": [{"pid": other.pid, "cmd": "dvc repro"}]}}))
        assert dvc_lock.mend() == [] and locked.read_text() == cut, "dvc under another name"
    finally:
        for process in (dvc, other):
            process.kill()
            process.wait()
    assert dvc_lock.mend() == [locked]


def test_the_next_stage_does_not_copy_a_lock_that_is_cut_off(locked: Path) -> None:
    locked.write_text(LOCK[: LOCK.index("  train@e")])
    dvc_lock.keep()
    assert dvc_lock.mend() == [locked] and locked.read_text() == LOCK
    locked.unlink()
    assert dvc_lock.mend() == [], "a lock that somebody removed stays so"


def test_fault_44_killed_while_dvc_writes_its_lock(folder: Path, start: Start, record_property: Says) -> None:
    """With DVC itself: what it makes of a lock that it had half written, and what it does when that is put back."""
    shutil.rmtree(folder / ".dvc")
    names = ["s1", "s2", "s3", "s4"]
    stages = {name: {"cmd": f"python stage.py --out {name} --steps 1", "outs": [{name: {"persist": True}}]} for name in names}
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    for words in (["git", "init", "-q"], ["dvc", "init", "-q"], ["dvc", "repro"]):
        assert start(*words).wait() == 0
    lock = folder / "dvc.lock"
    whole = lock.read_text()
    for left in ("", whole[: whole.index("  s3:\n") - 10]):
        lock.write_text(left)
        mended = start("python", "-m", "stages.dvc_lock")
        printed, _ = mended.communicate()
        assert (
            printed == "dvc.lock was cut off by a kill of dvc, and is again as it was before the stage that was just ending\n"
        )
        again = start("dvc", "repro")
        out, _ = again.communicate()
        assert again.returncode == 0 and kills.RUNNING.findall(out) == ["s4"], "nothing but the stage that was ending"
    record_property("says", printed)


# --- the shipped graph -------------------------------------------------------------------------------------------------


def test_moments_of_kills_are_spread_over_the_whole_run() -> None:
    starts = [("a", 10.0), ("b", 20.0), ("c", 90.0), ("end", 109.5)]
    found = kills.moments(starts, 110.0, 20, seed=1)
    began = dict(starts)
    at = [began[name] + offset for name, offset in found]
    assert [int((moment - 10) // 5) for moment in at] == list(range(20)), "one in each twentieth"
    assert all(offset < {"a": 10, "b": 70, "c": 19.5, "end": 0.25}[name] for name, offset in found)
    assert kills.moments(starts, 110.0, 20, seed=1) == found != kills.moments(starts, 110.0, 20, seed=2)


def test_what_differs_is_named(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name / "metrics").mkdir(parents=True)
        (tmp_path / name / "metrics/m.cost.json").write_text(json.dumps({"train_seconds": random.random(), "layers": 1}))
        (tmp_path / name / "models/m").mkdir(parents=True)
        (tmp_path / name / "models/m/manifest.json").write_text(json.dumps({"weights": {"bytes": 1, "sha256": "x"}}))
    one, other = kills.state(tmp_path / "a"), kills.state(tmp_path / "b")
    assert one == other and {kind: len(files) for kind, files in one.items()} == {"metrics files": 1, "files of outputs": 1}
    (tmp_path / "b/metrics/m.cost.json").write_text(json.dumps({"layers": 2}))
    (tmp_path / "b/models/m/manifest.json").write_text(json.dumps({"weights": {"bytes": 1, "sha256": "y"}}))
    (tmp_path / "a/metrics/gone.json").write_text("{}")
    assert kills.differences(kills.state(tmp_path / "a"), kills.state(tmp_path / "b")) == [
        "metrics/gone.json", "metrics/m.cost.json", "models/m/weights",
    ]  # fmt: skip


@pytest.mark.slow
def test_fault_41_two_kills_of_the_shipped_graph_change_nothing(clone: Path, tmp_path: Path) -> None:
    target = ["-f", "-s", f"train@{KEY}", f"evaluate@{KEY}"]
    unbroken = kills.Run(clone, target, tmp_path / "unbroken.log")
    unbroken.wait()
    seconds, before = time.monotonic() - unbroken.began, kills.state(clone)
    plan = kills.moments(unbroken.starts, seconds, 2, seed=random.randrange(1000))
    done = kills.killed_run(clone, target, [name for name, _ in unbroken.starts], plan, tmp_path / "killed.log")
    assert [kill.way for kill in done] == list(kills.WAYS), plan
    assert len(before["metrics files"]) > 100 and kills.differences(before, kills.state(clone)) == [], plan
    restore(clone)
