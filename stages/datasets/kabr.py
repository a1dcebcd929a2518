"""KABR: drone clips of zebras and giraffes. Its previews, GIFs named `<animal><number>-<action>`: `ZG0658-Graze.gif`.

Clips of one animal number are one sequence: it is the same animal on the same flight, whatever it does.
"""

import re
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from stages.datasets import Raw, clips, label_of, require_distinct, tables
from stages.files import DataError

CITATION = "Kholiavchenko et al. 2024, KABR: In-Situ Dataset for Kenyan Animal Behavior Recognition from Drone Videos"
LICENCE = "as https://kabrdata.xyz says"
URLS: tuple[str, ...] = ()  # the previews lie beside the authors' code, https://github.com/dirtmaxim/kabr
_NAME = re.compile(r"(?P<animal>(?P<species>[A-Z]+)\d+)-(?P<action>\S.*)")
_SPECIES = {"G": "giraffe", "ZG": "Grevy's zebra", "ZP": "plains zebra"}


def read(root: Path, files: Collection[str], annotations: tuple[str, ...]) -> Raw:
    """Read the clips below `root`. `annotations` must be empty."""
    if annotations:
        raise DataError(f"{root}: KABR's previews have no annotation lists, but {annotations} are named")
    pictures: list[dict[str, object]] = []
    labels: list[dict[str, object]] = []
    rejects: list[dict[str, object]] = []
    for path in clips(files):
        name = PurePosixPath(path)
        found = _NAME.fullmatch(name.stem)
        if found is None:
            detail = "its name is not <animal><number>-<action>, ZG0658-Graze.gif for one"
            rejects.append({"kind": "picture", "row": path, "name": path, "reason": "no_label", "detail": detail})
            continue
        about = {"species": _SPECIES.get(found["species"]), "seq_id": found["animal"]}
        pictures.append({"row": path, "sample_id": path, "file_name": path} | about)
        labels.append({"row": path, "sample_id": path, "label": label_of(found["action"]), "has_box": False})
    if not pictures:
        raise DataError(f"{root}: no clip named <animal><number>-<action> among {len(files)} files, ZG0658-Graze.gif for one")
    require_distinct(root, ((str(row["label"]), str(row["row"])) for row in labels))
    return tables(pictures, labels, rejects, videos=True)
