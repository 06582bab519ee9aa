"""How well two runtimes of one model agree, and what each costs: measured side by side, on the same images."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from samaritan.core.geometry import Geometry
from samaritan.core.image import Image
from samaritan.core.model import Embedding, Model, Prediction
from samaritan.core.prompts import Box, Point, Prompts

T = TypeVar("T")

_REPEATS = 5
_LOW, _HIGH = 0.25, 0.75  # where the box and the click of the comparison lie, over the sides of a plane


@dataclass(frozen=True, slots=True)
class Timing:
    """Medians of the seconds that a model takes for one image and for one prompt."""

    embed_s: float
    decode_s: float


@dataclass(frozen=True, slots=True)
class Certificate:
    """What was compared, and what came of it.

    Parameters
    ----------
    model, sha256
        Name and weights of the model.
    images
        How many were compared, each with a click and a box.
    logits_apart
        Largest difference of logits.
    logits_spread
        Their standard deviation, against which the difference has to be seen.
    dice
        Lowest Dice of the masks of one prompt; 1.0 where both are empty.
    before, after
        Seconds of the original and of the exported.
    machine
        What it was measured on.
    """

    model: str
    sha256: str
    images: int
    logits_apart: float
    logits_spread: float
    dice: float
    before: Timing
    after: Timing
    machine: str

    def to_dict(self) -> dict[str, Any]:
        """Return the certificate ready for JSON."""
        return asdict(self)


def certify(before: Model, after: Model, images: Sequence[Image]) -> Certificate:
    """Compare two models of the same weights on ``images``, which are planes as ``Model.embed`` wants them."""
    apart, dice, spread = 0.0, 1.0, 0.0
    embed: tuple[list[float], list[float]] = ([], [])
    decode: tuple[list[float], list[float]] = ([], [])
    for image in images:
        embedded = [_timed(model, image, spent) for model, spent in zip((before, after), embed, strict=True)]
        for prompts in _asked(image.geometry):
            first, second = (
                _decoded(model, embedding, prompts, spent)
                for model, embedding, spent in zip((before, after), embedded, decode, strict=True)
            )
            apart = max(apart, float(np.abs(_in_order(first) - _in_order(second)).max()))
            spread = max(spread, float(first.logits.std()))
            dice = min(dice, _dice(first, second))
    first_s, second_s = (Timing(statistics.median(e), statistics.median(d)) for e, d in zip(embed, decode, strict=True))
    card = before.card
    return Certificate(card.name, card.sha256, len(images), apart, spread, dice, first_s, second_s, _machine())


def _asked(geometry: Geometry) -> tuple[Prompts, Prompts]:
    width, height, _ = geometry.shape
    start = (int(_LOW * width), int(_LOW * height), 0)
    stop = (max(start[0] + 1, int(_HIGH * width)), max(start[1] + 1, int(_HIGH * height)), 1)
    click = Point((width // 2, height // 2, 0))
    return Prompts(geometry, (click,)), Prompts(geometry, (Box(start, stop),))


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
