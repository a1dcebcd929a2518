"""The training loop: what it keeps, when it stops, and that going on after a kill ends where an unbroken run ends."""

import hashlib
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import pytorch_lightning as lightning
import safetensors.torch
import torch
from torch import Tensor, nn

from stages import fit as fitting
from stages.backbones import build
from stages.classifier import Classifier, ClassifierSettings, Normalise
from stages.files import DataError
from stages.fit import BEST, LAST, Keeper, fit
from stages.loading import Pictures, loader
from tests import training_helpers as tiny
from tests.disk_helpers import fill, small_disk

STEPS = 2  # a training epoch of 16 pictures in batches of 8
AUGMENTED = {"flip": True, "zoom": 1.3, "rotate_deg": 10.0, "light": 0.2}


class Killed(Exception):
    """Stands for kill -9 at one place: what a test has on disk then is what a killed process leaves."""


class Net(nn.Module):
    """Sixteen 2 x 2 patches, dropout and a linear layer: steps of a millisecond. Misbehaves in the ways that tests ask for."""

    def __init__(self, nan_at_step: int | None = None, nan_in_validation: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.ReLU(), nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 2))
        self.nan_at_step, self.nan_in_validation = nan_at_step, nan_in_validation
        self.steps = 0

    def forward(self, pictures: Tensor) -> Tensor:
        logits = self.net(pictures)
        if self.training:
            self.steps += 1
            return logits * math.nan if self.nan_at_step == self.steps - 1 else logits
        return logits * math.nan if (self.steps // STEPS - 1) in self.nan_in_validation else logits


class Run:
    """A training on red and blue pictures that can be taken up again from its `work`."""

    def __init__(self, tmp_path: Path, work: str = "work", **changes: Any) -> None:
        self.job = tiny.job(tmp_path)
        self.settings = tiny.settings(**({"epochs": 4, "learning_rate": 0.01} | changes))
        self.work = tmp_path / work

    def __call__(self, make: Callable[[], nn.Module] = Net, seed: int = 0) -> tuple[dict[str, Tensor], pd.DataFrame, Any]:
        torch.manual_seed(seed)
        network = make()
        train = Pictures(self.job.train, self.job.root, self.job.classes, self.settings, seed, training=True)
        val = Pictures(self.job.val, self.job.root, self.job.classes, self.settings, seed, training=False)
        module = Classifier(network, Normalise((0.5,) * 3, (0.2,) * 3), self.settings, train.ids)
        batch = self.settings.batch_size
        return fit(module, loader(train, batch, seed), loader(val, batch), self.settings, seed, self.work)


def sha256(weights: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode() + weights[name].numpy().tobytes())
    return digest.hexdigest()


def validation_losses(monkeypatch: pytest.MonkeyPatch, losses: list[float]) -> None:
    """Let the epochs have these validation losses, whatever the network learns."""

    def step(self: Classifier, batch: Any, _: int) -> None:
        self(batch[0])
        self.log_dict({"val_loss": losses[self.current_epoch], "val_accuracy": 0.5}, batch_size=len(batch[1]))

    monkeypatch.setattr(Classifier, "validation_step", step)


def kill_after_state_of(monkeypatch: pytest.MonkeyPatch, epoch: int) -> None:
    original = Keeper.on_train_epoch_end

    def then_die(self: Keeper, trainer: Any, module: Any) -> None:
        original(self, trainer, module)
        if trainer.current_epoch == epoch:
            raise Killed

    monkeypatch.setattr(Keeper, "on_train_epoch_end", then_die)


# --- learning ----------------------------------------------------------------------------------------------------------


def test_the_best_epochs_weights_are_returned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, states = Run(tmp_path, epochs=5), []
    original = Keeper.on_train_epoch_end

    def note(self: Keeper, trainer: Any, module: Any) -> None:
        original(self, trainer, module)
        states.append(sha256(module.network.state_dict()))

    monkeypatch.setattr(Keeper, "on_train_epoch_end", note)
    validation_losses(monkeypatch, [0.9, 0.4, 0.6, 0.4, 0.5])
    best, curve, facts = run()
    assert facts["best_epoch"] == 1, "the first of two equal ones"
    assert sha256(best) == states[1]
    assert len(set(states)) == 5
    assert curve["val_loss"].tolist() == pytest.approx([0.9, 0.4, 0.6, 0.4, 0.5])
    assert curve["epoch"].tolist() == [0, 1, 2, 3, 4]


def test_the_curve_has_a_row_for_each_epoch_and_the_schedule_rises_and_falls(tmp_path: Path) -> None:
    _, curve, facts = Run(tmp_path, epochs=10, warmup_share=0.3)()
    assert set(curve.columns) == {"epoch", "train_loss", "val_loss", "val_accuracy", "learning_rate"}
    rates = curve["learning_rate"].tolist()
    assert max(rates) == pytest.approx(0.01, rel=0.05)
    assert rates.index(max(rates)) in (1, 2)
    assert rates[-1] < 0.001
    assert facts["epochs"] == 10
    assert facts["train_seconds"] > 0


def test_one_picture_a_batch_is_refused_where_batch_norm_cannot_learn_from_it(tmp_path: Path) -> None:
    def network() -> nn.Module:  # batch norm of what is no longer spread over a picture
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3, 2))

    with pytest.raises(DataError, match="batch_size 1: batch norm cannot train on one picture at a time: take 2 or more"):
        Run(tmp_path, batch_size=1)(network)


