"""Real photos: classifiers on the small cut of CCT-20, from scratch and from ImageNet weights, beside the plain timm loop.

    python benchmarks/real_cct20.py SHARED WORK [SEED ...]      SHARED holds real/cct20 and weights/; WORK is any folder

Runs this project's own commands on the lists that came with the data: train on cis but 10 % for validation, unseen = trans.
Ours and the peer train on the same pictures, at 224 px, for 8 epochs, with the same learning rate; `augmented` is ours with
zoom and light added to the flips.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import yaml

ROOT = Path(__file__).parent.parent
MODELS = {  # name: architecture, weights, learning rate
    "alexnet-scratch": ("torchvision/alexnet", "", 0.0003),
    "lite0-scratch": ("tf_efficientnet_lite0", "", 0.001),
    "lite0-imagenet": ("tf_efficientnet_lite0", "tf_efficientnet_lite0.safetensors", 0.001),
    "mobilenet-scratch": ("torchvision/mobilenet_v2", "", 0.001),
    "mobilenet-imagenet": ("torchvision/mobilenet_v2", "mobilenet_v2-b0353104.pth", 0.001),
}
RECIPES: dict[str, dict[str, float]] = {"plain": {}, "augmented": {"zoom": 1.3, "light": 0.3}}


def stage(work: Path, name: str, *options: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-m", f"stages.{name}", *options], cwd=work, env=environment, check=True)


def prepare(shared: Path, work: Path, models: dict) -> None:
    """The photos read in place, cleaned and split below `work`, with a params.yaml for these models."""
    work.mkdir(parents=True, exist_ok=True)
    split = {
        "official": {"train": ["cis_annotations"], "val": 0.1, "unseen": ["trans_annotations"]},
        "unseen": {"locations": 5},
        "location": {"train": 0.46, "val": 0.44, "test": 0.1},
        "class": {"train": 0.65, "val": 0.25},
    }
    download = {"adapter": "caltech_camera_traps", "source": f"path:{shared}/real/cct20"}
    params = {"datasets": {"raw": {"paper": {"download": download}}}, "clean": {}, "split": split, "models": models}
    (work / "params.yaml").write_text(yaml.safe_dump(params))
    stage(work, "download", "look", "--profile", "paper", "--out", "look")
    stage(work, "download", "fetch", "--params", "datasets.raw.paper.download", "--dataset", "raw", "--look", "look/raw.json",
          "--out", "raw", "--seed", "0")  # fmt: skip
    stage(work, "clean", "--params", "clean", "--raw", "raw", "--out", "clean")
    stage(work, "split", "--params", "split", "--clean", "clean", "--seed", "0", "--out", "splits")


def main() -> None:
    shared, work = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    seeds = [int(seed) for seed in sys.argv[3:]] or [0]
    models = {
        f"{name}-{recipe}": {
            "architecture": architecture,
            "init": f"file:{shared}/weights/{weights}" if weights else "scratch",
            "image_px": 224,
            "epochs": 8,
            "batch_size": 32,
            "learning_rate": rate,
            "flip": True,
            "patience": 8,
            **changes,
        }
        for name, (architecture, weights, rate) in MODELS.items()
        for recipe, changes in RECIPES.items()
    }
    prepare(shared, work, models)
    print(f"{'model':20} {'seed':4} {'':10} val (n 51)  unseen (n 554)")
    for seed in map(str, seeds):
        for name, (architecture, weights, rate) in MODELS.items():
            peer = work / f"peer-{name}-{seed}.json"
            if not peer.exists():
                given = [architecture, *([f"{shared}/weights/{weights}"] if weights else [])]
                given += ["--rate", str(rate), "--seed", seed]
                command = [sys.executable, str(ROOT / "benchmarks/peer.py"), "clean", "splits/official/parts.csv", *given]
                peer.write_text(subprocess.run(command, cwd=work, capture_output=True, text=True, check=True).stdout)
            theirs = json.loads(peer.read_text())
            print(f"{name:20} {seed:4} {'peer':10} {theirs['val']:.3f}       {theirs['unseen']:.3f}", flush=True)
            for recipe in RECIPES:
                ours = run_ours(work, f"{name}-{recipe}", seed)
                val, unseen = ours["parts"]["val"], ours["parts"]["unseen"]
                interval = f"[{unseen['f1_macro_low']:.3f}, {unseen['f1_macro_high']:.3f}]"
                print(
                    f"{name:20} {seed:4} {recipe:10} {val['f1_macro']:.3f}       {unseen['f1_macro']:.3f} {interval}",
                    flush=True,
                )


def run_ours(work: Path, model: str, seed: str, family: str = "image", needs: str = "params.yaml") -> dict:
    """Train and evaluate unless it was done before; the metrics, with every figure of each part under `parts`."""
    key = f"{model}-{seed}"
    given = ["--clean", "clean", "--split", "splits/official", "--seed", seed, "--model", key]
    if not (work / f"metrics/{key}.json").exists():
        out = ["--out", f"models/{key}", "--cost", f"metrics/{key}.cost.json", "--curve", f"metrics/{key}.curve.csv"]
        out += ["--provenance", f"models/{key}.provenance.json", "--family", family, "--needs", needs]
        found = ["--predictions", f"predictions/{key}"]
        stage(work, "train", *given, "--params", f"models.{model}", *out, *found)
        found += ["--answers", f"answers/{key}", "--metrics", "metrics"]
        stage(work, "evaluate", *given, "--trained", f"models/{key}", *found)
    parts = pd.read_csv(work / f"metrics/{key}.parts.csv").set_index("part").to_dict("index")
    return json.loads((work / f"metrics/{key}.json").read_text()) | {"parts": parts}


if __name__ == "__main__":
    main()
