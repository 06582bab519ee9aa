"""What a run found, as JSON: printed with ``--json``, and kept beside the output."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samaritan.cli._json import as_json
from samaritan.core.geometry import Geometry
from samaritan.core.image import Image
from samaritan.core.process import peak_rss
from samaritan.infer.channels import Channels, rule_of
from samaritan.infer.memory import MIB


def grid_report(geometry: Geometry) -> dict[str, Any]:
    """Return shape, spacing in mm and orientation; the last two None where the scale is unknown."""
    spacing = geometry.spacing_mm
    return {
        "shape": list(geometry.shape),
        "spacing_mm": None if spacing is None else [round(s, 6) for s in spacing],
        "orientation": geometry.orientation,
    }


def channel_report(image: Image, channels: Channels | None) -> dict[str, Any]:
    """Return the rule for channels, and which of those of ``image`` it used or found missing."""
    rule = rule_of(channels)
    picked = rule.pick(image)
    return {"rule": str(rule), "used": list(picked.used), "missing": list(picked.missing)}


def object_report(name: str, mask: NDArray[np.bool_], score: float, geometry: Geometry) -> dict[str, Any]:
    """Return size, place and predicted IoU of one object; ``mask`` is (i, j, k) on ``geometry``."""
    voxels = int(np.count_nonzero(mask))
    return {
        "label": name,
        "voxels": voxels,
        **_size(voxels, geometry),
        "predicted_iou": round(score, 4) if math.isfinite(score) else None,
        "bounding_box": _bounding_box(mask) if voxels else None,
    }


def peak_memory_mib() -> float:
    """Return the most memory that this process has held, in MiB; 0 where the system does not tell."""
    return round(peak_rss() / MIB, 1)


def write_report(report: Mapping[str, Any], path: Path) -> None:
    """Write ``report`` as JSON, whole or not at all."""
    from samaritan.io.atomic import atomic_path

    with atomic_path(path) as staged:
        staged.write_text(as_json(report) + "\n", encoding="utf-8")


def _size(voxels: int, geometry: Geometry) -> dict[str, float]:
    volume_mm3 = geometry.voxel_volume_mm3
    if volume_mm3 is None:
        return {"area_pixels" if geometry.is_2d else "volume_voxels": voxels}
    if geometry.is_2d:
        return {"area_mm2": round(voxels * volume_mm3 / geometry.spacing[2], 3)}
    return {"volume_ml": round(voxels * volume_mm3 / 1000, 4)}


def _bounding_box(mask: NDArray[np.bool_]) -> dict[str, list[int]]:
    """Return the half-open block of voxels that holds a mask, as ``start`` and ``stop``."""
    spans = [np.flatnonzero(mask.any(axis=tuple(b for b in range(3) if b != a))) for a in range(3)]
    return {"start": [int(s[0]) for s in spans], "stop": [int(s[-1]) + 1 for s in spans]}
