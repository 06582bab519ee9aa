"""Masks by others, object by object: labels are found by their values, instances by how well they overlap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from samaritan.data import Reference
from samaritan.evaluate.subjects import Subject
from samaritan.metrics.instances import pieces

Bools = NDArray[np.bool_]
Labels = NDArray[np.integer]


def instances_in(predicted: Labels, reference: Reference, values: Sequence[int]) -> Labels:
    """Return the instances (i, j, k) that somebody has predicted, 0 where there is none.

    Where the reference is a map of instances, or the prediction has other values than the labels', each value is one
    instance, whatever it is called. Else the pieces of each label of ``values`` are.
    """
    labels = {0, *reference.names, *reference.values, *values}
    if reference.instances or not labels.issuperset(np.unique(predicted).tolist()):
        return predicted
    found = np.zeros(predicted.shape, np.int32)
    for value in values:
        own = pieces(predicted == value)
        found = np.where(own > 0, own + found.max(), found)
    return found


def masks_by_others(predicted: Labels, found: Labels | None, reference: Reference, subject: Subject) -> list[Bools]:
    """Return the mask (i, j, k) of each object that is wanted of a subject.

    Parameters
    ----------
    predicted
        Values on the subject's grid.
    found
        The instances among them; None where none is wanted.
    reference, subject
        What was drawn, and what is wanted of it.
    """
    masks = [predicted != 0 if reference.instances else predicted == wanted.value for wanted in subject.wanted]
    single = [n for n, wanted in enumerate(subject.wanted) if wanted.instance]
    if found is None or not single:
        return masks
    for n, mask in zip(single, matched([subject.wanted[n].target.mask for n in single], found), strict=True):
        masks[n] = mask
    return masks


def matched(wanted: Sequence[Bools], found: Labels) -> list[Bools]:
    """Return the found instance that stands for each mask; an empty mask where none that overlaps is left.

    Each is taken once. Of all ways to pair them the one with the highest IoU in all counts.
    """
    from scipy.optimize import linear_sum_assignment  # noqa: PLC0415 - it takes a third of a second

    labels, places = np.unique(found, return_inverse=True)
    places = places.reshape(found.shape)
    sizes = np.bincount(places.ravel(), minlength=len(labels))
    both = np.stack([np.bincount(places[mask], minlength=len(labels)) for mask in wanted])
    union = np.array([np.count_nonzero(mask) for mask in wanted])[:, None] + sizes - both
    overlap = np.where(labels == 0, 0.0, both / np.maximum(union, 1))
    rows, columns = linear_sum_assignment(overlap, maximize=True)
    masks = [np.zeros(found.shape, np.bool_) for _ in wanted]
    for row, column in zip(rows, columns, strict=True):
        if overlap[row, column] > 0:
            masks[row] = np.asarray(places == column)
    return masks
