"""Two experiments side by side: which parameters differ, what that did to the figures, and whether by more than chance.

A revision is a commit, a branch, a tag, the name of an experiment of DVC's, or `workspace`, what lies in the folder now.
Figures come from git, answers from DVC's cache.
"""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
import yaml

from stages import scores
from stages.files import MANIFEST, DataError, new_file, seed_from, sha256_bytes
from stages.pages.page import write_page
from stages.pages.study import EMBEDDED
from stages.samples import SEEN, TEST, UNSEEN, VAL

WORKSPACE = "workspace"
DRAWS = 1000  # bootstrap resamples of a comparison
NAMED = 8  # revisions that a message names
SIDES, NO_FIGURES = ("_low", "_high"), ("n", "majority", "boxes")
ANSWERS = "answers.parquet"
COLUMNS = {"sample_id", "seq_id", "part", "actual", "predicted"}
JUDGED = (UNSEEN, SEEN, TEST)  # parts that a test is of; `val` chose the thresholds
NOT_THERE = "not there"


class Files(Protocol):
    """What this module asks of a file system; DVC's and fsspec's have it."""

    def exists(self, path: str) -> bool: ...
    def ls(self, path: str, detail: bool = False) -> list[str]: ...
    def open(self, path: str, mode: str = "rb") -> Any: ...


@dataclass(frozen=True)
class Revision:
    """What one experiment left."""

    name: str  # as the user gave it
    commit: str  # its sha, or `workspace`
    params: dict[str, Any]
    metrics: dict[str, dict[str, Any]]  # by model: its headline JSON
    files: Files


# Reading -------------------------------------------------------------------------------------------------------------


def open_revision(name: str) -> Revision:
    """The experiment of this name in the repository of the working folder. Raises DataError where there is none of it."""
    # Here alone: the pages of a data set need none of it, and DVC takes a second to load.
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException, NotDvcRepoError
    from dvc.repo import Repo
    from dvc.scm import RevError, SCMError, resolve_rev
    from fsspec.implementations.local import LocalFileSystem

    try:
        if name == WORKSPACE:
            return read_revision(name, WORKSPACE, LocalFileSystem())
        with Repo() as repo:
            try:
                commit = str(resolve_rev(repo.scm, name))
            except RevError:
                raise DataError(f"{name}: no such revision. {_known(repo)}") from None
        return read_revision(name, commit, DVCFileSystem(".", rev=commit))
    except NotDvcRepoError:
        raise DataError("no repository of DVC's here: run from the repository's root") from None
    except (SCMError, DvcException) as error:
        raise DataError(f"{name}: cannot be read: {error}") from None


def _known(repo: Any) -> str:
    """A sentence that names revisions which exist: branches, tags, experiments."""
    experiments = [name for found in repo.experiments.ls(all_commits=True).values() for name, _ in found]
    names = [WORKSPACE, *repo.scm.list_branches(), *repo.scm.list_tags(), *sorted(experiments)]
    more = f" and {len(names) - NAMED} more (`dvc exp list --all-commits`)" if len(names) > NAMED else ""
    return f"There is: {', '.join(names[:NAMED])}{more}; and every commit"


def read_revision(name: str, commit: str, files: Files) -> Revision:
    """What lies in a file system whose root is the repository's. Raises DataError for malformed files."""
    if not files.exists("params.yaml"):
        raise DataError(f"{name}: has no params.yaml: not an experiment of this pipeline")
    try:
        params = yaml.safe_load(_bytes(files, "params.yaml"))
        models = params["models"]
        paths = {model: f"metrics/{entry['dataset']}/{model}.json" for model, entry in models.items()}
        metrics = {model: json.loads(_bytes(files, path)) for model, path in paths.items() if files.exists(path)}
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{name}: params.yaml cannot be read: {error!r}") from None
    except ValueError as error:
        raise DataError(f"{name}: metrics cannot be read: {error}") from None
    return Revision(name, commit, params, metrics, files)


