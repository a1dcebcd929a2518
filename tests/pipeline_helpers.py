"""The shipped graph run once, in the smoke profile, in a clone of its own: every test of a finished run shares it."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.graph_helpers import ALONE, STAGES_OF

ROOT = Path(__file__).parent.parent


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
    """The stages that ran, but for those that look whether anything changed, and the index, which follows every page."""
    return [name for name in started(printed) if name not in ("code", "check", "look/dvc.yaml:look", "index")]


def wait_for(true: Callable[[], object], seconds: float = 60) -> None:
    """Until it is true; fails after so many seconds."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def restore(folder: Path) -> None:
    """Everything as it was committed."""
    call(folder, "git", "checkout", "-q", "--", ".")
    call(folder, "dvc", "checkout", "-q")


def params_of(folder: Path) -> dict[str, Any]:
    return yaml.safe_load((folder / "params.yaml").read_text())


def make_clone(folder: Path) -> Path:
    """The working tree's files in a repository of its own, switched to the smoke profile, without any result."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.splitlines():
        if not name.startswith(("metrics/", "tests/")) and not name.endswith("dvc.lock") and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    params = folder / "params.yaml"
    params.write_text(params.read_text().replace("\nprofile: embedded\n", "\nprofile: smoke\n"))
    for words in (["git", "init", "-q"], ["git", "add", "-A"], ["git", "commit", "-qm", "clone"]):
        call(folder, *words)
    return folder


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_clone(tmp_path_factory.mktemp("clone"))
    names = started(call(folder, "dvc", "repro"))
    expected = ALONE + sum(times * len(params_of(folder)[kind]) for kind, times in STAGES_OF.items())
    assert len(set(names)) == len(names) == expected
    call(folder, "git", "add", "-A")
    call(folder, "git", "commit", "-qm", "results")
    return folder
