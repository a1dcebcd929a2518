"""The heatmap family: one class for a picture and the heatmap of the people in it, four channels that another stage stored.

Two small convolutions make three channels of the four, so that a network with ImageNet's weights takes them as they are.
"""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from stages import backbones, classifier, cost
from stages.classifier import Classifier
from stages.files import DataError, read_json
from stages.inference import Network
from stages.networks import Job, Trained, read_card
from stages.networks.heatmap.network import FourChannels, HeatmapClassifierSettings, Normalise
from stages.networks.heatmap.stored import Pictures, Stored
from stages.training import origin, require_shape, trained
from stages.views import View

SETTINGS = HeatmapClassifierSettings


def train(settings: HeatmapClassifierSettings, job: Job) -> Trained:
    """Train on what `job.needs`, the heatmaps stage's folder, stores of the pictures of `job`; `job.out` receives
    weights.safetensors and model.json, all that `load` needs. Raises DataError for a picture that is not stored.
    """
    if len(job.classes) < 2:
        raise DataError(f"train holds only the class {job.classes[0]}: there is nothing to tell apart")
    stored = Stored(job.needs, settings.inputs)
    train_set = Pictures(job.train, stored, job.classes, settings, job.seed, training=True)
    val_set = Pictures(job.val, stored, job.classes, settings, job.seed, training=False)
    height_px, width_px, _ = stored(train_set.ids[0]).shape

    torch.manual_seed(job.seed)
    backbone = backbones.build(settings.architecture, settings.options, len(job.classes))
    started_from = backbones.initialise(backbone, settings.architecture, settings.options, settings.init, job.models, job.needs)
    network = FourChannels(backbone)
    require_shape(network, settings.architecture, 4, height_px, width_px)
    millions = cost.parameters(network) / 1e6
    card = {
        "family": "heatmap",
        "architecture": settings.architecture,
        "options": settings.options,
        "as_built": f"{settings.architecture} behind two convolutions, {millions:.1f} M parameters, "
        f"at {width_px} x {height_px} px, {settings.init}",
        "outputs": list(job.classes),  # of the network
        "classes": list(job.classes),  # that a picture may be given
        "inputs": settings.inputs,
        "heatmap_std": stored.heatmap_std(train_set.ids),
        "height_px": height_px,
        "width_px": width_px,
        "heatmaps": read_json(job.needs / "made.json"),  # the pose model and the settings that they are made with
        **origin(settings, job, started_from, train=len(train_set), val=len(val_set)),
    }
    module = Classifier(network, _normalise(card), settings, train_set.ids)
    return trained(module, train_set, val_set, settings, job, card, lambda: in_use(card, network))


def _normalise(card: dict[str, Any]) -> Normalise:
    return Normalise(card["inputs"], card["heatmap_std"])


def in_use(card: dict[str, Any], network: nn.Module) -> Network:
    """A trained classifier in use, which is shown what the heatmaps stage stored."""
    view = View(card["width_px"], card["height_px"])
    return classifier.answering(card, network, _normalise(card), view, stored=lambda needs: Stored(needs, card["inputs"]))


def load(folder: Path) -> Network:
    """A trained classifier in use. Raises DataError where its files are altered or do not fit each other."""
    card = read_card(folder)
    network = FourChannels(backbones.build(card["architecture"], card["options"], len(card["outputs"])))
    backbones.load_exactly(network, folder / "weights.safetensors", card["as_built"])
    return in_use(card, network)
