"""A ladder beside the encoder (SAM-LST): a small network of its own sees the picture, and adds to the embedding.

Gradients go through the small network alone: little memory, though the encoder is as large as ever.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from samaritan.adapt.loop import Group
from samaritan.adapt.methods.added import channels_of
from samaritan.adapt.methods.method import cannot_merge, frozen_but_decoder, learning, require
from samaritan.models.anatomy import Anatomy, found

_COLOURS = 3
_GROUPS = 8  # of norms


@dataclass(frozen=True, slots=True)
class Ladder:
    """A small convolutional network beside the encoder, whose features are added to the embedding by a learnt weight.

    Parameters
    ----------
    width
        Channels of its first step; each of four steps has twice as many at half the resolution.
    decoder
        Whether the mask decoder learns as a whole besides.
    rate
        Peak of the learning rate.
    """

    title: ClassVar[str] = "a small network beside the encoder"
    source: ClassVar[str] = "Chai et al. 2023 (SAM-LST), arXiv:2306.12737"

    width: int = 16
    decoder: bool = True
    rate: float = 1e-3

    def prepare(self, module: nn.Module, anatomy: Anatomy) -> Sequence[Group]:
        """Add the network; see ``Method``."""
        entries = require(found(module, anatomy.entry), "a known entry of pictures", "ladder")
        necks = require(found(module, anatomy.neck), "a known end of its encoder", "ladder")
        frozen_but_decoder(module, anatomy, decoder=self.decoder)
        (entry,), (neck,) = entries.values(), necks.values()
        side = _Side(self.width, channels_of(neck)[1]).to(next(module.parameters()).device)
        entry.register_forward_pre_hook(side.see)
        neck.register_forward_hook(side.join)
        neck.add_module("ladder", side)
        return learning(module, self.rate)

    def merge(self, _module: nn.Module, _anatomy: Anatomy) -> None:
        """Raise: it is a network of its own."""
        raise cannot_merge(self.title)


class _Side(nn.Module):
    """From pictures to what is added to the embedding; at first nothing."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        widths = [_COLOURS, *(width << step for step in range(4))]
        steps = [
            nn.Sequential(nn.Conv2d(a, b, 3, stride=2, padding=1), nn.GroupNorm(_GROUPS, b), nn.ReLU())
            for a, b in pairwise(widths)
        ]
        self.steps = nn.Sequential(*steps, nn.Conv2d(widths[-1], channels, 1))
        self.weight = nn.Parameter(torch.zeros(1))
        self._seen: dict[int, Tensor] = {}  # by thread: models serve several at once

    def see(self, _entry: nn.Module, given: tuple[Any, ...]) -> None:
        """Take the pictures that go into the encoder."""
        self._seen[threading.get_ident()] = given[0]

    def join(self, _neck: nn.Module, _given: Any, output: Tensor) -> Tensor:  # noqa: ANN401 - a hook's own
        """Add to the embedding what the pictures show."""
        seen = self.steps(self._seen.pop(threading.get_ident()))
        return output + self.weight * functional.interpolate(seen, size=output.shape[-2:], mode="bilinear")
