"""FreeSurfer's MGH and MGZ: read only. A fourth axis holds frames to select from.

A file whose ``goodRASFlag`` is 0 states no orientation; it is taken as FreeSurfer does: 1 mm, coronal slices, first
axis to the Left.

Source: https://surfer.nmr.mgh.harvard.edu/fswiki/FsTutorial/MghFormat
"""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.freesurfer.mghformat import MGHHeader
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from samaritan.core.errors import CorruptFileError, GeometryError
from samaritan.core.geometry import Geometry
from samaritan.core.image import Image, LabelMap
from samaritan.io.format import ReadOptions
from samaritan.io.frames import absent_as_zeros, as_labels, channel_names, choose_frames
from samaritan.io.streams import open_content, read_array, require_room

_HEADER_BYTES = 284
_TYPES = {0: ">u1", 1: ">i4", 3: ">f4", 4: ">i2", 10: ">u2"}


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
        try:
            header = MGHHeader.from_fileobj(io.BytesIO(raw), check=False)
            i, j, k, frames = (int(n) for n in header["dims"])
            affine = np.array(header.get_affine(), dtype=np.float64)
        except (HeaderDataError, ValueError) as error:
            raise CorruptFileError(got=f"{path.name} has a damaged header ({error})") from error
        dtype = np.dtype(_TYPES[int(header["type"])])
        spacing = [float(s) for s in header["delta"]]
        if not min(spacing) > 0:
            raise GeometryError(got=f"{path.name} has spacing {spacing}", wanted="positive numbers")
        geometry = Geometry((i, j, k), affine)
        chosen = choose_frames(frames, options, path)
        size = math.prod(geometry.shape) * dtype.itemsize
        needed, start = len(chosen) * size, _HEADER_BYTES + chosen.start * size
        zipped = not isinstance(content, io.BufferedReader)
        require_room(path, needed=needed, held=None if zipped else path.stat().st_size - start)
        content.seek(start)
        array = read_array(content, (*geometry.shape, len(chosen)), dtype, path)
        return np.moveaxis(array, -1, 0), geometry
