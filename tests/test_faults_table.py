"""docs/faults.md: every case has a test and every test that it names exists; the plugin that writes it tells what happened."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fault_cases import CASES, GROUPS
from tests.fault_table import ROOT, cases_of, shortened

PAGE = ROOT / "docs" / "faults.md"
SOME = """
import subprocess, sys
import pytest
from stages.download import look_all
from stages.files import DataError

@pytest.mark.parametrize("name", ["a", "b", "c", "d"])
def test_fault_01_refused(name):
    with pytest.raises(DataError):
        raise DataError(f"{name}.zip: refused|not `it`")

def test_fault_59_60_a_process_tells(tmp_path):
    code = "import sys; sys.exit('error: no <b>\\\\n  at line 2\\\\nlater')"
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)

def test_fault_02_its_own_word(record_property):
    with pytest.raises(DataError):
        raise DataError("not this")
    record_property("says", "continues")

def test_fault_02_quiet(tmp_path):
    gone = {"adapter": "folders", "source": f"path:{tmp_path}/gone"}  # `look_all` catches what is said of it
    look_all({"datasets": {"a": {"smoke": {"download": gone}}}}, "smoke", tmp_path / "look")

def test_fault_03_broken():
    raise DataError("oh")

@pytest.mark.skip(reason="no such disk here")
def test_fault_08_skipped():
    pass

def test_of_no_case():
    raise DataError("nobody asks")
"""


def links(page: str) -> dict[int, list[tuple[str, str]]]:
    """{case: [(file, name of the test in words)]} as the page has them."""
    found: dict[int, list[tuple[str, str]]] = {}
    for line in page.splitlines():
        if case := re.match(r"\| \*\*(\d+)\*\* \|", line):
            found[number := int(case[1])] = []
        elif row := re.match(r"\| \| \[([^]]+)\]\(\.\./([^)]+)\) \|", line):
            found[number].append((row[2], row[1]))
    return found


def existing() -> set[tuple[int, str, str]]:
    """(case, file, name in words) of every test of a fault that there is, but for those of a GPU or the network."""
    return {
        (number, path.relative_to(ROOT).as_posix(), words)
        for path in sorted((ROOT / "tests").glob("test_*.py"))
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
        and not any(re.search(r"mark\.(gpu|network)", ast.unparse(decorator)) for decorator in node.decorator_list)
        for numbers, words in [cases_of(node.name)]
        for number in numbers
    }


def test_every_case_is_on_the_page_with_its_tests_and_no_other() -> None:
    found = links(PAGE.read_text(encoding="utf-8"))
    assert list(found) == list(CASES) == list(range(1, 61))
    assert [number for numbers in GROUPS.values() for number in numbers] == list(CASES)
    assert [number for number, tests in found.items() if not tests] == [], "cases without a test"
    assert {(number, *test) for number, tests in found.items() for test in tests} == existing(), "run `make faults`"


def run_some(tmp_path: Path, page: str, *options: str) -> str:
    """The page that the plugin writes of the tests above, run in a process of their own."""
    (tmp_path / "test_some.py").write_text(SOME)
    words = [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "--rootdir", str(tmp_path), "-p", "no:cacheprovider"]
    words += ["-p", "tests.fault_table", "--faults", str(tmp_path / page), *options, str(tmp_path / "test_some.py")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}  # of this very run
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr  # one of them fails
    return (tmp_path / page).read_text()


def test_the_page_tells_what_happened(tmp_path: Path) -> None:
    page = run_some(tmp_path, "one.md")
    assert "**4 of 60 cases hold**, in 9 tests, 1 failed, 1 skipped." in page
    assert [f"| **3** | **{CASES[3]}** | | |", "| | [broken](../test_some.py) | 0 of 1 | `oh` |"] == lines_of(page, 3)
    three = "<br>".join(f"`` {name}.zip: refused\\|not `it` ``" for name in "abc")
    assert lines_of(page, 1)[1] == f"| | [refused](../test_some.py) | 4 | {three} |"
    assert lines_of(page, 2)[1:] == [
        "| | [its own word](../test_some.py) | 1 | `continues` |",
        "| | [quiet](../test_some.py) | 1 |  |",
    ]
    assert lines_of(page, 8)[1] == "| | [skipped](../test_some.py) | 0 of 1 | `Skipped: no such disk here` |"
    assert lines_of(page, 59)[1:] == lines_of(page, 60)[1:]
    assert lines_of(page, 59)[1] == "| | [a process tells](../test_some.py) | 1 | `no <b> at line 2` |"
    assert "nobody asks" not in page
    assert run_some(tmp_path, "two.md", "-n", "2") == page


def lines_of(page: str, case: int) -> list[str]:
    """The rows of one case, its own first."""
    rows = page.splitlines()
    start = rows.index(f"| **{case}** | **{CASES[case]}** | | |")
    end = next(i for i in range(start + 1, len(rows) + 1) if i == len(rows) or not rows[i].startswith("| | "))
    return rows[start:end]


def test_what_differs_from_run_to_run_is_cut_out(tmp_path: Path) -> None:
    text = (
        f"{tmp_path}: {tmp_path}/raw/a b.zip: sha256 {'0a' * 32}, at http://127.0.0.1:41234/a.zip ({ROOT}/stages/x.py, {ROOT.parent}/w.pt, disk{ROOT.parent}/y), process 4242, "
        f"1,234 bytes free, after 0.51 s:\n  .out.partial-99 of 0badcafe-a.zip\u202e {'ab1' * 5} {'1234' * 2}"
    )
    assert shortened(text) == (
        f"FOLDER: raw/a b.zip: sha256 SHA256, at http://127.0.0.1/a.zip (stages/x.py, ../w.pt, disk{ROOT.parent}/y), process N, N bytes free, after N s: "
        ".out.partial-N of a.zip HASH 12341234"
    )
    assert len(shortened("x" * 1000)) == 401


@pytest.mark.parametrize(
    ("name", "numbers", "words"),
    [
        ("test_fault_07_redirect_to_http", [7], "redirect to http"),
        ("test_fault_17_18_19_a_bad_file[x]", [17, 18, 19], "a bad file"),
        ("test_fault_17_18_19_a_bad_file[x-fault_18-y]", [18], "a bad file"),
        ("test_faults_are_planted", [], ""),
        ("test_fault_7_one_digit", [], ""),
    ],
)
def test_a_name_tells_its_cases(name: str, numbers: list[int], words: str) -> None:
    assert cases_of(name) == (numbers, words)
