"""The users' command with models of people: joints, heatmaps of two people and what they do, from photos to every table."""

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageColor

from stages import annotate, heatmaps, media, predict, samples, trained
from stages.datasets.caltech_camera_traps import read
from stages.entries import Looker, entries
from stages.files import sha256_file, write_json, write_manifest
from stages.inference import Network
from stages.people import BONES, JOINT_NAMES, no_people
from stages.pictures import RGB
from tests import megadetector_format
from tests import predict_helpers as colours
from tests.conftest import Finished
from tests.predict_helpers import HEATMAPS, paint
from tests.test_entries import said, video
from tests.test_predict import Command

POSE, ACT = "colours-pose", "colours-act"
TWO, ONE, NOBODY = (204, 51, 102), (0, 204, 0), (51, 51, 0)  # people of 0.8, 0.2 and 0.4; one of 0.8; none of 0.25 or more
LEFT, MIDDLE, RIGHT = [0, 0, 0.5, 1], [0.25, 0, 0.75, 1], [0.5, 0, 1, 1]


@pytest.fixture
def command(stage: Callable[..., Finished], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    return Command(stage, monkeypatch, tmp_path)


@pytest.fixture
def card(command: Command) -> Path:
    for name, colour in {"two.png": TWO, "one.png": ONE, "nobody.png": NOBODY}.items():
        paint(command.card / name, colour)
    return command.card


def joints(middle: float) -> list[list[float]]:
    """Those of colours-pose as shares of a picture, x of all of them alike."""
    return [[middle, round((joint + 0.5) / 16, 5), (joint + 1) / 16] for joint in range(16)]


def looker(inputs: str = "rgb_heatmap", batch_size: int = 4) -> Looker:
    pose = colours.network(POSE) if inputs != "rgb" else None
    return Looker(colours.network(ACT), 0.25, 1.0, batch_size, pose, heatmaps=HEATMAPS)


# What is said of a file ----------------------------------------------------------------------------------------------------------


def test_people_s_entry_word_for_word(tmp_path: Path) -> None:
    paint(tmp_path / "a.png", TWO, (40, 20))
    [entry] = said(Looker(colours.network(POSE), 0.25, 1.0, 4), tmp_path, "a.png")
    assert entry["boxes"] == [
        [0, "person", 0.8, *LEFT, None, None, joints(0.25), False],
        [0, "person", 0.4, *MIDDLE, None, None, joints(0.5), False],
    ]
    assert "scores" not in entry


def test_an_activity_s_entry_has_its_people_and_which_are_in_the_heatmap(tmp_path: Path) -> None:
    paint(tmp_path / "a.png", (204, 153, 102), (40, 20))
    paint(tmp_path / "b.png", NOBODY, (40, 20))
    (tmp_path / "c.png").write_text("no picture")
    a, b, c = said(looker(), tmp_path, "a.png", "b.png", "c.png")
    assert a["scores"] == [[round(204 / 357, 9), round(153 / 357, 9)]]
    # The one in the middle is nearest the centre; of the two others, both as far from it and as large, the first, as the surest.
    assert a["boxes"] == [
        [0, "person", 0.8, *LEFT, None, None, joints(0.25), True],
        [0, "person", 0.6, *RIGHT, None, None, joints(0.75), False],
        [0, "person", 0.4, *MIDDLE, None, None, joints(0.5), True],
    ]
    assert (b["scores"], b["boxes"]) == ([[0.5, 0.5]], [])
    assert c["failure"].startswith("not_an_image")


def test_colours_alone_need_nobody_found(tmp_path: Path) -> None:
    paint(tmp_path / "a.png", TWO)
    looks = looker("rgb")
    [entry] = said(looks, tmp_path, "a.png")
    assert entry["scores"] == [[0.8, 0.2]] and "boxes" not in entry
    module: Any = looks.network.module
    assert module.pictures[0].shape == (12, 16, 4) and not module.pictures[0][..., 3].any()


def test_a_video_s_frames_have_their_own_people(tmp_path: Path) -> None:
    video(tmp_path / "v.avi", [(255, 0, 0)] * 10 + [(0, 0, 0)] * 10 + [(0, 255, 0)] * 10)
    paint(tmp_path / "w.png", TWO)
    film, after = said(looker(batch_size=2), tmp_path, "v.avi", "w.png")
    assert film["frames"] == [0, 10, 20] and [[round(share) for share in frame] for frame in film["scores"]][::2] == [
        [1, 0],
        [0, 1],
    ]
    assert [(row[0], row[3:7], row[10]) for row in film["boxes"]] == [(0, LEFT, True), (20, RIGHT, True)]
    assert [row[2] for row in after["boxes"]] == [0.8, 0.4]


def photos(root: Path, sizes: list[tuple[int, int]]) -> pd.DataFrame:
    """JPEGs of noise, and the rows that the heatmaps stage knows of them."""
    rows, rng = [], np.random.default_rng(0)
    for number, (width_px, height_px) in enumerate(sizes):
        path = root / f"{number}.jpg"
        Image.fromarray(rng.integers(0, 256, (height_px, width_px, 3), dtype=np.uint8)).save(path, quality=95)
        rows.append((path.name, path.name, sha256_file(path), width_px, height_px, "test", "running"))
    return pd.DataFrame(rows, columns=["sample_id", "path", "sha256", "width_px", "height_px", "part", "label"])


def test_a_photo_is_shown_to_the_bit_as_the_heatmaps_stage_stores_it(tmp_path: Path) -> None:
    """Also photos that are decoded smaller than they are."""
    table = photos(tmp_path, [(40, 20), (20, 40), (160, 100), (97, 131), (300, 40)])
    pose = replace(colours.network(POSE), floor=HEATMAPS.score_floor)
    nobody = samples.true_people(*no_people(), pd.DataFrame(columns=["sample_id", "label", *samples.BOX_COLUMNS], dtype=object))
    [(_, tensors, known)] = heatmaps.make_shards(pose, {0: list(table.itertuples())}, tmp_path, nobody, HEATMAPS)
    looks = looker()
    found = list(entries(looks, tmp_path, [media.File(path, 0, 0) for path in table["path"]]))
    module: Any = looks.network.module
    assert np.array_equal(np.stack(module.pictures), tensors["rgb_heatmap"]) and tensors["rgb_heatmap"][..., 3].any()
    assert [[place for place, row in enumerate(entry["boxes"]) if row[10]] for entry in found] == [
        sorted(row["people"]) for row in known
    ]


def test_a_turned_photo_is_not_decoded_too_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 120 x 60 px as it lies in its file, a quarter would do for 16 x 12 px; upright it is 15 px wide then."""
    exif = Image.Exif()
    exif[0x0112] = 6
    rgb = np.random.default_rng(0).integers(0, 256, (60, 120, 3), dtype=np.uint8)
    Image.fromarray(rgb).save(tmp_path / "a.jpg", exif=exif, quality=95)
    sizes: list[tuple[int, ...]] = []

    def resized(rgb: RGB, width_px: int, height_px: int) -> RGB:
        sizes.append(rgb.shape[:2])
        return rgb[:height_px, :width_px].copy()

    monkeypatch.setattr("stages.entries.resize", resized)
    said(looker("rgb"), tmp_path, "a.jpg")
    assert min(sizes[0]) >= 16, "as wide as the heatmap at least"


def test_joints_that_are_no_numbers_stop_it(command: Command, card: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def diverged(means: Any, floor: float) -> list[Any]:
        return [np.where(np.arange(54) > 6, np.nan, people) for people in colours.halves(means, floor)]

    monkeypatch.setattr(trained, "load", lambda folder: replace(colours.network(folder.name), **(
        {"finish": diverged} if folder.name == POSE else {})))  # fmt: skip
    for model in (POSE, ACT):
        done = command.tried(model=model, out=command.folder / model)
        assert done.code == 1 and ".png: the pose model finds joints that are not finite numbers" in done.err


# The command -----------------------------------------------------------------------------------------------------------------------


def test_people_and_their_joints(command: Command, card: Path) -> None:
    done = command(model=POSE)
    assert command.labels() == {"nobody.png": "empty", "one.png": "person", "two.png": "person"}
    assert {row["File"]: (row["Kind"], row["Count"], row["Score"]) for row in command.rows()} == {
        "nobody.png": ("empty", "0", "0.8"), "one.png": ("person", "1", "0.8"), "two.png": ("person", "2", "0.8"),
    }  # fmt: skip
    assert "how sure it is, is not calibrated, and people count from 0.25 on (--threshold)" in done.err
    command("--threshold", 0.1, model=POSE)
    assert command.shown == [] and {row["File"]: row["Count"] for row in command.rows()} == {
        "nobody.png": "2", "one.png": "1", "two.png": "3",
    }  # fmt: skip


def test_what_they_do(command: Command, card: Path) -> None:
    command(model=ACT)
    assert command.labels() == {"nobody.png": "running", "one.png": "sitting", "two.png": "running"}
    rows = {row["File"]: row for row in command.rows()}
    assert {name: (row["Kind"], row["Count"], row["Score"], row["Review"], row["Note"]) for name, row in rows.items()} == {
        "nobody.png": ("person", "0", "0.5", "true", "nobody was found in it: told without joints"),
        "one.png": ("person", "1", "1.0", "false", ""), "two.png": ("person", "2", "0.8", "false", ""),
    }  # fmt: skip
    command("--review-below", 0, "--sequence-gap", 10, model=ACT)
    assert command.shown == [] and [row["Review"] for row in command.rows()] == ["true", "false", "false"]


def test_confidence_is_calibrated_by_what_validation_chose(command: Command, card: Path) -> None:
    answers = command.folder / "data/answers/mine" / ACT
    write_json(answers / "chosen.json", {"temperature": 2.0})
    write_manifest(answers)
    command(model=ACT)
    confidence = {row["File"]: row["Confidence"] for row in command.rows()}
    assert confidence["two.png"] == "0.6666"  # sqrt(0.8) / (sqrt(0.8) + sqrt(0.2)) is two thirds


def test_behind_another_pose_model_it_is_not_calibrated(command: Command, card: Path) -> None:
    weights = command.folder / "models" / POSE / "weights.safetensors"
    weights.write_text("trained again")
    write_manifest(weights.parent)
    done = command.tried(model=ACT)
    assert done.code == 1 and f"{ACT} was trained behind another {POSE} than that at models/{POSE}: `dvc repro`" in done.err
    assert not command.out.exists()
    done = command("--detector", POSE, model=ACT)
    assert f"{ACT} was never validated behind {POSE}: how sure it is, is not calibrated" in done.err
    assert command.labels()["two.png"] == "running"


@pytest.mark.parametrize(("model", "words", "message"), [
    (POSE, ["--species", "person"], f"--species is for models of animals; {POSE} is one of people"),
    (ACT, ["--species", "running"], f"--species is for models of animals; {ACT} is one of people"),
    (POSE, ["--threshold", "0.01"], "boxes below 0.025 are not written down: give 0.05 or more"),
    (POSE, ["--detector", POSE], "--boxes is for models that classify boxes (family crop), --detector for those"),
    (ACT, ["--threshold", "0.5"], "--threshold is for models that find boxes"),
    (ACT, ["--detector", "colours-boxes"], f"--detector colours-boxes: it finds no joints. Name a pose model, {POSE}"),
    (ACT, ["--detector", "nothing"], "no trained model `nothing`"),
])  # fmt: skip
def test_options_that_do_not_fit_people_are_refused(
    command: Command, card: Path, model: str, words: list[str], message: str
) -> None:
    done = command.tried(*words, model=model)
    assert done.code == 1 and message in done.err, done.err
    assert not command.out.exists()


@pytest.mark.parametrize(("card_of", "words", "message"), [
    ({"inputs": "rgb_truth"}, [], "wants heatmaps of true joints, which photos do not bring: take one that was trained on found"),
    ({"inputs": "rgb"}, ["--detector", POSE], "looks at whole pictures alone, whoever is in them"),
    ({"heatmaps": None}, [], "was trained by an earlier version, which kept no heatmap settings: `dvc repro` trains it anew"),
])  # fmt: skip
def test_heatmaps_that_cannot_be_made_are_refused(
    command: Command, card: Path, monkeypatch: pytest.MonkeyPatch, card_of: dict[str, Any], words: list[str], message: str
) -> None:
    network = colours.network(ACT)
    known = {name: value for name, value in (network.card | card_of).items() if value is not None}
    monkeypatch.setattr(trained, "load", lambda _folder: replace(network, card=known))
    done = command.tried(*words, model=ACT)
    assert done.code == 1 and message in done.err


def test_without_its_pose_model(command: Command, card: Path) -> None:
    (command.folder / "models" / POSE / "model.json").unlink()
    done = command.tried(model=ACT)
    assert done.code == 1
    assert f"{ACT} wants the joints that {POSE} finds, which is not at models/{POSE}: name another with --detector" in done.err


def test_labels_score_activities_and_whether_anybody_is_there(command: Command, card: Path) -> None:
    labels = command.folder / "labels.csv"
    labels.write_text("path,label\none.png,sitting\ntwo.png,sitting\nnobody.png,running\n")
    done = command("--labels", labels, model=ACT)
    assert "macro F1 0.667 [" in done.out and "always `sitting` would be right for 0.667, n 3" in done.out
    labels.write_text("path,label\none.png,person\ntwo.png,person\nnobody.png,person\n")
    done = command("--labels", labels, model=POSE, out=command.folder / "pose")
    assert "macro F1 0.800 [" in done.out and "n 3" in done.out  # of person; empty is nowhere true
    answers = pd.read_csv(command.folder / f"pose/scores/{POSE}.answers.csv", keep_default_na=False)
    assert answers["predicted"].value_counts().to_dict() == {"person": 2, "empty": 1}


def test_separate_takes_every_activity_for_people(command: Command, card: Path) -> None:
    apart = command.folder / "apart"
    for model in (ACT, POSE):
        command("--separate", apart / model, model=model, out=command.folder / f"out-{model}")
    # A person of 0.2 counts from half the threshold on.
    assert {path.relative_to(apart).as_posix() for path in apart.rglob("*.png")} == {
        f"{model}/person/{name}.png" for model in (ACT, POSE) for name in ("nobody", "one", "two")
    }


# What is written -------------------------------------------------------------------------------------------------------------------


def test_coco_s_own_keypoints(command: Command, card: Path) -> None:
    command(model=ACT)
    document = command.json("coco.json")
    kinds = {row["name"]: row for row in document["categories"]}
    assert kinds["person"]["keypoints"] == list(JOINT_NAMES) and "keypoints" not in kinds["running"]
    assert kinds["person"]["skeleton"] == [[one + 1, other + 1] for one, other in BONES]
    answer, *people = [row for row in document["annotations"] if row["image_id"] == "two.png"]
    assert (answer["category_id"], answer["score"]) == (kinds["running"]["id"], 0.8) and "bbox" not in answer
    assert [(row["category_id"], row["bbox"]) for row in people] == [
        (kinds["person"]["id"], [0, 0, 20, 20]), (kinds["person"]["id"], [10, 0, 20, 20]),
    ]  # fmt: skip
    for row, x in zip(people, (10.0, 20.0), strict=True):
        points = np.reshape(row["keypoints"], (16, 3))
        assert row["num_keypoints"] == 9 and (points[:7] == 0).all()  # joints of less than 0.5 are not there
        assert points[7:].tolist() == [[x, round(20 * (joint + 0.5) / 16, 2), 2] for joint in range(7, 16)]
    raw = read(command.out, {"coco.json"}, ("coco.json",))
    assert raw.rejects.empty and len(raw.pictures) == 3
    assert raw.annotations["label"].value_counts().to_dict() == {"person": 3, "running": 2, "sitting": 1}
    command(model=POSE, out=command.folder / "pose")
    assert read(command.folder / "pose", {"coco.json"}, ("coco.json",)).rejects.empty


def test_every_frame_of_a_video_has_its_people_and_the_answer(command: Command) -> None:
    video(command.card / "v.avi", [(255, 0, 0)] * 20 + [(0, 0, 0)] * 10)
    command(model=ACT)
    document = command.json("coco.json")
    names = {row["id"]: row["name"] for row in document["categories"]}
    told = [(row["image_id"], names[row["category_id"]]) for row in document["annotations"]]
    assert told == [
        ("v.avi#0", "running"), ("v.avi#0", "person"), ("v.avi#10", "running"), ("v.avi#10", "person"), ("v.avi#20", "running"),
    ]  # fmt: skip
    notes = {row["File"]: row["Note"] for row in command.rows()}
    assert notes["v.avi"] == "nobody was found in 1 of 3 frames: told without joints"


def test_megadetector_s_people_have_what_they_do_as_classifications(command: Command, card: Path) -> None:
    command(model=ACT)
    megadetector_format.check(command.out / "megadetector.json", card)
    document = command.json("megadetector.json")
    assert document["classification_categories"] == {"0": "running", "1": "sitting"}
    nobody, one, two = (image["detections"] for image in document["images"])
    assert nobody == [{"category": "2", "conf": 1.0, "bbox": [0, 0, 1, 1], "classifications": [["0", 0.5], ["1", 0.5]]}]
    assert one == [{"category": "2", "conf": 0.8, "bbox": [0.5, 0, 0.5, 1], "classifications": [["1", 1.0]]}]
    assert [(found["category"], found["conf"], found["classifications"]) for found in two] == [
        ("2", 0.8, [["0", 0.8], ["1", 0.2]]), ("2", 0.4, [["0", 0.8], ["1", 0.2]]),
    ]  # fmt: skip


def test_camtrap_says_what_people_do_as_behaviour(command: Command) -> None:
    for name, colour in {"one.png": ONE, "nobody.png": NOBODY}.items():
        paint(command.card / name, colour, taken="2024:05:01 06:00:00")
    command("--utc-offset", "+02:00", "--sequence-gap", 10, model=ACT)
    with (command.out / "camtrap_dp/observations.csv").open(encoding="utf-8") as file:
        told = [
            (row["observationLevel"], row["observationType"], row["behavior"], row["count"]) for row in csv.DictReader(file)
        ]
    assert told == [
        ("media", "human", "running", ""), ("media", "human", "sitting", "1"), ("event", "human", "sitting", ""),
    ]  # fmt: skip


# Drawn copies ----------------------------------------------------------------------------------------------------------------------


def is_colour(pixels: Any, colour: str) -> Any:
    return (pixels == ImageColor.getrgb(colour)).all(axis=-1)


def drawn(command: Command, model: str) -> Any:
    """The drawn copy of a picture of TWO, before it becomes a JPEG."""
    kept = []
    real = annotate.annotated
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(annotate, "annotated", lambda *given: kept.append(real(*given)) or kept[-1])
        command("--annotated", model=model, out=command.folder / f"out-{model}")
    assert len(kept) == 1
    return np.asarray(kept[0])


def test_copies_show_skeletons_in_the_colours_of_their_sides(command: Command) -> None:
    paint(command.card / "two.png", TWO)
    pixels = drawn(command, POSE)
    assert pixels.shape == (320, 640, 3)
    # Joints lie on the middle line of the box, each 20 px below the other. Of 0.5 and more are thorax, neck and head, the three of
    # the right arm, and those of the left one.
    for joint in range(16):
        colour = annotate.MIDDLE if joint < 10 else annotate.SIDES["r" if joint < 13 else "l"]
        assert is_colour(pixels[10 + 20 * joint, 160], colour) == (joint >= 7)
    assert not is_colour(pixels[:, 480], annotate.MIDDLE).any(), "the third is less sure than the threshold"
    assert len(set(annotate.SIDES.values()) | {annotate.MIDDLE}) == 3


def test_copies_show_the_heatmap_of_the_two_and_the_activity(command: Command) -> None:
    paint(command.card / "two.png", (204, 153, 102))
    pixels = drawn(command, ACT).astype(int)
    assert is_colour(pixels[0], annotate.COLOURS["person"]).all(), "a caption with the activity along the top"
    background = np.array([204, 153, 102])

    def glow(x: int) -> int:
        """How far beside a line of joints, a pixel of the heatmap aside, colours are moved towards yellow."""
        return int(np.abs(pixels[200:300, x + 40] - background).max())

    assert min(glow(160), glow(320)) > 30 and glow(480) == 0, "those on the left and in the middle are in it, not the right one"


# By the stages' own networks -------------------------------------------------------------------------------------------------------


def test_threads_are_settled_for_networks_of_four_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predict, "threads", lambda: 2)
    for looks in (looker(), looker("rgb")):
        predict.settle_threads(looks)
        network: Network = looks.detector or looks.network
        assert network.module.shown  # type: ignore[truthy-function]
    predict.torch.set_num_threads(1)
