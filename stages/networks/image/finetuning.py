"""What of a network learns, and how fast: all of it, the head alone, or the head first and then all (Kumar et al. 2022)."""

from collections.abc import Callable
from typing import Any

import pytorch_lightning as lightning
import timm.optim
from torch import nn

from stages.backbones import head_name
from stages.files import DataError
from stages.fit import optimizers, parameter_groups, scheduled, undecayed, whole_cycle
from stages.networks.image.settings import FROZEN, LP_FT, ImageSettings


def head(network: nn.Module) -> nn.Module:
    return network.get_submodule(head_name(network))


def prepare(network: nn.Module, settings: ImageSettings) -> None:
    """Fix what does not learn. Raises DataError where the settings ask for what the network does not have."""
    if settings.layer_decay < 1 and not hasattr(network, "group_matcher"):
        raise DataError(f"layer_decay: {settings.architecture} does not tell its layers apart; timm's networks do")
    if settings.train == FROZEN:
        network.requires_grad_(False)
        head(network).requires_grad_(True)


def set_modes(network: nn.Module, settings: ImageSettings, epoch: int) -> None:
    """For training in `epoch`, counted from 0: what does not learn is shown pictures as in use, with batch norm's statistics
    as they are and nothing dropped.
    """
    head_alone = settings.train == FROZEN or (settings.train == LP_FT and epoch < (settings.probe_epochs or 0))
    network.train(not head_alone)
    head(network).train()


def configured(trainer: lightning.Trainer, network: nn.Module, settings: ImageSettings, beside: nn.Module | None = None) -> Any:
    """What `configure_optimizers` returns: AdamW, and for the head and the layers before it the learning rate of each step.
    What learns `beside` the network does so as its head does.

    While lp_ft trains the head alone all else has a learning rate of 0, and so stays to the bit. Were it without gradients
    instead, several GPUs would not learn it together afterwards (DDP looks once, at the start).
    """
    if settings.layer_decay == 1 and settings.train != LP_FT:
        return optimizers(trainer, nn.ModuleList(filter(None, [network, beside])), settings)
    total = int(trainer.estimated_stepping_batches)
    probe = total * (settings.probe_epochs or 0) // settings.epochs
    first, then = whole_cycle(settings, probe), whole_cycle(settings, total - probe)
    of_probe = (settings.probe_learning_rate or 0) / settings.learning_rate

    def of_head(step: int) -> float:
        return of_probe * first(step) if step < probe else then(step - probe)

    def of_backbone(step: int) -> float:
        return 0.0 if step < probe else then(step - probe)

    groups: list[dict[str, Any]] = []
    shares: list[Callable[[int], float]] = []
    own = {id(parameter) for parameter in head(network).parameters()}
    for group in _groups(network, settings):
        rate = settings.learning_rate * group.get("lr_scale", 1.0)
        for is_head, share in ((True, of_head), (False, of_backbone)):
            if parameters := [parameter for parameter in group["params"] if (id(parameter) in own) == is_head]:
                groups.append({"params": parameters, "weight_decay": group["weight_decay"], "lr": rate})
                shares.append(share)
    if beside is not None:
        groups += parameter_groups(beside, settings.weight_decay)
        shares += [of_head, of_head]
    return scheduled(groups, settings.learning_rate, shares)


def _groups(network: nn.Module, settings: ImageSettings) -> list[dict[str, Any]]:
    if settings.layer_decay == 1:
        return parameter_groups(network, settings.weight_decay)
    groups: list[dict[str, Any]] = timm.optim.param_groups_layer_decay(
        network, settings.weight_decay, no_weight_decay_list=undecayed(network), layer_decay=settings.layer_decay
    )
    return groups
