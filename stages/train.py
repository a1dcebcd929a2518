"""One model -> models/<model>/: weights, and model.json with all that is needed to use them; and its predictions.

It predicts every part of its split but train while it is at it: scoring then needs no network, and to score anew in another
way predicts nothing again.

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
from pathlib import Path
from typing import Any

import pandas as pd

from stages.command import run
from stages.files import MANIFEST, DataError, describe_files, new_file, new_folder, require_manifest, write_json
from stages.fingerprint import code_in_use, key_of, versions
from stages.inference import predict
from stages.networks import Job, family
from stages.predictions import TABLE, check_predictions
from stages.samples import EMPTY, SCORED, TRAIN, VAL, Samples, of_part, read_samples, read_version
from stages.settings import Record, read_params, section


def make_job(samples: Samples, parts: pd.DataFrame, **rest: Any) -> Job:
    """A Job from tables. Raises DataError when there is nothing to train or validate on."""
    train, val = (of_part(samples, parts, part) for part in (TRAIN, VAL))
    classes = sorted(train["label"].unique(), key=lambda label: (label == EMPTY, label))
    # What train never shows cannot be validated; the split stage has said so.
    val = val[val["label"].isin(classes)].reset_index(drop=True)
    if train.empty or val.empty:
        raise DataError(f"{len(train)} pictures to train on and {len(val)} of their classes to validate: both must be above 0")
    ids = [*train["sample_id"], *val["sample_id"]]
    boxes, people, joints = (table[table["sample_id"].isin(ids)] for table in (samples.boxes, samples.people, samples.joints))
    return Job(train, val, boxes, tuple(classes), samples.root, samples.data, people=people, joints=joints, **rest)


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


def main() -> None:
    parser = argparse.ArgumentParser(description="train one model")
    parser.add_argument("--model", required=True, help="the model's key in params.yaml")
    parser.add_argument("--family", required=True, help="a folder of stages/networks")
    parser.add_argument("--params", required=True, help="path of the settings in params.yaml")
    parser.add_argument("--clean", type=Path, required=True, help="the clean stage's output")
    parser.add_argument("--split", type=Path, required=True, help="a version of the split, a folder")
    parser.add_argument("--needs", type=Path, required=True, help="what the model builds on, a stage's output")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--work", type=Path, default=Path(".work"), help="where the state to resume from is kept")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--predictions", type=Path, required=True, help="folder to write")
    parser.add_argument("--cost", type=Path, required=True, help="JSON to write: parameters, seconds, ...")
    parser.add_argument("--curve", type=Path, required=True, help="CSV to write: a row for each epoch")
    parser.add_argument("--provenance", type=Path, required=True, help="JSON to write: commit, date, versions")
    args = parser.parse_args()
    chosen = family(args.family)
    settings: Record = section(args.params, chosen.SETTINGS, read_params())
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
    places = {"seed": args.seed, "work": work, "models": args.out.parent, "needs": args.needs}
    if int(os.environ.get("LOCAL_RANK", 0)):
        # Lightning runs this very command again for each further GPU: those train along, the first process writes.
        with tempfile.TemporaryDirectory() as scratch:
            chosen.train(settings, make_job(samples, parts, out=Path(scratch), **places))
        return
    with new_folder(args.out) as out:
        trained = chosen.train(settings, make_job(samples, parts, out=out, **places))
        with new_file(args.curve) as temporary:
            trained.curve.to_csv(temporary, index=False, lineterminator="\n")
        write_json(args.cost, trained.cost)
        write_json(args.provenance, provenance())
    boxes = pd.read_parquet(args.needs / TABLE) if (args.needs / TABLE).is_file() else None
    pictures = of_part(samples, parts, *SCORED)
    with new_folder(args.predictions) as out:
        predictions = predict(chosen.load(args.out), pictures, samples.root, boxes=boxes, needs=args.needs)
        check_predictions(predictions, pictures["sample_id"]).to_parquet(out / TABLE, index=False)
    shutil.rmtree(work, ignore_errors=True)
    print(
        f"{args.model}: {trained.cost['epochs']} epochs, best after {trained.cost['best_epoch'] + 1}, "
        f"{trained.cost['train_seconds']} s, {trained.cost['parameters']:,} parameters"
    )


if __name__ == "__main__":
    run(main)
