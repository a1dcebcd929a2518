"""The pictures of a data set's pages, each written once however many pages show it, and what is drawn over each."""

import math
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stages.box_scores import surest, take
from stages.files import DataError, require_manifest, seed_from, sha256_bytes
from stages.film import film_strip
from stages.pages.study import Study
from stages.pictures import LostPicture, jpeg, read_picture, resize
from stages.predictions import BOX, TABLE
from stages.samples import BOX_COLUMNS, EMPTY, SEEN, TEST, UNSEEN, VAL
from stages.shards import INDEX
from stages.stored_clips import StoredClips

LONGER_PX, QUALITY = 480, 80  # of a picture's file
FRAMES, FILM_PX = 8, 96  # of a strip of film, in two rows: frames, evenly over the clip, and their height
WRONG, MISSED, FALSE_ALARM, RIGHT = "wrong", "missed", "false alarm", "right"
A_MODEL = {
    WRONG: 16,
    MISSED: 6,
    FALSE_ALARM: 4,
    RIGHT: 6,
}  # pictures of a model by outcome, in the order in which they are shown
BOXES = 8  # drawn over a picture, of the true and of the found
IOU = 0.5  # at which a found box counts as the true one that it covers
JUDGED = (UNSEEN, TEST, SEEN, VAL)  # the first of these parts that a model has answers of is the one that it is judged by


