"""The pictures of a data set's pages, each written once however many pages show it, and what is drawn over each."""

from pathlib import Path

from stages.pages.study import Study


class Gallery:
    """Thumbnails of one data set, in `<out>/pictures`."""

    def __init__(self, study: Study, out: Path) -> None:
        self.study, self.out = study, out / "pictures"
        self.out.mkdir()
