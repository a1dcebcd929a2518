"""What a killed stage's state belongs to."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

from stages.files import sha256_file
from stages.fingerprint import code_in_use, key_of, versions


def test_any_input_changes_the_key() -> None:
    keys = {key_of(*inputs) for inputs in (("a", 1), ("a", 2), ("b", 1), ("a",), ("a", 1, {}))}
    assert len(keys) == 5
    assert key_of("a", 1) == key_of("a", 1)


def test_the_code_is_all_of_the_package_that_was_imported_and_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`python -m stages.train` imports stages/train.py under the name `__main__` alone."""
    program = ModuleType("__main__")
    program.__file__ = str(tmp_path / "train.py")
    monkeypatch.setitem(sys.modules, "__main__", program)
    hashes = set()
    for text in ("one", "two"):
        (tmp_path / "train.py").write_text(text)
        found = code_in_use()
        assert found[0] == sha256_file(tmp_path / "train.py")
        assert sha256_file(Path(sys.modules["stages.fingerprint"].__file__ or "")) in found
        hashes.add(key_of(found))
    assert len(hashes) == 2


def test_the_libraries_that_compute_are_told_by_version() -> None:
    assert set(versions()) >= {"torch", "torchvision", "timm", "numpy", "pillow", "effdet", "av", "pytorchvideo"}
