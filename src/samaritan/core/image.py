"""Voxels with a place in the world: images, and label maps of the same grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from samaritan.core.errors import GeometryMismatchError, ImageError, UnknownNameError
from samaritan.core.geometry import Axis, Geometry, axis_number

Window = tuple[float, float]
Colour = tuple[int, int, int]

RGB = ("red", "green", "blue")


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Return a view of an array that cannot be written through."""
    view = array.view()
    view.flags.writeable = False
    return view


@dataclass(frozen=True, eq=False, slots=True)
class Image:
    """An image: ``array`` of (c, i, j, k) on ``geometry``.

    Parameters
    ----------
    array
        (c, i, j, k) integers or floats, any memory order; kept as a read-only view, not copied. For a picture, i is
        the column (x) and j the row (y).
    geometry
        The grid of the last three axes.
    channels
        One name for each channel; ``("red", "green", "blue")`` for colour.
    modality
        DICOM's two-letter code where it is known ("CT", "MR", "US", ...), else empty.
    window
        Centre and width that the file suggests for display, in the units of ``array``.
    source
        Where it was read from, for messages and run reports.

    Raises
    ------
    ImageError
        If the type is not numeric or wider than 64 bits, the array is not four-dimensional or has no channel, a value
        is NaN or infinite, or the number of channel names differs from the number of channels.
    GeometryMismatchError
        If the array's shape is not that of the geometry.
    """

    array: NDArray[Any]
    geometry: Geometry
    channels: tuple[str, ...] = ("intensity",)
    modality: str = ""
    window: Window | None = None
    source: str = ""

    def __post_init__(self) -> None:
        array = np.asarray(self.array)
        if array.ndim != 4 or not len(array) or array.dtype.kind not in "uif" or array.dtype.itemsize > 8:
            raise ImageError(
                got=f"{array.dtype} array of shape {array.shape}",
                wanted="numbers of at most 64 bits, of shape (c, i, j, k) with one channel at least",
            )
        if array.shape[1:] != self.geometry.shape:
            raise GeometryMismatchError(got=f"voxels of shape {array.shape[1:]}", wanted=f"{self.geometry.shape}")
        if len(self.channels) != array.shape[0]:
            raise ImageError(got=f"{array.shape[0]} channels, named {self.channels}", wanted="one name for each")
        if array.dtype.kind == "f":
            require_finite(array)
        object.__setattr__(self, "array", read_only(array))

    @classmethod
    def from_channels(cls, images: Mapping[str, Self]) -> Self:
        """Return images of one case, such as the sequences of an MR, as the channels of one, by name and in order.

        What they agree in is kept: modality and window; and their sources. The type is one that holds all values.

        Raises
        ------
        ImageError
            If there is none, or one has several channels itself.
        GeometryMismatchError
            If one lies on another grid than the first.
        """
        parts = list(images.values())
        if not parts:
            raise ImageError(got="no image", wanted="one at least")
        geometry = parts[0].geometry
        for name, image in images.items():
            geometry.require_match(image.geometry, f"channel '{name}'")
            if len(image.channels) > 1:
                raise ImageError(
                    got=f"channel '{name}' with channels of its own: {', '.join(image.channels)}",
                    wanted="an image of one channel",
                    fix="Choose one of them",
                )
        # As files have it: every channel by itself, i fastest.
        array = np.empty((len(parts), *geometry.shape[::-1]), np.result_type(*(image.array.dtype for image in parts)))
        array = array.transpose(0, 3, 2, 1)
        for channel, image in zip(array, parts, strict=True):
            channel[...] = image.array[0]
        [modality, *others] = {image.modality for image in parts}
        [window, *different] = {image.window for image in parts}
        return cls(
            array,
            geometry,
            tuple(images),
            "" if others else modality,
            None if different else window,
            ", ".join(filter(None, (image.source for image in parts))),
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along i, j, k."""
        return self.geometry.shape

    @property
    def is_2d(self) -> bool:
        """Whether there is one plane only."""
        return self.geometry.is_2d

    @property
    def is_colour(self) -> bool:
        """Whether the channels are red, green and blue."""
        return self.channels == RGB

    def plane(self, axis: Axis, index: int) -> Image:
        """Return one plane as a 2D image; see ``Geometry.plane`` for its axes. A view, not a copy."""
        geometry = self.geometry.plane(axis, index)
        array = take_plane(self.array, axis, index)
        return replace(self, array=array, geometry=geometry)

    def channel(self, name: str) -> Image:
        """Return one channel as an image of its own.

        Raises
        ------
        UnknownNameError
            If there is no channel of that name.
        """
        if name not in self.channels:
            raise UnknownNameError.of(name, kind="channel", known=self.channels)
        at = self.channels.index(name)
        return replace(self, array=self.array[at : at + 1], channels=(name,))


def take_plane(array: NDArray[Any], axis: Axis, index: int) -> NDArray[Any]:
    """Return plane ``index`` along ``axis`` of (..., i, j, k) as (..., a, b, 1): the array of ``Geometry.plane``."""
    at = array.ndim - 3 + axis_number(axis)
    plane: NDArray[Any] = np.moveaxis(array, at, -1)[..., index : index + 1]
    return plane


def require_finite(array: NDArray[Any]) -> None:
    """Raise ``ImageError`` if a value is NaN or infinite; looks at one slab at a time to spare memory."""
    bad = sum(int(slab.size - np.count_nonzero(np.isfinite(slab))) for slab in np.moveaxis(array, -1, 0))
    if bad:
        raise ImageError(
            got=f"{bad} of {array.size} voxels are NaN or infinite",
            wanted="finite values",
            fix="Replace them first, for example with numpy.nan_to_num, if you know what they stand for",
        )


@dataclass(frozen=True, eq=False, slots=True)
class LabelMap:
    """Labelled voxels: ``array`` of (i, j, k) whole numbers on ``geometry``; 0 is background.

    Parameters
    ----------
    array
        (i, j, k), unsigned or non-negative integers (or booleans); kept as a read-only view.
    geometry
        Its grid.
    names
        Name of each label value; values without a name are called "label N".
    colours
        Display colour (red, green, blue; 0 to 255) of label values that have one.

    Raises
    ------
    ImageError
        If the values are not whole and non-negative, a name stands for background, or a colour is none.
    GeometryMismatchError
        If the array's shape is not that of the geometry.
    """

    array: NDArray[Any]
    geometry: Geometry
    names: Mapping[int, str] = field(default_factory=dict)
    colours: Mapping[int, Colour] = field(default_factory=dict)

    def __post_init__(self) -> None:
        array = np.asarray(self.array)
        array = array.astype(np.uint8) if array.dtype == np.bool_ else array  # some libraries hold 255 for true
        if array.dtype.kind not in "ui" or (array.dtype.kind == "i" and array.size and array.min() < 0):
            raise ImageError(got=f"{array.dtype} labels", wanted="whole numbers from 0 up")
        if array.shape != self.geometry.shape:
            raise GeometryMismatchError(got=f"labels of shape {array.shape}", wanted=f"{self.geometry.shape}")
        if any(value < 1 for value in (*self.names, *self.colours)):
            raise ImageError(got=f"names for {sorted(self.names)}", wanted="label values from 1 up (0 is background)")
        odd = [c for c in self.colours.values() if len(c) != 3 or not all(0 <= part <= 255 for part in c)]
        if odd:
            raise ImageError(got=f"colour {odd[0]}", wanted="red, green and blue from 0 to 255")
        object.__setattr__(self, "array", read_only(array))
        object.__setattr__(self, "names", MappingProxyType({int(v): str(n) for v, n in self.names.items()}))
        object.__setattr__(self, "colours", MappingProxyType(dict(self.colours)))

    @classmethod
    def from_masks(
        cls, masks: Mapping[str, NDArray[np.bool_]], geometry: Geometry, *, values: Mapping[str, int] | None = None
    ) -> Self:
        """Return a label map of named masks (i, j, k); where they overlap, the first wins.

        They have ``values`` if there is one for each, else they are numbered from 1 in order.

        Raises
        ------
        ImageError
            If there are more than 65535 masks, or a value beyond.
        GeometryMismatchError
            If a mask is not of the grid's shape.
        """
        known = values if values is not None and masks.keys() <= values.keys() else {}
        numbered = {name: known.get(name, number) for number, name in enumerate(masks, start=1)}
        highest = max(numbered.values(), default=0)
        if highest > np.iinfo(np.uint16).max:
            raise ImageError(got=f"{len(masks)} objects, to {highest}", wanted="at most 65535 in one label map")
        array = np.zeros(geometry.shape, np.uint8 if highest < 256 else np.uint16, order="F")
        for name, mask in masks.items():
            if mask.shape != geometry.shape:
                raise GeometryMismatchError(got=f"mask '{name}' of shape {mask.shape}", wanted=f"{geometry.shape}")
            array[mask.astype(np.bool_, copy=False) & (array == 0)] = numbered[name]
        return cls(array, geometry, {value: name for name, value in numbered.items()})

    @property
    def labels(self) -> tuple[int, ...]:
        """Values that occur, without background, ascending."""
        # Slab by slab in memory order: sorting or widening a whole volume would cost seconds and gigabytes.
        found = {int(v) for slab in np.moveaxis(self.array, -1, 0) for v in np.unique(slab.ravel(order="K"))}
        return tuple(sorted(found - {0}))

    def name(self, value: int) -> str:
        """Return the name of a label value."""
        return self.names.get(value, f"label {value}")

    def mask(self, value: int) -> NDArray[np.bool_]:
        """Return the voxels of one label, (i, j, k)."""
        return np.asarray(self.array == value)
