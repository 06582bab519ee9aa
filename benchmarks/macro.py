"""Macro means over data sets, their confidence intervals, and Markdown tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

ROUNDS = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Result:
    """Dice of every method for one object, and how far the IoU that a model predicted was from the true one."""

    dataset: str
    modality: str
    case: str
    label: int
    is_3d: bool
    dice: Mapping[str, float]
    iou_error: Mapping[str, float] = field(default_factory=dict)


Figure = Callable[[Result], float]


@dataclass(frozen=True)
class Estimate:
    """A mean with its confidence interval."""

    mean: float
    low: float
    high: float

    @property
    def short(self) -> str:
        """The mean alone."""
        return f"{self.mean:.3f}"

    @property
    def long(self) -> str:
        """The mean and its interval."""
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def iou_of(dice: float) -> float:
    """Return the intersection over union of two masks with this Dice."""
    return dice / (2.0 - dice)


def case_means(results: Iterable[Result], figure: Figure) -> dict[str, NDArray[np.float64]]:
    """Return for each data set the figure of its cases, each the mean over the case's objects."""
    by_case: dict[tuple[str, str], list[float]] = defaultdict(list)
    for result in results:
        by_case[result.dataset, result.case].append(figure(result))
    by_dataset: dict[str, list[float]] = defaultdict(list)
    for (dataset, _), values in sorted(by_case.items()):
        by_dataset[dataset].append(float(np.mean(values)))
    return {dataset: np.array(values) for dataset, values in by_dataset.items()}


def macro(results: Iterable[Result], method: str) -> Estimate:
    """Return the macro mean of a method's Dice."""
    return macro_mean(results, lambda result: result.dice[method])


def macro_mean(results: Iterable[Result], figure: Figure) -> Estimate:
    """Return the mean over data sets of the mean over cases, with a bootstrap interval (cases resampled in each set).

    The interval says how sure the mean is for these data sets, not for others.
    """
    sets = case_means(results, figure)
    rng = np.random.default_rng(0)
    drawn = np.stack(
        [values[rng.integers(0, len(values), (ROUNDS, len(values)))].mean(axis=1) for values in sets.values()]
    )
    low, high = np.quantile(drawn.mean(axis=0), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(float(np.mean([values.mean() for values in sets.values()])), float(low), float(high))


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table."""
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in (header, ["---"] * len(header), *rows)]
    return "\n".join(lines)


def grouped(results: Sequence[Result], key: Callable[[Result], str]) -> dict[str, list[Result]]:
    """Return the results by `key`, sorted."""
    groups: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        groups[key(result)].append(result)
    return dict(sorted(groups.items()))
