"""Predictions -> answers: what is chosen is chosen on val alone, and a sequence is answered from all its frames."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages import answers
from stages.box_scores import NONE_PASSES
from stages.files import DataError
from stages.predictions import BOX, CLASS, box_rows, class_rows
from stages.samples import BOX_COLUMNS, EMPTY


@dataclass(frozen=True)
class Found:
    pictures: pd.DataFrame
    sequences: pd.DataFrame
    task: str
    chosen: dict[str, float]


def answer(predictions: pd.DataFrame, table: pd.DataFrame) -> Found:
    """As `evaluate` does: chosen on val, then answered for all."""
    chosen = answers.choose(predictions, table)
    found = answers.answer(predictions, table, chosen)
    return Found(found.pictures, found.sequences, found.task, chosen)


COLUMNS = ["actual", "predicted", "score", "calibrated"]


def pictures(rows: str) -> pd.DataFrame:
    """Lines of: sample_id, part, seq_id, label."""
    table = pd.DataFrame([line.split() for line in rows.strip().splitlines()], columns=["sample_id", "part", "seq_id", "label"])
    return table.sort_values("sample_id", ignore_index=True)


def classes(**scores: dict[str, float]) -> pd.DataFrame:
    return class_rows(pd.DataFrame(scores).T)


def boxes(table: pd.DataFrame, *rows: tuple[str, str, float]) -> pd.DataFrame:
    """(sample_id, label, score) of each box found -> predictions for all of `table`."""
    flat = [(*row, 0.0, 0.0, 5.0, 5.0) for row in rows]
    return box_rows(pd.DataFrame(flat, columns=["sample_id", "label", "score", *BOX_COLUMNS]), table["sample_id"])


def by_name(rows: pd.DataFrame, *columns: str) -> dict[str, Any]:
    return {name: tuple(values) for name, *values in rows[["sample_id", *columns]].itertuples(index=False)}


# Classes -------------------------------------------------------------------------------------------------------------


# On val the model says 0.9 and is right 3 times of 4. The likeliest is then 0.75: softmax(log p / T) at T = log 9 / log 3 = 2.
SURE = {"deer": 0.9, "fox": 0.1}
OVERSURE = pictures("""
    v1 val v1 deer
    v2 val v2 deer
    v3 val v3 deer
    v4 val v4 fox
    t1 test t1 fox
    u1 unseen u1 wolf
    u2 unseen u2 fox
