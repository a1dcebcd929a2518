"""Everything measured of a data set -> reports/<dataset>/: pages to be read offline.

    python -m stages.report --dataset camera_trap --clean data/clean/camera_trap --splits data/splits/camera_trap \
        --metrics metrics/camera_trap --answers data/answers/camera_trap --predictions data/predictions/camera_trap \
        --shows data/params.checked.json --out reports/camera_trap

The index of all data sets of params.yaml, with a slide of their headlines, from what lies in reports/; and two experiments side
by side, each a commit, branch, tag, experiment of DVC's, or `workspace`:

    python -m stages.report --index --reports reports --out reports
    python -m stages.report --compare main workspace --out reports/compare.html
"""

import argparse
from pathlib import Path
from types import ModuleType
from typing import Any

import matplotlib

from stages.command import run
from stages.files import DataError, new_folder, write_json
from stages.pages import cards, index, of_cameras, of_clips, of_people, of_photos, revisions
from stages.pages.gallery import Gallery
from stages.pages.page import write_page
from stages.pages.study import Study, read_study
from stages.settings import read_params

FOLDERS = ("clean", "splits", "metrics", "answers", "predictions", "shows")  # what a study is read from


def kind_of(study: Study) -> ModuleType:
    """The module of stages/pages that knows what to show of a data set of this kind."""
    if len(study.samples.people):
        return of_people
    if len(study.samples.videos):
        return of_clips
    return of_photos if study.samples.pictures["location"].isna().all() else of_cameras


def summary(study: Study, headline: dict[str, Any] | None, shown: dict[str, Any]) -> dict[str, Any]:
    """What the index says of a study, as it stands in summary.json."""
    return {
        "dataset": study.dataset,
        "label": study.label,
        "citation": study.source.get("citation", ""),
        "licence": study.source.get("licence", ""),
        "samples": len(study.samples.videos) or len(study.samples.pictures),
        "of": "clips" if len(study.samples.videos) else "pictures",
        "evaluated": list(study.models),
        "missing": study.missing,
        "left_out": study.left_out,
        "headline": headline,
        "claims": shown.get("claims", []),
        "choices": [{"question": row["question"], "model": row["model"]} for row in shown.get("choices", [])],
    }


def write(study: Study, out: Path) -> None:
    """Write the pages of one data set into the folder `out`, whole or not at all."""
    matplotlib.rcParams["svg.hashsalt"] = "ethogram"  # else the same chart differs in every run
    kind = kind_of(study)
    template = f"{kind.__name__.rpartition('.')[2]}.html"
    with new_folder(out) as folder:
        gallery = Gallery(study, folder)
        shown = kind.shown(study, folder, gallery)
        cards.write(study, folder, gallery)
        write_page(folder / "index.html", template, **{"study": study, "models": study.models, "up": ""} | shown)
        write_json(folder / "summary.json", summary(study, kind.headline(study), shown))


def write_study(args: argparse.Namespace) -> Path:
    """The pages of one data set; the first of them."""
    if missing := [f"--{name}" for name in ("dataset", *FOLDERS) if not getattr(args, name)]:
        raise DataError(f"the pages of a data set need {', '.join(missing)}, too. Others: --index, --compare")
    # Names alone, so not among the stage's parameters: what a model was trained with stands in what it left.
    known = [name for name, entry in read_params()["models"].items() if entry["dataset"] == args.dataset]
    out = args.out or Path("reports") / args.dataset
    write(read_study(args.dataset, known, *(getattr(args, name) for name in FOLDERS)), out)
    return Path(out / "index.html")


def main() -> None:
    parser = argparse.ArgumentParser(description="everything measured of a data set -> pages; or their index; or a comparison")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--index", action="store_true", help="the index of all data sets instead, from what lies in --reports")
    what.add_argument("--compare", nargs=2, metavar="REV", help="two experiments side by side instead: names, or workspace")
    parser.add_argument("--dataset")
    parser.add_argument("--clean", type=Path, help="the clean stage's output, or of clips the clips stage's")
    parser.add_argument("--splits", type=Path, help="the split stage's output")
    parser.add_argument("--metrics", type=Path, help="folder with a JSON for each model")
    parser.add_argument("--answers", type=Path, help="folder with a folder for each model")
    parser.add_argument("--predictions", type=Path, help="folder with a folder for each model")
    parser.add_argument("--shows", type=Path, help="what the page shows beside: heatmaps, synthetic pictures")
    parser.add_argument("--reports", type=Path, default=Path("reports"), help="of --index: with a folder for each data set")
    parser.add_argument("--out", type=Path, help="folder to write (reports/<dataset>, reports); of --compare a file")
    args = parser.parse_args()
    if args.index:
        page = index.write(args.reports, args.out or args.reports)
    elif args.compare:
        page = revisions.write(args.compare[0], args.compare[1], args.out or Path("reports/compare.html"))
    else:
        page = write_study(args)
    print(f"report: {page}")


if __name__ == "__main__":
    run(main)
