"""What a SlowFast network starts from. A class head never comes along: the classes are others."""

import re
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from stages import backbones
from stages.backbones import IMAGENET_MEAN, IMAGENET_STD, copy_in, of_file, of_folder, read_weights, starting_folder
from stages.files import DataError, read_json
from stages.networks.slowfast.network import SLOW
from stages.transfer import Url, file_name, retrieve

# pytorchvideo's published weights of the 32-frame network, trained on Kinetics-400.
KINETICS_URL = "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics/SLOWFAST_8x8_R50.pyth"
VIDEO_MEAN, VIDEO_STD = (0.45, 0.45, 0.45), (0.225, 0.225, 0.225)  # of RGB in 0..1, which they were trained with
IMAGE_NETWORK = "resnet50"  # of timm: the 2-D network of the slow pathway's blocks


class Start(NamedTuple):
    words: str  # what was loaded
    mean: tuple[float, ...]  # of RGB in 0..1, which what was loaded was trained with
    std: tuple[float, ...]


def initialise(network: nn.Module, init: str, models: Path, pretrained: Path) -> Start:
    """Load starting weights in place.

    `init` is scratch; kinetics, pytorchvideo's published weights, or kinetics:<sha256>, which that file must have;
    imagenet[:<revision>], timm's ResNet50 inflated into the slow pathway; pretrained, the folder `pretrained`; model:<name>, a
    folder of `models`; or file:<path>, or file:<path>#sha256=<hash>. Of the last three a SlowFast network is copied, a 2-D
    ResNet inflated. Raises DataError for what fits nowhere.
    """
    kind, _, value = init.partition(":")
    if kind == "scratch":
        return Start("scratch", VIDEO_MEAN, VIDEO_STD)
    if kind == "kinetics":
        return Start(_copied(network, *_kinetics(value)), VIDEO_MEAN, VIDEO_STD)
    if kind == "imagenet":
        image = backbones.build(IMAGE_NETWORK, {}, 1000)
        origin = backbones.initialise(image, IMAGE_NETWORK, {}, init, models, pretrained)
        mean, std = backbones.preprocessing(image)
        return Start(inflate(network, image.state_dict(), origin), mean, std)
    if kind == "file":
        state, origin = of_file(value)
        if any(name.startswith("blocks.0.multipathway") for name in state):
            return Start(_copied(network, state, origin), VIDEO_MEAN, VIDEO_STD)
        return Start(inflate(network, state, origin), IMAGENET_MEAN, IMAGENET_STD)
    folder, origin = starting_folder(init, models, pretrained)
    if not (folder / "model.json").is_file():
        raise DataError(f"init: {init}: {folder} holds no trained network: in this profile nothing is pretrained")
    card = read_json(folder / "model.json")
    ways = {"slowfast": _copied, "image": inflate}
    if card["family"] not in ways:
        raise DataError(f"init: {init}: {folder} is of the family `{card['family']}`: a slowfast or an image network is wanted")
    return Start(ways[card["family"]](network, *of_folder(folder, origin)), tuple(card["mean"]), tuple(card["std"]))


def _kinetics(sha256: str) -> tuple[dict[str, Tensor], str]:
    """Kept where torch's own hub keeps what it fetches."""
    kept = Path(torch.hub.get_dir()) / "checkpoints" / file_name(KINETICS_URL)
    kept.parent.mkdir(parents=True, exist_ok=True)
    try:
        found = retrieve(Url(url=KINETICS_URL, sha256=sha256 or None), kept)
    except DataError as error:
        raise DataError(
            f"init: kinetics: {error}\nWith no network, download {KINETICS_URL} on another machine and set init to "
            "file:<path>, or file:<path>#sha256=<hash>"
        ) from None
    return read_weights(kept), f"Kinetics-400, {kept.name}, sha256 {found}"


def _copied(network: nn.Module, state: dict[str, Tensor], origin: str) -> str:
    head = backbones.head_name(network)
    return copy_in(network, {name: tensor for name, tensor in state.items() if not name.startswith(f"{head}.")}, origin)


def inflate(network: nn.Module, state: dict[str, Tensor], origin: str) -> str:
    """Load a 2-D ResNet's tensors into the slow pathway in place, wherever shapes match, and say in words how many.

    A kernel (out, in, h, w) becomes (out, in, t, h, w), t times the same and divided by t: to a clip that stands still the slow
    pathway answers as the 2-D network does, at frames that are as far from both ends as its kernels reach.
    """
    own = network.state_dict()
    fitting = {}
    for name, tensor in own.items():
        flat = state.get(image_name(name))
        if flat is None:
            continue
        if tensor.ndim == 5 and flat.ndim == 4:
            flat = flat[:, :, None].repeat(1, 1, tensor.shape[2], 1, 1) / tensor.shape[2]
        if flat.shape == tensor.shape:
            fitting[name] = flat
    if not fitting:
        raise DataError(f"init: {origin}: no tensor of it fits the slow pathway: a ResNet of bottleneck blocks is wanted")
    network.load_state_dict(fitting, strict=False)
    share = sum(tensor.numel() for tensor in fitting.values()) / sum(tensor.numel() for tensor in own.values())
    return f"{origin}, inflated: {len(fitting)} of {len(own)} tensors, {share:.0%} of all numbers"


def image_name(name: str) -> str:
    """timm's and torchvision's name of the 2-D tensor that belongs to one of the slow pathway; empty where there is none.

    blocks.2.multipathway_blocks.0.res_blocks.1.branch2.conv_a.weight -> layer2.1.conv1.weight
    """
    if found := _STEM.fullmatch(name):
        layer, kind = found.groups()
        return f"{_LAYERS[layer]}.{kind}"
    if found := _STAGE.fullmatch(name):
        stage, block, layer, kind = found.groups()
        return f"layer{stage}.{block}.{_LAYERS[layer]}.{kind}"
    return ""


_STEM = re.compile(rf"blocks\.0\.multipathway_blocks\.{SLOW}\.(conv|norm)\.(\w+)")
_STAGE = re.compile(rf"blocks\.(\d)\.multipathway_blocks\.{SLOW}\.res_blocks\.(\d+)\.([\w.]+)\.(\w+)")
_LAYERS = {
    "conv": "conv1", "norm": "bn1",
    "branch1_conv": "downsample.0", "branch1_norm": "downsample.1",
    "branch2.conv_a": "conv1", "branch2.norm_a": "bn1", "branch2.conv_b": "conv2", "branch2.norm_b": "bn2",
    "branch2.conv_c": "conv3", "branch2.norm_c": "bn3",
}  # fmt: skip
