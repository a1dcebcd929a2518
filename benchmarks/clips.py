"""How clips are kept for training: JPEG frames against uint8 frames against the videos, as training reads them.

    PYTHONPATH=. python benchmarks/clips.py ../shared/real/animal_kingdom/clips

Real clips at 340 px for squares of 256, each several times, and those of the embedded renderer at 72 px for squares of 64.
A sample is a random window of 8 frames, every other one, augmented as SlowFast's training has it, the same in each way:
    jpeg    the clips stage's shards
    uint8   the same shards, with the frames as they are
    videos  PyAV from the start of the file to the window's last frame; only the window's frames become RGB, and smaller
In turns, one process, one thread; `from disk`: nothing of it was in the page cache before the first of two epochs. Where other
work runs beside, trust processor time. Then decoders on the stored frames, and training steps on the CPU for comparison.
"""

import io
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import av
import cv2
import numpy as np
import pandas as pd
import torch
from PIL import Image
from safetensors import safe_open
from torchvision.io import ImageReadMode, decode_jpeg

from stages.clean_videos import inspect_video
from stages.clips import ClipsSettings, store
from stages.embedded import action
from stages.files import new_folder
from stages.networks.slowfast.clips import Clips
from stages.networks.slowfast.network import Normalise, build
from stages.networks.slowfast.settings import SlowFastSettings
from stages.pictures import decode, resize
from stages.samples import BOXES, VIDEOS, Samples, no_rows
from stages.shards import SHARDS, Unfinished
from stages.stored_clips import StoredClips

ROUNDS, SAMPLES, EPOCHS = 3, 24, 2
REAL = SlowFastSettings(init="scratch")
SETTINGS = ClipsSettings.model_validate({"per_shard": 8})
SMALL = SlowFastSettings(depth=18, stem_width=16, crop_px=64, scale_px=(64, 80))


class Uncompressed(StoredClips):
    def _decoded(self, place, stored):
        if place.shard not in self._opened:
            self._opened[place.shard] = safe_open(self.folder / SHARDS / place.shard, "np")
        width_px, height_px = place.size
        data = self._opened[place.shard].get_slice("jpeg")[place.offsets[stored] : place.offsets[stored + 1]]
        return data.reshape(height_px, width_px, 3)


class Videos:
    """As StoredClips, from the files."""

    def __init__(self, stored, samples):
        self.stored, self.fps, self.require, self.frames = stored, stored.fps, stored.require, stored.frames
        table = samples.pictures.merge(samples.videos, on="sample_id")
        self.about = {row.sample_id: (samples.root / row.path, row.frame_rate, row.frames) for row in table.itertuples()}

    def __call__(self, sample_id, numbers):
        path, rate, count = self.about[sample_id]
        wanted = [min(round(number / self.fps * rate), count - 1) for number in numbers]
        found = {}
        with av.open(str(path)) as container:
            for number, frame in enumerate(container.decode(video=0)):
                if number in wanted:
                    found[number] = resize(frame.to_ndarray(format="rgb24"), *self.stored.size(sample_id))
                if number == max(wanted):
                    break
        return np.stack([found[number] for number in wanted])


def tables(paths, root):
    rows = []
    for number in range(max(SAMPLES, len(paths))):
        path = paths[number % len(paths)]
        found = inspect_video(path)
        rows.append(vars(found) | {"sample_id": f"{number:03}", "path": path.name, "label": "walking"})
    table = pd.DataFrame(rows)
    return Samples(table.drop(columns=list(VIDEOS.columns)[1:]), no_rows(BOXES), root, "", videos=table[list(VIDEOS.columns)])


def uncompressed(stored, folder):
    """The same clips with their frames as they are."""
    index = pd.read_parquet(stored.folder / "index.parquet")
    shards = [part for _, part in index.groupby("shard")]
    unfinished = Unfinished(folder / "work", folder / "uint8", len(shards))
    for number, part in enumerate(shards):
        frames, rows, end = [], [], 0
        for row in part.to_dict("records"):
            first = [row["shown"].tolist().index(k) for k in range(len(row["offsets"]) - 1)]
            frames.append(stored(row["sample_id"], first).ravel())
            offsets = np.linspace(end, end + frames[-1].size, len(first) + 1, dtype=int)
            end = int(offsets[-1])
            known = {name: row[name] for name in ("sample_id", "width_px", "height_px")}
            rows.append(known | {"offsets": offsets.tolist(), "shown": row["shown"].tolist()})
        unfinished.add(number, {"jpeg": np.concatenate(frames)}, rows)
    unfinished.finish({"settings": {"fps": stored.fps}})


