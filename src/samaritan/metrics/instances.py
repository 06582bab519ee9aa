"""How well instances (cells, nuclei, lesions) are found and outlined, in label maps with 0 where there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from samaritan.metrics.masks import Bools, require_pair
from samaritan.metrics.matching import Labels, overlaps

_LEAST_IOU = 0.5  # above it no instance overlaps two others


@dataclass(frozen=True, slots=True)
class Detection:
    """How many instances were found (``true_positives``), made up, and missed, and how well the found ones fit."""

    true_positives: int
    false_positives: int
    false_negatives: int
    iou: float  # the sum over those that were found

    @property
    def f1(self) -> float:
        """The harmonic mean of sensitivity and precision; nan if there is nothing to find and nothing was found."""
        return _ratio(2 * self.true_positives, self._all + self.true_positives)

    @property
    def sensitivity(self) -> float:
        """The share of the reference's instances that were found; nan if there is none."""
        return _ratio(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def precision(self) -> float:
        """The share of the predicted instances that are right; nan if there is none."""
        return _ratio(self.true_positives, self.true_positives + self.false_positives)

    @property
    def accuracy(self) -> float:
        """The share of right ones among all: what cell segmentation calls average precision; nan if there is none.

        Caicedo et al. 2019, doi:10.1038/s41592-019-0612-7.
        """
        return _ratio(self.true_positives, self._all)

    @property
    def segmentation_quality(self) -> float:
        """The mean IoU of those that were found; nan if none was."""
        return _ratio(self.iou, self.true_positives)

    @property
    def panoptic_quality(self) -> float:
        """``f1`` times ``segmentation_quality``; 0 if none was found, nan if there is nothing to find or be found.

        Kirillov et al. 2019, arXiv:1801.00868.
        """
        return _ratio(2 * self.iou, self._all + self.true_positives)

    @property
    def _all(self) -> int:
        return self.true_positives + self.false_positives + self.false_negatives


def detect(reference: Labels, prediction: Labels, *, least_iou: float = _LEAST_IOU) -> Detection:
    """Return how well the instances of a label map were found, where an IoU of ``least_iou`` counts as found.

    Raises
    ------
    ImageError, GeometryMismatchError
        As ``overlaps``.
    """
    table = overlaps(reference, prediction)
    found = table.matched(least_iou=least_iou)
    references, predictions = table.iou.shape
    return Detection(len(found), predictions - len(found), references - len(found), float(found.sum()))


def panoptic_quality(reference: Labels, prediction: Labels) -> float:
    """Return ``Detection.panoptic_quality`` of instances that overlap by more than half."""
    return detect(reference, prediction).panoptic_quality


def lesion_f1(reference: Bools, prediction: Bools, *, least_iou: float = 0.1) -> float:
    """Return ``Detection.f1`` of the pieces of two masks; those that touch at a corner are one piece.

    A lesion counts as found by a piece that overlaps it with an IoU of ``least_iou``, each by one and one by each.
    Maier-Hein et al. 2024, doi:10.1038/s41592-023-02151-z, who advise so low a threshold where structures are small.

    Raises
    ------
    ImageError, GeometryMismatchError
        As ``require_pair``.
    """
    require_pair(reference, prediction)
    return detect(pieces(reference), pieces(prediction), least_iou=least_iou).f1


def pieces(mask: Bools) -> NDArray[np.int32]:
    """Return a mask's pieces as labels from 1 on; those that touch at a corner are one."""
    labels, _ = ndimage.label(mask, structure=np.ones((3,) * mask.ndim, np.bool_), output=np.int32)
    return np.asarray(labels)


def average_precision(
    images: Sequence[tuple[Labels, Labels, Mapping[int, float]]], *, least_iou: float = _LEAST_IOU
) -> float:
    """Return the area under precision over recall of scored instances in ``images``, in [0, 1], as COCO measures it.

    An image is its reference, its prediction, and the score of each predicted label. From the highest score on, each
    prediction takes the reference's instance that it overlaps most of those that are left, if by ``least_iou``;
    precision is the best that some lower threshold gives, and read at 101 recalls (Lin et al. 2014, arXiv:1405.0312,
    and the API of COCO). nan if there is nothing to find.

    Raises
    ------
    ImageError, GeometryMismatchError
        As ``overlaps``.
    KeyError
        If a predicted label has no score.
    """
    wanted, scores, hits = 0, [], []
    for reference, prediction, score in images:
        table = overlaps(reference, prediction)
        wanted += len(table.iou)
        order = np.argsort([-score[int(label)] for label in table.predicted], kind="stable")
        left = np.ones(len(table.iou), np.bool_)
        for column in order:
            overlap = np.where(left, table.iou[:, column], -1.0)
            best = int(np.argmax(overlap)) if len(overlap) else -1
            hit = best >= 0 and overlap[best] >= least_iou
            if hit:
                left[best] = False
            scores.append(score[int(table.predicted[column])])
            hits.append(hit)
    if not wanted:
        return float("nan")
    return _area(np.array(hits, np.bool_)[np.argsort(np.negative(scores), kind="stable")], wanted)


def _area(hits: Bools, wanted: int) -> float:
    """Return the mean over 101 recalls of the best precision there or beyond; ``hits`` are in order of score."""
    right = np.cumsum(hits)
    recall, precise = right / wanted, right / np.arange(1, len(hits) + 1)
    best = np.append(np.maximum.accumulate(precise[::-1])[::-1], 0.0)
    return float(best[np.searchsorted(recall, np.linspace(0, 1, 101))].mean())


def _ratio(part: float, whole: int) -> float:
    return part / whole if whole else float("nan")