def test_biases_and_norms_are_not_decayed(tmp_path: Path) -> None:
    network = build("test_resnet", {}, 2)
    module = Classifier(network, Normalise((0.5,) * 3, (0.2,) * 3), tiny.settings(), [])

    class Trainer:
        estimated_stepping_batches = 10

    module._trainer = Trainer()  # type: ignore[assignment]
    decayed, plain = module.configure_optimizers()["optimizer"].param_groups
    assert decayed["weight_decay"] == 0.05
    assert plain["weight_decay"] == 0
    assert all(parameter.ndim > 1 for parameter in decayed["params"])
    assert all(parameter.ndim <= 1 for parameter in plain["params"])
    assert len(decayed["params"]) + len(plain["params"]) == len(list(network.parameters()))


def test_pictures_are_normalised_by_mean_and_deviation() -> None:
    module = Classifier(nn.Identity(), Normalise((0.5, 0.25, 0.0), (0.5, 0.1, 1.0)), tiny.settings(), [])
    picture = torch.tensor([255, 51, 102], dtype=torch.uint8).expand(2, 4, 5, 3)
    found = module(picture)
    assert found.shape == (2, 3, 4, 5)
    assert found[1, :, 2, 3].tolist() == pytest.approx([1.0, -0.5, 0.4], abs=1e-6)


# --- stopping ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("losses", "patience", "epochs", "best"), [
    ([0.5, 0.6, 0.6, 0.6, 0.6, 0.6], 2, 3, 0),
    ([0.5, 0.6, 0.4, 0.6, 0.6, 0.1], 2, 5, 2),
    ([0.5, 0.5, 0.5, 0.5, 0.5, 0.5], 3, 4, 0),  # equal is not better
    ([0.5, 0.4, 0.3, 0.2, 0.1, 0.0], 1, 6, 5),
    ([0.5, math.nan, math.nan, 0.4, 0.6, 0.7], 3, 6, 3),
    ([math.nan, math.nan, 0.4, 0.6, 0.7, 0.1], 2, 2, -1),
])  # fmt: skip
def test_patience(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, losses: list[float], patience: int, epochs: int, best: int
) -> None:
    validation_losses(monkeypatch, losses)
    run = Run(tmp_path, epochs=6, patience=patience)
    if best < 0:
        with pytest.raises(DataError, match="no epoch had a finite validation loss: nothing was saved"):
            run()
        assert not (run.work / BEST).exists()
        return
    _, curve, facts = run()
    assert (facts["epochs"], facts["best_epoch"]) == (epochs, best)
    assert len(curve) == epochs


