"""Low-rank updates (LoRA), by the library PEFT: of linear layers, and of convolutions where a network has no others.

Transformers of Segment Anything's kind give query, key and value by one linear layer. To reach the query and the value
alone, as SAMed does (Zhang & Liu 2023, arXiv:2304.13785), that layer is parted in three; ``merge`` makes it one again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from samaritan.adapt.loop import Group
from samaritan.adapt.methods.method import frozen, learning
from samaritan.core.errors import MissingExtraError, TrainingError
from samaritan.models.anatomy import Anatomy, found

_LAYERS = ("auto", "qv", "linear", "conv")
_WHERE = ("encoder", "decoder", "both")


@dataclass(frozen=True, slots=True)
class Lora:
    """A product of two thin matrices beside some layers; it begins at 0.

    Parameters
    ----------
    rank, scale
        Of the product; it counts ``scale`` times.
    layers
        "qv": queries and values of attention; "linear": all linear layers; "conv": all convolutions that are not by
        channel; "auto": the first of these that the network has in the part.
    where
        "encoder", "decoder" (prompts included), or "both".
    decoder
        Whether the mask decoder learns as a whole besides.
    rate
        Peak of the learning rate.
    """

    title: ClassVar[str] = "low-rank updates"
    source: ClassVar[str] = "Hu et al. 2022, arXiv:2106.09685; SAMed: arXiv:2304.13785"
    weight_decomposed: ClassVar[bool] = False

    rank: int = 4
    scale: float = 1.0
    layers: str = "auto"
    where: str = "encoder"
    decoder: bool = True
    rate: float = 1e-3

    def prepare(self, module: nn.Module, anatomy: Anatomy) -> Sequence[Group]:
        """Add the products, and let them learn; see ``Method``."""
        for given, known in ((self.layers, _LAYERS), (self.where, _WHERE)):
            if given not in known:
                raise TrainingError(got=f"low-rank updates of {given}", wanted=f"one of: {', '.join(known)}")
        peft = _peft()
        frozen(module)
        _part_fused(module, anatomy)
        names = [name for name in self._targets(module, anatomy) if self.suits(module.get_submodule(name))]
        if not names:
            raise TrainingError(
                got=f"low-rank updates of layers '{self.layers}' in {self.where}, of which the network has none",
                wanted=f"another of: {', '.join(_LAYERS)}",
            )
        config = peft.LoraConfig(
            r=self.rank, lora_alpha=self.scale * self.rank, target_modules=names, lora_dropout=0.0,
            use_dora=self.weight_decomposed,
        )  # fmt: skip
        peft.inject_adapter_in_model(config, module)
        if self.decoder:
            for name, parameter in module.named_parameters():
                if anatomy.part_of(name) == "decoder":
                    parameter.requires_grad = "lora_" in name or not self._is_beside(name, names)
        return learning(module, self.rate)

    def suits(self, _layer: nn.Module) -> bool:
        """Whether a layer can have a product beside it."""
        return True

    def merge(self, module: nn.Module, _anatomy: Anatomy) -> None:
        """Add the products to the weights that they are beside, and make parted layers one again."""
        from peft.tuners.tuners_utils import BaseTunerLayer  # noqa: PLC0415 - of an extra

        for name, layer in [(n, m) for n, m in module.named_modules() if isinstance(m, BaseTunerLayer)]:
            layer.merge(safe_merge=True)
            _replace(module, name, layer.get_base_layer())
        for name, parted in [(n, m) for n, m in module.named_modules() if isinstance(m, _Parted)]:
            _replace(module, name, parted.fused())

    def _targets(self, module: nn.Module, anatomy: Anatomy) -> list[str]:
        """Return the names of the layers that get a product."""
        inside = {n: m for n, m in module.named_modules() if n and self._is_there(anatomy.part_of(n))}
        kinds = {
            "qv": [n for n in _queries_and_values(module, anatomy) if n in inside],
            "linear": [n for n, m in inside.items() if isinstance(m, nn.Linear)],
            "conv": [n for n, m in inside.items() if isinstance(m, nn.Conv2d) and m.groups == 1],
        }
        if self.layers != "auto":
            return kinds[self.layers]
        return next((names for names in kinds.values() if names), [])

    def _is_there(self, part: str) -> bool:
        return bool(part) and (self.where == "both" or (part == "encoder") == (self.where == "encoder"))

    @staticmethod
    def _is_beside(name: str, targets: list[str]) -> bool:
        """Whether a parameter is that of a layer that has a product: that stays as it is."""
        return any(name.startswith(f"{target}.") for target in targets)


@dataclass(frozen=True, slots=True)
class Dora(Lora):
    """Low-rank updates of directions, and the lengths of the columns learnt apart."""

    title: ClassVar[str] = "low-rank updates of directions, with lengths"
    source: ClassVar[str] = "Liu et al. 2024, arXiv:2402.09353"
    weight_decomposed: ClassVar[bool] = True

    def suits(self, layer: nn.Module) -> bool:
        """Whether all channels have a length: those of a silent one would be divided by 0."""
        weight = cast("Tensor", layer.weight)
        return bool(weight.flatten(1).norm(dim=1).min() > 0)


class _Parted(nn.Module):
    """A linear layer of query, key and value as three, with its name for each."""

    def __init__(self, fused: nn.Linear) -> None:
        super().__init__()
        width = fused.out_features // 3
        for name, weight, bias in zip(
            ("query", "key", "value"),
            torch.split(fused.weight, width),
            torch.split(fused.bias, width) if fused.bias is not None else (None,) * 3,
            strict=True,
        ):
            part = nn.Linear(fused.in_features, width, bias=bias is not None, device="meta")
            part.weight = nn.Parameter(weight.detach().clone(), requires_grad=False)
            if bias is not None:
                part.bias = nn.Parameter(bias.detach().clone(), requires_grad=False)
            self.add_module(name, part)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([part(x) for part in self.children()], dim=-1)

    def fused(self) -> nn.Linear:
        """Return the one layer again."""
        parts = [cast("nn.Linear", part) for part in self.children()]
        first = parts[0]
        one = nn.Linear(first.in_features, 3 * first.out_features, bias=first.bias is not None, device="meta")
        one.weight = nn.Parameter(torch.cat([part.weight.detach() for part in parts]), requires_grad=False)
        if first.bias is not None:
            one.bias = nn.Parameter(torch.cat([part.bias.detach() for part in parts]), requires_grad=False)
        return one


def _part_fused(module: nn.Module, anatomy: Anatomy) -> None:
    for name, layer in found(module, anatomy.fused).items():
        _replace(module, name, _Parted(cast("nn.Linear", layer)))


def _queries_and_values(module: nn.Module, anatomy: Anatomy) -> Iterator[str]:
    for name in found(module, anatomy.fused):
        yield from (f"{name}.query", f"{name}.value")
    yield from found(module, anatomy.apart)


def _replace(module: nn.Module, name: str, new: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(module.get_submodule(parent), last, new)


def _peft() -> Any:  # noqa: ANN401 - a module
    try:
        import peft  # noqa: PLC0415 - of an extra
    except ImportError as error:
        raise MissingExtraError.of(what="low-rank updates", extra="adapt") from error
    return peft
