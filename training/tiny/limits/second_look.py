"""What a second look gives: the same prompt again, with the first answer as the earlier mask."""

from __future__ import annotations

from collections import defaultdict

from training.measures import dice
from training.tiny.limits.shared import Subject, markdown, mean_of

LOOKS = ("first look", "second", "third")


def looks(subject: Subject) -> dict[str, dict[str, float]]:
    """Return the Dice of a box and of a click, by how often the answer was given back as the earlier mask."""
    rows: dict[str, dict[str, float]] = {}
    for group, part in subject.groups.items():
        for prompt in ("box", "click"):
            scores: dict[str, list[float]] = defaultdict(list)
            for item in part:
                prompts, answer = getattr(item, prompt), None
                for look in LOOKS:
                    answer = subject.model.decode(item.embedding, prompts, answer)
                    scores[look].append(dice(item.target.mask, answer.mask))
            rows[f"{group}: {prompt}"] = {look: mean_of(values, part) for look, values in scores.items()}
    return rows


def table(subject: Subject) -> str:
    """Return the table."""
    return markdown("Dice, the answer being given back", looks(subject))
