"""The drawn clips of animals and of people: bytes, counts, metadata, planted faults, and that no frame of a pair tells which."""

import ast
import io
import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl import load_workbook

from stages.embedded import action, movement
from stages.embedded.action import ACTIONS, FORMS, PAIRS, RATES, SCENES, ActionScenes, Plan, clip, draw, plan
from stages.embedded.action_animals import ANIMALS
from stages.embedded.action_faults import KEPT, PLANTED, REJECTED
from stages.embedded.action_metadata import COLUMNS, LABELS, METADATA, new_id, row
from stages.embedded.action_motion import Turns, at, frames
from stages.embedded.action_video import mp4
from stages.embedded.movement import MovementScenes
from stages.files import read_json
from stages.pictures import UnreadablePicture
from stages.video_files import every_frame
from tests.embedded_helpers import drawn_once, files_of

SMALL = ActionScenes(train=2, test=1, least_frames=6, most_frames=8, side_px=48)
REAL = Path(__file__).parents[2] / "shared/real/animal_kingdom/AR_metadata.xlsx"
SIZE = SMALL.size

written = drawn_once(action, SMALL)


@pytest.fixture(scope="module")
def planted(written: Path) -> dict[str, list[str]]:
    return read_json(written / "planted_faults.json")


def sheet(path: Path, name: str = "AR") -> list[tuple]:
    return list(load_workbook(path)[name].iter_rows(values_only=True))


def decoded(content: bytes) -> list[np.ndarray]:
    with av.open(io.BytesIO(content)) as file:
        return [picture.to_ndarray(format="rgb24") for picture in file.decode(video=0)]


# What is drawn -------------------------------------------------------------------------------------------------------


def test_every_action_has_as_many_clips_on_both_lists() -> None:
    plans = plan(ActionScenes(), seed=3)
    assert len(ACTIONS) == 9 and len(plans) == 342
    assert Counter((each.action, each.given) for each in plans) == {
        (name, given): count for name in ACTIONS for given, count in (("train", 34), ("test", 4))
    }
    assert Counter(each.form for each in plans if each.form) == FORMS == KEPT
    for name in ACTIONS:
        counts = Counter(each.species for each in plans if each.action == name)
        assert set(counts) == set(SCENES[name].species) and len(counts) >= 4
        assert max(counts.values()) - min(counts.values()) <= 1


def test_every_byte_follows_from_settings_and_seed(written: Path, tmp_path: Path) -> None:
    few = ActionScenes(train=1, test=1, least_frames=3, most_frames=3, side_px=36)
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        action.write(tmp_path / name, few, seed, workers=1)
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
    same = set(files_of(tmp_path / "a").values()) & set(files_of(tmp_path / "c").values())
    assert len(same) == 3, "the files without a picture: no byte, an error page, a tone"


def test_clips_have_the_frames_and_times_that_were_asked_for(written: Path, planted: dict[str, list[str]]) -> None:
    formed = {video: form for form in FORMS for video in planted[form]}
    for each in plan(SMALL, seed=1):
        shown = list(every_frame(written / f"video/{new_id(each.number, 1)}.mp4"))
        wanted = draw(each, SMALL)
        assert formed.get(new_id(each.number, 1), "") == each.form
        assert [frame.rgb.shape for frame in shown] == [(48, 64, 3)] * len(wanted.frames) and 6 <= len(shown) <= 8
        assert [frame.seconds for frame in shown] == pytest.approx(wanted.seconds)
        gaps = {round(later - earlier, 4) for earlier, later in pairwise(wanted.seconds)}
        assert gaps == {"25_fps": {0.04}}.get(each.form, {0.0333}) or (each.form == "variable_rate" and len(gaps) > 1)
        for frame, drawn in zip(shown, wanted.frames, strict=True):  # the right way up, and little lost
            assert np.abs(frame.rgb.astype(float) - drawn).mean() < 14, each


# No frame tells ------------------------------------------------------------------------------------------------------


def test_pairs_share_all_but_rates() -> None:
    assert len(PAIRS) >= 3
    for one, other in PAIRS:
        assert SCENES[one] is SCENES[other] and RATES[one] != RATES[other]
    for one, other in movement.PAIRS:
        assert movement.SCENES[one] is movement.SCENES[other] and movement.RATES[one] != movement.RATES[other]


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_the_first_frame_of_both_of_a_pair_is_the_same_picture(one: str, other: str) -> None:
    for seed in range(3):
        species = SCENES[one].species[seed]
        strips = [frames(clip(name, species, SIZE, seed), [0, 0.2], SIZE, np.random.default_rng(5)) for name in (one, other)]
        assert np.array_equal(strips[0][0], strips[1][0])
        assert not np.array_equal(strips[0][1], strips[1][1])


