"""A user's photos and videos: found each once, timed by the camera's clock, and videos by frames at their own times."""

import io
import os
import shutil
import struct
import subprocess
from collections.abc import Callable
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from stages.files import DataError
from stages.media import File, captured_at, find, frames, video_captured_at
from stages.pictures import UnreadablePicture

REAL = Path(__file__).parent.parent / "../shared/real/camera_trap_media"
Make = Callable[..., Path]


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"12345")


def paths(*given: Path) -> list[str]:
    return [file.path for file in find(list(given)).files]


# Which there are ---------------------------------------------------------------------------------------------------------


def test_pictures_and_videos_below_a_folder_by_path_the_rest_counted(tmp_path: Path) -> None:
    touch(tmp_path, "b/IMG_1.JPG", "a b/é\n.webp", "clip.AVI", "notes.txt", "b/x.TXT", "README")
    touch(tmp_path, "._IMG_1.JPG", ".DS_Store", "b/Thumbs.db", ".Trashes/501/IMG_2.JPG")
    found = find([tmp_path])
    assert found.root == tmp_path
    assert [file.path for file in found.files] == ["a b/é\n.webp", "b/IMG_1.JPG", "clip.AVI"]
    assert [file.is_video for file in found.files] == [False, False, True]
    assert found.files[2] == File("clip.AVI", 5, (tmp_path / "clip.AVI").stat().st_mtime_ns)
    assert found.left_aside == {"hidden": 3, ".txt": 2, ".db": 1, "no ending": 1}
    assert (found.unreadable, found.repeated) == ([], [])


def test_paths_that_overlap_give_each_file_once_from_their_common_folder(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg", "a/in/2.jpg", "b/3.jpg", "c/4.jpg")
    a, b = tmp_path / "a", tmp_path / "b"
    assert paths(a, a / "in", a, a / "in/2.jpg", tmp_path / "b/../a") == ["1.jpg", "in/2.jpg"]
    assert paths(a / "in/2.jpg", b, b / "3.jpg") == ["a/in/2.jpg", "b/3.jpg"]
    found = find([b / "3.jpg", b / "3.jpg"])
    assert (found.root, [file.path for file in found.files]) == (b, ["3.jpg"])


def test_a_path_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "photos/1.jpg")
    monkeypatch.chdir(tmp_path)
    assert find([Path("photos")]).root == tmp_path / "photos"


def test_links_are_followed_and_no_folder_is_seen_twice(tmp_path: Path) -> None:
    touch(tmp_path, "card/z/1.jpg", "elsewhere/2.jpg", "elsewhere/in/3.jpg")
    card = tmp_path / "card"
    (card / "a_link").symlink_to(card / "z")  # keeps its own name, z
    (card / "out").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/loop").symlink_to(card)
    (card / "up").symlink_to(tmp_path)  # would bring in what was not given
    (card / "4.jpg").symlink_to(card / "z/1.jpg")
    found = find([card])
    assert [file.path for file in found.files] == ["4.jpg", "out/2.jpg", "out/in/3.jpg", "z/1.jpg"]
    assert found.repeated == ["a_link", "out/loop", "up"]


