"""What a network says of a user's files: an entry for each, for the journal, as it is done and in order.

An entry is of plain values, all that answers are made from later, so that other thresholds need no second look:
    path, bytes, mtime_ns      the file as it was seen
    failure                    why it could not be read; then nothing below is there
    note                       a video that is damaged from some frame on
    width_px, height_px        the right way up
    captured_at                ISO, by the camera's clock, or null
    frame_rate, frames         of a video: frames a second, and the numbers of those that were looked at
    scores                     of a network of whole pictures: a list of probabilities for each frame (one for a picture)
    boxes                      of others: [frame, label, score, x_min, y_min, x_max, y_max, detector's label, detector's score],
                               coordinates as shares of the sides, the last two null where no detector stood before a classifier
                               Of people with joints two more: [x, y, confidence] of each joint, x and y as shares, and
                               whether they are in the heatmap by which a classifier, with scores too, told what people do
stages/windows.py makes those of networks that are shown clips.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages import media
from stages.files import DataError
from stages.geometry import Boxes, rescale
from stages.heatmaps import HeatmapSettings, decoded_at_least, stacked
from stages.inference import Found, Item, Network, read_ahead, run, shown_regions
from stages.media import File
from stages.megadetector import Detections
from stages.people import JOINT_NAMES, found_joints
from stages.pictures import RGB, UnreadablePicture, decode, resize
from stages.predictions import CLASS
from stages.results import PERSON, VEHICLE, kind_of
from stages.stamps import two_people
from stages.views import View

CANNOT_BE_READ = "cannot be read"  # how such failures begin, which may pass
_DIGITS = 5  # of shares: a hundredth of a px at 1,000 px
SCORE_DIGITS = 9  # all that a float32 holds: a threshold is some box's very score
_BOX_NUMBERS = 6  # of a box: xyxy, score, class; a person's joints come after
_NOBODY = np.zeros((0, _BOX_NUMBERS + 3 * len(JOINT_NAMES)))


@dataclass(frozen=True)
class Looker:
    """What looks at files: a network of whole pictures, a detector, or a classifier behind a detector or a list of boxes.

    With `heatmaps` the classifier is shown the whole picture and a heatmap of the people that the detector finds joints of.
    """

    network: Network
    floor: float  # boxes less sure are not written down
    frame_rate: float  # frames to look at in each second of a video
    batch_size: int
    detector: Network | None = None
    listed: Detections | None = None
    heatmaps: HeatmapSettings | None = None

    @property
    def found_as(self) -> tuple[str, ...]:
        """The classes of the boxes that a classifier looks into."""
        return self.detector.classes if self.detector else self.listed.labels if self.listed else ()

    def is_animal(self, boxes: Found) -> NDArray[np.bool_]:
        """Which of the boxes (N, 6) to classify: all but people and vehicles."""
        return np.array([kind_of(self.found_as[int(number)]) not in (PERSON, VEHICLE) for number in boxes[:, 5]], dtype=bool)


@dataclass(frozen=True)
class _Seen:
    """What is known of one frame that was read, beside its pixels. A picture is one frame, number 0."""

    file: File
    frame: int = 0
    seconds: float = 0.0
    width_px: int = 0
    height_px: int = 0
    captured_at: datetime | None = None
    frame_rate: float | None = None
    problem: str | None = None  # why there is no frame, or no further one
    rgb: RGB | None = None  # of the size of heatmaps, where they are wanted
    people: Found | None = None  # whom a detector of joints found


@dataclass
class _Looked:
    """One file, and of each frame what was found."""

    file: File
    frames: list[_Seen] = field(default_factory=list)
    found: list[Found] = field(default_factory=list)
    problem: str | None = None


def entries(looker: Looker, root: Path, files: Iterable[File]) -> Iterator[dict[str, Any]]:
    """An entry for each file, in their order. A file that cannot be read is an entry with `failure`, never a stop."""
    if looker.heatmaps is not None:
        yield from _behind_heatmaps(looker, root, files)
    elif looker.network.regions is None:
        for looked in _looks(looker.network, root, files, looker):
            if looker.network.task == CLASS:
                yield _entry(looked, {"scores": [_probabilities(scores) for scores in looked.found]})
            else:
                found = zip(looked.frames, looked.found, strict=True)
                yield _entry(looked, {"boxes": _with_area([_boxes(seen, boxes, looker) for seen, boxes in found])})
    else:
        yield from _behind_boxes(looker, root, files)


# Whole pictures ------------------------------------------------------------------------------------------------------


def _looks(network: Network, root: Path, files: Iterable[File], looker: Looker) -> Iterator[_Looked]:
    read = partial(_read, root=root, view_of=network.view, rate=looker.frame_rate)
    items = chain.from_iterable(read_ahead(read, files, looker.batch_size))
    yield from _by_file(run(replace(network, floor=looker.floor), items, looker.batch_size))


def _by_file(found: Iterable[tuple[Item, Found | None]]) -> Iterator[_Looked]:
    for _, group in groupby(found, lambda pair: pair[0].of.file.path):
        yield _together(group)


def _together(group: Iterable[tuple[Item, Found | None]]) -> _Looked:
    looked: _Looked | None = None
    for item, found in group:
        seen: _Seen = item.of
        looked = looked or _Looked(seen.file)
        if found is None:
            looked.problem = seen.problem
        else:
            looked.frames.append(seen)
            looked.found.append(found)
    assert looked is not None
    return looked


def _read(
    file: File, root: Path, view_of: Callable[[int, int], View], rate: float, heatmaps: HeatmapSettings | None = None
) -> Iterable[Item]:
    """Each frame of a file as a network is shown it. A video is decoded as it is asked for, a picture now."""
    if file.is_video:
        return _read_video(file, root, view_of, rate, heatmaps)

    def at_least_px(width_px: int, height_px: int) -> int:
        view = view_of(width_px, height_px)
        return view.at_least_px if heatmaps is None else decoded_at_least(view, width_px, height_px, heatmaps)

    try:
        data = (root / file.path).read_bytes()
        rgb, size = decode(data, at_least_px)
        if min(rgb.shape[:2]) < at_least_px(*size) and rgb.shape[1] < size[0]:  # turned, it was asked for by the other sides
            rgb, size = decode(data, at_least_px(*size))
    except (OSError, UnreadablePicture) as error:
        return [Item(_Seen(file, problem=reason(error)))]
    seen = _Seen(file, width_px=size[0], height_px=size[1], captured_at=media.captured_at(data))
    return [_shown(seen, rgb, view_of, heatmaps)]


def _shown(seen: _Seen, rgb: RGB, view_of: Callable[[int, int], View], heatmaps: HeatmapSettings | None) -> Item:
    size = seen.width_px, seen.height_px
    if heatmaps is not None:
        seen = replace(seen, rgb=resize(rgb, heatmaps.width_px, heatmaps.height_px))
    view = view_of(*size)
    return Item(seen, view.show(rgb), view, *size)


def _read_video(
    file: File, root: Path, view_of: Callable[[int, int], View], rate: float, heatmaps: HeatmapSettings | None
) -> Iterator[Item]:
    path = root / file.path
    seen = _Seen(file)
    try:
        taken = media.video_captured_at(path)
        for frame in media.frames(path, rate):
            height_px, width_px = frame.rgb.shape[:2]
            seen = _Seen(file, frame.number, frame.seconds, width_px, height_px, taken, frame.frame_rate or 0.0)
            yield _shown(seen, frame.rgb, view_of, heatmaps)
    except (OSError, UnreadablePicture) as error:
        yield Item(_Seen(file, problem=reason(error)))


def reason(error: Exception) -> str:
    if isinstance(error, UnreadablePicture):
        return f"{error.reason}: {error}"
    return f"{CANNOT_BE_READ}: {getattr(error, 'strerror', None) or error}"


# Behind heatmaps -------------------------------------------------------------------------------------------------------


def _behind_heatmaps(looker: Looker, root: Path, files: Iterable[File]) -> Iterator[dict[str, Any]]:
    """People first, where a detector finds them; then what they do. Each file is read once, and of a video a few frames."""
    view_of = looker.detector.view if looker.detector else looker.network.view
    read = partial(_read, root=root, view_of=view_of, rate=looker.frame_rate, heatmaps=looker.heatmaps)
    items = chain.from_iterable(read_ahead(read, files, looker.batch_size))
    if looker.detector is not None:
        people = run(replace(looker.detector, floor=looker.floor), items, looker.batch_size)
    else:
        people = ((item, None if item.rgb is None else _NOBODY) for item in items)
    stamped = (_stamped(item, found, looker) for item, found in people)
    for looked in _by_file(run(looker.network, stamped, looker.batch_size)):
        said: dict[str, Any] = {"scores": [_probabilities(scores) for scores in looked.found]}
        if looker.detector is not None:
            found = [seen.people for seen in looked.frames]
            said["boxes"] = _with_area(
                [_boxes(seen, people, looker) for seen, people in zip(looked.frames, found, strict=True) if people is not None]
            )
        yield _entry(looked, said)


def _stamped(item: Item, people: Found | None, looker: Looker) -> Item:
    """A frame and the people found on it (N, 6 + 48), as the classifier is shown them; what cannot be read as it is."""
    seen: _Seen = item.of
    if people is None or seen.rgb is None or looker.heatmaps is None:
        return item
    joints = found_joints(people, seen.file.path)
    picture = stacked(seen.rgb, people[:, :4], joints, seen.width_px, seen.height_px, looker.heatmaps)
    return Item(replace(seen, rgb=None, people=people), picture)


# Behind a detector -----------------------------------------------------------------------------------------------------


def _behind_boxes(looker: Looker, root: Path, files: Iterable[File]) -> Iterator[dict[str, Any]]:
    """Detected first; then each box that is sure enough is cut out of its file, read once more, and classified."""
    network, regions = looker.network, looker.network.regions
    assert regions is not None
    if looker.listed is not None:
        detected = read_ahead(partial(_listed, root=root, listed=looker.listed), files, looker.batch_size)
    else:
        assert looker.detector is not None
        detected = _looks(looker.detector, root, files, looker)

    def cut(looked: _Looked) -> tuple[_Looked, Iterable[Item]]:
        """The file with the boxes that are looked at, and what lies in each; last an item that says where it ends."""
        for place, boxes in enumerate(looked.found):
            animal = looker.is_animal(boxes)
            looked_at = np.flatnonzero(animal)[regions.kept(boxes[animal, :4], boxes[animal, 4])]
            others = np.flatnonzero(~animal & (boxes[:, 4] >= looker.floor))
            looked.found[place] = boxes[[*looked_at, *others]]
        return looked, _regions(looked, root, looker)

    def items() -> Iterator[Item]:
        for looked, inside in read_ahead(cut, detected, looker.batch_size):
            yield from inside
            yield Item(looked)

    scores: list[Found] = []
    for item, found in run(network, items(), looker.batch_size):
        if found is not None:
            scores.append(found)
        elif isinstance(item.of, _Looked):
            looked, given = item.of, iter(scores)
            if len(scores) != sum(int(looker.is_animal(boxes).sum()) for boxes in looked.found):
                looked.frames, looked.found = [], []
                looked.problem = looked.problem or f"{CANNOT_BE_READ}: it changed while it was looked at"
            rows = [_classified(seen, boxes, given, looker) for seen, boxes in zip(looked.frames, looked.found, strict=True)]
            yield _entry(looked, {"boxes": _with_area(rows)})
            scores = []


def _listed(file: File, root: Path, listed: Detections) -> _Looked:
    """A file's boxes from a MegaDetector JSON. The file is opened for its size and time alone."""
    if file.is_video:
        return _Looked(file, problem="a video: its boxes are not taken from a MegaDetector file")
    try:
        boxes = listed.of(file.path)
        data = (root / file.path).read_bytes()
        _, (width_px, height_px) = decode(data, 1)
    except (OSError, UnreadablePicture, DataError) as error:
        return _Looked(file, problem=str(error) if isinstance(error, DataError) else reason(error))
    seen = _Seen(file, width_px=width_px, height_px=height_px, captured_at=media.captured_at(data))
    xyxy = rescale(boxes[:, :4], width_px, height_px)
    return _Looked(file, [seen], [np.column_stack([xyxy, boxes[:, 4:]])])