def test_training_stops_at_its_hours(tmp_path: Path) -> None:
    _, curve, facts = Run(tmp_path, epochs=100_000, patience=100_000, max_hours=1 / 3600)()
    assert 1 <= facts["epochs"] < 2000
    assert len(curve) == facts["epochs"]
    assert facts["train_seconds"] < 5


# --- fault 48: a loss that is not finite -------------------------------------------------------------------------------


def test_fault_48_a_nan_loss_stops_and_says_where(tmp_path: Path) -> None:
    run = Run(tmp_path)
    with pytest.raises(DataError) as raised:
        run(lambda: Net(nan_at_step=5))
    message = str(raised.value)
    assert "the training loss is nan at epoch 2, step 5, batch 1" in message
    assert "learning rate 0.00" in message
    assert "lower learning_rate" in message
    named = message.split("pictures [")[1].split("]")[0]
    assert len(named.split(",")) == 4
    assert all(word.strip(" '").startswith("t") for word in named.split(",")), "the pictures of the batch, by their ids"


def test_fault_48_the_last_good_state_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    validation_losses(monkeypatch, [0.5, 0.4, 0.3, 0.2])
    good = Run(tmp_path, "good")
    kept = {}
    with monkeypatch.context() as patch:
        kill_after_state_of(patch, 1)
        with pytest.raises(Killed):
            good()
    for name in (LAST, BEST):
        kept[name] = (good.work / name).read_bytes()
    bad = Run(tmp_path, "bad")
    with pytest.raises(DataError, match="epoch 2"):
        bad(lambda: Net(nan_at_step=4))
    assert (bad.work / BEST).read_bytes() == kept[BEST]
    state = torch.load(bad.work / LAST, weights_only=True)
    assert state["callbacks"]["Keeper"]["best_epoch"] == 1
    assert all(torch.isfinite(value).all() for value in state["state_dict"].values())
    assert [path.name for path in sorted(bad.work.iterdir())] == [BEST, LAST]


def test_fault_48_a_huge_learning_rate_ends_in_words(tmp_path: Path) -> None:
    class Squares(Net):  # a loss that overflows as a deep network's does
        def forward(self, pictures: Tensor) -> Tensor:
            return super().forward(pictures) ** 9 * 1e9

    with pytest.raises(
        DataError, match=r"the training loss is (nan|inf) at epoch \d+, step \d+, batch \d .*learning rate 1e\+06"
    ):
        Run(tmp_path, learning_rate=1e6, warmup_share=0.01, epochs=50)(Squares)


def test_fault_48_a_nan_validation_loss_is_never_best(tmp_path: Path) -> None:
    run = Run(tmp_path, epochs=4)
    best, curve, facts = run(lambda: Net(nan_in_validation=(0, 2)))
    assert curve["val_loss"].isna().tolist() == [True, False, True, False]
    assert facts["best_epoch"] in (1, 3)
    assert all(torch.isfinite(value).all() for value in best.values())


def test_fault_57_out_of_memory_suggests_a_batch_size(tmp_path: Path) -> None:
    class Hungry(Net):
        def forward(self, pictures: Tensor) -> Tensor:
            raise torch.OutOfMemoryError("tried to allocate 20 GiB")

    run = Run(tmp_path)
    with pytest.raises(DataError, match=r"out of GPU memory at batch_size 8: try batch_size=4 \(tried to allocate 20 GiB\)"):
        run(Hungry)
    assert not (run.work / BEST).exists()


def test_fault_57_of_memory_that_a_cpu_has_not_too(tmp_path: Path) -> None:
    class Hungry(Net):
        def forward(self, pictures: Tensor) -> Tensor:
            return super().forward(pictures) + torch.empty(2**52, dtype=torch.uint8)[0]  # the allocator itself says no

    run = Run(tmp_path)
    with pytest.raises(DataError, match=r"out of memory at batch_size 8: try batch_size=4 \(.*4503599627370496 bytes"):
        run(Hungry)
    assert not (run.work / BEST).exists()


