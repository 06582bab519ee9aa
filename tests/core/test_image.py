"""Images and label maps: what cannot be built, and what they give."""

import numpy as np
import pytest

from samaritan.core.errors import GeometryMismatchError, ImageError, UnknownNameError
from samaritan.core.geometry import Geometry
from samaritan.core.image import RGB, Image, LabelMap

GRID = Geometry.from_spacing((4, 5, 6), (1, 1, 2))


def test_an_image_is_a_read_only_view():
    array = np.zeros((1, 4, 5, 6), np.int16)
    image = Image(array, GRID)
    assert np.shares_memory(image.array, array)
    with pytest.raises(ValueError, match="read-only"):
        image.array[0, 0, 0, 0] = 1
    array[0, 0, 0, 0] = 7  # the owner may still write


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 5, 6), np.int16),
        np.zeros((1, 4, 5, 6), bool),
        np.zeros((1, 4, 5, 6), complex),
        np.zeros((2, 4, 5, 6), np.uint8),
        np.zeros((1, 4, 5, 6), np.longdouble),
    ],
)
def test_an_array_that_is_no_image_is_refused(array):
    with pytest.raises(ImageError):
        Image(array, GRID)


def test_an_image_has_a_channel():
    with pytest.raises(ImageError, match="channel"):
        Image(np.zeros((0, 4, 5, 6)), GRID, channels=())


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_must_be_finite(bad):
    array = np.zeros((1, 4, 5, 6), np.float32)
    array[0, 1, 2, 3] = bad
    with pytest.raises(ImageError, match="1 of 120 voxels"):
        Image(array, GRID)


def test_the_array_must_fit_the_grid():
    with pytest.raises(GeometryMismatchError):
        Image(np.zeros((1, 4, 5, 5)), GRID)


def test_planes_and_channels():
    array = np.random.default_rng(0).random((3, 4, 5, 6))
    image = Image(array, GRID, channels=RGB)
    assert image.is_colour
    plane = image.plane("j", 2)
    np.testing.assert_array_equal(plane.array[..., 0], array[:, :, 2, :])
    assert plane.geometry.spacing == (1, 2, 1)
    green = image.channel("green")
    assert green.channels == ("green",)
    np.testing.assert_array_equal(green.array[0], array[1])
    with pytest.raises(UnknownNameError, match="Did you mean 'green'"):
        image.channel("grean")


def test_images_become_channels_of_one():
    rng = np.random.default_rng(1)
    t1, t2 = (rng.integers(0, 99, (1, *GRID.shape)).astype(dtype) for dtype in (np.int16, np.float32))
    parts = {"t1": Image(t1, GRID, modality="MR", window=(4, 2), source="a.nii"), "t2": Image(t2, GRID, modality="MR")}
    both = Image.from_channels(parts)
    assert (both.channels, both.modality, both.window, both.source) == (("t1", "t2"), "MR", None, "a.nii")
    np.testing.assert_array_equal(both.array, np.concatenate([t1, t2]))
    assert both.array.dtype == np.float32
    assert both.array[0].flags.f_contiguous
    np.testing.assert_array_equal(both.channel("t2").array, t2)
    assert Image.from_channels({"t1": parts["t1"]}).window == (4, 2)
    assert (
        Image.from_channels({"ct": Image(t1, GRID, modality="CT"), "pet": Image(t2, GRID, modality="PT")}).modality
        == ""
    )


def test_images_that_cannot_be_channels_of_one_are_refused():
    t1 = Image(np.zeros((1, *GRID.shape)), GRID)
    with pytest.raises(ImageError, match="no image"):
        Image.from_channels({})
    with pytest.raises(ImageError, match="'t2' with channels of its own: red, green, blue"):
        Image.from_channels({"t1": t1, "t2": Image(np.zeros((3, *GRID.shape)), GRID, RGB)})
    moved = Geometry.from_spacing(GRID.shape, (1, 1, 3))
    with pytest.raises(GeometryMismatchError, match="channel 't2'"):
        Image.from_channels({"t1": t1, "t2": Image(t1.array, moved)})


def test_label_map_from_masks_lets_the_first_win():
    first, second = np.zeros(GRID.shape, bool), np.zeros(GRID.shape, bool)
    first[:2], second[1:3] = True, True
    labels = LabelMap.from_masks({"liver": first, "spleen": second}, GRID)
    assert labels.labels == (1, 2)
    assert [labels.name(v) for v in (1, 2, 3)] == ["liver", "spleen", "label 3"]
    np.testing.assert_array_equal(labels.mask(1), first)
    np.testing.assert_array_equal(labels.mask(2), second & ~first)


def test_masks_of_numbers_are_masks_and_those_of_another_shape_are_none():
    labels = LabelMap.from_masks({"liver": np.full(GRID.shape, 255, np.uint8)}, GRID)
    assert labels.mask(1).all()
    with pytest.raises(GeometryMismatchError, match="liver"):
        LabelMap.from_masks({"liver": np.ones((1, 1, 1), bool)}, GRID)


@pytest.mark.parametrize("colour", [(256, 0, 0), (-1, 0, 0), (1, 2)])
def test_a_colour_is_three_bytes(colour):
    with pytest.raises(ImageError, match="colour"):
        LabelMap(np.zeros(GRID.shape, np.uint8), GRID, colours={1: colour})


@pytest.mark.parametrize("array", [np.full(GRID.shape, -1), np.zeros(GRID.shape, np.float32)])
def test_labels_are_whole_and_not_negative(array):
    with pytest.raises(ImageError):
        LabelMap(array, GRID)


def test_background_has_no_name():
    with pytest.raises(ImageError):
        LabelMap(np.zeros(GRID.shape, np.uint8), GRID, {0: "background"})
