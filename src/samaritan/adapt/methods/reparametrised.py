"""Weights that are computed from frozen ones and a few that learn, by PyTorch's parametrisations.

The layer stays what it is, whoever calls it or reads its weights; to merge is to keep what was computed.
"""

from __future__ import annotations

from torch import nn
from torch.nn.utils import parametrize


def is_dense(layer: nn.Module) -> bool:
    """Whether a layer mixes all channels: linear, or a convolution that is not by channel."""
    return isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.groups == 1)


def compute(layer: nn.Module, name: str, how: nn.Module) -> None:
    """Have a parameter of a layer computed from what it was, which is frozen, by ``how``; the shape stays."""
    parametrize.register_parametrization(layer, name, how)
    layer.parametrizations[name].original.requires_grad = False  # type: ignore[index,union-attr]  # a ModuleDict


def keep(module: nn.Module) -> None:
    """Make all that is computed the network's own weights."""
    for layer in list(module.modules()):
        if parametrize.is_parametrized(layer):
            for name in list(layer.parametrizations):  # type: ignore[arg-type]  # as above
                parametrize.remove_parametrizations(layer, name, leave_parametrized=True)
