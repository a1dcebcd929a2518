"""Entries -> results: what was said of the files becomes answers, by thresholds, allowed species and sequences.

Nothing is looked at again, and about a thousand files are in memory at a time, or one sequence.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import torch
from torchvision.ops import batched_nms

from stages.answers import named, wide
from stages.calibration import calibrated
from stages.predictions import CLASS, box_rows, class_rows
from stages.regions import SAME_PLACE
from stages.results import ANIMAL, KINDS, PERSON, Box, Moment, Result, kind_of
from stages.samples import BOX_COLUMNS

_AT_A_TIME = 1000  # files
Answer = tuple[str, float, float]  # label, score, confidence


@dataclass(frozen=True)
class Rules:
    """How what was said of a file becomes an answer."""

    task: str  # of the predictions: CLASS or BOX
    classes: tuple[str, ...]  # of the network's outputs
    chosen: dict[str, float]  # as `answers.choose` has it: temperature; and for boxes image_threshold and bias
    review_below: float  # a person should look at answers of less confidence
    species: frozenset[str] | None = None  # the only ones that there can be; None: all
    actor: str | None = None  # PERSON or ANIMAL where the classes are what such a one does

    def allowed(self, label: str) -> bool:
        """People and vehicles always: a list of species must not hide them."""
        return self.species is None or label in self.species or kind_of(label) != ANIMAL or label == ANIMAL


def results(entries: Iterable[tuple[dict[str, Any], str | None]], rules: Rules) -> Iterator[Result]:
    """A result for each (entry, its sequence or None), in their order. Entries of a sequence must come one after the other."""
    for some in _whole_sequences(entries):
        seen = [entry for entry, _ in some if "failure" not in entry]
        by_file, by_window, by_sequence = _answers(
            seen, {entry["path"]: name for entry, name in some if name is not None}, rules
        )
        for entry, sequence in some:
            if "failure" in entry:
                yield Result(entry["path"], failure=entry["failure"], **_of_sequence(by_sequence, sequence))
            else:
                yield _result(entry, rules, by_file, by_window, sequence, by_sequence)


def _whole_sequences(
    entries: Iterable[tuple[dict[str, Any], str | None]],
) -> Iterator[list[tuple[dict[str, Any], str | None]]]:
    """Lists of about _AT_A_TIME entries that cut no sequence."""
    entries = iter(entries)
    some: list[tuple[dict[str, Any], str | None]] = []
    for pair in entries:
        if len(some) >= _AT_A_TIME and (pair[1] is None or pair[1] != some[-1][1]):
            yield some
            some = []
        some.append(pair)
    if some:
        yield some


def _of_sequence(by_sequence: dict[str, Answer], sequence: str | None) -> dict[str, Any]:
    """What a result says of its sequence: nothing where all its files failed."""
    if sequence is None or sequence not in by_sequence:
        return {}
    label, _, confidence = by_sequence[sequence]
    return {"sequence": sequence, "sequence_label": label, "sequence_confidence": confidence}


def _result(
    entry: dict[str, Any],
    rules: Rules,
    by_file: dict[str, Answer],
    by_window: dict[str, Answer],
    sequence: str | None,
    by_sequence: dict[str, Answer],
) -> Result:
    label, score, confidence = by_file[entry["path"]]
    boxes, scores = _one_of_each_place(_boxes(entry, rules)), _scores(entry, rules)
    nobody = _nobody(entry) if rules.actor == PERSON else ""
    return Result(
        path=entry["path"],
        note="; ".join(filter(None, [entry.get("note"), nobody])),
        width_px=entry["width_px"],
        height_px=entry["height_px"],
        captured_at=datetime.fromisoformat(entry["captured_at"]) if entry["captured_at"] else None,
        frame_rate=entry.get("frame_rate"),
        frames=tuple(entry.get("frames", ())),
        moments=_moments(entry, rules, by_window),
        label=label,
        score=scores.get(label, score),
        confidence=confidence,
        review=bool(nobody) or confidence < rules.review_below or (label == ANIMAL and rules.species is not None),
        boxes=boxes,
        scores=scores,
        actor=rules.actor,
        **_of_sequence(by_sequence, sequence),
    )


def _moments(entry: dict[str, Any], rules: Rules, by_window: dict[str, Answer]) -> tuple[Moment, ...]:
    """The windows of a video, in time; none of one that was looked at in frames."""
    moments = []
    for place, (start_s, end_s) in enumerate(entry.get("windows", ())):
        label, score, confidence = by_window[f"{entry['path']}#{place}"]
        moments.append(Moment(start_s, end_s, label, score, confidence, confidence < rules.review_below))
    return tuple(moments)


def _nobody(entry: dict[str, Any]) -> str:
    """Where nobody was found, though what people do was told, in words. A model that looks for nobody has no boxes at all."""
    frames = entry.get("frames", [0])
    empty = len(frames) - len({row[0] for row in entry["boxes"]}) if "boxes" in entry else 0
    where = "it" if empty == len(frames) else f"{empty} of {len(frames)} frames"
    return f"nobody was found in {where}: told without joints" if empty else ""


def _boxes(entry: dict[str, Any], rules: Rules) -> tuple[Box, ...]:
    """The boxes, the surest first. One of a species that cannot be is an ANIMAL, as it was seen: never nothing."""
    boxes = [
        Box(label, score, (x_min, y_min, x_max, y_max), frame if "frames" in entry else None, detected, sure, *_pose(*person))
        for frame, label, score, x_min, y_min, x_max, y_max, detected, sure, *person in entry.get("boxes", ())
    ]
    # By place where scores are equal: rounded, they are equal whatever batch a picture was in.
    boxes.sort(key=lambda box: (-box.score, box.frame or 0, box.xyxy))
    if rules.species is None or all(rules.allowed(box.label) for box in boxes):
        return tuple(boxes)
    least = rules.chosen["image_threshold"]
    known = [box for box in boxes if rules.allowed(box.label) and box.score >= least]
    return tuple(
        box if rules.allowed(box.label) else replace(box, label=ANIMAL)
        for box in boxes
        if rules.allowed(box.label) or not any(_same_place(box, other) for other in known)
    )


def _pose(joints: Iterable[Sequence[float]] = (), stamped: bool = False) -> tuple[tuple[Any, ...], bool]:
    return tuple(tuple(joint) for joint in joints), stamped


def _same_place(a: Box, b: Box) -> bool:
    """Whether boxes of one frame overlap by more than SAME_PLACE."""
    (left, top, right, bottom), (x_min, y_min, x_max, y_max) = a.xyxy, b.xyxy
    both = max(0, min(right, x_max) - max(left, x_min)) * max(0, min(bottom, y_max) - max(top, y_min))
    either = (right - left) * (bottom - top) + (x_max - x_min) * (y_max - y_min) - both
    return a.frame == b.frame and both > SAME_PLACE * either


def _one_of_each_place(boxes: tuple[Box, ...]) -> tuple[Box, ...]:
    """The surest of boxes of one kind that overlap by more than SAME_PLACE: a detector may name one animal by several classes.

    A person or vehicle is not hidden by an animal that is surer: the two may be one thing, or a rider and a horse.
    """
    if len(boxes) < 2:
        return boxes
    xyxy = torch.tensor([box.xyxy for box in boxes], dtype=torch.float64)
    sure = torch.tensor([box.score for box in boxes], dtype=torch.float64)
    groups = torch.tensor([len(KINDS) * (box.frame or 0) + KINDS.index(box.kind) for box in boxes])
    return tuple(boxes[number] for number in sorted(batched_nms(xyxy, sure, groups, SAME_PLACE).tolist()))


def _scores(entry: dict[str, Any], rules: Rules) -> dict[str, float]:
    """The mean score of each class, the surest first; empty for boxes."""
    if "scores" not in entry:
        return {}
    scores, labels = _of_allowed(np.array(entry["scores"]), rules)
    means = scores.mean(axis=0)
    return {labels[number]: float(means[number]) for number in np.argsort(-means, kind="stable")}


def _of_allowed(scores: Any, rules: Rules) -> tuple[Any, list[str]]:
    """Probabilities (N, C) and their classes. What species that cannot be have together is that of an ANIMAL."""
    kept = [number for number, label in enumerate(rules.classes) if rules.allowed(label)]
    labels = [rules.classes[number] for number in kept]
    if len(kept) == len(rules.classes):
        return scores, labels
    others = 1 - scores[:, kept].sum(axis=1, keepdims=True)
    return np.hstack([scores[:, kept], np.maximum(others, 0)]), [*labels, ANIMAL]


def _answers(
    entries: list[dict[str, Any]], sequence: dict[str, str], rules: Rules
) -> tuple[dict[str, Answer], dict[str, Answer], dict[str, Answer]]:
    """The answers of files, by path; of videos' windows, by `predicted`'s sample_id; of sequences of files, by their id."""
    if not entries:
        return {}, {}, {}
    predictions, of_sample = predicted(entries, rules)
    of_sequence = of_sample.map(sequence).dropna()
    together = predictions[predictions["sample_id"].isin(of_sequence.index)]
    frames, files = _named(predictions, of_sample, rules)
    windows = frames if any("windows" in entry for entry in entries) else {}
    return files, windows, _named(together, of_sequence, rules)[1]


def _named(predictions: pd.DataFrame, group: pd.Series, rules: Rules) -> tuple[dict[str, Answer], dict[str, Answer]]:
    """The answers of the samples, and of the groups that they are in."""
    if group.empty:
        return {}, {}
    one_by_one, together = (
        dict(
            zip(found["sample_id"], found[["predicted", "score", "calibrated"]].itertuples(index=False, name=None), strict=True)
        )
        for found in named(predictions, group, rules.chosen)
    )
    return one_by_one, together


def of_files(predictions: pd.DataFrame, of_sample: pd.Series, chosen: dict[str, float]) -> pd.DataFrame:
    """Predictions of whole files, by path, from those of their frames or windows: the calibrated mean, as `results` answers."""
    scores = wide(predictions).loc[of_sample.index]
    sure = calibrated(scores.to_numpy(dtype=float), chosen["temperature"])
    return class_rows(pd.DataFrame(sure, of_sample.to_numpy(), scores.columns).groupby(level=0).mean())


def predicted(entries: list[dict[str, Any]], rules: Rules) -> tuple[pd.DataFrame, pd.Series]:
    """(a predictions table with a sample for each frame or window, the path of each sample's file by sample_id)."""
    if rules.task == CLASS:
        frames = [(f"{entry['path']}#{place}", entry["path"]) for entry in entries for place in range(len(entry["scores"]))]
        scores, labels = _of_allowed(np.array([frame for entry in entries for frame in entry["scores"]], dtype=float), rules)
        return class_rows(pd.DataFrame(scores, [name for name, _ in frames], labels)), pd.Series(dict(frames))
    rows = [(entry["path"], box.label, box.score, *_pixels(box, entry)) for entry in entries for box in _boxes(entry, rules)]
    paths = pd.Series([entry["path"] for entry in entries])
    found = pd.DataFrame(rows, columns=["sample_id", "label", "score", *BOX_COLUMNS])
    return box_rows(found, paths), pd.Series(paths.to_numpy(), paths)


def _pixels(box: Box, entry: dict[str, Any]) -> tuple[float, float, float, float]:
    x_min, y_min, x_max, y_max = box.xyxy
    width, height = entry["width_px"], entry["height_px"]
    return x_min * width, y_min * height, x_max * width, y_max * height


def ordered(index: pd.DataFrame) -> pd.DataFrame:
    """The files of an index (path, captured_at, sequence) as results should come: by sequence, in time, by path."""
    first = index.groupby("sequence")["path"].transform("min") if index["sequence"].notna().all() else index["path"]
    return index.assign(first=first).sort_values(["first", "captured_at", "path"], ignore_index=True).drop(columns="first")
