"""SlowFast's training: the learning rate rises by the same step each iteration, then is constant (SGD) or falls (AdamW)."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from stages.classifier import Classifier
from stages.fit import one_cycle, parameter_groups, scheduled
from stages.networks.slowfast.settings import SlowFastSettings


class Learner(Classifier):
    """A batch is (uint8 (B, T, P, P, 3), class index (B,), item (B,))."""

    memory_format = torch.channels_last_3d

    def training_loss(self, clips: Tensor, targets: Tensor, *more: Tensor) -> Tensor:
        return loss(self(clips), targets, self.settings.loss)

    def validation_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        return loss(logits, targets, self.settings.loss)

    def configure_optimizers(self) -> Any:
        chosen: SlowFastSettings = self.settings
        groups = parameter_groups(self.network, chosen.weight_decay)
        total = int(self.trainer.estimated_stepping_batches)
        an_epoch = total // chosen.epochs
        if chosen.optimizer == "adamw":
            warmup = max(1, round(chosen.warmup_epochs * an_epoch))
            cycle = partial(one_cycle, warmup=warmup, total=total)
            return scheduled(groups, chosen.learning_rate, [cycle, cycle])
        optimizer = torch.optim.SGD(groups, lr=chosen.learning_rate, momentum=chosen.momentum, nesterov=chosen.nesterov)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, warm_up(chosen, an_epoch))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def loss(logits: Tensor, targets: Tensor, kind: str) -> Tensor:
    """Of logits (B, C) and class numbers (B,), a scalar: the mean over clips, for bce also over classes."""
    if kind == "cross_entropy":
        return nn.functional.cross_entropy(logits, targets)
    labels = nn.functional.one_hot(targets, logits.shape[1]).float()
    return nn.functional.binary_cross_entropy_with_logits(logits.float(), labels)


def warm_up(settings: SlowFastSettings, an_epoch: int) -> Callable[[int], float]:
    """Iteration -> share of `learning_rate`, where an epoch has `an_epoch` iterations."""
    first, iterations = settings.warmup_from / settings.learning_rate, settings.warmup_epochs * an_epoch
    return lambda step: first + (1 - first) * step / iterations if step < iterations else 1.0
