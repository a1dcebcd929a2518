"""The one loop that shows pictures to a network: order, batches, what waits, what fails."""

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stages.files import DataError
from stages.inference import Item, Network, read_ahead, run, shown_regions
from stages.predictions import BOX, CLASS
from stages.views import View, squeezed


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
