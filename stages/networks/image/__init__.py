"""The image family: one class for a whole picture. AlexNet, VGG19, ResNets, ViTs, and any network of timm or torchvision.

settings.py     its settings
module.py       the Lightning module, which follows them
finetuning.py   what of a network learns, and how fast
mixup.py        hidden states and labels of two pictures mixed
objective.py    the loss, and classes of few pictures
"""

import functools

import numpy as np

from stages import classifier
from stages.classifier import load
from stages.networks import Job, Trained
from stages.networks.image.module import Learner
from stages.networks.image.objective import even_chances
from stages.networks.image.settings import SAMPLING, ImageSettings

__all__ = ["SETTINGS", "load", "train"]

SETTINGS = ImageSettings


def train(settings: ImageSettings, job: Job) -> Trained:
    """Train on whole pictures; `job.out` receives weights.safetensors and model.json, all that `load` needs."""
    targets = np.array([job.classes.index(label) for label in job.train["label"]])
    learner = functools.partial(Learner, counts=np.bincount(targets))
    chances = even_chances(targets) if settings.balance == SAMPLING else None
    return classifier.train("image", settings, job, learner, chances, loss=settings.loss)
