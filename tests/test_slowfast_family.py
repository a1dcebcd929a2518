"""The slowfast family: stored clips in, each class's sigmoid out; what it starts from, how it learns, what it is shown."""

import http.server
import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from stages import backbones, transfer
from stages.clip_views import Clip
from stages.files import DataError, check_manifest, read_json, sha256_file, write_json, write_manifest
from stages.fit import fit
from stages.inference import predict
from stages.networks import Job, family, slowfast
from stages.networks.slowfast import SlowFastSettings, weights
from stages.networks.slowfast.clips import EIGENVALUES, EIGENVECTORS, Clips, augmented, lit, shown
from stages.networks.slowfast.learning import Learner, loss
from stages.networks.slowfast.network import Normalise, Scores, SlowFast, build, slow_of
from stages.networks.slowfast.weights import image_name, inflate, initialise
from stages.predictions import check_predictions
from stages.settings import section
from stages.shards import Unfinished
from stages.stored_clips import StoredClips
from tests import training_helpers as tiny

W, H = 60, 40  # px of a stored frame
LABELS = ("left", "right")
TINY = {
    "depth": 18, "stem_width": 8, "crop_px": 32, "scale_px": [36, 44], "epochs": 2, "warmup_epochs": 1, "views": 2, "workers": 0,
}  # fmt: skip


def settings(**changes: Any) -> SlowFastSettings:
    return section("m", SlowFastSettings, {"m": TINY | changes})


def passing(label: str, frames: int, seed: int) -> np.ndarray:
    """A bright bar that runs left or right, and comes in again on the other side: one frame does not tell where to."""
    clip, start = np.full((frames, H, W, 3), 40, np.uint8), np.random.default_rng(seed).integers(W)
    for number in range(frames):
        columns = (start + (1 if label == "right" else -1) * 2 * number + np.arange(12)) % W
        clip[number, 8:32, columns] = (200, 180, 60)
    return clip


def store(folder: Path, clips: dict[str, np.ndarray], per_shard: int = 8) -> Path:
    """As the clips stage leaves it."""
    ids = list(clips)
    shards = [ids[start : start + per_shard] for start in range(0, len(ids), per_shard)]
    unfinished = Unfinished(folder.parent / "unfinished", folder, len(shards))
    for number, names in enumerate(shards):
        rows, files = [], []
        for name in names:
            begin = sum(map(len, files))
            own = [cv2.imencode(".jpg", frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1] for frame in clips[name]]
            files += own
            offsets = [begin, *(begin + np.cumsum([len(file) for file in own])).tolist()]
            height, width = clips[name].shape[1:3]
            rows.append(
                {"sample_id": name, "offsets": offsets, "shown": list(range(len(own))), "width_px": width, "height_px": height}
            )
        unfinished.add(number, {"jpeg": np.concatenate(files)}, rows)
    unfinished.finish({"settings": {"fps": 30.0}})
    return folder


def job(folder: Path, train: int = 16, val: int = 6, frames: int = 24, **changes: Any) -> Job:
    clips = {f"{p}{i:02}": passing(LABELS[i % 2], frames, i) for p, n in (("t", train), ("v", val)) for i in range(n)}
    table = pd.DataFrame({"sample_id": list(clips), "label": [LABELS[int(name[1:]) % 2] for name in clips]})
    out = folder / "models" / "m"
    out.mkdir(parents=True)
    values: dict[str, Any] = {
        "train": table[:train], "val": table[train:].reset_index(drop=True), "boxes": tiny.no_boxes(), "classes": LABELS,
        "root": folder, "data": "embedded", "seed": 0, "work": folder / "work", "models": folder / "models", "needs": folder,
        "out": out, "tables": store(folder / "clips", clips),
    }  # fmt: skip
    return Job(**(values | changes))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Job, Any]:
    """Trained for two epochs. Not to be changed."""
    the_job = job(tmp_path_factory.mktemp("model"))
    return tiny.trained_by(slowfast, the_job, settings()), the_job, None


def start(network: nn.Module, init: str, models: Path = Path("no/where"), needs: Path = Path("no/where")) -> weights.Start:
    return initialise(network, init, models, needs)


def small(classes: int = 2, seed: int = 0, **changes: Any) -> SlowFast:
    torch.manual_seed(seed)
    return build(settings(**changes), classes)


# --- the network -------------------------------------------------------------------------------------------------------


