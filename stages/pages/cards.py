"""The cards: models/<model>.html, a card of each model, and data.html, one of the data set."""

from pathlib import Path

from stages.pages import data_cards, model_cards
from stages.pages.gallery import JUDGED, Gallery
from stages.pages.page import comparisons, write_page
from stages.pages.study import Study

MODELS = "models"


def page_of(model: str) -> str:
    """The file of a model's card in MODELS. A name is one of a folder of answers, so it can be one of a file as well."""
    return f"{model}.html"


def write(study: Study, out: Path, gallery: Gallery) -> None:
    """Write the cards of a study into its folder `out`."""
    common = {"study": study, "models": study.models}
    write_page(out / "data.html", "data.html", up="", **common, **data_cards.of_data(study, gallery))
    folder = out / MODELS
    folder.mkdir(exist_ok=True)
    parts = {part for found in study.models.values() for part in found["parts"]}
    constants = {part: comparisons(study, part)["baselines"] for part in sorted(parts & set(JUDGED))}
    for name in study.models:
        shown = model_cards.of_model(study, gallery, name, constants, folder)
        write_page(folder / page_of(name), "model.html", up="../", **common, **shown)
