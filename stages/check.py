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
from stages.harden import HardenSettings
from stages.networks import family
from stages.pretrain import PretrainSettings
from stages.settings import Record, read_params, section
from stages.split import SplitSettings

PROFILES = ("smoke", "embedded", "paper")
VERSIONS = ("location", "class", "official")  # what `split` makes
HARDER = ("upsampled", "isolated")  # what `harden` makes
NOTHING_ELSE = "data/params.checked.json"  # what a model needs that builds on nothing but its data


class Entry(Record):
    """What an entry of `models` holds beside its profiles."""

    dataset: str
    lists: str  # data/splits/<dataset>/<version>, or data/harder/<dataset>/<version>
    needs: str  # models/<pretrained>, data/predictions/<dataset>/<model>, or NOTHING_ELSE
    family: str


class PretrainedEntry(Record):
    """What an entry of `pretrained` holds beside its profiles."""

    family: str


class HarderEntry(Record):
    """What an entry of `harder` holds beside its profiles."""

    base: str  # the version that is made harder
    judged: str  # the answers whose validation part says which classes are weak


def check_all(params: dict[str, Any]) -> int:
    """Check the whole file: every section of every profile. Returns how many; raises DataError for the first fault."""
    known = ["profile", "seed", "datasets", "evaluate", "pretrained", "harder", "models"]
    if strangers := sorted(set(params) - set(known)):
        raise DataError(f"params.yaml: unknown key `{strangers[0]}`. Allowed: {', '.join(known)}")
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
    kinds: tuple[tuple[str, type[Record], Any], ...] = (
        ("pretrained", PretrainedEntry, _check_pretrained),
        ("harder", HarderEntry, _check_harder),
        ("models", Entry, _check_model),
    )
    for kind, about, check in kinds:
        for name, entry in params.get(kind, {}).items():
            if "." in name:
                raise DataError(f"params.yaml: {kind}.{name}: a key may hold no dot: DVC reads it as a path")
            _require_profiles(f"{kind}.{name}", entry)
            rest = {key: value for key, value in entry.items() if key not in PROFILES}
            check(name, section(f"{kind}.{name}", about, {kind: {name: rest}}), params)
            checked += len(PROFILES)
    return checked


def _check_pretrained(name: str, entry: PretrainedEntry, params: dict[str, Any]) -> None:
    if name in params["models"]:
        raise DataError(f"params.yaml: pretrained.{name}: a model has this name too: both write models/{name}")
    for profile in PROFILES:
        path = f"pretrained.{name}.{profile}"
        if section(path, PretrainSettings, params).train is not None:
            section(f"{path}.train", family(entry.family).SETTINGS, params)


def _check_harder(name: str, entry: HarderEntry, params: dict[str, Any]) -> None:
    _require_one_of(f"harder.{name}.base", entry.base, [f"data/splits/{name}/{version}" for version in VERSIONS])
    own = [model for model, other in params["models"].items() if other.get("lists") == entry.base]
    _require_one_of(f"harder.{name}.judged", entry.judged, [f"data/answers/{name}/{model}" for model in own])
    for profile in PROFILES:
        section(f"harder.{name}.{profile}", HardenSettings, params)


def _check_model(name: str, entry: Entry, params: dict[str, Any]) -> None:
    _require_one_of(f"models.{name}.dataset", entry.dataset, list(params["datasets"]))
    made = [f"data/splits/{entry.dataset}/{version}" for version in VERSIONS]
    if entry.dataset in params.get("harder", {}):
        made += [f"data/harder/{entry.dataset}/{version}" for version in HARDER]
    _require_one_of(f"models.{name}.lists", entry.lists, made)
    others = [f"models/{other}" for other in params.get("pretrained", {})]
    others += [f"data/predictions/{entry.dataset}/{other}" for other in params["models"] if other != name]
    _require_one_of(f"models.{name}.needs", entry.needs, [NOTHING_ELSE, *others])
    for profile in PROFILES:
        settings = section(f"models.{name}.{profile}", family(entry.family).SETTINGS, params)
        if getattr(settings, "boxes", None) == "needs" and not entry.needs.startswith("data/predictions/"):
            raise DataError(
                f"params.yaml: models.{name}.{profile}: `boxes: needs` classifies a detector's boxes, and needs is "
                f"{entry.needs}: name data/predictions/{entry.dataset}/<detector>, or set boxes to megadetector:<path>"
            )
    version = entry.lists.rpartition("/")[2]
    split = params["datasets"][entry.dataset][params["profile"]]["split"]
    if version in VERSIONS and split.get(version) is None:  # in the profile at hand
        where = f"datasets.{entry.dataset}.{params['profile']}.split"
        there = ", ".join(known for known in VERSIONS if split.get(known) is not None)
        print(f"note: {name} cannot run: {where} makes {there}, not {version}. Run the others by name")


def _require_one_of(path: str, given: str, allowed: list[str]) -> None:
    if given not in allowed:
        raise DataError(f"params.yaml: {path}: given {given!r}: allowed: {', '.join(allowed)}")


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
