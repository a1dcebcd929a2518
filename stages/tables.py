"""Tables of this program's own: read from disk, and held to their rules."""

from pathlib import Path

import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaErrors

from stages.files import DataError


def read_table(path: Path) -> pd.DataFrame:
    """A parquet file as a table. Raises DataError for one that is missing or damaged."""
    try:
        return pd.read_parquet(path)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file. `dvc repro` rebuilds it if a stage makes it") from None
    except Exception as error:  # pyarrow and pandas raise OSError, ArrowInvalid, NotImplementedError, KeyError, TypeError, ...
        why = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: no table that can be read: {why}. Remove it, and run `dvc repro`") from None


def read_texts(path: Path, columns: list[str]) -> pd.DataFrame:
    """A CSV file as a table of texts, blank ones "". Raises DataError for one that is damaged, or lacks one of `columns`."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)  # a picture may be called NA
    except (OSError, ValueError) as error:  # pandas' own errors are ValueErrors
        raise DataError(f"{path}: no table that can be read: {error}. Remove it, and run `dvc repro`") from None
    if missing := [column for column in columns if column not in table]:
        raise DataError(f"{path}: no column {', '.join(missing)}. Remove it, and run `dvc repro`")
    return table


def validated(schema: pa.DataFrameSchema, table: pd.DataFrame, broken: str) -> pd.DataFrame:
    """The table with its columns checked and typed. Raises DataError, `broken` and the first faults: column, row and value."""
    try:
        return schema.validate(table, lazy=True)
    except SchemaErrors as error:
        cases = error.failure_cases[["column", "check", "index", "failure_case"]].head(5)
        raise DataError(f"{broken}:\n{cases.to_string(index=False)}") from None
    except TypeError as error:  # a column that should hold texts or numbers, and holds lists
        raise DataError(f"{broken}: {error}") from None
