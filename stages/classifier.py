"""A 2-D network that tells classes apart: its settings, training, card and loading.

Shared by the families that classify: `image` a whole picture, `crop` what lies in a box.
"""

from pathlib import Path
from typing import Any

import pytorch_lightning as lightning
import safetensors.torch
import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from stages import backbones, cost
from stages.files import DataError, seed_from, write_json
from stages.fit import FitSettings, fit, optimizers, require_finite
from stages.inference import Network, device
from stages.loading import LoadSettings, Pictures, loader
from stages.networks import Job, Trained, read_card
from stages.predictions import CLASS
from stages.views import squeezed


class ClassifierSettings(FitSettings, LoadSettings):
    architecture: str  # a timm name, or torchvision/<name>
    options: dict[str, Any] = Field({})  # arguments of the network's builder; `width` narrows AlexNet and VGG
    init: str = "scratch"  # scratch | imagenet | pretrained (what the entry needs) | file:<path> | model:<name>

    @field_validator("architecture")
    @classmethod
    def _known_architecture(cls, architecture: str) -> str:
        try:
            backbones.require_known(architecture)
        except DataError as error:
            raise ValueError(str(error)) from None
        return architecture

    @field_validator("init")
    @classmethod
    def _known_init(cls, init: str) -> str:
        kind, colon, value = init.partition(":")
        if (kind in ("scratch", "imagenet", "pretrained") and not colon) or (kind in ("file", "model") and value):
            return init
        raise ValueError("allowed: scratch, imagenet, pretrained, file:<path>, model:<name>")


class Normalise(nn.Module):
    """uint8 (B, P, P, 3) -> float (B, 3, P, P) on the scale that the network wants, channels last without a copy."""

    mean: Tensor  # of each channel, in 0..255; (1, 3, 1, 1)
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1) * 255, persistent=False)

    def forward(self, pictures: Tensor) -> Tensor:
        return (pictures.permute(0, 3, 1, 2).float() - self.mean) / self.std


class Classifier(lightning.LightningModule):
    """Cross-entropy over classes. A batch is (uint8 (B, P, P, 3), class index (B,), item (B,))."""

    def __init__(
        self, network: nn.Module, mean: tuple[float, ...], std: tuple[float, ...], settings: FitSettings, ids: list[str]
    ) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)
        self.normalise = Normalise(mean, std)
        self.settings, self.ids = settings, ids

    def forward(self, pictures: Tensor) -> Tensor:
        """uint8 (B, P, P, 3) -> logits (B, classes)."""
        return self.network(self.normalise(pictures))

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor], number: int) -> Tensor:
        pictures, targets, items = batch
        loss = nn.functional.cross_entropy(self(pictures), targets)
        require_finite(loss, self, number, lambda: [self.ids[item] for item in items.tolist()])
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(targets), prog_bar=True, sync_dist=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor, Tensor], _: int) -> None:
        pictures, targets, _items = batch
        logits = self(pictures)
        loss = nn.functional.cross_entropy(logits.float(), targets)
        right = (logits.argmax(1) == targets).float().mean()
        self.log_dict({"val_loss": loss, "val_accuracy": right}, batch_size=len(targets), prog_bar=True, sync_dist=True)

    def configure_optimizers(self) -> Any:
        return optimizers(self.trainer, self.network, self.settings)


def train(family: str, settings: ClassifierSettings, job: Job, **notes: Any) -> Trained:
    """Train on `job`; `job.out` receives weights.safetensors and model.json, all that `load` needs.

    `notes` are what the family adds to model.json, or says otherwise in it. The network's outputs are `job.classes`.
    """
    if len(job.classes) < 2:
        raise DataError(f"train holds only the class {job.classes[0]}: there is nothing to tell apart")
    torch.manual_seed(job.seed)
    network = backbones.build(settings.architecture, settings.options, len(job.classes))
    started_from = backbones.initialise(network, settings.architecture, settings.options, settings.init, job.models, job.needs)
    mean, std = backbones.preprocessing(network)
    _require_size(network, settings)

    train_set = Pictures(job.train, job.root, job.classes, settings, job.seed, training=True)
    val_set = Pictures(job.val, job.root, job.classes, settings, job.seed, training=False)
    module = Classifier(network, mean, std, settings, train_set.ids)
    best, curve, facts = fit(
        module,
        loader(train_set, settings.batch_size, shuffle_seed=job.seed),
        loader(val_set, settings.batch_size),
        settings,
        job.seed,
        job.work / f"{seed_from(started_from):x}",  # other starting weights are another training
    )
    weights = job.out / "weights.safetensors"
    weights.write_bytes(safetensors.torch.save(best))  # save_file would leave it to its owner alone, mode 0600
    card = {
        "family": family,
        "architecture": settings.architecture,
        "options": settings.options,
        "as_built": cost.as_built(settings.architecture, bool(settings.options), network, settings.image_px, settings.init),
        "outputs": list(job.classes),  # of the network
        "classes": list(job.classes),  # that a picture may be given
        "image_px": settings.image_px,
        "mean": list(mean),
        "std": list(std),
        "init": settings.init,
        "started_from": started_from,
        "trained_on": {"data": job.data, "train": len(job.train), "val": len(job.val), "seed": job.seed},
        "settings": settings.model_dump(),
    }
    write_json(job.out / "model.json", card | notes)
    network.load_state_dict(best)  # weights that diverged in the last epoch could be slower
    module = module.eval().to(device())
    picture = torch.zeros(1, settings.image_px, settings.image_px, 3, dtype=torch.uint8, device=device())

    def answer() -> None:  # as in use
        with torch.autocast(device(), torch.bfloat16, enabled=device() == "cuda"):
            module(picture).softmax(1)

    return Trained(cost.measured(network, weights, facts, answer), curve)


def _require_size(network: nn.Module, settings: ClassifierSettings) -> None:
    """Refuse a size of picture that the network cannot take before anything is trained."""
    side_px = settings.image_px
    try:
        with torch.inference_mode():
            network.eval()(torch.zeros(1, 3, side_px, side_px))
    except Exception as error:  # as each network fails
        raise DataError(f"{settings.architecture} does not take pictures of image_px {side_px}: {error}") from None
    network.train()


class Probabilities(nn.Module):
    """uint8 (B, P, P, 3) -> probabilities (B, classes)."""

    def __init__(self, network: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)
        self.normalise = Normalise(mean, std)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.network(self.normalise(pictures)).float().softmax(1)


def load(folder: Path) -> Network:
    """A trained classifier in use. Raises DataError where its files are altered or do not fit each other."""
    card = read_card(folder)
    network = backbones.build(card["architecture"], card["options"], len(card["outputs"]))
    backbones.load_exactly(network, folder / "weights.safetensors", card["as_built"])
    return Network(
        card,
        CLASS,
        tuple(card["outputs"]),
        Probabilities(network, card["mean"], card["std"]).eval().to(device()),
        lambda probabilities, _floor: list(probabilities.double().cpu().numpy()),
        lambda _width_px, _height_px: squeezed(card["image_px"]),
        half=True,
    )
