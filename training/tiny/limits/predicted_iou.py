"""How well the IoU of an answer can be foreseen: by the network, by other means, and by all together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from samaritan.core.prompts import Prompts
from training.clicks import corrected
from training.measures import iou, macro
from training.tiny.limits.fitted import SURE, by_other_families, line, stability
from training.tiny.limits.shared import HELD_OUT, TRAINED, Subject, group_of, markdown

CLICKS = 5


def answers(subject: Subject) -> Iterator[tuple[str, str, float, tuple[float, ...]]]:
    """Yield family and prompt of answers, their true IoU, and the estimates of it."""
    model = subject.model
    for item in subject.asked:
        clicked = list(corrected(model, item.embedding, item.target.mask, Prompts(item.target.geometry), clicks=CLICKS))
        given = {"box": model.decode(item.embedding, item.box), "1 click": clicked[0], f"{CLICKS} clicks": clicked[-1]}
        for prompt, answer in given.items():
            logits = answer.logits[0]
            probability = 1 / (1 + np.exp(-logits.astype(np.float64)))
            either = np.where(answer.mask, 1.0, probability).sum()
            expected = float(probability[answer.mask].sum() / either)
            yield item.family, prompt, iou(item.target.mask, answer.mask), (answer.score, expected, stability(logits))


def estimates(subject: Subject) -> dict[str, dict[str, float]]:
    """Return the mean absolute error of each way to foresee an IoU, by group of families."""
    families, prompts, true, features = zip(*answers(subject), strict=True)
    truth, known = np.array(true), np.array(features)
    ways = {
        "the network's own": known[:, 0],
        "expected from the mask's probabilities": known[:, 1],
        f"stability, the overlap of the masks at logits of {SURE:g} and -{SURE:g}": known[:, 2],
        "all together, fitted on the other families": by_other_families(line, known, truth, families),
    }
    errors = {name: np.abs(expected - truth) for name, expected in ways.items()}
    names, groups = np.array(families), np.array([group_of(family) for family in families])
    table: dict[str, dict[str, float]] = defaultdict(dict)
    for group in (HELD_OUT, TRAINED):
        chosen = groups == group
        if not chosen.any():
            continue
        for name, error in errors.items():
            table[name][group] = macro(error[chosen], names[chosen])
        constants = (macro(np.abs(value - truth[chosen]), names[chosen]) for value in np.linspace(0, 1, 101))
        table["the best constant"][group] = min(constants)
        for prompt in dict.fromkeys(prompts):
            own = chosen & (np.array(prompts) == prompt)
            table[f"the network's own, {prompt}"][group] = macro(errors["the network's own"][own], names[own])
    return dict(table)


def table(subject: Subject) -> str:
    """Return the table."""
    return markdown("error of the IoU that is foreseen", estimates(subject))
