"""What an adapter has learnt, written into the weights of its base."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from safetensors.torch import save
from torch import nn

from samaritan.adapt.adapter import AdapterCard, adapted, save_adapter, settings_dict
from samaritan.adapt.learnt import learnt_of
from samaritan.adapt.methods import settings_of
from samaritan.core.errors import TrainingError
from samaritan.io.atomic import atomic_path
from samaritan.models.anatomy import Anatomy

_ALL = "full"  # the method whose adapters hold all weights


def merged_folder(run: Path, out: Path) -> int:
    """Write a merged adapter as one that holds all weights; return how many parameters it has.

    Raises
    ------
    TrainingError
        If what its method adds cannot be expressed by the base's weights.
    WeightsError
        As ``samaritan.adapt.adapter.adapted``.
    """
    network, anatomy, card = _merged(run)
    method = settings_of(_ALL, {})
    method.prepare(network, anatomy)
    learnt = learnt_of(network)
    made = replace(card, name=out.resolve().name, method=_ALL, settings=settings_dict(method))
    out.mkdir(parents=True, exist_ok=True)
    save_adapter(out, made, learnt)
    return sum(tensor.numel() for tensor in learnt.values())


def merged_checkpoint(run: Path, out: Path) -> int:
    """Write a merged adapter as a checkpoint of its base's family; return how many parameters it has.

    Raises
    ------
    TrainingError
        As ``merged_folder``; or if it is of no published family, or finds classes, which such a checkpoint cannot.
    WeightsError
        As ``merged_folder``.
    """
    card = AdapterCard.read(run)
    if not card.base_file or card.task != "prompt":
        why = f"of {card.base}" if not card.base_file else "that finds classes"
        raise TrainingError(
            got=f"an adapter {why}, for which there is no form of checkpoint",
            wanted="an adapter of Segment Anything's families that takes prompts",
            fix="Write a folder: -o merged",
        )
    network, _, _ = _merged(run)
    tensors = {
        name: tensor.detach().clone().contiguous() for name, tensor in network.state_dict().items()
    }  # some are tied
    with atomic_path(out) as staged:
        staged.write_bytes(save(tensors))
    return sum(tensor.numel() for tensor in tensors.values())


def _merged(run: Path) -> tuple[nn.Module, Anatomy, AdapterCard]:
    network, base, card = adapted(run)
    anatomy = card.kind.anatomy(base)
    settings_of(card.method, card.settings).merge(network, anatomy)
    return network, anatomy, card
