"""samples -> one list for each version of a data set: which picture is in train, val, test, seen, unseen.

One order of cutting, so that the test sets never move (spec, section 4):
    unseen   locations held out of everything, about `max_per_class` pictures a class, whole sequences
    seen     a share of the sequences at the other locations
    the rest is divided by version: `location`, `class`; `official` takes the lists that came with the data
Data without locations are cut once by class, `stratified`: the test part, and of the rest one version or several, each perhaps
a subset, and perhaps apart from another's; or `balanced`, so many of each class exactly (stages/balanced.py).
The choice depends on ids, labels and the seed alone, never on the order of rows or files.
"""

import argparse
import itertools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import pandas as pd
from pydantic import Field, field_validator, model_validator
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from stages.balanced import Balanced, balanced
from stages.command import run
from stages.files import DataError, new_folder, require_manifest, seed_from, write_json
from stages.samples import EMPTY, PARTS_CSV, SEEN, TEST, TEST5, TRAIN, UNSEEN, UNUSED, VAL, read_samples
from stages.settings import Record, read_params, section


class Unseen(Record):
    locations: float | int | tuple[str, ...]  # a share (0 to 1), a number, or the very ids of the locations to hold out
    max_per_class: int | None = Field(100, gt=0)  # pictures a class, about: sequences stay whole; null: all

    @field_validator("locations", mode="before")
    @classmethod
    def _ids_are_text(cls, given: object) -> object:
        if isinstance(given, (list, tuple)) and all(type(name) in (str, int) for name in given):
            return tuple(map(str, given))  # YAML reads [3, 4] as numbers
        if type(given) not in (float, int):
            raise ValueError("expected a share (0.3), a number (5) or the ids of locations ([3, 4])")
        return given


class Shares(Record):
    train: float = Field(gt=0, lt=1)
    val: float = Field(gt=0, lt=1)
    test: float = Field(0, ge=0, lt=1)  # the rest's own test part; none for `class`, whose test is `seen`

    @model_validator(mode="after")
    def _at_most_one(self) -> Self:
        if (total := self.train + self.val + self.test) > 1.0001:
            raise ValueError(f"train, val and test are shares and sum to {total:g}, more than 1")
        return self

    def normalised(self) -> dict[str, float]:
        parts = {TRAIN: self.train, VAL: self.val, TEST: self.test}
        return {part: share / sum(parts.values()) for part, share in parts.items() if share}


class Official(Record):
    """Given lists, by name (JSON file stems, or values of a CSV's `split` column), for each part."""

    train: tuple[str, ...] = Field(min_length=1)
    val: tuple[str, ...] | Annotated[float, Field(gt=0, lt=1)]  # a float: that share of the train lists' sequences, by class
    seen: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()


class Subset(Record):
    """A version of a stratified cut. Numbers are of pictures, about; classes keep their shares. null: all there are."""

    train: int | None = Field(None, gt=0)  # validation, which is cut from it, included
    test: int | None = Field(None, gt=0)
    apart_from: str | None = None  # an earlier version: what it trains or validates on is not in this one


class Stratified(Record):
    test: float = Field(gt=0, lt=1)  # share of all pictures, each class alike
    val: float = Field(gt=0, lt=1)  # share of a version's train, each class alike
    versions: dict[Annotated[str, Field(pattern=r"^[\w-]+$")], Subset] = Field(min_length=1)  # each is a folder of this name

    @model_validator(mode="after")
    def _earlier(self) -> Self:
        for place, (name, subset) in enumerate(self.versions.items()):
            if name in ("location", "class", "official"):
                raise ValueError(f"versions.{name}: a version that is cut in another way has this name: take another")
            earlier = list(self.versions)[:place]
            if subset.apart_from is not None and subset.apart_from not in earlier:
                raise ValueError(f"versions.{name}.apart_from: no earlier version `{subset.apart_from}`: {earlier}")
        return self


