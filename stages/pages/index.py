"""The index: every data set of params.yaml, with what its pages say first, or why there is none."""

import os
from pathlib import Path
from typing import Any

from stages.files import DataError, check_manifest, new_file, read_json
from stages.pages import headline
from stages.pages.page import write_page
from stages.settings import read_params

# What the documents asked. Another data set has its name alone.
QUESTIONS = {
    "camera_trap": "Does a model that learned at some camera locations know the animals at locations that it never saw?",
    "activity": "What is a person in a photo doing, and do the joints that a first model finds help a second one to tell?",
    "posture": "Is the animal in a photo lying, sitting, running, or walking or standing?",
    "action": "What does the animal in a short clip do, and how much does it help to have learned from other videos before?",
}
LOOKS = "check"  # looks at params.yaml and makes nothing: what a change there changes, DVC names besides
SHOWN = 3  # faults, and stages, that the index names of a data set


def read_one(dataset: str, folder: Path, behind: list[str]) -> dict[str, Any]:
    """A data set's summary.json with `question` and `faults`, sentences; `state` is why there are no figures, else None.

    `behind` are its stages that are not as params.yaml and the code have them now.
    """
    about: dict[str, Any] = {"dataset": dataset, "question": QUESTIONS.get(dataset, ""), "faults": [], "state": None}
    about["headline"] = None
    run = f"dvc repro report@{dataset}"
    if not (folder / "summary.json").is_file():
        return about | {"state": "not run, or failed", "command": run, "behind": behind[:SHOWN]}
    try:
        problems = check_manifest(folder)
        found = read_json(folder / "summary.json")
    except DataError as error:
        problems, found = [str(error)], {}
    if problems:
        said = f"The pages are not as the report stage left them: {'; '.join(problems[:SHOWN])}."
        return about | {"state": "altered", "faults": [said], "command": f"rm -r {folder} && {run}", "behind": []}
    if behind:
        more = f" and {len(behind) - SHOWN} more" if len(behind) > SHOWN else ""
        said = f"Older than params.yaml, the data or the code: {', '.join(behind[:SHOWN])}{more} did not run since, or failed."
        about["faults"] = [said]
    return about | found | {"faults": about["faults"], "command": run}


def behind_of(datasets: list[str]) -> dict[str, list[str]]:
    """By data set, the stages before its pages that did not run since their inputs changed, as `dvc status` has it.

    Nothing inside a run of DVC's, which has settled that, and nothing where DVC has no pipeline or cannot read it.
    """
    if "DVC_STAGE" in os.environ or not (Path(".dvc").is_dir() and Path("dvc.yaml").is_file()):
        return {}
    # Here alone, since they take a second: the stage needs neither.
    import networkx
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    found: dict[str, list[str]] = {}
    try:
        with Repo() as repo:
            changed = {name for name, what in repo.status().items() if what != ["always changed"]} - {LOOKS}
            stages = {stage.addressing: stage for stage in repo.index.stages}
            for dataset in datasets:
                if page := stages.get(f"report@{dataset}"):
                    before = {stage.addressing for stage in networkx.descendants(repo.index.graph, page)}
                    found[dataset] = sorted(changed & {*before, page.addressing}, key=_in_turn)
    except DvcException as error:
        print(f"warning: which studies are out of date is not told, since DVC says: {error}")
    return found


def _in_turn(name: str) -> tuple[bool, bool, str]:
    """Training first, then what else comes before the answers: that is where a run fails."""
    return not name.startswith("train"), name.startswith(("evaluate", "compare", "report")), name


def whiskers(study: dict[str, Any]) -> dict[str, Any] | None:
    """Where a small chart has its marks, in hundredths of its width; None without figures."""
    found = study["headline"]
    if not found or not found["models"]:
        return None
    end = max([1.0, *(row["high"] for row in found["models"] if row["high"] is not None)])

    def at(value: float | None) -> float | None:
        return None if value is None else round(100 * value / end, 1)

    rows = [
        {"model": headline.short(study["dataset"], row["model"]), "best": row["model"] == found["best"], "at": at(row["value"]),
         "low": at(row["low"]), "high": at(row["high"]), "value": row["value"]}
        for row in headline.main_models(found)
    ]  # fmt: skip
    return {"rows": rows, "baseline": at(found["baseline"]), "end": end}


def best_of(study: dict[str, Any]) -> dict[str, Any] | None:
    """The row of a study's headline that validation finds best."""
    found = study["headline"] or {"models": [], "best": None}
    return next((row for row in found["models"] if row["model"] == found["best"]), None)


def tally(claims: list[dict[str, Any]]) -> dict[str, int]:
    """How many claims hold, do not, are undecided."""
    return {verdict: sum(row["verdict"] == verdict for row in claims) for verdict in ("holds", "does not hold", "undecided")}


def write(reports: Path, out: Path) -> Path:
    """Write index.html and the slide into the folder `out`; its data sets are those of params.yaml, from `reports`/<name>.

    A data set that failed, was not run or was altered shows as such. Returns the page.
    """
    datasets = [*read_params()["datasets"]]
    behind = behind_of(datasets)
    studies = [read_one(name, reports / name, behind.get(name, [])) for name in datasets]
    for study in studies:
        study |= {"best": best_of(study), "chart": whiskers(study), "tally": tally(study.get("claims", []))}
        study["folder"] = f"{os.path.relpath(reports / study['dataset'], out)}/"
    out.mkdir(parents=True, exist_ok=True)
    headline.write(studies, out)
    page = out / "index.html"
    with new_file(page) as temporary:
        write_page(temporary, "index.html", studies=studies, up="", slide=headline.PNG, slide_pdf=headline.PDF)
    return page
