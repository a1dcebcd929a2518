"""The table at the end of a run: every file in one row, columns under each other, never longer than a screen."""

import unicodedata
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from stages.results import Result
from stages.samples import EMPTY
from stages.summary import Summary, printable


def table(results: Iterable[Result], look_below: float = 0.6) -> list[str]:
    summary = Summary(look_below)
    for result in results:
        summary.add(result)
    return summary.table().split("\n")


def fox(**more: object) -> Result:
    return Result("a.jpg", width_px=64, height_px=48, label="fox", **more)


def test_the_table() -> None:
    results = [
        *(fox(review=i < 2, sequence=f"s{i // 3}", sequence_label="fox") for i in range(1200)),
        Result("b.jpg", width_px=64, height_px=48, label="狐狸", frame_rate=25.0),
        Result("b2.jpg", width_px=64, height_px=48, label="re\u0301ne"),
        Result("c.jpg", width_px=64, height_px=48, label=EMPTY, sequence="e", sequence_label=EMPTY),
        Result("d.jpg", width_px=64, height_px=48),
        Result("dé/b\n.jpg", failure="damaged:\nhalf a file"),
    ]
    assert table(results) == [
        "        files  to look at  sequences",
        "fox     1,200           2        400",
        "re\u0301ne        1           0          0",
        "狐狸        1           0          0",
        "empty       2           0          1",
        "failed      1           0          0",
        "all     1,205           2        401",
        "",
        "1 of the files are videos",
        "2 of the files are for a person to look at: their confidence is below 0.6",
        "Failed:",
        "  dé/b\\n.jpg: damaged:\\nhalf a file",
    ]


def test_nothing_at_all() -> None:
    assert table([]) == [
        "        files  to look at",
        "empty       0           0",
        "failed      0           0",
        "all         0           0",
        "",
        "0 of the files are for a person to look at: their confidence is below 0.6",
    ]


def test_many_classes_and_failures_fit_on_a_screen() -> None:
    results = [Result("a", label=f"species {i:03}") for i in range(100) for _ in range(100 - i)]
    results += [Result(f"{i:02}.jpg", failure="x" * 300, frame_rate=None) for i in range(25)]
    lines = table([*results, Result("v", label="species 000", frame_rate=5.0, sequence="s", sequence_label="species 099")])
    assert len(lines) <= 40
    assert lines[1].split() == ["species", "000", "101", "0", "0"]
    assert lines[20].split() == ["other", "classes", "(81)", "3,321", "0", "1"]
    assert lines[-12] == "Failed:"
    assert lines[-11] == f"  00.jpg: {'x' * 77}..."
    assert lines[-1] == "  and 15 more"


def test_a_class_called_failed_is_a_class() -> None:
    lines = table([Result("a", label="failed"), Result("b", failure="gone"), Result("c", failure="gone")])
    assert [line.split()[:2] for line in lines[1:5]] == [["failed", "1"], ["empty", "0"], ["failed", "2"], ["all", "3"]]


def test_a_sequence_is_counted_once_and_only_with_an_answer() -> None:
    answered = {"sequence": "s", "sequence_label": "fox"}
    failed = Result("b.jpg", failure="gone", **answered), Result("c.jpg", failure="gone", sequence="all gone")
    lines = table([fox(**answered), fox(**answered), *failed])
    assert [line.split() for line in lines[1:5]] == [
        ["fox", "2", "0", "1"],
        ["empty", "0", "0", "0"],
        ["failed", "2", "0", "0"],
        ["all", "4", "0", "1"],
    ]


def test_what_a_terminal_could_take_for_an_order_is_escaped() -> None:
    assert printable("a\x1b[2J\r\n\udce9é 中") == "a\\x1b[2J\\r\\n\\udce9é 中"


LABELS = st.one_of(st.sampled_from(["fox", "deer", EMPTY]), st.text(max_size=60), st.none())
RESULTS = st.one_of(
    st.builds(
        lambda label, review, rate, sequence: Result(
            "a", label=label, review=review, frame_rate=rate, sequence=sequence, sequence_label=sequence and (label or EMPTY)
        ),
        LABELS, st.booleans(), st.sampled_from([None, 25.0]), st.sampled_from([None, "s", "t", "u"]),
    ),
    st.builds(lambda path, failure: Result(path, failure=failure), st.text(max_size=200), st.text(max_size=200)),
)  # fmt: skip


def columns(text: str) -> int:
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(unicodedata.category(char) in ("Mn", "Me", "Cf") for char in text)


@given(st.lists(RESULTS, max_size=60))
def test_counts_add_up_and_columns_align(results: list[Result]) -> None:
    lines = table(results)
    assert len(lines) <= 40
    blank = lines.index("")
    rows = lines[1:blank]
    width = 3 if "sequences" in lines[0] else 2
    numbers = [[int(cell.replace(",", "")) for cell in row.split()[-width:]] for row in rows]
    assert [sum(column) for column in zip(*numbers[:-1], strict=True)] == numbers[-1]
    assert numbers[-1][:2] == [len(results), sum(result.review for result in results)]
    assert width == 2 or numbers[-1][2] == len({result.sequence for result in results} - {None})
    assert len({columns(row) for row in lines[:blank]}) == 1
