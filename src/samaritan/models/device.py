"""The devices that a model can be asked to run on."""

from __future__ import annotations

from samaritan.core.errors import UnknownNameError

DEVICES = ("auto", "cpu", "cuda", "mps")


def require_device(device: str) -> None:
    """Raise ``UnknownNameError`` unless ``device`` is one of ``DEVICES``."""
    if device not in DEVICES:
        raise UnknownNameError.of(device, kind="device", known=DEVICES)
