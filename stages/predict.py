"""The users' command: a trained model on a folder of photos and videos.

    python -m stages.predict camera_trap-yolov5m-class /media/card

What the network said of each file goes into a journal (stages/journal.py) as it is said, so that a killed run goes on where it
stopped, and another threshold, list of species or sequence needs no second look. Answers and files are made from it.
"""

import argparse
import os
import pickle
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO

import cv2
import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from stages import annotate, media, own_labels, separate, sequences, trained, windows
from stages.command import run as run_command
from stages.entries import CANNOT_BE_READ, Looker, entries
from stages.files import DataError, sha256_file
from stages.formats import actions, camtrap_dp, coco_camera_traps, megadetector, timelapse
from stages.inference import threads
from stages.journal import Journal
from stages.megadetector import Detections
from stages.pictures import RGB, UnreadablePicture
from stages.predictions import BOX, CLASS, JOINTS
from stages.results import ANIMAL, PERSON, VEHICLE, Result, Run, kind_of
from stages.samples import EMPTY
from stages.summary import Summary, printable
from stages.trained import Model
from stages.verdicts import Rules, ordered, results

_KEPT_SHARE = 0.1  # of the threshold: boxes less sure are not written down
_USUAL_THRESHOLD = 0.05  # where validation chose none
_JOURNAL = "journal.jsonl"
BATCH_SIZE, BATCH_SIZE_GPU = 8, 32  # of a CPU's cache, larger batches are slower (docs/benchmarks.md)

HELP = """\
Finds out what is on photos and videos with a trained model, and writes tables that other programs read.

  python -m stages.predict camera_trap-yolov5m-class /media/card
  python -m stages.predict camera_trap-yolov5m-class /media/card --sequence-gap 60 --annotated
  python -m stages.predict camera_trap-crop-efficientnet-class /media/card --boxes megadetector.json
  python -m stages.predict activity-pose photos --annotated          people and their joints
  python -m stages.predict activity-rgb-heatmap photos --annotated   and what they do
  python -m stages.predict action-kinetics-100 videos --fps 2 --annotated
                                                                     what animals do in videos and GIFs, moment by moment

In the folder OUT:
  predictions.csv     a row for each file, as Timelapse imports it: what it shows, how sure, whether to look at it
  megadetector.json   the MegaDetector batch format: for Timelapse, AddaxAI and others
  coco.json           COCO Camera Traps
  camtrap_dp/         Camtrap DP media and observations, with --utc-offset
  actions.csv         of a model of actions: a row for each moment of each video
  annotated/          copies with boxes, skeletons and the heatmap drawn, with --annotated; of actions a film strip
  scores/             how often it was right, with --labels
  journal.jsonl       what the model said of each file so far

Stopped or killed, the same command goes on where it was. Run again with another threshold, species or sequences it makes the
tables anew and looks at no file twice; new files on the card are added. Your own files are only ever read."""


def allowed_species(given: str | None, classes: tuple[str, ...]) -> frozenset[str] | None:
    """The classes of `--species`: names with commas, or a file with one in each line. DataError for one that is unknown."""
    if given is None:
        return None
    path = Path(given)
    text = path.read_text(encoding="utf-8-sig") if os.path.isfile(path) else given.replace(",", "\n")
    species = frozenset(line.strip() for line in text.splitlines() if line.strip())
    if unknown := sorted(species - set(classes)):
        raise DataError(f"--species: the model does not know {', '.join(unknown)}. It knows: {', '.join(sorted(classes))}")
    if not species - {EMPTY}:
        raise DataError(f"--species: none is named. The model knows: {', '.join(sorted(classes))}")
    return species


