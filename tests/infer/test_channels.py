"""Channels: rules in words, what they pick, and that a missing channel is as one that never was."""

from dataclasses import replace

import numpy as np
import pytest

from samaritan.core.errors import ImageError, UnknownNameError
from samaritan.core.geometry import Geometry
from samaritan.core.image import RGB, Image
from samaritan.core.prompts import Box, Point, Prompts
from samaritan.infer import EmbeddingCache, segment
from samaritan.infer.channels import AVERAGE, DEFAULT_CHANNELS, EACH, FIRST, Channels, MissingChannelWarning, rule_of
from samaritan.infer.embedder import Embedder
from samaritan.infer.intensity import IntensityMap
from samaritan.infer.plan import plan
from samaritan.session import Session
from samaritan.testing import FakeModel, fake_model

SIDE, DEPTH = 40, 4
GRID = Geometry.from_spacing((SIDE, SIDE, DEPTH), (1, 1, 3))
SEQUENCES = ("t1", "t1c", "t2", "flair")
I, J = np.mgrid[:SIDE, :SIDE]
LESION = np.repeat(((I - 22) ** 2 + (J - 16) ** 2 <= 60)[..., None], DEPTH, axis=2)
NOISE = np.random.default_rng(3).normal(0, 15, (len(SEQUENCES), *GRID.shape))
# One of the sequences does not show the lesion, and each has a scale of its own.
CONTRAST = (200.0, 300.0, 0.0, 250.0)
SCALES = (1.0, 0.01, 3.0, 1.0)
SCAN = np.stack(
    [(600 + bright * LESION + noise) * scale for bright, noise, scale in zip(CONTRAST, NOISE, SCALES, strict=True)]
).astype(np.float32)


def scan(*names, empty=()):
    """An MR of some sequences; those that are ``empty`` hold zeros."""
    array = SCAN[[SEQUENCES.index(name) for name in names]].copy()
    array[[names.index(name) for name in empty]] = 0
    return Image(array, GRID, names, "MR")


WHOLE = scan(*SEQUENCES)


def seen(image, rule, card=fake_model.CARD):
    return IntensityMap.of(image, card, channels=rule_of(rule))(image)


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def found(image, channels, *, model=None, **options):
    prompts = Prompts(image.geometry, (Point((22, 16, 2)),))
    [it] = segment(model or FakeModel(), image, {"it": prompts}, channels=channels, **options).objects
    return it


# -- in words -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("first", Channels()),
        (" Average ", Channels(AVERAGE)),
        ("each", Channels(EACH)),
        ("average:t1, flair", Channels(AVERAGE, ("t1", "flair"))),
        ("first:flair,t2", Channels(FIRST, ("flair", "t2"))),
        ("flair", Channels(FIRST, ("flair",))),
        ("channel 2", Channels(FIRST, ("channel 2",))),
        ("3", Channels(FIRST, ("3",))),
    ],
)
def test_a_rule_is_read_and_written(text, rule):
    assert Channels.parse(text) == rule
    assert Channels.parse(str(rule)) == rule


@pytest.mark.parametrize("text", ["", "average:", "each:t1,,t2", "  "])
def test_a_channel_without_a_name_is_refused(text):
    with pytest.raises(UnknownNameError, match="average:t1,flair"):
        Channels.parse(text)


def test_there_are_no_other_rules():
    with pytest.raises(UnknownNameError, match="Did you mean 'average'"):
        Channels("averge")


# -- what is picked -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "used"),
    [
        ("first", "t1"), ("T2", "t2"), ("3", "flair"), ("first:t3,flair,t1", "flair"), ("average", " ".join(SEQUENCES)),
        ("each:flair,0,t1", "t1 flair"),
    ],
)  # fmt: skip
def test_channels_are_picked_by_name_and_number(text, used):
    assert Channels.parse(text).pick(WHOLE).used == tuple(used.split())


def test_a_name_goes_before_a_number():
    image = Image(SCAN[:2], GRID, ("1", "0"))
    assert Channels.parse("1").pick(image).layers == (range(1),)


@pytest.mark.parametrize(
    ("text", "used", "missing"),
    [
        ("first", "t1c", "t1"),
        ("average", "t1c flair", "t1 t2"),
        ("each", "t1c flair", "t1 t2"),
        ("average:flair,t2,pd", "flair", "t2 pd"),
        ("first:pd,flair,t2", "flair", "pd"),
        ("each:t1c,9", "t1c", "9"),
    ],
)
def test_what_is_missing_is_left_out(text, used, missing):
    picked = Channels.parse(text).pick(scan(*SEQUENCES, empty=("t1", "t2")))
    assert (picked.used, picked.missing) == (tuple(used.split()), tuple(missing.split()))


