"""What a box leaves open: objects whose box would do for another object of the picture as well.

An object has a *rival* if something else has nearly its box but not its mask: another object that was labelled, a
label's pieces together, the object with its holes filled (a wall and what it encloses), or with an object that it
touches. Nobody could tell from the box which of them is meant. Things that were not labelled are rivals that this
cannot count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from samaritan.adapt.prompted.view import View
from samaritan.autoprompt.simulate import Target, tight_box
from samaritan.core.prompts import Box, Prompts
from training.measures import dice, macro
from training.tiny.limits.shared import HELD_OUT, TRAINED, Array, Subject, group_of, markdown
from training.tiny.quick_check import MAX_OBJECTS, padded, picture

SAME_BOX = 0.8  # intersection over union of two boxes, and more, that would do for each other
SAME_MASK = 0.9  # Dice of two masks, and more, that are the same answer


def overlap(one: Box, other: Box) -> float:
    """Return the intersection over union of two boxes in a picture."""
    start, stop = np.maximum(one.start, other.start), np.minimum(one.stop, other.stop)
    both = np.prod(np.clip(stop - start, 0, None))
    sizes = [np.prod(np.subtract(box.stop, box.start)) for box in (one, other)]
    return float(both / (sum(sizes) - both))


def rivals_of(number: int, masks: Sequence[Array]) -> list[Array]:
    """Return the masks, of what `masks` make up, that have nearly the box of mask `number` but are another answer."""
    own = masks[number]
    others = [mask for other, mask in enumerate(masks) if other != number]
    grown = ndimage.binary_dilation(own)
    made = [*others, ndimage.binary_fill_holes(own), *(own | mask for mask in others if (mask & grown).any())]
    box = tight_box(Target.of_picture(own))
    different = [mask for mask in made if dice(own, mask) < SAME_MASK]
    return [mask for mask in different if overlap(box, tight_box(Target.of_picture(mask))) >= SAME_BOX]


@dataclass
class Tally:
    """The objects of a group: Dice from the tight box with what was meant and with the best rival (NaN without one)."""

    meant: list[float] = field(default_factory=list)
    rival: list[float] = field(default_factory=list)
    families: list[str] = field(default_factory=list)

    def row(self) -> dict[str, float]:
        """Return the share with rivals, and the means of those with and without; of answers, the nearer one, too."""
        meant, rival = np.array(self.meant), np.array(self.rival)
        nearer = np.fmax(meant, rival)
        has = ~np.isnan(rival)
        shown = {"objects": float(len(meant)), "with a rival": macro(has, self.families)}
        for name, values, chosen in (
            ("Dice without a rival", meant, ~has),
            ("with one", meant, has),
            ("with one, the nearer of the two", nearer, has),
            ("all", meant, np.ones_like(has)),
            ("all, the nearer", nearer, np.ones_like(has)),
        ):
            families = [family for family, kept in zip(self.families, chosen, strict=True) if kept]
            shown[name] = macro(values[chosen], families) if families else float("nan")
        return shown


def ask(subject: Subject, view: View, tally: Tally) -> None:
    """Ask for the largest single pieces of a view by their boxes, and add the answers."""
    shown = padded(view)
    masks = [np.ascontiguousarray(np.isin(shown.parts, members).T) for members in view.objects]
    kept = [index for index, mask in enumerate(masks) if mask.sum() >= shown.least]
    masks, single = [masks[index] for index in kept], [len(view.objects[index]) == 1 for index in kept]
    largest = sorted((n for n in range(len(masks)) if single[n]), key=lambda n: -int(masks[n].sum()))[:MAX_OBJECTS]
    embedding = subject.model.embed(picture(shown.image)) if largest else None
    for number in largest:
        assert embedding is not None
        box = tight_box(Target.of_picture(masks[number]))
        answer = subject.model.decode(embedding, Prompts(embedding.geometry, (box,))).mask[..., 0]
        tally.meant.append(dice(masks[number], answer))
        tally.rival.append(max((dice(rival, answer) for rival in rivals_of(number, masks)), default=float("nan")))
        tally.families.append(view.family)


def table(subject: Subject) -> str:
    """Return how many objects have rivals, and what they cost."""
    tallies = {HELD_OUT: Tally(), TRAINED: Tally()}
    for view in subject.views:
        if view.image is not None:
            ask(subject, view, tallies[group_of(view.family)])
    return markdown("what a tight box leaves open", {name: t.row() for name, t in tallies.items() if t.meant})
