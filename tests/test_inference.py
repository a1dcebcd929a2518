"""The one loop that shows pictures to a network: order, batches, what waits, what fails."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from stages.files import DataError
from stages.inference import Item, Network, predict, read_ahead, run, shown_regions
from stages.predictions import BOX, CLASS, JOINTS, check_predictions
from stages.samples import BOX_COLUMNS, EMPTY
from stages.views import View, letterboxed, squeezed
from tests import training_helpers as tiny


class Means(torch.nn.Module):
    """The mean of each picture; remembers the batches it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.nothing = torch.nn.Parameter(torch.zeros(1))
        self.batches: list[tuple[int, ...]] = []

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        self.batches.append(tuple(batch.shape))
        return batch.double().mean(dim=(1, 2, 3))


def network(task: str = CLASS, finish: Any = lambda means, _floor: [np.array([m]) for m in means.tolist()]) -> Network:
    return Network({}, task, ("a",), Means(), finish, lambda _w, _h: squeezed(8))


def item(number: int, side: int = 8) -> Item:
    return Item(number, np.full((side, 8, 3), number, np.uint8), View(8, side), 8, side)


@given(st.lists(st.sampled_from([None, 8, 16, 24]), max_size=40), st.integers(1, 5))
def test_results_come_in_order_whatever_the_shapes(sides: list[int | None], batch_size: int) -> None:
    used = network()
    items = [Item(i) if side is None else item(i, side) for i, side in enumerate(sides)]
    found = list(run(used, iter(items), batch_size))
    assert [one.of for one, _ in found] == list(range(len(sides)))
    assert [None if f is None else f.tolist() for _, f in found] == [None if s is None else [i] for i, s in enumerate(sides)]
    module: Any = used.module
    assert all(shape[0] <= batch_size for shape in module.batches)
    assert sum(shape[0] for shape in module.batches) == sum(side is not None for side in sides)


def test_one_odd_shape_does_not_hold_back_a_hundred_thousand() -> None:
    """What waits for others of its shape is bounded: the odd one comes out long before the end."""
    drawn = 0

    def items() -> Iterator[Item]:
        nonlocal drawn
        for i in range(200):
            drawn = i
            yield item(i % 250, 16 if i == 0 else 8 + 8 * (i % 7) + 16)

    first, _ = next(run(network(), items(), 4))
    assert first.of == 0 and drawn <= 4 * 4 + 4


def test_boxes_come_back_at_the_picture_s_own_size_and_none_without_area() -> None:
    boxes = np.array([[2.0, 2, 6, 6, 0.9, 0], [8, 0, 12, 4, 0.5, 0]])
    used = network(BOX, lambda means, _floor: [boxes for _ in means])
    view = View(8, 4, 0, 2, 0, 2)
    [(_, found)] = run(used, [Item("a", view.show(np.zeros((40, 80, 3), np.uint8)), view, 80, 40)], 4)
    assert found is not None and found.tolist() == [[20, 0, 60, 40, 0.9, 0]], "the second lies outside"


# Joints and what is stored ---------------------------------------------------------------------------------------------


def person(box_xyxy: list[float], places: np.ndarray, score: float = 0.9) -> np.ndarray:
    """A row of `finish` for task JOINTS, in px of what the network was shown: box, score, class, 16 times x, y, confidence."""
    return np.concatenate([box_xyxy, [score, 0], np.column_stack([places, np.linspace(0, 1, 16)]).reshape(-1)])


sizes = st.integers(9, 900)


