"""Box metrics by hand, against torchmetrics and against Ultralytics' own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics
from torchmetrics.detection import MeanAveragePrecision

from stages.box_scores import (
    MAX_BOXES,
    NONE_PASSES,
    average_precision,
    best_image_threshold,
    best_threshold,
    box_confusion,
    image_answers,
    map50_bootstrap,
    match,
    mean_average_precision,
    of_pictures,
    precision_recall_f1,
)
from stages.files import DataError
from stages.predictions import PREDICTIONS, box_rows
from stages.samples import BOX_COLUMNS, BOXES
from stages.scores import interval

CLASSES = ["deer", "fox", "wolf"]
A, B, C = (0, 0, 10, 10), (20, 0, 30, 10), (0, 20, 10, 30)  # three places that do not touch


def boxes(*rows: tuple[Any, ...]) -> pd.DataFrame:
    """(picture, label, box) -> a table of true boxes."""
    table = pd.DataFrame([(name, label, *box) for name, label, box in rows], columns=["sample_id", "label", *BOX_COLUMNS])
    return BOXES.validate(table.astype({"sample_id": "str", "label": "str"} | dict.fromkeys(BOX_COLUMNS, float)))


def guesses(*rows: tuple[Any, ...], pictures: str = "p q r") -> pd.DataFrame:
    """(picture, label, box, score) -> the predictions of these pictures, those with nothing found included."""
    found = boxes(*(row[:3] for row in rows)).assign(score=[float(row[3]) for row in rows])
    return PREDICTIONS.validate(box_rows(found, pd.Series(pictures.split())))


def own_map50(found: pd.DataFrame, true: pd.DataFrame) -> float:
    matches = match(found, true)
    hits = {label: matches.loc[matches["label"] == label, "hit"].to_numpy() for label in set(true["label"])}
    each = [average_precision(hit, np.ones(len(hit), int), int((true["label"] == label).sum())) for label, hit in hits.items()]
    return float(np.mean(each))


# By hand -------------------------------------------------------------------------------------------------------------


def test_perfect() -> None:
    true = boxes(("p", "deer", A), ("p", "fox", B), ("q", "deer", C))
    found = guesses(("p", "deer", A, 0.9), ("p", "fox", B, 0.8), ("q", "deer", C, 0.3))
    result = mean_average_precision(found, true, CLASSES)
    assert (result["map50"], result["map50_95"]) == (1, 1)
    assert result["classes"]["label"].tolist() == CLASSES
    assert result["classes"]["n"].tolist() == [2, 1, 0]
    assert result["classes"]["ap50"].tolist() == pytest.approx([1, 1, np.nan], nan_ok=True)
    assert result["classes"]["ap50_95"].tolist() == pytest.approx([1, 1, np.nan], nan_ok=True)
    matches = match(found, true)
    assert matches["hit"].all()
    assert precision_recall_f1(matches, 3, 0.3) == {"precision": 1, "recall": 1, "f1": 1}
    assert best_threshold(matches, 3) == 0.3


def test_none_found() -> None:
    true = boxes(("p", "deer", A))
    for found in (guesses(), guesses().head(0)):  # rows `empty`, and no rows at all
        result = mean_average_precision(found, true, CLASSES)
        assert (result["map50"], result["map50_95"]) == (0, 0)
        matches = match(found, true)
        assert matches.columns.tolist() == ["sample_id", "label", "score", "hit"]
        assert len(matches) == 0
        assert precision_recall_f1(matches, 1, 0.5) == {"precision": 0, "recall": 0, "f1": 0}
        assert best_threshold(matches, 1) == NONE_PASSES
        assert box_confusion(found, true, CLASSES, 0.5).to_dict("records") == [
            {"actual": "deer", "predicted": "missed", "n": 1}
        ]
        seq_ids = pd.Series({"p": "s"})
        assert map50_bootstrap(matches, true, seq_ids, 5, 0).tolist() == [0] * 5


def test_nothing_true_is_told() -> None:
    found = guesses(("p", "deer", A, 0.9))
    with pytest.raises(DataError, match="without one true box"):
        mean_average_precision(found, boxes(), CLASSES)
    matches = match(found, boxes())
    assert matches["hit"].tolist() == [False]
    assert precision_recall_f1(matches, 0, 0.5) == {"precision": 0, "recall": 0, "f1": 0}
    assert best_threshold(matches, 0) == NONE_PASSES
    assert np.isnan(average_precision(np.array([False]), np.ones(1, int), 0))


def test_a_second_box_on_the_same_object_is_a_false_positive() -> None:
    true = boxes(("p", "deer", A), ("q", "deer", A))
    found = guesses(("p", "deer", (0, 0, 10, 9), 0.9), ("p", "deer", A, 0.8), ("q", "deer", A, 0.7))
    matches = match(found, true)
    assert matches["hit"].tolist() == [True, False, True]  # the surer one, though it fits less well
    # recall 0.5 at precision 1 (51 points), then recall 1 at precision 2 / 3 (50 points)
    assert mean_average_precision(found, true, CLASSES)["map50"] == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert precision_recall_f1(matches, 2, 0.0) == pytest.approx({"precision": 2 / 3, "recall": 1, "f1": 0.8})
    assert precision_recall_f1(matches, 2, 0.85) == pytest.approx({"precision": 1, "recall": 0.5, "f1": 2 / 3})
    assert best_threshold(matches, 2) == 0.7


def test_a_box_takes_the_best_free_object() -> None:
    true = boxes(("p", "deer", A), ("p", "deer", (0, 0, 10, 8)))
    found = guesses(("p", "deer", (0, 0, 10, 8), 0.9), ("p", "deer", (0, 0, 10, 7), 0.8))
    assert match(found, true)["hit"].tolist() == [True, True]  # the second's best is taken: it has the other
    assert match(found, true.tail(1))["hit"].tolist() == [True, False]
    assert match(found, true, iou=0.75)["hit"].tolist() == [True, False]


def test_a_wrong_class_is_a_false_positive_and_a_miss() -> None:
    true = boxes(("p", "fox", A))
    found = guesses(("p", "wolf", A, 0.9))
    assert match(found, true)["hit"].tolist() == [False]
    result = mean_average_precision(found, true, CLASSES)
    assert result["map50"] == 0
    assert result["classes"]["ap50"].tolist() == pytest.approx([np.nan, 0, np.nan], nan_ok=True)  # wolf has no true box
    assert box_confusion(found, true, CLASSES, 0.5).to_dict("records") == [{"actual": "fox", "predicted": "wolf", "n": 1}]


def test_a_box_in_an_empty_picture_is_a_false_positive() -> None:
    true = boxes(("p", "fox", A))
    found = guesses(("q", "fox", A, 0.9), ("p", "fox", A, 0.8))
    assert match(found, true)["hit"].tolist() == [False, True]
    assert mean_average_precision(found, true, CLASSES)["map50"] == pytest.approx(0.5)
    without = of_pictures(found, true, ["p", "r"])
    assert mean_average_precision(*without, CLASSES)["map50"] == 1
    assert without[0]["sample_id"].tolist() == ["p", "r"]
    assert of_pictures(found, true, ["q"])[1].empty


def test_iou_of_exactly_a_half_counts() -> None:
    true = boxes(("p", "deer", A))
    for box, hit in (((0, 0, 10, 5), True), ((0, 0, 10, 4.999), False), ((0, 0, 10, 20), True), ((0, 0, 10, 20.01), False)):
        found = guesses(("p", "deer", box, 0.9))
        assert match(found, true)["hit"].tolist() == [hit]
        assert mean_average_precision(found, true, CLASSES)["map50"] == hit


def test_a_box_in_another_picture_never_hits() -> None:
    assert match(guesses(("q", "deer", A, 0.9)), boxes(("p", "deer", A)))["hit"].tolist() == [False]


@pytest.mark.parametrize("label", ["deer", "fox"])
def test_the_surest_boxes_of_a_picture_count(label: str) -> None:
    """Those of all classes together."""
    noise = [("p", label, C, 0.5 + i / 1000) for i in range(MAX_BOXES)]
    true = boxes(("p", "deer", A), ("q", "deer", A))
    found = guesses(*noise, ("p", "deer", A, 0.4), ("q", "deer", A, 0.3))
    matches = match(found, true)
    assert len(matches) == MAX_BOXES + 1
    assert matches["hit"].sum() == 1
    assert mean_average_precision(found, true, CLASSES)["map50"] == pytest.approx(own_map50(found, true))


def test_box_confusion() -> None:
    true = boxes(("p", "fox", A), ("p", "deer", B), ("q", "fox", A), ("r", "wolf", A), ("z", "deer", A))
    found = guesses(
        ("p", "wolf", A, 0.9),  # a fox called wolf
        ("p", "fox", A, 0.8),  # right, but the fox is taken
        ("p", "deer", B, 0.7),
        ("q", "deer", C, 0.6),  # over nothing, and the fox of q is missed
        ("r", "wolf", A, 0.1),  # not sure enough
    )
    table = box_confusion(found, true, CLASSES, 0.5)
    assert list(table.itertuples(index=False, name=None)) == [
        ("deer", "deer", 1), ("deer", "missed", 1), ("fox", "wolf", 1), ("fox", "missed", 1), ("wolf", "missed", 1),
        ("background", "deer", 1), ("background", "fox", 1),
    ]  # fmt: skip
    assert box_confusion(guesses(), boxes(), CLASSES, 0.5).empty


def test_a_class_that_is_not_counted_is_refused() -> None:
    true, found = boxes(("p", "deer", A)), guesses(("p", "lynx", A, 0.9))
    with pytest.raises(ValueError, match="lynx"):
        mean_average_precision(found, true, CLASSES)
    with pytest.raises(ValueError, match="deer"):
        box_confusion(found, true, ["lynx"], 0.5)


# Answers for whole pictures ------------------------------------------------------------------------------------------


def test_image_answers() -> None:
    found = guesses(("p", "deer", A, 0.7), ("p", "fox", B, 0.75), ("q", "wolf", A, 0.5))
    answers = image_answers(found.sample(frac=1, random_state=0), 0.5)
    assert list(answers.itertuples(index=False, name=None)) == [("p", "fox", 0.75), ("q", "wolf", 0.5), ("r", "empty", 1.0)]
    answers = image_answers(found, 0.6)
    assert list(answers.itertuples(index=False, name=None)) == [("p", "fox", 0.75), ("q", "empty", 0.5), ("r", "empty", 1.0)]
    assert image_answers(found, 0)["predicted"].tolist() == ["fox", "wolf", "empty"]
    assert image_answers(found, NONE_PASSES)["predicted"].tolist() == ["empty"] * 3


def test_best_image_threshold_exact() -> None:
    equals = guesses(("p", "deer", A, 0.8), ("q", "wolf", A, 0.6))  # q is wrong as wolf and as empty
    assert best_image_threshold(equals, pd.Series({"p": "deer", "q": "deer", "r": "deer"})) == 0.8
    found = guesses(
        ("p", "deer", A, 0.8), ("q", "fox", A, 0.6), ("r", "fox", A, 0.4), ("s", "fox", A, 0.2), pictures="p q r s t"
    )
    actual = pd.Series({"t": "empty", "s": "empty", "r": "empty", "q": "fox", "p": "deer"})  # by name, not by place
    assert best_image_threshold(found, actual) == 0.6
    assert best_image_threshold(found, actual.replace({"fox": "empty", "deer": "empty"})) == NONE_PASSES
    assert best_image_threshold(guesses(), pd.Series({"p": "deer", "q": "empty", "r": "empty"})) == NONE_PASSES
    with pytest.raises(KeyError):
        best_image_threshold(found, actual.drop("t"))


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), pictures=st.integers(1, 60))
def test_best_image_threshold_is_the_best_of_all(seed: int, pictures: int) -> None:
    rng = np.random.default_rng(seed)
    names = [f"p{i:02}" for i in range(pictures)]
    rows = [(name, rng.choice(CLASSES), A, rng.integers(1, 20) / 20) for name in names for _ in range(rng.integers(0, 3))]
    found = guesses(*rows, pictures=" ".join(names))
    actual = pd.Series(rng.choice([*CLASSES, "empty"], pictures), names)

    f1 = {}
    for threshold in {NONE_PASSES, *found.loc[found["label"] != "empty", "score"]}:
        predicted = image_answers(found, threshold)["predicted"]
        f1[threshold] = metrics.f1_score(actual, predicted, labels=sorted(set(actual)), average="macro", zero_division=0)
    chosen = best_image_threshold(found, actual)
    assert f1[chosen] == pytest.approx(max(f1.values()))
    assert all(value < f1[chosen] + 1e-12 for threshold, value in f1.items() if threshold > chosen)


def test_best_image_threshold_among_very_many() -> None:
    names = [f"p{i:04}" for i in range(3000)]
    found = guesses(*((name, "deer", A, (i + 1) / 3001) for i, name in enumerate(names)), pictures=" ".join(names))
    actual = pd.Series(["empty"] * 1800 + ["deer"] * 1200, names)
    assert best_image_threshold(found, actual) == pytest.approx(0.6, abs=1 / 200)


# Against torchmetrics and Ultralytics --------------------------------------------------------------------------------


def scene(seed: int, pictures: int, classes: list[str], ties: bool = False) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Found and true boxes: most objects are found, some twice, some as another class, and there are boxes over nothing."""
    rng = np.random.default_rng(seed)
    names = [f"p{i:04}" for i in range(pictures)]
    true, found = [], []
    quality = rng.uniform(0.5, 0.95), rng.uniform(0.02, 0.12)  # share found in their class, shift of corners by size

    def place() -> np.ndarray:
        corner, size = rng.uniform(0, 400, 2), rng.uniform(30, 200, 2)
        return np.concatenate([corner, corner + size])

    def score(low: float, high: float) -> float:
        return round(rng.uniform(low, high), 1 if ties else 9)

    for name in names:
        for _ in range(rng.integers(0, 4)):
            label, box = rng.choice(classes), place()
            true.append((name, label, tuple(box)))
            size = np.tile(box[2:] - box[:2], 2)
            for _ in range(rng.choice([0, 1, 2], p=[0.1, 0.75, 0.15])):
                guess = label if rng.random() < quality[0] else rng.choice(classes)
                shift = rng.uniform(-2, 2, 4) * quality[1] * size
                found.append((name, guess, tuple((box + shift).clip(0)), score(0.2, 1)))
        found += [(name, rng.choice(classes), tuple(place()), score(0, 0.7)) for _ in range(rng.integers(0, 3))]
    return guesses(*found, pictures=" ".join(names)), boxes(*true)


