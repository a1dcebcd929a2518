"""Prompts and seeds -> pictures that nobody took, as a version of the split in which train has them too.

    python -m stages.synthesize --params synthetic.posture.embedded --clean data/clean/posture --split data/splits/posture/all
        --agree data/params.checked.json --seed 20220422 --work .work/synthesize --out data/synthetic/posture

`out` holds
    added/          the version: the base's own list and, in train, the added pictures (stages/samples.py)
    provenance.csv  of every picture that was made: prompt, seed, generator, model, revision, and why it was refused if it was
    counts.json     what was asked for, made, refused and why; the classes of train before and after
    montage.jpg     some of each class; refused.jpg some of those refused, where there are any
A picture's seed comes from the stage's seed, its class, species and view, and its number among those: to ask for more of a
class leaves the seeds of all others as they are. Refused are pictures of one colour, those that the generator itself withdraws,
those that look like a photo of any part of the split or like another one made, and, with `--agree <a trained classifier>`,
those that it takes for another class. Killed, the same command goes on behind the last picture.
"""

import argparse
import shutil
import string
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import groupby, islice, product
from pathlib import Path
from typing import Any, Self

import pandas as pd
from PIL import Image, ImageDraw, ImageFont, ImageOps
from pydantic import Field, model_validator
from tqdm import tqdm

from stages.command import run
from stages.files import DataError, new_file, new_folder, read_json, seed_from, sha256_file, write_json
from stages.fingerprint import code_in_use, key_of, versions
from stages.generators import Generator, Made, Wanted, find
from stages.pictures import inspect, jpeg
from stages.samples import PARTS_CSV, PICTURES, TRAIN, Samples, of_part, read_base, write_version
from stages.screening import BLANK, Verdict, agreed, answers_of, is_blank, without_look_alikes
from stages.settings import Record, read_params, section

VERSION = "added"  # the folder in `out` that models name
PROVENANCE = (
    *("sample_id", "label", "species", "view", "prompt", "seed", "generator", "model", "revision"),
    *("file", "refused", "detail", "taken_for", "probability"),
)
_COLUMNS, _TILE_PX, _LINE_PX = 8, 160, 14  # of the montage


class SynthesizeSettings(Record):
    generator: str | None  # a file of stages/generators; null: this profile makes nothing, and the version is its base
    using: dict[str, Any] = Field(default_factory=dict)  # settings of the generator
    actions: dict[str, str] = Field(min_length=1)  # the classes to make pictures of, and what the prompt calls each
    species: tuple[str, ...] = Field(min_length=1)
    views: tuple[str, ...] = Field(min_length=1)
    prompt: str  # with {action}, {species} and {view}
    count: dict[str, int] | None = None  # pictures to make of each class
    fill_to: int | None = Field(None, gt=0)  # or: of each class as many as bring it to this number in train
    near_bits: int = Field(3, ge=0, le=7)  # 64-bit perceptual hashes this near count as look-alikes, as in the split

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.count is None) == (self.fill_to is None):
            raise ValueError("give either `count`, pictures for each class, or `fill_to`")
        if self.count is not None and (self.count.keys() != self.actions.keys() or min(self.count.values()) < 0):
            raise ValueError(f"`count` wants a number for each class of `actions`: {', '.join(self.actions)}")
        for name, values in (("species", self.species), ("views", self.views)):
            if len(set(values)) != len(values):
                raise ValueError(f"`{name}` names one twice")
        fields = {field for _, field, _, _ in string.Formatter().parse(self.prompt) if field is not None}
        if fields != {"action", "species", "view"}:
            raise ValueError(f"`prompt` wants {{action}}, {{species}} and {{view}} in it, not {sorted(fields)}")
        return self


# What is wanted ------------------------------------------------------------------------------------------------------