def test_the_document_s_network_is_pytorchvideo_s_own() -> None:
    from pytorchvideo.models.slowfast import create_slowfast

    with torch.device("meta"):
        ours, theirs = build(SlowFastSettings(), 400), create_slowfast()
    mine, published = ours.state_dict(), theirs.state_dict()
    assert {name: tensor.shape for name, tensor in mine.items()} == {name: t.shape for name, t in published.items()}
    assert sum(parameter.numel() for parameter in ours.parameters()) == 34_566_488
    assert SlowFastSettings().stem_width == 64


@pytest.mark.parametrize(("frames", "side"), [(8, 32), (8, 50), (32, 32), (16, 96)])
def test_the_head_fits_what_arrives(frames: int, side: int) -> None:
    network = small(9)
    clips = torch.rand(2, 3, frames, side, side)
    network(clips).sum().backward()
    assert network.eval()(clips).shape == (2, 9)
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_eight_frames_give_two_slow_ones_spread_as_the_authors_do() -> None:
    clips = torch.arange(8.0).view(1, 1, 8, 1, 1)
    assert slow_of(clips, 4).flatten().tolist() == [0, 7]
    of_32 = slow_of(torch.arange(32.0).view(1, 1, 32, 1, 1), 4).flatten().tolist()
    assert of_32 == [0, 4, 8, 13, 17, 22, 26, 31]


def test_the_input_is_not_changed() -> None:
    network = small().eval()
    clips = torch.rand(2, 3, 8, 32, 32)
    before = clips.clone()
    first = network(clips)
    assert torch.equal(clips, before)
    assert torch.equal(network(clips), first)


def test_scores_are_the_mean_of_the_views_sigmoids_and_do_not_sum_to_1() -> None:
    network, normalise = small(3).eval(), Normalise((0.45,) * 3, (0.225,) * 3)
    nn.init.normal_(network.blocks[-1].proj.weight, std=1)
    clips = torch.randint(0, 256, (2, 3, 8, 32, 32, 3), dtype=torch.uint8)
    scores = Scores(network, normalise)(clips)
    with torch.no_grad():
        each = torch.stack([network(normalise(clips[:, view])).sigmoid() for view in range(3)])
        assert torch.allclose(scores, each.mean(0), atol=1e-6)
        assert (each.std(0) > 1e-5).any(), "or the mean would be tested by equals"
    assert ((scores > 0) & (scores < 1)).all() and not torch.allclose(scores.sum(1), torch.ones(2), atol=0.01)


def test_pixels_come_to_the_scale_of_the_weights() -> None:
    clips = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 1, 1, 1, 3)
    found = Normalise((0.45, 0.4, 0.5), (0.225, 0.2, 0.25))(clips)
    assert found.shape == (1, 3, 1, 1, 1)
    assert found.flatten().tolist() == pytest.approx([-2, -1, 2])


# --- settings ----------------------------------------------------------------------------------------------------------


def test_the_defaults_are_the_document_s() -> None:
    chosen = SlowFastSettings()
    assert (chosen.frames, chosen.rate, chosen.alpha, chosen.beta_inverse, chosen.fusion_ratio) == (8, 2, 4, 8, 2)
    assert (chosen.fusion_kernel, chosen.depth, chosen.crop_px, chosen.scale_px) == (7, 50, 256, (256, 340))
    assert (chosen.flip, chosen.lighting, chosen.dropout, chosen.loss, chosen.crops) == (True, 0.1, 0.5, "cross_entropy", 3)
    assert (chosen.momentum, chosen.weight_decay, chosen.batch_size, chosen.epochs) == (0.9, 0.0001, 8, 20)
    assert (chosen.learning_rate, chosen.warmup_from, chosen.warmup_epochs) == (0.0375, 0.00085, 4)
    assert section("m", SlowFastSettings, {"m": {"frames": 32}}).frames == 32


@pytest.mark.parametrize(("changes", "said"), [
    ({"frames": 10}, "frames 10 is no multiple of alpha 4"),
    ({"stem_width": 12}, "stem_width 12 is no multiple of beta_inverse 8"),
    ({"fusion_kernel": 4}, "fusion_kernel 4 is even"),
    ({"crop_px": 40}, "crop_px 40 is more than the short side that scale_px allows, 36"),
    ({"scale_px": [44, 36]}, "scale_px falls from 44 to 36"),
    ({"warmup_epochs": 3}, "warmup_epochs 3.0 is more than epochs 2"),
    ({"warmup_from": 0.1}, "warmup_from 0.1 is above learning_rate 0.0375"),
    ({"momentum": 0}, "nesterov without momentum"),
    ({"still": True, "views": 3}, "still has one view, 3 would show several moments"),
    ({"optimizer": "adamw", "momentum": 0.8, "warmup_from": 0.1}, "optimizer adamw has no warmup_from, momentum"),
    ({"batch_size": 1}, "greater than 1"),
    ({"depth": 34}, "18, 50, 101 or 152"),
    ({"crops": 2}, "1 or 3"),
    ({"init": "video"}, "allowed: scratch, kinetics, kinetics:<sha256>, imagenet,"),
    ({"warmup_share": 0.1}, "unknown key"),  # of AdamW's schedule, which is not this family's
])  # fmt: skip
def test_contradictions_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError) as raised:
        settings(**changes)
    assert said in str(raised.value)


