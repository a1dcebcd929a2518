"""Animal Kingdom's metadata, as the authors write it and with odd rows; the subset that a study wants of it."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl import Workbook

from stages.clean import CleanSettings
from stages.datasets import Raw
from stages.datasets.animal_kingdom import animals_of, numbers_of, read
from stages.files import DataError, read_json
from stages.samples import read_samples
from stages.settings import section
from stages.split import SplitSettings
from stages.subset import read_metadata, subset
from tests.clip_helpers import every, write_folder, write_video
from tests.conftest import Finished

REAL = (Path(__file__).parent.parent / "../shared/real/animal_kingdom").resolve()
absent = pytest.mark.skipif(not REAL.is_dir(), reason="../shared/real/animal_kingdom is not here")
NINE = "Keeping still,Walking,Eating,Chirping,Swimming,Attending,Flying,Running,Jumping".split(",")
HEADER = ("S/N", "video_id", "type", "labels", "list_animal_action")
ACTIONS = {2: "Attending", 40: "Eating", 78: "Moving", 133: "Walking"}
WOLF = "[('Wolf', 'Moving')]"


def workbook(path: Path, rows: list[tuple[Any, ...]], header: tuple[str, ...] = HEADER, **sheets: dict[int, str]) -> Path:
    """Rows without their number; sheets by name, of {number: action}."""
    book = Workbook()
    book.remove(book.worksheets[0])
    page = book.create_sheet("AR")
    page.append(header)
    for number, row in enumerate(rows, 1):
        page.append((number, *row) if header[0] == "S/N" else row)
    for name, actions in (sheets or {"Action": ACTIONS}).items():
        page = book.create_sheet(name)
        page.append(("Label", "Category", "Action", "Description"))
        for label, action in actions.items():
            page.append((label, "x", action, ""))
    book.save(path)
    return path


def read_folder(root: Path, *annotations: str) -> Raw:
    return read(root, [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()], annotations)


def kept(raw: Raw) -> dict[str, tuple[Any, ...]]:
    """{id: (class, animal, given list)}"""
    table = raw.pictures.drop(columns="label").merge(raw.annotations[["sample_id", "label"]], on="sample_id")
    table = table.astype(object).where(table.notna(), None)
    return {row.sample_id: (row.label, row.species, row.given_split) for row in table.itertuples()}


def refused(raw: Raw) -> list[tuple[str, str]]:
    return [(str(row["row"]), str(row["reason"])) for _, row in raw.rejects.iterrows()]


# The workbook -------------------------------------------------------------------------------------------------------------


def test_rows_as_the_authors_write_them(tmp_path: Path) -> None:
    workbook(tmp_path / "AR_metadata.xlsx", [
        ("AAAA", "train", "78", WOLF),
        ("BBBB", "test", "133", "[('Lion', 'Walking'), ('Lion', 'Walking')]"),
        ("CCCC", "train", "78", '[\'[("Russell\\\'S Viper", \\\'Moving\\\')]\']'),
        ("DDDD", "train", "2,40", "[('Common Crane', 'Attending'), ('Common Crane', 'Eating')]"),
        ("EEEE", "train", "133", "[('Lion Young', 'Walking'), ('Lion', 'Walking')]"),
        ("FFFF", "train", "78", '[\'[("Russell\\\'S Viper", \\\'Moving\\\'), (\\\'Frog\\\', \\\'Moving\\\')]\']'),
    ])  # fmt: skip
    raw = read_folder(tmp_path)
    assert kept(raw) == {
        "AAAA": ("Moving", "Wolf", "train"), "BBBB": ("Walking", "Lion", "test"), "CCCC": ("Moving", "Russell'S Viper", "train")
    }  # fmt: skip
    assert refused(raw) == [
        ("AR_metadata.xlsx row 5", "several_actions"),
        ("AR_metadata.xlsx row 6", "several_animals"),
        ("AR_metadata.xlsx row 7", "several_animals_in_text"),
    ]
    assert (raw.videos, raw.pictures["seq_id"].tolist()) == (True, ["AAAA", "BBBB", "CCCC"])
    assert raw.rejects["detail"].tolist() == ["Attending, Eating", "Lion Young, Lion", "Russell'S Viper, Frog"]


ODD = [
    (("A", "train", None, None), "no_label"),
    (("A", "train", "", WOLF), "no_label"),
    (("A", "train", "78", None), "no_animal"),
    (("A", "train", "78", "[]"), "unreadable_list"),
    (("A", "train", "78", "[('Wolf', 'Moving')"), "unreadable_list"),
    (("A", "train", "78", "Wolf"), "unreadable_list"),
    (("A", "train", "78", "[('', 'Moving')]"), "unreadable_list"),
    (("A", "train", "78", "[(1, 'Moving')]"), "unreadable_list"),
    (("A", "train", "78", "__import__('os').system('true')"), "unreadable_list"),
    (("A", "train", "78", "[" * 5000), "unreadable_list"),
    (("A", "train", "78", "['[\"[]\"]']"), "unreadable_list"),
    (("A", "train", 2.4, WOLF), "unreadable_label"),  # 2,4 in a spreadsheet program that writes decimals with a comma
    (("A", "train", "Walking", WOLF), "unreadable_label"),
    (("A", "train", "78,", WOLF), "unreadable_label"),
    (("A", "train", "999", WOLF), "unknown_label"),
    (("A", "validation", "78", WOLF), "unknown_type"),
    ((None, "train", "78", WOLF), "no_id"),
    (("Z", "train", "78", WOLF), "duplicate_id"),
    (("Z", "test", "78", WOLF), "contradiction"),
]


@pytest.mark.parametrize(("row", "reason"), ODD, ids=[f"{reason}-{place}" for place, (_, reason) in enumerate(ODD)])
def test_odd_rows_are_refused_one_by_one(tmp_path: Path, row: tuple[Any, ...], reason: str) -> None:
    workbook(tmp_path / "AR_metadata.xlsx", [("Z", "train", "78", WOLF), ("Y", "train", "78", WOLF), row])
    raw = read_folder(tmp_path)
    both = [("AR_metadata.xlsx row 2", "contradiction")] if reason == "contradiction" else []
    assert refused(raw) == [*both, ("AR_metadata.xlsx row 4", reason)]
    assert kept(raw) == {name: ("Moving", "Wolf", "train") for name in "ZY" if not (both and name == "Z")}


@pytest.mark.parametrize("labels", [78, 78.0, " 78 ", "78,78"])
def test_a_single_label_however_it_is_written(tmp_path: Path, labels: object) -> None:
    workbook(tmp_path / "AR_metadata.xlsx", [("A", " Train", labels, "[('wolf ', 'Moving'), ('Wolf', 'Moving')]"), (None,) * 4])
    assert kept(read_folder(tmp_path)) == {"A": ("Moving", "wolf", "train")}


def test_the_sheet_action_comes_before_df_action(tmp_path: Path) -> None:
    workbook(
        tmp_path / "AR_metadata.xlsx", [("A", "train", "49", WOLF), ("B", "train", "139", WOLF)], Action={49: "Flapping tail"}
    )
    book = Workbook()
    for row in (("S/N", "action_category", "action", "index"), (1, "x", "Flapping its ears", 49), (2, "x", "Yawning", 139)):
        book.worksheets[0].append(row)
    (tmp_path / "annotation").mkdir()
    book.save(tmp_path / "annotation/df_action.xlsx")
    assert {name: row[0] for name, row in kept(read_folder(tmp_path)).items()} == {"A": "Flapping tail", "B": "Yawning"}


def test_a_list_of_animals_alone(tmp_path: Path) -> None:
    header = ("video_id", "type", "labels", "list_animal")
    workbook(tmp_path / "AR_metadata.xlsx", [("A", "train", "78", "['Wolf']"), ("B", "test", "78", "['Wolf', 'Fox']")], header)
    raw = read_folder(tmp_path)
    assert (kept(raw), refused(raw)) == ({"A": ("Moving", "Wolf", "train")}, [("AR_metadata.xlsx row 3", "several_animals")])


def test_workbooks_that_cannot_be_used(tmp_path: Path) -> None:
    path = tmp_path / "AR_metadata.xlsx"
    for content, message in [
        (b"<!DOCTYPE html>", "no workbook that can be read"),
        (workbook(path, []).read_bytes()[:900], "no workbook that can be read"),
    ]:
        path.write_bytes(content)
        with pytest.raises(DataError, match=message):
            read_folder(tmp_path)
    workbook(path, [], ("S/N", "video", "labels"))
    with pytest.raises(DataError, match="no column video_id. Found: S/N, video, labels"):
        read_folder(tmp_path)
    workbook(path, [], ("video_id", "labels"))
    with pytest.raises(DataError, match="no column type"):
        read_folder(tmp_path)
    book = Workbook()
    book.save(path)
    with pytest.raises(DataError, match="no sheet AR"):
        read_folder(tmp_path)


# Text tables --------------------------------------------------------------------------------------------------------------


def frames_table(path: Path, clips: dict[str, str | list[str]], separator: str = " ", quote: str = '"') -> None:
    """{id: labels, or those of each frame} in the manner of Charades."""
    lines = [separator.join(("original_vido_id", "video_id", "frame_id", "path", "labels"))]
    for number, (name, labels) in enumerate(clips.items()):
        for frame, text in enumerate([labels] * 3 if isinstance(labels, str) else labels):
            fields = (name, str(number), str(frame + 1), f"{name}/{name}_t{frame + 1:06}.jpg", f"{quote}{text}{quote}")
            lines.append(separator.join(fields))
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(("separator", "quote"), [(" ", '"'), (" ", ""), (";", '"'), (";", ""), ("\t", "")])
def test_tables_of_frames(tmp_path: Path, separator: str, quote: str) -> None:
    book = Workbook()
    for row in (("S/N", "action_category", "action", "index"), *((n, "x", name, n) for n, name in ACTIONS.items())):
        book.worksheets[0].append(row)
    book.save(tmp_path / "df_action.xlsx")
    frames_table(tmp_path / "train.csv", {"AAAA": "78", "BBBB": "2,40", "CCCC": ["78", "133", "78"]}, separator, quote)
    frames_table(tmp_path / "val.csv", {"DDDD": "133"}, separator, quote)
    raw = read_folder(tmp_path)
    assert kept(raw) == {"AAAA": ("Moving", None, "train"), "DDDD": ("Walking", None, "test")}
    assert refused(raw) == [("train.csv line 5", "several_actions"), ("train.csv line 8", "several_actions")]


def test_odd_tables_of_frames(tmp_path: Path) -> None:
    frames_table(tmp_path / "train.csv", {"AAAA": "78", "BBBB": ""})
    with (tmp_path / "train.csv").open("a") as file:
        file.write('CCCC 9 1 "78"\n\nDDDD 10 1 DDDD/1.jpg "Walking"\n')
    frames_table(tmp_path / "val.csv", {"AAAA": "78"})
    raw = read_folder(tmp_path)
    assert kept(raw) == {}
    assert sorted(refused(raw)) == [
        ("train.csv line 10", "unreadable_label"), ("train.csv line 2", "contradiction"), ("train.csv line 5", "no_label"),
        ("train.csv line 8", "unreadable_row"), ("val.csv line 2", "contradiction"),
    ]  # fmt: skip


def test_without_names_of_actions_a_class_is_its_number(tmp_path: Path) -> None:
    frames_table(tmp_path / "train.csv", {"AAAA": "78"})
    assert kept(read_folder(tmp_path)) == {"AAAA": ("78", None, "train")}


@pytest.mark.parametrize("separator", [";", ","])
def test_a_fork_of_the_metadata_as_text(tmp_path: Path, separator: str) -> None:
    with (tmp_path / "AR_metadata.csv").open("w", newline="", encoding="utf-8-sig") as file:
        rows = csv.writer(file, delimiter=separator)
        rows.writerow(("S/N", "video_id", "type", "labels", "list_animal_action"))
        rows.writerow((1, "AAAA", "test", "78", WOLF))
        rows.writerow((2, "BBBB", "train", "2,78", "[('Wolf', 'Attending'), ('Wolf', 'Moving')]"))
    (tmp_path / "clips.csv").write_text("name,notes\nx,y\n")
    raw = read_folder(tmp_path)
    assert (kept(raw), refused(raw)) == ({"AAAA": ("78", "Wolf", "test")}, [("AR_metadata.csv line 3", "several_actions")])


def test_text_that_is_not_utf_8(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"video_id;labels;type\nA;78;train\nB\xe9;78;train\n")
    with pytest.raises(DataError, match='a.csv: not UTF-8 after line .*Save it as "CSV UTF-8"'):
        read_folder(tmp_path)


def test_several_workbooks_want_a_name(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    workbook(tmp_path / "AR_metadata.xlsx", [("A", "train", "78", WOLF)])
    workbook(tmp_path / "old/AR_metadata.xlsx", [("B", "train", "78", WOLF)])
    with pytest.raises(
        DataError, match="several tables, AR_metadata.xlsx, old/AR_metadata.xlsx. Name one in `clean.annotations`"
    ):
        read_folder(tmp_path)
    assert list(kept(read_folder(tmp_path, "old/AR_metadata.xlsx"))) == ["B"]


# The parsers --------------------------------------------------------------------------------------------------------------

names = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1).filter(
    lambda name: name.strip() and not name.strip().startswith("[")
)


@given(st.lists(st.tuples(names, names), min_size=1, max_size=5), st.integers(0, 2))
def test_a_list_is_read_back_through_any_depth_of_text(pairs: list[tuple[str, str]], depth: int) -> None:
    written = repr(pairs)
    for _ in range(depth):
        written = repr([written])
    found = animals_of(written)
    assert found is not None
    kinds = {" ".join(name.split()).casefold() for name, _ in pairs}
    assert {kind.casefold() for kind in found[0]} == kinds
    assert found[1] == (1 if depth else len(kinds))


@given(st.one_of(st.text(), st.text("[]()'\",\\ Wolf1", max_size=30)))
def test_any_text_is_a_list_of_animals_or_none(text: str) -> None:
    found = animals_of(text)
    assert found is None or (len(found[0]) > 0 and found[1] > 0)


@given(st.lists(st.integers(0, 10**4), min_size=1, max_size=5), st.sampled_from([",", ", ", " , "]))
def test_labels_are_read_back(numbers: list[int], between: str) -> None:
    assert numbers_of((between.join(map(str, numbers)),)) == set(numbers)


@given(st.text("0123456789,;. -a٣", max_size=8))
def test_labels_are_numbers_or_none(text: str) -> None:
    found = numbers_of((text,))
    assert (found is None) == (not all(part.strip(" ").isascii() and part.strip(" ").isdigit() for part in text.split(","))
                               or text != text.strip(" "))  # fmt: skip


# Through clean, and the subset --------------------------------------------------------------------------------------------


def test_videos_and_folders_of_frames_by_id_through_clean(tmp_path: Path, cleaned: Callable[..., Finished]) -> None:
    root = tmp_path / "ak"
    (root / "dataset/video").mkdir(parents=True)
    (root / "dataset/image").mkdir()
    rows = [(name, "train", "78", WOLF) for name in ("AAAA", "BBBB", "CCCC")]
    rows += [
        ("DDDD", "test", "2,40", "[('Crane', 'Attending'), ('Crane', 'Eating')]"),
        ("EEEE", "test", "133", "[('Fox', 'Walking')]"),
    ]
    workbook(root / "AR_metadata.xlsx", rows)
    write_video(root / "dataset/video/AAAA.mp4", every(24, 5))
    write_folder(root / "dataset/image/BBBB", 6)
    write_video(root / "dataset/video/DDDD.mp4", every(24, 6))
    write_video(root / "dataset/video/EEEE.mp4", every(24, 7))
    write_video(root / "dataset/video/FFFF.mp4", every(24, 8))
    done = cleaned(root, "animal_kingdom", keep_labels=["Moving"], max_bad_share=0.2)
    assert done.code == 0, done.err
    samples = read_samples(Path("clean"))
    assert dict(zip(samples.pictures["sample_id"], samples.pictures["path"], strict=True)) == {
        "AAAA": "dataset/video/AAAA.mp4", "BBBB": "dataset/image/BBBB"
    }  # fmt: skip
    assert dict(zip(samples.videos["sample_id"], samples.videos["frames"], strict=True)) == {"AAAA": 5, "BBBB": 6}
    counts = read_json(Path("clean/counts.json"))
    assert counts["rejected_because"]["picture"] == {"dropped_label": 1, "file_missing": 1, "several_actions": 1}
    assert counts["rejected_because"]["file"] == {"unlisted_file": 1}  # FFFF, that no row names
    assert counts["bad_share"] == 0.2  # several actions are no fault
    assert "5 clips in, 2 kept, 3 rejected" in done.out

    done = cleaned(root, "animal_kingdom", keep_labels=["Moving"], max_bad_share=0.1)
    assert done.code == 1 and "20.0% of 5 clip rows are bad, more than `max_bad_share` 10.0% allows" in done.err
    done = cleaned(root, "animal_kingdom", drop_labels=["Moving", "Walking"], max_bad_share=1.0)
    assert done.code == 1 and "no clip is left of 5 (" in done.err


@pytest.fixture(scope="module")
def real() -> Raw:
    return read_metadata("animal_kingdom", REAL / "AR_metadata.xlsx")


@absent
def test_the_real_metadata(real: Raw) -> None:
    raw = real
    reasons = raw.rejects["reason"].value_counts().to_dict()
    assert len(raw.pictures) + len(raw.rejects) == 30_100
    assert reasons == {"several_actions": 16_476, "several_animals": 312, "several_animals_in_text": 6}
    assert len(raw.pictures) + reasons["several_animals_in_text"] == 13_312  # the document's count
    table = raw.pictures.drop(columns="label").merge(raw.annotations[["sample_id", "label"]], on="sample_id")
    assert pd.crosstab(table["label"], table["given_split"]).loc[NINE].to_numpy().tolist() == [
        [480, 1839], [202, 828], [208, 812], [174, 665], [147, 593], [138, 561], [102, 420], [59, 251], [61, 200]
    ]  # fmt: skip


def params(**changes: Any) -> dict[str, Any]:
    profile = {
        "download": {"adapter": "animal_kingdom", "source": "url"},
        "clean": {"keep_labels": NINE},
        "split": {"balanced": {"train_list": "train", "test_list": "test", "val": 10, "test": 10, "test5": 5,
                               "versions": {"many": 100, "few": 10}}},
    }  # fmt: skip
    return {"seed": 1, "datasets": {"action": {"paper": profile | changes}}}


WORDS = ("--params", "datasets.action.paper", "--out", "clips.csv", "--metadata")


@absent
def test_the_subset_of_the_real_metadata(stage: Callable[..., Finished], real: Raw) -> None:
    done = stage("subset", *WORDS, REAL, params=params())  # the folder, with the few videos that are there
    assert done.code == 0, done.err
    for text in ("30100 clips listed", "13312", "many: 90 test, 900 train, 90 val", "few: 90 test, 90 train, 90 val"):
        assert text in done.out
    table = pd.read_csv("clips.csv", keep_default_na=False)
    assert table.columns.tolist() == ["video_id", "species", "label", "part", "also", "few", "many"]  # versions as in the YAML
    assert (table["many"] == table["part"]).all()
    assert (len(table), table["video_id"].nunique()) == (9 * 120, 9 * 120)
    by = table.groupby(["label", "part", "also", "few"]).size().unstack(["part", "also", "few"])
    assert by.loc[NINE].drop_duplicates().to_dict("records") == [
        {("test", "", "test"): 5, ("test", "test5", "test"): 5, ("train", "", ""): 90, ("train", "", "train"): 10,
         ("val", "", "val"): 10}
    ]  # fmt: skip
    cleaning = section("datasets.action.paper.clean", CleanSettings, params())
    splitting = section("datasets.action.paper.split", SplitSettings, params())
    same, other = (subset(real, cleaning, splitting, seed)["video_id"].tolist() for seed in (1, 2))
    assert table["video_id"].tolist() == same
    assert len(set(other) & set(same)) < 1080 / 2


def test_what_a_subset_cannot_be_made_of(tmp_path: Path, stage: Callable[..., Finished]) -> None:
    workbook(tmp_path / "AR_metadata.xlsx", [("A", "train", "78", WOLF)])
    path = tmp_path / "AR_metadata.xlsx"
    for given_params, where, message in [
        (params(), path, "clean.keep_labels: the source has no class Keeping still"),
        (params(clean={}), path, "no sample is in the list test"),
        (
            params(clean={}, split={"balanced": {"val": 1, "test": 1, "versions": {"x": 1}}}),
            path,
            "Moving has 0 samples for val",
        ),
        (params(split={"class": {"train": 0.5, "val": 0.5}}), path, "split.balanced: null"),
        (params(), tmp_path / "gone", "gone: no such file or folder"),
        (params(download={"adapter": "clip_folders", "source": "url"}), path, "has no annotation lists"),
        (params(download={"adapter": "folders", "source": "url"}), tmp_path, "no `<class>/<picture>` in it"),
    ]:
        done = stage("subset", *WORDS, where, params=given_params)
        assert (done.code, message in done.err) == (1, True), done.err
        assert not Path("clips.csv").exists()


@absent
def test_the_real_clips_through_clean(tmp_path: Path, cleaned: Callable[..., Finished]) -> None:
    done = cleaned(REAL, "animal_kingdom", max_bad_share=1.0)
    assert done.code == 0, done.err
    samples = read_samples(Path("clean"))
    table = samples.pictures.merge(samples.videos, on="sample_id")
    columns = ["sample_id", "label", "species", "width_px", "height_px", "frames", "frame_rate"]
    assert table[columns].to_numpy().tolist() == [
        ["AAOYRUDX", "Walking", "Elephant", 640, 360, 154, 24.0],
        ["AHKLQIKV", "Playing", "Otter", 640, 360, 70, 24.0],
        ["BCIMLRLL", "Grooming", "Mouse", 640, 360, 24, 24.0],
    ]
