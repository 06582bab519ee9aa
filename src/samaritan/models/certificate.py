"""How well two runtimes of one model agree, and what each costs: measured side by side, on the same images."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from samaritan.core.image import Image
from samaritan.core.model import Embedding, Model, Prediction
from samaritan.core.prompts import Prompts
from samaritan.models.made_with import MadeWith
from samaritan.models.planar import PlanarModel
from samaritan.models.trial import Source, peak_memory, questions

T = TypeVar("T")

_REPEATS = 5


@dataclass(frozen=True, slots=True)
class Cost:
    """What a model takes: medians of the seconds for one image and for one prompt, and memory.

    ``memory_mib`` is the peak of a process of its own, Python and the runtime included, that loads the model, embeds an
    image and answers the prompts. None where it was not measured.
    """

    embed_s: float
    decode_s: float
    memory_mib: float | None


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far another runtime's answers about an image are from the original's: see ``Certificate``."""

    logits_apart: float
    dice: float


@dataclass(frozen=True, slots=True)
class Certificate:
    """What was compared, and what came of it.

    Parameters
    ----------
    model, sha256
        Name and weights of the model.
    images
        How many were compared, each with a click and a box, or what of them the model takes.
    logits_apart
        Largest difference of logits.
    logits_spread
        Their standard deviation, against which the difference has to be seen.
    dice
        Lowest Dice of the masks of one prompt; 1.0 where both are empty.
    before, after
        What the original and the exported take.
    machine
        What it was measured on.
    made_with
        When, and with which versions.
    others
        How well the exported model agrees on the other runtimes that are here, by their names, on the first image.
    """

    model: str
    sha256: str
    images: int
    logits_apart: float
    logits_spread: float
    dice: float
    before: Cost
    after: Cost
    machine: str
    made_with: MadeWith
    others: Mapping[str, Agreement] = field(default_factory=dict)

    @property
    def least_dice(self) -> float:
        """The lowest Dice on any runtime."""
        return min([self.dice, *(other.dice for other in self.others.values())])

    def to_dict(self) -> dict[str, Any]:
        """Return the certificate ready for JSON."""
        return asdict(self)


def certify(
    before: PlanarModel,
    after: PlanarModel,
    images: Sequence[Image],
    *,
    sources: tuple[Source | None, Source | None] = (None, None),
) -> Certificate:
    """Compare two models of the same weights on ``images``, which are planes as ``Model.embed`` wants them.

    ``sources`` are where other processes find them: memory is measured of those that have one.

    Raises
    ------
    ResourceError
        If such a process ends early.
    """
    apart, dice, spread = 0.0, 1.0, 0.0
    embed: tuple[list[float], list[float]] = ([], [])
    decode: tuple[list[float], list[float]] = ([], [])
    for image in images:
        embedded = [_timed(model, image, spent) for model, spent in zip((before, after), embed, strict=True)]
        for prompts in questions(image.geometry, before.card):
            first, second = (
                _decoded(model, embedding, prompts, spent)
                for model, embedding, spent in zip((before, after), embedded, decode, strict=True)
            )
            apart = max(apart, float(np.abs(_in_order(first) - _in_order(second)).max()))
            spread = max(spread, float(first.logits.std()))
            dice = min(dice, _dice(first, second))
    first_cost, second_cost = (
        Cost(statistics.median(e), statistics.median(d), _memory(source, images[0]))
        for e, d, source in zip(embed, decode, sources, strict=True)
    )
    return Certificate(
        model=before.card.name,
        sha256=before.card.sha256,
        images=len(images),
        logits_apart=apart,
        logits_spread=spread,
        dice=dice,
        before=first_cost,
        after=second_cost,
        machine=_machine(),
        made_with=MadeWith.now(before=before.network.runners, after=after.network.runners),
    )


def agreement(before: Model, after: Model, image: Image) -> Agreement:
    """Compare two models of the same weights on an image, without any measure of time."""
    first, second = before.embed(image), after.embed(image)
    answers = [
        (before.decode(first, prompts), after.decode(second, prompts))
        for prompts in questions(image.geometry, before.card)
    ]
    apart = max(float(np.abs(_in_order(one) - _in_order(other)).max()) for one, other in answers)
    return Agreement(apart, min(_dice(one, other) for one, other in answers))


def _memory(source: Source | None, image: Image) -> float | None:
    peak = 0 if source is None else peak_memory(source, image)
    return round(peak / 2**20, 1) if peak else None


def _timed(model: Model, image: Image, spent: list[float]) -> Embedding:
    model.embed(image)  # the first of a shape may be slower
    return _measured(lambda: model.embed(image), spent)


def _decoded(model: Model, embedding: Embedding, prompts: Prompts, spent: list[float]) -> Prediction:
    for _ in range(_REPEATS - 1):
        _measured(lambda: model.decode(embedding, prompts), spent)
    return _measured(lambda: model.decode(embedding, prompts), spent)


def _measured(call: Callable[[], T], spent: list[float]) -> T:
    started = time.perf_counter()
    result = call()
    spent.append(time.perf_counter() - started)
    return result


def _in_order(prediction: Prediction) -> NDArray[np.float32]:
    """Return the logits in an order that rounding of scores cannot change: by their sums."""
    return prediction.logits[np.argsort(prediction.logits.sum(axis=(1, 2, 3)))]


def _dice(first: Prediction, second: Prediction) -> float:
    a, b = _in_order(first) > 0, _in_order(second) > 0
    total = int(a.sum()) + int(b.sum())
    return 1.0 if total == 0 else 2 * int((a & b).sum()) / total


def _machine() -> str:
    return f"{platform.machine()}, {os.cpu_count()} processors, {platform.system()}"
