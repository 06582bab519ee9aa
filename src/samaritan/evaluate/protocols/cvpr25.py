"""CVPR 2025's challenge of interactive 3D segmentation: a box, then five clicks, of all classes in parallel.

Each click is in the voxel deepest in the largest error (connected at corners; depth in voxels, whatever the spacing),
positive where the reference is. Where several voxels are as deep, the one that the challenge's script takes is taken.
The box has a shift outward as its ``get_boxes.py`` draws it. Not taken over: depths of errors of more than 60 million
voxels are not computed at half the resolution, and nobody is stopped after the challenge's 90 seconds a class.

Source: https://github.com/JunMa11/CVPR-MedSegFMCompetition, ``CVPR25_iter_eval.py`` and ``get_boxes.py``.
"""

from __future__ import annotations

from collections.abc import Sequence

import cc3d
import edt
import numpy as np
from numpy.typing import NDArray

from samaritan.autoprompt.simulate import Target
from samaritan.core.prompts import Box, Point, Prompts
from samaritan.evaluate.protocols.protocol import Asking, Bools, Protocol, Question
from samaritan.metrics import area_under_clicks

CLICKS = 5
TOLERANCE_MM = 2.0  # of its NSD: with another one, scores are none of the challenge's
_LEAST_DICE = 0.2  # at or below it, NSD counts as 0
_SEED = 42  # of the script, anew for each click
_MOST_SHIFT, _SHIFT_SIDE = 6, 256


def _run(target: Target, rng: np.random.Generator, *, box: bool) -> Asking:
    prompts = Prompts(target.geometry, (challenge_box(target, rng),) if box else ())
    mask = np.zeros(target.mask.shape, np.bool_)
    if box:
        answer = yield Question((prompts,), "0 clicks", 0.0)
        mask = answer.mask
    for count in range(1, CLICKS + 1):
        click = challenge_click(target.mask, mask)
        if click is not None:
            prompts = prompts.add(click)
        answer = yield Question((prompts,), f"{count} clicks", float(count), refines=box or count > 1)
        mask = answer.mask


def challenge_box(target: Target, rng: np.random.Generator) -> Box:
    """Return the box on the middle slice of those that hold the object, and the range of them all.

    It is wider than the object there by 0 to 5 pixels of an image of 256, the same on every side.
    """
    held = np.flatnonzero(target.mask.any(axis=(0, 1)))
    area = target.mask[..., int(held[len(held) // 2])]
    shift = int(rng.integers(_MOST_SHIFT))
    start, stop = [], []
    for axis, side in enumerate(area.shape):
        filled = np.flatnonzero(area.any(axis=1 - axis))
        more = int(shift * side / _SHIFT_SIDE)
        start.append(max(0, int(filled[0]) - more))
        stop.append(min(side, int(filled[-1]) + 1 + more))
    return Box((start[0], start[1], int(held[0])), (stop[0], stop[1], int(held[-1]) + 1))


def challenge_click(reference: Bools, predicted: Bools) -> Point | None:
    """Return the challenge's next click for masks (i, j, k); None if nothing is wrong."""
    wrong = reference ^ predicted
    if not wrong.any():
        return None
    # The script's arrays are (k, j, i): among equals, the order of components and of voxels is theirs.
    errors = cc3d.connected_components(np.ascontiguousarray(wrong.T), connectivity=26)
    sizes = np.bincount(errors.ravel())
    sizes[0] = 0
    largest = errors == int(sizes.argmax())
    spans = tuple(slice(int(found.min()), int(found.max()) + 1) for found in np.nonzero(largest))
    depth = edt.edt(np.ascontiguousarray(largest[spans]), black_border=True)
    deepest = np.argwhere(depth == depth.max()) + [span.start for span in spans]
    k, j, i = (int(v) for v in deepest[np.random.RandomState(_SEED).choice(len(deepest))])  # theirs
    return Point((i, j, k), positive=bool(reference[i, j, k]))


def scores(dice: NDArray[np.float64], nsd: NDArray[np.float64]) -> dict[str, float]:
    """Return the challenge's scores of one case from Dice and NSD of each step and class, both (steps, classes).

    There are six steps (box and five clicks), or five where there is no box. A class that was missed has NSD 0.
    """
    mean_dice = dice.mean(axis=1)
    mean_nsd = np.where(mean_dice > _LEAST_DICE, nsd.mean(axis=1), 0.0)
    return {
        "dice_auc": area_under_clicks(_clicks_of(mean_dice)),
        "nsd_auc": area_under_clicks(_clicks_of(mean_nsd)),
        "dice_final": float(mean_dice[-1]),
        "nsd_final": float(mean_nsd[-1]),
    }


def _clicks_of(values: NDArray[np.float64]) -> Sequence[float]:
    return [float(value) for value in values[-CLICKS:]]


def _with_box(target: Target, rng: np.random.Generator) -> Asking:
    yield from _run(target, rng, box=True)


def _without_box(target: Target, rng: np.random.Generator) -> Asking:
    yield from _run(target, rng, box=False)


_SOURCE = "CVPR 2025, Foundation models for interactive 3D biomedical image segmentation"
CVPR25 = Protocol(
    title="a box on the middle slice, then 5 clicks in the largest error; all classes in parallel",
    run=_with_box,
    kinds=frozenset({"box", "point"}),
    source=_SOURCE,
    axis="clicks",
    dims=3,
    together=True,
)
CVPR25_CLICKS = Protocol(
    title="the same from nothing, as for classes without a box",
    run=_without_box,
    kinds=frozenset({"point"}),
    source=_SOURCE,
    axis="clicks",
    dims=3,
    together=True,
)
