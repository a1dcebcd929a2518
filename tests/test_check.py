"""The check of the whole params.yaml: an entry that cannot run is named before anything runs."""

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.serialize import load_yaml, modify_yaml

from stages.check import check_all
from stages.files import DataError, read_json

PARAMS = Path(__file__).parent.parent / "params.yaml"
SHARES = {"train": 0.6, "val": 0.4}
EVERYTHING = {
    "download": {"adapter": "caltech_camera_traps", "source": "embedded", "embedded": {"images": 60}},
    "clean": {},
    "split": {"class": {**SHARES}, "location": {**SHARES}},
    "seeds": 1,
}
STRATIFIED = {"test": 0.4, "val": 0.2, "versions": {"pose": {"train": 20}, "sport": {"apart_from": "pose"}}}
PEOPLE = {
    "download": {"adapter": "mpii", "source": "embedded", "embedded": {"images": 60}},
    "clean": {},
    "split": {"seen": 0, "stratified": STRATIFIED},
    "seeds": 2,
}
CLIPS = {
    "download": {"adapter": "clip_folders", "source": "path:/data/river"},
    "clean": {},
    "split": {"seen": 0, "balanced": {"val": 1, "test": 2, "versions": {"many": 4}}},
    "seeds": 1,
}
SLOWFAST = {"crop_px": 32, "scale_px": [32, 40], "epochs": 1, "warmup_epochs": 0, "batch_size": 8, "learning_rate": 0.01}
IMAGE = {"architecture": "test_resnet", "image_px": 32, "epochs": 1, "batch_size": 8, "learning_rate": 0.001}


NOTHING = "data/params.checked.json"
SYNTHETIC = {
    "generator": "renderer", "using": {"side_px": 64}, "actions": {"fox": "a fox"}, "species": ["fox"], "views": ["side"],
    "prompt": "{action} {species} {view}", "fill_to": 5,
}  # fmt: skip


def profiles(value: Any) -> dict[str, Any]:
    return {name: copy.deepcopy(value) for name in ("smoke", "embedded", "paper")}


YOLO = {"architecture": "yolov8n-pose", "image_px": 64, "epochs": 1, "batch_size": 8}
HEATMAP = {"inputs": "rgb_heatmap", "architecture": "test_efficientnet", "epochs": 1, "batch_size": 8, "learning_rate": 0.001}


def model(lists: str = "data/splits/wood/class", needs: str = "data/params.checked.json", **more: Any) -> dict[str, Any]:
    of = {"dataset": "wood", "tables": "data/clean/wood", "lists": lists, "needs": needs, "family": "image"}
    return {**of, **profiles(IMAGE), **more}


def of_people(version: str, needs: str, family: str, settings: dict[str, Any]) -> dict[str, Any]:
    of = {"dataset": "town", "tables": "data/boxes/town", "family": family, **profiles(settings)}
    return model(f"data/splits/town/{version}", needs, **of)


@pytest.fixture
def params() -> dict[str, Any]:
    """All that may stand in the file, each kind once or twice, and nothing wrong."""
    return {
        "profile": "smoke",
        "seed": 3,
        "datasets": {
            "wood": {"cut": "data/clean/wood", "tables": "data/clean/wood", "shows": NOTHING, **profiles(EVERYTHING)},
            "field": {
                "cut": "data/clean/field",
                "tables": "data/clean/field",
                "shows": "data/synthetic/field",
                **profiles(EVERYTHING),
            },
            "town": {"cut": "data/boxes/town", "tables": "data/boxes/town", "shows": "data/heatmaps/town", **profiles(PEOPLE)},
            "river": {"cut": "data/clean/river", "tables": "data/clips/river", "shows": NOTHING, **profiles(CLIPS)},
        },
        "evaluate": {"draws": 50},
        "compare": {"wood": {"references": {"judge": ["judge"]}}},
        "pretrained": {
            "start": {
                "family": "image",
                "draws": "camera_trap",
                **profiles({"draw": {"images": 60, "locations": 12}, "train": IMAGE}),
            },
            "none": {"family": "image", "draws": "camera_trap", **profiles({"draw": None, "train": None})},
            "people": {"family": "yolo", "draws": "activity", **profiles({"draw": {"images": 60}, "train": YOLO})},
        },
        "harder": {"wood": {"base": "data/splits/wood/class", "judged": "data/answers/wood/judge", **profiles({"weakest": 2})}},
        "synthetic": {"field": {"base": "data/splits/field/class", "agree": NOTHING, "family": "image", **profiles(SYNTHETIC)}},
        "bboxes": {"town": profiles({"head_padding": 0.2})},
        "heatmaps": {
            "town": {
                "tables": "data/boxes/town",
                "lists": "data/splits/town/sport",
                "pose": "models/joints",
                "family": "yolo",
                **profiles({"height_px": 30, "width_px": 40, "sigma_px": 1.0}),
            }
        },
        "clips": {"river": profiles({"short_side_px": 40})},
        "models": {
            "judge": model(),
            "started": model(needs="models/start"),
            "upsampled": model(lists="data/harder/wood/upsampled"),
            "second": model(lists="data/splits/wood/location", needs="data/predictions/wood/judge"),
            "joints": of_people("pose", "models/people", "yolo", YOLO),
            "sport": of_people("sport", "data/heatmaps/town", "heatmap", HEATMAP),
            "swims": {
                **model("data/splits/river/many", dataset="river", tables="data/clips/river", family="slowfast"),
                **profiles(SLOWFAST),
            },
        },
    }


