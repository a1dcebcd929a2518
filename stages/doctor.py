"""The users' command: is everything as a run needs it, and what to do about each thing that is not.

    python -m stages.doctor [--all]

Alters nothing, asks nothing of the network. Most important first; exit code 1 when a run would stop, or would take wrong data
for right. A part of DVC's cache is hashed, drawn by chance; `--all` hashes all of it, and every output as `stages.verify` does.
"""

import argparse
import shutil
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from stages.doctoring import Finding, environment

# What comes first decides whether the rest can be well.
ORDER = (
    "environment packages git settings cache state locks processes disk data results memory GPU machine browser temporaries"
).split()

NOT_LOOKED = Finding("machine", "all else is looked at once the packages are there")


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
    around = environment.findings()
    # Whoever lacks a package asks for the doctor: what is not of Python itself is imported once the packages are there.
    if any(finding.stops and finding.topic == "packages" for finding in around) or sys.version_info < environment.LEAST_PYTHON:
        _conclude([*around, NOT_LOOKED])
        return
    try:
        from stages.command import run
        from stages.doctoring.examination import examine
    except ImportError as error:
        _conclude([*around, environment.unusable(error), NOT_LOOKED])
        return
    run(lambda: _conclude(around + examine(Path(), args.all)))


def _conclude(found: Sequence[Finding]) -> None:
    """Print what is found, and exit with 1 where something stops."""
    found = sorted(found, key=lambda finding: ORDER.index(finding.topic))
    # Whole lines where no person reads them: a search for a message then finds it.
    print(report(found, shutil.get_terminal_size().columns if sys.stdout.isatty() else 10_000))
    if any(finding.stops for finding in found):
        sys.exit(1)


if __name__ == "__main__":
    main()
