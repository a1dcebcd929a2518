"""mAP of two models, choices between pairs of classes, claims: exact numbers, and the compare stage on clips."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn import metrics

from stages import scores
from stages.claims import Claim, check, choices, map_row, pair_rows, paired_pair_rows, wilson
from stages.compare import CompareSettings
from stages.files import DataError, new_folder, read_json, write_json
from stages.scores import ALL_PAIRS, BETTER, CHANCE, UNDECIDED, WORSE

CLASSES = ["run", "sit", "walk"]
ACTUAL = ["run"] * 4 + ["walk"] * 4 + ["sit"] * 4
IDS = [f"c{n:02}" for n in range(12)]
PAIRS = (("walk", "run"), ("sit", "run"))


def answers(of_classes: pd.DataFrame, **more: Any) -> pd.DataFrame:
    table = {"sample_id": IDS, "part": "test", "seq_id": IDS, "actual": ACTUAL, "predicted": of_classes.idxmax(axis=1).tolist()}
    return pd.DataFrame(table | more)


def scored(right: int, *, tied: int = 0) -> pd.DataFrame:
    """Scores of a model that knows the first `right` clips, has the next `tied` even, and has the others the wrong way round."""
    rows = []
    for place, label in enumerate(ACTUAL):
        high, low = (0.9, 0.1) if place < right else (0.5, 0.5) if place < right + tied else (0.2, 0.6)
        rows.append([high if name == label else low for name in CLASSES])
    return pd.DataFrame(rows, index=IDS, columns=CLASSES)


# mAP -----------------------------------------------------------------------------------------------------------------


def test_map_changes_as_scikit_learn_has_it() -> None:
    better, worse = scored(10), scored(3, tied=4)
    row = map_row(answers(better), better, worse, 300, 1)
    expected = [
        sum(metrics.average_precision_score([label == name for label in ACTUAL], wide[name]) for name in CLASSES) / 3
        for wide in (worse, better)
    ]
    assert [row["before"], row["after"]] == pytest.approx(expected)
    assert row["change"] == pytest.approx(expected[1] - expected[0])
    assert (row["figure"], row["label"], row["n"], row["verdict"]) == ("map", "", 12, BETTER)
    back = map_row(answers(better), worse, better, 300, 1)
    assert (back["change"], back["low"], back["high"]) == pytest.approx((-row["change"], -row["high"], -row["low"]))
    assert back["verdict"] == WORSE


def test_clips_are_found_by_their_id_and_one_without_scores_is_refused() -> None:
    model = scored(10)
    told = answers(model)
    assert map_row(told, model, scored(3), 20, 1) == map_row(told, model.iloc[::-1], scored(3).sample(frac=1), 20, 1)
    with pytest.raises(DataError, match="2 clips have no scores, c00 for example: run `dvc repro`"):
        map_row(told, model, model.iloc[2:], 20, 1)


# Pairs ---------------------------------------------------------------------------------------------------------------


def test_choices_by_hand() -> None:
    wide = scored(3, tied=2)  # the first three run and are known to, the fourth runs and the fifth walks: even
    found = choices(answers(wide), wide, PAIRS)
    assert found["label"].tolist() == ["walk / run"] * 8 + ["sit / run"] * 8
    assert found["right"].tolist() == [1, 1, 1, 0.5, 0.5, 0, 0, 0, 1, 1, 1, 0.5, 0, 0, 0, 0]
    rows = {row["label"]: row for row in pair_rows(found)}
    assert list(rows) == ["walk / run", "sit / run", ALL_PAIRS]
    assert [row["after"] for row in rows.values()] == [0.5, 3.5 / 8, 7.5 / 16]
    assert [row["n"] for row in rows.values()] == [8, 8, 16]
    assert {row["before"] for row in rows.values()} == {0.5} and {row["verdict"] for row in rows.values()} == {UNDECIDED}
    low, high = wilson(7.5 / 16, 12)  # twelve clips, four of them in both pairs
    assert (rows[ALL_PAIRS]["low"], rows[ALL_PAIRS]["high"]) == pytest.approx((low - 0.5, high - 0.5))


def test_a_third_class_has_no_say_in_a_choice() -> None:
    wide = scored(12)
    shouted = wide.assign(sit=1.0)
    assert choices(answers(wide), wide, PAIRS[:1]).equals(choices(answers(wide), shouted, PAIRS[:1]))


def test_pairs_that_cannot_be_chosen_between() -> None:
    wide = scored(12)
    without = answers(wide)[lambda table: table["actual"] != "sit"]
    assert choices(without, wide, PAIRS)["label"].unique().tolist() == ["walk / run"]
    assert (
        pair_rows(choices(without, wide, PAIRS[1:])) == [] == paired_pair_rows(*[choices(without, wide, PAIRS[1:])] * 2, 10, 0)
    )
    assert choices(without, wide, (("run", "jump"),)).empty, "the model knows no jump"


@given(n=st.integers(1, 400), data=st.data())
def test_wilson_is_scipy_s(n: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, n))
    expected = binomtest(hits, n).proportion_ci(method="wilson")
    assert wilson(hits / n, n) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_all_right_of_few_may_be_chance() -> None:
    wide = scored(12)
    all_right = choices(answers(wide), wide, PAIRS[:1])
    assert [row["verdict"] for row in pair_rows(all_right)] == [BETTER, BETTER]  # eight of eight
    assert [row["verdict"] for row in pair_rows(all_right.assign(seq_id=["a", "b", "c"] * 2 + ["a", "b"]))] == [UNDECIDED] * 2
    assert [row["verdict"] for row in pair_rows(all_right.assign(right=0.0))] == [WORSE, WORSE]


def test_two_models_choices_are_paired() -> None:
    one, other = scored(12), scored(4)  # of each pair the other knows those that run, and none else
    chosen = [choices(answers(wide), wide, PAIRS) for wide in (one, other)]
    rows = paired_pair_rows(*chosen, 500, 1)
    assert [(row["label"], row["n"], row["before"], row["after"]) for row in rows] == [
        ("walk / run", 8, 0.5, 1.0), ("sit / run", 8, 0.5, 1.0), (ALL_PAIRS, 16, 0.5, 1.0)
    ]  # fmt: skip
    assert [row["verdict"] for row in rows] == [BETTER] * 3
    assert {(row["change"], row["low"], row["high"]) for row in paired_pair_rows(chosen[0], chosen[0], 50, 1)} == {(0, 0, 0)}
    whole = [table.assign(seq_id="one") for table in chosen]
    assert [(row["low"], row["high"]) for row in paired_pair_rows(*whole, 50, 1)] == [(0.5, 0.5)] * 3


# Claims --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "low", "high", "holds", "decided"),
    [
        (0.2, 0.1, 0.3, True, True),
        (0.2, -0.1, 0.3, True, False),
        (-0.2, -0.3, 0.1, False, False),
        (-0.2, -0.3, -0.1, False, True),
        (0.0, 0.0, 0.0, False, False),
    ],
)
def test_a_claim_holds_by_the_change_and_is_decided_by_its_interval(
    change: float, low: float, high: float, holds: bool, decided: bool
) -> None:
    row = {"figure": "map", "label": "", "n": 7, "change": change, "low": low, "high": high}
    accuracy = row | {"figure": "accuracy", "change": 0.0, "won": 3, "lost": 1, "p": 0.625}
    of_a_class = {"figure": "recall", "label": "run", "n": 3, "change": 9.0, "low": 9.0, "high": 9.0}
    asked = []

    def compared(claim: Claim) -> pd.DataFrame:
        asked.append((claim.better, claim.than, claim.part))
        return pd.DataFrame([of_a_class, accuracy, row])

    found = check({"known": Claim(better="a", than="b", part="val")}, compared, "a test")
    assert found == {
        "known": {
            "better": "a", "than": "b", "figure": "map", "part": "val", "ours": False, "change": change, "low": low, "high": high,
            "holds": holds, "decided": decided, "test": "a test", "n": 7,
            "won": 3, "lost": 1, "p": 0.625,
        }
    }  # fmt: skip
    assert asked == [("a", "b", "val")]
    with pytest.raises(DataError, match="the claim x is of recall, which is not compared. There is: accuracy, map"):
        check({"x": Claim(better="a", than="b", figure="recall")}, compared, "a test")


# The stage -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def go(stage: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """Compare models of clips: {name: scores}, and settings -> Finished."""

    def run(models: dict[str, pd.DataFrame], **about: Any) -> Any:
        for name, wide in models.items():
            with new_folder(tmp_path / "answers" / name) as out:
                table = answers(wide)
                val = table.assign(part="val", sample_id="v" + table["sample_id"])
                pd.concat([val, table]).to_parquet(out / "answers.parquet", index=False)
                write_json(out / "card.json", {"trained_on": {"data": "your data"}})
                of_test = wide.rename_axis("sample_id").reset_index().assign(part="test", actual=ACTUAL)
                of_val = of_test.assign(part="val", sample_id="v" + of_test["sample_id"], run=0.0)
                pd.concat([of_val, of_test]).to_parquet(out / "scores.parquet", index=False)
                trained = {
                    "part": "test",
                    "seed": [1, 2],
                    **{key: [0.5, wide["run"].mean()] for key in [*scores.FIGURES, "map"]},
                }
                pd.DataFrame(trained).to_csv(out / "seeds.csv", index=False)
        settings = {"references": {"m": ["m-low"]}, "draws": 100, "pairs": [list(pair) for pair in PAIRS]} | about
        return stage("compare", "--params", "compare.d", "--answers", "answers", "--seed", 3, "--out", "metrics/comparison.csv",
                     "--metrics", "metrics/comparison.json", params={"compare": {"d": settings}})  # fmt: skip

    return run


MODELS = {"m-high": scored(12), "m-low": scored(2), "m-still": scored(6, tied=6)}


def test_the_stage_compares_clips_by_map_pairs_and_claims(go: Callable[..., Any]) -> None:
    claims = {"up": {"better": "m-high", "than": "m-low"}, "down": {"better": "m-low", "than": "m-high", "figure": "accuracy"}}
    done = go(MODELS, claims=claims)
    assert done.code == 0, done.err
    table = pd.read_csv("metrics/comparison.csv", keep_default_na=False, na_values={"change_mean": [""]})
    found = table[(table["model"] == "m-high") & (table["reference"] == "m-low")].set_index(["figure", "label"])
    assert found.loc[("map", ""), "after"] == 1.0
    assert found["change_mean"].notna()["map", ""] and found["change_mean"].isna()["pair", ALL_PAIRS]
    assert found.loc["pair"].index.tolist() == ["walk / run", "sit / run", ALL_PAIRS]
    chance = table[table["reference"] == CHANCE]
    assert chance["model"].tolist() == ["m-high"] * 3 + ["m-low"] * 3 + ["m-still"] * 3
    assert set(chance["before"]) == {0.5} and chance["n"].tolist() == [8, 8, 16] * 3
    assert chance.loc[chance["model"] == "m-still", "after"].tolist() == [7 / 8, 0.75, 0.8125]
    written = read_json(Path("metrics/comparison.json"))
    assert written["test"]["m-high"]["m-low"]["map"] == found.loc[("map", ""), "change"]
    up, down = written["claims"]["up"], written["claims"]["down"]
    assert [up[name] for name in ("change", "low", "high")] == found.loc[("map", ""), ["change", "low", "high"]].tolist()
    assert (up["holds"], up["decided"]) == (True, True)
    assert (down["holds"], down["decided"], down["change"]) == (False, True, -0.833333)
    assert "claim: m-high is better than m-low by map in test: +" in done.out and "), holds\n" in done.out
    assert "claim: m-low is better than m-high by accuracy in test: -0.833 (" in done.out and "), does not hold\n" in done.out


def test_without_claims_and_pairs_nothing_is_said_of_them(go: Callable[..., Any]) -> None:
    assert go(MODELS, pairs=[]).code == 0
    table = pd.read_csv("metrics/comparison.csv")
    assert "pair" not in set(table["figure"]) and CHANCE not in set(table["reference"])
    assert "claims" not in read_json(Path("metrics/comparison.json"))


def test_a_pair_without_clips_is_left_out_and_named(go: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    models = {name: wide.assign(jump=0.0) for name, wide in MODELS.items()}
    done = go(models, pairs=[["run", "jump"], ["walk", "run"]])
    assert done.code == 0, done.err
    assert (
        "pair: run / jump: left out, as no part has a clip of both, or a model knows one of them not" in done.out
        and "walk / run:" not in done.out
    )


@pytest.mark.parametrize(
    ("about", "message"),
    [
        (
            {"claims": {"up": {"better": "m-high", "than": "m-low", "figure": "mAP"}}},
            "the claim up is of mAP, which is not compared",
        ),
        ({"claims": {"up": {"better": "m-high"}}}, "compare.d.claims.up.than: missing"),
        ({"pairs": [["run", "run"]]}, "`pairs` has run twice in one pair"),
    ],
)
def test_claims_and_pairs_that_are_none_are_refused(go: Callable[..., Any], about: dict[str, Any], message: str) -> None:
    done = go(MODELS, **about)
    assert done.code == 1 and message in done.err
    assert not Path("metrics").exists()


def test_settings_of_pictures_need_none_of_them() -> None:
    settings = CompareSettings(references={"a": ("b",)})
    assert settings.claims == {} and settings.pairs == ()
