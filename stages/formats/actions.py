"""A CSV of what is done in each window of each video, for spreadsheets and for analysis over time.

    path, start_s, end_s       the video, from the run's root with /, and the window's seconds from its first frame
    action, score, confidence  the answer for the window, how sure the model is, and how often such an answer is right
    review                     true: a person should look at it

Files without windows, photos and what could not be read, have no row: predictions.csv says why. UTF-8 with a byte order mark,
and an apostrophe before a cell that a spreadsheet would take for a formula, as in predictions.csv.
"""

from collections.abc import Iterable
from pathlib import Path

from stages.files import new_file
from stages.formats import as_text, csv_table, probability
from stages.results import Result, Run

COLUMNS = ["path", "start_s", "end_s", "action", "score", "confidence", "review"]


def write(target: Path, results: Iterable[Result], _run: Run) -> None:
    """Write one CSV, a row for each window in the order of the results and of time."""
    with new_file(target) as temporary, csv_table(temporary, COLUMNS, encoding="utf-8-sig") as table:
        for result in results:
            for moment in result.moments:
                table.writerow(
                    {
                        "path": as_text(result.path),
                        "start_s": moment.start_s,
                        "end_s": moment.end_s,
                        "action": as_text(moment.label),
                        "score": probability(moment.score),
                        "confidence": probability(moment.confidence),
                        "review": str(moment.review).lower(),
                    }
                )
