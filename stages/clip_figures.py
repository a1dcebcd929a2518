"""What stages/evaluate.py measures of clips beyond what it measures of pictures: the nested half of test, and mAP."""

import pandas as pd

from stages import scores
from stages.answers import Answers, answer
from stages.files import seed_from
from stages.samples import TEST5


def with_test5(answers: Answers, predictions: pd.DataFrame, pictures: pd.DataFrame, chosen: dict[str, float]) -> Answers:
    """The answers, and those of test that its list names `also` once more, as a part of their own."""
    if "also" not in pictures or not (own := pictures["also"] == TEST5).any():
        return answers
    names = pictures.loc[own, "sample_id"]
    more = answer(predictions[predictions["sample_id"].isin(names)], pictures[own].assign(part=TEST5), chosen)
    both = ((answers.pictures, more.pictures), (answers.sequences, more.sequences))
    every, sequences = (pd.concat(tables, ignore_index=True) for tables in both)
    return Answers(every, sequences, answers.task)


def measure_clips(clips: pd.DataFrame, of_classes: pd.DataFrame, draws: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """mAP with its interval (by part), and AP (by part and class; missing of a class without a clip).

    `clips` have part, sample_id, seq_id and actual; `of_classes` the scores by sample_id, a column for each class.
    """
    rows, by_class = [], []
    for part, own in clips.groupby("part"):
        given = own["actual"], of_classes.loc[own["sample_id"]]
        rows.append({"part": part} | scores.map_figures(*given, own["seq_id"], draws, seed_from(seed, part)))
        by_class.append(scores.average_precisions(*given).rename_axis("label").rename("ap").reset_index().assign(part=part))
    return pd.DataFrame(rows), pd.concat(by_class, ignore_index=True)


def say_absent(name: str, by_class: pd.DataFrame) -> None:
    """Which classes mAP leaves out, since no clip of a part is of them."""
    for part, rows in by_class[by_class["n"] == 0].groupby("part"):
        print(f"{name} {part}: left out of mAP, without a clip: {', '.join(rows['label'])}")
