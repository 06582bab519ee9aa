import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samaritan.models import letterbox as letterboxes
from samaritan.models.letterbox import Letterbox

sizes = st.integers(1, 1500)
boxes = st.builds(
    lambda plane, side, multiple: Letterbox.fit(plane, side=side, multiple=multiple),
    st.tuples(sizes, sizes),
    st.sampled_from([64, 256, 512]),
    st.sampled_from([1, 32, 64]),
)


def _from_frame(letterbox, points):
    """Return the indices of the plane that ``to_frame`` takes to some points."""
    return points / letterbox.scale - 0.5 - letterbox.start


@given(boxes)
def test_the_content_fits_the_frame_and_the_frame_is_a_multiple(letterbox):
    assert all(1 <= c <= f for c, f in zip(letterbox.content, letterbox.frame, strict=True))
    assert max(letterbox.content) in (64, 256, 512)
    assert all(f - c < 64 for c, f in zip(letterbox.content, letterbox.frame, strict=True))


@given(boxes)
def test_the_aspect_is_kept_to_a_pixel(letterbox):
    scale = max(letterbox.content) / max(letterbox.plane)
    for content, plane in zip(letterbox.content, letterbox.plane, strict=True):
        assert content == 1 or abs(content - plane * scale) <= 0.5


@given(boxes, st.floats(0, 1), st.floats(0, 1))
def test_a_point_maps_there_and_back(letterbox, u, v):
    index = np.array([u, v]) * letterbox.plane - 0.5
    point = letterbox.to_frame(index)
    assert (point >= -1e-9).all()
    assert (point <= np.array(letterbox.content) + 1e-9).all()
    np.testing.assert_allclose(_from_frame(letterbox, point), index, atol=1e-9)


def test_edges_of_the_plane_are_edges_of_the_content():
    letterbox = Letterbox.fit((640, 480), side=512, multiple=32)
    assert (letterbox.content, letterbox.frame) == ((512, 384), (512, 384))
    np.testing.assert_allclose(letterbox.to_frame([-0.5, -0.5]), [0, 0])
    np.testing.assert_allclose(letterbox.to_frame([639.5, 479.5]), [512, 384])


def test_a_multiple_of_the_side_gives_a_square():
    assert Letterbox.fit((100, 30), side=512, multiple=512).frame == (512, 512)


small = st.builds(
    lambda plane, multiple: Letterbox.fit(plane, side=64, multiple=multiple),
    st.tuples(st.integers(1, 150), st.integers(1, 150)),
    st.sampled_from([1, 32, 64]),
)


@given(small, st.floats(-1000, 1000, width=32))
def test_constants_are_kept_and_padding_is_the_fill(letterbox, value):
    framed = letterbox.image_to_frame(np.full((2, *letterbox.plane, 1), value, np.float32), fill=-7)
    columns, rows = letterbox.content
    np.testing.assert_allclose(framed[:, :rows, :columns], value, rtol=1e-5, atol=1e-5)
    assert (framed[:, rows:] == -7).all()
    assert (framed[:, :, columns:] == -7).all()
    back = letterbox.logits_from_frame(framed)
    assert back.shape == (2, *letterbox.plane, 1)
    assert np.isfinite(back).all()


def crossing(profile, level):
    """Position, in samples, where a rising profile crosses a level."""
    at = int(np.argmax(profile >= level))
    low, high = profile[at - 1], profile[at]
    return at - 1 + (level - low) / (high - low)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("plane", [(37, 53), (512, 512), (640, 427), (901, 1203)])
