"""Which objects of two label maps are the same: instances as integers, 0 where there is none.

Label maps are of any dimensions. ``matches`` does the work once; what the metrics of instances ask is in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from samaritan.core.errors import GeometryMismatchError, ImageError

Floats = NDArray[np.float64]
Labels = NDArray[np.integer]


@dataclass(frozen=True, eq=False, slots=True)
class Overlaps:
    """The IoU of each reference's instance with each predicted one, (r, p); ``predicted`` (p,) are their labels."""

    iou: Floats
    predicted: NDArray[np.int64]

    def matched(self, *, least_iou: float) -> Floats:
        """Return the IoU (m,) of the pairs that count as found: one to one, of an IoU of at least ``least_iou``.

        Of all ways to pair them one with the most pairs, and of these one with the highest IoU.
        """
        # An allowed pair is worth more than all that the IoU of others could add up to.
        allowed = self.iou >= least_iou
        worth = np.where(allowed & (self.iou > 0), self.iou + min(self.iou.shape), 0)
        from scipy.optimize import linear_sum_assignment  # noqa: PLC0415 - it takes a third of a second

        rows, columns = linear_sum_assignment(worth, maximize=True)
        found = worth[rows, columns] > 0
        return np.asarray(self.iou[rows, columns][found])


def overlaps(reference: Labels, prediction: Labels) -> Overlaps:
    """Return how the instances of two label maps overlap.

    Raises
    ------
    ImageError
        For arrays that are not integers, or negative labels.
    GeometryMismatchError
        For arrays of two shapes.
    """
    for name, labels in (("reference", reference), ("prediction", prediction)):
        if not np.issubdtype(labels.dtype, np.integer) or (labels.size and labels.min() < 0):
            raise ImageError(got=f"a {name} of {labels.dtype}", wanted="instances as integers, 0 where there is none")
    if reference.shape != prediction.shape:
        raise GeometryMismatchError(
            got=f"a reference of shape {reference.shape} and a prediction of shape {prediction.shape}",
            wanted="label maps on one grid",
        )
    first, rows = np.unique(reference, return_inverse=True)
    second, columns = np.unique(prediction, return_inverse=True)
    pairs = np.bincount(rows.ravel() * len(second) + columns.ravel(), minlength=len(first) * len(second))
    table = pairs.reshape(len(first), len(second))
    union = table.sum(axis=1, keepdims=True) + table.sum(axis=0, keepdims=True) - table
    kept = np.ix_(first != 0, second != 0)
    return Overlaps((table / np.maximum(union, 1))[kept], second[second != 0].astype(np.int64))
