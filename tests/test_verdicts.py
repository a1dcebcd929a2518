"""Entries become answers: exact ones on hand-made entries, one for every file, and no more in memory than a part of them."""

import tracemalloc
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.calibration import calibrated_binary
from stages.predictions import BOX, CLASS
from stages.results import ANIMAL, FAILED, PERSON, Result
from stages.samples import EMPTY
from stages.verdicts import Rules, ordered, results

Entry = dict[str, Any]
ANIMALS = Rules(BOX, ("fox", "deer", "person"), {"image_threshold": 0.4, "temperature": 1.0, "bias": 0.0}, 0.8)
WHOLE = Rules(CLASS, ("deer", "fox", "person", EMPTY), {"temperature": 1.0}, 0.8)


def rules(of: Rules, **changes: Any) -> Rules:
    return Rules(**(vars(of) | changes))


def entry(path: str, *boxes: tuple[Any, ...], scores: list[list[float]] | None = None, **more: Any) -> Entry:
    """Of 100 x 50 px. Boxes are (label, score) or (label, score, frame), each at a place of its own."""
    rows = []
    for number, (label, score, *frame) in enumerate(boxes):
        left = number / len(boxes)
        rows.append([frame[0] if frame else 0, label, score, left, 0.0, left + 0.9 / len(boxes), 1.0, None, None])
    about = {"path": path, "bytes": 1, "mtime_ns": 1, "width_px": 100, "height_px": 50, "captured_at": None}
    return about | ({"scores": scores} if scores is not None else {"boxes": rows}) | more


def failed(path: str) -> Entry:
    return {"path": path, "bytes": 0, "mtime_ns": 1, "failure": "empty_file: the file has 0 bytes"}


def answered(chosen: Rules, *entries: Entry, sequences: list[str | None] | None = None) -> list[Result]:
    return list(results(zip(entries, sequences or [None] * len(entries), strict=True), chosen))


# One file ------------------------------------------------------------------------------------------------------------------


def test_the_surest_box_is_the_answer_from_the_threshold_on() -> None:
    a, b, c = answered(ANIMALS, entry("a", ("deer", 0.4), ("fox", 0.9)), entry("b", ("fox", 0.4)), entry("c", ("fox", 0.39)))
    assert (a.label, a.score, a.confidence, a.review) == ("fox", 0.9, pytest.approx(0.9), False)
    assert [box.label for box in a.boxes] == ["fox", "deer"], "the surest first"
    assert (b.label, b.score, b.review) == ("fox", 0.4, True)
    assert (c.label, c.score, c.confidence, c.review) == (EMPTY, 0.61, pytest.approx(0.61), True)
    assert len(c.boxes) == 1 and c.shown(0.4) == (), "kept, though it does not count"


def test_without_a_box_it_is_empty_for_sure() -> None:
    [one] = answered(ANIMALS, entry("a"))
    assert (one.label, one.score, one.confidence, one.boxes) == (EMPTY, 1.0, pytest.approx(1.0), ())


def test_confidence_is_the_score_calibrated() -> None:
    chosen = {"image_threshold": 0.4, "temperature": 2.0, "bias": 0.5}
    [one] = answered(rules(ANIMALS, chosen=chosen), entry("a", ("fox", 0.9)))
    assert one.score == 0.9
    assert one.confidence == pytest.approx(calibrated_binary(np.array([0.9]), 2.0, 0.5)[0])
    assert one.confidence == pytest.approx(1 / (1 + np.exp(-(np.log(9) / 2 + 0.5))))


def test_a_classifier_s_answer_is_its_likeliest_class() -> None:
    [one] = answered(WHOLE, entry("a", scores=[[0.2, 0.5, 0.0, 0.3]]))
    assert (one.label, one.score, one.confidence) == ("fox", 0.5, pytest.approx(0.5))
    assert list(one.scores.items()) == [("fox", 0.5), (EMPTY, 0.3), ("deer", 0.2), ("person", 0.0)]
    [sharper] = answered(rules(WHOLE, chosen={"temperature": 0.5}), entry("a", scores=[[0.2, 0.5, 0.0, 0.3]]))
    assert (sharper.score, sharper.confidence) == (0.5, pytest.approx(0.25 / 0.38))


