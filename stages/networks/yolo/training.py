"""Ultralytics' trainer on a Job: its loop, loss, augmentation and schedule; data, seeds, state and end are ours."""

import copy
import io
import os
import random
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Sampler
from ultralytics.cfg import DEFAULT_CFG_DICT
from ultralytics.data.build import InfiniteDataLoader
from ultralytics.data.dataset import YOLODataset
from ultralytics.models.yolo.detect import DetectionTrainer, DetectionValidator
from ultralytics.models.yolo.pose import PoseValidator
from ultralytics.utils.nms import non_max_suppression

from stages import geometry
from stages.files import DataError, seed_from
from stages.loading import loader_workers
from stages.networks import Job
from stages.networks.yolo.network import YoloSettings
from stages.networks.yolo.prediction import FOREVER_S
from stages.people import FLIPPED, JOINT_NAMES, points
from stages.pictures import RGB, read_picture, resize
from stages.samples import BOX_COLUMNS, located, true_people
from stages.views import fitted

LAST, BEST = "last.pt", "best.safetensors"


class Epochs(Sampler[tuple[int, int]]):
    """(epoch, i) for each item, shuffled by the seed and the epoch; each time round is the next epoch."""

    def __init__(self, size: int, seed: int) -> None:
        self.size, self.seed, self.epoch = size, seed, 0

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch, self.epoch = self.epoch, self.epoch + 1
        order = np.random.default_rng(seed_from(self.seed, "order", epoch)).permutation(self.size)
        return ((epoch, int(i)) for i in order)


class Boxed(YOLODataset):
    """Pictures and boxes in memory, as Ultralytics' trainer wants them; `boxes` for a pose network are people with joints.

    What an item becomes depends on (seed, epoch, i) alone: the same with 0, 2 or 4 workers, and after a resume.
    """

    def __init__(
        self,
        pictures: pd.DataFrame,
        boxes: pd.DataFrame,
        root: Path,
        seed: int,
        keep_gb: float,
        **rest: Any,
    ) -> None:
        self.rows = {row.sample_id: row for row in pictures.itertuples()}
        self.found = dict(iter(boxes.groupby("sample_id")))
        self.root, self.seed, self.side_px = root, seed, rest["imgsz"]
        self.closed: Any = None  # the transforms of the last epochs, without mosaic
        self.kept: dict[str, RGB] = {}
        self.keep = len(pictures) * self.side_px**2 * 3 <= keep_gb * 2**30
        super().__init__(img_path="", **rest)

    def get_img_files(self, img_path: Any) -> list[str]:
        return list(self.rows)

    def get_labels(self) -> list[dict[str, Any]]:
        index = {name: number for number, name in self.data["names"].items()}
        labels = []
        for name, row in self.rows.items():
            rows = self.found.get(name)
            xyxy = np.zeros((0, 4)) if rows is None else rows[BOX_COLUMNS].to_numpy(dtype=float)
            xywh = geometry.xywh_from_xyxy(xyxy)
            xywh[:, :2] += xywh[:, 2:] / 2  # Ultralytics counts from the centre
            size = np.array([row.width_px, row.height_px] * 2)
            classes = [] if rows is None else [[index[label]] for label in rows["label"]]
            labels.append(
                {
                    "im_file": name,
                    "shape": (row.height_px, row.width_px),
                    "cls": np.array(classes, dtype=np.float32).reshape(-1, 1),
                    "bboxes": (xywh / size).astype(np.float32),
                    "segments": [],
                    "keypoints": self._keypoints(rows, row.width_px, row.height_px) if self.use_keypoints else None,
                    "normalized": True,
                    "bbox_format": "xywh",
                }
            )
        return labels

    def _keypoints(self, people: pd.DataFrame | None, width_px: int, height_px: int) -> NDArray[np.float32]:
        joints = np.zeros((0, len(JOINT_NAMES), 3)) if people is None else points(people)
        return (joints / [width_px, height_px, 1]).astype(np.float32)

    def build_transforms(self, hyp: Any) -> Any:
        self.cache = "ram"  # mosaics then draw from all pictures, not from those that happened to be loaded last
        if self.augment:
            plain = copy.copy(hyp)
            plain.mosaic = plain.copy_paste = plain.mixup = plain.cutmix = 0.0
            self.closed = super().build_transforms(plain)
        return super().build_transforms(hyp)

    def load_image(self, i: int, rect_mode: bool = True, resize_short: bool = False) -> tuple[Any, Any, Any]:
        row = self.rows[self.im_files[i]]
        rgb = self.kept.get(row.sample_id)
        if rgb is None:
            width, height = fitted(row.width_px, row.height_px, self.side_px)
            rgb = resize(read_picture(self.root / row.path, row.sha256, min(width, height)), width, height)
            if self.keep:
                self.kept[row.sample_id] = rgb
        return np.ascontiguousarray(rgb[..., ::-1]), (row.height_px, row.width_px), rgb.shape[:2]

    def __getitem__(self, key: Any) -> dict[str, Any]:
        if not self.augment:
            return super().__getitem__(key)
        epoch, i = key
        seed = seed_from(self.seed, epoch, self.im_files[i])
        random.seed(seed)
        np.random.seed(seed % 2**32)
        chosen = self.closed if epoch >= self.data["mosaic_until"] else self.transforms
        return chosen(self.get_image_and_label(i))


