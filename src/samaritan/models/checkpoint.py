"""Tensors out of checkpoint files, without ever running what is in them.

Three forms are read: safetensors, PyTorch's zip archives, and PyTorch's files from before 1.6. Whatever surrounds the
weights (an optimizer, ``state_dict``, ``model``, the ``module.`` of data parallel training) is taken off.
"""

from __future__ import annotations

import hashlib
import re
import stat
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from os import stat_result
from pathlib import Path
from typing import TYPE_CHECKING, Self

from samaritan.core.errors import MissingExtraError, ReadError, ResourceError, UnsafeCheckpointError, WeightsError
from samaritan.models import pickles
from samaritan.models.printable import printable

if TYPE_CHECKING:
    from torch import Tensor

MAX_BYTES = 16 << 30
_AT_ONCE = 1 << 20  # bytes, where a whole file is looked through
_UNKNOWN = "unknown"
_MAX_PICKLE = 64 << 20  # of the part of an archive that names its tensors
_ZIP = b"PK\x03\x04"
_PICKLES = tuple(bytes((0x80, protocol)) for protocol in (2, 3, 4, 5))
_PICKLES_OF_OLD = 5  # in a file from before 1.6: magic number, protocol, machine, content, names of the storages
# What training scripts wrap around a network: the first of these that is there, again and again.
_WRAPPERS = (
    "state_dict", "model_state_dict", "model_state", "model", "net", "network", "network_weights", "sam", "ema",
)  # fmt: skip
_MOST_WRAPPERS = 64  # that are looked into
_PREFIXES = ("module.", "_orig_mod.", "model.", "sam_model.", "sam.")
_MOST_PREFIXES = 4  # of a kind, one in another
_PART = re.compile(r"((?:.*?\.)?)(?:sam_)?(?:mask_decoder|prompt_encoder)\.")  # that families have, after a prefix
_MOST_OF_ALL = 0.9  # of a file's tensors are under the prefix of its network
_LISTED = 3


@dataclass(frozen=True, slots=True)
class CheckpointFile:
    """A file that is about to be read.

    Parameters
    ----------
    path
        Where it lies.
    nbytes
        How long it is.
    head
        Its first bytes.
    sha256
        Of all of it.
    """

    path: Path
    nbytes: int
    head: bytes
    sha256: str

    @classmethod
    def at(cls, path: Path) -> Self:
        """Look at a file, whatever its name.

        Raises
        ------
        ReadError
            If it cannot be opened, or is no file (a folder, a device).
        ResourceError
            If it is larger than ``MAX_BYTES``.
        """
        with _readable(path):
            nbytes, head = _look_at(path)
            return cls(path, nbytes, head, sha256_of(path))

    @property
    def form(self) -> str:
        """What it is for people, by its first bytes; "unknown" if it is no checkpoint."""
        return _form(self.head)

    def read(self) -> Checkpoint:
        """Return the weights in it.

        Raises
        ------
        WeightsError
            If it is damaged, cut short, or holds no tensors, or none that weights could be.
        UnsafeCheckpointError
            If it could only be read by running code from it, or may take memory of any size.
        MissingExtraError
            If PyTorch is not installed.
        """
        tensors, left_out = _of_network(_named_tensors(self.path, _content(self)))
        return Checkpoint(self.path, tensors, self.sha256, left_out)


@dataclass(frozen=True, eq=False, slots=True)
class Checkpoint:
    """The weights in one file.

    Parameters
    ----------
    path
        Where they were read from.
    tensors
        By name, as the file has them (what is no visible character is escaped): of any type, dense, on the CPU.
    sha256
        Of the whole file.
    left_out
        Names of tensors beside the network's, such as a loss's own: those have a prefix that these lack.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    sha256: str
    left_out: tuple[str, ...] = ()

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of the tensors by name."""
        return {name: tuple(tensor.shape) for name, tensor in self.tensors.items()}


def read_checkpoint(path: Path) -> Checkpoint:
    """Read the weights in a file, whatever its name: raises what ``CheckpointFile.at`` and ``read`` do."""
    return CheckpointFile.at(path).read()


def require_checkpoint(path: Path) -> None:
    """Raise unless a file is a checkpoint, as far as its first bytes tell.

    Raises
    ------
    WeightsError
        If it is something else.
    ReadError, ResourceError
        As ``CheckpointFile.at``.
    """
    with _readable(path):
        _, head = _look_at(path)
    if _form(head) == _UNKNOWN:
        raise _no_checkpoint(path, head)


