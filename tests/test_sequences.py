"""Which files show one event: by gaps in time, exact on hand-made tables, and by lists as people write them."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.files import DataError
from stages.sequences import by_gap, from_file

CCT20 = Path(__file__).parent.parent / "../shared/real/cct20/cis_annotations.json"


def table(*rows: tuple[str, float | None] | tuple[str, float | None, bool]) -> pd.DataFrame:
    """(path, seconds since some day or None, is_video) of each file."""
    taken = [pd.NaT if row[1] is None else pd.Timestamp("2020-02-28") + pd.Timedelta(seconds=row[1]) for row in rows]
    return pd.DataFrame(
        {
            "path": [row[0] for row in rows],
            "captured_at": pd.Series(taken, dtype="datetime64[us]"),
            "is_video": [len(row) == 3 and bool(row[2]) for row in rows],
        }
    )


# By gap ------------------------------------------------------------------------------------------------------------------


def test_a_sequence_lasts_while_no_gap_is_longer() -> None:
    files = table(("a/1.jpg", 0), ("a/2.jpg", 60), ("a/3.jpg", 120), ("a/4.jpg", 180.001), ("a/5.jpg", 86_400))
    assert by_gap(files, 60).tolist() == ["a/1.jpg", "a/1.jpg", "a/1.jpg", "a/4.jpg", "a/5.jpg"]
    assert by_gap(files, 0).tolist() == files["path"].tolist()
    assert by_gap(files, float("inf")).tolist() == ["a/1.jpg"] * 5


def test_a_gap_of_a_tenth_is_a_tenth() -> None:
    assert by_gap(table(("1.jpg", 0.2), ("2.jpg", 0.3)), 0.1).tolist() == ["1.jpg", "1.jpg"]


def test_folders_and_videos_and_pictures_without_a_time_stay_apart() -> None:
    files = table(
        *(("a/1.jpg", 0), ("b/1.jpg", 0), ("a/2.mp4", 1, True), ("a/3.jpg", None), ("a/4.jpg", None)),
        *(("a/5.jpg", 2), ("a/in/6.jpg", 2), ("b/2.jpg", 1), ("7.jpg", 0)),
    )
    own = files["path"].tolist()
    expected = [own[0], own[1], own[2], own[3], own[4], "a/1.jpg", "a/in/6.jpg", "b/1.jpg", "7.jpg"]
    assert by_gap(files, 5).tolist() == expected


def test_the_id_is_the_first_by_time_and_then_by_path_on_the_tables_own_index() -> None:
    files = table(("c.jpg", 1), ("b.jpg", 0), ("a.jpg", 2), ("aa.jpg", 0)).set_axis([7, 3, 9, 3])
    found = by_gap(files, 1)
    assert found.tolist() == ["aa.jpg"] * 4
    assert found.index.tolist() == [7, 3, 9, 3]


def test_no_files_and_no_times() -> None:
    assert by_gap(table(), 1).tolist() == []
    assert by_gap(table(("1.jpg", None), ("2.jpg", None)), 9).tolist() == ["1.jpg", "2.jpg"]


FILES = st.lists(
    st.tuples(st.sampled_from("ab"), st.one_of(st.none(), st.integers(0, 300)), st.booleans()), min_size=1, max_size=30
)


@given(FILES, st.integers(0, 60), st.randoms(use_true_random=False))
def test_sequences_are_the_runs_without_a_longer_gap(rows: list[Any], gap_s: int, random: Any) -> None:
    files = table(*((f"{folder}/{index:02}.jpg", seconds, video) for index, (folder, seconds, video) in enumerate(rows)))
    found = by_gap(files, gap_s)
    sequence_of = dict(zip(files["path"], found, strict=True))
    assert set(sequence_of.values()) <= set(files["path"])
    for first, members in files.groupby(found):
        assert first in set(members["path"])
        times = members["captured_at"].sort_values()
        assert len(members) == 1 or not (members["is_video"].any() or times.isna().any())
        assert (times.diff().dropna().dt.total_seconds() <= gap_s).all()
        assert members["path"].str[0].nunique() == 1
    for folder, members in files[~files["is_video"] & files["captured_at"].notna()].groupby(files["path"].str[0]):
        starts = members.assign(sequence=found).groupby("sequence")["captured_at"].agg(["min", "max"]).sort_values("min")
        between = (starts["min"] - starts["max"].shift()).dropna().dt.total_seconds()
        assert (between > gap_s).all(), folder  # none could have been joined
    order = list(range(len(files)))
    random.shuffle(order)
    assert by_gap(files.iloc[order], gap_s).sort_index().equals(found)


def test_a_hundred_thousand_files_take_less_than_a_second() -> None:
    rng = np.random.default_rng(0)
    files = pd.DataFrame(
        {
            "path": [f"camera {index % 300}/IMG_{index:06}.JPG" for index in range(100_000)],
            "captured_at": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 10**6, 100_000), unit="s"),
            "is_video": rng.random(100_000) < 0.1,
        }
    )
    began = time.process_time()
    by_gap(files, 60)
    assert time.process_time() - began < 1


# By a list ---------------------------------------------------------------------------------------------------------------

FOUR = table(("cam/1.jpg", None), ("cam/2.jpg", None), ("cam/é.mp4", None, True), ("other/3.jpg", None))


def listed(tmp_path: Path, text: str, name: str = "list.csv") -> tuple[list[str], list[str]]:
    (tmp_path / name).write_text(text, encoding="utf-8")
    ids, lost = from_file(tmp_path / name, FOUR)
    return ids.tolist(), lost


@pytest.mark.parametrize(
    "text",
    [
        "path,sequence\ncam/1.jpg,s1\ncam/2.jpg,s1\ncam/é.mp4,s2\n",
        "\ufeffSequence ; other; File\ns1;x;cam/1.jpg\ns1;;2.jpg\ns2;;cam/é.mp4\n",
        "filepath\tseq_id\r\ncam\\1.jpg\ts1\r\ncam\\2.jpg\ts1\r\ncam\\e\u0301.mp4\ts2\r\n",
        'file_name,sequence_id\n"cam/1.jpg",s1\n1.jpg,s1\n"cam/2.jpg"," s1"\né.mp4,s2\nother/3.jpg,\n',
    ],
)
def test_a_table_as_people_write_it(tmp_path: Path, text: str) -> None:
    assert listed(tmp_path, text) == (["s1", "s1", "s2", "other/3.jpg"], [])


def test_numbers_stay_as_they_are_written(tmp_path: Path) -> None:
    assert listed(tmp_path, "path,sequence\ncam/1.jpg,007\ncam/2.jpg,NA\n")[0][:2] == ["007", "NA"]


def test_coco_camera_traps(tmp_path: Path, write_cct: Callable[..., Path]) -> None:
    images = [{"id": name, "file_name": name, "seq_id": 5} for name in ("1.jpg", "cam/2.jpg", "gone.jpg")]
    path = write_cct(tmp_path / "list.json", [*images, {"id": "3", "file_name": "3.jpg"}], [])
    ids, lost = from_file(path, FOUR.set_axis([4, 3, 2, 1]))
    assert ids.to_dict() == {4: "5", 3: "5", 2: "cam/é.mp4", 1: "other/3.jpg"}
    assert lost == ["gone.jpg"]


def test_names_that_match_no_file_are_handed_back(tmp_path: Path) -> None:
    ids, lost = listed(tmp_path, "path,sequence\n1.jpg,s\ncam/9.jpg,s\nelsewhere/1.jpg,t\n")
    assert ids == ["s", "cam/2.jpg", "cam/é.mp4", "other/3.jpg"]
    assert lost == ["cam/9.jpg", "elsewhere/1.jpg"]


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        (
            "path,sequence\nx/1.jpg,s\n",
            "list.csv",
            "no sequence for any of the files. It names x/1.jpg; the files are cam/1.jpg,",
        ),
        ("path,sequence\n", "list.csv", "no sequence for any of the files. It names nothing"),
        ("path,sequence\ncam/1.jpg,\n", "list.csv", "no sequence for any of the files"),
        ("path,sequence\n1.jpg,a\ncam/1.jpg,b\n", "list.csv", "cam/1.jpg is in the sequences a, b. Keep one"),
        (
            "path,seq\ncam/1.jpg,a\n",
            "list.csv",
            "needs one column `sequence` .or sequence_id, seq_id., found none among path, seq",
        ),
        ("path,file,sequence\n", "list.csv", "needs one column `path` .*, found path, file"),
        ("path,sequence\ncam/1.jpg,a,b\n", "list.csv", "not a CSV table: line 2"),
        ("path,sequence\ncam/1.jpg,a\ncam/2.jpg,a,b\n", "list.csv", "not a CSV table: .*line 3"),
        ("", "list.csv", "not a CSV table"),
        ("{", "list.json", "malformed JSON"),
        ('{"images": [], "detection_categories": {}}', "list.json", "not a COCO Camera Traps list"),
        ('{"images": [], "annotations": [], "categories": []}', "list.json", "no sequence for any of the files"),
    ],
)
def test_a_list_that_is_no_use_is_told(tmp_path: Path, text: str, name: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as told:
        listed(tmp_path, text, name)
    assert name in str(told.value)


def test_a_list_in_another_encoding_or_not_there(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_bytes("path,sequence\ncam/é.mp4,s\n".encode("latin-1"))
    with pytest.raises(DataError, match="list.csv: not UTF-8"):
        from_file(tmp_path / "list.csv", FOUR)
    for name in ("gone.csv", "gone.json"):
        with pytest.raises(DataError, match=f"{name}: no such file"):
            from_file(tmp_path / name, FOUR)


@pytest.mark.skipif(not CCT20.is_file(), reason="../shared/real/cct20 is not here")
def test_real_coco_camera_traps() -> None:
    images = json.loads(CCT20.read_text())["images"]
    files = table(*((f"images/{image['file_name']}", None) for image in images))
    ids, lost = from_file(CCT20, files)
    assert (ids.tolist(), lost) == ([image["seq_id"] for image in images], [])
