"""SAM-Med3D as one module: image encoder, prompt encoder and mask decoder (Wang et al. 2023, arXiv:2310.15161).

Written from the paper and the published definition (github.com/uni-medical/SAM-Med3D, Apache-2.0), and named as the
published checkpoint is, so that it loads strictly. What that definition does and one would not expect stays, because
the weights were trained with it:

* the features of a place are sine, cosine, and the same sine again;
* for the image's cells the first two axes are exchanged in these features, for clicks they are not;
* without an earlier mask, a mask of zeros goes in. ``no_mask_embed`` is in the file, and was never used in training;
* nor were mask tokens 1 to 3 and the head that predicts IoU: they are as they were drawn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from samaritan.models.sam_med3d.encoder import PATCH, ChannelNorm, ImageEncoder, feed_forward

_MASKS = 4
_WAVES = 3  # sine, cosine, sine
_SIGNS = 2  # kinds of click: beside the object, on it


@dataclass(frozen=True, slots=True)
class Size:
    """The sizes of a network; by default the published one's. See ``ImageEncoder`` for the first six."""

    side: int = 128
    width: int = 768
    depth: int = 12
    heads: int = 12
    window: int = 14
    whole: tuple[int, ...] = (2, 5, 8, 11)
    channels: int = 384
    mask_channels: int = 16
    decoder_depth: int = 2
    decoder_heads: int = 8
    decoder_hidden: int = 2048
    quality_hidden: int = 256


