"""What the registry of models holds for published models: attributes, each by the name of its card."""

from __future__ import annotations

from samaritan.models.published import entry, published_names
from samaritan.models.registry import ModelEntry


def __getattr__(name: str) -> ModelEntry:
    """Return the entry of a published model."""
    if name not in published_names():
        msg = f"module {__name__} has no attribute {name!r}"
        raise AttributeError(msg)
    return entry(name)
