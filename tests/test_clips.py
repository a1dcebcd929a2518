"""The clips stage by its command line: which frames it stores, of which clips, and what it does after a fault."""

import contextlib
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import psutil
import pytest
from safetensors.numpy import load_file

from stages.clips import ClipsSettings, store
from stages.files import MANIFEST, DataError, check_manifest, read_json, sha256_file
from stages.pictures import LostPicture, decode, jpeg, resize
from stages.samples import Samples, read_samples
from stages.stored_clips import StoredClips
from stages.video_files import every_frame
from tests.clip_helpers import every, number_of, write_clean, write_folder, write_gif, write_splits, write_video
from tests.disk_helpers import fill, small_disk

SETTINGS = {"fps": 30, "short_side_px": 24, "jpeg_quality": 90, "per_shard": 2}
PARTS = {
    "many": {"a25": "train", "b60": "train", "cvar": "val", "dgif": "test", "efolder": "test", "unused": "unused"},
    "few": {"a25": "train", "b60": "unused", "cvar": "val", "dgif": "test", "efolder": "test", "unused": "unused"},
}
USED = ["a25", "b60", "cvar", "dgif", "efolder"]
SHOWN = {  # which source frames, by frame of the clip
    "a25": [0, 1, 1, 2, 3, 4, 5, 6, 6, 7, 8, 9],
    "b60": [0, 2, 4, 6, 8],
    "cvar": [0, 0, 0, 2, 3, 3, 3, 3, 3, 4, 4],
    "dgif": [0, 0, 0, 1, 1, 1, 2, 2, 2],
    "efolder": list(range(12)),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """clips/, clean/ and splits/."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "clips").mkdir()
    write_video(folder / "clips" / "a25.mp4", every(25, 10))
    write_video(folder / "clips" / "b60.avi", every(60, 10))
    write_video(folder / "clips" / "cvar.mkv", [0.0, 0.1, 0.11, 0.12, 0.3], ticks=1000)
    write_gif(folder / "clips" / "dgif.gif", 3, every_ms=100)
    write_folder(folder / "clips" / "efolder", 12)  # frame10 follows frame9
    write_video(folder / "clips" / "unused.mp4", every(30, 3))
    write_clean(folder / "clips", folder / "clean")
    write_splits(folder / "splits", PARTS)
    return folder


@pytest.fixture
def data(made: Path, tmp_path: Path) -> Path:
    """A copy of its tables and lists, to spoil; the clips lie in `made`."""
    for name in ("clean", "splits"):
        shutil.copytree(made / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def clips(stage: Callable[..., Any], data: Path) -> Callable[..., Any]:
    def go(out: str = "out", **settings: Any) -> Any:
        places = ("--clean", "clean", "--splits", "splits", "--work", "work", "--out", out)
        return stage("clips", "--params", "clips", *places, params={"clips": SETTINGS | settings})

    return go


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def moved(samples: Samples, root: Path) -> Samples:
    """The same samples with copies of their files in `root`."""
    shutil.copytree(samples.root, root)
    return Samples(samples.pictures, samples.boxes, root, samples.data, videos=samples.videos)


def test_fault_58_what_is_stored_and_what_was_done_is_counted(clips: Callable[..., Any], data: Path, made: Path) -> None:
    done = clips()
    assert done.code == 0, done.err
    assert check_manifest(data / "out") == []
    stored = StoredClips(data / "out")
    assert stored.fps == 30
    for name, shown in SHOWN.items():
        assert stored.frames(name) == len(shown)
        assert [number_of(frame) for frame in stored(name, range(len(shown)))] == shown
        assert stored.size(name) == (48, 24)
    index = pd.read_parquet(data / "out" / "index.parquet")
    assert index["sample_id"].tolist() == USED
    assert index["shard"].tolist() == [f"0000{shard}.safetensors" for shard in (0, 0, 1, 1, 2)]
    assert index["row"].tolist() == [0, 1, 0, 1, 0]
    assert [len(offsets) - 1 for offsets in index["offsets"]] == [10, 5, 4, 3, 12], "what is shown twice is stored once"
    counts = read_json(data / "out" / "made.json")["counts"]
    size = sum(load_file(path)["jpeg"].size for path in (data / "out" / "shards").iterdir())
    assert counts == {
        "clips": 5,
        "frames": 12 + 5 + 11 + 9 + 12,
        "stored_frames": 10 + 5 + 4 + 3 + 12,
        "bytes": size,
        "resampled": 4,
        "variable_rate": 1,
        "rotated": 0,
        "made_smaller": 5,
        "shorter_than": {"15 frames": 5, "63 frames": 5},
    }
    assert read_json(data / "out" / "made.json")["settings"] == SETTINGS
    assert "5 clips, 49 frames at 30 a second, 34 stored" in done.out


def test_it_stands_for_the_clean_stage(clips: Callable[..., Any], data: Path) -> None:
    clips()
    for name in ("samples.parquet", "videos.parquet", "boxes.parquet", "source.json"):
        assert (data / "out" / name).read_bytes() == (data / "clean" / name).read_bytes()
    assert len(read_samples(data / "out").videos) == 6


def test_a_stored_frame_is_a_jpeg_of_the_quality_asked_for(made: Path, tmp_path: Path) -> None:
    samples = read_samples(made / "clean")
    for quality in (20, 90):
        store(
            samples, ["a25"], ClipsSettings(**SETTINGS | {"jpeg_quality": quality}), tmp_path / "work", tmp_path / f"{quality}"
        )
    rough, fine = (read_json(tmp_path / f"{quality}" / "made.json")["counts"]["bytes"] for quality in (20, 90))
    assert rough < fine
    data = load_file(tmp_path / "90" / "shards" / "00000.safetensors")["jpeg"].tobytes()
    assert (data[:3], data[-2:]) == (b"\xff\xd8\xff", b"\xff\xd9")


@pytest.mark.parametrize(
    ("size", "short_side_px", "stored"),
    [
        ((64, 32), 340, (64, 32)),
        ((64, 32), 32, (64, 32)),
        ((64, 32), 20, (40, 20)),
        ((32, 64), 20, (20, 40)),
        ((66, 32), 31, (64, 31)),
    ],
)
def test_frames_shrink_by_their_shorter_side_and_never_grow(
    tmp_path: Path, size: tuple[int, int], short_side_px: int, stored: tuple[int, int]
) -> None:
    (tmp_path / "clips").mkdir()
    write_video(tmp_path / "clips" / "a.mp4", every(30, 4), *size)
    write_clean(tmp_path / "clips", tmp_path / "clean")
    settings = ClipsSettings(**SETTINGS | {"short_side_px": short_side_px})
    store(read_samples(tmp_path / "clean"), ["a"], settings, tmp_path / "work", tmp_path / "out")
    clip = StoredClips(tmp_path / "out")
    assert clip.size("a") == stored
    assert clip("a", [0, 3]).shape == (2, stored[1], stored[0], 3)


def test_a_turned_clip_is_stored_upright_and_counted(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    path = write_video(tmp_path / "clips" / "a.mp4", every(30, 4))
    data = path.read_bytes()
    place = data.index(b"tkhd") + 44  # of the matrix that says how to show it
    quarter = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(data[:place] + quarter + data[place + 36 :])
    write_clean(tmp_path / "clips", tmp_path / "clean")
    made = store(read_samples(tmp_path / "clean"), ["a"], ClipsSettings(**SETTINGS), tmp_path / "work", tmp_path / "out")
    assert made["counts"]["rotated"] == 1
    assert StoredClips(tmp_path / "out").size("a") == (24, 48)


def test_the_number_of_workers_changes_no_byte(made: Path, tmp_path: Path) -> None:
    samples = read_samples(made / "clean")
    for workers in (1, 2):
        places = tmp_path / f"work{workers}", tmp_path / f"out{workers}"
        store(samples, USED, ClipsSettings(**SETTINGS), *places, workers=workers)
    assert contents(tmp_path / "out1") == contents(tmp_path / "out2")


def test_killed_it_goes_on_and_leaves_nothing_running(made: Path, tmp_path: Path) -> None:
    """The fourth clip is a pipe that nobody writes to; the first shard is there by then."""
    samples = moved(read_samples(made / "clean"), tmp_path / "clips")
    gif = tmp_path / "clips" / "dgif.gif"
    gif.rename(tmp_path / "aside")
    os.mkfifo(gif)
    command, environment = two_workers(made / "clean", tmp_path, USED, SETTINGS)
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: len(list(tmp_path.glob("work/out/*/00000.json"))) == 1)
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 2
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (tmp_path / "out").exists()
    wait_for(lambda: not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children))

    gif.unlink()
    (tmp_path / "aside").rename(gif)
    (first,) = tmp_path.glob("work/out/*/00000.safetensors")
    written = first.stat().st_mtime_ns
    again = subprocess.run(command, cwd=tmp_path, env=environment, check=False, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "out" / "shards" / "00000.safetensors").stat().st_mtime_ns == written, "not made twice"
    assert not list(tmp_path.glob("work/out/*/passed-*")), "what the killed run left is cleared away"
    store(samples, USED, ClipsSettings(**SETTINGS), tmp_path / "work2", tmp_path / "whole", workers=1)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def two_workers(clean: Path, folder: Path, ids: Sequence[str], settings: dict[str, Any]) -> tuple[list[str], dict[str, str]]:
    """A program, and its environment, that stores the clips of folder/clips in folder/out."""
    script = folder / "script.py"
    script.write_text(
        f"""
from pathlib import Path
from dataclasses import replace
from stages.clips import ClipsSettings, store
from stages.samples import read_samples
from stages.command import run
def main():
    samples = replace(read_samples(Path({str(clean)!r})), root=Path({str(folder / "clips")!r}))
    store(samples, {ids}, ClipsSettings(**{settings}), Path("work"), Path("out"), workers=2)
if __name__ == "__main__":
    run(main)
"""
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])}
    return [sys.executable, str(script)], environment


def write_noise(path: Path, count: int) -> None:
    path.mkdir()
    for number in range(count):
        noise = np.random.default_rng(number).integers(0, 256, (200, 300, 3), dtype=np.uint8)
        cv2.imwrite(str(path / f"frame{number}.png"), noise)


def test_a_killed_worker_stops_the_run_whatever_it_was_sending(tmp_path: Path) -> None:
    """`big` takes more bytes than a pipe holds; its worker is killed while the parent, stopped, takes none. The other one
    waits for `other`.
    """
    (tmp_path / "clips").mkdir()
    write_noise(tmp_path / "clips" / "big", 20)
    write_video(tmp_path / "clips" / "other.mp4", every(30, 4))
    write_clean(tmp_path / "clips", tmp_path / "clean")
    settings = SETTINGS | {"short_side_px": 200, "per_shard": 1}
    pipes = [tmp_path / "clips" / "big" / "frame0.png", tmp_path / "clips" / "other.mp4"]
    real = [path.rename(tmp_path / path.name) for path in pipes]
    for path in pipes:
        os.mkfifo(path)
    command, environment = two_workers(tmp_path / "clean", tmp_path, ["big", "other"], settings)
    parent = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        ends = [writing_end(path) for path in pipes]
        reader = next(child for child in psutil.Process(parent.pid).children() if str(pipes[0]) in opened(child))
        parent.send_signal(signal.SIGSTOP)
        shutil.copyfile(real[0], tmp_path / "whole.png")
        os.replace(tmp_path / "whole.png", pipes[0])
        os.write(ends[0], real[0].read_bytes())
        os.close(ends[0])
        wait_for(lambda: is_idle(reader))
        reader.kill()
        parent.send_signal(signal.SIGCONT)
        _, said = parent.communicate(timeout=60)
    finally:
        for child in [*psutil.Process(parent.pid).children(), parent] if parent.poll() is None else []:
            child.kill()
    os.close(ends[1])
    assert parent.returncode == 1 and "error: a process that was reading clips was ended from outside" in said
    assert not (tmp_path / "out").exists()

    os.replace(real[1], pipes[1])
    again = subprocess.run(command, cwd=tmp_path, env=environment, check=False, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert not list(tmp_path.glob("work/out/*/passed-*"))
    store(
        read_samples(tmp_path / "clean"),
        ["big", "other"],
        ClipsSettings(**settings),
        tmp_path / "w",
        tmp_path / "whole",
        workers=1,
    )
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert (tmp_path / "out" / "shards" / "00000.safetensors").stat().st_size > 1_000_000


def writing_end(pipe: Path) -> int:
    """Of a named pipe, as soon as somebody reads it."""
    found: list[int] = []

    def there() -> bool:
        with contextlib.suppress(OSError):
            found.append(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
        return bool(found)

    wait_for(there)
    os.set_blocking(found[0], True)
    return found[0]


def opened(process: psutil.Process) -> list[str]:
    return [os.readlink(path) for path in Path(f"/proc/{process.pid}/fd").iterdir()]


def is_idle(process: psutil.Process, seconds: float = 0.5) -> bool:
    before = process.cpu_times()
    time.sleep(seconds)
    return process.cpu_times() == before


def wait_for(true: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def test_fault_46_a_damaged_shard_alone_is_made_anew(clips: Callable[..., Any], data: Path) -> None:
    clips()
    whole, path = contents(data / "out"), data / "out" / "shards" / "00001.safetensors"
    times = {shard.name: shard.stat().st_ino for shard in path.parent.iterdir()}
    spoiled = bytearray(path.read_bytes())
    spoiled[-9] ^= 1
    path.write_bytes(spoiled)
    done = clips()
    assert done.code == 0 and f"out/shards/{path.name}: damaged: " in done.err and "It is made anew" in done.err
    assert contents(data / "out") == whole
    assert [shard.name for shard in sorted(path.parent.iterdir()) if times[shard.name] != shard.stat().st_ino] == [path.name]


def test_other_settings_make_other_shards(clips: Callable[..., Any], data: Path) -> None:
    clips()
    assert clips(fps=15).code == 0
    assert StoredClips(data / "out").frames("efolder") == 6
    assert StoredClips(data / "out").fps == 15


@pytest.mark.parametrize(("fault", "workers"), [("altered", 1), ("gone", 1), ("frame", 1), ("renamed", 1), ("altered", 2)])
def test_fault_39_a_clip_that_changed_since_clean_is_refused(made: Path, tmp_path: Path, fault: str, workers: int) -> None:
    samples = moved(read_samples(made / "clean"), tmp_path / "clips")
    path = tmp_path / "clips" / ("b60.avi" if fault in ("altered", "gone") else "efolder")
    if fault == "altered":
        write_video(path, every(60, 11))
    elif fault == "gone":
        path.unlink()
    elif fault == "frame":
        (path / "frame3.png").unlink()
    else:
        (path / "frame3.png").rename(path / "frame13.png")
    with pytest.raises(LostPicture, match=f"{path}: (altered since it was cleaned|cannot be read any more)"):
        store(samples, USED, ClipsSettings(**SETTINGS), tmp_path / "work", tmp_path / "out", workers=workers)
    assert not (tmp_path / "out").exists()


def test_fault_58_damage_that_clean_did_not_see_is_told(made: Path, tmp_path: Path) -> None:
    """As where another libav decodes: the file is as it was, but its frames do not come out."""
    samples, path = moved(read_samples(made / "clean"), tmp_path / "clips"), tmp_path / "clips" / "a25.mp4"
    path.write_bytes(path.read_bytes()[:-400])
    samples.pictures.loc[samples.pictures["sample_id"] == "a25", "sha256"] = sha256_file(path)
    with pytest.raises(LostPicture, match=r"a25\.mp4: cannot be read any more: .*\. Restore it, or run `dvc repro`$"):
        store(samples, USED, ClipsSettings(**SETTINGS), tmp_path / "work", tmp_path / "out")


def test_fault_47_no_room_on_the_disk_is_told_before_anything_is_read(made: Path, tmp_path: Path) -> None:
    samples = read_samples(made / "clean")
    with small_disk(tmp_path / "disk", size_kib=64) as disk:
        fill(disk, leave_bytes=8192)
        with pytest.raises(DataError, match="5 clips needs [0-9,]+ bytes, .* has [48],[0-9]{3} free. Make room there"):
            store(samples, USED, ClipsSettings(**SETTINGS), disk / "work", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_there_is_room_for_is_enough(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr("stages.clips.require_space", lambda _folder, needed_bytes, _doing: asked.append(needed_bytes))
    store(read_samples(made / "clean"), USED, ClipsSettings(**SETTINGS), tmp_path / "work", tmp_path / "out")
    frames = 10 + 6 + 5 + 3 + 12  # of 60 a second half and one, of all others each
    assert asked == [pytest.approx(frames * 48 * 24 * 0.6, abs=1)]


def test_a_clip_that_is_not_in_the_tables(made: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="1 clips are not in the tables, nobody for example"):
        store(read_samples(made / "clean"), ["a25", "nobody"], ClipsSettings(**SETTINGS), tmp_path / "work", tmp_path / "out")


def test_fault_32_a_split_that_uses_no_clip(clips: Callable[..., Any], data: Path) -> None:
    shutil.rmtree(data / "splits")
    write_splits(data / "splits", {"many": {"a25": "unused"}})
    done = clips()
    assert done.code == 1 and "splits: no clip is in a part of any version" in done.err


def test_a_data_set_of_photos(clips: Callable[..., Any], data: Path) -> None:
    (data / "clean" / "videos.parquet").unlink()
    listed = read_json(data / "clean" / MANIFEST)
    del listed["videos.parquet"]
    (data / "clean" / MANIFEST).write_text(pd.Series(listed).to_json())
    done = clips()
    assert done.code == 1 and "clean: no clips there, but photos" in done.err


def test_fault_39_altered_inputs_are_refused(clips: Callable[..., Any], data: Path) -> None:
    with (data / "splits" / "few" / "parts.csv").open("a") as file:
        file.write("\n")
    done = clips()
    assert done.code == 1 and "few/parts.csv" in done.err and "Get it anew" in done.err


@pytest.mark.parametrize(
    "wrong", [{"fps": 0.0}, {"short_side_px": 0}, {"jpeg_quality": 96}, {"per_shard": 0}, {"short_side": 340}]
)
def test_settings_that_make_no_sense_are_refused(clips: Callable[..., Any], wrong: dict[str, Any]) -> None:
    done = clips(**wrong)
    assert done.code == 1 and f"clips.{next(iter(wrong))}" in done.err


@pytest.mark.parametrize("subsampling", ["4:2:0", "4:4:4"])
def test_opencv_decodes_to_the_very_pixels_of_pil(subsampling: str) -> None:
    """So stored frames look the same whichever of the two reads them."""
    rgb = np.random.default_rng(0).integers(0, 256, (45, 65, 3)).astype(np.uint8)
    data = jpeg(rgb, 90, subsampling)
    assert np.array_equal(cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR_RGB), decode(data)[0])


def test_real_clips(tmp_path: Path) -> None:
    root = Path("../shared/real")
    if not root.is_dir():
        pytest.skip("no ../shared/real here")
    (tmp_path / "clips").mkdir()
    for path in ("animal_kingdom/clips/BCIMLRLL.mp4", "kabr/ZG0658-Graze.gif"):
        shutil.copy(root / path, tmp_path / "clips")
    write_clean((tmp_path / "clips").resolve(), tmp_path / "clean")
    places = tmp_path / "work", tmp_path / "out"
    made = store(read_samples(tmp_path / "clean"), ["BCIMLRLL", "ZG0658-Graze"], ClipsSettings.model_validate({}), *places)
    stored = StoredClips(tmp_path / "out")
    assert (stored.frames("BCIMLRLL"), stored.size("BCIMLRLL")) == (30, (604, 340))  # 24 frames in 1 s, 640 x 360 px
    assert (stored.frames("ZG0658-Graze"), stored.size("ZG0658-Graze")) == (98, (280, 210))  # 25 frames, one in 0.13 s
    assert made["counts"]["stored_frames"] == 24 + 25 and made["counts"]["resampled"] == 2
    middle = next(frame.rgb for frame in every_frame(root / "animal_kingdom/clips/BCIMLRLL.mp4") if frame.number == 12)
    assert cv2.PSNR(stored("BCIMLRLL", [15])[0], resize(middle, 604, 340)) > 35
