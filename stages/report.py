"""Everything measured of a data set -> reports/<dataset>/: pages to be read offline.

    python -m stages.report --dataset camera_trap --clean data/clean/camera_trap --splits data/splits/camera_trap \
        --metrics metrics/camera_trap --answers data/answers/camera_trap --predictions data/predictions/camera_trap \
        --shows data/params.checked.json --out reports/camera_trap
"""

import argparse
from pathlib import Path
from types import ModuleType

import matplotlib

from stages.command import run
from stages.files import new_folder
from stages.pages import of_cameras, of_clips, of_people, of_photos
from stages.pages.gallery import Gallery
from stages.pages.page import write_page
from stages.pages.study import Study, read_study
from stages.settings import read_params


def kind_of(study: Study) -> ModuleType:
    """The module of stages/pages that knows what to show of a data set of this kind."""
    if len(study.samples.people):
        return of_people
    if len(study.samples.videos):
        return of_clips
    return of_photos if study.samples.pictures["location"].isna().all() else of_cameras


def write(study: Study, out: Path) -> None:
    """Write the pages of one data set into the folder `out`, whole or not at all."""
    matplotlib.rcParams["svg.hashsalt"] = "ethogram"  # else the same chart differs in every run
    kind = kind_of(study)
    template = f"{kind.__name__.rpartition('.')[2]}.html"
    with new_folder(out) as folder:
        shown = kind.shown(study, folder, Gallery(study, folder))
        write_page(folder / "index.html", template, **{"study": study, "models": study.models} | shown)


def main() -> None:
    parser = argparse.ArgumentParser(description="everything measured of a data set -> pages")
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--clean", type=Path, required=True, help="the clean stage's output, or of clips the clips stage's")
    parser.add_argument("--splits", type=Path, required=True, help="the split stage's output")
    parser.add_argument("--metrics", type=Path, required=True, help="folder with a JSON for each model")
    parser.add_argument("--answers", type=Path, required=True, help="folder with a folder for each model")
    parser.add_argument("--predictions", type=Path, required=True, help="folder with a folder for each model")
    parser.add_argument("--shows", type=Path, required=True, help="what the page shows beside: heatmaps, synthetic pictures")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    args = parser.parse_args()
    # Names alone, so not among the stage's parameters: what a model was trained with stands in what it left.
    known = [name for name, entry in read_params()["models"].items() if entry["dataset"] == args.dataset]
    study = read_study(args.dataset, known, args.clean, args.splits, args.metrics, args.answers, args.predictions, args.shows)
    write(study, args.out)
    print(f"report: {args.out / 'index.html'}")


if __name__ == "__main__":
    run(main)
