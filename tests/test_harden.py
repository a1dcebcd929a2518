"""Harder training data: pictures of animals alone, the weakest classes by val, and versions whose test lists never move."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from stages.files import check_manifest, read_json, write_json, write_manifest
from stages.geometry import area, rescale
from stages.harden import judged, weakest
from stages.isolation import GREY, crop, mask, paste, pixels
from stages.pictures import RGB, inspect, resize
from stages.samples import BOX_COLUMNS, EMPTY, TRAIN, of_part, read_samples, read_version

# Pictures of some animals alone ---------------------------------------------------------------------------------------


def noise(width: int, height: int, seed: int = 0) -> RGB:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@st.composite
def scenes(draw: st.DrawFn) -> tuple[RGB, np.ndarray, np.ndarray]:
    """A picture of noise, one to five boxes of at least 1 px inside it, at thirds of a pixel, and which are wanted."""
    width, height = draw(st.integers(2, 40)), draw(st.integers(2, 40))

    def side(length: int) -> tuple[float, float]:
        low = draw(st.integers(0, 3 * (length - 1)))
        return low / 3, draw(st.integers(low + 3, 3 * length)) / 3

    spans = [(*side(width), *side(height)) for _ in range(draw(st.integers(1, 5)))]
    boxes = np.array([(left, top, right, bottom) for left, right, top, bottom in spans])
    wanted = np.array([*draw(st.lists(st.booleans(), min_size=len(boxes) - 1, max_size=len(boxes) - 1)), True])
    return noise(width, height, draw(st.integers(0, 99))), boxes, wanted


def is_inside(boxes: np.ndarray, rgb: RGB) -> bool:
    height, width = rgb.shape[:2]
    return bool((boxes >= 0).all() and (boxes <= [width, height, width, height]).all())


def part(rgb: RGB, box: np.ndarray) -> RGB:
    left, top, right, bottom = pixels(box)
    return rgb[top:bottom, left:right]


def test_pixels_are_all_that_a_box_touches() -> None:
    assert pixels(np.array([1.0, 2.0, 4.0, 6.0])) == (1, 2, 4, 6)
    assert pixels(np.array([1.9, 2.0, 4.1, 6.0])) == (1, 2, 5, 6)


def test_mask_keeps_the_wanted_box_and_greys_the_rest() -> None:
    rgb = noise(8, 6)
    boxes = np.array([[1, 1, 4, 3], [5, 2, 8, 6], [2, 1, 3, 3]])  # the last lies in the first
    masked, shown = mask(rgb, boxes, np.array([True, False, False]))
    expected = np.full_like(rgb, GREY)
    expected[1:3, 1:4] = rgb[1:3, 1:4]
    assert np.array_equal(masked, expected)
    assert shown.tolist() == [[1, 1, 4, 3], [0, 0, 0, 0], [2, 1, 3, 3]]


def test_crop_leaves_the_margin_and_moves_and_clips_the_boxes() -> None:
    rgb = noise(40, 30)
    boxes = np.array([[10, 10, 18, 14], [14, 12, 22, 18], [0, 16, 10, 30], [30, 0, 40, 5]])  # hull 12 x 8 px
    cropped, shown = crop(rgb, boxes, np.array([True, True, False, False]), 0.25)  # 3 px and 2 px
    assert np.array_equal(cropped, rgb[8:20, 7:25])
    assert shown.tolist() == [[3, 2, 11, 6], [7, 4, 15, 10], [0, 8, 3, 12], [18, 0, 18, 0]]
    assert area(shown).tolist() == [32, 48, 12, 0]


def test_a_crop_ends_at_the_picture() -> None:
    cropped, shown = crop(noise(10, 10), np.array([[0.0, 0.0, 9.0, 9.0]]), np.array([True]), 2.0)
    assert cropped.shape == (10, 10, 3)
    assert shown.tolist() == [[0, 0, 9, 9]]


def test_paste_goes_to_the_same_relative_place() -> None:
    rgb, frame = np.full((10, 20, 3), 200, np.uint8), np.zeros((30, 40, 3), np.uint8)
    pasted, shown = paste(rgb, np.array([[5.0, 2.0, 10.0, 4.0]]), np.array([True]), frame)
    assert shown.tolist() == [[10, 6, 20, 12]]
    assert np.argwhere(pasted.any(axis=2)).min(axis=0).tolist() == [6, 10]
    assert np.argwhere(pasted.any(axis=2)).max(axis=0).tolist() == [11, 19]
    assert not frame.any()  # the background itself is untouched


@given(scenes())
def test_mask_changes_nothing_in_a_wanted_box_and_leaves_nothing_else(scene: tuple[RGB, np.ndarray, np.ndarray]) -> None:
    rgb, boxes, wanted = scene
    masked, shown = mask(rgb, boxes, wanted)
    assert masked.shape == rgb.shape
    outside = np.ones(rgb.shape[:2], dtype=bool)
    for box in boxes[wanted]:
        assert np.array_equal(part(masked, box), part(rgb, box))
        part(outside, box)[:] = False
    assert (masked[outside] == GREY).all()
    assert np.array_equal(shown[wanted], boxes[wanted])
    assert all(np.array_equal(new, old) or not new.any() for new, old in zip(shown, boxes, strict=True))


@given(scenes(), st.sampled_from([0.0, 0.1, 0.25, 1.0, 50.0]))
def test_crop_keeps_wanted_boxes_whole_and_every_pixel_as_it_was(scene: Any, margin: float) -> None:
    rgb, boxes, wanted = scene
    cropped, shown = crop(rgb, boxes, wanted, margin)
    assert is_inside(shown, cropped)
    assert np.allclose(area(shown[wanted]), area(boxes[wanted]))
    assert (area(shown) <= area(boxes) + 1e-9).all()
    # The cut begins at a whole pixel, so that every box moved by the same whole numbers.
    left, top = np.rint(boxes[wanted] - shown[wanted])[0, :2].astype(int)
    assert np.allclose(shown[wanted] + [left, top, left, top], boxes[wanted])
    assert np.array_equal(cropped, rgb[top : top + cropped.shape[0], left : left + cropped.shape[1]])


@given(scenes(), st.integers(1, 60), st.integers(1, 60))
def test_the_pasted_patch_is_the_resized_original_one(scene: Any, width: int, height: int) -> None:
    rgb, boxes, wanted = scene
    frame = noise(width, height, 7)
    pasted, shown = paste(rgb, boxes, wanted, frame)
    assert pasted.shape == frame.shape and is_inside(shown, pasted)
    assert np.allclose(shown[wanted], rescale(boxes[wanted], width / rgb.shape[1], height / rgb.shape[0]))
    outside = np.ones((height, width), dtype=bool)
    for box in shown[wanted]:
        assert np.array_equal(part(pasted, box), part(resize(rgb, width, height), box))
        part(outside, box)[:] = False
    assert np.array_equal(pasted[outside], frame[outside])


# The weakest classes --------------------------------------------------------------------------------------------------


def ranking(answers: dict[str, str], train: dict[str, int]) -> pd.DataFrame:
    """{actual: predicted, a word each} and {class: pictures in train} -> `judged`."""
    rows = [(actual, guess) for actual, guesses in answers.items() for guess in guesses.split()]
    labels = pd.Series([label for label, n in train.items() for _ in range(n)])
    return judged(pd.DataFrame(rows, columns=["actual", "predicted"]), labels)


def test_classes_are_ranked_by_f1() -> None:
    table = ranking({"deer": "deer deer fox", "fox": "fox deer", "empty": "deer"}, {"deer": 9, "fox": 4, "empty": 2})
    assert table.to_dict("list") == {"label": ["fox", "deer"], "f1": [0.5, 4 / 7], "n_val": [2, 3], "n_train": [4, 9]}


def test_ties_go_to_fewer_train_pictures_then_by_name() -> None:
    none_right = dict.fromkeys(["cat", "dog", "elk", "fox"], "empty")
    table = ranking(none_right, {"fox": 5, "elk": 3, "dog": 5, "cat": 5, "empty": 1})
    assert table["label"].tolist() == ["elk", "cat", "dog", "fox"]


def test_a_class_without_a_val_picture_cannot_be_judged() -> None:
    assert ranking({"deer": "fox"}, {"deer": 3, "fox": 3})["label"].tolist() == ["deer"]


def test_a_class_that_train_lacks_is_not_chosen() -> None:
    assert ranking({"deer": "deer", "yeti": "deer"}, {"deer": 3})["label"].tolist() == ["deer"]


def test_fewer_classes_than_asked_for_is_an_error() -> None:
    table = ranking({"deer": "deer", "fox": "fox"}, {"deer": 3, "fox": 3})
    with pytest.raises(Exception, match=r"`weakest` is 3, but only 2 classes are in train and in val \(deer, fox\)\. Lower"):
        weakest(table, 3)


# The stage ------------------------------------------------------------------------------------------------------------

STRANGE = ["f/ü 1", 'f,"2"\nline', "../f3", "NA", "日本.jpg", "f6"]  # foxes in train
BOX = (4.0, 2.0, 12.0, 8.0)


class World:
    """A clean data set, a split `class` of it and a judge's answers below the working folder, and the stage's command."""

    def __init__(self, stage: Callable[..., Any]) -> None:
        self.stage = stage
        self.rows: list[dict[str, Any]] = []
        self.boxes: list[tuple[Any, ...]] = []
        for number, sample_id in enumerate(STRANGE):
            self.add(sample_id, "fox", TRAIN, boxes=[("fox", *BOX)], infrared=number % 2 == 0)
        for number in range(4):
            self.add(f"deer{number}", "deer", TRAIN, boxes=[("deer", 1.0, 1.0, 9.0, 8.0)])
            self.add(f"owl{number}", "owl", TRAIN, boxes=[("owl", 2.0, 2.0, 9.0, 9.0)])
            self.add(f"void{number}", EMPTY, TRAIN, location=f"cam{number % 2}", infrared=number > 1)
            for part_ in ("val", "seen", "unseen", "test"):
                self.add(f"{part_}-fox,{number}", "fox", part_)
                self.add(f"{part_}-deer{number}", "deer", part_)
                self.add(f"{part_}-owl{number}", "owl", part_)
        self.add("idle", "deer", "unused")
        self.wrong = {"fox": "deer", "deer": "deer", "owl": "owl"}  # the judge's answer by class

    def add(
        self, sample_id: str, label: str, part_: str, boxes: Any = (), location: str = "cam0", infrared: bool = False
    ) -> None:
        rgb = noise(20, 16, len(self.rows))
        rgb = np.repeat(rgb[..., :1], 3, axis=2) if infrared else rgb
        path = f"{len(self.rows)}.png"
        Path("pictures").mkdir(exist_ok=True)
        Image.fromarray(rgb).save(f"pictures/{path}")
        found = inspect(Path("pictures", path).read_bytes())
        self.rows.append({"sample_id": sample_id, "path": path, "label": label, "location": location, "seq_id": f"s-{sample_id}",
                          "species": None, "frame_num": 3, "captured_at": "2026-05-01", "given_split": None, "note": "", "part": part_,
                          **vars(found)})  # fmt: skip
        self.boxes += [(sample_id, *box) for box in boxes]

    def write(self, shuffle: int | None = None) -> None:
        table = pd.DataFrame(self.rows).astype(
            {"frame_num": "Int64", "captured_at": "datetime64[us]", "given_split": "str", "species": "str"}
        )
        boxes = pd.DataFrame(self.boxes, columns=["sample_id", "label", *BOX_COLUMNS])
        boxes = boxes.astype({"sample_id": "str", "label": "str"} | dict.fromkeys(BOX_COLUMNS, float))
        if shuffle is not None:
            table, boxes = (rows.sample(frac=1, random_state=shuffle, ignore_index=True) for rows in (table, boxes))
        for folder in ("clean", "splits/class", "judge"):
            Path(folder).mkdir(parents=True, exist_ok=True)
        table.drop(columns="part").to_parquet("clean/samples.parquet", index=False)
        boxes.to_parquet("clean/boxes.parquet", index=False)
        write_json(Path("clean/source.json"), {"root": str(Path("pictures").resolve()), "data": "embedded"})
        parts = table if shuffle is None else table.sort_values("sample_id")
        parts[["sample_id", "part"]].to_csv("splits/class/parts.csv", index=False)
        judge = table[table["part"].isin(["val", "seen", "unseen", "test"])].rename(columns={"label": "actual"})
        self.answer(judge.assign(predicted=judge["actual"].map(self.wrong), score=0.5))
        for folder in ("clean", "splits"):
            write_manifest(Path(folder))

    def answer(self, table: pd.DataFrame) -> None:
        table[["sample_id", "part", "actual", "predicted", "score"]].to_parquet("judge/answers.parquet", index=False)
        write_manifest(Path("judge"))

    def harden(self, out: str = "harder", workers: int = 1, seed: int = 1, **settings: Any) -> Any:
        return self.stage("harden", "--params", "harder", "--clean", "clean", "--split", "splits/class", "--judged", "judge",
                          "--seed", seed, "--out", out, "--workers", workers,
                          params={"harder": {"weakest": 1} | settings})  # fmt: skip


@pytest.fixture
def world(stage: Callable[..., Any]) -> World:
    return World(stage)


def version(folder: str) -> tuple[Any, pd.DataFrame, pd.DataFrame]:
    """(samples, parts, pictures added) of a version folder."""
    base = read_samples(Path("clean"))
    samples, parts = read_version(Path(folder), base)
    return samples, parts, samples.pictures[~samples.pictures["sample_id"].isin(base.pictures["sample_id"])]


def test_fault_37_only_train_grows_and_all_other_lines_are_the_very_same(world: World) -> None:
    world.write()
    assert world.harden().code == 0
    base = Path("splits/class/parts.csv").read_bytes()
    for name, ending in (("upsampled", "+copy1"), ("isolated", "+mask")):
        written = Path(f"harder/{name}/parts.csv").read_bytes()
        assert written.startswith(base)
        assert written[len(base) :].count(b",train\n") == len(STRANGE)
        _, parts, _ = version(f"harder/{name}")
        added = parts[len(world.rows) :]
        assert sorted(added["sample_id"]) == sorted(name + ending for name in STRANGE)
        assert set(added["part"]) == {TRAIN}
    others = (b",val", b",test", b",seen", b",unseen", b",unused")
    folders = ("splits/class", "harder/upsampled", "harder/isolated")
    lines = {name: Path(name, "parts.csv").read_bytes().split(b"\n") for name in folders}
    lists = {name: [line for line in lines[name] if line.endswith(others)] for name in folders}
    assert len(lists["splits/class"]) == 4 * 3 * 4 + 1
    for line in (b"val-deer0,val", b'"seen-fox,1",seen', b'"unseen-fox,3",unseen', b"test-owl2,test", b"idle,unused"):
        assert line in lists["splits/class"]
    assert lists["harder/upsampled"] == lists["harder/isolated"] == lists["splits/class"]
    assert check_manifest(Path("harder")) == []


def test_upsampled_adds_the_same_files_under_new_ids(world: World) -> None:
    world.write()
    assert world.harden(copies=2).code == 0
    samples, _, added = version("harder/upsampled")
    assert not Path("harder/upsampled/pictures").exists()
    assert sorted(added["sample_id"]) == sorted(f"{name}+copy{n}" for name in STRANGE for n in (1, 2))
    originals = samples.pictures.set_index("sample_id").loc[added["sample_id"].str.rsplit("+", n=1).str[0]].reset_index()
    pd.testing.assert_frame_equal(added.drop(columns="sample_id").reset_index(drop=True), originals.drop(columns="sample_id"))
    boxes = samples.boxes[samples.boxes["sample_id"] == "NA+copy2"]
    assert boxes.drop(columns="sample_id").to_numpy().tolist() == [["fox", *BOX]]
    assert len(samples.boxes) == len(world.boxes) + 2 * len(STRANGE)


def test_isolated_pictures_are_real_files_with_true_rows(world: World) -> None:
    world.write()
    done = world.harden()
    assert done.out.splitlines() == [
        "weakest on val by F1 of judge: fox 0.000 (n 4)",
        "6 train pictures of these: upsampled adds 6, isolated 6 (mask; skipped: {'no_box': 0})",
    ]
    samples, parts, added = version("harder/isolated")
    originals = samples.pictures.set_index("sample_id")
    for row in added.itertuples():
        original = originals.loc[row.sample_id.removesuffix("+mask")]
        data = Path(row.path).read_bytes()
        found = inspect(data)
        for name in ("width_px", "height_px", "bytes", "sha256", "phash"):
            assert getattr(row, name) == getattr(found, name), name
        for name in ("label", "seq_id", "location", "frame_num", "captured_at", "infrared"):
            assert getattr(row, name) == original[name], name
        assert row.note == f"mask of {original.name}"
        assert Path(row.path).name == hashlib.sha256(original.name.encode()).hexdigest()[:32] + ".jpg"
        rgb, source = (
            np.asarray(Image.open(path).convert("RGB"), dtype=int) for path in (row.path, Path("pictures", original["path"]))
        )
        assert np.abs(rgb[8:] - GREY).max() < 3  # JPEG's blocks of 8 px that hold nothing of the box
        assert np.abs(rgb[2:8, 4:12] - source[2:8, 4:12]).mean() < 12
    assert of_part(samples, parts, TRAIN)["sample_id"].is_unique
    assert len(list(Path("harder/isolated/pictures").iterdir())) == len(STRANGE)
    assert read_json(Path("harder/report.json")) == {
        "judge": "judge",
        "weakest": [{"label": "fox", "f1": 0.0, "n_val": 4, "n_train": 6}],
        "not_judged": [],
        "pictures": 6,
        "upsampled": {"added": 6, "boxes": 6, "classes": {"fox": 6}},
        "isolated": {"kind": "mask", "added": 6, "boxes": 6, "classes": {"fox": 6}, "skipped": {"no_box": 0}},
    }


def test_a_picture_by_day_stays_one_under_all_its_grey(world: World) -> None:
    world.add("day", "fox", TRAIN, boxes=[("fox", 1.0, 1.0, 2.0, 2.0)])
    world.write()
    assert world.harden().code == 0
    row = version("harder/isolated")[2].set_index("sample_id").loc["day+mask"]
    assert inspect(Path(row["path"]).read_bytes()).infrared  # as it looks
    assert not row["infrared"]


def test_boxes_of_other_classes_vanish_with_their_animals(world: World) -> None:
    world.add(
        "both",
        "fox",
        TRAIN,
        boxes=[("fox", 1.0, 1.0, 15.0, 12.0), ("deer", 12.0, 8.0, 18.0, 14.0), ("owl", 2.0, 2.0, 6.0, 6.0)],
    )
    world.write()

    def shown(kind: str) -> list[list[Any]]:
        assert world.harden(isolate=kind).code == 0
        boxes = version("harder/isolated")[0].boxes
        return boxes[boxes["sample_id"] == f"both+{kind}"].drop(columns="sample_id").to_numpy().tolist()

    assert shown("mask") == [["fox", 1, 1, 15, 12], ["owl", 2, 2, 6, 6]]  # the owl lies in the fox's box
    assert shown("paste") == [["fox", 1, 1, 15, 12], ["owl", 2, 2, 6, 6]]  # the frame has the same size
    assert shown("crop") == [["fox", 1, 1, 15, 12], ["owl", 2, 2, 6, 6], ["deer", 12, 8, 18, 14]]  # 18.5 x 14.75, from 0, 0


def test_two_weak_classes_stay_together(world: World) -> None:
    world.add(
        "both",
        "fox",
        TRAIN,
        boxes=[("fox", 0.0, 0.0, 9.0, 9.0), ("deer", 12.0, 8.0, 18.0, 14.0), ("owl", 9.0, 9.0, 12.0, 12.0)],
    )
    world.wrong |= {"deer": "fox"}
    world.write()
    assert world.harden(weakest=2).code == 0
    boxes = version("harder/isolated")[0].boxes
    assert boxes.loc[boxes["sample_id"] == "both+mask", "label"].tolist() == ["fox", "deer"]


def test_crop_is_the_box_and_its_margin(world: World) -> None:
    world.write()
    assert world.harden(isolate="crop", crop_margin=0.5).code == 0
    samples, _, added = version("harder/isolated")
    assert added[["width_px", "height_px"]].to_numpy().tolist() == [[16, 11]] * 6
    assert samples.boxes.loc[samples.boxes["sample_id"] == "f6+crop", BOX_COLUMNS].to_numpy().tolist() == [[4, 2, 12, 8]]


def test_paste_takes_an_empty_frame_of_another_camera_by_the_same_light(world: World) -> None:
    world.write()
    assert world.harden(isolate="paste").code == 0
    added = version("harder/isolated")[2]
    frames = added.set_index("sample_id")["note"].str.rsplit(" onto ").str[1]
    assert frames.to_dict() == {f"{name}+paste": "void1" if n % 2 else "void3" for n, name in enumerate(STRANGE)}


def test_paste_without_a_fitting_frame(world: World) -> None:
    world.rows = [row for row in world.rows if row["sample_id"] != "void3"]  # no empty night frame of another camera is left
    world.write()
    assert world.harden(isolate="paste").code == 0
    assert read_json(Path("harder/report.json"))["isolated"]["skipped"] == {"no_box": 0, "no_background": 3}
    world.rows = [row for row in world.rows if row["sample_id"] != "void1"]
    world.write()
    done = world.harden(isolate="paste")
    assert done.code == 1
    assert (
        "none of 6 pictures finds an empty train frame of another camera" in done.err and "Choose `mask` or `crop`" in done.err
    )
    assert read_json(Path("harder/report.json"))["pictures"] == 6  # the earlier output stands


def test_a_picture_without_a_box_is_skipped_and_counted(world: World) -> None:
    world.add("unboxed", "fox", TRAIN)
    world.write()
    assert "upsampled adds 7, isolated 6 (mask; skipped: {'no_box': 1})" in world.harden().out
    world.boxes = []
    world.write()
    assert world.harden().code == 0
    samples, parts, added = version("harder/isolated")
    assert added.empty and samples.boxes.empty and len(parts) == len(world.rows)
    assert read_json(Path("harder/report.json"))["isolated"]["skipped"] == {"no_box": 7}


def test_only_the_answers_on_val_have_a_say(world: World) -> None:
    world.write()
    assert world.harden().code == 0
    answers = pd.read_parquet("judge/answers.parquet")
    elsewhere = answers["part"] != "val"
    world.answer(answers.assign(predicted=answers["predicted"].mask(elsewhere, "owl")))
    assert world.harden("other").code == 0
    world.answer(answers[~elsewhere])
    assert world.harden("none").code == 0
    first = Path("harder/manifest.json").read_bytes()
    assert Path("other/manifest.json").read_bytes() == first == Path("none/manifest.json").read_bytes()
    world.answer(
        answers.assign(predicted=answers["actual"].mask((answers["part"] == "val") & (answers["actual"] == "owl"), "fox"))
    )
    assert world.harden("val").out.startswith("weakest on val by F1 of judge: owl 0.000")


@pytest.mark.parametrize("change", ["missing", "strange", "label", "twice"])
def test_answers_of_another_split_are_refused(world: World, change: str) -> None:
    world.write()
    answers = pd.read_parquet("judge/answers.parquet")
    first = answers["sample_id"] == "val-deer0"
    world.answer({
        "missing": answers[~first],
        "strange": answers.assign(part=answers["part"].mask(answers["sample_id"] == "seen-deer0", "val")),
        "label": answers.assign(actual=answers["actual"].mask(first, "fox")),
        "twice": pd.concat([answers, answers[first]]),
    }[change])  # fmt: skip
    done = world.harden()
    assert done.code == 1
    assert "do not belong to the 12 val pictures of this split" in done.err and "`dvc repro`" in done.err


def test_a_class_absent_from_val_is_named(world: World) -> None:
    world.add("lynx", "lynx", TRAIN, boxes=[("lynx", *BOX)])
    world.write()
    assert "not in val, so not judged: lynx" in world.harden().out
    assert read_json(Path("harder/report.json"))["not_judged"] == ["lynx"]


def test_the_same_seed_gives_the_same_bytes_whatever_the_order_of_rows(world: World) -> None:
    for number in range(20):
        world.add(f"void-more{number}", EMPTY, TRAIN, location="cam1", infrared=number % 2 == 0)
    world.write(shuffle=1)
    assert world.harden("one", isolate="paste").code == 0
    world.write(shuffle=2)
    assert world.harden("two", isolate="paste").code == 0
    assert world.harden("three", isolate="paste", seed=2).code == 0
    one, two, three = (Path(name, "manifest.json").read_text() for name in ("one", "two", "three"))
    assert one == two != three


def test_many_pictures_are_made_by_several_processes(world: World) -> None:
    for number in range(64):
        world.add(f"many{number:02}", "fox", TRAIN, boxes=[("fox", *BOX)])
    world.write()
    assert world.harden("two", workers=2).code == 0
    assert world.harden("one", workers=1).code == 0
    assert Path("one/manifest.json").read_bytes() == Path("two/manifest.json").read_bytes()
    Path("pictures", world.rows[-1]["path"]).write_bytes(b"other")
    done = world.harden("two", workers=2)
    assert done.code == 1 and done.err.startswith("error: ") and done.err.count("\n") == 1


@pytest.mark.parametrize("bytes_, message", [(b"other", "altered since it was cleaned"), (None, "cannot be read any more")])
def test_fault_39_a_source_picture_that_changed_is_refused(world: World, bytes_: bytes | None, message: str) -> None:
    world.write()
    path = Path("pictures", world.rows[0]["path"])
    path.write_bytes(bytes_) if bytes_ else path.unlink()
    done = world.harden()
    assert done.code == 1 and message in done.err and path.name in done.err
    assert not Path("harder").exists()


def test_an_id_that_is_taken_is_refused(world: World) -> None:
    world.add("f6+copy1", "deer", TRAIN)
    world.write()
    assert "the id f6+copy1 is wanted for an added picture: rename the one that has it" in world.harden().err


def test_a_version_with_pictures_of_its_own_is_no_start(world: World) -> None:
    world.write()
    assert world.harden().code == 0
    done = world.stage("harden", "--params", "harder", "--clean", "clean", "--split", "harder/upsampled", "--judged", "judge",
                       "--seed", 1, "--out", "twice")  # fmt: skip
    assert done.code == 1 and "harder/upsampled adds pictures of its own to train" in done.err


@pytest.mark.parametrize("settings, message", [
    ({"isolate": "blur"}, "harder.isolate: given 'blur'"), ({"weakest": 0}, "harder.weakest"),
    ({"copies": 0}, "harder.copies"), ({"crop_margin": -1.0}, "harder.crop_margin"), ({"margin": 0.1}, "unknown key"),
])  # fmt: skip
def test_settings_that_make_no_sense_are_refused(world: World, settings: dict[str, Any], message: str) -> None:
    world.write()
    done = world.harden(**settings)
    assert done.code == 1 and message in done.err


def test_fault_39_an_altered_input_is_refused(world: World) -> None:
    world.write()
    Path("judge/manifest.json").write_text(json.dumps({}))
    assert "judge is not as its stage left it" in world.harden().err


def test_a_judge_without_answers_is_refused(world: World) -> None:
    world.write()
    Path("judge/answers.parquet").unlink()
    write_manifest(Path("judge"))
    assert "judge/answers.parquet: no such file. --judged takes the folder" in world.harden().err
