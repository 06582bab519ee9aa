"""PNG, JPEG and BMP.

Pictures are turned as their EXIF orientation says, because every viewer shows them so and prompts are given by eye.
Transparency is dropped with a warning, palettes become colours, CMYK becomes RGB. A picture has no scale: its unit is
"pixel".

A label map is written as PNG of one channel, 8 or 16 bits, whose values are the labels (so that any program reads
them), with a JSON sidecar for names, colours and, for a slice of a scan, its place in the world.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import PIL.Image
import PIL.ImageOps
from numpy.typing import NDArray

from samaritan.core.errors import CorruptFileError, ImageError, ResourceError, UnsupportedFormatError, WriteError
from samaritan.core.geometry import Geometry
from samaritan.core.image import RGB, Colour, Image, LabelMap
from samaritan.io.format import ReadOptions, WriteOptions
from samaritan.io.frames import LossWarning, as_labels, drop_alpha, label_type, pick_channel
from samaritan.io.notes import Notes, rows, with_sidecar, write_sidecar
from samaritan.io.streams import require_room

_FORMATS = ("PNG", "JPEG", "BMP")
_GREY = {"1": "L", "L": "L", "LA": "LA", "I": "I", "F": "F", "I;16": "I;16", "I;16B": "I;16"}
_PNG_HEADER = 26


def read(path: Path, options: ReadOptions) -> Image:
    """Read a picture of one or three channels; ``options.select`` picks one."""
    array = _decode(path)
    names = RGB if len(array) == 3 else ("intensity",)
    image = Image(array, Geometry.picture(*array.shape[1:3]), channels=names, source=str(path))
    return pick_channel(image, options.select, path)


def read_labels(path: Path, _reference: Geometry | None) -> LabelMap:
    """Read the values of a grey picture, or the indices of a palette, as labels.

    Raises
    ------
    ImageError
        If it holds colours.
    UnsupportedFormatError
        If it is a JPEG, whose values are not those that were saved.
    """
    with _open(path) as picture:
        if picture.format == "JPEG":
            raise UnsupportedFormatError(got=f"{path.name} is a JPEG, which does not keep label values", wanted="a PNG")
    array = _decode(path, indices=True)
    if len(array) == 3 and (array == array[:1]).all():
        array = array[:1]
    if len(array) > 1:
        raise ImageError(got=f"{path.name} holds colours", wanted="one number a pixel", fix="Save it as a grey PNG")
    labels = as_labels(array[0], Geometry.picture(*array.shape[1:3]), path)
    palette = _palette(path)
    used = {value: palette[value] for value in labels.labels if value in palette}
    return with_sidecar(replace(labels, colours=used), path)


def write_image(image: Image, path: Path, _options: WriteOptions) -> None:
    """Write a PNG of 8 or 16 bits; millimetres are lost, with a warning."""
    _require_picture(image.geometry, path)
    if image.array.dtype not in (np.uint8, np.uint16) or len(image.array) not in (1, 3):
        raise WriteError(
            got=f"{path.name}: {len(image.array)} channels of {image.array.dtype}",
            wanted="1 or 3 channels of 8 or 16 bits, unsigned",
            fix="Write .nii.gz, .nrrd or .mha, which hold any numbers",
        )
    if image.geometry.unit == "mm":
        warnings.warn(f"{path.name}: a PNG holds no millimetres; they are left out", LossWarning, stacklevel=2)
    pixels = image.array[..., 0].T
    _encode(pixels if len(image.array) == 3 else pixels[..., 0], path)


def write_labels(labels: LabelMap, path: Path, _options: WriteOptions) -> None:
    """Write a PNG of label values, and a sidecar."""
    _require_picture(labels.geometry, path)
    highest = int(labels.array.max())
    if highest >= 2**16:
        raise WriteError(got=f"{path.name}: label {highest}", wanted="at most 65535 in a PNG", fix="Write .nii.gz")
    _encode(labels.array[..., 0].T.astype(label_type(highest)), path)
    place = None if labels.geometry.unit == "pixel" else rows(labels.geometry.affine)
    write_sidecar(path, replace(Notes.of(labels), affine=place))


def _require_picture(geometry: Geometry, path: Path) -> None:
    if path.suffix.lower() != ".png":
        raise WriteError(got=f"{path.name}", wanted="a name that ends in .png", fix="JPEG and BMP are only read")
    if not geometry.is_2d:
        raise WriteError(
            got=f"a volume of {geometry.shape[2]} slices cannot be a PNG",
            wanted="one plane",
            fix="Write .nii.gz, .nrrd or .mha, or take one plane of it",
        )


def _encode(pixels: NDArray[Any], path: Path) -> None:
    path.write_bytes(imagecodecs.png_encode(np.ascontiguousarray(pixels), level=1))


def _open(path: Path) -> PIL.Image.Image:
    """Open a picture without decoding it; refuse one that is too large or of another format."""
    try:
        with warnings.catch_warnings():
            # Pillow's warning comes at half of its limit; the limit itself, an error, is the one that holds here.
            warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)
            picture = PIL.Image.open(path, formats=_FORMATS)
    except PIL.Image.DecompressionBombError as error:
        raise ResourceError(got=f"{path.name}: {error}", fix="Cut it into tiles, or save it as TIFF") from error
    except (PIL.UnidentifiedImageError, ValueError, SyntaxError) as error:  # Pillow raises all three
        raise CorruptFileError(got=f"{path.name} is no whole picture", fix="Copy or download it again") from error
    return picture


def _decode(path: Path, *, indices: bool = False) -> NDArray[Any]:
    """Return (c, i, j, 1) of a picture; ``indices`` asks for the numbers of a palette or of single bits."""
    with _open(path) as picture:
        width, height = picture.size
        require_room(path, needed=(claim := width * height * 8), held=claim)
        try:
            pixels = _pixels(picture, path, indices=indices)
        except (OSError, SyntaxError, ValueError, imagecodecs.PngError) as error:  # Pillow raises the first three
            raise CorruptFileError(got=f"{path.name} cannot be decoded ({error})", fix="Copy it again") from error
    channels = pixels[..., np.newaxis] if pixels.ndim == 2 else pixels
    array = channels.T[..., np.newaxis]
    return drop_alpha(array, path) if len(array) in (2, 4) else array


def _pixels(picture: PIL.Image.Image, path: Path, *, indices: bool) -> NDArray[Any]:
    """Return (rows, columns[, channels])."""
    if picture.format == "PNG" and (deep := _deep_colour(path)) is not None:
        return deep
    upright = PIL.ImageOps.exif_transpose(picture)
    if indices and upright.mode == "P":
        return np.asarray(upright)
    grey_or_colour = np.asarray(_plain(upright, path))
    return grey_or_colour > 0 if indices and upright.mode == "1" else grey_or_colour


def _deep_colour(path: Path) -> NDArray[Any] | None:
    """Return the pixels of a PNG of 16 bits and several channels, which Pillow would cut to 8; else None.

    Such a PNG is not turned by EXIF: it comes from no camera.
    """
    with path.open("rb") as content:
        header = content.read(_PNG_HEADER)
    depth, kind = header[24], header[25]
    if depth != 16 or kind == 0:
        return None
    pixels: NDArray[Any] = imagecodecs.png_decode(path.read_bytes())
    return pixels


def _plain(picture: PIL.Image.Image, path: Path) -> PIL.Image.Image:
    """Return the picture in grey or RGB, with alpha if it has any."""
    if picture.mode in _GREY:
        return picture.convert(_GREY[picture.mode])
    transparent = "A" in picture.getbands() or "transparency" in picture.info
    if picture.mode == "CMYK":
        warnings.warn(f"{path.name}: CMYK is turned to RGB without a colour profile", LossWarning, stacklevel=2)
    return picture.convert("RGBA" if transparent else "RGB")


def _palette(path: Path) -> dict[int, Colour]:
    """Return the colours of a palette but the background's; none where there is no palette."""
    with _open(path) as picture:
        flat = (picture.getpalette() or [])[3:] if picture.mode == "P" else []
    return {n // 3 + 1: (flat[n], flat[n + 1], flat[n + 2]) for n in range(0, len(flat) - 2, 3)}
