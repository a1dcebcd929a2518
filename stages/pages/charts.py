"""Charts of what was measured, as SVG files: the same bytes in every run."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def save(figure: Any, out: Path) -> None:
    """Write a chart as an SVG, the same in every run, and close it."""
    figure.savefig(out, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)


def plain(text: str) -> str:
    """A name as matplotlib is to write it: `$` would begin a formula."""
    return text.replace("$", r"\$")