@pytest.mark.parametrize("name", ["Walking", "Running", "Keeping still", "Attending", "Chirping"])
@pytest.mark.parametrize("seconds", [0.0, 0.5, 1.1])
def test_at_any_time_every_cycle_is_anywhere_in_its_turn(name: str, seconds: float) -> None:
    shown = [clip(name, SCENES[name].species[0], (16, 12), seed) for seed in range(240)]
    turns = np.array([at(each.start, each.rates, seconds) for each in shown])
    steps = np.arange(1, len(turns) + 1) / len(turns)
    for column in np.sort(turns, axis=0).T:  # Kolmogorov and Smirnov: 1.95 / sqrt(n) at a level of 0.001
        assert max(abs(steps - column).max(), abs(steps - 1 / len(turns) - column).max()) < 1.95 / np.sqrt(len(turns))


def test_the_members_of_a_pair_differ_in_time() -> None:
    rates = {name: [clip(name, SCENES[name].species[0], (16, 12), seed).rates for seed in range(20)] for name in ACTIONS}
    slow, fast = ([each.gait for each in rates[name]] for name in ("Walking", "Running"))
    assert min(slow) > 0.6 and min(fast) > 1.8 * max(slow)
    ways = [max(abs(each.scroll), each.place) for each in (*rates["Walking"], *rates["Running"])]
    assert min(ways) > 0 and all(0 in (each.scroll, each.place) for each in rates["Walking"]), "the camera follows, or not"
    for name, cycle in (("Keeping still", ""), ("Attending", "look"), ("Chirping", "voice")):
        for each in rates[name]:
            assert {of for of in ("gait", "look", "voice", "place", "scroll") if getattr(each, of)} == {cycle} - {""}


@given(start=st.floats(0, 1, exclude_max=True), rate=st.floats(-9, 9), seconds=st.floats(0, 3))
def test_turns_go_round(start: float, rate: float, seconds: float) -> None:
    turn = at(Turns(gait=start), Turns(gait=rate), seconds).gait
    whole = start + rate * seconds - turn
    assert 0 <= turn <= 1 and abs(whole - round(whole)) < 1e-6


def test_a_frame_is_packed_as_if_it_stood_alone() -> None:
    pictures = draw(Plan(1, "Running", "Dog", "train", "", 1), SMALL).frames
    together = decoded(mp4(pictures))
    assert all(np.array_equal(decoded(mp4([one]))[0], packed) for one, packed in zip(pictures, together, strict=True))


# The metadata --------------------------------------------------------------------------------------------------------


def test_the_metadata_says_what_each_clip_shows(written: Path, planted: dict[str, list[str]]) -> None:
    header, *rows = sheet(written / METADATA)
    assert header == COLUMNS
    assert [each[0] for each in rows] == list(range(1, len(rows) + 1))
    harmed = {video for fault in (*REJECTED, "spaced_row") for video in planted[fault]}
    good = {each[1]: each for each in rows if each[1].strip() not in harmed}
    plans = {new_id(each.number, 1): each for each in plan(SMALL, seed=1) if each.form != "spaced_row"}
    assert set(good) == set(plans)
    for video, (_, _, given_split, labels, listed) in good.items():
        assert len(video) == 8 and video.isalpha() and video.isupper()
        seen = ast.literal_eval(listed)
        seen = ast.literal_eval(seen[0]) if isinstance(seen[0], str) else seen
        assert seen == [(plans[video].species, plans[video].action)]
        assert (given_split, labels) == (plans[video].given, str(LABELS[plans[video].action][0]))


def test_rows_are_written_as_the_authors_do() -> None:
    crane = row("AAACXZTV", "train", [("Common Crane", "Attending"), ("Common Crane", "Eating")])
    assert crane == ("AAACXZTV", "train", "2,40", "[('Common Crane', 'Attending'), ('Common Crane', 'Eating')]")
    viper = row("ABKBWVMW", "train", [("Russell'S Viper", "Keeping still")])
    assert viper.listed == r"""['[("Russell\'S Viper", \'Keeping still\')]']"""


