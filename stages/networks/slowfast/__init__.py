"""The slowfast family: one class for a clip, by two pathways, few frames seen closely and many seen coarsely.

Its clips are those that the clips stage stored. Scores are each class's sigmoid, the mean over views and crops.
"""

import json
from pathlib import Path
from typing import Any

import torch

from stages import backbones, cost
from stages.files import DataError
from stages.inference import Network, device
from stages.networks import Job, Trained, read_card
from stages.networks.slowfast.clips import Clips, clip_of, shown, store_of
from stages.networks.slowfast.learning import Learner
from stages.networks.slowfast.network import Normalise, Scores, SlowFast, build
from stages.networks.slowfast.settings import SlowFastSettings
from stages.networks.slowfast.weights import initialise
from stages.predictions import CLASS
from stages.stored_clips import StoredClips
from stages.training import origin, trained
from stages.views import squeezed

SETTINGS = SlowFastSettings
HELD_BYTES = 2**28  # of clips, at a time, in use


def train(settings: SlowFastSettings, job: Job) -> Trained:
    """Train on what `job.tables`, the clips stage's folder, stores of the clips of `job`; `job.out` receives
    weights.safetensors and model.json, all that `load` needs. Raises DataError for a clip that is not stored.
    """
    if len(job.classes) < 2:
        raise DataError(f"train holds only the class {job.classes[0]}: there is nothing to tell apart")
    stored = StoredClips(job.tables)
    train_set = Clips(job.train, stored, job.classes, settings, job.seed, training=True)
    val_set = Clips(job.val, stored, job.classes, settings, job.seed, training=False)
    clip = clip_of(settings, stored.fps, settings.views, settings.crops)

    torch.manual_seed(job.seed)
    network = build(settings, len(job.classes))
    start = initialise(network, settings.init, job.models, job.needs)
    name = f"slowfast_r{settings.depth}"
    built = cost.as_built(name, settings.stem_width != 64, network, settings.crop_px, settings.init)
    frames = f"{settings.frames} times one frame" if settings.still else f"{settings.frames} frames at rate {settings.rate}"
    card = {
        "family": "slowfast",
        "architecture": name,
        "as_built": f"{built}, {frames}",
        "outputs": list(job.classes),  # of the network
        "classes": list(job.classes),  # that a clip may be given
        "fps": stored.fps,  # of the frames that `frames` and `rate` count
        "mean": list(start.mean),
        "std": list(start.std),
        # Clips shorter than a view, whose last frame repeats.
        "shorter_clips": {"train": train_set.shorter(), "val": val_set.shorter()},
        **origin(settings, job, start.words, train=len(train_set), val=len(val_set)),
    }
    module = Learner(network, Normalise(start.mean, start.std), settings, train_set.ids)
    whole = shown(stored, clip)(val_set.ids[0])
    return trained(module, train_set, val_set, settings, job, card, lambda: in_use(card, settings, network), shown=whole)


def in_use(card: dict[str, Any], settings: SlowFastSettings, network: SlowFast) -> Network:
    """A trained network in use, on its device."""
    clip = clip_of(settings, card["fps"], settings.views, settings.crops)
    a_clip_bytes = clip.views * clip.crops * clip.frames * clip.crop_px**2 * 3
    return Network(
        card,
        CLASS,
        tuple(card["outputs"]),
        Scores(network, Normalise(card["mean"], card["std"])).eval().to(device()),
        lambda scores, _floor: list(scores.double().cpu().numpy()),
        lambda _width_px, _height_px: squeezed(clip.crop_px),
        stored=store_of(clip),
        clip=clip,
        batch_size=max(1, min(64, HELD_BYTES // a_clip_bytes)),
        half=True,
    )


def load(folder: Path) -> Network:
    """A trained network in use. Raises DataError where its files are altered or do not fit each other."""
    card = read_card(folder)
    settings = SlowFastSettings.model_validate_json(json.dumps(card["settings"]))
    network = build(settings, len(card["outputs"]))
    backbones.load_exactly(network, folder / "weights.safetensors", card["as_built"])
    return in_use(card, settings, network)
