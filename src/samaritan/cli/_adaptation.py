"""What an adaptation is worth, and how it is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samaritan.cli._progress import Report
from samaritan.core.errors import MissingExtraError
from samaritan.data import DataSet
from samaritan.evaluate.asking import Looks
from samaritan.evaluate.protocols import PROTOCOLS
from samaritan.evaluate.runner import fixed, run
from samaritan.evaluate.scoring import PREDICTED
from samaritan.evaluate.store import Store
from samaritan.evaluate.subjects import Choice
from samaritan.evaluate.summary import differences, means
from samaritan.evaluate.tables import tables_of, write_tables
from samaritan.evaluate.unit import Plan, Settings
from samaritan.infer.memory import format_size
from samaritan.models import load_model
from samaritan.models.fingerprint import fingerprint

if TYPE_CHECKING:
    from samaritan.adapt.census import Census
    from samaritan.adapt.lesson import Lesson

PROTOCOLS_ASKED, NAMES_ASKED = ("box", "m1"), ("name",)
_NOTHING, _HARDLY = 0.002, 0.1  # of Dice
_ALONE = 2  # means of a single label: of all, and of it
_FOLDER, _PAGE = "evaluation", "report.html"


@dataclass(frozen=True, slots=True)
class Outcome:
    """Scores before and after on what was held out: for JSON, and as the adapter's card has them."""

    scores: list[dict[str, Any]] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)
    page: Path | None = None
    warnings: tuple[str, ...] = ()


def prove(lesson: Lesson, run_folder: Path, held: DataSet, *, progress: Report | None) -> Outcome:
    """Compare a base with what was made of it, on cases that were held out; nothing without such cases."""
    if not held.cases:
        return Outcome(warnings=("no patient was held out: nothing says whether the adapted model is any better",))
    whole = run_folder.resolve()  # a whole path, or a folder called "tiny" would be the model of that name
    base, adapted = lesson.base.card.name, f"{whole.name} (adapted)"
    named = lesson.kind.name == "semantic"
    loaders = {adapted: partial(load_model, str(whole), device=lesson.device)}
    if not named:  # a base knows no names
        loaders = {base: partial(load_model, base, weights=lesson.base.file, device=lesson.device)} | loaders
    protocols = NAMES_ASKED if named else PROTOCOLS_ASKED
    looks, seed = lesson.course.looks, lesson.course.seed
    choice = Choice(dims=3 if named and lesson.course.census.volumes else 2, labels=looks.labels, merged=named)
    plan = Plan(
        data=held,
        loaders=loaders,
        protocols=protocols,
        settings=Settings(choice=choice, looks=Looks(window=looks.window), seed=seed),
        store=Store(run_folder / _FOLDER),
        weights={base: lesson.base.sha256, adapted: fingerprint(str(whole))},
    )
    plan.store.begin({"fixed": fixed(plan), "models": list(loaders), "protocols": list(protocols),
                      "command": ["samaritan", "adapt"], "environment": {}})  # fmt: skip
    run(plan, progress=progress)
    tables = tables_of(plan)
    write_tables(plan, tables)
    rows = [row for row in tables.rows if row["choice"] == PREDICTED]
    scores = _by_label(rows, seed) if named else _compared(rows, seed)
    metrics = {f"Dice, {_about(one)}, held out": round(one["after"], 4) for one in scores}
    return Outcome(scores, metrics, _page(run_folder), tuple(_doubts(scores)))


def _about(score: Mapping[str, Any]) -> str:
    if "label" in score:
        return score["label"] or "all labels"
    return PROTOCOLS.get(score["protocol"]).title


def _compared(rows: Sequence[Mapping[str, Any]], seed: int) -> list[dict[str, Any]]:
    """Return Dice before and after, and the difference, by protocol."""
    scores = []
    for told in differences(rows, ["dice"], seed=seed):
        asked = [row for row in rows if row["protocol"] == told.protocol]
        before, after = (mean.interval.mean for mean in means(asked, ["dice"], seed=seed))
        scores.append({"protocol": told.protocol, "before": before, "after": after, **told.flat()})
    return scores