def plan(settings: SynthesizeSettings, n_train: dict[str, int], seed: int) -> list[Wanted]:
    """The pictures to make, class by class; species and views by turns. `n_train` counts train's pictures by class.

    Raises DataError for a class that train does not have.
    """
    if strangers := [label for label in settings.actions if label not in n_train]:
        raise DataError(f"`actions` names {strangers[0]}, a class that train has no picture of. There is: {', '.join(n_train)}")
    count = settings.count or {label: max(0, (settings.fill_to or 0) - n_train[label]) for label in settings.actions}
    kinds = list(product(settings.species, settings.views))
    wanted = []
    for label, words in settings.actions.items():
        for place in range(count[label]):
            (species, view), number = kinds[place % len(kinds)], place // len(kinds)
            wanted.append(
                Wanted(
                    sample_id=f"synthetic {label} {species} {view} {number}",
                    label=label,
                    species=species,
                    view=view,
                    prompt=settings.prompt.format(action=words, species=species, view=view),
                    seed=seed_from(seed, label, species, view, number),
                )
            )
    return wanted


# Making them ---------------------------------------------------------------------------------------------------------


class Finished:
    """Pictures as they were made, in `work`, which belongs to the very inputs that they are made from.

    Of each there is a record, {"refused": why or "", "sha256": of its file or null}, written after the file.
    """

    def __init__(self, work: Path) -> None:
        self.work = work

    def picture(self, one: Wanted) -> Path:
        return self.work / file_name(one)

    def record(self, one: Wanted) -> dict[str, Any] | None:
        """None for a picture that is still to be made, or is not as it was made."""
        path = self.work / f"{one.seed:016x}.json"
        if not path.is_file():
            return None
        record = read_json(path)
        picture = self.picture(one)
        is_whole = record["sha256"] is None or (picture.is_file() and sha256_file(picture) == record["sha256"])
        return record if is_whole else None

    def add(self, one: Wanted, made: Made) -> None:
        """Raises DataError where the disk refuses."""
        refused, sha256 = made.refused, None
        try:
            if made.rgb is not None:
                refused = refused or (BLANK if is_blank(made.rgb) else "")
                with new_file(self.picture(one)) as temporary:
                    temporary.write_bytes(jpeg(made.rgb))  # as photos are: no class is to be told by its format
                sha256 = sha256_file(self.picture(one))
            write_json(self.work / f"{one.seed:016x}.json", {"refused": refused, "sha256": sha256})
        except OSError as error:
            raise DataError(
                f"{self.work}: cannot be written: {error.strerror or error}. Make room and run the same command again: "
                "finished pictures are kept"
            ) from None


def file_name(one: Wanted) -> str:
    return f"{one.seed:016x}.jpg"  # a species or view may hold what no file name can


def make_all(generator: Generator, wanted: Sequence[Wanted], finished: Finished) -> int:
    """Make what is missing; returns how many pictures were there already.

    A batch of which anything is missing is made whole again: beside other pictures a batch may come out rounded otherwise.
    """
    there = {one for one in wanted if finished.record(one) is not None}
    if len(there) < len(wanted):
        generator.require(wanted)
    with tqdm(total=len(wanted), initial=len(there), desc="pictures", unit="", disable=None, leave=False) as bar:
        for batch in _batches(wanted, generator.batch_size):
            if missing := [one for one in batch if one not in there]:
                made = dict(zip(batch, generator.make(batch), strict=True))
                for one in missing:
                    finished.add(one, made[one])
                    bar.update()
    return len(there)


def _batches(wanted: Iterable[Wanted], size: int) -> Iterator[list[Wanted]]:
    rest = iter(wanted)
    while batch := list(islice(rest, size)):
        yield batch


def look(one: Wanted, finished: Finished) -> Verdict:
    """A picture and what its generator, or its colours alone, say against it."""
    record = finished.record(one)
    assert record is not None
    found = inspect(finished.picture(one).read_bytes()) if record["sha256"] else None
    return Verdict(one, found, record["refused"])


# What is written -----------------------------------------------------------------------------------------------------


