"""What is written down of a file: every file once and in order, whatever it is, and nothing of it stops the rest."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from stages.entries import Looker, entries
from stages.media import File
from stages.megadetector import Detections
from tests import predict_helpers as colours
from tests.predict_helpers import paint
from tests.test_megadetector import image, written

Entry = dict[str, Any]


def looker(key: str = "colours-boxes", floor: float = 0.05, rate: float = 2.0, batch_size: int = 4, **more: Any) -> Looker:
    behind = colours.network("colours-boxes") if key == "colours-crop" and "listed" not in more else None
    return Looker(colours.network(key), floor, rate, batch_size, **{"detector": behind} | more)


def files(root: Path, *names: str) -> list[File]:
    return [File(name, (root / name).stat().st_size, (root / name).stat().st_mtime_ns) for name in names]


def said(looks: Looker, root: Path, *names: str) -> list[Entry]:
    found = list(entries(looks, root, files(root, *names)))
    assert [entry["path"] for entry in found] == list(names)
    return found


def video(path: Path, colours_of_frames: list[colours.Colour]) -> Path:
    """Ten frames a second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(path, "w") as container:
        stream: Any = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuvj444p"
        for colour in colours_of_frames:
            rgb = np.full((32, 64, 3), colour, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode(None))
    return path


# Pictures ----------------------------------------------------------------------------------------------------------------


def test_a_detector_s_entry_word_for_word(tmp_path: Path) -> None:
    paint(tmp_path / "a.png", (204, 51, 0), (40, 20), taken="2024:05:01 06:07:08")
    stat = (tmp_path / "a.png").stat()
    assert said(looker(), tmp_path, "a.png") == [
        {
            "path": "a.png", "bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns, "width_px": 40, "height_px": 20,
            "captured_at": "2024-05-01T06:07:08",
            "boxes": [[0, "fox", 0.8, 0, 0, 0.5, 0.5, None, None], [0, "deer", 0.2, 0.5, 0.5, 1, 1, None, None]],
        }
    ]  # fmt: skip


def test_a_classifier_s_entry_has_probabilities_of_one_frame(tmp_path: Path) -> None:
    paint(tmp_path / "a.png", (120, 60, 20))
    [entry] = said(looker("colours-class"), tmp_path, "a.png")
    assert entry["scores"] == [[0.6, 0.3, 0.1]]
    assert "boxes" not in entry and entry["captured_at"] is None


def test_boxes_below_the_floor_are_not_written(tmp_path: Path) -> None:
    paint(tmp_path / "a.png", (204, 51, 5))
    assert [box[1] for box in said(looker(floor=0.3), tmp_path, "a.png")[0]["boxes"]] == ["fox"]
    paint(tmp_path / "a.png", (20, 0, 0))
    assert said(looker(floor=0.3), tmp_path, "a.png")[0]["boxes"] == []


def test_a_sliver_that_rounding_leaves_nothing_of_is_no_box(tmp_path: Path) -> None:
    paint(tmp_path / "a.png", (204, 51, 0))
    boxes = [[0, 0, 4e-6 * 8, 8, 0.9, 0], [0, 0, 2e-5 * 8, 8, 0.8, 1]]
    network = replace(colours.network("colours-boxes"), finish=lambda means, _floor: [np.array(boxes) for _ in means])
    [entry] = said(replace(looker(), network=network), tmp_path, "a.png")
    assert entry["boxes"] == [[0, "deer", 0.8, 0, 0, 2e-5, 1, None, None]]


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_bad_files_are_entries_with_their_reason_between_good_ones(tmp_path: Path, batch_size: int) -> None:
    paint(tmp_path / "a.jpg", (255, 0, 0), (640, 480))
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:1500])
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("I am no picture")
    (tmp_path / "text.avi").write_text("nor a video")
    (tmp_path / "empty.mp4").touch()
    paint(tmp_path / "z.jpg", (0, 255, 0))
    names = ["a.jpg", "cut.jpg", "empty.jpg", "empty.mp4", "text.avi", "text.jpg", "z.jpg"]
    found = said(looker(batch_size=batch_size), tmp_path, *names)
    assert [entry.get("failure", "").split(":")[0] for entry in found] == [
        "", "damaged", "empty_file", "empty_file", "not_a_video", "not_an_image", "",
    ]  # fmt: skip
    assert set(found[1]) == {"path", "bytes", "mtime_ns", "failure"}


