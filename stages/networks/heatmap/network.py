"""Stage 2 of the document: two small convolutions make three channels of four, a network of pictures takes it from there.

Weights that were trained on colour pictures fit that network untouched. Letters: B pictures of a batch, H and W their sides.
"""

from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from stages.backbones import IMAGENET_MEAN, IMAGENET_STD
from stages.fit import FitSettings
from stages.training import Architecture, starts

# By the setting `inputs`: which of the four channels are shown. With rgb_truth the fourth is of the true joints.
SHOWN = {"rgb_heatmap": (1, 1, 1, 1), "rgb": (1, 1, 1, 0), "heatmap": (0, 0, 0, 1), "rgb_truth": (1, 1, 1, 1)}


class HeatmapClassifierSettings(FitSettings):
    inputs: Literal["rgb_heatmap", "rgb", "heatmap", "rgb_truth"]
    architecture: Architecture = "efficientnet_b0"  # what follows the two convolutions
    options: dict[str, Any] = Field({})  # arguments of its builder
    # of what follows the two convolutions
    init: Annotated[str, starts("scratch", "imagenet", "imagenet:<revision>", "file:<path>")] = "scratch"
    weight_decay: float = Field(0.0, ge=0)  # AdamW without it is the document's Adam
    flip: bool = False  # in training: mirror left and right, every other time
    light: float = Field(0, ge=0, lt=1)  # in training: change brightness and contrast of the colours by up to this share
    workers: int | None = Field(None, ge=0)  # loader processes; null: by the machine


class Normalise(nn.Module):
    """uint8 (B, H, W, 4) -> float (B, 4, H, W): colours on ImageNet's scale, heatmaps on that of `heatmap_std`, 0 for what is
    not shown.

    A heatmap is black nearly everywhere. From 0 to 1 its standard deviation is 0.06 or so, and colours drown it: 8 poses drawn
    in colours of chance were told apart at 0.21; with a standard deviation of 1, as colours have, at 0.79. Colours that are not
    shown would be black, -2, were they not 0, and more filters would never fire (see FourChannels).
    """

    mean: Tensor  # of each channel, in 0..255; (1, 4, 1, 1)
    scale: Tensor

    def __init__(self, inputs: str, heatmap_std: float) -> None:
        super().__init__()
        mean, std = torch.tensor([*IMAGENET_MEAN, 0.0]) * 255, torch.tensor([*IMAGENET_STD, heatmap_std]) * 255
        self.register_buffer("mean", mean.view(1, 4, 1, 1), persistent=False)
        self.register_buffer("scale", (torch.tensor(SHOWN[inputs]) / std).view(1, 4, 1, 1), persistent=False)

    def forward(self, pictures: Tensor) -> Tensor:
        return (pictures.permute(0, 3, 1, 2).float() - self.mean) * self.scale


class FourChannels(nn.Module):
    """float (B, 4, H, W) -> logits (B, classes). Convolutions of 4 and 3 filters, 3 x 3, each with ReLU, then `backbone`.

    With so few filters all three can be dead from the start, and the network then answers the same for every picture. Of 1,000
    seeds, on heatmaps alone: 167 from PyTorch's starting weights, 43 from He's, 5 from He's with biases of 0.5, as it has them.
    """

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.mix = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 3, padding=1), nn.ReLU())
        for name, parameter in self.mix.named_parameters():
            if name.endswith("weight"):
                nn.init.kaiming_normal_(parameter, nonlinearity="relu")
            else:
                nn.init.constant_(parameter, 0.5)
        self.backbone = backbone

    def forward(self, pictures: Tensor) -> Tensor:
        return self.backbone(self.mix(pictures))
