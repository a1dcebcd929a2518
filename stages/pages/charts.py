"""Charts of what was measured, as SVG files: the same bytes in every run, legible on a light and on a dark page.

The drawing functions return whether there was anything to draw; where there was not, no file is written.
"""

import io
import math
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from matplotlib.transforms import Bbox

# Okabe and Ito's colours for all kinds of sight, those with a contrast of at least 3 on white and on near-black first.
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00"]
MARKERS = ["o", "s", "^", "D", "v", "P", "X", "*"]
LINES = ["-", "--", "-.", ":"]
HATCHES = ["", "////", "....", "xxxx"]
# What is black is drawn in the colour of text, which a reader's dark page turns; the ground is the page's own.
INK = "currentColor"
THEME = (
    "<style>svg{color-scheme:light dark;color:#1b1b1b;fill:currentColor}"
    "@media (prefers-color-scheme: dark){svg{color:#e8e8e8}}</style>"
)
ROOM = 10  # inches round a chart for what stands beside its axes
NAME, TITLE, ROWS = 48, 90, 40  # letters of a name and of a title that are drawn; rows of a distribution, the largest first
MEASURES = {"val_accuracy": "accuracy", "val_map50": "mAP50", "val_pose_map50": "mAP50 of joints"}


def save(figure: Any, out: Path) -> None:
    """Write a chart as an SVG, the same in every run, and close it. What is black follows the reader's light or dark."""
    title = figure.get_suptitle() or next((axes.get_title() for axes in figure.axes if axes.get_title()), "chart")
    settings: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "ethogram"}
    written = io.StringIO()
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the browser has the letters that our font lacks
        about = {"Date": None, "Title": title.replace(r"\$", "$")}
        # Drawn once, with much room round it, and cut to what was drawn: bbox_inches="tight" would draw it twice.
        width, height = figure.get_size_inches()
        room = Bbox.from_extents(-ROOM, -ROOM, width + ROOM, height + ROOM)
        figure.savefig(written, format="svg", bbox_inches=room, transparent=True, metadata=about)
        drawn = figure.get_tightbbox().padded(0.05)  # inches
    plt.close(figure)
    # Only inside style attributes: what stands between tags is text, which may hold anything.
    svg = re.sub(r'(<[^<>]*style=")([^"]*)(")', lambda found: found[1] + themed(found[2]) + found[3], written.getvalue())
    size, corner = (drawn.width, drawn.height), (drawn.x0 + ROOM, height + ROOM - drawn.y1)
    view = 'width="{2:.1f}pt" height="{3:.1f}pt" viewBox="{0:.1f} {1:.1f} {2:.1f} {3:.1f}"'.format(
        *(72 * x for x in (*corner, *size))
    )
    svg = re.sub(r'width="[^"]*" height="[^"]*" viewBox="[^"]*"', view, svg, count=1)
    out.write_text(re.sub("</defs>", f"</defs>{THEME}", svg, count=1), encoding="utf-8")


def themed(style: str) -> str:
    """A style attribute of matplotlib's, its black as the reader's ink and its font as the reader's own."""
    style = re.sub(r"(fill|stroke): #000000", rf"\1: {INK}", style)
    return re.sub(r"'DejaVu Sans'.*?sans-serif", "system-ui, sans-serif", style)


def plain(text: str) -> str:
    """A name as matplotlib is to write it: `$` would begin a formula."""
    return text.replace("$", r"\$")


def named(name: object, letters: int = NAME) -> str:
    """A name as the charts of this file write it: one line, not too long, and never empty or hidden from a legend."""
    text = re.sub(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]+", " ", str(name)).strip() or "(no name)"
    text = text if len(text) <= letters else text[: letters - 1] + "…"
    return f" {text}" if text.startswith("_") else text


@contextmanager
def style() -> Iterator[None]:
    """The look of the charts of this file. Names are text: `$` begins no formula."""
    look: dict[Any, Any] = {
        "text.parse_math": False, "font.size": 10, "axes.titlesize": 11, "axes.titlelocation": "left",
        "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False, "hatch.linewidth": 0.6,
        "grid.color": "#808080", "grid.alpha": 0.3, "lines.linewidth": 1.6, "lines.markersize": 5, "axes.axisbelow": True,
    }  # fmt: skip
    with matplotlib.rc_context(look):
        yield


def look_of(number: int) -> dict[str, Any]:
    """Colour, marker and line of the series of this number: no two of the first 24 are alike in all of them."""
    line = LINES[(number + number // len(COLOURS)) % len(LINES)]
    return {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)], "linestyle": line}


