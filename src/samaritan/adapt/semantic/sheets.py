"""Samples out of a data set for models that find classes: whole planes with a class for each pixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from samaritan.adapt.census import Looks
from samaritan.core.geometry import axis_number
from samaritan.core.image import Image
from samaritan.data import Case, read_image, read_objects
from samaritan.data.synthesis import smooth_noise
from samaritan.data.synthesis.artefacts import ARTEFACTS
from samaritan.infer.intensity import IntensityMap
from samaritan.infer.lru import ByteLRU
from samaritan.infer.planes import viewing_axis
from samaritan.models.letterbox import Letterbox

Array = NDArray[Any]

_KEPT_BYTES = 1 << 30  # of cases, in each process that makes batches
_ANY = 0.3  # of samples: any plane of any case, whether it has a class or not
_TURN, _SCALE, _STRETCH, _SHIFT = 0.15, 0.12, 0.06, 0.08  # deviations: radians, logarithms, share of the frame
_BENT_SHARE, _BEND = 0.4, 0.025  # of samples that are bent, by up to so much of their side
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
    """Return a plane turned a little, bent and spoilt, where it lies in the frame at inference."""
    matrix = _placement((picture.shape[1], picture.shape[0]), side, rng, mirror=mirror)
    columns, rows = _sources(matrix, side, rng)
    shrink = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    smooth = cv2.GaussianBlur(picture, (0, 0), 0.5 / shrink) if shrink < 0.8 else picture
    seen = cv2.remap(smooth, columns, rows, cv2.INTER_LINEAR).astype(np.float32)
    valid = cv2.remap(np.ones(classes.shape, np.uint8), columns, rows, cv2.INTER_NEAREST) > 0
    drawn = cv2.remap(classes, columns, rows, cv2.INTER_NEAREST)
    for name, share in _ARTEFACTS.items():
        if rng.random() < share:
            seen = np.clip(ARTEFACTS.get(name)(seen, rng), 0, 255)
    seen[~valid] = 0.0
    return Sample(np.rint(seen).astype(np.uint8), drawn, valid)


def _placement(size: tuple[int, int], side: int, rng: np.random.Generator, *, mirror: bool) -> Array:
    """Return the 2 x 3 affine from the plane, ``size`` pixels wide and high, to the frame."""
    letterbox = Letterbox.fit(size, side=side, multiple=side)
    scale = np.array(letterbox.scale) * np.exp(rng.normal(0, _SCALE) + rng.normal(0, _STRETCH, 2))
    if mirror:
        scale = scale * rng.choice([-1.0, 1.0], 2)
    turn = rng.normal(0, _TURN)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    linear = rotation @ np.diag(scale)
    target = np.array(letterbox.content) / 2 + rng.normal(0, _SHIFT * side, 2)
    return np.concatenate([linear, (target - linear @ (np.array(size) / 2))[:, None]], axis=1)


def _sources(matrix: Array, side: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return where in the plane each pixel of the frame comes from, columns and rows (side, side); now and then bent.

    Pixel centres are half a pixel from the edges that ``matrix`` is of.
    """
    rows, columns = (axis + np.float32(0.5) for axis in np.mgrid[0:side, 0:side].astype(np.float32))
    if rng.random() < _BENT_SHARE:
        amount, grain = np.float32(rng.uniform(0, _BEND) * side), side * rng.uniform(0.15, 0.4)
        columns = columns + amount * smooth_noise((side, side), grain, rng)
        rows = rows + amount * smooth_noise((side, side), grain, rng)
    inverse = cv2.invertAffineTransform(matrix).astype(np.float32)
    x, y = (row[0] * columns + row[1] * rows + row[2] - np.float32(0.5) for row in inverse)
    return x, y
