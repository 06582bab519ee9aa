"""NumPy archives of the CVPR "Foundation models for biomedical image segmentation" form: read only.

``imgs`` is a volume (D, H, W), that is (k, j, i), a colour volume (D, H, W, 3), or a picture (H, W) or (H, W, 3), that
is (j, i[, c]); ``gts``, if there, holds labels without the colour axis; ``spacing``, if there, is in millimetres along
**x, y, z**, that is i, j, k: the reverse of the arrays' order, because the files are made from SimpleITK's
``GetArrayFromImage`` and ``GetSpacing``. The form holds no direction; it is taken as SimpleITK's own (LPS). Without
spacing the scale is unknown.

Source: MedSAM's ``pre_CT_MR.py``; https://huggingface.co/datasets/junma/CVPR-BiomedSegFM. Other keys (``boxes``,
``recist``) may be pickled and are not read.
"""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from samaritan.core.errors import CorruptFileError, GeometryError, ImageError, UnsupportedFormatError
from samaritan.core.geometry import Geometry
from samaritan.core.image import RGB, Image, LabelMap
from samaritan.io.format import ReadOptions
from samaritan.io.frames import as_labels, pick_channel
from samaritan.io.streams import require_room


def read(path: Path, options: ReadOptions) -> Image:
    """Read ``imgs``; ``options.select`` picks a colour."""
    with _Archive(path) as archive:
        array = _to_ijk(archive.load("imgs"), path)
        names = RGB if len(array) == 3 else ("intensity",)
        image = Image(array, _geometry(archive, array.shape[1:]), channels=names, source=str(path))
        return pick_channel(image, options.select, path)


def read_labels(path: Path, _reference: Geometry | None) -> LabelMap:
    """Read ``gts``, or the ``segs`` of a submission; the form holds no names."""
    with _Archive(path) as archive:
        array = archive.load("gts" if "gts" in archive else "segs")
        if array.ndim not in (2, 3):
            raise ImageError(got=f"{path.name}: labels of shape {array.shape}", wanted="(D, H, W) or (H, W)")
        array = array.T.reshape(array.T.shape + (1,) * (3 - array.ndim))
        return as_labels(array, _geometry(archive, array.shape), path)


def _to_ijk(array: NDArray[Any], path: Path) -> NDArray[Any]:
    """Return ``imgs`` as (c, i, j, k)."""
    if array.ndim not in (2, 3, 4) or (array.ndim == 4 and array.shape[-1] != 3):
        raise ImageError(
            got=f"{path.name}: imgs of shape {array.shape}", wanted="(D, H, W), (D, H, W, 3), (H, W) or (H, W, 3)"
        )
    coloured = array.ndim == 4 or (array.ndim == 3 and array.shape[-1] == 3)
    turned = array.T if coloured else array.T[np.newaxis]
    return turned.reshape(turned.shape + (1,) * (4 - turned.ndim))


def _geometry(archive: _Archive, shape: tuple[int, ...]) -> Geometry:
    i, j, k = shape
    if "spacing" not in archive:
        return Geometry((i, j, k), np.eye(4), "pixel")
    spacing = np.asarray(archive.load("spacing"), dtype=np.float64).ravel()
    if spacing.size not in (2, 3) or not (np.isfinite(spacing).all() and spacing.min() > 0):
        raise GeometryError(
            got=f"{archive.path.name}: spacing {spacing.tolist()}", wanted="two or three positive numbers"
        )
    x, y, z = (*spacing, 1.0)[:3]
    return Geometry.from_lps((i, j, k), np.diag([x, y, z, 1.0]))


class _Archive:
    """An open archive whose members are measured by their headers before they are loaded, and never unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except zipfile.BadZipFile as error:
            raise CorruptFileError(got=f"{path.name} is no whole archive ({error})", fix="Copy it again") from error
        self._members = {name.removesuffix(".npy"): name for name in self._zip.namelist()}

    def __enter__(self) -> _Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def __contains__(self, key: str) -> bool:
        return key in self._members

    def load(self, key: str) -> NDArray[Any]:
        """Return one array."""
        if key not in self:
            raise UnsupportedFormatError(
                got=f"{self.path.name} holds {', '.join(sorted(self._members)) or 'nothing'}, but no '{key}'",
                wanted="an archive with imgs, and perhaps gts and spacing",
            )
        try:
            with self._zip.open(self._members[key]) as content:
                require_room(self.path, needed=self._claim(content, key))
            with self._zip.open(self._members[key]) as content:
                array: NDArray[Any] = npy.read_array(content, allow_pickle=False)
        except (ValueError, EOFError, zipfile.BadZipFile, NotImplementedError) as error:
            raise CorruptFileError(got=f"{self.path.name}: '{key}' cannot be read ({error})") from error
        return array

    def _claim(self, content: Any, key: str) -> int:  # noqa: ANN401  # zipfile's stream has no public type
        """Return how many bytes the header of a member claims."""
        version = npy.read_magic(content)
        read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read_header(content)
        if dtype.hasobject or dtype.kind not in "buif":
            raise UnsupportedFormatError(
                got=f"{self.path.name}: '{key}' holds {dtype}", wanted="numbers", fix="Save it as integers or floats"
            )
        return math.prod(shape) * dtype.itemsize