def _regions(looked: _Looked, root: Path, looker: Looker) -> Iterable[Item]:
    """What lies in a file's boxes. Of a video it is cut out as it is asked for, of a picture now."""
    wanted = {seen.frame: (seen, boxes) for seen, boxes in zip(looked.frames, looked.found, strict=True) if len(boxes)}
    if not wanted:
        return []
    inside = _of_video if looked.file.is_video else _of_picture
    regions = inside(root / looked.file.path, wanted, looker)
    return _or_problem(regions, looked) if looked.file.is_video else list(_or_problem(regions, looked))


def _of_picture(path: Path, wanted: dict[int, tuple[_Seen, Found]], looker: Looker) -> Iterator[Item]:
    data = path.read_bytes()
    for seen, boxes in wanted.values():
        yield from _cut(lambda px: decode(data, px)[0], seen, boxes, looker)


def _of_video(path: Path, wanted: dict[int, tuple[_Seen, Found]], looker: Looker) -> Iterator[Item]:
    for frame in media.frames(path, looker.frame_rate):
        if frame.number in wanted:
            yield from _cut(partial(_as_it_is, frame.rgb), *wanted[frame.number], looker)
        if frame.number >= max(wanted):
            return


def _or_problem(regions: Iterator[Item], looked: _Looked) -> Iterator[Item]:
    try:
        yield from regions
    except (OSError, UnreadablePicture) as error:  # it could be read a moment ago
        looked.frames, looked.found, looked.problem = [], [], reason(error)


