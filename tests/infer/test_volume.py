"""Volumes slice by slice: routes, starts, bridges, stops."""

import numpy as np
import pytest
from tests.infer.batching import Batching

from samaritan.core.geometry import Geometry
from samaritan.core.image import Image
from samaritan.core.prompts import Box, Lasso, MaskPrompt, Point, Prompts, Scribble
from samaritan.infer import EmbeddingCache, Propagation, segment
from samaritan.infer.propagation import Slice, has_left
from samaritan.infer.volume import plan_route
from samaritan.testing import FakeModel
from samaritan.testing.phantoms import ct_volume

GRID = Geometry.from_spacing((48, 40, 24), (1, 1, 2))
CENTRE = (17, 14, 8)  # of the liver of the CT phantom


def dice(reference, prediction):
    return 2 * np.count_nonzero(reference & prediction) / (np.count_nonzero(reference) + np.count_nonzero(prediction))


def run(image, *items, model=None, **options):
    prompts = Prompts(image.geometry, items)
    [found] = segment(model or FakeModel(), image, {"it": prompts}, **options).objects
    return found.mask


def volume_of(labels, levels):
    """Return an 8-bit volume whose grey levels are those of the labels."""
    return Image(np.asarray(levels, np.uint8)[labels][None], Geometry.from_spacing(labels.shape))


def tube(centres, radii, shape=(40, 40)):
    """Return a stack (i, j, k) of disks, one a slice; a radius of 0 leaves the slice empty."""
    a, b = np.ogrid[: shape[0], : shape[1]]
    return np.stack(
        [((a - c[0]) ** 2 + (b - c[1]) ** 2 <= r**2) & (r > 0) for c, r in zip(centres, radii, strict=True)], axis=-1
    )


# -- routes --------------------------------------------------------------------------------------------------------


def route(*items, axis="k"):
    found = plan_route(Prompts(GRID, items), axis)
    return found.prompted, found.unstarted, (found.start, found.stop)


def mask_on(*slices):
    mask = np.zeros(GRID.shape, bool)
    mask[3:9, 3:9, list(slices)] = True
    return MaskPrompt(mask)


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([Point((1, 1, 5))], ((5,), (), (0, 24))),
        ([Point((1, 1, 5)), Point((1, 1, 9)), Point((2, 2, 7), positive=False)], ((5, 9), (), (0, 24))),
        ([Box((1, 1, 5), (9, 9, 6))], ((5,), (), (0, 24))),
        ([Box((1, 1, 5), (9, 9, 12))], ((), ((5, 12),), (5, 12))),
        ([Box((1, 1, 5), (9, 9, 12)), Point((2, 2, 6))], ((6,), (), (5, 12))),
        ([Box((1, 1, 5), (9, 9, 12)), Point((2, 2, 15))], ((15,), ((5, 12),), (5, 16))),
        ([Box((1, 1, 2), (9, 9, 5)), Box((1, 1, 8), (9, 9, 11))], ((), ((2, 5), (8, 11)), (2, 11))),
        ([Scribble(np.array([[1, 1, 3], [1, 1, 5]]))], ((3, 5), (), (0, 24))),
        ([mask_on(4)], ((4,), (), (0, 24))),
        ([mask_on(4, 5, 7)], ((4, 5, 7), (), (4, 8))),
        ([mask_on(4, 5, 7), Point((1, 1, 5))], ((4, 5, 7), (), (4, 8))),
        ([mask_on(4, 5), Point((1, 1, 9))], ((4, 5, 9), (), (0, 24))),
    ],
)
def test_routes(items, expected):
    assert route(*items) == expected


# -- objects -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "items",
    [
        [Point(CENTRE)],
        [Point((*CENTRE[:2], 5)), Point((*CENTRE[:2], 12))],
        [Box((7, 6, 8), (28, 24, 9))],
        [Box((5, 4, 2), (30, 26, 16))],
        [Scribble(np.array([[n, 14, 8] for n in range(12, 22)]))],
        [Lasso(np.array([[6, 6, 8], [28, 6, 8], [28, 23, 8], [6, 23, 8]]))],
        [Box((7, 6, 5), (28, 24, 6)), Box((7, 6, 11), (28, 24, 12))],
    ],
    ids=["click", "two clicks", "box on a slice", "loose box", "scribble", "lasso", "two boxes"],
)
@pytest.mark.parametrize("noise_hu", [0, 15])
def test_every_kind_of_prompt_finds_the_organ(items, noise_hu):
    phantom = ct_volume(noise_hu=noise_hu)
    assert dice(phantom.mask(1), run(phantom.image, *items)) > 0.93


