"""Checks the whole of params.yaml, every profile of every data set and model, before anything else runs.

DVC runs it whenever params.yaml changes; `python -m stages.check` does the same by hand.
"""

import argparse
import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from stages import generators
from stages.bboxes import BoxesSettings
from stages.chosen import chosen
from stages.clean import CleanSettings
from stages.clips import ClipsSettings
from stages.command import run
from stages.compare import CompareSettings
from stages.download import DownloadSettings
from stages.evaluate import EvaluateSettings
from stages.files import DataError, new_folder, write_json
from stages.harden import HardenSettings
from stages.heatmaps import HeatmapSettings
from stages.networks import families, family
from stages.pretrain import ADAPTERS, PretrainSettings, renderer
from stages.seeds import Seeds
from stages.settings import Record, read_params, section
from stages.split import SplitSettings
from stages.synthesize import SynthesizeSettings

PROFILES = ("smoke", "embedded", "paper")
_KNOWN = ("location", "class", "official")  # versions of data with locations, whether a profile makes them or not
_KINDS = ("datasets", "compare", "pretrained", "harder", "synthetic", "bboxes", "heatmaps", "clips", "models")
HARDER = ("upsampled", "isolated")  # what `harden` makes
LOOK = "look"  # data/raw/look is what `download look` writes, beside the folders of the data sets
_NAME = re.compile(r"\w[\w-]*")  # dvc.yaml puts names into commands, which a shell reads, and into paths
NOTHING_ELSE = "data/params.checked.json"  # what a model needs that builds on nothing but its data


class DatasetEntry(Record):
    """What an entry of `datasets` holds beside its profiles."""

    cut: str  # what is split: data/clean/<dataset>, or data/boxes/<dataset> where boxes come from joints
    tables: str  # what is trained on: the same, or data/clips/<dataset> where samples are clips
    shows: str  # what its page shows beside answers: data/heatmaps/<dataset>, data/synthetic/<dataset>, or NOTHING_ELSE


class Entry(Record):
    """What an entry of `models` holds beside its profiles."""

    dataset: str
    tables: str  # as the data set has it
    lists: str  # data/splits/<dataset>/<version>, data/harder/<dataset>/<version>, or data/synthetic/<dataset>/added
    needs: str  # models/<pretrained>, data/predictions/<dataset>/<model>, data/heatmaps/<dataset>, or NOTHING_ELSE
    family: str


class PretrainedEntry(Record):
    """What an entry of `pretrained` holds beside its profiles."""

    family: str
    draws: str  # the embedded data set that is drawn


class HarderEntry(Record):
    """What an entry of `harder` holds beside its profiles."""

    base: str  # the version that is made harder
    judged: str  # the answers whose validation part says which classes are weak


class SyntheticEntry(Record):
    """What an entry of `synthetic` holds beside its profiles."""

    base: str  # the version that pictures are added to
    agree: str  # models/<the classifier that has to agree>, or NOTHING_ELSE
    family: str  # of that classifier


class BoxesEntry(Record):
    """What an entry of `bboxes` holds beside its profiles: nothing."""


class ClipsEntry(Record):
    """What an entry of `clips` holds beside its profiles: nothing."""


class HeatmapsEntry(Record):
    """What an entry of `heatmaps` holds beside its profiles."""

    tables: str
    lists: str  # the version whose pictures get heatmaps
    pose: str  # models/<the model that finds the joints>
    family: str  # of that model


def check_all(params: dict[str, Any]) -> int:
    """Check the whole file: every section of every profile. Returns how many; raises DataError for the first fault."""
    known = ("profile", "seed", "datasets", "evaluate", *_KINDS[1:])
    if strangers := [key for key in params if key not in known]:
        raise DataError(f"params.yaml: unknown key `{strangers[0]}`. Allowed: {', '.join(known)}")
    if params.get("profile") not in PROFILES:
        raise DataError(f"params.yaml: profile: given {params.get('profile')!r}: allowed: {', '.join(PROFILES)}")
    if type(seed := params.get("seed")) is not int or not 0 <= seed < 2**63:
        raise DataError(f"params.yaml: seed: given {seed!r}: a whole number is wanted, from 0 to 2^63 - 1")
    section("evaluate", EvaluateSettings, params)
    for kind in _KINDS:
        _check_names(kind, params)
    checked = 1
    stages: dict[str, type[BaseModel]] = {
        "download": DownloadSettings, "clean": CleanSettings, "split": SplitSettings, "seeds": Seeds
    }  # fmt: skip
    for name, profiles in params["datasets"].items():
        if name == LOOK:
            raise DataError(f"params.yaml: datasets.{name}: choose another name: data/raw/{name} is the stage `look`'s")
        rest = {key: value for key, value in profiles.items() if key not in PROFILES}
        about = section(f"datasets.{name}", DatasetEntry, {"datasets": {name: rest}})
        _require_one_of(f"datasets.{name}.cut", about.cut, _cut(name, params))
        _require_one_of(f"datasets.{name}.tables", about.tables, _tables(name, params))
        made = [f"data/{kind}/{name}" for kind in ("heatmaps", "synthetic") if name in params.get(kind, {})]
        _require_one_of(f"datasets.{name}.shows", about.shows, made or [NOTHING_ELSE])
        for profile in PROFILES:
            given = set(profiles[profile]) if isinstance(profiles[profile], dict) else set()
            if given != set(stages):
                wrong = ", ".join(sorted(given ^ set(stages)))
                raise DataError(f"params.yaml: datasets.{name}.{profile}: wants {', '.join(stages)}; look at {wrong}")
            for stage, record in stages.items():
                section(f"datasets.{name}.{profile}.{stage}", record, params)
                checked += 1
    kinds: tuple[tuple[str, type[Record], Any], ...] = (
        ("pretrained", PretrainedEntry, _check_pretrained),
        ("harder", HarderEntry, _check_harder),
        ("synthetic", SyntheticEntry, _check_synthetic),
        ("bboxes", BoxesEntry, _check_bboxes),
        ("heatmaps", HeatmapsEntry, _check_heatmaps),
        ("clips", ClipsEntry, _check_clips),
        ("models", Entry, _check_model),
    )
    for kind, of_entry, check in kinds:
        for name, entry in params.get(kind, {}).items():
            rest = {key: value for key, value in entry.items() if key not in PROFILES}
            check(name, section(f"{kind}.{name}", of_entry, {kind: {name: rest}}), params)
            checked += len(PROFILES)
    for name in params.get("compare", {}):
        _check_compare(name, params)
        checked += 1
    return checked


