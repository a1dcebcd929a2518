"""Two experiments side by side, in a small repository of git's and DVC's: what differs, tested on the same items."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from dvc.repo import Repo
from fsspec.implementations.local import LocalFileSystem

from stages import scores
from stages.files import new_folder, write_json
from stages.pages.revisions import DRAWS, WORKSPACE, Revision, compare, differing, figures, paired
from tests.report_helpers import SCRIPT, Page

N = 40
LABELS = ["deer", SCRIPT] * (N // 2)
OTHER = {"deer": SCRIPT, SCRIPT: "deer"}


def answers(right: list[int], ids: range = range(N), part: str = "test", labels: list[str] = LABELS) -> pd.DataFrame:
    """Answers to items, each a sequence of its own; those of the numbers `right` are so."""
    actual = [labels[n % N] for n in ids]
    predicted = [label if n in right else OTHER[label] for n, label in zip(ids, actual, strict=True)]
    return pd.DataFrame({"sample_id": [f"p{n}" for n in ids], "part": part, "seq_id": [f"s{n}" for n in ids],
                         "actual": actual, "predicted": predicted, "score": 0.9, "calibrated": 0.8})  # fmt: skip


# Functions -----------------------------------------------------------------------------------------------------------


def test_parameters_that_differ_stand_with_both_values() -> None:
    before = {"a": {"epochs": 3, "same": 1, "gone": [1]}, "b": {}}
    after = {"a": {"epochs": 5, "same": 1, "new": "x"}, "b": {}}
    assert differing(before, after) == [
        {"name": "a.epochs", "before": "3", "after": "5"},
        {"name": "a.gone", "before": "[1]", "after": "–"},
        {"name": "a.new", "before": "–", "after": '"x"'},
    ]


def test_figures_have_their_signed_change_and_a_missing_one_has_none() -> None:
    before = {
        "test": {"n": 4, "accuracy": 0.5, "accuracy_low": 0.1, "f1_macro": 0.25, "majority": 0.5},
        "gap": 0.5,
        "data": "d",
    }
    after = {"test": {"n": 4, "accuracy": 0.25, "accuracy_low": 0.0}, "unseen": {"map50": 0.5}, "gap": 0.75, "data": "d"}
    assert [tuple(row.values()) for row in figures(before, after)] == [
        ("test", "accuracy", 0.5, 0.25, -0.25),
        ("test", "f1_macro", 0.25, None, None),
        ("", "gap", 0.5, 0.75, 0.25),
        ("unseen", "map50", None, 0.5, None),
    ]


def test_the_test_is_paired_and_of_the_change_from_before_to_after() -> None:
    before, after = answers([*range(20)]), answers([*range(5, 35)])
    found = paired(before, after, "test", seed=1)
    change, low, high = scores.paired_difference(after, before, DRAWS, 1)
    assert (found["change"], found["low"], found["high"]) == (change, low, high)
    assert change > 0
    assert (found["n"], found["n_before"], found["n_after"]) == (N, N, N)
    assert (found["won"], found["lost"]) == (15, 5)
    assert found["p"] == scores.mcnemar_exact(15, 5)
    assert (found["before"], found["after"]) == (0.5, 0.75)
    assert found["verdict"] == scores.verdict(low, high)
    turned = paired(after, before, "test", seed=1)
    assert turned["change"] == -change and (turned["won"], turned["lost"]) == (5, 15)


def test_equal_answers_are_undecided_and_said_to_be_the_same() -> None:
    found = paired(answers([1, 2]), answers([1, 2]), "test", seed=0)
    assert found["same"] and found["verdict"] == scores.UNDECIDED and found["p"] == 1


def test_where_lists_differ_the_test_is_on_what_both_have() -> None:
    found = paired(answers([*range(N)], range(30)), answers([], range(10, N)), "test", seed=0)
    assert (found["n"], found["n_before"], found["n_after"]) == (20, 30, 30)
    assert (found["won"], found["lost"], found["verdict"]) == (0, 20, scores.WORSE)


def test_there_is_no_test_of_other_items_or_other_true_classes() -> None:
    assert paired(answers([], range(5)), answers([], range(5, 9)), "test", 0)["why"] == "they have no item in common"
    swapped = [OTHER[label] for label in LABELS[:3]] + LABELS[3:]
    found = paired(answers([]), answers([], labels=swapped), "test", 0)
    assert found["why"].startswith(f"3 of the {N} items in common have another true class")
    assert "verdict" not in found


def test_models_of_several_data_have_both_labels() -> None:
    def revision(**data: str) -> Revision:
        metrics = {name: {"data": kind, "gap": 0.5} for name, kind in data.items()}
        params = {"datasets": {"wood": {}}, "models": {name: {"dataset": "wood"} for name in data}}
        return Revision("r", WORKSPACE, params, metrics, LocalFileSystem())

    for before, after, labels in (
        (revision(a="embedded", b="your data"), revision(), ["embedded data", "your data"]),
        (revision(a="embedded"), revision(a="your data"), ["embedded data", "your data"]),
        (revision(a="embedded"), revision(b="embedded"), ["embedded data"]),
        (revision(a="your data"), revision(), ["your data"]),
    ):
        assert compare(before, after)[0]["labels"] == labels


# A repository --------------------------------------------------------------------------------------------------------


def git(*words: str) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, *words], check=True, capture_output=True)


def leave(epochs: int, told: dict[str, pd.DataFrame], data: str = "your data") -> None:
    """What a run leaves in the working folder: params.yaml, metrics and answers."""
    models = {name: {"dataset": "wood", "embedded": {"epochs": epochs}} for name in told}
    Path("params.yaml").write_text(yaml.safe_dump({"datasets": {"wood": {}}, "models": models}))
    shutil.rmtree("metrics", ignore_errors=True)
    for name, table in told.items():
        accuracy = float(np.mean(table["actual"] == table["predicted"]))
        write_json(Path("metrics/wood") / f"{name}.json", {"test": {"accuracy": accuracy, "f1_macro": accuracy}, "data": data})
        with new_folder(Path("data/answers/wood") / name) as folder:
            table.to_parquet(folder / "answers.parquet", index=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with two commits, `first` (a tag) and `main`: wood-a gets better, wood-b stays, wood-c is new."""
    folder = tmp_path_factory.mktemp("repo")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        git("init", "-q", "-b", "main")
        repo = Repo.init(".")
        for epochs, told, tag in (
            (3, {"wood-a": answers([*range(10)]), "wood-b": answers([1])}, "first"),
            (5, {"wood-a": answers([*range(38)]), "wood-b": answers([1]), "wood-c": answers([2])}, "second"),
        ):
            leave(epochs, told)
            repo.add(["data/answers"])
            git("add", "-A")
            git("commit", "-qm", tag)
            git("tag", tag)
        repo.close()
    return folder


