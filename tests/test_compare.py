"""Models against each other on the same pictures: exact changes, and refusals of what cannot be compared."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from stages.claims import Claim
from stages.compare import OVER_SEEDS, CompareSettings, absent, baseline, compare, concerned, pairs
from stages.files import new_folder, read_json, write_json
from stages.scores import BETTER, UNDECIDED

COLUMNS = [
    "part",
    "model",
    "reference",
    "of_document",
    "figure",
    "label",
    "n",
    "before",
    "after",
    "change",
    "low",
    "high",
    "verdict",
]
LYING, STANDING = ["lying"] * 10, ["standing"] * 30


def answers(lying_right: int, standing_right: int, **more: Any) -> pd.DataFrame:
    """Test answers for 10 lying and 30 standing animals, the first so many of each right."""
    predicted = ["lying"] * lying_right + ["standing"] * (10 - lying_right)
    predicted += ["standing"] * standing_right + ["lying"] * (30 - standing_right)
    ids = [f"p{n:02}" for n in range(40)]
    table = {"sample_id": ids, "part": "test", "seq_id": ids, "actual": LYING + STANDING, "predicted": predicted}
    return pd.DataFrame(table | more)


def write(
    folder: Path, models: dict[str, pd.DataFrame], trainings: dict[str, list[float]], kinds: dict[str, str] | None = None
) -> None:
    """`trainings` are the figures, all three the same, of each training of a model that has several; `kinds` the data of those
    that are not of the user's own.
    """
    for name, table in models.items():
        with new_folder(folder / name) as out:
            table.to_parquet(out / "answers.parquet", index=False)
            write_json(out / "card.json", {"trained_on": {"data": (kinds or {}).get(name, "your data")}})
            found = trainings.get(name, [0.5])
            figures = dict.fromkeys(("accuracy", "balanced_accuracy", "f1_macro"), found)
            pd.DataFrame({"part": "test", "seed": range(1, len(found) + 1), **figures}).to_csv(out / "seeds.csv", index=False)


# Which pairs ---------------------------------------------------------------------------------------------------------


def test_a_reference_is_compared_with_those_before_it_and_every_other_model_with_all() -> None:
    models = ["d-vit-mixup", "d-vit-scratch", "d-vit-transfer", "d-vitality-scratch"]
    assert pairs(models, {"d-vit": ("d-vit-scratch", "d-vit-transfer")}) == [
        ("d-vit-mixup", "d-vit-scratch"),
        ("d-vit-mixup", "d-vit-transfer"),
        ("d-vit-transfer", "d-vit-scratch"),
    ]  # `d-vitality` begins otherwise


def test_the_longest_beginning_decides() -> None:
    models = ["d-vit", "d-vit-scratch", "d-vit-scratch-augmented"]
    found = pairs(models, {"d": ("d-vit",), "d-vit-scratch": ("d-vit-scratch",)})
    assert found == [("d-vit-scratch-augmented", "d-vit-scratch")]
    assert pairs(models, {"d": ("d-vit",)}) == [("d-vit-scratch", "d-vit"), ("d-vit-scratch-augmented", "d-vit")]


def test_references_and_beginnings_that_no_model_has_are_left_out_and_named() -> None:
    models, references = ["m-a", "m-c", "o"], {"m": ("m-b", "m-a"), "n": ("m-b", "n-a")}
    assert pairs(models, references) == [("m-c", "m-a")] and pairs([], references) == []
    assert absent(models, references) == (["n"], ["m-b", "n-a"])
    assert concerned([*models, "n-a"], references) == ["m-a", "m-c", "n-a"]
    with pytest.raises(ValueError, match="`document` names c, which is none of the references"):
        CompareSettings(references={"a": ("b",)}, document=("c",))


def test_parts_are_those_that_are_scored() -> None:
    assert CompareSettings(references={"a": ("b",)}).parts == ("test",)
    for parts, message in (
        ((), "at least 1 item"),
        (("train",), "train is no part that is scored"),
        (("seen", "seen"), "twice"),
    ):
        with pytest.raises(ValueError, match=message):
            CompareSettings(references={"a": ("b",)}, parts=parts)
    claim = Claim(better="a", than="b", part="test5")
    with pytest.raises(ValueError, match="test5 is no part that is scored. There is: val, test, seen, unseen"):
        CompareSettings(references={"a": ("b",)}, claims={"up": claim})
    both = {"up": Claim(better="a", than="b"), "down": Claim(better="b", than="a", part="val")}
    found = CompareSettings(references={"a": ("b",)}, parts=("seen", "unseen"), claims=both).of_parts()
    assert {name: claim.part for name, claim in found.items()} == {"up": "unseen", "down": "val"}


# Two models ----------------------------------------------------------------------------------------------------------


def test_changes_are_exact() -> None:
    table = compare(answers(8, 27), answers(2, 30), 2000, 0).set_index(["figure", "label"])
    whole, lying, standing = (table.loc[key] for key in (("accuracy", ""), ("recall", "lying"), ("recall", "standing")))
    assert whole[["n", "before", "after", "change", "won", "lost"]].tolist() == pytest.approx([40, 0.8, 0.875, 0.075, 6, 3])
    assert whole["p"] == pytest.approx(2 * (1 + 9 + 36 + 84) / 2**9)
    assert lying[["n", "before", "after", "won", "lost"]].tolist() == pytest.approx([10, 0.2, 0.8, 6, 0])
    assert lying["p"] == pytest.approx(2 / 2**6)
    assert standing[["n", "before", "after", "won", "lost"]].tolist() == pytest.approx([30, 1.0, 0.9, 0, 3])
    assert table.loc[("balanced_accuracy", ""), "change"] == pytest.approx((0.8 + 0.9) / 2 - (0.2 + 1) / 2)
    assert table.loc[("f1_macro", ""), "change"] == pytest.approx((16 / 21 + 54 / 59) / 2 - (4 / 12 + 60 / 68) / 2)
    assert table["verdict"].tolist() == [UNDECIDED, BETTER, BETTER, BETTER, UNDECIDED]
    assert table.loc[["balanced_accuracy", "f1_macro"], ["won", "lost", "p"]].isna().all(axis=None)
    # sd of a paired share: sqrt((won + lost)/n - change²)/sqrt(n)
    half = 1.96 * ((9 / 40 - 0.075**2) / 40) ** 0.5
    assert [whole["low"], whole["high"]] == pytest.approx([0.075 - half, 0.075 + half], abs=0.03)


def test_whole_sequences_are_drawn() -> None:
    alone, together = (compare(answers(8, 30, **more), answers(2, 30), 500, 0) for more in ({}, {"seq_id": LYING + STANDING}))
    assert alone["change"].equals(together["change"])
    assert alone["verdict"][0] == BETTER and together["verdict"][0] == UNDECIDED  # all that it won is one sequence


answer_lists = st.lists(st.tuples(*[st.sampled_from("abc")] * 3), min_size=1, max_size=25)


@settings(max_examples=50)
@given(rows=answer_lists)
def test_changes_are_differences_of_figures_and_turn_round(rows: list[tuple[str, str, str]]) -> None:
    ids = [f"p{n}" for n in range(len(rows))]
    table = pd.DataFrame(rows, columns=["actual", "one", "other"]).assign(sample_id=ids, seq_id=ids)
    one, other = (table.assign(predicted=table[name]) for name in ("one", "other"))
    there, back = compare(one, other, 20, 0), compare(other, one.sample(frac=1, random_state=1), 20, 0)
    assert there["change"].tolist() == pytest.approx((-back["change"]).tolist())
    assert there["low"].tolist() == pytest.approx((-back["high"]).tolist())
    assert there["p"].dropna().tolist() == back["p"].dropna().tolist()
    assert there[["won", "lost"]].equals(back[["lost", "won"]].set_axis(["won", "lost"], axis=1))
    shares = there["won"].notna()
    gains = ((there["won"] - there["lost"]) / there["n"])[shares].astype(float)
    assert gains.tolist() == pytest.approx(there.loc[shares, "change"].tolist())
    assert there["after"][0] == pytest.approx(metrics.accuracy_score(table["actual"], table["one"]))
    recalls = there[there["figure"] == "recall"]
    assert there["after"][1] == pytest.approx(recalls["after"].mean())
    assert recalls["label"].tolist() == sorted(set(table["actual"])) and recalls["n"].sum() == len(rows)


def test_equal_models_are_undecided() -> None:
    table = compare(answers(5, 30), answers(5, 30), 100, 0)
    assert set(table["verdict"]) == {UNDECIDED}
    assert (table[["change", "low", "high"]] == 0).all(axis=None)
    assert table["p"].dropna().tolist() == [1.0] * 3


def test_the_baseline_names_the_commonest_class_and_the_first_of_equals() -> None:
    assert set(baseline(answers(10, 10))["predicted"]) == {"standing"}
    assert set(baseline(answers(3, 3).iloc[:20])["predicted"]) == {"lying"}


# The stage -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def go(stage: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    def run(
        models: dict[str, pd.DataFrame], trainings: dict[str, list[float]] | None = None, kinds: dict[str, str] | None = None,
        **about: Any,
    ) -> Any:  # fmt: skip
        write(tmp_path / "answers", models, trainings or {}, kinds)
        params = {"compare": {"d": {"references": {"d": ["d-scratch", "d-transfer"]}, "document": ["d-transfer"], **about}}}
        return stage("compare", "--params", "compare.d", "--answers", "answers", "--seed", 3, "--out", "metrics/comparison.csv",
                     "--metrics", "metrics/comparison.json", params=params)  # fmt: skip

    return run


def test_the_stage_writes_every_comparison(go: Callable[..., Any]) -> None:
    unscored = answers(10, 30).assign(part="val")  # an old model of another kind
    models = {"d-scratch": answers(0, 30), "d-transfer": answers(6, 30), "d-mixup": answers(7, 28)}
    val = answers(0, 0).assign(part="val", sample_id=[f"v{n}" for n in range(40)])
    done = go({**{name: pd.concat([val, table]) for name, table in models.items()}, "other": unscored})
    assert done.code == 0, done.err
    assert "test: d-mixup against d-transfer: accuracy -0.025 (" in done.out
    table = pd.read_csv("metrics/comparison.csv", keep_default_na=False)
    assert list(table.columns) == [*COLUMNS, "won", "lost", "p", *OVER_SEEDS]
    compared = table.drop_duplicates(["model", "reference"])
    assert compared[["model", "reference", "of_document"]].to_numpy().tolist() == [
        ["d-mixup", "always standing", False],
        ["d-mixup", "d-scratch", False],
        ["d-mixup", "d-transfer", True],
        ["d-scratch", "always standing", False],
        ["d-transfer", "always standing", False],
        ["d-transfer", "d-scratch", False],
    ]
    assert set(table.loc[table["reference"] == "always standing", "figure"]) == {"accuracy", "balanced_accuracy", "f1_macro"}
    scratch = table[table["model"] == "d-scratch"]
    assert (scratch["after"] == scratch["before"]).all() and set(scratch["before"]) == {0.75, 0.5, 0.428571}
    assert set(table["part"]) == {"test"}
    lying, standing = {0: 0.0, 6: 12 / 16, 7: 14 / 19}, {0: 60 / 70, 6: 60 / 64, 7: 56 / 61}  # F1 by how many lie rightly
    f1 = {right: (lying[right] + standing[right]) / 2 for right in lying}
    assert read_json(Path("metrics/comparison.json")) == {
        "data": "your data",
        "test": {
            "d-mixup": {
                "d-scratch": {
                    "accuracy": 0.125, "balanced_accuracy": round(0.7 / 2 - 2 / 60, 6), "f1_macro": round(f1[7] - f1[0], 6)
                },
                "d-transfer": {
                    "accuracy": -0.025, "balanced_accuracy": round(0.1 / 2 - 2 / 60, 6), "f1_macro": round(f1[7] - f1[6], 6)
                },
            },
            "d-transfer": {
                "d-scratch": {"accuracy": 0.15, "balanced_accuracy": 0.3, "f1_macro": round(f1[6] - f1[0], 6)}
            },
        }
    }  # fmt: skip


def test_each_part_is_compared_by_itself_and_claims_in_theirs(go: Callable[..., Any]) -> None:
    def of_part(part: str, *right: int) -> pd.DataFrame:
        return answers(*right).assign(part=part, sample_id=[f"{part}{n}" for n in range(40)])

    models = {
        "d-scratch": pd.concat([of_part("val", 0, 30), of_part("seen", 0, 30), of_part("unseen", 5, 10)]),
        "d-transfer": pd.concat([of_part("val", 9, 30), of_part("seen", 6, 30), of_part("unseen", 5, 0)]),
        "d-mixup": of_part("seen", 7, 28),  # says nothing of the others
    }
    claims = {
        "last": {"better": "d-scratch", "than": "d-transfer", "figure": "accuracy"},
        "first": {"better": "d-transfer", "than": "d-scratch", "figure": "accuracy", "part": "val"},
    }
    done = go(models, parts=["seen", "unseen"], claims=claims, draws=100)
    assert done.code == 0, done.err
    table = pd.read_csv("metrics/comparison.csv")
    whole = table[(table["figure"] == "accuracy") & table["reference"].str.startswith("d-")]
    assert whole[["part", "model", "reference", "n", "change"]].to_numpy().tolist() == [
        ["seen", "d-mixup", "d-scratch", 40, 0.125], ["seen", "d-mixup", "d-transfer", 40, -0.025],
        ["seen", "d-transfer", "d-scratch", 40, 0.15], ["unseen", "d-transfer", "d-scratch", 40, -0.25],
    ]  # fmt: skip
    written = read_json(Path("metrics/comparison.json"))
    assert {*written} == {"data", "seen", "unseen", "claims"} and {*written["unseen"]} == {"d-transfer"}
    test = "paired bootstrap of whole sequences, 100 draws"
    last, first = written["claims"]["last"], written["claims"]["first"]
    assert (last["part"], last["change"], last["n"], last["test"]) == ("unseen", 0.25, 40, test)
    assert (first["part"], first["change"], first["holds"]) == ("val", 0.225, True)
    assert (first["won"], first["lost"], first["p"]) == (9, 0, round(2 / 2**9, 6))  # nine more lie, and all stand alike
    assert "claim: d-transfer is better than d-scratch by accuracy in val: +0.225 (" in done.out


def test_what_has_no_answers_is_left_out_and_named(go: Callable[..., Any]) -> None:
    claims = {
        "up": {"better": "d-transfer", "than": "d-scratch", "figure": "accuracy"},
        "gone": {"better": "d-mixup", "than": "d-scratch", "figure": "accuracy"},
        "both": {"better": "d-transfer", "than": "d-scratch", "figure": "accuracy", "part": "val"},
    }
    models = {"d-scratch": answers(0, 30), "d-transfer": answers(6, 30)}
    done = go(models, claims=claims, references={"d": ["d-none", "d-scratch"], "e": ["e-one"]}, document=[])
    assert done.code == 0, done.err
    assert "not compared, as no model with answers begins so: e\n" in done.out
    assert "no references, as they have no answers: d-none, e-one\n" in done.out
    assert (
        "claims not checked: both: d-transfer and d-scratch have no val answers, gone: d-mixup has no test answers\n"
        in done.out
    )
    written = read_json(Path("metrics/comparison.json"))
    assert {*written["claims"]} == {"up"} and {*written["test"]["d-transfer"]} == {"d-scratch"}
    assert written["not_checked"] == {
        "gone": "d-mixup has no test answers", "both": "d-transfer and d-scratch have no val answers"
    }  # fmt: skip


def test_a_model_alone_has_its_baseline_and_without_answers_of_a_part_there_is_none(go: Callable[..., Any]) -> None:
    done = go({"d-mixup": answers(0, 30)})
    assert done.code == 0, done.err
    table = pd.read_csv("metrics/comparison.csv")
    assert set(table["reference"]) == {"always standing"} and list(table.columns) == [*COLUMNS, "won", "lost", "p", *OVER_SEEDS]
    assert read_json(Path("metrics/comparison.json")) == {"data": "your data"}
    for about in ({"parts": ["seen"]}, {"references": {"e": ["e-one"]}, "document": []}):
        done = go({"d-mixup": answers(0, 30)}, **about)
        assert done.code == 0, done.err
        table = pd.read_csv("metrics/comparison.csv")
        assert table.empty and list(table.columns) == [*COLUMNS, "won", "lost", "p", *OVER_SEEDS]


def test_without_any_answers_it_is_refused(go: Callable[..., Any]) -> None:
    done = go({})
    assert done.code == 1 and "answers: no model has answers to compare: run `dvc repro`" in done.err
    assert not Path("metrics").exists()


@pytest.mark.parametrize(
    ("kinds", "data", "left_out"),
    [
        ({"d-scratch": "embedded", "d-transfer": "embedded", "d-mixup": "embedded"}, "embedded", []),
        ({"d-scratch": "embedded"}, "your data", ["d-scratch"]),
        ({"d-mixup": "embedded", "d-scratch": ""}, "your data", ["d-mixup", "d-scratch"]),
        ({"d-scratch": "", "d-transfer": "embedded", "d-mixup": "embedded"}, "embedded", ["d-scratch"]),
        ({"d-scratch": "", "d-transfer": "", "d-mixup": ""}, "", []),
    ],
)
def test_answers_of_other_data_are_left_out_and_named(
    go: Callable[..., Any], kinds: dict[str, str], data: str, left_out: list[str]
) -> None:
    models = {"d-scratch": answers(0, 30), "d-transfer": answers(6, 30), "d-mixup": answers(7, 28)}
    claims = {"up": {"better": "d-transfer", "than": "d-scratch", "figure": "accuracy"}}
    done = go(models, claims=claims, kinds=kinds)
    assert done.code == 0, done.err
    written = read_json(Path("metrics/comparison.json"))
    assert next(iter(written)) == "data" and written["data"] == data and written.get("left_out", []) == left_out
    assert {*pd.read_csv("metrics/comparison.csv")["model"]} == {*models} - {*left_out}
    assert ("up" in written.get("not_checked", {})) == ("d-scratch" in left_out)
    assert all(f"{name} ({kinds[name] or 'unknown'})" in done.out for name in left_out)
    assert ("left out, as their answers" in done.out) == bool(left_out)


def test_a_model_without_a_card_is_of_unknown_data(go: Callable[..., Any], tmp_path: Path) -> None:
    with new_folder(tmp_path / "answers/d-old") as out:
        answers(0, 30).to_parquet(out / "answers.parquet", index=False)
    done = go({"d-scratch": answers(0, 30)})
    assert done.code == 0 and "left out, as their answers are not of your data: d-old (unknown)" in done.out


def test_the_stage_says_how_a_change_varies_over_seeds(go: Callable[..., Any]) -> None:
    models = {"d-scratch": answers(0, 30), "d-transfer": answers(6, 30), "d-mixup": answers(7, 28)}
    assert go(models, {"d-scratch": [0.5, 0.6, 0.7], "d-transfer": [0.6, 0.9]}).code == 0
    table = pd.read_csv("metrics/comparison.csv").set_index("figure")
    both = (table["model"] == "d-transfer") & (table["reference"] == "d-scratch")
    found = table.loc[both, OVER_SEEDS]
    assert found.loc["accuracy"].tolist() == pytest.approx([2, 0.2, 0.141421])
    assert found.loc["f1_macro"].equals(found.loc["accuracy"].rename("f1_macro"))
    assert found.loc[["recall"]].isna().all(axis=None)
    assert table.loc[~both, OVER_SEEDS].isna().all(axis=None), "no other two were both trained twice"


def test_the_stage_writes_the_same_twice(go: Callable[..., Any]) -> None:
    models = {"d-scratch": answers(0, 30), "d-transfer": answers(6, 30)}
    go(models)
    first = Path("metrics/comparison.csv").read_bytes()
    go(models)
    assert Path("metrics/comparison.csv").read_bytes() == first


@pytest.mark.parametrize(
    "other",
    [
        answers(6, 30).iloc[:39],
        answers(6, 30).assign(sample_id=[f"q{n:02}" for n in range(40)]),
        answers(6, 30).assign(actual=["lying"] * 11 + ["standing"] * 29),
    ],
    ids=["fewer", "others", "relabelled"],
)
def test_models_scored_on_other_pictures_are_refused(go: Callable[..., Any], other: pd.DataFrame) -> None:
    done = go({"d-scratch": answers(0, 30), "d-transfer": other})
    assert done.code == 1
    assert "d-transfer cannot be compared with d-scratch: they were scored on other pictures: " in done.err
    assert "`dvc repro`" in done.err
    assert not Path("metrics").exists()


def test_altered_answers_and_unknown_settings_are_refused(go: Callable[..., Any], tmp_path: Path) -> None:
    done = go({"d-scratch": answers(0, 30), "d-transfer": answers(1, 30)}, draw=3)
    assert done.code == 1 and "compare.d.draw: unknown key. Did you mean `draws`?" in done.err
    done = go({"d-scratch": answers(0, 30)})
    assert done.code == 0, "both are there"
    path = tmp_path / "answers/d-scratch/answers.parquet"
    path.write_bytes(path.read_bytes() + b" ")
    done = go({"d-transfer": answers(1, 30)})
    assert done.code == 1 and "answers.parquet: " in done.err
