"""Planes whose pixels are not square, stretched until they are: so models were trained to see them.

Planes across thick slices need it: their pixels are as tall as the slices are thick.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from samaritan.core.geometry import Geometry
from samaritan.core.image import Image
from samaritan.core.model import Prediction
from samaritan.core.prompts import Box
from samaritan.models.letterbox import Letterbox


@dataclass(frozen=True, slots=True)
class SquareView:
    """A plane with square pixels, as fine as the finer of its two spacings.

    Parameters
    ----------
    plane
        Grid of the plane (k is 1).
    frame
        How it is stretched.
    """

    plane: Geometry
    frame: Letterbox

    @classmethod
    def of(cls, plane: Geometry) -> Self:
        """Return the view of a plane; as large as it was along its finer spacing, the other side as its aspect says."""
        (i, j, _), spacing = plane.shape, plane.spacing[:2]
        finest = min(spacing)
        content = (max(1, round(i * spacing[0] / finest)), max(1, round(j * spacing[1] / finest)))
        return cls(plane, Letterbox((i, j), content, content))

    @property
    def is_plane_itself(self) -> bool:
        """Whether the pixels are square as they are."""
        return self.frame.plane == self.frame.content

    @property
    def geometry(self) -> Geometry:
        """Its grid; of no scale, as it is there to be looked at."""
        return Geometry.picture(*self.frame.content)

    def image(self, image: Image) -> Image:
        """Return an image of the plane, stretched."""
        pixels = self.frame.image_to_frame(image.array).transpose(0, 2, 1)[..., None]
        return replace(image, array=np.ascontiguousarray(pixels), geometry=self.geometry)

    def box(self, box: Box) -> Box:
        """Return the smallest box that holds a box of the plane."""
        start, stop = (self.frame.to_frame(np.array(corner[:2]) - 0.5) for corner in (box.start, box.stop))
        (a0, b0), (a1, b1) = np.floor(start).astype(int).tolist(), np.ceil(stop).astype(int).tolist()
        return Box((a0, b0, 0), (a1, b1, 1))

    def back(self, found: Prediction) -> Prediction:
        """Bring what was found in the view back onto the plane."""
        logits = self.frame.logits_from_frame(found.logits[..., 0].transpose(0, 2, 1))
        return Prediction(logits, found.scores, self.plane)
