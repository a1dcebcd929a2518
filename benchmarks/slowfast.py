"""Training of SlowFast: clips a second of our step, and of our whole loop with loading, against a bare pytorchvideo loop.

    PYTHONPATH=. python benchmarks/slowfast.py [CLIPS [FRAMES ...]]      256 clips, 8 and 32 frames, unless told

On a GPU R50 at 256 px in bfloat16, on a CPU the embedded profile's small one at 64 px; batches of 8, SGD. By turns, three
rounds: the bare loop on a batch that lies on the device, in each of the two memory formats; our training
(`stages.networks.slowfast.train`: Lightning's loop, checks, logs) on such a batch; our training on stored clips, decoded and
augmented as the document has it; and the loader alone. Times are of whole epochs' steps but the first five; validation and the
state that is written after each epoch are not in them.
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
import torch
from torch import nn

from stages import training
from stages.inference import device
from stages.loading import loader
from stages.networks import Job, slowfast
from stages.networks.slowfast.clips import Clips
from stages.networks.slowfast.network import build, slow_of
from stages.networks.slowfast.settings import SlowFastSettings
from stages.shards import Unfinished
from stages.stored_clips import StoredClips

CLASSES, WARM_UP, ROUNDS, SECONDS, FPS = 9, 5, 3, 3, 30.0


def chosen(frames: int) -> SlowFastSettings:
    small = {} if device() == "cuda" else {"depth": 18, "stem_width": 16, "crop_px": 64, "scale_px": (64, 76)}
    return SlowFastSettings.model_validate({"frames": frames, "epochs": 3, "warmup_epochs": 1, "views": 1, "crops": 1, **small})


def store(folder: Path, count: int, short_px: int) -> pd.DataFrame:
    """`count` clips of SECONDS as the clips stage stores them, 16:9, with as much detail as films have; and their table."""
    rng = np.random.default_rng(0)
    width_px, frames = round(short_px * 16 / 9), int(SECONDS * FPS)
    rough = cv2.resize(
        rng.integers(0, 256, (20, 36, 3), dtype=np.uint8), (2 * width_px, short_px), interpolation=cv2.INTER_CUBIC
    )
    files = []
    for number in range(frames):  # the picture moves past, with grain of its own in each frame
        frame = rough[:, (number * 5) % width_px :][:, :width_px]
        noisy = np.clip(frame + rng.normal(0, 6, frame.shape), 0, 255).astype(np.uint8)
        files.append(cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, 90])[1])
    jpeg, offsets = np.concatenate(files), np.cumsum([0, *map(len, files)])
    ids = [f"{number:05}" for number in range(count)]
    shards = [ids[start : start + 32] for start in range(0, count, 32)]
    unfinished = Unfinished(folder / "work", folder / "clips", len(shards))
    for number, names in enumerate(shards):
        rows = [
            {"sample_id": name, "offsets": (offsets + k * len(jpeg)).tolist(), "shown": list(range(frames)),
             "width_px": width_px, "height_px": short_px}
            for k, name in enumerate(names)
        ]  # fmt: skip
        unfinished.add(number, {"jpeg": np.tile(jpeg, len(names))}, rows)
    unfinished.finish({"settings": {"fps": FPS}})
    print(f"{count} clips of {frames} frames of {width_px} x {short_px} px, {len(jpeg) / frames / 1e3:.0f} kB a frame")
    return pd.DataFrame({"sample_id": ids, "label": [f"c{number % CLASSES}" for number in range(count)]})


class Resident:
    """The same batch again and again, on the device."""

    def __init__(self, settings: SlowFastSettings, batches: int) -> None:
        size, side = settings.batch_size, settings.crop_px
        clips = torch.randint(0, 256, (size, settings.frames, side, side, 3), dtype=torch.uint8, device=device())
        targets = torch.randint(CLASSES, (size,), device=device())
        self.batch, self.batches = (clips, targets, torch.arange(size, device=device())), batches

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[Any]:
        return iter([self.batch] * self.batches)


def finished() -> None:
    if device() == "cuda":
        torch.cuda.synchronize()


def bare(settings: SlowFastSettings, steps: int, memory_format: torch.memory_format) -> float:
    """Clips a second of forward, backward and SGD, as one would write it by hand."""
    blocks = build(settings, CLASSES).blocks
    network = nn.Sequential(*blocks).to(device()).to(memory_format=memory_format).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=0.0001, nesterov=True)
    clips, targets, _ = Resident(settings, 1).batch
    for step in range(WARM_UP + steps):
        if step == WARM_UP:
            finished()
            start = time.perf_counter()
        with torch.autocast(device(), torch.bfloat16, enabled=device() == "cuda"):
            fast = ((clips.float() / 255 - 0.45) / 0.225).permute(0, 4, 1, 2, 3).contiguous(memory_format=memory_format)
            loss = nn.functional.cross_entropy(network([slow_of(fast, settings.alpha), fast]), targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    finished()
    return steps * settings.batch_size / (time.perf_counter() - start)


def ours(settings: SlowFastSettings, table: pd.DataFrame, folder: Path, resident: bool) -> list[float]:
    """Clips a second of each epoch's steps."""
    speeds: list[float] = []
    learner, of_stage = slowfast.Learner, training.loader
    batches = len(table) // settings.batch_size

    class Timed(learner):  # type: ignore[misc, valid-type]
        def on_train_batch_start(self, _batch: Any, number: int) -> None:
            if number == WARM_UP:
                finished()
                self.started = time.perf_counter()

        def on_train_batch_end(self, _outputs: Any, _batch: Any, number: int) -> None:
            if number == batches - 1:
                finished()
                speeds.append((batches - WARM_UP) * settings.batch_size / (time.perf_counter() - self.started))

    slowfast.Learner = Timed
    if resident:
        training.loader = lambda _items, _size, **of_train: Resident(settings, batches if of_train else 1)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            out = Path(scratch) / "out"
            out.mkdir()
            classes = tuple(f"c{number}" for number in range(CLASSES))
            val = table.head(settings.batch_size)
            places = {"work": Path(scratch) / "work", "models": out, "needs": out, "out": out, "tables": folder / "clips"}
            slowfast.train(settings, Job(table, val, pd.DataFrame(), classes, folder, "embedded", seed=1, **places))
    finally:
        slowfast.Learner, training.loader = learner, of_stage
    return speeds


