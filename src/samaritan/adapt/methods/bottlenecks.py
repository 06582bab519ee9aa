"""Adapters: small bottlenecks after, or beside, the halves of each block. They add to features, and begin at 0."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from samaritan.adapt.loop import Group
from samaritan.adapt.methods.added import Added, add, halves
from samaritan.adapt.methods.method import cannot_merge, frozen_but_decoder, learning, require
from samaritan.models.anatomy import Anatomy, found


@dataclass(frozen=True, slots=True)
class Houlsby:
    """A bottleneck after attention and perceptron of each block; of a convolutional encoder, after each block.

    Parameters
    ----------
    width
        Channels of the bottleneck.
    decoder
        Whether the mask decoder learns as a whole besides.
    rate
        Peak of the learning rate.
    """

    title: ClassVar[str] = "bottlenecks after both halves of each block"
    source: ClassVar[str] = "Houlsby et al. 2019, arXiv:1902.00751"

    width: int = 32
    decoder: bool = True
    rate: float = 1e-3

    def prepare(self, module: nn.Module, anatomy: Anatomy) -> Sequence[Group]:
        """Add the bottlenecks; see ``Method``."""
        places = found(module, (*anatomy.attention, *anatomy.mlp)) or found(module, anatomy.blocks)
        require(places, "blocks", "houlsby")
        frozen_but_decoder(module, anatomy, decoder=self.decoder)
        add(module, places, _maker(self.width, anatomy), where="after")
        return learning(module, self.rate)

    def merge(self, _module: nn.Module, _anatomy: Anatomy) -> None:
        """Raise: a bottleneck bends."""
        raise cannot_merge(self.title)


@dataclass(frozen=True, slots=True)
class MedicalSamAdapter:
    """A bottleneck after each block's attention, and one beside its perceptron; else both at blocks.

    What the original does besides, to slices of a volume and by prompts in the decoder, is not done.

    Parameters
    ----------
    width, scale
        Channels of the bottlenecks; what the one beside gives counts ``scale`` times.
    decoder, rate
        As for ``Houlsby``.
    """

    title: ClassVar[str] = "bottlenecks after attention and beside the perceptrons"
    source: ClassVar[str] = "Wu et al. 2023 (Medical SAM Adapter), arXiv:2304.12620"

    width: int = 32
    scale: float = 0.5
    decoder: bool = True
    rate: float = 1e-3

    def prepare(self, module: nn.Module, anatomy: Anatomy) -> Sequence[Group]:
        """Add the bottlenecks; see ``Method``."""
        after = found(module, anatomy.attention) or found(module, anatomy.blocks)
        beside = halves(module, anatomy)
        require(after, "blocks", "medical-sam-adapter")
        frozen_but_decoder(module, anatomy, decoder=self.decoder)
        add(module, after, _maker(self.width, anatomy), where="after")
        add(module, beside, _maker(self.width, anatomy, scale=self.scale), where="beside")
        return learning(module, self.rate)

    def merge(self, _module: nn.Module, _anatomy: Anatomy) -> None:
        """Raise: a bottleneck bends."""
        raise cannot_merge(self.title)


@dataclass(frozen=True, slots=True)
class AdaptFormer:
    """A bottleneck beside each block's perceptron; of a convolutional encoder, beside blocks that keep their shape.

    Parameters
    ----------
    width, scale
        Channels of the bottleneck; what it gives counts ``scale`` times.
    decoder, rate
        As for ``Houlsby``.
    """

    title: ClassVar[str] = "bottlenecks beside the perceptrons"
    source: ClassVar[str] = "Chen et al. 2022, arXiv:2205.13535"

    width: int = 64
    scale: float = 0.1
    decoder: bool = True
    rate: float = 1e-3

    def prepare(self, module: nn.Module, anatomy: Anatomy) -> Sequence[Group]:
        """Add the bottlenecks; see ``Method``."""
        places = halves(module, anatomy)
        require(places, "blocks", "adaptformer")
        frozen_but_decoder(module, anatomy, decoder=self.decoder)
        add(module, places, _maker(self.width, anatomy, scale=self.scale), where="beside")
        return learning(module, self.rate)

    def merge(self, _module: nn.Module, _anatomy: Anatomy) -> None:
        """Raise: a bottleneck bends."""
        raise cannot_merge(self.title)


class Bottleneck(Added):
    """Down to few channels, bent, and up again; the way up begins at 0."""

    def __init__(self, channels: int, width: int, *, channels_last: bool, scale: float = 1.0) -> None:
        super().__init__()
        if channels_last:
            self.down: nn.Module = nn.Linear(channels, width)
            self.up: nn.Linear | nn.Conv2d = nn.Linear(width, channels)
        else:
            self.down, self.up = nn.Conv2d(channels, width, 1), nn.Conv2d(width, channels, 1)
        self.scale = scale
        nn.init.zeros_(self.up.weight)
        if self.up.bias is not None:
            nn.init.zeros_(self.up.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Return what is added to features of the same shape."""
        added: Tensor = self.up(nn.functional.gelu(self.down(features)))
        return added * self.scale


def _maker(width: int, anatomy: Anatomy, *, scale: float = 1.0) -> Callable[[int], Bottleneck]:
    """Return what makes a bottleneck for so many channels."""
    return lambda channels: Bottleneck(channels, width, channels_last=anatomy.channels_last, scale=scale)
