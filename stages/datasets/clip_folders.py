"""A folder for each class, clips inside: `<class>/.../<clip>`, each a video, a GIF, or a folder of frames (30 a second).

Clips that share a folder below their class, `walking/camera 3/1.mp4`, are one sequence: cut from one film, or of one animal.
"""

from collections.abc import Collection
from pathlib import Path, PurePosixPath

from stages.datasets import Raw, clips, label_of, require_distinct, tables
from stages.files import DataError

CITATION = "the user's own data"
LICENCE = "the user's own data"
URLS: tuple[str, ...] = ()


def read(root: Path, files: Collection[str], annotations: tuple[str, ...]) -> Raw:
    """Read clips below `root`; the first folder of a clip's path is its class. `annotations` must be empty."""
    if annotations:
        raise DataError(f"{root}: a folder for each class has no annotation lists, but {annotations} are named")
    paths = [PurePosixPath(path) for path in clips(files)]
    inside = [path for path in paths if len(path.parts) > 1 and label_of(path.parts[0])]
    if not inside:
        raise DataError(
            f"{root}: no `<class>/<clip>` in it, each clip a video, a GIF or a folder of frames. Found {len(files)} files"
        )
    require_distinct(root, ((label_of(path.parts[0]), str(path)) for path in inside))
    pictures: list[dict[str, object]] = [
        {"row": str(p), "sample_id": str(p), "file_name": str(p), "seq_id": _film(p)} for p in inside
    ]
    labels: list[dict[str, object]] = [
        {"row": str(p), "sample_id": str(p), "label": label_of(p.parts[0]), "has_box": False} for p in inside
    ]
    detail = "lies in no class folder; pictures straight in one would be frames of one clip"
    rejects: list[dict[str, object]] = [
        {"kind": "picture", "row": str(p), "name": str(p), "reason": "no_label", "detail": detail}
        for p in sorted(set(paths) - set(inside))
    ]
    return tables(pictures, labels, rejects, videos=True)


def _film(path: PurePosixPath) -> str:
    """What a clip's folder below its class is called, whatever the class: one film may show several actions; else its path."""
    return "/".join(path.parts[1:-1]) or str(path)