def put(params: dict[str, Any], path: str, value: Any) -> None:
    *above, last = path.split("/")
    for key in above:
        params = params[key]
    params[last] = value


def refusal(params: dict[str, Any]) -> str:
    with pytest.raises(DataError) as caught:
        check_all(params)
    said = str(caught.value)
    assert said.startswith("params.yaml: ")
    assert len(said.splitlines()) == 1
    return said.removeprefix("params.yaml: ")


def test_the_shipped_file_holds_the_same_after_dvc_wrote_it_anew(tmp_path: Path) -> None:
    """As `dvc exp run -S` does, without quotes: in {...} its parser takes no `word:value` then. Such stands on lines of its own."""
    copied = shutil.copy(PARAMS, tmp_path / "params.yaml")
    with modify_yaml(copied):
        pass
    assert load_yaml(copied) == load_yaml(PARAMS)


def test_all_well_is_counted(params: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        check_all(params) == 2 + 4 * 12 + 3 * 3 + 5 * 3 + 7 * 3
    )  # evaluate and compare, data sets, pretrained, one each of harder, synthetic, bboxes, heatmaps and clips, models
    assert capsys.readouterr().out == ""


def test_a_file_with_nothing_that_may_be_left_out_is_well(params: dict[str, Any]) -> None:
    params["datasets"]["field"]["shows"] = NOTHING
    del (
        params["pretrained"],
        params["harder"],
        params["synthetic"],
        params["bboxes"],
        params["heatmaps"],
        params["clips"],
        params["datasets"]["town"],
        params["datasets"]["river"],
    )
    params["models"] = {"judge": model()}
    assert check_all(params) == 2 + 2 * 12 + 3


