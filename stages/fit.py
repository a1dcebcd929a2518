"""The one training loop, Lightning's, behind every family but YOLO.

It keeps the weights of the epoch with the lowest validation loss, stops after `patience` epochs without a better one or after
`max_hours`, and goes on after a kill to the result of an unbroken run: the whole state is written after every epoch, and
every step draws from a seed of its own.

On several GPUs Lightning starts the same command once more for each (DDP). Each process trains on batches of its own, the
first one writes. A fault of one process ends all.
"""

import io
import logging
import math
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytorch_lightning as lightning
import safetensors.torch
import torch
from pydantic import Field
from pytorch_lightning.callbacks import Callback, TQDMProgressBar
from pytorch_lightning.plugins.environments import LightningEnvironment
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import Tensor, nn
from torch.utils.data import DataLoader

from stages.files import DataError, seed_from
from stages.limits import explained
from stages.loading import processes
from stages.settings import Record

# Lightning's advice on worker counts and its own logs: the stage says what matters.
logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module="pytorch_lightning")
warnings.filterwarnings("ignore", message=".*(does not have many workers|isinstance.treespec|LeafSpec).*")

LAST, BEST = "last.ckpt", "best.safetensors"


class LoopSettings(Record):
    """What the loop itself asks, whatever optimizer and schedule a family's module brings."""

    epochs: int = Field(50, gt=0)  # at most
    patience: int = Field(5, gt=0)  # epochs in a row without a lower validation loss before training stops
    max_hours: float = Field(12.0, gt=0)
    batch_size: int = Field(gt=0)  # of each process
    devices: int | None = Field(None, gt=0)  # processes or GPUs; null: every GPU, or one process on a CPU


class FitSettings(LoopSettings):
    """And what AdamW and the one-cycle schedule ask."""

    learning_rate: float = Field(gt=0)  # the one-cycle schedule's highest
    weight_decay: float = Field(0.05, ge=0)
    warmup_share: float = Field(0.1, gt=0, lt=1)  # of all steps, before the highest learning rate is reached


def one_cycle(step: int, warmup: int, total: int) -> float:
    """Share of the highest learning rate at a step: linear up from 1/25 over `warmup` steps, then half a cosine to 0."""
    if step < warmup:
        return 1 / 25 + (1 - 1 / 25) * step / warmup
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, total - warmup))))


def optimizers(trainer: lightning.Trainer, network: nn.Module, settings: FitSettings) -> Any:
    """What a module's `configure_optimizers` returns: AdamW and the one-cycle schedule."""
    cycle = whole_cycle(settings, int(trainer.estimated_stepping_batches))
    return scheduled(parameter_groups(network, settings.weight_decay), settings.learning_rate, [cycle, cycle])


def parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """What is decayed, and biases, norms, other vectors and a ViT's places, which are not, as timm's trainers have it."""
    spared = undecayed(network)
    decayed = [p for name, p in network.named_parameters() if p.ndim > 1 and name not in spared]
    plain = [p for name, p in network.named_parameters() if p.ndim <= 1 or name in spared]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]


def undecayed(network: nn.Module) -> set[str]:
    """The parameters that timm's networks name as not to be decayed, those of its parts too; of others none."""
    return {
        f"{prefix}.{name}" if prefix else name
        for prefix, module in network.named_modules()
        if callable(named := getattr(module, "no_weight_decay", None))
        for name in named()
    }


def whole_cycle(settings: FitSettings, total: int) -> Callable[[int], float]:
    """The one-cycle schedule over `total` steps: step -> share of the highest learning rate."""
    warmup = max(1, round(settings.warmup_share * total))
    return lambda step: one_cycle(step, warmup, total)


