"""What a user's work brings: scores after one prompt, two prompts, and so on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def clicks_to(scores: Sequence[float], *, dice: float) -> float:
    """Return after how many clicks a score is first reached; infinite if it never is.

    ``scores[n]`` is the Dice after n + 1 clicks. Papers that report the number of clicks count objects that never get
    there as the most that were tried (Xu et al. 2016, arXiv:1603.04042): ``min(clicks_to(scores, dice=0.9), 20)``.
    """
    reached = np.flatnonzero(np.asarray(scores) >= dice)
    return float(reached[0] + 1) if len(reached) else float("inf")


def area_under_clicks(scores: Sequence[float]) -> float:
    """Return the area under scores by trapezoids, with a click as the unit: n scores of 1 have n - 1.

    Five scores, after one to five clicks, make the AUC of the CVPR 2025 challenge of interactive 3D segmentation, at
    most 4.
    """
    after = np.asarray(scores, np.float64)
    return float((after[:-1] + after[1:]).sum() / 2)
