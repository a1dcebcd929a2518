"""A 2-D network that tells classes apart: its settings, training, card and loading.

Shared by the families that classify: `image` a whole picture, `crop` what lies in a box.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytorch_lightning as lightning
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from stages import backbones, cost
from stages.files import DataError
from stages.fit import FitSettings, LoopSettings, optimizers, require_finite
from stages.inference import Network, device
from stages.loading import LoadSettings, Pictures, Points
from stages.networks import Job, Trained, read_card
from stages.predictions import CLASS
from stages.training import Architecture, origin, require_shape, starts, trained
from stages.views import View, squeezed

SOFTMAX, SIGMOID = (
    "softmax",
    "sigmoid",
)  # what the outputs are trained with: cross-entropy, or binary cross-entropy for each class

_MOST_PX = 4096  # a side of pictures as a network is shown them

# What each of them is: backbones.initialise. `pretrained` is what the entry needs.
Init = Annotated[str, starts("scratch", "imagenet", "imagenet:<revision>", "pretrained", "file:<path>", "model:<name>")]


class ClassifierSettings(FitSettings, LoadSettings):
    architecture: Architecture
    options: dict[str, Any] = Field({})  # arguments of the network's builder; `width` narrows AlexNet and VGG
    init: Init = "scratch"


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
    """Cross-entropy over classes. A batch is (uint8 (B, H, W, channels), class index (B,), item (B,)).

    `normalise` makes of such pictures what `network` takes.
    """

    memory_format = torch.channels_last
    settings: Any  # LoopSettings and what `configure_optimizers` asks

    def __init__(self, network: nn.Module, normalise: nn.Module, settings: LoopSettings, ids: list[str]) -> None:
        super().__init__()
        self.network, self.normalise = network.to(memory_format=self.memory_format), normalise
        self.settings, self.ids = settings, ids

    def forward(self, pictures: Tensor) -> Tensor:
        """uint8 (B, H, W, channels) -> logits (B, classes)."""
        return self.network(self.normalise(pictures))

    def training_loss(self, pictures: Tensor, targets: Tensor, *more: Tensor) -> Tensor:
        """A scalar. `more` is what a batch has beside pictures, classes and items."""
        return nn.functional.cross_entropy(self(pictures), targets)

    def validation_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(logits, targets)

    def training_step(self, batch: tuple[Tensor, ...], number: int) -> Tensor:
        pictures, targets, items, *more = batch
        loss = self.training_loss(pictures, targets, *more)
        require_finite(loss, self, number, lambda: [self.ids[item] for item in items.tolist()])
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(targets), prog_bar=True, sync_dist=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor, Tensor], _: int) -> None:
        pictures, targets, _items = batch
        logits = self(pictures)
        loss = self.validation_loss(logits.float(), targets)
        right = (logits.argmax(1) == targets).float().mean()
        self.log_dict({"val_loss": loss, "val_accuracy": right}, batch_size=len(targets), prog_bar=True, sync_dist=True)

    def configure_optimizers(self) -> Any:
        return optimizers(self.trainer, self.network, self.settings)


def train(
    family: str,
    settings: ClassifierSettings,
    job: Job,
    module: Callable[[nn.Module, nn.Module, Any, list[str]], Classifier] = Classifier,
    chances: NDArray[np.float64] | None = None,
    points: Points | None = None,
    **notes: Any,
) -> Trained:
    """Train on `job`; `job.out` receives weights.safetensors and model.json, all that `load` needs.

    `module` trains the network, `chances` are those of each picture of train to be drawn and `points` places in it (see
    `stages/loading.py`). `notes` are what the family adds to model.json, or says otherwise in it. The network's outputs are
    `job.classes`.
    """
    if len(job.classes) < 2:
        raise DataError(f"train holds only the class {job.classes[0]}: there is nothing to tell apart")
    torch.manual_seed(job.seed)
    network = backbones.build(settings.architecture, settings.options, len(job.classes))
    started_from = backbones.initialise(network, settings.architecture, settings.options, settings.init, job.models, job.needs)
    mean, std = backbones.preprocessing(network)
    require_shape(network, settings.architecture, 3, settings.image_px, settings.image_px)
    train_set = Pictures(job.train, job.root, job.classes, settings, job.seed, training=True, points=points)
    val_set = Pictures(job.val, job.root, job.classes, settings, job.seed, training=False)
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
        **origin(settings, job, started_from, train=len(train_set), val=len(val_set)),
        **notes,
    }
    learning = module(network, Normalise(mean, std), settings, train_set.ids)
    return trained(learning, train_set, val_set, settings, job, card, lambda: in_use(card, network), chances)


class Probabilities(nn.Module):
    """uint8 (B, H, W, channels) -> probabilities (B, classes).

    Of a network that learned each class's own sigmoid, the sigmoids divided by their sum.
    """

    def __init__(self, network: nn.Module, normalise: nn.Module, loss: str) -> None:
        super().__init__()
        self.network, self.normalise = network.to(memory_format=torch.channels_last), normalise
        self.loss = loss

    def forward(self, pictures: Tensor) -> Tensor:
        logits = self.network(self.normalise(pictures)).float()
        # The softmax of their logarithms: none is 0 / 0, however sure the network is that it is no class at all.
        return (nn.functional.logsigmoid(logits) if self.loss == SIGMOID else logits).softmax(1)


def answering(card: dict[str, Any], network: nn.Module, normalise: nn.Module, view: View, **rest: Any) -> Network:
    """A trained classifier in use, on its device; every picture is shown to it by `view`."""
    return Network(
        card,
        CLASS,
        tuple(card["outputs"]),
        Probabilities(network, normalise, card.get("loss", SOFTMAX)).eval().to(device()),  # where a family has the choice
        lambda probabilities, _floor: list(probabilities.double().cpu().numpy()),
        lambda _width_px, _height_px: view,
        half=True,
        **rest,
    )


def in_use(card: dict[str, Any], network: nn.Module) -> Network:
    return answering(card, network, Normalise(card["mean"], card["std"]), squeezed(card["image_px"]))


def _require_sound(card: dict[str, Any], path: Path) -> None:
    """Raise DataError for what would be a fault only when a picture is shown."""
    labels, side_px = card["outputs"], card["image_px"]
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise DataError(f"{path}: outputs: given {labels!r}: names of classes are wanted. Get the model anew")
    if not isinstance(side_px, int) or not 0 < side_px <= _MOST_PX:
        raise DataError(f"{path}: image_px: given {side_px!r}: a side in px, up to {_MOST_PX}, is wanted. Get the model anew")


def load(folder: Path) -> Network:
    """A trained classifier in use. Raises DataError where its files are altered or do not fit each other."""
    card = read_card(folder)
    _require_sound(card, folder / "model.json")
    network = backbones.build(card["architecture"], card["options"], len(card["outputs"]))
    backbones.load_exactly(network, folder / "weights.safetensors", card["as_built"])
    return in_use(card, network)