def test_a_video_s_frames_are_averaged_or_the_surest_box_of_them_counts() -> None:
    [whole] = answered(
        WHOLE, entry("v", scores=[[0.8, 0.1, 0.1, 0], [0.2, 0.7, 0.1, 0], [0.8, 0.1, 0.1, 0]], frames=[0, 9, 18])
    )
    assert (whole.label, whole.score, whole.confidence) == ("deer", pytest.approx(0.6), pytest.approx(0.6, abs=1e-6))
    [boxes] = answered(ANIMALS, entry("v", ("fox", 0.6, 9), ("deer", 0.7, 18), frames=[0, 9, 18], frame_rate=9.0))
    assert (boxes.label, boxes.score, boxes.frames, boxes.frame_rate) == ("deer", 0.7, (0, 9, 18), 9.0)
    assert [(box.label, box.frame) for box in boxes.boxes] == [("deer", 18), ("fox", 9)]
    [picture] = answered(ANIMALS, entry("p", ("fox", 0.6)))
    assert picture.boxes[0].frame is None and picture.frame_rate is None


def test_what_is_known_of_a_file_is_carried_over() -> None:
    [one] = answered(ANIMALS, entry("a/é\n.jpg", captured_at="2024-05-01T06:07:08.250000", note="damaged: after 9 frames"))
    assert (one.path, one.width_px, one.height_px, one.note) == ("a/é\n.jpg", 100, 50, "damaged: after 9 frames")
    assert str(one.captured_at) == "2024-05-01 06:07:08.250000"
    [bad] = answered(ANIMALS, failed("b"))
    assert (bad.failure, bad.label, bad.kind(0.4)) == ("empty_file: the file has 0 bytes", None, FAILED)


@pytest.mark.parametrize(("least", "review"), [(0.0, False), (0.7, False), (0.71, True), (1.0, True)])
def test_a_person_looks_at_what_is_less_sure(least: float, review: bool) -> None:
    for chosen, one in ((ANIMALS, entry("a", ("fox", 0.7))), (WHOLE, entry("a", scores=[[0.0, 0.7, 0.2, 0.1]]))):
        [found] = answered(rules(chosen, review_below=least), one)
        assert found.review is review or found.confidence == pytest.approx(least)


# One animal, one box; and no person is hidden ----------------------------------------------------------------------------------


def placed(*boxes: tuple[Any, ...], **more: Any) -> Entry:
    """Boxes are (label, score, x_min, frame), all 0.4 wide and as high as the picture."""
    rows = [[frame, label, score, x, 0.0, x + 0.4, 1.0, None, None] for label, score, x, frame in boxes]
    return entry("a") | {"boxes": rows} | more


def test_an_animal_that_a_detector_names_twice_is_one_box() -> None:
    [one] = answered(ANIMALS, placed(("deer", 0.5, 0.0, 0), ("fox", 0.6, 0.01, 0), ("fox", 0.55, 0.5, 0)))
    assert [(box.label, box.score) for box in one.boxes] == [("fox", 0.6), ("fox", 0.55)]
    [two] = answered(ANIMALS, placed(("deer", 0.5, 0.0, 0), ("fox", 0.6, 0.0, 9), frames=[0, 9], frame_rate=9.0))
    assert len(two.boxes) == 2, "of two frames"


def test_a_person_where_an_animal_may_be_as_well_is_not_hidden() -> None:
    """In doubt it is one of a person: such a picture must not be shared as a fox's."""
    [one] = answered(ANIMALS, placed(("fox", 0.6, 0.0, 0), ("person", 0.5, 0.01, 0)))
    assert one.kind(0.4) == PERSON


# Species ------------------------------------------------------------------------------------------------------------------------


def test_only_species_of_the_list_are_answered_and_others_are_animals_for_a_person_to_look_at() -> None:
    deer = rules(ANIMALS, species=frozenset({"deer"}), review_below=0.0)
    a, b = answered(deer, entry("a", ("fox", 0.5), ("deer", 0.9)), entry("b", ("fox", 0.9)))
    assert (a.label, a.score, [box.label for box in a.boxes], a.review) == ("deer", 0.9, ["deer", "animal"], False)
    assert (b.label, b.score, [box.label for box in b.boxes], b.review) == ("animal", 0.9, ["animal"], True), "never empty"
    [whole] = answered(rules(WHOLE, species=frozenset({"deer"})), entry("a", scores=[[0.2, 0.6, 0.0, 0.2]]))
    assert whole.label == "animal" and whole.review
    assert whole.scores == pytest.approx({"animal": 0.6, "deer": 0.2, EMPTY: 0.2, "person": 0.0})


