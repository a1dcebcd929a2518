"""Nothing hostile gets through: names that reach a shell, weights and tables that would run code, links, and the locked packages.

What of this other files test, and why it is so, is in docs/security.md. Every attack here creates a file; where it could be, the
attack is shown to work on whoever does not look.
"""

import copy
import errno
import inspect
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.torch
import torch
import yaml

from stages import backbones, networks
from stages.check import check_all
from stages.clean_videos import inspect_video
from stages.files import DataError, read_json, sha256_file, write_json, write_manifest
from stages.generators import Wanted
from stages.networks import efficientdet, yolo
from stages.networks.yolo.network import YoloSettings, build, describe, read_checkpoint
from stages.pictures import UnreadablePicture
from tests.clip_helpers import every, write_video
from tests.pipeline_helpers import ROOT, call, make_clone
from tests.predict_helpers import paint
from tests.synthesize_helpers import open_generator
from tests.test_predict import Command, command  # noqa: F401  a fixture
from tests.test_stable_diffusion import tiny, using  # noqa: F401  a fixture

PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
EMPTIES = Path("nothing")


class Hostile:
    """Unpickling this creates a folder: what an attacker's code would do is worse."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """What an attack would create."""
    return tmp_path / "attacked"


@pytest.fixture
def bomb(trace: Path) -> bytes:
    """A pickle that works."""
    data = pickle.dumps(Hostile(trace))
    pickle.loads(data)
    trace.rmdir()
    return data


# --- names that become commands and paths ------------------------------------------------------------------------------

NAMES = [
    "../up", "/etc/passwd", ".", "..", "a/b", "a;touch x", "a && touch x", "a|b", "a b", "$(touch x)", "`touch x`", "${HOME}", "a\nb",
    "-x", "--out", "a'b", 'a"b', "*", "a>b", "a\\b", "a.b", "a@b", "~", "#", "\u202eb", "a\x00b", "", 5, True, None,
]  # fmt: skip
KINDS = [kind for kind, entries in PARAMS.items() if isinstance(entries, dict) and kind != "evaluate"]


@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_a_name_that_a_shell_or_a_path_would_take_for_more_is_refused(name: Any) -> None:
    for kind in KINDS:
        said = refusal(PARAMS | {kind: PARAMS[kind] | {name: next(iter(PARAMS[kind].values()))}})
        assert said.startswith(f"params.yaml: {kind}: the name {name!r}: ") and len(said.splitlines()) == 1


def refusal(params: dict[str, Any]) -> str:
    with pytest.raises(DataError) as caught:
        check_all(params)
    return str(caught.value)


@pytest.mark.parametrize("name", ["a;b", "../a", "a b", "$(a)", "a\nb", "", "a/b"])
def test_so_is_a_version_s_name(name: str) -> None:
    params = copy.deepcopy(PARAMS)
    split = params["datasets"]["posture"]["smoke"]["split"]
    split["stratified"]["versions"][name] = {"train": 5}
    with pytest.raises(DataError, match=r"^params\.yaml: datasets\.posture\.smoke\.split\.stratified\.versions"):
        check_all(params)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("profile", "smoke; touch x"),
        ("seed", "1; touch x"),
        ("seed", True),
        ("seed", -1),
        ("seed", 2**63),
        ("evaluate/draws", "9; touch x"),
        ("evaluate/x; touch y", 9),
        ("datasets/posture/cut", "data/clean/posture; touch x"),
        ("datasets/posture/shows", "$(touch x)"),
        ("models/posture-vit-scratch/family", "image; touch x"),
        ("models/posture-vit-scratch/lists", "data/splits/posture/../../../x"),
        ("models/posture-vit-scratch/needs", "../../x"),
        ("models/posture-vit-scratch/tables", "/etc"),
        ("pretrained/objects-vit/draws", "os; touch x"),
        ("datasets", None),
        ("datasets", ["a"]),
        ("models", "a"),
        ("clips", 3),
        ("datasets/posture/smoke", None),
        ("models/posture-vit-scratch", None),
        ("models/posture-vit-scratch/smoke", []),
    ],
)
def test_what_dvc_puts_into_a_command_beside_names_is_one_of_what_is_known(path: str, value: Any) -> None:
    params = copy.deepcopy(PARAMS)
    *above, last = path.split("/")
    inside = params
    for key in above:
        inside = inside[key]
    inside[last] = value
    assert refusal(params).startswith(("params.yaml: ", "no model family `image; touch x`. There is: "))


@pytest.mark.slow
def test_dvc_stops_at_the_check_before_a_shell_sees_a_name(tmp_path: Path) -> None:
    """DVC itself hands a name to the shell as it is: shown first, on a graph of one stage."""
    name = "x; mkdir attacked #"
    (plain := tmp_path / "plain").mkdir()
    (plain / "params.yaml").write_text(yaml.safe_dump({"models": {name: 1}}))
    (plain / "dvc.yaml").write_text("stages: {s: {foreach: '${models}', do: {cmd: 'echo ${key}'}}}")
    call(plain, "dvc", "init", "-q", "--no-scm")
    call(plain, "dvc", "repro")
    assert (plain / "attacked").is_dir()
    folder = make_clone(tmp_path)
    models = PARAMS["models"]
    hostile = PARAMS | {"models": models | {name: models["posture-vit-scratch"]}}
    (folder / "params.yaml").write_text(yaml.safe_dump(hostile, sort_keys=False))
    assert f"error: params.yaml: models: the name {name!r}" in call(folder, "dvc", "repro", ok=False)
    assert not list(folder.rglob("attacked")) or list(folder.rglob("attacked")) == [plain / "attacked"]


def test_yaml_makes_no_objects(stage: Callable[..., Any], trace: Path) -> None:
    text = f"profile: !!python/object/apply:os.mkdir ['{trace}']\n"
    Path("params.yaml").write_text(text)
    done = stage("check")
    assert done.code == 1 and done.err.startswith("error: params.yaml: not YAML: ") and not trace.exists()
    yaml.unsafe_load(text)  # the attack itself works
    assert trace.is_dir()


LAUGHS = "\n".join(["x0: &x0 [a, a]", *(f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 9)}]" for n in range(1, 12))])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (LAUGHS.encode(), "more than 1,000,000 values, its aliases (&, *) written out"),
        (b"profile: &p {a: *p}", "more than 1,000,000 values"),
        (b"profile: " + b"[" * 5000, "not YAML: "),
        (b"seed: 2020-13-45", "not YAML: "),
        ("profile: smöke".encode("latin-1"), "not UTF-8 text (invalid start byte at byte 11). Save it as UTF-8"),
        ("profile: smoke".encode("utf-16"), "not UTF-8 text"),
        (b"? [a, b]\n: 1", "not YAML: "),
        (b"2020-01-01: 1", "the key datetime.date(2020, 1, 1): a text is wanted"),
        (b"- a", "expected a mapping at the top, found list"),
        (b"", "expected a mapping at the top, found NoneType"),
        (b"a: \x00", "not YAML: "),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else value[:20],
)
def test_settings_that_are_no_plain_values_are_refused(content: bytes, says: str, stage: Callable[..., Any]) -> None:
    Path("params.yaml").write_bytes(content)
    done = stage("check")
    assert (done.code, done.err.startswith(f"error: params.yaml: {says}")) == (1, True), done.err


# --- weights and models from elsewhere ---------------------------------------------------------------------------------


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torch's own folder of what it fetched before."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    kept = Path(torch.hub.get_dir()) / "checkpoints"
    assert kept.is_relative_to(tmp_path)
    kept.mkdir(parents=True)
    return kept


ALEXNET = "alexnet-owt-7be5be79.pth"


def test_what_torchvision_kept_is_looked_at_before_it_is_loaded(hub: Path, bomb: bytes, trace: Path) -> None:
    (hub / ALEXNET).write_bytes(bomb)
    network = backbones.build("torchvision/alexnet", {}, 3)
    with pytest.raises(DataError, match=rf"{ALEXNET}: altered: its sha256 is \w+, and should begin with 7be5be79. Delete it"):
        backbones.initialise(network, "torchvision/alexnet", {}, "imagenet", EMPTIES, EMPTIES)
    assert not trace.exists()


def test_no_library_unpickles_code_even_where_it_asks_to(tmp_path: Path, bomb: bytes, trace: Path) -> None:
    """torchvision's own way, past our look at the file."""
    (tmp_path / "w.pth").write_bytes(bomb)
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        torch.load(tmp_path / "w.pth", weights_only=False)
    assert not trace.exists()


