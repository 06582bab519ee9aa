"""What the network is asked to minimise."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from samaritan.models.tiny.network import Masks

DICE_WEIGHT, IOU_WEIGHT = 1.0, 0.5
LOSING_MASKS_WEIGHT = 0.05  # keeps the masks that no click chooses from drifting away


def loss_of(masks: Masks, target: Tensor, valid: Tensor, ambiguous: Tensor) -> Tensor:
    """Mean loss of a batch of prompts.

    Parameters
    ----------
    masks
        The decoder's answer, logits (n, m, h, w).
    target
        (n, 1, h, w) in [0, 1]: the fraction of each output pixel that the object covers.
    valid
        (n, 1, h, w) in [0, 1]: 0 where the input is padding.
    ambiguous
        (n,) bool: where True the best of the m masks is judged, elsewhere mask 0 alone.
    """
    logits = masks.logits.float()
    each = _mask_loss(logits, target, valid)  # (n, m)
    best = each.min(dim=1).values * (1 - LOSING_MASKS_WEIGHT) + each.mean(dim=1) * LOSING_MASKS_WEIGHT
    chosen = torch.where(ambiguous, best, each[:, 0])
    quality = (masks.predicted_iou.float() - iou(logits, target, valid)).square().mean()
    return chosen.mean() + IOU_WEIGHT * quality


def _mask_loss(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    target = target.expand_as(logits)
    entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none") * valid
    probability = torch.sigmoid(logits) * valid
    overlap = (probability * target).sum(dim=(2, 3))
    size = (probability + target * valid).sum(dim=(2, 3))
    dice_loss = 1.0 - (2.0 * overlap + 1.0) / (size + 1.0)
    # Cross entropy per object pixel rather than per image pixel: a small object counts as much as a large one.
    scale = torch.sqrt((target * valid).sum(dim=(2, 3)) * valid.sum(dim=(2, 3))) + 16.0
    return entropy.sum(dim=(2, 3)) / scale + DICE_WEIGHT * dice_loss


def iou(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Intersection over union (n, m) of the masks at logit 0 with the target at one half; 0 if both are empty."""
    predicted, wanted = (logits > 0) & (valid > 0.5), (target > 0.5) & (valid > 0.5)
    both = (predicted & wanted).sum(dim=(2, 3))
    either = (predicted | wanted).sum(dim=(2, 3))
    return both / either.clamp(min=1)