def test_files_that_vanish_or_are_locked_are_entries_too(tmp_path: Path) -> None:
    paint(tmp_path / "a.png", (255, 0, 0))
    gone = File("gone.png", 10, 1)
    gone_video = File("gone.mp4", 10, 1)
    found = list(entries(looker(), tmp_path, [gone, *files(tmp_path, "a.png"), gone_video]))
    assert [entry.get("failure") for entry in found] == [
        "cannot be read: No such file or directory", None, "cannot be read: No such file or directory",
    ]  # fmt: skip


def test_pictures_of_every_kind_are_read_the_right_way_up(tmp_path: Path) -> None:
    paint(tmp_path / "a.webp", (255, 0, 0), lossless=True)
    Image.new("CMYK", (40, 20), (0, 255, 255, 0)).save(tmp_path / "b.jpg", quality=95)
    Image.new("L", (40, 20), 128).save(tmp_path / "c.png")
    rgb = np.zeros((20, 40, 3), np.uint8)
    rgb[:, :20] = (255, 0, 0)  # the left half; turned by 90 degrees clockwise it is the upper half
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(rgb).save(tmp_path / "d.jpg", exif=exif, quality=95)
    looks = looker()
    a, b, c, d = said(looks, tmp_path, "a.webp", "b.jpg", "c.png", "d.jpg")
    assert [(e["width_px"], e["height_px"]) for e in (a, b, c, d)] == [(40, 20), (40, 20), (40, 20), (20, 40)]
    module: Any = looks.network.module
    assert module.shown[0] == (255, 0, 0) and module.shown[2] == (128, 128, 128)
    assert [box[1] for box in b["boxes"]] == ["fox"] and b["boxes"][0][2] == pytest.approx(1, abs=0.02), "red as it is seen"


