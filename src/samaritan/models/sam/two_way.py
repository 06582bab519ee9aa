"""How the tokens of Segment Anything's decoder and the places of a picture attend to each other, in fewer operations.

A click is seven tokens, a picture 4,096 places. To make queries, keys and values of the places is most of what the
decoder does, and products can be taken in another order: ``(places W) · query`` is ``places · (W query)``. So tokens go
through both matrices and places through none, which takes as many columns as there are heads for each token, in place
of 128. For a click that is less than half of the operations; from some sixteen tokens on it is more.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from torch.nn import functional


class TwoWay(nn.Module):
    """Two layers of attention between tokens and places, and a last one (Kirillov et al. 2023, Segment Anything).

    Takes over the parameters of transformers' module, of either version of SAM.

    Parameters
    ----------
    transformer
        ``SamTwoWayTransformer`` or ``Sam2TwoWayTransformer``, or one of their shape.
    """

    def __init__(self, transformer: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(layer) for layer in cast("nn.ModuleList", transformer.layers))
        self.last = _Attention(cast("nn.Module", transformer.final_attn_token_to_image))
        self.norm = cast("nn.LayerNorm", transformer.layer_norm_final_attn)

    def forward(self, tokens: Tensor, cells: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """Return tokens (p, t, channels) and cells (p, n, channels) that know of each other.

        ``cells`` are the picture's, (1 or p, n, channels), and ``places`` (1, n, channels) say where they lie.
        """
        own, first = tokens, True
        for layer in self.layers:
            tokens, cells = layer(tokens, cells, own, places, first=first)
            first = False
        return self.norm(tokens + self.last.of_tokens(tokens + own, cells + places, cells)), cells


class _Layer(nn.Module):
    """Tokens look at each other and at the cells, and the cells at the tokens."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.among = _Attention(cast("nn.Module", layer.self_attn))
        self.look = _Attention(cast("nn.Module", layer.cross_attn_token_to_image))
        self.tell = _Attention(cast("nn.Module", layer.cross_attn_image_to_token))
        self.mlp = cast("nn.Module", layer.mlp)
        self.norms = nn.ModuleList(cast("nn.Module", getattr(layer, f"layer_norm{number}")) for number in (1, 2, 3, 4))

    def forward(
        self, tokens: Tensor, cells: Tensor, own: Tensor, places: Tensor, *, first: bool
    ) -> tuple[Tensor, Tensor]:
        """Return tokens and cells; ``own`` are the tokens as they were before the ``first`` layer."""
        norm_among, norm_look, norm_mlp, norm_tell = self.norms
        if first:
            tokens = norm_among(self.among.of_all(tokens, tokens))
        else:
            tokens = norm_among(tokens + self.among.of_all(tokens + own, tokens))
        placed = cells + places
        tokens = norm_look(tokens + self.look.of_tokens(tokens + own, placed, cells))
        tokens = norm_mlp(tokens + self.mlp(tokens))
        cells = cells + self.tell.of_cells(placed, tokens + own, tokens)
        # In four dimensions: in three, ONNX Runtime makes one operation of sum and norm that takes ten times as long.
        return tokens, norm_tell(cells[:, None])[:, 0]


class _Attention(nn.Module):
    """Attention of one kind to another, with the parameters of transformers' module."""

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.query, self.key = cast("nn.Linear", attention.q_proj), cast("nn.Linear", attention.k_proj)
        self.value = cast("nn.Linear", attention.v_proj)
        self.out = cast("nn.Linear", attention.o_proj if hasattr(attention, "o_proj") else attention.out_proj)
        self.heads = cast("int", attention.num_attention_heads)
        self.scale = (self.query.out_features // self.heads) ** -0.5

    def of_all(self, tokens: Tensor, values: Tensor) -> Tensor:
        """Return what tokens (p, t, channels) see of each other's values."""
        query, key = self._split(self.query(tokens)), self._split(self.key(tokens))
        seen = functional.scaled_dot_product_attention(query, key, self._split(self.value(values)))
        return self._output(seen)

    def of_tokens(self, tokens: Tensor, placed: Tensor, cells: Tensor) -> Tensor:
        """Return what tokens (p, t, channels) see of the cells (p, n, channels), found by these with their places.

        What the keys' bias adds is the same for all cells and changes no weight.
        """
        query = self._split(self.query(tokens) * self.scale) @ self._matrices(self.key)
        weights = (query.flatten(1, 2) @ placed.transpose(1, 2)).softmax(dim=-1)
        seen = (weights @ cells).reshape(query.shape)
        value = seen @ self._matrices(self.value).transpose(1, 2)
        return self._output(value + self.value.bias.reshape(self.heads, 1, -1))

    def of_cells(self, placed: Tensor, tokens: Tensor, values: Tensor) -> Tensor:
        """Return what the cells, with their places (p, n, channels), see of the tokens' values (p, t, channels)."""
        key = self._split(self.key(tokens) * self.scale)
        bias = key @ self.query.bias.reshape(self.heads, -1, 1)
        through = key @ self._matrices(self.query)
        scores = through.flatten(1, 2) @ placed.transpose(1, 2) + bias.flatten(1, 2)
        # Over the tokens of each head, with the cells innermost: a softmax of seven numbers at a time would take long.
        weights = scores.reshape(*through.shape[:3], -1).softmax(dim=2).flatten(1, 2)
        out = self.out.weight.reshape(len(self.out.weight), self.heads, -1).permute(1, 2, 0)
        # The bias comes along with the values: the weights of a head add up to one.
        told = self._split(self.value(values)) @ out + self.out.bias / self.heads
        return weights.transpose(1, 2) @ told.flatten(1, 2)

    def _matrices(self, linear: nn.Linear) -> Tensor:
        """Return the matrix of each head, (heads, d, channels)."""
        return linear.weight.reshape(self.heads, -1, linear.in_features)

    def _split(self, joined: Tensor) -> Tensor:
        """Return (p, t, heads * d) as (p, heads, t, d)."""
        return joined.reshape(*joined.shape[:2], self.heads, -1).transpose(1, 2)

    def _output(self, seen: Tensor) -> Tensor:
        """Return what the heads saw, (p, heads, t, d), as (p, t, channels)."""
        output: Tensor = self.out(seen.transpose(1, 2).flatten(2))
        return output