@given(width=sizes, height=sizes, shape=st.sampled_from(["letterbox", "squeeze"]), seed=st.integers(0, 99))
def test_joints_come_back_to_px_of_the_picture(width: int, height: int, shape: str, seed: int) -> None:
    """Where a joint of the picture lies in what the network is shown, is asked of the view's own way there."""
    view = letterboxed(width, height, 64, 32) if shape == "letterbox" else squeezed(64)
    size, shown, margin = np.array([width, height]), np.array([view.width, view.height]), np.array([view.left, view.top])
    rng = np.random.default_rng(seed)
    places = rng.uniform(-0.2, 1.2, (2, 16, 2)) * size  # joints may be guessed outside the picture
    corners = np.sort(rng.uniform(0, 1, (2, 2, 2)), axis=1) * size
    assume((corners[:, 1] - corners[:, 0] > 0.01).all())
    rows = np.array(
        [
            person((c / size * shown + margin).ravel().tolist(), p / size * shown + margin)
            for c, p in zip(corners, places, strict=True)
        ]
    )
    used = network(JOINTS, lambda means, _floor: [rows.copy() for _ in means])
    [(_, found)] = run(used, [Item("a", view.show(np.zeros((height, width, 3), np.uint8)), view, width, height)])
    assert found is not None and found.shape == (2, 54)
    back = found[:, 6:].reshape(2, 16, 3)
    np.testing.assert_allclose(back[..., :2], places, atol=1e-9 * max(width, height))
    np.testing.assert_allclose(found[:, :4].reshape(2, 2, 2), corners, atol=1e-9 * max(width, height))
    assert (back[..., 2] == np.linspace(0, 1, 16)).all() and (found[:, 4:6] == [0.9, 0]).all(), "what is no place stays"


@pytest.mark.parametrize(
    ("view", "size", "shown", "there"),
    [
        (letterboxed(100, 40, 50, 32), (100, 40), (8 + 7, 10 + 6), (16, 20)),  # 50 x 20 px in 64 x 32: 7 px left, 6 above
        (letterboxed(40, 100, 50, 32), (40, 100), (8 + 6, 10 + 7), (16, 20)),
        (squeezed(50), (100, 40), (8, 10), (16, 8)),
    ],
    ids=["wide", "high", "squeezed"],
)
def test_joints_by_hand(view: View, size: tuple[int, int], shown: tuple[int, int], there: tuple[int, int]) -> None:
    left, top = view.left, view.top
    row = person([left, top, left + view.width, top + view.height], np.tile(shown, (16, 1)))
    used = network(JOINTS, lambda means, _floor: [row[None] for _ in means])
    [(_, found)] = run(used, [Item("a", view.show(np.zeros((size[1], size[0], 3), np.uint8)), view, *size)])
    assert found is not None
    assert found[0, :4].tolist() == pytest.approx([0, 0, *size])
    assert found[0, 6::3].tolist() == pytest.approx([there[0]] * 16)
    assert found[0, 7::3].tolist() == pytest.approx([there[1]] * 16)


def test_who_has_no_box_in_the_picture_goes_with_all_joints() -> None:
    places = np.ones((16, 2))
    rows = np.array([person([2, 2, 6, 6], places), person([8, 0, 12, 4], 5 * places)])
    used = network(JOINTS, lambda means, _floor: [rows for _ in means])
    view = View(8, 4, 0, 2, 0, 2)
    [(_, found)] = run(used, [Item("a", view.show(np.zeros((40, 80, 3), np.uint8)), view, 80, 40)])
    assert found is not None and found[:, :4].tolist() == [[20, 0, 60, 40]]
    assert set(found[0, 6::3]) == {10} and set(found[0, 7::3]) == {-10}, "of whom is left, outside the picture too"


