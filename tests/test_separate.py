"""People and vehicles apart from the rest: in doubt a file counts as one of a person, and originals are only read."""

import os
import shutil
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.files import DataError
from stages.results import ANIMAL, FAILED, PERSON, VEHICLE, Box, Result, Run
from stages.samples import EMPTY
from stages.separate import FOLDERS, REVIEW, Separated, place, separate

ALL = (0.0, 0.0, 1.0, 1.0)
RUN = Run(
    Path("card"), "m", "-", "0" * 64, "your data", ("fox", "human", "car", EMPTY), True, 0.4, datetime(2026, 5, 1, tzinfo=UTC)
)


def found(*boxes: Box, **more: object) -> Result:
    return replace(Result("a.jpg", width_px=640, height_px=480, label="fox" if boxes else EMPTY, boxes=boxes), **more)


def run(root: Path) -> Run:
    return replace(RUN, root=root)


def write(root: Path, *paths: str) -> None:
    for number, path in enumerate(paths):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(path.encode() * 100)
        os.utime(root / path, (1_700_000_000 + number, 1_700_000_000 + number))


def files(folder: Path) -> dict[str, tuple[bytes, float]]:
    return {p.relative_to(folder).as_posix(): (p.read_bytes(), p.stat().st_mtime) for p in folder.rglob("*") if p.is_file()}


def go(results: Iterable[Result], root: Path, folder: Path) -> Separated:
    listed = list(results)
    return separate(lambda: iter(listed), run(root), folder)


# Where a file belongs --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (found(), EMPTY),
        (found(Box("fox", 0.9, ALL)), ANIMAL),
        (found(Box("fox", 0.9, ALL), Box("human", 0.4, ALL)), PERSON),
        (found(Box("fox", 0.9, ALL), Box("human", 0.2, ALL)), PERSON),  # half the threshold of 0.4
        (found(Box("fox", 0.9, ALL), Box("human", 0.19, ALL)), ANIMAL),
        (found(Box("fox", 0.9, ALL), Box("car", 0.2, ALL)), VEHICLE),
        (found(Box("car", 0.9, ALL), Box("human", 0.2, ALL)), PERSON),
        # A classifier of animals is unsure of a person: what the detector said counts.
        (found(Box("fox", 0.1, ALL, detector_label="person", detector_score=0.3)), PERSON),
        (found(Box("fox", 0.01, ALL, detector_label="person", detector_score=0.19)), ANIMAL),
        (found(Box("human", 0.3, ALL, detector_label="animal", detector_score=0.9)), PERSON),
        (found(Box("human", 0.2, ALL, frame=7), frame_rate=25.0, frames=(0, 7)), PERSON),
        (found(label="human"), PERSON),
        (found(sequence="s", sequence_label="human"), PERSON),  # the same event
        (found(scores={"fox": 0.8, "human": 0.1, "Hiker": 0.1, EMPTY: 0.0}), PERSON),
        (found(scores={"fox": 0.81, "human": 0.19, EMPTY: 0.0}), EMPTY),
        (found(scores={"fox": 0.75, "car": 0.25}), VEHICLE),
        # A mean over ten frames: one of them may have 0.2 and more.
        (found(scores={"fox": 0.98, "human": 0.02}, frames=tuple(range(10)), frame_rate=5.0), REVIEW),
        (found(scores={"fox": 0.99, "human": 0.01}, frames=tuple(range(10)), frame_rate=5.0), EMPTY),
        (found(frame_rate=5.0, note="damaged after 3 s"), REVIEW),
        (found(review=True), REVIEW),
        (found(Box("fox", 0.5, ALL), review=True), REVIEW),
        (found(Box("human", 0.5, ALL), review=True), PERSON),
        (found(Box("car", 0.5, ALL), review=True), VEHICLE),
        (Result("a.jpg", failure="damaged"), FAILED),
    ],
)
def test_where_a_file_belongs(result: Result, expected: str) -> None:
    assert place(result, RUN) == expected


BOXES = st.builds(
    Box,
    st.sampled_from(["fox", "human", "car"]),
    st.floats(0, 1),
    st.just(ALL),
    st.none(),
    st.sampled_from([None, "animal", "person", "vehicle"]),
    st.floats(0, 1),
)


@given(st.lists(BOXES, max_size=4), st.booleans(), st.floats(0, 1))
def test_what_the_run_calls_a_person_is_always_apart(boxes: list[Box], review: bool, threshold: float) -> None:
    result, at = found(*boxes, review=review), replace(RUN, threshold=threshold)
    where = place(result, at)
    assert where in FOLDERS
    if result.kind(threshold) == PERSON and all((box.detector_score or 0) >= box.score for box in boxes):
        assert where == PERSON
    assert (where in (ANIMAL, EMPTY)) <= (not review)


# Copies ----------------------------------------------------------------------------------------------------------------


def test_every_file_is_copied_with_its_time_and_none_is_altered(tmp_path: Path) -> None:
    root, out = tmp_path / "card", tmp_path / "out"
    write(root, "ä/b c/fox.jpg", "human.jpg", "line\nbreak.jpg", "broken.jpg", "unsure.jpg")
    before = files(root)
    done = go(
        [
            found(Box("fox", 0.9, ALL), path="ä/b c/fox.jpg"),
            found(Box("human", 0.9, ALL), path="human.jpg"),
            found(path="line\nbreak.jpg"),
            Result("broken.jpg", failure="damaged"),
            found(path="unsure.jpg", review=True),
        ],
        root,
        out,
    )
    assert done == Separated({ANIMAL: 1, PERSON: 1, EMPTY: 1, FAILED: 1, REVIEW: 1}, [])
    assert files(root) == before
    assert files(out) == {
        "animal/ä/b c/fox.jpg": before["ä/b c/fox.jpg"],
        "person/human.jpg": before["human.jpg"],
        "empty/line\nbreak.jpg": before["line\nbreak.jpg"],
        "failed/broken.jpg": before["broken.jpg"],
        "review/unsure.jpg": before["unsure.jpg"],
    }


