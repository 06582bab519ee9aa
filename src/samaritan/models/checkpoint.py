"""Tensors out of checkpoint files, without ever running what is in them.

Three forms are read: safetensors, PyTorch's zip archives, and PyTorch's files from before 1.6. Whatever surrounds the
weights (an optimizer, ``state_dict``, ``model``, the ``module.`` of data parallel training) is taken off.

A pickle is a program. PyTorch's restricted reader (``weights_only``) runs none of it but the making of tensors and
plain values. Some things that scripts keep beside weights (options, scores, paths) are known to be harmless; they are
not made either, something empty takes their place. A file that asks for anything else is refused.
"""

from __future__ import annotations

import hashlib
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samaritan.core.errors import MissingExtraError, ReadError, ResourceError, UnsafeCheckpointError, WeightsError

if TYPE_CHECKING:
    from torch import Tensor

MAX_BYTES = 16 << 30
_HASHED_AT_ONCE = 1 << 20
_MAX_PICKLE = 64 << 20  # of the part of an archive that names its tensors
_ZIP = b"PK\x03\x04"
_PICKLES = tuple(bytes((0x80, protocol)) for protocol in (2, 3, 4, 5))
# What training scripts wrap around a network: the first of these that is there, again and again.
_WRAPPERS = (
    "state_dict", "model_state_dict", "model_state", "model", "net", "network", "network_weights", "sam", "ema",
)  # fmt: skip
_PREFIXES = ("module.", "_orig_mod.", "model.", "sam_model.", "sam.")
_DAMAGED = "Copy or download it again"
# What scripts keep beside weights, in the names of NumPy 1 and 2 and of the Pythons that there are.
_HARMLESS = (
    "argparse.Namespace",
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
    "numpy.ndarray",
    "numpy.dtype",
    *(
        f"{module}.{flavour}Path"
        for module in ("pathlib", "pathlib._local")
        for flavour in ("Posix", "Windows", "PurePosix", "PureWindows")
    ),
)
# Optimizers that scripts save whole, and the plain containers that they keep their state in. What stands for the latter
# has to be a mapping, as the pickle puts entries into it.
_OPTIMIZERS = tuple(
    f"torch.optim.{name}" for name in ("adam.Adam", "adamw.AdamW", "sgd.SGD", "lr_scheduler.MultiStepLR")
)
# What PyTorch's reader stumbles over, according to where a file is damaged.
_WHAT_DAMAGE_RAISES = (
    RuntimeError, EOFError, OSError, ValueError, LookupError, AssertionError, TypeError, AttributeError, struct.error,
)  # fmt: skip


@dataclass(frozen=True, eq=False, slots=True)
class Checkpoint:
    """The weights in one file.

    Parameters
    ----------
    path
        Where they were read from.
    tensors
        By name, as the file has them: of any type, on the CPU.
    sha256
        Of the whole file.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    sha256: str

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of the tensors by name."""
        return {name: tuple(tensor.shape) for name, tensor in self.tensors.items()}


def read_checkpoint(path: Path) -> Checkpoint:
    """Read the weights in a file, whatever its name.

    Raises
    ------
    ReadError
        If it cannot be opened.
    WeightsError
        If it is damaged, cut short, or holds no tensors.
    UnsafeCheckpointError
        If it could only be read by running code from it.
    ResourceError
        If it is larger than ``MAX_BYTES``.
    MissingExtraError
        If PyTorch is not installed.
    """
    try:
        with path.open("rb") as file:
            head = file.read(16)
        size = path.stat().st_size
    except OSError as error:
        raise ReadError(
            got=f"checkpoint {path} cannot be read ({error.strerror})", fix="Check the path and its permissions"
        ) from error
    if size > MAX_BYTES:
        raise ResourceError(got=f"checkpoint {path.name} of {size >> 30} GiB", wanted=f"at most {MAX_BYTES >> 30} GiB")
    content = _read(path, head)
    tensors = _tensors(content)
    if not tensors:
        raise WeightsError(got=f"{path.name} holds no tensors", wanted="the weights of a network")
    return Checkpoint(path, tensors, sha256_of(path))


