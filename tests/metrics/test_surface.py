"""Distances of surfaces, by hand, and beside DeepMind's library."""

import math

import numpy as np
import pytest
from scipy import ndimage

from samaritan.core.errors import GeometryError, GeometryMismatchError, ImageError
from samaritan.metrics import assd, hd, hd95, nsd, surface_distances

SPACINGS = [0.5, 0.8, 1.0, 1.1, 2.5]


def voxel(*index, shape=(100, 100, 100)):
    mask = np.zeros(shape, np.bool_)
    mask[index] = True
    return mask


def block(*stops, shape=(100, 100, 100)):
    mask = np.zeros(shape, np.bool_)
    mask[tuple(slice(stop) for stop in stops)] = True
    return mask


def blobs(rng, shape):
    smooth = ndimage.gaussian_filter(rng.normal(size=shape), rng.uniform(0, 2))
    return smooth > np.quantile(smooth, rng.uniform(0.3, 0.95))


@pytest.mark.parametrize("dimensions", [1, 4])
@pytest.mark.parametrize("metric", [assd, hd, hd95, surface_distances])
def test_masks_of_other_dimensions_are_refused(metric, dimensions):
    mask = np.ones((3,) * dimensions, np.bool_)
    with pytest.raises(GeometryMismatchError, match="two or three"):
        metric(mask, mask, spacing_mm=(1,) * dimensions)


@pytest.mark.parametrize("tolerance_mm", [math.nan, -1.0])
def test_a_tolerance_that_is_no_length_is_refused(tolerance_mm):
    mask = block(5, 6, 7, shape=(9, 9, 9))
    with pytest.raises(GeometryError, match="tolerance_mm"):
        nsd(mask, mask, spacing_mm=(1, 1, 1), tolerance_mm=tolerance_mm)
    found = surface_distances(mask, mask, spacing_mm=(1, 1, 1))
    with pytest.raises(GeometryError, match="0 or more"):
        found.nsd(tolerance_mm=tolerance_mm)
    assert found.nsd(tolerance_mm=math.inf) == 1


def test_equal_masks_have_no_distance():
    mask = block(5, 6, 7)
    found = surface_distances(mask, mask.copy(), spacing_mm=(1, 2, 3))
    assert (found.nsd(tolerance_mm=0), found.hausdorff(), found.hausdorff(percent=95), found.assd()) == (1, 0, 0, 0)


def test_two_voxels_two_millimetres_apart():
    # Of each voxel's eight cells the four towards the other are nearer: 1 mm less than the others.
    one, other = voxel(50, 60, 70), voxel(50, 60, 72)
    spacing = (3, 2, 1)
    assert hd(one, other, spacing_mm=spacing) == 2
    assert hd95(one, other, spacing_mm=spacing) == 2
    assert assd(one, other, spacing_mm=spacing) == pytest.approx(1.5)
    for tolerance, share in ((0.9, 0), (1, 0.5), (2, 1)):
        assert nsd(one, other, spacing_mm=spacing, tolerance_mm=tolerance) == pytest.approx(share)


def test_a_block_that_is_one_voxel_longer():
    # Everything but the end's face, and half of the cells around it, lies on the other's surface.
    one, other = block(50, 100, 100), block(51, 100, 100)
    found = surface_distances(one, other, spacing_mm=(2, 1, 1))
    assert found.hausdorff() == 2
    assert found.hausdorff(percent=95) == 2
    assert found.nsd(tolerance_mm=2) == 1
    assert found.nsd(tolerance_mm=1) == pytest.approx(0.836145, abs=1e-3)
    means = [side.distances @ side.sizes / side.sizes.sum() for side in (found.reference, found.prediction)]
    assert means == pytest.approx([0.322, 0.339], abs=1e-3)
    assert means[0] < found.assd() < means[1]


def test_the_surface_of_a_block_is_its_area():
    # Faces are where they are, half a voxel outside the centres; edges and corners are cut off.
    found = surface_distances(block(40, 50, 60), block(40, 50, 60), spacing_mm=(1, 1, 1))
    whole = 2 * (40 * 50 + 40 * 60 + 50 * 60)
    assert found.reference.sizes.sum() == pytest.approx(whole, rel=0.03)


