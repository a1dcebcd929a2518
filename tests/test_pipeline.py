"""The shipped graph from end to end, in the smoke profile, in a clone of its own: what a user runs and tries."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.evaluate import CLIP_HEADLINES, HEADLINES, PLAIN_HEADLINES, POSE_HEADLINES
from stages.networks.heatmap.stored import Stored
from stages.samples import EMPTY, SEEN, TEST, TEST5, TRAIN, UNSEEN, VAL, read_samples
from stages.shards import INDEX
from stages.stored_clips import StoredClips
from tests.pipeline_helpers import call, params_of, ran, restore

KEY = "camera_trap-alexnet-location"
YOLO = "camera_trap-yolov5n-location"
POSE, ACTIVITY = "activity-pose", "activity-rgb-heatmap"
FINDS_BOXES = ("yolo", "efficientdet", "crop")  # families

pytestmark = pytest.mark.slow


def at(folder: Path, key: str, name: str) -> Path:
    """A file of a model's metrics: <key>.<name>."""
    return folder / "metrics" / key.partition("-")[0] / f"{key}.{name}"


def metrics(folder: Path, key: str = KEY) -> dict[str, Any]:
    return json.loads(at(folder, key, "json").read_text())


def promised(entry: dict[str, Any]) -> dict[str, list[str]]:
    """The figures of each part that the metrics of a model should hold."""
    if entry["smoke"].get("architecture", "").endswith("-pose"):
        return {part: [*names] for part, names in POSE_HEADLINES.items()}
    if entry["dataset"] == "action":
        return {part: [*names] for part, names in CLIP_HEADLINES.items()}
    if entry["dataset"] in ("activity", "posture"):
        return {part: [*names] for part, names in PLAIN_HEADLINES.items()}
    return {
        part: [name for name in names if entry["family"] in FINDS_BOXES or name != "map50"]
        for part, names in HEADLINES.items()
        if part != TEST or entry["lists"].endswith("/location")
    }


def test_every_model_has_its_metrics_in_the_promised_shape(clone: Path) -> None:
    for key, entry in params_of(clone)["models"].items():
        found, parts = metrics(clone, key), promised(entry)
        gap = {"gap"} if SEEN in parts else set()
        more = {"train_clips", "started_from"} if entry["dataset"] == "action" else set()
        assert set(found) == {*parts, *gap, *more, "data", "architecture"}, key
        for part, names in parts.items():
            assert set(found[part]) == set(names), (key, part)
        assert sum(map(len, parts.values())) + len(gap) <= 12
        assert found["data"] == "embedded"
        named = entry["smoke"].get("architecture") or entry["smoke"].get("variant") or "slowfast_r18"
        assert named in found["architecture"]
        if gap:
            assert found["gap"] == pytest.approx(
                found[SEEN]["f1_macro"] - found[UNSEEN]["f1_macro"], abs=1.1e-4
            )  # rounded thrice
        cost = json.loads(at(clone, key, "cost.json").read_text())
        assert cost["parameters"] > 0 and cost["megabytes"] > 0 and cost["ms_an_image"] > 0
        assert cost["train_seconds"] >= 0  # in tenths: an epoch of the smoke profile may take less


def test_every_model_has_all_figures_of_each_part_in_a_table(clone: Path) -> None:
    for key, entry in params_of(clone)["models"].items():
        table = pd.read_csv(at(clone, key, "parts.csv")).set_index("part")
        assert table.index.tolist() == [part for part in (VAL, TEST, SEEN, UNSEEN, TEST5) if part in metrics(clone, key)], key
        figures = ["n", *(f"{kind}f1_macro{side}" for kind in ("", "sequence_") for side in ("", "_low", "_high"))]
        if key == POSE:
            figures = ["n", "people", "mean_pose", "gain", *(f"pckh{side}" for side in ("", "_low", "_high"))]
        finds_boxes = entry["family"] in FINDS_BOXES
        figures += ["map50", "map50_low", "map50_high", "map50_95"] if finds_boxes else []
        assert np.isfinite(table[figures]).all(axis=None), key
        assert ("map50" in table) == finds_boxes


def test_metrics_show_prints_every_model_and_what_was_cleaned(clone: Path) -> None:
    printed = call(clone, "dvc", "metrics", "show")
    for key, entry in params_of(clone)["models"].items():
        assert f"metrics/{entry['dataset']}/{key}.json " in printed
    for name in params_of(clone)["datasets"]:
        assert f"metrics/{name}/clean.json " in printed


def lines(clone: Path, version: str, *parts: str) -> list[bytes]:
    """The lines of a version's list that are of `parts`, as they stand there."""
    found = (clone / version / "parts.csv").read_bytes().splitlines(keepends=True)
    return [line for line in found if line.strip().rpartition(b",")[2].decode() in parts]


