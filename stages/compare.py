"""Models of one data set against each other, on the same pictures: what changes, and whether by more than chance.

    python -m stages.compare --params compare.posture --answers data/answers/posture --seed 20220422
        --out metrics/posture/comparison.csv --metrics metrics/posture/comparison.json

The CSV has a row for each part, model, reference and figure; the JSON the signed changes alone, part by part, for
`dvc metrics diff`, what became of claims, and of which `data` all of it is. Every model is compared with always naming the
commonest class, too. Models of clips are compared by mAP as well, and by choices between pairs of classes (stages/claims.py).

What has no answers is left out and named: a run of some models alone, or one that failed, leaves the others' comparisons.
"""

import argparse
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pandas as pd
from pydantic import Field, model_validator

from stages import claims, scores
from stages.claims import Claim
from stages.command import run
from stages.files import DataError, new_file, read_json, require_manifest, seed_from, write_json
from stages.samples import SCORED, TEST
from stages.scores import CHANCE, MAP, PAIR, RECALL, SCORES, change_row
from stages.seeds import SEEDS_CSV, changes
from stages.settings import Record, read_params, section

OVER_SEEDS = ["seeds", "change_mean", "change_sd"]
CARD = "card.json"  # in a model's folder of answers: of which data it is
EMBEDDED, OWN = "embedded", "your data"
COLUMNS = [
    *("part", "model", "reference", "of_document", "figure", "label", "n", "before", "after"),
    *("change", "low", "high", "verdict", "won", "lost", "p", *OVER_SEEDS),
]


class CompareSettings(Record):
    references: dict[str, tuple[str, ...]] = Field(min_length=1)  # by how a model's name begins
    parts: tuple[str, ...] = Field((TEST,), min_length=1)  # of the split
    document: tuple[str, ...] = ()  # the references that the document's own changes are against
    draws: int = Field(1000, gt=0)  # bootstrap resamples of whole sequences, of both models at once
    claims: dict[str, Claim] = Field(default_factory=dict)  # what is expected of two models, by any name
    pairs: tuple[tuple[str, str], ...] = ()  # of classes that one frame of a clip cannot tell apart

    @model_validator(mode="after")
    def _listed(self) -> Self:
        asked = [*self.parts, *(claim.part for claim in self.of_parts().values())]
        if unscored := [part for part in asked if part not in SCORED]:
            raise ValueError(f"{unscored[0]} is no part that is scored. There is: {', '.join(SCORED)}")
        if len(set(self.parts)) < len(self.parts):
            raise ValueError("`parts` has a part twice")
        listed = {name for names in self.references.values() for name in names}
        if strangers := sorted(set(self.document) - listed):
            raise ValueError(f"`document` names {strangers[0]}, which is none of the references")
        if same := [pair[0] for pair in self.pairs if pair[0] == pair[1]]:
            raise ValueError(f"`pairs` has {same[0]} twice in one pair")
        return self

    def of_parts(self) -> dict[str, Claim]:
        """`claims`, each with its part: the last of those that are compared where it names none."""
        return {name: claim.model_copy(update={"part": claim.part or self.parts[-1]}) for name, claim in self.claims.items()}


def pairs(models: Iterable[str], references: dict[str, tuple[str, ...]]) -> list[tuple[str, str]]:
    """(model, reference) of each comparison: of a model's name the longest beginning that is listed decides.

    A reference is itself compared with those listed before it. One that is none of `models` is left out.
    """
    models = sorted(models)
    found = []
    for model in models:
        own = max((beginning for beginning in references if _begins(model, beginning)), key=len, default="")
        listed = references.get(own, ())
        found += [(model, name) for name in (listed[: listed.index(model)] if model in listed else listed) if name in models]
    return found


def concerned(models: Iterable[str], references: dict[str, tuple[str, ...]]) -> list[str]:
    """Those that comparisons are of, whether what they are compared with is there or not."""
    listed = {name for names in references.values() for name in names}
    return [model for model in sorted(models) if model in listed or any(_begins(model, beginning) for beginning in references)]


def absent(models: Iterable[str], references: dict[str, tuple[str, ...]]) -> tuple[list[str], list[str]]:
    """The beginnings that none of `models` has, and the references that are none of them."""
    models = sorted(models)
    beginnings = [beginning for beginning in references if not any(_begins(model, beginning) for model in models)]
    listed = dict.fromkeys(name for names in references.values() for name in names)
    return beginnings, [name for name in listed if name not in models]


