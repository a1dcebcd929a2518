"""Features in two dimensions and the regions of the head's answers: by hand, and against the networks' own answers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from torch import Tensor, nn

from stages import backbones, classifier
from stages.classifier import Normalise, answering
from stages.files import check_manifest, write_manifest
from stages.inference import Network, predict
from stages.networks import image
from stages.networks.image.plane import CELLS, MOST, before_head, by_head, plane, principal_axes
from stages.networks.image.settings import ImageSettings
from stages.predictions import FEATURES
from stages.samples import TEST, TRAIN, VAL
from stages.views import squeezed
from tests import training_helpers as tiny

SIDE_PX = 4


class Mean(nn.Module):
    """(B, 3, H, W) -> the mean of each channel (B, 3) -> a linear layer."""

    def __init__(self, weight: Any, bias: Any) -> None:
        super().__init__()
        self.last = nn.Linear(3, len(weight))
        self.last.weight.data, self.last.bias.data = torch.tensor(weight).float(), torch.tensor(bias).float()

    def forward(self, pictures: Tensor) -> Tensor:
        return self.last(pictures.mean((2, 3)))


def in_use(network: nn.Module, side_px: int = SIDE_PX, loss: str = "softmax", classes: int = 2) -> Network:
    """A classifier of `classes` that is shown pictures as they are, in 0..255."""
    names = [f"class{number}" for number in range(classes)]
    return answering({"outputs": names, "loss": loss}, network, Normalise((0.0,) * 3, (1 / 255,) * 3), squeezed(side_px))


def of_colours(root: Path, colours: dict[str, list[tuple[int, int, int]]]) -> pd.DataFrame:
    """Pictures of one colour each, by part."""
    pictures, parts = {}, []
    for part, listed in colours.items():
        for number, colour in enumerate(listed):
            pictures[f"{part}{number}"] = ("any", np.full((SIDE_PX, SIDE_PX, 3), colour, np.uint8))
            parts.append(part)
    return tiny.table(root, pictures).assign(part=parts)


# Red varies most, green less, blue not at all; around (100, 80, 30).
COLOURS = {
    TRAIN: [(red, green, 30) for red in (0, 100, 200) for green in (50, 110)],
    VAL: [(0, 50, 30), (200, 110, 30)],
    TEST: [(100, 80, 30)],
}
# The first class where red is above green by more than 40: in the plane, x - y > 20.
BY_COLOUR = ([[1.0, -1.0, 0.0], [0.0, 0.0, 0.0]], [-40.0, 0.0])


def test_the_plane_of_a_linear_network_by_hand(tmp_path: Path) -> None:
    found = plane(in_use(Mean(*BY_COLOUR)), of_colours(tmp_path, COLOURS), tmp_path, 0)
    assert found is not None
    assert list(found) == ["axes", "explained", "classes", "extent", "regions", "counts", "points"]
    assert found["axes"] == "principal components of train's features"
    of_red, of_green = 20_000 / 3, 900
    assert found["explained"] == pytest.approx([of_red / (of_red + of_green), of_green / (of_red + of_green)], rel=1e-5)
    assert found["classes"] == ["class0", "class1"]
    assert found["counts"] == {TRAIN: 6, VAL: 2, TEST: 1}
    wanted = [(f"{part}{i}", part, c[0] - 100, c[1] - 80) for part, listed in COLOURS.items() for i, c in enumerate(listed)]
    assert [tuple(point.values()) for point in found["points"]] == [
        (sample_id, part, pytest.approx(x, abs=1e-4), pytest.approx(y, abs=1e-4)) for sample_id, part, x, y in wanted
    ]
    assert found["extent"] == pytest.approx([-110, 110, -33, 33]), "the range, and a twentieth of it at both ends"
    assert np.shape(found["regions"]) == (CELLS, CELLS)
    for i, row in enumerate(found["regions"]):
        y = -33 + 66 * (i + 0.5) / CELLS
        assert row == [0 if -110 + 220 * (j + 0.5) / CELLS - y > 20 else 1 for j in range(CELLS)], "a row is of one y"


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), classes=st.integers(2, 5))
def test_regions_are_what_the_network_says_of_pictures_that_lie_there(
    tmp_path_factory: pytest.TempPathFactory, loss: str, seed: int, classes: int
) -> None:
    """Each point of the plane is a colour; a picture of that colour is shown to the whole network."""
    rng = np.random.default_rng(seed)
    root = tmp_path_factory.mktemp("colours")
    pictures = of_colours(root, {TRAIN: [tuple(colour) for colour in rng.integers(0, 256, (6, 3)).tolist()]})
    network = in_use(Mean(rng.normal(size=(classes, 3)), rng.normal(size=classes) * 100), loss=loss, classes=classes)
    found = plane(network, pictures, root, seed)
    assert found is not None
    _, values = before_head(network, pictures, root)
    mean, axes, _ = principal_axes(values)
    x_min, x_max, y_min, y_max = found["extent"]
    middles = (np.arange(CELLS) + 0.5) / CELLS
    colours = mean + np.stack(np.meshgrid(x_min + middles * (x_max - x_min), y_min + middles * (y_max - y_min)), -1) @ axes
    shown = torch.from_numpy(colours.reshape(-1, 3, 1, 1)).float().expand(-1, 3, SIDE_PX, SIDE_PX)
    with torch.inference_mode():
        logits = network.module.network(shown)  # type: ignore[operator]
    sure = (logits.topk(2).values.diff().abs() > 1e-2)[:, 0]  # float32 decides the rest, on the border between two
    assert sure.float().mean() > 0.9
    assert torch.equal(logits.argmax(1)[sure], torch.tensor(found["regions"]).flatten()[sure])


# --- the features are the head's ---------------------------------------------------------------------------------------

NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "resnet": ("test_resnet", {}),
    "vit": ("test_vit", {"img_size": 64}),
    "convnext": ("test_convnext", {}),
    "efficientnet": ("test_efficientnet", {}),
    "alexnet": ("torchvision/alexnet", {"width": 0.05}),
    "vgg": ("torchvision/vgg11", {"width": 0.05}),
}


def require_own_answers(network: Network, pictures: pd.DataFrame, root: Path) -> None:
    """The head, shown the features alone, gives the probabilities that `predict` does."""
    head, values = before_head(network, pictures, root)
    with torch.inference_mode():
        alone = head(torch.from_numpy(values).float()).softmax(1).numpy()
    answers = predict(network, pictures, root).pivot(index="sample_id", columns="label", values="score")
    assert alone == pytest.approx(answers.loc[pictures["sample_id"], list(network.classes)].to_numpy(), abs=1e-5)
    assert by_head(head, values).tolist() == alone.argmax(1).tolist()


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_looked_at_is_what_goes_into_the_head(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    network = in_use(backbones.build(*NETWORKS[name], 3), 64, classes=3)
    require_own_answers(network, tiny.two_colours(tmp_path, 5, 64), tmp_path)


@pytest.mark.parametrize("mode", ["frozen", "all"])
def test_after_mixup_too(tmp_path: Path, mode: str) -> None:
    job = tiny.job(tmp_path)
    network = image.load(tiny.trained_by(image, job, tiny.settings(train=mode, mixup_alpha=2.0, epochs=1)))
    assert not network.module.network.fc._forward_pre_hooks  # type: ignore[union-attr]
    require_own_answers(network, job.val, job.root)
    assert network.plane is not None
    found = network.plane(pd.concat([job.train.assign(part=TRAIN), job.val.assign(part=VAL)]), job.root, 0)
    assert found is not None and found["counts"] == {TRAIN: 16, VAL: 8}


TWO_HEADS = ("deit_tiny_distilled_patch16_224", {"img_size": 64, "embed_dim": 12, "depth": 1, "num_heads": 2})
REFUSALS = [
    ("torchvision/squeezenet1_1", {}, "SqueezeNet has no linear layer, and so no head"),
    (*TWO_HEADS, "VisionTransformerDistilled's answers are not those of its last linear layer alone"),
]


@pytest.mark.parametrize(("architecture", "options", "said"), REFUSALS)
def test_a_network_that_answers_otherwise_has_no_figure_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], architecture: str, options: dict[str, Any], said: str
) -> None:
    network = in_use(backbones.build(architecture, options, 2), 64)
    assert plane(network, tiny.two_colours(tmp_path, 4, 64).assign(part=TRAIN), tmp_path, 0) is None
    assert capsys.readouterr().out.startswith(f"no figure of features: {said}")


# --- axes --------------------------------------------------------------------------------------------------------------


@given(rows=st.integers(3, 30), features=st.integers(2, 40), seed=st.integers(0, 2**32 - 1))
def test_axes_are_scikit_learn_s(rows: int, features: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(rows, features)) * np.arange(1, features + 1) ** 2  # directions of very different variance
    mean, axes, explained = principal_axes(values)
    reference = PCA(2, svd_solver="full").fit(values)
    assert mean == pytest.approx(reference.mean_)
    assert explained == pytest.approx(reference.explained_variance_ratio_)
    assert np.abs(axes @ reference.components_.T) == pytest.approx(np.eye(2), abs=1e-6)
    assert (values - mean) @ axes.T == pytest.approx(reference.transform(values), abs=1e-6 * np.abs(values).max())


def test_features_that_do_not_vary_have_axes_and_area_still(tmp_path: Path) -> None:
    """A network that says the same of every picture draws one point, and no figure is a number that is none."""
    same = of_colours(tmp_path, {TRAIN: [(9, 9, 9)] * 3, VAL: [(9, 9, 9)]})
    found = plane(in_use(Mean(*BY_COLOUR)), same, tmp_path, 0)
    assert found is not None
    assert (found["explained"], found["extent"]) == ([0, 0], [-1, 1, -1, 1])
    json.dumps(found, allow_nan=False)


# --- which pictures ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, Path]:
    """20 pictures more in train than are shown, some of them made; 3 in test."""
    root = tmp_path_factory.mktemp("many")
    shades = [(number % 256, number // 256 * 40, 7) for number in range(MOST + 20)]
    pictures = of_colours(root, {TRAIN: shades, TEST: shades[:3]})
    made = pictures["sample_id"].where(pictures.index % 100 != 5, "made/" + pictures["sample_id"])
    return pictures.assign(sample_id=made), root


def test_so_many_of_each_part_by_seed(many: tuple[pd.DataFrame, Path]) -> None:
    pictures, root = many
    network = in_use(Mean(*BY_COLOUR))
    found, again, other = (plane(network, table, root, seed) for table, seed in ((pictures, 1), (pictures, 1), (pictures, 2)))
    assert found is not None and other is not None
    assert found == again
    assert found["counts"] == {TRAIN: MOST + 20, TEST: 3}
    points = pd.DataFrame(found["points"])
    assert points["part"].value_counts().to_dict() == {TRAIN: MOST, TEST: 3}
    assert points["sample_id"].is_unique and points["sample_id"].str.startswith("made/").any()
    assert set(points["sample_id"]) != set(pd.DataFrame(other["points"])["sample_id"])


def test_one_part_s_points_do_not_depend_on_another_s(many: tuple[pd.DataFrame, Path]) -> None:
    pictures, root = many
    network = in_use(Mean(*BY_COLOUR))
    both, alone = (plane(network, table, root, 1) for table in (pictures, pictures[pictures["part"] == TRAIN]))
    assert both is not None and alone is not None
    assert [point for point in both["points"] if point["part"] == TRAIN] == alone["points"]


# --- the stage ---------------------------------------------------------------------------------------------------------


def test_the_stage_writes_it_beside_the_predictions(tmp_path: Path, stage: Callable[..., Any]) -> None:
    tiny.clean_and_split(tmp_path)
    entry = ImageSettings.model_dump(tiny.settings(epochs=1), exclude_defaults=True)
    places = {"clean": "clean", "split": "splits/location", "needs": "params.checked.json", "out": "models/m",
              "predictions": "predictions/m", "cost": "cost.json", "curve": "curve.csv", "provenance": "p.json"}  # fmt: skip
    words = ["--model", "m", "--family", "image", "--params", "models.m", "--seed", 0, "--seeds", "seeds"]
    written = []
    for _ in range(2):
        done = stage("train", *words, *(word for name, place in places.items() for word in (f"--{name}", place)),
                     params={"models": {"m": entry}, "seeds": 1})  # fmt: skip
        assert done.code == 0, done.err
        assert check_manifest(tmp_path / "predictions/m") == []
        written.append((tmp_path / "predictions/m" / FEATURES).read_bytes())
    assert written[0] == written[1]
    found = json.loads(written[0])
    assert found["counts"] == {TRAIN: 16, VAL: 8}
    assert found["classes"] == ["blue", "red"]


def test_other_families_have_none(tmp_path: Path) -> None:
    job = tiny.job(tmp_path)
    classifier.train("crop", tiny.settings(epochs=1), job)
    write_manifest(job.out)
    assert classifier.load(job.out).plane is None
