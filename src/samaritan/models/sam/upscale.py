"""Maps at twice and four times their resolution, cell by cell.

A transposed convolution whose kernel is its stride makes four places of each and mixes it with no other: it is a
product with a matrix. So the places made of a cell can stay beside each other, in the order of the cells, and nothing
has to be sorted into rows and columns but the masks at the end.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


def doubled(cells: Tensor, convolution: nn.ConvTranspose2d) -> Tensor:
    """Return cells (p, n, channels) at twice the resolution, (p, 4 n, others)."""
    matrix = convolution.weight.permute(2, 3, 1, 0).flatten(0, 2)
    bias = convolution.bias
    assert bias is not None  # noqa: S101 - Segment Anything's have one
    return functional.linear(cells, matrix, bias.repeat(4)).reshape(cells.shape[0], -1, len(bias))


def to_map(cells: Tensor, side: int, doublings: int) -> Tensor:
    """Return (p, side² · 4^doublings, channels) in the order of cells as a map (p, channels, rows, columns).

    ``side`` is that of the cells before they were doubled.
    """
    apart = cells.reshape(cells.shape[0], side, side, *[2] * (2 * doublings), cells.shape[-1])
    last = apart.ndim - 1
    ordered = apart.permute(0, last, *range(1, last, 2), *range(2, last, 2))
    return ordered.reshape(cells.shape[0], cells.shape[-1], side << doublings, side << doublings)


def to_cells(picture: Tensor, side: int, doublings: int) -> Tensor:
    """Return what ``to_map`` makes a map (p, channels, rows, columns) of."""
    halves = [2] * doublings
    apart = picture.reshape(*picture.shape[:2], side, *halves, side, *halves)
    rows, columns = range(2, 3 + doublings), range(3 + doublings, 4 + 2 * doublings)
    pairs = [axis for pair in zip(rows, columns, strict=True) for axis in pair]
    return apart.permute(0, *pairs, 1).flatten(1, -2)


def normed(cells: Tensor, norm: nn.LayerNorm) -> Tensor:
    """Return cells (p, n, channels) normed as transformers' ``norm`` norms maps: over the channels of each."""
    return functional.layer_norm(cells, norm.normalized_shape, norm.weight, norm.bias, norm.eps)