def _begins(name: str, beginning: str) -> bool:
    return f"{name}-".startswith(f"{beginning}-")


def compare(model: pd.DataFrame, reference: pd.DataFrame, draws: int, seed: int) -> pd.DataFrame:
    """Both models' figures and how they differ, a row each of scores.FIGURES and of the recall of each class that occurs.

    Answers have sample_id, seq_id, actual, predicted. Columns: figure; label, the class of a recall; n pictures; before, the
    reference's; after, the model's; change, with the 95 % interval low to high of a paired bootstrap; verdict by that interval;
    and of shares of pictures won and lost, what one of the two alone has right, with p of McNemar's exact test.
    Raises DataError where the two were not scored on the same pictures with the same true classes.
    """
    both = model.merge(reference, on=["sample_id", "actual"], suffixes=("", "_reference"))
    if not len(model) == len(reference) == len(both):
        raise DataError(
            f"they were scored on other pictures: {len(model)} and {len(reference)}, {len(both)} of them the same. "
            "Give both models one split, or remove what an earlier run left, and run `dvc repro`"
        )
    classes = sorted({*both["actual"], *both["predicted"], *both["predicted_reference"]})
    whole, drawn = scores.paired_counts(model, reference, classes, draws, seed)
    won = both["actual"].eq(both["predicted"]) & both["actual"].ne(both["predicted_reference"])
    lost = both["actual"].ne(both["predicted"]) & both["actual"].eq(both["predicted_reference"])
    rows = []
    for name, figure in scores.FIGURES.items():
        changes = figure(drawn[0]) - figure(drawn[1])
        values = float(figure(whole[1])), float(figure(whole[0]))
        rows.append(change_row(name, "", len(both), *values, scores.interval(changes)))
    rows[0] |= _mcnemar(won, lost)  # of accuracy
    recalls, recalls_drawn = ([scores.precision_recall_f1(counts)[1] for counts in several] for several in (whole, drawn))
    for place, label in enumerate(classes):
        own = both["actual"] == label
        if own.any():
            occurs = drawn[0][:, place].sum(-1) > 0  # a rare class can fall out of a draw
            changes = (recalls_drawn[0] - recalls_drawn[1])[occurs, place]
            values = float(recalls[1][place]), float(recalls[0][place])
            row = change_row(RECALL, label, int(own.sum()), *values, scores.interval(changes))
            rows.append(row | _mcnemar(won[own], lost[own]))
    return pd.DataFrame(rows).astype({"won": "Int64", "lost": "Int64"})


def _mcnemar(won: pd.Series, lost: pd.Series) -> dict[str, Any]:
    counts = int(won.sum()), int(lost.sum())
    return {"won": counts[0], "lost": counts[1], "p": scores.mcnemar_exact(*counts)}


def baseline(answers: pd.DataFrame) -> pd.DataFrame:
    """Answers that always name the commonest class of these very pictures: no other constant answer is right as often."""
    return answers.assign(predicted=answers["actual"].value_counts().sort_index().idxmax())


def over_seeds(found: pd.DataFrame, model: pd.DataFrame, reference: pd.DataFrame, part: str) -> pd.DataFrame:
    """`found`, of `compare`, with OVER_SEEDS: how each figure changes over trainings of other seeds, mean and deviation.

    `model` and `reference` are figures of each training (stages/seeds.py). Missing where there are not two of both.
    """
    rows = [
        changes(model, reference, row.figure, part) if {row.figure} & {*scores.FIGURES, MAP} else {}
        for row in found.itertuples()
    ]
    return found.join(pd.DataFrame(rows, index=found.index, columns=OVER_SEEDS))


@dataclass(frozen=True)
class Told:
    """What one model says of one part."""

    part: str
    answers: pd.DataFrame  # sample_id, seq_id, actual, predicted
    trainings: pd.DataFrame  # the figures of each of its trainings (stages/seeds.py)
    of_classes: pd.DataFrame | None = None  # of clips: by sample_id, the score of each class


