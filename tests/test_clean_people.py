"""raw -> samples of people: the document's rules in their order, each with its count. Faults 22, 26 and 27 through the stage."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from stages.clean import CleanSettings, clean_all
from stages.datasets import adapter
from stages.files import DataError, read_json
from stages.samples import Samples, read_samples
from tests.mpii_helpers import NOTHING, person, structs, write_mat
from tests.mpii_helpers import picture as mpii_picture

MPII = Path(__file__).parent.parent / "../shared/real/mpii"
Make = Callable[..., bytes]
Cleaned = Callable[..., Any]
LENIENT = {"max_bad_share": 1.0}

BODY = {0: (10, 70), 5: (20, 70), 6: (15, 40), 9: (15, 5, 0)}  # in a picture of 100 x 80 px


@pytest.fixture
def people_source(tmp_path: Path, picture: Make) -> Callable[..., Path]:
    """Write an MPII source of given pictures, {name: people, or (people, category)}, 100 x 80 px each: -> its folder."""

    def make(given_people: dict[str, Any], files: dict[str, bytes] | None = None, good: int = 0) -> Path:
        root = tmp_path / "source"
        given_people = {f"good{n}.png": [person(BODY)] for n in range(good)} | given_people
        entries = [item if isinstance(item, tuple) else (item, "sports") for item in given_people.values()]
        write_mat(
            root / "m.mat",
            [mpii_picture(name, *bodies) for name, (bodies, _) in zip(given_people, entries, strict=True)],
            [category for _, category in entries],
        )
        contents = {name: picture(n, 100, 80) for n, name in enumerate(given_people)} | (files or {})
        for name, data in contents.items():
            (root / name).write_bytes(data)
        return root

    return make


def results() -> tuple[Samples, pd.DataFrame, dict[str, Any]]:
    rejects = pd.read_csv("clean/rejects.csv", keep_default_na=False)
    return read_samples(Path("clean")), rejects, read_json(Path("clean/counts.json"))


def because(rejects: pd.DataFrame) -> list[tuple[str, str, str]]:
    return sorted(rejects[["kind", "name", "reason"]].itertuples(index=False, name=None))


def joints_of(samples: Samples, sample_id: str, number: int = 0) -> dict[int, tuple[float, float, int]]:
    rows = samples.joints[(samples.joints["sample_id"] == sample_id) & (samples.joints["person"] == number)]
    assert len(rows) == 16
    return {row.joint: (row.x_px, row.y_px, row.visible) for row in rows.itertuples() if row.visible}


RULES = ["negative", "out_of_bounds", "not_a_number", "no_category", "no_annotation", "no_joint_left", "nobody_left"]


def rules(**found: int) -> dict[str, int]:
    return dict.fromkeys(RULES, 0) | found


def test_people_go_through_whole(people_source: Callable[..., Path], cleaned: Cleaned) -> None:
    done = cleaned(
        people_source({"b.png": [person(BODY), person({3: (100, 80)})], "a.png": ([person(BODY)], "dancing")}), "mpii"
    )
    assert done.code == 0, done.err
    samples, rejects, counts = results()
    assert samples.pictures[["sample_id", "label"]].to_numpy().tolist() == [["a.png", "dancing"], ["b.png", "sports"]]
    assert samples.people[["sample_id", "person"]].to_numpy().tolist() == [["a.png", 0], ["b.png", 0], ["b.png", 1]]
    assert joints_of(samples, "b.png") == {0: (10, 70, 2), 5: (20, 70, 2), 6: (15, 40, 2), 9: (15, 5, 1)}
    assert joints_of(samples, "b.png", 1) == {3: (100, 80, 2)}  # the very edge stays
    assert samples.boxes.empty
    assert rejects.empty
    assert counts["people"] == {"in": 3, "kept": 3, "rejected": 0}
    assert counts["joints"] == {"in": 9, "kept": 9, "rejected": 0, "of_rejected_pictures": 0}
    assert counts["rules"] == rules()
    assert done.out.endswith(f"3 people in, 3 kept; rules: {rules()}\n")


@pytest.mark.parametrize(
    ("joint", "reason"),
    [
        ((-1, 5), "negative"),
        ((5, -0.5), "negative"),
        ((101, 5), "out_of_bounds"),
        ((5, 80.5), "out_of_bounds"),
        ((np.nan, 5), "not_a_number"),
        ((5, NOTHING), "not_a_number"),
        ((np.inf, 5), "not_a_number"),
    ],
)
def test_fault_26_a_joint_that_is_no_place_in_the_picture_becomes_absent(
    people_source: Callable[..., Path], cleaned: Cleaned, joint: tuple[Any, Any], reason: str
) -> None:
    assert cleaned(people_source({"a.png": [person(BODY), person({**BODY, 9: joint})]}), "mpii").code == 0
    samples, rejects, counts = results()
    assert joints_of(samples, "a.png", 1) == {0: (10, 70, 2), 5: (20, 70, 2), 6: (15, 40, 2)}
    assert because(rejects) == [("joint", "a.png", reason)]
    assert rejects["row"].tolist() == ["m.mat annolist(1).annorect(2) head_top"]
    assert "in a picture of 100 x 80 px" in rejects["detail"].iloc[0]
    assert counts["rules"] == rules(**{reason: 1})
    assert counts["joints"] == {"in": 8, "kept": 7, "rejected": 1, "of_rejected_pictures": 0}
    assert counts["bad_share"] == 0


def test_a_strict_edge_is_a_setting(people_source: Callable[..., Path], cleaned: Cleaned) -> None:
    root = people_source({"a.png": [person({**BODY, 3: (100, 5), 4: (5, 80)})]})
    for strict, n in ((False, 0), (True, 2)):
        assert cleaned(root, "mpii", joints={"strict_edge": strict}).code == 0
        assert results()[2]["rules"] == rules(out_of_bounds=n)
    done = cleaned(root, "mpii", joints={"strict": True})
    assert done.code == 1
    assert "clean.joints.strict: unknown key. Did you mean `strict_edge`?" in done.err


def test_the_rules_in_their_order_each_with_its_count(people_source: Callable[..., Path], cleaned: Cleaned) -> None:
    out = {3: (-5, 5), 4: (500, 5)}
    root = people_source(
        {
            "category.png": ([person({**BODY, 3: (-1, 1)})], NOTHING),  # its joint is counted first
            "neither.png": ([], NOTHING),  # the category comes first
            "nothing.png": [],
            "shapeless.png": [{"scale": 2}, person({2: (0, 0)})],  # people without joints
            "outside.png": [person(out), person({3: (5, -5)})],
            "both.png": ([person(out)], NOTHING),
            "some.png": [person(out), person(BODY), {"scale": 2}],
        },
        good=3,
    )
    done = cleaned(root, "mpii")  # two of ten are at fault by no rule of the document, but for one
    assert done.code == 1
    assert "10.0% of 10 picture rows are bad" in done.err
    assert cleaned(root, "mpii", max_bad_share=0.1).code == 0
    samples, rejects, counts = results()
    assert samples.pictures["sample_id"].tolist() == ["good0.png", "good1.png", "good2.png", "some.png"]
    assert samples.people.loc[samples.people["sample_id"] == "some.png", "person"].tolist() == [1]
    assert counts["rules"] == {
        "negative": 5, "out_of_bounds": 3, "not_a_number": 0, "no_category": 3, "no_annotation": 2, "no_joint_left": 2,
        "nobody_left": 1,
    }  # fmt: skip
    assert counts["pictures"] == {"in": 10, "kept": 4, "rejected": 6, "merged": 0}
    assert counts["people"] == {"in": 12, "kept": 4, "rejected": 8}
    assert counts["joints"] == {"in": 28, "kept": 16, "rejected": 8, "of_rejected_pictures": 4}
    refused = rejects[rejects["kind"].isin(["picture", "person"])]
    assert because(refused) == [
        ("person", "both.png", "picture_rejected"),
        ("person", "category.png", "picture_rejected"),
        ("person", "outside.png", "picture_rejected"),
        ("person", "outside.png", "picture_rejected"),
        ("person", "shapeless.png", "picture_rejected"),
        ("person", "shapeless.png", "picture_rejected"),
        ("person", "some.png", "no_joint_left"),
        ("person", "some.png", "no_joint_left"),
        ("picture", "both.png", "no_category"),
        ("picture", "category.png", "no_category"),
        ("picture", "neither.png", "no_category"),
        ("picture", "nothing.png", "no_annotation"),
        ("picture", "outside.png", "nobody_left"),
        ("picture", "shapeless.png", "no_annotation"),
    ]


def test_people_of_a_picture_that_is_refused_go_with_it(
    people_source: Callable[..., Path], cleaned: Cleaned, picture: Make
) -> None:
    same = {"c.png": picture(9, 100, 80), "d.png": picture(9, 100, 80)}
    root = people_source({"bad.png": [person(BODY)], "gone.png": [person(BODY)]} | {name: [person(BODY)] for name in same},
                         {"bad.png": b"<html>"} | same, good=2)  # fmt: skip
    (root / "gone.png").unlink()
    assert cleaned(root, "mpii", **LENIENT).code == 0
    samples, rejects, counts = results()
    assert samples.people["sample_id"].tolist() == ["c.png", "good0.png", "good1.png"]
    assert {name: reason for kind, name, reason in because(rejects) if kind == "picture"} == {
        "bad.png": "not_an_image", "gone.png": "file_missing", "d.png": "duplicate_content",
    }  # fmt: skip
    assert counts["people"] == {"in": 6, "kept": 3, "rejected": 3}
    assert counts["joints"] == {"in": 24, "kept": 12, "rejected": 0, "of_rejected_pictures": 12}
    assert counts["bad_share"] == 0.5


def test_fault_22_joints_are_held_against_the_picture_the_right_way_up(
    people_source: Callable[..., Path], cleaned: Cleaned, picture: Make
) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    files = {"a.jpg": picture(3, 100, 80, "JPEG", exif=turned)}  # 80 x 100 to the eye
    assert cleaned(people_source({"a.jpg": [person({**BODY, 3: (90, 5), 4: (5, 90)})]}, files), "mpii").code == 0
    samples, rejects, _ = results()
    assert joints_of(samples, "a.jpg").keys() == {0, 4, 5, 6, 9}
    assert because(rejects) == [("joint", "a.jpg", "out_of_bounds")]


def test_joints_and_people_that_the_adapter_refused_are_counted(people_source: Callable[..., Path], cleaned: Cleaned) -> None:
    twice = {"annopoints": structs([{"point": structs([{"x": 1, "y": 2, "id": 3}, {"x": 9, "y": 9, "id": 3}])}])}
    assert cleaned(people_source({"a.png": [person(BODY), twice, person({17: (3, 3), 4: (1, 1)})]}), "mpii").code == 0
    _, rejects, counts = results()
    assert because(rejects) == [("joint", "a.png", "duplicate_joint"), ("joint", "a.png", "unknown_joint")]
    assert counts["joints"] == {"in": 8, "kept": 6, "rejected": 2, "of_rejected_pictures": 0}
    assert counts["rejected_because"]["joint"] == {"duplicate_joint": 1, "unknown_joint": 1}


def test_json_without_categories_leaves_nothing_and_says_why(tmp_path: Path, cleaned: Cleaned, picture: Make) -> None:
    root = tmp_path / "source"
    root.mkdir()
    row = {"image": "a.png", "joints": [[5, 6]] * 16, "joints_vis": [1] * 16, "center": [9, 9], "scale": 1}
    (root / "train.json").write_text(json.dumps([row]))
    (root / "a.png").write_bytes(picture(1, 100, 80))
    done = cleaned(root, "mpii")
    assert done.code == 1
    assert done.err == (
        f"error: {root}: no picture is left of 1 (1 no_category). Nothing can be trained on this source. HRNet's and MMPose's JSON names "
        "no categories: read the authors' .mat, or give them in `download.labels`, a COCO Camera Traps file with an annotation "
        "for each picture (README, People and what they do)\n"
    )


def test_hand_labels_give_json_its_categories(
    tmp_path: Path, stage: Callable[..., Any], picture: Make, write_cct: Callable[..., Path]
) -> None:
    root = tmp_path / "source"
    root.mkdir()
    row = {"joints": [[5, 6]] * 15 + [[50, 60]], "joints_vis": [1] * 16, "center": [9, 9], "scale": 1}
    (root / "train.json").write_text(json.dumps([row | {"image": "a.png"}, row | {"image": "b.png"}]))
    for n, name in enumerate("ab"):
        (root / f"{name}.png").write_bytes(picture(n, 100, 80))
    write_cct(tmp_path / "hand.json", [{"id": "a.png", "file_name": "a.png"}], [{"image_id": "a.png", "category_id": 2}])
    labels = str(tmp_path / "hand.json")
    given = {"download": {"adapter": "mpii", "source": f"path:{root}", "labels": labels}, "clean": {}}
    params = {"datasets": {"x": {"smoke": given}}}
    assert stage("download", "look", "--profile", "smoke", "--out", "look", params=params).code == 0
    fetch = ("--params", "datasets.x.smoke.download", "--look", "look/x.json", "--dataset", "x", "--seed", 0, "--out", "raw")
    assert stage("download", "fetch", *fetch).code == 0
    words = ("--params", "datasets.x.smoke.clean", "--raw", "raw", "--out", "clean", "--workers", 1)
    assert stage("clean", *words).code == 0
    samples, _, counts = results()
    assert samples.pictures[["sample_id", "label"]].to_numpy().tolist() == [["a.png", "fox"]]
    assert len(samples.people) == 1
    assert counts["rules"] == rules(no_category=1)


@pytest.mark.parametrize("of_people", [False, True])
def test_metrics_are_the_counts_that_dvc_shows(
    tmp_path: Path,
    picture: Make,
    people_source: Callable[..., Path],
    cleaned: Cleaned,
    stage: Callable[..., Any],
    of_people: bool,
) -> None:
    root = people_source({"a.png": [person({**BODY, 3: (-1, 5)})]}) if of_people else tmp_path / "source"
    if not of_people:
        (root / "deer").mkdir(parents=True)
        for n in range(20):
            (root / f"deer/{n}.png").write_bytes(picture(n) if n else b"")
    assert cleaned(root, "mpii" if of_people else "folders").code == 0
    command = ("--params", "clean", "--raw", "raw", "--out", "clean", "--workers", 1)
    before = Path("clean/manifest.json").read_bytes()
    assert stage("clean", *command, "--metrics", "metrics/x/clean.json").code == 0
    assert Path("clean/manifest.json").read_bytes() == before
    counts, metrics = read_json(Path("clean/counts.json")), read_json(Path("metrics/x/clean.json"))
    assert set(metrics) == {"pictures", "annotations", "bad_share", "rejected_because"} | (
        {"people", "joints", "rules"} if of_people else set()
    )
    assert {name: counts[name] for name in metrics} == metrics
    files = {path.name for path in Path("clean").iterdir()}
    assert files >= {"people.parquet", "joints.parquet"} if of_people else not files & {"people.parquet", "joints.parquet"}
    if not of_people:
        assert set(counts["rejected_because"]) == {"picture", "annotation", "file"}
        assert metrics["rejected_because"]["picture"] == {"empty_file": 1}


places = st.one_of(st.none(), st.tuples(st.integers(-1, 9), st.integers(-1, 7)), st.tuples(st.just(float("nan")), st.just(1)))
bodies = st.dictionaries(st.integers(0, 15), places.filter(lambda place: place is not None), max_size=4)
crowds = st.lists(
    st.tuples(
        st.sampled_from(["a.png", "b.png", "c.png", "é.png", "bad.png", "lost.png"]),
        st.lists(bodies, max_size=3),
        st.sampled_from(["sports", "dancing", NOTHING]),
    ),
    min_size=1,
    max_size=5,
)


@pytest.fixture(scope="module")
def four_pictures(tmp_path_factory: pytest.TempPathFactory, picture: Make) -> Path:
    """a, b, c (which is a again), é and one that is none, 8 x 6 px."""
    root = tmp_path_factory.mktemp("four")
    contents = {"a.png": picture(1), "b.png": picture(2), "c.png": picture(1), "é.png": picture("grey"), "bad.png": b"<html>"}
    for name, data in contents.items():
        (root / name).write_bytes(data)
    return root


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(crowd=crowds, strict=st.booleans())
def test_no_person_and_no_joint_is_ever_lost(four_pictures: Path, crowd: list[Any], strict: bool) -> None:
    write_mat(
        four_pictures / "m.mat",
        [mpii_picture(name, *map(person, people)) for name, people, _ in crowd],
        [row[2] for row in crowd],
    )
    files = {p.relative_to(four_pictures).as_posix(): (1, None) for p in four_pictures.rglob("*.png")}
    raw = adapter("mpii").read(four_pictures, {*files, "m.mat"}, ())
    given_settings = CleanSettings.model_validate({"max_bad_share": 1.0, "joints": {"strict_edge": strict}})
    try:
        found = clean_all(raw, four_pictures, files, given_settings, 1)
    except DataError as error:
        assert ": no picture is left of " in str(error)
        return
    rejected = found.rejects["kind"].value_counts()
    first = {name: people for name, people, _ in reversed(crowd)}  # a name again is refused whole
    assert raw.people is not None
    assert len(raw.people) == sum(map(len, first.values()))
    assert len(raw.people) == len(found.people) + rejected.get("person", 0)
    there = sum(place != (0, 0) for people in first.values() for body in people for place in body.values())
    counts = found.counts["joints"]
    assert counts["in"] == there == counts["kept"] + rejected.get("joint", 0) + counts["of_rejected_pictures"]
    assert not found.rejects[found.rejects["kind"] != "file"].duplicated(["kind", "row"]).any()
    assert set(found.people["sample_id"]) == set(found.samples["sample_id"])  # somebody in each
    assert len(found.joints) == 16 * len(found.people)
    seen = found.joints[found.joints["visible"] > 0]
    assert len(seen.groupby(["sample_id", "person"])) == len(found.people)
    sizes = found.samples.set_index("sample_id").loc[seen["sample_id"], ["width_px", "height_px"]].to_numpy()
    inside = seen[["x_px", "y_px"]].to_numpy()
    assert (inside >= 0).all()
    assert ((inside < sizes) if strict else (inside <= sizes)).all()


@pytest.mark.skipif(not MPII.is_dir(), reason="../shared/real/mpii is not here")
def test_real_mpii_is_counted_by_rule() -> None:
    files = {path.relative_to(MPII).as_posix(): (1, None) for path in MPII.rglob("*") if path.is_file()}
    found = clean_all(adapter("mpii").read(MPII, files, ()), MPII, files, CleanSettings(), 1)
    assert found.counts["pictures"] == {"in": 17503, "kept": 5, "rejected": 17498, "merged": 0}
    assert found.counts["rules"] == rules(no_category=41, no_annotation=17457)
    assert found.counts["bad_share"] == 0
    assert found.counts["joints"] == {"in": 76, "kept": 76, "rejected": 0, "of_rejected_pictures": 0}
    assert found.samples["label"].tolist() == ["occupation", "sports", "occupation", "miscellaneous", "occupation"]
