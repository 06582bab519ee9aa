"""What tests of the program share."""

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from samaritan.models import MODELS
from samaritan.models.registry import ModelEntry
from samaritan.testing.fake_model import CARD, FakeModel


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


def samaritan(*args, script=None, **options):
    """Run the program as a person does; ``script`` is code to run in its place."""
    start = ["-c", script] if script else ["-m", "samaritan.cli"]
    command = [sys.executable, *start, *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)
    return Result(done.returncode, done.stdout, done.stderr)


def started(script, *args, until):
    """Start ``script`` as a process, and return that once it has made the file ``until``."""
    command = [sys.executable, "-c", script, *map(str, args)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while not until.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    return process


def left_behind(folder: Path):
    """Names of files in ``folder`` and below, without the cache."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and ".cache" not in p.parts)


def use_fake_model(monkeypatch):
    """Make the fake model the default one, in this process."""
    entry = ModelEntry(card=lambda: CARD, load=lambda device: FakeModel())
    monkeypatch.setitem(MODELS._targets, "fake", "nowhere:needed")
    monkeypatch.setitem(MODELS._loaded, "fake", entry)
    monkeypatch.setattr("samaritan.models.registry.DEFAULT_MODEL", "fake")