SPLITS = "data/splits/wood/location, data/splits/wood/class, data/splits/wood/official"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("model", {}, "unknown key `model`. Allowed: profile, seed, datasets, evaluate, compare, pretrained, harder, synthetic, bboxes, "),
        ("profile", "quick", "profile: given 'quick': allowed: smoke, embedded, paper"),
        ("seed", "3", "seed: given '3': a whole number is wanted"),
        ("compare/wodd", {}, "compare.wodd: given 'wodd': allowed: wood"),
        ("compare/wood/document", ["second"], "compare.wood: given"),
        ("compare/wood/references/judge", ["sport"], "compare.wood.references.judge: given 'sport': allowed: judge, started"),
        ("compare/wood/claims", {"up": {"better": "judge", "than": "jduge"}}, "compare.wood.claims.up.than: given 'jduge': allowed: judge"),
        ("evaluate/drawz", 5, "evaluate.drawz: unknown key. Did you mean `draws`?"),
        ("datasets/wood/paper/split/class/val", 0.5, "datasets.wood.paper.split.class: given"),
        ("datasets/wood/smoke/shuffle", {}, "datasets.wood.smoke: wants download, clean, split, seeds; look at shuffle"),
        ("datasets/wood/smoke/seeds", 0, "datasets.wood.smoke.seeds: given 0: Input should be greater than 0"),
        ("datasets/look", {"tables": "data/clean/look", "shows": NOTHING, **profiles(EVERYTHING)},
         "datasets.look: choose another name: data/raw/look is the stage `look`'s"),
        ("synthetic/field/base", "data/splits/field/none",
         "synthetic.field.base: given 'data/splits/field/none': allowed: data/splits/field/location, data/splits/field/class"),
        ("synthetic/field/agree", "models/judge",  # of another data set
         "synthetic.field.agree: given 'models/judge': allowed: data/params.checked.json"),
        ("synthetic/field/smoke/using/sides_px", 3, "synthetic.field.smoke.using.sides_px: unknown key. Did you mean `side_px`?"),
        ("synthetic/field/paper/count", {"fox": 1}, "synthetic.field.paper: given"),
        ("datasets/wood/shows", "data/heatmaps/wood",
         "datasets.wood.shows: given 'data/heatmaps/wood': allowed: data/params.checked.json"),
        ("datasets/town/shows", NOTHING, "datasets.town.shows: given 'data/params.checked.json': allowed: data/heatmaps/town"),
        ("datasets/wood/tables", "data/boxes/wood",
         "datasets.wood.tables: given 'data/boxes/wood': allowed: data/clean/wood"),
        ("datasets/town/tables", "data/clean/town",  # without a person's box
         "datasets.town.tables: given 'data/clean/town': allowed: data/boxes/town"),
        ("datasets/wood/table", "data/clean/wood", "datasets.wood.table: unknown key. Did you mean `tables`?"),
        ("datasets/town/paper/split/stratified/versions/sport/apart_from", "poses",
         "datasets.town.paper.split.stratified: given "),
        ("models/judge/dataset", "woods", "models.judge.dataset: given 'woods': allowed: wood, field, town"),
        ("models/judge/version", "class", "models.judge.version: unknown key. Allowed here: dataset, family, lists, needs, tables"),
        ("models/judge/tables", "data/clean/field", "models.judge.tables: given 'data/clean/field': allowed: data/clean/wood"),
        ("models/sport/tables", "data/clean/town", "models.sport.tables: given 'data/clean/town': allowed: data/boxes/town"),
        ("models/judge/smoke/epoch", 2, "models.judge.smoke.epoch: unknown key. Did you mean `epochs`?"),
        ("models/a.b", model(), "models: the name 'a.b': a letter or digit, then letters, digits, - and _ alone: it becomes part of "),
        ("models/second/lists", "data/splits/wood/klass",
         f"models.second.lists: given 'data/splits/wood/klass': allowed: {SPLITS}, "
         "data/harder/wood/upsampled, data/harder/wood/isolated"),
        ("models/second/lists", "data/splits/field/class", "models.second.lists: given 'data/splits/field/class': allowed: "),
        ("models/second/lists", "class", "models.second.lists: given 'class': allowed: "),
        ("models/judge/needs", "models/finish",
         "models.judge.needs: given 'models/finish': allowed: data/params.checked.json, models/start, models/none, "
         "models/people, data/predictions/wood/started, data/predictions/wood/upsampled, data/predictions/wood/second"),
        ("models/judge/needs", "data/predictions/wood/judge", "models.judge.needs: given 'data/predictions/wood/judge': allowed: "),
        ("models/judge/needs", "models/judge", "models.judge.needs: given 'models/judge': allowed: "),
        ("models/judge/needs", "data/predictions/field/started", "models.judge.needs: given "),
        ("models/judge/needs", "data/predictions/wood/joints", "models.judge.needs: given "),  # of another data set
        ("models/judge/needs", "data/heatmaps/wood", "models.judge.needs: given 'data/heatmaps/wood': allowed: "),
        ("models/joints/lists", "data/splits/town/poses",
         "models.joints.lists: given 'data/splits/town/poses': allowed: data/splits/town/location, data/splits/town/class, "
         "data/splits/town/official, data/splits/town/pose, data/splits/town/sport"),
        ("models/sport/lists", "data/splits/town/pose",  # whose pictures have no heatmap
         "models.sport.lists: given 'data/splits/town/pose': allowed: data/splits/town/sport"),
        ("models/sport/needs", "data/params.checked.json",
         "models.sport.smoke: family heatmap is shown stored heatmaps, and needs is data/params.checked.json: "
         "name data/heatmaps/town"),
        ("models/sport/paper/inputs", "depth", "models.sport.paper.inputs: given 'depth': Input should be 'rgb_heatmap', "),
        ("pretrained/judge", {"family": "image", "draws": "camera_trap", **profiles({})},
         "pretrained.judge: a model has this name too: both write models/judge"),
        ("pretrained/start/paper", {"draw": None, "train": {**IMAGE, "epochs": 0}},
         "pretrained.start.paper.train.epochs: given 0: Input should be greater than 0"),
        ("pretrained/start/smoke/train/epochz", 1, "pretrained.start.smoke.train.epochz: unknown key. Did you mean `epochs`?"),
        ("pretrained/start/smoke/draw/images", "60", "pretrained.start.smoke.draw.images: given '60'"),
        ("pretrained/start/smoke/draw/location", 3, "pretrained.start.smoke.draw.location: unknown key. Did you mean `locations`?"),
        ("pretrained/people/paper/draw/locations", 3, "pretrained.people.paper.draw.locations: unknown key. Allowed here: "),
        ("pretrained/start/smoke/val", 1.0, "pretrained.start.smoke.val: given 1.0"),
        ("pretrained/start/draws", "birds", "pretrained.start.draws: given 'birds': allowed: camera_trap, activity"),
        ("pretrained/start/dataset", "wood", "pretrained.start.dataset: unknown key. Allowed here: draws, family"),
        ("bboxes/woods", profiles({}), "bboxes.woods: given 'woods': allowed: wood, field, town"),
        ("bboxes/town/paper/head_padding", -0.1, "bboxes.town.paper.head_padding: given -0.1"),
        ("bboxes/town/tables", "data/clean/town", "bboxes.town.tables: unknown key. Allowed here: "),
        ("heatmaps/town/tables", "data/clean/town", "heatmaps.town.tables: given 'data/clean/town': allowed: data/boxes/town"),
        ("heatmaps/town/lists", "data/splits/town/class",
         "heatmaps.town.lists: given 'data/splits/town/class': allowed: data/splits/town/pose, data/splits/town/sport"),
        ("heatmaps/town/pose", "models/sport", "heatmaps.town.pose: given 'models/sport': allowed: models/joints"),
        ("heatmaps/town/family", "image", "heatmaps.town.pose: given 'models/joints': allowed: models/judge, "),
        ("heatmaps/town/embedded/per_shard", 1, "heatmaps.town.embedded.per_shard: given 1"),
        ("harder/wood/base", "data/splits/field/class", f"harder.wood.base: given 'data/splits/field/class': allowed: {SPLITS}"),
        ("harder/wood/judged", "data/answers/wood/second",  # a model of another version saw other pictures
         "harder.wood.judged: given 'data/answers/wood/second': allowed: data/answers/wood/judge, "
         "data/answers/wood/started"),
        ("harder/wood/judged", "data/answers/wood/upsampled", "harder.wood.judged: given "),
        ("harder/wood/judged", "data/predictions/wood/judge", "harder.wood.judged: given 'data/predictions/wood/judge': allowed: "),
        ("harder/wood/paper", {"isolate": "blur"}, "harder.wood.paper.isolate: given 'blur'"),
    ],
)  # fmt: skip
def test_what_cannot_run_is_named(params: dict[str, Any], path: str, value: Any, message: str) -> None:
    put(params, path, value)
    assert refusal(params).startswith(message)


