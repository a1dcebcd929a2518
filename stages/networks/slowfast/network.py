"""SlowFast (Feichtenhofer et al. 2019) of pytorchvideo's builder. Letters: B clips, T frames, P their side in px, C classes."""

import warnings

import torch
from torch import Tensor, nn

from stages.networks.slowfast.settings import SlowFastSettings

SLOW, FAST = 0, 1  # pytorchvideo's order of the pathways


class SlowFast(nn.Module):
    """float (B, 3, T, P, P) -> logits (B, C). Its tensors have pytorchvideo's names."""

    def __init__(self, blocks: nn.ModuleList, alpha: int) -> None:
        super().__init__()
        self.blocks, self.alpha = blocks, alpha

    def forward(self, clips: Tensor) -> Tensor:
        pathways: list[Tensor] | Tensor = [slow_of(clips, self.alpha), clips]  # a list of our own: the blocks write into it
        for block in self.blocks:
            pathways = block(pathways)
        assert isinstance(pathways, Tensor)
        return pathways


def slow_of(clips: Tensor, alpha: int) -> Tensor:
    """(B, 3, T, P, P) -> (B, 3, T / alpha, P, P): frames from the first to the last, spread as the authors spread them."""
    frames = clips.shape[2]
    chosen = torch.linspace(0, frames - 1, frames // alpha, device=clips.device).long()
    return clips.index_select(2, chosen)


def build(settings: SlowFastSettings, classes: int) -> SlowFast:
    """An untrained network of `classes` outputs, for squares of any side."""
    with warnings.catch_warnings(action="ignore"):  # it compiles functions that we do not use by a way that torch gives up
        from pytorchvideo.models.slowfast import create_slowfast

    fast_width = settings.stem_width // settings.beta_inverse
    network = create_slowfast(
        slowfast_channel_reduction_ratio=settings.beta_inverse,
        slowfast_conv_channel_fusion_ratio=settings.fusion_ratio,
        slowfast_fusion_conv_kernel_size=(settings.fusion_kernel, 1, 1),
        slowfast_fusion_conv_stride=(settings.alpha, 1, 1),
        model_depth=settings.depth,
        model_num_class=classes,
        dropout_rate=settings.dropout,
        stem_dim_outs=(settings.stem_width, fast_width),
        head_pool=nn.AdaptiveAvgPool3d,  # whatever arrives, at any size and number of frames
    )
    return SlowFast(network.blocks, settings.alpha)


class Normalise(nn.Module):
    """uint8 (B, T, P, P, 3) -> float (B, 3, T, P, P) on the scale of the starting weights, channels last without a copy."""

    mean: Tensor  # of each channel, in 0..255; (3,)
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(std) * 255, persistent=False)

    def forward(self, clips: Tensor) -> Tensor:
        return ((clips.float() - self.mean) / self.std).permute(0, 4, 1, 2, 3)


class Scores(nn.Module):
    """uint8 (B, V, T, P, P, 3) -> each class's sigmoid (B, C), the mean of V views. They do not sum to 1."""

    def __init__(self, network: nn.Module, normalise: nn.Module) -> None:
        super().__init__()
        self.network, self.normalise = network.to(memory_format=torch.channels_last_3d), normalise

    def forward(self, clips: Tensor) -> Tensor:
        # A view at a time: all of them at once are 30 times the memory.
        views = [self.network(self.normalise(view)).float().sigmoid() for view in clips.unbind(1)]
        return torch.stack(views).mean(0)
