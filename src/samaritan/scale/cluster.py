"""The cluster that work is sent to: one that is there, or one that is started on this machine for as long as needed."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from samaritan.core.errors import MissingExtraError, SessionError

LOCAL = "local"


@dataclass(frozen=True, slots=True)
class Cluster:
    """What a cluster has: processors and GPUs."""

    cpus: int
    gpus: int


def require_ray() -> Any:  # noqa: ANN401 - a module
    """Return the module ``ray``.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing about this machine or its data leaves it
    try:
        import ray  # noqa: PLC0415 - of an extra
    except ImportError as error:
        raise MissingExtraError.of(what="work on a cluster", extra="ray") from error
    return ray


@contextmanager
def cluster(address: str, *, cpus: int | None = None) -> Iterator[Cluster]:
    """Join the cluster at ``address``, and leave it in the end.

    Parameters
    ----------
    address
        ``"local"`` starts one here; ``"auto"`` finds the one that this machine is part of; else ``host:port`` or
        ``ray://host:port``.
    cpus
        Processors of a local one; None for all.

    Raises
    ------
    SessionError
        If nobody answers there.
    MissingExtraError
        If ray is not installed.
    """
    ray = require_ray()
    own: dict[str, Any] = {"num_cpus": cpus, "include_dashboard": False} if address == LOCAL else {}
    try:
        ray.init(address, logging_level=logging.ERROR, log_to_driver=False, **own)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise SessionError(
            got=f"no Ray cluster at {address}: {str(error).splitlines()[0]}",
            wanted="the address of one, such as 10.0.0.1:6379; auto for this machine's; local for one here",
            fix="Start one: ray start --head",
        ) from error
    try:
        there = ray.cluster_resources()
        yield Cluster(int(there.get("CPU", 0)), int(there.get("GPU", 0)))
    finally:
        ray.shutdown()
