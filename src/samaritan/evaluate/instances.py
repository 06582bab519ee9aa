"""How well the instances of an image (cells, nuclei, lesions) are found together, not one by one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samaritan.evaluate.interview import Outcome
from samaritan.evaluate.protocols import Answer
from samaritan.evaluate.subjects import Subject, label_map
from samaritan.metrics import average_precision, detect
from samaritan.metrics.matching import Labels

Bools = NDArray[np.bool_]
Row = dict[str, Any]

INSTANCE_METRICS = (
    "panoptic_quality", "segmentation_quality", "f1", "sensitivity", "precision", "accuracy", "average_precision",
)  # fmt: skip


def instance_rows(subject: Subject, outcomes: Sequence[Outcome]) -> list[Row]:
    """Return a row for each label of a subject that has instances: how the last answers fit, an IoU of .5 being found.

    Each prompted answer counts as one instance; where they overlap, the one with the higher predicted IoU has it. What
    was found of everything is compared with all instances of the plane, of whatever label, asked about or not.
    """
    everything = _everything(outcomes)
    if everything is not None:
        if subject.crowd is None:
            return []
        return [{"value": None, "label": "", **_row(outcomes[0], subject.crowd, everything.masks, everything.scores)}]
    by_label: dict[tuple[int, str], list[tuple[Bools, Outcome]]] = defaultdict(list)
    for wanted, outcome in zip(subject.wanted, outcomes, strict=True):
        if wanted.instance:
            by_label[wanted.value, wanted.name].append((wanted.target.mask, outcome))
    found = []
    for (value, name), pairs in by_label.items():
        answers = [outcome.answer for _, outcome in pairs if outcome.answer is not None]
        reference = label_map(mask for mask, _ in pairs)
        if reference is not None and answers:
            masks, scores = [answer.mask for answer in answers], [answer.scores[0] for answer in answers]
            found.append({"value": value, "label": name, **_row(pairs[0][1], reference, masks, scores)})
    return found


def given_rows(subject: Subject, found: Labels, row: Row) -> list[Row]:
    """Return a row for what somebody else has found of a subject that has instances, as of everything.

    ``found`` are the instances on the subject's grid; ``row`` is one of its objects', with step and effort.
    """
    if subject.crowd is None:
        return []
    labels = {(wanted.value, wanted.name) for wanted in subject.wanted if wanted.instance}
    value, label = labels.pop() if len(labels) == 1 else (None, "")
    scores = dict.fromkeys(np.unique(found).tolist(), 0.0)  # nobody says how sure they are
    return [{"value": value, "label": label, **_figures(row, subject.crowd, found, scores)}]


def _everything(outcomes: Sequence[Outcome]) -> Answer | None:
    """Return the answer to a question about everything, if that was the last one."""
    asked = outcomes and outcomes[0].journal and outcomes[0].journal[-1]["prompts"] is None
    return outcomes[0].answer if asked else None


def _row(
    about: Outcome, reference: NDArray[np.int32], masks: Iterable[Bools], scores: Iterable[float] | NDArray[np.float32]
) -> Row:
    kept, sure = list(masks), np.nan_to_num(np.array(list(scores)))  # a model without scores is as sure of all
    order = np.argsort(sure, kind="stable")
    prediction = label_map(kept[int(n)] for n in order)
    prediction = np.zeros_like(reference) if prediction is None else prediction
    return _figures(
        about.rows[-1], reference, prediction, {number: float(sure[n]) for number, n in enumerate(order, start=1)}
    )


def _figures(row: Row, reference: Labels, prediction: Labels, scores: Mapping[int, float]) -> Row:
    found = detect(reference, prediction)
    values = {
        "panoptic_quality": found.panoptic_quality,
        "segmentation_quality": found.segmentation_quality,
        "f1": found.f1,
        "sensitivity": found.sensitivity,
        "precision": found.precision,
        "accuracy": found.accuracy,
        "average_precision": average_precision([(reference, prediction, scores)]),
    }
    return {
        "step": row["step"],
        "effort": row["effort"],
        "references": found.true_positives + found.false_negatives,
        "predictions": found.true_positives + found.false_positives,
        **{metric: None if np.isnan(figure) else figure for metric, figure in values.items()},
    }
