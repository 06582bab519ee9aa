"""How much memory there is to use, and the plan that keeps to it."""

from __future__ import annotations

import ctypes
import re
import sys
from pathlib import Path

from samaritan.core.errors import OutOfMemoryBudgetError, ResourceError

MIB = 1024**2
# Without a limit: embeddings of about 180 slices of the default model.
DEFAULT_EMBEDDINGS = 512 * MIB
# What is needed beside arrays that can be counted: allocator slack, buffers of the runtime between two calls.
SLACK = 96 * MIB

_UNITS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)(b?)\s*", re.IGNORECASE)


def parse_size(text: str) -> int:
    """Return the bytes of ``"4GiB"``, ``"1500 MB"``, ``"2G"`` (binary, as in ulimit) or a plain number.

    Raises
    ------
    ResourceError
        If it is not a positive size.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ResourceError(got=f"size '{text}'", wanted="a number and a unit, such as 4GiB or 1500MB")
    number, prefix, binary, byte = match.groups()
    decimal = byte and not binary
    size = int(float(number) * (1000 if decimal else 1024) ** _UNITS[prefix.lower()])
    if size < 1:
        raise ResourceError(got=f"size '{text}'", wanted="more than nothing, such as 4GiB")
    return size


def format_size(size: int) -> str:
    """Return bytes for people: ``"1.5 GiB"``."""
    return f"{size / 1024**3:.1f} GiB" if size >= 1024**3 else f"{size / MIB:.0f} MiB"


def peak_rss() -> int:
    """Return the most memory that this process has held at once, in bytes; 0 where the system does not say."""
    platform: str = sys.platform
    if platform == "linux":
        return _proc_status("VmHWM")
    if platform == "win32":
        return _windows_peak()
    import resource  # absent on Windows  # noqa: PLC0415

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _proc_status(field: str) -> int:
    # ru_maxrss would include the parent's memory at the time of the fork.
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    return 0


def _windows_peak() -> int:
    class Counters(ctypes.Structure):
        """PROCESS_MEMORY_COUNTERS of the Windows API."""

        _fields_ = (
            ("cb", ctypes.c_uint32),
            ("page_faults", ctypes.c_uint32),
            ("peak_working_set", ctypes.c_size_t),
            *((f"unused_{n}", ctypes.c_size_t) for n in range(7)),
        )

    counters = Counters(cb=ctypes.sizeof(Counters))
    kernel = ctypes.WinDLL("kernel32")  # type: ignore[attr-defined]  # exists on Windows only
    kernel.GetCurrentProcess.restype = ctypes.c_void_p
    process = ctypes.c_void_p(kernel.GetCurrentProcess())
    return (
        counters.peak_working_set if kernel.K32GetProcessMemoryInfo(process, ctypes.byref(counters), counters.cb) else 0
    )


def plan_embeddings(limit: int | None, *, arrays: int, embedding: int) -> int:
    """Return how many bytes of embeddings may be held in memory.

    Call it after the first image was encoded: what the image, the model and its workspace take is then measured, not
    guessed.

    Parameters
    ----------
    limit
        Bytes that the process may hold at its peak; None for the default.
    arrays
        Bytes of masks and labels that are still to be made.
    embedding
        Bytes of one embedding: at least one has to be held.

    Raises
    ------
    OutOfMemoryBudgetError
        If even one embedding does not fit.
    """
    if limit is None:
        return DEFAULT_EMBEDDINGS
    taken = peak_rss() + SLACK + arrays
    if taken + embedding > limit:
        raise OutOfMemoryBudgetError(
            got=f"a memory limit of {format_size(limit)}",
            wanted=f"at least {format_size(taken + embedding + MIB)} for this image, model and number of objects",
            fix="Raise the limit, segment fewer objects at once, or crop the image",
        )
    return limit - taken
