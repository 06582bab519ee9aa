"""The Medical Segmentation Decathlon: ``dataset.json`` that lists its images and masks; sequences along a fourth axis.

Source: Antonelli et al. 2022, "The Medical Segmentation Decathlon"; http://medicaldecathlon.com.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from samaritan.core.errors import DataSetError
from samaritan.data.case import Case, DataSet, Reference
from samaritan.data.layouts import nnunet
from samaritan.data.layouts.files import modality_code, read_object
from samaritan.data.layouts.layout import Layout
from samaritan.io.format import split_name


def recognise(path: Path) -> bool:
    """Tell the layout by the list of training pairs in its ``dataset.json``."""
    info = read_object(path / "dataset.json")
    listed = (info or {}).get("training")
    pairs = isinstance(listed, list) and bool(listed) and isinstance(listed[0], dict) and "image" in listed[0]
    return pairs and not nnunet.recognise(path)


def read(path: Path) -> DataSet:
    """Read the cases that ``dataset.json`` lists."""
    info = read_object(path / "dataset.json") or {}
    channels = tuple(str(name) for name in (info.get("modality") or {}).values())
    names, _ = nnunet.label_names(info.get("labels") or {})
    cases, notes = [], []
    for split, entries in (("train", info.get("training")), ("test", info.get("test"))):
        for entry in entries or ():
            image, label = _pair(entry)
            if not (path / image).is_file():
                notes.append(f"{image} is listed, but not there")
                continue
            if label and not (path / label).is_file():
                notes.append(f"{label}, the mask of {image}, is listed, but not there")
                label = ""
            cases.append(
                Case(
                    id=split_name(Path(image).name)[0],
                    images=(image,),
                    channels=channels,
                    reference=Reference("labels", (label,), names) if label else None,
                    modality=modality_code(*channels),
                    split=split,
                )
            )
    return DataSet(path, "decathlon", tuple(cases), str(info.get("name") or path.resolve().name), tuple(notes))


def _pair(entry: Any) -> tuple[str, str]:  # noqa: ANN401  # from JSON
    if isinstance(entry, str):
        return entry.removeprefix("./"), ""
    if isinstance(entry, dict) and isinstance(entry.get("image"), str):
        return entry["image"].removeprefix("./"), str(entry.get("label") or "").removeprefix("./")
    raise DataSetError(got=f"dataset.json that lists {entry}", wanted='{"image": "...", "label": "..."}')


DECATHLON = Layout(
    name="decathlon",
    title="the Medical Segmentation Decathlon's (dataset.json that lists pairs)",
    recognise=recognise,
    read=read,
)
