"""The embedded profile's stand-in for published weights: a short training on pictures of its own, found by `init: pretrained`.

It draws an embedded data set from another seed, so other pictures than any model is scored on. Of camera traps every box gets
the one label `animal`: where something is can be learned from it, which species is not. Of people it learns their joints, as
published pose networks have; of objects, ImageNet's stand-in, which they are; of people in motion, Kinetics' stand-in, what
they do. A profile that starts from published weights pretrains nothing, and the folder says so.
"""

import argparse
import importlib
import shutil
from pathlib import Path
from typing import Any

from pydantic import Field

from stages import clips
from stages.bboxes import BoxesSettings, boxed
from stages.clean import CleanSettings, clean_all
from stages.clips import ClipsSettings
from stages.command import run
from stages.datasets import adapter
from stages.files import new_folder, seed_from, write_json
from stages.fingerprint import code_in_use, key_of, versions
from stages.networks import family
from stages.people import PERSON
from stages.samples import EMPTY, TRAIN, VAL, Samples
from stages.settings import Record, read_params, section
from stages.sources import scan
from stages.split import by_class
from stages.train import make_job

ANIMAL = "animal"
# What can be drawn, and how it is read.
ADAPTERS = {"camera_trap": "caltech_camera_traps", "activity": "mpii", "objects": "folders", "movement": "clip_folders"}
LABELS = {"camera_trap": ANIMAL, "activity": PERSON}  # the one class that all is made; objects and movements keep theirs


class PretrainSettings(Record):
    draw: dict[str, Any] | None = None  # settings of the renderer; null: nothing is pretrained in this profile
    val: float = Field(0.15, gt=0, lt=1)  # share of the pictures to validate on
    train: dict[str, Any] | None = None  # settings of the family, as a model's entry has them


def renderer(name: str) -> Any:
    """The embedded data set's module: SETTINGS and write."""
    return importlib.import_module(f"stages.embedded.{name}")


def drawn(name: str, settings: Record, seed: int, folder: Path) -> Samples:
    """The pictures to pretrain on, drawn into `folder` unless a killed run left them there whole, with their LABELS."""
    if not folder.is_dir():
        with new_folder(folder) as out:
            renderer(name).write(out, settings, seed)
    files: dict[str, tuple[int, str | None]] = {path: (found.bytes, None) for path, found in scan(folder).items()}
    raw = adapter(ADAPTERS[name]).read(folder, files, ())
    found = clean_all(raw, folder, files, CleanSettings.model_validate({"max_bad_share": 1.0}), 1)
    samples = Samples(found.samples, found.boxes, folder, "embedded", found.people, found.joints, videos=found.videos)
    if not found.people.empty:
        with_boxes = boxed(samples, BoxesSettings.model_validate({}))
        samples = Samples(with_boxes.pictures, with_boxes.boxes, folder, "embedded", with_boxes.people, with_boxes.joints)
    if label := LABELS.get(name):
        samples.pictures["label"] = samples.pictures["label"].where(samples.pictures["label"] == EMPTY, label)
        samples.boxes["label"] = label
    return samples


def main() -> None:
    parser = argparse.ArgumentParser(description="a short training of our own, for other models to start from")
    parser.add_argument("--name", required=True, help="key under `pretrained` in params.yaml")
    parser.add_argument("--family", required=True, help="a folder of stages/networks")
    parser.add_argument("--draws", required=True, choices=ADAPTERS, help="the embedded data set to draw")
    parser.add_argument("--params", required=True, help="path of the settings in params.yaml")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--work", type=Path, default=Path(".work"), help="where the state to resume from is kept")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    args = parser.parse_args()
    params = read_params()
    settings = section(args.params, PretrainSettings, params)
    if settings.draw is None or settings.train is None:
        with new_folder(args.out) as out:
            write_json(out / "pretrain.json", {"pretrained": False})
        print(f"{args.name}: nothing is pretrained in this profile")
        return
    chosen = family(args.family)
    own = section(f"{args.params}.train", chosen.SETTINGS, params)
    renderer_settings = section(f"{args.params}.draw", renderer(args.draws).SETTINGS, params)
    seed = seed_from(args.seed, "pretrain")
    key = key_of(settings.model_dump_json(), args.draws, seed, versions(), code_in_use())
    work = args.work / args.name / key
    samples = drawn(args.draws, renderer_settings, seed, work / "data")
    shares = {TRAIN: 1 - settings.val, VAL: settings.val}
    part = by_class(samples.pictures, "seq_id", shares, seed)
    parts = samples.pictures[["sample_id"]].assign(part=part)
    tables = work / "clips"
    if len(samples.videos) and not tables.is_dir():
        clips.store(
            samples, samples.pictures["sample_id"].tolist(), ClipsSettings.model_validate({}), work / "unfinished", tables
        )
    with new_folder(args.out) as out:
        places = {"seed": seed, "work": work / "state", "models": args.out.parent, "needs": work, "out": out, "tables": tables}
        job = make_job(samples, parts, **places)
        trained = chosen.train(own, job)
        write_json(
            out / "pretrain.json", {"pretrained": True, "pictures": len(samples.pictures), "epochs": trained.cost["epochs"]}
        )
    shutil.rmtree(work, ignore_errors=True)
    print(f"{args.name}: {len(job.train)} pictures, {trained.cost['epochs']} epochs, {trained.cost['train_seconds']} s")


if __name__ == "__main__":
    run(main)
