"""Pictures for a network: the same with any number of loader processes, with and without the cache, and by seed alone."""

import collections
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from stages import loading
from stages.files import DataError
from stages.loading import LoadSettings, Pictures, Points, Shuffled, augmented, loader, moved
from tests.training_helpers import noise, table

LOADING = {"image_px": 32, "workers": 0}
EVERYTHING = {"flip": True, "zoom": 1.5, "rotate_deg": 20.0, "light": 0.3}


@pytest.fixture
def nine(tmp_path: Path) -> tuple[pd.DataFrame, Path]:
    """Nine noise pictures of 40 x 40 px, and where they lie."""
    return table(tmp_path, {f"p{i}": ("ab"[i % 2], noise(40, i)) for i in range(9)}), tmp_path


def load_settings(**changes: object) -> LoadSettings:
    return LoadSettings.model_validate(LOADING | changes)


def pictures_of(nine: tuple[pd.DataFrame, Path], training: bool = True, seed: int = 0, **changes: object) -> Pictures:
    return Pictures(nine[0], nine[1], ("a", "b"), load_settings(**changes), seed, training)


def batches(data: Pictures, batch_size: int = 4, shuffle_seed: int | None = 0, epochs: int = 1) -> list[list[torch.Tensor]]:
    found = []
    load = loader(data, batch_size, shuffle_seed)
    for epoch in range(epochs):
        if shuffle_seed is not None:
            load.batch_sampler.sampler.set_epoch(epoch)
        found += [[part.clone() for part in batch] for batch in load]
    return found


def same(one: list[list[torch.Tensor]], other: list[list[torch.Tensor]]) -> bool:
    return len(one) == len(other) and all(
        torch.equal(a, b) for left, right in zip(one, other, strict=True) for a, b in zip(left, right, strict=True)
    )


def test_a_batch_is_uint8_pictures_their_classes_and_their_rows(nine: tuple[pd.DataFrame, Path]) -> None:
    pictures, targets, items = batches(pictures_of(nine, training=False), 9, None)[0]
    assert pictures.shape == (9, 32, 32, 3)
    assert pictures.dtype == torch.uint8
    assert targets.tolist() == [0, 1, 0, 1, 0, 1, 0, 1, 0]
    assert items.tolist() == list(range(9))


def test_a_class_that_the_model_does_not_know_has_no_index(nine: tuple[pd.DataFrame, Path]) -> None:
    data = Pictures(nine[0], nine[1], ("b",), load_settings(), 0, training=False)
    assert data.targets == [-1, 0, -1, 0, -1, 0, -1, 0, -1]


@pytest.mark.parametrize("workers", [2, 4])
def test_fault_52_any_number_of_workers_gives_the_same_samples(nine: tuple[pd.DataFrame, Path], workers: int) -> None:
    alone = batches(pictures_of(nine, **EVERYTHING), epochs=2)
    assert len(alone) == 2 * 2  # 9 = 4 + 4 + 1, and the last one is dropped
    assert same(alone, batches(pictures_of(nine, workers=workers, **EVERYTHING), epochs=2))


def test_fault_52_augmentations_differ_between_pictures_epochs_and_seeds(tmp_path: Path) -> None:
    one_picture_eight_times = table(tmp_path, {f"p{i}": ("a", noise(32, 0)) for i in range(8)})
    drawn = collections.Counter()
    for seed in (0, 1):
        data = Pictures(one_picture_eight_times, tmp_path, ("a", "b"), load_settings(**EVERYTHING), seed, training=True)
        for epoch in range(3):
            drawn.update(data[epoch, i][0].numpy().tobytes() for i in range(8))
    assert len(drawn) == 2 * 3 * 8


@pytest.mark.parametrize("workers", [0, 2, 4])
def test_fault_52_augmentations_differ_between_workers(tmp_path: Path, workers: int) -> None:
    """Processes that begin with the same random state would show one picture in the same way, once each."""
    one_picture_eight_times = table(tmp_path, {f"p{i}": ("a", noise(32, 0)) for i in range(8)}), tmp_path
    found = batches(pictures_of(one_picture_eight_times, workers=workers, **EVERYTHING), batch_size=2, epochs=2)
    shown = {picture.numpy().tobytes() for pictures, _, _ in found for picture in pictures}
    assert len(shown) == 2 * 8


