"""The image family: every architecture of params.yaml trains, saves and predicts; what does not fit is refused in words."""

import json
import math
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch

from stages import backbones, classifier, cost
from stages.files import DataError, check_manifest, sha256_file, write_json, write_manifest
from stages.fit import Keeper
from stages.inference import predict
from stages.networks import family, image
from stages.networks.image.settings import ImageSettings
from stages.predictions import PREDICTIONS, check_predictions
from stages.settings import PARAMS, read_params, section
from tests import training_helpers as tiny

PROFILES = ("smoke", "embedded")


def shipped() -> dict[str, ImageSettings]:
    """Every different network among the shipped models of the image family, by the path of its settings."""
    params = read_params(Path(__file__).parent.parent / PARAMS)
    found: dict[str, ImageSettings] = {}
    networks: list[tuple[Any, ...]] = []
    for name, model in params["models"].items():
        for profile in PROFILES if model["family"] == "image" else ():
            chosen = section(f"models.{name}.{profile}", ImageSettings, params)
            if (network := (chosen.architecture, chosen.options, chosen.image_px)) not in networks:
                networks.append(network)
                found[f"{name}.{profile}"] = chosen
    return found


def trained(tmp_path: Path, settings: ImageSettings | None = None, **job: Any) -> tuple[Path, Any, Any]:
    """Train; (the model's folder with its manifest, the job, what train returned)."""
    the_job = tiny.job(tmp_path, **job)
    result = image.train(settings or tiny.settings(), the_job)
    write_manifest(the_job.out)
    return the_job.out, the_job, result


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, Any]:
    """A test_resnet trained for two epochs. Not to be changed: copy it first."""
    return trained(tmp_path_factory.mktemp("model"))


@pytest.fixture
def copied(model: tuple[Path, Any, Any], tmp_path: Path) -> tuple[Path, Any]:
    """A copy of the model's folder to damage, and its job."""
    return shutil.copytree(model[0], tmp_path / "copy"), model[1]


# --- every architecture ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "settings"), [pytest.param(path, chosen, id=path) for path, chosen in shipped().items()])
def test_every_shipped_network_trains_saves_and_predicts(tmp_path: Path, path: str, settings: ImageSettings) -> None:
    short = settings.model_copy(update={"epochs": 1, "batch_size": 4, "workers": 0})
    folder, job, result = trained(tmp_path, short, train=8, val=4)

    untrained = backbones.build(settings.architecture, settings.options, 2).state_dict()
    weights = safetensors.torch.load_file(folder / "weights.safetensors")
    assert {name: tensor.shape for name, tensor in weights.items()} == {n: t.shape for n, t in untrained.items()}
    module = classifier.load(folder).module
    assert not module.training
    assert result.cost["parameters"] == sum(p.numel() for p in module.parameters())
    assert result.cost["epochs"] == len(result.curve) == 1

    pictures = job.val.iloc[[2, 0, 3, 1]]
    predictions = check_predictions(predict(image.load(folder), pictures, job.root, 3), pictures["sample_id"])
    assert predictions["sample_id"].drop_duplicates().tolist() == pictures["sample_id"].tolist()
    assert predictions["label"].tolist() == ["blue", "red"] * 4
    sums = predictions.groupby("sample_id")["score"].sum()
    assert sums.to_numpy() == pytest.approx(np.ones(4), abs=1e-6)


def test_every_shipped_network_is_moved_by_every_gradient(tmp_path: Path) -> None:
    """One forward and backward pass: no parameter is left out, no gradient is 0 all over or not finite."""
    torch.manual_seed(0)
    for path, settings in shipped().items():
        if not path.endswith("smoke"):
            continue
        network = backbones.build(settings.architecture, settings.options, 5).eval()  # no dropout
        for norm in (module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)):
            torch.nn.init.ones_(norm.weight)  # timm starts the last norm of each branch at 0, which stops its gradients
        pictures = torch.randn(4, 3, settings.image_px, settings.image_px)
        torch.nn.functional.cross_entropy(network(pictures), torch.arange(4)).backward()
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, (path, name)
            assert torch.isfinite(parameter.grad).all(), (path, name)
            assert parameter.grad.abs().max() > 0, (path, name)