def test_a_missing_channel_that_was_chosen_alone_is_an_error_that_names_the_others():
    with pytest.raises(ImageError, match=r"all 0 in 't2'.*as in t1, t1c, flair"):
        Channels.parse("t2").pick(scan(*SEQUENCES, empty=("t2",)))
    with pytest.raises(UnknownNameError, match="Did you mean 'flair'"):
        Channels.parse("flaire").pick(WHOLE)
    with pytest.raises(UnknownNameError, match="Did you mean 'average'"):
        Channels.parse("avarage").pick(WHOLE)
    with pytest.raises(UnknownNameError, match="unknown channel '4'"):
        Channels.parse("4").pick(WHOLE)
    with pytest.raises(ImageError, match="nothing to segment"):
        Channels.parse("each").pick(scan("t1", "t2", empty=("t1", "t2")))


def test_colour_is_one_channel_unless_its_colours_are_named():
    colour = Image(SCAN[:3], GRID, RGB)
    for text in ("first", "average", "each"):
        picked = Channels.parse(text).pick(colour)
        assert (picked.layers, picked.apart, picked.used) == ((range(3),), False, RGB)
    assert Channels.parse("green").pick(colour).layers == (range(1, 2),)
    assert Channels.parse("each:red,blue").pick(colour).apart


def test_channels_may_have_the_same_name():
    assert len(Channels(EACH).pick(Image(SCAN[:2], GRID, ("a", "a"))).layers) == 2


# -- what is seen -------------------------------------------------------------------------------------------------