def test_a_second_run_copies_only_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, out, copied = tmp_path / "card", tmp_path / "out", []
    write(root, "a.jpg", "b.jpg")
    results = [found(path="a.jpg"), found(path="b.jpg")]
    go(results[:1], root, out)
    copy2 = shutil.copy2
    monkeypatch.setattr("shutil.copy2", lambda source, target: (copied.append(source.name), copy2(source, target)))
    assert go(results, root, out).files == {EMPTY: 2}
    assert copied == ["b.jpg"]


def test_what_turns_out_to_be_a_person_leaves_the_animals(tmp_path: Path) -> None:
    root, out = tmp_path / "card", tmp_path / "out"
    write(root, "a.jpg")
    go([found(Box("fox", 0.9, ALL))], root, out)
    assert go([found(Box("human", 0.9, ALL))], root, out).files == {PERSON: 1}
    assert list(files(out)) == ["person/a.jpg"]


def test_another_file_of_that_name_is_neither_overwritten_nor_removed(tmp_path: Path) -> None:
    root, out = tmp_path / "card", tmp_path / "out"
    write(root, "a.jpg", "b.jpg")
    write(out, "empty/a.jpg", "animal/b.jpg")
    before = files(out)
    done = go([found(path="a.jpg"), found(path="b.jpg")], root, out)
    assert done.files == {}
    assert [line.split(":")[0] for line in done.lost] == ["a.jpg", "b.jpg"]
    assert "another file" in done.lost[0]
    assert files(out) == before


def test_what_cannot_be_copied_is_listed(tmp_path: Path) -> None:
    root, out = tmp_path / "card", tmp_path / "out"
    write(root, "a.jpg")
    os.mkfifo(root / "pipe")
    done = go([found(path="gone\n.jpg"), Result("pipe", failure="not a file"), found(path="a.jpg")], root, out)
    assert done.files == {EMPTY: 1}
    assert done.lost[0].startswith("gone\\n.jpg: [Errno 2]") and "named pipe" in done.lost[1]
    assert list(files(out)) == ["empty/a.jpg"]


def test_a_copy_that_breaks_off_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(source: Path, target: Path) -> None:
        target.write_bytes(source.read_bytes()[:10])
        raise OSError("the card was pulled out")

    root, out = tmp_path / "card", tmp_path / "out"
    write(root, "a.jpg")
    monkeypatch.setattr("shutil.copy2", half)
    assert go([found()], root, out).lost == ["a.jpg: the card was pulled out"]
    assert files(out) == {}


def test_what_a_killed_run_had_half_copied_is_removed(tmp_path: Path) -> None:
    root, out = tmp_path / "card", tmp_path / "out"
    write(root, "deep/a.jpg")
    running = f"animal/.b.jpg.partial-{os.getppid()}"
    write(out, f"animal/deep/.a.jpg.partial-{2**22 + 1}", running)  # no system has a process of the first number
    assert go([found(path="deep/a.jpg")], root, out).files == {EMPTY: 1}
    assert sorted(files(out)) == [running, "empty/deep/a.jpg"]


# Refused before anything is written ------------------------------------------------------------------------------------


def test_a_disk_too_small_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "card"
    write(root, "a.jpg", "b.jpg")
    monkeypatch.setattr("shutil.disk_usage", lambda path: shutil._ntuple_diskusage(5000, 4001, 999))
    with pytest.raises(DataError, match="need 1,000 bytes, its disk has 999 free"):
        go([found(path="a.jpg"), found(path="b.jpg")], root, tmp_path / "out/deep")
    assert not (tmp_path / "out").exists()
    (tmp_path / "out/empty").mkdir(parents=True)
    shutil.copy2(root / "b.jpg", tmp_path / "out/empty")
    monkeypatch.setattr("shutil.disk_usage", lambda path: shutil._ntuple_diskusage(5000, 4500, 500))
    assert go([found(path="a.jpg"), found(path="b.jpg")], root, tmp_path / "out").files == {EMPTY: 2}  # one is there already


@pytest.mark.parametrize("folder", ["card", "card/out/deep", ".", "link/out", "none/../card/out"])
def test_a_folder_in_the_card_is_refused(tmp_path: Path, folder: str) -> None:
    root = tmp_path / "card"
    write(root, "a.jpg")
    (root / "deep").mkdir()
    (tmp_path / "link").symlink_to(root / "deep", target_is_directory=True)
    with pytest.raises(DataError, match="name one that lies outside"):
        go([found()], root, tmp_path / folder)
    assert list(files(root)) == ["a.jpg"]


def test_a_model_that_knows_no_people_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "card"
    write(root, "a.jpg")
    blind = replace(run(root), model="yolov5n", classes=("fox", "car", EMPTY))
    with pytest.raises(DataError, match=r"yolov5n cannot tell people apart: .*\(fox, car, empty\).*--boxes"):
        separate(lambda: [found()], blind, tmp_path / "out")
    seen = replace(blind, boxes_from="md.json", classes=(*blind.classes, "person"))  # as the file names them
    assert separate(lambda: [found()], seen, tmp_path / "out").files == {EMPTY: 1}
    assert capsys.readouterr().err == ""
    separate(lambda: [found()], replace(run(root), classes=("fox", "human")), tmp_path / "out")
    assert "knows no vehicles" in capsys.readouterr().err
