"""nnU-Net's raw data: ``dataset.json`` beside ``imagesTr/CASE_0000.nii.gz`` and ``labelsTr/CASE.nii.gz``.

Both versions: 2 names channels in ``channel_names`` and labels by name, 1 in ``modality`` and by value. Test images
(``imagesTs``) are cases too, with ``labelsTs`` if it is there. Source: nnU-Net's documentation, "dataset format".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from samaritan.core.errors import DataSetError
from samaritan.data.case import Case, DataSet, Reference
from samaritan.data.layouts.files import files_in, modality_code, read_object, relative
from samaritan.data.layouts.layout import Layout

_CHANNEL = re.compile(r"(.+)_(\d{4})")
_FOLDERS = (("imagesTr", "labelsTr", "train"), ("imagesTs", "labelsTs", "test"))


def recognise(path: Path) -> bool:
    """Tell the layout by its ``dataset.json`` and a training image with the number of its channel."""
    images = path / "imagesTr"
    if not (path / "dataset.json").is_file() or not images.is_dir():
        return False
    return any(_CHANNEL.fullmatch(stem) for _, stem in files_in(images)) or not any(files_in(images))


def read(path: Path) -> DataSet:
    """Read the cases of training and test images."""
    info = read_object(path / "dataset.json")
    if info is None:
        raise DataSetError(got=f"{path} without a dataset.json", wanted="nnU-Net's raw data")
    channels = _channels(info)
    names, ignored = label_names(info.get("labels") or {})
    cases, notes = [], []
    for images, labels, split in _FOLDERS:
        drawn = {stem: file for file, stem in files_in(path / labels)} if (path / labels).is_dir() else {}
        for name, files in _grouped(path / images).items():
            label = drawn.pop(name, None)
            if sorted(files) != list(range(len(channels))):
                notes.append(f"{images}/{name} has the channels {sorted(files)} of {len(channels)}")
            reference = Reference("labels", (relative(label, path),), names, ignored=ignored) if label else None
            if label is None and split == "train":
                notes.append(f"{images}/{name} has no mask in {labels}")
            cases.append(
                Case(
                    id=name,
                    images=tuple(relative(files[number], path) for number in sorted(files)),
                    channels=tuple(channels.get(number, f"channel {number}") for number in sorted(files)),
                    reference=reference,
                    modality=modality_code(*channels.values()),
                    split=split,
                )
            )
        notes += [f"{labels}/{file.name} has no image in {images}" for file in drawn.values()]
    return DataSet(path, "nnunet", tuple(cases), str(info.get("name") or path.resolve().name), tuple(notes))


def _channels(info: Mapping[str, Any]) -> dict[int, str]:
    found = info.get("channel_names") or info.get("modality") or {"0": "intensity"}
    if not isinstance(found, dict) or not all(str(key).isdecimal() for key in found):
        raise DataSetError(got=f"dataset.json with the channels {found}", wanted='{"0": "CT", ...}')
    return {int(number): str(name) for number, name in found.items()}


def _grouped(folder: Path) -> dict[str, dict[int, Path]]:
    """Return the files of each case by the number of their channel."""
    cases: dict[str, dict[int, Path]] = {}
    for file, stem in files_in(folder) if folder.is_dir() else ():
        if match := _CHANNEL.fullmatch(stem):
            cases.setdefault(match[1], {})[int(match[2])] = file
    return cases


def label_names(labels: Mapping[str, Any]) -> tuple[dict[int, str], tuple[int, ...]]:
    """Return the name of each label value, without background, and the values that do not count ("ignore").

    Labels stand by name or, in version 1, by value. A region (a name with a list of values) names those of its values
    that no smaller region does.
    """
    pairs = [(str(value), key) if str(key).isdecimal() else (str(key), value) for key, value in labels.items()]
    regions = [(name, value if isinstance(value, list) else [value]) for name, value in pairs]
    names: dict[int, str] = {}
    ignored: list[int] = []
    for name, values in sorted(regions, key=lambda region: len(region[1])):
        for value in values:
            if not str(value).isdecimal():
                raise DataSetError(got=f"label '{name}' with the value {value}", wanted="a whole number from 0 up")
            if name == "ignore":
                ignored.append(int(value))
            elif int(value) > 0:
                names.setdefault(int(value), name)
    return dict(sorted(names.items())), tuple(ignored)


NNUNET = Layout(
    name="nnunet", title="nnU-Net's raw data (dataset.json, imagesTr, labelsTr)", recognise=recognise, read=read
)
