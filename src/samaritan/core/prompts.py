"""What a person can point at: points, boxes, scribbles, lassos, earlier masks, words.

All are in voxel indices (i, j, k) of one geometry, voxel centres at whole numbers; for a picture i is the column
(x) and j the row (y). Boxes are half-open: ``start`` is inside, ``stop`` is not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from samaritan.core.errors import GeometryMismatchError, PromptError, PromptOutsideImageError
from samaritan.core.geometry import Axis, Geometry, Shape, axis_number

Index = tuple[float, float, float]


def _triple(values: Iterable[float], what: str) -> Index:
    numbers = tuple(float(v) for v in values)
    if len(numbers) != 3 or not np.isfinite(numbers).all():
        raise PromptError(got=f"{what} {numbers}", wanted="three finite numbers i, j, k")
    return numbers


@dataclass(frozen=True, slots=True)
class Point:
    """A click on the object (``positive``) or beside it, at voxel ``index`` (i, j, k); fractions are allowed."""

    kind: ClassVar[str] = "point"
    index: Index
    positive: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "index", _triple(self.index, "point"))

    @property
    def voxel(self) -> Shape:
        """The voxel (i, j, k) that the point lies in."""
        return cast("Shape", tuple(int(np.floor(v + 0.5)) for v in self.index))


@dataclass(frozen=True, slots=True)
class Box:
    """A block of voxels around the object, half-open: ``start <= (i, j, k) < stop``, whole numbers."""

    kind: ClassVar[str] = "box"
    start: Shape
    stop: Shape

    def __post_init__(self) -> None:
        start, stop = _triple(self.start, "box from"), _triple(self.stop, "box to")
        if any(v != int(v) for v in (*start, *stop)):
            raise PromptError(got=f"box {start} to {stop}", wanted="whole voxel indices")
        if not all(a < b for a, b in zip(start, stop, strict=True)):
            raise PromptError(
                got=f"box {tuple(map(int, start))} to {tuple(map(int, stop))}, empty or with its corners reversed",
                wanted="start < stop along every axis (half-open: stop is the first voxel outside)",
            )
        object.__setattr__(self, "start", tuple(map(int, start)))
        object.__setattr__(self, "stop", tuple(map(int, stop)))


@dataclass(frozen=True, eq=False, slots=True)
class Scribble:
    """Voxels painted on the object (``positive``) or beside it: ``voxels`` (n, 3) whole indices."""

    kind: ClassVar[str] = "scribble"
    voxels: NDArray[np.int64]
    positive: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "voxels", _voxels(self.voxels, "scribble"))

    @classmethod
    def from_mask(cls, mask: ArrayLike, *, positive: bool = True) -> Scribble:
        """Return the scribble of all true voxels of ``mask`` (i, j, k)."""
        return cls(np.argwhere(np.asarray(mask)), positive)


@dataclass(frozen=True, eq=False, slots=True)
class Lasso:
    """A closed outline drawn around the object in one slice: ``vertices`` (n, 3), equal along ``axis``."""

    kind: ClassVar[str] = "lasso"
    vertices: NDArray[np.float64]
    axis: Axis = "k"
    positive: bool = True

    def __post_init__(self) -> None:
        vertices = np.array(self.vertices, dtype=np.float64)
        normal = axis_number(self.axis)
        if vertices.ndim != 2 or vertices.shape[1] != 3 or len(vertices) < 3 or not np.isfinite(vertices).all():
            raise PromptError(got=f"lasso of shape {vertices.shape}", wanted="three or more finite vertices i, j, k")
        if np.any(vertices[:, normal] != vertices[0, normal]) or vertices[0, normal] != int(vertices[0, normal]):
            raise PromptError(got=f"lasso that leaves its slice along {self.axis}", wanted="all vertices in one slice")
        vertices.flags.writeable = False
        object.__setattr__(self, "vertices", vertices)

    @property
    def slice_index(self) -> int:
        """The slice along ``axis`` that it is drawn in."""
        return int(self.vertices[0, axis_number(self.axis)])


@dataclass(frozen=True, eq=False, slots=True)
class MaskPrompt:
    """An earlier or rough mask to start from: ``mask`` (i, j, k) booleans of the whole grid."""

    kind: ClassVar[str] = "mask"
    mask: NDArray[np.bool_]

    def __post_init__(self) -> None:
        mask = np.array(self.mask).astype(np.bool_)
        if mask.ndim != 3 or not mask.any():
            raise PromptError(got=f"mask prompt of shape {mask.shape} with {mask.sum()} voxels", wanted="a 3D mask")
        mask.flags.writeable = False
        object.__setattr__(self, "mask", mask)


@dataclass(frozen=True, slots=True)
class Text:
    """A word or phrase that names the object."""

    kind: ClassVar[str] = "text"
    text: str

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise PromptError(got="an empty text prompt", wanted="a word, such as 'liver'")


Prompt = Point | Box | Scribble | Lasso | MaskPrompt | Text
KINDS: tuple[str, ...] = tuple(cls.kind for cls in (Point, Box, Scribble, Lasso, MaskPrompt, Text))


def _voxels(values: ArrayLike, what: str) -> NDArray[np.int64]:
    voxels = np.array(values)
    if voxels.ndim != 2 or voxels.shape[1] != 3 or not len(voxels) or voxels.dtype.kind not in "ui":
        raise PromptError(got=f"{what} of shape {voxels.shape}", wanted="one or more voxels of whole i, j, k")
    voxels = voxels.astype(np.int64)
    voxels.flags.writeable = False
    return voxels


@dataclass(frozen=True, eq=False, slots=True)
class Prompts:
    """All prompts for one object, in the voxel indices of ``geometry``. Immutable: ``add`` returns a new one.

    Raises
    ------
    PromptOutsideImageError
        If a prompt lies, even in part, outside the image.
    PromptError
        If points of both signs are on one voxel.
    GeometryMismatchError
        If a mask prompt has another shape than the image.
    """

    geometry: Geometry
    items: tuple[Prompt, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "items", tuple(self.items))
        for item in self.items:
            _require_inside(item, self.geometry)
        signs: dict[Shape, bool] = {}
        for point in self.points:
            if signs.setdefault(point.voxel, point.positive) != point.positive:
                raise PromptError(
                    got=f"a positive and a negative point on the same voxel {point.voxel}",
                    wanted="one sign for each voxel",
                    fix="Remove one of the two",
                )

    def add(self, *items: Prompt) -> Prompts:
        """Return these prompts and ``items`` after them."""
        return replace(self, items=(*self.items, *items))

    def of(self, kind: type[Any]) -> tuple[Any, ...]:
        """Return the prompts of one class, in order."""
        return tuple(item for item in self.items if isinstance(item, kind))

    @property
    def points(self) -> tuple[Point, ...]:
        """The points, in order."""
        return self.of(Point)

    @property
    def boxes(self) -> tuple[Box, ...]:
        """The boxes, in order."""
        return self.of(Box)

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of prompt that occur."""
        return frozenset(item.kind for item in self.items)

    def __bool__(self) -> bool:
        return bool(self.items)

    def to(self, geometry: Geometry) -> Prompts:
        """Return the same prompts, at the same places in the world, in the indices of another grid.

        Points keep their exact place; a box becomes the smallest block of voxels that holds its eight corners;
        scribbles go to the nearest voxels. A lasso or a mask cannot change grid without resampling.

        Raises
        ------
        PromptError
            For a lasso or mask on a grid that differs.
        PromptOutsideImageError
            If a prompt falls outside the other grid.
        """
        if self.geometry.matches(geometry):
            return replace(self, geometry=geometry)
        return Prompts(geometry, tuple(_move(item, self.geometry, geometry) for item in self.items))

    def to_dict(self) -> list[dict[str, Any]]:
        """Return a JSON-ready list, one entry a prompt; ``from_dict`` reads it back."""
        return [_item_to_dict(item) for item in self.items]

    @classmethod
    def from_dict(cls, geometry: Geometry, items: Iterable[Mapping[str, Any]]) -> Prompts:
        """Return the prompts that ``to_dict`` wrote, on ``geometry``.

        Raises
        ------
        PromptError
            If an entry has an unknown kind, or misses or adds a field.
        """
        return cls(geometry, tuple(_item_from_dict(geometry, item) for item in items))


