"""What is written down of a video that is looked at in windows: the right frames of each, whatever their times, and no more."""

import math
import tracemalloc
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from stages.clip_views import Clip
from stages.conform import on_screen
from stages.entries import Looker
from stages.media import File
from stages.video_files import every_frame
from stages.windows import entries, pictures, windows
from tests import predict_helpers as colours
from tests.clip_helpers import every, number_of, picture, write_gif, write_video
from tests.predict_helpers import CLIP, MOVES, paint
from tests.test_entries import files, video
from tests.test_video_files import audio, turned

Entry = dict[str, Any]
RED, GREEN, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 0)


def looker(rate: float = 1.0, batch_size: int = 4, clip: Clip = CLIP) -> Looker:
    return Looker(replace(colours.network(MOVES), clip=clip), 0.0, rate, batch_size)


def said(looks: Looker, root: Path, *names: str) -> list[Entry]:
    found = list(entries(looks, root, files(root, *names)))
    assert [entry["path"] for entry in found] == list(names)
    return found


def numbers(path: Path, clip: Clip = CLIP, rate: float = 1.0) -> list[list[int]]:
    """Which frames of a video of clip_helpers are shown in each window."""
    return [[number_of(frame) for frame in shown[0]] for _, shown in windows(path, clip, rate)]


# Which frames --------------------------------------------------------------------------------------------------------------------


def test_an_entry_word_for_word(tmp_path: Path) -> None:
    """25 frames, 10 a second, as the network has them: windows of 5 frames, of which it is shown every other one."""
    path = video(tmp_path / "v.avi", [RED] * 3 + [BLACK] * 7 + [GREEN] * 15)
    looks = looker()
    [entry] = said(looks, tmp_path, "v.avi")
    scores = entry.pop("scores")
    assert entry == {
        "path": "v.avi", "bytes": path.stat().st_size, "mtime_ns": path.stat().st_mtime_ns, "width_px": 64, "height_px": 32,
        "captured_at": None, "frame_rate": 10.0, "frames": [0, 10, 20], "windows": [[0.0, 0.5], [1.0, 1.5], [2.0, 2.5]],
    }  # fmt: skip
    assert np.array(scores) == pytest.approx(np.array([[2 / 3, 0, 0], [0, 1, 0], [0, 1, 0]]), abs=0.01)  # not made to sum to 1
    module: Any = looks.network.module
    assert [[max(frame) > 200 for frame in window] for window in module.frames] == [[True, True, False], [True] * 3, [True] * 3]
    assert module.batches == [(2, 3, 3, 8, 8, 3), (1, 3, 3, 8, 8, 3)], "no more at a time than the network allows"


@pytest.mark.parametrize(("rate", "expected"), [
    (10, [[0, 2, 4], [10, 12, 14]]),
    (20, [[0, 4, 8], [20, 24, 28]]),  # every other one left out
    (5, [[0, 1, 2], [5, 6, 7]]),  # each on screen for two
    (2.5, [[0, 0, 1], [2, 3, 3]]),  # 1 s is in the middle of frame 2: it was on screen for 8 to 11
])  # fmt: skip
def test_frames_are_told_by_their_own_times(tmp_path: Path, rate: float, expected: list[list[int]]) -> None:
    assert numbers(write_video(tmp_path / "v.mp4", every(rate, round(1.7 * rate) or 1))) == expected


