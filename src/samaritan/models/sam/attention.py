"""The encoder's attention in bounded memory, with transformers' parameters.

Where the whole picture is looked at, 4,096 places mind as many others in 12 to 16 heads: the weights of one block take
0.8 GB and more. Some rows of places at a time need a fraction of that, and say the same.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

_MOST_AT_ONCE = 1 << 26  # weights of attention that are held at a time: 256 MiB


class RowwiseAttention(nn.Module):
    """Attention over a grid, with positions relative along rows and columns (Li et al. 2022, MViTv2).

    Takes over the parameters of transformers' ``SamVisionAttention`` under their names.

    Parameters
    ----------
    attention
        The module to replace.
    """

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.heads: int = attention.num_attention_heads  # type: ignore[assignment]  # modules type all as Tensor | Module
        self.qkv: nn.Linear = attention.qkv  # type: ignore[assignment]
        self.proj: nn.Linear = attention.proj  # type: ignore[assignment]
        self.rel_pos_h: nn.Parameter = attention.rel_pos_h  # type: ignore[assignment]
        self.rel_pos_w: nn.Parameter = attention.rel_pos_w  # type: ignore[assignment]

    def forward(self, hidden_states: Tensor) -> tuple[Tensor, None]:
        """Map (n, rows, columns, width) to the same shape; the second is where transformers has the weights."""
        n, rows, columns, width = hidden_states.shape
        cut = self.qkv(hidden_states).reshape(n, rows * columns, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = cut.unbind(0)  # each (n, heads, places, channels)
        rise = _between(self.rel_pos_h, rows)
        run = _between(self.rel_pos_w, columns)
        step = max(1, min(rows, _MOST_AT_ONCE // (n * self.heads * columns * rows * columns)))
        seen = [
            self._look(query[:, :, top * columns : (top + step) * columns], key, value, rise[top : top + step], run)
            for top in range(0, rows, step)
        ]
        together = torch.cat(seen, dim=2).transpose(1, 2).reshape(n, rows, columns, width)
        return self.proj(together), None

    def _look(self, query: Tensor, key: Tensor, value: Tensor, rise: Tensor, run: Tensor) -> Tensor:
        """Return what some rows of places see, (n, heads, places, channels)."""
        n, heads, _, channels = query.shape
        placed = query.reshape(n, heads, len(rise), len(run), channels)
        along = torch.einsum("nhrcd,rkd->nhrck", placed, rise)[..., :, None]
        across = torch.einsum("nhrcd,ckd->nhrck", placed, run)[..., None, :]
        bias = (along + across).reshape(n, heads, len(rise) * len(run), -1)
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)


def _between(relative: Tensor, size: int) -> Tensor:
    """Return what is learnt of the distance between every two of ``size`` places, (size, size, channels)."""
    at = torch.arange(size, device=relative.device)
    return relative[at[:, None] - at + size - 1]
