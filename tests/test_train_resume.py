"""`python -m stages.train` as the graph runs it: what it leaves and predicts, what it refuses, and that a kill -9 changes nothing."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml

from stages import train
from stages.classifier import Classifier
from stages.command import run
from stages.files import DataError, check_manifest, new_folder, sha256_file, write_manifest
from stages.inference import predict
from stages.networks import image
from stages.predictions import FEATURES, PREDICTIONS, TABLE, box_rows
from stages.samples import Samples, read_samples
from stages.seeds import FURTHER
from tests import training_helpers as tiny

ROOT = Path(__file__).parent.parent
RESNET = {"architecture": "test_resnet", "image_px": 32, "epochs": 2, "batch_size": 8, "learning_rate": 0.003, "workers": 0}
ALEXNET = {
    "architecture": "torchvision/alexnet", "options": {"width": 0.05}, "image_px": 64, "epochs": 40, "patience": 5,
    "batch_size": 8, "learning_rate": 0.003, "workers": 0, "flip": True, "zoom": 1.2,
}  # fmt: skip


def arguments(model: str = "m", seed: int = 0, needs: str = "params.checked.json") -> list[str]:
    places = {"work": ".work", "out": f"models/{model}", "predictions": f"predictions/{model}", "cost": f"{model}.cost.json", "curve": f"{model}.curve.csv",
              "provenance": f"{model}.provenance.json", "clean": "clean", "split": "splits/location", "needs": needs}  # fmt: skip
    words = ["--model", model, "--family", "image", "--params", f"models.{model}", "--seed", str(seed), "--seeds", "seeds"]
    return words + [word for name, place in places.items() for word in (f"--{name}", place)]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with clean data, a split and params.yaml, which the test runs in."""
    tiny.clean_and_split(tmp_path)
    write_params(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_params(project: Path, seeds: int = 1, **changes: Any) -> None:
    params = {"seeds": seeds, "models": {"m": RESNET | changes, "alexnet": ALEXNET}}
    (project / "params.yaml").write_text(yaml.safe_dump(params))


def train_here(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["stages.train", *(words or arguments())])
    train.main()


# --- what it leaves ----------------------------------------------------------------------------------------------------


def test_a_training_leaves_a_model_its_cost_its_curve_and_where_it_ran(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train_here(monkeypatch)
    assert sorted(path.name for path in (project / "models").iterdir()) == ["m"]
    assert check_manifest(project / "models/m") == []
    cost = json.loads((project / "m.cost.json").read_text())
    curve = pd.read_csv(project / "m.curve.csv")
    assert cost["epochs"] == len(curve) == 2
    assert cost["best_epoch"] == curve["val_loss"].argmin()
    provenance = json.loads((project / "m.provenance.json").read_text())
    assert provenance["versions"] == train.versions()
    assert set(train.versions()) >= {"torch", "timm", "numpy"}
    assert list((project / ".work").rglob("*.ckpt")) == [], "the state goes when the training is done"
    assert "m: 2 epochs, best after" in capsys.readouterr().out


def test_the_model_holds_nothing_that_changes_from_run_to_run(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train_here(monkeypatch)
    first = {path.name: sha256_file(path) for path in (project / "models/m").iterdir()}
    train_here(monkeypatch)
    assert {path.name: sha256_file(path) for path in (project / "models/m").iterdir()} == first


def test_further_seeds_leave_their_predictions_and_the_same_model(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train_here(monkeypatch)
    alone = {path: path.read_bytes() for path in (project / "models/m").iterdir()}
    table = pd.read_parquet(project / PREDICTED / TABLE)
    assert not (project / PREDICTED / FURTHER).exists()
    write_params(project, seeds=3)
    environment = dict(os.environ)
    train_here(monkeypatch)
    assert dict(os.environ) == environment
    assert {path: path.read_bytes() for path in (project / "models/m").iterdir()} == alone, "the first seed is the model"
    assert pd.read_parquet(project / PREDICTED / TABLE).equals(table)
    further = pd.read_parquet(project / PREDICTED / FURTHER)
    assert further.columns.drop("seed").tolist() == table.columns.tolist()
    scores = {number: rows["score"].to_numpy() for number, rows in further.groupby("seed")} | {1: table["score"].to_numpy()}
    assert sorted(scores) == [1, 2, 3]
    assert len({tuple(own) for own in scores.values()}) == 3
    assert check_manifest(project / PREDICTED) == []
    assert "m: seed 2 of 3 is trained\nm: seed 3 of 3 is trained\nm: 2 epochs" in capsys.readouterr().out
    assert list((project / ".work").rglob("*.ckpt")) == []


def test_a_further_seed_goes_on_after_an_interrupt(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_params(project, seeds=2)
    train_here(monkeypatch)
    unbroken = all_bytes(project / PREDICTED)
    original, steps = Classifier.training_step, []

    def interrupted(self: Any, batch: Any, number: int) -> Any:
        steps.append(self.current_epoch)
        if steps.count(1) == 1 and len(steps) == steps.index(1) + 1:  # once: in the second epoch of seed 2
            os.kill(os.getpid(), signal.SIGINT)
        return original(self, batch, number)

    monkeypatch.setattr(Classifier, "training_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_here(monkeypatch)
    assert all_bytes(project / PREDICTED) == unbroken, "what was there is kept"
    seen = len(steps)
    train_here(monkeypatch)
    assert steps[seen] == 1, "from the second epoch on"
    assert all_bytes(project / PREDICTED) == unbroken


def all_bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_fault_39_43_an_altered_picture_stops_training_and_the_earlier_model_stays(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_here(monkeypatch)
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file() and "clean" not in path.parts}
    (project / "pictures/p05.png").write_bytes((project / "pictures/p06.png").read_bytes())
    with pytest.raises(DataError, match=r"p05\.png: altered since it was cleaned"):
        train_here(monkeypatch)
    after = {path: path.read_bytes() for path in before if path.name != "p05.png"}
    assert after == {path: data for path, data in before.items() if path.name != "p05.png"}
    assert [path.name for path in (project / "models").iterdir()] == ["m"]


def test_fault_48_a_nan_loss_is_one_message_and_exit_code_1(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    original = Classifier.forward
    monkeypatch.setattr(Classifier, "forward", lambda self, x: original(self, x) * (float("nan") if self.training else 1))
    monkeypatch.setattr(sys, "argv", ["stages.train", *arguments()])
    with pytest.raises(SystemExit) as raised:
        run(train.main)
    assert raised.value.code == 1
    said = capsys.readouterr().err
    assert "error: the training loss is nan at epoch 0, step 0, batch 0" in said
    assert "Traceback" not in said
    assert not (project / "models/m").exists()
    assert not (project / "m.cost.json").exists()


def test_fault_57_out_of_memory_is_one_message_and_leaves_no_half_results(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the second epoch, so that there is a state and a best epoch."""
    original, huge = Classifier.training_step, 2**52

    def hungry(self: Any, batch: Any, number: int) -> Any:
        if self.current_epoch == 1:
            torch.empty(huge, dtype=torch.uint8)  # no machine has four petabytes: the allocator itself says no
        return original(self, batch, number)

    monkeypatch.setattr(Classifier, "training_step", hungry)
    monkeypatch.setattr(sys, "argv", ["stages.train", *arguments()])
    with pytest.raises(SystemExit) as raised:
        run(train.main)
    assert raised.value.code == 1
    said = capsys.readouterr().err
    assert "error: out of memory at batch_size 8: try batch_size=4" in said and "Traceback" not in said
    assert list((project / "models").iterdir()) == []
    assert not (project / "predictions").exists() and not list(project.glob("m.*"))


def test_an_interrupted_training_ends_with_130_and_keeps_its_state(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Classifier.training_step

    def interrupted(self: Any, batch: Any, number: int) -> Any:
        if self.current_epoch == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return original(self, batch, number)

    monkeypatch.setattr(Classifier, "training_step", interrupted)
    monkeypatch.setattr(sys, "argv", ["stages.train", *arguments()])
    with pytest.raises(SystemExit) as raised:
        run(train.main)
    assert raised.value.code == 130
    assert list((project / "models").iterdir()) == []
    assert [path.name for path in (project / ".work").rglob("last.ckpt")] == ["last.ckpt"]


# --- what it predicts --------------------------------------------------------------------------------------------------


PREDICTED = Path("predictions/m")


def score_also(project: Path) -> list[str]:
    """Two pictures each of test, seen, unseen and unused, beside 10 of train and 6 of val: the ids that are to be predicted."""
    ids = [f"p{n:02}" for n in range(24)]
    parts = ["train"] * 10 + ["val"] * 6 + ["unused", "test", "seen", "unseen"] * 2
    pd.DataFrame({"sample_id": ids, "part": parts}).to_csv(project / "splits/location/parts.csv", index=False)
    write_manifest(project / "splits")
    return [name for name, part in zip(ids, parts, strict=True) if part not in ("train", "unused")]


def test_every_part_but_train_is_predicted_by_the_model_that_is_left(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = score_also(project)
    train_here(monkeypatch)
    assert check_manifest(PREDICTED) == []
    assert sorted(path.name for path in PREDICTED.iterdir()) == [FEATURES, "manifest.json", TABLE]
    found = PREDICTIONS.validate(pd.read_parquet(PREDICTED / TABLE))
    assert found["sample_id"].unique().tolist() == ids
    samples = read_samples(project / "clean")
    rows = samples.pictures[samples.pictures["sample_id"].isin(ids)].reset_index(drop=True)
    pd.testing.assert_frame_equal(found, predict(image.load(project / "models/m"), rows, samples.root), check_dtype=False)


def test_fault_59_a_missing_prediction_is_refused_and_the_earlier_ones_stay(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = score_also(project)
    train_here(monkeypatch)
    before = {path: path.read_bytes() for path in PREDICTED.iterdir()}

    def one_short(*given: Any, **named: Any) -> pd.DataFrame:
        found = predict(*given, **named)
        return found[found["sample_id"] != ids[3]]

    with monkeypatch.context() as patch:
        patch.setattr(train, "predict", one_short)
        with pytest.raises(DataError, match=rf"1 of 12 pictures have no prediction \(\['{ids[3]}'\]\)"):
            train_here(monkeypatch)
    assert {path: path.read_bytes() for path in PREDICTED.iterdir()} == before
    assert [path.name for path in Path("predictions").iterdir()] == ["m"], "and nothing half written"


def test_predicting_that_broke_off_is_taken_up_without_training_again(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train_here(monkeypatch)
    unbroken = {path: path.read_bytes() for name in ("models/m", PREDICTED) for path in Path(name).iterdir()}
    curve = Path("m.curve.csv").read_text()

    def broken(*_: Any, **named: Any) -> pd.DataFrame:
        raise DataError("broken off")

    with monkeypatch.context() as patch:
        patch.setattr(train, "predict", broken)
        with pytest.raises(DataError, match="broken off"):
            train_here(monkeypatch)
    assert list(Path(".work").rglob("last.ckpt")), "the state is kept until all is done"
    with monkeypatch.context() as patch:
        patch.setattr(Classifier, "training_step", lambda *_: pytest.fail("trained again"))
        train_here(monkeypatch)
    assert {path: path.read_bytes() for path in unbroken} == unbroken
    assert Path("m.curve.csv").read_text() == curve
    assert not list(Path(".work").rglob("last.ckpt"))


@pytest.mark.parametrize("needs", ["params.checked.json", "start", "boxes"])
def test_needs_that_are_predictions_are_handed_to_the_family_as_boxes(
    project: Path, monkeypatch: pytest.MonkeyPatch, needs: str
) -> None:
    ids = score_also(project)
    start_from(project)
    found = box_rows(tiny.no_boxes().assign(score=[]), pd.Series(ids))
    with new_folder(project / "boxes") as folder:
        found.to_parquet(folder / TABLE, index=False)
    given: list[Any] = []

    def remembered(*words: Any, **named: Any) -> pd.DataFrame:
        given.append((*words, named))
        return predict(*words, **named)

    monkeypatch.setattr(train, "predict", remembered)
    train_here(monkeypatch, *arguments(needs=needs))
    ((_network, pictures, root, named),) = given  # every part in one call
    assert root == project / "pictures"
    assert pictures["sample_id"].tolist() == ids
    if needs == "boxes":
        pd.testing.assert_frame_equal(named["boxes"], found, check_dtype=False)
    else:
        assert named["boxes"] is None


# --- several processes -------------------------------------------------------------------------------------------------


def in_processes(project: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    """Train on the CPU in as many processes as params.yaml says; a hang fails after two minutes, with all of them ended."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    process = subprocess.Popen(
        [sys.executable, *command, *arguments()], cwd=project, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        out, err = process.communicate(timeout=120)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    return subprocess.CompletedProcess(command, process.returncode, out, err)


@pytest.mark.slow
def test_two_processes_train_one_model(project: Path) -> None:
    write_params(project, devices=2, epochs=3, batch_size=4)
    done = in_processes(project, "-m", "stages.train")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("m: 3 epochs, best after") == 1, "the first process alone says so"
    assert [path.name for path in (project / "models").iterdir()] == ["m"]
    assert sorted(path.name for path in (project / "models/m").iterdir()) == [
        "manifest.json", "model.json", "weights.safetensors"
    ]  # fmt: skip
    assert check_manifest(project / "models/m") == []
    assert pd.read_parquet(project / PREDICTED / TABLE)["sample_id"].nunique() == 8
    assert list((project / ".work").rglob("*.*")) == []
    assert list(project.rglob("*.partial*")) == []
    curve = pd.read_csv(project / "m.curve.csv")
    assert len(curve) == 3
    assert curve.notna().all(axis=None)
    assert json.loads((project / "m.cost.json").read_text())["best_epoch"] == curve["val_loss"].argmin()

    samples = read_samples(project / "clean")
    val = samples.pictures.iloc[16:]
    wide = predict(image.load(project / "models/m"), val, samples.root).pivot(
        index="sample_id", columns="label", values="score"
    )
    right = [wide.loc[sample_id, label] for sample_id, label in zip(val["sample_id"], val["label"], strict=True)]
    loss = -sum(math.log(score) for score in right) / len(right)
    assert loss == pytest.approx(curve["val_loss"].min(), rel=1e-4), "both halves of the 8 pictures are in the figure"


@pytest.mark.slow
def test_two_processes_train_on_two_seeds(project: Path) -> None:
    write_params(project, seeds=2, devices=2, epochs=2, batch_size=4)
    done = in_processes(project, "-m", "stages.train")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("m: seed 2 of 2 is trained") == done.stdout.count("m: 2 epochs, best after") == 1
    first, further = (pd.read_parquet(project / PREDICTED / name) for name in (TABLE, FURTHER))
    assert len(first) == len(further) and (first["score"] != further["score"]).any()


@pytest.mark.slow
@pytest.mark.parametrize("process", [0, 1])
def test_fault_48_a_nan_in_one_of_two_processes_ends_both(project: Path, process: int) -> None:
    write_params(project, devices=2, epochs=3, batch_size=4)
    (project / "nan.py").write_text(
        f"""
import os
from stages import train
from stages.command import run
from stages.classifier import Classifier

original = Classifier.forward

def forward(self, pictures):
    bad = self.training and self.global_step == 3 and int(os.environ.get("LOCAL_RANK", 0)) == {process}
    return original(self, pictures) * (float("nan") if bad else 1)

Classifier.forward = forward
run(train.main)
"""
    )
    done = in_processes(project, "nan.py")
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("error: the training loss is nan at epoch 1, step 3, batch 1 (pictures ['p") == 1
    assert "Traceback" not in done.stderr
    assert list((project / "models").iterdir()) == []
    assert not (project / "m.cost.json").exists()


# --- what it refuses ---------------------------------------------------------------------------------------------------


def start_from(project: Path, weights: bytes = b"weights") -> None:
    """`start/`, what a model `needs`, as a stage leaves it."""
    with new_folder(project / "start") as folder:
        (folder / "model.json").write_text("{}")
        (folder / "weights.safetensors").write_bytes(weights)


@pytest.mark.parametrize("path", ["clean/samples.parquet", "splits/location/parts.csv", "start/model.json"])
def test_fault_39_54_55_inputs_that_are_not_as_their_stage_left_them_are_refused(
    project: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    start_from(project)
    data = bytearray((project / path).read_bytes())
    data[-2] ^= 1
    (project / path).write_bytes(data)
    with pytest.raises(DataError, match=rf"{Path(path).name}: altered: sha256"):
        train_here(monkeypatch, *arguments(needs="start"))
    assert not (project / "models/m").exists()


def test_an_unknown_family_and_an_unknown_model_are_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="no model family `imago`"):
        train_here(monkeypatch, *["imago" if word == "image" else word for word in arguments()])
    with pytest.raises(DataError, match=r"params\.yaml: models: no key `other`\. There is: alexnet, m"):
        train_here(monkeypatch, *arguments("other"))
    write_params(project, epoch=3)
    with pytest.raises(DataError, match=r"models\.m\.epoch: unknown key\. Did you mean `epochs`"):
        train_here(monkeypatch)


def parts_of(samples: Samples, **by_part: int) -> pd.DataFrame:
    ids = iter(samples.pictures["sample_id"])
    return pd.DataFrame(
        [(next(ids), part) for part, count in by_part.items() for _ in range(count)], columns=["sample_id", "part"]
    )


def make(samples: Samples, parts: pd.DataFrame) -> train.Job:
    here = Path("unused")
    return train.make_job(samples, parts, seed=0, work=here, models=here, needs=here, out=here)


def test_a_job_is_of_its_parts_in_the_order_of_ids(project: Path) -> None:
    samples = read_samples(project / "clean")
    parts = parts_of(samples, train=10, unseen=4, val=6, seen=2).iloc[::-1]
    job = make(samples, parts)
    assert job.train["sample_id"].tolist() == [f"p{i:02}" for i in range(10)]
    assert job.val["sample_id"].tolist() == [f"p{i:02}" for i in range(14, 20)]
    assert job.classes == ("blue", "red")


def test_the_class_empty_comes_last_and_classes_that_train_lacks_are_not_validated(project: Path) -> None:
    samples = read_samples(project / "clean")
    samples.pictures.loc[:, "label"] = ["empty", "zebra", "ant", "empty"] * 5 + ["ant", "newcomer", "zebra", "newcomer"]
    job = make(samples, parts_of(samples, train=20, val=4))
    assert job.classes == ("ant", "zebra", "empty")
    assert job.val["label"].tolist() == ["ant", "zebra"]


def test_fault_32_nothing_is_trained_on_no_pictures(project: Path) -> None:
    samples = read_samples(project / "clean")
    with pytest.raises(DataError, match="0 pictures to train on"):
        make(samples, parts_of(samples, val=4))
    with pytest.raises(DataError, match="16 pictures to train on and 0 of their classes to validate"):
        make(samples, parts_of(samples, train=16))
    samples.pictures.loc[16:, "label"] = "newcomer"
    with pytest.raises(DataError, match="16 pictures to train on and 0 of their classes to validate"):
        make(samples, parts_of(samples, train=16, val=8))
    samples.pictures.loc[:, "label"] = "red"
    with pytest.raises(DataError, match="train holds only the class red"):
        image.train(tiny.settings(), make(samples, parts_of(samples, train=16, val=8)))


def test_a_split_that_names_other_pictures_is_refused(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = project / "splits/location/parts.csv"
    path.write_text(path.read_text().replace("p03,", "p99,"))
    write_manifest(project / "splits")
    with pytest.raises(DataError, match=r"splits/location: 1 pictures are not in the samples table, p99 for example"):
        train_here(monkeypatch)
    assert not (project / "models/m").exists()


def test_a_job_has_the_boxes_of_its_own_pictures_alone(project: Path) -> None:
    samples = read_samples(project / "clean")
    boxes = samples.pictures[["sample_id", "label"]].assign(x_min_px=1.0, y_min_px=2.0, x_max_px=30.0, y_max_px=31.0)
    job = make(replace(samples, boxes=pd.concat([boxes, boxes])), parts_of(samples, train=10, unseen=4, val=6))
    assert sorted(job.boxes["sample_id"]) == sorted(2 * [*job.train["sample_id"], *job.val["sample_id"]])


def test_pictures_that_a_version_adds_are_trained_on(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two pictures with files of their own, of a class that the source has not, beside 16 of it."""
    folder = project / "splits/location"
    labels = {"p00+mask": "red", "p01+mask": "zebra"}
    added = tiny.table(folder / "pictures", {name: (label, tiny.coloured("red", 32, 7)) for name, label in labels.items()})
    added.assign(path="pictures/" + added["path"]).to_parquet(folder / "samples.parquet")
    tiny.no_boxes().to_parquet(folder / "boxes.parquet")
    with (folder / "parts.csv").open("a") as file:
        file.writelines(f"{name},train\n" for name in labels)
    write_manifest(project / "splits")
    train_here(monkeypatch)
    card = json.loads((project / "models/m/model.json").read_text())
    assert card["classes"] == ["blue", "red", "zebra"]
    assert card["trained_on"] == {"data": "embedded", "train": 18, "val": 8, "seed": 0}


# --- what it goes on from ----------------------------------------------------------------------------------------------


def work_key(monkeypatch: pytest.MonkeyPatch, **given: Any) -> str:
    """The folder of the resume state, without training."""
    seen = []

    def stop(settings: Any, job: train.Job) -> None:
        seen.append(job.work.as_posix())
        raise DataError("seen")

    with monkeypatch.context() as patch:
        patch.setattr(image, "train", stop)
        with pytest.raises(DataError, match="seen"):
            train_here(monkeypatch, *arguments(**given))
    return seen[0]


def test_a_state_is_of_its_inputs_alone(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another setting, seed, split, picture, start or library is another training, which must not go on from this one's state."""
    keys = [work_key(monkeypatch)]
    assert work_key(monkeypatch) == keys[0]
    keys.append(work_key(monkeypatch, seed=1))
    with monkeypatch.context() as patch:
        patch.setattr("importlib.metadata.version", lambda name: "0.0.1")
        keys.append(work_key(monkeypatch))
    write_params(project, learning_rate=0.004)
    keys.append(work_key(monkeypatch))
    write_params(project)
    for weights in (b"some", b"others"):
        start_from(project, weights)
        keys.append(work_key(monkeypatch, needs="start"))

    (project / "splits/class").mkdir()
    (project / "splits/class/parts.csv").write_text("sample_id,part\n")
    write_manifest(project / "splits")
    assert work_key(monkeypatch) == keys[0], "another version's list retrains nothing"
    split = project / "splits/location/parts.csv"
    split.write_text(split.read_text().replace("p00,train", "p00,seen"))
    write_manifest(project / "splits")
    keys.append(work_key(monkeypatch))
    pictures = pd.read_parquet(project / "clean/samples.parquet")
    pictures.loc[3, "sha256"] = "0" * 64
    pictures.to_parquet(project / "clean/samples.parquet")
    write_manifest(project / "clean")
    keys.append(work_key(monkeypatch))
    box = {"sample_id": "p03", "label": "red", "x_min_px": 0.0, "y_min_px": 0.0, "x_max_px": 9.0, "y_max_px": 9.0}
    pd.DataFrame([box]).to_parquet(project / "clean/boxes.parquet")
    write_manifest(project / "clean")
    keys.append(work_key(monkeypatch))
    assert len(set(keys)) == len(keys) == 9
    assert all(key.startswith(".work/m/") for key in keys)


# --- kill -9 -----------------------------------------------------------------------------------------------------------


def start(project: Path) -> "subprocess.Popen[str]":
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "stages.train", *arguments("alexnet")],
        cwd=project, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip


def kill_after_states(process: "subprocess.Popen[str]", project: Path, count: int) -> None:
    """SIGKILL to the whole process group once the state has been written `count` times."""
    written: set[int] = set()
    deadline = time.monotonic() + 120
    while len(written) < count:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "no state was written in two minutes"
        written |= {path.stat().st_mtime_ns for path in project.glob(".work/alexnet/*/**/last.ckpt")}
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.slow
def test_fault_50_killed_and_taken_up_again_is_unbroken(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """AlexNet with dropout, on labels that nothing in the pictures tells: it stops early, and is killed before."""
    unsigned = pd.read_parquet(project / "clean/samples.parquet")
    unsigned["label"] = ["red", "blue", "blue", "red", "blue", "red"] * 4
    unsigned.to_parquet(project / "clean/samples.parquet")
    write_manifest(project / "clean")

    train_here(monkeypatch, *arguments("alexnet"))
    results = ("models/alexnet/weights.safetensors", f"predictions/alexnet/{TABLE}")
    unbroken = [sha256_file(project / name) for name in results]
    curve = (project / "alexnet.curve.csv").read_text()
    epochs = json.loads((project / "alexnet.cost.json").read_text())["epochs"]
    assert 6 <= epochs < 40, "it is to stop early, not at its last epoch"
    for name in ("models", "predictions"):
        shutil.rmtree(project / name)

    kill_after_states(start(project), project, 3)
    assert list((project / "models").glob("[!.]*")) == [], "no model stands under its final name"
    assert not (project / "predictions").exists()
    again = start(project)
    said = again.communicate(timeout=120)[0]
    assert again.returncode == 0, said
    assert "going on from .work/alexnet/" in said
    assert [sha256_file(project / name) for name in results] == unbroken
    assert (project / "alexnet.curve.csv").read_text() == curve
    assert check_manifest(project / "models/alexnet") == []
    assert [path.name for path in (project / "models").iterdir()] == ["alexnet"], "the killed run's leftovers are gone"
    assert list(project.glob(".work/alexnet/*")) == []
