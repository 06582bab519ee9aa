"""What clicks would give if they were looked for in other windows."""

from __future__ import annotations

from samaritan.core.prompts import Prompts
from samaritan.models.tiny import FOLDER
from samaritan.models.tiny.adapter import TinyModel
from training.clicks import corrected
from training.measures import dice
from training.tiny.limits.shared import Subject, markdown, mean_of

CLICKS = 5
SHOWN = (1, 2, 3, 5)
WINDOWS = ((1 / 8, 1 / 4, 1 / 2, 1.0, 2.0), (1 / 6, 0.4, 1.0), (1 / 8, 1 / 4, 1 / 2, 2.0))  # over the plane's side


def searches(subject: Subject) -> dict[str, dict[str, float]]:
    """Return the Dice of clicks from nothing, by the windows that they are looked for in."""
    rows: dict[str, dict[str, float]] = {}
    for shares in WINDOWS:
        kind = type("Searching", (TinyModel,), {"searched": shares})
        model = kind(FOLDER, network=subject.network)
        for group, part in subject.groups.items():
            scores = []
            for item in part:
                nothing = Prompts(item.target.geometry)
                answers = corrected(model, item.embedding, item.target.mask, nothing, clicks=CLICKS)
                scores.append([dice(item.target.mask, answer.mask) for answer in answers])
            by_clicks = list(zip(*scores, strict=True))
            name = f"{group}: {', '.join(f'{share:.3g}' for share in shares)}"
            rows[name] = {str(clicks): mean_of(by_clicks[clicks - 1], part) for clicks in SHOWN}
    return rows


def table(subject: Subject) -> str:
    """Return the table."""
    return markdown("Dice after clicks, by the windows of the search", searches(subject))