def _check_names(kind: str, params: dict[str, Any]) -> None:
    entries = params.get(kind, {} if kind not in ("datasets", "models") else None)
    if not isinstance(entries, dict):
        raise DataError(f"params.yaml: {kind}: given {entries!r}: names, each with its settings, are wanted")
    for name, entry in entries.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise DataError(
                f"params.yaml: {kind}: the name {name!r}: a letter or digit, then letters, digits, - and _ alone: it becomes "
                "part of commands and paths"
            )
        if kind != "compare":
            _require_profiles(f"{kind}.{name}", entry)
        if isinstance(entry, dict) and "family" in entry:
            _require_one_of(f"{kind}.{name}.family", entry["family"], families())


def _check_compare(name: str, params: dict[str, Any]) -> None:
    _require_one_of(f"compare.{name}", name, list(params["datasets"]))
    settings = section(f"compare.{name}", CompareSettings, params)
    own = [key for key, model in params["models"].items() if model.get("dataset") == name]
    for beginning, references in settings.references.items():
        for reference in references:
            _require_one_of(f"compare.{name}.references.{beginning}", reference, own)
    for claim, about in settings.claims.items():
        for which in ("better", "than"):
            _require_one_of(f"compare.{name}.claims.{claim}.{which}", getattr(about, which), own)


def _check_pretrained(name: str, entry: PretrainedEntry, params: dict[str, Any]) -> None:
    if name in params["models"]:
        raise DataError(f"params.yaml: pretrained.{name}: a model has this name too: both write models/{name}")
    _require_one_of(f"pretrained.{name}.draws", entry.draws, list(ADAPTERS))
    for profile in PROFILES:
        path = f"pretrained.{name}.{profile}"
        settings = section(path, PretrainSettings, params)
        if settings.draw is not None:
            section(f"{path}.draw", renderer(entry.draws).SETTINGS, params)
        if settings.train is not None:
            section(f"{path}.train", family(entry.family).SETTINGS, params)


def _versions(dataset: str, profile: str, params: dict[str, Any]) -> list[str]:
    return section(f"datasets.{dataset}.{profile}.split", SplitSettings, params).made()


def _check_harder(name: str, entry: HarderEntry, params: dict[str, Any]) -> None:
    _require_one_of(f"harder.{name}.base", entry.base, [f"data/splits/{name}/{version}" for version in _KNOWN])
    own = [model for model, other in params["models"].items() if other.get("lists") == entry.base]
    _require_one_of(f"harder.{name}.judged", entry.judged, [f"data/answers/{name}/{model}" for model in own])
    for profile in PROFILES:
        section(f"harder.{name}.{profile}", HardenSettings, params)


def _check_synthetic(name: str, entry: SyntheticEntry, params: dict[str, Any]) -> None:
    made = [f"data/splits/{name}/{version}" for profile in PROFILES for version in _versions(name, profile, params)]
    _require_one_of(f"synthetic.{name}.base", entry.base, list(dict.fromkeys(made)))
    # One that trains on these very pictures would be a cycle.
    judges = [
        f"models/{key}"
        for key, model in params["models"].items()
        if model.get("lists") == entry.base and model.get("family") == entry.family
    ]
    _require_one_of(f"synthetic.{name}.agree", entry.agree, [NOTHING_ELSE, *judges])
    for profile in PROFILES:
        settings = section(f"synthetic.{name}.{profile}", SynthesizeSettings, params)
        if settings.generator is not None:
            section(f"synthetic.{name}.{profile}.using", generators.find(settings.generator).SETTINGS, params)


