"""dvc.yaml, params.yaml and the code must say the same: what a stage imports, reads and writes is what it declares."""

import ast
import shlex
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo

ROOT = Path(__file__).parent.parent
PROFILES = ("smoke", "embedded", "paper")


def imported(module: Path, seen: set[Path] | None = None) -> set[Path]:
    """The files of the package that `module` imports, directly or not, itself included."""
    seen = set() if seen is None else seen
    if module in seen:
        return seen
    seen.add(module)
    for node in ast.walk(ast.parse(module.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            path = ROOT / (name.replace(".", "/") + ".py")
            package = ROOT / name.replace(".", "/") / "__init__.py"
            if name.split(".")[0] == "stages" and name != "stages":
                for found in (path, package):
                    if found.is_file():
                        imported(found, seen)
    return seen


@pytest.fixture(scope="module", params=PROFILES)
def repo(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """The shipped graph with each profile switched on, loaded by DVC itself."""
    folder = tmp_path_factory.mktemp(request.param)
    for name in ("stages", "dvc.yaml"):
        (folder / name).symlink_to(ROOT / name)
    text = (ROOT / "params.yaml").read_text()
    (folder / "params.yaml").write_text(text.replace("\nprofile: embedded\n", f"\nprofile: {request.param}\n"))
    assert f"\nprofile: {request.param}\n" in (folder / "params.yaml").read_text()
    return Repo.init(str(folder), no_scm=True)


def option(words: list[str], name: str) -> str:
    return words[words.index(name) + 1]


def test_every_stage_declares_the_code_that_it_imports(repo: Repo) -> None:
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    assert len(repo.index.stages) == 1 + 5 * len(params["datasets"]) + 2 * len(params["models"])
    for stage in repo.index.stages:
        words = shlex.split(stage.cmd)
        files = imported(ROOT / (words[2].replace(".", "/") + ".py"))
        if "--family" in words:  # loaded by name
            files |= imported(ROOT / "stages/networks" / f"{option(words, '--family')}.py")
        declared = {dep.def_path for dep in stage.deps if dep.def_path.startswith("stages/")}
        folders = {name for name in declared if (ROOT / name).is_dir()}
        for path in (path for folder in folders for path in (ROOT / folder).glob("*.py")):  # loaded by name, one of them
            files |= imported(path)
        needed = {path.relative_to(ROOT).as_posix() for path in files} - {"stages/__init__.py"}
        undeclared = {name for name in needed - declared if not any(name.startswith(f"{f}/") for f in folders)}
        assert not undeclared, f"{stage.addressing}: imports {sorted(undeclared)}, which dvc.yaml does not list"
        unused = {name for name in declared - needed - folders if name.endswith(".py")}
        assert not unused, f"{stage.addressing}: dvc.yaml lists {sorted(unused)}, which it does not import"


def test_every_stage_reads_the_params_that_it_declares(repo: Repo) -> None:
    for stage in repo.index.stages:
        words = shlex.split(stage.cmd)
        declared = {name for dep in stage.params for name in dep.params}
        read = {option(words, "--params")} if "--params" in words else set()
        read |= {"seed"} if "--seed" in words else set()
        if any(dep.def_path == "params.yaml" for dep in stage.deps if not hasattr(dep, "params")):
            continue  # the whole file
        assert read == declared, stage.addressing


def test_every_path_in_a_command_is_a_dependency_or_an_output(repo: Repo) -> None:
    for stage in repo.index.stages:
        words = shlex.split(stage.cmd)
        paths = [word for word in words if word.startswith(("data/", "models/", "metrics/", "reports/"))]
        known = [entry.def_path for entry in [*stage.deps, *stage.outs] if entry.def_path]
        for path in paths:
            inside = any(entry == path or entry.startswith(f"{path}/") or path.startswith(f"{entry}/") for entry in known)
            assert inside, f"{stage.addressing}: {path} is neither a dependency nor an output"


def test_outputs_are_kept_until_they_can_be_replaced(repo: Repo) -> None:
    for stage in repo.index.stages:
        assert all(out.persist for out in stage.outs), stage.addressing


def test_model_keys_name_their_dataset_architecture_and_version() -> None:
    for key, entry in yaml.safe_load((ROOT / "params.yaml").read_text())["models"].items():
        assert key.startswith(f"{entry['dataset']}-") and key.endswith(f"-{entry['version']}")
