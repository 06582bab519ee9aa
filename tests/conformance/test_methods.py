"""Every method passes the suite on the default model's network and on Segment Anything's."""

import functools

import numpy as np
import pytest
import torch
from torch import nn

from samaritan.adapt.conformance import CHECKS, Case
from samaritan.adapt.methods import METHODS, settings_of
from samaritan.models import sam
from samaritan.models.sam.decoder import SamDecoder
from samaritan.models.tiny.network import ANATOMY, TinyNetwork
from samaritan.models.tiny.prompt_maps import render


def tiny():
    torch.manual_seed(0)
    network = TinyNetwork()
    for module in network.modules():  # as after training: no branch is silent
        for parameter in module.parameters(recurse=False):
            if not parameter.any():
                nn.init.normal_(parameter, std=0.02)
    return network


def tiny_answer(module):
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(2, 3, 64, 64, generator=generator) * 255
    maps = torch.from_numpy(np.stack([render((64, 64), box=np.array([10, 12, 40, 50], np.float32))] * 2))
    return module(image, maps).logits


def vit():
    torch.manual_seed(0)
    model = sam.build(32, 4, 2, side=64)
    for parameter in model.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.02)
    return model


def vit_answer(module):
    picture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    (embedding,) = sam.SamEncoder(module)(picture)
    given = {
        "coords": torch.tensor([[[10.0, 12.0], [50.0, 40.0]]]),
        "labels": torch.tensor([[2, 3]]),
        "mask": torch.zeros(1, 1, 16, 16),
        "has_mask": torch.zeros(1),
    }
    return SamDecoder(module)(embedding, **given)[0]


NETWORKS = {"tiny": (tiny, ANATOMY, tiny_answer), "vit": (vit, sam.ANATOMY, vit_answer)}


@functools.cache
def network_of(name):
    """Return a network as weights, to make copies without drawing them anew."""
    make, anatomy, answer = NETWORKS[name]
    state = make().state_dict()

    def again():
        module = make()
        module.load_state_dict(state)
        return module

    return again, anatomy, answer


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.slow
@pytest.mark.parametrize("network", list(NETWORKS))
@pytest.mark.parametrize("name", list(METHODS))
def test_conformance(name, network, check):
    check(Case(settings_of(name, {}), *network_of(network)))
