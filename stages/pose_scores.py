"""Metrics of people's found joints against true ones.

`found` is a predictions table of task `joints` (stages/predictions.py), `true` comes from `true_people` (stages/samples.py).
Every function scores all the rows that it is given: `box_scores.of_pictures` comes first. At most MAX_BOXES people of a picture
count, its surest.
Letters: N found people, P true people, H annotated joints, G sequences, R bootstrap draws.

OKS mAP says how well people and joints are found together, over all scores. It is Ultralytics' own: the same spread for each
joint, 1/16, where COCO measured one for each of its 17, and for a person's area 0.53 of its box, as people are to their boxes
in COCO. Its figures do not compare with those of COCO.

PCKh@0.5 (Andriluka et al., CVPR 2014) is the share of annotated joints, occluded ones too, that are found within half a head
size: 0.3 of the head box's diagonal. A true person is given the surest found one with a box IoU of 0.5 or more, each found one
once: by boxes, so that how well joints are placed has no say in who is compared with whom. The joints of a person whom nobody
found are wrong; people found over nobody cost nothing, mAP counts those, and so does one who was found with hardly any
confidence: every row counts, while heatmaps and `stages.predict` leave out whom the network is less than 0.25 sure of.
MPII's own evaluation is told where each person is.
"""

import numpy as np
import pandas as pd
from faster_coco_eval import COCO, COCOeval_faster
from numpy.typing import NDArray

from stages import geometry
from stages.box_scores import IOUS, MAX_BOXES, RECALLS, average_precision, surest, take
from stages.files import DataError
from stages.people import ABSENT, HEAD_COLUMNS, JOINT_NAMES, KEY, PERSON, points
from stages.samples import BOX_COLUMNS, EMPTY
from stages.scores import interval

SIGMA = 1 / len(JOINT_NAMES)  # of each joint, as Ultralytics has it for all but COCO's 17
AREA_OF_BOX = 0.53  # Ultralytics', from https://github.com/jin-s13/xtcocoapi
HEAD_OF_DIAGONAL = 0.6  # SC_BIAS of MPII's own evaluation
PCKH_AT = 0.5  # of the head size
_NUMBERS = 3 * len(JOINT_NAMES)  # of one person

Floats = NDArray[np.float64]


# OKS -----------------------------------------------------------------------------------------------------------------


def oks(found: Floats, true: Floats, boxes_xyxy: Floats) -> Floats:
    """Object keypoint similarity of pairs: joints (N, 16, 3), joints (N, 16, 3), true boxes (N, 4) -> (N,), 0 to 1.

    The mean over the true joints that are annotated.
    """
    squared = ((found[..., :2] - true[..., :2]) ** 2).sum(-1)
    area = AREA_OF_BOX * geometry.area(boxes_xyxy)[:, None]
    annotated = true[..., 2] != ABSENT
    return (np.exp(-squared / (8 * SIGMA**2 * area)) * annotated).sum(-1) / annotated.sum(-1)


def mean_average_precision(found: pd.DataFrame, true: pd.DataFrame) -> dict[str, float]:
    """`map50` and `map50_95`: COCO's mAP with OKS for IoU. Raises DataError where no picture has a person."""
    if true.empty:
        raise DataError("mAP of pictures without one true person: leave this part of the split out")
    people = surest(found)
    pictures = sorted({*people["sample_id"], *true["sample_id"]})
    evaluator = COCOeval_faster(_coco(true.assign(score=1.0), pictures), _coco(people, pictures), iouType="keypoints")
    params = evaluator.params
    params.iouThrs, params.recThrs, params.maxDets = IOUS, RECALLS, [MAX_BOXES]
    params.areaRng = params.areaRng[:1]  # all sizes
    params.kpt_oks_sigmas = np.full(len(JOINT_NAMES), SIGMA)
    evaluator.evaluate()
    evaluator.accumulate()
    precision = evaluator.eval["precision"][..., 0, 0, 0]  # IoU, recall
    return {"map50": float(precision[0].mean()), "map50_95": float(precision.mean())}


