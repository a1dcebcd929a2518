"""Bad input of the posture study, through the stages as the graph runs them: what happens, and that it is said."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
from PIL import Image

from stages import backbones
from stages.files import read_json
from stages.samples import TRAIN, read_samples
from tests import training_helpers as tiny

ADAPTER = "animal_posture"
SPLIT = {"seen": 0, "near_duplicates": "together", "stratified": {"test": 0.2, "val": 0.15, "versions": {"all": {}}}}
MODEL = {"architecture": "test_resnet", "image_px": 32, "epochs": 2, "batch_size": 8, "learning_rate": 0.003, "workers": 0}
Make = Callable[..., bytes]
Run = Callable[..., Any]


def photo(path: Path, seed: int) -> None:
    """Coarse coloured noise: no two look alike."""
    small = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(small).resize((40, 40), Image.Resampling.BICUBIC).save(path)


def photos(root: Path, actions: dict[str, int]) -> None:
    """A folder for each action with as many photos."""
    for first, (action, count) in enumerate(actions.items()):
        for number in range(count):
            photo(root / action / f"{action}{number}.png", 1000 * first + number)


def table(root: Path, rows: list[tuple[str, str]]) -> None:
    """Photos and a table of what is done in them; a name that comes again is one photo."""
    for number, name in enumerate(dict.fromkeys(name for name, _ in rows)):
        photo(root / name, number)
    (root / "actions.csv").write_text("image,action\n" + "".join(f"{name},{action}\n" for name, action in rows))


def train(stage: Run, **changes: Any) -> Any:
    places = {"clean": "clean", "split": "splits/all", "needs": "params.checked.json", "out": "models/m",
              "predictions": "predictions/m", "cost": "cost.json", "curve": "curve.csv", "provenance": "p.json"}  # fmt: skip
    Path("params.checked.json").write_text("{}")
    words = ["--model", "m", "--family", "image", "--params", "m", "--seed", 0, "--seeds", "seeds"]
    words += [word for name, place in places.items() for word in (f"--{name}", place)]
    return stage("train", *words, params={"m": MODEL | changes, "seeds": 1})


def refused(reason: str) -> list[tuple[str, str, str]]:
    """(row, name, detail) of each reject of this reason."""
    rejects = pd.read_csv("clean/rejects.csv", keep_default_na=False)
    rows = rejects[rejects["reason"] == reason]
    return list(rows[["row", "name", "detail"]].itertuples(index=False, name=None))


# A class with one photo ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [{"balance": "loss"}, {"balance": "sampling", "mixup_alpha": 2.0}], ids=["loss", "mixup"])
def test_a_class_with_one_photo_is_trained_on_and_it_is_said_that_nothing_is_known_of_it(
    tmp_path: Path, stage: Run, cleaned: Run, changes: dict[str, Any]
) -> None:
    photos(tmp_path / "source", {"lying": 1, "running": 8, "sitting": 8, "standing": 8})
    assert cleaned(tmp_path / "source", ADAPTER).code == 0
    assert {"label": "lying", "species": "", "in": 1, "kept": 1} in read_json(Path("clean/counts.json"))["by_class"]

    done = stage("split", "--params", "split", "--clean", "clean", "--seed", 3, "--out", "splits", params={"split": SPLIT})
    assert done.code == 0, done.err
    said = "split `all`: fewer than 3 pictures in train of lying"
    assert said in done.out
    found = read_json(Path("splits/report.json"))["all"]
    assert found["warnings"] == [said]
    assert [found["classes"][part]["lying"] for part in ("train", "val", "test")] == [1, 0, 0]

    done = train(stage, **changes)
    assert done.code == 0, done.err
    card = read_json(Path("models/m/model.json"))
    assert card["classes"] == ["lying", "running", "sitting", "walking_standing"]

    done = stage("evaluate", "--model", "m", "--trained", "models/m", "--clean", "clean", "--split", "splits/all",
                 "--predictions", "predictions/m", "--seed", 0, "--answers", "answers/m", "--metrics", "metrics")  # fmt: skip
    assert done.code == 0, done.err
    by_class = pd.read_csv("metrics/m.classes.csv").set_index(["part", "label"])
    assert by_class.loc[("test", "lying"), "n"] == 0 and by_class.loc[("test", "lying"), "in_train"]
    # Means are over the classes that the part has, three of the four.
    recalls = by_class.loc["test"].query("n > 0")["recall"]
    assert len(recalls) == 3
    assert read_json(Path("metrics/m.json"))["test"]["balanced_accuracy"] == pytest.approx(recalls.mean(), abs=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_a_class_s_only_photo_is_always_in_train(tmp_path: Path, stage: Run, cleaned: Run, seed: int) -> None:
    photos(tmp_path / "source", {"lying": 1, "running": 5, "sitting": 1, "standing": 6})
    assert cleaned(tmp_path / "source", ADAPTER).code == 0
    done = stage("split", "--params", "split", "--clean", "clean", "--seed", seed, "--out", "splits", params={"split": SPLIT})
    assert done.code == 0 and "fewer than 3 pictures in train of lying, sitting" in done.out
    parts = pd.read_csv("splits/all/parts.csv").set_index("sample_id")["part"]
    assert parts["lying/lying0.png"] == parts["sitting/sitting0.png"] == TRAIN


def test_one_photo_of_each_class_leaves_nothing_to_validate_on(tmp_path: Path, stage: Run, cleaned: Run) -> None:
    photos(tmp_path / "source", {"lying": 1, "running": 1})
    assert cleaned(tmp_path / "source", ADAPTER).code == 0
    done = stage("split", "--params", "split", "--clean", "clean", "--seed", 3, "--out", "splits", params={"split": SPLIT})
    assert done.code == 1
    assert done.err.startswith("error: split `all`: no picture is in val. Counts: {'train': 2}. Too few of each class")
    assert not Path("splits").exists()


# Actions that are none, or two ---------------------------------------------------------------------------------------


def test_rows_of_unknown_actions_are_rejected_with_their_words(tmp_path: Path, cleaned: Run) -> None:
    root = tmp_path / "source"
    table(root, [("a.png", "Running"), ("b.png", "jumping"), ("c.png", "sitting"), ("d.png", "other"), ("e.png", "")])
    done = cleaned(root, ADAPTER, max_bad_share=0.6)
    assert done.code == 0, done.err
    assert "no action <- jumping 1, other 1, (blank) 1" in done.out
    none_of = "none of lying, running, sitting, walking_standing"
    assert refused("no_action") == [
        ("actions.csv line 3", "b.png", f"jumping: {none_of}"),
        ("actions.csv line 5", "d.png", f"other: {none_of}"),
        ("actions.csv line 6", "e.png", f"(blank): {none_of}"),
    ]
    assert read_samples(Path("clean")).pictures["sample_id"].tolist() == ["a.png", "c.png"]


def test_too_many_rows_of_unknown_actions_stop_the_stage(tmp_path: Path, cleaned: Run) -> None:
    table(tmp_path / "source", [("a.png", "running"), ("b.png", "jumping"), ("c.png", "jumping")])
    done = cleaned(tmp_path / "source", ADAPTER, max_bad_share=0.5)
    assert done.code == 1 and "no_action" in done.err
    assert not Path("clean").exists()


def test_a_table_of_no_known_action_is_refused_with_what_is_expected(tmp_path: Path, cleaned: Run) -> None:
    table(tmp_path / "source", [("a.png", "cat"), ("b.png", "dog"), ("c.png", "cat")])
    done = cleaned(tmp_path / "source", ADAPTER)
    assert done.code == 1
    assert "none of 3 rows names an action: cat, dog. Expected a CSV or JSON table with the columns `image` and" in done.err
    assert not Path("clean").exists()


def test_a_photo_that_a_table_names_twice_with_two_actions_is_rejected(tmp_path: Path, cleaned: Run) -> None:
    """Twice with one action, in whatever words, is one photo with two animals."""
    root = tmp_path / "source"
    table(root, [("a.png", "sitting"), ("b.png", "walking"), ("a.png", "lying"), ("b.png", "Standing"), ("c.png", "sit")])
    done = cleaned(root, ADAPTER, max_bad_share=0.5)
    assert done.code == 0, done.err
    assert refused("ambiguous_action") == [("actions.csv line 2", "a.png", "sitting, lying: lying and sitting")]
    pictures = read_samples(Path("clean")).pictures
    assert dict(zip(pictures["sample_id"], pictures["label"], strict=True)) == {"b.png": "walking_standing", "c.png": "sitting"}
    counts = read_json(Path("clean/counts.json"))["pictures"]
    assert (counts["in"], counts["kept"], counts["rejected"]) == (3, 2, 1)


@pytest.mark.parametrize("as_table", [False, True], ids=["folders", "table"])
def test_the_same_photo_in_two_classes_is_in_neither(tmp_path: Path, cleaned: Run, as_table: bool) -> None:
    """Nobody knows which of the two is right. Twice in one class it stays once."""
    root = tmp_path / "source"
    photos(root, {"lying": 3, "running": 3})
    for original, copy in (("lying/lying0", "running/again"), ("running/running1", "running/twin")):
        (root / f"{copy}.png").write_bytes((root / f"{original}.png").read_bytes())
    if as_table:
        names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))
        rows = "".join(f"{name},{name.split('/')[0]}\n" for name in names)
        (root / "actions.csv").write_text(f"image,action\n{rows}")
    done = cleaned(root, ADAPTER, max_bad_share=0.5)
    assert done.code == 0, done.err
    detail = "the same bytes stand under another id with another class"
    assert [row[1:] for row in refused("conflicting_duplicate")] == [
        ("lying/lying0.png", detail),
        ("running/again.png", detail),
    ]
    assert [row[1] for row in refused("duplicate_content")] == ["running/twin.png"]
    kept = read_samples(Path("clean")).pictures["sample_id"].tolist()
    assert kept == [
        "lying/lying1.png",
        "lying/lying2.png",
        "running/running0.png",
        "running/running1.png",
        "running/running2.png",
    ]


# Weights of another architecture -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
@pytest.mark.parametrize("other", ["test_vit", "test_convnext", "test_efficientnet"])
def test_weights_of_another_architecture_stop_a_training_before_it_starts(
    tmp_path: Path, stage: Run, name: str, other: str
) -> None:
    tiny.clean_and_split(tmp_path)
    (tmp_path / "splits/location").rename(tmp_path / "splits/all")
    tiny.write_manifest(tmp_path / "splits")
    state = backbones.build(other, {}, 2).state_dict()
    if name.endswith("pth"):
        torch.save(state, tmp_path / name)
    else:
        safetensors.torch.save_file(state, tmp_path / name)
    done = train(stage, init=f"file:{name}")
    assert done.code == 1
    assert f"error: init: file {name}, sha256 " in done.err
    assert "not of this architecture: `" in done.err and "tensors do not fit)" in done.err
    assert "Traceback" not in done.err
    assert not Path("models/m").exists() and not Path("predictions").exists() and not Path("cost.json").exists()
