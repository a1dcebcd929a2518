"""Copies of a run's pictures with what was found drawn in."""

import math
import os
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

from stages.files import DataError, new_file
from stages.film import film_strip
from stages.geometry import rescale
from stages.heatmaps import HeatmapSettings, chosen_heatmap
from stages.inference import read_ahead
from stages.people import BONES, JOINT_NAMES
from stages.pictures import RGB, UnreadablePicture, decode, resize
from stages.results import ANIMAL, JOINT_FLOOR, PERSON, VEHICLE, Box, Result, Run
from stages.samples import EMPTY
from stages.separate import require_apart
from stages.summary import printable
from stages.windows import pictures

LONGER_PX, LEAST_PX = 1920, 640  # the longer side of a copy: larger pictures shrink, smaller ones grow
QUALITY = 90
_READABLE_PX = 13
# Told apart with every kind of colour vision (Okabe and Ito), light enough for black letters.
COLOURS = {ANIMAL: "#E69F00", PERSON: "#56B4E9", VEHICLE: "#CC79A7", EMPTY: "#DDDDDD"}
SIDES = {"r": "#E69F00", "l": "#56B4E9"}  # of joints and bones, the person's own right and left; others lie in the middle
MIDDLE = "#FFFFFF"
GLOW = (240, 228, 66)  # of the heatmap, the yellow of the same palette
_IN_A_ROW, _ROWS = 12, 20  # windows of a film strip, and rows
_FILM_PX = 120  # the shorter side of its frames
_MARK = "annotated.txt"  # in the folder: whose copies these are
_SAID = 10  # pictures that could not be drawn, by name; what is more is counted


def draw(results: Iterable[Result], run: Run, folder: Path, frame: Callable[[Path, int], RGB]) -> int:
    """Draw a copy of every file that did not fail, and return how many were drawn.

    A copy is a JPEG `folder/<path>`, with `.jpg` appended where the name ends otherwise or is taken; the right way up, its
    longer side 1,920 px at most and 640 px at least, without EXIF, so without a place. It shows the boxes from the run's
    threshold on, with the skeletons of people; where there are none, and of a model of whole pictures, a caption with the
    answer. Where that is told by a heatmap of joints, the heatmap glows in yellow. A video is shown by the frame of its surest
    box, or the first that was looked at: `frame(path, number)` -> RGB (h, w, 3), which raises UnreadablePicture or OSError; one
    that was looked at in windows by a film strip of them.

    A file that cannot be read any more is said on stderr and passed over. What an earlier run drew is drawn again, as its
    threshold may have been another. Raises DataError where `folder` lies within the run's files, or holds something else.
    """
    _claim(folder, run)

    def copy(job: tuple[Result, str]) -> str | None:
        result, name = job
        try:
            if result.moments:
                picture = filmed(result, run.root)
            else:
                picture = annotated(_rgb(result, run.root, frame), result, run.threshold, run.heatmaps)
            with new_file(folder / name) as temporary:
                picture.save(temporary, "JPEG", quality=QUALITY)
            return None
        except (OSError, UnreadablePicture, DataError) as error:
            return f"{printable(result.path)}: not drawn: {printable(str(error))}"

    drawn = lost = 0
    for problem in tqdm(read_ahead(copy, _named(results)), desc="drawing", unit="", disable=None, leave=False):
        drawn += problem is None
        lost += problem is not None
        if problem is not None and lost <= _SAID:
            tqdm.write(problem, file=sys.stderr)
    if lost > _SAID:
        print(f"and {lost - _SAID:,} more not drawn", file=sys.stderr)
    return drawn


def annotated(rgb: RGB, result: Result, threshold: float, heatmaps: HeatmapSettings | None = None) -> Image.Image:
    """A picture, or the frame that stands for a video, with what was found in it."""
    height_px, width_px = rgb.shape[:2]
    longer_px = max(height_px, width_px)
    scale = min(max(longer_px, LEAST_PX), LONGER_PX) / longer_px
    rgb = resize(rgb, max(1, round(width_px * scale)), max(1, round(height_px * scale)))
    number = _frame_shown(result)
    boxes = [box for box in result.shown(threshold) if box.frame == number]
    image = Image.fromarray(rgb if heatmaps is None else _glowing(rgb, [box for box in boxes if box.stamped], heatmaps))
    pen = ImageDraw.Draw(image)
    for box in reversed(boxes):  # the surest on top
        pen.rectangle(_corners(box, image), outline=COLOURS[box.kind], width=_line_px(image))
        _draw_skeleton(pen, image, box)
    text = _fitted(result.label or EMPTY, result.confidence, image)
    captioned = bool(result.scores) or not boxes
    _name_boxes(pen, image, boxes, below=text.height if captioned else 0)
    if captioned:
        text.write(pen, 0, 0, image.width, COLOURS[result.kind_of(result.label or EMPTY)])
    return image