def _coco(people: pd.DataFrame, pictures: list[str]) -> COCO:
    """The people as a COCO data set; pictures are numbered in their order."""
    boxes = people[BOX_COLUMNS].to_numpy(dtype=float)
    joints = points(people)
    columns = {
        "id": np.arange(len(people)) + 1,  # 0 stands for "no match"
        "image_id": pd.Categorical(people["sample_id"], pictures).codes,
        "category_id": 0,
        "bbox": geometry.xywh_from_xyxy(boxes).tolist(),
        "area": AREA_OF_BOX * geometry.area(boxes),
        "keypoints": joints.reshape(-1, _NUMBERS).tolist(),
        "num_keypoints": (joints[..., 2] != ABSENT).sum(-1),
        "score": people["score"].to_numpy(),
    }
    return COCO(
        {
            "images": [{"id": number} for number in range(len(pictures))],
            "categories": [{"id": 0, "name": PERSON}],
            "annotations": pd.DataFrame(columns).to_dict("records"),
        }
    )


def match(found: pd.DataFrame, true: pd.DataFrame, at: float = 0.5) -> pd.DataFrame:
    """A row for each found person, surest first: sample_id, score, hit (bool).

    COCO's rule: each takes the free true person of its picture with the highest OKS, at or above `at`.
    """
    people = surest(found)
    pairs = people[["sample_id"]].assign(found=np.arange(len(people)))
    pairs = pairs.merge(true[["sample_id"]].assign(true=np.arange(len(true))), on="sample_id")
    rows, others = pairs["found"].to_numpy(), pairs["true"].to_numpy()
    pairs["oks"] = oks(points(people)[rows], points(true)[others], true[BOX_COLUMNS].to_numpy(dtype=float)[others])
    # Of true people equally near COCO takes the last.
    pairs = pairs[pairs["oks"] >= at].sort_values(["found", "oks", "true"], ascending=[True, False, False])
    hit, free = np.zeros(len(people), bool), np.ones(len(true), bool)
    for row, other in zip(pairs["found"].tolist(), pairs["true"].tolist(), strict=True):
        if free[other] and not hit[row]:
            hit[row], free[other] = True, False
    return people[["sample_id", "score"]].assign(hit=hit)


# PCKh ----------------------------------------------------------------------------------------------------------------


def head_sizes(true: pd.DataFrame) -> Floats:
    """MPII's head size of each person in px, (P,): 0.6 of the diagonal of its head box; NaN where it has none."""
    x_min, y_min, x_max, y_max = true[HEAD_COLUMNS].to_numpy(dtype=float).T
    return HEAD_OF_DIAGONAL * np.hypot(x_max - x_min, y_max - y_min)


def without_head(true: pd.DataFrame) -> int:
    """People whom PCKh leaves out, for want of a head box with an extent."""
    return int((~(head_sizes(true) > 0)).sum())


def joint_errors(found: pd.DataFrame, true: pd.DataFrame) -> pd.DataFrame:
    """A row for each annotated joint of each person with a head box, (H,): sample_id, person, joint, error.

    `error` is the distance in head sizes to the joint of the person found there, infinite where nobody was.
    """
    people = surest(found)
    taken = take(people, true, ["sample_id"], 0.5)
    there = np.full((len(true), len(JOINT_NAMES), 2), np.inf)
    there[taken[taken >= 0]] = points(people)[taken >= 0, :, :2]
    actual, size = points(true), head_sizes(true)
    chosen, joint = np.nonzero((actual[..., 2] != ABSENT) & (size > 0)[:, None])
    error = np.linalg.norm(there - actual[..., :2], axis=-1)[chosen, joint] / size[chosen]
    return true[KEY].iloc[chosen].reset_index(drop=True).assign(joint=joint, error=error)


def pckh(errors: pd.DataFrame, at: float = PCKH_AT) -> float:
    """The share of annotated joints found within `at` head sizes, from `joint_errors`. NaN where there is no joint."""
    return float((errors["error"] <= at).mean())


def pckh_by_joint(errors: pd.DataFrame, at: float = PCKH_AT) -> pd.DataFrame:
    """A row for each of the 16 joints: joint (its name), n annotated, pckh (NaN where none is annotated)."""
    share = (errors["error"] <= at).groupby(errors["joint"]).agg(["size", "mean"]).reindex(range(len(JOINT_NAMES)))
    return pd.DataFrame({"joint": JOINT_NAMES, "n": share["size"].fillna(0).astype(int), "pckh": share["mean"].astype(float)})


# The mean pose as baseline ---------------------------------------------------------------------------------------------


def mean_pose(true: pd.DataFrame) -> Floats:
    """Where each joint lies in a person's box on average, as shares of its width and height: (16, 2).

    Over the people in whom it is annotated; the centre for a joint that is annotated in nobody. For train.
    """
    joints, boxes = points(true), true[BOX_COLUMNS].to_numpy(dtype=float)[:, None]
    shares = (joints[..., :2] - boxes[..., :2]) / (boxes[..., 2:] - boxes[..., :2])
    annotated = joints[..., 2:] != ABSENT
    n = annotated.sum(0)
    return np.where(n > 0, (shares * annotated).sum(0) / np.maximum(n, 1), 0.5)


