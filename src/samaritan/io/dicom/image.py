"""A DICOM file, folder or zip to an image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydicom.multival import MultiValue

from samaritan.core.errors import InconsistentSeriesError
from samaritan.core.geometry import Geometry
from samaritan.core.image import RGB, Image, Window
from samaritan.io.dicom.pixels import (
    is_colour,
    is_inverted,
    places_of,
    read_values,
    rescale_of,
    stored_range,
    value_type,
)
from samaritan.io.dicom.series import choose_series, choose_slices, find_series
from samaritan.io.dicom.slices import Slice, group_value, stack
from samaritan.io.format import ReadOptions
from samaritan.io.streams import require_room


def read(path: Path, options: ReadOptions) -> Image:
    """Return the image behind ``path``: a DICOM file, or a folder or zip of them.

    A series with positions becomes a volume in millimetres: i is the column, j the row, k the slice along the normal
    (row × column), whatever the files are called. A picture (radiograph, ultrasound, secondary capture) has the unit
    "pixel" even where it knows its pixel spacing: a grid in millimetres would also claim a direction in the patient,
    which it does not know. Values are rescaled (HU for CT) and whole where the rescale leaves them whole, else float32;
    colour comes as RGB. Film (CR, DX, MG, ...) of MONOCHROME1 is turned to look like MONOCHROME2. Padding stays.

    Raises
    ------
    InconsistentSeriesError
        If there are several series or volumes and no choice, or slices that make no regular grid.
    UnsupportedFormatError
        If there is no DICOM image.
    CorruptFileError
        If a file cannot be parsed or decompressed.
    UnknownNameError
        If the chosen series or frame does not exist.
    """
    series = choose_series(find_series(path), options.series, path)
    slices = choose_slices(series, options.select, path)
    geometry = grid_of(slices, f"series {series.number}")
    _require_same_kind(slices, f"series {series.number}")
    data = slices[0].header.data
    channels = RGB if is_colour(data) else ("intensity",)
    size = int(np.prod(geometry.shape, dtype=object)) * len(channels) * value_type(slices).itemsize
    require_room(path, needed=size, held=size)
    return Image(
        read_values(slices),
        geometry,
        channels,
        modality=str(data.get("Modality") or ""),
        window=_window(slices[len(slices) // 2]),
        source=str(path),
    )


def grid_of(slices: Sequence[Slice], what: str) -> Geometry:
    """Return the grid of sorted slices; that of a picture where there is no position."""
    if slices[0].position is None:
        return Geometry.picture(*slices[0].size)
    return stack(slices, what)


def _require_same_kind(slices: Sequence[Slice], what: str) -> None:
    kinds = {
        (str(s.header.data.get("PhotometricInterpretation")), int(s.header.data.get("SamplesPerPixel") or 1))
        for s in slices
    }
    if len(kinds) > 1:
        raise InconsistentSeriesError(got=f"{what} mixes {sorted(kinds)}", wanted="one photometric interpretation")


def _window(item: Slice) -> Window | None:
    """Return the first window that a slice suggests, in the units of its values; None where there is none."""
    places = places_of(item)
    if is_colour(item.header.data):
        return None
    values = [group_value(places, "FrameVOILUTSequence", name) for name in ("WindowCenter", "WindowWidth")]
    centre, width = (v[0] if isinstance(v, MultiValue) else v for v in values)
    if centre is None or width is None or not np.isfinite([float(centre), float(width)]).all() or float(width) <= 0:
        return None
    if is_inverted(item.header.data):
        low, high = (v * rescale_of(item).slope + rescale_of(item).intercept for v in stored_range(item.header.data))
        return (low + high - float(centre), float(width))
    return (float(centre), float(width))