def settle_threads(looker: Looker) -> None:
    """As many threads as make the network quickest on this machine: one, or one a core. A GPU is left alone."""
    network = looker.detector if looker.detector and looker.heatmaps else looker.network  # joints cost more than activities
    cores = threads()
    if torch.cuda.is_available() or cores == 1:
        return
    if network.clip is not None:
        batch = network.clip.show(np.zeros((network.clip.frames, 3, 4, 3), np.uint8))[None]
    else:
        picture = network.view(4, 3).show(np.zeros((3, 4, 3), np.uint8))
        batch = (np.dstack([picture, picture[..., :1]]) if network.stored else picture)[None]
    seconds = {}
    for count in (cores, 1):
        torch.set_num_threads(count)
        network(batch)
        start = time.perf_counter()
        network(batch)
        seconds[count] = time.perf_counter() - start
    torch.set_num_threads(min(seconds, key=lambda count: seconds[count]))


Known = dict[
    str, tuple[int, int] | None
]  # what the journal has of each file: its bytes and mtime_ns then; None: it was not read


def known(journal: Journal) -> Known:
    """The files that the journal names. Those that could not be read are looked at again: a card may have been out."""
    files: Known = {}
    for _, line in journal.lines():
        lost = str(line.get("failure", "")).startswith(CANNOT_BE_READ)
        files[line["path"]] = None if lost else (line["bytes"], line["mtime_ns"])
    return files


def look(journal: Journal, looker: Looker, found: media.Found, earlier: Known) -> int:
    """Write down what is said of every file that the journal does not have as it is now, and return how many they are."""
    files = found.files
    left = [file for file in files if earlier.get(file.path) != (file.bytes, file.mtime_ns)]
    if left:
        settle_threads(looker)
    bar = tqdm(total=len(files), initial=len(files) - len(left), desc="files", unit="", disable=None, smoothing=0.1)
    with bar:
        said = windows.entries if looker.network.clip else entries
        for entry in said(looker, found.root, left):
            journal.append(entry)
            bar.update()
    return len(left)


def index(journal: Journal, files: list[media.File]) -> pd.DataFrame:
    """path, offset, captured_at and is_video of the journal's line for each file, as the file is now."""
    now = {file.path: file for file in files}
    rows = {}
    for offset, line in journal.lines():
        file = now.get(line["path"])
        if file is not None and (line["bytes"], line["mtime_ns"]) == (file.bytes, file.mtime_ns):
            is_video = file.is_video or "frames" in line  # a GIF may be one
            rows[file.path] = (offset, line.get("captured_at"), is_video)  # a later line is of a later look
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["offset", "captured_at", "is_video"])
    table["captured_at"] = pd.to_datetime(table["captured_at"], format="ISO8601").astype("datetime64[us]")
    return table.rename_axis("path").reset_index()


def sequences_of_list(path: Path, files: list[media.File]) -> dict[str, str]:
    """The sequence of each file, by its path, as `--sequences` says."""
    paths = pd.Series([file.path for file in files])
    ids, strange = sequences.from_file(path, pd.DataFrame({"path": paths}))
    if strange:
        print(f"{path}: {len(strange)} names match no file, {printable(strange[0])} for example", file=sys.stderr)
    return dict(zip(paths, ids, strict=True))


def sequenced(table: pd.DataFrame, gap_s: float | None, listed: dict[str, str] | None) -> pd.DataFrame:
    """The index with a column `sequence`: None where none were asked for."""
    if listed is not None:
        return table.assign(sequence=table["path"].map(listed))
    return table.assign(sequence=None if gap_s is None else sequences.by_gap(table, gap_s))


def write_all(
    every: Callable[[], Iterator[Result]], run: Run, out: Path, zone: timezone | None, review_below: float
) -> Summary:
    """All tables, each gone through once; what a Summary counted on the way."""
    summary = Summary(review_below)

    def counted() -> Iterator[Result]:
        for result in every():
            summary.add(result)
            yield result

    timelapse.write(out / "predictions.csv", counted(), run)
    megadetector.write(out / "megadetector.json", every(), run)
    coco_camera_traps.write(out / "coco.json", every(), run)
    if run.in_windows:
        actions.write(out / "actions.csv", every(), run)
    if zone is not None:
        camtrap_dp.write(out / "camtrap_dp", every(), run, zone)
    return summary


