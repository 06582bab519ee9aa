"""What a segmentation would take, found out without keeping anything of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any

from samaritan.cli._run import Job, prepare, write_files

if TYPE_CHECKING:
    from samaritan.core.image import Image
    from samaritan.core.model import ModelCard
    from samaritan.core.prompts import Prompts


def dry_run(job: Job) -> dict[str, Any]:
    """Return what ``job`` would take.

    Everything is done once as it would be, but for the segmentation: of that a few slices, and the rest is counted.

    Raises
    ------
    SamaritanError
        If anything is wrong, as far as can be told beforehand.
    """
    started = perf_counter() - process_time()  # the program has run before it came here; imports take time, too
    from samaritan.core.process import peak_rss
    from samaritan.infer.plan import plan
    from samaritan.infer.timing import Stopwatch

    image, output, objects, model = prepare(job, Stopwatch())
    before_s = perf_counter() - started
    found = plan(
        model,
        image,
        objects,
        axis=job.axis,
        window=job.window,
        channels=job.channels,
        max_memory=job.max_memory,
    )
    started = perf_counter()
    with TemporaryDirectory(prefix="samaritan-") as folder:
        _write_stand_in(job, Path(folder), output, image, objects, model.card)
    after_s = perf_counter() - started
    return {
        "model": model.card.name,
        "image": image.source,
        "planes": found.planes,
        "decodes": found.decodes,
        "at_most": found.at_most,
        "seconds": round(before_s + found.seconds + after_s, 2),
        "memory_bytes": max(found.memory, peak_rss()),
        "disk_bytes": found.disk,
        "would_write": str(output),
    }


def expectation(planned: Mapping[str, Any]) -> str:
    """Return what ``dry_run`` says, for people."""
    from samaritan.infer.memory import format_size

    upper = "at most " if planned["at_most"] else ""
    return "\n".join(
        (
            f"planes to encode: {upper}{planned['planes']}",
            f"time: {upper}{planned['seconds']:.1f} s on this machine, as busy as it is now",
            f"memory: {upper}{format_size(planned['memory_bytes'])}",
            f"disk, for embeddings that are kept: {upper}{format_size(planned['disk_bytes'])}",
            f"{planned['would_write']} would be written",
        )
    )


def _write_stand_in(
    job: Job, folder: Path, output: Path, image: Image, objects: Mapping[str, Prompts], card: ModelCard
) -> None:
    """Write the files of ``job`` to ``folder``, with a block in the middle of the image for every mask."""
    import numpy as np

    from samaritan.infer.segment import Segmentation, SegmentedObject
    from samaritan.infer.timing import Stopwatch

    block = np.zeros(image.shape, np.bool_, order="F")
    block[tuple(slice(n // 4, n - n // 4) for n in image.shape)] = True
    result = Segmentation(tuple(SegmentedObject(name, block, 1.0) for name in objects), image.geometry)
    elsewhere = replace(job, overlay=job.overlay and folder / job.overlay.name)
    write_files(elsewhere, folder / output.name, image, result, objects, card, Stopwatch())
