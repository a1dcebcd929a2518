"""YOLO networks by name, slimmed where asked for, and the weights that they start from."""

import copy
import difflib
import os
import re
import tempfile
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator
from torch import nn
from ultralytics.cfg import DEFAULT_CFG_DICT, get_cfg
from ultralytics.nn import tasks
from ultralytics.nn.tasks import DetectionModel, PoseModel, torch_safe_load, yaml_model_load

from stages.backbones import read_weights
from stages.files import DataError, require_manifest, sha256_file
from stages.people import JOINT_NAMES
from stages.settings import Record

# Ultralytics' switch ULTRALYTICS_SAFE_LOAD, also where others imported it first: no pickle runs code, no plan is evaluated.
tasks.SAFE_LOAD = True

ARCHITECTURES = ("yolov5n", "yolov5s", "yolov5m", "yolov5l", "yolov5x")
POSE_ARCHITECTURES = ("yolov8n-pose", "yolov8s-pose", "yolov8m-pose", "yolov8l-pose", "yolov8x-pose")
STRIDE_PX = 32  # sides that the network takes are multiples of it
_PLAIN = "weights.pt"
# What this file decides itself; every other training argument of Ultralytics can be set by its own name.
_OURS = {
    "task", "mode", "model", "data", "epochs", "time", "patience", "batch", "imgsz", "save", "cache", "device", "workers",
    "project", "name", "pretrained", "seed", "deterministic", "resume", "amp", "fraction", "profile", "val", "split", "plots",
    "save_dir", "nbs", "exist_ok", "compile", "rect", "distill_model", "save_json", "visualize", "save_txt", "quantize",
    "max_det", "verbose", "single_cls", "classes", "cfg", "source", "format", "tracker", "save_conf", "conf", "iou",
}  # fmt: skip


class YoloSettings(Record):
    architecture: str  # yolov5n | s | m | l | x for boxes, yolov8n-pose | s | m | l | x for people and their joints
    scale: tuple[float, float] | None = None  # depth and width in place of the architecture's own: a slimmer one
    init: str = "scratch"  # scratch | coco | pretrained (the folder that `needs` names) | file:<path>
    image_px: int = Field(gt=0)  # longer side; a multiple of 32
    epochs: int = Field(50, gt=0)  # at most
    patience: int = Field(5, gt=0)  # epochs in a row without a better mAP on validation before training stops
    max_hours: float = Field(12.0, gt=0)
    batch_size: int = Field(gt=0)
    ultralytics: dict[str, Any] = Field({})  # training arguments by Ultralytics' own names: lr0, mosaic, close_mosaic, ...
    norm_momentum: float = Field(0.03, gt=0, le=1)  # of batch norms' running statistics; a short training wants more
    score_floor: float = Field(0.001, ge=0, lt=1)  # boxes less sure are not written down
    nms_iou: float = Field(0.7, gt=0, le=1)  # of two boxes of a class that overlap by more, the surer one stays
    max_boxes: int = Field(100, gt=0)  # of a picture
    cache_gb: float = Field(2.0, ge=0)  # without loader processes, pictures are kept in memory when they all fit in this
    workers: int | None = Field(None, ge=0)  # loader processes; null: by the machine

    @field_validator("architecture")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in ARCHITECTURES + POSE_ARCHITECTURES:
            raise ValueError(f"allowed: {', '.join(ARCHITECTURES + POSE_ARCHITECTURES)}")
        return name

    @property
    def finds_joints(self) -> bool:
        return self.architecture in POSE_ARCHITECTURES

    @property
    def published(self) -> str:
        """The network's name at Ultralytics, which marks its anchor-free YOLOv5 by a u."""
        return self.architecture if self.finds_joints else f"{self.architecture}u"

    @field_validator("init")
    @classmethod
    def _known_init(cls, init: str) -> str:
        if init in ("scratch", "coco", "pretrained") or init.removeprefix("file:") not in (init, ""):
            return init
        raise ValueError("allowed: scratch, coco, pretrained, file:<path>")

    @field_validator("image_px")
    @classmethod
    def _whole_strides(cls, side_px: int) -> int:
        if side_px % STRIDE_PX:
            below = side_px // STRIDE_PX * STRIDE_PX
            raise ValueError(f"should be a multiple of {STRIDE_PX}: {below} or {below + STRIDE_PX}")
        return side_px

    @field_validator("ultralytics")
    @classmethod
    def _arguments(cls, given: dict[str, Any]) -> dict[str, Any]:
        for name in given:
            if name in _OURS or name not in DEFAULT_CFG_DICT:
                close = difflib.get_close_matches(name, sorted(set(DEFAULT_CFG_DICT) - _OURS), 3, 0.6)
                hint = f" Did you mean {', '.join(close)}?" if close else ""
                raise ValueError(f"`{name}` is no training argument of Ultralytics that may be set here.{hint}")
        try:
            get_cfg(overrides=dict(given))
        except (TypeError, ValueError) as error:
            raise ValueError(str(error)) from None
        return given


def describe(settings: YoloSettings) -> dict[str, Any]:
    """The network's plan, as Ultralytics' YAML has it, with the depth, width and joints that are asked for."""
    plan = copy.deepcopy(yaml_model_load(f"{settings.architecture}.yaml"))
    plan.pop("yaml_file", None)
    depth, width, channels = plan["scales"][plan["scale"]]
    if settings.scale:
        depth, width = settings.scale
    if settings.finds_joints:
        plan["kpt_shape"] = [len(JOINT_NAMES), 3]
    return plan | {"scales": {plan["scale"]: [depth, width, channels]}}


