"""SA-Med2D-20M: ``images/MODALITY--DATASET--CASE--SLICE.png``, and a mask a file, ``masks/...--CLASS_INSTANCE.png``.

``SAMed2D_v1_class_mapping_id.json`` names the classes of each data set; classes count from 0 there, label values
from 1 here. Source: Ye et al. 2023, arXiv 2311.11969.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from samaritan.data.case import Case, DataSet, Reference
from samaritan.data.layouts.files import files_in, modality_code, read_object, relative
from samaritan.data.layouts.layout import Layout

_MASK = re.compile(r"(.+--.+--.+)--(\d{4})_(\d{3})")
_CLASSES = "SAMed2D_v1_class_mapping_id.json"


def recognise(path: Path) -> bool:
    """Tell the layout by the name of a first mask."""
    masks = path / "masks"
    if not (path / "images").is_dir() or not masks.is_dir():
        return False
    first = next((child.stem for child in masks.iterdir() if child.suffix == ".png"), "")
    return bool(_MASK.fullmatch(first))


def read(path: Path) -> DataSet:
    """Read the images and their masks, by their names: those are the same as the list's, and sure to be there."""
    found = (read_object(folder / _CLASSES) for folder in (path, path / "annotations"))
    classes = next((table for table in found if table), {})
    masks: dict[str, list[tuple[int, Path]]] = {}
    notes = []
    for file, stem in files_in(path / "masks"):
        if match := _MASK.fullmatch(stem):
            masks.setdefault(match[1], []).append((int(match[2]) + 1, file))
        else:
            notes.append(f"masks/{file.name} is not named as a mask")
    cases = []
    for file, stem in files_in(path / "images"):
        modality, dataset, case, *_ = [*stem.split("--"), "", ""]
        word = modality.partition("_")[0]
        drawn = masks.pop(stem, [])
        names = _names(classes.get(dataset, {}))
        reference = Reference(
            "masks",
            tuple(relative(mask, path) for _, mask in drawn),
            {value: names[value] for value in sorted({value for value, _ in drawn}) if value in names},
            values=tuple(value for value, _ in drawn),
        )
        cases.append(
            Case(
                id=stem,
                images=(relative(file, path),),
                reference=reference if drawn else None,
                patient=case,
                modality=modality_code(word) or word,
                dataset=dataset,
            )
        )
        notes += [] if drawn else [f"images/{file.name} has no mask"]
    notes += [f"masks/{stem}--... have no image" for stem in masks]
    return DataSet(path, "sa-med2d", tuple(cases), "SA-Med2D-20M", tuple(notes))


def _names(table: Mapping[str, Any]) -> dict[int, str]:
    """Return the name of each label value, from a table either way round."""
    pairs = ((key, value) if str(key).isdecimal() else (value, key) for key, value in table.items())
    return {int(number) + 1: str(name) for number, name in pairs if str(number).isdecimal()}


SA_MED2D = Layout(
    name="sa-med2d", title="SA-Med2D-20M's (images/ and masks/ named with --)", recognise=recognise, read=read
)
