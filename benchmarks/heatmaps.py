"""The heatmaps stage without its pose network, against the document's way; and reading its shards, against what trains on them.

    PYTHONPATH=. python benchmarks/heatmaps.py FOLDER [N]      a folder of photos; N pictures of them (64), some several times

The document's way: PIL, a numpy meshgrid for each of 32 joints, float32 .npy, one file a sample with a .txt for its label.
Ours is all of the stage (sha256, decoding, resizing, both heatmaps, shards, manifest), with random people for the network's.
By turns on the same pictures, both on one core, ours on all cores too; where other work runs beside, trust processor time.
"""

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import timm
import torch
from PIL import Image

from stages.files import sha256_file
from stages.heatmaps import HeatmapSettings, Truth, make_shards
from stages.inference import Network
from stages.predictions import JOINTS
from stages.shards import SHARDS, Shards, Unfinished
from stages.stamps import heatmap
from stages.views import View

ROUNDS, HEIGHT, WIDTH, SIGMA = 5, 480, 640, 8
SETTINGS = HeatmapSettings(height_px=HEIGHT, width_px=WIDTH, sigma_px=SIGMA)
CORES = sorted(os.sched_getaffinity(0))
STORED = 512  # samples to read from
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


def ours(rows, folder):
    truths = {
        row.sample_id: Truth(
            np.arange(2), BOXES * ([row.width_px, row.height_px] * 2), JOINTS_XYC * [row.width_px, row.height_px, 1]
        )
        for row in rows
    }
    parts = dict(enumerate(rows[start : start + 64] for start in range(0, len(rows), 64)))
    unfinished = Unfinished(folder / "work", folder / "out", len(parts))
    for number, tensors, known in make_shards(NETWORK, parts, Path("/"), truths, SETTINGS):
        unfinished.add(number, tensors, known)
    unfinished.finish()
    return folder / "out"


def meshgrid_heatmap(dtype=None):
    """As it is plainly written, in float64; or in float32 throughout."""
    out = np.zeros((HEIGHT, WIDTH), dtype=np.float32)
    for x, y, confidence in (JOINTS_XYC.reshape(32, 3) * [WIDTH, HEIGHT, 1]).astype(dtype or np.float64):
        across, down = np.meshgrid(np.arange(WIDTH, dtype=dtype), np.arange(HEIGHT, dtype=dtype))
        out = np.maximum(out, confidence * np.exp(-((across - x) ** 2 + (down - y) ** 2) / (2 * SIGMA**2)))
    return out


def document(rows, folder, dtype=None):
    for row in rows:
        with Image.open(row.path) as image:
            rgb = np.asarray(image.convert("RGB").resize((WIDTH, HEIGHT)), dtype=np.float32)
        np.save(folder / f"{row.sample_id}.npy", np.dstack([rgb, meshgrid_heatmap(dtype)]).astype(np.float32))
        (folder / f"{row.sample_id}.txt").write_text(row.label)
    return folder


def in_float32(rows, folder):
    return document(rows, folder, np.float32)


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


def reading(folder, ids):
    """Samples a second in random batches of 16: (from disk, from the page cache)."""
    names, order = ["rgb", "heatmap"], np.random.default_rng().permutation(ids)
    forget(folder)
    shards = Shards(folder)
    start = time.perf_counter()
    for first in range(0, 128, 16):
        shards.read(order[first : first + 16], names)
    cold = 128 / (time.perf_counter() - start)
    shards.read(ids, names)
    return cold, 16 * rate(lambda: shards.read(np.random.choice(ids, 16), names), 1)


def consumption(threads):
    """Samples a second of a training step of a 4-channel efficientnet_b0, batches of 4."""
    torch.set_num_threads(threads)
    network = timm.create_model("efficientnet_b0", in_chans=4, num_classes=20).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters())
    pictures = torch.zeros(4, 4, HEIGHT, WIDTH).to(memory_format=torch.channels_last)

    def step():
        optimizer.zero_grad()
        network(pictures).logsumexp(1).sum().backward()
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
    rows = rows_of(paths, int(sys.argv[2]) if len(sys.argv) > 2 else 64)
    sizes = sorted({(row.width_px, row.height_px) for row in rows})
    print(f"{len(rows)} pictures, {sizes[0]} to {sizes[-1]} px; {len(CORES)} cores; medians of {ROUNDS} rounds (range)")

    base = "document"
    ways = {
        base: (document, CORES[:1]),
        "document, float32": (in_float32, CORES[:1]),
        "ours, one core": (ours, CORES[:1]),
        f"ours, {len(CORES)} cores": (ours, CORES),
    }
    rounds = [{name: timed(way, rows, cores) for name, (way, cores) in ways.items()} for _ in range(ROUNDS)]
    for name in ways:
        wall, processor = ([made[name][i] / made[base][i] for made in rounds] for i in (0, 1))
        size = rounds[0][name][2]
        print(f"{name:18} {spread([made[name][0] for made in rounds])} pictures/s, {spread(wall)} times; ", end="")
        print(f"by processor time {spread(processor)} times; {size:,.0f} bytes, {size / rounds[0][base][2]:.3f} times")

    os.sched_setaffinity(0, CORES[:1])
    joints = JOINTS_XYC.reshape(32, 3) * [WIDTH, HEIGHT, 1]
    both = [(rate(meshgrid_heatmap, 2), rate(lambda: heatmap(joints, HEIGHT, WIDTH, SIGMA), 1)) for _ in range(ROUNDS)]
    stamped, ratios = [fast for _, fast in both], [fast / slow for slow, fast in both]
    print(f"a heatmap of 32 joints: {spread(stamped)} /s, {spread(ratios)} times the meshgrids")
    os.sched_setaffinity(0, CORES)

    with tempfile.TemporaryDirectory() as folder:
        stored = rows_of(paths, STORED)
        out, ids = ours(stored, Path(folder)), [row.sample_id for row in stored]
        cold, warm = zip(*(reading(out, ids) for _ in range(ROUNDS)), strict=True)
    print(f"random batches of 16 from {STORED} samples: {spread(warm)} samples/s, from disk {spread(cold)}")
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
