"""A user's own labels: exact figures on a few files, what cannot be scored is counted, and the figures are `evaluate`'s."""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stages import evaluate, media, own_labels
from stages.entries import Looker, entries
from stages.evaluate import EvaluateSettings
from stages.files import DataError
from stages.inference import predict
from stages.predictions import BOX, CLASS
from stages.samples import EMPTY, TEST
from stages.verdicts import Rules
from tests import predict_helpers as colours
from tests.predict_helpers import paint

FOX, DEER, BLACK = (204, 0, 0), (0, 204, 0), (0, 0, 0)
BOXES = Rules(BOX, ("fox", "deer", "person"), {"image_threshold": 0.3, "temperature": 1.0, "bias": 0.0}, 0.8)
WHOLE = Rules(CLASS, ("fox", "deer", EMPTY), {"temperature": 1.0}, 0.8)
# path: (what it looks like, what it is); no two alike, as of pictures of the same bytes one alone is scored
PICTURES = {
    "a/1.png": (FOX, "fox"), "a/2.png": ((205, 0, 0), "fox"), "a/3.png": ((206, 0, 0), "fox"), "b/1.png": (DEER, "fox"),
    "b/2.png": ((0, 205, 0), "deer"), "b/3.png": (BLACK, "deer"), "b/4.png": ((1, 0, 0), EMPTY), "c/1.png": ((0, 206, 0), EMPTY),
}  # fmt: skip


@dataclass(frozen=True)
class Scored:
    out: Path
    said: str
    figures: dict[str, Any]
    rejects: list[str]  # their reasons

    def table(self, name: str) -> pd.DataFrame:
        return pd.read_csv(self.out / f"m.{name}.csv", keep_default_na=False)

    @property
    def n(self) -> int:
        return int(self.table("parts")["n"].item())


@pytest.fixture
def card(tmp_path: Path) -> Path:
    for path, (colour, _) in PICTURES.items():
        paint(tmp_path / "card" / path, colour)
    return tmp_path / "card"


def listed(path: Path, rows: list[tuple[Any, ...]], header: tuple[str, ...] = ("path", "label")) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def truth() -> list[tuple[str, str]]:
    return [(path, label) for path, (_, label) in PICTURES.items()]


def looked(root: Path, key: str = "colours-boxes") -> Iterator[dict[str, Any]]:
    return entries(Looker(colours.network(key), 0.001, 1.0, 8), root, media.find([root]).files)