def forget(paths):
    """Out of the page cache."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def rate(data):
    """Samples a second, and a second of processor time, which counts all threads."""
    start, processor = time.perf_counter(), time.process_time()
    for epoch in range(EPOCHS):
        for number in np.random.default_rng(epoch).permutation(len(data)).tolist():
            data[epoch, number]
    count = EPOCHS * len(data)
    return count / (time.perf_counter() - start), count / (time.process_time() - processor)


def spread(values, digits=1):
    return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def compared(name, samples, settings):
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        rows = samples.pictures
        start = time.process_time()
        made = store(samples, rows["sample_id"], SETTINGS, folder / "work", folder / "jpeg")
        seconds = time.process_time() - start
        stored = StoredClips(folder / "jpeg")
        uncompressed(stored, folder)
        counts, files = made["counts"], sorted({samples.root / path for path in rows["path"]})
        shards = {way: sorted((folder / way / SHARDS).iterdir()) for way in ("jpeg", "uint8")}
        disk = {**shards, "videos": files}
        clips = {"jpeg": len(rows), "uint8": len(rows), "videos": len(files)}
        size = {way: sum(path.stat().st_size for path in paths) / clips[way] for way, paths in disk.items()}
        width_px, height_px = stored.size(rows["sample_id"].iloc[0])
        print(
            f"\n{name}: {len(files)} clips, {len(rows)} samples of {counts['frames'] / len(rows):.0f} frames, "
            f"{width_px} x {height_px} px; the stage took {seconds / counts['stored_frames'] * 1000:.2f} ms a frame"
        )

        def data(way):
            reader = {"jpeg": StoredClips, "uint8": Uncompressed}.get(way)
            opened = Videos(stored, samples) if reader is None else reader(folder / way)
            return Clips(rows, opened, ("walking",), settings, 0, training=True)

        rates = {(way, cold): [] for cold in (False, True) for way in disk}
        for _ in range(ROUNDS):
            for way in disk:
                forget(disk[way])
                rates[way, True].append(rate(data(way)))
                rates[way, False].append(rate(data(way)))
        for way in disk:
            warm, processor, cold = ([made[i] for made in rates[way, c]] for i, c in ((0, False), (1, False), (0, True)))
            print(
                f"  {way}: {size[way]:,.0f} bytes a clip; {spread(warm)} samples/s, by processor time {spread(processor)}; "
                f"from disk {spread(cold)}"
            )
        for other in ("uint8", "videos"):
            pairs = list(zip(rates["jpeg", False], rates[other, False], strict=True))
            wall, processor = (spread([a[i] / b[i] for a, b in pairs], 2) for i in (0, 1))
            share = size["jpeg"] / size[other]
            print(
                f"  jpeg against {other}: {wall} times the samples/s, by processor time {processor}; {share:.3f} of the bytes"
            )
        decoders(stored, rows["sample_id"].unique())
        return statistics.median(processor for _, processor in rates["jpeg", False])


def decoders(stored, ids):
    """ms for a stored frame."""
    jpegs = []
    for name in ids[:3]:
        place = stored._place(name)
        stored(name, [0])
        tensor = stored._opened[place.shard].get_slice("jpeg")
        jpegs += [tensor[a:b] for a, b in zip(place.offsets[:-1], place.offsets[1:], strict=True)]
    ways = {
        "OpenCV": lambda data: cv2.imdecode(data, cv2.IMREAD_COLOR_RGB),
        "torchvision": lambda data: decode_jpeg(torch.from_numpy(data), mode=ImageReadMode.RGB),
        "PIL": lambda data: np.asarray(Image.open(io.BytesIO(data.tobytes()))),
        "pictures.decode": lambda data: decode(data.tobytes())[0],
    }
    same = all(np.array_equal(ways["OpenCV"](data), ways["PIL"](data)) for data in jpegs)
    times = {way: [] for way in ways}
    for _ in range(ROUNDS):
        for way, read in ways.items():
            start = time.process_time()
            for data in jpegs:
                read(data)
            times[way].append((time.process_time() - start) / len(jpegs) * 1000)
    told = ", ".join(f"{way} {spread(values, 3)}" for way, values in times.items())
    print(f"  ms a stored frame: {told}; OpenCV's pixels {'are' if same else 'ARE NOT'} PIL's")


def consumption(settings, batch, steps):
    """Samples of training steps, on one thread, for a second of processor time."""
    torch.set_num_threads(1)
    normalise, network = Normalise((0.45,) * 3, (0.225,) * 3), build(settings, 9)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    px = settings.crop_px
    clips, classes = torch.zeros(batch, settings.frames, px, px, 3, dtype=torch.uint8), torch.arange(batch)

    def step():
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(normalise(clips)), classes).backward()
        optimizer.step()

    step()
    start = time.process_time()
    for _ in range(steps):
        step()
    return batch * steps / (time.process_time() - start)


def main():
    cv2.setNumThreads(0)
    root = Path(sys.argv[1]).resolve()
    real = compared("real", tables(sorted(root.glob("*.mp4")), root), REAL)
    with tempfile.TemporaryDirectory() as folder:
        scenes = action.ActionScenes(train=2, test=1)
        with new_folder(Path(folder) / "drawn") as out:
            for plan in action.plan(scenes, 0):
                (out / f"{plan.number:03}.mp4").write_bytes(action.video(plan, scenes))
        drawn = Path(folder) / "drawn"
        small = compared("drawn", tables(sorted(drawn.glob("*.mp4")), drawn), SMALL)
    jobs = (("R50 at 256 px", REAL, 2, 2, real), ("the embedded profile's", SMALL, 8, 10, small))
    for name, settings, batch, steps, read in jobs:
        eaten = [consumption(settings, batch, steps) for _ in range(ROUNDS)]
        times = read / statistics.median(eaten)
        eaten = spread(eaten, 2)
        print(f"\n{name} on one thread trains on {eaten} samples/s of processor time: reading is {times:,.1f} times as fast")


if __name__ == "__main__":
    main()
