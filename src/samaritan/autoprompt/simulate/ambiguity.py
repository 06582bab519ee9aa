"""What a lone click may mean: the part under it, or any whole that the part belongs to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from samaritan.core.prompts import Point


def meanings(
    point: Point, parts: NDArray[np.integer], objects: Sequence[tuple[int, ...]]
) -> tuple[tuple[int, ...], ...]:
    """Return the ``objects`` that ``point`` lies in, smallest first.

    ``parts`` (i, j, k) numbers pieces, 0 for background; an object is the tuple of the numbers of its pieces. A cell's
    nucleus and the cell, a lobe and the lung: all of them are right answers to the click.
    """
    number = int(parts[point.voxel])
    under = [members for members in objects if number in members]
    sizes = np.bincount(parts.ravel(), minlength=1 + max((max(members) for members in under), default=0))
    return tuple(sorted(under, key=lambda members: int(sizes[list(members)].sum())))
