"""2-D image networks by name, and the weights that they start from.

A name is timm's (`resnext50_32x4d`, `tf_efficientnet_lite0`, ...) or torchvision's with a prefix (`torchvision/alexnet`).
"""

import difflib
import functools
import os
import re
import zipfile
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from stages.files import DataError, require_manifest, sha256_file

# No library in this process may run what a pickle asks for, whatever it passes to torch.load: torchvision passes nothing.
os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_TORCHVISION = "torchvision/"
_SHA256 = "#sha256="
_HASH = re.compile("[0-9a-f]{8,64}")
# Options of the builders that fetch or read weights. Starting weights are `init`'s; a trained model's card brings none.
_OF_WEIGHTS = {
    "weights", "weights_backbone", "pretrained", "pretrained_backbone", "pretrained_cfg", "pretrained_cfg_overlay",
    "checkpoint_path", "cache_dir",
}  # fmt: skip


def build(architecture: str, options: dict[str, Any], classes: int) -> nn.Module:
    """An untrained network of `classes` outputs. `options` go to the builder; `width` narrows a torchvision chain."""
    require_known(architecture)
    require_no_weights(options)
    if architecture.startswith(_TORCHVISION):
        import torchvision.models as zoo

        name = architecture.removeprefix(_TORCHVISION)
        options = dict(options)
        width = options.pop("width", 1.0)
        make = functools.partial(zoo.get_model, name, weights=None)
    else:
        import timm

        width, make = 1.0, functools.partial(timm.create_model, architecture)
    try:
        if width == 1.0:
            return make(num_classes=classes, **options)
        with torch.device("meta"):  # every layer that has weights is replaced: those of the wide one are never drawn
            network = make(num_classes=classes, **options)
        return narrow(network, width, classes)
    except DataError:
        raise
    except Exception as error:  # each builder fails in its own way at options that do not fit
        raise DataError(f"`{architecture}` cannot be built with options {options}: {error}") from None


def require_known(architecture: str) -> None:
    """Raise DataError, with names that are close, for an architecture that neither library has."""
    if architecture.startswith(_TORCHVISION):
        import torchvision.models as zoo

        name, known = architecture.removeprefix(_TORCHVISION), zoo.list_models(module=zoo)
    else:
        import timm

        name, known = architecture.partition(".")[0], timm.list_models()
    if name not in known:
        close = difflib.get_close_matches(name, known, 3, 0.5)
        hint = f" Did you mean {', '.join(close)}?" if close else ""
        raise DataError(f"no architecture `{architecture}` in timm, nor with `torchvision/` in torchvision.{hint}")


def require_no_weights(options: dict[str, Any]) -> None:
    """Raise DataError for an option that would have a builder fetch weights or read a file."""
    if found := sorted(_OF_WEIGHTS & options.keys()):
        raise DataError(f"options: `{found[0]}` is not allowed: options describe a network, and weights are named by `init`")


def narrow(network: Any, width: float, classes: int) -> nn.Module:
    """AlexNet or VGG with each layer's channels times `width`: the embedded profile's stand-in, rebuilt layer by layer."""
    if type(network).__name__ not in ("AlexNet", "VGG"):
        raise DataError(f"`width` fits AlexNet and VGG, not {type(network).__name__}")
    if not 0 < width <= 1:
        raise DataError(f"`width` is the share of channels that is kept, above 0 and up to 1, not {width}")
    channels = 3
    for index, layer in enumerate(network.features):
        if isinstance(layer, nn.Conv2d):
            wide: Any = layer
            out = max(8, round(wide.out_channels * width))
            network.features[index] = _started(nn.Conv2d(channels, out, wide.kernel_size, wide.stride, wide.padding))
            channels = out
        elif isinstance(layer, nn.BatchNorm2d):
            network.features[index] = nn.BatchNorm2d(channels)
    linear = [index for index, layer in enumerate(network.classifier) if isinstance(layer, nn.Linear)]
    height, breadth = network.avgpool.output_size
    features = channels * height * breadth
    for index in linear:
        out = classes if index == linear[-1] else max(8, round(network.classifier[index].out_features * width))
        network.classifier[index] = _started(nn.Linear(features, out))
        features = out
    return network


def _started(layer: Any) -> nn.Module:
    """He's starting weights, which pass signals on at their strength (doi 10.1109/ICCV.2015.123).

    From PyTorch's own, smaller ones the 19 layers of a narrow VGG put out the same for every picture and never learn.
    """
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.zeros_(layer.bias)
    return layer