@pytest.mark.parametrize("kind", ["pretrained/start", "models/judge"])
def test_an_unknown_family_is_named(params: dict[str, Any], kind: str) -> None:
    put(params, f"{kind}/family", "imago")
    with pytest.raises(DataError, match=r"params.yaml: \w+\.\w+\.family: given 'imago': allowed: .*image"):
        check_all(params)


@pytest.mark.parametrize(
    "path", ["datasets/wood", "pretrained/start", "harder/wood", "bboxes/town", "heatmaps/town", "models/judge"]
)
def test_every_entry_has_every_profile(params: dict[str, Any], path: str) -> None:
    kind, name = path.split("/")
    del params[kind][name]["paper"]
    assert refusal(params) == f"{kind}.{name}: no profile paper"


def test_a_model_of_a_data_set_that_nothing_makes_harder_has_plain_lists_alone(params: dict[str, Any]) -> None:
    params["models"]["started"] |= {"dataset": "field", "tables": "data/clean/field", "lists": "data/harder/field/upsampled"}
    assert refusal(params) == (
        "models.started.lists: given 'data/harder/field/upsampled': allowed: data/splits/field/location, "
        "data/splits/field/class, data/splits/field/official, data/synthetic/field/added"
    )


def test_a_version_that_the_profile_does_not_make_is_a_note(params: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    del params["datasets"]["wood"]["smoke"]["split"]["location"]
    check_all(params)
    where = "datasets.wood.smoke.split makes class, not location"
    assert capsys.readouterr().out == f"note: second cannot run: {where}. Run the others by name\n"


@pytest.mark.parametrize("profile", ["smoke", "paper"])
def test_a_stratified_version_that_another_profile_makes_is_a_note(
    params: dict[str, Any], capsys: pytest.CaptureFixture[str], profile: str
) -> None:
    del params["datasets"]["town"]["smoke"]["split"]["stratified"]["versions"]["sport"]
    params["profile"] = profile
    check_all(params)
    where = "datasets.town.smoke.split makes pose, not sport"
    assert capsys.readouterr().out == (
        f"note: sport cannot run: {where}. Run the others by name\n" if profile == "smoke" else ""
    )


def test_the_stage_writes_a_mark_when_all_is_well_and_none_when_not(
    stage: Callable[..., Any], params: dict[str, Any], tmp_path: Any
) -> None:
    done = stage("check", "--out", tmp_path / "checked.json", params=params)
    assert (done.code, done.out) == (0, "params.yaml: 95 sections, all well\n")
    assert read_json(tmp_path / "checked.json") == {"sections": "all well"}
    (tmp_path / "checked.json").unlink()
    params["seed"] = None
    done = stage("check", "--out", tmp_path / "checked.json", params=params)
    assert done.code == 1
    assert done.err == "error: params.yaml: seed: given None: a whole number is wanted, from 0 to 2^63 - 1\n"
    assert not (tmp_path / "checked.json").exists()