def frame_of(path: Path, number: int, rate: float) -> RGB:
    """One frame of a video that was looked at `rate` times a second."""
    for frame in media.frames(path, rate):
        if frame.number == number:
            return frame.rgb
    raise UnreadablePicture("no_frames", f"frame {number} is not there any more")


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text}: a number from 0 to 1 is wanted")
    return value


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"{text}: a number above 0 is wanted")
    return value


def _utc_offset(text: str) -> timezone:
    try:
        return datetime.strptime(text, "%z").tzinfo or UTC  # type: ignore[return-value]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text}: wanted is the camera clock's distance from UTC, +02:00 or -05:00") from None


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m stages.predict", description=HELP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("model", metavar="MODEL", help="a trained model: its key or folder; a wrong one lists those there are")
    add("paths", metavar="PATH", nargs="+", type=Path, help="folders, searched with all below them, or single files")
    add("--out", type=Path, help="folder to write (predictions/MODEL/<name of the folder>)")
    options = parser.add_argument_group("what is looked at").add_argument
    options("--fps", type=_positive, default=1.0, help="frames, or windows of actions, to begin in each second of a video (1)")
    options("--boxes", type=Path, metavar="JSON", help="MegaDetector results: their boxes are classified (crop models)")
    options(
        "--detector", metavar="MODEL", help="what finds the boxes or joints (crop and heatmap models; the one trained behind)"
    )
    default = BATCH_SIZE_GPU if torch.cuda.is_available() else BATCH_SIZE
    options(
        "--batch-size", type=int, default=default, help=f"pictures shown at a time ({BATCH_SIZE}; {BATCH_SIZE_GPU} on a GPU)"
    )
    options = parser.add_argument_group("what becomes of it").add_argument
    options("--threshold", type=_share, help="boxes less sure do not count (what validation chose)")
    options("--review-below", type=_share, default=0.8, metavar="P", help="answers of less confidence are for a person (0.8)")
    options("--species", metavar="LIST", help="the only possible ones: names with commas, or a file with one in each line")
    options("--sequence-gap", type=_positive, metavar="S", help="photos of a folder up to S seconds apart show one event")
    options("--sequences", type=Path, metavar="FILE", help="which show one event: CSV (path, sequence) or COCO Camera Traps")
    options = parser.add_argument_group("what else is written").add_argument
    options("--annotated", action="store_true", help="copies with what was found drawn in, in OUT/annotated")
    options("--separate", type=Path, metavar="FOLDER", help="copies in FOLDER/person, vehicle, animal, empty, review, failed")
    options("--utc-offset", type=_utc_offset, metavar="+HH:MM", help="the cameras' time zone: Camtrap DP too, which wants one")
    options("--labels", type=Path, metavar="FILE", help="what they show, CSV (path, label) or COCO Camera Traps: scored")
    return parser


def parsed() -> argparse.Namespace:
    """The command line. Raises DataError for options that contradict each other, and files that are not there."""
    words = list(sys.argv[1:])
    if "--utc-offset" in words[:-1]:  # argparse takes -05:00 for an option
        place = words.index("--utc-offset")
        words[place : place + 2] = [f"--utc-offset={words[place + 1]}"]
    args = parser().parse_args(words)
    if args.sequence_gap is not None and args.sequences is not None:
        raise DataError("--sequence-gap and --sequences both say what one event is: give one")
    if args.batch_size < 1:
        raise DataError(f"--batch-size {args.batch_size}: a number above 0 is wanted")
    for path in (args.boxes, args.labels, args.sequences):
        if path is not None and not path.is_file():
            raise DataError(f"{path}: no such file")
    return args


