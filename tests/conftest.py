"""What several test files share: tiny pictures, a folder in the COCO Camera Traps format, and a stage run as its command line."""

import csv
import importlib
import io
import json
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import settings
from PIL import Image

from stages.command import run
from tests.pipeline_helpers import clone  # noqa: F401  a fixture of all test files

# How long an example takes is the machine's affair: on a shared one a deadline fails tests at random.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")

Colour = int | tuple[int, ...]
COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "grey": (90, 90, 90)}


@dataclass(frozen=True)
class Finished:
    code: int
    out: str
    err: str


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c() -> None:
    """A shell that starts the tests in the background has them ignore Ctrl-C, which some of them send themselves."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def picture() -> Callable[..., bytes]:
    """(colour or seed of noise, width, height, format, mode, save options) -> the bytes of a picture file."""

    def make(content: str | int, width: int = 8, height: int = 6, kind: str = "PNG", mode: str = "RGB", **save: Any) -> bytes:
        if isinstance(content, int):
            noise = np.random.default_rng(content).integers(0, 256, (height, width, 3))
            image = Image.fromarray(noise.astype(np.uint8))
        else:
            image = Image.new("RGB", (width, height), COLOURS[content])
        memory = io.BytesIO()
        image.convert(mode).save(memory, kind, **save)
        return memory.getvalue()

    return make


@pytest.fixture
def stage(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    record_property: Callable[[str, object], None],
) -> Callable[..., Finished]:
    """Run a stage's command line in `tmp_path`, with `params` as its params.yaml: (name, *arguments, params) -> Finished.

    An error that it ends with is put down for the table of faults (tests/fault_table.py).
    """
    monkeypatch.chdir(tmp_path)

    def go(name: str, *arguments: object, params: dict[str, Any] | None = None) -> Finished:
        if params is not None:
            Path("params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            run(importlib.import_module(f"stages.{name}").main)
        except SystemExit as stop:
            code = int(stop.code or 0)
        done = Finished(code, *capsys.readouterr())
        if "error: " in done.err:
            record_property("heard", done.err.rpartition("error: ")[2])
        return done

    return go


@pytest.fixture
def cleaned(stage: Callable[..., Finished], record_property: Callable[[str, object], None]) -> Callable[..., Finished]:
    """Download a folder in place and clean it into `clean/`: (root, adapter, clean settings) -> Finished of `clean`.

    The first reject is put down for the table of faults (tests/fault_table.py).
    """

    def go(root: Path, adapter: str = "caltech_camera_traps", **settings: Any) -> Finished:
        download = {"adapter": adapter, "source": f"path:{root}"}
        params = {"datasets": {"raw": {"smoke": {"download": download}}}, "clean": settings}
        for words in (("look", "--profile", "smoke", "--out", "look"),
                      ("fetch", "--params", "datasets.raw.smoke.download", "--look", "look/raw.json", "--dataset", "raw",
                       "--seed", 0, "--out", "raw")):  # fmt: skip
            done = stage("download", *words, params=params)
            assert done.code == 0, done.err
        done = stage("clean", "--params", "clean", "--raw", "raw", "--out", "clean", "--workers", 1)
        if done.code == 0:
            with Path("clean/rejects.csv").open(encoding="utf-8", newline="") as file:
                rejects = [row for row in csv.DictReader(file) if row["reason"] != "picture_rejected"]
            for row in rejects[:1]:
                record_property("heard", f"rejects.csv: {row['row']}, {row['name']}: {row['reason']}: {row['detail']}")
        return done

    return go


@pytest.fixture(scope="session")
def write_cct() -> Callable[..., Path]:
    """Write a COCO Camera Traps list: (path, images, annotations, categories by id) -> path."""

    def write(path: Path, images: list[Any], annotations: list[Any], categories: dict[int, str] | None = None) -> Path:
        names = categories or {0: "empty", 1: "deer", 2: "fox"}
        document = {
            "images": images,
            "annotations": annotations,
            "categories": [{"id": number, "name": name} for number, name in names.items()],
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document), encoding="utf-8")
        return path

    return write
