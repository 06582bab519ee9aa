"""Names of tensors: those of SAM 3's files on the Hugging Face hub, in terms of transformers' modules.

One file holds the detector of concepts and the tracker, which share their backbone::

    detector_model.vision_encoder.backbone.*    the backbone of both
    detector_model.*                            the rest of the detector
    tracker_neck.*                              what the tracker has between the backbone and its decoder
    tracker_model.*                             the rest of the tracker

Files of one of the two alone, as transformers saves them, are known as well. What a module does not use is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")

_DETECTOR = "detector_model."
# transformers puts this before the other prefixes where it saves what it did not read from such a file.
_TRACKER = re.compile(r"^(?:tracker_model\.)+")
_RENAMED = (
    (f"{_DETECTOR}vision_encoder.backbone.", "vision_encoder.backbone."),
    ("tracker_neck.", "vision_encoder.neck."),
)
# The detector, and the memory of other frames, which single pictures have no use for.
_NOT_OF_PICTURES = (
    _DETECTOR,
    "memory_",
    "mask_downsample.",
    "object_pointer_proj.",
    "temporal_positional_encoding_projection_layer.",
    "no_memory_positional_encoding",
    "no_object_pointer",
    "occlusion_spatial_embedding_parameter",
)


def to_tracker(tensors: Mapping[str, T]) -> dict[str, T]:
    """Return ``tensors`` by the names of transformers' ``Sam3TrackerModel``, without what that has not."""
    renamed = {_of_tracker(name): tensor for name, tensor in tensors.items()}
    return {name: tensor for name, tensor in renamed.items() if not name.startswith(_NOT_OF_PICTURES)}


def to_detector(tensors: Mapping[str, T]) -> dict[str, T]:
    """Return ``tensors`` by the names of transformers' ``Sam3Model``: of a file with both, the detector's alone."""
    own = {name.removeprefix(_DETECTOR): tensor for name, tensor in tensors.items() if name.startswith(_DETECTOR)}
    return own or dict(tensors)


def _of_tracker(name: str) -> str:
    name = _TRACKER.sub("", name)
    for prefix, replacement in _RENAMED:
        if name.startswith(prefix):
            return replacement + name.removeprefix(prefix)
    return name
