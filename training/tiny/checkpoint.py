"""The network of a run, or of a safetensors file."""

from __future__ import annotations

from pathlib import Path

import torch

from samaritan.models.tiny.network import TinyNetwork, load_network


def read_network(weights: Path) -> TinyNetwork:
    """Return the network with the averaged weights of a run's `checkpoint.pt`, or those of a safetensors file."""
    if weights.suffix == ".safetensors":
        return load_network(weights)
    network = TinyNetwork()
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True)["average"])
    return network
