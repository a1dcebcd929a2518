"""Report generation for 20,000 predictions of each of three models: seconds and peak memory of `stages.report`.

    PYTHONPATH=. python benchmarks/report.py [N] [CLASSES]      N pictures that are predicted (20,000), of CLASSES (17)

A data set with locations and bursts is made in a temporary folder: a fifth as many pictures again to train on, small JPEGs of
which some share their bytes, a box in each that is not empty. Two classifiers and a detector answer by chance and are scored by
the evaluate stage; then the report stage runs as its own process, and the index.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from PIL import Image

from stages.files import new_folder, sha256_file, write_json
from stages.predictions import TABLE, box_rows, class_rows
from stages.samples import BOX_COLUMNS, EMPTY, check_tables
from stages.split import report as split_report

FILES, WIDTH, HEIGHT, BURST, LOCATIONS = 200, 640, 480, 3, 40
PARTS = {"train": 1 / 6, "val": 0.25, "seen": 0.25, "unseen": 1 / 3}
DRAWS = ("--draws", "200", "--map_draws", "20")  # scoring is not what is measured
NAME = "d"


def photos(raw, rng):
    """Noise on a gradient, so that a JPEG has something to code: their paths and hashes."""
    raw.mkdir()
    for number in range(FILES):
        ground = np.linspace(60, 180, WIDTH)[None, :, None] + rng.normal(0, 12, (HEIGHT, WIDTH, 3))
        Image.fromarray(ground.clip(0, 255).astype(np.uint8)).save(raw / f"{number:03}.jpg", quality=85)
    return [(path.name, sha256_file(path), path.stat().st_size) for path in sorted(raw.iterdir())]


def tables(n, classes, files, rng):
    """Samples and boxes of n pictures; a burst has one location and one label."""
    number = np.arange(n)
    burst, of_file = number // BURST, [files[k % FILES] for k in number]
    labels = np.array([EMPTY, *classes])[rng.integers(0, len(classes) + 1, burst.max() + 1)][burst]
    pictures = pd.DataFrame(
        {
            "sample_id": [f"p{k:06}" for k in number],
            "path": [name for name, _, _ in of_file],
            "label": labels,
            "location": [f"site {k % LOCATIONS:02}" for k in burst],
            "species": None,
            "seq_id": [f"s{k:06}" for k in burst],
            "frame_num": number % BURST,
            "captured_at": pd.Timestamp("2020-01-01") + pd.to_timedelta(number, unit="min"),
            "given_split": None,
            "width_px": WIDTH,
            "height_px": HEIGHT,
            "infrared": burst % 2 == 0,
            "bytes": [size for _, _, size in of_file],
            "sha256": [sha for _, sha, _ in of_file],
            "phash": [f"{k:016x}" for k in number],
            "note": "",
        }
    )
    pictures = pictures.astype({"frame_num": "Int64", "captured_at": "datetime64[us]"})
    animals = pictures.loc[pictures["label"] != EMPTY, ["sample_id", "label"]].reset_index(drop=True)
    return check_tables(pictures, animals.join(places(len(animals), rng)))


def places(n, rng):
    """Boxes by chance."""
    left, top = rng.uniform(0, WIDTH - 200, n), rng.uniform(0, HEIGHT - 200, n)
    return pd.DataFrame(dict(zip(BOX_COLUMNS, [left, top, left + 150, top + 120], strict=True)))


def predicted(pictures, boxes, classes, rng):
    """What two classifiers and a detector say of pictures: right in about 7 of 10."""
    known = [EMPTY, *classes]
    found = {}
    for name in ("d-one-class", "d-two-class"):
        scores = rng.dirichlet(np.full(len(known), 0.5), len(pictures))
        right = rng.random(len(pictures)) < 0.7
        for row, label in zip(np.flatnonzero(right), pictures["label"].to_numpy()[right], strict=True):
            best, own = scores[row].argmax(), known.index(label)
            scores[row, [best, own]] = scores[row, [own, best]]
        found[name] = class_rows(pd.DataFrame(scores, index=pictures["sample_id"].to_numpy(), columns=known))
    own = boxes[boxes["sample_id"].isin(pictures["sample_id"]) & (rng.random(len(boxes)) < 0.8)]
    own = own.assign(score=rng.uniform(0.2, 1, len(own)))
    stray = pictures[["sample_id"]].sample(frac=0.3, random_state=0).reset_index(drop=True)
    stray = stray.assign(label=rng.choice(classes, len(stray)), score=rng.uniform(0, 0.6, len(stray)))
    found["d-boxes-class"] = box_rows(pd.concat([own, stray.join(places(len(stray), rng))]), pictures["sample_id"])
    return found


def make(folder, n, classes):
    """The whole of a project in `folder`, up to its metrics."""
    rng = np.random.default_rng(0)
    pictures, boxes = tables(round(n * 1.2), classes, photos(folder / "raw", rng), rng)
    ends = (np.cumsum(list(PARTS.values())) * len(pictures) / BURST).round().astype(int) * BURST
    parts = np.array(list(PARTS))[np.searchsorted(ends, np.arange(len(pictures)), side="right").clip(max=len(PARTS) - 1)]
    with new_folder(folder / "clean") as out:
        pictures.to_parquet(out / "samples.parquet", index=False)
        boxes.to_parquet(out / "boxes.parquet", index=False)
        pd.DataFrame(columns=["kind", "row", "name", "reason", "detail"]).to_csv(out / "rejects.csv", index=False)
        source = {"root": str(folder / "raw"), "data": "your data", "citation": "made", "licence": "none"}
        write_json(out / "source.json", source)
        counts = {"in": len(pictures), "kept": len(pictures), "rejected": 0}
        write_json(
            out / "counts.json", {"pictures": counts, "annotations": {"boxes": len(boxes)}, "rejected_because": {"picture": {}}}
        )
    with new_folder(folder / "splits") as out:
        (out / "class").mkdir()
        listed = pd.DataFrame({"sample_id": pictures["sample_id"], "part": parts})
        listed.to_csv(out / "class" / "parts.csv", index=False)
        write_json(out / "report.json", {"class": split_report(pictures, pd.Series(parts), 3) | {"warnings": []}})
    told = pictures[parts != "train"].reset_index(drop=True)
    for name, rows in predicted(told, boxes, classes, rng).items():
        with new_folder(folder / "predictions" / name) as out:
            rows.to_parquet(out / TABLE, index=False)
        with new_folder(folder / "models" / name) as out:
            card = {"classes": [EMPTY, *classes], "trained_on": {"data": "your data", "train": int((parts == "train").sum())}}
            write_json(out / "model.json", card | {"started_from": "scratch", "as_built": "chance"})
        call(folder, "stages.evaluate", "--model", name, *DRAWS, "--trained", f"models/{name}",
             "--predictions", f"predictions/{name}", "--clean", "clean", "--split", "splits/class", "--seed", "0",
             "--answers", f"answers/{name}", "--metrics", "metrics")  # fmt: skip
    (folder / "shows.json").write_text(json.dumps({}))
    models = {name: {"dataset": NAME} for name in ("d-one-class", "d-two-class", "d-boxes-class")}
    (folder / "params.yaml").write_text(yaml.safe_dump({"datasets": {NAME: {}}, "models": models}))


def call(folder, module, *words):
    """Run a stage in its own process; its seconds, processor seconds and peak memory in MiB."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent), "OMP_NUM_THREADS": "1"}
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", module, *words], cwd=folder, env=environment, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, f"{module} failed"
    return time.perf_counter() - start, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def main():
    if sys.argv[1:2] == ["make"]:
        folder, n, count = sys.argv[2:]
        make(Path(folder), int(n), [f"animal {number:02}" for number in range(int(count) - 1)])
        return
    n, count = [*sys.argv[1:], *("20000", "17")[len(sys.argv) - 1 :]]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # In a process of its own: what this one holds would count as its children's peak.
        subprocess.run([sys.executable, __file__, "make", name, n, count], check=True)
        words = ["--dataset", NAME, "--clean", "clean", "--splits", "splits", "--metrics", "metrics", "--answers", "answers",
                 "--predictions", "predictions", "--shows", "shows.json"]  # fmt: skip
        for what, arguments in (("report", words), ("index", ["--index"])):
            seconds, busy, peak = call(folder, "stages.report", *arguments)
            print(f"{what}: {n} predictions of each model: {seconds:.1f} s ({busy:.1f} s of processor), peak {peak:.0f} MiB")
        size = sum(path.stat().st_size for path in (folder / "reports").rglob("*") if path.is_file())
        print(f"pages: {size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
