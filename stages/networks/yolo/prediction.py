"""A trained YOLO network on pictures: boxes in px of each picture. Letters: B pictures of a batch, h and w their sides."""

import json
import math
from pathlib import Path
from typing import Any

import cv2
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from ultralytics.utils.nms import non_max_suppression

from stages import geometry
from stages.backbones import load_exactly
from stages.loading import loader_workers, read_picture
from stages.networks import read_card
from stages.networks.yolo.network import STRIDE_PX, YoloSettings, build
from stages.pictures import RGB, resize
from stages.predictions import box_rows
from stages.samples import BOX_COLUMNS

GREY = 114  # of the padding, as Ultralytics has it
FOREVER_S = 1e6  # Ultralytics' NMS gives up on time, so that a slow machine would find other boxes than a quick one


def read_fitted(root: Path, row: Any, side_px: int) -> RGB:
    """A picture with its longer side at `side_px`: uint8 (h, w, 3) RGB. Raises LostPicture for one that has changed."""
    width, height = fitted(row.width_px, row.height_px, side_px)
    return resize(read_picture(root / row.path, row.sha256, min(width, height)), width, height)


def fitted(width_px: int, height_px: int, side_px: int) -> tuple[int, int]:
    """(width, height) with the longer side at `side_px`, as Ultralytics rounds it."""
    ratio = side_px / max(width_px, height_px)
    return min(math.ceil(width_px * ratio), side_px), min(math.ceil(height_px * ratio), side_px)


class Padded(Dataset[tuple[Tensor, int]]):
    """Item i -> (uint8 (h, w, 3) RGB padded to whole strides, i)."""

    def __init__(self, pictures: pd.DataFrame, root: Path, side_px: int) -> None:
        self.rows = list(pictures.itertuples())
        self.root, self.side_px = root, side_px
        # Of each picture: its size when fitted, and that size up to whole strides.
        self.fitted = [fitted(row.width_px, row.height_px, side_px) for row in self.rows]
        self.shapes = [tuple(-(-side // STRIDE_PX) * STRIDE_PX for side in size) for size in self.fitted]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        rgb = read_fitted(self.root, self.rows[i], self.side_px)
        left, top = self.margins(i)
        width, height = self.shapes[i]
        padded = cv2.copyMakeBorder(
            rgb, top, height - rgb.shape[0] - top, left, width - rgb.shape[1] - left, cv2.BORDER_CONSTANT, value=(GREY,) * 3
        )
        return torch.from_numpy(padded), i

    def margins(self, i: int) -> tuple[int, int]:
        """Of the padding, in px: left and top."""
        return (self.shapes[i][0] - self.fitted[i][0]) // 2, (self.shapes[i][1] - self.fitted[i][1]) // 2

    def batches(self, size: int) -> list[list[int]]:
        """Batches of pictures of one shape."""
        by_shape: dict[Any, list[int]] = {}
        for i, shape in enumerate(self.shapes):
            by_shape.setdefault(shape, []).append(i)
        return [same[start : start + size] for same in by_shape.values() for start in range(0, len(same), size)]


def load(folder: Path) -> tuple[Any, dict[str, Any]]:
    """A trained network in evaluation mode and its model.json. Altered or truncated files are refused by their sha256."""
    card = read_card(folder)
    network = build(card["plan"], card["classes"][:-1], card["head_width"])
    load_exactly(network, folder / "weights.safetensors", card["as_built"])
    return network.eval(), card


def detect(network: Any, batch: Tensor, settings: YoloSettings) -> list[Tensor]:
    """uint8 (B, h, w, 3) on the network's device -> for each picture (boxes, 6): xyxy in px of the batch, score, class."""
    found = network((batch.permute(0, 3, 1, 2).float() / 255).contiguous())
    return non_max_suppression(
        found, settings.score_floor, settings.nms_iou, multi_label=True, max_det=settings.max_boxes, max_time_img=FOREVER_S
    )


@torch.inference_mode()
def predict(
    folder: Path, pictures: pd.DataFrame, root: Path, batch_size: int = 64, boxes: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Boxes of every picture: a predictions table of task `box`, in the pictures' order."""
    network, card = load(folder)
    settings = YoloSettings.model_validate_json(json.dumps(card["settings"]))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = network.fuse(verbose=False).to(device)  # batch norms folded into convolutions: quicker, the same function
    data = Padded(pictures, root, card["image_px"])
    workers = loader_workers(settings.workers)
    loader: Any = DataLoader(data, batch_sampler=data.batches(batch_size), num_workers=workers)
    parts = []
    for batch, items in loader:
        # In full precision: bfloat16 would round the boxes' own coordinates, by a px at 320 px.
        found = detect(network, batch.to(device), settings)
        for i, rows in zip(items.tolist(), found, strict=True):
            row, (width, height), margins = data.rows[i], data.fitted[i], data.margins(i)
            xyxy = rows[:, :4].double().cpu().numpy() - [*margins, *margins]
            xyxy = geometry.clip(
                geometry.rescale(xyxy, row.width_px / width, row.height_px / height), row.width_px, row.height_px
            )
            parts.append(
                pd.DataFrame(xyxy, columns=BOX_COLUMNS).assign(
                    sample_id=row.sample_id,
                    label=[card["classes"][int(number)] for number in rows[:, 5]],
                    score=rows[:, 4].double().cpu().numpy(),
                )
            )
    columns = ["sample_id", "label", "score", *BOX_COLUMNS]
    table = pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)
    return box_rows(table[geometry.area(table[BOX_COLUMNS].to_numpy(dtype=float)) > 0], pictures["sample_id"])
