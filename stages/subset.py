"""Which clips a study wants, from the metadata alone, before anybody has the videos.

    python -m stages.subset --params datasets.action.paper --metadata AR_metadata.xlsx --out clips.csv

It reads the metadata, and cuts as `clean` and `split` do, by the same settings and seed. The CSV has a row for each clip that
some version uses: video_id, species, label, part (train, val, test), also (test5, or nothing), and for each version the clip's
part in it, or nothing. Damaged clips and copies are found by looking: `clean` refuses them, and at `split` the next in rank
takes a place that falls vacant, so it is well to have some more.
"""

import argparse
from pathlib import Path

import pandas as pd

from stages.clean import CleanSettings, wanted_clips
from stages.command import run
from stages.datasets import Raw, adapter
from stages.download import DownloadSettings
from stages.files import DataError, new_file
from stages.samples import UNUSED
from stages.settings import read_params, section
from stages.sources import scan
from stages.split import SplitSettings, cut_all


def read_metadata(name: str, path: Path, annotations: tuple[str, ...] = ()) -> Raw:
    """What the adapter `name` reads of a metadata file, or of a folder with it; no video has to be there."""
    if not path.exists():
        raise DataError(f"{path}: no such file or folder. Give the metadata, AR_metadata.xlsx for one, or the folder it is in")
    root = path if path.is_dir() else path.parent
    if path.is_file():
        files, annotations = {found.name for found in root.iterdir() if found.is_file()}, (path.name,)
    else:
        files = set(scan(root))
    raw = adapter(name).read(root, files, annotations)
    if not raw.videos:
        raise DataError(f"{path}: the adapter {name} is not one of clips. Give the `--params` of a data set whose samples are")
    return raw


def subset(raw: Raw, cleaning: CleanSettings, splitting: SplitSettings, seed: int) -> pd.DataFrame:
    """The clips that some version of the balanced cut uses, by part, class and id."""
    if splitting.balanced is None:
        raise DataError("split.balanced: null. It says how many clips of each class are wanted, so that they can be chosen")
    clips = wanted_clips(raw, cleaning, [])
    clips = clips.assign(seq_id=clips["seq_id"].where(clips["seq_id"].notna(), clips["sample_id"]))
    others = dict.fromkeys(("unseen", "location", "class_", "official", "stratified"))
    alone = splitting.model_copy(update={**others, "near_duplicates": "report"})  # which would want to see the clips
    versions, also = cut_all(clips, alone, seed)
    table = pd.DataFrame({"video_id": clips["sample_id"], "species": clips["species"], "label": clips["label"]})
    parts = pd.DataFrame(versions).replace(UNUSED, "")
    table["part"] = parts.max(axis=1)  # the only one there is, or "": versions are nested
    table["also"] = next(iter(also.values()))
    table = pd.concat([table, parts], axis=1)[lambda rows: rows["part"] != ""]
    return table.sort_values(["part", "label", "video_id"], ignore_index=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="the metadata of clips -> a list of those that the study wants")
    parser.add_argument("--params", required=True, help="path of a data set's profile in params.yaml: datasets.action.paper")
    parser.add_argument("--metadata", type=Path, required=True, help="the metadata file, or the folder that it is in")
    parser.add_argument("--out", type=Path, required=True, help="CSV to write")
    args = parser.parse_args()
    params = read_params()
    cleaning = section(f"{args.params}.clean", CleanSettings, params)
    splitting = section(f"{args.params}.split", SplitSettings, params)
    name = section(f"{args.params}.download", DownloadSettings, params).adapter
    raw = read_metadata(name, args.metadata, cleaning.annotations)
    print(f"{len(raw.pictures) + len(raw.rejects)} clips listed, {len(raw.pictures)} of one action and one kind of animal")
    for reason, count in raw.rejects["reason"].value_counts().items():
        print(f"  {count} not: {reason}")
    if in_text := int((raw.rejects["reason"] == "several_animals_in_text").sum()):
        print(
            f"  ({len(raw.pictures) + in_text} where a text in a list is taken for one kind, as the document's number has it)"
        )
    table = subset(raw, cleaning, splitting, params["seed"])
    with new_file(args.out) as out:
        table.to_csv(out, index=False)
    for version in table.columns[5:]:
        shown = table[version].replace("", pd.NA).dropna().value_counts().sort_index()
        print(f"{version}: {', '.join(f'{count} {part}' for part, count in shown.items())}")
    halves = int((table["also"] != "").sum())
    print(f"{args.out}: {len(table)} clips of {table['label'].nunique()} classes, {halves} of them in test5")
    print("Those that `clean` finds unreadable or copies are replaced at `split` by the next in rank: have some more at hand")
    if splitting.near_duplicates == "together" or cleaning.exclude:
        print("note: `near_duplicates: together` and `exclude` want the videos: the list may differ from `split`'s a little")


if __name__ == "__main__":
    run(main)