# --- what it is shown --------------------------------------------------------------------------------------------------


def dataset(tmp_path: Path, training: bool = True, frames: int = 24, **changes: Any) -> Clips:
    clips = {"a": passing("left", frames, 0), "b": passing("right", frames, 1)}
    table = pd.DataFrame({"sample_id": ["a", "b"], "label": LABELS})
    stored = StoredClips(store(tmp_path / "clips", clips))
    return Clips(table, stored, LABELS, settings(**changes), 5, training)


def test_an_item_depends_on_seed_epoch_and_clip_alone(tmp_path: Path) -> None:
    items = dataset(tmp_path)
    clip, target, i = items[3, 1]
    assert clip.shape == (8, 32, 32, 3) and clip.dtype == torch.uint8
    assert (target, i) == (1, 1)
    assert torch.equal(items[3, 1][0], clip)
    assert not torch.equal(items[4, 1][0], clip)
    items.seed = 6
    assert not torch.equal(items[3, 1][0], clip)


def test_validation_sees_the_centre_of_the_middle(tmp_path: Path) -> None:
    items = dataset(tmp_path, training=False, crop_px=40, scale_px=[40, 44])
    stored = StoredClips(tmp_path / "clips")
    start = (24 - 15) // 2
    assert np.array_equal(items[0, 1][0], stored("b", range(start, start + 15, 2))[:, :, 10:50])
    assert torch.equal(items[0, 1][0], items[7, 1][0])


def test_a_window_begins_anywhere_that_it_fits(tmp_path: Path) -> None:
    """Blue of each frame is ten times its number."""
    clip = np.zeros((20, H, W, 3), np.uint8)
    clip[..., 2] = 10 * np.arange(20)[:, None, None]
    stored = StoredClips(store(tmp_path / "clips", {"a": clip}))
    table = pd.DataFrame({"sample_id": ["a"], "label": ["left"]})
    items = Clips(table, stored, LABELS, settings(lighting=0), 0, training=True)
    first = {round(float(items[epoch, 0][0][0, 16, 16, 2]) / 10) for epoch in range(60)}
    assert first == set(range(6))
    assert {len(set((items[epoch, 0][0][:, 16, 16, 2].float() / 10).round().tolist())) for epoch in range(9)} == {8}


@pytest.mark.parametrize("training", [True, False])
def test_still_shows_one_frame_again_and_again(tmp_path: Path, training: bool) -> None:
    moving, still = (dataset(tmp_path / str(flag), training, still=flag, views=1)[1, 0][0] for flag in (False, True))
    assert all(torch.equal(frame, still[0]) for frame in still)
    assert not torch.equal(moving[0], moving[-1])
    assert torch.equal(moving[4], still[0]), "the middle one of what the moving one is shown"


def test_clips_shorter_than_a_view_are_counted_and_end_with_their_last_frame(tmp_path: Path) -> None:
    items = dataset(tmp_path, frames=9, lighting=0)
    assert items.shorter() == 2
    clip = items[0, 0][0]
    assert all(torch.equal(clip[4], frame) for frame in clip[5:]) and not torch.equal(clip[3], clip[4])
    assert dataset(tmp_path / "longer", frames=15).shorter() == 0


def test_augmentation_draws_scale_place_and_mirror_as_the_settings_allow() -> None:
    """Red of each column is four times its number, green of each row."""
    frames = np.zeros((2, H, W, 3), np.uint8)
    frames[..., 0], frames[..., 1] = 4 * np.arange(W), 4 * np.arange(H)[:, None]
    chosen = settings(lighting=0, scale_px=[40, 80])
    scales, lefts, mirrored = [], [], 0
    for seed in range(300):
        out = augmented(frames, chosen, np.random.default_rng(seed)).astype(float)
        assert out.shape == (2, 32, 32, 3) and np.array_equal(out[0], out[1])
        across = (out[0, 16, -1, 0] - out[0, 16, 0, 0]) / 4
        mirrored += across < 0
        scales.append(31 / abs(across) * 40)
        lefts.append(min(out[0, 16, 0, 0], out[0, 16, -1, 0]) / 4)
    assert 38 < min(scales) < 43 and 75 < max(scales) < 88
    assert np.median(scales) == pytest.approx(60, abs=4), "the short side is drawn evenly, not its inverse"
    assert min(lefts) < 1 and max(lefts) > 38
    assert 120 < mirrored < 180
    plain = settings(lighting=0, flip=False, scale_px=[40, 80])
    assert all(
        out[0, 0, 0, 0] < out[0, 0, -1, 0] for out in (augmented(frames, plain, np.random.default_rng(s)) for s in range(50))
    )


