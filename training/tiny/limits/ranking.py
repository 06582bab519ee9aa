"""Which of a lone click's masks is meant: what other ways to take one would give, and what the best would."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.ensemble import RandomForestRegressor

from samaritan.core.geometry import Geometry
from samaritan.models.tiny import FOLDER
from samaritan.models.tiny.adapter import Found, Network, TinyModel
from samaritan.models.tiny.network import MASKS
from training.measures import dice, iou, macro
from training.tiny.limits.fitted import by_other_families, line, stability
from training.tiny.limits.shared import Array, Asked, Subject, markdown

RETURNED = 3  # masks of a lone click
TREES, LEAF = 100, 5


@dataclass(frozen=True)
class OneMask:
    """A network that is asked for one of its masks only: so the adapter's search gives that mask of every window."""

    network: Network
    number: int

    def run(self, inputs: dict[str, Array]) -> dict[str, Array]:
        """Map ``image`` and ``prompt_maps`` to ``logits`` and ``iou``, the one mask in the place of all."""
        answer = self.network.run(inputs)
        return {name: np.repeat(array[:, self.number, None], MASKS, axis=1) for name, array in answer.items()}


def forest(known: Array, truth: Array, asked: Array) -> Array:
    """Be the ``Fit`` of a random forest (Breiman 2001)."""
    trees = RandomForestRegressor(TREES, min_samples_leaf=LEAF, random_state=0)
    return np.asarray(trees.fit(known, truth).predict(asked))


def ranking(subject: Subject) -> dict[str, float]:
    """Return the Dice of a lone click by how one of its masks is taken, at the search's resolution."""
    single = [TinyModel(FOLDER, network=OneMask(subject.network, number)) for number in range(MASKS)]
    dices, features, best_of_all = [], [], []  # of each click: (windows,), (windows, f), and one number
    for item in subject.asked:
        found = subject.model.search(item.embedding, item.click)
        dices.append(_dices(item, found))
        features.append(_features(found, item.target.geometry))
        best_of_all.append(max(max(_dices(item, one.search(item.embedding, item.click))) for one in single))
    families = [item.family for item in subject.asked]
    rows = [family for family, known in zip(families, dices, strict=True) for _ in known]
    flat, truth = np.concatenate(features), np.concatenate(dices)
    ends = np.cumsum([len(known) for known in dices])[:-1]
    first_best = [max(known[:RETURNED]) for known in dices]

    def taken(expected: Array) -> float:
        picks = (known[int(part.argmax())] for known, part in zip(dices, np.split(expected, ends), strict=True))
        return macro(list(picks), families)

    return {
        "by predicted IoU less what the window cuts off, as it ships": macro([d[0] for d in dices], families),
        "plus the mean overlap with the other windows' masks": taken(flat[:, 0] + flat[:, -1]),
        "by a line through score, cut, size, stability, overlap, fitted on the other families": taken(
            by_other_families(line, flat, truth, rows)
        ),
        "by a forest through the same": taken(by_other_families(forest, flat, truth, rows)),
        f"the best of the first {RETURNED}, chosen by the reference": macro(first_best, families),
        f"the best of all windows' {MASKS} masks": macro(best_of_all, families),
    }


def table(subject: Subject) -> str:
    """Return the table."""
    ways = {name: {"Dice": value} for name, value in ranking(subject).items()}
    return markdown("the mask of a lone click that is taken", ways)


def _dices(item: Asked, found: Sequence[Found]) -> list[float]:
    return [dice(item.target.mask, each.pasted(item.target.geometry)[0] > 0) for each in found]


def _features(found: Sequence[Found], grid: Geometry) -> Array:
    """Return score, cut, size, stability and overlap with the others of each window's mask, (windows, 5)."""
    logits = [each.pasted(grid)[0] for each in found]
    masks = [each > 0 for each in logits]
    return np.array([
        (each.score, each.zoom.cut_off(each.logits[0, ..., 0], grid.shape), np.log1p(mask.sum()), stability(raw),
         np.mean([iou(mask, other) for other in masks if other is not mask]))
        for each, mask, raw in zip(found, masks, logits, strict=True)
    ])  # fmt: skip
