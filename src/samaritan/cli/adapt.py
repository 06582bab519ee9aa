"""``samaritan adapt``: teach a model a data set, and prove it on cases that it was not taught on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from samaritan.cli._adapt_compare import compare
from samaritan.cli._adapt_merge import merge
from samaritan.cli._errors import Debug, UsageError, guarded
from samaritan.cli._json import as_json
from samaritan.cli._options import Device, Json
from samaritan.cli._progress import progress_bar
from samaritan.cli._select import Limit, Modality, Where, chosen_cases
from samaritan.core.errors import MissingExtraError

if TYPE_CHECKING:
    from typer._click.core import Context  # typer gives the class no public name

    from samaritan.adapt.base import Base
    from samaritan.adapt.census import Census
    from samaritan.adapt.kind import Kind
    from samaritan.adapt.lesson import Lesson
    from samaritan.cli._progress import Report
    from samaritan.data import DataSet

_ALSO = "Also: samaritan adapt compare (several methods side by side), samaritan adapt merge (into the base's weights)."
_HELD_OUT = 0.2
_TRAIN, _HELD = ("train", "training"), ("test", "val", "validation")  # what splits are called
_FEWEST = 2  # patients: one to train on, one to judge by


class DataOrVerb(TyperGroup):
    """Takes `adapt DATA` for `adapt data DATA`, the verb that is there when none is said."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """Parse ``args`` once the verb that was left out stands in front."""
        return super().parse_args(ctx, args if args and args[0] in self.commands else ["data", *args])


def verbs() -> typer.Typer:
    """Return the group of verbs below ``adapt``."""
    group = typer.Typer(cls=DataOrVerb, rich_markup_mode=None, pretty_exceptions_enable=False)
    group.command("data", epilog=_ALSO)(guarded(adapt))
    passing = {"allow_extra_args": True, "ignore_unknown_options": True}
    group.command(context_settings=passing)(guarded(compare))
    group.command()(guarded(merge))
    return group


def adapt(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A folder, a table of cases, or a manifest.")],
    model: Annotated[str, typer.Option(metavar="NAME|FILE", help="The model to start from.")] = "tiny",
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A checkpoint to start from in place of that of --model.")
    ] = None,
    method: Annotated[str, typer.Option(metavar="NAME", help="How: lora, decoder, full, ...")] = "lora",
    setting: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Of the method; may be repeated.")
    ] = None,
    rank: Annotated[int | None, typer.Option(min=1, help="Of low-rank methods: --set rank=N.")] = None,
    task: Annotated[
        str, typer.Option(metavar="prompt|semantic", help="To be prompted, or to find labels alone.")
    ] = "prompt",
    head: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of --task semantic: decoder, cnn, linear, transformer, ...")
    ] = None,
    side: Annotated[
        int | None, typer.Option(min=32, metavar="PIXELS", help="Of --task semantic: longer side of what is seen.")
    ] = None,
    labels: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only this label; may be repeated.")] = None,
    modality: Modality = None,
    where: Where = None,
    limit: Limit = None,
    held_out: Annotated[
        float, typer.Option(min=0.0, max=0.9, help="Share of patients to judge by, where the data has no splits.")
    ] = _HELD_OUT,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps of training, in place of --minutes.")] = None,
    minutes: Annotated[float, typer.Option(min=0.1, help="How long to train, as fast as this machine is.")] = 5.0,
    images: Annotated[int, typer.Option(min=1, max=256, help="Pictures a step.")] = 8,
    window: Annotated[str | None, typer.Option(metavar="NAME|C,W", help="Window of CT, as for segment.")] = None,
    workers: Annotated[int, typer.Option(min=0, metavar="N", help="Processes that make batches.")] = 0,
    checkpointing: Annotated[
        bool, typer.Option("--checkpointing", help="Less memory for more time: features are computed twice.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same weights, on the CPU.")] = 0,
    device: Device = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would take. Nothing is kept.")] = False,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="RUN", help="Folder of the run.")] = Path("adapted"),
    as_json_: Json = False,
    debug: Debug = False,  # read by the guard around every verb
) -> None:
    """Adapt a model to a data set, and compare it with what it was on patients that were held out.

    RUN is then a model: samaritan segment IMG --model RUN. Killed, it goes on: the same line again.
    """
    try:
        from samaritan.adapt.adapter import WEIGHTS, write_card
        from samaritan.adapt.base import base_of
        from samaritan.adapt.census import Looks, census
        from samaritan.adapt.kind import Course
        from samaritan.adapt.lesson import Lesson, affordable, teach
        from samaritan.adapt.methods import settings_of
    except ModuleNotFoundError as error:
        raise MissingExtraError.of(what="adapting a model", extra="adapt") from error
    from samaritan.cli._adaptation import expectation, in_words, prove, warnings_of
    from samaritan.cli._report import peak_memory_mib
    from samaritan.data import open_data

    base = base_of(model, weights=weights)
    settings = _settings(setting, rank)
    settings_of(method, settings)  # one that is wrong is said before anything is read
    _require_task(task, head, side)
    if output.exists() and not output.is_dir():
        raise UsageError(got=f"-o {output}, which is a file", wanted="a folder, to be made if need be")
    looks = Looks(base.card, window=window, labels=tuple(labels or ()))
    taught, held = _parted(chosen_cases(open_data(data), modality, None, where, limit), held_out, seed)
    with progress_bar(quiet=as_json_) as report:
        found = census(taught.root, taught.cases, looks, partial(_counted, report, len(taught.cases)))
        course = Course(data=taught, census=found, looks=looks, steps=steps or 1, images=images, seed=seed)
        lesson = Lesson(
            base=base, kind=_kind(task, base, found, head, side), method=method, settings=settings, course=course,
            workers=workers, device=device, checkpointing=checkpointing,
        )  # fmt: skip
        lesson, expected = (lesson, None) if (begun := _begun(output)) and not dry_run else affordable(lesson)
    if expected is None:
        lesson = _as_begun(lesson, begun)
        steps = steps or begun["steps"]
    else:
        steps = steps or max(1, round(minutes * 60 / expected.step_s))
    lesson = replace(lesson, course=replace(lesson.course, steps=steps))
    if dry_run and expected:
        told = asdict(expected) | {"steps": steps, "cases": len(taught.cases), "held_out": len(held.cases)}
        typer.echo(as_json(told) if as_json_ else expectation(told))
        return
    with progress_bar(quiet=as_json_) as report:
        card, result = teach(lesson, output, name=output.resolve().name, on_step=partial(_stepped, report, steps))
        outcome = prove(lesson, output, held, progress=report)
    write_card(output, replace(card, metrics=outcome.metrics))
    told = {
        **card.sizes, "adapter_bytes": (output / WEIGHTS).stat().st_size, "step_s": round(result.step_s, 4),
        "seconds": round(result.seconds, 2), "peak_memory_mib": peak_memory_mib(),
        "output": str(output), "base": card.base, "task": task, "method": method, "steps": steps,
        "labels": list(card.labels),
        "cases": card.data, "held_out": len(held.cases), "empty": list(found.empty), "scores": outcome.scores,
        "warnings": [*warnings_of(found, held), *_halved(lesson, images), *result.warnings, *outcome.warnings],
        "report": None if outcome.page is None else str(outcome.page),
    }  # fmt: skip
    typer.echo(as_json(told) if as_json_ else in_words(told))


def _require_task(task: str, head: str | None, side: int | None) -> None:
    """Raise unless there is such a task, and what was given with it is of it."""
    from samaritan.adapt.kind import KINDS
    from samaritan.adapt.semantic.heads import HEADS

    KINDS.get(task)
    if task != "semantic" and (head is not None or side is not None):
        raise UsageError(
            got=f"--{'side' if head is None else 'head'} with --task {task}", wanted="--task semantic, or neither"
        )
    if head is not None:
        HEADS.get(head)


def _kind(task: str, base: Base, found: Census, head: str | None, side: int | None) -> Kind:
    from samaritan.adapt.kind import KINDS
    from samaritan.adapt.semantic.kind import DEFAULT_HEAD, Semantic

    if task == "semantic":
        return Semantic.fitting(base, found, head=head or DEFAULT_HEAD, side=side)
    return KINDS.get(task)()


def _settings(given: list[str] | None, rank: int | None) -> dict[str, Any]:
    """Return the settings of a method as they were typed."""
    pairs = [text.partition("=") for text in given or ()]
    odd = next((name + mark + value for name, mark, value in pairs if not (name and mark and value)), None)
    if odd is not None:
        raise UsageError(got=f"--set {odd}", wanted="NAME=VALUE, such as rank=8")
    return {name: value for name, _, value in pairs} | ({} if rank is None else {"rank": rank})


def _parted(data: DataSet, share: float, seed: int) -> tuple[DataSet, DataSet]:
    """Return the cases to train on, and those to judge by: by the data's own splits, or by patient."""
    from samaritan.data.splits import assign_splits

    splits = {case.id: case.split for case in data.cases}
    if not any(split in _TRAIN for split in splits.values()):
        patients = len({case.subject for case in data.cases})
        if share and patients < _FEWEST:
            raise UsageError(
                got=f"{patients} patient", wanted="two at least: one to train on, one to judge by",
                fix="--held-out 0 trains on all, and proves nothing",
            )  # fmt: skip
        shares = {_TRAIN[0]: 1 - share, _HELD[0]: share} if share else {_TRAIN[0]: 1.0}
        splits = assign_splits(data, shares, seed=seed)
    taught, held = (
        replace(data, cases=tuple(case for case in data.cases if splits[case.id] in names)) for names in (_TRAIN, _HELD)
    )
    return taught, held


