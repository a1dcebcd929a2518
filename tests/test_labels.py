"""Hand labels out and in again: the document, the round trip through `clean`, what labelling tools do to it, and the command."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from stages.clean import CleanSettings, clean
from stages.datasets import adapter
from stages.files import DataError, check_manifest, read_json
from stages.labels import coco, read_labels, relabelled
from stages.samples import BOX_COLUMNS, Samples, read_samples

ROOT = Path(__file__).parent.parent
CCT20 = ROOT / "../shared/real/cct20"
Make = Callable[..., bytes]
Stage = Callable[..., Any]
LENIENT = {"max_bad_share": 1.0}


def on_its_side(data: bytes) -> bytes:
    """The picture stored on its side, with the EXIF mark that says so."""
    exif = Image.Exif()
    exif[0x0112] = 6
    memory = io.BytesIO()
    Image.open(io.BytesIO(data)).rotate(90, expand=True).save(memory, "PNG", exif=exif)
    return memory.getvalue()


@pytest.fixture
def source(tmp_path: Path, picture: Make, write_cct: Callable[..., Path]) -> Path:
    """Five pictures of 100 x 80 in the COCO Camera Traps format, the list at twice their size, one stored on its side."""
    root = tmp_path / "source"
    names = {7: "a/IMG_1.png", "two": "b/IMG_1.png", "été ñ\n日": "été ñ\n日.png", "empty": "c/none.png", "seen": "c/seen.png"}
    for number, name in enumerate(names.values()):
        (root / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "images" / name).write_bytes(picture(number, 100, 80))
    (root / "images/b/IMG_1.png").write_bytes(on_its_side(picture(1, 100, 80)))
    more = {"width": 200, "height": 160, "location": 3}
    images = [{"id": sample_id, "file_name": name, **more} for sample_id, name in names.items()]
    images[0] |= {"seq_id": "s", "frame_num": 2, "date_captured": "2012-03-27 12:13:11"}
    annotations = [
        {"image_id": 7, "category_id": 1, "bbox": [20, 40, 60, 10]},
        {"image_id": 7, "category_id": 1, "bbox": [100.25, 41, 30.5, 17]},
        {"image_id": "two", "category_id": 2, "bbox": [0, 0, 200, 160]},
        {"image_id": "été ñ\n日", "category_id": 2},
        {"image_id": "empty", "category_id": 0},
        {"image_id": "seen", "category_id": 1, "bbox": [0, 0, 20, 20]},
    ]
    write_cct(root / "list.json", images, annotations)
    return root


@pytest.fixture
def cleaned(stage: Stage) -> Stage:
    """Download a folder in place, with hand labels if given, and clean it: (root, labels, adapter) -> Samples, Finished."""

    def go(root: Path, labels: Path | None = None, adapter: str = "caltech_camera_traps") -> tuple[Samples, Any]:
        settings = {"adapter": adapter, "source": f"path:{root}", "labels": labels and str(labels)}
        params = {"datasets": {"raw": {"smoke": {"download": settings}}}, "clean": LENIENT}
        for words in (["look", "--profile", "smoke", "--out", "look"],
                      ["fetch", "--params", "datasets.raw.smoke.download", "--look", "look/raw.json", "--dataset", "raw",
                       "--seed", 0, "--out", "raw"]):  # fmt: skip
            done = stage("download", *words, params=params)
            assert done.code == 0, done.err
        done = stage("clean", "--params", "clean", "--raw", "raw", "--out", "clean", "--workers", 1)
        assert done.code == 0, done.err
        return read_samples(Path("clean")), done

    return go


@pytest.fixture
def exported(stage: Stage) -> Stage:
    """Write `splits/class`, all pictures but `seen` unseen, and export a part of it: (samples, part, *options) -> document."""

    def go(samples: Samples, part: str = "unseen", *options: str) -> dict[str, Any]:
        write_split(samples)
        done = stage("labels", *"--clean clean --split splits/class --out labels.json --part".split(), part, *options)
        assert done.code == 0, done.err
        return read_json(Path("labels.json"))

    return go


def write_split(samples: Samples) -> None:
    ids = samples.pictures["sample_id"]
    Path("splits/class").mkdir(parents=True, exist_ok=True)
    parts = pd.DataFrame({"sample_id": ids, "part": ["seen" if name == "seen" else "unseen" for name in ids]})
    parts.to_csv("splits/class/parts.csv", index=False)


def write(document: dict[str, Any], name: str = "back.json") -> Path:
    Path(name).write_text(json.dumps(document), encoding="utf-8")
    return Path(name)


def same(one: Samples, two: Samples) -> bool:
    pd.testing.assert_frame_equal(one.pictures, two.pictures)
    pd.testing.assert_frame_equal(one.boxes, two.boxes, rtol=0, atol=1e-6)
    return True


def boxes_of(samples: Samples, sample_id: str) -> list[list[Any]]:
    return samples.boxes.loc[samples.boxes["sample_id"] == sample_id, ["label", *BOX_COLUMNS]].to_numpy().tolist()


def rejects() -> list[tuple[str, str, str]]:
    table = pd.read_csv("clean/rejects.csv", keep_default_na=False)
    return sorted(table[["row", "name", "reason"]].itertuples(index=False, name=None))


# Out -----------------------------------------------------------------------------------------------------------------


def test_a_part_is_written_in_the_coco_camera_traps_format(source: Path, cleaned: Stage, exported: Stage) -> None:
    document = exported(cleaned(source)[0])
    assert document["info"] == {"version": "1.0", "description": "splits, class: unseen"}
    assert document["categories"] == [{"id": 0, "name": "empty"}, {"id": 1, "name": "deer"}, {"id": 2, "name": "fox"}]
    size = {"width": 100, "height": 80}
    assert document["images"] == [
        {"id": "7", "file_name": "images/a/IMG_1.png", **size, "seq_id": "s", "frame_num": 2, "location": "3",
         "datetime": "2012-03-27 12:13:11"},
        {"id": "empty", "file_name": "images/c/none.png", **size, "seq_id": "empty", "location": "3"},
        {"id": "two", "file_name": "images/b/IMG_1.png", **size, "seq_id": "two", "location": "3"},
        {"id": "été ñ\n日", "file_name": "images/été ñ\n日.png", **size, "seq_id": "été ñ\n日", "location": "3"},
    ]  # fmt: skip
    assert document["annotations"] == [
        {"id": "1", "image_id": "7", "category_id": 1, "bbox": [10, 20, 30, 5]},
        {"id": "2", "image_id": "7", "category_id": 1, "bbox": [50.125, 20.5, 15.25, 8.5]},
        {"id": "3", "image_id": "two", "category_id": 2, "bbox": [0, 0, 100, 80]},  # upright, as it is looked at
        {"id": "4", "image_id": "empty", "category_id": 0},
        {"id": "5", "image_id": "été ñ\n日", "category_id": 2},
    ]


def test_blank_leaves_the_annotations_out_and_changes_nothing_when_it_comes_back(
    source: Path, cleaned: Stage, exported: Stage
) -> None:
    before, _ = cleaned(source)
    document = exported(before, "all", "--blank")
    assert (len(document["images"]), document["annotations"], len(document["categories"])) == (5, [], 3)
    after, done = cleaned(source, Path("labels.json"))
    assert same(before, after)
    assert done.out.splitlines()[-1] == (
        "hand labels: 0 pictures relabelled, 0 of the source's annotations replaced; "
        "5 pictures not labelled yet, so the source's annotations stay"
    )


def test_pictures_are_copied_under_the_names_that_the_document_gives(source: Path, cleaned: Stage, exported: Stage) -> None:
    document = exported(cleaned(source)[0], "seen", "--pictures", "out")
    (image,) = document["images"]
    files = [path.relative_to("out").as_posix() for path in Path("out").rglob("*") if path.is_file()]
    assert sorted(files) == [image["file_name"], "manifest.json"]
    assert Path("out", image["file_name"]).read_bytes() == (source / "images/c/seen.png").read_bytes()
    assert check_manifest(Path("out")) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--part test", "splits/class: no part `test`. There is: seen, unseen, or all"),
        ("--split splits/other", "splits/other: no version of a split. Versions in splits: class"),
        ("--split nowhere/other", "nowhere/other: no version of a split. Versions in nowhere: none"),
        ("--clean nowhere", "nowhere/source.json: no such file."),
        ("--out params.yaml", "params.yaml: exists already and may hold labels. Move it, or give another name"),
        ("--pictures splits", "splits: exists already and may hold labels. Move it, or give another name"),
    ],
)
def test_what_cannot_be_exported_is_explained(source: Path, cleaned: Stage, stage: Stage, options: str, message: str) -> None:
    write_split(cleaned(source)[0])
    given = "--clean clean --split splits/class --part unseen --out labels.json".split()
    done = stage("labels", *given, *options.split())  # the last one of an option counts
    assert done.code == 1
    assert done.err.startswith(f"error: {message}")
    assert not Path("labels.json").exists()


def test_a_picture_that_is_gone_leaves_nothing_behind(source: Path, cleaned: Stage, stage: Stage) -> None:
    write_split(cleaned(source)[0])
    (source / "images/c/none.png").unlink()
    done = stage("labels", *"--clean clean --split splits/class --part unseen --out a.json --pictures out".split())
    assert done.code == 1
    assert done.err.startswith(f"error: {source}/images/c/none.png: not copied: No such file or directory.")
    assert not list(Path().glob("*out*")) and not Path("a.json").exists()


def test_help_says_how_the_labels_come_back(stage: Stage) -> None:
    done = stage("labels", "--help")
    assert done.code == 0
    for text in ("download.labels", "not labelled yet", "`dvc repro`", "--blank", "--pictures FOLDER"):
        assert text in done.out


# The round trip ------------------------------------------------------------------------------------------------------


def test_unchanged_labels_change_nothing(source: Path, cleaned: Stage, exported: Stage) -> None:
    before, _ = cleaned(source)
    exported(before)
    after, done = cleaned(source, Path("labels.json"))
    assert same(before, after)
    counts = read_json(Path("clean/counts.json"))
    assert counts["hand_labels"] == {"pictures": 4, "not_labelled_yet": 0}
    assert counts["pictures"] == {"in": 9, "kept": 5, "rejected": 0, "merged": 4}
    assert counts["annotations"] == {"in": 11, "boxes": 4, "labels_only": 2, "rejected": 0, "replaced": 5}
    assert "hand labels: 4 pictures relabelled, 5 of the source's annotations replaced; 0 pictures not" in done.out


@pytest.mark.parametrize("adapter", ["table", "folders"])
def test_any_adapter_takes_hand_labels(tmp_path: Path, cleaned: Stage, exported: Stage, picture: Make, adapter: str) -> None:
    root = tmp_path / "source"
    for number, name in enumerate(["deer/a.png", "empty/b.png"]):
        (root / name).parent.mkdir(parents=True)
        (root / name).write_bytes(picture(number, 100, 80))
    (root / "list.csv").write_text("path,label,x_min,y_min,x_max,y_max\ndeer/a.png,deer,1,2.5,30,40\nempty/b.png,empty,,,,\n")
    before, _ = cleaned(root, None, adapter)
    document = exported(before)
    assert same(before, cleaned(root, Path("labels.json"), adapter)[0])
    document["annotations"] = [{"id": 1, "image_id": "empty/b.png", "category_id": 1, "bbox": [5, 6, 7, 8]}]
    after, _ = cleaned(root, write(document), adapter)
    assert boxes_of(after, "empty/b.png") == [["deer", 5, 6, 12, 14]]
    assert boxes_of(after, "deer/a.png") == boxes_of(before, "deer/a.png")  # not labelled yet
    assert after.pictures["label"].tolist() == ["deer", "deer"]


def test_what_was_edited_differs_and_nothing_else(source: Path, cleaned: Stage, exported: Stage) -> None:
    before, _ = cleaned(source)
    document = exported(before)
    document["categories"].append({"id": 9, "name": "badger"})
    for annotation in document["annotations"]:
        if annotation["image_id"] == "7":
            annotation["bbox"][0] += 1.5  # both boxes moved
        elif annotation["image_id"] == "two":
            annotation["category_id"] = 9
        elif annotation["image_id"] == "empty":
            annotation |= {"category_id": 2, "bbox": [1, 2, 3, 4]}
    after, _ = cleaned(source, write(document))
    assert boxes_of(after, "7") == [["deer", 11.5, 20, 41.5, 25], ["deer", 51.625, 20.5, 66.875, 29]]
    assert boxes_of(after, "two") == [["badger", 0, 0, 100, 80]]
    assert boxes_of(after, "empty") == [["fox", 1, 2, 4, 6]]
    assert boxes_of(after, "seen") == boxes_of(before, "seen")
    labels = dict(zip(after.pictures["sample_id"], after.pictures["label"], strict=True))
    assert labels == {"7": "deer", "two": "badger", "empty": "fox", "été ñ\n日": "fox", "seen": "deer"}
    pd.testing.assert_frame_equal(before.pictures.drop(columns="label"), after.pictures.drop(columns="label"))


SIZE_PX = (64, 48)
ONE_FILE: dict[str, tuple[int, str | None]] = {"deer/a.png": (1, None)}


@pytest.fixture(scope="module")
def one_picture(tmp_path_factory: pytest.TempPathFactory, picture: Make) -> Samples:
    root = tmp_path_factory.mktemp("one")
    (root / "deer").mkdir()
    (root / "deer/a.png").write_bytes(picture(1, *SIZE_PX))
    raw = adapter("folders").read(root, ONE_FILE, ())
    return Samples(*clean(raw, root, ONE_FILE, CleanSettings(), 1)[:2], root, "your data")


def interval(length: int) -> st.SearchStrategy[tuple[float, float]]:
    """Two places in [0, length], at least 1.1 apart: a box of less than 1 px² is refused."""
    return st.floats(0, length - 1.1).flatmap(lambda low: st.tuples(st.just(low), st.floats(low + 1.1, length)))


boxes_xyxy = st.tuples(interval(SIZE_PX[0]), interval(SIZE_PX[1])).map(lambda sides: [p[i] for i in (0, 1) for p in sides])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(boxes=st.lists(st.tuples(st.sampled_from(["deer", "fox"]), boxes_xyxy), max_size=4), scale=st.floats(0.1, 8))
def test_every_box_comes_back_at_any_scale(one_picture: Samples, boxes: list[Any], scale: float) -> None:
    rows = [["deer/a.png", label, *box] for label, box in boxes]
    before = pd.DataFrame(rows, columns=["sample_id", "label", *BOX_COLUMNS]).astype(dict.fromkeys(BOX_COLUMNS, float))
    document = coco(one_picture.pictures, replace(one_picture, boxes=before), "")
    for image in document["images"]:
        image |= {"width": image["width"] * scale, "height": image["height"] * scale}
    for annotation in document["annotations"]:
        annotation |= {"bbox": [value * scale for value in annotation["bbox"]]} if "bbox" in annotation else {}
    labels = one_picture.root / "labels.json"
    labels.write_text(json.dumps(document))
    raw = adapter("folders").read(one_picture.root, ONE_FILE, ())
    after = clean(relabelled(raw, read_labels(labels), ONE_FILE), one_picture.root, ONE_FILE, CleanSettings(), 1)[1]
    order = ["label", *BOX_COLUMNS]
    a, b = (sorted(table[order].round(9).to_numpy().tolist()) for table in (before, after))
    assert [row[0] for row in a] == [row[0] for row in b]
    np.testing.assert_allclose([row[1:] for row in b], [row[1:] for row in a], rtol=0, atol=1e-6)


# What tools do to it -------------------------------------------------------------------------------------------------


def count_anew(image: dict[str, Any], number: int) -> None:
    image["id"] = number


def other_slashes(image: dict[str, Any], number: int) -> None:
    image |= {"id": number, "file_name": image["file_name"].replace("/", "\\")}


def without_folders(image: dict[str, Any], number: int) -> None:
    image["file_name"] = image["file_name"].split("/")[-1]  # two are IMG_1.png: their ids tell them apart


@pytest.mark.parametrize("change", [count_anew, other_slashes, without_folders])
def test_pictures_are_recognised_after_a_tool_had_them(
    source: Path, cleaned: Stage, exported: Stage, change: Callable[[dict[str, Any], int], None]
) -> None:
    before, _ = cleaned(source)
    document = exported(before, "all")
    new_ids = {}
    for number, image in enumerate(document["images"], 4):  # 7 is a picture's id, and here another's number
        old = image["id"]
        change(image, number)
        new_ids[old] = image["id"]
    for annotation in document["annotations"]:
        annotation |= {"id": int(annotation["id"]), "image_id": new_ids[annotation["image_id"]]}
    after, _ = cleaned(source, write(document))
    assert same(before, after)
    assert read_json(Path("clean/counts.json"))["hand_labels"]["pictures"] == 5


def test_fault_24_28_29_what_cannot_be_used_is_rejected_with_its_reason(source: Path, cleaned: Stage, exported: Stage) -> None:
    before, _ = cleaned(source)
    document = exported(before)
    document["images"] = [
        *document["images"][:2],
        {"id": "7b", "file_name": "images/a/IMG_1.png"},
        {"id": "7", "file_name": "images/a/IMG_1.png"},
        {"id": "two", "file_name": "strange.png"},  # the id of one picture, the name of none
        {"id": "no name"},
    ]
    document["annotations"] = [
        {"image_id": "7", "category_id": 77},
        {"image_id": "7b", "category_id": 1},
        {"image_id": "empty", "category_id": 2, "bbox": [1, 1, "x", 2]},
        {"image_id": "two", "category_id": 2},
        {"image_id": "ghost", "category_id": 2},
    ]
    after, _ = cleaned(source, write(document))
    name = "hand_labels.json"
    assert rejects() == [
        (f"{name} annotations[0]", "7", "unknown_class"),
        (f"{name} annotations[1]", "7b", "picture_rejected"),
        (f"{name} annotations[2]", "empty", "box_not_a_number"),
        (f"{name} annotations[3]", "two", "picture_rejected"),
        (f"{name} annotations[4]", "ghost", "no_such_picture"),
        (f"{name} images[2]", "images/a/IMG_1.png", "named_twice"),
        (f"{name} images[3]", "images/a/IMG_1.png", "duplicate_id"),
        (f"{name} images[4]", "strange.png", "no_such_picture"),
        (f"{name} images[5]", "", "no_id_or_file_name"),
    ]
    counts = read_json(Path("clean/counts.json"))
    assert counts["hand_labels"] == {"pictures": 1, "not_labelled_yet": 1}
    assert counts["pictures"] == {"in": 11, "kept": 5, "rejected": 4, "merged": 2}
    assert counts["annotations"] == {"in": 11, "boxes": 4, "labels_only": 1, "rejected": 5, "replaced": 1}
    pd.testing.assert_frame_equal(after.boxes, before.boxes)
    assert after.pictures.set_index("sample_id").loc["empty", ["label", "note"]].tolist() == [
        "fox", "its box was refused, its class kept"]  # fmt: skip


def failing(stage: Stage, source: Path, document: dict[str, Any], cleaned: Stage) -> str:
    with pytest.raises(AssertionError):
        cleaned(source, write(document))
    return stage("clean", "--params", "clean", "--raw", "raw", "--out", "clean", "--workers", 1).err


def test_labels_of_other_pictures_are_refused(source: Path, cleaned: Stage, exported: Stage, stage: Stage) -> None:
    document = exported(cleaned(source)[0])
    for image in document["images"]:
        image["file_name"] = "8dc4b1a2-" + image["file_name"].split("/")[-1]
    message = failing(stage, source, document, cleaned)
    assert message.startswith("error: hand labels: none of the 4 pictures is in the source, '8dc4b1a2-IMG_1.png' for example.")


def test_a_class_spelled_another_way_is_refused(source: Path, cleaned: Stage, exported: Stage, stage: Stage) -> None:
    document = exported(cleaned(source)[0])
    document["categories"][2]["name"] = "Deer"
    message = failing(stage, source, document, cleaned)
    assert "labels that differ by case or spaces alone" in message
    assert "'Deer' (first: hand_labels.json annotations[2]) / 'deer' (first: list.json annotations[5])" in message


def test_another_kind_of_json_is_refused(source: Path, cleaned: Stage, stage: Stage) -> None:
    message = failing(stage, source, {"_via_img_metadata": {}}, cleaned)
    assert message == (
        "error: raw/hand_labels.json: not a COCO Camera Traps list: it lacks images, annotations or categories. "
        "Name the right one in `clean.annotations` (for hand labels in `download.labels`)\n"
    )


def test_a_hand_label_outweighs_a_copy_of_the_picture(
    tmp_path: Path, cleaned: Stage, exported: Stage, picture: Make, write_cct: Callable[..., Path]
) -> None:
    root = tmp_path / "source"
    images = [{"id": name, "file_name": f"{name}.png"} for name in "abc"]
    write_cct(root / "list.json", images, [{"image_id": name, "category_id": 1} for name in "abc"])
    for name in "abc":
        (root / f"{name}.png").write_bytes(picture(0))
    document = exported(cleaned(root)[0])
    assert [image["id"] for image in document["images"]] == ["a"]
    document["images"][0] |= {"id": "b", "file_name": "b.png"}
    document["annotations"][0] |= {"image_id": "b", "category_id": 0}
    after, _ = cleaned(root, write(document))
    assert after.pictures[["sample_id", "label"]].to_numpy().tolist() == [["b", "empty"]]
    assert [row[1:] for row in rejects() if "annotations" not in row[0]] == [
        ("a.png", "duplicate_content"), ("c.png", "duplicate_content")]  # fmt: skip


# Real ----------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not CCT20.is_dir(), reason="../shared/real/cct20 is not here")
def test_real_cct20_labels_come_back_as_they_went(tmp_path: Path) -> None:
    files = {path.relative_to(CCT20).as_posix(): (1, None) for path in CCT20.rglob("*") if path.is_file()}
    raw = adapter("cct20").read(CCT20, files, ())
    kept = raw.pictures["location"].isin(sorted(raw.pictures["location"].unique())[:2])
    some = type(raw)(
        raw.pictures[kept],
        raw.annotations[raw.annotations["sample_id"].isin(raw.pictures.loc[kept, "sample_id"])],
        raw.rejects,
    )
    before = clean(some, CCT20, files, CleanSettings(), 1)[:2]
    (tmp_path / "labels.json").write_text(json.dumps(coco(before[0], Samples(*before, CCT20, "your data"), "")))
    labelled = relabelled(some, read_labels(tmp_path / "labels.json"), files)
    after = clean(labelled, CCT20, files, CleanSettings(), 1)[:2]
    assert labelled.by_hand == set(before[0]["sample_id"])
    assert same(Samples(*before, CCT20, ""), Samples(*after, CCT20, ""))


def test_relabelled_is_pure(source: Path) -> None:
    files = {path.relative_to(source).as_posix(): (1, None) for path in source.rglob("*.png")}
    raw = adapter("caltech_camera_traps").read(source, {*files, "list.json"}, ())
    pictures, annotations = raw.pictures.copy(), raw.annotations.copy()
    (source / "list.json").rename(source / "labels.json")
    labelled = relabelled(raw, read_labels(source / "labels.json"), files)
    assert labelled.replaced == 6
    pd.testing.assert_frame_equal(raw.pictures, pictures)
    pd.testing.assert_frame_equal(raw.annotations, annotations)


def test_no_labels_at_all_are_no_stop(source: Path) -> None:
    files = {path.relative_to(source).as_posix(): (1, None) for path in source.rglob("*.png")}
    raw = adapter("caltech_camera_traps").read(source, {*files, "list.json"}, ())
    (source / "labels.json").write_text('{"images": [], "annotations": [], "categories": []}')
    labelled = relabelled(raw, read_labels(source / "labels.json"), files)
    assert (labelled.by_hand, labelled.replaced, labelled.unlabelled) == (frozenset(), 0, 0)
    pd.testing.assert_frame_equal(labelled.annotations, raw.annotations, check_dtype=False)
    with pytest.raises(DataError, match=r"labels.json: no such file"):
        read_labels(source / "sub/labels.json")
