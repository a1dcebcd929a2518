"""Clips whose frames tell their number by how bright they are, and the tables that `clean` and `split` make of them."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pandas as pd
from PIL import Image

from stages.clean_videos import inspect_video
from stages.files import new_folder, write_json
from stages.samples import BOXES, SAMPLES, VIDEOS, no_rows

WIDE, HIGH = 64, 32


def shade(number: int) -> int:
    """How bright frame `number` is, 0 to 39."""
    return 20 + 5 * number


def number_of(rgb: np.ndarray) -> int:
    return round((float(rgb.mean()) - 20) / 5)


def picture(number: int, width: int = WIDE, height: int = HIGH) -> np.ndarray:
    return np.full((height, width, 3), shade(number), dtype=np.uint8)


def write_video(path: Path, times_s: Iterable[float], width: int = WIDE, height: int = HIGH, ticks: int = 60000) -> Path:
    """Frames 0, 1, ... at these times, which are rounded to 1 / `ticks` s."""
    with av.open(path, "w") as container:
        stream: Any = container.add_stream("mjpeg" if path.suffix == ".avi" else "mpeg4", rate=30)
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuvj420p" if path.suffix == ".avi" else "yuv420p"
        stream.bit_rate = 4_000_000
        stream.codec_context.time_base = Fraction(1, ticks)
        for number, time_s in enumerate(times_s):
            frame = av.VideoFrame.from_ndarray(picture(number, width, height), format="rgb24")
            frame.pts, frame.time_base = round(time_s * ticks), Fraction(1, ticks)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_gif(path: Path, count: int, every_ms: int) -> Path:
    first, *rest = (Image.fromarray(picture(number)) for number in range(count))
    first.save(path, save_all=True, append_images=rest, duration=every_ms, loop=0)
    return path


def write_folder(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        Image.fromarray(picture(number)).save(folder / f"frame{number}.png")
    return folder


def every(rate: float, count: int) -> list[float]:
    """The times in s of `count` frames, so many a second."""
    return [number / rate for number in range(count)]


def write_clean(root: Path, out: Path) -> None:
    """`out`, as `clean` leaves it, of everything in `root`; a clip's id is its name without its ending."""
    pictures, videos = [], []
    for path in sorted(root.iterdir()):
        found = inspect_video(path)
        known = {name: getattr(found, name) for name in ("width_px", "height_px", "infrared", "bytes", "sha256", "phash")}
        unknown = {
            "location": None,
            "species": None,
            "frame_num": pd.NA,
            "captured_at": pd.NaT,
            "given_split": None,
            "note": "",
        }
        key = {"sample_id": path.stem}
        pictures.append({**key, "path": path.name, "label": "walking", "seq_id": path.stem, **unknown, **known})
        videos.append({**key, **{name: getattr(found, name) for name in VIDEOS.columns if name != "sample_id"}})
    table = pd.DataFrame(pictures)[list(SAMPLES.columns)]
    types = {"frame_num": "Int64", "captured_at": "datetime64[us]"}
    text = dict.fromkeys(["location", "species", "given_split"], "object")
    with new_folder(out) as folder:
        table.astype(types | text).to_parquet(folder / "samples.parquet", index=False)
        pd.DataFrame(videos).to_parquet(folder / "videos.parquet", index=False)
        no_rows(BOXES).to_parquet(folder / "boxes.parquet", index=False)
        write_json(folder / "source.json", {"root": str(root), "data": "embedded"})


def write_splits(out: Path, versions: dict[str, dict[str, str]]) -> None:
    """`out`, as `split` leaves it: of each version the part of each clip."""
    with new_folder(out) as folder:
        for name, parts in versions.items():
            (folder / name).mkdir()
            table = pd.DataFrame({"sample_id": parts.keys(), "part": parts.values(), "also": ""})
            table.to_csv(folder / name / "parts.csv", index=False)