def titled(figure: Figure, title: str, room: float = 0.12) -> None:
    """Write the title above the axes, which fill the figure, `room` inches above them."""
    figure.subplots_adjust(left=0, right=1, bottom=0, top=1)
    figure.suptitle(named(title, TITLE), x=0, y=1 + room / figure.get_figheight(), ha="left", va="bottom", fontsize=11)


def learning(curve: pd.DataFrame, title: str, out: Path) -> bool:
    """Losses by epoch, and beside them what validation found. A <model>.curve.csv: epoch, train_loss, val_loss ..."""
    losses = {"train_loss": "train", "val_loss": "val"}
    panels = [("loss", losses), ("on val", MEASURES)]
    has = set(curve.columns[curve.notna().any()])
    shown = [(label, {name: own[name] for name in own if name in has}) for label, own in panels if own.keys() & has]
    if not shown or "epoch" not in has:
        return False
    with style():
        figure = Figure(figsize=(2.9 * len(shown), 2.3))
        for place, (label, own) in enumerate(shown):
            axes = figure.add_subplot(1, len(shown), place + 1)
            for number, (name, text) in enumerate(own.items()):
                axes.plot(curve["epoch"], curve[name], label=text, markevery=max(1, len(curve) // 12), **look_of(number))
            axes.set(xlabel="epoch", ylabel=label)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            if own.keys() & MEASURES.keys():
                axes.set_ylim(0, 1)
            axes.grid(axis="y")
            axes.legend()
        figure.subplots_adjust(wspace=0.28)
        titled(figure, title)
        save(figure, out)
    return True


def reliability(rows: pd.DataFrame, title: str, out: Path) -> bool:
    """How often a model is right when it says that it is so sure; below, how many answers that is said of.

    Rows of one part of a <model>.reliability.csv: scores (score, calibrated), low, high, n, confidence, accuracy.
    """
    rows = rows if rows.empty else rows[rows["n"] > 0]
    if rows.empty:
        return False
    texts = {"score": "as said", "calibrated": "calibrated on val"}
    with style():
        figure = Figure(figsize=(4, 4))
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        above.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle=":")
        for number, (scores, own) in enumerate((name, rows[rows["scores"] == name]) for name in texts):
            if own.empty:
                continue
            look, text = look_of(number), f"{texts[scores]}, n {int(own['n'].sum()):,}"
            above.plot(own["confidence"], own["accuracy"], label=text, **look)
            face = {"facecolor": look["color"], "alpha": 0.5} if number == 0 else {"facecolor": "none"}
            widths = own["high"] - own["low"]
            below.bar(own["low"], own["n"], widths, align="edge", edgecolor=look["color"], linewidth=1.2, **face)
        above.set(xlim=(0, 1), ylim=(0, 1), ylabel="share that is right")
        below.set(xlabel="how sure the model says it is", ylabel="answers")
        above.grid()
        figure.subplots_adjust(hspace=0.12)
        titled(figure, title, legend_above(above, 2))
        save(figure, out)
    return True


def precision_recall(rows: pd.DataFrame, title: str, out: Path) -> bool:
    """Precision against recall, a line for each class, that of all classes pooled in bold.

    Rows of one part of a <model>.pr.csv or of curves.parquet, as they stand there: first those labelled `all`, of all pooled.
    """
    rows = rows if rows.empty else rows.dropna(subset=["precision", "recall"])
    if rows.empty:
        return False
    # Scores fall along a curve: so the curve of a class called `all` is told from that of all pooled, which comes first.
    begins = (rows["label"] != rows["label"].shift()) | (rows["score"] >= rows["score"].shift())
    curves = [(str(own["label"].iloc[0]), own) for _, own in rows.groupby(begins.cumsum())]
    pooled = curves[:1] if curves[0][0] == "all" else []
    classes = sorted(curves[len(pooled) :], key=lambda curve: curve[0])
    with style():
        figure = Figure(figsize=(4.2, 3.8))
        axes = figure.add_subplot()
        for _, own in pooled:
            axes.plot(own["recall"], own["precision"], label="all classes", color="black", linewidth=2.6, zorder=3)
        for number, (label, own) in enumerate(classes):
            look = look_of(number) | {"marker": None, "linewidth": 1.2}
            axes.plot(own["recall"], own["precision"], label=named(label), **look)
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
        axes.grid()
        if classes:
            axes.legend(loc="upper left", bbox_to_anchor=(1, 1), ncols=1 + len(curves) // 16, fontsize=9)
        titled(figure, title)
        save(figure, out)
    return True


def intervals(series: dict[str, dict[str, tuple[float, float, float]]], xlabel: str, title: str, out: Path) -> bool:
    """Dots with whiskers: of each series by its name, of each row by its name, value, low and high. Rows in their order."""
    rows = list(dict.fromkeys(row for own in series.values() for row, found in own.items() if not math.isnan(found[0])))
    if not rows:
        return False
    step = 0.7 / len(series)
    with style():
        figure = Figure(figsize=(6.4, 0.9 + len(rows) * max(0.3, 0.17 * len(series))))
        axes = figure.add_subplot()
        for number, (name, own) in enumerate(series.items()):
            offset, look = (number - (len(series) - 1) / 2) * step, look_of(number) | {"linestyle": "none"}
            points = [
                (place + offset, own[row]) for place, row in enumerate(rows) if row in own and not math.isnan(own[row][0])
            ]
            if not points:
                continue
            places = [place for place, _ in points]
            axes.hlines(places, [low for _, (_, low, _) in points], [high for _, (_, _, high) in points], color=look["color"])
            axes.plot([value for _, (value, _, _) in points], places, label=named(name), **look)
        ordinate(axes, [named(row) for row in rows])
        axes.set(xlim=(0, 1), xlabel=xlabel)
        titled(figure, title, legend_above(axes, len(series)))
        save(figure, out)
    return True


def bars(values: dict[str, dict[str, float]], n: dict[str, int] | None, xlabel: str, title: str, out: Path) -> bool:
    """Horizontal bars: of each series by its name, of each class. `n` of a class stands beside its name."""
    labels = list(dict.fromkeys(label for own in values.values() for label, value in own.items() if not math.isnan(value)))
    if not labels:
        return False
    width = 0.8 / len(values)
    with style():
        figure = Figure(figsize=(4.2, 0.9 + len(labels) * max(0.28, 0.17 * len(values))))
        axes = figure.add_subplot()
        for number, (name, own) in enumerate(values.items()):
            found = [own.get(label, math.nan) for label in labels]
            places = [place + (number - (len(values) - 1) / 2) * width for place in range(len(labels))]
            colour, hatch = COLOURS[number % len(COLOURS)], HATCHES[number % len(HATCHES)]
            face: dict[str, Any] = {"facecolor": colour} if not hatch else {"facecolor": "none", "hatch": hatch}
            axes.barh(places, found, width * 0.9, label=named(name), edgecolor=colour, linewidth=0.8, **face)
        counts = {} if n is None else {label: f", n {n[label]:,}" for label in labels if label in n}
        ordinate(axes, [named(label) + counts.get(label, "") for label in labels])
        axes.set(xlabel=xlabel)
        titled(figure, title, legend_above(axes, len(values)))
        save(figure, out)
    return True


def distribution(counts: pd.DataFrame, title: str, out: Path) -> bool:
    """The share of each class or location (columns) in each part (rows) of a split: a panel of bars for each part."""
    counts = counts[counts.sum(axis=1) > 0]
    if counts.empty:
        return False
    totals = counts.sum().sort_values(ascending=False, kind="stable")
    few, rest = list(totals.index[:ROWS]), list(totals.index[ROWS:])
    shares = counts[few].assign(**{"…": counts[rest].sum(axis=1)}) if rest else counts[few]
    shares = shares.div(counts.sum(axis=1), axis=0)
    names = [named(label) for label in few] + [f"{len(rest)} others"] * bool(rest)
    with style():
        figure = Figure(figsize=(1.2 + 1.7 * len(shares), 0.9 + 0.2 * len(names)))
        for place, (part, row) in enumerate(shares.iterrows()):
            axes = figure.add_subplot(1, len(shares), place + 1)
            axes.barh(range(len(names)), row.to_numpy(), 0.75, color=COLOURS[0])
            ordinate(axes, names if place == 0 else [""] * len(names))
            axes.set(xlim=(0, max(0.01, float(shares.to_numpy().max())) * 1.02))
            axes.set_title(f"{named(part)}\nn {int(counts.loc[part].sum()):,}", fontsize=9)
            axes.xaxis.set_major_locator(MaxNLocator(2))
            axes.xaxis.set_major_formatter(PercentFormatter(1, 0))
        figure.subplots_adjust(wspace=0.12)
        titled(figure, title, 0.5)
        save(figure, out)
    return True


def ordinate(axes: Any, names: list[str]) -> None:
    """A row for each name, the first at the top."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")


def legend_above(axes: Any, series: int) -> float:
    """The legend above the chart, where it hides nothing, none for one series; the inches that it takes."""
    if series < 2:
        return 0.12
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, borderaxespad=0.2, columnspacing=1.2)
    return 0.12 + 0.25 * math.ceil(series / 4)
