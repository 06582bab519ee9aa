"""From prompts on a grid (i, j, k) to what is said to an nnInteractive server, in the order in which it is said.

Arrays on the wire are (k, j, i): the order that its own front-ends send, and the one in which a file's voxels lie in
memory. So every index, box and block is turned round, here and in ``wire_order`` only.

* A point is the voxel that it lies in; a scribble the block around its voxels, as thick as the server prefers; a lasso
  what is inside the outline, in its slice.
* A box that is one voxel thick along an axis is what the network was trained on. Others go as they are to a server that
  takes them. To one that does not they are said as three boxes that cross in the middle, one across each axis: each
  tells two of the three extents, so that together they say what the box said, and all have the same centre.
* A mask, or what an earlier prediction found, is where the model starts from. Of masks beside an earlier prediction
  only those count that it did not heed (``prompt_areas.unheeded``): they were drawn after it.
* The model looks at a patch around one prompt at a time, so it looks around the prompt that comes last, and before that
  around each that none of the later looks takes in. With a mask to start from, what it does not heed comes last, the
  newest last of all, and what it heeds needs no look. Without one, the positive prompt that reaches farthest comes
  last: around another, part of the object could lie out of sight; and the negative ones come first, for beside nothing
  there is nothing to see.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from samaritan.core.errors import PromptError, UnsupportedPromptError
from samaritan.core.geometry import Shape
from samaritan.core.model import Prediction
from samaritan.core.prompts import Box, Lasso, MaskPrompt, Point, Prompt, Prompts, Scribble
from samaritan.models.nninteractive.client import Capabilities, Lease
from samaritan.models.prompt_areas import negative_marks, unheeded, voxels_inside

Bools = NDArray[np.bool_]
Bytes = NDArray[np.uint8]

_AROUND = 1 / 3  # of a patch: what the server looks at beside a prompt that is not a point


def wire_order(index: tuple[int, ...]) -> Shape:
    """Return an index or shape (i, j, k) as (k, j, i), or the other way round."""
    return cast("Shape", tuple(int(n) for n in reversed(index)))


@dataclass(frozen=True, slots=True)
class Block:
    """A half-open block of voxels, ``start`` and ``stop`` (k, j, i)."""

    start: Shape
    stop: Shape

    @property
    def sides(self) -> Shape:
        """Its voxels along each axis."""
        return cast("Shape", tuple(b - a for a, b in zip(self.start, self.stop, strict=True)))

    @property
    def slices(self) -> tuple[slice, ...]:
        """It as an index."""
        return tuple(slice(a, b) for a, b in zip(self.start, self.stop, strict=True))

    def shows(self, other: Block, patch: Shape) -> bool:
        """Whether a look around this block takes in all of another.

        A server looks at a ``patch`` (k, j, i) around the middle, enlarged evenly as far as the block needs.
        """
        zoom = max(1.0, *(side / size + _AROUND for side, size in zip(self.sides, patch, strict=True)))
        middle = (np.array(self.start) + self.stop) / 2
        half = zoom * np.array(patch) / 2
        return bool((middle - half <= other.start).all() and (other.stop <= middle + half).all())


class Step(Protocol):
    """One thing to say."""

    @property
    def positive(self) -> bool:
        """Whether it is on the object."""
        ...

    @property
    def block(self) -> Block:
        """Where it is."""
        ...

    def is_heeded(self, mask: Bytes) -> bool:
        """Whether a mask (k, j, i) of 0 and 1 is as it says."""
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
    def block(self) -> Block:
        """The voxel."""
        return Block(self.voxel, cast("Shape", tuple(n + 1 for n in self.voxel)))

    def is_heeded(self, mask: Bytes) -> bool:
        """Whether the voxel is in a mask, or if negative is not."""
        return bool(mask[self.voxel]) == self.positive

    def send(self, lease: Lease, *, run: bool) -> None:
        """Say it."""
        lease.add_point(self.voxel, positive=self.positive, run=run)


@dataclass(frozen=True, slots=True)
class BoxStep:
    """A box around the object."""

    block: Block
    positive: bool = True

    def is_heeded(self, mask: Bytes) -> bool:
        """Whether there is anything of a mask in it."""
        return bool(mask[self.block.slices].any())

    def send(self, lease: Lease, *, run: bool) -> None:
        """Say it."""
        lease.add_box(self.block.start, self.block.stop, run=run)


@dataclass(frozen=True, eq=False, slots=True)
class BlockStep:
    """A stroke, or the inside of a lasso if ``circled``: ``mask`` (k, j, i) of 0 and 1, whose block is at ``start``."""

    mask: Bytes
    start: Shape
    positive: bool
    circled: bool

    @property
    def block(self) -> Block:
        """The block around it."""
        return Block(self.start, cast("Shape", tuple(a + n for a, n in zip(self.start, self.mask.shape, strict=True))))

    def is_heeded(self, mask: Bytes) -> bool:
        """Whether at least half of it is in a mask, or if negative nothing."""
        inside, whole = (int(np.count_nonzero(part)) for part in (mask[self.block.slices] & self.mask, self.mask))
        return 2 * inside >= whole if self.positive else not inside

    def send(self, lease: Lease, *, run: bool) -> None:
        """Say it."""
        add = lease.add_lasso if self.circled else lease.add_scribble
        add(self.mask, self.start, positive=self.positive, run=run)


@dataclass(frozen=True, eq=False, slots=True)
class Plan:
    """What to say: a mask ``start`` (k, j, i) of 0 and 1, or None; then the ``steps``, and whether to look after each.

    With a mask alone the model looks at that.
    """

    start: Bytes | None
    steps: tuple[Step, ...]
    looks: tuple[bool, ...]

    @property
    def says_where(self) -> bool:
        """Whether anything in it is on the object: if not, there is nothing to find."""
        return self.start is not None or any(step.positive for step in self.steps)

    def send(self, lease: Lease) -> None:
        """Say all of it to a lease without prompts."""
        if self.start is not None:
            lease.add_start(self.start, run=not self.steps)
        for step, run in zip(self.steps, self.looks, strict=True):
            step.send(lease, run=run)


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
    if start is None or not start.any():
        steps.sort(key=lambda step: (step.positive, max(step.block.sides)))  # stable: equals stay in their order
        return Plan(None, tuple(steps), _looks(steps, [step.positive for step in steps], capabilities.patch))
    mask = _on_wire(start)
    steps.sort(key=lambda step: not step.is_heeded(mask))
    return Plan(mask, tuple(steps), _looks(steps, [not step.is_heeded(mask) for step in steps], capabilities.patch))


def _looks(steps: Sequence[Step], matters: Sequence[bool], patch: Shape) -> tuple[bool, ...]:
    """Return after which steps to look: the last, and those that matter and that no later look takes in."""
    around: list[Block] = []
    looks = []
    for step, alone in zip(reversed(steps), reversed(matters), strict=True):
        look = not around or (alone and not any(block.shows(step.block, patch) for block in around))
        looks.append(look)
        around += [step.block] * look
    return tuple(reversed(looks))


def _on_wire(mask: Bools) -> Bytes:
    return np.ascontiguousarray(mask.transpose(2, 1, 0), np.uint8)


def _start(prompts: Prompts, previous: Prediction | None) -> Bools | None:
    """Return the mask (i, j, k) to start from, or None if there is none; see the module."""
    drawn = [item.mask for item in prompts.of(MaskPrompt)]
    if previous is not None:
        found = previous.mask
        drawn = [found, *unheeded(drawn, found, negative_marks(prompts))]
    return np.asarray(np.logical_or.reduce(drawn), np.bool_) if drawn else None


def _steps(item: Prompt, shape: tuple[int, ...], capabilities: Capabilities) -> Iterator[Step]:
    if isinstance(item, Point):
        yield PointStep(wire_order(item.voxel), item.positive)
    elif isinstance(item, Box):
        yield from _box_steps(item, capabilities)
    elif isinstance(item, Scribble):
        voxels = _thickened(item.voxels, wire_order(capabilities.thickness), shape)
        yield _block_step(voxels, positive=item.positive, circled=False)
    elif isinstance(item, Lasso):
        yield _block_step(voxels_inside(item), positive=item.positive, circled=True)


def _block_step(voxels: NDArray[np.int64], *, positive: bool, circled: bool) -> BlockStep:
    first = voxels.min(axis=0)
    mask = np.zeros(np.ptp(voxels, axis=0) + 1, np.bool_)
    mask[tuple((voxels - first).T)] = True
    return BlockStep(_on_wire(mask), wire_order(tuple(first)), positive, circled)


def _thickened(voxels: NDArray[np.int64], thickness: Shape, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Return ``voxels`` (n, 3) of a stroke on a grid of ``shape``; where it is thinner than ``thickness``, with more.

    A stroke in one slice stays in it: the network was shown no others. Of several slices that it could be in, that one
    counts which lies across k, or else across j.
    """
    brush = np.array(thickness)
    flat = np.flatnonzero(np.ptp(voxels, axis=0) == 0)
    if flat.size:
        brush[flat[-1]] = 1
    first = voxels.min(axis=0) - (brush - 1) // 2
    drawn = np.zeros(np.ptp(voxels, axis=0) + brush, np.bool_)  # with room for the brush
    drawn[tuple((voxels - first).T)] = True
    footprint = np.ones(brush, np.bool_)
    thin = drawn & ~ndimage.binary_opening(drawn, footprint)
    even = tuple((brush % 2 - 1).tolist())  # where the middle lies between two voxels, the one before it counts
    wide = drawn | ndimage.binary_dilation(thin, footprint, origin=even)
    found = np.argwhere(wide) + first
    return np.asarray(found[((found >= 0) & (found < shape)).all(axis=1)])


def _box_steps(box: Box, capabilities: Capabilities) -> Iterator[BoxStep]:
    block = Block(wire_order(box.start), wire_order(box.stop))
    if capabilities.box_3d or min(block.sides) == 1:
        yield BoxStep(block)
        return
    # The last is the one that the model looks around: it has the two longest sides.
    for axis in sorted(range(3), key=lambda n: -block.sides[n]):
        middle = (block.start[axis] + block.stop[axis]) // 2
        start, stop = list(block.start), list(block.stop)
        start[axis], stop[axis] = middle, middle + 1
        yield BoxStep(Block(cast("Shape", tuple(start)), cast("Shape", tuple(stop))))
