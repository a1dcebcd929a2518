"""Pictures that nobody took: what is asked for, what comes out, what is refused, and a killed run."""

import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import stages.embedded.posture
import stages.networks
from stages.files import check_manifest, read_json, write_json, write_manifest
from stages.generators import Wanted
from stages.inference import Network
from stages.pictures import RGB, Inspected, read_picture
from stages.samples import TEST, TRAIN, of_part, read_samples, read_version
from stages.screening import LIKE_A_PHOTO, LIKE_ANOTHER, Verdict, without_look_alikes
from stages.synthesize import plan
from stages.views import squeezed
from tests.synthesize_helpers import SEED, World, drawn, manifest, open_generator, pattern, provenance, settings


@pytest.fixture
def world(tmp_path: Path, stage: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(stages.embedded.posture, "synthetic", drawn)
    return World(tmp_path, stage)


# What is asked for ----------------------------------------------------------------------------------------------------


def test_species_and_views_come_by_turns() -> None:
    wanted = plan(settings(), {"lying": 2, "running": 1, "standing": 4}, SEED)
    assert [(one.label, one.species, one.view) for one in wanted] == [
        *[("lying", "cat", "side"), ("lying", "cat", "front"), ("lying", "cow", "side"), ("lying", "cow", "front")],
        *[("lying", "cat", "side"), ("running", "cat", "side"), ("running", "cat", "front"), ("running", "cow", "side")],
    ]
    assert wanted[3].prompt == "a photo of a cow lying down, front view"
    assert wanted[3].sample_id == "synthetic lying cow front 0" and wanted[4].sample_id == "synthetic lying cat side 1"
    assert len({one.seed for one in wanted}) == 8


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 3))
def test_more_of_one_class_changes_no_other_seed(lying: int, running: int, seed: int) -> None:
    n_train = {"lying": 1, "running": 1}
    wanted = plan(settings(count={"lying": lying, "running": running}), n_train, seed)
    assert Counter(one.label for one in wanted) == Counter({"lying": lying, "running": running})
    kinds = Counter((one.species, one.view) for one in wanted if one.label == "lying")
    assert max(kinds.values(), default=0) - min(kinds[s, v] for s in ("cat", "cow") for v in ("side", "front")) <= 1
    assert set(wanted) <= set(plan(settings(count={"lying": lying + 5, "running": running}), n_train, seed))
    assert len({one.seed for one in wanted}) == len({one.sample_id for one in wanted}) == lying + running


def test_classes_are_filled_up_to_a_number() -> None:
    wanted = plan(settings(count=None, fill_to=4), {"lying": 3, "running": 9}, SEED)
    assert [one.label for one in wanted] == ["lying"]


@pytest.mark.parametrize("changes, message", [
    ({"fill_to": 3}, "give either `count`, pictures for each class, or `fill_to`"),
    ({"count": None}, "give either"),
    ({"count": {"lying": 3}}, "`count` wants a number for each class of `actions`: lying, running"),
    ({"views": ["side", "side"]}, "`views` names one twice"),
    ({"prompt": "a {species}"}, "`prompt` wants {action}, {species} and {view} in it, not ['species']"),
    ({"prompt": "a {species} {action} {view} {mood}"}, "not ['action', 'mood', 'species', 'view']"),
    ({"generator": "dall_e"}, "no generator `dall_e`. There is: renderer, stable_diffusion"),
    ({"using": {"side": 32}}, "synthetic.using.side: unknown key. Did you mean `side_px`?"),
    ({"actions": {"lyng": "lying"}, "count": {"lyng": 1}}, "`actions` names lyng, a class that train has no picture of. There is: lying, running, standing"),
])  # fmt: skip
def test_settings_that_make_no_sense_are_refused(world: World, changes: dict[str, Any], message: str) -> None:
    done = world.synthesize(**changes)
    assert done.code == 1 and message in done.err


