"""The real cases that train the `tiny` model: which may be used, and 2D views of them ready to sample from.

Only cases marked `use: train` in `cases.jsonl` are ever opened. Cases are grouped into *families* (all data sets drawn
from one collection, so that no patient can stand in two families); some families are held out to watch training.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import nibabel
import numpy as np
import tifffile
from numpy.typing import NDArray

from samaritan.adapt.prompted.view import View
from samaritan.io.atomic import atomic_path

Array = NDArray[Any]

# Data sets that share a collection, and so perhaps patients. Every other data set is a family of its own.
FAMILIES = {
    "acdc2d": "acdc",
    "acdc3d": "acdc",
    "spider_t2": "spider",
    "lumbar_spine": "spider",
    "wbc_1": "wbc",
    "wbc_2": "wbc",
    "idrid_ex": "idrid",
    "idrid_od": "idrid",
    "dsb2018": "dsb2018",
    "stardist2d": "dsb2018",
}
VALIDATION_FAMILIES = frozenset({"brisc2025", "carotid", "drishti"})
KEPT_OUT = frozenset({"ibsi_sts"})  # marked for training, but the benchmark measures 3D boxes on it
LABELS_ONLY = "synthseg_labels_only"  # brain label maps without images, for synthesis

LONGEST_SIDE = 640  # of a cached view, in pixels
SHORTEST_SIDE = 48  # thinner views are the side views of thick-sliced volumes
SLICES_AN_AXIS = 24
MIN_OBJECT_PX = 24
MAX_OBJECTS_A_LABEL = 24
_LISTED = ("family", "modality", "objects", "structures", "case")  # of a view, in the index; the rest are arrays
CT_WINDOWS = ((40.0, 400.0), (-600.0, 1500.0), (300.0, 1500.0), (50.0, 150.0), (20.0, 900.0))  # centre, width in HU


@dataclass(frozen=True)
class Case:
    """One line of `cases.jsonl`."""

    id: str
    dataset: str
    image: Path
    mask: Path
    is_3d: bool
    is_instances: bool
    modality: str
    licence: str

    @property
    def family(self) -> str:
        """The collection it comes from."""
        return FAMILIES.get(self.dataset, self.dataset)


def training_cases(data: Path) -> list[Case]:
    """List the cases that may train shipped weights, after checking that no family is also one to evaluate on."""
    lines = [json.loads(line) for line in (data / "cases.jsonl").read_text(encoding="utf-8").splitlines() if line]
    family = {line["id"]: FAMILIES.get(line["dataset"], line["dataset"]) for line in lines}
    evaluated = {family[line["id"]] for line in lines if line["use"] != "train"}
    shared = evaluated & {family[line["id"]] for line in lines if line["use"] == "train"}
    if shared:
        message = f"families {sorted(shared)} stand in both train and evaluate cases: patients could leak"
        raise ValueError(message)
    return [
        Case(
            id=line["id"],
            dataset=line["dataset"],
            image=data / line["image"],
            mask=data / line["mask"],
            is_3d=line["ndim"] == 3,
            is_instances=line["mask_type"].startswith("instance"),
            modality=line["modality"],
            licence=line["licence"],
        )
        for line in lines
        if line["use"] == "train" and line["dataset"] not in KEPT_OUT
    ]


def load_views(data: Path, cache: Path) -> list[View]:
    """Return every training case as 2D views, from `cache` (.npz) if it was made of the same cases; else make it."""
    cases = training_cases(data)
    views = read_cache(cache, made_of=[case.id for case in cases])
    if views is not None:
        return views
    rng = np.random.default_rng(0)
    views = [replace(view, case=case.id) for case in cases for view in _views_of(case, rng)]
    for path in sorted((data / LABELS_ONLY).glob("*/mask.nii.gz")):
        views += _volume_views(LABELS_ONLY, LABELS_ONLY, None, path, is_instances=False, rng=rng)
    write_cache(views, cache, made_of=[case.id for case in cases])
    return views


def split(views: list[View], held_out: frozenset[str] = VALIDATION_FAMILIES) -> tuple[list[View], list[View]]:
    """Part the views into those that train and those that are held out: of the families, or the cases, named."""
    held = [view for view in views if view.family in held_out or view.case in held_out]
    return [view for view in views if view.family not in held_out and view.case not in held_out], held


def by_family(views: Sequence[View]) -> dict[str, list[View]]:
    """Return the views that have a picture, by family."""
    families: dict[str, list[View]] = {}
    for view in views:
        if view.image is not None:
            families.setdefault(view.family, []).append(view)
    return families


def _views_of(case: Case, rng: np.random.Generator) -> list[View]:
    if case.is_3d:
        return _volume_views(case.family, case.modality, case.image, case.mask, is_instances=case.is_instances, rng=rng)
    image, labels = _read_raster(case.image), _read_raster(case.mask)
    labels = labels[..., 0] if labels.ndim == 3 else labels
    view = _make_view(case.family, case.modality, image, labels, is_instances=case.is_instances)
    return [view] if view.objects else []


def _read_raster(path: Path) -> Array:
    """Read a raster image as (h, w) or RGB (h, w, 3), in its own integer type."""
    if path.suffix in {".tif", ".tiff"}:
        return np.asarray(tifffile.imread(path))
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        message = f"cannot read {path}"
        raise OSError(message)
    return cv2.cvtColor(pixels[..., :3], cv2.COLOR_BGR2RGB) if pixels.ndim == 3 else pixels


def _volume_views(
    family: str, modality: str, image: Path | None, mask: Path, *, is_instances: bool, rng: np.random.Generator
) -> list[View]:
    """Slices of a volume along all three axes, spread evenly over those that hold an object."""
    file = nibabel.load(mask)
    labels = np.asarray(file.dataobj).astype(np.int32)
    voxels = None if image is None else np.asarray(nibabel.load(image).dataobj).astype(np.float32)
    spacing = np.asarray(file.header.get_zooms()[:3], float)
    views = []
    for axis in range(3):
        planes = np.moveaxis(labels, axis, 0)
        filled = np.flatnonzero((planes > 0).sum(axis=(1, 2)) >= MIN_OBJECT_PX)
        chosen = filled[np.linspace(0, len(filled) - 1, min(SLICES_AN_AXIS, len(filled))).astype(int)]
        for index in chosen:
            pixels = None if voxels is None else _to_grey(np.moveaxis(voxels, axis, 0)[index], voxels, rng)
            aspect = np.delete(spacing, axis)
            view = _make_view(family, modality, pixels, planes[index], is_instances=is_instances, aspect=aspect)
            if view.objects and min(view.parts.shape) >= SHORTEST_SIDE:
                views.append(view)
    return views


def _to_grey(pixels: Array, volume: Array, rng: np.random.Generator) -> Array:
    """Window a slice to uint8: a random Hounsfield window for CT, percentiles of the volume otherwise."""
    if volume.min() <= -900:
        centre, width = CT_WINDOWS[rng.integers(len(CT_WINDOWS))]
        low, high = centre - width / 2, centre + width / 2
    else:
        low, high = np.percentile(volume[:: max(1, len(volume) // 64)], (0.5, 99.5 + 0.4 * rng.random()))
    return (np.clip((pixels - low) / max(high - low, 1e-6), 0, 1) * 255).astype(np.uint8)


def _make_view(
    family: str,
    modality: str,
    image: Array | None,
    labels: Array,
    *,
    is_instances: bool,
    aspect: Array | None = None,
) -> View:
    """Resize to isotropic pixels with at most `LONGEST_SIDE` on the long side, and find the objects."""
    height, width = labels.shape
    sides = np.array([height, width], float) * (1.0 if aspect is None else aspect / aspect.min())
    sides *= np.clip(LONGEST_SIDE / sides.max(), None, max(1.0, 256.0 / sides.max()))
    size = (max(8, round(sides[1])), max(8, round(sides[0])))  # (width, height), as OpenCV has it
    labels = cv2.resize(labels.astype(np.float32), size, interpolation=cv2.INTER_NEAREST).astype(np.int32)
    if image is not None:
        shrinks = size[0] < width
        image = cv2.resize(_to_uint8(image), size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    parts, found = _find_objects(labels, is_instances=is_instances)
    objects, structures = tuple(members for members, _ in found), tuple(value for _, value in found)
    return View(family, modality, image, parts, objects, structures)


def _to_uint8(image: Array) -> Array:
    if image.dtype != np.uint8:
        low, high = np.percentile(image, (0.5, 99.8))
        image = (np.clip((image.astype(np.float32) - low) / max(high - low, 1e-6), 0, 1) * 255).astype(np.uint8)
    if image.ndim == 3 and (image[..., :1] == image).all():
        image = np.ascontiguousarray(image[..., 0])
    return image


def _find_objects(labels: Array, *, is_instances: bool) -> tuple[Array, list[tuple[tuple[int, ...], int]]]:
    """Return the numbered parts of a label map, and its objects with the value of their label (1 of instances)."""
    parts = np.zeros(labels.shape, np.uint16)
    objects: list[tuple[tuple[int, ...], int]] = []
    used = 0
    for value in np.unique(labels[labels > 0]):
        structure = 1 if is_instances else int(value)
        count, pieces, stats, _ = cv2.connectedComponentsWithStats((labels == value).astype(np.uint8), connectivity=8)
        sizes = stats[1:, cv2.CC_STAT_AREA]
        parts[pieces > 0] = (pieces[pieces > 0] + used).astype(np.uint16)
        if is_instances or count == 2:
            if sizes.sum() >= MIN_OBJECT_PX:
                objects.append((tuple(range(used + 1, used + count)), structure))
        else:
            large = [n for n in np.argsort(-sizes)[:MAX_OBJECTS_A_LABEL] if sizes[n] >= MIN_OBJECT_PX]
            objects += [((used + 1 + int(n),), structure) for n in large]
            if len(large) > 1 and len(large) <= 6:  # a pair of lungs is one thing; a hundred nuclei are not
                objects.append((tuple(range(used + 1, used + count)), structure))
        used += count - 1
    return parts, objects


def write_cache(views: Sequence[View], path: Path, *, made_of: Sequence[str]) -> None:
    """Write views to a .npz; `made_of` says of what they were made."""
    arrays: dict[str, Array] = {}
    for number, view in enumerate(views):
        arrays[f"parts{number}"] = view.parts
        if view.image is not None:
            arrays[f"image{number}"] = view.image
    entries = [{name: getattr(view, name) for name in _LISTED} for view in views]
    index = json.dumps({"made_of": list(made_of), "views": entries})
    arrays["index"] = np.frombuffer(index.encode(), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as staged:
        np.savez(staged, **arrays)  # type: ignore[arg-type]


def read_cache(path: Path, *, made_of: Sequence[str]) -> list[View] | None:
    """Return the views of a .npz; None if there is no such file, or it was made of something else or by older code."""
    if not path.exists():
        return None
    with np.load(path, allow_pickle=False) as file:
        index = json.loads(file["index"].tobytes())
        if not isinstance(index, dict) or index["made_of"] != list(made_of):
            return None
        if any("case" not in entry for entry in index["views"]):
            return None
        return [
            View(
                family=entry["family"],
                modality=entry["modality"],
                image=file.get(f"image{number}"),
                parts=file[f"parts{number}"],
                objects=tuple(tuple(parts) for parts in entry["objects"]),
                structures=tuple(entry["structures"]),
                case=entry["case"],
            )
            for number, entry in enumerate(index["views"])
        ]