def test_lighting_shifts_all_frames_by_one_colour_of_the_components() -> None:
    grey = np.full((3, H, W, 3), 128, np.uint8)
    chosen = settings(lighting=0.5, flip=False)
    shifts = []
    for seed in range(400):
        out = augmented(grey, chosen, np.random.default_rng(seed))
        assert (out == out[0, 0, 0]).all()
        shifts.append((out[0, 0, 0].astype(float) - 128) / 255)
    covariance = EIGENVECTORS @ np.diag((0.5 * EIGENVALUES) ** 2) @ EIGENVECTORS.T
    assert np.cov(np.array(shifts).T) == pytest.approx(covariance, abs=0.003)
    assert covariance[0, 0] == pytest.approx(0.0126, abs=0.0002)
    assert np.array_equal(augmented(grey, settings(lighting=0), np.random.default_rng(0)), np.full((3, 32, 32, 3), 128))


def test_light_is_cut_at_black_and_white() -> None:
    frames = np.array([[[[0, 128, 255], [10, 250, 3]]]], np.uint8)
    assert lit(frames, np.array([-0.1, 0.02, 0.1])).tolist() == [[[[0, 133, 255], [0, 255, 28]]]]


def test_light_of_every_value_is_by_the_formula() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 50, 70, 3), dtype=np.uint8)
    for seed in range(20):
        rgb = np.random.default_rng(seed).normal(0, 0.2, 3)
        expected = np.clip(np.rint(frames + 255 * rgb), 0, 255).astype(np.uint8)
        assert np.array_equal(lit(frames, rgb), expected)


def test_a_whole_clip_is_shown_view_by_view_and_of_each_its_crops(tmp_path: Path) -> None:
    stored = StoredClips(store(tmp_path / "clips", {"a": passing("left", 30, 0)}))
    clip = Clip(8, 2, 30.0, 40, views=2, crops=3)
    found = shown(stored, clip)("a")
    assert found.shape == (6, 8, 40, 40, 3)
    for view, first in enumerate((0, 15)):
        expected = clip.show(stored("a", range(first, first + 15, 2)))
        assert np.array_equal(found[3 * view : 3 * view + 3], expected)


# --- training ----------------------------------------------------------------------------------------------------------


def test_a_trained_folder_stands_for_itself(model: tuple[Path, Job, Any], tmp_path: Path) -> None:
    """What `load` needs is in the folder, and the predictions are a class's sigmoid each."""
    folder, the_job, _ = model
    copy = tmp_path / "elsewhere"
    shutil.copytree(folder, copy)
    assert check_manifest(copy) == []
    network = slowfast.load(copy)
    assert network.clip == Clip(8, 2, 30.0, 32, views=2, crops=3) and network.batch_size == 64
    assert network.classes == LABELS and network.card["trained_on"] == {"data": "embedded", "train": 16, "val": 6, "seed": 0}
    found = predict(network, the_job.val, the_job.root, stored=the_job.tables)
    found = check_predictions(found, the_job.val["sample_id"])
    assert set(found["task"]) == {"class"} and len(found) == 12
    assert found["score"].between(0, 1).all()
    assert found["score"].nunique() == 12
    again = predict(slowfast.load(folder), the_job.val, the_job.root, stored=the_job.tables)
    assert again["score"].tolist() == found["score"].tolist()
    assert family("slowfast") is slowfast


def test_the_card_says_what_was_trained(model: tuple[Path, Job, Any]) -> None:
    card = read_json(model[0] / "model.json")
    assert (card["family"], card["architecture"], card["fps"]) == ("slowfast", "slowfast_r18", 30.0)
    assert (card["mean"], card["std"], card["init"], card["started_from"]) == ([0.45] * 3, [0.225] * 3, "scratch", "scratch")
    assert card["shorter_clips"] == {"train": 0, "val": 0}
    assert card["as_built"] == "slowfast_r18, slimmed to 0.2 M parameters, at 32 px, scratch, 8 frames at rate 2"
    assert card["settings"]["scale_px"] == [36, 44]


