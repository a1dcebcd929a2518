"""The check of the whole params.yaml: an entry that cannot run is named before anything runs."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from stages.check import check_all
from stages.files import DataError, read_json

SHARES = {"train": 0.6, "val": 0.4}
EVERYTHING = {
    "download": {"adapter": "caltech_camera_traps", "source": "embedded", "embedded": {"images": 60}},
    "clean": {},
    "split": {"class": {**SHARES}, "location": {**SHARES}},
}
IMAGE = {"architecture": "test_resnet", "image_px": 32, "epochs": 1, "batch_size": 8, "learning_rate": 0.001}


def profiles(value: Any) -> dict[str, Any]:
    return {name: copy.deepcopy(value) for name in ("smoke", "embedded", "paper")}


def model(lists: str = "data/splits/wood/class", needs: str = "data/params.checked.json", **more: Any) -> dict[str, Any]:
    return {"dataset": "wood", "lists": lists, "needs": needs, "family": "image", **profiles(IMAGE), **more}


@pytest.fixture
def params() -> dict[str, Any]:
    """All that may stand in the file, each kind once or twice, and nothing wrong."""
    return {
        "profile": "smoke",
        "seed": 3,
        "datasets": {"wood": profiles(EVERYTHING), "field": profiles(EVERYTHING)},
        "evaluate": {"draws": 50},
        "pretrained": {
            "start": {"family": "image", **profiles({"draw": {"images": 60, "locations": 12}, "train": IMAGE})},
            "none": {"family": "image", **profiles({"draw": None, "train": None})},
        },
        "harder": {"wood": {"base": "data/splits/wood/class", "judged": "data/answers/wood/judge", **profiles({"weakest": 2})}},
        "models": {
            "judge": model(),
            "started": model(needs="models/start"),
            "upsampled": model(lists="data/harder/wood/upsampled"),
            "second": model(lists="data/splits/wood/location", needs="data/predictions/wood/judge"),
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


def test_all_well_is_counted(params: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert check_all(params) == 1 + 2 * 9 + 2 * 3 + 3 + 4 * 3  # evaluate, data sets, pretrained, harder, models
    assert capsys.readouterr().out == ""


def test_a_file_without_pretrained_and_harder_is_well(params: dict[str, Any]) -> None:
    del params["pretrained"], params["harder"]
    params["models"] = {"judge": model()}
    assert check_all(params) == 1 + 2 * 9 + 3


SPLITS = "data/splits/wood/location, data/splits/wood/class, data/splits/wood/official"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("model", {}, "unknown key `model`. Allowed: profile, seed, datasets, evaluate, pretrained, harder, models"),
        ("profile", "quick", "profile: given 'quick': allowed: smoke, embedded, paper"),
        ("seed", "3", "seed: given '3': a whole number is wanted"),
        ("evaluate/drawz", 5, "evaluate.drawz: unknown key. Did you mean `draws`?"),
        ("datasets/wood/paper/split/class/val", 0.5, "datasets.wood.paper.split.class: given"),
        ("datasets/wood/smoke/shuffle", {}, "datasets.wood.smoke: wants download, clean, split; look at shuffle"),
        ("models/judge/dataset", "woods", "models.judge.dataset: given 'woods': allowed: wood, field"),
        ("models/judge/version", "class", "models.judge.version: unknown key. Allowed here: dataset, family, lists, needs"),
        ("models/judge/smoke/epoch", 2, "models.judge.smoke.epoch: unknown key. Did you mean `epochs`?"),
        ("models/a.b", model(), "models.a.b: a key may hold no dot: DVC reads it as a path"),
        ("models/second/lists", "data/splits/wood/klass",
         f"models.second.lists: given 'data/splits/wood/klass': allowed: {SPLITS}, "
         "data/harder/wood/upsampled, data/harder/wood/isolated"),
        ("models/second/lists", "data/splits/field/class", "models.second.lists: given 'data/splits/field/class': allowed: "),
        ("models/second/lists", "class", "models.second.lists: given 'class': allowed: "),
        ("models/judge/needs", "models/finish",
         "models.judge.needs: given 'models/finish': allowed: data/params.checked.json, models/start, models/none, "
         "data/predictions/wood/started, data/predictions/wood/upsampled, data/predictions/wood/second"),
        ("models/judge/needs", "data/predictions/wood/judge", "models.judge.needs: given 'data/predictions/wood/judge': allowed: "),
        ("models/judge/needs", "models/judge", "models.judge.needs: given 'models/judge': allowed: "),
        ("models/judge/needs", "data/predictions/field/started", "models.judge.needs: given "),
        ("pretrained/judge", {"family": "image", **profiles({})},
         "pretrained.judge: a model has this name too: both write models/judge"),
        ("pretrained/start/paper", {"draw": None, "train": {**IMAGE, "epochs": 0}},
         "pretrained.start.paper.train.epochs: given 0: Input should be greater than 0"),
        ("pretrained/start/smoke/train/epochz", 1, "pretrained.start.smoke.train.epochz: unknown key. Did you mean `epochs`?"),
        ("pretrained/start/smoke/draw/images", 0, "pretrained.start.smoke.draw.images: given 0"),
        ("pretrained/start/smoke/draw/val", 1.0, "pretrained.start.smoke.draw.val: given 1.0"),
        ("pretrained/start/dataset", "wood", "pretrained.start.dataset: unknown key. Allowed here: family"),
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
    with pytest.raises(DataError, match="no model family `imago`. There is: .*image"):
        check_all(params)


@pytest.mark.parametrize("path", ["datasets/wood", "pretrained/start", "harder/wood", "models/judge"])
def test_every_entry_has_every_profile(params: dict[str, Any], path: str) -> None:
    kind, name = path.split("/")
    del params[kind][name]["paper"]
    assert refusal(params) == f"{kind}.{name}: no profile paper"


def test_a_model_of_a_data_set_that_nothing_makes_harder_has_plain_lists_alone(params: dict[str, Any]) -> None:
    params["models"]["started"] |= {"dataset": "field", "lists": "data/harder/field/upsampled"}
    assert refusal(params) == (
        "models.started.lists: given 'data/harder/field/upsampled': allowed: data/splits/field/location, "
        "data/splits/field/class, data/splits/field/official"
    )


def test_a_version_that_the_profile_does_not_make_is_a_note(params: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    del params["datasets"]["wood"]["smoke"]["split"]["location"]
    check_all(params)
    where = "datasets.wood.smoke.split makes class, not location"
    assert capsys.readouterr().out == f"note: second cannot run: {where}. Run the others by name\n"


def test_the_stage_writes_a_mark_when_all_is_well_and_none_when_not(
    stage: Callable[..., Any], params: dict[str, Any], tmp_path: Any
) -> None:
    done = stage("check", "--out", tmp_path / "checked.json", params=params)
    assert (done.code, done.out) == (0, "params.yaml: 40 sections, all well\n")
    assert read_json(tmp_path / "checked.json") == {"sections": "all well"}
    (tmp_path / "checked.json").unlink()
    params["seed"] = None
    done = stage("check", "--out", tmp_path / "checked.json", params=params)
    assert done.code == 1
    assert done.err == "error: params.yaml: seed: given None: a whole number is wanted\n"
    assert not (tmp_path / "checked.json").exists()
