"""The EfficientDet family: boxes and their classes, by any network of the `effdet` library (arXiv 1911.09070).

Pictures are squeezed to a square and their boxes with them, each axis by a scale of its own.
Letters: B pictures of a batch, P picture side in px, N boxes of a picture, A anchors, C classes.
"""

import difflib
import warnings
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import pytorch_lightning as lightning
import torch
from numpy.typing import NDArray
from pydantic import Field, field_validator
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchvision.ops import batched_nms, remove_small_boxes

from stages import backbones, cost
from stages.classifier import Normalise
from stages.files import DataError, read_json, require_manifest, seed_from, sha256_file
from stages.fit import FitSettings, optimizers, require_finite
from stages.geometry import Boxes, area, clip, rescale, warp
from stages.inference import Found, Network, device
from stages.loading import LoadSettings, Pictures, augmented
from stages.networks import Job, Trained, read_card
from stages.predictions import BOX
from stages.samples import BOX_COLUMNS, EMPTY, located
from stages.training import origin, starts, trained
from stages.views import squeezed

with warnings.catch_warnings(action="ignore", category=FutureWarning):  # effdet scripts its matcher as it is imported
    import effdet
    from effdet.anchors import AnchorLabeler, Anchors, decode_box_outputs
    from effdet.config.model_config import efficientdet_model_param_dict
    from effdet.loss import DetectionLoss

_CLASS_HEAD = "class_net.predict."  # the part that a new set of classes replaces
_LEFT_SHARE = 0.25  # a box of which augmentation leaves less in the picture is no target
_SMALLEST_PX = 1.0  # nor is one that is narrower or lower than this in the squeezed picture
_CANDIDATES = 5000  # scores of a picture that reach the suppression of duplicates, as in effdet
# What the library's configuration also holds, but our settings or the data decide.
_NOT_OPTIONS = {"name", "url", "image_size", "num_classes", "num_levels", "soft_nms", "max_detection_points",
                "max_det_per_image"}  # fmt: skip


class EfficientDetSettings(FitSettings, LoadSettings):
    variant: str = "tf_efficientdet_d0"  # a configuration of effdet; the document's 52 M parameters are d6 and d7
    options: dict[str, Any] = Field({})  # what differs from it: backbone_name, fpn_channels, max_level, anchor_scale, ...
    # coco: effdet's weights, by the network; pretrained: what `needs` names
    init: Annotated[str, starts("scratch", "coco", "file:<path>", "pretrained")] = "scratch"
    score_floor: float = Field(0.001, gt=0, lt=1)  # less sure boxes are not kept
    max_boxes: int = Field(100, gt=0)  # of a picture, the surest
    nms_iou: float = Field(0.5, gt=0, le=1)  # of two boxes of a class that overlap more, the less sure one goes

    @field_validator("variant")
    @classmethod
    def _known_variant(cls, variant: str) -> str:
        if variant not in efficientdet_model_param_dict:
            close = ", ".join(difflib.get_close_matches(variant, efficientdet_model_param_dict, 3, 0.5))
            raise ValueError(f"no such variant in effdet.{f' Did you mean {close}?' if close else ''}")
        return variant


SETTINGS = EfficientDetSettings


# --- the network -------------------------------------------------------------------------------------------------------


def build(variant: str, options: dict[str, Any], classes: int, image_px: int) -> Any:
    """An untrained network of `classes` classes for pictures of `image_px`, which need be no multiple of a stride.

    Raises DataError for options that effdet does not have or that do not fit each other.
    """
    config = effdet.get_efficientdet_config(variant)
    allowed = sorted({*config, "mean", "std"} - _NOT_OPTIONS)
    for name in options:
        if name not in allowed:
            close = difflib.get_close_matches(name, allowed, 1)
            hint = f" Did you mean `{close[0]}`?" if close else ""
            raise DataError(f"options: effdet has no `{name}`.{hint} There is: {', '.join(allowed)}")
    backbones.require_no_weights(dict(options.get("backbone_args") or {}))
    try:
        config.update(options)
        levels = config.max_level - config.min_level + 1
        config.update({"image_size": (image_px, image_px), "num_classes": classes, "num_levels": levels})
        network = effdet.EfficientDet(config, pretrained_backbone=False)
        with torch.inference_mode():  # options that contradict each other show only here
            network.eval()(torch.zeros(1, 3, image_px, image_px))
    except Exception as error:  # OmegaConf, effdet and timm fail in their own ways
        raise DataError(f"`{variant}` cannot be built with options {options} at {image_px} px: {error}") from None
    return network.train()


