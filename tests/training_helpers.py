"""Tiny pictures, tables and settings for the tests of training. Nothing here is drawn from the project's own renderer."""

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from stages.files import write_json, write_manifest
from stages.fit import Keeper
from stages.networks import Job
from stages.networks.image.settings import ImageSettings
from stages.samples import BOX_COLUMNS, BOXES, PARTS_CSV, check_tables

# Networks this small are slower on two threads than on one, and far slower beside other test processes.
torch.set_num_threads(1)

COLOURS = {"blue": (30, 60, 210), "red": (210, 40, 30)}
WEIGHTS = Path(__file__).parent.parent.parent / "shared/weights"

Done = TypeVar("Done")


def killed_and_resumed(train: Callable[[], Done], monkeypatch: pytest.MonkeyPatch) -> Done:
    """What `train` returns when it is called again, as by a new process, after it died behind its second epoch."""
    original = Keeper.on_train_epoch_end

    def then_die(self: Keeper, trainer: Any, module: Any) -> None:
        original(self, trainer, module)
        if trainer.current_epoch == 1:
            raise KeyError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(Keeper, "on_train_epoch_end", then_die)
        with pytest.raises(KeyError):
            train()
    torch.manual_seed(99)  # a new process draws on from elsewhere
    return train()


def png(rgb: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "PNG")
    return buffer.getvalue()


def noise(side_px: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side_px, side_px, 3), dtype=np.uint8)


def coloured(label: str, side_px: int, seed: int) -> np.ndarray:
    """A picture of one colour with noise of +-30."""
    grain = np.random.default_rng(seed).integers(-30, 31, (side_px, side_px, 3))
    return (np.array(COLOURS[label]) + grain).clip(0, 255).astype(np.uint8)


def table(root: Path, pictures: dict[str, tuple[str, np.ndarray]]) -> pd.DataFrame:
    """Write {sample id: (label, RGB)} as PNG files below `root`; the samples table that names them."""
    root.mkdir(parents=True, exist_ok=True)
    rows = []
    for sample_id, (label, rgb) in pictures.items():
        data = png(rgb)
        (root / f"{sample_id}.png").write_bytes(data)
        rows.append(
            {
                "sample_id": sample_id, "path": f"{sample_id}.png", "label": label, "location": None, "species": None, "seq_id": sample_id,
                "frame_num": None, "captured_at": None, "given_split": None, "width_px": rgb.shape[1],
                "height_px": rgb.shape[0], "infrared": False, "bytes": len(data),
                "sha256": hashlib.sha256(data).hexdigest(), "phash": "0" * 16, "note": "",
            }
        )  # fmt: skip
    columns = {"location": "str", "species": "str", "given_split": "str", "frame_num": "Int64", "captured_at": "datetime64[us]"}
    return pd.DataFrame(rows).astype(columns)


def two_colours(root: Path, count: int, side_px: int = 32, prefix: str = "p", seed: int = 0) -> pd.DataFrame:
    """`count` pictures, red and blue by turns."""
    labels = sorted(COLOURS)
    return table(
        root,
        {f"{prefix}{i:02}": (labels[i % 2], coloured(labels[i % 2], side_px, 1000 * seed + i)) for i in range(count)},
    )


def settings(**changes: Any) -> ImageSettings:
    """A training of under a second: the tiniest ResNet of timm, 32 px, no loader processes."""
    values: dict[str, Any] = {
        "architecture": "test_resnet", "image_px": 32, "epochs": 2, "batch_size": 8, "learning_rate": 0.003, "workers": 0,
    }  # fmt: skip
    return ImageSettings.model_validate(values | changes)


def no_boxes() -> pd.DataFrame:
    return BOXES.validate(
        pd.DataFrame(columns=list(BOXES.columns)).astype(
            {"sample_id": "str", "label": "str"} | dict.fromkeys(BOX_COLUMNS, "float")
        )
    )


def job(tmp_path: Path, train: int = 16, val: int = 8, name: str = "model", seed: int = 0, **changes: Any) -> Job:
    """A job on red and blue pictures of 32 px. Its `out` is empty, its `work` is kept below `tmp_path`."""
    root = tmp_path / "pictures"
    out = tmp_path / "models" / name
    out.mkdir(parents=True, exist_ok=True)
    values: dict[str, Any] = {
        "train": two_colours(root, train, prefix="t", seed=1),
        "val": two_colours(root, val, prefix="v", seed=2),
        "boxes": no_boxes(),
        "classes": ("blue", "red"),
        "root": root,
        "data": "embedded",
        "seed": seed,
        "work": tmp_path / "work" / name,
        "models": tmp_path / "models",
        "needs": tmp_path / "params.checked.json",
        "out": out,
    }
    return Job(**(values | changes))


def clean_and_split(folder: Path, train: int = 16, val: int = 8, side_px: int = 32) -> None:
    """`clean/` and `splits/location/` below `folder`, as their stages leave them, of red and blue pictures."""
    pictures = two_colours(folder / "pictures", train + val, side_px)
    pictures, boxes = check_tables(pictures, no_boxes())
    clean = folder / "clean"
    clean.mkdir()
    pictures.to_parquet(clean / "samples.parquet")
    boxes.to_parquet(clean / "boxes.parquet")
    (folder / "params.checked.json").write_text("{}")
    write_json(clean / "source.json", {"root": str(folder / "pictures"), "data": "embedded"})
    write_manifest(clean)
    splits = folder / "splits"
    (splits / "location").mkdir(parents=True)
    parts = ["train"] * train + ["val"] * val
    pd.DataFrame({"sample_id": pictures["sample_id"], "part": parts}).to_csv(splits / "location" / PARTS_CSV, index=False)
    write_manifest(splits)


def trained_by(family: Any, given_job: Job, settings: Any) -> Path:
    """Train and leave the folder as the stage does, manifest and all."""
    given_job.out.mkdir(parents=True, exist_ok=True)
    family.train(settings, given_job)
    write_manifest(given_job.out)
    return given_job.out