def _bytes(files: Files, path: str) -> bytes:
    with files.open(path, mode="rb") as file:
        return bytes(file.read())


def answers_of(revision: Revision, model: str) -> pd.DataFrame | str:
    """What a model answered there, or why there is nothing to test: a sentence."""
    from dvc_data.index import DataIndexDirError

    if not _has_answers(revision, model):
        return f"{revision.name} has no answers with classes of this model"
    folder = f"data/answers/{revision.params['models'][model]['dataset']}/{model}"
    try:
        data, listed = (_bytes(revision.files, f"{folder}/{name}") for name in (ANSWERS, MANIFEST))
        if json.loads(listed)[ANSWERS]["sha256"] != sha256_bytes(data):
            return f"its answers of {revision.name} were altered since they were written"
        table = pd.read_parquet(io.BytesIO(data))
    except (OSError, DataIndexDirError):
        return f"its answers of {revision.name} are {NOT_THERE}"
    except (KeyError, TypeError, ValueError) as error:
        return f"its answers of {revision.name} cannot be read: {error}"
    if missing := sorted(COLUMNS - {*table}):
        return f"its answers of {revision.name} have no {', '.join(missing)}"
    return table


def _has_answers(revision: Revision, model: str) -> bool:
    """Whether the model answers with classes: one of joints has no macro F1."""
    return any("f1_macro" in found for found in revision.metrics[model].values() if isinstance(found, dict))


# Comparing -----------------------------------------------------------------------------------------------------------


def flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested mappings, by their dotted path; a list is a leaf."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from flat(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def differing(before: dict[str, Any], after: dict[str, Any]) -> list[dict[str, Any]]:
    """Parameters that differ, as text: name, before, after; – where one has it not."""
    first, second = dict(flat(before)), dict(flat(after))
    names = [name for name in {**first, **second} if first.get(name, ...) != second.get(name, ...)]
    return [{"name": name, "before": _text(first, name), "after": _text(second, name)} for name in names]


def _text(found: dict[str, Any], name: str) -> str:
    return json.dumps(found[name], ensure_ascii=False, default=str) if name in found else "–"


def figures(before: dict[str, Any], after: dict[str, Any]) -> list[dict[str, Any]]:
    """Headline figures of one model: part, "" for what is of several; figure, before, after, change; None where one has it not.

    Intervals, counts and the baseline are left out.
    """

    def numbers(found: dict[str, Any]) -> dict[tuple[str, str], float]:
        parts = {part: own for part, own in found.items() if isinstance(own, dict)}
        parts[""] = {name: value for name, value in found.items() if name not in parts}
        return {
            (part, name): float(value)
            for part, own in parts.items()
            for name, value in own.items()
            if isinstance(value, int | float) and not name.endswith(SIDES) and name not in NO_FIGURES
        }

    first, second = numbers(before), numbers(after)
    rows = []
    for part, name in {**first, **second}:
        one, two = first.get((part, name)), second.get((part, name))
        change = None if one is None or two is None else two - one
        rows.append({"part": part, "figure": name, "before": one, "after": two, "change": change})
    return rows


def paired(before: pd.DataFrame, after: pd.DataFrame, part: str, seed: int) -> dict[str, Any]:
    """A paired test of two sets of answers on the items of `part` that both have.

    part, n of both, n_before, n_after; then either `why` there is no test, or change of macro F1 with its interval low to high,
    `verdict`, accuracy before and after, won and lost (items that one alone has right) and p of McNemar's exact test.
    """
    first, second = (table[table["part"] == part].reset_index(drop=True) for table in (before, after))
    both = first.merge(second, on="sample_id", suffixes=("_before", "_after"))
    found = {"part": part, "n": len(both), "n_before": len(first), "n_after": len(second)}
    if both.empty:
        return found | {"why": "they have no item in common"}
    other = int((both["actual_before"] != both["actual_after"]).sum())
    if other:
        return found | {"why": f"{other} of the {len(both)} items in common have another true class: other data"}
    one, two = (table[table["sample_id"].isin(both["sample_id"])].reset_index(drop=True) for table in (first, second))
    change, low, high = scores.paired_difference(two, one, DRAWS, seed)
    right_before = both["predicted_before"] == both["actual_before"]
    right_after = both["predicted_after"] == both["actual_after"]
    won, lost = int((right_after & ~right_before).sum()), int((right_before & ~right_after).sum())
    return found | {
        "same": bool((both["predicted_before"] == both["predicted_after"]).all()),
        "change": change,
        "low": low,
        "high": high,
        "verdict": scores.verdict(low, high),
        "before": float(right_before.mean()),
        "after": float(right_after.mean()),
        "won": won,
        "lost": lost,
        "p": scores.mcnemar_exact(won, lost),
    }