def test_a_large_clip_is_held_a_few_at_a_time(model: tuple[Path, Job, Any]) -> None:
    card = read_json(model[0] / "model.json")
    document = slowfast.in_use(card, settings(crop_px=256, scale_px=[256, 340], views=10), small())
    assert document.batch_size == 2**28 // (30 * 8 * 256 * 256 * 3) == 5
    assert slowfast.in_use(card, settings(crop_px=256, scale_px=[256, 340], views=50, frames=32), small()).batch_size == 1


def test_it_learns_what_motion_alone_tells_and_the_still_one_cannot(tmp_path: Path) -> None:
    """Two directions: 24 clips unseen, of which a coin gets 12 right, and more than 18 once in 270 times."""
    the_job = job(tmp_path, train=48, val=24)
    plain = {"flip": False, "lighting": 0, "dropout": 0, "scale_px": [32, 36], "crops": 1}
    right = {}
    for still, epochs in ((False, 12), (True, 4)):
        out = tmp_path / str(still)
        chosen = settings(**plain, still=still, views=1, epochs=epochs, learning_rate=0.05, warmup_from=0.01)
        tiny.trained_by(slowfast, replace(the_job, out=out, work=tmp_path / f"work-{still}"), chosen)
        network = slowfast.load(out)
        found = predict(network, the_job.val, the_job.root, stored=the_job.tables)
        best = found.sort_values("score").groupby("sample_id").tail(1).set_index("sample_id")["label"]
        right[still] = int((best.loc[the_job.val["sample_id"]].to_numpy() == the_job.val["label"].to_numpy()).sum())
        assert network.clip is not None and network.clip.still is still
    assert right[False] >= 20 and right[True] <= 18


def test_fault_50_a_killed_training_ends_as_an_unbroken_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = settings(epochs=3)
    the_job = job(tmp_path)
    (tmp_path / "whole").mkdir()
    slowfast.train(chosen, replace(the_job, out=tmp_path / "whole", work=tmp_path / "other"))
    result = tiny.killed_and_resumed(lambda: slowfast.train(chosen, the_job), monkeypatch)
    assert len(result.curve) == 3
    assert sha256_file(the_job.out / "weights.safetensors") == sha256_file(tmp_path / "whole" / "weights.safetensors")


class Recording(Learner):
    def on_train_batch_start(self, _batch: Any, number: int) -> None:
        self.rates.append(self.trainer.optimizers[0].param_groups[0]["lr"])


