"""Heads: from an encoder's features to logits of background and classes, one a class and a ``register`` line each.

A head is called with the base's network and the features by stride; what comes out has the finest stride, of four
pixels at most.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from samaritan.adapt.sight import Features, Sight
from samaritan.core.registry import Registry

# Makes a head of a base's sight, its network, and how many masks are wanted, background included.
Maker = Callable[[Sight, nn.Module, int], nn.Module]
HEADS: Registry[Maker] = Registry("head", "samaritan.heads")
for _name in ("decoder", "linear", "cnn", "transformer", "prototypes"):
    HEADS.register(_name, f"samaritan.adapt.semantic.heads:{_name}")

_COARSEST = 4  # pixels that a cell of the masks stands for, at most
_WIDTH = 64  # channels of features on their way to masks
_LAYERS, _ATTENTION_HEADS = 2, 4
_GROUPS = 8  # of norms
_TEMPERATURE = 0.07


def decoder(sight: Sight, network: nn.Module, masks: int) -> nn.Module:
    """Return the base's own decoder with nothing asked and masks for classes (SAMed: Zhang & Liu 2023)."""
    return sight.decoder(network, masks)


def linear(sight: Sight, _network: nn.Module, masks: int) -> nn.Module:
    """Return a linear map of the features at each place (after AutoSAM: Hu et al. 2023, arXiv:2306.13731)."""
    return Linear(sight, masks)


def cnn(sight: Sight, _network: nn.Module, masks: int) -> nn.Module:
    """Return convolutions from coarse to fine (after AutoSAM: Hu et al. 2023, arXiv:2306.13731)."""
    return Cnn(sight, masks)


def transformer(sight: Sight, _network: nn.Module, masks: int) -> nn.Module:
    """Return a token a class that looks at the picture, and draws what is like it (after AutoSAM, as above)."""
    return Transformer(sight, masks)


def prototypes(sight: Sight, _network: nn.Module, masks: int) -> nn.Module:
    """Return a learnt prototype a class, to which the features of its places are alike.

    Likeness and its temperature are SurgicalSAM's (Yue et al. 2024, arXiv:2308.08746), which prompts a decoder by it;
    here it is the mask, so that the loss that pulls places to their prototype is the loss of the masks.
    """
    return Prototypes(sight, masks)


class Linear(nn.Module):
    """See ``linear``."""

    def __init__(self, sight: Sight, masks: int) -> None:
        super().__init__()
        self.each = nn.ModuleDict({str(stride): nn.Conv2d(width, masks, 1) for stride, width in sight.widths.items()})

    def forward(self, _base: nn.Module, features: Features) -> Tensor:
        """Return the logits."""
        finest = min(features)
        rows, columns = (n * finest // min(finest, _COARSEST) for n in features[finest].shape[2:])
        said = [_resized(self.each[str(stride)](seen), (rows, columns)) for stride, seen in features.items()]
        return torch.stack(said).sum(dim=0)


class Pyramid(nn.Module):
    """Features from coarse to fine, each with what is coarser; (n, ``width``, rows, columns) at the finest stride."""

    def __init__(self, sight: Sight) -> None:
        super().__init__()
        strides, finest = [max(sight.widths)], min(_COARSEST, *sight.widths)
        while strides[-1] > finest:
            strides.append(strides[-1] // 2)
        widths = {stride: max(16, min(_WIDTH, _WIDTH * stride // _COARSEST)) for stride in strides}
        self.width, self.strides = widths[strides[-1]], strides
        self.lateral = nn.ModuleDict({str(s): nn.Conv2d(c, widths[s], 1) for s, c in sight.widths.items()})
        self.down = nn.ModuleDict({str(b): nn.Conv2d(widths[a], widths[b], 1) for a, b in pairwise(strides)})
        self.mix = nn.ModuleDict({str(stride): _Mix(widths[stride]) for stride in strides})

    def forward(self, features: Features) -> Tensor:
        """Return the finest of the features that know of all."""
        x: Tensor | None = None
        for stride in self.strides:
            name = str(stride)
            parts = [self.lateral[name](features[stride])] if stride in features else []
            if x is not None:
                coarse = self.down[name](x)
                parts.append(functional.interpolate(coarse, scale_factor=2.0, mode="bilinear"))
            x = self.mix[name](torch.stack(parts).sum(dim=0))
        assert x is not None  # noqa: S101  # every encoder has features
        return x


class Cnn(nn.Module):
    """See ``cnn``."""

    def __init__(self, sight: Sight, masks: int) -> None:
        super().__init__()
        self.pyramid = Pyramid(sight)
        self.masks = nn.Conv2d(self.pyramid.width, masks, 1)

    def forward(self, _base: nn.Module, features: Features) -> Tensor:
        """Return the logits."""
        logits: Tensor = self.masks(self.pyramid(features))
        return logits


class Transformer(nn.Module):
    """See ``transformer``."""

    def __init__(self, sight: Sight, masks: int) -> None:
        super().__init__()
        self.pyramid = Pyramid(sight)
        self.coarsest = max(sight.widths)
        self.cells = nn.Conv2d(sight.widths[self.coarsest], _WIDTH, 1)
        self.place = nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1, groups=_WIDTH)  # from its zeros beyond, where a cell is
        self.tokens = nn.Parameter(torch.randn(masks, _WIDTH) * 0.02)
        layer = nn.TransformerDecoderLayer(_WIDTH, _ATTENTION_HEADS, 4 * _WIDTH, dropout=0.0, batch_first=True)
        self.layers = nn.TransformerDecoder(layer, _LAYERS)
        self.draw = nn.Sequential(nn.Linear(_WIDTH, _WIDTH), nn.ReLU(), nn.Linear(_WIDTH, self.pyramid.width))
        self.bias = nn.Parameter(torch.zeros(masks))

    def forward(self, _base: nn.Module, features: Features) -> Tensor:
        """Return the logits."""
        cells = self.cells(features[self.coarsest])
        cells = (cells + self.place(cells)).flatten(2).transpose(1, 2)
        tokens = self.draw(self.layers(self.tokens.expand(len(cells), -1, -1), cells))
        drawn = torch.einsum("nmc,nchw->nmhw", tokens, self.pyramid(features))
        return drawn + self.bias[:, None, None]


class Prototypes(nn.Module):
    """See ``prototypes``."""

    def __init__(self, sight: Sight, masks: int) -> None:
        super().__init__()
        self.pyramid = Pyramid(sight)
        self.prototypes = nn.Parameter(torch.randn(masks, self.pyramid.width))

    def forward(self, _base: nn.Module, features: Features) -> Tensor:
        """Return the logits."""
        seen = functional.normalize(self.pyramid(features), dim=1)
        likeness = torch.einsum("mc,nchw->nmhw", functional.normalize(self.prototypes, dim=1), seen)
        return likeness / _TEMPERATURE


class _Mix(nn.Module):
    """Two convolutions over what lies around, added to what is there."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(_GROUPS, width)
        self.first, self.second = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.second(functional.relu(self.first(functional.relu(self.norm(x)))))
        return x + y


def _resized(logits: Tensor, size: tuple[int, int]) -> Tensor:
    return functional.interpolate(logits, size=size, mode="bilinear")
