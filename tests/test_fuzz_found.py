"""What the fuzzers found (tests/fuzz_run.py): each was a traceback, a hang or a table that held no number, and is now a message."""

import io
import json
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from openpyxl import Workbook
from scipy.io import savemat

from stages import mat_files
from stages.check import check_all
from stages.datasets import Raw, adapter, animal_kingdom
from stages.files import DataError, check_manifest, write_json, write_manifest
from stages.samples import SAMPLES, Samples, read_samples, read_version
from stages.settings import read_params
from stages.sources import open_source
from stages.tables import read_table
from tests import fuzz_targets as fuzz
from tests import mpii_helpers as mpii

ROOT = Path(__file__).parent.parent
HUGE = 10**400  # JSON may hold it; a float may not


def read(name: str, root: Path, file: str, content: Any) -> Raw:
    (root / file).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return adapter(name).read(root, {file}, (file,))


def refusals(raw: Raw) -> list[str]:
    return raw.rejects["reason"].tolist()


def test_a_picture_whose_id_is_blank_has_none(tmp_path: Path) -> None:
    document = fuzz.CCT | {"images": [{"id": "", "file_name": "a.png"}, {"id": 0, "file_name": "b.png"}]}
    raw = read("caltech_camera_traps", tmp_path, "a.json", document)
    assert raw.pictures["sample_id"].tolist() == ["0"]
    assert "no_id_or_file_name" in refusals(raw)


# Animals and what they do --------------------------------------------------------------------------------------------


def animal(**more: Any) -> dict[str, Any]:
    return {"image": "a.png", "action": "lying"} | more


def test_a_number_that_no_float_holds_is_no_number(tmp_path: Path) -> None:
    rows = [animal(bbox=[HUGE, 1, 2, 3]), animal(image="b.png", keypoints=[1, HUGE, 2])]
    raw = read("animal_posture", tmp_path, "a.json", rows)
    assert raw.annotations["x_px"].isna().all()
    assert raw.keypoints is not None
    assert raw.keypoints["y_px"].isna().all()


def test_a_number_among_lists_of_keypoints_is_no_keypoint(tmp_path: Path) -> None:
    raw = read("animal_posture", tmp_path, "a.json", [animal(keypoints=[[1, 2, 2], 5.5])])
    assert refusals(raw) == ["not_keypoints"]
    assert "5.5" in raw.rejects["detail"].iloc[0]


@pytest.mark.parametrize("key", ["images", "annotations", "categories"])
@pytest.mark.parametrize("value", [0.5, "ab", [1], [None], ["x"], {"1": 2}])
def test_coco_whose_entries_are_no_objects_is_refused(tmp_path: Path, key: str, value: Any) -> None:
    document = fuzz.POSTURE_COCO | {key: value}
    if key == "images" and isinstance(value, dict):  # Animal-Pose's own form
        value = document[key] = [value, 7]
    with pytest.raises(DataError, match=rf"a\.json: .*`{key}`"):
        read("animal_posture", tmp_path, "a.json", document)


def test_a_category_without_a_name_and_names_that_are_no_texts_are_taken_as_they_are(tmp_path: Path) -> None:
    document = fuzz.POSTURE_COCO | {"categories": [{"id": 1, "keypoints": [["nose"], 7]}, {"name": "dog"}]}
    raw = read("animal_posture", tmp_path, "a.json", document)
    assert raw.keypoints is not None
    assert set(raw.keypoints["keypoint"]) == {"['nose']", "7"}
    assert raw.pictures["species"].isna().all()