def test_what_cannot_be_looked_at_is_listed_and_stops_nothing(tmp_path: Path) -> None:
    touch(tmp_path, "fine.jpg")
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere")
    (tmp_path / "self.png").symlink_to(tmp_path / "self.png")
    os.mkfifo(tmp_path / "pipe.avi")
    os.mkdir(os.fsencode(tmp_path) + b"/caf\xe9")
    (tmp_path / os.fsdecode(b"\xff.jpg")).write_bytes(b"1")
    (tmp_path / os.fsdecode(b"x.\xff")).write_bytes(b"1")
    found = find([tmp_path])
    assert [file.path for file in found.files] == ["fine.jpg"]
    assert dict(found.unreadable) == {
        "\\xff.jpg": "its name is not UTF-8",
        "caf\\xe9": "its name is not UTF-8",
        "gone.jpg": "No such file or directory",
        "pipe.avi": "neither a file nor a folder",
        "self.png": "Too many levels of symbolic links",
    }
    assert found.left_aside == {".\\xff": 1}
    latin = tmp_path / os.fsdecode(b"caf\xe9")
    touch(latin, "1.jpg", "in/2.jpg")
    given = find([tmp_path / "fine.jpg", latin / "1.jpg", latin / "in"])
    assert [file.path for file in given.files] == ["fine.jpg"]
    assert [path for path, _ in given.unreadable] == ["caf\\xe9/1.jpg", "caf\\xe9/in"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    touch(tmp_path, "fine.jpg", "locked/2.jpg")
    (tmp_path / "locked").chmod(0)
    try:
        assert find([tmp_path]).unreadable == [("locked", "Permission denied")]
    finally:
        (tmp_path / "locked").chmod(0o700)


def test_folders_nested_deeper_than_the_stack_and_than_a_path_may_be_long(tmp_path: Path) -> None:
    touch(tmp_path, "deep/1.jpg")
    inner = os.open(tmp_path / "deep", os.O_RDONLY)
    try:
        for name in ["d"] * 1200 + ["e" * 250] * 12:
            if name != "d":
                os.close(os.open("2.jpg", os.O_CREAT, dir_fd=inner))
            os.mkdir(name, dir_fd=inner)
            outer, inner = inner, os.open(name, os.O_RDONLY, dir_fd=inner)
            os.close(outer)
        found = find([tmp_path])
    finally:
        os.close(inner)
        subprocess.run(["rm", "-rf", tmp_path / "deep"], check=True)  # shutil.rmtree goes by recursion
    depths = [file.path.count("/") for file in found.files]
    assert depths == [1, *range(1201, 1201 + len(depths) - 1)]
    assert 6 <= len(depths) < 12
    assert [reason for _, reason in found.unreadable] == ["File name too long"]


def test_what_is_not_there_or_shows_nothing_is_told_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such file or folder, or not yours to look at. Give the folder"):
        find([tmp_path, tmp_path / "nowhere"])
    touch(tmp_path, "1.txt", "2.txt", ".hidden.jpg")
    (tmp_path / "gone.jpg").symlink_to("nowhere")
    with pytest.raises(DataError, match="no picture or video there.*Left aside: 2 .txt, 1 hidden.*gone.jpg: No such file"):
        find([tmp_path])
    with pytest.raises(DataError, match="no picture or video there"):
        find([tmp_path / "1.txt"])
    latin = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xe9"))
    touch(latin, "1.jpg")
    with pytest.raises(DataError, match=r"\\xe9: its name is not UTF-8. Rename"):
        find([latin])


# When they were taken ----------------------------------------------------------------------------------------------------


def exif(main: dict[int, object], inner: dict[int, object], kind: str = "JPEG") -> bytes:
    tags = Image.Exif()
    tags.update(main)
    tags.get_ifd(0x8769).update(inner)
    memory = io.BytesIO()
    Image.new("RGB", (4, 3)).save(memory, kind, exif=tags.tobytes())
    return memory.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_time_of_the_original_with_its_fraction(kind: str) -> None:
    data = exif({0x0132: "2020:01:01 00:00:00"}, {0x9003: "2019:02:03 04:05:06", 0x9291: "05"}, kind)
    assert captured_at(data) == datetime(2019, 2, 3, 4, 5, 6, 50_000)


@pytest.mark.parametrize(
    ("main", "inner", "expected"),
    [
        ({0x0132: "2020:01:01 00:00:01"}, {0x9004: "2019:01:01 00:00:02"}, datetime(2019, 1, 1, 0, 0, 2)),
        ({0x0132: "2020:01:01 00:00:01"}, {}, datetime(2020, 1, 1, 0, 0, 1)),
        ({0x0132: "2020:01:01 00:00:01"}, {0x9003: "0000:00:00 00:00:00"}, datetime(2020, 1, 1, 0, 0, 1)),
        ({}, {0x9003: "2019-02-03T04:05:06.25+02:00"}, datetime(2019, 2, 3, 4, 5, 6, 250_000)),
        ({}, {0x9003: "2019: 2: 3  4: 5: 6", 0x9291: "x"}, datetime(2019, 2, 3, 4, 5, 6)),
        ({}, {0x9003: "2019:13:03 04:05:06"}, None),
        ({}, {0x9003: "    :  :     :  :  "}, None),
        ({}, {0x9003: "yesterday"}, None),
        ({0x0132: 7}, {}, None),
        ({}, {}, None),
    ],
)
def test_the_first_time_that_makes_sense(main: dict[int, object], inner: dict[int, object], expected: datetime | None) -> None:
    assert captured_at(exif(main, inner)) == expected


def test_no_time_in_damaged_files_and_none_of_them_raises() -> None:
    data = exif({0x0132: "2020:01:01 00:00:01"}, {0x9003: "2019:01:01 00:00:02"})
    end = data.index(b"\xff\xdb")  # of the EXIF data: the first table of the picture itself
    for place in range(end):
        captured_at(data[:place])
        captured_at(data[:place] + b"\xff" + data[place + 1 :])
    assert captured_at(b"") is None
    assert captured_at(b"no picture") is None
    assert captured_at(data[:-4]) == datetime(2019, 1, 1, 0, 0, 2)  # only the picture is cut off


def test_a_picture_is_not_decoded_for_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    made = {kind: exif({0x0132: "2020:01:01 00:00:01"}, {}, kind) for kind in ("JPEG", "PNG", "WEBP")}
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda _: pytest.fail("decoded"))
    assert {captured_at(data) for data in made.values()} == {datetime(2020, 1, 1, 0, 0, 1)}


