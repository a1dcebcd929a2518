"""Prediction on a folder: ours against plain loops of the model's own library, reading included, by turns on the same photos.

    python benchmarks/predict.py MODEL PHOTOS [N]      MODEL: a trained model's folder, of family yolo or image

Ours is all that `stages.predict` does up to its tables: reading, looking, the journal. The peers: Ultralytics' `predict` for
YOLO, one by one and in batches; a timm-like loop for classifiers (PIL, torchvision transforms, a DataLoader with as many
workers as there are cores, and with none). Every way runs with one PyTorch thread and with one a core; its better counts.
"""

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms as T

from stages import media
from stages.entries import Looker, entries
from stages.journal import Journal
from stages.predict import BATCH_SIZE
from stages.trained import open_model

ROUNDS, BATCH = 5, 16
CORES = os.cpu_count() or 1


def ours(model, files, root, batch_size):
    with tempfile.TemporaryDirectory() as folder, Journal(Path(folder) / "journal.jsonl", {}) as journal:
        for entry in entries(Looker(model.network, 0.01, 1.0, batch_size), root, files):
            journal.append(entry)


def ultralytics(model, paths):
    from ultralytics import YOLO

    from stages.backbones import load_exactly
    from stages.networks.yolo.network import build

    card = model.network.card
    network = build(card["plan"], card["classes"][:-1], card["head_width"])
    load_exactly(network, model.folder / "weights.safetensors", card["as_built"])
    plain = YOLO(f"{card['architecture']}.yaml", verbose=False)
    network.args = plain.model.args
    plain.model = network.eval()
    settings = {"imgsz": card["image_px"], "conf": 0.01, "max_det": 100, "verbose": False}
    return {
        "Ultralytics, one by one": lambda: [plain.predict(path, **settings)[0] for path in paths],
        f"Ultralytics, batches of {BATCH}": lambda: [
            result
            for start in range(0, len(paths), BATCH)
            for result in plain.predict(paths[start : start + BATCH], batch=BATCH, **settings)
        ],
    }


class Photos(Dataset):
    def __init__(self, paths, transform):
        self.paths, self.transform = paths, transform

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, i):
        with Image.open(self.paths[i]) as image:
            return self.transform(image.convert("RGB"))


def timm_like(model, paths):
    card, network = model.network.card, model.network.module.network
    side = card["image_px"]
    transform = T.Compose([T.Resize((side, side), antialias=True), T.ToTensor(), T.Normalize(card["mean"], card["std"])])

    def loop(workers):
        with torch.inference_mode():
            for batch in DataLoader(Photos(paths, transform), BATCH, num_workers=workers):
                network(batch).softmax(1)

    return {f"timm, {workers} workers": lambda workers=workers: loop(workers) for workers in sorted({0, CORES})}


def main():
    model = open_model(sys.argv[1], None, None)
    found = media.find([Path(sys.argv[2])])
    files = [file for file in found.files if not file.is_video][: int(sys.argv[3]) if len(sys.argv) > 3 else 300]
    paths = [str(found.root / file.path) for file in files]
    ways = {f"ours, batches of {size}": lambda size=size: ours(model, files, found.root, size) for size in (BATCH_SIZE, BATCH)}
    ways |= (ultralytics if model.network.card["family"] == "yolo" else timm_like)(model, paths)
    seconds = {(name, threads): [] for name in ways for threads in sorted({1, CORES})}
    for round_ in range(ROUNDS + 1):
        for name, threads in seconds:
            torch.set_num_threads(threads)
            start = time.perf_counter()
            ways[name]()
            if round_:  # the first warms up
                seconds[name, threads].append(time.perf_counter() - start)
    best = {name: min(statistics.median(seconds[name, t]) for n, t in seconds if n == name) for name in ways}
    print(f"{model.key}: {model.network.card['as_built']}; {len(paths)} photos, {CORES} cores, median of {ROUNDS}")
    for name in ways:
        times = ", ".join(
            f"{t} threads {len(paths) / statistics.median(seconds[name, t]):.1f}" for n, t in seconds if n == name
        )
        print(f"{name:28} {times} photos/s   ours is {best[name] / best[f'ours, batches of {BATCH_SIZE}']:.2f} times as fast")


if __name__ == "__main__":
    main()
