"""dvc.lock: what each stage made, by the hash under which DVC's cache has it. DVC names neither remedy nor, often, the file."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from voluptuous import Invalid

from stages import dvc_lock
from stages.doctoring import Finding, several

GRAPH, LOCK = "dvc.yaml", "dvc.lock"


class Damaged(Exception):
    """A file that DVC would not read either; its one argument is the finding."""


@dataclass(frozen=True)
class Output:
    stage: str  # as `dvc repro` takes it
    path: Path  # from the repository's root
    md5: str  # of the file, or <hash>.dir of a folder's list of files
    bytes: int
    cached: bool  # DVC keeps a copy; of metrics, which are in git, it does not
    profile: str | None  # that the stage ran in, where its command names one


def _damaged(says: str, remedy: str) -> Damaged:
    return Damaged(Finding("cache", says, remedy, stops=True))


def _parse(path: Path, remedy: str) -> Any:
    try:
        return yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)
    except UnicodeDecodeError as error:
        raise _damaged(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})", remedy) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark else ""
        merging = " It holds the marks of a merge (<<<<<<<)" if b"\n<<<<<<< " in b"\n" + path.read_bytes() else ""
        raise _damaged(f"{path}: {line}not YAML: {getattr(error, 'problem', error)}.{merging}".rstrip("."), remedy) from None


def graphs() -> list[Path]:
    """Every dvc.yaml of the repository: in its root, and in a folder of its own."""
    return [path for path in (Path(GRAPH), *sorted(Path().glob(f"[!.]*/{GRAPH}"))) if path.is_file()]


def _bodies(graph: Path) -> dict[str, dict[str, Any]]:
    """Each stage's own mapping, that of a `foreach` once."""
    remedy = f"mend it, or `git checkout {graph}` brings back the last commit's"
    document = _parse(graph, remedy)
    if not isinstance(document, dict) or not isinstance(stages := document.get("stages", {}), dict):
        raise _damaged(f"{graph}: not a mapping with `stages`", remedy)
    return {name: stage.get("do", stage) for name, stage in stages.items() if isinstance(stage, dict)}


def _not_cached(bodies: dict[str, dict[str, Any]]) -> list[re.Pattern[str]]:
    """Of the outputs with `cache: false` a pattern each: their paths are templates."""
    patterns = []
    for body in bodies.values():
        for item in (item for kind in ("outs", "metrics", "plots") for item in body.get(kind) or []):
            for path, options in item.items() if isinstance(item, dict) else ():
                if isinstance(options, dict) and options.get("cache") is False:
                    texts = re.split(r"\$\{[^}]*\}", path)
                    patterns.append(re.compile(".+".join(map(re.escape, texts))))
    return patterns


def _is_whole(document: Any, bodies: dict[str, dict[str, Any]]) -> bool:
    """Whether the last stage of a lock has all outputs that the graph gives it."""
    name, entry = list((document.get("stages") or {"": {}}).items())[-1]
    body, outs = bodies.get(name.partition("@")[0], {}), entry.get("outs", [])
    return len(outs) >= sum(len(body.get(kind) or []) for kind in ("outs", "metrics", "plots")) and "size" in (outs or [{}])[-1]


def _document(path: Path, bodies: dict[str, dict[str, Any]]) -> Any:
    """A lock, checked. Raises Damaged, with the line."""
    remedy = (
        f"`git checkout {path}` brings back the last commit's; or delete it: then `dvc repro` runs every stage again, or "
        "`dvc commit` takes their outputs as they are"
    )
    working = dvc_lock.at_work()  # asked before the file is read: what ends meanwhile has written it whole
    cut, copied = dvc_lock.is_cut_off(path), dvc_lock.copy_of(path).is_file()
    try:
        if cut and copied:
            raise _damaged(f"{path}: cut off", "")
        document = _parse(path, remedy)
        try:
            COMPILED_LOCKFILE_SCHEMA(document)
        except Invalid as error:
            raise _damaged(f"{path}: not a lock of DVC's: {error}", remedy) from None
        if cut and not _is_whole(document, bodies):
            raise _damaged(f"{path}: cut off", "")
    except Damaged:
        if working:
            says = f"{path}: DVC is at work (process {several([*map(str, working)])}) and may be writing it just now"
            raise Damaged(Finding("cache", says, "look again when that has ended")) from None
        if not cut:
            raise
        if copied:
            remedy = f"`python -m stages.dvc_lock` puts it back as it was before the last stage; or {remedy}"
        raise _damaged(f"{path}: cut off: `dvc` was killed while it wrote it", remedy) from None
    return document


def remarks(graph: Path) -> list[Finding]:
    """What is odd about a lock that DVC reads all the same."""
    path = graph.with_name(LOCK)
    if not path.is_file() or path.read_bytes().endswith(b"\n") or not dvc_lock.is_cut_off(path):
        return []
    says = f"{path}: its last line has no end: an editor left that out, or it was cut off within that line"
    return [Finding("cache", says, f"`git diff {path}` shows which. DVC reads it, and runs a stage again whose entry is short")]


def outputs(graph: Path) -> list[Output]:
    """What the lock beside `graph` says. Raises Damaged, with the line, for a file that DVC would not read."""
    bodies, path = _bodies(graph), graph.with_name(LOCK)
    patterns = _not_cached(bodies)
    if not path.is_file():
        return []
    document = _document(path, bodies)
    prefix = "" if graph.parent == Path() else f"{graph}:"
    found = []
    for stage, made in (document.get("stages") or {}).items():
        words = made["cmd"] if isinstance(made["cmd"], str) else " ".join(made["cmd"])
        profile = re.search(r"\.(smoke|embedded|paper)\b", words)
        folder = graph.parent / bodies.get(stage.partition("@")[0], {}).get("wdir", ".")
        for out in made.get("outs", []):
            if "md5" not in out:
                continue
            cached = not any(pattern.fullmatch(out["path"]) for pattern in patterns)
            where = Path(os.path.relpath(folder / out["path"]))
            of = profile.group(1) if profile else None
            found.append(Output(prefix + stage, where, out["md5"], out.get("size", 0), cached, of))
    return found