def map_of_torchmetrics(found: pd.DataFrame, true: pd.DataFrame, classes: list[str]) -> tuple[tuple[float, float], np.ndarray]:
    """mAP 0.5 and 0.5:0.95, and both for each class (C, 2). Its own thresholds are float32, which moves some recalls."""
    metric = MeanAveragePrecision(
        iou_thresholds=np.linspace(0.5, 0.95, 10).tolist(),
        rec_thresholds=np.linspace(0, 1, 101).tolist(),
        extended_summary=True,
        backend="faster_coco_eval",
    )

    def of(table: pd.DataFrame, name: str) -> dict[str, torch.Tensor]:
        rows = table[(table["sample_id"] == name) & (table["label"] != "empty")]
        return {
            "boxes": torch.tensor(rows[BOX_COLUMNS].to_numpy()),
            "labels": torch.tensor([classes.index(label) for label in rows["label"]], dtype=torch.int64),
            "scores": torch.tensor(rows["score"].to_numpy()),
        }

    pictures, sure = sorted({*found["sample_id"], *true["sample_id"]}), true.assign(score=1.0)
    metric.update([of(found, name) for name in pictures], [of(sure, name) for name in pictures])
    result = metric.compute()
    by_class = np.full((len(classes), 2), np.nan)
    precision = result["precision"].numpy()[..., 0, -1]  # IoU, recall, class
    by_class[result["classes"].reshape(-1).numpy()] = np.stack([precision[0].mean(0), precision.mean((0, 1))], axis=1)
    return (float(result["map_50"]), float(result["map"])), by_class


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), pictures=st.integers(2, 40), ties=st.booleans(), count=st.integers(1, 3))
def test_average_precision_is_that_of_torchmetrics(seed: int, pictures: int, ties: bool, count: int) -> None:
    """Ties too: equal scores stand in the order of the pictures in all three."""
    found, true = scene(seed, pictures, CLASSES[:count], ties)
    if true.empty:
        return
    shuffled = [table.sort_values("sample_id", ascending=False, kind="stable") for table in (found, true)]
    result = mean_average_precision(*shuffled, CLASSES)
    means, by_class = map_of_torchmetrics(found, true, CLASSES)
    assert (result["map50"], result["map50_95"]) == pytest.approx(means, abs=1e-6)  # its means are float32
    table = result["classes"].set_index("label")
    assert table["n"].to_dict() == {label: (true["label"] == label).sum() for label in CLASSES}
    assert table[["ap50", "ap50_95"]].dropna().to_numpy() == pytest.approx(by_class[table["n"] > 0], abs=1e-12)
    assert own_map50(found, true) == pytest.approx(result["map50"], abs=1e-12)


