"""The image family: one class for a whole picture. AlexNet, VGG19, ResNets, ViTs, and any network of timm or torchvision.

settings.py     its settings
module.py       the Lightning module, which follows them
finetuning.py   what of a network learns, and how fast
mixup.py        hidden states and labels of two pictures mixed
keypoints.py    a second head, for training alone
objective.py    the loss, and classes of few pictures
plane.py        what goes into the head, in two dimensions
"""

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from stages import classifier
from stages.inference import Network
from stages.networks import Job, Trained
from stages.networks.image import keypoints
from stages.networks.image.keypoints import Pointing
from stages.networks.image.module import Learner
from stages.networks.image.objective import even_chances
from stages.networks.image.plane import plane
from stages.networks.image.settings import SAMPLING, ImageSettings

__all__ = ["SETTINGS", "load", "train"]

SETTINGS = ImageSettings


def train(settings: ImageSettings, job: Job) -> Trained:
    """Train on whole pictures; `job.out` receives weights.safetensors and model.json, all that `load` needs."""
    targets = np.array([job.classes.index(label) for label in job.train["label"]])
    learner: Callable[..., Learner] = functools.partial(Learner, counts=np.bincount(targets))
    points = None
    if settings.keypoint_weight is not None:
        points = keypoints.of_pictures(job.train, job.keypoints, settings.flip)
        learner = functools.partial(Pointing, counts=np.bincount(targets), keypoints=len(points.mirrored))
    chances = even_chances(targets) if settings.balance == SAMPLING else None
    return classifier.train("image", settings, job, learner, chances, points, loss=settings.loss)


def load(folder: Path) -> Network:
    """A trained classifier in use. Raises DataError where its files are altered or do not fit each other."""
    network = classifier.load(folder)
    return replace(network, plane=functools.partial(plane, network))
