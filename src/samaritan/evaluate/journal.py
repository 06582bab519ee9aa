"""The journal of prompts: every question that was asked, as JSON, to be read and to be asked again of any model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from samaritan.core.geometry import Geometry
from samaritan.core.prompts import Prompts
from samaritan.evaluate.protocols import Question

Entry = dict[str, Any]


def to_entry(question: Question) -> Entry:
    """Return a question as JSON holds it."""
    prompts = None if question.prompts is None else [items.to_dict() for items in question.prompts]
    entry: Entry = {"step": question.step, "effort": question.effort, "prompts": prompts}
    if question.refines:
        entry["refines"] = True
    if question.corruption is not None:
        entry["corruption"] = list(question.corruption)
    return entry


def from_entry(entry: Mapping[str, Any], geometry: Geometry) -> Question:
    """Return the question that ``to_entry`` wrote, on ``geometry``.

    Raises
    ------
    PromptError
        If a prompt is of an unknown kind, misses a field, or lies outside.
    """
    prompts = entry["prompts"]
    corruption = entry.get("corruption")
    return Question(
        prompts=None if prompts is None else tuple(Prompts.from_dict(geometry, items) for items in prompts),
        step=str(entry["step"]),
        effort=float(entry["effort"]),
        refines=bool(entry.get("refines", False)),
        corruption=None if corruption is None else (str(corruption[0]), int(corruption[1])),
    )


def only_kinds(questions: Iterable[Question]) -> frozenset[str]:
    """Return the kinds of prompt that occur in questions."""
    sets = [items for question in questions for items in question.prompts or ()]
    return frozenset(kind for items in sets for kind in items.kinds)
