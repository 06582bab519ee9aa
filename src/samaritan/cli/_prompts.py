"""Prompts as people type them to prompts in voxel indices of one image: the edge where (x, y) becomes (i, j).

On a picture x is the column and y the row. On a volume ``x,y,z`` are the voxel indices i, j, k; two numbers lie in the
slice named by ``--slice`` and ``--axis`` and are the two other axes in order. With ``--world`` three numbers are
millimetres, RAS+.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, cast

import numpy as np

from samaritan.cli._errors import UsageError
from samaritan.cli._order import Given
from samaritan.cli._parse import Numbers, corners, numbers, outline
from samaritan.core.errors import PromptError, ReadError
from samaritan.core.geometry import Axis, Geometry, Shape, axis_number
from samaritan.core.image import LabelMap
from samaritan.core.prompts import Box, Index, Lasso, MaskPrompt, Point, Prompt, Prompts, Scribble, Text

DEFAULT_LABEL = "object"
POSITIVE, NEGATIVE = 1, 2  # values in a scribble file
_MAX_FILE_BYTES = 64 * 1024**2


@dataclass(frozen=True, slots=True)
class Frame:
    """How the numbers of a prompt are meant on the image with this ``geometry``."""

    geometry: Geometry
    world: bool = False
    axis: Axis = "k"
    slice_index: int | None = None

    def point(self, where: Numbers) -> Index:
        """Return the voxel index (i, j, k), maybe fractional, that two or three numbers stand for."""
        if self.world:
            return tuple(self.geometry.world_to_index(self._in_world(where)).tolist())
        if len(where) == 3:
            return where
        return self._insert(where, self._slice(None))

    def box(self, first: Numbers, second: Numbers) -> Box:
        """Return the block of voxels between two corners; in the world, the smallest that encloses the box."""
        if self.world:
            return self._enclosing(self._in_world(first), self._in_world(second))
        if len(first) == 3:
            return Box(cast("Shape", first), cast("Shape", second))
        at = self._slice(None)
        return Box(cast("Shape", self._insert(first, at)), cast("Shape", self._insert(second, at + 1)))

    def lasso(self, vertices: Iterable[Numbers], at: int | None) -> Lasso:
        """Return the outline (x, y) in its slice."""
        if self.world:
            raise PromptError(got="a lasso in millimetres", wanted="voxel indices", fix="Leave out --world")
        place = self._slice(at)
        return Lasso(np.array([self._insert(vertex, place) for vertex in vertices]), self._normal)

    def scribble(self, path: Path) -> list[Scribble]:
        """Return the strokes of a label map on the image's grid: 1 is on the object, 2 beside it."""
        labels = self._on_grid(path, "scribble")
        unknown = sorted(set(labels.labels) - {POSITIVE, NEGATIVE})
        if unknown or not labels.labels:
            raise PromptError(
                got=f"scribble {path} with {f'values {unknown}' if unknown else 'no voxel set'}",
                wanted=f"{POSITIVE} on the object, {NEGATIVE} beside it, 0 elsewhere",
            )
        return [Scribble.from_mask(labels.mask(v), positive=v == POSITIVE) for v in labels.labels]

    def mask(self, path: Path) -> MaskPrompt:
        """Return the prior mask: all voxels of a label map that are not 0."""
        return MaskPrompt(self._on_grid(path, "mask").array > 0)

    def entry(self, entry: Mapping[str, Any], folder: Path) -> list[Prompt]:
        """Return the prompt of one entry of a prompts file; files that it names are looked up in ``folder``."""
        kind, file = entry.get("kind"), entry.get("file")
        if file is not None:
            if kind not in ("scribble", "mask") or set(entry) != {"kind", "file"}:
                raise PromptError(got=f"prompt {dict(entry)}", wanted="'file' with kind scribble or mask, and no more")
            path = folder / str(file)
            return [*self.scribble(path)] if kind == "scribble" else [self.mask(path)]
        if kind == "point" and "index" in entry:
            entry = {**entry, "index": self.point(numbers(entry["index"], "point"))}
        elif kind == "box" and {"start", "stop"} <= set(entry):
            box = self.box(numbers(entry["start"], "box start"), numbers(entry["stop"], "box stop"))
            entry = {**entry, "start": box.start, "stop": box.stop}
        elif self.world:
            raise PromptError(got=f'a {kind} prompt in a file with "world": true', wanted="points and boxes")
        return list(Prompts.from_dict(self.geometry, [entry]).items)

    @property
    def _normal(self) -> Axis:
        return "k" if self.geometry.is_2d else self.axis

    def _slice(self, at: int | None) -> int:
        """Return the slice that two numbers lie in: the one drawn in, else ``--slice``, else the only one."""
        if at is None:
            at = self.slice_index
        if at is not None:
            return at
        if self.geometry.is_2d:
            return 0
        raise PromptError(
            got=f"x,y on a volume of shape {self.geometry.shape}",
            wanted="x,y,z (voxel indices i, j, k), or the slice that x,y lie in",
            fix=f"Add --slice N --axis k, such as --slice {self.geometry.shape[2] // 2} --axis k",
        )

    def _insert(self, where: Numbers, at: float) -> Index:
        full = list(where)
        full.insert(axis_number(self._normal), at)
        return cast("Index", tuple(full))

    def _in_world(self, where: Numbers) -> Numbers:
        if self.geometry.unit != "mm":
            raise PromptError(
                got="--world for an image of unknown scale",
                wanted="an image whose file says where it lies in millimetres",
                fix="Leave out --world, and give x,y in pixels",
            )
        if len(where) != 3:
            raise PromptError(got=f"{where} with --world", wanted="x,y,z in millimetres, RAS+")
        return where

    def _enclosing(self, first: Numbers, second: Numbers) -> Box:
        world = np.array(list(product(*zip(first, second, strict=True))))
        index = self.geometry.world_to_index(world)
        # A voxel reaches half a voxel to both sides of its centre; rounding takes off what floating point adds.
        start, stop = np.floor((index.min(0) + 0.5).round(3)), np.ceil((index.max(0) + 0.5).round(3))
        stop = np.maximum(stop, start + 1)  # a box without thickness still lies in a voxel
        if self.geometry.is_2d and start[2] <= 0 < stop[2]:
            start[2], stop[2] = 0, 1  # one plane: how far the box reaches beyond it says nothing
        return Box(cast("Shape", tuple(start.tolist())), cast("Shape", tuple(stop.tolist())))

    def _on_grid(self, path: Path, what: str) -> LabelMap:
        from samaritan.io import read_labels

        labels = read_labels(path, reference=self.geometry)
        self.geometry.require_match(labels.geometry, f"{what} {path}")
        return labels


