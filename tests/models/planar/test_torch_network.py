"""In which precision encoders are run: what a device has, and never numbers that are none."""

import numpy as np
import pytest
import torch
from torch import nn

from samaritan.models.planar import torch_network
from samaritan.models.planar.torch_network import TorchNetwork, half_precision

CUDA = torch.device("cuda")


@pytest.mark.parametrize(
    ("major", "wanted"),
    [(7, torch.float16), (8, torch.bfloat16)],  # 7.5 is a T4, which only emulates bfloat16; 8.0 an A100
)
def test_gpus_without_bfloat16_compute_in_float16(monkeypatch, major, wanted):
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: type("Properties", (), {"major": major}))
    assert half_precision(CUDA) is wanted


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_other_devices_compute_in_float32(device):
    assert half_precision(torch.device(device)) is None


class Doubler(nn.Module):
    """Multiplies by a matrix, which float16 cannot hold the product of if the picture is glaring."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, pictures):
        product = pictures @ (2 * torch.eye(pictures.shape[-1]))
        self.seen.append(product.dtype)
        return (product,)


@pytest.fixture
def network():
    return TorchNetwork(Doubler(), nn.Identity(), shapes={"embedding": (1, 3, 4, 4)}, mask_side=4, device="cpu")


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_features_of_half_precision_come_out_in_float32(network, monkeypatch, half):
    monkeypatch.setattr(torch_network, "half_precision", lambda _: half)
    picture = np.full((1, 3, 4, 4), 1 + 2**-12, np.float32)  # neither has it
    found = network.encode(picture)["embedding"]
    assert network.encoder.seen == [half]
    assert found.dtype is torch.float32
    np.testing.assert_array_equal(found, 2)


def test_in_float32_nothing_is_rounded(network):
    picture = np.full((1, 3, 4, 4), 1 + 2**-12, np.float32)
    np.testing.assert_array_equal(network.encode(picture)["embedding"], 2 * picture)
    assert network.encoder.seen == [torch.float32]


def test_what_overflows_in_float16_is_computed_again_in_float32(network, monkeypatch):
    monkeypatch.setattr(torch_network, "half_precision", lambda _: torch.float16)
    picture = np.full((1, 3, 4, 4), 40_000.0, np.float32)  # twice that is beyond 65504
    np.testing.assert_array_equal(network.encode(picture)["embedding"], 2 * picture)
    assert network.encoder.seen == [torch.float16, torch.float32]


GLARING, PLAIN = (np.full((1, 3, 4, 4), value, np.float32) for value in (40_000.0, 3.0))
HALF, FULL = torch.float16, torch.float32


@pytest.mark.parametrize(
    ("pictures", "wanted"),
    [
        ([GLARING, GLARING, PLAIN, GLARING], [HALF, FULL, HALF, FULL, FULL, FULL]),
        ([GLARING, PLAIN, GLARING, PLAIN], [HALF, FULL, HALF, HALF, FULL, HALF]),
    ],
    ids=["twice in a row", "now and then"],
)
def test_after_two_overflows_in_a_row_float16_is_no_longer_tried(network, monkeypatch, pictures, wanted):
    monkeypatch.setattr(torch_network, "half_precision", lambda _: HALF)
    for picture in pictures:
        np.testing.assert_array_equal(network.encode(picture)["embedding"], 2 * picture)
    assert network.encoder.seen == wanted


def test_pictures_that_were_encoded_at_once_are_computed_again_one_by_one(network, monkeypatch):
    monkeypatch.setattr(torch_network, "half_precision", lambda _: HALF)
    monkeypatch.setattr(TorchNetwork, "most_pictures", 3)
    found = list(network.encode_all([PLAIN, GLARING, 2 * PLAIN]))
    for features, picture in zip(found, [PLAIN, GLARING, 2 * PLAIN], strict=True):
        np.testing.assert_array_equal(features["embedding"], 2 * picture)
    assert network.encoder.seen == [HALF, FULL, FULL, FULL]
