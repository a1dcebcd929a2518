"""Charts: what they draw stands in the file as text, the same bytes in every run, on light and on dark pages."""

import math
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from matplotlib import pyplot as plt

from stages.pages import charts

HOSTILE = "$x_1$ <script>&\"'_{\x07\n]]>"
SHOWN = "$x_1$ <script>&\"'_{ ]]>"
NOTHING = pd.DataFrame()

CURVE = pd.DataFrame({"epoch": [0, 1, 2], "train_loss": [3.0, math.nan, 1.0], "val_loss": [3.0, 2.5, 2.0]})
RELIABILITY = pd.DataFrame(
    [("score", 0.5, 0.6, 7, 0.55, 0.4), ("score", 0.9, 1.0, 5, 0.95, 0.7), ("calibrated", 0.6, 0.7, 12, 0.65, 0.6)],
    columns=["scores", "low", "high", "n", "confidence", "accuracy"],
)
CURVES = pd.DataFrame(
    [("all", 0.9, 1.0, 0.2), ("all", 0.1, 0.5, 0.8), (HOSTILE, 0.9, 1.0, 0.5), ("_fox", 0.5, 1.0, 0.5)],
    columns=["label", "score", "precision", "recall"],
)
DRAW: dict[str, Callable[[Path, str], bool]] = {
    "learning": lambda out, title: charts.learning(CURVE.assign(val_accuracy=[0.1, 0.2, 0.3]), title, out),
    "reliability": lambda out, title: charts.reliability(RELIABILITY, title, out),
    "precision_recall": lambda out, title: charts.precision_recall(CURVES, title, out),
    "intervals": lambda out, title: charts.intervals(
        {HOSTILE: {"a": (0.5, 0.4, 0.6)}, "b": {"_c": (1, 1, 1)}}, "F1", title, out
    ),
    "bars": lambda out, title: charts.bars({"seen": {HOSTILE: 0.5}, "_b": {"c": 0.1}}, {HOSTILE: 1234}, "F1", title, out),
    "distribution": lambda out, title: charts.distribution(pd.DataFrame({HOSTILE: [3], "b": [1]}, index=["_p"]), title, out),
}


def texts(path: Path) -> list[str]:
    """The words that an SVG draws. Raises where it is no XML."""
    return ["".join(node.itertext()).strip() for node in ET.parse(path).getroot().iter("{http://www.w3.org/2000/svg}text")]


@pytest.fixture(params=DRAW)
def draw(request: pytest.FixtureRequest) -> Callable[[Path, str], bool]:
    return DRAW[request.param]


def test_a_chart_is_the_same_twice(draw: Callable[[Path, str], bool], tmp_path: Path) -> None:
    assert draw(tmp_path / "a.svg", "title") and draw(tmp_path / "b.svg", "title")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_hostile_names_are_drawn_as_the_text_they_are(draw: Callable[[Path, str], bool], tmp_path: Path) -> None:
    draw(tmp_path / "a.svg", HOSTILE)
    svg = (tmp_path / "a.svg").read_text()
    root = ET.fromstring(svg)
    assert "<script" not in svg
    assert {node.tag.rpartition("}")[2] for node in root.iter()} & {"script", "foreignObject", "a"} == set()
    assert root.findtext("{http://www.w3.org/2000/svg}title") == SHOWN
    assert SHOWN in texts(tmp_path / "a.svg")


def test_ink_turns_with_the_readers_page_and_the_ground_is_the_pages_own(
    draw: Callable[[Path, str], bool], tmp_path: Path
) -> None:
    draw(tmp_path / "a.svg", "title")
    svg = (tmp_path / "a.svg").read_text()
    assert "@media (prefers-color-scheme: dark)" in svg and "stroke: currentColor" in svg
    assert "#000000" not in svg and "#ffffff" not in svg
    assert "DejaVu" not in svg


