"""What a segmentation will take, before it is begun: planes to encode, time, memory, disk.

One plane is encoded and decoded for it, twice: what the model takes on this machine is measured, not guessed, and the
rest is counted. How far a mask is followed from a click is known only once it was done; such plans are upper bounds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter

from samaritan.core.geometry import Axis, axis_number
from samaritan.core.image import Image, Window
from samaritan.core.model import Model
from samaritan.core.prompts import Prompts
from samaritan.infer.crossing import shows_across
from samaritan.infer.embedder import Embedder, Where
from samaritan.infer.memory import DEFAULT_EMBEDDINGS, SLACK, peak_rss
from samaritan.infer.planes import choose_axis, on_plane
from samaritan.infer.translate import translate
from samaritan.infer.volume import Route, plan_route

_ACROSS = 2  # planes across the slices that a box over several of them has looked at
# Bytes for each voxel of the image and each object beside its mask: what decoding and the label map need for a while.
_LABEL_MAPS = 3


@dataclass(frozen=True, slots=True)
class Plan:
    """What a segmentation takes.

    Parameters
    ----------
    planes
        To be encoded.
    decodes
        Of one plane for one object.
    embed_s, decode_s
        Seconds for one of each.
    memory
        Bytes that the process holds at its peak.
    disk
        Bytes that its embeddings take in the cache.
    at_most
        Whether it may be less, because the ends of the object are not known.
    """

    planes: int
    decodes: int
    embed_s: float
    decode_s: float
    memory: int
    disk: int
    at_most: bool

    @property
    def seconds(self) -> float:
        """Seconds in all, reading and writing of files aside."""
        return self.planes * self.embed_s + self.decodes * self.decode_s


def plan(
    model: Model,
    image: Image,
    objects: Mapping[str, Prompts],
    *,
    axis: Axis | None = None,
    window: Window | str | None = None,
    max_memory: int | None = None,
) -> Plan:
    """Return what ``segment`` would take with the same arguments.

    Raises
    ------
    PromptError, ImageError, UnknownNameError
        As ``segment``.
    """
    embedder = Embedder(model, image, window=window)
    flat = model.card.dims == 2
    axes = {name: choose_axis(prompts, axis) for name, prompts in objects.items()}
    routes = {name: plan_route(prompts, axes[name]) for name, prompts in objects.items()} if flat else {}
    name, prompts = next(iter(objects.items()))
    first: Where = (axes[name], routes[name].first) if flat else None
    embed_s, decode_s = _measure(embedder, prompts, first)
    planes, decodes = _count(objects, axes, routes) if flat else (1, len(objects))
    return Plan(
        planes,
        decodes,
        embed_s,
        decode_s,
        _memory(embedder, planes, len(objects), max_memory),
        planes * embedder.held.nbytes,
        any(_open_ended(objects[name], axes[name], route) for name, route in routes.items()),
    )


def _measure(embedder: Embedder, prompts: Prompts, where: Where) -> tuple[float, float]:
    """Return the seconds to encode and to decode; each is done twice, as the first time makes the model ready."""
    model = embedder.model
    said = prompts if where is None else on_plane(prompts, *where)
    said = translate(said, model.card)
    model.card.require_prompts(said)
    prepared = embedder.prepared(where)
    embedding = embedder.embedding(where)
    model.decode(embedding, said)
    started = perf_counter()
    model.pack(model.embed(prepared))
    embedded = perf_counter()
    model.decode(embedding, said)
    return embedded - started, perf_counter() - embedded


def _count(objects: Mapping[str, Prompts], axes: Mapping[str, Axis], routes: Mapping[str, Route]) -> tuple[int, int]:
    """Return how many different planes are encoded, and how many planes are decoded for some object."""
    needed: set[tuple[Axis, int]] = set()
    across = 0
    for name, route in routes.items():
        needed |= {(axes[name], index) for index in range(route.start, route.stop)}
        looked = [box for box in objects[name].boxes if shows_across(box, objects[name].geometry, axes[name])]
        across += _ACROSS if route.unstarted and len(looked) == 1 else 0
    return len(needed) + across, sum(route.stop - route.start for route in routes.values()) + across


def _memory(embedder: Embedder, planes: int, objects: int, max_memory: int | None) -> int:
    held = min(planes * embedder.held.nbytes, DEFAULT_EMBEDDINGS if max_memory is None else max_memory)
    arrays = math.prod(embedder.image.geometry.shape) * (objects + _LABEL_MAPS)
    return peak_rss() + max(0, held - embedder.held.nbytes) + arrays + SLACK


def _open_ended(prompts: Prompts, axis: Axis, route: Route) -> bool:
    """Whether no box bounds the object across the slices: then it is followed until it ends."""
    normal = axis_number(axis)
    bounded = any(box.stop[normal] - box.start[normal] > 1 for box in prompts.boxes)
    return not bounded and route.stop - route.start > 1
