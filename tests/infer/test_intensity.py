"""Intensities: which window, which percentiles, and what a model sees of colour."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from samaritan.core.errors import ImageError, UnknownNameError
from samaritan.core.geometry import Geometry
from samaritan.core.image import RGB, Image
from samaritan.core.model import ModelCard
from samaritan.infer.intensity import WINDOWS, IntensityMap, parse_window


def card(channels=3, intensity_range=(0.0, 255.0), ct_window=None, *, standardises=False):
    return ModelCard(
        name="x", family="x", title="x", licence="MIT", commercial_use=True, native_shape=(8, 8), dims=2,
        prompts=frozenset({"point"}), sha256="0" * 64, channels=channels, intensity_range=intensity_range,
        ct_window=ct_window, standardises=standardises,
    )  # fmt: skip


def image(values, modality="", **fields):
    array = np.asarray(values)
    array = array.reshape(1, -1, 1, 1) if array.ndim == 1 else array
    return Image(array, Geometry.picture(*array.shape[1:3]), modality=modality, **fields)


def prepared(source, window=None, **wanted):
    return IntensityMap.of(source, card(**wanted), window=window)(source).array[:, :, 0, 0]


def scale_of(source):
    [scale] = IntensityMap.of(source, card()).scales
    return scale


@pytest.mark.parametrize(
    ("text", "window"),
    [("lung", (-600, 1500)), ("Soft Tissue", (40, 400)), ("soft_tissue", (40, 400)), ("40,400", (40, 400)),
     ("-600.5, 1500", (-600.5, 1500))],
)  # fmt: skip
def test_windows_by_name_and_in_numbers(text, window):
    assert parse_window(text) == window


def test_an_unknown_window_suggests_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'lung'"):
        parse_window("lungs")


@pytest.mark.parametrize("text", ["40,0", "40,-5", "nan,4", "1,inf"])
def test_windows_that_cannot_be_are_refused(text):
    with pytest.raises(ImageError, match="width above 0"):
        parse_window(text)


def test_every_named_window_can_be_used():
    hounsfield = image(np.arange(-1000, 3000, dtype=np.int16))
    for name in WINDOWS:
        assert prepared(hounsfield, window=name).max() == 255


def test_ct_is_windowed_to_soft_tissue_and_clipped():
    values = image(np.array([-1000, -160, 40, 240, 3000], np.int16), "CT")
    np.testing.assert_allclose(prepared(values)[0], [0, 0, 127.5, 255, 255])


def test_values_that_only_hounsfield_units_have_are_windowed_too():
    values = [-1000, -160, 40, 240]
    np.testing.assert_allclose(prepared(image(np.array(values, np.int16)))[0], [0, 0, 127.5, 255])
    # a modality that is known is believed
    assert scale_of(image(np.array(values, np.int16), "MR")).low > -160 - 1


@pytest.mark.parametrize(
    ("modality", "lowest", "told"), [("", -1000, "CT"), ("", -400, ""), ("CT", 0, "CT"), ("MR", -1000, "MR")]
)
def test_the_model_is_told_that_values_are_hounsfield_units(modality, lowest, told):
    source = image(np.array([lowest, 0, 40, 90], np.int16), modality)
    assert IntensityMap.of(source, card())(source).modality == told


def test_ct_is_shown_in_the_window_that_the_model_was_trained_on():
    values = np.array([-1000, 0, 1000], np.int16)
    np.testing.assert_allclose(prepared(image(values, "CT"), ct_window=(0.0, 2000.0))[0], [0, 127.5, 255])
    np.testing.assert_allclose(prepared(image(values, "CT"), "40,400", ct_window=(0.0, 2000.0))[0, 2], 255)
    other = prepared(image(np.array([0, 1, 1000], np.int16), "MR"), ct_window=(0.0, 2000.0))
    assert other[0, 2] == 255


RAW = {"channels": 1, "intensity_range": (-2000.0, 2000.0), "ct_window": (0.0, 1000.0), "standardises": True}


@pytest.mark.parametrize(
    ("window", "low", "high"), [(None, -500, 500), ("lung", -500, 150), ("bone", -500, 500), ((40.0, 80.0), 0, 80)]
)
def test_a_model_that_standardises_gets_hounsfield_units_on_one_scale_whatever_the_window(window, low, high):
    values = np.array([-1000, -400, 0, 30, 100, 900], np.int16)
    for source in (image(values, "CT"), image(values)):
        np.testing.assert_allclose(prepared(source, window, **RAW)[0], 4 * np.clip(values, low, high), atol=1e-3)


def test_a_window_beside_what_such_a_model_sees_is_refused():
    with pytest.raises(ImageError, match=r"from 600 to 800 on values from -1000 to 900: nothing to see"):
        prepared(image(np.array([-1000, 0, 900], np.int16), "CT"), (700, 200), **RAW)


def test_a_model_that_standardises_gets_all_values_of_anything_else():
    """PET's few hot voxels are what is looked for: percentiles would make them all the same."""
    uptake = np.concatenate([np.linspace(0, 2, 10_000), [8, 12, 20, 40]])
    for dtype in (np.float32, np.float64):
        seen = prepared(image(uptake.astype(dtype), "PT"), **RAW)[0]
        np.testing.assert_allclose(seen, uptake * 100 - 2000, atol=1e-2)
    np.testing.assert_allclose(prepared(image(uptake, "PT"), (5, 10), **RAW)[0], np.clip(uptake, 0, 10) * 400 - 2000)
    np.testing.assert_allclose(
        prepared(image(np.array([3, 100], np.uint8)), **{**RAW, "intensity_range": (0, 255)}), [[3, 100]]
    )