class Gallery:
    """Thumbnails of one data set, in `<out>/pictures`, and items for the macro `gallery`, which draws boxes over them."""

    def __init__(self, study: Study, out: Path) -> None:
        self.study, self.out = study, out / "pictures"
        self.out.mkdir(parents=True, exist_ok=True)
        self._rows = {row.sample_id: row for row in study.samples.pictures.itertuples()}
        self._boxed = set(study.samples.boxes["sample_id"])  # pictures of which somebody drew the boxes
        self._written: dict[str, dict[str, Any]] = {}
        self._of_model: dict[str, list[dict[str, Any]]] = {}
        self.has_clips = len(study.samples.videos) > 0
        # The class `empty` means nothing to see in pictures alone: an action or an activity may be called so.
        self.has_empty = not self.has_clips and not len(study.samples.people)
        self._photos = self.has_empty and bool(study.samples.pictures["location"].isna().all())

    @property
    def cap(self) -> str:
        """What of a model is shown and how large, a sentence or two for the page."""
        may_be_empty = self.has_empty and (not self._photos or bool(self.study.samples.pictures["label"].eq(EMPTY).any()))
        own = A_MODEL if may_be_empty else {WRONG: A_MODEL[WRONG], RIGHT: A_MODEL[RIGHT]}
        names = {WRONG: "wrong", MISSED: "missed", FALSE_ALARM: "false alarms", RIGHT: "right (drawn by chance)"}
        each = ", ".join(f"{n} {names[outcome]}" for outcome, n in own.items())
        what = "clips" if self.has_clips else "pictures"
        size = f"{FRAMES} frames of each, {FILM_PX} px high" if self.has_clips else f"longer side at most {LONGER_PX} px"
        drawn = "" if self.has_clips else f", at most {BOXES} boxes of a kind drawn"
        samples = self.study.samples.pictures
        burst = "" if samples["seq_id"].equals(samples["sample_id"]) else ", at most one of a sequence"
        return (
            f"At most {sum(own.values())} {what} of a model: {each}; {size}{drawn}. "
            f"Mistakes{burst}: first the surest of each class, from the class of the lowest recall on, then the surest of all. "
            "How sure: the confidence as calibrated on val; a box has the model's own score. "
            f"All answers: data/answers/{self.study.dataset}/<model>/answers.parquet."
        )

    def items(self, answers: pd.DataFrame, found: pd.DataFrame | None = None, threshold: float = 0.0) -> list[dict[str, Any]]:
        """A dict for each row of answers (sample_id, actual, predicted, calibrated, part), in their order; see `of_model`.

        `found` are the model's boxes of these pictures (rows of predictions of task box; None of a model that finds none):
        shown are those of a score of at least `threshold`, or the surest where none has and the picture is not rightly empty.
        Raises DataError for a picture that is gone or altered.
        """
        true = self.study.samples.boxes
        true = true[true["sample_id"].isin(answers["sample_id"])].assign(said=true["label"])
        if found is not None:
            found, true = self._judged(found[found["sample_id"].isin(answers["sample_id"])], true, threshold)
            rightly_none = answers.loc[answers["actual"].eq(EMPTY) & answers["predicted"].eq(EMPTY), "sample_id"]
            found = found[(found["score"] >= threshold) | ~found["sample_id"].isin(rightly_none)]
        elif self._photos:
            true = true.head(0)  # of a classifier of whole photos nobody asks for them
        boxes = self._boxes(true, "true")
        for name, own in ({} if found is None else self._boxes(found, "found")).items():
            boxes[name] = boxes.get(name, []) + own
        items = []
        for row, outcome in zip(answers.itertuples(index=False), self.outcomes(answers), strict=True):
            said = row.actual if outcome == RIGHT else f"{row.actual}, called {row.predicted}"
            more = {"label": row.actual, "predicted": row.predicted, "sure": float(row.calibrated), "outcome": outcome}
            text = f"{said} ({row.calibrated:.2f} sure)"
            items.append(self._about(row.sample_id, boxes) | {"text": text, "part": row.part} | more)
        return items

    def of_model(self, model: str) -> list[dict[str, Any]]:
        """Items of the part that a model is judged by: what it got wrong, then some that it got right. See `cap`.

        Each holds file, width, height (px of the file), id, text (caption), label, predicted, sure, outcome, location, part,
        boxes (left, top, width, height as shares of the picture, text, kind: true or found). None of a model without answers.
        """
        if model not in self._of_model:
            self._of_model[model] = self._shown_of(model)
        return self._of_model[model]

    def of_samples(self, sample_ids: Iterable[str]) -> list[dict[str, Any]]:
        """Items of samples, with their true boxes: as those of a model, without predicted and sure, outcome empty."""
        names, true = list(sample_ids), self.study.samples.boxes
        boxes = {} if self._photos else self._boxes(true[true["sample_id"].isin(names)].assign(said=true["label"]), "true")
        items = [self._about(name, boxes) | {"outcome": ""} for name in names]
        for item in items:
            species = self._row(item["id"]).species
            item["text"] = item["label"] if pd.isna(species) else f"{item['label']}, {species}"
        return items

    @cached_property
    def shows(self) -> set[str]:
        """The ids of all that can be shown: of clips those that are stored, which are those that the split uses."""
        if not self.has_clips:
            return set(self._rows)
        return set(pd.read_parquet(self.study.clean / INDEX, columns=["sample_id"])["sample_id"]) & self._rows.keys()

    def boxes_of(self, model: str, sample_ids: Iterable[str]) -> pd.DataFrame | None:
        """The boxes that a model found in these pictures, rows of task box; None of a model that finds none."""
        folder = self.study.predictions / model
        if "box_threshold" not in self.study.models[model]["chosen"] or not folder.is_dir():
            return None
        require_manifest(folder)
        wanted = [("sample_id", "in", list(sample_ids)), ("task", "==", BOX), ("label", "!=", EMPTY)]
        found = pd.read_parquet(folder / TABLE, columns=["sample_id", "label", "score", *BOX_COLUMNS], filters=wanted)
        return found.sort_values(["sample_id", "score", "label"], ascending=[True, False, True], kind="stable")

    # A model's pictures ----------------------------------------------------------------------------------------------

    def _shown_of(self, model: str) -> list[dict[str, Any]]:
        if not (self.study.answers / model / "answers.parquet").is_file():
            return []
        answers = self.study.answers_of(model)
        parts = set(answers["part"])
        answers = answers[answers["part"] == next((part for part in JUDGED if part in parts), None)]
        outcomes = self.outcomes(answers)
        answers = answers.assign(outcome=outcomes, chance=[seed_from("right", name) for name in answers["sample_id"]])
        recall = (answers["actual"] == answers["predicted"]).groupby(answers["actual"]).transform("mean")
        # By the calibrated confidence: a detector's own score of a rightly found animal can be near 0, that of `empty` near 1.
        answers = answers.assign(recall=recall).sort_values(["calibrated", "sample_id"], ascending=[False, True])
        right = answers[answers["outcome"] == RIGHT].sort_values("chance")
        right = right.assign(turn=right.groupby("actual").cumcount()).sort_values("turn", kind="stable")  # of many classes
        wrong = [_worst(answers[answers["outcome"] == outcome], n) for outcome, n in A_MODEL.items() if outcome != RIGHT]
        chosen = pd.concat([*wrong, right.head(A_MODEL[RIGHT])])
        threshold = self.study.models[model]["chosen"].get("box_threshold", 0.0)
        return self.items(chosen, self.boxes_of(model, chosen["sample_id"]), threshold)

    def outcomes(self, answers: pd.DataFrame) -> pd.Series:
        """The outcome of each answer: right, wrong, missed (an animal called empty) or false alarm (the other way round)."""
        right = answers["actual"] == answers["predicted"]
        missed = self.has_empty & ~right & (answers["predicted"] == EMPTY)
        alarm = self.has_empty & ~right & (answers["actual"] == EMPTY)
        names = np.select([right, missed, alarm], [RIGHT, MISSED, FALSE_ALARM], WRONG)
        return pd.Series(names, index=answers.index, dtype=str)

    def _judged(self, found: pd.DataFrame, true: pd.DataFrame, threshold: float) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The found boxes that are shown, and the true ones, each with what is `said` of it.

        A picture of an animal that nobody drew a box round cannot say whether a found box is false.
        """
        found, true = surest(found), true.reset_index(drop=True)
        passing = found[found["score"] >= threshold].reset_index(drop=True)
        below = found[~found["sample_id"].isin(passing["sample_id"])].drop_duplicates("sample_id")
        taken = take(passing, true, ["sample_id", "label"], IOU)
        judged = [name in self._boxed or self._row(name).label == EMPTY for name in passing["sample_id"]]
        false = [", false" if is_judged and truth < 0 else "" for is_judged, truth in zip(judged, taken, strict=True)]
        passing = passing.assign(said=_said(passing, false))
        below = below.assign(said=_said(below, [", below the box threshold"] * len(below)))
        missed = np.isin(true.index, taken, invert=True)
        true = true.assign(said=[f"{name}, missed" if lost else name for name, lost in zip(true["label"], missed, strict=True)])
        return pd.concat([passing, below]), true

    def _boxes(self, boxes: pd.DataFrame, kind: str) -> dict[str, list[dict[str, Any]]]:
        """The first BOXES of each picture as the macro draws them, by sample_id."""
        drawn: dict[str, list[dict[str, Any]]] = {}
        for box in boxes.groupby("sample_id", sort=False).head(BOXES).itertuples(index=False):
            drawn.setdefault(box.sample_id, []).append(_drawn(box, self._row(box.sample_id), kind))
        return drawn

    # One picture -----------------------------------------------------------------------------------------------------

    def _about(self, name: str, boxes: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
        row = self._row(name)
        more = {"id": name, "label": row.label, "location": "" if pd.isna(row.location) else row.location}
        return self._file(name) | more | {"boxes": [] if self.has_clips else boxes.get(name, [])}

    def _row(self, name: str) -> Any:
        if name not in self._rows:
            raise DataError(f"{self.study.clean}: no sample {name}, of which there is an answer: run `dvc repro`")
        return self._rows[name]

    @cached_property
    def _stored(self) -> Any:
        return StoredClips(self.study.clean) if self.has_clips else None

    def _file(self, name: str) -> dict[str, Any]:
        """Write a picture, or a clip as a strip of film; its file, named by its bytes since ids may hold anything."""
        if name not in self._written:
            rgb = self._picture(name) if self._stored is None else self._strip(name)
            data = jpeg(rgb, QUALITY, "4:2:0")
            file = f"{sha256_bytes(data)[:20]}.jpg"
            (self.out / file).write_bytes(data)
            self._written[name] = {"file": file, "width": rgb.shape[1], "height": rgb.shape[0]}
        return self._written[name]

    def _picture(self, name: str) -> Any:
        """A picture as `clean` found it, uint8 (h, w, 3), no larger than it is and than LONGER_PX."""
        row = self._rows[name]
        scale = min(1.0, LONGER_PX / max(row.width_px, row.height_px))
        try:
            rgb = read_picture(
                self.study.samples.root / row.path, row.sha256, math.ceil(scale * min(row.width_px, row.height_px))
            )
        except LostPicture as error:
            raise DataError(f"{error}\nThe report shows this picture: put it back as it was, or run `dvc repro`") from None
        return resize(rgb, max(1, round(scale * row.width_px)), max(1, round(scale * row.height_px)))

    def _strip(self, name: str) -> Any:
        """A clip's frames in two rows, uint8 (h, w, 3): one row of so many is too small to see much in a thumbnail."""
        numbers = np.linspace(0, self._stored.frames(name) - 1, FRAMES).round().astype(int).tolist()
        times = [f"{number / self._stored.fps:.2f} s" for number in numbers]
        frames, half = self._stored(name, numbers), FRAMES // 2
        rows = [film_strip(frames[own], FILM_PX, times[own]) for own in (slice(half), slice(half, None))]
        return np.concatenate(rows)


