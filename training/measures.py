"""How masks are judged and how families of pictures are summed up: what training and benchmarks do alike."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]


def dice(reference: Bools, predicted: Bools) -> float:
    """Return Dice (1945) of two masks, `reference` not empty."""
    both = np.count_nonzero(reference & predicted)
    return float(2 * both / (np.count_nonzero(reference) + np.count_nonzero(predicted)))


def iou(one: Bools, other: Bools) -> float:
    """Return the intersection over union of two masks; 0 if both are empty."""
    return float(np.count_nonzero(one & other) / max(1, np.count_nonzero(one | other)))


def family_means(values: Sequence[float] | NDArray[Any], families: Sequence[str]) -> dict[str, float]:
    """Return the mean of each family's values, in the order in which the families come."""
    known: dict[str, list[float]] = defaultdict(list)
    for family, value in zip(families, values, strict=True):
        known[family].append(float(value))
    return {family: float(np.mean(own)) for family, own in known.items()}


def macro(values: Sequence[float] | NDArray[Any], families: Sequence[str]) -> float:
    """Return the mean over families of the means of their values."""
    return float(np.mean(list(family_means(values, families).values())))


def lowest(means: Mapping[str, float], count: int) -> str:
    """Name the `count` lowest of some means: "axons 0.440, vessels 0.620"."""
    return ", ".join(f"{name} {means[name]:.3f}" for name in sorted(means, key=lambda name: means[name])[:count])
