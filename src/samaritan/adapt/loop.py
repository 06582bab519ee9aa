"""The training loop: ``fit`` trains any module on any task, and goes on after a kill as if nothing had happened.

What is learnt stands in the *task*: it makes batches and says how wrong the module is on one. What is trained, and how
fast, stands in *groups* of parameters; a parameter that does not require a gradient never changes, nor do the
statistics of a frozen batch norm. The loop knows neither masks nor prompts.
"""

from __future__ import annotations

import contextlib
import json
import math
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from samaritan.adapt.journal import Entry, Journal
from samaritan.adapt.provenance import made_with
from samaritan.adapt.state import Average, State, load, save
from samaritan.core.errors import TrainingError
from samaritan.io.atomic import atomic_path

Scores = Mapping[str, float]
Precision = Literal["float32", "bfloat16", "float16"]

_SLOW_DATA = 0.3  # share of the time waiting for batches from which on the result says so
_PREFETCH = 4  # batches a worker


class Task(Protocol):
    """What is learnt. It travels to worker processes (by pickling): read large data when it is first needed.

    ``batch(step)`` is a function of the step alone, whatever process calls it, so that a run can be repeated: seed
    generators with the step. It returns tensors, or tuples, lists or dicts of tensors and other things.

    ``losses(module, batch)`` returns the terms of the loss by name, weighted already; the loop minimises their sum.
    """

    def batch(self, step: int) -> Any:  # noqa: ANN401 - the task's own kind, which the loop only passes on
        """Return the batch of step 0, 1, ..."""

    def losses(self, module: nn.Module, batch: Any) -> Mapping[str, Tensor]:  # noqa: ANN401 - what ``batch`` returned
        """Return the weighted terms of the loss, each a scalar."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How to train, whatever is learnt.

    Parameters
    ----------
    steps
        Steps of the optimiser.
    seed
        Of torch's generator (dropout); the task seeds its own.
    weight_decay
        AdamW's, for weights of two and more dimensions; biases and norms have none.
    warm_up
        Fraction of the steps in which the rate rises from 0 to its peak; then half a cosine down to ``last_rate``.
    last_rate
        The last rate over the peak.
    gradient_norm
        Longer gradients are cut to this length.
    accumulate
        Batches a step.
    average_decay
        Of the moving average of the weights, which is what a run is for.
    precision
        Of the forward pass; "float16" scales the loss, on CUDA only.
    device
        "auto" takes CUDA where there is one.
    workers
        Processes that make batches; 0 makes them in between, which takes no memory.
    save_every_s, validate_every
        Seconds between checkpoints; steps between validations (0: only at the end).
    """

    steps: int
    seed: int = 0
    weight_decay: float = 0.02
    warm_up: float = 0.03
    last_rate: float = 0.01
    gradient_norm: float = 1.0
    accumulate: int = 1
    average_decay: float = 0.997
    precision: Precision = "float32"
    device: str = "auto"
    workers: int = 0
    save_every_s: float = 120.0
    validate_every: int = 0

    # What may differ between a run and its continuation without changing what comes out.
    FREE = ("device", "workers", "save_every_s")

    @property
    def torch_device(self) -> torch.device:
        """The device that ``device`` names here."""
        name = ("cuda" if torch.cuda.is_available() else "cpu") if self.device == "auto" else self.device
        return torch.device(name)


@dataclass(frozen=True, slots=True)
class Group:
    """Parameters that learn at one peak rate."""

    parameters: Sequence[nn.Parameter]
    rate: float


@dataclass(frozen=True, slots=True)
class Result:
    """What came out: the averaged weights, the last validation, what looked wrong on the way, and how long it took.

    ``step_s`` is the median of the steps' seconds; ``seconds`` are those of all steps, also of a run that was gone on
    with.
    """

    average: dict[str, Tensor]
    scores: Scores
    warnings: tuple[str, ...]
    step_s: float
    seconds: float