def _require_inside(item: Prompt, geometry: Geometry) -> None:
    if isinstance(item, MaskPrompt):
        if item.mask.shape != geometry.shape:
            raise GeometryMismatchError(got=f"mask prompt of shape {item.mask.shape}", wanted=f"{geometry.shape}")
        return
    inside = geometry.contains(extremes(item))
    if not inside.all():
        where = tuple(float(v) for v in extremes(item)[~inside][0])
        size = geometry.shape[: 2 if geometry.is_2d else 3]
        raise PromptOutsideImageError(
            got=f"a {item.kind} at {where}, outside the image",
            wanted=f"voxel indices from 0 within {size}" + (" (x, y are column, row)" if geometry.is_2d else ""),
            fix="Coordinates in millimetres need --world" if geometry.unit == "mm" else "",
        )


def extremes(item: Prompt) -> NDArray[np.float64]:
    """Return the voxel indices (n, 3) that must lie within the image for the whole prompt to do so."""
    match item:
        case Point(index=index):
            places: ArrayLike = [index]
        case Box(start=start, stop=stop):
            places = [start, [n - 1 for n in stop]]
        case Scribble(voxels=voxels):
            places = voxels
        case Lasso(vertices=vertices):
            places = vertices
        case _:
            places = np.zeros((0, 3))
    return np.asarray(places, dtype=np.float64)


