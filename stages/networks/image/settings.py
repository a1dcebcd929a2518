"""The settings of the image family: what of a network learns, from what, and how fast."""

from typing import Literal, Self

from pydantic import Field, model_validator

from stages.classifier import ClassifierSettings

ALL, FROZEN, LP_FT = "all", "frozen", "lp_ft"
SAMPLING, LOSS = "sampling", "loss"


class ImageSettings(ClassifierSettings):
    # frozen: the head, its last linear layer, alone, batch norm's statistics stay too; lp_ft: the head first, then all of it
    train: Literal["all", "frozen", "lp_ft"] = "all"
    probe_epochs: int | None = Field(None, gt=0)  # of lp_ft: the first ones, with the head alone
    probe_learning_rate: float | None = Field(None, gt=0)  # of those: the highest
    layer_decay: float = Field(1.0, gt=0, le=1)  # a layer's learning rate, as a share of that of the layer behind it
    loss: Literal["softmax", "sigmoid"] = "softmax"  # cross-entropy, or binary cross-entropy for each class
    balance: Literal["none", "sampling", "loss"] = "none"  # the classes count the same: drawn as often, or by weight
    mixup_alpha: float | None = Field(None, gt=0)  # manifold mixup, shares from Beta(alpha, alpha); null: none
    mixup_layers: tuple[str, ...] = ()  # where to mix: input, a module by its name, pooled; none named: see mixup.py
    # the features also have to tell where keypoints are, by a head that training alone has: how much that counts; null: nothing
    keypoint_weight: float | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _a_probe_is_of_lp_ft(self) -> Self:
        given = (self.probe_epochs is not None, self.probe_learning_rate is not None)
        if given != (self.train == LP_FT,) * 2:
            raise ValueError(f"train: {self.train}: probe_epochs and probe_learning_rate belong to lp_ft, which wants both")
        if self.probe_epochs and self.probe_epochs >= self.epochs:
            raise ValueError(f"probe_epochs {self.probe_epochs} are the first of all epochs, {self.epochs}: should be fewer")
        return self

    @model_validator(mode="after")
    def _layers_are_of_mixup(self) -> Self:
        if self.mixup_layers and self.mixup_alpha is None:
            raise ValueError("mixup_layers without mixup_alpha: nothing is mixed")
        return self

    @model_validator(mode="after")
    def _keypoints_teach_whole_pictures(self) -> Self:
        if self.keypoint_weight is not None and self.train == FROZEN:
            raise ValueError("keypoint_weight with train: frozen: features that do not learn learn nothing from keypoints")
        if self.keypoint_weight is not None and self.mixup_alpha is not None:
            raise ValueError("keypoint_weight with mixup_alpha: a mixture of two pictures has no keypoints of its own")
        return self
