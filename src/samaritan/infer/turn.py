"""Volumes turned so that slices along any axis lie along k, for models of volumes that follow objects along k."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self, cast

from samaritan.core.geometry import AXES, Axis, Geometry, Reorientation, Shape, axis_number
from samaritan.core.image import Image
from samaritan.core.model import ModelCard
from samaritan.core.prompts import Box, Index, Lasso, MaskPrompt, Point, Prompt, Prompts, Scribble
from samaritan.infer.shapes import Bools


@dataclass(frozen=True, slots=True)
class Turn:
    """A change of a volume's axes after which one of them is k, and the two others are i and j in their order.

    Parameters
    ----------
    change
        From the volume's grid to that of the turned one.
    """

    change: Reorientation

    @classmethod
    def of(cls, geometry: Geometry, axis: Axis) -> Self:
        """Return the turn that makes ``axis`` of a grid k."""
        normal = axis_number(axis)
        order = (*(a for a in range(3) if a != normal), normal)
        return cls(Reorientation(geometry, cast("Shape", order), (False, False, False)))

    @classmethod
    def wanted(cls, card: ModelCard, geometry: Geometry, axis: Axis) -> Self:
        """Return the turn that a model of volumes needs to go through slices along ``axis``, if it goes by slices."""
        return cls.of(geometry, axis if card.follows_slices else "k")

    @property
    def where(self) -> Axis | None:
        """What an ``Embedder`` is asked for: the axis that becomes k, or None if it is k already."""
        return None if self.change.order == (0, 1, 2) else AXES[self.change.order[2]]

    def image(self, image: Image) -> Image:
        """Return an image turned; a view, not a copy."""
        return replace(image, array=self.change.apply(image.array), geometry=self.change.target)

    def prompts(self, prompts: Prompts) -> Prompts:
        """Return prompts at the same places of the turned volume."""
        return Prompts(self.change.target, tuple(map(self._turned, prompts.items)))

    def back(self, mask: Bools) -> Bools:
        """Return a mask (i, j, k) of the turned volume on the volume's own grid; a view."""
        return self.change.undo(mask)

    def _turned(self, item: Prompt) -> Prompt:
        order = [*self.change.order]
        match item:
            case Point(index=index):
                return replace(item, index=cast("Index", tuple(index[a] for a in order)))
            case Box(start=start, stop=stop):
                turned = [tuple(corner[a] for a in order) for corner in (start, stop)]
                return Box(*cast("list[Shape]", turned))
            case Scribble(voxels=voxels):
                return replace(item, voxels=voxels[:, order])
            case Lasso(vertices=vertices, axis=axis):
                return replace(item, vertices=vertices[:, order], axis=AXES[order.index(axis_number(axis))])
            case MaskPrompt(mask=mask):
                return MaskPrompt(self.change.apply(mask))
            case _:  # words have no place
                return item