@pytest.fixture
def scored(card: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    def go(labels: Path, key: str = "colours-boxes", rules: Rules = BOXES) -> Scored:
        out = tmp_path / "scores"
        classes = [*rules.classes, EMPTY] if rules.task == BOX else list(rules.classes)
        raw = own_labels.read(labels, media.find([card]).files, card)
        own_labels.score(raw, media.find([card]).files, card, looked(card, key), rules, classes, out, "m")
        with (out / "rejects.csv").open(encoding="utf-8") as file:
            reasons = [row["reason"] for row in csv.DictReader(file)]
        return Scored(out, capsys.readouterr().out, json.loads((out / "m.json").read_text()), reasons)

    return go


def test_exact_figures_of_eight_pictures(scored: Any, tmp_path: Path) -> None:
    """Four foxes, three found; two deer, one found, and two that are none; two empty, one found."""
    found = scored(listed(tmp_path / "labels.csv", truth()))
    assert found.figures["data"] == "your data"
    [row] = found.table("parts").to_dict("records")
    # F1 of fox 2 * 1 * 0.75 / 1.75, of deer 2 * 1/3 * 1/2 / (5/6), of empty 0.5; nobody showed a person, nobody said one
    assert (row["n"], row["accuracy"], row["majority"]) == (8, 0.625, 0.5)
    assert row["f1_macro"] == pytest.approx((6 / 7 + 0.4 + 0.5) / 3, abs=1e-4)
    assert found.rejects == []
    assert "against the labels: macro F1 0.586 [" in found.said
    assert "always `fox` would be right for 0.500, n 8; 0 rows refused" in found.said
    confusion = found.table("confusion")
    assert {(r.actual, r.predicted): r.n for r in confusion.itertuples()} == {
        ("fox", "fox"): 3, ("fox", "deer"): 1, ("deer", "deer"): 1, ("deer", EMPTY): 1, (EMPTY, EMPTY): 1, (EMPTY, "deer"): 1,
    }  # fmt: skip
    answers = found.table("answers")
    assert len(answers) == 8 and set(answers["predicted"]) == {"fox", "deer", EMPTY}


def test_a_classifier_is_scored_by_the_same_tables(scored: Any, card: Path, tmp_path: Path) -> None:
    paint(card / "b/3.png", (0, 0, 203))  # what a classifier calls empty
    paint(card / "b/4.png", (0, 0, 204))
    found = scored(listed(tmp_path / "labels.csv", truth()), "colours-class", WHOLE)
    assert found.figures["test"]["f1_macro"] == pytest.approx((6 / 7 + 0.4 + 0.5) / 3, abs=1e-4)
    assert found.table("parts")["ece"].item() == pytest.approx(0.375), "always sure of itself, five times of eight right"


@pytest.mark.parametrize("key", ["colours-boxes", "colours-class"])
def test_figures_are_those_of_evaluate(scored: Any, card: Path, tmp_path: Path, key: str) -> None:
    """The same model on the same pictures, by the pipeline's own way: a samples table, `predict` and `evaluate.score`."""
    rules = BOXES if key == "colours-boxes" else WHOLE
    labels = listed(tmp_path / "labels.csv", truth())
    found = scored(labels, key, rules)
    samples, _ = own_labels.matched(own_labels.read(labels, media.find([card]).files, card), media.find([card]).files, card)
    pictures = samples.pictures.assign(part=TEST)
    network = colours.network(key)
    classes = [*network.classes, EMPTY] if rules.task == BOX else list(network.classes)
    expected = evaluate.score(
        predict(network, pictures, card), pictures, samples, rules.chosen, classes, "fox",
        EvaluateSettings.model_validate({}), 0,
    )  # fmt: skip
    assert found.figures == evaluate.rounded(evaluate.headline(expected.parts)) | {"data": "your data"}
    for name in ("parts", "classes", "confusion"):
        table = found.table(name)
        pd.testing.assert_frame_equal(table, expected.tables[name].round(4)[list(table)], check_dtype=False, rtol=0, atol=2e-4)


def test_boxes_of_the_labels_are_scored_where_validation_chose_a_threshold_for_boxes(scored: Any, tmp_path: Path) -> None:
    """The stub finds each fox in the upper left quarter of 40 x 20 px, each deer in the lower right."""
    header = ("path", "label", "x_min", "y_min", "x_max", "y_max")
    rows = [("a/1.png", "fox", 0, 0, 20, 10), ("a/2.png", "fox", 20, 10, 40, 20), ("b/2.png", "deer", 20, 10, 40, 20)]
    rules = Rules(BOX, BOXES.classes, BOXES.chosen | {"box_threshold": 0.3}, 0.8)
    found = scored(listed(tmp_path / "labels.csv", rows, header), rules=rules)
    [row] = found.table("parts").to_dict("records")
    assert (row["boxes"], row["box_precision"], row["box_recall"]) == (
        3,
        pytest.approx(2 / 3, abs=1e-4),
        pytest.approx(2 / 3, abs=1e-4),
    )
    # The surer of the two boxes named fox, of 205, is the one at the wrong place.
    assert row["map50"] == pytest.approx((1 + 0.25) / 2, abs=0.01)


def test_coco_camera_traps_as_labels(scored: Any, card: Path, write_cct: Any, tmp_path: Path) -> None:
    names = list(PICTURES)
    numbers = {"empty": 0, "deer": 1, "fox": 2}
    path = write_cct(
        tmp_path / "labels.json",
        [{"id": str(i), "file_name": name, "width": 40, "height": 20, "location": name[0], "seq_id": name[0]}
         for i, name in enumerate(names)],
        [{"id": str(i), "image_id": str(i), "category_id": numbers[PICTURES[name][1]]} for i, name in enumerate(names)],
    )  # fmt: skip
    found = scored(path)
    assert found.figures["test"]["f1_macro"] == pytest.approx((6 / 7 + 0.4 + 0.5) / 3, abs=1e-4)
    assert found.table("parts")["sequences"].item() == 3
    by_place = found.table("slices").query("slice == 'location'").set_index("value")["accuracy"]
    assert by_place.to_dict() == {"a": 1.0, "b": 0.5, "c": 0.0}


def test_what_cannot_be_scored_is_counted_with_its_reason(scored: Any, card: Path, tmp_path: Path) -> None:
    (card / "bad.png").write_bytes(b"\x89PNG\r\n")
    (card / "same.png").write_bytes((card / "a/1.png").read_bytes())
    rows = [*truth(), ("bad.png", "fox"), ("gone.png", "fox"), ("c/1.png", ""), ("same.png", "fox")]
    paint(card / "unlabelled.png", FOX)
    found = scored(listed(tmp_path / "labels.csv", rows))
    assert found.n == 8
    assert sorted(found.rejects) == ["duplicate_content", "file_missing", "no_label", "not_an_image"]
    assert "n 8; 4 rows refused" in found.said


def test_classes_that_the_model_does_not_know_are_said_and_wrong(scored: Any, tmp_path: Path) -> None:
    rows = [(path, "badger" if path.startswith("c") else label) for path, label in truth()]
    found = scored(listed(tmp_path / "labels.csv", rows))
    assert "classes that m does not know, always counted as wrong: badger" in found.said
    by_class = found.table("classes").set_index("label")
    assert by_class.loc["badger", "f1"] in (0, "0.0", "0.0000") and str(by_class.loc["badger", "in_train"]) == "False"
    assert found.figures["test"]["f1_macro"] == pytest.approx((6 / 7 + 0.4 + 2 / 3 + 0) / 4, abs=1e-4)


def test_part_of_the_files_may_be_labelled(scored: Any, tmp_path: Path) -> None:
    found = scored(listed(tmp_path / "labels.csv", truth()[:3]))
    assert (found.n, found.figures["test"]["f1_macro"]) == (3, 1.0)


def test_a_spreadsheet_s_csv_with_windows_paths_is_read(scored: Any, tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    lines = ["File Name;LABEL".replace(" ", "_"), *(f"{name.replace('/', chr(92))};{label}" for name, label in truth())]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    assert scored(path).n == 8


def test_whole_paths_from_another_place(scored: Any, card: Path, tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    found = scored(listed(tmp_path / "lists/labels.csv", [(card / path, label) for path, label in truth()]))
    assert (found.n, found.rejects) == (8, [])


def test_labels_of_other_files_say_where_paths_start(card: Path, tmp_path: Path) -> None:
    labels = listed(tmp_path / "labels.csv", [("card/a/x.png", "fox"), ("y.png", "fox")])
    with pytest.raises(
        DataError, match=rf"no picture that was looked at, but card/a/x.png, y.png. Paths in it start at {card}; videos are not"
    ):
        own_labels.read(labels, media.find([card]).files, card)


def test_labels_that_are_no_table_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="label"):
        own_labels.read(listed(tmp_path / "labels.csv", [("a.png", "fox")], ("path", "animal")), [], tmp_path)
    (tmp_path / "labels.json").write_text("{")
    with pytest.raises(DataError, match="malformed JSON"):
        own_labels.read(tmp_path / "labels.json", [], tmp_path)