def tests(before: Revision, after: Revision, model: str) -> tuple[list[dict[str, Any]], str]:
    """`paired` of each part that both have, and why there is none, "" where there are."""
    found = [answers_of(revision, model) for revision in (before, after)]
    first, second = found
    if isinstance(first, str) or isinstance(second, str):
        return [], "; ".join(dict.fromkeys(said for said in found if isinstance(said, str)))
    parts = {*first["part"]} & {*second["part"]}
    judged = [part for part in JUDGED if part in parts] or [part for part in (VAL,) if part in parts]
    if not judged:
        return [], "no part of the data has answers of both"
    return [paired(first, second, part, seed_from(model, part)) for part in judged], ""


def compare(before: Revision, after: Revision) -> list[dict[str, Any]]:
    """By data set: `changed`, models with figures of both that differ, each with its figures and tests; `same`, those whose
    figures do not; `only`, by revision, models with figures in that one alone.
    """
    datasets = list(dict.fromkeys([*after.params.get("datasets", {}), *before.params.get("datasets", {})]))
    found = []
    for dataset in datasets:
        own = [_models(revision, dataset) for revision in (before, after)]
        changed, same = [], []
        for model in (name for name in own[1] if name in own[0]):
            rows = figures(before.metrics[model], after.metrics[model])
            if all(row["change"] == 0 for row in rows):
                same.append(model)
            else:
                done, why = tests(before, after, model)
                changed.append({"model": model, "figures": rows, "tests": done, "why": why})
        only = {
            "before": [name for name in own[0] if name not in own[1]],
            "after": [name for name in own[1] if name not in own[0]],
        }
        labels = set().union(*(labels_of(revision, names) for revision, names in zip((before, after), own, strict=True)))
        found.append({"dataset": dataset, "changed": changed, "same": same, "only": only, "labels": sorted(labels)})
    return found


def _models(revision: Revision, dataset: str) -> list[str]:
    models = revision.params["models"]
    return [name for name in revision.metrics if models[name]["dataset"] == dataset]


def labels_of(revision: Revision, models: list[str]) -> set[str]:
    """All that figures were measured on, as the studies' pages have it: both where an earlier run's stand beside later ones."""
    return {EMBEDDED if revision.metrics[name].get("data") == "embedded" else "your data" for name in models}


def write(first: str, second: str, out: Path) -> Path:
    """Compare two revisions by name and write the page. Raises DataError for one that is not there, or twice the same."""
    before, after = open_revision(first), open_revision(second)
    if before.commit == after.commit:
        raise DataError(f"{first} and {second} are the same: {before.commit}. Name two experiments; `dvc exp show` lists them")
    studies = compare(before, after)
    with new_file(out) as temporary:
        write_page(
            temporary, "revisions.html", before=before, after=after, studies=studies, up="", draws=DRAWS,
            params=differing(before.params, after.params), not_there=NOT_THERE,
        )  # fmt: skip
    for study in studies:
        for row in study["changed"]:
            for test in (test for test in row["tests"] if "verdict" in test):
                said = f"macro F1 {test['change']:+.3f} ({test['low']:+.3f} to {test['high']:+.3f}), {test['verdict']}"
                print(f"{row['model']}, {test['part']}: {said}")
    return out