def loading(settings: SlowFastSettings, table: pd.DataFrame, folder: Path) -> list[float]:
    """Clips a second that the loader gives where nobody trains, in each of three epochs."""
    classes = tuple(f"c{number}" for number in range(CLASSES))
    clips = Clips(table, StoredClips(folder / "clips"), classes, settings, 1, training=True)
    batches, speeds = loader(clips, settings.batch_size, shuffle_seed=1), []
    for _ in range(3):
        start = time.perf_counter()
        count = sum(len(batch[2]) for batch in batches)
        speeds.append(count / (time.perf_counter() - start))
    return speeds


def main() -> None:
    count, *numbers = [int(word) for word in sys.argv[1:]] or [256]
    name = torch.cuda.get_device_name() if device() == "cuda" else "CPU"
    print(f"{name}, torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        table = store(folder, count, 340 if device() == "cuda" else 76)
        for frames in numbers or (8, 32):
            settings = chosen(frames)
            steps = count // settings.batch_size - WARM_UP
            found: dict[str, list[float]] = {"bare": [], "bare, channels last": [], "step": [], "loop": [], "loader": []}
            for _ in range(ROUNDS):
                found["bare"].append(bare(settings, steps, torch.contiguous_format))
                found["bare, channels last"].append(bare(settings, steps, torch.channels_last_3d))
                found["step"] += ours(settings, table, folder, resident=True)[1:]
                found["loop"] += ours(settings, table, folder, resident=False)[1:]
                found["loader"] += loading(settings, table, folder)[1:]
            middle = {name: float(np.median(values)) for name, values in found.items()}
            best = max(middle["bare"], middle["bare, channels last"])
            said = ", ".join(f"{name} {value:,.1f} ({value / best:.2f})" for name, value in middle.items())
            print(f"R{settings.depth}, {frames} frames, {settings.crop_px} px: clips/s {said}", flush=True)


if __name__ == "__main__":
    main()
