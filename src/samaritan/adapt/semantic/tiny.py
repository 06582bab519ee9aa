"""How the default model's encoder sees without prompts, and its decoder with masks for classes."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from samaritan.adapt.sight import Features, Sight
from samaritan.models.tiny.network import DESIGN, Embedding, Said, TinyNetwork


class Decoder(nn.Module):
    """The default model's decoder with nothing said, and a mask for each class in place of one of an object."""

    def __init__(self, channels: int, masks: int) -> None:
        super().__init__()
        self.masks = nn.Conv2d(channels, masks, 3, padding=1)

    def forward(self, base: nn.Module, features: Features) -> Tensor:
        """Return the logits (n, masks, rows, columns)."""
        seen = Embedding(*(features[stride] for stride in (16, 8, 4, 2)))
        said = Said.nothing(seen.s4)
        logits: Tensor = self.masks(cast("TinyNetwork", base).decoder.features(seen, said)[0])
        return logits


def _see(base: nn.Module, pictures: Tensor) -> Features:
    network = cast("TinyNetwork", base)
    quarter = pictures.new_zeros(len(pictures), 1, pictures.shape[2] // 4, pictures.shape[3] // 4)
    seen = network.encoder(pictures, Said.nothing(quarter))
    return {16: seen.s16, 8: seen.s8, 4: seen.s4, 2: seen.s2}


def _decoder(_network: nn.Module, masks: int) -> nn.Module:
    return Decoder(DESIGN.widths[2], masks)


SIGHT = Sight(widths=DESIGN.widths, see=_see, decoder=_decoder, side=256, multiple=32)
