"""The users' command: is everything as a run needs it, and what to do about each thing that is not.

    python -m stages.doctor [--all]

Alters nothing, asks nothing of the network. Most important first; exit code 1 when a run would stop, or would take wrong data
for right. A part of DVC's cache is hashed, drawn by chance; `--all` hashes all of it, and every output as `stages.verify` does.
"""

import argparse
import multiprocessing
import shutil
import sys
import textwrap
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from dvc.exceptions import DvcException

from stages.command import run
from stages.doctoring import Finding, environment, history, lock, machine, processes, room, several, sources, storage, wishes
from stages.files import DataError
from stages.settings import PARAMS, read_params
from stages.verify import differences, manifests

# What comes first decides whether the rest can be well.
ORDER = (
    "environment packages git settings cache state locks processes disk data results memory GPU machine browser temporaries"
).split()


def _outputs(root: Path) -> tuple[list[lock.Output], list[Finding]]:
    """What dvc.lock says was made, and what is wrong with the files of the graph."""
    outputs: list[lock.Output] = []
    found: list[Finding] = []
    for graph in lock.graphs(root):
        try:
            outputs += lock.outputs(graph, root)
        except lock.Damaged as error:
            found += error.args
    return outputs, found


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
    """All that is found, in the order in which it matters."""
    params, found = _settings(root)
    # PyTorch takes seconds to import: another process does it meanwhile.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        asked = pool.submit(wishes.examine, params) if params else None
        found += environment.findings() + machine.findings() + processes.findings(root) + room.writing_findings(root)
        outputs, damaged = _outputs(root)
        absent, stored = _stored(root, outputs, everything)
        found += damaged or stored
        found += history.findings(root, outputs)
        found += _results(root) if everything else []
        settled, demands = asked.result() if asked else ([], [])
    found += settled
    if isinstance(params.get("datasets"), dict) and isinstance(
        params.get("profile"), str
    ):  # else `settings` says what is wrong
        found += sources.findings(params)
        found += room.disk_findings(root, params, outputs, absent)
        found += room.memory_findings(demands, machine.memory_bytes(), machine.gpus())
    return sorted(found, key=lambda finding: ORDER.index(finding.topic))


def _lines(finding: Finding, number: str, width: int) -> list[str]:
    start, below = f"{number:>4} {finding.topic:<13}", " " * 18
    lines = textwrap.wrap(finding.says, width - 18, break_long_words=False, break_on_hyphens=False) or [""]
    if finding.remedy:
        lines += textwrap.wrap(
            f"-> {finding.remedy}", width - 18, subsequent_indent="   ", break_long_words=False, break_on_hyphens=False
        )
    return [start + lines[0], *(below + line for line in lines[1:])]


def report(found: Sequence[Finding], width: int) -> str:
    """Plain text, lines of at most `width` characters where words allow it."""
    stops = [finding for finding in found if finding.stops]
    warnings = [finding for finding in found if finding.remedy and not finding.stops]
    well = [finding for finding in found if not finding.remedy]
    lines: list[str] = []
    for title, those in (("Would stop a run, or spoil it", stops), ("To know of", warnings), ("Well", well)):
        if those:
            lines += ["", title]
            for number, finding in enumerate(those, 1):
                lines += _lines(finding, f"{number}." if finding.remedy else "", width)
    wrong = f"{len(stops)} to mend before a run" if stops else "nothing would stop a run"
    return "\n".join([*lines, "", f"{wrong}, {len(warnings)} to know of"])


def main() -> None:
    parser = argparse.ArgumentParser(description="check machine, environment, settings, data, cache, disk, and say what to do")
    parser.add_argument("--all", action="store_true", help="hash the whole cache and every output: a second per GB or two")
    args = parser.parse_args()
    root = Path()
    if not (root / storage.DVC).is_dir():
        raise DataError(f"{root.resolve()}: no .dvc folder here. Run it from the repository's root")
    found = examine(root, args.all)
    # Whole lines where no person reads them: a search for a message then finds it.
    print(report(found, shutil.get_terminal_size().columns if sys.stdout.isatty() else 10_000))
    if any(finding.stops for finding in found):
        sys.exit(1)


if __name__ == "__main__":
    run(main)
