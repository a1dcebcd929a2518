"""One decoder: a defined RGB picture the right way up, or a word for why there is none. Faults 17 to 19 and 21 to 23."""

import hashlib
import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.fft
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from stages.pictures import RGB, UnreadablePicture, decode, inspect, resize
from tests.picture_helpers import png

AWKWARD = Path(__file__).parent.parent / "../shared/real/awkward_images"
Make = Callable[..., bytes]


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    memory = io.BytesIO()
    image.save(memory, kind, **options)
    return memory.getvalue()


def of(pixels: object, dtype: type = np.uint8) -> Image.Image:
    return Image.fromarray(np.array(pixels, dtype))


def reason_of(data: bytes, **options: int) -> str:
    with pytest.raises(UnreadablePicture) as caught:
        decode(data, **options)
    with pytest.raises(UnreadablePicture) as again:
        inspect(data)
    assert again.value.reason == caught.value.reason
    return caught.value.reason


# Refused -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_fault_17_half_a_jpeg(picture: Make, share: float) -> None:
    jpeg_noise_w200_h150 = picture(1, 200, 150, "JPEG")
    half = jpeg_noise_w200_h150[: int(len(jpeg_noise_w200_h150) * share)]
    assert reason_of(half) == "damaged"
    assert reason_of(half, at_least_px=16) == "damaged"  # by the decoder's own down-scaling too


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "GIF", "BMP"])
def test_fault_17_half_of_other_formats(picture: Make, kind: str) -> None:
    whole = picture(1, 60, 40, kind)
    assert decode(whole)[1] == (60, 40)
    assert reason_of(whole[: len(whole) // 2]) in ("damaged", "not_an_image")


def test_fault_18_zero_bytes() -> None:
    assert reason_of(b"") == "empty_file"


@pytest.mark.parametrize("data", [b"<!DOCTYPE html><html></html>", b"{}", b"\0" * 100, b"\xff\xd8", b"GIF89a"])
def test_fault_19_what_is_no_picture(data: bytes) -> None:
    assert reason_of(data) in ("not_an_image", "damaged")
    assert data[:1] == b"\xff" or data[:1] == b"G" or reason_of(data) == "not_an_image"


def test_fault_21_256_megapixels_are_refused_before_allocation(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    big = tmp_path / "png_black_w16000_h16000.png"
    big.write_bytes(png(16_000, 16_000, 1, 0, bytes(16_000 * 2_001)))  # a valid file of some 140 KB
    assert big.stat().st_size < 200_000
    code = f"""
import resource
from pathlib import Path
from stages.pictures import UnreadablePicture, decode, inspect
data = Path({str(big)!r}).read_bytes()
size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + 100_000_000,) * 2)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for look in (decode, inspect):
    try: look(data)
    except UnreadablePicture as error: print(error.reason, error, sep="|")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert out[:2] == ["too_large|16000 x 16000 px, more than 128000000 in all"] * 2
    record_property("says", out[0].replace("|", ": "))
    assert int(out[2]) < 20_000  # KB; the picture would be 750,000


def test_fault_21_the_limit_itself_is_allowed_and_a_pixel_more_refused(picture: Make) -> None:
    assert decode(picture("red", 8, 6), max_pixels=48)[1] == (8, 6)
    assert reason_of_limit(picture("red", 8, 6), 47) == "too_large"
    assert reason_of_limit(png(2**31 - 1, 2**31 - 1, 8, 2, b""), 10**9) == "too_large"


def reason_of_limit(data: bytes, max_pixels: int) -> str:
    with pytest.raises(UnreadablePicture) as caught:
        inspect(data, max_pixels)
    return caught.value.reason


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM"]),
    places=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=6),
    keep=st.floats(0, 1),
)
@pytest.mark.filterwarnings("error")
def test_altered_bytes_give_a_picture_or_a_reason(picture: Make, kind: str, places: list[tuple[int, int]], keep: float) -> None:
    data = bytearray(picture(3, 20, 14, kind))
    for place, value in places:
        data[place % len(data)] = value
    data = data[: int(len(data) * max(keep, 0.05))] if keep < 0.5 else data
    try:
        found = inspect(bytes(data), max_pixels=10**6)
    except UnreadablePicture as error:
        assert error.reason in ("empty_file", "not_an_image", "too_large", "damaged")
    else:
        assert found.width_px * found.height_px <= 10**6


# Turned --------------------------------------------------------------------------------------------------------------


def quadrants(width: int, height: int) -> RGB:
    """Red and green above blue and grey."""
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[: height // 2, : width // 2, 0] = 255
    rgb[: height // 2, width // 2 :, 1] = 255
    rgb[height // 2 :, : width // 2, 2] = 255
    rgb[height // 2 :, width // 2 :] = 90
    return rgb


# How the stored pixels come from the upright ones, for each EXIF orientation.
STORED = {
    1: lambda rgb: rgb,
    2: lambda rgb: rgb[:, ::-1],
    3: lambda rgb: rgb[::-1, ::-1],
    4: lambda rgb: rgb[::-1],
    5: lambda rgb: rgb.transpose(1, 0, 2),
    6: lambda rgb: np.rot90(rgb),
    7: lambda rgb: rgb[::-1, ::-1].transpose(1, 0, 2),
    8: lambda rgb: np.rot90(rgb, -1),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_fault_22_every_exif_orientation_is_turned_upright(orientation: int, kind: str) -> None:
    upright = quadrants(12, 8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    data = saved(Image.fromarray(np.ascontiguousarray(STORED[orientation](upright))), kind, exif=exif, **options)
    rgb, size = decode(data)
    assert size == (12, 8)
    assert np.array_equal(rgb, upright)


@pytest.mark.parametrize("at_least", [None, 32])
def test_fault_22_a_jpeg_on_its_side(at_least: int | None) -> None:
    upright = quadrants(192, 128)
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved(Image.fromarray(np.ascontiguousarray(np.rot90(upright))), "JPEG", exif=exif, quality=95)
    rgb, size = decode(data, at_least)
    assert size == (192, 128)
    height, width, _ = rgb.shape
    assert (width, height) == ((192, 128) if at_least is None else (48, 32))
    corners = [rgb[y, x] for y in (height // 4, 3 * height // 4) for x in (width // 4, 3 * width // 4)]
    assert np.abs(np.array(corners, int) - [[255, 0, 0], [0, 255, 0], [0, 0, 255], [90, 90, 90]]).max() <= 4
    found = inspect(data)
    assert (found.width_px, found.height_px) == (192, 128)


# Defined pixels ------------------------------------------------------------------------------------------------------


def palette_image() -> Image.Image:
    image = of([[0, 1], [2, 1]]).convert("P")
    image.putdata([0, 1, 2, 1])
    image.putpalette([10, 20, 30, 200, 100, 50, 1, 2, 3])
    return image


def colours16(*channels: int) -> bytes:
    """A PNG of 16 bits a channel; OpenCV's order is BGR(A)."""
    order = [2, 1, 0, 3][: len(channels)]
    pixels = np.full((2, 2, len(channels)), [channels[place] for place in order], np.uint16)
    return cv2.imencode(".png", pixels)[1].tobytes()


FOUR = [[0, 1], [2, 1]]
DEFINED = {
    "grey": (saved(of([[0, 90], [200, 255]])), [[0] * 3, [90] * 3, [200] * 3, [255] * 3]),
    "one_bit": (saved(of([[0, 255], [255, 0]]).convert("1")), [[0] * 3, [255] * 3, [255] * 3, [0] * 3]),
    "grey_16": (
        saved(of([[0, 257 * 90], [257 * 200, 65535]], np.uint16)),
        [[0] * 3, [90] * 3, [200] * 3, [255] * 3],
    ),
    "grey_16_rounded": (saved(of([[128, 129], [385, 65535]], np.uint16)), [[0] * 3, [1] * 3, [1] * 3, [255] * 3]),
    "grey_16_tiff": (saved(of([[0, 257], [514, 65535]], np.uint16), "TIFF"), [[0] * 3, [1] * 3, [2] * 3, [255] * 3]),
    "grey_32_float": (
        saved(of([[np.nan, -5.0], [90.4, 254.6]], np.float32), "TIFF"),
        [[0] * 3, [0] * 3, [90] * 3, [255] * 3],
    ),
    "rgb_16": (colours16(257 * 200, 257 * 7, 0), [[200, 7, 0]] * 4),
    "palette": (saved(palette_image()), [[10, 20, 30], [200, 100, 50], [1, 2, 3], [200, 100, 50]]),
    "palette_one_clear": (
        saved(palette_image(), transparency=1),
        [[10, 20, 30], [255, 255, 255], [1, 2, 3], [255, 255, 255]],
    ),
    "palette_half_clear": (
        saved(palette_image(), transparency=bytes([255, 0, 255])),
        [[10, 20, 30], [255, 255, 255], [1, 2, 3], [255, 255, 255]],
    ),
    "gif": (saved(palette_image(), "GIF"), [[10, 20, 30], [200, 100, 50], [1, 2, 3], [200, 100, 50]]),
    "alpha": (
        saved(of([[[255, 0, 0, 255], [255, 0, 0, 0]], [[0, 0, 0, 51], [10, 20, 30, 255]]])),
        [[255, 0, 0], [255, 255, 255], [204, 204, 204], [10, 20, 30]],
    ),
    "grey_alpha": (saved(Image.merge("LA", (of([[0, 0], [50, 9]]), of([[255, 0], [255, 0]])))),
                   [[0] * 3, [255] * 3, [50] * 3, [255] * 3]),
    "cmyk_tiff": (
        saved(Image.fromarray(np.array([[[0, 255, 255, 0], [255, 0, 0, 0]], [[0, 0, 0, 255], [0, 0, 0, 0]]], np.uint8),
                              "CMYK"), "TIFF"),
        [[255, 0, 0], [0, 255, 255], [0, 0, 0], [255, 255, 255]],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DEFINED)
@pytest.mark.filterwarnings("ignore:.*mode.*:DeprecationWarning", "error::RuntimeWarning")
def test_fault_23_every_kind_of_pixel_has_defined_rgb(name: str) -> None:
    data, expected = DEFINED[name]
    rgb, size = decode(data)
    assert rgb.dtype == np.uint8
    assert size == (2, 2)
    assert rgb.reshape(4, 3).tolist() == expected
    assert inspect(data).width_px == 2


def test_fault_23_a_cmyk_jpeg(picture: Make) -> None:
    rgb, _ = decode(picture("red", 16, 8, "JPEG", "CMYK", quality=100))
    assert rgb.shape == (8, 16, 3)
    assert np.abs(rgb.astype(int) - [255, 0, 0]).max() <= 2


# Sizes, hashes, colour ------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(width=st.integers(1, 300), height=st.integers(1, 300), at_least=st.integers(1, 130))
def test_a_smaller_jpeg_is_never_smaller_than_asked(picture: Make, width: int, height: int, at_least: int) -> None:
    rgb, size = decode(picture("blue", width, height, "JPEG"), at_least)
    assert size == (width, height)
    assert rgb.shape[0] >= min(at_least, height)
    assert rgb.shape[1] >= min(at_least, width)
    if min(width, height) >= 2 * at_least:
        assert rgb.shape[0] <= height // 2 + 1


def test_inspect_tells_the_files_facts(picture: Make) -> None:
    data = picture("red", 8, 6)
    found = inspect(data)
    assert (found.width_px, found.height_px, found.bytes, found.infrared) == (8, 6, len(data), False)
    assert found.sha256 == hashlib.sha256(data).hexdigest()
    assert inspect(picture("grey", 8, 6)).infrared is True
    assert inspect(picture("red", 8, 6, "JPEG", "L")).infrared is True


def test_the_perceptual_hash_is_the_signs_of_the_lowest_cosine_terms() -> None:
    rgb = smooth(5, 32)
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(float)
    lowest = scipy.fft.dctn(grey, norm="ortho")[:8, :8].ravel()
    bits = "".join("1" if term > np.median(lowest) else "0" for term in lowest)
    assert inspect(saved(Image.fromarray(rgb))).phash == f"{int(bits, 2):016x}"


def smooth(seed: int, side: int) -> RGB:
    return resize(np.random.default_rng(seed).integers(0, 256, (16, 16, 3)).astype(np.uint8), side, side)


def bits_apart(a: str, b: str) -> int:
    return (int(a, 16) ^ int(b, 16)).bit_count()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_look_alikes_have_near_hashes_and_others_far_ones(seed: int) -> None:
    original = smooth(seed, 128)
    plain = inspect(saved(Image.fromarray(original))).phash
    squeezed = inspect(saved(Image.fromarray(resize(original, 100, 90)), "JPEG", quality=80)).phash
    other = inspect(saved(Image.fromarray(smooth(seed + 20_000, 128)))).phash
    assert len(plain) == 16
    assert bits_apart(plain, squeezed) <= 8
    assert bits_apart(plain, other) >= 12


def test_resize_averages_when_it_shrinks() -> None:
    rgb = np.zeros((2, 4, 3), np.uint8)
    rgb[:, :2, 0], rgb[0, 2:, 1] = 100, 40
    assert resize(rgb, 2, 1).tolist() == [[[100, 0, 0], [0, 20, 0]]]
    assert resize(rgb[:1, :1], 3, 2).tolist() == [[[100, 0, 0]] * 3] * 2


# Real ----------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not AWKWARD.is_dir(), reason="../shared/real/awkward_images is not here")
@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("african_elephants_cmyk.jpg", (2048, 1536, False)),
        ("african_elephants_truncated_file.jpg", "damaged"),
        ("african_elephants_with_exif_orientation.jpg", (2048, 1536, False)),
        ("american_black_bear.jpg", (2048, 1536, True)),
        ("blank.jpg", (2048, 1536, False)),
        ("truncated_2.jpg", "damaged"),
    ],
)
def test_awkward_real_pictures(name: str, outcome: object) -> None:
    try:
        found = inspect((AWKWARD / name).read_bytes())
    except UnreadablePicture as error:
        assert error.reason == outcome
    else:
        assert (found.width_px, found.height_px, found.infrared) == outcome


@pytest.mark.skipif(not AWKWARD.is_dir(), reason="../shared/real/awkward_images is not here")
def test_awkward_cmyk_and_turned_are_the_same_picture() -> None:
    cmyk, turned = (
        resize(decode((AWKWARD / f"african_elephants_{name}.jpg").read_bytes(), 64)[0], 64, 48)
        for name in ("cmyk", "with_exif_orientation")
    )
    assert np.abs(cmyk.astype(int) - turned).mean() < 15