def test_attributes_that_are_no_object_say_nothing(tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": "a.png", "attributes": 5, "action": "lying"}]
    raw = read("animal_posture", tmp_path, "a.json", {"images": images, "annotations": []})
    assert raw.annotations["label"].tolist() == ["lying"]


# Animal Kingdom ------------------------------------------------------------------------------------------------------


def workbook(path: Path, change: Callable[[dict[str, bytes]], None] | None = None, **sheets: list[list[Any]]) -> Path:
    """The workbook of the fuzzers with other sheets, its parts changed."""
    book = Workbook()
    book.remove(book.worksheets[0])
    for name, rows in {**fuzz.KINGDOM, **sheets}.items():
        page = book.create_sheet(name)
        for row in rows:
            page.append(row)
    book.save(path)
    if change is not None:
        with zipfile.ZipFile(path) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        change(parts)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in parts.items():
                archive.writestr(name, data)
    return path


def read_book(path: Path) -> Raw:
    return adapter("animal_kingdom").read(path.parent, {path.name}, (path.name,))


def test_a_row_of_actions_that_ends_before_its_header_names_none(tmp_path: Path) -> None:
    raw = read_book(workbook(tmp_path / "b.xlsx", Action=[["Label", "Category", "Action"], [2], [40, "x", "Eating"]]))
    assert set(raw.annotations["label"]) == {"Eating"}
    assert "unknown_label" in refusals(raw)


def test_a_workbook_whose_cells_point_to_texts_that_are_not_there_is_refused(tmp_path: Path) -> None:
    def point(parts: dict[str, bytes]) -> None:
        sheet = parts["xl/worksheets/sheet1.xml"]
        parts["xl/worksheets/sheet1.xml"] = sheet.replace(b't="inlineStr"><is><t>S/N</t></is>', b't="s"><v>7</v>')

    path = workbook(tmp_path / "b.xlsx", point)
    with pytest.raises(DataError, match=r"b\.xlsx: no workbook that can be read: list index out of range\. Fetch it again"):
        read_book(path)


def test_a_workbook_that_is_damaged_within_is_refused(tmp_path: Path) -> None:
    path = workbook(tmp_path / "b.xlsx")
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo("xl/worksheets/sheet1.xml").header_offset
    data = bytearray(path.read_bytes())
    data[start + 70 : start + 90] = bytes(range(200, 220))
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"b\.xlsx: no workbook that can be read: .*Fetch it again"):
        read_book(path)


def test_a_row_that_says_it_is_the_two_thousand_millionth_costs_no_memory(tmp_path: Path) -> None:
    def far(parts: dict[str, bytes]) -> None:
        sheet = parts["xl/worksheets/sheet1.xml"]
        parts["xl/worksheets/sheet1.xml"] = sheet.replace(b'<row r="4"', b'<row r="2000000000"')

    path = workbook(tmp_path / "b.xlsx", far)
    with pytest.raises(DataError, match=r"b\.xlsx: .*more than 1,048,576 rows"):
        read_book(path)


def test_a_workbook_that_would_fill_the_memory_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(animal_kingdom, "_MOST_BYTES", 100_000)
    path = workbook(tmp_path / "b.xlsx", lambda parts: parts.update({"xl/sharedStrings.xml": b" " * 100_000}))
    assert path.stat().st_size < 20_000
    with pytest.raises(DataError, match=r"b\.xlsx: .*unpacked it would have 1\d\d,\d\d\d bytes, more than 100,000"):
        read_book(path)


def test_a_label_of_thousands_of_digits_is_unreadable(tmp_path: Path) -> None:
    digits = "9" * 5000
    raw = read("animal_kingdom", tmp_path, "train.csv", f"video_id,labels\na,{digits}\nb,2\n")
    assert refusals(raw) == ["unreadable_label"]
    book = workbook(tmp_path / "b.xlsx", Action=[["Label", "Action"], [digits, "Flying"], [2, "Attending"], [40, "Eating"]])
    assert set(read_book(book).annotations["label"]) == {"Attending", "Eating"}


