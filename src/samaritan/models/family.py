"""Families of checkpoints: which one a file belongs to, by its tensors, and the module that its weights go into.

A family is one record and one ``register`` line. A file's name is never asked: people rename.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Self, cast

from samaritan.core.errors import CheckpointMismatchError, MissingExtraError, UnknownNameError, WeightsError
from samaritan.core.model import Model, ModelCard
from samaritan.core.registry import Registry
from samaritan.models.checkpoint import Checkpoint
from samaritan.models.planar.frame import FrameSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

    from samaritan.models.anatomy import Anatomy

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
    complete
        Gives a module what it needs and is no tensor, out of the folder that the file lies in; None where that is
        nothing.
    planes
        How to make the modules of variants that serve planes and volumes without what only volumes need. Their tensors
        are some of the variant's, by the same names; a file may have these alone, and is for planes then.
    anatomy
        Which parts of the module are what, to adapt it; None if it cannot be.
    """

    title: str
    variants: Mapping[str, Callable[[], nn.Module]]
    rename: Callable[[Mapping[str, object]], dict[str, object]]
    model: Callable[[nn.Module, ModelCard, FrameSpec | None, str], Model]
    frame: FrameSpec | None = None
    complete: Callable[[nn.Module, Path], None] | None = None
    planes: Mapping[str, Callable[[], nn.Module]] = field(default_factory=dict)
    anatomy: Anatomy | None = None


FAMILIES: Registry[Family] = Registry("family of models", "samaritan.families")
FAMILIES.register("mobile-sam", "samaritan.models.mobile_sam:FAMILY")
FAMILIES.register("sam", "samaritan.models.sam:FAMILY")
FAMILIES.register("sam-hq", "samaritan.models.sam_hq:FAMILY")
FAMILIES.register("light-hq-sam", "samaritan.models.sam_hq.light:FAMILY")
FAMILIES.register("sam-med2d", "samaritan.models.sam_med2d:FAMILY")
FAMILIES.register("sam2", "samaritan.models.sam2:FAMILY")
FAMILIES.register("sam3", "samaritan.models.sam3:TRACKER")
FAMILIES.register("sam3-concept", "samaritan.models.sam3:CONCEPT")
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


class _Called(tuple[int, ...]):
    """A shape that knows what the file calls its tensor, whatever the family makes of that."""

    name: str

    @classmethod
    def of(cls, name: str, shape: Shape) -> Self:
        called = cls(shape)
        called.name = name
        return called


@dataclass(frozen=True, slots=True)
class Difference:
    """How the tensors of a file differ from a module's: by name.

    Parameters
    ----------
    missing
        By the module's names: what the file would call them is not known.
    unexpected, reshaped
        By the file's names, where these are known.
    alike
        How many do not differ.
    renamed
        Whether the file has names of its own.
    """

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    reshaped: tuple[str, ...]
    alike: int
    renamed: bool = False

    @classmethod
    def between(cls, found: Mapping[str, Shape], wanted: Mapping[str, Shape]) -> Difference:
        """Compare names and shapes."""
        both = found.keys() & wanted.keys()
        reshaped = sorted(name for name in both if found[name] != wanted[name])
        called = {name: getattr(shape, "name", name) for name, shape in found.items()}
        return cls(
            tuple(sorted(wanted.keys() - found.keys())),
            tuple(sorted(called[name] for name in found.keys() - wanted.keys())),
            tuple(f"{called[name]} {list(found[name])} for {list(wanted[name])}" for name in reshaped),
            len(both) - len(reshaped),
            any(name != own for name, own in called.items()),
        )

    @property
    def none(self) -> bool:
        """Whether all is alike."""
        return not (self.missing or self.unexpected or self.reshaped)

    @property
    def total(self) -> int:
        """How many names there are in the file, the module, or both."""
        return self.alike + len(self.missing) + len(self.unexpected) + len(self.reshaped)

    @property
    def likeness(self) -> float:
        """Share of all names that are alike in both, in [0, 1]."""
        return self.alike / max(1, self.total)

    def __str__(self) -> str:
        kinds = (("missing", self.missing), ("not known", self.unexpected), ("of another shape", self.reshaped))
        told = {what: f"{len(names)} {what}: {_some(names)}" for what, names in kinds if names}
        if self.renamed and self.missing:
            told["missing"] += " (as the model calls them)"
        return "; ".join(told.values())


@dataclass(frozen=True, slots=True)
class Recognised:
    """What a file is: its ``family`` and ``variant``, and how exactly it fits.

    ``for_planes`` says that it is compared with what planes need of a variant that also serves volumes.
    """

    family: str
    variant: str
    difference: Difference
    for_planes: bool = False


def recognise(checkpoint: Checkpoint) -> Recognised:
    """Return what a checkpoint is most like; ``difference.none`` tells whether it is that.

    Raises
    ------
    MissingExtraError
        If PyTorch or transformers are not installed.
    """
    matches = []
    for family in FAMILIES:
        for variant in _family(family).variants:
            match = fit(checkpoint, family, variant)
            if match.difference.none:
                return match
            matches.append(match)
    return max(matches, key=lambda match: match.difference.likeness)


def fit(checkpoint: Checkpoint, family: str, variant: str) -> Recognised:
    """Return how well a checkpoint fits a variant: all of it, or what planes need of it if that is closer.

    Raises
    ------
    MissingExtraError
        If PyTorch or transformers are not installed.
    """
    whole = Recognised(family, variant, difference_from_all(checkpoint, family, variant))
    if whole.difference.none or variant not in _family(family).planes:
        return whole
    part = Recognised(family, variant, _difference(checkpoint, family, _planes_of(family, variant)), for_planes=True)
    return max(whole, part, key=lambda match: match.difference.likeness)


