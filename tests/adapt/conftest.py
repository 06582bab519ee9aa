"""A small data set to adapt to: pictures of bright blobs on noise, each of another patient."""

import numpy as np
import pytest

from samaritan.core.geometry import Geometry
from samaritan.core.image import Image, LabelMap
from samaritan.data import open_data
from samaritan.io import write


def blobs(number, side=72):
    """Return a picture with a disc and a ring, and their label map."""
    rng = np.random.default_rng(number)
    i, j = np.mgrid[:side, :side]
    away = np.hypot(i - rng.integers(20, 50), j - rng.integers(20, 50))
    labels = np.zeros((side, side, 1), np.uint8)
    labels[..., 0][away < 16] = 2
    labels[..., 0][away < 9] = 1
    grey = 60 + 60 * (labels == 2) + 120 * (labels == 1) + rng.normal(0, 12, labels.shape)
    grid = Geometry.picture(side, side)
    return Image(grey.clip(0, 255).astype(np.uint8)[None], grid), LabelMap(labels, grid, {1: "core", 2: "rim"})


@pytest.fixture
def folder(tmp_path):
    """Six such pictures."""
    root = tmp_path / "data"
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    for number in range(6):
        image, labels = blobs(number)
        write(image, root / f"images/p{number}.png")
        write(labels, root / f"masks/p{number}.png")
    return root


@pytest.fixture
def data(folder):
    """The same, opened."""
    return open_data(folder)