def _by_label(rows: Sequence[Mapping[str, Any]], seed: int) -> list[dict[str, Any]]:
    """Return Dice of what was found by name: of all labels together, then of each."""
    found = [*means(rows, ["dice"], seed=seed), *means(rows, ["dice"], within="label", seed=seed)]
    kept = found if len(found) > _ALONE else found[:1]
    return [
        {"protocol": one.protocol, "label": one.group, "after": one.interval.mean, "low": one.interval.low,
         "high": one.interval.high, "objects": one.interval.count}
        for one in kept
    ]  # fmt: skip


def _doubts(scores: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield what the comparison says against using what was learnt."""
    compared = [one for one in scores if "difference" in one]
    if compared and max(abs(one["difference"]) for one in compared) < _NOTHING:
        yield "nothing was learnt beyond the base: train longer, raise --set rate=..., or take another method"
    for one in scores:
        if "label" in one and one["after"] < _HARDLY:
            yield f"{one['label'] or 'all in all it'} is hardly found: train longer; report.html shows what was drawn"
    for one in compared:
        if one["difference"] < -_NOTHING:
            yield f"by {one['protocol']} it is worse than its base: more cases, or a lower --set rate=..., may help"


def warnings_of(found: Census, held: DataSet) -> list[str]:
    """Return what of the data a user should know."""
    told = [f"case {case} is left out: {why}" for case, why in found.unreadable.items()]
    if found.empty:
        told.append(f"{len(found.empty)} cases have nothing to teach: {', '.join(found.empty[:3])}")
    named = {name for case in held.cases if case.reference for name in case.reference.names.values()}
    untaught = sorted(named - found.cases.keys())
    if named and untaught and found.cases.keys() & named:
        told.append(f"labels that no training case has: {', '.join(untaught)}")
    return told


def expectation(told: Mapping[str, Any]) -> str:
    """Return what an adaptation would take, for people."""
    whole = timedelta(seconds=round(told["steps"] * told["step_s"]))
    share = told["learning"] / told["parameters"]
    return "\n".join(
        (
            f"learns: {told['learning']:,} of {told['parameters']:,} parameters ({share:.1%})",
            f"time: {told['step_s']:.2f} s a step, {told['steps']} steps: about {whole} h on this machine",
            f"memory: about {format_size(told['memory'])}",
            f"cases: {told['cases']} to train on, {told['held_out']} held out",
        )
    )


def in_words(told: Mapping[str, Any]) -> str:
    """Return what came of an adaptation, for people."""
    lines = [f"{told['method']} on {told['base']}: {told['steps']} steps, {', '.join(told['labels'])}"]
    lines += [_score(one) for one in told["scores"]]
    lines += [f"warning: {warning}" for warning in told["warnings"]]
    lines += [f"report: {told['report']}"] if told["report"] else []
    asking = "" if told["task"] == "semantic" else " ..."
    return "\n".join([*lines, f"model: {told['output']}   samaritan segment IMG --model {told['output']}{asking}"])


def _score(one: Mapping[str, Any]) -> str:
    if "label" in one:
        return f"{_about(one)}: Dice {one['after']:.3f} [{one['low']:.3f}, {one['high']:.3f}]"
    return (
        f"{one['protocol']}: Dice {one['before']:.3f} before, {one['after']:.3f} after; "
        f"{one['difference']:+.3f} [{one['low']:+.3f}, {one['high']:+.3f}], p {one['p_holm']:.3f}"
    )


def _page(run_folder: Path) -> Path | None:
    from samaritan.evaluate.report import write_report

    try:
        return write_report([run_folder / _FOLDER], run_folder / _PAGE)["page"]
    except MissingExtraError:
        return None  # the figures are told all the same