def _begun(run: Path) -> dict[str, int]:
    """Return steps, pictures and batches a step of a run that was begun; nothing of one that was not."""
    import json

    path = run / "config.json"
    told = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    found = {name: told.get(name) for name in ("steps", "images", "accumulate")}
    return {name: n for name, n in found.items() if isinstance(n, int)} if None not in found.values() else {}


def _halved(lesson: Lesson, images: int) -> list[str]:
    if lesson.course.images == images:
        return []
    return [f"memory did not suffice for {images} pictures at once: {lesson.accumulate} batches of "
            f"{lesson.course.images} learnt in each step"]  # fmt: skip


def _as_begun(lesson: Lesson, begun: Mapping[str, int]) -> Lesson:
    """Return a lesson with batches as they were halved when its run began: another machine's memory is no other run."""
    if begun["images"] * begun["accumulate"] < lesson.course.images or begun["images"] > lesson.course.images:
        return lesson  # other pictures are wanted: it is another run
    return replace(lesson, course=replace(lesson.course, images=begun["images"]), accumulate=begun["accumulate"])


def _counted(report: Report | None, total: int, done: int) -> None:
    if report:
        report("looking at cases", done, total)


def _stepped(report: Report | None, steps: int, entry: Mapping[str, Any]) -> None:
    if report:
        report("training", entry["step"], steps)
