"""A model taught a data set: the lesson, what it takes, and what comes of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from samaritan.adapt.adapter import AdapterCard, fingerprint, save_adapter, settings_dict
from samaritan.adapt.base import Base
from samaritan.adapt.checkpointing import forget
from samaritan.adapt.journal import Entry
from samaritan.adapt.kind import Course, Kind, encoder_learns, prepared
from samaritan.adapt.learnt import learnt_of
from samaritan.adapt.loop import Group, Result, Settings, Task, fit
from samaritan.adapt.methods import Method, settings_of
from samaritan.adapt.provenance import made_with
from samaritan.core.errors import OutOfMemoryBudgetError
from samaritan.core.process import peak_rss

_AVERAGED = 0.2  # of a run: how far the average that is kept reaches back
_SAVED_S = 60.0  # between checkpoints
_TIMED = 3  # steps that tell how long one takes


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What is taught, to what, how.

    Parameters
    ----------
    base
        Of the model.
    kind
        What it is taught for.
    method, settings
        Name of the method and its settings.
    course
        What it is taught from.
    workers, device, accumulate
        Of the loop; with ``accumulate``, pictures of so many batches learn in one step.
    checkpointing
        Whether the encoder's blocks compute their features again for their gradients: less memory for more time.
    """

    base: Base
    kind: Kind
    method: str
    settings: Mapping[str, Any]
    course: Course
    workers: int = 0
    device: str = "auto"
    accumulate: int = 1
    checkpointing: bool = False

    @property
    def how(self) -> Method:
        """The method."""
        return settings_of(self.method, self.settings)

    def task(self, network: nn.Module) -> Task:
        """Return what the loop is given, for the network that ``prepared`` returned."""
        learns = encoder_learns(network, self.kind.anatomy(self.base))
        return self.kind.task(self.base, self.course, encoder_learns=learns)

    @property
    def loop(self) -> Settings:
        """How the loop runs."""
        steps = self.course.steps
        decay = max(0.0, 1 - 1 / max(1.0, _AVERAGED * steps))
        return Settings(
            steps=steps, seed=self.course.seed, workers=self.workers, device=self.device, gradient_norm=2.0,
            average_decay=decay, save_every_s=_SAVED_S, accumulate=self.accumulate,
        )  # fmt: skip

    @property
    def card(self) -> AdapterCard:
        """The card of what comes of it, without scores and name."""
        return AdapterCard(
            name="",
            base=self.base.card.name,
            base_sha256=self.base.sha256,
            base_file="" if self.base.file is None else str(self.base.file.resolve()),
            method=self.method,
            settings=settings_dict(self.how),
            task=self.kind.name,
            recipe=settings_dict(self.kind),
            labels=tuple(sorted(self.course.census.cases)),
            data=fingerprint(self.course.data.cases),
            licence=self.base.card.licence,
        )

    def prepared(self) -> tuple[nn.Module, Sequence[Group]]:
        """Return the network, ready to learn, and what of it learns."""
        network, groups = prepared(self.kind, self.base, self.how, seed=self.course.seed)
        if self.checkpointing:
            forget(network, self.kind.anatomy(self.base))
        return network, groups


@dataclass(frozen=True, slots=True)
class Expected:
    """What a lesson takes: parameters that learn and of all, seconds of a step, memory of this process in bytes."""

    learning: int
    parameters: int
    step_s: float
    memory: int


def expect(lesson: Lesson) -> Expected:
    """Return what a lesson takes, from some steps of it that are thrown away."""
    network, groups = lesson.prepared()
    task = lesson.task(network)
    optimiser = torch.optim.AdamW([{"params": list(group.parameters), "lr": 0.0} for group in groups])
    network.train()
    seconds = []
    for step in range(_TIMED):
        started = time.perf_counter()
        terms = task.losses(network, task.batch(step))
        torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]  # torch has no type
        optimiser.step()
        optimiser.zero_grad()
        seconds.append(time.perf_counter() - started)
    return Expected(**_sizes(network), step_s=lesson.accumulate * min(seconds), memory=peak_rss())


def affordable(lesson: Lesson) -> tuple[Lesson, Expected]:
    """Return a lesson that memory suffices for, and what it takes: batches are halved until it does.

    What is halved learns in as many more batches a step, so that as many pictures learn in each.

    Raises
    ------
    OutOfMemoryBudgetError
        If it does not suffice for a single picture.
    """
    while True:
        try:
            return lesson, expect(lesson)
        except (RuntimeError, MemoryError) as error:
            if not _is_of_memory(error):
                raise
            images = lesson.course.images
            if images == 1:
                raise OutOfMemoryBudgetError(
                    got=f"too little memory for {lesson.base.card.name} and {lesson.method}, even with one picture",
                    wanted="more memory, or a method that needs less",
                    fix="Take --checkpointing, --method decoder, or a smaller model",
                ) from error
        fewer = replace(lesson.course, images=images // 2)
        lesson = replace(lesson, course=fewer, accumulate=lesson.accumulate * -(-images // fewer.images))


def _is_of_memory(error: RuntimeError | MemoryError) -> bool:
    """Whether an error says that there is no memory: PyTorch says so on the CPU in words alone."""
    known = isinstance(error, (torch.OutOfMemoryError, MemoryError))
    return known or any(words in str(error) for words in ("can't allocate memory", "not enough memory"))


def _sizes(network: nn.Module) -> dict[str, int]:
    learning = sum(p.numel() for p in network.parameters() if p.requires_grad)
    return {"learning": learning, "parameters": sum(p.numel() for p in network.parameters())}


def teach(
    lesson: Lesson, out: Path, *, name: str, on_step: Callable[[Entry], None] | None = None
) -> tuple[AdapterCard, Result]:
    """Carry out a lesson, or what is left of it, and write the adapter into ``out``.

    Raises
    ------
    TrainingError
        As ``fit``.
    CheckpointMismatchError
        If ``out`` holds another lesson.
    """
    network, groups = lesson.prepared()
    card = replace(lesson.card, name=name, made_with=made_with(), sizes=_sizes(network))
    differs = {
        "name",
        "made_with",
        "metrics",
        "licence",
        "base_file",
        "sizes",
        "sha256",
    }  # or may, in a run that goes on
    about = {key: value for key, value in asdict(card).items() if key not in differs}
    about["images"] = lesson.course.images
    about["checkpointing"] = lesson.checkpointing
    about = json.loads(json.dumps(about))  # as a run that goes on reads it
    result = fit(network, lesson.task(network), lesson.loop, out, groups=groups, config=about, on_step=on_step)
    return save_adapter(out, card, learnt_of(network, result.average)), result
