"""The image encoder of SAM-Med3D: a vision transformer whose patches are cubes.

Source: Wang et al. 2023 (arXiv:2310.15161), after ViTDet's encoder (Li et al. 2022) with positions that are decomposed
along the axes (Li et al. 2022, MViTv2). Tensors are named as in the published checkpoint.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

_EPSILON = 1e-6  # of the encoder's norms and of all norms over channels; the decoder's have PyTorch's own
PATCH = 16  # voxels along each side of a patch


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of (n, channels, d, h, w)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, features: Tensor) -> Tensor:
        """Return the features normalised."""
        last = features.movedim(1, -1)
        return functional.layer_norm(last, last.shape[-1:], self.weight, self.bias, _EPSILON).movedim(-1, 1)


class Attention(nn.Module):
    """Attention among the cells of a block, with what their distance along each axis is worth.

    Parameters
    ----------
    width, heads
        Channels of a cell, and heads that share them.
    reach
        Cells along each side of a whole block.
    """

    def __init__(self, width: int, heads: int, reach: int) -> None:
        super().__init__()
        self.heads, self.reach = heads, reach
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.rel_pos_d = nn.Parameter(torch.zeros(2 * reach - 1, width // heads))
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * reach - 1, width // heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * reach - 1, width // heads))

    def forward(self, block: Tensor) -> Tensor:
        """Attend in a block (n, d, h, w, width).

        What cell (d, h, w) makes of cell (e, i, j) grows with three terms beside the product of query and key, each the
        product of a query q and a row of a table: ``q(d, h, w)`` with the way from d to j, ``q(d, h, e)`` with that
        from h to j, and ``q(d, h, i)`` with that from i to j. One would expect (d, h, w) in all three, and the ways to
        e, i and j; the published definition broadcasts the terms along other axes, and so its weights were trained.

        A block that is smaller than ``reach`` counts as filled up with zeros behind its last cells, as at the far side
        of the grid in training. All those cells have one query, one key and one value, the biases. So they are not
        made: their weights are summed up in closed form, and the value enters once. The outcome is the same; on the
        published network's grid of 8 in windows of 14 there are five times fewer queries and five times fewer keys.
        """
        n, d, h, w, width = block.shape
        q, k, v = self.qkv(block).reshape(n, d * h * w, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        own, first, second = self._worth(q.unflatten(2, (d, h, w)))
        bias = own[..., None, None, :w] + first[:, :, :, :, None, :d, None, :w] + second[:, :, :, :, None, None, :h, :w]
        bias = bias.flatten(5).flatten(2, 4)  # (n, heads, cells that ask, cells that are asked)
        if min(d, h, w) < self.reach:
            _, key, value = self.qkv.bias.reshape(3, 1, self.heads, 1, -1)
            alike = (q @ key.mT) * q.shape[-1] ** -0.5
            bias = torch.cat([bias, alike + _beyond(own, first, second, (d, h, w))], dim=-1)
            k = torch.cat([k, torch.zeros_like(k[:, :, :1])], dim=2)
            v = torch.cat([v, value.expand(n, -1, -1, -1)], dim=2)
        out = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.proj(out.transpose(1, 2).reshape(n, d, h, w, width))  # type: ignore[no-any-return]  # PyTorch's own

    def _worth(self, q: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the three terms of ``forward`` for queries (n, heads, d, h, w, channels), which are not scaled here.

        The first is (n, heads, d, h, w, reach), the others (n, heads, d, h, reach, reach).
        """
        d, h, w = q.shape[2:5]
        fill = self.qkv.bias.reshape(3, self.heads, 1, 1, 1, -1)[0]
        line = torch.cat([q, fill.expand(*q.shape[:4], self.reach - w, -1)], dim=4)
        return (
            torch.einsum("nadhwc,djc->nadhwj", q, self._ways(self.rel_pos_d, d)),
            torch.einsum("nadhec,hjc->nadhej", line, self._ways(self.rel_pos_h, h)),
            torch.einsum("nadhic,ijc->nadhij", line, self._ways(self.rel_pos_w, self.reach)),
        )

    def _ways(self, table: Tensor, side: int) -> Tensor:
        """Return the rows of a table for the ways from each of ``side`` places to each in reach, (side, reach, c)."""
        start, end = torch.arange(side, device=table.device), torch.arange(self.reach, device=table.device)
        return table[start[:, None] - end + self.reach - 1]