def test_of_two_classes_for_one_place_the_one_that_can_be_is_taken() -> None:
    deer = rules(ANIMALS, species=frozenset({"deer"}))
    [one] = answered(deer, placed(("fox", 0.9, 0.0, 0), ("deer", 0.5, 0.01, 0)))
    assert (one.label, [box.label for box in one.boxes]) == ("deer", ["deer"])
    [unsure] = answered(deer, placed(("fox", 0.9, 0.0, 0), ("deer", 0.1, 0.01, 0)))  # below the threshold
    assert unsure.label == "animal"


def test_a_list_of_species_never_hides_people_or_vehicles() -> None:
    species = frozenset({"deer"})
    [one] = answered(rules(ANIMALS, species=species), entry("a", ("deer", 0.5), ("person", 0.9)))
    assert (one.label, one.kind(0.4)) == ("person", PERSON)
    [whole] = answered(rules(WHOLE, species=species), entry("a", scores=[[0.1, 0.2, 0.6, 0.1]]))
    assert (whole.label, whole.score) == ("person", pytest.approx(0.6))
    known = ("deer", "fox", "car", EMPTY)
    [car] = answered(rules(WHOLE, classes=known, species=species), entry("a", scores=[[0.1, 0.2, 0.6, 0.1]]))
    assert car.label == "car"


# Sequences --------------------------------------------------------------------------------------------------------------------------


def test_the_answer_of_an_event_is_shared_by_all_its_files() -> None:
    found = answered(
        ANIMALS,
        entry("a", ("fox", 0.5)), entry("b", ("deer", 0.9)), failed("c"), entry("d"), entry("e", ("fox", 0.5)),
        sequences=["s", "s", "s", "t", "u"],
    )  # fmt: skip
    assert [one.label for one in found] == ["fox", "deer", None, EMPTY, "fox"], "each keeps its own"
    assert [(one.sequence, one.sequence_label) for one in found] == [
        ("s", "deer"), ("s", "deer"), ("s", "deer"), ("t", EMPTY), ("u", "fox"),
    ]  # fmt: skip
    assert found[0].sequence_confidence == pytest.approx(0.9)


def test_probabilities_of_an_event_are_averaged() -> None:
    a, b = answered(WHOLE, entry("a", scores=[[0.6, 0.4, 0, 0]]), entry("b", scores=[[0.1, 0.9, 0, 0]]), sequences=["s", "s"])
    assert (a.label, b.label) == ("deer", "fox")
    assert {(one.sequence_label, round(one.sequence_confidence, 4)) for one in (a, b)} == {("fox", 0.65)}


def test_an_event_of_which_nothing_could_be_read_has_no_answer() -> None:
    a, b = answered(ANIMALS, failed("a"), failed("b"), sequences=["s", "s"])
    assert (a.sequence_label, b.sequence_label) == (None, None)


def test_an_event_of_thousands_is_not_cut() -> None:
    """A camera that was left running: one event, longer than what is taken at a time."""
    many = [entry(f"{number:05}", ("fox", 0.5)) for number in range(2500)] + [entry("last", ("deer", 0.9)), entry("other")]
    found = answered(ANIMALS, *many, sequences=["s"] * 2501 + ["t"])
    assert {one.sequence_label for one in found[:-1]} == {"deer"}
    assert found[-1].sequence_label == EMPTY


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5)
shares = st.floats(0, 1).map(lambda share: round(share, 5))
files = st.lists(
    st.tuples(
        names,
        st.one_of(st.none(), st.lists(st.tuples(st.sampled_from(["fox", "deer", "person"]), shares), max_size=4)),
        st.sampled_from(["s", "t", "u", None]),
    ),
    max_size=12,
    unique_by=lambda one: one[0],
)


