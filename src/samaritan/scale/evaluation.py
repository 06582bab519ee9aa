"""An evaluation on a cluster: the units of a run, as they are done in processes of one machine."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TypeVar

from samaritan.core.errors import DataSetError
from samaritan.evaluate.runner import Ran, run
from samaritan.evaluate.store import Store
from samaritan.evaluate.unit import Done, Plan, Unit
from samaritan.scale.mapping import mapped_on_ray

R = TypeVar("R")


def run_on_ray(
    plan: Plan,
    *,
    address: str,
    cpus: int | None = None,
    gpu: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> Ran:
    """Carry out a plan, or what is left of it, on a cluster; the folders of data and run are there on all nodes.

    Parameters
    ----------
    plan, progress
        As ``samaritan.evaluate.runner.run`` takes them.
    address, cpus
        As ``samaritan.scale.cluster.cluster`` takes them.
    gpu
        Whether each worker gets a GPU, if the cluster has any.

    Raises
    ------
    DataSetError
        If a node does not see the run's folder.
    SessionError, MissingExtraError
        If there is no such cluster, or no Ray.
    """

    def mapper(function: Callable[[Unit], Done], units: Iterable[Unit]) -> Iterator[Done]:
        return mapped_on_ray(partial(_where_shared, plan.store, function), units, address=address, cpus=cpus, gpu=gpu)

    return run(plan, mapper=mapper, progress=progress)


def _where_shared(store: Store, function: Callable[[Unit], R], unit: Unit) -> R:
    """Do a unit, but never into a folder that only this node sees: what it finds there would be lost."""
    if not store.begun:
        raise DataSetError(
            got=f"no run in {store.folder.resolve()} on node {socket.gethostname()}",
            wanted="folders of data and run that all nodes of the cluster share, by absolute paths",
        )
    return function(unit)