@pytest.mark.parametrize("how", ["pickle", "torch.save", "a network"])
def test_a_refusal_does_not_say_how_to_load_it_all_the_same(how: str, tmp_path: Path, bomb: bytes, trace: Path) -> None:
    """PyTorch's own message does: `weights_only` set to `False` will likely succeed."""
    path = tmp_path / "w.pth"
    if how == "pickle":
        path.write_bytes(bomb)
    else:
        torch.save(Hostile(trace) if how == "torch.save" else torch.nn.Linear(2, 2), path)
    with pytest.raises(DataError) as caught:
        backbones.read_weights(path)
    said = str(caught.value)
    assert "weights_only" not in said and "safe_globals" not in said and len(said.splitlines()) == 1
    assert any(word in said for word in ("posix", "Linear", "Unsupported operand")) and said.endswith(
        "Get it anew from those who published it"
    )


def test_what_effdet_kept_is_looked_at_before_it_is_loaded(hub: Path, bomb: bytes, trace: Path, tmp_path: Path) -> None:
    settings = efficientdet.EfficientDetSettings(init="coco", image_px=64, epochs=1, batch_size=2, learning_rate=0.1)
    network = efficientdet.build("tf_efficientdet_d0", {}, 2, 64)
    kept = hub / "tf_efficientdet_d0_34-f153e0cf.pth"
    kept.write_bytes(bomb)
    with pytest.raises(DataError, match=rf"{kept.name}: altered: its sha256 is"):
        efficientdet.initialise(network, settings, tmp_path)
    assert not trace.exists()