""")
OVERSURE_SCORES = classes(
    v1=SURE, v2=SURE, v3=SURE, v4=SURE, t1={"deer": 0.1, "fox": 0.9}, u1=SURE, u2={"deer": 0.5, "fox": 0.5}
)


def test_classes_the_surest_is_the_answer_and_val_says_how_sure_it_may_be() -> None:
    found = answer(OVERSURE_SCORES, OVERSURE)
    assert found.task == CLASS
    assert found.chosen == {"temperature": pytest.approx(2, abs=1e-4)}
    assert by_name(found.pictures, *COLUMNS) == {
        **{name: ("deer", "deer", 0.9, pytest.approx(0.75, abs=1e-5)) for name in ("v1", "v2", "v3")},
        "v4": ("fox", "deer", 0.9, pytest.approx(0.75, abs=1e-5)),
        "t1": ("fox", "fox", 0.9, pytest.approx(0.75, abs=1e-5)),
        "u1": ("wolf", "deer", 0.9, pytest.approx(0.75, abs=1e-5)),  # a class that the model does not know
        "u2": ("fox", "deer", 0.5, 0.5),  # ties go by name
    }
    assert set(OVERSURE.columns) - {"label"} < set(found.pictures.columns), "what is known of a picture stays with it"


def test_classes_nothing_outside_val_has_a_say() -> None:
    chosen = answer(OVERSURE_SCORES, OVERSURE)
    flipped = OVERSURE_SCORES.copy()
    away = flipped["sample_id"].isin(["t1", "u1", "u2"])
    flipped.loc[away, "score"] = [0.99, 0.01] * 3
    relabelled = OVERSURE.assign(label=OVERSURE["label"].where(OVERSURE["part"] == "val", "deer"))
    fewer = OVERSURE[~OVERSURE["sample_id"].isin(["u2"])].reset_index(drop=True)
    others = [
        (flipped, OVERSURE),
        (OVERSURE_SCORES, relabelled),
        (OVERSURE_SCORES[OVERSURE_SCORES["sample_id"] != "u2"], fewer),
    ]
    for predictions, table in others:
        found = answer(predictions, table)
        assert found.chosen == chosen.chosen
        val = [answers.pictures[answers.pictures["part"] == "val"].reset_index(drop=True) for answers in (found, chosen)]
        pd.testing.assert_frame_equal(*val)
    v4_right = OVERSURE.assign(label=OVERSURE["label"].where(OVERSURE["sample_id"] != "v4", "deer"))
    assert answer(OVERSURE_SCORES, v4_right).chosen != chosen.chosen, "val has a say"


def test_classes_in_val_that_the_model_does_not_know_are_left_out_of_the_choice() -> None:
    strange = pd.concat([OVERSURE, pictures("w1 val w1 wolf")], ignore_index=True)
    scores = pd.concat([OVERSURE_SCORES, classes(w1=SURE)], ignore_index=True)
    assert answer(scores, strange).chosen == answer(OVERSURE_SCORES, OVERSURE).chosen


def test_the_order_of_rows_changes_no_answer() -> None:
    expected = answer(OVERSURE_SCORES, OVERSURE)
    mixed = answer(OVERSURE_SCORES.sample(frac=1, random_state=3), OVERSURE.sample(frac=1, random_state=4))
    assert mixed.chosen == pytest.approx(expected.chosen)
    for found, wanted in ((mixed.pictures, expected.pictures), (mixed.sequences, expected.sequences)):
        found = found.sort_values("sample_id", ignore_index=True)
        pd.testing.assert_frame_equal(found, wanted.sort_values("sample_id", ignore_index=True))


# Sequences -----------------------------------------------------------------------------------------------------------


FRAMES = pictures("""
    v1 val  burst deer
    v2 val  burst deer
    s1 seen burst fox
    s2 seen burst fox
    s3 seen burst empty
    s4 seen lone  empty
    s5 seen even  fox
    s6 seen even  deer
    s7 seen even  empty
    s8 seen even  empty
    s9 seen even  empty
""")


def flat(temperature: float) -> Any:
    """Probabilities of two classes after the temperature."""
    return lambda p: p ** (1 / temperature) / (p ** (1 / temperature) + (1 - p) ** (1 / temperature))


def test_classes_a_sequence_is_the_mean_of_its_frames_probabilities() -> None:
    deer = {
        "v1": 0.8,
        "v2": 0.3,
        "s1": 0.99,
        "s2": 0.4,
        "s3": 0.4,
        "s4": 0.2,
        "s5": 0.1,
        "s6": 0.1,
        "s7": 0.6,
        "s8": 0.6,
        "s9": 0.6,
    }
    found = answer(classes(**{name: {"deer": p, "fox": 1 - p} for name, p in deer.items()}), FRAMES)
    after = flat(found.chosen["temperature"])
    means = {
        "val:burst": ("deer", np.mean([after(0.8), after(0.3)])),
        "seen:burst": ("fox", np.mean([after(0.99), after(0.4), after(0.4)])),
        "seen:lone": (EMPTY, after(0.2)),
        "seen:even": ("deer", np.mean([after(p) for p in (0.1, 0.1, 0.6, 0.6, 0.6)])),
    }
    assert by_name(found.sequences, *COLUMNS) == {
        name: (actual, "deer" if mean >= 0.5 else "fox", pytest.approx(max(mean, 1 - mean)), pytest.approx(max(mean, 1 - mean)))
        for name, (actual, mean) in means.items()
    }
    assert found.sequences.set_index("sample_id").loc["seen:burst", "predicted"] == "deer", "one sure frame outweighs two"


def test_a_sequence_is_named_for_its_commonest_animal_and_stays_in_its_part() -> None:
    found = answer(classes(**dict.fromkeys(FRAMES["sample_id"], SURE)), FRAMES).sequences
    assert by_name(found, "part", "seq_id", "actual") == {
        "val:burst": ("val", "burst", "deer"),
        "seen:burst": ("seen", "burst", "fox"),  # 2 of 3
        "seen:lone": ("seen", "lone", EMPTY),  # nothing but empty frames
        "seen:even": ("seen", "even", "deer"),  # one frame each of deer and fox, three empty ones: by name
    }


def test_boxes_a_sequence_is_answered_by_the_surest_box_of_its_frames() -> None:
    given = boxes(
        FRAMES, ("v1", "deer", 0.8), ("v2", "fox", 0.7), ("v2", "deer", 0.75),
        ("s1", "fox", 0.8), ("s2", "deer", 0.85), ("s2", "fox", 0.2), ("s5", "fox", 0.1),
    )  # fmt: skip
    found = answer(given, FRAMES)
    assert found.chosen["image_threshold"] == 0.75  # the higher of what is right for both pictures of val
    assert by_name(found.sequences, "actual", "predicted", "score") == {
        "val:burst": ("deer", "deer", 0.8),
        "seen:burst": ("fox", "deer", 0.85),
        "seen:lone": (EMPTY, EMPTY, 1.0),
        "seen:even": ("deer", EMPTY, 0.9),  # as sure as its one box is unsure
    }


# Boxes ---------------------------------------------------------------------------------------------------------------


BOXED = pictures("""
    v1 val v1 deer
    v2 val v2 fox
    v3 val v3 empty
    v4 val v4 empty
    s1 seen s1 deer
    s2 seen s2 fox
    u1 unseen u1 fox
