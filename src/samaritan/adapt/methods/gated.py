"""SAM-Med2D's adapters: channels weighed by what the whole picture shows, then a look around at half the resolution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from samaritan.adapt.loop import Group
from samaritan.adapt.methods.added import Added, add, halves
from samaritan.adapt.methods.method import cannot_merge, frozen_but_decoder, learning, require
from samaritan.models.anatomy import Anatomy

_SQUEEZE = 4  # channels of the block for each of the gate's hidden ones
_FLAT = 3  # dimensions of features by place


@dataclass(frozen=True, slots=True)
class Gated:
    """A gate of channels and two convolutions beside each block's perceptron, or beside blocks of convolutions.

    Parameters
    ----------
    width
        Channels at half the resolution; 0 for as many as the block has, as in the original.
    decoder
        Whether the mask decoder learns as a whole besides.
    rate
        Peak of the learning rate.
    """

    title: ClassVar[str] = "gated convolutions beside the perceptrons"
    source: ClassVar[str] = "Cheng et al. 2023 (SAM-Med2D), arXiv:2308.16184"

    width: int = 32
    decoder: bool = True
    rate: float = 1e-3

    def prepare(self, module: nn.Module, anatomy: Anatomy) -> Sequence[Group]:
        """Add them; see ``Method``."""
        places = halves(module, anatomy)
        require(places, "blocks", "sam-med2d")
        frozen_but_decoder(module, anatomy, decoder=self.decoder)
        last = anatomy.channels_last
        add(module, places, lambda channels: GatedAdapter(channels, self.width, channels_last=last), where="beside")
        return learning(module, self.rate)

    def merge(self, _module: nn.Module, _anatomy: Anatomy) -> None:
        """Raise: a gate depends on the picture."""
        raise cannot_merge(self.title)


class GatedAdapter(Added):
    """Channels weighed (Hu et al. 2018, Squeeze-and-Excitation), then down and up again; the way up begins at 0."""

    def __init__(self, channels: int, width: int, *, channels_last: bool) -> None:
        super().__init__()
        hidden, inner = max(1, channels // _SQUEEZE), width or channels
        self.channels_last = channels_last
        self.gate = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels), nn.Sigmoid())
        self.down = nn.Conv2d(channels, inner, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(inner, channels, 4, stride=2, padding=1)
        nn.init.zeros_(self.up.weight)
        if self.up.bias is not None:
            nn.init.zeros_(self.up.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Return what is added to features: maps, or places of a square picture in a row."""
        maps = features
        if features.ndim == _FLAT:
            side = math.isqrt(features.shape[1])
            maps = features.reshape(len(features), side, side, -1)
        maps = maps.permute(0, 3, 1, 2) if self.channels_last else maps
        weighed = maps * self.gate(maps.mean(dim=(2, 3)))[:, :, None, None]
        around = self.up(nn.functional.relu(self.down(weighed)))[..., : maps.shape[2], : maps.shape[3]]
        added: Tensor = around.permute(0, 2, 3, 1) if self.channels_last else around
        return added.reshape(features.shape)
