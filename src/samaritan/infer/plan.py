"""What a segmentation will take, before it is done: planes to encode, time, memory, disk.

The segmentation is begun, and broken off after a few slices: so what a slice takes is measured as it will be done, with
this image on this machine, and not guessed. How many slices there are is counted. How far an object is followed is
known only once it was done; plans of what is followed are upper bounds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from tempfile import TemporaryDirectory
from time import perf_counter

from samaritan.core.geometry import Axis, axis_number
from samaritan.core.image import Image, Window
from samaritan.core.model import Embedding, GrowingEmbedding, Model, StepwiseModel
from samaritan.core.process import peak_rss
from samaritan.core.prompts import Prompts
from samaritan.infer.cache import EmbeddingCache
from samaritan.infer.channels import Channels
from samaritan.infer.crossing import shows_across
from samaritan.infer.embedder import Embedder
from samaritan.infer.memory import arrays_nbytes, plan_embeddings
from samaritan.infer.planes import choose_axis
from samaritan.infer.propagation import DEFAULT_PROPAGATION
from samaritan.infer.segment import decode_whole, each_of, naming, require_objects
from samaritan.infer.turn import Turn
from samaritan.infer.volume import ObjectSegmenter, Route, at_once, plan_route, shared_planes, start

_ACROSS = 2  # planes across the slices that a box over several of them has looked at
# A trial lasts for so many seconds after its first step, which makes the model ready, and for so many steps at least:
# a few slices, for the machine may be busy with something else in one of them; and until a model that follows an object
# through a volume remembers all that it ever will, as then a step takes longest.
_TRIAL_S = 1.0
_SLICES, _STEPS = 3, 12
_LAST = 3  # steps of a trial that tell how long the rest take


@dataclass(frozen=True, slots=True)
class Plan:
    """What a segmentation takes.

    Parameters
    ----------
    planes
        To be encoded; of a model of volumes that tells of its steps, the steps.
    decodes
        Of one plane for one object, or steps.
    seconds
        From an image in memory and a model that is loaded to the masks.
    memory
        Bytes that the process holds at its peak until then.
    disk
        Bytes that its embeddings take in the cache.
    at_most
        Whether it may be less, because the ends of the object are not known.
    """

    planes: int
    decodes: int
    seconds: float
    memory: int
    disk: int
    at_most: bool


def plan(
    model: Model,
    image: Image,
    objects: Mapping[str, Prompts],
    *,
    axis: Axis | None = None,
    window: Window | str | None = None,
    channels: Channels | str | None = None,
    max_memory: int | None = None,
) -> Plan:
    """Return what ``segment`` would take with the same arguments and an empty cache.

    Raises
    ------
    SamaritanError
        As ``segment``.
    """
    require_objects(image, objects)
    with TemporaryDirectory(prefix="samaritan-") as folder:
        started = perf_counter()
        cache, together = EmbeddingCache(folder), max_memory is None  # as in ``segment``
        embedder = Embedder(model, image, window=window, channels=channels, cache=cache, together=together)
        if model.card.dims == 3:
            return _of_volume(embedder, objects, axis, max_memory, started)
        return _of_planes(embedder, objects, axis, max_memory, started)


def _of_planes(
    embedder: Embedder, objects: Mapping[str, Prompts], axis: Axis | None, max_memory: int | None, started: float
) -> Plan:
    axes = each_of(objects, lambda _, prompts: choose_axis(prompts, axis))
    routes = each_of(objects, lambda name, prompts: plan_route(prompts, axes[name]))
    name, prompts = next(iter(objects.items()))
    across, held = _across(prompts, axes[name], routes[name]), embedder.held
    encoded: list[int] = []  # planes, after each step

    def begin(step: Callable[[], None]) -> None:
        def tick() -> None:
            encoded.append(len(held))
            step()

        with naming(name, objects):
            ObjectSegmenter(embedder, prompts, axes[name], DEFAULT_PROPAGATION, tick).run()

    # Where several planes are encoded at once, the first ones are within the first step: more are wanted.
    trial = _try(begin, lambda: held.nbytes, started=started, least=_SLICES + embedder.batch - 1)
    done = len(trial.seconds)
    # With its planes encoded, the same again takes what decoding does.
    decode_s = _try(begin, lambda: 0, started=perf_counter(), steps=done).seconds[-1] / (done + across)
    followed = len(held) - encoded[0]  # since the first step
    if followed:
        embed_s = (trial.seconds[-1] - trial.seconds[0] - (done - 1) * decode_s) / followed
        size = (held.nbytes - trial.nbytes[0]) // followed
    else:
        embed_s = (trial.seconds[-1] - (done + across) * decode_s) / len(held)
        size = held.nbytes // len(held)
    saved = _saved(embedder, objects, axes, decode_s) if embedder.together else 0.0
    planes, decodes = _count(objects, axes, routes)
    to_encode, to_decode = max(0, planes - len(held)), max(0, decodes - done - across)
    growth = to_encode * size
    return Plan(
        planes,
        decodes,
        trial.seconds[-1] + to_encode * max(0.0, embed_s) + to_decode * decode_s - saved,
        _memory(embedder, len(objects), growth, max_memory),
        held.nbytes + growth,
        any(_is_open(objects[name], axes[name], route) for name, route in routes.items()),
    )


def _saved(embedder: Embedder, objects: Mapping[str, Prompts], axes: Mapping[str, Axis], decode_s: float) -> float:
    """Return the seconds that are saved because some objects are decoded together, as tried on a plane that is held."""
    shared = shared_planes(
        {
            name: ObjectSegmenter(embedder, prompts, axes[name], DEFAULT_PROPAGATION, lambda: None)
            for name, prompts in objects.items()
        }
    )
    where = next((where for where in shared if embedder.held.get((where, False)) is not None), None)
    if where is None:
        return 0.0
    some = dict(islice(shared[where].items(), at_once(embedder, where)))
    started = perf_counter()
    start(embedder, where, some)
    together_s = (perf_counter() - started) / len(some)
    return sum(map(len, shared.values())) * (decode_s - together_s)


def _of_volume(
    embedder: Embedder, objects: Mapping[str, Prompts], axis: Axis | None, max_memory: int | None, started: float
) -> Plan:
    model = embedder.model
    seconds, fresh = 0.0, 0
    done = rest = grown = 0
    for name, prompts in objects.items():
        with naming(name, objects):
            model.card.require_prompts(prompts)
            turn = Turn.wanted(model.card, prompts.geometry, choose_axis(prompts, axis))
            embedding = embedder.embedding(turn.where)
            seconds, before = seconds + perf_counter() - started, embedding.nbytes
            fresh = fresh or before
            trial, left = _try_volume(model, embedding, turn.prompts(prompts))
        seconds += trial.seconds[-1] + left * trial.step_s
        done, rest, grown = done + len(trial.seconds), rest + left, grown + embedding.nbytes - before
        started = perf_counter()
    growth = grown * rest // done
    disk = embedder.held.nbytes
    if isinstance(embedding, GrowingEmbedding):
        disk += grown + growth  # the parts are kept as well
        growth = min(growth, max(0, fresh + embedding.max_bytes - embedding.nbytes))
    return Plan(
        done + rest if isinstance(model, StepwiseModel) else 1,
        done + rest,
        seconds,
        _memory(embedder, len(objects), growth, max_memory),
        disk,
        rest > 0,
    )


@dataclass(frozen=True, slots=True)
class _Trial:
    """What was begun: after each step the ``seconds`` since then and the ``nbytes`` held; whether it was finished."""

    seconds: list[float]
    nbytes: list[int]
    finished: bool

    @property
    def step_s(self) -> float:
        """Seconds that one of the last steps took."""
        last = [0.0, *self.seconds][-_LAST - 1 :]
        return (last[-1] - last[0]) / (len(last) - 1)


class _EnoughError(Exception):
    """Breaks a trial off."""


def _try(
    begin: Callable[[Callable[[], None]], object],
    nbytes: Callable[[], int],
    *,
    started: float,
    least: int = 0,
    steps: int | None = None,
) -> _Trial:
    """Begin something that calls what it is given after each step; break it off after ``steps``, or at enough."""
    trial = _Trial([], [], finished=False)

    def step() -> None:
        now = perf_counter() - started
        trial.seconds.append(now)
        trial.nbytes.append(nbytes())
        enough = len(trial.seconds) >= least and now - trial.seconds[0] >= _TRIAL_S
        if len(trial.seconds) == steps or (steps is None and enough):
            raise _EnoughError

    try:
        begin(step)
    except _EnoughError:
        return trial
    return replace(trial, finished=True)


def _try_volume(model: Model, embedding: Embedding, prompts: Prompts) -> tuple[_Trial, int]:
    """Begin to decode by a model of volumes; return the trial, and how many steps are left at most."""
    left = 0

    def begin(step: Callable[[], None]) -> None:
        def told(done: int, total: int) -> None:
            nonlocal left
            left = total - done
            step()

        decode_whole(model, embedding, prompts, told)

    trial = _try(begin, lambda: embedding.nbytes, started=perf_counter(), least=_STEPS)
    return trial, 0 if trial.finished else left


def _across(prompts: Prompts, axis: Axis, route: Route) -> int:
    """Return how many planes across the slices are looked at."""
    looked = [box for box in prompts.boxes if shows_across(box, prompts.geometry, axis)]
    return _ACROSS if route.unstarted and len(looked) == len(prompts.boxes) == 1 else 0


def _count(objects: Mapping[str, Prompts], axes: Mapping[str, Axis], routes: Mapping[str, Route]) -> tuple[int, int]:
    """Return how many different planes are encoded, and how many are decoded for some object, at most."""
    needed: set[tuple[Axis, int]] = set()
    beside = decodes = 0
    for name, route in routes.items():
        slices = range(route.start, route.stop)
        needed |= {(axes[name], index) for index in slices}
        across = _across(objects[name], axes[name], route)
        beside += across
        decodes += len(slices) + (across or len(route.probed) - len(route.unstarted))
        if _is_open(objects[name], axes[name], route):  # what is followed may be tried a second time
            decodes += len(slices) - 1
    return len(needed) + beside, decodes


def _is_open(prompts: Prompts, axis: Axis, route: Route) -> bool:
    """Whether an object is followed, and no box bounds it across the slices: then that goes on until it ends."""
    normal = axis_number(axis)
    bounded = any(box.stop[normal] - box.start[normal] > 1 for box in prompts.boxes)
    return not bounded and len(route.prompted) < route.stop - route.start


def _memory(embedder: Embedder, objects: int, growth: int, max_memory: int | None) -> int:
    """Return the bytes at the peak, where embeddings will take ``growth`` more than they do now."""
    voxels = math.prod(embedder.image.geometry.shape)
    arrays = arrays_nbytes(voxels, objects=objects, dims=embedder.model.card.dims)
    return peak_rss() + min(growth, plan_embeddings(max_memory, arrays=arrays, embedding=0)) + arrays