""")
FOUND = [
    ("v1", "deer", 0.9), ("v1", "fox", 0.3), ("v2", "fox", 0.6), ("v3", "fox", 0.4),
    ("s1", "deer", 0.6), ("s1", "fox", 0.59), ("s2", "fox", 0.5), ("u1", "deer", 0.95),
]  # fmt: skip


def test_boxes_the_surest_above_the_threshold_that_val_chose_is_the_answer() -> None:
    found = answer(boxes(BOXED, *FOUND), BOXED)
    assert found.task == BOX
    assert found.chosen["image_threshold"] == 0.6  # v1 and v2 right, v3 below it: empty
    assert by_name(found.pictures, "actual", "predicted", "score") == {
        "v1": ("deer", "deer", 0.9),
        "v2": ("fox", "fox", 0.6),
        "v3": (EMPTY, EMPTY, 0.6),
        "v4": (EMPTY, EMPTY, 1.0),
        "s1": ("deer", "deer", 0.6),  # at the threshold
        "s2": ("fox", EMPTY, 0.5),
        "u1": ("fox", "deer", 0.95),
    }


def test_boxes_nothing_outside_val_has_a_say() -> None:
    chosen = answer(boxes(BOXED, *FOUND), BOXED)
    val = [row for row in FOUND if row[0].startswith("v")]
    relabelled = BOXED.assign(label=BOXED["label"].where(BOXED["part"] == "val", EMPTY))
    others = [
        (boxes(BOXED, *val), BOXED),
        (boxes(BOXED, *val, ("s1", "fox", 0.99), ("s2", "fox", 0.01), ("u1", "fox", 0.61)), BOXED),
        (boxes(BOXED, *FOUND), relabelled),
        (boxes(BOXED[3:], *val), BOXED[3:].reset_index(drop=True)),
    ]
    assert BOXED["part"][3:].eq("val").all()
    for predictions, table in others:
        found = answer(predictions, table)
        assert found.chosen == chosen.chosen
        pd.testing.assert_frame_equal(
            *(a.pictures[a.pictures["part"] == "val"].reset_index(drop=True) for a in (found, chosen))
        )
    surer = [("v3", "fox", 0.7) if row[0] == "v3" else row for row in FOUND]
    assert answer(boxes(BOXED, *surer), BOXED).chosen != chosen.chosen, "val has a say"


def test_boxes_are_calibrated_by_how_often_the_answers_of_val_are_right() -> None:
    """Four answers at 0.9, three of them right: the likeliest is 0.75, as for two classes above."""
    table = pictures("\n".join(f"v{i} val v{i} {'deer' if i < 3 else 'fox'}" for i in range(4)) + "\nu1 unseen u1 fox")
    found = answer(boxes(table, *((f"v{i}", "deer", 0.9) for i in range(4)), ("u1", "fox", 0.9)), table)
    assert set(found.chosen) == {"image_threshold", "temperature", "bias"} and found.chosen["image_threshold"] == 0.9
    assert found.pictures["calibrated"].tolist() == pytest.approx([0.75] * 5, abs=1e-3)
    assert found.sequences["calibrated"].tolist() == pytest.approx([0.75] * 5, abs=1e-3)


def test_a_detector_that_is_never_right_answers_empty() -> None:
    table = pictures("v1 val v1 empty\nv2 val v2 empty\nu1 unseen u1 fox")
    found = answer(boxes(table, ("v1", "fox", 1.0), ("u1", "fox", 1.0)), table)
    assert found.chosen["image_threshold"] == NONE_PASSES
    assert found.pictures["predicted"].tolist() == [EMPTY] * 3
    assert found.pictures.set_index("sample_id").loc["u1", "score"] == 0


# Whatever the table --------------------------------------------------------------------------------------------------


@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(["val", "seen", "unseen"]), st.integers(0, 3), st.sampled_from(["deer", "fox", EMPTY]),
            st.sampled_from([0.0, 0.2, 0.5, 0.8, 1.0]),
        ),
        min_size=1, max_size=12,
    ),
    boxed=st.booleans(),
)  # fmt: skip
def test_every_picture_and_every_sequence_of_a_part_gets_one_answer(rows: list[tuple[Any, ...]], boxed: bool) -> None:
    rows = [("val", 0, "deer", 0.5), *rows]
    table = pictures("\n".join(f"p{i:02} {part} {seq} {label}" for i, (part, seq, label, _) in enumerate(rows)))
    scores = {f"p{i:02}": score for i, (*_, score) in enumerate(rows)}
    given = (
        boxes(table, *((name, "deer", score) for name, score in scores.items() if score != 0.2))
        if boxed
        else classes(**{name: {"deer": score, EMPTY: 1 - score} for name, score in scores.items()})
    )
    found = answer(given, table)
    assert found.pictures["sample_id"].tolist() == table["sample_id"].tolist()
    assert found.pictures["actual"].tolist() == table["label"].tolist()
    wanted = {(part, str(seq)) for part, seq, *_ in rows}
    assert sorted(zip(found.sequences["part"], found.sequences["seq_id"], strict=True)) == sorted(wanted)
    for rows_ in (found.pictures, found.sequences):
        assert rows_[["score", "calibrated"]].stack().between(0, 1 + 1e-9).all()
        assert set(rows_["predicted"]) <= {"deer", EMPTY}


# What is refused -----------------------------------------------------------------------------------------------------


def refused(predictions: pd.DataFrame, table: pd.DataFrame) -> str:
    with pytest.raises(DataError) as caught:
        answer(predictions, table)
    return str(caught.value)


def test_fault_59_a_missing_prediction_fails() -> None:
    for predictions in (OVERSURE_SCORES, boxes(OVERSURE)):
        given = predictions[predictions["sample_id"] != "u1"]
        assert refused(given, OVERSURE).startswith("1 of 7 pictures have no prediction (['u1']), 0 predictions no picture")


def test_fault_59_a_prediction_of_no_picture_fails() -> None:
    for predictions in (OVERSURE_SCORES, boxes(OVERSURE)):
        message = refused(predictions, OVERSURE[1:])
        assert message.startswith(
            f"0 of 6 pictures have no prediction ([]), 1 predictions no picture (['{OVERSURE['sample_id'][0]}'])"
        )


def test_mixed_tasks_are_refused() -> None:
    mixed = pd.concat([OVERSURE_SCORES, boxes(OVERSURE)], ignore_index=True)
    assert refused(mixed, OVERSURE) == "predictions of one task are wanted, found box, class"


def test_fault_32_without_any_picture_in_val_nothing_can_be_chosen() -> None:
    message = "no picture is in val: thresholds and temperature are chosen there. Give val a larger share of the split"
    table = OVERSURE.assign(part="unseen")
    assert refused(OVERSURE_SCORES, table) == message
    assert refused(boxes(table), table) == message


def test_a_val_of_unknown_classes_alone_is_refused() -> None:
    table = OVERSURE.assign(label=OVERSURE["label"].where(OVERSURE["part"] != "val", "wolf"))
    assert "no validation item is of a class that the model knows" in refused(OVERSURE_SCORES, table)
