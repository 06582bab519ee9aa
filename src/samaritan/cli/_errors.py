"""What a person sees when something goes wrong: one sentence on stderr, an exit code, and no traceback."""

from __future__ import annotations

import errno
import traceback
from collections.abc import Callable
from functools import wraps
from typing import Annotated, ParamSpec

import typer

from samaritan.cli._stop import reason, terminable
from samaritan.core.errors import SamaritanError, status_of

P = ParamSpec("P")
WRONG_USAGE = 2

Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


class UsageError(SamaritanError, ValueError):
    """A command line that cannot be understood."""

    code = "usage"


def guarded(run: Callable[P, None]) -> Callable[P, None]:
    """Return the verb ``run`` (with a keyword ``debug``) so that errors end it with a sentence and an exit code."""

    @wraps(run)
    def guard(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            with terminable():
                run(*args, **kwargs)
        except (typer.Exit, typer.Abort, BrokenPipeError):
            raise  # typer's own ways to leave
        except KeyboardInterrupt as stop:
            word, code = reason(stop)
            typer.echo(word, err=True)
            raise typer.Exit(code) from None
        except Exception as error:  # the outermost layer: whatever it is, a person has to be told in a sentence
            if kwargs.get("debug"):
                traceback.print_exc()
            typer.echo(f"error: {describe(error)}", err=True)
            raise typer.Exit(exit_code(error)) from None

    return guard


def exit_code(error: Exception) -> int:
    """Return the exit code for ``error``: 2 for a wrong command line, 1 for a case that failed."""
    if isinstance(error, UsageError):
        return WRONG_USAGE
    return status_of(error).exit if isinstance(error, SamaritanError) else 1


def describe(error: Exception) -> str:
    """Return what happened and what to do next, in a line."""
    if isinstance(error, SamaritanError):
        return str(error)
    if isinstance(error, MemoryError):
        return "out of memory. Close other programs, or give --max-memory a smaller size."
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        fix = " Free some space, or write elsewhere." if error.errno == errno.ENOSPC else ""
        return f"{where}{error.strerror or error}.{fix}"
    return (
        f"{type(error).__name__}: {error}. This is a mistake in Samaritan, not yours: "
        "run the same line with --debug and report what it shows."
    )
