"""The predictions table: all that `evaluate` and `report` know of a model.

A row says one thing of one picture. `task` is class (box and joints are to come). For `class` there is a row for each
picture and each class, `score` is its probability, and the scores of a picture sum to 1.
"""

import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaErrors

from stages.files import DataError

PREDICTIONS = pa.DataFrameSchema(
    {
        "sample_id": pa.Column(str),
        "task": pa.Column(str, pa.Check.isin(["class"])),
        "label": pa.Column(str),
        "score": pa.Column(float, pa.Check.between(0, 1.000001)),
    },
    strict=True,
    unique=["sample_id", "task", "label"],
)


def check_predictions(predictions: pd.DataFrame, sample_ids: pd.Series) -> pd.DataFrame:
    """The table, checked: right columns, finite scores, every picture predicted and no other. Raises DataError."""
    try:
        predictions = PREDICTIONS.validate(predictions.reset_index(drop=True), lazy=True)
    except SchemaErrors as error:
        cases = error.failure_cases[["column", "check", "failure_case"]].head(5)
        raise DataError(f"the predictions break the table's rules:\n{cases.to_string(index=False)}") from None
    missing = sorted(set(sample_ids) - set(predictions["sample_id"]))
    strange = sorted(set(predictions["sample_id"]) - set(sample_ids))
    if missing or strange:
        raise DataError(
            f"{len(missing)} of {len(sample_ids)} pictures have no prediction ({missing[:3]}), {len(strange)} "
            f"predictions no picture ({strange[:3]}): nothing is averaged over fewer"
        )
    return predictions
