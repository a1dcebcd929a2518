"""Copies with what was found drawn in: each file its own, whole, readable, and nothing else touched."""

import unicodedata
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageColor, ImageDraw, ImageFont

from stages.annotate import COLOURS, _font, annotated, draw
from stages.files import DataError
from stages.pictures import RGB, UnreadablePicture
from stages.results import ANIMAL, PERSON, VEHICLE, Box, Result, Run
from stages.samples import EMPTY

Make = Callable[..., bytes]
GREY = (90, 90, 90)


def run(root: Path, threshold: float = 0.3) -> Run:
    return Run(root, "m", "-", "0" * 64, "your data", ("fox", EMPTY), True, threshold, datetime(2026, 5, 1, tzinfo=UTC))


def no_frame(path: Path, number: int) -> RGB:
    raise UnreadablePicture("damaged", f"no frame {number}")


def grey(width: int, height: int) -> RGB:
    return np.full((height, width, 3), 90, np.uint8)


def colours(image: Image.Image) -> set[tuple[int, ...]]:
    return {colour for _, colour in image.getcolors(1 << 24)}


def rgb(name: str) -> tuple[int, ...]:
    return ImageColor.getrgb(name)


@pytest.fixture
def card(tmp_path: Path, picture: Make) -> Callable[[Iterable[str]], Path]:
    """Write pictures of noise under these names."""

    def write(names: Iterable[str]) -> Path:
        for seed, name in enumerate(names):
            (tmp_path / "card" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "card" / name).write_bytes(picture(seed, 64, 48, "PNG" if name.endswith("png") else "JPEG"))
        return tmp_path / "card"

    return write


def copies(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and p.name != "annotated.txt")


# What is drawn ---------------------------------------------------------------------------------------------------------


def test_a_box_lies_where_it_was_found() -> None:
    result = Result(
        "a.jpg", width_px=800, height_px=600, boxes=(Box("fox", 0.9, (0.25, 0.5, 0.75, 0.9)), Box("fox", 0.2, (0, 0, 1, 1)))
    )
    image = annotated(grey(800, 600), result, 0.3)
    pixels = np.asarray(image)
    orange = (pixels == rgb(COLOURS[ANIMAL])).all(axis=-1)
    rows, columns = np.nonzero(orange[302:])  # what is below the name of the box
    assert (columns.min(), columns.max(), rows.max() + 302) == (200, 600, 540)
    assert orange[540, 200:601].all() and orange[300:541, 600].all()
    assert (pixels[310:530, 210:590] == GREY).all()  # nothing within, and nothing of the box below the threshold
    assert orange[270:300, 200:220].any() and not orange[:260].any()  # the name stands on the box


@pytest.mark.parametrize(
    ("label", "detector", "kind"),
    [("fox", None, ANIMAL), ("Human", None, PERSON), ("car", None, VEHICLE), ("fox", "person", PERSON)],
)
def test_kinds_have_their_colours(label: str, detector: str | None, kind: str) -> None:
    result = Result(
        "a.jpg", width_px=800, height_px=600, boxes=(Box(label, 0.9, (0.3, 0.3, 0.6, 0.6), detector_label=detector),)
    )
    found = colours(annotated(grey(800, 600), result, 0.3))
    assert {name for name, colour in COLOURS.items() if rgb(colour) in found} == {kind}


@pytest.mark.parametrize(("label", "kind"), [("fox", ANIMAL), ("human", PERSON), (EMPTY, EMPTY), (None, EMPTY)])
def test_without_boxes_a_caption_lies_along_the_top(label: str | None, kind: str) -> None:
    pixels = np.asarray(
        annotated(grey(800, 600), Result("a.jpg", width_px=800, height_px=600, label=label, confidence=0.8), 0.0)
    )
    bar = (pixels == rgb(COLOURS[kind])).all(axis=-1)
    assert bar[0].all() and bar[:10, 799].all()
    assert (pixels[60:] == GREY).all()


def test_the_surest_box_lies_on_top() -> None:
    boxes = (Box("human", 0.9, (0.2, 0.2, 0.8, 0.8)), Box("fox", 0.8, (0.2, 0.2, 0.8, 0.8)))
    image = annotated(grey(800, 600), Result("a.jpg", width_px=800, height_px=600, boxes=boxes), 0.3)
    assert image.getpixel((640, 300)) == rgb(COLOURS[PERSON])