def test_each_slice_is_encoded_and_decoded_about_once():
    phantom = ct_volume()
    model = FakeModel()
    mask = run(phantom.image, Point(CENTRE), model=model)
    slices = int(mask.any(axis=(0, 1)).sum())
    assert model.embeds <= slices + 2
    assert model.decodes <= slices + 6


def test_nothing_outside_the_box_is_kept():
    phantom = ct_volume()
    box = Box((10, 10, 6), (20, 18, 11))
    mask = run(phantom.image, box)
    inside = np.zeros_like(mask)
    inside[10:20, 10:18, 6:11] = True
    assert mask.any()
    assert not (mask & ~inside).any()


def test_a_box_starts_where_there_is_something():
    labels = tube([(20, 20)] * 24, [0] * 14 + [8] * 6 + [0] * 4).astype(int)
    image = volume_of(labels, [30, 200])
    assert dice(labels > 0, run(image, Box((10, 10, 2), (31, 31, 23)))) > 0.95


def test_the_mask_follows_an_oblique_tube():
    labels = tube([(8 + n, 30 - n) for n in range(24)], [5] * 24).astype(int)
    image = volume_of(labels, [30, 200])
    assert dice(labels > 0, run(image, Point((20, 18, 12)))) > 0.97


def test_the_mask_stops_where_the_object_ends_and_another_begins():
    below = tube([(20, 20)] * 24, [9] * 12 + [0] * 12)
    above = tube([(20, 20)] * 24, [0] * 12 + [9] * 12)
    image = volume_of(below + 2 * above.astype(int), [30, 120, 220])
    assert np.array_equal(run(image, Point((20, 20, 6))), below)
    assert np.array_equal(run(image, Point((20, 20, 18))), above)


def test_the_mask_does_not_leak_where_the_object_opens_into_a_large_one():
    labels = tube([(20, 20)] * 24, [4] * 12 + [19] * 12).astype(int)
    image = volume_of(labels, [30, 200])
    mask = run(image, Point((20, 20, 4)))
    assert np.array_equal(mask[..., :12], labels[..., :12] > 0)
    assert mask[..., 12:].sum() < 0.2 * labels[..., 12:].sum()


def test_gaps_between_prompted_slices_are_filled_even_where_nothing_shows():
    truth = tube([(20, 20)] * 16, np.linspace(5, 12, 16))
    shown = truth.copy()
    shown[..., 6:9] = False  # lost slices
    image = volume_of(shown.astype(int), [30, 200])
    mask = run(image, Point((20, 20, 1)), Point((20, 20, 14)))
    assert dice(truth, mask) > 0.95
    assert mask[..., 6:9].any(axis=(0, 1)).all()


def test_a_bulge_between_two_prompted_slices_is_found():
    truth = tube([(20, 20)] * 24, 14 * np.sqrt(1 - np.linspace(-0.95, 0.95, 24) ** 2))
    assert dice(truth, run(volume_of(truth.astype(int), [30, 200]), Point((20, 20, 0)), Point((20, 20, 23)))) > 0.97


def test_two_boxes_over_the_same_slices_are_asked_together():
    asked = []

    class Listening(FakeModel):
        def decode(self, embedding, prompts, previous=None):
            asked.append(len(prompts.boxes))
            return super().decode(embedding, prompts, previous)

    labels = (tube([(9, 20)] * 12, [5] * 12) | tube([(30, 20)] * 12, [5] * 12)).astype(int)
    boxes = Box((3, 14, 2), (16, 27, 10)), Box((24, 14, 2), (37, 27, 10))
    run(volume_of(labels, [30, 200]), *boxes, model=Listening())
    assert asked == [2, 2, 2] + [1] * 7  # to find the object, and then each other slice once