def _as_it_is(rgb: RGB, _at_least_px: int) -> RGB:
    return rgb


def _cut(decode_at: Callable[[int], RGB], seen: _Seen, boxes: Found, looker: Looker) -> list[Item]:
    regions = looker.network.regions
    assert regions is not None
    animals = boxes[looker.is_animal(boxes), :4]
    size = seen.width_px, seen.height_px
    squares = regions.squares(animals, *(np.full(len(animals), side) for side in size))
    return shown_regions([seen] * len(animals), decode_at, squares, *size, looker.network.view(*size))


def _classified(seen: _Seen, boxes: Found, scores: Iterator[Found], looker: Looker) -> list[list[Any]]:
    rows = []
    for box, place, animal in zip(boxes, _shares(boxes[:, :4], seen), looker.is_animal(boxes), strict=True):
        detected, sure = looker.found_as[int(box[5])], float(box[4])
        if not animal:
            rows.append([seen.frame, detected, round(sure, SCORE_DIGITS), *place, detected, round(sure, SCORE_DIGITS)])
            continue
        classes = next(scores)
        best = int(classes.argmax())
        named = [seen.frame, looker.network.classes[best], round(sure * float(classes[best]), SCORE_DIGITS)]
        rows.append([*named, *place, detected, round(sure, SCORE_DIGITS)])
    return rows


