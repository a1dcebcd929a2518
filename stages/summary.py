"""What a run found, as a plain table for the terminal: at most forty lines, however many files, classes and failures."""

import unicodedata
from collections import Counter
from collections.abc import Iterator

from stages.files import printable
from stages.results import FAILED, Result
from stages.samples import EMPTY

_CLASSES, _FAILURES = 20, 10  # rows; what is more is counted together
_LABEL_COLUMNS, _REASON_COLUMNS = 40, 80


class Summary:
    """Counts of results, one by one as they come.

    Every file is counted in one row: its class, empty or failed. Kept are ten failures and the label of each sequence.
    """

    def __init__(self, look_below: float) -> None:
        """`look_below`: the confidence below which a person should look at a file, as `Result.review` was set by it."""
        self._look_below = look_below
        self._files: Counter[str] = Counter()
        self._to_look_at: Counter[str] = Counter()
        self._sequences: dict[str, str] = {}
        self._failed = self._failed_to_look_at = self._videos = 0
        self._failures: list[str] = []

    def add(self, result: Result) -> None:
        self._videos += result.frame_rate is not None
        if result.sequence is not None and result.sequence_label is not None:  # all of its files may have failed
            self._sequences[result.sequence] = result.sequence_label
        if result.failure is None:
            label = result.label or EMPTY
            self._files[label] += 1
            self._to_look_at[label] += result.review
            return
        self._failed += 1
        self._failed_to_look_at += result.review
        if len(self._failures) < _FAILURES:
            self._failures.append(f"  {printable(result.path)}: {_cut(printable(result.failure), _REASON_COLUMNS)}")

    def table(self) -> str:
        """The table, its classes by their number of files. It ends without a line break.

        Its own words are ASCII and no character moves the cursor; names of classes and files may hold letters that the terminal
        cannot encode: reconfigure stdout with errors="backslashreplace" before it is printed.
        """
        sequences = Counter(self._sequences.values())
        rows: list[tuple[str, ...]] = [("", "files", "to look at", "sequences")]
        for name, labels in self._rows(sequences):
            counts = (sum(counter[label] for label in labels) for counter in (self._files, self._to_look_at, sequences))
            rows.append((name, *(f"{count:,}" for count in counts)))
        files, to_look_at = self._files.total() + self._failed, self._to_look_at.total() + self._failed_to_look_at
        rows.append((FAILED, f"{self._failed:,}", f"{self._failed_to_look_at:,}", "0"))
        rows.append(("all", f"{files:,}", f"{to_look_at:,}", f"{len(self._sequences):,}"))
        lines = _aligned([row if sequences else row[:-1] for row in rows])
        lines.append("")
        if self._videos:
            lines.append(f"{self._videos:,} of the files are videos")
        lines.append(f"{to_look_at:,} of the files are for a person to look at: their confidence is below {self._look_below:g}")
        if self._failed:
            lines += ["Failed:", *self._failures]
        if more := self._failed - len(self._failures):
            lines.append(f"  and {more:,} more")
        return "\n".join(lines)

    def _rows(self, sequences: Counter[str]) -> Iterator[tuple[str, list[str]]]:
        """(name, the labels counted in it) of each row but failed."""
        known = self._files.keys() | sequences.keys()
        classes = sorted(known - {EMPTY}, key=lambda label: (-self._files[label], -sequences[label], label))
        shown = classes if len(classes) <= _CLASSES else classes[: _CLASSES - 1]
        for label in shown:
            yield _cut(printable(label), _LABEL_COLUMNS), [label]
        if rest := classes[len(shown) :]:
            yield f"other classes ({len(rest):,})", rest
        yield EMPTY, [EMPTY]


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    """Names to the left, numbers to the right, under each other also where letters are two columns wide."""
    widths = [max(map(_columns, column)) for column in zip(*rows, strict=True)]
    return [
        row[0]
        + " " * (widths[0] - _columns(row[0]))
        + "".join(f"  {cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))
        for row in rows
    ]


def _columns(text: str) -> int:
    """How many columns of a terminal the text takes."""
    marks = sum(unicodedata.category(char) in ("Mn", "Me", "Cf") for char in text)
    return len(text) - marks + sum(unicodedata.east_asian_width(char) in "WF" for char in text)


def _cut(text: str, columns: int) -> str:
    if _columns(text) <= columns:
        return text
    while _columns(text) > columns - 3:
        text = text[:-1]
    return text + "..."
