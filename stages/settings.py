"""params.yaml, read into frozen typed records. A stage asks for one section by its path, the path that dvc.yaml declares.

The records live beside the code that uses them. `stages.check` checks the whole file.
"""

import difflib
import json
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from stages.files import DataError

PARAMS = Path("params.yaml")
_MOST_VALUES = 1_000_000  # the shipped file has some 4,000


class Record(BaseModel):
    """Settings that cannot change once made. Unknown keys, wrong types and (in subclasses) contradictions are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


R = TypeVar("R", bound=BaseModel)


def read_params(path: Path = PARAMS) -> dict[str, Any]:
    try:
        params = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file. Run from the repository's root") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start}). Save it as UTF-8") from None
    except (yaml.YAMLError, ValueError, AttributeError, RecursionError) as error:  # `!!timestamp x`; lists nested without end
        raise DataError(f"{path}: not YAML: {error}") from None
    if not isinstance(params, dict):
        raise DataError(f"{path}: expected a mapping at the top, found {type(params).__name__}")
    _require_plain(params, path)
    return params


def _require_plain(params: dict[str, Any], path: Path) -> None:
    """Raises DataError for what JSON has no form for, and for aliases (&, *) that hold themselves or multiply without end."""
    left: list[Any] = [params]
    for _ in range(_MOST_VALUES):
        if not left:
            return
        value = left.pop()
        if isinstance(value, dict):
            if strange := [key for key in value if not isinstance(key, (str, int, float, type(None)))]:
                raise DataError(f"{path}: the key {strange[0]!r}: a text is wanted. Write it in quotes")
            left += value.values()
        elif isinstance(value, list):
            left += value
    raise DataError(f"{path}: more than {_MOST_VALUES:,} values, its aliases (&, *) written out. Does one hold itself?")


def section(path: str, record: type[R], params: dict[str, Any]) -> R:
    """The section at a dotted `path` as a `record`. Errors name the key's path, what was given and what is allowed."""
    value: Any = params
    walked: list[str] = []
    for key in path.split("."):
        if not isinstance(value, dict) or key not in value:
            known = ", ".join(map(str, value)) if isinstance(value, dict) else "nothing"
            raise DataError(f"params.yaml: {'.'.join(walked) or 'the top'}: no key `{key}`. There is: {known}")
        value = value[key]
        walked.append(key)
    try:
        # By way of JSON, whose strict mode takes an array for a tuple.
        return record.model_validate_json(json.dumps(value, default=str))
    except ValidationError as error:
        raise DataError("\n".join(_explain(path, record, detail) for detail in error.errors())) from None


def _explain(path: str, record: type[BaseModel], detail: Any) -> str:
    where = ".".join([path, *map(str, detail["loc"])])
    if detail["type"] == "extra_forbidden":
        fields = sorted(_fields_at(record, detail["loc"][:-1]))
        close = difflib.get_close_matches(str(detail["loc"][-1]), fields, 1)
        hint = f" Did you mean `{close[0]}`?" if close else ""
        return f"params.yaml: {where}: unknown key.{hint} Allowed here: {', '.join(fields)}"
    if detail["type"] == "missing":
        return f"params.yaml: {where}: missing"
    message = detail["msg"].removeprefix("Value error, ")
    hint = " (write 0.001, not 1e-3: YAML reads that as text)" if _looks_like_number(detail["input"]) else ""
    return f"params.yaml: {where}: given {detail['input']!r}: {message}{hint}"


def _looks_like_number(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        float(value)
    except ValueError:
        return False
    return True


def _fields_at(record: type[BaseModel], location: tuple[Any, ...]) -> set[str]:
    current: Any = record
    for key in location:
        field = next((f for name, f in current.model_fields.items() if key in (name, f.alias)), None)
        if field is None:
            continue  # an index, a mapping's key or a union's tag: stay
        current = _record_in(field.annotation) or current
    return {field.alias or name for name, field in current.model_fields.items()}


def _record_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = (_record_in(argument) for argument in getattr(annotation, "__args__", ()))
    return next((found for found in inner if found), None)
