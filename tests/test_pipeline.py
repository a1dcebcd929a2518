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
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from stages.evaluate import HEADLINES
from stages.samples import SEEN, TEST, TRAIN, UNSEEN, VAL

ROOT = Path(__file__).parent.parent
KEY = "camera_trap-alexnet-location"
YOLO = "camera_trap-yolov5n-location"
FINDS_BOXES = ("yolo", "efficientdet", "crop")  # families

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


def started(printed: str) -> list[str]:
    return re.findall(r"Running stage '([^']+)'", printed)


def ran(printed: str) -> list[str]:
    """The stages that ran, but for the two that look whether anything changed."""
    return [name for name in started(printed) if name != "check" and not name.startswith("look@")]


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
    names = started(call(folder, "dvc", "repro"))
    entries = params_of(folder)
    expected = (
        1 + 5 * len(entries["datasets"]) + len(entries["pretrained"]) + len(entries["harder"]) + 2 * len(entries["models"])
    )
    assert len(set(names)) == len(names) == expected
    call(folder, "git", "add", "-A")
    call(folder, "git", "commit", "-qm", "results")
    return folder


def params_of(folder: Path) -> dict[str, Any]:
    return yaml.safe_load((folder / "params.yaml").read_text())


def metrics(folder: Path, key: str = KEY) -> dict[str, Any]:
    return json.loads((folder / f"metrics/camera_trap/{key}.json").read_text())


def restore(folder: Path) -> None:
    call(folder, "git", "checkout", "-q", "--", ".")
    call(folder, "dvc", "checkout", "-q")


def test_every_model_has_its_metrics_in_the_promised_shape(clone: Path) -> None:
    for key, entry in params_of(clone)["models"].items():
        found, finds_boxes = metrics(clone, key), entry["family"] in FINDS_BOXES
        parts = [part for part in HEADLINES if part != TEST or entry["lists"].endswith("/location")]
        assert set(found) == {*parts, "gap", "data", "architecture"}, key
        for part in parts:
            assert set(found[part]) == {name for name in HEADLINES[part] if finds_boxes or name != "map50"}, (key, part)
        assert sum(len(found[part]) for part in parts) + 1 <= 12
        assert found["data"] == "embedded"
        assert (entry["smoke"].get("architecture") or entry["smoke"]["variant"]) in found["architecture"]
        assert found["gap"] == pytest.approx(found[SEEN]["f1_macro"] - found[UNSEEN]["f1_macro"], abs=1.1e-4)  # rounded thrice
        cost = json.loads((clone / f"metrics/camera_trap/{key}.cost.json").read_text())
        assert cost["parameters"] > 0 and cost["megabytes"] > 0 and cost["ms_an_image"] > 0 and cost["train_seconds"] > 0


def test_every_model_has_all_figures_of_each_part_in_a_table(clone: Path) -> None:
    for key, entry in params_of(clone)["models"].items():
        table = pd.read_csv(clone / f"metrics/camera_trap/{key}.parts.csv").set_index("part")
        assert table.index.tolist() == [part for part in HEADLINES if part in metrics(clone, key)], key
        figures = ["n", *(f"{kind}f1_macro{side}" for kind in ("", "sequence_") for side in ("", "_low", "_high"))]
        figures += ["map50", "map50_low", "map50_high", "map50_95"] if entry["family"] in FINDS_BOXES else []
        assert np.isfinite(table[figures]).all(axis=None), key
        assert ("map50" in table) == (entry["family"] in FINDS_BOXES)


def test_metrics_show_prints_every_model(clone: Path) -> None:
    printed = call(clone, "dvc", "metrics", "show")
    for key in params_of(clone)["models"]:
        assert f"metrics/camera_trap/{key}.json " in printed


def lines(clone: Path, version: str, *parts: str) -> list[bytes]:
    """The lines of a version's list that are of `parts`, as they stand there."""
    found = (clone / version / "parts.csv").read_bytes().splitlines(keepends=True)
    return [line for line in found if line.strip().rpartition(b",")[2].decode() in parts]


def test_harder_versions_are_scored_on_the_very_pictures_of_their_base(clone: Path) -> None:
    base = "data/splits/camera_trap/class"
    train = lines(clone, base, TRAIN)
    for version in ("upsampled", "isolated"):
        folder = f"data/harder/camera_trap/{version}"
        for part in (VAL, SEEN, UNSEEN):
            assert lines(clone, folder, part) == lines(clone, base, part) != []
        assert set(lines(clone, folder, TRAIN)) > set(train), "it adds to train and takes nothing away"


