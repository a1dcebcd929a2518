"""A trained YOLO network in use. Letters: B pictures of a batch, h and w their sides, C classes, N boxes of a picture."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from ultralytics.utils.nms import non_max_suppression

from stages.backbones import load_exactly
from stages.inference import Found, Network, device
from stages.networks import read_card
from stages.networks.yolo.network import STRIDE_PX, YoloSettings, build, require_plan
from stages.predictions import BOX, JOINTS
from stages.views import letterboxed

FOREVER_S = 1e6  # Ultralytics' NMS gives up on time, so that a slow machine would find other boxes than a quick one


class Detector(nn.Module):
    """uint8 (B, h, w, 3) -> boxes (centre x, y, width, height in px) and class scores at every place, (B, 4 + C, places).

    A pose network adds x, y in px and the confidence of each of the 16 joints: (B, 4 + 1 + 48, places).
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network.eval().fuse(verbose=False)  # batch norms folded into convolutions: quicker, the same function

    def forward(self, pictures: Tensor) -> Tensor:
        # In full precision: bfloat16 would round the boxes' own coordinates, by a px at 320 px.
        found = self.network((pictures.permute(0, 3, 1, 2).float() / 255).contiguous())
        return found[0] if isinstance(found, (tuple, list)) else found


def finish(found: Tensor, floor: float, settings: YoloSettings) -> list[Found]:
    """What `Detector` gives -> for each picture boxes (N, 6): xyxy in px of the batch, score, class; the surest first.

    A pose network's are (N, 6 + 48): also x, y in px of the batch and the confidence of each joint.
    """
    floor = max(floor, settings.score_floor)
    with torch.inference_mode():
        kept = non_max_suppression(
            found, floor, settings.nms_iou, multi_label=True, max_det=settings.max_boxes, max_time_img=FOREVER_S,
            nc=1 if settings.finds_joints else 0,  # 0: all that are no coordinates are class scores
        )  # fmt: skip
    return [boxes.double().cpu().numpy() for boxes in kept]


def load(folder: Path) -> Network:
    """A trained network in use. Altered or truncated files are refused by their sha256."""
    card = read_card(folder)
    settings = YoloSettings.model_validate_json(json.dumps(card["settings"]))
    require_plan(card["plan"], settings, folder)
    network = build(card["plan"], card["classes"][:-1], card["head_width"])
    load_exactly(network, folder / "weights.safetensors", card["as_built"])
    return Network(
        card,
        JOINTS if settings.finds_joints else BOX,
        tuple(card["classes"][:-1]),
        Detector(network).eval().to(device()),
        partial(finish, settings=settings),
        partial(letterboxed, side_px=card["image_px"], stride_px=STRIDE_PX),
    )