class SplitSettings(Record):
    unseen: Unseen | None = None  # null: no location is held out
    seen: float = Field(0.10, ge=0, lt=1)  # share of the pictures at the other locations
    group_by: Literal["seq_id", "sample_id"] = "seq_id"  # what stays together; sample_id is the document's literal way
    pool: tuple[str, ...] = ()  # given lists that may be trained on; none: all. Other rows serve as unseen only
    location: Shares | None = None
    class_: Shares | None = Field(None, alias="class")
    official: Official | None = None
    stratified: Stratified | None = None
    balanced: Balanced | None = None
    near_duplicates: Literal["report", "fail", "together"] = "report"  # look-alikes: tell of, or refuse, those in two parts;
    # or keep them in one part, their sequences whole
    near_bits: int = Field(3, ge=0, le=7)  # 64-bit perceptual hashes this near count as look-alikes

    @model_validator(mode="after")
    def _some_version(self) -> Self:
        if not self.made():
            raise ValueError(
                "no version asked for: give `location`, `class`, `official`, `stratified` or `balanced` its shares or lists"
            )
        if len(set(self.made())) < len(self.made()):
            raise ValueError("`stratified` and `balanced` have a version of the same name: rename one")
        return self

    def made(self) -> list[str]:
        """The versions that these settings ask for."""
        asked = {"location": self.location, "class": self.class_, "official": self.official}
        named = [given.versions for given in (self.stratified, self.balanced) if given]
        return [name for name, given in asked.items() if given] + [name for versions in named for name in versions]


def allocate(groups: Mapping[str, int], shares: Mapping[str, float], seed: int, largest_first: bool = False) -> dict[str, str]:
    """Divide groups (id -> size) among parts so that each part's size comes near its share of the whole.

    Each group in turn goes to the part that lacks most; the turns are seeded by id, or by size with the largest first.
    """
    turn = sorted(groups, key=lambda group: (-groups[group] if largest_first else 0, seed_from(seed, group), group))
    held = dict.fromkeys(shares, 0.0)
    given, done = {}, 0
    for group in turn:
        done += groups[group]
        part = max(shares, key=lambda name: shares[name] * done - held[name])
        held[part] += groups[group]
        given[group] = part
    return given


def by_class(pictures: pd.DataFrame, group_by: str, shares: Mapping[str, float], seed: int) -> pd.Series:
    """A part for each picture: groups whole, each class divided alike. A group's class is its commonest one but `empty`."""
    ranked = pictures.assign(is_empty=pictures["label"] == EMPTY)
    ranked = ranked.groupby([group_by, "is_empty", "label"]).size().rename("n").reset_index()
    ranked = ranked.sort_values([group_by, "is_empty", "n", "label"], ascending=[True, True, False, True])
    label = ranked.drop_duplicates(group_by).set_index(group_by)["label"]
    size = pictures.groupby(group_by).size()
    given: dict[str, str] = {}
    for name in sorted(label.unique()):
        groups = {str(group): int(size[group]) for group in label.index[label == name]}
        given |= allocate(groups, shares, seed_from(seed, name))
    return pictures[group_by].map(given)


def hold_out(pictures: pd.DataFrame, in_pool: pd.Series, unseen: Unseen, seed: int) -> list[str]:
    """The unseen locations: those named; else those without a picture in the pool first, then by seed."""
    locations = sorted(pictures["location"].dropna().unique())
    if isinstance(unseen.locations, tuple):
        if strangers := sorted(set(unseen.locations) - set(locations)):
            raise DataError(f"split.unseen.locations: no pictures from {strangers}. There is: {', '.join(locations)}")
        return sorted(unseen.locations)
    share = isinstance(unseen.locations, float)
    count = round(unseen.locations * len(locations)) if share else int(unseen.locations)
    if not 0 < count < len(locations):
        raise DataError(f"split.unseen.locations: {unseen.locations} of {len(locations)} locations leaves none on one side")
    pooled = set(pictures.loc[in_pool, "location"])
    return sorted(locations, key=lambda name: (name in pooled, seed_from(seed, "unseen", name)))[:count]


