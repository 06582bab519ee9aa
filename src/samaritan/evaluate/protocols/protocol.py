"""What a protocol is: questions, answers, and the table of protocols and suites."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from samaritan.autoprompt.simulate import Target
from samaritan.core.errors import UnknownNameError
from samaritan.core.model import Prediction
from samaritan.core.prompts import Prompts
from samaritan.core.registry import Registry

Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False, slots=True)
class Question:
    """What is asked of a model about one object.

    Parameters
    ----------
    prompts
        Sets of prompts, each asked by itself; what several give is united. None asks for everything in the image.
    step
        What the score is entered under: ``"3 clicks"``.
    effort
        Where it lies on the axis of the protocol's curve: number of clicks, or strength of a disturbance.
    refines
        Whether the model is handed its last answer.
    corruption
        Name and severity of what is done to the plane first; of severity 0 nothing.
    """

    prompts: tuple[Prompts, ...] | None
    step: str
    effort: float
    refines: bool = False
    corruption: tuple[str, int] | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Answer:
    """What a model answers.

    Parameters
    ----------
    masks, scores
        (m, i, j, k), best first by the model's own scores (m,), which are nan if it has none.
    prediction
        What the model is handed if the next question refines this answer; None if that cannot be.
    """

    masks: Bools
    scores: NDArray[np.float32]
    prediction: Prediction | None = None

    @property
    def mask(self) -> Bools:
        """The mask that the model thinks best."""
        return np.asarray(self.masks[0])


Asking = Generator[Question, Answer, None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """One way to ask for objects.

    Parameters
    ----------
    title, source
        What it does, in a line; where it comes from.
    run
        Asks for one object; all chance comes from the generator of numbers.
    kinds
        Prompts that a model must take.
    axis
        What ``effort`` counts, for the axis of a figure.
    dims
        Whether it is about pictures and slices (2) or volumes as a whole (3); None for both.
    oracle
        Whether the best of several masks is scored too, beside the one that the model thinks best.
    together
        Whether all objects of an image are asked for in step, as classes of one label map: where answers overlap, the
        later object has the voxel.
    apart
        Whether its steps are many ways of asking of which none comes after the others: then an object's score is the
        mean over all of them, where that of another protocol is its last.
    """

    title: str
    run: Callable[[Target, np.random.Generator], Asking]
    kinds: frozenset[str]
    source: str = ""
    axis: str = "prompts"
    dims: int | None = None
    oracle: bool = False
    together: bool = False
    apart: bool = False


PROTOCOLS: Registry[Protocol] = Registry("protocol", "samaritan.protocols")
_HERE = "samaritan.evaluate.protocols"
for _module, _names in {
    "mazurowski": ("m1", "m2", "m3", "m4", "m5", "m-points"),
    "points": ("points-random", "points-centre", "points-deepest"),
    "boxes": ("box", "box-whole", "box-jitter", "box-inward", "box-outward"),
    "everything": ("everything",),
    "names": ("name",),
    "strokes": ("scribble-line", "scribble-centre", "scribble-contour"),
    "clicks": ("clicks", "box-clicks"),
    "cvpr25": ("cvpr25", "cvpr25-clicks"),
    "robustness": ("corrupted-images", "human-noise"),
}.items():
    for _name in _names:
        PROTOCOLS.register(_name, f"{_HERE}.{_module}:{_name.upper().replace('-', '_')}")

SUITES: dict[str, tuple[str, ...]] = {
    "zero-shot": (
        "m1", "m2", "m3", "m4", "m5", "points-random", "points-centre", "points-deepest", "box", "box-whole",
        "everything",
    ),
    "interactive": ("clicks", "box-clicks", "m-points", "scribble-line", "scribble-centre", "scribble-contour"),
    "robustness": ("box-jitter", "box-inward", "box-outward", "human-noise", "corrupted-images"),
    "cvpr25": ("cvpr25", "cvpr25-clicks"),
    "names": ("name",),
}  # fmt: skip
DEFAULT = ("m1", "box", "clicks")


def chosen(protocols: Sequence[str] = (), suites: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the names of protocols and of those in suites, each once, in order; the default ones if none is named.

    Raises
    ------
    UnknownNameError
        If there is no protocol or suite of a name.
    """
    for suite in suites:
        if suite not in SUITES:
            raise UnknownNameError.of(suite, kind="suite", known=SUITES)
    names = tuple(dict.fromkeys([*protocols, *(name for suite in suites for name in SUITES[suite])])) or DEFAULT
    for name in names:
        PROTOCOLS.get(name)
    return names
