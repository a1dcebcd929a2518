"""Models that answer by the mean colour of what they are shown, so that every answer of `stages.predict` is known beforehand.

colours-class   a classifier: (red, green, blue) are its scores of fox, deer and empty, made to sum to 1
colours-boxes   a detector: red / 255 is the score of a fox in the upper left quarter, green / 255 of a deer in the lower
                right, blue / 255 of a person in the lower left
colours-crop    a classifier of boxes, behind colours-boxes: the scores of deer and fox are (red, green), made to sum to 1
"""

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from stages import predict, trained
from stages.command import run
from stages.files import sha256_bytes, write_json, write_manifest
from stages.inference import Network
from stages.predictions import BOX, CLASS
from stages.regions import Regions
from stages.views import squeezed

Colour = tuple[int, int, int]
KEYS = ("colours-class", "colours-boxes", "colours-crop")


class Means(torch.nn.Module):
    """uint8 (B, h, w, 3) -> (B, 3), the mean colour of each. Keeps what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.nothing = torch.nn.Parameter(torch.zeros(1))
        self.shown: list[Colour] = []

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        means = batch.double().mean(dim=(1, 2))
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


def network(key: str) -> Network:
    card = {"as_built": "mean colours", "trained_on": {"data": "your data"}, "behind": "colours-boxes"}
    module = Means().eval()

    def view(_width_px: int, _height_px: int) -> Any:
        return squeezed(8)

    if key == "colours-class":
        return Network(card, CLASS, ("fox", "deer", "empty"), module, shares, view)
    if key == "colours-boxes":
        return Network(card, BOX, ("fox", "deer", "person"), module, quarters, view)

    def of_two(means: torch.Tensor, floor: float) -> list[Any]:
        return shares(means, floor, 2)

    return Network(card, CLASS, ("deer", "fox"), module, of_two, view, Regions(0.0, 0.05))


def project(folder: Path) -> None:
    """`models/` and `data/answers/` of the three, as stages leave them; thresholds 0.3, no calibration."""
    for key in KEYS:
        model = folder / "models" / key
        model.mkdir(parents=True)
        write_json(model / "model.json", {"family": "image"})
        (model / "weights.safetensors").write_text(key)
        write_manifest(model)
        answers = folder / "data/answers/mine" / key
        answers.mkdir(parents=True)
        threshold = {} if key == "colours-class" else {"image_threshold": 0.3, "bias": 0.0}
        write_json(answers / "chosen.json", {"temperature": 1.0} | threshold)
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
    predict.settle_threads = lambda _network: None
    sys.argv = ["predict", *arguments]
    run(predict.main)
