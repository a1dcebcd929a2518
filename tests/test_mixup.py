"""Manifold mixup: what is mixed, where, with which labels; and that a training with it is the same again and after a kill."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from stages import backbones
from stages.files import DataError, sha256_file
from stages.networks import image
from stages.networks.image import mixup, objective
from stages.networks.image.mixup import Mix
from tests import training_helpers as tiny

VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 6, "num_heads": 2}
RESNET = {"layers": [1, 1, 1, 1], "channels": [8, 8, 16, 16]}
NETWORKS = {"resnet": ("resnet50", RESNET), "vit": ("vit_base_patch16_224", VIT)}
INSIDE = {"resnet": ("layer1", "layer2"), "vit": ("blocks.1", "blocks.3")}
PLACES = [(kind, layer) for kind in NETWORKS for layer in (mixup.INPUT, *INSIDE[kind], mixup.POOLED)]
PARTNERS = torch.tensor([2, 0, 3, 1])


def network(kind: str) -> nn.Module:
    torch.manual_seed(0)
    built = backbones.build(*NETWORKS[kind], 3)
    nn.init.normal_(built.get_submodule(backbones.head_name(built)).weight)  # type: ignore[arg-type]
    return built


def pictures() -> Tensor:
    return torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def forward(net: nn.Module, mix: Mix | None = None, shown: Tensor | None = None) -> Tensor:
    shown = pictures() if shown is None else shown
    with torch.inference_mode():
        if mix is None:
            return net(shown)
        with mixup.mixing(net, mix):
            return net(shown)


# --- what is mixed -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "layer"), PLACES)
def test_a_share_of_1_is_the_identity_to_the_bit(kind: str, layer: str) -> None:
    net = network(kind).train()  # batch norm by the batch
    assert torch.equal(forward(net, Mix(layer, 1.0, PARTNERS)), forward(net))


@pytest.mark.parametrize(("kind", "layer"), PLACES)
def test_a_share_of_0_is_the_partner_s_answer(kind: str, layer: str) -> None:
    net = network(kind).eval()
    plain = forward(net)
    assert torch.allclose(forward(net, Mix(layer, 0.0, PARTNERS)), plain[PARTNERS], atol=1e-5)
    assert not torch.allclose(plain, plain[PARTNERS], atol=1e-3)


@pytest.mark.parametrize("kind", NETWORKS)
def test_pictures_are_mixed_before_the_first_layer_and_features_before_the_head(kind: str) -> None:
    net, shown = network(kind).eval(), pictures()
    at_input = forward(net, Mix(mixup.INPUT, 0.3, PARTNERS))
    assert torch.allclose(at_input, forward(net, shown=0.3 * shown + 0.7 * shown[PARTNERS]), atol=1e-5)
    pooled = forward(net, Mix(mixup.POOLED, 0.3, PARTNERS))
    plain = forward(net)
    assert torch.allclose(pooled, 0.3 * plain + 0.7 * plain[PARTNERS], atol=1e-5), "the head is linear"


def test_hidden_states_are_mixed_where_the_layer_ends() -> None:
    """Against each network taken apart by hand."""
    resnet: Any = network("resnet").eval()
    with torch.inference_mode():
        hidden = resnet.layer1(resnet.maxpool(resnet.act1(resnet.bn1(resnet.conv1(pictures())))))
        rest = resnet.forward_head(resnet.layer4(resnet.layer3(resnet.layer2(0.6 * hidden + 0.4 * hidden[PARTNERS]))))
    assert torch.allclose(forward(resnet, Mix("layer1", 0.6, PARTNERS)), rest, atol=1e-5)

    vit: Any = network("vit").eval()
    with torch.inference_mode():
        hidden = vit.blocks[:2](vit.norm_pre(vit._pos_embed(vit.patch_embed(pictures()))))
        rest = vit.forward_head(vit.norm(vit.blocks[2:](0.6 * hidden + 0.4 * hidden[PARTNERS])))
    assert torch.allclose(forward(vit, Mix("blocks.1", 0.6, PARTNERS)), rest, atol=1e-5)


@pytest.mark.parametrize(("kind", "layer"), PLACES)
def test_the_network_is_left_as_it_was(kind: str, layer: str) -> None:
    net = network(kind).eval()
    plain = forward(net)
    forward(net, Mix(layer, 0.5, PARTNERS))
    assert torch.equal(forward(net), plain)
    with pytest.raises(KeyError), mixup.mixing(net, Mix(layer, 0.5, PARTNERS)):
        raise KeyError
    assert torch.equal(forward(net), plain)


@given(st.floats(0, 1), st.integers(2, 9), st.integers(0, 99))
def test_labels_are_mixed_like_pictures_and_keep_their_mass(share: float, size: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    targets, partners = torch.randint(4, (size,), generator=generator), torch.randperm(size, generator=generator)
    labels = mixup.mixed(objective.shares(targets, 4), Mix("any", share, partners))
    assert labels.shape == (size, 4)
    assert torch.allclose(labels.sum(1), torch.ones(size))
    for own, other, label in zip(targets, targets[partners], labels, strict=True):
        expected = torch.zeros(4)
        expected[own] += share
        expected[other] += 1 - share
        assert torch.allclose(label, expected)


def test_mixed_labels_are_a_mixed_loss() -> None:
    logits, targets = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.0, 0.0]]), torch.tensor([0, 2])
    mix = Mix("any", 0.25, torch.tensor([1, 0]))
    own, other = (nn.functional.cross_entropy(logits, wanted) for wanted in (targets, targets.flip(0)))
    found = objective.loss(logits, mixup.mixed(objective.shares(targets, 3), mix), "softmax")
    assert found.item() == pytest.approx((0.25 * own + 0.75 * other).item(), rel=1e-6)


# --- what is drawn -----------------------------------------------------------------------------------------------------


def test_every_layer_is_drawn_as_often_and_shares_are_of_the_beta_distribution() -> None:
    torch.manual_seed(0)
    mixes = [mixup.draw(("input", "layer1", "layer2"), 2.0, 5) for _ in range(3000)]
    for layer in ("input", "layer1", "layer2"):
        assert sum(mix.layer == layer for mix in mixes) == pytest.approx(1000, abs=100)
    shares = torch.tensor([mix.share for mix in mixes])
    assert shares.mean().item() == pytest.approx(0.5, abs=0.02)
    assert shares.var().item() == pytest.approx(0.05, abs=0.005)  # of Beta(2, 2); uniform shares have 0.083
    assert all(sorted(mix.partners.tolist()) == [0, 1, 2, 3, 4] for mix in mixes)
    assert len({tuple(mix.partners.tolist()) for mix in mixes}) == 120


@pytest.mark.parametrize(("architecture", "options", "layers"), [
    ("resnet50", RESNET, ("input", "layer1", "layer2")),
    ("resnext50_32x4d", RESNET | {"cardinality": 8}, ("input", "layer1", "layer2")),
    ("vit_base_patch16_224", VIT | {"depth": 12}, ("input", "blocks.3", "blocks.7")),  # the 4th and the 8th
    ("vit_base_patch16_224", VIT, ("input", "blocks.1", "blocks.3")),
    ("vit_base_patch16_224", VIT | {"depth": 4}, ("input", "blocks.1", "blocks.2")),
])  # fmt: skip
def test_the_document_s_layers(architecture: str, options: dict[str, Any], layers: tuple[str, ...]) -> None:
    net = backbones.build(architecture, options, 3)
    assert mixup.eligible(net, (), frozen=False) == layers
    assert mixup.eligible(net, (), frozen=True) == (*layers, "pooled")
    assert mixup.eligible(net, ("pooled", layers[1]), frozen=False) == ("pooled", layers[1])


def test_layers_that_are_not_there_and_networks_of_another_kind_are_refused() -> None:
    resnet = backbones.build("resnet50", RESNET, 3)
    with pytest.raises(DataError, match=r"mixup_layers: no `layer9` in ResNet. There is: input, conv1, .*layer1, .*pooled"):
        mixup.eligible(resnet, ("layer9",), frozen=False)
    alexnet = backbones.build("torchvision/alexnet", {"width": 0.05}, 3)
    with pytest.raises(DataError, match="AlexNet is neither a ResNet nor made of blocks: say where to mix by mixup_layers"):
        mixup.eligible(alexnet, (), frozen=False)
    assert mixup.eligible(alexnet, ("input", "features.4"), frozen=False) == ("input", "features.4")


def test_a_layer_that_pictures_do_not_go_through_once_is_refused() -> None:
    resnet: Any = network("resnet")
    resnet.beside = nn.Identity()
    with pytest.raises(DataError, match="a picture goes through `beside` 0 times, not once: name another"):
        forward(resnet, Mix("beside", 0.5, PARTNERS))


# --- in a training -----------------------------------------------------------------------------------------------------


def trained(tmp_path: Path, **changes: Any) -> tuple[str, Any]:
    job = tiny.job(tmp_path)
    result = image.train(tiny.settings(mixup_alpha=2.0, **changes), job)
    return sha256_file(job.out / "weights.safetensors"), result


def test_a_training_mixes_in_every_layer_of_each_batch_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original, mixes = mixup.draw, []

    def noted(*given: Any) -> Mix:
        mixes.append(original(*given))
        return mixes[-1]

    monkeypatch.setattr(mixup, "draw", noted)
    trained(tmp_path, epochs=10, patience=10)
    assert len(mixes) == 20, "one for each batch, none in validation"
    assert {mix.layer for mix in mixes} == {"input", "layer1", "layer2"}
    assert len({mix.share for mix in mixes}) == 20


def test_a_frozen_training_mixes_what_goes_into_the_head_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original, layers = mixup.draw, set()

    def noted(given: tuple[str, ...], *rest: Any) -> Mix:
        layers.update(given)
        return original(given, *rest)

    monkeypatch.setattr(mixup, "draw", noted)
    trained(tmp_path, train="frozen", epochs=1)
    assert layers == {"input", "layer1", "layer2", "pooled"}


def test_same_seed_same_file_and_another_than_without(tmp_path: Path) -> None:
    one, two = (trained(tmp_path / name)[0] for name in ("one", "two"))
    plain = tiny.job(tmp_path / "plain")
    image.train(tiny.settings(), plain)
    assert one == two
    assert one != sha256_file(plain.out / "weights.safetensors")


@pytest.mark.parametrize("more", [{}, {"train": "lp_ft", "probe_epochs": 2, "probe_learning_rate": 0.01}], ids=["all", "lp_ft"])
def test_fault_50_resumed_is_unbroken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]) -> None:
    changes = {"epochs": 4, "balance": "sampling", "layer_decay": 0.8, **more}
    unbroken, whole = trained(tmp_path / "unbroken", **changes)
    again, result = tiny.killed_and_resumed(lambda: trained(tmp_path / "broken", **changes), monkeypatch)
    assert again == unbroken
    assert result.curve.equals(whole.curve)
