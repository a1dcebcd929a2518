"""Checks the whole of params.yaml, every profile of every data set and model, before anything else runs.

DVC runs it whenever params.yaml changes; `python -m stages.check` does the same by hand.
"""

import argparse
from pathlib import Path
from typing import Any

from stages.clean import CleanSettings
from stages.command import run
from stages.download import DownloadSettings
from stages.evaluate import EvaluateSettings
from stages.files import DataError, write_json
from stages.networks import family
from stages.settings import Record, read_params, section
from stages.split import SplitSettings

PROFILES = ("smoke", "embedded", "paper")
VERSIONS = ("location", "class", "official")  # what `split` makes


class Entry(Record):
    """What an entry of `models` holds beside its profiles."""

    dataset: str
    version: str
    family: str


def check_all(params: dict[str, Any]) -> int:
    """Check the whole file: every section of every profile. Returns how many; raises DataError for the first fault."""
    if strangers := sorted(set(params) - {"profile", "seed", "datasets", "evaluate", "models"}):
        raise DataError(f"params.yaml: unknown key `{strangers[0]}`. Allowed: profile, seed, datasets, evaluate, models")
    if params.get("profile") not in PROFILES:
        raise DataError(f"params.yaml: profile: given {params.get('profile')!r}: allowed: {', '.join(PROFILES)}")
    if not isinstance(params.get("seed"), int):
        raise DataError(f"params.yaml: seed: given {params.get('seed')!r}: a whole number is wanted")
    section("evaluate", EvaluateSettings, params)
    checked = 1
    stages: dict[str, type[Record]] = {"download": DownloadSettings, "clean": CleanSettings, "split": SplitSettings}
    for name, profiles in params["datasets"].items():
        _require_profiles(f"datasets.{name}", profiles)
        for profile in PROFILES:
            given = set(profiles[profile])
            if given != set(stages):
                wrong = ", ".join(sorted(given ^ set(stages)))
                raise DataError(f"params.yaml: datasets.{name}.{profile}: wants {', '.join(stages)}; look at {wrong}")
            for stage, record in stages.items():
                section(f"datasets.{name}.{profile}.{stage}", record, params)
                checked += 1
    for name, entry in params["models"].items():
        if "." in name:
            raise DataError(f"params.yaml: models.{name}: a key may hold no dot: DVC reads it as a path")
        _require_profiles(f"models.{name}", entry)
        about = {key: value for key, value in entry.items() if key not in PROFILES}
        chosen = section("entry", Entry, {"entry": about})
        if chosen.dataset not in params["datasets"]:
            raise DataError(
                f"params.yaml: models.{name}.dataset: given {chosen.dataset!r}: allowed: {', '.join(params['datasets'])}"
            )
        for profile in PROFILES:
            section(f"models.{name}.{profile}", family(chosen.family).SETTINGS, params)
            checked += 1
        _require_version(name, chosen, params)
    return checked


def _require_version(model: str, entry: Entry, params: dict[str, Any]) -> None:
    """In the profile at hand, a model's version must be one that its data set's split makes."""
    split = params["datasets"][entry.dataset][params["profile"]]["split"]
    made = [version for version in VERSIONS if split.get(version) is not None]
    if entry.version not in VERSIONS:
        raise DataError(f"params.yaml: models.{model}.version: given {entry.version!r}: allowed: {', '.join(VERSIONS)}")
    if entry.version not in made:
        where = f"datasets.{entry.dataset}.{params['profile']}.split"
        print(f"note: {model} cannot run: {where} makes {', '.join(made)}, not {entry.version}. Run the others by name")


def _require_profiles(path: str, entry: Any) -> None:
    missing = [profile for profile in PROFILES if not isinstance(entry, dict) or profile not in entry]
    if missing:
        raise DataError(f"params.yaml: {path}: no profile {', '.join(missing)}")


def main() -> None:
    parser = argparse.ArgumentParser(description="check the whole of params.yaml")
    parser.add_argument("--out", type=Path, help="JSON to write when all is well, for DVC")
    args = parser.parse_args()
    checked = check_all(read_params())
    print(f"params.yaml: {checked} sections, all well")
    if args.out:
        write_json(args.out, {"sections": "all well"})


if __name__ == "__main__":
    run(main)
