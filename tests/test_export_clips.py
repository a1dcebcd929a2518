"""The ONNX file of a network of clips: who has the file alone gives a video's windows the scores that `predict` gives."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import save_file

from stages import trained
from stages.entries import Looker
from stages.export import main
from stages.files import sha256_file, write_json, write_manifest
from stages.networks.slowfast import SlowFastSettings
from stages.networks.slowfast.network import build
from stages.windows import entries, windows
from tests.clip_helpers import every, write_video
from tests.test_entries import files

CLASSES = ["flying", "walking", "eating"]
SETTINGS = SlowFastSettings(depth=18, stem_width=8, crop_px=32, scale_px=(32, 40), frames=8, views=2)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`models/clips`, untrained, and what the command made of it. Not to be changed."""
    folder = tmp_path_factory.mktemp("project")
    model = folder / "models/clips"
    model.mkdir(parents=True)
    torch.manual_seed(0)
    network = build(SETTINGS, len(CLASSES))
    torch.nn.init.normal_(network.blocks[-1].proj.weight)  # so that classes differ by more than the two may
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, model / "weights.safetensors")
    card = {
        "family": "slowfast", "outputs": CLASSES, "classes": CLASSES, "fps": 30.0, "as_built": "slowfast_r18, narrow",
        "mean": [0.45] * 3, "std": [0.225] * 3, "settings": SETTINGS.model_dump(mode="json"), "trained_on": {"data": "embedded"},
    }  # fmt: skip
    write_json(model / "model.json", card)
    write_manifest(model)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("sys.argv", ["export", "clips"])
        main()
    return folder


@pytest.fixture
def session(project: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(str(project / "exported/clips.onnx"), providers=["CPUExecutionProvider"])


def test_the_file_says_how_windows_are_made(project: Path, session: onnxruntime.InferenceSession) -> None:
    notes = session.get_modelmeta().custom_metadata_map
    assert {name: notes[name] for name in ("frames", "rate", "fps", "crops", "side_px")} == {
        "frames": "8", "rate": "2", "fps": "30.0", "crops": "3", "side_px": "32",
    }  # fmt: skip
    assert json.loads(notes["classes"]) == CLASSES and list(json.loads(notes["outputs"])) == ["scores"]
    assert notes["task"] == "classification of what is done in a window of a video"
    assert notes["input"].startswith(
        "uint8 (batch, 8 frames, height, width, 3) RGB, 0 to 255, not normalised: every 2. of 15 frames that follow each other, "
        "first and last among them, of a video brought to 30 frames a second"
    )
    assert notes["weights_sha256"] == sha256_file(project / "models/clips/weights.safetensors")
    [given] = session.get_inputs()
    assert (given.name, given.type, given.shape[1:]) == ("windows", "tensor(uint8)", [8, 32, 32, 3])


def test_the_mean_over_squares_is_what_predict_gives(
    project: Path, session: onnxruntime.InferenceSession, tmp_path: Path
) -> None:
    write_video(tmp_path / "v.mp4", every(15, 38))
    network = trained.load(project / "models/clips")
    assert network.clip is not None
    [entry] = entries(Looker(network, 0.0, 2.0, 8), tmp_path, files(tmp_path, "v.mp4"))
    shown = [window for _, window in windows(tmp_path / "v.mp4", network.clip, 2.0)]
    assert len(shown) == 5 and shown[0].shape == (3, 8, 32, 32, 3)
    found = np.array([session.run(["scores"], {"windows": squares})[0].mean(axis=0) for squares in shown])
    assert found == pytest.approx(np.array(entry["scores"]), abs=1e-3)
    assert np.ptp(found, axis=0).max() > 0.01, "the windows differ"