# MPII ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("second", [1e300, 2.0**63, -1e19, float("inf")])
def test_a_second_of_a_video_that_no_table_holds_is_none(tmp_path: Path, second: float) -> None:
    fuzz.pictures(tmp_path)
    standing = mpii.person({0: (1, 1), 9: (2, 2)})
    mpii.write_mat(tmp_path / "m.mat", [mpii.picture("a.png", standing, vidx=3, frame_sec=second)], ["sports"])
    raw = adapter("mpii").read(tmp_path, {"m.mat", "a.png"}, ())
    cleaned = fuzz._cleaned(raw, tmp_path)
    assert cleaned.samples["seq_id"].tolist() == ["video_3"]
    assert cleaned.samples["frame_num"].isna().all()


def nested_cells(depth: int, mark: str = "<", packed: bool = False) -> bytes:
    """A .mat whose RELEASE is a cell that holds a cell that holds a cell, ... and at last nothing."""
    head = struct.pack(f"{mark}IIIIIIii", 6, 8, 1, 0, 5, 8, 1, 1)  # of a cell, 1 x 1
    sizes = [0]
    for _ in range(depth):
        sizes.append(len(head) + 8 + 8 + sizes[-1])  # flags and size, a blank name, the tag of what is within
    levels = [struct.pack(f"{mark}II", 14, size) + head + struct.pack(f"{mark}II", 1, 0) for size in sizes[:0:-1]]
    levels[0] = struct.pack(f"{mark}II", 14, sizes[-1] + 8) + head + struct.pack(f"{mark}II8s", 1, 7, b"RELEASE")
    data = b"".join(levels) + struct.pack(f"{mark}II", 14, 0)
    if packed:
        data = zlib.compress(data)
        data = struct.pack(f"{mark}II", 15, len(data)) + data
    return b"MATLAB 5.0 MAT-file".ljust(124) + (b"\x00\x01IM" if mark == "<" else b"\x01\x00MI") + data


def mpii_process(folder: Path) -> subprocess.CompletedProcess[str]:
    """Read m.mat in a process of its own: what overruns the stack ends it without a word."""
    code = f"from stages.datasets import adapter; adapter('mpii').read(__import__('pathlib').Path({str(folder)!r}), {{'m.mat'}}, ())"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)


def test_a_mat_whose_order_of_bytes_is_unknown_is_looked_at_as_scipy_does(tmp_path: Path) -> None:
    (tmp_path / "m.mat").write_bytes(nested_cells(50_000, ">").replace(b"\x01\x00MI", b"\x01\x00XX", 1))
    assert "lie more than 200 deep" in mpii_process(tmp_path).stderr


@pytest.mark.parametrize(("mark", "packed"), [("<", False), (">", False), ("<", True)])
def test_cells_within_cells_without_end_do_not_overrun_the_stack(tmp_path: Path, mark: str, packed: bool) -> None:
    (tmp_path / "m.mat").write_bytes(nested_cells(50_000, mark, packed))
    done = mpii_process(tmp_path)
    assert done.returncode == 1, "not ended by a signal"
    assert "m.mat: not a MATLAB file that can be read: its values lie more than 200 deep in each other" in done.stderr


@pytest.mark.parametrize(("mark", "packed"), [("<", False), (">", False), ("<", True)])
def test_some_cells_within_cells_are_read(tmp_path: Path, mark: str, packed: bool) -> None:
    (tmp_path / "m.mat").write_bytes(nested_cells(150, mark, packed))
    with pytest.raises(DataError, match=r"m\.mat: no pictures: RELEASE\.annolist is missing or empty"):
        adapter("mpii").read(tmp_path, {"m.mat"}, ())


@pytest.mark.parametrize("packed", [False, True])
def test_no_bit_of_a_mat_brings_scipy_down(tmp_path: Path, packed: bool) -> None:
    """The first bytes of each element say its kind, which scipy takes for the index into an array without a bound."""
    memory = io.BytesIO()
    savemat(memory, {"RELEASE": fuzz._matlab(fuzz.RELEASE)}, do_compression=False)
    sound = memory.getvalue()
    mat_files.require_sound(sound)
    kinds = [at for at in range(128, len(sound), 8) if int.from_bytes(sound[at : at + 4], "little") in (5, 6, 9, 14)]
    assert len(kinds) > 500
    refused = 0
    for at in kinds:
        data = sound[:at] + bytes([sound[at] ^ 0x60]) + sound[at + 1 :]
        if packed:
            element = zlib.compress(data[128:], 1)
            data = data[:128] + struct.pack("<II", 15, len(element)) + element
        try:
            mat_files.require_sound(data)
        except ValueError:
            refused += 1
    assert refused > 0.95 * len(kinds)  # the others are numbers that look like a kind