def fit(  # noqa: PLR0913 - three that it takes, and five that most callers leave out
    module: nn.Module,
    task: Task,
    settings: Settings,
    out: Path,
    *,
    groups: Sequence[Group] | None = None,
    validate: Callable[[nn.Module], Scores] | None = None,
    config: Mapping[str, object] | None = None,
    on_step: Callable[[Entry], None] | None = None,
) -> Result:
    """Train ``module`` in place.

    The folder ``out`` gets ``config.json``, with what the run was made with (``provenance``), ``checkpoint.pt``,
    ``log.jsonl`` and ``curve.png``.

    Parameters
    ----------
    module, task, settings
        What, on what, and how.
    out
        Folder of the run, made if need be; a checkpoint in it is gone on from.
    groups
        What trains at which rate; by default all that requires a gradient, at 1e-3.
    validate
        Scores of the module with the averaged weights; it gets it in eval mode.
    config
        What else decides the run (of the task, say), as JSON has it: kept with the checkpoint, and a run that goes on
        must have the same.
    on_step
        Called after every step with its entry of the log, for a progress bar.

    Raises
    ------
    TrainingError
        If the loss is not finite, nothing is trainable, a batch cannot be made, or float16 is wanted without CUDA.
    CheckpointMismatchError
        If ``out`` holds a checkpoint of another run.
    """
    out.mkdir(parents=True, exist_ok=True)
    trainer = _Trainer(module, task, settings, groups or [_all_trainable(module)])
    described = {k: v for k, v in asdict(settings).items() if k not in Settings.FREE} | dict(config or {})
    checkpoint = out / "checkpoint.pt"
    if checkpoint.exists():
        trainer.restore(load(checkpoint, config=described))
    with atomic_path(out / "config.json") as staged:
        written = described | {"made_with": made_with()}  # not compared: a run may go on with newer code
        staged.write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
    journal = Journal(out, step=trainer.step)
    saved, scores = time.monotonic(), {}
    with contextlib.closing(_batches(task, settings, trainer.step)) as batches:
        while trainer.step < settings.steps:
            entry = trainer.advance(batches)
            last = trainer.step == settings.steps
            if validate and (last or (settings.validate_every and trainer.step % settings.validate_every == 0)):
                with torch.no_grad():
                    scores = entry["scores"] = dict(validate(trainer.averaged()))
                trainer.back_to_training()
            journal.add(entry)
            if on_step:
                on_step(entry)
            if last or time.monotonic() - saved > settings.save_every_s:
                save(checkpoint, trainer.state() | {"config": described})
                journal.draw()
                saved = time.monotonic()
    done = [entry["scores"] for entry in journal.entries if "scores" in entry]
    spent = [entry["step_s"] for entry in journal.entries]
    return Result(
        trainer.average.state, scores or (done[-1] if done else {}), _warnings(journal.entries),
        median(spent) if spent else 0.0, sum(spent),
    )  # fmt: skip


def rate_factor(fraction: float, *, warm_up: float, last: float) -> float:
    """Learning rate over its peak after ``fraction`` of a run: a linear warm-up, then half a cosine to ``last``."""
    if fraction < warm_up:
        return fraction / warm_up
    along = min(1.0, (fraction - warm_up) / (1.0 - warm_up))
    return last + (1.0 - last) * 0.5 * (1.0 + math.cos(math.pi * along))


