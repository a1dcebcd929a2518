"""The page of a data set of clips: its figures beside the document's, claims, pairs, strips of film, and hostile names."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from stages.clips import ClipsSettings, store
from stages.files import read_json, write_json
from stages.pages.claims import FAILS, HOLDS, UNDECIDED, VERDICTS
from stages.pages.of_clips import by_size, in_order, named, pairs_of_interest, start_and_size
from stages.predictions import class_rows
from stages.samples import SCORED, TEST5, check_tables, of_part, read_samples, read_version
from tests import report_helpers
from tests import training_helpers as tiny
from tests.report_helpers import SCRIPT, Page, evaluate, write_data, write_split

DATASET = "action"
LABELS = [SCRIPT, "Walking", "Running", "Walking"] * 6
IDS = [f"c{n:02}" for n in range(22)] + ["<i>&q", "c23"]
PARTS = ["train"] * 8 + ["val"] * 4 + ["test"] * 12
ALSO = [""] * 12 + [TEST5] * 4 + [""] * 8
SCRATCH, KINETICS, STILL = (f"action-{name}" for name in ("scratch-100", "kinetics-100", "still-100"))
COUNTS = {
    "pictures": {"in": 26, "kept": 24, "rejected": 2, "merged": 0},
    "rejected_because": {"picture": {"no_video_stream": 1, "several_actions": 1}},
}
PAIRS = {"pairs": [["Walking", "Running"]]}


def gif(seed: int) -> list[Image.Image]:
    """A square that moves on grey."""
    frames = []
    for n in range(10):
        rgb = np.full((30, 40, 3), 60 + seed, np.uint8)
        rgb[10:20, 2 * n : 2 * n + 10] = (200, 40, 30)
        frames.append(Image.fromarray(rgb))
    return frames


@pytest.fixture
def project(stage: Callable[..., Any], tmp_path: Path) -> Path:
    """Stored clips with hostile names, a split, and nothing evaluated yet; the test runs there."""
    raw = tmp_path / "raw"
    shown = zip(IDS, LABELS, strict=True)
    pictures = tiny.table(raw, {name: (label, np.zeros((30, 40, 3), np.uint8)) for name, label in shown})
    for n, row in enumerate(pictures.itertuples()):
        first, *rest = gif(n)
        first.save(raw / row.path, "GIF", save_all=True, append_images=rest, duration=30)
    pictures["sha256"] = [tiny.hashlib.sha256((raw / path).read_bytes()).hexdigest() for path in pictures["path"]]
    pictures["species"] = ["Fox", None, "<u>Hare</u>", "Fox"] * 6
    pictures, boxes = check_tables(pictures, tiny.no_boxes())
    facts = {"frames": 10, "seconds": 0.3, "frame_rate": 100 / 3, "variable_rate": False, "rotation_deg": 0}
    tables = {"samples": pictures, "boxes": boxes, "videos": pd.DataFrame({"sample_id": pictures["sample_id"], **facts})}
    write_data(tmp_path / "clean", raw, tables, COUNTS)
    write_split(tmp_path / "splits", "many", pictures, PARTS, also=ALSO)
    beside = [path for path in (tmp_path / "clean").iterdir() if path.name != "manifest.json"]
    store(
        read_samples(tmp_path / "clean"),
        IDS,
        ClipsSettings.model_validate({}),
        tmp_path / "work",
        tmp_path / "clips",
        beside,
        1,
    )
    for name in ("metrics", "answers"):
        (tmp_path / name).mkdir()
    return tmp_path


@pytest.fixture
def evaluated(stage: Callable[..., Any], project: Path) -> Callable[..., None]:
    """Evaluate a model that is sure and right about `right` and takes all others for walking: (its name, ids)."""

    def go(name: str, right: list[str]) -> None:
        rows = of_part(*read_version(project / "splits/many", read_samples(project / "clips")), *SCORED)
        other = {SCRIPT: 0.3, "Walking": 0.6, "Running": 0.4}
        scores = {
            r.sample_id: {c: 0.9 if c == r.label else 0.2 for c in other} if r.sample_id in right else other
            for r in rows.itertuples()
        }
        evaluate(stage, name, class_rows(pd.DataFrame(scores).T), list(other), project / "splits/many", clean="clips")

    return go


@pytest.fixture
def compared(stage: Callable[..., Any]) -> Callable[..., None]:
    return partial(report_helpers.compare, stage)


@pytest.fixture
def report(stage: Callable[..., Any]) -> Callable[[], Page]:
    return lambda: report_helpers.report(stage, DATASET, "clips")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept") / "whole"


@pytest.fixture
def page(stage: Callable[..., Any], tmp_path: Path, kept: Path, request: pytest.FixtureRequest) -> Page:
    """Kinetics knows everything, scratch half of the test part, the one that sees a frame nothing. Made once for all tests."""
    if kept.is_dir():
        shutil.copytree(kept, tmp_path, dirs_exist_ok=True)
        return Page(tmp_path / "page/index.html")
    evaluated, compared, report = map(request.getfixturevalue, ("evaluated", "compared", "report"))
    for name, right in ((KINETICS, IDS), (SCRATCH, IDS[:18]), (STILL, [])):
        evaluated(name, right)
    claims = {
        "known": {"better": KINETICS, "than": SCRATCH},
        "sure": {"better": KINETICS, "than": STILL},
        "round": {"better": STILL, "than": KINETICS, "figure": "accuracy"},
    }
    compared(references={"action": [STILL, SCRATCH]}, claims=claims, **PAIRS)
    found = report()
    shutil.copytree(tmp_path, kept)
    return found


def cells(row: list[str]) -> list[str]:
    """The first word of each cell."""
    return [cell.split()[0] for cell in row]


def test_models_stand_in_order_with_both_test_parts_and_the_documents_figures(page: Page) -> None:
    rows = page.under("One test part for all")
    of = [(KINETICS, "kinetics"), (SCRATCH, "scratch"), (STILL, "still")]
    assert [cells(row)[:5] for row in rows] == [[name, start, "scratch", "100", "12"] for name, start in of]
    assert [row[3] for row in rows] == ["100 27 clips"] * 3, "and how many clips the size stands for here"
    assert rows[2][0] == f"{STILL} one frame of each clip, repeated tiny <s>"
    assert rows[0][5:7] == ["1.000 1.000 to 1.000"] * 2
    assert cells(rows[2])[5:9] == ["0.333", "0.500", "0.222", "0.500"]  # all scores alike: each AP is the share of its class
    assert [cells(row)[9:] for row in rows] == [
        ["4", "1.000", "1.000", "4", "1.000", "0.537"], ["4", "1.000", "1.000", "4", "1.000", "0.323"],
        ["4", "0.333", "0.500", "4", "0.333", "–"],
    ]  # fmt: skip
    assert "measured on the data given" in page.text
    assert (Path("page") / "map.svg").is_file()


def test_claims_are_told_whatever_became_of_them(page: Page) -> None:
    known, turned, sure = page.table("claim")
    assert known[0] == f"{KINETICS} is better than {SCRATCH} by mAP" and known[1] == f"undecided {VERDICTS[UNDECIDED, True]}"
    assert known[4] == "12" and known[5] == "test: paired bootstrap of whole sequences, 40 draws"
    assert known[6] == "3 to 0 p 0.2500" and known[7] == "+0.214 0.537 less 0.323"
    assert sure[2] == "+0.667" and sure[1] == f"holds {VERDICTS[HOLDS, True]}" and sure[7] == "–"
    assert (
        turned[0].endswith("by accuracy") and turned[2] == "-0.500" and turned[1] == f"does not hold {VERDICTS[FAILS, False]}"
    )


def test_pairs_have_a_row_for_each_model_and_chance_is_named(page: Page) -> None:
    by_pair = next(table for table in page.tables if "Walking / Running" in " ".join(table[0]))
    assert [" ".join(cell.split()) for cell in by_pair[0]] == ["model", "Walking / Running n 9", "all pairs n 9"]
    rows = {row[0].split()[0]: [" ".join(cell.split()) for cell in row[1:]] for row in by_pair[1:]}
    assert rows[KINETICS][0].startswith("1.000 0.701 to 1.000 above chance")  # Wilson's of 9 of 9
    assert rows[STILL][0].startswith("0.667 ") and rows[STILL][0].endswith("may be chance")  # 6 walk of 9
    assert rows[SCRATCH][0] == rows[SCRATCH][1]
    assert f"{STILL} is shown one frame alone" in page.text


def test_changes_have_map_and_choices(page: Page) -> None:
    changes = page.under("Each model less its reference")
    assert [(row[0].split()[0], row[1].split()[0]) for row in changes] == [
        (KINETICS, STILL), (KINETICS, SCRATCH), (SCRATCH, STILL)
    ]  # fmt: skip
    assert cells(changes[0])[2:6] == ["+0.667", "+0.500", "+0.778", "+0.333"]
    assert "document" not in changes[0][1]


def test_classes_have_their_ap_what_they_are_called_and_a_confusion_in_shares(page: Page) -> None:
    ap = page.under("Average precision of each class")
    assert ap[0][1:] == ["1.000"] * 3 and ap[2][1:] == ["0.250", "0.500", "0.250"]
    called = {row[0]: row[1:] for row in page.table("true class")}
    assert called["Running n 3"] == ["3 Running", "2 Walking 1 Running", "3 Walking"]
    confusions = page.named("true")
    assert len(confusions) == 3
    assert confusions[1] == [
        [SCRIPT, "3", "0.67", "0.33", ""], ["Walking", "6", "", "1.00", ""], ["Running", "3", "", "0.67", "0.33"]
    ]  # fmt: skip


def test_strips_of_clips_that_one_model_alone_has_right(page: Page) -> None:
    assert f"{KINETICS} is right, {SCRATCH} wrong (3 of 12 clips)" in " ".join(page.text.split())
    assert f"{SCRATCH} is right, {KINETICS} wrong (0 of 12 clips)" in " ".join(page.text.split())
    films = page.text[page.text.index("Clips of the test part that one") : page.text.index("One test part for all")]
    assert films.count(f"{SCRIPT}, called Walking: c20") == 1
    assert films.count(": c") + films.count(": <i>&q") == 3 + 3 + 3, "of no pair are more than three shown"
    strips = [link for link in page.links if link.startswith("pictures/")]
    assert strips and all((Path("page") / link).is_file() for link in strips)
    (first, *_) = (link for link in strips if Image.open(Path("page") / link).width == 8 * 128 + 7 * 2)  # not the gallery's
    with Image.open(Path("page") / first) as strip:
        assert strip.height > 96
        middle = np.asarray(strip.convert("RGB"))[40, :, 0].astype(int)
    lefts = [int(np.argmax(middle[at : at + 128] > 150)) for at in range(0, 8 * 130, 130)]
    assert lefts == sorted(lefts) and lefts[-1] - lefts[0] > 40, "the square moves on from frame to frame"


def test_nothing_of_the_users_is_taken_for_a_tag_and_nothing_is_fetched(page: Page) -> None:
    assert not {"i", "u"} & page.tags and "alert(1)</script>" not in Path("page/index.html").read_text()
    assert not [link for link in page.links if "//" in link]
    assert "<u>Hare</u>: " in page.text and "<i>&q" in page.text


def test_a_page_without_any_model_shows_the_data(project: Path, report: Callable[[], Page]) -> None:
    page = report()
    assert "No model has been evaluated yet" in page.text and "What is claimed" not in page.text
    text = " ".join(page.text.split())
    assert "26 clips in, 24 kept, 2 rejected. Source: Ours." in text
    assert "0.30 / 0.30 / 0.30 s, 10 / 10 / 10 frames, 33.33 / 33.33 / 33.33 frames a second" in text
    assert page.table("reason") == [["no video stream", "picture", "1"], ["several actions", "picture", "1"]]
    stored = dict(page.table("what"))
    assert stored["clips"] == "24" and stored["shorter than 15 frames"] == "24"
    (counts,) = page.named("part")
    assert ["test", "12", "3", "3", "6"] in counts


def test_models_without_comparisons_and_a_class_without_a_clip(
    project: Path, evaluated: Callable[..., None], report: Callable[[], Page]
) -> None:
    evaluated("own", IDS)
    path = Path("metrics/own.classes.csv")
    rows = pd.read_csv(path)
    rows.loc[(rows["part"] == TEST5) & (rows["label"] == "Running"), ["n", "ap"]] = [0, None]
    rows.to_csv(path, index=False)
    page = report()
    assert "Left out of mAP, as no clip is of them: Running (test5 of own)." in " ".join(page.text.split())
    assert "the document" not in page.text.replace("the document's name for a training", "")
    assert "What changes what" not in page.text and "Pairs that need motion" not in page.text


def test_without_a_still_model_nobody_says_what_frames_give_away(
    evaluated: Callable[..., None], compared: Callable[..., None], report: Callable[[], Page]
) -> None:
    evaluated(KINETICS, IDS)
    evaluated(SCRATCH, [])
    compared(references={"action": [SCRATCH]}, **PAIRS)
    assert "No model here is shown one frame alone" in report().text


def test_folders_that_hold_no_stored_clips_are_refused(stage: Callable[..., Any], project: Path) -> None:
    done = report_helpers.run_report(stage, DATASET)
    assert done.code == 1 and "clean/index.parquet: no such file" in done.err
    assert not Path("page").exists()


def test_the_page_is_the_same_twice(page: Page, report: Callable[[], Page]) -> None:
    first = {str(path): path.read_bytes() for path in Path("page").rglob("*") if path.is_file()}
    report()
    assert {str(path): path.read_bytes() for path in Path("page").rglob("*") if path.is_file()} == first


def test_names_say_what_a_model_starts_from_and_how_much_it_learns_from() -> None:
    assert start_and_size("action-scratch-100", "action") == ("scratch", 100)
    assert start_and_size("action-own-net-7", "action") == ("own-net", 7)
    assert start_and_size("action-own", "action") == ("own", None)
    models = ["action-b-100", "action-b-20", "action-a", "action-b-3"]
    assert in_order(models, "action") == ["action-a", "action-b-3", "action-b-20", "action-b-100"]


def test_the_three_classes_named_most_are_told() -> None:
    rows = [("run", "a", 1), ("run", "b", 3), ("run", "c", 1), ("run", "d", 2), ("sit", "sit", 4)]
    found = named(pd.DataFrame(rows, columns=["actual", "predicted", "n"]))
    assert [(answer["label"], answer["n"]) for answer in found["run"]] == [("b", 3), ("d", 2), ("a", 1)]
    assert found["run"][0]["share"] == pytest.approx(3 / 7) and found["sit"] == [{"label": "sit", "n": 4, "share": 1.0}]


def test_table_1_has_a_row_for_each_start_and_the_documents_figures_beside_its_own_models() -> None:
    def model(value: float) -> dict[str, Any]:
        return {"parts": {"test": {"map": value}}}

    models = {
        "action-own-10": model(0.1),
        "action-kinetics-10": model(0.2),
        "action-kinetics-100": model(0.3),
        "action-x": model(1),
    }
    found = by_size(models, "action")
    assert found["sizes"] == [10, 100]
    assert [row["start"] for row in found["rows"]] == ["Pretrained on Kinetics-400", "own"]
    theirs = [[(cell["ours"].get("map"), cell["theirs"]) for cell in row["cells"]] for row in found["rows"]]
    assert theirs == [[(0.2, 0.45641), (0.3, 0.53707)], [(0.1, None), (None, None)]]


def test_table_1_stands_on_the_page(page: Page) -> None:
    rows = page.under("what a model starts from and how many clips")
    assert [row[0] for row in rows] == ["From scratch", "Pretrained on Kinetics-400", "still"]
    assert rows[1][1:] == ["1.000 1.000 to 1.000 n 12, trained on 27 clips", "0.53707"] and rows[2][2] == "–"


def test_pairs_of_models_stand_once_and_those_of_claims_first() -> None:
    claims = [{"better": "a", "than": "b"}, {"better": "c", "than": "a"}, {"better": "x", "than": "a"}]
    compared = [{"model": "d", "reference": "a"}, {"model": "b", "reference": "a"}, {"model": "a", "reference": "c"}]
    assert pairs_of_interest(claims, compared, "abcd") == [("a", "b"), ("c", "a"), ("d", "a")]
    compared.append({"model": "still-100", "reference": "d"})
    assert pairs_of_interest(claims[:1], compared, ["still-100", *"abd"]) == [("a", "b"), ("still-100", "d"), ("d", "a")]


def test_an_older_comparison_has_claims_without_n_or_none_at_all(
    project: Path, evaluated: Callable[..., None], compared: Callable[..., None], report: Callable[[], Page]
) -> None:
    for name, right in ((KINETICS, IDS), (SCRATCH, [])):
        evaluated(name, right=right)
    compared(references={"action": [SCRATCH]}, claims={"known": {"better": KINETICS, "than": SCRATCH}})
    path = Path("metrics/comparison.json")
    found = read_json(path)
    claim = {key: value for key, value in found["claims"]["known"].items() if key not in ("part", "test", "n")}
    write_json(path, found | {"claims": {"known": claim | {"change": 0.0, "low": -0.1, "high": -0.01}}})
    (row,) = report().table("claim")
    assert row[1].startswith("does not hold") and row[4] == "–" and row[5].startswith("test: paired bootstrap")
    write_json(path, {key: value for key, value in found.items() if key != "claims"})
    assert "What is claimed" not in report().headings
