"""Everything that the doctor looks at, but for the environment: it is imported once that is known to be well."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from dvc.exceptions import DvcException

from stages.doctoring import Finding, environment, history, lock, machine, processes, room, several, sources, storage, wishes
from stages.files import DataError
from stages.settings import PARAMS, read_params
from stages.verify import differences, manifests


def _outputs() -> tuple[list[lock.Output], list[Finding], list[Finding]]:
    """What dvc.lock says was made, what is wrong with the files of the graph, and what is odd about them."""
    outputs: list[lock.Output] = []
    found: list[Finding] = []
    odd: list[Finding] = []
    for graph in lock.graphs():
        try:
            outputs += lock.outputs(graph)
            odd += lock.remarks(graph)
        except lock.Damaged as error:
            found += error.args
    return outputs, found, odd


def _stored(root: Path, outputs: list[lock.Output], everything: bool) -> tuple[list[lock.Output], list[Finding]]:
    """The outputs that the cache does not have, and findings about cache and databases."""
    try:
        folder = storage.cache_folder(root)
        found = storage.cache_findings(folder, outputs, everything) + storage.state_findings(root)
    except DvcException as error:  # its settings are read first
        remedy = "mend .dvc/config, or `git checkout .dvc/config`"
        return [], [Finding("cache", f"{root / storage.DVC / 'config'}: {error}", remedy, stops=True)]
    return [out for out in outputs if out.cached and not storage.place(folder, out.md5).is_file()], found


def _results(root: Path) -> list[Finding]:
    """Every output against the manifest that its stage left."""
    folders = manifests([root / name for name in ("data", "models", "reports")])
    if wrong := differences(folders):
        remedy = "remove that folder and what `cache` names above, then `dvc repro`"
        return [
            Finding("results", f"{len(wrong)} files are not as their stage left them: {several(wrong, 8)}", remedy, stops=True)
        ]
    return [Finding("results", f"{len(folders)} folders are as their stages left them")]


def _settings(root: Path) -> tuple[dict[str, Any], list[Finding]]:
    try:
        params = read_params(root / PARAMS)
    except DataError as error:
        remedy = f"mend it, or `git checkout {PARAMS}` brings back the last commit's"
        return {}, [Finding("settings", str(error), remedy, stops=True)]
    return params, []


def examine(root: Path, everything: bool) -> list[Finding]:
    """All that is found but for the environment. Raises DataError outside of a project."""
    if not (root / storage.DVC).is_dir():
        raise DataError(f"{root.resolve()}: no .dvc folder here. Run it from the repository's root")
    params, found = _settings(root)
    # PyTorch takes seconds to import: another process does it meanwhile.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        asked = pool.submit(wishes.examine, params) if params else None
        found += machine.findings() + processes.findings(root) + room.writing_findings(root)
        outputs, damaged, odd = _outputs()
        absent, stored = _stored(root, outputs, everything)
        found += odd + (damaged or stored)
        found += history.findings(root, outputs)
        found += _results(root) if everything else []
        try:
            settled, demands = asked.result() if asked else ([], [])
        except ImportError as error:
            settled, demands = [environment.unusable(error)], []
    found += settled
    if isinstance(params.get("datasets"), dict) and isinstance(
        params.get("profile"), str
    ):  # else `settings` says what is wrong
        found += sources.findings(params)
        found += room.disk_findings(root, params, outputs, absent)
        found += room.memory_findings(demands, machine.memory_bytes(), machine.gpus())
    return found