@given(files, st.sampled_from([None, frozenset({"deer"})]))
def test_every_entry_gives_exactly_one_result_in_its_place(given_files: Any, species: frozenset[str] | None) -> None:
    given_files = sorted(given_files, key=lambda one: one[2] or "")
    entries = [failed(path) if boxes is None else entry(path, *boxes) for path, boxes, _ in given_files]
    found = answered(rules(ANIMALS, species=species), *entries, sequences=[one[2] for one in given_files])
    assert [one.path for one in found] == [one[0] for one in given_files]
    for one, (_, boxes, sequence) in zip(found, given_files, strict=True):
        assert (one.failure is not None) == (boxes is None)
        if boxes is not None:
            assert len(one.boxes) == len(boxes), "a list of species hides none"
            assert (one.label == EMPTY) == (max((score for _, score in boxes), default=0) < 0.4)
            assert species is None or one.label != "fox"
            assert 0 <= one.confidence <= 1
            assert one.sequence == sequence
    for sequence, event in groupby(found, lambda one: one.sequence):
        assert sequence is None or len({one.sequence_label for one in event}) == 1


@given(st.lists(st.lists(st.floats(0.001, 1), min_size=4, max_size=4), min_size=1, max_size=4))
def test_a_classifier_s_results_are_probabilities_of_its_classes(frames: list[list[float]]) -> None:
    scores = [[value / sum(frame) for value in frame] for frame in frames]
    [one] = answered(rules(WHOLE, species=frozenset({"deer"})), entry("v", scores=scores, frames=list(range(len(frames)))))
    assert sum(one.scores.values()) == pytest.approx(1)
    assert one.label != "fox" and "fox" not in one.scores
    assert one.score == one.scores[one.label or ""]


# Order, and memory ----------------------------------------------------------------------------------------------------------------------


def index(*rows: tuple[str, str | None, str | None]) -> pd.DataFrame:
    """(path, time, sequence)"""
    table = pd.DataFrame(list(rows), columns=["path", "captured_at", "sequence"])
    return table.assign(captured_at=pd.to_datetime(table["captured_at"], format="ISO8601").astype("datetime64[us]"))


def test_files_of_an_event_stand_together_in_time() -> None:
    table = index(
        ("a", "2024-01-01T10:00:05", "s"), ("b", "2024-01-01T10:00:00", "t"), ("c", "2024-01-01T10:00:01", "s"),
        ("d", None, "t"), ("e", "2024-01-01T10:00:01", "s"), ("0", None, "t"),
    )  # fmt: skip
    assert ordered(table)["path"].tolist() == ["b", "0", "d", "c", "e", "a"]
    shuffled = table.sample(frac=1, random_state=3)
    assert ordered(shuffled)["path"].tolist() == ["b", "0", "d", "c", "e", "a"]


def test_files_of_no_event_come_by_path() -> None:
    table = index(("b", "2024-01-01T10:00:00", None), ("a", "2024-01-02T10:00:00", None), ("c", None, None))
    assert ordered(table)["path"].tolist() == ["a", "b", "c"]
    assert ordered(index()).empty


def peak_bytes(count: int, chosen: Rules) -> int:
    def entries() -> Iterator[tuple[Entry, None]]:
        for number in range(count):
            scores = [[0.7, 0.1, 0.1, 0.1]] if chosen.task == CLASS else None
            yield entry(f"{number:06}.jpg", ("fox", 0.5), ("deer", 0.6), scores=scores), None

    tracemalloc.start()
    try:
        for _ in results(entries(), chosen):
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("chosen", [ANIMALS, WHOLE])
def test_memory_does_not_grow_with_the_number_of_files(chosen: Rules) -> None:
    few, many = peak_bytes(2000, chosen), peak_bytes(6000, chosen)
    # Three times as many files; the peak itself depends on when Python collects.
    assert many < 1.5 * few, f"{few:,} bytes for 2,000 files, {many:,} for 6,000"


def test_kinds_of_what_was_answered() -> None:
    a, b = answered(ANIMALS, entry("a", ("fox", 0.9)), entry("b", ("fox", 0.9), ("person", 0.4)))
    assert [one.kind(0.4) for one in (a, b)] == [ANIMAL, PERSON]