class _Trainer:
    """Module, optimiser, average, and how far they have come."""

    def __init__(self, module: nn.Module, task: Task, settings: Settings, groups: Sequence[Group]) -> None:
        torch.manual_seed(settings.seed)
        self.step = 0
        self.module, self.task, self.settings = module, task, settings
        self.device = settings.torch_device
        if settings.precision == "float16" and self.device.type != "cuda":
            raise TrainingError(
                got=f"precision float16 on device {self.device.type}, where small gradients would become 0",
                wanted="float16 on CUDA, where the loss is scaled",
                fix='Take precision "bfloat16" or "float32"',
            )
        module.to(self.device)
        self.parameters = [p for group in groups for p in group.parameters if p.requires_grad]
        if not self.parameters:
            raise TrainingError(got="no parameter that requires a gradient", wanted="something to train")
        self.optimiser = torch.optim.AdamW(
            [part for group in groups for part in _with_and_without_decay(group, settings.weight_decay)]
        )
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=settings.precision == "float16")
        self.average = Average(module, settings.average_decay)
        self._shown: dict[str, Tensor] | None = None  # the weights that train, while the average is validated
        self._train_mode()

    def advance(self, batches: Iterator[Any]) -> Entry:
        """Take one step; return its line of the log."""
        started, waited = time.perf_counter(), 0.0
        factor = rate_factor((self.step + 1) / self.settings.steps, warm_up=self.settings.warm_up,
            last=self.settings.last_rate)  # fmt: skip
        for group in self.optimiser.param_groups:
            group["lr"] = group["peak"] * factor
        self.optimiser.zero_grad(set_to_none=True)
        sums: dict[str, float] = {}
        for _ in range(self.settings.accumulate):
            asked = time.perf_counter()
            batch = to_device(next(batches), self.device)
            waited += time.perf_counter() - asked
            for name, value in self._backward(batch).items():
                sums[name] = sums.get(name, 0.0) + value / self.settings.accumulate
        self.scaler.unscale_(self.optimiser)
        norm = float(torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.gradient_norm))
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.step += 1
        self.average.update(self.module, self.step)
        return {
            "step": self.step,
            "loss": round(sum(sums.values()), 5),
            "terms": {name: round(value, 5) for name, value in sums.items()},
            "rate": round(factor, 5),
            "gradient_norm": round(norm, 4),
            "wait_s": round(waited, 4),
            "step_s": round(time.perf_counter() - started, 4),
        }

    def averaged(self) -> nn.Module:
        """Return the module with the averaged weights, in eval mode, until ``back_to_training``."""
        self._shown = {name: value.detach().clone() for name, value in self.module.state_dict().items()}
        self.module.load_state_dict(self.average.state)
        return self.module.eval()

    def back_to_training(self) -> None:
        """Undo ``averaged``."""
        if self._shown is not None:
            self.module.load_state_dict(self._shown)
            self._shown = None
        self._train_mode()

    def state(self) -> State:
        """Return everything that ``restore`` needs."""
        return {
            "module": self.module.state_dict(),
            "average": self.average.state,
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "generator": torch.get_rng_state(),
            "device_generators": torch.cuda.get_rng_state_all() if self.device.type == "cuda" else [],
            "step": self.step,
        }

    def restore(self, state: State) -> None:
        """Go on from a checkpoint."""
        self.module.load_state_dict(state["module"])
        self.average.state = {name: value.to(self.device) for name, value in state["average"].items()}
        self.optimiser.load_state_dict(state["optimiser"])
        self.scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["generator"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state_all(state["device_generators"])
        self.step = state["step"]

    def _backward(self, batch: Any) -> dict[str, float]:  # noqa: ANN401 - the task's own
        """Add the gradients of one batch; return the terms of its loss."""
        enabled = self.settings.precision != "float32"
        dtype = torch.float16 if self.settings.precision == "float16" else torch.bfloat16
        with torch.autocast(self.device.type, dtype, enabled=enabled):
            terms = self.task.losses(self.module, batch)
        total = torch.stack([term.float() for term in terms.values()]).sum()
        if not torch.isfinite(total):
            found = {name: float(term.detach()) for name, term in terms.items()}
            raise TrainingError(
                got=f"a loss that is not finite at step {self.step}: {found}",
                fix="Lower the rate, or train in float32; the last checkpoint is whole",
            )
        self.scaler.scale(total / self.settings.accumulate).backward()  # type: ignore[no-untyped-call]  # torch has no type
        return {name: float(term.detach()) for name, term in terms.items()}

    def _train_mode(self) -> None:
        """Set training mode, but leave batch norms alone whose own parameters are frozen."""
        self.module.train()
        for part in self.module.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm):  # noqa: SLF001 - the base of all batch norms
                part.train(any(p.requires_grad for p in part.parameters()))