def require_outside(out: Path, run: Run) -> None:
    """Raises DataError where the output lies among the photos: a later run would take drawn copies for photos."""
    for searched in run.searched:
        if out.resolve().is_relative_to(searched.resolve()):
            raise DataError(f"--out {out} lies among the photos in {searched}: name a folder outside")


def say_of_earlier(earlier: Known, files: list[media.File], out: Path) -> None:
    """Say which files of an earlier run are gone; raises DataError where all are: another card at the same place."""
    gone = sorted(earlier.keys() - {file.path for file in files})
    if gone and len(gone) == len(earlier):
        raise DataError(
            f"{out} holds what was found on {len(gone):,} files, none of which is there now, {printable(gone[0])} for example: "
            "another card? Give another --out"
        )
    if gone:
        print(
            f"{len(gone):,} files of an earlier run are gone and leave the tables, {printable(gone[0])} for example",
            file=sys.stderr,
        )


class Spooled:
    """Results gone through several times: worked out the first time, and read back from a temporary file after."""

    def __init__(self, results: Iterator[Result], total: int) -> None:
        self._results, self._total = results, total
        self._file: IO[bytes] | None = None

    def __call__(self) -> Iterator[Result]:
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115  # as long as this object
            for result in tqdm(self._results, total=self._total, desc="answers", unit="", disable=None, leave=False):
                pickle.dump(result, self._file)
        self._file.seek(0)
        for _ in range(self._total):
            yield pickle.load(self._file)  # what was written a moment ago


def score_floor(model: Model, threshold: float | None) -> float:
    """Boxes less sure are not written down: a share of the threshold that validation chose, whatever --threshold says.

    Heatmaps are made of people who are as sure as in training.
    """
    if model.heatmaps is not None:
        return model.heatmaps.score_floor
    usual = trained.PEOPLE_THRESHOLD if model.network.task == JOINTS else _USUAL_THRESHOLD
    floor = _KEPT_SHARE * trained.chosen(model.folder).get("image_threshold", usual)
    if threshold is not None and threshold < 2 * floor:  # people count from half a threshold on
        raise DataError(f"--threshold {threshold}: boxes below {floor:.4g} are not written down: give {2 * floor:.4g} or more")
    return floor


def described(model: Model, found: media.Found, given: list[Path], threshold: float, further: list[str]) -> Run:
    """What this run is, for all that is written. `further` are classes that a file may be given beside the network's own."""
    card = model.network.card
    return Run(
        root=found.root,
        model=model.key,
        as_built=card["as_built"],
        sha256=model.sha256,
        data=card["trained_on"]["data"],
        classes=(*model.network.classes, *further, *([EMPTY] if model.finds_boxes else [])),
        finds_boxes=model.finds_boxes or model.detector is not None,
        threshold=threshold,
        finished_at=datetime.now(UTC),
        searched=tuple(path.absolute() if path.is_dir() else path.absolute().parent for path in given),
        boxes_from=model.boxes_from,
        finds_joints=JOINTS in {network.task for network in (model.network, model.detector) if network},
        heatmaps=model.heatmaps if model.detector else None,
        in_windows=model.network.clip is not None,
    )


def write_copies(every: Callable[[], Iterator[Result]], run: Run, out: Path, args: argparse.Namespace) -> None:
    if args.annotated:
        drawn = annotate.draw(every(), run, out / "annotated", partial(frame_of, rate=args.fps))
        print(f"{drawn:,} annotated copies: {out / 'annotated'}")
    if args.separate:
        apart = separate.separate(every, run, args.separate)
        print(f"{args.separate}: " + ", ".join(f"{apart.files[kind]:,} {kind}" for kind in separate.FOLDERS))
        for problem in apart.lost:
            print(f"not copied: {problem}", file=sys.stderr)


