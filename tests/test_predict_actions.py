"""The users' command with a model of actions: videos in windows of time, from a folder to every table and a film strip."""

import csv
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from stages import predict
from stages.datasets.caltech_camera_traps import read
from stages.files import write_json, write_manifest
from tests import megadetector_format
from tests.clip_helpers import every, write_gif, write_video
from tests.conftest import Finished
from tests.predict_helpers import MOVES, paint
from tests.test_entries import video
from tests.test_predict import Command
from tests.test_video_files import turned

WALK, FLY, EAT = (230, 26, 26), (26, 230, 26), (26, 26, 230)
# What the mean colour makes of it: scores 0.9, 0.1 and 0.1, of which the surest is 9/11 of all.


@pytest.fixture
def command(stage: Callable[..., Finished], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    return Command(stage, monkeypatch, tmp_path)


@pytest.fixture
def card(command: Command) -> Path:
    """Ten frames a second: of `two` the first second of one action and two of another; a GIF in grey, of which the first class by name
    is told, and a photo."""
    video(command.card / "a/two.avi", [WALK] * 10 + [FLY] * 20)
    video(command.card / "eats.avi", [EAT] * 7)
    write_gif(command.card / "grey.gif", 8, 100)
    paint(command.card / "photo.png", WALK)
    return command.card


def actions(command: Command) -> list[dict[str, str]]:
    with (command.out / "actions.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


# The tables ----------------------------------------------------------------------------------------------------------------------


def test_every_video_has_its_answer_and_every_window_its_own(command: Command, card: Path) -> None:
    done = command("--review-below", 0.5, model=MOVES)
    assert command.labels() == {"a/two.avi": "flying", "eats.avi": "eating", "grey.gif": "eating", "photo.png": "failed"}
    rows = {row["File"]: row for row in command.rows()}
    assert (rows["two.avi"]["Kind"], rows["two.avi"]["Frames"], rows["two.avi"]["Count"]) == ("animal", "3", "")
    assert rows["photo.png"]["Failure"] == "a photo: this model tells what happens in videos"
    assert "3 of the files are videos" in done.out and "1 of the files are for a person to look at" in done.out
    table = [
        (row["path"], float(row["start_s"]), float(row["end_s"]), row["action"], row["review"]) for row in actions(command)
    ]
    assert table == [
        ("a/two.avi", 0.0, 0.5, "walking", "false"), ("a/two.avi", 1.0, 1.5, "flying", "false"),
        ("a/two.avi", 2.0, 2.5, "flying", "false"), ("eats.avi", 0.0, 0.5, "eating", "false"),
        ("grey.gif", 0.0, 0.5, "eating", "true"),
    ]  # fmt: skip
    first = actions(command)[0]
    assert float(first["score"]) == pytest.approx(0.9, abs=0.01) and float(first["confidence"]) == pytest.approx(
        9 / 11, abs=0.01
    )
    assert float(rows["two.avi"]["Confidence"]) == pytest.approx((2 * 9 + 1) / 33, abs=0.01), "the mean of its windows"
    assert actions(command)[-1]["confidence"] == "0.3333"


def test_a_window_s_confidence_is_calibrated(command: Command, card: Path) -> None:
    command(model=MOVES)
    answers = command.folder / f"data/answers/mine/{MOVES}"
    write_json(answers / "chosen.json", {"temperature": 2.0})
    write_manifest(answers)
    before = [float(row["confidence"]) for row in actions(command)]
    command(model=MOVES)
    assert command.shown == [], "no file is looked at twice for another calibration"
    after = [float(row["confidence"]) for row in actions(command)]
    # softmax(log p / 2): the roots of 9, 1 and 1
    assert before[0] == pytest.approx(9 / 11, abs=0.01) and after[0] == pytest.approx(3 / 5, abs=0.01)


def test_more_windows_are_another_look_and_the_same_ones_none(command: Command, card: Path) -> None:
    command(model=MOVES)
    assert len(command.shown) == 5
    done = command(model=MOVES)
    assert command.shown == [] and "0 of 4 files looked at now" in done.out
    video(card / "new.avi", [FLY] * 20)
    command(model=MOVES)
    assert len(command.shown) == 2 and len(actions(command)) == 7
    assert "(fps: 1.0, now 4.0)" in command.tried("--fps", 4, model=MOVES).err
    command("--fps", 4, model=MOVES, out=command.folder / "quick")
    assert len(command.shown) > 15


def test_other_programs_read_the_tables(command: Command, card: Path) -> None:
    command(model=MOVES)
    megadetector_format.check(command.out / "megadetector.json", card)
    document = command.json("megadetector.json")
    assert document["classification_categories"] == {"0": "walking", "1": "flying", "2": "eating"}
    two, eats, _, photo = document["images"]
    assert two["frames_processed"] == [0, 10, 20] and photo["detections"] is None
    [found] = eats["detections"]
    assert (found["category"], found["conf"], found["bbox"], found["frame_number"]) == ("1", 1.0, [0, 0, 1, 1], 0)
    assert found["classifications"][0] == ["2", pytest.approx(0.9, abs=0.01)]
    raw = read(command.out, {"coco.json"}, ("coco.json",))
    assert Counter(raw.annotations["label"]) == {"flying": 3, "eating": 2}
    images = command.json("coco.json")["images"]
    assert [image["id"] for image in images] == [
        "a/two.avi#0",
        "a/two.avi#10",
        "a/two.avi#20",
        "eats.avi#0",
        "grey.gif#0",
        "photo.png",
    ]


def test_an_action_is_behaviour_and_no_name_of_a_species(command: Command, card: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.media.video_captured_at", lambda path: pd.Timestamp("2024-05-01 06:00"))
    command("--utc-offset", "+02:00", model=MOVES)
    with (command.out / "camtrap_dp/observations.csv").open(encoding="utf-8") as file:
        told = [
            tuple(row[name] for name in ("observationType", "behavior", "scientificName", "observationTags"))
            for row in csv.DictReader(file)
        ]
    assert told == [
        ("animal", "flying", "", "review:true"), ("animal", "eating", "", ""), ("animal", "eating", "", "review:true"),
    ]  # fmt: skip


# Film strips ---------------------------------------------------------------------------------------------------------------------


def test_a_film_strip_has_a_frame_for_each_window_in_rows(command: Command) -> None:
    """120 px high and 240 wide, 2 px apart, under a title; 14 windows are a row of twelve and one of two."""
    video(command.card / "long.avi", [WALK] * 10 + [FLY] * 120 + [EAT] * 10)
    write_gif(command.card / "grey.gif", 8, 100)
    paint(command.card / "photo.png", WALK)
    done = command("--annotated", model=MOVES)
    assert "2 annotated copies" in done.out
    assert {path.name for path in (command.out / "annotated").iterdir()} == {"annotated.txt", "grey.gif.jpg", "long.avi.jpg"}
    strip = np.asarray(Image.open(command.out / "annotated/long.avi.jpg")).astype(int)
    height, width = strip.shape[:2]
    line = (height - 2 * 120) // 3  # the title and two lines of captions
    assert width == 12 * 240 + 11 * 2 and 16 <= line <= 30

    def colour(row: int, column: int) -> list[int]:
        return strip[line + row * (120 + line) + 60, column * 242 + 120].tolist()

    for (row, column), expected in {(0, 0): WALK, (0, 1): FLY, (0, 11): FLY, (1, 0): FLY, (1, 1): EAT}.items():
        assert colour(row, column) == pytest.approx(expected, abs=12), (row, column)
    assert colour(1, 2) == pytest.approx([255, 255, 255], abs=3)
    assert (strip[line + 120 : 2 * line + 120, :240].max(axis=2) < 128).sum() > 50, "a caption"


def test_of_more_windows_than_have_room_every_second_is_shown(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.annotate._ROWS", 1)
    video(command.card / "long.avi", [WALK] * 10 + [FLY] * 10 + [EAT] * 120)
    command("--annotated", model=MOVES)
    strip = Image.open(command.out / "annotated/long.avi.jpg")
    assert strip.width == 7 * 240 + 6 * 2 and strip.height < 200
    assert strip.getpixel((242 + 120, 80)) == pytest.approx(EAT, abs=12)


def test_a_video_that_stands_has_a_strip_of_standing_frames(command: Command) -> None:
    command.card.mkdir()
    turned(write_video(command.card / "v.mp4", every(10, 6)))
    command("--annotated", model=MOVES)
    strip = Image.open(command.out / "annotated/v.mp4.jpg")
    assert strip.width == 120 and 240 + 32 <= strip.height <= 240 + 60


def test_a_video_that_is_gone_is_said_and_the_others_are_drawn(
    command: Command, card: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = predict.write_all

    def then_gone(*given: object) -> object:
        summary = real(*given)  # type: ignore[arg-type]
        (card / "eats.avi").unlink()
        return summary

    monkeypatch.setattr(predict, "write_all", then_gone)
    done = command("--annotated", model=MOVES)
    assert "2 annotated copies" in done.out and "eats.avi: not drawn" in done.err


# Options -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("words", "message"), [
    (["--species", "walking"], f"{MOVES} tells what animals do, not which they are: --species is not for it"),
    (["--detector", "colours-boxes"], f"{MOVES} tells what is done in videos, whoever is in them: --boxes and --detector are not"),
    (["--boxes", "models/colours-moves/model.json"], "--boxes and --detector are not for it"),
    (["--threshold", "0.3"], f"--threshold is for models that find boxes; {MOVES} gives whole pictures or videos a class"),
    (["--separate", "apart"], f"{MOVES} cannot tell people apart"),
])  # fmt: skip
def test_options_of_other_models_are_refused_before_anything_is_looked_at(
    command: Command, card: Path, words: list[str], message: str
) -> None:
    done = command.tried(*words, model=MOVES)
    assert done.code == 1 and message in done.err and command.shown == []


def test_labels_score_whole_videos(command: Command, card: Path) -> None:
    """By their answers, the mean of their windows; a photo is refused, and one video is wrong."""
    labels = command.folder / "labels.csv"
    labels.write_text("path,label\na/two.avi,flying\neats.avi,walking\ngrey.gif,eating\nphoto.png,walking\ngone.avi,flying\n")
    done = command("--labels", labels, model=MOVES)
    # F1 of flying 1, of eating 2 * 0.5 * 1 / 1.5, of walking 0
    assert "macro F1 0.556 [" in done.out and "always `eating` would be right for 0.333, n 3; 2 rows refused" in done.out
    scores = command.out / "scores"
    answers = pd.read_csv(scores / f"{MOVES}.answers.csv", keep_default_na=False).set_index("sample_id")
    assert answers["predicted"].tolist() == ["flying", "eating", "eating"]
    confidence = {row["File"]: float(row["Confidence"]) for row in command.rows() if row["Confidence"]}
    assert answers["calibrated"].tolist() == pytest.approx(
        [confidence[name] for name in ("two.avi", "eats.avi", "grey.gif")], abs=1e-3
    )
    rejects = pd.read_csv(scores / "rejects.csv").set_index("name")["reason"]
    assert rejects.to_dict() == {"photo.png": "photo", "gone.avi": "file_missing"}


def test_labels_of_photos_alone_are_refused(command: Command, card: Path) -> None:
    labels = command.folder / "labels.csv"
    labels.write_text("path,label\nphoto.png,walking\n")
    done = command.tried("--labels", labels, model=MOVES)
    assert done.code == 1 and "--labels: names no video that was looked at, but photo.png" in done.err
    assert "photos are not scored" in done.err and command.shown == []
