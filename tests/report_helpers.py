"""What the tests of the pages share: a page as a browser takes it, data and a split as stages leave them, an evaluated model."""

from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pandas as pd

from stages import split
from stages.files import check_manifest, new_folder, write_json
from stages.predictions import TABLE

SCRIPT = "<script>alert(1)</script>"
DRAWS = ("--draws", 20, "--map_draws", 10)
COST = {
    "parameters": 12345,
    "layers": 7,
    "megabytes": 0.5,
    "epochs": 3,
    "train_seconds": 4.5,
    "ms_an_image": 1.25,
    "device": "CPU x",
}
REJECT_COLUMNS = ["kind", "row", "name", "reason", "detail"]


class Page(HTMLParser):
    """What a browser would make of a page: its tags, its text, what it points to, and the cells of its tables."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text, self.links = "", []
        self.tables: list[list[list[str]]] = []
        self.captions: list[str] = []  # of each table
        self.headings: list[str] = []
        self.alts: list[str] = []  # what each image shows
        self.in_cell = False
        self.noting: list[str] | None = None  # what text is added to the last of, beside
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.text += " "
        if self.noting is not None:
            self.noting[-1] += " "
        # What is fetched, and files of the folder that it points to: not other studies' pages, not places of this one.
        found = [unquote(value or "") for name, value in attrs if name in ("src", "href")]
        self.links += [link for link in found if tag != "a" or not link.startswith(("#", "../", "https:"))]
        self.alts += [value or "" for name, value in attrs if name == "alt"]
        if tag in ("caption", "h1", "h2", "h3"):
            self.noting = self.captions if tag == "caption" else self.headings
            self.noting.append("")
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self.in_cell = True
        elif self.in_cell:
            self.tables[-1][-1][-1] += " "

    def handle_endtag(self, tag: str) -> None:
        self.in_cell = self.in_cell and tag not in ("tr", "table")
        if tag in ("caption", "h1", "h2", "h3"):
            self.noting = None

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.noting is not None:
            self.noting[-1] = " ".join((self.noting[-1] + data).split())
        if self.in_cell:
            self.tables[-1][-1][-1] += data

    def under(self, caption: str) -> list[list[str]]:
        """The rows, below its header, of the one table with these words in its caption."""
        (table,) = (table for table, own in zip(self.tables, self.captions, strict=True) if caption in own)
        return [[" ".join(cell.split()) for cell in row] for row in table[1:]]

    def named(self, first: str) -> list[list[list[str]]]:
        """The tables whose header starts with `first`: their rows below it."""
        tables = [table for table in self.tables if table[0][0] == first]
        return [[[" ".join(cell.split()) for cell in row] for row in table[1:]] for table in tables]

    def table(self, first: str) -> list[list[str]]:
        (rows,) = self.named(first)
        return rows


def write_data(
    out: Path, raw: Path, tables: dict[str, pd.DataFrame], counts: dict[str, Any], rejects: Sequence[tuple[str, ...]] = ()
) -> None:
    """Clean data of the user's own: `tables` by the names of their files."""
    with new_folder(out) as folder:
        for name, table in tables.items():
            table.to_parquet(folder / f"{name}.parquet", index=False)
        pd.DataFrame(rejects, columns=REJECT_COLUMNS).to_csv(folder / "rejects.csv", index=False)
        write_json(folder / "source.json", {"root": str(raw), "data": "your data", "citation": "Ours", "licence": "<u>CC0</u>"})
        write_json(folder / "counts.json", counts)


def write_split(out: Path, version: str, pictures: pd.DataFrame, parts: list[str], **more: list[str]) -> None:
    """A split of one version, with a warning; `more` columns of its list."""
    with new_folder(out) as folder:
        (folder / version).mkdir()
        listed = pd.DataFrame({"sample_id": pictures["sample_id"], "part": parts, **more})
        listed.to_csv(folder / version / "parts.csv", index=False)
        found = split.report(pictures, pd.Series(parts), 3) | {"warnings": [f"train has no {SCRIPT}"]}
        write_json(folder / "report.json", {version: found})


def evaluate(
    stage: Callable[..., Any], model: str, found: pd.DataFrame, classes: list[str], version: Path, clean: str = "clean",
    predictions: Path = Path("predictions"), cost: dict[str, Any] | None = COST, draws: tuple[object, ...] = DRAWS,
) -> None:  # fmt: skip
    """Score the predictions `found` as those of a model that was trained on the user's data."""
    with new_folder(predictions / model) as folder:
        found.to_parquet(folder / TABLE, index=False)
    with new_folder(Path("models") / model) as folder:
        write_json(
            folder / "model.json",
            {
                "classes": classes,
                "trained_on": {"data": "your data", "train": 27},
                "started_from": "scratch",
                "as_built": "tiny <s>",
            },
        )
    done = stage("evaluate", "--model", model, *draws, "--trained", f"models/{model}", "--predictions", predictions / model,
                 "--clean", clean, "--split", version, "--seed", 0, "--answers", f"answers/{model}", "--metrics", "metrics"
                 )  # fmt: skip
    assert done.code == 0, done.err
    if cost:
        write_json(Path("metrics") / f"{model}.cost.json", cost)


def compare(stage: Callable[..., Any], **settings: Any) -> None:
    """Compare what was evaluated by these settings."""
    done = stage("compare", "--params", "compare.d", "--answers", "answers", "--seed", 0, "--out", "metrics/comparison.csv",
                 "--metrics", "metrics/comparison.json", params={"compare": {"d": settings | {"draws": 40}}})  # fmt: skip
    assert done.code == 0, done.err


def run_report(stage: Callable[..., Any], dataset: str, clean: str = "clean", models: dict[str, Any] | None = None) -> Any:
    """The report stage on what lies in the working folder; `models` stand in its params.yaml."""
    return stage("report", "--dataset", dataset, "--clean", clean, "--splits", "splits", "--metrics", "metrics",
                 "--answers", "answers", "--predictions", "predictions", "--shows", "shows", "--out", "page",
                 params={"models": models or {}})  # fmt: skip


def report(stage: Callable[..., Any], dataset: str, clean: str = "clean") -> Page:
    """The page of what lies in the working folder."""
    done = run_report(stage, dataset, clean)
    assert done.code == 0, done.err
    assert check_manifest(Path("page")) == []
    return Page(Path("page/index.html"))
