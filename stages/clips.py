"""The clips that a split uses -> their frames at one rate and size, so that training decodes no video.

    python -m stages.clips --params clips.action.embedded --clean data/clean/action --splits data/splits/action
        --work .work/clips --out data/clips/action

`out` holds a copy of everything in data/clean/action, so it can stand for it, and beside that shards (stages/shards.py) of all
clips that are in a part of any version, in the order of their ids: a tensor `jpeg`, uint8 (bytes,), JPEG files end to end.
    index.parquet   of each clip sample_id, shard, row, and
        offsets             stored frame k is bytes offsets[k] to offsets[k + 1] of the tensor
        shown               frame n of the clip, at `fps`, is stored frame shown[n] (stages/conform.py); a source frame that
                            is shown several times is stored once
        width_px, height_px of the stored frames
        source_frames       frames of the clip as it came
    made.json       `settings`, and `counts` of what was done
`stages/stored_clips.py` reads them. Killed, the same command goes on behind the last shard; where one of `out` is damaged, it
names it and makes that one anew. A clip that changed since `clean` is refused.

Why JPEG, and not the pixels (benchmarks/clips.py, three clips of Animal Kingdom): it takes 7 % of the bytes, for the document's
1,080 clips some 4 GB instead of 55, which a machine keeps in memory. Where both are there, JPEG gives 0.7 of the samples a
second, still a hundred times what a core trains R50 on; decoding the videos each time gives a third of JPEG's.
"""

import argparse
import contextlib
import multiprocessing
import os
import pickle
import shutil
import signal
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field
from tqdm import tqdm

from stages.archives import require_space
from stages.clean_videos import folder_sha256
from stages.command import run
from stages.conform import on_screen
from stages.files import MANIFEST, DataError, require_manifest, sha256_file
from stages.fingerprint import code_in_use, key_of, versions
from stages.pictures import LostPicture, UnreadablePicture, jpeg, resize
from stages.samples import PARTS_CSV, UNUSED, Samples, read_samples, read_version
from stages.settings import Record, read_params, section
from stages.shards import Unfinished
from stages.video_files import every_frame, frame_files

# Frames from a network's first to its last: of 8 and of 32 at rate 2, as the document has it. Shorter clips are counted.
SPANS = (15, 63)
_BYTES_PER_PX = 0.6  # what to have room for: at quality 90 Animal Kingdom's frames take 0.2, KABR's dithered GIFs up to 0.55
_WORTH_PX = 1_000_000_000  # of source frames: what makes up for starting another process
_PASSED = "passed-"  # begins the name of the folder in which processes hand over what they read

Read = tuple[NDArray[np.uint8], dict[str, Any]]  # of one clip, as `read_clip` has it


class ClipsSettings(Record):
    fps: float = Field(30.0, gt=0)  # frames a second that clips are brought to
    short_side_px: int = Field(340, gt=0)  # of the stored frames; smaller ones stay as they are
    jpeg_quality: int = Field(90, ge=1, le=95)
    per_shard: int = Field(64, gt=0)  # clips in a file


@dataclass(frozen=True)
class Job:
    """One clip to be read."""

    sample_id: str
    path: Path  # a video, a GIF or a folder of frames
    sha256: str  # as `clean` found it
    settings: ClipsSettings


def read_clip(job: Job) -> Read:
    """Its stored frames, JPEG files end to end (bytes,), and what the index says of it. Raises LostPicture where it changed."""
    settings, files, shown, count, size = job.settings, list[bytes](), list[int](), 0, (0, 0)
    try:
        if _sha256(job.path) != job.sha256:
            raise LostPicture(f"{job.path}: altered since it was cleaned (sha256 differs). Restore it, or run `dvc repro`")
        for frame, times in on_screen(every_frame(job.path), settings.fps):
            count += 1
            if times:
                size = _stored_size(frame.rgb.shape[1], frame.rgb.shape[0], settings.short_side_px)
                shown += [len(files)] * times
                files.append(jpeg(resize(frame.rgb, *size), settings.jpeg_quality, "4:2:0"))
    except (OSError, UnreadablePicture) as error:
        raise LostPicture(f"{job.path}: cannot be read any more: {error}. Restore it, or run `dvc repro`") from None
    known = {
        "sample_id": job.sample_id,
        "offsets": np.cumsum([0, *map(len, files)]).tolist(),
        "shown": shown,
        "width_px": size[0],
        "height_px": size[1],
        "source_frames": count,
    }
    return np.frombuffer(b"".join(files), dtype=np.uint8), known