def filmed(result: Result, root: Path) -> Image.Image:
    """A film strip of a video: the frame on which each window begins, with its time, action and confidence, in rows.

    Of more windows than have room every second is shown, or every third, and so on. Raises UnreadablePicture or OSError.
    """
    step = math.ceil(len(result.moments) / (_IN_A_ROW * _ROWS))
    shown = list(zip(result.frames, result.moments, strict=True))[::step]
    height_px = max(_FILM_PX, math.ceil(_FILM_PX * result.height_px / result.width_px))
    size = max(1, round(height_px * result.width_px / result.height_px)), height_px
    frames = [resize(rgb, *size) for rgb in pictures(root / result.path, [number for number, _ in shown])]
    captions = [f"{moment.start_s:.1f} s  {printable(moment.label)} {moment.confidence:.2f}" for _, moment in shown]
    name = printable(f"{result.path}: {result.label or EMPTY}")
    title = f"{name} {result.confidence:.2f}" + (f", every {step}. window" if step > 1 else "")
    rows = [
        film_strip(
            np.stack(frames[place : place + _IN_A_ROW]), height_px, captions[place : place + _IN_A_ROW], title * (not place)
        )
        for place in range(0, len(frames), _IN_A_ROW)
    ]
    widest = max(row.shape[1] for row in rows)
    white = [np.pad(row, ((0, 0), (0, widest - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
    return Image.fromarray(np.concatenate(white))


def _line_px(image: Image.Image) -> int:
    return max(2, max(image.size) // 400)


def _glowing(rgb: RGB, people: list[Box], settings: HeatmapSettings) -> RGB:
    """The picture (h, w, 3) with the heatmap of these people, as the classifier saw it, laid over it."""
    height_px, width_px = rgb.shape[:2]
    boxes = rescale(np.array([box.xyxy for box in people]).reshape(-1, 4), width_px, height_px)
    joints = np.array([box.joints for box in people]).reshape(-1, len(JOINT_NAMES), 3) * [width_px, height_px, 1]
    heatmap, _ = chosen_heatmap(boxes, joints, width_px, height_px, settings)
    share = resize(heatmap, width_px, height_px)[..., None] / 255
    return (rgb * (1 - share) + np.array(GLOW) * share).round().astype(np.uint8)


def _draw_skeleton(pen: ImageDraw.ImageDraw, image: Image.Image, box: Box) -> None:
    """Bones and joints of which the model is sure enough, each in the colour of its side."""
    width = _line_px(image)
    places = {
        number: (x * image.width, y * image.height) for number, (x, y, sure) in enumerate(box.joints) if sure >= JOINT_FLOOR
    }
    for ends in BONES:
        if all(end in places for end in ends):
            line = [places[end] for end in ends]
            pen.line(line, fill="black", width=2 * width)
            pen.line(line, fill=next((colour for colour in map(_side, ends) if colour != MIDDLE), MIDDLE), width=width)
    for number, place in places.items():
        pen.circle(place, 1.5 * width, fill=_side(number), outline="black")


def _side(joint: int) -> str:
    return SIDES.get(JOINT_NAMES[joint].split("_")[0], MIDDLE)


def _claim(folder: Path, run: Run) -> None:
    """Copies may replace copies of the same files, and nothing else."""
    require_apart(folder, run)
    # In bytes: the name of a folder need not be text.
    text = os.fsencode(f"Copies that Ethogram drew of the pictures in\n{run.root.resolve()}\nA later run may replace them.\n")
    if folder.exists() and any(folder.iterdir()):
        if not (folder / _MARK).is_file() or (folder / _MARK).read_bytes() != text:
            raise DataError(f"{folder} holds other things than copies of pictures in {run.root}: name another folder")
        return
    with new_file(folder / _MARK) as temporary:
        temporary.write_bytes(text)


def _named(results: Iterable[Result]) -> Iterator[tuple[Result, str]]:
    """Each result that did not fail and the path of its copy: no two the same, also where disks know no case."""
    taken: set[str] = set()
    for result in results:
        if result.failure is None:
            name = result.path if result.path.lower().endswith((".jpg", ".jpeg")) else f"{result.path}.jpg"
            while (key := unicodedata.normalize("NFC", name).casefold()) in taken:
                name += ".jpg"
            taken.add(key)
            yield result, name


def _frame_shown(result: Result) -> int | None:
    """The number of a video's frame that stands for it; None for a picture."""
    if result.frame_rate is None:
        return None
    return result.boxes[0].frame if result.boxes else next(iter(result.frames), 0)


def _rgb(result: Result, root: Path, frame: Callable[[Path, int], RGB]) -> RGB:
    number = _frame_shown(result)
    if number is not None:
        return frame(root / result.path, number)
    shorter_px, longer_px = sorted((result.width_px, result.height_px))
    at_least_px = math.ceil(LONGER_PX * shorter_px / longer_px) if shorter_px else None
    return decode((root / result.path).read_bytes(), at_least_px)[0]


def _corners(box: Box, image: Image.Image) -> tuple[int, int, int, int]:
    """xyxy in px, within the picture."""
    x_min, x_max = (min(max(0, round(x * image.width)), image.width - 1) for x in box.xyxy[::2])
    y_min, y_max = (min(max(0, round(y * image.height)), image.height - 1) for y in box.xyxy[1::2])
    return x_min, y_min, x_max, y_max


def _name_boxes(pen: ImageDraw.ImageDraw, image: Image.Image, boxes: list[Box], below: int) -> None:
    """Above each box where there is room below a caption, else in it; further down where a surer box has its name."""
    written: list[tuple[int, int, int]] = []  # left, top, right
    for box in boxes:
        text = _fitted(box.label, box.score, image)
        x_min, y_min, _, _ = _corners(box, image)
        left, lowest = max(0, min(x_min, image.width - text.width)), max(0, image.height - text.height)
        highest = min(y_min - text.height if y_min >= below + text.height else max(y_min, below), lowest)
        height, right = text.height, left + text.width
        near = [other_top for other_left, other_top, other_right in written if left < other_right and other_left < right]
        tops = (top for top in range(highest, lowest + 1, height) if all(abs(top - other) >= height for other in near))
        top = next(tops, highest)
        written.append((left, top, right))
        text.write(pen, left, top, text.width, COLOURS[box.kind])


@dataclass(frozen=True)
class _Text:
    text: str
    font: ImageFont.FreeTypeFont

    @property
    def pad(self) -> int:
        return max(2, round(self.font.size / 6))

    @property
    def width(self) -> int:
        return math.ceil(self.font.getlength(self.text)) + 2 * self.pad

    @property
    def height(self) -> int:
        return sum(self.font.getmetrics()) + self.pad

    def write(self, pen: ImageDraw.ImageDraw, left: int, top: int, width: int, colour: str) -> None:
        """In black on a filled background of this width in px."""
        pen.rectangle((left, top, left + width - 1, top + self.height - 1), fill=colour)
        pen.text((left + self.pad, top + self.pad / 2), self.text, fill="black", font=self.font)


def _fitted(label: str, score: float, image: Image.Image) -> _Text:
    """A text in proportion to the picture that fits in: smaller down to what can be read, then cut.

    Letters that the font does not have (Chinese) come out as hollow boxes.
    """
    label = printable(unicodedata.normalize("NFC", label))  # a letter and its accent as one
    for size_px in range(max(_READABLE_PX, max(image.size) // 50), _READABLE_PX - 1, -1):
        text = _Text(f"{label} {score:.2f}", _font(size_px))
        if text.width <= image.width:
            return text
    while label and text.width > image.width:
        label = label[:-1]
        text = _Text(f"{label}… {score:.2f}", text.font)
    return text


@cache
def _font(size_px: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib brings along: PIL's own font has no accents."""
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf"), size_px)