@pytest.mark.parametrize(("architecture", "options"), [
    ("torchvision/vgg19", {"width": 0.125}),
    ("torchvision/alexnet", {"width": 0.125}),
    ("resnext50_32x4d", {"layers": [1, 1, 1, 1], "channels": [32, 64, 128, 256], "cardinality": 8}),
])  # fmt: skip
def test_every_kind_of_network_learns_two_colours(tmp_path: Path, architecture: str, options: dict[str, Any]) -> None:
    """It can fail: a narrow VGG19 with PyTorch's own starting weights stays at a loss of 0.693 and half right."""
    settings = tiny.settings(architecture=architecture, options=options, image_px=64, epochs=8, learning_rate=0.001)
    _, _, result = trained(tmp_path, settings, train=64, val=16)
    assert result.curve["val_accuracy"].max() > 0.95
    assert result.curve["val_loss"].min() < 0.5


# --- learning ----------------------------------------------------------------------------------------------------------


def test_what_is_saved_is_the_best_epoch_and_has_learned(tmp_path: Path) -> None:
    settings = tiny.settings(epochs=6, learning_rate=0.03, flip=True, patience=6)
    folder, job, result = trained(tmp_path, settings, train=32, val=16)
    assert result.cost["best_epoch"] == int(result.curve["val_loss"].argmin())

    predictions = predict(image.load(folder), job.val, job.root, 5)
    wide = predictions.pivot(index="sample_id", columns="label", values="score").loc[job.val["sample_id"]]
    right = wide.to_numpy()[np.arange(16), [list(wide.columns).index(label) for label in job.val["label"]]]
    assert -np.log(right).mean() == pytest.approx(result.curve["val_loss"].min(), rel=1e-3, abs=1e-6)
    assert (wide.idxmax(axis=1).to_numpy() == job.val["label"].to_numpy()).mean() > 0.95


def test_not_the_last_epoch_is_saved_when_an_earlier_one_was_better(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The validation loss is made to rise after the first epoch; the saved weights must be the first epoch's."""
    original, noted = Keeper.on_train_epoch_end, []

    def rising(self: Keeper, trainer: Any, module: Any) -> None:
        trainer.callback_metrics["val_loss"] = torch.tensor(1.0 + trainer.current_epoch)
        noted.append({name: value.clone() for name, value in module.network.state_dict().items()})
        original(self, trainer, module)

    monkeypatch.setattr(Keeper, "on_train_epoch_end", rising)
    folder, _, result = trained(tmp_path, tiny.settings(epochs=3))
    assert result.cost["best_epoch"] == 0
    saved = safetensors.torch.load_file(folder / "weights.safetensors")
    assert all(torch.equal(saved[name], noted[0][name]) for name in saved)
    assert not all(torch.equal(saved[name], noted[2][name]) for name in saved)


def test_fault_51_same_seed_same_file_another_seed_another(tmp_path: Path) -> None:
    alexnet = tiny.settings(architecture="torchvision/alexnet", options={"width": 0.05}, image_px=64, flip=True, zoom=1.2)
    hashes = [
        sha256_file(trained(tmp_path / str(number), alexnet, seed=seed)[0] / "weights.safetensors")
        for number, seed in enumerate((5, 5, 6))
    ]
    assert hashes[0] == hashes[1]
    assert hashes[0] != hashes[2]


# --- what is left behind -----------------------------------------------------------------------------------------------


def test_a_model_says_all_that_is_needed_to_use_it(model: tuple[Path, Any, Any]) -> None:
    folder, _, result = model
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "model.json", "weights.safetensors"]
    card = json.loads((folder / "model.json").read_text())
    assert card["family"] == "image"
    assert card["classes"] == card["outputs"] == ["blue", "red"]
    assert (card["architecture"], card["image_px"]) == ("test_resnet", 32)
    assert card["as_built"] == "test_resnet, 0.4 M parameters, at 32 px, scratch"
    assert card["trained_on"] == {"data": "embedded", "train": 16, "val": 8, "seed": 0}
    assert ImageSettings.model_validate_json(json.dumps(card["settings"])) == tiny.settings()
    assert set(result.cost) == {"parameters", "layers", "megabytes", "train_seconds", "epochs", "best_epoch", "ms_an_image",
                                "device"}  # fmt: skip
    assert result.cost["megabytes"] == round((folder / "weights.safetensors").stat().st_size / 1e6, 3)
    assert 0 < result.cost["ms_an_image"] < 1000
    assert check_manifest(folder) == []
    modes = {path.stat().st_mode & 0o777 for path in folder.iterdir()}
    assert len(modes) == 1, "the weights are as readable as the rest"