def test_the_renderer_draws_the_embedded_data_alone() -> None:
    renderer = open_generator("renderer", side_px=24)
    wanted = [Wanted("s", "walking_standing", "cat", "side", "", 1)]
    renderer.require(wanted)
    assert renderer.make(wanted)[0].rgb.shape == (24, 24, 3)


@pytest.mark.parametrize("changes, message", [
    ({"species": ["cat", "yak"]}, "renderer: it does not draw `yak`; it draws cat, dog"),
    ({"views": ["above"]}, "renderer: it does not draw `above`; it draws side"),
])  # fmt: skip
def test_what_cannot_be_made_is_refused_before_anything_is(world: World, changes: dict[str, Any], message: str) -> None:
    done = world.synthesize(**changes)
    assert done.code == 1 and message in done.err and not Path("work").exists()


# What comes out -------------------------------------------------------------------------------------------------------


def test_the_version_adds_to_train_alone(world: World) -> None:
    done = world.synthesize()
    assert done.code == 0, done.err
    assert not check_manifest(Path("synthetic"))
    base = Path("splits/all/parts.csv").read_bytes()
    assert Path("synthetic/added/parts.csv").read_bytes().startswith(base)
    samples, parts = read_version(Path("synthetic/added"), read_samples(Path("clean")))
    train, test = of_part(samples, parts, TRAIN), of_part(samples, parts, TEST)
    assert test["sample_id"].tolist() == ["photo7", "photo8"]
    added = train[train["sample_id"].str.startswith("synthetic")]
    assert len(train) == 15 and Counter(added["label"]) == {"lying": 5, "running": 3}
    assert (
        set(added["species"]) == {"cat", "cow"}
        and added["location"].isna().all()
        and (added["seq_id"] == added["sample_id"]).all()
    )
    for row in added.itertuples():
        rgb = read_picture(samples.root / row.path, row.sha256)
        seed = provenance().loc[row.sample_id, "seed"]
        assert np.abs(rgb.astype(int) - pattern(seed, 32)).mean() < 4  # a JPEG of it
        assert row.note == f"made by renderer: drawn, not Stable Diffusion, seed {seed}"
    assert len(list(Path("synthetic/added/pictures").iterdir())) == 8
    assert not Path("work").exists() or not list(Path("work").rglob("*.jpg"))


def test_every_picture_has_its_provenance_and_classes_are_counted(world: World) -> None:
    world.synthesize()
    rows = provenance()
    assert len(rows) == 8 and (rows["refused"] == "").all()
    row = rows.loc["synthetic running cow side 0"]
    assert row["prompt"] == "a photo of a cow running fast, side view"
    assert (row["label"], row["species"], row["view"]) == ("running", "cow", "side")
    assert row["generator"] == "renderer: drawn, not Stable Diffusion" and row["model"] == "stages.embedded.posture"
    assert row["file"] == f"{row['seed']:016x}.jpg"
    assert read_json(Path("synthetic/counts.json")) == {
        "generator": {
            "generator": "renderer: drawn, not Stable Diffusion",
            "model": "stages.embedded.posture",
            "revision": "",
            "side_px": "32",
        },
        "agree": None,
        "made": {"lying": 5, "running": 3},
        "refused": {},
        "added": {"lying": 5, "running": 3},
        "train_before": {"lying": 2, "running": 1, "standing": 4},
        "train_after": {"lying": 7, "running": 4, "standing": 4},
    }
    with Image.open("synthetic/montage.jpg") as sheet:
        assert sheet.size == (8 * 160, 28 + 2 * (160 + 4 * 14))
    assert not Path("synthetic/refused.jpg").exists()


def test_the_same_seed_gives_the_same_bytes(world: World) -> None:
    for out, seed in (("one", 1), ("two", 1), ("three", 2)):
        assert world.synthesize(out, seed=seed).code == 0
    assert manifest("one") == manifest("two") != manifest("three")


def test_a_profile_may_make_nothing(world: World) -> None:
    assert world.synthesize(generator=None).code == 0
    samples, parts = read_version(Path("synthetic/added"), read_samples(Path("clean")))
    assert len(samples.pictures) == len(parts) == 9
    assert read_json(Path("synthetic/counts.json"))["generator"] is None


