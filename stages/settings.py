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


class Record(BaseModel):
    """Settings that cannot change once made. Unknown keys, wrong types and (in subclasses) contradictions are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


R = TypeVar("R", bound=BaseModel)


def read_params(path: Path = PARAMS) -> dict[str, Any]:
    try:
        params = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file. Run from the repository's root") from None
    except yaml.YAMLError as error:
        raise DataError(f"{path}: not YAML: {error}") from None
    if not isinstance(params, dict):
        raise DataError(f"{path}: expected a mapping at the top, found {type(params).__name__}")
    return params


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
