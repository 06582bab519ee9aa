"""CVPR's "Foundation models for biomedical segmentation": NumPy archives ``MODALITY_...npz`` with ``imgs`` and ``gts``.

The reference may also stand in an archive of the same name in another folder, as that of the validation sets does.
Source: https://huggingface.co/datasets/junma/CVPR-BiomedSegFM.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

from samaritan.data.case import Case, DataSet, Reference
from samaritan.data.layouts.files import files_in, modality_code, relative
from samaritan.data.layouts.layout import Layout


def recognise(path: Path) -> bool:
    """Tell the layout by a first archive that holds ``imgs`` or ``gts``."""
    if not path.is_dir():
        return False
    first = next((file for file, _ in files_in(path, deep=True) if file.suffix.lower() == ".npz"), None)
    return first is not None and bool(_members(first) & {"imgs", "gts"})


def read(path: Path) -> DataSet:
    """Read the archives of the folder and of those in it."""
    images: dict[str, Path] = {}
    drawn: dict[str, Path] = {}
    notes = []
    for file, stem in files_in(path, deep=True):
        members = _members(file)
        if not members & {"imgs", "gts"}:
            notes.append(f"{relative(file, path)} holds neither imgs nor gts")
        if "imgs" in members:
            images[stem] = file
        if "gts" in members:
            drawn[stem] = file
    cases = []
    for stem, file in images.items():
        mask = drawn.pop(stem, None)
        word = stem.partition("_")[0]
        cases.append(
            Case(
                id=stem,
                images=(relative(file, path),),
                reference=Reference("labels", (relative(mask, path),)) if mask else None,
                modality=modality_code(word) or word,
            )
        )
        notes += [] if mask else [f"{relative(file, path)} has no gts"]
    notes += [f"{relative(file, path)} has gts, but there are no imgs of that name" for file in drawn.values()]
    return DataSet(path, "cvpr", tuple(cases), path.resolve().name, tuple(notes))


def _members(path: Path) -> set[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return {name.removesuffix(".npy") for name in archive.namelist()}
    except (zipfile.BadZipFile, OSError):
        return set()


CVPR = Layout(name="cvpr", title="CVPR's archives (.npz with imgs and gts)", recognise=recognise, read=read)
