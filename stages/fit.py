"""The one training loop, Lightning's, behind every family but YOLO.

It keeps the weights of the epoch with the lowest validation loss, stops after `patience` epochs without a better one or after
`max_hours`, and goes on after a kill to the result of an unbroken run: the whole state is written after every epoch, and
every step draws from a seed of its own.
"""

import logging
import math
import os
import sys
import time
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytorch_lightning as lightning
import safetensors.torch
import torch
from pydantic import Field
from pytorch_lightning.callbacks import Callback, TQDMProgressBar
from torch import Tensor, nn
from torch.utils.data import DataLoader

from stages.files import DataError, seed_from
from stages.settings import Record

# Lightning's advice on worker counts and its own logs: the stage says what matters.
logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module="pytorch_lightning")
warnings.filterwarnings("ignore", message=".*(does not have many workers|isinstance.treespec|LeafSpec).*")

LAST, BEST = "last.ckpt", "best.safetensors"


class FitSettings(Record):
    epochs: int = Field(50, gt=0)  # at most
    patience: int = Field(5, gt=0)  # epochs in a row without a lower validation loss before training stops
    max_hours: float = Field(12.0, gt=0)
    batch_size: int = Field(gt=0)
    learning_rate: float = Field(gt=0)  # the one-cycle schedule's highest
    weight_decay: float = Field(0.05, ge=0)
    warmup_share: float = Field(0.1, gt=0, lt=1)  # of all steps, before the highest learning rate is reached


def one_cycle(step: int, warmup: int, total: int) -> float:
    """Share of the highest learning rate at a step: linear up from 1/25 over `warmup` steps, then half a cosine to 0."""
    if step < warmup:
        return 1 / 25 + (1 - 1 / 25) * step / warmup
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, total - warmup))))


class Classifier(lightning.LightningModule):
    """Cross-entropy over classes. A batch is (uint8 (B, P, P, 3), class index (B,), item (B,))."""

    mean: Tensor  # of each channel, in 0..255; (1, 3, 1, 1)
    std: Tensor

    def __init__(
        self, network: nn.Module, mean: tuple[float, ...], std: tuple[float, ...], settings: FitSettings, ids: list[str]
    ) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)
        self.settings, self.ids = settings, ids
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1) * 255, persistent=False)

    def forward(self, pictures: Tensor) -> Tensor:
        """uint8 (B, P, P, 3) -> logits (B, classes). The permuted view is channels_last without a copy."""
        return self.network((pictures.permute(0, 3, 1, 2).float() - self.mean) / self.std)

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor], number: int) -> Tensor:
        pictures, targets, items = batch
        loss = nn.functional.cross_entropy(self(pictures), targets)
        if not torch.isfinite(loss):
            rate = self.trainer.optimizers[0].param_groups[0]["lr"]
            shown = [self.ids[item] for item in items.tolist()[:4]]
            raise DataError(
                f"the training loss is {loss.item()} at epoch {self.current_epoch}, step {self.global_step}, batch {number} "
                f"(pictures {shown}, ...), learning rate {rate:.3g}. Nothing was saved from it; lower learning_rate"
            )
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(targets), prog_bar=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor, Tensor], _: int) -> None:
        pictures, targets, _items = batch
        logits = self(pictures)
        loss = nn.functional.cross_entropy(logits.float(), targets)
        right = (logits.argmax(1) == targets).float().mean()
        self.log_dict({"val_loss": loss, "val_accuracy": right}, batch_size=len(targets), prog_bar=True, sync_dist=True)

    def configure_optimizers(self) -> Any:
        # Biases, norms and other vectors are not decayed, as timm's trainers have it.
        decayed = [p for p in self.network.parameters() if p.ndim > 1]
        plain = [p for p in self.network.parameters() if p.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": self.settings.weight_decay}, {"params": plain, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, lr=self.settings.learning_rate)
        total = int(self.trainer.estimated_stepping_batches)
        warmup = max(1, round(self.settings.warmup_share * total))
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: one_cycle(step, warmup, total))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class Keeper(Callback):
    """Seeds each step, notes its figures, keeps the best weights and the state to resume from, and stops early.

    Lightning's own EarlyStopping counts an epoch only after every other callback, and so after the state is written: a
    resumed training would be an epoch more patient than an unbroken one.
    """

    def __init__(self, work: Path, seed: int, patience: int) -> None:
        self.work, self.seed, self.patience = work, seed, patience
        self.best, self.best_epoch, self.seconds = math.inf, -1, 0.0
        self.rows: list[dict[str, float]] = []

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_epoch": self.best_epoch, "seconds": self.seconds, "rows": self.rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.best_epoch, self.seconds, self.rows = (
            state["best"], state["best_epoch"], state["seconds"], list(state["rows"])
        )  # fmt: skip

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        # After a kill between the last epoch and the end of the stage there is nothing left to do.
        trainer.should_stop = trainer.should_stop or self.exhausted()

    def exhausted(self) -> bool:
        return len(self.rows) - 1 - self.best_epoch >= self.patience

    def on_train_epoch_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self.started = time.perf_counter()

    def on_train_batch_start(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        # Not once an epoch: loaders draw from the same generator, more often after a resume and with loader processes.
        torch.manual_seed(seed_from(self.seed, "step", trainer.global_step))

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: Any) -> None:
        figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        self.rows.append({"epoch": trainer.current_epoch, **figures, "learning_rate": rate})
        self.seconds += time.perf_counter() - self.started
        if figures["val_loss"] < self.best:  # never true of NaN
            self.best, self.best_epoch = figures["val_loss"], trainer.current_epoch
            if trainer.is_global_zero:
                state = {name: value.contiguous() for name, value in module.network.state_dict().items()}
                temporary = self.work / f"{BEST}.partial"
                safetensors.torch.save_file(state, temporary)
                os.replace(temporary, self.work / BEST)
        temporary = self.work / f"{LAST}.partial"
        trainer.save_checkpoint(temporary)
        if trainer.is_global_zero:
            os.replace(temporary, self.work / LAST)
        trainer.should_stop = trainer.should_stop or self.exhausted()