def difference_from_all(checkpoint: Checkpoint, family: str, variant: str) -> Difference:
    """Return how a checkpoint differs from all of a variant, even if it has what planes need of it."""
    return _difference(checkpoint, family, _state_of(family, variant))


def load_module(checkpoint: Checkpoint, family: str, variant: str) -> nn.Module:
    """Return the module of a variant with the weights of a checkpoint, in float32 on the CPU.

    If the checkpoint has only what planes need of the variant, so has the module.

    Raises
    ------
    CheckpointMismatchError
        If the checkpoint is not that: it says what differs, and what it looks like.
    WeightsError
        If a tensor has values that no network can have, or if the model needs another file as well, which does not lie
        beside it or is damaged.
    """
    from samaritan.models.undrawn import Undrawn  # noqa: PLC0415 - the base install has no torch

    match = fit(checkpoint, family, variant)
    if not match.difference.none:
        raise mismatch(checkpoint, variant, match.difference)
    if (fault := unusable(checkpoint, family, variant)) is not None:
        raise fault
    with Undrawn():
        module = _makers(family, for_planes=match.for_planes)[variant]()
    if (complete := _family(family).complete) is not None:
        complete(module, checkpoint.path.parent)
    wanted, tensors = _state_of(family, variant), _family(family).rename(checkpoint.tensors)
    # Copies: a file that is read through its map would otherwise be needed for as long as the model lives.
    # Detached: what was saved with its gradients' bookkeeping could not be frozen otherwise.
    weights = {
        name: cast("Tensor", tensor).detach().to(wanted[name].dtype, copy=True) for name, tensor in tensors.items()
    }
    module.load_state_dict(weights, strict=True, assign=True)
    return module.eval().requires_grad_(False)  # noqa: FBT003 - PyTorch's own signature


def unusable(checkpoint: Checkpoint, family: str, variant: str) -> WeightsError | None:
    """Return what is wrong with the values of a checkpoint that has a variant's tensors; None if nothing is."""
    wanted = _state_of(family, variant)
    called = {id(tensor): name for name, tensor in checkpoint.tensors.items()}
    for name, value in _family(family).rename(checkpoint.tensors).items():
        tensor, like = cast("Tensor", value), wanted[name]
        whose = f"tensor {called.get(id(tensor), name)} in {checkpoint.path.name}"
        if like.is_floating_point() and not tensor.is_floating_point():
            kind = str(tensor.dtype).removeprefix("torch.")
            return WeightsError(got=f"{whose} has values of type {kind}", fix="Take the weights before quantisation")
        if not tensor.to(like.dtype).isfinite().all():
            return WeightsError(
                got=f"{whose} has values that are infinite or no numbers",
                fix="Take weights from earlier in the training",
            )
    return None


def mismatch(checkpoint: Checkpoint, wanted: str, difference: Difference) -> CheckpointMismatchError:
    """Return the error that says how a checkpoint differs from a variant, and which one it looks like."""
    nearest = recognise(checkpoint)
    if not nearest.difference.alike:
        return CheckpointMismatchError(
            got=f"{checkpoint.path.name}: {len(checkpoint.tensors)} tensors of no family that is known here: "
            f"{_some(tuple(sorted(checkpoint.tensors)))}",
            wanted=f"those of one of: {', '.join(FAMILIES)}",
        )
    alike = f"{nearest.difference.alike} of {nearest.difference.total} tensors are alike"
    if nearest.difference.none:
        fix = f"It is a checkpoint of {nearest.variant}: use --model {checkpoint.path}"
    elif nearest.variant != wanted:
        fix = f"It looks most like {nearest.variant} ({alike})"
    else:
        fix = f"{alike}: it may have been changed, or be of a later version"
    return CheckpointMismatchError(
        got=f"{checkpoint.path.name}: {difference}", wanted=f"the tensors of {wanted}", fix=fix
    )


@cache
def _state_of(family: str, variant: str) -> dict[str, Tensor]:
    return _without_values(_makers(family, for_planes=False)[variant])


@cache
def _planes_of(family: str, variant: str) -> dict[str, Tensor]:
    return _without_values(_makers(family, for_planes=True)[variant])


def _makers(family: str, *, for_planes: bool) -> Mapping[str, Callable[[], nn.Module]]:
    return _family(family).planes if for_planes else _family(family).variants


def _without_values(make: Callable[[], nn.Module]) -> dict[str, Tensor]:
    import torch  # noqa: PLC0415 - the base install has none

    with torch.device("meta"):
        return make().state_dict()


def _difference(checkpoint: Checkpoint, family: str, wanted: Mapping[str, Tensor]) -> Difference:
    renamed = _family(family).rename({name: _Called.of(name, shape) for name, shape in checkpoint.shapes.items()})
    found = {name: shape for name, shape in renamed.items() if isinstance(shape, tuple)}
    return Difference.between(found, {name: tuple(like.shape) for name, like in wanted.items()})


def _family(name: str) -> Family:
    try:
        return FAMILIES.get(name)
    except ModuleNotFoundError as error:
        raise MissingExtraError.of(what=f"the {name} family", extra="torch") from error


def _some(names: tuple[str, ...]) -> str:
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more} more" if more > 0 else "")