def test_a_score_costs_no_import_of_torch_and_no_output() -> None:
    """`evaluate` is one process for each model: the imports would take longer than all else that it does."""
    script = f"""
import sys
import pandas as pd
from stages import box_scores, calibration
true = pd.DataFrame({{"sample_id": ["p"], "label": ["deer"], **dict(zip({BOX_COLUMNS}, [[0.0], [0.0], [9.0], [9.0]]))}})
assert box_scores.mean_average_precision(true.assign(score=1.0), true, ["deer"])["map50"] == 1
assert not {{"torch", "torchmetrics", "matplotlib"}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_recall_on_a_point_of_the_scale() -> None:
    """Recalls k / 100 are the very points of interpolation; of points rounded to float32, 46 lie off them."""
    pictures = [f"p{i:02}" for i in range(100)]
    for hits in (29, 57, 58):
        true = boxes(*((name, "deer", A) for name in pictures))
        found = guesses(*((name, "deer", A, 0.9) for name in pictures[:hits]), pictures=" ".join(pictures))
        expected = (np.linspace(0, 1, 101) <= hits / 100).sum() / 101
        assert own_map50(found, true) == pytest.approx(expected)
        assert mean_average_precision(found, true, CLASSES)["map50"] == pytest.approx(expected)


@pytest.fixture(scope="module")
def ultralytics(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder, with Ultralytics told to write below it and to stay off the network."""
    folder = tmp_path_factory.mktemp("ultralytics")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "YOLO_CONFIG_DIR", str(folder / "settings"))
        patch.setitem(os.environ, "YOLO_OFFLINE", "true")
        yield folder


