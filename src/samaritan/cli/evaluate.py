"""``samaritan evaluate``: how well models segment a data set, by which prompts, and whether they differ."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from samaritan.cli._errors import Debug, UsageError
from samaritan.cli._json import as_json
from samaritan.cli._options import Device, Json
from samaritan.cli._progress import progress_bar
from samaritan.cli._select import Limit, Modality, Split, Where, chosen_cases
from samaritan.core.errors import SamaritanError, UnknownNameError, WriteError

if TYPE_CHECKING:
    from samaritan.cli._progress import Report
    from samaritan.data import DataSet
    from samaritan.evaluate.replay import Journal
    from samaritan.evaluate.runner import Ran
    from samaritan.evaluate.unit import Plan, Settings

_SOME_FAILED = 1
_LOOKED_AT = 20  # images, for channels that are named


def evaluate(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A folder, a table of cases, or a manifest.")],
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME|FILE", help="A model; may be repeated. By default tiny."),
    ] = None,
    protocol: Annotated[list[str] | None, typer.Option(metavar="NAME", help="How to ask; may be repeated.")] = None,
    suite: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="zero-shot, interactive, robustness or cvpr25.")
    ] = None,
    predictions: Annotated[
        list[Path] | None, typer.Option(metavar="DIR", help="Masks by others, called like the cases; may be repeated.")
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="OUT", help="Folder of the run.")] = Path(
        "evaluation"
    ),
    journal: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Ask what it holds again: the journal of a run or a session.")
    ] = None,
    labels: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only this label; may be repeated.")] = None,
    modality: Modality = None,
    split: Split = None,
    where: Where = None,
    limit: Limit = None,
    metrics: Annotated[str, typer.Option(metavar="NAME,...", help="What is measured.")] = "dice,iou,nsd,hd95",
    tolerance_mm: Annotated[float, typer.Option(min=0.0, help="Of NSD; the challenge's is 2.")] = 2.0,
    dims: Annotated[
        int | None, typer.Option(min=2, max=3, help="2: slices where objects are largest; 3: volumes as a whole.")
    ] = None,
    largest_piece: Annotated[bool, typer.Option("--largest-piece", help="Ask for the largest piece only.")] = False,
    min_share: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Of the image; smaller objects are left out.")
    ] = 0.0,
    most: Annotated[int, typer.Option(min=1, help="Objects of one label in an image, such as cells.")] = 20,
    window: Annotated[str | None, typer.Option(metavar="NAME|C,W", help="Intensity window.")] = None,
    channels: Annotated[str | None, typer.Option(metavar="RULE", help="Which channels a model sees.")] = None,
    device: Device = "auto",
    workers: Annotated[int, typer.Option(min=1, metavar="N", help="Processes.")] = 1,
    ray: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="A Ray cluster to work on: auto, host:port, or local.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of all that is drawn at random.")] = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it would take: time, memory, disk. Nothing is kept.")
    ] = False,
    as_json_: Json = False,
    debug: Debug = False,  # read by the guard around every verb
) -> None:
    """Measure how well models segment a data set.

    Without a protocol, a suite or a journal: m1, box, clicks. A run goes on where it was left: the same line again.
    Leaves with exit code 1 if some cases failed.
    """
    from samaritan.cli._evaluation import defined, expectation, found_by, in_words
    from samaritan.data import open_data
    from samaritan.evaluate.asked_for import present
    from samaritan.evaluate.planning import estimate
    from samaritan.evaluate.protocols import chosen, cvpr25
    from samaritan.evaluate.runner import fixed
    from samaritan.evaluate.tables import tables_of, write_tables

    asked_again = _journal(journal)
    if not math.isfinite(tolerance_mm):
        raise UsageError(got=f"--tolerance-mm {tolerance_mm}", wanted="a length in mm, such as 2")
    names = () if asked_again and not (protocol or suite) else chosen(protocol or (), suite or ())
    about = dims or (3 if _of_volumes(names, asked_again) else 2)
    settings = _settings(
        dims=about, labels=labels, largest_piece=largest_piece, min_share=min_share, most=most, metrics=metrics,
        tolerance_mm=tolerance_mm, window=window, channels=channels, seed=seed,
    )  # fmt: skip
    cases = chosen_cases(open_data(data), modality, split, where, limit)
    plan = _plan(cases, model, device, predictions, names, settings, output, asked_again)
    if ray and (dry_run or workers > 1):
        raise UsageError(
            got=f"--ray with {'--dry-run' if dry_run else '--workers'}", wanted="one of them",
            fix="The cluster decides how many work; a dry run is about this machine",
        )  # fmt: skip
    _require_channels(plan)
    if dry_run:
        with progress_bar(quiet=as_json_) as report:
            needed = estimate(plan, workers=workers, progress=report)
        typer.echo(as_json(asdict(needed) | {"workers": workers}) if as_json_ else expectation(needed, workers))
        return
    asked = {
        "fixed": fixed(plan),
        "models": list(plan.asked),
        "protocols": [*names, *(asked_again.protocols if asked_again else ())],
        "command": sys.argv,
        "environment": _versions(),
    }
    plan.store.begin(asked)
    with progress_bar(quiet=as_json_) as report:
        ran, failure = _run(plan, device=device, workers=workers, ray=ray, progress=report)
    tables = tables_of(plan)
    found = found_by(plan, ran, tables, write_tables(plan, tables))
    if failure is not None and not tables.rows:
        raise failure
    there = present(plan)
    there.require_some()
    for label in there.absent:
        typer.echo(f"warning: {UnknownNameError.of(label, kind='label', known=there.labels)}", err=True)
    if plan.settings.scorer.tolerance_mm != cvpr25.TOLERANCE_MM:
        found["challenge"] = []  # its scores have a tolerance of their own
    typer.echo(as_json(defined(found)) if as_json_ else in_words(found))
    if failure is not None:
        raise failure
    if found["errors"] or found["extra"]:
        raise typer.Exit(_SOME_FAILED)


def _journal(path: Path | None) -> Journal | None:
    """Return the journal that is to be asked again, once it is known to be one."""
    from samaritan.evaluate.replay import Journal

    if path is None:
        return None
    if not path.is_file():
        raise UsageError(got=f"--journal {path}, which is no file", wanted="journal.jsonl of a run, or of a session")
    found = Journal(path.resolve())
    _ = found.protocols  # reads it
    return found


def _of_volumes(names: Sequence[str], journal: Journal | None) -> bool:
    """Whether all that is asked is about volumes as a whole."""
    from samaritan.evaluate.protocols import PROTOCOLS

    return all(PROTOCOLS.get(name).dims == 3 for name in names) and (journal is None or journal.of_volumes)


def _settings(*, dims: int, metrics: str, **given: Any) -> Settings:  # noqa: ANN401
    """Return the settings, once all names are known to exist."""
    from samaritan.evaluate.asking import Looks
    from samaritan.evaluate.scoring import Scorer
    from samaritan.evaluate.subjects import Choice
    from samaritan.evaluate.unit import Settings
    from samaritan.infer.channels import rule_of
    from samaritan.infer.intensity import parse_window
    from samaritan.metrics.catalog import METRICS

    wanted = tuple(name.strip() for name in metrics.split(",") if name.strip())
    if not wanted:
        raise UsageError(got="--metrics without any", wanted=f"some of: {', '.join(METRICS)}")
    for name in wanted:
        METRICS.get(name)
    if given["window"] is not None and given["window"] != "file":
        parse_window(given["window"])
    rule_of(given["channels"])
    return Settings(
        choice=Choice(
            dims=3 if dims == 3 else 2,
            labels=tuple(given["labels"] or ()),
            piece=given["largest_piece"],
            least_share=given["min_share"],
            most=given["most"],
        ),
        scorer=Scorer(wanted, given["tolerance_mm"]),
        looks=Looks(given["window"], given["channels"]),
        seed=given["seed"],
    )


def _plan(
    cases: DataSet, model: list[str] | None, device: str, predictions: list[Path] | None, names: tuple[str, ...],
    settings: Settings, output: Path, journal: Journal | None,
) -> Plan:  # fmt: skip
    from samaritan.evaluate.store import Store
    from samaritan.evaluate.unit import Plan
    from samaritan.models import load_model, model_card
    from samaritan.models.device import require_device
    from samaritan.models.fingerprint import fingerprint

    require_device(device)
    models = list(dict.fromkeys(model or ([] if predictions else [model_card().name])))
    weights = {name: fingerprint(name) for name in models}  # so it is known that they are there
    for folder in predictions or ():
        if not folder.is_dir():
            raise UsageError(got=f"--predictions {folder}, which is no folder", wanted="a folder of masks")
    return Plan(
        data=cases,
        loaders={name: partial(load_model, name, device=device) for name in models},
        protocols=names,
        settings=settings,
        store=Store(output),
        folders={str(folder): folder for folder in predictions or ()},
        journal=journal,
        weights=weights,
    )


def _require_channels(plan: Plan) -> None:
    """Raise if channels are named that no image seems to have: it would be an error of each case.

    So many images are looked at, until one has them: one of each data set, modality and list of channels first.
    """
    from samaritan.data import read_image
    from samaritan.infer.channels import rule_of

    rule = rule_of(plan.settings.looks.channels)
    if not rule.names or plan.store.begun:
        return
    kinds = {(case.dataset, case.modality, case.channels): case for case in reversed(plan.data.cases)}
    first = [case for case in plan.data.cases if case in kinds.values()]
    others = [case for case in plan.data.cases if case not in first]
    refused: UnknownNameError | None = None
    for case in [*first, *others][:_LOOKED_AT]:
        try:
            rule.pick(read_image(plan.data.root, case))
        except UnknownNameError as error:
            refused = refused or error
        except SamaritanError:
            continue  # it is told when its turn comes
        else:
            return
    if refused is not None:
        count = min(len(plan.data.cases), _LOOKED_AT)
        raise UsageError(
            got=f"--channels {plan.settings.looks.channels}: {refused.got} in {count} images",
            wanted=refused.wanted,
            fix=refused.fix,
        )


def _run(
    plan: Plan, *, device: str, workers: int, ray: str | None, progress: Report | None
) -> tuple[Ran, SamaritanError | None]:
    """Carry out a plan; return what was done, and why no more was, if a model has failed on the way."""
    from samaritan.evaluate.runner import Ran, run, waiting_units

    done = 0

    def told(model: str, count: int, total: int) -> None:
        nonlocal done
        done = count
        if progress:
            progress(model, count, total)

    try:
        if ray is None:
            return run(plan, workers=workers, progress=told), None
        from samaritan.scale.evaluation import run_on_ray

        return run_on_ray(plan, address=ray, gpu=device in ("auto", "cuda"), progress=told), None
    except WriteError:
        raise  # nor could tables be written
    except SamaritanError as error:
        _, there = waiting_units(plan)
        return Ran(done, max(0, there - done), ()), error


def _versions() -> dict[str, str]:
    """Return what made the figures: versions and the machine."""
    import platform
    from importlib.metadata import version

    from samaritan._version import __version__

    found = {name: version(name) for name in ("numpy", "scipy", "onnxruntime")}
    return {"samaritan": __version__, "python": platform.python_version(), **found, "machine": platform.platform()}
