"""Where pictures lie in the frames of training: as at inference, but turned a little, shifted, scaled and bent.

Places are edge coordinates, as in ``samaritan.models.letterbox``; matrices are 2 x 3 affines from picture to frame.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from samaritan.data.synthesis import smooth_noise
from samaritan.models.letterbox import Letterbox

Array = NDArray[Any]

_TURN, _SCALE, _STRETCH, _SHIFT = 0.15, 0.12, 0.06, 0.08  # deviations: radians, logarithms, share of the frame
_BENT_SHARE, _BEND = 0.4, 0.025  # of frames that are bent, by up to so much of their side
_SHRUNK = 0.8  # from here on pictures are smoothed before they shrink


def nearly(letterbox: Letterbox, rng: np.random.Generator, *, mirror: bool) -> Array:
    """Return a matrix that brings a whole picture to about where a letterbox has it; mirrored if drawn so."""
    scale = np.array(letterbox.scale) * np.exp(rng.normal(0, _SCALE) + rng.normal(0, _STRETCH, 2))
    if mirror:
        scale = scale * rng.choice([-1.0, 1.0], 2)
    turn = rng.normal(0, _TURN)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    linear = rotation @ np.diag(scale)
    middle = np.array(letterbox.plane) / 2
    target = letterbox.to_frame(middle - 0.5) + rng.normal(0, _SHIFT * max(letterbox.frame), 2)
    return np.concatenate([linear, (target - linear @ middle)[:, None]], axis=1)


def exactly(letterbox: Letterbox) -> Array:
    """Return the matrix that brings a whole picture to where a letterbox has it."""
    linear = np.diag(letterbox.scale)
    middle = np.array(letterbox.plane) / 2
    return np.concatenate([linear, (letterbox.to_frame(middle - 0.5) - linear @ middle)[:, None]], axis=1)


def sources(matrix: Array, side: int, rng: np.random.Generator | None) -> tuple[Array, Array]:
    """Return where in the picture the pixels of a frame come from: indices of columns and rows, (side, side) each.

    Now and then bent, if there is a generator.
    """
    rows, columns = (axis + np.float32(0.5) for axis in np.mgrid[0:side, 0:side].astype(np.float32))
    if rng is not None and rng.random() < _BENT_SHARE:
        amount, grain = np.float32(rng.uniform(0, _BEND) * side), side * rng.uniform(0.15, 0.4)
        columns = columns + amount * smooth_noise((side, side), grain, rng)
        rows = rows + amount * smooth_noise((side, side), grain, rng)
    inverse = cv2.invertAffineTransform(matrix).astype(np.float32)
    x, y = (row[0] * columns + row[1] * rows + row[2] - np.float32(0.5) for row in inverse)
    return x, y


def shown(picture: Array, matrix: Array, where: tuple[Array, Array]) -> Array:
    """Return a picture, (rows, columns) or with colours, from there: float32, smoothed before it shrinks; 0 beyond."""
    shrink = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    smooth = cv2.GaussianBlur(picture, (0, 0), 0.5 / shrink) if shrink < _SHRUNK else picture
    return cv2.remap(smooth, *where, cv2.INTER_LINEAR).astype(np.float32)


def nearest(labels: Array, where: tuple[Array, Array]) -> Array:
    """Return labels (rows, columns) from there; 0 beyond."""
    return cv2.remap(labels, *where, cv2.INTER_NEAREST)