def _cut(dataset: str, params: dict[str, Any]) -> list[str]:
    return [f"data/boxes/{dataset}"] if dataset in params.get("bboxes", {}) else [f"data/clean/{dataset}"]


def _tables(dataset: str, params: dict[str, Any]) -> list[str]:
    return [f"data/clips/{dataset}"] if dataset in params.get("clips", {}) else _cut(dataset, params)


def _check_clips(name: str, _entry: ClipsEntry, params: dict[str, Any]) -> None:
    _require_one_of(f"clips.{name}", name, list(params["datasets"]))
    for profile in PROFILES:
        section(f"clips.{name}.{profile}", ClipsSettings, params)


def _check_bboxes(name: str, _entry: BoxesEntry, params: dict[str, Any]) -> None:
    _require_one_of(f"bboxes.{name}", name, list(params["datasets"]))
    for profile in PROFILES:
        section(f"bboxes.{name}.{profile}", BoxesSettings, params)


def _check_heatmaps(name: str, entry: HeatmapsEntry, params: dict[str, Any]) -> None:
    _require_one_of(f"heatmaps.{name}.tables", entry.tables, _tables(name, params))
    made = [f"data/splits/{name}/{version}" for profile in PROFILES for version in _versions(name, profile, params)]
    _require_one_of(f"heatmaps.{name}.lists", entry.lists, list(dict.fromkeys(made)))
    finders = [f"models/{key}" for key, model in params["models"].items() if model.get("family") == entry.family]
    _require_one_of(f"heatmaps.{name}.pose", entry.pose, finders)
    for profile in PROFILES:
        section(f"heatmaps.{name}.{profile}", HeatmapSettings, params)


def _check_model(name: str, entry: Entry, params: dict[str, Any]) -> None:
    _require_one_of(f"models.{name}.dataset", entry.dataset, list(params["datasets"]))
    versions = {profile: _versions(entry.dataset, profile, params) for profile in PROFILES}
    made = [f"data/splits/{entry.dataset}/{version}" for version in dict.fromkeys(sum(versions.values(), [*_KNOWN]))]
    if entry.dataset in params.get("harder", {}):
        made += [f"data/harder/{entry.dataset}/{version}" for version in HARDER]
    made += [f"data/synthetic/{entry.dataset}/added"] if entry.dataset in params.get("synthetic", {}) else []
    _require_one_of(f"models.{name}.lists", entry.lists, made)
    _require_one_of(f"models.{name}.tables", entry.tables, _tables(entry.dataset, params))
    others = [f"models/{other}" for other in params.get("pretrained", {})]
    own = [key for key, model in params["models"].items() if key != name and model.get("dataset") == entry.dataset]
    others += [f"data/predictions/{entry.dataset}/{other}" for other in own]
    others += [f"data/heatmaps/{entry.dataset}"] if entry.dataset in params.get("heatmaps", {}) else []
    _require_one_of(f"models.{name}.needs", entry.needs, [NOTHING_ELSE, *others])
    of_heatmaps = entry.needs.startswith("data/heatmaps/")
    if of_heatmaps:
        _require_one_of(f"models.{name}.lists", entry.lists, [params["heatmaps"][entry.dataset]["lists"]])
    for profile in PROFILES:
        settings = section(f"models.{name}.{profile}", family(entry.family).SETTINGS, params)
        if getattr(settings, "boxes", None) == "needs" and not entry.needs.startswith("data/predictions/"):
            raise DataError(
                f"params.yaml: models.{name}.{profile}: `boxes: needs` classifies a detector's boxes, and needs is "
                f"{entry.needs}: name data/predictions/{entry.dataset}/<detector>, or set boxes to megadetector:<path>"
            )
        if hasattr(settings, "rate") != (entry.dataset in params.get("clips", {})):
            raise DataError(
                f"params.yaml: models.{name}: family slowfast is shown clips, the others pictures, and {entry.dataset} is "
                f"{'none' if hasattr(settings, 'rate') else 'a data set'} of clips: choose another family"
            )
        if hasattr(settings, "inputs") and not of_heatmaps:
            raise DataError(
                f"params.yaml: models.{name}.{profile}: family {entry.family} is shown stored heatmaps, and needs is "
                f"{entry.needs}: name data/heatmaps/{entry.dataset}"
            )
    version = entry.lists.rpartition("/")[2]
    if entry.lists.startswith("data/splits/") and version not in versions[params["profile"]]:  # in the profile at hand
        where = f"datasets.{entry.dataset}.{params['profile']}.split"
        there = ", ".join(versions[params["profile"]])
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
    parser.add_argument("--chosen", type=Path, help="folder for what the profile in use chooses, a file for each stage's part")
    args = parser.parse_args()
    params = read_params()
    checked = check_all(params)
    print(f"params.yaml: {checked} sections, all well")
    if args.chosen:
        with new_folder(args.chosen) as folder:
            for name, value in chosen(params).items():
                write_json(folder / f"{name}.json", value)
    if args.out:
        write_json(args.out, {"sections": "all well"})


if __name__ == "__main__":
    run(main)