def _beyond(own: Tensor, first: Tensor, second: Tensor, sides: tuple[int, int, int]) -> Tensor:
    """Return (n, heads, cells, 1), the logarithm of the summed weights of all cells behind a block, for the terms.

    For each place along the last axis the sum over the other two is a product. To subtract the block's own cells from
    all would cost digits: those behind it along d are added to those that are so along h only.
    """
    d, h, w = sides
    all_first, all_second = torch.logsumexp(first, dim=-2), torch.logsumexp(second, dim=-2)
    beside = torch.logaddexp(
        _log_sum(first[..., d:, :w]) + all_second[..., :w],
        torch.logsumexp(first[..., :d, :w], dim=-2) + _log_sum(second[..., h:, :w]),
    )
    behind = torch.cat([beside, (all_first + all_second)[..., w:]], dim=-1)  # (n, heads, d, h, reach)
    return torch.logsumexp(own + behind[..., None, :], dim=-1).flatten(2)[..., None]


def _log_sum(logits: Tensor) -> Tensor:
    """Return the logarithm of the sum of exponentials along the last axis but one, which may be empty."""
    if logits.shape[-2]:
        return torch.logsumexp(logits, dim=-2)
    return logits.new_full((*logits.shape[:-2], logits.shape[-1]), -torch.inf)


class Block(nn.Module):
    """A layer of the transformer; ``window`` cells along each side see each other (all, if it is the grid's side)."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.norm1 = nn.LayerNorm(width, eps=_EPSILON)
        self.attn = Attention(width, heads, window)
        self.norm2 = nn.LayerNorm(width, eps=_EPSILON)
        self.mlp = feed_forward(width, 4 * width, nn.GELU())

    def forward(self, cells: Tensor) -> Tensor:
        """Return the cells (n, d, h, w, width) after the layer."""
        cells = cells + self._attended(self.norm1(cells), axis=1)
        return cells + self.mlp(self.norm2(cells))  # type: ignore[no-any-return]  # PyTorch's own

    def _attended(self, cells: Tensor, axis: int) -> Tensor:
        if axis == cells.ndim - 1:
            return self.attn(cells)  # type: ignore[no-any-return]  # PyTorch's own
        parts = [self._attended(part, axis + 1) for part in _split(cells, self.window, axis)]
        return torch.cat(parts, dim=axis)


def _split(cells: Tensor, window: int, axis: int) -> Iterator[Tensor]:
    """Yield the parts of ``window`` cells along an axis; the last may have fewer."""
    length = cells.shape[axis]
    return (cells.narrow(axis, start, min(window, length - start)) for start in range(0, length, window))


def feed_forward(width: int, hidden: int, activation: nn.Module) -> nn.Sequential:
    """Return the two linear layers of a transformer's layer."""
    layers = (("lin1", nn.Linear(width, hidden)), ("act", activation), ("lin2", nn.Linear(hidden, width)))
    return nn.Sequential(OrderedDict(layers))


class ImageEncoder(nn.Module):
    """From a window (n, 1, side, side, side) to features (n, channels, side / 16, ...).

    Parameters
    ----------
    side
        Voxels along each side of the window.
    width, depth, heads
        Of the transformer.
    window
        Cells along each side that see each other in most layers.
    whole
        Numbers of the layers in which all cells see each other.
    channels
        Of the features.
    """

    def __init__(
        self, *, side: int, width: int, depth: int, heads: int, window: int, whole: tuple[int, ...], channels: int
    ) -> None:
        super().__init__()
        grid = side // PATCH
        self.patch_embed = nn.Sequential(OrderedDict(proj=nn.Conv3d(1, width, PATCH, stride=PATCH)))
        self.pos_embed = nn.Parameter(torch.zeros(1, grid, grid, grid, width))
        self.blocks = nn.ModuleList(Block(width, heads, grid if number in whole else window) for number in range(depth))
        self.neck = nn.Sequential(
            nn.Conv3d(width, channels, 1, bias=False),
            ChannelNorm(channels),
            nn.Conv3d(channels, channels, 3, padding=1, bias=False),
            ChannelNorm(channels),
        )

    def forward(self, window: Tensor) -> Tensor:
        """Return the features."""
        cells = self.patch_embed(window).movedim(1, -1) + self.pos_embed
        for block in self.blocks:
            cells = block(cells)
        return self.neck(cells.movedim(-1, 1))  # type: ignore[no-any-return]  # PyTorch's own