class _Steps(Dataset[Any]):
    """The task's batches from ``start`` on, by number; for a batch that cannot be made, the error that says so.

    The error is returned because torch cannot raise it for a worker: it builds errors anew from their text alone.
    """

    def __init__(self, task: Task, start: int, stop: int) -> None:
        self.task, self.start, self.stop = task, start, stop

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, index: int) -> Any:  # noqa: ANN401 - the task's own
        step = self.start + index
        if index >= len(self):
            raise IndexError(step)
        try:
            return self.task.batch(step)
        except Exception as error:  # a task's code, and what it reads, may raise anything
            failure = TrainingError(
                got=f"batch {step} cannot be made: {type(error).__name__}: {error}",
                fix=f"To see it alone: task.batch({step})",
            )
            failure.__cause__ = error
            return failure


def _batches(task: Task, settings: Settings, start: int) -> Generator[Any]:
    """Yield the batches of all steps that are left, in order; ``TrainingError`` if one cannot be made."""
    steps = _Steps(task, start * settings.accumulate, settings.steps * settings.accumulate)
    for batch in _from_workers(steps, settings) if settings.workers else map(steps.__getitem__, range(len(steps))):
        if isinstance(batch, TrainingError):
            raise batch
        yield batch


def _from_workers(steps: _Steps, settings: Settings) -> DataLoader[Any]:
    # Spawned, not forked: a fork inherits torch's locks without the threads that hold them, and may wait for ever.
    return DataLoader(
        steps,
        batch_size=None,
        num_workers=settings.workers,
        prefetch_factor=_PREFETCH,
        collate_fn=_as_it_is,
        worker_init_fn=_begin_worker,
        multiprocessing_context="spawn",
        generator=torch.Generator(),  # its own: it would draw from the one that dropout uses
        pin_memory=settings.torch_device.type == "cuda",
    )


def to_device(value: Any, device: torch.device) -> Any:  # noqa: ANN401 - any nesting of containers
    """Return ``value`` with all tensors in it, in tuples, lists and dicts, on ``device``."""
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(to_device(item, device) for item in value))
    if isinstance(value, (tuple, list)):
        return type(value)(to_device(item, device) for item in value)
    if isinstance(value, dict):
        return {key: to_device(item, device) for key, item in value.items()}
    return value


def _as_it_is(batch: Any) -> Any:  # noqa: ANN401 - the task's own
    return batch


def _begin_worker(_worker: int) -> None:
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_the_run, daemon=True).start()


def _end_with_the_run() -> None:
    """End a worker whose run was killed: with its pipe full and nobody to read it, it would wait for ever."""
    run = multiprocessing.parent_process()
    if run is not None:
        run.join()
        os._exit(1)


def _all_trainable(module: nn.Module) -> Group:
    return Group([p for p in module.parameters() if p.requires_grad], rate=1e-3)


def _with_and_without_decay(group: Group, decay: float) -> list[dict[str, Any]]:
    """Return the optimiser's groups: norms and biases, which have one dimension, are not drawn to zero."""
    trainable = [p for p in group.parameters if p.requires_grad]
    parts = [([p for p in trainable if p.ndim > 1], decay), ([p for p in trainable if p.ndim <= 1], 0.0)]
    return [{"params": ps, "peak": group.rate, "lr": group.rate, "weight_decay": d} for ps, d in parts if ps]


def _warnings(entries: Sequence[Entry]) -> tuple[str, ...]:
    """Say what a reader of the curve would notice."""
    found = []
    waited, passed = sum(entry["wait_s"] for entry in entries), sum(entry["step_s"] for entry in entries)
    if passed and waited / passed > _SLOW_DATA:
        found.append(f"training waited for data {waited / passed:.0%} of the time: give it more workers")
    tenth = len(entries) // 10
    if tenth:
        first, last = (sum(e["loss"] for e in part) / tenth for part in (entries[:tenth], entries[-tenth:]))
        if last >= first:
            found.append(f"the loss did not fall: {first:.3f} at first, {last:.3f} in the end; try another rate")
    if entries and max(entry["gradient_norm"] for entry in entries[-max(1, tenth) :]) == 0.0:
        found.append("all gradients are zero: what is trained has no part in the loss")
    return tuple(found)
