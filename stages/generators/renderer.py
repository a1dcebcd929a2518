"""Cartoons drawn by this program (stages/embedded/sketch.py): the embedded profile's stand-in for a text-to-image model.

It reads class, species and view, no prompt.
"""

from collections.abc import Iterable, Sequence

from pydantic import Field

from stages.files import DataError
from stages.generators import Made, Wanted
from stages.settings import Record


class RendererSettings(Record):
    side_px: int = Field(gt=0)  # pictures are square


class Renderer:
    batch_size = 1

    def __init__(self, settings: RendererSettings) -> None:
        self._side_px = settings.side_px
        self.about = {
            "generator": "renderer: drawn, not Stable Diffusion",
            "model": "stages.embedded.posture",
            "revision": "",
            "side_px": str(settings.side_px),
        }

    def require(self, wanted: Iterable[Wanted]) -> None:
        """Raises DataError for a class, species or view that it does not draw."""
        from stages.embedded import posture

        for one in wanted:
            for name, known in (
                (one.label, {**posture.ACTIONS, **posture.CLASSES}),
                (one.species, posture.SPECIES),
                (one.view, posture.VIEWS),
            ):
                if name not in known:
                    raise DataError(f"renderer: it does not draw `{name}`; it draws {', '.join(known)}")

    def make(self, batch: Sequence[Wanted]) -> list[Made]:
        from stages.embedded import posture

        return [Made(posture.synthetic(one.label, one.species, one.view, one.seed, self._side_px)) for one in batch]


SETTINGS, open_generator = RendererSettings, Renderer
