"""Networks by name: what can be built, how large it is, and which starting weights are taken or refused."""

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

from stages.backbones import NoHead, build, head_name, initialise, layers, preprocessing, read_weights
from stages.files import DataError, sha256_file, write_manifest
from tests.training_helpers import WEIGHTS

NARROW = {"width": 0.05}


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


# Sizes as torchvision and timm publish them for 1000 classes. The brief of the study quotes rounded ones.
@pytest.mark.parametrize(("architecture", "weight_layers", "count"), [
    ("torchvision/alexnet", 8, 61_100_840),
    ("torchvision/vgg19", 19, 143_667_240),
    ("resnext50_32x4d", 54, 25_028_904),  # 50 in the name: 49 + 1; and 4 on the shortcuts
])  # fmt: skip
def test_the_full_networks_are_the_published_ones(architecture: str, weight_layers: int, count: int) -> None:
    with torch.device("meta"):  # shapes alone: 600 MB of weights are not drawn
        network = build(architecture, {"init_weights": False} if "vgg" in architecture else {}, 1000)
    assert layers(network) == weight_layers
    assert parameters(network) == count


@pytest.mark.parametrize(("name", "weight_layers"), [("alexnet", 8), ("vgg11", 11), ("vgg19", 19), ("vgg11_bn", 11)])
def test_narrowing_keeps_depth_and_divides_channels(name: str, weight_layers: int) -> None:
    network = build(f"torchvision/{name}", {"width": 0.125}, 7)
    assert layers(network) == weight_layers
    convolutions = [module for module in network.features if isinstance(module, nn.Conv2d)]
    assert [convolutions[0].out_channels, convolutions[-1].out_channels] == [8, {"alexnet": 32}.get(name, 64)]
    assert network.classifier[-1].in_features == 512
    assert network(torch.zeros(2, 3, 64, 64)).shape == (2, 7)


@pytest.mark.parametrize("name", ["alexnet", "vgg19"])
def test_narrowing_keeps_the_strength_of_signals(name: str) -> None:
    """With PyTorch's own starting weights a narrow VGG19 gave the same output for every picture, to 1e-8, and never learned.

    torchvision's own full VGG19 starts at 0.003.
    """
    torch.manual_seed(0)
    network = build(f"torchvision/{name}", {"width": 0.125}, 10).eval()
    with torch.inference_mode():
        spread = network(torch.randn(8, 3, 64, 64)).std(0).mean()
    assert spread > 0.01


def test_a_width_of_one_is_the_network_itself() -> None:
    with torch.device("meta"):
        assert parameters(build("torchvision/alexnet", {"width": 1.0}, 1000)) == 61_100_840


