"""SAM-Med3D's masks land where the anatomy is, whatever the grid, and objects larger than a window come out whole."""

import logging
from itertools import permutations, product

import numpy as np
import pytest
from tests.models.sam_med3d.stand_in import Flat, Ramp, Threshold, model

from samaritan.core.errors import CorruptFileError, ImageError
from samaritan.core.geometry import Geometry, Reorientation
from samaritan.core.image import Image
from samaritan.core.model import Prediction, StepwiseModel
from samaritan.core.prompts import Box, MaskPrompt, Point, Prompts, Scribble
from samaritan.infer import segment
from samaritan.infer.cache import EmbeddingCache
from samaritan.infer.intensity import IntensityMap
from samaritan.models.sam_med3d import search
from samaritan.models.sam_med3d.adapter import normalised
from samaritan.models.sam_med3d.clicks import SURE

DARK, BRIGHT = -31_700.0, 16_000.0  # nearly as dark as what lies beyond the volume
EVERY_ORDER = [(order, flips) for order in permutations(range(3)) for flips in product((False, True), repeat=3)]


def oblique(shape=(70, 55, 24), spacing=(0.9, 1.2, 2.6), degrees=20.0):
    """A grid turned about z and tilted a little, off the origin."""
    turn, tilt = np.deg2rad([degrees, degrees / 3])
    about_z = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    affine = np.eye(4)
    affine[:3, :3] = about_z @ about_x @ np.diag(spacing)
    affine[:3, 3] = (-40, 25, 110)
    return Geometry(shape, affine)


def world(geometry):
    """World coordinates of every voxel, (i, j, k, 3)."""
    return geometry.index_to_world(np.stack(np.meshgrid(*map(np.arange, geometry.shape), indexing="ij"), axis=-1))


def ellipsoid(geometry, centre_mm, radii_mm):
    return (np.square((world(geometry) - centre_mm) / radii_mm).sum(axis=-1)) <= 1


def image_of(mask, geometry):
    return Image(np.where(mask, BRIGHT, DARK).astype(np.float32)[None], geometry)


def points(geometry, *world_mm, positive=True):
    return Prompts(geometry, tuple(Point(tuple(geometry.world_to_index(place)), positive) for place in world_mm))


def dice(first, second):
    return 2 * (first & second).sum() / (first.sum() + second.sum())


# -- where things land --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spacing", [(0.9, 1.2, 2.6), (1.5, 1.5, 1.5), (3.1, 0.7, 8.0)])
def test_what_the_network_says_of_a_place_stands_at_that_place(spacing):
    geometry = oblique(shape=(60, 50, 20), spacing=spacing)
    ramp = world(geometry) @ np.array([3.0, -4.0, 2.0])
    values = np.rint(600 * (ramp - ramp.mean()) / np.abs(ramp - ramp.mean()).max() + 200)
    subject = model(Ramp(side=128))
    middle = Prompts(geometry, (Point((30, 25, 10)),))
    found = subject.decode(subject.embed(Image(values[None].astype(np.float32), geometry)), middle).logits[0]
    inner = tuple(slice(int(8 / s) + 1, n - int(8 / s) - 1) for s, n in zip(spacing, geometry.shape, strict=True))
    told = found[inner] != -SURE  # no more than a window
    fit = np.polyfit(values[inner][told], found[inner][told], 1)
    apart = np.abs(np.polyval(fit, values) - found)[inner][told]
    assert told.sum() > 200
    assert fit[0] > 0
    # One voxel is this much; rounding to whole values is a third of it at most.
    assert apart.max() < 0.25 * np.abs(np.diff(values, axis=0)).mean() * fit[0]