# --- a full disk -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("full", [BEST, LAST])
def test_fault_43_a_full_disk_stops_training_and_the_state_before_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: str
) -> None:
    """Where the weights of the best epoch, or then the whole state, can no longer be written."""
    validation_losses(monkeypatch, [0.5, 0.4, 0.3, 0.2])
    weights, curve, _ = Run(tmp_path, "unbroken")()
    with small_disk(tmp_path / "disk") as disk:
        run = Run(tmp_path, "disk/work")
        original, filler = Keeper.on_train_epoch_end, disk / "filler"

        def then_fill(self: Keeper, trainer: Any, module: Any) -> None:
            if trainer.current_epoch == 2:
                fill(disk, leave_bytes=0 if full == BEST else (run.work / BEST).stat().st_size + 4096)
            original(self, trainer, module)

        with monkeypatch.context() as patch:
            patch.setattr(Keeper, "on_train_epoch_end", then_fill)
            with pytest.raises(
                DataError, match="disk full while writing .*work.* Make room and run the same command again: it goes on behind"
            ):
                run()
        state = torch.load(run.work / LAST, weights_only=True)
        assert state["epoch"] == 1
        assert sorted(path.name for path in run.work.iterdir()) == [BEST, LAST], "what was half written is gone"
        filler.unlink()
        again, curve_again, _ = run()
        assert sha256(again) == sha256(weights)
        pd.testing.assert_frame_equal(curve_again, curve)


# --- Ctrl-C ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("step", [4, 5])  # the first and the last of the third epoch
def test_an_interrupted_training_says_so_and_goes_on_later(tmp_path: Path, number: signal.Signals, step: int) -> None:
    weights, curve, _ = Run(tmp_path, "unbroken")()

    class Interrupted(Net):
        def forward(self, pictures: Tensor) -> Tensor:
            if self.training and self.steps == step:
                os.kill(os.getpid(), number)
            return super().forward(pictures)

    run, before = Run(tmp_path, "broken"), signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        run(Interrupted)
    assert signal.getsignal(number) == before
    # SIGTERM lets the step end, and with the last step its epoch.
    assert torch.load(run.work / LAST, weights_only=True)["epoch"] == (2 if (number, step) == (signal.SIGTERM, 5) else 1)
    again, curve_again, _ = run()
    assert sha256(again) == sha256(weights)
    pd.testing.assert_frame_equal(curve_again, curve)


# --- any module --------------------------------------------------------------------------------------------------------


def test_any_module_with_a_network_that_logs_val_loss_is_trained(tmp_path: Path) -> None:
    class Brightness(lightning.LightningModule):
        def __init__(self, settings: Any) -> None:
            super().__init__()
            self.network, self.settings = nn.Linear(1, 1), settings

        def loss(self, batch: Any) -> Tensor:
            mean = batch[0].float().mean((1, 2, 3))[:, None] / 255
            return nn.functional.mse_loss(self.network(mean), mean)

        def training_step(self, batch: Any, number: int) -> Tensor:
            return self.loss(batch)

        def validation_step(self, batch: Any, number: int) -> None:
            self.log("val_loss", self.loss(batch), batch_size=len(batch[0]))

        def configure_optimizers(self) -> Any:
            return fitting.optimizers(self.trainer, self.network, self.settings)

    run = Run(tmp_path, epochs=10)
    train = Pictures(run.job.train, run.job.root, run.job.classes, run.settings, 0, training=True)
    weights, curve, _ = fit(Brightness(run.settings), loader(train, 8, 0), loader(train, 8), run.settings, 0, run.work)
    assert set(weights) == {"weight", "bias"}
    assert curve["val_loss"].iloc[-1] < curve["val_loss"].iloc[0]


def test_more_gpus_than_there_are_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(DataError, match="devices: 3 asked for, this machine has 1 GPUs"):
        Run(tmp_path, devices=3)()


# --- faults 49 and 50: killed and taken up again -----------------------------------------------------------------------


