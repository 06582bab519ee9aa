"""What the network is asked to minimise: cross entropy and Dice on its masks, and the error of its predicted IoU."""

from __future__ import annotations

from torch import Tensor

from samaritan.adapt import losses
from samaritan.models.tiny.network import Masks

IOU_WEIGHT = 0.5


def loss_terms(masks: Masks, target: Tensor, valid: Tensor, ambiguous: Tensor) -> dict[str, Tensor]:
    """Weighted terms of the loss of n prompts.

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
    each = losses.object_cross_entropy(logits, target, valid) + losses.dice_loss(logits, target, valid)
    return {
        "mask": losses.choose(each, ambiguous),
        "iou": IOU_WEIGHT * losses.iou_error(masks.predicted_iou.float(), logits, target, valid),
    }
