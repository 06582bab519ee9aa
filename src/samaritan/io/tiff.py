"""TIFF and BigTIFF: read only. 1 to 32 bits, floats, grey, colour, palette, any compression of imagecodecs.

The pages of a file may be the slices of a volume, time points, or unrelated pictures, and mostly it does not say: they
are read as a volume of unknown scale on demand only (``volume=True``), or one by one (``select``). The resolution tags
are for printers, as a rule, and are not taken as millimetres. The orientation tag is obeyed, as for other pictures.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tifffile
from numpy.typing import NDArray
from tifffile import COMPRESSION, PHOTOMETRIC

from samaritan.core.errors import CorruptFileError, ImageError, UnsupportedFormatError
from samaritan.core.geometry import Geometry
from samaritan.core.image import RGB, Image, LabelMap
from samaritan.io.format import ReadOptions
from samaritan.io.frames import as_labels, channel_names, choose_frames, drop_alpha, pick_channel
from samaritan.io.notes import with_sidecar
from samaritan.io.streams import require_room

_READABLE = (
    PHOTOMETRIC.MINISWHITE,
    PHOTOMETRIC.MINISBLACK,
    PHOTOMETRIC.RGB,
    PHOTOMETRIC.PALETTE,
    PHOTOMETRIC.YCBCR,  # tifffile gives RGB
)
# What tifffile and its decoders raise on damaged files; imagecodecs' errors are RuntimeErrors.
_DAMAGE = (tifffile.TiffFileError, ValueError, TypeError, KeyError, IndexError, RuntimeError, struct.error)
# Orientation tag: whether to swap rows and columns, then to flip columns (i), then rows (j).
_TURNS = {
    2: (False, True, False),
    3: (False, True, True),
    4: (False, False, True),
    5: (True, False, False),
    6: (True, True, False),
    7: (True, True, True),
    8: (True, False, True),
}


class _Stack(NamedTuple):
    """Pages as they lie in the file, (samples, i, j, pages), and what their tags say of them."""

    array: NDArray[Any]
    photometric: PHOTOMETRIC
    has_alpha: bool
    orientation: int
    palette: NDArray[np.uint16] | None  # (3, colours)


def read(path: Path, options: ReadOptions) -> Image:
    """Read a picture, one page (``options.select``), or all pages as a volume (``options.volume``)."""
    stack = _load(path)
    paged = stack.array.shape[3] > 1
    array = _upright(_choose_pages(stack.array, options, path), stack.orientation)
    array = _as_shown(array, stack)
    if stack.has_alpha and len(array) in (2, 4):
        array = drop_alpha(array, path)
    colour = len(array) == 3 and stack.photometric in (PHOTOMETRIC.RGB, PHOTOMETRIC.YCBCR, PHOTOMETRIC.PALETTE)
    names = RGB if colour else channel_names(len(array))
    image = Image(array, _grid(array), channels=names, source=str(path))
    return image if paged else pick_channel(image, options.select, path)


def read_labels(path: Path, _reference: Geometry | None) -> LabelMap:
    """Read the values of a file (of a palette, the indices) as labels; several pages are a volume."""
    stack = _load(path)
    if len(stack.array) > 1:
        raise ImageError(got=f"{path.name} holds {len(stack.array)} values a pixel", wanted="one number a pixel")
    array = _upright(stack.array, stack.orientation)
    return with_sidecar(as_labels(array[0], _grid(array), path), path)


def _grid(array: NDArray[Any]) -> Geometry:
    i, j, k = array.shape[1:]
    return Geometry((i, j, k), np.eye(4), "pixel")


def _load(path: Path) -> _Stack:
    try:
        with tifffile.TiffFile(path) as tiff:
            if len(tiff.series) != 1:
                raise UnsupportedFormatError(
                    got=f"{path.name} holds {len(tiff.series)} pictures of different sizes",
                    wanted="one picture, or pages of one size",
                    fix="Save the one you mean to a file of its own",
                )
            series = tiff.series[0]
            page = series.keyframe
            _check(series, page, path)
            orientation = page.tags.get("Orientation")
            return _Stack(
                _arranged(series.asarray(), series.axes, path),
                page.photometric,
                has_alpha=bool(page.extrasamples),
                orientation=int(orientation.value) if orientation else 1,
                palette=None if page.colormap is None else np.asarray(page.colormap, np.uint16),
            )
    except _DAMAGE as error:
        raise CorruptFileError(
            got=f"{path.name} cannot be decoded ({error})", fix="Copy or download it again"
        ) from error


def _check(series: Any, page: Any, path: Path) -> None:  # noqa: ANN401  # tifffile's types are not public
    """Refuse what cannot be read, before memory is taken."""
    if page.photometric not in _READABLE or series.dtype is None or series.dtype.kind not in "buif":
        raise UnsupportedFormatError(
            got=f"{path.name} holds {getattr(page.photometric, 'name', page.photometric)} of {series.dtype}",
            wanted="grey, RGB or palette of integers or floats",
            fix="Convert it to RGB or grey first",
        )
    size = path.stat().st_size
    for part in series.pages:
        ends = [start + count for start, count in zip(part.dataoffsets, part.databytecounts, strict=False)]
        if max(ends, default=0) > size:
            raise CorruptFileError(got=f"{path.name} ends before its last pixel", fix="Copy or download it again")
    needed = series.size * series.dtype.itemsize
    # Other ways to pack have no bound that is worth checking: LZW and Zstandard turn kilobytes into gigabytes.
    held = {COMPRESSION.NONE: size, COMPRESSION.ADOBE_DEFLATE: None, COMPRESSION.DEFLATE: None}
    require_room(path, needed=needed, held=held.get(page.compression, needed))


def _arranged(array: NDArray[Any], axes: str, path: Path) -> NDArray[Any]:
    """Return (samples, i, j, pages) of an array with tifffile's axis letters."""
    kept = [n for n, letter in enumerate(axes) if letter in "YX" or array.shape[n] > 1]
    letters = "".join(axes[n] for n in kept)
    array = array.reshape([array.shape[n] for n in kept])
    samples = "S" if "S" in letters else "C"
    pages = [letter for letter in letters if letter not in ("Y", "X", samples)]
    if len(pages) > 1 or "Y" not in letters or "X" not in letters:
        raise UnsupportedFormatError(
            got=f"{path.name} has axes {axes} of {array.shape}", wanted="rows, columns, channels and one more at most"
        )
    for letter in (samples, *pages):
        if letter not in letters:
            letters, array = letters + letter, array[..., np.newaxis]
    if not pages:
        letters, array = letters + "I", array[..., np.newaxis]
    return array.transpose([letters.index(letter) for letter in (samples, "X", "Y", *(pages or "I"))])