@pytest.mark.parametrize(("architecture", "options", "message"), [
    ("resnet10tt", {}, r"no architecture `resnet10tt` .*Did you mean resnet10t"),
    ("torchvision/alexnett", {}, r"no architecture `torchvision/alexnett` .*Did you mean alexnet"),
    ("qqqq", {}, r"no architecture `qqqq` in timm, nor with `torchvision/` in torchvision\.$"),
    ("resnet10t.no_such_tag", {}, "resnet10t.no_such_tag"),
    ("resnet10t", {"width": 0.5}, r"`resnet10t` cannot be built with options \{'width': 0\.5\}: .*width"),
    ("resnet10t", {"layers": [1]}, r"`resnet10t` cannot be built with options"),
    ("test_vit", {"img_size": "a"}, "`test_vit` cannot be built with options"),
    ("torchvision/alexnet", {"widht": 0.5}, r"`torchvision/alexnet` cannot be built with options .*widht"),
    ("torchvision/alexnet", {"width": "a"}, "cannot be built with options"),
    ("torchvision/alexnet", {"width": 0}, "above 0"),
    ("torchvision/alexnet", {"width": -1.0}, "above 0"),
    ("torchvision/mobilenet_v2", NARROW, "`width` fits AlexNet and VGG, not MobileNetV2"),
    ("torchvision/efficientnet_b0", NARROW, "`width` fits AlexNet and VGG, not EfficientNet"),
    ("torchvision/resnet18", NARROW, "`width` fits AlexNet and VGG, not ResNet"),
])  # fmt: skip
def test_what_cannot_be_built_is_refused_in_words(architecture: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        build(architecture, options, 3)


def test_building_leaves_the_options_as_they_were() -> None:
    options = {"width": 0.05}
    build("torchvision/alexnet", options, 2)
    assert options == {"width": 0.05}


@pytest.mark.parametrize(("architecture", "options", "head"), [
    ("test_resnet", {}, "fc"),
    ("test_vit", {}, "head"),
    ("test_convnext", {}, "head.fc"),
    ("test_efficientnet", {}, "classifier"),
    ("torchvision/alexnet", NARROW, "classifier.6"),
    ("torchvision/mobilenet_v2", {}, "classifier.1"),
])  # fmt: skip
def test_the_head_is_the_last_linear_layer(architecture: str, options: dict[str, Any], head: str) -> None:
    network = build(architecture, options, 3)
    assert head_name(network) == head
    assert network.get_submodule(head).out_features == 3


def test_a_network_without_a_linear_layer_has_no_head() -> None:
    with pytest.raises(NoHead, match="SqueezeNet has no linear layer, and so no head: choose another architecture"):
        head_name(build("torchvision/squeezenet1_1", {}, 3))


def test_preprocessing_is_that_of_the_published_weights() -> None:
    assert preprocessing(build("resnext50_32x4d", {"layers": [1, 1, 1, 1]}, 2)) == (
        (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # fmt: skip
    assert preprocessing(build("torchvision/alexnet", NARROW, 2)) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert preprocessing(build("tf_efficientnet_lite0", {}, 2)) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


# --- starting weights --------------------------------------------------------------------------------------------------


def small(classes: int = 2, seed: int = 0, architecture: str = "test_resnet") -> nn.Module:
    torch.manual_seed(seed)
    return build(architecture, {}, classes)


NOWHERE = Path("no/where")


def start(
    network: nn.Module, init: str, models: Path = NOWHERE, pretrained: Path = NOWHERE, architecture: str = "test_resnet"
) -> str:
    return initialise(network, architecture, {}, init, models, pretrained)


def written(path: Path, state: Any) -> str:
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(state, path)
    else:
        torch.save(state, path)
    return f"file:{path}"


def equal_but_for(head: str | None, one: nn.Module, other: nn.Module) -> bool:
    """Whether all tensors are equal, and those of the head are not."""
    mine, theirs = one.state_dict(), other.state_dict()
    return all(
        torch.equal(mine[name], theirs[name]) if head is None or not name.startswith(head)
        else mine[name].shape != theirs[name].shape
        for name in mine
    )  # fmt: skip


def test_scratch_changes_nothing() -> None:
    network = small()
    assert start(network, "scratch") == "scratch"
    assert equal_but_for(None, network, small())


@pytest.mark.parametrize(("name", "wrapper"), [
    ("w.safetensors", None), ("w.pth", None), ("w.pt", None), ("w.pth", "state_dict"), ("w.pth", "model")])  # fmt: skip
def test_a_file_of_weights_is_taken_whole(tmp_path: Path, name: str, wrapper: str | None) -> None:
    source, network = small(seed=1), small(seed=2)
    state = source.state_dict()
    words = start(network, written(tmp_path / name, {wrapper: state, "epoch": 3} if wrapper else state))
    assert equal_but_for(None, network, source)
    assert f"file {name}, sha256 " in words
    assert words.endswith(f": {len(state)} of {len(state)} tensors")


def test_a_head_of_another_class_count_starts_at_zero_and_the_rest_loads(tmp_path: Path) -> None:
    source, network = small(5, seed=1), small(2, seed=2)
    words = start(network, written(tmp_path / "w.safetensors", source.state_dict()))
    assert equal_but_for("fc.", network, source)
    assert not network.fc.weight.any() and not network.fc.bias.any(), "so that no class is likelier than another"
    total = len(network.state_dict())
    assert words.endswith(f": {total - 2} of {total} tensors")


def test_a_file_without_a_head_will_do(tmp_path: Path) -> None:
    source, network = small(seed=1), small(seed=2)
    body = {name: value for name, value in source.state_dict().items() if not name.startswith("fc.")}
    assert start(network, written(tmp_path / "w.pth", body)).endswith(f": {len(body)} of {len(body) + 2} tensors")
    assert torch.equal(network.conv1[0].weight, source.conv1[0].weight)
    assert not network.fc.weight.any() and not network.fc.bias.any()


def test_fault_56_tensors_of_another_shape_are_refused_with_both_shapes(tmp_path: Path) -> None:
    network = small(seed=2)
    state = small(seed=1).state_dict()
    shape = tuple(state["conv1.0.weight"].shape)
    state["conv1.0.weight"] = torch.zeros(shape[0], 1, *shape[2:])  # a network for grey pictures
    with pytest.raises(DataError) as raised:
        start(network, written(tmp_path / "grey.safetensors", state))
    message = str(raised.value)
    assert "grey.safetensors" in message
    assert f"`conv1.0.weight` should be {shape}, found {(shape[0], 1, *shape[2:])}" in message
    assert f"(1 of {len(state)} tensors do not fit)" in message
    assert equal_but_for(None, network, small(seed=2)), "a refused file must leave the network as it was"


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    init = written(tmp_path / "w.safetensors", small(architecture="test_convnext").state_dict())
    with pytest.raises(DataError, match=r"not of this architecture: `conv1\.0\.weight` should be \(.*\), found nothing"):
        start(small(), init)
    init = written(tmp_path / "w.safetensors", small(architecture="test_efficientnet").state_dict())
    with pytest.raises(DataError, match=r"not of this architecture: `bn1\.weight` should be \(32,\), found \(24,\)"):
        start(small(), init)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_weights_of_another_architecture_are_refused_whatever_the_file(tmp_path: Path, name: str) -> None:
    network = small()
    other = build("test_vit", {}, 2).state_dict()
    with pytest.raises(
        DataError, match=rf"init: file {name}, sha256 .*: not of this architecture: `conv1\.0\.weight` should be"
    ):
        start(network, written(tmp_path / name, other))
    assert equal_but_for(None, network, small())


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_a_file_may_be_held_to_its_sha256(tmp_path: Path, name: str) -> None:
    init = written(tmp_path / name, small(seed=1).state_dict())
    sha256, network = sha256_file(tmp_path / name), small(seed=2)
    assert f"file {name}, sha256 {sha256}: " in start(network, f"{init}#sha256={sha256}")
    assert equal_but_for(None, network, small(seed=1))
    for other in ("0" * 64, sha256[:8], ""):
        network = small(seed=2)
        with pytest.raises(DataError) as raised:
            start(network, f"{init}#sha256={other}")
        assert f"{name}: its sha256 is {sha256}, not {other}: fetch it again, or mend `init`" in str(raised.value)
        assert equal_but_for(None, network, small(seed=2))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.safetensors: no such file"):
        start(small(), f"file:{tmp_path / 'none.safetensors'}")


class Hostile:
    """Unpickling this creates a file: what an attacker's code would do is worse."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("how", ["pickle", "torch.save", "in a state dict", "torch.save, old format"])
@pytest.mark.parametrize("name", ["w.pth", "w.pt", "w.bin", "w.safetensors"])
def test_fault_53_a_hostile_pickle_is_refused_without_effect(tmp_path: Path, how: str, name: str) -> None:
    trace, path = tmp_path / "attacked", tmp_path / name
    payload = {"conv1.weight": torch.zeros(1), "x": Hostile(trace)} if how == "in a state dict" else Hostile(trace)
    if how == "pickle":
        path.write_bytes(pickle.dumps(payload))
    else:
        torch.save(payload, path, _use_new_zipfile_serialization="old" not in how)
    with pytest.raises(DataError, match=rf"{name}: refused: damaged, or more than plain tensors"):
        start(small(), f"file:{path}")
    assert not trace.exists()
    if how == "pickle":  # the attack itself works
        pickle.loads(path.read_bytes())
        assert trace.exists()


def test_a_whole_pickled_network_is_refused(tmp_path: Path) -> None:
    torch.save(small(), tmp_path / "w.pth")
    with pytest.raises(DataError, match=r"w\.pth: refused"):
        read_weights(tmp_path / "w.pth")


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}, torch.zeros(3), {"state_dict": {"a": "b"}}], ids=str)
def test_anything_but_tensors_by_name_is_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(DataError, match=r"w\.pth: refused: expected tensors by name"):
        read_weights(tmp_path / "w.pth")


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_fault_54_a_truncated_file_is_refused(tmp_path: Path, name: str, share: float) -> None:
    path = tmp_path / name
    written(path, small().state_dict())
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(DataError, match=rf"{name}: refused: damaged"):
        start(small(), f"file:{path}")


def test_fault_55_a_flipped_bit_of_a_pth_is_found_by_its_checksums(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    written(path, small().state_dict())
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda member: member.file_size)
    data = bytearray(path.read_bytes())
    data[largest.header_offset + 2000] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"w\.pth: refused"):
        read_weights(path)


# --- weights of another trained model ----------------------------------------------------------------------------------


@pytest.fixture
def models(tmp_path: Path) -> Path:
    for number, name in enumerate(("bear-net", "cat-net")):
        folder = tmp_path / "models" / name
        folder.mkdir(parents=True)
        safetensors.torch.save_file(small(4, seed=number).state_dict(), folder / "weights.safetensors")
        write_manifest(folder)
    return tmp_path / "models"


def test_a_trained_model_gives_its_weights(models: Path) -> None:
    network = small(2, seed=7)
    words = start(network, "model:cat-net", models)
    assert equal_but_for("fc.", network, small(4, seed=1))
    assert words.startswith("model:cat-net, sha256 ")


def test_a_model_that_is_not_there_lists_what_there_is(models: Path) -> None:
    with pytest.raises(DataError, match=r"init: model:dog-net: no trained model there\. Trained: bear-net, cat-net\. Run"):
        start(small(), "model:dog-net", models)
    with pytest.raises(DataError, match=r"Trained: none\. Run `dvc repro train@dog-net` first"):
        start(small(), "model:dog-net", models / "nowhere")


def test_a_pretraining_gives_its_weights_and_one_that_is_not_there_is_asked_for(models: Path) -> None:
    network = small(2, seed=7)
    words = start(network, "pretrained", pretrained=models / "cat-net")
    assert equal_but_for("fc.", network, small(4, seed=1))
    assert words.startswith("pretrained cat-net, sha256 ")
    with pytest.raises(
        DataError, match=r"init: pretrained: no/where is no pretraining's folder\. Name one by the entry's `needs`"
    ):
        start(small(), "pretrained")


@pytest.mark.parametrize("init", ["model:cat-net", "pretrained"])
def test_fault_55_a_model_with_a_flipped_bit_is_not_started_from(models: Path, init: str) -> None:
    path = models / "cat-net" / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"weights\.safetensors: altered: sha256"):
        start(small(), init, models, models / "cat-net")


# --- published weights -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [OSError("Name or service not known"), ConnectionError("refused"), RuntimeError("no hub")])
@pytest.mark.parametrize("architecture", ["test_resnet", "torchvision/alexnet"])
@pytest.mark.parametrize("init", ["imagenet", "imagenet:IMAGENET1K_V1"])
def test_imagenet_without_a_network_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, architecture: str, error: Exception, init: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fail)
    monkeypatch.setattr("torchvision.models.get_model", fail)
    with pytest.raises(DataError) as raised:
        initialise(nn.Linear(1, 1), architecture, {}, init, NOWHERE, NOWHERE)
    message = str(raised.value)
    assert f"the weights of `{architecture}` could not be fetched ({type(error).__name__}: {error})" in message
    assert "set init to file:<path>" in message


FIRST, NEWEST = "1" * 40, "2" * 40


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No network, and what an earlier download left of the Hub's weights of test_resnet: a first revision and the newest."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--timm--test_resnet.r160_in1k"
    for seed, revision in ((1, FIRST), (2, NEWEST)):
        (repository / "snapshots" / revision).mkdir(parents=True)
        safetensors.torch.save_file(small(1000, seed).state_dict(), repository / "snapshots" / revision / "model.safetensors")
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text(NEWEST)
    return repository


@pytest.mark.parametrize(("init", "revision", "seed"), [("imagenet", NEWEST, 2), (f"imagenet:{FIRST}", FIRST, 1)])
@pytest.mark.parametrize("architecture", ["test_resnet", "test_resnet.r160_in1k"])
def test_imagenet_is_of_a_revision_of_the_hub_and_says_which(
    hub: Path, init: str, revision: str, seed: int, architecture: str
) -> None:
    network = small(3)
    words = initialise(network, architecture, {"drop_rate": 0.1}, init, NOWHERE, NOWHERE)
    assert equal_but_for("fc.", network, small(1000, seed))
    sha256 = sha256_file(hub / "snapshots" / revision / "model.safetensors")
    total = len(network.state_dict())
    assert words == f"timm/test_resnet.r160_in1k, revision {revision}, sha256 {sha256}: {total - 2} of {total} tensors"


def test_a_revision_that_is_not_there_and_no_network(hub: Path) -> None:
    with pytest.raises(DataError, match=r"the weights of `test_resnet` could not be fetched .*set init to file:<path>"):
        start(small(), "imagenet:" + "3" * 40)


def test_an_architecture_without_published_weights_has_no_revisions() -> None:
    architecture = "vit_base_patch16_gap_224"
    with pytest.raises(DataError, match=rf"imagenet:{FIRST}: `{architecture}` is not on the Hugging Face Hub, and has no rev"):
        start(small(), f"imagenet:{FIRST}", architecture=architecture)
    with pytest.raises(DataError, match=rf"`{architecture}` could not be fetched \(RuntimeError: No pretrained weights exist"):
        start(small(), "imagenet", architecture=architecture)


@pytest.mark.parametrize(("init", "name"), [("imagenet", "IMAGENET1K_V2"), ("imagenet:IMAGENET1K_V1", "IMAGENET1K_V1")])
def test_torchvision_s_weights_go_by_their_names(monkeypatch: pytest.MonkeyPatch, init: str, name: str) -> None:
    network, published = build("torchvision/mobilenet_v2", {}, 3), build("torchvision/mobilenet_v2", {}, 1000)
    asked = []

    def get(architecture: str, weights: Any) -> nn.Module:
        asked.append((architecture, weights.name))
        return published

    monkeypatch.setattr("torchvision.models.get_model", get)
    words = start(network, init, architecture="torchvision/mobilenet_v2")
    assert asked == [("mobilenet_v2", name)]
    file = {"IMAGENET1K_V1": "mobilenet_v2-b0353104.pth", "IMAGENET1K_V2": "mobilenet_v2-7ebf99e0.pth"}[name]
    assert words.startswith(f"torchvision's {name}, {file}: ")
    assert torch.equal(network.features[0][0].weight, published.features[0][0].weight)


def test_torchvision_s_other_names_are_refused_with_those_that_there_are() -> None:
    with pytest.raises(
        DataError, match=r"imagenet:V3: torchvision's mobilenet_v2 has the weights IMAGENET1K_V1, IMAGENET1K_V2"
    ):
        start(small(), "imagenet:V3", architecture="torchvision/mobilenet_v2")


def real(name: str) -> Path:
    path = WEIGHTS / name
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    return path


def test_the_real_efficientnet_lite0_loads_all_but_its_head() -> None:
    path = real("tf_efficientnet_lite0.safetensors")
    network = build("tf_efficientnet_lite0", {}, 7)
    words = start(network, f"file:{path}", architecture="tf_efficientnet_lite0")
    total = len(network.state_dict())
    assert words.endswith(f": {total - 2} of {total} tensors")
    assert torch.equal(network.conv_stem.weight, safetensors.torch.load_file(path)["conv_stem.weight"])
    assert preprocessing(network) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def test_the_real_mobilenet_v2_loads_all_but_its_head_and_nothing_for_1000_classes() -> None:
    path = real("mobilenet_v2-b0353104.pth")
    for classes, left_out in ((7, 2), (1000, 0)):
        network = build("torchvision/mobilenet_v2", {}, classes)
        words = start(network, f"file:{path}", architecture="torchvision/mobilenet_v2")
        total = len(network.state_dict())
        assert words.endswith(f": {total - left_out} of {total} tensors")
    with pytest.raises(DataError, match="not of this architecture"):
        start(small(), f"file:{path}")
