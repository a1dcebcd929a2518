"""A `.mat` in MPII's layout, for tests: structs whose fields are given, and no others."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.io import savemat

NOTHING = np.zeros((0, 0))  # MATLAB's []


def structs(rows: list[dict[str, Any]]) -> NDArray[Any]:
    """A 1 x n struct array; a field that only some rows have is [] in the others, as MATLAB has it."""
    names = list(dict.fromkeys(name for row in rows for name in row)) or ["none"]
    array = np.empty((1, len(rows)), dtype=[(name, object) for name in names])
    for place, row in enumerate(rows):
        for name in names:
            array[name][0, place] = row.get(name, NOTHING)
    return array


def cell(*values: Any) -> NDArray[Any]:
    array = np.empty((1, len(values)), dtype=object)
    array[0, :] = values
    return array


def points(joints: dict[int, tuple[Any, ...]]) -> dict[str, Any]:
    """annopoints of joints: {id: (x, y) or (x, y, is_visible)}."""
    rows = [{"x": joint[0], "y": joint[1], "id": number, "is_visible": (*joint, 1)[2]} for number, joint in joints.items()]
    return {"point": structs(rows)}


def person(joints: dict[int, tuple[Any, ...]], **more: Any) -> dict[str, Any]:
    return {"annopoints": structs([points(joints)])} | more


def picture(name: Any, *people: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"image": structs([{"name": name}]), "annorect": structs(list(people)) if people else NOTHING} | more


def write_mat(path: Path, pictures: list[dict[str, Any]], categories: list[Any], **more: Any) -> Path:
    """RELEASE with `annolist`, and `act` with a category for each picture; `more` are other fields, or take their place."""
    acts = structs([{"cat_name": category, "act_name": "x", "act_id": 1} for category in categories])
    release = {"annolist": structs(pictures), "act": acts} | more
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"RELEASE": structs([release])})
    return path
