import numpy as np
import pytest

from samaritan.testing.phantoms import FAT_HU, KIDNEY_HU, LIVER_HU, ct_volume, many_objects, picture


def test_the_ct_has_the_hounsfield_units_of_its_labels():
    phantom = ct_volume()
    for value, unit in ((0, FAT_HU), (1, LIVER_HU), (2, KIDNEY_HU)):
        assert (phantom.image.array[0][phantom.truth.array == value] == unit).all()
    assert phantom.truth.labels == (1, 2)
    assert phantom.image.modality == "CT"


def test_the_ct_takes_any_affine():
    affine = np.array([[0, 0, -3.0, 5], [0.8, 0, 0, 6], [0, 0.9, 0, 7], [0, 0, 0, 1]])
    phantom = ct_volume((20, 30, 10), affine=affine)
    assert phantom.image.geometry.orientation == "ASL"
    assert phantom.image.shape == (20, 30, 10)


def test_noise_is_reproducible_and_has_its_strength():
    first, second = (ct_volume(noise_hu=20).image.array for _ in range(2))
    np.testing.assert_array_equal(first, second)
    noise = first.astype(float) - ct_volume().image.array
    assert noise.std() == pytest.approx(20, rel=0.05)


@pytest.mark.parametrize("shape", [(1, 1), (2, 1), (7, 96), (96, 64)])
def test_a_picture_of_any_size_has_its_truth(shape):
    phantom = picture(*shape, colour=True)
    assert phantom.image.shape == (*shape, 1)
    assert phantom.image.is_colour
    assert phantom.image.array.dtype == np.uint8


def test_every_object_has_its_own_label_and_grey():
    phantom = many_objects(3, 4)
    assert phantom.truth.labels == tuple(range(1, 13))
    greys = [np.unique(phantom.image.array[0][phantom.mask(value)]).tolist() for value in phantom.truth.labels]
    assert len({grey for (grey,) in greys}) == 12


def test_boxes_are_tight_and_widen_within_the_image():
    phantom = picture()
    box = phantom.box(1)
    mask = phantom.mask(1)
    inside = tuple(slice(a, b) for a, b in zip(box.start, box.stop, strict=True))
    assert mask[inside].sum() == mask.sum()
    assert all(mask[inside].any(axis=tuple({0, 1, 2} - {a})).all() for a in range(3))
    wide = phantom.box(1, margin=1000)
    assert (wide.start, wide.stop) == ((0, 0, 0), phantom.image.shape)
