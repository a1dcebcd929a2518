"""What a trained network costs, measured on the machine at hand: never copied from a paper."""

import platform
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from stages.backbones import layers


def measured(network: nn.Module, weights: Path, facts: dict[str, Any], answer: Callable[[], object]) -> dict[str, Any]:
    """Parameters, layers, MB, what the training told (`facts`), ms a picture and the device.

    `answer` takes one picture that lies ready on the device through all but decoding.
    """
    return {
        "parameters": parameters(network),
        "layers": layers(network),
        "megabytes": round(weights.stat().st_size / 1e6, 3),
        **facts,
        "ms_an_image": milliseconds(answer),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU {platform.machine()}",
    }


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def milliseconds(answer: Callable[[], object], runs: int = 10) -> float:
    """Median time of `answer` in ms, after two calls to warm up."""
    seconds = []
    with torch.inference_mode():
        for _ in range(runs + 2):
            start = time.perf_counter()
            answer()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - start)
    return round(sorted(seconds[2:])[runs // 2] * 1000, 3)


def as_built(name: str, slimmed: bool, network: nn.Module, side_px: int, init: str) -> str:
    """A network in a line, as it was built: `resnext50_32x4d, slimmed to 1.0 M parameters, at 96 px, scratch`."""
    size = f"{parameters(network) / 1e6:.1f} M parameters"
    init = re.sub(r"([0-9a-f]{8})[0-9a-f]{32,}", r"\1", init)  # of a commit or a sha256 its beginning
    return f"{name}, {f'slimmed to {size}' if slimmed else size}, at {side_px} px, {init}"