def _capped(pictures: pd.DataFrame, group_by: str, limit: int | None, seed: int) -> pd.Series:
    """Which pictures to keep so that each class has about `limit`: whole groups, by seed, until it is reached."""
    groups = sorted(pictures[group_by].unique(), key=lambda group: seed_from(seed, "cap", group))
    turn = pictures[group_by].map({group: place for place, group in enumerate(groups)})
    before = pictures.assign(turn=turn).groupby(["label", "turn"]).size().groupby("label").cumsum().rename("n")
    upto = pd.MultiIndex.from_arrays([pictures["label"], turn])
    reached = pd.Series(before.reindex(upto).to_numpy(), pictures.index)
    own = pictures.assign(turn=turn).groupby(["label", "turn"])["label"].transform("size")
    return reached - own < (limit or len(pictures) + 1)


def cut(pictures: pd.DataFrame, settings: SplitSettings, seed: int) -> dict[str, pd.Series]:
    """{version: part of each picture}, aligned with `pictures`. Raises DataError where a version cannot be made.

    A picture without a location is unused wherever parts are kept apart by location: nobody knows on which side it belongs.
    """
    return cut_all(pictures, settings, seed)[0]


def cut_all(pictures: pd.DataFrame, settings: SplitSettings, seed: int) -> tuple[dict[str, pd.Series], dict[str, pd.Series]]:
    """What `cut` returns, and {version: what each picture is also in} of those versions that have a column `also`."""
    pictures = pictures.sort_values("sample_id")
    if settings.near_duplicates == "together":
        pictures = pictures.assign(**{settings.group_by: joined(pictures, settings.group_by, settings.near_bits)})
    versions: dict[str, pd.Series] = {}
    if settings.official:
        versions["official"] = _official(pictures, settings.official, settings.group_by, seed)
    if settings.stratified:
        versions |= _stratified(pictures, settings.stratified, settings.group_by, seed_from(seed, "stratified"))
    extra: dict[str, pd.Series] = {}
    if settings.balanced:
        made, also = balanced(pictures, settings.balanced, settings.group_by, seed_from(seed, "balanced"))
        versions |= made
        extra = dict.fromkeys(made, also)
    if not (settings.location or settings.class_):
        return versions, extra
    if (settings.unseen or settings.location) and pictures["location"].isna().all():
        raise DataError(
            f"none of {len(pictures)} pictures has a location: parts cannot be kept apart by location. "
            "Give locations, or set split.unseen and split.location to null"
        )

    in_pool = pictures["given_split"].isin(settings.pool) if settings.pool else pd.Series(True, pictures.index)
    if not in_pool.any():
        raise DataError(
            f"split.pool: no picture comes from {', '.join(settings.pool)}. "
            f"There is: {', '.join(sorted(pictures['given_split'].dropna().unique())) or 'no given list'}"
        )
    frozen = pd.Series(UNUSED, pictures.index)
    rest = in_pool
    if settings.unseen:
        away = pictures["location"].isin(hold_out(pictures, in_pool, settings.unseen, seed))
        rest = in_pool & ~away & pictures["location"].notna()
        known = pictures.loc[rest, "label"].unique()
        candidates = pictures[away & pictures["label"].isin(known)]
        kept = _capped(candidates, settings.group_by, settings.unseen.max_per_class, seed)
        frozen[kept.index[kept]] = UNSEEN
    if settings.seen:
        shares = {"rest": 1 - settings.seen, SEEN: settings.seen}
        part = by_class(pictures[rest], settings.group_by, shares, seed_from(seed, SEEN))
        frozen[part.index[part == SEEN]] = SEEN
        rest = rest & (frozen != SEEN)

    if settings.class_:
        parts = by_class(pictures[rest], settings.group_by, settings.class_.normalised(), seed_from(seed, "class"))
        versions["class"] = frozen.mask(rest, parts.reindex(pictures.index))
    if settings.location:
        sizes = {str(name): int(n) for name, n in pictures[rest].groupby("location").size().items()}
        given = allocate(sizes, settings.location.normalised(), seed_from(seed, "location"), largest_first=True)
        parts = frozen.mask(rest, pictures["location"].map(lambda name: given.get(name, UNUSED)))
        trained = [location for location, part in given.items() if part == TRAIN]
        versions["location"] = parts.mask((parts == SEEN) & ~pictures["location"].isin(trained), UNUSED)
    return versions, extra