def preprocessing(network: nn.Module) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The mean and standard deviation of RGB in 0..1 that the network's published weights were trained with."""
    config = getattr(network, "pretrained_cfg", None) or {}
    return tuple(config.get("mean", IMAGENET_MEAN)), tuple(config.get("std", IMAGENET_STD))


def initialise(
    network: nn.Module, architecture: str, options: dict[str, Any], init: str, models: Path, pretrained: Path
) -> str:
    """Load starting weights in place and say in words what was loaded.

    `init` is scratch; imagenet, the library's newest weights, over the network; imagenet:<revision>, those of a commit on the
    Hugging Face Hub (timm) or of a name (torchvision); file:<path>, or file:<path>#sha256=<hash>, which the file must have;
    model:<name>, a folder of `models`; or pretrained, the folder `pretrained`.
    """
    kind, _, value = init.partition(":")
    if kind == "scratch":
        return "scratch"
    if kind == "imagenet":
        return copy_in(network, *_published(architecture, options, value))
    if kind == "file":
        return copy_in(network, *of_file(value))
    return copy_in(network, *of_folder(*starting_folder(init, models, pretrained)))


def starting_folder(init: str, models: Path, pretrained: Path) -> tuple[Path, str]:
    """The folder of `model:<name>` or `pretrained`, and which it is, in words."""
    if init == "pretrained":
        if not pretrained.is_dir():
            raise DataError(f"init: pretrained: {pretrained} is no pretraining's folder. Name one by the entry's `needs`")
        return pretrained, f"{init} {pretrained.name}"
    name = init.partition(":")[2]
    folder = models / name
    if not folder.is_dir():
        there = sorted(path.name for path in models.glob("*") if path.is_dir())
        raise DataError(
            f"init: {init}: no trained model there. Trained: {', '.join(there) or 'none'}. Run `dvc repro train@{name}` first"
        )
    return folder, init


def of_folder(folder: Path, origin: str) -> tuple[dict[str, Tensor], str]:
    """The weights that a training left in a folder, and which they are, in words."""
    require_manifest(folder)
    path = folder / "weights.safetensors"
    return read_weights(path), f"{origin}, sha256 {sha256_file(path)}"


def of_file(value: str) -> tuple[dict[str, Tensor], str]:
    """The weights of `<path>` or `<path>#sha256=<hash>`, and which they are, in words."""
    place, _, expected = value.partition(_SHA256)
    path = Path(place)
    state, found = read_weights(path), sha256_file(path)
    if _SHA256 in value and found != expected:
        raise DataError(f"init: {path}: its sha256 is {found}, not {expected}: fetch it again, or mend `init`")
    return state, f"file {path.name}, sha256 {found}"


def _published(architecture: str, options: dict[str, Any], revision: str) -> tuple[dict[str, Tensor], str]:
    """The library's ImageNet weights and which they are, in words. An empty `revision` stands for the newest."""
    try:
        if architecture.startswith(_TORCHVISION):
            return _of_torchvision(architecture.removeprefix(_TORCHVISION), revision)
        return _of_timm(architecture, options, revision)
    except DataError:
        raise
    except Exception as error:  # timm, the hub and the libraries below it share no base
        raise DataError(
            f"init: imagenet: the weights of `{architecture}` could not be fetched ({type(error).__name__}: {error}). "
            "With no network, download them on another machine and set init to file:<path> (.safetensors or .pth)"
        ) from None


def _of_torchvision(name: str, revision: str) -> tuple[dict[str, Tensor], str]:
    import torchvision.models as zoo

    known = {weights.name: weights for weights in zoo.get_model_weights(name)}
    if revision and revision not in known:
        raise DataError(f"init: imagenet:{revision}: torchvision's {name} has the weights {', '.join(known) or 'of nobody'}")
    weights = known[revision] if revision else zoo.get_model_weights(name)["DEFAULT"]
    require_hash_of_name(weights.url)
    return zoo.get_model(name, weights=weights).state_dict(), f"torchvision's {weights.name}, {Path(weights.url).name}"


def require_hash_of_name(url: str) -> None:
    """Raise DataError where torch's hub kept a file of this address before, and it is not what the hash in its name says.

    The hub itself looks only at what it fetches anew.
    """
    kept = Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name
    expected = kept.stem.rpartition("-")[2]
    if kept.is_file() and _HASH.fullmatch(expected) and not (found := sha256_file(kept)).startswith(expected):
        raise DataError(f"{kept}: altered: its sha256 is {found}, and should begin with {expected}. Delete it and run again")


