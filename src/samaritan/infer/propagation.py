"""When a mask that is followed from slice to slice has left its object."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from samaritan.infer.shapes import Bools, Floats


@dataclass(frozen=True, slots=True)
class Propagation:
    """How a mask is followed from one slice of a volume to the next, and when that ends.

    Parameters
    ----------
    hints
        Kinds of prompt that a neighbour's mask is turned into, where the model takes them: the box around it, the mask
        itself, the deepest point of each part.
    grow
        The next slice's box is the neighbour's bounding box, wider on each side by this fraction of its size ...
    grow_px
        ... but by at least so many pixels.
    min_pixels
        A mask of fewer pixels counts as empty.
    min_score
        Predicted IoU, relative to that of the slice where it started, below which a slice is not believed.
    min_overlap
        Part of the smaller of the two masks that lies in the other, below which it is another object.
    max_growth
        Area relative to the neighbour above which the mask has leaked.
    max_shrinkage
        Area relative to the neighbour below which the mask has collapsed.
    max_departure
        How far the mean intensity may be from that of the slice where it started, in standard deviations of that
        slice's object.
    min_agreement
        Between two prompted slices: intersection over union with the interpolated shape below which the shape itself
        is taken.
    """

    hints: frozenset[str] = frozenset({"box", "mask", "point"})
    grow: float = 0.1
    grow_px: int = 2
    min_pixels: int = 4
    min_score: float = 0.5
    min_overlap: float = 0.3
    max_growth: float = 2.0
    max_shrinkage: float = 0.1
    max_departure: float = 3.0
    min_agreement: float = 0.3


DEFAULT_PROPAGATION = Propagation()


@dataclass(frozen=True, eq=False, slots=True)
class Slice:
    """The object in one slice: ``mask`` (a, b), predicted IoU, mean and spread of the intensity in it (0 if empty)."""

    mask: Bools
    score: float
    mean: float
    spread: float

    @classmethod
    def measure(cls, mask: Bools, score: float, grey: Floats) -> Slice:
        """Return the slice of ``mask`` on the intensities ``grey``, both (a, b)."""
        values = grey[mask]
        return cls(mask, score, float(values.mean()), float(values.std())) if values.size else cls(mask, score, 0, 0)

    @property
    def area(self) -> int:
        """Pixels of the object."""
        return int(np.count_nonzero(self.mask))


# A homogeneous object has hardly any spread; differences below this part of the intensity range mean nothing.
_FLOOR = 0.04
# Small areas vary by these many pixels whatever the ratio says.
_LEEWAY_PX = 16


def has_left(now: Slice, neighbour: Slice, origin: Slice, *, intensity_span: float, rule: Propagation) -> bool:
    """Tell whether ``now``, made from ``neighbour``, is no longer the object that ``origin`` shows.

    ``intensity_span`` is the length of the range of intensities.
    """
    common = np.count_nonzero(now.mask & neighbour.mask)
    departure = abs(now.mean - origin.mean) / max(origin.spread, _FLOOR * intensity_span)
    return bool(
        now.area < rule.min_pixels
        or now.score < rule.min_score * origin.score
        or now.area < rule.max_shrinkage * neighbour.area
        or now.area > rule.max_growth * neighbour.area + _LEEWAY_PX
        or common < rule.min_overlap * min(now.area, neighbour.area)
        or departure > rule.max_departure
    )
