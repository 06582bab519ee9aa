"""A session as JSON: written, and read back with a check that image and model are those that it was made with."""

from __future__ import annotations

import hashlib
import json
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from samaritan.core.errors import SamaritanError, SessionError
from samaritan.core.geometry import AXES, Axis, Geometry
from samaritan.core.image import Image, Window
from samaritan.core.model import ModelCard
from samaritan.core.prompts import Prompts
from samaritan.infer.channels import DEFAULT_CHANNELS, Channels
from samaritan.session.history import Action, History

FORMAT = "samaritan-session"
VERSION = 1


@dataclass(frozen=True, slots=True)
class Options:
    """How a session looks at its image; see ``Session``."""

    window: Window | str | None
    axis: Axis | None
    channels: Channels


@dataclass(frozen=True, eq=False, slots=True)
class Saved:
    """What a document holds, besides the fingerprints that it was checked by."""

    history: History
    options: Options


def image_hash(image: Image) -> str:
    """Return the SHA-256 of an image's values, their type, shape and channels, whatever their order in memory."""
    digest = hashlib.sha256(f"{image.array.dtype.name} {image.array.shape} {image.channels}".encode())
    for slab in np.moveaxis(image.array, -1, 0):
        digest.update(np.ascontiguousarray(slab).data)
    return digest.hexdigest()


def write(history: History, image: Image, card: ModelCard, options: Options) -> str:
    """Return the document."""
    geometry, window, channels = image.geometry, options.window, options.channels
    return json.dumps(
        {
            "format": FORMAT,
            "version": VERSION,
            "model": {"name": card.name, "sha256": card.sha256},
            "image": {
                "sha256": image_hash(image),
                "shape": list(geometry.shape),
                "affine": geometry.affine.tolist(),
                "unit": geometry.unit,
            },
            "window": window if window is None or isinstance(window, str) else [float(v) for v in window],
            "axis": options.axis,
            "channels": {"rule": channels.rule, "names": list(channels.names)},
            "position": history.position,
            "actions": [_action_to_dict(action, geometry) for action in history.actions],
        }
    )


def read(text: str, image: Image, card: ModelCard) -> Saved:
    """Return what the document holds, if it was written with this image and model.

    Raises
    ------
    SessionError
        If it is no such document, or image or weights differ.
    GeometryMismatchError
        If the image lies on another grid.
    """
    try:
        entries = json.loads(text)
        if (entries["format"], entries["version"]) != (FORMAT, VERSION):
            raise SessionError(
                got=f"a session of format {entries['format']} {entries['version']}", wanted=f"{FORMAT} {VERSION}"
            )
        _require_same(entries, image, card)
        actions = tuple(_action_from_dict(entry, image.geometry) for entry in entries["actions"])
        position = operator.index(entries["position"])
        options = Options(_window(entries["window"]), _axis(entries["axis"]), _channels(entries.get("channels")))
        return Saved(History(actions, position), options)
    except SamaritanError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:  # whatever shape the JSON has
        raise SessionError(
            got=f"text that is no session ({type(error).__name__}: {error})", wanted="what Session.to_json returned"
        ) from error


def _require_same(entries: Mapping[str, Any], image: Image, card: ModelCard) -> None:
    if entries["model"]["sha256"] != card.sha256:
        raise SessionError(
            got=f"a session made with other weights (model '{entries['model']['name']}')",
            wanted=f"those of '{card.name}'",
            fix=f"Load the model '{entries['model']['name']}' of that version",
        )
    saved = entries["image"]
    image.geometry.require_match(Geometry(tuple(saved["shape"]), np.array(saved["affine"]), saved["unit"]), "a session")
    if saved["sha256"] != image_hash(image):
        raise SessionError(
            got="a session made on another image of the same grid",
            wanted="the image that it was made on",
            fix="Open that image",
        )


def _action_to_dict(action: Action, geometry: Geometry) -> dict[str, Any]:
    if action.prompt is None:
        return {"do": "reset"}
    [prompt] = Prompts(geometry, (action.prompt,)).to_dict()
    return {"do": "add", "object": action.object, "prompt": prompt}


def _action_from_dict(entry: Mapping[str, Any], geometry: Geometry) -> Action:
    if entry["do"] == "reset":
        return Action()
    if entry["do"] != "add":
        raise SessionError(got=f"an action '{entry['do']}'", wanted="add or reset")
    [prompt] = Prompts.from_dict(geometry, [entry["prompt"]]).items
    return Action(str(entry["object"]), prompt)


def _window(value: Any) -> Window | str | None:  # noqa: ANN401 - straight from JSON
    if value is None or isinstance(value, str):
        return value
    centre, width = value
    return (float(centre), float(width))


def _axis(value: Any) -> Axis | None:  # noqa: ANN401 - straight from JSON
    if value is not None and value not in AXES:
        raise SessionError(got=f"axis {value!r}", wanted="i, j, k or nothing")
    axis: Axis | None = value
    return axis


def _channels(value: Any) -> Channels:  # noqa: ANN401 - straight from JSON
    if value is None:  # written before there was a choice
        return DEFAULT_CHANNELS
    return Channels(str(value["rule"]), tuple(map(str, value["names"])))
