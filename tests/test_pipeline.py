"""The shipped graph from end to end, in the smoke profile, in a clone of its own: what a user runs and tries."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
KEY = "camera_trap-alexnet-location"

pytestmark = pytest.mark.slow


def call(folder: Path, *words: str, ok: bool = True) -> str:
    """Run a command as a user would, in `folder`; returns what it printed."""
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(folder),
        "GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@t", "GIT_COMMITTER_NAME": "t", "GIT_COMMITTER_EMAIL": "t@t",
    }  # fmt: skip
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    printed = done.stdout + done.stderr
    assert (done.returncode == 0) == ok, printed[-3000:]
    return printed


def ran(printed: str) -> list[str]:
    """The stages that ran, but for the two that look whether anything changed."""
    return [
        name for name in re.findall(r"Running stage '([^']+)'", printed) if name != "check" and not name.startswith("look@")
    ]


def make_clone(folder: Path) -> Path:
    """The working tree's files in a repository of its own, switched to the smoke profile, without any result."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.splitlines():
        if not name.startswith(("metrics/", "dvc.lock", "tests/")) and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    params = folder / "params.yaml"
    params.write_text(params.read_text().replace("\nprofile: embedded\n", "\nprofile: smoke\n"))
    for words in (["git", "init", "-q"], ["git", "add", "-A"], ["git", "commit", "-qm", "clone"]):
        call(folder, *words)
    return folder


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_clone(tmp_path_factory.mktemp("clone"))
    printed = call(folder, "dvc", "repro")
    assert len(ran(printed)) == 4 + 2 * 5  # one data set, five models
    call(folder, "git", "add", "-A")
    call(folder, "git", "commit", "-qm", "results")
    return folder


def metrics(folder: Path, key: str = KEY) -> dict:
    return json.loads((folder / f"metrics/camera_trap/{key}.json").read_text())


def test_every_model_has_its_metrics_in_the_promised_shape(clone: Path) -> None:
    import yaml

    for key, entry in yaml.safe_load((clone / "params.yaml").read_text())["models"].items():
        found = metrics(clone, key)
        assert found["data"] == "embedded"
        assert entry["smoke"]["architecture"] in found["architecture"]
        for part in ("seen", "unseen"):
            assert set(found[part]) == {"n", "f1_macro", "f1_macro_low", "f1_macro_high", "accuracy", "majority"}
        assert found["gap"] == pytest.approx(found["seen"]["f1_macro"] - found["unseen"]["f1_macro"], abs=1e-4)
        assert ("test" in found) == (entry["version"] == "location")
        cost = json.loads((clone / f"metrics/camera_trap/{key}.cost.json").read_text())
        assert cost["parameters"] > 0 and cost["megabytes"] > 0 and cost["ms_an_image"] > 0 and cost["train_seconds"] > 0


def test_the_page_says_what_it_was_measured_on(clone: Path) -> None:
    page = (clone / "reports/camera_trap/index.html").read_text()
    assert "embedded" in page and "drew itself" in page
    for key in ("alexnet-location", "vgg19-location", "resnext50-location", "alexnet-class", "resnext50-class"):
        assert f"camera_trap-{key}" in page
        assert f"{metrics(clone, f'camera_trap-{key}')['unseen']['f1_macro']:.3f}" in page
    pictures = re.findall(r'src="(pictures/[^"]+)"', page)
    assert pictures and all((clone / "reports/camera_trap" / name).is_file() for name in pictures)


def test_nothing_to_do_is_quick_and_runs_nothing(clone: Path) -> None:
    assert ran(call(clone, "dvc", "repro")) == []


def test_verify_finds_all_well_and_then_the_altered_file(clone: Path) -> None:
    assert " 0 differences" in call(clone, sys.executable, "-m", "stages.verify")
    path = clone / f"models/{KEY}/weights.safetensors"
    data = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))  # in the cache too, where it is a hard link
    try:
        assert "weights.safetensors: altered" in call(clone, sys.executable, "-m", "stages.verify", ok=False)
    finally:
        path.write_bytes(data)
        path.chmod(0o444)
    assert " 0 differences" in call(clone, sys.executable, "-m", "stages.verify")


