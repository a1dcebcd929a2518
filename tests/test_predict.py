"""The users' command, from a card of photos and videos to tables: complete, nothing twice, and what is wrong is said."""

import csv
import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from stages import media, predict, trained
from stages.inference import Network
from stages.networks import crop, image
from stages.samples import EMPTY
from tests import megadetector_format, test_crop_family, test_yolo_family, training_helpers
from tests import predict_helpers as colours
from tests.conftest import Finished
from tests.predict_helpers import paint
from tests.test_entries import video
from tests.test_megadetector import image as detections
from tests.test_megadetector import written

ROOT = Path(__file__).parent.parent
REAL = ROOT.parent / "shared/real"
FOX, DEER, PERSON, NOTHING = (230, 0, 0), (0, 153, 0), (0, 0, 255), (0, 0, 0)


class Command:
    """`stages.predict` in a folder with the models of `predict_helpers`; what their networks were shown."""

    def __init__(self, stage: Callable[..., Finished], monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self._stage, self.folder, self.card, self.out = stage, folder, folder / "card", folder / "out"
        self.networks: list[Network] = []
        colours.project(folder)
        monkeypatch.setattr(trained, "load", self._load)
        monkeypatch.setattr(predict, "settle_threads", lambda _looker: None)

    def _load(self, model: Path) -> Network:
        self.networks.append(colours.network(model.name))
        return self.networks[-1]

    def __call__(self, *arguments: object, model: str = "colours-boxes", out: Path | None = None) -> Finished:
        """Run it on `card`, unless other paths come before the options. It must succeed."""
        done = self.tried(*arguments, model=model, out=out)
        assert done.code == 0, done.err
        return done

    def tried(self, *arguments: object, model: str = "colours-boxes", out: Path | None = None) -> Finished:
        self.networks.clear()
        options = [str(one) for one in arguments]
        first = next((place for place, word in enumerate(options) if word.startswith("--")), len(options))
        paths = options[:first] or [self.card]
        return self._stage("predict", model, *paths, "--out", out or self.out, *options[first:])

    @property
    def shown(self) -> list[colours.Colour]:
        return [shown for network in self.networks for shown in network.module.shown]  # type: ignore[union-attr]

    def rows(self, out: Path | None = None) -> list[dict[str, str]]:
        with ((out or self.out) / "predictions.csv").open(encoding="utf-8-sig", newline="") as file:
            return list(csv.DictReader(file))

    def labels(self, out: Path | None = None) -> dict[str, str]:
        """{path: the answer, or `failed`}"""
        found = {}
        for row in self.rows(out):
            path = "/".join([*row["RelativePath"].split("\\"), row["File"]] if row["RelativePath"] else [row["File"]])
            found[path] = row["Label"] or "failed"
        return found

    def json(self, name: str, out: Path | None = None) -> Any:
        return json.loads(((out or self.out) / name).read_text())


@pytest.fixture
def command(stage: Callable[..., Finished], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    return Command(stage, monkeypatch, tmp_path)


def tables(out: Path) -> dict[str, str]:
    """All that is the same however often a run is stopped: everything but when it ended."""
    texts = {}
    for name in ("predictions.csv", "megadetector.json", "coco.json"):
        text = (out / name).read_text(encoding="utf-8-sig")
        texts[name] = re.sub(r'"(detection_completion_time|classification_completion_time|date_created)": "[^"]*"', "", text)
    return texts


def many(card: Path, count: int) -> None:
    for number in range(count):
        paint(card / f"{number % 3}/{number:03}.png", (200 - number, number, 0))


# What is looked at ---------------------------------------------------------------------------------------------------------------


def test_a_card_of_everything(command: Command) -> None:
    card = command.card
    paint(card / "a b/Été/1.jpg", FOX, quality=95)
    paint(card / "a b/line\nbreak.png", DEER)
    paint(card / "日本/=1+1.webp", PERSON, lossless=True)
    paint(card / "top.PNG", NOTHING)
    deep = card.joinpath(*["deeper"] * 40)
    paint(deep / "1.png", FOX)
    video(card / "clips/v.AVI", [FOX] * 30)
    (card / "cut.jpg").write_bytes(paint(card / "x.jpg", FOX, (640, 480)).read_bytes()[:2000])
    (card / "zero.jpg").touch()
    (card / "text.jpg").write_text("hello")
    (card / "none.mp4").write_bytes(b"")
    (card / "notes.txt").write_text("hello")
    done = command()
    below = "/".join(["deeper"] * 40)
    assert command.labels() == {
        "a b/Été/1.jpg": "fox", "a b/line\nbreak.png": "deer", "clips/v.AVI": "fox", "cut.jpg": "failed",
        f"{below}/1.png": "fox", "none.mp4": "failed", "text.jpg": "failed", "top.PNG": EMPTY, "x.jpg": "fox",
        "zero.jpg": "failed", "日本/'=1+1.webp": "person",
    }  # fmt: skip
    reasons = {row["File"]: row["Failure"].split(":")[0] for row in command.rows() if row["Failure"]}
    assert reasons == {"cut.jpg": "damaged", "none.mp4": "empty_file", "text.jpg": "not_an_image", "zero.jpg": "empty_file"}
    lines = [line.split() for line in done.out.splitlines()]
    assert ["fox", "4", "0"] in lines and ["failed", "4", "0"] in lines and ["all", "11", "1"] in lines
    assert "1 of the files are videos" in done.out
    assert "left aside, neither photo nor video: 1 .txt" in done.out
    assert "11 of 11 files looked at now, in" in done.out


def test_several_paths_and_single_files(command: Command) -> None:
    folder = command.folder
    for name in ("one/1.png", "two/2.png", "two/3.png", "three/4.png"):
        paint(folder / "cards" / name, FOX)
    command(folder / "cards/one", folder / "cards/two/2.png", folder / "cards/one/1.png")
    assert list(command.labels()) == ["one/1.png", "two/2.png"]
    command(folder / "cards/three/4.png", out=folder / "single")
    assert list(command.labels(folder / "single")) == ["4.png"]


def test_a_video_by_more_frames(command: Command) -> None:
    video(command.card / "v.avi", [NOTHING] * 8 + [FOX] + [NOTHING] * 11)
    command()
    assert command.rows()[0]["Frames"] == "2" and command.labels() == {"v.avi": EMPTY}
    command("--fps", 5, out=command.folder / "closer")
    assert command.rows(command.folder / "closer")[0]["Frames"] == "10"
    assert command.labels(command.folder / "closer") == {"v.avi": "fox"}


def test_a_video_that_is_damaged_half_way_has_an_answer(command: Command) -> None:
    whole = video(command.card / "v.avi", [FOX] * 60).read_bytes()
    (command.card / "v.avi").write_bytes(whole[: len(whole) // 2])
    command()
    assert command.labels() == {"v.avi": "fox"}
    assert "damaged" in (command.out / "journal.jsonl").read_text()


def test_originals_are_only_read(command: Command) -> None:
    many(command.card, 3)
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in command.card.rglob("*.png")}
    command("--annotated", "--separate", command.folder / "apart", "--utc-offset", "+02:00")
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in command.card.rglob("*.png")} == before
    assert sorted(command.card.rglob("*.png")) == sorted(before)


@pytest.mark.skipif(not REAL.is_dir(), reason="no shared pictures here")
def test_real_photos_and_videos(command: Command) -> None:
    """Truncated, CMYK, turned, WebP and three kinds of video, from several folders."""
    command(REAL / "awkward_images", REAL / "camera_trap_media", "--fps", "0.2", model="colours-class")
    found = command.labels()
    failed = {path for path, label in found.items() if label == "failed"}
    assert {Path(path).name for path in failed} >= {"african_elephants_truncated_file.jpg", "truncated_2.jpg"}
    there = {path.suffix.lower() for path in (REAL / "camera_trap_media").rglob("*")} & {*media.PICTURES, *media.VIDEOS}
    assert {Path(path).suffix.lower() for path in found.keys() - failed} >= there >= {".webp", ".avi", ".mp4", ".asf"}
    megadetector_format.check(command.out / "megadetector.json", REAL)


# Stopped and started again ---------------------------------------------------------------------------------------------------------


def slow(command: Command, log: Path, *arguments: str) -> "subprocess.Popen[bytes]":
    code = "import sys; from tests.predict_helpers import slowly; slowly(sys.argv[1], 0.05, sys.argv[2:])"
    words = ["colours-boxes", str(command.card), "--out", str(command.out), "--batch-size", "1", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-c", code, str(log), *words], cwd=command.folder, env=environment)


def test_killed_half_way_and_started_again(command: Command) -> None:
    """The same tables as of an unbroken run. Shown twice are at most a batch and the picture before it, here of one."""
    many(command.card, 40)
    (command.card / "bad.jpg").write_text("no picture")
    log = command.folder / "shown.txt"
    process = slow(command, log)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and (not log.exists() or log.read_text().count("\n") < 12):
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait(10) == -signal.SIGKILL
    first = log.read_text().splitlines()
    assert 12 <= len(first) < 40 and not (command.out / "predictions.csv").exists()
    with (command.out / "journal.jsonl").open("ab") as file:
        file.write(b'{"path":"0/0')  # what a kill in the middle of a line leaves
    command("--batch-size", 1)
    times = Counter([*first, *map(str, command.shown)])
    assert len(times) == 40 and times.total() <= 42
    command(out=command.folder / "unbroken")
    assert tables(command.out) == tables(command.folder / "unbroken")
    assert len(command.rows()) == 41


def test_nothing_is_looked_at_again(command: Command) -> None:
    many(command.card, 6)
    command()
    assert len(command.shown) == 6
    before = tables(command.out)
    command()
    assert command.shown == [] and tables(command.out) == before


def test_changed_new_and_deleted_files(command: Command) -> None:
    many(command.card, 6)
    command()
    paint(command.card / "0/000.png", DEER, (50, 50))
    (command.card / "1/001.png").unlink()
    paint(command.card / "new/1.png", FOX)
    command()
    assert sorted(command.shown) == [DEER, FOX]
    assert command.labels() == {
        "0/000.png": "deer", "0/003.png": "fox", "1/004.png": "fox", "2/002.png": "fox", "2/005.png": "fox", "new/1.png": "fox",
    }  # fmt: skip
    assert len(command.json("megadetector.json")["images"]) == 6
    os.rename(command.card / "new", command.card / "old")
    command()
    assert command.shown == [FOX] and "old/1.png" in command.labels() and "new/1.png" not in command.labels()


def test_what_could_not_be_read_for_a_moment_is_tried_again(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """A card that was pulled out: its files are as they were, but now they can be read. What is damaged stays so."""
    many(command.card, 2)
    (command.card / "bad.png").write_text("no picture")

    def pulled_out(_path: Path) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as moment:
        moment.setattr(Path, "read_bytes", pulled_out)
        command()
    assert set(command.labels().values()) == {"failed"}
    command()
    assert command.labels() == {"0/000.png": "fox", "1/001.png": "fox", "bad.png": "failed"}


def test_other_answers_need_no_second_look(command: Command) -> None:
    for number in range(3):
        paint(command.card / f"{number}.png", (100 + number, 60, 0), taken=f"2024:05:01 06:00:0{number}")
    command()
    assert set(command.labels().values()) == {"fox"}
    lists = command.folder / "species.txt"
    lists.write_text("deer\n")
    for words, answer in (
        (["--threshold", 0.5], EMPTY), (["--species", "deer", "--threshold", 0.2], "animal"),
        (["--species", "species.txt"], "animal"), (["--sequence-gap", 10], "fox"), (["--review-below", 0], "fox"),
        (["--annotated"], "fox"), (["--utc-offset", "+02:00"], "fox"),
    ):  # fmt: skip
        command(*words)
        assert command.shown == [] and set(command.labels().values()) == {answer}, words


@pytest.mark.parametrize(("model", "words", "differs"), [
    ("colours-class", [], "model: colours-boxes, now colours-class"),
    ("colours-boxes", ["--fps", "2"], r"fps: 1\.0, now 2\.0"),
])  # fmt: skip
def test_another_model_or_rate_into_the_same_folder_is_refused(
    command: Command, model: str, words: list[str], differs: str
) -> None:
    many(command.card, 2)
    command()
    before = tables(command.out)
    done = command.tried(*words, model=model)
    assert done.code == 1 and re.search(rf"holds what another run found \({differs}\)", done.err)
    assert tables(command.out) == before


def test_a_model_that_was_trained_again_is_another(command: Command) -> None:
    many(command.card, 2)
    command()
    folder = command.folder / "models/colours-boxes"
    (folder / "weights.safetensors").write_text("other weights")
    colours.write_manifest(folder)
    done = command.tried()
    assert done.code == 1 and f"weights: {colours.sha256('colours-boxes')}, now" in done.err


def test_two_at_once_are_refused(command: Command) -> None:
    many(command.card, 2)
    with predict.Journal(command.out / "journal.jsonl", {}):
        done = command.tried()
    assert done.code == 1 and "another run is writing here. Wait for it, or give another --out" in done.err


def test_a_damaged_journal_is_named(command: Command) -> None:
    many(command.card, 3)
    command()
    journal = command.out / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines[:2], b"\x00\x00\n", *lines[3:]]))
    done = command.tried()
    assert done.code == 1 and "journal.jsonl: line 3 is damaged. Remove this file to begin anew, or that line" in done.err


# What is written -------------------------------------------------------------------------------------------------------------------


def test_all_tables_say_the_same(command: Command) -> None:
    zone = "+02:00"
    for name, colour in {"1.png": FOX, "2.png": DEER, "3.png": NOTHING, "4.png": PERSON}.items():
        paint(command.card / "a" / name, colour, taken="2024:05:01 06:00:00")
    (command.card / "a/5.png").write_text("no picture")
    command("--utc-offset", zone)
    answers = {"a/1.png": "fox", "a/2.png": "deer", "a/3.png": EMPTY, "a/4.png": "person"}
    assert command.labels() == answers | {"a/5.png": "failed"}
    kinds = {row["File"]: (row["Kind"], row["Count"]) for row in command.rows()}
    assert kinds == {
        "1.png": ("animal", "1"), "2.png": ("animal", "1"), "3.png": (EMPTY, "0"), "4.png": ("person", "1"), "5.png": ("failed", ""),
    }  # fmt: skip

    written_json = command.json("megadetector.json")
    names = written_json["classification_categories"]
    categories = written_json["detection_categories"]
    for one in written_json["images"]:
        if one["file"] == "a/5.png":
            assert one["failure"].startswith("not_an_image") and one["detections"] is None
            continue
        sure = [found for found in one["detections"] if found["conf"] >= 0.3]
        said = {
            names[found["classifications"][0][0]] if "classifications" in found else categories[found["category"]]
            for found in sure
        }
        assert said == {answers[one["file"]]} - {EMPTY}
    assert len(written_json["images"]) == 5

    coco = command.json("coco.json")
    labels = {category["id"]: category["name"] for category in coco["categories"]}
    assert {one["image_id"]: labels[one["category_id"]] for one in coco["annotations"]} == answers
    assert len(coco["images"]) == 5

    with (command.out / "camtrap_dp/observations.csv").open(encoding="utf-8") as file:
        observed = {row["mediaID"]: row["observationType"] for row in csv.DictReader(file)}
    with (command.out / "camtrap_dp/media.csv").open(encoding="utf-8") as file:
        media = {row["mediaID"]: row for row in csv.DictReader(file)}
    assert {media[name]["filePath"]: kind for name, kind in observed.items()} == {
        "a/1.png": "animal", "a/2.png": "animal", "a/3.png": "blank", "a/4.png": "human",
    }  # fmt: skip
    assert {row["timestamp"] for row in media.values()} == {f"2024-05-01T06:00:00{zone}"}
    with (command.out / "camtrap_dp/left_out.csv").open(encoding="utf-8") as file:
        assert [row["path"] for row in csv.DictReader(file)] == ["a/5.png"]


def test_cameras_west_of_greenwich(command: Command) -> None:
    """An offset that begins like an option."""
    paint(command.card / "1.png", FOX, taken="2024:05:01 06:00:00")
    command("--utc-offset", "-05:30")
    assert "2024-05-01T06:00:00-05:30" in (command.out / "camtrap_dp/media.csv").read_text()


@pytest.mark.parametrize("model", colours.KEYS)
def test_the_megadetector_file_passes_megadetector_s_own_check(command: Command, model: str) -> None:
    paint(command.card / "1.png", (204, 51, 30), taken="2024:05:01 06:00:00")
    paint(command.card / "2.png", NOTHING)
    (command.card / "3.png").write_text("no picture")
    video(command.card / "4.avi", [FOX] * 20)
    (command.card / "5.mp4").touch()
    command(model=model)
    megadetector_format.check(command.out / "megadetector.json", command.card)
    assert len(command.json("megadetector.json")["images"]) == 5


def test_our_own_boxes_go_round(command: Command) -> None:
    """Found by the detector, written, read again with --boxes: as if the detector stood behind the classifier itself."""
    for number, colour in enumerate([(204, 51, 0), (90, 30, 0), PERSON, (102, 0, 204), NOTHING]):
        paint(command.card / f"{number}.png", colour)
    command()
    boxes, direct = command.folder / "boxes", command.folder / "direct"
    done = command("--boxes", command.out / "megadetector.json", "--threshold", 0.4, model="colours-crop", out=boxes)
    assert "colours-crop was never validated behind megadetector.json: how sure it is, is not calibrated" in done.err
    command("--threshold", 0.4, model="colours-crop", out=direct)
    assert command.labels(boxes) == command.labels(direct)
    for one, other in zip(command.rows(boxes), command.rows(direct), strict=True):
        assert (one["Label"], one["Kind"], one["Count"]) == (other["Label"], other["Kind"], other["Count"])
        assert float(one["Score"]) == pytest.approx(float(other["Score"]), abs=2e-4), "the format has four digits"
    assert command.labels(boxes)["3.png"] == "person", "surer than the animal beside it"


def test_another_card_at_the_same_place_is_refused_and_files_that_are_gone_are_said(command: Command) -> None:
    many(command.card, 3)
    command()
    before = tables(command.out)
    first, *others = sorted(command.card.rglob("*.png"))
    first.unlink()
    paint(others[0], DEER)  # looked at again: two lines of one file are one file
    assert "1 files of an earlier run are gone and leave the tables" in command().err
    for path in others:
        path.rename(path.with_name(f"other{path.name}"))
    done = command.tried()
    assert done.code == 1 and "none of which is there now" in done.err and "another card?" in done.err
    assert before.keys() == tables(command.out).keys()


def test_files_of_events_come_together_and_in_time(command: Command) -> None:
    for name, second in {"b/1": 30, "b/2": 10, "b/3": 59, "a/1": 0, "b/4": 20, "c/1": 5}.items():
        paint(command.card / f"{name}.png", FOX if name == "b/4" else NOTHING, taken=f"2024:05:01 06:00:{second:02}")
    command("--sequence-gap", 10)
    rows = [(row["RelativePath"] + "/" + row["File"], row["Sequence"], row["SequenceLabel"]) for row in command.rows()]
    assert rows == [
        ("a/1.png", "a/1.png", EMPTY), ("b/2.png", "b/2.png", "fox"), ("b/4.png", "b/2.png", "fox"), ("b/1.png", "b/2.png", "fox"),
        ("b/3.png", "b/3.png", EMPTY), ("c/1.png", "c/1.png", EMPTY),
    ]  # fmt: skip
    command()
    assert [row["Sequence"] for row in command.rows()] == [""] * 6


def test_sequences_of_a_list(command: Command) -> None:
    for name in ("1", "2", "3"):
        paint(command.card / f"{name}.png", FOX if name == "1" else NOTHING)
    listed = command.folder / "events.csv"
    listed.write_text("path,sequence\n1.png,e\n3.png,e\ngone.png,e\n")
    done = command("--sequences", listed)
    assert [(row["File"], row["SequenceLabel"]) for row in command.rows()] == [
        ("1.png", "fox"),
        ("3.png", "fox"),
        ("2.png", EMPTY),
    ]
    assert "1 names match no file, gone.png for example" in done.err


def test_odd_times_stop_nothing(command: Command) -> None:
    for number, taken in enumerate(
        ["0001:01:01 00:00:00", "9999:12:31 23:59:59", "0000:00:00 00:00:00", "1601:01:01 00:00:00", None]
    ):
        paint(command.card / f"{number}.png", FOX, taken=taken)
    command("--sequence-gap", 10, "--utc-offset", "+02:00")
    assert len(command.rows()) == 5


def test_review_and_summary_add_up(command: Command) -> None:
    for number, red in enumerate([255, 230, 178, 128, 0]):  # sure by 1.0, 0.9, 0.7, 0.5, and 1.0 that there is nothing
        paint(command.card / f"{number}.png", (red, 0, 0))
    (command.card / "bad.png").touch()
    done = command("--review-below", 0.8)
    assert [row["Review"] for row in command.rows()] == ["false", "false", "true", "true", "false", "false"]
    lines = [line.split() for line in done.out.splitlines()]
    for row in (["fox", "4", "2"], [EMPTY, "1", "0"], ["failed", "1", "0"], ["all", "6", "2"]):
        assert row in lines
    assert "2 of the files are for a person to look at: their confidence is below 0.8" in done.out


def test_species_never_hide_people_and_separate_keeps_them_apart(command: Command) -> None:
    paint(command.card / "1.png", FOX)
    paint(command.card / "2.png", PERSON)
    paint(command.card / "3.png", (204, 0, 51))  # a person of 0.2, half the threshold and more
    apart = command.folder / "apart"
    command("--species", "deer", "--separate", apart, "--review-below", 0)
    assert command.labels() == {"1.png": "animal", "2.png": "person", "3.png": "animal"}
    assert sorted(path.relative_to(apart).as_posix() for path in apart.rglob("*.png")) == [
        "person/2.png", "person/3.png", "review/1.png",
    ]  # fmt: skip


def test_a_list_of_species_is_scored_too(command: Command) -> None:
    for number, colour in enumerate([FOX, DEER, NOTHING]):
        paint(command.card / f"{number}.png", colour)
    labels = command.folder / "labels.csv"
    labels.write_text("path,label\n0.png,fox\n1.png,deer\n2.png,empty\n")
    for model in ("colours-boxes", "colours-class"):
        command("--species", "deer", "--labels", labels, model=model, out=command.folder / model)
        assert command.labels(command.folder / model)["0.png"] == "animal"
        found = json.loads((command.folder / model / f"scores/{model}.json").read_text())
        answers = pd.read_csv(command.folder / model / f"scores/{model}.answers.csv")
        assert found["test"]["n"] == 3 and answers["predicted"].tolist()[0] == "animal"
        assert found["test"]["accuracy"] == pytest.approx((answers["actual"] == answers["predicted"]).mean(), abs=1e-4)


def test_annotated_copies_and_labels_from_the_same_command(command: Command) -> None:
    for number, colour in enumerate([FOX, DEER, NOTHING]):
        paint(command.card / f"{number}.png", colour)
    labels = command.folder / "labels.csv"
    labels.write_text("path,label\n0.png,fox\n1.png,fox\n2.png,empty\n")
    done = command("--annotated", "--labels", labels)
    with Image.open(command.out / "annotated/0.png.jpg") as copy:
        assert max(copy.size) == 640
    assert "3 annotated copies" in done.out
    assert "macro F1 0.833 [" in done.out and "n 3; 0 rows refused" in done.out  # of fox 2/3, of empty 1
    assert (command.out / "scores/colours-boxes.json").is_file()


# What does not fit -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("model", "words", "message"), [
    ("colors", [], r"no trained model `colors`. There is:\n  colours-act\n  colours-boxes\n  colours-class\n  colours-crop\n  colours-moves\n  "
     "colours-pose\n"),
    ("colours-boxes", ["--detector", "colours-boxes"], "--boxes is for models that classify boxes"),
    ("colours-crop", ["--detector", "colours-class"], "--detector colours-class: it finds no boxes"),
    ("colours-crop", ["--detector", "nothing"], "no trained model `nothing`"),
    ("colours-crop", ["--boxes", "nothing.json"], r"nothing\.json: no such file"),
    ("colours-class", ["--threshold", "0.5"], "--threshold is for models that find boxes; colours-class gives whole pictures"),
    ("colours-boxes", ["--threshold", "0.05"], "boxes below 0.03 are not written down: give 0.06 or more"),
    ("colours-boxes", ["--species", "deer,badger"], "the model does not know badger. It knows: deer, fox, person"),
    ("colours-boxes", ["--species", ""], "--species: none is named"),
    ("colours-boxes", ["--species", ",".join(["badger"] * 100)], "the model does not know badger"),
    ("colours-boxes", ["--sequence-gap", "5", "--sequences", "x.csv"], "give one"),
    ("colours-boxes", ["--batch-size", "0"], "--batch-size 0: a number above 0 is wanted"),
    ("colours-boxes", ["--labels", "nothing.csv"], r"nothing\.csv: no such file"),
    ("colours-boxes", ["--separate", "card/apart"], "no folder for copies"),
    ("colours-class", ["--separate", "apart"], "colours-class cannot tell people apart"),
])  # fmt: skip
def test_options_that_do_not_fit_are_refused_before_anything_is_looked_at(
    command: Command, model: str, words: list[str], message: str
) -> None:
    many(command.card, 2)
    done = command.tried(*words, model=model)
    assert done.code == 1 and re.search(message, done.err), done.err
    assert command.shown == [] and not command.out.exists()


