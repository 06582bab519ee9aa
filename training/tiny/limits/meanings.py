"""What a lone click finds where it may mean several things: a part, or a whole that the part belongs to.

In pictures the wholes are all pieces of a label, both lungs say; synthetic scenes have cells with their nuclei, walls
with their cavities, lumps with their lobes. Each click is in the deepest point of the smallest thing that it may mean.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from samaritan.adapt.prompted.view import View
from samaritan.autoprompt.simulate import Target, centre_click, meanings
from samaritan.core.prompts import Point, Prompts
from samaritan.models.tiny.adapter import TinyModel
from training.measures import dice, macro
from training.tiny.limits.shared import HELD_OUT, TRAINED, Array, Subject, group_of, markdown
from training.tiny.quick_check import MAX_OBJECTS, padded, picture
from training.tiny.scenes import synthetic_view

SCENES = 60
SCENES_GROUP = "synthetic scenes"
SEED = 30_000_000  # far from the seeds of training
AGREES = 0.7  # Dice above which a mask is taken to be a thing


@dataclass(frozen=True, eq=False)
class Ambiguous:
    """A click, and the masks (i, j, 1) of all that it may mean, the smallest first."""

    point: Point
    masks: tuple[Array, ...]


@dataclass
class Tally:
    """Dice of a group's clicks with each of their meanings, (meanings,) a click, and their families."""

    first: list[Array] = field(default_factory=list)  # of the first mask
    best: list[Array] = field(default_factory=list)  # the best of the masks that came back
    families: list[str] = field(default_factory=list)


def ambiguous_clicks(parts: Array, objects: Sequence[tuple[int, ...]], *, least: float = 1.0) -> Iterator[Ambiguous]:
    """Yield a click for each object that is the smallest of several things that the click in it may mean.

    Parameters
    ----------
    parts
        Numbers of parts, (rows, columns).
    objects
        The parts of each.
    least
        Pixels that an object must cover.
    """
    numbers = np.ascontiguousarray(parts.T)[..., None]
    for members in objects:
        mask = np.isin(numbers, members)
        if np.count_nonzero(mask) < least:
            continue
        point = centre_click(Target.of_picture(mask[..., 0]))
        meant = meanings(point, numbers, objects)
        if len(meant) > 1 and meant[0] == members:
            yield Ambiguous(point, tuple(np.isin(numbers, each) for each in meant))


def asked(model: TinyModel, view: View, tally: dict[int, Tally], rng: np.random.Generator) -> None:
    """Click in some objects of a view, drawn by chance, and add what came back, by how many meanings a click has."""
    shown = padded(view)
    clicks = list(ambiguous_clicks(shown.parts, view.objects, least=shown.least))
    if not clicks:
        return
    embedding = model.embed(picture(shown.image))
    for number in rng.permutation(len(clicks))[:MAX_OBJECTS]:
        click = clicks[number]
        answer = model.decode(embedding, Prompts(embedding.geometry, (click.point,)))
        dices = np.array([[dice(mask, logits > 0) for mask in click.masks] for logits in answer.logits])
        known = tally[len(click.masks)]
        known.first.append(dices[0])
        known.best.append(dices.max(axis=0))
        known.families.append(view.family)


def rows_of(tally: Tally) -> dict[str, dict[str, float]]:
    """Return how often each meaning is found and the Dice of the nearest mask, of each, of any and of all of them."""
    first, best = np.array(tally.first), np.array(tally.best)  # (clicks, meanings)
    count = first.shape[1]
    numbered = {"the smallest": 0} | {f"the next, {n + 1} of {count}": n for n in range(1, count - 1)}
    numbered["the largest"] = count - 1
    picked = {name: (first[:, n], best[:, n]) for name, n in numbered.items()}
    picked["any of them"] = (first.max(axis=1), best.max(axis=1))
    picked["all of them"] = (first.min(axis=1), best.min(axis=1))
    return {
        name: {
            "first mask is it": macro(of_first > AGREES, tally.families),
            "a mask is it": macro(of_best > AGREES, tally.families),
            "Dice of the nearest mask": macro(of_best, tally.families),
        }
        for name, (of_first, of_best) in picked.items()
    }


def table(subject: Subject) -> str:
    """Return the table of clicks that have several meanings, in pictures and in scenes."""
    scenes = [synthetic_view(np.random.default_rng([SEED, number])) for number in range(SCENES)]
    groups = [group_of(view.family) for view in subject.views] + [SCENES_GROUP] * SCENES
    tallies: dict[str, dict[int, Tally]] = {group: defaultdict(Tally) for group in (HELD_OUT, TRAINED, SCENES_GROUP)}
    for number, (group, view) in enumerate(zip(groups, [*subject.views, *scenes], strict=True)):
        if view.image is not None:
            asked(subject.model, view, tallies[group], np.random.default_rng([SEED, number]))
    rows = {}
    for group, by_count in tallies.items():
        for count, tally in sorted(by_count.items()):
            clicks = f"{group}, {len(tally.families)} clicks with {count} meanings"
            rows |= {f"{clicks}: {name}": row for name, row in rows_of(tally).items()}
    if not rows:
        return "No click has several meanings here."
    return markdown("what a lone click may mean", rows)