def test_an_experiment_reruns_its_own_chain_alone_and_diff_shows_it(clone: Path) -> None:
    printed = call(clone, "dvc", "exp", "run", "-S", f"models.{KEY}.smoke.epochs=3")
    assert ran(printed) == [f"train@{KEY}", f"evaluate@{KEY}", "report@camera_trap"]
    curve = (clone / f"metrics/camera_trap/{KEY}.curve.csv").read_text().splitlines()
    assert len(curve) == 1 + 3
    params = call(clone, "dvc", "params", "diff")
    assert f"models.{KEY}.smoke.epochs" in params and "camera_trap-alexnet-class" not in params
    assert f"{KEY}.json" in call(clone, "dvc", "metrics", "diff")
    call(clone, "git", "checkout", "-q", "--", ".")
    call(clone, "dvc", "checkout", "-q")
    assert ran(call(clone, "dvc", "repro")) == []


def test_scoring_code_retrains_nothing_and_a_family_retrains_itself(clone: Path) -> None:
    for name, changed in (("scores.py", {"evaluate"}), ("networks/image.py", {"train", "evaluate"}), ("report.py", {"report"})):
        path = clone / "stages" / name
        text = path.read_text()
        path.write_text(text + "\n# a comment\n")
        status = json.loads(call(clone, "dvc", "status", "--json"))
        direct = {
            stage.split("@")[0]
            for stage, causes in status.items()
            if any(
                "changed deps" in cause and f"stages/{name}" in cause["changed deps"]
                for cause in causes
                if isinstance(cause, dict)
            )
        }
        path.write_text(text)
        assert direct - {"check"} == changed, name


def test_equal_seeds_give_equal_metrics(clone: Path) -> None:
    before = metrics(clone)
    printed = call(clone, "dvc", "repro", "-f", "-s", f"train@{KEY}", f"evaluate@{KEY}")
    assert ran(printed) == [f"train@{KEY}", f"evaluate@{KEY}"]
    assert metrics(clone) == before


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="process groups are POSIX")
def test_a_run_killed_in_training_ends_as_an_unbroken_one(clone: Path) -> None:
    call(clone, "dvc", "exp", "run", "-S", f"models.{KEY}.smoke.epochs=10", f"evaluate@{KEY}")
    unbroken = metrics(clone)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    running = subprocess.Popen(
        ["dvc", "repro", "-f", "-s", f"train@{KEY}"],
        cwd=clone,
        env=os.environ | {"PATH": path, "PYTHONPATH": str(clone)},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + 120
    while not list((clone / ".work" / KEY).rglob("last.ckpt")):
        assert time.monotonic() < end and running.poll() is None, "no state was written before training ended"
        time.sleep(0.02)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    assert (clone / "models" / KEY / "weights.safetensors").is_file()  # the earlier result is still there
    printed = call(clone, "dvc", "repro", "-f", "-s", f"train@{KEY}", f"evaluate@{KEY}")
    assert "going on" in printed
    assert metrics(clone) == unbroken
    call(clone, "git", "checkout", "-q", "--", ".")
    call(clone, "dvc", "checkout", "-q")


def test_a_changed_folder_is_noticed(clone: Path, tmp_path: Path) -> None:
    source = tmp_path / "my photos"
    shutil.copytree(clone / "data/raw/camera_trap", source)
    for path in source.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    switch = f"datasets.camera_trap.smoke.download.source='path:{source}'"
    printed = call(clone, "dvc", "exp", "run", "-S", switch, "clean@camera_trap")
    assert ran(printed) == ["download@camera_trap", "clean@camera_trap"]
    about = json.loads((clone / "data/clean/camera_trap/source.json").read_text())
    assert about["data"] == "your data"
    next(source.glob("images/*.jpg")).unlink()
    printed = call(clone, "dvc", "repro", "clean@camera_trap")
    assert "1 gone" in printed
    assert ran(printed) == ["download@camera_trap", "clean@camera_trap"]
    call(clone, "git", "checkout", "-q", "--", ".")
    call(clone, "dvc", "checkout", "-q")


def test_pull_without_a_remote_says_what_to_do(clone: Path) -> None:
    (clone / ".venv").mkdir()
    (clone / ".venv/installed").touch()  # newer than requirements.txt: nothing to set up
    assert "dvc repro) to rebuild everything" in call(clone, "make", "pull", ok=False)
