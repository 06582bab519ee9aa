"""Whether a file that was just written says what it was given."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from samaritan.core.errors import SamaritanError, WriteError
from samaritan.core.geometry import Geometry
from samaritan.core.image import Image, LabelMap
from samaritan.io.format import Format, ReadOptions
from samaritan.io.notes import one_line


def verify(value: Image | LabelMap, path: Path, form: Format) -> None:
    """Read ``path`` back and compare: grid in the world, every voxel, label names.

    Equal voxels on an equal grid have equal centroids and volumes, so those need no check of their own. A picture
    format drops the millimetres of an image (its writer warns of it); then the shape is compared.

    Raises
    ------
    WriteError
        If the file cannot be read back, or differs.
    """
    try:
        back = _read_back(value, path, form)
    except (SamaritanError, OSError, EOFError) as error:
        raise _failure(path, f"it cannot be read back: {error}") from error
    if not _same_grid(value, back.geometry):
        raise _failure(path, f"it reads back on {back.geometry} instead of {value.geometry}")
    planes = zip(np.moveaxis(value.array, -1, 0), np.moveaxis(back.array, -1, 0), strict=True)
    different = sum(np.count_nonzero(ours != theirs) for ours, theirs in planes)
    if different:
        raise _failure(path, f"{different} voxels read back with other values")
    if isinstance(value, LabelMap) and isinstance(back, LabelMap):
        _check_names(value, back, path)


def _read_back(value: Image | LabelMap, path: Path, form: Format) -> Image | LabelMap:
    if isinstance(value, LabelMap) and form.read_labels is not None:
        return form.read_labels(path, value.geometry)
    return form.read(path, ReadOptions())


def _check_names(value: LabelMap, back: LabelMap, path: Path) -> None:
    """Names of labels that occur must be there; blank ones are none, and line breaks may have become spaces."""
    wanted = {v: one_line(value.names[v]) for v in value.labels if v in value.names}
    lost = {v: name for v, name in wanted.items() if name and one_line(back.names.get(v, "")) != name}
    if lost:
        raise _failure(path, f"label names are lost: {lost}")


def _same_grid(value: Image | LabelMap, back: Geometry) -> bool:
    if value.geometry.matches(back):
        return True
    without_scale = isinstance(value, Image) and value.geometry.unit == "mm" and back.unit == "pixel"
    return without_scale and value.geometry.shape == back.shape


def _failure(path: Path, why: str) -> WriteError:
    return WriteError(
        got=f"{path.name} did not come out as it was written: {why}",
        fix="Nothing was kept. Check the disk, or write another format (.nii.gz)",
    )
