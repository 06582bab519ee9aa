"""Segment Anything for medical images: prompt any scan, get a mask back in the right place.

::

    image = samaritan.read("ct.nii.gz")
    session = samaritan.Session(samaritan.load_model(), image)
    session.add(samaritan.Box((120, 140, 40), (220, 260, 60)))
    samaritan.write(session.labels, "liver.nii.gz")

The names below are loaded when they are first used, so that ``import samaritan`` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from samaritan._version import __version__

if TYPE_CHECKING:
    from samaritan.core.errors import SamaritanError
    from samaritan.core.geometry import Geometry
    from samaritan.core.image import Image, LabelMap
    from samaritan.core.model import Embedding, Model, ModelCard, Prediction
    from samaritan.core.prompts import Box, Lasso, MaskPrompt, Point, Prompts, Scribble, Text
    from samaritan.infer import Segmentation, segment
    from samaritan.io import read, read_labels, write
    from samaritan.models import load_model, model_card
    from samaritan.session import Session

__all__ = [
    "Box",
    "Embedding",
    "Geometry",
    "Image",
    "LabelMap",
    "Lasso",
    "MaskPrompt",
    "Model",
    "ModelCard",
    "Point",
    "Prediction",
    "Prompts",
    "SamaritanError",
    "Scribble",
    "Segmentation",
    "Session",
    "Text",
    "__version__",
    "load_model",
    "model_card",
    "read",
    "read_labels",
    "segment",
    "write",
]

_HOMES = {
    "samaritan.core.errors": ("SamaritanError",),
    "samaritan.core.geometry": ("Geometry",),
    "samaritan.core.image": ("Image", "LabelMap"),
    "samaritan.core.model": ("Embedding", "Model", "ModelCard", "Prediction"),
    "samaritan.core.prompts": ("Box", "Lasso", "MaskPrompt", "Point", "Prompts", "Scribble", "Text"),
    "samaritan.infer": ("Segmentation", "segment"),
    "samaritan.io": ("read", "read_labels", "write"),
    "samaritan.models": ("load_model", "model_card"),
    "samaritan.session": ("Session",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        msg = f"module 'samaritan' has no attribute '{name}'"
        raise AttributeError(msg)
    value: object = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