class Dot(nn.Module):
    """(B, 3, 1, 1, 1) -> (B, 2): what learns has to be there, no more."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, clips: Tensor) -> Tensor:
        return self.layer(clips.flatten(1))


def rates_of(tmp_path: Path, **changes: Any) -> tuple[list[float], Any]:
    """The learning rate at each iteration of a training by the real loop, 12 batches an epoch; and its optimizer."""
    chosen = SlowFastSettings(**changes)
    items = [(torch.full((1, 1, 1, 3), i, dtype=torch.uint8), i % 2, i) for i in range(12)]
    module = Recording(Dot(), Normalise((0.45,) * 3, (0.225,) * 3), chosen, [str(i) for i in range(12)])
    module.rates = []
    fit(module, DataLoader(items, batch_size=1), DataLoader(items[:2], batch_size=2), chosen, 0, tmp_path)
    return module.rates, module.trainer.optimizers[0]


def test_the_learning_rate_rises_each_iteration_for_four_epochs_and_is_constant_after(tmp_path: Path) -> None:
    rates, optimizer = rates_of(tmp_path)
    assert len(rates) == 240
    assert rates[0] == pytest.approx(0.00085, rel=1e-9)
    assert rates[9] == pytest.approx(0.00085 + 0.03665 * 9 / 48, rel=1e-9) == pytest.approx(0.007721875)
    assert np.diff(rates[:49]) == pytest.approx(np.full(48, 0.03665 / 48), rel=1e-6), "the same step each iteration"
    assert rates[47] == pytest.approx(0.0367364583, rel=1e-8)
    assert rates[48:] == pytest.approx([0.0375] * 192, rel=1e-9)
    assert isinstance(optimizer, torch.optim.SGD)
    assert [(g["momentum"], g["nesterov"], g["weight_decay"]) for g in optimizer.param_groups] == [
        (0.9, True, 0.0001), (0.9, True, 0.0)
    ]  # fmt: skip


def test_without_a_warm_up_the_learning_rate_is_constant(tmp_path: Path) -> None:
    rates, optimizer = rates_of(tmp_path, epochs=2, warmup_epochs=0, learning_rate=0.01, nesterov=False, momentum=0)
    assert rates == [0.01] * 24
    assert optimizer.param_groups[0]["momentum"] == 0 and not optimizer.param_groups[0]["nesterov"]


def test_half_an_epoch_of_warm_up(tmp_path: Path) -> None:
    rates, _ = rates_of(tmp_path, epochs=1, warmup_epochs=0.5, learning_rate=0.6, warmup_from=0.3)
    assert rates == pytest.approx([0.3, 0.35, 0.4, 0.45, 0.5, 0.55, *[0.6] * 6])


def test_the_two_losses() -> None:
    logits, targets = torch.tensor([[2.0, 0.0, -1.0], [0.0, 0.0, 0.0]]), torch.tensor([0, 2])
    softplus = np.log1p(np.exp([-2.0, 0.0, -1.0, 0.0, 0.0, 0.0]))
    assert float(loss(logits, targets, "bce")) == pytest.approx(softplus.sum() / 6, abs=1e-6)
    cross = (np.log(np.exp([2.0, 0.0, -1.0]).sum()) - 2 + np.log(3)) / 2
    assert float(loss(logits, targets, "cross_entropy")) == pytest.approx(cross, abs=1e-6)


def test_bce_trains(tmp_path: Path) -> None:
    result = slowfast.train(settings(loss="bce", epochs=1), job(tmp_path))
    assert result.curve["val_loss"].tolist() == pytest.approx([0.69], abs=0.2), "of a class's own coin, not of three classes"
    assert set(result.cost) >= {"parameters", "ms_an_image"}


def test_what_cannot_be_trained_is_refused(tmp_path: Path) -> None:
    the_job = job(tmp_path)
    with pytest.raises(DataError, match="only the class left: there is nothing to tell apart"):
        slowfast.train(settings(), replace(the_job, classes=("left",)))
    unknown = pd.DataFrame({"sample_id": ["t00", "gone"], "label": ["left", "right"]})
    with pytest.raises(DataError, match=r"1 of 2 clips are not stored there, gone for example"):
        slowfast.train(settings(), replace(the_job, train=unknown))
    with pytest.raises(DataError, match=r"index\.parquet: no such file\. `dvc repro` makes it"):
        slowfast.train(settings(), replace(the_job, tables=tmp_path / "nothing"))


def test_fault_55_an_altered_folder_is_not_loaded(model: tuple[Path, Job, Any], tmp_path: Path) -> None:
    copy = tmp_path / "m"
    shutil.copytree(model[0], copy)
    data = bytearray((copy / "weights.safetensors").read_bytes())
    data[-5] ^= 1
    (copy / "weights.safetensors").write_bytes(data)
    with pytest.raises(DataError, match=r"weights\.safetensors: altered"):
        slowfast.load(copy)


# --- what it starts from -----------------------------------------------------------------------------------------------


def without_fusion() -> nn.Module:
    """pytorchvideo's network of one block a stage whose pathways do not meet: of the slow one all shapes are a ResNet's."""
    from pytorchvideo.models.slowfast import create_slowfast

    return create_slowfast(
        model_depth=18,
        model_num_class=2,
        slowfast_conv_channel_fusion_ratio=0,
        fusion_builder=lambda fusion_dim_in, stage_idx: nn.Identity(),
        head_pool=nn.AdaptiveAvgPool3d,
    )


def one_block_resnet(seed: int = 3) -> Any:
    """timm's ResNet of one bottleneck block a stage, no number of it at its starting value."""
    torch.manual_seed(seed)
    network: Any = backbones.build("resnet50", {"layers": [1, 1, 1, 1]}, 5).eval()
    for name, tensor in network.state_dict().items():
        if ("bn" in name or "downsample.1" in name) and tensor.ndim:
            tensor.copy_(torch.rand_like(tensor) + 0.5)
    return network


def test_a_still_clip_gives_the_2_d_network_s_features() -> None:
    """Stage by stage, at the middle one of 7 slow frames: the two kernels of three frames do not reach an end from there."""
    flat, video = one_block_resnet(), without_fusion().eval()
    words = inflate(video, flat.state_dict(), "it")
    slow = [name for name in video.state_dict() if ".multipathway_blocks.0." in name]
    assert words.startswith(f"it, inflated: {len(slow)} of {len(video.state_dict())} tensors, "), (
        "every one of the slow pathway"
    )
    picture = torch.rand(2, 3, 64, 64)
    features, clip = picture, picture[:, :, None].expand(-1, -1, 7, -1, -1)
    with torch.no_grad():
        for number, stage in enumerate(("stem", "layer1", "layer2", "layer3", "layer4")):
            if stage == "stem":
                features = flat.maxpool(flat.act1(flat.bn1(flat.conv1(features))))
            else:
                features = getattr(flat, stage)(features)
            clip = video.blocks[number].multipathway_blocks[0](clip)
            scale = features.abs().max()
            assert (clip[:, :, 3] / scale - features / scale).abs().max() < 1e-4
            if number < 3:  # no kernel has looked at other frames yet
                assert (clip / scale - features[:, :, None] / scale).abs().max() < 1e-4