def map_of_ultralytics(found: pd.DataFrame, true: pd.DataFrame, classes: list[str], folder: Path) -> tuple[float, float]:
    """mAP 0.5 and 0.5:0.95 by Ultralytics' own matching and its own average."""
    from ultralytics.models.yolo.detect import DetectionValidator

    validator = DetectionValidator(save_dir=folder / "run", args={"plots": False})
    validator.metrics.names = dict(enumerate(classes))
    found = found[found["label"] != "empty"].sort_values("score", ascending=False)

    parts = [dict(list(table.groupby("sample_id"))) for table in (found, true)]

    def of(table: dict[str, pd.DataFrame], name: str) -> dict[str, torch.Tensor]:
        rows = table.get(name, found.head(0))
        labels = [classes.index(label) for label in rows["label"]]
        return {"bboxes": torch.tensor(rows[BOX_COLUMNS].to_numpy()), "cls": torch.tensor(labels, dtype=torch.float32)}

    for name in sorted({*found["sample_id"], *true["sample_id"]}):
        guess, truth = (of(table, name) for table in parts)
        validator.metrics.update_stats(
            {
                **validator._process_batch(guess, truth),
                "conf": parts[0].get(name, found.head(0))["score"].to_numpy(),
                "pred_cls": guess["cls"].numpy(),
                "target_cls": truth["cls"].numpy(),
                "target_img": truth["cls"].unique().numpy(),
                "im_name": name,
            }
        )
    validator.metrics.process(save_dir=folder / "run")
    return validator.metrics.box.map50, validator.metrics.box.map


