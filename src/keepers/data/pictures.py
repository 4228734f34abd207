"""Pictures: bytes to pixels."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps

_MAGIC = ((b"\xff\xd8", "JPEG"), (b"\x89PNG", "PNG"))
_COLOURLESS = ("1", "L", "LA", "I", "I;16", "I;16B", "I;16L", "F")
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
_PHOTOGRAPHS = ("JPEG", "MPO", "WEBP")  # the TIFF decoder turns its pictures upright by itself
_ON_THEIR_SIDE = (5, 6, 7, 8)
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")


class BadPictureError(Exception):
    """One picture cannot be decoded; the text says why."""


def _open(data: bytes | None) -> Image.Image:
    if not data:
        raise BadPictureError("the picture is missing")
    formats = next(((name,) for magic, name in _MAGIC if data.startswith(magic)), _FORMATS)
    try:
        return Image.open(io.BytesIO(data), formats=formats)
    except Exception as error:  # decoders raise whatever they like on damaged bytes
        raise BadPictureError(_reason(error)) from None


def _reason(error: Exception) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return "not a picture in a known format"
    return f"{error}" or type(error).__name__


def _upright(picture: Image.Image) -> Image.Image:
    if picture.format not in _PHOTOGRAPHS:
        return picture
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:  # damaged notes on a photograph leave it as it lies
        return picture


def _lies_on_its_side(picture: Image.Image) -> bool:
    if picture.format not in _PHOTOGRAPHS:
        return False
    try:
        return picture.getexif().get(ExifTags.Base.Orientation) in _ON_THEIR_SIDE
    except Exception:  # as in `_upright`
        return False


def header(data: bytes | None) -> tuple[int, int, int]:
    """(channels, height, width) of an encoded picture: 1 channel where it is grey, else 3.

    A photograph counts as its camera was held.

    Raises:
        BadPictureError: the bytes are no picture.
    """
    picture = _open(data)
    height, width = picture.height, picture.width
    if _lies_on_its_side(picture):
        height, width = width, height
    return (1 if picture.mode in _COLOURLESS else 3, height, width)


def decode(data: bytes | None, size: tuple[int, int], channels: int) -> npt.NDArray[np.uint8]:
    """Pixels (height, width, channels) of an encoded picture, photographs upright.

    Shrinking by a whole factor averages blocks; any other change of size is bilinear.

    Raises:
        BadPictureError: the bytes are no picture, or a damaged one.
    """
    picture = _open(data)
    try:
        picture.load()
        return pixels(_upright(picture), size, channels)
    except Exception as error:  # decoders raise whatever they like on damaged bytes
        raise BadPictureError(_reason(error)) from None


def pixels(picture: Image.Image, size: tuple[int, int], channels: int) -> npt.NDArray[np.uint8]:
    """Pixels (height, width, channels) of an open picture, resized where its size differs.

    Numbers of 16 bits are divided by 256; floats are taken as in [0, 1] where none is over 1, else
    as in [0, 255].

    Raises:
        BadPictureError: numbers that are beyond these ranges, or would all be black.
    """
    if picture.mode.startswith("I") or picture.mode == "F":
        picture = Image.fromarray(_in_bytes(np.asarray(picture)))
    mode = "L" if channels == 1 else "RGB"
    if picture.mode != mode:
        picture = picture.convert(mode)
    height, width = size
    if (picture.height, picture.width) != (height, width):
        shrinks = picture.height % height == 0 and picture.width % width == 0
        method = Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR
        picture = picture.resize((width, height), method)
    return np.asarray(picture).reshape(height, width, channels)


def _in_bytes(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    low, high = float(values.min()), float(values.max())
    floats = values.dtype.kind == "f"
    if not (low >= 0 and high <= (255 if floats else 65535)):  # nor is NaN
        raise BadPictureError(
            f"it holds {values.dtype} numbers from {low:g} to {high:g}; save it with 8 bits, or "
            "floats in [0, 1]"
        )
    if floats:
        return (values * (255 if high <= 1 else 1)).round().astype(np.uint8)
    if 0 < high < 256:
        raise BadPictureError(
            f"it holds 16-bit numbers, none over {high:g}: it would be black. Save it with 8 bits"
        )
    return (values.astype(np.int64) >> 8).astype(np.uint8)


def png(value: bytes | npt.NDArray[Any] | None) -> bytes:
    """A PNG of an encoded picture, or of pixels (channels, height, width).

    Raises:
        BadPictureError: the bytes are no picture.
    """
    picture = image(value) if isinstance(value, np.ndarray) else _upright(_open(value))
    if picture.mode not in ("L", "RGB", "RGBA", "P"):
        channels = 1 if picture.mode in _COLOURLESS else 3
        shown = pixels(picture, (picture.height, picture.width), channels)
        picture = Image.fromarray(shown[:, :, 0] if channels == 1 else shown)
    buffer = io.BytesIO()
    try:
        picture.save(buffer, format="PNG")
    except Exception as error:  # decoders raise whatever they like on damaged bytes
        raise BadPictureError(_reason(error)) from None
    return buffer.getvalue()


def image(values_CHW: npt.NDArray[Any]) -> Image.Image:
    """An 8-bit picture of pixels (channels, height, width); other numbers are stretched."""
    values = values_CHW
    if values.dtype != np.uint8:
        low, high = float(values.min()), float(values.max())
        values = ((values - low) * (255 / max(high - low, 1e-12))).round().astype(np.uint8)
    if values.shape[0] in (3, 4):
        return Image.fromarray(np.ascontiguousarray(values[:3].transpose(1, 2, 0)))
    return Image.fromarray(np.ascontiguousarray(values[0]))
