"""Real people: how far joints are found from where they are, on the five pictures of MPII that are at hand.

    python benchmarks/real_pose.py SHARED WORK      SHARED holds real/mpii and weights/; WORK is any folder

(1) yolo11n-pose.pt, which knows COCO's 17 joints, stands in for stage 1 of the activity study; `FROM_COCO` makes MPII's 16 of
them. (2) YOLOv8n-pose with the backbone of yolov8n.pt, all of it but its last two modules frozen, as the document has it,
trains on the five: whether it trains at all, not how well.
"""

import shutil
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import yaml
from real_cct20 import stage

from stages.files import read_json
from stages.inference import Network, predict
from stages.networks import Job, yolo
from stages.networks.yolo.network import STRIDE_PX, YoloSettings, read_checkpoint
from stages.networks.yolo.prediction import Detector, finish
from stages.people import JOINT_NAMES, PERSON
from stages.pose_scores import joint_errors, mean_average_precision, mean_pose, pckh, posed
from stages.predictions import JOINTS
from stages.samples import Samples, read_samples, true_people
from stages.views import letterboxed

PX = 640
FACE = ("nose", "l_eye", "r_eye", "l_ear", "r_ear")
COCO = (*FACE, "l_shoulder", "r_shoulder", "l_elbow", "r_elbow", "l_wrist", "r_wrist", "l_hip", "r_hip", "l_knee", "r_knee",
        "l_ankle", "r_ankle")  # fmt: skip
# Each of MPII's joints as a sum of COCO's. Twelve are the same; the pelvis lies midway between the hips and the thorax between
# the shoulders. COCO has nothing of the skull but the face: on the line from between the shoulders to between the ears, the
# upper neck, where the head begins, is taken half way, and the head's top as far behind the ears as that lies before them.
EARS, SHOULDERS = ("l_ear", "r_ear"), ("l_shoulder", "r_shoulder")
FROM_COCO: dict[str, dict[str, float]] = {
    **{name: {name: 1.0} for name in JOINT_NAMES if name in COCO},
    "pelvis": dict.fromkeys(("l_hip", "r_hip"), 0.5),
    "thorax": dict.fromkeys(SHOULDERS, 0.5),
    "upper_neck": dict.fromkeys(SHOULDERS, 0.25) | dict.fromkeys(EARS, 0.25),
    "head_top": dict.fromkeys(SHOULDERS, -0.25) | dict.fromkeys(EARS, 0.75),
}


def from_coco(people: np.ndarray) -> np.ndarray:
    """(N, 6 + 51) as a network of COCO's joints finds people -> (N, 6 + 48): MPII's, as sure as the least of their parts."""
    joints = people[:, 6:].reshape(-1, len(COCO), 3)
    weights = np.array([[FROM_COCO[name].get(part, 0.0) for part in COCO] for name in JOINT_NAMES])
    sure = np.where(weights != 0, joints[:, None, :, 2], 1.0).min(-1)
    mapped = np.concatenate([weights @ joints[..., :2], sure[..., None]], axis=-1)
    return np.concatenate([people[:, :6], mapped.reshape(len(people), -1)], axis=1)


def stand_in(weights: Path) -> Network:
    """Ultralytics' pose network for COCO as one of MPII's joints."""
    settings = YoloSettings(architecture="yolov8n-pose", image_px=PX, batch_size=1)
    return Network(
        card={},
        task=JOINTS,
        classes=(PERSON,),
        module=Detector(read_checkpoint(weights)),
        finish=lambda found, floor: [from_coco(people) for people in finish(found, floor, settings)],
        view=partial(letterboxed, side_px=PX, stride_px=STRIDE_PX),
    )


def real_people(shared: Path, work: Path) -> Samples:
    """MPII's own files as the pipeline reads, cleans and boxes them."""
    work.mkdir(parents=True, exist_ok=True)
    download = {"adapter": "mpii", "source": f"path:{shared}/real/mpii"}
    params = {"datasets": {"raw": {"paper": {"download": download}}}, "clean": {}, "bboxes": {}}
    (work / "params.yaml").write_text(yaml.safe_dump(params))
    stage(work, "download", "look", "--profile", "paper", "--out", "look")
    stage(work, "download", "fetch", "--params", "datasets.raw.paper.download", "--dataset", "raw", "--look", "look/raw.json",
          "--out", "raw", "--seed", "0")  # fmt: skip
    stage(work, "clean", "--params", "clean", "--raw", "raw", "--out", "clean", "--metrics", "clean.json")
    stage(work, "bboxes", "--params", "bboxes", "--clean", "clean", "--out", "boxes")
    samples = read_samples(work / "boxes")
    return replace(samples, root=work / samples.root)


def main() -> None:
    shared, work = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    samples = real_people(shared, work)
    true = true_people(samples.people, samples.joints, samples.boxes)
    found = predict(stand_in(shared / "weights/yolo11n-pose.pt"), samples.pictures, samples.root)
    errors = joint_errors(found, true)
    by_joint = errors.groupby("joint")["error"].agg(["size", "median", "max"]).reindex(range(16)).set_axis(JOINT_NAMES)
    print("yolo11n-pose.pt: distance to the true joint in head sizes\n" + by_joint.round(3).to_string())
    guessed = joint_errors(posed(found, mean_pose(true)), true)
    print(
        f"{len(true)} people, {len(errors)} joints: median {errors['error'].median():.3f}, PCKh@0.5 {pckh(errors):.3f}; "
        f"the five's own mean pose in the same boxes {pckh(guessed):.3f}; OKS {mean_average_precision(found, true)}"
    )

    settings = YoloSettings.model_validate(
        {
            "architecture": "yolov8n-pose", "init": f"file:{shared}/weights/yolov8n.pt", "image_px": 320, "epochs": 60,
            "patience": 60, "batch_size": 5, "workers": 0,
            "ultralytics": {"freeze": 21, "cos_lr": True, "close_mosaic": 20, "dropout": 0.1, "hsv_h": 0.02, "hsv_s": 0.7,
                            "hsv_v": 0.5, "optimizer": "AdamW", "lr0": 0.002, "warmup_epochs": 0.0},
        }
    )  # fmt: skip
    out = work / "yolov8n-pose"
    out.mkdir(exist_ok=True)
    labels = tuple(sorted(set(samples.pictures["label"])))
    places = {"work": work / ".state", "models": work, "needs": work, "out": out}
    people = {"people": samples.people, "joints": samples.joints}
    five = samples.pictures
    job = Job(five, five, samples.boxes, labels, samples.root, samples.data, seed=0, **places, **people)
    trained = yolo.train(settings, job)
    shutil.rmtree(job.work)
    print("yolov8n-pose from", read_json(out / "model.json")["started_from"])
    columns = ["epoch", "train_pose_loss", "val_pose_loss", "val_pose_map50"]
    print(trained.curve.iloc[[0, len(trained.curve) // 2, -1]][columns].round(3).to_string(index=False))


if __name__ == "__main__":
    main()