@pytest.mark.parametrize("seed", range(4))
def test_map_agrees_with_ultralytics(seed: int, ultralytics: Path) -> None:
    """Within 0.01: it joins the 101 points by straight lines, where COCO has steps, and starts from precision 1 at recall 0."""
    found, true = scene(seed, 200, [*CLASSES, "rabbit"][: 2 + seed % 3])
    assert found.loc[found["label"] != "empty", "score"].is_unique
    ours = mean_average_precision(found, true, [*CLASSES, "rabbit"])
    theirs = map_of_ultralytics(found, true, [*CLASSES, "rabbit"], ultralytics)
    assert 0.1 < ours["map50"] < 0.95
    assert ours["map50"] == pytest.approx(theirs[0], abs=0.01)
    assert ours["map50_95"] == pytest.approx(theirs[1], abs=0.01)


@pytest.mark.parametrize("seed", [0, 1])
def test_best_threshold_is_the_best_of_all(seed: int) -> None:
    found, true = scene(seed, 60, CLASSES, ties=True)
    matches = match(found, true)
    f1 = {at: precision_recall_f1(matches, len(true), at)["f1"] for at in sorted(set(matches["score"]))}
    chosen = best_threshold(matches, len(true))
    assert f1[chosen] == max(f1.values())
    assert all(value < f1[chosen] for at, value in f1.items() if at > chosen)
    sure = found[found["score"] >= chosen]  # what is found below the threshold takes nothing from what is above
    assert match(sure, true)["hit"].sum() == matches.loc[matches["score"] >= chosen, "hit"].sum()


