"""A user's own labels: how often a model was right on the files they name, by the tables of `evaluate`."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from stages import evaluate
from stages.clean import CleanSettings, clean_all
from stages.datasets import Raw, adapter
from stages.evaluate import EvaluateSettings, headline, rounded, write_tables
from stages.files import DataError, new_file, write_json
from stages.inference import threads
from stages.media import File
from stages.samples import TEST, Samples
from stages.sources import finder
from stages.verdicts import Rules, of_files, predicted
from stages.windows import is_gif


def read(path: Path, files: list[File], root: Path, clips: bool = False) -> Raw:
    """The rows of a CSV (stages/datasets/table.py) or a COCO Camera Traps JSON, paths from `root`.

    They are of pictures, or with `clips` of videos and GIFs. Raises DataError for another file, and where none of those that
    it names is among `files`.
    """
    format_ = adapter("caltech_camera_traps" if path.suffix.lower() == ".json" else "table")
    raw = format_.read(path.parent, {path.name}, (path.name,))
    names = raw.pictures["file_name"].str.removeprefix(root.as_posix() + "/")
    if not any(map(finder({file.path for file in files if _is_scored(file, clips)}), names)):
        some = ", ".join(names.head(3)) or "nothing"
        raise DataError(
            f"--labels: names no {'video' if clips else 'picture'} that was looked at, but {some}. Paths in it start at "
            f"{root}; {'photos' if clips else 'videos'} are not scored"
        )
    return replace(raw, pictures=raw.pictures.assign(file_name=names), videos=clips)


def _is_scored(file: File, clips: bool) -> bool:
    return file.is_video or is_gif(file.path) if clips else not file.is_video


def matched(raw: Raw, files: list[File], root: Path) -> tuple[Samples, pd.DataFrame]:
    """(labelled pictures or videos, refused rows). Read to their end, as `clean` does. DataError where none is left."""
    known = {file.path: (file.bytes, None) for file in files if _is_scored(file, raw.videos)}
    others = finder({file.path for file in files if file.path not in known})
    word = "photo" if raw.videos else "video"
    cleaned = clean_all(raw, root, {**known}, CleanSettings.model_validate({"max_bad_share": 1.0}), threads())
    rejects = cleaned.rejects
    rejects = rejects[~rejects["reason"].isin(["unlisted_file", "picture_rejected"])]  # no labels, or counted already
    another = rejects["reason"].eq("file_missing") & rejects["name"].map(lambda name: others(str(name)) is not None).astype(
        bool
    )
    rejects = rejects.assign(
        reason=rejects["reason"].mask(another, word), detail=rejects["detail"].mask(another, f"{word}s are not scored")
    )
    return Samples(cleaned.samples, cleaned.boxes, root, "your data", videos=cleaned.videos), rejects


def score(
    raw: Raw,
    files: list[File],
    root: Path,
    entries: Iterator[dict[str, Any]],
    rules: Rules,
    classes: list[str],
    out: Path,
    name: str,
) -> None:
    """Score the entries of labelled pictures and write the tables into `out`; the headline is printed.

    A video is scored by its answer, the calibrated mean of its windows. What is labelled and could not be read counts as
    refused, with its reason, in rejects.csv. Raises DataError where no label fits a file that was looked at.
    """
    samples, rejects = matched(raw, files, root)
    ids = dict(zip(samples.pictures["path"], samples.pictures["sample_id"], strict=True))
    labelled = [entry for entry in entries if entry["path"] in ids and "failure" not in entry]
    if not labelled:
        raise DataError(f"--labels: none of the files it names was looked at: are its paths those below {root}?")
    predictions, of_sample = predicted(labelled, rules)
    chosen = rules.chosen
    if raw.videos:
        predictions, chosen = of_files(predictions, of_sample, chosen), {"temperature": 1.0}  # calibrated already
    else:
        predictions = predictions.assign(sample_id=predictions["sample_id"].map(of_sample))
    predictions = predictions.assign(sample_id=predictions["sample_id"].map(ids))
    pictures = samples.pictures[samples.pictures["sample_id"].isin(predictions["sample_id"])].assign(part=TEST)
    if unknown := sorted(set(pictures["label"]) - set(classes)):
        print(f"classes that {name} does not know, always counted as wrong: {', '.join(unknown)}")
    majority = pictures["label"].value_counts().sort_index().idxmax()
    scored = evaluate.score(
        predictions, pictures, samples, chosen, classes, majority, EvaluateSettings.model_validate({}), seed=0
    )
    columns = ["sample_id", "part", "seq_id", "actual", "predicted", "score", "calibrated"]
    write_json(out / f"{name}.json", rounded(headline(scored.parts) | {"data": "your data"}))
    write_tables(scored.tables | {"answers": scored.answers.pictures[columns]}, out, name)
    with new_file(out / "rejects.csv") as temporary:
        rejects.to_csv(temporary, index=False, lineterminator="\n")
    row = scored.parts.iloc[0]
    print(
        f"against the labels: macro F1 {row['f1_macro']:.3f} [{row['f1_macro_low']:.3f}, {row['f1_macro_high']:.3f}], "
        f"always `{majority}` would be right for {row['majority']:.3f}, n {row['n']}; {len(rejects)} rows refused: {out}"
    )