@pytest.mark.parametrize("epoch", [0, 1, 3])
def test_fault_50_resumed_is_unbroken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epoch: int) -> None:
    """Dropout, augmentation, order, optimizer, schedule: every one of them must go on where it was."""
    weights, curve, facts = Run(tmp_path, "unbroken", **AUGMENTED)()
    run = Run(tmp_path, "broken", **AUGMENTED)
    with monkeypatch.context() as patch:
        kill_after_state_of(patch, epoch)
        with pytest.raises(Killed):
            run()
    torch.manual_seed(99)  # a new process draws on from elsewhere
    again, curve_again, facts_again = run()
    assert sha256(again) == sha256(weights)
    pd.testing.assert_frame_equal(curve_again, curve)
    assert facts_again["best_epoch"] == facts["best_epoch"]
    last, whole = (torch.load(Path(tmp_path, work, LAST), weights_only=True) for work in ("broken", "unbroken"))
    assert sha256(last["state_dict"]) == sha256(whole["state_dict"]), "the last epoch's weights too, not the best alone"


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_fault_50_early_stopping_goes_on_counting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epoch: int) -> None:
    """Epoch 3 is the second without a better one: an unbroken run stops there, however good epoch 4 would be."""
    validation_losses(monkeypatch, [0.5, 0.4, 0.6, 0.6, 0.1, 0.05])
    weights, _, facts = Run(tmp_path, "unbroken", epochs=6, patience=2)()
    assert (facts["epochs"], facts["best_epoch"]) == (4, 1)
    run = Run(tmp_path, "broken", epochs=6, patience=2)
    with monkeypatch.context() as patch:
        kill_after_state_of(patch, epoch)
        with pytest.raises(Killed):
            run()
    again, curve, facts_again = run()
    assert (facts_again["epochs"], facts_again["best_epoch"]) == (4, 1)
    assert len(curve) == 4
    assert sha256(again) == sha256(weights)