@pytest.mark.parametrize(("order", "flips"), EVERY_ORDER)
def test_any_order_and_direction_of_axes_gives_the_same_mask(order, flips):
    geometry = Geometry((50, 44, 16), np.diag([1.0, 1.3, 3.0, 1.0]) + 30 * np.eye(4, k=3))
    mask = ellipsoid(geometry, (50, 28, 22), (16, 21, 18)) | ellipsoid(geometry, (66, 36, 28), (9, 9, 9))
    change = Reorientation(geometry, order, flips)
    click = points(geometry, (50, 28, 22))
    subject = model()
    plain = subject.decode(subject.embed(image_of(mask, geometry)), click)
    turned = subject.decode(subject.embed(image_of(change.apply(mask), change.target)), click.to(change.target))
    assert dice(plain.mask, mask) > 0.95
    np.testing.assert_allclose(change.undo(turned.logits[0]), plain.logits[0], atol=1e-3)


@pytest.mark.parametrize("degrees", [0.0, 20.0, 60.0, 170.0])
def test_an_object_lands_where_it_is_in_the_world(degrees):
    geometry = oblique(degrees=degrees)
    centre = geometry.index_to_world((36, 25, 11))
    mask = ellipsoid(geometry, centre, (20, 25, 23))
    subject = model()
    found = subject.decode(subject.embed(image_of(mask, geometry)), points(geometry, centre)).mask
    apart = world(geometry)[found].mean(axis=0) - world(geometry)[mask].mean(axis=0)
    assert dice(found, mask) > 0.95
    assert np.abs(apart).max() < 0.3  # mm
    assert abs(found.sum() / mask.sum() - 1) < 0.06


@pytest.mark.parametrize("corner", list(product((0, 1), repeat=3)))
def test_a_click_in_a_corner_finds_what_is_there(corner):
    geometry = oblique(shape=(60, 60, 30), spacing=(1.0, 1.0, 2.0))
    index = np.array(corner) * (np.array(geometry.shape) - 1)
    mask = ellipsoid(geometry, geometry.index_to_world(index), (20, 20, 20))
    subject = model()
    click = Prompts(geometry, (Point(tuple(index.astype(float))),))
    assert dice(subject.decode(subject.embed(image_of(mask, geometry)), click).mask, mask) > 0.9


def test_a_picture_is_a_volume_of_one_plane():
    geometry = Geometry.picture(80, 60)
    mask = np.zeros((80, 60, 1), np.bool_)
    mask[20:50, 15:45] = True
    subject = model(Flat())
    found = subject.decode(subject.embed(image_of(mask, geometry)), Prompts(geometry, (Point((30, 30, 0)),)))
    assert dice(found.mask, mask) > 0.9


# -- objects larger than a window ---------------------------------------------------------------------------------


def tube(geometry, radius=14):
    """A tube of 28 mm that goes through the volume, around a corner: (20..200, 30, 30) and (190, 30..150, 30) mm."""
    x, y, z = np.moveaxis(world(geometry), -1, 0)
    lying = (np.hypot(y - 30, z - 30) <= radius) & (x >= 20) & (x <= 200)
    standing = (np.hypot(x - 190, z - 30) <= radius) & (y >= 30) & (y <= 150)
    return lying | standing


@pytest.mark.parametrize("place", [(25, 30, 30), (100, 30, 30), (190, 145, 30)])
def test_an_object_larger_than_the_window_comes_out_whole(place):
    geometry = Geometry.from_spacing((150, 110, 40), (1.5, 1.5, 1.5))
    mask, network = tube(geometry), Threshold(side=32)  # windows of 48 mm
    subject = model(network)
    found = subject.decode(subject.embed(image_of(mask, geometry)), points(geometry, place)).mask
    assert dice(found, mask) > 0.93
    assert 5 < network.encoded <= search.MOST_WINDOWS


def test_windows_go_on_from_what_was_found_with_a_click_where_it_was_cut():
    geometry = Geometry.from_spacing((150, 110, 40), (1.5, 1.5, 1.5))
    network = Threshold(side=32)
    subject = model(network)
    subject.decode(subject.embed(image_of(tube(geometry), geometry)), points(geometry, (100, 30, 30)))
    (places, labels, mask), *further = network.asked
    assert len(places) == 1
    assert not mask.any()
    for places, labels, mask in further:
        assert labels[-1] == 1
        assert (mask > 0).any()
        assert (np.abs(places[-1] - 15.5) <= search.STRIDE / 2 + 0.5).all()
        assert mask[tuple((places[-1] / 4 + 0.125).astype(int))] > 0