def test_harder_versions_are_scored_on_the_very_pictures_of_their_base(clone: Path) -> None:
    base = "data/splits/camera_trap/class"
    train = lines(clone, base, TRAIN)
    for version in ("upsampled", "isolated"):
        folder = f"data/harder/camera_trap/{version}"
        for part in (VAL, SEEN, UNSEEN):
            assert lines(clone, folder, part) == lines(clone, base, part) != []
        assert set(lines(clone, folder, TRAIN)) > set(train), "it adds to train and takes nothing away"


@pytest.mark.parametrize("dataset", ["camera_trap", "activity", "action"])
def test_the_page_says_what_it_was_measured_on(clone: Path, dataset: str) -> None:
    page = (clone / f"reports/{dataset}/index.html").read_text()
    assert "embedded" in page and "drew itself" in page
    for key, entry in params_of(clone)["models"].items():
        if entry["dataset"] == dataset:
            assert key in page
            part = UNSEEN if dataset == "camera_trap" else TEST
            figure = "pckh" if key == POSE else "map" if dataset == "action" else "f1_macro"
            assert f"{metrics(clone, key)[part][figure]:.3f}" in page
    pictures = re.findall(r'src="(pictures/[^"]+)"', page)
    assert pictures and all((clone / "reports" / dataset / name).is_file() for name in pictures)


# People and what they do -----------------------------------------------------------------------------------------------


def parts_of(clone: Path, version: str) -> pd.Series:
    """The part of each picture of the data set `activity`, by sample_id."""
    table = pd.read_csv(clone / f"data/splits/activity/{version}/parts.csv", dtype=str, keep_default_na=False)
    return table.set_index("sample_id")["part"]


def test_what_the_pose_model_learned_from_is_in_neither_train_nor_test_of_the_other(clone: Path) -> None:
    pose, activity = parts_of(clone, "pose"), parts_of(clone, "activity")
    learned = set(pose.index[pose.isin([TRAIN, VAL])])
    assert learned and not learned & set(activity.index[activity.isin([TRAIN, VAL, TEST])])
    assert not set(pose.index[pose == TEST]) & set(activity.index[activity.isin([TRAIN, VAL])])
    assert all((parts == part).sum() >= 5 for parts in (pose, activity) for part in (TRAIN, VAL, TEST))


def test_every_person_has_a_box_and_every_picture_a_category(clone: Path) -> None:
    clean, boxed = (read_samples(clone / f"data/{folder}/activity") for folder in ("clean", "boxes"))
    assert clean.boxes.empty and len(clean.people) > 100
    assert set(boxed.people["sample_id"]) == set(boxed.boxes["sample_id"]) == set(boxed.pictures["sample_id"])
    assert len(boxed.boxes) == len(boxed.people) == len(boxed.joints) / 16
    assert EMPTY not in set(boxed.pictures["label"]) and boxed.pictures["label"].nunique() > 3
    assert set(boxed.pictures["sample_id"]) <= set(clean.pictures["sample_id"])


def test_every_picture_of_the_version_is_stored_with_its_heatmaps(clone: Path) -> None:
    folder, settings = clone / "data/heatmaps/activity", params_of(clone)["heatmaps"]["activity"]["smoke"]
    index = pd.read_parquet(folder / INDEX).set_index("sample_id")
    parts = parts_of(clone, "activity")
    assert index["part"].to_dict() == parts[parts.isin([TRAIN, VAL, TEST])].to_dict()
    stored = np.stack([Stored(folder, "rgb_truth")(name) for name in index.index])
    assert stored.shape == (len(index), settings["height_px"], settings["width_px"], 4) and stored.dtype == np.uint8
    assert (stored[..., 3].max(axis=(1, 2)) > 0).all(), "each has somebody with joints"
    assert index["people"].map(len).max() == 2, "somebody is found, though the model is hardly trained"


def test_all_models_of_activities_are_scored_on_the_very_same_pictures(clone: Path) -> None:
    keys = [key for key, entry in params_of(clone)["models"].items() if entry["family"] == "heatmap"]
    answers = {key: pd.read_parquet(clone / f"data/answers/activity/{key}/answers.parquet") for key in keys}
    parts = parts_of(clone, "activity")
    for table in answers.values():
        assert table.set_index("sample_id")["part"].to_dict() == parts[parts.isin([VAL, TEST])].to_dict()
    assert not answers["activity-heatmap"]["score"].equals(answers["activity-rgb"]["score"])