def test_a_window_goes_before_everything():
    np.testing.assert_allclose(
        prepared(image(np.array([0, 100, 200], np.uint8)), window=(100, 100))[0], [0, 127.5, 255]
    )


def test_the_files_own_window_is_used_when_asked_for():
    np.testing.assert_allclose(
        prepared(image(np.array([0, 50, 90]), window=(50, 20)), window="file")[0], [0, 127.5, 255]
    )
    with pytest.raises(ImageError, match="carries none"):
        prepared(image(np.array([0, 50, 90])), window="file")


def test_eight_bits_stay_as_they_are():
    np.testing.assert_array_equal(prepared(image(np.array([3, 100, 200], np.uint8)))[0], [3, 100, 200])


def test_mr_is_scaled_by_percentiles_without_the_background():
    tissue = np.linspace(100, 1100, 10001)
    values = image(np.concatenate([np.zeros(90000), tissue, [1e6]]).astype(np.float32), "MR")
    mapped = scale_of(values)
    # half a percent of the tissue's range of 1000, at both ends; not pulled down by nine parts of air
    assert mapped.low == pytest.approx(105, abs=1)
    assert mapped.high == pytest.approx(1095, abs=1)


def test_the_range_and_channels_are_the_models():
    grey = image(np.array([0, 255], np.uint8))
    np.testing.assert_allclose(prepared(grey, intensity_range=(-1, 1)), [[-1, 1]] * 3)
    assert prepared(grey, channels=1).shape == (1, 2)


def test_colour_stays_colour_and_becomes_luma_for_one_channel():
    red = np.zeros((3, 2, 1, 1), np.uint8)
    red[0, 0] = 255
    source = Image(red, Geometry.picture(2, 1), RGB)
    np.testing.assert_allclose(prepared(source), [[255, 0], [0, 0], [0, 0]])
    np.testing.assert_allclose(prepared(source, channels=1), [[0.299 * 255, 0]], rtol=1e-5)


def test_of_other_channels_the_first_is_taken():
    array = np.stack([np.array([[[0]], [[255]]]), np.array([[[9]], [[9]]])]).astype(np.uint8)
    source = Image(array, Geometry.picture(2, 1), ("t1", "flair"))
    np.testing.assert_array_equal(prepared(source), [[0, 255]] * 3)


def test_grey_is_repeated_without_copying():
    source = image(np.array([0, 255], np.uint8))
    assert IntensityMap.of(source, card())(source).array.strides[0] == 0


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_a_constant_image_is_refused(dtype):
    with pytest.raises(ImageError, match=r"all 7.*contrast.*nothing to segment"):
        prepared(image(np.full(9, 7, dtype)))


def test_a_window_beside_all_values_is_refused():
    with pytest.raises(ImageError, match="nothing to see"):
        prepared(image(np.arange(10, dtype=np.int16), "CT"), window=(3000, 100))


def test_all_planes_of_a_volume_are_scaled_alike():
    array = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)
    volume = Image(array, Geometry.from_spacing((2, 3, 4)), modality="MR")
    scale = IntensityMap.of(volume, card())
    whole = scale(volume)
    for index in range(4):
        np.testing.assert_array_equal(scale(volume.plane("k", index)).array, whole.plane("k", index).array)
    assert scale(volume.plane("i", 1)).geometry == volume.geometry.plane("i", 1)


@given(
    hnp.arrays(
        st.sampled_from(
            [np.uint8, np.int8, np.uint16, np.int16, np.int32, np.uint64, np.float16, np.float32, np.float64]
        ),
        st.tuples(st.just(1), st.integers(1, 6), st.integers(1, 6), st.integers(1, 3)),
        elements={"allow_nan": False, "allow_infinity": False},
    ).filter(lambda a: a.min() != a.max())
)
@example(np.array([[[[1.25, 0.0, 1.0]]]], np.float16))
def test_any_image_with_contrast_lands_in_the_models_range(array):
    source = Image(array, Geometry.from_spacing(array.shape[1:]))
    try:
        result = IntensityMap.of(source, card(intensity_range=(-2, 3)))(source).array
    except ImageError as error:  # values in Hounsfield units all below the window
        assert "nothing to see" in str(error)  # noqa: PT017 - only some inputs raise
        return
    assert result.dtype == np.float32
    assert result.shape == (3, *source.shape)
    assert np.isfinite(result).all()
    assert result.min() >= -2
    assert result.max() <= 3
