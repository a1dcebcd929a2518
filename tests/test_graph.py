"""dvc.yaml, params.yaml and the code must say the same: what a stage imports, reads and writes is what it declares."""

import shlex
from pathlib import Path
from typing import Any

import networkx
import pytest
import yaml
from dvc.repo import Repo

from stages.chosen import chosen
from stages.imports import stages_of_code
from tests.graph_helpers import ALONE, STAGES_OF

ROOT = Path(__file__).parent.parent
PROFILES = ("smoke", "embedded", "paper")
PARAMS: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())


@pytest.fixture(scope="module", params=PROFILES)
def repo(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """The shipped graph with each profile switched on, loaded by DVC itself."""
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "look").mkdir()
    for name in ("stages", "dvc.yaml", "look/dvc.yaml"):
        (folder / name).symlink_to(ROOT / name)
    text = (ROOT / "params.yaml").read_text()
    (folder / "params.yaml").write_text(text.replace("\nprofile: embedded\n", f"\nprofile: {request.param}\n"))
    assert f"\nprofile: {request.param}\n" in (folder / "params.yaml").read_text()
    return Repo.init(str(folder), no_scm=True)


def option(words: list[str], name: str) -> str:
    return words[words.index(name) + 1]


def family_of(words: list[str]) -> str | None:
    """The family that a command loads by name: the one it is told, or that of the model it is given."""
    if "--pose" in words:
        return PARAMS["models"][Path(option(words, "--pose")).name]["family"]
    if "--agree" in words:
        return PARAMS["synthetic"][Path(option(words, "--out")).name]["family"]
    return option(words, "--family") if "--family" in words else None


def test_every_entry_has_its_stages(repo: Repo) -> None:
    assert len(repo.index.stages) == ALONE + sum(times * len(PARAMS[name]) for name, times in STAGES_OF.items())


def test_every_stage_depends_on_the_list_of_its_own_code(repo: Repo) -> None:
    lists = {name for name, _ in stages_of_code()}
    for stage in repo.index.stages:
        if stage.name == "code":
            continue  # it lists what all are made of, and depends on the whole package
        words = shlex.split(stage.cmd)
        family = family_of(words)
        name = words[2].removeprefix("stages.") + (f"-{family}" if family else "")
        declared = {dep.def_path for dep in stage.deps if dep.def_path.startswith("data/code/")}
        assert declared == {f"data/code/{name}.json"} and name in lists, stage.addressing


def test_every_stage_depends_on_what_it_is_told(repo: Repo) -> None:
    (profile,) = (name for name in PROFILES if f"\nprofile: {name}\n" in Path(repo.root_dir, "params.yaml").read_text())
    files = set(chosen(PARAMS | {"profile": profile}))
    for stage in repo.index.stages:
        words = shlex.split(stage.cmd)
        told = {option(words, name).replace(f".{profile}", "") for name in ("--params", "--seeds") if name in words}
        declared = {Path(dep.def_path).stem for dep in stage.deps if dep.def_path.startswith("data/params/")}
        assert told == declared and told <= files, stage.addressing


def test_scoring_code_retrains_nothing_and_a_family_its_own_models_alone(repo: Repo) -> None:
    lists = {
        f"data/code/{name}.json": {path.relative_to(ROOT).as_posix() for path in files} for name, files in stages_of_code()
    }
    names = {kind: {*PARAMS[kind]} for kind in ("models", "compare", "datasets", "heatmaps", "harder")}
    evaluated = {f"evaluate@{key}" for key in names["models"]}
    compared = {f"compare@{key}" for key in names["compare"]}
    reports = {f"report@{key}" for key in names["datasets"]} | {"index"}
    heatmaps = {f"heatmaps@{key}" for key in names["heatmaps"]}
    expected = {
        "stages/scores.py": evaluated | {f"harden@{key}" for key in names["harder"]} | compared | reports,
        "stages/compare.py": compared,
        "stages/box_scores.py": evaluated | reports,  # a gallery says which boxes are false
        "stages/pose_scores.py": evaluated,
        "stages/precision_recall.py": evaluated,
        "stages/answers.py": evaluated,
        "stages/report.py": reports,
        "stages/pages/__init__.py": reports,
        "stages/pages/page.css": reports,
        "stages/claims.py": compared,
        "stages/heatmaps.py": heatmaps,
        "stages/stamps.py": heatmaps,
        "stages/predict.py": set(),
    }
    kinds = {"train": "models", "pretrain": "pretrained", "heatmaps": "heatmaps", "synthesize": "synthetic"}
    for family in ("image", "yolo", "heatmap", "slowfast"):
        expected[f"stages/networks/{family}/__init__.py"] = {
            f"{stage}@{key}"
            for stage, kind in kinds.items()
            for key, entry in PARAMS[kind].items()
            if entry["family"] == family
        }
    for file, stages in expected.items():
        touched = {
            stage.name for stage in repo.index.stages if any(file in lists.get(dep.def_path, ()) for dep in stage.deps)
        } - {"check"}  # it imports everything
        assert touched == stages, file


