"""When, where and with which versions models were measured: what is needed to measure them again."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Self

from samaritan._version import __version__
from samaritan.models.runtimes import Runner

_CPU_INFO = Path("/proc/cpuinfo")  # of Linux
_OWN_NAME = "model name"  # there, on the processors of PCs


@dataclass(frozen=True, slots=True)
class MadeWith:
    """When, where and with which versions models were measured.

    Parameters
    ----------
    date
        In UTC, as ISO 8601 has it.
    versions
        Of samaritan, Python, and the packages that ran the models, by name.
    runtimes
        What ran the parts of each model, such as "openvino on CPU", by name.
    platform
        The operating system, with its version and the machine's architecture.
    processor
        The CPU's name; its architecture where the system does not tell more.
    """

    date: str
    versions: Mapping[str, str]
    runtimes: Mapping[str, Mapping[str, str]]
    platform: str
    processor: str

    @classmethod
    def now(cls, **runners: Mapping[str, Runner]) -> Self:
        """Return what is so now, of models whose parts these ``runners`` run."""
        packages = sorted({runner.package for parts in runners.values() for runner in parts.values()})
        return cls(
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            versions={
                "samaritan": __version__,
                "python": platform.python_version(),
                **{name: str(import_module(name).__version__) for name in packages},
            },
            runtimes={
                model: {part: f"{runner.package} on {runner.device}" for part, runner in parts.items()}
                for model, parts in runners.items()
            },
            platform=platform.platform(),
            processor=_processor(),
        )


def _processor() -> str:
    try:
        lines = _CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    facts = (line.partition(":") for line in lines)
    names = (value.strip() for name, _, value in facts if name.strip() == _OWN_NAME)
    return next(names, "") or platform.processor() or platform.machine()
