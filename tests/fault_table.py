"""docs/faults.md from a run of the tests: a pytest plugin. `make faults` loads it (`-p tests.fault_table --faults PAGE`).

A test named `test_fault_NN_...` is one of case NN (`test_fault_NN_MM_...` of both). While such a test runs, each message that
reaches it is listened to: a DataError that it, or a stage's command line, catches, and an `error: ...` on the stderr of a process
that it started. The last one is what the case says. Where a case speaks otherwise (a line of a log, "continues") its test says
so: `record_property("says", text)`.
"""

import contextlib
import re
import subprocess
import tempfile
from collections import defaultdict, deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from stages import command
from stages.files import DataError, write_text
from stages.pictures import UnreadablePicture
from tests.fault_cases import CASES, GROUPS

ROOT = Path(__file__).parents[1]
NAME = re.compile(r"test_fault_((?:\d\d_)+)(\w+)")
LISTENED: tuple[type[Exception], ...] = (DataError, UnreadablePicture)
MESSAGES, LETTERS = 3, 400  # shown of each test, of each message
SAYS, HEARD = "says", "heard"  # properties of a report: what the test says itself, what was listened to


def cases_of(name: str) -> tuple[list[int], str]:
    """The cases of a test and its name in words: `test_fault_59_60_nothing_old` -> [59, 60], "nothing old"; ([], "") of others.

    A variant may be of one of them: `test_fault_17_18_a_bad_file[fault_18]` -> [18].
    """
    if not (found := NAME.match(name)):
        return [], ""
    of_variant = re.search(r"\[.*fault_(\d\d)", name)
    return [int(number) for number in ([of_variant[1]] if of_variant else found[1].split("_")[:-1])], found[2].replace("_", " ")


# Listening: in each process that runs tests --------------------------------------------------------------------------


@contextlib.contextmanager
def _listening(heard: list[str]) -> Iterator[None]:
    """Add what is said in the block to `heard`, when it ends."""
    raised: deque[Exception] = deque(maxlen=50)
    communicate = subprocess.Popen.communicate

    def ended(self: "subprocess.Popen[Any]", *args: Any, **kwargs: Any) -> Any:
        out = communicate(self, *args, **kwargs)
        text = out[1].decode(errors="replace") if isinstance(out[1], bytes) else out[1] or ""
        heard.extend(found.removeprefix("error: ") for found in re.findall(r"^error: .*(?:\n  .*)*", text, re.MULTILINE))
        return out

    with contextlib.ExitStack() as stack:
        for kind in LISTENED:
            stack.enter_context(_kept(kind, raised))
        subprocess.Popen.communicate = ended  # type: ignore[method-assign, assignment]
        try:
            yield
        finally:
            subprocess.Popen.communicate = communicate  # type: ignore[method-assign]
            heard.extend(str(error) for error in raised if _reached_the_user(error))


@contextlib.contextmanager
def _kept(kind: type[Exception], raised: deque[Exception]) -> Iterator[None]:
    """Put each exception of a kind that is made in the block into `raised`."""
    init = kind.__init__

    def made(self: Exception, *args: Any) -> None:
        init(self, *args)
        raised.append(self)

    kind.__init__ = made  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        kind.__init__ = init  # type: ignore[method-assign]


def _reached_the_user(error: Exception) -> bool:
    """Whether it left the stages' code, or ended a stage's command line: what a stage catches itself nobody is told."""
    if error.__traceback__ is None:
        return False
    caught_by = Path(error.__traceback__.tb_frame.f_code.co_filename)
    return caught_by == Path(command.__file__) or not caught_by.is_relative_to(ROOT / "stages")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    if not cases_of(item.name)[0]:
        return (yield)
    heard: list[str] = []
    try:
        with _listening(heard):
            return (yield)
    finally:
        item.user_properties.extend((HEARD, text) for text in heard[-1:])


def shortened(text: str) -> str:
    """A message without what differs from machine to machine and from run to run, on one line."""
    there = re.escape(tempfile.gettempdir())
    for pattern, instead in (
        (rf"{there}/pytest-of-[^/]+/pytest-\d+/(popen-gw\d+/)?\w+/", ""),
        (rf"{there}/pytest-of-[^/]+/pytest-\d+/(popen-gw\d+/)?\w+", "FOLDER"),  # the test's own
        (rf"{there}/tmp\w{{8}}/?", ""),
        (rf"{re.escape(str(ROOT))}/?", ""),
        (rf"(?<![\w./:-]){re.escape(str(ROOT.parent))}/", "../"),
        (r"\b[0-9a-f]{64}\b", "SHA256"),
        (r"\b(?=\w*\d)[0-9a-f]{12,}\b", "HASH"),  # MD5, keys of work folders
        (r"\b[0-9a-f]{8}-(?=\w)", ""),  # a kept download begins with the hash of its address
        (r"(127\.0\.0\.1|localhost):\d{4,5}\b", r"\1"),
        (r"\b0x[0-9a-f]{6,}", "0x…"),
        (r"\b(process|pid|partial-(?:old-)?)([ -]?)\d+", r"\1\2N"),
        (r"[\d,.]+( (?:bytes|GB|MB|GiB|MiB))? free", r"N\1 free"),
        (r"\b\d+\.\d+ s\b", "N s"),
    ):
        text = re.sub(pattern, instead, text)
    text = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return text if len(text) <= LETTERS else text[:LETTERS] + "…"


