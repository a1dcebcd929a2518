"""Models that answer by the mean colour of what they are shown, so that every answer of `stages.predict` is known beforehand.

colours-class   a classifier: (red, green, blue) are its scores of fox, deer and empty, made to sum to 1
colours-boxes   a detector: red / 255 is the score of a fox in the upper left quarter, green / 255 of a deer in the lower
                right, blue / 255 of a person in the lower left
colours-crop    a classifier of boxes, behind colours-boxes: the scores of deer and fox are (red, green), made to sum to 1
colours-pose    finds people: red / 255 is the score of one in the left half, green / 255 of one in the right half, blue / 255 of
                one in the middle; joint j of each lies (j + 0.5) / 16 of its box's way down the middle, sure by (j + 1) / 16
colours-act     what people do, behind colours-pose: the scores of running and sitting are (red, green), made to sum to 1
colours-moves   what animals do, in windows of 3 frames, every other of 10 a second: red / 255 is the score of walking, green / 255
                of flying, blue / 255 of eating
"""

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from stages import predict, trained
from stages.clip_views import Clip
from stages.command import run
from stages.files import sha256_bytes, write_json, write_manifest
from stages.heatmaps import HeatmapSettings
from stages.inference import Network
from stages.predictions import BOX, CLASS, JOINTS
from stages.regions import Regions
from stages.views import View, squeezed

Colour = tuple[int, int, int]
KEYS = ("colours-class", "colours-boxes", "colours-crop", "colours-pose", "colours-act")
MOVES, CLIP = "colours-moves", Clip(frames=3, rate=2, fps=10.0, crop_px=8, views=2, crops=3)
HEATMAPS = HeatmapSettings(height_px=12, width_px=16, sigma_px=1.0, score_floor=0.25)


class Means(torch.nn.Module):
    """uint8 (B, h, w, channels) -> (B, channels), the mean colour of each. Keeps what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.nothing = torch.nn.Parameter(torch.zeros(1))
        self.shown: list[Colour] = []
        self.pictures: list[NDArray[np.uint8]] = []

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        means = batch.double().mean(dim=(1, 2))
        self.shown += [(round(red), round(green), round(blue)) for red, green, blue, *_ in means.tolist()]
        self.pictures += list(batch.numpy())
        return means


class WindowMeans(Means):
    """uint8 (B, V, T, P, P, 3) -> (B, 3), the mean colour of each window. Keeps that of each frame of the first view's."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[list[Colour]] = []
        self.batches: list[tuple[int, ...]] = []

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        self.batches.append(tuple(batch.shape))
        self.frames += [
            [tuple(frame) for frame in window] for window in batch[:, 0].double().mean(dim=(2, 3)).round().int().tolist()
        ]
        means = batch.double().mean(dim=(1, 2, 3, 4))
        self.shown += [(round(red), round(green), round(blue)) for red, green, blue in means.tolist()]
        return means


def shares(means: torch.Tensor, _floor: float = 0.0, channels: int = 3) -> list[Any]:
    return [mean[:channels] / max(mean[:channels].sum(), 1e-9) for mean in means.numpy()]


def quarters(means: torch.Tensor, floor: float) -> list[Any]:
    places = [[0, 0, 4, 4], [4, 4, 8, 8], [0, 4, 4, 8]]
    found = []
    for scores in (means / 255).tolist():
        rows = [[*place, score, number] for number, (place, score) in enumerate(zip(places, scores, strict=True))]
        found.append(np.array(sorted((row for row in rows if row[4] > floor), key=lambda row: -row[4])).reshape(-1, 6))
    return found


def halves(means: torch.Tensor, floor: float) -> list[Any]:
    found = []
    for scores in (means / 255).tolist():
        rows = []
        for left, score in zip([0.0, 4.0, 2.0], scores, strict=True):
            joints = [[left + 2, 8 * (joint + 0.5) / 16, (joint + 1) / 16] for joint in range(16)]
            rows.append([left, 0, left + 4, 8, score, 0, *np.ravel(joints)])
        found.append(np.array(sorted((row for row in rows if row[4] > floor), key=lambda row: -row[4])).reshape(-1, 54))
    return found


def network(key: str) -> Network:
    card = {"as_built": "mean colours", "trained_on": {"data": "your data"}, "behind": "colours-boxes"}
    module = Means().eval()

    def view(_width_px: int, _height_px: int) -> Any:
        return squeezed(8)

    if key == MOVES:
        scores = lambda means, _floor: list((means / 255).numpy())  # noqa: E731
        return Network(
            card, CLASS, ("walking", "flying", "eating"), WindowMeans().eval(), scores, view, clip=CLIP, batch_size=2
        )
    if key == "colours-class":
        return Network(card, CLASS, ("fox", "deer", "empty"), module, shares, view)
    if key == "colours-boxes":
        return Network(card, BOX, ("fox", "deer", "person"), module, quarters, view)
    if key == "colours-pose":
        return Network(card, JOINTS, ("person",), module, halves, view)

    def of_two(means: torch.Tensor, floor: float) -> list[Any]:
        return shares(means, floor, 2)

    if key == "colours-act":
        made = {"pose": "colours-pose", "pose_sha256": sha256("colours-pose"), "settings": HEATMAPS.model_dump()}
        card |= {"inputs": "rgb_heatmap", "heatmaps": made}
        size = View(HEATMAPS.width_px, HEATMAPS.height_px)
        return Network(card, CLASS, ("running", "sitting"), module, of_two, lambda _w, _h: size, stored=lambda _: no_shards)
    return Network(card, CLASS, ("deer", "fox"), module, of_two, view, Regions(0.0, 0.05))


def no_shards(sample_id: str) -> Any:
    raise AssertionError(f"{sample_id}: a user's pictures are stored nowhere")


def project(folder: Path) -> None:
    """`models/` and `data/answers/` of all, as stages leave them; thresholds 0.3, no calibration."""
    for key in (*KEYS, MOVES):
        model = folder / "models" / key
        model.mkdir(parents=True)
        write_json(model / "model.json", {"family": "image"})
        (model / "weights.safetensors").write_text(key)
        write_manifest(model)
        answers = folder / "data/answers/mine" / key
        answers.mkdir(parents=True)
        chosen = {"temperature": 1.0} | (
            {} if key in ("colours-class", "colours-act", MOVES) else {"image_threshold": 0.3, "bias": 0.0}
        )
        write_json(answers / "chosen.json", {} if key == "colours-pose" else chosen)
        write_manifest(answers)


def paint(path: Path, colour: Colour, size: tuple[int, int] = (40, 20), taken: str | None = None, **save: Any) -> Path:
    """A picture of one colour, taken at "2024:05:01 06:00:00" for example."""
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    if taken is not None:
        exif[0x0132] = taken
    Image.new("RGB", size, colour).save(path, exif=exif, **save)
    return path


def sha256(key: str) -> str:
    return sha256_bytes(key.encode())


def slowly(log: str, seconds: float, arguments: list[str]) -> None:
    """The command with networks that take a while, and write each colour they were shown into a file. For other processes."""

    def loaded(folder: Path) -> Network:
        found = network(folder.name)

        def wait(module: Any, _batch: Any, _means: Any) -> None:
            with Path(log).open("a") as file:
                file.writelines(f"{shown}\n" for shown in module.shown)
            module.shown.clear()
            time.sleep(seconds)

        found.module.register_forward_hook(wait)
        return found

    trained.load = loaded
    predict.settle_threads = lambda _looker: None
    sys.argv = ["predict", *arguments]
    run(predict.main)