def test_people_become_a_table_with_their_joints_in_px_of_each_picture(tmp_path: Path) -> None:
    """Pictures of two shapes, of which the network finds one person in all but the black ones."""
    pictures = tiny.table(
        tmp_path,
        {name: ("walking", np.full((height, width, 3), grey, np.uint8))
         for name, width, height, grey in (("b", 32, 16, 200), ("a", 16, 64, 200), ("c", 32, 16, 0))},
    )  # fmt: skip
    rows = person([0, 0, 4, 4], np.column_stack([np.arange(16), np.full(16, 2.0)]), 0.75)[None]

    def finish(means: torch.Tensor, _floor: float) -> list[np.ndarray]:
        return [rows if mean > 0 else rows[:0] for mean in means.tolist()]

    used = Network({}, JOINTS, ("person",), Means(), finish, lambda _w, _h: squeezed(8))
    found = predict(used, pictures, tmp_path)
    check_predictions(found, pictures["sample_id"])
    assert found[["sample_id", "task", "label", "score"]].to_numpy().tolist() == [
        ["b", JOINTS, "person", 0.75], ["a", JOINTS, "person", 0.75], ["c", JOINTS, EMPTY, 0.0]
    ]  # fmt: skip
    assert found[BOX_COLUMNS].iloc[:2].to_numpy().tolist() == [[0, 0, 16, 8], [0, 0, 8, 32]]
    for joints, across, down in ((found["joints"][0], 4, 2), (found["joints"][1], 2, 8)):
        assert joints[::3].tolist() == [across * joint for joint in range(16)]
        assert joints[1::3].tolist() == [down * 2.0] * 16
    assert found["joints"][2] is None
    nobody = predict(used, pictures[2:], tmp_path)
    assert check_predictions(nobody, pictures["sample_id"][2:])["label"].tolist() == [EMPTY]


def test_a_network_of_stored_pictures_is_shown_what_the_folder_holds_and_no_file(tmp_path: Path) -> None:
    pictures = tiny.table(tmp_path / "pictures", {name: ("a", tiny.noise(8, 0)) for name in ("c", "a", "b")})
    for path in (tmp_path / "pictures").iterdir():
        path.unlink()
    asked: list[Path] = []

    def stored(folder: Path) -> Callable[[str], np.ndarray]:
        asked.append(folder)
        return lambda name: np.full((4, 6, 4), ord(name), np.uint8)  # of four channels

    def finish(means: torch.Tensor, _floor: float) -> list[np.ndarray]:
        return [np.array([mean / 200, 1 - mean / 200]) for mean in means.tolist()]

    used = Network({}, CLASS, ("first", "second"), Means(), finish, lambda _w, _h: squeezed(8), stored=stored)
    found = predict(used, pictures, tmp_path / "pictures", batch_size=2, stored=tmp_path / "heatmaps")
    assert asked == [tmp_path / "heatmaps"], "opened once"
    check_predictions(found, pictures["sample_id"])
    first = found[found["label"] == "first"]
    assert first["sample_id"].tolist() == ["c", "a", "b"]
    assert first["score"].tolist() == pytest.approx([99 / 200, 97 / 200, 98 / 200])
    module: Any = used.module
    assert module.batches == [(2, 4, 6, 4), (1, 4, 6, 4)]


# Reading ---------------------------------------------------------------------------------------------------------------


def test_reading_ahead_keeps_the_order_and_its_bounds() -> None:
    running, most, lock = 0, 0, threading.Lock()
    asked: list[int] = []

    def jobs() -> Iterator[int]:
        for i in range(50):
            asked.append(i)
            yield i

    def read(i: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        with lock:
            running -= 1
        return i * i

    results = read_ahead(read, jobs(), ahead=5)
    assert next(results) == 0
    assert len(asked) == 6
    assert list(results) == [i * i for i in range(1, 50)]


def test_a_fault_of_reading_stops_the_rest() -> None:
    def read(i: int) -> int:
        if i == 3:
            raise DataError("gone")
        return i

    with pytest.raises(DataError, match="gone"):
        list(read_ahead(read, range(100), ahead=2))


def test_regions_of_a_picture_are_cut_from_one_decoding() -> None:
    asked = []
    rgb = np.zeros((100, 200, 3), np.uint8)
    rgb[20:40, 50:70] = 255

    def decode_at(px: int) -> np.ndarray:
        asked.append(px)
        return rgb

    squares = np.array([[50, 20, 70, 40], [0, 0, 200, 100]], dtype=float)
    items = shown_regions(["a", "b"], decode_at, squares, 200, 100, squeezed(10))
    assert asked == [50], "the shorter side at which the small square still has 10 px"
    assert [one.of for one in items] == ["a", "b"]
    assert items[0].rgb is not None and (items[0].rgb == 255).all()
    assert shown_regions([], decode_at, squares[:0], 200, 100, squeezed(10)) == [] and len(asked) == 1