# Gathering and writing: in the process that leads the run ------------------------------------------------------------


@dataclass
class Told:
    """What became of the variants of one test."""

    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))  # by outcome
    messages: list[str] = field(default_factory=list)


def page(outcomes: dict[str, tuple[str, list[str]]]) -> str:
    """The page from {test's id: (passed, failed or skipped, what it said)}."""
    of_case: dict[int, dict[tuple[str, str], Told]] = {number: defaultdict(Told) for number in CASES}  # by file and words
    for test, (outcome, messages) in sorted(outcomes.items()):
        file, _, name = test.partition("::")
        numbers, words = cases_of(name)
        for number in numbers:
            told = of_case[number][file, words]
            told.counts[outcome] += 1
            told.messages += [message for message in messages if message not in told.messages]
    held = [all(told.counts["failed"] == 0 for told in tests.values()) and any(told.counts["passed"] for told in tests.values())
            for tests in of_case.values()]  # fmt: skip
    others = "".join(f", {count} {what}" for what in ("failed", "skipped") if (count := _count(outcomes, what)))
    lines = [
        "# Sixty faults, and what is said of each",
        "",
        "Written by `make faults` from a run of the tests named `test_fault_NN_...`: do not edit. Of a test with many variants the",
        f"first {MESSAGES} messages that differ are shown. Paths, hashes, ports and times are cut out, so that two runs write one page.",
        "Where nothing is said the fault is borne or prevented without a word, and the test's name says how.",
        "Beside these: twenty kills of a whole run ([kills.md](kills.md)), and readers fed with broken input ([fuzzing.md](fuzzing.md)).",
        "",
        f"**{sum(held)} of {len(CASES)} cases hold**, in {len(outcomes)} tests{others}.",
    ]
    for group, numbers in GROUPS.items():
        lines += ["", f"## {group}", "", "| Case | What was done | Passed | What was said |", "|---|---|---|---|"]
        for number in numbers:
            lines.append(f"| **{number}** | **{CASES[number]}** | | |")
            lines += [_row(*place, told) for place, told in of_case[number].items()]
    return "\n".join(lines) + "\n"


def _count(outcomes: dict[str, tuple[str, list[str]]], what: str) -> int:
    return sum(outcome == what for outcome, _ in outcomes.values())


def _row(file: str, words: str, told: Told) -> str:
    total, passed = sum(told.counts.values()), told.counts["passed"]
    count = f"{passed}" if passed == total else f"{passed} of {total}"
    return f"| | [{words}](../{file}) | {count} | {'<br>'.join(map(_code, told.messages[:MESSAGES]))} |"


def _code(text: str) -> str:
    """Text as code in a cell of a Markdown table: nothing in it means anything."""
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    space = " " if "`" in (text[:1], text[-1:]) else ""
    return f"{fence}{space}{text}{space}{fence}".replace("|", "\\|")


class Table:
    """Gathers the reports of a run, those of other processes included, and writes the page at its end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.outcomes: dict[str, tuple[str, list[str]]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not cases_of(report.nodeid.split("::")[-1])[0] or (report.when != "call" and report.passed):
            return
        properties = [(name, str(value)) for name, value in report.user_properties]
        messages = [text for name, text in properties if name == SAYS] or [text for name, text in properties if name == HEARD][
            -1:
        ]
        if report.skipped and isinstance(report.longrepr, tuple):
            messages = [report.longrepr[2]]
        self.outcomes[report.nodeid] = (report.outcome, [shortened(text) for text in messages])

    def pytest_sessionfinish(self) -> None:
        write_text(self.path, page(self.outcomes))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--faults", type=Path, metavar="PAGE", help="write the table of the sixty faults to this file")


def pytest_configure(config: pytest.Config) -> None:
    path = config.getoption("--faults")
    if path is not None and not hasattr(config, "workerinput"):  # xdist's workers send their reports to the process that leads
        config.pluginmanager.register(Table(path.resolve()), "fault table")
