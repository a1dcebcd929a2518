"""Runs the fuzzers: `python -m tests.fuzz_run --inputs 10000 --out docs/fuzzing.md`, which is `make fuzz`.

An input may be refused by a DataError that names the file, or taken. Anything else is a fault of the reader: another exception, a
message without the file's name, a result that breaks the tables' rules, more than SECONDS or MEMORY. Each fault is written to
--found, and the exit code is 1.
"""

import argparse
import contextlib
import hashlib
import io
import re
import signal
import sys
import tempfile
import traceback
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType

from hypothesis import HealthCheck, Phase, given, seed, settings
from tqdm import tqdm

from stages.files import DataError
from tests.fuzz_targets import TARGETS, Target

SECONDS = 20  # for one input; on a machine of its own the slowest takes a tenth of it
MEMORY = 512 * 2**20  # bytes, by which one input may raise the process's peak


class Fault(BaseException):
    """What a reader must not do. No Exception, so that no reader can take it for a fault of the file."""


@dataclass
class Found:
    """What came of the inputs of one reader."""

    inputs: int = 0
    different: set[bytes] = field(default_factory=set)
    taken: int = 0
    cleaned: int = 0
    refused: Counter[str] = field(default_factory=Counter)  # by where in the code
    said: dict[str, str] = field(default_factory=dict)  # the shortest message of each
    faults: dict[str, bytes] = field(default_factory=dict)  # by where: the shortest input


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """Raise Fault for what takes too long or too much memory."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise Fault(f"more than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    start = _peak_bytes(anew=True)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    if (more := _peak_bytes() - start) > MEMORY:
        raise Fault(f"{more / 2**20:.0f} MB more")


def _peak_bytes(anew: bool = False) -> int:
    """The most that this process has held at once, as Linux has it; `anew`: from now on. 0 where that is not to be had."""
    try:
        if anew:
            Path("/proc/self/clear_refs").write_text("5")
        return int(re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[0]) * 1024
    except (OSError, IndexError):
        return 0


def try_one(target: Target, data: bytes, folder: Path, found: Found, clean_every: int = 1) -> None:
    """Have `target` read `data` in `folder`, and clean what it takes of one input in `clean_every`; counts in `found`.

    Raises what is a fault.
    """
    found.inputs += 1
    found.different.add(hashlib.sha1(data).digest())
    (folder / target.file).write_bytes(data)
    named = target.file if (folder / target.file).suffix != ".parquet" else ""  # a table's folder, or the stage, says which
    try:
        with limited(), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = target.read(folder)
            named = ""
            found.taken += 1
            if target.clean is not None and zlib.crc32(data) % clean_every == 0:
                target.clean(result, folder)
                found.cleaned += 1
    except DataError as error:
        if named not in str(error) and not (target.with_others and str(folder) in str(error)):
            raise Fault(f"the message does not name {named}: {error}") from error
        found.taken -= not named and target.clean is not None and bool(found.taken)
        where = place(error.__traceback__)
        found.refused[where] += 1
        message = shortened(str(error), folder)
        found.said[where] = min(found.said.get(where, message), message, key=len)


def place(trace: TracebackType | None) -> str:
    """Where in the stages' code: `module.function` of the innermost."""
    frames = [frame for frame in traceback.extract_tb(trace) if "/stages/" in frame.filename] or traceback.extract_tb(trace)
    return f"{Path(frames[-1].filename).stem}.{frames[-1].name}"


def shortened(message: str, folder: Path) -> str:
    """On one line, without the machine's own paths, 160 characters at most."""
    text = " ".join(message.replace(f"{folder}/", "").replace(str(folder), "<folder>").split())
    text = "".join(char if char.isprintable() else "." for char in text)
    text = re.sub(r"(.)\1{12,}", r"\1\1\1…", text)
    return text if len(text) <= 160 else f"{text[:159]}…"


