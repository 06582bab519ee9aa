"""A function applied to many things by Ray Data, as ``samaritan.core.parallel.mapped`` applies it in processes."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from samaritan.core.errors import SamaritanError
from samaritan.scale.cluster import Cluster, cluster, require_ray

T = TypeVar("T")
R = TypeVar("R")

_MOST_BLOCKS = 1_000
_HALF = 0.5  # processors of the only actor where there is one processor: the rest is for who hands out the work


def mapped_on_ray(
    function: Callable[[T], R], items: Iterable[T], *, address: str, cpus: int | None = None, gpu: bool = False
) -> Iterator[R]:
    """Yield ``function(item)`` of each item as it becomes known, in no order.

    Each actor takes a processor, or a GPU with ``gpu``; one processor is left to those that hand out the work, without
    which all would wait for ever. Between the nodes things are pickled, as Ray does: a cluster is trusted.

    Raises
    ------
    SamaritanError
        What the function raised first.
    SessionError, MissingExtraError
        As ``cluster``.
    """
    todo = [{"item": pickle.dumps(item)} for item in items]
    if not todo:
        return
    ray = require_ray()
    with cluster(address, cpus=cpus) as there:
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        data = ray.data.from_items(todo, override_num_blocks=min(len(todo), _MOST_BLOCKS))
        done = data.map(_Actor, fn_constructor_args=(function,), **_resources(there, len(todo), gpu=gpu))
        for row in done.iter_rows():
            result = pickle.loads(row["result"])  # noqa: S301 - from our own actor
            if isinstance(result, SamaritanError):
                raise result
            yield result


def _resources(there: Cluster, items: int, *, gpu: bool) -> dict[str, Any]:
    """Return what the actors are and how many."""
    if gpu and there.gpus:
        return {"concurrency": min(items, there.gpus), "num_cpus": _HALF, "num_gpus": 1}
    count = min(items, max(1, there.cpus - 1))
    return {"concurrency": count, "num_cpus": 1 if there.cpus > 1 else _HALF}


class _Actor:
    """Applies the function; an error of ours comes back as a result, since Ray's would hide it in its own."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function

    def __call__(self, row: dict[str, Any]) -> dict[str, bytes]:
        item = pickle.loads(row["item"])  # noqa: S301 - from our own driver
        try:
            result = self._function(item)
        except SamaritanError as error:
            result = error
        return {"result": pickle.dumps(result)}