def test_as_built_names_what_was_slimmed() -> None:
    network = torch.nn.Linear(999, 1000)
    assert cost.as_built("alexnet", True, network, 96, "scratch") == "alexnet, slimmed to 1.0 M parameters, at 96 px, scratch"
    assert cost.as_built("alexnet", False, network, 320, "imagenet") == "alexnet, 1.0 M parameters, at 320 px, imagenet"
    pinned = cost.as_built("a", False, network, 320, "imagenet:0123456789" + "ab" * 15)
    assert pinned == "a, 1.0 M parameters, at 320 px, imagenet:01234567"
    assert cost.as_built("a", False, network, 320, f"file:w.pth#sha256={'0a' * 32}").endswith("px, file:w.pth#sha256=0a0a0a0a")


# --- prediction --------------------------------------------------------------------------------------------------------


def test_predictions_do_not_depend_on_the_batch_the_order_or_the_label(model: tuple[Path, Any, Any]) -> None:
    folder, job, _ = model
    table = pd.concat([job.val, job.train], ignore_index=True)
    whole = predict(image.load(folder), table, job.root, 64).set_index(["sample_id", "label"])["score"]
    backwards = table.iloc[::-1].assign(label="never seen")
    again = predict(image.load(folder), backwards, job.root, 1)
    assert again["sample_id"].tolist()[::2] == backwards["sample_id"].tolist()
    again = again.set_index(["sample_id", "label"])["score"]
    assert (again.loc[whole.index] - whole).abs().max() < 1e-5


def test_no_pictures_no_predictions(model: tuple[Path, Any, Any]) -> None:
    folder, job, _ = model
    predictions = predict(image.load(folder), job.val.iloc[:0], job.root)
    assert list(predictions.columns) == list(PREDICTIONS.columns)
    assert len(predictions) == 0


def test_the_caller_s_generator_is_not_needed_and_dropout_is_off(tmp_path: Path) -> None:
    alexnet = tiny.settings(architecture="torchvision/alexnet", options={"width": 0.05}, image_px=64, epochs=1)
    folder, job, _ = trained(tmp_path, alexnet)
    one, two = (predict(image.load(folder), job.val, job.root)["score"].tolist() for _ in range(2))
    assert one == two


def test_fault_59_a_missing_or_strange_prediction_is_refused(model: tuple[Path, Any, Any]) -> None:
    folder, job, _ = model
    predictions = predict(image.load(folder), job.val, job.root)
    with pytest.raises(DataError, match="1 of 9 pictures have no prediction"):
        check_predictions(predictions, pd.concat([job.val["sample_id"], pd.Series(["v99"])]))
    with pytest.raises(DataError, match="2 predictions no picture"):
        check_predictions(predictions, job.val["sample_id"].iloc[2:])
    with pytest.raises(DataError, match="break the table's rules"):
        check_predictions(predictions.assign(score=math.nan), job.val["sample_id"])
    with pytest.raises(DataError, match="break the table's rules"):
        check_predictions(pd.concat([predictions, predictions]), job.val["sample_id"])


def test_fault_39_a_picture_altered_since_clean_stops_training_and_prediction(tmp_path: Path) -> None:
    folder, job, _ = trained(tmp_path)
    (job.root / "v03.png").write_bytes((job.root / "v01.png").read_bytes())  # a good picture, but another
    with pytest.raises(DataError, match=r"v03\.png: altered since it was cleaned"):
        predict(image.load(folder), job.val, job.root)
    again = replace(job, work=tmp_path / "again")
    with pytest.raises(DataError, match=r"v03\.png: altered since it was cleaned"):
        image.train(tiny.settings(), again)


# --- faults 53 to 56: model files that are not what they were ----------------------------------------------------------


@pytest.mark.parametrize("name", ["weights.safetensors", "model.json"])
def test_fault_55_a_flipped_bit_is_a_sha256_mismatch(copied: tuple[Path, Any], name: str) -> None:
    folder, job = copied
    before = sha256_file(folder / name)
    data = bytearray((folder / name).read_bytes())
    data[-3] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(DataError) as raised:
        predict(image.load(folder), job.val, job.root)
    assert f"{name}: altered: sha256 {sha256_file(folder / name)}, {before} when it was written" in str(raised.value)