def test_no_name_hides_another() -> None:
    """Ten boxes on one spot: ten names, each of the same area."""
    boxes = tuple(Box("fox", 0.9 - i / 100, (0.2, 0.2, 0.3, 0.3)) for i in range(10))

    def black(count: int) -> int:
        image = annotated(grey(800, 600), Result("a.jpg", width_px=800, height_px=600, boxes=boxes[:count]), 0.3)
        return int((np.asarray(image) == 0).all(axis=-1).sum())

    assert black(10) > 9 * black(1) > 0


@pytest.mark.parametrize("letter", "éüñčłØЖαß")
def test_the_font_has_accents(letter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    truetype = ImageFont.truetype  # as where no library lays letters out
    monkeypatch.setattr(ImageFont, "truetype", lambda file, size: truetype(file, size, layout_engine=ImageFont.Layout.BASIC))
    monkeypatch.setattr("stages.annotate._font", _font.__wrapped__)

    def drawn(label: str) -> bytes:
        return annotated(grey(640, 480), Result("a.jpg", label=label), 0.3).tobytes()

    assert drawn(letter) not in (drawn("中"), drawn("e"))
    decomposed = {"é": "e\u0301", "ü": "u\u0308", "ñ": "n\u0303", "č": "c\u030c"}.get(letter, letter)
    assert drawn(decomposed) == drawn(letter)


def test_a_long_name_is_cut_and_keeps_its_score(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr("PIL.ImageDraw.ImageDraw.text", lambda self, xy, text, **_: written.append(text))
    annotated(grey(200, 900), Result("a.jpg", label="a name\nof two lines " * 9, confidence=0.876), 0.3)
    assert written[0].startswith("a name\\n") and written[0].endswith("… 0.88")


SHARES = st.floats(-0.2, 1.2)
CORNERS = st.tuples(SHARES, SHARES, SHARES, SHARES).map(
    lambda c: (min(c[0], c[2]), min(c[1], c[3]), max(c[0], c[2]), max(c[1], c[3]))
)


@settings(max_examples=60)
@given(st.integers(1, 2500), st.integers(1, 2500), st.lists(st.tuples(st.text(max_size=40), CORNERS), max_size=4))
def test_any_picture_with_any_boxes(
    width: int, height: int, found: list[tuple[str, tuple[float, float, float, float]]]
) -> None:
    boxes = tuple(Box(label, 0.5, corners) for label, corners in found)
    filled: list[tuple[float, float, float, float]] = []

    def spy(self: ImageDraw.ImageDraw, xyxy: tuple[float, float, float, float], **_: object) -> None:
        filled.append(xyxy)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ImageDraw.ImageDraw, "rectangle", spy)
        image = annotated(grey(width, height), Result("a.jpg", width_px=width, height_px=height, boxes=boxes), 0.3)
    assert 640 <= max(image.size) <= 1920
    scale = max(image.size) / max(width, height)
    assert image.size == (max(1, round(width * scale)), max(1, round(height * scale)))
    assert len(filled) == 2 * len(boxes) or not boxes
    if min(image.size) >= 80:  # room for a score
        for left, top, right, bottom in filled:
            assert 0 <= left <= right < image.width and 0 <= top <= bottom < image.height


# Which copies there are ------------------------------------------------------------------------------------------------


def test_every_file_gets_a_copy_of_its_own(tmp_path: Path, card: Callable[[Iterable[str]], Path]) -> None:
    names = ["a.jpg", "a.JPG", "a.png", "a.png.jpg", "A.jpeg", "ü b/é.jpg", "u\u0308 b/e\u0301.jpg", "x\ny/中.jpg"]
    root = card(names)
    video = Result("a.avi", width_px=64, height_px=48, frame_rate=25.0, frames=(0, 25), label="fox")
    results = [Result(name, width_px=64, height_px=48, label="fox") for name in names] + [video]
    assert draw(results, run(root), tmp_path / "out", lambda path, number: grey(64, 48)) == 9
    found = copies(tmp_path / "out")
    assert {"a.jpg", "a.JPG.jpg", "a.png.jpg", "a.png.jpg.jpg", "A.jpeg", "a.avi.jpg", "x\ny/中.jpg"} < set(found)
    assert len({unicodedata.normalize("NFC", name).casefold() for name in found}) == len(found) == 9
    for name in found:
        with Image.open(tmp_path / "out" / name) as image:
            image.load()
            assert (image.format, image.size) == ("JPEG", (640, 480))


def test_a_copy_is_upright_small_and_tells_no_place(tmp_path: Path, picture: Make) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    exif.get_ifd(0x8825)[2] = (52.0, 31.0, 12.0)  # GPS latitude
    (tmp_path / "card").mkdir()
    (tmp_path / "card/a.jpg").write_bytes(picture("red", 3000, 1500, "JPEG", exif=exif))
    assert (
        draw([Result("a.jpg", width_px=1500, height_px=3000, label="fox")], run(tmp_path / "card"), tmp_path / "out", no_frame)
        == 1
    )
    with Image.open(tmp_path / "out/a.jpg") as image:
        assert image.size == (960, 1920)
        assert not image.getexif() and "exif" not in image.info


def test_a_video_is_shown_by_the_frame_of_its_surest_box(tmp_path: Path, card: Callable[[Iterable[str]], Path]) -> None:
    root, asked = card([]), []
    (tmp_path / "card").mkdir()
    boxes = (Box("fox", 0.9, (0.1, 0.5, 0.2, 0.6), frame=50), Box("person", 0.8, (0.5, 0.5, 0.6, 0.6), frame=75))
    results = [
        Result("a.mp4", width_px=64, height_px=48, frame_rate=25.0, frames=(0, 25, 50, 75), label="fox", boxes=boxes),
        Result("b.mp4", width_px=64, height_px=48, frame_rate=25.0, frames=(3, 28), label="fox"),
    ]

    def frame(path: Path, number: int) -> RGB:
        asked.append((path, number))
        return grey(64, 48)

    assert draw(results, run(root), tmp_path / "out", frame) == 2
    assert sorted(asked) == [(root / "a.mp4", 50), (root / "b.mp4", 3)]
    assert rgb(COLOURS[PERSON]) not in colours(annotated(grey(64, 48), results[0], 0.3))  # that is another frame


def test_what_cannot_be_read_any_more_is_said(
    tmp_path: Path, card: Callable[[Iterable[str]], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    root = card(["good.jpg", "bad.jpg"])
    (root / "bad.jpg").write_bytes(b"GIF but not")
    names = ["bad.jpg", "good.jpg", *(f"gone\n{i:02}.jpg" for i in range(12))]
    results = [
        Result("never.jpg", failure="damaged"),
        *(Result(name, width_px=64, height_px=48, label="fox") for name in names),
    ]
    results.append(Result("video.avi", width_px=64, height_px=48, frame_rate=5.0))
    assert draw(results, run(root), tmp_path / "out", no_frame) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "bad.jpg: not drawn: no image format: starts with b'GIF but not'"
    assert said[1].startswith("gone\\n00.jpg: not drawn: [Errno 2]")
    assert (len(said), said[-1]) == (11, "and 4 more not drawn")
    assert copies(tmp_path / "out") == ["good.jpg"]


# Nothing else is touched -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["card", "card/out", ".", "other"])
def test_a_folder_with_other_things_is_refused(tmp_path: Path, card: Callable[[Iterable[str]], Path], folder: str) -> None:
    root = card(["a.jpg", "../other/a.jpg"])
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(DataError, match="name"):
        draw([Result("a.jpg", width_px=64, height_px=48, label="fox")], run(root), tmp_path / folder, no_frame)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_second_run_draws_anew_and_another_card_is_refused(tmp_path: Path, card: Callable[[Iterable[str]], Path]) -> None:
    root, out = card(["a.jpg", "../card2/a.jpg"]), tmp_path / "out"
    draw([Result("a.jpg", width_px=64, height_px=48, label="fox")], run(root), out, no_frame)
    first = (out / "a.jpg").read_bytes()
    assert draw([Result("a.jpg", width_px=64, height_px=48, label="deer")], run(root), out, no_frame) == 1
    assert (out / "a.jpg").read_bytes() != first
    with pytest.raises(DataError, match="holds other things"):
        draw([Result("a.jpg", width_px=64, height_px=48, label="fox")], run(tmp_path / "card2"), out, no_frame)
