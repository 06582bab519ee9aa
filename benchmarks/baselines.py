"""What a box alone gives without learning: the bars that a model has to clear.

Each takes a picture of uint8 (rows, columns, 3) and a box (x0, y0, x1, y1), half-open in pixels, and returns a boolean
mask (rows, columns).
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Bools = NDArray[np.bool_]
PixelBox = tuple[int, int, int, int]
Baseline = Callable[[Picture, PixelBox], Bools]

GRABCUT_ROUNDS = 5
NOISE = 2.0  # grey levels
WORKING_SIDE = 512  # long side that the slow ones work at: what the model works at, too


def ellipse(picture: Picture, box: PixelBox) -> Bools:
    """Return the ellipse inscribed in the box."""
    x0, y0, x1, y1 = box
    rows, columns = np.ogrid[0 : picture.shape[0], 0 : picture.shape[1]]
    x = (columns + 0.5 - (x0 + x1) / 2) / ((x1 - x0) / 2)
    y = (rows + 0.5 - (y0 + y1) / 2) / ((y1 - y0) / 2)
    return np.asarray(x**2 + y**2 <= 1)


def otsu(picture: Picture, box: PixelBox) -> Bools:
    """Split the box's greys in two (Otsu 1979); the object is the class that the middle of the box has more of."""
    x0, y0, x1, y1 = box
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[y0:y1, x0:x1]
    _, bright = cv2.threshold(grey, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    rows, columns = grey.shape
    middle = bright[rows // 3 : -(-2 * rows // 3), columns // 3 : -(-2 * columns // 3)]
    mask = np.zeros(picture.shape[:2], np.bool_)
    mask[y0:y1, x0:x1] = (bright > 0) == (middle.mean() >= bright.mean())
    return mask


def grabcut(picture: Picture, box: PixelBox) -> Bools:
    """Return what GrabCut (Rother et al. 2004, OpenCV) cuts out of the box.

    A little noise is added: on a grey picture the three channels are equal, the covariance of their colours is
    singular, and OpenCV's colour models are then meaningless.
    """
    rows, columns = picture.shape[:2]
    x0, y0, x1, y1 = box
    if (x1 - x0, y1 - y0) == (columns, rows):  # nothing is known to be background
        return np.ones((rows, columns), np.bool_)
    noise = np.random.default_rng(0).normal(0, NOISE, picture.shape)
    noisy = np.clip(picture + noise, 0, 255).astype(np.uint8)
    mask = np.zeros((rows, columns), np.uint8)
    background, foreground = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)
    cv2.grabCut(noisy, mask, (x0, y0, x1 - x0, y1 - y0), background, foreground, GRABCUT_ROUNDS, cv2.GC_INIT_WITH_RECT)
    return np.asarray((mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD))


def random_walker(picture: Picture, box: PixelBox) -> Bools:
    """Return what a random walker (Grady 2006) reaches first from the box's middle rather than from outside it."""
    from skimage.segmentation import random_walker as walk  # noqa: PLC0415 - only on request

    x0, y0, x1, y1 = box
    seeds = np.full(picture.shape[:2], 2, np.uint8)
    seeds[y0:y1, x0:x1] = 0
    dx, dy = (x1 - x0) // 3, (y1 - y0) // 3
    seeds[y0 + dy : max(y0 + dy + 1, y1 - dy), x0 + dx : max(x0 + dx + 1, x1 - dx)] = 1
    if not (seeds == 2).any():
        return seeds < 2
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) / 255.0
    return np.asarray(walk(grey, seeds, beta=130, mode="cg_j", prob_tol=0.05) == 1)


def at_working_size(baseline: Baseline) -> Baseline:
    """Return a baseline that works on the picture shrunk to a long side of `WORKING_SIDE`: some are slow."""

    def shrunk(picture: Picture, box: PixelBox) -> Bools:
        rows, columns = picture.shape[:2]
        scale = min(1.0, WORKING_SIDE / max(rows, columns))
        size = (max(1, round(columns * scale)), max(1, round(rows * scale)))
        small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        x0, y0, x1, y1 = (round(v * scale) for v in box)
        x0, y0 = min(x0, size[0] - 1), min(y0, size[1] - 1)
        mask = baseline(small, (x0, y0, max(x1, x0 + 1), max(y1, y0 + 1))).astype(np.uint8)
        return np.asarray(cv2.resize(mask, (columns, rows), interpolation=cv2.INTER_NEAREST) > 0)

    return shrunk


BASELINES: dict[str, Baseline] = {
    "ellipse in the box": ellipse,
    "Otsu in the box": otsu,
    "GrabCut": at_working_size(grabcut),
    "random walker": at_working_size(random_walker),
}
BASELINES_VERSION = 1  # raise it when one of them changes: kept results of another version are measured anew
