"""The page of a data set of people: its figures, its pictures with the people in them, and hostile names."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.numpy import save_file

from stages.bboxes import BoxesSettings, boxed
from stages.files import DataError, new_folder, write_json
from stages.pages.of_people import (
    COLOURS,
    LONGER_PX,
    OTHERS,
    Album,
    Person,
    chosen_people,
    drawn,
    galleries,
    joint_means,
    of_missing,
    of_reason,
    region,
    tinted,
)
from stages.pages.page import best_of, confusion_rows
from stages.people import BONES, HEAD_COLUMNS, HEAD_TOP, JOINT_NAMES, JOINTS, L_ANKLE, PEOPLE, PERSON, R_ANKLE
from stages.predictions import JOINTS as FOUND_JOINTS
from stages.predictions import box_rows, class_rows
from stages.samples import BOX_COLUMNS, SCORED, Samples, of_part, read_samples, read_version, true_people
from tests import report_helpers
from tests import training_helpers as tiny
from tests.report_helpers import REJECT_COLUMNS, SCRIPT, Page, write_data, write_split

DATASET = "wood <em>"
IDS = [f"p{n:02}" for n in range(11)] + ["<i>&q"]
LABELS = ["running", SCRIPT] * 6
PARTS = ["train"] * 4 + ["val"] * 4 + ["test"] * 4
PLACES = [(12.0 + 6 * (n % 4), 6.0 + 8 * (n // 4)) for n in range(16)]
PEOPLE_OF = {name: [set()] for name in IDS} | {  # of each person, the joints that are absent
    "p01": [set(), set()],
    "p02": [{HEAD_TOP}],
    "p03": [{R_ANKLE, L_ANKLE}, {R_ANKLE}],
}
REJECTS = [
    ("joint", "a.mat annolist(1).annorect(1) l_wrist", "p00", "negative", "at (-4, 5)"),
    ("joint", "a.mat annolist(1).annorect(1) r_knee", "p00", "negative", "at (-9, 5)"),
    ("picture", "a.mat annolist(20)", "gone <s>.png", "no_category", "no <b>category</b>"),
    ("picture", "a.mat annolist(21)", "broken.png", "no_annotation", "no joint"),
    ("picture", "a.mat annolist(22)", "missing.png", "no_annotation", "no joint"),
    ("picture", "a.mat annolist(23)", "twin.png", "conflicting_duplicate", "the same bytes"),
    ("annotation", "a.mat act(20)", "gone <s>.png", "picture_rejected", "its picture was rejected"),
]
COUNTS = {
    "pictures": {"in": 16, "kept": 12, "rejected": 4, "merged": 0},
    "people": {"in": 15, "kept": 14, "rejected": 1},
    "joints": {"in": 230, "kept": 220, "rejected": 2, "of_rejected_pictures": 8},
    "rejected_because": {
        "joint": {"negative": 2},
        "picture": {"no_annotation": 2, "no_category": 1, "conflicting_duplicate": 1},
    },
    "rules": dict.fromkeys(("negative", "out_of_bounds", "not_a_number", "no_category", "no_joint_left", "nobody_left"), 0)
    | {"negative": 2, "no_category": 1, "no_annotation": 2},
}


@pytest.fixture
def project(stage: Callable[..., Any], tmp_path: Path) -> Path:
    """Data of people with hostile names, boxed and split, and nothing evaluated yet; the test runs there."""
    raw = tmp_path / "raw"
    rows = tiny.table(
        raw,
        {
            name: (label, np.full((48, 64, 3), 90 + n, np.uint8))
            for n, (name, label) in enumerate(zip(IDS, LABELS, strict=True))
        },
    )
    people = pd.DataFrame([(name, n) for name, those in PEOPLE_OF.items() for n in range(len(those))])
    people = people.set_axis(["sample_id", "person"], axis=1).reindex(columns=list(PEOPLE.columns))
    people[["head_x_min_px", "head_y_min_px", "head_x_max_px", "head_y_max_px"]] = [10.0, 10.0, 20.0, 20.0]
    joints = [
        (name, number, joint, *((0.0, 0.0, 0) if joint in absent else (x, y, 2)))
        for name, those in PEOPLE_OF.items()
        for number, absent in enumerate(those)
        for joint, (x, y) in enumerate(PLACES)
    ]
    made = boxed(
        Samples(
            rows, pd.DataFrame(), raw, "your data", PEOPLE.validate(people), pd.DataFrame(joints, columns=list(JOINTS.columns))
        ),
        BoxesSettings(),
    )
    (raw / "deep").mkdir()
    for name, data in {
        "gone <s>": tiny.png(tiny.noise(20, 1)),
        "broken": b"no picture",
        "twin": tiny.png(tiny.noise(20, 2)),
    }.items():
        (raw / "deep" / f"{name}.png").write_bytes(data)
    tables = {"samples": made.pictures, "boxes": made.boxes, "people": made.people, "joints": made.joints}
    write_data(tmp_path / "boxes", raw, tables, COUNTS | {"boxed": made.counts}, REJECTS)
    write_split(tmp_path / "splits", "activity", rows, PARTS)
    for name in ("metrics", "answers"):
        (tmp_path / name).mkdir()
    write_json(tmp_path / "metrics/clean.json", COUNTS)
    return tmp_path


def scored_rows() -> pd.DataFrame:
    return of_part(*read_version(Path("splits/activity"), read_samples(Path("boxes"))), *SCORED)


def evaluate(stage: Callable[..., Any], name: str, found: pd.DataFrame) -> None:
    report_helpers.evaluate(
        stage, f"{DATASET}-{name}", found, ["running", SCRIPT], Path("splits/activity"), "boxes",
        Path("predictions"), cost=None
    )  # fmt: skip


@pytest.fixture
def tells(stage: Callable[..., Any], project: Path) -> Callable[..., None]:
    """Evaluate a model of activities that is wrong on the given pictures."""

    def go(name: str, wrong: tuple[str, ...] = ()) -> None:
        other = {"running": SCRIPT, SCRIPT: "running"}
        said = {row.sample_id: other[row.label] if row.sample_id in wrong else row.label for row in scored_rows().itertuples()}
        table = {name: {label: 0.8 if label == answer else 0.2 for label in other} for name, answer in said.items()}
        evaluate(stage, name, class_rows(pd.DataFrame(table).T))

    return go


@pytest.fixture
def finds(stage: Callable[..., Any], project: Path) -> Callable[[], None]:
    """Evaluate a model of joints that finds everybody just where they are but nobody in p08, and has chosen for heatmaps."""

    def go() -> None:
        samples, rows = read_samples(Path("boxes")), scored_rows()
        true = true_people(samples.people, samples.joints, samples.boxes)
        true = true[true["sample_id"].isin(rows["sample_id"]) & (true["sample_id"] != "p08")]
        joints = [np.reshape(person, (16, 3))[:, :2] for person in true["joints"]]
        flat = [np.column_stack([xy, np.full(16, 0.9)]).ravel().tolist() for xy in joints]
        found = true[["sample_id", *BOX_COLUMNS]].assign(label=PERSON, score=0.9, joints=flat)
        second = found[found["sample_id"] == "p09"].assign(score=0.5)
        second[["x_min_px", "x_max_px"]] += 20.0
        unsure = second.assign(score=0.1)
        evaluate(stage, "pose", box_rows(pd.concat([found, second, unsure]), rows["sample_id"], FOUND_JOINTS))
        chosen = {name: found[found["sample_id"] == name] for name in rows.loc[rows["part"] == "test", "sample_id"]}
        chosen["p09"] = pd.concat([second, chosen["p09"]])
        folder = Path("shows")
        (folder / "shards").mkdir(parents=True)
        stored = np.zeros((len(chosen), 12, 16, 4), np.uint8)
        stored[list(chosen).index("p09"), :, 8:, 3] = 255  # the heatmap of its right half
        save_file({"rgb_heatmap": stored}, folder / "shards/0.safetensors")
        index = [
            {"sample_id": name, "part": "test", "label": "running", "boxes_px": two[BOX_COLUMNS].to_numpy().ravel().tolist(),
             "joints_px": [number for person in two["joints"] for number in person], "shard": "0.safetensors", "row": row}
            for row, (name, two) in enumerate(chosen.items())
        ]  # fmt: skip
        pd.DataFrame(index).to_parquet(folder / "index.parquet")
        loss = {"epoch": [0, 1], "train_pose_loss": [2.0, 1.0], "val_pose_loss": [3.0, 2.0]}
        pd.DataFrame(loss).to_csv(f"metrics/{DATASET}-pose.curve.csv", index=False)

    return go


@pytest.fixture
def report(stage: Callable[..., Any], project: Path) -> Callable[[], Page]:
    return lambda: report_helpers.report(stage, DATASET, "boxes")


class Recorder(Album):
    """Notes what is drawn and who on it, and draws nothing."""

    def __init__(self, samples: Samples, out: Path) -> None:
        super().__init__(samples, out)
        self.added: dict[str, list[Person]] = {}
        self.rgbs: dict[str, np.ndarray] = {}

    def add(self, rgb: np.ndarray, people: list[Person], text: str, numbered: bool = False) -> dict[str, str]:
        self.added[text], self.rgbs[text] = people, rgb
        return {"file": "x.jpg", "text": text}


@pytest.fixture
def album(project: Path) -> Recorder:
    return Recorder(read_samples(project / "boxes"), project)


# The page ------------------------------------------------------------------------------------------------------------


def test_a_page_without_any_model_has_the_data(report: Callable[[], Page]) -> None:
    page = report()
    text = " ".join(page.text.split())
    assert "No model of activities has been evaluated yet" in text and "No model of joints has been evaluated yet" in text
    assert page.table("rows") == [
        ["pictures", "16", "12", "4", "0", "–"],
        ["people", "15", "14", "1", "–", "–"],
        ["joints", "230", "220", "2", "–", "8"],
    ]
    assert "Boxes: 14 people of 14, in 12 pictures; 1 padded at the head, 1 at the feet, 0 cut at an edge." in text
    rules = [(row[0].split(" x or")[0].split(" ours")[0].split(" the ")[0], *row[1:]) for row in page.table("rule")]
    assert rules == [
        ("negative", "joint", "2"), ("out of bounds", "joint", "0"), ("not a number", "joint", "0"),
        ("no category", "picture", "1"), ("no annotation", "picture", "2"), ("no joint left", "person", "0"),
        ("nobody left", "picture", "0"),
    ]  # fmt: skip
    assert ["conflicting duplicate", "picture", "1"] in page.table("reason")
    assert page.table("part") == [["test", "4", "2", "2"], ["train", "4", "2", "2"], ["val", "4", "2", "2"]]


def test_the_page_has_the_mean_number_of_each_joint_and_the_largest_difference(report: Callable[[], Page]) -> None:
    page = report()
    rows = page.table("joint")
    assert rows[0] == ["0 r_ankle", "1.000", "1.000", "+0.000"]  # of 6 people in 4 pictures two have none
    assert rows[1] == ["1 r_knee", "1.500", "1.000", "-0.500"]
    assert rows[5] == ["5 l_ankle", "1.250", "1.000", "-0.250"]
    assert rows[9] == ["9 head_top", "1.250", "1.000", "-0.250"]
    assert "Largest difference: -0.500 (r_knee)." in page.text
    assert "annotated, mean a picture" in Path("page/joints-0.svg").read_text()


def test_the_page_has_every_model_of_activities_and_their_differences(
    stage: Callable[..., Any], tells: Callable[..., None], report: Callable[[], Page]
) -> None:
    tells("rgb-heatmap", wrong=("p08",))
    tells("rgb", wrong=("p04", "p05", "p08", "p09", "p10", "<i>&q"))
    tells("truth-heatmap")
    report_helpers.compare(stage, references={DATASET + "-rgb-heatmap": [f"{DATASET}-rgb", f"{DATASET}-truth-heatmap"]})
    page = report()
    rows = {row[0].split()[1].removeprefix("<em>-"): row for row in page.under("Test part, with 95 % intervals")}
    assert list(rows) == ["rgb-heatmap", "rgb", "truth-heatmap"]
    figures = [cell.split()[0] for cell in rows["rgb-heatmap"][1:]]
    # of two runners one is called the other: precision 1 and 2/3, recall 1/2 and 1, F1 2/3 and 4/5
    assert figures == ["4", "0.750", "0.833", "0.750", "0.833", "0.750", "0.733", "0.500", "1.000", "4"]
    assert "to" in rows["rgb-heatmap"][2]
    assert rows["rgb"][9] == "0.500"
    less = {row[1]: row[2:] for row in page.under("Each model less another")}
    assert less[f"{DATASET}-rgb"][0] == "4" and less[f"{DATASET}-rgb"][3].startswith("+0.733 better")
    assert less[f"{DATASET}-truth-heatmap"][3].startswith("-0.267")
    by_class = page.table("activity")  # of the best by validation but for the one that is told the truth
    assert by_class == [
        ["running", "2", "1", "1.000", "0.500", "0.667", "0.000", "1.000"],
        [SCRIPT, "2", "3", "0.667", "1.000", "0.800", "0.000", "1.000"],
    ]
    assert page.table("true") == [["1 running", "2", "1", "1"], [f"2 {SCRIPT}", "2", "", "2"]]
    assert page.text.count(f"running, called {SCRIPT} (") == page.text.count(", called ") == 1


def test_the_page_has_the_figures_of_joints_and_whom_heatmaps_are_of(
    finds: Callable[[], None], report: Callable[[], Page]
) -> None:
    finds()
    page = report()
    val, test = page.under("People and joints found")
    assert [cell.split()[0] for cell in val[1:]] == [
        "val",
        "4",
        "4",
        "0",
        "1.000",
        "1.000",
        "1.000",
        "64",
        "1.000",
        "1.000",
        "+0.000",
    ]
    assert [test[1], test[2], test[3], test[7].split()[0], test[8], test[11].split()[0]] == [
        "test",
        "4",
        "4",
        "0.750",
        "64",
        "+0.000",
    ]
    by_joint, _ = page.named("joint")
    assert by_joint == [[f"{n} {name}", "4", "0.750"] for n, name in enumerate(JOINT_NAMES)]
    assert "running, 2 found: p09" in page.text and "running, 0 found: p08" in page.text
    assert "pose-0.svg" in page.links and "your data" in Path("page/pose-0.svg").read_text()


def test_every_figure_is_labelled(finds: Callable[[], None], tells: Callable[..., None], report: Callable[[], Page]) -> None:
    finds()
    tells("rgb-heatmap")
    page = report()
    captions = Path("page/index.html").read_text().split("<caption>")[1:]
    assert len(captions) == len(page.tables) and all(
        text.lstrip().startswith('<span class="label">your data</span>') for text in captions
    )
    assert "embedded" not in page.text and "measured on the data given" in page.text
    about = Path("boxes/source.json")
    with new_folder(Path("boxes2")) as folder:
        for path in Path("boxes").iterdir():
            (folder / path.name).write_bytes(
                path.read_bytes().replace(b'"your data"', b'"embedded"') if path == about else path.read_bytes()
            )
    Path("boxes").rename("boxes3")
    Path("boxes2").rename("boxes")
    page = report()
    assert "embedded data" in page.text and "your data" not in page.text and "drew itself" in page.text
    assert "(its figures belong to another run or other data)" in page.text


def test_hostile_names_are_text_and_nothing_but_text(
    finds: Callable[[], None], tells: Callable[..., None], report: Callable[[], Page]
) -> None:
    finds()
    tells("rgb-heatmap", wrong=("<i>&q",))
    page = report()
    assert not page.tags & {"i", "u", "s", "em"} and "alert(1)</script>" not in Path("page/index.html").read_text()
    for text in (DATASET, "tiny <s>", SCRIPT, "<i>&q", "<u>CC0</u>", "gone <s>.png: no <b>category</b>"):
        assert text in page.text, text
    assert all((Path("page") / link).is_file() for link in page.links)  # nothing is fetched from elsewhere
    assert all(path.suffix == ".jpg" and path.stem.isalnum() for path in Path("page/pictures").iterdir())
    sizes = {max(Image.open(path).size) for path in Path("page/pictures").iterdir()}
    assert sizes == {LONGER_PX, 64}, "drawn ones are small, the gallery's are no larger than they came"
    svg = Path("page/pose-0.svg").read_text()
    assert "<em>" not in svg and "wood &lt;em&gt;" in svg


def test_a_part_where_no_head_has_a_box_has_no_pckh(finds: Callable[[], None], report: Callable[[], Page]) -> None:
    people = pd.read_parquet("boxes/people.parquet")
    with new_folder(Path("boxes")) as folder:
        for path in Path("boxes").glob("[!m]*"):
            shutil.copy(path, folder)
        people.assign(**dict.fromkeys(HEAD_COLUMNS, float("nan"))).to_parquet(folder / "people.parquet", index=False)
    finds()
    page = report()
    _, test = page.under("People and joints found")
    assert [cell.split()[0] for cell in test[1:]] == ["test", "4", "4", "4", "0.752", "0.752", "–", "0", "–", "–", "–"]
    by_joint, _ = page.named("joint")
    assert by_joint[0] == ["0 r_ankle", "0", "–"] and "nan" not in page.text


def test_the_page_is_the_same_twice(finds: Callable[[], None], tells: Callable[..., None], report: Callable[[], Page]) -> None:
    finds()
    tells("rgb-heatmap", wrong=("p08",))
    report()
    first = {path: path.read_bytes() for path in Path("page").rglob("*") if path.is_file()}
    report()
    assert {path: path.read_bytes() for path in Path("page").rglob("*") if path.is_file()} == first


# Pictures ------------------------------------------------------------------------------------------------------------


def test_galleries_show_what_can_be_read(album: Recorder) -> None:
    made = galleries(album, pd.DataFrame(REJECTS, columns=REJECT_COLUMNS))
    found = {gallery["title"].split(":")[0]: (gallery["n"], [item["text"] for item in gallery["pictures"]]) for gallery in made}
    assert list(found)[:6] == [
        "negative",
        "out of bounds",
        "head-top missing",
        "both ankles missing",
        "not a number",
        "no category",
    ]
    assert found["negative"] == (2, ["p00: l_wrist at (-4, 5), and 1 more"])
    assert found["head-top missing"] == (1, ["p02, person 0"])
    assert found["both ankles missing"] == (1, ["p03, person 0"])
    assert found["no category"] == (1, ["gone <s>.png: no <b>category</b>"])
    assert found["no annotation"] == (2, [])  # one is no picture, the other is missing
    assert found["conflicting duplicate"] == (1, ["twin.png: the same bytes"])
    assert found["out of bounds"] == (0, [])
    assert len(album.added["p00: l_wrist at (-4, 5), and 1 more"]) == 1 and album.added["twin.png: the same bytes"] == []


def test_missing_joints_are_those_of_one_person(album: Recorder) -> None:
    assert of_missing(album, (R_ANKLE,))[0] == 2
    assert of_missing(album, (R_ANKLE, L_ANKLE))[0] == 1
    (person,) = album.added["p03, person 0"]
    assert person.xyxy_px.tolist() == [12.0, 6.0, 30.0, pytest.approx(30 + 0.15 * 24)]


def test_a_kept_picture_that_was_altered_since_is_refused(album: Recorder) -> None:
    (album.samples.root / "p00.png").write_bytes(tiny.png(tiny.noise(20, 3)))
    with pytest.raises(DataError, match=r"p00\.png: altered since it was cleaned"):
        of_reason(album, pd.DataFrame(REJECTS[:2], columns=REJECT_COLUMNS))


def test_whom_a_heatmap_is_of_is_numbered_and_coloured(finds: Callable[[], None], album: Recorder) -> None:
    finds()
    predictions = Path("predictions") / f"{DATASET}-pose"
    heatmaps = Path("shows")
    shown = [item["text"] for item in chosen_people(album, heatmaps, predictions)]
    assert [text.split(", ")[1].split(":")[0] for text in shown] == ["0 found", "1 found", "1 found", "2 found"]
    people = album.added["running, 2 found: p09"]
    assert [(person.name, person.colour) for person in people] == [
        ("", OTHERS),
        ("", OTHERS),
        ("1", COLOURS[0]),
        ("2", COLOURS[1]),
    ]
    assert [person.xyxy_px[0] for person in people] == [12.0, 32.0, 32.0, 12.0]
    assert all((person.joints[:, 2] > 0).all() for person in people)
    assert album.added["running, 0 found: p08"] == []
    plain, glowing = (album.rgbs[f"running, {text}"].astype(int) for text in ("0 found: p08", "2 found: p09"))
    assert np.ptp(plain) == 0, "nobody found, no heatmap"
    assert np.ptp(glowing[:, :28]) == 0 and (glowing[:, 36:, 0] > glowing[:, :28, 0].max() + 50).all()
    assert chosen_people(album, heatmaps, Path("nowhere")) == chosen_people(album, Path("nowhere"), predictions) == []


def test_boxes_bones_and_joints_are_drawn_where_they_are() -> None:
    joints = np.zeros((16, 3))
    one, other = BONES[0]
    joints[one], joints[other] = (40, 40, 1), (40, 120, 1)
    person = Person(np.array([20.0, 20.0, 100.0, 140.0]), joints, "#FF0000", "1")
    image = np.asarray(drawn(np.zeros((160, 320, 3), np.uint8), [person])).astype(int)
    assert image.shape == (160, 320, 3)
    for x, y in ((60, 20), (100, 80), (60, 140), (40, 80), (40, 40)):
        assert image[y, x].tolist() == [255, 0, 0], (x, y)
    assert image[100, 70].sum() == image[80, 200].sum() == 0
    assert (image[20:42, 22:40] == 255).all(axis=2).any()  # its number


def test_a_heatmap_glows_where_it_is_strong_and_leaves_the_rest() -> None:
    heatmap = np.zeros((4, 8), np.uint8)
    heatmap[:, 4:] = 255
    shown = tinted(np.full((40, 80, 3), 100, np.uint8), heatmap)
    assert shown.shape == (40, 80, 3) and shown.dtype == np.uint8
    assert (shown[:, :30] == 100).all() and (shown[:, 50:] == [224, 224, 20]).all()  # a fifth of 100, and 0.8 of yellow


def test_a_numbered_picture_is_cut_to_its_people_and_shows_the_padding() -> None:
    joints = np.zeros((16, 3))
    joints[0], joints[1] = (110, 120, 2), (130, 140, 2)
    person = Person(np.array([110.0, 100.0, 130.0, 140.0]), joints, "#FF0000")
    image = drawn(np.zeros((480, 640, 3), np.uint8), [person], numbered=True)
    assert image.size == (213, 320)  # 40 x 60 px: the box and a quarter of its height around it
    pixels, scale = np.asarray(image), 320 / 60
    assert pixels[round(10 * scale), 106].tolist() == [255, 0, 0]  # the box's top
    assert pixels[round(30 * scale), 140].tolist() == [255, 255, 255]  # the joints'


@given(st.lists(st.tuples(*[st.floats(0, 1)] * 4), min_size=1, max_size=5), st.integers(1, 2000), st.integers(1, 2000))
def test_a_region_holds_its_people_and_lies_in_the_picture(shares: list[tuple[float, ...]], width: int, height: int) -> None:
    corners = np.array(shares).reshape(-1, 2, 2) * [width, height]
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1) + 0.5], axis=1).clip(0, [width, height] * 2)
    left, top, right, bottom = region([Person(box, np.zeros((16, 3)), "") for box in boxes], width, height)
    assert 0 <= left <= boxes[:, 0].min() and 0 <= top <= boxes[:, 1].min()
    assert boxes[:, 2].max() <= right <= width and boxes[:, 3].max() <= bottom <= height


# Figures -------------------------------------------------------------------------------------------------------------


def test_a_part_without_pictures_has_no_mean(project: Path) -> None:
    samples, parts = read_version(Path("splits/activity"), read_samples(Path("boxes")))
    table = joint_means(samples, parts[parts["part"] != "test"])
    assert table["joint"].tolist() == list(JOINT_NAMES)
    assert table["train"].tolist()[:2] == [1.0, 1.5] and table["test"].isna().all()


def test_the_best_is_chosen_on_validation_among_those_that_are_not_told_the_truth() -> None:
    def model(val: float, test: float) -> dict[str, Any]:
        return {"parts": {"val": {"f1_macro": val}, "test": {"f1_macro": test}}}

    models = {
        "x-rgb": model(0.6, 0.9),
        "x-rgb-heatmap": model(0.7, 0.5),
        "x-truth-heatmap": model(0.9, 0.9),
        "x-heatmap": model(0.7, 0.6),
    }
    assert best_of(models, "x") == "x-heatmap"  # the first of equals
    assert best_of(models, "y") == "x-truth-heatmap"
    assert best_of({"x-truth-heatmap": model(0.9, 0.9), "x-new": {"parts": {"val": {"f1_macro": 1.0}}}}, "x") is None


def test_confusion_rows_hold_every_class_in_order() -> None:
    table = pd.DataFrame({"actual": ["b", "b", "a"], "predicted": ["a", "b", "a"], "n": [1, 3, 2]})
    rows = confusion_rows(table, ["b", "a", "never"])
    assert [(row["label"], row["n"], [cell["n"] for cell in row["cells"]]) for row in rows] == [
        ("b", 4, [3, 1, 0]), ("a", 2, [0, 2, 0]), ("never", 0, [0, 0, 0]),
    ]  # fmt: skip
    assert [cell["share"] for cell in rows[0]["cells"]] == [0.75, 0.25, 0.0]
