"""What the resolution of windows allows: the reference itself, as finely as the network can draw it.

An object is seen in the window around its tight box, in a frame of so many pixels; the answer has half as many along
each side and is enlarged from there. Pictures have a long side of `quick_check.SIDE` pixels, as in all experiments.
"""

from __future__ import annotations

import numpy as np

from samaritan.autoprompt.simulate import Target, tight_box
from samaritan.core.prompts import Prompts
from samaritan.models.prompt_areas import extent
from samaritan.models.tiny.prompts import PADDING
from samaritan.models.tiny.zoom import FRAME_SIDE, Zoom
from training.measures import dice, family_means, lowest
from training.tiny.limits.shared import WORST, Array, Subject, markdown, mean_of

SIDES = (128, FRAME_SIDE, 256)  # pixels of the frame
STRIDE = 2  # of the answer's pixels
SURE = 8.0  # logit inside; its negative outside


def through(target: Target, *, side: int) -> Array:
    """Return the mask (i, j, 1) that is left of an object, drawn on the network's grid in a frame of `side` pixels.

    A pixel of that grid holds the mean of the logits of what it covers.
    """
    box = Prompts(target.geometry, (tight_box(target),))
    place = extent(box)
    assert place is not None  # a box says where it lies
    zoom, shape = Zoom.around(place, box), target.geometry.shape
    frame = zoom.letterbox(shape, side=side, multiple=side)
    logits = np.where(target.mask, SURE, -SURE).astype(np.float32)[None]
    seen = frame.image_to_frame(zoom.crop(logits), fill=-SURE)
    drawn = seen.reshape(1, side // STRIDE, STRIDE, side // STRIDE, STRIDE).mean(axis=(2, 4))
    back = zoom.paste(frame.logits_from_frame(drawn), (shape[0], shape[1]), fill=PADDING)
    return np.asarray(back[0] > 0)


def table(subject: Subject) -> str:
    """Return the Dice of the reference by the side of the frame, and the families that lose most."""
    rows, worst = {}, []
    for group, part in subject.groups.items():
        scores = {side: [dice(item.target.mask, through(item.target, side=side)) for item in part] for side in SIDES}
        rows[group] = {f"{side} px": mean_of(values, part) for side, values in scores.items()}
        means = family_means(scores[FRAME_SIDE], [item.family for item in part])
        worst.append(f"The least at {FRAME_SIDE} px, {group}: {lowest(means, WORST)}.")
    return "\n".join([markdown("Dice of the reference, drawn in a window of", rows), "", *worst])
