"""PyTorch's pickles, read without running what is in them.

A pickle is a program. PyTorch's restricted reader (``weights_only``) runs none of it but the making of tensors and
plain values. Some things that scripts keep beside weights (options, scores, dates, optimizers) are known to be
harmless; they are not made either, something empty takes their place. A file that asks for anything else is refused,
and so is one with the few calls that PyTorch allows although they make much out of little.
"""

from __future__ import annotations

import pickle
import pickletools
import re
import struct
import warnings
import zipfile
from pathlib import Path
from typing import IO, Any

from samaritan.core.errors import MissingExtraError, UnsafeCheckpointError, WeightsError
from samaritan.models.printable import printable

DAMAGED = "Copy or download it again"
# What readers stumble over, according to where a file is damaged.
WHAT_DAMAGE_RAISES = (
    RuntimeError, EOFError, OSError, ValueError, LookupError, AssertionError, TypeError, AttributeError, OverflowError,
    MemoryError, struct.error, zipfile.BadZipFile,
)  # fmt: skip
# What scripts keep beside weights, in the names of NumPy 1 and 2, and of the Pythons and PyTorches that there are.
_HARMLESS = (
    "argparse.Namespace",
    "types.SimpleNamespace",
    *(f"builtins.{name}" for name in ("frozenset", "range", "slice", "int", "float", "str", "list")),
    *(f"datetime.{name}" for name in ("date", "datetime", "time", "timedelta", "timezone")),
    *(f"numpy.{core}.multiarray.scalar" for core in ("core", "_core")),
    "numpy.dtype",
    *(
        f"{module}.{flavour}Path"
        for module in ("pathlib", "pathlib._local")
        for flavour in ("Posix", "Windows", "PurePosix", "PureWindows")
    ),
    *(
        f"torch.{module}.grad_scaler.{name}"
        for module in ("amp", "cuda.amp")
        for name in ("GradScaler", "_refresh_per_optimizer_state")
    ),
)
_ARRAYS = ("numpy.ndarray", *(f"numpy.{core}.multiarray._reconstruct" for core in ("core", "_core")))
# PyTorch allows both. The one takes a number, and makes as many bytes. The other is needed for NumPy's values, in Latin
# 1; with a codec from bytes to bytes, it doubles what it is given, again and again.
_OF_ANY_SIZE = frozenset({"builtins bytearray", "__builtin__ bytearray"})
_ENCODE = "_codecs encode"
_DOUBLING = frozenset(
    {f"{codec}{end}" for codec in ("base64", "bz2", "hex", "quopri", "uu", "zlib") for end in ("", "codec")}
    | {"quotedprintable", "rot13", "zip"}
)
_NO_LETTERS = re.compile("[^0-9A-Za-z]+")  # which Python overlooks in the names of codecs, more or less


class Nothing:
    """Stands where something was that is neither a tensor nor a plain value."""

    def __new__(cls, *args: object) -> Nothing:  # noqa: ARG004 - it is made in any way
        """Return one, whatever the arguments."""
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None:
        """Take no notice."""


class NoArray(Nothing):
    """Stands where an array of NumPy was."""


def screen(path: Path, file: IO[bytes], *, pickles: int) -> None:
    """Look through the next ``pickles`` of a file, for calls that make much out of little.

    What cannot be followed here, PyTorch's reader cannot either: that it is damaged is left to it to say.

    Raises
    ------
    UnsafeCheckpointError
        If there is such a call.
    """
    asked, words = set(), set()
    try:
        for _ in range(pickles):
            for code, argument, _position in pickletools.genops(file):
                if code.name == "GLOBAL":
                    asked.add(argument)
                elif isinstance(argument, str):
                    words.add(argument)
    except WHAT_DAMAGE_RAISES:
        pass
    if asked & _OF_ANY_SIZE or (_ENCODE in asked and any(map(_doubles, words))):
        raise UnsafeCheckpointError(
            got=f"{path.name} may take memory of any size when it is read",
            wanted="tensors and plain values only",
            fix="Do not load it",
        )


def load(path: Path, *, mmap: bool) -> object:
    """Return what a file holds that ``torch.save`` wrote; ``mmap`` leaves the tensors in an archive until needed.

    Raises
    ------
    UnsafeCheckpointError
        If it could only be read by running code from it.
    WeightsError
        If it is damaged or cut short.
    MissingExtraError
        If PyTorch is not installed.
    """
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
    except WHAT_DAMAGE_RAISES as error:
        raise damaged(path, error) from error


def damaged(path: Path, error: Exception) -> WeightsError:
    """Return the error for a file that a reader stumbled over."""
    why = (str(error).strip() or type(error).__name__).splitlines()[0]
    return WeightsError(got=f"{path.name} is damaged or cut short ({printable(why)})", fix=DAMAGED)


def _harmless() -> list[Any]:
    """Return what stands for each thing that a pickle may ask for beside tensors: none of it does anything."""
    from torch import optim  # noqa: PLC0415 - it has been imported by now

    classes = [*vars(optim).values(), *vars(optim.lr_scheduler).values()]  # scripts save them whole
    training = {f"{kind.__module__}.{kind.__qualname__}" for kind in classes if isinstance(kind, type)}
    return [
        *((Nothing, name) for name in (*_HARMLESS, *(name for name in training if name.startswith("torch.optim.")))),
        *((NoArray, name) for name in _ARRAYS),
        # What stands for these has to be a mapping, as the pickle puts entries into it.
        (dict, "builtins.dict"),
        (_mapping, "collections.defaultdict"),
    ]


def _mapping(*_: object) -> dict[Any, Any]:
    return {}


def _doubles(word: str) -> bool:
    """Whether a word names a codec whose output it takes again."""
    return _NO_LETTERS.sub("", word).lower() in _DOUBLING


def _refused(path: Path, message: str) -> WeightsError:
    """Return the error for a pickle that PyTorch's restricted reader refuses, from its message."""
    wanted = "tensors and plain values only"
    for before in ("Unsupported global: GLOBAL ", "Unsupported class ", "Trying to load unsupported GLOBAL "):
        _, found, rest = message.partition(before)
        if found:
            return UnsafeCheckpointError(
                got=f"{path.name} asks to run {printable(rest.split()[0].rstrip('.'))} when it is read",
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
    return WeightsError(got=f"{path.name} is damaged", fix=DAMAGED)
