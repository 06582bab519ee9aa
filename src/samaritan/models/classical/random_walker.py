"""Which a random walker reaches first: what is known to be the object, or what is known not to be."""

from __future__ import annotations

import warnings

import numpy as np
from skimage.segmentation import random_walker

from samaritan.models.classical.adapter import Bools, Marks, Method, Picture
from samaritan.models.classical.grey import grey
from samaritan.models.classical.known import known

_BETA = 130  # how much a change of grey holds a walker up
_ON, _BESIDE = 1, 2


class _RandomWalker:
    slow = True

    def __call__(self, picture: Picture, marks: Marks) -> Bools:
        on, beside = known(marks)
        if not beside.any() or not (~on & ~beside).any():  # nowhere to walk to, or nothing to walk on
            return ~beside if not beside.any() else on
        labels = np.where(beside, _BESIDE, 0) + np.where(on, _ON, 0)
        with warnings.catch_warnings():  # of pixels that no walker leaves: they are no object
            warnings.simplefilter("ignore")
            found = random_walker(grey(picture) / 255.0, labels, beta=_BETA, mode="cg_j", prob_tol=0.05)
        return np.asarray(found == _ON)


def method() -> Method:
    """Return the method."""
    return _RandomWalker()
