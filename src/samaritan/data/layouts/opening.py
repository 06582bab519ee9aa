"""Which layout a folder has, and the data set in it."""

from __future__ import annotations

from pathlib import Path

from samaritan.core.errors import DataSetError
from samaritan.data.case import DataSet
from samaritan.data.layouts.layout import LAYOUTS, Layout
from samaritan.data.manifest import find_manifest, read_manifest


def open_data(path: str | Path, *, layout: str | None = None) -> DataSet:
    """Return the data set in a folder, or that a table or manifest lists.

    Parameters
    ----------
    path
        A folder; a ``samaritan.yaml``; a table (CSV, Parquet, JSON lines); a COCO file.
    layout
        Its layout, where it is to be read by another than its manifest or its content says.

    Raises
    ------
    DataSetError
        If nothing is there, no layout or several fit, or what is there contradicts itself.
    UnknownNameError
        If there is no layout of that name.
    """
    path = Path(path)
    manifest = find_manifest(path) if layout is None else None
    return read_manifest(manifest) if manifest else read_folder(path, layout=layout)


def read_folder(path: str | Path, *, layout: str | None = None) -> DataSet:
    """Return the data set as its files have it, whatever a manifest may say; as ``open_data``."""
    path = Path(path)
    if not path.exists():
        raise DataSetError(got=f"no folder {path}", wanted="a data set", fix="Check the path")
    chosen = LAYOUTS.get(layout) if layout else _recognise(path)
    try:
        found = chosen.read(path)
    except OSError as error:
        if isinstance(error, DataSetError):
            raise
        raise DataSetError(got=f"{path} cannot be read as {chosen.title}: {error}") from error
    if not found.cases:
        why = f": {found.notes[0]}" if found.notes else ""
        raise DataSetError(got=f"no case in {path}, read as {chosen.title}{why}", wanted="one image at least")
    return found


def _recognise(path: Path) -> Layout:
    layouts = [LAYOUTS.get(name) for name in LAYOUTS]
    for declared in (True, False):
        fitting = [layout for layout in layouts if layout.declared == declared and layout.recognise(path)]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise DataSetError(
                got=f"{path} may be {' or '.join(layout.title for layout in fitting)}",
                wanted="one of them",
                fix=f"Say which: --layout {fitting[0].name}",
            )
    raise DataSetError(
        got=f"{path} has no layout that is known",
        wanted="; ".join(f"{layout.title}" for layout in layouts),
        fix="Or list its images and masks in a CSV file with the columns image and mask, and name that file",
    )