@pytest.mark.parametrize(
    "words", [["--threshold", "2"], ["--fps", "0"], ["--fps", "nan"], ["--utc-offset", "Berlin"], ["--threshold", "nan"]]
)
def test_numbers_that_are_none_are_refused(command: Command, words: list[str]) -> None:
    many(command.card, 1)
    done = command.tried(*words)
    assert done.code == 2 and words[0] in done.err and not command.out.exists()


def test_an_empty_folder_and_one_that_is_not_there(command: Command) -> None:
    done = command.tried()
    assert done.code == 1 and "no such file or folder" in done.err
    command.card.mkdir()
    assert "no picture or video there" in command.tried().err


def test_a_model_that_was_never_evaluated(command: Command) -> None:
    many(command.card, 2)
    for path in sorted(command.folder.glob("data/answers/mine/*/*")):
        path.unlink()
    done = command.tried()
    assert done.code == 1
    assert "no threshold was chosen for it (data/answers): give one with --threshold, 0.3 perhaps" in done.err
    done = command("--threshold", 0.5)
    assert "how sure it is, is not calibrated" in done.err and set(command.labels().values()) == {"fox"}
    command(model="colours-class", out=command.folder / "whole")
    assert set(command.labels(command.folder / "whole").values()) == {"fox"}