def compare_two(told: dict[str, Told], name: str, reference: str, settings: CompareSettings, seed: int) -> pd.DataFrame:
    """`compare` of two models by name, with OVER_SEEDS and, of clips, the rows of mAP and of pairs of classes."""
    one, other, own = told[name], told[reference], seed_from(seed, name, reference)
    try:
        found = compare(one.answers, other.answers, settings.draws, own)
        if one.of_classes is not None and other.of_classes is not None:
            more = [claims.map_row(one.answers, one.of_classes, other.of_classes, settings.draws, own)]
            chosen = [claims.choices(one.answers, model, settings.pairs) for model in (one.of_classes, other.of_classes)]
            more += claims.paired_pair_rows(chosen[0], chosen[1], settings.draws, own)
            found = pd.concat([found, pd.DataFrame(more)], ignore_index=True)
    except DataError as error:
        raise DataError(f"{name} cannot be compared with {reference}: {error}") from None
    return over_seeds(found, one.trainings, other.trainings, one.part)


def compare_all(told: dict[str, Told], compared: list[tuple[str, str]], settings: CompareSettings, seed: int) -> pd.DataFrame:
    """`compare_two` of each of the pairs `compared`, with the columns model, reference, of_document, and of each model that
    comparisons are of with its baseline and, by pairs of classes, with chance.

    Raises DataError for models that cannot be compared.
    """
    tables = []
    for name in concerned(told, settings.references):
        answers, of_classes = told[name].answers, told[name].of_classes
        constant = baseline(answers)
        found = compare(answers, constant, settings.draws, seed_from(seed, name))
        found = found[found["figure"] != RECALL]  # which is 0, or 1 of that class
        tables.append(found.assign(model=name, reference=f"always {constant['predicted'].iloc[0]}", of_document=False))
        if of_classes is not None and settings.pairs:
            rows = pd.DataFrame(claims.pair_rows(claims.choices(answers, of_classes, settings.pairs)))
            tables.append(rows.assign(model=name, reference=CHANCE, of_document=False))
    for name, reference in compared:
        found = compare_two(told, name, reference, settings, seed)
        tables.append(found.assign(model=name, reference=reference, of_document=reference in settings.document))
    return pd.concat(tables, ignore_index=True).sort_values("model", kind="stable", ignore_index=True)


def compare_parts(told: dict[str, dict[str, Told]], settings: CompareSettings, seed: int) -> pd.DataFrame:
    """`compare_all` of each part that is compared, with the column part; of a part those pairs of which both say something.

    Without a model to compare it has no row.
    """
    compared = pairs({name for part in settings.parts for name in told[part]}, settings.references)
    tables = []
    for part in settings.parts:
        if concerned(told[part], settings.references):
            own = [pair for pair in compared if {*pair} <= {*told[part]}]
            tables.append(compare_all(told[part], own, settings, seed).assign(part=part))
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=COLUMNS)
    return table.reindex(columns=COLUMNS).astype({"seeds": "Int64"})


def not_checked(told: dict[str, dict[str, Told]], settings: CompareSettings) -> dict[str, str]:
    """The claims of a model that has no answers in the claim's part, each with why: a clause that names it."""
    found = {}
    for name, claim in settings.of_parts().items():
        if missing := [model for model in (claim.better, claim.than) if model not in told[claim.part]]:
            found[name] = f"{' and '.join(missing)} {'has' if len(missing) == 1 else 'have'} no {claim.part} answers"
    return found


def check_claims(told: dict[str, dict[str, Told]], settings: CompareSettings, seed: int) -> dict[str, dict[str, Any]]:
    """`claims.check` of those of the settings' claims of which both models have answers."""
    missing = not_checked(told, settings)
    there = {name: claim for name, claim in settings.of_parts().items() if name not in missing}

    def compared(claim: Claim) -> pd.DataFrame:
        return compare_two(told[claim.part], claim.better, claim.than, settings, seed)

    return claims.check(there, compared, f"paired bootstrap of whole sequences, {settings.draws} draws")


def of_one_kind(folder: Path) -> tuple[str, list[str], dict[str, str]]:
    """The data that comparisons are of; the models in `folder` whose answers are of it; by name the data of the others.

    The data is embedded | your data, "" where a model has no card to tell. Where answers of several lie there, some are an
    earlier run's: those of the user's own data count. Raises DataError where no model has answers.
    """
    kinds = {}
    for path in sorted(folder.glob("*/answers.parquet")):
        require_manifest(path.parent)
        card = path.parent / CARD
        kinds[path.parent.name] = str(read_json(card).get("trained_on", {}).get("data", "")) if card.is_file() else ""
    if not kinds:
        raise DataError(f"{folder}: no model has answers to compare: run `dvc repro`")
    data = next(kind for kind in (OWN, *kinds.values()) if kind in kinds.values() and (kind or not any(kinds.values())))
    return data, [name for name, kind in kinds.items() if kind == data], {n: kind for n, kind in kinds.items() if kind != data}