def test_nothing_is_filled_in_between_two_boxes():
    truth = tube([(20, 20)] * 12, [8] * 12)
    mask = run(volume_of(truth.astype(int), [30, 200]), Box((9, 9, 1), (32, 32, 4)), Box((9, 9, 8), (32, 32, 11)))
    assert np.flatnonzero(mask.any(axis=(0, 1))).tolist() == [1, 2, 3, 8, 9, 10]


def test_a_click_alone_stops_at_lost_slices():
    truth = tube([(20, 20)] * 16, [8] * 16)
    truth[..., 6:9] = False
    mask = run(volume_of(truth.astype(int), [30, 200]), Point((20, 20, 2)))
    assert np.array_equal(mask[..., :6], truth[..., :6])
    assert not mask[..., 6:].any()


def test_two_prompted_parts_apart_do_not_merge():
    labels = (tube([(9, 9)] * 20, [5] * 6 + [0] * 14) | tube([(30, 30)] * 20, [0] * 14 + [5] * 6)).astype(int)
    image = volume_of(labels, [30, 200])
    assert np.array_equal(run(image, Point((9, 9, 2)), Point((30, 30, 17))), labels > 0)


def test_prompted_slices_win():
    labels = tube([(20, 20)] * 12, [8] * 12).astype(int)
    image = volume_of(labels, [30, 200])
    corrected = np.zeros(labels.shape, bool)
    corrected[18:22, 18:22, 7] = True
    lasso = Lasso(np.array([[17, 17, 7], [22.5, 17, 7], [22.5, 22.5, 7], [17, 22.5, 7]]))
    mask = run(image, Point((20, 20, 3)), lasso)
    assert np.array_equal(mask[..., 3], labels[..., 3] > 0)
    assert mask[..., 7].sum() <= 36


def test_negative_points_count_where_they_are():
    labels = (tube([(12, 20)] * 12, [6] * 12) + 2 * tube([(27, 20)] * 12, [6] * 12)).astype(int)
    bridge = np.zeros_like(labels, bool)
    bridge[16:24, 18:22, 5:8] = True
    labels[bridge & (labels == 0)] = 1
    image = volume_of(labels, [30, 180, 200])
    open_mask = run(image, Point((12, 20, 6)))
    closed = run(image, Point((12, 20, 6)), Point((27, 20, 6), positive=False))
    assert open_mask[27, 20, 6]
    assert not closed[27, 20, 6]
    assert closed[12, 20].all()


def test_a_prior_mask_is_refined_slice_by_slice_and_not_followed_beyond():
    phantom = ct_volume()
    truth = phantom.mask(1)
    rough = np.zeros_like(truth)
    rough[13:22, 11:18, 6:11] = True
    model = FakeModel()
    mask = run(phantom.image, MaskPrompt(rough), model=model)
    assert not mask[..., :6].any()
    assert not mask[..., 11:].any()
    assert dice(truth[..., 6:11], mask[..., 6:11]) > dice(truth[..., 6:11], rough[..., 6:11])
    assert model.decodes == 5


def test_a_mask_on_one_slice_is_followed():
    phantom = ct_volume()
    seed = np.zeros(phantom.image.shape, bool)
    seed[..., 8] = phantom.mask(1)[..., 8]
    assert dice(phantom.mask(1), run(phantom.image, MaskPrompt(seed))) > 0.95


def test_objects_with_holes_and_several_parts():
    ring = tube([(20, 20)] * 10, [14] * 10) & ~tube([(20, 20)] * 10, [7] * 10)
    assert np.array_equal(run(volume_of(ring.astype(int), [30, 200]), Point((10, 20, 4))), ring)
    parts = tube([(10, 20)] * 10, [6] * 10) | tube([(30, 20)] * 10, [6] * 10)
    image = volume_of(parts.astype(int), [30, 200])
    assert np.array_equal(run(image, Point((10, 20, 4)), Point((30, 20, 4))), parts)


@pytest.mark.parametrize("index", [0, 23])
def test_from_the_first_and_the_last_slice(index):
    truth = tube([(20, 20)] * 24, [8] * 24)
    assert np.array_equal(run(volume_of(truth.astype(int), [30, 200]), Point((20, 20, index))), truth)