def test_padding_reruns_what_builds_on_boxes_and_sigma_what_builds_on_heatmaps(clone: Path) -> None:
    last = ["heatmaps@activity", f"train@{ACTIVITY}", f"evaluate@{ACTIVITY}"]
    printed = call(clone, "dvc", "exp", "run", "-S", "heatmaps.activity.smoke.sigma_px=2.0", f"evaluate@{ACTIVITY}")
    assert ran(printed) == last, "stage 1 stays"
    restore(clone)
    printed = call(clone, "dvc", "exp", "run", "-S", "bboxes.activity.smoke.head_padding=0.3", f"evaluate@{ACTIVITY}")
    assert ran(printed) == ["bboxes@activity", "split@activity", "train@activity-pose", *last]
    restore(clone)


# Postures ----------------------------------------------------------------------------------------------------------------


def test_prompts_rerun_synthesize_and_what_trains_on_its_pictures_alone(clone: Path) -> None:
    # The renderer draws class, species and view, which fill the prompt, and does not read the words round them.
    words = call(clone, "dvc", "exp", "run", "-S", "synthetic.posture.smoke.prompt='{species}, {action}, {view}'")
    assert ran(words) == ["synthesize@posture", "report@posture"], "with other words the same pictures: nothing to train"
    printed = call(clone, "dvc", "exp", "run", "-S", "synthetic.posture.smoke.views=[front,rear]")
    entries = params_of(clone)["models"]
    own = [key for key, entry in entries.items() if entry["lists"] == "data/synthetic/posture/added"]
    of_models = [f"{stage}@{key}" for key in own for stage in ("train", "evaluate")]
    assert sorted(ran(printed)) == sorted(["synthesize@posture", *of_models, "compare@posture", "report@posture"])
    assert len(own) >= 3
    restore(clone)


def test_alpha_of_mixup_reruns_one_model(clone: Path) -> None:
    key = "posture-resnet50-mixup"
    printed = call(clone, "dvc", "exp", "run", "-S", f"models.{key}.smoke.mixup_alpha=0.2")
    assert ran(printed) == [f"train@{key}", f"evaluate@{key}", "compare@posture", "report@posture"]
    restore(clone)


# What reruns -----------------------------------------------------------------------------------------------------------


# Clips -------------------------------------------------------------------------------------------------------------------


def test_both_sizes_of_action_are_scored_on_the_same_clips_and_nested(clone: Path) -> None:
    lists = {name: clone / f"data/splits/action/{name}/parts.csv" for name in ("many", "few")}
    many, few = (pd.read_csv(path, dtype=str, keep_default_na=False) for path in lists.values())
    own = {name: set(table.loc[table["part"] == TRAIN, "sample_id"]) for name, table in (("many", many), ("few", few))}
    assert own["few"] < own["many"]
    for part in (VAL, TEST):
        assert many[many["part"] == part].equals(few[few["part"] == part])
    stored = StoredClips(clone / "data/clips/action")
    assert all(stored.frames(name) >= 15 for name in many.loc[many["part"] != "unused", "sample_id"])
    claims = json.loads((clone / "metrics/action/comparison.json").read_text())["claims"]
    assert {*claims} == {*params_of(clone)["compare"]["action"]["claims"]}


def test_a_trained_model_tells_what_is_done_when_in_a_video(clone: Path, tmp_path: Path) -> None:
    key, out = "action-scratch-100", tmp_path / "out"
    videos = sorted((clone / "data/raw/action/video").glob("*.mp4"), key=lambda path: path.stat().st_size)
    (tmp_path / "videos").mkdir()
    shutil.copy(videos[-1], tmp_path / "videos" / "a walk.mp4")
    call(clone, *"python -m stages.predict".split(), key, str(tmp_path / "videos"), "--out", str(out), "--annotated")
    actions = pd.read_csv(out / "actions.csv")
    assert actions["path"].unique().tolist() == ["a walk.mp4"] and (actions["end_s"] > actions["start_s"]).all()
    assert set(actions["action"]) <= set(json.loads((clone / f"models/{key}/model.json").read_text())["classes"])
    assert len([*(out / "annotated").rglob("*.jpg")]) == 1
    call(clone, *"python -m stages.export".split(), key, "--out", str(tmp_path / "onnx"))
    assert (tmp_path / "onnx" / f"{key}.onnx").is_file()


def test_nothing_to_do_runs_nothing(clone: Path) -> None:
    assert ran(call(clone, "dvc", "repro")) == []


def test_fault_39_verify_finds_all_well_and_then_the_altered_file(clone: Path) -> None:
    assert " 0 differences" in call(clone, sys.executable, "-m", "stages.verify")
    path = clone / f"models/{KEY}/weights.safetensors"
    data = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))  # in the cache too, where it is a hard link
    try:
        assert "weights.safetensors: altered" in call(clone, sys.executable, "-m", "stages.verify", ok=False)
    finally:
        path.write_bytes(data)
        path.chmod(0o444)
    assert " 0 differences" in call(clone, sys.executable, "-m", "stages.verify")


