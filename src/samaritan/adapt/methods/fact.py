"""Factors that all layers share (FacT; Jie & Deng 2023, arXiv:2212.03145), in its form TT.

The update of a layer is U S V with U and V shared by all layers of one shape and a small S of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from samaritan.adapt.loop import Group
from samaritan.adapt.methods.method import frozen_but_decoder, learning
from samaritan.adapt.methods.reparametrised import compute, is_dense, keep
from samaritan.core.errors import TrainingError
from samaritan.models.anatomy import Anatomy


@dataclass(frozen=True, slots=True)
class Fact:
    """Updates of the encoder's layers by shared factors; they begin at 0."""

    title: ClassVar[str] = "updates by shared factors"
    source: ClassVar[str] = "Jie & Deng 2023, arXiv:2212.03145; MA-SAM: arXiv:2309.08842"

    rank: int = 16
    scale: float = 1.0
    decoder: bool = True
    rate: float = 1e-3

    def prepare(self, module: nn.Module, anatomy: Anatomy) -> Sequence[Group]:
        """Give each layer of the encoder its core, and each shape its factors; see ``Method``."""
        frozen_but_decoder(module, anatomy, decoder=self.decoder)
        shared: dict[tuple[int, int], tuple[nn.Parameter, nn.Parameter]] = {}
        for name, layer in list(module.named_modules()):
            if anatomy.part_of(name) == "encoder" and is_dense(layer):
                weight = layer.weight
                assert isinstance(weight, Tensor)  # noqa: S101  # dense layers have one
                rows, columns = len(weight), weight[0].numel()
                rank = min(self.rank, rows, columns)
                if (rows, columns) not in shared:
                    # U begins at 0, V as linear layers do: what is added is 0, and both get a gradient in two steps.
                    factors = torch.zeros(rows, rank), torch.empty(rank, columns)
                    nn.init.kaiming_uniform_(factors[1], a=5**0.5)
                    shared[rows, columns] = (nn.Parameter(factors[0]), nn.Parameter(factors[1]))
                compute(layer, "weight", _Factored(*shared[rows, columns], self.scale))
        if not shared:
            raise TrainingError(got="method fact for an encoder without linear layers or convolutions")
        return learning(module, self.rate)

    def merge(self, module: nn.Module, _anatomy: Anatomy) -> None:
        """Keep the updated weights."""
        keep(module)


class _Factored(nn.Module):
    def __init__(self, left: nn.Parameter, right: nn.Parameter, scale: float) -> None:
        super().__init__()
        self.left, self.right, self.scale = left, right, scale
        self.core = nn.Parameter(torch.eye(len(right)))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.scale * (self.left @ self.core @ self.right).reshape(weight.shape)
