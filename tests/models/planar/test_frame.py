"""Pictures are prepared as each family's own repository does it: what is said here by hand, the cards must say."""

from dataclasses import replace

import numpy as np
import pytest
from tests.models.planar.frames import frame_of, framed_names

from samaritan.core.geometry import Geometry
from samaritan.core.image import RGB, Image
from samaritan.models.planar import FrameSpec

COLOUR = (10.0, 20.0, 210.0)
IMAGENET = ((10 - 123.675) / 58.395, (20 - 116.28) / 57.12, (210 - 103.53) / 57.375)
BLUE_FIRST = ((210 - 123.675) / 58.395, (20 - 116.28) / 57.12, (10 - 103.53) / 57.375)
MINMAX = (0.0, 0.05, 1.0)
SIGNED = (10 / 127.5 - 1, 20 / 127.5 - 1, 210 / 127.5 - 1)

# Of a bright line of 101 in the dark, two pixels to one of the frame: what the pixel it lies in gets, and the next.
TRIANGLE, TRIANGLE_OF_FLOATS = (38, 13), (37.875, 12.625)
CUBIC, MEAN, NEAREST = (44, 11), (51, 0), (101, 0)

SAM = (1024, "pad", IMAGENET, TRIANGLE)
SAM2 = (1024, "stretch", IMAGENET, TRIANGLE_OF_FLOATS)
SAM2_VOLUME = (1024, "stretch", IMAGENET, CUBIC)
SAM3 = (1008, "stretch", SIGNED, TRIANGLE)
SAM_MED2D = (256, "centre", BLUE_FIRST, NEAREST)
SIZES = ("tiny", "small", "base-plus", "large")

# Sides of the frame, how the plane fills it, what becomes of COLOUR, and which filter.
PREPARED = {
    **{f"{family}-vit-{size}": SAM for family in ("sam", "sam-hq") for size in "blh"},
    "sam-hq-vit-tiny": SAM,
    "medsam": (1024, "stretch", MINMAX, CUBIC),
    "mobile-sam": SAM,
    "lite-medsam": (256, "pad", MINMAX, MEAN),
    "sam-med2d": SAM_MED2D,
    "sam-med2d-ft": SAM_MED2D,
    **{f"{version}-{size}": SAM2 for version in ("sam2", "sam2.1") for size in SIZES},
    **{f"{version}-{size}-volume": SAM2_VOLUME for version in ("sam2", "sam2.1") for size in SIZES},
    "medsam2": (512, "stretch", IMAGENET, TRIANGLE_OF_FLOATS),
    "medsam2-volume": (512, "stretch", IMAGENET, CUBIC),
    "sam3": SAM3,
    "sam3-concept": SAM3,
}


def picture(array):
    """Return the image of (c, i, j)."""
    array = np.asarray(array, np.float32)
    return Image(array[..., None], Geometry.picture(*array.shape[1:]), RGB)


def grey(plane):
    return picture(np.broadcast_to(np.asarray(plane, np.float32), (3, *np.shape(plane))))


def raw(frame):
    """Return a frame whose values tell what they were in [0, 255]; see ``told``."""
    return replace(frame, values="signed", colours="rgb")


def told(prepared):
    return (prepared + 1) * 127.5


def test_every_published_model_is_here():
    assert set(framed_names()) == set(PREPARED)


@pytest.mark.parametrize("name", PREPARED)
def test_the_frame_is_filled_and_values_are_scaled_as_in_its_repository(name):
    side, fit, values, _ = PREPARED[name]
    plane = np.broadcast_to(np.reshape(COLOUR, (3, 1, 1)), (3, 2 * side, side))
    prepared = frame_of(name).picture(picture(plane))
    rows = side // 2 if fit == "pad" else side
    wanted = np.broadcast_to(np.reshape(values, (3, 1, 1)), (3, rows, side))
    np.testing.assert_allclose(prepared[0, :, :rows], wanted, atol=1e-5)
    assert prepared.shape == (1, 3, side, side)
    assert (prepared[0, :, rows:] == 0).all()


