"""Every registered model, and the fake one, does what ``samaritan.testing.conformance`` asks of a model."""

import functools

import pytest

from samaritan.models import MODELS, load_model
from samaritan.testing import FakeModel
from samaritan.testing.conformance import MODEL_CHECKS


@functools.cache
def model(name):
    return FakeModel() if name == "fake" else load_model(name, device="cpu")


@pytest.mark.parametrize("name", ["fake", *MODELS])
@pytest.mark.parametrize("check", MODEL_CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_model(name, check):
    check(model(name))
