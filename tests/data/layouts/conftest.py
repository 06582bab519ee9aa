"""Small data sets in the layouts of the field, written to disk."""

import numpy as np
import pytest

from samaritan.core.geometry import Geometry
from samaritan.core.image import Image, LabelMap
from samaritan.io import write

GEOMETRY = Geometry.from_spacing((12, 10, 6), (1.0, 1.5, 3.0))


def _labels(values):
    array = np.zeros(GEOMETRY.shape, np.uint8)
    for at, value in enumerate(values):
        array[2 + 3 * at : 4 + 3 * at, 2:8, 1:5] = value
    return array


@pytest.fixture
def put(tmp_path):
    """Write a volume, a label map (of some values) or a text under a name in the data set's folder."""

    def volume(name, *, seed=0, labels=None, geometry=GEOMETRY):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if labels is not None:
            return write(LabelMap(_labels(labels), geometry), path)
        values = np.random.default_rng(seed).normal(size=(1, *geometry.shape)).astype(np.float32)
        return write(Image(values, geometry), path)

    return volume


@pytest.fixture
def picture(tmp_path):
    """Write a picture, or its mask (i, j), under a name in the data set's folder."""

    def put(name, *, mask=None, size=(20, 16), seed=0):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        geometry = Geometry.picture(*size)
        if mask is not None:
            return write(LabelMap(mask.astype(np.uint8)[..., None], geometry), path)
        values = np.random.default_rng(seed).integers(0, 255, (1, *size, 1)).astype(np.uint8)
        return write(Image(values, geometry), path)

    return put