def test_no_window_begins_on_the_frame_on_which_the_one_before_began(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", every(5, 8))  # 1.6 s
    begun = [(window.frame, window.start_s) for window, _ in windows(path, CLIP, 20.0)]
    assert begun == [(0, 0.0), (1, 0.2), (2, 0.4), (3, 0.6), (4, 0.8), (5, 1.0)]
    assert [window.frame for window, _ in windows(path, CLIP, 0.5)] == [0]


times = st.lists(st.integers(1, 500), min_size=1, max_size=24).map(lambda gaps: np.cumsum([0, *gaps]) / 1000)


@settings(max_examples=40)
@given(times, st.sampled_from([0.3, 1.0, 2.5, 7.0]), st.integers(1, 4), st.integers(1, 3), st.sampled_from([8.0, 10.0]))
def test_as_if_the_whole_clip_were_at_hand(
    tmp_path_factory: pytest.TempPathFactory, at: Any, rate: float, count: int, step: int, fps: float
) -> None:
    clip = Clip(count, step, fps, 8, 1, 1)
    path = write_video(tmp_path_factory.mktemp("clips") / "v.mp4", at)
    screen = [number_of(frame.rgb) for frame, times in on_screen(every_frame(path), fps) for _ in range(times)]
    starts, before = [], None
    for k in range(math.ceil(len(screen) / fps * rate) + 1):
        start = math.floor(Fraction(k) * Fraction(str(fps)) / Fraction(str(rate)))
        if start < len(screen) and screen[start] != before:
            before = screen[start]
            starts.append(start)
    whole = [start for start in starts if start + clip.span <= len(screen)] or [0]
    found = list(windows(path, clip, rate))
    assert [window.frame for window, _ in found] == [screen[start] for start in whole]
    assert [[number_of(frame) for frame in shown[0]] for _, shown in found] == [
        [screen[n] for n in clip.numbers(start, len(screen))] for start in whole
    ]
    assert [window.short for window, _ in found] == [start + clip.span > len(screen) for start in whole]


def test_a_network_of_stills_is_shown_the_middle_frame_of_each_window(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", every(10, 17))
    still = replace(CLIP, still=True)
    assert numbers(path, still) == [[2, 2, 2], [12, 12, 12]]
    [entry] = said(looker(clip=still), tmp_path, "v.mp4")
    assert entry["windows"] == [[0.0, 0.5], [1.0, 1.5]] and "note" not in entry


def test_a_video_shorter_than_a_window_repeats_its_last_frame(tmp_path: Path) -> None:
    assert numbers(write_video(tmp_path / "v.mp4", every(10, 3))) == [[0, 2, 2]]
    [entry] = said(looker(), tmp_path, "v.mp4")
    assert entry["note"] == "shorter than the 0.5 s that the model looks at: its last frame was shown repeatedly"
    assert entry["windows"] == [[0.0, 0.3]] and len(entry["scores"]) == 1


def test_a_video_of_stills_is_said_to_be_one(tmp_path: Path) -> None:
    write_video(tmp_path / "v.mp4", every(1, 4))
    [entry] = said(looker(), tmp_path, "v.mp4")
    assert entry["note"] == "its frames follow each other so slowly that the model was shown stills"
    assert entry["frames"] == [0, 1, 2, 3]


def test_the_three_squares_of_a_frame(tmp_path: Path) -> None:
    frame = np.zeros((32, 96, 3), np.uint8)
    for place in range(3):
        frame[:, 32 * place : 32 * (place + 1), place] = 255
    first, *rest = [Image.fromarray(frame)] + [Image.fromarray(frame + number) for number in (1, 2, 3, 4)]
    first.save(tmp_path / "v.gif", save_all=True, append_images=rest, duration=100)
    [(window, shown)] = windows(tmp_path / "v.gif", CLIP, 1.0)
    assert (window.width_px, window.height_px, shown.shape) == (96, 32, (3, 3, 8, 8, 3))
    assert [int(square.mean(axis=(0, 1, 2)).argmax()) for square in shown] == [0, 1, 2]


def test_a_turned_video_is_looked_at_the_right_way_up(tmp_path: Path) -> None:
    turned(write_video(tmp_path / "v.mp4", every(10, 6)))
    [entry] = said(looker(), tmp_path, "v.mp4")
    assert (entry["width_px"], entry["height_px"], entry["windows"]) == (32, 64, [[0.0, 0.5]])
    assert next(pictures(tmp_path / "v.mp4", [2])).shape == (64, 32, 3)


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    audio(tmp_path / "v.mp4")
    [entry] = said(looker(), tmp_path, "v.mp4")
    assert entry["failure"].startswith("no_video_stream: ")


def test_frames_by_their_numbers(tmp_path: Path) -> None:
    write_video(tmp_path / "v.mp4", every(10, 9))
    write_gif(tmp_path / "v.gif", 9, 100)
    for name in ("v.mp4", "v.gif"):
        assert [number_of(rgb) for rgb in pictures(tmp_path / name, [0, 3, 8])] == [0, 3, 8]


# Other files ---------------------------------------------------------------------------------------------------------------------


def test_a_gif_is_a_video_if_it_moves_and_a_photo_is_none(tmp_path: Path) -> None:
    write_gif(tmp_path / "moves.gif", 12, 100)
    write_gif(tmp_path / "one.gif", 1, 100)
    paint(tmp_path / "photo.png", RED)
    (tmp_path / "text.png").write_text("no photo")
    (tmp_path / "text.gif").write_text("nor a GIF")
    (tmp_path / "cut.gif").write_bytes((tmp_path / "moves.gif").read_bytes()[:-1])
    names = ["cut.gif", "moves.gif", "one.gif", "photo.png", "text.gif", "text.png"]
    cut, moves, one, photo, *text = said(looker(), tmp_path, *names)
    assert moves["windows"] == [[0.0, 0.5]] and moves["frame_rate"] == 10 and moves["captured_at"] is None
    assert one["failure"] == photo["failure"] == "a photo: this model tells what happens in videos"
    assert set(photo) == {"path", "bytes", "mtime_ns", "failure"}
    assert [entry["failure"].split(":")[0] for entry in (cut, *text)] == ["damaged", "not_a_video", "not_an_image"]


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_bad_files_are_entries_with_their_reason_between_good_ones(tmp_path: Path, batch_size: int) -> None:
    video(tmp_path / "a.avi", [RED] * 30)
    whole = (tmp_path / "a.avi").read_bytes()
    (tmp_path / "cut.avi").write_bytes(whole[: len(whole) * 4 // 5])
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.avi").write_text("no video")
    video(tmp_path / "z.avi", [GREEN] * 20)
    names = ["a.avi", "cut.avi", "empty.mp4", "text.avi", "z.avi"]
    found = list(entries(looker(batch_size=batch_size), tmp_path, [*files(tmp_path, *names), File("gone.mp4", 10, 1)]))
    assert [len(entry.get("windows", ())) for entry in found] == [3, 2, 0, 0, 2, 0]
    failures = ["", "", "empty_file", "not_a_video", "", "cannot be read"]
    assert [entry.get("failure", "").split(":")[0] for entry in found] == failures
    assert [np.argmax(entry["scores"][0]) for entry in found if "scores" in entry] == [0, 0, 1]


def test_a_video_damaged_part_way_says_up_to_where_it_was_looked_at(tmp_path: Path) -> None:
    path = video(tmp_path / "v.avi", [RED] * 20)
    data = path.read_bytes()
    path.write_bytes(data[: data.rfind(b"\xff\xd8\xff") + 100])  # within the last frame's JPEG
    [entry] = said(looker(), tmp_path, "v.avi")
    assert entry["windows"] == [[0.0, 0.5], [1.0, 1.5]]
    assert entry["note"].startswith("damaged: after 19 frames: ") and entry["note"].endswith("; looked at up to 1.5 s")


def test_the_same_whatever_the_size_of_a_batch(tmp_path: Path) -> None:
    names = [f"{number}.mp4" for number in range(4)]
    for number, name in enumerate(names):
        write_video(tmp_path / name, every(7 + 5 * number, 20))
    looks = looker(rate=3.0)
    first = said(looks, tmp_path, *names)
    of_more = replace(looks, network=replace(colours.network(MOVES), batch_size=None), batch_size=64)
    assert said(of_more, tmp_path, *names) == said(replace(looks, batch_size=1), tmp_path, *names) == first
    assert sum(len(entry["windows"]) for entry in first) > 10


def test_a_long_video_takes_no_more_memory(tmp_path: Path) -> None:
    peaks = []
    for seconds in (20, 200):
        path = video(tmp_path / f"{seconds}.avi", [RED] * 10 * seconds)
        wide = Clip(3, 2, 10.0, 64, 1, 3)
        tracemalloc.start()
        [entry] = said(looker(clip=wide), tmp_path, path.name)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len(entry["windows"]) == seconds
    assert peaks[1] < peaks[0] + 300_000  # 180 windows of 110 KB each are 20 MB


def test_shades_are_told_apart() -> None:
    """What these tests rest on."""
    assert [number_of(picture(number)) for number in range(30)] == list(range(30))
