"""From prompts on a grid (i, j, k) to what is said to an nnInteractive server, in the order in which it is said.

Arrays on the wire are (k, j, i): the order that its own front-ends send, and the one in which a file's voxels lie in
memory. So every index, box and block is turned round, here and in ``wire_order`` only.

* A point is the voxel that it lies in; a scribble the block around its voxels; a lasso what is inside the outline, in
  its slice.
* A box that is one voxel thick along an axis is what the network was trained on. Others go as they are to a server that
  takes them. To one that does not they are said as three boxes that cross in the middle, one across each axis: each
  tells two of the three extents, so that together they say what the box said, and all have the same centre.
* A mask, or what an earlier prediction found, is where the model starts from. Of masks beside an earlier prediction
  only those count that it holds less than half of, and that no negative mark touches: they were drawn after it.
* The model looks once, at the end, around the prompt that came last. With a mask to start from that is the newest,
  which corrects it. Without one it is the positive prompt that reaches farthest: around another, part of the object
  could lie out of sight.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from samaritan.core.errors import PromptError, UnsupportedPromptError
from samaritan.core.geometry import Shape, axis_number
from samaritan.core.model import Prediction
from samaritan.core.prompts import Box, Lasso, MaskPrompt, Point, Prompt, Prompts, Scribble
from samaritan.models.nninteractive.client import Capabilities, Lease

Bools = NDArray[np.bool_]
Bytes = NDArray[np.uint8]


def wire_order(index: tuple[int, ...]) -> Shape:
    """Return an index or shape (i, j, k) as (k, j, i), or the other way round."""
    return cast("Shape", tuple(int(n) for n in reversed(index)))


class Step(Protocol):
    """One thing to say."""

    @property
    def positive(self) -> bool:
        """Whether it is on the object."""
        ...

    @property
    def reach(self) -> int:
        """Its longest side, in voxels."""
        ...

    def send(self, lease: Lease, *, run: bool) -> None:
        """Say it, and with ``run`` have the model look."""
        ...


@dataclass(frozen=True, slots=True)
class PointStep:
    """A click on ``voxel`` (k, j, i)."""

    voxel: Shape
    positive: bool

    @property
    def reach(self) -> int:
        """Its longest side, in voxels."""
        return 1

    def send(self, lease: Lease, *, run: bool) -> None:
        """Say it."""
        lease.add_point(self.voxel, positive=self.positive, run=run)


@dataclass(frozen=True, slots=True)
class BoxStep:
    """A half-open box, ``start`` and ``stop`` (k, j, i)."""

    start: Shape
    stop: Shape
    positive: bool = True

    @property
    def reach(self) -> int:
        """Its longest side, in voxels."""
        return max(b - a for a, b in zip(self.start, self.stop, strict=True))

    def send(self, lease: Lease, *, run: bool) -> None:
        """Say it."""
        lease.add_box(self.start, self.stop, run=run)


@dataclass(frozen=True, eq=False, slots=True)
class BlockStep:
    """A stroke, or the inside of a lasso if ``circled``: ``mask`` (k, j, i) of 0 and 1, whose block is at ``start``."""

    mask: Bytes
    start: Shape
    positive: bool
    circled: bool

    @property
    def reach(self) -> int:
        """Its longest side, in voxels."""
        return int(max(self.mask.shape))

    def send(self, lease: Lease, *, run: bool) -> None:
        """Say it."""
        add = lease.add_lasso if self.circled else lease.add_scribble
        add(self.mask, self.start, positive=self.positive, run=run)


@dataclass(frozen=True, eq=False, slots=True)
class Plan:
    """What to say: a mask ``start`` (k, j, i) of 0 and 1, or None, and then the ``steps``."""

    start: Bytes | None
    steps: tuple[Step, ...]

    @property
    def says_where(self) -> bool:
        """Whether anything in it is on the object: if not, there is nothing to find."""
        return self.start is not None or any(step.positive for step in self.steps)

    def send(self, lease: Lease) -> None:
        """Say all of it to a lease without prompts; the model looks once, at the end."""
        if self.start is not None:
            lease.add_start(self.start, run=not self.steps)
        for number, step in enumerate(self.steps, start=1):
            step.send(lease, run=number == len(self.steps))


def plan(prompts: Prompts, previous: Prediction | None, capabilities: Capabilities) -> Plan:
    """Return what to say to a server for ``prompts`` of one object.

    A server that takes no mask to start from is not told of ``previous``: the prompts that led to it are said again
    anyway.

    Raises
    ------
    PromptError
        If nothing says where the object is.
    UnsupportedPromptError
        If there is a mask alone, and the server's model does not improve masks by itself.
    """
    start = _start(prompts, previous) if capabilities.start else None
    steps = [step for item in prompts.items for step in _steps(item, prompts.geometry.shape, capabilities)]
    if start is None and not any(step.positive for step in steps):
        raise PromptError(
            got="negative prompts only",
            wanted="something on the object: a positive point, a scribble, a box, a lasso or a mask",
            fix="Add one" if not capabilities.start else "Add one, or refine an earlier prediction",
        )
    if not steps and not capabilities.refines:
        raise UnsupportedPromptError(
            got="a mask alone for a server whose model does not improve masks by themselves",
            wanted="another prompt with it",
            fix="Add a point, a box, a scribble or a lasso",
        )
    if start is not None and start.any():
        return Plan(_on_wire(start), tuple(steps))
    steps.sort(key=lambda step: (step.positive, step.reach))  # stable: equals stay in their order
    return Plan(None, tuple(steps))


def _on_wire(mask: Bools) -> Bytes:
    return np.ascontiguousarray(mask.transpose(2, 1, 0), np.uint8)


def _start(prompts: Prompts, previous: Prediction | None) -> Bools | None:
    """Return the mask (i, j, k) to start from, or None if there is none; see the module."""
    drawn = [item.mask for item in prompts.of(MaskPrompt)]
    if previous is None:
        return np.asarray(np.logical_or.reduce(drawn), np.bool_) if drawn else None
    found = previous.mask
    refused = np.zeros(found.shape, np.bool_)
    for item in prompts.items:
        if isinstance(item, Point) and not item.positive:
            refused[item.voxel] = True
        elif isinstance(item, Scribble | Lasso) and not item.positive:
            refused[tuple(_voxels(item, found.shape).T)] = True
    since = [
        mask
        for mask in drawn
        if 2 * np.count_nonzero(mask & found) < np.count_nonzero(mask) and not (mask & refused).any()
    ]
    return np.asarray(np.logical_or.reduce([found, *since]), np.bool_)


def _steps(item: Prompt, shape: tuple[int, ...], capabilities: Capabilities) -> Iterator[Step]:
    if isinstance(item, Point):
        yield PointStep(wire_order(item.voxel), item.positive)
    elif isinstance(item, Box):
        yield from _box_steps(item, capabilities)
    elif isinstance(item, Scribble | Lasso):
        voxels = _voxels(item, shape)
        first = voxels.min(axis=0)
        mask = np.zeros(voxels.max(axis=0) - first + 1, np.bool_)
        mask[tuple((voxels - first).T)] = True
        yield BlockStep(_on_wire(mask), wire_order(tuple(first)), item.positive, isinstance(item, Lasso))


def _box_steps(box: Box, capabilities: Capabilities) -> Iterator[BoxStep]:
    start, stop = wire_order(box.start), wire_order(box.stop)
    sides = [b - a for a, b in zip(start, stop, strict=True)]
    if capabilities.box_3d or min(sides) == 1:
        yield BoxStep(start, stop)
        return
    # The last is the one that the model looks around: it has the two longest sides.
    for axis in sorted(range(3), key=lambda n: -sides[n]):
        middle = (start[axis] + stop[axis]) // 2
        thin_start, thin_stop = list(start), list(stop)
        thin_start[axis], thin_stop[axis] = middle, middle + 1
        yield BoxStep(cast("Shape", tuple(thin_start)), cast("Shape", tuple(thin_stop)))


def _voxels(item: Scribble | Lasso, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Return the voxels (n, 3) of a stroke, or of what a lasso holds."""
    if isinstance(item, Scribble):
        return item.voxels
    normal = axis_number(item.axis)
    across = [axis for axis in range(3) if axis != normal]
    corners = item.vertices[:, across]
    low = np.floor(corners.min(axis=0) + 0.5).astype(np.int64)
    high = np.floor(corners.max(axis=0) + 0.5).astype(np.int64)
    inside = np.argwhere(_filled(corners - low, tuple(high - low + 1))) + low
    voxels = np.empty((len(inside), 3), np.int64)
    voxels[:, across], voxels[:, normal] = inside, item.slice_index
    return np.asarray(np.clip(voxels, 0, np.array(shape) - 1))


def _filled(corners: NDArray[np.float64], shape: tuple[int, ...]) -> Bools:
    """Return the pixels of ``shape`` within an outline; those at its corners if it is too thin to hold one's centre."""
    from skimage.draw import polygon2mask  # noqa: PLC0415 - slow to import, and few prompts are lassos

    area = np.asarray(polygon2mask(shape, corners), np.bool_)
    if not area.any():
        area[tuple(np.floor(corners + 0.5).astype(np.int64).T)] = True
    return area
