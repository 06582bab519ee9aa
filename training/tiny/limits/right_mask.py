"""What is said so well that nothing is left to find: a box, and with it the reference itself as the earlier mask.

Where the answer is not the mask that it was given, prompts are not heard, whatever the picture shows.
"""

from __future__ import annotations

from samaritan.core.prompts import MaskPrompt
from training.measures import dice, family_means, lowest
from training.tiny.limits.shared import WORST, Subject, markdown, mean_of

ALONE, WITH = "box alone", "and the reference as earlier mask"


def table(subject: Subject) -> str:
    """Return the Dice of both, and the families that heed the mask least."""
    rows, worst = {}, []
    for group, part in subject.groups.items():
        scores: dict[str, list[float]] = {ALONE: [], WITH: []}
        for item in part:
            for name, prompts in {ALONE: item.box, WITH: item.box.add(MaskPrompt(item.target.mask))}.items():
                scores[name].append(dice(item.target.mask, subject.model.decode(item.embedding, prompts).mask))
        rows[group] = {name: mean_of(values, part) for name, values in scores.items()}
        means = family_means(scores[WITH], [item.family for item in part])
        worst.append(f"The least with the reference, {group}: {lowest(means, WORST)}.")
    return "\n".join([markdown("Dice of a tight box", rows), "", *worst])