def sha256_of(path: Path, *, report: Callable[[int], None] | None = None) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal digits; ``report`` is told the bytes done."""
    digest, done = hashlib.sha256(), 0
    with path.open("rb") as file:
        while part := file.read(_AT_ONCE):
            digest.update(part)
            done += len(part)
            if report is not None:
                report(done)
    return digest.hexdigest()


def _look_at(path: Path) -> tuple[int, bytes]:
    """Return how long a file is, and its first bytes."""
    facts = path.stat()
    _require_readable(path, facts)
    with path.open("rb") as file:
        return facts.st_size, file.read(16)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Raise ``ReadError`` for what the system says of a file that is read within."""
    try:
        yield
    except ReadError:
        raise
    except OSError as error:
        raise ReadError(
            got=f"checkpoint {path} cannot be read ({error.strerror})", fix="Check the path and its permissions"
        ) from error


def _form(head: bytes) -> str:
    if head.startswith(_ZIP):
        return "PyTorch (zip)"
    if head.startswith(_PICKLES):
        return "PyTorch (before 1.6)"
    return "safetensors" if head[8:9] == b"{" else _UNKNOWN


def _require_readable(path: Path, facts: stat_result) -> None:
    if stat.S_ISDIR(facts.st_mode):
        raise ReadError(
            got=f"checkpoint {path} is a folder",
            fix="Name the file in it that holds the weights, such as model.safetensors",
        )
    if not stat.S_ISREG(facts.st_mode):  # a device or a pipe may never end
        raise ReadError(got=f"checkpoint {path} is no regular file", fix="Copy its content to a file first")
    if facts.st_size > MAX_BYTES:
        raise ResourceError(
            got=f"checkpoint {path.name} of {facts.st_size >> 30} GiB", wanted=f"at most {MAX_BYTES >> 30} GiB"
        )


def _content(file: CheckpointFile) -> object:
    if file.head.startswith(_ZIP):
        _require_plain_archive(file)
        return pickles.load(file.path, mmap=True)
    if file.head.startswith(_PICKLES):
        with file.path.open("rb") as opened:
            pickles.screen(file.path, opened, pickles=_PICKLES_OF_OLD)
        return pickles.load(file.path, mmap=False)
    if file.head[8:9] == b"{":
        return _read_safetensors(file.path)
    raise _no_checkpoint(file.path, file.head)


def _no_checkpoint(path: Path, head: bytes) -> WeightsError:
    wanted = "safetensors, or what torch.save writes"
    if not head:
        return WeightsError(got=f"{path.name} is empty", fix=pickles.DAMAGED)
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
    except (SafetensorError, *pickles.WHAT_DAMAGE_RAISES) as error:
        raise pickles.damaged(path, error) from error


def _require_plain_archive(file: CheckpointFile) -> None:
    """Raise unless a zip archive is undamaged, what ``torch.save`` writes, and unpacks to no more than it holds."""
    try:
        with zipfile.ZipFile(file.path) as archive:
            program = _program_of(file, archive.infolist())
            for member in archive.infolist():
                _require_undamaged(archive, member)
            with archive.open(program) as opened:
                pickles.screen(file.path, opened, pickles=1)
    except pickles.WHAT_DAMAGE_RAISES as error:
        raise pickles.damaged(file.path, error) from error


def _program_of(file: CheckpointFile, members: list[zipfile.ZipInfo]) -> zipfile.ZipInfo:
    """Return the member that makes the tensors out of the others, if these are what ``torch.save`` writes."""
    name = file.path.name
    programs = [member for member in members if member.filename.endswith("data.pkl")]
    if len(programs) != 1 or programs[0].file_size > _MAX_PICKLE:
        raise WeightsError(got=f"{name} is a zip archive, but no checkpoint", wanted="what torch.save writes")
    if any(member.filename.endswith("constants.pkl") for member in members):
        raise WeightsError(
            got=f"{name} is a TorchScript program, not weights",
            wanted="what torch.save writes",
            fix="Save its weights: torch.save(torch.jit.load(FILE).state_dict(), 'weights.pth')",
        )
    packed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
    if packed or sum(member.file_size for member in members) > file.nbytes:
        raise UnsafeCheckpointError(
            got=f"{name} has compressed or overlapping members: it may unpack to any size",
            wanted="an archive that torch.save wrote",
        )
    return programs[0]


