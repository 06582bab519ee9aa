"""Graph cuts over mixtures of colours, learnt in turns from object and background (OpenCV's)."""

from __future__ import annotations

from typing import Any

import numpy as np

from samaritan.core.errors import MissingExtraError
from samaritan.models.classical.adapter import Bools, Marks, Method, Picture
from samaritan.models.classical.geodesic import method as geodesic
from samaritan.models.classical.known import known

_ROUNDS = 5
_NOISE = 2.0  # grey levels
_COLOURS = 5  # of each mixture: with fewer pixels there is none


class _GrabCut:
    """GrabCut from a box; without one from what is nearest to the marks along the image.

    A little noise is added: on a grey picture the three channels are equal, the covariance of their colours is
    singular, and OpenCV's mixtures are then meaningless.
    """

    slow = True

    def __init__(self, cv2: Any) -> None:  # noqa: ANN401 - a module
        self._cv2 = cv2
        self._first = geodesic()

    def __call__(self, picture: Picture, marks: Marks) -> Bools:
        state = self._start(picture, marks)
        likely = np.isin(state, (self._cv2.GC_FGD, self._cv2.GC_PR_FGD))
        if min(np.count_nonzero(likely), np.count_nonzero(~likely)) < _COLOURS:
            return likely
        noise = np.random.default_rng(0).normal(0, _NOISE, (*picture.shape[1::-1], 3)).transpose(1, 0, 2)
        noisy = np.ascontiguousarray(np.clip(picture + noise, 0, 255).astype(np.uint8))
        self._cv2.setRNGSeed(0)
        mixtures = np.zeros((1, 65)), np.zeros((1, 65))
        self._cv2.grabCut(noisy, state, None, *mixtures, _ROUNDS, self._cv2.GC_INIT_WITH_MASK)
        return np.asarray((state == self._cv2.GC_FGD) | (state == self._cv2.GC_PR_FGD))

    def _start(self, picture: Picture, marks: Marks) -> np.ndarray:
        state = np.full(picture.shape[:2], self._cv2.GC_BGD, np.uint8)
        if marks.box is not None:
            state[marks.box.block] = self._cv2.GC_PR_FGD
            on, beside = marks.on, marks.beside
        else:
            on, beside = known(marks)
            state[:] = np.where(self._first(picture, marks), self._cv2.GC_PR_FGD, self._cv2.GC_PR_BGD)
        state[on], state[beside] = self._cv2.GC_FGD, self._cv2.GC_BGD
        return state


def method() -> Method:
    """Return the method.

    Raises
    ------
    MissingExtraError
        If OpenCV is not installed.
    """
    try:
        import cv2  # noqa: PLC0415 - of an extra
    except ImportError as error:
        raise MissingExtraError.of(what="GrabCut", extra="evaluate") from error
    return _GrabCut(cv2)