def test_a_finished_training_is_not_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tmp_path)
    weights, curve, _ = run()

    def never(*_: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(Classifier, "training_step", never)
    again, curve_again, _ = run()
    assert sha256(again) == sha256(weights)
    pd.testing.assert_frame_equal(curve_again, curve)


@pytest.mark.parametrize("what", [BEST, LAST])
@pytest.mark.parametrize("epoch", [0, 2])
def test_fault_49_killed_while_a_state_is_written_the_one_before_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, epoch: int
) -> None:
    validation_losses(monkeypatch, [0.5, 0.4, 0.3, 0.2])
    weights, curve, _ = Run(tmp_path, "unbroken")()
    run = Run(tmp_path, "broken")
    calls, original = [], fitting.os.replace

    def die_at_the_rename(source: Path, target: Path) -> None:
        if Path(target).name == what and Path(target).parent == run.work:
            calls.append(target)
            if len(calls) == epoch + 1:
                Path(source).write_bytes(Path(source).read_bytes()[:100])  # half written
                raise Killed
        original(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(fitting.os, "replace", die_at_the_rename)
        with pytest.raises(Killed):
            run()
    assert (run.work / f"{what}.partial").is_file()
    again, curve_again, _ = run()
    assert sha256(again) == sha256(weights)
    pd.testing.assert_frame_equal(curve_again, curve)


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests import test_fit as t
name, folder, original, calls = sys.argv[2], Path(sys.argv[3]), Path.write_bytes, []

def half(self, data):
    if self.name == f"{name}.partial":
        calls.append(self)
        if len(calls) == 3:
            original(self, bytes(data)[: len(data) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
    return original(self, data)

Path.write_bytes = half
t.Classifier.validation_step = lambda self, batch, _: self.log("val_loss", 1 / (1 + self.current_epoch), batch_size=len(batch[1]))
print(t.sha256(t.Run(folder)()[0]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("what", [BEST, LAST])
def test_fault_49_kill_9_in_the_middle_of_a_write_the_one_before_loads(
    tmp_path: Path, what: str, record_property: Callable[[str, object], None]
) -> None:
    """A process that is really killed with half of the third epoch's bytes written."""

    def run(name: str, folder: Path) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-c", KILLED, str(Path(__file__).parent.parent), name, str(folder)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    whole = run("nothing", tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    assert run(what, tmp_path / "broken").returncode == -signal.SIGKILL
    work = tmp_path / "broken/work"
    assert torch.load(work / LAST, weights_only=True)["epoch"] == 1
    assert (work / f"{what}.partial").is_file()
    again = run("nothing", tmp_path / "broken")
    assert "going on from" in again.stdout
    record_property("says", "going on from .../last.ckpt")
    assert again.stdout.splitlines()[-1] == whole.stdout.splitlines()[-1], "the same weights as without a kill"


@pytest.mark.parametrize("what", [BEST, LAST])
@pytest.mark.parametrize("damage", ["empty", "half", "garbage"])
def test_fault_49_a_damaged_state_is_said_and_training_starts_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], what: str, damage: str
) -> None:
    weights, curve, _ = Run(tmp_path, "unbroken")()
    run = Run(tmp_path, "broken")
    with monkeypatch.context() as patch:
        kill_after_state_of(patch, 2)
        with pytest.raises(Killed):
            run()
    path = run.work / what
    data = path.read_bytes()
    path.write_bytes({"empty": b"", "half": data[: len(data) // 2], "garbage": b"\x00\xff" * 500}[damage])
    capsys.readouterr()
    again, curve_again, _ = run()
    assert "is damaged" in (said := capsys.readouterr().out)
    assert "training starts again from the first epoch" in said
    assert sha256(again) == sha256(weights)
    pd.testing.assert_frame_equal(curve_again, curve)


def test_fault_53_a_hostile_state_is_not_run(tmp_path: Path) -> None:
    from tests.test_backbones import Hostile

    run, trace = Run(tmp_path), tmp_path / "attacked"
    run.work.mkdir()
    torch.save({"state_dict": {}, "x": Hostile(trace)}, run.work / LAST)
    safetensors.torch.save_file({"a": torch.zeros(1)}, run.work / BEST)
    weights, _, _ = run()
    assert not trace.exists()
    assert sha256(weights) == sha256(Run(tmp_path, "unbroken")()[0])


# --- faults 51 and 52: seeds and workers -------------------------------------------------------------------------------


def test_fault_51_the_seed_decides(tmp_path: Path) -> None:
    one, again, other = (
        sha256(Run(tmp_path, work, **AUGMENTED)(seed=seed)[0]) for work, seed in (("a", 3), ("b", 3), ("c", 4))
    )
    assert one == again
    assert one != other


def test_fault_52_loader_processes_change_no_weight(tmp_path: Path) -> None:
    alone = Run(tmp_path, "alone", epochs=2, **AUGMENTED)()
    helped = Run(tmp_path, "helped", epochs=2, workers=2, **AUGMENTED)()
    assert sha256(alone[0]) == sha256(helped[0])
    pd.testing.assert_frame_equal(alone[1], helped[1])


@pytest.mark.parametrize("workers", [0, 2])
def test_fault_52_lightning_tells_our_sampler_the_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    seen: dict[int, dict[int, Tensor]] = {}
    original = Classifier.training_step

    def note(self: Classifier, batch: Any, number: int) -> Tensor:
        epoch = seen.setdefault(self.current_epoch, {})
        epoch.update({int(item): picture.clone() for picture, item in zip(batch[0], batch[2], strict=True)})
        return original(self, batch, number)

    monkeypatch.setattr(Classifier, "training_step", note)
    Run(tmp_path, epochs=3, workers=workers, zoom=1.5)()
    assert sorted(seen) == [0, 1, 2]
    orders = [tuple(epoch) for epoch in seen.values()]
    assert len(set(orders)) == 3
    assert all(sorted(order) == list(range(16)) for order in orders)
    for item in range(16):
        assert not torch.equal(seen[0][item], seen[1][item])
        assert not torch.equal(seen[1][item], seen[2][item])


def test_settings_out_of_range_are_refused() -> None:
    for bad in ({"epochs": 0}, {"patience": 0}, {"batch_size": 0}, {"learning_rate": 0.0}, {"warmup_share": 1.0},
                {"max_hours": 0.0}, {"devices": 0}, {"epochs": 1.5}, {"zoom": 0.5}, {"light": 1.0}, {"workers": -1}):  # fmt: skip
        with pytest.raises(ValueError, match=next(iter(bad))):
            ClassifierSettings.model_validate(tiny.settings().model_dump() | bad)