# -- the stop rule -------------------------------------------------------------------------------------------------


def slice_of(radius, *, centre=(20, 20), score=0.9, mean=100.0):
    mask = tube([centre], [radius])[..., 0]
    return Slice(mask, score, mean, 10.0)


@pytest.mark.parametrize(
    ("now", "left"),
    [
        (slice_of(10), False),
        (slice_of(7), False),
        (slice_of(13), False),
        (slice_of(0), True),
        (slice_of(10, score=0.3), True),
        (slice_of(19), True),
        (slice_of(3), True),
        (slice_of(10, centre=(36, 20)), True),
        (slice_of(10, mean=125), False),
        (slice_of(10, mean=140), True),
    ],
)
def test_the_stop_rule(now, left):
    assert has_left(now, slice_of(10), slice_of(10), intensity_span=255, rule=Propagation()) is left


def test_an_empty_slice_can_be_measured():
    empty = Slice.measure(np.zeros((4, 4), bool), 0.1, np.ones((4, 4), np.float32))
    assert (empty.area, empty.mean, empty.spread) == (0, 0, 0)


# -- several slices at once ----------------------------------------------------------------------------------------

NOISY = ct_volume((48, 40, 48), noise_hu=15)
MIDDLE = (17, 14, 17)  # of its liver


def both_ways(*items, **options):
    """Return the model that encodes four slices at once, once its mask is what one by one gives."""
    plain, model = Batching(1), Batching(4)
    alone, together = (run(NOISY.image, *items, model=each, **options) for each in (plain, model))
    assert alone.any()
    np.testing.assert_array_equal(together, alone)
    assert set(plain.embedded) == {1}
    assert plain.twice == model.twice == 0
    return model, plain


def test_the_slices_of_a_box_are_encoded_at_once():
    box = NOISY.box(1)
    model, plain = both_ways(box)
    slices = box.stop[2] - box.start[2]
    assert sum(model.embedded) == sum(plain.embedded) == slices + 2
    # The first, which shows how much there is room for, the planes across, which are stretched, and then all.
    assert model.embedded == [1, 1, 1, *[4] * ((slices - 1) // 4), *([(slices - 1) % 4] if (slices - 1) % 4 else [])]


def test_slices_between_two_prompted_ones_are_encoded_at_once():
    model, plain = both_ways(Box((7, 6, 12), (28, 24, 13)), Box((7, 6, 24), (28, 24, 25)))
    assert model.embedded[:5] == [1, 1, 4, 4, 3]
    assert sum(model.embedded) == sum(plain.embedded)


def test_slices_along_which_an_object_is_followed_are_encoded_when_they_are_reached():
    model, plain = both_ways(Point(MIDDLE))
    assert model.seen == plain.seen
    assert set(model.embedded) == {1}


def test_many_prompted_slices_are_encoded_at_once():
    model, plain = both_ways(*(Box((7, 6, k), (28, 24, k + 1)) for k in range(12, 24, 2)))
    assert model.embedded[:3] == [1, 4, 1]
    assert sorted(model.seen) == sorted(plain.seen)


def test_with_a_limit_of_memory_slices_are_encoded_one_by_one():
    model, plain = both_ways(NOISY.box(1), max_memory=1 << 40)
    assert model.seen == plain.seen
    assert set(model.embedded) == {1}


def test_slices_that_objects_share_are_encoded_at_once_and_kept_on_disk(tmp_path):
    objects = {
        name: Prompts(NOISY.image.geometry, tuple(Box((*low, k), (*high, k + 1)) for k in range(12, 22)))
        for name, low, high in (("a", (7, 6), (28, 24)), ("b", (5, 6), (20, 24)))
    }
    plain, model, warm = Batching(1), Batching(4), Batching(4)
    alone = segment(plain, NOISY.image, objects)
    for each in (model, warm):
        together = segment(each, NOISY.image, objects, cache=EmbeddingCache(tmp_path))
        np.testing.assert_array_equal(together.labels.array, alone.labels.array)
    assert model.embedded[:4] == [1, 4, 4, 1]
    assert sorted(model.seen) == sorted(plain.seen)
    assert model.twice == 0
    assert warm.embedded == []