@pytest.mark.parametrize("name", PREPARED)
def test_what_is_smaller_than_the_frame_is_enlarged_unless_it_was_not_in_training(name):
    side, fit, *_ = PREPARED[name]
    assert frame_of(name).letterbox((side // 2, side // 4)).scale[0] == (1 if fit == "centre" else 2)


@pytest.mark.parametrize("name", PREPARED)
def test_pixels_are_interpolated_as_in_its_repository(name):
    side, _, _, wanted = PREPARED[name]
    plane = np.zeros((2 * side, 4))
    plane[101] = 101  # in the pixel of the frame that begins at 100
    profile = told(raw(frame_of(name)).picture(grey(plane)))[0, 0, 0]
    np.testing.assert_allclose(profile[49:53], (0, *wanted, 0), atol=1e-3)


def test_an_area_may_cut_pixels_whether_the_plane_shrinks_or_grows():
    for plane, wanted in (
        ((100, 50, 200, 10, 30), ((100 + 50 + 200 / 2) / 2.5, (200 / 2 + 10 + 30) / 2.5)),
        ((30, 90, 60), (30, (2 * 30 + 90) / 3, 90, (90 + 2 * 60) / 3, 60)),
    ):
        side = len(wanted)
        for way, across in ((np.array(plane)[:, None], 0), (np.array(plane)[None], 1)):
            frame = FrameSpec(side, fit="stretch", values="signed", filter="area")
            prepared = told(frame.picture(grey(way)))[0, 0]
            np.testing.assert_allclose(prepared if across == 0 else prepared.T, [wanted] * side, atol=1e-3)


@pytest.mark.parametrize("size", [(512, 512), (300, 517), (61, 47), (256, 100), (7, 1000)])
def test_an_area_is_what_opencv_calls_one(size):
    cv2 = pytest.importorskip("cv2", reason="OpenCV comes with the extra 'train'")
    plane = np.random.default_rng(0).integers(0, 256, size)
    columns, rows = FrameSpec(256).letterbox(size).content
    wanted = cv2.resize(plane.T.astype(np.uint8), (columns, rows), interpolation=cv2.INTER_AREA)
    found = told(raw(frame_of("lite-medsam")).picture(grey(plane)))[0, 0, :rows, :columns]
    assert np.abs(found - wanted).max() <= 1.001  # it computes in fewer digits
    assert np.abs(found - wanted).mean() <= 0.05


def test_values_beyond_the_range_stay_at_its_end():
    prepared = FrameSpec(2, fit="stretch", values="signed").picture(grey([[255.6, 300.0], [-0.6, -9.0]]))
    np.testing.assert_allclose(told(prepared)[0, 0], [[255, 0], [255, 0]], atol=1e-3)


@pytest.mark.parametrize(
    ("size", "left", "above"), [((100, 60), 78, 98), ((101, 61), 77, 97), ((255, 1), 0, 127), ((1, 1), 127, 127)]
)
def test_what_is_smaller_than_the_frame_lies_in_its_middle(size, left, above):
    frame = FrameSpec(256, fit="centre", values="minmax", filter="nearest")
    plane = np.random.default_rng(0).integers(0, 256, size)
    plane[-1, -1], plane[0, 0] = 255, 0
    prepared = frame.picture(grey(plane))[0, 0]
    where = np.s_[above : above + size[1], left : left + size[0]]
    np.testing.assert_allclose(prepared[where], plane.T / max(1, np.ptp(plane)), atol=1e-6)
    prepared[where] = 0
    assert (prepared == 0).all()
    letterbox = frame.letterbox(size)
    np.testing.assert_array_equal(letterbox.to_frame([(0, 0)]), [(left + 0.5, above + 0.5)])
    logits = np.random.default_rng(1).normal(size=(1, 256, 256)).astype(np.float32)
    np.testing.assert_allclose(letterbox.logits_from_frame(logits)[0, ..., 0], logits[0][where].T, atol=1e-6)


@pytest.mark.parametrize("size", [(256, 100), (100, 256), (300, 20), (256, 256)])
def test_what_is_as_long_as_the_frame_fills_it(size):
    stretched, centred = (FrameSpec(256, fit=fit) for fit in ("stretch", "centre"))
    image = grey(np.random.default_rng(0).integers(0, 256, size))
    np.testing.assert_array_equal(centred.picture(image), stretched.picture(image))
    assert centred.letterbox(size) == stretched.letterbox(size)


@pytest.mark.parametrize("filter_", ["bilinear", "bicubic", "nearest", "area"])
@pytest.mark.parametrize("fit", ["pad", "stretch", "centre"])
@pytest.mark.parametrize("size", [(61, 47), (64, 300), (517, 300)])
def test_a_pixel_lies_in_the_picture_where_a_click_on_it_is_put(size, fit, filter_):
    frame = FrameSpec(256, fit=fit, values="signed", filter=filter_)
    plane = np.zeros(size)
    block = np.s_[20:34, 10:19]
    plane[block] = 200
    prepared = frame.picture(grey(plane))[0, 0]
    bright = np.where(prepared == 0, 0, told(prepared))  # without padding
    rows, columns = np.indices(bright.shape) + 0.5  # centres of the frame's pixels
    found = np.array([(columns * bright).sum(), (rows * bright).sum()]) / bright.sum()
    apart = np.abs(found - frame.letterbox(size).to_frame((26.5, 14.0)))
    # A pixel that is taken whole may be half of one off; all others are weighed.
    assert (apart <= (0.75 if filter_ == "nearest" else 0.1)).all()


def test_a_click_is_half_a_pixel_of_the_plane_from_where_the_original_puts_it():
    # Segment Anything: index times scale, and half a pixel of the frame; see decision 0009.
    for size, far in (((61, 47), 1.6), ((256, 100), 0.0), ((512, 300), -0.25)):
        scale = 256 / max(size)
        found = FrameSpec(256).letterbox(size).to_frame((30, 0))[0]
        assert found == pytest.approx((30 + 0.5) * scale)
        assert found - (30 * scale + 0.5) == pytest.approx(far, abs=0.01)
