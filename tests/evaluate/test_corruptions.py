from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import skimage
from scipy import ndimage

from samaritan import read
from samaritan.core.errors import ImageError
from samaritan.core.geometry import Geometry
from samaritan.core.image import Image
from samaritan.evaluate.corruptions import CORRUPTIONS, SEVERITIES
from samaritan.testing.phantoms import ct_volume

DATA = Path(skimage.__file__).parent / "data"


def halved(image):
    array = image.array[:, ::2, ::2]
    return Image(array, Geometry.picture(*array.shape[1:3]), image.channels)


def textured(image):
    grain = np.random.default_rng(1).normal(0, 60, image.array.shape)
    return replace(image, array=(image.array + ndimage.gaussian_filter(grain, (0, 1, 1, 0))).astype(np.int16))


IMAGES = {
    "colours": lambda: halved(read(DATA / "ihc.png")),
    "greys": lambda: halved(read(DATA / "cell.png")),
    "volume": lambda: textured(ct_volume((160, 140, 4)).image),
}


@pytest.mark.parametrize("name", list(CORRUPTIONS))
@pytest.mark.parametrize("kind", list(IMAGES))
def test_worse_with_each_severity_and_otherwise_the_same(name, kind):
    image = IMAGES[kind]()
    corrupt = CORRUPTIONS.get(name)
    changes = []
    for severity in SEVERITIES:
        worse = corrupt(image, severity, np.random.default_rng(0))
        assert (worse.geometry, worse.channels, worse.array.dtype) == (
            image.geometry,
            image.channels,
            image.array.dtype,
        )
        assert image.array.min() <= worse.array.min()
        assert worse.array.max() <= image.array.max()
        changes.append(np.abs(worse.array.astype(float) - image.array).mean())
        np.testing.assert_array_equal(worse.array, corrupt(image, severity, np.random.default_rng(0)).array)
    assert changes[0] > 0
    assert (np.diff(changes) > 0).all()


@pytest.mark.parametrize("name", list(CORRUPTIONS))
def test_a_pixel_can_be_spoilt(name):
    image = Image(np.full((1, 1, 1, 1), 7, np.uint8), Geometry.picture(1, 1))
    assert CORRUPTIONS.get(name)(image, 3, np.random.default_rng(0)).array.item() == 7


@pytest.mark.parametrize("severity", [0, 6])
def test_there_are_five_severities(severity):
    with pytest.raises(ImageError, match="1, 2, 3, 4, 5"):
        CORRUPTIONS.get("noise")(ct_volume((8, 8, 2)).image, severity, np.random.default_rng(0))