def test_every_window_is_told_of():
    geometry = Geometry.from_spacing((150, 110, 40), (1.5, 1.5, 1.5))
    network = Threshold(side=32)
    subject, told = model(network), []
    assert isinstance(subject, StepwiseModel)
    embedding, click = subject.embed(image_of(tube(geometry), geometry)), points(geometry, (100, 30, 30))
    found = subject.decode_stepwise(embedding, click, step=lambda *at: told.append(at))
    assert told == [(n, search.MOST_WINDOWS) for n in range(1, network.encoded + 1)]
    np.testing.assert_array_equal(found.logits, subject.decode(embedding, click).logits)


def test_no_more_windows_than_there_may_be(monkeypatch, caplog):
    monkeypatch.setattr(search, "MOST_WINDOWS", 3)
    geometry = Geometry.from_spacing((150, 110, 40), (1.5, 1.5, 1.5))
    network = Threshold(side=32)
    subject = model(network)
    with caplog.at_level(logging.WARNING, logger=search.__name__):
        found = subject.decode(subject.embed(image_of(tube(geometry), geometry)), points(geometry, (100, 30, 30)))
    assert network.encoded == 3
    assert found.mask.any()
    assert "3 windows" in caplog.text


def test_an_object_within_a_window_takes_one():
    geometry = oblique()
    centre = geometry.index_to_world((40, 24, 11))
    network = Threshold(side=64)
    subject = model(network)
    subject.decode(
        subject.embed(image_of(ellipsoid(geometry, centre, (11, 15, 18)), geometry)), points(geometry, centre)
    )
    assert network.encoded == 1


def test_clicks_that_lie_far_apart_are_all_looked_at():
    geometry = Geometry.from_spacing((160, 40, 30), (1.5, 1.5, 1.5))
    mask = ellipsoid(geometry, (30, 30, 20), (18, 18, 18)) | ellipsoid(geometry, (200, 30, 20), (18, 18, 18))
    subject = model(Threshold(side=32))
    prompts = points(geometry, (30, 30, 20), (200, 30, 20))
    assert dice(subject.decode(subject.embed(image_of(mask, geometry)), prompts).mask, mask) > 0.9


def test_negative_clicks_far_away_are_not_looked_at():
    geometry = Geometry.from_spacing((160, 40, 30), (1.5, 1.5, 1.5))
    mask = ellipsoid(geometry, (30, 30, 20), (18, 18, 18))
    network = Threshold(side=32)
    subject = model(network)
    prompts = points(geometry, (200, 30, 20), positive=False).add(*points(geometry, (30, 30, 20)).items)
    assert dice(subject.decode(subject.embed(image_of(mask, geometry)), prompts).mask, mask) > 0.9
    assert all(labels.all() for _, labels, _ in network.asked)


def test_a_drawn_mask_larger_than_a_window_is_looked_at_everywhere():
    geometry = Geometry.from_spacing((150, 110, 40), (1.5, 1.5, 1.5))
    mask = tube(geometry)
    network = Threshold(side=32)
    subject = model(network)
    prompts = Prompts(geometry, (MaskPrompt(tube(geometry, radius=8)),))
    assert dice(subject.decode(subject.embed(image_of(mask, geometry)), prompts).mask, mask) > 0.9
    assert network.encoded > 5
    assert not any(len(labels) for _, labels, _ in network.asked[:1])


# -- refinement ---------------------------------------------------------------------------------------------------


def two_parts():
    """A volume with two ellipsoids, one large window around both, and the mask of each."""
    geometry = Geometry.from_spacing((70, 50, 40), (1.5, 1.5, 1.5))
    first = ellipsoid(geometry, (30, 35, 30), (12, 14, 12))
    return geometry, first, ellipsoid(geometry, (72, 35, 30), (12, 12, 12))


