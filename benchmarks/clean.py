"""How fast `clean` looks at pictures, against a plain PIL loop that finds the same faults: open, decode, hash.

    PYTHONPATH=. python benchmarks/clean.py FOLDER      a folder of pictures; ratios, since machines are shared and noisy

Both are run by turns, three times each, on the same files in the page cache; the best of each counts.
"""

import hashlib
import io
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from PIL import Image
from tqdm.contrib.concurrent import process_map

from stages.clean import _inspect_one
from stages.pictures import MAX_PIXELS


def plain(path: Path) -> tuple[int, int, str]:
    data = path.read_bytes()
    with Image.open(io.BytesIO(data)) as image:
        rgb = image.convert("RGB")
    return *rgb.size, hashlib.sha256(data).hexdigest()


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def main() -> None:
    root = Path(sys.argv[1])
    paths = sorted(path for path in root.rglob("*") if path.suffix.lower() in {".jpg", ".jpeg"})
    jobs = [(path.relative_to(root).as_posix(), None) for path in paths]
    look = partial(_inspect_one, root=root, max_pixels=MAX_PIXELS)
    quiet = {"disable": True, "chunksize": 16}
    runs: dict[str, Callable[[], object]] = {
        "plain PIL loop, one core": lambda: [plain(path) for path in paths],
        "clean, one core": lambda: [look(job) for job in jobs],
        "clean, two cores": lambda: process_map(look, jobs, max_workers=2, **quiet),
    }
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(3):
        for name, run in runs.items():
            best[name] = min(best[name], seconds(run))
    with Image.open(paths[0]) as first:
        print(f"{len(paths)} pictures, the first {first.size}; {os.cpu_count()} cores")
    for name, took in best.items():
        print(f"{name:26} {len(paths) / took:8.0f} pictures/s")
    base, one, two = best.values()
    print(f"one core: {base / one:.2f} times the plain loop; two cores: {one / two:.2f} times one core")


if __name__ == "__main__":
    main()
