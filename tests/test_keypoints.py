"""Keypoints as something more to learn from: where they are, which a mirror exchanges, and a second head that leaves no trace."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from stages import backbones
from stages.files import DataError, sha256_file, write_manifest
from stages.inference import predict
from stages.networks import Job, image
from stages.networks.image import keypoints
from stages.networks.image.settings import ImageSettings
from stages.people import OCCLUDED, VISIBLE
from stages.samples import KEYPOINTS, no_keypoints
from tests import training_helpers as tiny

AP10K = (
    "left_eye right_eye nose neck root_of_tail left_shoulder left_elbow left_front_paw right_shoulder right_elbow "
    "right_front_paw left_hip left_knee left_back_paw right_hip right_knee right_back_paw"
).split()
ANIMAL_POSE = "L_Eye R_Eye L_EarBase R_EarBase Nose Throat TailBase Withers L_F_Elbow R_F_Elbow L_B_Paw R_B_Paw".split()


def table(*rows: tuple[str, int, str, float, float, int]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(KEYPOINTS.columns)).astype(no_keypoints().dtypes)


def pictures(*names: str) -> pd.DataFrame:
    return pd.DataFrame({"sample_id": names, "width_px": 100, "height_px": 50})


# --- where they are ----------------------------------------------------------------------------------------------------


def test_keypoints_that_can_be_seen_are_shares_of_their_picture() -> None:
    rows = table(
        ("b", 0, "nose", 25, 50, VISIBLE), ("b", 0, "neck", 10, 10, OCCLUDED), ("a", 0, "neck", 0, 5, VISIBLE),
        ("val", 0, "tail", 5, 5, VISIBLE),
    )  # fmt: skip
    places, mirrored = keypoints.of_pictures(pictures("a", "b", "c"), rows, mirrors=True)
    assert places.tolist() == [[[0, 0.1, 1], [0, 0, 0]], [[0, 0, 0], [0.25, 1, 1]], [[0, 0, 0], [0, 0, 0]]], "neck, nose"
    assert mirrored.tolist() == [0, 1]


def test_of_several_animals_the_largest_counts() -> None:
    small = [("a", 0, "nose", 10, 10, VISIBLE), ("a", 0, "neck", 20, 20, VISIBLE)]
    large = [("a", 1, "nose", 50, 10, VISIBLE), ("a", 1, "tail", 90, 40, VISIBLE)]
    for rows in (small + large, large + small):
        places, _ = keypoints.of_pictures(pictures("a"), table(*rows), mirrors=False)
        assert places[0].tolist() == [[0, 0, 0], [0.5, 0.2, 1], [0.9, 0.8, 1]], "neck, nose, tail"


def test_what_cannot_be_learned_from_is_refused_with_the_setting_to_change() -> None:
    hidden = table(("a", 0, "nose", 1, 1, OCCLUDED), ("val", 0, "nose", 1, 1, VISIBLE))
    for rows in (hidden, no_keypoints()):
        with pytest.raises(DataError, match=r"none of the 1 pictures of train has a keypoint that can be seen\. Set keypoint_"):
            keypoints.of_pictures(pictures("a"), rows, mirrors=False)
    unnamed = table(("a", 0, "1", 1, 1, VISIBLE))
    keypoints.of_pictures(pictures("a"), unnamed, mirrors=False)
    with pytest.raises(DataError, match=r"keypoints have no names, .*set flip to false, or keypoint_weight to null"):
        keypoints.of_pictures(pictures("a"), unnamed, mirrors=True)


@pytest.mark.parametrize(
    ("names", "exchanged"),
    [
        (AP10K, {0: 1, 5: 8, 6: 9, 7: 10, 11: 14, 12: 15, 13: 16}),
        (ANIMAL_POSE, {0: 1, 2: 3, 8: 9, 10: 11}),
        (["eyeL", "eyeR", "LEAR", "REAR", "Left Hip", "Right Hip", "l-paw", "r-paw", "tail", "ear", "root", "lip"],
         {0: 1, 2: 3, 4: 5, 6: 7}),
        (["left_eye", "nose"], {}),  # whose counterpart is never there
    ],
)  # fmt: skip
def test_a_mirror_exchanges_left_and_right(names: list[str], exchanged: dict[int, int]) -> None:
    expected = list(range(len(names)))
    for one, other in exchanged.items():
        expected[one], expected[other] = other, one
    assert keypoints.mirrored(names).tolist() == expected


@given(st.lists(st.sampled_from([*AP10K, *ANIMAL_POSE, "R", "l", "righteye"]), unique=True, min_size=1))
def test_a_mirror_twice_is_none(names: list[str]) -> None:
    once = keypoints.mirrored(names)
    assert once[once].tolist() == list(range(len(names)))


def test_the_distance_is_smooth_l1_over_what_is_known() -> None:
    places = torch.tensor([[[0.5, 1.0, 1.0], [0.0, 0.0, 0.0]], [[0.0, 0.25, 1.0], [0.9, 0.9, 0.0]]])
    told = torch.tensor([[0.5, 1.0, 9.0, 9.0], [-1.0, 1.5, 9.0, 9.0]])
    # (0, 1) and (-1, -0.5) are wanted: 0.5 ** 2 / 2, 0, 0, 2 - 0.5
    assert keypoints.distance(told, places).item() == pytest.approx((0.125 + 1.5) / 4)
    assert keypoints.distance(told, torch.zeros(2, 2, 3)).item() == 0


# --- in a training -----------------------------------------------------------------------------------------------------


def with_keypoints(job: Job) -> Job:
    """A nose at a third and a left and a right eye in each picture of red, none in those of blue."""
    red = job.train.loc[job.train["label"] == "red", "sample_id"]
    rows = [
        (name, 0, *point)
        for name in red
        for point in (("nose", 10.0, 20.0, 2), ("L_eye", 5.0, 5.0, 2), ("R_eye", 25.0, 5.0, 2))
    ]
    return replace(job, keypoints=table(*rows))


def trained(folder: Path, **changes: Any) -> tuple[Job, Any]:
    job = with_keypoints(tiny.job(folder))
    return job, image.train(tiny.settings(**{"keypoint_weight": 3.0, "flip": True} | changes), job)


def test_the_second_head_leaves_no_trace_in_the_model(tmp_path: Path) -> None:
    job, result = trained(tmp_path)
    weights = safetensors.torch.load_file(job.out / "weights.safetensors")
    plain = backbones.build("test_resnet", {}, 2)
    assert {name: value.shape for name, value in weights.items()} == {n: v.shape for n, v in plain.state_dict().items()}
    assert result.cost["parameters"] == sum(parameter.numel() for parameter in plain.parameters())
    card = json.loads((job.out / "model.json").read_text())
    assert card["settings"]["keypoint_weight"] == 3.0 and card["outputs"] == ["blue", "red"]
    write_manifest(job.out)
    assert len(predict(image.load(job.out), job.val, job.root)) == 2 * len(job.val)


def test_same_seed_same_file_and_another_than_without_or_with_another_weight(tmp_path: Path) -> None:
    files = [
        sha256_file(trained(tmp_path / str(place), keypoint_weight=weight)[0].out / "weights.safetensors")
        for place, weight in enumerate((3.0, 3.0, 1.0, None))
    ]
    assert files[0] == files[1]
    assert len(set(files)) == 3


def test_features_learn_where_keypoints_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bright spot is the keypoint, anywhere in the picture, whatever its class."""
    rng, rows, spots = np.random.default_rng(0), {}, []
    for number in range(64):
        x, y = rng.integers(4, 28, 2)
        rgb = tiny.coloured(["blue", "red"][number % 2], 32, number)
        rgb[y - 3 : y + 3, x - 3 : x + 3] = 255
        rows[f"s{number:02}"] = (["blue", "red"][number % 2], rgb)
        spots.append((f"s{number:02}", 0, "spot", float(x), float(y), VISIBLE))
    job = replace(tiny.job(tmp_path), train=tiny.table(tmp_path / "pictures", rows), keypoints=table(*spots))
    original, losses = keypoints.distance, []

    def noted(*given_: Any) -> torch.Tensor:
        losses.append(original(*given_))
        return losses[-1]

    monkeypatch.setattr(keypoints, "distance", noted)
    image.train(tiny.settings(keypoint_weight=10.0, epochs=15, patience=15, learning_rate=0.01), job)
    # One who always says the middle has 0.5 ** 2 / 6: places are even in -0.75 to 0.75, each squared and halved.
    assert np.mean([float(loss.detach()) for loss in losses[-8:]]) < 0.25 * 0.75**2 / 6


