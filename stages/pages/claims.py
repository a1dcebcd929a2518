"""What became of the claims that stages/compare.py checked, for the pages: in words, and the documents' figures beside."""

from typing import Any

from stages import scores
from stages.files import DataError, read_json
from stages.pages.study import Study
from stages.samples import TEST

HOLDS, FAILS, UNDECIDED = "holds", "does not hold", scores.UNDECIDED
# By the verdict and by whether the figure itself goes the way that is claimed.
VERDICTS = {
    (HOLDS, True): "it holds, and the interval leaves 0 out",
    (UNDECIDED, True): "it holds by the figure alone: the interval has 0 in it, so chance may have made the difference",
    (UNDECIDED, False): "it does not hold, but nor does the contrary: the interval has 0 in it",
    (FAILS, False): "it does not hold: it is the other way round, and the interval leaves 0 out",
}
TEST_USED = "paired bootstrap over whole sequences"  # where the stage that checked does not say


# By what the 95 % interval of the change alone says.
OF_CHANGE = {scores.BETTER: HOLDS, scores.WORSE: FAILS, scores.UNDECIDED: UNDECIDED}


def comparison_of(study: Study) -> dict[str, Any]:
    """comparison.json, where it is of the page's data; else, or where there is none, {}: an earlier run may have left it."""
    path = study.metrics / "comparison.json"
    try:
        found = read_json(path) if path.is_file() else {}
    except DataError as error:
        print(f"{error}: shown without claims and comparisons; `dvc repro` writes it anew")
        return {}
    return found if isinstance(found, dict) and found.get("data") == study.samples.data else {}


def not_checked(study: Study) -> dict[str, str]:
    """By name why a claim was not checked, or is not shown."""
    found = comparison_of(study)
    missing = {
        name: [claim[which] for which in ("better", "than") if claim[which] not in study.models]
        for name, claim in found.get("claims", {}).items()
    }
    unknown = {name: f"{' and '.join(models)}: no figures on this page" for name, models in missing.items() if models}
    return found.get("not_checked", {}) | unknown


def claims_of(study: Study, document: dict[tuple[str, str], float]) -> list[dict[str, Any]]:
    """The claims about two models: name, better, than, figure, change, low, high, part, test, n (None where it is not said),
    `verdict`, `words`, `ours`, whether it is ours alone, won, lost and p of accuracy (None where they are not said), and
    `theirs`, (better's, than's), where the document has both. No claims, no compare, or one of other data: none; and none of a
    model that the page has not.

    `document` has figures of the document by (model, figure).
    """
    rows = []
    for name, claim in comparison_of(study).get("claims", {}).items():
        if not {claim["better"], claim["than"]} <= {*study.models}:
            continue
        said = OF_CHANGE[scores.verdict(claim["low"], claim["high"])]
        # A change that is rounded to 0 still lies on the side that its verdict is of.
        words = VERDICTS.get((said, claim["change"] > 0), VERDICTS[said, said == HOLDS])
        theirs = [document.get((claim[which], claim["figure"])) for which in ("better", "than")]
        more = {"verdict": said, "words": words, "theirs": theirs if None not in theirs else None}
        unsaid = {"part": TEST, "test": TEST_USED, "ours": False} | dict.fromkeys(("n", "won", "lost", "p"))
        rows.append(unsaid | claim | {"name": name} | more)
    return rows
