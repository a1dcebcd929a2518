"""The heatmaps stage without its pose network, against the document's way; and training's reading, against training.

    PYTHONPATH=. python benchmarks/heatmaps.py FOLDER [N]      a folder of photos; N pictures of them (128), some several times

The document's way: PIL, a numpy meshgrid for each of 32 joints, float32 .npy, one file a sample with a .txt for its label.
Ours is all of the stage (sha256, decoding, resizing, both heatmaps, shards, manifest), with random people for the network's.
The stage also stores the heatmap of the true joints: `document, both` does so too, and is the same work as ours.
By turns on the same pictures, all on one core, ours on all cores too; where other work runs beside, trust processor time, which
counts all threads.
"""

import os
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import torch
from PIL import Image

from stages.backbones import build
from stages.classifier import Classifier
from stages.files import sha256_file
from stages.heatmaps import HeatmapSettings, make_shards
from stages.inference import Network
from stages.loading import loader
from stages.networks.heatmap.network import FourChannels, HeatmapClassifierSettings, Normalise
from stages.networks.heatmap.stored import Pictures, Stored
from stages.predictions import JOINTS
from stages.samples import BOX_COLUMNS
from stages.shards import SHARDS, Unfinished
from stages.stamps import heatmap
from stages.views import View

ROUNDS, HEIGHT, WIDTH, SIGMA = 3, 480, 640, 8
SETTINGS = HeatmapSettings(height_px=HEIGHT, width_px=WIDTH, sigma_px=SIGMA)
CORES = sorted(os.sched_getaffinity(0))
STORED = 512  # samples to read from
TRAINING = HeatmapClassifierSettings(
    inputs="rgb_heatmap", epochs=1, batch_size=16, learning_rate=0.001, flip=True, light=0.2, workers=0
)
JOINTS_XYC = np.random.default_rng(0).uniform(size=(2, 16, 3))  # of two people, in shares of the picture
BOXES = np.array([[0, 0, 0.5, 1], [0.5, 0, 1, 1]])
FOUND = np.column_stack([BOXES, [0.9, 0.8], [0, 0], JOINTS_XYC.reshape(2, 48)])


