"""Training: pictures a second of our step, and of our whole loop with loading, against a bare timm loop. Meant for a GPU.

    PYTHONPATH=. python benchmarks/training.py [PHOTOS [BATCH_SIZE ...]]      4096, and 32 and 128, unless told

ResNet50 and ViT-B/16 at 224 px (bfloat16 on a GPU), all parameters trained by AdamW. By turns, three rounds: the bare loop on
batches that lie on the device; our training (`stages.networks.image.train`: Lightning's loop, checks, logs) on such batches;
and our training on JPEG files, augmented as the document has it. Times are of whole epochs' steps but the first five;
validation and the state that is written after each epoch are not in them, they are said apart.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import timm
import torch
from torch import nn

from stages import training
from stages.files import sha256_file
from stages.inference import device
from stages.networks import Job, image
from stages.settings import section

PHOTO_PX, SIDE_PX, CLASSES, WARM_UP, ROUNDS = 320, 224, 4, 5, 3
ARCHITECTURES = ("resnet50", "vit_base_patch16_224")
AUGMENTED = {"flip": True, "zoom": 1.2, "rotate_deg": 15.0, "shift": 0.1, "shear_deg": 10.0}


def photos(root: Path, count: int) -> pd.DataFrame:
    """A samples table of `count` JPEGs with as much detail as photos have; a few contents, each under many names."""
    rng = np.random.default_rng(0)
    contents = []
    for _ in range(64):
        rough = cv2.resize(
            rng.integers(0, 256, (20, 20, 3), dtype=np.uint8), (PHOTO_PX, PHOTO_PX), interpolation=cv2.INTER_CUBIC
        )
        noisy = np.clip(rough + rng.normal(0, 12, rough.shape), 0, 255).astype(np.uint8)
        contents.append(cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())
    rows = []
    for number in range(count):
        path = root / f"{number:05}.jpg"
        path.write_bytes(contents[number % len(contents)])
        rows.append({"sample_id": path.stem, "path": path.name, "sha256": sha256_file(path), "label": f"c{number % CLASSES}"})
    return pd.DataFrame(rows).assign(width_px=PHOTO_PX, height_px=PHOTO_PX)


class Resident:
    """The same batch again and again, on the device."""

    def __init__(self, batch_size: int, batches: int) -> None:
        pictures = torch.randint(0, 256, (batch_size, SIDE_PX, SIDE_PX, 3), dtype=torch.uint8, device=device())
        targets = torch.randint(CLASSES, (batch_size,), device=device())
        self.batch, self.batches = (pictures, targets, torch.arange(batch_size, device=device())), batches

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[Any]:
        return iter([self.batch] * self.batches)


def finished() -> None:
    if device() == "cuda":
        torch.cuda.synchronize()


def bare(architecture: str, batch_size: int, steps: int) -> float:
    """Pictures a second of forward, backward and AdamW, as one would write it by hand."""
    network = timm.create_model(architecture, num_classes=CLASSES).to(device()).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.0003)
    pictures, targets, _ = Resident(batch_size, 1).batch
    for step in range(WARM_UP + steps):
        if step == WARM_UP:
            finished()
            start = time.perf_counter()
        with torch.autocast(device(), torch.bfloat16, enabled=device() == "cuda"):
            normalised = (pictures.permute(0, 3, 1, 2).float() - 127.5) / 64
            loss = nn.functional.cross_entropy(network(normalised), targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    finished()
    return steps * batch_size / (time.perf_counter() - start)


def ours(architecture: str, batch_size: int, table: pd.DataFrame, root: Path, resident: bool) -> tuple[list[float], float]:
    """Pictures a second of each epoch's steps, and the share of the whole training's time that they are not."""
    speeds: list[float] = []
    spent: list[float] = []
    learner, loader = image.Learner, training.loader
    batches = len(table) // batch_size

    class Timed(learner):  # type: ignore[misc, valid-type]
        def on_train_batch_start(self, _batch: Any, number: int) -> None:
            if number in (0, WARM_UP):
                finished()
                self.started = time.perf_counter()

        def on_train_batch_end(self, _outputs: Any, _batch: Any, number: int) -> None:
            if number in (WARM_UP - 1, batches - 1):
                finished()
                spent.append(time.perf_counter() - self.started)
            if number == batches - 1:
                speeds.append((batches - WARM_UP) * batch_size / spent[-1])

    settings = section("m", image.SETTINGS, {"m": {
        "architecture": architecture, "image_px": SIDE_PX, "epochs": 3, "patience": 3, "batch_size": batch_size,
        "learning_rate": 0.0003, **AUGMENTED,
    }})  # fmt: skip
    image.Learner = Timed
    if resident:
        training.loader = lambda _items, size, **of_train: Resident(size, batches if of_train else 1)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            out = Path(scratch) / "out"
            out.mkdir()
            classes = tuple(f"c{number}" for number in range(CLASSES))
            val = table.head(batch_size)
            job = Job(
                table,
                val,
                pd.DataFrame(),
                classes,
                root,
                "embedded",
                seed=1,
                work=Path(scratch) / "work",
                models=out,
                needs=out,
                out=out,
            )
            start = time.perf_counter()
            image.train(settings, job)
            whole = time.perf_counter() - start
    finally:
        image.Learner, training.loader = learner, loader
    return speeds, 1 - sum(spent) / whole


def main() -> None:
    count, *sizes = [int(word) for word in sys.argv[1:]] or [4096]
    name = torch.cuda.get_device_name() if device() == "cuda" else "CPU"
    print(f"{name}, torch {torch.__version__}, timm {timm.__version__}, {count} JPEGs of {PHOTO_PX} px")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        table = photos(root, count)
        for architecture in ARCHITECTURES:
            for size in sizes or (32, 128):
                found: dict[str, list[float]] = {"bare": [], "step": [], "first epoch": [], "loop": []}
                for _ in range(ROUNDS):
                    found["bare"].append(bare(architecture, size, len(table) // size))
                    found["step"] += ours(architecture, size, table, root, resident=True)[0][1:]
                    speeds, rest = ours(architecture, size, table, root, resident=False)
                    found["first epoch"].append(speeds[0])
                    found["loop"] += speeds[1:]
                middle = {name: float(np.median(values)) for name, values in found.items()}
                said = ", ".join(f"{name} {value:,.0f} ({value / middle['bare']:.2f})" for name, value in middle.items())
                print(
                    f"{architecture} batch {size}: pictures/s {said}; {rest:.0%} of a training's time is none of these",
                    flush=True,
                )


if __name__ == "__main__":
    main()
