"""The object that a simulated user wants: its mask, and what is worth computing of it only once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import edt
import numpy as np
from numpy.typing import NDArray

from samaritan.core.errors import GeometryMismatchError, PromptError
from samaritan.core.geometry import Geometry

Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]
Slices = tuple[slice, slice, slice]


@dataclass(frozen=True, eq=False)
class Target:
    """An object: ``mask`` (i, j, k) booleans on ``geometry`` (a picture has k == 1), and what it is called.

    Raises
    ------
    GeometryMismatchError
        If the mask has another shape than the geometry.
    PromptError
        If the mask is empty: there is nothing to point at.
    """

    mask: Bools
    geometry: Geometry
    name: str = ""

    def __post_init__(self) -> None:
        if self.mask.shape != self.geometry.shape:
            raise GeometryMismatchError(got=f"a mask of shape {self.mask.shape}", wanted=f"{self.geometry.shape}")
        if not self.mask.any():
            raise PromptError(got="an empty mask to simulate prompts for", wanted="an object of a voxel at least")

    @classmethod
    def of_picture(cls, mask: Bools) -> Self:
        """Return the target of a plane mask (i, j)."""
        return cls(mask[..., None], Geometry.picture(*mask.shape))

    @cached_property
    def bounds(self) -> Slices:
        """The smallest block of voxels that holds the mask."""
        spans = []
        for axis in range(3):
            others = tuple(other for other in range(3) if other != axis)
            filled = np.flatnonzero(self.mask.any(axis=others))
            spans.append(slice(int(filled[0]), int(filled[-1]) + 1))
        return spans[0], spans[1], spans[2]

    @cached_property
    def start(self) -> NDArray[np.int64]:
        """The first voxel (3,) of ``bounds``."""
        return np.array([span.start for span in self.bounds])

    @cached_property
    def extent(self) -> NDArray[np.int64]:
        """The sides (3,) of ``bounds`` in voxels."""
        return np.array([span.stop - span.start for span in self.bounds])

    @cached_property
    def depth(self) -> Floats:
        """Distance of each voxel in ``bounds`` to the outside of the mask, in the unit of the spacing; 0 outside."""
        return depth_of(self.mask[self.bounds], self.geometry)

    @cached_property
    def voxels(self) -> NDArray[np.int64]:
        """All voxels (n, 3) of the mask."""
        return np.argwhere(self.mask[self.bounds]) + self.start

    def around(self, share: float) -> Slices:
        """Return the block around ``bounds`` with a margin of ``share`` of its longest side, within the image.

        A picture and the sides of a volume end where they end; the margin is two voxels at least.
        """
        margin = max(2, round(share * int(self.extent.max())))
        spans = [
            slice(max(0, span.start - margin), min(n, span.stop + margin))
            for span, n in zip(self.bounds, self.mask.shape, strict=True)
        ]
        return spans[0], spans[1], spans[2]


def depth_of(mask: Bools, geometry: Geometry, *, ends_at_border: bool = True) -> Floats:
    """Return the distance of each voxel of ``mask`` (i, j, k) to the outside, in the unit of the spacing.

    The outside begins at the border of the array too, unless ``ends_at_border`` is False.
    """
    # A plane as (i, j): its border in k is none, and edt takes seven times as long for (i, j, 1).
    array = np.ascontiguousarray(mask[..., 0] if geometry.is_2d else mask)
    depth = edt.edt(array, anisotropy=geometry.spacing[: array.ndim], black_border=ends_at_border)
    return np.asarray(depth).reshape(mask.shape)