# Bootstrap -----------------------------------------------------------------------------------------------------------


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_a_weight_is_so_many_copies(seed: int) -> None:
    found, true = scene(seed, 12, CLASSES[:1])
    weights = pd.Series(np.random.default_rng(seed).integers(0, 4, 12), [f"p{i:04}" for i in range(12)])
    matches = match(found, true)
    ours = average_precision(
        matches["hit"].to_numpy(), weights[matches["sample_id"]].to_numpy(), int(weights[true["sample_id"]].sum())
    )
    both = []
    for table in (found, true):
        copies = table.loc[table.index.repeat(table["sample_id"].map(weights))]
        number = copies.groupby(level=0).cumcount().astype(str)
        both.append(copies.assign(sample_id=copies["sample_id"] + "-" + number))
    if both[1].empty:
        assert np.isnan(ours)
    else:
        assert ours == pytest.approx(mean_average_precision(*both, CLASSES)["map50"], abs=1e-12)


def test_bootstrap_draws_whole_sequences() -> None:
    """Two sequences, one all hit and one all missed: a draw has both, or one of them twice."""
    true = boxes(*((name, "deer", A) for name in "pqrs"))
    found = guesses(("p", "deer", A, 0.9), ("q", "deer", A, 0.8), pictures="p q r s")
    seq_ids = pd.Series({"p": "s1", "q": "s1", "r": "s2", "s": "s2"})
    drawn = map50_bootstrap(match(found, true), true, seq_ids, 4000, 0)
    assert sorted(set(drawn.round(9))) == pytest.approx([0, 51 / 101, 1])
    assert (drawn == 1).mean() == pytest.approx(0.25, abs=0.03)
    assert (drawn == 0).mean() == pytest.approx(0.25, abs=0.03)
    with pytest.raises(KeyError):
        map50_bootstrap(match(found, true), true, seq_ids.drop("s"), 5, 0)


def test_a_class_that_falls_out_of_a_draw_has_no_say() -> None:
    true = boxes(("p", "deer", A), ("q", "fox", A))
    found = guesses(("p", "deer", A, 0.9), pictures="p q r")
    drawn = map50_bootstrap(match(found, true), true, pd.Series({"p": "s1", "q": "s2"}), 4000, 0)
    assert set(drawn) == {0, 0.5, 1}  # foxes alone, both, deer alone
    with_empty = map50_bootstrap(match(found, true), true, pd.Series({"p": "s1", "q": "s2", "r": "s3"}), 4000, 0)
    assert len(with_empty) == pytest.approx(4000 * 26 / 27, abs=60)  # a draw of three times `r` says nothing


def test_bootstrap_interval() -> None:
    found, true = scene(5, 300, CLASSES)
    matches = match(found, true)
    seq_ids = pd.Series({f"p{i:04}": f"s{i // 3}" for i in range(300)})
    drawn = map50_bootstrap(matches, true, seq_ids, 200, 1)
    assert drawn.shape == (200,)
    low, high = interval(drawn)
    assert low < own_map50(found, true) < high
    assert 0.02 < high - low < 0.2
    assert np.array_equal(drawn, map50_bootstrap(matches, true.sample(frac=1, random_state=0), seq_ids.iloc[::-1], 200, 1))
    assert not np.array_equal(drawn, map50_bootstrap(matches, true, seq_ids, 200, 2))
