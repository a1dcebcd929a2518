"""`dvc plots show` of the figures in git: what the templates' filters, applied here as Vega-Lite does, leave to be drawn."""

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

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


@pytest.mark.parametrize("key", MODELS)
def test_every_model_has_a_curve_and_no_template_is_left_open(plots: dict[str, Any], key: str) -> None:
    of_model = {name: plot for name, plot in plots.items() if Path(name).name.startswith(f"{key}.")}
    assert len(of_model[f"metrics/{MODELS[key]['dataset']}/{key}.curve.csv"]["data"]["values"]) > 1
    assert not [name for name, plot in of_model.items() if "<DVC_METRIC" in json.dumps(plot)]
