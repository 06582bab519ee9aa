"""An image and prompts in, masks out: the whole of inference in one call."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any, TypeVar

from samaritan.core.errors import PromptError
from samaritan.core.geometry import Axis, Geometry, axis_number
from samaritan.core.image import Image, LabelMap, Window
from samaritan.core.model import Embedding, GrowingEmbedding, Model, ModelCard, Prediction, Step, StepwiseModel
from samaritan.core.prompts import Prompts, Text
from samaritan.infer.cache import EmbeddingCache
from samaritan.infer.channels import Channels
from samaritan.infer.embedder import Embedder, Where
from samaritan.infer.memory import arrays_nbytes, plan_embeddings
from samaritan.infer.planes import choose_axis
from samaritan.infer.propagation import DEFAULT_PROPAGATION, Propagation
from samaritan.infer.shapes import Bools
from samaritan.infer.timing import Progress
from samaritan.infer.turn import Turn
from samaritan.infer.volume import ObjectSegmenter, plan_route, shared_planes, start_together, telling_object

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, eq=False, slots=True)
class SegmentedObject:
    """One object: its ``name``, ``mask`` (i, j, k) on the image's grid, and ``score``.

    That is the predicted IoU, in [0, 1]; nan if the model does not predict it.
    """

    name: str
    mask: Bools
    score: float


@dataclass(frozen=True, eq=False, slots=True)
class Segmentation:
    """The masks of all objects on ``geometry``, and the ``seconds`` that preparing, embedding and decoding took.

    ``values`` are those that objects of these names have in label maps.
    """

    objects: tuple[SegmentedObject, ...]
    geometry: Geometry
    seconds: Mapping[str, float] = field(default_factory=dict)
    values: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "seconds", MappingProxyType(dict(self.seconds)))

    @property
    def labels(self) -> LabelMap:
        """All masks as one label map; see ``LabelMap.from_masks``."""
        masks = {item.name: item.mask for item in self.objects}
        return LabelMap.from_masks(masks, self.geometry, values=self.values)


def segment(  # noqa: PLR0913 - the one entry point: an image and prompts, and options that all have defaults
    model: Model,
    image: Image,
    objects: Mapping[str, Prompts],
    *,
    axis: Axis | None = None,
    window: Window | str | None = None,
    channels: Channels | str | None = None,
    cache: EmbeddingCache | None = None,
    max_memory: int | None = None,
    progress: Progress | None = None,
    propagation: Propagation = DEFAULT_PROPAGATION,
) -> Segmentation:
    """Segment ``objects`` of ``image``; a model of planes, or one that follows slices, goes through a volume by slices.

    Parameters
    ----------
    model
        Of planes or of volumes.
    image
        A picture or a volume, of any modality; its values are prepared here.
    objects
        The prompts of each object by name, on the grid of ``image``.
    axis
        Across which to slice a volume; by default as ``samaritan.infer.planes.choose_axis`` says, for each object. A
        model that sees a volume as a whole needs none.
    window
        Name, ``"file"``, or centre and width; by default as ``samaritan.infer.intensity`` says.
    channels
        Which channels the model sees, such as ``"average"`` or ``"each:t1,flair"``; by default the first, or colour:
        see ``samaritan.infer.channels``.
    cache
        Where to keep embeddings on disk; None keeps nothing beyond this call.
    max_memory
        Bytes that the process may hold at its peak; None for no promise.
    progress
        Called with the object's name, slices (or a volume model's own steps) done, and how many there are at most.
    propagation
        How a mask is followed through a volume.

    Raises
    ------
    PromptError
        If there is no object, an object has no positive prompt, or the model does not take its kind; of several it
        names the object.
    GeometryMismatchError
        If prompts are on another grid than the image.
    ImageError, UnknownNameError
        If the image has no contrast, the window is none, or there are no such channels.
    OutOfMemoryBudgetError
        If it cannot be done within ``max_memory``.
    """
    require_objects(image, objects)
    # A limit is for those who have little memory: what several planes or objects take at once is not foreseen.
    together = max_memory is None
    embedder = Embedder(model, image, window=window, channels=channels, cache=cache, max_bytes=0, together=together)
    axes = each_of(objects, lambda _, prompts: choose_axis(prompts, axis))
    with ExitStack() as stack:
        if not _fit_memory(embedder, objects, axes, max_memory) and cache is None:
            # What does not fit in memory is kept on disk rather than encoded again for every object.
            embedder.cache = EmbeddingCache(stack.enter_context(TemporaryDirectory(prefix="samaritan-")))
        results = segment_objects(embedder, objects, axes, propagation=propagation, progress=progress)
    values = {name: value for value, name in model.card.classes.items()}
    return Segmentation(results, image.geometry, embedder.stopwatch.seconds, values)


def every_class(card: ModelCard, geometry: Geometry) -> dict[str, Prompts]:
    """Return prompts for all that a model finds by name alone, by name; none for one that wants to be told."""
    return {name: Prompts(geometry, (Text(name),)) for name in card.classes.values()}


def require_objects(image: Image, objects: Mapping[str, Prompts]) -> None:
    """Raise ``PromptError`` if there is no object, ``GeometryMismatchError`` if one is on another grid."""
    if not objects:
        raise PromptError(got="no object", wanted="prompts for at least one", fix="Add a point or a box")
    for name, prompts in objects.items():
        image.geometry.require_match(prompts.geometry, f"prompts of '{name}'")


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
    [found] = segment_objects(embedder, {name: prompts}, {name: axis}, propagation=propagation, progress=progress)
    return found


def segment_objects(
    embedder: Embedder,
    objects: Mapping[str, Prompts],
    axes: Mapping[str, Axis],
    *,
    propagation: Propagation = DEFAULT_PROPAGATION,
    progress: Progress | None = None,
) -> tuple[SegmentedObject, ...]:
    """Segment objects of the embedder's image, each along its axis; see ``segment``.

    Planes that several of them are prompted in are decoded for several at once, if the embedder is ``together``.
    """
    told = {name: _Told(name, progress) for name in objects}
    if embedder.model.card.dims == 3:
        whole = each_of(objects, lambda name, prompts: _whole(embedder, prompts, axes[name], told[name]))
        return tuple(whole.values())
    begun = each_of(
        objects, lambda name, prompts: ObjectSegmenter(embedder, prompts, axes[name], propagation, told[name].tick)
    )
    for name, segmenter in begun.items():
        told[name].total = segmenter.route.stop - segmenter.route.start
    if embedder.together:
        start_together(embedder, shared_planes(begun))
    return tuple(each_of(begun, lambda name, segmenter: _followed(segmenter, told[name])).values())


def each_of(objects: Mapping[str, T], work: Callable[[str, T], R]) -> dict[str, R]:
    """Return what ``work`` makes of the name and the rest of each object, by name; see ``naming``."""
    done = {}
    for name, item in objects.items():
        with naming(name, objects):
            done[name] = work(name, item)
    return done


def naming(name: str, objects: Mapping[str, Any]) -> AbstractContextManager[None]:
    """Let errors of the code within name the object that they are about, if it is one of several."""
    return telling_object(name) if len(objects) > 1 else nullcontext()


class _Told:
    """Tells of the steps of one object, and in the end that all is done: there may be fewer than there could."""

    def __init__(self, name: str, progress: Progress | None) -> None:
        self.name, self._progress = name, progress
        self.total = self._done = 0

    def step(self, done: int, total: int) -> None:
        """Tell of a step; see ``Step``."""
        self._done, self.total = min(done, total), total
        if self._progress is not None:
            self._progress(self.name, self._done, total)

    def tick(self) -> None:
        """Tell of one more step of ``total``."""
        self.step(self._done + 1, self.total)

    def finish(self) -> None:
        """Tell of the end, unless that was done."""
        if self._done < self.total:
            self.step(self.total, self.total)


def decode_whole(model: Model, embedding: Embedding, prompts: Prompts, step: Step) -> Prediction:
    """Decode by a model of volumes, and call ``step`` after each of its steps; once, if it tells of none.

    Raises
    ------
    PromptError
        As ``model.decode``.
    """
    if isinstance(model, StepwiseModel):
        return model.decode_stepwise(embedding, prompts, step=step)
    prediction = model.decode(embedding, prompts)
    step(1, 1)
    return prediction


def _followed(segmenter: ObjectSegmenter, told: _Told) -> SegmentedObject:
    segmenter.run()
    told.finish()
    return SegmentedObject(told.name, segmenter.mask, segmenter.score)


def _whole(embedder: Embedder, prompts: Prompts, axis: Axis, told: _Told) -> SegmentedObject:
    embedder.model.card.require_prompts(prompts)
    turn = Turn.wanted(embedder.model.card, prompts.geometry, axis)
    embedding = embedder.embedding(turn.where)
    if isinstance(embedding, GrowingEmbedding):
        embedding.max_bytes = min(embedding.max_bytes, embedder.held.max_bytes)
    with embedder.stopwatch("decode"):
        prediction = decode_whole(embedder.model, embedding, turn.prompts(prompts), told.step)
    told.finish()
    return SegmentedObject(told.name, turn.back(prediction.mask), prediction.score)


def _fit_memory(
    embedder: Embedder, objects: Mapping[str, Prompts], axes: Mapping[str, Axis], max_memory: int | None
) -> bool:
    """Set how many embeddings are held in memory; return whether they are as many as all objects will need."""
    geometry, card = embedder.image.geometry, embedder.model.card
    arrays = arrays_nbytes(math.prod(geometry.shape), objects=len(objects), dims=card.dims)
    plan_embeddings(max_memory, arrays=arrays, embedding=0)
    name, prompts = next(iter(objects.items()))
    if card.dims == 2:
        with naming(name, objects):
            first: Where = (axes[name], plan_route(prompts, axes[name]).first)
        parts = sum(geometry.shape[axis_number(axis)] for axis in set(axes.values()))
    else:
        first = Turn.wanted(card, geometry, axes[name]).where
        parts = len({Turn.wanted(card, geometry, axis).where for axis in axes.values()})
    # This first one is needed anyway, and shows what the model takes.
    embedder.embedding(first)
    embedder.held.max_bytes = plan_embeddings(max_memory, arrays=arrays, embedding=embedder.held.nbytes)
    return len(objects) == 1 or parts * embedder.held.nbytes <= embedder.held.max_bytes
