"""What became of the claims that stages/compare.py checked, for the pages: in words, and the documents' figures beside."""

from typing import Any

from stages.files import read_json
from stages.pages.study import Study
from stages.samples import TEST

HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided"
# By the verdict and by whether the figure itself goes the way that is claimed.
VERDICTS = {
    (HOLDS, True): "it holds, and the interval leaves 0 out",
    (UNDECIDED, True): "it holds by the figure alone: the interval has 0 in it, so chance may have made the difference",
    (UNDECIDED, False): "it does not hold, but nor does the contrary: the interval has 0 in it",
    (FAILS, False): "it does not hold: it is the other way round, and the interval leaves 0 out",
}
TEST_USED = "paired bootstrap over whole sequences"  # where the stage that checked does not say


def verdict(low: float, high: float) -> str:
    """holds | does not hold | undecided, by the 95 % interval of the change alone."""
    return HOLDS if low > 0 else FAILS if high < 0 else UNDECIDED


def claims_of(study: Study, document: dict[tuple[str, str], float]) -> list[dict[str, Any]]:
    """The claims about two models: name, better, than, figure, change, low, high, part, test, n (None where it is not said),
    `verdict`, `words`, and `theirs`, (better's, than's), where the document has both. No claims, or no compare: none.

    `document` has figures of the document by (model, figure).
    """
    path = study.metrics / "comparison.json"
    found = read_json(path).get("claims", {}) if path.is_file() else {}
    rows = []
    for name, claim in found.items():
        said = verdict(claim["low"], claim["high"])
        # A change that is rounded to 0 still lies on the side that its verdict is of.
        words = VERDICTS.get((said, claim["change"] > 0), VERDICTS[said, said == HOLDS])
        theirs = [document.get((claim[which], claim["figure"])) for which in ("better", "than")]
        more = {"verdict": said, "words": words, "theirs": theirs if None not in theirs else None}
        rows.append({"part": TEST, "test": TEST_USED, "n": None} | claim | {"name": name} | more)
    return rows
