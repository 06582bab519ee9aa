"""Contact sheets: many scenes at a glance, with the outlines of what is in them."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from samaritan.data.synthesis.scene import Scene

_OUTLINE = (255, 220, 0)


def contact_sheet(scenes: Sequence[Scene], *, columns: int = 6, side: int = 192) -> NDArray[np.uint8]:
    """Return uint8 (h, w, 3): each scene plain and, to the right of it, with its parts outlined; its name above.

    Raises
    ------
    ValueError
        If there is no scene.
    """
    if not scenes:
        message = "no scenes to show"
        raise ValueError(message)
    tiles = [_tile(scene, side) for scene in scenes]
    blank = np.zeros_like(tiles[0])
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    if len(rows) > 1:
        rows[-1] += [blank] * (columns - len(rows[-1]))
    return np.concatenate([np.concatenate(row, axis=1) for row in rows])


def _tile(scene: Scene, side: int) -> NDArray[np.uint8]:
    plain = cv2.resize(scene.image, (side, side), interpolation=cv2.INTER_AREA)
    parts = cv2.resize(scene.parts, (side, side), interpolation=cv2.INTER_NEAREST)
    outlined = plain.copy()
    for members in scene.objects:
        mask = np.isin(parts, members).astype(np.uint8)
        contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(outlined, contours, -1, _OUTLINE, 1)
    title = np.zeros((18, 2 * side, 3), np.uint8)
    cv2.putText(title, scene.appearance, (4, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255, 255, 255), 1, cv2.LINE_AA)
    return np.concatenate([title, np.concatenate([plain, outlined], axis=1)])
