"""An image and prompts in, masks out: the whole of inference in one call."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from tempfile import TemporaryDirectory
from types import MappingProxyType

from samaritan.core.errors import PromptError
from samaritan.core.geometry import Axis, Geometry, axis_number
from samaritan.core.image import Image, LabelMap, Window
from samaritan.core.model import Model
from samaritan.core.prompts import Prompts
from samaritan.infer.cache import EmbeddingCache
from samaritan.infer.embedder import Embedder
from samaritan.infer.memory import plan_embeddings
from samaritan.infer.planes import choose_axis
from samaritan.infer.propagation import DEFAULT_PROPAGATION, Propagation
from samaritan.infer.shapes import Bools
from samaritan.infer.timing import Progress
from samaritan.infer.volume import ObjectSegmenter, plan_route


@dataclass(frozen=True, eq=False, slots=True)
class SegmentedObject:
    """One object: its ``name``, ``mask`` (i, j, k) on the image's grid, and ``score``, the predicted IoU in [0, 1]."""

    name: str
    mask: Bools
    score: float


@dataclass(frozen=True, eq=False, slots=True)
class Segmentation:
    """The masks of all objects on ``geometry``, and the ``seconds`` that preparing, embedding and decoding took."""

    objects: tuple[SegmentedObject, ...]
    geometry: Geometry
    seconds: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "seconds", MappingProxyType(dict(self.seconds)))

    @property
    def labels(self) -> LabelMap:
        """All masks as one label map, numbered from 1 in order; where objects overlap, the first has the voxel."""
        return LabelMap.from_masks({item.name: item.mask for item in self.objects}, self.geometry)


def segment(  # noqa: PLR0913 - the one entry point: an image and prompts, and options that all have defaults
    model: Model,
    image: Image,
    objects: Mapping[str, Prompts],
    *,
    axis: Axis | None = None,
    window: Window | str | None = None,
    cache: EmbeddingCache | None = None,
    max_memory: int | None = None,
    progress: Progress | None = None,
    propagation: Propagation = DEFAULT_PROPAGATION,
) -> Segmentation:
    """Segment ``objects`` of ``image``; a model of planes goes through a volume slice by slice.

    Parameters
    ----------
    model
        Of planes or of volumes.
    image
        A picture or a volume, of any modality; its values are prepared here.
    objects
        The prompts of each object by name, on the grid of ``image``.
    axis
        Across which to slice a volume; by default as ``samaritan.infer.planes.choose_axis`` says, for each object.
    window
        Name, ``"file"``, or centre and width; by default as ``samaritan.infer.intensity`` says.
    cache
        Where to keep embeddings on disk; None keeps nothing beyond this call.
    max_memory
        Bytes that the process may hold at its peak; None for no promise.
    progress
        Called with the object's name, slices done, and slices that there are at most.
    propagation
        How a mask is followed through a volume.

    Raises
    ------
    PromptError
        If there is no object, an object has no positive prompt, or the model does not take its kind.
    GeometryMismatchError
        If prompts are on another grid than the image.
    ImageError, UnknownNameError
        If the image has no contrast, or the window is none.
    OutOfMemoryBudgetError
        If it cannot be done within ``max_memory``.
    """
    if not objects:
        raise PromptError(got="no object", wanted="prompts for at least one", fix="Add a point or a box")
    for name, prompts in objects.items():
        image.geometry.require_match(prompts.geometry, f"prompts of '{name}'")
    embedder = Embedder(model, image, window=window, cache=cache, max_bytes=0)
    axes: dict[str, Axis] = {name: choose_axis(prompts, axis) for name, prompts in objects.items()}
    with ExitStack() as stack:
        if not _fit_memory(embedder, objects, axes, max_memory) and cache is None:
            # What does not fit in memory is kept on disk rather than encoded again for every object.
            embedder.cache = EmbeddingCache(stack.enter_context(TemporaryDirectory(prefix="samaritan-")))
        results = tuple(
            segment_object(embedder, prompts, name=name, axis=axes[name], propagation=propagation, progress=progress)
            for name, prompts in objects.items()
        )
    return Segmentation(results, image.geometry, embedder.stopwatch.seconds)


def segment_object(
    embedder: Embedder,
    prompts: Prompts,
    *,
    name: str,
    axis: Axis,
    propagation: Propagation = DEFAULT_PROPAGATION,
    progress: Progress | None = None,
) -> SegmentedObject:
    """Segment one object of the embedder's image; see ``segment``."""
    if embedder.model.card.dims == 3:
        return _whole(embedder, prompts, name)
    done = 0

    def tick() -> None:
        nonlocal done
        done = min(done + 1, total)
        if progress is not None:
            progress(name, done, total)

    segmenter = ObjectSegmenter(embedder, prompts, axis, propagation, tick)
    total = segmenter.route.stop - segmenter.route.start
    segmenter.run()
    if progress is not None and done < total:
        progress(name, total, total)
    return SegmentedObject(name, segmenter.mask, segmenter.score)


def _whole(embedder: Embedder, prompts: Prompts, name: str) -> SegmentedObject:
    embedder.model.card.require_prompts(prompts)
    embedding = embedder.embedding(None)
    with embedder.stopwatch("decode"):
        prediction = embedder.model.decode(embedding, prompts)
    return SegmentedObject(name, prediction.mask, prediction.score)


def _fit_memory(
    embedder: Embedder, objects: Mapping[str, Prompts], axes: Mapping[str, Axis], max_memory: int | None
) -> bool:
    """Set how many embeddings are held in memory; return whether they are as many as all objects will need."""
    shape = embedder.image.geometry.shape
    # A mask for each object, the label map, and what is needed to make it.
    arrays = math.prod(shape) * (len(objects) + 3)
    plan_embeddings(max_memory, arrays=arrays, embedding=0)
    name, prompts = next(iter(objects.items()))
    flat = embedder.model.card.dims == 2
    # This first one is needed anyway, and shows what the model takes.
    embedder.embedding((axes[name], plan_route(prompts, axes[name]).first) if flat else None)
    embedder.held.max_bytes = plan_embeddings(max_memory, arrays=arrays, embedding=embedder.held.nbytes)
    planes = sum(shape[axis_number(axis)] for axis in set(axes.values())) if flat else 1
    return len(objects) == 1 or planes * embedder.held.nbytes <= embedder.held.max_bytes