def test_the_order_depends_on_seed_and_epoch_and_holds_every_picture_once(nine: tuple[pd.DataFrame, Path]) -> None:
    data = pictures_of(nine)
    orders = []
    for seed in (0, 1):
        sampler = loader(data, 4, seed).batch_sampler.sampler
        for epoch in (0, 1):
            sampler.set_epoch(epoch)
            keys = list(sampler)
            assert [key[0] for key in keys] == [epoch] * 9
            orders.append(tuple(key[1] for key in keys))
            assert sorted(orders[-1]) == list(range(9))
    assert len(set(orders)) == 4


@pytest.mark.parametrize("workers", [0, 2])
def test_the_cache_changes_nothing(nine: tuple[pd.DataFrame, Path], workers: int) -> None:
    kept = pictures_of(nine, workers=workers, **EVERYTHING)
    read_each_time = pictures_of(nine, cache_gb=0.0, **EVERYTHING)
    assert kept.cache is not None
    assert read_each_time.cache is None
    assert same(batches(kept, epochs=3), batches(read_each_time, epochs=3))
    assert kept.cached.all()  # what loader processes put there is seen here


def test_a_kept_picture_is_not_changed_by_those_who_use_it(nine: tuple[pd.DataFrame, Path]) -> None:
    data = pictures_of(nine, training=False)
    before = data[0, 3][0].clone()
    load = loader(data, 9)
    for batch, _, _ in load:
        batch.zero_()
    assert torch.equal(data[0, 3][0], before)


def test_a_cache_that_does_not_fit_is_not_made(nine: tuple[pd.DataFrame, Path]) -> None:
    needed_gb = 9 * 32 * 32 * 3 / 2**30
    assert pictures_of(nine, cache_gb=needed_gb).cache is not None
    assert pictures_of(nine, cache_gb=needed_gb * 0.999).cache is None


@pytest.mark.parametrize(("batch_size", "shuffled", "in_batches"), [
    (4, True, [4, 4]),  # batch norm cannot train on the ninth alone
    (4, False, [4, 4, 1]),
    (2, True, [2, 2, 2, 2]),
    (7, True, [7, 2]),
    (9, True, [9]),
    (1, True, [1] * 9),
    (100, True, [9]),
])  # fmt: skip
def test_a_last_single_picture_is_dropped_in_training_only(
    nine: tuple[pd.DataFrame, Path], batch_size: int, shuffled: bool, in_batches: list[int]
) -> None:
    found = batches(pictures_of(nine, training=shuffled), batch_size, 0 if shuffled else None)
    assert [len(batch[0]) for batch in found] == in_batches


