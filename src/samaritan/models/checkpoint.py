"""Tensors out of checkpoint files, without ever running what is in them.

Three forms are read: safetensors, PyTorch's zip archives, and PyTorch's files from before 1.6. Whatever surrounds the
weights (an optimizer, ``state_dict``, ``model``, the ``module.`` of data parallel training) is taken off.

A pickle is a program. PyTorch's restricted reader (``weights_only``) runs none of it but the making of tensors and
plain values; a file that asks for anything else is refused.
"""

from __future__ import annotations

import argparse
import hashlib
import pickle
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from samaritan.core.errors import MissingExtraError, ReadError, ResourceError, UnsafeCheckpointError, WeightsError

if TYPE_CHECKING:
    from torch import Tensor

MAX_BYTES = 16 << 30
_HASHED_AT_ONCE = 1 << 20
_MAX_PICKLE = 64 << 20  # of the part of an archive that names its tensors
_ZIP, _LEGACY = b"PK\x03\x04", b"\x80\x02"
# What training scripts wrap around a network: the first of these that is there, again and again.
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network", "network_weights", "sam", "ema")
_PREFIXES = ("module.", "_orig_mod.", "model.", "sam_model.", "sam.")
_DAMAGED = "Copy or download it again"
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


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(_HASHED_AT_ONCE):
            digest.update(part)
    return digest.hexdigest()


def _read(path: Path, head: bytes) -> object:
    if head.startswith(_ZIP):
        return _read_archive(path)
    if head.startswith(_LEGACY):
        return _load(path, mmap=False)
    if head[8:9] == b"{":
        return _read_safetensors(path)
    if not head:
        raise WeightsError(got=f"{path.name} is empty", fix=_DAMAGED)
    raise WeightsError(
        got=f"{path.name} is no checkpoint: it begins with {head[:8]!r}",
        wanted="safetensors, or what torch.save writes",
        fix="If it was downloaded, look at it with a text editor: it may be an error page",
    )


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
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise UnsafeCheckpointError(
            got=f"{path.name} has compressed members", wanted="an archive that torch.save wrote"
        )
    pickles = [member for member in members if member.filename.endswith("data.pkl")]
    if len(pickles) != 1 or pickles[0].file_size > _MAX_PICKLE:
        raise WeightsError(got=f"{path.name} is a zip archive, but no checkpoint", wanted="what torch.save writes")
    return _load(path, mmap=True)


def _load(path: Path, *, mmap: bool) -> object:
    try:
        import torch  # noqa: PLC0415 - the base install has none
    except ImportError as error:
        raise MissingExtraError.of(what=f"checkpoint {path.name}", extra="torch") from error
    try:
        with torch.serialization.safe_globals(_harmless()):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        asked = _asked_for(str(error))
        if asked:
            raise UnsafeCheckpointError(
                got=f"{path.name} asks to run {asked} when it is read",
                wanted="tensors and plain values only",
                fix="Do not load it. If you trust who made it, save the weights alone on their machine: "
                "safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')",
            ) from error
        raise WeightsError(got=f"{path.name} is damaged", fix=_DAMAGED) from error
    except _WHAT_DAMAGE_RAISES as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise WeightsError(got=f"{path.name} is damaged or cut short ({first})", fix=_DAMAGED) from error


def _harmless() -> list[Any]:
    """Return what scripts keep beside weights (their options, a best score) and what does nothing when it is made."""
    return [
        argparse.Namespace,
        (np.float64(0).__reduce__()[0], "numpy._core.multiarray.scalar"),
        (np.float64(0).__reduce__()[0], "numpy.core.multiarray.scalar"),
        np.dtype,
        *(type(np.dtype(name)) for name in ("float64", "float32", "int64", "int32", "bool")),
    ]


def _asked_for(message: str) -> str:
    """Return what an unsafe pickle asked for, from PyTorch's message, or nothing if that was not the trouble."""
    for before in ("Unsupported global: GLOBAL ", "Unsupported class ", "Trying to load unsupported GLOBAL "):
        _, found, rest = message.partition(before)
        if found:
            return rest.split()[0].rstrip(".")
    return "code" if "Unsupported operand" in message else ""


def _tensors(content: object) -> dict[str, Tensor]:
    """Return the tensors of a network by name, out of what training scripts wrap around them."""
    import torch  # noqa: PLC0415 - it has been imported by now

    inner = content
    while isinstance(inner, Mapping) and not _holds(inner, torch.Tensor):
        wrapped: list[Any] = [inner[key] for key in _WRAPPERS if isinstance(inner.get(key), Mapping)]
        if not wrapped:
            return {}
        inner = wrapped[0]
    if not isinstance(inner, Mapping):
        return {}
    tensors = {str(name): value for name, value in inner.items() if isinstance(value, torch.Tensor)}
    return _without_prefixes(tensors)


def _holds(mapping: Mapping[Any, Any], kind: type) -> bool:
    return any(isinstance(value, kind) for value in mapping.values())


def _without_prefixes(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Take off the prefixes that all names share."""
    for prefix in _PREFIXES:
        if tensors and all(name.startswith(prefix) for name in tensors):
            return _without_prefixes({name.removeprefix(prefix): tensor for name, tensor in tensors.items()})
    return tensors