class Validator(DetectionValidator):
    nc: Any

    def postprocess(self, preds: Any) -> list[dict[str, Tensor]]:
        found = non_max_suppression(
            preds,
            self.args.conf,
            self.args.iou,
            multi_label=True,
            max_det=self.args.max_det,
            max_time_img=FOREVER_S,
            nc=self.nc,
        )
        return [{"bboxes": x[:, :4], "conf": x[:, 4], "cls": x[:, 5], "extra": x[:, 6:]} for x in found]


class JointsValidator(PoseValidator, Validator):
    """Ultralytics' for poses, which finds its boxes as ours does."""


class Trainer(DetectionTrainer):
    """Ultralytics' trainer, with a Job for its data.

    Its own resume rounds weights to half precision and forgets what the loaders drew: the state is written here instead, so
    that a training that was killed ends as an unbroken one.
    """

    model: Any
    optimizer: Any
    ema: Any
    loss: Any
    best_fitness: Any

    def __init__(self, settings: YoloSettings, job: Job, network: Any, classes: list[str], work: Path) -> None:
        self.job, self.own, self.work = job, settings, work
        self.rows: list[dict[str, float]] = []
        self.seconds, self.started = 0.0, 0.0
        arguments: dict[str, Any] = {
            **settings.ultralytics,
            "task": "pose" if settings.finds_joints else "detect", "mode": "train", "data": "",
            "model": f"{settings.architecture}.yaml", "epochs": settings.epochs,
            "patience": settings.patience, "batch": settings.batch_size, "imgsz": settings.image_px,
            "save_dir": str(work / "log"),
            "pretrained": False, "seed": job.seed % 2**31,
            # On a CPU it always is; asking for it would import PyTorch's compiler, for seconds.
            "deterministic": torch.cuda.is_available(), "plots": False, "val": True, "exist_ok": True,
            "nbs": settings.batch_size,  # a batch is a step
            "device": "0" if torch.cuda.is_available() else "cpu", "amp": "bf16" if torch.cuda.is_available() else False,
            "max_det": settings.max_boxes, "verbose": False,
        }  # fmt: skip
        last_epochs = arguments.get("close_mosaic", DEFAULT_CFG_DICT["close_mosaic"])
        self.mosaic_until = settings.epochs - last_epochs if last_epochs else settings.epochs
        arguments["close_mosaic"] = 0  # the data set does it, by the epoch
        self.network, self.classes = network, classes
        super().__init__(overrides=arguments)

    # What Ultralytics asks for

    def get_dataset(self) -> dict[str, Any]:
        names = dict(enumerate(self.classes))
        of_joints = {"kpt_shape": [len(JOINT_NAMES), 3], "flip_idx": list(FLIPPED)} if self.own.finds_joints else {}
        return {
            **of_joints,
            "train": "train",
            "val": "val",
            "names": names,
            "nc": len(names),
            "channels": 3,
            "mosaic_until": self.mosaic_until,
        }

    def setup_model(self) -> Any:
        self.model = self.network
        return None

    def build_dataset(self, img_path: str, mode: str = "train", batch: int | None = None) -> Boxed:
        table = self.job.train if mode == "train" else self.job.val
        pictures, boxes = located(table, self.job.boxes, self.classes)
        if self.own.finds_joints:
            people, joints = (rows[rows["sample_id"].isin(boxes["sample_id"])] for rows in (self.job.people, self.job.joints))
            boxes = true_people(people, joints, boxes)
        keep_gb = 0.0 if loader_workers(self.own.workers) else self.own.cache_gb  # each process would keep a copy of its own
        return Boxed(
            pictures, boxes, self.job.root, self.job.seed, keep_gb, data=self.data, task=self.args.task, hyp=self.args,
            imgsz=self.args.imgsz, batch_size=batch, augment=mode == "train", rect=mode == "val", stride=self.stride,
            pad=0.0 if mode == "train" else 0.5,
        )  # fmt: skip

    def get_dataloader(self, dataset_path: str, batch_size: int = 16, rank: int = 0, mode: str = "train") -> Any:
        data = self.build_dataset(dataset_path, mode, batch_size)
        return InfiniteDataLoader(
            dataset=data,
            batch_size=min(batch_size, len(data)),
            sampler=Epochs(len(data), self.job.seed) if mode == "train" else None,
            shuffle=False if mode == "val" else None,
            num_workers=loader_workers(self.own.workers),
            collate_fn=data.collate_fn,
            pin_memory=torch.cuda.is_available(),
        )

    def get_validator(self) -> Validator:
        kind = JointsValidator if self.own.finds_joints else Validator
        return kind(self.test_loader, save_dir=self.save_dir, args=copy.copy(self.args), _callbacks=defaultdict(list))

    def run_callbacks(self, event: str) -> None:
        """Our own steps alone: telemetry, its platform and dvclive hang on callbacks, and none of them is run."""
        self.callbacks = defaultdict(list)
        if step := getattr(self, f"_{event}", None):
            step()

    def final_eval(self) -> None:
        """Nothing: `evaluate` scores every detector alike."""

    # Seeds, faults, the end

    def _on_train_start(self) -> None:
        self.train_loader.sampler.epoch = self.start_epoch

    def _on_train_epoch_start(self) -> None:
        self.started = time.perf_counter()
        self._oom_retries = 3  # else it would halve the batch and go on: another training than was asked for
        seed = seed_from(self.job.seed, "epoch", self.epoch)
        torch.manual_seed(seed)
        random.seed(seed)  # what is drawn outside the loaders, the size of a batch for one
        np.random.seed(seed % 2**32)

    def _on_train_batch_end(self) -> None:
        if not bool(torch.isfinite(self.loss)):
            step = len(self.train_loader) * self.epoch
            raise DataError(
                f"the training loss is {self.loss.item()} at epoch {self.epoch}, after step {step}, learning rate "
                f"{self.optimizer.param_groups[0]['lr']:.3g}. Nothing was saved from it; lower ultralytics.lr0"
            )

    # What is kept

    def save_metrics(self, metrics: dict[str, Any]) -> None:
        self.seconds += time.perf_counter() - self.started
        self.stop = self.stop or self.seconds > self.own.max_hours * 3600
        losses = [value for name, value in metrics.items() if name.startswith("val/") and name.endswith("loss")]
        row = {
            "epoch": self.epoch,
            "train_loss": float(sum(value for name, value in metrics.items() if name.startswith("train/"))),
            "val_loss": float(sum(losses)),
            "val_map50": float(metrics["metrics/mAP50(B)"]),
            "val_map50_95": float(metrics["metrics/mAP50-95(B)"]),
            "learning_rate": float(metrics["lr/pg0"]),
        }
        if self.own.finds_joints:
            row |= {
                "train_pose_loss": float(metrics["train/pose_loss"]),
                "val_pose_loss": float(metrics["val/pose_loss"]),
                "val_pose_map50": float(metrics["metrics/mAP50(P)"]),
                "val_pose_map50_95": float(metrics["metrics/mAP50-95(P)"]),
            }
        self.rows.append(row)

    def save_model(self) -> bool:
        if self.stopper.best_epoch == self.epoch + 1:  # the first of equals, as patience counts
            state = {name: tensor.cpu().contiguous().clone() for name, tensor in self.ema.ema.state_dict().items()}
            (self.work / f"{BEST}.partial").write_bytes(safetensors.torch.save(state))  # a full disk is an OSError this way
            os.replace(self.work / f"{BEST}.partial", self.work / BEST)
        state = {
            "epoch": self.epoch,
            "network": self.model.state_dict(),
            "ema": self.ema.ema.state_dict(),
            "updates": self.ema.updates,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "best_fitness": float(self.best_fitness),
            "stopper": {"best_fitness": float(self.stopper.best_fitness), "best_epoch": self.stopper.best_epoch},
            "stop": bool(self.stop),
            "rows": self.rows,
            "seconds": self.seconds,
        }
        memory = io.BytesIO()
        torch.save(state, memory)
        (self.work / f"{LAST}.partial").write_bytes(memory.getbuffer())
        os.replace(self.work / f"{LAST}.partial", self.work / LAST)
        return True

    def resume_training(self, ckpt: Any) -> None:
        if (state := read_state(self.work)) is None:
            return
        print(f"going on from {self.work / LAST}")
        self.model.load_state_dict(state["network"])
        self.ema.ema.load_state_dict(state["ema"])
        self.ema.updates = state["updates"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.best_fitness = state["best_fitness"]
        self.stopper.__dict__.update(state["stopper"])
        self.rows, self.seconds = state["rows"], state["seconds"]
        self.start_epoch = state["epoch"] + 1


def read_state(work: Path) -> dict[str, Any] | None:
    """What a killed training left, if it can be read whole. Pickled code in it is never run."""
    if not (work / LAST).is_file() or not (work / BEST).is_file():
        return None
    try:
        state = torch.load(work / LAST, map_location="cpu", weights_only=True)
        safetensors.torch.load_file(work / BEST)
    except Exception as error:  # safetensors, pickle and zip faults share no base
        print(f"the state in {work} is damaged ({type(error).__name__}): training starts again from the first epoch")
        return None
    return state