def test_the_same_whatever_the_size_of_a_batch_and_however_many_threads(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    names = []
    for number in range(20):
        names.append(f"{number:02}.png")
        paint(tmp_path / names[-1], tuple(rng.integers(0, 256, 3).tolist()), (int(rng.integers(4, 60)), 20))
    first = said(looker(batch_size=1), tmp_path, *names)
    assert said(looker(batch_size=32), tmp_path, *names) == said(looker(batch_size=3), tmp_path, *names) == first
    assert len({str(entry["boxes"]) for entry in first}) > 15


# Videos --------------------------------------------------------------------------------------------------------------------


def test_a_video_is_looked_at_by_frames_at_the_rate(tmp_path: Path) -> None:
    video(tmp_path / "v.avi", [(255, 0, 0)] * 10 + [(0, 0, 0)] * 10 + [(0, 255, 0)] * 10)
    paint(tmp_path / "w.png", (0, 0, 255))
    entry, after = said(looker(rate=1.0, batch_size=2), tmp_path, "v.avi", "w.png")
    assert (entry["frames"], entry["frame_rate"]) == ([0, 10, 20], 10.0)
    assert (entry["width_px"], entry["height_px"]) == (64, 32)
    assert [(box[0], box[1]) for box in entry["boxes"]] == [(0, "fox"), (20, "deer")]
    assert "note" not in entry and "frames" not in after
    assert said(looker("colours-class", rate=2.0), tmp_path, "v.avi")[0]["frames"] == [0, 5, 10, 15, 20, 25]
    assert len(said(looker("colours-class", rate=2.0), tmp_path, "v.avi")[0]["scores"]) == 6


@pytest.mark.parametrize("key", colours.KEYS)
def test_a_video_that_is_damaged_half_way_has_an_answer_and_a_note(tmp_path: Path, key: str) -> None:
    whole = video(tmp_path / "v.avi", [(255, 0, 0)] * 40).read_bytes()
    (tmp_path / "v.avi").write_bytes(whole[: len(whole) // 2])
    paint(tmp_path / "w.png", (255, 0, 0))
    entry, after = said(looker(key, rate=5.0), tmp_path, "v.avi", "w.png")
    assert "failure" not in entry and "failure" not in after
    assert entry["frames"][:3] == [0, 2, 4] and 4 <= len(entry["frames"]) < 20
    assert entry["note"].startswith("damaged: after ") and "; looked at up to " in entry["note"]


def test_a_video_without_a_frame_fails(tmp_path: Path) -> None:
    with av.open(tmp_path / "v.avi", "w") as container:
        stream: Any = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuvj420p"
        container.start_encoding()
    [entry] = said(looker(), tmp_path, "v.avi")
    assert entry["failure"].split(":")[0] in ("no_frames", "damaged", "no_video_stream")


# Behind boxes ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_a_classifier_looks_into_the_detector_s_boxes(tmp_path: Path, batch_size: int) -> None:
    paint(tmp_path / "a.png", (204, 51, 0))
    paint(tmp_path / "b.png", (0, 0, 0))
    (tmp_path / "c.png").write_bytes(b"\x89PNG")
    paint(tmp_path / "d.png", (51, 0, 255))
    a, b, c, d = said(looker("colours-crop", batch_size=batch_size), tmp_path, "a.png", "b.png", "c.png", "d.png")
    # Of one colour, each box is a deer with the share of red: 0.8; what the detector said of it stays beside it.
    assert a["boxes"] == [
        [0, "deer", 0.64, 0, 0, 0.5, 0.5, "fox", 0.8],
        [0, "deer", 0.16, 0.5, 0.5, 1, 1, "deer", 0.2],
    ]
    assert b["boxes"] == []
    assert c["failure"].startswith("damaged") or c["failure"].startswith("not_an_image")
    assert d["boxes"] == [[0, "deer", 0.2, 0, 0, 0.5, 0.5, "fox", 0.2], [0, "person", 1, 0, 0.5, 0.5, 1, "person", 1]]


def test_what_is_cut_out_is_what_lies_in_the_box(tmp_path: Path) -> None:
    """A dark picture whose upper left quarter alone is green: the box of the fox, which is a fox to the classifier."""
    rgb = np.full((80, 80, 3), (60, 0, 0), np.uint8)
    rgb[:40, :40] = (60, 120, 0)
    Image.fromarray(rgb).save(tmp_path / "a.png")
    [entry] = said(looker("colours-crop"), tmp_path, "a.png")
    named = {box[7]: (box[1], round(box[2] / box[8], 2)) for box in entry["boxes"]}
    assert named == {"fox": ("fox", 0.67), "deer": ("deer", 1.0)}


def test_a_video_s_frames_are_cut_out_as_well(tmp_path: Path) -> None:
    video(tmp_path / "v.avi", [(255, 0, 0)] * 10 + [(0, 0, 0)] * 10 + [(0, 255, 0)] * 10)
    paint(tmp_path / "w.png", (204, 51, 0))
    entry, after = said(looker("colours-crop", rate=1.0), tmp_path, "v.avi", "w.png")
    assert entry["frames"] == [0, 10, 20]
    assert [(box[0], box[1], box[7]) for box in entry["boxes"]] == [(0, "deer", "fox"), (20, "fox", "deer")]
    assert [box[2] for box in after["boxes"]] == [0.64, 0.16]


def test_boxes_of_a_megadetector_file(tmp_path: Path) -> None:
    """Animals are classified, people and vehicles kept; a file that is not in it, or failed there, or a video, fails."""
    for name in ("a.png", "b.png", "c.png", "none.png", "person.png"):
        paint(tmp_path / "photos" / name, (204, 51, 0))
    video(tmp_path / "photos/v.avi", [(255, 0, 0)] * 3)
    path = written(
        tmp_path,
        image("a.png", 0, 0, 0.5, 1.0, conf=0.5),
        image("none.png"),
        image("person.png", 0.5, 0.5, 0.25, 0.25, category="2", conf=0.75),
        {"file": "c.png", "failure": "truncated", "detections": None},
        image("v.avi"),
    )
    names = ["a.png", "b.png", "c.png", "none.png", "person.png", "v.avi"]
    looks = looker("colours-crop", listed=Detections(path, names))
    a, b, c, none, person, film = said(looks, tmp_path / "photos", *names)
    assert a["boxes"] == [[0, "deer", 0.4, 0, 0, 0.5, 1, "animal", 0.5]]
    assert b["failure"] == "md.json holds no such file"
    assert c["failure"] == "md.json: not predicted there: truncated"
    assert (none["boxes"], none["width_px"]) == ([], 40)
    assert person["boxes"] == [[0, "person", 0.75, 0.5, 0.5, 0.75, 0.75, "person", 0.75]]
    assert film["failure"] == "a video: its boxes are not taken from a MegaDetector file"
    module: Any = looks.network.module
    assert len(module.shown) == 1, "a person is not shown to a classifier of animals"


# However many ----------------------------------------------------------------------------------------------------------------


def test_entries_come_long_before_the_last_file_is_read(tmp_path: Path) -> None:
    paint(tmp_path / "a.png", (204, 51, 0))
    [one] = files(tmp_path, "a.png")
    for number in range(200):
        os.link(tmp_path / "a.png", tmp_path / f"{number}.png")
    asked = []

    def listed() -> Any:
        for number in range(200):
            asked.append(number)
            yield one._replace(path=f"{number}.png")

    assert next(iter(entries(looker(batch_size=4), tmp_path, listed())))["path"] == "0.png"
    assert len(asked) < 20
