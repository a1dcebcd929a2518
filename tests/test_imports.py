"""The list of code that each stage is made of: all that it really imports, and nothing that it does not."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stages import imports
from stages.files import DataError

ROOT = Path(__file__).parent.parent


def listed(package: Path, out: Path) -> dict[str, dict[str, str]]:
    """What `python -m stages.imports` of the package in the folder `package` writes, by the stage's name."""
    done = subprocess.run(
        [sys.executable, "-m", "stages.imports", "--out", str(out)],
        cwd=package,
        env={"PYTHONPATH": str(package)},
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr.decode()
    return {path.stem: json.loads(path.read_text()) for path in out.glob("*.json")}


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    return listed(ROOT, tmp_path_factory.mktemp("code") / "code")


@pytest.fixture
def package(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "stages", tmp_path / "stages", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.mark.parametrize(
    ("stage", "family"),
    [("download", None), ("clean", None), ("report", None), ("train", "slowfast")],
)
def test_all_that_a_stage_imports_is_listed(here: dict[str, dict[str, str]], stage: str, family: str | None) -> None:
    """Held against the interpreter itself."""
    modules = f"stages.{stage}" + (f", stages.networks.{family}" if family else "")
    code = f"import sys, {modules}; print(*(m.__file__ for n, m in sys.modules.items() if n.startswith('stages')), sep='\\n')"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    ran = {Path(line).relative_to(ROOT).as_posix() for line in out.splitlines()} - {"stages/__init__.py"}
    assert len(ran) > 5 and ran <= set(here[f"{stage}-{family}" if family else stage])


def test_a_list_holds_its_templates_and_no_other_family(here: dict[str, dict[str, str]]) -> None:
    assert {"stages/pages/page.css", "stages/pages/base.html"} <= set(here["report"])
    families = {name.split("/")[2] for name in here["train-image"] if name.startswith("stages/networks/")}
    assert families == {"__init__.py", "image"}
    assert {"stages/datasets/mpii.py", "stages/datasets/kabr.py"} <= set(here["clean"])
    assert not any(name.startswith("stages/embedded/") for name in here["clean"])


@pytest.mark.parametrize(
    ("changed", "touches", "not_touched"),
    [
        ("networks/yolo/training.py", "train-yolo", "train-image"),
        ("pages/page.css", "report", "evaluate"),
        ("threads.py", "split", None),
        ("__init__.py", None, "split"),
    ],
)
def test_a_change_touches_the_stages_that_use_it_alone(
    here: dict[str, dict[str, str]], package: Path, tmp_path: Path, changed: str, touches: str | None, not_touched: str | None
) -> None:
    file = package / "stages" / changed
    file.write_text(file.read_text() + "\n")
    after = listed(package, tmp_path / "code")
    assert touches is None or after[touches] != here[touches]
    assert not_touched is None or after[not_touched] == here[not_touched]


def test_a_new_import_is_followed(here: dict[str, dict[str, str]], package: Path, tmp_path: Path) -> None:
    (package / "stages/new.py").write_text("")
    with (package / "stages/split.py").open("a") as file:
        file.write("\n\ndef later() -> None:\n    from stages import new\n")
    assert set(listed(package, tmp_path / "code")["split"]) - set(here["split"]) == {"stages/new.py"}


def test_what_cannot_be_followed_is_refused_with_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "stages"
    monkeypatch.setattr(imports, "PACKAGE", package)
    (package / "pages").mkdir(parents=True)
    (package / "threads.py").write_text("")
    lines = [
        "from . import split", "from .split import main", "from .. import split", "from importlib import import_module",
        "from importlib import util, import_module as load", "from importlib import *", "__import__('stages.split')",
        "importlib.__import__('stages.split')", "load = __import__", "importlib.import_module(name='stages.split')",
        "importlib.import_module('stages.split')", "importlib.import_module(f'stages.{name}')",
    ]  # fmt: skip
    for number, line in enumerate(lines):
        module = package / f"pages/new{number}.py"
        module.write_text(f"import importlib\n\n\n{line}\n")
        message = rf"^stages/pages/new{number}\.py: line 4: `.*` cannot be followed: write it as `import stages\.x`"
        with pytest.raises(DataError, match=message):
            imports.imported(module)
        module.unlink()
    sound, page = package / "sound.py", package / "pages/page.py"
    sound.write_text(
        "from importlib import metadata, util\nimport importlib\nimportlib.import_module(f'stages.pages.{name}')\n"
    )
    page.write_text("")
    assert imports.imported(sound) == {sound, page, package / "threads.py"}


def test_a_module_by_name_that_cannot_be_followed_is_refused(package: Path, tmp_path: Path) -> None:
    with (package / "stages/split.py").open("a") as file:
        file.write("\n\nimport importlib\n\nimportlib.import_module(input())\n")
    words = [sys.executable, "-m", "stages.imports", "--out", str(tmp_path / "code")]
    done = subprocess.run(words, cwd=package, env={"PYTHONPATH": str(package)}, capture_output=True, text=True)
    assert done.returncode == 1 and not (tmp_path / "code").exists()
    assert "stages/split.py" in done.stderr and "line" in done.stderr and "cannot be followed" in done.stderr
