"""Segment Anything's prompt encoder and mask decoder as one module, from transformers' parts.

transformers' own forward passes take points and boxes apart and give one mask or three. Here everything is a token with
a label and all masks come out, so that one graph serves every prompt, in PyTorch and exported.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import SamModel

from samaritan.models.planar.network import PAD
from samaritan.models.sam.two_way import TwoWay
from samaritan.models.sam.upscale import doubled, normed, to_map

Masks = tuple[Tensor, Tensor]


class PromptTokens(nn.Module):
    """Coordinates and labels to tokens, (p, n, 2) and (p, n) to (p, n, channels).

    Source: Kirillov et al. 2023 (Segment Anything), with random Fourier features (Tancik et al. 2020) for places.

    Parameters
    ----------
    fourier
        (2, channels / 2), the frequencies.
    kinds
        (4, channels): what is added for a point beside, a point on the object, and a box's two corners.
    nothing
        (1, channels): the token that says nothing.
    side
        Of the frame.
    """

    def __init__(self, fourier: Tensor, kinds: Tensor, nothing: Tensor, *, side: int) -> None:
        super().__init__()
        self.side = side
        self.register_buffer("fourier", fourier)
        self.register_buffer("kinds", kinds)
        self.register_buffer("nothing", nothing)

    def place(self, coords: Tensor) -> Tensor:
        """Return the features (..., channels) of places (..., 2) in the frame."""
        angles = 2 * math.pi * ((2 * coords / self.side - 1) @ cast("Tensor", self.fourier))
        return torch.cat([angles.sin(), angles.cos()], dim=-1)

    def places(self, cells: int) -> Tensor:
        """Return the features of the centres of ``cells`` x ``cells`` squares, (1, cells², channels), row by row."""
        centres = (torch.arange(cells, device=cast("Tensor", self.fourier).device) + 0.5) * (self.side / cells)
        y, x = torch.meshgrid(centres, centres, indexing="ij")
        return self.place(torch.stack([x, y], dim=-1)).flatten(0, 1)[None]

    def forward(self, coords: Tensor, labels: Tensor) -> Tensor:
        """Return the tokens."""
        kinds, nothing = cast("Tensor", self.kinds), cast("Tensor", self.nothing)
        known = self.place(coords) + kinds[labels.clamp(min=0)]
        return torch.where((labels == PAD)[..., None], nothing, known)


class SamDecoder(nn.Module):
    """From an image's features and the tokens of prompts to masks; see ``TorchNetwork`` for the shapes.

    Parameters
    ----------
    model
        transformers' ``SamModel``, or one of its shape.
    """

    def __init__(self, model: SamModel) -> None:
        super().__init__()
        prompt, self.mask_decoder = model.prompt_encoder, model.mask_decoder
        self.tokens = tokens = PromptTokens(
            cast("Tensor", model.shared_image_embedding.positional_embedding).detach(),
            torch.cat([cast("nn.Embedding", embedding).weight for embedding in prompt.point_embed]),
            prompt.not_a_point_embed.weight,
            side=prompt.input_image_size,
        )
        self.two_way = TwoWay(self.mask_decoder.transformer)
        self.mask_embed = prompt.mask_embed
        self.register_buffer("no_mask", prompt.no_mask_embed.weight.reshape(1, -1, 1, 1))
        self.side = prompt.image_embedding_size[0]
        self.register_buffer("places", tokens.places(self.side))

    def forward(self, embedding: Tensor, coords: Tensor, labels: Tensor, mask: Tensor, has_mask: Tensor) -> Masks:
        """Return logits (p, 4, rows, columns) and predicted IoU (p, 4)."""
        decoder = self.mask_decoder
        own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
        tokens, fine = self.attend(own, (embedding,), coords, labels, mask, has_mask)
        return self.masks(tokens, fine), decoder.iou_prediction_head(tokens[:, 0])

    def attend(
        self,
        own: Tensor,
        features: tuple[Tensor, ...],
        coords: Tensor,
        labels: Tensor,
        mask: Tensor,
        has_mask: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Let the decoder's ``own`` tokens (n, channels), the prompts and the picture attend to each other.

        ``features`` are the encoder's, of one picture, or of as many as there are prompts. Returns the tokens (p, n +
        prompts, channels) and the picture's features at four times their resolution, (p, rows * columns, c) in the
        order of ``upscale``.
        """
        given = has_mask.reshape(-1, 1, 1, 1)
        dense = given * self.mask_embed(mask) + (1 - given) * cast("Tensor", self.no_mask)
        asked = self.tokens(coords, labels)
        tokens, cells = self.two_way(
            torch.cat([own[None].expand(asked.shape[0], -1, -1), asked], dim=1),
            (features[0] + dense).flatten(2).transpose(1, 2),
            self.places,
        )
        decoder = self.mask_decoder
        coarse = functional.gelu(normed(doubled(cells, decoder.upscale_conv1), decoder.upscale_layer_norm))
        return tokens, functional.gelu(doubled(coarse, decoder.upscale_conv2))

    def masks(self, tokens: Tensor, fine: Tensor) -> Tensor:
        """Return the logits (p, 4, rows, columns) that what ``attend`` returned stands for."""
        heads = enumerate(self.mask_decoder.output_hypernetworks_mlps)
        hyper = torch.stack([head(tokens[:, 1 + number]) for number, head in heads], dim=2)
        return to_map(fine @ hyper, self.side, 2)
