"""Adapters: small bottlenecks after, or beside, the halves of each block. They add to features, and begin at 0.

They are called by hooks, so that blocks stay as they are, and their weights lie in the module that they are hooked to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from samaritan.adapt.loop import Group
from samaritan.adapt.methods.method import cannot_merge, frozen_but_decoder, learning, require
from samaritan.models.anatomy import Anatomy, found

_NAME = "adapter"  # of what is added to a module


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
        for part, bottleneck in _bottlenecks(module, places, anatomy, self.width):
            part.register_forward_hook(bottleneck.after)
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
        places = found(module, anatomy.mlp) or _keeping(found(module, anatomy.blocks))
        require(places, "blocks", "adaptformer")
        frozen_but_decoder(module, anatomy, decoder=self.decoder)
        for part, bottleneck in _bottlenecks(module, places, anatomy, self.width, scale=self.scale):
            part.register_forward_hook(bottleneck.beside)
        return learning(module, self.rate)

    def merge(self, _module: nn.Module, _anatomy: Anatomy) -> None:
        """Raise: a bottleneck bends."""
        raise cannot_merge(self.title)


class Bottleneck(nn.Module):
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

    def after(self, _part: nn.Module, _given: Any, output: Any) -> Any:  # noqa: ANN401 - a hook's own
        """Add to what a module gives what this makes of it; of a tuple to its first."""
        if isinstance(output, tuple):
            return (output[0] + self(output[0]), *output[1:])
        return output + self(output)

    def beside(self, _part: nn.Module, given: Any, output: Any) -> Any:  # noqa: ANN401 - as above
        """Add to what a module gives what this makes of what the module was given."""
        return output + self(given[0])


def _bottlenecks(
    module: nn.Module, places: Mapping[str, nn.Module], anatomy: Anatomy, width: int, *, scale: float = 1.0
) -> list[tuple[nn.Module, Bottleneck]]:
    """Give each place its bottleneck, as wide as what comes out there."""
    made = []
    for part in places.values():
        channels = _channels(part)[1]
        bottleneck = Bottleneck(channels, width, channels_last=anatomy.channels_last, scale=scale)
        device = next(module.parameters()).device
        part.add_module(_NAME, bottleneck.to(device))
        made.append((part, bottleneck))
    return made


def _keeping(blocks: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    """Return the blocks that give as many channels as they take, which are those that keep the size as well."""
    return {name: block for name, block in blocks.items() if len(set(_channels(block))) == 1}


def _channels(part: nn.Module) -> tuple[int, int]:
    """Return the channels that come into a part of a network, and out of it, by its first and last dense layer."""
    ends = []
    for layer in part.modules():
        if isinstance(layer, nn.Linear):
            ends.append((layer.in_features, layer.out_features))
        elif isinstance(layer, nn.Conv2d):
            ends.append((layer.in_channels, layer.out_channels))
    return ends[0][0], ends[-1][1]