@pytest.mark.parametrize(
    "option",
    ["weights", "weights_backbone", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir"],
)
@pytest.mark.parametrize("architecture", ["resnet10t", "torchvision/alexnet", "efficientdet"])
def test_options_of_a_network_name_no_weights(option: str, architecture: str, tmp_path: Path, bomb: bytes, trace: Path) -> None:
    """They come with a trained model's model.json, too."""
    path = tmp_path / "w.pth"
    path.write_bytes(bomb)
    with pytest.raises(DataError, match=f"options: `{option}` is not allowed: .* weights are named by `init`"):
        if architecture == "efficientdet":
            efficientdet.build("tf_efficientdet_d0", {"backbone_args": {option: str(path)}}, 2, 64)
        else:
            backbones.build(architecture, {option: str(path)}, 2)
    assert not trace.exists()


YOLO = YoloSettings(architecture="yolov5n", scale=(0.33, 0.1), image_px=64, batch_size=2)


def yolo_folder(folder: Path, plan: Any) -> Path:
    """A trained model as a stranger hands it over: its manifest fits."""
    folder.mkdir()
    network = build(describe(YOLO), ["fox"])
    card = {
        "family": "yolo", "plan": plan, "head_width": None, "classes": ["fox", "empty"], "image_px": 64, "as_built": "yolov5n",
        "settings": YOLO.model_dump(),
    }  # fmt: skip
    safetensors.torch.save_file(network.state_dict(), folder / "weights.safetensors")
    write_json(folder / "model.json", card)
    write_manifest(folder)
    return folder


def test_a_yolo_model_from_elsewhere_is_loaded(tmp_path: Path) -> None:
    assert networks.load(yolo_folder(tmp_path / "given", describe(YOLO))).classes == ("fox",)


@pytest.mark.parametrize(
    ("card", "says"),
    [
        ([], "names no family of models. Train the model anew, or get it anew"),
        ({"family": 5}, "names no family of models"),
        ({"family": "yolo"}, "not as a training leaves it (KeyError: 'settings')"),
        ({"family": "image", "architecture": 3, "options": [], "outputs": None}, "not as a training leaves it ("),
        ({"family": "slowfast"}, "not as a training leaves it (KeyError: "),
        ({"family": "heatmap", "settings": "x"}, "not as a training leaves it ("),
        ({"family": "../yolo"}, "no model family `../yolo`"),
        ({"family": "os"}, "no model family `os`"),
    ],
    ids=str,
)
def test_a_card_that_is_none_is_named(card: Any, says: str, tmp_path: Path) -> None:
    folder = yolo_folder(tmp_path / "given", None)
    write_json(folder / "model.json", card)
    write_manifest(folder)
    with pytest.raises(DataError) as caught:
        networks.load(folder)
    assert str(caught.value).removeprefix(f"{folder / 'model.json'}: ").startswith(says)


@pytest.mark.parametrize(
    "fault",
    [
        MemoryError("no room"), torch.OutOfMemoryError("CUDA out of memory"), OSError(errno.ENOSPC, "No space left on device"),
        ImportError("no timm"),
    ],
    ids=repr,
)  # fmt: skip
def test_the_machines_faults_are_not_a_models(fault: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(_: Path) -> None:
        raise fault

    monkeypatch.setattr(networks, "family", lambda _: SimpleNamespace(load=load))
    with pytest.raises(type(fault)) as caught:
        networks.load(yolo_folder(tmp_path / "given", None))
    assert caught.value is fault


@pytest.mark.parametrize(
    "fault", [RuntimeError("shapes"), FileNotFoundError(errno.ENOENT, "a"), OSError("no such hub")], ids=repr
)
def test_a_models_faults_are_named(fault: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(_: Path) -> None:
        raise fault

    monkeypatch.setattr(networks, "family", lambda _: SimpleNamespace(load=load))
    with pytest.raises(DataError, match=r"given/model\.json: not as a training leaves it \(\w+: .*\. Train the model anew"):
        networks.load(yolo_folder(tmp_path / "given", None))


def hostile_plans(trace: Path) -> dict[str, Any]:
    plan = describe(YOLO)
    head, last = plan["head"], [-1, 1, "TorchVision", [64, "alexnet", "DEFAULT", True, 2]]
    return {
        "code for an activation": plan | {"activation": f"__import__('os').mkdir({str(trace)!r}) or torch.nn.SiLU()"},
        "a layer that fetches weights": plan | {"head": [last, *head[1:]]},
        "a layer that is no layer": plan | {"head": [[-1, 1, "os", []], *head[1:]]},
        "an address": "https://example.org/yolov5n.yaml",
        "a file": "/etc/passwd",
        "nothing": None,
    }


@pytest.mark.parametrize("which", hostile_plans(Path()))
def test_a_plan_of_yolo_from_elsewhere_runs_and_fetches_nothing(
    which: str, tmp_path: Path, trace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = yolo_folder(tmp_path / "given", hostile_plans(trace)[which])
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("reached for the network"))
    with pytest.raises(DataError, match=r"given: refused: its model\.json asks for .*, as no yolov5n does"):
        networks.load(folder)
    assert not trace.exists()


def test_ultralytics_evaluates_nothing_even_past_our_look_at_a_plan(trace: Path) -> None:
    with pytest.raises(TypeError, match="unsupported activation"):
        build(hostile_plans(trace)["code for an activation"], ["fox"])
    assert not trace.exists()


@pytest.mark.parametrize("name", ["yolov5n.pt", "it's.pt", " yolov8n.pt"])
def test_a_checkpoint_is_read_and_not_another_of_a_like_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a file of these names Ultralytics would fetch yolov5nu.pt, or look elsewhere."""
    network = build(describe(YOLO), ["fox"])
    torch.save({"model": network, "ema": None}, tmp_path / name)
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("reached for the network"))
    found = read_checkpoint(tmp_path / name).state_dict()
    assert all(torch.equal(tensor, found[key]) for key, tensor in network.state_dict().items())


def test_on_a_gpu_ultralytics_fetches_no_network_to_try_its_precision_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its check of half precision fetches yolo26n.pt and unpickles it: asked for bfloat16, it checks nothing."""
    from ultralytics.engine.trainer import BaseTrainer  # behind stages.networks.yolo, which sets how it is imported
    from ultralytics.models.yolo.detect import DetectionTrainer

    asked: dict[str, Any] = {}
    monkeypatch.setattr(DetectionTrainer, "__init__", lambda _self, overrides: asked.update(overrides))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    yolo.training.Trainer(YOLO, SimpleNamespace(seed=0), None, ["fox"], tmp_path)  # type: ignore[arg-type]
    assert asked["amp"] == "bf16" and asked["pretrained"] is False and asked["plots"] is False
    (line,) = [line for line in inspect.getsource(BaseTrainer).splitlines() if "RANK in {-1, 0}" in line and "amp" in line]
    assert 'self.args.amp != "bf16"' in line  # where the check is called


@pytest.mark.parametrize("name", ["last.pt", "best.safetensors"])
def test_a_state_of_yolo_s_that_is_hostile_is_not_gone_on_from(name: str, tmp_path: Path, bomb: bytes, trace: Path) -> None:
    torch.save({}, tmp_path / "last.pt")
    safetensors.torch.save_file({}, tmp_path / "best.safetensors")
    (tmp_path / name).write_bytes(bomb)
    assert yolo.training.read_state(tmp_path) is None and not trace.exists()


@pytest.mark.parametrize(
    "how", ["a module of its own", "a pipeline of its own", "a text encoder of its own", "pickled weights"]
)
def test_a_folder_of_stable_diffusion_brings_no_code(
    how: str,
    tiny: Path,  # noqa: F811  the fixture
    tmp_path: Path,
    bomb: bytes,
    trace: Path,
) -> None:
    folder = shutil.copytree(tiny, tmp_path / "given")
    code, index = f"import os\nos.mkdir({str(trace)!r})\nclass Evil: pass\n", read_json(folder / "model_index.json")
    if how == "a module of its own":
        (folder / "unet/evil.py").write_text(code)
        write_json(folder / "model_index.json", index | {"unet": ["evil", "Evil"]})
    elif how == "a pipeline of its own":
        (folder / "evil.py").write_text(code)
        write_json(folder / "model_index.json", index | {"_class_name": ["evil", "Evil"]})
    elif how == "a text encoder of its own":
        (folder / "text_encoder/evil.py").write_text(code)
        config = read_json(folder / "text_encoder/config.json")
        write_json(folder / "text_encoder/config.json", config | {"auto_map": {"AutoModel": "evil.Evil"}, "model_type": "evil"})
        write_json(folder / "model_index.json", index | {"text_encoder": ["transformers", "AutoModel"]})
    else:
        (folder / "unet/diffusion_pytorch_model.safetensors").unlink()
        (folder / "unet/diffusion_pytorch_model.bin").write_bytes(bomb)
    with pytest.raises(DataError, match=f"^{folder}: "):
        open_generator("stable_diffusion", **using(folder)).make([Wanted("s", "lying", "cat", "side", "cat", 1)])
    assert not trace.exists()


# --- tables ------------------------------------------------------------------------------------------------------------


def test_a_parquet_file_brings_no_pickle(tmp_path: Path, bomb: bytes, trace: Path) -> None:
    """Once pyarrow unpickled what the metadata of such a column held (CVE-2023-47248)."""
    meta = {"ARROW:extension:name": "arrow.py_extension_type", "ARROW:extension:metadata": bomb}
    schema = pa.schema([pa.field("x", pa.int64(), metadata=meta)])
    path = tmp_path / "samples.parquet"
    pq.write_table(pa.table({"x": [1, 2]}, schema=schema), path)
    assert pq.read_schema(path).field("x").metadata or bomb in path.read_bytes()  # it is in there
    assert list(pd.read_parquet(path)["x"]) == [1, 2] and not trace.exists()


UNSAFE = "S102,S301,S302,S306,S307,S308,S312,S313,S314,S315,S316,S317,S318,S319,S323,S501,S506,S602,S604,S605,S606,S608,S609,S612,S701"


def test_no_code_of_ours_unpickles_evaluates_or_calls_a_shell() -> None:
    """By ruff's rules of security (flake8-bandit), with every exception by name."""
    words = [
        "check",
        "--isolated",
        "--preview",
        "--ignore-noqa",
        "--select",
        UNSAFE,
        "--output-format",
        "json",
        ROOT / "stages",
    ]
    done = subprocess.run([sys.executable, "-m", "ruff", *words], capture_output=True, text=True, check=False)
    found = [(Path(one["filename"]).relative_to(ROOT).as_posix(), one["code"]) for one in json.loads(done.stdout)]
    assert sorted(found) == [
        ("stages/clips.py", "S301"),  # what its own process wrote a moment ago, in a folder of its own
        ("stages/predict.py", "S301"),  # the same, in a file without a name
    ]


def test_whatever_torch_reads_it_reads_as_weights_alone() -> None:
    """ruff has no rule for it yet."""
    for path in (ROOT / "stages").rglob("*.py"):
        for line in path.read_text(encoding="utf-8").splitlines():
            if re.search(r"torch\.load\(|load_state_dict_from_url\(|trainer\.fit\(", line):
                assert "weights_only=True" in line, f"{path}: {line}"
            assert "allow_pickle=True" not in line and "trust_remote_code=True" not in line and "hub.load(" not in line, path


def test_those_rules_find_what_they_are_for(tmp_path: Path) -> None:
    lines = ["import os, pickle, subprocess, torch, yaml", "pickle.loads(b'')", "eval('1')", "os.system('x' + y)", "yaml.load(f)",
             "subprocess.run('x', shell=True)"]  # fmt: skip
    (tmp_path / "bad.py").write_text("\n".join(lines))
    words = ["check", "--isolated", "--preview", "--select", UNSAFE, "--output-format", "json", tmp_path / "bad.py"]
    done = subprocess.run([sys.executable, "-m", "ruff", *words], capture_output=True, text=True, check=False)
    assert {one["location"]["row"] for one in json.loads(done.stdout)} == {2, 3, 4, 5, 6}


# --- a folder of the user's --------------------------------------------------------------------------------------------


def test_links_that_lead_out_of_a_folder_are_read_as_pictures_and_never_written(
    tmp_path: Path, picture: Callable[..., bytes], write_cct: Callable[..., Path], cleaned: Callable[..., Any]
) -> None:
    """Links are followed, as large data sets are made of them: what is no picture is refused, and nothing is copied."""
    root, outside = tmp_path / "given", tmp_path / "outside"
    (root / "images").mkdir(parents=True)
    outside.mkdir()
    (outside / "secret.txt").write_text("-" * 12 + "hunter2")  # a reject's detail shows how a file begins, 12 bytes
    (outside / "photo.png").write_bytes(picture(1))
    before = {path: (sha256_file(path), path.stat().st_mtime_ns) for path in outside.iterdir()}
    names = {"key.png": "secret.txt", "b.png": "photo.png"}
    for name, target in names.items():
        (root / "images" / name).symlink_to(outside / target)
    (root / "images/c.png").write_bytes(picture(2))
    images = [{"id": name, "file_name": f"images/{name}", "width": 8, "height": 6} for name in (*names, "c.png")]
    write_cct(root / "list.json", images, [{"id": n, "image_id": one["id"], "category_id": 1} for n, one in enumerate(images)])
    done = cleaned(root, max_bad_share=1.0)
    assert done.code == 0, done.err
    rejects = pd.read_csv("clean/rejects.csv", dtype=str)
    assert rejects[["name", "reason"]].values.tolist()[0] == ["images/key.png", "not_an_image"]
    assert before == {path: (sha256_file(path), path.stat().st_mtime_ns) for path in outside.iterdir()}
    written = [path for folder in ("raw", "clean") for path in Path(folder).rglob("*") if path.is_file()]
    assert (
        written and not [path for path in written if b"hunter2" in path.read_bytes()] and "hunter2" not in done.out + done.err
    )


def test_a_list_names_no_file_outside_its_folder(
    tmp_path: Path, picture: Callable[..., bytes], write_cct: Callable[..., Path], cleaned: Callable[..., Any]
) -> None:
    (tmp_path / "given/images").mkdir(parents=True)
    (tmp_path / "outside.png").write_bytes(picture(1))
    (tmp_path / "given/images/a.png").write_bytes(picture(2))
    names = [
        "../outside.png",
        str(tmp_path / "outside.png"),
        f"file://{tmp_path}/outside.png",
        "images/../../outside.png",
        "images/a.png",
    ]
    images = [{"id": f"i{n}", "file_name": name, "width": 8, "height": 6} for n, name in enumerate(names)]
    annotations = [{"id": n, "image_id": one["id"], "category_id": 1} for n, one in enumerate(images)]
    write_cct(tmp_path / "given/list.json", images, annotations)
    done = cleaned(tmp_path / "given", max_bad_share=1.0)
    assert done.code == 0, done.err
    assert list(pd.read_parquet("clean/samples.parquet")["path"]) == ["images/a.png"]
    rejects = pd.read_csv("clean/rejects.csv", dtype=str).query("kind == 'picture'")
    assert sorted(rejects["name"]) == sorted(names[:-1]) and set(rejects["reason"]) == {"file_missing"}


@pytest.mark.parametrize(
    "playlist",
    ["ffconcat version 1.0\nfile secret.mp4\n", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.mp4\n#EXT-X-ENDLIST\n"],
    ids=["concat", "HLS"],
)
def test_a_video_that_is_a_list_of_other_files_opens_none(playlist: str, tmp_path: Path) -> None:
    write_video(tmp_path / "secret.mp4", every(30, 20))
    path = tmp_path / "clip.mp4"
    path.write_text(playlist)
    if "ffconcat" in playlist:  # the attack itself works
        with av.open(str(path)) as container:
            assert next(container.decode(video=0)).width > 0
    with pytest.raises(UnreadablePicture) as why:
        inspect_video(path)
    assert why.value.reason == "not_a_video"


@pytest.mark.parametrize("what", ["a device", "a pipe", "a loop"])
def test_links_to_what_is_no_file_are_refused(what: str, tmp_path: Path, stage: Callable[..., Any]) -> None:
    root = tmp_path / "given"
    root.mkdir()
    (root / "list.json").write_text("{}")
    if what == "a pipe":
        os.mkfifo(tmp_path / "pipe")
    target = {"a device": Path("/dev/zero"), "a pipe": tmp_path / "pipe", "a loop": root}[what]
    (root / "x").symlink_to(target)
    params = {"datasets": {"raw": {"smoke": {"download": {"adapter": "caltech_camera_traps", "source": f"path:{root}"}}}}}
    done = stage("download", "look", "--profile", "smoke", "--out", "look", params=params)
    (problem,) = read_json(Path("look/raw.json")).values() if done.code == 0 else [done.err]
    assert str(root) in problem and ("neither a file nor a folder" in problem or "without end" in problem)


HOSTILE_NAMES = [
    "$(touch attacked).png", "; touch attacked;.png", "--out.png", "=cmd|'!A0.png", "<script>alert(1)<", "a\nb.png",
    "\x1b]0;title\x07\x1b[2J.png", "\u202egnp.png", "%s%d{0}.png", "concat:a|b.png", "~.png", "x\\..\\..\\up.png",
]  # fmt: skip


def test_predict_takes_any_name_for_a_name(command: Command, tmp_path: Path) -> None:  # noqa: F811  the fixture
    """Copies lie where they should, nothing is run, and the terminal is told no more than text."""
    for name in HOSTILE_NAMES:
        paint(command.card / "=folder" / f"{name.removesuffix('.png')}.png", (200, 0, 0))
    before = {path for path in tmp_path.rglob("*") if not path.is_relative_to(command.out)}
    done = command("--annotated", "--separate", tmp_path / "apart")
    assert not {char for char in done.out + done.err if not char.isprintable()} - {"\n", "\r"}
    made = {path for path in tmp_path.rglob("*") if path not in before}
    assert {path.relative_to(tmp_path).parts[0] for path in made} == {command.out.relative_to(tmp_path).parts[0], "apart"}
    copies = [path for path in made if path.suffix in (".png", ".jpg") and path.is_file()]
    assert len(copies) == 2 * len(HOSTILE_NAMES) and all(path.parent.name == "=folder" for path in copies)
    rows = command.rows()
    assert len(rows) == len(HOSTILE_NAMES)
    assert not [cell for row in rows for cell in row.values() if cell[:1] in tuple("=+-@\t\r\n")]


def test_a_message_moves_no_cursor(stage: Callable[..., Any], tmp_path: Path) -> None:
    where = f"path:{tmp_path}/\x1b]0;title\x07\x1b[2J\u202e\u009b1m"
    params = {"datasets": {"raw": {"smoke": {"download": {"adapter": "caltech_camera_traps", "source": where}}}}}
    done = stage("download", "look", "--profile", "smoke", "--out", "look", params=params)
    done = stage("download", "fetch", "--params", "datasets.raw.smoke.download", "--look", "look/raw.json", "--dataset", "raw",
                 "--seed", 0, "--out", "raw", params=params)  # fmt: skip
    assert done.code == 1 and "no such folder" in done.err and all(char.isprintable() or char == "\n" for char in done.err)


# --- packages ----------------------------------------------------------------------------------------------------------


def requirements() -> dict[str, str]:
    """{name: the rest of its entry} of requirements.txt."""
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return {_plain(re.match(r"[\w.-]*", line)[0]): line for line in lines}  # type: ignore[index]


def _plain(name: str) -> str:
    """A package's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_package_is_pinned_to_one_version_and_its_hashes() -> None:
    entries = requirements()
    assert len(entries) > 200
    for name, entry in entries.items():
        assert re.match(r"[\w.-]+(\[[\w,-]+\])?==[\w.+!-]+( |$)", entry), entry[:80]
        assert re.search(r" --hash=sha256:[0-9a-f]{64}( |$)", entry), f"{name} has no hash"
        assert "://" not in entry and " @ " not in entry, f"{name} comes from an address"


def test_every_package_that_is_asked_for_is_locked() -> None:
    asked = [re.match(r"[\w.-]+", line) for line in (ROOT / "requirements.in").read_text().splitlines()]
    assert {_plain(one[0]) for one in asked if one} <= requirements().keys()


def test_packages_are_installed_by_their_hashes_alone() -> None:
    """Wherever the project installs any: pip then refuses one without a hash, and resolves nothing anew."""
    places = [ROOT / "Makefile", *(path for path in (ROOT / ".ci").rglob("*") if path.is_file())]
    lines = [line for path in places for line in path.read_text().replace("\\\n", " ").splitlines() if not line.startswith("#")]
    installs = [line for line in lines if re.search(r"pip3? install|uv pip", line) and "pip-audit" not in line]
    assert any("pip install" in line and "--require-hashes" in line and "-r requirements.txt" in line for line in installs)
    assert all("--require-hashes" in line or "--generate-hashes" in line for line in installs), installs


def test_pip_refuses_a_package_that_is_not_the_locked_one(tmp_path: Path) -> None:
    wheel = tmp_path / "evil-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as made:
        made.writestr("evil.py", "")
        made.writestr("evil-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")
        made.writestr("evil-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        made.writestr("evil-1.0.dist-info/RECORD", "")
    for given, code in (
        (f"evil==1.0 --hash=sha256:{'0' * 64}", 1),
        ("evil==1.0", 1),
        (f"evil==1.0 --hash=sha256:{sha256_file(wheel)}", 0),
    ):
        (tmp_path / "requirements.txt").write_text(given)
        words = ["install", "--no-index", "--find-links", tmp_path, "--no-deps", "--require-hashes", "--target", tmp_path / "into",
                 "-r", tmp_path / "requirements.txt"]  # fmt: skip
        done = subprocess.run([sys.executable, "-m", "pip", *map(str, words)], capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        assert (tmp_path / "into/evil.py").is_file() == (code == 0)


# --- the notes ---------------------------------------------------------------------------------------------------------


def test_every_test_that_the_notes_name_is_there() -> None:
    text = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").glob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)`", text))
    assert len(named) > 30 and not [name for name in sorted(named) if f"def {name}" not in code and f"{name}.py" not in text]
