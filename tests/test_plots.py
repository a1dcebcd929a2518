"""`dvc plots show` of the figures in git: what the templates' filters, applied here as Vega-Lite does, leave to be drawn."""

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from stages.precision_recall import ALL, MOST_POINTS
from stages.samples import SCORED, TEST, UNSEEN

ROOT = Path(__file__).parent.parent
MODELS: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())["models"]


@pytest.fixture(scope="module")
def plots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """{file: what is drawn of it}, as DVC fills its templates; files without rows are left out."""
    words = [sys.executable, "-m", "dvc", "plots", "show", "--json", "-o", str(tmp_path_factory.mktemp("plots"))]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    return {name: found[0]["content"] for name, found in json.loads(done.stdout)["data"].items() if found}


def left(values: list[dict[str, str]], transforms: list[dict[str, Any]]) -> pd.DataFrame:
    """The rows that the transforms which choose rows and values leave."""
    rows = pd.DataFrame(values)
    for step in transforms:
        if "filter" in step:
            rows = rows.query(step["filter"].replace("datum.", ""))
        elif "joinaggregate" in step and step["joinaggregate"][0]["field"] == "place":
            rows = rows.assign(last=rows.groupby(step["groupby"])["place"].transform("max"))
        elif step.get("calculate", "").startswith("indexof"):
            parts = ast.literal_eval(step["calculate"].removeprefix("indexof(").removesuffix(", datum.part)"))
            assert parts == list(SCORED)
            rows = rows.assign(place=rows["part"].map(parts.index))
        elif step.get("as") == "shown":
            assert step["calculate"] == "isValid(toNumber(datum.f1)) ? toNumber(datum.f1) : toNumber(datum.pckh)"
            rows = rows.assign(shown=pd.to_numeric(rows["f1"]).fillna(pd.to_numeric(rows.get("pckh"))))
    return rows


@pytest.mark.parametrize(("dataset", "part"), [("camera_trap", UNSEEN), ("activity", TEST)])
def test_a_plot_of_each_model_shows_the_last_part_that_it_has(plots: dict[str, Any], dataset: str, part: str) -> None:
    of_dataset = [key for key, entry in MODELS.items() if entry["dataset"] == dataset]
    assert of_dataset
    for key in of_dataset:
        by_class = plots[f"metrics/{dataset}/{key}.classes.csv"]
        rows = left(by_class["data"]["values"], by_class["transform"])
        assert set(rows["part"]) == {part} and rows["shown"].notna().any(), key
        assert by_class["encoding"]["x"]["field"] == "shown" and rows["label"].is_unique
        if key == "activity-pose":
            continue  # joints are not confused with each other
        confusion = plots[f"metrics/{dataset}/{key}.confusion.csv"]
        rows = left(confusion["data"]["values"], confusion["spec"]["transform"])
        assert set(rows["part"]) == {part} and set(rows["level"]) == {"picture"}, key
        assert not rows[["actual", "predicted"]].duplicated().any()
        curve = plots[f"metrics/{dataset}/{key}.pr.csv"]
        rows = left(curve["data"]["values"], curve["transform"])
        assert set(rows["part"]) == {part} and set(rows["label"]) == {ALL} and len(rows) <= MOST_POINTS, key
        assert pd.to_numeric(rows["recall"]).is_monotonic_increasing and rows["score"].astype(float).is_monotonic_decreasing
        reliability = plots[f"metrics/{dataset}/{key}.reliability.csv"]
        diagonal, drawn = reliability["layer"]
        assert diagonal["data"]["values"] == [{"from": 0, "to": 1}]
        rows = left(reliability["data"]["values"], drawn["transform"])
        assert set(rows["part"]) == {part} and set(rows["scores"]) == set(drawn["encoding"]["strokeDash"]["scale"]["domain"]), (
            key
        )


@pytest.mark.parametrize("kind", ["pr", "reliability"])
def test_what_the_templates_draw_is_in_the_tables(plots: dict[str, Any], kind: str) -> None:
    """A field that no row has would draw nothing, in silence."""
    plot = plots[f"metrics/posture/posture-vit-transfer.{kind}.csv"]
    encodings = plot["layer"][1]["encoding"] if kind == "reliability" else plot["encoding"]
    fields = {channel: about["field"] for channel, about in encodings.items() if isinstance(about, dict) and "field" in about}
    assert set(fields.values()) <= {*plot["data"]["values"][0]}
    axes = {"pr": ("recall", "precision"), "reliability": ("confidence", "accuracy")}[kind]
    assert (fields["x"], fields["y"], fields["color"]) == (*axes, "rev")


@pytest.mark.parametrize("key", MODELS)
def test_every_model_has_a_curve_and_no_template_is_left_open(plots: dict[str, Any], key: str) -> None:
    of_model = {name: plot for name, plot in plots.items() if Path(name).name.startswith(f"{key}.")}
    assert len(of_model[f"metrics/{MODELS[key]['dataset']}/{key}.curve.csv"]["data"]["values"]) > 1
    assert not [name for name, plot in of_model.items() if "<DVC_METRIC" in json.dumps(plot)]


def test_plots_diff_shows_two_experiments_side_by_side(tmp_path: Path) -> None:
    one, other = (ROOT / f"metrics/camera_trap/camera_trap-{name}" for name in ("yolov5m-class", "yolov5x-location"))
    (tmp_path / "metrics/camera_trap").mkdir(parents=True)
    shutil.copytree(ROOT / ".dvc/plots", tmp_path / ".dvc/plots")
    for name in (".dvc/config", "dvc.yaml", "params.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)
    kinds = ("curve", "classes", "confusion", "pr", "reliability")
    files = [f"metrics/camera_trap/{one.name}.{kind}.csv" for kind in kinds]
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main"]
    subprocess.run([*git, "init", "-q"], cwd=tmp_path, check=True)
    for of in (one, other):
        for kind, file in zip(kinds, files, strict=True):
            shutil.copy(of.with_name(f"{of.name}.{kind}.csv"), tmp_path / file)
        for words in (["add", "-A"], ["commit", "-qm", of.name]):
            subprocess.run([*git, *words], cwd=tmp_path, check=True)
    words = [sys.executable, "-m", "dvc", "plots", "diff", "HEAD~1", "HEAD", "--json", "-o", "drawn", "--targets", *files]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)["data"]
    assert {*found} == {*files}
    for kind, file in zip(kinds, files, strict=True):
        values = pd.DataFrame(found[file][0]["content"]["data"]["values"])
        for of, rev in ((one, "HEAD~1"), (other, "HEAD")):
            expected = pd.read_csv(of.with_name(f"{of.name}.{kind}.csv"), dtype=str, keep_default_na=False)
            assert values.loc[values["rev"] == rev, expected.columns].to_numpy().tolist() == expected.to_numpy().tolist(), file
        assert "<DVC_METRIC" not in json.dumps(found[file])