def _resumable(work: Path) -> Path | None:
    """The state to go on from, if there is one that can be read whole. Pickled code in it is never run."""
    last = work / LAST
    if not last.is_file() or not (work / BEST).is_file():
        return None
    try:
        torch.load(last, map_location="cpu", weights_only=True)
        safetensors.torch.load_file(work / BEST)
    except Exception as error:  # safetensors, pickle and zip faults share no base
        print(f"the state in {work} is damaged ({type(error).__name__}): training starts again from the first epoch")
        return None
    print(f"going on from {last}")
    return last


def fit(
    module: Classifier, train: DataLoader[Any], val: DataLoader[Any], settings: FitSettings, seed: int, work: Path
) -> tuple[dict[str, Tensor], pd.DataFrame, dict[str, Any]]:
    """Train, or go on training from what `work` holds. Returns the best weights, the curve, and seconds and epochs.

    Raises DataError for a loss that is not finite, for no epoch with a finite validation loss, and for lack of memory.
    """
    work.mkdir(parents=True, exist_ok=True)
    keeper = Keeper(work, seed, settings.patience)
    cuda, watched = torch.cuda.is_available(), sys.stderr.isatty()  # a log file wants no progress bar
    trainer = lightning.Trainer(
        max_epochs=settings.epochs,
        max_time=timedelta(hours=settings.max_hours),
        accelerator="auto" if cuda else "cpu",
        devices="auto" if cuda else 1,
        precision="bf16-mixed" if cuda else "32-true",
        callbacks=[TQDMProgressBar(refresh_rate=10), keeper] if watched else [keeper],
        enable_progress_bar=watched,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
    )
    try:
        trainer.fit(module, train, val, ckpt_path=_resumable(work), weights_only=True)
    except torch.OutOfMemoryError as error:
        half = max(1, settings.batch_size // 2)
        raise DataError(f"out of GPU memory at batch_size {settings.batch_size}: try batch_size={half} ({error})") from None
    if trainer.interrupted:
        raise KeyboardInterrupt
    if keeper.best_epoch < 0:
        raise DataError("no epoch had a finite validation loss: nothing was saved. Lower learning_rate")
    best = safetensors.torch.load_file(work / BEST)
    facts = {"train_seconds": round(keeper.seconds, 1), "epochs": len(keeper.rows), "best_epoch": keeper.best_epoch}
    return best, pd.DataFrame(keeper.rows), facts
