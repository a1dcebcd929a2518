"""Hand labels, out and in again: a part of a data set as COCO Camera Traps JSON, for a labelling tool.

    python -m stages.labels --clean data/clean/camera_trap --split data/splits/camera_trap/class --part unseen --out unseen.json

What comes back is named in `datasets.<name>.<profile>.download.labels`, and `clean` puts it in the place of the source's own
annotations (`relabelled`).
"""

import argparse
import shutil
from collections.abc import Collection, Hashable
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any
from unicodedata import normalize

import pandas as pd

from stages.command import run
from stages.datasets import Raw, require_distinct
from stages.datasets.caltech_camera_traps import read
from stages.files import DataError, new_folder, write_json
from stages.geometry import xywh_from_xyxy
from stages.samples import BOX_COLUMNS, EMPTY, PARTS_CSV, Samples, of_part, read_samples, read_version
from stages.sources import finder

ALL = "all"

# Out -----------------------------------------------------------------------------------------------------------------


def coco(pictures: pd.DataFrame, samples: Samples, description: str, blank: bool = False) -> dict[str, Any]:
    """`pictures`, some rows of `samples.pictures`, as a COCO Camera Traps document; with `blank`, without annotations.

    A bbox is [x, y, width, height] in px of the picture the right way up, at the size that is listed. A picture without a box
    has one annotation without bbox, its class or `empty`. The categories are all classes of `samples`; 0 is `empty`.
    """
    classes = set(samples.pictures["label"]) | set(samples.boxes["label"])
    numbers = {label: number for number, label in enumerate([EMPTY, *sorted(classes - {EMPTY})])}
    return {
        "info": {"version": "1.0", "description": description},
        "images": [_image(row) for row in pictures.to_dict("records")],
        "annotations": [] if blank else _annotations(pictures, samples.boxes, numbers),
        "categories": [{"id": number, "name": label} for label, number in numbers.items()],
    }


def _image(row: dict[Hashable, Any]) -> dict[str, Any]:
    image = {
        "id": row["sample_id"],
        "file_name": row["path"],
        "width": row["width_px"],
        "height": row["height_px"],
        "seq_id": row["seq_id"],
    }
    if pd.notna(row["frame_num"]):
        image["frame_num"] = int(row["frame_num"])
    if pd.notna(row["location"]):
        image["location"] = row["location"]
    if pd.notna(row["captured_at"]):
        image["datetime"] = str(row["captured_at"])
    return image


def _annotations(pictures: pd.DataFrame, boxes: pd.DataFrame, numbers: dict[str, int]) -> list[dict[str, Any]]:
    boxes = boxes[boxes["sample_id"].isin(pictures["sample_id"])]
    boxes = boxes.assign(bbox=xywh_from_xyxy(boxes[BOX_COLUMNS].to_numpy(dtype=float)).tolist())
    whole = pictures[~pictures["sample_id"].isin(boxes["sample_id"])]
    rows = [
        *({"image_id": row.sample_id, "category_id": numbers[row.label], "bbox": row.bbox} for row in boxes.itertuples()),
        *({"image_id": row.sample_id, "category_id": numbers[row.label]} for row in whole.itertuples()),
    ]
    return [{"id": str(number), **row} for number, row in enumerate(rows, 1)]  # the format's ids are text


def choose(samples: Samples, split: Path, part: str) -> pd.DataFrame:
    """The pictures of one part of the version in `split`, by id; what the version itself adds to train is left out.

    Raises DataError where there is no such version or part.
    """
    if not (split / PARTS_CSV).is_file():
        there = sorted(path.parent.name for path in split.parent.glob(f"*/{PARTS_CSV}"))
        raise DataError(f"{split}: no version of a split. Versions in {split.parent}: {', '.join(there) or 'none'}")
    _, parts = read_version(split, samples)
    known = sorted(set(parts["part"]))
    if part not in [*known, ALL]:
        raise DataError(f"{split}: no part `{part}`. There is: {', '.join(known)}, or {ALL}")
    return of_part(samples, parts, *(known if part == ALL else [part]))


def copy_pictures(paths: Collection[str], root: Path, folder: Path) -> None:
    """Copy `root / path` to `folder / path` for each of `paths`. Raises DataError for one that cannot be copied."""
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(root / path, folder / path)
        except OSError as error:
            raise DataError(f"{root / path}: not copied: {error.strerror}. Mend it, or make room at {folder.parent}") from None


# In ------------------------------------------------------------------------------------------------------------------


def read_labels(path: Path) -> Raw:
    """Hand labels in the COCO Camera Traps format, as a table each of pictures, annotations and rejects."""
    return read(path.parent, {path.name}, (path.name,))


