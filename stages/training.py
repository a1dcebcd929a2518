"""What the families share that learn by `stages/fit.py`: checks of their settings, and from a network to a finished model."""

from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from pydantic import AfterValidator
from torch import nn

from stages import backbones, cost
from stages.files import DataError, seed_from, write_json
from stages.fit import LoopSettings, fit
from stages.inference import Network, device
from stages.loading import loader
from stages.networks import Job, Trained


def _known(architecture: str) -> str:
    try:
        backbones.require_known(architecture)
    except DataError as error:
        raise ValueError(str(error)) from None
    return architecture


Architecture = Annotated[str, AfterValidator(_known)]  # a timm name, or torchvision/<name>


def starts(*forms: str) -> AfterValidator:
    """Allows a word, or a word and a value where the form is `word:<what>`."""

    def check(init: str) -> str:
        kind, colon, value = init.partition(":")
        if any((kind, colon) == form.partition(":")[:2] and bool(value) == bool(colon) for form in forms):
            return init
        raise ValueError(f"allowed: {', '.join(forms)}")

    return AfterValidator(check)


def require_shape(network: nn.Module, name: str, channels: int, height_px: int, width_px: int) -> None:
    """Raise DataError for a network that cannot take pictures of this size, before anything is trained."""
    try:
        with torch.inference_mode():
            network.eval()(torch.zeros(1, channels, height_px, width_px))
    except Exception as error:  # as each network fails
        raise DataError(f"{name} does not take pictures of {width_px} x {height_px} px: {error}") from None
    network.train()


def origin(settings: Any, job: Job, started_from: str, **counts: Any) -> dict[str, Any]:
    """What a card says of how its weights came about; `counts` are of what was trained on."""
    return {
        "init": settings.init,
        "started_from": started_from,
        "trained_on": {"data": job.data, **counts, "seed": job.seed},
        "settings": settings.model_dump(),
    }


def trained(
    module: Any,
    train_set: Any,
    val_set: Any,
    settings: LoopSettings,
    job: Job,
    card: dict[str, Any],
    use: Callable[[], Network],
    chances: NDArray[np.float64] | None = None,
    shown: NDArray[np.uint8] | None = None,
) -> Trained:
    """Train `module.network`; `job.out` receives its best weights, weights.safetensors, and `card`, model.json.

    The sets are a family's `Dataset`s. `use` gives the trained network in use, of which the cost is measured. `chances` are
    those of each item of train to be drawn; without them an epoch is each item once. `shown` is one item as the network in use
    is shown it, where that is more than what it validates on.
    """
    best, curve, facts = fit(
        module,
        loader(train_set, settings.batch_size, shuffle_seed=job.seed, chances=chances),
        loader(val_set, settings.batch_size),
        settings,
        job.seed,
        job.work / f"{seed_from(card['started_from']):x}",  # other starting weights are another training
    )
    weights = job.out / "weights.safetensors"
    weights.write_bytes(safetensors.torch.save(best))  # save_file would leave it to its owner alone, mode 0600
    write_json(job.out / "model.json", card)
    module.network.load_state_dict(best)  # weights that diverged in the last epoch could be slower
    one = val_set[0, 0][0] if shown is None else torch.from_numpy(shown)
    network, picture = use(), one[None].to(device())

    def answer() -> None:
        with torch.autocast(device(), torch.bfloat16, enabled=network.half and device() == "cuda"):
            network.finish(network.module(picture), network.floor)

    return Trained(cost.measured(module.network, weights, facts, answer), curve)