def main() -> None:
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a name may hold what the terminal cannot show
    args = parsed()
    cv2.setNumThreads(0)  # pictures are resized by as many threads as there are cores already
    # What can be wrong is found out before hours of work.
    model = trained.open_model(args.model, args.detector, args.boxes)
    network, chosen, floor = model.network, trained.chosen_for(model, args.threshold), score_floor(model, args.threshold)
    actor = PERSON if model.heatmaps is not None else ANIMAL if network.clip is not None else None
    if args.species and actor == ANIMAL:
        raise DataError(f"{model.key} tells what animals do, not which they are: --species is not for it")
    if args.species and (actor == PERSON or network.task == JOINTS):
        raise DataError(f"--species is for models of animals; {model.key} is one of people")
    species = allowed_species(args.species, network.classes)
    task = BOX if model.finds_boxes else CLASS
    rules = Rules(task, network.classes, chosen, args.review_below, species, actor)
    found = media.find(args.paths)
    clips = network.clip is not None
    labels = own_labels.read(args.labels, found.files, found.root, clips) if args.labels else None
    listed = Detections(args.boxes, [file.path for file in found.files]) if args.boxes else None
    events = sequences_of_list(args.sequences, found.files) if args.sequences else None
    looker = Looker(network, floor, args.fps, args.batch_size, model.detector, listed, model.heatmaps)
    further = [label for label in looker.found_as if kind_of(label) in (PERSON, VEHICLE)]
    further += [ANIMAL] if rules.species is not None and ANIMAL not in network.classes else []
    least = floor if model.heatmaps and model.detector else 0.0
    run = described(model, found, args.paths, chosen.get("box_threshold", chosen.get("image_threshold", least)), further)
    out = args.out or Path("predictions") / model.key / found.root.name
    require_outside(out, run)
    if args.separate:
        separate.check(run, args.separate)
    if run.data == "embedded":
        print(f"{model.key} was trained on drawn pictures: what it says of real ones means nothing", file=sys.stderr)

    about = {
        "model": model.key,
        "weights": model.sha256,
        "boxes": sha256_file(args.boxes) if args.boxes else model.detector_sha256,
        "root": str(found.root),
        "fps": args.fps,
        "least score of a box": floor,
    }
    with Journal(out / _JOURNAL, about) as journal:
        earlier = known(journal)
        say_of_earlier(earlier, found.files, out)
        started = time.perf_counter()
        looked_at = look(journal, looker, found, earlier)
        seconds = time.perf_counter() - started
        table = ordered(sequenced(index(journal, found.files), args.sequence_gap, events))
        offsets, ids = table["offset"].tolist(), table["sequence"].tolist()

        strange = [Result(path, failure=reason) for path, reason in found.unreadable]
        answered = chain(results(zip(journal.at(offsets), ids, strict=True), rules), strange)
        every = Spooled(answered, len(offsets) + len(strange))
        run = replace(run, finished_at=datetime.now(UTC))
        print(write_all(every, run, out, args.utc_offset, args.review_below).table())
        write_copies(every, run, out, args)
        if labels is not None:
            said = journal.at(offsets)
            own_labels.score(labels, found.files, found.root, said, rules, list(run.classes), out / "scores", model.key)
    optional = {"camtrap_dp": args.utc_offset, "annotated": args.annotated, "scores": args.labels}
    if found.left_aside:
        kinds = ", ".join(f"{count:,} {ending}" for ending, count in found.left_aside.most_common(5))
        print(f"left aside, neither photo nor video: {kinds}")
    print(f"{looked_at:,} of {len(found.files):,} files looked at now, in {timedelta(seconds=round(seconds))}; tables in {out}")
    if stale := [name for name, asked in optional.items() if not asked and (out / name).exists()]:
        print(f"of an earlier run, not made anew: {', '.join(str(out / name) for name in stale)}")


def guarded() -> None:
    """`main`, with what the machine refuses told as what it is."""
    try:
        main()
    except BrokenPipeError:  # `| head`
        sys.stderr.close()
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        raise DataError(f"{what}. What was looked at is kept: mend it, and the same command goes on") from None


if __name__ == "__main__":
    run_command(guarded)