def _worst(wrong: pd.DataFrame, most: int) -> pd.DataFrame:
    """At most so many of the wrong answers, one of a sequence: the surest of each class, the class of lowest recall first,
    then the surest of all. Rows by falling confidence, as they come and go."""
    of_classes = wrong.drop_duplicates("actual").sort_values(["recall", "actual"])
    chosen = pd.concat([of_classes, wrong]).drop_duplicates("seq_id").head(most)
    return wrong[wrong["sample_id"].isin(chosen["sample_id"])]


def _said(found: pd.DataFrame, what: list[str]) -> pd.Series:
    """What stands at each found box: its class, its score and what became of it."""
    rows = zip(found["label"], found["score"], what, strict=True)
    return pd.Series([f"{label} {score:.2f}{end}" for label, score, end in rows], index=found.index, dtype=str)


def _drawn(box: Any, row: Any, kind: str) -> dict[str, Any]:
    """A box as the macro draws it; its sides as shares of the picture, which a found box may reach beyond."""
    left, right = (min(1.0, max(0.0, x / row.width_px)) for x in (box.x_min_px, box.x_max_px))
    top, bottom = (min(1.0, max(0.0, y / row.height_px)) for y in (box.y_min_px, box.y_max_px))
    sides = {"left": left, "top": top, "width": right - left, "height": bottom - top}
    return {name: round(side, 4) for name, side in sides.items()} | {"text": box.said, "kind": kind}
