"""What the tests of the drawn data sets share: one that is drawn once, and the hashes of its files."""

import hashlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def files_of(folder: Path) -> dict[str, str]:
    """{path: sha256} of every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def drawn_once(data_set: ModuleType, settings: Any) -> Any:
    """A fixture for one test file: the folder that `data_set` draws into."""

    @pytest.fixture(scope="module")
    def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
        out = tmp_path_factory.mktemp("drawn")
        data_set.write(out, settings, seed=1, workers=1)
        return out

    return written
