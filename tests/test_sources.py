"""A file's name as a table has it -> its path in the folder."""

from pathlib import PurePosixPath
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.sources import finder

FILES = ["fotos/a.jpg", "fotos/b.jpg", "more/b.jpg", "more/Grün.JPG", "x/C.jpg", "x/c.jpg", "d.jpg"]


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("fotos/a.jpg", "fotos/a.jpg"),
        ("a.jpg", "fotos/a.jpg"),
        ("b.jpg", None),  # two end so
        (r"more\b.jpg", "more/b.jpg"),
        (r"C:\Users\Jörg\Bilder\fotos\a.jpg", "fotos/a.jpg"),
        (r"C:\Users\Jörg\Bilder\fotos\b.jpg", "fotos/b.jpg"),
        ("/home/x/somewhere/d.jpg", "d.jpg"),
        ("/home/x/somewhere/b.jpg", None),
        ("elsewhere/a.jpg", None),  # begins in the folder, and is not there
        ("FOTOS/A.JPG", "fotos/a.jpg"),
        (normalize("NFD", "more/grün.jpg"), "more/Grün.JPG"),
        ("c.jpg", "x/c.jpg"),  # its own capitals first
        ("C.JPG", None),  # two, whatever the capitals
        (r"D:\X\C.jpg", "x/C.jpg"),
        ("C:", None),
        ("", None),
        ("/", None),
    ],
)
def test_names_and_their_paths(name: str, path: str | None) -> None:
    assert finder(FILES)(name) == path


parts = st.lists(st.text("abcä", min_size=1, max_size=2), min_size=1, max_size=3).map("/".join)


@given(files=st.sets(parts, min_size=1), name=parts, root=st.sampled_from(["C:/p/", "/home/", "//share/q/"]))
def test_what_is_found_is_a_file_that_ends_so(files: set[str], name: str, root: str) -> None:
    find = finder(files)
    assert find(name) in {None, *(path for path in files if f"/{path}".endswith(f"/{name}"))}
    for path in files:
        assert find(path) == path
        found = find(root + path)
        assert found is None or PurePosixPath(found).name == PurePosixPath(path).name
