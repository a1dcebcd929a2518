"""Clips read to their end: videos, GIFs and folders of frames; what `clean` finds in them. Fault 58."""

import shutil
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from stages.clean import CleanSettings, clean_all
from stages.clean_videos import clip_files, inspect_video, timing
from stages.datasets import adapter, clips
from stages.files import DataError, read_json, sha256_bytes, sha256_file
from stages.pictures import UnreadablePicture, inspect
from stages.samples import read_samples
from stages.settings import section
from stages.video_files import every_frame, natural
from tests.clip_helpers import every, number_of, write_folder, write_gif, write_video
from tests.conftest import Finished

KABR = (Path(__file__).parent.parent / "../shared/real/kabr").resolve()


def seen(path: Path) -> tuple[list[tuple[int, float]], str | None]:
    """(number, seconds) of each frame, checked against what it shows, and the reason why there are no more."""
    found = []
    try:
        for frame in every_frame(path):
            assert number_of(frame.rgb) == frame.number
            found.append((frame.number, round(frame.seconds, 4)))
    except UnreadablePicture as why:
        return found, why.reason
    return found, None


def at(rate: float, count: int) -> list[tuple[int, float]]:
    return [(number, round(number / rate, 4)) for number in range(count)]


def turned(path: Path) -> Path:
    """The MP4 says that it is to be turned a quarter clockwise, as a phone held upright has it."""
    data = path.read_bytes()
    place = data.index(b"tkhd") + 44
    numbers = (0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(data[:place] + struct.pack(">9i", *numbers) + data[place + 36 :])
    return path


def audio(path: Path) -> Path:
    with av.open(path, "w") as container:
        stream: Any = container.add_stream("aac", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
        sound.rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    return path


# Every frame --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.mp4", "a.avi", "a.mkv"])
def test_every_frame_of_a_video_by_its_own_times(tmp_path: Path, name: str) -> None:
    assert seen(write_video(tmp_path / name, every(25, 12))) == (at(25, 12), None)


def test_a_gif_and_a_folder_of_frames_are_clips(tmp_path: Path) -> None:
    assert seen(write_gif(tmp_path / "a.gif", 5, 130)) == (at(1 / 0.13, 5), None)
    folder = write_folder(tmp_path / "frames", 12)
    (folder / "._frame3.png").write_bytes(b"left by a Mac")
    (folder / "notes.txt").write_text("nothing")
    assert seen(folder) == (at(30, 12), None)  # frame10 comes after frame9


def test_a_gif_is_laid_on_white(tmp_path: Path) -> None:
    pictures = []
    for number in range(2):
        picture = Image.new("RGBA", (20, 10), (0, 0, 0, 0))
        picture.paste((255, 0, 0, 255), (number * 5, 0, number * 5 + 5, 10))
        pictures.append(picture)
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=100, disposal=2)
    last = list(every_frame(tmp_path / "a.gif"))[-1].rgb
    assert last[0, [0, 5, 9, 10]].tolist() == [[255] * 3, [255, 0, 0], [255, 0, 0], [255] * 3]


@pytest.mark.parametrize("share", [0.0001, 0.3, 0.6, 0.9, 0.9999])
def test_a_gif_cut_off_anywhere_is_damaged(tmp_path: Path, share: float) -> None:
    data = write_gif(tmp_path / "a.gif", 8, 40).read_bytes()
    (tmp_path / "a.gif").write_bytes(data[: max(7, int(len(data) * share))])
    assert seen(tmp_path / "a.gif") == ([], "damaged")


def test_a_frame_of_another_size_is_damage(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "frames", 4)
    Image.new("RGB", (30, 30)).save(folder / "frame2.png")
    assert seen(folder) == (at(30, 2), "damaged")
    with pytest.raises(UnreadablePicture, match="after 2 frames"):
        inspect_video(folder)


def test_a_broken_frame_is_damage_and_a_folder_of_none_has_none(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "frames", 4)
    (folder / "frame3.png").write_bytes(b"half")
    assert seen(folder) == (at(30, 3), "damaged")
    (tmp_path / "nothing").mkdir()
    assert seen(tmp_path / "nothing") == ([], "no_frames")


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=8, unique=True))
def test_numbers_in_names_count_as_numbers(numbers: list[int]) -> None:
    names = [f"f{number}_x.jpg" for number in numbers]
    assert sorted(names, key=natural) == [f"f{number}_x.jpg" for number in sorted(numbers)]