def test_a_class_that_is_full_gets_none(world: World) -> None:
    assert world.synthesize(count=None, fill_to=1).code == 0
    samples, parts = read_version(Path("synthetic/added"), read_samples(Path("clean")))
    assert len(samples.pictures) == len(parts) == 9 and provenance().empty


def test_a_version_with_pictures_of_its_own_is_no_start(world: World) -> None:
    world.synthesize("splits")
    done = world.stage("synthesize", "--params", "synthetic", "--clean", "clean", "--split", "splits/added", "--agree", "none",
                       "--seed", 1, "--work", "work", "--out", "twice")  # fmt: skip
    assert done.code == 1 and "splits/added adds pictures of its own to train" in done.err


# What is refused ------------------------------------------------------------------------------------------------------


def test_fault_37_what_is_refused_is_counted_with_its_reason(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, third, fourth, *_ = plan(settings(), {"lying": 1, "running": 1}, SEED)
    odd = {first.seed: np.full((32, 32, 3), 90, np.uint8), second.seed: pattern(8, 32), fourth.seed: pattern(third.seed, 32)}
    monkeypatch.setattr(stages.embedded.posture, "synthetic", lambda *key: odd.get(key[3], pattern(key[3], 32)))
    done = world.synthesize()
    assert "refused: {'blank': 1, 'like_a_photo': 1, 'like_another': 1}" in done.out
    rows = provenance()
    assert rows.loc[first.sample_id, "refused"] == "blank"
    assert tuple(rows.loc[second.sample_id, ["refused", "detail", "file"]]) == (
        "like_a_photo",
        "photo8",
        "",
    )  # of the test part
    assert tuple(rows.loc[fourth.sample_id, ["refused", "detail"]]) == ("like_another", third.sample_id)
    counts = read_json(Path("synthetic/counts.json"))
    assert counts["refused"] == {"blank": {"lying": 1}, "like_a_photo": {"lying": 1}, "like_another": {"lying": 1}}
    assert counts["made"]["lying"] == 5 and counts["added"]["lying"] == 2 and counts["train_after"]["lying"] == 4
    assert len(list(Path("synthetic/added/pictures").iterdir())) == 5
    assert Path("synthetic/refused.jpg").is_file()


def test_nothing_left_is_an_error(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages.embedded.posture, "synthetic", lambda *_: np.zeros((32, 32, 3), np.uint8))
    done = world.synthesize()
    assert done.code == 1 and "all 8 pictures are refused: {'blank': 8}. They lie in work" in done.err
    assert not Path("synthetic").exists()


def verdict(phash: int, place: int) -> Verdict:
    found = Inspected(32, 32, False, 1, "0" * 64, f"{phash:016x}")
    return Verdict(Wanted(f"made{place}", "lying", "cat", "side", "", place), found)


@given(st.integers(0, 2**64 - 1), st.lists(st.sets(st.integers(0, 63), max_size=9), max_size=6), st.integers(0, 7))
def test_look_alikes_differ_in_few_bits(photo: int, flips: list[set[int]], bits: int) -> None:
    hashes = [photo ^ sum(1 << bit for bit in flipped) for flipped in flips]
    photos = pd.DataFrame({"sample_id": ["photo"], "phash": [f"{photo:016x}"]})
    judged = without_look_alikes([verdict(value, place) for place, value in enumerate(hashes)], photos, bits)
    known = {"photo": photo}
    for one, value in zip(judged, hashes, strict=True):
        close = [name for name, other in known.items() if (other ^ value).bit_count() <= bits]
        reason = {"": "", "photo": LIKE_A_PHOTO}.get("".join(close[:1]), LIKE_ANOTHER)
        assert (one.refused, one.detail) == (reason, "".join(close[:1]))
        if not close:
            known[one.wanted.sample_id] = value


class Redness(torch.nn.Module):
    """uint8 (B, h, w, 3) -> probabilities of lying, running, standing (B, 3): lying, as far as it is red."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(255.0))

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        red = batch[..., 0].float().mean(dim=(1, 2)) / self.scale
        return torch.stack([red, 1 - red, torch.zeros_like(red)], dim=1)


@pytest.fixture
def judge(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """A classifier by how red a picture is, with these classes and task: (task, classes) -> its folder."""

    def make(task: str = "class", classes: tuple[str, ...] = ("lying", "running", "standing")) -> str:
        network = Network({}, task, classes, Redness(), lambda found, _: list(found.double().numpy()), lambda *_: squeezed(32))
        monkeypatch.setattr(stages.networks, "family", lambda _: type("Stub", (), {"load": staticmethod(lambda _: network)}))
        Path("models/judge").mkdir(parents=True)
        write_json(Path("models/judge/model.json"), {"family": "stub"})
        write_manifest(Path("models/judge"))
        return "models/judge"

    return make


def test_a_classifier_may_have_to_agree(world: World, judge: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    red = {one.seed for one in plan(settings(), {"lying": 1, "running": 1}, SEED)[1:6]}  # four that lie, one that runs

    def tinted(*key: Any) -> RGB:
        rgb = pattern(key[3], 32) // 3
        rgb[..., 0] += 160 if key[3] in red else 0
        return rgb

    monkeypatch.setattr(stages.embedded.posture, "synthetic", tinted)
    assert world.synthesize(agree=judge()).code == 0
    rows = provenance()
    assert rows["refused"].tolist() == ["taken_for_another_class", *[""] * 4, "taken_for_another_class", "", ""]
    assert rows["taken_for"].tolist() == ["running", *["lying"] * 5, "running", "running"]
    assert rows["detail"].tolist() == ["running", *[""] * 4, "lying", "", ""]
    assert rows["probability"].astype(float).between(0.5, 1).all()
    counts = read_json(Path("synthetic/counts.json"))
    assert counts["agree"] == "judge" and counts["added"] == {"lying": 4, "running": 2}
    assert counts["agreement"] == {"asked": 8, "taken_for_what_they_are": {"lying": 4, "running": 2}}


def test_a_classifier_that_is_not_trained_is_named(world: World) -> None:
    done = world.synthesize(agree="models/posture-vit")
    assert done.code == 1 and "models/posture-vit: no such model. It is trained by `dvc repro train@posture-vit`" in done.err


def test_a_model_that_cannot_agree_is_refused(world: World, judge: Any) -> None:
    done = world.synthesize(agree=judge("box"))
    assert "--agree models/judge: it does not classify whole pictures" in done.err


def test_a_classifier_of_other_classes_is_refused(world: World, judge: Any) -> None:
    done = world.synthesize(agree=judge(classes=("lying", "standing", "sitting")))
    assert "--agree models/judge knows no class running. It knows: lying, standing, sitting" in done.err


# A killed run ---------------------------------------------------------------------------------------------------------


def test_a_killed_run_goes_on_behind_the_last_picture(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.synthesize("undisturbed")
    asked: list[int] = []

    def deadly(*key: Any) -> RGB:
        if len(asked) == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        asked.append(key[3])
        return drawn(*key)

    monkeypatch.setattr(stages.embedded.posture, "synthetic", deadly)
    if (child := os.fork()) == 0:
        world.synthesize()
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert not Path("synthetic").exists() and len(list(Path("work").rglob("*.json"))) == 5
    damaged = sorted(Path("work").rglob("*.jpg"))[0]
    damaged.write_bytes(damaged.read_bytes()[:-9])
    monkeypatch.setattr(stages.embedded.posture, "synthetic", lambda *key: asked.append(key[3]) or drawn(*key))
    assert "8 pictures (4 made before)" in world.synthesize().out
    assert len(asked) == 4 and int(damaged.stem, 16) in asked
    assert manifest("synthetic") == manifest("undisturbed")


def test_fault_47_a_full_disk_is_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("stages.synthesize.jpeg", full)
    done = world.synthesize()
    assert done.code == 1 and "cannot be written: No space left on device. Make room" in done.err