@pytest.mark.parametrize(("key", "other"), [(KEY, "camera_trap-alexnet-class"), (ACTIVITY, "activity-truth-heatmap")])
def test_an_experiment_reruns_its_own_chain_alone_and_diff_shows_it(clone: Path, key: str, other: str) -> None:
    printed = call(clone, "dvc", "exp", "run", "-S", f"models.{key}.smoke.epochs=3")
    study = key.partition("-")[0]
    assert ran(printed) == [f"train@{key}", f"evaluate@{key}", f"compare@{study}", f"report@{study}"]
    curve = at(clone, key, "curve.csv").read_text().splitlines()
    assert len(curve) == 1 + 3
    params = call(clone, "dvc", "params", "diff")
    assert f"models.{key}.smoke.epochs" in params and other not in params
    assert f"{key}.json" in call(clone, "dvc", "metrics", "diff")
    restore(clone)
    assert ran(call(clone, "dvc", "repro")) == []


def test_a_comment_in_scoring_code_retrains_nothing(clone: Path) -> None:
    """Which stages what code is part of: tests/test_graph.py."""
    file = clone / "stages/pose_scores.py"
    text = file.read_text()
    try:
        file.write_text(text + "\n# a comment\n")
        printed = call(clone, "dvc", "repro", f"evaluate@{KEY}")
    finally:
        file.write_text(text)
    assert "Running stage 'code'" in printed and ran(printed) == [f"evaluate@{KEY}"]
    restore(clone)
    assert ran(call(clone, "dvc", "repro", f"evaluate@{KEY}")) == []


def test_fault_51_equal_seeds_give_equal_metrics(clone: Path) -> None:
    before = metrics(clone)
    printed = call(clone, "dvc", "repro", "-f", "-s", f"train@{KEY}", f"evaluate@{KEY}")
    assert ran(printed) == [f"train@{KEY}", f"evaluate@{KEY}"]
    assert metrics(clone) == before


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="process groups are POSIX")
@pytest.mark.parametrize(("key", "state", "epochs"), [(KEY, "last.ckpt", 10), (YOLO, "last.pt", 8)], ids=["image", "yolo"])
def test_fault_41_50_a_run_killed_in_training_ends_as_an_unbroken_one(clone: Path, key: str, state: str, epochs: int) -> None:
    call(clone, "dvc", "exp", "run", "-S", f"models.{key}.smoke.epochs={epochs}", f"evaluate@{key}")
    unbroken = metrics(clone, key)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    running = subprocess.Popen(
        ["dvc", "repro", "-f", "-s", f"train@{key}"],
        cwd=clone,
        env=os.environ | {"PATH": path, "PYTHONPATH": str(clone)},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + 120
    try:
        while not list((clone / ".work" / key).rglob(state)):
            assert time.monotonic() < end and running.poll() is None, "no state was written before training ended"
            time.sleep(0.02)
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()
    assert list((clone / ".work" / key).rglob(state)), "training ended before it was killed"
    assert (clone / "models" / key / "weights.safetensors").is_file()  # the earlier result is still there
    printed = call(clone, "dvc", "repro", "-f", "-s", f"train@{key}", f"evaluate@{key}")
    assert "going on" in printed
    assert metrics(clone, key) == unbroken
    restore(clone)


def test_a_changed_folder_is_noticed(clone: Path, tmp_path: Path) -> None:
    source = tmp_path / "my photos"
    shutil.copytree(clone / "data/raw/camera_trap", source)
    for path in source.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    switch = f"datasets.camera_trap.smoke.download.source='path:{source}'"
    printed = call(clone, "dvc", "exp", "run", "-S", switch, "clean@camera_trap")
    assert ran(printed) == ["download@camera_trap", "clean@camera_trap"]
    about = json.loads((clone / "data/clean/camera_trap/source.json").read_text())
    assert about["data"] == "your data"
    next(source.glob("images/*.jpg")).unlink()
    printed = call(clone, "dvc", "repro", "clean@camera_trap")
    assert "1 gone" in printed
    assert ran(printed) == ["download@camera_trap", "clean@camera_trap"]
    restore(clone)


def test_pull_without_a_remote_says_what_to_do(clone: Path) -> None:
    (clone / ".venv").mkdir()
    (clone / ".venv/installed").touch()  # newer than requirements.txt: nothing to set up
    assert "dvc repro) to rebuild everything" in call(clone, "make", "pull", ok=False)