def test_where_there_is_nothing_to_draw_there_is_no_file(tmp_path: Path) -> None:
    out = tmp_path / "a.svg"
    nan = {"a": (math.nan, math.nan, math.nan)}
    assert not charts.learning(pd.DataFrame({"epoch": [0], "val_loss": [math.nan]}), "", out)
    assert not charts.learning(NOTHING, "", out)
    for draw, rows in ((charts.reliability, RELIABILITY), (charts.precision_recall, CURVES)):
        assert not draw(rows.head(0), "", out) and not draw(NOTHING, "", out)
    assert not charts.intervals({}, "", "", out) and not charts.intervals({"x": nan}, "", "", out)
    assert not charts.bars({}, None, "", "", out) and not charts.bars({"x": {"a": math.nan}}, {}, "", "", out)
    assert not charts.distribution(NOTHING, "", out) and not charts.distribution(pd.DataFrame({"a": [0]}), "", out)
    assert not out.exists()


def test_learning_has_a_panel_for_what_the_curve_measured(tmp_path: Path) -> None:
    charts.learning(CURVE, "x", tmp_path / "losses.svg")
    assert {"train", "val", "loss"} <= set(texts(tmp_path / "losses.svg"))
    assert "on val" not in texts(tmp_path / "losses.svg")
    charts.learning(CURVE.assign(val_map50=0.5, val_pose_map50=0.4), "x", tmp_path / "pose.svg")
    assert {"on val", "mAP50", "mAP50 of joints"} <= set(texts(tmp_path / "pose.svg"))


def test_a_gap_in_a_curve_stays_a_gap(tmp_path: Path) -> None:
    charts.learning(CURVE, "x", tmp_path / "a.svg")
    charts.learning(CURVE.assign(train_loss=[3.0, 2.0, 1.0]), "x", tmp_path / "b.svg")
    lines = [path.read_text().count("<use ") for path in (tmp_path / "a.svg", tmp_path / "b.svg")]
    assert lines[0] < lines[1]  # the missing epoch has no marker


def test_reliability_counts_its_answers(tmp_path: Path) -> None:
    charts.reliability(RELIABILITY, "x", tmp_path / "a.svg")
    assert {"as said, n 12", "calibrated on val, n 12"} <= set(texts(tmp_path / "a.svg"))


def test_a_class_called_all_is_not_all_classes_pooled(tmp_path: Path) -> None:
    def named(rows: pd.DataFrame) -> list[str]:
        charts.precision_recall(rows, "x", tmp_path / "a.svg")
        return [text for text in texts(tmp_path / "a.svg") if text.startswith("all")]

    pooled = CURVES[CURVES["label"] == "all"]
    assert named(CURVES) == ["all classes"]
    assert named(pd.concat([pooled, pooled.assign(recall=[0.3, 0.6])])) == ["all classes", "all"]
    assert named(pooled) == [], "one line needs no legend"


def test_n_stands_beside_a_class(tmp_path: Path) -> None:
    charts.bars({"seen": {"deer": 0.5, "fox": 0.2}}, {"deer": 1234}, "F1", "x", tmp_path / "a.svg")
    assert {"deer, n 1,234", "fox"} <= set(texts(tmp_path / "a.svg"))


def test_many_locations_are_the_largest_and_the_rest_together(tmp_path: Path) -> None:
    counts = pd.DataFrame({f"camera {n}": [n + 1] for n in range(100)}, index=["train"])
    charts.distribution(counts, "x", tmp_path / "a.svg")
    found = texts(tmp_path / "a.svg")
    assert {"camera 99", "60 others"} <= set(found) and "camera 10" not in found


def test_every_series_differs_from_the_others() -> None:
    assert len({tuple(charts.look_of(number).values()) for number in range(24)}) == 24


def test_a_figure_of_another_module_is_saved_alike(tmp_path: Path) -> None:
    figure, axes = plt.subplots()
    axes.set(title=charts.plain("costs $5"), xlabel=charts.plain("#000000 $"))
    charts.save(figure, tmp_path / "a.svg")
    assert {"costs $5", "#000000 $"} <= set(texts(tmp_path / "a.svg"))
    assert "<title>costs $5</title>" in (tmp_path / "a.svg").read_text()
