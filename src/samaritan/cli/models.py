"""``samaritan models``: which models there are, and what is known about one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from samaritan.cli._errors import Debug
from samaritan.cli._json import as_json
from samaritan.cli._options import Json

if TYPE_CHECKING:
    from samaritan.core.model import ModelCard


def models(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Show the card of this model.")] = None,
    as_json_: Json = False,
    debug: Debug = False,  # read by the guard around every verb
) -> None:
    """List models, or show a card."""
    from samaritan.models import DEFAULT_MODEL, MODELS, model_card

    if name is not None:
        fields = _fields(model_card(name))
        typer.echo(as_json(fields) if as_json_ else _card(fields))
        return
    cards = [model_card(known) for known in MODELS]
    if as_json_:
        typer.echo(as_json([_fields(card) for card in cards]))
        return
    for card in cards:
        mark = "  (default)" if card.name == DEFAULT_MODEL else ""
        typer.echo(f"{card.name:<12} {card.dims}D  {card.licence:<14} {card.title}{mark}")


def _fields(card: ModelCard) -> dict[str, Any]:
    return {
        "name": card.name,
        "title": card.title,
        "family": card.family,
        "licence": card.licence,
        "commercial_use": card.commercial_use,
        "dims": card.dims,
        "native_shape": list(card.native_shape),
        "prompts": sorted(card.prompts),
        "channels": card.channels,
        "sha256": card.sha256,
        "training_data": list(card.training_data),
        "scores": dict(card.scores),
        "source": card.source,
    }


def _card(fields: dict[str, Any]) -> str:
    """Return the card as aligned lines; long lists one entry a line."""
    return "\n".join(f"{name:<15}{_text(value)}" for name, value in fields.items())


def _text(value: object) -> str:
    entries = [f"{k}: {v:.4g}" for k, v in value.items()] if isinstance(value, dict) else value
    if not isinstance(entries, list):
        return str(value)
    joined = ", ".join(map(str, entries))
    return joined if len(joined) < 90 else ("\n" + " " * 15).join(map(str, entries))
