"""Detector prediction on this machine: ours against plain Ultralytics `predict`, same photos, same weights, by turns.

python benchmarks/predict_yolo.py MODEL CLEAN [N]      MODEL: a trained yolo model's folder; CLEAN: data/clean/<dataset>
"""

import statistics
import sys
import time
from pathlib import Path

from stages.networks import yolo
from stages.networks.yolo.prediction import load
from stages.samples import BOX_COLUMNS, EMPTY, read_samples

# isort: split
import numpy as np
from ultralytics import YOLO

ROUNDS = 5


def plain(folder: Path) -> YOLO:
    network, card = load(folder)
    model = YOLO(f"{card['architecture']}.yaml", verbose=False)
    network.args = model.model.args
    model.model = network
    return model


def main() -> None:
    folder, samples = Path(sys.argv[1]), read_samples(Path(sys.argv[2]))
    pictures = samples.pictures.head(int(sys.argv[3]) if len(sys.argv) > 3 else 300)
    paths = [str(samples.root / path) for path in pictures["path"]]
    _, card = load(folder)
    model, settings = plain(folder), {"imgsz": card["image_px"], "conf": 0.001, "max_det": 100, "verbose": False}
    ways = {
        "ours": lambda: yolo.predict(folder, pictures, samples.root, 16),
        "ultralytics, batch 1": lambda: [model.predict(path, **settings)[0] for path in paths],
        "ultralytics, batch 16": lambda: [
            result
            for start in range(0, len(paths), 16)
            for result in model.predict(paths[start : start + 16], batch=16, **settings)
        ],
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()  # once to warm up
    for _ in range(ROUNDS):
        for name, way in ways.items():
            start = time.perf_counter()
            found = way()
            seconds[name].append(time.perf_counter() - start)
            if name == "ours":
                ours = found
    theirs = found
    ours_best = statistics.median(seconds["ours"])
    for name, times in seconds.items():
        median = statistics.median(times)
        print(f"{name:22} {len(paths) / median:7.1f} pictures/s   ours is {median / ours_best:.2f} times as fast")
    distances = []
    for row, result in zip(pictures.itertuples(), theirs, strict=True):
        own = ours[(ours["sample_id"] == row.sample_id) & (ours["label"] != EMPTY)].head(1)
        if len(own) and len(result.boxes):
            distances.append(np.abs(own[BOX_COLUMNS].to_numpy()[0] - result.boxes.xyxy[0].cpu().numpy()).max() / row.width_px)
    print(f"surest boxes of {len(distances)} pictures: median distance {np.median(distances):.4f} of the picture's width")


if __name__ == "__main__":
    main()
