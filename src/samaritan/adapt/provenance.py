"""What a run was made with: what is needed beside its settings to make it again."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import numpy as np
import torch

from samaritan._version import __version__


def made_with() -> dict[str, str]:
    """Return the versions of the code and of what it computes with; of a clone, the commit, too.

    A commit ends in "-dirty" where the clone had changes that are in no commit.
    """
    versions = {
        "samaritan": __version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
    commit = commit_of(Path(__file__))
    return versions | ({"commit": commit} if commit else {})


def commit_of(file: Path) -> str:
    """Return the commit of the clone that ``file`` belongs to; "" if none does, or there is no git."""
    # A package may be installed inside somebody else's clone, which does not know its files.
    if _git(file.parent, "ls-files", file.name) != file.name:
        return ""
    return _git(file.parent, "describe", "--always", "--abbrev=40", "--dirty", "--exclude", "*")


def _git(folder: Path, *words: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - fixed words
            ["git", *words],  # noqa: S607 - whichever git the user has
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
