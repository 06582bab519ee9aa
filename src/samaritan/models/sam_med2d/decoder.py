"""How SAM-Med2D was trained to be asked, in terms of Segment Anything's decoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import SamModel

from samaritan.models.planar.network import BOX_STOP
from samaritan.models.sam.decoder import Masks, SamDecoder


class Med2dDecoder(nn.Module):
    """Segment Anything's decoder, asked as in SAM-Med2D's training; see ``TorchNetwork`` for the shapes.

    * Whatever the prompts, the best by predicted IoU of masks 1 to 3 was taken and trained. Mask 0 was not: that best
      one stands in its place.
    * An earlier mask was given as probabilities, not as logits.
    * Boxes ended at the pixel of the frame after their last one.

    Parameters
    ----------
    model
        transformers' ``SamModel``.
    """

    def __init__(self, model: SamModel) -> None:
        super().__init__()
        self.sam = SamDecoder(model)

    def attend(self, own: Tensor, features: tuple[Tensor, ...], *asked: Tensor) -> tuple[Tensor, Tensor]:
        """Let tokens, prompts and picture attend to each other, as ``SamDecoder.attend``."""
        return self.sam.attend(own, features, *asked)

    def forward(self, embedding: Tensor, coords: Tensor, labels: Tensor, mask: Tensor, has_mask: Tensor) -> Masks:
        """Return logits (p, 4, rows, columns) and predicted IoU (p, 4); ``mask`` is of logits."""
        coords = coords + (labels == BOX_STOP)[..., None]
        logits, iou = self.sam(embedding, coords, labels, mask.sigmoid(), has_mask)
        logits, iou = logits[:, 1:], iou[:, 1:]
        best = iou.argmax(dim=1, keepdim=True)
        chosen = logits.gather(1, best[:, :, None, None].expand(-1, -1, *logits.shape[2:]))
        return torch.cat([chosen, logits], dim=1), torch.cat([iou.gather(1, best), iou], dim=1)
