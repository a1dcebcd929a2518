"""The heatmap family: four stored channels in, a class out; it sees what `inputs` shows it and nothing else."""

import json
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
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
from stages.files import DataError, check_manifest, sha256_file, write_manifest
from stages.fit import Keeper
from stages.inference import predict
from stages.networks import Job, family, heatmap
from stages.networks.heatmap import HeatmapClassifierSettings
from stages.networks.heatmap.network import SHOWN, FourChannels, Normalise
from stages.networks.heatmap.stored import Stored, augmented
from stages.predictions import check_predictions
from stages.settings import section
from stages.shards import Unfinished
from tests import training_helpers as tiny

H, W = 32, 48
SHARD = 8  # samples
TENSORS = ("rgb", "heatmap", "truth")
MADE_WITH = {"pose": "activity-pose", "pose_sha256": "0" * 64, "settings": {"sigma_px": 3.0}}


def settings(**changes: Any) -> HeatmapClassifierSettings:
    values: dict[str, Any] = {
        "inputs": "rgb_heatmap", "architecture": "test_efficientnet", "epochs": 2, "batch_size": 8, "learning_rate": 0.003,
        "workers": 0,
    }  # fmt: skip
    return HeatmapClassifierSettings.model_validate(values | changes)


def blob(sigma_px: float, x_px: float, y_px: float) -> np.ndarray:
    """A heatmap (H, W, 1) with one Gaussian."""
    y, x = np.mgrid[:H, :W]
    return (255 * np.exp(-((x - x_px) ** 2 + (y - y_px) ** 2) / (2 * sigma_px**2))[..., None]).astype(np.uint8)


SIGMAS_PX = {"blue": 2, "red": 5}


def store(folder: Path, samples: dict[str, tuple[str, np.ndarray, np.ndarray, np.ndarray]]) -> Path:
    """{sample id: (label, rgb, heatmap, truth)} as the heatmaps stage leaves it."""
    ids = list(samples)
    shards = [ids[start : start + SHARD] for start in range(0, len(ids), SHARD)]
    unfinished = Unfinished(folder.parent / "unfinished", folder, len(shards))
    for number, names in enumerate(shards):
        rgb, found, true = (np.stack([samples[name][place] for name in names]) for place in (1, 2, 3))
        tensors = {"rgb_heatmap": np.concatenate([rgb, found], axis=3), "truth": true}
        unfinished.add(number, tensors, [{"sample_id": name, "label": samples[name][0]} for name in names])
    unfinished.finish(MADE_WITH)
    return folder


LABELS = ("blue", "red")