@pytest.fixture
def compared(stage: Callable[..., Any], made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """The command line in a copy of the repository."""
    shutil.copytree(made, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return lambda *revisions: stage("report", "--compare", *revisions, "--out", "compare.html")


def test_two_commits_are_shown_side_by_side(compared: Callable[..., Any]) -> None:
    done = compared("first", "main")
    assert done.code == 0, done.err
    assert re.search(r"wood-a, test: macro F1 \+0\.\d+ \(.*\), better", done.out)
    page = Page(Path("compare.html"))
    assert page.table("parameter")[:2] == [
        ["models.wood-a.embedded.epochs", "3", "5"],
        ["models.wood-b.embedded.epochs", "3", "5"],
    ]
    tests, found = page.named("model")
    (row,) = tests
    assert (row[0], row[1], row[2], row[5], row[6], row[7], row[8], row[9]) == (
        "wood-a", "test", "40", "better", "0.250", "0.950", "28", "0")  # fmt: skip
    assert ["wood-a", "test", "accuracy", "0.250", "0.950", "+0.700"] in found
    text = " ".join(page.text.split())
    assert "Only main has figures of: wood-c." in text
    assert "1 model has the same figures in both wood-b" in text
    assert "your data" in text


def test_the_working_folder_is_compared_as_it_lies(compared: Callable[..., Any]) -> None:
    leave(9, {"wood-a": answers([1]), "wood-b": answers([1]), "wood-c": answers([2])}, SCRIPT)
    done = compared("main", "workspace")
    assert done.code == 0, done.err
    assert "worse" in done.out
    text = Page(Path("compare.html")).text
    assert "where dvc status names stages" in " ".join(text.split())


def test_an_altered_answer_is_not_tested(compared: Callable[..., Any]) -> None:
    leave(9, {"wood-a": answers([1]), "wood-b": answers([1]), "wood-c": answers([2])})
    answers([5]).to_parquet("data/answers/wood/wood-a/answers.parquet", index=False)
    assert compared("main", "workspace").code == 0
    assert "no test: its answers of workspace were altered" in " ".join(Page(Path("compare.html")).text.split())


def test_without_the_cache_the_figures_of_git_are_shown_and_the_missing_test_explained(compared: Callable[..., Any]) -> None:
    shutil.rmtree(".dvc/cache")
    done = compared("first", "main")
    assert done.code == 0, done.err
    page = Page(Path("compare.html"))
    text = " ".join(page.text.split())
    assert "its answers of first are not there" in text and "dvc pull --rev REVISION" in text
    assert ["wood-a", "test", "accuracy", "0.250", "0.950", "+0.700"] in page.named("model")[1]


def test_an_unknown_revision_names_some_that_are_there(compared: Callable[..., Any]) -> None:
    done = compared("first", "frist")
    assert done.code == 1
    assert "frist: no such revision" in done.err and "workspace, main, first, second" in done.err
    assert not Path("compare.html").exists()


def test_the_same_revision_twice_is_refused(compared: Callable[..., Any]) -> None:
    done = compared("main", "second")
    assert done.code == 1
    assert "main and second are the same" in done.err


def test_without_a_repository_the_message_is_clear(stage: Callable[..., Any]) -> None:
    done = stage("report", "--compare", "a", "b", "--out", "compare.html")
    assert done.code == 1
    assert "no repository of DVC's here" in done.err