def test_a_crop_model_and_what_finds_its_boxes(command: Command) -> None:
    """Behind its own detector, behind one that is named, and with boxes of MegaDetector."""
    paint(command.card / "1.png", (204, 51, 0))
    paint(command.card / "2.png", PERSON)
    paint(command.card / "3.png", FOX)
    command(model="colours-crop")
    assert command.labels() == {"1.png": "deer", "2.png": "person", "3.png": "deer"}
    command("--detector", "colours-boxes", model="colours-crop")
    assert command.shown == [], "it is the same one"
    path = written(command.folder, detections("1.png", 0, 0, 0.5, 0.5, conf=0.5), detections("2.png", 0, 0, 1, 1, category="3"))
    done = command("--boxes", path, model="colours-crop", out=command.folder / "md")
    assert command.labels(command.folder / "md") == {"1.png": "deer", "2.png": "vehicle", "3.png": "failed"}
    assert "3.png: md.json holds no such file" in done.out
    assert command.shown == [(204, 51, 0)]
    done = command.tried("--boxes", written(command.folder, detections("x/9.png")), model="colours-crop")
    assert done.code == 1 and "it holds none of the files given" in done.err


def test_a_model_by_the_path_of_its_folder(command: Command) -> None:
    many(command.card, 2)
    command(model=str(command.folder / "models/colours-class"))
    assert set(command.labels().values()) == {"fox"}


