"""The experiments by name; a new one is a module and a line here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from training.tiny.limits import (
    ceiling,
    kinds,
    meanings,
    predicted_iou,
    ranking,
    right_mask,
    same_box,
    searches,
    second_look,
    strokes,
    windows,
)
from training.tiny.limits.shared import HELD_OUT, TRAINED, Subject, group_of

EXPERIMENTS: dict[str, Callable[[Subject], str]] = {
    "ranking": ranking.table,
    "predicted IoU": predicted_iou.table,
    "second look": second_look.table,
    "windows": windows.table,
    "ceiling": ceiling.table,
    "right mask": right_mask.table,
    "meanings": meanings.table,
    "same box": same_box.table,
    "kinds": kinds.table,
    "searches": searches.table,
    "strokes": strokes.table,
}


def tables(subject: Subject, names: Sequence[str] = tuple(EXPERIMENTS)) -> Iterator[str]:
    """Yield a line about the objects, then the table of each experiment as it is done."""
    held = sum(group_of(item.family) == HELD_OUT for item in subject.asked)
    yield (f"{held} objects of {HELD_OUT}, {len(subject.asked) - held} of {TRAINED}; all are means over families.")
    for name in names:
        yield EXPERIMENTS[name](subject)