def test_every_path_in_a_command_is_a_dependency_or_an_output(repo: Repo) -> None:
    for stage in repo.index.stages:
        words = shlex.split(stage.cmd)
        paths = [word for word in words if word.startswith(("data/", "models/", "metrics/", "reports/"))]
        known = [entry.def_path for entry in [*stage.deps, *stage.outs] if entry.def_path]
        for path in paths:
            inside = any(entry == path or entry.startswith(f"{path}/") or path.startswith(f"{entry}/") for entry in known)
            assert inside, f"{stage.addressing}: {path} is neither a dependency nor an output"


def test_outputs_are_kept_until_they_can_be_replaced(repo: Repo) -> None:
    for stage in repo.index.stages:
        assert all(out.persist for out in stage.outs), stage.addressing


def test_model_keys_name_their_dataset_and_where_there_are_several_their_version() -> None:
    for key, entry in PARAMS["models"].items():
        assert key.startswith(f"{entry['dataset']}-")
        if "stratified" in PARAMS["datasets"][entry["dataset"]]["paper"]["split"]:
            continue  # each model has its one version
        version = {"many": "100", "few": "10"}.get(name := Path(entry["lists"]).name, name)
        at_608 = version == "class" and entry["paper"]["image_px"] == 608 and key.endswith("-608")
        assert key.endswith(f"-{version}") or at_608


def test_models_are_compared_once_all_are_evaluated_and_before_the_page(repo: Repo) -> None:
    graph = repo.index.graph
    stages = {stage.name: stage for stage in repo.index.stages}
    for dataset in PARAMS["compare"]:
        before = {stage.name for stage in networkx.descendants(graph, stages[f"compare@{dataset}"])}
        assert {f"evaluate@{key}" for key in models_of(dataset)} <= before
        assert f"compare@{dataset}" in {stage.name for stage in networkx.descendants(graph, stages[f"report@{dataset}"])}


def test_the_index_is_of_every_data_set_and_after_all_their_pages(repo: Repo) -> None:
    (index,) = (stage for stage in repo.index.stages if stage.name == "index")
    folders = {dep.def_path for dep in index.deps if dep.def_path.startswith("reports/")}
    assert folders == {f"reports/{name}" for name in PARAMS["datasets"]}, "list every data set of params.yaml in dvc.yaml"
    before = {stage.name for stage in networkx.descendants(repo.index.graph, index)}
    assert {f"report@{name}" for name in PARAMS["datasets"]} <= before


def models_of(dataset: str) -> dict[str, Any]:
    return {key: entry for key, entry in PARAMS["models"].items() if entry["dataset"] == dataset}


def test_every_row_of_the_document_of_camera_traps_is_a_model() -> None:
    rows = {
        "location": "alexnet vgg19 resnext50 efficientdet yolov5n yolov5s yolov5m yolov5l yolov5x",
        "class": "alexnet resnext50 yolov5n yolov5s yolov5m crop-efficientnet",
        "upsampled": "alexnet resnext50 yolov5m",
        "isolated": "alexnet resnext50 yolov5m",
        "608": "yolov5m",
    }
    assert set(models_of("camera_trap")) == {
        f"camera_trap-{name}-{version}" for version, names in rows.items() for name in names.split()
    }


def test_every_row_of_the_document_of_activities_is_a_model() -> None:
    rows = {"activity-pose": "pose", "activity-rgb-heatmap": "activity", "activity-rgb": "activity",
            "activity-heatmap": "activity", "activity-truth-heatmap": "activity"}  # fmt: skip
    found = models_of("activity")
    assert {key: Path(entry["lists"]).name for key, entry in found.items()} == rows
    for profile in PROFILES:
        shown = {key: entry[profile].get("inputs") for key, entry in found.items()}
        assert shown == {"activity-pose": None, "activity-rgb-heatmap": "rgb_heatmap", "activity-rgb": "rgb",
                         "activity-heatmap": "heatmap", "activity-truth-heatmap": "rgb_truth"}  # fmt: skip


def test_ablations_differ_in_what_they_are_shown_alone() -> None:
    """Else a row of the table says something else than its name."""
    second = [entry for entry in models_of("activity").values() if entry["family"] == "heatmap"]
    assert len(second) == 4
    for profile in PROFILES:
        settings = [{**entry[profile], "inputs": ...} for entry in second]
        assert settings == settings[:1] * 4
    assert [[*entry] for entry in second] == [[*second[0]]] * 4
    assert len({(entry["tables"], entry["lists"], entry["needs"]) for entry in second}) == 1


def test_heatmaps_are_made_for_the_pictures_that_their_models_are_of() -> None:
    for key, entry in PARAMS["heatmaps"].items():
        readers = [model for model in PARAMS["models"].values() if model["needs"] == f"data/heatmaps/{key}"]
        assert readers and all((model["tables"], model["lists"]) == (entry["tables"], entry["lists"]) for model in readers)


def test_heatmaps_are_of_pictures_that_the_pose_model_did_not_learn_from() -> None:
    """Else the heatmaps of train are better than those of test."""
    for key, entry in PARAMS["heatmaps"].items():
        learned = Path(PARAMS["models"][Path(entry["pose"]).name]["lists"]).name
        for profile in PROFILES:
            versions = PARAMS["datasets"][key][profile]["split"]["stratified"]["versions"]
            assert versions[Path(entry["lists"]).name]["apart_from"] == learned