def relabelled(raw: Raw, labels: Raw, files: Collection[str]) -> Raw:
    """`raw` with the annotations of each picture that `labels` annotates replaced by those, boxes at the size listed there.

    A picture is known by its file, or by its id where the file's name agrees: labelling tools count pictures anew, and some
    leave out the folders. One that `labels` names without an annotation keeps the source's. Rows of `labels` about no picture
    of the source, or about one that an earlier row names, are rejects. Raises DataError when all are about none, or when a
    class differs from another by case or spaces alone.
    """
    known = _known(raw.pictures, labels.pictures, files)
    listed = labels.pictures.assign(known=known)
    if len(listed) and listed["known"].isna().all():
        raise DataError(
            f"hand labels: none of the {len(listed)} pictures is in the source, {listed['file_name'].iloc[0]!r} for "
            f"example. Give them `file_name` and `id` as `python -m stages.labels` writes them"
        )
    again = listed["known"].notna() & listed.duplicated("known")
    usable = listed[listed["known"].notna() & ~again].set_index("sample_id")
    placed = labels.annotations["sample_id"].isin(usable.index)
    annotations = labels.annotations[placed]
    annotations = annotations.assign(sample_id=annotations["sample_id"].map(usable["known"]))
    by_hand = frozenset(annotations["sample_id"])

    sizes = usable.set_index("known")[["width_px", "height_px"]].loc[sorted(by_hand)]
    pictures = raw.pictures.set_index("sample_id", drop=False)
    pictures.loc[sizes.index, ["width_px", "height_px"]] = sizes
    stays = ~raw.annotations["sample_id"].isin(by_hand)
    rejects = [
        raw.rejects,
        labels.rejects,
        _rejects(listed[listed["known"].isna()], "picture", "no_such_picture", "the source has no such picture"),
        _rejects(listed[again], "picture", "named_twice", "an earlier row of the hand labels names this picture"),
        _rejects(labels.annotations[~placed], "annotation", "picture_rejected", "its picture was rejected"),
    ]
    together = pd.concat([raw.annotations[stays], annotations], ignore_index=True)
    require_distinct("hand labels and source", zip(together["label"], together["row"], strict=True))
    return replace(
        raw,
        pictures=pictures.reset_index(drop=True),
        annotations=together,
        rejects=pd.concat(rejects, ignore_index=True),
        merged=raw.merged + len(usable),
        by_hand=by_hand,
        replaced=int((~stays).sum()),
        unlabelled=len(usable) - len(by_hand),
    )


def _known(pictures: pd.DataFrame, listed: pd.DataFrame, files: Collection[str]) -> list[str | None]:
    """The source's sample_id for each picture that is listed, or None."""
    find = finder(files)
    paths = pictures["file_name"].map(find)
    alone = paths.notna() & ~paths.duplicated(keep=False)  # a file that two rows name is neither's own
    by_path = dict(zip(paths[alone], pictures.loc[alone, "sample_id"], strict=True))
    names = dict(zip(pictures["sample_id"], pictures["file_name"], strict=True))

    def known(sample_id: str, file_name: str) -> str | None:
        path = find(file_name)
        if path in by_path:
            return by_path[path]
        return sample_id if sample_id in names and _last(names[sample_id]) == _last(file_name) else None

    return [known(*row) for row in zip(listed["sample_id"], listed["file_name"], strict=True)]


def _last(file_name: str) -> str:
    return normalize("NFC", PurePosixPath(file_name.replace("\\", "/")).name)


def _rejects(rows: pd.DataFrame, kind: str, reason: str, detail: str) -> pd.DataFrame:
    name = rows["file_name" if kind == "picture" else "sample_id"]
    return pd.DataFrame({"kind": kind, "row": rows["row"], "name": name, "reason": reason, "detail": detail})


# Command line --------------------------------------------------------------------------------------------------------

HELP = """\
Writes one part of a data set as COCO Camera Traps JSON, to label or correct by hand in a labelling tool.

To take the labels in again, save them from the tool as COCO or COCO Camera Traps JSON, name that file in params.yaml as
datasets.<name>.<profile>.download.labels, and run `dvc repro`. Then, for each picture in it:
  with annotations   they replace all of the source's annotations of this picture
  of nothing         one annotation of the category `empty`; where the tool wants a box, any box will do
  without any        not labelled yet: the source's annotations stay
Pictures are recognised by `file_name` (or `id`), classes by their name: keep both."""


def main() -> None:
    parser = argparse.ArgumentParser(description=HELP, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clean", type=Path, required=True, help="the cleaned data set, data/clean/<name>")
    parser.add_argument("--split", type=Path, required=True, help="a version of its split, data/splits/<name>/<version>")
    parser.add_argument("--part", required=True, help=f"train, val, test, seen, unseen, unused, or {ALL}")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--blank", action="store_true", help="leave the annotations out, to label from nothing")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="folder to copy these pictures to, for the tool")
    args = parser.parse_args()
    for path in (args.out, args.pictures):
        if path is not None and path.exists():
            raise DataError(f"{path}: exists already and may hold labels. Move it, or give another name")
    samples = read_samples(args.clean)
    chosen = choose(samples, args.split, args.part)
    document = coco(chosen, samples, f"{args.split.parent.name}, {args.split.name}: {args.part}", args.blank)
    if args.pictures is not None:
        with new_folder(args.pictures) as folder:
            copy_pictures(chosen["path"], samples.root, folder)
    write_json(args.out, document)
    print(f"{args.out}: {len(chosen)} pictures, {len(document['annotations'])} annotations")


if __name__ == "__main__":
    run(main)
