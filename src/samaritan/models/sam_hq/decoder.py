"""What SAM-HQ adds to Segment Anything: details from the encoder's first layers, and a token that looks for them.

One more token of the decoder, learnt on finely outlined masks, becomes one more mask, which is added to each of
Segment Anything's four. Half of what it is made from is the same for every prompt: it is an output of the encoder here.

transformers' own decoder is not used, its parts are: it upscales the picture's features as they were before they
attended to the prompts (version 5.24), and its masks are others than those of the original.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import SamHQModel, SamModel

from samaritan.models.sam.decoder import Masks, SamDecoder
from samaritan.models.sam.upscale import to_map


class ViTWithEarly(nn.Module):
    """transformers' encoder: pictures to an embedding and early features, as ``HqEncoder`` wants them."""

    def __init__(self, model: SamHQModel) -> None:
        super().__init__()
        self.vision_encoder = model.vision_encoder

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """Return the embedding, and what the first layer that sees the whole picture says."""
        seen = self.vision_encoder(picture)
        return seen.last_hidden_state, seen.intermediate_embeddings[0].permute(0, 3, 1, 2)


class HqEncoder(nn.Module):
    """Pictures (n, 3, side, side) to an embedding (n, 256, cells, cells) and details (n, 32, 4 cells, 4 cells).

    Parameters
    ----------
    encoder
        From pictures to the embedding, and to features of its early layers, (n, channels, cells, cells).
    model
        transformers' ``SamHQModel``, or one with its mask decoder: what of that does not depend on prompts.
    """

    def __init__(self, encoder: nn.Module, model: SamHQModel) -> None:
        super().__init__()
        self.encoder, self.mask_decoder = encoder, model.mask_decoder

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """Return the embedding and the details."""
        decoder = self.mask_decoder
        embedding, early = self.encoder(picture)
        fine = functional.gelu(decoder.compress_vit_norm(decoder.compress_vit_conv1(early)))
        coarse = functional.gelu(decoder.encoder_norm(decoder.encoder_conv1(embedding)))
        return embedding, decoder.compress_vit_conv2(fine) + decoder.encoder_conv2(coarse)


class HqDecoder(nn.Module):
    """From an image's embedding and details and the tokens of prompts to masks; see ``TorchNetwork`` for the shapes.

    Each of the four masks is Segment Anything's plus the fine one; the predicted IoU are Segment Anything's. So mask 0
    is what the original's ``predict`` gives for one mask, and the best by IoU of the others what it gives when asked
    for several: it chooses among Segment Anything's three and gives that one alone, in detail.

    Parameters
    ----------
    model
        transformers' ``SamHQModel``, or one with its prompt encoder and mask decoder.
    """

    def __init__(self, model: SamHQModel) -> None:
        super().__init__()
        self.sam, self.mask_decoder = SamDecoder(cast("SamModel", model)), model.mask_decoder

    def attend(self, own: Tensor, features: tuple[Tensor, ...], *asked: Tensor) -> tuple[Tensor, Tensor]:
        """Let tokens, prompts and picture attend to each other, as ``SamDecoder.attend``; without the details."""
        return self.sam.attend(own, features, *asked)

    def forward(
        self, embedding: Tensor, details: Tensor, coords: Tensor, labels: Tensor, mask: Tensor, has_mask: Tensor
    ) -> Masks:
        """Return logits (p, 4, rows, columns) and predicted IoU (p, 4)."""
        decoder = self.mask_decoder
        own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight, decoder.hq_token.weight])
        tokens, upscaled = self.sam.attend(own, (embedding,), coords, labels, mask, has_mask)
        finer = functional.gelu(decoder.mask_norm(decoder.mask_conv1(to_map(upscaled, self.sam.side, 2))))
        finer = decoder.mask_conv2(finer) + details
        fine = torch.einsum("pc,pchw->phw", decoder.hq_mask_mlp(tokens[:, len(own) - 1]), finer)
        logits = self.sam.masks(tokens, upscaled) + fine[:, None]
        return logits, decoder.iou_prediction_head(tokens[:, 0])
