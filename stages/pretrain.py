"""The embedded profile's stand-in for published weights: a short training on pictures of its own, found by `init: pretrained`.

It draws camera traps from another seed, so other places and other animals than any model is scored on, and gives every box
the one label `animal`: where something is can be learned from it, which species is not. A profile that starts from published
weights pretrains nothing, and the folder says so.
"""

import argparse
import importlib
import shutil
from pathlib import Path
from typing import Any

from pydantic import Field

from stages.clean import CleanSettings, clean
from stages.command import run
from stages.datasets import adapter
from stages.files import new_folder, seed_from, write_json
from stages.networks import Job, family
from stages.samples import EMPTY, TRAIN, VAL, Samples
from stages.settings import Record, read_params, section
from stages.sources import scan
from stages.split import by_class
from stages.train import code_in_use, key_of, versions

ANIMAL = "animal"


class Drawn(Record):
    images: int = Field(gt=0)  # pictures to draw
    locations: int = Field(gt=0)  # cameras
    val: float = Field(0.15, gt=0, lt=1)  # share of them to validate on


class PretrainSettings(Record):
    draw: Drawn | None = None  # null: nothing is pretrained in this profile
    train: dict[str, Any] | None = None  # settings of the family, as a model's entry has them


def drawn(settings: Drawn, seed: int, folder: Path) -> Samples:
    """The pictures to pretrain on, drawn into `folder` unless a killed run left them there whole."""
    renderer, format_ = importlib.import_module("stages.embedded.camera_trap"), adapter("caltech_camera_traps")
    if not folder.is_dir():
        with new_folder(folder) as out:
            renderer.write(out, renderer.SETTINGS(images=settings.images, locations=settings.locations), seed)
    files: dict[str, tuple[int, str | None]] = {path: (found.bytes, None) for path, found in scan(folder).items()}
    pictures, boxes, _, _ = clean(
        format_.read(folder, files, ()), folder, files, CleanSettings.model_validate({"max_bad_share": 1.0}), 1
    )
    pictures["label"] = pictures["label"].where(pictures["label"] == EMPTY, ANIMAL)
    return Samples(pictures, boxes.assign(label=ANIMAL), folder, "embedded")


def main() -> None:
    parser = argparse.ArgumentParser(description="a short training of our own, for other models to start from")
    parser.add_argument("--name", required=True, help="key under `pretrained` in params.yaml")
    parser.add_argument("--family", required=True, help="a folder of stages/networks")
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
    seed = seed_from(args.seed, "pretrain")
    key = key_of(settings.model_dump_json(), seed, versions(), code_in_use())
    work = args.work / args.name / key
    samples = drawn(settings.draw, seed, work / "data")
    shares = {TRAIN: 1 - settings.draw.val, VAL: settings.draw.val}
    part = by_class(samples.pictures, "seq_id", shares, seed)
    train, val = (samples.pictures[part == name].reset_index(drop=True) for name in (TRAIN, VAL))
    labels = (ANIMAL, EMPTY)
    with new_folder(args.out) as out:
        job = Job(
            train, val, samples.boxes, labels, samples.root, samples.data, seed, work / "state", args.out.parent, work, out
        )
        trained = chosen.train(own, job)
        write_json(
            out / "pretrain.json", {"pretrained": True, "pictures": len(samples.pictures), "epochs": trained.cost["epochs"]}
        )
    shutil.rmtree(work, ignore_errors=True)
    print(f"{args.name}: {len(train)} pictures, {trained.cost['epochs']} epochs, {trained.cost['train_seconds']} s")


if __name__ == "__main__":
    run(main)
