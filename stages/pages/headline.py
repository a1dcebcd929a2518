"""A slide of the headlines: each study's main models with their intervals, as PNG of 1920 x 1080 and as PDF of one page."""

from math import ceil
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from stages.files import new_file
from stages.pages.charts import plain
from stages.pages.study import EMBEDDED

MOST = 8  # models of a study on the slide
PNG, PDF = "headline.png", "headline.pdf"
OURS, BASELINE, LABEL = "#0072B2", "#555555", {EMBEDDED: "#a8432a"}
NAME = 30  # letters of a model's name, of which a slide has room for so many


def main_models(headline: dict[str, Any]) -> list[dict[str, Any]]:
    """At most MOST of a headline's models, in their order: the best by validation, then the document's own, then by value."""

    def rank(row: dict[str, Any]) -> tuple[bool, bool, float, str]:
        return row["model"] != headline["best"], row["document"] is None, -row["value"], row["model"]

    chosen = {row["model"] for row in sorted(headline["models"], key=rank)[:MOST]}
    return [row for row in headline["models"] if row["model"] in chosen]


def short(dataset: str, model: str) -> str:
    """A model's name without its data set's, cut to what fits."""
    name = model.removeprefix(f"{dataset}-")
    return name if len(name) <= NAME else f"{name[: NAME - 1]}…"


def draw(figure: Figure, studies: list[dict[str, Any]]) -> None:
    """A panel for each study: a dot with its interval for each model, the baseline, and what the document has."""
    columns = max(1, ceil(len(studies) ** 0.5))
    rows = max(1, ceil(len(studies) / columns))
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, study in zip(panels, studies, strict=False):
        panel(axes, study)
    for axes in panels[len(studies) :]:
        axes.set_axis_off()
    legend = [
        Line2D([], [], color=OURS, marker="o", markersize=11, linewidth=2.5, label="measured here, 95 % interval"),
        Line2D([], [], color=OURS, marker="o", markersize=15, linewidth=2.5, markeredgecolor="black", markeredgewidth=2,
               label="the best by validation"),
        Line2D([], [], color=BASELINE, linestyle="--", linewidth=2.5, label="always the commonest class"),
        Line2D([], [], color="black", marker="D", markersize=11, markerfacecolor="none", linestyle="",
               label="the document's own figure, on its own data"),
    ]  # fmt: skip
    figure.legend(handles=legend, loc="lower center", ncols=len(legend), frameon=False, fontsize=16)
    figure.suptitle("Ethogram: how well each study's models do", fontsize=30, fontweight="bold", x=0.015, y=0.985, ha="left")
    figure.subplots_adjust(left=0.185, right=0.98, top=0.85, bottom=0.13, hspace=0.52, wspace=0.64)


def panel(axes: Axes, study: dict[str, Any]) -> None:
    headline = study.get("headline")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.text(-0.55, 1.13, plain(study["dataset"]), transform=axes.transAxes, fontsize=25, fontweight="bold", va="bottom")
    if not headline:
        why = study.get("state") or "no figures"
        axes.text(0.5, 0.5, why, transform=axes.transAxes, fontsize=22, ha="center", va="center")
        axes.set(xticks=[], yticks=[])
        axes.spines["bottom"].set_visible(False)
        return
    label = study["label"]
    chip = {"boxstyle": "round", "facecolor": LABEL.get(label, "#00664b"), "edgecolor": "none"}
    there: dict[str, Any] = {"transform": axes.transAxes, "ha": "right", "va": "bottom"}
    axes.text(1, 1.13, f" {label} ", fontsize=21, color="white", fontweight="bold", bbox=chip, **there)
    axes.text(
        -0.55, 1.03, plain(f"{headline['figure']}, n {headline['n']}"), transform=axes.transAxes, fontsize=18, va="bottom"
    )
    rows = main_models(headline)
    for place, row in enumerate(rows):
        is_best = row["model"] == headline["best"]
        if None not in (row["low"], row["high"]):
            axes.plot([row["low"], row["high"]], [place, place], color=OURS, linewidth=2.5, solid_capstyle="round")
        axes.plot(row["value"], place, "o", color=OURS, markersize=15 if is_best else 11, zorder=3,
                  markeredgecolor="black" if is_best else OURS, markeredgewidth=2 if is_best else 0)  # fmt: skip
        if row["document"] is not None:
            axes.plot(row["document"], place, "D", color="black", markerfacecolor="none", markersize=11, zorder=4)
    if headline["baseline"] is not None:
        axes.axvline(headline["baseline"], color=BASELINE, linestyle="--", linewidth=2.5, zorder=1)
    axes.set_yticks(range(len(rows)), [plain(short(study["dataset"], row["model"])) for row in rows], fontsize=15.5)
    highs = [row["high"] for row in rows if row["high"] is not None]
    axes.set(xlim=(0, max([1.0, *highs])), ylim=(len(rows) - 0.4, -0.6))
    axes.tick_params(axis="x", labelsize=15)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", alpha=0.3)


def write(studies: list[dict[str, Any]], out: Path) -> None:
    """Write both files into the folder `out`. `studies` are summaries (stages/report.py); those without figures say so."""
    figure = Figure(figsize=(19.2, 10.8), dpi=100)
    draw(figure, studies)
    dateless: dict[str, dict[str, Any]] = {PNG: {"Software": None}, PDF: {"CreationDate": None}}
    for name, metadata in dateless.items():
        with new_file(out / name) as temporary:
            figure.savefig(temporary, format=name.rpartition(".")[2], metadata=metadata)