def initialise(network: nn.Module, settings: EfficientDetSettings, needs: Path) -> str:
    """Load starting weights in place, all but the class head, and say in words what was loaded."""
    kind, _, value = settings.init.partition(":")
    if kind == "scratch":
        return "scratch"
    if kind == "coco":
        return _load(network, _published(settings.variant), "effdet's COCO weights")
    if kind == "file":
        path = Path(value)
        return _load(network, backbones.read_weights(path), f"file {path.name}, sha256 {sha256_file(path)}")
    if not needs.is_dir():
        raise DataError(f"init: pretrained: {needs}: no trained model there. Name one in the entry's `needs`")
    require_manifest(needs)
    if (family := read_json(needs / "model.json").get("family")) != "efficientdet":
        raise DataError(f"init: pretrained: {needs} holds a model of family {family}, not efficientdet")
    path = needs / "weights.safetensors"
    return _load(network, backbones.read_weights(path), f"pretrained {needs.name}, sha256 {sha256_file(path)}")


def _published(variant: str) -> dict[str, Tensor]:
    url = efficientdet_model_param_dict[variant].get("url")
    if not url:
        raise DataError(f"init: coco: effdet publishes no weights of `{variant}`")
    backbones.require_hash_of_name(url)
    try:
        return torch.hub.load_state_dict_from_url(url, map_location="cpu", progress=False, check_hash=True, weights_only=True)
    except Exception as error:  # urllib's, the file system's and pickle's faults share no base
        raise DataError(
            f"init: coco: the weights of `{variant}` could not be fetched ({type(error).__name__}: {error}). With no network, "
            f"download {url} on another machine and set init to file:<path>"
        ) from None


def _load(network: nn.Module, state: dict[str, Tensor], origin: str) -> str:
    """Every tensor but the class head's must be there with its shape: another architecture is refused."""
    own = network.state_dict()
    body = {name: tensor for name, tensor in state.items() if not name.startswith(_CLASS_HEAD)}
    wanted = {name: tuple(tensor.shape) for name, tensor in own.items() if not name.startswith(_CLASS_HEAD)}
    found = {name: tuple(tensor.shape) for name, tensor in body.items()}
    if differing := sorted({name for name, _ in wanted.items() ^ found.items()}):
        name = differing[0]
        raise DataError(
            f"init: {origin}: not of this architecture: `{name}` should be {wanted.get(name, 'absent')}, found "
            f"{found.get(name, 'nothing')} ({len(differing)} of {len(wanted)} tensors do not fit)"
        )
    network.load_state_dict(body, strict=False)
    return f"{origin}: {len(body)} of {len(own)} tensors; the class head starts anew"


# --- pictures and their boxes ------------------------------------------------------------------------------------------


class BoxedPictures(Dataset[tuple[Tensor, Tensor, int]]):
    """Item (epoch, i) -> (uint8 (P, P, 3) RGB, targets (N, 5), i).

    A target is (y_min, x_min, y_max, x_max, class) in px of the squeezed and augmented picture, classes from 1: effdet's own
    order. N is the most boxes that any picture has; the others are filled up with rows of -1, which effdet passes over.
    """

    def __init__(
        self,
        pictures: pd.DataFrame,
        boxes: pd.DataFrame,
        root: Path,
        classes: list[str],
        settings: LoadSettings,
        seed: int,
        training: bool,
    ) -> None:
        self.pictures = Pictures(pictures, root, tuple(classes), settings, seed, training)
        self.ids, self.settings, self.seed, self.training = self.pictures.ids, settings, seed, training
        number = {label: index for index, label in enumerate(classes, 1)}
        place = pd.Index(self.ids).get_indexer(boxes["sample_id"])
        squeezed = rescale(boxes[BOX_COLUMNS], *(settings.image_px / self.pictures.sizes[place]).T)
        rows = np.column_stack([squeezed, boxes["label"].map(number).to_numpy(dtype=float)])
        large = _sides_px(rows).min(axis=1, initial=np.inf) >= _SMALLEST_PX
        self.too_small = int((~large).sum())
        order = np.argsort(place[large], kind="stable")
        starts = np.searchsorted(place[large][order], np.arange(1, len(self.ids)))
        self.boxes = np.split(rows[large][order], starts)  # of each picture: (N, 5), xyxy px and class
        self.most = max(map(len, self.boxes))

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, Tensor, int]:
        epoch, i = key
        rgb, boxes = self.pictures.picture(i), self.boxes[i]
        if self.training:
            rgb, matrix = augmented(rgb, self.settings, np.random.default_rng(seed_from(self.seed, epoch, self.ids[i])))
            cut, kept = visible(warp(boxes[:, :4], matrix), self.settings.image_px)
            boxes = np.column_stack([cut, boxes[:, 4]])[kept]
        targets = np.full((self.most, 5), -1, dtype=np.float32)
        targets[: len(boxes)] = boxes[:, [1, 0, 3, 2, 4]]
        return torch.from_numpy(rgb), torch.from_numpy(targets), i


