"""Every model does what ``samaritan.testing.conformance`` asks of it.

The default one and the fake one are asked for everything. Published ones have their weights elsewhere: here small
networks of their families stand for them, with random weights, and are asked for all that does not need training.
"""

import functools
from dataclasses import replace

import pytest
from tests.models.references import randomise

from samaritan.models import MODELS, load_model, mobile_sam, model_card, sam
from samaritan.models.family import FAMILIES
from samaritan.models.planar import FrameSpec, PlanarModel
from samaritan.models.published import published, published_names
from samaritan.testing import FakeModel
from samaritan.testing.conformance import MODEL_CHECKS, UNTRAINED_MODEL_CHECKS

PLANES = {
    "sam-vit-b": lambda: (sam.network(randomise(sam.build(48, 4, 3, side=128)), "cpu"), FrameSpec(128)),
    "medsam": lambda: (
        sam.network(randomise(sam.build(48, 4, 3, side=128)), "cpu"),
        FrameSpec(128, fit="stretch", values="minmax", filter="bicubic"),
    ),
    "lite-medsam": lambda: (
        mobile_sam.network(randomise(mobile_sam.MobileSam(64, 1)), "cpu"),
        FrameSpec(64, values="minmax"),
    ),
}


@functools.cache
def model(name):
    return FakeModel() if name == "fake" else load_model(name, device="cpu")


@functools.cache
def untrained(name):
    network, frame = PLANES[name]()
    return PlanarModel(replace(published(name).card, sha256="0" * 64), network, frame)


@pytest.mark.parametrize("name", ["fake", "tiny"])
@pytest.mark.parametrize("check", MODEL_CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_model(name, check):
    check(model(name))


@pytest.mark.parametrize("name", PLANES)
@pytest.mark.parametrize("check", UNTRAINED_MODEL_CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_untrained_model(name, check):
    check(untrained(name))


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
