"""The peer of our detectors: plain Ultralytics, as anyone would type it, on the same photos, scored by our evaluator.

python benchmarks/peer_yolo.py CLEAN SPLIT.csv WORK WEIGHTS --epochs N --px N --seed N      prints a JSON
"""

import argparse
import json
import shutil
from pathlib import Path

import pandas as pd
from ultralytics import YOLO

from stages import box_scores, scores
from stages.predictions import box_rows
from stages.samples import BOX_COLUMNS, EMPTY, of_part, read_samples


def export(samples, pictures, folder: Path, classes: list[str]) -> None:
    """A copy of the photos and their boxes as Ultralytics wants them on disk."""
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    for row in pictures.itertuples():
        shutil.copy(samples.root / row.path, folder / "images" / f"{row.sample_id}.jpg")
        boxes = samples.boxes[samples.boxes["sample_id"] == row.sample_id]
        lines = [
            f"{classes.index(box.label)} {(box.x_min_px + box.x_max_px) / 2 / row.width_px} "
            f"{(box.y_min_px + box.y_max_px) / 2 / row.height_px} {(box.x_max_px - box.x_min_px) / row.width_px} "
            f"{(box.y_max_px - box.y_min_px) / row.height_px}"
            for box in boxes.itertuples()
            if box.label in classes
        ]
        (folder / "labels" / f"{row.sample_id}.txt").write_text("\n".join(lines))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("clean", type=Path)
    parser.add_argument("split", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("weights")
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--px", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    samples, parts = read_samples(args.clean), pd.read_csv(args.split, dtype=str)
    train = of_part(samples, parts, "train")
    classes = sorted(samples.boxes.loc[samples.boxes["sample_id"].isin(train["sample_id"]), "label"].unique())
    work = args.work.resolve()
    shutil.rmtree(work, ignore_errors=True)
    for part in ("train", "val"):
        export(samples, of_part(samples, parts, part), work / part, classes)
    (work / "data.yaml").write_text(
        f"path: {work}\ntrain: train/images\nval: val/images\nnames: {json.dumps(dict(enumerate(classes)))}\n"
    )
    model = YOLO(args.weights)
    model.train(data=str(work / "data.yaml"), epochs=args.epochs, imgsz=args.px, batch=16, patience=5, seed=args.seed,
                project=str(work), name="run", exist_ok=True, plots=False, workers=0, verbose=False)  # fmt: skip
    model = YOLO(work / "run/weights/best.pt")
    found, own = {}, {}
    for part in ("val", "unseen"):
        pictures = of_part(samples, parts, part)
        rows = []
        for row in pictures.itertuples():
            result = model.predict(str(samples.root / row.path), imgsz=args.px, conf=0.001, max_det=100, verbose=False)[0].boxes
            table = pd.DataFrame(result.xyxy.cpu().numpy(), columns=BOX_COLUMNS)
            labels = [classes[int(number)] for number in result.cls]
            rows.append(table.assign(sample_id=row.sample_id, label=labels, score=result.conf.cpu().numpy()))
        found[part] = box_rows(pd.concat(rows, ignore_index=True), pictures["sample_id"])
    actual = of_part(samples, parts, "val", "unseen").set_index("sample_id")["label"]
    threshold = box_scores.best_image_threshold(found["val"], actual)
    known = sorted({*classes, *samples.boxes["label"]})
    for part, table in found.items():
        true = samples.boxes[samples.boxes["sample_id"].isin(table["sample_id"])]
        answers = box_scores.image_answers(table, threshold)
        counts = scores.confusion(answers["sample_id"].map(actual), answers["predicted"], [*known, EMPTY])
        own[part] = {
            "map50": box_scores.mean_average_precision(table, true, known)["map50"],
            "f1_macro": float(scores.f1_macro(counts)),
        }
    print("RESULT", json.dumps(own))


if __name__ == "__main__":
    main()
