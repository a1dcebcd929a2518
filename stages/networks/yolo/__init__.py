"""The yolo family: by Ultralytics, with its own trainer, YOLOv5 n, s, m, l and x for boxes and YOLOv8-pose for people's joints.

What Ultralytics calls YOLOv5 today is the anchor-free YOLOv5u: the backbone and neck of YOLOv5, the head of YOLOv8.
A pose network finds one class, `person`, and the 16 joints of each (stages/people.py). The epoch that is kept has the highest
box mAP50-95 and OKS mAP50-95, added, on validation, as Ultralytics has it; of a detector, the highest box mAP50-95.

Its trainer is given pictures and boxes in memory, decoded by this project's decoder: it never sees, and so never alters, a
file of the data set. It is kept from the network, runs none of its integrations, and writes its settings below `.work`.

    network.py      the settings, the networks by name, starting weights
    training.py     Ultralytics' trainer on a Job
    prediction.py   a trained network in use
"""

import copy
import os
from pathlib import Path

# Read by Ultralytics when it is imported.
os.environ["YOLO_OFFLINE"] = "true"
os.environ["YOLO_AUTOINSTALL"] = "false"
os.environ["YOLO_CONFIG_DIR"] = str(Path(".work/ultralytics").absolute())
os.environ.setdefault("YOLO_VERBOSE", "false")
Path(os.environ["YOLO_CONFIG_DIR"]).mkdir(parents=True, exist_ok=True)

import pandas as pd
import safetensors.torch
import torch
from PIL import Image

_open = Image.open
import ultralytics.utils.patches

Image.open = _open  # Ultralytics' own would install a package for every file that is no picture

from stages import cost
from stages.files import DataError, seed_from, write_json
from stages.inference import device
from stages.limits import explained
from stages.networks import Job, Trained
from stages.networks.yolo.network import YoloSettings, build, describe, initialise, set_norm_momentum, width_of_head
from stages.networks.yolo.prediction import Detector, finish, load
from stages.networks.yolo.training import BEST, Trainer, read_state
from stages.people import PERSON
from stages.samples import EMPTY, located

__all__ = ["SETTINGS", "load", "train"]

SETTINGS = YoloSettings


def train(settings: YoloSettings, job: Job) -> Trained:
    """Train on `job`; `job.out` receives weights.safetensors and model.json, all that `load` needs."""
    in_train = set(job.boxes.loc[job.boxes["sample_id"].isin(job.train["sample_id"]), "label"])
    classes = [PERSON] if settings.finds_joints else sorted(in_train)
    pictures, boxes = located(job.train, job.boxes, classes)
    val, val_boxes = located(job.val, job.boxes, classes)
    if boxes.empty or val_boxes.empty:
        raise DataError(
            f"{len(boxes)} boxes in train and {len(val_boxes)} of their classes in val: a detector learns from boxes. Give "
            "the data set boxes, or take a model that needs none"
        )
    if settings.finds_joints and job.people.empty:
        raise DataError(f"{settings.architecture} learns from people's joints, and the data set has none: take a detector")
    # A picture of people is labelled by what they do.
    without = [] if settings.finds_joints else sorted(set(job.train["label"]) - in_train - {EMPTY})
    if without:
        print(f"classes with pictures but no box in train, which a detector cannot learn: {', '.join(without)}")
    torch.manual_seed(job.seed)
    plan = describe(settings)
    network = build(plan, classes)
    started_from = initialise(network, settings, job.needs)
    set_norm_momentum(network, settings.norm_momentum)
    head_width = width_of_head(network)
    work = job.work / f"{seed_from(started_from):x}"  # other starting weights are another training
    work.mkdir(parents=True, exist_ok=True)
    state = read_state(work)
    if state is None or not state["stop"]:
        trainer = Trainer(settings, job, network, classes, work)
        try:
            trainer.train()
        except (OSError, MemoryError, RuntimeError) as error:
            if told := explained(error, settings.batch_size, work):
                raise told from None
            raise
        state = {"rows": trainer.rows, "seconds": trainer.seconds, "stopper": {"best_epoch": trainer.stopper.best_epoch}}
    best = safetensors.torch.load_file(work / BEST)
    weights = job.out / "weights.safetensors"
    weights.write_bytes(safetensors.torch.save(best))
    network = build(plan, classes, head_width)
    network.load_state_dict(best)
    counted = {"train": len(pictures), "val": len(val), "boxes": len(boxes), "val_boxes": len(val_boxes)}
    left_out = {"train": len(job.train) - len(pictures), "val": len(job.val) - len(val)}  # an animal, but no box
    card = {
        "family": "yolo",
        "architecture": settings.architecture,
        "plan": plan,
        "head_width": head_width,
        "as_built": cost.as_built(settings.published, settings.scale is not None, network, settings.image_px, settings.init),
        "classes": [*classes, EMPTY],
        "image_px": settings.image_px,
        "init": settings.init,
        "started_from": started_from,
        "trained_on": {"data": job.data, **counted, "left_out": left_out, "classes_without_box": without, "seed": job.seed},
        "settings": settings.model_dump(),
    }
    write_json(job.out / "model.json", card)
    facts = {
        "train_seconds": round(state["seconds"], 1),
        "epochs": len(state["rows"]),
        "best_epoch": state["stopper"]["best_epoch"] - 1,
    }
    detector = Detector(copy.deepcopy(network)).to(device())
    picture = torch.zeros(1, settings.image_px, settings.image_px, 3, dtype=torch.uint8, device=device())
    measured = cost.measured(network, weights, facts, lambda: finish(detector(picture), 0.0, settings))
    return Trained(measured, pd.DataFrame(state["rows"]))