def samples_of(verdicts: Sequence[Verdict], generator: Generator, like: pd.DataFrame) -> pd.DataFrame:
    """A samples table, of the columns of `like`, of the pictures that are not refused; `path` is their file's name."""
    rows = [
        {
            "sample_id": one.wanted.sample_id,
            "path": file_name(one.wanted),
            "label": one.wanted.label,
            "species": one.wanted.species,
            "seq_id": one.wanted.sample_id,
            "note": f"made by {generator.about['generator']}, seed {one.wanted.seed}",
            **asdict(one.found),
        }
        for one in verdicts
        if one.found and not one.refused
    ]
    return pd.DataFrame(rows, columns=list(like.columns)).astype(like.dtypes)


def provenance(verdicts: Sequence[Verdict], generator: Generator) -> pd.DataFrame:
    """A row of PROVENANCE for each picture that was made."""
    about = {name: generator.about[name] for name in ("generator", "model", "revision")}
    rows = [
        {**vars(one.wanted), **about, **vars(one), "file": "" if one.refused else file_name(one.wanted)} for one in verdicts
    ]
    return pd.DataFrame(rows, columns=PROVENANCE)


def counts(verdicts: Sequence[Verdict], train_labels: pd.Series) -> dict[str, Any]:
    """What became of the pictures by class, and train's classes before and after; rows in = added + refused."""
    table = pd.DataFrame(
        [{"label": one.wanted.label, "refused": one.refused} for one in verdicts], columns=["label", "refused"]
    )
    refused = {name: by_class(rows["label"]) for name, rows in table[table["refused"] != ""].groupby("refused")}
    added = table.loc[table["refused"] == "", "label"]
    if len(table) != len(added) + sum(sum(of.values()) for of in refused.values()):
        raise AssertionError(f"pictures lost: {len(table)} made, {len(added)} added, refused: {refused}")
    found = {
        "made": by_class(table["label"]),
        "refused": refused,
        "added": by_class(added),
        "train_before": by_class(train_labels),
        "train_after": by_class(pd.concat([train_labels, added])),
    }
    asked = [one for one in verdicts if one.taken_for]
    if asked:
        right = pd.Series([one.wanted.label for one in asked if one.taken_for == one.wanted.label], dtype=str)
        found["agreement"] = {"asked": len(asked), "taken_for_what_they_are": by_class(right)}
    return found


def by_class(labels: pd.Series) -> dict[str, int]:
    return {str(name): int(n) for name, n in labels.value_counts().sort_index().items()}


def montage(verdicts: Sequence[Verdict], finished: Finished, title: str) -> Image.Image:
    """Some pictures of each class, a row each, with what was asked for, the seed and, if they were refused, why."""
    classes = [list(of_class) for _, of_class in groupby(verdicts, key=lambda one: one.wanted.label)]
    rows = [sorted(of_class, key=lambda one: one.wanted.seed)[:_COLUMNS] for of_class in classes]  # of all species and views
    sheet = Image.new("RGB", (_COLUMNS * _TILE_PX, _LINE_PX * 2 + len(rows) * (_TILE_PX + 4 * _LINE_PX)), "white")
    pen = ImageDraw.Draw(sheet)
    pen.text((4, 4), title, "black", ImageFont.load_default(14))
    for row, of_class in enumerate(rows):
        for column, one in enumerate(of_class):
            left, top = column * _TILE_PX, _LINE_PX * 2 + row * (_TILE_PX + 4 * _LINE_PX)
            with Image.open(finished.picture(one.wanted)) as picture:
                sheet.paste(ImageOps.contain(picture, (_TILE_PX - 4, _TILE_PX - 4)), (left + 2, top + 2))
            wanted = one.wanted
            lines = f"{wanted.label} · {wanted.species}", wanted.view, f"seed {wanted.seed}", f"{one.refused} {one.detail}"
            for number, line in enumerate(lines):
                pen.text((left + 4, top + _TILE_PX + number * _LINE_PX), line[:30], "black", ImageFont.load_default(10))
    return sheet


