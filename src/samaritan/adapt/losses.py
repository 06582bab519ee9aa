"""Losses for masks, as small functions that are summed with weights.

All take logits (n, m, h, w), a target of the same shape, or one that broadcasts to it, in [0, 1] (the fraction of each
pixel that the object covers), and ``valid`` likewise: the weight of each pixel, 0 for padding. Those of masks return
one value a mask, (n, m), so that a caller can choose among masks before taking the mean.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_SMOOTH = 1.0  # pixels: keeps the Dice loss of an empty target at 0 for an empty answer
_SMALLEST = 256.0  # pixels: below this, an object's cross entropy is not scaled up any further


def dice_loss(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """One minus soft Dice (Milletari et al. 2016, with plain sums), in [0, 1]; 0 if both are empty."""
    probability = torch.sigmoid(logits) * valid
    overlap = (probability * target).sum(dim=(2, 3))
    size = (probability + target * valid).sum(dim=(2, 3))
    return 1.0 - (2.0 * overlap + _SMOOTH) / (size + _SMOOTH)


def focal_loss(logits: Tensor, target: Tensor, valid: Tensor, *, gamma: float = 2.0) -> Tensor:
    """Mean focal loss (Lin et al. 2017, without its weights of classes): what is sure already counts little."""
    target = target.expand_as(logits)
    entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    probability = torch.sigmoid(logits)
    missed = (probability - target).abs() ** gamma
    return (entropy * missed * valid).sum(dim=(2, 3)) / _area(valid)


def object_cross_entropy(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Binary cross entropy summed, over the geometric mean of object and image area: small objects count too."""
    entropy = functional.binary_cross_entropy_with_logits(logits, target.expand_as(logits), reduction="none")
    scale = torch.sqrt((target * valid).sum(dim=(2, 3)).clamp(min=1.0) * _area(valid)).clamp(min=_SMALLEST**0.5)
    return (entropy * valid).sum(dim=(2, 3)) / scale


def iou(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Intersection over union (Jaccard 1912) of the masks at logit 0 with the target at 0.5; 1 if both are empty."""
    predicted, wanted = (logits > 0) & (valid > 0.5), (target > 0.5) & (valid > 0.5)
    both, either = (predicted & wanted).sum(dim=(2, 3)), (predicted | wanted).sum(dim=(2, 3))
    return torch.where(either > 0, both / either.clamp(min=1), 1.0)


def iou_error(predicted_iou: Tensor, logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Mean squared error of the predicted IoU (n, m), as Segment Anything trains it (Kirillov et al. 2023)."""
    return (predicted_iou - iou(logits, target, valid)).square().mean()


def choose(each: Tensor, ambiguous: Tensor, *, losing_weight: float = 0.05) -> Tensor:
    """Mean loss over prompts from the losses (n, m) of their masks: of the best mask if ambiguous, else of mask 0.

    ``ambiguous`` is (n,) bool. The other masks of an ambiguous prompt count by ``losing_weight``, so that they do not
    drift away. As Segment Anything does it, but for that weight.
    """
    best = each.min(dim=1).values * (1.0 - losing_weight) + each.mean(dim=1) * losing_weight
    return torch.where(ambiguous, best, each[:, 0]).mean()


def _area(valid: Tensor) -> Tensor:
    return valid.sum(dim=(2, 3)).clamp(min=1.0)


def class_entropy(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Mean cross entropy of classes that exclude each other, background first, along the second axis."""
    each = functional.cross_entropy(logits, target, reduction="none")[:, None]
    return (each * valid).sum() / valid.sum().clamp(min=1.0)


def class_dice(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """One minus the mean soft Dice of the classes but background, each over all of the batch; in [0, 1].

    Over the batch, as most planes lack most classes; a class that none has, and none is given, counts as right.
    """
    probability = logits.softmax(dim=1)[:, 1:] * valid
    wanted = target[:, 1:] * valid
    overlap, size = (probability * wanted).sum(dim=(0, 2, 3)), (probability + wanted).sum(dim=(0, 2, 3))
    return 1.0 - ((2.0 * overlap + _SMOOTH) / (size + _SMOOTH)).mean()