@pytest.mark.parametrize("left", [0, 7, 0.5])
def test_fault_54_truncated_weights_are_refused(copied: tuple[Path, Any], left: float) -> None:
    folder, job = copied
    path = folder / "weights.safetensors"
    data = path.read_bytes()
    cut = int(left * len(data)) if isinstance(left, float) else left
    path.write_bytes(data[:cut])
    with pytest.raises(DataError, match=rf"weights\.safetensors: {cut} bytes, {len(data)} when it was written"):
        predict(image.load(folder), job.val, job.root)
    write_manifest(folder)  # and even where somebody has signed it
    with pytest.raises(DataError, match=r"weights\.safetensors: refused: damaged"):
        predict(image.load(folder), job.val, job.root)


def test_fault_53_a_pickle_named_weights_is_refused_without_effect(copied: tuple[Path, Any], tmp_path: Path) -> None:
    folder, job = copied
    trace = tmp_path / "attacked"

    class Hostile:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(trace),)

    torch.save({"fc.weight": Hostile()}, folder / "weights.safetensors")
    write_manifest(folder)
    with pytest.raises(DataError, match=r"weights\.safetensors: refused"):
        predict(image.load(folder), job.val, job.root)
    assert not trace.exists()


@pytest.mark.parametrize(("change", "message"), [
    ("classes", r"`fc\.(weight|bias)` is \((2, 128|2)\w*.*in the file, \((3, 128|3).* in test_resnet, 0.4 M"),
    ("channels", r"`conv1\.0\.weight` is \(\d+, 1, 3, 3\) in the file, \(\d+, 3, 3, 3\) in test_resnet, 0.4 M"),
    ("missing", r"`fc\.bias` is absent in the file, \(2,\) in"),
    ("more", r"`extra` is \(4,\) in the file, absent in"),
])  # fmt: skip
def test_fault_56_another_shape_is_named_both_ways(copied: tuple[Path, Any], change: str, message: str) -> None:
    folder, job = copied
    state = safetensors.torch.load_file(folder / "weights.safetensors")
    card = json.loads((folder / "model.json").read_text())
    if change == "classes":
        card["outputs"] = ["blue", "green", "red"]
    elif change == "channels":
        state["conv1.0.weight"] = state["conv1.0.weight"][:, :1].contiguous()
    elif change == "missing":
        del state["fc.bias"]
    else:
        state["extra"] = torch.zeros(4)
    safetensors.torch.save_file(state, folder / "weights.safetensors")
    write_json(folder / "model.json", card)
    write_manifest(folder)
    with pytest.raises(DataError, match=message):
        predict(image.load(folder), job.val, job.root)