def test_a_mat_that_would_fill_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mat_files, "_MOST_BYTES", 100_000)
    savemat(tmp_path / "m.mat", {"RELEASE": np.zeros(100_000, np.uint8)}, do_compression=True)
    assert (tmp_path / "m.mat").stat().st_size < 1000
    with pytest.raises(DataError, match=r"m\.mat: .*unpacked it would have more than 100,000 bytes"):
        adapter("mpii").read(tmp_path, {"m.mat"}, ())


# What the pipeline itself wrote --------------------------------------------------------------------------------------


def sound(folder: Path, **columns: Any) -> Path:
    """A cleaned data set of three pictures, columns changed."""
    folder.mkdir(exist_ok=True)
    fuzz._no_boxes(folder)
    (folder / "samples.parquet").write_bytes(fuzz._parquet(fuzz.SAMPLE_ROWS))
    if columns:
        read_table(folder / "samples.parquet").assign(**columns).to_parquet(folder / "samples.parquet")
    return folder


def test_the_sound_tables_of_the_fuzzers_are_taken(tmp_path: Path) -> None:
    assert list(read_samples(sound(tmp_path)).pictures.columns) == list(SAMPLES.columns)


@pytest.mark.parametrize("size", [0, 3, 100, -1, -8, -100])
def test_a_table_that_is_cut_off_is_named_with_what_to_do(tmp_path: Path, size: int) -> None:
    path = sound(tmp_path) / "samples.parquet"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DataError, match=r"no table that can be read: .*Remove it, and run `dvc repro`") as caught:
        read_samples(tmp_path)
    assert str(caught.value).startswith(str(path))


def test_a_table_that_is_missing_is_named(tmp_path: Path) -> None:
    (sound(tmp_path) / "samples.parquet").unlink()
    with pytest.raises(DataError, match=r"samples\.parquet: no such file"):
        read_samples(tmp_path)


def test_a_column_of_lists_breaks_the_rules_of_a_table(tmp_path: Path) -> None:
    folder = sound(tmp_path, sample_id=[np.array(["a"]), np.array(["b"]), np.array(["c"])])
    with pytest.raises(DataError, match=r"the samples table breaks its own rules") as caught:
        read_samples(folder)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("content", ["[]", '"x"', "{}", '{"root": 5, "data": "x"}', '{"root": null, "data": "your data"}'])
def test_a_source_that_does_not_say_where_its_pictures_lie_is_refused(tmp_path: Path, content: str) -> None:
    (sound(tmp_path) / "source.json").write_text(content)
    with pytest.raises(DataError, match=r"source\.json: not as `clean` leaves it"):
        read_samples(tmp_path)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("source.json", "5"),
        ("source.json", '{"adapter": "table", "data": "x"}'),
        ("source.json", '{"source": 5, "adapter": "table", "data": "x"}'),
        ("source.json", '{"source": "path:/x", "adapter": "table", "data": "x"}'),
        ("files.csv", ""),
        ("files.csv", "path,bytes\na.png,5\n"),
        ("files.csv", "path,bytes,mtime_ns,sha256\na.png,many,1,x\n"),
        ("files.csv", "path,bytes,mtime_ns,sha256\na.png\n"),
        ("files.csv", "path,bytes,mtime_ns,sha256\na.png,1,yesterday,x\n"),
    ],
)
def test_what_download_left_is_refused_where_it_is_no_longer_so(tmp_path: Path, file: str, content: str) -> None:
    write_json(tmp_path / "source.json", {"source": "path:/x", "root": "/x", "adapter": "table", "data": "your data"})
    (tmp_path / file).write_text(content)
    write_manifest(tmp_path)
    if content == "":
        assert not open_source(tmp_path).files
        return
    with pytest.raises(DataError, match=rf"{file}: not as `download` leaves it \(.*Remove its folder, and run `dvc repro`"):
        open_source(tmp_path)