def sha256_of(path: Path, *, report: Callable[[int], None] | None = None) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal digits; ``report`` is told the bytes done."""
    digest, done = hashlib.sha256(), 0
    with path.open("rb") as file:
        while part := file.read(_HASHED_AT_ONCE):
            digest.update(part)
            done += len(part)
            if report is not None:
                report(done)
    return digest.hexdigest()


def form_of(head: bytes) -> str:
    """Return the form of a checkpoint, for people, by its first bytes; "unknown" if it is none."""
    if head.startswith(_ZIP):
        return "PyTorch (zip)"
    if head.startswith(_PICKLES):
        return "PyTorch (before 1.6)"
    return "safetensors" if head[8:9] == b"{" else "unknown"


def _read(path: Path, head: bytes) -> object:
    if head.startswith(_ZIP):
        return _read_archive(path)
    if head.startswith(_PICKLES):
        return _load(path, mmap=False)
    if head[8:9] == b"{":
        return _read_safetensors(path)
    raise _no_checkpoint(path, head)


def _no_checkpoint(path: Path, head: bytes) -> WeightsError:
    wanted = "safetensors, or what torch.save writes"
    if not head:
        return WeightsError(got=f"{path.name} is empty", fix=_DAMAGED)
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        return WeightsError(got=f"{path.name} is a web page", wanted=wanted, fix="Open it in a browser to see why")
    if head.startswith(b"version https://"):
        return WeightsError(
            got=f"{path.name} is a pointer of Git LFS to a file, not the file",
            wanted=wanted,
            fix="Type in its repository: git lfs pull",
        )
    if head.startswith(b"\x08"):
        return WeightsError(
            got=f"{path.name} is an ONNX graph, if anything",
            wanted=wanted,
            fix="Of graphs, only folders that samaritan export wrote are models",
        )
    return WeightsError(got=f"{path.name} is no checkpoint: it begins with {head[:8]!r}", wanted=wanted)


def _read_safetensors(path: Path) -> object:
    from safetensors import SafetensorError  # noqa: PLC0415 - an import that only this form needs

    try:
        from safetensors.torch import load_file  # noqa: PLC0415 - imports torch
    except ImportError as error:
        raise MissingExtraError.of(what=f"checkpoint {path.name}", extra="torch") from error
    try:
        return load_file(path)
    except SafetensorError as error:
        raise WeightsError(got=f"{path.name} is damaged or cut short ({error})", fix=_DAMAGED) from error


def _read_archive(path: Path) -> object:
    """Read a zip archive, once it is sure that it does not unpack to more than it holds."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except zipfile.BadZipFile as error:
        raise WeightsError(got=f"{path.name} is damaged or cut short ({error})", fix=_DAMAGED) from error
    pickles = [member for member in members if member.filename.endswith("data.pkl")]
    if len(pickles) != 1 or pickles[0].file_size > _MAX_PICKLE:
        raise WeightsError(got=f"{path.name} is a zip archive, but no checkpoint", wanted="what torch.save writes")
    if any(member.filename.endswith("constants.pkl") for member in members):
        raise WeightsError(
            got=f"{path.name} is a TorchScript program, not weights",
            wanted="what torch.save writes",
            fix="Save its weights: torch.save(torch.jit.load(FILE).state_dict(), 'weights.pth')",
        )
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise UnsafeCheckpointError(
            got=f"{path.name} has compressed members: it may unpack to any size",
            wanted="an archive that torch.save wrote",
        )
    return _load(path, mmap=True)


def _load(path: Path, *, mmap: bool) -> object:
    try:
        import torch  # noqa: PLC0415 - the base install has none
    except ImportError as error:
        raise MissingExtraError.of(what=f"checkpoint {path.name}", extra="torch") from error
    try:
        with torch.serialization.safe_globals(_harmless()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickles of protocols that are read all the same
            if mmap and path.suffix != ".safetensors":
                return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            with path.open("rb") as file:  # of a path, PyTorch would believe the ending
                return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _refused(path, str(error)) from error
    except _WHAT_DAMAGE_RAISES as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise WeightsError(got=f"{path.name} is damaged or cut short ({first})", fix=_DAMAGED) from error


def _harmless() -> list[Any]:
    """Return what stands for each thing that a pickle may ask for beside tensors: none of it does anything."""
    nothing = [(_Nothing, name) for name in (*_HARMLESS, *_OPTIMIZERS)]
    return [*nothing, (dict, "builtins.dict"), (_mapping, "collections.defaultdict")]


def _mapping(*_: object) -> dict[Any, Any]:
    return {}


class _Nothing:
    """Stands where something was that is neither a tensor nor a plain value."""

    def __new__(cls, *args: object) -> _Nothing:  # noqa: ARG004 - it is made in any way
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None:
        """Take no notice."""


def _refused(path: Path, message: str) -> WeightsError:
    """Return the error for a pickle that PyTorch's restricted reader refuses, from its message."""
    wanted = "tensors and plain values only"
    for before in ("Unsupported global: GLOBAL ", "Unsupported class ", "Trying to load unsupported GLOBAL "):
        _, found, rest = message.partition(before)
        if found:
            return UnsafeCheckpointError(
                got=f"{path.name} asks to run {rest.split()[0].rstrip('.')} when it is read",
                wanted=wanted,
                fix="Do not load it. If you trust who made it, save the weights alone on their machine: "
                "safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')",
            )
    if "Unsupported operand" in message:
        return UnsafeCheckpointError(
            got=f"{path.name} is a pickle of a kind that cannot be read without running it",
            wanted=f"{wanted}, in pickle protocol 2 as torch.save writes it by default",
            fix="If you trust who made it, save it again on their machine, with torch.save",
        )
    return WeightsError(got=f"{path.name} is damaged", fix=_DAMAGED)


def _tensors(content: object) -> dict[str, Tensor]:
    """Return the tensors of a network by name, out of what training scripts wrap around them."""
    import torch  # noqa: PLC0415 - it has been imported by now

    if not isinstance(content, Mapping):
        return {}
    # What is wrapped first: beside a network there may be tensors that are not of it, such as the best loss so far.
    for key in _WRAPPERS:
        inner = _tensors(content[key]) if isinstance(content.get(key), Mapping) else {}
        if inner:
            return inner
    tensors = {str(name): value for name, value in content.items() if isinstance(value, torch.Tensor)}
    return _without_prefixes(tensors)


def _without_prefixes(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Take off the prefixes that all names share."""
    for prefix in _PREFIXES:
        if tensors and all(name.startswith(prefix) for name in tensors):
            return _without_prefixes({name.removeprefix(prefix): tensor for name, tensor in tensors.items()})
    return tensors