# A look at a clip ---------------------------------------------------------------------------------------------------------


def test_what_a_look_finds(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", every(25, 13))
    found = inspect_video(path)
    assert (found.frames, found.seconds, found.frame_rate, found.variable_rate, found.rotation_deg) == (13, 0.52, 25, False, 0)
    assert (found.width_px, found.height_px, found.infrared) == (64, 32, True)
    assert (found.bytes, found.sha256) == (path.stat().st_size, sha256_file(path))


def test_a_turned_video_is_measured_the_right_way_up(tmp_path: Path) -> None:
    found = inspect_video(turned(write_video(tmp_path / "a.mp4", every(30, 4))))
    assert (found.width_px, found.height_px, found.rotation_deg) == (32, 64, 270)
    assert next(every_frame(tmp_path / "a.mp4")).rgb.shape == (64, 32, 3)


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([0, 0.04, 0.08, 0.2], (4 / 15, 15, True)),
        ([0, 0.033, 0.067, 0.1], (2 / 15, 30, False)),  # as Matroska rounds them
        ([0, 0.03, 0.07, 0.1], (2 / 15, 30, False)),  # as a GIF does
        ([0, 1], (2, 1, False)),
        ([0, 0.2, 0.1, 0.3], (0.4, 10, True)),
    ],
)
def test_the_rate_and_whether_it_varies(times: list[float], expected: tuple[float, float, bool]) -> None:
    seconds, rate, varies = timing([Fraction(str(time)) for time in times])
    assert (pytest.approx(seconds), pytest.approx(rate), varies) == expected


@pytest.mark.parametrize(
    ("name", "make", "reason"),
    [
        ("a.mp4", lambda path: path.write_bytes(b""), "empty_file"),
        ("a.mp4", lambda path: path.write_text("<!DOCTYPE html>"), "not_a_video"),
        ("a.mp4", audio, "no_video_stream"),
        ("a.mp4", lambda path: write_video(path, [0]), "one_frame"),
        ("a.gif", lambda path: write_gif(path, 1, 100), "one_frame"),
        ("folder", lambda path: write_folder(path, 1), "one_frame"),
        ("folder", lambda path: path.mkdir(), "no_frames"),
        ("a.avi", lambda path: path.write_bytes(write_video(path, every(30, 20)).read_bytes()[:9000]), "damaged"),
        ("a.mp4", lambda path: path.write_bytes(write_video(path, every(30, 20)).read_bytes()[:-700]), "damaged"),
    ],
)
def test_why_a_clip_is_refused(tmp_path: Path, name: str, make: Callable[[Path], object], reason: str) -> None:
    make(tmp_path / name)
    with pytest.raises(UnreadablePicture) as why:
        inspect_video(tmp_path / name)
    assert why.value.reason == reason


def test_a_large_video_is_refused_before_it_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "a.mp4", every(30, 3))
    monkeypatch.setattr("stages.clean_videos.decoded", lambda _: pytest.fail("decoded"))
    with pytest.raises(UnreadablePicture, match="64 x 32 px, more than 2000 in all"):
        inspect_video(path, 2000)


def test_the_clips_among_files() -> None:
    files = ["a/x.MP4", "a/y.gif", "a/f/1.jpg", "a/f/2.png", "a/f/._2.png", "top.jpg", "a/note.txt", "b/c/d/3.bmp"]
    expected = {"a/f": ["a/f/1.jpg", "a/f/2.png"], "a/x.MP4": ["a/x.MP4"], "a/y.gif": ["a/y.gif"], "b/c/d": ["b/c/d/3.bmp"]}
    assert clips(files) == expected


def test_a_folder_of_frames_has_the_sum_of_its_bytes_and_a_hash_of_all(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "frames", 11)
    listed = {f"frames/{path.name}": (path.stat().st_size, sha256_file(path)) for path in folder.iterdir()}
    found = inspect_video(folder)
    assert clip_files(listed) == {"frames": (found.bytes, found.sha256)}
    (folder / "frame10.png").rename(folder / "frame11.png")
    assert inspect_video(folder).sha256 != found.sha256
    unknown = clip_files({name: (size, None) for name, (size, _) in listed.items()})
    assert unknown == {"frames": (found.bytes, None)}


