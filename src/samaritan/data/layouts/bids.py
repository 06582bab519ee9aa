"""BIDS: images in ``sub-01/anat/``, masks in ``derivatives/*/sub-01/...`` as ``_mask`` and ``_dseg`` files.

A mask belongs to the image that its sidecar names (``Sources``, ``RawSources``, ``SpatialReference``); else to the one
of its subject and session, in its space, that shares most of the other entities. Source: BIDS specification 1.10,
"Derivatives: imaging data types".
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from samaritan.core.errors import DataSetError
from samaritan.data.case import Case, DataSet, Reference
from samaritan.data.layouts.files import files_in, modality_code, read_object, relative
from samaritan.data.layouts.layout import Layout

_DRAWN = ("mask", "dseg")
_NO_IMAGES = (*_DRAWN, "probseg", "bold", "sbref", "dwi", "events", "xfm", "warp")
# What a mask says of itself, and not of the image that it was drawn on.
_OWN = frozenset({"sub", "ses", "space", "desc", "label", "res", "den", "hemi", "atlas", "seg"})
_MODALITIES = {"anat": "MR", "pet": "PT", "ct": "CT", "micr": "microscopy", "us": "US"}
_DESCRIPTION = "dataset_description.json"


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    entities: Mapping[str, str]
    suffix: str

    def get(self, entity: str) -> str:
        value = self.entities.get(entity, "")
        return "" if entity == "space" and value == "orig" else value


def recognise(path: Path) -> bool:
    """Tell the layout by its description and its subjects."""
    return (path / _DESCRIPTION).is_file() and any(_subjects(root) for root in (path, *_derivatives(path)))


def read(path: Path) -> DataSet:
    """Read a raw set with all its derivatives; or one derivative, with the images of the raw set that it lies in."""
    raw = (
        path.parent.parent
        if path.parent.name == "derivatives" and (path.parent.parent / _DESCRIPTION).is_file()
        else path
    )
    sets = [path] if raw != path else [path, *_derivatives(path)]
    images = list(_files(raw, drawn=False))
    masks: dict[Path, list[tuple[_File, Path]]] = {}
    notes = []
    for root in sets:
        own = [] if root == raw else list(_files(root, drawn=False))
        for mask in _files(root, drawn=True):
            image, note = _image_of(mask, [*own, *images])
            notes += [f"{mask.path.name} {note}"] if note else []
            if image:
                masks.setdefault(image.path, []).append((mask, root))
                images += [] if image in images else [image]
    people = _participants(raw)
    cases = [case for image in images for case in _cases(image, masks.get(image.path, []), raw, people)]
    name = str((read_object(path / _DESCRIPTION) or {}).get("Name") or path.resolve().name)
    return DataSet(raw, "bids", tuple(cases), name, tuple(notes))


def _subjects(root: Path) -> list[Path]:
    return sorted(folder for folder in root.glob("sub-*") if folder.is_dir())


def _derivatives(path: Path) -> list[Path]:
    return sorted(folder for folder in path.glob("derivatives/*") if _subjects(folder))


def _files(root: Path, *, drawn: bool) -> Iterator[_File]:
    for subject in _subjects(root):
        for file, stem in files_in(subject, deep=True):
            *entities, suffix = stem.split("_")
            if (suffix in _DRAWN) if drawn else (suffix not in _NO_IMAGES):
                yield _File(file, dict(part.split("-", 1) for part in entities if "-" in part), suffix)


def _image_of(mask: _File, images: list[_File]) -> tuple[_File | None, str]:
    """Return the image that a mask was drawn on, and what is doubtful about that."""
    near = [i for i in images if all(i.get(name) == mask.get(name) for name in ("sub", "ses"))]
    sidecar = mask.path.with_name(mask.path.name.partition(".")[0] + ".json")
    named = {Path(source).name for source in _sources(sidecar)}
    if told := [image for image in near if image.path.name in named]:
        return told[0], ""

    def differences(image: _File) -> int:
        """Count the entities that one of the two lacks; those in which they differ rule the image out."""
        return len((image.entities.keys() ^ mask.entities.keys()) - _OWN)

    fitting = [
        image
        for image in near
        if image.get("space") == mask.get("space")
        and all(image.entities[e] == mask.entities[e] for e in (image.entities.keys() & mask.entities.keys()) - _OWN)
    ]
    if not fitting:
        return None, "has no image of its subject, session and space"
    best = min(fitting, key=lambda image: (differences(image), image.suffix != "T1w", image.path.name))
    alike = [image.path.name for image in fitting if differences(image) == differences(best)]
    return best, f"may be of {' or '.join(sorted(alike))}; {best.path.name} is taken" if len(alike) > 1 else ""


def _sources(sidecar: Path) -> list[str]:
    info = read_object(sidecar) or {}
    found = [info.get(key) or () for key in ("Sources", "RawSources", "SpatialReference")]
    return [str(source) for sources in found for source in ([sources] if isinstance(sources, str) else sources)]


def _cases(
    image: _File, masks: list[tuple[_File, Path]], raw: Path, people: Mapping[str, Mapping[str, str]]
) -> Iterator[Case]:
    """Yield a case for every label map of an image, and one for all its single masks."""
    maps = [(mask, root) for mask, root in masks if mask.suffix == "dseg"]
    single = [mask for mask, _ in masks if mask.suffix == "mask"]
    references: list[tuple[str, Reference | None]] = [
        (mask.get("desc") or "dseg", Reference("labels", (relative(mask.path, raw),), _names(mask, root)))
        for mask, root in maps
    ]
    if single:
        names = {n: mask.get("label") or mask.get("desc") or "mask" for n, mask in enumerate(single, start=1)}
        references.append(("masks", Reference("masks", tuple(relative(mask.path, raw) for mask in single), names)))
    stem = image.path.name.partition(".")[0]
    kind = image.path.parent.name.lower()
    for extra, reference in references or [("", None)]:
        yield Case(
            id=f"{stem}/{extra}" if len(references) > 1 else stem,
            images=(relative(image.path, raw),),
            reference=reference,
            patient=f"sub-{image.get('sub')}",
            modality=modality_code(image.suffix) or _MODALITIES.get(kind, ""),
            tags={**people.get(f"sub-{image.get('sub')}", {}), **({"session": s} if (s := image.get("ses")) else {})},
        )


def _names(mask: _File, root: Path) -> dict[int, str]:
    """Return the names of label values from the table beside a map, or the one at the root of its set."""
    stem = mask.path.name.partition(".")[0]
    described = f"desc-{mask.get('desc')}_dseg.tsv"
    tables = (mask.path.with_name(f"{stem}.tsv"), root / described, root / "dseg.tsv")
    table = next((table for table in tables if table.is_file()), None)
    if table is None:
        return {}
    try:
        return {int(row["index"]): row["name"] for row in _rows(table) if int(row["index"]) > 0}
    except (KeyError, ValueError) as error:
        raise DataSetError(got=f"{table} without columns index and name", wanted="both, as BIDS has them") from error


def _participants(raw: Path) -> dict[str, dict[str, str]]:
    table = raw / "participants.tsv"
    rows = _rows(table) if table.is_file() else []
    return {
        row["participant_id"]: {k: v for k, v in row.items() if k != "participant_id" and v not in (None, "", "n/a")}
        for row in rows
        if row.get("participant_id")
    }


def _rows(table: Path) -> list[dict[str, str]]:
    with table.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


BIDS = Layout(name="bids", title="BIDS (dataset_description.json, sub-*, derivatives/)", recognise=recognise, read=read)
