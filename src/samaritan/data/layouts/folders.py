"""Paired folders: ``images/`` and ``masks/``, whose files have the same stem, or one with a suffix such as ``_mask``.

Both may stand in folders of splits (``train/images``), or hold such (``images/train``). Where masks stand in folders
of their own for each label (``masks/liver/x.png``), each file is one mask. ``labels.json`` may name the values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from samaritan.data.case import Case, DataSet, Reference
from samaritan.data.layouts.files import files_in, read_object, relative
from samaritan.data.layouts.layout import Layout
from samaritan.data.layouts.nnunet import label_names

_IMAGES = ("images", "image", "imgs", "img", "volumes", "scans")
_MASKS = (
    "masks",
    "mask",
    "labels",
    "label",
    "segmentations",
    "segmentation",
    "annotations",
    "annotation",
    "gt",
    "segs",
)
_SPLITS = ("train", "training", "val", "valid", "validation", "test", "testing")
_SUFFIX = re.compile(
    r"(.+?)[-_. ]?(images?|img|0000|masks?|seg|segs|labels?|gt|segmentations?|annotations?|groundtruth)", re.IGNORECASE
)


def recognise(path: Path) -> bool:
    """Tell the layout by a folder of images beside one of masks."""
    return path.is_dir() and any(_pairs(path))


def read(path: Path) -> DataSet:
    """Read the images and their masks."""
    names, ignored = label_names(read_object(path / "labels.json") or {})
    cases: list[Case] = []
    notes: list[str] = []
    for split, images, masks in _pairs(path):
        drawn = _by_image(images, masks)
        for file, stem in files_in(images, deep=True):
            place = file.parent.relative_to(images)
            found = drawn.pop((place, stem), {})
            reference = _reference(path, found, names, ignored)
            if reference is None:
                notes.append(f"{relative(file, path)} has no mask")
            within = place.parts[0] if place.parts and place.parts[0].lower() in _SPLITS else ""
            cases.append(
                Case(
                    id="/".join(filter(None, (split, *place.parts, stem))),
                    images=(relative(file, path),),
                    reference=reference,
                    split=split or within,
                )
            )
        lost = sorted({file for files in drawn.values() for file in files.values()})
        notes += [f"{relative(file, path)} has no image" for file in lost]
    return DataSet(path, "folders", tuple(cases), path.resolve().name, tuple(notes))


def _pairs(path: Path) -> Iterator[tuple[str, Path, Path]]:
    """Yield (split, folder of images, folder of masks) of each pair in ``path`` and in its folders of splits."""
    folders = [path, *sorted(child for child in path.iterdir() if child.name.lower() in _SPLITS and child.is_dir())]
    for folder in folders:
        inside = {child.name.lower(): child for child in sorted(folder.iterdir()) if child.is_dir()}
        images = next((inside[name] for name in _IMAGES if name in inside), None)
        masks = next((inside[name] for name in _MASKS if name in inside), None)
        if images and masks:
            yield ("" if folder == path else folder.name, images, masks)


def _by_image(images: Path, masks: Path) -> dict[tuple[Path, str], dict[str, Path]]:
    """Return the masks of each image, known by its folder and stem, by label ("" where no folder names one)."""
    known = {(file.parent.relative_to(images), stem) for file, stem in files_in(images, deep=True)}
    plain = {(place, _bare(stem)): (place, stem) for place, stem in known}
    found: dict[tuple[Path, str], dict[str, Path]] = {}
    for file, stem in files_in(masks, deep=True):
        place = file.parent.relative_to(masks)
        label = ""
        if place.parts and not any(where == place for where, _ in known):  # masks/liver/x.png of images/x.png
            label, place = place.name, place.parent
        key = (place, stem) if (place, stem) in known else plain.get((place, _bare(stem)), (place, stem))
        found.setdefault(key, {})[label] = file
    return found


def _bare(stem: str) -> str:
    match = _SUFFIX.fullmatch(stem)
    return match[1] if match else stem


def _reference(
    path: Path, found: Mapping[str, Path], names: Mapping[int, str], ignored: tuple[int, ...]
) -> Reference | None:
    if not found:
        return None
    if "" in found:
        return Reference("labels", (relative(found[""], path),), names, ignored=ignored)
    labels = sorted(found)
    return Reference("masks", tuple(relative(found[name], path) for name in labels), dict(enumerate(labels, start=1)))


FOLDERS = Layout(
    name="folders",
    title="paired folders (images/ and masks/)",
    recognise=recognise,
    read=read,
    declared=False,
)
