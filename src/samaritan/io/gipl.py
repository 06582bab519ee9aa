"""GIPL, the format of ITK-SNAP's sample data: read only. A fourth axis holds frames to select from.

The format has a spacing and an origin and no axes: they run to the Left, Posterior and Superior, as ITK takes them.
Numbers are big-endian.

Source: ITK's ``itkGiplImageIO`` (the header's layout, checked against its reader in the tests)
"""

from __future__ import annotations

import io
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samaritan.core.errors import CorruptFileError, UnsupportedFormatError
from samaritan.core.geometry import Geometry
from samaritan.core.image import Image, LabelMap
from samaritan.io.format import ReadOptions
from samaritan.io.frames import absent_as_zeros, as_labels, channel_names, choose_frames
from samaritan.io.itk import positive_spacing
from samaritan.io.streams import open_content, read_array, require_room

_HEADER_BYTES = 256
_TYPES = {7: ">i1", 8: ">u1", 15: ">i2", 16: ">u2", 31: ">u4", 32: ">i4", 64: ">f4", 65: ">f8"}


def read(path: Path, options: ReadOptions) -> Image:
    """Read an image; ``options.select`` picks a frame, or all are channels."""
    array, geometry = _read(path, options)
    return Image(absent_as_zeros(array, path), geometry, channel_names(len(array)), source=str(path))


def read_labels(path: Path, _reference: Geometry | None) -> LabelMap:
    """Read a label map; the format holds no names."""
    array, geometry = _read(path, ReadOptions())
    return as_labels(array[0], geometry, path)


def _read(path: Path, options: ReadOptions) -> tuple[NDArray[Any], Geometry]:
    """Return frames (c, i, j, k) and their grid."""
    with open_content(path) as content:
        raw = content.read(_HEADER_BYTES)
        if len(raw) < _HEADER_BYTES:
            raise CorruptFileError(got=f"{path.name} ends within its header", fix="Copy or download it again")
        *sizes, kind = struct.unpack(">5H", raw[:10])
        i, j, k, frames = (max(n, 1) for n in sizes)  # a plane may say 0 for the axes that it lacks
        if kind not in _TYPES:
            raise UnsupportedFormatError(
                got=f"{path.name} has voxels of type {kind}", wanted=f"one of the types {sorted(_TYPES)}"
            )
        spacing = [float(s) for s in struct.unpack(">3f", raw[10:22])]
        positive_spacing(spacing, path)
        affine = np.diag([*spacing, 1.0])
        affine[:3, 3] = struct.unpack(">3d", raw[204:228])
        geometry = Geometry.from_lps((i, j, k), affine)
        dtype = np.dtype(_TYPES[kind])
        chosen = choose_frames(frames, options, path)
        size = math.prod(geometry.shape) * dtype.itemsize
        needed, start = len(chosen) * size, _HEADER_BYTES + chosen.start * size
        zipped = not isinstance(content, io.BufferedReader)
        require_room(path, needed=needed, held=None if zipped else path.stat().st_size - start)
        content.seek(start)
        array = read_array(content, (*geometry.shape, len(chosen)), dtype, path)
        return np.moveaxis(array, -1, 0), geometry
