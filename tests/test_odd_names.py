"""Names that users give files, through DVC and back: case 31 where data lie in its cache."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from stages.files import check_manifest

ROOT = Path(__file__).parents[1]
NAMES = (
    "été ñandú (1).png",
    "line\nbreak/日本.png",
    " lead.png",
    'comma, "quote".png',
    "tab\there.png",
    "back\\slash.png",
    "$(x);&.png",
)
MAKE = f"""
from pathlib import Path
from stages.files import new_folder

with new_folder(Path("raw")) as folder:
    for name in {NAMES!r}:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(name)
"""


def test_fault_31_odd_names_come_out_of_the_cache_as_they_went_in(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "DVC_SITE_CACHE_DIR": str(tmp_path / "site")}
    folder = tmp_path / "repository"
    folder.mkdir()

    def call(*words: str) -> str:
        return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=True).stdout

    call("git", "init", "-q")
    call("dvc", "init", "-q")
    (folder / "make.py").write_text(MAKE)
    (folder / "dvc.yaml").write_text("stages: {make: {cmd: python make.py, deps: [make.py], outs: [raw]}}")
    call("dvc", "repro", "-q")
    shutil.rmtree(folder / "raw")
    call("dvc", "checkout", "-q")
    assert {name: (folder / "raw" / name).read_text() for name in NAMES} == {name: name for name in NAMES}
    assert check_manifest(folder / "raw") == []
    assert call("dvc", "status").strip() == "Data and pipelines are up to date."
    record_property("says", "continues")