def visible(boxes_xyxy: Boxes, side_px: int) -> tuple[Boxes, NDArray[np.bool_]]:
    """Boxes (N, 4) cut to the picture, and which are targets still (N,): a quarter is left, and 1 px either way."""
    cut = clip(boxes_xyxy, side_px, side_px)
    left = area(cut) >= _LEFT_SHARE * area(boxes_xyxy)
    return cut, left & (_sides_px(cut).min(axis=1, initial=np.inf) >= _SMALLEST_PX)


def _sides_px(boxes_xyxy: Boxes) -> Boxes:
    return boxes_xyxy[:, 2:4] - boxes_xyxy[:, :2]


# --- training ----------------------------------------------------------------------------------------------------------


class Detector(lightning.LightningModule):
    """Focal loss over classes, Huber loss over boxes. A batch is (uint8 (B, P, P, 3), targets (B, N, 5), item (B,))."""

    def __init__(self, network: Any, settings: EfficientDetSettings, ids: list[str]) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)
        self.settings, self.ids = settings, ids
        self.anchors = Anchors.from_config(network.config)
        self.labeler = AnchorLabeler(self.anchors, network.config.num_classes)
        self.loss = DetectionLoss(network.config)
        self.normalise = _normalise(network)

    def forward(self, pictures: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """uint8 (B, P, P, 3) -> for each level the class logits (B, 9 C, H, W) and the boxes as offsets (B, 9 * 4, H, W)."""
        return self.network(self.normalise(pictures))

    def losses(self, pictures: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Total, class and box loss of a batch."""
        outputs = self(pictures)
        return self.loss(*outputs, *self.labeler.batch_label_anchors(targets[..., :4], targets[..., 4]))

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor], number: int) -> Tensor:
        pictures, targets, items = batch
        loss, _, _ = self.losses(pictures, targets)
        require_finite(loss, self, number, lambda: [self.ids[item] for item in items.tolist()])
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(items), prog_bar=True, sync_dist=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor, Tensor], _: int) -> None:
        pictures, targets, items = batch
        named = zip(("val_loss", "val_class_loss", "val_box_loss"), self.losses(pictures, targets), strict=True)
        self.log_dict(dict(named), batch_size=len(items), prog_bar=True, sync_dist=True)

    def configure_optimizers(self) -> Any:
        return optimizers(self.trainer, self.network, self.settings)


class Answering(nn.Module):
    """uint8 (B, P, P, 3) -> scores (B, A, C) and boxes (B, A, 4), xyxy in px of P, of every anchor."""

    def __init__(self, network: Any, image_px: int) -> None:
        super().__init__()
        self.network, self.normalise, self.image_px = network, _normalise(network), image_px
        self.anchors = Anchors.from_config(network.config)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        classes, offsets = self.network(self.normalise(pictures))
        scores = _by_anchor(classes, self.network.config.num_classes).sigmoid()
        anchors = self.anchors.boxes.repeat(pictures.shape[0], 1)  # `len` would fix the batch in an export
        boxes = decode_box_outputs(_by_anchor(offsets, 4).reshape(-1, 4), anchors, output_xyxy=True)
        return scores, boxes.reshape(*scores.shape[:2], 4).clamp(0, self.image_px)


def finish(outputs: tuple[Tensor, Tensor], floor: float, settings: EfficientDetSettings) -> list[Found]:
    """What `Answering` gives -> for each picture boxes (N, 6): xyxy in px of P, score, class; the surest first."""
    floor = max(floor, settings.score_floor)
    return [_suppressed(*pair, floor, settings).double().cpu().numpy() for pair in zip(*outputs, strict=True)]


def _normalise(network: Any) -> Normalise:
    mean, std = (network.config.get(name) for name in ("mean", "std"))  # written down where they are not ImageNet's
    return Normalise(tuple(mean or backbones.IMAGENET_MEAN), tuple(std or backbones.IMAGENET_STD))


def _by_anchor(levels: list[Tensor], values: int) -> Tensor:
    """Outputs (B, 9 * values, H, W) of every level -> (B, A, values), in the order of the anchors."""
    return torch.cat([level.permute(0, 2, 3, 1).reshape(level.shape[0], -1, values) for level in levels], 1).float()


def _suppressed(scores: Tensor, boxes: Tensor, floor: float, settings: EfficientDetSettings) -> Tensor:
    """Scores (A, C) and boxes (A, 4) of one picture -> what is kept, (N, 6)."""
    anchor, label = torch.where(scores >= floor)
    best = scores[anchor, label].topk(min(_CANDIDATES, len(anchor))).indices
    anchor, label = anchor[best], label[best]
    inside = remove_small_boxes(boxes[anchor], 1e-3)  # clipping leaves nothing of those that lie outside
    anchor, label = anchor[inside], label[inside]
    found = scores[anchor, label]
    kept = batched_nms(boxes[anchor], found, label, settings.nms_iou)[: settings.max_boxes]
    return torch.cat([boxes[anchor[kept]], found[kept, None], label[kept, None]], 1)


def prepared(settings: EfficientDetSettings, job: Job) -> tuple[list[str], BoxedPictures, BoxedPictures, dict[str, int]]:
    """(classes that have a box in train, train, val, what was left out and how often). Raises DataError where none is left."""
    of_train, of_val = (job.boxes[job.boxes["sample_id"].isin(part["sample_id"])] for part in (job.train, job.val))
    classes = sorted(set(of_train["label"]) - {EMPTY})
    train, train_boxes = located(job.train, of_train, classes)
    val, val_boxes = located(job.val, of_val, classes)
    for part, found, pictures in (("train", train_boxes, job.train), ("val", val_boxes, job.val)):
        if found.empty:
            raise DataError(
                f"none of the {len(pictures)} pictures in {part} has a box to learn from: a detector needs annotations with "
                "`bbox`. Add some, or train a model of family image"
            )
    if len(train) < 2:
        raise DataError("train holds one picture with a box: a detector needs two or more")
    train_set = BoxedPictures(train, train_boxes, job.root, classes, settings, job.seed, training=True)
    val_set = BoxedPictures(val, val_boxes, job.root, classes, settings, job.seed, training=False)
    left_out = {
        "train_pictures_without_box": len(job.train) - len(train),
        "val_pictures_without_box": len(job.val) - len(val),
        "val_boxes_of_other_classes": len(of_val) - len(val_boxes),
        "train_boxes_below_1_px": train_set.too_small,
        "val_boxes_below_1_px": val_set.too_small,
    }
    return classes, train_set, val_set, left_out


def train(settings: EfficientDetSettings, job: Job) -> Trained:
    """Train on `job`; `job.out` receives weights.safetensors and model.json, all that `load` needs."""
    classes, train_set, val_set, left_out = prepared(settings, job)
    without_boxes = [label for label in job.classes if label not in (*classes, EMPTY)]
    if without_boxes:
        print(f"no box in train for {', '.join(without_boxes)}: the detector will not know them")
    torch.manual_seed(job.seed)
    network = build(settings.variant, settings.options, len(classes), settings.image_px)
    started_from = initialise(network, settings, job.needs)
    card = {
        "family": "efficientdet",
        "variant": settings.variant,
        "options": settings.options,
        "as_built": cost.as_built(settings.variant, bool(settings.options), network, settings.image_px, settings.init),
        "classes": [*classes, EMPTY],
        "image_px": settings.image_px,
        "without_boxes": without_boxes,
        **origin(settings, job, started_from, train=len(train_set), val=len(val_set),
                 boxes=sum(map(len, train_set.boxes)), left_out=left_out),
    }  # fmt: skip
    module = Detector(network, settings, train_set.ids)
    return trained(module, train_set, val_set, settings, job, card, lambda: in_use(card, network))


# --- in use ------------------------------------------------------------------------------------------------------------


def in_use(card: dict[str, Any], network: Any) -> Network:
    settings = EfficientDetSettings.model_validate(card["settings"])
    return Network(
        card,
        BOX,
        tuple(card["classes"][:-1]),
        Answering(network.to(memory_format=torch.channels_last), card["image_px"]).eval().to(device()),
        partial(finish, settings=settings),
        lambda _width_px, _height_px: squeezed(card["image_px"]),
        half=True,
    )


def load(folder: Path) -> Network:
    """A trained network in use. Altered or truncated files are refused by their sha256."""
    card = read_card(folder)
    network = build(card["variant"], card["options"], len(card["classes"]) - 1, card["image_px"])
    backbones.load_exactly(network, folder / "weights.safetensors", card["as_built"])
    return in_use(card, network)
