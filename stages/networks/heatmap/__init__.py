"""The heatmap family: one class for a picture and the heatmap of the people in it, four channels that another stage stored.

Two small convolutions make three channels of the four, so that a network with ImageNet's weights takes them as they are.
"""

from pathlib import Path
from typing import Any, cast

import safetensors.torch
import torch
from torch import nn

from stages import backbones, cost
from stages.classifier import Classifier
from stages.files import DataError, seed_from, write_json
from stages.fit import fit
from stages.inference import Network, device
from stages.loading import loader
from stages.networks import Job, Trained, read_card
from stages.networks.heatmap.network import FourChannels, HeatmapClassifierSettings, Normalise, Probabilities
from stages.networks.heatmap.stored import Pictures, Stored
from stages.predictions import CLASS
from stages.views import View

SETTINGS = HeatmapClassifierSettings


class HeatmapClassifier(Classifier):
    """Cross-entropy over classes. A batch is (uint8 (B, H, W, 4), class index (B,), item (B,))."""

    def __init__(
        self, network: FourChannels, normalise: Normalise, settings: HeatmapClassifierSettings, ids: list[str]
    ) -> None:
        super().__init__(network, backbones.IMAGENET_MEAN, backbones.IMAGENET_STD, settings, ids)
        self.normalise = normalise  # type: ignore[assignment]  # of four channels, not of three


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
    heatmap_std = stored.heatmap_std(train_set.ids)

    torch.manual_seed(job.seed)
    backbone = backbones.build(settings.architecture, settings.options, len(job.classes))
    started_from = backbones.initialise(backbone, settings.architecture, settings.options, settings.init, job.models, job.needs)
    network, normalise = FourChannels(backbone), Normalise(settings.inputs, heatmap_std)
    _require_size(network, settings.architecture, height_px, width_px)
    best, curve, facts = fit(
        HeatmapClassifier(network, normalise, settings, train_set.ids),
        loader(cast(Any, train_set), settings.batch_size, shuffle_seed=job.seed),
        loader(cast(Any, val_set), settings.batch_size),
        settings,
        job.seed,
        job.work / f"{seed_from(started_from):x}",  # other starting weights are another training
    )
    weights = job.out / "weights.safetensors"
    weights.write_bytes(safetensors.torch.save(best))  # save_file would leave it to its owner alone, mode 0600
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
        "heatmap_std": heatmap_std,  # of train
        "height_px": height_px,
        "width_px": width_px,
        "init": settings.init,
        "started_from": started_from,
        "trained_on": {"data": job.data, "train": len(job.train), "val": len(job.val), "seed": job.seed},
        "settings": settings.model_dump(),
    }
    write_json(job.out / "model.json", card)
    network.load_state_dict(best)  # weights that diverged in the last epoch could be slower
    in_use = Probabilities(network, normalise).eval().to(device())
    picture = torch.zeros(1, height_px, width_px, 4, dtype=torch.uint8, device=device())

    def answer() -> None:  # as in use
        with torch.autocast(device(), torch.bfloat16, enabled=device() == "cuda"):
            in_use(picture)

    return Trained(cost.measured(network, weights, facts, answer), curve)


def _require_size(network: nn.Module, architecture: str, height_px: int, width_px: int) -> None:
    """Refuse a network that cannot take pictures of this size before anything is trained."""
    try:
        with torch.inference_mode():
            network.eval()(torch.zeros(1, 4, height_px, width_px))
    except Exception as error:  # as each network fails
        raise DataError(f"{architecture} does not take pictures of {width_px} x {height_px} px: {error}") from None
    network.train()


def load(folder: Path) -> Network:
    """A trained classifier in use. Raises DataError where its files are altered or do not fit each other."""
    card = read_card(folder)
    network = FourChannels(backbones.build(card["architecture"], card["options"], len(card["outputs"])))
    backbones.load_exactly(network, folder / "weights.safetensors", card["as_built"])
    return Network(
        card,
        CLASS,
        tuple(card["outputs"]),
        Probabilities(network, Normalise(card["inputs"], card["heatmap_std"])).eval().to(device()),
        lambda probabilities, _floor: list(probabilities.double().cpu().numpy()),
        lambda _width_px, _height_px: View(card["width_px"], card["height_px"]),
        stored=lambda needs: Stored(needs, card["inputs"]),
        half=True,
    )
