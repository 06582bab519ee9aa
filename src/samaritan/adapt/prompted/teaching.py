"""A model taught a data set by prompts: the lesson, what it takes, and what comes of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from samaritan.adapt.adapter import AdapterCard, fingerprint, save_adapter
from samaritan.adapt.base import Base
from samaritan.adapt.journal import Entry
from samaritan.adapt.learnt import learnt_of
from samaritan.adapt.loop import Group, Result, Settings, fit
from samaritan.adapt.methods import Method, settings_of
from samaritan.adapt.prompted.cases import CaseSampler, Census, Looks
from samaritan.adapt.prompted.tiny import Plan, PromptedTask
from samaritan.adapt.provenance import made_with
from samaritan.core.process import peak_rss
from samaritan.data import DataSet

_SIDE = 192  # pixels of a crop: that of a window at inference
_AVERAGED = 0.2  # of a run: how far the average that is kept reaches back
_SAVED_S = 60.0  # between checkpoints
_TIMED = 3  # steps that tell how long one takes


@dataclass(frozen=True, slots=True)
class Lesson:
    """What is taught, to what, how.

    Parameters
    ----------
    base
        Of the model.
    method, settings
        Name of the method and its settings.
    data
        The cases to train on.
    census
        What they have to teach.
    looks
        How they are shown.
    steps, seed, images, workers, device
        Of the loop; ``images`` crops a step.
    """

    base: Base
    method: str
    settings: Mapping[str, Any]
    data: DataSet
    census: Census
    looks: Looks
    steps: int
    seed: int = 0
    images: int = 8
    workers: int = 0
    device: str = "auto"

    @property
    def how(self) -> Method:
        """The method."""
        return settings_of(self.method, self.settings)

    @property
    def task(self) -> PromptedTask:
        """What the loop is given."""
        plan = Plan(steps=self.steps, seed=self.seed, images=self.images, sides=(_SIDE,), stages=(1.0,))
        sampler = partial(CaseSampler, self.data.root, self.data.cases, self.looks, self.census.cases)
        return PromptedTask(plan, sampler)

    @property
    def loop(self) -> Settings:
        """How the loop runs."""
        decay = max(0.0, 1 - 1 / max(1.0, _AVERAGED * self.steps))
        return Settings(
            steps=self.steps, seed=self.seed, workers=self.workers, device=self.device, gradient_norm=2.0,
            average_decay=decay, save_every_s=_SAVED_S,
        )  # fmt: skip

    def prepared(self) -> tuple[nn.Module, Sequence[Group]]:
        """Return the network, ready to learn, and what of it learns."""
        torch.manual_seed(self.seed)  # what a method adds is drawn
        network = self.base.network()
        groups = self.how.prepare(network, self.base.anatomy)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in the stubs
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
    task = lesson.task
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
    learning = sum(p.numel() for p in network.parameters() if p.requires_grad)
    return Expected(learning, sum(p.numel() for p in network.parameters()), min(seconds), peak_rss())


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
    about = {
        "base": lesson.base.card.name,
        "base_sha256": lesson.base.sha256,
        "method": lesson.method,
        "settings": asdict(lesson.how),  # type: ignore[call-overload]  # all methods are dataclasses
        "data": fingerprint(lesson.data.cases),
        "labels": sorted(lesson.census.cases),
        "images": lesson.images,
    }
    result = fit(network, lesson.task, lesson.loop, out, groups=groups, config=about, on_step=on_step)
    card = AdapterCard(
        name=name,
        base=lesson.base.card.name,
        base_sha256=lesson.base.sha256,
        method=lesson.method,
        settings=asdict(lesson.how),  # type: ignore[call-overload]  # as above
        task="prompt",
        labels=tuple(sorted(lesson.census.cases)),
        data=fingerprint(lesson.data.cases),
        licence=lesson.base.card.licence,
        made_with=made_with(),
    )
    save_adapter(out, card, learnt_of(network, result.average))
    return card, result
