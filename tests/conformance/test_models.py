"""Every model does what ``samaritan.testing.conformance`` asks of it.

The default one, the classical methods and the fake one are asked for everything. Published ones have their weights
elsewhere: here small networks of their families stand for them, with random weights and the frames of their cards, and
are asked for all that does not need training. Those that take more than that to make are asked beside their other
tests: ``sam3``, the models of volumes (``sam2``, ``sam_med3d``), the one behind a server (``nninteractive``), and what
was exported.
"""

import functools
from dataclasses import replace

import pytest
from tests.models.planar.frames import frame_of
from tests.models.references import randomise
from tests.models.sam2.reference import SMALL

from samaritan.models import MODELS, load_model, mobile_sam, model_card, sam, sam2, sam_hq, sam_med2d
from samaritan.models.family import FAMILIES, family_of
from samaritan.models.planar import PlanarModel
from samaritan.models.published import published, published_names
from samaritan.models.sam_hq import light
from samaritan.testing import FakeModel
from samaritan.testing.conformance import MODEL_CHECKS, UNTRAINED_MODEL_CHECKS

SIDE = 128


def _vit(family, **settings):
    return family.network(randomise(family.build(48, 4, 3, side=SIDE, **settings)), "cpu")


def _tiny_vit(side, stride):
    return mobile_sam.network(randomise(mobile_sam.MobileSam(side, stride)), "cpu")


def _light_hq():
    return light.network(randomise(light.build(SIDE)), "cpu")


def _hiera(*, newer):
    return sam2.network(randomise(sam2.build(SMALL, newer=newer, side=SIDE)), "cpu", side=SIDE)


# Of each published model of planes that differs from the others in its network or its frame: a network, and its side.
PLANES = {
    "sam-vit-b": (lambda: _vit(sam), SIDE),
    "medsam": (lambda: _vit(sam), SIDE),
    "sam-hq-vit-b": (lambda: _vit(sam_hq), SIDE),
    "sam-hq-vit-tiny": (_light_hq, SIDE),
    "mobile-sam": (lambda: _tiny_vit(SIDE, 4), SIDE),
    "lite-medsam": (lambda: _tiny_vit(SIDE // 2, 1), SIDE // 2),
    "sam-med2d": (lambda: _vit(sam_med2d, adapters=True), SIDE),
    "sam-med2d-ft": (lambda: _vit(sam_med2d, adapters=False), SIDE),
    "sam2-tiny": (lambda: _hiera(newer=False), SIDE),
    "medsam2": (lambda: _hiera(newer=True), SIDE),
}
CLASSICAL = ("ellipse", "geodesic", "grabcut", "otsu", "random-walker")
ELSEWHERE = {"sam3", "sam3-concept", "sam-med3d"}  # families; see above


@functools.cache
def model(name):
    return FakeModel() if name == "fake" else load_model(name, device="cpu")


@functools.cache
def untrained(name):
    network, side = PLANES[name]
    return PlanarModel(replace(published(name).card, sha256="0" * 64), network(), replace(frame_of(name), side=side))


@pytest.mark.parametrize("name", ["fake", "tiny", *CLASSICAL])
@pytest.mark.parametrize("check", MODEL_CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_model(name, check):
    check(model(name))


@pytest.mark.parametrize("name", PLANES)
@pytest.mark.parametrize("check", UNTRAINED_MODEL_CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_untrained_model(name, check):
    check(untrained(name))


def test_every_family_is_here_or_elsewhere():
    assert {family_of(published(name).variant) for name in PLANES} | ELSEWHERE == set(FAMILIES)


@pytest.mark.parametrize("name", list(MODELS))
def test_every_model_has_a_card_that_says_what_matters(name):
    card = model_card(name)
    assert card.name == name
    assert all((card.title, card.family, card.licence, card.source, card.training_data, card.prompts))
    assert len(card.native_shape) == card.dims
    assert len(card.sha256) in (0, 64)


def test_every_published_model_is_registered_and_of_a_known_variant():
    variants = {variant for family in FAMILIES for variant in FAMILIES.get(family).variants}
    assert set(published_names()) <= set(MODELS)
    assert {published(name).variant for name in published_names()} <= variants
    assert variants <= set(published_names())  # a file of that architecture gets its card