def _require_undamaged(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    if not member.CRC:  # PyTorch can be told to save without; then there is nothing to compare with
        del member.CRC
    with archive.open(member) as opened:
        while opened.read(_AT_ONCE):  # raises at the end
            pass


def _named_tensors(path: Path, content: object) -> dict[str, Tensor]:
    """Return the tensors of a network by name, out of what training scripts wrap around them."""
    import torch  # noqa: PLC0415 - it has been imported by now

    def of(level: Mapping[object, object]) -> dict[str, Tensor]:
        named = ((name, value) for name, value in level.items() if isinstance(name, str))
        return {printable(name): value for name, value in named if isinstance(value, torch.Tensor)}

    def first(content: object) -> dict[str, Tensor]:
        return next((found for level in _levels(content, set()) if (found := of(level))), {})

    tensors = first(content)
    if not tensors and isinstance(content, Mapping):  # in a wrapper that is not known
        inside = {printable(str(key)): found for key, value in content.items() if (found := first(value))}
        if len(inside) > 1:
            raise WeightsError(
                got=f"{path.name} holds tensors in {_counted(inside)}",
                wanted="one network",
                fix=f"Save one of them: torch.save(torch.load('{path.name}')['{next(iter(inside))}'], 'one.pth')",
            )
        tensors = next(iter(inside.values()), {})
    if tensors:
        _require_dense(path, tensors)
        return _without_prefixes(tensors)
    levels = list(_levels(content, set()))
    if any(isinstance(value, pickles.NoArray) for level in levels for value in level.values()):
        raise WeightsError(
            got=f"{path.name} holds arrays of NumPy, no tensors",
            wanted="the weights of a network",
            fix="Save them as tensors: safetensors.numpy.save_file(arrays, 'weights.safetensors')",
        )
    raise WeightsError(got=f"{path.name} holds no tensors", wanted="the weights of a network")


def _counted(inside: Mapping[str, Mapping[str, Tensor]]) -> str:
    """Return names with numbers of tensors: ``"student (436), teacher (436)"``; the largest first, and a few only."""
    largest = sorted(inside, key=lambda name: -len(inside[name]))
    more = f" and {len(largest) - _LISTED} more" if len(largest) > _LISTED else ""
    return ", ".join(f"{name} ({len(inside[name])})" for name in largest[:_LISTED]) + more


def _levels(content: object, seen: set[int]) -> Iterator[Mapping[object, object]]:
    """Yield what is wrapped in a mapping, and then that: a wrapper may have tensors too, such as the best loss so far.

    ``seen`` are those that have been looked into: a file may hold one in itself, or in many places.
    """
    if isinstance(content, Mapping) and id(content) not in seen and len(seen) < _MOST_WRAPPERS:
        seen.add(id(content))
        for key in _WRAPPERS:
            yield from _levels(content.get(key), seen)
        yield content


def _require_dense(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Raise unless each tensor is an array of plain numbers."""
    import torch  # noqa: PLC0415 - it has been imported by now

    for name, tensor in tensors.items():
        kinds = {
            "nested": tensor.is_nested,
            "sparse": tensor.layout != torch.strided,
            "quantised": tensor.is_quantized,
            "complex": tensor.is_complex(),
            "without values": tensor.is_meta,
        }
        if any(kinds.values()):
            raise WeightsError(
                got=f"tensor {name} in {path.name} is {next(kind for kind, found in kinds.items() if found)}",
                wanted="arrays of plain numbers",
                fix="Save it as such: as it was before it was quantised, pruned or moved",
            )


def _without_prefixes(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Take off the prefixes that all names share."""
    for prefix in _PREFIXES * _MOST_PREFIXES:
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def _of_network(tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Return the tensors under the prefix that most have, whatever it is, without it, and the names of the others.

    The prefix is what stands before the names of parts that Segment Anything's families have. Where none stands there,
    all tensors are the network's: then what does not belong to it is told as a difference.
    """
    prefixes = Counter(found.group(1) for name in tensors if (found := _PART.match(name)))
    prefix = prefixes.most_common(1)[0][0] if prefixes else ""
    under = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    if not prefix or len(prefixes) > 1 or len(under) < _MOST_OF_ALL * len(tensors):
        return tensors, ()
    return under, tuple(name for name in tensors if not name.startswith(prefix))
