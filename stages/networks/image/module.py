"""The image family's Lightning module."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from stages.classifier import Classifier
from stages.networks.image import finetuning, mixup, objective
from stages.networks.image.settings import FROZEN, LOSS, ImageSettings


class Learner(Classifier):
    """Trains what `settings` say, with their loss, on mixed pictures where they say so. `counts` (C,): train's of each class.

    Where classes are balanced they are in validation's loss too: else it would keep the epoch that is best at the common ones.
    """

    settings: ImageSettings
    weights: Tensor | None  # (C,) of the classes

    def __init__(
        self, network: nn.Module, normalise: nn.Module, settings: ImageSettings, ids: list[str], counts: NDArray[np.int64]
    ) -> None:
        super().__init__(network, normalise, settings, ids)
        finetuning.prepare(network, settings)
        balanced = settings.balance != "none"
        self.register_buffer("weights", objective.class_weights(counts) if balanced else None, persistent=False)
        if settings.mixup_alpha is not None:
            self.layers = mixup.eligible(network, settings.mixup_layers, settings.train == FROZEN)

    def on_train_epoch_start(self) -> None:
        finetuning.set_modes(self.network, self.settings, self.current_epoch)

    def training_loss(self, pictures: Tensor, targets: Tensor, *more: Tensor) -> Tensor:
        weights = self.weights if self.settings.balance == LOSS else None
        if self.settings.mixup_alpha is None:
            return objective.loss(self(pictures), targets, self.settings.loss, weights)
        mix = mixup.draw(self.layers, self.settings.mixup_alpha, len(targets))
        with mixup.mixing(self.network, mix):
            logits = self(pictures)
        labels = mixup.mixed(objective.shares(targets, logits.shape[1]), mix)
        return objective.loss(logits, labels, self.settings.loss, weights)

    def validation_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        return objective.loss(logits, targets, self.settings.loss, self.weights)

    def configure_optimizers(self) -> Any:
        return finetuning.configured(self.trainer, self.network, self.settings)