def test_an_edge_in_the_image_lands_at_its_place_in_the_frame(plane, axis):
    letterbox = Letterbox.fit(plane, side=512, multiple=32)
    edge = plane[axis] // 2  # edge coordinate: half-way of the side, between two pixels
    array = np.zeros((1, *plane, 1), np.float32)
    array.swapaxes(1, 1 + axis)[:, edge:] = 100
    framed = letterbox.image_to_frame(array)[0]
    profile = framed[letterbox.content[1] // 2] if axis == 0 else framed[:, letterbox.content[0] // 2]
    found = crossing(profile, 50) + 0.5  # sample centres to edge coordinates
    assert found == pytest.approx(edge * letterbox.scale[axis], abs=0.1)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize("plane", [(37, 53), (512, 512), (640, 427), (901, 1203)])
def test_logits_of_a_half_plane_cross_zero_at_its_edge(plane, axis, stride):
    letterbox = Letterbox.fit(plane, side=512, multiple=32)
    edge = 0.4 * letterbox.content[axis]
    columns, rows = (n // stride for n in letterbox.frame)
    along = (np.arange((columns, rows)[axis]) + 0.5) * stride - edge
    logits = np.broadcast_to(along if axis == 0 else along[:, None], (1, rows, columns)).astype(np.float32)
    back = letterbox.logits_from_frame(logits)[0, :, :, 0]
    profile = back[:, plane[1] // 2] if axis == 0 else back[plane[0] // 2]
    assert crossing(profile, 0) + 0.5 == pytest.approx(0.4 * plane[axis], abs=0.02)


def test_what_lies_on_padding_does_not_reach_into_the_image():
    letterbox = Letterbox.fit((1000, 599), side=512, multiple=32)  # content 307 rows: 76.75 cells of four
    logits = np.full((1, 80, 128), -20, np.float32)
    logits[:, :77] = 3
    np.testing.assert_allclose(letterbox.logits_from_frame(logits), 3, rtol=1e-6)


@pytest.mark.parametrize("margin", [((0, 0), (0, 0)), ((7, 0), (3, 12))])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("plane", [(37, 53), (512, 512), (640, 427), (901, 1203)])
def test_logits_of_the_plane_cross_zero_at_their_edge_in_the_cells_too(plane, axis, margin):
    letterbox = Letterbox.fit(plane, side=512, multiple=512, margin=margin)
    edge = round(0.4 * plane[axis])
    along = np.arange(plane[axis], dtype=np.float32) + 0.5 - edge
    grid = letterbox.logits_to_frame(np.array(np.broadcast_to(along[:, None] if axis == 0 else along, plane)), side=128)
    cell = 4 / letterbox.scale[axis]  # pixels of the plane
    middle = (letterbox.to_frame([(n - 1) / 2 for n in plane]) / 4).astype(int)
    profile = grid[middle[1]] if axis == 0 else grid[:, middle[0]]
    assert crossing(profile, 0) + 0.5 == pytest.approx((letterbox.start[axis] + edge) / cell, abs=0.02)
    beside = profile[math.ceil((letterbox.start[axis] + plane[axis]) / cell) + 1 :]
    assert (beside == along.min()).all()


def test_logits_that_fit_the_cells_are_not_touched():
    letterbox = Letterbox.fit((64, 40), side=256, multiple=256)
    logits = np.random.default_rng(0).normal(size=(64, 40)).astype(np.float32)
    grid = letterbox.logits_to_frame(logits, side=64)
    assert grid.dtype == np.float32
    np.testing.assert_array_equal(grid[:40], logits.T)
    assert (grid[40:] == logits.min()).all()


def test_i_is_the_column_and_j_the_row():
    letterbox = Letterbox.fit((8, 4), side=8, multiple=8)
    array = np.zeros((1, 8, 4, 1), np.uint8)
    array[0, 6, 1] = 255
    framed = letterbox.image_to_frame(array)
    assert framed.shape == (1, 8, 8)
    assert framed[0, 1, 6] == 255
    assert framed.sum() == 255
    np.testing.assert_array_equal(letterbox.logits_from_frame(framed), array)


def test_shrinking_averages_instead_of_skipping():
    stripes = np.zeros((1, 1024, 1024, 1), np.float32)
    stripes[:, ::2] = 200
    framed = Letterbox.fit((1024, 1024), side=512, multiple=32).image_to_frame(stripes)
    np.testing.assert_allclose(framed[0, 4:-4, 4:-4], 100, atol=1)


def test_repeated_channels_and_any_type_or_order_give_the_same():
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (1, 70, 50, 1), np.uint8)
    letterbox = Letterbox.fit((70, 50), side=64, multiple=32)
    repeated = letterbox.image_to_frame(np.broadcast_to(grey, (3, 70, 50, 1)))
    copied = letterbox.image_to_frame(np.repeat(grey, 3, axis=0).astype(np.float64))
    fortran = letterbox.image_to_frame(np.asfortranarray(np.repeat(grey, 3, axis=0)))
    np.testing.assert_array_equal(repeated, copied)
    np.testing.assert_array_equal(repeated, fortran)


@given(small, st.data())
def test_every_voxel_touches_the_pixel_at_its_centre(letterbox, data):
    index = st.tuples(*(st.integers(0, n - 1) for n in letterbox.plane))
    voxels = np.array(data.draw(st.lists(index, min_size=1, max_size=5)))
    touched = letterbox.voxels_to_frame(voxels)
    for x, y in np.floor(letterbox.to_frame(voxels)).astype(int):
        assert touched[y, x]
    rows, columns = np.nonzero(touched)
    nearest = _from_frame(letterbox, np.stack([columns, rows], axis=1) + 0.5)
    away = np.abs(nearest[:, None] - voxels[None]).max(axis=2).min(axis=1)
    assert (away <= 0.5 + 0.5 / min(letterbox.scale)).all()


def test_a_voxel_that_is_enlarged_fills_its_square():
    touched = Letterbox.fit((8, 8), side=64, multiple=64).voxels_to_frame(np.array([[2, 5]]))
    assert touched[40:48, 16:24].all()
    assert touched.sum() == 64


gaps = st.tuples(st.integers(0, 90), st.integers(0, 90))
margined = st.builds(
    lambda plane, margin, side: Letterbox.fit(plane, side=side, multiple=32, margin=margin),
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
    st.tuples(gaps, gaps),
    st.sampled_from([32, 64, 128]),
)


def with_its_margin_made(letterbox):
    """Return the letterbox of a plane that is as large as another with its margin, and where the other lies in it."""
    side = max(letterbox.content)
    where = tuple(slice(a, a + n) for a, n in zip(letterbox.start, letterbox.plane, strict=True))
    return Letterbox.fit(letterbox.whole, side=side, multiple=32), where


@given(margined, st.integers(0, 2**32 - 1))
def test_a_margin_is_like_a_larger_plane_that_nobody_has_to_make(letterbox, seed):
    rng = np.random.default_rng(seed)
    larger, where = with_its_margin_made(letterbox)
    assert (larger.content, larger.frame) == (letterbox.content, letterbox.frame)
    plane = rng.normal(size=(2, *letterbox.plane, 1)).astype(np.float32)

    filled = np.full((2, *letterbox.whole, 1), -5, np.float32)
    filled[(slice(None), *where)] = plane
    wanted = larger.image_to_frame(filled, fill=-5)
    np.testing.assert_allclose(letterbox.image_to_frame(plane, fill=-5), wanted, atol=1e-4)

    cells = rng.normal(size=(2, *(n // 2 for n in letterbox.frame[::-1]))).astype(np.float32)
    wanted = larger.logits_from_frame(cells)[(slice(None), *where)]
    np.testing.assert_allclose(letterbox.logits_from_frame(cells), wanted, atol=1e-4)

    voxels = np.argwhere(plane[0, ..., 0] > 1.5)
    np.testing.assert_array_equal(letterbox.voxels_to_frame(voxels), larger.voxels_to_frame(voxels + letterbox.start))
    np.testing.assert_array_equal(letterbox.to_frame(voxels), larger.to_frame(voxels + letterbox.start))
    np.testing.assert_allclose(_from_frame(letterbox, letterbox.to_frame(voxels)), voxels, atol=1e-9)


@given(margined, st.integers(0, 2**32 - 1))
def test_without_a_fill_the_edges_are_drawn_out_into_the_margin(letterbox, seed):
    plane = np.random.default_rng(seed).normal(size=(1, *letterbox.plane, 1)).astype(np.float32)
    larger, _ = with_its_margin_made(letterbox)
    wanted = larger.image_to_frame(np.pad(plane, ((0, 0), *letterbox.margin, (0, 0)), "edge"))[0]
    found = letterbox.image_to_frame(plane, fill=None)[0]
    (x0, y0), (x1, y1) = letterbox.to_frame([[-0.5, -0.5], np.array(letterbox.plane) - 0.5])
    on_plane = np.s_[int(y0) : int(np.ceil(y1)), int(x0) : int(np.ceil(x1))]
    np.testing.assert_allclose(found[on_plane], wanted[on_plane], atol=1e-4)


@given(margined, st.sampled_from([8, 32]), st.integers(0, 2**32 - 1))
def test_logits_are_enlarged_as_pillow_enlarges_them(letterbox, cells, seed):
    logits = np.random.default_rng(seed).normal(size=(2, cells, cells)).astype(np.float32)
    found = letterbox.logits_from_frame(logits)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            letterboxes,
            "_enlarge",
            lambda masks, size, *, box: np.stack([letterboxes._resize(mask, size, box=box) for mask in masks]),
        )
        wanted = letterbox.logits_from_frame(logits)
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    assert found.flags.c_contiguous == wanted.flags.c_contiguous