def _of_timm(architecture: str, options: dict[str, Any], revision: str) -> tuple[dict[str, Tensor], str]:
    import timm
    from huggingface_hub import hf_hub_download

    published: Any = timm.get_pretrained_cfg(architecture)
    if not published.hf_hub_id:
        if revision:
            raise DataError(f"init: imagenet:{revision}: `{architecture}` is not on the Hugging Face Hub, and has no revisions")
        return timm.create_model(architecture, pretrained=True, **options).state_dict(), f"timm's {Path(published.url).name}"
    path = Path(hf_hub_download(published.hf_hub_id, "model.safetensors", revision=revision or None))
    network = timm.create_model(architecture, pretrained=True, pretrained_cfg_overlay={"file": str(path)}, **options)
    return network.state_dict(), f"{published.hf_hub_id}, revision {path.parent.name}, sha256 {sha256_file(path)}"


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors by name from .safetensors, or from a .pth that holds tensors alone: pickled code is never run."""
    if not path.is_file():
        raise DataError(f"init: {path}: no such file")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        if zipfile.is_zipfile(path) and (altered := zipfile.ZipFile(path).testzip()):  # torch.load does not look
            raise ValueError(f"the checksum of {altered} differs")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # safetensors, pickle and zip faults share no base
        raise DataError(
            f"{path}: refused: damaged, or more than plain tensors ({_cause(error)}). Get it anew from those who published it"
        ) from None
    for wrapper in ("state_dict", "model", "model_state"):  # the last is pytorchvideo's
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise DataError(f"{path}: refused: expected tensors by name, found {type(state).__name__}")
    return state


def _cause(error: Exception) -> str:
    """What is wrong with a file of weights, without PyTorch's advice to load it all the same."""
    found = re.search(r"(?:WeightsUnpickler error:\s*|(?=Trying to load unsupported GLOBAL))(\S.*)", str(error))
    first = str(error).partition("\n")[0]
    return found[1].partition(". ")[0].rstrip(".") if found else f"{type(error).__name__}{': ' if first else ''}{first}"


def copy_in(network: nn.Module, state: dict[str, Tensor], origin: str) -> str:
    """Load in place all tensors but those of a head of other classes, and say in words what was loaded.

    Raises DataError where another tensor is absent or of other shape.
    """
    own = network.state_dict()
    head = head_name(network)
    other_shape = [name for name in own if name in state and state[name].shape != own[name].shape]
    missing = [name for name in own if name not in state]
    bad = [name for name in other_shape + missing if not name.startswith(f"{head}.")]
    if bad:
        name = bad[0]
        found = tuple(state[name].shape) if name in state else "nothing"
        raise DataError(
            f"init: {origin}: not of this architecture: `{name}` should be {tuple(own[name].shape)}, found "
            f"{found} ({len(bad)} of {len(own)} tensors do not fit)"
        )
    fitting = {name: state[name] for name in own if name in state and name not in other_shape}
    network.load_state_dict(fitting, strict=False)
    if f"{head}.weight" not in fitting:
        # As drawn by its builder a new head may be sized for training from scratch: of timm's EfficientNets, with ImageNet's
        # features, its first loss is 15 where that of a guess among 8 classes is 2.1 (docs/benchmarks.md).
        for parameter in network.get_submodule(head).parameters():
            nn.init.zeros_(parameter)
    return f"{origin}: {len(fitting)} of {len(own)} tensors"


def load_exactly(network: nn.Module, path: Path, as_built: str) -> None:
    """Load a trained network's own weights in place. Raises DataError for the first tensor that is absent or of other shape."""
    own, state = network.state_dict(), read_weights(path)
    for name in sorted(own.keys() | state.keys()):
        shapes = [tuple(tensors[name].shape) if name in tensors else "absent" for tensors in (own, state)]
        if shapes[0] != shapes[1]:
            anew = "Train the model anew, or name another"
            raise DataError(f"{path.parent}: `{name}` is {shapes[1]} in the file, {shapes[0]} in {as_built}. {anew}")
    network.load_state_dict(state)


class NoHead(DataError):
    """A network that has no last linear layer, or does not answer by it alone."""


def head_name(network: nn.Module) -> str:
    """The name of the last linear layer: the part that a new set of classes replaces. Raises NoHead where there is none."""
    linear = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise NoHead(f"{type(network).__name__} has no linear layer, and so no head: choose another architecture")
    return linear[-1]


def layers(network: nn.Module) -> int:
    """How many layers have a weight matrix or kernel: convolutions and linear layers."""
    return sum(isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)) for module in network.modules())
