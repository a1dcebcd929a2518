"""The image family: one class for a whole picture. AlexNet, VGG19, ResNeXt50, and any network of timm or torchvision."""

from stages import classifier
from stages.classifier import ClassifierSettings, load
from stages.networks import Job, Trained

__all__ = ["SETTINGS", "load", "train"]

SETTINGS = ClassifierSettings


def train(settings: ClassifierSettings, job: Job) -> Trained:
    """Train on whole pictures; `job.out` receives weights.safetensors and model.json, all that `load` needs."""
    return classifier.train("image", settings, job)