def job(folder: Path, told_by: str = "rgb", train: int = 32, val: int = 16, **changes: Any) -> Job:
    """Pictures whose class one of the stored tensors tells; the other two are the same for every class."""
    samples, rng = {}, np.random.default_rng(0)
    for prefix, count in {"t": train, "v": val}.items():
        for i in range(count):
            other = iter((i // 2, i // 4))  # three halvings, each independent of the others
            shown = {name: LABELS[(i if name == told_by else next(other)) % 2] for name in TENSORS}
            rgb = tiny.coloured(shown["rgb"], W, i)[:H]
            heats = [blob(SIGMAS_PX[shown[name]], rng.uniform(8, 40), rng.uniform(12, 20)) for name in TENSORS[1:]]
            samples[f"{prefix}{i:02}"] = (LABELS[i % 2], rgb, *heats)
    needs = store(folder / "heatmaps" / "activity", samples)
    table = pd.DataFrame({"sample_id": list(samples), "label": [sample[0] for sample in samples.values()]})
    out = folder / "models" / "m"
    out.mkdir(parents=True)
    values: dict[str, Any] = {
        "train": table[:train], "val": table[train:].reset_index(drop=True), "boxes": tiny.no_boxes(), "classes": LABELS,
        "root": folder, "data": "embedded", "seed": 0, "work": folder / "work", "models": folder / "models", "needs": needs,
        "out": out,
    }  # fmt: skip
    return Job(**(values | changes))


def trained(the_job: Job, chosen: HeatmapClassifierSettings | None = None) -> tuple[Path, Any]:
    result = heatmap.train(chosen or settings(), the_job)
    write_manifest(the_job.out)
    return the_job.out, result


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Job, Any]:
    """Trained for two epochs. Not to be changed."""
    the_job = job(tmp_path_factory.mktemp("model"))
    return (the_job.out, the_job, trained(the_job)[1])


# --- the network -------------------------------------------------------------------------------------------------------


def test_the_document_s_network_has_its_feature_map_and_20_outputs() -> None:
    with torch.device("meta"):  # shapes without weights
        network = FourChannels(backbones.build("efficientnet_b0", {}, 20))
        pictures = torch.zeros(1, 4, 480, 640)
        three = network.mix(pictures)
        assert three.shape == (1, 3, 480, 640)
        assert network.backbone.forward_features(three).shape == (1, 1280, 15, 20)
        assert network(pictures).shape == (1, 20)
    assert [type(layer).__name__ for layer in network.mix] == ["Conv2d", "ReLU", "Conv2d", "ReLU"]
    convolutions = [layer for layer in network.mix if isinstance(layer, torch.nn.Conv2d)]
    assert [layer.weight.shape for layer in convolutions] == [(4, 4, 3, 3), (3, 4, 3, 3)]
    assert network.backbone.global_pool.pool_type == "avg"
    assert HeatmapClassifierSettings.model_fields["architecture"].default == "efficientnet_b0"


@pytest.mark.parametrize("inputs", SHOWN)
def test_a_network_s_scale_is_imagenet_s_and_what_is_not_shown_is_0(inputs: str) -> None:
    picture = torch.tensor([[[[0, 124, 255, 51]]]], dtype=torch.uint8)
    colour = [(0 - 0.485) / 0.229, (124 / 255 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    expected = [0.0] * 3 if inputs == "heatmap" else colour
    expected.append(0.0 if inputs == "rgb" else 2.0)
    assert Normalise(inputs, 0.1)(picture).flatten().tolist() == pytest.approx(expected, abs=1e-6)


def test_hardly_any_seed_starts_without_a_filter_that_sees_the_heatmap() -> None:
    """Of 300 seeds; from PyTorch's own starting weights about 50 see nothing, and never learn."""
    heatmaps = np.stack([blob(3, 10 + 3 * i, 16) for i in range(4)])
    pictures = Normalise("heatmap", 0.1)(torch.from_numpy(np.concatenate([np.zeros((4, H, W, 3), np.uint8), heatmaps], axis=3)))
    blind = 0
    for seed in range(300):
        torch.manual_seed(seed)
        with torch.no_grad():
            seen = FourChannels(torch.nn.Identity())(pictures)[:, :, 3:-3, 3:-3]
        blind += bool((seen.amax((0, 2, 3)) - seen.amin((0, 2, 3)) < 0.2).all())
    assert blind <= 5


# --- what it is shown --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inputs", SHOWN)
def test_what_is_stored_is_read_to_the_byte_in_any_order_by_many_threads(tmp_path: Path, inputs: str) -> None:
    rng = np.random.default_rng(3)
    samples = {
        f"s{i:02}": ("red", *(rng.integers(0, 256, (H, W, channels), dtype=np.uint8) for channels in (3, 1, 1)))
        for i in range(2 * SHARD + 3)
    }
    stored = Stored(store(tmp_path / "activity", samples), inputs)
    ids = rng.permutation(list(samples)).tolist() * 3
    with ThreadPoolExecutor(4) as pool:
        found = dict(zip(ids, pool.map(stored, ids), strict=True))
    for name, (_, rgb, predicted, true) in samples.items():
        heat = true if inputs == "rgb_truth" else predicted
        assert found[name].dtype == np.uint8
        assert np.array_equal(found[name], np.concatenate([rgb, heat], axis=2))


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A folder of two shards."""
    rng = np.random.default_rng(6)
    tensors = [(rng.integers(0, 256, (H, W, channels), dtype=np.uint8) for channels in (3, 1, 1)) for _ in range(SHARD + 1)]
    return store(tmp_path / "activity", {f"s{i}": ("red", *three) for i, three in enumerate(tensors)})


def test_what_was_read_is_the_reader_s_own(stored: Path) -> None:
    read = Stored(stored, "rgb")
    before = read("s1").copy()
    read("s1")[:] = 0
    assert before.any() and np.array_equal(read("s1"), before)


def test_a_reader_goes_to_worker_processes(stored: Path) -> None:
    read = Stored(stored, "rgb_truth")
    before = read("s8")
    assert np.array_equal(pickle.loads(pickle.dumps(read))("s8"), before)


def test_a_sample_that_is_not_stored_is_named(stored: Path) -> None:
    with pytest.raises(DataError, match=r"activity: no sample s9 among the 9 stored: run `dvc repro`"):
        Stored(stored, "rgb")("s9")


def test_fault_46_a_truncated_shard_is_named_when_it_is_read(stored: Path) -> None:
    path = stored / "shards/00001.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    assert Stored(stored, "rgb")("s0").shape == (H, W, 4)
    with pytest.raises(DataError, match=r"shards/00001\.safetensors: cannot be read: .* makes this shard alone anew"):
        Stored(stored, "rgb")("s8")


def test_the_spread_of_heatmaps_is_that_of_all_their_pixels(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    samples = {
        f"s{i}": ("red", *(rng.integers(0, 40 * i + 1, (H, W, channels), dtype=np.uint8) for channels in (3, 1, 1)))
        for i in range(6)
    }
    folder = store(tmp_path / "activity", samples)
    for inputs, place in (("rgb_heatmap", 2), ("rgb_truth", 3)):
        pixels = np.stack([samples[name][place] for name in ("s1", "s2", "s5")]) / 255
        assert Stored(folder, inputs).heatmap_std(["s1", "s2", "s5"]) == pytest.approx(pixels.std(), rel=1e-9)
    assert Stored(folder, "heatmap").heatmap_std(["s0"]) == 1, "nobody found on any picture"


def test_a_picture_without_a_stored_heatmap_is_named_before_anything_is_trained(tmp_path: Path) -> None:
    the_job = job(tmp_path)
    more = pd.concat([the_job.val, pd.DataFrame({"sample_id": ["x7", "x8"], "label": "red"})], ignore_index=True)
    with pytest.raises(DataError) as raised:
        heatmap.train(settings(), replace(the_job, val=more))
    assert str(raised.value) == (
        f"{the_job.needs}: 2 of 18 pictures have no heatmap there, x7 for example: run `dvc repro heatmaps@activity`"
    )
    assert not the_job.work.exists()
    assert list(the_job.out.iterdir()) == []


def test_a_folder_without_heatmaps_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing/index\.parquet: no such file"):
        heatmap.train(settings(), job(tmp_path, needs=tmp_path / "nothing"))


@given(seed=st.integers(0, 1000), flip=st.booleans(), light=st.sampled_from([0.0, 0.3]))
def test_an_augmented_picture_is_mirrored_whole_and_its_light_changes_no_heatmap(seed: int, flip: bool, light: float) -> None:
    picture = np.random.default_rng(seed).integers(0, 256, (5, 7, 4), dtype=np.uint8)
    before = picture.copy()
    found = augmented(picture, flip, light, np.random.default_rng(seed))
    mirrored = flip and np.random.default_rng(seed).random() < 0.5
    expected = picture[:, ::-1] if mirrored else picture
    assert np.array_equal(found[..., 3], expected[..., 3])
    assert found.dtype == np.uint8
    if light:  # brighter stays brighter, by one rule for all colours
        order = np.argsort(expected[..., :3].ravel(), kind="stable")
        assert (np.diff(found[..., :3].ravel()[order].astype(int)) >= 0).all()
    else:
        assert np.array_equal(found, expected)
    assert np.array_equal(picture, before)


# --- learning ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("told_by", "inputs"), [
    ("rgb", "rgb"), ("heatmap", "heatmap"), ("heatmap", "rgb_heatmap"), ("truth", "rgb_truth"),
])  # fmt: skip
def test_it_learns_from_what_it_is_shown(tmp_path: Path, told_by: str, inputs: str) -> None:
    the_job = job(tmp_path, told_by, train=64, seed=1)
    chosen = settings(inputs=inputs, epochs=7, patience=7, learning_rate=0.005)
    folder, result = trained(the_job, chosen)
    assert result.curve["val_accuracy"].max() > 0.9

    predictions = predict(heatmap.load(folder), the_job.val, the_job.root, 5, stored=the_job.needs)
    wide = predictions.pivot(index="sample_id", columns="label", values="score").loc[the_job.val["sample_id"]]
    right = wide.to_numpy()[np.arange(16), [LABELS.index(label) for label in the_job.val["label"]]]
    assert -np.log(right).mean() == pytest.approx(result.curve["val_loss"].min(), rel=1e-3, abs=1e-6)


@pytest.mark.parametrize(("inputs", "blind_to"), [
    ("rgb", ("heatmap", "truth")), ("heatmap", ("rgb", "truth")), ("rgb_truth", ("heatmap",)), ("rgb_heatmap", ("truth",)),
])  # fmt: skip
def test_it_cannot_see_what_it_is_not_shown(tmp_path: Path, inputs: str, blind_to: tuple[str, ...]) -> None:
    """Trained and asked on other values of the channels that are not shown, it becomes and answers the same to the bit."""
    the_job = job(tmp_path / "one")
    rng = np.random.default_rng(5)
    predicted, true = (Stored(the_job.needs, inputs) for inputs in ("rgb_heatmap", "rgb_truth"))
    other = {}
    for row in pd.concat([the_job.train, the_job.val]).itertuples():
        tensors = [*np.split(predicted(row.sample_id), [3], axis=2), true(row.sample_id)[..., 3:]]
        other[row.sample_id] = (row.label, *(
            rng.integers(0, 256, tensor.shape, dtype=np.uint8) if name in blind_to else tensor
            for name, tensor in zip(TENSORS, tensors, strict=True)
        ))  # fmt: skip
    needs = store(tmp_path / "other" / "activity", other)
    out = tmp_path / "two"
    out.mkdir()
    again = replace(the_job, needs=needs, out=out, work=tmp_path / "work2")
    chosen = settings(inputs=inputs, epochs=1)
    folders = [trained(which, chosen)[0] for which in (the_job, again)]
    assert sha256_file(folders[0] / "weights.safetensors") == sha256_file(folders[1] / "weights.safetensors")
    network = heatmap.load(folders[0])
    one, two = (predict(network, the_job.val, the_job.root, stored=which.needs)["score"].tolist() for which in (the_job, again))
    assert one == two
    assert len(set(one)) > 2, "it answers not the same for every picture"


def test_fault_50_a_killed_training_ends_where_an_unbroken_one_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(Exception):
        pass

    chosen = settings(epochs=4, flip=True, light=0.2, options={"drop_rate": 0.3})
    unbroken, result = trained(job(tmp_path / "unbroken"), chosen)
    original = Keeper.on_train_epoch_end

    def then_die(self: Keeper, trainer: Any, module: Any) -> None:
        original(self, trainer, module)
        if trainer.current_epoch == 1:
            raise Killed

    the_job = job(tmp_path / "killed")
    with monkeypatch.context() as patch:
        patch.setattr(Keeper, "on_train_epoch_end", then_die)
        with pytest.raises(Killed):
            heatmap.train(chosen, the_job)
    assert list(the_job.out.iterdir()) == []
    folder, resumed = trained(the_job, chosen)
    assert sha256_file(folder / "weights.safetensors") == sha256_file(unbroken / "weights.safetensors")
    pd.testing.assert_frame_equal(resumed.curve, result.curve)


def test_fault_51_same_seed_same_file_another_seed_another(tmp_path: Path) -> None:
    hashes = [
        sha256_file(trained(job(tmp_path / str(number), seed=seed), settings(epochs=1, flip=True))[0] / "weights.safetensors")
        for number, seed in enumerate((5, 5, 6))
    ]
    assert hashes[0] == hashes[1] != hashes[2]


def test_fault_48_a_loss_that_is_not_finite_names_the_pictures(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"the training loss is (nan|inf) at epoch \d, .*pictures \['t\d+'.*lower learning_rate"
    ):
        heatmap.train(settings(learning_rate=1e30), job(tmp_path))


# --- starting weights --------------------------------------------------------------------------------------------------


def test_published_weights_fit_what_follows_the_convolutions_untouched(tmp_path: Path) -> None:
    torch.manual_seed(9)
    published = backbones.build("test_efficientnet", {}, 1000).state_dict()
    path = tmp_path / "published.safetensors"
    safetensors.torch.save_file(published, path)
    still = settings(init=f"file:{path}", epochs=1, learning_rate=1e-12)  # a step that changes nothing to speak of
    folder, _ = trained(job(tmp_path), still)
    card = json.loads((folder / "model.json").read_text())
    head = sum(name.startswith("classifier.") for name in published)
    assert card["started_from"] == (
        f"file published.safetensors, sha256 {sha256_file(path)}: {len(published) - head} of {len(published)} tensors"
    )
    weights = safetensors.torch.load_file(folder / "weights.safetensors")
    for name, tensor in published.items():
        if name.endswith("weight") and not name.startswith("classifier."):
            assert torch.allclose(weights[f"backbone.{name}"], tensor, atol=1e-6)


@pytest.mark.parametrize(("changes", "message"), [
    ({"architecture": "vit_tiny_patch16_224"}, r"vit_tiny_patch16_224 does not take pictures of 48 x 32 px: .*\b224\b"),
    ({"options": {"no_such": 1}}, "`test_efficientnet` cannot be built with options .*no_such"),
    ({"init": "file:/nowhere/w.pth"}, r"/nowhere/w\.pth: no such file"),
])  # fmt: skip
def test_what_does_not_fit_is_refused_before_training(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    the_job = job(tmp_path)
    with pytest.raises(DataError, match=message):
        heatmap.train(settings(**changes), the_job)
    assert list(the_job.out.iterdir()) == []
    assert not the_job.work.exists()


def test_one_class_is_nothing_to_tell_apart(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="train holds only the class red"):
        heatmap.train(settings(), job(tmp_path, classes=("red",)))


@pytest.mark.parametrize(("changes", "message"), [
    ({"inputs": "heatmaps"}, "models.m.inputs: given 'heatmaps': Input should be 'rgb_heatmap', 'rgb', 'heatmap' or 'rgb_truth'"),
    ({"init": "pretrained"}, "models.m.init: given 'pretrained': allowed: scratch, imagenet, imagenet:<revision>, file:<path>"),
    ({"init": "file:"}, "models.m.init: given 'file:': allowed: scratch, imagenet, imagenet:<revision>, file:<path>"),
    ({"architecture": "efficientnet_bO"}, "no architecture `efficientnet_bO` in timm.* Did you mean efficientnet_b"),
])  # fmt: skip
def test_settings_that_do_not_fit_are_refused_by_their_path(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        section("models.m", HeatmapClassifierSettings, {"models": {"m": settings().model_dump() | changes}})
    assert family("heatmap").SETTINGS is HeatmapClassifierSettings


# --- what is left behind -----------------------------------------------------------------------------------------------


def test_a_model_says_all_that_is_needed_to_use_it(model: tuple[Path, Job, Any]) -> None:
    folder, _, result = model
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "model.json", "weights.safetensors"]
    assert check_manifest(folder) == []
    card = json.loads((folder / "model.json").read_text())
    assert (card["family"], card["inputs"], card["height_px"], card["width_px"]) == ("heatmap", "rgb_heatmap", H, W)
    assert card["classes"] == card["outputs"] == ["blue", "red"]
    assert card["as_built"] == "test_efficientnet behind two convolutions, 0.1 M parameters, at 48 x 32 px, scratch"
    assert card["trained_on"] == {"data": "embedded", "train": 32, "val": 16, "seed": 0}
    assert card["heatmaps"] == MADE_WITH
    assert HeatmapClassifierSettings.model_validate(card["settings"]) == settings()
    network = heatmap.load(folder)
    assert not network.module.training
    assert result.cost["parameters"] == sum(p.numel() for p in network.module.parameters())
    assert set(result.cost) == {"parameters", "layers", "megabytes", "train_seconds", "epochs", "best_epoch", "ms_an_image",
                                "device"}  # fmt: skip
    assert result.cost["epochs"] == len(result.curve) == 2


def test_predictions_are_complete_and_do_not_depend_on_batch_or_order(model: tuple[Path, Job, Any]) -> None:
    folder, the_job, _ = model
    network = heatmap.load(folder)
    whole = check_predictions(predict(network, the_job.val, the_job.root, stored=the_job.needs), the_job.val["sample_id"])
    assert whole["label"].tolist() == ["blue", "red"] * 16
    assert whole.groupby("sample_id")["score"].sum().to_numpy() == pytest.approx(np.ones(16), abs=1e-6)
    again = predict(network, the_job.val.iloc[::-1], the_job.root, 3, stored=the_job.needs)
    key = ["sample_id", "label"]
    assert (again.set_index(key)["score"].loc[[*zip(*(whole[k] for k in key), strict=True)]].to_numpy() ==
            pytest.approx(whole["score"].to_numpy(), abs=1e-5))  # fmt: skip


def test_the_module_can_be_exported_for_batches_of_any_size(model: tuple[Path, Job, Any]) -> None:
    module = heatmap.load(model[0]).module.cpu()
    rng = np.random.default_rng(1)
    one, three = (torch.from_numpy(rng.integers(0, 256, (count, H, W, 4), dtype=np.uint8)) for count in (2, 3))
    with torch.no_grad():
        program = torch.export.export(module, (one,), dynamic_shapes=({0: torch.export.Dim("batch")},))
        assert torch.allclose(program.module()(three), module(three), atol=1e-6)


@pytest.mark.parametrize("name", ["weights.safetensors", "model.json"])
def test_fault_55_a_flipped_bit_is_a_sha256_mismatch(model: tuple[Path, Job, Any], tmp_path: Path, name: str) -> None:
    folder = shutil.copytree(model[0], tmp_path / "copy")
    data = bytearray((folder / name).read_bytes())
    data[-3] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(DataError, match=f"{name}: altered: sha256"):
        heatmap.load(folder)


def test_fault_56_weights_of_another_shape_are_named_both_ways(model: tuple[Path, Job, Any], tmp_path: Path) -> None:
    folder = shutil.copytree(model[0], tmp_path / "copy")
    state = safetensors.torch.load_file(folder / "weights.safetensors")
    state["mix.0.weight"] = state["mix.0.weight"][:, :3].contiguous()
    safetensors.torch.save_file(state, folder / "weights.safetensors")
    write_manifest(folder)
    with pytest.raises(
        DataError,
        match=r"`mix\.0\.weight` is \(4, 3, 3, 3\) in the file, \(4, 4, 3, 3\) in test_efficientnet.*\. Train the model anew, or name",
    ):
        heatmap.load(folder)
