"""What a killed stage's state belongs to: a hash of its settings, inputs and code. With others nothing is gone on from."""

import hashlib
import importlib.metadata
import sys
from pathlib import Path

from stages.files import sha256_file

_LIBRARIES = (
    "torch",
    "torchvision",
    "timm",
    "pytorch-lightning",
    "numpy",
    "pillow",
    "opencv-python-headless",
    "av",
    "pytorchvideo",
    "ultralytics-opencv-headless",
    "effdet",
)


def key_of(*inputs: object) -> str:
    return hashlib.sha256("\n".join(map(str, inputs)).encode()).hexdigest()[:16]


def code_in_use() -> list[str]:
    """Hashes of this package's modules as imported, and of the program itself, which Python calls `__main__`."""
    names = ["__main__", *sorted(name for name in sys.modules if name.startswith("stages."))]
    files = [getattr(sys.modules[name], "__file__", None) for name in names]
    return [sha256_file(Path(file)) for file in files if file]


def versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in _LIBRARIES}
