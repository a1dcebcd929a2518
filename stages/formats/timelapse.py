"""A CSV of all files, for spreadsheets and for Timelapse's import of CSV files.

https://github.com/saulgreenberg/Timelapse (Timelapse/Database/CsvReaderWriter.cs) reads it so: `File` and `RelativePath` find a
row, the latter with \\ between folders; every other column must be a data label of the user's template, or nothing is imported.
In the template: Count and Frames are Counters, Score, Confidence and SequenceConfidence Positive decimals, Review a Flag, all
others Notes; a column without a control in the template is to be deleted here. Boxes come by `megadetector.write`, not by this.

    File, RelativePath                         the file's name; its folder from the run's root, blank for the root itself
    DateTime                                   by the camera's clock, 2020-12-31 23:59:59
    Label, Score, Confidence                   the answer, how sure the model is, and how often such an answer is right
    Kind                                       animal, person, vehicle, empty or failed
    Count                                      boxes that are sure enough, in a video the most in one frame; of a detector
    Review                                     true: a person should look at it
    Sequence, SequenceLabel, SequenceConfidence  of several files that show one event, where that was asked for
    Failure                                    why the file could not be read; then the answer is blank
    Note                                       what else is to be said: a video that is damaged from some second on
    Frames                                     of a video, how many were looked at, or how many windows of time

UTF-8 with a byte order mark, without which Excel would spoil accents. A cell of text that a spreadsheet would take for a
formula gets an apostrophe before it; Timelapse then does not find a file whose name or folder begins with = + - or @.
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from stages.files import new_file
from stages.formats import as_text, csv_table, probability
from stages.results import Result, Run
from stages.samples import EMPTY

COLUMNS = [
    *("File", "RelativePath", "DateTime", "Label", "Score", "Confidence", "Kind", "Count", "Review"),
    *("Sequence", "SequenceLabel", "SequenceConfidence", "Failure", "Note", "Frames"),
]


def write(target: Path, results: Iterable[Result], run: Run) -> None:
    """Write one CSV, a row for each result in their order."""
    with new_file(target) as temporary, csv_table(temporary, COLUMNS, encoding="utf-8-sig") as table:
        table.writerows(_row(result, run) for result in results)


def _row(result: Result, run: Run) -> dict[str, object]:
    folder, _, name = result.path.rpartition("/")
    row: dict[str, object] = {
        "File": as_text(name),
        "RelativePath": as_text(folder.replace("/", "\\")),
        "Kind": result.kind(run.threshold),
        "Review": str(result.review).lower(),
    }
    if result.captured_at is not None:
        row["DateTime"] = result.captured_at.isoformat(" ", "seconds")
    if result.sequence is not None:
        row["Sequence"] = as_text(result.sequence)
        row["SequenceLabel"] = as_text(result.sequence_label or EMPTY)
        row["SequenceConfidence"] = probability(result.sequence_confidence)
    if result.failure is not None:
        return row | {"Failure": as_text(result.failure)}
    row |= {
        "Label": as_text(result.label or EMPTY),
        "Score": probability(result.score),
        "Confidence": probability(result.confidence),
        "Note": as_text(result.note),
    }
    if run.finds_boxes:
        row["Count"] = max(Counter(box.frame for box in result.shown(run.threshold)).values(), default=0)
    if result.frame_rate is not None:
        row["Frames"] = len(result.frames)
    return row