def scheduled(groups: list[dict[str, Any]], learning_rate: float, shares: list[Callable[[int], float]]) -> Any:
    """AdamW and, for each of its groups of parameters, the share of its learning rate at each step.

    A group's learning rate is its own `lr`, or `learning_rate`.
    """
    optimizer = torch.optim.AdamW(groups, lr=learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, shares)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class PlainIO(TorchCheckpointIO):
    """States go straight to their place. Lightning's own way leads through /tmp, another disk perhaps: a kill leaves them."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        memory = io.BytesIO()
        torch.save(checkpoint, memory)
        Path(path).write_bytes(memory.getbuffer())


class CommonFault(DataError):
    """A fault that every process raises: the first one reports it."""


def require_finite(loss: Tensor, module: lightning.LightningModule, batch: int, pictures: Callable[[], list[str]]) -> None:
    """Raise CommonFault in every process when the training loss of one is not finite. `pictures` names those of the batch."""
    finite, together = torch.isfinite(loss.detach()), processes()[1]
    everywhere = finite
    if together > 1:
        everywhere = finite.float()
        torch.distributed.all_reduce(everywhere, torch.distributed.ReduceOp.MIN)
    if everywhere:
        return
    message = None
    if not finite:
        rate = max(group["lr"] for group in module.trainer.optimizers[0].param_groups)
        message = (
            f"the training loss is {loss.item()} at epoch {module.current_epoch}, step {module.global_step}, batch {batch} "
            f"(pictures {pictures()[:4]}, ...), learning rate {rate:.3g}. Nothing was saved from it; lower learning_rate"
        )
    messages = [message] * together
    if together > 1:
        torch.distributed.all_gather_object(messages, message)
    raise CommonFault(next(filter(None, messages)))


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
        number, together = processes()
        own = (number,) if together > 1 else ()  # each process drops out other units
        torch.manual_seed(seed_from(self.seed, "step", trainer.global_step, *own))

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: Any) -> None:
        # The first process's figures, so that all of them find the same epoch best and stop together.
        figures = trainer.strategy.broadcast({name: float(value) for name, value in trainer.callback_metrics.items()})
        rate = max(group["lr"] for group in trainer.optimizers[0].param_groups)
        self.rows.append({"epoch": trainer.current_epoch, **figures, "learning_rate": rate})
        self.seconds += time.perf_counter() - self.started
        if figures["val_loss"] < self.best:  # never true of NaN
            self.best, self.best_epoch = figures["val_loss"], trainer.current_epoch
            if trainer.is_global_zero:
                state = {name: value.contiguous() for name, value in module.network.state_dict().items()}
                temporary = self.work / f"{BEST}.partial"
                temporary.write_bytes(safetensors.torch.save(state))  # save_file's error on a full disk is not an OSError
                os.replace(temporary, self.work / BEST)
        temporary = self.work / f"{LAST}.partial"
        trainer.save_checkpoint(temporary)  # in every process: they wait for each other in it
        if trainer.is_global_zero:
            os.replace(temporary, self.work / LAST)
        trainer.should_stop = trainer.should_stop or self.exhausted()


def _resumable(work: Path, say: Callable[[str], None]) -> Path | None:
    """The state to go on from, if there is one that can be read whole. Pickled code in it is never run."""
    last = work / LAST
    if not last.is_file() or not (work / BEST).is_file():
        return None
    try:
        torch.load(last, map_location="cpu", weights_only=True)
        safetensors.torch.load_file(work / BEST)
    except Exception as error:  # safetensors, pickle and zip faults share no base
        say(f"the state in {work} is damaged ({type(error).__name__}): training starts again from the first epoch")
        return None
    say(f"going on from {last}")
    return last


def fit(
    module: lightning.LightningModule,
    train: DataLoader[Any],
    val: DataLoader[Any],
    settings: LoopSettings,
    seed: int,
    work: Path,
) -> tuple[dict[str, Tensor], pd.DataFrame, dict[str, Any]]:
    """Train, or go on training from what `work` holds. Returns the best weights, the curve, and seconds and epochs.

    `module` has a `network`, whose weights are kept, and logs `val_loss` for every epoch. Every process returns, the same
    weights; when one does, all have done with `work`.

    Raises DataError for a loss that is not finite, for no epoch with a finite validation loss, for lack of memory and for a
    full disk; KeyboardInterrupt for Ctrl-C and SIGTERM.
    """
    work.mkdir(parents=True, exist_ok=True)
    keeper = Keeper(work, seed, settings.patience)
    cuda, watched = torch.cuda.is_available(), sys.stderr.isatty()  # a log file wants no progress bar
    if cuda and (settings.devices or 1) > torch.cuda.device_count():
        raise DataError(f"devices: {settings.devices} asked for, this machine has {torch.cuda.device_count()} GPUs")
    trainer = lightning.Trainer(
        max_epochs=settings.epochs,
        max_time=timedelta(hours=settings.max_hours),
        accelerator="auto" if cuda else "cpu",
        devices=settings.devices or ("auto" if cuda else 1),
        plugins=[PlainIO(), LightningEnvironment()],  # always the launcher of the further processes, under SLURM too
        use_distributed_sampler=False,  # our samplers give each process its share
        precision="bf16-mixed" if cuda else "32-true",
        callbacks=[TQDMProgressBar(refresh_rate=10), keeper] if watched else [keeper],
        enable_progress_bar=watched,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
    )
    state = _resumable(work, print if trainer.is_global_zero else lambda _: None)
    try:
        best = _fit(trainer, module, train, val, keeper, state)
    except BaseException as error:
        launcher: Any = trainer.strategy.launcher
        if launcher is not None:
            launcher.kill(signal.SIGKILL)  # the processes that this one started, or they would wait for it
            launcher.procs.clear()  # or Lightning, finding them dead, would kill this one before it has said what is wrong
        if told := explained(error, settings.batch_size, work):
            raise told from None
        if isinstance(error, ValueError) and settings.batch_size == 1 and "more than 1 value per channel" in str(error):
            raise DataError("batch_size 1: batch norm cannot train on one picture at a time: take 2 or more") from None
        if isinstance(error, CommonFault) and not trainer.is_global_zero:
            sys.exit(0)  # a failure here would have Lightning kill the first process before it has said what is wrong
        if isinstance(error, SystemExit) and trainer.interrupted:  # Lightning's end of Ctrl-C and SIGTERM
            if not trainer.is_global_zero:
                sys.exit(130)
            raise KeyboardInterrupt from None
        raise
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()  # else loaders would go on dealing out shares
    facts = {"train_seconds": round(keeper.seconds, 1), "epochs": len(keeper.rows), "best_epoch": keeper.best_epoch}
    return best, pd.DataFrame(keeper.rows), facts


def _fit(
    trainer: lightning.Trainer,
    module: lightning.LightningModule,
    train: DataLoader[Any],
    val: DataLoader[Any],
    keeper: Keeper,
    state: Path | None,
) -> dict[str, Tensor]:
    trainer.fit(module, train, val, ckpt_path=state, weights_only=True)
    if keeper.best_epoch < 0:
        raise CommonFault("no epoch had a finite validation loss: nothing was saved. Lower learning_rate")
    trainer.strategy.barrier()  # the first process has written
    best = safetensors.torch.load_file(keeper.work / BEST)
    trainer.strategy.barrier()  # every process has read: `work` may go
    return best