def _official(pictures: pd.DataFrame, lists: Official, group_by: str, seed: int) -> pd.Series:
    asked = {TRAIN: lists.train, SEEN: lists.seen, UNSEEN: lists.unseen}
    if isinstance(lists.val, tuple):
        asked[VAL] = lists.val
    there = set(pictures["given_split"].dropna())
    names = [name for group in asked.values() for name in group]
    if missing := sorted(set(names) - there):
        raise DataError(
            f"split.official: no pictures from {', '.join(missing)}. "
            f"Given lists in the data: {', '.join(sorted(there)) or 'none'}"
        )
    if len(set(names)) != len(names):
        raise DataError("split.official: a list is named in two parts")
    parts = pictures["given_split"].map({name: part for part, group in asked.items() for name in group}).fillna(UNUSED)
    if isinstance(lists.val, float):
        train = pictures[parts == TRAIN]
        inner = by_class(train, group_by, {TRAIN: 1 - lists.val, VAL: lists.val}, seed_from(seed, "official"))
        parts[inner.index] = inner
    return parts


def _stratified(pictures: pd.DataFrame, asked: Stratified, group_by: str, seed: int) -> dict[str, pd.Series]:
    whole = by_class(pictures, group_by, {TRAIN: 1 - asked.test, TEST: asked.test}, seed)
    versions: dict[str, pd.Series] = {}
    for name, subset in asked.versions.items():
        parts = pd.Series(UNUSED, pictures.index)
        free = whole == TRAIN
        if subset.apart_from:
            free &= ~versions[subset.apart_from].isin([TRAIN, VAL])
        train = _some(pictures[free], subset.train, group_by, seed_from(seed, name, TRAIN))
        inner = by_class(train, group_by, {TRAIN: 1 - asked.val, VAL: asked.val}, seed_from(seed, name, VAL))
        parts[inner.index] = inner
        parts[_some(pictures[whole == TEST], subset.test, group_by, seed_from(seed, name, TEST)).index] = TEST
        versions[name] = parts
    return versions


def _some(pictures: pd.DataFrame, count: int | None, group_by: str, seed: int) -> pd.DataFrame:
    """About `count` of the pictures, groups whole, each class by its share; all where there are no more."""
    if count is None or count >= len(pictures):
        return pictures
    share = count / len(pictures)
    return pictures[by_class(pictures, group_by, {"some": share, "others": 1 - share}, seed) == "some"]


def near_pairs(hashes: Iterable[str], bits: int) -> list[tuple[str, str]]:
    """Pairs of different 64-bit hexadecimal hashes that differ in at most `bits` bits, each pair once, sorted.

    Two such hashes agree in at least one of `bits + 1` bands (the pigeonhole), so only those that share a band are compared.
    """
    names = sorted(set(hashes))
    if bits == 0 or len(names) < 2:
        return []
    values = np.array([int(name, 16) for name in names], dtype=np.uint64)
    edges = np.linspace(0, 64, bits + 2).round().astype(int)
    found: set[tuple[int, int]] = set()
    for low, high in itertools.pairwise(edges):
        band = (values >> np.uint64(low)) & np.uint64((1 << int(high - low)) - 1)
        order = np.argsort(band, kind="stable")
        starts, shift = np.arange(len(names)), 0
        while True:  # compare each with its next, its next but one, ... as long as the band is the same
            shift += 1
            starts = starts[starts + shift < len(names)]
            starts = starts[band[order[starts]] == band[order[starts + shift]]]
            if not len(starts):
                break
            left, right = order[starts], order[starts + shift]
            near = np.bitwise_count(values[left] ^ values[right]) <= bits
            found.update((min(a, b), max(a, b)) for a, b in zip(left[near].tolist(), right[near].tolist(), strict=True))
    return [(names[a], names[b]) for a, b in sorted(found)]