def read_told(folder: Path, models: Iterable[str], parts: Iterable[str]) -> dict[str, dict[str, Told]]:
    """What each of `models` says of each part, by part and name; one that says nothing of a part is left out there."""
    found: dict[str, dict[str, Told]] = {part: {} for part in parts}
    for path in (folder / name / "answers.parquet" for name in models):
        answers, of_classes = pd.read_parquet(path), None
        if (path.parent / SCORES).is_file():
            of_classes = pd.read_parquet(path.parent / SCORES).set_index("sample_id").drop(columns=["part", "actual"])
        trainings = pd.read_csv(path.parent / SEEDS_CSV)
        for part, told in found.items():
            if len(own := answers[answers["part"] == part].reset_index(drop=True)):
                told[path.parent.name] = Told(part, own, trainings, of_classes)
    return found


def signed_changes(table: pd.DataFrame) -> dict[str, Any]:
    """{part: {model: {reference: {figure: change}}}}, of references that are models."""
    found: dict[str, Any] = {}
    rows = table[table["figure"].isin([*scores.FIGURES, MAP]) & table["reference"].isin(table["model"])]
    for row in rows.itertuples():
        of_model = found.setdefault(row.part, {}).setdefault(row.model, {})
        of_model.setdefault(row.reference, {})[row.figure] = round(row.change, 6)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="models of one data set against each other, on the same pictures")
    parser.add_argument("--params", required=True, help="path of the settings in params.yaml")
    parser.add_argument("--answers", type=Path, required=True, help="folder with the answers of each model")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True, help="CSV to write")
    parser.add_argument("--metrics", type=Path, required=True, help="JSON to write")
    args = parser.parse_args()
    settings = section(args.params, CompareSettings, read_params())
    parts = dict.fromkeys([*settings.parts, *(claim.part for claim in settings.of_parts().values())])
    data, models, others = of_one_kind(args.answers)
    told = read_told(args.answers, models, parts)
    table = compare_parts(told, settings, args.seed)
    checked = check_claims(told, settings, args.seed)
    with new_file(args.out) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6f", lineterminator="\n")
    skipped = not_checked(told, settings)
    more = {"left_out": [*others], "claims": checked, "not_checked": skipped}
    write_json(args.metrics, {"data": data} | signed_changes(table) | {name: value for name, value in more.items() if value})
    beginnings, references = absent({name for part in settings.parts for name in told[part]}, settings.references)
    strangers = [f"{name} ({kind or 'unknown'})" for name, kind in others.items()]
    for what, names in (
        (f"left out, as their answers are not of {data or 'known data'}", strangers),
        ("not compared, as no model with answers begins so", beginnings),
        ("no references, as they have no answers", references),
        ("claims not checked", [f"{name}: {why}" for name, why in skipped.items()]),
    ):  # fmt: skip
        if names:
            print(f"{what}: {', '.join(names)}")
    for row in table[(table["figure"] == "accuracy") & table["reference"].isin(table["model"])].itertuples():
        interval = f"({row.low:+.3f} to {row.high:+.3f})"
        print(f"{row.part}: {row.model} against {row.reference}: accuracy {row.change:+.3f} {interval}, {row.verdict}")
    for claim in checked.values():
        said = ("holds" if claim["holds"] else "does not hold") + ("" if claim["decided"] else ", undecided")
        interval = f"({claim['low']:+.3f} to {claim['high']:+.3f})"
        what = f"{claim['better']} is better than {claim['than']} by {claim['figure']} in {claim['part']}"
        print(f"claim: {what}: {claim['change']:+.3f} {interval}, {said}")
    there = set(table.loc[table["figure"] == PAIR, "label"])
    for pair in settings.pairs:
        if " / ".join(pair) not in there:
            print(f"pair: {' / '.join(pair)}: left out, as no part has a clip of both, or a model knows one of them not")


if __name__ == "__main__":
    run(main)
