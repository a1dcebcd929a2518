"""What the profile in use chooses of params.yaml, one file for each thing that stages are told.

    datasets.<dataset>.<download | clean | split | seeds>.json, <models | pretrained | ...>.<key>.json, compare.<dataset>.json

A stage depends on its own file, so that another's parameters do not run it again. DVC's own `params:` does the same, but parses
the whole of params.yaml anew for each stage: 5 of the 9 seconds of a run with nothing to do.
"""

from typing import Any


def chosen(params: dict[str, Any]) -> dict[str, Any]:
    """{file name without its ending: its content} of checked parameters."""
    found: dict[str, Any] = {}
    for section, entries in params.items():
        for key, entry in entries.items() if isinstance(entries, dict) and section != "evaluate" else ():
            value = entry.get(params["profile"], entry)  # `compare` has no profiles
            parts = {f".{name}": part for name, part in value.items()} if section == "datasets" else {"": value}
            found |= {f"{section}.{key}{name}": part for name, part in parts.items()}
    return found
