"""How the encoder of a base sees pictures when nothing is asked: for heads that find classes by themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

# Feature maps (n, channels, rows, columns) by their stride: how many pixels of the picture a cell stands for.
Features = Mapping[int, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """An encoder without prompts.

    Parameters
    ----------
    widths
        Channels of the features by stride.
    see
        Maps a base's network and RGB pictures (n, 3, rows, columns) in [0, 255] to features.
    decoder
        Makes the head that draws a number of masks by the base's own decoder, of its network; it is called with the
        network and the features.
    side
        Pixels of the pictures' longer side that the encoder sees best.
    multiple
        What the sides of pictures must be a multiple of; ``side`` if it sees squares of that size alone.
    """

    widths: Mapping[int, int]
    see: Callable[[nn.Module, Tensor], Features]
    decoder: Callable[[nn.Module, int], nn.Module]
    side: int
    multiple: int
