"""What stages/evaluate.py measures of people's found joints, part by part."""

import pandas as pd

from stages import box_scores, pose_scores
from stages.files import seed_from
from stages.predictions import check_predictions
from stages.samples import SCORED, Samples, true_people
from stages.scores import require_finite

NO_ROWS = {  # tables that say nothing of them, which DVC expects all the same
    "confusion": ["level", "part", "actual", "predicted", "n"],
    "slices": ["part", "slice", "value", "n", "f1_macro", "accuracy"],
    "reliability": ["part", "scores", "low", "high", "n", "confidence", "accuracy"],
    "pr": ["part", "label", "score", "precision", "recall"],
}


def score_poses(
    predictions: pd.DataFrame,
    pictures: pd.DataFrame,
    train: pd.DataFrame,
    samples: Samples,
    draws: int,
    seed: int,
) -> dict[str, pd.DataFrame]:
    """Figures of people's found joints: `parts`, and `classes`, a row for each part and joint. `pictures` have `part`.

    The baseline puts train's mean pose into the boxes found. PCKh is missing from a part where no head has a box, which MPII in
    COCO's form has not. Raises DataError for a figure that is not finite.
    """
    check_predictions(predictions, pictures["sample_id"])
    true = true_people(samples.people, samples.joints, samples.boxes)
    pose = pose_scores.mean_pose(true[true["sample_id"].isin(train["sample_id"])])
    rows, by_joint = [], []
    for part in SCORED:
        own = pictures[pictures["part"] == part].set_index("sample_id")["seq_id"]
        if own.empty:
            continue
        found, truth = box_scores.of_pictures(predictions, true, own.index)
        figures, joints = pose_scores.summary(found, truth, pose, own, draws, seed_from(seed, part))
        rows.append({"part": part} | figures)
        require_finite(pd.DataFrame(rows[-1:]))
        by_joint.append(joints.rename(columns={"joint": "label"}).assign(part=part, f1=float("nan")))
    classes = pd.concat(by_joint, ignore_index=True)
    return {"parts": pd.DataFrame(rows), "classes": classes[["part", "label", "n", "pckh", "f1"]]}


def say_poses(name: str, parts: pd.DataFrame) -> None:
    for row in parts.to_dict("records"):
        pckh = f"PCKh {row['pckh']:.3f}" if pd.notna(row.get("pckh")) else "no PCKh, as no head has a box"
        print(f"{name} {row['part']}: OKS mAP50 {row['map50']:.3f}, {pckh}, n {row['n']}")