def require_plan(plan: Any, settings: YoloSettings, folder: Path) -> None:
    """Raise DataError for a plan from outside that is not of the kinds of layers its architecture has.

    Ultralytics evaluates an `activation` as code, fetches a plan that is an address, and has layers that fetch weights.
    """
    known = describe(settings)
    try:
        strange = {*plan} - {*known} | _kinds(plan) - _kinds(known)
    except (TypeError, ValueError, KeyError, IndexError, AttributeError):
        strange = {"no plan of a network"}
    if strange:
        raise DataError(
            f"{folder}: refused: its model.json asks for {sorted(map(str, strange))[0]!r}, as no {settings.architecture} does"
        )


def _kinds(plan: dict[str, Any]) -> set[str]:
    return {kind for _, _, kind, _ in plan["backbone"] + plan["head"]}


def build(plan: dict[str, Any], classes: list[str], head_width: int | None = None) -> Any:
    """A network from its plan, in training mode. `head_width` is that of the class head's hidden layers, where known."""
    kind: Any = PoseModel if "kpt_shape" in plan else DetectionModel
    network = kind(copy.deepcopy(plan), ch=3, nc=len(classes), verbose=False)
    network.names = dict(enumerate(classes))
    if head_width not in (None, width_of_head(network)):
        # Ultralytics widens the head to that of the weights it loads; it is as wide as it is for so many classes.
        network.load(kind(copy.deepcopy(plan), ch=3, nc=head_width, verbose=False), verbose=False)
    return network


def set_norm_momentum(network: Any, momentum: float) -> None:
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = momentum


def width_of_head(network: Any) -> int:
    """Channels of the hidden layers of the class head: more for more classes, and kept from the weights it starts from."""
    return network.model[-1].cv3[0][0].conv.out_channels


def initialise(network: Any, settings: YoloSettings, needs: Path) -> str:
    """Load starting weights in place, what fits by name and shape, and say in words what was loaded.

    Of a detector's weights a pose network takes all but the layers of its joints; of those for COCO's 17 joints, too.
    """
    kind, _, value = settings.init.partition(":")
    if kind == "scratch":
        return "scratch"
    if kind == "pretrained":
        if not (needs / "model.json").is_file():
            raise DataError(f"init: pretrained: {needs} holds no pretrained network. Name one in the model's `needs`")
        require_manifest(needs)
        path = needs / "weights.safetensors"
    else:
        path = _published(f"{settings.published}.pt") if kind == "coco" else Path(value)
    if path.suffix == ".pt":
        source = read_checkpoint(path)
        network.load(source, verbose=False)  # maps classes of the same name, too
        state = source.state_dict()
        fitting = [name for name, tensor in network.state_dict().items() if name in state and tensor.shape == state[name].shape]
    else:
        state = read_weights(path)
        own = network.state_dict()
        fitting = [name for name in own if name in state and own[name].shape == state[name].shape]
        network.load_state_dict({name: state[name] for name in fitting}, strict=False)
    total = len(network.state_dict())
    if len(fitting) < total / 4:
        raise DataError(
            f"init: {settings.init}: {path} is not of this architecture: only {len(fitting)} of {total} tensors fit "
            f"{settings.architecture}{f' at scale {settings.scale}' if settings.scale else ''}"
        )
    return f"{kind}: {path.name}, sha256 {sha256_file(path)}: {len(fitting)} of {total} tensors"


def read_checkpoint(path: Path) -> Any:
    """The network in an Ultralytics checkpoint, in full precision. Only network classes are made from it, no code is run."""
    if not path.is_file():
        raise DataError(f"init: {path}: no such file")
    try:
        with tempfile.TemporaryDirectory() as folder:
            # By a plain name: of another, yolov5n.pt for one, Ultralytics makes a network's name and fetches that instead.
            plain = Path(folder) / _PLAIN
            plain.symlink_to(path.resolve())
            checkpoint, _ = torch_safe_load(plain, safe_only=True)
        network = checkpoint.get("ema") or checkpoint["model"]
        return network.float()
    except Exception as error:  # pickle, zip and attribute faults share no base
        first = str(error).partition("\n")[0] if isinstance(error, TypeError) else repr(error)
        cause = re.sub(rf"^ERROR \W*|\S*{_PLAIN} *|\.? *Use an official .*|\.$", "", first)  # without advice to take another
        raise DataError(
            f"{path}: refused: damaged, or more than a network of Ultralytics ({cause}). "
            "Get it anew from those who published it"
        ) from None


def _published(name: str) -> Path:
    """Ultralytics' own COCO weights, fetched once into `.work/ultralytics`."""
    from ultralytics.utils.downloads import attempt_download_asset

    path = Path(os.environ["YOLO_CONFIG_DIR"]) / name
    try:
        if not path.is_file():
            attempt_download_asset(path, release="v8.4.0")
        if path.is_file():
            return path
        cause = "nothing was fetched"
    except Exception as error:
        cause = f"{type(error).__name__}: {error}"
    raise DataError(
        f"init: coco: {path.name} could not be fetched ({cause}). With no network, download it on another machine and set "
        "init to file:<path>"
    ) from None