class Places(nn.Module):
    """Random Fourier features (Tancik et al. 2020) of places, (..., 3) in [0, 1] to (..., channels)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(3, channels // _WAVES))

    def forward(self, places: Tensor) -> Tensor:
        """Return the features."""
        frequencies = cast("Tensor", self.positional_encoding_gaussian_matrix)
        angles = 2 * math.pi * ((2 * places - 1) @ frequencies)
        return torch.cat([angles.sin(), angles.cos(), angles.sin()], dim=-1)


class PromptEncoder(nn.Module):
    """From clicks and an earlier mask to tokens, and to what is added to the image's features."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.side, channels, hidden = size.side, size.channels, size.mask_channels
        self.pe_layer = Places(channels)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, channels) for _ in range(_SIGNS))
        self.not_a_point_embed = nn.Embedding(1, channels)
        self.mask_downscaling = nn.Sequential(
            nn.Conv3d(1, hidden // 4, 2, stride=2),
            ChannelNorm(hidden // 4),
            nn.GELU(),
            nn.Conv3d(hidden // 4, hidden, 2, stride=2),
            ChannelNorm(hidden),
            nn.GELU(),
            nn.Conv3d(hidden, channels, 1),
        )
        self.no_mask_embed = nn.Embedding(1, channels)

    def forward(self, coords: Tensor, labels: Tensor) -> Tensor:
        """Return the tokens (n, p + 1, channels) of clicks (n, p, 3) with labels (n, p), 1 on the object and 0 beside.

        Coordinates are voxels of the window, centres at whole numbers. After the clicks comes a token that says
        nothing; without any click there is none at all.
        """
        if not coords.shape[1]:
            return coords.new_zeros((len(coords), 0, self.not_a_point_embed.weight.shape[1]))
        kinds = torch.cat([cast("nn.Embedding", kind).weight for kind in self.point_embeddings])
        tokens = self.pe_layer((coords + 0.5) / self.side) + kinds[labels]
        return torch.cat([tokens, self.not_a_point_embed.weight.expand(len(coords), 1, -1)], dim=1)

    def places(self) -> Tensor:
        """Return the features of the places of the image's cells, (1, channels, grid, grid, grid)."""
        grid = self.side // PATCH
        centres = (torch.arange(grid, device=self.not_a_point_embed.weight.device) + 0.5) / grid
        d, h, w = torch.meshgrid(centres, centres, centres, indexing="ij")
        return cast("Tensor", self.pe_layer(torch.stack([h, d, w], dim=-1))).movedim(-1, 0)[None]


class CrossAttention(nn.Module):
    """Attention in which what asks differs from what is asked; it takes place in ``inner`` channels."""

    def __init__(self, channels: int, heads: int, inner: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(channels, inner)
        self.k_proj = nn.Linear(channels, inner)
        self.v_proj = nn.Linear(channels, inner)
        self.out_proj = nn.Linear(inner, channels)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return (n, asking, channels)."""
        parts = ((self.q_proj, q), (self.k_proj, k), (self.v_proj, v))
        heads = [project(given).unflatten(-1, (self.heads, -1)).transpose(1, 2) for project, given in parts]
        out = functional.scaled_dot_product_attention(*heads)
        return self.out_proj(out.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]  # PyTorch's own


class TwoWayLayer(nn.Module):
    """Tokens ask each other and the image, then the image asks the tokens."""

    def __init__(self, size: Size, *, first: bool) -> None:
        super().__init__()
        channels, heads = size.channels, size.decoder_heads
        self.first = first
        self.self_attn = CrossAttention(channels, heads, channels)
        self.norm1 = nn.LayerNorm(channels)
        self.cross_attn_token_to_image = CrossAttention(channels, heads, channels // 2)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = feed_forward(channels, size.decoder_hidden, nn.ReLU())
        self.norm3 = nn.LayerNorm(channels)
        self.norm4 = nn.LayerNorm(channels)
        self.cross_attn_image_to_token = CrossAttention(channels, heads, channels // 2)

    def forward(self, tokens: Tensor, cells: Tensor, asked: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """Return tokens and cells after the layer; ``asked`` are the tokens as they were before all layers."""
        if self.first:  # the tokens are still what ``asked`` would add
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            placed = tokens + asked
            tokens = tokens + self.self_attn(placed, placed, tokens)
        tokens = self.norm1(tokens)
        tokens = self.norm2(tokens + self.cross_attn_token_to_image(tokens + asked, cells + places, cells))
        tokens = self.norm3(tokens + self.mlp(tokens))
        cells = self.norm4(cells + self.cross_attn_image_to_token(cells + places, tokens + asked, tokens))
        return tokens, cells


class TwoWayTransformer(nn.Module):
    """The layers, and a last look of the tokens at the image."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TwoWayLayer(size, first=number == 0) for number in range(size.decoder_depth))
        self.final_attn_token_to_image = CrossAttention(size.channels, size.decoder_heads, size.channels // 2)
        self.norm_final_attn = nn.LayerNorm(size.channels)

    def forward(self, asked: Tensor, cells: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """Return tokens (n, t, channels) and cells (n, cells, channels)."""
        tokens = asked
        for layer in self.layers:
            tokens, cells = layer(tokens, cells, asked, places)
        last = self.final_attn_token_to_image(tokens + asked, cells + places, cells)
        return self.norm_final_attn(tokens + last), cells


class Perceptron(nn.Module):
    """Linear layers with rectifiers between them."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(widths))

    def forward(self, features: Tensor) -> Tensor:
        """Return what the last layer says."""
        for layer in self.layers[:-1]:
            features = functional.relu(layer(features))
        return cast("Tensor", self.layers[-1](features))


class MaskDecoder(nn.Module):
    """From the image's features and the tokens of prompts to masks."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        channels = size.channels
        self.transformer = TwoWayTransformer(size)
        self.iou_token = nn.Embedding(1, channels)
        self.mask_tokens = nn.Embedding(_MASKS, channels)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose3d(channels, channels // 4, 2, stride=2),
            ChannelNorm(channels // 4),
            nn.GELU(),
            nn.ConvTranspose3d(channels // 4, channels // 8, 2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(
            Perceptron(channels, channels, channels, channels // 8) for _ in range(_MASKS)
        )
        self.iou_prediction_head = Perceptron(channels, size.quality_hidden, size.quality_hidden, _MASKS)

    def forward(self, features: Tensor, places: Tensor, prompts: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (n, 4, cells, cells, cells) and predicted IoU (n, 4)."""
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight]).expand(len(prompts), -1, -1)
        asked = torch.cat([own, prompts], dim=1)
        tokens, cells = self.transformer(asked, features.flatten(2).mT, places.flatten(2).mT)
        upscaled = self.output_upscaling(cells.mT.reshape(features.shape))
        heads = enumerate(self.output_hypernetworks_mlps)
        hyper = torch.stack([head(tokens[:, 1 + number]) for number, head in heads], dim=1)
        return torch.einsum("nmc,ncdhw->nmdhw", hyper, upscaled), self.iou_prediction_head(tokens[:, 0])


class SamMed3D(nn.Module):
    """The network; ``encode`` once a window, ``decode`` for each prompt."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size = size
        self.image_encoder = ImageEncoder(
            side=size.side,
            width=size.width,
            depth=size.depth,
            heads=size.heads,
            window=size.window,
            whole=size.whole,
            channels=size.channels,
        )
        self.prompt_encoder = PromptEncoder(size)
        self.mask_decoder = MaskDecoder(size)

    def encode(self, window: Tensor) -> Tensor:
        """Return the features (n, channels, side / 16, ...) of windows (n, 1, side, side, side)."""
        return cast("Tensor", self.image_encoder(window))

    def decode(self, features: Tensor, coords: Tensor, labels: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (n, 4, side / 4, ...) and predicted IoU (n, 4); of use are the logits of mask 0.

        ``coords`` (n, p, 3) and ``labels`` (n, p) are clicks, see ``PromptEncoder``; ``mask`` (n, 1, side / 4, ...) are
        the logits of an earlier mask 0, or zeros.
        """
        prompts = self.prompt_encoder(coords, labels)
        added = self.prompt_encoder.mask_downscaling(mask)
        answer: tuple[Tensor, Tensor] = self.mask_decoder(features + added, self.prompt_encoder.places(), prompts)
        return answer