def _choose_pages(array: NDArray[Any], options: ReadOptions, path: Path) -> NDArray[Any]:
    if options.volume:
        return array
    count = array.shape[3]
    if count > 1 and options.select is None:
        raise ImageError(
            got=f"{path.name} holds {count} pages",
            wanted="one picture",
            fix="Read them as the slices of a volume (volume=True, --volume), or choose one (select=0, --select 0)",
        )
    page = choose_frames(count, options if count > 1 else ReadOptions(), path).start
    return array[..., page : page + 1]


def _upright(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    swap, flip_i, flip_j = _TURNS.get(orientation, (False, False, False))
    array = array.swapaxes(1, 2) if swap else array
    return array[:, :: -1 if flip_i else 1, :: -1 if flip_j else 1]


def _as_shown(array: NDArray[Any], stack: _Stack) -> NDArray[Any]:
    """Return values that grow with brightness; palettes as 8-bit colours, single bits as 0 and 255."""
    if stack.photometric == PHOTOMETRIC.PALETTE and stack.palette is not None:
        table = (stack.palette >> 8).astype(np.uint8)
        return np.stack([channel[array[0]] for channel in table])
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * np.uint8(255)
    if stack.photometric == PHOTOMETRIC.MINISWHITE and array.dtype.kind == "u":
        return np.iinfo(array.dtype).max - array
    return array
