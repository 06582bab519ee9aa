"""COCO JSON: ``images``, ``annotations`` and ``categories`` in a file, pictures in a folder near it.

Source: https://cocodataset.org/#format-data.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from samaritan.core.errors import DataSetError
from samaritan.data.case import Case, DataSet, Reference
from samaritan.data.layouts.files import read_object
from samaritan.data.layouts.layout import Layout
from samaritan.io.format import split_name

_HEAD_BYTES = 4096
_KEYS = ("images", "annotations", "categories")
_SPLITS = ("train", "val", "valid", "test")


def recognise(path: Path) -> bool:
    """Tell a COCO file, or a folder with some, by the keys of the file."""
    return bool(_files(path))


def read(path: Path) -> DataSet:
    """Read the images of each file, those with no mask included."""
    root = path if path.is_dir() else path.parent
    files = _files(path)
    cases: list[Case] = []
    notes: list[str] = []
    for file in files:
        found = read_object(file) or {}
        names = {int(category["id"]): str(category["name"]) for category in found["categories"]}
        drawn = {annotation["image_id"] for annotation in found["annotations"] if annotation.get("segmentation")}
        split = next((name for name in _SPLITS if name in f"{file.parent.name} {file.stem}".lower()), "")
        folder = _folder(found["images"], file, root)
        for image in found["images"]:
            picture = folder / image["file_name"]
            reference = Reference("coco", (str(file.relative_to(root)),), names, part=str(image["id"]))
            if image["id"] not in drawn:
                notes.append(f"{image['file_name']} has no mask")
            name = split_name(image["file_name"])[0]
            cases.append(
                Case(
                    id=f"{split}/{name}" if len(files) > 1 and split else name,
                    images=(str(picture.relative_to(root)),),
                    reference=reference if image["id"] in drawn else None,
                    split=split if len(files) > 1 else "",
                )
            )
    return DataSet(root, "coco", tuple(cases), root.resolve().name, tuple(notes))


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path] if path.suffix.lower() == ".json" and _is_coco(path) else []
    found = [*path.glob("*.json"), *path.glob("annotations/*.json"), *path.glob("*/_annotations.coco.json")]
    return [file for file in sorted(set(found)) if _is_coco(file)]


def _is_coco(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if not any(f'"{key}"'.encode() in head for key in (*_KEYS, "info", "licenses")):
        return False  # large JSON of another kind need not be parsed to know
    try:
        found = read_object(path) or {}
    except DataSetError:
        return False
    return all(isinstance(found.get(key), list) for key in _KEYS)


def _folder(images: list[dict[str, Any]], file: Path, root: Path) -> Path:
    """Return the folder that the names of ``images`` are relative to: the first where one of them is."""
    name = file.stem.rpartition("_")[2]  # instances_train2017.json belongs to train2017/
    near = [
        folder
        for base in (file.parent, root)
        for folder in (base, base / "images", base / name, base / "images" / name)
    ]
    first = images[0]["file_name"] if images else ""
    fitting = next((folder for folder in near if (folder / first).is_file()), None)
    if fitting is None:
        raise DataSetError(
            got=f"{file} with the image {first}, which is in none of: {', '.join(map(str, dict.fromkeys(near)))}",
            wanted="the pictures beside the file, or in images/ there",
        )
    return fitting


COCO = Layout(name="coco", title="COCO JSON (images, annotations, categories)", recognise=recognise, read=read)
