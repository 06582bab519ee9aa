"""Samples out of a data set for models that find classes: whole planes with a class for each pixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samaritan.adapt import placement
from samaritan.adapt.census import Looks
from samaritan.core.geometry import axis_number
from samaritan.core.image import Image
from samaritan.data import Case, read_image, read_objects
from samaritan.data.synthesis.artefacts import ARTEFACTS
from samaritan.infer.intensity import IntensityMap
from samaritan.infer.lru import ByteLRU
from samaritan.infer.planes import viewing_axis
from samaritan.models.letterbox import Letterbox

Array = NDArray[Any]

_KEPT_BYTES = 1 << 30  # of cases, in each process that makes batches
_ANY = 0.3  # of samples: any plane of any case, whether it has a class or not
_ARTEFACTS = {
    "contrast": 0.3, "gamma": 0.4, "bias_field": 0.2, "blur": 0.15, "low_resolution": 0.15, "noise": 0.3,
}  # fmt: skip  # and how often each befalls a sample


@dataclass(frozen=True, eq=False)
class Sheets:
    """The planes of one case.

    ``greys`` is uint8 (planes, rows, columns) or with colours as a last axis; ``classes`` (planes, rows, columns) uint8
    has 0 for background and n for the nth class; ``having`` says in which planes each class (by its name) is.
    """

    greys: Array
    classes: Array
    having: Mapping[str, Array]

    @property
    def nbytes(self) -> int:
        """Memory that it holds."""
        return int(self.greys.nbytes + self.classes.nbytes)

    def plane(self, index: int, slices: int) -> Array:
        """Return a plane, (rows, columns, 3) uint8: with its neighbours as colours if it has none of its own."""
        if self.greys.ndim == 4:
            return np.asarray(self.greys[index])
        around = np.clip(np.arange(-(slices // 2), slices // 2 + 1) + index, 0, len(self.greys) - 1)
        seen = np.moveaxis(self.greys[around], 0, -1)
        return np.repeat(seen, 3, axis=2) if slices == 1 else seen


@dataclass(frozen=True)
class Sample:
    """One training picture with a class for each pixel."""

    picture: Array  # uint8 (side, side, 3)
    classes: Array  # uint8 (side, side)
    valid: Array  # bool (side, side): not padding


def read_sheets(root: Path, case: Case, looks: Looks, classes: Sequence[str]) -> Sheets:
    """Return the planes of a case, across the axis that it is looked at along; where objects overlap, the last counts.

    Raises
    ------
    SamaritanError
        If the case cannot be read.
    """
    image = read_image(root, case)
    along = axis_number(viewing_axis(image.geometry))
    axis = "ijk"[along]
    drawn = np.zeros(image.shape, np.uint8)
    for item in read_objects(root, case, image.geometry):
        if looks.wants(item) and item.name in classes:
            drawn[item.mask] = 1 + classes.index(item.name)
    planes = np.moveaxis(drawn, along, 0).swapaxes(1, 2)
    shown = IntensityMap.of(image, looks.card, window=looks.window)
    greys = np.stack([_grey(shown(image.plane(axis, index))) for index in range(len(planes))])  # type: ignore[arg-type]
    having = {name: np.flatnonzero((planes == number).any(axis=(1, 2))) for number, name in enumerate(classes, start=1)}
    return Sheets(greys, np.ascontiguousarray(planes), having)


class SheetSampler:
    """Draws samples of a data set: mostly a class first, each as often, then a case and a plane that has it.

    Parameters
    ----------
    root, cases, looks
        What is drawn from, and how it is shown.
    classes
        Names, in the order of their numbers.
    having
        A ``Census``'s ``cases``.
    slices
        Slices that are seen of each plane.
    mirror
        Whether samples may be mirrored: not where labels tell left from right.
    """

    def __init__(
        self, root: Path, cases: Sequence[Case], looks: Looks, classes: Sequence[str],
        having: Mapping[str, Sequence[int]], *, slices: int, mirror: bool,
    ) -> None:  # fmt: skip
        self._root, self._cases, self._looks, self._classes = root, cases, looks, tuple(classes)
        self._having, self._slices, self._mirror = having, slices, mirror
        self._readable = sorted({number for numbers in having.values() for number in numbers})
        self._kept: ByteLRU[int, Sheets] = ByteLRU(_KEPT_BYTES)

    def draw(self, side: int, rng: np.random.Generator) -> Sample:
        """Draw one sample of ``side`` x ``side`` pixels."""
        if rng.random() < _ANY:
            sheets = self._sheets(self._readable[rng.integers(len(self._readable))])
            index = int(rng.integers(len(sheets.greys)))
        else:
            name = self._classes[rng.integers(len(self._classes))]
            numbers = self._having[name]
            sheets = self._sheets(numbers[int(rng.integers(len(numbers)))])
            there = sheets.having[name]  # empty where all of it lies under other objects
            index = int(there[rng.integers(len(there))]) if len(there) else int(rng.integers(len(sheets.greys)))
        return _sample(sheets.plane(index, self._slices), sheets.classes[index], side, rng, mirror=self._mirror)

    def _sheets(self, number: int) -> Sheets:
        sheets = self._kept.get(number)
        if sheets is None:
            sheets = read_sheets(self._root, self._cases[number], self._looks, self._classes)
            self._kept.put(number, sheets, nbytes=sheets.nbytes)
        return sheets


def _grey(plane: Image) -> Array:
    """Return a plane as it is seen, uint8 (rows, columns), or (rows, columns, 3) if it has colours."""
    values = np.rint(plane.array[..., 0]).astype(np.uint8).transpose(2, 1, 0)
    same = (values == values[..., :1]).all()
    return np.ascontiguousarray(values[..., 0] if same else values)


def _sample(picture: Array, classes: Array, side: int, rng: np.random.Generator, *, mirror: bool) -> Sample:
    """Return a plane turned a little, bent and spoilt, about where it lies in the frame at inference."""
    letterbox = Letterbox.fit((picture.shape[1], picture.shape[0]), side=side, multiple=side)
    matrix = placement.nearly(letterbox, rng, mirror=mirror)
    where = placement.sources(matrix, side, rng)
    seen = placement.shown(picture, matrix, where)
    valid = placement.nearest(np.ones(classes.shape, np.uint8), where) > 0
    for name, share in _ARTEFACTS.items():
        if rng.random() < share:
            seen = np.clip(ARTEFACTS.get(name)(seen, rng), 0, 255)
    seen[~valid] = 0.0
    return Sample(np.rint(seen).astype(np.uint8), placement.nearest(classes, where), valid)
