"""The tree of errors, and the one table that maps their codes to exit codes and HTTP statuses.

::

    SamaritanError
    ├ GeometryError(ValueError)   ─ GeometryMismatchError, UnknownOrientationError
    ├ ImageError(ValueError)
    ├ ReadError(OSError)          ─ UnsupportedFormatError, InconsistentSeriesError, CorruptFileError
    ├ WriteError(OSError)
    ├ PromptError(ValueError)     ─ UnsupportedPromptError, PromptOutsideImageError
    ├ UnknownNameError(LookupError)
    ├ MissingExtraError(ImportError)
    ├ WeightsError                ─ ChecksumError, UnsafeCheckpointError, CheckpointMismatchError,
    │                               LicenceNotAcceptedError
    ├ DataSetError(ValueError)
    ├ TrainingError
    ├ ResourceError               ─ OutOfMemoryBudgetError
    └ SessionError                ─ SessionExpiredError, ServerBusyError

Every error says what it *got*, what it *wanted* and what to do *next*. ``code`` is stable: it crosses the wire, and
a client raises the same class for it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, ClassVar, NamedTuple, Self

_FEW = 8  # names that are all told: more of them would drown the suggestion
_NEAREST = 3  # of the others, where these are too many


class SamaritanError(Exception):
    """Root of every error that Samaritan raises on purpose.

    Parameters
    ----------
    got
        What was found, as a clause without a full stop.
    wanted
        What would have been right; empty where ``got`` says it already.
    fix
        What to do or type next; empty where nothing can be done. One that asks ("Did you mean 'medsam'?") is told
        before what was wanted: a list would drown it.
    """

    code: ClassVar[str] = "error"

    def __init__(self, *, got: str, wanted: str = "", fix: str = "") -> None:
        self.got, self.wanted, self.fix = got, wanted, fix
        right = f"Wanted {wanted}" if wanted else ""
        parts = [got, fix, right] if fix.endswith("?") else [got, right, fix]
        super().__init__(" ".join(part if part[-1] in ".?\n" else f"{part}." for part in parts if part))

    def __str__(self) -> str:
        """Return the whole sentence (``OSError`` and ``KeyError`` would format it their own way)."""
        return str(self.args[0])

    def __reduce__(self) -> tuple[Any, ...]:
        """Survive the trip between processes in spite of keyword-only arguments."""
        return (_rebuild, (type(self), self.got, self.wanted, self.fix))

    def to_dict(self) -> dict[str, str]:
        """Return the wire form: ``code``, ``got``, ``wanted``, ``fix``."""
        return {"code": self.code, "got": self.got, "wanted": self.wanted, "fix": self.fix}


def _rebuild(cls: type[SamaritanError], got: str, wanted: str, fix: str) -> SamaritanError:
    return cls(got=got, wanted=wanted, fix=fix)


class GeometryError(SamaritanError, ValueError):
    """A grid that cannot exist: singular affine, zero spacing, empty shape."""

    code = "geometry"


class GeometryMismatchError(GeometryError):
    """Two things that must share a grid do not."""

    code = "geometry_mismatch"


class UnknownOrientationError(GeometryError):
    """An orientation was asked of a grid that has none, or a code that is no orientation."""

    code = "unknown_orientation"


class ImageError(SamaritanError, ValueError):
    """Voxels that cannot be worked on: not finite, constant, of an unusable type or shape."""

    code = "image"


class ReadError(SamaritanError, OSError):
    """A file that cannot be read."""

    code = "read"


class UnsupportedFormatError(ReadError):
    """A file of no format that is known, or of a form of it that is not supported."""

    code = "unsupported_format"


class InconsistentSeriesError(ReadError):
    """DICOM slices that do not make up one volume: several series, gaps, gantry tilt."""

    code = "inconsistent_series"


class CorruptFileError(ReadError):
    """A file whose content contradicts itself or stops early."""

    code = "corrupt_file"


class WriteError(SamaritanError, OSError):
    """An output that cannot be written, or that did not read back as it was written."""

    code = "write"


class PromptError(SamaritanError, ValueError):
    """A prompt that makes no sense: an empty box, contradictory points."""

    code = "prompt"


class UnsupportedPromptError(PromptError):
    """A kind of prompt that this model does not take."""

    code = "unsupported_prompt"


class PromptOutsideImageError(PromptError):
    """A prompt that lies outside the image."""

    code = "prompt_outside_image"


class UnknownNameError(SamaritanError, LookupError):
    """A name that is in no registry or table."""

    code = "unknown_name"

    @classmethod
    def of(cls, name: str, *, kind: str, known: Iterable[str], listed_by: str = "") -> Self:
        """Build the error for ``name`` of some ``kind`` ("model"), suggesting the nearest of ``known``.

        All of these are told, but for many that a command lists: ``listed_by``, such as "samaritan models".
        """
        names = sorted(known)
        near = difflib.get_close_matches(name.lower(), names, n=_NEAREST)
        wanted = f"one of: {', '.join(names) or '(none)'}"
        if listed_by and len(names) > _FEW:
            like = f", such as {', '.join(near)}" if len(near) > 1 else ""
            wanted = f"one of {len(names)}{like}; `{listed_by}` lists all"
        return cls(got=f"unknown {kind} '{name}'", wanted=wanted, fix=f"Did you mean '{near[0]}'?" if near else "")


class MissingExtraError(SamaritanError, ImportError):
    """An optional dependency that is not installed."""

    code = "missing_extra"

    @classmethod
    def of(cls, *, what: str, extra: str) -> Self:
        """Build the error for ``what`` that needs the optional dependencies ``extra``."""
        return cls(got=f"{what} needs {extra}, which is not installed", fix=f"pip install 'samaritan[{extra}]'")


class WeightsError(SamaritanError):
    """Weights that cannot be used."""

    code = "weights"


class ChecksumError(WeightsError):
    """A weights file whose hash is not the one on its card."""

    code = "checksum"


class UnsafeCheckpointError(WeightsError):
    """A checkpoint that could only be loaded by running code from it."""

    code = "unsafe_checkpoint"


class CheckpointMismatchError(WeightsError):
    """A checkpoint whose tensors are not those of the model."""

    code = "checkpoint_mismatch"


class LicenceNotAcceptedError(WeightsError):
    """Weights whose licence has to be accepted first."""

    code = "licence_not_accepted"


class DataSetError(SamaritanError, ValueError):
    """A data set that cannot be used: no known layout, nothing in it, an id twice, a manifest with a column missing."""

    code = "data_set"


class TrainingError(SamaritanError):
    """Training that cannot go on: a loss that is not finite, nothing to train, a batch that cannot be made."""

    code = "training"


class ResourceError(SamaritanError):
    """Not enough of something: memory, disk, time."""

    code = "resource"


class OutOfMemoryBudgetError(ResourceError):
    """Work that cannot be done within the memory that was allowed."""

    code = "out_of_memory_budget"


class SessionError(SamaritanError):
    """A session that cannot do what was asked: nothing to undo, no such object."""

    code = "session"


class SessionExpiredError(SessionError):
    """A session that the server no longer holds."""

    code = "session_expired"


class ServerBusyError(SessionError):
    """A server that has no room now."""

    code = "server_busy"


class Status(NamedTuple):
    """What an error means to a shell and to an HTTP client."""

    exit: int
    http: int


_DEFAULT = Status(1, 500)
# Exit codes: 1 the case failed, 2 the command line was wrong. One row a class; a class without one takes its parent's.
STATUS: dict[str, Status] = {
    "error": _DEFAULT,
    "geometry": Status(1, 422),
    "geometry_mismatch": Status(1, 409),
    "image": Status(1, 422),
    "read": Status(1, 400),
    "unsupported_format": Status(1, 415),
    "prompt": Status(2, 422),
    "unknown_name": Status(2, 404),
    "missing_extra": Status(1, 501),
    "licence_not_accepted": Status(1, 403),
    "data_set": Status(1, 422),
    "training": Status(1, 422),
    "resource": Status(1, 503),
    "session": Status(1, 409),
    "session_expired": Status(1, 410),
    "server_busy": Status(1, 503),
}


def status_of(error: SamaritanError | type[SamaritanError]) -> Status:
    """Return the exit code and HTTP status of ``error``: its own row, or its nearest ancestor's."""
    cls = error if isinstance(error, type) else type(error)
    for base in cls.__mro__:
        row = STATUS.get(base.__dict__.get("code", ""))
        if row is not None:
            return row
    return _DEFAULT
