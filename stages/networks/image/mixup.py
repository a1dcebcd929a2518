"""Manifold mixup (Verma et al. 2019, arXiv 1806.05236): hidden states and labels of two pictures are mixed in one layer.

The network stays as it is: a hook mixes what a layer puts out. Letters: B pictures of a batch, C classes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from stages.backbones import head_name
from stages.files import DataError

INPUT, POOLED = "input", "pooled"  # the normalised pictures; what goes into the head


class Mix(NamedTuple):
    """What is done to one batch."""

    layer: str  # INPUT, POOLED, or a module's name: what it puts out is mixed
    share: float  # of each picture itself, 0 to 1; the rest is its partner's
    partners: Tensor  # (B,) the number of each picture's partner in the batch


def draw(layers: tuple[str, ...], alpha: float, size: int) -> Mix:
    """A layer of `layers`, a share from Beta(alpha, alpha) and a shuffled batch of `size`, from torch's own generator."""
    layer = layers[int(torch.randint(len(layers), ()))]
    return Mix(layer, float(torch.distributions.Beta(alpha, alpha).sample()), torch.randperm(size))


def mixed(values: Tensor, mix: Mix) -> Tensor:
    """(B, ...) -> (B, ...): pictures, hidden states or labels, each mixed with its partner's."""
    return mix.share * values + (1 - mix.share) * values[mix.partners.to(values.device)]


@contextmanager
def mixing(network: nn.Module, mix: Mix) -> Iterator[None]:
    """While it lasts, `network` mixes its hidden states by `mix`. Raises DataError where its forward pass was not through
    that layer once: labels would be mixed, and pictures not.
    """
    times = 0

    def before(_module: nn.Module, inputs: Any) -> Any:
        nonlocal times
        times += 1
        return (mixed(inputs[0], mix), *inputs[1:])

    def behind(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        nonlocal times
        times += 1
        return mixed(output, mix)

    if mix.layer in (INPUT, POOLED):
        place = network if mix.layer == INPUT else network.get_submodule(head_name(network))
        hook = place.register_forward_pre_hook(before)
    else:
        hook = network.get_submodule(mix.layer).register_forward_hook(behind)
    try:
        yield
    finally:
        hook.remove()
    if times != 1:
        raise DataError(f"mixup_layers: a picture goes through `{mix.layer}` {times} times, not once: name another")


def eligible(network: nn.Module, named: tuple[str, ...], frozen: bool) -> tuple[str, ...]:
    """The layers to mix in: those named, or else the document's.

    Of a ResNet the input, stage 1 and stage 2; of a ViT the input and the blocks that end its first and second third: 4 and 8
    of 12. Where all but the head is frozen, what goes into the head too. Raises DataError for a layer that is not there, and
    for another kind of network when none is named.
    """
    modules = dict(network.named_modules())
    for name in named:
        if name not in (INPUT, POOLED) and (not name or name not in modules):
            raise DataError(f"mixup_layers: no `{name}` in {type(network).__name__}. There is: {_outer(network)}")
    if named:
        return named
    if {"layer1", "layer2"} <= modules.keys():
        inside = ["layer1", "layer2"]
    elif isinstance(modules.get("blocks"), nn.Sequential):
        blocks: Any = modules["blocks"]
        inside = [f"blocks.{-(-len(blocks) * third // 3) - 1}" for third in (1, 2)]
    else:
        raise DataError(
            f"mixup_alpha: {type(network).__name__} is neither a ResNet nor made of blocks: say where to mix by "
            f"mixup_layers. There is: {_outer(network)}"
        )
    return (INPUT, *inside, POOLED) if frozen else (INPUT, *inside)


def _outer(network: nn.Module) -> str:
    return ", ".join([INPUT, *(name for name, _ in network.named_children()), POOLED])