# A video's frames --------------------------------------------------------------------------------------------------------


@pytest.fixture
def video(tmp_path: Path) -> Make:
    """Ten frames a second, or at the `times` given; frame i is noise about the grey 20 + 4 i. -> its path."""

    def make(name: str, codec: str = "mpeg4", times: list[float] | None = None, **metadata: str) -> Path:
        rng = np.random.default_rng(0)
        with av.open(tmp_path / name, "w") as container:
            container.metadata.update(metadata)
            stream: Any = container.add_stream(codec, rate=10)
            stream.width, stream.height, stream.pix_fmt = 64, 32, "yuvj420p" if codec == "mjpeg" else "yuv420p"
            stream.bit_rate = 4_000_000
            if times:
                stream.codec_context.time_base = Fraction(1, 100)
            for index in range(len(times) if times else 50):
                grey = rng.integers(10 + 4 * index, 31 + 4 * index, (32, 64, 1), dtype=np.uint8)
                frame = av.VideoFrame.from_ndarray(np.repeat(grey, 3, axis=2), format="rgb24")
                if times:
                    frame.pts, frame.time_base = round(times[index] * 100), Fraction(1, 100)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return tmp_path / name

    return make


def read(path: Path, rate: float = 1000) -> tuple[list[int], str | None]:
    """The numbers of a video's frames, checked against what they show, and the reason why there are no more."""
    numbers: list[int] = []
    try:
        for frame in frames(path, rate):
            assert round((frame.rgb.mean() - 20) / 4) == frame.number
            numbers.append(frame.number)
    except UnreadablePicture as why:
        return numbers, why.reason
    return numbers, None


CODECS = [("a.avi", "mpeg4"), ("a.avi", "mjpeg"), ("a.mp4", "mpeg4"), ("a.mov", "mjpeg"), ("a.asf", "wmv2"), ("a.mkv", "mpeg4")]


@pytest.mark.parametrize(("name", "codec"), CODECS)
def test_frames_at_a_rate(video: Make, name: str, codec: str) -> None:
    path = video(name, codec)
    assert read(path) == (list(range(50)), None)
    assert read(path, 1) == ([0, 10, 20, 30, 40], None)
    assert read(path, 0.3) == ([0, 34], None)  # 3.33 s is past frame 33
    assert read(path, 4) == ([10 * second + tenth for second in range(5) for tenth in (0, 3, 5, 8)], None)
    first = next(frames(path, 1))
    assert (first.rgb.shape, first.rgb.dtype, first.rgb.flags.c_contiguous) == ((32, 64, 3), np.uint8, True)
    assert (first.seconds, first.frame_rate) == (0.0, 10.0)


