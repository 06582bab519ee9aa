"""Where a label map lies in the world survives every format, in every axis order, judged by nibabel and SimpleITK."""

from itertools import permutations, product

import nibabel
import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st

from samaritan.core.geometry import Geometry
from samaritan.core.image import Image, LabelMap
from samaritan.io import read, read_labels, write

VOLUME_SUFFIXES = (".nii", ".nii.gz", ".hdr", ".img", ".nrrd", ".seg.nrrd", ".nhdr", ".mha", ".mhd")
ORDERS = [(order, flips) for order in permutations(range(3)) for flips in product((1.0, -1.0), repeat=3)]


def oblique(order, flips, spacing, angles=(0.0, 0.0, 0.0), origin=(0.0, 0.0, 0.0), shape=(4, 3, 2)):
    """A grid whose axes are those of the world in ``order``, mirrored by ``flips``, then turned by ``angles``."""
    turn = np.eye(3)
    for (a, b), angle in zip(((1, 2), (0, 2), (0, 1)), angles, strict=True):
        step = np.eye(3)
        step[a, a] = step[b, b] = np.cos(angle)
        step[a, b], step[b, a] = -np.sin(angle), np.sin(angle)
        turn = turn @ step
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.eye(3)[:, list(order)] * flips * spacing
    affine[:3, 3] = origin
    return Geometry(shape, affine)


def labels_on(geometry):
    array = np.arange(np.prod(geometry.shape)).reshape(geometry.shape) % 5
    return LabelMap(array.astype(np.uint8), geometry, {1: "liver", 4: "left kidney"}, {4: (10, 200, 30)})


def centroids(labels):
    return {v: labels.geometry.index_to_world(np.argwhere(labels.mask(v))).mean(axis=0) for v in labels.labels}


def require_same_place(written, back):
    before, after = centroids(written), centroids(back)
    assert before.keys() == after.keys()
    for value, centre in before.items():
        np.testing.assert_allclose(after[value], centre, atol=1e-3 * max(1, np.abs(centre).max() / 1000))
    np.testing.assert_array_equal(back.array, written.array)
    assert back.geometry.voxel_volume_mm3 == pytest.approx(written.geometry.voxel_volume_mm3, rel=1e-5)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".hdr", ".seg.nrrd", ".nhdr", ".mha", ".mhd"])
def test_all_48_axis_orders_land_on_the_same_world_points(tmp_path, suffix):
    for order, flips in ORDERS:
        written = labels_on(oblique(order, flips, (0.7, 1.3, 4.0), (0.3, -0.2, 0.5), (-90.5, 12.25, 333.3)))
        require_same_place(written, read_labels(write(written, tmp_path / f"mask{suffix}")))


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_any_oblique_anisotropic_grid_survives(tmp_path_factory, suffix, data):
    order, flips = data.draw(st.sampled_from(ORDERS))
    three = lambda low, high: data.draw(st.tuples(*[st.floats(low, high)] * 3))  # noqa: E731
    geometry = oblique(order, flips, three(0.05, 20), three(-3.1, 3.1), three(-1000, 1000))
    written = labels_on(geometry)
    require_same_place(written, read_labels(write(written, tmp_path_factory.mktemp("p") / f"mask{suffix}")))


@pytest.mark.parametrize("suffix", VOLUME_SUFFIXES)
@pytest.mark.parametrize(("order", "flips"), ORDERS[::11])
def test_independent_readers_put_voxels_where_we_do(tmp_path, suffix, order, flips):
    geometry = oblique(order, flips, (0.7, 1.3, 4.0), (0.3, -0.2, 0.5), (-90.5, 12.25, 33.3))
    path = write(labels_on(geometry), tmp_path / f"mask{suffix}")
    corner = (3, 1, 1)
    theirs = SimpleITK.ReadImage(str(path))
    x, y, z = theirs.TransformIndexToPhysicalPoint(corner)
    np.testing.assert_allclose((-x, -y, z), geometry.index_to_world(corner), atol=1e-3)
    assert theirs.GetPixel(corner) == labels_on(geometry).array[corner]
    if suffix in (".nii", ".nii.gz", ".hdr", ".img"):
        nifti = nibabel.load(path)
        np.testing.assert_allclose(nifti.affine, geometry.affine, atol=1e-4)
        np.testing.assert_array_equal(np.asarray(nifti.dataobj), labels_on(geometry).array)
        assert nifti.header["sform_code"] > 0
        assert nifti.header["qform_code"] > 0
        np.testing.assert_allclose(nifti.get_qform(), nifti.get_sform(), atol=1e-4)


