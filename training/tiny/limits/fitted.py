"""What can be told of a mask by itself, and fits of how good it is that see other families only."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from training.tiny.limits.shared import Array

Fit = Callable[[Array, Array, Array], Array]  # (n, f) features and (n,) truth, (m, f) features -> (m,) expected

SURE = 2.0  # logit; a mask that is the same above it and above its negative is stable


def line(known: Array, truth: Array, asked: Array) -> Array:
    """Be the ``Fit`` of least squares."""
    weights = np.linalg.lstsq(np.pad(known, ((0, 0), (0, 1)), constant_values=1.0), truth, rcond=None)[0]
    return np.asarray(asked @ weights[:-1] + weights[-1])


def by_other_families(fit: Fit, features: Array, truth: Array, families: Sequence[str]) -> Array:
    """Return what is expected of each row from the rows of other families than its own."""
    names, expected = np.array(families), np.empty(len(truth))
    for family in set(families):
        own = names == family
        expected[own] = fit(features[~own], truth[~own], features[own])
    return expected


def stability(logits: Array) -> float:
    """Return the IoU of the masks at logits of ``SURE`` and its negative, as Segment Anything has it; 0 of nothing."""
    return float((logits > SURE).sum() / max(1, (logits > -SURE).sum()))
