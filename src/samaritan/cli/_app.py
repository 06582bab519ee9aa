"""The table of verbs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from samaritan._version import __version__
from samaritan.cli import (
    adapt,
    cache,
    convert,
    demo,
    evaluate,
    export,
    info,
    inspect,
    models,
    report,
    segment,
    synthesize,
)
from samaritan.cli._errors import guarded
from samaritan.cli._order import OrderedCommand

_HELP = "Segment Anything for medical images: prompt any scan, get a mask back in the right place."


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"samaritan {__version__}")
        raise typer.Exit


_Version = Annotated[
    bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version, and leave.")
]


def _options(version: _Version = False) -> None:
    """Take the options that come before the verb; the callback has dealt with them."""


def program() -> Callable[..., Any]:
    """Return the program: call it with ``args``; it leaves with the exit code."""
    app = typer.Typer(
        help=_HELP, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
    )
    app.callback()(_options)
    app.command(cls=OrderedCommand)(guarded(segment.segment))
    app.command()(guarded(info.info))
    app.command()(guarded(inspect.inspect))
    app.command()(guarded(evaluate.evaluate))
    app.command()(guarded(report.report))
    app.add_typer(adapt.verbs(), name="adapt", help=adapt.adapt.__doc__)
    app.command()(guarded(convert.convert))
    app.add_typer(models.verbs(), name="models")
    app.command()(guarded(export.export))
    app.command()(guarded(cache.cache))
    app.command()(guarded(synthesize.synthesize))
    app.command()(guarded(demo.demo))
    return typer.main.get_command(app)
