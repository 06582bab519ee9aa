"""The network of a run, or of a safetensors file."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError

from samaritan.adapt.state import read
from samaritan.core.errors import CheckpointMismatchError
from samaritan.models.tiny.network import TinyNetwork, load_network


def read_network(weights: Path) -> TinyNetwork:
    """Return the network with the averaged weights of a run's `checkpoint.pt`, or those of a safetensors file.

    Raises
    ------
    CheckpointMismatchError
        If it is neither, or holds other weights than the network's.
    """
    if weights.suffix == ".safetensors":
        return _of_safetensors(weights)
    network, stored = TinyNetwork(), read(weights, parts={"average"})["average"]
    try:
        network.load_state_dict(stored)
    except (RuntimeError, TypeError) as error:
        raise CheckpointMismatchError(
            got=f"{weights} with other weights than the network's",
            wanted="the checkpoint.pt of a run of this code",
            fix="Take the weights and the code from the same version",
        ) from error
    return network


def _of_safetensors(weights: Path) -> TinyNetwork:
    try:
        return load_network(weights)
    except SafetensorError as error:
        raise CheckpointMismatchError(
            got=f"{weights} is no safetensors file, or a broken one ({error})",
            fix="Make it anew: training/tiny/README.md says how",
        ) from error
