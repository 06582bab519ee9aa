import numpy as np
import pytest
from tests.cli.helpers import left_behind

from samaritan.core.image import LabelMap
from samaritan.io import read, read_labels, write


@pytest.mark.parametrize("ending", [".nrrd", ".mha", ".nii"])
def test_an_image_keeps_its_voxels_and_its_place(run, ct, ending):
    path, phantom = ct
    assert run("convert", path, f"out{ending}").code == 0
    image = read(f"out{ending}")
    assert image.geometry.matches(phantom.image.geometry)
    assert np.array_equal(image.array, phantom.image.array)


def test_a_label_map_that_says_so_keeps_its_names(run, ct, place):
    _, phantom = ct
    write(phantom.truth, place / "labels.nii.gz")
    assert run("convert", "labels.nii.gz", "labels.nrrd").code == 0
    assert dict(read_labels("labels.nrrd").names) == {1: "liver", 2: "kidney"}


def test_a_label_map_that_does_not_say_so_is_one_on_request(run, ct, place):
    _, phantom = ct
    write(LabelMap(phantom.truth.array, phantom.truth.geometry), place / "labels.nii.gz")
    assert run("convert", "labels.nii.gz", "labels.nrrd", "--labels").code == 0
    assert read_labels("labels.nrrd").labels == (1, 2)


@pytest.mark.parametrize(
    ("source", "target", "code"), [("none.nii", "a.nrrd", 1), ("ct.nii.gz", "ct.nii.gz", 2), ("ct.nii.gz", "a.xyz", 1)]
)
def test_mistakes_are_named_and_leave_nothing(run, ct, source, target, code):
    done = run("convert", source, target)
    assert done.code == code
    assert done.err.startswith("error: ")
    assert left_behind(ct[0].parent) == ["ct.nii.gz"]
