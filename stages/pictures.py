"""One decoder for every stage: a picture file -> uint8 RGB (height, width, 3), the right way up.

Grey, palette, 16-bit and CMYK pictures become RGB; transparent ones are laid on white. A JPEG is decoded by the decoder's
own down-scaling (`draft`) when a smaller picture is wanted: it still reads the whole stream, so half a file is still found,
at a third of the cost (`benchmarks/clean.py`).
"""

import hashlib
import io
import warnings
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

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


@dataclass(frozen=True)
class Inspected:
    """What one look at a picture file tells. Sizes are of the picture the right way up."""

    width_px: int
    height_px: int
    infrared: bool
    bytes: int
    sha256: str
    phash: str


def decode(data: bytes, at_least_px: int | None = None, max_pixels: int = MAX_PIXELS) -> tuple[RGB, tuple[int, int]]:
    """A picture's bytes -> (RGB (h, w, 3), (full width, full height) in px), both the right way up.

    With `at_least_px` a JPEG may come back smaller, by a power of two, with no side under `at_least_px`.
    Raises UnreadablePicture: empty, not_an_image, too_large or damaged.
    """
    if not data:
        raise UnreadablePicture("empty_file", "the file has 0 bytes")
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise UnreadablePicture("too_large", f"{width} x {height} px, more than {max_pixels} in all")
            if at_least_px is not None:
                image.draft(None, (at_least_px, at_least_px))
            image.load()
            turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
            rgb = _rgb(ImageOps.exif_transpose(image))
    except UnidentifiedImageError:
        raise UnreadablePicture("not_an_image", f"no image format: starts with {data[:12]!r}") from None
    except UnreadablePicture:
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error, zlib.error, ...
        raise UnreadablePicture("damaged", str(error) or type(error).__name__) from None
    return rgb, ((height, width) if turned else (width, height))


def _rgb(image: Image.Image) -> RGB:
    if image.mode.startswith("I") or image.mode == "F":  # 16 and 32 bits a pixel: PIL's own conversion clips at 255
        grey = np.nan_to_num(np.asarray(image, dtype=np.float64))
        grey = grey / (257.0 if ";16" in image.mode or grey.max(initial=0) > 255 else 1.0)
        return np.repeat(np.clip(np.rint(grey), 0, 255).astype(np.uint8)[..., None], 3, axis=-1)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB"))


def inspect(data: bytes, max_pixels: int = MAX_PIXELS) -> Inspected:
    """Read a picture's bytes once: size, hashes, whether it has colour. Raises UnreadablePicture."""
    rgb, (width, height) = decode(data, _LOOK_PX, max_pixels)
    small = cv2.resize(rgb, (32, 32), interpolation=cv2.INTER_AREA)
    red, green, blue = cv2.split(small)
    chroma = cv2.subtract(cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue))
    return Inspected(
        width_px=width,
        height_px=height,
        infrared=cv2.mean(chroma)[0] < _INFRARED_CHROMA,
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        phash=perceptual_hash(small),
    )


def perceptual_hash(rgb_32: RGB) -> str:
    """The 64-bit pHash of a 32 x 32 RGB picture, hexadecimal: signs of the 8 x 8 lowest cosine terms about their median."""
    terms = cv2.dct(cv2.cvtColor(rgb_32, cv2.COLOR_RGB2GRAY).astype(np.float32))[:8, :8]
    return np.packbits((terms > np.median(terms)).ravel()).tobytes().hex()


def resize(rgb: RGB, width_px: int, height_px: int) -> RGB:
    """(h, w, 3) -> (height_px, width_px, 3): averaging when it shrinks, bilinear when it grows."""
    shrinks = rgb.shape[0] > height_px or rgb.shape[1] > width_px
    return cv2.resize(rgb, (width_px, height_px), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
