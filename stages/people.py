"""People and their joints: the two tables that a data set of people has beside its samples and boxes.

`data/clean/<dataset>/` and `data/boxes/<dataset>/` then also hold
    people.parquet   a row for each person
    joints.parquet   a row for each of the 16 joints of each person, those without a place included
Joints and their order are those of MPII Human Pose (Andriluka et al., CVPR 2014).
"""

from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
from numpy.typing import NDArray

from stages.files import DataError
from stages.tables import validated

JOINT_NAMES = (
    *("r_ankle", "r_knee", "r_hip", "l_hip", "l_knee", "l_ankle", "pelvis", "thorax", "upper_neck", "head_top"),
    *("r_wrist", "r_elbow", "r_shoulder", "l_shoulder", "l_elbow", "l_wrist"),
)
R_ANKLE, L_ANKLE, HEAD_TOP = 0, 5, 9
FLIPPED = (5, 4, 3, 2, 1, 0, 6, 7, 8, 9, 15, 14, 13, 12, 11, 10)  # the joint that each becomes in a mirrored picture
BONES = ((0, 1), (1, 2), (2, 6), (6, 3), (3, 4), (4, 5), (6, 7), (7, 8), (8, 9), (10, 11), (11, 12), (12, 7), (7, 13), (13, 14),
         (14, 15))  # fmt: skip
ABSENT, OCCLUDED, VISIBLE = 0, 1, 2  # Ultralytics' and COCO's numbers; MPII's own are 0 for occluded and 1 for visible
PERSON = "person"  # the class of a person's box
HEAD_COLUMNS = ["head_x_min_px", "head_y_min_px", "head_x_max_px", "head_y_max_px"]
KEY = ["sample_id", "person"]

PEOPLE = pa.DataFrameSchema(
    {
        "sample_id": pa.Column(str),
        "person": pa.Column(int, pa.Check.ge(0)),  # its place among those of its picture, in the source
        **{name: pa.Column(float, nullable=True) for name in HEAD_COLUMNS},  # px of the picture the right way up
        "scale": pa.Column(float, nullable=True),  # the person's height in units of 200 px, as MPII has it
        "centre_x_px": pa.Column(float, nullable=True),
        "centre_y_px": pa.Column(float, nullable=True),
    },
    unique=KEY,
    strict=True,
)
JOINTS = pa.DataFrameSchema(
    {
        "sample_id": pa.Column(str),
        "person": pa.Column(int, pa.Check.ge(0)),
        "joint": pa.Column(int, pa.Check.between(0, 15)),
        "x_px": pa.Column(float),  # of the picture the right way up; 0 where absent
        "y_px": pa.Column(float),
        "visible": pa.Column(int, pa.Check.isin([ABSENT, OCCLUDED, VISIBLE])),
    },
    checks=[
        pa.Check(
            lambda rows: (rows["visible"] != ABSENT) | ((rows["x_px"] == 0) & (rows["y_px"] == 0)),
            error="an absent joint with a place",
        ),
        pa.Check(lambda rows: rows.groupby(KEY)["joint"].transform("size") == 16, error="a person without 16 joints"),
    ],
    unique=[*KEY, "joint"],
    strict=True,
)


def check_people(people: pd.DataFrame, joints: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both tables with their columns checked and typed. Raises DataError that names the column, row and value."""
    broken = "the tables of people break their own rules"
    people, joints = validated(PEOPLE, people, broken), validated(JOINTS, joints, broken)
    if len(joints) != 16 * len(people) or not joints[KEY].drop_duplicates().merge(people[KEY]).shape[0] == len(people):
        raise DataError(f"{len(people)} people, but joints of {joints[KEY].drop_duplicates().shape[0]}")
    return people, joints


def no_people() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both tables without a row: what a data set without people has."""
    empty = [
        pd.DataFrame({name: pd.Series(dtype=str(column.dtype)) for name, column in schema.columns.items()})
        for schema in (PEOPLE, JOINTS)
    ]
    return empty[0], empty[1]


def found_joints(found: NDArray[Any], picture: str) -> NDArray[np.float64]:
    """Of people as a pose model finds them, (N, 6 + 48), the joints: (N, 16, 3), x and y in px, confidence.

    Raises DataError, which names the picture, for what is no finite number.
    """
    if not np.isfinite(found).all():
        raise DataError(f"{picture}: the pose model finds joints that are not finite numbers: train it anew")
    return found[:, 6:].reshape(len(found), len(JOINT_NAMES), 3).astype(np.float64)


def points(people: pd.DataFrame) -> NDArray[np.float64]:
    """The joints of found or true people: (N, 16, 3), x and y in px, confidence or visibility."""
    flat = np.stack(people["joints"].tolist()) if len(people) else np.zeros((0, 3 * len(JOINT_NAMES)))
    return flat.astype(float).reshape(-1, len(JOINT_NAMES), 3)
