"""SAM 2's encoder, prompt encoder and mask decoder as plain modules, from transformers' parts.

Everything that is asked is a token with a label and all masks come out, as in ``samaritan.models.sam.decoder``, so that
one graph serves every prompt.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import Sam2VideoModel

from samaritan.models.sam.decoder import PromptTokens
from samaritan.models.sam.two_way import TwoWay
from samaritan.models.sam.upscale import doubled, normed, to_cells, to_map

# A mask whose area changes by more than this part when its threshold moves by so much is not to be relied on.
_DELTA, _STABLE = 0.05, 0.98
MOST = 32.0  # logits of an earlier mask beyond this are cut off, as SAM 2 does before it takes them back
_OWN = 2  # tokens before those of the masks: whether the object is there, and how good the masks are

Maps = tuple[Tensor, Tensor, Tensor]


class Decoded(NamedTuple):
    """What the decoder says of p prompts: ``logits`` (p, 4, rows, columns) and predicted ``iou`` (p, 4) of its masks.

    ``tokens`` (p, 4, channels) stand for the object as each mask shows it; ``presence`` (p, 1) is above 0 where it is
    there at all.
    """

    logits: Tensor
    iou: Tensor
    tokens: Tensor
    presence: Tensor


class Sam2Encoder(nn.Module):
    """The vision encoder with the parts of the decoder that depend on the picture alone.

    Maps (n, 3, side, side) to an embedding (n, 256, side / 16, side / 16) and finer maps in the order of its cells, in
    which the decoder adds them: (n, (side / 8)², 64) and (n, (side / 4)², 32); see ``sam.upscale``.

    Parameters
    ----------
    model
        Of transformers.
    alone
        Whether the picture stands alone: then its embedding says that nothing is remembered of others.
    """

    def __init__(self, model: Sam2VideoModel, *, alone: bool) -> None:
        super().__init__()
        self.vision_encoder, self.alone = model.vision_encoder, alone
        self.conv_s0, self.conv_s1 = model.mask_decoder.conv_s0, model.mask_decoder.conv_s1
        self.register_buffer("nothing", model.no_memory_embedding.reshape(1, -1, 1, 1))

    def forward(self, picture: Tensor) -> Maps:
        """Return the maps, coarse to fine."""
        fine, middle, coarse = self.vision_encoder(picture).fpn_hidden_states[:3]  # SAM 3 has one that is coarser yet
        embedding = coarse + cast("Tensor", self.nothing) if self.alone else coarse
        side = embedding.shape[-1]
        return embedding, to_cells(self.conv_s1(middle), side, 1), to_cells(self.conv_s0(fine), side, 2)


class Sam2Decoder(nn.Module):
    """From a picture's maps and the tokens of prompts to masks; see ``TorchNetwork`` for the shapes.

    Parameters
    ----------
    model
        Of transformers: SAM 2, or one of its shape.
    side
        Of the frame.
    """

    def __init__(self, model: Sam2VideoModel, *, side: int) -> None:
        super().__init__()
        prompt, self.mask_decoder = model.prompt_encoder, model.mask_decoder
        self.tokens = tokens = PromptTokens(
            cast("Tensor", model.shared_image_embedding.positional_embedding).detach(),
            prompt.point_embed.weight,
            prompt.not_a_point_embed.weight,
            side=side,
        )
        self.two_way = TwoWay(self.mask_decoder.transformer)
        self.mask_embed = prompt.mask_embed
        self.register_buffer("no_mask", prompt.no_mask_embed.weight.reshape(1, -1, 1, 1))
        patch = cast("int", prompt.input_image_size) // prompt.image_embedding_size[0]
        self.side = side // patch
        self.register_buffer("places", tokens.places(self.side))

    def forward(
        self,
        embedding: Tensor,
        middle: Tensor,
        fine: Tensor,
        coords: Tensor,
        labels: Tensor,
        mask: Tensor,
        has_mask: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Return logits (p, 4, rows, columns) and predicted IoU (p, 4)."""
        mask = mask.clamp(-MOST, MOST)
        found = self.decode((embedding, middle, fine), coords, labels, mask, has_mask)
        return settled(found.logits, found.iou)

    def decode(self, maps: Maps, coords: Tensor, labels: Tensor, mask: Tensor, has_mask: Tensor) -> Decoded:
        """Return all that the decoder says, its masks as they are."""
        decoder = self.mask_decoder
        own = torch.cat([decoder.obj_score_token.weight, decoder.iou_token.weight, decoder.mask_tokens.weight])
        tokens, upscaled = self.attend(own, maps, coords, labels, mask, has_mask)
        masks = tokens[:, _OWN : _OWN + decoder.num_mask_tokens]
        heads = enumerate(decoder.output_hypernetworks_mlps)
        hyper = torch.stack([head(masks[:, number]) for number, head in heads], dim=2)
        logits = to_map(upscaled @ hyper, self.side, 2)
        return Decoded(
            logits, decoder.iou_prediction_head(tokens[:, 1]), masks, decoder.pred_obj_score_head(tokens[:, 0])
        )

    def attend(
        self,
        own: Tensor,
        features: tuple[Tensor, ...],
        coords: Tensor,
        labels: Tensor,
        mask: Tensor,
        has_mask: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Let tokens, prompts and picture attend to each other, as ``SamDecoder.attend``."""
        decoder, (embedding, middle, fine) = self.mask_decoder, features
        given = has_mask.reshape(-1, 1, 1, 1)
        dense = given * self.mask_embed(mask) + (1 - given) * cast("Tensor", self.no_mask)
        asked = self.tokens(coords, labels)
        tokens, cells = self.two_way(
            torch.cat([own[None].expand(asked.shape[0], -1, -1), asked], dim=1),
            (embedding + dense).flatten(2).transpose(1, 2),
            self.places,
        )
        upscaled = doubled(cells, decoder.upscale_conv1) + middle
        upscaled = functional.gelu(normed(upscaled, decoder.upscale_layer_norm))
        return tokens, functional.gelu(doubled(upscaled, decoder.upscale_conv2) + fine)


def settled(logits: Tensor, iou: Tensor) -> tuple[Tensor, Tensor]:
    """Return masks and their IoU with the best of the others in place of the first one, where that is not stable.

    The first mask answers prompts that leave no doubt. If its area depends much on the threshold, one of the three for
    prompts that do leave doubt is the better answer.
    """
    inner = (logits[:, 0] > _DELTA).sum(dim=(-1, -2)).float()
    outer = (logits[:, 0] > -_DELTA).sum(dim=(-1, -2)).float()
    stable = torch.where(outer > 0, inner / outer.clamp(min=1), torch.ones_like(outer)) >= _STABLE
    best = iou[:, 1:].argmax(dim=1)[:, None]
    chosen = torch.where(stable[:, None], torch.zeros_like(best), best + 1)
    first_iou = iou.gather(1, chosen)
    at = chosen[..., None, None].expand(-1, -1, *logits.shape[2:])
    return torch.cat([logits.gather(1, at), logits[:, 1:]], dim=1), torch.cat([first_iou, iou[:, 1:]], dim=1)
