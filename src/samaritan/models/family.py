"""Families of checkpoints: which one a file belongs to, by its tensors, and the module that its weights go into.

A family is one record and one ``register`` line. A file's name is never asked: people rename.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from samaritan.core.errors import CheckpointMismatchError, MissingExtraError, UnknownNameError
from samaritan.core.model import Model, ModelCard
from samaritan.core.registry import Registry
from samaritan.models.checkpoint import Checkpoint
from samaritan.models.planar.frame import FrameSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

Shape = tuple[int, ...]
_LISTED = 3  # tensors that an error names of each kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One architecture, in the sizes that there are.

    Parameters
    ----------
    title
        One line for people.
    variants
        How to make the module of each size, by the name of the model whose card stands for it. On PyTorch's meta device
        its ``state_dict`` tells names and shapes.
    rename
        Returns a file's tensors by the module's names, whichever of the family's file forms it has. It may drop what
        the module does not use. It is given shapes as well as tensors.
    model
        Makes the ``Model`` of a module with weights, a card, how pictures are prepared, and a device.
    frame
        How pictures are prepared unless a card says otherwise; None for models that see volumes.
    """

    title: str
    variants: Mapping[str, Callable[[], nn.Module]]
    rename: Callable[[Mapping[str, object]], dict[str, object]]
    model: Callable[[nn.Module, ModelCard, FrameSpec | None, str], Model]
    frame: FrameSpec | None = None


FAMILIES: Registry[Family] = Registry("family of models", "samaritan.families")
FAMILIES.register("mobile-sam", "samaritan.models.mobile_sam:FAMILY")
FAMILIES.register("sam", "samaritan.models.sam:FAMILY")
FAMILIES.register("sam-hq", "samaritan.models.sam_hq:FAMILY")
FAMILIES.register("sam-med2d", "samaritan.models.sam_med2d:FAMILY")
FAMILIES.register("sam2", "samaritan.models.sam2:FAMILY")
FAMILIES.register("sam-med3d", "samaritan.models.sam_med3d:FAMILY")


def family_of(variant: str) -> str:
    """Return the name of the family that has a variant of this name.

    Raises
    ------
    UnknownNameError
        If none has.
    """
    known = {name: family for family in FAMILIES for name in _family(family).variants}
    if variant not in known:
        raise UnknownNameError.of(variant, kind="variant of a model", known=known)
    return known[variant]


@dataclass(frozen=True, slots=True)
class Difference:
    """How the tensors of a file differ from a module's: by name."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    reshaped: tuple[str, ...]
    alike: int

    @classmethod
    def between(cls, found: Mapping[str, Shape], wanted: Mapping[str, Shape]) -> Difference:
        """Compare names and shapes."""
        both = found.keys() & wanted.keys()
        reshaped = sorted(name for name in both if found[name] != wanted[name])
        return cls(
            tuple(sorted(wanted.keys() - found.keys())),
            tuple(sorted(found.keys() - wanted.keys())),
            tuple(f"{name} {list(found[name])} for {list(wanted[name])}" for name in reshaped),
            len(both) - len(reshaped),
        )

    @property
    def none(self) -> bool:
        """Whether all is alike."""
        return not (self.missing or self.unexpected or self.reshaped)

    @property
    def likeness(self) -> float:
        """Share of all names that are alike in both, in [0, 1]."""
        apart = len(self.missing) + len(self.unexpected) + len(self.reshaped)
        return self.alike / max(1, self.alike + apart)

    def __str__(self) -> str:
        kinds = (("missing", self.missing), ("not known", self.unexpected), ("of another shape", self.reshaped))
        return "; ".join(f"{len(names)} {what}: {_some(names)}" for what, names in kinds if names)


@dataclass(frozen=True, slots=True)
class Recognised:
    """What a file is: its ``family`` and ``variant``, and how exactly it fits."""

    family: str
    variant: str
    difference: Difference


def recognise(checkpoint: Checkpoint) -> Recognised:
    """Return what a checkpoint is most like; ``difference.none`` tells whether it is that.

    Raises
    ------
    MissingExtraError
        If PyTorch or transformers are not installed.
    """
    shapes = checkpoint.shapes
    return max(
        (
            Recognised(family, variant, Difference.between(_renamed(family, shapes), _shapes_of(family, variant)))
            for family in FAMILIES
            for variant in _family(family).variants
        ),
        key=lambda match: match.difference.likeness,
    )


def load_module(checkpoint: Checkpoint, family: str, variant: str) -> nn.Module:
    """Return the module of a variant with the weights of a checkpoint, in float32 on the CPU.

    Raises
    ------
    CheckpointMismatchError
        If the checkpoint is not that: it says what differs, and what it looks like.
    """
    from samaritan.models.undrawn import Undrawn  # noqa: PLC0415 - the base install has no torch

    found = _renamed(family, checkpoint.shapes)
    difference = Difference.between(found, _shapes_of(family, variant))
    if not difference.none:
        raise mismatch(checkpoint, variant, difference)
    with Undrawn():
        module = _family(family).variants[variant]()
    tensors = _family(family).rename(checkpoint.tensors)
    # Copies: a file that is read through its map would otherwise be needed for as long as the model lives.
    weights = {name: _copied(tensor) for name, tensor in tensors.items()}
    module.load_state_dict(weights, strict=True, assign=True)
    return module.eval().requires_grad_(False)  # noqa: FBT003 - PyTorch's own signature


def mismatch(checkpoint: Checkpoint, wanted: str, difference: Difference) -> CheckpointMismatchError:
    """Return the error that says how a checkpoint differs from a variant, and which one it looks like."""
    nearest = recognise(checkpoint)
    alike = nearest.difference.likeness
    if nearest.difference.none:
        fix = f"It is a checkpoint of {nearest.variant}: use --model {nearest.variant}"
    elif not alike:
        fix = f"It is of no family that is known here: {', '.join(FAMILIES)}"
    elif nearest.variant != wanted:
        fix = f"It looks most like {nearest.variant} ({alike:.0%} of the tensors)"
    else:
        fix = f"{alike:.0%} of the tensors are alike: it may have been changed, or be of a later version"
    return CheckpointMismatchError(
        got=f"{checkpoint.path.name}: {difference}", wanted=f"the tensors of {wanted}", fix=fix
    )


def _copied(tensor: object) -> Tensor:
    import torch  # noqa: PLC0415 - the base install has none

    assert isinstance(tensor, torch.Tensor)  # noqa: S101 - rename was given tensors
    # Detached: what was saved with its gradients' bookkeeping could not be frozen otherwise.
    return tensor.detach().to(torch.float32 if tensor.is_floating_point() else tensor.dtype, copy=True)


@cache
def _shapes_of(family: str, variant: str) -> dict[str, Shape]:
    import torch  # noqa: PLC0415 - the base install has none

    with torch.device("meta"):
        module = _family(family).variants[variant]()
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def _renamed(family: str, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    renamed = _family(family).rename(shapes)
    return {name: shape for name, shape in renamed.items() if isinstance(shape, tuple)}


def _family(name: str) -> Family:
    try:
        return FAMILIES.get(name)
    except ModuleNotFoundError as error:
        raise MissingExtraError.of(what=f"the {name} family", extra="torch") from error


def _some(names: tuple[str, ...]) -> str:
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more} more" if more > 0 else "")