def test_help_names_every_option(stage: Callable[..., Finished]) -> None:
    done = stage("predict", "--help")
    assert done.code == 0
    assert all(word in done.out for word in ("predictions.csv", "journal.jsonl", "--sequence-gap", "--boxes", "--separate"))
    assert max(map(len, done.out.splitlines())) <= 128


# Models that were really trained ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `models/`: red and blue by a tiny classifier, a tiny YOLO, and a classifier of boxes behind it."""
    folder = tmp_path_factory.mktemp("project")
    whole = training_helpers.job(folder / "w", name="whole")
    image.train(training_helpers.settings(), whole)
    boxes = test_yolo_family.job(folder / "b", train=24, val=8)
    test_yolo_family.trained(boxes, test_yolo_family.settings(epochs=2))
    inside = test_crop_family.patch_job(folder / "c")
    crop.train(test_crop_family.settings(epochs=2), inside)
    (folder / "models").mkdir()
    for name, job in (("whole", whole), ("boxes", boxes), ("inside", inside)):
        training_helpers.write_manifest(job.out)
        os.rename(job.out, folder / "models" / name)
    return folder


@pytest.mark.parametrize(("model", "words"), [
    ("whole", []), ("boxes", ["--threshold", "0.02"]), ("inside", ["--detector", "boxes", "--threshold", "0.02"]),
])  # fmt: skip
def test_trained_models_answer_for_every_file(
    models: Path, stage: Callable[..., Finished], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, words: list[str]
) -> None:
    rng = np.random.default_rng(0)
    card = tmp_path / "card"
    for number in range(6):
        size = tuple(int(side) for side in rng.integers(30, 90, 2))
        paint(card / f"{number}.jpg", ((210, 40, 30), (30, 60, 210))[number % 2], size)
    video(card / "v.avi", [(210, 40, 30)] * 20)
    (card / "bad.jpg").write_text("no picture")
    monkeypatch.chdir(models)
    done = stage("predict", models / "models" / model, card, "--out", tmp_path / "out", "--batch-size", 3, *words)
    assert done.code == 0, done.err
    with (tmp_path / "out/predictions.csv").open(encoding="utf-8-sig") as file:
        rows = {row["File"]: row for row in csv.DictReader(file)}
    assert len(rows) == 8 and rows["bad.jpg"]["Kind"] == "failed" and rows["v.avi"]["Frames"] == "2"
    assert {row["Label"] for row in rows.values()} <= {"red", "blue", EMPTY, ""}
    if model == "whole":
        assert [rows[f"{number}.jpg"]["Label"] for number in range(6)] == ["red", "blue"] * 3