# --- what does not fit -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("changes", "message"), [
    ({"architecture": "torchvision/alexnet", "options": {"width": 0.05}}, "torchvision/alexnet does not take pictures of 32 x 32 px"),
    ({"architecture": "vit_tiny_patch16_224"}, r"vit_tiny_patch16_224 does not take pictures of 32 x 32 px: .*\b224\b"),
    ({"options": {"no_such": 1}}, "`test_resnet` cannot be built with options .*no_such"),
    ({"init": "file:/nowhere/w.pth"}, r"/nowhere/w\.pth: no such file"),
    ({"init": "pretrained"}, r"init: pretrained: .* is no pretraining's folder\. Name one by the entry's `needs`"),
    ({"init": "model:other"}, r"init: model:other: no trained model there\. Trained: model\."),
])  # fmt: skip
def test_what_does_not_fit_is_refused_before_training(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    job = tiny.job(tmp_path)
    with pytest.raises(DataError, match=message):
        image.train(tiny.settings(**changes), job)
    assert list(job.out.iterdir()) == []
    assert not job.work.exists()


@pytest.mark.parametrize(("architecture", "close"), [("resnet5O", "resnet50"), ("torchvision/alexnett", "alexnet")])
def test_an_unknown_architecture_is_refused_when_the_settings_are_read(architecture: str, close: str) -> None:
    params = {"models": {"m": tiny.settings().model_dump() | {"architecture": architecture}}}
    with pytest.raises(DataError) as raised:
        section("models.m", ImageSettings, params)
    assert f"params.yaml: models.m.architecture: given {architecture!r}: no architecture `{architecture}` in timm" in str(
        raised.value
    )
    assert f"Did you mean {close}" in str(raised.value)


def test_a_transformer_takes_the_size_that_it_is_built_for(tmp_path: Path) -> None:
    _, _, result = trained(tmp_path, tiny.settings(architecture="test_vit", options={"img_size": 32}, epochs=1))
    assert result.cost["epochs"] == 1


@pytest.mark.parametrize("init", ["", "Scratch", "scratch:", "imagenet:", "pretrained:x", "file", "file:", "model:", "model", "best.pth",
                                  "http://a/b"])  # fmt: skip
def test_a_bad_init_is_refused_with_the_allowed_forms(init: str) -> None:
    params = {"models": {"m": tiny.settings().model_dump() | {"init": init}}}
    with pytest.raises(DataError) as raised:
        section("models.m", ImageSettings, params)
    assert str(raised.value) == (
        f"params.yaml: models.m.init: given {init!r}: allowed: scratch, imagenet, imagenet:<revision>, pretrained, file:<path>, "
        "model:<name>"
    )


@pytest.mark.parametrize(
    "init",
    [
        "scratch",
        "imagenet",
        f"imagenet:{'0a' * 20}",
        "pretrained",
        "file:a/b.pth",
        f"file:C:/x.safetensors#sha256={'0a' * 32}",
        "model:camera_trap-alexnet-class",
    ],
)
def test_a_good_init_is_taken(init: str) -> None:
    assert tiny.settings(init=init).init == init


def test_an_unknown_family_lists_those_that_there_are() -> None:
    with pytest.raises(DataError, match="no model family `imge`. There is: .*image"):
        family("imge")
    assert family("image").SETTINGS is ImageSettings


# --- starting weights, through training --------------------------------------------------------------------------------


def test_a_model_starts_from_another_trained_one(tmp_path: Path) -> None:
    folder, _, _ = trained(tmp_path, name="first")
    still = tiny.settings(init="model:first", epochs=1, learning_rate=1e-12)  # a step that changes nothing to speak of
    second, _, _ = trained(tmp_path, still, name="second")
    card = json.loads((second / "model.json").read_text())
    assert card["started_from"].startswith(
        f"model:first, sha256 {sha256_file(folder / 'weights.safetensors')}: 92 of 92 tensors"
    )
    one, two = (safetensors.torch.load_file(path / "weights.safetensors") for path in (folder, second))
    assert all(torch.allclose(one[name], two[name], atol=1e-6) for name in one if name.endswith("weight"))


def test_a_model_starts_from_the_pretraining_that_it_needs(tmp_path: Path) -> None:
    folder, _, _ = trained(tmp_path, name="first")
    still = tiny.settings(init="pretrained", epochs=1, learning_rate=1e-12)
    second, _, _ = trained(tmp_path, still, name="second", needs=folder)
    card = json.loads((second / "model.json").read_text())
    sha256 = sha256_file(folder / "weights.safetensors")
    assert card["started_from"] == f"pretrained first, sha256 {sha256}: 92 of 92 tensors"
    one, two = (safetensors.torch.load_file(path / "weights.safetensors") for path in (folder, second))
    assert all(torch.allclose(one[name], two[name], atol=1e-6) for name in one if name.endswith("weight"))


def test_a_killed_training_is_not_taken_up_with_other_starting_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(Exception):
        pass

    def start_file(seed: int) -> None:
        torch.manual_seed(seed)
        safetensors.torch.save_file(backbones.build("test_resnet", {}, 2).state_dict(), tmp_path / "start.safetensors")

    settings = tiny.settings(init=f"file:{tmp_path / 'start.safetensors'}", epochs=2)
    start_file(1)
    original = Keeper.on_train_epoch_end

    def die(self: Keeper, trainer: Any, module: Any) -> None:
        original(self, trainer, module)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Keeper, "on_train_epoch_end", die)
        with pytest.raises(Killed):
            trained(tmp_path, settings)
    start_file(2)
    again, _, _ = trained(tmp_path, settings)
    unbroken, _, _ = trained(tmp_path, settings, name="unbroken")
    assert sha256_file(again / "weights.safetensors") == sha256_file(unbroken / "weights.safetensors")


def test_the_real_efficientnet_lite0_is_fine_tuned_and_read_at_its_own_scale(tmp_path: Path) -> None:
    path = tiny.WEIGHTS / "tf_efficientnet_lite0.safetensors"
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    settings = tiny.settings(
        architecture="tf_efficientnet_lite0", init=f"file:{path}", epochs=1, image_px=48, learning_rate=0.001
    )
    folder, _, _ = trained(tmp_path, settings)
    card = json.loads((folder / "model.json").read_text())
    assert card["mean"] == card["std"] == [0.5, 0.5, 0.5]
    assert "sha256 2b4a5f7e" in card["started_from"]