def test_a_line_of_pixels_has_the_length_of_its_outline():
    mask = np.zeros((9, 30), np.bool_)
    mask[4, 5:25] = True
    found = surface_distances(mask, mask, spacing_mm=(2.0, 0.5))
    assert found.reference.sizes.sum() == pytest.approx(2 * 19 * 0.5 + 4 * math.hypot(2, 0.5) / 2)


def test_two_pixels_that_touch_at_a_corner_have_two_lines_between_them():
    mask = np.eye(2, dtype=np.bool_)
    found = surface_distances(mask, mask, spacing_mm=(3.0, 4.0))
    assert found.reference.sizes.sum() == pytest.approx(8 * 2.5)


def test_a_far_speck_moves_the_maximum_alone():
    one = block(30, 30, 30)
    other = one | voxel(90, 90, 90)
    assert hd95(one, other, spacing_mm=(1, 1, 1)) == 0
    assert hd(one, other, spacing_mm=(1, 1, 1)) == pytest.approx(61 * math.sqrt(3), abs=1)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_empty_masks(dimensions):
    empty = np.zeros((8,) * dimensions, np.bool_)
    full = block(*(4,) * dimensions, shape=empty.shape)
    spacing = (1.0,) * dimensions
    both = surface_distances(empty, empty, spacing_mm=spacing)
    assert all(map(math.isnan, (both.nsd(tolerance_mm=1), both.hausdorff(), both.hausdorff(percent=95), both.assd())))
    for one, other in ((empty, full), (full, empty)):
        found = surface_distances(one, other, spacing_mm=spacing)
        assert found.nsd(tolerance_mm=1e9) == 0
        assert found.hausdorff() == found.hausdorff(percent=95) == found.assd() == math.inf


@pytest.mark.parametrize("order", ["C", "F"])
def test_masks_at_the_image_border_have_surface_there(order):
    full = np.ones((5, 6, 7), np.bool_, order=order)
    found = surface_distances(full, full, spacing_mm=(1, 1, 1))
    assert found.reference.sizes.sum() == pytest.approx(2 * (30 + 35 + 42), rel=0.2)


def test_what_is_no_pair_of_masks_is_refused():
    mask = block(2, 2, 2, shape=(4, 4, 4))
    with pytest.raises(ImageError, match="reference == 1"):
        hd(mask.astype(int), mask, spacing_mm=(1, 1, 1))
    with pytest.raises(GeometryMismatchError, match="grid"):
        hd(mask, mask[:3], spacing_mm=(1, 1, 1))
    for spacing in ((1, 1), (1, 1, 0), (1, 1, math.nan), (1, 1, -2)):
        with pytest.raises(GeometryMismatchError, match="spacing"):
            hd(mask, mask, spacing_mm=spacing)
    with pytest.raises(GeometryMismatchError, match="two or three"):
        hd(np.ones((2,) * 4, np.bool_), np.ones((2,) * 4, np.bool_), spacing_mm=(1, 1, 1, 1))


@pytest.mark.filterwarnings("ignore::DeprecationWarning:surface_distance")
@pytest.mark.parametrize("seed", range(40))
def test_figures_are_those_of_deepminds_surface_distance(seed):
    theirs = pytest.importorskip("surface_distance")
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(4, 24, 2 + seed % 2))
    spacing = tuple(rng.choice(SPACINGS, len(shape)))
    reference, prediction = blobs(rng, shape), blobs(rng, shape)
    ours = surface_distances(reference, prediction, spacing_mm=spacing)
    expected = theirs.compute_surface_distances(reference, prediction, spacing)
    for tolerance in (0, 0.8, 1, 1.6, 2, 2.4, 3):
        share = theirs.compute_surface_dice_at_tolerance(expected, tolerance)
        assert ours.nsd(tolerance_mm=tolerance) == pytest.approx(share, abs=1e-9)
    for percent in (50, 95, 100):
        distance = theirs.compute_robust_hausdorff(expected, percent)
        assert ours.hausdorff(percent=percent) == pytest.approx(distance, abs=1e-9)
    means = theirs.compute_average_surface_distance(expected)
    for side, mean in zip((ours.reference, ours.prediction), means, strict=True):
        assert side.distances @ side.sizes / side.sizes.sum() == pytest.approx(mean, abs=1e-9)
