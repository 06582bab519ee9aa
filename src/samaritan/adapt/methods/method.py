"""What a method is, and the table of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, ClassVar, Protocol

from torch import nn

from samaritan.adapt.loop import Group
from samaritan.core.errors import TrainingError
from samaritan.core.registry import Registry
from samaritan.models.anatomy import Anatomy


class Method(Protocol):
    """A way to adapt: a frozen dataclass of plain settings, ``rate`` (the peak of the learning rate) among them."""

    title: ClassVar[str]
    source: ClassVar[str]

    @property
    def rate(self) -> float:
        """The peak of the learning rate."""

    def prepare(self, module: nn.Module, anatomy: Anatomy) -> Sequence[Group]:
        """Freeze, add, and return what learns, by rate.

        Raises
        ------
        TrainingError
            If the network has not what the method needs.
        """

    def merge(self, module: nn.Module, anatomy: Anatomy) -> None:
        """Turn a network that was prepared, and may have learnt, into one of the original architecture.

        Raises
        ------
        TrainingError
            If what was added cannot be expressed by it.
        """


METHODS: Registry[type[Method]] = Registry("method", "samaritan.methods")
for _name, _target in {
    "full": "parts:Full",
    "decoder": "parts:Decoder",
    "prompts-decoder": "parts:PromptsAndDecoder",
    "bitfit": "parts:BitFit",
    "norms": "parts:Norms",
    "lora": "lora:Lora",
    "dora": "lora:Dora",
    "fact": "fact:Fact",
    "ssf": "ssf:Ssf",
    "houlsby": "bottlenecks:Houlsby",
    "adaptformer": "bottlenecks:AdaptFormer",
    "medical-sam-adapter": "bottlenecks:MedicalSamAdapter",
    "sam-med2d": "gated:Gated",
    "ladder": "ladder:Ladder",
}.items():
    METHODS.register(_name, f"samaritan.adapt.methods.{_target}")


def settings_of(name: str, given: Mapping[str, Any]) -> Method:
    """Return a method with some of its settings, each of the type that its default has.

    Raises
    ------
    UnknownNameError
        If there is no such method.
    TrainingError
        If it has no such setting, or the setting cannot be that.
    """
    method = METHODS.get(name)
    known: dict[str, Any] = {f.name: f.default for f in fields(method)}  # type: ignore[arg-type]  # all are dataclasses
    values = {}
    for key, value in given.items():
        if key not in known:
            raise TrainingError(
                got=f"setting {key} of method {name}", wanted=f"one of: {', '.join(known)}" if known else "none"
            )
        try:
            values[key] = _of_type(type(known[key]), value)
        except ValueError as error:
            kind = type(known[key]).__name__
            raise TrainingError(
                got=f"{key}={value} of method {name}", wanted=f"{kind}, such as {known[key]}"
            ) from error
    return method(**values)


def require(parts: dict[str, nn.Module], what: str, method: str) -> dict[str, nn.Module]:
    """Return parts of a network that a method needs.

    Raises
    ------
    TrainingError
        If there are none.
    """
    if not parts:
        raise TrainingError(
            got=f"method {method} for a network without {what}",
            wanted="a method that suits it",
            fix="Take lora, ssf, bitfit or decoder, which suit any",
        )
    return parts


def cannot_merge(title: str) -> TrainingError:
    """Return the error of a method whose additions no weights of the original express."""
    return TrainingError(
        got=f"a network with {title}", wanted="one whose changes are in its own weights",
        fix="Keep the adapter beside its base: every verb takes it as it is",
    )  # fmt: skip


def frozen(module: nn.Module) -> nn.Module:
    """Return a network of which nothing learns."""
    return module.requires_grad_(False)  # noqa: FBT003 - PyTorch's own signature


def frozen_but_decoder(module: nn.Module, anatomy: Anatomy, *, decoder: bool) -> None:
    """Freeze a network, and the mask decoder too unless it is to learn."""
    for name, parameter in module.named_parameters():
        parameter.requires_grad = decoder and anatomy.part_of(name) == "decoder"


def learning(module: nn.Module, rate: float) -> list[Group]:
    """Return what of a network learns, at one rate."""
    return [Group([p for p in module.parameters() if p.requires_grad], rate)]


def _of_type(kind: type, value: Any) -> Any:  # noqa: ANN401 - what a command line or a file holds
    if kind is bool:
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if isinstance(value, str) and value.lower() not in words:
            raise ValueError(value)
        return words[value.lower()] if isinstance(value, str) else bool(value)
    return kind(value)