@pytest.mark.parametrize("entry", [5, {"bytes": 9}, None])
def test_a_manifest_of_downloaded_files_that_is_none_is_refused(tmp_path: Path, entry: Any) -> None:
    write_json(tmp_path / "source.json", {"source": "url", "adapter": "table", "data": "your data"})
    for listed in ({"a.png": entry}, [entry]):
        write_json(tmp_path / "manifest.json", listed)
        with pytest.raises(DataError, match=r"manifest\.json: not as `download` leaves it"):
            open_source(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"sample_id\na\n", b'a,"b\n', b"a,b\n1,2,3\n", b"part\ntrain\n"])
def test_a_list_of_parts_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    samples: Samples = read_samples(sound(tmp_path / "clean"))
    (tmp_path / "parts.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"parts\.csv: no "):
        read_version(tmp_path, samples)


@pytest.mark.parametrize(
    ("listed", "wrong"),
    [
        ([], "manifest.json"),
        (5, "manifest.json"),
        ({"b.bin": 5}, "manifest.json"),
        ({"b.bin": {"bytes": 9}}, "manifest.json"),
        ({"a\0b": {"bytes": 9, "sha256": ""}}, "a\0b"),
        ({"a" * 300: {"bytes": 9, "sha256": ""}}, "a" * 300),
    ],
)
def test_a_manifest_that_is_none_is_a_problem_that_names_it(tmp_path: Path, listed: Any, wrong: str) -> None:
    write_json(tmp_path / "manifest.json", listed)
    problems = check_manifest(tmp_path)
    assert problems
    assert wrong in problems[0]


# params.yaml ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("profile: é".encode("latin-1"), "not UTF-8"),
        ("profile: é".encode("utf-16"), "not UTF-8"),
        (b"profile: 2020-13-45", "month"),
        (b"profile: !!int x", "not YAML"),
        (b"[" * 2000, "not YAML"),
        (b"x: &b [*b]", "Does one hold itself"),
        (b"a: &a [1, 2]\n" + b"".join(b"%c: &%c [%s]\n" % (n + 1, n + 1, b", ".join([b"*%c" % n] * 30)) for n in range(97, 106)), "aliases"),
    ],
)  # fmt: skip
def test_params_that_are_no_settings_are_refused_by_name(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"params\.yaml: ") as caught:
        check_all(read_params(path))
    assert said in str(caught.value)


# A model's card ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        None, [], 5, {"family": None}, {"family": "nobody"}, {"architecture": 5}, {"options": None}, {"options": {"width": "x"}},
        {"options": {"width": -1}}, {"outputs": 3}, {"outputs": []}, {"as_built": None, "outputs": ["a"]}, {"mean": "x"}, {"std": [1]},
        {"image_px": "96"}, {"image_px": None},
    ],
)  # fmt: skip
def test_a_card_that_no_training_leaves_is_refused_by_name(tmp_path: Path, change: Any) -> None:
    fuzz._weights(tmp_path)
    card = fuzz.CARD | change if isinstance(change, dict) else change
    (tmp_path / "model.json").write_text(json.dumps(card), encoding="utf-8")
    with pytest.raises(DataError):
        fuzz._model(tmp_path)


def test_the_sound_card_of_the_fuzzers_is_taken(tmp_path: Path) -> None:
    fuzz._weights(tmp_path)
    write_json(tmp_path / "model.json", fuzz.CARD)
    assert fuzz._model(tmp_path).classes == ("deer", "empty")
