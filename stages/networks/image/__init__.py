"""The image family: one class for a whole picture. AlexNet, VGG19, ResNeXt50, and any network of timm or torchvision."""

from pathlib import Path

import pandas as pd

from stages import classifier
from stages.classifier import ClassifierSettings
from stages.networks import Job, Trained
from stages.predictions import class_rows

ImageSettings = ClassifierSettings
SETTINGS = ImageSettings


def train(settings: ImageSettings, job: Job) -> Trained:
    """Train on whole pictures; `job.out` receives weights.safetensors and model.json, all that `predict` needs."""
    return classifier.train("image", settings, job)


def predict(
    folder: Path, pictures: pd.DataFrame, root: Path, batch_size: int = 64, boxes: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Probabilities of every class for every picture: a predictions table of task `class`, in the pictures' order."""
    return class_rows(classifier.probabilities(folder, pictures, root, batch_size))