@pytest.mark.parametrize(
    "more",
    [{}, {"train": "lp_ft", "probe_epochs": 2, "probe_learning_rate": 0.01}, {"layer_decay": 0.8, "balance": "sampling"}],
    ids=["all", "lp_ft", "layers"],
)
def test_fault_50_resumed_is_unbroken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]) -> None:
    changes = {"epochs": 4, **more}
    unbroken, whole = trained(tmp_path / "unbroken", **changes)
    again, result = tiny.killed_and_resumed(lambda: trained(tmp_path / "broken", **changes), monkeypatch)
    assert sha256_file(again.out / "weights.safetensors") == sha256_file(unbroken.out / "weights.safetensors")
    assert result.curve.equals(whole.curve)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"train": "frozen"}, "keypoint_weight with train: frozen: features that do not learn"),
        ({"mixup_alpha": 2.0}, "keypoint_weight with mixup_alpha: a mixture of two pictures"),
        ({"keypoint_weight": 0.0}, "greater than 0"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        tiny.settings(**{"keypoint_weight": 1.0} | changes)
    assert ImageSettings.model_fields["keypoint_weight"].default is None


def test_without_keypoints_the_training_says_which_setting_to_change(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Set keypoint_weight to null in this model's settings"):
        image.train(tiny.settings(keypoint_weight=1.0), tiny.job(tmp_path))