def objects_of(given: Iterable[Given], prompts_file: Path | None, frame: Frame) -> dict[str, Prompts]:
    """Return the prompts of each named object, from options in the order they were typed and from a file.

    Raises
    ------
    PromptError
        If a prompt makes no sense on this image, or belongs to no object.
    """
    collected: dict[str, list[Prompt]] = {}
    if prompts_file is not None:
        _collect_file(prompts_file, frame, collected)
    for label, options in _by_label(given).items():
        items = collected.setdefault(label, [])
        for name, text in options:
            items.extend(_from_option(name, text, frame))
    return {label: Prompts(frame.geometry, tuple(items)) for label, items in collected.items() if items}


def _by_label(given: Iterable[Given]) -> dict[str, list[Given]]:
    """Return the options of each object: with several ``--label``, those that follow it; else all of them."""
    order = list(given)
    labels = [text for name, text in order if name == "label"]
    if any(not label.strip() for label in labels):
        raise UsageError(got="an empty --label", wanted="a name for the object")
    if len(labels) < 2:
        return {labels[0] if labels else DEFAULT_LABEL: [option for option in order if option[0] != "label"]}
    groups: dict[str, list[Given]] = {label: [] for label in labels}
    current = ""
    for name, text in order:
        if name == "label":
            current = text
        elif not current:
            raise UsageError(
                got=f"--{name} {text} before the first of several --label",
                wanted="each prompt after the --label that it belongs to",
            )
        else:
            groups[current].append((name, text))
    bare = [label for label, options in groups.items() if not options]
    if bare:
        raise UsageError(got=f"--label {bare[0]} without a prompt", wanted="its prompts after it")
    return groups


def _from_option(name: str, text: str, frame: Frame) -> list[Prompt]:
    """Return the prompts of one option: ``("box", "1,2:3,4")``."""
    match name:
        case "point" | "negative":
            return [Point(frame.point(numbers(text, name)), name == "point")]
        case "box":
            return [frame.box(*corners(text))]
        case "lasso":
            return [frame.lasso(*outline(text))]
        case "scribble":
            return [*frame.scribble(Path(text))]
        case "text":
            return [Text(text)]
        case _:
            return [frame.mask(Path(text))]


def _collect_file(path: Path, frame: Frame, collected: dict[str, list[Prompt]]) -> None:
    document = _load(path)
    world = document.get("world", False)
    if not isinstance(world, bool):
        raise PromptError(got=f'"world": {world!r} in {path}', wanted="true or false")
    in_file = Frame(frame.geometry, world, frame.axis, frame.slice_index)
    try:
        for thing in document["objects"]:
            items = collected.setdefault(_label_in(thing, path), [])
            for entry in thing["prompts"]:
                items.extend(in_file.entry(entry, path.parent))
    except (KeyError, TypeError, AttributeError) as error:
        raise PromptError(
            got=f"prompts file {path} of another form ({error})",
            wanted='{"objects": [{"label": "liver", "prompts": [{"kind": "point", "index": [1, 2, 3]}]}]}',
        ) from error


def _label_in(thing: Mapping[str, Any], path: Path) -> str:
    label = thing.get("label", DEFAULT_LABEL)
    if not isinstance(label, str) or not label.strip():
        raise PromptError(got=f'"label": {label!r} in {path}', wanted="a name for the object")
    return label


def _load(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise ReadError(got=f"{path} of {path.stat().st_size} bytes", wanted=f"at most {_MAX_FILE_BYTES}")
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ReadError(got=f"no file {path}", wanted="a JSON file of prompts") from error
    except (ValueError, RecursionError) as error:  # the latter: brackets within brackets without end
        raise PromptError(got=f"{path} is no JSON: {error}", wanted="a JSON file of prompts") from error
    if not isinstance(document, dict):
        raise PromptError(got=f"{path} holds a {type(document).__name__}", wanted="an object with 'objects'")
    return document