# The entry -------------------------------------------------------------------------------------------------------------


def _probabilities(found: Found) -> list[float]:
    return [round(float(score), SCORE_DIGITS) for score in found]


def _boxes(seen: _Seen, found: Found, looker: Looker) -> list[list[Any]]:
    """Rows of boxes (N, 6), or of people with joints (N, 6 + 48)."""
    sure = found[found[:, 4] >= looker.floor]
    classes = looker.found_as or looker.network.classes
    rows: list[list[Any]] = [
        [seen.frame, classes[int(box[5])], round(float(box[4]), SCORE_DIGITS), *place, None, None]
        for box, place in zip(sure, _shares(sure[:, :4], seen), strict=True)
    ]
    if found.shape[1] == _BOX_NUMBERS:
        return rows
    chosen = two_people(sure[:, :4], seen.width_px, seen.height_px) if looker.heatmaps else []
    joints = (found_joints(sure, seen.file.path) / [seen.width_px, seen.height_px, 1]).round(_DIGITS).tolist()
    return [[*row, xyc, place in chosen] for place, (row, xyc) in enumerate(zip(rows, joints, strict=True))]


def _with_area(of_frames: list[list[Any]]) -> list[list[Any]]:
    """The boxes of all frames, but slivers of which rounding left nothing."""
    return [row for row in chain(*of_frames) if row[3] < row[5] and row[4] < row[6]]


def _shares(boxes_xyxy: Boxes, seen: _Seen) -> list[list[float]]:
    shares = rescale(boxes_xyxy, 1 / seen.width_px, 1 / seen.height_px)
    return np.clip(shares, 0, 1).round(_DIGITS).tolist()


def _entry(looked: _Looked, said: dict[str, Any]) -> dict[str, Any]:
    file = looked.file
    about: dict[str, Any] = {"path": file.path, "bytes": file.bytes, "mtime_ns": file.mtime_ns}
    if not looked.frames:
        return about | {"failure": looked.problem or "nothing in it could be read"}
    first, last = looked.frames[0], looked.frames[-1]
    about |= {
        "width_px": first.width_px,
        "height_px": first.height_px,
        "captured_at": first.captured_at.isoformat() if first.captured_at else None,
    }
    if looked.problem:
        about["note"] = f"{looked.problem}; looked at up to {last.seconds:.1f} s"
    if file.is_video:
        about |= {"frame_rate": first.frame_rate, "frames": [seen.frame for seen in looked.frames]}
    return about | said