def test_one_frame_of_a_video_and_none_twice(video: Make) -> None:
    assert read(video("a.mp4", times=[0.0]), 5) == ([0], None)
    assert [frame.seconds for frame in frames(video("b.mkv", times=[0.0, 1.0, 2.0]), 5)] == [0.0, 1.0, 2.0]


@pytest.mark.parametrize("codec", ["mpeg4", "mjpeg"])
def test_a_variable_frame_rate_goes_by_the_frames_own_times(video: Make, codec: str) -> None:
    path = video("a.mkv", codec, times=[5.0, 5.9, 5.95, 6.05, 6.1, 9.5, 9.6, 10.0])
    chosen = [(frame.number, round(frame.seconds, 3)) for frame in frames(path, 1)]
    assert chosen == [(0, 0.0), (3, 1.05), (5, 4.5), (7, 5.0)]


@pytest.mark.parametrize(
    ("matrix", "bright"),
    [((1, 0, 0, 1), "left"), ((0, 1, -1, 0), "top"), ((-1, 0, 0, -1), "right"), ((0, -1, 1, 0), "bottom")],
)
def test_a_turned_video_comes_the_right_way_up(tmp_path: Path, matrix: tuple[int, ...], bright: str) -> None:
    path = tmp_path / "a.mp4"
    picture = np.zeros((32, 64, 3), np.uint8)
    picture[:, :16] = 255
    with av.open(path, "w") as container:
        stream: Any = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    data = path.read_bytes()
    place = data.index(b"tkhd") + 44  # of the matrix that says how to show it: a phone held upright turns it clockwise
    a, b, c, d = (number << 16 for number in matrix)
    path.write_bytes(data[:place] + struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30) + data[place + 36 :])
    rgb = next(frames(path, 1)).rgb
    sides = {"left": rgb[:, :8], "right": rgb[:, -8:], "top": rgb[:8], "bottom": rgb[-8:]}
    assert rgb.shape == ((32, 64, 3) if bright in ("left", "right") else (64, 32, 3))
    assert [side for side, pixels in sides.items() if pixels.mean() > 240] == [bright]


def test_what_is_no_video_is_refused_with_its_reason(tmp_path: Path, video: Make, picture: Callable[..., bytes]) -> None:
    (tmp_path / "empty.avi").write_bytes(b"")
    (tmp_path / "text.mp4").write_text("no video at all\n" * 9)
    (tmp_path / "list.mp4").write_text(
        f"#EXTM3U\n#EXTINF:1,\n{video('a.mp4')}\n#EXT-X-ENDLIST\n"
    )  # libav would open what it names
    (tmp_path / "picture.mov").write_bytes(picture("red", 32, 16, "JPEG"))
    with av.open(tmp_path / "sound.mp4", "w") as container:
        stream: Any = container.add_stream("aac", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
        sound.rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    unknown = video("unknown.avi")
    unknown.write_bytes(unknown.read_bytes().replace(b"FMP4", b"ZZZZ"))
    for name, reason in [
        *(("empty.avi", "empty_file"), ("text.mp4", "not_a_video"), ("list.mp4", "not_a_video")),
        *(("picture.mov", "not_a_video"), ("sound.mp4", "no_video_stream"), ("unknown.avi", "no_video_stream")),
    ]:
        assert read(tmp_path / name) == ([], reason), name
    with pytest.raises(FileNotFoundError):
        next(frames(tmp_path / "gone.avi", 1))


def test_a_video_of_no_frames(tmp_path: Path) -> None:
    with av.open(tmp_path / "a.avi", "w") as container:
        stream: Any = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 16, "yuvj420p"
        container.start_encoding()
    assert read(tmp_path / "a.avi") == ([], "no_frames")


@pytest.mark.parametrize(("name", "codec"), [("a.avi", "mpeg4"), ("a.avi", "mjpeg"), ("a.asf", "wmv2")])
@pytest.mark.parametrize("rate", [1, 1000])
def test_a_video_cut_off_gives_its_frames_and_then_says_so(video: Make, name: str, codec: str, rate: int) -> None:
    path = video(name, codec)
    whole, data = read(path, rate)[0], path.read_bytes()
    place = data.rindex(b"idx1") if name == "a.avi" else len(data)
    path.write_bytes(data[: int(place * 0.7)])
    numbers, reason = read(path, rate)
    assert 0 < len(numbers) < len(whole)
    assert (numbers, reason) == (whole[: len(numbers)], "damaged")


def test_an_mp4_cut_off_lacks_the_list_of_its_frames(video: Make) -> None:
    path = video("a.mp4")
    path.write_bytes(path.read_bytes()[:-900])
    assert read(path) == ([], "damaged")


def test_noise_within_a_video(video: Make) -> None:
    path = video("a.mkv")
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 60] = np.random.default_rng(0).bytes(60)
    path.write_bytes(data)
    numbers, reason = read(path)
    assert 0 < len(numbers) < 50
    assert reason == "damaged"


