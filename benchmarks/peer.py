"""The peer: a plain timm training loop as anyone would write it, to hold ours against on the same pictures.

224 px, AdamW, one-cycle, 8 epochs, random flips, batch 32; the last epoch's weights are scored.
    python benchmarks/peer.py CLEAN SPLIT.csv MODEL [WEIGHTS] --rate R --seed S      prints macro F1 for each part as JSON
"""

import argparse
import json
from pathlib import Path

import pandas as pd
import timm
import torch
import torchvision
from PIL import Image
from sklearn.metrics import f1_score
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms as T


class Photos(Dataset):
    def __init__(self, table, root, classes, transform):
        self.rows, self.root, self.transform = list(table[["path", "label"]].itertuples(index=False)), root, transform
        self.index = {label: i for i, label in enumerate(classes)}

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        with Image.open(self.root / self.rows[i].path) as image:
            return self.transform(image.convert("RGB")), self.index.get(self.rows[i].label, -1)


def build(name, classes, weights):
    if name.startswith("torchvision/"):
        model = torchvision.models.get_model(name.removeprefix("torchvision/"), num_classes=classes)
    else:
        model = timm.create_model(name, num_classes=classes)
    if weights:
        state = (
            timm.models.load_state_dict(weights) if weights.endswith("safetensors") else torch.load(weights, weights_only=True)
        )
        own = model.state_dict()
        model.load_state_dict({k: v for k, v in state.items() if k in own and v.shape == own[k].shape}, strict=False)
    return model


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("clean", type=Path)
    parser.add_argument("split", type=Path)
    parser.add_argument("model")
    parser.add_argument("weights", nargs="?", default="")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    root = Path(json.loads((args.clean / "source.json").read_text())["root"])
    table = pd.read_parquet(args.clean / "samples.parquet").merge(pd.read_csv(args.split, dtype=str), on="sample_id")
    classes = sorted(table.loc[table.part == "train", "label"].unique())
    half = [0.5] * 3 if "lite" in args.model else None
    mean, std = half or [0.485, 0.456, 0.406], half or [0.229, 0.224, 0.225]
    plain = [T.Resize((224, 224)), T.ToTensor(), T.Normalize(mean, std)]
    train = Photos(table[table.part == "train"], root, classes, T.Compose([T.RandomHorizontalFlip(), *plain]))
    loader = DataLoader(train, batch_size=32, shuffle=True)
    model = build(args.model, len(classes), args.weights)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.rate, epochs=8, steps_per_epoch=len(loader))
    for _ in range(8):
        model.train()
        for pictures, targets in loader:
            loss = torch.nn.functional.cross_entropy(model(pictures), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    model.eval()
    found = {}
    for part in ("val", "unseen"):
        rows = table[table.part == part]
        with torch.inference_mode():
            batches = DataLoader(Photos(rows, root, classes, T.Compose(plain)), batch_size=64)
            said = [classes[i] for pictures, _ in batches for i in model(pictures).argmax(1).tolist()]
        found[part] = f1_score(rows.label, said, labels=sorted(rows.label.unique()), average="macro", zero_division=0)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
