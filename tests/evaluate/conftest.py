"""A small data set on disk, and a plan to evaluate the fake model on it."""

import numpy as np
import pytest

from samaritan.core.image import Image, LabelMap
from samaritan.data import open_data
from samaritan.evaluate.store import Store
from samaritan.evaluate.unit import Plan, Settings
from samaritan.io import write
from samaritan.testing.fake_model import FakeModel
from samaritan.testing.phantoms import ct_volume, picture


@pytest.fixture
def folder(tmp_path):
    """Two volumes with two organs each, and a picture."""
    root = tmp_path / "data"
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    for name, phantom in {
        "p1_a": ct_volume((48, 40, 8)),
        "p1_b": ct_volume((40, 44, 8)),
        "p2_c": picture(60, 50),
    }.items():
        ending = ".png" if phantom.image.is_2d else ".nii.gz"
        write(phantom.image, root / f"images/{name}{ending}")
        write(phantom.truth, root / f"masks/{name}{ending}")
    return root


@pytest.fixture
def plan(folder, tmp_path):
    """Make a plan for the fake model; options as ``Plan`` has them."""

    def make(**options):
        given = {
            "data": open_data(folder),
            "loaders": {"fake": FakeModel},
            "protocols": ("box", "clicks"),
            "settings": Settings(),
            "store": Store(tmp_path / "run"),
        }
        return Plan(**(given | options))

    return make


def spoil(folder, name):
    """Make a file unreadable."""
    (folder / name).write_bytes(b"nothing")


def blank(phantom):
    """Return the label map of a phantom without any label."""
    return LabelMap(np.zeros(phantom.truth.array.shape, np.uint8), phantom.truth.geometry)


__all__ = ["Image", "blank", "spoil"]