def test_an_earlier_mask_goes_in_and_a_click_adds_to_it():
    geometry, first, second = two_parts()
    network = Threshold(side=128)
    subject = model(network)
    embedding, click = subject.embed(image_of(first | second, geometry)), points(geometry, (30, 35, 30))
    before = subject.decode(embedding, click)
    after = subject.decode(embedding, click.add(*points(geometry, (72, 35, 30)).items), before)
    assert dice(before.mask, first) > 0.9
    assert dice(after.mask, first | second) > 0.9
    assert (network.asked[-1][2] > 0).sum() > 0.5 * first.sum() * 3.375 / 216
    assert len(network.asked) == 2  # with an earlier mask, all clicks are told at once


def test_a_negative_click_takes_away():
    geometry, first, second = two_parts()
    subject = model(Threshold(side=128))
    embedding = subject.embed(image_of(first | second, geometry))
    both = points(geometry, (30, 35, 30), (72, 35, 30))
    before = subject.decode(embedding, both)
    beside = points(geometry, (75, 35, 30), positive=False)
    click = points(geometry, (30, 35, 30)).add(*beside.items)
    assert dice(subject.decode(embedding, click, before).mask, first) > 0.9


def test_clicks_without_an_earlier_mask_are_told_one_by_one_those_on_the_object_first():
    geometry, first, second = two_parts()
    network = Threshold(side=128)
    subject = model(network)
    prompts = points(geometry, (50, 35, 30), positive=False).add(*points(geometry, (30, 35, 30), (72, 35, 30)).items)
    subject.decode(subject.embed(image_of(first | second, geometry)), prompts)
    assert [labels.tolist() for _, labels, _ in network.asked] == [[1], [1, 1], [1, 1, 0]]
    assert [bool((mask > 0).any()) for _, _, mask in network.asked] == [False, True, True]


def test_what_a_click_does_not_concern_stays_as_it_was():
    geometry = Geometry.from_spacing((200, 40, 40), (1.5, 1.5, 1.5))
    mask = ellipsoid(geometry, (150, 30, 30), (130, 12, 12))
    lump = ellipsoid(geometry, (60, 50, 30), (9, 9, 9)) & ~mask
    subject = model(Threshold(side=32))
    embedding = subject.embed(image_of(mask | lump, geometry))
    logits = np.where(mask, 3.25, -3.25).astype(np.float32)[None]
    previous = Prediction(logits, np.array([0.5], np.float32), geometry)
    click = points(geometry, (60, 52, 30))
    after = subject.decode(embedding, click, previous)
    far = world(geometry)[..., 0] > 110
    assert after.mask[tuple(np.rint(geometry.world_to_index((60, 52, 30))).astype(int))]
    np.testing.assert_array_equal(after.logits[0][far], logits[0][far])


def test_an_empty_mask_with_negative_clicks_stays_empty():
    geometry, first, _ = two_parts()
    network = Threshold(side=128)
    subject = model(network)
    empty = Prediction(np.full((1, *geometry.shape), -2, np.float32), np.array([0.25], np.float32), geometry)
    negative = points(geometry, (30, 35, 30), positive=False)
    found = subject.decode(subject.embed(image_of(first, geometry)), negative, empty)
    assert not found.mask.any()
    assert not network.encoded


# -- other prompts ------------------------------------------------------------------------------------------------


def test_a_box_is_a_click_in_its_middle_and_a_bound():
    geometry, first, second = two_parts()
    bridge = np.zeros_like(first)
    bridge[15:55, 21:26, 18:23] = True
    network = Threshold(side=128)
    subject = model(network)
    box = Box((10, 10, 8), (30, 38, 34))
    found = subject.decode(subject.embed(image_of(first | second | bridge, geometry)), Prompts(geometry, (box,))).mask
    assert found[20, 23, 20]
    assert not found[30:].any()
    assert network.asked[0][1].tolist() == [1]


def test_a_box_in_one_slice_bounds_the_object_in_that_slice_s_axes_only():
    geometry, first, second = two_parts()
    subject = model(Threshold(side=128))
    prompts = Prompts(geometry, (Box((11, 13, 20), (30, 34, 21)),))
    found = subject.decode(subject.embed(image_of(first | second, geometry)), prompts).mask
    assert dice(found, first) > 0.9


