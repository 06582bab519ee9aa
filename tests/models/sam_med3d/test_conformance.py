"""SAM-Med3D does what every model must: with a stand-in for its network, and with a small one of random weights."""

import functools

import pytest
from tests.models.references import randomise
from tests.models.sam_med3d.stand_in import model

from samaritan.models.sam_med3d.network import SamMed3D, Size
from samaritan.models.sam_med3d.torch_network import TorchNetwork
from samaritan.testing.conformance import MODEL_CHECKS, UNTRAINED_MODEL_CHECKS

SMALL = Size(side=32, width=24, depth=2, heads=2, window=3, whole=(1,), channels=48, mask_channels=8, decoder_hidden=32)


@functools.cache
def untrained():
    return model(TorchNetwork(randomise(SamMed3D(SMALL)), "cpu"))


@pytest.mark.parametrize("check", MODEL_CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_model(check):
    check(model())


@pytest.mark.parametrize("check", UNTRAINED_MODEL_CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_untrained_model(check):
    check(untrained())
