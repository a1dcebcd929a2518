"""One model -> models/<model>/: weights, and model.json with all that is needed to use them; and its predictions.

It predicts every part of its split but train while it is at it: scoring then needs no network, and to score anew in another
way predicts nothing again. With more than one seed it trains as often, and keeps what the further trainings predict.

`python -m stages.train --help` lists the options, dvc.yaml holds the commands.
A killed training goes on where it stopped: its state lies in `.work/<model>/<hash of all inputs>/` until training ends.
What differs from run to run (seconds, commit, date) goes into files that no stage depends on.
"""

import argparse
import datetime
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from stages.command import run
from stages.files import MANIFEST, DataError, describe_files, new_file, new_folder, require_manifest, write_json
from stages.fingerprint import code_in_use, key_of, versions
from stages.inference import Network, predict
from stages.networks import Job, family
from stages.predictions import FEATURES, TABLE, check_predictions
from stages.samples import EMPTY, SCORED, TEST, TRAIN, VAL, Samples, of_part, read_samples, read_version
from stages.seeds import FURTHER, Seeds, numbered
from stages.settings import Record, read_params, section
from stages.tables import read_table

NUMBER = "ETHOGRAM_TRAINING"  # which of the seeds is trained on; the processes of further GPUs inherit it


def make_job(samples: Samples, parts: pd.DataFrame, **rest: Any) -> Job:
    """A Job from tables. Raises DataError when there is nothing to train or validate on."""
    train, val = (of_part(samples, parts, part) for part in (TRAIN, VAL))
    classes = sorted(train["label"].unique(), key=lambda label: (label == EMPTY, label))
    # What train never shows cannot be validated; the split stage has said so.
    val = val[val["label"].isin(classes)].reset_index(drop=True)
    if train.empty or val.empty:
        raise DataError(f"{len(train)} pictures to train on and {len(val)} of their classes to validate: both must be above 0")
    ids = [*train["sample_id"], *val["sample_id"]]
    boxes, people, joints, keypoints = (
        table[table["sample_id"].isin(ids)] for table in (samples.boxes, samples.people, samples.joints, samples.keypoints)
    )
    of_pictures = {"people": people, "joints": joints, "keypoints": keypoints}
    return Job(train, val, boxes, tuple(classes), samples.root, samples.data, **of_pictures, **rest)


def provenance() -> dict[str, Any]:
    """Where and with what this ran; never an input of another stage."""
    git = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return {
        "commit": git.stdout.strip() or None,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": versions(),
    }


@contextmanager
def numbered_training(number: int) -> Iterator[None]:
    """While it lasts, NUMBER says which training it is. Then the environment is as before: Lightning leaves variables in it by
    which the next training would take itself for one of several processes.
    """
    before = dict(os.environ)
    os.environ[NUMBER] = str(number)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def main() -> None:
    parser = argparse.ArgumentParser(description="train one model")
    parser.add_argument("--model", required=True, help="the model's key in params.yaml")
    parser.add_argument("--family", required=True, help="a folder of stages/networks")
    parser.add_argument("--params", required=True, help="path of the settings in params.yaml")
    parser.add_argument("--clean", type=Path, required=True, help="the clean stage's output")
    parser.add_argument("--split", type=Path, required=True, help="a version of the split, a folder")
    parser.add_argument("--needs", type=Path, required=True, help="what the model builds on, a stage's output")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument(
        "--seeds", required=True, help="path in params.yaml of how many trainings there are, each of its own seed"
    )
    parser.add_argument("--work", type=Path, default=Path(".work"), help="where the state to resume from is kept")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--predictions", type=Path, required=True, help="folder to write")
    parser.add_argument("--cost", type=Path, required=True, help="JSON to write: parameters, seconds, ...")
    parser.add_argument("--curve", type=Path, required=True, help="CSV to write: a row for each epoch")
    parser.add_argument("--provenance", type=Path, required=True, help="JSON to write: commit, date, versions")
    args = parser.parse_args()
    chosen = family(args.family)
    params = read_params()
    settings: Record = section(args.params, chosen.SETTINGS, params)
    seeds = numbered(args.seed, section(args.seeds, Seeds, params).root)
    require_manifest(args.clean)
    require_manifest(args.split.parent)
    if args.needs.is_dir():
        require_manifest(args.needs)
    samples, parts = read_version(args.split, read_samples(args.clean))
    # The manifests that were just checked hold the hash of every table.
    whole = [path / MANIFEST if path.is_dir() else path for path in (args.clean, args.needs)]
    tables = [path.read_text() for path in whole] + [str(describe_files(args.split))]
    inputs = key_of(settings.model_dump_json(), args.seed, *tables, versions(), code_in_use())
    work = args.work / args.model / inputs

    def job(number: int, seed: int, out: Path) -> Job:
        state = work if number == 1 else work / f"seed-{number}"
        places = {"models": args.out.parent, "needs": args.needs, "tables": args.clean}
        return make_job(samples, parts, seed=seed, work=state, out=out, **places)

    if int(os.environ.get("LOCAL_RANK", 0)):
        # Lightning runs this very command again for each further GPU: those train along, the first process writes.
        with tempfile.TemporaryDirectory() as scratch:
            chosen.train(settings, job(*seeds[int(os.environ[NUMBER]) - 1], Path(scratch)))
        return
    boxes = read_table(args.needs / TABLE) if (args.needs / TABLE).is_file() else None
    stored = args.needs if samples.videos.empty else args.clean  # heatmaps of pictures; frames of clips
    pictures = of_part(samples, parts, *SCORED)

    def predicted(network: Network) -> pd.DataFrame:
        predictions = predict(network, pictures, samples.root, boxes=boxes, stored=stored)
        return check_predictions(predictions, pictures["sample_id"])

    further = []
    for number, seed in seeds[1:]:
        with tempfile.TemporaryDirectory() as scratch:
            with numbered_training(number), new_folder(Path(scratch) / "model") as out:
                chosen.train(settings, job(number, seed, out))
            further.append(predicted(chosen.load(Path(scratch) / "model")).assign(seed=number))
        print(f"{args.model}: seed {number} of {len(seeds)} is trained")
    with new_folder(args.out) as out:
        with numbered_training(1):
            trained = chosen.train(settings, job(*seeds[0], out))
        with new_file(args.curve) as temporary:
            trained.curve.to_csv(temporary, index=False, lineterminator="\n")
        write_json(args.cost, trained.cost)
        write_json(args.provenance, provenance())
    with new_folder(args.predictions) as out:
        network = chosen.load(args.out)
        predicted(network).to_parquet(out / TABLE, index=False)
        if further:
            pd.concat(further, ignore_index=True).to_parquet(out / FURTHER, index=False)
        plane = network.plane and network.plane(of_part(samples, parts, TRAIN, VAL, TEST), samples.root, args.seed)
        if plane:
            write_json(out / FEATURES, plane)
    shutil.rmtree(work, ignore_errors=True)
    print(
        f"{args.model}: {trained.cost['epochs']} epochs, best after {trained.cost['best_epoch'] + 1}, "
        f"{trained.cost['train_seconds']} s, {trained.cost['parameters']:,} parameters"
    )


if __name__ == "__main__":
    run(main)