# --- several processes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("together", "each"), [(2, 5), (3, 3), (4, 3), (20, 1)])
@pytest.mark.parametrize("shuffled", [True, False])
def test_processes_share_the_pictures_evenly(
    nine: tuple[pd.DataFrame, Path], monkeypatch: pytest.MonkeyPatch, together: int, each: int, shuffled: bool
) -> None:
    load = loader(pictures_of(nine), 1, 0 if shuffled else None)
    sampler = load.batch_sampler.sampler
    whole = [item for _, item in sampler]
    seen: collections.Counter[int] = collections.Counter()
    for process in range(together):
        monkeypatch.setattr(loading, "processes", lambda process=process: (process, together))  # after the loader was made
        items = [item for _, item in sampler]
        assert len(items) == len(sampler) == len(load) == each
        assert items[0] == whole[process % 9]
        seen.update(items)
    assert set(seen) == set(range(9)), "none is left out"
    assert sum(seen.values()) - 9 < together
    assert max(seen.values()) == -(-each * together // 9), "none comes more often than filling up needs"


@pytest.mark.parametrize(("together", "in_batches"), [(1, [4, 4]), (2, [4]), (3, [3])])
def test_a_single_last_picture_is_one_of_its_process(
    nine: tuple[pd.DataFrame, Path], monkeypatch: pytest.MonkeyPatch, together: int, in_batches: list[int]
) -> None:
    load = loader(pictures_of(nine), 4, 0)
    for process in range(together):
        monkeypatch.setattr(loading, "processes", lambda process=process: (process, together))
        assert [len(batch[0]) for batch in load] == in_batches
        assert len(load) == len(in_batches)


@pytest.mark.parametrize(("width_px", "height_px"), [(64, 64), (50, 20), (8, 8), (32, 32), (33, 31)])
def test_resizing_keeps_one_colour_exactly(tmp_path: Path, width_px: int, height_px: int) -> None:
    plain = np.full((height_px, width_px, 3), (13, 77, 251), np.uint8)
    data = Pictures(table(tmp_path, {"p": ("a", plain)}), tmp_path, ("a",), load_settings(), 0, training=False)
    picture = data[0, 0][0]
    assert picture.shape == (32, 32, 3)
    assert (picture == torch.tensor([13, 77, 251], dtype=torch.uint8)).all()


def test_shrinking_by_two_averages_squares_of_four(tmp_path: Path) -> None:
    rgb = noise(64, 5)
    data = Pictures(table(tmp_path, {"p": ("a", rgb)}), tmp_path, ("a",), load_settings(), 0, training=False)
    means = rgb.reshape(32, 2, 32, 2, 3).astype(float).mean(axis=(1, 3))
    assert np.abs(data[0, 0][0].numpy() - means).max() <= 0.5


# --- augmentation ------------------------------------------------------------------------------------------------------


def drawn(rgb: np.ndarray, draws: int = 20, **asked: object) -> list[np.ndarray]:
    asked_for = load_settings(image_px=rgb.shape[0], **asked)
    return [augmented(rgb, asked_for, np.random.default_rng(seed))[0] for seed in range(draws)]


def test_nothing_asked_nothing_changed() -> None:
    assert all(np.array_equal(rgb, noise(33, 1)) for rgb in drawn(noise(33, 1)))


def test_validation_is_never_augmented(nine: tuple[pd.DataFrame, Path]) -> None:
    asked, plain = pictures_of(nine, training=False, **EVERYTHING), pictures_of(nine, training=False)
    assert all(torch.equal(asked[0, i][0], plain[0, i][0]) for i in range(9))


def test_a_flip_is_an_exact_mirror_every_other_time() -> None:
    rgb = noise(33, 1)
    kinds = collections.Counter(
        "same" if np.array_equal(found, rgb) else "mirrored" if np.array_equal(found, rgb[:, ::-1]) else "other"
        for found in drawn(rgb, 400, flip=True)
    )
    assert set(kinds) == {"same", "mirrored"}
    assert 160 < kinds["mirrored"] < 240  # four standard deviations of a fair coin


@pytest.mark.parametrize("asked", [{"zoom": 2.0}, {"rotate_deg": 45.0}, {"light": 0.9}, EVERYTHING], ids=str)
def test_every_augmentation_keeps_shape_and_type_and_does_something(asked: dict[str, object]) -> None:
    rgb = noise(33, 1)
    for found in drawn(rgb, **asked):
        assert found.shape == rgb.shape
        assert found.dtype == np.uint8
        assert found.flags.c_contiguous
    assert sum(not np.array_equal(found, rgb) for found in drawn(rgb, **asked)) >= 19
    assert np.array_equal(rgb, noise(33, 1)), "the picture that was given is the cache's"


def test_zoom_shows_only_what_is_in_the_picture_and_enlarges_up_to_the_factor() -> None:
    # Left half at 0..100 by column, the frame's outermost pixels marked: a zoom must never mirror them in a second time.
    ramp = np.repeat(np.arange(101, dtype=np.uint8)[None, :, None] * 2, 101, axis=0).repeat(3, axis=2)
    factors = []
    for found in drawn(ramp, 60, zoom=2.0):
        row = found[50, :, 0].astype(float)
        assert (np.diff(row) >= 0).all(), "a reflection shows that the zoom looked outside the picture"
        factors.append(200 / (row[-1] - row[0]))
    assert min(factors) > 0.98
    assert 1.8 < max(factors) < 2.05


def test_rotation_is_about_the_centre_and_within_its_limit() -> None:
    rgb = np.zeros((65, 65, 3), np.uint8)
    rgb[31:34, 31:34] = 255  # the centre
    rgb[31:34, 52:55] = (255, 0, 0)  # 21 px to its right
    angles = []
    for found in drawn(rgb, 60, rotate_deg=30.0):
        assert (found[32, 32] == 255).all()
        y, x = np.nonzero((found[..., 0] > 120) & (found[..., 1] < 120))
        assert np.hypot(x.mean() - 32, y.mean() - 32) == pytest.approx(21, abs=0.8)
        angles.append(np.degrees(np.arctan2(y.mean() - 32, x.mean() - 32)))
    assert max(np.abs(angles)) < 31
    assert min(angles) < -20
    assert max(angles) > 20


def test_a_shift_moves_by_up_to_its_share_of_the_side_both_ways_on_both_axes() -> None:
    rgb = np.zeros((101, 101, 3), np.uint8)
    rgb[49:52, 49:52] = 255
    places = []
    for found in drawn(rgb, 80, shift=0.1):
        y, x = np.nonzero(found[..., 0] > 100)
        places.append((x.mean() - 50, y.mean() - 50))
    assert np.abs(places).max() <= 10.1 + 0.6
    assert np.min(places, axis=0).max() < -7
    assert np.max(places, axis=0).min() > 7


def test_a_shear_leans_about_the_centre_by_up_to_its_angle() -> None:
    rgb = np.zeros((65, 65, 3), np.uint8)
    rgb[31:34, 31:34] = 255  # the centre
    rgb[52:55, 31:34] = (255, 0, 0)  # 21 px below it
    leans = []
    for found in drawn(rgb, 80, shear_deg=10.0):
        assert (found[32, 32] == 255).all()
        y, x = np.nonzero((found[..., 0] > 120) & (found[..., 1] < 120))
        assert y.mean() == pytest.approx(53, abs=0.3), "heights stay"
        leans.append(np.degrees(np.arctan2(x.mean() - 32, 21)))
    assert np.abs(leans).max() < 10.6
    assert min(leans) < -7.5
    assert max(leans) > 7.5


def test_points_go_with_the_picture_that_is_moved_leant_turned_and_zoomed() -> None:
    rgb = np.zeros((101, 101, 3), np.uint8)
    rgb[39:42, 59:62] = 255
    chosen = load_settings(image_px=101, shift=0.1, shear_deg=10.0, rotate_deg=15.0, zoom=1.2, flip=True)
    for seed in range(20):
        found, matrix = augmented(rgb, chosen, np.random.default_rng(seed))
        y, x = np.nonzero(found[..., 0] > 100)
        assert matrix @ [60, 40, 1] == pytest.approx([x.mean(), y.mean()], abs=0.6)


def test_a_mirrored_point_is_its_counterpart_and_one_outside_is_unknown() -> None:
    places = np.array([[0.25, 0.5, 1], [0.9, 0.1, 1], [0.5, 1.0, 1], [0.0, 0.0, 0]])  # left, right, nose; and one unknown
    counterparts = np.array([1, 0, 2, 3])
    assert moved(places, np.eye(2, 3), 40, counterparts) == pytest.approx(places)
    mirror = np.array([[-1.0, 0, 39], [0, 1, 0]])
    expected = [[0.1, 0.1, 1], [0.75, 0.5, 1], [0.5, 1.0, 1], [0, 0, 0]]
    assert moved(places, mirror, 40, counterparts) == pytest.approx(np.array(expected))
    to_the_right = np.array([[1.0, 0, 8], [0, 1, 0]])  # by a fifth of the side
    expected = [[0.45, 0.5, 1], [0, 0, 0], [0.7, 1.0, 1], [0, 0, 0]]
    assert moved(places, to_the_right, 40, counterparts) == pytest.approx(np.array(expected))


def test_points_come_with_their_pictures_where_they_are_after_the_warp(tmp_path: Path) -> None:
    """Pictures of 80 x 40 px, black but for two spots, the left one red and the right one green."""
    spots = {"left": (20, 10), "right": (60, 30)}
    rgb = np.zeros((40, 80, 3), np.uint8)
    for channel, (x, y) in enumerate(spots.values()):
        rgb[y - 2 : y + 2, x - 4 : x + 4, channel] = 255
    rows = table(tmp_path, {f"p{i}": ("a", rgb) for i in range(12)})
    places = np.tile([[x / 80, y / 40, 1.0] for x, y in spots.values()], (12, 1, 1))
    asked_for = load_settings(image_px=64, flip=True, zoom=1.1, rotate_deg=10.0, shift=0.05)
    data = Pictures(rows, tmp_path, ("a",), asked_for, 0, True, Points(places, np.array([1, 0])))
    found, _, items, points = batches(data, 12)[0]
    assert items.tolist() != list(range(12)) and points.shape == (12, 2, 3) and points.dtype == torch.float32
    mirrored = 0
    for picture, known in zip(found.numpy(), points.numpy(), strict=True):
        centres = []
        for channel in range(2):
            y, x = np.nonzero(picture[..., channel] > 100)
            centres.append(((x.mean() + 0.5) / 64, (y.mean() + 0.5) / 64))
        swapped = centres[0][0] > centres[1][0]  # the red spot is on the right now
        mirrored += swapped
        for (x, y), point in zip(centres[::-1] if swapped else centres, known, strict=True):
            assert point == pytest.approx([x, y, 1], abs=0.02)
    assert 2 <= mirrored <= 10
    assert len(batches(pictures_of((rows, tmp_path)), 12)[0]) == 3, "without points a batch has three parts"


def test_light_stays_within_its_share() -> None:
    grey = np.full((8, 8, 3), 100, np.uint8)
    values = [int(found[0, 0, 0]) for found in drawn(grey, 200, light=0.2)]
    # gain 0.8 to 1.2 and bias of up to 0.2 * 128, either way
    assert min(values) >= 100 * 0.8 - 25.6 - 1
    assert max(values) <= 100 * 1.2 + 25.6
    assert min(values) < 75
    assert max(values) > 125


# --- chances -----------------------------------------------------------------------------------------------------------


def test_pictures_are_drawn_by_their_chances_anew_in_each_epoch() -> None:
    sampler = Shuffled(1000, 0, np.repeat([0.9 / 10, 0.1 / 990], [10, 990]))
    epochs = []
    for epoch in (0, 1, 0):
        sampler.set_epoch(epoch)
        epochs.append(list(sampler))
    assert epochs[0] == epochs[2] != epochs[1]
    assert len(epochs[0]) == len(sampler) == 1000
    items = [key[1] for key in epochs[0]]
    assert sum(item < 10 for item in items) == pytest.approx(900, abs=40)
    assert len(set(epochs[0])) == 1000, "no key comes twice"
    for item in range(10):
        assert [key[2:] for key in epochs[0] if key[1] == item] == [(), *((n,) for n in range(1, items.count(item)))]


def test_a_picture_that_comes_again_is_augmented_anew(nine: tuple[pd.DataFrame, Path]) -> None:
    data = pictures_of(nine, **EVERYTHING)
    first, again, third = (data[key][0] for key in ((3, 0), (3, 0, 1), (3, 0, 2)))
    assert torch.equal(first, data[3, 0][0])
    assert not torch.equal(first, again)
    assert not torch.equal(again, third)


# --- pictures that are no longer what they were ------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
def test_fault_39_a_picture_altered_since_clean_is_refused(nine: tuple[pd.DataFrame, Path], workers: int) -> None:
    path = nine[1] / "p4.png"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"p4\.png: altered since it was cleaned") as raised:
        batches(pictures_of(nine, workers=workers))
    assert "Traceback" not in str(raised.value)
    assert str(raised.value).count("\n") == 0


@pytest.mark.parametrize("workers", [0, 2])
def test_a_picture_gone_since_clean_is_named(nine: tuple[pd.DataFrame, Path], workers: int) -> None:
    (nine[1] / "p4.png").unlink()
    with pytest.raises(DataError, match=r"p4\.png: cannot be read any more: .*\. Restore it, or run `dvc repro`$") as raised:
        batches(pictures_of(nine, workers=workers))
    assert "Traceback" not in str(raised.value)