@pytest.mark.skipif(not REAL.exists(), reason="needs the real AR_metadata.xlsx in ../shared/real")
def test_the_real_file_has_these_columns_and_numbers(written: Path) -> None:
    book = load_workbook(REAL, read_only=True)
    assert next(book["AR"].iter_rows(values_only=True)) == COLUMNS
    real = {action: (label, category) for label, category, action, _ in book["Action"].iter_rows(values_only=True)}
    assert {name: real[name] for name in LABELS} == LABELS
    known = {name.lower() for name, *_ in book["Animal"].iter_rows(values_only=True, max_col=1) if name}
    assert {name.lower() for name in ANIMALS} <= known
    header, *rows = sheet(written / METADATA, "Action")
    assert header == ("Label", "Category", "Action", "Description")
    assert {name: (label, category) for label, category, name, _ in rows} == LABELS


# Faults --------------------------------------------------------------------------------------------------------------


def test_faults_are_planted_as_told(written: Path, planted: dict[str, list[str]]) -> None:
    assert {fault: len(videos) for fault, videos in planted.items()} == PLANTED
    everyone = [video for videos in planted.values() for video in videos]
    assert len(set(everyone)) == len(everyone)
    rows = {each[1].strip(): each for each in sheet(written / METADATA)[1:]}
    files = {path.stem for path in (written / "video").iterdir()}
    assert len(rows) == 27 + sum(REJECTED.values()) - REJECTED["video_not_listed"]
    assert set(rows) - files == set(planted["video_missing"])
    assert files - set(rows) == set(planted["video_not_listed"])
    for video in planted["several_actions"]:
        assert len(rows[video][3].split(",")) == 2
    for video in planted["several_animals"]:
        assert rows[video][3].isdigit() and rows[video][4].count("(") == 2
    for video in planted["other_action"]:
        assert rows[video][3] in ("78", "102")
    for video in planted["blank_row"]:
        assert rows[video][3] is rows[video][4] is None
    for video in planted["spaced_row"]:
        assert all(text != text.strip() for text in rows[video][1:])
    hashes = files_of(written / "video")
    counts = Counter(hashes.values())
    assert {f"{video}.mp4" for video in planted["same_bytes_same_label"]} < {
        name for name, value in hashes.items() if counts[value] == 2
    }


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("zero_bytes", "empty_file"), ("truncated", "damaged"), ("cut_off", "damaged"), ("html", "not_a_video"),
     ("audio_only", "no_video_stream")],
)  # fmt: skip
def test_faulty_videos_cannot_be_read(written: Path, planted: dict[str, list[str]], fault: str, reason: str) -> None:
    for video in planted[fault]:
        with pytest.raises(UnreadablePicture) as error:
            list(every_frame(written / f"video/{video}.mp4"))
        assert error.value.reason == reason


def test_unusual_videos_are_what_they_are_called(written: Path, planted: dict[str, list[str]]) -> None:
    (alone,) = planted["one_frame"]
    assert len(list(every_frame(written / f"video/{alone}.mp4"))) == 1
    rotations = []
    for video in planted["rotated"]:
        with av.open(str(written / f"video/{video}.mp4")) as file:
            picture = next(file.decode(video=0))
            rotations.append(picture.rotation)
            assert (picture.width, picture.height) == (48, 64)
    assert all(abs(turn) == 90 for turn in rotations)


# People --------------------------------------------------------------------------------------------------------------


def test_people_in_motion_in_a_folder_for_each_class(tmp_path: Path) -> None:
    few = MovementScenes(clips=11, least_frames=3, most_frames=4, side_px=36)
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        movement.write(tmp_path / name, few, seed, workers=1)
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
    assert not set(files_of(tmp_path / "a").values()) & set(files_of(tmp_path / "c").values())
    counts = Counter(path.parent.name for path in tmp_path.glob("a/*/*.mp4"))
    assert counts == {label: 2 if number < 2 else 1 for number, label in enumerate(movement.CLASSES)}
    assert len(movement.CLASSES) == 9
    for path in tmp_path.glob("a/*/*.mp4"):
        shown = list(every_frame(path))
        assert 3 <= len(shown) <= 4 and shown[0].rgb.shape == (36, 48, 3)


@pytest.mark.parametrize(("one", "other"), movement.PAIRS)
def test_the_first_frame_of_people_tells_nothing_either(one: str, other: str) -> None:
    strips = [frames(movement.clip(name, SIZE, 4), [0, 0.2], SIZE, np.random.default_rng(5)) for name in (one, other)]
    assert np.array_equal(strips[0][0], strips[1][0])
    assert not np.array_equal(strips[0][1], strips[1][1])


def test_settings_that_contradict_each_other_are_refused() -> None:
    for record in (ActionScenes, MovementScenes):
        with pytest.raises(ValueError, match="least_frames is 9, more than most_frames, which is 8"):
            record.model_validate_json(json.dumps({"least_frames": 9, "most_frames": 8}))
