"""``samaritan adapt compare``: methods side by side on the same data."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from samaritan.cli._errors import Debug, UsageError
from samaritan.cli._json import as_json
from samaritan.cli._options import Json
from samaritan.core.errors import TrainingError

_TABLE = "comparison.csv"
_COLUMNS = (
    "method", "learning", "parameters", "adapter_bytes", "step_s", "seconds", "peak_memory_mib", "steps", "asked",
    "before", "after", "difference", "low", "high",
)  # fmt: skip


def compare(
    ctx: typer.Context,
    data: Annotated[Path, typer.Argument(metavar="DATA", help="As for samaritan adapt.")],
    method: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Repeat it: lora, decoder, ...")] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="OUT", help="A folder; a run each below it.")
    ] = Path("compared"),
    as_json_: Json = False,
    debug: Debug = False,  # read by the guard around every verb
) -> None:
    """Adapt a model by several methods, and say what each takes and brings.

    All other options are those of samaritan adapt, and the same for all. Each method has its own process, so that its
    memory is its own; killed, the same line goes on.
    """
    from samaritan.adapt.methods import METHODS
    from samaritan.io.atomic import atomic_path

    if str(data).startswith("-"):
        raise UsageError(got=f"{data} where DATA should be", wanted="DATA first: samaritan adapt compare DATA ...")
    names = tuple(dict.fromkeys(method or METHODS))
    for name in names:
        METHODS.get(name)
    if output.exists() and not output.is_dir():
        raise UsageError(got=f"-o {output}, which is a file", wanted="a folder, to be made if need be")
    failed: dict[str, str] = {}
    rows: list[dict[str, Any]] = []
    for name in names:
        told = _adapted(data, name, output / name, ctx.args)
        if isinstance(told, str):
            failed[name] = told
            typer.echo(f"{name}: {told}", err=True)
        else:
            rows += _rows(name, told)
    if not rows:
        raise TrainingError(got=f"no method that could be tried: {'; '.join(failed.values())}")
    with atomic_path(output / _TABLE) as staged:
        staged.write_text(_csv(rows), encoding="utf-8")
    typer.echo(as_json({"rows": rows, "failed": failed, "table": str(output / _TABLE)}) if as_json_ else _shown(rows))


def _adapted(data: Path, method: str, run: Path, options: Sequence[str]) -> dict[str, Any] | str:
    """Return what ``samaritan adapt --json`` tells of a method, or its error; its progress is seen as it goes on."""
    line = [sys.executable, "-m", "samaritan.cli", "adapt", str(data), "--method", method, "-o", str(run), "--json"]
    done = subprocess.run([*line, *options], capture_output=True, text=True, check=False)  # noqa: S603  # ourselves
    if done.returncode:
        return done.stderr.strip().removeprefix("error: ") or f"exit code {done.returncode}"
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def _rows(method: str, told: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each way in which what came of a method was asked; one if nothing was held out to ask about."""
    shared = {name: told[name] for name in ("learning", "parameters", "adapter_bytes", "step_s", "seconds",
                                            "peak_memory_mib", "steps")}  # fmt: skip
    scores = told["scores"] or [{}]
    return [
        {"method": method, **shared, "asked": one.get("label", one.get("protocol", "")) or "all labels"}
        | {name: one.get(name) for name in ("before", "after", "difference", "low", "high")}
        for one in scores
    ]


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()


def _shown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the table for people: a line a method and way of asking."""
    head = ("method", "learns", "adapter", "s/step", "memory", "asked by", "before", "after", "difference")
    cells = [head, *map(_cells, rows)]
    widths = [max(len(line[n]) for line in cells) for n in range(len(head))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in cells)


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    from samaritan.infer.memory import format_size

    def number(name: str, form: str = ".3f") -> str:
        return "" if row[name] is None else format(row[name], form)

    share = f"{row['learning']:,} ({row['learning'] / row['parameters']:.1%})"
    between = "" if row["difference"] is None else f"{row['difference']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]"
    return (
        row["method"], share, format_size(row["adapter_bytes"]), number("step_s", ".2f"),
        format_size(round(row["peak_memory_mib"] * 2**20)), row["asked"], number("before"), number("after"), between,
    )  # fmt: skip
