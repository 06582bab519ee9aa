"""How much two masks overlap, voxel by voxel: masks of any dimensions, as booleans."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from samaritan.metrics.masks import Bools, bounds, require_pair

_NAN = float("nan")


class Counts(NamedTuple):
    """How many voxels are in both masks, in the reference, and in the prediction."""

    both: int
    reference: int
    prediction: int


def counts(reference: Bools, prediction: Bools) -> Counts:
    """Count the voxels of two masks.

    Raises
    ------
    ImageError, GeometryMismatchError
        As ``require_pair``.
    """
    require_pair(reference, prediction)
    here = bounds(reference)
    return Counts(
        int(np.count_nonzero(reference[here] & prediction[here])),
        int(np.count_nonzero(reference[here])),
        int(np.count_nonzero(prediction)),
    )


def dice(reference: Bools, prediction: Bools) -> float:
    """Return Dice (1945), in [0, 1]; nan if both masks are empty."""
    both, first, second = counts(reference, prediction)
    return _ratio(2 * both, first + second)


def iou(reference: Bools, prediction: Bools) -> float:
    """Return intersection over union (Jaccard 1901), in [0, 1]; nan if both masks are empty."""
    both, first, second = counts(reference, prediction)
    return _ratio(both, first + second - both)


def sensitivity(reference: Bools, prediction: Bools) -> float:
    """Return the share of the reference that was found, in [0, 1]; nan if the reference is empty."""
    both, first, _ = counts(reference, prediction)
    return _ratio(both, first)


def precision(reference: Bools, prediction: Bools) -> float:
    """Return the share of the prediction that is right, in [0, 1]; nan if the prediction is empty."""
    both, _, second = counts(reference, prediction)
    return _ratio(both, second)


def volume_similarity(reference: Bools, prediction: Bools) -> float:
    """Return 1 - |a - b| / (a + b) of the two volumes, in [0, 1]; nan if both masks are empty.

    Taha and Hanbury 2015, doi:10.1186/s12880-015-0068-x. It knows nothing of where the masks are.
    """
    _, first, second = counts(reference, prediction)
    return 1 - _ratio(abs(first - second), first + second)


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else _NAN
