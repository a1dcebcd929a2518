"""Settings of a SlowFast network and its training. The defaults are the document's, where it has them.

What it leaves open is as the Animal Kingdom authors' own configuration has it (sutdcv/Animal-Kingdom, configs/AK/
SLOWFAST_8x8_R50.yaml, on PySlowFast's defaults): SGD with Nesterov's momentum, 10 views of 3 crops in testing.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from stages.fit import LoopSettings
from stages.training import starts

# What each of them is: weights.initialise. `pretrained` is what the entry needs.
Init = Annotated[
    str,
    starts(
        "scratch", "kinetics", "kinetics:<sha256>", "imagenet", "imagenet:<revision>", "pretrained", "file:<path>",
        "model:<name>",
    ),
]  # fmt: skip


class SlowFastSettings(LoopSettings):
    init: Init = "scratch"
    depth: Literal[18, 50, 101, 152] = 50  # of both pathways; 18 is one bottleneck block a stage
    stem_width: int = Field(64, gt=0)  # channels of the slow pathway's stem; every other width follows from it
    alpha: int = Field(4, gt=0)  # fast frames for each slow one
    beta_inverse: int = Field(8, gt=0)  # slow channels for each fast one
    fusion_ratio: int = Field(2, gt=0)  # channels that go from fast to slow, for each fast one
    fusion_kernel: int = Field(7, gt=0)  # frames that a fusion looks at
    dropout: float = Field(0.5, ge=0, lt=1)  # before the last layer

    frames: int = Field(8, gt=0)  # of the fast pathway; 32 is the Kinetics checkpoint's own
    rate: int = Field(2, gt=0)  # every so-many-th frame of the stored 30 a second
    still: bool = False  # one frame repeated, in training and in use: the baseline that sees no motion
    crop_px: int = Field(256, ge=32)  # side of the squares that the network is shown
    scale_px: tuple[int, int] = (256, 340)  # in training: the short side, drawn evenly for each clip, before the crop
    flip: bool = True  # in training: mirror left and right, every other time
    lighting: float = Field(0.1, ge=0)  # in training: standard deviation of the PCA lighting jitter, drawn once a clip
    views: int = Field(10, gt=0)  # in use: spread over the time of a clip
    crops: Literal[1, 3] = 3  # in use: squares of each view, along the longer side

    loss: Literal["cross_entropy", "bce"] = "cross_entropy"  # bce: each class's own binary cross-entropy
    epochs: int = Field(20, gt=0)
    patience: int = Field(20, gt=0)  # epochs in a row without a lower validation loss before training stops
    batch_size: int = Field(8, gt=1)  # of each process
    # sgd: the document's, constant after its warm-up; adamw: falling along a cosine after it, as the other families learn
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = Field(0.0375, gt=0)  # at the end of the warm-up
    warmup_from: float = Field(0.00085, gt=0)  # of sgd: learning rate of the first iteration; adamw starts at a 25th
    warmup_epochs: float = Field(4, ge=0)  # in which it rises by the same step each iteration
    momentum: float = Field(0.9, ge=0, lt=1)  # of sgd
    nesterov: bool = True  # of sgd
    weight_decay: float = Field(0.0001, ge=0)  # of convolutions and the last layer's weights
    workers: int | None = Field(None, ge=0)  # loader processes; null: by the machine

    @model_validator(mode="after")
    def _fits(self) -> Self:
        shortest, longest = self.scale_px
        width, rate = self.stem_width, self.learning_rate
        adamw = self.optimizer == "adamw"
        asked = [name for name in ("warmup_from", "momentum", "nesterov") if getattr(self, name) != _default(name)]
        faults = {
            f"frames {self.frames} is no multiple of alpha {self.alpha}": self.frames % self.alpha,
            f"stem_width {width} is no multiple of beta_inverse {self.beta_inverse}": width % self.beta_inverse,
            f"fusion_kernel {self.fusion_kernel} is even: it has no middle frame": self.fusion_kernel % 2 == 0,
            f"scale_px falls from {shortest} to {longest}": shortest > longest,
            f"crop_px {self.crop_px} is more than the short side that scale_px allows, {shortest}": self.crop_px > shortest,
            f"warmup_from {self.warmup_from} is above learning_rate {rate}": not adamw and self.warmup_from > rate,
            f"warmup_epochs {self.warmup_epochs} is more than epochs {self.epochs}": self.warmup_epochs > self.epochs,
            "nesterov without momentum": self.nesterov and not self.momentum,
            f"still has one view, {self.views} would show several moments": self.still and self.views > 1,
            f"optimizer adamw has no {', '.join(asked)}": adamw and asked,
        }  # fmt: skip
        if found := [fault for fault, there in faults.items() if there]:
            raise ValueError("; ".join(found))
        return self


def _default(name: str) -> Any:
    return SlowFastSettings.model_fields[name].default
