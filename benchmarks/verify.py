"""What it takes to know that a whole run is as it was made: `stages.verify` beside `sha256sum` and DVC, in seconds and MB/s.

    PYTHONPATH=. python benchmarks/verify.py FOLDER [REPEATS]      a folder where a run has finished; medians of REPEATS (3)

Warm: the files are in memory. Cold: they were dropped from it before each time. `dvc status` is measured with its database,
when it hashes nothing, and with an empty one, when it hashes everything; the database lies in a folder of its own meanwhile.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from stages.verify import OUTPUTS, manifests

ROOT = Path(__file__).parent.parent


def listed(folder):
    """Every file that a manifest names."""
    found = manifests(folder / output for output in OUTPUTS)
    return [manifest.parent / name for manifest in found for name in json.loads(manifest.read_text())]


def forget(paths):
    """Drop files from memory, as after a start of the machine."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def seconds(words, folder, given, environ):
    start = time.perf_counter()
    done = subprocess.run(words, cwd=folder, input=given, env=os.environ | environ, capture_output=True, check=False)
    if done.returncode not in ((0, 1) if words[0] == "dvc" else (0,)):  # 1: `look` always runs
        raise SystemExit(f"{' '.join(words)}: exit code {done.returncode}\n{(done.stdout + done.stderr).decode()[-2000:]}")
    return time.perf_counter() - start


def main():
    folder, repeats = Path(sys.argv[1]).resolve(), int(sys.argv[2]) if len(sys.argv) > 2 else 3
    files = listed(folder)
    total = sum(path.stat().st_size for path in files)
    names = b"\0".join(str(path).encode() for path in files)
    own = {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    python = [sys.executable, "-P", "-m"]
    print(f"{folder}: {len(files):,} files, {total:,} bytes, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as kept:
        hashed = {"DVC_SITE_CACHE_DIR": f"{kept}/kept"}
        seconds(["dvc", "status", "-q"], folder, None, hashed)
        rows = {
            "python -m stages.verify": lambda: seconds([*python, "stages.verify"], folder, None, own),
            "sha256sum": lambda: seconds(["xargs", "-0", "sha256sum"], folder, names, {}),
            "dvc status": lambda: seconds(["dvc", "status", "-q"], folder, None, hashed),
            "dvc status, hashing all": lambda: seconds(
                ["dvc", "status", "-q"], folder, None, {"DVC_SITE_CACHE_DIR": tempfile.mkdtemp(dir=kept)}
            ),
            "python -m stages.doctor": lambda: seconds([*python, "stages.doctor"], folder, None, own),
            "python -m stages.doctor --all": lambda: seconds([*python, "stages.doctor", "--all"], folder, None, own),
        }
        print(f"{'':30} {'warm s':>8} {'MB/s':>8} {'cold s':>8} {'MB/s':>8}")
        for name, measure in rows.items():
            cells = []
            for cold in (False, True):
                times = []
                for _ in range(repeats):
                    if cold:
                        forget(files)
                    times.append(measure())
                cells += [f"{statistics.median(times):8.2f}", f"{total / statistics.median(times) / 1e6:8,.0f}"]
            print(f"{name:30} {' '.join(cells)}", flush=True)


if __name__ == "__main__":
    main()