def _move(item: Prompt, source: Geometry, target: Geometry) -> Prompt:
    def across(index: ArrayLike) -> NDArray[np.float64]:
        return target.world_to_index(source.index_to_world(index))

    if isinstance(item, Text):
        return item
    if isinstance(item, Point):
        return replace(item, index=cast("Index", tuple(across(item.index))))
    if isinstance(item, Scribble):
        return replace(item, voxels=np.unique(np.floor(across(item.voxels) + 0.5).astype(np.int64), axis=0))
    if isinstance(item, Box):
        # Voxel edges lie half a voxel beyond the centres; the rounding takes off what floating point adds.
        edges = across(np.array(list(product(*zip(item.start, item.stop, strict=True)))) - 0.5) + 0.5
        start, stop = np.floor(edges.min(0).round(3)), np.ceil(edges.max(0).round(3))
        return Box(cast("Shape", tuple(start)), cast("Shape", tuple(stop)))
    raise PromptError(got=f"a {item.kind} prompt made on another grid", wanted=f"one made on {target}")


def _item_to_dict(item: Prompt) -> dict[str, Any]:
    entry: dict[str, Any] = {"kind": item.kind}
    if isinstance(item, Point):
        entry |= {"index": list(item.index), "positive": item.positive}
    elif isinstance(item, Box):
        entry |= {"start": list(item.start), "stop": list(item.stop)}
    elif isinstance(item, Scribble):
        entry |= {"voxels": item.voxels.tolist(), "positive": item.positive}
    elif isinstance(item, Lasso):
        entry |= {"vertices": item.vertices.tolist(), "axis": item.axis, "positive": item.positive}
    elif isinstance(item, MaskPrompt):
        entry |= {"runs": _runs(item.mask)}
    else:
        entry |= {"text": item.text}
    return entry


def _item_from_dict(geometry: Geometry, entry: Mapping[str, Any]) -> Prompt:
    fields = {k: v for k, v in entry.items() if k != "kind"}
    makers: dict[str, Any] = {
        "point": Point,
        "box": Box,
        "scribble": lambda voxels, positive=True: Scribble(np.asarray(voxels), positive),
        "lasso": Lasso,
        "mask": lambda runs: MaskPrompt(_from_runs(runs, geometry.shape)),
        "text": Text,
    }
    kind = str(entry.get("kind", ""))
    if kind not in makers:
        raise PromptError(got=f"prompt of kind '{kind}'", wanted=f"one of: {', '.join(makers)}")
    if not isinstance(fields.get("positive", True), bool):
        raise PromptError(got=f"{kind} prompt with positive = {fields['positive']!r}", wanted="true or false")
    try:
        return cast("Prompt", makers[kind](**fields))
    except PromptError:
        raise
    except (TypeError, ValueError, AttributeError) as error:  # whatever a stranger's JSON does to a constructor
        raise PromptError(got=f"{kind} prompt with fields {sorted(fields)} that do not fit: {error}") from error


def _runs(mask: NDArray[np.bool_]) -> list[int]:
    """Return run lengths of ``mask`` in C order, beginning with a run of False (it may be empty)."""
    flat = np.concatenate([[False], mask.ravel(), [True]])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    return [int(n) for n in np.diff(np.concatenate([[0], edges[edges < mask.size], [mask.size]]))]


def _from_runs(runs: Iterable[int], shape: Shape) -> NDArray[np.bool_]:
    numbers = list(runs)
    total = sum(numbers)  # in Python's integers: a sum that wraps around would make numpy write beyond its memory
    if any(n < 0 for n in numbers) or total != math.prod(shape):
        raise PromptError(got=f"mask runs over {total} voxels", wanted=f"{math.prod(shape)} ({shape})")
    lengths = np.asarray(numbers, dtype=np.int64)
    return np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(shape)