def test_of_the_document_s_network_all_is_inflated_but_what_takes_the_fused_channels() -> None:
    with torch.device("meta"):
        video, flat = build(SlowFastSettings(), 9), backbones.build("resnet50", {}, 1000)
    own, two_d = video.state_dict(), flat.state_dict()
    slow = [name for name in own if ".multipathway_blocks.0." in name]
    fitting = {n for n in slow if own[n].ndim < 5 or own[n].shape[:2] == two_d[image_name(n)].shape[:2]}
    assert (len(own), len(slow), len(fitting)) == (662, 318, 310)
    layers = {name.removesuffix(".weight").rpartition(".")[2] for name in slow if name not in fitting}
    assert layers == {"branch1_conv", "conv_a"}
    assert not [name for name in own if image_name(name) and name not in slow], "nothing of the fast one, the fusions, the head"
    body = {name for name in two_d if not name.startswith("fc.")}
    assert {image_name(name) for name in slow} == body


def test_an_image_network_is_inflated_in_place_and_the_share_is_said(tmp_path: Path) -> None:
    video, flat = small(stem_width=64), one_block_resnet()
    safetensors.torch.save_file(flat.state_dict(), tmp_path / "w.safetensors")
    before = {name: tensor.clone() for name, tensor in video.state_dict().items()}
    found = start(video, f"file:{tmp_path / 'w.safetensors'}")
    after = video.state_dict()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert all(".multipathway_blocks.0." in name for name in changed)
    assert torch.equal(after["blocks.0.multipathway_blocks.0.conv.weight"][:, :, 0], flat.conv1.weight)
    numbers = sum(after[name].numel() for name in changed) / sum(tensor.numel() for tensor in after.values())
    sha256 = sha256_file(tmp_path / "w.safetensors")
    counters = sum("num_batches_tracked" in name for name in after if image_name(name))  # 0 as they were
    assert found.words == (
        f"file w.safetensors, sha256 {sha256}, inflated: {len(changed) + counters} of 230 tensors, {numbers:.0%} of all numbers"
    )
    assert (found.mean, found.std) == (backbones.IMAGENET_MEAN, backbones.IMAGENET_STD)