def test_libav_keeps_silent(video: Make, capfd: pytest.CaptureFixture[str]) -> None:
    path = video("a.avi")
    path.write_bytes(path.read_bytes()[:8000])
    read(path)
    assert capfd.readouterr() == ("", "")


def test_a_name_of_any_kind(video: Make) -> None:
    path = video("a.avi")
    for name in ("http:x.avi", "é %03d?#\n.avi"):
        assert len(read(Path(shutil.copy(path, path.with_name(name))))[0]) == 50


def test_the_time_of_a_video(tmp_path: Path, video: Make) -> None:
    made = video("a.mp4", creation_time="2019-02-03T04:05:06.000000Z")
    assert video_captured_at(made) == datetime(2019, 2, 3, 4, 5, 6)
    assert video_captured_at(video("b.mp4")) is None
    assert video_captured_at(tmp_path / "gone.mp4") is None
    path = video("c.avi")
    data, date = path.read_bytes(), b"SAT FEB 02 04:05:06 2019\0\0"
    place = data.index(b"JUNK")  # the space that an AVI keeps in its header: the date takes the first of it
    size = struct.unpack("<I", data[place + 4 : place + 8])[0] - 8 - len(date)
    chunk = b"IDIT" + struct.pack("<I", len(date)) + date + b"JUNK" + struct.pack("<I", size)
    path.write_bytes(data[:place] + chunk + data[place + len(chunk) :])
    assert video_captured_at(path) == datetime(2019, 2, 2, 4, 5, 6)


def test_metadata_that_is_no_text_hurts_nothing(video: Make) -> None:
    path = video("a.avi", title="caf_")
    path.write_bytes(path.read_bytes().replace(b"caf_", b"caf\xe9"))
    assert len(read(path)[0]) == 50


@pytest.mark.skipif(not REAL.is_dir(), reason="../shared/real/camera_trap_media is not here")
def test_real_camera_trap_media() -> None:
    found = find([REAL])
    videos = [file.path for file in found.files if file.is_video]
    assert (len(found.files), len(videos), found.left_aside, found.unreadable) == (34, 10, {".json": 2, ".csv": 1}, [])
    seen = {Path(path).name: [(frame.number, frame.seconds) for frame in frames(REAL / path, 0.1)] for path in videos}
    every_ten = [(second, second) for second in range(0, 70, 10)]
    assert seen.pop("09190048_Hyena.AVI") == every_ten[:2]
    assert seen.pop("EK000018.AVI") == every_ten[:6]
    lacking_one = [(0, 0), *((second - 1, second) for second in range(10, 70, 10))]  # there is no frame for second 1
    for name in ("02120086.AVI", "07120049.AVI", "FID_31_Abel_2013-5-6_0027.AVI"):
        assert seen.pop(name) == lacking_one
    assert list(seen.values()) == [every_ten] * 5