@pytest.mark.parametrize("kind", ["point", "earlier mask"])
def test_a_box_says_no_more_where_something_else_does(kind):
    geometry, first, _ = two_parts()
    network = Threshold(side=128)
    subject = model(network)
    prompts, previous = Prompts(geometry, (Box((10, 10, 8), (30, 38, 34)),)), None
    if kind == "point":
        prompts = prompts.add(Point((18, 22, 20)))
    else:
        logits = np.where(first, 4, -4).astype(np.float32)[None]
        previous = Prediction(logits, np.array([0.5], np.float32), geometry)
    found = subject.decode(subject.embed(image_of(first, geometry)), prompts, previous)
    assert dice(found.mask, first) > 0.9
    assert [len(labels) for _, labels, _ in network.asked] == [int(kind == "point")]


def test_a_scribble_is_a_few_clicks_on_it():
    geometry, first, _ = two_parts()
    network = Threshold(side=128)
    subject = model(network)
    voxels = np.stack([np.arange(14, 28), np.full(14, 23), np.full(14, 20)], axis=1)
    beside = Scribble(np.array([[40, 40, 30], [41, 40, 30]]), positive=False)
    prompts = Prompts(geometry, (beside, Scribble(voxels)))
    subject.decode(subject.embed(image_of(first, geometry)), prompts)
    places, labels, _ = network.asked[-1]
    assert labels.tolist() == [1] * 8 + [0] * 2
    assert np.ptp(places[:8], axis=0).tolist() == [13.0, 0.0, 0.0]


# -- the volume ---------------------------------------------------------------------------------------------------


def test_windows_are_encoded_when_they_are_needed_and_kept():
    geometry, first, _ = two_parts()
    network = Threshold(side=64)
    subject = model(network)
    embedding = subject.embed(image_of(first, geometry))
    assert network.encoded == 0
    assert embedding.nbytes == 2 * first.size
    subject.decode(embedding, points(geometry, (30, 35, 30)))
    subject.decode(embedding, points(geometry, (33, 35, 30)))
    assert network.encoded == 1
    assert embedding.nbytes == 2 * first.size + 4 * 64**3


def test_windows_kept_are_bounded(monkeypatch):
    monkeypatch.setattr("samaritan.models.sam_med3d.adapter.HELD", 2 * 4 * 32**3)
    geometry = Geometry.from_spacing((160, 40, 30), (1.5, 1.5, 1.5))
    subject = model(Threshold(side=32))
    embedding = subject.embed(image_of(ellipsoid(geometry, (120, 30, 20), (100, 12, 12)), geometry))
    subject.decode(embedding, points(geometry, (120, 30, 20)))
    assert embedding.nbytes == embedding.voxels.nbytes + 2 * 4 * 32**3


def test_encoded_windows_are_kept_on_disk_for_the_next_run(tmp_path):
    geometry = Geometry.from_spacing((160, 40, 30), (1.5, 1.5, 1.5))
    image = image_of(ellipsoid(geometry, (120, 30, 20), (100, 12, 12)), geometry)
    networks = [Threshold(side=32) for _ in range(3)]
    first, again, without = (
        segment(model(network), image, {"it": points(geometry, (120, 30, 20))}, cache=cache)
        for network, cache in zip(networks, (EmbeddingCache(tmp_path), EmbeddingCache(tmp_path), None), strict=True)
    )
    assert (networks[1].encoded, networks[2].encoded) == (0, networks[0].encoded)
    assert networks[0].encoded
    for other in (again, without):
        np.testing.assert_array_equal(other.objects[0].mask, first.objects[0].mask)