def test_imagenet_is_timm_s_resnet50(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def published(architecture: str, options: dict[str, Any], revision: str) -> tuple[dict[str, Tensor], str]:
        asked.append((architecture, revision))
        torch.manual_seed(1)
        return backbones.build(architecture, {}, 1000).state_dict(), "the hub's"

    monkeypatch.setattr(backbones, "_published", published)
    found = start(small(stem_width=64), "imagenet:abc")
    assert asked == [("resnet50", "abc")]
    assert found.words.startswith("the hub's: 320 of 320 tensors, inflated: 94 of 230 tensors, ")
    assert (found.mean, found.std) == (backbones.IMAGENET_MEAN, backbones.IMAGENET_STD)


def test_nothing_that_fits_is_refused(tmp_path: Path) -> None:
    network = small()
    safetensors.torch.save_file(backbones.build("test_vit", {}, 2).state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(
        DataError, match=r"w\.safetensors.*no tensor of it fits the slow pathway: a ResNet of bottleneck blocks"
    ):
        start(network, f"file:{tmp_path / 'w.safetensors'}")
    assert all(torch.equal(a, b) for a, b in zip(network.state_dict().values(), small().state_dict().values(), strict=True))


def same_but_the_head(one: nn.Module, other: nn.Module) -> bool:
    mine, theirs = one.state_dict(), other.state_dict()
    return all(torch.equal(mine[n], theirs[n]) for n in mine if ".proj." not in n) and not mine["blocks.6.proj.weight"].any()


def test_a_trained_network_s_body_is_copied_even_where_its_classes_are_as_many(tmp_path: Path) -> None:
    human, ours = small(2, seed=8), small(2)
    models = tmp_path / "models"
    folder = models / "human-slowfast"
    folder.mkdir(parents=True)
    safetensors.torch.save_file(human.state_dict(), folder / "weights.safetensors")
    write_json(folder / "model.json", {"family": "slowfast", "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]})
    write_manifest(folder)
    found = start(ours, "pretrained", needs=folder)
    assert same_but_the_head(ours, human)
    assert found.mean == (0.1, 0.2, 0.3) and found.std == (0.4, 0.5, 0.6)
    sha256 = sha256_file(folder / "weights.safetensors")
    assert found.words == f"pretrained human-slowfast, sha256 {sha256}: 228 of 230 tensors"
    other = small(2)
    assert start(other, "model:human-slowfast", models).words.startswith("model:human-slowfast, sha256 ")
    assert same_but_the_head(other, human)


def test_a_pretraining_of_pictures_is_inflated(tmp_path: Path) -> None:
    safetensors.torch.save_file(one_block_resnet().state_dict(), tmp_path / "weights.safetensors")
    write_json(tmp_path / "model.json", {"family": "image", "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]})
    write_manifest(tmp_path)
    found = start(small(stem_width=64), "pretrained", needs=tmp_path)
    assert "inflated: 94 of 230 tensors" in found.words and found.mean == (0.1, 0.2, 0.3)


def test_folders_that_cannot_be_started_from(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no pretraining's folder"):
        start(small(), "pretrained")
    with pytest.raises(DataError, match=r"no trained model there\. Trained: none\. Run `dvc repro train@x` first"):
        start(small(), "model:x")
    with pytest.raises(DataError, match="holds no trained network: in this profile nothing is pretrained"):
        start(small(), "pretrained", needs=tmp_path)
    write_json(tmp_path / "model.json", {"family": "yolo"})
    with pytest.raises(DataError, match="is of the family `yolo`: a slowfast or an image network is wanted"):
        start(small(), "pretrained", needs=tmp_path)


def test_fault_56_a_network_of_other_size_is_refused(tmp_path: Path) -> None:
    safetensors.torch.save_file(small(stem_width=16).state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(DataError, match=r"not of this architecture: `blocks\.0.*` should be \(8, .*found \(16, "):
        start(small(), f"file:{tmp_path / 'w.safetensors'}")


# --- Kinetics' weights, from an address --------------------------------------------------------------------------------


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder behind an address that stands for pytorchvideo's."""
    served = tmp_path / "served"
    served.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(served))

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(weights, "KINETICS_URL", f"http://127.0.0.1:{server.server_port}/SLOWFAST_8x8_R50.pyth")
    monkeypatch.setattr(transfer, "WAIT_S", 0.0)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    yield served
    server.shutdown()
    server.server_close()


def test_kinetics_weights_are_fetched_once_and_lose_their_head(hub: Path) -> None:
    published = small(400, seed=8)
    path = hub / "SLOWFAST_8x8_R50.pyth"
    torch.save({"model_state": published.state_dict()}, path)
    sha256, network = sha256_file(path), small(400)  # as many classes, but others
    found = start(network, "kinetics")
    assert same_but_the_head(network, published)
    assert found.words == f"Kinetics-400, SLOWFAST_8x8_R50.pyth, sha256 {sha256}: 228 of 230 tensors"
    assert (found.mean, found.std) == ((0.45,) * 3, (0.225,) * 3)
    path.unlink()
    assert start(small(), f"kinetics:{sha256}").words == found.words, "it was kept"


def test_kinetics_weights_of_another_sha256_are_refused(hub: Path) -> None:
    torch.save({"model_state": small(400).state_dict()}, hub / "SLOWFAST_8x8_R50.pyth")
    with pytest.raises(DataError, match=r"init: kinetics: .*it is not the file that was expected"):
        start(small(), "kinetics:" + "0" * 64)


def test_without_a_network_it_is_said_what_to_do(hub: Path) -> None:
    with pytest.raises(DataError) as raised:
        start(small(), "kinetics")
    assert f"With no network, download {weights.KINETICS_URL} on another machine" in str(raised.value)
    assert "set init to file:<path>" in str(raised.value)


class Hostile:
    """Unpickling this makes a folder: what an attacker's code would do is worse."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_fault_53_a_hostile_checkpoint_is_refused_without_effect(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = tmp_path / "attacked"
    torch.save({"model_state": small().state_dict(), "x": Hostile(trace)}, hub / "SLOWFAST_8x8_R50.pyth")
    with pytest.raises(DataError, match=r"SLOWFAST_8x8_R50\.pyth: refused: damaged, or more than plain tensors"):
        start(small(), "kinetics")
    assert not trace.exists()
    monkeypatch.delenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", raising=False)
    torch.load(hub / "SLOWFAST_8x8_R50.pyth", weights_only=False)
    assert trace.exists(), "the attack itself works"