@pytest.mark.parametrize(("order", "flips"), ORDERS[::9])
def test_files_of_nibabel_and_simpleitk_are_read_as_they_meant_them(tmp_path, order, flips):
    geometry = oblique(order, flips, (0.7, 1.3, 4.0), (0.1, 0.2, -0.5), (5.0, 6.0, -7.0))
    values = np.arange(24, dtype=np.int16).reshape(geometry.shape)
    nibabel.save(nibabel.Nifti1Image(values, geometry.affine), tmp_path / "a.nii.gz")
    nibabel.save(nibabel.MGHImage(values, geometry.affine), tmp_path / "a.mgz")
    nibabel.save(nibabel.Nifti2Image(values, geometry.affine), tmp_path / "b.nii")
    theirs = SimpleITK.ReadImage(str(tmp_path / "a.nii.gz"))
    for name in ("a.nrrd", "a.mha", "a.mhd", "a.nhdr"):
        SimpleITK.WriteImage(theirs, str(tmp_path / name))
    for name in ("a.nii.gz", "a.mgz", "b.nii", "a.nrrd", "a.mha", "a.mhd", "a.nhdr"):
        image = read(tmp_path / name)
        np.testing.assert_allclose(image.geometry.affine, geometry.affine, atol=1e-3, err_msg=name)
        np.testing.assert_array_equal(image.array[0], values, err_msg=name)


@pytest.mark.parametrize("suffix", VOLUME_SUFFIXES)
def test_a_sheared_grid_survives(tmp_path, suffix):
    affine = np.array([[1.0, 0.3, 0.2, 5], [0, 2, 0.4, 6], [0, 0, 3, 7], [0, 0, 0, 1]])
    written = labels_on(Geometry((4, 3, 2), affine))
    path = write(written, tmp_path / f"mask{suffix}")
    require_same_place(written, read_labels(path))
    if suffix.startswith(".nii"):
        assert nibabel.load(path).header["qform_code"] == 0  # a qform is a rotation and would lie


@pytest.mark.parametrize("suffix", [*VOLUME_SUFFIXES, ".png"])
def test_a_picture_stays_without_scale(tmp_path, suffix):
    picture = Image(np.arange(12, dtype=np.uint8).reshape(1, 4, 3, 1), Geometry.picture(4, 3))
    back = read(write(picture, tmp_path / f"picture{suffix}"))
    assert back.geometry == picture.geometry
    assert back.geometry.spacing_mm is None
    np.testing.assert_array_equal(back.array, picture.array)
    labels = LabelMap(picture.array[0], picture.geometry, {3: "mole"})
    back = read_labels(write(labels, tmp_path / f"labels{suffix}"))
    assert back.geometry == picture.geometry
    assert dict(back.names) == {3: "mole"}


def test_a_png_of_a_slice_keeps_its_place_through_the_sidecar(tmp_path):
    plane = oblique((2, 0, 1), (1, -1, 1), (0.7, 1.3, 4.0), (0.3, -0.2, 0.5), (1, 2, 3)).plane("j", 1)
    written = labels_on(plane)
    require_same_place(written, read_labels(write(written, tmp_path / "mask.png")))


@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 4, 1), (1, 4, 3), (5, 1, 3)])
@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_thin_grids_survive(tmp_path, shape, suffix):
    written = labels_on(oblique((1, 0, 2), (1, -1, 1), (2, 3, 4), (0.1, 0, 0), (1, 2, 3), shape))
    back = read_labels(write(written, tmp_path / f"mask{suffix}"))
    assert back.geometry.matches(written.geometry)
    np.testing.assert_array_equal(back.array, written.array)
