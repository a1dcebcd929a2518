"""Real photos: a detector, detect-then-classify and a whole-image classifier on CCT-20, beside plain Ultralytics.

    python benchmarks/real_detectors.py SHARED WORK [SEED ...]      SHARED holds real/cct20 and weights/; WORK is any folder

All start from published weights (COCO for the detector, ImageNet for the classifiers), train on the same photos and are scored
by the same evaluator. Unseen are the locations of `trans`.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from real_cct20 import ROOT, prepare, run_ours

EPOCHS, PX = 12, 320
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "YOLO_OFFLINE": "true", "YOLO_CONFIG_DIR": "."}  # of the peer


def main() -> None:
    shared, work = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    seeds = sys.argv[3:] or ["0"]
    lite0 = {
        "architecture": "tf_efficientnet_lite0", "init": f"file:{shared}/weights/tf_efficientnet_lite0.safetensors",
        "image_px": 224, "epochs": 8, "patience": 8, "batch_size": 32, "learning_rate": 0.001, "flip": True,
    }  # fmt: skip
    models = {
        "yolov5n": {
            "architecture": "yolov5n", "init": f"file:{shared}/weights/yolov5nu.pt", "image_px": PX, "epochs": EPOCHS,
            "batch_size": 16, "patience": 5, "workers": 0,
        },
        "image": lite0,
        "crop": lite0 | {"margin": 0.1},
    }  # fmt: skip
    prepare(shared, work, models)
    for seed in seeds:
        for model, family in (("yolov5n", "yolo"), ("crop", "crop"), ("image", "image")):
            needs = f"predictions/yolov5n-{seed}" if family == "crop" else "params.yaml"
            for part, found in run_ours(work, model, seed, family, needs)["parts"].items():
                numbers = {
                    name: round(value, 3) for name, value in found.items() if name.startswith(("n", "f1", "map50", "seq"))
                }
                print(f"{model:8} seed {seed} {part:7} {numbers}", flush=True)
        peer = work / f"peer-yolov5n-{seed}.json"
        if not peer.exists():
            command = [sys.executable, str(ROOT / "benchmarks/peer_yolo.py"), "clean", "splits/official/parts.csv",
                       f"peer-{seed}", f"{shared}/weights/yolov5nu.pt", "--epochs", str(EPOCHS), "--px", str(PX),
                       "--seed", seed]  # fmt: skip
            done = subprocess.run(command, cwd=work, capture_output=True, text=True, check=True, env=ENVIRONMENT)
            peer.write_text(done.stdout.rpartition("RESULT ")[2])
        print(f"peer     seed {seed} {json.loads(peer.read_text())}", flush=True)


if __name__ == "__main__":
    main()