def test_each_channel_of_an_average_has_a_scale_of_its_own():
    alone = [seen(WHOLE, name).array for name in SEQUENCES]
    np.testing.assert_allclose(seen(WHOLE, "average").array, np.mean(alone, axis=0), atol=1e-3)
    np.testing.assert_allclose([(a.min(), a.max()) for a in alone], [(0, 255)] * 4, rtol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_an_average_has_the_models_channels(channels):
    prepared = seen(WHOLE, "average", replace(fake_model.CARD, channels=channels))
    assert prepared.array.shape == (channels, *GRID.shape)
    assert prepared.array.dtype == np.float32


def test_the_average_of_equal_channels_is_the_channel():
    image = Image(np.repeat(SCAN[:1], 3, axis=0), GRID, ("a", "b", "c"))
    np.testing.assert_allclose(seen(image, "average").array, seen(image, "a").array, rtol=1e-6)


def test_a_window_is_for_the_channels_in_hounsfield_units():
    ct = np.where(LESION, 60, -1000)
    both = Image(np.stack([ct, 5000 * SCAN[0]]), GRID, ("ct", "pet"))
    maps = [IntensityMap.of(both, fake_model.CARD, window=w, channels=Channels(AVERAGE)) for w in (None, "lung")]
    assert [(m.scales[0].low, m.scales[0].high) for m in maps] == [(-160, 240), (-1350, 150)]
    assert maps[0].scales[1] == maps[1].scales[1]
    assert [scale.hounsfield for scale in maps[0].scales] == [True, False]
    [alone] = IntensityMap.of(both, fake_model.CARD, window=(3e6, 1e6), channels=Channels.parse("pet")).scales
    assert (alone.low, alone.high) == (2.5e6, 3.5e6)


# -- what is found ------------------------------------------------------------------------------------------------


def same(first, second):
    np.testing.assert_array_equal(first.mask, second.mask)
    assert first.score == pytest.approx(second.score, abs=1e-6)


@pytest.mark.parametrize("text", ["average", "each"])
def test_a_lesion_is_found_though_one_sequence_does_not_show_it(text):
    alone = found(WHOLE, "t2")
    assert dice(alone.mask, LESION) < 0.9
    assert dice(found(WHOLE, text).mask, LESION) > 0.95


@pytest.mark.parametrize("rule", [AVERAGE, EACH])
def test_a_rule_for_one_channel_is_that_channel(rule):
    same(found(WHOLE, Channels(rule, ("flair",))), found(WHOLE, "flair"))
    same(found(scan("flair"), rule), found(WHOLE, "flair"))


@pytest.mark.parametrize("rule", [AVERAGE, EACH])
@pytest.mark.parametrize("order", [SEQUENCES[::-1], ("t2", "t1", "flair", "t1c")])
def test_the_order_of_channels_does_not_matter(rule, order):
    same(found(scan(*order), rule), found(WHOLE, rule))
    same(found(WHOLE, Channels(rule, tuple(order))), found(WHOLE, rule))


@pytest.mark.parametrize("rule", [FIRST, AVERAGE, EACH])
def test_with_a_channel_missing_it_is_as_without_it(rule):
    with pytest.warns(MissingChannelWarning, match=r"left out.*: t1; used: "):
        here = found(scan(*SEQUENCES, empty=("t1",)), rule)
    same(here, found(scan("t1c", "t2", "flair"), rule))
    with pytest.warns(MissingChannelWarning, match="pd"):
        same(found(WHOLE, Channels(rule, ("pd", *SEQUENCES))), found(WHOLE, rule))


def test_each_of_equal_channels_is_the_channel():
    image = Image(np.repeat(SCAN[:1], 3, axis=0), GRID, ("a", "b", "c"))
    same(found(image, "each"), found(image, "a"))


def test_without_a_rule_it_is_the_first_channel():
    same(found(WHOLE, None), found(scan("t1"), None))
    assert rule_of(None) is DEFAULT_CHANNELS


@pytest.mark.parametrize("channels", [1, 3])
def test_each_goes_through_slices_cache_memory_and_plan(tmp_path, channels):
    card = replace(fake_model.CARD, channels=channels)
    cold, warm, small = FakeModel(card), FakeModel(card), FakeModel(card)
    first = found(WHOLE, "each", model=cold, cache=EmbeddingCache(tmp_path))
    assert cold.embeds == len(SEQUENCES) * DEPTH
    assert cold.decodes == cold.embeds
    same(first, found(WHOLE, "each", model=warm, cache=EmbeddingCache(tmp_path)))
    assert warm.embeds == 0
    same(first, found(WHOLE, "each", model=small, max_memory=64 * 1024**3))
    objects = {"it": Prompts(GRID, (Point((22, 16, 2)),))}
    one, four = (plan(FakeModel(card), WHOLE, objects, channels=rule) for rule in ("t1", "each"))
    assert one.planes == four.planes == DEPTH
    assert four.disk == 4 * one.disk


def test_each_of_three_is_no_colour_to_the_cache(tmp_path):
    colour = Image(np.ascontiguousarray(SCAN[:3]), GRID, RGB)
    cache, model = EmbeddingCache(tmp_path), FakeModel()
    found(colour, None, model=model, cache=cache)
    before = model.embeds
    found(colour, "each:red,green,blue", model=model, cache=cache)
    assert model.embeds == 4 * before


def test_in_a_session_each_click_refines_what_all_channels_said():
    image = WHOLE.plane("k", 2)
    session = Session(FakeModel(), image, channels="each:t1,flair")
    session.add(Point((22, 16, 0)))
    assert dice(session.mask(), LESION[..., :1]) > 0.9
    on_rim = tuple(np.argwhere(session.mask())[0])
    session.add(Point(on_rim, positive=False))
    assert not session.mask()[on_rim]
    assert session.mask().any()
    assert (session.model.embeds, session.model.decodes) == (2, 4)
    again = Session.from_json(session.to_json(), FakeModel(), image)
    assert again.channels == Channels(EACH, ("t1", "flair"))
    np.testing.assert_array_equal(again.mask(), session.mask())


def test_boxes_over_slices_see_the_planes_across_in_every_channel():
    cube = Geometry.from_spacing((SIDE, SIDE, SIDE), (1, 1, 2))
    ball = (I[..., None] - 20) ** 2 + (J[..., None] - 20) ** 2 + 2 * (np.arange(SIDE) - 20) ** 2 <= 150
    bright = np.stack([100 + 50 * ball, 900 - 300 * ball, 10 + 20 * ball, 7 + 5 * ball]).astype(np.float32)
    image = Image(bright, cube, SEQUENCES, "MR")
    where = np.argwhere(ball)
    box = Box(tuple(where.min(0) - 1), tuple(where.max(0) + 2))
    [it] = segment(FakeModel(), image, {"it": Prompts(cube, (box,))}, channels="each").objects
    assert dice(it.mask, ball) > 0.95


def test_the_embedder_hands_out_the_model_for_its_embeddings():
    embedder = Embedder(FakeModel(), WHOLE, channels="each")
    assert embedder.model.card.channels == 3
    assert embedder.prepared(("k", 0)).channels == SEQUENCES
    assert embedder.embedding(("k", 0)).nbytes == 4 * Embedder(FakeModel(), WHOLE).embedding(("k", 0)).nbytes
