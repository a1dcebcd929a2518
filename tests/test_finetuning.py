"""What of a network learns, how fast, and by which loss: the image family's settings beside mixup."""

import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from stages import backbones
from stages.classifier import Normalise, Probabilities
from stages.files import DataError, read_json, write_manifest
from stages.fit import Keeper
from stages.inference import predict
from stages.networks import image
from stages.networks.image import objective
from stages.networks.image.module import Learner
from stages.networks.image.settings import ImageSettings
from stages.settings import PARAMS, read_params, section
from tests import training_helpers as tiny

LP_FT = {"train": "lp_ft", "probe_epochs": 2, "probe_learning_rate": 0.01}


def started(settings: ImageSettings, classes: int = 2) -> dict[str, Tensor]:
    """The weights that a training with seed 0 starts from."""
    torch.manual_seed(0)
    return backbones.build(settings.architecture, settings.options, classes).state_dict()


def train(tmp_path: Path, settings: ImageSettings, **job: Any) -> tuple[Path, Any, Any]:
    the_job = tiny.job(tmp_path, **job)
    result = image.train(settings, the_job)
    write_manifest(the_job.out)
    return the_job.out, the_job, result


def states(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Tensor]]:
    """The weights after each epoch of a training that follows."""
    original, noted = Keeper.on_train_epoch_end, []

    def note(self: Keeper, trainer: Any, module: Any) -> None:
        original(self, trainer, module)
        noted.append({name: value.clone() for name, value in module.network.state_dict().items()})

    monkeypatch.setattr(Keeper, "on_train_epoch_end", note)
    return noted


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


# --- frozen, and the head first ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [{}, {"mixup_alpha": 2.0}, {"layer_decay": 0.7}], ids=["plain", "mixup", "layer_decay"])
def test_frozen_leaves_all_but_the_head_as_it_was_batch_norm_s_statistics_too(tmp_path: Path, more: dict[str, Any]) -> None:
    settings = tiny.settings(train="frozen", epochs=3, **more)
    folder, _, _ = train(tmp_path, settings)
    before = started(settings)
    assert changed(before, safetensors.torch.load_file(folder / "weights.safetensors")) == {"fc.weight", "fc.bias"}
    assert any(name.endswith("running_mean") for name in before)


