"""What layouts share: the image files of a folder, JSON read with care, modalities as DICOM calls them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from samaritan.core.errors import DataSetError
from samaritan.io.format import split_name

MAX_JSON_BYTES = 2**31

# What people write, in lower case, and DICOM's code for it.
_CODES = {
    "ct": "CT", "cta": "CT", "cbct": "CT", "computed tomography": "CT",
    "mr": "MR", "mri": "MR", "t1": "MR", "t1w": "MR", "t1gd": "MR", "t1ce": "MR", "t1c": "MR", "t2": "MR", "t2w": "MR",
    "flair": "MR", "adc": "MR", "dwi": "MR", "pd": "MR", "pdw": "MR", "t2star": "MR",
    "pet": "PT", "pt": "PT", "us": "US", "ultrasound": "US", "nm": "NM", "mg": "MG", "mammography": "MG",
}  # fmt: skip
_NUMBERS = re.compile(r"(\d+)")


def natural(text: str) -> list[tuple[int, str]]:
    """Return a key that sorts names as people do: case 2 before case 10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in _NUMBERS.split(text)]


def files_in(folder: Path, *, deep: bool = False) -> Iterator[tuple[Path, str]]:
    """Yield the files of a folder whose names end as a known format's, with their stems, in natural order.

    Hidden files are passed over; links are followed to files, not to folders. ``deep`` looks into folders as well.
    """
    found = folder.rglob("*") if deep else folder.iterdir()
    for path in sorted(found, key=lambda path: natural(path.relative_to(folder).as_posix())):
        stem, ending = split_name(path.name)
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if ending and not hidden and path.is_file():
            yield path, stem


def relative(path: Path, root: Path) -> str:
    """Return ``path`` as cases name it: relative to ``root``, with slashes."""
    return path.relative_to(root).as_posix()


def read_json(path: Path) -> Any:  # noqa: ANN401  # JSON is whatever it is
    """Return what a JSON file holds.

    Raises
    ------
    DataSetError
        If it is no JSON, or larger than ``MAX_JSON_BYTES``.
    """
    if path.stat().st_size > MAX_JSON_BYTES:
        raise DataSetError(got=f"{path} of {path.stat().st_size} bytes", wanted=f"at most {MAX_JSON_BYTES}")
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DataSetError(got=f"{path} is no JSON ({error})", fix="Repair it, or export it again") from error


def read_object(path: Path) -> dict[str, Any] | None:
    """Return the object that a JSON file holds; None if there is no such file, or it holds something else."""
    if not path.is_file():
        return None
    found = read_json(path)
    return found if isinstance(found, dict) else None


def modality_code(*names: str) -> str:
    """Return DICOM's code for what ``names`` of channels or modalities agree to be; empty if unknown or mixed."""
    codes = {_CODES.get(name.strip().lower(), "") for name in names}
    return codes.pop() if len(codes) == 1 else ""
