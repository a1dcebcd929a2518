"""One decoder for every stage: a picture file -> uint8 RGB (height, width, 3), the right way up.

Grey, palette, 16-bit and CMYK pictures become RGB; transparent ones are laid on white. A JPEG is decoded by the decoder's
own down-scaling (`draft`) when a smaller picture is wanted: it still reads the whole stream, so half a file is still found,
at a third of the cost (`benchmarks/clean.py`).
"""

import hashlib
import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from stages.files import DataError, sha256_bytes

Image.MAX_IMAGE_PIXELS = None  # the limit is `max_pixels`, checked here before anything is allocated
MAX_PIXELS = 128_000_000
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")  # no others: some start programs, as EPS does
_LOOK_PX = 64  # what `inspect` decodes to, at least: enough for a hash of 32 x 32 and for colour
_INFRARED_CHROMA = 4.0  # mean difference between the channels, of 255, below which a picture has no colour

RGB = NDArray[Any]  # uint8 (height, width, 3); OpenCV promises no element type


class UnreadablePicture(Exception):
    """Why a file gives no picture: `reason` is a word for the rejects table, the text says more."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class LostPicture(DataError):
    """A picture that is not as `clean` found it. From a loader process the message comes wrapped in a traceback: peel it."""

    def __init__(self, message: str) -> None:
        super().__init__(message.rpartition(f"{type(self).__name__}: ")[2].strip())


@dataclass(frozen=True)
class Inspected:
    """What one look at a picture file tells. Sizes are of the picture the right way up."""

    width_px: int
    height_px: int
    infrared: bool
    bytes: int
    sha256: str
    phash: str


def decode(
    data: bytes, at_least_px: int | Callable[[int, int], int] | None = None, max_pixels: int = MAX_PIXELS
) -> tuple[RGB, tuple[int, int]]:
    """A picture's bytes -> (RGB (h, w, 3), (full width, full height) in px), both the right way up.

    With `at_least_px`, a number or a function of the two full sides in either order, a JPEG may come back smaller, by a power
    of two, with no side under it. Raises UnreadablePicture: empty, not_an_image, too_large or damaged.
    """
    if not data:
        raise UnreadablePicture("empty_file", "the file has 0 bytes")
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise UnreadablePicture("too_large", f"{width} x {height} px, more than {max_pixels} in all")
            if at_least_px is not None:
                side = at_least_px(width, height) if callable(at_least_px) else at_least_px
                image.draft(None, (side, side))
            image.load()
            turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)  # not before: loading turns a TIFF
            ImageOps.exif_transpose(image, in_place=True)  # or it copies
            rgb = _rgb(image)
    except UnidentifiedImageError:
        raise UnreadablePicture("not_an_image", f"no image format: starts with {data[:12]!r}") from None
    except UnreadablePicture:
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error, zlib.error, ...
        raise UnreadablePicture("damaged", str(error) or type(error).__name__) from None
    return rgb, ((height, width) if turned else (width, height))


def read_picture(path: Path, sha256: str, at_least_px: int | None = None) -> RGB:
    """A picture as `clean` found it, uint8 (h, w, 3) RGB; a JPEG perhaps smaller, with no side under `at_least_px`.

    Raises LostPicture for a file that is gone, damaged or altered since.
    """
    try:
        data = path.read_bytes()
        if sha256_bytes(data) != sha256:
            raise LostPicture(f"{path}: altered since it was cleaned (sha256 differs). Restore it, or run `dvc repro`")
        return decode(data, at_least_px)[0]
    except (OSError, UnreadablePicture) as error:
        raise LostPicture(f"{path}: cannot be read any more: {error}. Restore it, or run `dvc repro`") from None


def cut(rgb: RGB, width_px: float, box_xyxy_px: ArrayLike) -> RGB:
    """What lies in a box, at least one pixel. The box is in px of the picture at its own size, `width_px` wide; `rgb` may be
    a smaller copy."""
    x_min, y_min, x_max, y_max = np.asarray(box_xyxy_px, dtype=float) * (rgb.shape[1] / width_px)
    left, top = min(int(x_min), rgb.shape[1] - 1), min(int(y_min), rgb.shape[0] - 1)
    return rgb[top : max(top + 1, round(y_max)), left : max(left + 1, round(x_max))]


def at_least_for(side_px: int, width_px: float, height_px: float, box_xyxy_px: ArrayLike) -> int:
    """The shorter side in px that a picture has to be decoded at, so that the shorter side of the box has `side_px`."""
    x_min, y_min, x_max, y_max = np.asarray(box_xyxy_px, dtype=float)
    return int(np.ceil(side_px * min(width_px, height_px) / max(1.0, min(x_max - x_min, y_max - y_min))))


def _rgb(image: Image.Image) -> RGB:
    if image.mode.startswith("I") or image.mode == "F":  # 16 and 32 bits a pixel: PIL's own conversion clips at 255
        grey = np.nan_to_num(np.asarray(image, dtype=np.float64))
        grey = grey / (257.0 if ";16" in image.mode or grey.max(initial=0) > 255 else 1.0)
        return np.repeat(np.clip(np.rint(grey), 0, 255).astype(np.uint8)[..., None], 3, axis=-1)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def inspect(data: bytes, max_pixels: int = MAX_PIXELS) -> Inspected:
    """Read a picture's bytes once: size, hashes, whether it has colour. Raises UnreadablePicture."""
    rgb, (width, height) = decode(data, _LOOK_PX, max_pixels)
    infrared, phash = colourless_and_hash(rgb)
    return Inspected(width, height, infrared, len(data), hashlib.sha256(data).hexdigest(), phash)


def colourless_and_hash(rgb: RGB) -> tuple[bool, str]:
    """Whether a picture, uint8 (h, w, 3), has no colour, and its 64-bit perceptual hash."""
    small = cv2.resize(rgb, (32, 32), interpolation=cv2.INTER_AREA)
    red, green, blue = cv2.split(small)
    chroma = cv2.subtract(cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue))
    return cv2.mean(chroma)[0] < _INFRARED_CHROMA, perceptual_hash(small)


def perceptual_hash(rgb_32: RGB) -> str:
    """The 64-bit pHash of a 32 x 32 RGB picture, hexadecimal: signs of the 8 x 8 lowest cosine terms about their median."""
    terms = cv2.dct(cv2.cvtColor(rgb_32, cv2.COLOR_RGB2GRAY).astype(np.float32))[:8, :8]
    return np.packbits((terms > np.median(terms)).ravel()).tobytes().hex()


def jpeg(rgb: RGB, quality: int = 95, subsampling: str = "4:4:4") -> bytes:
    """A JPEG file of uint8 (h, w, 3). Colour at full resolution, 4:4:4, does not bleed over an edge that was cut or drawn."""
    memory = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(rgb)).save(memory, "JPEG", quality=quality, subsampling=subsampling)
    return memory.getvalue()


def resize(rgb: RGB, width_px: int, height_px: int) -> RGB:
    """(h, w, 3) -> (height_px, width_px, 3): averaging when it shrinks, bilinear when it grows."""
    shrinks = rgb.shape[0] > height_px or rgb.shape[1] > width_px
    return cv2.resize(rgb, (width_px, height_px), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