def joined(pictures: pd.DataFrame, group_by: str, bits: int) -> pd.Series:
    """The group of each picture, groups joined that look-alikes connect: the name of the first of them."""
    groups, group_names = pd.factorize(pictures[group_by], sort=True)
    hashes, hash_names = pd.factorize(pictures["phash"], sort=True)
    twins = hash_names.get_indexer_for(np.array(near_pairs(hash_names, bits), dtype=object).ravel()).reshape(-1, 2)
    first = np.concatenate([groups, twins[:, 0] + len(group_names)])  # a node for each group, and one for each hash
    second = np.concatenate([hashes, twins[:, 1]]) + len(group_names)
    nodes = len(group_names) + len(hash_names)
    _, parts = connected_components(coo_array((np.ones(len(first)), (first, second)), (nodes, nodes)), directed=False)
    names = pd.Series(group_names).groupby(parts[: len(group_names)]).transform("first")
    return pd.Series(names.to_numpy()[groups], pictures.index)


def leaks(pictures: pd.DataFrame, parts: pd.Series, bits: int) -> dict[str, Any]:
    """What stands on both sides of a cut: sequences and bytes of two parts, and look-alikes that train shares with another."""
    used = pictures.assign(part=parts)[parts != UNUSED]
    train, other = used[used["part"] == TRAIN], used[used["part"] != TRAIN]
    pairs = near_pairs(used["phash"], bits)
    near: dict[str, set[str]] = {}
    for a, b in pairs:
        near.setdefault(a, set()).add(b)
        near.setdefault(b, set()).add(a)
    in_train = train.sort_values("sample_id").drop_duplicates("phash").set_index("phash")["sample_id"]
    alike = other["phash"].map(lambda h: next((g for g in [h, *sorted(near.get(h, ()))] if g in in_train.index), None))
    examples = other.assign(twin=alike).dropna(subset="twin")
    return {
        "sequences": in_two_parts(used, "seq_id"),
        "bytes": in_two_parts(used, "sha256"),
        "locations": {
            str(part): sorted(set(rows["location"].dropna()) & set(train["location"].dropna()))
            for part, rows in other.groupby("part")
        },
        "look_alikes": {part: int((examples["part"] == part).sum()) for part in sorted(other["part"].unique())},
        "examples": [[row.sample_id, row.part, in_train[row.twin]] for row in examples.head(20).itertuples()],
    }


def in_two_parts(used: pd.DataFrame, column: str) -> list[list[str]]:
    """[value, a picture of it, its part, a picture of it in another part, that part] for each value of more parts than one.

    Train comes first, the other parts by name, and of each the first picture by its id.
    """
    ordered = used.assign(later=used["part"].ne(TRAIN)).sort_values([column, "later", "part", "sample_id"])
    first = ordered.drop_duplicates([column, "part"])
    shared = first[first.duplicated(column, keep=False)].groupby(column, sort=True)
    return [[str(value), *rows[["sample_id", "part"]].head(2).to_numpy().ravel().tolist()] for value, rows in shared]


def _shown(pairs: list[list[str]]) -> str:
    """The first of such pairs, for a message."""
    return "; ".join(f"{a} ({of_a}) and {b} ({of_b})" for _, a, of_a, b, of_b in pairs[:3])


def report(pictures: pd.DataFrame, parts: pd.Series, bits: int) -> dict[str, Any]:
    """Counts of a version by part and class, the classes that train lacks, unused pictures without location, and leaks."""
    counts = pictures.assign(part=parts).groupby(["part", "label"]).size().unstack(fill_value=0).sort_index()
    trained = set(pictures.loc[parts == TRAIN, "label"])
    tested = set(pictures.loc[~parts.isin([TRAIN, UNUSED]), "label"])
    nowhere = pictures.loc[pictures["location"].isna() & (parts == UNUSED), "sample_id"]
    return {
        "pictures": {str(part): int(n) for part, n in parts.value_counts().sort_index().items()},
        "locations": {str(part): int(n) for part, n in pictures["location"].groupby(parts).nunique().items()},
        "classes": {str(part): {str(k): int(n) for k, n in row.items()} for part, row in counts.iterrows()},
        "missing_from_train": sorted(tested - trained),
        "unused_without_location": {"pictures": len(nowhere), "example": None if nowhere.empty else nowhere.min()},
        "leaks": leaks(pictures, parts, bits),
    }


