"""A tiny data set with a split, and `stages.synthesize` on it, for the tests of synthetic pictures."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from stages import generators
from stages.files import write_json, write_manifest
from stages.pictures import RGB, inspect
from stages.samples import BOXES, SAMPLES, TEST, TRAIN
from stages.settings import section
from stages.synthesize import SynthesizeSettings

SEED = 7
SETTINGS: dict[str, Any] = {
    "generator": "renderer",
    "using": {"side_px": 32},
    "actions": {"lying": "lying down", "running": "running fast"},
    "species": ["cat", "cow"],
    "views": ["side", "front"],
    "prompt": "a photo of a {species} {action}, {view} view",
    "count": {"lying": 5, "running": 3},
}


def pattern(seed: int, side_px: int) -> RGB:
    """Coarse coloured noise: no two look alike."""
    small = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((side_px, side_px), Image.Resampling.BICUBIC))


def drawn(_action: str, _species: str, _view: str, seed: int, side_px: int) -> RGB:
    return pattern(seed, side_px)


class World:
    """A clean data set of 9 photos and its split below the working folder, and the stage's command."""

    def __init__(self, folder: Path, stage: Callable[..., Any]) -> None:
        self.stage = stage
        rows = []
        (folder / "photos").mkdir()
        for number, label in enumerate(["lying", "lying", "running", *["standing"] * 4, "lying", "standing"]):
            path = folder / f"photos/{number}.png"
            Image.fromarray(pattern(number, 40)).save(path)
            name = f"photo{number}"
            found = vars(inspect(path.read_bytes()))
            rows.append({"sample_id": name, "path": path.name, "label": label, "seq_id": name, "note": "", **found})
        types = {"frame_num": "Int64", "captured_at": "datetime64[us]"}
        photos = pd.DataFrame(rows, columns=list(SAMPLES.columns)).astype(types)
        texts = [name for name, column in SAMPLES.columns.items() if str(column.dtype).startswith("str")]
        photos[texts] = photos[texts].astype("str").where(photos[texts].notna(), None)
        (folder / "clean").mkdir()
        photos.to_parquet(folder / "clean/samples.parquet")
        boxes = {name: str(column.dtype) for name, column in BOXES.columns.items()}
        pd.DataFrame(columns=list(boxes)).astype(boxes).to_parquet(folder / "clean/boxes.parquet")
        write_json(folder / "clean/source.json", {"root": str(folder / "photos"), "data": "embedded"})
        write_manifest(folder / "clean")
        (folder / "splits/all").mkdir(parents=True)
        parts = pd.DataFrame({"sample_id": photos["sample_id"], "part": [TRAIN] * 7 + [TEST] * 2})
        parts.to_csv(folder / "splits/all/parts.csv", index=False)
        write_manifest(folder / "splits")
        (folder / "params.checked.json").write_text("{}")

    def synthesize(
        self, out: str = "synthetic", *, seed: int = SEED, agree: str = "params.checked.json", **changes: Any
    ) -> Any:
        arguments = {"params": "synthetic", "clean": "clean", "split": "splits/all", "agree": agree, "seed": seed,
                     "work": "work", "out": out}  # fmt: skip
        words = [word for name, value in arguments.items() for word in (f"--{name}", value)]
        return self.stage("synthesize", *words, params={"synthetic": SETTINGS | changes})


def settings(**changes: Any) -> SynthesizeSettings:
    return section("it", SynthesizeSettings, {"it": SETTINGS | changes})


def open_generator(name: str, **using: Any) -> Any:
    chosen = generators.find(name)
    return chosen.open_generator(section("using", chosen.SETTINGS, {"using": using}))


def provenance(out: str = "synthetic") -> pd.DataFrame:
    return pd.read_csv(f"{out}/provenance.csv", keep_default_na=False).set_index("sample_id")


def manifest(out: str) -> bytes:
    return Path(out, "manifest.json").read_bytes()
