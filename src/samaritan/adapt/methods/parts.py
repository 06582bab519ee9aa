"""Methods that train some of the weights that are there already, and add none."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from torch import nn

from samaritan.adapt.loop import Group
from samaritan.adapt.methods.method import frozen, learning
from samaritan.models.anatomy import Anatomy


class _Weight(NamedTuple):
    """A parameter: its name within its module, the part of the network, and whether the module is a norm."""

    name: str
    part: str
    of_norm: bool


@dataclass(frozen=True, slots=True)
class _Some(ABC):
    """Trains the parameters that ``learns`` chooses."""

    title: ClassVar[str]
    source: ClassVar[str]
    rate: float = 1e-3

    def prepare(self, module: nn.Module, anatomy: Anatomy) -> Sequence[Group]:
        """Let the chosen parameters learn, and nothing else."""
        frozen(module)
        for name, part in module.named_modules():
            for last, parameter in part.named_parameters(recurse=False):
                weight = _Weight(last, anatomy.part_of(f"{name}.{last}"), isinstance(part, _NORMS))
                parameter.requires_grad = self.learns(weight)
        return learning(module, self.rate)

    def merge(self, _module: nn.Module, _anatomy: Anatomy) -> None:  # noqa: B027  # there is nothing to do
        """Do nothing: there are only the network's own weights."""

    @staticmethod
    @abstractmethod
    def learns(weight: _Weight) -> bool:
        """Whether a parameter learns."""


@dataclass(frozen=True, slots=True)
class Full(_Some):
    """All weights."""

    title = "all weights"
    source = ""
    rate: float = 1e-4

    @staticmethod
    def learns(_weight: _Weight) -> bool:
        """Whether a parameter learns."""
        return True


@dataclass(frozen=True, slots=True)
class Decoder(_Some):
    """The decoder of masks; with the encoder frozen, pictures are encoded once."""

    title = "the mask decoder"
    source = "Mazurowski et al. 2023, arXiv:2304.10517"

    @staticmethod
    def learns(weight: _Weight) -> bool:
        """Whether a parameter learns."""
        return weight.part == "decoder"


@dataclass(frozen=True, slots=True)
class PromptsAndDecoder(_Some):
    """What takes prompts in, and the decoder of masks."""

    title = "prompt encoder and mask decoder"
    source = "Ma et al. 2024, arXiv:2304.12306"

    @staticmethod
    def learns(weight: _Weight) -> bool:
        """Whether a parameter learns."""
        return weight.part in ("prompts", "decoder")


@dataclass(frozen=True, slots=True)
class BitFit(_Some):
    """All biases."""

    title = "all biases"
    source = "Ben Zaken et al. 2022, arXiv:2106.10199"

    @staticmethod
    def learns(weight: _Weight) -> bool:
        """Whether a parameter learns."""
        return weight.name == "bias"


@dataclass(frozen=True, slots=True)
class Norms(_Some):
    """Scale and shift of all norms."""

    title = "scale and shift of norms"
    source = "Basu et al. 2023, arXiv:2304.01990"

    @staticmethod
    def learns(weight: _Weight) -> bool:
        """Whether a parameter learns."""
        return weight.of_norm


_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)  # noqa: SLF001 - the base of all batch norms