def fuzz(target: Target, inputs: int, clean_every: int, start: int = 0) -> Found:
    """So many inputs for one reader, the same for the same `start`; faults are gathered, not raised."""
    found = Found()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        target.prepare(folder)
        bar = tqdm(total=inputs, desc=target.name, disable=None, leave=False)

        @seed(start)
        @settings(
            max_examples=inputs, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
        )
        @given(target.inputs)
        def each(data: bytes) -> None:
            bar.update()
            try:
                try_one(target, data, folder, found, clean_every)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                where = f"{type(error).__name__} at {place(error.__traceback__)}: {shortened(str(error), folder)[:80]}"
                found.faults[where] = min(found.faults.get(where, data), data, key=len)

        each()
        bar.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="feed spoilt files to every reader, and count what comes of it")
    parser.add_argument("--inputs", type=int, default=10_000, help="for each reader (10000)")
    parser.add_argument(
        "--clean-every", type=int, default=10, help="of those that are taken, one in so many is cleaned too (10)"
    )
    parser.add_argument("--only", help="readers whose name holds this text")
    parser.add_argument("--out", type=Path, help="Markdown page to write")
    parser.add_argument("--found", type=Path, default=Path(".work/fuzz"), help="folder for inputs that are a reader's fault")
    args = parser.parse_args()
    results: dict[str, Found] = {}
    for target in TARGETS:
        if args.only and args.only.casefold() not in target.name.casefold():
            continue
        results[target.name] = found = fuzz(target, args.inputs, args.clean_every)
        print(
            f"{target.name}: {found.inputs} inputs, {found.taken} taken, {found.refused.total()} refused, {len(found.faults)} faults",
            flush=True,
        )
        for number, (where, data) in enumerate(found.faults.items()):
            args.found.mkdir(parents=True, exist_ok=True)
            path = args.found / f"{number}-{target.file}"
            path.write_bytes(data)
            print(f"  {path}: {where}", flush=True)
    if args.out:
        args.out.write_text(page(results, args.clean_every), encoding="utf-8", newline="\n")
    sys.exit(any(found.faults for found in results.values()))


def page(results: dict[str, Found], clean_every: int) -> str:
    """docs/fuzzing.md."""
    lines = [
        "# Readers under hostile input",
        "",
        "Written by `make fuzz` (tests/fuzz_run.py). Each reader is fed files that are spoilt or sound: values swapped for others, left",
        "out, doubled, wrapped, renamed; numbers huge, negative or none; keys twice, nesting, half characters, other encodings; bits",
        "turned, pieces cut, moved and spliced. Hypothesis draws them, the same ones each time (tests/fuzz_inputs.py, tests/fuzz_targets.py).",
        "",
        "Allowed is to refuse a file by a message that names it, or to take it. A fault is anything else: another exception, a message",
        f"without the file's name, a result that breaks the tables' rules, more than {SECONDS} s or {MEMORY // 2**20} MB for one input. What is taken goes",
        f"on to `clean`, one input in {clean_every}, where the tables check themselves. Faults that were found, each now a test by name:",
        "tests/test_fuzz_found.py.",
        "",
        "| reader | inputs | different files | taken | of these cleaned | refused | faults |",
        "|:--|--:|--:|--:|--:|--:|--:|",
    ]  # fmt: skip
    for name, found in results.items():
        cleaned = f"{found.cleaned:,}" if found.cleaned else ""
        counts = f"{found.inputs:,} | {len(found.different):,} | {found.taken:,} | {cleaned} | {found.refused.total():,}"
        lines.append(f"| {name} | {counts} | {len(found.faults)} |")
    lines += ["", "## What they were told", "", "By the place in the code that refuses; the shortest message of each.", ""]
    for name, found in results.items():
        lines += [f"### {name}", "", "| inputs | refused by | for example |", "|--:|:--|:--|"]
        for where, count in sorted(found.refused.items(), key=lambda item: (-item[1], item[0])):
            lines.append(f"| {count:,} | `{where}` | {escaped(found.said[where])} |")
        lines.append("")
    return "\n".join(lines)


def escaped(text: str) -> str:
    """Text that a table of Markdown shows as it is."""
    return re.sub(r"([|\\`*_<>\[\]])", r"\\\1", text)


if __name__ == "__main__":
    main()
