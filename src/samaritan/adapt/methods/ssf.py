"""Scale and shift of features (SSF; Lian et al. 2022, arXiv:2210.08823), as those of the layers' weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from samaritan.adapt.loop import Group
from samaritan.adapt.methods.method import frozen_but_decoder, learning
from samaritan.adapt.methods.reparametrised import compute, is_dense, keep
from samaritan.models.anatomy import Anatomy


@dataclass(frozen=True, slots=True)
class Ssf:
    """What linear layers, convolutions and norms of the encoder give is scaled and shifted, channel by channel."""

    title: ClassVar[str] = "scale and shift of features"
    source: ClassVar[str] = "Lian et al. 2022, arXiv:2210.08823"

    decoder: bool = True
    rate: float = 2e-3

    def prepare(self, module: nn.Module, anatomy: Anatomy) -> Sequence[Group]:
        """Scale and shift the encoder's layers; see ``Method``."""
        frozen_but_decoder(module, anatomy, decoder=self.decoder)
        for name, layer in list(module.named_modules()):
            if anatomy.part_of(name) == "encoder" and (is_dense(layer) or isinstance(layer, nn.LayerNorm)):
                _scale_and_shift(layer)
        return learning(module, self.rate)

    def merge(self, module: nn.Module, _anatomy: Anatomy) -> None:
        """Keep the scaled weights."""
        keep(module)


def _scale_and_shift(layer: nn.Module) -> None:
    weight = layer.weight
    assert isinstance(weight, Tensor)  # noqa: S101  # of all the kinds that are asked about
    scale = nn.Parameter(torch.ones(len(weight), dtype=weight.dtype, device=weight.device))
    compute(layer, "weight", _Scaled(scale))
    if isinstance(layer.bias, Tensor):  # without one there is nothing to shift: that would be another architecture
        compute(layer, "bias", _Shifted(scale))


class _Scaled(nn.Module):
    def __init__(self, scale: nn.Parameter) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.scale.reshape(-1, *[1] * (weight.ndim - 1))


class _Shifted(nn.Module):
    def __init__(self, scale: nn.Parameter) -> None:
        super().__init__()
        self.scale = scale  # the weight's: it is one parameter
        self.shift = nn.Parameter(torch.zeros_like(scale))

    def forward(self, bias: Tensor) -> Tensor:
        return bias * self.scale + self.shift