def _sha256(path: Path) -> str:
    """As `clean` tells it."""
    if path.is_dir():
        return folder_sha256((file.name, sha256_file(file)) for file in frame_files(path))
    return sha256_file(path)


def _stored_size(width_px: int, height_px: int, short_side_px: int) -> tuple[int, int]:
    share = min(1, short_side_px / min(width_px, height_px))
    return round(width_px * share), round(height_px * share)


def store(
    samples: Samples,
    ids: Iterable[str],
    settings: ClipsSettings,
    work: Path,
    out: Path,
    beside: Sequence[Path] = (),
    workers: int | None = None,
) -> dict[str, Any]:
    """Write `out`, with copies of the files `beside`, and return its made.json. Finished shards are kept in `work` until then.

    `ids` are of `samples`. The bytes are the same whatever the number of `workers`, processes; None: by the work and the cores.
    Raises DataError: LostPicture for a clip that is not as `clean` found it.
    """
    wanted = set(ids)
    clips = samples.pictures.merge(samples.videos, on="sample_id", validate="one_to_one")
    clips = clips[clips["sample_id"].isin(wanted)].sort_values("sample_id", ignore_index=True)
    if missing := sorted(wanted - set(clips["sample_id"])):
        raise DataError(f"{len(missing)} clips are not in the tables, {missing[0]} for example: run `dvc repro`")
    jobs = [Job(row.sample_id, samples.root / row.path, row.sha256, settings) for row in clips.itertuples()]
    parts = {n: jobs[at : at + settings.per_shard] for n, at in enumerate(range(0, len(jobs), settings.per_shard))}
    inputs = [(job.sample_id, job.sha256) for job in jobs]
    key = key_of(settings.model_dump_json(), inputs, versions(), code_in_use())
    unfinished = Unfinished(work / out.name / key, out, len(parts))
    for problem in unfinished.problems:
        print(f"{problem}. It is made anew", file=sys.stderr)
    left = {number: parts[number] for number in unfinished.missing()}
    todo = clips[clips["sample_id"].isin({job.sample_id for job in chain.from_iterable(left.values())})]
    work.mkdir(parents=True, exist_ok=True)
    require_space(work, _needed_bytes(todo, settings), f"{out}: {len(todo)} clips")
    if workers is None:
        source_px = int((todo["frames"] * todo["width_px"] * todo["height_px"]).sum())
        workers = max(1, min(os.cpu_count() or 1, len(todo), source_px // _WORTH_PX))
    with (
        tqdm(total=len(jobs), initial=len(jobs) - len(todo), desc="clips", unit="", disable=None, leave=False) as bar,
        contextlib.closing(_read(chain.from_iterable(left.values()), workers, unfinished.work)) as read,
    ):
        for number, part in left.items():
            tensors, rows, end = [], [], 0
            for tensor, known in islice(read, len(part)):
                tensors.append(tensor)
                rows.append(known | {"offsets": [offset + end for offset in known["offsets"]]})
                end += len(tensor)
                bar.update()
            unfinished.add(number, {"jpeg": np.concatenate(tensors)}, rows)
    made = {"settings": settings.model_dump(), "counts": _counts(clips, unfinished.index())}
    unfinished.finish(made, beside)
    return made


def _needed_bytes(clips: pd.DataFrame, settings: ClipsSettings) -> int:
    """What their stored frames take at most."""
    share = (settings.short_side_px / clips[["width_px", "height_px"]].min(axis=1)).clip(upper=1)
    frames = np.minimum(clips["frames"], clips["seconds"] * settings.fps + 1)
    return int((frames * clips["width_px"] * clips["height_px"] * share**2 * _BYTES_PER_PX).sum())


def _counts(clips: pd.DataFrame, index: pd.DataFrame) -> dict[str, Any]:
    """What was stored, and of how many clips what was done."""
    frames, stored = index["shown"].map(len), index["offsets"].map(len) - 1
    short_px, stored_px = (table[["width_px", "height_px"]].min(axis=1) for table in (clips, index))
    once = frames.eq(stored) & stored.eq(index["source_frames"])
    return {
        "clips": len(index),
        "frames": int(frames.sum()),  # at `fps`
        "stored_frames": int(stored.sum()),
        "bytes": int(index["offsets"].map(lambda offsets: offsets[-1] - offsets[0]).sum()),
        "resampled": int((~once).sum()),  # some frame is shown twice, or left out
        "variable_rate": int(clips["variable_rate"].sum()),
        "rotated": int(clips["rotation_deg"].ne(0).sum()),
        "made_smaller": int(short_px.gt(stored_px).sum()),
        "shorter_than": {f"{span} frames": int(frames.lt(span).sum()) for span in SPANS},  # the last frame repeats
    }


def _read(jobs: Iterable[Job], workers: int, work: Path) -> Generator[Read]:
    """`read_clip` of each, in their order, by so many processes, no more than a few clips ahead.

    They hand over files in a folder of `work`. Through a pipe megabytes come in pieces, and where a process is killed behind
    the first, the one that reads waits for the next without end.
    """
    if workers == 1:
        yield from map(read_clip, jobs)
        return
    for leftover in work.glob(f"{_PASSED}*"):  # of a killed run
        shutil.rmtree(leftover, ignore_errors=True)
    work.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory(prefix=_PASSED, dir=work) as folder,
        ProcessPoolExecutor(workers, context, initializer=_begin) as pool,
    ):
        waiting: deque[tuple[Path, Future[None]]] = deque()

        def first() -> Read:
            path, done = waiting.popleft()
            done.result()
            with path.open("rb") as file:
                read: Read = pickle.load(file)  # what was written a moment ago
            path.unlink()
            return read

        try:
            for number, job in enumerate(jobs):
                path = Path(folder) / str(number)
                waiting.append((path, pool.submit(_pass_on, job, path)))
                if len(waiting) > 2 * workers:
                    yield first()
            while waiting:
                yield first()
        except BrokenProcessPool:
            raise DataError(
                "a process that was reading clips was ended from outside, perhaps as memory ran out. Run the same command "
                "again: it goes on where it was"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


def _pass_on(job: Job, path: Path) -> None:
    read = read_clip(job)
    try:
        with path.open("wb") as file:
            pickle.dump(read, file)
    except OSError as error:
        raise DataError(f"{path}: not written: {error.strerror or error}. Make room and run the same command again") from None


def _begin() -> None:
    """In each process: Ctrl-C is for the parent to answer; when that is killed, this ends too, and waits for no work."""

    def watch() -> None:
        parent = multiprocessing.parent_process()
        assert parent is not None
        parent.join()
        os._exit(1)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=watch, daemon=True).start()
    cv2.setNumThreads(1)


def used(splits: Path, samples: Samples) -> set[str]:
    """Ids of the clips that are in a part of any version. Raises DataError where there is none."""
    ids: set[str] = set()
    for listed in sorted(splits.glob(f"*/{PARTS_CSV}")):
        _, parts = read_version(listed.parent, samples)
        ids |= set(parts.loc[parts["part"] != UNUSED, "sample_id"])
    if not ids:
        raise DataError(f"{splits}: no clip is in a part of any version: there is nothing to store")
    return ids


def main() -> None:
    parser = argparse.ArgumentParser(description="clips -> frames at one rate and size, stored for training")
    parser.add_argument("--params", required=True, help="path of the settings in params.yaml")
    parser.add_argument("--clean", type=Path, required=True, help="the clean stage's output")
    parser.add_argument(
        "--splits", type=Path, required=True, help="the split stage's output: a folder with one for each version"
    )
    parser.add_argument("--work", type=Path, required=True, help="where finished shards are kept until all are")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    args = parser.parse_args()
    settings = section(args.params, ClipsSettings, read_params())
    for folder in (args.clean, args.splits):
        require_manifest(folder)
    samples = read_samples(args.clean)
    if samples.videos.empty:
        raise DataError(f"{args.clean}: no clips there, but photos: this stage is for a data set of clips")
    tables = sorted(path for path in args.clean.iterdir() if path.name != MANIFEST)
    counts = store(samples, used(args.splits, samples), settings, args.work, args.out, tables)["counts"]
    shorter = ", ".join(f"{count} shorter than {span}" for span, count in counts["shorter_than"].items())
    print(
        f"{counts['clips']} clips, {counts['frames']:,} frames at {settings.fps:g} a second, {counts['stored_frames']:,} "
        f"stored in {counts['bytes']:,} bytes; {counts['resampled']} brought to that rate, {counts['variable_rate']} of "
        f"variable rate, {counts['rotated']} turned; {shorter}"
    )


if __name__ == "__main__":
    run(main)
