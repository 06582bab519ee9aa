"""``samaritan models show``: what is known of a model, and where its weights are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from samaritan.cli._errors import Debug
from samaritan.cli._json import as_json
from samaritan.cli._options import Json

if TYPE_CHECKING:
    from samaritan.core.model import ModelCard

_WIDTH = 17  # of the names of facts


def show(
    name: Annotated[str, typer.Argument(metavar="NAME|DIR", help="A model in the list, or an exported one.")],
    as_json_: Json = False,
    debug: Debug = False,  # read by the guard around every verb
) -> None:
    """Show the card of a model."""
    from samaritan.models import model_card

    fields, checkpoint = card_fields(model_card(name)), checkpoint_fields(name)
    if as_json_:
        typer.echo(as_json({**fields, "checkpoint": checkpoint}))
        return
    told = {key: value for key, value in checkpoint.items() if value and key not in ("state", "unverified")}
    if files := checkpoint.get("unverified"):
        told["unverified"] = (
            f"{', '.join(files)}: nobody has published a SHA-256; what is fetched first is taken for it"
        )
    typer.echo(_card({**fields, "checkpoint": checkpoint["state"], **told}))


def card_fields(card: ModelCard) -> dict[str, Any]:
    """Return what is on a card, for JSON."""
    return {
        "name": card.name,
        "title": card.title,
        "family": card.family,
        "base": card.base,
        "licence": card.licence,
        "commercial_use": card.commercial_use,
        "dims": card.dims,
        "native_shape": list(card.native_shape),
        "prompts": sorted(card.prompts),
        "classes": {str(value): name for value, name in card.classes.items()},
        "channels": card.channels,
        "intensity_range": list(card.intensity_range),
        "ct_window": card.ct_window and list(card.ct_window),
        "normalisation": card.normalisation,
        "sha256": card.sha256,
        "training_data": list(card.training_data),
        "scores": dict(card.scores),
        "source": card.source,
    }


def checkpoint_fields(name: str) -> dict[str, Any]:
    """Return where the weights of a model are, and for those that can be fetched from where."""
    from samaritan.models import MODELS
    from samaritan.models.published import published, published_names

    if name not in MODELS:
        return {"state": "exported", "path": name}
    if name not in published_names():
        return {"state": MODELS.get(name).place}
    known = published(name)
    return {
        "state": known.state,
        "path": str(known.path),
        "bytes": known.bytes or None,
        "url": known.url,
        "licence_url": known.licence_url,
        "accept_licence": known.accept,
        "unverified": [part.file for part in known.parts if not part.hashes],
    }


def _card(fields: dict[str, Any]) -> str:
    """Return the card as aligned lines, without what is empty; long lists one entry a line."""
    told = {name: value for name, value in fields.items() if value or value is False}
    return "\n".join(f"{name:<{_WIDTH}}{_text(value)}" for name, value in told.items())


def _text(value: object) -> str:
    entries: object = value
    if isinstance(value, dict):
        entries = [f"{k}: {v:.4g}" if isinstance(v, float) else f"{k}: {v}" for k, v in value.items()]
    if not isinstance(entries, list):
        return str(value)
    joined = ", ".join(map(str, entries))
    return joined if len(joined) < 90 else ("\n" + " " * _WIDTH).join(map(str, entries))
