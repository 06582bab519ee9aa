"""``samaritan models``: which models there are, what is known of each, and how their checkpoints come here."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

from samaritan.cli._cards import card_fields, checkpoint_fields, show
from samaritan.cli._checkpoints import inspect, pull
from samaritan.cli._errors import Debug, guarded
from samaritan.cli._json import as_json
from samaritan.cli._options import Json

if TYPE_CHECKING:
    from typer._click.core import Context  # typer gives the class no public name

_HELP = """List models, show their cards, fetch their checkpoints, and say what is in a file.

`samaritan models` alone lists them; `samaritan models NAME` shows the card of one.
"""
_COLUMNS = ("name", "dims", "licence", "commercial", "family", "checkpoint", "title")


class _NameOrVerb(TyperGroup):
    """Takes `models` for `models list`, and `models NAME` for `models show NAME`."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """Parse ``args`` once the verb that was left out stands in front."""
        # No option before the verb has a value: the first word that is no option is the verb or a name.
        word = next((arg for arg in args if not arg.startswith("-")), None)
        if word is None:
            args = args if "--help" in args else ["list", *args]
        elif word in self.commands:
            place = args.index(word)
            args = [word, *args[:place], *args[place + 1 :]]
        else:
            args = ["show", *args]
        return super().parse_args(ctx, args)


def verbs() -> typer.Typer:
    """Return the group of verbs below ``models``."""
    group = typer.Typer(cls=_NameOrVerb, help=_HELP, rich_markup_mode=None, pretty_exceptions_enable=False)
    group.command("list")(guarded(list_))
    for verb in (show, pull, inspect):
        group.command()(guarded(verb))
    return group


def list_(as_json_: Json = False, debug: Debug = False) -> None:  # debug is read by the guard around every verb
    """List all models, and whether their checkpoints are here."""
    from samaritan.models import DEFAULT_MODEL, MODELS, model_card

    found = [{**card_fields(model_card(name)), "checkpoint": checkpoint_fields(name)} for name in MODELS]
    typer.echo(as_json(found) if as_json_ else _table(found, default=DEFAULT_MODEL))


def _table(found: list[dict[str, Any]], *, default: str) -> str:
    """Return the list as columns; on a terminal, titles end where the line does."""
    rows = [_COLUMNS] + [
        (
            model["name"] + (" (default)" if model["name"] == default else ""),
            f"{model['dims']}D",
            model["licence"],
            "yes" if model["commercial_use"] else "no",
            model["family"],
            model["checkpoint"]["state"],
            model["title"],
        )
        for model in found
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS) - 1)]
    lines = ("  ".join((*map(str.ljust, row, widths), row[-1])) for row in rows)
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    return "\n".join(line if columns is None or len(line) <= columns else f"{line[: columns - 1]}…" for line in lines)