def test_the_page_says_what_it_was_measured_on(clone: Path) -> None:
    page = (clone / "reports/camera_trap/index.html").read_text()
    assert "embedded" in page and "drew itself" in page
    for key in params_of(clone)["models"]:
        assert key in page
        assert f"{metrics(clone, key)[UNSEEN]['f1_macro']:.3f}" in page
    pictures = re.findall(r'src="(pictures/[^"]+)"', page)
    assert pictures and all((clone / "reports/camera_trap" / name).is_file() for name in pictures)


def test_nothing_to_do_runs_nothing(clone: Path) -> None:
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
    restore(clone)
    assert ran(call(clone, "dvc", "repro")) == []


def marked(clone: Path, *code: str) -> dict[str, set[str]]:
    """The stages that a comment at the end of each file marks as changed, for each: those that depend on it or its folder."""
    texts = {name: (clone / name).read_text() for name in code}
    try:
        for name, text in texts.items():
            (clone / name).write_text(text + "\n# a comment\n")
        status = json.loads(call(clone, "dvc", "status", "--json"))
    finally:
        for name, text in texts.items():
            (clone / name).write_text(text)
    found: dict[str, set[str]] = {name: set() for name in code}
    for stage, causes in status.items():
        changed = {path for cause in causes if isinstance(cause, dict) for path in cause.get("changed deps", {})}
        for name in code:
            if stage != "check" and changed & {name, name.removesuffix("/__init__.py")}:  # `check` imports everything
                found[name].add(stage)
    return found


def test_scoring_code_retrains_nothing_and_a_family_its_own_models_alone(clone: Path) -> None:
    entries = params_of(clone)
    evaluated = {f"evaluate@{key}" for key in entries["models"]}
    expected = {
        "stages/scores.py": evaluated
        | {f"harden@{key}" for key in entries["harder"]}
        | {f"report@{key}" for key in entries["datasets"]},
        "stages/box_scores.py": evaluated,
        "stages/answers.py": evaluated,
        "stages/report.py": {f"report@{key}" for key in entries["datasets"]},
    }
    for family in ("image", "yolo"):
        expected[f"stages/networks/{family}/__init__.py"] = {
            f"{stage}@{key}"
            for stage, kind in (("train", "models"), ("pretrain", "pretrained"))
            for key, entry in entries[kind].items()
            if entry["family"] == family
        }
    found = marked(clone, *expected)
    assert found == expected
    assert not [stage for stage in found["stages/networks/image/__init__.py"] if "yolo" in stage]


def test_equal_seeds_give_equal_metrics(clone: Path) -> None:
    before = metrics(clone)
    printed = call(clone, "dvc", "repro", "-f", "-s", f"train@{KEY}", f"evaluate@{KEY}")
    assert ran(printed) == [f"train@{KEY}", f"evaluate@{KEY}"]
    assert metrics(clone) == before


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="process groups are POSIX")
@pytest.mark.parametrize(("key", "state", "epochs"), [(KEY, "last.ckpt", 10), (YOLO, "last.pt", 8)], ids=["image", "yolo"])
def test_a_run_killed_in_training_ends_as_an_unbroken_one(clone: Path, key: str, state: str, epochs: int) -> None:
    call(clone, "dvc", "exp", "run", "-S", f"models.{key}.smoke.epochs={epochs}", f"evaluate@{key}")
    unbroken = metrics(clone, key)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    running = subprocess.Popen(
        ["dvc", "repro", "-f", "-s", f"train@{key}"],
        cwd=clone,
        env=os.environ | {"PATH": path, "PYTHONPATH": str(clone)},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + 120
    try:
        while not list((clone / ".work" / key).rglob(state)):
            assert time.monotonic() < end and running.poll() is None, "no state was written before training ended"
            time.sleep(0.02)
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()
    assert list((clone / ".work" / key).rglob(state)), "training ended before it was killed"
    assert (clone / "models" / key / "weights.safetensors").is_file()  # the earlier result is still there
    printed = call(clone, "dvc", "repro", "-f", "-s", f"train@{key}", f"evaluate@{key}")
    assert "going on" in printed
    assert metrics(clone, key) == unbroken
    restore(clone)


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
    restore(clone)


def test_pull_without_a_remote_says_what_to_do(clone: Path) -> None:
    (clone / ".venv").mkdir()
    (clone / ".venv/installed").touch()  # newer than requirements.txt: nothing to set up
    assert "dvc repro) to rebuild everything" in call(clone, "make", "pull", ok=False)
