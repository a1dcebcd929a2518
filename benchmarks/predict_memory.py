"""Memory of `stages.predict` at growing numbers of files: the photos of a folder, linked under new names.

python benchmarks/predict_memory.py MODEL PHOTOS [N ...]      prints peak resident memory, seconds of looking and of all
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

from stages import media


def main():
    model, photos, *counts = sys.argv[1:]
    found = media.find([Path(photos)])
    pictures = [found.root / file.path for file in found.files if not file.is_video]
    for count in map(int, counts or ["1000", "20000"]):
        with tempfile.TemporaryDirectory() as folder:
            for number, source in enumerate(islice(cycle(pictures), count)):
                place = Path(folder) / "card" / f"{number // 1000:03}" / f"IMG_{number:06}{source.suffix}"
                place.parent.mkdir(parents=True, exist_ok=True)
                place.symlink_to(source)
            out = Path(folder) / "out"
            start = time.perf_counter()
            command = ["-m", "stages.predict", model, str(Path(folder) / "card"), "--out", str(out), "--sequence-gap", "60"]
            subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            seconds = time.perf_counter() - start
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024  # of the largest child so far
            rows = len(json.loads((out / "megadetector.json").read_text())["images"])
            print(f"{count:7} files: peak {peak:6.0f} MiB, {seconds:6.1f} s, {rows} in megadetector.json", flush=True)


if __name__ == "__main__":
    main()
