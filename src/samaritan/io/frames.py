"""Channels, frames along a fourth axis, and voxels that are to be labels."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samaritan.core.errors import ImageError, UnknownNameError
from samaritan.core.geometry import Geometry
from samaritan.core.image import Image, LabelMap
from samaritan.io.format import ReadOptions


class LossWarning(UserWarning):
    """Something that a file held, or that was to be written, was left out on purpose."""


def drop_alpha(array: NDArray[Any], path: Path) -> NDArray[Any]:
    """Return (c, i, j, k) without its last channel, and warn unless that was opaque everywhere."""
    opaque = np.iinfo(array.dtype).max if array.dtype.kind in "ui" else 1
    if (array[-1] != opaque).any():
        warnings.warn(f"{path.name}: its transparency (alpha) is dropped", LossWarning, stacklevel=2)
    return array[:-1]


def channel_names(count: int) -> tuple[str, ...]:
    """Return names for channels of which a file names none: "intensity", or "channel 0" and so on."""
    return ("intensity",) if count == 1 else tuple(f"channel {n}" for n in range(count))


def pick_channel(image: Image, select: str | int | None, path: Path) -> Image:
    """Return the one channel that ``select`` (a name, or an index from 0) picks; all of them if it is None.

    Raises
    ------
    UnknownNameError
        If there is no such channel.
    """
    return image if select is None else image.channel(image.channels[_choose(image.channels, select, path)])


def _choose(names: Sequence[str], select: str | int, path: Path) -> int:
    """Return the index that ``select`` (a name, or an index from 0) picks among ``names``.

    Raises
    ------
    UnknownNameError
        If nothing is there by that name or index.
    """
    if isinstance(select, str) and select in names:
        return list(names).index(select)
    if str(select).isdecimal() and int(select) < len(names):
        return int(select)
    shown = names if len(names) <= 20 else (*names[:3], "...", names[-1])
    known = f"{', '.join(shown)}, or 0 to {len(names) - 1}"
    raise UnknownNameError(got=f"{path.name} has no channel or time point '{select}'", wanted=known)


def choose_frames(count: int, options: ReadOptions, path: Path) -> range:
    """Return which of ``count`` volumes along a fourth axis to read: one, or all where they are channels.

    Raises
    ------
    ImageError
        If there are several and none is chosen: whether they are time points or sequences, a file does not say.
    UnknownNameError
        If the chosen one does not exist.
    """
    if options.select is not None:
        chosen = _choose([f"frame {n}" for n in range(count)], options.select, path)
        return range(chosen, chosen + 1)
    if count > 1 and not options.as_channels:
        raise ImageError(
            got=f"{path.name} holds {count} volumes (time points or sequences)",
            wanted="one volume",
            fix=f"Choose one: select=0 (--select 0), up to {count - 1}. Or, if they are sequences of one scan, read "
            "them as channels: as_channels=True (segment --channels average)",
        )
    return range(count)


def absent_as_zeros(array: NDArray[Any], path: Path) -> NDArray[Any]:
    """Return channels (c, i, j, k) with zeros in those that are NaN throughout, and warn of them.

    So some programs write a sequence that was not acquired. Where nothing else is there, it stays as it is.
    """
    absent = [n for n, values in enumerate(array) if np.isnan(values.flat[0]) and np.isnan(values).all()]
    if len(absent) in (0, len(array)):
        return array
    warnings.warn(f"{path.name}: channels {absent} are NaN throughout, read as 0", LossWarning, stacklevel=2)
    filled = array.copy(order="K")
    filled[absent] = 0
    return filled


def as_labels(array: NDArray[Any], geometry: Geometry, path: Path) -> LabelMap:
    """Return the label map of voxels (i, j, k) of any type of number.

    Raises
    ------
    ImageError
        If a value is not whole, is negative, or exceeds 2^32 - 1: then these are no labels.
    """
    if array.dtype.kind == "b":
        return LabelMap(array, geometry)
    low, high = (array.min(), array.max()) if array.size else (0, 0)
    whole = array.dtype.kind in "ui" or bool(np.isfinite([low, high]).all() and (array == np.floor(array)).all())
    if not whole or low < 0 or high >= 2**32:
        raise ImageError(
            got=f"{path.name} holds {array.dtype} values from {low:g} to {high:g}",
            wanted="labels: whole numbers from 0 up",
            fix="This looks like an image: open it with samaritan.read (without --labels)",
        )
    return LabelMap(array.astype(label_type(int(high)), copy=False), geometry)


def label_type(highest: int) -> type[np.unsignedinteger[Any]]:
    """Return the smallest unsigned type that holds label values up to ``highest``.

    Raises
    ------
    ImageError
        If that is more than 32 bits: no format here holds such labels.
    """
    if highest >= 2**32:
        raise ImageError(got=f"label {highest}", wanted=f"at most {2**32 - 1}", fix="Renumber the labels")
    return np.uint8 if highest < 2**8 else np.uint16 if highest < 2**16 else np.uint32