def test_ct_counts_what_is_above_water_and_fills_with_it():
    geometry = Geometry.from_spacing((20, 20, 20), (1.5, 1.5, 1.5))
    values = np.random.default_rng(0).normal(0, 100, (1, 20, 20, 20)).round().astype(np.float32)
    plain, ct = (model().embed(Image(values, geometry, modality=kind)) for kind in ("MR", "CT"))
    assert (plain.ground, ct.ground) == (-32000, 0)
    seen = []
    network = Threshold(side=64)
    network.encode = lambda window: seen.append(window) or {"window": window}
    ct.window(network, np.array([-16, -16, -16]))
    above = values[values > 0]
    np.testing.assert_allclose(seen[0][16:36, 16:36, 16:36], (values[0] - above.mean()) / above.std(), atol=1e-3)
    np.testing.assert_allclose(seen[0][:16], -above.mean() / above.std(), atol=1e-3)


@pytest.mark.parametrize(("window", "low", "high"), [(None, -1000, 1000), ("lung", -1000, 150), ("bone", -500, 1000)])
def test_ct_is_normalised_as_in_training_whatever_the_window_and_wherever_it_comes_from(window, low, high):
    geometry = Geometry.from_spacing((20, 20, 20), (1.5, 1.5, 1.5))
    hounsfield = np.random.default_rng(0).normal(0, 400, (1, 20, 20, 20)).round().astype(np.int16)
    hounsfield[0, 0, 0, 0] = -1024
    seen = []
    network = Threshold(side=64)
    network.encode = lambda window: seen.append(window) or {"window": window}
    subject = model(network)
    for modality in ("CT", ""):
        image = Image(hounsfield, geometry, modality=modality)
        segment(subject, image, {"it": Prompts(geometry, (Point((10, 10, 10)),))}, window=window)
    clipped = np.clip(hounsfield[0], low, high)
    wanted = (clipped - clipped[clipped > 0].mean()) / clipped[clipped > 0].std()
    for part in seen:
        i, j, k = np.argwhere(np.abs(part - part[0, 0, 0]) > 1e-3).min(axis=0)
        np.testing.assert_allclose(part[i : i + 20, j : j + 20, k : k + 20], wanted, atol=1e-2)
    assert len(seen) == 2


def test_hot_spots_of_pet_stay_apart():
    geometry = Geometry.from_spacing((20, 20, 20), (1.5, 1.5, 1.5))
    uptake = np.random.default_rng(0).uniform(0.5, 1.5, (1, 20, 20, 20)).astype(np.float32)
    uptake[0, 0] = 0
    uptake[0, 10, 10, 8:12] = (8, 12, 20, 40)
    image = IntensityMap.of(Image(uptake, geometry, modality="PT"), model().card)
    embedding = model().embed(image(Image(uptake, geometry, modality="PT")))
    seen = normalised(embedding.voxels.astype(np.float32), above=embedding.ground)
    above = uptake[uptake > 0]
    np.testing.assert_allclose(seen, (uptake[0] - above.mean()) / above.std(), atol=1e-2)


def test_a_window_without_contrast_is_nought():
    flat = np.full((4, 4, 4), 7, np.float32)
    assert not normalised(flat, above=0).any()
    assert not normalised(flat, above=9).any()


def test_an_image_of_other_channels_and_an_embedding_of_another_volume_are_refused():
    geometry, subject = Geometry.from_spacing((6, 5, 4)), model()
    with pytest.raises(ImageError, match="3 channels"):
        subject.embed(Image(np.zeros((3, 6, 5, 4), np.float32), geometry, ("a", "b", "c")))
    packed = dict(subject.pack(subject.embed(Image(np.zeros((1, 6, 5, 4), np.float32), geometry))))
    with pytest.raises(CorruptFileError, match="an embedding of"):
        subject.unpack(packed, Geometry.from_spacing((5, 6, 4)))


def test_no_iou_is_predicted_but_that_of_an_empty_mask():
    geometry, first, _ = two_parts()
    subject = model(Threshold(side=128))
    found = subject.decode(subject.embed(image_of(first, geometry)), points(geometry, (30, 35, 30)))
    assert found.mask.any()
    assert np.isnan(found.score)
    nothing = subject.decode(subject.embed(image_of(np.zeros_like(first), geometry)), points(geometry, (30, 35, 30)))
    assert not nothing.mask.any()
    assert nothing.score == 0
