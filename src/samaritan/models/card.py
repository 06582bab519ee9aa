"""Model cards as TOML files beside the weights, and the check that the weights are those of the card.

A card file has the fields of ``ModelCard`` (``prompts`` and ``training_data`` as lists), a table ``[scores]`` of
figures by name, and a table ``[files]`` of SHA-256 by file name. The card's own ``sha256`` is that of this table, so it
identifies the model however many files it has. Cards of published checkpoints have a table ``[checkpoint]`` besides,
those of bundles ``[bundle]``; see ``published`` and ``bundle``.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from samaritan.core.errors import ChecksumError, WeightsError
from samaritan.core.model import ModelCard


def read_card(path: Path) -> ModelCard:
    """Return the card in a TOML file.

    Raises
    ------
    WeightsError
        If the file is missing, is no TOML, or lacks or adds a field.
    """
    fields = load_card(path)
    for table in ("checkpoint", "bundle"):
        fields.pop(table, None)
    fields["sha256"] = _fingerprint(fields.pop("files", {}))
    fields["prompts"] = frozenset(fields.get("prompts", ()))
    fields["classes"] = {int(value): name for value, name in fields.get("classes", {}).items()}
    for name in ("native_shape", "intensity_range", "training_data", "ct_window"):
        if name in fields:
            fields[name] = tuple(fields[name])
    try:
        return ModelCard(**fields)
    except TypeError as error:
        raise WeightsError(got=f"model card {path.name} with fields {sorted(fields)}", wanted=str(error)) from error


def read_weights(card: Path, weights: Path) -> bytes:
    """Return the content of a weights file, checked against the card file that lists it.

    The bytes that were checked are the ones returned: nothing is read twice.

    Raises
    ------
    WeightsError
        If the file is not there, or the card does not list it.
    ChecksumError
        If its SHA-256 is not the one on the card.
    """
    listed, name = load_card(card).get("files", {}), weights.name
    if name not in listed:
        raise WeightsError(got=f"no weights file '{name}' on card {card.name}", wanted=f"one of: {sorted(listed)}")
    try:
        content = weights.read_bytes()
    except OSError as error:
        raise WeightsError(
            got=f"weights file {name} cannot be read ({error.strerror})",
            wanted=f"it in {weights.parent}",
            fix="Install samaritan again: pip install --force-reinstall samaritan",
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != listed[name]:
        raise ChecksumError(
            got=f"weights file {name} with SHA-256 {found[:12]}…",
            wanted=f"{listed[name][:12]}… as its card says",
            fix="The file is damaged; install samaritan again: pip install --force-reinstall samaritan",
        )
    return content


def load_card(path: Path) -> dict[str, Any]:
    """Return what a card file holds.

    Raises
    ------
    WeightsError
        If it is missing or no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WeightsError(got=f"model card {path} cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise WeightsError(got=f"model card {path} is no TOML: {error}") from error


def _fingerprint(files: Mapping[str, str]) -> str:
    table = "".join(f"{name} {files[name]}\n" for name in sorted(files))
    return hashlib.sha256(table.encode()).hexdigest()
