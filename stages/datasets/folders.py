"""A folder for each class, the pictures inside: `<class>/.../<picture>`. The folder `empty` holds pictures of nothing."""

from collections.abc import Collection
from pathlib import Path, PurePosixPath

from stages.datasets import PICTURE_ENDINGS, Raw, label_of, require_distinct, tables
from stages.files import DataError

CITATION = "the user's own data"
LICENCE = "the user's own data"
URLS: tuple[str, ...] = ()


def read(root: Path, files: Collection[str], annotations: tuple[str, ...]) -> Raw:
    """Read pictures below `root`; the first folder of a picture's path is its class. `annotations` must be empty."""
    if annotations:
        raise DataError(f"{root}: a folder for each class has no annotation lists, but {annotations} are named")
    paths = [path for path in map(PurePosixPath, sorted(files)) if path.suffix.lower() in PICTURE_ENDINGS]
    inside = [path for path in paths if len(path.parts) > 1 and label_of(path.parts[0])]
    if not inside:
        raise DataError(f"{root}: no `<class>/<picture>` in it. Found {len(files)} files")
    loose = set(paths) - set(inside)
    require_distinct(root, ((label_of(p.parts[0]), str(p)) for p in inside))
    pictures: list[dict[str, object]] = [{"row": str(p), "sample_id": str(p), "file_name": str(p)} for p in inside]
    labels: list[dict[str, object]] = [
        {"row": str(p), "sample_id": str(p), "label": label_of(p.parts[0]), "has_box": False} for p in inside
    ]
    rejects: list[dict[str, object]] = [
        {"kind": "picture", "row": str(p), "name": str(p), "reason": "no_label", "detail": "lies in no class folder"}
        for p in sorted(loose)
    ]
    return tables(pictures, labels, rejects)
