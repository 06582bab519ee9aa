"""A trial of a model: an image, a click, a box, and the memory that they take in a process of their own.

What else this process holds, or has held, would count otherwise.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from samaritan.core.errors import ResourceError
from samaritan.core.geometry import Geometry
from samaritan.core.image import Image
from samaritan.core.model import ModelCard
from samaritan.core.process import peak_rss
from samaritan.core.prompts import Box, Point, Prompts

_LOW, _HIGH = 0.25, 0.75  # where the box lies, over the sides of a plane


@dataclass(frozen=True, slots=True)
class Source:
    """Where a process finds a model: what ``load_model`` is told."""

    name: str
    weights: Path | None = None
    device: str = "auto"


def questions(geometry: Geometry, card: ModelCard) -> list[Prompts]:
    """Return a click and a box in the middle of a plane, or the one of them that the model takes."""
    width, height, _ = geometry.shape
    start = (int(_LOW * width), int(_LOW * height), 0)
    stop = (max(start[0] + 1, int(_HIGH * width)), max(start[1] + 1, int(_HIGH * height)), 1)
    click, box = Point((width // 2, height // 2, 0)), Box(start, stop)
    return [Prompts(geometry, (item,)) for item in (click, box) if item.kind in card.prompts]


def peak_memory(source: Source, image: Image) -> int:
    """Return the most bytes that a process held that loaded a model, embedded ``image`` and answered the ``questions``.

    0 where the system does not say. ``image`` is a plane as ``Model.embed`` wants it.

    Raises
    ------
    ResourceError
        If that process ended early, or could not be started: there may be too little memory, or room for the image.
    """
    try:
        done = _tried(source, image)
    except OSError as error:  # named here: whoever writes an export takes it for a fault of that folder
        raise ResourceError(
            got=f"cannot try model '{source.name}' in a process of its own: {error.strerror or error}",
            wanted="memory for a second process, and room for a temporary file",
            fix="Close other programs, or set TMPDIR to a folder on a disk with room",
        ) from error
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"code {done.returncode}"]
        raise ResourceError(
            got=f"a process that was to try model '{source.name}' ended early: {said[-1]}",
            wanted="memory for it beside what is held here",
        )
    return int(done.stdout.split()[-1])


def _tried(source: Source, image: Image) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory(prefix="samaritan-") as folder:
        plane = Path(folder) / "plane.npz"
        np.savez(plane, array=image.array, channels=np.array(image.channels))
        command = [sys.executable, "-m", __name__, source.name, str(source.weights or ""), source.device, str(plane)]
        return subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - this very file


def _main(name: str, weights: str, device: str, plane: str) -> None:
    from samaritan.models.registry import load_model  # noqa: PLC0415 - of the process that is measured

    with np.load(plane) as kept:
        array, channels = kept["array"], tuple(map(str, kept["channels"]))
    image = Image(array, Geometry.picture(*array.shape[1:3]), channels=channels)
    model = load_model(name, weights=Path(weights) if weights else None, device=device)
    embedding = model.embed(image)
    for prompts in questions(image.geometry, model.card):
        model.decode(embedding, prompts)
    print(peak_rss())  # noqa: T201 - what the process that started this one reads


if __name__ == "__main__":
    _main(*sys.argv[1:])
