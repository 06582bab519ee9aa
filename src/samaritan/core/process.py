"""What the operating system says of this process."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path


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