def check(version: str, found: dict[str, Any], settings: SplitSettings) -> list[str]:
    """Warnings about a version, in plain words. Raises DataError for what must not be."""
    for part in (TRAIN, VAL):
        if not found["pictures"].get(part):
            raise DataError(
                f"split `{version}`: no picture is in {part}. Counts: {found['pictures']}. Too few of each class, or shares "
                "that leave none: give it more pictures, or a larger share in the data set's `split` settings"
            )
    leak, given = found["leaks"], version == "official"
    warnings = []
    nowhere = found["unused_without_location"]
    if nowhere["pictures"] and not given and (settings.unseen or version == "location"):
        text = f"{nowhere['pictures']} pictures have no location and are unused, {nowhere['example']} for example"
        warnings.append(f"split `{version}`: {text}")
    if leak["bytes"]:
        raise DataError(
            f"split `{version}`: the same bytes are in two parts: {_shown(leak['bytes'])}. Take one of each out of the data"
        )
    if leak["sequences"]:
        count, example = len(leak["sequences"]), _shown(leak["sequences"][:1])
        text = f"split `{version}`: {count} sequences are in two parts, {example} for example"
        if not given and settings.group_by == "seq_id":
            raise DataError(f"{text}. Give the pictures of a sequence one location, or set split.group_by to sample_id")
        warnings.append(text)
    apart = (VAL, TEST, UNSEEN) if version == "location" else (UNSEEN,)
    if shared := {part: names for part in apart if (names := leak["locations"].get(part))}:
        text = f"split `{version}`: locations of train are in another part too: {shared}"
        if not given:
            raise DataError(f"{text}. Hold other locations out: split.unseen.locations")
        warnings.append(text)
    if alike := sum(leak["look_alikes"].values()):
        first = leak["examples"][0]
        text = (
            f"split `{version}`: {alike} pictures outside train look like one in train {leak['look_alikes']}; "
            f"{first[0]} ({first[1]}) like {first[2]} for example"
        )
        if settings.near_duplicates != "report":  # `together` keeps no promise about locations and given lists
            raise DataError(f"{text}. Set split.near_duplicates to report to go on")
        warnings.append(text)
    if found["missing_from_train"]:
        warnings.append(f"split `{version}`: train has no {', '.join(found['missing_from_train'])}")
    few = sorted(label for label, n in found["classes"][TRAIN].items() if 0 < n < 3)
    if few:
        warnings.append(f"split `{version}`: fewer than 3 pictures in train of {', '.join(few)}")
    return warnings


def main() -> None:
    parser = argparse.ArgumentParser(description="samples -> train, val, test, seen and unseen lists")
    parser.add_argument("--params", required=True, help="path of the settings in params.yaml")
    parser.add_argument("--clean", type=Path, required=True, help="the clean stage's output")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder to write, a folder for each version")
    args = parser.parse_args()
    settings = section(args.params, SplitSettings, read_params())
    require_manifest(args.clean)
    pictures = read_samples(args.clean).pictures.sort_values("sample_id", ignore_index=True)
    with new_folder(args.out) as out:
        reports = {}
        versions, extra = cut_all(pictures, settings, args.seed)
        for version, parts in versions.items():
            found = report(pictures, parts, settings.near_bits)
            table = pd.DataFrame({"sample_id": pictures["sample_id"], "part": parts})
            if version in extra:
                table["also"] = extra[version]
                found["also"] = {TEST5: int((extra[version] == TEST5).sum())}
            found["warnings"] = check(version, found, settings)
            reports[version] = found
            (out / version).mkdir()
            table.to_csv(out / version / PARTS_CSV, index=False)
            print(f"{version}: {found['pictures']}", *found["warnings"], sep="\n  ")
        write_json(out / "report.json", reports)


if __name__ == "__main__":
    run(main)
