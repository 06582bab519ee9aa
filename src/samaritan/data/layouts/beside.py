"""Masks beside their images, as 3D Slicer, napari and ``samaritan segment`` leave them: ``x.nii.gz``, ``x_seg.nii.gz``.

``x.seg.nrrd``, ``x-label.nrrd`` and the like as well. Where there is no ``x`` itself, files that begin with it are its
channels (``x_t1.nii.gz``, ``x_flair.nii.gz``, ``x_seg.nii.gz``). In a folder a case, the mask may be called just so:
``case/image.nii.gz``, ``case/mask.nii.gz``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from samaritan.data.case import Case, DataSet, Reference
from samaritan.data.layouts.files import files_in, modality_code, relative
from samaritan.data.layouts.layout import Layout

_MASK = re.compile(r"(?:(.+?)[-_. ])?(seg|segmentation|masks?|labels?|gt)", re.IGNORECASE)

_IMAGES = ("image", "img", "volume", "scan")


def recognise(path: Path) -> bool:
    """Tell the layout by one mask whose image stands beside it."""
    return path.is_dir() and any(images for _, _, images in _masked(path))


def read(path: Path) -> DataSet:
    """Read every image with its mask, in all folders; images without a mask are cases too."""
    cases, notes, used = [], [], set()
    for mask, stem, images in _masked(path):
        used |= {mask, *images}
        if not images:
            notes.append(f"{relative(mask, path)} has no image beside it")
            continue
        channels = tuple(name for name in images.values() if name)
        cases.append(
            Case(
                id=_id(mask.parent, stem, path),
                images=tuple(relative(image, path) for image in images),
                channels=channels,
                reference=Reference("labels", (relative(mask, path),)),
                modality=modality_code(*channels),
            )
        )
    for image, stem in files_in(path, deep=True):
        if image not in used:
            notes.append(f"{relative(image, path)} has no mask beside it")
            cases.append(Case(_id(image.parent, stem, path), (relative(image, path),)))
    return DataSet(path, "beside", tuple(cases), path.resolve().name, tuple(notes))


def _masked(path: Path) -> Iterator[tuple[Path, str, dict[Path, str]]]:
    """Yield each mask, the stem of its image, and its images with the names of their channels."""
    folders: dict[Path, dict[str, Path]] = {}
    for file, stem in files_in(path, deep=True):
        folders.setdefault(file.parent, {})[stem] = file
    for files in folders.values():
        for name, mask in files.items():
            if match := _MASK.fullmatch(name):
                yield mask, match[1] or "", _images_of(match[1] or "", files)


def _images_of(stem: str, files: dict[str, Path]) -> dict[Path, str]:
    if stem in files:
        return {files[stem]: ""}
    if not stem:
        return next(({files[name]: ""} for name in files if name.lower() in _IMAGES), {})
    begins = re.compile(re.escape(stem) + r"[-_.](\w+)")
    channels = {name: match[1] for name in files if not _MASK.fullmatch(name) and (match := begins.fullmatch(name))}
    return {files[name]: channel for name, channel in channels.items()}


def _id(folder: Path, stem: str, path: Path) -> str:
    """Return the name of a case: its folder and its stem, but once where they are the same."""
    place = folder.relative_to(path).parts
    return "/".join(place) if place and stem in ("", place[-1]) else "/".join((*place, stem or "image"))


BESIDE = Layout(
    name="beside",
    title="masks beside their images (x.nii.gz and x_seg.nii.gz)",
    recognise=recognise,
    read=read,
    declared=False,
)