class Nothing(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.nothing = torch.nn.Parameter(torch.zeros(1))

    def forward(self, batch):
        return batch


class Corner(View):
    """One pixel, at no cost; shares of the picture are its px."""

    def show(self, rgb):
        return rgb[:1, :1]


NETWORK = Network({}, JOINTS, ("person",), Nothing(), lambda batch, _: [FOUND] * len(batch), lambda _w, _h: Corner(1, 1))


def true_people_of(row):
    """As `samples.true_people` has them: the very people that are found."""
    size = [row.width_px, row.height_px]
    table = pd.DataFrame(BOXES * (size * 2), columns=BOX_COLUMNS).assign(sample_id=row.sample_id, person=range(2))
    return table.assign(joints=list((JOINTS_XYC * [*size, 1]).reshape(2, 48)))


def ours(rows, folder):
    people = pd.concat([true_people_of(row) for row in rows], ignore_index=True)
    parts = dict(enumerate(rows[start : start + 64] for start in range(0, len(rows), 64)))
    unfinished = Unfinished(folder / "work", folder / "out", len(parts))
    for number, tensors, known in make_shards(NETWORK, parts, Path("/"), people, SETTINGS):
        unfinished.add(number, tensors, known)
    unfinished.finish({})
    return folder / "out"


def meshgrid_heatmap():
    out = np.zeros((HEIGHT, WIDTH), dtype=np.float32)
    for x, y, confidence in JOINTS_XYC.reshape(32, 3) * [WIDTH, HEIGHT, 1]:
        across, down = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
        out = np.maximum(out, confidence * np.exp(-((across - x) ** 2 + (down - y) ** 2) / (2 * SIGMA**2)))
    return out


def document(rows, folder, heatmaps=1):
    for row in rows:
        with Image.open(row.path) as image:
            rgb = np.asarray(image.convert("RGB").resize((WIDTH, HEIGHT)), dtype=np.float32)
        channels = [rgb, *(meshgrid_heatmap() for _ in range(heatmaps))]
        np.save(folder / f"{row.sample_id}.npy", np.dstack(channels).astype(np.float32))
        (folder / f"{row.sample_id}.txt").write_text(row.label)
    return folder


def timed(way, rows, cores):
    """(pictures a second, pictures a second of processor time, bytes a picture)."""
    with tempfile.TemporaryDirectory() as folder:
        os.sched_setaffinity(0, cores)
        start, processor = time.perf_counter(), time.process_time()
        made = way(rows, Path(folder))
        seconds, processor = time.perf_counter() - start, time.process_time() - processor
        os.sched_setaffinity(0, CORES)
        size = sum(path.stat().st_size for path in made.rglob("*") if path.is_file())
    return len(rows) / seconds, len(rows) / processor, size / len(rows)


def rate(step, seconds):
    """Calls a second."""
    step()
    calls, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        step()
        calls += 1
    return calls / (time.perf_counter() - start)


def forget(folder):
    """Out of the page cache."""
    for path in (folder / SHARDS).iterdir():
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def reading(folder, pictures):
    """Samples a second of an epoch of training's loader, augmented: (from disk, from the page cache)."""
    forget(folder)
    seconds = []
    for _ in range(2):
        data = Pictures(pictures, Stored(folder, "rgb_heatmap"), ("walking",), TRAINING, 0, training=True)
        start = time.perf_counter()
        assert sum(len(batch) for batch, _, _ in loader(data, TRAINING.batch_size, shuffle_seed=0)) == len(pictures)
        seconds.append(time.perf_counter() - start)
    return tuple(len(pictures) / second for second in seconds)


def consumption(threads):
    """Samples a second of training steps of the document's stage 2, batches of 4."""
    torch.set_num_threads(threads)
    module = Classifier(FourChannels(build("efficientnet_b0", {}, 20)), Normalise("rgb_heatmap", 0.1), TRAINING, [])
    optimizer = torch.optim.Adam(module.network.parameters())
    pictures, classes = torch.zeros(4, HEIGHT, WIDTH, 4, dtype=torch.uint8), torch.zeros(4, dtype=torch.long)

    def step():
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(module(pictures), classes).backward()
        optimizer.step()

    return 4 * rate(step, 10)


def rows_of(paths, count):
    rows = []
    for number in range(count):
        path = paths[number % len(paths)]
        with Image.open(path) as image:
            width_px, height_px = image.size
        known = {
            "sample_id": f"{number:05}",
            "path": str(path),
            "sha256": sha256_file(path),
            "label": "walking",
            "part": "train",
        }
        rows.append(SimpleNamespace(**known, width_px=width_px, height_px=height_px))
    return rows


def spread(values):
    return f"{statistics.median(values):,.1f} ({min(values):,.1f} to {max(values):,.1f})"


def main():
    cv2.setNumThreads(0)  # as the stage does
    paths = sorted(path for path in Path(sys.argv[1]).resolve().rglob("*.jpg"))
    rows = rows_of(paths, int(sys.argv[2]) if len(sys.argv) > 2 else 128)
    sizes = sorted({(row.width_px, row.height_px) for row in rows})
    print(f"{len(rows)} pictures, {sizes[0]} to {sizes[-1]} px; {len(CORES)} cores; medians of {ROUNDS} rounds (range)")

    ways = {
        "document": (document, CORES[:1]),
        "document, both": (partial(document, heatmaps=2), CORES[:1]),
        "ours, one core": (ours, CORES[:1]),
        f"ours, {len(CORES)} cores": (ours, CORES),
    }
    rounds = [{name: timed(way, rows, cores) for name, (way, cores) in ways.items()} for _ in range(ROUNDS)]
    for name in ways:
        wall, processor = (spread([made[name][i] for made in rounds]) for i in (0, 1))
        print(f"{name}: {wall} pictures/s, by processor time {processor}; {rounds[0][name][2]:,.0f} bytes")
        for base in list(ways)[:2] if name.startswith("ours") else ():
            wall, processor = (spread([made[name][i] / made[base][i] for made in rounds]) for i in (0, 1))
            share = rounds[0][name][2] / rounds[0][base][2]
            print(f"    against {base}: {wall} times, by processor time {processor} times; bytes {share:.3f}")

    os.sched_setaffinity(0, CORES[:1])
    joints = JOINTS_XYC.reshape(32, 3) * [WIDTH, HEIGHT, 1]
    both = [(rate(meshgrid_heatmap, 2), rate(lambda: heatmap(joints, HEIGHT, WIDTH, SIGMA), 1)) for _ in range(ROUNDS)]
    stamped, ratios = [fast for _, fast in both], [fast / slow for slow, fast in both]
    print(f"a heatmap of 32 joints: {spread(stamped)} /s, {spread(ratios)} times the meshgrids")
    os.sched_setaffinity(0, CORES)

    with tempfile.TemporaryDirectory() as folder:
        stored = rows_of(paths, STORED)
        out, pictures = ours(stored, Path(folder)), pd.DataFrame(map(vars, stored))
        cold, warm = zip(*(reading(out, pictures) for _ in range(ROUNDS)), strict=True)
    print(f"training reads {STORED} samples in random order: {spread(warm)} samples/s, from disk {spread(cold)}")
    for threads in sorted({1, len(CORES)}):
        eaten = consumption(threads)
        times, from_disk = statistics.median(warm) / eaten, statistics.median(cold) / eaten
        print(
            f"efficientnet_b0 on {threads} threads trains on {eaten:.2f} samples/s: reading is {times:,.0f} times as fast, ",
            end="",
        )
        print(f"from disk {from_disk:,.0f}")


if __name__ == "__main__":
    main()
