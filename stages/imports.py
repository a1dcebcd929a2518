"""Of what code each stage is made: sha256 of every file of the package that it imports, directly or not.

    data/code/<stage>.json             of `python -m stages.<stage>`, every model family included
    data/code/<stage>-<family>.json    the same with one family alone: another family's code does not retrain this one

DVC runs this whenever anything below stages/ changes, and then those stages whose own file came out another. Each stage has
one dependency for its code in place of some twenty: DVC reads and writes the whole of dvc.lock after every stage.
"""

import argparse
import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

from stages.command import run
from stages.files import DataError, new_folder, sha256_file, write_json

PACKAGE = Path(__file__).parent
FAMILIES = PACKAGE / "networks"


def _files_of(name: str) -> set[Path]:
    """The file of a module `stages.a.b`, or of a package of that name with what lies in it that is no code (templates)."""
    if name in ("", "stages"):
        return set()
    path = PACKAGE.joinpath(*name.split(".")[1:])
    if path.with_suffix(".py").is_file():
        return {path.with_suffix(".py")}
    if (path / "__init__.py").is_file():
        return {path / "__init__.py"} | {
            file for file in path.iterdir() if file.is_file() and file.suffix not in (".py", ".pyc")
        }
    return set()


def _loaded_by_name(node: ast.Call, module: Path) -> Path | None:
    """The folder of `importlib.import_module(f"stages.<folder>.{name}")`: any of it may be meant."""
    if not (isinstance(node.func, ast.Attribute) and node.func.attr == "import_module"):
        return None
    if node.args and (found := re.match(r"f['\"]stages\.(\w+)\.\{", ast.unparse(node.args[0]))):
        return PACKAGE / found[1]
    raise _unknown(node, module)


def _unknown(node: ast.expr | ast.stmt, module: Path) -> DataError:
    return DataError(
        f"{module.relative_to(PACKAGE.parent)}: line {node.lineno}: `{ast.unparse(node)}` cannot be followed: write it as "
        '`import stages.x` or `from stages.x import y`, by name as `importlib.import_module(f"stages.<folder>.{name}")`'
    )


def _cannot_be_followed(node: ast.AST) -> TypeGuard[ast.ImportFrom | ast.expr]:
    """A relative import, or a way to import by name other than `importlib.import_module`."""
    if isinstance(node, ast.ImportFrom):
        by_name = node.module == "importlib" and {alias.name for alias in node.names} & {"import_module", "__import__", "*"}
        return node.level > 0 or bool(by_name)
    return (isinstance(node, ast.Name) and node.id == "__import__") or (
        isinstance(node, ast.Attribute) and node.attr == "__import__"
    )


@functools.cache
def _named(module: Path) -> tuple[frozenset[Path], frozenset[Path]]:
    """The files of the package that `module` itself imports, and the folders that it loads modules from by name."""
    found: set[Path] = set()
    folders: set[Path] = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if _cannot_be_followed(node):
            raise _unknown(node, module)
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Call) and (folder := _loaded_by_name(node, module)):
            folders.add(folder)
        for name in (name for name in names if name.split(".")[0] == "stages"):
            found |= _files_of(name) | _files_of(name.rpartition(".")[0])  # a package runs before its modules
    return frozenset(found), frozenset(folders)


def imported(module: Path, family: str | None = None) -> set[Path]:
    """The files that `module` imports, directly or not, itself included. Of model families all, or the one named.

    `stages/__init__.py`, which each process imports, is a map and imports `threads`: a line in the map is no other code.
    """
    seen: set[Path] = set()
    left = {module, PACKAGE / "threads.py"}
    while left:
        seen |= left
        found: set[Path] = set()
        for path in (path for path in left if path.suffix == ".py"):
            files, folders = _named(path)
            found |= files
            for folder in folders:
                found |= set((folder / family if family and folder == FAMILIES else folder).rglob("*.py"))
        left = found - seen
    return seen


def stages_of_code() -> Iterator[tuple[str, set[Path]]]:
    """(name, files) for every command of the package, and for each model family where it loads one."""
    families = sorted(path.parent.name for path in FAMILIES.glob("*/__init__.py"))
    for command in sorted(PACKAGE.glob("*.py")):
        if '__name__ == "__main__"' not in command.read_text(encoding="utf-8"):
            continue
        files = imported(command)
        yield command.stem, files
        if FAMILIES / "__init__.py" in files:
            yield from ((f"{command.stem}-{name}", imported(command, name)) for name in families)


def main() -> None:
    parser = argparse.ArgumentParser(description="list the code that each stage is made of, with its sha256")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    hashes = functools.cache(sha256_file)
    with new_folder(args.out) as folder:
        for name, files in stages_of_code():
            listed = {path.relative_to(PACKAGE.parent).as_posix(): hashes(path) for path in sorted(files)}
            write_json(folder / f"{name}.json", listed)


if __name__ == "__main__":
    run(main)