def posed(people: pd.DataFrame, pose: Floats) -> pd.DataFrame:
    """Found or true people as predictions that put the joints of `pose` (16, 2) into their boxes, whatever is there.

    True people are as sure as can be; rows `empty` stay.
    """
    boxes = people[BOX_COLUMNS].to_numpy(dtype=float)[:, None]
    places = boxes[..., :2] + pose * (boxes[..., 2:] - boxes[..., :2])
    flat = np.concatenate([places, np.ones((*places.shape[:2], 1))], axis=-1).reshape(-1, _NUMBERS)
    joints = pd.Series(list(flat), index=people.index, dtype=object).where(people["label"] != EMPTY, None)
    return people.assign(joints=joints, score=people.get("score", 1.0))


# Intervals -------------------------------------------------------------------------------------------------------------


def _drawn(seq_ids: pd.Series, draws: int, seed: int) -> tuple[pd.Series, NDArray[np.int64]]:
    """The number of each picture's sequence, by sample_id, and how often each sequence is drawn: (R, G)."""
    numbers, sequences = pd.factorize(seq_ids, sort=True)
    groups = len(sequences)
    drawn = np.random.default_rng(seed).multinomial(groups, np.full(groups, 1 / groups), size=draws)
    return pd.Series(numbers, index=seq_ids.index), drawn


def pckh_bootstrap(errors: pd.DataFrame, seq_ids: pd.Series, draws: int, seed: int, at: float = PCKH_AT) -> Floats:
    """PCKh of resamples of whole sequences, (R,), for `scores.interval`; NaN for a draw without any joint.

    `seq_ids` is the sequence of each picture that takes part, by sample_id; KeyError where one is missing. An equal seed draws
    the same sequences, so differences of two models' draws are paired.
    """
    group, drawn = _drawn(seq_ids, draws, seed)
    of = group.loc[errors["sample_id"]].to_numpy()
    hits, n = (np.bincount(of, weights, drawn.shape[1]) for weights in (errors["error"] <= at, np.ones(len(errors))))
    with np.errstate(invalid="ignore"):
        return (drawn @ hits) / (drawn @ n)


def map50_bootstrap(matches: pd.DataFrame, true: pd.DataFrame, seq_ids: pd.Series, draws: int, seed: int) -> Floats:
    """OKS mAP50 of resamples of whole sequences, (R,); NaN for a draw without a person. `matches` come from `match` at 0.5."""
    group, drawn = _drawn(seq_ids, draws, seed)
    of, hit = group.loc[matches["sample_id"]].to_numpy(), matches["hit"].to_numpy()
    n_true = drawn[:, group.loc[true["sample_id"]]].sum(1)
    return np.array([average_precision(hit, times[of], n) for times, n in zip(drawn, n_true, strict=True)])


def summary(
    found: pd.DataFrame, true: pd.DataFrame, pose: Floats, seq_ids: pd.Series, draws: int, seed: int
) -> tuple[dict[str, float], pd.DataFrame]:
    """The figures of one part, with 95 % intervals, and `pckh_by_joint`. Those of PCKh are left out where no head has a box.

    `pose` is train's `mean_pose`. Put into the found boxes it is the baseline, whose boxes are as good and whose joints are
    guessed; put into the true ones, that of somebody who is told where people are. `gain` is PCKh less the first, paired.
    """
    errors = joint_errors(found, true)
    figures = {
        "n": len(seq_ids),
        "people": len(true),
        "people_without_head": without_head(true),
        "joints": len(errors),
        **mean_average_precision(found, true),
    }
    samples = {"map50": map50_bootstrap(match(found, true), true, seq_ids, draws, seed)}
    if len(errors):
        guessed = joint_errors(posed(found, pose), true)
        figures |= {"pckh": pckh(errors), "mean_pose": pckh(guessed), "gain": pckh(errors) - pckh(guessed)}
        figures["mean_pose_in_true_boxes"] = pckh(joint_errors(posed(true, pose), true))
        samples["pckh"] = pckh_bootstrap(errors, seq_ids, draws, seed)
        samples["gain"] = samples["pckh"] - pckh_bootstrap(guessed, seq_ids, draws, seed)
    for name, values in samples.items():
        figures[f"{name}_low"], figures[f"{name}_high"] = interval(values[~np.isnan(values)])
    return figures, pckh_by_joint(errors)