def test_all_changes_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It can fail: this is what `frozen` leaves alone."""
    noted, settings = states(monkeypatch), tiny.settings(epochs=3)
    train(tmp_path, settings)
    assert changed(started(settings), noted[-1]) == set(noted[-1])


def test_lp_ft_trains_the_head_alone_and_then_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noted, settings = states(monkeypatch), tiny.settings(epochs=5, patience=5, learning_rate=0.002, **LP_FT)
    _, _, result = train(tmp_path, settings)
    before = started(settings)
    assert changed(before, noted[0]) == changed(before, noted[1]) == {"fc.weight", "fc.bias"}
    assert changed(noted[1], noted[2]) == set(before)
    rates = result.curve["learning_rate"]
    assert rates[0] > 0.002 and rates[:2].max() <= 0.01
    assert rates[1] < rates[0], "the probe has a cycle of its own"
    assert 0 < rates[2:].max() <= 0.002


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": "lp_ft"}, "train: lp_ft: probe_epochs and probe_learning_rate belong to lp_ft, which wants both"),
        ({"train": "lp_ft", "probe_epochs": 1}, "belong to lp_ft, which wants both"),
        ({"train": "frozen", "probe_epochs": 1}, "train: frozen: probe_epochs and probe_learning_rate belong to lp_ft"),
        (LP_FT | {"probe_epochs": 5}, "probe_epochs 5 are the first of all epochs, 5: should be fewer"),
        ({"train": "head"}, "m.train: given 'head': Input should be 'all', 'frozen' or 'lp_ft'"),
        ({"mixup_layers": ["layer1"]}, "mixup_layers without mixup_alpha: nothing is mixed"),
        ({"mixup_alpha": 0.0}, "m.mixup_alpha: given 0.0"),
        ({"layer_decay": 1.5}, "m.layer_decay: given 1.5"),
        ({"loss": "hinge"}, "m.loss: given 'hinge': Input should be 'softmax' or 'sigmoid'"),
        ({"balance": "all"}, "m.balance: given 'all': Input should be 'none', 'sampling' or 'loss'"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(changes: dict[str, Any], message: str) -> None:
    values = {"architecture": "test_resnet", "image_px": 32, "epochs": 5, "batch_size": 8, "learning_rate": 0.01}
    with pytest.raises(DataError) as raised:
        section("m", image.SETTINGS, {"m": values | changes})
    assert message in str(raised.value)


# --- learning rates by layer -------------------------------------------------------------------------------------------


def groups(settings: ImageSettings, network: nn.Module) -> list[dict[str, Any]]:
    module = Learner(network, Normalise((0.5,) * 3, (0.2,) * 3), settings, [], np.array([1, 1]))

    class Trainer:
        estimated_stepping_batches = 10

    module._trainer = Trainer()  # type: ignore[assignment]
    found: list[dict[str, Any]] = module.configure_optimizers()["optimizer"].param_groups
    return found


@pytest.mark.parametrize("mode", [{}, LP_FT], ids=["all", "lp_ft"])
def test_each_layer_learns_slower_than_the_one_behind_it(mode: dict[str, Any]) -> None:
    """Of a ViT of 3 blocks: embedding, blocks, norm, head; the last two are one step apart as timm has them."""
    options = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 3, "num_heads": 2}
    settings = tiny.settings(architecture="vit_base_patch16_224", options=options, layer_decay=0.5, epochs=4, **mode)
    network = backbones.build(settings.architecture, options, 2)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    rates = {names[id(p)]: group["initial_lr"] for group in groups(settings, network) for p in group["params"]}
    assert rates.keys() == set(names.values())
    top = settings.learning_rate
    steps = [
        rates[name] / top
        for name in ("pos_embed", "blocks.0.mlp.fc1.weight", "blocks.1.norm1.bias", "blocks.2.attn.qkv.weight")
    ]
    assert rates["head.weight"] == rates["head.bias"] == top
    assert [later / earlier for earlier, later in itertools.pairwise(steps)] == pytest.approx([2.0, 2.0, 2.0])
    assert steps[-1] in (0.5, 0.25)


def test_decay_of_weights_leaves_vectors_out() -> None:
    settings = tiny.settings(layer_decay=0.9)
    for group in groups(settings, backbones.build("test_resnet", {}, 2)):
        flat = {parameter.ndim <= 1 for parameter in group["params"]}
        assert flat == {group["weight_decay"] == 0}


@pytest.mark.parametrize("layer_decay", [1.0, 0.9])
def test_a_vits_places_are_not_decayed(layer_decay: float) -> None:
    options = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2}
    network = backbones.build("vit_base_patch16_224", options, 2)
    settings = tiny.settings(architecture="vit_base_patch16_224", options=options, layer_decay=layer_decay)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    decay = {names[id(p)]: group["weight_decay"] for group in groups(settings, network) for p in group["params"]}
    assert decay["pos_embed"] == decay["cls_token"] == decay["norm.bias"] == 0
    assert decay["patch_embed.proj.weight"] == decay["head.weight"] == settings.weight_decay


def test_a_network_that_does_not_tell_its_layers_apart_is_refused(tmp_path: Path) -> None:
    alexnet = {"architecture": "torchvision/alexnet", "options": {"width": 0.05}, "image_px": 64}
    with pytest.raises(DataError, match="layer_decay: torchvision/alexnet does not tell its layers apart; timm's networks do"):
        train(tmp_path, tiny.settings(layer_decay=0.5, **alexnet))


# --- losses ------------------------------------------------------------------------------------------------------------

LOGITS = torch.tensor([[math.log(3), 0.0], [0.0, 0.0], [0.0, math.log(4)]])
TARGETS = torch.tensor([0, 0, 1])
CROSS_ENTROPIES = [math.log(4 / 3), math.log(2), math.log(5 / 4)]
BINARY = [(math.log(4 / 3) + math.log(2)) / 2, math.log(2), (math.log(2) + math.log(5 / 4)) / 2]


@pytest.mark.parametrize(("kind", "each"), [("softmax", CROSS_ENTROPIES), ("sigmoid", BINARY)])
def test_losses_by_hand(kind: str, each: list[float]) -> None:
    assert objective.loss(LOGITS, TARGETS, kind).item() == pytest.approx(np.mean(each), rel=1e-6)
    weights = objective.class_weights(np.array([2, 1]))
    assert weights.tolist() == [0.75, 1.5]
    by_hand = (0.75 * each[0] + 0.75 * each[1] + 1.5 * each[2]) / 3
    assert objective.loss(LOGITS, TARGETS, kind, weights).item() == pytest.approx(by_hand, rel=1e-6)
    assert objective.loss(LOGITS, objective.shares(TARGETS, 2), kind).item() == pytest.approx(np.mean(each), rel=1e-6)


def test_every_class_weighs_the_same_and_is_drawn_as_often() -> None:
    targets = np.array([0, 0, 0, 0, 0, 1, 2, 2])
    weights = objective.class_weights(np.bincount(targets)).numpy()
    assert np.bincount(targets) * weights == pytest.approx(np.full(3, 8 / 3))
    chances = objective.even_chances(targets)
    assert [chances[targets == label].sum() for label in range(3)] == pytest.approx([1 / 3] * 3)


def test_sigmoids_are_answered_as_shares_of_their_sum() -> None:
    class Given(nn.Module):
        def forward(self, _pictures: Tensor) -> Tensor:
            return torch.tensor([[math.log(3), 0.0, 0.0], [-300.0, -300.0, -301.0]])

    answers = Probabilities(Given(), Normalise((0.5,) * 3, (0.2,) * 3), "sigmoid")(torch.zeros(2, 4, 4, 3, dtype=torch.uint8))
    assert answers[0].tolist() == pytest.approx([0.75 / 1.75, 0.5 / 1.75, 0.5 / 1.75])
    rest = 2 + math.exp(-1)
    assert answers[1].tolist() == pytest.approx([1 / rest, 1 / rest, math.exp(-1) / rest]), "no class at all is no 0 / 0"


def test_a_training_with_sigmoids_learns_and_its_model_knows_that_it_has(tmp_path: Path) -> None:
    settings = tiny.settings(loss="sigmoid", epochs=8, patience=8, learning_rate=0.03)
    folder, job, result = train(tmp_path, settings, train=32, val=16)
    assert read_json(folder / "model.json")["loss"] == "sigmoid"
    assert result.curve["val_loss"].min() < 0.4
    predictions = predict(image.load(folder), job.val, job.root)
    wide = predictions.pivot(index="sample_id", columns="label", values="score").loc[job.val["sample_id"]]
    assert wide.sum(axis=1).to_numpy() == pytest.approx(np.ones(16), abs=1e-6)
    assert (wide.idxmax(axis=1).to_numpy() == job.val["label"].to_numpy()).mean() > 0.9


# --- balance -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("balance", ["none", "sampling", "loss"])
def test_balance_gives_a_rare_class_its_weight(tmp_path: Path, balance: str) -> None:
    """Grey pictures, 14 of one class and 2 of the other: nothing but how much each class counts can be learned."""
    root = tmp_path / "grey"
    grey = np.full((32, 32, 3), 128, np.uint8)
    tables = [tiny.table(root, {f"{part}{i:02}": ("red" if i % 8 == 0 else "blue", grey) for i in range(16)}) for part in "tv"]
    job = replace(tiny.job(tmp_path), train=tables[0], val=tables[1], root=root)
    image.train(tiny.settings(balance=balance, epochs=30, patience=30, learning_rate=0.01), job)
    write_manifest(job.out)
    predictions = predict(image.load(job.out), job.val, job.root)
    share = predictions.loc[predictions["label"] == "red", "score"].mean()
    assert share == pytest.approx(1 / 8 if balance == "none" else 1 / 2, abs=0.06 if balance == "none" else 0.15)


# --- the document's table ----------------------------------------------------------------------------------------------

CELLS = ["scratch", "scratch-augmented", "transfer", "transfer-augmented", "mixup", "synthetic"]
ROWS = [f"{network}-{cell}" for network in ("resnet50", "vit") for cell in CELLS]
BESIDE = ["vit-mixup-synthetic", "resnet50-all", "resnet50-keypoints", "vit-frozen", "vit-lpft"]


@pytest.mark.parametrize("profile", ["smoke", "embedded", "paper"])
def test_every_cell_of_the_document_s_table_is_a_model(profile: str) -> None:
    params = read_params(Path(__file__).parent.parent / PARAMS)
    models = {name.removeprefix("posture-"): entry for name, entry in params["models"].items() if entry["dataset"] == "posture"}
    assert set(ROWS + BESIDE) <= models.keys()
    for name in ROWS + BESIDE:
        settings = section(f"models.posture-{name}.{profile}", ImageSettings, params)
        transfer = "scratch" not in name
        kind = settings.init.partition(":")[0]
        assert kind == ("scratch" if not transfer else "imagenet" if profile == "paper" else "pretrained"), name
        stated = {"resnet50-all": "all", "resnet50-keypoints": "all", "vit-frozen": "frozen", "vit-lpft": "lp_ft"}
        assert settings.train == stated.get(name, "frozen" if transfer and name.startswith("resnet50") else "all"), name
        assert settings.mixup_alpha == (2.0 if "mixup" in name else None), name
        assert (settings.keypoint_weight is not None) == (name == "resnet50-keypoints"), name
        assert models[name]["lists"] == f"data/{'synthetic/posture/added' if 'synthetic' in name else 'splits/posture/all'}"
        augmented = (settings.flip, settings.rotate_deg, settings.shift, settings.shear_deg, settings.zoom)
        with_it = "augmented" in name or (name.startswith("resnet50") and name not in ("resnet50-scratch", "resnet50-transfer"))
        assert augmented == ((True, 15.0, 0.1, 10.0, 1.2) if with_it else (False, 0, 0, 0, 1)), name
        if profile == "paper":
            epochs = {"resnet50-mixup": 20, "resnet50-synthetic": 20, "vit-mixup": 15, "vit-mixup-synthetic": 15}
            assert (settings.epochs, settings.image_px) == (epochs.get(name, 10), 224), name