def write(
    out: Path, verdicts: Sequence[Verdict], finished: Finished, generator: Generator, samples: Samples, base: Path
) -> None:
    """Fill `out` but for its counts. `base` is the version that pictures are added to."""
    added = samples_of(verdicts, generator, samples.pictures)
    (out / VERSION / PICTURES).mkdir(parents=True)
    for name in added["path"]:
        shutil.copyfile(finished.work / name, out / VERSION / PICTURES / name)
    added = added.assign(path=f"{PICTURES}/" + added["path"])
    boxes, taken = samples.boxes.head(0), samples.pictures["sample_id"]
    write_version(out / VERSION, (base / PARTS_CSV).read_bytes(), added, boxes, taken)
    provenance(verdicts, generator).to_csv(out / "provenance.csv", index=False, lineterminator="\n")
    title = f"{generator.about['generator']} · {generator.about['model']} {generator.about['revision']}"
    kept, refused = ([one for one in verdicts if one.found and bool(one.refused) == bad] for bad in (False, True))
    for name, what, shown in (("montage", "added", kept), ("refused", "refused", refused)):
        if shown:
            montage(shown, finished, f"{title} · some of {len(shown)} {what}").save(out / f"{name}.jpg", quality=90)


def write_base(out: Path, base: Path, train_labels: pd.Series) -> None:
    """Fill `out` where nothing is made: the version is its base."""
    (out / VERSION).mkdir()
    shutil.copyfile(base / PARTS_CSV, out / VERSION / PARTS_CSV)
    write_json(out / "counts.json", {"generator": None, **counts([], train_labels)})


def main() -> None:
    parser = argparse.ArgumentParser(description="prompts and seeds -> more train pictures, that nobody took")
    parser.add_argument("--params", required=True, help="path of the settings in params.yaml")
    parser.add_argument("--clean", type=Path, required=True, help="the clean stage's output")
    parser.add_argument("--split", type=Path, required=True, help="the version to start from, a folder")
    parser.add_argument("--agree", type=Path, required=True, help="a trained classifier, which has to agree; a file: none has")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--work", type=Path, required=True, help="where finished pictures are kept until all are")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    args = parser.parse_args()
    params = read_params()
    settings = section(args.params, SynthesizeSettings, params)
    samples, parts = read_base(args.split, args.clean)
    train_labels = of_part(samples, parts, TRAIN)["label"]
    if settings.generator is None:
        with new_folder(args.out) as out:
            write_base(out, args.split, train_labels)
        print("nothing is made in this profile: train is as it was")
        return
    if not args.agree.exists():
        raise DataError(f"--agree {args.agree}: no such model. It is trained by `dvc repro train@{args.agree.name}`")
    agree = args.agree if args.agree.is_dir() else None
    chosen = find(settings.generator)
    wanted = plan(settings, by_class(train_labels), args.seed)
    generator = chosen.open_generator(section(f"{args.params}.using", chosen.SETTINGS, params))
    work = args.work / args.out.name / key_of(generator.about, wanted, versions(), code_in_use())
    finished = Finished(work)
    before = make_all(generator, wanted, finished)
    verdicts = [look(one, finished) for one in wanted]
    if agree:
        sound = samples_of(verdicts, generator, samples.pictures)
        verdicts = agreed(verdicts, answers_of(agree, sound, work, settings.actions))
    verdicts = without_look_alikes(verdicts, samples.pictures, settings.near_bits)
    report: dict[str, Any] = {"generator": generator.about, "agree": agree.name if agree else None}
    report |= counts(verdicts, train_labels)
    because = {reason: sum(of.values()) for reason, of in report["refused"].items()}
    if wanted and not report["added"]:
        raise DataError(f"all {len(wanted)} pictures are refused: {because}. They lie in {work}: look at them")
    with new_folder(args.out) as out:
        write(out, verdicts, finished, generator, samples, args.split)
        write_json(out / "counts.json", report)
    shutil.rmtree(work, ignore_errors=True)
    print(
        f"{generator.about['generator']}: {len(wanted)} pictures ({before} made before), refused: {because or 'none'}; "
        f"train: {report['train_before']} -> {report['train_after']}"
    )


if __name__ == "__main__":
    run(main)