def without_frames(path: Path) -> Path:
    """A whole file whose track of pictures holds none: a recording that was stopped as it began."""
    avi = path.suffix == ".avi"
    with av.open(path, "w") as container:
        stream: Any = container.add_stream("mjpeg" if avi else "mpeg4", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuvj420p" if avi else "yuv420p"
        container.start_encoding()
    return path


def with_sound(path: Path, seconds: float, times_s: list[float]) -> Path:
    """The clip of `write_video`, and so many seconds of silence beside it."""
    silent = write_video(path.with_name(f"silent-{path.name}"), times_s)
    with av.open(silent) as source, av.open(path, "w") as container:
        pictures = source.streams.video[0]
        copied = container.add_stream_from_template(pictures)
        stream: Any = container.add_stream("aac", rate=8000, layout="mono")
        for packet in source.demux(pictures):
            if packet.size:
                packet.stream = copied
                container.mux(packet)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, int(8000 * seconds)), np.float32), format="fltp", layout="mono")
        sound.rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    silent.unlink()
    return path


# Through clean ------------------------------------------------------------------------------------------------------------


def test_a_folder_for_each_class_through_clean(
    tmp_path: Path, cleaned: Callable[..., Finished], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "clips"
    for name in ("walking", "flying", "sleeping"):
        (root / name).mkdir(parents=True)
    write_video(root / "walking/a.mp4", every(25, 6))
    turned(write_video(root / "walking/b.mp4", every(30, 7)))
    write_gif(root / "walking/c.gif", 4, 100)
    write_folder(root / "flying/d", 5)
    write_video(root / "flying/e.mp4", [0, 0.03, 0.06, 0.5])
    write_video(root / "sleeping/f.mp4", every(30, 9))
    shutil.copy(root / "walking/a.mp4", root / "walking/z.mp4")
    audio(root / "flying/g.mp4")
    write_video(root / "h.mp4", every(30, 8))
    done = cleaned(root, "clip_folders", max_bad_share=0.4, keep_labels=["walking", "flying"])
    assert done.code == 0, done.err
    samples = read_samples(Path("clean"))
    expected = {
        "flying/d": ("flying", 5, 30.0, False, 0),
        "flying/e.mp4": ("flying", 4, 6.0, True, 0),
        "walking/a.mp4": ("walking", 6, 25.0, False, 0),
        "walking/b.mp4": ("walking", 7, 30.0, False, 270),
        "walking/c.gif": ("walking", 4, 10.0, False, 0),
    }
    table = samples.pictures.merge(samples.videos, on="sample_id")
    columns = ["path", "label", "frames", "frame_rate", "variable_rate", "rotation_deg"]
    assert {row[0]: row[1:] for row in table[columns].itertuples(index=False, name=None)} == expected
    rejects = pd.read_csv("clean/rejects.csv").query("kind == 'picture'")
    reasons = {"sleeping/f.mp4": "dropped_label", "walking/z.mp4": "duplicate_content", "flying/g.mp4": "no_video_stream"}
    assert dict(zip(rejects["name"], rejects["reason"], strict=True)) == reasons | {"h.mp4": "no_label"}
    counts = read_json(Path("clean/counts.json"))
    assert counts["pictures"] == {"in": 9, "kept": 5, "rejected": 4, "merged": 0}
    lasts = 5 / 30 + 4 / 6 + 6 / 25 + 7 / 30 + 4 / 10
    assert counts["videos"] == {
        "kept": 5, "frames": 26, "seconds": round(lasts, 3), "variable_rate": 1, "other_rate_than_30": 3, "rotated": 1
    }  # fmt: skip


def test_fault_58_clips_without_frames_or_too_short_are_rejected_and_counted_the_rest_is_kept(
    tmp_path: Path, cleaned: Callable[..., Finished], record_property: Callable[[str, object], None]
) -> None:
    root = tmp_path / "clips/walking"
    root.mkdir(parents=True)
    without_frames(root / "none.avi")
    without_frames(root / "none.mp4")  # libav's MP4 leaves an empty track out
    write_video(root / "one.mp4", [0])
    audio(root / "sound_alone.mp4")
    write_video(root / "silent.mp4", every(30, 8))
    with_sound(root / "sound.mp4", 0.2, every(25, 8))
    write_video(root / "varying.mp4", [0, 0.03, 0.06, 0.5, 0.53])
    done = cleaned(tmp_path / "clips", "clip_folders", max_bad_share=0.6)
    assert done.code == 0, done.err
    samples = read_samples(Path("clean"))
    kept = samples.videos.set_index("sample_id")
    assert kept.index.tolist() == ["walking/silent.mp4", "walking/sound.mp4", "walking/varying.mp4"]
    assert kept["frames"].tolist() == [8, 8, 5], "sound adds no frame, and none is missed without it"
    assert kept["variable_rate"].tolist() == [False, False, True]
    assert kept.loc["walking/sound.mp4", "seconds"] == pytest.approx(8 / 25)
    rejects = pd.read_csv("clean/rejects.csv").query("kind == 'picture'")
    assert dict(zip(rejects["name"], rejects["reason"], strict=True)) == {
        "walking/none.avi": "no_frames",
        "walking/none.mp4": "damaged",
        "walking/one.mp4": "one_frame",
        "walking/sound_alone.mp4": "no_video_stream",
    }
    counts = read_json(Path("clean/counts.json"))
    assert counts["pictures"] == {"in": 7, "kept": 3, "rejected": 4, "merged": 0}
    assert (counts["videos"]["variable_rate"], counts["videos"]["other_rate_than_30"]) == (1, 2)
    about = "; ".join(f"{row.name}: {row.reason} ({row.detail})" for row in rejects.itertuples(index=False))
    record_property("says", f"{about}. Kept and counted: variable_rate 1; without sound a clip is as any other")


def test_fault_58_a_data_set_of_nothing_but_empty_clips_stops_and_keeps_the_old_output(
    tmp_path: Path, cleaned: Callable[..., Finished]
) -> None:
    root = tmp_path / "clips/walking"
    root.mkdir(parents=True)
    write_video(root / "a.avi", every(30, 8))
    assert cleaned(tmp_path / "clips", "clip_folders").code == 0
    before = Path("clean/manifest.json").read_bytes()
    without_frames(root / "a.avi")
    done = cleaned(tmp_path / "clips", "clip_folders")
    assert done.code == 1 and "no clip is left of 1 (1 no_frames)" in done.err
    assert Path("clean/manifest.json").read_bytes() == before


def test_clips_in_a_folder_below_their_class_are_of_one_film_whatever_the_class() -> None:
    files = [
        "run/cam 1/a.mp4",
        "run/cam 1/b.mp4",
        "walk/cam 1/c.mp4",
        "walk/d.mp4",
        "run/d.mp4",
        "walk/e/1.jpg",
        "walk/f/g/1.jpg",
    ]
    raw = adapter("clip_folders").read(Path("clips"), files, ())
    assert raw.pictures.set_index("sample_id")["seq_id"].to_dict() == {
        **dict.fromkeys(files[:3], "cam 1"), **{name: name for name in (*files[3:5], "walk/e")}, "walk/f/g": "f"
    }  # fmt: skip


def test_a_frame_altered_since_the_download_is_found(tmp_path: Path, cleaned: Callable[..., Finished]) -> None:
    (tmp_path / "clips/walking").mkdir(parents=True)
    folder = write_folder(tmp_path / "clips/walking/a", 5)
    write_folder(tmp_path / "clips/walking/b", 6)
    assert cleaned(tmp_path / "clips", "clip_folders").code == 0
    listed = pd.read_csv("raw/files.csv").set_index("path")["sha256"]
    assert listed["walking/a/frame1.png"] == sha256_file(folder / "frame1.png")
    files = {f"walking/a/{path.name}": (path.stat().st_size, sha256_file(path)) for path in folder.iterdir()}
    Image.new("RGB", (64, 32), "red").save(folder / "frame1.png")
    raw = adapter("clip_folders").read(tmp_path / "clips", files, ())
    with pytest.raises(DataError, match="no clip is left of 1 \\(1 altered\\)"):
        clean_all(raw, tmp_path / "clips", files, CleanSettings(max_bad_share=1), 1)


def test_classes_to_keep_are_there_and_not_dropped_too(tmp_path: Path, cleaned: Callable[..., Finished]) -> None:
    with pytest.raises(DataError, match="clean: given .*walking is both in keep_labels and in drop_labels"):
        section("clean", CleanSettings, {"clean": {"keep_labels": ["walking", "a"], "drop_labels": ["walking"]}})
    (tmp_path / "clips/walking").mkdir(parents=True)
    write_video(tmp_path / "clips/walking/a.mp4", every(30, 4))
    done = cleaned(tmp_path / "clips", "clip_folders", keep_labels=["walking", "Flying"])
    assert (done.code, "clean.keep_labels: the source has no class Flying. There is: walking" in done.err) == (1, True)
    assert not Path("clean").exists()


def test_classes_to_keep_of_pictures(tmp_path: Path, cleaned: Callable[..., Finished], picture: Callable[..., bytes]) -> None:
    for number, name in enumerate(("fox", "deer", "empty")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        (tmp_path / "photos" / name / "a.png").write_bytes(picture(number))
    assert cleaned(tmp_path / "photos", "folders", keep_labels=["fox", "empty"]).code == 0
    samples = read_samples(Path("clean"))
    assert samples.pictures["label"].tolist() == ["empty", "fox"]
    assert (samples.videos.empty, Path("clean/videos.parquet").exists()) == (True, False)


@pytest.mark.parametrize(
    ("name", "species", "animal", "action"),
    [
        ("G0097-Browse.gif", "giraffe", "G0097", "Browse"),
        ("x/ZG0015-Auto-Groom.gif", "Grevy's zebra", "ZG0015", "Auto-Groom"),
        ("ZP0463-Occluded.mp4", "plains zebra", "ZP0463", "Occluded"),
        ("Q1-Run.gif", None, "Q1", "Run"),
    ],
)
def test_names_of_kabr(name: str, species: str | None, animal: str, action: str) -> None:
    raw = adapter("kabr").read(Path("/x"), [name, "IMG_1.gif", "readme.txt"], ())
    row = raw.pictures.iloc[0]
    assert (row["species"], row["seq_id"], raw.annotations["label"].tolist(), raw.videos) == (species, animal, [action], True)
    assert raw.rejects[["name", "reason"]].to_numpy().tolist() == [["IMG_1.gif", "no_label"]]


@pytest.mark.parametrize("name", ["kabr", "clip_folders", "animal_kingdom"])
def test_adapters_of_clips_say_what_they_want(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="among 1 files|Found 1 files"):
        adapter(name).read(tmp_path, ["note.txt"], ())
    assert (adapter(name).URLS, len(adapter(name).CITATION) > 9, len(adapter(name).LICENCE) > 9) == ((), True, True)


@pytest.mark.skipif(not KABR.is_dir(), reason="../shared/real/kabr is not here")
def test_real_kabr_previews(cleaned: Callable[..., Finished]) -> None:
    done = cleaned(KABR, "kabr")
    assert done.code == 0, done.err
    samples = read_samples(Path("clean"))
    assert (len(samples.pictures), samples.pictures["seq_id"].nunique(), samples.videos["frames"].sum()) == (25, 24, 631)
    assert samples.pictures["label"].nunique() == 8
    assert samples.pictures.query("seq_id == 'ZG0658'")["label"].tolist() == ["Graze", "Walk"]
    assert set(samples.videos["frame_rate"].round(3)) == {7.692}


def test_the_middle_frame_is_the_one_that_is_hashed(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (5, 4, 8, 3), dtype=np.uint8)
    (tmp_path / "frames").mkdir()
    for number, small in enumerate(noise):
        Image.fromarray(small).resize((64, 32), Image.Resampling.NEAREST).save(tmp_path / f"frames/{number}.png")
    hashes = [inspect((tmp_path / f"frames/{number}.png").read_bytes()).phash for number in range(5)]
    assert (len(set(hashes)), hashes.index(inspect_video(tmp_path / "frames").phash)) == (5, 2)
    assert sha256_bytes(b"") != inspect_video(tmp_path / "frames").sha256
