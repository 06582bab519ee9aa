"""What all metrics ask of a pair of masks, and where in their array the masks are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samaritan.core.errors import GeometryError, GeometryMismatchError, ImageError

Bools = NDArray[np.bool_]
Block = tuple[slice, ...]


def require_pair(reference: NDArray[Any], prediction: NDArray[Any]) -> None:
    """Refuse what are not two masks of one shape.

    Raises
    ------
    ImageError
        For an array that is not boolean: a label map has a mask for each of its values.
    GeometryMismatchError
        For two shapes.
    """
    for name, mask in (("reference", reference), ("prediction", prediction)):
        require_mask(name, mask)
    if reference.shape != prediction.shape:
        raise GeometryMismatchError(
            got=f"a reference of shape {reference.shape} and a prediction of shape {prediction.shape}",
            wanted="masks on one grid",
            fix="Resample the prediction to the reference's grid first",
        )


def require_mask(name: str, mask: NDArray[Any]) -> None:
    """Refuse an array that is not boolean; ImageError tells its ``name``."""
    if mask.dtype != np.bool_:
        raise ImageError(got=f"a {name} of {mask.dtype}", wanted="a mask of booleans", fix=f"Pass `{name} == 1`")


def require_spacing(spacing_mm: Sequence[float], dimensions: int) -> tuple[float, ...]:
    """Return the size of a voxel along each of so many axes.

    Raises
    ------
    GeometryMismatchError
        If there is not one positive, finite size for each axis.
    """
    spacing = tuple(float(size) for size in spacing_mm)
    if len(spacing) != dimensions or not all(math.isfinite(size) and size > 0 for size in spacing):
        raise GeometryMismatchError(
            got=f"a spacing of {spacing} mm", wanted=f"{dimensions} positive sizes, one for each axis of the masks"
        )
    return spacing


def require_drawable(reference: NDArray[Any]) -> None:
    """Refuse masks that have no surface: GeometryMismatchError for other dimensions than two or three."""
    if reference.ndim not in (2, 3):
        raise GeometryMismatchError(got=f"masks of {reference.ndim} dimensions", wanted="two or three of them")


def require_length(name: str, length_mm: float) -> None:
    """Refuse a length that is none: GeometryError for one that is negative or not a number tells its ``name``."""
    if not length_mm >= 0:
        raise GeometryError(got=f"{name} of {length_mm}", wanted="a length in mm, 0 or more")


def bounds(mask: Bools) -> Block:
    """Return the smallest block that holds ``mask`` (of any dimensions); empty slices if there is nothing in it."""
    block = [slice(None)] * mask.ndim
    # The axis with the longest stride first: it is quick to look along, and what is left is small.
    for axis in np.argsort([-abs(stride) for stride in mask.strides]):
        here = mask[tuple(block)]
        filled = np.flatnonzero(here.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        if not len(filled):
            return (slice(0, 0),) * mask.ndim
        block[axis] = slice(int(filled[0]), int(filled[-1]) + 1)
    return tuple(block)


def common_block(reference: Bools, prediction: Bools) -> Block:
    """Return the smallest block that holds both masks."""
    one, other = bounds(reference), bounds(prediction)
    if one[0].stop == 0 or other[0].stop == 0:
        return one if other[0].stop == 0 else other
    return tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(one, other, strict=True))
